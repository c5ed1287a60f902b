"""A derivative in the making: the Program it extends, and what is added to it.

In: a Program; contributions to the derivative of each array.  Out: `Derivative`.
Not here: which contributions an equation makes, in reverse mode (rules.py) and in forward mode
(forward.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import sympy

from derive.program import Array, Equation, Map, Namer, Program, Sum, check, placed
from derive.program.program import Places
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class Derivative:
    """A Program extended by its derivative.

    `program.inputs` are the given Program's inputs, then the seeds. `seeds` pairs an array of
    the given Program with the input that carries its cotangent (tangent) from outside; an
    array may have several. `of` pairs every array with its cotangent (tangent).
    """

    program: Program
    seeds: tuple[tuple[str, str], ...]
    of: tuple[tuple[str, str], ...]

    def name(self, array: str) -> str:
        return dict(self.of)[array]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """An elementwise contribution to a cotangent, and where its operands lie."""

    expr: functions.Expr
    places: Places = ()


# A contribution to a cotangent: an elementwise expression, or an equation that waits for the
# name of its result.
Deferred = Callable[[str], Equation]
Contribution = Elementwise | Deferred


class Builder:
    """Collects the arrays and equations of the derivative; frozen by `program`."""

    def __init__(self, primal: Program, reserved: Iterable[str] = ()) -> None:
        self.primal = primal
        self.table = primal.table()
        self.name = Namer((*self.table, *reserved))
        self.arrays: list[Array] = list(primal.arrays)
        self.equations: list[Equation] = list(primal.equations)
        self.seeds: list[tuple[str, str]] = []

    def like(self, model: str, name: str) -> str:
        """A new array of the shape of `model`."""
        self.arrays.append(replace(self.table[model], name=name))
        return name

    def seed(self, array: str, wanted: str) -> str:
        name = self.like(array, self.name(wanted))
        self.seeds.append((array, name))
        return name

    def program(self, outputs: tuple[str, ...]) -> Program:
        inputs = (*self.primal.inputs, *(name for _, name in self.seeds))
        return check(
            Program(tuple(self.arrays), inputs, tuple(self.equations), outputs),
        )


def settle(build: Builder, of: str, name: str, parts: list[Contribution]) -> None:
    """Defines the cotangent `name` of `of` as the sum of its contributions."""
    build.like(of, name)
    if len(parts) == 1 and not isinstance(parts[0], Elementwise):
        build.equations.append(parts[0](name))
        return
    terms: list[functions.Expr] = []
    places: dict[str, tuple[int, ...] | None] = {}
    for part in parts:
        if isinstance(part, Elementwise) and _agree(part, places):
            terms.append(part.expr)
            continue
        term = build.like(of, build.name(f"{name}_{len(terms) + 1}"))
        if isinstance(part, Elementwise):
            build.equations.append(placed(term, part.expr, part.places))
        else:
            build.equations.append(part(term))
        terms.append(functions.symbol(term))
    lie = [(operand, place) for operand, place in places.items() if place is not None]
    build.equations.append(placed(name, sympy.Add(*terms), lie))


def _agree(part: Elementwise, places: dict[str, tuple[int, ...] | None]) -> bool:
    """Whether the operands of `part` lie where those of earlier parts do; if so they join them."""
    own = dict(part.places)
    mine = {name: own.get(name) for name in Map("", part.expr).operands}
    if any(places.get(name, place) != place for name, place in mine.items()):
        return False
    places.update(mine)
    return True


def lying(source: Array, axes: tuple[int, ...], *names: str) -> Places:
    """Where arrays of the shape that a reduction of `axes` leaves over lie on its source."""
    kept = tuple(k for k in range(len(source.shape)) if k not in axes)
    return tuple((name, kept) for name in names if 0 < len(kept) < len(source.shape))


def share_of_ties(build: Builder, equation: Sum) -> str:
    """How many elements are as large as the largest one."""
    source, out = build.table[equation.source], build.table[equation.out]
    axes = equation.axes_of(source, out)
    largest = build.like(source.name, build.name(f"{source.name}_is_{out.name}"))
    same = functions.equal(functions.symbol(source.name), functions.symbol(out.name))
    expr = functions.where(same, functions.ONE, functions.ZERO)
    build.equations.append(Map(largest, expr, lying(source, axes, out.name)))
    ties = build.like(out.name, build.name(f"{out.name}_ties"))
    build.equations.append(Sum(ties, largest, axes=axes))
    return ties
