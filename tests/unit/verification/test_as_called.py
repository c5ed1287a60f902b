"""The kernels that users get are verified too, and each of these faults of them is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import derive
from derive import pipeline
from derive.kernel import Gradients, Kernel, whole
from derive.kernel.arguments import Arguments
from derive.kernel.fast.prepared_calls import Repeats
from derive.kernel.wanted import Partial
from derive.verification import Report
from derive.verification.session import Session
from derive.verification.targets import start_building

ALL = """cell every
input x: I, m: H once
state h: H = h0, c: H
param h0: H, K: 2*H x (I + H)
fixed M: H x H
u, v = split(K @ concat(x, h), 2)
c' = sigmoid(u) * c + m * tanh(v)
h' = tanh(c' + M @ h)
output h', c'
"""
#: Nothing is cut, so that repeated calls go the quick way.
LEARNED = """cell learned
input x: I
state h: H = h0, c: H
param h0: H
h' = tanh(W @ x + U @ h + c)
c' = 0.5 * c + h'
output h'
"""
ONE = LEARNED.replace("param h0: H", "param h0: 1").replace("cell learned", "cell one")
HALVES = """cell halves
input x: 2*H
state s: 2*H
a, b = split(s, 2)
u, v = split(x, 2)
s' = concat(tanh(a * u + U @ b), b * v)
output s'
"""


def reported(
    text: str,
    target: str = "numpy",
    dtypes: tuple[str, ...] = ("float64",),
    *,
    wanted: bool = False,
) -> Report:
    cell = derive.Cell.parse(text)
    session = Session(pipeline.differentiate(cell), cell.name, cell.output_keys, 0, True, None)
    built = start_building(cell, [target], dtypes, False).built()
    session.as_called(cell, built, wanted=wanted)
    return session.report()


@pytest.mark.parametrize("text", [ALL, LEARNED, ONE, HALVES], ids=["all", "learned", "one", "cut"])
def test_kernels_of_users_are_right(text: str) -> None:
    report = reported(text, dtypes=("float32", "float64"))
    assert report.ok and not report.not_run, report


def test_they_are_right_in_c_too() -> None:
    report = reported(LEARNED, "c")
    assert report.ok and {row.where.partition(":")[0] for row in report.rows} >= {"c float64"}


@pytest.mark.parametrize("text", [ALL, LEARNED, ONE, HALVES], ids=["all", "learned", "one", "cut"])
def test_gradients_that_are_asked_for_alone_are_right(text: str) -> None:
    report = reported(text, wanted=True)
    assert report.ok and not report.not_run, report
    names = derive.compile(derive.Cell.parse(text), target="numpy").signature.differentiable()
    asked = {row.where.split(": ")[-1] for row in report.rows if row.where.endswith(" alone")}
    assert asked == {f"d {name} alone" for name in names}


def test_a_gradient_of_a_start_that_is_wrong_alone_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backward = Partial.backward

    def wrong(self: Partial, *args: Any) -> Gradients:
        found = backward(self, *args)
        params = {n: a * (1 + 1e-9 * (n == "h0")) for n, a in found.params.items()}
        return Gradients(params, found.inputs, found.states)

    monkeypatch.setattr(Partial, "backward", wrong)
    report = reported(LEARNED, wanted=True)
    assert {row.where.split(": ")[-1] for row in report.rows if not row.ok} == {"d h0 alone"}
    assert reported(LEARNED).ok


def test_a_plain_cell_has_no_such_rows_and_others_have_them_in_every_report() -> None:
    assert not reported("cell c\ninput x: H\nstate h: H\nh' = tanh(h + x)\noutput h'\n").rows
    report = derive.verify(derive.Cell.parse(LEARNED), targets="numpy", quick=True)
    assert report.ok and any(row.check == "as called" for row in report.rows)


def _starts_from_zero_in_a_repeated_call(patch: pytest.MonkeyPatch) -> None:
    made: Any = Repeats.__init__

    def init(self: Any, arguments: Any) -> None:
        made(self, arguments)
        self._learned = ()

    patch.setattr(Repeats, "__init__", init)


def _starts_from_zero(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Arguments, "_start", lambda self, slot, axes, params: self._zero_state(slot, axes)
    )


def _resets_streams_to_zero(patch: pytest.MonkeyPatch) -> None:
    made: Any = Arguments.of_reset

    def reset(self: Any, axes: Any, state: Any, params: Any) -> Any:
        return {name: 0 * array for name, array in made(self, axes, state, params).items()}

    patch.setattr(Arguments, "of_reset", reset)


def _forgets_the_gradient_of_the_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Arguments, "_learned", lambda self, given: ())


def _adds_it_where_a_state_is_given(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Arguments, "_learned", lambda self, given: tuple(self.signature.learned))


def _cuts_at_another_place(patch: pytest.MonkeyPatch) -> None:
    slices: Any = whole.WholeBackend._slices

    def turned(self: Any, sizes: Any) -> Any:
        found = dict(slices(self, sizes))
        found["x"] = [
            (part, at) for (part, _), (_, at) in zip(found["x"], found["x"][::-1], strict=True)
        ]
        return found

    patch.setattr(whole.WholeBackend, "_slices", turned)


def _takes_one_step_of_what_is_given_once(patch: pytest.MonkeyPatch) -> None:
    gradients: Any = Kernel._gradients

    def first(self: Any, call: Any, d_params: Any, d_inputs: Any, d_states: Any) -> Any:
        for name in self.signature.once:
            d_inputs[name] = d_inputs[name][:1]
        return gradients(self, call, d_params, d_inputs, d_states)

    patch.setattr(Kernel, "_gradients", first)


def _returns_the_gradient_of_a_fixed_array(patch: pytest.MonkeyPatch) -> None:
    gradients: Any = Kernel._gradients

    def more(self: Any, call: Any, d_params: Any, *others: Any) -> Any:
        found = gradients(self, call, dict(d_params), *others)
        found.params["M"] = np.zeros((2, 2))
        return found

    patch.setattr(Kernel, "_gradients", more)


@pytest.mark.parametrize(
    ("damage", "text", "where"),
    [
        (_starts_from_zero_in_a_repeated_call, LEARNED, "states left out: again"),
        (_starts_from_zero, LEARNED, "states left out: output h_next"),
        (_starts_from_zero, LEARNED, "steps, states left out: output h_next"),
        (_starts_from_zero, LEARNED, "states left out, remat: output h_next"),
        (_resets_streams_to_zero, LEARNED, "a stream, states left out: output h_next"),
        (_resets_streams_to_zero, ALL, "a stream, states given: state c"),
        (_forgets_the_gradient_of_the_start, ONE, "states left out: d h0"),
        (_adds_it_where_a_state_is_given, LEARNED, "states given: d h0"),
        (_cuts_at_another_place, HALVES, "states given: output s_next"),
        (_takes_one_step_of_what_is_given_once, ALL, "lengths, reverse: d m"),
        (_returns_the_gradient_of_a_fixed_array, ALL, "states given: names"),
    ],
)
def test_a_fault_of_them_is_noticed(
    damage: Callable[[pytest.MonkeyPatch], None], text: str, where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    damage(monkeypatch)
    failed = [row.where for row in reported(text).failures]
    assert f"numpy float64: {where}" in failed
