"""Random legal cells through every target, against the plain interpreter."""

from __future__ import annotations

import pytest
import random_cells
from cases import BOUND, LENGTHS, check_agreement, forward, make, worst
from test_c_target import kernel_of, poisoned  # noqa: F401 - a fixture

from derive import pipeline
from derive.cell import Cell
from derive.errors import CellError

SIZES = {"I": 3, "H": 5, "P": 2}


def cell_of(seed: int) -> Cell | None:
    """None where the random text is no cell, which the front end said."""
    try:
        return Cell.parse(random_cells.text(seed))
    except CellError:
        return None


def learned(seed: int) -> Cell:
    """A cell in which much depends on parameters alone."""
    return Cell.parse(random_cells.shared_text(seed))


def test_most_random_texts_are_cells() -> None:
    assert sum(cell_of(seed) is not None for seed in range(100)) > 80


# Sums over units of squares and exponentials of each other: some ten times as many roundings.
SLACK = 1000.0


@pytest.mark.parametrize("block", range(10))
def test_numpy_agrees_on_random_cells(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        if cell := cell_of(seed):
            kernel = pipeline.compile(cell, "numpy", "float64")
            check_agreement(kernel, make(cell, LENGTHS, seed % 2 == 1, seed, SIZES), SLACK)


#: Products that are shared by gates, of width 1, and sums of them that are copied into a stack.
SUMS = {
    "width 1": """\
cell c
state h: 1
state m: 1
param W: 1 x 1, U: 1 x 1, V: 1 x 1
v = sigmoid(W @ m + U @ h)
z = sigmoid(W @ h + U @ v)
g = sigmoid(V @ h + U @ v)
h' = maximum(h, g)
m' = z
output m'
""",
    "copied": """\
cell c
state h: P
param b: H, W: P x H, U: P x P, V: P x P, A: P x P, k: P
g = U @ h + V @ (W @ b) + h
h' = A @ h + U @ g + k
output h', g
""",
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_lie_where_their_products_lay_only_if_they_are_as_long(name: str) -> None:
    cell = Cell.parse(SUMS[name])
    for lengths in (None, LENGTHS):
        kernel = pipeline.compile(cell, "numpy", "float64")
        check_agreement(kernel, make(cell, lengths, False, 0, SIZES), SLACK)


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_c_agrees_on_random_cells(seed: int) -> None:
    if cell := cell_of(seed):
        kernel = kernel_of(cell, "float64")
        check_agreement(kernel, make(cell, LENGTHS, seed % 2 == 1, seed, SIZES), SLACK)


@pytest.mark.parametrize("block", range(4))
def test_numpy_agrees_where_much_depends_on_parameters_alone(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        kernel = pipeline.compile(learned(seed), "numpy", "float64")
        case = make(learned(seed), LENGTHS, seed % 2 == 1, seed, SIZES, 0.7)
        check_agreement(kernel, case, SLACK)


@pytest.mark.parametrize("seed", range(1000, 1008))
def test_c_agrees_where_much_depends_on_parameters_alone(seed: int) -> None:
    """In chunks of a step or two, and in pieces: sums wait for the last of them."""
    kernel = kernel_of(learned(seed), "float64", "-DDK_CHUNK_ROWS=4")
    case = make(learned(seed), LENGTHS, seed % 2 == 1, seed, SIZES, 0.7)
    check_agreement(kernel, case, SLACK)
    grads = [
        kernel.backward(forward(kernel, case, remat=remat), case.d_outputs, case.d_states)
        for remat in (None, "time")
    ]
    assert worst(grads[1].params, grads[0].params) < SLACK * BOUND["float64"]


def test_c_can_express_every_cell_in_which_much_depends_on_parameters_alone() -> None:
    for seed in range(2000, 2025):
        pipeline.emit(learned(seed), "c")
