"""The step backwards: the states before it, from those after it and the inputs.

In: a Step, intervals of its arrays.  Out: an `Inverse`, or None where none is found.
Not here: words (inspect/facts/structure.py).

One state after the other: a next value in which a single state is not known yet is solved for it.
What stands around that state is taken off from the outside: sums, products, functions that are one
to one, and products with a matrix, which has to be regular.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import sympy

from derive.errors import ArgumentError
from derive.program import Array, Layout, Map, Matmul, Program, Step, interpret, placed, prune
from derive.recurrence.linear import coefficients
from derive.recurrence.ranges import Ranges
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY, Algebra
from derive.symbolic.functions import Expr
from derive.symbolic.interval import Interval

#: f(v) = y solved for v.
INVERSES: Mapping[str, Callable[[Expr], Expr]] = {
    "tanh": lambda y: (functions.log1p(y) - functions.log1p(-y)) / 2,
    "sigmoid": lambda y: functions.log(y) - functions.log1p(-y),
    "exp": functions.log,
    "expm1": functions.log1p,
    "log": functions.exp,
    "log1p": functions.expm1,
    "softplus": lambda y: y + functions.log(-functions.expm1(-y)),
    "logsigmoid": lambda y: y - functions.log(-functions.expm1(y)),
    "softsign": lambda y: y / (1 - functions.absolute(y)),
    "leaky_relu": lambda y: functions.where(functions.less(0, y), y, y / functions.LEAKY_SLOPE),
    "elu": lambda y: functions.where(functions.less(0, y), y, functions.log1p(y)),
}


@dataclass(frozen=True, slots=True)
class Solved:
    """state = value; or matrix @ state = value (matrix.T, where turned).

    value: over arrays of the step and next values.  nonzero: what the value divides by, where it
    may be 0, and between what it lies.  program: computes the value, as its only output.
    """

    state: str
    value: Expr
    matrix: str
    turned: bool
    nonzero: tuple[tuple[Expr, Interval], ...]
    program: Program


@dataclass(frozen=True, slots=True)
class Inverse:
    """The states before a step, each from what is known when its turn comes."""

    solved: tuple[Solved, ...]
    step: Step

    @property
    def matrices(self) -> tuple[str, ...]:
        """Those that have to be square and regular."""
        return tuple(dict.fromkeys(one.matrix for one in self.solved if one.matrix))

    @property
    def nonzero(self) -> tuple[Expr, ...]:
        """What must not be 0."""
        return tuple(dict.fromkeys(expr for one in self.solved for expr, _ in one.nonzero))

    def restore(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        sizes: Mapping[str, int],
        algebra: Algebra = NUMPY,
    ) -> dict[str, Any]:
        """{state: [rows, *shape] before the step}. inputs, after: {name: [rows, *shape]}, the
        states after the step; sizes: {dimension: length}."""
        nexts = dict(zip(self.step.states, self.step.next_states, strict=True))
        if missing := [name for name in self.step.states if name not in after]:
            raise ArgumentError(f"the state {missing[0]} after the step is missing")
        rows = len(next(iter(after.values())))
        known = {**params, **inputs, **{nexts[s]: after[s] for s in self.step.states}}
        for one in self.solved:
            given = {name: known[name] for name in one.program.inputs}
            values = interpret(one.program, given, rows=rows, sizes=sizes, algebra=algebra)
            value = values[one.program.outputs[0]]
            if one.matrix:
                matrix = np.asarray(params[one.matrix], dtype=float)
                matrix = matrix.T if one.turned else matrix
                value = np.linalg.solve(matrix, np.asarray(value, dtype=float).T).T
            known[one.state] = value
        return {state: known[state] for state in self.step.states}


def inverse(step: Step, ranges: Ranges) -> Inverse | None:
    """The inverse of a step, where its equations can be solved one after the other."""
    left = list(step.states)
    solved: list[Solved] = []
    while left:
        solver = _Solver(step, left, ranges)
        found = next(filter(None, (solver.solved(k) for k in range(len(step.states)))), None)
        if found is None:
            return None
        solved.append(found)
        left.remove(found.state)
    return Inverse(tuple(solved), step)


class _NotFound(Exception):
    """An equation is not solved by these means."""


class _Solver:
    """left: states that are not known yet."""

    def __init__(self, step: Step, left: list[str], ranges: Ranges) -> None:
        self.step = step
        self.left = left
        self.ranges = ranges
        self.table = step.program.table()
        self.definitions = step.program.definitions()
        self.nexts = set(step.next_states)
        self.unknown: dict[str, frozenset[str]] = {
            name: frozenset({name} & set(left)) for name in step.program.inputs
        }
        for equation in step.program.equations:
            self.unknown[equation.out] = self._under(equation.operands)
        self.places: dict[str, tuple[int, ...] | None] = {}

    def _under(self, names: tuple[str, ...]) -> frozenset[str]:
        """States that arrays depend on; next values are known."""
        found = (self.unknown[name] for name in names if name not in self.nexts)
        return frozenset[str]().union(*found)

    def solved(self, k: int) -> Solved | None:
        """The k-th next value solved for the one state that is not known in it."""
        name = self.step.next_states[k]
        equation = self.definitions.get(name)
        if equation is None:  # the next value is a state or an input itself
            return None
        under = self._under(equation.operands)
        if len(under) != 1:
            return None
        (state,) = under
        self.places = {}
        try:
            value, matrix, turned, divisors = self._peeled(name, state)
        except _NotFound:
            return None
        return Solved(state, value, matrix, turned, divisors, self._program(value, state, matrix))

    # --- taking off what stands around the state

    def _peeled(
        self, name: str, state: str
    ) -> tuple[Expr, str, bool, tuple[tuple[Expr, Interval], ...]]:
        """The value of the state, or of a matrix times it."""
        target, matrix, turned = self._product_of(name, state)
        shape = self.table[name].shape
        if self.table[target].shape != shape:
            raise _NotFound
        expr = self._written(name, target, top=True)
        unknown = functions.symbol(target)
        value: Expr = functions.symbol(name)
        divisors: list[Expr] = []
        while expr != unknown:
            expr, value = self._off(expr, value, unknown, divisors)
        risky = []
        for divisor in dict.fromkeys(divisors):
            interval = self.ranges.of(divisor)
            if interval.has_zero:
                risky.append((divisor, interval))
        return value, matrix, turned, tuple(risky)

    def _off(
        self, expr: Expr, value: Expr, unknown: sympy.Symbol, divisors: list[Expr]
    ) -> tuple[Expr, Expr]:
        """expr = value, without what stands outermost on the left."""
        affine = coefficients(expr, frozenset((unknown,)))
        if affine is not None:
            slope = affine[0].get(unknown)
            if slope is None:
                raise _NotFound
            if slope not in (1, -1):
                divisors.append(slope)
            return unknown, (value - affine[1]) / slope
        inside = [arg for arg in expr.args if arg.has(unknown)]
        if len(inside) != 1:
            raise _NotFound
        inner = cast(Expr, inside[0])
        if expr.is_Add:
            return inner, value - (expr - inner)
        if expr.is_Mul:
            factor = expr / inner
            if not factor.is_number:
                divisors.append(factor)
            return inner, value / factor
        name = functions.NAME_OF_HEAD.get(expr.func, "")
        if isinstance(expr, functions.stop_gradient):
            return inner, value
        if name not in INVERSES:
            raise _NotFound
        return inner, cast(Expr, INVERSES[name](value))

    def _product_of(self, name: str, state: str) -> tuple[str, str, bool]:
        """(what to solve for, the matrix it is a product with, whether that is transposed): the
        state itself, or the one product that holds it."""
        products: set[str] = set()
        plain = False
        waiting, seen = [name], {name}
        while waiting:
            equation = self.definitions.get(waiting.pop())
            if equation is None:
                continue
            for operand in equation.operands:
                if operand == state:
                    plain = plain or not isinstance(equation, Matmul)
                if isinstance(equation, Matmul) and self.unknown[operand]:
                    products.add(equation.out)
                    continue
                if operand in seen or operand in self.nexts or not self.unknown[operand]:
                    continue
                if not isinstance(equation, Map):
                    raise _NotFound
                seen.add(operand)
                waiting.append(operand)
        if not products:
            return state, "", False
        if plain or len(products) > 1:
            raise _NotFound
        product = self.definitions[products.pop()]
        assert isinstance(product, Matmul)
        fits = product.right == state and product.left in self.step.params
        if not fits or product.layout not in (Layout.NORMAL, Layout.TRANSPOSED):
            raise _NotFound
        shape = self.table[product.left].shape
        if shape[0] != shape[1]:
            raise _NotFound
        return product.out, product.left, product.layout is Layout.TRANSPOSED

    def _written(self, name: str, target: str, top: bool = False) -> Expr:
        """An array with everything written out that holds what is solved for."""
        if name == target:
            return cast(Expr, functions.symbol(name))
        equation = self.definitions.get(name)
        known = not top and (name in self.nexts or not self.unknown[name])
        if known or equation is None:
            return cast(Expr, functions.symbol(name))
        if not isinstance(equation, Map):
            raise _NotFound
        inner: dict[Expr, Expr] = {}
        for operand in equation.operands:
            value = self._written(operand, target)
            place = equation.place(operand)
            if value != functions.symbol(operand) or operand == target:
                same = self.table[operand].shape == self.table[equation.out].shape
                if place is not None or not same:
                    raise _NotFound
            elif self.places.setdefault(operand, place) != place:
                raise _NotFound
            inner[functions.symbol(operand)] = value
        return cast(Expr, equation.expr.xreplace(inner))

    # --- computing it

    def _program(self, value: Expr, state: str, matrix: str) -> Program:
        """The value by a Program of parameters, inputs, next values and states solved before."""
        wanted = f"{matrix or state}_before"
        while wanted in self.table:
            wanted += "_"
        shape = self.table[state].shape
        known = [s for s in self.step.states if s not in self.left]
        given = (*self.step.params, *self.step.inputs, *known, *self.step.next_states)
        kept = [
            equation
            for equation in self.step.program.equations
            if equation.out not in self.nexts and not self.unknown[equation.out]
        ]
        places = [(n, p) for n, p in self.places.items() if p is not None]
        equations = (*kept, placed(wanted, value, places))
        names = {*given, *(equation.out for equation in equations)}
        arrays = (*(a for a in self.table.values() if a.name in names), Array(wanted, shape, True))
        return prune(Program(arrays, tuple(given), equations, (wanted,)))
