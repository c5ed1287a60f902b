"""A paper's equations, as LaTeX, to `.cell` text.

passages (prose and formulas) -> tokens -> symbols, parse (formulas) -> roles (what each name
is) -> products, translate (expressions of the language) -> widths (shapes) -> read (the text).
"""

from derive.papers.read import Reading, read

__all__ = ["Reading", "read"]
