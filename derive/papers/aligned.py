r"""Equations of a paper -> equations that agree on what a step is, and on what a name is.

In: equations as they were parsed.  Out: equations in which every left side is of step t.
Not here: parsing (parse.py), what a symbol is (roles.py).

- `h_{t+1} = f h_t` is `h_t = f h_{t-1}`: an array whose equation is of another step is shifted.
- `x' = [x_t, h_{t-1}]`, a name for joined vectors, is written out where it is read.
- Where `a_t = a^{c r_t}` reads the parameter a beside the array a_t, the parameter is called a_0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from derive.papers.roles import Equation, Key
from derive.papers.tree import Group, Node, Symbol, changed, symbols


def align(equations: Sequence[Equation]) -> list[Equation]:
    """The equations after all three changes."""
    found = _apart(list(equations))
    found = _shifted(found)
    return _written_out(found)


def _everywhere(
    equations: Sequence[Equation], change: Callable[[Symbol], Symbol]
) -> list[Equation]:
    return [
        replace(
            equation,
            left=tuple(map(change, equation.left)),
            right=changed(equation.right, change),
        )
        for equation in equations
    ]


def _apart(equations: list[Equation]) -> list[Equation]:
    """Where a symbol without an index of time cannot be the array of that name, it is called a_0:
    it stands on the right of that array's equation, or both are defined."""
    timed = {s.key: e for e in equations for s in e.left if s.time is not None}
    plain = {s.key for e in equations for s in e.left if s.time is None}
    two: set[Key] = plain & set(timed)
    for key, equation in timed.items():
        if any(s.key == key and s.time is None for s in symbols(equation.right)):
            two.add(key)

    def change(symbol: Symbol) -> Symbol:
        if symbol.key in two and symbol.time is None:
            return replace(symbol, parts=(*symbol.parts, "0"))
        return symbol

    return _everywhere(equations, change) if two else equations


def _shifted(equations: list[Equation]) -> list[Equation]:
    shift = {s.key: s.time for e in equations for s in e.left if s.time}

    def change(symbol: Symbol) -> Symbol:
        if symbol.key in shift and symbol.time is not None:
            return replace(symbol, time=symbol.time - (shift[symbol.key] or 0))
        return symbol

    return _everywhere(equations, change) if shift else equations


def _written_out(equations: list[Equation]) -> list[Equation]:
    joined = {
        e.left[0].key: e.right
        for e in equations
        if len(e.left) == 1 and isinstance(e.right, Group) and len(e.right.items) > 1
    }

    def change(symbol: Symbol) -> Node:
        return joined[symbol.key] if symbol.key in joined and not symbol.time else symbol

    rest = [e for e in equations if e.left[0].key not in joined]
    return [replace(e, right=changed(e.right, change)) for e in rest] if joined else equations
