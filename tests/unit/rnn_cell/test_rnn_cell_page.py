"""docs/reference/rnn_cell.md is what its classes write."""

from __future__ import annotations

import rnn_cell_page

from derive import rnn_cell
from derive.rnn_cell.base import RNNCell


def test_the_page_is_what_the_classes_write() -> None:
    assert rnn_cell_page.PAGE.read_text() == rnn_cell_page.page(), (
        "python tests/helpers/rnn_cell_page.py"
    )


def test_every_cell_is_on_the_page() -> None:
    wrappers = {rnn_cell.MultiRNNCell, rnn_cell.DropoutWrapper, rnn_cell.ResidualWrapper}
    wrappers |= {rnn_cell.InputProjectionWrapper, rnn_cell.OutputProjectionWrapper}
    wrappers |= {rnn_cell.EmbeddingWrapper}
    public = [getattr(rnn_cell, name) for name in rnn_cell.__all__]
    cells = {c for c in public if isinstance(c, type) and issubclass(c, RNNCell)}
    shown = {type(cell) for cell in rnn_cell_page.CELLS.values()}
    assert shown == cells - wrappers - {RNNCell}


def test_every_name_is_on_the_page() -> None:
    page = rnn_cell_page.PAGE.read_text()
    hidden = {"Pulled", "RNNCell"}
    assert all(f"{name}(" in page for name in set(rnn_cell.__all__) - hidden)
