"""Wanted gradients only: `wrt` of emit, compile and backward."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest

import derive
from derive import pipeline, targets
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel import Gradients, Kernel
from derive.kernel.c_backend import CBackend
from derive.kernel.wanted import Partial
from derive.program import Matmul

TWO_INPUTS = """\
cell two_inputs
input x: I, m: 1
state h: H, c: H
param W: H x I
f = sigmoid(W @ x + U @ h + b)
c' = f * c + m * tanh(V @ h)
h' = tanh(c') * f
output h'
"""
SIZES = {"I": 3, "H": 5}
STEPS, ROWS = 7, 3
SETS: tuple[tuple[str, ...], ...] = (
    (), ("W",), ("x",), ("h",), ("U", "V", "c"), ("x", "m"), ("W", "U", "b", "V"), ("m", "b", "h"),
)  # fmt: skip
#: Each takes seconds to compile.
SETS_C = (), ("U", "x"), ("m", "b", "h")
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lengths": {"lengths": [7, 0, 4]},
    "reverse": {"reverse": True, "lengths": [2, 7, 1]},
    "remat": {"remat": "time"},
}


def cell() -> derive.Cell:
    return derive.Cell.parse(TWO_INPUTS)


def arrays(kernel: Kernel, steps: int = STEPS) -> dict[str, Any]:
    random = np.random.default_rng(0)

    def draw(widths: Any, *before: int) -> dict[str, Any]:
        return {n: random.standard_normal((*before, SIZES.get(w, w))) for n, w in widths.items()}

    own = kernel.signature
    return {
        "params": kernel.init(SIZES),
        "x": {n: a.astype(kernel.dtype) for n, a in draw(own.inputs, steps, ROWS).items()},
        "state": draw(own.states, ROWS),
        "d_outputs": draw(own.outputs, steps, ROWS),
        "d_states": draw(own.states, ROWS),
    }


def by_name(grads: Gradients) -> dict[str, np.ndarray]:
    return {**grads.params, **grads.inputs, **grads.states}


def same(target: str, one: np.ndarray, other: np.ndarray) -> bool:
    """To the bit in C. The NumPy target leaves the order of sums to BLAS, which may take another
    for fewer columns: 1e-13 is 500 roundings of sums that are about 1."""
    if target == "c":
        return one.tobytes() == other.tobytes()
    return bool(one.shape == other.shape and np.all(abs(one - other) <= 1e-13))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", targets.usual())
def test_wanted_gradients_are_those_of_the_full_backward_pass(
    target: str, way: str, packed: bool
) -> None:
    kernel = derive.compile(cell(), target, "float64")
    given = arrays(kernel)
    params = kernel.pack(given["params"]) if packed else given["params"]
    for _ in range(3):  # the third call is a repeated one
        run = kernel.forward(params, given["x"], given["state"], **WAYS[way])
    cotangents = given["d_outputs"], given["d_states"]
    full = by_name(kernel.backward(run, *cotangents))
    for wrt in SETS_C if target == "c" else SETS:
        for _ in range(2):
            found = by_name(kernel.backward(run, *cotangents, wrt=wrt))
            assert sorted(found) == sorted(wrt)
            assert all(same(target, found[name], full[name]) for name in wrt)


@pytest.mark.parametrize("target", targets.usual())
def test_a_kernel_for_some_gradients_computes_no_others(target: str) -> None:
    kernel = derive.compile(cell(), target, "float64", wrt=("x", "U"))
    given = arrays(kernel)
    run = kernel.forward(given["params"], given["x"], given["state"])
    grads = kernel.backward(run, given["d_outputs"])
    assert (list(grads.params), list(grads.inputs), list(grads.states)) == (["U"], ["x"], [])
    assert list(by_name(kernel.backward(run, wrt=["x", "U"]))) == ["U", "x"]
    whole = derive.compile(cell(), target, "float64")
    other = whole.forward(given["params"], given["x"], given["state"])
    assert other.output.tobytes() == run.output.tobytes()
    full = by_name(whole.backward(other, given["d_outputs"]))
    assert all(same(target, array, full[name]) for name, array in by_name(grads).items())


def test_what_only_unwanted_gradients_need_is_not_computed() -> None:
    def products(wrt: Any) -> int:
        plan = pipeline.schedule(cell(), wrt).backward
        return sum(isinstance(equation, Matmul) for equation in plan.program.equations)

    # d_W, d_U, d_V, W' d_f, U' d_f and V' d_g; the last two carry the gradient through time.
    assert [products(wrt) for wrt in (None, ("W", "x"), ("b",), ("h",), ("U", "V"))] == [
        6, 4, 2, 2, 4,
    ]  # fmt: skip


@pytest.mark.parametrize("target", targets.usual())
def test_texts_for_some_gradients_name_no_others(target: str) -> None:
    def members(wrt: Any) -> set[str]:
        files = derive.emit(cell(), target, wrt=wrt)
        text = next(t for p, t in files.items() if p.endswith((".h", ".py")) and "two_inputs" in p)
        if target == "c":
            struct = re.search(r"typedef struct two_inputs_f32_d_params \{(.*?)\}", text, re.DOTALL)
            # A capital letter alone is a macro of <complex.h>: members get an underscore behind it.
            return {n.rstrip("_") for n in re.findall(r"\*(\w+);", struct[1] if struct else "")}
        return set(
            re.findall(r'"(\w+)": d_', text.partition("d_params: Arrays = {")[2].partition("}")[0])
        )

    assert members(("U", "x")) == {"U"}
    assert members(None) == {"W", "U", "b", "V"}
    assert members(("x",)) == set()


def test_what_a_forward_pass_computes_and_keeps_does_not_depend_on_what_is_wanted() -> None:
    whole, some = (pipeline.schedule(cell(), wrt) for wrt in (None, ("b",)))
    assert whole.forward == some.forward
    assert (whole.split.saved, whole.split.histories) == (some.split.saved, some.split.histories)


@pytest.mark.parametrize("target", targets.usual())
def test_all_names_are_none(target: str) -> None:
    names = ("W", "U", "b", "V", "x", "m", "h", "c")
    assert derive.emit(cell(), target, wrt=names) == derive.emit(cell(), target)
    kernel = derive.compile(cell(), target, "float64", wrt=list(names))
    assert kernel.signature.wrt is None


@pytest.mark.parametrize("target", targets.usual())
def test_where_nothing_runs_wanted_gradients_are_zero(target: str) -> None:
    kernel = derive.compile(cell(), target, "float64")
    given = arrays(kernel, steps=0)
    run = kernel.forward(given["params"], given["x"], given["state"])
    grads = kernel.backward(run, None, given["d_states"], wrt=("m", "b", "h"))
    assert not grads.params["b"].any() and grads.inputs["m"].shape == (0, ROWS, 1)
    assert list(grads.states) == ["h"]
    assert np.array_equal(grads.states["h"], given["d_states"]["h"])


def test_a_repeated_call_stays_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = derive.compile(cell(), "c", "float64")
    given = arrays(kernel)
    run: Any = None
    for _ in range(3):
        run = kernel.forward(given["params"], given["x"])
    wanted = by_name(kernel.backward(run, wrt=("U", "x")))
    monkeypatch.setattr(CBackend, "backward", None)
    found = by_name(kernel.backward(run, wrt=("U", "x")))
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in ("U", "x"))


@pytest.mark.parametrize("way", ["plain", "lengths"])
@pytest.mark.parametrize("target", targets.usual())
def test_parameters_written_into_are_seen_whatever_is_wanted(target: str, way: str) -> None:
    kernel = derive.compile(cell(), target, "float64")
    given = arrays(kernel)
    for _ in range(3):
        run = kernel.forward(given["params"], given["x"], **WAYS[way])
    given["params"]["b"][0] += 1
    with pytest.raises(ArgumentError, match="parameter b was written into"):
        kernel.backward(run, wrt=("U", "x"))


def test_a_kernel_of_given_files_holds_what_was_asked_for() -> None:
    made = derive.compile(cell(), "numpy", "float64")
    kernel = Kernel(made.signature, made._backend, "float64", target="numpy")
    given = arrays(kernel)
    run = kernel.forward(given["params"], given["x"])
    assert list(by_name(kernel.backward(run, wrt="U"))) == ["U"]


@pytest.mark.parametrize("target", targets.usual())
def test_a_copy_wants_the_same_gradients(target: str) -> None:
    kernel = pickle.loads(pickle.dumps(derive.compile(cell(), target, "float64", wrt=("U", "x"))))
    assert kernel.signature.wrt == ("U", "x")


MISTAKES = {
    "unknown": ("W_q", ArgumentError, "wrt has 'W_q', but two_inputs has no such parameter, input"),
    "close": (("W", "xx"), ArgumentError, "did you mean 'x'?"),
    "output": (("h_next",), ArgumentError, "no such parameter, input or state"),
    "number": (3, ArgumentTypeError, "wrt must be names of arrays or None for all, not int"),
    "lists": ([["W"]], ArgumentTypeError, "wrt must hold names of arrays, and has list"),
    "arrays": (np.ones((2, 2)), ArgumentTypeError, "wrt must hold names of arrays, and has ndarr"),
    "no name": ((1,), ArgumentError, "wrt has 1, but two_inputs has no such"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_wrt_is_an_error_before_anything_is_computed(name: str) -> None:
    wrt, error, message = MISTAKES[name]
    kernel = derive.compile(cell(), "numpy")
    given = arrays(kernel)
    run = kernel.forward(given["params"], given["x"])
    for call in (
        lambda: derive.emit(cell(), "numpy", wrt=wrt),
        lambda: derive.compile(cell(), "numpy", wrt=wrt),
        lambda: kernel.backward(run, wrt=wrt),
    ):
        with pytest.raises(error, match=re.escape(message)):
            call()


def test_a_kernel_for_some_gradients_refuses_others() -> None:
    kernel = derive.compile(cell(), "numpy", wrt=("U", "x"))
    given = arrays(kernel)
    run = kernel.forward(given["params"], given["x"])
    with pytest.raises(ArgumentError, match="does not compute the gradient of W") as caught:
        kernel.backward(run, wrt=("U", "W"))
    assert "wrt=('U', 'x')" in str(caught.value)


JOINED = """\
cell joined
input x: I, m: H once
state h: H = h0, c: H
param K: 3*H x I + H
fixed A: H x H
f, g, o = split(K @ concat(x, h) + b, 3)
c' = sigmoid(f) * c + m * tanh(g) + A @ c
h' = sigmoid(o) * tanh(c')
output h'
"""


@pytest.mark.parametrize("target", targets.usual())
def test_arrays_that_are_cut_fixed_given_once_or_learned(target: str) -> None:
    kernel = derive.compile(derive.Cell.parse(JOINED), target, "float64")
    random = np.random.default_rng(0)
    params = {**kernel.init(SIZES), "A": random.standard_normal((5, 5)) / 5}
    x = {"x": random.standard_normal((STEPS, ROWS, 3)), "m": random.standard_normal((ROWS, 5))}
    d_outputs = random.standard_normal((STEPS, ROWS, 5))
    for state in (None, {"h": np.ones((ROWS, 5))}):
        run = kernel.forward(params, x, state)
        full = by_name(kernel.backward(run, d_outputs))
        assert sorted(full) == ["K", "b", "c", "h", "h0", "m", "x"]
        for wrt in (("K", "m"), ("h0", "c")):
            found = by_name(kernel.backward(run, d_outputs, wrt=wrt))
            assert sorted(found) == sorted(wrt)
            assert all(same(target, found[name], full[name]) for name in wrt)
    with pytest.raises(ArgumentError, match="wrt has 'A', which is fixed and has no gradient"):
        kernel.backward(run, wrt=("A", "K"))


def test_verify_holds_wanted_gradients_against_the_full_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "cell small\ninput x: I\nstate h: H\nh' = tanh(W @ x + U @ h)\noutput h'\n"
    options: dict[str, Any] = {"targets": ("numpy",), "dtypes": ("float64",)}
    report = derive.verify(derive.Cell.parse(text), **options)
    rows = [row for row in report.rows if row.check == "wanted gradients"]
    assert report.ok and [row.where for row in rows] == [
        "numpy float64: wrt", "numpy float64: wrt W", "numpy float64: wrt x",
    ]  # fmt: skip

    backward = Partial.backward

    def wrong(self: Partial, *args: Any) -> Gradients:
        found = backward(self, *args)
        return Gradients({n: a * (1 + 1e-9) for n, a in found.params.items()}, found.inputs, {})

    monkeypatch.setattr(Partial, "backward", wrong)
    failures = derive.verify(derive.Cell.parse(text), **options).failures
    assert [row.where for row in failures] == ["numpy float64: wrt W"]
