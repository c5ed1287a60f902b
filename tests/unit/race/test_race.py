"""Races: tasks, sizes, trials that are stopped and go on, verdicts, reports."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive.cli.main import status
from derive.cli.select import size_of
from derive.errors import ArgumentError, DeriveError, TrialError
from derive.race import Task, files, run, trial, verdict
from derive.race.check import check
from derive.race.executors import opened
from derive.race.run import Race
from derive.race.sizes import model_of, params_of, sizes_of
from derive.race.task import task_of
from derive.race.trial import Outcome
from derive.train import Batch
from derive.train.model import metrics

MADE = ("adding", "copy", "parity", "dyck", "oscillator", "selective")
CARRIED = ("digits", "permuted_digits", "charlm")


# --- tasks ------------------------------------------------------------------------------------


def answers(name: str, batch: Batch) -> Any:
    """What is right, read off x by other means than those that made it."""
    x, y = np.asarray(batch.x), np.zeros_like(batch.y)
    for row in range(x.shape[1]):
        own = x[:, row]
        if name == "adding":
            y[row, 0] = sum(value for value, mark in own if mark == 1)
        elif name == "copy":
            said = [s for s in own if s < 8]
            y[:, row] = [8] * (len(own) - len(said)) + said
        elif name == "selective":
            said = [s for s in own if s < 8]
            y[:, row] = [0] * (len(own) - len(said)) + said
        elif name == "parity":
            for t in range(len(own)):
                begin = max([k for k in range(t + 1) if own[k, 1]], default=0)
                y[t, row] = own[begin : t + 1, 0].sum() % 2
        elif name == "dyck":
            text = ""
            for t, symbol in enumerate(own):
                text = (text + "([)]"[symbol]).replace("()", "").replace("[]", "")
                y[t, row] = {"(": 0, "[": 1, "": 2}[text[-1:]]
                assert ")" not in text and "]" not in text and len(text) <= 8
    return y


@pytest.mark.parametrize("name", [name for name in MADE if name != "oscillator"])
def test_what_should_come_out_follows_from_what_goes_in(name: str) -> None:
    task = task_of(name)
    batch = task.draw(np.random.default_rng(3), 20)
    np.testing.assert_allclose(batch.y, answers(name, batch))


@pytest.mark.parametrize("name", MADE + CARRIED)
def test_a_task_fits_a_model_and_is_the_same_each_time(name: str) -> None:
    task = task_of(name)
    one, two = (task.draw(np.random.default_rng(0), 8) for _ in range(2))
    for a, b in ((one.x, two.x), (one.y, two.y)):
        assert (np.asarray(a) == np.asarray(b)).all()
    cell = derive.cells.rnn()
    sizes = sizes_of(cell, task, {}, params=None, width=4)
    model = model_of(cell, task, sizes, target="numpy")
    outputs, _ = model.predict(one)
    assert task.metric in metrics(outputs, one)
    # A model that knows nothing is no better than what needs no recurrence, or hardly.
    judged = metrics(model.predict(task.judge[0])[0], task.judge[0])[task.metric]
    assert judged > 0.9 * task.without[0] > task.solved


def test_a_task_is_not_judged_by_what_it_is_trained_on() -> None:
    task = task_of("digits")
    seen = {x.tobytes() for x in np.moveaxis(task.draw(np.random.default_rng(0), 4000).x, 1, 0)}
    judged = [x.tobytes() for x in np.moveaxis(np.asarray(task.judge[0].x), 1, 0)]
    assert len(judged) == 359 and len(seen & set(judged)) <= 2  # images that come twice


def test_a_task_takes_options() -> None:
    assert np.shape(task_of("adding:steps=7").judge[0].x)[0] == 7
    assert np.shape(task_of("copy:delay=3:length=2").judge[0].x)[0] == 7


OWN = """
import os
from dataclasses import replace
import numpy as np
from derive.race import Batch, Task

def draw(random, rows):
    x = random.normal(size=(4, rows, 1))
    return Batch(x, x.cumsum(axis=0))

mine = Task("mine", "sums", draw, (draw(np.random.default_rng(9), 50),), inputs=1, outputs=1,
            metric="squared error", solved=1e-3, without=(1.5, "the last number"), steps=30, rows=8)

def made():
    return mine

def raises(): return [][0]

def ends(): raise SystemExit(3)

def tired(random, rows):
    tired.count += 1
    if tired.count > 3:
        raise Odd(1, 2)
    return draw(random, rows)

class Odd(Exception):
    def __init__(self, one, two): super().__init__("no more data")

def dies(random, rows):
    tired.count += 1
    if tired.count > 3:
        os._exit(1)
    return draw(random, rows)

def stops():
    tired.count = 0
    return replace(mine, draw=tired)

def kills():
    tired.count = 0
    return replace(mine, draw=dies)

number = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.py"
    path.write_text(OWN)
    return path


def test_ones_own_task_is_raced(own: Path) -> None:
    assert task_of(f"{own}:mine").name == task_of(f"{own}:made").name == "mine"


