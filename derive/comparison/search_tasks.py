"""What the search for a parameter map decides, in which order.

In: pairs of polynomials (of B, of A) that must be equal.  Out: `Task`s: B's functions, inner ones
before those around them, and the equations between; parameters of B that multiply each other;
what a polynomial looks like without its parameters.
Not here: how each is decided (matching.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from derive.comparison.canonical import deep_atoms
from derive.comparison.polynomial import Atom, Poly


@dataclass(frozen=True, slots=True)
class Task:
    """Assign a function of B; or, where `seen`, look for it in A; or check an equation."""

    atom: Atom | None
    pair: tuple[Poly, Poly] | None = None
    seen: bool = False


def kind_of(atom: Atom) -> tuple[str, str]:
    return atom.kind, atom.name


def tasks_of(pairs: list[tuple[Poly, Poly]]) -> Iterator[Task]:
    seen: set[Atom] = set()
    for mine, theirs in sorted(pairs, key=lambda pair: pair[0].size):
        for atom in inner_first(mine, seen):
            yield Task(atom, seen=not any(_loose(arg) for arg in atom.args))
        yield Task(None, (mine, theirs))


def inner_first(value: Poly, seen: set[Atom]) -> Iterator[Atom]:
    """Functions, powers, exponentials and sums in `value`, each once and after those inside."""
    for atom in value.atoms():
        if atom in seen:
            continue
        for arg in atom.args:
            yield from inner_first(arg, seen)
        seen.add(atom)
        if atom.kind in ("function", "exp", "power", "sum") and atom.args:
            yield atom


def parts_of(values: list[Poly]) -> Iterator[Poly]:
    """All polynomials in them, however deep."""
    yield from values
    for atom in deep_atoms(values):
        yield from atom.args


def _loose(value: Poly) -> bool:
    """Whether a parameter stands in it outside another function."""
    return any(atom.kind in ("param", "product") for atom in value.atoms())


def outlined(value: Poly) -> Counter[tuple[Fraction | None, str]]:
    """Its terms, with the name alone of what holds parameters; of a term that a parameter
    multiplies no number, for the parameter may take it."""
    found: Counter[tuple[Fraction | None, str]] = Counter()
    for mono, c in value.terms.items():
        bare = any(atom.kind in ("param", "product") for atom, _ in mono)
        parts = sorted(
            f"{atom.name if atom.kinds & {'param', 'product'} else atom.key}^{n}"
            for atom, n in mono
            if atom.kind not in ("param", "product")
        )
        found[None if bare else abs(c), ".".join(parts)] += 1
    return found


def multiplying(pairs: list[tuple[Poly, Poly]]) -> set[str]:
    """Parameters of B that stand in one term with another one."""
    found: set[str] = set()
    seen: set[Atom] = set()
    waiting = [mine for mine, _ in pairs]
    while waiting:
        for mono in waiting.pop().terms:
            names = [atom for atom, _ in mono if atom.kind in ("param", "product")]
            inner = [
                a
                for atom in names
                if atom.kind == "product"
                for a in atom.args[0].atoms()
                if a.kind in ("param", "product")
            ]
            if len(names) + len(inner) > 1:
                found |= {a.name.removesuffix("'") for a in (*names, *inner)}
            for atom, _ in mono:
                if atom not in seen:
                    seen.add(atom)
                    waiting.extend(atom.args)
    return found
