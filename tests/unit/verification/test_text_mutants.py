"""Edits of generated text: which there are, what becomes of them, and that none survives."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive.cli import main
from derive.errors import VerificationError
from derive.verification import edits_c, session, text_mutants, wide_calls
from derive.verification.apart import Ended, Killed, apart, rearm, say
from derive.verification.edits import Edit, drawn, possible
from derive.verification.mutants import Fate
from derive.verification.text_mutants import Outcome, Task, edits_of, outcome

CELL = derive.Cell.parse(
    "cell small\ninput x: I\nstate h: H\nf = sigmoid(W @ x + v * h + b)\n"
    "h' = f * h + (1 - f) * tanh(U @ h)\noutput h'\n"
)
NUMPY, C = Task(CELL, "numpy"), Task(CELL, "c")
PYTHON = derive.emit(CELL, "numpy")["numpy/small.py"]
SOURCE = derive.emit(CELL, "c")


def edit_of(path: str, text: str, old: str, new: str) -> Edit:
    assert text.count(old) >= 1
    start = text.index(old)
    return Edit(path, start, start + len(old), new, "by hand")


# --- which edits there are ----------------------------------------------------------------------


def test_every_kind_of_edit_is_found_in_python() -> None:
    found = possible({"numpy/small.py": PYTHON})
    assert {edit.kind for edit in found} >= {
        "comparison", "condition", "operator", "term", "sign", "constant", "index", "name",
        "statement", "choice", "call", "function", "transposed",
    }  # fmt: skip
    assert len(found) == len(set(found))


def test_every_kind_of_edit_is_found_in_c_and_its_header() -> None:
    kinds = Counter((edit.path, edit.kind) for edit in possible(SOURCE))
    wanted = {
        "comparison", "condition", "operator", "sign", "constant", "index", "name", "statement",
        "choice",
    }  # fmt: skip
    for path in ("c/small.c", "c/derive_kernels.h"):
        assert {kind for at, kind in kinds if at == path} >= wanted - {"sign"}
    assert {kind for _, kind in kinds} == wanted


def test_every_edit_of_python_parses_and_changes_something() -> None:
    files = {"numpy/small.py": PYTHON}
    before = ast.dump(ast.parse(PYTHON))
    for edit in possible(files):
        assert ast.dump(ast.parse(edit.applied(files)["numpy/small.py"])) != before, edit


def test_no_edit_of_c_begins_in_a_comment_a_string_an_include_or_an_if() -> None:
    for path, text in SOURCE.items():
        spared = r"/\*.*?\*/|\"[^\"\n]*\"|^#(?:if|include|else|endif)[^\n]*"
        inside = bytearray(len(text))
        for match in re.finditer(spared, text, re.DOTALL | re.MULTILINE):
            inside[match.start() : match.end()] = b"\1" * (match.end() - match.start())
        for edit in possible(SOURCE):
            if edit.path == path:
                assert not inside[edit.start], edit.diff(SOURCE)


def test_the_edits_of_c_are_those_of_the_forms_that_it_has() -> None:
    text = (
        "static double f(const double *a, const double *b, size_t n, size_t m)\n{\n"
        "    double sum = 0.5;\n"
        "    for (size_t i = 0; i < n && a != NULL; ++i) {\n"
        "        sum += -a[i] * (m > 2 ? b[i] : 1.0);\n    }\n    return sum;\n}\n"
    )
    files = {"c/one.c": text}
    lines = {edit.diff(files)[1][2:] for edit in edits_c.edits(files)}
    assert lines >= {
        "double sum = 0.5005;",
        "for (size_t i = 1; i < n && a != NULL; ++i) {",
        "for (size_t i = 0; i <= n && a != NULL; ++i) {",
        "for (size_t i = 0; i < m && a != NULL; ++i) {",
        "for (size_t i = 0; i < n || a != NULL; ++i) {",
        "for (size_t i = 0; i < n && a == NULL; ++i) {",
        "sum -= -a[i] * (m > 2 ? b[i] : 1.0);",
        "sum += a[i] * (m > 2 ? b[i] : 1.0);",
        "sum += -a[(i) + 1] * (m > 2 ? b[i] : 1.0);",
        "sum += -b[i] * (m > 2 ? b[i] : 1.0);",
        "sum += -a[i] + (m > 2 ? b[i] : 1.0);",
        "sum += -a[i] * (m >= 2 ? b[i] : 1.0);",
        "sum += -a[i] * (m > 3 ? b[i] : 1.0);",
        "sum += -a[i] * (m > 2 ? 1.0 : b[i]);",
        "sum += -a[i] * (m > 2 ? b[i] : 1.001);",
        ";",
    }
    assert not any(line.startswith("static double f(") for line in lines)


def test_one_seed_draws_the_same_edits_and_kinds_take_turns() -> None:
    every = possible({"numpy/small.py": PYTHON})
    assert drawn(every, 30, 1) == drawn(every, 30, 1) != drawn(every, 30, 2)
    kinds = {edit.kind for edit in every}
    assert {edit.kind for edit in drawn(every, len(kinds), 1)} == kinds
    assert len(drawn(every, 10**6, 1)) == len(every)
    assert drawn((), 5, 1) == ()


# --- a process of its own -----------------------------------------------------------------------


def _twice(number: int) -> int:
    return 2 * number


def _fails() -> None:
    raise KeyError("what")


def _loops() -> None:
    while True:
        pass


def _loops_after_a_while() -> None:
    rearm(20)
    rearm(0.2)
    _loops()


def _says_and_crashes() -> None:
    say("the first")
    say("the second")
    os.kill(os.getpid(), signal.SIGSEGV)


def _refuses() -> None:
    raise VerificationError("what is wrong", hint="what helps")


def test_what_work_apart_was_doing_when_it_crashed_is_told() -> None:
    with pytest.raises(Ended, match="it crashed: SIGSEGV, in the second"):
        apart(_says_and_crashes, seconds=None)
    say("nothing, for nobody waits for this process")


def test_an_error_of_ours_comes_out_of_work_apart_as_it_is() -> None:
    with pytest.raises(VerificationError, match="what is wrong") as error:
        apart(_refuses, seconds=20)
    assert error.value.hint == "what helps"


def test_work_apart_gives_its_result_or_says_how_it_ended() -> None:
    assert apart(_twice, 21, seconds=20) == 42
    with pytest.raises(RuntimeError, match="KeyError: 'what'"):
        apart(_fails, seconds=20)
    with pytest.raises(Ended, match="it crashed: SIGSEGV"):
        apart(os.kill, 0, signal.SIGSEGV, seconds=20)  # its own group alone
    with pytest.raises(Ended, match="it ended with status 3"):
        apart(os._exit, 3, seconds=20)
    with pytest.raises(Ended, match="did not end"):
        apart(_loops, seconds=0.5)
    with pytest.raises(Ended, match="did not end"):
        apart(_loops_after_a_while, seconds=200)
    with pytest.raises(Killed, match="it was killed"):
        apart(os.kill, 0, signal.SIGKILL, seconds=20)


# --- what becomes of them -----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option, at some of the sizes: what fewer checks notice all of them do."""
    every = session.places
    monkeypatch.setattr(session, "places", lambda step: every(step)[:28:4])


