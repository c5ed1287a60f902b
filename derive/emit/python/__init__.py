"""A cell's step as a loop in Python, for other libraries to trace."""
