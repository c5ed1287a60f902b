"""The array contract, on cells written by hand: what comes in, what comes out, what fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel import Kernel, Run
from derive.kernel.call import Call
from derive.kernel.signature import Signature, Sizes

# A named dimension may be called like an axis of time or rows.
ELMAN = Signature(
    name="elman",
    params={"W": ("T", "B"), "U": ("T", "T"), "b": ("T",), "s": (1,)},
    inputs={"x": "B"},
    states={"h": "T"},
    outputs={"h_next": "T"},
)
WIDE = Signature(  # two of everything; H is known from a state alone, c has a fixed width
    name="wide",
    params={},
    inputs={"x": "I", "m": 1},
    states={"h": "H", "c": 2},
    outputs={"y": "H", "z": "I"},
)
CLOCK = Signature("clock", params={}, inputs={}, states={"n": "H"}, outputs={"n_next": "H"})
STATELESS = Signature("stateless", params={}, inputs={"x": "I"}, states={}, outputs={"y": "I"})


class Strict:
    """Checks what a kernel hands to its backend, and freezes it."""

    signature: Signature

    def __init__(self, dtype: Any = np.float64) -> None:
        self.dtype = np.dtype(dtype)
        self.calls = 0

    def check(self, sizes: Sizes, widths: Mapping[str, Any], arrays: Mapping[str, Any],
              *axes: int) -> dict[str, np.ndarray]:  # fmt: skip
        assert list(arrays) == list(widths)
        kept = {}
        for name, array in arrays.items():
            width = widths[name]
            shape = sizes.shape(width if isinstance(width, tuple) else (width,))
            if array is None:
                array = np.zeros((*axes, *shape), self.dtype)
            assert type(array) is np.ndarray
            assert array.dtype == self.dtype and array.dtype.isnative
            assert array.flags.c_contiguous and array.flags.aligned
            assert array.shape == (*axes, *shape)
            kept[name] = array.view()
            kept[name].flags.writeable = False
        self.calls += 1
        return kept

    def ready(self, *_: Any) -> None:
        """Every call comes to `forward`, `backward` and `step`."""

    def check_call(self, call: Call) -> tuple[Any, Any, Any]:
        sizes = call.sizes
        assert list(sizes.dims) == list(self.signature.dims())
        assert sizes.rows > 0 and (sizes.steps == 1 if call.step else sizes.steps > 0)
        steps = () if call.step else (sizes.steps,)
        return (
            self.check(sizes, self.signature.params, call.params),
            self.check(sizes, self.signature.inputs, call.inputs, *steps, sizes.rows),
            self.check(sizes, self.signature.states, call.states, sizes.rows),
        )


class Elman(Strict):
    """h' = tanh(W x + U h + s b), differentiated by hand."""

    signature = ELMAN

    @staticmethod
    def times(n: int, call: Call) -> list[int]:
        length = call.sizes.steps if call.lengths is None else int(call.lengths[n])
        return list(range(length))[:: -1 if call.reverse else 1]

    def forward(self, call):  # type: ignore[no-untyped-def]
        sizes = call.sizes
        p, i, s = self.check_call(call)
        if call.lengths is not None:
            assert call.lengths.dtype == np.int64 and call.lengths.shape == (sizes.rows,)
        output = np.zeros((sizes.steps, sizes.rows, sizes.width("T")), self.dtype)
        last = s["h"].copy()
        previous = np.zeros_like(output)
        for n in range(sizes.rows):
            for t in self.times(n, call):
                previous[t, n] = last[n]
                a = p["W"] @ i["x"][t, n] + p["U"] @ last[n] + p["s"] * p["b"]
                last[n] = output[t, n] = np.tanh(a)
        saved = (previous, output.copy()) if call.training else None
        return {"h_next": output}, {"h": last}, saved

    def backward(self, call, saved, d_outputs, d_states):  # type: ignore[no-untyped-def]
        sizes = call.sizes
        p = self.check(sizes, self.signature.params, call.params)
        x = self.check(sizes, self.signature.inputs, call.inputs, sizes.steps, sizes.rows)["x"]
        d_out = self.check(sizes, self.signature.outputs, d_outputs, sizes.steps, sizes.rows)
        d_h = self.check(sizes, self.signature.states, d_states, sizes.rows)["h"].copy()
        previous, output = saved
        d_p = {name: np.zeros_like(array) for name, array in p.items()}
        d_x = np.zeros_like(x)
        for n in range(sizes.rows):
            for t in self.times(n, call)[::-1]:
                d_a = (d_h[n] + d_out["h_next"][t, n]) * (1 - output[t, n] ** 2)
                d_p["W"] += np.outer(d_a, x[t, n])
                d_p["U"] += np.outer(d_a, previous[t, n])
                d_p["b"] += p["s"] * d_a
                d_p["s"] += d_a @ p["b"]
                d_x[t, n] = p["W"].T @ d_a
                d_h[n] = p["U"].T @ d_a
        return d_p, {"x": d_x}, {"h": d_h}

    def step(self, call):  # type: ignore[no-untyped-def]
        p, i, s = self.check_call(call)
        h = np.tanh(i["x"] @ p["W"].T + s["h"] @ p["U"].T + p["s"] * p["b"])
        return {"h_next": h}, {"h": h.copy()}


