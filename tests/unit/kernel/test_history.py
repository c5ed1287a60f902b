"""A result depends on what its call was given: not on earlier calls, not on later writing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import derive
from derive import rnn_cell
from derive.errors import ArgumentError, DeriveError
from derive.kernel import Gradients, Kernel, Run
from derive.kernel.fast import native_call
from derive.kernel.fingerprint import fingerprint, small_fingerprint
from derive.layers import sequence

TEXTS = {
    # The width of a state is no parameter's, nor an input's.
    "leaky": "cell leaky\ninput x: 1\nstate h: H\nh' = h * 0.5 + x\noutput h'",
    # One state tells the width of another.
    "pair": "cell pair\ninput x: I\nstate h: H\nstate c: H\nstate n: 1\nconst k = 0.5\n"
    "s = sum(x)\nc' = c * k + s\nh' = tanh(h + c')\nn' = n + 1\noutput h', x",
    "rnn": derive.cells.rnn().to_text(),
    "two": "cell two\ninput x: I\ninput m: 1\nstate h: H\nparam W: H x I\nparam g: 1\n"
    "h' = g * h + m * (W @ x)\noutput h'",
    # What compiled code is given is not what a caller gives: a start, and an input of every step.
    "learned": "cell learned\ninput x: I\nstate h: H = h0, c: H\nparam h0: H\nparam W: H x I\n"
    "h' = tanh(0.5 * h + W @ x + c)\nc' = c * 0.5 + h'\noutput h'",
    "once": "cell once\ninput x: I\ninput m: H once\nstate h: H\nparam W: H x I\n"
    "h' = tanh(W @ x + m * h)\noutput h'",
    "heads": "cell heads\ninput x: I\nstate C: 2 x H = C0\nparam C0: 2 x H\nparam W: 2 x H x I\n"
    "C' = tanh(C + W @ x)\noutput C'",
}
SIZES = {"I": 3, "H": 5}
TARGETS = ("numpy", "c")


@cache
def built(text: str, target: str, dtype: str = "float32") -> Kernel:
    return derive.compile(derive.Cell.parse(TEXTS[text]), target, dtype=dtype)


def fresh(kernel: Kernel) -> Kernel:
    """The same kernel, which has seen no call."""
    return Kernel(
        kernel.signature, kernel._backend, kernel.dtype, target=kernel.target, looks=kernel._looks
    )


def every_bit(found: Any) -> Any:
    if isinstance(found, Run):
        return every_bit((found.outputs, found.states, dict(found.sizes.dims)))
    if isinstance(found, Gradients):
        return every_bit((found.params, found.inputs, found.states))
    if isinstance(found, dict):
        return {name: every_bit(part) for name, part in found.items()}
    if isinstance(found, tuple):
        return tuple(map(every_bit, found))
    return (found.shape, found.tobytes()) if isinstance(found, np.ndarray) else found


def outcome(call: Callable[[], Any]) -> Any:
    """Every bit of what a call returns, or the class and text of its error."""
    try:
        return every_bit(call())
    except DeriveError as error:
        return type(error).__name__, str(error)


# --- random sequences of calls ------------------------------------------------------------------

#: What may become of an argument: mostly it stays as it is.
FORMS: tuple[Callable[[np.ndarray], Any], ...] = (
    *(lambda a: a,) * 30,
    lambda a: a.tolist(),
    lambda a: a.astype(np.float64),
    lambda a: np.asfortranarray(a),
    lambda a: a[..., :-1],
    lambda a: a[:-1],
    lambda a: a.reshape(-1),
    lambda a: a * 1j,
    lambda _: None,
)


class Draw:
    """Calls of one kernel, drawn at random: arguments are left out and put back."""

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.own = kernel.signature
        self.dtype = kernel.dtype
        self.kernel = kernel
        self.height = SIZES["H"]

    def one(self, options: Any) -> Any:
        return options[self.random.integers(len(options))]

    def array(self, *axes: int | str) -> Any:
        shape = [n if isinstance(n, int) else {**SIZES, "H": self.height}[n] for n in axes]
        return self.one(FORMS)(self.random.standard_normal(shape).astype(self.dtype))

    def named(self, widths: Any, *before: int) -> Any:
        found = {
            n: self.array(*before, *(w if isinstance(w, tuple) else (w,)))
            for n, w in widths.items()
        }
        for name in list(found):
            if self.random.random() < 0.1:
                del found[name]
        if self.random.random() < 0.03:
            found["zz"] = 1.0
        return found

    def params(self) -> Any:
        good = fresh(self.kernel).init({d: SIZES[d] for d in self.own.dims()}, seed=1)
        draw = self.random.random()
        if draw < 0.55:
            return good
        if draw < 0.75:
            return self.kernel.pack(good)
        shapes = {
            n: [d if isinstance(d, int) else SIZES[d] for d in axes]
            for n, axes in self.own.params.items()
        }
        return {n: self.array(*shape) for n, shape in shapes.items()}

    def call(self) -> tuple[str, list[Any], dict[str, Any]]:
        what = self.one(("forward", "forward", "forward", "step"))
        self.height = self.one((5, 5, 5, 7))
        steps, rows = self.one((2, 2, 2, 1, 0)), self.one((2, 2, 2, 1, 0))
        before = (steps, rows) if what == "forward" else (rows,)
        often = self.random.random() < 0.8  # else an input that is given once has an axis for time
        once = {n: w for n, w in self.own.inputs.items() if n in self.own.once and often}
        x = self.named({n: w for n, w in self.own.inputs.items() if n not in once}, *before)
        x |= self.named(once, rows) if once else {}
        state = self.one((None, self.named(self.own.states, rows), {}))
        options: dict[str, Any] = {}
        if what == "forward":
            options = {
                "training": self.one((True, True, False, 1)),
                "reverse": self.one((False, False, True)),
                "lengths": self.one((None,) * 6 + ([1] * rows, [9] * rows)),
                "remat": self.one((None,) * 6 + ("time",)),
            }
        return what, [self.params(), x, state], options


def results(kernel: Kernel, what: str, args: list[Any], options: Any, cotangents: Any) -> Any:
    """A call and, of forward, two calls of backward."""
    if what == "step":
        return outcome(lambda: kernel.step(*args))
    try:
        run = kernel.forward(*args, **options)
    except DeriveError as error:
        return type(error).__name__, str(error)
    return (
        every_bit(run),
        outcome(lambda: kernel.backward(run, *cotangents)),
        outcome(lambda: kernel.backward(run)),
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", TEXTS)
def test_call_by_call_a_used_kernel_gives_what_a_fresh_one_gives(text: str, target: str) -> None:
    kernel = built(text, target)
    used, draw = fresh(kernel), Draw(kernel, 7)
    kinds = set()
    for _ in range(300):
        what, args, options = draw.call()
        cotangents = draw.named(draw.own.outputs, 2, 2), draw.named(draw.own.states, 2)
        # Packed parameters belong to the kernel that made them.
        packed = not isinstance(args[0], dict)
        one, other = [used, fresh(kernel)]
        own = [k.pack(dict(args[0])) if packed else args[0] for k in (one, other)]
        found = results(one, what, [own[0], *args[1:]], options, cotangents)
        assert found == results(other, what, [own[1], *args[1:]], options, cotangents)
        kinds.add((what, packed, isinstance(found[0], str)))
    assert len(kinds) == 8  # both calls, packed or not, refused or not


@pytest.mark.parametrize("target", TARGETS)
def test_a_state_that_told_a_width_is_asked_for_again(target: str) -> None:
    kernel = fresh(built("leaky", target))
    x = np.ones((3, 2, 1), np.float32)
    wanted = outcome(lambda: kernel.forward({}, x))
    assert wanted[0] == "ArgumentError" and "width H of state h" in wanted[1]
    for width in (5, 7, 5):
        state = {"h": np.ones((2, width), np.float32)}
        for _ in range(3):
            assert kernel.forward({}, x, state).output.shape == (3, 2, width)
            assert kernel.step({}, x[0], state)[1]["h"].shape == (2, width)
            assert outcome(lambda: kernel.forward({}, x)) == wanted
            assert outcome(lambda: kernel.forward({}, x, {"h": None})) == wanted
            assert outcome(lambda: kernel.step({}, x[0]))[0] == "ArgumentError"


@pytest.mark.parametrize("target", TARGETS)
def test_a_mapping_that_invents_entries_is_not_asked_to_in_a_repeated_call(target: str) -> None:
    from collections import defaultdict

    kernel = fresh(built("rnn", target))
    params = kernel.init(I=3, H=5)
    x = np.ones((2, 2, 3), np.float32)
    for _ in range(4):
        wanted = kernel.forward(params, x).output
    given = defaultdict(lambda: np.zeros((5,), np.float32), params)
    given["zz"] = given.pop("b")
    assert outcome(lambda: kernel.forward(given, x))[0] == "ArgumentError"
    assert sorted(given) == ["U", "W", "zz"]
    assert np.array_equal(kernel.forward(params, x).output, wanted)


# --- written into between forward and backward ----------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "first": {},
    "repeated": {},
    "lengths": {"lengths": [4, 2]},
    "reverse": {"reverse": True},
    "remat": {"remat": "time"},
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", TARGETS)
def test_backward_refuses_what_was_written_into(
    target: str, dtype: str, way: str, packed: bool
) -> None:
    kernel = fresh(built("two", target, dtype))
    random = np.random.default_rng(0)
    plain = kernel.init(I=3, H=5)
    params = kernel.pack(plain) if packed else plain
    x = {n: random.standard_normal((4, 2, w)).astype(dtype) for n, w in (("x", 3), ("m", 1))}
    for _ in range(1 if way == "first" else 4):
        run = kernel.forward(params, x, **WAYS[way])
    ones = np.ones((4, 2, 5), dtype)
    wanted = every_bit(kernel.backward(run, ones))
    watched = {f"input {name}": array for name, array in x.items()}
    if not packed:
        watched |= {f"parameter {name}": array for name, array in plain.items()}
    for label, array in watched.items():
        kept = array.copy()
        for change in (-array, array + 1e-3, array[::-1].copy(), np.nextafter(array, 9), 0 * array):
            array[...] = change
            if array.tobytes() == kept.tobytes():
                continue  # one row, turned round
            for cotangent in (ones, ones.tolist()):
                with pytest.raises(ArgumentError, match=f"{label} was written into"):
                    kernel.backward(run, cotangent)
        array[...] = kept
    assert every_bit(kernel.backward(run, ones)) == wanted
    if packed:
        plain["W"][...] = 0
        assert every_bit(kernel.backward(run, ones)) == wanted


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_converted_may_be_written_into(target: str) -> None:
    kernel = built("rnn", target)
    params = {name: array.astype(np.float64) for name, array in kernel.init(I=3, H=5).items()}
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32))
    run = kernel.forward(params, x)
    wanted = every_bit(kernel.backward(run, np.ones((4, 2, 5))))
    for array in (x, *params.values()):
        array[...] = 0
    assert every_bit(kernel.backward(run, np.ones((4, 2, 5)))) == wanted


@pytest.mark.parametrize("target", TARGETS)
def test_updates_in_place_after_backward_train_as_new_arrays_do(target: str) -> None:
    kernel = fresh(built("rnn", target))
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    one, other = kernel.init(I=3, H=5), kernel.init(I=3, H=5)
    for _ in range(6):
        grads = [kernel.backward(kernel.forward(p, x), np.ones((4, 2, 5))) for p in (one, other)]
        for name, gradient in grads[0].params.items():
            one[name] -= np.float32(0.1) * gradient
        other = {n: a - np.float32(0.1) * grads[1].params[n] for n, a in other.items()}
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("past_end", ["zero", "computed"])
@pytest.mark.parametrize("target", TARGETS)
def test_layers_never_mix_old_activations_with_new_parameters(
    target: str, options: Any, past_end: str
) -> None:
    rnn = derive.layers.RNN(
        derive.cells.rnn(), target=target, I=3, H=5, past_end=past_end, **options
    )
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 2, 3)).astype(np.float32)
    for _ in range(3):
        run = rnn.forward(x, lengths=[4, 2])
    ones = np.ones_like(run.output)
    wanted = every_bit(rnn.backward(run, ones))
    for array in rnn.params.values():
        kept = array.copy()
        array *= 0.5
        with pytest.raises(ArgumentError, match="was written into between forward and backward"):
            rnn.backward(run, ones)
        array[...] = kept
    kept = x.copy()
    x[...] = 0
    found = outcome(lambda: rnn.backward(run, ones))
    assert found == wanted or "input x was written into" in found[1]
    x[...] = kept
    run.output[...] = 0
    assert every_bit(rnn.backward(run, ones)) == wanted
    rnn.set_params({name: 0 * array for name, array in rnn.params.items()})  # new arrays
    assert every_bit(rnn.backward(run, ones)) == wanted


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_a_pullback_gives_the_gradients_of_what_ran_or_refuses(
    target: str, time_major: bool
) -> None:
    cell = rnn_cell.MultiRNNCell([rnn_cell.BasicLSTMCell(4), rnn_cell.GRUCell(4)])
    x = np.random.default_rng(0).standard_normal((3, 3, 5)).astype(np.float32)
    with sequence.using(target):
        for _ in range(3):
            outputs, _, pullback = rnn_cell.dynamic_rnn(
                cell, x, time_major=time_major, return_pullback=True
            )
        ones = np.ones_like(outputs)
        wanted = every_bit(tuple(pullback(ones)))
        for array in cell.variables.values():
            array += 1
            assert every_bit(tuple(pullback(ones))) == wanted
        x[...] = 0
        found = outcome(lambda: tuple(pullback(ones)))
        assert found == wanted or "input x was written into" in found[1]


# --- fingerprints ---------------------------------------------------------------------------------


def looks() -> list[Callable[..., bytes]]:
    compiled = [lambda arrays: native_call.fingerprint(arrays, arrays[0].dtype)]
    return [fingerprint, small_fingerprint, *(compiled if native_call.usable() else [])]


@pytest.mark.parametrize(
    "elements", [0, 1, 3, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 2047, 2048, 2063, 70_000]
)
def test_a_fingerprint_sees_every_bit(elements: int) -> None:
    random = np.random.default_rng(elements)
    array = random.standard_normal(elements).astype(np.float32)
    bits = array.view(np.uint32)
    for look in looks():
        before = look((array, array))
        assert before == look((array,)) * 2 == look((array.copy(), array))
        places = range(elements) if elements < 200 else random.integers(elements, size=50)
        for place in places:
            for bit in (0, 15, 31):
                bits[place] ^= np.uint32(1 << bit)
                assert look((array, array)) != before
                bits[place] ^= np.uint32(1 << bit)


def test_changes_that_a_sum_would_not_see_are_seen() -> None:
    array = np.random.default_rng(0).standard_normal((64, 64))
    changes = (-array, array[::-1], array[:, ::-1], array.T, np.roll(array, 16), array[::2])
    for look in looks():
        seen = {look((np.ascontiguousarray(changed),)) for changed in (array, *changes)}
        assert len(seen) == 7
    for pair in ((0, 1), (0, 16), (5, 21), (100, 116)):  # signs of two elements, lanes apart
        other = array.copy()
        other.reshape(-1)[list(pair)] *= -1
        assert all(look((other,)) != look((array,)) for look in looks())
