"""Fuzzing: two minutes of it with fixed seeds, and whether it would find anything."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hints import Recorder
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from derive import pipeline, targets
from derive.cell import Cell
from derive.cli import main
from derive.errors import ArgumentError
from derive.fuzz import cells_room, child, devices_room, torch_axes, torch_cell, truth
from derive.fuzz.axes_grammar import cells_with_axes
from derive.fuzz.calls import Call, calls
from derive.fuzz.calls_room import replay
from derive.fuzz.child import Child
from derive.fuzz.fault import Fault
from derive.fuzz.grammar import Drawn, cells
from derive.fuzz.run import Finding, Outcome, fuzz, rooms_of
from derive.fuzz.running import Plan
from derive.fuzz.texts_room import TextsRoom
from derive.fuzz.truth import expect
from derive.mcu.export import exported
from derive.symbolic import functions
from derive.verification.reference import Point
from derive.verification.reference import run as run_of
from derive.verification.through_time import backpropagate, backward_of


def ran(what: str, targets: tuple[str, ...], seed: int, examples: int, **options: Any) -> Outcome:
    rooms = rooms_of([what], targets, sanitize=options.pop("sanitize", False))
    try:
        return fuzz(rooms, seed=seed, examples=examples, **options)
    finally:
        for room in rooms.values():
            room.close()


def nothing_fails(outcome: Outcome, counted: str, least: int) -> None:
    for found in outcome.findings:
        pytest.fail(f"{found.kind}\n{found.details}\n{found.cell}\n{found.case}", pytrace=False)
    assert outcome.counts[counted] >= least


# --- two minutes of it ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100, 105))
def test_random_cells_are_right_in_numpy(seed: int) -> None:
    nothing_fails(ran("cells", ("numpy",), seed, 50), "compared", 100)


@pytest.mark.parametrize("seed", range(200, 204))
def test_random_cells_are_right_in_c(seed: int) -> None:
    nothing_fails(ran("cells", ("c",), seed, 10), "compared", 15)


def test_random_cells_are_right_in_c_for_microcontrollers() -> None:
    nothing_fails(ran("cells", ("mcu",), 300, 2), "calls", 3)


def test_random_cells_are_clean_in_c_for_microcontrollers_under_sanitizers() -> None:
    nothing_fails(ran("cells", ("mcu",), 301, 2, sanitize=True), "calls", 2)


def test_random_cells_run_as_folders_for_devices() -> None:
    nothing_fails(ran("devices", (), 302, 2), "programs", 3)


def test_a_target_that_cannot_be_built_under_sanitizers_is_told() -> None:
    plain = replace(targets.row("mcu"), name="plain", flags=False)
    with (
        targets.added(plain),
        pytest.raises(ArgumentError, match="--sanitize has no way to build the target plain"),
    ):
        rooms_of(["cells"], ("plain",), sanitize=True)


def test_random_cells_are_clean_in_c_under_sanitizers() -> None:
    nothing_fails(ran("cells", ("c",), 300, 3, sanitize=True), "calls", 6)


@pytest.mark.parametrize("seed", (110, 111))
def test_random_cells_with_axes_are_right_in_numpy(seed: int) -> None:
    nothing_fails(ran("axes", ("numpy",), seed, 50), "compared", 100)


def test_random_cells_with_axes_are_right_in_c() -> None:
    nothing_fails(ran("axes", ("c",), 210, 10), "compared", 15)


def test_random_cells_with_axes_are_clean_in_c_under_sanitizers() -> None:
    nothing_fails(ran("axes", ("c",), 310, 2, sanitize=True), "calls", 3)


@pytest.mark.parametrize("seed", (400, 401))
def test_damaged_texts_are_cells_or_errors(seed: int) -> None:
    nothing_fails(ran("texts", (), seed, 150), "texts that are cells", 8)


def test_damaged_files_are_read_or_errors() -> None:
    nothing_fails(ran("files", (), 500, 150), "files", 150)


@pytest.mark.parametrize("seed", (600, 601))
def test_strange_calls_give_results_or_errors_and_the_same_in_both_targets(seed: int) -> None:
    nothing_fails(ran("calls", (), seed, 40), "strange calls refused", 20)


# --- would it find anything? ----------------------------------------------------------------


def only_finding(outcome: Outcome) -> Finding:
    (found,) = outcome.findings
    return found


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Replaces words of generated text, wherever they are."""
    emit = pipeline.emit

    def damage(target: str, old: str, new: str) -> None:
        def damaged_text(cell: Any, given: str = "c") -> dict[str, str]:
            files = emit(cell, given)
            if given != target:
                return files
            return {path: text.replace(old, new) for path, text in files.items()}

        monkeypatch.setattr(pipeline, "emit", damaged_text)

    yield damage


