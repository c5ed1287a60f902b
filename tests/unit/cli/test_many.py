"""Work in several processes, and what becomes of it where one of them dies."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from derive.cli import many
from derive.errors import CellError, CellErrors, DeriveError, Place

#: Whether this process is the first that works on the item.
FIRST = (
    "(lambda p: not p.exists() and (p.write_text('') or True))(__import__('pathlib').Path({!r}))"
)


def _worked(items: list[str]) -> list[object]:
    return many.each("working", eval, items, lambda item: f"item {item[:3]}", 2)


def test_what_a_process_that_was_killed_worked_on_is_done_again(tmp_path: Path) -> None:
    first = FIRST.format(str(tmp_path / "here"))
    dies = f"{first} and __import__('os').kill(__import__('os').getpid(), 9)"
    assert _worked(["1 + 1", dies, "2 + 2", "3 + 3"]) == [2, False, 4, 6]


def test_an_item_that_ends_its_process_twice_is_an_error_that_names_it() -> None:
    with pytest.raises(DeriveError, match=r"item __i: .* ended twice without a result") as error:
        _worked(["1 + 1", "__import__('os')._exit(3)"])
    assert error.value.hint == "--jobs 1"


def test_an_exception_of_another_process_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        _worked(["1 + 1", "1 / 0"])


def test_every_error_can_be_sent_to_another_process() -> None:
    place = Place("a.cell", 1, 2, "h' = 1")
    one = CellError("wrong", place=place, facts=("a fact",), hint="a hint")
    for error in (one, CellErrors((one, CellError("wrong too")))):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
        assert (again.what, again.place, again.facts, again.hint) == (
            error.what, error.place, error.facts, error.hint,
        )  # fmt: skip
