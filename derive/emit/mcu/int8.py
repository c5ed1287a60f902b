"""Matrices of a step in int8, with a scale for each row.

In: a `Known`.  Out: the same with the matrices that products alone read as whole numbers from -127
to 127, and what multiplies them.
Not here: text (int8_files.py, fixed/files.py).

    a = W @ x + b   ->   a = scale_W * (W8 @ x) + b,   W[j][k] = scale_W[j] * W8[j][k]

A scale may differ along the axes that no product sums over: the rows in W @ x, the columns in
W.T @ x, the rows of each head in R @ h. A matrix that is used both ways has one scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy

from derive.cell import Cell
from derive.emit.mcu.known import Known, check_finite, known
from derive.emit.mcu.sequence import lengths, sequence_of, starts_of
from derive.kernel.signature import Array as Values
from derive.kernel.signature import Arrays
from derive.program import Array, Map, Matmul, Namer, Program, check, prune
from derive.program.interpret import interpret
from derive.program.program import Dim, Equation, placed
from derive.symbolic import functions

#: The largest whole number of a weight.
MOST = 127
#: Rows that are shorter save nothing, their scale counted.
SHORTEST = 3

#: Scales as a device has them; they do not get smaller.
Rounded = Callable[[Values], Values]


def in_float32(scales: Values) -> Values:
    found = scales.astype(np.float32)
    return np.where(found < scales, np.nextafter(found, np.float32(np.inf)), found).astype(
        np.float64
    )


def in_int8(own: Known, rounded: Rounded = in_float32) -> Known:
    """rounded: the scales of a matrix as they are stored."""
    program = own.step.program
    namer = Namer(program.table())
    params = dict(own.params)
    scales: dict[str, str] = {}
    kept: dict[str, tuple[int, ...]] = {}
    arrays: dict[str, Array] = {array.name: array for array in program.arrays}
    for name, axes in _narrow(own):
        scales[name] = namer(f"scale_{name}")
        kept[name] = axes
        shape = tuple(arrays[name].shape[k] for k in axes) or (1,)
        arrays[scales[name]] = Array(scales[name], shape, False)
        params[name], params[scales[name]] = _split(own.params[name], axes, rounded)
    equations: list[Equation] = []
    for equation in program.equations:
        narrow = [name for name in equation.operands if name in scales]
        if not narrow:
            equations.append(equation)
            continue
        (name,) = narrow
        assert isinstance(equation, Matmul)
        rows = namer(f"{equation.out}_rows")
        arrays[rows] = replace(arrays[equation.out], name=rows)
        scale, place = scales[name], _place(equation, name, kept[name])
        same = arrays[scale].shape == (1,) or place == tuple(range(len(arrays[equation.out].shape)))
        product = functions.symbol(scale) * functions.symbol(rows)
        equations.append(replace(equation, out=rows))
        equations.append(Map(equation.out, product, () if same else ((scale, place),)))
    wanted = {*program.outputs, *own.step.next_states}
    equations = _inlined(equations, set(scales.values()), arrays, wanted)
    names = (*own.step.params, *scales.values())
    inputs = (*names, *own.step.inputs, *own.step.states)
    made = Program(tuple(arrays.values()), inputs, tuple(equations), program.outputs)
    step = replace(own.step, program=check(prune(made)), params=names)
    return Known(step, {name: params[name] for name in names}, own.sizes, scales)


def _inlined(
    equations: list[Equation], scales: set[str], arrays: Mapping[str, Array], wanted: set[str]
) -> list[Equation]:
    """With `scale * rows` in the sum that alone reads it: a = scale_W * W_x_rows + b."""
    readers: dict[str, list[Equation]] = {}
    for equation in equations:
        for name in equation.operands:
            readers.setdefault(name, []).append(equation)
    products = {
        e.out: e for e in equations
        if isinstance(e, Map) and scales.intersection(e.operands) and e.out not in wanted
    }  # fmt: skip
    found: list[Equation] = []
    for equation in equations:
        if isinstance(equation, Map):
            for addend in sympy.Add.make_args(equation.expr):
                name = addend.as_coeff_Mul()[1]
                product = products.get(str(name)) if name.is_Symbol else None
                if (
                    product is None
                    or addend.as_coeff_Mul()[0] not in (1, -1)
                    or len(readers[product.out]) != 1
                    or equation.expr.count(name) != 1
                    or equation.place(product.out) is not None
                    or arrays[product.out].shape != arrays[equation.out].shape
                ):
                    continue
                expr = equation.expr.xreplace({name: product.expr})
                equation = placed(equation.out, expr, (*equation.places, *product.places))
        found.append(equation)
    return found


def dequantized(own: Known) -> Arrays:
    """The values that the numbers in int8 stand for, by the names of their matrices."""
    return {name: own.params[name] * spread_scale(own, name) for name in own.scales}


def spread_scale(own: Known, name: str) -> Values:
    """The scale of each element of a matrix in int8, or of its rows with an axis of length 1."""
    axes = _alike(own.step.program, name)
    return _spread(own.params[own.scales[name]], own.params[name].ndim, axes)


def _narrow(own: Known) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Matrices that products alone read, and their axes that no product sums over."""
    program = own.step.program
    table = program.table()
    for name in own.step.params:
        shape = table[name].shape
        uses = [e for e in program.equations if name in e.operands]
        alone = all(isinstance(e, Matmul) for e in uses) and name not in program.outputs
        if len(shape) < 2 or not uses or not alone:
            continue
        axes = _alike(program, name)
        lengths = [_length(dim, own.sizes) for dim in shape]
        if math.prod(lengths[k] for k in range(len(shape)) if k not in axes) >= SHORTEST:
            yield name, axes


