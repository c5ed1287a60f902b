"""Schedule -> C99 for a microcontroller: a header and a source for each cell, one header for all."""