class Wide(Strict):
    """h' = h + m, c' = c + m; y = h + m, z = x + m."""

    signature = WIDE

    def forward(self, call):  # type: ignore[no-untyped-def]
        _, i, s = self.check_call(call)
        total = np.cumsum(i["m"], axis=0)
        outputs = {"y": s["h"] + total, "z": i["x"] + i["m"]}
        return outputs, {"h": s["h"] + total[-1], "c": s["c"] + total[-1]}, "kept"

    def backward(self, call, saved, d_outputs, d_states):  # type: ignore[no-untyped-def]
        sizes = call.sizes
        assert saved == "kept"
        d_o = self.check(sizes, self.signature.outputs, d_outputs, sizes.steps, sizes.rows)
        d_s = self.check(sizes, self.signature.states, d_states, sizes.rows)
        d_m = d_o["y"].sum(-1, keepdims=True)[::-1].cumsum(0)[::-1]
        d_m = d_m + d_o["z"].sum(-1, keepdims=True)
        d_m = d_m + d_s["h"].sum(-1, keepdims=True) + d_s["c"].sum(-1, keepdims=True)
        d_states = {"h": d_s["h"] + d_o["y"].sum(0), "c": d_s["c"].copy()}
        return {}, {"x": d_o["z"].copy(), "m": d_m}, d_states

    def step(self, call):  # type: ignore[no-untyped-def]
        _, i, s = self.check_call(call)
        h = s["h"] + i["m"]
        return {"y": h, "z": i["x"] + i["m"]}, {"h": h.copy(), "c": s["c"] + i["m"]}


class Clock(Strict):
    """n' = n + 1, without inputs or parameters."""

    signature = CLOCK

    def forward(self, call):  # type: ignore[no-untyped-def]
        sizes = call.sizes
        _, _, s = self.check_call(call)
        ticks = np.arange(1, sizes.steps + 1, dtype=self.dtype)[:, None, None]
        return {"n_next": s["n"] + ticks}, {"n": s["n"] + sizes.steps}, None

    def backward(self, call, saved, d_outputs, d_states):  # type: ignore[no-untyped-def]
        sizes = call.sizes
        d_o = self.check(sizes, self.signature.outputs, d_outputs, sizes.steps, sizes.rows)
        d_s = self.check(sizes, self.signature.states, d_states, sizes.rows)
        return {}, {}, {"n": d_s["n"] + d_o["n_next"].sum(0)}

    def step(self, call):  # type: ignore[no-untyped-def]
        _, _, s = self.check_call(call)
        return {"n_next": s["n"] + 1}, {"n": s["n"] + 1}


class Negation(Strict):
    """y = -x; no state."""

    signature = STATELESS

    def forward(self, call):  # type: ignore[no-untyped-def]
        return {"y": -call.inputs["x"]}, {}, None

    def backward(self, call, saved, d_outputs, d_states):  # type: ignore[no-untyped-def]
        sizes = call.sizes
        d_o = self.check(sizes, self.signature.outputs, d_outputs, sizes.steps, sizes.rows)
        return {}, {"x": -d_o["y"]}, {}

    def step(self, call):  # type: ignore[no-untyped-def]
        return {"y": -call.inputs["x"]}, {}


def make(backend: type[Strict], dtype: Any = np.float64) -> Kernel:
    return Kernel(backend.signature, backend(dtype), dtype, target="hand")  # type: ignore[arg-type]


STEPS, ROWS, WIDTH_X, WIDTH_H = 4, 3, 2, 5


def arguments(seed: int = 1) -> dict[str, Any]:
    """Plain float64 arrays for every argument of the Elman kernel, by the name tests use."""
    random = np.random.default_rng(seed)
    shapes = {
        "W": (WIDTH_H, WIDTH_X),
        "U": (WIDTH_H, WIDTH_H),
        "b": (WIDTH_H,),
        "s": (1,),
        "x": (STEPS, ROWS, WIDTH_X),
        "state": (ROWS, WIDTH_H),
        "d_outputs": (STEPS, ROWS, WIDTH_H),
        "d_states": (ROWS, WIDTH_H),
        "x_t": (ROWS, WIDTH_X),
    }
    # Eighths are exact in float16, and small integers survive any dtype.
    return {n: random.integers(-8, 8, size=shape) / 8 for n, shape in shapes.items()}


def everything(kernel: Kernel, given: Mapping[str, Any], lengths: Any = None) -> list[np.ndarray]:
    """All results of all three calls."""
    params = {name: given[name] for name in ELMAN.params}
    run = kernel.forward(params, given["x"], given["state"], lengths)
    grads = kernel.backward(run, given["d_outputs"], given["d_states"])
    output, state = kernel.step(params, given["x_t"], given["state"])
    groups = (run.outputs, run.states, grads.params, grads.inputs, grads.states, state)
    assert isinstance(output, np.ndarray)
    return [*(array for group in groups for array in group.values()), output]


