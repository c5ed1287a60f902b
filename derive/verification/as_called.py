"""The kernel as users call it: arrays whole, inputs given once, learned starts, calls repeated.

In: a Cell, a kernel of its parts.  Out: rows.
Not here: whether the kernel of parts is right (kernels.py, paths.py), how a user's kernel cuts and
joins (kernel/whole.py), of which nothing is used.

Compiled text works with parts, with an input at every step, with a first state. What a user gives
and gets is made of those by hand here: an array is put together, a gradient summed over time or
rows. Each call is made several times in turn with others, since from the third one of a kind on
it goes a quick way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.kernel import Gradients, Kernel
from derive.kernel.kernel import Origin
from derive.verification.kinks import Kink, closeness
from derive.verification.points import (
    KINDS,
    ROOM,
    Found,
    Random,
    draw,
    is_finite,
    small_sizes,
    with_lengths,
)
from derive.verification.reference import Point, run
from derive.verification.report import Row, compared, measured, not_run
from derive.verification.rounding import BOUNDED
from derive.verification.through_time import Backward
from derive.verification.truth import (
    OF_FORWARD,
    OF_GRADIENT,
    ROUNDOFF,
    Truth,
    establish,
    judge_slopes,
)
from derive.widths import Width

CHECK = "as called"
EXACT = "0: a call gives the same bits each time"
_STEPS, _ROWS, _TIMES = 3, 2, 4
_LENGTHS = np.array([3, 1])

Arrays = dict[str, Any]
#: A value, and its running error bound.
Bounded = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class _Case:
    """One kind of call. given: whether states are; packed: parameters; by: "sequence", "step", or
    "stream", which is reset on the way."""

    label: str
    given: bool
    lengths: bool = False
    reverse: bool = False
    packed: bool = False
    remat: str | None = None
    by: str = "sequence"


#: Those without lengths are of one shape: they take turns on the quick way.
CASES = (
    _Case("states left out", False),
    _Case("states given", True),
    _Case("states left out, packed", False, packed=True),
    _Case("lengths, reverse", False, lengths=True, reverse=True),
    _Case("states left out, remat", False, remat="time"),
    _Case("steps, states left out", False, by="step"),
    _Case("steps, states given", True, by="step"),
    _Case("a stream, states left out", False, by="stream"),
    _Case("a stream, states given", True, by="stream"),
)


def check_as_called(
    cell: Cell,
    kernel: Kernel,
    backward: Backward,
    kinks: tuple[Kink, ...],
    seed: int,
    *,
    wanted: bool = False,
) -> list[Row]:
    """Rows for one target and dtype.

    wanted: whether some gradients are asked for alone as well, in float64. Each set of names is a
    backward pass that is compiled for it, from the cell and not from given files.
    """
    dtype = str(kernel.dtype.name)
    whole = pipeline.whole(cell, kernel._backend, dtype)
    compiled = (cell, kernel.target, dtype)
    origin = Origin(pipeline.compile, compiled, None) if wanted and dtype == "float64" else None
    user = Kernel(pipeline.signature(cell), whole, dtype, target=kernel.target, origin=origin)
    where = f"{kernel.target} {dtype}".strip()
    calls = _Calls(cell, user, where)
    for k, case in enumerate(CASES):
        found = _find(cell, kinks, case, (seed, 80, k))
        if not found.finite or found.close.clearance <= ROUNDOFF[dtype]:
            why = "no finite point was found off all kinks"
            calls.rows.append(not_run(CHECK, f"{where}: {case.label}", why))
            continue
        truth = establish(found, backward, (seed, 81, k), how="arrays")
        calls.rows += judge_slopes(truth, "gradient", f"{case.label}", truth.elements)
        calls.add(case, truth)
    for _ in range(_TIMES):
        calls.turn()
    return calls.rows


def _find(cell: Cell, kinks: tuple[Kink, ...], case: _Case, seed: tuple[int, ...]) -> Found:
    """A point as a user can give it: what is given once is the same at every step, and a state
    that is left out is its start."""
    step, best = cell.step, None
    for attempt, kind in enumerate(KINDS):
        random = Random(*seed, attempt)
        point = draw(step, small_sizes(step), _STEPS, _ROWS, random, kind, 1.0, 1.0)
        inputs, states = dict(point.inputs), dict(point.states)
        for name in _parts_of(cell, cell.checked.once):
            inputs[name] = np.repeat(inputs[name][:1], _STEPS, axis=0)
        if not case.given:
            states = {name: np.zeros_like(array) for name, array in states.items()}
            for name, start in cell.checked.learned.items():
                array = joined(cell, start, point.params, point.sizes)
                shape = joined(cell, name, states, point.sizes).shape
                states |= _cut(cell, name, np.broadcast_to(array, shape), point.sizes)
        point = replace(point, inputs=inputs, states=states, reverse=case.reverse)
        point = with_lengths(point, _LENGTHS if case.lengths else None)
        with np.errstate(all="ignore"):
            bounded = run(step, point, BOUNDED)
            found = Found(point, bounded, closeness(kinks, point, bounded), is_finite(bounded))
        if found.finite and found.close.clearance > ROOM:
            return found
        best = best or found
    assert best is not None
    return best


class _Calls:
    """Calls of one kernel, and what they must give."""

    def __init__(self, cell: Cell, kernel: Kernel, where: str) -> None:
        self._cell, self._kernel, self._where = cell, kernel, where
        self._all: list[tuple[_Case, Point, dict[str, Bounded]]] = []
        self._first: dict[str, Arrays] = {}
        self.rows: list[Row] = []

    def add(self, case: _Case, truth: Truth) -> None:
        self._all.append((case, truth.point, dict(_wanted(self._cell, case, truth))))

    def turn(self) -> None:
        """Each call once."""
        for case, point, wanted in self._all:
            got = self._called(case, point)
            where = f"{self._where}: {case.label}"
            if case.label in self._first:
                before = self._first[case.label]
                changed = sum(got[n].tobytes() != before[n].tobytes() for n in before)
                self.rows.append(measured(CHECK, f"{where}: again", changed, 0, EXACT))
                continue
            self._first[case.label] = got
            unit = ROUNDOFF[str(self._kernel.dtype.name)]
            alone = {f"{name} alone": wanted[name] for name in wanted if name.startswith("d ")}
            wanted = {**wanted, **alone} if self._kernel.compiles_for_some else wanted
            missing = len(wanted.keys() ^ got.keys())
            self.rows.append(measured(CHECK, f"{where}: names", missing, 0, "0: these names"))
            for name in sorted(wanted.keys() & got.keys()):
                bound = OF_GRADIENT if name.startswith("d ") else OF_FORWARD
                value, error = wanted[name]
                label = f"{where}: {name}"
                self.rows.append(compared(CHECK, label, got[name], value, error, unit, bound))

    def _called(self, case: _Case, point: Point) -> Arrays:
        cell, kernel = self._cell, self._kernel
        once = cell.checked.once

        def put_together(names: Any, parts: Mapping[str, Any]) -> Arrays:
            found = {n: joined(cell, n, parts, point.sizes) for n in names}
            return {n: a.astype(kernel.dtype) for n, a in found.items()}

        params: Any = put_together(cell.params, point.params)
        inputs: Any = put_together(cell.inputs, point.inputs)
        inputs = {n: a[0] if n in once else a for n, a in inputs.items()}
        if not cell.inputs:
            inputs = np.zeros((point.steps, point.rows, 0))
        states = put_together(cell.states, point.states) if case.given else None
        if case.by != "sequence":
            return _step_by_step(kernel, case, point, params, inputs, states or None)
        keys = zip(cell.step.outputs, cell.output_keys, strict=True)
        d_parts = {key: point.d_outputs[name] for name, key in keys}
        d_outputs = put_together(cell.outputs, d_parts)
        d_states = put_together(cell.states, point.d_states)
        made = kernel.forward(
            kernel.pack(params) if case.packed else params, inputs, states or None, point.lengths,
            case.reverse, remat=case.remat,
        )  # fmt: skip
        grads = kernel.backward(made, d_outputs, d_states or None)
        found = {f"output {n}": a for n, a in made.outputs.items()}
        found |= {f"state {n}": a for n, a in made.states.items()}
        found |= {f"d {n}": a for n, a in _all(grads)}
        names = kernel.signature.differentiable()
        for wrt in (names[::2], names[1::2]) if kernel.compiles_for_some else ():
            some = kernel.backward(made, d_outputs, d_states or None, wrt=wrt)
            found |= {f"d {n} alone": a for n, a in _all(some)}
        return found


def _all(grads: Gradients) -> Iterator[tuple[str, Any]]:
    for group in (grads.params, grads.inputs, grads.states):
        yield from group.items()


def _step_by_step(
    kernel: Kernel, case: _Case, point: Point, params: Any, inputs: Any, states: Any
) -> Arrays:
    """The outputs of all steps, and the states after the last."""
    once, names = kernel.signature.once, tuple(kernel.signature.outputs)
    outputs: list[Any] = []

    def at(t: int) -> Any:
        if not kernel.signature.inputs:
            return None
        return {name: array if name in once else array[t] for name, array in inputs.items()}

    if case.by == "step":
        for t in range(point.steps):
            output, states = kernel.step(params, at(t), states)
            outputs.append(output)
    else:
        stream = kernel.stream(params, point.rows, states, **point.sizes)
        stream(at(0))
        stream.reset(states)
        outputs = [stream(at(t)) for t in range(point.steps)]
        states = stream.state
    if len(names) == 1:
        outputs = [{names[0]: output} for output in outputs]
    found = {f"output {n}": np.stack([output[n] for output in outputs]) for n in names}
    return found | {f"state {n}": array for n, array in states.items()}


# --- arrays of users, of parts --------------------------------------------------------------


def _wanted(cell: Cell, case: _Case, truth: Truth) -> Iterator[tuple[str, Bounded]]:
    """What a call gives, by name."""
    point, plain, bounded = truth.point, truth.plain, truth.found.bounded
    sizes, checked = point.sizes, cell.checked

    def both(name: str, values: Mapping[str, Any], errors: Mapping[str, Any]) -> Bounded:
        return joined(cell, name, values, sizes), joined(cell, name, errors, sizes)

    keys = dict(zip(cell.output_keys, cell.step.outputs, strict=True))
    values = {key: plain.outputs[name] for key, name in keys.items()}
    errors = {key: bounded.outputs[name].error for key, name in keys.items()}
    for name in cell.outputs:
        yield f"output {name}", both(name, values, errors)
    last = {name: array.error for name, array in bounded.states.items()}
    gradients = {}
    for name in cell.states:
        yield f"state {name}", both(name, plain.states, last)
    if case.by != "sequence":
        return
    for name in (*cell.params, *cell.inputs, *cell.states):
        gradients[name] = both(name, truth.elements, truth.errors)
    for name in checked.once:
        gradients[name] = _summed(*gradients[name])
    for state, start in checked.learned.items():
        if not case.given:
            value, error = _summed(*gradients[state])
            if value.shape != gradients[start][0].shape:  # a start of one number
                value, error = _summed(value.reshape(-1, 1), error.reshape(-1, 1))
            own, its_error = gradients[start]
            gradients[start] = own + value, its_error + error + abs(value)
    for name, gradient in gradients.items():
        if name not in checked.fixed:
            yield f"d {name}", gradient


def _summed(value: Any, error: Any) -> Bounded:
    """Over the first axis."""
    return value.sum(axis=0), (error + len(value) * abs(value)).sum(axis=0)


def _bounds(cell: Cell, name: str, sizes: Mapping[str, int]) -> list[tuple[str, tuple[Any, ...]]]:
    """The parts of an array, and where each lies in it."""
    return [
        (part, tuple(slice(*(Width.of(at).length(sizes) for at in axis)) for axis in axes))
        for part, axes in cell.checked.wholes.get(name, ())
    ]


def _parts_of(cell: Cell, names: tuple[str, ...]) -> list[str]:
    wholes = cell.checked.wholes
    return [part for name in names for part, *_ in wholes.get(name, ((name,),))]


def joined(cell: Cell, name: str, parts: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    """An array as a user gives it, from the parts that a step knows."""
    own = _bounds(cell, name, sizes)
    if not own:
        return parts[name]
    first, axes = parts[own[0][0]], len(own[0][1])
    lengths = [max(at[k].stop for _, at in own) for k in range(axes)]
    found = np.full((*first.shape[: first.ndim - axes], *lengths), np.nan)
    for part, at in own:
        found[(..., *at)] = parts[part]
    return found


def _cut(cell: Cell, name: str, array: Any, sizes: Mapping[str, int]) -> Arrays:
    own = _bounds(cell, name, sizes)
    if not own:
        return {name: array}
    return {part: array[(..., *at)] for part, at in own}
