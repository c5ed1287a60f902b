"""Schedule -> C99 for a microcontroller: NAME.h and NAME.c of a cell, a header for all cells."""
