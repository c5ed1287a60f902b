"""Kernels under verification: the honest one passes, and each check catches what it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import derive
from derive.kernel import Kernel
from derive.kernel.signature import Sizes
from derive.pipeline import differentiate, signature
from derive.program import interpret
from derive.symbolic.evaluate import NUMPY
from derive.verification import Report, verify

GRU = """
cell gru
input x: I
state h: H
z = sigmoid(W_z @ x + U_z @ h + b_z)
r = sigmoid(W_r @ x + U_r @ h + b_r)
n = tanh(W_n @ x + U_n @ (r * h) + b_n)
h' = (1 - z) * n + z * h
output h'
"""

TWO = """
cell two
input x: I, m: 1
state h: H, c: K
param s: 1
a = relu(W @ x + U @ h + b)
h' = 0.5 * a * s + maximum(V @ c, h)
c' = clip(M @ a, -0.3, 2) + m
output c', h
"""

BARE = """
cell bare
state n: 3
n' = n + 1
output n'
"""


class Plain:
    """A Backend by interpretation, one row at a time. Subclasses break one thing each."""

    accumulates = False

    def __init__(self, cell: Any, dtype: str) -> None:
        self.cell = cell
        self.step_ = cell.step
        self.gradient = differentiate(cell)
        self.dtype = np.dtype(dtype)

    # What a subclass may break.
    def times(self, length: int, reverse: bool) -> list[int]:
        return list(range(length))[:: -1 if reverse else 1]

    def length(self, lengths: Any, n: int, steps: int) -> int:
        return steps if lengths is None else int(lengths[n])

    def after_forward(self, outputs: Any, states: Any, inputs: Any, training: bool) -> None: ...
    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None: ...
    def after_step(self, outputs: Any, states: Any) -> None: ...
    def ready(self, *_: Any) -> None: ...

    def values(self, sizes: Sizes, given: Mapping[str, Any]) -> dict[str, Any]:
        with np.errstate(all="ignore"):
            return interpret(self.step_.program, given, rows=1, sizes=sizes.dims, algebra=NUMPY)

    def forward(self, call):  # type: ignore[no-untyped-def]
        sizes, inputs, lengths, reverse = call.sizes, call.inputs, call.lengths, call.reverse
        step, keys = self.step_, self.cell.output_keys
        table = step.program.table()
        outputs = {
            key: np.zeros((sizes.steps, sizes.rows, sizes.width(table[name].width)), self.dtype)
            for key, name in zip(keys, step.outputs, strict=True)
        }
        last = {name: np.array(array) for name, array in call.states.items()}
        kept = {}
        for n in range(sizes.rows):
            for t in self.times(self.length(lengths, n, sizes.steps), reverse):
                given = {**call.params, **{k: a[t, n][None] for k, a in inputs.items()}}
                given |= {name: last[name][n][None] for name in step.states}
                kept[t, n] = values = self.values(sizes, given)
                for key, name in zip(keys, step.outputs, strict=True):
                    outputs[key][t, n] = values[name][0]
                for name, after in zip(step.states, step.next_states, strict=True):
                    last[name][n] = values[after][0]
        self.after_forward(outputs, last, inputs, call.training)
        return outputs, last, kept if call.training else None

    def backward(self, call, saved, d_outputs, d_states):  # type: ignore[no-untyped-def]
        sizes, inputs, lengths, reverse = call.sizes, call.inputs, call.lengths, call.reverse
        step, gradient, keys = self.step_, self.gradient, self.cell.output_keys
        d_params = {name: np.zeros(array.shape) for name, array in call.params.items()}
        d_inputs = {name: np.zeros_like(array) for name, array in inputs.items()}
        carry = {}
        for name in step.states:
            width = sizes.width(step.program.table()[name].width)
            given = d_states[name]
            carry[name] = np.zeros((sizes.rows, width)) if given is None else given.astype(float)
        for n in range(sizes.rows):
            for t in self.times(self.length(lengths, n, sizes.steps), reverse)[::-1]:
                given = {name: saved[t, n][name] for name in step.program.inputs}
                for seed, key, name in zip(gradient.output_seeds, keys, step.outputs, strict=True):
                    d = d_outputs[key]
                    given[seed] = np.zeros_like(saved[t, n][name]) if d is None else d[t, n][None]
                for seed, name in zip(gradient.state_seeds, step.states, strict=True):
                    given[seed] = carry[name][n][None]
                with np.errstate(all="ignore"):
                    v = interpret(gradient.program, given, rows=1, sizes=sizes.dims)
                for name, d_name in zip(step.params, gradient.d_params, strict=True):
                    d_params[name] += v[d_name]
                for name, d_name in zip(step.inputs, gradient.d_inputs, strict=True):
                    d_inputs[name][t, n] = v[d_name][0]
                for name, d_name in zip(step.states, gradient.d_states, strict=True):
                    carry[name][n] = v[d_name][0]
        given = {"d_outputs": d_outputs, "d_states": d_states, "sizes": sizes, "inputs": inputs}
        self.after_backward(d_params, d_inputs, carry, given)
        cast = lambda arrays: {name: a.astype(self.dtype) for name, a in arrays.items()}  # noqa: E731
        return cast(d_params), cast(d_inputs), cast(carry)

    def step(self, call):  # type: ignore[no-untyped-def]
        inputs = {name: array[None] for name, array in call.inputs.items()}
        outputs, last, _ = Plain.forward(self, replace(call, inputs=inputs, step=False))
        result = {key: array[0] for key, array in outputs.items()}
        self.after_step(result, last)
        return result, last


def report_of(
    backend: type[Plain], text: str = GRU, dtypes: tuple[str, ...] = ("float64",), **options: Any
) -> Report:
    cell = derive.Cell.parse(text)
    kernels = [
        Kernel(signature(cell), backend(cell, dtype), dtype, target="hand") for dtype in dtypes
    ]
    return verify(cell, kernels=kernels, **{"quick": True, **options})


@pytest.mark.parametrize("text", [GRU, TWO, BARE])
def test_an_honest_kernel_passes(text: str) -> None:
    report = report_of(Plain, text, ("float32", "float64"))
    assert report.ok, report.text()
    assert not report.not_run


def test_an_honest_kernel_passes_every_check_at_length() -> None:
    report = report_of(Plain, TWO, quick=False)
    assert report.ok, report.text()


# --- each check catches what it alone is for ----------------------------------------------------


class IgnoresLengths(Plain):
    def length(self, lengths: Any, n: int, steps: int) -> int:
        return steps


class IgnoresReverse(Plain):
    def times(self, length: int, reverse: bool) -> list[int]:
        return list(range(length))


class ReversesThePadding(Plain):
    """Runs the whole sequence last to first, the classic mistake with lengths."""

    def forward(self, call):  # type: ignore[no-untyped-def]
        if call.reverse and call.lengths is not None:
            inputs = {n: np.nan_to_num(a[::-1]) for n, a in call.inputs.items()}
            outputs, last, kept = Plain.forward(self, replace(call, inputs=inputs, reverse=False))
            return {n: np.ascontiguousarray(a[::-1]) for n, a in outputs.items()}, last, kept
        return Plain.forward(self, call)


class LeaksNan(Plain):
    """Multiplies dead rows by 0, which keeps their NaN."""

    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        for name, array in call["inputs"].items():
            d_inputs[name] += 0 * array


class WritesPadding(Plain):
    def after_forward(self, outputs: Any, states: Any, inputs: Any, training: bool) -> None:
        for array in outputs.values():
            array[-1][np.all(array[-1] == 0, axis=-1)] = states["h"][0]


class SloppyForward(Plain):
    """float32 somewhere inside float64."""

    def after_forward(self, outputs: Any, states: Any, inputs: Any, training: bool) -> None:
        for array in outputs.values():
            array[...] = array.astype(np.float32)


class SloppySingle(Plain):
    """float32 with a function that is right to 14 bits only."""

    def after_forward(self, outputs: Any, states: Any, inputs: Any, training: bool) -> None:
        for array in outputs.values():
            array *= 1 + 2.0**-14


class TransposedGradient(Plain):
    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        d_params["U_n"] = d_params["U_n"].T.copy()


class ForgetsOneElement(Plain):
    """The tail of a loop over a width of 5 or more."""

    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        if d_params["b_z"].size >= 5:
            d_params["b_z"][-1] = 0


class ForgetsLastState(Plain):
    def backward(self, *args):  # type: ignore[no-untyped-def]
        return Plain.backward(self, *args[:-1], dict.fromkeys(args[-1]))


class ForgetsOutputs(Plain):
    def backward(self, *args):  # type: ignore[no-untyped-def]
        return Plain.backward(self, *args[:-2], dict.fromkeys(args[-2]), args[-1])


class Accumulates(Plain):
    """Adds to the gradients of the call before."""

    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        before = getattr(self, "before", None)
        if before is not None and before["b_z"].shape == d_params["b_z"].shape:
            d_params["b_z"] += before["b_z"]
        self.before = {name: array.copy() for name, array in d_params.items()}


class AccumulatesOnOneRun(Plain):
    """Writes into what the forward pass kept: the second backward of a run is wrong."""

    def backward(self, call, saved, *rest):  # type: ignore[no-untyped-def]
        result = Plain.backward(self, call, saved, *rest)
        for values in saved.values():
            values["h"] = values["h"] * 1.5
        return result


class WrongStep(Plain):
    def after_step(self, outputs: Any, states: Any) -> None:
        states["h"] = states["h"] * (1 + 1e-9)


class WrongInference(Plain):
    def after_forward(self, outputs: Any, states: Any, inputs: Any, training: bool) -> None:
        if not training:
            outputs["h_next"] *= 1 + 1e-9


class NanForNone(Plain):
    """Fails only where a cotangent is left out."""

    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        if call["d_states"]["h"] is None:
            d_params["b_z"] += np.nan


class WrongAtOneWidth(Plain):
    def after_forward(self, outputs: Any, states: Any, inputs: Any, training: bool) -> None:
        if outputs["h_next"].shape[1] > 8:
            outputs["h_next"][:, 8] *= 1.001


class SmallError(Plain):
    """A gradient that is 1e-10 too large: far below what finite differences see."""

    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        d_params["W_r"] *= 1 + 1e-10


class NanGradient(Plain):
    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        d_params["W_r"][0, 0] = np.nan


class Raises(Plain):
    def backward(self, *args):  # type: ignore[no-untyped-def]
        raise IndexError("index 7 is out of bounds")


class WrongShape(Plain):
    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        d_params["b_z"] = d_params["b_z"][:, None]


CAUGHT: tuple[tuple[type[Plain], str, str], ...] = (
    (IgnoresLengths, "forward", "lengths"),
    (IgnoresReverse, "forward", "reverse"),
    (ReversesThePadding, "forward", "lengths reverse"),
    (LeaksNan, "gradient", "x"),
    (WritesPadding, "forward", "lengths"),
    (SloppyForward, "forward", "h_next"),
    (SloppyForward, "ulp", "h_next"),
    (TransposedGradient, "gradient", "U_n"),
    (ForgetsOneElement, "gradient", "b_z"),
    (ForgetsLastState, "gradient", "h"),
    (ForgetsOutputs, "gradient", "W_z"),
    (Accumulates, "same bits", "backward again"),
    (AccumulatesOnOneRun, "same bits", "backward again"),
    (WrongStep, "step", "h"),
    (WrongInference, "training=False", "h_next"),
    (NanForNone, "omitted", "d_states"),
    (WrongAtOneWidth, "forward", "B="),
    (SmallError, "gradient", "W_r"),
    (NanGradient, "gradient", "W_r"),
    (Raises, "call", "hand"),
    (WrongShape, "gradient", "b_z"),
)


@pytest.mark.parametrize(("backend", "check", "where"), CAUGHT)
def test_a_broken_kernel_is_caught_by_the_check_for_it(
    backend: type[Plain], check: str, where: str
) -> None:
    report = report_of(backend, seed=1)
    assert not report.ok
    assert any(row.check == check and where in row.where for row in report.failures), report.text()


ONLY: tuple[tuple[type[Plain], set[str]], ...] = (
    (WrongStep, {"step"}),
    (WrongInference, {"training=False", "ulp", "step", "Taylor rate"}),
    (NanForNone, {"omitted"}),
    (AccumulatesOnOneRun, {"same bits", "omitted"}),
    (SmallError, {"gradient"}),
)


@pytest.mark.parametrize(("backend", "checks"), ONLY)
def test_some_faults_are_seen_by_one_check_alone(backend: type[Plain], checks: set[str]) -> None:
    assert {row.check for row in report_of(backend).failures} <= checks


def test_a_float32_kernel_that_is_right_to_14_bits_is_caught() -> None:
    report = report_of(SloppySingle, dtypes=("float32",))
    assert any(row.check == "forward" for row in report.failures)


class WrongSlopeAtZero(Plain):
    """relu'(0) = 1: away from the kink nothing is wrong."""

    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        if all(np.all(array == 0) for array in call["inputs"].values()):
            d_params["b"] += 1


