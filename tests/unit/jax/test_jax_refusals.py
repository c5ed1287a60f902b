"""What derive.jax refuses, and how it says so."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

import derive
import derive.jax as dj
from derive.errors import BuildError, InternalError, ToolchainError
from derive.jax import checks, handlers, versions
from derive.jax.engine import engine_of

CELL = derive.cells.rnn()
X = jnp.zeros((3, 2, 4))
PARAMS = dj.init(CELL, jax.random.key(0), I=4, H=5)
KEY = jax.random.key(0)


def other(**given: Any) -> Any:
    """A call of dj.run with something else in it."""
    args = {"cell": CELL, "params": PARAMS, "x": X, **given}
    return dj.run(args.pop("cell"), args.pop("params"), args.pop("x"), **args)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"cell": "rnn"}, "cell must be a derive.Cell"),
        ({"params": [1]}, "params must be a mapping from names to arrays"),
        ({"params": {**PARAMS, "V": 1}}, "params has an entry 'V'"),
        ({"params": {**PARAMS, 3: 1}}, "params has an entry 3"),
        ({"params": {}}, "is missing in params"),
        ({"params": {**PARAMS, "b": PARAMS["b"][:4]}}, "param b has the wrong shape"),
        ({"x": X[0]}, "input x has the wrong shape"),
        ({"x": {"x": X, "y": X}}, "x has an entry 'y'"),
        ({"x": X.astype(jnp.bfloat16)}, "input x is bfloat16"),
        ({"x": X.astype(jnp.int32)}, "input x is int32"),
        ({"x": np.zeros((3, 2, 4), "complex64")}, "input x is complex64"),
        ({"x": "abc"}, "input x must be an array, not str"),
        ({"x": [[1], [1, 2]]}, "input x must be an array"),
        ({"state": X}, "state h has the wrong shape"),
        ({"params": {**PARAMS, "b": jnp.full(5, 1j)}}, "param b is complex64"),
        ({"state": {"c": X}}, "state has an entry 'c'"),
        ({"lengths": [1, 4]}, "lengths has an entry 4"),
        ({"lengths": np.array([-1, 1])}, "lengths has an entry -1"),
        ({"lengths": jnp.array([1, 2, 3])}, "lengths has the wrong shape"),
        ({"lengths": jnp.array([1.0, 2.0])}, "lengths must be integers"),
        ({"reverse": 2}, "reverse must be"),
        ({"threads": 0}, "threads = 0 is too small"),
        ({"lengths": [[1], [1, 2]]}, "lengths must be integers, not list"),
    ],
)
def test_run_names_what_does_not_fit(given: Any, says: str) -> None:
    with pytest.raises(derive.DeriveError, match=says) as found:
        other(**given)
    assert isinstance(found.value, ValueError | TypeError)
    with pytest.raises(derive.DeriveError, match=says):  # in a trace too
        jax.jit(lambda: other(**given))()


def test_lengths_of_every_integer_kind_are_taken_and_traced_ones_are_looked_at() -> None:
    for dtype in ("int8", "uint8", "int32", "uint32"):
        ends = np.array([3, 1], dtype)
        assert (other(lengths=ends)[1]["h"] == other(lengths=[3, 1])[1]["h"]).all()
    ended = jax.jit(lambda ends: other(lengths=ends)[1]["h"])
    for ends in (jnp.array([4, 1]), jnp.array([1, -1]), jnp.array([2**32 - 1, 1], jnp.uint32)):
        with pytest.raises(Exception, match="lengths has an entry that is no length"):
            ended(ends).block_until_ready()


def test_a_number_stands_for_a_scalar_parameter_and_a_cell_without_inputs_is_told_t_and_b() -> None:
    cell = derive.Cell.parse("cell n\nstate h: H\nparam a: 1\nh' = tanh(a * h) + 1\noutput h'")
    outputs, last = dj.run(cell, {"a": 0.5}, jnp.zeros((2, 3, 0)), jnp.ones((3, 2)))
    kernel = derive.compile(cell)
    run = kernel.forward({"a": 0.5}, np.zeros((2, 3, 0)), np.ones((3, 2)))
    assert (outputs["h_next"] == run.output).all() and (last["h"] == run.states["h"]).all()
    d = jax.grad(lambda a: dj.run(cell, {"a": a}, jnp.zeros((2, 3, 0)), jnp.ones((3, 2)))[1][
        "h"].sum())(0.5)  # fmt: skip
    assert d == kernel.backward(run, None, np.ones((3, 2), "float32")).params["a"][0]
    folded = jax.vmap(lambda h: dj.run(cell, {"a": 0.5}, jnp.zeros((2, 3, 0)), h)[1]["h"])
    assert (folded(jnp.ones((4, 3, 2)))[1] == last["h"]).all()
    with pytest.raises(derive.DeriveError, match=r"jnp.zeros\(\(T, B, 0\)\)"):
        dj.run(cell, {"a": 0.5}, None)
    with pytest.raises(derive.DeriveError, match="nothing given determines the width H"):
        dj.run(cell, {"a": 0.5}, jnp.zeros((2, 3, 0)))


def test_dtypes_are_not_mixed() -> None:
    x64 = jax.enable_x64(True) if hasattr(jax, "enable_x64") else None
    if x64 is None:
        from jax.experimental import enable_x64

        x64 = enable_x64()
    with x64, pytest.raises(derive.DeriveError, match="input x is float64, and others are float32"):
        other(x=np.zeros((3, 2, 4)))
    assert dj.run(CELL, PARAMS, np.zeros((3, 2, 4)))[0]["h_next"].dtype == jnp.float32


# --- devices and machines -------------------------------------------------------------------


def test_another_device_is_an_error_and_no_silent_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = jax.jit(lambda x: dj.run(CELL, PARAMS, x)[0]["h_next"]).trace(X)
    with pytest.raises(derive.DeriveError, match="runs on the CPU, and rnn is to run on another"):
        traced.lower(lowering_platforms=("cuda",))
    elsewhere = types.SimpleNamespace(platform="gpu")

    class Array:
        def devices(self) -> list[Any]:
            return [elsewhere]

    with pytest.raises(derive.DeriveError, match="runs on the CPU, and input x is on"):
        checks.on_the_cpu(Array(), "input x")


def test_a_symbolic_length_is_an_error() -> None:
    from jax import export

    (steps,) = export.symbolic_shape("t")
    shape = jax.ShapeDtypeStruct((steps, 2, 4), jnp.float32)
    with pytest.raises(derive.DeriveError, match="which is no number"):
        export.export(jax.jit(lambda x: dj.run(CELL, PARAMS, x)))(shape)


def test_without_a_compiler_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cell uncompiled\ninput x: I\nstate h: H\nh' = 0.123 * h + W @ x\noutput h'"
    cell = derive.Cell.parse(text)
    monkeypatch.setenv("CC", "/nowhere/cc")
    with pytest.raises(ToolchainError, match="names a compiler that cannot be run"):
        dj.run(cell, dj.init(cell, KEY, I=4, H=5), X)


def test_versions_that_are_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "__version_info__", (0, 4, 30))
    with pytest.raises(BuildError, match=r"derive.jax needs jax 0.5.0 or later"):
        versions.check_version()


def test_jax_that_is_missing_is_named() -> None:
    code = "import sys; sys.modules['jax'] = None\nimport derive.jax"
    root = str(Path(derive.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert "BuildError" in done.stderr and "needs JAX, which is not installed" in done.stderr
    assert "derive-kernels[jax]" in done.stderr


@pytest.mark.parametrize(("package", "module"), [("equinox", "equinox"), ("flax", "nnx")])
def test_a_library_of_modules_that_is_missing_is_named(
    package: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = getattr(dj, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BuildError, match=f"not installed\n  hint: pip install {package}"):
        importlib.reload(loaded)


def test_the_handler_needs_jaxlib_s_header(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jax.ffi, "include_dir", lambda: str(tmp_path))
    with pytest.raises(BuildError, match="jaxlib has no header"):
        handlers._library.__wrapped__()


def test_the_table_of_kernels_has_one_function_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = handlers.key_of("a", ctypes.c_void_p(1), None)
    assert (
        key
        == handlers.key_of("a", ctypes.c_void_p(1), None)
        != handlers.key_of("b", ctypes.c_void_p(1), None)
    )
    monkeypatch.setitem(handlers._known, key, "another digest")
    with pytest.raises(InternalError, match="two kernels have the key"):
        handlers.key_of("a", ctypes.c_void_p(1), None)
    full = types.SimpleNamespace(derive_xla_add=lambda *given: 1)
    monkeypatch.setattr(handlers, "_library", lambda: full)
    with pytest.raises(MemoryError):
        handlers.key_of("c", ctypes.c_void_p(1), None)


def test_shapes_that_do_not_fit_never_reach_a_kernel() -> None:
    engine = engine_of(CELL.to_text(), 1)
    arrays = [*(PARAMS[name] for name in CELL.params), X, jnp.zeros((3, 5))]
    with pytest.raises(InternalError, match="an array is float32"):
        engine.sizes(arrays)
    arrays[-1] = jnp.zeros((2, 5))
    every = [True] * len(arrays)
    with pytest.raises(InternalError, match=r"\(3,\) elements were kept, not \d+"):
        engine.backward([], arrays, False, jnp.zeros(3), [None, None], every)


def called_with(monkeypatch: pytest.MonkeyPatch, change: Any, lengths: bool = False) -> Any:
    """A training call whose description or operands were changed on their way to the handler."""
    plain = jax.ffi.ffi_call

    def call(target: str, kinds: Any) -> Any:
        def run(*operands: Any, words: Any) -> Any:
            operands, words = change(list(operands), words.copy())
            return plain(target, kinds)(*operands, words=words)

        return run

    engine = engine_of(CELL.to_text(), 1)
    arrays = [*(PARAMS[name] for name in CELL.params), X, jnp.zeros((2, 5))]
    ends = [jnp.array([3, 1])] if lengths else []
    monkeypatch.setattr(jax.ffi, "ffi_call", call)
    results = jax.jit(lambda given: engine.forward(ends, given, False, True))(arrays)
    return jax.block_until_ready(results)


def word(place: int, value: int) -> Any:
    def change(operands: Any, words: Any) -> Any:
        words[place] = value
        return operands, words

    return change


#: Behind eight words and the sizes T, B, H, I: reverse, the number of arrays, the first of them.
REVERSE = 8 + 1 + 4
FIRST = REVERSE + 2


@pytest.mark.parametrize(
    "change",
    [
        lambda operands, words: ([*operands[:-2], operands[-2][:2], operands[-1]], words),
        lambda operands, words: ([*operands[:-1], operands[-1][:1]], words),
        lambda operands, words: ([operands[0].astype(jnp.int32), *operands[1:]], words),
        lambda operands, words: (operands[:-1], words),
        lambda operands, words: (operands, words[:-1]),
        lambda operands, words: (operands, words[:7]),
        lambda operands, words: (operands, words[: REVERSE + 1]),
        lambda operands, words: (operands, words[:REVERSE]),
        lambda operands, words: (operands, np.append(words, 0)),
        lambda operands, words: (operands, words.astype(np.int32)),
        word(3, 8),
        word(3, 2),
        word(5, 3),
        word(5, -9),
        word(6, 10**6),
        word(8, 2**62),
        word(8, -1),
        word(REVERSE + 1, 2**62),
        word(FIRST, 99),
        word(FIRST, -99),
        word(FIRST + 1, 21),
        word(-1, 7),
    ],
)
def test_the_handler_checks_every_array_before_it_calls_a_kernel(
    change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match="the arrays of this call are not those"):
        called_with(monkeypatch, change)


def test_the_handler_takes_what_is_not_changed_and_checks_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called_with(monkeypatch, lambda operands, words: (operands, words), lengths=True)
    monkeypatch.undo()
    with pytest.raises(Exception, match="the arrays of this call are not those"):
        called_with(monkeypatch, lambda o, words: ([o[0][:1], *o[1:]], words), lengths=True)


def test_a_computation_for_another_processor_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="it was compiled for another processor"):
        called_with(monkeypatch, word(4, 1))


# --- init and modules -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "named", "says"),
    [
        ((0,), {"I": 4, "H": 5}, "key must be one random key of JAX, not int"),
        ((jax.random.split(KEY),), {"I": 4, "H": 5}, "key must be one random key"),
        ((np.zeros(5, np.uint32),), {"I": 4, "H": 5}, "key must be one random key"),
        ((KEY,), {"I": 4}, "the length of H is missing"),
        ((KEY,), {"I": 4, "H": 5, "K": 1}, "rnn has no dimension 'K'"),
        ((KEY,), {"I": 4, "H": -1}, "H = -1"),
        ((KEY, 3), {}, "sizes must be a mapping"),
        ((KEY,), {"I": 4, "H": 5, "dtype": "single?"}, "dtype is no type of numbers"),
        ((KEY,), {"I": 4, "H": 5, "dtype": "int32"}, "parameters cannot be int32"),
        ((KEY,), {"I": 4, "H": 5, "dtype": "float64"}, "JAX has no float64 here"),
    ],
)
def test_init_names_what_does_not_fit(args: Any, named: Any, says: str) -> None:
    with pytest.raises(derive.DeriveError, match=says):
        dj.init(CELL, *args, **named)


def test_a_start_that_is_not_finite_is_an_error() -> None:
    text = "cell s\ninput x: I\nstate h: H\nparam b: H = log(0 * uniform(0, 1))\nh' = h + b + W @ x"
    with pytest.raises(derive.DeriveError, match="the start value of parameter b is not finite"):
        dj.init(derive.Cell.parse(text + "\noutput h'"), KEY, I=4, H=5)


def test_modules_name_what_does_not_fit() -> None:
    model = dj.equinox.RNN(CELL, 4, 5, key=KEY)
    lstm = dj.equinox.RNN(derive.cells.lstm(), 4, 5, key=KEY)
    for call, says in (
        (lambda: dj.equinox.RNN("rnn", 4, 5, key=KEY), "cell must be a derive.Cell"),
        (lambda: dj.equinox.RNN(CELL, (4, 4), 5, key=KEY), "in_size of rnn is I"),
        (lambda: dj.equinox.RNN(CELL, 4, 5, key=KEY, P=3), "rnn has no dimension 'P'"),
        (lambda: dj.nnx.RNN(CELL, 4, -1, rngs=nnx.Rngs(0)), "hidden_features = -1"),
        (lambda: dj.nnx.RNN(CELL, 4, 5, rngs=None), "rngs must be nnx.Rngs with a stream"),
        (lambda: dj.nnx.RNN(CELL, 4, 5, rngs=nnx.Rngs(dropout=0)), "rngs must be nnx.Rngs with"),
        (lambda: model(X[..., :3]), r"it is \[T, B, 4\], or \[T, 4\] of one row"),
        (lambda: lstm(X, X[0]), r"state must be a tuple \(h, c\)"),
        (lambda: model(X, once={"m": 1}), "has no input 'm'"),
        (lambda: model(X[:, 0], "abc"), "state h must be an array, not str"),
        (lambda: model(X[:, 0], lengths="abc"), "lengths must be an array, not str"),
        (lambda: dj.nnx.RNN(CELL, 4, 5, rngs=nnx.Rngs(0))([["abc"]]), "inputs must be an array"),
        (lambda: dj.equinox.RNN(
            derive.Cell.parse("cell f\ninput x: I\ny = sin(x)\noutput y"), 4, 5, key=KEY
        ), "f has no state"),
    ):  # fmt: skip
        with pytest.raises(derive.DeriveError, match=says):
            call()
    with pytest.raises(AttributeError, match="no attribute 'haiku'"):
        _ = dj.haiku