NAMES = list(arguments())


# --- Results --------------------------------------------------------------------------------


def test_forward_and_backward_agree_with_finite_differences() -> None:
    kernel = make(Elman)
    given = arguments()
    lengths = [4, 0, 2]
    params = {name: given[name] for name in ELMAN.params}

    def loss(p: Any, x: Any, state: Any) -> float:
        run = kernel.forward(p, x, state, lengths, reverse=True)
        return float((run.output * given["d_outputs"]).sum()
                     + (run.states["h"] * given["d_states"]).sum())  # fmt: skip

    run = kernel.forward(params, given["x"], given["state"], lengths, reverse=True)
    grads = kernel.backward(run, given["d_outputs"], given["d_states"])
    direction = arguments(seed=2)
    step = 1e-6
    moved = [
        loss(
            {n: a + e * direction[n] for n, a in params.items()},
            given["x"] + e * direction["x"],
            given["state"] + e * direction["state"],
        )
        for e in (step, -step)
    ]
    slope = (moved[0] - moved[1]) / (2 * step)
    told = sum((grads.params[n] * direction[n]).sum() for n in params)
    told += (grads.inputs["x"] * direction["x"]).sum()
    told += (grads.states["h"] * direction["state"]).sum()
    assert abs(slope - told) < 1e-8  # step**2 plus eps / step


def test_results_have_the_shapes_of_the_contract() -> None:
    given = arguments()
    params = {name: given[name] for name in ELMAN.params}
    kernel = make(Elman)
    run = kernel.forward(params, given["x"])
    grads = kernel.backward(run, given["d_outputs"])
    assert {n: a.shape for n, a in run.outputs.items()} == {"h_next": (STEPS, ROWS, WIDTH_H)}
    assert {n: a.shape for n, a in run.states.items()} == {"h": (ROWS, WIDTH_H)}
    assert {n: a.shape for n, a in grads.params.items()} == {n: params[n].shape for n in params}
    assert {n: a.shape for n, a in grads.inputs.items()} == {"x": given["x"].shape}
    assert {n: a.shape for n, a in grads.states.items()} == {"h": (ROWS, WIDTH_H)}


def test_output_of_a_run_is_the_first_of_them() -> None:
    run = make(Wide).forward(
        {}, {"x": np.ones((2, 3, 4)), "m": np.ones((2, 3, 1))}, {"h": [[7]] * 3}
    )
    assert run.output is run.outputs["y"]


def test_backward_may_be_called_again() -> None:
    kernel = make(Elman)
    given = arguments()
    run = kernel.forward({name: given[name] for name in ELMAN.params}, given["x"])
    first = kernel.backward(run, given["d_outputs"]).params
    kernel.backward(run, 3 * given["d_outputs"])
    again = kernel.backward(run, given["d_outputs"]).params
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_steps_in_a_row_are_a_sequence() -> None:
    kernel = make(Elman)
    given = arguments()
    params = {name: given[name] for name in ELMAN.params}
    run = kernel.forward(params, given["x"], given["state"])
    state: Any = given["state"]
    for t in range(STEPS):
        output, state = kernel.step(params, given["x"][t], state)
        np.testing.assert_allclose(output, run.output[t], rtol=1e-14, atol=1e-15)


def test_step_of_one_output_returns_an_array_and_of_several_a_mapping() -> None:
    output, state = make(Wide).step(
        {}, {"x": np.ones((3, 4)), "m": np.ones((3, 1))}, {"h": [[7]] * 3}
    )
    assert isinstance(output, dict) and list(output) == ["y", "z"]
    assert list(state) == ["h", "c"]
    assert state["c"].shape == (3, 2)


def test_kernels_work_in_several_threads_at_once() -> None:
    kernel = make(Elman)
    wanted = [[a.tobytes() for a in everything(kernel, arguments(seed))] for seed in range(8)]
    got: list[Any] = [None] * 8

    def work(seed: int) -> None:
        for _ in range(10):
            got[seed] = [a.tobytes() for a in everything(kernel, arguments(seed))]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == wanted


def test_import_needs_no_sympy() -> None:
    code = "import sys, derive.kernel, derive.kernel.arguments; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- Arrays that are fine -------------------------------------------------------------------


def unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw.view(a.dtype).reshape(a.shape)


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def strided(a: np.ndarray) -> np.ndarray:
    big = np.full(tuple(3 * n for n in a.shape), np.nan)
    view = big[tuple(slice(1, None, 3) for _ in a.shape)]
    view[...] = a
    return view


class ArrayLike:
    def __init__(self, a: np.ndarray) -> None:
        self.a = a

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.a


