"""Ways to run a kernel that keep every bit: options, search, store and clock."""
