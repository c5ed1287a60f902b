"""Repeated calls: the results and refusals of the first, and no look at arrays in Python."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import derive
from derive.errors import DeriveError
from derive.kernel import Gradients, Kernel, Run
from derive.kernel.c_backend import CBackend
from derive.kernel.fast import native_call
from derive.kernel.fast.native_call import Direct, Place

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
y = c' * h
output h'
output y
"""

KERNELS = {
    "lstm": lambda: derive.compile(derive.cells.lstm(), dtype="float32"),
    "lstm, 2 threads": lambda: derive.compile(derive.cells.lstm(), dtype="float64", threads=2),
    "two": lambda: derive.compile(derive.Cell.parse(TWO), dtype="float32"),
    "lstm, numpy": lambda: derive.compile(derive.cells.lstm(), "numpy", dtype="float32"),
    "two, numpy": lambda: derive.compile(derive.Cell.parse(TWO), "numpy", dtype="float32"),
}
SIZES = {"I": 3, "H": 40}


@pytest.fixture(params=list(KERNELS))
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return KERNELS[request.param]()


@pytest.fixture
def lstm() -> Kernel:
    return KERNELS["lstm"]()


@pytest.fixture(params=["lstm", "lstm, numpy"])
def either(request: pytest.FixtureRequest) -> Kernel:
    return KERNELS[request.param]()


def another(kernel: Kernel) -> Kernel:
    """The same, and it has seen no call."""
    return derive.compile(derive.cells.lstm(), kernel.target, dtype=kernel.dtype)


