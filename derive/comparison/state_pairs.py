"""Which state, input and width of one cell may be which of another.

In: two Sides.  Out: `Link`s to be tried, the likeliest first.
Not here: whether one of them leads to a map (matching.py).

Inputs and outputs pair by place, inputs of the same names by name. States pair by what is done
with them: two states may be one only if they are read in the same places. A state may also be
the other's with a sign, a factor or a shift that stands as a number in one of the cells; or what
an output makes of it; or times the exponential of a state that the other cell has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import combinations, islice, product

from derive.comparison import polynomial
from derive.comparison.canonical import (
    Meaning,
    arrays_in,
    canonical_of_nexts,
    deep_atoms,
    substitute,
)
from derive.comparison.matching import Link, Side
from derive.comparison.polynomial import Atom, Poly, constant, of
from derive.program.program import Dim

#: How many pairings of states are tried, and how many moves of each.
MAX_ORDERS, MAX_MOVES = 24, 40
#: Ends the name of a width of the second cell that no width of the first corresponds to.
FREE = " of b"


def links(a: Side, b: Side) -> Iterator[Link]:
    """Those in which each state is simply another, first; each once."""
    if len(a.step.inputs) != len(b.step.inputs) or len(a.step.outputs) != len(b.step.outputs):
        return
    inputs = _same_names(b.step.inputs, a.step.inputs)
    orders = list(islice(_orders(a, b), MAX_ORDERS))
    # Outputs depend on every state of either cell: none can be left over.
    even = len(a.step.states) == len(b.step.states)
    for order in orders if even else []:
        for sizes in _sizes(a, b, {**inputs, **order}):
            yield Link(inputs, sizes, {s: _array(a, t) for s, t in order.items()})
    yield from _through(a, b, inputs)
    for order in orders:
        for sizes in islice(_sizes(a, b, {**inputs, **order}), 1):
            for moved in _stabilised(a, b, order):
                yield Link(inputs, sizes, moved, from_zero=True)
    if len(a.step.states) < len(b.step.states):
        for order in islice(_orders(b, a), 4):
            turned = {t: s for s, t in order.items()}
            for sizes in islice(_sizes(a, b, {**inputs, **turned}), 1):
                for moved in _stabilised(b, a, order):
                    renamed = {s: _called(v) for s, v in moved.items()}
                    yield Link(inputs, sizes, {}, renamed, from_zero=True)
    factors, shifts = _numbers(a, b)
    for order in orders if even else []:
        for sizes in islice(_sizes(a, b, {**inputs, **order}), 1):
            for moved in islice(_moved(a, order, factors, shifts), MAX_MOVES):
                yield Link(inputs, sizes, moved)


def _array(a: Side, name: str) -> Poly:
    return of(Atom("array", name, (), a.step.program.table()[name].width == 1))


def _same_names(mine: tuple[str, ...], theirs: tuple[str, ...]) -> dict[str, str]:
    if set(mine) == set(theirs):
        return {name: name for name in mine}
    return dict(zip(mine, theirs, strict=True))


# --- which state is which -------------------------------------------------------------------


def _orders(a: Side, b: Side) -> Iterator[dict[str, str]]:
    """{state of B: of A}, each of A's once: the same names first, then the same signature."""
    mine, theirs = _signatures(b), _signatures(a)
    alike = {s: sorted(theirs, key=lambda t: (s != t, mine[s] != theirs[t])) for s in b.step.states}
    exact = {s: [t for t in alike[s] if mine[s] == theirs[t]] for s in alike}
    seen = set()
    for known in (exact, alike):
        for order in islice(_assignments(list(b.step.states), known), MAX_ORDERS):
            key = tuple(order.items())
            if key not in seen:
                seen.add(key)
                yield order


def _assignments(
    states: list[str], known: Mapping[str, list[str]], taken: frozenset[str] = frozenset()
) -> Iterator[dict[str, str]]:
    if not states:
        yield {}
        return
    first, *rest = states
    for other in known[first]:
        if other not in taken:
            for more in _assignments(rest, known, taken | {other}):
                yield {first: other, **more}


