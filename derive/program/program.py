"""Program: everything one step computes, as named equations of three kinds.

In: arrays with shapes and equations over them.  Out: a checked, immutable Program, and
`interpret`, which evaluates it slowly and plainly and is the oracle of every test.
Not here: where equations come from (shapes.py, gradient.py), in which order and over
which loops they run (schedule.py).

| kind   | meaning                                                                      |
| ------ | ---------------------------------------------------------------------------- |
| Map    | elementwise expression; width 1 broadcasts                                   |
| Matmul | W v, W' v, and the outer product that a matrix gradient is                   |
| Sum    | sum over the axes that `out` lacks: the width, the rows, or both             |

An array is either *per row* (one vector for each batch row: inputs, states, everything
computed from them) or *shared* by all rows (parameters and what depends on them alone).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from derive.errors import ProgramError
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY, Algebra

Dim = str | int


@dataclass(frozen=True, slots=True)
class Array:
    """A named array. `shape` is (width,) for a vector and (rows, columns) for a matrix."""

    name: str
    shape: tuple[Dim, ...]
    per_row: bool

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) == 2

    @property
    def width(self) -> Dim:
        assert len(self.shape) == 1
        return self.shape[0]


@dataclass(frozen=True, slots=True)
class Map:
    """out = expr, elementwise. Operands have out's shape, or width 1, or are Sizes."""

    out: str
    expr: functions.Expr

    @property
    def operands(self) -> tuple[str, ...]:
        return names_in(self.expr)


class Layout(enum.Enum):
    NORMAL = "normal"  # out[j] = sum_k left[j, k] right[k]
    TRANSPOSED = "transposed"  # out[j] = sum_k left[k, j] right[k]
    OUTER = "outer"  # out[j, k] = sum over rows of left[j] right[k]


