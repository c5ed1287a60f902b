"""Which arrays and dimensions of one cell are those of another, axes in any order.

In: two `Indexed` forms.  Out: candidates: `Names` under which the second may be the first.
Not here: whether it is (equal_axes.py writes it under those names and compares).

Terms are paired with terms that look the same (indexed_looks.py).
The first time two arrays meet decides which they are and how their axes lie; later ones must agree.
Signs do not count here, for the normal form of tanh(a - b) depends on names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from derive.comparison import polynomial
from derive.comparison.indexed import ALONE, Indexed, Names, base_of, bound_of, free
from derive.comparison.indexed_looks import EVEN, Looks, looks_of
from derive.comparison.polynomial import Atom, Poly
from derive.program.program import Dim

Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shapes:
    """Of one cell: {array: its shape}, and what kind of array it is."""

    shapes: Mapping[str, tuple[Dim, ...]]
    kinds: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Found:
    """arrays: {of b: (of a, the axis of b at each axis of a)}.  at: {index of b: of a}.

    pairs: atoms that were matched on the way, with the indices that are free in them. What was
    matched once is not matched again: an atom may stand in many others, and those in many.
    """

    arrays: Mapping[str, tuple[str, Axes]] = field(default_factory=dict)
    dims: Mapping[Dim, Dim] = field(default_factory=dict)
    at: Mapping[str, str] = field(default_factory=dict)
    pairs: frozenset[tuple[Atom, Atom, frozenset[tuple[str, str]]]] = frozenset()

    def dim(self, mine: Dim, theirs: Dim) -> _Found | None:
        if isinstance(mine, int) or isinstance(theirs, int):
            return self if mine == theirs else None
        if theirs in self.dims:
            return self if self.dims[theirs] == mine else None
        if mine in self.dims.values():
            return None
        return replace(self, dims={**self.dims, theirs: mine})

    def index(self, mine: str, theirs: str) -> _Found | None:
        if mine == ALONE or theirs == ALONE:
            return self if mine == theirs else None
        if theirs in self.at:
            return self if self.at[theirs] == mine else None
        if mine in self.at.values():
            return None
        return replace(self, at={**self.at, theirs: mine})


class Matching:
    """tied: whether several parameters of b may be one of a, repeated along other axes. Then b
    computes what a does, and not the other way round."""

    def __init__(
        self, a: Indexed, b: Indexed, of_a: Shapes, of_b: Shapes, *, tied: bool = False
    ) -> None:
        self.forms, self.shapes, self.tied = (a, b), (of_a, of_b), tied

    def candidates(
        self, given: Mapping[str, str], outputs: Iterable[tuple[str, str]] = ()
    ) -> Iterator[Names]:
        """given: {input of b: of a}.  outputs: arrays of a and b; they pair by place, index by
        index, and so do their dimensions."""
        both = self._known(0, {mine: mine for mine in given.values()}), self._known(1, given)
        if self.tied:
            self.looks = Looks(both[0], ranks=False), Looks(both[1], ranks=False)
        else:
            self.looks = looks_of(self.forms[0], both[0]), looks_of(self.forms[1], both[1])
        start = _Found()
        for theirs, mine in given.items():
            axes = tuple(range(len(self.shapes[0].shapes[mine])))
            new = self._with(start, mine, theirs, axes)
            if new is None:
                return
            start = new
        for mine, theirs in outputs:
            shapes = self.shapes[0].shapes[mine], self.shapes[1].shapes[theirs]
            for one, other in zip(*shapes, strict=True):
                new = start.dim(one, other)
                if new is None:
                    return
                start = new
        todo = list(zip(self.forms[0].outputs, self.forms[1].outputs, strict=True))
        indices = {str(k): str(k) for k in range(3)}
        for found in self.all(start, [(mine, theirs, indices) for mine, theirs in todo]):
            dims = {str(theirs): mine for theirs, mine in found.dims.items()}
            yield Names(dict(found.arrays), dims)

    def _known(self, k: int, given: Mapping[str, str]) -> dict[str, str]:
        """{array: what is known of it}: its kind, and which input it is."""
        return {n: f"{kind} {given.get(n, '')}" for n, kind in self.shapes[k].kinds.items()}

    def all(
        self, found: _Found, todo: list[tuple[Poly, Poly, Mapping[str, str]]]
    ) -> Iterator[_Found]:
        """Everything that waits, and the next values of states that are met on the way."""
        if not todo:
            yield found
            return
        (mine, theirs, at), rest = todo[0], todo[1:]
        for new in self.poly(mine, theirs, replace(found, at=at)):
            more = [
                (
                    self.forms[0].states[name],
                    self.forms[1].states[other],
                    {str(axis): str(k) for k, axis in enumerate(axes)},
                )
                for other, (name, axes) in new.arrays.items()
                if other not in found.arrays and self.shapes[1].kinds[other] == "state"
            ]
            yield from self.all(new, [*rest, *more])

    # --- forms ------------------------------------------------------------------------------

    def poly(self, mine: Poly, theirs: Poly, found: _Found) -> Iterator[_Found]:
        if len(mine.terms) != len(theirs.terms):
            return
        yield from self.terms(list(mine.terms), list(theirs.terms), mine, theirs, found)

    def terms(
        self, left: list[polynomial.Mono], right: list[polynomial.Mono], mine: Poly, theirs: Poly,
        found: _Found,
    ) -> Iterator[_Found]:  # fmt: skip
        if not left:
            yield found
            return
        # The term with the fewest partners first.
        one, other = self.looks
        partners = {
            m: [n for n in right if abs(mine.terms[m]) == abs(theirs.terms[n])
                and one.mono(m) == other.mono(n)]
            for m in left
        }  # fmt: skip
        term = min(left, key=lambda m: len(partners[m]))
        others = [m for m in left if m is not term]
        for partner in partners[term]:
            polynomial.spend()
            for new in self.factors(list(term), list(partner), found):
                rest = [n for n in right if n is not partner]
                yield from self.terms(others, rest, mine, theirs, new)

    def factors(
        self, left: list[tuple[Atom, int]], right: list[tuple[Atom, int]], found: _Found
    ) -> Iterator[_Found]:
        if not left:
            yield found
            return
        (atom, n), rest = left[0], left[1:]
        for k, (other, m) in enumerate(right):
            if n == m and self.looks[0].atom(atom) == self.looks[1].atom(other):
                for new in self.atom(atom, other, found):
                    yield from self.factors(rest, right[:k] + right[k + 1 :], new)

    def atom(self, mine: Atom, theirs: Atom, found: _Found) -> Iterator[_Found]:
        polynomial.spend()
        if mine.kind in ("array", "param"):
            yield from self.array(mine, theirs, found)
            return
        if mine.kind == "size":
            new = found.dim(mine.name, theirs.name)
            if new is not None:
                yield new
            return
        pair = (mine, theirs, frozenset((k, found.at.get(k, "")) for k in free(theirs)))
        if pair in found.pairs:
            yield found
            return
        for new in self.inside(mine, theirs, found):
            yield replace(new, pairs=new.pairs | {pair})

    def inside(self, mine: Atom, theirs: Atom, found: _Found) -> Iterator[_Found]:
        if mine.kind in ("indexed sum", "largest", "running"):
            yield from self.bound(mine, theirs, found)
            return
        yield from self.args(mine.args, theirs.args, found)
        if mine.name in EVEN:
            yield from self.args(mine.args, theirs.args[::-1], found)

    def args(self, mine: Sequence[Poly], theirs: Sequence[Poly], found: _Found) -> Iterator[_Found]:
        if not mine:
            yield found
            return
        for new in self.poly(mine[0], theirs[0], found):
            yield from self.args(mine[1:], theirs[1:], new)

    def bound(self, mine: Atom, theirs: Atom, found: _Found) -> Iterator[_Found]:
        own, other = bound_of(mine), bound_of(theirs)
        outer = found.at
        for order in permutations(other):
            new: _Found | None = found
            for (index, dim), (partner, their_dim) in zip(own, order, strict=True):
                new = new and new.dim(_dim(dim), _dim(their_dim))
                new = new and replace(new, at={**new.at, partner: index})
            if mine.kind == "running" and new is not None:
                new = new.index(mine.name.split("|")[2], theirs.name.split("|")[2])
            if new is None:
                continue
            for inner in self.args(mine.args, theirs.args, new):
                yield replace(inner, at=outer)

    def array(self, mine: Atom, theirs: Atom, found: _Found) -> Iterator[_Found]:
        (name, own), (other, indices) = base_of(mine), base_of(theirs)
        if other in found.arrays:
            known, axes = found.arrays[other]
            if known == name:
                new = self._at(found, own, [indices[axis] for axis in axes])
                if new is not None:
                    yield new
            return
        tied = self.tied and self.shapes[0].kinds[name] == "param"
        if not tied and name in {known for known, _ in found.arrays.values()}:
            return
        for axes in permutations(range(len(indices)), len(own)):
            if len(own) != len(indices) and not tied:
                return
            new = self._at(found, own, [indices[axis] for axis in axes])
            new = None if new is None else self._with(new, name, other, axes)
            if new is not None:
                yield new

    def _at(self, found: _Found, own: Sequence[str], indices: Sequence[str]) -> _Found | None:
        new: _Found | None = found
        for mine, theirs in zip(own, indices, strict=True):
            new = new and new.index(mine, theirs)
        return new

    def _with(self, found: _Found, name: str, other: str, axes: Axes) -> _Found | None:
        (one, two) = self.shapes
        if one.kinds[name] != two.kinds[other]:
            return None
        shape, theirs = one.shapes[name], two.shapes[other]
        if len(shape) != len(axes):
            return None
        new: _Found | None = found
        for dim, axis in zip(shape, axes, strict=True):
            new = new and new.dim(dim, theirs[axis])
        return new and replace(new, arrays={**new.arrays, other: (name, axes)})


def _dim(text: str) -> Dim:
    return int(text) if text.isdigit() else text