def test_no_edit_of_numpy_text_survives() -> None:
    found = [outcome(NUMPY, edit) for edit in edits_of(NUMPY, 26)]
    assert [o.diff for o in found if o.fate is Fate.SURVIVED] == []
    assert sum(o.fate is Fate.KILLED for o in found) >= 18


def test_no_edit_of_c_text_survives() -> None:
    found = [outcome(C, edit) for edit in edits_of(C, 18)]
    assert [o.diff for o in found if o.fate is Fate.SURVIVED] == []
    assert sum(o.fate is Fate.KILLED for o in found) >= 6


def test_an_edit_of_a_comment_makes_the_same_machine_code() -> None:
    edit = edit_of("c/small.c", SOURCE["c/small.c"], "/* One call of one thread", "/* 1 call")
    found = outcome(C, edit)
    assert (found.fate, found.why) == (Fate.EQUIVALENT, "the same machine code")


def test_another_order_of_a_sum_is_rounding_and_other_fresh_memory_not_even_that() -> None:
    path, total = "numpy/small.py", "d_a_f_all.sum(axis=(0, 1))"
    found = outcome(NUMPY, edit_of(path, PYTHON, total, "d_a_f_all.sum(axis=1).sum(axis=0)"))
    assert found.why == "the same but for rounding in 96 other calls"
    assert found.fate is Fate.EQUIVALENT
    found = outcome(NUMPY, edit_of(path, PYTHON, "np.empty(", "np.zeros("))
    assert (found.fate, found.why) == (Fate.EQUIVALENT, "the same bits in 96 other calls")