@dataclass(frozen=True, slots=True)
class Matmul:
    """A product of two arrays. `left` is the matrix, except in an outer product of vectors."""

    out: str
    left: str
    right: str
    layout: Layout

    @property
    def operands(self) -> tuple[str, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Sum:
    """out = source summed over the axes that out lacks (width, rows, or both)."""

    out: str
    source: str

    @property
    def operands(self) -> tuple[str, ...]:
        return (self.source,)


Equation = Map | Matmul | Sum


@lru_cache(maxsize=1 << 14)
def names_in(expr: functions.Expr) -> tuple[str, ...]:
    """Names of the arrays in `expr`, each once, in the order of a left-to-right reading."""
    seen: dict[str, None] = {}
    for node in sympy.preorder_traversal(expr):
        if node.is_Symbol and not functions.is_size(node):
            seen.setdefault(node.name)
    return tuple(seen)


@dataclass(frozen=True, slots=True)
class Program:
    """Equations in an order in which each can be computed; every array is defined once.

    `inputs` are arrays given from outside, `outputs` the arrays somebody outside wants
    (inputs may be among them). Neither repeats a name.
    """

    arrays: tuple[Array, ...]
    inputs: tuple[str, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[str, ...]

    def table(self) -> dict[str, Array]:
        return {array.name: array for array in self.arrays}

    def definitions(self) -> dict[str, Equation]:
        return {equation.out: equation for equation in self.equations}

    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions that are known at run time only, in order of first use."""
        seen: dict[str, None] = {}
        for array in self.arrays:
            for dim in array.shape:
                if isinstance(dim, str):
                    seen.setdefault(dim)
        return tuple(seen)


@dataclass(frozen=True, slots=True)
class Step:
    """One time step of a cell: a Program and the part each array plays in it.

    `program.inputs` is params, then inputs, then states (previous values). `next_states`
    names, for each state, the array that holds its next value (`h_next` for `h`); `outputs`
    names arrays of any kind, a bare state among them. `program.outputs` is next_states and
    outputs, each name once. `defined` are the arrays that the author named in an equation.
    """

    program: Program
    params: tuple[str, ...]
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    next_states: tuple[str, ...]
    outputs: tuple[str, ...]
    defined: tuple[str, ...] = ()


class Namer:
    """Hands out names for arrays that the user did not name; the user's names come first.

    A name that is taken gets a number: mean_arg, mean_arg_2, mean_arg_3.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def __call__(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def check(program: Program) -> Program:
    """The Program itself, once every rule holds; ProgramError names the equation otherwise."""
    table = program.table()
    if len(table) != len(program.arrays):
        raise ProgramError("an array is declared twice")
    defined = set(program.inputs)
    for equation in program.equations:
        for name in equation.operands:
            if name not in defined:
                raise ProgramError(f"{equation}: {name} is used before it is defined")
        if equation.out in defined:
            raise ProgramError(f"{equation}: {equation.out} is defined twice")
        defined.add(equation.out)
        _check_shapes(equation, table)
    if missing := [name for name in program.outputs if name not in defined]:
        raise ProgramError(f"outputs without a definition: {missing}")
    if len(set(program.outputs)) != len(program.outputs):
        raise ProgramError("an output is named twice")
    if strange := [name for name in table if name not in defined]:
        raise ProgramError(f"arrays without a definition: {strange}")
    return program


def _check_shapes(equation: Equation, table: Mapping[str, Array]) -> None:
    out = table[equation.out]
    if isinstance(equation, Map):
        for name in equation.operands:
            operand = table[name]
            fits = operand.shape == out.shape or operand.shape == (1,)
            if not fits or (operand.per_row and not out.per_row):
                raise ProgramError(f"{equation}: {operand} does not fit {out}")
    elif isinstance(equation, Sum):
        source = table[equation.source]
        fits = out.shape == source.shape or (out.shape == (1,) and not source.is_matrix)
        if not fits or (out.per_row and not source.per_row) or out == source:
            raise ProgramError(f"{equation}: {source} does not sum to {out}")
    else:
        left, right = table[equation.left], table[equation.right]
        wanted: tuple[Dim, ...]
        if equation.layout is Layout.OUTER:
            wanted = (*left.shape, *right.shape)
            fits = left.per_row == right.per_row and not out.per_row
        else:
            rows, columns = left.shape
            if equation.layout is Layout.TRANSPOSED:
                rows, columns = columns, rows
            wanted = (rows,)
            fits = (columns,) == right.shape and out.per_row == right.per_row and not left.per_row
        if not fits or out.shape != wanted:
            raise ProgramError(f"{equation}: {left} and {right} do not give {out}")


def prune(program: Program) -> Program:
    """Without the equations that no output needs. Inputs stay."""
    needed = set(program.outputs)
    kept: list[Equation] = []
    for equation in reversed(program.equations):
        if equation.out in needed:
            kept.append(equation)
            needed.update(equation.operands)
    kept.reverse()
    names = {*program.inputs, *(equation.out for equation in kept)}
    arrays = tuple(array for array in program.arrays if array.name in names)
    return Program(arrays, program.inputs, tuple(kept), program.outputs)


def interpret(
    program: Program,
    inputs: Mapping[str, Any],
    *,
    rows: int,
    sizes: Mapping[str, int],
    algebra: Algebra = NUMPY,
) -> dict[str, Any]:
    """Every array of `program`, computed in the plainest way there is.

    inputs: {name: array}; per-row arrays are [rows, width], shared ones [width] or
    [rows of the matrix, columns].  sizes: {dimension name: length}.  The algebra decides the
    numbers: float64, complex (for the complex step) or mpmath.
    """
    table = program.table()
    values: dict[str, Any] = {name: algebra.array(inputs[name]) for name in program.inputs}
    for equation in program.equations:
        out = table[equation.out]
        lengths = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in out.shape)
        shape = (rows, *lengths) if out.per_row else lengths
        if isinstance(equation, Map):
            value = algebra.evaluate(equation.expr, values, sizes)
        elif isinstance(equation, Sum):
            value = _interpret_sum(values[equation.source], table[equation.source], out, algebra)
        else:
            value = _interpret_product(equation, values, table, algebra)
        values[equation.out] = algebra.broadcast(value, shape)
    return values


def _interpret_sum(value: Any, source: Array, out: Array, algebra: Algebra) -> Any:
    if source.per_row and not out.per_row:
        value = algebra.sum(value, axis=0)[0]
    if source.shape != out.shape:
        value = algebra.sum(value, axis=-1)
    return value


def _interpret_product(
    product: Matmul, values: Mapping[str, Any], table: Mapping[str, Array], algebra: Algebra
) -> Any:
    left, right = values[product.left], values[product.right]
    if product.layout is Layout.OUTER:
        if table[product.left].per_row:
            return algebra.matmul(left.T, right)
        return left[:, np.newaxis] * right[np.newaxis, :]
    matrix = left if product.layout is Layout.NORMAL else left.T
    # right is [rows, k] or [k]; contraction is positional, the last axis against matrix columns.
    return algebra.matmul(right, matrix.T)
