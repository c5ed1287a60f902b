"""oneDNN's recurrent primitives: LSTM (with and without peepholes), both GRUs, tanh RNN.

The library is called through its C interface, and primitives are made once. It has layouts of its
own for matrices, another one in each pass. "packed": they are put there once, outside the time that
is measured, and gradients are left in the library's layout. The other contestant starts from plain
arrays and ends with them in every call, as training does whose optimizer knows nothing of oneDNN.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.bench.peers import onednn_library as dnnl
from derive.bench.peers.closed import Known, known
from derive.bench.task import Contestant, Results, Task, named
from derive.errors import BuildError
from derive.kernel.signature import Array

NAME = "oneDNN"

#: Gates in the primitive's order, by their place in `Known`.
_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "gru_before": (1, 0, 2), "rnn": (0,)}
_KIND = {"lstm": "lstm", "gru": "lbr_gru", "gru_before": "gru", "rnn": "vanilla_rnn"}


def missing() -> str | None:
    path = dnnl.find()
    if path is None:
        return "no libdnnl was found: pip install onednn-cpu-gomp, or set DERIVE_ONEDNN"
    try:
        dnnl.Library(path)
    except BuildError as error:
        return str(error).splitlines()[0]
    return None


def enter(task: Task) -> list[Contestant]:
    found, path = known(task.cell), dnnl.find()
    if found is None or path is None:
        return []
    library = dnnl.Library(path)
    return [_contestant(library, found, task, packed=packed) for packed in (False, True)]


def _contestant(library: dnnl.Library, found: Known, task: Task, *, packed: bool) -> Contestant:
    """With memory of its own: what calls take is counted for each."""
    start = time.perf_counter()
    given = matrices_and_states(found, task)
    inference = _forward(library, found, task, given, dnnl.FORWARD_INFERENCE)
    training = _forward(library, found, task, given, dnnl.FORWARD_TRAINING)
    back = _backward(library, found, task, given, training)
    rows = task.shape.T * task.shape.B

    def infer() -> Any:
        if not packed:
            run(inference.placing)
        inference.primitive.run()
        return inference.outputs[dnnl.DST], None

    def train() -> Any:
        if not packed:
            run(training.placing)
            run(back.placing)
        training.primitive.run()
        # The primitive adds to the gradients of weights.
        for array in back.added_to:
            array.fill(0)
        back.primitive.run()
        if not packed:
            run(back.reading)
        return training.outputs[dnnl.DST], back

    def read(result: Any) -> Results:
        output, trained = result
        results = named(output=dict.fromkeys(task.cell.outputs, output.copy()))
        return results | (_read(found, task, back) if trained else {})

    return Contestant(
        f"{NAME} {library.version.rpartition('.')[0]}{', packed' if packed else ''}",
        infer, train, read, start=time.perf_counter() - start,
        saved=lambda _: training.workspace / 4 / rows,
        held={"infer": inference.held, "train": training.held + back.held},
    )  # fmt: skip


def run(primitives: list[dnnl.Primitive]) -> None:
    for primitive in primitives:
        primitive.run()


@dataclass(frozen=True, slots=True)
class _Forward:
    """A forward primitive with its memory. placing: puts matrices into the library's layout.
    workspace: bytes kept for backward."""

    primitive: dnnl.Primitive
    memory: dict[int, dnnl.Memory]
    outputs: dict[int, Array]
    placing: list[dnnl.Primitive]
    workspace: int

    @property
    def held(self) -> int:
        """Bytes of what it writes."""
        return self.workspace + sum(array.nbytes for array in self.outputs.values())


@dataclass(frozen=True, slots=True)
class _Backward:
    """A backward primitive with the gradients it writes. layouts: those of matrices, in a layout
    of the library's own; reading: makes them plain."""

    primitive: dnnl.Primitive
    gradients: dict[int, Array]
    layouts: dict[int, dnnl.Memory]
    placing: list[dnnl.Primitive]
    reading: list[dnnl.Primitive]

    @property
    def held(self) -> int:
        """Bytes of what it writes."""
        own = sum(m.array.nbytes for m in self.layouts.values() if m.array is not None)
        return own + sum(array.nbytes for array in self.gradients.values())

    @property
    def added_to(self) -> list[Array]:
        plain = [self.gradients[n] for n in (dnnl.PEEPHOLE, dnnl.BIAS) if n in self.gradients]
        return [*(m.array for m in self.layouts.values() if m.array is not None), *plain]