class Subclass(np.ndarray):
    pass


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda a: a.astype(np.float16),
    "float32": lambda a: a.astype(np.float32),
    "longdouble": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian float32": lambda a: a.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "transposed": lambda a: a.T.copy().T,
    "strided": strided,
    "backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()),
    "subclass": lambda a: a.view(Subclass),
    "array-like": ArrayLike,
    "memoryview": lambda a: memoryview(a.copy()),
}
DTYPES = {
    "bool": np.bool_, "int8": np.int8, "int64": np.int64, "uint8": np.uint8,
    "big-endian int": np.dtype(">i4"), "uint64": np.uint64,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_any_layout_gives_the_bits_of_a_plain_array(form: str, name: str, dtype: Any) -> None:
    kernel = make(Elman, dtype)
    given = arguments()
    wanted = everything(kernel, given)
    got = everything(kernel, {**given, name: FORMS[form](given[name])})
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
    assert all(a.dtype == dtype for a in got)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", DTYPES)
def test_any_real_dtype_is_converted(kind: str, name: str) -> None:
    kernel = make(Elman)
    given = arguments()
    integers = np.abs(given[name] * 8).astype(DTYPES[kind])
    wanted = everything(kernel, {**given, name: integers.astype(np.float64)})
    got = everything(kernel, {**given, name: integers})
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]


@pytest.mark.parametrize("name", NAMES)
def test_an_array_of_stride_zero_is_fine(name: str) -> None:
    kernel = make(Elman)
    given = arguments()
    shape = given[name].shape
    wanted = everything(kernel, {**given, name: np.full(shape, 0.5)})
    got = everything(kernel, {**given, name: np.broadcast_to(0.5, shape)})
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]


@pytest.mark.parametrize("name", ["W", "U", "state", "d_states", "x_t"])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_object_is_an_array(name: str) -> None:
    kernel = make(Elman)
    given = arguments()
    wanted = everything(kernel, given)
    got = everything(kernel, {**given, name: np.matrix(given[name])})
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinity_pass(value: float, name: str) -> None:
    given = arguments()
    given[name].flat[0] = value
    results = everything(make(Elman), given)
    if np.isnan(value):
        assert any(np.isnan(a).any() for a in results)


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.array(0.5), [0.5], np.array([0.5])])
def test_a_scalar_parameter_is_a_number_or_an_array_of_one(number: Any) -> None:
    kernel = make(Elman)
    given = {**arguments(), "s": np.array([0.5])}
    wanted = everything(kernel, given)
    got = everything(kernel, {**given, "s": number})
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
    run = kernel.forward({n: {**given, "s": number}[n] for n in ELMAN.params}, given["x"])
    assert kernel.backward(run, given["d_outputs"]).params["s"].shape == (1,)


@pytest.mark.parametrize("form", [None, *FORMS])
def test_what_is_given_is_never_modified(form: str | None) -> None:
    given = arguments()
    if form is not None:
        given = {name: FORMS[form](array) for name, array in given.items()}
    before = {n: np.array(v.a if isinstance(v, ArrayLike) else v) for n, v in given.items()}
    everything(make(Elman), given)
    for name, value in given.items():
        now = np.array(value.a if isinstance(value, ArrayLike) else value)
        assert now.tobytes() == before[name].tobytes()


@pytest.mark.parametrize("steps", [0, STEPS])
@pytest.mark.parametrize("rows", [0, ROWS])
def test_results_are_fresh_and_writable(steps: int, rows: int) -> None:
    given = arguments()
    for name in ("x", "d_outputs"):
        given[name] = given[name][:steps, :rows].copy()
    for name in ("x_t", "state", "d_states"):
        given[name] = given[name][:rows].copy()
    results = everything(make(Elman), given)
    for k, result in enumerate(results):
        assert result.flags.writeable
        others = [*given.values(), *results[:k]]
        assert not any(np.may_share_memory(result, other) for other in others)


def test_arrays_already_right_are_not_copied() -> None:
    kernel = make(Elman)
    given = arguments()
    run = kernel.forward({name: given[name] for name in ELMAN.params}, given["x"])
    assert run._call.params["W"] is given["W"] and run._call.inputs["x"] is given["x"]


# --- Names ----------------------------------------------------------------------------------


def wide(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "params": {},
        "x": {"x": np.ones((2, 3, 4)), "m": np.ones((2, 3, 1))},
        "state": {"h": np.ones((3, 5)), "c": np.ones((3, 2))},
    }
    return {**given, **changes}


def test_states_left_out_or_none_are_zero() -> None:
    kernel = make(Wide)
    h = np.ones((3, 5))
    wanted = kernel.forward(**wide(state={"h": h, "c": np.zeros((3, 2))})).states["c"]
    for state in ({"h": h}, {"h": h, "c": None}):
        assert kernel.forward(**wide(state=state)).states["c"].tobytes() == wanted.tobytes()


def test_cotangents_left_out_or_none_are_zero() -> None:
    kernel = make(Wide)
    run = kernel.forward(**wide())
    one = np.ones((2, 3, 5))
    zero = np.zeros((2, 3, 4))
    wanted = kernel.backward(run, {"y": one, "z": zero}, {"h": np.zeros((3, 5))})
    for d_outputs in ({"y": one}, {"y": one, "z": None}):
        for d_states in (None, {}, {"h": None}):
            got = kernel.backward(run, d_outputs, d_states)
            assert got.inputs["m"].tobytes() == wanted.inputs["m"].tobytes()
            assert got.states["h"].tobytes() == wanted.states["h"].tobytes()


