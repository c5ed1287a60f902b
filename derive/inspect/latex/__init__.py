"""Facts as LaTeX."""