def arrays(kernel: Kernel, T: int = 5, B: int = 2, seed: int = 0) -> tuple[Any, Any, Any]:
    """Parameters, inputs {name: [T, B, width]} and states {name: [B, width]}."""
    random = np.random.default_rng(seed)
    own = kernel.signature

    def some(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(kernel.dtype)

    x = {n: some(T, B, w if isinstance(w, int) else SIZES[w]) for n, w in own.inputs.items()}
    states = {n: some(B, SIZES[str(w)]) for n, w in own.states.items()}
    return kernel.init(SIZES, seed=seed), x, states


def every_bit(found: Any) -> list[bytes]:
    if isinstance(found, Run):
        found = (found.outputs, found.states, found.sizes.steps, found.sizes.rows)
    if isinstance(found, Gradients):
        found = (found.params, found.inputs, found.states)
    if isinstance(found, dict):
        return [part for name in found for part in (name.encode(), *every_bit(found[name]))]
    if isinstance(found, tuple):
        return [part for entry in found for part in every_bit(entry)]
    return [np.asarray(found).tobytes()]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the functions of CBackend that were called because a call was not a repeated one."""
    calls: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            calls.append(name)
            return function(*args)

        return call

    for name in ("forward", "backward", "step"):
        monkeypatch.setattr(CBackend, name, noted(name, getattr(CBackend, name)))
    yield calls


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_repeated_call_has_the_same_bits(
    kernel: Kernel, packed: bool, training: bool, reverse: bool, looks: list[str]
) -> None:
    params, x, state = arrays(kernel)
    params = kernel.pack(params) if packed else params
    d_outputs = {n: np.ones_like(a) for n, a in kernel.forward(params, x, state).outputs.items()}
    for given in (None, state):
        first, *others = [
            kernel.forward(params, x, given, reverse=reverse, training=training) for _ in range(4)
        ]
        assert all(every_bit(other) == every_bit(first) for other in others)
        if training:
            gradients = [kernel.backward(run, d_outputs, state) for run in (first, *others)]
            gradients += [kernel.backward(run, d_outputs) for run in (first, *others)]
            for group in (gradients[:4], gradients[4:]):
                assert all(every_bit(other) == every_bit(group[0]) for other in group)
            assert every_bit(gradients[0]) != every_bit(gradients[4])
    if kernel.target == "c":
        looks.clear()
        run = kernel.forward(params, x, state, reverse=reverse, training=training)
        if training:
            kernel.backward(run, d_outputs)
        assert looks == []


def test_a_repeated_step_has_the_same_bits(kernel: Kernel, looks: list[str]) -> None:
    params, x, state = arrays(kernel)
    x_t = {name: array[0].copy() for name, array in x.items()}
    first, *others = [kernel.step(params, x_t, state) for _ in range(4)]
    assert all(every_bit(other) == every_bit(first) for other in others)
    assert every_bit(kernel.step(params, x_t)) != every_bit(first)
    if kernel.target == "c":
        looks.clear()
        kernel.step(params, x_t, state)
        assert looks == []


def test_without_direct_calls_all_is_the_same(
    monkeypatch: pytest.MonkeyPatch, lstm: Kernel, looks: list[str]
) -> None:
    params, x, state = arrays(lstm)
    quick = [every_bit(lstm.forward(params, x, state)) for _ in range(3)]
    monkeypatch.setattr(native_call, "usable", lambda: False)
    other = KERNELS["lstm"]()
    looks.clear()
    assert [every_bit(other.forward(params, x, state)) for _ in range(3)] == quick
    assert looks == ["forward"] * 3


def test_results_are_fresh(either: Kernel) -> None:
    params, x, state = arrays(either, T=40, B=8)
    runs = [either.forward(params, x, state) for _ in range(4)]
    gradients = [either.backward(run, np.ones_like(run.output)) for run in runs]
    made = [a for run in runs for a in (*run.outputs.values(), *run.states.values())]
    made += [
        a for g in gradients for a in (*g.params.values(), *g.inputs.values(), *g.states.values())
    ]
    for at, array in enumerate(made):
        assert array.flags.writeable
        others = [*made[:at], *params.values(), *x.values(), *state.values()]
        assert not any(np.may_share_memory(array, other) for other in others)


def test_what_was_given_may_change_after_the_call(either: Kernel) -> None:
    """The run keeps the arrays, not the dictionaries."""
    params, x, state = arrays(either)
    for _ in range(3):
        run = either.forward(params, x, state)
    expected = every_bit(either.backward(run, np.ones_like(run.output)))
    params.clear()
    x.clear()
    assert every_bit(either.backward(run, np.ones_like(run.output))) == expected


def changed(name: str, how: Callable[[np.ndarray], Any]) -> Callable[..., Any]:
    def change(params: Any, x: Any, state: Any) -> tuple[Any, Any, Any]:
        for group in (params, x, state):
            if name in group:
                group[name] = how(group[name])
        return params, x, state

    return change


#: Calls that look like the ones before, and are not.
STRANGERS = {
    "no contiguous parameter": changed("U_f", lambda a: np.asfortranarray(a)),
    "every second column": changed("U_f", lambda a: np.repeat(a, 2, 1)[:, ::2]),
    "unaligned": changed("b_f", lambda a: np.frombuffer(b"x" + a.tobytes(), "u1")[1:].view("f4")),
    "read-only": changed("U_f", lambda a: (a.setflags(write=False), a)[1]),
    "lists": changed("b_f", lambda a: a.tolist()),
    "another dtype": changed("x", lambda a: a.astype(np.float64)),
    "another byte order": changed("x", lambda a: a.astype(a.dtype.newbyteorder())),
    "a subclass": changed("x", lambda a: a.view(np.recarray)),
    "longer": changed("x", lambda a: np.concatenate([a, a])),
    "no state": lambda p, x, s: (p, x, None),
    "half a state": lambda p, x, s: (p, x, {"c": s["c"]}),
    "a state that is None": lambda p, x, s: (p, x, {**s, "h": None}),
    "a bare array": lambda p, x, s: (p, x["x"], s),
    "a list": lambda p, x, s: (p, x["x"].tolist(), s),
    "parameters in another order": lambda p, x, s: (dict(reversed(p.items())), x, s),
}  # fmt: skip


@pytest.mark.parametrize("what", list(STRANGERS))
def test_other_arrays_give_what_a_first_call_gives(what: str, either: Kernel) -> None:
    for _ in range(3):
        either.forward(*arrays(either))
    given = STRANGERS[what](*arrays(either, seed=1))
    expected = another(either).forward(*copy.deepcopy(given))
    for _ in range(3):
        assert every_bit(either.forward(*given)) == every_bit(expected)


#: Calls that look like the ones before, and are wrong.
WRONG = {
    "a matrix transposed": changed("W_f", lambda a: a.T.copy()),
    "a vector too long": changed("b_f", lambda a: np.concatenate([a, a])),
    "a vector with an axis more": changed("b_f", lambda a: a[None]),
    "a missing parameter": lambda p, x, s: ({n: a for n, a in p.items() if n != "b_f"}, x, s),
    "a parameter that is None": changed("b_f", lambda a: None),
    "a misspelt parameter": lambda p, x, s: ({n.replace("_", ""): a for n, a in p.items()}, x, s),
    "a parameter too many": lambda p, x, s: ({**p, "b": p["b_f"]}, x, s),
    "a state of other rows": changed("h", lambda a: a[:1].copy()),
    "a misspelt state": lambda p, x, s: (p, x, {"h": s["h"], "C": s["c"]}),
    "a bare state of two": lambda p, x, s: (p, x, s["h"]),
    "complex numbers": changed("x", lambda a: a.astype(np.complex64)),
    "no input": lambda p, x, s: (p, None, s),
    "a misspelt input": lambda p, x, s: (p, {"X": x["x"]}, s),
    "parameters of another kernel": lambda p, x, s: (KERNELS["lstm"]().pack(p), x, s),
}  # fmt: skip


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(DeriveError) as caught:
        call()
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("what", list(WRONG))
@pytest.mark.parametrize("packed", [False, True])
def test_wrong_arrays_are_refused_as_at_first(what: str, packed: bool, either: Kernel) -> None:
    params, x, state = arrays(either)
    for _ in range(3):
        either.forward(either.pack(params) if packed else params, x, state)
    given = WRONG[what](*arrays(either))
    expected = refusal(lambda: another(either).forward(*given))
    assert refusal(lambda: either.forward(*given)) == expected


def test_flags_are_refused_as_at_first(either: Kernel) -> None:
    given = arrays(either)
    for _ in range(3):
        either.forward(*given)
    assert "training must be True or False" in refusal(lambda: either.forward(*given, training=1))  # type: ignore[arg-type]
    assert "reverse must be True or False" in refusal(lambda: either.forward(*given, reverse=0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("d_outputs", "d_states"),
    [
        (np.ones((5, 2, 39), np.float32), None),
        ({"H": np.ones((5, 2, 40), np.float32)}, None),
        (None, {"h": np.ones((1, 40), np.float32)}),
        (None, {"hh": np.ones((2, 40), np.float32), "c": None}),
        (np.ones((5, 2, 40), complex), None),
    ],
)
def test_wrong_cotangents_are_refused_as_at_first(
    d_outputs: Any, d_states: Any, either: Kernel
) -> None:
    first, *_, last = [either.forward(*arrays(either)) for _ in range(4)]
    expected = refusal(lambda: either.backward(first, d_outputs, d_states))
    assert refusal(lambda: either.backward(last, d_outputs, d_states)) == expected


def test_a_shape_changed_in_place_is_seen(either: Kernel) -> None:
    params, x, state = arrays(either)
    for _ in range(3):
        either.forward(params, x, state)
    params["U_f"].shape = (20, 80)
    assert "parameter U_f has the wrong shape" in refusal(lambda: either.forward(params, x, state))


def test_rows_and_steps_of_zero(either: Kernel) -> None:
    for T, B in ((0, 2), (5, 0)):
        given = arrays(either, T, B)
        runs = [either.forward(*given) for _ in range(3)]
        assert all(every_bit(run) == every_bit(runs[0]) for run in runs)


def test_tuning_forgets_how_calls_were_made(lstm: Kernel, looks: list[str]) -> None:
    given = arrays(lstm)
    for _ in range(3):
        lstm.forward(*given)
    looks.clear()
    lstm.untune()
    lstm.forward(*given)
    assert looks == ["forward"]


def test_a_trial_that_reads_something_else_is_noticed() -> None:
    read = native_call._library().derive_direct_words
    assert native_call._reads_arrays(read)

    def one_word_on(plan: bytes, given: tuple[Any, ...], words: int) -> int:
        return read(plan, (*given[1:], given[0]), words)

    assert not native_call._reads_arrays(one_word_on)
    assert not native_call._reads_arrays(lambda *_: 0)
    assert not native_call._reads_arrays(lambda *_: 1)


def test_calls_that_need_conversions_make_one_plan(
    monkeypatch: pytest.MonkeyPatch, lstm: Kernel
) -> None:
    made: list[Any] = []
    ready = CBackend.ready
    monkeypatch.setattr(CBackend, "ready", lambda *a: made.append(a) or ready(*a))
    params, x, state = arrays(lstm)
    for _ in range(5):
        lstm.forward(params, x["x"].tolist(), state)
    assert len(made) == 1


def test_a_plan_for_other_widths_replaces_one_with_the_same_first_arrays(looks: list[str]) -> None:
    """The shapes of x and of the first parameter tell neither H nor the width of the second."""
    text = """
cell two_widths
input x: I
state h: H
param A: I
param U: H x H
h' = tanh(U @ h)
output y
y = A * x
"""
    kernel = derive.compile(derive.Cell.parse(text), dtype="float32")
    x = np.ones((3, 2, 4), np.float32)
    for width in (5, 6, 5, 6):
        given = kernel.init(I=4, H=width)
        state = {"h": np.ones((2, width), np.float32)}
        runs = [kernel.forward(given, x, state) for _ in range(3)]
        assert all(every_bit(run) == every_bit(runs[0]) for run in runs)
        assert runs[0].states["h"].shape == (2, width)
    looks.clear()
    kernel.forward(given, x, state)
    assert looks == []


def test_a_direct_call_refuses_what_it_was_not_made_for() -> None:
    kernel = KERNELS["lstm"]()
    backend = kernel._backend.default  # type: ignore[attr-defined]
    call = Direct(backend._step, [Place((2, 3))], np.dtype(np.float32))
    for array in (np.zeros((3, 2), np.float32), np.zeros((2, 3)), None, [[0.0] * 3] * 2):
        assert call((array,)) is None  # type: ignore[arg-type]
