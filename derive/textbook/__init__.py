"""A cell and its gradient as a person writes them down: derivation.py, form.py, notation.py."""
