"""Compilers and files: texts become libraries, templates become texts. No SymPy."""
