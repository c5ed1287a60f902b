"""The search for a parameter map: parameters of B, told by those of A, so that B computes A.

In: two Steps, and which state and input of B is which of A.  Out: a `Meaning` of B's parameters
under which B's canonical form is A's, or None. It is checked by comparing the two forms, so a
map that is found is a proof.
Not here: what is done with it (one_way.py); the linear equations (constraints.py).

Searched are maps in which each parameter of B is a sum of numbers times parameters of A, plus
a number: permuted, negated, scaled, shifted, merged, tied, transposed, zero; and matrices that
are the diagonal of a vector, or the identity. Each function of B that sees a parameter is tried
as each function of A of the same name, with either sign, inner ones first; what must then be
equal gives linear equations, and a contradiction ends the branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, permutations, product

from derive import polynomial
from derive.comparison.canonical import Canonical, Meaning, canonical
from derive.comparison.constraints import Constraints, equate
from derive.polynomial import Atom, Poly, of
from derive.program import Step

MAX_NODES = 3000


class GaveUp(Exception):
    """The search is larger than MAX_NODES, or cannot see all maps of its class."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two cells: its Step without idle states, and its canonical form.

    same: states that repeat another -> that other.
    """

    step: Step
    form: Canonical
    same: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """names: {input or state of B: that of A}; sizes: {dimension of B: that of A}.

    scaled: states of B that are A's times exp(sign * the state `by` of A).
    affine: {state of B: (factor, shift)}: it is A's times a number, plus a number.
    """

    names: Mapping[str, str]
    sizes: Mapping[str, str]
    scaled: tuple[str, ...] = ()
    by: str = ""
    sign: int = 1
    affine: Mapping[str, tuple[Fraction, Fraction]] = field(default_factory=dict)


def find(a: Side, b: Side, link: Link) -> Meaning | None:
    """GaveUp, or polynomial.TooLarge, where the search leads too far."""
    return _Search(a, b, link).run()


def proves(a: Side, b: Side, link: Link, meaning: Meaning) -> bool:
    """Whether B's canonical form is A's if its parameters mean that."""
    search = _Search(a, b, link)
    vectors = {**search.vectors, **meaning.vectors}
    return search.proves(Meaning(vectors, meaning.matrices, link.sizes))


@dataclass(frozen=True, slots=True)
class _Task:
    """Assign a function of B; or, where `seen`, look for it in A; or check an equation."""

    atom: Atom | None
    pair: tuple[Poly, Poly] | None = None
    seen: bool = False


class _Search:
    def __init__(self, a: Side, b: Side, link: Link) -> None:
        self.a, self.b, self.link, self.sizes = a, b, link, link.sizes
        self.nodes = 0
        self.complete = True
        self.vectors = {
            mine: self.moved(
                mine, of(Atom("array", other, (), _width(a.step, other) == 1)) * self.factor(mine)
            )
            for mine, other in link.names.items()
        }
        self.vectors |= {twin: self.vectors[s] for twin, s in b.same.items() if s in self.vectors}
        self.wanted = {
            mine: self.moved(mine, a.form.states[other] * self.factor(mine, after=True))
            for mine, other in link.names.items()
            if mine in b.form.states
        }
        pairs = [(b.form.states[mine], theirs) for mine, theirs in self.wanted.items()]
        pairs += list(zip(b.form.outputs, a.form.outputs, strict=True))
        self.candidates: dict[tuple[str, str], list[Atom]] = {}
        for _, theirs in pairs:
            for atom in _inner_first(theirs):
                known = self.candidates.setdefault(_kind(atom), [])
                if atom not in known:
                    known.append(atom)
        self.all = {atom for known in self.candidates.values() for atom in known}
        self.tasks = list(_tasks(pairs))

    def factor(self, state: str, after: bool = False) -> Poly:
        link = self.link
        if state not in link.scaled:
            return polynomial.ONE
        by = self.a.form.states[link.by] if after else of(Atom("array", link.by))
        return polynomial.exp(by.times(Fraction(link.sign)))

    def moved(self, state: str, value: Poly) -> Poly:
        if state not in self.link.affine:
            return value
        factor, shift = self.link.affine[state]
        return value.times(factor) + polynomial.constant(shift)

    def run(self) -> Meaning | None:
        for same in self.by_name():
            if self.proves(same):
                return same
        # Functions without parameters are A's too, unless they cancel: that is tried last.
        whole = self.tasks
        for tasks in (whole, [task for task in whole if not task.seen]):
            if len(tasks) < len(whole) or tasks is whole:
                self.tasks, self.nodes = tasks, 0
                found = self.search(0, {}, Constraints())
                if found is not None:
                    return found
        if not self.complete:
            raise GaveUp
        return None

    def search(self, k: int, assigned: Mapping[Atom, Poly], found: Constraints) -> Meaning | None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise GaveUp
        if k == len(self.tasks):
            return next(filter(self.proves, self.meanings(found)), None)
        task = self.tasks[k]
        if task.seen and task.atom is not None:
            value = self.atom(task.atom, assigned)
            atoms = () if value is None else tuple(value.atoms())
            if atoms and not any(atom in self.all for atom in atoms):
                return None
            return self.search(k + 1, assigned, found)
        if task.atom is None:
            assert task.pair is not None
            more = self.equal(task.pair[0], task.pair[1], assigned, found)
            return None if more is None else self.search(k + 1, assigned, more)
        for atom, sign in self.choices(task.atom, assigned):
            grown: Constraints | None = found
            for mine, theirs in zip(task.atom.args, atom.args, strict=True):
                if grown is not None:
                    signed = theirs.times(Fraction(-1)) if sign < 0 else theirs
                    grown = self.equal(mine, signed, assigned, grown)
            if grown is None:
                continue
            value = of(atom)
            if sign < 0:
                value = polynomial.rebuilt(atom, [arg.times(Fraction(-1)) for arg in atom.args])
            result = self.search(k + 1, {**assigned, task.atom: value}, grown)
            if result is not None:
                return result
        return None

    def choices(self, atom: Atom, assigned: Mapping[Atom, Poly]) -> Iterator[tuple[Atom, int]]:
        """A's functions of that name; those that stand for nothing yet first, unsigned first."""
        both = atom.kind == "function" and (polynomial.parity(atom.name) or atom.name == "positive")
        signs = (1, -1) if both else (1,)
        taken = {a for value in assigned.values() for a in value.atoms()}
        known = self.candidates.get(_kind(atom), [])
        for free in (True, False):
            for sign in signs:
                for other in known:
                    if (other not in taken) == free:
                        yield other, sign

    def equal(
        self, mine: Poly, theirs: Poly, assigned: Mapping[Atom, Poly], found: Constraints
    ) -> Constraints | None:
        result = equate(mine, theirs, lambda part: self.translated(part, assigned), found)
        self.complete &= result is None or result.complete
        return result

    def translated(self, value: Poly, assigned: Mapping[Atom, Poly]) -> Poly | None:
        """A polynomial of B without parameters, in A's atoms; None where that is not known."""
        result = polynomial.ZERO
        for mono, c in value.terms.items():
            product = polynomial.constant(c)
            for atom, n in mono:
                part = self.atom(atom, assigned)
                if part is None:
                    return None
                product = product * polynomial.power(part, Fraction(n))
            result += product
        return result

    def atom(self, atom: Atom, assigned: Mapping[Atom, Poly]) -> Poly | None:
        if atom in assigned:
            return assigned[atom]
        if atom.kind == "array":
            return self.vectors.get(atom.name)
        if atom.kind == "size":
            return of(Atom("size", self.sizes.get(atom.name, atom.name), (), True))
        if atom.kind in ("param", "product"):
            return None
        args = [self.translated(arg, assigned) for arg in atom.args]
        if any(arg is None for arg in args):
            return None
        return polynomial.rebuilt(atom, [arg for arg in args if arg is not None])

    # --- results ----------------------------------------------------------------------------

    def by_name(self) -> Iterator[Meaning]:
        """Parameters of B that are called as in A are A's; the few others are A's others."""
        mine, theirs = self.b.step.program.table(), self.a.step.program.table()

        def fit(name: str, other: str) -> bool:
            return _fits(theirs[other].shape, mine[name].shape, self.sizes)

        common = [n for n in self.b.step.params if n in self.a.step.params and fit(n, n)]
        others = [n for n in self.b.step.params if n not in common]
        rest = [n for n in self.a.step.params if n not in common]
        if len(others) != len(rest) or len(others) > 3:
            return
        for order in permutations(rest):
            pairs = [*((n, n) for n in common), *zip(others, order, strict=True)]
            if all(fit(x, y) for x, y in pairs):
                found = Constraints()
                for x, y in pairs:
                    found = found.fixed("matrix" if mine[x].is_matrix else "vector", x, y)
                meaning = self.meaning(found)
                if meaning is not None:
                    yield meaning

    def meaning(self, found: Constraints) -> Meaning | None:
        return found.meaning(self.b.step, self.a.step, self.vectors, self.sizes, _fits)

    def meanings(self, found: Constraints) -> Iterator[Meaning]:
        """What the equations say; parameters they say nothing of are tried as A's others."""
        first = self.meaning(found)
        if first is not None:
            yield first
        mine, theirs = self.b.step.program.table(), self.a.step.program.table()
        free = [name for name in self.b.step.params if not found.tells(name)]
        rest = [name for name in self.a.step.params if not found.uses(name)]
        if not 0 < len(free) <= 4:
            return
        for order in islice(product(rest, repeat=len(free)), 120):
            pairs = list(zip(free, order, strict=True))
            if all(_fits(theirs[y].shape, mine[x].shape, self.sizes) for x, y in pairs):
                for signs in product((1, -1), repeat=len(free)):
                    more = found
                    for (x, y), sign in zip(pairs, signs, strict=True):
                        kind = "matrix" if mine[x].is_matrix else "vector"
                        more = more.fixed(kind, x, y, sign)
                    meaning = self.meaning(more)
                    if meaning is not None:
                        yield meaning

    def proves(self, meaning: Meaning) -> bool:
        form = canonical(self.b.step, meaning)
        return form.outputs == self.a.form.outputs and all(
            form.states[state] == value for state, value in self.wanted.items()
        )


