"""Kernels with thin weights beside the kernel with weights as they are.

In: kernels of one target with low thresholds, of every team, and the same with thin weights.  Out:
rows.
Not here: whether the kernel with whole weights is right (paths.py).

The matrices of a call are made of 0 and plus or minus one number with seven bits: both kinds of
thin weights hold those exactly, whichever matrices share a scale. So bfloat16 has to give the same
bits, and integers, whose scale is multiplied behind the sum, the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from derive.kernel import Kernel
from derive.program import Step
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


def check_thin_weights(ways: Ways, step: Step, seed: int) -> list[Row]:
    """One row for each kind of weights and each team."""
    found = []
    whole = ways.teams(low=True)
    for way in ways.each:
        if way.weights is not None and way.team in whole:
            allowed, bound = _BOUNDS[way.weights]
            where = f"{ways.where}: {way.weights}, team={way.team}"
            worst = max(_apart(way, whole[way.team], step, seed), key=lambda pair: pair[0])
            label = f"{where}: {worst[1]}" if worst[0] > allowed else where
            found.append(measured("thin weights", label, worst[0], allowed, bound))
    return found


def _apart(way: Way, other: Way, step: Step, seed: int) -> Iterator[tuple[float, str]]:
    """How far results are apart, and which: of sequences, a step and a stream."""
    for k, (rows, width) in enumerate(_SIZES):
        random = Random(seed, 93, k)
        dims = {d: width + i for i, d in enumerate(step.program.dims())}
        call = _Call(step, dims, rows, random)
        with np.errstate(all="ignore"):
            for reverse, lengths in ((False, None), (True, call.lengths)):
                results = (
                    _sequence(w.kernel, w.weights, call, reverse, lengths) for w in (way, other)
                )
                yield apart_by(*results)
            yield apart_by(*(_steps(w.kernel, w.weights, call, dims) for w in (way, other)))


class _Call:
    """Arguments of one call, in float32."""

    def __init__(self, step: Step, dims: Mapping[str, int], rows: int, random: Random) -> None:
        table = step.program.table()
        self.rows = rows

        def shape(name: str) -> tuple[int, ...]:
            return tuple(a if isinstance(a, int) else dims[a] for a in table[name].shape)

        def draw(name: str, *before: int) -> Any:
            return np.asarray(random.uniform((*before, *shape(name)), 0.5), np.float32)

        def signs(name: str) -> Any:
            values = random.uniform(shape(name), 1.5)
            return np.asarray(_NUMBER * np.clip(np.rint(values), -1, 1), np.float32)

        self.params = {n: signs(n) if len(shape(n)) > 1 else draw(n) for n in step.params}
        self.inputs = {name: draw(name, _STEPS, rows) for name in step.inputs}
        self.states = {name: draw(name, rows) for name in step.states}
        self.lengths = np.array([random.choice(range(_STEPS + 1)) for _ in range(rows)])


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


def _steps(
    kernel: Kernel, weights: str | None, call: _Call, dims: Mapping[str, int]
) -> dict[str, Any]:
    """A step, and all steps as a stream."""
    params = kernel.pack(call.params, weights=weights)
    first = {name: array[0] for name, array in call.inputs.items()}
    output, state = kernel.step(params, first or np.zeros((call.rows, 0)), call.states or None)
    found = {f"step {name}": array for name, array in _named(output).items()}
    found |= {f"step state {name}": array for name, array in state.items()}
    if call.inputs:
        known = {a for array in kernel.signature.params.values() for a in array}
        rest = {d: n for d, n in dims.items() if d not in known}
        stream = kernel.stream(params, call.rows, call.states or None, **rest)
        for t in range(_STEPS):
            output = stream({name: array[t] for name, array in call.inputs.items()})
        found |= {f"stream {name}": array for name, array in _named(output).items()}
        found |= {f"stream state {name}": array for name, array in stream.state.items()}
    return found


def _named(output: Any) -> Mapping[str, Any]:
    return output if isinstance(output, Mapping) else {"output": output}
