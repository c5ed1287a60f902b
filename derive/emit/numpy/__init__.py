"""Schedule -> a NumPy module."""
