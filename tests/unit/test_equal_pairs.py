"""Pairs written to mislead `equal`: what it calls equal is, and what it denies is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import derive
from derive.comparison.equal import equal

sys.path.insert(0, str(Path(__file__).parents[1]))
from equal_pairs import DIFFERENT, EQUAL, VALUES

#: What stays undecided: a difference at one point, or in the thirteenth digit; parameters that
#: stand in a function by themselves, where no fit is evidence.
UNDECIDED = {
    "a bias that is positive",
    "a bias within bounds",
    "a bias before the product alone",
    "a single point",
    "nearly the same constant",
    "less and less or equal",
    "sign squared",
    "another clip",
    "a cube of a bias",
}


def verdict(pair: tuple[str, str]):
    return equal(*map(derive.Cell.parse, pair))


@pytest.mark.parametrize("name", EQUAL)
def test_cells_that_are_equal_under_a_map_are_proved_so(name: str) -> None:
    found = verdict(EQUAL[name])
    assert found.status == "equal" and found.proved
    assert found.forward is not None and found.backward is not None
    assert max(found.forward.error, found.backward.error) < 1e-9


@pytest.mark.parametrize("name", VALUES)
def test_cells_that_are_equal_but_for_gradients_or_numbers_say_where(name: str) -> None:
    found = verdict(VALUES[name])
    assert found.status in ("equal in values", "equal where both are numbers") and not found
    assert found.point is not None and found.point.wanted != found.point.got


@pytest.mark.parametrize("name", DIFFERENT)
def test_cells_that_are_not_equal_are_never_called_so(name: str) -> None:
    found = verdict(DIFFERENT[name])
    assert found.status in ("sub-case", "not equal", "undecided")
    assert (found.status == "undecided") <= (name in UNDECIDED)
