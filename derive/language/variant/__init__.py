"""Cells made from cells: by transformation, and by composition."""