def test_a_wrong_convention_is_caught_on_the_kink_alone() -> None:
    report = report_of(WrongSlopeAtZero, TWO)
    assert {row.check for row in report.failures} == {"on kinks"}


class LinearGradientOfACurve(Plain):
    def after_backward(self, d_params: Any, d_inputs: Any, d_states: Any, call: Any) -> None:
        d_params["b_z"] *= 1.001


def test_the_taylor_rate_sees_a_gradient_that_is_a_thousandth_off() -> None:
    failures = report_of(LinearGradientOfACurve).failures
    assert any(row.check == "Taylor rate" for row in failures)


@pytest.mark.parametrize("change", [lambda t: t, lambda t: t.replace("(1 - z)", "(1 + z)")])
def test_a_kernel_of_another_cell_fails(change: Callable[[str], str]) -> None:
    cell, other = derive.Cell.parse(GRU), derive.Cell.parse(change(GRU))
    kernel = Kernel(signature(cell), Plain(other, "float64"), "float64", target="hand")
    assert verify(cell, kernels=[kernel], quick=True).ok is (cell == other)


# --- infinite slopes ----------------------------------------------------------------------------

#: (input, what is computed of it, where that is steep without bound).
STEEP = (
    ("a", "sqrt(a)", 0.0), ("b", "log(b)", 0.0), ("c", "1 / c", 0.0), ("d", "log1p(d)", -1.0),
    ("e", "e ** -0.5", 0.0), ("f", "sqrt(abs(f))", 0.0), ("g", "tanh(sqrt(g))", 0.0),
)  # fmt: skip


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_no_cotangent_of_an_infinite_slope_is_nan_in_every_target_as_in_torch(target: str) -> None:
    """0 times infinity; only a branch that is not taken is kept out (`where`)."""
    torch = pytest.importorskip("torch")
    lines = ["cell steep", *(f"input {n}: H" for n, _, _ in STEEP), "input k: H", "state s: H"]
    lines += ["s' = 0.5 * s", *(f"y_{name} = {text}" for name, text, _ in STEEP)]
    lines += ["inside = where(k > 0, sqrt(k), 0)"]
    lines += ["output inside, " + ", ".join(f"y_{name}" for name, _, _ in STEEP)]
    cell = derive.Cell.parse("\n".join(lines))
    kernel = derive.compile(cell, target=target, dtype="float64")
    cotangent = np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3)
    inputs = {name: np.full((1, 1, 3), at) for name, _, at in (*STEEP, ("k", "", 0.0))}
    run_ = kernel.forward({}, inputs, np.zeros((1, 3)))
    outputs = {f"y_{name}": cotangent for name, _, _ in STEEP}
    gradient = kernel.backward(run_, outputs | {"inside": cotangent}).inputs
    assert not gradient["k"].any()
    names = {n: getattr(torch, n) for n in ("sqrt", "log", "log1p", "abs", "tanh")}
    for name, text, at in STEEP:
        v = torch.full((1, 1, 3), at, dtype=torch.float64, requires_grad=True)
        eval(text, {**names, name: v}).backward(torch.from_numpy(cotangent))
        assert np.array_equal(gradient[name], v.grad.numpy(), equal_nan=True), (name, gradient)
