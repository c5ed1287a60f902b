"""Makes `reference` and other shared modules of tests/ importable from every test."""
