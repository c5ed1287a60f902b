"""SymPy lives here: the closed set of functions, array heads, evaluation, printing."""
