"""Where a cell has kinks: an array compared with its own maximum is equal to it somewhere."""

from __future__ import annotations

import pytest

import derive
from derive.verification.kinks import kinks_of


def _kinks(condition):
    text = f"""\
cell c
input x: I
state h: H
param u: H
q = tanh(W @ x + h)
h' = where({condition}, 2 * q, 0.1 * h)
output h'
"""
    return [kink.function for kink in kinks_of(derive.Cell.parse(text).step.program)]


@pytest.mark.parametrize(
    "condition", ["q == max(q)", "q >= max(q)", "min(q) >= q", "-q < -max(q)", "max(q) != q"]
)
def test_a_comparison_with_ones_own_maximum_is_a_kink_where_two_are_the_largest(condition):
    assert _kinks(condition) == ["max"]


@pytest.mark.parametrize(
    "condition, function",
    [
        ("q < u", "less"),
        ("q == h", "equal"),
        ("h >= max(q)", "less_equal"),
        ("-q < max(q)", "less"),
        ("2 * q < max(q)", "less"),
    ],
)
def test_any_other_comparison_is_a_kink_where_both_sides_meet(condition, function):
    assert function in _kinks(condition)