def test_a_wrong_function_of_numpy_is_found_and_shrunk_to_a_cell_that_needs_it(
    damaged: Callable[..., None],
) -> None:
    damaged("numpy", "np.tanh(", "1.001 * np.tanh(")
    found = only_finding(ran("cells", ("numpy",), 1, 50))
    assert found.kind in ("numpy: wrong output", "numpy: wrong last state", "numpy: wrong gradient")
    assert "tanh(" in found.cell and len(found.cell.splitlines()) <= 6, found.cell
    assert "wanted" in found.details and "kernel = derive.compile(cell, 'numpy'" in found.case


def test_the_snippet_of_a_finding_runs(damaged: Callable[..., None], tmp_path: Path) -> None:
    damaged("numpy", "np.tanh(", "1.001 * np.tanh(")
    found = only_finding(ran("cells", ("numpy",), 2, 50, shrink=False))
    path = tmp_path / "snippet.py"
    path.write_text(found.case)
    subprocess.run([sys.executable, str(path)], check=True, capture_output=True)


def test_a_call_that_kills_the_process_is_reported_with_its_cell(
    damaged: Callable[..., None],
) -> None:
    damaged("c", "return DK_OK;", "return *(volatile int *)8, DK_OK;")
    found = only_finding(ran("cells", ("c",), 3, 10, shrink=False))
    assert found.kind == "c: the process dies" and "exit status -11" in found.details
    assert found.cell.startswith("cell fuzzed")


def test_a_write_past_an_array_is_found_by_the_sanitizer(damaged: Callable[..., None]) -> None:
    damaged("c", "return DK_OK;", "return ((char *)malloc(8))[8] = 1, DK_OK;")
    found = only_finding(ran("cells", ("c",), 4, 10, shrink=False, sanitize=True))
    assert found.kind.startswith("c: a sanitizer speaks: store to address ... with insufficient")


def test_a_write_past_an_array_of_a_microcontroller_is_found_by_the_sanitizer(
    damaged: Callable[..., None],
) -> None:
    loop = "for (int t = 0; t < steps; ++t) {"
    damaged("mcu", loop, f"{loop} ((volatile char *)tape)[sizeof *tape] = 1;")
    found = only_finding(ran("cells", ("mcu",), 4, 10, shrink=False, sanitize=True))
    assert found.kind.startswith("mcu: a sanitizer speaks"), found


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("int wrong = 0;", "int wrong = 0, wrong_2;", "float32: the compiler refuses"),
        ("wrong != 0;", "wrong != 0 ? 3 : 3;", "float32: the program fails"),
        ("_step(&", "_step(1 + &", "float32: the program fails"),
    ],
)
def test_a_wrong_folder_for_a_device_is_found(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str, kind: str
) -> None:
    def edited(*args: Any, **options: Any) -> dict[str, str]:
        files = exported(*args, **options)
        return {**files, "main.c": files["main.c"].replace(old, new)}

    monkeypatch.setattr(devices_room, "exported", edited)
    found = only_finding(ran("devices", (), 4, 3, shrink=False))
    assert found.kind == kind, found
    assert "derive.mcu.export(cell, 'device', params" in found.case


def test_an_exception_of_an_export_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> dict[str, str]:
        raise KeyError("h")

    monkeypatch.setattr(devices_room, "exported", broken)
    found = only_finding(ran("devices", (), 4, 3, shrink=False))
    assert found.kind == "float32: exporting raises KeyError"


def test_text_that_does_not_compile_is_a_finding(damaged: Callable[..., None]) -> None:
    damaged("c", "return DK_OK;", "return DK_FINE;")
    assert only_finding(ran("cells", ("c",), 5, 5, shrink=False)).kind == "c: the compiler refuses"


def test_an_exception_of_the_emitter_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(cell: Any, target: str) -> dict[str, str]:
        raise KeyError("d_b")

    monkeypatch.setattr(pipeline, "emit", emit)
    found = only_finding(ran("cells", ("numpy",), 6, 5, shrink=False))
    assert found.kind == "numpy: generating raises KeyError" and "d_b" in found.details


