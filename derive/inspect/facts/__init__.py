"""What there is to say of a cell, as plain data: no format is known here."""
