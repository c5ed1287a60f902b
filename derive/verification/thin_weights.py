"""Kernels with thin weights beside the kernel with weights as they are.

In: kernels of one target with low thresholds, of every team, and the same with thin weights; the
Cell, where what a user gives is something else than what the text works with.  Out: rows.
Not here: whether the kernel with whole weights is right (paths.py).

The matrices of a call are made of 0 and plus or minus one number with seven bits: both kinds of
thin weights hold those exactly, whichever matrices share a scale. So bfloat16 has to give the same
bits, and integers, whose scale is multiplied behind the sum, the same but for rounding. That holds
for arrays that are cut at a call, for inputs given once and for learned starts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.kernel import Kernel
from derive.program import Step
from derive.verification.as_called import joined
from derive.verification.paths import Way, Ways
from derive.verification.points import Random
from derive.verification.report import Row, measured
from derive.verification.wide_calls import ROUNDING, apart_by

_NUMBER = 127 * 2.0**-9
_STEPS = 4
#: One row, a tile and a rest, rows of their own for each of three members; widths around vectors.
_SIZES = ((1, 5), (3, 17), (7, 33), (26, 16), (1, 49))

_BOUNDS = {
    "bfloat16": (0.0, "0: matrices of numbers that it holds give the same bits"),
    "int8": (ROUNDING["float32"], "rounding, of matrices of numbers that it holds"),
}


def check_thin_weights(ways: Ways, step: Step, seed: int, cell: Cell | None = None) -> list[Row]:
    """One row for each kind of weights and each team. cell: whose users' arrays are given."""
    found = []
    whole = ways.teams(low=True)
    for way in ways.each:
        if way.weights is not None and way.team in whole:
            allowed, bound = _BOUNDS[way.weights]
            as_called = ", as called" if cell else ""
            where = f"{ways.where}: {way.weights}, team={way.team}{as_called}"
            pair = (_used(way, cell), way.weights), (_used(whole[way.team], cell), None)
            worst = max(_apart(pair, step, seed, cell), key=lambda one: one[0])
            label = f"{where}: {worst[1]}" if worst[0] > allowed else where
            found.append(measured("thin weights", label, worst[0], allowed, bound))
    return found


#: A kernel, and the weights that parameters are packed with.
_Used = tuple[Kernel, str | None]


def _used(way: Way, cell: Cell | None) -> Kernel:
    """The kernel of parts, or what a user of the cell gets."""
    if cell is None:
        return way.kernel
    backend = pipeline.whole(cell, way.backend, "float32")
    return Kernel(pipeline.signature(cell), backend, "float32", target=way.kernel.target)


def _apart(
    pair: tuple[_Used, _Used], step: Step, seed: int, cell: Cell | None
) -> Iterator[tuple[float, str]]:
    """How far results are apart, and which: of sequences, a step and a stream."""
    for k, (rows, width) in enumerate(_SIZES):
        random = Random(seed, 93, k)
        dims = {d: width + i for i, d in enumerate(step.program.dims())}
        call = _Call(step, dims, rows, random)
        if cell is not None:
            call.put_together(cell)
        with np.errstate(all="ignore"):
            for reverse, lengths in ((False, None), (True, call.lengths)):
                yield apart_by(*(_sequence(*used, call, reverse, lengths) for used in pair))
            yield apart_by(*(_steps(*used, call) for used in pair))


class _Call:
    """Arguments of one call, in float32. once: inputs that all steps share."""

    def __init__(self, step: Step, dims: Mapping[str, int], rows: int, random: Random) -> None:
        table = step.program.table()
        self.rows, self.dims = rows, dims
        self.once: frozenset[str] = frozenset()

        def shape(name: str) -> tuple[int, ...]:
            return tuple(a if isinstance(a, int) else dims[a] for a in table[name].shape)

        def draw(name: str, *before: int) -> Any:
            return np.asarray(random.uniform((*before, *shape(name)), 0.5), np.float32)

        def signs(name: str) -> Any:
            values = random.uniform(shape(name), 1.5)
            return np.asarray(_NUMBER * np.clip(np.rint(values), -1, 1), np.float32)

        self.params = {n: signs(n) if len(shape(n)) > 1 else draw(n) for n in step.params}
        self.inputs = {name: draw(name, _STEPS, rows) for name in step.inputs}
        self.states: dict[str, Any] | None = {name: draw(name, rows) for name in step.states}
        self.lengths = np.array([random.choice(range(_STEPS + 1)) for _ in range(rows)])

    def put_together(self, cell: Cell) -> None:
        """The same as a user gives it, states that have a learned start left out."""

        def whole(names: Iterable[str], parts: Mapping[str, Any]) -> dict[str, Any]:
            arrays = {name: joined(cell, name, parts, self.dims) for name in names}
            return {name: array.astype(np.float32) for name, array in arrays.items()}

        self.once = frozenset(cell.checked.once)
        inputs = whole(cell.inputs, self.inputs)
        self.inputs = {n: a[0] if n in self.once else a for n, a in inputs.items()}
        self.params = whole(cell.params, self.params)
        self.states = None if cell.checked.learned else whole(cell.states, self.states or {})

    def at(self, t: int) -> dict[str, Any]:
        return {name: a if name in self.once else a[t] for name, a in self.inputs.items()}


def _sequence(
    kernel: Kernel, weights: str | None, call: _Call, reverse: bool, lengths: Any
) -> dict[str, Any]:
    params = kernel.pack(call.params, weights=weights)
    x: Any = call.inputs or np.zeros((_STEPS, call.rows, 0))
    run = kernel.forward(params, x, call.states or None, lengths, reverse, training=False)
    return {
        **{f"output {name}": array for name, array in run.outputs.items()},
        **{f"state {name}": array for name, array in run.states.items()},
    }


def _steps(kernel: Kernel, weights: str | None, call: _Call) -> dict[str, Any]:
    """A step, and all steps as a stream."""
    params = kernel.pack(call.params, weights=weights)
    output, state = kernel.step(params, call.at(0) or np.zeros((call.rows, 0)), call.states or None)
    found = {f"step {name}": array for name, array in _named(output).items()}
    found |= {f"step state {name}": array for name, array in state.items()}
    if call.inputs:
        stream = kernel.stream(params, call.rows, call.states or None, **call.dims)
        for t in range(_STEPS):
            output = stream(call.at(t))
        found |= {f"stream {name}": array for name, array in _named(output).items()}
        found |= {f"stream state {name}": array for name, array in stream.state.items()}
    return found


def _named(output: Any) -> Mapping[str, Any]:
    return output if isinstance(output, Mapping) else {"output": output}
