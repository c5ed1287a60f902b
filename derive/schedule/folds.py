"""Products and sums along the axes of what belongs to a row, as equations that run in registers.

In: a Program.  Out: the Program, in which a product along axes is an elementwise product, and a sum
over the axes that the result lacks.
Not here: which of them run in one pass over an array (passes.py).

    y = S @ q      S_q[n, i, j] = S[n, i, j] * q[n, j],   y[n, i] = the sum of S_q over j

A sum over the last axis, over the one before it, or over both is a *fold*: it takes what a pass
over an array has in registers, and no array of products is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from derive.program import Array, Equation, Layout, Map, Matmul, Namer, Over, Program, Sum
from derive.program.program import is_aligned, placed
from derive.symbolic import functions


def outers_as_maps(program: Program) -> Program:
    """Products that sum over nothing, `ni,nj->nij`, are elementwise."""
    table = program.table()
    equations = tuple(_as_map(equation, table) or equation for equation in program.equations)
    return replace(program, equations=equations)


def with_folds(program: Program) -> Program:
    """The same for those that sum, where the sum is a fold."""
    table = program.table()
    namer = Namer(table)
    arrays = list(program.arrays)
    equations: list[Equation] = []
    for equation in program.equations:
        found = _as_fold(equation, table, namer)
        if found is None:
            equations.append(equation)
            continue
        array, product, total = found
        arrays.append(array)
        equations += (product, total)
    return replace(program, arrays=tuple(arrays), equations=tuple(equations))


def is_fold(equation: object, table: Mapping[str, Array]) -> bool:
    """Whether a sum goes over the last axis of several, the one before it, or both."""
    if not isinstance(equation, Sum) or equation.over is not Over.SUM:
        return False
    source, out = table[equation.source], table[equation.out]
    rank = len(source.shape)
    axes = equation.axes_of(source, out)
    inner = all(axis >= rank - 2 for axis in axes)
    return rank > 1 and bool(axes) and inner and source.per_row == out.per_row


def _as_map(equation: Equation, table: Mapping[str, Array]) -> Map | None:
    if not isinstance(equation, Matmul) or equation.layout is not Layout.AXES:
        return None
    left, right, out = equation.letters()
    rows = [table[name].per_row for name in (*equation.operands, equation.out)]
    if set(left + right) != set(out) or (any(rows) and not rows[2]):
        return None
    return _product(equation, out, equation.out)


def _product(equation: Matmul, letters: str, name: str) -> Map | None:
    """The elementwise product on axes `letters`; None where an operand would lie in two ways."""
    places = []
    for operand, own in zip(equation.operands, equation.letters()[:2], strict=True):
        place = tuple(letters.index(letter) for letter in own)
        if not is_aligned(place, len(letters)):
            return None
        if own != letters:
            places.append((operand, place))
    if equation.left == equation.right and places:
        return None
    left, right = map(functions.symbol, equation.operands)
    return placed(name, left * right, places)


def _as_fold(
    equation: Equation, table: Mapping[str, Array], namer: Namer
) -> tuple[Array, Map, Sum] | None:
    if not isinstance(equation, Matmul) or equation.layout is not Layout.AXES:
        return None
    arrays = [table[name] for name in (*equation.operands, equation.out)]
    mine, theirs, out = equation.letters()
    used = dict.fromkeys(mine + theirs)
    if not (arrays[2].per_row and 1 < len(used) <= 3 and len(out) < len(used)):
        return None
    widths = dict(zip((*mine, *theirs), (*arrays[0].shape, *arrays[1].shape), strict=True))
    for letters in _orders(tuple(used), (mine, theirs), out):
        gone = tuple(k for k, letter in enumerate(letters) if letter not in out)
        if gone[0] < len(letters) - 2:
            continue
        name = namer(f"{equation.out}_terms")
        product = _product(equation, letters, name)
        if product is not None:
            array = Array(name, tuple(widths[letter] for letter in letters), True)
            return array, product, Sum(equation.out, name, Over.SUM, gone)
    return None


def _orders(used: Sequence[str], operands: tuple[str, str], out: str) -> list[str]:
    """Orders of the axes in which the result keeps its own; first those that turn no operand."""
    found = ["".join(order) for order in permutations(used) if _keeps("".join(order), out)]
    return sorted(found, key=lambda order: sum(not _keeps(order, own) for own in operands))


def _keeps(order: str, own: str) -> bool:
    return "".join(letter for letter in order if letter in own) == own
