"""One cell's parameters from another's: a parameter map in one direction, proved or confirmed.

In: two Cells; a fit of one to the other, where there is one.  Out: a `ParameterMap`, or None.
Not here: the search (matching.py), how a fit is read (guess.py), what follows (equal.py).
"""

from __future__ import annotations

from dataclasses import replace

from derive import polynomial
from derive.cell import Cell
from derive.comparison import guess
from derive.comparison.canonical import Matrix, Meaning, reduced
from derive.comparison.constraints import vector_of
from derive.comparison.equal_numbers import Distance, confirm
from derive.comparison.links import links
from derive.comparison.matching import GaveUp, Link, Side, find, proves
from derive.comparison.parameter_map import ParameterMap, Part
from derive.comparison.rank import analytic
from derive.errors import ProgramError

#: A confirmed map agrees to this, relative to the largest number compared.
AGREES = 1e-9


def searched(
    source: Cell, target: Cell, notes: list[str], unfinished: list[str]
) -> ParameterMap | None:
    """The target's parameters from the source's, so that the target computes the source.

    notes, unfinished: what there is to tell is added; unfinished says why None decides nothing.
    """
    try:
        a, b = (Side(*reduced(cell.step)) for cell in (source, target))
        for cell, side in ((source, a), (target, b)):
            for twin, state in side.same.items():
                notes.append(f"{twin} and {state} of {cell.name} are equal if they start so")
        for link in links(a, b):
            try:
                meaning = find(a, b, link)
            except GaveUp:
                unfinished.append(f"not every way to map {source.name} to {target.name} was tried")
                continue
            if meaning is not None:
                return _as_map(source, target, a, b, link, meaning)
    except polynomial.TooLarge:
        unfinished.append("a canonical form is too large to compare")
    return None


def guessed(source: Cell, target: Cell, fit: Distance) -> ParameterMap | None:
    """The map that a fit came to, if it is a proof; or if 50 digits of random points agree."""
    parts = guess.parts(source, target, fit)
    if parts is None:
        return None
    theirs = source.step.program.table()
    meaning = Meaning(
        {
            name: vector_of(each, theirs)
            for name, each in parts.items()
            if len(target.params[name]) == 1
        },
        {name: Matrix(each) for name, each in parts.items() if len(target.params[name]) == 2},
    )
    try:
        a, b = (Side(*reduced(cell.step)) for cell in (source, target))
        for each in links(a, b):
            if not each.affine and not each.scaled and proves(a, b, each, meaning):
                return confirmed(source, target, _as_map(source, target, a, b, each, meaning))
    except polynomial.TooLarge:
        return None
    link = next(links(a, b), None)
    if link is None or a.same or b.same or not (analytic(source) and analytic(target)):
        return None
    made = _as_map(source, target, a, b, link, meaning)
    agreed = guess.digits(source, target, made)
    if agreed < guess.ENOUGH or not confirm(source, target, made) <= AGREES:
        return None
    return replace(confirmed(source, target, made), digits=agreed)


def confirmed(source: Cell, target: Cell, made: ParameterMap) -> ParameterMap:
    """The map with its error. ProgramError where numbers refute it."""
    error = confirm(source, target, made)
    if not error <= AGREES:
        raise ProgramError(
            f"the map from {source.name} to {target.name} is refuted by numbers: {error:g}"
        )
    return replace(made, error=error)


def _as_map(
    source: Cell, target: Cell, a: Side, b: Side, link: Link, meaning: Meaning
) -> ParameterMap:
    params: dict[str, tuple[Part, ...]] = {}
    for name in target.params:
        if name in meaning.matrices:
            parts = meaning.matrices[name].parts.items()
            params[name] = tuple(Part(k, n, t, c) for (k, n, t), c in parts)
        else:
            params[name] = _vector_parts(meaning.vectors[name])
    states = {s: link.names[s] for s in b.step.states}
    return ParameterMap(
        source.name,
        target.name,
        params,
        states,
        dict(link.sizes),
        bool(a.same or b.same or link.scaled),
        _invertible(source, params),
        float("nan"),
        dict(link.affine),
    )


def _vector_parts(value: polynomial.Poly) -> tuple[Part, ...]:
    found = []
    for mono, c in value.terms.items():
        found.append(
            Part("vector", mono[0][0].name, False, c) if mono else Part("one", "", False, c)
        )
    return tuple(sorted(found, key=lambda part: (part.kind == "one", part.factor < 0)))


def _invertible(source: Cell, params: dict[str, tuple[Part, ...]]) -> bool:
    """Whether each parameter is one of the source's, each once, but for a factor and a shift."""
    used = []
    for parts in params.values():
        own = [part for part in parts if part.kind in ("vector", "matrix")]
        if len(own) != 1 or any(part.kind in ("diag", "eye") for part in parts):
            return False
        used.append(own[0].name)
    return sorted(used) == sorted(source.params)
