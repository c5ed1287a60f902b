"""Every public function says what it was given wrongly: a DeriveError, and never another exception.

Each argument of a call that works is replaced by each of many values of other kinds.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive import layers, rnn_cell, train, weights
from derive.errors import DeriveError

BAD: dict[str, Any] = {
    "None": None, "text": "x", "negative": -1, "zero": 0, "fraction": 1.5, "nan": float("nan"),
    "infinite": float("inf"), "2**70": 2**70, "list": [], "dict": {}, "object": object(),
    "complex": np.ones((2, 2), complex), "vector": np.ones(3), "four axes": np.ones((2, 2, 2, 2)),
    "0-d": np.array(1.0), "True": True, "bytes": b"x", "other name": {"zzz": np.ones(2)},
    "None inside": {"x": None}, "ragged": [[1], [1, 2]], "array of text": np.array(["a"]),
    "objects": np.array([None, 1], object), "masked": np.ma.masked_array(np.ones(3), mask=True),
    "pair": (1, 2), "number as name": {1: 2}, "set": {1}, "function": len, "class": int,
    "nothing": np.empty((0, 0, 0)), "date": np.array(["2020-01-01"], "M8[D]"),
}  # fmt: skip

X = np.ones((5, 2, 3), np.float32)
CELL = derive.cells.rnn()


def _kernel() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    kernel = derive.compile(CELL, target="numpy")
    params = kernel.init(I=3, H=4)
    run = kernel.forward(params, X)
    d = np.ones_like(run.output)
    return {
        "forward": (kernel.forward, (params, X, run.states, [5, 2])),
        "backward": (lambda r, o, s, w: kernel.backward(r, o, s, wrt=w), (run, d, None, "W")),
        "step": (kernel.step, (params, X[0], run.states)),
        "stream": (lambda p, n, s, x: kernel.stream(p, n, s)(x), (params, 2, run.states, X[0])),
    }


def _layers(path: Path) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    def made(count: Any, end: Any, dtype: Any, fixed: Any) -> Any:
        options: Any = {"past_end": end, "dtype": dtype, "fixed": fixed}
        return layers.RNN(CELL, count, target="numpy", I=3, H=4, **options)

    rnn = made(1, "zero", "float32", None)
    run = rnn.forward(X)
    return {
        "RNN": (made, (1, "zero", "float32", None)),
        "RNN.forward": (rnn.forward, (X, None, [5, 2])),
        "RNN.backward": (rnn.backward, (run, np.ones_like(run.output), None)),
        "RNN.step": (rnn.step, (X[0],)),
        "RNN.set_params": (rnn.set_params, (dict(rnn.params),)),
        "RNN.save": (rnn.save, (str(path / "a.npz"),)),
    }


def _cells() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    def varied(**options: Any) -> Callable[[Any], Any]:
        (key,) = options
        return lambda value: CELL.vary(**{key: value})

    return {
        "compile": (lambda c, t, d, w: derive.compile(c, t, d, wrt=w),
                    (CELL, "numpy", "float32", None)),
        "load": (derive.load, ("docs/examples/janet.cell",)),
        "parse": (derive.Cell.parse, (CELL.to_text(),)),
        "diff": (derive.diff, (CELL, CELL)),
        "options": (derive.cells.options, ("lstm",)),
        "family": (derive.cells.family, ("lstm",)),
        "from_spec": (derive.cells.from_spec, ("lstm",)),
        "rename": (varied(rename=0), ({"W": "Q"},)),
        "tie": (varied(tie=0), ({},)),
        "activation": (varied(activation=0), ({"tanh": "relu"},)),
        "consts": (varied(consts=0), ({"k": 1},)),
        "remove": (varied(remove=0), ("b",)),
        "declare": (varied(declare=0), ("input m: M",)),
    }  # fmt: skip


def _weights() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    shapes = {"weight_ih_l0": (4, 3), "weight_hh_l0": (4, 4), "bias_ih_l0": (4,)}
    arrays = {name: np.ones(shape) for name, shape in shapes.items()}
    arrays["bias_hh_l0"] = np.ones(4)
    params = weights.load(CELL, "pytorch", arrays)
    return {
        "load": (
            lambda s, a, p, d: weights.load(CELL, s, a, prefix=p, dtype=d),
            ("pytorch", arrays, None, None),
        ),
        "save": (lambda s, a, p: weights.save(CELL, s, a, prefix=p), ("pytorch", params, None)),
    }


def _train() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    def arrays() -> dict[str, Any]:
        return {"a": np.ones(3)}

    return {
        "cross_entropy": (train.cross_entropy, (np.ones((5, 2, 3)), np.zeros((5, 2), int), None)),
        "squared_error": (train.squared_error, (X, X, None)),
        "clip_by_norm": (train.clip_by_norm, (arrays(), 1.0)),
        "Adam": (lambda p, g, r: train.Adam(p).step(g, r), (arrays(), arrays(), 0.1)),
        "SGD": (lambda p, g, r: train.SGD(p).step(g, r), (arrays(), arrays(), 0.1)),
    }


def _model() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    def model(outputs: Any, count: Any, dropout: Any) -> train.Model:
        options: Any = {"outputs": outputs, "layers": count, "dropout": dropout}
        return train.Model(CELL, **options, target="numpy", I=3, H=4)

    own = model(3, 1, 0.0)
    y = np.zeros((5, 2), int)
    batch = train.Batch(X, y)
    return {
        "Model": (model, (3, 1, 0.0)),
        "Batch": (lambda x, y: own.gradients(train.Batch(x, y)), (X, y)),
        "gradients": (own.gradients, (batch, None)),
        "predict": (own.predict, (batch,)),
    }


def _flow() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    params, x = derive.flow.draw(CELL, {"I": 3, "H": 4}, 5)
    return {
        "draw": (derive.flow.draw, (CELL, {"I": 3, "H": 4}, 5, 0)),
        "measure": (derive.flow.measure, (CELL, params, x, None)),
        "W": (lambda v: derive.flow.measure(CELL, {**params, "W": v}, x), (params["W"],)),
        "chrono": (lambda p, n, b, s: derive.flow.chrono(p, n, b, seed=s), (params, 100, "b", 0)),
    }


def _exports(path: Path) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    params = derive.compile(CELL, target="numpy").init(I=3, H=4)
    file = str(path / "w.npz")
    layers.checkpoint.save(file, params, CELL)
    return {
        "onnx": (lambda p, v: derive.onnx.export(CELL, p, params=v), (path / "a.onnx", params)),
        "mcu": (lambda p, v: derive.mcu.export(CELL, p, v), (path / "out", file)),
    }


def _tensorflow() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    cell = rnn_cell.BasicRNNCell(4)
    state = cell.zero_state(2, np.float32)
    return {
        "zero_state": (cell.zero_state, (2, np.float32)),
        "call": (cell, (X[0], state)),
        "dynamic_rnn": (
            lambda x, n, s: rnn_cell.dynamic_rnn(cell, x, sequence_length=n, initial_state=s),
            (np.ones((2, 5, 3), np.float32), [5, 2], state),
        ),
        **_flags(cell),
    }


def _flags(cell: Any) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Every argument of a class or a driver of TensorFlow's that is True or False."""
    x, second = np.ones((2, 5, 3), np.float32), rnn_cell.BasicRNNCell(4)
    needed: dict[str, tuple[Any, ...]] = {
        "MultiRNNCell": ([cell],), "DropoutWrapper": (cell,), "dynamic_rnn": (cell, x),
        "bidirectional_dynamic_rnn": (cell, second, x), "static_rnn": (cell, list(x)),
        "stack_bidirectional_dynamic_rnn": ([cell], [second], x),
    }  # fmt: skip
    found: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
    for name in rnn_cell.__all__:
        parameters = inspect.signature(getattr(rnn_cell, name)).parameters.values()
        for flag in [p.name for p in parameters if p.annotation in ("bool", bool)]:

            def call(value: Any, name: str = name, flag: str = flag) -> Any:
                return getattr(rnn_cell, name)(*needed.get(name, (4,)), **{flag: value})

            found[f"{name}({flag}=)"] = (call, (True,))
    assert len(found) > 20
    return found


