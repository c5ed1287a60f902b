"""Functions and derivatives of both targets are within their bounds over the whole range."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from derive import targets
from derive.symbolic.functions import RULES
from derive.verification import accuracy, bends
from derive.verification.ulp import REALS

TARGETS = targets.usual() if shutil.which("cc") else ("numpy",)
Results = dict[tuple[str, str], np.ndarray]


def test_every_function_of_the_language_is_measured() -> None:
    of_one = {name for name, rule in RULES.items() if rule.public and rule.arity == 1}
    assert of_one <= set(accuracy.TEXTS)
    used = " ".join(accuracy.TEXTS.values())
    assert all(f"{name}(" in used for name, rule in RULES.items() if rule.public)
    assert set(accuracy.TEXTS) == set(accuracy.SLOPES) <= set(accuracy.VALUES)
    assert set(accuracy.TEXTS) == set(bends.BENDS)


@pytest.mark.parametrize("tag", list(REALS))
def test_functions_and_derivatives_are_within_their_bounds_in_both_targets(
    capsys: pytest.CaptureFixture[str], tag: str
) -> None:
    found = accuracy.figures(TARGETS, tags=(tag,))
    with capsys.disabled():
        print(f"\n{accuracy.text(found)}")
    assert {(f.function, f.kind, f.target) for f in found} == {
        (name, kind, target)
        for name in accuracy.TEXTS
        for kind in accuracy.KINDS
        for target in TARGETS
    }
    assert [f for f in found if not f.ok] == []


def at(values: np.ndarray, where: np.ndarray, factor: float) -> np.ndarray:
    found = values.copy()
    found[where] *= values.dtype.type(factor)
    return found


#: Faults that were there: (function, kind, what it does to the results at v).
FAULTS: dict[str, tuple[str, str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "gelu 4 % off at -5": ("gelu", "value", lambda y, v: at(y, v == -5, 1.04)),
    "gelu' 3 % off at -6": ("gelu", "slope", lambda y, v: at(y, v == -6, 1.03)),
    "silu(-90) is 0": ("silu", "value", lambda y, v: at(y, v == -90, 0.0)),
    "silu(-inf) is NaN": ("silu", "value", lambda y, v: np.where(v == -np.inf, np.nan, y)),
    "softsign(inf) is NaN": ("softsign", "value", lambda y, v: np.where(v == np.inf, np.nan, y)),
    "tanh(NaN) is 1": ("tanh", "value", lambda y, v: np.where(np.isnan(v), 1, y)),
    "elu(-0) is 0": ("elu", "value", lambda y, v: np.where(v == 0, abs(y), y)),
    "softsign' negated": ("softsign", "slope", lambda y, v: -y),
    "tanh' at 9 is off by 4u": ("tanh", "slope", lambda y, v: np.where(v > 9, y + 4 * 2**-24, y)),
    "hard_sigmoid cancels": ("hard_sigmoid", "value", lambda y, v: v / 6 + 0.5),
    "relu'(0) is 1/2": ("relu", "slope", lambda y, v: np.where(v == 0, 0.5, y)),
    "tanh'' has the other sign": ("tanh", "bend", lambda y, v: -y),
    "gelu'' 3 % off at -0.7518": ("gelu", "bend", lambda y, v: at(y, v < -0.7, 1.03)),
    "v**-1.5'' overflows": ("pow_m3half", "bend", lambda y, v: np.where(v < 1e-9, np.inf, y)),
    "pow_m2 vanishes": ("pow_m2", "value", lambda y, v: np.where(v > 1.9e19, 0, y)),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_is_found_in_the_target_that_has_it(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    name, kind, wrong = FAULTS[fault]
    right = measured()

    def results_of(target: str, tag: str, arguments: np.ndarray) -> Results:
        found = dict(right)
        if target == "numpy":
            found[kind, name] = wrong(found[kind, name], arguments).astype(arguments.dtype)
        return found

    monkeypatch.setattr(accuracy, "results_of", results_of)
    monkeypatch.setattr(accuracy, "TEXTS", {name: accuracy.TEXTS[name]})
    found = accuracy.figures(("numpy", "c"), tags=("f32",))
    failed = {(f.target, f.kind) for f in found if not f.ok}
    assert ("numpy", kind) in failed
    assert failed <= {("numpy", kind), ("c", kind)}  # the other disagrees at infinity
    assert "FAILED" in accuracy.text(found)


_measured: Results = {}


def measured() -> Results:
    """What the NumPy target computes in float32; without the results that need a looser bound."""
    if not _measured:
        arguments = accuracy._arguments("f32")
        _measured.update(accuracy.results_of("numpy", "f32", arguments))
    return _measured


def test_every_looser_bound_is_in_the_docs_with_its_reason() -> None:
    page = (Path(__file__).parents[3] / "docs/explanation/accuracy.md").read_text()
    for name, rules in accuracy.LOOSER.items():
        for rule in rules:
            shown = name + "'" * accuracy.KINDS.index(rule.kind)
            if name == "pow_tenth":
                shown = "v**0.1"
            rows = [line for line in page.splitlines() if line.startswith("|") and shown in line]
            assert any(rule.why in row for row in rows), (shown, rule.why)
            assert rule.units < math.inf or rule.high < 1e-20