def _signatures(side: Side) -> dict[str, str]:
    """Of each state: which outputs and which states read it, and what it reads, some rounds
    deep. Names do not count."""
    states = side.step.states
    reads = {s: arrays_in(side.form.states[s]) for s in states}
    outputs = [arrays_in(value) for value in side.form.outputs]
    widths = {s: str(side.step.program.table()[s].width == 1) for s in states}
    marks = {
        s: f"{widths[s]}{[s in read for read in outputs]}{_functions(side.form.states[s])}"
        for s in states
    }
    for _ in range(min(len(states), 4)):
        new = {}
        for s in states:
            into = sorted(marks[t] for t in states if t in reads[s])
            out = sorted(marks[t] for t in states if s in reads[t])
            new[s] = f"{marks[s]}<{into}>{out}"
        marks = {s: _digest(text) for s, text in new.items()}
    return marks


def _functions(value: Poly) -> list[str]:
    return sorted(
        {f"{a.kind}{a.name}" for a in deep_atoms([value]) if a.kind in ("function", "exp")}
    )


def _digest(text: str) -> str:
    return Atom("function", "", (of(Atom("array", text)),)).key


# --- what a state may be of another ---------------------------------------------------------


def _numbers(a: Side, b: Side) -> tuple[list[Fraction], list[Fraction]]:
    """Factors and shifts that stand as numbers in the cells, simple ones first."""
    seen: set[Fraction] = set()
    for side in (a, b):
        values = [*side.form.states.values(), *side.form.outputs]
        for part in [*values, *(arg for atom in deep_atoms(values) for arg in atom.args)]:
            seen |= {abs(c) for c in part.terms.values()}
    near = sorted(seen, key=lambda c: (c.numerator + c.denominator, c))[:6]
    factors = {Fraction(2), Fraction(1, 2)}
    for one in near:
        factors |= {one, 1 / one} | {one / other for other in near}
    factors -= {Fraction(1)}
    simple = sorted(factors, key=lambda c: (c.numerator + c.denominator, c))[:8]
    shifts = sorted({Fraction(1), *near}, key=lambda c: (c.numerator + c.denominator, c))[:4]
    return simple, shifts


def _moved(
    a: Side, order: Mapping[str, str], factors: list[Fraction], shifts: list[Fraction]
) -> Iterator[dict[str, Poly]]:
    """Signs of any of the states; one state, or all of them, times a number or shifted."""
    plain = {s: _array(a, t) for s, t in order.items()}
    states = tuple(order)
    for signs in islice(product((1, -1), repeat=len(states)), 1, 16):
        yield {s: plain[s].times(Fraction(k)) for s, k in zip(states, signs, strict=True)}
    groups = [(s,) for s in states] + ([states] if len(states) > 1 else [])
    for factor in factors:
        for group in groups:
            yield {s: v.times(factor) if s in group else v for s, v in plain.items()}
    for shift in shifts:
        for sign in (1, -1):
            for group in groups:
                by = constant(shift * sign)
                yield {s: v + by if s in group else v for s, v in plain.items()}


def _through(a: Side, b: Side, inputs: Mapping[str, str]) -> Iterator[Link]:
    """A's state as what B's output makes of its states, and the other way round."""
    for source, target, turned in ((b, a, False), (a, b, True)):
        made = _made_of_states(source, target)
        if not made:
            continue
        pairs = dict(inputs)
        for sizes in islice(_sizes(a, b, pairs), 1):
            if turned:
                yield Link(inputs, sizes, {s: made[s] for s in b.step.states})
            else:
                renamed = {s: _called(v) for s, v in made.items()}
                yield Link(inputs, sizes, {}, renamed, from_zero=True)


def _made_of_states(source: Side, target: Side) -> dict[str, Poly] | None:
    """{state of target: what it is of source's states}, where each is the target's output and
    the source makes that output of its next states alone; None otherwise."""
    nexts = dict(zip(target.step.next_states, target.step.states, strict=True))
    found: dict[str, Poly] = {}
    for wanted, output in zip(target.step.outputs, _outputs_of_nexts(source), strict=True):
        if wanted in nexts:
            if output is None or nexts[wanted] in found:
                return None
            found[nexts[wanted]] = output
    if set(found) != set(target.step.states):
        return None
    if all(len(v.terms) == 1 and v.size == 1 for v in found.values()):
        return None  # simply a state
    return found


