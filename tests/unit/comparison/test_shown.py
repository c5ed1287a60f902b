"""What a verdict and a comparison show of themselves: a line, the command's text, a notebook's."""

from __future__ import annotations

from pathlib import Path

import pytest

import derive
from derive.cli.main import status

PLAIN = "cell one\ninput x: I\nstate h: H\nh' = tanh(W @ x + U @ h + b)\noutput h'\n"
NEGATED = PLAIN.replace("tanh(W @ x + U @ h + b)", "-tanh(-(W @ x + U @ h) + b)")
SMALLER = PLAIN.replace(" + b", "")


def cells(*texts: str) -> list[derive.Cell]:
    return [derive.Cell.parse(text) for text in texts]


def test_two_cells_of_one_name_are_told_apart_in_a_verdict() -> None:
    verdict = derive.equal(*cells(PLAIN, NEGATED))
    assert (verdict.a, verdict.b) == ("one (first)", "one (second)")
    text = str(verdict)
    assert text.startswith("equal (proved): one (first) and one (second) compute the same\n")
    assert "one (second) computes one (first) with\n  W = W\n  U = U\n  b = -b\n" in text
    assert "one computes one" not in text


def test_cells_of_different_names_keep_them() -> None:
    other = NEGATED.replace("cell one", "cell other")
    assert "one and other compute the same" in repr(derive.equal(*cells(PLAIN, other)))


def test_a_verdict_is_one_line_as_repr_and_the_text_of_the_command_as_str(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = derive.equal(*cells(PLAIN, NEGATED))
    assert repr(verdict) == (
        "<Verdict: equal (proved): one (first) and one (second) compute the same>"
    )
    files = [tmp_path / "a.cell", tmp_path / "b.cell"]
    for file, text in zip(files, (PLAIN, NEGATED), strict=True):
        file.write_text(text)
    assert status(["equal", *map(str, files)]) == 0
    assert capsys.readouterr().out == f"{verdict}\n"


def test_a_comparison_is_one_line_as_repr_and_the_text_of_the_command_as_str(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = derive.diff(*cells(PLAIN, SMALLER))
    assert repr(found).startswith("<Comparison two versions of one: 1 array, 1 equation, ")
    (change,) = found.arrays
    assert repr(change) == "<Change of param b: H -> nothing>"
    assert str(found.equations[0]).splitlines()[1] == "+ h_next = tanh(W @ x + U @ h)"
    files = [tmp_path / "a.cell", tmp_path / "b.cell"]
    for file, text in zip(files, (PLAIN, SMALLER), strict=True):
        file.write_text(text)
    assert status(["diff", *map(str, files)]) == 1
    assert capsys.readouterr().out == f"{found}\n"
    assert repr(derive.diff(*cells(PLAIN, PLAIN))) == (
        "<Comparison two versions of one: nothing changed>"
    )


def test_a_notebook_shows_the_text_and_no_dataclass() -> None:
    for found in (derive.equal(*cells(PLAIN, NEGATED)), derive.diff(*cells(PLAIN, SMALLER))):
        text = str(found)
        assert found._repr_html_() == f"<pre>{text.replace('>', '&gt;').replace('<', '&lt;')}</pre>"
        assert found._repr_markdown_() == f"```text\n{text}\n```"
        assert "Verdict(" not in text and "Change(" not in text