WRONG_TASKS: dict[str, tuple[str, str]] = {
    "no such name": ("ading", "hint: --task adding"),
    "no such option": ("adding:delay=3", "'delay=3' is no option of adding"),
    "no number": ("copy:delay=x", "'delay=x' is no option of copy"),
    "a number that is no ASCII": ("adding:steps=²", "'steps=²' is no option of adding"),
    "zero": ("adding:steps=00", "'steps=00' is no option of adding"),
    "too few steps for two halves": ("adding:steps=1", "--task adding:steps=2"),
    "more symbols than steps": ("selective:steps=3", "--task selective:steps=6"),
    "longer than the text": ("charlm:steps=999999", "steps of charlm cannot be 999999"),
    "longer than memory": ("parity:steps=999999999", "it is from 1 to 10,000"),
    "one symbol": ("copy:symbols=1", "it is from 2 to 1,000"),
    "no bracket": ("dyck:depth=99999", "depth of dyck cannot be 99999"),
    "a file alone": ("nowhere.py", "--task nowhere.py:my_task"),
    "a function that raises": ("{own}:raises", "def raises"),
    "a function that ends the process": ("{own}:ends", "SystemExit: 3"),
    "no file": ("nowhere.py:mine", "there is no file nowhere.py"),
    "no task in the file": ("{own}:number", "is int, and no Task"),
    "nothing of that name": ("{own}:nothing", "and no Task"),
}


@pytest.mark.parametrize("name", WRONG_TASKS)
def test_a_wrong_task_is_told(name: str, own: Path) -> None:
    text, said = WRONG_TASKS[name]
    with pytest.raises(ArgumentError) as error:
        task_of(text.format(own=own))
    assert said in str(error.value)


def test_a_file_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(ArgumentError, match="ZeroDivisionError"):
        task_of(f"{tmp_path / 'bad.py'}:mine")