def _outputs_of_nexts(side: Side) -> list[Poly | None]:
    """Outputs as polynomials of the states, which stand for their next values."""
    table = side.step.program.table()
    marks = {
        n: of(Atom("array", f"next {s}", (), table[s].width == 1))
        for s, n in zip(side.step.states, side.step.next_states, strict=True)
    }
    form = canonical_of_nexts(
        side.step, Meaning({t: _array(side, s) for t, s in side.same.items()}), marks
    )
    found: list[Poly | None] = []
    for value in form:
        atoms = deep_atoms([value])
        others = [x for x in atoms if x.kind in ("param", "product", "sum")]
        arrays = [x for x in atoms if x.kind == "array"]
        if others or not arrays or not all(x.name.startswith("next ") for x in arrays):
            found.append(None)
        else:
            found.append(_renamed(value, lambda name: name.removeprefix("next ")))
    return found


def _called(value: Poly) -> Poly:
    return _renamed(value, lambda name: f"~{name}")


def _renamed(value: Poly, name: Callable[[str], str]) -> Poly:
    arrays = {
        atom.name: of(Atom("array", name(atom.name), (), atom.scalar))
        for atom in deep_atoms([value])
        if atom.kind == "array"
    }
    return substitute(value, arrays)


def _stabilised(a: Side, b: Side, order: Mapping[str, str]) -> Iterator[dict[str, Poly]]:
    """States of B that are A's times exp(m) or exp(-m), where only one of the cells has m."""
    extra = [t for t in a.step.states if t not in order.values()]
    if len(extra) != 1 or not _read_alike(a, b, order, extra[0]):
        return
    by = _array(a, extra[0])
    for n in range(len(order), 0, -1):
        for chosen in combinations(order, n):
            for sign in (1, -1):
                scale = polynomial.exp(by.times(Fraction(sign)))
                yield {
                    s: _array(a, t) * scale if s in chosen else _array(a, t)
                    for s, t in order.items()
                }


def _read_alike(a: Side, b: Side, order: Mapping[str, str], by: str) -> bool:
    """Whether next values and outputs read the same states, but for `by`."""
    for mine, theirs in (
        *((b.form.states[s], a.form.states[t]) for s, t in order.items()),
        *zip(b.form.outputs, a.form.outputs, strict=True),
    ):
        read = {order[name] for name in arrays_in(mine) if name in order}
        if read != (arrays_in(theirs) & set(a.step.states)) - {by}:
            return False
    return True


# --- widths ---------------------------------------------------------------------------------


def _sizes(a: Side, b: Side, names: Mapping[str, str]) -> Iterator[dict[str, Dim]]:
    """{dimension of B: of A}: what pairs, and for each other one of B first one that A has left,
    then any of A's. None where widths do not pair."""
    mine, theirs = b.step.program.table(), a.step.program.table()
    pairs = [(mine[x].width, theirs[y].width) for x, y in names.items()]
    outputs = zip(b.step.outputs, a.step.outputs, strict=True)
    pairs += [(mine[x].width, theirs[y].width) for x, y in outputs]
    sizes: dict[str, Dim] = {}
    for x, y in pairs:
        if isinstance(x, int) or isinstance(y, int):
            if x != y:
                return
        elif sizes.setdefault(x, y) != y:
            return
    used = set(sizes.values())
    free = [dim for dim in a.step.program.dims() if dim not in used]
    loose = [dim for dim in b.step.program.dims() if dim not in sizes]
    if not loose:
        yield sizes
        return
    left = list(free)
    first: dict[str, Dim] = {}
    for dim in loose:
        # A width of B that nothing of A has is called as no width of A can be.
        first[dim] = left.pop(left.index(dim) if dim in left else 0) if left else f"{dim}{FREE}"
    yield {**sizes, **first}
    choices = [*free, *dict.fromkeys(str(y) for y in sizes.values())]
    for each in islice(product(choices, repeat=len(loose)), 6):
        if dict(zip(loose, each, strict=True)) != first:
            yield {**sizes, **dict(zip(loose, each, strict=True))}
