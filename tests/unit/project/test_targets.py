"""The table of targets: the one that a page adds is a target everywhere, without another change."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive import targets
from derive.cli.generated_files import generate
from derive.cli.main import status
from derive.errors import ArgumentError, ArgumentTypeError, ToolchainError, VerificationError
from derive.inspect import FORMATS, STAGES, show
from derive.layers.sequence import kernel_of
from derive.targets import Target
from derive.verification import accuracy, verify, verify_files
from derive.verification import targets as building
from derive.verification.paths import TEAMS

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-target.md"
TEXT = """\
cell small
input x: I
state h: H
z = sigmoid(W_z @ x + U_z @ h + b_z)
h' = z * h + (1 - z) * tanh(W @ x + U @ (z * h))
output h'
"""


def cell() -> derive.Cell:
    return derive.Cell.parse(TEXT)


@cache
def row() -> Target:
    """The target that the page adds: its blocks, up to the row."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
        if "ROWS" in names:
            break
    found: Target = names["ROWS"]
    return found


@pytest.fixture
def rows() -> Iterator[Target]:
    with targets.added(row()) as target:
        yield target


def test_the_table_has_numpy_c_and_mcu_of_which_the_last_is_asked_for_by_name() -> None:
    assert targets.names() == ("numpy", "c", "mcu")
    assert targets.usual() == ("numpy", "c")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("mcu/a.c", "mcu"), ("out/mcu/a.h", "mcu"), ("c/a.c", "c"), ("a.c", "c"),
        ("mcu/a.py", "numpy"), ("my/a.h", "c"),
    ],
)  # fmt: skip
def test_a_file_belongs_to_the_target_of_its_folder_or_to_the_first_with_such_files(
    path: str, name: str
) -> None:
    found = targets.of_file(path)
    assert found is not None and found.name == name
    assert targets.of_file("mcu/a.rs") is None


def test_a_third_target_is_emitted_and_computes(rows: Target) -> None:
    assert list(derive.emit(cell(), "rows")) == ["rows/small.rows"]
    kernel = derive.compile(cell(), "rows", "float64")
    other = derive.compile(cell(), "numpy", "float64")
    params = kernel.init(I=3, H=4)
    x = np.random.default_rng(0).standard_normal((6, 2, 3))
    for options in ({}, {"lengths": [6, 2], "reverse": True}, {"remat": "time"}):
        found, wanted = (
            k.backward(k.forward(params, x, **options), np.ones((6, 2, 4))) for k in (kernel, other)
        )
        for name, array in wanted.params.items():
            assert np.allclose(found.params[name], array, rtol=1e-12, atol=1e-14)
    some = kernel.backward(kernel.forward(params, x), wrt=("U",))
    assert list(some.params) == ["U"] and not some.inputs
    stream = kernel.stream(params, rows=2)
    assert np.allclose(stream(x[0]), other.forward(params, x).output[0], rtol=1e-12)


def test_a_third_target_is_verified_and_its_faults_are_caught(rows: Target) -> None:
    report = verify(cell(), targets=("numpy", "rows"), dtypes=("float64",), quick=True)
    assert report.ok
    assert {"forward", "gradient", "same bits"} <= {
        r.check for r in report.rows if r.where.startswith("rows float64")
    }
    assert any(r.where.startswith("rows float64 and numpy float64") for r in report.rows)
    files = derive.emit(cell(), "rows")
    (text,) = files.values()
    line = next(line for line in text.splitlines() if line.startswith('    v["d_U"] ='))
    wrong = {"rows/small.rows": text.replace(line, f"{line} * 1.01")}
    failed = verify_files(cell(), wrong, dtypes=("float64",), quick=True).failures
    assert any(r.check == "gradient" and r.where.startswith("rows float64") for r in failed)