ROOMS: dict[str, Callable[[Path], Any]] = {
    "kernel": lambda _: _kernel(), "layers": _layers, "cells": lambda _: _cells(),
    "weights": lambda _: _weights(), "train": lambda _: _train(),
    "rnn_cell": lambda _: _tensorflow(), "model": lambda _: _model(), "flow": lambda _: _flow(),
    "exports": _exports,
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_a_wrong_argument_is_a_derive_error_or_is_taken(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = ROOMS[room](tmp_path)
    monkeypatch.chdir(tmp_path)  # a name such as "x" may be that of a file that is written
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for door, (call, args) in doors.items():
            if door != "load" or room != "cells":
                call(*args)
            for k in range(len(args)):
                for label, value in BAD.items():
                    try:
                        call(*args[:k], value, *args[k + 1 :])
                    except DeriveError as error:
                        if not str(error):
                            wrong.append(f"{door} {k} {label}: no text")
                    except Exception as error:
                        wrong.append(f"{door} {k} {label}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


def test_flags_of_tensorflows_classes_and_drivers_are_true_or_false() -> None:
    for door, (call, _) in _flags(rnn_cell.BasicRNNCell(4)).items():
        for value in (np.ones(3), "False", None, 1):
            with pytest.raises(DeriveError, match="must be True or False, not") as error:
                call(value)
            assert f"({str(error.value).split()[0]}=)" in door
