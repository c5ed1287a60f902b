"""Products along axes, and matrices made of vectors.

In: a product, or a call of `outer`, `diag`, `eye` or `concat`.  Out: a Value.
Not here: whether axes meet (shapes.py), reductions (reduce.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import sympy

from derive.language.axes.shapes import Shape, is_diagonal, ways
from derive.language.axes.values import Index, Part, Place, Value, indices, symbol
from derive.language.tree import Binary, Call, Name, Transpose
from derive.program import Array, Layout, Map, Matmul, Over, Sum
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.widths import Dim

if TYPE_CHECKING:
    from derive.language.axes.lower import Lines

_LEADING = "nm"


def transposed(lines: Lines, value: Value) -> Value:
    """With its last two axes swapped."""
    rank = len(value.axes)
    order: Place = (*range(rank - 2), rank - 1, rank - 2)
    axes = tuple(value.axes[k] for k in order)
    parts = {}
    for index in indices(axes):
        at = tuple(index[k] for k in order)
        part = value.parts[at]
        if part.expr.is_number:
            parts[index] = part
            continue
        own = dict(part.places)
        if part.expr.is_Symbol and own.get(str(part.expr)) == order:
            parts[index] = symbol(str(part.expr))
            continue
        name = lines.array(part, value.shape(at), f"{lines.target}_matrix")
        parts[index] = Part(functions.symbol(name), {name: order})
    return Value(axes, parts)


# --- products -------------------------------------------------------------------------------


def product(lines: Lines, node: Binary, own: str | None) -> Value:
    if is_diagonal(node.left) or is_diagonal(node.right):
        return _scaled(lines, node)
    flipped = isinstance(node.left, Transpose)
    left = node.left.matrix if isinstance(node.left, Transpose) else node.left
    matrix = lines.value(left)
    if not isinstance(left, Name):
        matrix = lines.arrays_of(matrix, f"matrix_{lines.target}")
    word = left.name if isinstance(left, Name) else f"matrix_{lines.target}"
    vector = lines.arrays_of(lines.value(node.right), f"{word}_arg")
    of_left, of_right = lines.shape(node.left), lines.shape(node.right)
    lead = _Leading(of_left[:-2], of_right[:-1])
    axes = (*lead.axes(matrix.axes[:-2], vector.axes[:-1]), matrix.axes[-1 if flipped else -2])
    depth = range(len(vector.axes[-1]))
    parts: dict[Index, Part] = {}
    for index in indices(axes):
        mine, theirs = lead.of(index[:-1])
        terms = []
        for k in depth:
            at = (*mine, k, index[-1]) if flipped else (*mine, index[-1], k)
            alone = own if len(depth) == 1 else None
            terms.append(
                _multiplied(lines, lead, (matrix, at), (vector, (*theirs, k)), flipped, alone)
            )
        parts[index] = Part(cast(Expr, sympy.Add(*terms)))
    return Value(axes, parts)


class _Leading:
    """The leading axes of two operands, those of one among those of the other."""

    def __init__(self, mine: Shape, theirs: Shape) -> None:
        self.whole = max(mine, theirs, key=len)
        self.mine: Place = ways(mine, self.whole)[0] if mine else ()
        self.theirs: Place = ways(theirs, self.whole)[0] if theirs else ()

    def axes(
        self, mine: tuple[tuple[Dim, ...], ...], theirs: tuple[tuple[Dim, ...], ...]
    ) -> tuple[tuple[Dim, ...], ...]:
        return mine if len(mine) >= len(theirs) else theirs

    def of(self, index: Index) -> tuple[Index, Index]:
        return tuple(index[k] for k in self.mine), tuple(index[k] for k in self.theirs)

    def letters(self) -> tuple[str, str, str]:
        """Of the two operands and the result."""
        whole = _LEADING[: len(self.whole)]
        return "".join(whole[k] for k in self.mine), "".join(whole[k] for k in self.theirs), whole


def _multiplied(
    lines: Lines,
    lead: _Leading,
    left: tuple[Value, Index],
    right: tuple[Value, Index],
    flipped: bool,
    own: str | None,
) -> Expr:
    """One product of two arrays."""
    a, b = (str(value.parts[index].expr) for value, index in (left, right))
    matrix, vector = lines.arrays[a], lines.arrays[b]
    shape = left[0].shape(left[1])
    rows = shape[-1] if flipped else shape[-2]
    prefix = f"{a}_T" if flipped else a
    wanted = f"{prefix}_{lines.target if b in lines.unnamed else b}"
    if len(shape) == 2 and len(vector.shape) == 1 and not matrix.per_row:
        layout = Layout.TRANSPOSED if flipped else Layout.NORMAL

        def plain(name: str) -> Matmul:
            return Matmul(name, a, b, layout)

        return lines.computed(plain, (rows,), vector.per_row, wanted, own).expr
    mine, theirs, whole = lead.letters()
    inner = "ji" if flipped else "ij"
    subscripts = f"{mine}{inner},{theirs}j->{whole}i"
    leading = (shape[:-2], vector.shape[:-1])[len(theirs) > len(mine)]
    return _along(lines, matrix, vector, subscripts, (*leading, rows), wanted, own).expr


def _along(
    lines: Lines,
    left: Array,
    right: Array,
    subscripts: str,
    shape: tuple[Dim, ...],
    wanted: str,
    own: str | None,
) -> Part:
    def equation(name: str) -> Matmul:
        return Matmul(name, left.name, right.name, Layout.AXES, subscripts)

    return lines.computed(equation, shape, left.per_row or right.per_row, wanted, own)


def _scaled(lines: Lines, node: Binary) -> Value:
    """diag(v) @ A and A @ diag(v), which multiply no matrices."""
    rows = is_diagonal(node.left)
    diag, other = (node.left, node.right) if rows else (node.right, node.left)
    assert isinstance(diag, Call)
    whole, vector = lines.value(other), lines.value(diag.args[0])
    shape, of_vector = lines.shape(other), lines.shape(diag.args[0])
    rank = len(shape)
    axis = rank - 2 if rows and rank > 1 else rank - 1
    leading = ways(of_vector[:-1], shape[:axis])[0] if of_vector[:-1] else ()
    items = [(vector, (*leading, axis)), (whole, lines.whole(whole))]
    return lines.together(items, whole.axes, lambda v, a: v * a)


def _outer(lines: Lines, node: Call, own: str | None) -> Value:
    values = [lines.arrays_of(lines.value(arg), f"outer_arg_{lines.target}") for arg in node.args]
    left, right = values
    lead = _Leading(*(lines.shape(arg)[:-1] for arg in node.args))
    axes = (*lead.axes(left.axes[:-1], right.axes[:-1]), left.axes[-1], right.axes[-1])
    mine, theirs, whole = lead.letters()
    subscripts = f"{mine}i,{theirs}j->{whole}ij"
    parts = {}
    for index in indices(axes):
        at, there = lead.of(index[:-2])
        a = lines.arrays[str(left.parts[(*at, index[-2])].expr)]
        b = lines.arrays[str(right.parts[(*there, index[-1])].expr)]
        leading = (a.shape[:-1], b.shape[:-1])[len(theirs) > len(mine)]
        shape = (*leading, a.shape[-1], b.shape[-1])
        alone = own if len(tuple(indices(axes))) == 1 else None
        wanted = f"outer_{a.name}_{b.name}"
        parts[index] = _along(lines, a, b, subscripts, shape, wanted, alone)
    return Value(axes, parts)


# --- matrices -------------------------------------------------------------------------------


def unit_matrix(lines: Lines, dim: Dim) -> Expr:
    """1 where i = j, made of running sums: i + 1 and n - j, which add up to n + 1 there."""
    if dim == 1:
        return functions.ONE
    key = ("unit matrix", dim)
    if key not in lines.known:
        ones, up, down, unit = (
            lines.namer(f"{word}_{dim}") for word in ("ones", "count_up", "count_down", "eye")
        )
        for name in (ones, up, down):
            lines.arrays[name] = Array(name, (dim,), per_row=False)
        lines.arrays[unit] = Array(unit, (dim, dim), per_row=False)
        a, b = functions.symbol(up), functions.symbol(down)
        same = functions.equal(a + b, functions.size(dim) + 1)
        lines.equations += [
            Map(ones, functions.ONE),
            Sum(up, ones, Over.CUMSUM, (0,)),
            Sum(down, ones, Over.CUMSUM_BACK, (0,)),
            Map(unit, functions.where(same, 1, 0), ((up, (0,)), (down, (1,)))),
        ]
        lines.known[key] = unit
    return functions.symbol(lines.known[key])


def _eye(lines: Lines, node: Call, own: str | None) -> Value:
    axes = lines.axes_of(node)
    parts: dict[Index, Part] = {
        (i, j): Part(unit_matrix(lines, axes[0][i]) if i == j else functions.ZERO)
        for i, j in indices(axes)
    }
    return Value(axes, parts)


def _diag(lines: Lines, node: Call, own: str | None) -> Value:
    """A vector on the diagonal of a matrix."""
    vector = lines.value(node.args[0])
    axes = (*vector.axes, vector.axes[-1])
    rank = len(axes)
    parts = {}
    for index in indices(axes):
        if index[-1] != index[-2]:
            parts[index] = Part(functions.ZERO)
            continue
        at = index[:-1]
        unit = Part(unit_matrix(lines, axes[-1][index[-1]]))
        items: list[tuple[Part, tuple[Dim, ...], Place | None]] = [
            (vector.parts[at], vector.shape(at), tuple(range(rank - 1))),
            (unit, vector.shape(at)[-1:] * 2, (rank - 2, rank - 1)),
        ]
        parts[index] = lines.joined(items, rank, lambda v, e: v * e)
    return Value(axes, parts)


def _concat(lines: Lines, node: Call, own: str | None) -> Value:
    return joined([lines.value(arg) for arg in node.args])


def joined(values: Sequence[Value]) -> Value:
    """Along the last axis."""
    parts: dict[Index, Part] = {}
    last: tuple[Dim, ...] = ()
    for value in values:
        for index, part in value.parts.items():
            parts[(*index[:-1], len(last) + index[-1])] = part
        last = (*last, *value.axes[-1])
    axes = (*values[0].axes[:-1], last)
    return Value(axes, {index: parts[index] for index in indices(axes)})


FUNCTIONS: Mapping[str, Callable[[Lines, Call, str | None], Value]] = {
    "outer": _outer,
    "eye": _eye,
    "diag": _diag,
    "concat": _concat,
}