def a_task(**changed: Any) -> Task:
    batch = Batch(np.zeros((2, 1, 1)), np.zeros((2, 1, 1)))
    given: dict[str, Any] = {
        "name": "t", "what": "", "draw": lambda random, rows: batch, "judge": (batch,),
        "inputs": 1, "outputs": 1, "metric": "squared error", "solved": 0.1, "without": (1.0, ""),
    }  # fmt: skip
    return Task(**(given | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"symbols": 3}, "either inputs or symbols"),
        ({"inputs": None}, "either inputs or symbols"),
        ({"metric": "accuracy"}, "no metric 'accuracy'"),
        ({"judge": ()}, "no batch to judge by"),
        ({"judge": (3,)}, "no batch to judge by"),
        ({"judge": 3}, "a tuple of batches"),
        ({"outputs": 0}, "outputs of a task is a positive integer"),
        ({"inputs": 1.5}, "inputs of a task is a positive integer"),
        ({"steps": True}, "steps of a task is a positive integer"),
        ({"draw": 3}, "draw of a task is a function"),
        ({"solved": math.nan}, "solved of a task is a number"),
        ({"without": 3}, "without of a task is a number and what reaches it"),
        ({"name": 3}, "name of a task is text"),
        ({"metric": "error"}, "y holds numbers"),
    ],
)
def test_a_task_that_contradicts_itself_is_told(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        a_task(**changed)


BAD: dict[str, tuple[dict[str, Any], Any, str]] = {
    "no batch": ({}, 3, "it is int"),
    "an x of another width": ({}, ((2, 4, 3), (2, 4, 1)), "inputs=3"),
    "an x of two axes": ({}, ((2, 4), (2, 4, 1)), r"x is \[T, B, 1\]"),
    "fewer rows": ({}, ((2, 3, 1), (2, 3, 1)), "x has 3 rows"),
    "no steps": ({}, ((0, 4, 1), (0, 4, 1)), "x is empty"),
    "a y of another shape": ({}, ((2, 4, 1), (2, 4)), "y is"),
    "words": ({}, Batch(np.full((2, 4, 1), "a"), np.zeros((2, 4, 1))), "x is no array of numbers"),
    "NaN": ({}, Batch(np.full((2, 4, 1), np.nan), np.zeros((2, 4, 1))), "no finite number"),
    "weights of another shape": ({}, ((2, 4, 1), (2, 4, 1), (2, 4, 1)), "weights are"),
    "lengths beyond the end": (
        {}, Batch(np.zeros((2, 4, 1)), np.zeros((2, 4, 1)), lengths=[1, 2, 3, 1]), "lengths are"
    ),
    "resets of another shape": (
        {}, Batch(np.zeros((2, 4, 1)), np.zeros((2, 4, 1)), resets=[1, 0]), "resets are"
    ),
    "resets of unequal rows": (
        {}, Batch(np.zeros((2, 4, 1)), np.zeros((2, 4, 1)), resets=[[1], [0, 1]]),
        "resets is no array of numbers",
    ),
    "numbers as symbols": ({"inputs": None, "symbols": 3}, ((2, 4), (2, 4, 1)), "x is"),
    "a symbol too many": (
        {"inputs": None, "symbols": 3}, Batch(np.full((2, 4), 3), np.zeros((2, 4, 1))), "symbols=4"
    ),
    "a class too many": (
        {"metric": "bits"}, Batch(np.zeros((2, 4, 1)), np.full((2, 4), 1)), "outputs=2"
    ),
    "numbers as classes": ({"metric": "bits"}, ((2, 4, 1), (2, 4)), "which are integers"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_batch_that_does_not_fit_is_told_before_anything_runs(name: str) -> None:
    changed, drawn, said = BAD[name]
    batch = Batch(*map(np.zeros, drawn)) if isinstance(drawn, tuple) else drawn
    judged = (Batch(np.zeros((2, 1), int), np.zeros((2, 1, 1))),) if "symbols" in changed else ()
    if "metric" in changed:
        judged = (Batch(np.zeros((2, 1, 1)), np.zeros((2, 1), int)),)
    given = {**changed, "draw": lambda random, rows: batch}
    with pytest.raises(ArgumentError, match=said):
        check(a_task(**given, **({"judge": judged} if judged else {})), 4)


def test_what_is_judged_by_is_checked_too() -> None:
    judge = Batch(np.zeros((2, 1, 1)), np.zeros((2, 1, 3)))
    with pytest.raises(ArgumentError, match=r"judge\[0\] of task t does not fit"):
        check(a_task(judge=(judge,), draw=lambda random, rows: judge), 1)


def test_a_task_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text(OWN)
    (tmp_path / "main.py").write_text("from beside_it import mine")
    assert task_of(f"{tmp_path / 'main.py'}:mine").name == "mine"
    assert str(tmp_path) not in sys.path


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["lstm", "janet", "rnn", "gru:reset=before", "min_gru", "ran"])
@pytest.mark.parametrize("name", ["adding", "copy"])
def test_widths_give_about_the_wanted_number_of_parameters(spec: str, name: str) -> None:
    cell, task = derive.cells.from_spec(spec), task_of(name)
    sizes = sizes_of(cell, task, {}, params=5000, width=1)

    def count(longer: int) -> int:
        longest = {**sizes, "H": sizes["H"] + longer}
        return model_of(cell, task, longest, target="numpy").size

    assert count(0) == params_of(cell, task, sizes)
    assert all(abs(count(0) - 5000) <= abs(count(by) - 5000) for by in (-1, 1))


def test_a_further_dimension_has_to_be_given() -> None:
    cell = derive.cells.from_spec("lstm:projection=true")
    with pytest.raises(ArgumentError, match="2 free dimensions") as error:
        sizes_of(cell, task_of("adding"), {}, params=2000, width=1)
    assert "--size P=4" in str(error.value)
    sizes = sizes_of(cell, task_of("adding"), {"P": 4}, params=2000, width=1)
    assert sizes["P"] == 4 and sizes["I"] == 2


@pytest.mark.parametrize("name", ["deltanet", "mamba", "slstm", "hyper_lstm", "s4d"])
def test_the_hint_about_further_dimensions_works_as_typed(name: str) -> None:
    cell, task = derive.cells.from_spec(name), task_of("adding:steps=3")
    with pytest.raises(ArgumentError, match="free dimensions") as error:
        sizes_of(cell, task, {}, params=2000, width=1)
    words = str(error.value).partition("hint: ")[2].split()
    given = dict(size_of(word) for word in words if "=" in word)
    sizes = sizes_of(cell, task, given, params=2000, width=1)
    model = model_of(cell, task, sizes, target="numpy")
    assert model.size == params_of(cell, task, sizes) and abs(model.size - 2000) < 200
    _, gradients = model.gradients(task.draw(np.random.default_rng(0), 4))
    assert set(gradients) == set(model.params)


def test_what_cannot_be_matched_is_said(own: Path) -> None:
    race = a_race(own, width=16, sizes=(("H", 3),), cells={"rnn": derive.cells.rnn()}, params=900)
    (said,) = run.unmatched(race)
    assert "rnn is not matched: 19 parameters at H=3 I=1, where 900 were wanted" in said
    assert run.unmatched(a_race(own, width=32)) == run.unmatched(a_race(own, match=False)) == []


def test_a_cell_whose_input_is_as_wide_as_its_state_gets_a_lift() -> None:
    cell = derive.Cell.parse("cell own\ninput x: H\nstate h: H\nh' = tanh(U @ h + x)\noutput h'")
    task = task_of("adding")
    model = model_of(cell, task, sizes_of(cell, task, {}, params=None, width=6), target="numpy")
    assert model.params["lift"].shape == (2, 6)


TWO = """cell two
input x: I, m: N x D
state h: H
h' = tanh(W @ x + U @ h + sum(V @ m, N))
param V: N x H x D
output h'
"""


def test_each_of_several_inputs_is_made_of_the_tasks_by_a_matrix() -> None:
    cell, task = derive.Cell.parse(TWO), task_of("adding")
    sizes = sizes_of(cell, task, {"I": 3, "N": 2, "D": 4}, params=None, width=5)
    assert sizes == {"I": 3, "N": 2, "D": 4, "V": 2, "H": 5}
    plain = sizes_of(cell, task, {"N": 2, "D": 4}, params=None, width=5)
    assert plain["I"] == 2  # as wide as the task's, as of a cell with one input
    model = model_of(cell, task, sizes, target="numpy")
    shapes = {name: model.params[name].shape for name in ("lift_x_l0", "lift_m_l0")}
    assert shapes == {"lift_x_l0": (3, 2), "lift_m_l0": (2, 4, 2)}
    assert model.size == params_of(cell, task, sizes)
    batch = task.draw(np.random.default_rng(0), 3)
    _, gradients = model.gradients(batch)
    assert all(np.abs(gradients[name]).max() > 0 for name in shapes)
    # The same by hand: what the matrices make of the task's vectors, given to the cell itself.
    kernel = derive.compile(cell, target="numpy")
    own = {name.removesuffix("_l0"): a for name, a in model.params.items() if "_l0" in name}
    x = np.asarray(batch.x, np.float32)
    given = {
        "x": x @ own.pop("lift_x").T, "m": np.einsum("ndv,tbv->tbnd", own.pop("lift_m"), x)
    }  # fmt: skip
    output = kernel.forward(own, given).output[-1]
    wanted = output @ model.params["readout"] + model.params["readout_bias"]
    np.testing.assert_allclose(model.predict(batch)[0], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cell a\nstate h: H\nh' = U @ h\noutput h'", "has no inputs"),
        ("cell a\ninput x: H, m: H once\nstate h: H\nh' = x + m + h\noutput h'", "without 'once'"),
        ("cell a\ninput x: I, m: H x H x H\nstate h: H\nh' = W @ x + sum(sum(m, H), H) + h\n"
         "output h'", "three axes"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_raced_are_told(text: str, said: str) -> None:
    try:
        cell = derive.Cell.parse(text)
    except DeriveError:
        cell = derive.Cell.parse(text.replace("H x H x H", "H x K x L").replace(
            "sum(sum(m, H), H)", "sum(sum(m, L), K)"))  # fmt: skip
    with pytest.raises(ArgumentError, match=said):
        sizes_of(cell, task_of("adding"), {}, params=None, width=3)


def test_a_cell_with_no_free_dimension_has_one_size() -> None:
    given = {"H": 3, "I": 2}
    assert sizes_of(derive.cells.rnn(), task_of("adding"), given, params=9000, width=7) == given


RELU = "cell own\ninput x: I\nstate h: H\nh' = relu(W @ x + U @ h)\noutput h'"


# --- trials -----------------------------------------------------------------------------------


def a_race(own: Path, **changed: Any) -> Race:
    cells = {"lstm": derive.cells.lstm(), "janet": derive.cells.janet()}
    given: dict[str, Any] = {
        "cells": cells, "tasks": (f"{own}:mine",), "seeds": 2, "width": 4, "target": "numpy",
        "rates": (1e-2, 1e-3),
    }  # fmt: skip
    return Race(**(given | changed))


def a_trial(own: Path, **changed: Any) -> trial.Trial:
    return replace(run.trials_of(a_race(own))[0], **changed)


def test_a_trial_gives_the_same_each_time(own: Path) -> None:
    one, two = trial.run(a_trial(own)), trial.run(a_trial(own))
    assert one.curve == two.curve and one.curve[0][0] == 0 and one.curve[-1][0] == 30
    assert one.final == one.curve[-1][1] < one.curve[0][1]
    assert trial.run(a_trial(own, seed=1)).curve != one.curve


def test_divergence_ends_a_trial_and_is_said(own: Path) -> None:
    text = "cell grows\ninput x: I\nstate h: H\nh' = 1e30 * (W @ x) * exp(h)\noutput h'"
    outcome = trial.run(a_trial(own, cell=text))
    assert outcome.diverged and outcome.final == math.inf
    with np.errstate(all="ignore"):
        outcome = trial.run(a_trial(own, cell=RELU, rate=1e30))
    assert outcome.diverged and outcome.final == outcome.curve[-1][1] < math.inf


def test_outcomes_are_files_and_come_back(own: Path, tmp_path: Path) -> None:
    outcome = trial.run(a_trial(own))
    path = tmp_path / "outcome.json"
    files.save(outcome, path)
    again = files.load(path)
    assert again is not None and again.curve == outcome.curve and again.final == outcome.final
    assert files.load(tmp_path / "nothing.json") is None
    never = replace(outcome, final=math.inf, curve=((0, math.nan), (2, 1.0)))
    files.save(never, path)
    assert "null" in path.read_text() and "NaN" not in path.read_text()
    known = files.load(path)
    assert (
        known is not None and known.final == math.inf and known.curve == ((0, math.inf), (2, 1.0))
    )
    for text in ("{", "[1]", '{"final": 1}'):
        path.write_text(text)
        with pytest.raises(ArgumentError, match="is no outcome of a trial"):
            files.load(path)
    with pytest.raises(ArgumentError, match="cannot be written"):
        files.save(outcome, tmp_path / "nowhere" / "outcome.json")


def test_a_key_is_of_the_work_and_not_of_its_name(own: Path) -> None:
    key = a_trial(own).key
    assert a_trial(own, label="other").key == key
    assert len({a_trial(own, **c).key for c in ({}, {"seed": 1}, {"rate": 1.0}, {"rows": 3})}) == 4
    own.write_text(OWN.replace("size=(4,", "size=(5,"))
    assert a_trial(own).key != key


# --- races ------------------------------------------------------------------------------------


class Here:
    """An executor that runs what it is given, and counts."""

    def __init__(self, most: int = 1000) -> None:
        self.count, self.most = 0, most

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        if self.count > self.most:
            raise KeyboardInterrupt
        value = function(*arguments)
        return type("Answer", (), {"done": lambda self: True, "result": lambda self: value})()


def raced(
    monkeypatch: pytest.MonkeyPatch, race: Race, folder: Path, engine: Here, resume: bool = False
) -> run.Results:
    monkeypatch.setattr(run.executors, "opened", lambda text, jobs: nullcontext(engine))
    return run.run(race, folder, resume=resume)


def test_a_race_searches_rates_and_then_runs_every_seed(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, race = Here(), a_race(own)
    results = raced(monkeypatch, race, tmp_path / "race", engine)
    assert engine.count == run.count_of(race) == 2 * (2 + 2)
    for place, tried in results.searched.items():
        assert set(tried) == {1e-2, 1e-3}
        assert results.rates[place] == min(tried, key=tried.__getitem__)
    for outcomes in results.outcomes.values():
        assert [outcome.trial["seed"] for outcome in outcomes] == [0, 1]
        assert all(o.trial["rate"] == results.rates[o.trial["label"], o.trial["task"]]
                   for o in outcomes)  # fmt: skip


def test_a_race_that_was_stopped_goes_on_where_it_was(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race, folder = a_race(own), tmp_path / "race"
    whole = raced(monkeypatch, race, tmp_path / "whole", Here())
    with pytest.raises(KeyboardInterrupt):
        raced(monkeypatch, race, folder, Here(most=5))
    with pytest.raises(ArgumentError, match="trials of an earlier race"):
        raced(monkeypatch, race, folder, Here())
    engine = Here()
    results = raced(monkeypatch, race, folder, engine, resume=True)
    assert engine.count == 8 - 5
    assert {k: [o.curve for o in v] for k, v in results.outcomes.items()} == {
        k: [o.curve for o in v] for k, v in whole.outcomes.items()
    }
    # One cell more: that one alone is run.
    more = a_race(own, cells={**race.cells, "rnn": derive.cells.rnn()})
    engine = Here()
    raced(monkeypatch, more, folder, engine, resume=True)
    assert engine.count == 4


def test_a_race_that_is_killed_leaves_whole_trials(own: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "derive", "race", "lstm", "janet", "--task", f"{own}:mine",
        "--seeds", "3", "--width", "4", "--rates", "0.01", "--target", "numpy", "--jobs", "2",
        "-o", str(tmp_path / "race"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while not list((tmp_path / "race").glob("trial-*")) and time.monotonic() - began < 120:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in (tmp_path / "race").glob("trial-*.json"):
        assert files.load(path) is not None
    done = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (task,) = found["tasks"].values()
    assert [cell["count"] for cell in task["cells"].values()] == [3, 3]
    assert not [path for path in os.listdir(tmp_path / "race") if path.endswith(".part")]


def test_a_race_that_is_killed_leaves_no_process_behind(own: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom derive.race.executors import opened\n"
        "if __name__ == '__main__':\n    with opened('local', 1) as engine:\n"
        "        print(engine.submit(os.getpid).result(), flush=True)\n        time.sleep(60)\n"
    )
    (tmp_path / "holds.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "holds.py")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    began = time.monotonic()
    while Path(f"/proc/{worker}").exists() and time.monotonic() - began < 60:
        state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.02)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("name", "said"),
    [("stops", "Odd: no more data"), ("kills", "a process died that ran trials")],
)
def test_a_trial_that_fails_ends_the_race_and_says_why(
    name: str, said: str, own: Path, tmp_path: Path
) -> None:
    race = a_race(own, tasks=(f"{own}:{name}",), cells={"rnn": derive.cells.rnn()}, seeds=1)
    with pytest.raises(TrialError, match=said):
        run.run(race, tmp_path / "race", resume=False)


def test_a_race_keeps_others_out_of_its_folder(tmp_path: Path) -> None:
    with (
        files.opened(tmp_path / "race"),
        pytest.raises(ArgumentError, match="another race is under way"),
        files.opened(tmp_path / "race"),
    ):
        pass
    (tmp_path / "race" / f".x.json.{'0' * 32}.part").write_text("of a race that was killed")
    (tmp_path / "race" / ".film.part").write_text("of another program, in the user's folder")
    with files.opened(tmp_path / "race"):
        assert sorted(os.listdir(tmp_path / "race")) == [".film.part", ".lock"]


def test_the_file_of_a_task_may_have_data_classes(tmp_path: Path) -> None:
    text = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from derive.race import Batch, Task

@dataclass
class Width:
    width: int

def draw(random, rows):
    return Batch(np.zeros((2, rows, 1)), np.zeros((2, rows, 1)))

mine = Task("mine", "zeros", draw, (draw(None, 2),), Width(1).width, "squared error", 0.1,
            (1.0, "saying 0"), inputs=1)
"""
    (tmp_path / "tasks.py").write_text(text)
    assert task_of(f"{tmp_path / 'tasks.py'}:mine").outputs == 1


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ArgumentError, match="cannot be written"),
        files.opened(tmp_path / "file" / "race"),
    ):
        pass


def test_paths_are_sent_that_any_process_finds(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine, race = Here(), a_race(own, tasks=(f"{own.name}:mine",), seeds=1, rates=(0.01,))
    sent: list[Any] = []
    whole = engine.submit
    engine.submit = lambda f, *given: sent.append(given) or whole(f, *given)  # type: ignore
    results = raced(monkeypatch, race, Path("race"), engine)
    assert {folder for _, folder in sent} == {str(tmp_path / "race")}
    assert {one.task for one, _ in sent} == {f"{own}:mine"}
    assert [o.trial["task"] for v in results.outcomes.values() for o in v] == ["tasks.py:mine"] * 2
    raced(monkeypatch, replace(race, tasks=(f"{own}:mine",)), Path("race"), engine, resume=True)
    assert len(sent) == 2  # typed in another way, it is the same task


def test_executors_are_named() -> None:
    with opened("local", 1):
        pass
    for name in ("ray", "slurm"):
        with pytest.raises(ArgumentError, match=f"no executor '{name}'"), opened(name, 1):
            pass


@pytest.mark.parametrize("text", ["dask", "slurm:folder"])
def test_a_missing_engine_says_how_to_get_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("distributed", "submitit"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ArgumentError, match="pip install"), opened(text, 1):
        pass


# --- verdicts ---------------------------------------------------------------------------------


def outcomes(finals: list[float], solved: int | None = None) -> list[Outcome]:
    return [Outcome(final, 10, 1.0, solved=solved, solved_seconds=0.5) for final in finals]


def test_the_paired_test_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for count in (2, 3, 5, 20):
        differences = list(random.normal(0.3, size=count))
        assert abs(verdict.paired_t(differences) - stats.ttest_1samp(differences, 0).pvalue) < 1e-9
    assert verdict.paired_t([0.0, 0.0]) == verdict.paired_t([5.0]) == 1.0


def test_seeds_that_all_differ_by_the_same_are_judged_by_their_number() -> None:
    assert verdict.paired_t([2.0, 2.0]) == 0.5
    assert verdict.paired_t([math.log(0.3 / 0.6), math.log(0.1 / 0.2)]) == 0.5
    assert verdict.paired_t([-1.0] * 8) == 0.5**7


def test_a_cell_that_diverges_is_not_better() -> None:
    diverged = [Outcome(0.01, 10, 1.0, diverged=True) for _ in range(5)]
    found = verdict.verdicts(
        {("first", "t"): outcomes([0.10, 0.12, 0.11, 0.09, 0.10]), ("own", "t"): diverged}
    )
    assert [v.what for v in found] == [verdict.WORSE] and found[0].wins == 0


def test_holms_correction() -> None:
    # Holm 1979: the least of k is multiplied by k, the next by k - 1; none is less than one before.
    assert verdict.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert verdict.holm([0.9, 0.5]) == [1.0, 1.0] and verdict.holm([]) == []


def test_verdicts_say_what_seeds_cannot_explain() -> None:
    finals = [0.10, 0.12, 0.11, 0.09, 0.10]
    same, half = (
        [f * r for f, r in zip(finals, (0.9, 1.1, 1, 1.2, 0.85), strict=True)],
        [f * r for f, r in zip(finals, (0.5, 0.52, 0.48, 0.5, 0.51), strict=True)],
    )
    found = verdict.verdicts(
        {
            ("first", "t"): outcomes(finals),
            ("same", "t"): outcomes(same),
            ("half", "t"): outcomes(half),
            ("double", "t"): outcomes([2 * f + 0.01 * k for k, f in enumerate(finals)]),
        }
    )
    assert [(v.cell, v.what) for v in found] == [
        ("same", verdict.NO_DIFFERENCE), ("half", verdict.BETTER), ("double", verdict.WORSE)
    ]  # fmt: skip
    assert found[1].wins == 5 and abs(found[1].ratio - 0.5) < 1e-12 and found[1].p < 0.001


def test_a_perfect_score_has_no_logarithm_and_is_compared() -> None:
    both = {("a", "t"): outcomes([0.0] * 8), ("b", "t"): outcomes([0.0] * 8)}
    found = verdict.verdicts(both | {("c", "t"): outcomes([math.inf] * 8)})
    assert found[1].what == verdict.WORSE
    assert found[0].what == verdict.NO_DIFFERENCE and found[0].ratio == 1


def test_a_summary_is_of_the_middle() -> None:
    own = verdict.summary([*outcomes([1.0, 2.0, 3.0], 40), *outcomes([4.0, 100.0])])
    assert own.final == 3 and own.quartiles == (2.0, 4.0)
    assert own.solved == 40 and own.solved_count == 3
    assert verdict.summary([*outcomes([1.0], 40), *outcomes([2.0, 3.0])]).solved is None
    three = [*outcomes([1.0], 100), *outcomes([1.0], 500), *outcomes([1.0], 1000)]
    assert verdict.summary([*three, *outcomes([2.0, 3.0])]).solved == 1000
    assert verdict.summary(outcomes([1.0])).quartiles == (1.0, 1.0)
    assert verdict.summary(outcomes([1.0, 2.0, math.inf])).quartiles == (1.5, math.inf)
    assert verdict.summary(outcomes([math.inf] * 3)).quartiles == (math.inf, math.inf)


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    engine = Here()
    monkeypatch.setattr(run.executors, "opened", lambda text, jobs: nullcontext(engine))
    yield tmp_path


QUICK = ("--seeds", "2", "--width", "4", "--rates", "0.01", "--target", "numpy", "--steps", "4")


def test_fixed_arrays_come_from_files(
    in_folder: Path, own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("own.cell").write_text(
        "cell own\ninput x: I\nstate h: H\nfixed A: H x H\nh' = tanh(W @ x + A @ h)\noutput h'\n"
    )
    words = ["race", "own.cell", "rnn", "--task", f"{own}:mine", *QUICK]
    assert status(words) == 2
    assert "hint: --fixed A=A.npy" in capfd.readouterr().err
    np.save("A.npy", np.eye(6))
    words += ["--fixed", "A=A.npy"]
    assert status(words) == 0
    table = capfd.readouterr().out
    assert "H=6 " in table and "I=1 " in table
    before = set(os.listdir("race"))
    assert status([*words, "--resume"]) == 0 and set(os.listdir("race")) == before
    np.save("A.npy", np.eye(6) / 2)  # another array is other work
    assert status([*words, "--resume"]) == 0 and set(os.listdir("race")) > before


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("A", "names no array and file"),
        (
            "A=missing.npy",
            "missing.npy cannot be read: No such file or directory\n  hint: numpy.sav",
        ),
        (
            "A=nann.npy",
            "nann.npy cannot be read: No such file or directory\n  hint: --fixed A=nan.n",
        ),
        ("A=.", ". cannot be read: Is a directory\n"),
        ("A=text.npy", "text.npy holds no array of numbers"),
        ("A=nan.npy", "no finite number"),
        ("A=1e300.npy", "no finite number in float32\n  A[0, 0] is 1e+300"),
        ("A=complex.npy", "elements are complex128"),
        ("A=words.npy", "elements are <U3"),
        ("A=many.npz", "it holds several arrays"),
        ("A=huge.npy", "huge.npy holds no array of numbers"),
        (
            "A=nan.npy --fixed A=eye.npy",
            "fixed array A is given 2 times\n  files: nan.npy, eye.npy",
        ),
        (
            "A=eye.npy --size H=4",
            "--size H=4, and a fixed array of own has H=3\n  A is [H, H], eye.",
        ),
        ("A=narrow.npy", "fixed array A has the wrong shape"),
        ("B=nan.npy", "no cell of the race has a fixed array 'B'"),
    ],
)
def test_fixed_arrays_that_do_not_fit_are_told(
    option: str, said: str, in_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("own.cell").write_text(
        "cell own\ninput x: I\nstate h: H\nfixed A: H x H\nh' = tanh(W @ x + A @ h)\noutput h'\n"
    )
    Path("text.npy").write_text("no array")
    np.save("nan.npy", np.full((3, 3), np.nan))
    np.save("narrow.npy", np.zeros((3, 2)))
    np.save("eye.npy", np.eye(3))
    np.save("1e300.npy", np.full((3, 3), 1e300))
    np.save("complex.npy", np.eye(3) * 1j)
    np.save("words.npy", np.full((3, 3), "0.5"))
    np.savez("many.npz", A=np.eye(3))
    with open("huge.npy", "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
    words = ["race", "own.cell", "--task", "adding", *QUICK, "--fixed", *option.split()]
    assert status(words) == 2
    assert said in capfd.readouterr().err
    assert not Path("race").exists()


def test_a_race_of_one_width_names_the_cells_that_a_file_makes_another(
    in_folder: Path, own: Path
) -> None:
    text = "cell own\ninput x: I\nstate h: H\nfixed A: H x H\nh' = tanh(W @ x + A @ h)\noutput h'\n"
    cells = {"rnn": derive.cells.rnn(), "own": derive.Cell.parse(text)}
    np.save("A.npy", np.eye(8))
    race = Race(cells, (f"{own}:mine",), width=4, match=False, fixed=(("A", "A.npy"),))
    assert run.unmatched(race) == [
        "own is not matched: its fixed arrays tell H=8, where the width is 4"
    ]
    assert run.unmatched(replace(race, width=8)) == []
    assert run.unmatched(replace(race, sizes=(("H", 8),))) == []
    # Where the width is of another dimension, the file tells none.
    text = (
        "cell two\ninput x: I\nstate h: N x D\nfixed A: N x N\n"
        "h' = tanh(h * sum(A) + sum(x))\noutput h'\n"
    )
    assert run.unmatched(replace(race, cells={"two": derive.Cell.parse(text)})) == []


def test_the_order_of_fixed_arrays_does_not_change_the_key(in_folder: Path, own: Path) -> None:
    np.save("A.npy", np.eye(3))
    np.save("B.npy", np.zeros((3, 3)))
    both = (("A", "A.npy"), ("B", "B.npy"))
    assert a_trial(own, fixed=both).key == a_trial(own, fixed=both[::-1]).key
    assert a_trial(own, fixed=both).key != a_trial(own, fixed=(("A", "B.npy"), ("B", "A.npy"))).key


def test_a_finished_race_is_read_again(
    in_folder: Path, own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = f"{own}:mine"
    assert status(["race", "lstm", "janet", "--task", task, *QUICK]) == 0
    said = capfd.readouterr().out
    found = derive.race.load("race")
    assert str(found) + "\n" == said
    assert found.tasks == (task,) and list(found.cells) == ["lstm", "janet"]
    assert found.cells["janet"] == derive.cells.janet()
    assert [each.cell for each in found.verdicts] == ["janet"]
    assert len(found.finals("lstm", task)) == 2
    shown = found._repr_html_()
    assert "<table>" in shown and "janet" in shown and "<script" not in shown
    assert repr(found) == f"<race of lstm / janet in {task}: print it, race>"
    with pytest.raises(ArgumentError, match="no trials of gru"):
        found.finals("gru", task)


def test_a_race_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds no finished race"):
        derive.race.load(tmp_path)
    (tmp_path / "trial-0.json").write_text("{}")
    with pytest.raises(ArgumentError, match="--resume"):
        derive.race.load(tmp_path)
    for text in ("[]", "{", '{"tasks": 3}', '{"tasks": {"a": {}}}'):
        (tmp_path / "race.json").write_text(text)
        with pytest.raises(ArgumentError, match=r"race\.json is no race"):
            derive.race.load(tmp_path)
    with pytest.raises(ArgumentError, match="is read from its folder") as told:
        derive.race.load(tmp_path / "race.json")
    assert f"derive.race.load('{tmp_path}')" in str(told.value)
    (tmp_path / "race.json").unlink()
    (tmp_path / "race.json").mkdir()
    with pytest.raises(ArgumentError, match="cannot be read: Is a directory") as told:
        derive.race.load(tmp_path)
    assert told.value.hint is None  # what cannot be read need not be wrong
    with pytest.raises(ArgumentError, match="cannot be read: Is a directory") as told:
        files.load(tmp_path / "race.json")
    assert told.value.hint is None
    with pytest.raises(DeriveError, match="is a path, not int"):
        derive.race.load(3)


def test_the_command_prints_tables_and_writes_reports(
    in_folder: Path, own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["race", "lstm", "janet", "--task", f"{own}:mine,parity:steps=5", *QUICK]
    assert status(words) == 0
    said = capfd.readouterr().out
    assert "without recurrence 1.5 (the last number)" in said
    assert said.count("janet and lstm: no difference seen") == 2 or "than lstm" in said
    written = set(os.listdir("race"))
    assert {"race.json", "race.html", "curves.svg", "cell-0.html", "cell-1.html"} <= written
    page = Path("race/race.html").read_text()
    assert "<svg" in page and "cell-1.html" in page
    assert "src=" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert len(page) < 300_000
    found = json.loads(Path("race/race.json").read_text())
    lstm = found["tasks"][f"{own}:mine"]["cells"]["lstm"]
    assert lstm["count"] == 2 and len(lstm["outcomes"]) == 2
    assert status([*words, "--resume", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["verdicts"] == found["verdicts"]


def test_cells_of_one_name_are_told_apart(
    in_folder: Path, own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["race", "gru", "gru:reset=before", "--task", f"{own}:mine", *QUICK]
    assert status(words) == 0
    assert "gru_reset_before" in capfd.readouterr().out
    Path("lstm.cell").write_text("vary lstm: forget_bias = 1\n")
    assert status(["race", "lstm", "lstm", "--task", f"{own}:mine", *QUICK, "-o", "two"]) == 2
    assert "lstm stands twice" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "ading"], "no task is called 'ading'"),
        (["--rates", "0"], "--rates are positive numbers"),
        (["--rates", "x"], "--rates are positive numbers"),
        (["--target", "fortran"], "fortran"),
        (["--size", "H"], "'H' is no width"),
        (["--size", "P=3"], "no cell of the race has a dimension P"),
        (["--match", "width", "--params", "9"], "cannot have the same width and a given number"),
    ],
)
def test_wrong_use_is_told_before_anything_runs(
    words: list[str], said: str, in_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert status(["race", "lstm", "janet", *words]) == 2
    assert said in capfd.readouterr().err and not Path("race").exists()


def test_without_matplotlib_there_are_no_curves(
    in_folder: Path, own: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert status(["race", "lstm", "--task", f"{own}:mine", *QUICK]) == 0
    assert "pip install matplotlib" in capfd.readouterr().err
    assert not Path("race/curves.svg").exists() and "<svg" not in Path("race/race.html").read_text()


def test_without_scikit_learn_the_digits_say_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DeriveError, match="pip install scikit-learn"):
        task_of("digits")