def matrices_and_states(found: Known, task: Task) -> dict[int, Array]:
    """Arguments in plain layouts: [T, B, I], [1, 1, B, H], [1, 1, depth, gates, H]."""
    order = _ORDER[found.kind]

    def stack(names: tuple[str, ...]) -> Array:
        return np.stack([task.params[names[k]] for k in order])

    def matrices(names: tuple[str, ...]) -> Array:
        return np.ascontiguousarray(stack(names).transpose(2, 0, 1))[None, None]

    bias = stack(found.bias)
    if found.kind == "gru":
        # Biases of two gates add up; that of the candidate's product stays apart, and last.
        hidden = stack(found.hidden_bias)
        bias[:2] += hidden[:2]
        bias = np.concatenate([bias, hidden[2:]])
    (x,) = task.inputs.values()
    states = [array[None, None].copy() for array in task.states.values()]
    given = {
        dnnl.SRC: x.copy(),
        dnnl.WEIGHTS: matrices(found.input),
        dnnl.WEIGHTS_ITER: matrices(found.hidden),
        dnnl.BIAS: bias[None, None].copy(),
    }
    given |= dict(zip((dnnl.SRC_ITER, dnnl.SRC_ITER_C), states, strict=False))
    if found.peepholes:
        given[dnnl.PEEPHOLE] = np.stack([task.params[n] for n in found.peepholes])[None, None]
    return given


def results_of(found: Known, task: Task) -> dict[int, Array]:
    T, B, H = task.shape.T, task.shape.B, task.shape.H
    results = {dnnl.DST: _zeros((T, B, H))}
    for number in (dnnl.DST_ITER, dnnl.DST_ITER_C)[: len(task.states)]:
        results[number] = _zeros((1, 1, B, H))
    return results


def _zeros(shape: tuple[int, ...]) -> Array:
    """With every page there, so that calls take no memory for it: `held` counts it."""
    array = np.empty(shape, np.float32)
    array.fill(0)
    return array


_MATRICES = (dnnl.WEIGHTS, dnnl.WEIGHTS_ITER)


def _signature(
    library: dnnl.Library, found: Known, arrays: dict[int, Array]
) -> list[ctypes.c_void_p | None]:
    """Descriptions in the order of the C function; layouts of matrices are the library's."""
    first = [dnnl.SRC, dnnl.SRC_ITER]
    weights = [dnnl.WEIGHTS, dnnl.WEIGHTS_ITER]
    last = [dnnl.BIAS, dnnl.DST, dnnl.DST_ITER]
    if found.kind == "lstm":
        projection = -1  # no projection
        order = [*first, dnnl.SRC_ITER_C, *weights, dnnl.PEEPHOLE, projection]
        order += [*last, dnnl.DST_ITER_C]
    else:
        order = [*first, *weights, *last]
    found_descriptions: list[ctypes.c_void_p | None] = []
    for number in order:
        if number not in arrays:
            found_descriptions.append(None)
        elif number in _MATRICES:
            found_descriptions.append(library.describe(arrays[number].shape, None))
        else:
            found_descriptions.append(library.plain(arrays[number]).description)
    return found_descriptions


def _extra(found: Known) -> tuple[list[Any], list[Any]]:
    """What stands before the direction, and after the descriptions: flags, slopes."""
    if found.kind == "rnn":
        zero = ctypes.c_float(0)
        return [dnnl.TANH], [ctypes.c_uint(0), zero, zero]
    return [], [ctypes.c_uint(0)]


