"""Schedule -> C11: a header and a source for each cell, and one header that all share."""
