"""Lines of a LaTeX document: text without surprises, equations, tables.

In: names, values, cells of tables.  Out: lines of LaTeX.
Not here: what is said (report.py, parts.py, cost.py).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from derive.inspect.latex.notation import LATEX, latex_name
from derive.inspect.text.line_breaking import folded, latex_width
from derive.symbolic.functions import Expr
from derive.textbook.derivation import Line
from derive.textbook.notation import Notation, Order, write

Block = Iterable[str]

#: A line of the page, in letters of average width.
PAGE = 92.0
#: Characters of a line of code, in the size that it has here.
_CODE = 128
#: Rows of a table that stay together.
_ROWS = 36
#: How far the lines below the first of a formula stand in.
_INDENT = 4.0

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "–": "--", "—": "---", "×": r"$\times$", "÷": r"$\div$", "∑": r"$\sum$", "√": r"$\surd$",
    "σ": r"$\sigma$",
}  # fmt: skip
#: Letters with an accent that every font has.
_ACCENTED = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ")


def escape(text: str) -> str:
    """Text as LaTeX sets it; what its fonts lack becomes a question mark."""
    return "".join(
        _ESCAPES.get(c, c if (c.isascii() and c.isprintable()) or c in _ACCENTED else "?")
        for c in text
    )


def verbatim(lines: Iterable[str]) -> Block:
    yield r"\begin{verbatim}"
    for line in lines:
        known = "".join(c if c.isascii() or c in _ACCENTED else "?" for c in line)
        yield from _wrapped(known.replace(r"\end{verbatim}", r"\end {verbatim}"))
    yield r"\end{verbatim}"


def _wrapped(line: str) -> Block:
    """A line of code; what goes beyond the page stands below it, further in."""
    if len(line) <= _CODE:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())]
    width = _CODE - len(indent) - 8
    parts = textwrap.wrap(line.strip(), width, break_long_words=False, break_on_hyphens=False)
    for k, part in enumerate(parts):
        yield indent + (" " * 8 if k else "") + part


# --- formulas -------------------------------------------------------------------------------


def aligned(
    lines: Sequence[Line],
    *,
    shrink: bool = True,
    page: float = PAGE,
    notation: Notation = LATEX,
) -> Block:
    """Equations with their signs below each other; long ones go on in the next line. shrink:
    what cannot break and is too wide is set smaller, which MathJax does not know. page: a line of
    the page; many sums and subscripts are wider than is estimated."""
    if not lines:
        return
    left = max(latex_width(notation.name(line.name)) for line in lines) + 3
    rows = []
    for line in lines:
        first, *rest = folded(write(line.value, notation, line.order), page - left, latex_width)
        fit = _shrunk if shrink else _as_it_is
        rows.append(f"{notation.name(line.name)} &= {fit(first, page - left)}")
        for row in rest:
            for part in folded(row, page - left - _INDENT, latex_width):
                rows.append(rf"&\quad {{}}{fit(part, page - left - _INDENT)}")
    yield r"\begin{align*}"
    yield from (row + r" \\" for row in rows[:-1])
    yield rows[-1]
    yield r"\end{align*}"


def _as_it_is(formula: str, width: float) -> str:
    return formula


def _shrunk(formula: str, width: float) -> str:
    wide = latex_width(formula)
    if wide <= width:
        return formula
    return rf"\text{{\scalebox{{{0.97 * width / wide:.2f}}}{{$\displaystyle {formula}$}}}}"


def inline(value: Expr, order: Order) -> str:
    """A formula in running text, which breaks it where it must."""
    formula = write(value, LATEX, order)
    wide = max(map(latex_width, folded(formula, 30, latex_width)))
    if wide <= PAGE - 12:
        return f"${formula}$"
    return rf"\scalebox{{{(PAGE - 12) / latex_width(formula):.2f}}}{{${formula}$}}"


def meaning(text: str) -> str:
    """What a cotangent stands for, the names in it as formulas."""
    parts = re.split(r"(\bd_\w+|\b\w+_next\b)", text)
    return "".join(f"${latex_name(p)}$" if k % 2 else escape(p) for k, p in enumerate(parts))


def names(found: Iterable[str]) -> str:
    return ", ".join(f"${latex_name(name)}$" for name in found) or "nothing"


def shape_text(shape: Sequence[str | int]) -> str:
    r"""For math mode: H \times I."""
    return r" \times ".join(str(dim) if isinstance(dim, int) else dim_text(dim) for dim in shape)


def dim_text(dim: str) -> str:
    r"""`4*H` as 4 H, `I + H` in brackets, a name of several letters upright."""
    if "+" in dim:
        return f"({' + '.join(dim_text(part.strip()) for part in dim.split('+'))})"
    factor, star, name = dim.partition("*")
    if star:
        return rf"{factor} \, {dim_text(name)}"
    return dim if len(dim) == 1 or dim.isdigit() else rf"\mathrm{{{escape(dim)}}}"


# --- tables ---------------------------------------------------------------------------------


def table(columns: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Block:
    """A table, or several where it is long, so that a page break finds a place. The cells are
    LaTeX. (Tables that break by themselves need a second run for their widths.)"""
    every = list(rows)
    for start in range(0, len(every), _ROWS):
        yield ""
        yield rf"\noindent\begin{{tabular}}{{@{{}}{columns}@{{}}}}"
        yield " & ".join(head) + r" \\ \hline"
        yield from (" & ".join(row) + r" \\" for row in every[start : start + _ROWS])
        yield r"\end{tabular}\par\medskip"