def _forward(
    library: dnnl.Library, found: Known, task: Task, given: dict[int, Array], use: int
) -> _Forward:
    outputs = results_of(found, task)
    before, after = _extra(found)
    primitive = library.primitive(
        f"{_KIND[found.kind]}_forward", use, *before, dnnl.LEFT_TO_RIGHT,
        *_signature(library, found, given | outputs), *after,
    )  # fmt: skip
    memory, placing = _placed(library, primitive, given)
    memory |= {n: library.plain(array) for n, array in outputs.items()}
    workspace = 0
    if use == dnnl.FORWARD_TRAINING:
        description = primitive.wants(dnnl.WORKSPACE)
        workspace = library.size(description)
        memory[dnnl.WORKSPACE] = library.own(description)
    primitive.bind(memory)
    return _Forward(primitive, memory, outputs, placing, workspace)


def _placed(
    library: dnnl.Library, primitive: dnnl.Primitive, given: dict[int, Array]
) -> tuple[dict[int, dnnl.Memory], list[dnnl.Primitive]]:
    """Arguments where the primitive wants them, and what brings matrices there again."""
    memory = {number: library.plain(array) for number, array in given.items()}
    placing = []
    for number in _MATRICES:
        own = library.own(primitive.wants(number))
        placing.append(library.reorder(memory[number], own))
        memory[number] = own
    run(placing)
    return memory, placing


def _backward(
    library: dnnl.Library, found: Known, task: Task, given: dict[int, Array], forward: _Forward
) -> _Backward:
    gradients = {n: _zeros(array.shape) for n, array in given.items()}
    (d_output,) = task.d_outputs.values()
    seeds = {n: np.zeros_like(array) for n, array in forward.outputs.items()}
    seeds[dnnl.DST] = d_output.copy()
    before, after = _extra(found)
    primitive = library.primitive(
        f"{_KIND[found.kind]}_backward", dnnl.BACKWARD, *before, dnnl.LEFT_TO_RIGHT,
        *_signature(library, found, given | forward.outputs),
        *_signature(library, found, gradients | seeds), *after, forward.primitive.description,
    )  # fmt: skip
    placed, placing = _placed(library, primitive, given)
    memory = forward.memory | {number: placed[number] for number in _MATRICES}
    layouts = {n: library.own(primitive.wants(dnnl.GRADIENT + n)) for n in _MATRICES}
    reading = [library.reorder(layouts[n], library.plain(gradients[n])) for n in _MATRICES]
    for number, array in (gradients | seeds).items():
        memory[dnnl.GRADIENT + number] = layouts.get(number) or library.plain(array)
    primitive.bind(memory)
    return _Backward(primitive, gradients, layouts, placing, reading)


def _read(found: Known, task: Task, back: _Backward) -> Results:
    run(back.reading)
    gradients = back.gradients
    d_params: dict[str, Array] = {}
    for number, names in ((dnnl.WEIGHTS, found.input), (dnnl.WEIGHTS_ITER, found.hidden)):
        for at, k in enumerate(_ORDER[found.kind]):
            d_params[names[k]] = gradients[number][0, 0, :, at].T.copy()
    bias = gradients[dnnl.BIAS][0, 0].copy()
    for at, k in enumerate(_ORDER[found.kind]):
        d_params[found.bias[k]] = bias[at]
        if found.hidden_bias:
            d_params[found.hidden_bias[k]] = bias[3] if at == 2 else bias[at]
    for at, name in enumerate(found.peepholes):
        d_params[name] = gradients[dnnl.PEEPHOLE][0, 0, at].copy()
    numbers = (dnnl.SRC_ITER, dnnl.SRC_ITER_C)
    d_states = {
        state: gradients[n][0, 0].copy() for state, n in zip(task.states, numbers, strict=False)
    }
    return named(
        d_param=d_params,
        d_state=d_states,
        d_input=dict.fromkeys(task.inputs, gradients[dnnl.SRC].copy()),
    )