def _alike(program: Program, name: str) -> tuple[int, ...]:
    """The axes of a matrix that no product sums over."""
    uses = [e for e in program.equations if isinstance(e, Matmul) and name in e.operands]
    axes = range(len(program.table()[name].shape))
    return tuple(k for k in axes if all(k in _kept(e, name) for e in uses))


def _letters(product: Matmul, name: str) -> tuple[str, str]:
    """Letters of an operand and of the result."""
    left, right, out = product.letters()
    return (left if product.left == name else right), out


def _kept(product: Matmul, name: str) -> set[int]:
    own, out = _letters(product, name)
    return {k for k, letter in enumerate(own) if letter in out}


def _place(product: Matmul, name: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    own, out = _letters(product, name)
    return tuple(out.index(own[k]) for k in axes)


def _length(dim: Dim, sizes: Mapping[str, int]) -> int:
    return sizes[dim] if isinstance(dim, str) else dim


def _spread(scale: Values, rank: int, axes: tuple[int, ...]) -> Values:
    """A scale against its matrix."""
    if not axes:
        return scale.reshape((1,) * rank)
    lengths = iter(scale.shape)
    return scale.reshape([next(lengths) if k in axes else 1 for k in range(rank)])


def _split(matrix: Values, axes: tuple[int, ...], rounded: Rounded) -> tuple[Values, Values]:
    """Whole numbers, and the scales of rows; a row of zeros has the scale 0."""
    rest = tuple(k for k in range(matrix.ndim) if k not in axes)
    largest = abs(matrix).max(axis=rest, initial=0.0)
    scale = rounded(np.atleast_1d(largest / MOST))
    spread = _spread(scale, matrix.ndim, axes)
    whole = np.rint(np.divide(matrix, spread, out=np.zeros_like(matrix), where=spread > 0))
    return np.clip(whole, -MOST, MOST), scale


# --- with activations in float32 ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InInt8:
    """A trained cell with weights in int8 and activations in float32.

    plain: with the parameters as they were given.  own: with those of the device.  starts: the
    parameters as they were given.  Arrays are by parts, times first, then rows."""

    cell: Cell
    plain: Known
    own: Known
    starts: Mapping[str, Values]

    @property
    def weights(self) -> Arrays:
        """{matrix: its whole numbers}, as int8."""
        return {name: self.own.params[name].astype(np.int8) for name in self.own.scales}

    @property
    def scales(self) -> Arrays:
        """{matrix: what its rows are multiplied by}."""
        params = self.own.params
        return {name: params[scale] for name, scale in self.own.scales.items()}

    @property
    def errors(self) -> Mapping[str, float]:
        """{matrix: the most by which a weight differs from what was given}: half a scale at
        most."""
        found = dequantized(self.own)
        return {n: float(abs(a - self.plain.params[n]).max()) for n, a in found.items()}

    def arrays(self) -> Arrays:
        """All parameters as they are stored."""
        whole = self.weights
        return {
            name: whole[name] if name in whole else array.astype(np.float32)
            for name, array in self.own.params.items()
        }

    def start(self, param: str, state: str) -> Values:
        """A learned start."""
        return np.asarray(self.starts[param], np.float32)

    def run(
        self, inputs: Any, states: Mapping[str, Any] | None = None, steps: int | None = None
    ) -> tuple[Arrays, Arrays]:
        """All steps in float64 with the device's weights: outputs [T, B, width] by key, and the
        last states.

        inputs: {name: [T, B, width]}, or a bare array where there is one; an input that is given
        once [B, width], or [T, B, width].  states: {name: [B, width]}; those left out begin at
        their learned start, else at zeros.  steps: T, where no input tells it. Errors as for
        `kernel.forward`."""
        step = self.own.step
        starts = starts_of(self.cell, self.starts)
        run = sequence_of(self.cell, self.own, starts, inputs, states, steps)
        now = {name: array.copy() for name, array in run.states.items()}
        outputs: dict[str, list[Values]] = {key: [] for key in self.cell.output_keys}
        for t in range(run.steps):
            given = {**self.own.params, **{n: a[t] for n, a in run.inputs.items()}, **now}
            with np.errstate(all="ignore"):
                values = interpret(step.program, given, rows=run.rows, sizes=self.own.sizes)
            now = {
                state: np.array(np.broadcast_to(values[after], now[state].shape))
                for state, after in zip(step.states, step.next_states, strict=True)
            }
            for key, name in zip(self.cell.output_keys, step.outputs, strict=True):
                outputs[key].append(values[name])
        found = {
            key: run.stacked(outputs[key], lengths(self.own, name))
            for key, name in zip(self.cell.output_keys, step.outputs, strict=True)
        }
        return found, now


def int8_of(cell: Cell, params: Mapping[str, Values], sizes: Mapping[str, int]) -> InInt8:
    """params: by parts. ArgumentError: what depends on them alone is not finite in float32."""
    program = cell.step.program
    numbers = {functions.size(dim): sympy.Integer(n) for dim, n in sizes.items()}
    equations = tuple(
        replace(e, expr=e.expr.xreplace(numbers)) if isinstance(e, Map) else e
        for e in program.equations
    )
    plain = known(cell.step, replace(program, equations=equations), params, sizes)
    with np.errstate(over="ignore"):
        rounded = {n: a.astype(np.float32).astype(np.float64) for n, a in plain.params.items()}
    check_finite(rounded, "in float32")
    plain = replace(plain, params=rounded)
    return InInt8(cell, plain, in_int8(plain), dict(params))
