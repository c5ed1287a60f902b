"""Every door refuses what is wrong, in the same words for both targets, and nothing crashes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive import rnn_cell
from derive.errors import ArgumentTypeError, DeriveError
from derive.kernel import Kernel

TARGETS = ("numpy", "c")
T, B, I, H = 3, 2, 5, 4  # noqa: E741
TWO = """
cell two
input x: I
input m: 1
state h: H
state c: H
param U: H x H
param W: H x I
c' = c + m * (W @ x)
h' = tanh(U @ h + c')
output h', c'
"""
#: The width of the state is no parameter's.
LEAKY = "cell leaky\ninput x: 1\nstate h: H\nh' = h * 0.5 + x\noutput h'"


@cache
def kernel(target: str, text: str = "", dtype: str = "float32") -> Kernel:
    cell = derive.Cell.parse(text) if text else derive.cells.gru()
    return derive.compile(cell, target, dtype=dtype)


def verdict(call: Callable[[], Any]) -> tuple[type, str] | str:
    """The class and text of a DeriveError; "accepted" where there is none."""
    try:
        call()
    except DeriveError as error:
        return type(error), str(error)
    return "accepted"


def refused(call: Callable[[str], Any], kind: type[Exception] = Exception) -> str:
    """The text of the error, which is the same for both targets."""
    numpy, c = (verdict(lambda target=target: call(target)) for target in TARGETS)
    assert numpy == c
    assert isinstance(c, tuple), f"{c} instead of refused"
    assert issubclass(c[0], kind) and issubclass(c[0], (ValueError, TypeError))
    return c[1]


# --- arrays -----------------------------------------------------------------------------------


class Fails:
    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("on another device")


#: shape -> what is given for an array of it, and the kind of error.
BAD: dict[str, tuple[Callable[[tuple[int, ...]], Any], type[Exception]]] = {
    "complex": (lambda shape: np.ones(shape) * 1j, TypeError),
    "text": (lambda shape: np.full(shape, "a"), TypeError),
    "a text": (lambda _: "abc", TypeError),
    "objects": (lambda shape: np.full(shape, None), TypeError),
    "dates": (lambda shape: np.zeros(shape, "M8[s]"), TypeError),
    "records": (lambda shape: np.zeros(shape, "f4,f4"), TypeError),
    "masked": (lambda shape: np.ma.masked_array(np.ones(shape), mask=True), TypeError),
    "a set": (lambda _: {1.0, 2.0}, TypeError),
    "a function": (lambda _: len, TypeError),
    "fails": (lambda _: Fails(), TypeError),
    "ragged": (lambda _: [[1.0], [1.0, 2.0]], ValueError),
    "an axis too few": (lambda shape: np.ones(shape[1:]), ValueError),
    "an axis too many": (lambda shape: np.ones((1, *shape)), ValueError),
    "too wide": (lambda shape: np.ones((*shape[:-1], shape[-1] + 1)), ValueError),
    "too narrow": (lambda shape: np.ones((*shape[:-1], shape[-1] - 1)), ValueError),
    "no width": (lambda shape: np.ones((*shape[:-1], 0)), ValueError),
    "too large to be copied": (lambda shape: np.broadcast_to(0.0, (2**45, *shape[1:])), ValueError),
}


def made(target: str) -> tuple[Kernel, Any, Any]:
    k = kernel(target)
    params = k.init(I=I, H=H)
    return k, params, k.forward(params, np.ones((T, B, I)))


#: What is given to a door: (kernel, parameters, run, value).
ARRAYS: dict[str, tuple[tuple[int, ...], Callable[[Kernel, Any, Any, Any], Any]]] = {
    "x of forward": ((T, B, I), lambda k, p, _, v: k.forward(p, v)),
    "x of forward, named": ((T, B, I), lambda k, p, _, v: k.forward(p, {"x": v})),
    "x of step": ((B, I), lambda k, p, _, v: k.step(p, v, {"h": np.zeros((B, H))})),
    "x of a stream": ((B, I), lambda k, p, _, v: k.stream(p, rows=B)(v)),
    "x of a stream, named": ((B, I), lambda k, p, _, v: k.stream(p, rows=B)({"x": v})),
    "state of forward": ((B, H), lambda k, p, _, v: k.forward(p, np.ones((T, B, I)), v)),
    "state of step": ((B, H), lambda k, p, _, v: k.step(p, np.ones((B, I)), {"h": v})),
    "state of a stream": ((B, H), lambda k, p, _, v: k.stream(p, rows=B, state={"h": v})),
    "state of reset": ((B, H), lambda k, p, _, v: k.stream(p, rows=B).reset({"h": v})),
    "bare state of reset": ((B, H), lambda k, p, _, v: k.stream(p, rows=B).reset(v)),
    "d_outputs": ((T, B, H), lambda k, _, run, v: k.backward(run, v)),
    "d_states": ((B, H), lambda k, _, run, v: k.backward(run, None, {"h": v})),
    "a parameter of forward": (
        (H, H),
        lambda k, p, _, v: k.forward({**p, "U_z": v}, np.ones((T, B, I))),
    ),
    "a parameter of step": ((H, H), lambda k, p, _, v: k.step({**p, "U_z": v}, np.ones((B, I)))),
    "a parameter of pack": ((H, H), lambda k, p, _, v: k.pack({**p, "U_z": v})),
    "a parameter of a stream": ((H, H), lambda k, p, _, v: k.stream({**p, "U_z": v})),
}


@pytest.mark.parametrize("door", ARRAYS)
def test_every_door_refuses_every_bad_array(door: str) -> None:
    shape, call = ARRAYS[door]
    for bad, kind in BAD.values():
        refused(lambda target, bad=bad: call(*made(target), bad(shape)), kind)  # type: ignore[misc]


@pytest.mark.parametrize("bad", BAD)
def test_doors_that_take_the_same_say_the_same(bad: str) -> None:
    def says(door: str) -> str:
        shape, call = ARRAYS[door]
        return refused(lambda target: call(*made(target), BAD[bad][0](shape)))

    first = "x of step"
    assert says("x of a stream") == says("x of a stream, named")
    assert says("x of forward") == says("x of forward, named")
    if BAD[bad][1] is TypeError or bad == "ragged":
        assert says(first) == says("x of a stream") == says("x of forward")
        assert says("state of step") == says("state of reset") == says("state of forward")
    assert says("state of reset") == says("bare state of reset") == says("state of a stream")
    assert says("a parameter of step") == says("a parameter of pack")
    assert says("a parameter of pack") == says("a parameter of a stream")


NAMED: dict[str, Callable[[Kernel, Any, Any], Any]] = {
    "no x": lambda k, p, _: k.forward(p, None),
    "no x of step": lambda k, p, _: k.step(p, None),
    "no x of a stream": lambda k, p, _: k.stream(p)(),
    "x by no name": lambda k, p, _: k.stream(p)({}),
    "x by another name": lambda k, p, _: k.stream(p)({"y": np.ones((1, I))}),
    "x by two names": lambda k, p, _: k.stream(p)({"x": np.ones((1, I)), "y": 1}),
    "x by a number": lambda k, p, _: k.stream(p)({1: np.ones((1, I))}),
    "another state of a stream": lambda k, p, _: k.stream(p, state={"c": 1}),
    "another state of reset": lambda k, p, _: k.stream(p).reset({"c": np.ones((1, H))}),
    "other rows of reset": lambda k, p, _: k.stream(p).reset({"h": np.ones((2, H))}),
    "other rows of a stream's state": lambda k, p, _: k.stream(p, state={"h": np.ones((2, H))}),
    "a number for a state": lambda k, p, _: k.stream(p).reset({"h": 3}),
    "no parameters": lambda k, _, __: k.forward(None, np.ones((T, B, I))),
    "no parameters of a stream": lambda k, _, __: k.stream(None),
    "parameters that are a list": lambda k, p, _: k.pack(list(p.values())),
    "a parameter too few": lambda k, p, _: k.pack(dict(list(p.items())[1:])),
    "a parameter too many": lambda k, p, _: k.stream({**p, "zz": 1}),
    "a parameter that is None": lambda k, p, _: k.stream({**p, "U_z": None}),
    "another dimension": lambda k, p, _: k.stream(p, rows=1, zzz=7),
    "rows and another H": lambda k, p, _: k.stream(p, rows=40, H=1),
    "an H that is too large": lambda k, p, _: k.stream(p, H=H + 2),
    "an H packed otherwise": lambda k, p, _: k.stream(k.pack(p), H=H + 2),
    "another cotangent": lambda k, _, run: k.backward(run, {"zz": np.ones((T, B, H))}),
    "another cotangent of a state": lambda k, _, run: k.backward(run, None, {"zz": 1}),
    "no run": lambda k, p, _: k.backward(p),
    "another dimension of init": lambda k, _, __: k.init(I=I, H=H, zzz=7),
    "no H": lambda k, _, __: k.init(I=I),
    "sizes that are a list": lambda k, _, __: k.init([1, 2]),
    "another remat": lambda k, p, _: k.forward(p, np.ones((T, B, I)), remat=["time"]),
    "a flag that is none": lambda k, p, _: k.forward(p, np.ones((T, B, I)), reverse="no"),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_wrong_name_or_option_is_refused_by_both_targets(case: str) -> None:
    refused(lambda target: NAMED[case](*made(target)))


#: More than there is of anything: by sign, by kind, by size.
NUMBERS = (-1, 2.5, "3", True, None, [2], np.float64(3), 2**45, 2**62, 2**63, 2**64 + 3, 10**30)
COUNTS: dict[str, Callable[[str, Any], Any]] = {
    "I of init": lambda target, n: kernel(target).init(I=n, H=H),
    "rows of a stream": lambda target, n: kernel(target).stream(made(target)[1], rows=n),
    "H of a stream": lambda target, n: kernel(target, LEAKY).stream({}, H=n),
    "T of tune": lambda target, n: kernel(target).tune(T=n, B=2**30, I=I, H=H),
    "H of tune": lambda target, n: kernel(target).tune(T=2**30, B=1, I=I, H=n),
    "threads": lambda target, n: derive.compile(derive.cells.gru(), target, threads=n),
    "seed": lambda target, n: kernel(target).init(I=2**45, H=H, seed=n),
    "I of layers": lambda target, n: derive.layers.RNN(derive.cells.gru(), target=target, I=n, H=H),
    "layers": lambda target, n: derive.layers.RNN(
        derive.cells.gru(), n, target=target, I=I, H=2**50
    ),
    "threads of layers": lambda target, n: derive.layers.RNN(
        derive.cells.gru(), target=target, threads=n, I=I, H=H
    ),
    "units": lambda _, n: rnn_cell.GRUCell(n).build(I),
    "input width": lambda _, n: rnn_cell.GRUCell(4).build(-1 if n in (None, [2]) else n),
    "batch size": lambda _, n: rnn_cell.GRUCell(4).zero_state(n),
}


@pytest.mark.parametrize("door", COUNTS)
def test_every_number_that_is_none_is_refused(door: str) -> None:
    for number in NUMBERS:
        refused(lambda target, number=number: COUNTS[door](target, number))  # type: ignore[misc]


# --- sizes that are legal ---------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", TWO, LEAKY], ids=["gru", "two", "leaky"])
@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("h", [0, 3])
@pytest.mark.parametrize("i", [0, 3])
def test_axes_of_length_zero_are_fine_for_both_targets(
    text: str, rows: int, h: int, i: int
) -> None:
    found = []
    for target in TARGETS:
        k = kernel(target, text, "float64")
        own, sizes = k.signature, {"I": i, "H": h}
        params = k.init({name: sizes[name] for name in own.dims()})
        states = {name: np.ones((rows, h)) for name in own.states}
        for steps in (0, 1, 300):
            x = {
                name: np.ones((steps, rows, w if isinstance(w, int) else sizes[w]))
                for name, w in own.inputs.items()
            }
            for given in (params, k.pack(params)):
                run = k.forward(given, x, states, lengths=[steps // 2] * rows)
                run = k.forward(given, x, states)
                grads = k.backward(run, {n: np.ones_like(a) for n, a in run.outputs.items()})
            stream = k.stream(params, rows=rows, state=states)
            if steps:
                output = stream({name: array[0] for name, array in x.items()})
                found.append(output if isinstance(output, dict) else {"output": output})
            found += [run.outputs, run.states, grads.params, grads.inputs, stream.state]
    for one, other in zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True):
        for name, array in one.items():
            assert array.shape == other[name].shape
            assert np.allclose(array, other[name], rtol=1e-12, atol=1e-12)


def test_a_stream_of_a_cell_whose_width_no_parameter_tells() -> None:
    for target in TARGETS:
        k = kernel(target, LEAKY)
        assert k.stream({}, rows=2, H=3)(np.ones((2, 1))).shape == (2, 3)  # type: ignore[union-attr]
        told = k.stream({}, rows=2, state={"h": np.ones((2, 4))})
        assert np.array_equal(told([[1], [1]]), np.full((2, 4), 1.5))
    assert "width H of state h" in refused(lambda target: kernel(target, LEAKY).stream({}))
    refused(lambda t: kernel(t, LEAKY).stream({}, rows=2, H=3, state={"h": np.ones((2, 4))}))


@pytest.mark.parametrize("target", TARGETS)
def test_a_refused_step_or_reset_leaves_a_stream_as_it_was(target: str) -> None:
    k = kernel(target, TWO)
    stream = k.stream(k.init(I=I, H=H), rows=B)
    good = {"x": np.ones((B, I)), "m": np.ones((B, 1))}
    stream(good)
    before = stream.state
    for bad in ({**good, "m": np.ones((B, 2))}, {**good, "m": [[1], [1, 2]]}, np.ones((B, I))):
        with pytest.raises(DeriveError):
            stream(bad)
    with pytest.raises(DeriveError):
        stream.reset({"h": np.ones((B, H)), "c": np.ones((B, H + 1))})
    assert all(np.array_equal(stream.state[name], before[name]) for name in before)


# --- what kernels trust -----------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_packed_parameters_cannot_be_changed(target: str) -> None:
    k = kernel(target)
    params = k.init(I=I, H=H)
    packed = k.pack(params)
    x = np.ones((T, B, I), np.float32)
    before = k.forward(packed, x).output
    with pytest.raises(ArgumentTypeError, match="cannot be changed"):
        packed["U_z"] = np.ones(1)  # type: ignore[index]
    with pytest.raises(ArgumentTypeError, match="cannot be changed"):
        del packed["U_z"]  # type: ignore[attr-defined]
    with pytest.raises(ArgumentTypeError, match="cannot be changed"):
        packed._panels = None
    with pytest.raises(ArgumentTypeError, match="cannot be changed"):
        del packed._panels
    with pytest.raises(ArgumentTypeError, match="another process"):
        pickle.dumps(packed)
    for name in packed:
        with pytest.raises(ValueError, match="read-only"):
            packed[name][...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            packed[name].flags.writeable = True
        assert np.array_equal(packed[name], params[name])
    assert copy.copy(packed) is packed and copy.deepcopy(packed) is packed
    assert packed == packed and packed != k.pack(params) and len(packed) == len(params)
    assert "U_z" in repr(packed) and hash(packed) == hash(packed)
    assert np.array_equal(k.forward({**packed}, x).output, before)
    for _ in range(3):
        assert np.array_equal(k.forward(packed, x).output, before)


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_cannot_be_changed(target: str) -> None:
    k, params, _ = made(target)
    for lengths in (None, [3, 1]):
        run = k.forward(params, np.ones((T, B, I), np.float32), lengths=lengths)
        wanted = k.backward(run, np.ones((T, B, H))).params
        for name in ("sizes", "reverse", "lengths", "training", "remat", "outputs"):
            with pytest.raises(AttributeError):
                setattr(run, name, None)
        with pytest.raises(TypeError):
            run.sizes.dims["H"] = 1000  # type: ignore[index]
        with pytest.raises(TypeError):
            k.signature.states["h"] = 1000  # type: ignore[index]
        if run.lengths is not None:
            run.lengths[:] = 0
        for array in (*run.outputs.values(), *run.states.values()):
            array[...] = 0
        again = k.backward(run, np.ones((T, B, H))).params
        assert all(np.array_equal(again[name], wanted[name]) for name in wanted)
        assert "training=True" in repr(run)


# --- layers, rnn_cell, files ------------------------------------------------------------------


def rnn(target: str = "numpy", **options: Any) -> derive.layers.RNN:
    return derive.layers.RNN(derive.cells.gru(), target=target, I=I, H=H, **options)


def stepped(target: str) -> derive.layers.RNN:
    made = rnn(target)
    made.step(np.ones((B, I)))
    return made


X = np.ones((T, B, I))
LAYERS: dict[str, Callable[[str], Any]] = {
    "dtype": lambda t: rnn(t, dtype="zzz"),
    "dtype that is none": lambda t: rnn(t, dtype=[1]),
    "target": lambda _: rnn("zzz"),
    "target that is a list": lambda _: rnn(["c"]),  # type: ignore[arg-type]
    "past_end": lambda t: rnn(t, past_end="zzz"),
    "past_end that is a list": lambda t: rnn(t, past_end=[1]),
    "seed": lambda t: rnn(t, seed="a"),
    "negative seed": lambda t: rnn(t, seed=-1),
    "dropout": lambda t: rnn(t, dropout=float("nan")),
    "too many layers": lambda t: rnn(t, num_layers=10**30),
    "another dimension": lambda t: rnn(t, zzz=7),
    "ragged resets": lambda t: rnn(t).forward(X, resets=[[1], [1, 2]]),
    "masked resets": lambda t: rnn(t).forward(X, resets=np.ma.masked_array(np.ones((T, B), bool))),
    "resets of another shape": lambda t: rnn(t).forward(X, resets=np.ones((B, T), bool)),
    "ragged resets, batch first": lambda t: rnn(t, batch_first=True).forward(X, resets=[[1], []]),
    "lengths": lambda t: rnn(t).forward(X, lengths=[T + 1, 0]),
    "a row that is none": lambda t: stepped(t).reset_state([B]),
    "rows that are text": lambda t: stepped(t).reset_state("all"),
    "ragged rows": lambda t: stepped(t).reset_state([[0], [0, 1]]),
    "parameters that are a list": lambda t: rnn(t).set_params([1]),
    "a parameter that is none": lambda t: rnn(t).set_params({"zz": 1}),
    "a state that is none": lambda t: rnn(t).forward(X, {"zz": 1}),
    "a path that is none": lambda t: rnn(t).save(3),  # type: ignore[arg-type]
    "a file that is a number": lambda t: rnn(t).load(3),  # type: ignore[arg-type]
    "a folder that is not there": lambda t: rnn(t).save("/nonexistent/weights.npz"),
    "cotangents with computed ends": lambda t: (
        lambda made, run: made.backward(run, np.ones((T, B, H + 1)))
    )(*(lambda made: (made, made.forward(X, lengths=[1, 2])))(rnn(t, past_end="computed"))),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_layers_refuse_what_is_wrong(case: str) -> None:
    refused(LAYERS[case])


def test_arrays_of_layers_and_rnn_cells_are_looked_at_like_those_of_kernels() -> None:
    doors: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
        "layers": ((T, B, I), lambda v: rnn().forward(v)),
        "layers, batch first": ((B, T, I), lambda v: rnn(batch_first=True).forward(v)),
        "step of layers": ((B, I), lambda v: rnn().step(v)),
        "state of layers": ((1, B, H), lambda v: rnn().forward(X, {"h": v})),
        "cotangent": ((T, B, H), lambda v: (lambda r: r.backward(r.forward(X), v))(rnn())),
        "rnn_cell": ((B, I), lambda v: rnn_cell.GRUCell(H)(v, None)),
        "state of rnn_cell": ((B, H), lambda v: rnn_cell.GRUCell(H)(np.ones((B, I)), v)),
        "joined state": (
            (B, 2 * H),
            lambda v: rnn_cell.BasicLSTMCell(H, state_is_tuple=False)(np.ones((B, I)), v),
        ),
        "dynamic_rnn": ((B, T, I), lambda v: rnn_cell.dynamic_rnn(rnn_cell.GRUCell(H), v)),
        "time major": (
            (T, B, I),
            lambda v: rnn_cell.dynamic_rnn(rnn_cell.GRUCell(H), v, time_major=True),
        ),
        "pullback": (
            (B, T, H),
            lambda v: rnn_cell.dynamic_rnn(
                rnn_cell.GRUCell(H), np.ones((B, T, I)), return_pullback=True
            )[2](v),
        ),
    }
    with derive.layers.sequence.using("numpy"):
        for door, (shape, call) in doors.items():
            for name, (bad, kind) in BAD.items():
                if name in ("too wide", "too narrow", "no width") and "state" not in door:
                    continue  # a cell that is not built yet takes any width
                given = bad(shape)
                found = verdict(lambda call=call, given=given: call(given))  # type: ignore[misc]
                assert isinstance(found, tuple), (door, name)
                assert issubclass(found[0], (ValueError, TypeError)), (door, name, kind)


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.npz"
    one = rnn()
    one.save(path)
    before = path.read_bytes()

    def half(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(derive.DeriveError, match="cannot be written"):
        one.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