def _kind(atom: Atom) -> tuple[str, str]:
    return atom.kind, atom.name


def _tasks(pairs: list[tuple[Poly, Poly]]) -> Iterator[_Task]:
    seen: set[Atom] = set()
    for mine, theirs in sorted(pairs, key=lambda pair: len(pair[0].key)):
        for atom in _inner_first(mine):
            if atom not in seen:
                seen.add(atom)
                yield _Task(atom, seen=not any(_loose(arg) for arg in atom.args))
        yield _Task(None, (mine, theirs))


def _inner_first(value: Poly) -> Iterator[Atom]:
    """Functions, powers, exponentials and sums in `value`, each after those inside it."""
    for atom in value.atoms():
        for arg in atom.args:
            yield from _inner_first(arg)
        if atom.kind in ("function", "exp", "power", "sum") and atom.args:
            yield atom


def _loose(value: Poly) -> bool:
    """Whether a parameter stands in it outside another function."""
    return any(atom.kind in ("param", "product") for atom in value.atoms())


def _width(step: Step, name: str) -> object:
    return step.program.table()[name].width


def _fits(theirs: tuple[object, ...], mine: tuple[object, ...], sizes: Mapping[str, str]) -> bool:
    """Whether an array of A's shape can stand for one of B's."""
    wanted = tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in mine)
    return theirs == wanted or (len(wanted) == 1 and theirs == (1,))
