"""Files of weights: good ones to damage, and how each form is read.

In: a form.  Out: the bytes of a good file; what reading any bytes as that form does.
Not here: the damage (files_room.py). hypothesis is not imported.
"""

from __future__ import annotations

import functools
import io
import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import derive
from derive.cell import Cell
from derive.layers import checkpoint

#: Of each form: the ending of its file, and the package that has to be there.
FORMS = {
    "npz": (".npz", None),
    "safetensors": (".safetensors", "safetensors"),
    "onnx": (".onnx", "onnx"),
    "onnx bytes": ("", "onnx"),
    "onnx weights": (".onnx", "onnx"),
    "pytorch": (".npz", None),
}


@functools.cache
def _cell() -> Cell:
    return derive.cells.lstm()


@functools.cache
def good(form: str) -> bytes:
    """A file that is read without a word."""
    if form.startswith("onnx"):
        return _onnx()
    if form == "pytorch":  # a state_dict, its arrays in an archive
        file = io.BytesIO()
        arrays = derive.weights.save(_cell(), "pytorch", _params())
        np.savez(file, **arrays)
        return file.getvalue()
    with tempfile.TemporaryDirectory(prefix="derive-fuzz-") as folder:
        path = os.path.join(folder, "good" + FORMS[form][0])
        checkpoint.save(path, _params(), _cell())
        with open(path, "rb") as file_:
            return file_.read()


def read(form: str, data: Any) -> None:
    """What a user does with such a file; `pytorch` is given its arrays by name."""
    if form == "pytorch":
        derive.weights.load(_cell(), "pytorch", data)
        return
    if form == "onnx bytes":
        _run_layer(derive.weights.from_onnx(data))
        return
    with tempfile.TemporaryDirectory(prefix="derive-fuzz-") as folder:
        path = os.path.join(folder, "damaged" + FORMS[form][0])
        with open(path, "wb") as file:
            file.write(data)
        _READERS[form](path)


def _run_layer(layer: Any) -> None:
    layer.run(np.zeros((2, 1, 3), np.float32))


_READERS: dict[str, Callable[[str], Any]] = {
    "npz": lambda path: checkpoint.load(path, _cell()),
    "safetensors": lambda path: checkpoint.load(path, _cell()),
    "onnx": lambda path: _run_layer(derive.weights.from_onnx(path)),
    "onnx weights": lambda path: derive.weights.load(_cell(), "onnx", path),
}


def _params() -> dict[str, Any]:
    random = np.random.default_rng(0)
    lengths = {"I": 3, "H": 2}
    return {
        name: random.uniform(-1, 1, [lengths[str(axis)] for axis in shape]).astype(np.float32)
        for name, shape in _cell().params.items()
    }


def _onnx() -> bytes:
    import onnx
    from onnx import helper, numpy_helper

    arrays = derive.weights.save(_cell(), "onnx", _params())
    node = helper.make_node("LSTM", ["X", *arrays], ["Y", "Y_h", "Y_c"], name="lstm", hidden_size=2)
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "good",
        [helper.make_tensor_value_info("X", floats, ["T", "B", 3])],
        [helper.make_tensor_value_info("Y", floats, ["T", 1, "B", 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return bytes(helper.make_model(graph).SerializeToString())
