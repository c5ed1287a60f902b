"""Parameters of a cell with axes that others take up: a scale of each head, a second bias.

In: a Step, which of its parameters may change.  Out: `Put`s: what each parameter is told by fewer.
Not here: forms (indexed.py), which arrays of two cells correspond (indexed_matching.py).

    tanh(s * (W @ x))     with s: N and W: N x D x I is tanh(W @ x) with s * W for W
    tanh(W @ x + b + c)   with b: N x D and c: D is tanh(W @ x + b) with b + c for b
    tanh(2 * (W @ x))     is tanh(W @ x) with 2 * W for W
    tanh(W @ x + b + 1)   is tanh(W @ x + b) with b + 1 for b

So a cell is brought to one with fewer parameters, and none of them stands everywhere with the same
number before it, or beside it. Of the first two kinds each is proved: with s * W for W and 1 for s
the form of the cell is what it was. The third exchanges W for W / 2, the fourth b for b - 1, which
goes both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, permutations

from derive.comparison.canonical import deep_atoms
from derive.comparison.indexed import Indexed, Names, Put, base_of
from derive.comparison.polynomial import Mono, Poly
from derive.program.program import Dim

Shape = tuple[Dim, ...]
#: Forms that are written for one cell; and how often each parameter is asked for its number.
TRIES, ROUNDS = 24, 4


@dataclass(frozen=True, slots=True)
class Absorbed:
    """put: under which the cell is one with fewer parameters; those that are a number are gone.
    told: {parameter of that one: what it is of the cell's own}."""

    put: Mapping[str, Put]
    told: Mapping[str, Put]


#: All parameters are what they are.
NOTHING = Absorbed({}, {})


def absorbed(
    form: Indexed,
    written: Callable[[Names], Indexed | None],
    params: Mapping[str, Shape],
) -> Absorbed:
    """written: the form of the cell under other names.  params: those that may change."""
    put: dict[str, Put] = {}
    told: dict[str, Put] = {}
    for s, takers, number in islice(_candidates(form, params), TRIES):
        if s in put or s in told or takers.keys() & put.keys():
            continue
        more: dict[str, Put] = {}
        for w, axes in takers.items():
            before = told.get(w, Put())
            if before.plus if number else before.times:
                break  # the order would count: b * s + c
            terms = ((s, axes),)
            more[w] = (
                Put(times=(*before.times, *terms)) if number else Put(plus=(*before.plus, *terms))
            )
        alone = {**put, s: Put(number=Fraction(number))}
        found = written(Names(put={**alone, **told, **more})) if len(more) == len(takers) else None
        if found is not None and _same(found, form):
            put, told = alone, {**told, **more}
    small = written(Names(put=put)) if put else form
    for name, factor in _factors(small or form, params):
        own = told.get(name, Put())
        if name not in put and not own.plus:
            put[name] = Put(factor=1 / factor)
            told[name] = Put(factor, own.times)
    for name, shift in _shifts(small or form, params).items():
        before, own = put.get(name, Put()), told.get(name, Put())
        if before.number is None:
            put[name] = replace(before, shift=-shift)
            told[name] = replace(own, shift=own.factor * shift)
    return Absorbed(put, told)


def _same(one: Indexed, other: Indexed) -> bool:
    return (
        one.states == other.states and one.outputs == other.outputs and one.domain == other.domain
    )


def _candidates(
    form: Indexed, params: Mapping[str, Shape]
) -> Iterator[tuple[str, dict[str, tuple[int, ...]], int]]:
    """(a parameter, those that may take it up, where its axes are in them, 1 as a factor or 0 as a
    term): one that stands with it everywhere; or several that stand with it alone."""
    places = [
        (set(_direct(mono)), _bases(mono), [_bases(m) for m in value.terms if m is not mono])
        for value in _polys(form)
        for mono in value.terms
    ]
    for s, shape in params.items():
        own = [(inside, others) for direct, inside, others in places if s in direct]
        if not own:
            continue
        factors = set[str].intersection(*(inside for inside, _ in own)) & params.keys() - {s}
        terms = set[str].intersection(*(set().union(*others) for _, others in own)) & params.keys()
        for number, partners in ((1, factors), (0, terms - {s})):
            for w in sorted(partners):
                for axes in _lying(shape, params[w]):
                    yield s, {w: axes}, number
        always = {
            w: found[0]
            for w in params
            if w != s and all(s in direct for direct, inside, _ in places if w in inside)
            and (found := _lying(shape, params[w]))
        }  # fmt: skip
        if len(always) > 1:
            yield s, always, 1


def _lying(shape: Shape, within: Shape) -> list[tuple[int, ...]]:
    """Where axes of these lengths may be among others."""
    return [
        axes
        for axes in permutations(range(len(within)), len(shape))
        if all(within[k] == dim for k, dim in zip(axes, shape, strict=True))
    ]


def _direct(mono: Mono) -> Iterator[str]:
    """Parameters that are factors, outside of sums."""
    return (base_of(atom)[0] for atom, _ in mono if atom.kind == "param")


def _factors(form: Indexed, params: Mapping[str, Shape]) -> Iterator[tuple[str, Fraction]]:
    """Parameters that stand with the same number before them everywhere, and that number."""
    found: dict[str, set[Fraction]] = {name: set() for name in params}
    alone: dict[str, set[str]] = {name: set() for name in params}
    for value in _polys(form):
        for mono, c in value.terms.items():
            for name in (bases := _bases(mono) & params.keys()):
                once = sum(n for atom, n in mono if name in _bases(((atom, n),)))
                found[name].add(abs(c) if once == 1 else Fraction(1))
                alone[name] |= bases - {name}
    used: set[str] = set()
    for name, numbers in found.items():
        if len(numbers) == 1 and numbers != {Fraction(1)} and not alone[name] & used:
            used.add(name)
            yield name, numbers.pop()


def _shifts(form: Indexed, params: Mapping[str, Shape]) -> dict[str, Fraction]:
    """Parameters that stand everywhere by themselves, as a term, and the number beside them that
    they take up: b + 1 is a parameter as b is.

    Where the numbers differ from place to place the largest is taken up. Others are then left, but
    the same ones in all cells that differ in this number alone.
    """
    bare: dict[str, list[tuple[int, Fraction]]] = {name: [] for name in params}
    numbers: list[Fraction] = []
    for value in dict.fromkeys(_polys(form)):
        for mono, c in value.terms.items():
            once = {base_of(atom)[0] for atom, n in mono if n == 1 and len(mono) == 1
                    and atom.kind == "param"}  # fmt: skip
            for name in _bases(mono) & bare.keys():
                if name in once:
                    bare[name].append((len(numbers), c))
                else:
                    del bare[name]
        numbers.append(value.terms.get((), Fraction(0)))
    found: dict[str, Fraction] = {}
    for _ in range(ROUNDS):
        for name, places in bare.items():
            shift = max((numbers[k] / c for k, c in places), default=Fraction(0))
            for k, c in places:
                numbers[k] -= c * shift
            if shift:
                found[name] = found.get(name, Fraction(0)) + shift
    return {name: shift for name, shift in found.items() if shift}


def _polys(form: Indexed) -> Iterator[Poly]:
    """Those in which numbers stand before products: not the product within a sum over indices."""
    values = [*form.states.values(), *form.outputs]
    yield from values
    for atom in deep_atoms(values):
        if atom.kind not in ("indexed sum", "running"):
            yield from atom.args


def _bases(mono: Mono) -> set[str]:
    """Parameters in a product, and in the sums over indices that are factors of it."""
    found: set[str] = set()
    for atom, _ in mono:
        if atom.kind == "param":
            found.add(base_of(atom)[0])
        elif atom.kind in ("indexed sum", "running"):
            for inner in atom.args[0].terms:
                found |= _bases(inner)
    return found
