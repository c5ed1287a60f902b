"""Published cells, one file a family: equations, options and sources, and nothing else.

entries       which entries there are
option        what an option may be
spec          an entry with options as text
vary_text     a variant as text
"""