def test_torch_is_an_oracle_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its functions are others, it disagrees with the interpreter."""
    functions = torch_cell._FUNCTIONS
    monkeypatch.setitem(functions, "tanh", functions["sigmoid"])
    found = only_finding(ran("cells", ("numpy",), 7, 50, shrink=False))
    assert found.kind == "torch disagrees with the interpreter"


def test_where_torch_has_no_number_it_says_nothing() -> None:
    """z - z is 0 in the program, and NaN in torch where z is the root of a negative number."""
    text = "cell c\ninput x: H\nstate c: H\nz = sqrt(c)\nc' = z - z + tanh(x)\noutput c'"
    sizes = {"H": 9}
    call = Call(
        Plan(), sizes, 2, 3, None, ("c",), ("c_next",), ("c",), seed=0, scale=1.0, grid=False
    )
    expected = expect(Cell.parse(text), text, call, torch=True, poles=True)
    assert (expected.given.states["c"] < 0).any()
    assert expected.compared("float64")


@pytest.mark.parametrize(
    ("where", "word", "wrong"),
    [
        (torch_axes.KEEPING, "softmax", lambda v, axis: v.softmax(axis) * 1.001),
        (torch_axes.KEEPING, "cumsum", lambda v, axis: v.flip(axis).cumsum(axis)),
        (torch_axes.DROPPING, "norm", lambda v, axis: v.abs().sum(axis)),
    ],
)
def test_torch_is_an_oracle_of_reductions_too(
    monkeypatch: pytest.MonkeyPatch, where: dict[str, Any], word: str, wrong: Any
) -> None:
    monkeypatch.setitem(where, word, wrong)
    found = only_finding(ran("axes", ("numpy",), 14, 100, shrink=False))
    assert found.kind == "torch disagrees with the interpreter" and word in found.cell


def test_every_form_of_arrays_with_axes_is_drawn() -> None:
    texts: list[str] = []

    @settings(max_examples=300, database=None, deadline=None, phases=(Phase.generate,))
    @seed(0)
    @given(cells_with_axes())
    def draw(drawn: Drawn) -> None:
        texts.append(drawn.declared)

    draw()
    forms = {
        **{name: rf"\b{name}\(" for name in functions.OVER_AXES},
        "an axis by name": r"\b(softmax|cumsum|sum|norm|logsumexp)\([^()]*, [A-Z]\)",
        "eps": r"eps=1e-3", "a slice": r"\[[^]]*:[^]]*\]", "transposed": r"\)\.T",
        "three axes": r"state \w+: \S+ x \S+ x", "a sum of widths": r": \w+ \+ ",
        "fixed": r"^fixed ", "once": r" once$", "learned": r"^state \w+: .* = \w+$",
        "a start value": r"^param .* = orthogonal", "diagonal": r"diag\(.*\) @",
    }  # fmt: skip
    missing = [n for n, p in forms.items() if not any(re.search(p, t, re.M) for t in texts)]
    assert not missing


def test_cells_of_several_gates_and_calls_with_every_pair_of_options_are_drawn() -> None:
    """What the emitters join, gates of a state and products that are known before the loop, is
    common in cells and rare in random expressions."""
    cell = Cell.parse("cell c\ninput x: I\nstate h: H\nh' = tanh(W @ x + U @ h)\noutput h'\n")
    gated, pairs = 0, set()
    options = ("ragged", "packed", "remat", "reverse", "team")

    @settings(max_examples=120, database=None, deadline=None, phases=(Phase.generate,))
    @seed(0)
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        nonlocal gated
        drawn = data.draw(cells())
        gates = re.findall(r"^\w+ = \w+\([^()]* @ \w+ \+ [^()]* @ ", drawn.declared, re.M)
        gated += len(gates) > 1
        call = data.draw(calls(cell))
        plan = call.plan
        ragged = call.lengths is not None and len(set(call.lengths)) > 1
        own = (ragged, plan.packed, plan.remat, plan.reverse, plan.threads > 1)
        pairs.update(combinations([name for name, on in zip(options, own, strict=True) if on], 2))

    draw()
    assert gated >= 15 and pairs == set(combinations(options, 2))


def test_a_result_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from derive.kernel import Kernel

    gradients = Kernel._gradients

    def fewer(self: Any, call: Any, d_params: Any, *others: Any) -> Any:
        return gradients(self, call, dict(list(d_params.items())[1:]), *others)

    monkeypatch.setattr(Kernel, "_gradients", fewer)
    found = only_finding(ran("cells", ("numpy",), 13, 20, shrink=False))
    assert found.kind == "numpy: other results are wanted"


def test_a_wrong_derivative_is_found_by_the_complex_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from derive.symbolic import functions

    rule = functions.RULES["tanh"]
    wrong = (lambda v, y: 1 - y**3,)
    rules = {**functions.RULES, "tanh": replace(rule, partials=wrong)}
    monkeypatch.setattr(functions, "RULES", rules)
    monkeypatch.setattr(cells_room, "_has_torch", lambda: False)
    outcome = ran("cells", ("numpy",), 8, 50, shrink=False)
    assert only_finding(outcome).kind == "the derived gradient is wrong"


@pytest.mark.parametrize(
    ("of", "because"),
    [
        ("tanh(exp(900 * h))", True),  # 0 times infinity
        ("1 / exp(900 * h) * exp(h)", True),
        ("exp(-((1e60 * h + x) ** 8))", True),
        ("sqrt(x ** 2) + exp(h)", False),  # 0 times infinity, and nothing overflows
    ],
)
def test_a_gradient_that_is_no_number_is_excused_where_something_overflows(
    of: str, because: bool
) -> None:
    cell = Cell.parse(f"cell c\ninput x: H\nstate h: H\nh' = {of}\noutput h'\n")
    ones, zeros = np.ones((1, 1, 2)), np.zeros((1, 1, 2))
    point = Point(
        {"H": 2}, 1, 1, {}, {"x": zeros}, {"h": ones[0]}, {cell.step.outputs[0]: ones},
        {"h": zeros[0]},
    )  # fmt: skip
    backward = backward_of(pipeline.differentiate(cell))
    with np.errstate(all="ignore"):
        found = backpropagate(backward, point, run_of(cell.step, point))
        name = "h" if because else "x"
        assert np.isnan(found[name]).all()
        assert truth._leaves_range(backward, point, name) is because


def test_an_exponential_that_overflows_inside_of_a_tanh_is_no_finding() -> None:
    text = "cell c\ninput x: H\nstate h: H\nh' = tanh(exp(9000 * h) + x)\noutput h'\n"
    plan = Plan()
    call = Call(plan, {"H": 3}, 1, 4, None, ("h",), ("h_next",), ("h",), 0, 1.0, False)
    expect(Cell.parse(text), text, call, torch=True, poles=False)


def test_a_mean_of_no_number_is_no_finding() -> None:
    text = (
        "cell c\ninput x: H\nstate h: H\nparam b: 2\nh' = tanh(h + sum(b * mean(h)))\noutput h'\n"
    )
    call = Call(Plan(), {"H": 0}, 2, 1, None, ("h",), ("h_next",), ("h",), 0, 1.0, False)
    expect(Cell.parse(text), text, call, torch=True, poles=False)


def test_a_parser_that_lets_an_exception_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from derive.language import tokens as words

    def fails(*_: Any) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(words._Scan, "attribute", fails)
    found = only_finding(ran("texts", (), 9, 300, shrink=False))
    assert found.kind == "parsing raises IndexError" and "Cell.parse(" in found.case


def test_a_target_of_its_own_opinion_is_found(damaged: Callable[..., None]) -> None:
    damaged("numpy", "np.tanh(", "1.001 * np.tanh(")
    found = only_finding(ran("calls", (), 10, 40, shrink=False))
    assert found.kind.endswith("the targets differ")
    with pytest.raises(Fault, match="the targets differ"):
        exec(found.case, {"replay": replay})


def test_a_child_that_dies_is_started_again() -> None:
    child = Child("child")
    try:
        with pytest.raises(Fault, match="the process dies"):
            child.ask({"kind": "no such kind"})
        answer = child.ask({"kind": "file", "form": "npz", "data": b""})
        assert answer["error"] is None and answer["refused"] == "ArgumentError"
    finally:
        child.close()


def test_a_child_that_gets_no_processor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where others work it was called one that does not end."""
    assert 0 < child._worked(os.getpid()) < time.monotonic() + 1
    monkeypatch.setattr(child, "_SECONDS", 0.02)
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as process:
        for worked, patience in (([0.0] * 40 + [0.5], 1e9), ([0.0] * 10**6, 3.0)):
            values = iter(worked)
            monkeypatch.setattr(child, "_PATIENCE", patience)
            monkeypatch.setattr(child, "_worked", lambda pid, values=values: next(values))
            with pytest.raises(TimeoutError):
                child._read(process, 8)
            assert patience < 1e9 or next(values, None) is None
        process.kill()


