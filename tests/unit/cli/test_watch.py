"""Watching a file: a round for each save, changes since the last good version."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import derive
from derive.cli import main, watched_file
from derive.errors import CellError, VerificationError

TEXT = "cell a\ninput x: I\nstate h: H\nh' = tanh(W @ x + u * h)\noutput h'\n"


class Saves:
    """Called between two looks at the file: makes the next save."""

    def __init__(self, path: Path, texts: list[str | None]) -> None:
        self.path, self.texts = path, texts

    def __call__(self, seconds: float) -> None:
        if not self.texts:
            raise KeyboardInterrupt
        text = self.texts.pop(0)
        if text is None:
            self.path.unlink()
        else:
            self.path.write_text(text)


def rounds(path: Path, texts: list[str | None], work=lambda cell: None) -> list[watched_file.Round]:
    found = []
    with pytest.raises(KeyboardInterrupt):
        for each in watched_file.rounds(path, work, Saves(path, texts)):
            found.append(each)
    return found


def test_there_is_a_round_for_each_save_that_changed_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.cell"
    path.write_text(TEXT)
    found = rounds(path, [TEXT, TEXT.replace("tanh", "relu"), TEXT.replace("tanh", "relu")])
    assert [bool(each.change) for each in found] == [False, True]
    assert found[0].change is None and found[1].change.equations[0].name == "h_next"


def test_changes_are_told_from_the_last_good_version(tmp_path: Path) -> None:
    path = tmp_path / "a.cell"
    path.write_text(TEXT)
    found = rounds(path, ["cell a\nh' = (", None, TEXT.replace("u * h", "h * u")])
    assert isinstance(found[1].error, CellError) and "never closed" in str(found[1].error)
    assert "cannot be read" in str(found[2].error)
    assert found[3].error is None and found[3].change is not None and not found[3].change


def test_a_version_that_fails_its_verification_is_not_good(tmp_path: Path) -> None:
    path = tmp_path / "a.cell"
    path.write_text(TEXT)

    def work(cell: derive.Cell) -> None:
        if "relu" in cell.to_text():
            raise VerificationError("wrong")

    found = rounds(path, [TEXT.replace("tanh", "relu"), TEXT.replace("tanh", "sin")], work)
    assert str(found[1].error) == "wrong"
    assert found[2].change.equations[0].before.startswith("tanh")


def test_a_file_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    found = rounds(tmp_path / "a.cell", [TEXT])
    assert found[0].error is not None and found[1].cell is not None


def test_the_command_writes_files_tells_changes_and_ends_quietly(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    path = tmp_path / "a.cell"
    path.write_text(TEXT)
    made = []
    monkeypatch.setattr(
        "derive.cli.generated_files.generate", lambda cells, *a, **k: made.append(cells[0])
    )
    monkeypatch.setattr(watched_file.time, "sleep", Saves(path, [TEXT.replace("tanh", "sin")]))
    monkeypatch.setattr(watched_file.rounds, "__defaults__", (watched_file.time.sleep,))
    assert main.status(["watch", str(path)]) == 0
    out, err = capsys.readouterr()
    assert [cell.name for cell in made] == ["a", "a"]
    assert "+ h_next = sin(W @ x + u * h)" in out and "no longer watched" in err


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "derive", "watch", str(tmp_path / "missing.cell")],
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal: a job in the background is started with the signal ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert "cannot be read" in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in err
