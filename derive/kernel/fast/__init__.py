"""Calls that are repeated: checked once, then handed to the machine code directly."""
