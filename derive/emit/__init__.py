"""Schedule -> text: views (plain data), the printer, and Jinja."""
