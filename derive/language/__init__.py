"""The language of cells: text and SymPy to a checked declaration and its Step, and back."""
