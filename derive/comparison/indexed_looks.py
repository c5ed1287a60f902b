"""What atoms of a form look like without names: which may correspond to which.

In: an `Indexed` form, and what is known of its arrays.  Out: `Looks`.
Not here: which arrays do correspond (indexed_matching.py).

The look of an array is first what is given: whether it is a parameter or a state, which input it
is. Then it is refined, as the vertices of a graph are by their neighbours: the look of an array
takes in everything that it stands in, and that in turn the looks of the arrays there. Signs, the
order of terms and of axes, and the names of dimensions do not count. Two forms that are the same
but for names have the same looks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from derive.comparison.canonical import deep_atoms
from derive.comparison.indexed import Indexed, base_of, bound_of
from derive.comparison.polynomial import Atom, Mono, Poly, short

#: Functions of two arguments that may change places.
EVEN = ("maximum", "minimum", "equal", "not_equal")
#: How often looks are refined. Each takes in what is one operator further away.
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Looks:
    """arrays: {name: its look}. Those of atoms are made when they are first asked for.

    ranks: whether arrays of another number of axes look otherwise."""

    arrays: Mapping[str, str]
    ranks: bool = True
    _known: dict[Atom, str] = field(default_factory=dict)

    def atom(self, atom: Atom) -> str:
        if atom not in self._known:
            self._known[atom] = self._made(atom)
        return self._known[atom]

    def _made(self, atom: Atom) -> str:
        if atom.kind in ("array", "param"):
            name, own = base_of(atom)
            rank = len(own) if self.ranks else ""
            return f"{atom.kind}{rank}{self.arrays.get(name, '')}"
        name = atom.name if atom.kind in ("function", "power") else ""
        if atom.kind == "running":
            name = atom.name.split("|")[0]
        if atom.kind in ("indexed sum", "largest"):
            name = str(len(bound_of(atom)))
        args = [self.poly(arg) for arg in atom.args]
        inner = ";".join(sorted(args) if name in EVEN else args)
        return short(f"{atom.kind} {name}({inner})")

    def mono(self, mono: Mono) -> str:
        return ".".join(sorted(f"{self.atom(atom)}^{n}" for atom, n in mono))

    def poly(self, value: Poly) -> str:
        terms = (f"{abs(c)}*{self.mono(mono)}" for mono, c in value.terms.items())
        return short("+".join(sorted(terms)))


def looks_of(form: Indexed, start: Mapping[str, str]) -> Looks:
    """start: {array: what is known of it}."""
    looks = Looks(start)
    atoms = deep_atoms([*form.states.values(), *form.outputs])
    # An atom is larger than what stands inside of it.
    outer_first = sorted(atoms, key=lambda atom: -atom.size)
    for _ in range(ROUNDS):
        looks = Looks(_refined(form, outer_first, looks))
    return looks


def _refined(form: Indexed, outer_first: Iterable[Atom], looks: Looks) -> dict[str, str]:
    # Which index a sum calls b1 depends on names, so what differs in indices only is one.
    alike = Looks({name: name for name in looks.arrays})
    around: dict[str, set[str]] = defaultdict(set)

    def note(value: Poly, where: str) -> None:
        for mono, c in value.terms.items():
            here = short(f"{where} {abs(c)}*{looks.mono(mono)}")
            for atom, n in mono:
                around[alike.atom(atom)].add(f"{here}^{n}")

    for name, value in form.states.items():
        note(value, f"next {looks.arrays.get(name, '')}")
    for k, value in enumerate(form.outputs):
        note(value, f"output {k}")
    found: dict[str, set[str]] = defaultdict(set)
    for atom in outer_first:
        where = short(" ".join(sorted(around[alike.atom(atom)])))
        if atom.kind in ("array", "param"):
            found[base_of(atom)[0]].add(where)
        for k, arg in enumerate(atom.args):
            note(arg, f"{where} {looks.atom(atom)} {0 if atom.name in EVEN else k}")
    own = {name: looks.poly(value) for name, value in form.states.items()}
    return {
        name: short(f"{before}|{own.get(name, '')}|{' '.join(sorted(found[name]))}")
        for name, before in looks.arrays.items()
    }
