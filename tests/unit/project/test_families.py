"""Families with heads, matrices, masks and neurons against formulas by hand in PyTorch."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
from all_by_hand import HAND
from torch_by_hand import compare

import derive
from derive import cells
from derive.catalogue.option import to_text


def combinations(name: str) -> list[dict[str, Any]]:
    """The defaults, each option alone, and every pair."""
    single = [{key: value} for key, values in HAND[name].tried.items() for value in values]
    pairs = [{**a, **b} for a, b in itertools.combinations(single, 2) if a.keys() != b.keys()]
    return [{}, *single, *pairs]


def spec_of(name: str, given: dict[str, Any]) -> str:
    parts = ",".join(f"{key}={to_text(value)}" for key, value in given.items())
    return f"{name}:{parts}" if parts else name


def _is_large(given: dict[str, Any]) -> bool:
    return any(type(value) is int and value > 2 for value in given.values())


#: Two options at once, and the larger numbers of layers, rounds and steps, are left to -m slow.
CASES = [
    pytest.param(
        name,
        given,
        id=spec_of(name, given),
        marks=[pytest.mark.slow] if len(given) > 1 or _is_large(given) else [],
    )
    for name in HAND
    for given in combinations(name)
]
#: Compiled in every run; the others are, with -m slow.
COMPILED = ("kda", "slstm", "retnet", "comba")


@pytest.mark.parametrize(("name", "given"), CASES)
def test_values_and_gradients_are_those_of_the_formula_by_hand(
    name: str, given: dict[str, Any]
) -> None:
    cell = cells.family(name)(**given)
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    compare(kernel, HAND[name], partial(HAND[name].step, **given))
    assert derive.Cell.parse(cell.to_text()) == cell
    assert cells.from_spec(spec_of(name, given)) == cell
    assert cell.notes == () and cell.unused == ()


@pytest.mark.parametrize(
    "name",
    [n if n in COMPILED else pytest.param(n, marks=pytest.mark.slow) for n in HAND],
)
def test_the_kernel_in_c_agrees_too_where_rows_end_early(name: str) -> None:
    kernel = derive.compile(cells.family(name)(), target="c", dtype="float64")
    compare(kernel, HAND[name], HAND[name].step, np.array([4, 0, 2]))


def test_every_option_is_tried() -> None:
    for name, hand in HAND.items():
        assert tuple(hand.tried) == tuple(option.name for option in cells.options(name))
