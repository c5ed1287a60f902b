"""The search for a parameter map: parameters of B, written in those of A, so that B computes A.

In: two Steps, and how states and inputs of B go with those of A.  Out: a `Meaning` of B's
parameters under which B's canonical form is A's, or None. It is checked by comparing the two
forms, so a map that is found is a proof.
Not here: what is done with it (one_direction.py); what is decided in which order
(search_tasks.py); the linear equations (constraints.py).

Searched are maps in which each parameter of B is a sum of numbers times products of parameters
of A: permuted, negated, scaled, shifted, merged, tied, transposed, zero, diag(s) @ W, U @ V.
Each function of B that sees a parameter is tried as each function of A of the same name, with
either sign, inner ones first; what must then be equal gives linear equations, and a
contradiction ends the branch. Where parameters of B multiply each other, some of them are set
to 1, to 0 or to the identity first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import islice, permutations, product
from typing import Any

from derive.comparison import polynomial
from derive.comparison.canonical import (
    Canonical,
    Meaning,
    Slopes,
    canonical,
    slopes,
    substitute,
)
from derive.comparison.constraints import Constraints, equate, is_scalar, known
from derive.comparison.matrices import Matrix
from derive.comparison.polynomial import ONE, ZERO, Atom, Poly, of
from derive.comparison.same import Zero, same
from derive.comparison.search_tasks import (
    Task,
    inner_first,
    kind_of,
    multiplying,
    outlined,
    parts_of,
    tasks_of,
)
from derive.comparison.tangents import Kinked, tangent_of
from derive.program import Step
from derive.program.program import Dim

#: Functions of B that are tried as one of A, over all ways to go on, and the settings of
#: parameters that multiply each other.
MAX_NODES, MAX_SETTINGS = 1500, 24
#: Steps of the budget that one of them takes, however much is rewritten for it.
OF_NODE = 15


class GaveUp(Exception):
    """The search is larger than MAX_NODES, or cannot see all maps of its class."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two cells: its Step without idle states, and its canonical form.

    same: states that repeat another -> that other. settled: its forms where parameters that
    multiply others are numbers (Search.settings), and what each cost.
    """

    step: Step
    form: Canonical
    same: Mapping[str, str]
    settled: dict[tuple[Any, ...], tuple[Canonical, int]] = field(
        default_factory=dict, compare=False, repr=False
    )


@dataclass(frozen=True, slots=True)
class Link:
    """How states and inputs of B go with those of A.

    inputs: {input of B: of A}; sizes: {dimension of B: of A}; states: {state of B: what it is,
    told by A's states}. Or through: {state of A: what it is, told by B's states, each called
    ~NAME}. from_zero: whether that holds for zero initial states only.
    """

    inputs: Mapping[str, str]
    sizes: Mapping[str, Dim]
    states: Mapping[str, Poly] = field(default_factory=dict)
    through: Mapping[str, Poly] = field(default_factory=dict)
    from_zero: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether each state is simply another."""
        return not self.through and all(
            len(value.terms) == 1 and value.size == 1 and 1 in value.terms.values()
            for value in self.states.values()
        )