def test_backward_without_cotangents_gives_zero() -> None:
    kernel = make(Wide)
    grads = kernel.backward(kernel.forward(**wide()))
    assert not any(a.any() for g in (grads.inputs, grads.states) for a in g.values())


def test_mappings_are_accepted_where_bare_arrays_are() -> None:
    kernel = make(Elman)
    given = arguments()
    wanted = everything(kernel, given)
    mapped = {
        **given,
        "x": {"x": given["x"]},
        "x_t": {"x": given["x_t"]},
        "state": {"h": given["state"]},
        "d_outputs": {"h_next": given["d_outputs"]},
        "d_states": {"h": given["d_states"]},
    }
    assert [a.tobytes() for a in everything(kernel, mapped)] == [a.tobytes() for a in wanted]


# --- Arguments that are wrong: the right kind of error, and nothing computed -----------------


def call(kernel: Kernel, given: Mapping[str, Any], **more: Any) -> None:
    """The one call of the three that takes the argument called `wrong`."""
    params = {name: given[name] for name in ELMAN.params}
    wrong = more["wrong"]
    if wrong in ("d_outputs", "d_states"):
        run = kernel.forward(params, given["x"])
        kernel._backend.calls = 0  # type: ignore[attr-defined]
        kernel.backward(run, given["d_outputs"], given["d_states"])
    elif wrong == "x_t":
        kernel.step(params, given["x_t"], given["state"])
    else:
        kernel.forward(params, given["x"], given["state"])


def assert_refused(name: str, value: Any, kind: type[Exception]) -> DeriveError:
    kernel = make(Elman)
    with pytest.raises(DeriveError) as caught:
        call(kernel, {**arguments(), name: value}, wrong=name)
    error = caught.value
    assert isinstance(error, kind)
    assert kernel._backend.calls == 0  # type: ignore[attr-defined]
    assert error.what and error.facts and error.hint
    return error


WRONG_DTYPES: dict[str, Callable[[np.ndarray], Any]] = {
    "complex": lambda a: a.astype(complex),
    "object": lambda a: a.astype(object),
    "text": lambda a: a.astype("U"),
    "bytes": lambda a: a.astype("S"),
    "date": lambda a: np.zeros(a.shape, "M8[s]"),
    "time difference": lambda a: np.zeros(a.shape, "m8[s]"),
    "record": lambda a: np.zeros(a.shape, [("re", "f8"), ("im", "f8")]),
    "masked": np.ma.asarray,
    "a word": lambda a: "array",
    "a set": lambda a: {1.0, 2.0},
    "a function": lambda a: len,
    "complex list": lambda a: (a + 0j).tolist(),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", WRONG_DTYPES)
def test_a_dtype_that_is_not_real_is_a_type_error(wrong: str, name: str) -> None:
    assert_refused(name, WRONG_DTYPES[wrong](arguments()[name]), TypeError)


WRONG_SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one axis more": lambda a: a[np.newaxis],
    "one axis more at the end": lambda a: a[..., np.newaxis],
    "one axis less": lambda a: a[0] if a.ndim > 1 else np.array(0.5),
    "first axis longer": lambda a: np.concatenate([a, a[:1]]),
    "last axis shorter": lambda a: a[..., :-1],
    "empty": lambda a: a[:0],
    "flat": lambda a: a.ravel() if a.ndim > 1 else a[:0],
    "reversed axes": lambda a: a.T if a.ndim > 1 and len(set(a.shape)) > 1 else a[:0],
}


RIGHT_AFTER_ALL = {
    ("one axis less", "s"),  # a number is a scalar parameter
    ("empty", "x"),  # T = 0
    ("first axis longer", "x"),  # T is whatever x says
}


@pytest.mark.parametrize(
    ("wrong", "name"),
    [(w, n) for w in WRONG_SHAPES for n in NAMES if (w, n) not in RIGHT_AFTER_ALL],
)
def test_a_wrong_shape_is_a_value_error(wrong: str, name: str) -> None:
    assert_refused(name, WRONG_SHAPES[wrong](arguments()[name]), ValueError)


@pytest.mark.parametrize("name", NAMES)
def test_a_ragged_list_is_a_value_error(name: str) -> None:
    error = assert_refused(name, [[1.0, 2.0], [3.0]], ValueError)
    assert error.what.endswith("cannot be read as an array")


@pytest.mark.parametrize("name", NAMES)
def test_an_array_like_that_fails_is_a_type_error(name: str) -> None:
    class Tensor:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise RuntimeError("it requires a gradient")

    error = assert_refused(name, Tensor(), TypeError)
    assert "it requires a gradient" in str(error)


@pytest.mark.parametrize("name", ["W", "U", "b", "s", "x", "x_t"])
def test_what_must_be_given_cannot_be_none(name: str) -> None:
    assert assert_refused(name, None, ValueError).what.endswith("is missing")


