"""oneDNN's LSTM for inference with weights of 16 and 8 bits.

bfloat16: weights, inputs, outputs and hidden states are bfloat16, the cell state is float32. int8:
inputs, and hidden states where they are multiplied, are whole numbers from 0 to 255 with one scale
and one shift, which are given beforehand (from the range of this task's numbers, as a calibration
would find it); weights have a scale for each unit of each gate. Matrices are placed once; a call
begins with float32 inputs and ends with float32 outputs, as in derive.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

import numpy as np

from derive.bench.peers import onednn_library as dnnl
from derive.bench.peers.closed import Known, known
from derive.bench.peers.onednn import NAME as ONEDNN
from derive.bench.peers.onednn import matrices_and_states, missing, results_of, run
from derive.bench.task import Contestant, Results, Task, named
from derive.errors import BuildError
from derive.kernel.signature import Array

__all__ = ["NAME", "enter", "missing"]

NAME = f"{ONEDNN}, thin"

#: Numbers of weights, and of arguments that are no float32.
_VECTORS = (dnnl.SRC, dnnl.SRC_ITER, dnnl.DST, dnnl.DST_ITER)
_TYPES = {
    "bfloat16": (dnnl.BF16, dict.fromkeys(_VECTORS, dnnl.BF16)),
    "int8": (dnnl.S8, {dnnl.SRC: dnnl.U8}),
}


def enter(task: Task) -> list[Contestant]:
    found, path = known(task.cell), dnnl.find()
    if found is None or path is None or found.kind != "lstm" or found.peepholes:
        return []
    library = dnnl.Library(path)
    contestants = []
    for dtype in _TYPES:
        try:
            contestants.append(_contestant(library, found, task, dtype))
        except BuildError:  # of a processor that it has no such primitive for
            continue
    return contestants


def _contestant(library: dnnl.Library, found: Known, task: Task, dtype: str) -> Contestant:
    start = time.perf_counter()
    given, outputs = matrices_and_states(found, task), results_of(found, task)
    weights, types = _TYPES[dtype]
    attributes = of_data = None
    if dtype == "int8":
        of_data = library.quantized(*_range(given[dnnl.SRC]))
        attributes = library.quantized(*_range(given[dnnl.SRC]), _scales(given))
    plain = given | outputs

    def describe(number: int) -> ctypes.c_void_p:
        return library.describe_plain(plain[number].shape, types.get(number, dnnl.F32))

    matrices = [
        library.describe(plain[number].shape, None, weights)
        for number in (dnnl.WEIGHTS, dnnl.WEIGHTS_ITER)
    ]
    primitive = library.primitive(
        "lstm_forward", dnnl.FORWARD_INFERENCE, dnnl.LEFT_TO_RIGHT,
        *map(describe, (dnnl.SRC, dnnl.SRC_ITER, dnnl.SRC_ITER_C)), *matrices, None, None,
        *map(describe, (dnnl.BIAS, dnnl.DST, dnnl.DST_ITER, dnnl.DST_ITER_C)),
        ctypes.c_uint(0), attributes=attributes,
    )  # fmt: skip
    memory = {number: library.plain(array) for number, array in plain.items()}
    own = dict(memory)
    before: list[dnnl.Primitive] = []
    after: list[dnnl.Primitive] = []
    for number in (dnnl.WEIGHTS, dnnl.WEIGHTS_ITER):
        own[number] = library.own(primitive.wants(number))
        run([library.reorder(memory[number], own[number], attributes)])
    for number in types:
        own[number] = library.own(primitive.wants(number))
        into = number in given
        pair = (memory[number], own[number]) if into else (own[number], memory[number])
        (before if into else after).append(library.reorder(*pair, of_data))
    primitive.bind(own)

    def infer() -> Any:
        run([*before, primitive, *after])
        return outputs[dnnl.DST]

    def read(result: Any) -> Results:
        return named(output=dict.fromkeys(task.cell.outputs, result.copy()))

    version = library.version.rpartition(".")[0]
    return Contestant(
        f"{ONEDNN} {version}, {dtype}", infer, None, read, dtype,
        start=time.perf_counter() - start,
        held={"infer": sum(array.nbytes for array in outputs.values())},
    )  # fmt: skip


def _range(inputs: Array) -> tuple[float, float]:
    """Scale and shift of the numbers from 0 to 255: what inputs and hidden states, which lie
    between -1 and 1, need."""
    most = max(1.0, float(np.abs(inputs).max(initial=0)))
    return 127 / most, 128.0


def _scales(given: dict[int, Array]) -> Array:
    """One for each unit of each gate, [G * H]: 127 over the largest weight of both matrices."""
    most = [np.abs(given[n]).max(axis=(0, 1, 2)) for n in (dnnl.WEIGHTS, dnnl.WEIGHTS_ITER)]
    return np.asarray(127 / np.maximum(*most), np.float32).ravel()