def test_one_seed_gives_the_same_texts() -> None:
    texts = []
    for _ in range(2):
        seen: list[str] = []
        room = rooms_of(["texts"], ())["texts"]
        example = room.example

        def noted(data: Any, example: Any = example, room: Any = room, seen: Any = seen) -> None:
            example(data)
            seen.append(room.cell_text())

        room.example = noted  # type: ignore[method-assign]
        fuzz({"texts": room}, seed=11, examples=20)
        texts.append(seen)
    assert texts[0] == texts[1] and len(set(texts[0])) > 10


def test_what_is_drawn_does_not_depend_on_what_is_loaded() -> None:
    """Hypothesis has found numbers in the modules of derive, and none of them is drawn."""
    found = []

    class Room(TextsRoom):
        def example(self, data: Any) -> None:
            found.append(len(providers._get_local_constants()))

    fuzz({"texts": Room()}, seed=12, examples=3)
    assert len(providers._get_local_constants()) > 0 and set(found) == {0}


# --- the command ----------------------------------------------------------------------------


def test_the_command_says_what_ran(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.status(["fuzz", "--what", "texts", "--examples", "10", "--seed", "3"]) == 0
    said = capfd.readouterr()
    assert said.out.startswith("10 texts") and said.out.endswith("nothing failed (seed 3)\n")
    assert "fuzzing 1/1 10 texts" in said.err


def test_the_command_stops_after_its_minutes(
    capfd: pytest.CaptureFixture[str], hint_recorder: Recorder
) -> None:
    assert main.status(["fuzz", "--what", "texts", "--minutes", "0.02"]) == 0
    assert "nothing failed" in capfd.readouterr().out
    hint_recorder.take()  # how many texts there were depends on the machine


def test_the_command_prints_and_writes_what_failed(
    damaged: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged("numpy", "np.tanh(", "1.001 * np.tanh(")
    path = tmp_path / "found.txt"
    words = ["fuzz", "--target", "numpy", "--examples", "50", "--seed", "1", "--out", str(path)]
    assert main.status(words) == 1
    said = capfd.readouterr().out
    for text in (said, path.read_text()):
        assert text.startswith("FAILED cells: numpy: wrong") and "    cell fuzzed\n" in text
        assert "again: derive fuzz --what cells --seed 1 --first 0 --examples 50" in text
    assert "1 FAILED (seed 1)" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--what", "cell"], "--what has no 'cell'"),
        (["--what", ","], "--what names nothing"),
        (["--target", "rust"], "--target has no 'rust'"),
        (["--minutes", "0"], "--minutes must be more than 0"),
        (["--minutes", "nan"], "--minutes must be more than 0"),
        (["--minutes", "1", "--examples", "1"], "not both"),
    ],
)
def test_wrong_use_is_told(words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main.status(["fuzz", *words]) == 2
    assert said in capfd.readouterr().err


def test_limits_are_one_of_two() -> None:
    with pytest.raises(ArgumentError, match="one of the two"):
        fuzz({}, seed=0)
    with pytest.raises(ArgumentError, match="unknown 'cell'"):
        rooms_of(["cell"], ())


def test_without_hypothesis_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "derive.fuzz.run")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert main.status(["fuzz"]) == 2
    assert 'pip install "derive-kernels[fuzz]"' in capfd.readouterr().err


def test_without_a_compiler_c_is_an_error_and_numpy_runs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "/nonexistent")
    assert main.status(["fuzz", "--examples", "1"]) == 2
    assert "cannot be run" in capfd.readouterr().err
    assert main.status(["fuzz", "--examples", "1", "--target", "numpy"]) == 0


def test_a_compiler_without_sanitizers_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\ncase "$1" in -print*) echo "libasan.so";; *) '
                        f'exec {shutil.which("cc")} "$@";; esac\n')  # fmt: skip
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert main.status(["fuzz", "--examples", "1", "--target", "c", "--sanitize"]) == 2
    assert "has no libasan.so" in capfd.readouterr().err


def test_hypothesis_leaves_nothing_in_the_folder_of_the_user(tmp_path: Path) -> None:
    code = (
        "import sys; from derive.cli import main; "
        'sys.exit(main.status(["fuzz", "--what", "texts", "--examples", "5"]))'
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