@pytest.mark.parametrize("name", ["x", "x_t", "state", "d_outputs", "d_states"])
def test_an_unknown_name_is_a_value_error(name: str) -> None:
    given = arguments()[name]
    real = {"x": "x", "x_t": "x", "state": "h", "d_outputs": "h_next", "d_states": "h"}[name]
    for wrong in ({real: given, "q": given}, {"q": given}, {real + "_": given}, {1: given}):
        assert_refused_without_hint(name, wrong)


def assert_refused_without_hint(name: str, value: Any) -> None:
    kernel = make(Elman)
    with pytest.raises(ArgumentError, match="has an entry"):
        call(kernel, {**arguments(), name: value}, wrong=name)
    assert kernel._backend.calls == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("extra", ["q", "WW", "x", 1])
def test_an_unknown_parameter_is_a_value_error(extra: Any) -> None:
    given = arguments()
    params = {name: given[name] for name in ELMAN.params}
    with pytest.raises(ArgumentError, match="has an entry"):
        make(Elman).forward({**params, extra: 1.0}, given["x"])


@pytest.mark.parametrize("params", [None, 1, [1.0], np.ones(3), "W"])
def test_params_that_are_no_mapping_are_a_type_error(params: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="params must be a mapping"):
        make(Elman).forward(params, arguments()["x"])


def test_a_mapping_that_invents_entries_is_not_asked_to() -> None:
    from collections import defaultdict

    given = arguments()
    params = defaultdict(lambda: np.ones(1), {n: given[n] for n in ELMAN.params if n != "s"})
    with pytest.raises(ArgumentError, match="parameter s is missing"):
        make(Elman).forward(params, given["x"])
    assert "s" not in params


@pytest.mark.parametrize("argument", ["x", "state", "d_outputs", "d_states"])
def test_a_bare_array_for_one_of_several_is_a_value_error(argument: str) -> None:
    kernel = make(Wide)
    with pytest.raises(ArgumentError, match=f"{argument} must be a mapping"):
        if argument.startswith("d_"):
            kernel.backward(kernel.forward(**wide()), **{argument: np.ones((2, 3, 5))})
        else:
            kernel.forward(**wide(**{argument: np.ones((2, 3, 5))}))


def test_a_missing_input_of_several_is_a_value_error() -> None:
    with pytest.raises(ArgumentError, match="input m is missing"):
        make(Wide).forward(**wide(x={"x": np.ones((2, 3, 4))}))


def test_a_state_whose_width_nothing_determines_is_a_value_error() -> None:
    with pytest.raises(ArgumentError, match="nothing given determines the width H of state h"):
        make(Wide).forward(**wide(state={"c": np.ones((3, 2))}))


def test_a_fixed_width_must_be_met() -> None:
    with pytest.raises(ArgumentError, match="state c has the wrong shape"):
        make(Wide).forward(**wide(state={"h": np.ones((3, 5)), "c": np.ones((3, 3))}))


# --- lengths, reverse, training -------------------------------------------------------------


def forward(lengths: Any = None, **more: Any) -> Run:
    given = arguments()
    params = {name: given[name] for name in ELMAN.params}
    return make(Elman).forward(params, given["x"], given["state"], lengths, **more)


@pytest.mark.parametrize(
    "lengths",
    [
        (4, 0, 2),
        np.array([4, 0, 2]),
        np.array([4, 0, 2], np.uint64),
        np.array([4, 0, 2], np.int8),
        np.array([4, 0, 2], ">i4"),
        np.array([2, 0, 4])[::-1],
        np.array([4, 9, 0, 9, 2])[::2],
        read_only(np.array([4, 0, 2])),
        ArrayLike(np.array([4, 0, 2])),
        [np.int64(4), 0, np.uint8(2)],
    ],
)
def test_lengths_of_any_integer_kind_are_the_same(lengths: Any) -> None:
    wanted = forward([4, 0, 2])
    got = forward(lengths)
    assert got.output.tobytes() == wanted.output.tobytes()
    assert not wanted.output[:, 1].any() and not wanted.output[2:, 2].any()
    assert wanted.states["h"][1].tolist() == arguments()["state"][1].tolist()


@pytest.mark.parametrize(
    "lengths",
    [
        [4.0, 0.0, 2.0],
        np.array([4.0, 0.0, 2.0]),
        [True, False, True],
        np.array([True, False, True]),
        ["4", "0", "2"],
        [None, None, None],
        np.array([4, 0, 2], object),
        np.array([4, 0, 2], "m8[s]"),
        [4j, 0, 2],
        np.ma.array([4, 0, 2]),
        np.zeros(0),
        {4, 0, 2},
        "420",
    ],
)
def test_lengths_of_a_wrong_type_are_a_type_error(lengths: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="lengths"):
        forward(lengths)