NO_KERNEL = {
    "another cell's file": {"rows/other.rows": ""},
    "two files": {"rows/small.rows": "", "more/small.rows": ""},
    "no Python": {"rows/small.rows": "def forward(:"},
    "nothing in it": {"rows/small.rows": ""},
    "a file of no target": {"rows/small.row": ""},
}


@pytest.mark.parametrize("which", NO_KERNEL)
def test_files_of_a_third_target_that_make_no_kernel_are_refused(rows: Target, which: str) -> None:
    report = verify_files(cell(), NO_KERNEL[which], dtypes=("float64",), quick=True)
    assert report.failures and not report.ok


def test_every_target_is_verified_by_default(rows: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def stop(cell: Any, files: Any, *_: Any) -> Any:
        asked.append(tuple(files))
        raise KeyboardInterrupt

    monkeypatch.setattr("derive.verification.start_building", stop)
    with pytest.raises(KeyboardInterrupt):
        verify(cell(), quick=True)
    assert asked == [("numpy", "c", "rows")]  # and not mcu, which is asked for by name


@pytest.mark.parametrize("format", FORMATS)
def test_a_third_target_is_a_stage_in_every_format(rows: Target, format: str) -> None:
    assert STAGES["rows"] == "the generated rows" and list(STAGES)[-1] == "rows"
    text = show(cell(), ("rows",), format)
    if format == "json":
        text = json.loads(text)["rows"]["rows/small.rows"]
    assert "one row and one step at a time" in text


def test_a_third_target_is_written_and_checked_for_stale_files(
    rows: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "small.cell", tmp_path / "out"
    file.write_text(TEXT)
    arguments = [str(file), "--target", "numpy,rows", "--out", str(out)]
    assert status(["generate", *arguments]) == 0
    assert sorted(p.name for p in (out / "rows").iterdir()) == ["small.rows"]
    assert status(["generate", "--check", *arguments]) == 0
    (out / "rows" / "old.rows").write_text("")
    capsys.readouterr()
    assert status(["generate", "--check", *arguments]) == 1
    assert "rows/old.rows" in capsys.readouterr().out
    assert status(["verify", str(file), "--quick", "--files", str(out)]) == 0
    assert "rows float64" in capsys.readouterr().out


def test_what_a_third_target_gets_wrong_is_not_written(rows: Target, tmp_path: Path) -> None:
    def wrong(cell: Any, schedule: Any) -> Any:
        texts = row().emit(cell, schedule)
        return {path: text.replace('v["U"].T @', 'v["U"] @') for path, text in texts.items()}

    del targets._TABLE["rows"]
    with targets.added(replace(rows, emit=wrong)), pytest.raises(VerificationError):
        generate([cell()], ("rows",), tmp_path)
    targets._TABLE["rows"] = rows
    assert not list(tmp_path.iterdir())


def test_what_a_third_target_needs_is_told_before_any_work(tmp_path: Path) -> None:
    def find() -> None:
        raise ToolchainError("there is no abacus")

    def no_work(*_: Any) -> Any:
        raise AssertionError

    needy = replace(row(), find=find, install="buy one", emit=no_work)
    with targets.added(needy), pytest.raises(ToolchainError) as error:
        generate([cell()], ("rows",), tmp_path)
    assert str(error.value).splitlines() == [
        "nothing was written: target rows cannot be built on this machine",
        "  there is no abacus",
        "  hint: buy one; or leave Rows out: --target numpy,c",
    ]
    with targets.added(replace(needy, emit=row().emit)):
        report = verify(cell(), targets=("rows",), quick=True)
        assert [r.bound for r in report.not_built] == ["there is no abacus"] * 2


def test_a_target_that_is_not_in_the_table_is_unknown_everywhere() -> None:
    for call in (
        lambda: derive.emit(cell(), "rows"),
        lambda: derive.compile(cell(), "rows"),
        lambda: verify(cell(), targets=("rows",)),
        lambda: targets.row(3),
    ):
        with pytest.raises(ArgumentError, match="known: numpy, c, mcu"):
            call()
    assert status(["generate", "gru", "--target", "rows"]) == 2


def test_a_row_with_the_name_of_another_is_refused() -> None:
    other = replace(row(), name="c", suffixes={".x": "x"})
    with pytest.raises(ArgumentError, match="there is a target c already"), targets.added(other):
        raise AssertionError
    assert targets.names() == ("numpy", "c", "mcu")


def test_a_dtype_that_a_target_has_no_kernels_in_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the target mcu has no kernels in float64"):
        derive.compile(cell(), "mcu", "float64")
    report = verify(cell(), targets=("mcu",), dtypes=("float64",), quick=True)
    (failure,) = report.failures
    assert failure.bound == "its kernels are float32 only" and not report.ok


def test_the_page_says_what_its_target_cannot_do(rows: Target) -> None:
    axes = "cell heads\ninput x: I\nstate h: N x D\nparam W: N x D x I\nh' = W @ x + h\noutput h'"
    with pytest.raises(ArgumentError, match="the target rows"):
        derive.emit(derive.Cell.parse(axes), "rows")


# --- rooms that ask a row what it offers ----------------------------------------------------


def test_a_preferred_target_serves_where_none_is_named(
    rows: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(targets._TABLE, "c", replace(targets.row("c"), preferred=False))
    monkeypatch.setitem(targets._TABLE, "rows", replace(rows, preferred=True))
    assert [target.name for target in targets.by_preference()] == ["rows", "numpy", "c"]
    kernel_of.cache_clear()
    rnn = derive.layers.RNN(cell(), I=3, H=4, dtype="float64")
    assert kernel_of(cell(), "float64", *rnn._using).target == "rows"
    with pytest.raises(ArgumentTypeError, match="'numpy', 'c', 'rows' or None"):
        derive.layers.RNN(cell(), I=3, H=4, target=3)  # type: ignore[arg-type]
    kernel_of.cache_clear()


def test_torch_calls_a_preferred_target_with_arrays(
    rows: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from derive.torch.engine import Engine

    monkeypatch.setitem(targets._TABLE, "c", replace(targets.row("c"), preferred=False))
    monkeypatch.setitem(targets._TABLE, "rows", replace(rows, preferred=True))
    kernel = derive.compile(cell(), "rows", "float64")
    params = kernel.init(I=3, H=4)
    engine = Engine(cell(), 1, tuple((k,) for k in range(len(params))))
    assert engine.backend("float64")[0] == "rows"
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    given = [torch.from_numpy(array) for array in (*params.values(), x, np.zeros((2, 4)))]
    *_, first = given
    output, _, _ = engine.forward(given[:-2], [given[-2]], [first], None, False, True)
    assert np.array_equal(output.numpy(), kernel.forward(params, x).output)


def test_what_a_row_offers_decides_how_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, tuple[str, ...]]] = []

    def fenced(texts: Any, signature: Any, dtype: str, team: int, defines: Any) -> Any:
        made.append((team, tuple(defines)))

    monkeypatch.setattr(building, "FencedC", fenced)
    signature = derive.pipeline.signature(cell())
    unit = replace(row(), unit=row().load, low=lambda: ("A=1",))
    found = building._ways(unit, None, {}, signature, "float64")  # type: ignore[arg-type]
    assert [(team, low) for _, team, low, thin in found if thin is None] == [
        *((team, False) for team in TEAMS), *((team, True) for team in TEAMS)
    ]  # fmt: skip
    assert {defines for _, defines in made} == {(), ("A=1",)}
    backend: Any = object()
    assert building._ways(row(), backend, {}, signature, "float64") == [(backend, 1, False, None)]


def test_a_third_target_is_measured_against_mpmath(
    rows: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: accuracy.TEXTS[name] for name in ("sigmoid", "tanh")}
    monkeypatch.setattr(accuracy, "TEXTS", few)
    found = accuracy.figures(("rows",), tags=("f32",))
    assert {f.target for f in found} == {"rows"} and all(f.ok for f in found), accuracy.text(found)


def test_a_third_target_is_fuzzed_and_its_faults_are_named(
    rows: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    from derive.fuzz.cells_room import CellsRoom
    from derive.fuzz.grammar import Drawn
    from derive.fuzz.run import fuzz, rooms_of

    drawn = Drawn(cell().to_text(), cell().to_text(), False)
    only = partial(CellsRoom, drawn=lambda: st.just(drawn))
    monkeypatch.setattr("derive.fuzz.cells_room.CellsRoom", only)
    monkeypatch.setattr("derive.fuzz.cells_room._has_torch", lambda: False)
    outcome = fuzz(rooms_of(["cells"], ("rows",)), seed=1, examples=3)
    assert not outcome.findings and outcome.counts["compared"]

    def wrong(cell: Any, schedule: Any) -> Any:
        texts = row().emit(cell, schedule)
        return {path: text.replace('v["U"].T @', 'v["U"] @') for path, text in texts.items()}

    monkeypatch.setitem(targets._TABLE, "rows", replace(rows, emit=wrong))
    monkeypatch.setattr(derive.pipeline, "_files", derive.pipeline._files.__wrapped__)
    (finding,) = fuzz(rooms_of(["cells"], ("rows",)), seed=1, examples=9, shrink=False).findings
    assert finding.kind.startswith("rows: wrong") and "'rows'" in finding.case


def test_strange_calls_compare_every_target_with_the_first(rows: Target) -> None:
    pytest.importorskip("hypothesis")
    from derive.fuzz.calls_room import _judge, _kernels
    from derive.fuzz.fault import Fault
    from derive.fuzz.strange import play

    files = {name: derive.emit(cell(), name) for name in ("numpy", "rows")}
    turns = [("forward", {}, 2), ("step", {"x_t": ("is", ("plain", "a"))}, 1)]
    question = {**_kernels(cell()), "turns": turns, "files": files}
    for turn, (used, fresh) in zip(turns, play(question, {})["outcomes"], strict=True):
        assert [*fresh] == ["numpy", "rows"]
        _judge(turn, used, fresh)
    ((path, text),) = files["rows"].items()
    question["files"]["rows"] = {path: text.replace("sigmoid(", "tanh(", 1)}
    (used, fresh), _ = play(question, {})["outcomes"]
    with pytest.raises(Fault, match="targets differ"):
        _judge(turns[0], used, fresh)


#: Where targets are named: in their table and their folders; and in what measures one of them.
OF_A_TARGET = ("targets.py", "kernel/", "emit/", "bench/", "verification/fences.py")
ASK_A_TARGET = {"compile", "compile_cell", "emit", "row", "backend", "untuned", "emitted", "Kernel"}


def named_targets(path: Path) -> Iterator[str]:
    """Where a module names a target, or imports what belongs to one."""
    for node in ast.walk(ast.parse(path.read_text())):
        found: list[Any] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            found = [e for e in node.elts if isinstance(e, ast.Constant)]
            found = found if {"numpy", "c"} <= {e.value for e in found} else []
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            found = [*node.args] if called in ASK_A_TARGET else []
            found += [word.value for word in node.keywords if word.arg == "target"]
            found = [e for e in found if isinstance(e, ast.Constant) and e.value in ("numpy", "c")]
        elif isinstance(node, ast.ImportFrom) and node.module == "derive.kernel.c_backend":
            found = [node]
        yield from (f"{path.name}:{each.lineno}" for each in found)


def test_no_target_is_named_outside_its_row_and_its_folders() -> None:
    root = Path(derive.__file__).parent
    files = {str(path.relative_to(root)): path for path in sorted(root.rglob("*.py"))}
    others = [path for name, path in files.items() if not name.startswith(OF_A_TARGET)]
    assert not [place for path in others for place in named_targets(path)]
    assert [*named_targets(root / "targets.py")]
