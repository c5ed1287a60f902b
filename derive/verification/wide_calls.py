"""Whether two kernels do the same, by calls that verification does not make.

In: a kernel, another one, a seed.  Out: how far apart their results are at worst.
Not here: which of them is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.kernel import Kernel
from derive.kernel.signature import Signature, axes_of
from derive.verification.points import Random

CALLS = 48
_STEPS = (1, 1, 2, 3, 4, 7, 12, 40, 260)
_ROWS = (1, 1, 2, 4, 6, 8, 9, 12, 31, 70, 200)
_WIDTHS = (1, 2, 4, 6, 7, 8, 9, 12, 16, 24, 31, 32, 40, 48, 65, 96, 130)
_SCALES = (0.05, 0.5, 0.5, 1.0, 4.0, 40.0)
#: Steps * rows * numbers in parameters of a call at most.
WORK = 3e6
#: What rounding may come to: relative to the largest number of an array.
ROUNDING = {"float64": 1e-11, "float32": 1e-4}


@dataclass(frozen=True, slots=True)
class Call:
    """All arguments of forward, backward and step."""

    label: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    states: Mapping[str, Any] | None
    lengths: Any
    reverse: bool
    training: bool
    packed: bool
    d_outputs: Mapping[str, Any] | None
    d_states: Mapping[str, Any] | None


def calls(signature: Signature, dtype: str, seed: int) -> Iterator[Call]:
    made = 0
    for k in range(20 * CALLS):
        random = Random(seed, 91, k)
        sizes = {dim: random.choice(_WIDTHS) for dim in signature.dims()}
        if k % 5 == 4:
            sizes = dict.fromkeys(sizes, next(iter(sizes.values()), 1))
        steps, rows = random.choice(_STEPS), random.choice(_ROWS)
        shapes = {n: _shape(s, sizes) for n, s in signature.params.items()}
        count = sum(int(np.prod(shape)) for shape in shapes.values()) + 1
        if steps * rows * count <= WORK:
            yield _call(signature, dtype, random, sizes, steps, rows, k)
            made += 1
        if made == CALLS:
            return


def _call(
    signature: Signature, dtype: str, random: Random, sizes: Mapping[str, int], steps: int,
    rows: int, k: int,
) -> Call:  # fmt: skip
    scale = random.choice(_SCALES)

    def array(*shape: int) -> Any:
        return np.asarray(random.uniform(shape, scale), dtype)

    def arrays(widths: Mapping[str, Any], *before: int) -> dict[str, Any]:
        return {name: array(*before, *_shape(axes_of(w), sizes)) for name, w in widths.items()}

    lengths: Any = None
    kind = random.choice(("none", "none", "ragged", "ragged", "all", "zero"))
    if kind != "none":
        lengths = np.array([random.choice(range(steps + 1)) for _ in range(rows)])
        lengths = np.full(rows, steps) if kind == "all" else lengths * (kind != "zero")
    given = [bool(random.choice((0, 1, 1))) for _ in range(3)]
    reverse, training, packed = (bool(random.choice((0, 1))) for _ in range(3))
    states: dict[str, Any] = arrays(signature.states, rows)
    if set(signature.optional_states()) == set(signature.states) and not given[0]:
        states = {}
    inputs = arrays(signature.inputs, steps, rows)
    d_outputs = arrays(signature.outputs, steps, rows)
    if lengths is not None and k % 2:
        dead = np.arange(steps)[:, None] >= lengths
        for name in (*inputs,):
            inputs[name][dead] = np.nan
    label = f"T={steps} B={rows} " + " ".join(f"{d}={n}" for d, n in sizes.items())
    label += "".join(
        f", {word}"
        for word, on in (
            (f"lengths {kind}", kind != "none"), ("reverse", reverse),
            ("training=False", not training), ("packed", packed), ("no state", not states),
            ("no d_outputs", not given[1]), ("no d_states", not given[2]),
        )
        if on
    )  # fmt: skip
    return Call(
        label,
        {name: array(*_shape(shape, sizes)) for name, shape in signature.params.items()},
        inputs, states or None, lengths, reverse, training, packed,
        d_outputs if given[1] else None,
        arrays(signature.states, rows) if given[2] else None,
    )  # fmt: skip


def _shape(shape: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in shape)


def results(kernel: Kernel, call: Call) -> dict[str, Any]:
    """Everything that the call gives, and its arguments as they are afterwards."""
    params: Any = call.params
    if call.packed:
        params = kernel.pack(params)
    inputs: Any = call.inputs
    if not inputs:
        rows = len(next(iter((call.states or call.d_states or {"": [0]}).values())))
        inputs = np.zeros((3, rows, 0))
    run = kernel.forward(
        params, inputs, call.states, call.lengths, call.reverse, training=call.training
    )
    found = {f"output {n}": np.copy(a) for n, a in run.outputs.items()}
    found |= {f"state {n}": np.copy(a) for n, a in run.states.items()}
    if call.training:
        for turn in ("", " again"):
            got = kernel.backward(run, call.d_outputs, call.d_states)
            for part in (got.params, got.inputs, got.states):
                found |= {f"gradient of {n}{turn}": np.copy(a) for n, a in part.items()}
    found |= {f"output {n} later": a for n, a in run.outputs.items()}
    if call.inputs and next(iter(call.inputs.values())).shape[0]:
        output, state = kernel.step(params, {n: a[0] for n, a in inputs.items()}, call.states)
        outputs = output if isinstance(output, Mapping) else {"": output}
        found |= {f"step: {n}": a for n, a in outputs.items()}
        found |= {f"step: state {n}": a for n, a in state.items()}
    for group in (call.params, call.inputs, call.states or {}):
        found |= {f"argument {n}": np.copy(a) for n, a in group.items()}
    return found


def apart_by(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[float, str]:
    """The largest difference relative to the largest number of its array, and of which array."""
    worst = 0.0, ""
    for name, a in one.items():
        b = other.get(name)
        if b is None or a.shape != b.shape or a.dtype != b.dtype:
            return float("inf"), name
        if a.tobytes() == b.tobytes():
            continue
        with np.errstate(all="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            if np.any((np.isfinite(a) != np.isfinite(b)) & ~same):
                return float("inf"), name
            off = np.max(np.where(same, 0.0, abs(a.astype(np.float64) - b)), initial=0.0)
            scale = np.max(abs(a[np.isfinite(a)]), initial=0.0) or 1.0
        worst = max(worst, (float(off / scale), name))
    return worst