@pytest.mark.parametrize(
    "lengths",
    [
        [4, 0], [4, 0, 2, 1], [[4, 0, 2]], [[4], [0], [2]], 4, np.int64(2), [], [[4, 0], [2]],
        [4, 0, 5], [-1, 0, 2], [4, 0, 2**62], np.array([4, 0, 2**64 - 1], np.uint64),
        np.array([4, 0, -128], np.int8),
    ],
)  # fmt: skip
def test_lengths_of_a_wrong_shape_or_value_are_a_value_error(lengths: Any) -> None:
    with pytest.raises(ArgumentError, match="lengths"):
        forward(lengths)


def test_lengths_changed_after_forward_do_not_reach_backward() -> None:
    kernel = make(Elman)
    given = arguments()
    lengths = np.array([4, 0, 2])
    run = kernel.forward({n: given[n] for n in ELMAN.params}, given["x"], lengths=lengths)
    wanted = kernel.backward(run, given["d_outputs"]).inputs["x"].tobytes()
    lengths[:] = 10**9
    assert kernel.backward(run, given["d_outputs"]).inputs["x"].tobytes() == wanted


@pytest.mark.parametrize("flag", ["reverse", "training"])
@pytest.mark.parametrize("value", [1, 0, None, "no", np.array([True]), 1.0])
def test_a_flag_is_true_or_false(flag: str, value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=f"{flag} must be True or False"):
        forward(**{flag: value})


def test_a_flag_may_be_numpys() -> None:
    assert forward(reverse=np.True_).reverse is True


def test_backward_of_a_run_without_training_is_a_value_error() -> None:
    kernel = make(Elman)
    given = arguments()
    run = kernel.forward({n: given[n] for n in ELMAN.params}, given["x"], training=False)
    with pytest.raises(ArgumentError, match="kept nothing that backward needs"):
        kernel.backward(run)


def test_backward_of_another_kernels_run_is_a_value_error() -> None:
    with pytest.raises(ArgumentError, match="the run is of another kernel"):
        make(Elman).backward(forward())


@pytest.mark.parametrize("run", [None, 1, {}, np.ones(3)])
def test_backward_of_what_is_no_run_is_a_type_error(run: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="run must be what forward returned"):
        make(Elman).backward(run)


# --- Nothing to run -------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize(("steps", "rows"), [(0, ROWS), (STEPS, 0), (0, 0)])
def test_without_steps_or_rows_nothing_runs(steps: int, rows: int, lengths: bool) -> None:
    kernel = make(Elman)
    given = arguments()
    params = {name: given[name] for name in ELMAN.params}
    state = given["state"][:rows]
    d_states = given["d_states"][:rows]
    run = kernel.forward(params, given["x"][:steps, :rows], state, [0] * rows if lengths else None)
    assert run.output.shape == (steps, rows, WIDTH_H)
    assert run.states["h"].tolist() == state.tolist()
    grads = kernel.backward(run, given["d_outputs"][:steps, :rows], d_states)
    assert not any(array.any() for array in grads.params.values())
    assert {n: a.shape for n, a in grads.params.items()} == {n: params[n].shape for n in params}
    assert grads.inputs["x"].shape == (steps, rows, WIDTH_X)
    # The last states are the initial ones, so their gradients are the same as well.
    assert grads.states["h"].tolist() == d_states.tolist()
    assert not kernel.backward(run).states["h"].any()
    assert kernel._backend.calls == 0  # type: ignore[attr-defined]


def test_a_step_of_no_rows_is_empty() -> None:
    kernel = make(Elman)
    given = arguments()
    params = {name: given[name] for name in ELMAN.params}
    output, state = kernel.step(params, np.zeros((0, WIDTH_X)))
    assert isinstance(output, np.ndarray)
    assert output.shape == state["h"].shape == (0, WIDTH_H)
    assert kernel._backend.calls == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", ["x", "W"])
def test_arguments_are_checked_even_where_nothing_runs(fault: str) -> None:
    given = arguments()
    given["x"] = given["x"][:0]
    given[fault] = given[fault][..., :1]
    with pytest.raises(ArgumentError, match="wrong shape"):
        make(Elman).forward({name: given[name] for name in ELMAN.params}, given["x"])


# --- Cells without inputs, without states ---------------------------------------------------


def test_without_inputs_x_gives_steps_and_rows() -> None:
    kernel = make(Clock)
    run = kernel.forward({}, np.empty((2, 3, 0)), np.zeros((3, 1)))
    assert run.output[:, 0, 0].tolist() == [1, 2]
    assert kernel.backward(run, np.ones((2, 3, 1))).inputs == {}


@pytest.mark.parametrize("x_t", [None, {}, np.empty((3, 0))])
def test_without_inputs_a_step_takes_its_rows_from_the_states(x_t: Any) -> None:
    output, _ = make(Clock).step({}, x_t, np.zeros((3, 1)))
    assert isinstance(output, np.ndarray)
    assert output.tolist() == [[1]] * 3


@pytest.mark.parametrize("x", [None, {}])
def test_without_inputs_forward_needs_to_know_the_steps(x: Any) -> None:
    with pytest.raises(ArgumentError, match="nothing determines the number of time steps"):
        make(Clock).forward({}, x, np.zeros((3, 1)))


def test_without_inputs_a_step_needs_to_know_the_rows() -> None:
    with pytest.raises(ArgumentError, match="nothing determines the number of batch rows"):
        make(Clock).step({}, None)