def test_an_edit_that_verification_lets_pass_survives_if_a_result_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A verification that looks at nothing: the other calls find what it missed."""
    judge = text_mutants._Judge(NUMPY)
    wrong = edit_of("numpy/small.py", PYTHON, "1.0 - ", "1.001 - ")
    with monkeypatch.context() as patch:
        patch.setattr(judge._session, "kernels", lambda kernels, ways: None)
        found = judge.outcome(wrong)
    assert found.fate is Fate.SURVIVED and found.why.startswith("off by ")
    assert found.diff[0].count("1.0 - ") and found.diff[1].count("1.001 - ")
    assert outcome(NUMPY, wrong).fate is Fate.KILLED


def test_an_edit_that_crashes_or_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = text_mutants._judge(NUMPY)
    monkeypatch.setattr(judge, "_patience", 0.5)
    first = '    with np.errstate(all="ignore"):\n'
    for new, why in (
        ("    import os; os.kill(os.getpid(), 11)\n", "it crashed: SIGSEGV"),
        ("    while True: pass\n", "it did not end"),
    ):
        found = judge.outcome(edit_of("numpy/small.py", PYTHON, first, new + first))
        assert (found.fate, found.why) == (Fate.KILLED, why)


def test_an_edit_whose_process_is_killed_from_outside_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge, deaths = text_mutants._judge(NUMPY), [0]

    def killed(work: Any, *arguments: Any, seconds: float) -> Any:
        if deaths[0]:
            deaths[0] -= 1
            return apart(os.kill, 0, signal.SIGKILL, seconds=seconds)
        return apart(work, *arguments, seconds=seconds)

    monkeypatch.setattr(text_mutants, "apart", killed)
    wrong = edit_of("numpy/small.py", PYTHON, "1.0 - ", "1.001 - ")
    for count, why in ((0, "forward, numpy"), (1, "forward, numpy"), (2, "it was killed")):
        deaths[0] = count
        found = judge.outcome(wrong)
        assert found.fate is Fate.KILLED and found.why.startswith(why)


def test_text_that_fails_without_an_edit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"numpy/small.py": PYTHON.replace("1.0 - ", "1.001 - ")}
    monkeypatch.setattr(text_mutants.pipeline, "emit", lambda cell, target: wrong)
    with pytest.raises(VerificationError, match="fail without any edit"):
        text_mutants._Judge(NUMPY)


def test_results_are_compared_to_the_last_bit_and_beyond_rounding() -> None:
    one = {"a": np.array([1.0, np.nan]), "b": np.zeros(2)}
    assert wide_calls.apart_by(one, {"a": np.array([1.0, np.nan]), "b": np.zeros(2)}) == (0.0, "")
    off, name = wide_calls.apart_by(one, {"a": np.array([1.0 + 2e-16, np.nan]), "b": np.zeros(2)})
    assert 0 < off < 1e-15 and name == "a"
    for other in (np.array([1.0, 2.0]), np.array([np.inf, np.nan]), np.ones(3), np.ones(2, "f")):
        assert wide_calls.apart_by(one, {**one, "a": other}) == (np.inf, "a")
    assert wide_calls.apart_by(one, {"a": one["a"]}) == (np.inf, "b")


def test_the_other_calls_vary_every_option() -> None:
    made = list(wide_calls.calls(derive.pipeline.signature(CELL), "float32", 0))
    assert len(made) == wide_calls.CALLS
    for option in ("reverse", "training", "packed"):
        assert {getattr(call, option) for call in made} == {False, True}
    for option in ("states", "lengths", "d_outputs", "d_states"):
        assert {getattr(call, option) is None for call in made} == {False, True}


# --- the command --------------------------------------------------------------------------------


def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fate: Fate, *words: str
) -> tuple[int, list[Any]]:
    path = tmp_path / "small.cell"
    path.write_text(CELL.to_text())
    tried: list[Any] = []

    def one(task: Task, edit: Edit) -> Outcome:
        tried.append((task, edit))
        files = derive.emit(task.cell, task.target)
        return Outcome(edit, edit.where(files), edit.diff(files), fate, "gradient, numpy float64")

    monkeypatch.setattr(text_mutants, "outcome", one)
    return main.status(["verify", str(path), "--jobs", "1", *words]), tried


def test_the_command_counts_fates_and_shows_what_survived(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, tried = run(monkeypatch, tmp_path, Fate.KILLED, "--mutate-text", "3", "--seed", "5")
    out = capsys.readouterr().out
    assert status == 0 and [task.target for task, _ in tried] == ["numpy"] * 3 + ["c"] * 3
    assert re.search(r"small +numpy +3 +3 +0 +0\nsmall +c +3 +3 +0 +0\n", out)
    assert "     6  gradient" in out and {task.seed for task, _ in tried} == {5}
    status, tried = run(
        monkeypatch, tmp_path, Fate.SURVIVED, "--target", "numpy", "--mutate-text", "2"
    )
    out = capsys.readouterr().out
    assert status == 1 and out.count("SURVIVED  numpy/small.py:") == 2
    for line in tried[0][1].diff(derive.emit(CELL, "numpy")):
        assert f"    {line}\n" in out


def test_the_command_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = run(monkeypatch, tmp_path, Fate.SURVIVED, "--mutate-text", "2", "--json")
    data = json.loads(capsys.readouterr().out)
    assert status == 1 and data["ok"] is False and len(data["runs"]) == 2
    assert data["runs"][0]["edits"][0]["fate"] == "survived"


def test_the_command_takes_two_hundred_edits_where_no_number_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, tried = run(monkeypatch, tmp_path, Fate.KILLED, "--target", "numpy", "--mutate-text")
    assert len(tried) == 200


def test_the_command_wants_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.status(["verify", "--mutate-text", "7"]) == 2
    assert "hint: derive verify lstm --mutate-text 7" in capsys.readouterr().err
