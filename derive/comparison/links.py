"""Which state, input and width of one cell may be which of another.

In: two Sides.  Out: `Link`s to be tried, the likeliest first.
Not here: whether one of them leads to a map (matching.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, permutations, product

from derive.comparison.canonical import arrays_in
from derive.comparison.matching import Link, Side


def links(a: Side, b: Side) -> Iterator[Link]:
    """Pairs of states, by name first; inputs and outputs pair by place."""
    if len(a.step.inputs) != len(b.step.inputs) or len(a.step.outputs) != len(b.step.outputs):
        return
    theirs = list(a.step.states)
    orders = list(permutations(theirs, len(b.step.states)))
    orders.sort(key=lambda order: sum(x != y for x, y in zip(b.step.states, order, strict=True)))
    for place, order in enumerate(orders[:24]):
        inputs = _same_names(b.step.inputs, a.step.inputs)
        names = {**inputs, **dict(zip(b.step.states, order, strict=True))}
        sizes = _sizes(a, b, names)
        if sizes is None:
            continue
        yield Link(names, sizes)
        if place == 0 or len(orders) == 2:
            yield from (Link(names, sizes, affine=each) for each in _affine(b.step.states))
        extra = [state for state in theirs if state not in order]
        if len(extra) == 1 and _read_alike(a, b, names, extra[0]):
            yield from _scaled(b, names, sizes, extra[0])


def _read_alike(a: Side, b: Side, names: dict[str, str], by: str) -> bool:
    """Whether next values and outputs read the same states, but for `by`."""
    for mine, theirs in (
        *((b.form.states[s], a.form.states[names[s]]) for s in b.step.states),
        *zip(b.form.outputs, a.form.outputs, strict=True),
    ):
        read = {names[name] for name in arrays_in(mine) if name in b.step.states}
        if read != (arrays_in(theirs) & set(a.step.states)) - {by}:
            return False
    return True


def _affine(states: tuple[str, ...]) -> Iterator[dict[str, tuple[Fraction, Fraction]]]:
    """Signs of any of the states; one state, or all of them, doubled, halved or shifted by 1."""
    if len(states) > 3:
        return
    for signs in list(product((1, -1), repeat=len(states)))[1:]:
        yield {
            s: (Fraction(sign), Fraction(0))
            for s, sign in zip(states, signs, strict=True)
            if sign < 0
        }
    moves = ((2, 0), (Fraction(1, 2), 0), (1, 1), (1, -1))
    for factor, shift in moves:
        move = Fraction(factor), Fraction(shift)
        yield from ({state: move} for state in states)
        if len(states) > 1:
            yield dict.fromkeys(states, move)


def _scaled(b: Side, names: dict[str, str], sizes: dict[str, str], by: str) -> Iterator[Link]:
    states = b.step.states
    for n in range(len(states), 0, -1):
        for chosen in combinations(states, n):
            for sign in (1, -1):
                yield Link(names, sizes, chosen, by, sign)


def _same_names(mine: tuple[str, ...], theirs: tuple[str, ...]) -> dict[str, str]:
    if set(mine) == set(theirs):
        return {name: name for name in mine}
    return dict(zip(mine, theirs, strict=True))


def _sizes(a: Side, b: Side, names: dict[str, str]) -> dict[str, str] | None:
    """{dimension of B: of A}, or None where widths do not pair."""
    mine, theirs = b.step.program.table(), a.step.program.table()
    pairs = [(mine[x].width, theirs[y].width) for x, y in names.items()]
    outputs = zip(b.step.outputs, a.step.outputs, strict=True)
    pairs += [(mine[x].width, theirs[y].width) for x, y in outputs]
    sizes: dict[str, str] = {}
    for x, y in pairs:
        if isinstance(x, int) or isinstance(y, int):
            if x != y:
                return None
        elif sizes.setdefault(x, y) != y:
            return None
    used = set(sizes.values())
    free = [dim for dim in a.step.program.dims() if dim not in used]
    for dim in b.step.program.dims():
        if dim not in sizes and free:
            sizes[dim] = free.pop(free.index(dim) if dim in free else 0)
    return sizes