class Search:
    def __init__(self, a: Side, b: Side, link: Link) -> None:
        self.a, self.b, self.link, self.sizes = a, b, link, link.sizes
        self.nodes = 0
        self.complete = True
        mine, theirs = b.step.program.table(), a.step.program.table()
        self.vectors = {
            x: of(Atom("array", y, (), theirs[y].width == 1)) for x, y in link.inputs.items()
        }
        if link.through:
            self.own = dict(link.through)
            self.form = canonical(a.step, Meaning(self.own))
            self.vectors |= {
                s: of(Atom("array", f"~{s}", (), mine[s].width == 1)) for s in b.step.states
            }
        else:
            self.own = {}
            self.form = a.form
            self.vectors |= link.states
        self.vectors |= {twin: self.vectors[s] for twin, s in b.same.items() if s in self.vectors}
        self.own |= {twin: self.own[s] for twin, s in a.same.items() if s in self.own}
        self.wanted = self.wanted_of(self.form)
        self.given = Meaning()
        self.zero = Zero()
        self.tasks: list[Task] = []

    @cached_property
    def candidates(self) -> dict[tuple[str, str], list[Atom]]:
        """A's functions, powers, exponentials and sums, by kind and name."""
        found: dict[tuple[str, str], dict[Atom, None]] = {}
        for theirs in (*self.wanted, *self.form.outputs):
            for atom in inner_first(theirs, set()):
                found.setdefault(kind_of(atom), {}).setdefault(atom)
        return {kind: list(atoms) for kind, atoms in found.items()}

    @cached_property
    def all(self) -> set[Atom]:
        return {atom for known in self.candidates.values() for atom in known}

    @cached_property
    def factors(self) -> list[Fraction]:
        """What sums of A are multiplied by."""
        sums = {
            abs(c)
            for part in parts_of([*self.wanted, *self.form.outputs])
            for mono, c in part.terms.items()
            if any(a.kind == "sum" for a, _ in mono)
        }
        near = sorted(sums - {Fraction(1)}, key=lambda c: (c.numerator + c.denominator, c))[:2]
        return [s * c for c in (Fraction(1), *near) for s in (1, -1)]

    def wanted_of(self, form: Canonical | Slopes, slopes_of: Canonical | None = None) -> list[Poly]:
        """What B's next states must be, as far as A tells."""
        if self.link.through:
            return [form.states[s] for s in self.link.through]
        if slopes_of is None:
            return [substitute(self.link.states[s], form.states) for s in self.b.step.states]
        both = {**slopes_of.states, **{f"d {s}": v for s, v in form.states.items()}}
        return [substitute(tangent_of(self.link.states[s]), both) for s in self.b.step.states]

    def had(self, form: Canonical | Slopes, slopes_of: Canonical | None = None) -> list[Poly]:
        """What B's next states are, in the same order."""
        if not self.link.through:
            return [form.states[s] for s in self.b.step.states]
        nexts = {f"~{s}": v for s, v in form.states.items()}
        if slopes_of is None:
            return [substitute(value, nexts) for value in self.link.through.values()]
        both = {f"~{s}": v for s, v in slopes_of.states.items()}
        both |= {f"d {name}": v for name, v in nexts.items()}
        return [substitute(tangent_of(v), both) for v in self.link.through.values()]

    def pairs(self, form: Canonical) -> list[tuple[Poly, Poly]]:
        """(of B, of A) that must be equal."""
        return [
            *zip(self.had(form), self.wanted, strict=True),
            *zip(form.outputs, self.form.outputs, strict=True),
        ]

    def at_once(self) -> Meaning | None:
        """A map by the names of parameters."""
        return next(filter(self.proves, self.by_name()), None)

    def alike(self) -> bool:
        """Whether both sides have the same terms, functions of parameters taken by their names:
        then a map in which functions correspond one to one may be found."""
        form = canonical(self.b.step, self.whole(Meaning()))
        return all(outlined(x) == outlined(y) for x, y in self.pairs(form))

    def run(self) -> Meaning | None:
        """GaveUp, or polynomial.TooLarge, where the search leads too far."""
        for setting in self.settings():
            self.given = setting
            self.tasks = list(tasks_of(self.pairs(self.form_under(setting))))
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

    def form_under(self, setting: Meaning) -> Canonical:
        """B's form, which is the same for every Link."""
        if not (setting.vectors or setting.matrices):
            return self.b.form
        twins = {twin: of(Atom("array", s)) for twin, s in self.b.same.items()}
        meaning = Meaning({**twins, **setting.vectors}, setting.matrices)
        key = (
            polynomial.is_opaque(),
            *((name, value.key) for name, value in setting.vectors.items()),
            *((name, bool(value.parts)) for name, value in setting.matrices.items()),
        )
        return polynomial.once(self.b.settled, key, lambda: canonical(self.b.step, meaning))

    def settings(self) -> Iterator[Meaning]:
        """Nothing; then parameters that multiply others: one of them, or all of them, at 1, at 0
        or at the identity."""
        yield Meaning()
        table = self.b.step.program.table()
        chosen = multiplying(self.pairs(self.b.form))
        options: list[list[tuple[str, int | None]]] = []
        for name in sorted(chosen)[:4]:
            shape = tuple(self.sizes.get(str(d), d) for d in table[name].shape)
            values = (1, 0) if len(shape) == 1 or shape[0] == shape[1] else (0,)
            options.append([(name, None), *((name, value) for value in values)])
        for combination in islice(product(*options), 1, MAX_SETTINGS):
            vectors, matrices = {}, {}
            for name, value in combination:
                if value is not None and table[name].is_matrix:
                    matrices[name] = Matrix({(): Fraction(1)} if value else {})
                elif value is not None:
                    vectors[name] = ONE if value else ZERO
            yield Meaning(vectors, matrices)

    def search(self, k: int, assigned: Mapping[Atom, Poly], found: Constraints) -> Meaning | None:
        self.nodes += 1
        polynomial.spend(OF_NODE)
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
                    grown = self.equal(mine, theirs.times(sign), assigned, grown)
            if grown is None:
                continue
            value = of(atom)
            if sign != 1 and atom.kind != "power":
                value = polynomial.rebuilt(atom, [arg.times(sign) for arg in atom.args])
            result = self.search(k + 1, {**assigned, task.atom: value}, grown)
            if result is not None:
                return result
        return None

    def choices(self, atom: Atom, assigned: Mapping[Atom, Poly]) -> Iterator[tuple[Atom, Fraction]]:
        """A's functions of that name; those that stand for nothing yet first, unsigned first.

        A sum may be one of A's with a factor that it has somewhere.
        """
        both = atom.kind == "function" and (polynomial.parity(atom.name) or atom.name == "positive")
        even = atom.kind == "power" and atom.name == "2"
        signs = [Fraction(1), Fraction(-1)] if both or even else [Fraction(1)]
        if atom.kind == "sum":
            signs = self.factors
        taken = {a for value in assigned.values() for a in value.atoms()}
        known = self.candidates.get(kind_of(atom), [])
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
        result = ZERO
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
            return of(Atom("size", str(self.sizes.get(atom.name, atom.name)), (), True))
        if atom.kind in ("param", "product"):
            return None
        args = [self.translated(arg, assigned) for arg in atom.args]
        if any(arg is None for arg in args):
            return None
        return polynomial.rebuilt(atom, [arg for arg in args if arg is not None])

    # --- results ----------------------------------------------------------------------------

    def by_name(self) -> Iterator[Meaning]:
        """Parameters of B that are called as in A are A's. The others are A's others: a few in any
        order, many in their own, as in a copy with other names."""
        common = [n for n in self.b.step.params if n in self.a.step.params]
        others = [n for n in self.b.step.params if n not in common]
        rest = [n for n in self.a.step.params if n not in common]
        if len(others) != len(rest):
            return
        for order in permutations(rest) if len(others) <= 3 else (tuple(rest),):
            pairs = [*((n, n) for n in common), *zip(others, order, strict=True)]
            if meaning := self.meaning(self.fixed(Constraints(), pairs, [1] * len(pairs))):
                yield meaning

    def fixed(
        self, found: Constraints, pairs: list[tuple[str, str]], signs: list[int]
    ) -> Constraints:
        mine, theirs = self.b.step.program.table(), self.a.step.program.table()
        for (x, y), sign in zip(pairs, signs, strict=True):
            kind = "matrix" if theirs[y].is_matrix else "vector"
            own = "matrix" if mine[x].is_matrix else "vector"
            if own == kind:
                shape = tuple(self.sizes.get(str(d), d) for d in mine[x].shape)
                turned = kind == "matrix" and theirs[y].shape == shape[::-1] != shape
                key = known(kind, y, transposed=turned, scalar=is_scalar(theirs, y))
                found = found.fixed((kind, x), {key: Fraction(sign)})
        return found

    def meaning(self, found: Constraints) -> Meaning | None:
        return found.meaning(self.b.step, self.a.step, self.vectors, self.sizes, self.given)

    def meanings(self, found: Constraints) -> Iterator[Meaning]:
        """What the equations say; parameters they say nothing of are tried as A's others."""
        first = self.meaning(found)
        if first is not None:
            yield first
        free = [
            name
            for name in self.b.step.params
            if not found.tells(name) and name not in {**self.given.vectors, **self.given.matrices}
        ]
        rest = [name for name in self.a.step.params if not found.uses(name)]
        if not 0 < len(free) <= 4:
            return
        mine, theirs = self.b.step.program.table(), self.a.step.program.table()
        for order in islice(product(rest, repeat=len(free)), 60):
            pairs = list(zip(free, order, strict=True))
            if all(len(mine[x].shape) == len(theirs[y].shape) for x, y in pairs):
                for signs in product((1, -1), repeat=len(free)):
                    meaning = self.meaning(self.fixed(found, pairs, list(signs)))
                    if meaning is not None:
                        yield meaning

    def proves(self, meaning: Meaning) -> bool:
        """Whether B's canonical form is A's if its parameters mean that."""
        self.nodes += 20
        form = canonical(self.b.step, self.whole(meaning))
        return all(same(x, y, self.zero) for x, y in self.pairs(form))

    def whole(self, meaning: Meaning) -> Meaning:
        return Meaning({**self.vectors, **meaning.vectors}, meaning.matrices, self.sizes)

    def both(self, meaning: Meaning) -> tuple[Canonical, Canonical]:
        """A's form and B's."""
        return self.form, canonical(self.b.step, self.whole(meaning))

    def proves_slopes(self, meaning: Meaning) -> tuple[list[Poly], bool]:
        """Differences of directional derivatives that are not seen to be 0; and whether both
        cells have numbers for slopes in the same places."""
        whole = self.whole(meaning)
        ours, theirs = slopes(self.b.step, whole), slopes(self.a.step, Meaning(self.own))
        form = canonical(self.b.step, whole)
        pairs = [
            *zip(self.had(ours, form), self.wanted_of(theirs, self.form), strict=True),
            *zip(ours.outputs, theirs.outputs, strict=True),
        ]
        apart = [y - x for x, y in pairs if not same(x, y, self.zero)]
        return apart, ours.domain == theirs.domain


__all__ = ["GaveUp", "Kinked", "Link", "Search", "Side"]