@pytest.mark.parametrize("x", [np.empty((2, 3, 1)), np.empty((2, 0)), 0.0])
def test_without_inputs_x_must_be_empty(x: Any) -> None:
    with pytest.raises(ArgumentError, match="x has the wrong shape"):
        make(Clock).forward({}, x, np.zeros((3, 1)))


def test_without_inputs_a_named_input_is_a_value_error() -> None:
    with pytest.raises(ArgumentError, match="clock has no such input"):
        make(Clock).forward({}, {"x": np.empty((2, 3, 0))}, np.zeros((3, 1)))


def test_without_states_there_are_none() -> None:
    kernel = make(Negation)
    run = kernel.forward({}, np.ones((2, 3, 4)))
    assert run.states == {} and kernel.backward(run, np.ones((2, 3, 4))).states == {}
    with pytest.raises(ArgumentError, match="stateless has no states, but state was given"):
        kernel.forward({}, np.ones((2, 3, 4)), np.ones((3, 4)))


# --- init -----------------------------------------------------------------------------------


def test_init_gives_the_shapes_and_is_usable() -> None:
    kernel = make(Elman)
    params = kernel.init(T=WIDTH_H, B=WIDTH_X)
    assert {name: array.shape for name, array in params.items()} == {
        "W": (WIDTH_H, WIDTH_X), "U": (WIDTH_H, WIDTH_H), "b": (WIDTH_H,), "s": (1,),
    }  # fmt: skip
    assert all(array.any() for array in params.values())
    kernel.forward(params, arguments()["x"])


def test_init_depends_on_the_seed_alone() -> None:
    one, same, other = (make(Elman).init(T=3, B=2, seed=seed) for seed in (1, 1, 2))
    assert all(one[name].tobytes() == same[name].tobytes() for name in one)
    assert not any(one[name].tobytes() == other[name].tobytes() for name in one)


def test_init_in_float32_is_init_in_float64_rounded() -> None:
    wide_params = make(Elman).init(T=3, B=2)
    narrow = make(Elman, np.float32).init(T=3, B=2)
    for name, array in narrow.items():
        assert array.tobytes() == wide_params[name].astype(np.float32).tobytes()


def test_init_stays_the_same_over_versions() -> None:
    params = make(Elman).init(T=2, B=1, seed=0)
    # PCG64 seeded with 0 begins 0.6369616873214543, 0.2697867137638703; Glorot: sqrt(6 / 3).
    wanted = [(2 * u - 1) * 2**0.5 for u in (0.6369616873214543, 0.2697867137638703)]
    np.testing.assert_allclose(params["W"].ravel(), wanted, rtol=1e-15)


def test_init_keeps_to_its_bounds() -> None:
    params = make(Elman).init(T=200, B=100)
    for name, bound in (("W", (6 / 300) ** 0.5), ("U", (6 / 400) ** 0.5), ("b", 200**-0.5)):
        assert 0.9 * bound < np.abs(params[name]).max() <= bound


def test_init_takes_a_width_of_zero() -> None:
    assert make(Elman).init(T=0, B=0)["W"].shape == (0, 0)


def test_init_takes_dimensions_of_any_name() -> None:
    signature = Signature("odd", {"W": ("seed", "self")}, {"x": "self"}, {}, {"y": "seed"})
    kernel = Kernel(signature, Negation(), np.float64)  # type: ignore[arg-type]
    assert kernel.init({"seed": 3, "self": 2}, seed=5)["W"].shape == (3, 2)
    assert kernel.init({"seed": 3}, self=2)["W"].shape == (3, 2)


@pytest.mark.parametrize(
    ("sizes", "kind", "text"),
    [
        ({"T": 3}, ArgumentError, "init needs the length of B"),
        ({}, ArgumentError, "init needs the length of T, B"),
        ({"T": 3, "B": 2, "H": 1}, ArgumentError, "elman has no dimension 'H'"),
        ({"T": -3, "B": 2}, ArgumentError, "T = -3 is negative"),
        ({"T": 3.0, "B": 2}, ArgumentTypeError, "T must be an integer, not float"),
        ({"T": True, "B": 2}, ArgumentTypeError, "T must be an integer, not bool"),
        ({"T": None, "B": 2}, ArgumentTypeError, "T must be an integer, not None"),
        ({"T": 3, "B": 2, "seed": -1}, ArgumentError, "seed = -1 is negative"),
        ({"T": 3, "B": 2, "seed": 0.5}, ArgumentTypeError, "seed must be an integer"),
    ],
)
def test_init_refuses_wrong_sizes(sizes: dict[str, Any], kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        make(Elman).init(**sizes)


def test_init_takes_a_mapping_of_sizes_only() -> None:
    with pytest.raises(ArgumentTypeError, match="sizes must be a mapping"):
        make(Elman).init(3)  # type: ignore[arg-type]


def test_a_kernel_says_what_it_is() -> None:
    assert repr(make(Elman)) == "<Kernel elman hand float64>"
