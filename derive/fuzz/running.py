"""One call of a kernel as a user makes it, with everything around it watched.

In: a Kernel, a `Plan` and arrays.  Out: `Results`: arrays by name, and complaints: an argument
that was changed, other bits when the call was repeated, a result of another dtype.
Not here: what is right (truth.py), where the kernel runs (worker.py). Neither SymPy nor hypothesis
is imported, so that a worker starts quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.kernel import Kernel
from derive.kernel.signature import Dim, Signature
from derive.widths import Width

Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """mode: "forward" (and backward), "step" or "stream"; style: how arrays lie in memory."""

    mode: str = "forward"
    dtype: str = "float64"
    threads: int = 1
    packed: bool = False
    reverse: bool = False
    training: bool = True
    remat: bool = False
    style: str = "plain"
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Given:
    """Arrays of one call; an empty group is left out."""

    sizes: Mapping[str, int]
    steps: int
    rows: int
    params: Arrays
    inputs: Arrays
    states: Arrays
    d_outputs: Arrays
    d_states: Arrays
    lengths: Any


@dataclass(slots=True)
class Results:
    """outputs and states by name, gradients by name; complaints in words."""

    outputs: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    gradients: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def all(self) -> dict[str, Any]:
        groups = (("output", self.outputs), ("state", self.states), ("d", self.gradients))
        return {f"{word} {name}": a for word, group in groups for name, a in group.items()}


def plain(signature: Signature) -> dict[str, Any]:
    """What `Signature(**...)` makes a signature of: it goes from one process to another."""
    groups = ("params", "inputs", "states", "outputs", "learned")
    found = {"name": signature.name, "fixed": signature.fixed, "once": signature.once}
    return {**found, **{name: dict(getattr(signature, name)) for name in groups}}


def untold(shapes: Iterable[tuple[Dim, ...]], dims: Iterable[str]) -> set[str]:
    """Those of `dims` whose lengths arrays of these shapes do not tell."""
    widths = [Width.of(axis) for shape in shapes for axis in shape]
    known: set[str] = set()
    while True:
        open_ = [set(width.names()) - known for width in widths]
        told = {name for names in open_ if len(names) == 1 for name in names}
        if not told:
            return set(dims) - known
        known |= told


def run(kernel: Kernel, plan: Plan, given: Given) -> Results:
    """The call, `plan.repeats` times; the results are those of the first."""
    params = _laid_out(given.params, plan)
    inputs = _laid_out(given.inputs, plan)
    states = _laid_out(given.states, plan)
    d_outputs = _laid_out(given.d_outputs, plan)
    d_states = _laid_out(given.d_states, plan)
    arguments = {"params": params, "x": inputs, "state": states,
                 "d_outputs": d_outputs, "d_states": d_states}  # fmt: skip
    before = {label: _bytes(group) for label, group in arguments.items()}
    whole: Any = kernel.pack(params) if plan.packed else params
    first: Results | None = None
    for _ in range(plan.repeats):
        with np.errstate(all="ignore"):
            found = _MODES[plan.mode](
                kernel, plan, given, whole, inputs, states, d_outputs, d_states
            )
        if first is None:
            first = found
            first.complaints += [
                f"{name} has dtype {array.dtype}"
                for name, array in found.all().items()
                if array.dtype != kernel.dtype
            ]
        else:
            first.complaints += [
                f"{name} has other bits when the call is repeated"
                for name, array in found.all().items()
                if array.tobytes() != first.all()[name].tobytes()
            ]
    assert first is not None
    for label, group in arguments.items():
        if _bytes(group) != before[label]:
            first.complaints.append(f"{label} was changed")
    return first


def _forward(
    kernel: Kernel, plan: Plan, given: Given, params: Any, inputs: Arrays, states: Arrays,
    d_outputs: Arrays, d_states: Arrays,
) -> Results:  # fmt: skip
    x: Any = inputs or np.zeros((given.steps, given.rows, 0))
    done = kernel.forward(
        params, x, states or None, given.lengths, plan.reverse, plan.training,
        "time" if plan.remat else None,
    )  # fmt: skip
    results = Results(dict(done.outputs), dict(done.states))
    if plan.training:
        grads = kernel.backward(done, d_outputs or None, d_states or None)
        results.gradients = {**grads.params, **grads.inputs, **grads.states}
    return results


def _step(
    kernel: Kernel, plan: Plan, given: Given, params: Any, inputs: Arrays, states: Arrays,
    d_outputs: Arrays, d_states: Arrays,
) -> Results:  # fmt: skip
    x: Any = _at(kernel, inputs, 0) or None
    output, last = kernel.step(params, x, states or None)
    outputs = output if isinstance(output, dict) else {next(iter(kernel.signature.outputs)): output}
    return Results({name: array[None] for name, array in outputs.items()}, dict(last))


def _stream(
    kernel: Kernel, plan: Plan, given: Given, params: Any, inputs: Arrays, states: Arrays,
    d_outputs: Arrays, d_states: Arrays,
) -> Results:  # fmt: skip
    known = (shape for shape in kernel.signature.params.values())
    unknown = {dim: given.sizes[dim] for dim in untold(known, given.sizes)}
    stream = kernel.stream(params, rows=given.rows, state=states or None, **unknown)
    outputs: dict[str, list[Any]] = {name: [] for name in kernel.signature.outputs}
    for t in range(given.steps):
        found = stream(_at(kernel, inputs, t) or None)
        if not isinstance(found, dict):
            found = {next(iter(outputs)): found}
        for name, array in found.items():
            outputs[name].append(array)
    return Results({name: np.stack(parts) for name, parts in outputs.items()}, stream.state)


_MODES = {"forward": _forward, "step": _step, "stream": _stream}


def _at(kernel: Kernel, inputs: Arrays, t: int) -> dict[str, Any]:
    """Inputs of one step."""
    once = kernel.signature.once
    return {name: array if name in once else array[t] for name, array in inputs.items()}


# --- how arrays lie in memory ---------------------------------------------------------------


def _laid_out(arrays: Arrays, plan: Plan) -> dict[str, Any]:
    dtype = np.dtype(plan.dtype)
    return {name: _STYLES[plan.style](np.asarray(a, dtype=dtype)) for name, a in arrays.items()}


def _strided(array: Any) -> Any:
    """Every second element of an array of NaN."""
    around = np.full((*array.shape[:-1], 2 * array.shape[-1] + 1), np.nan, array.dtype)
    part = around[..., 1::2][..., : array.shape[-1]]
    part[...] = array
    return part


def _read_only(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


def _unaligned(array: Any) -> Any:
    memory = np.empty(array.nbytes + 1, np.uint8)
    moved = np.ndarray(array.shape, array.dtype, memory, 1)
    moved[...] = array
    return moved


_STYLES: dict[str, Any] = {
    "plain": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "strided": _strided,
    "readonly": _read_only,
    "unaligned": _unaligned,
    "list": lambda array: array.tolist() if array.size else array,
}


def _bytes(group: Arrays) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in group.values()]
