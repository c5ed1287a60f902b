"""Facts as an HTML page."""
