"""generate: verified files or none, the same bytes everywhere, drift told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entries import SAMPLE

import derive
from derive import pipeline, targets
from derive.cli import generated_files as module
from derive.cli import watched_file
from derive.cli.generated_files import MANIFEST, generate, on_disk
from derive.cli.main import status
from derive.errors import (
    ArgumentError,
    CellError,
    InternalError,
    ProgramError,
    ToolchainError,
    VerificationError,
)
from derive.verification import Report, Row

ELMAN = "cell elman\ninput x: I\nstate h: H\nh' = tanh(W @ x + U @ h + b)\noutput h'\n"
OTHER = ELMAN.replace("elman", "other").replace("tanh", "relu")


def passing(files: dict[derive.Cell, dict[str, str]]) -> list[Report]:
    row = Row("forward", "numpy", 0.0, 1.0, True, "none")
    return [Report(cell.name, 0, (row,)) for cell in files]


def failing(files: dict[derive.Cell, dict[str, str]]) -> list[Report]:
    row = Row("gradient", "numpy", 2.0, 1.0, False, "none")
    return [Report(cell.name, 0, (row,)) for cell in files]


@pytest.fixture
def elman() -> derive.Cell:
    return derive.Cell.parse(ELMAN)


@pytest.fixture
def other() -> derive.Cell:
    return derive.Cell.parse(OTHER)


def paths(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_files_lie_where_the_contract_says(elman: derive.Cell, tmp_path: Path) -> None:
    generate([elman], out=tmp_path)
    wanted = {"numpy/elman.py", "c/elman.h", "c/elman.c", "c/derive_kernels.h", MANIFEST}
    assert paths(tmp_path) == wanted


def test_nothing_is_written_if_verification_fails(elman: derive.Cell, tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as error:
        generate([elman], out=tmp_path / "out", verify=failing)
    assert str(error.value) == (
        "nothing was written: verification failed\n"
        "  elman: 1 of 1 checks\n"
        "  hint: derive verify elman"
    )
    assert not (tmp_path / "out").exists()


def test_a_wrong_backward_pass_is_not_written(
    elman: derive.Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(cell: derive.Cell, targets: object) -> dict[str, str]:
        files = derive.emit(cell, "numpy")
        text = files["numpy/elman.py"]
        line = next(
            part for part in text.splitlines() if " d_h_next = " in part and "#" not in part
        )
        return {"numpy/elman.py": text.replace(line, f"{line} * 1.01")}

    monkeypatch.setattr(module, "emitted", broken)
    with pytest.raises(VerificationError):
        generate([elman], ("numpy",), tmp_path)
    assert paths(tmp_path) == set()


EMIT_C = targets.row("c").emit


def crashing(cell: derive.Cell, schedule: Any) -> dict[str, str]:
    """What the target emits, with a kernel that writes where it may not when it is called."""
    files = dict(EMIT_C(cell, schedule))
    path, start = "c/elman.c", "DK_NAME(check_params)(const DK_NAME(params) *params)\n{\n"
    assert start in files[path]
    files[path] = files[path].replace(start, f"{start}    *(volatile int *)16 = 1;\n")
    return files


@pytest.mark.parametrize("command", ["generate", "show", "watch"])
def test_generated_text_that_crashes_is_a_failed_check_and_nothing_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(targets._TABLE, "c", replace(targets.row("c"), emit=crashing))
    file, out = tmp_path / "elman.cell", tmp_path / "out"
    file.write_text(ELMAN)
    options = {
        "generate": ["--out", str(out)], "show": ["--verify"], "watch": ["--out", str(out)],
    }  # fmt: skip
    monkeypatch.setattr(watched_file, "saves", lambda path, sleep: iter([b""]))
    code = status([command, str(file), *options[command]])
    printed = capsys.readouterr()
    assert code == (0 if command == "watch" else 1)
    assert "Traceback" not in printed.err
    if command == "show":
        assert "FAILED" in printed.out
    else:
        assert "nothing was written: verification failed" in printed.err
        assert "elman: 1 of 1 checks" in printed.err
        assert "it crashed: SIGSEGV, in kernels" in printed.err
    assert not out.exists()


def broken(cell: derive.Cell, schedule: object) -> dict[str, str]:
    raise KeyError("d_o")


def test_a_target_that_fails_says_so_and_that_the_other_may_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(targets._TABLE, "c", replace(targets.row("c"), emit=broken))
    file, out = tmp_path / "elman.cell", tmp_path / "out"
    file.write_text(ELMAN)
    with pytest.raises(InternalError) as error:
        generate([derive.load(file)], out=out)
    text = str(error.value)
    assert text.startswith("cell elman: the c target failed, which is a fault of derive")
    assert "KeyError: 'd_o' (test_generate.py:" in text
    assert "nothing was written, of no target" in text
    assert error.value.hint == "--target numpy"
    assert isinstance(error.value.__cause__, InternalError)
    assert not out.exists()
    assert status(["generate", str(file), "--out", str(out)]) == 1
    assert "hint: --target numpy" in capsys.readouterr().err
    generate([derive.load(file)], ("numpy",), out, verify=passing)
    assert paths(out) == {"numpy/elman.py", MANIFEST}


def test_a_stage_that_fails_is_told_as_a_fault_of_derive(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(*_: object) -> None:
        raise ProgramError("d_o: is read before it is there")

    monkeypatch.setattr(pipeline, "_schedule", rule)
    with pytest.raises(InternalError, match="scheduling failed") as error:
        derive.emit(derive.Cell.parse(ELMAN.replace("elman", "elman_broken")), "numpy")
    assert error.value.hint is None
    assert "ProgramError: d_o: is read before it is there" in str(error.value)


def test_manifest_names_every_file_with_its_digests(elman: derive.Cell, tmp_path: Path) -> None:
    generate([elman], out=tmp_path, verify=passing)
    files = json.loads((tmp_path / MANIFEST).read_text())["files"]
    assert set(files) == paths(tmp_path) - {MANIFEST}
    assert list(files) == sorted(files)
    for path, entry in files.items():
        assert entry["sha256"] == hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
    assert files["c/derive_kernels.h"]["cell"] == ""
    digest = hashlib.sha256(elman.to_text().encode()).hexdigest()
    assert files["c/elman.c"]["cell_sha256"] == digest


def test_a_second_run_writes_nothing(elman: derive.Cell, tmp_path: Path) -> None:
    first = generate([elman], out=tmp_path, verify=passing)
    times = {p: (tmp_path / p).stat().st_mtime_ns for p in paths(tmp_path)}
    second = generate([elman], out=tmp_path, verify=passing)
    assert set(first.written) == set(times) == set(second.same)
    assert second.written == ()
    assert times == {p: (tmp_path / p).stat().st_mtime_ns for p in paths(tmp_path)}


def test_one_cell_more_leaves_the_others_alone(
    elman: derive.Cell, other: derive.Cell, tmp_path: Path
) -> None:
    generate([elman], out=tmp_path, verify=passing)
    result = generate([other], out=tmp_path, verify=passing)
    assert result.stale == ()
    files = json.loads((tmp_path / MANIFEST).read_text())["files"]
    assert {"numpy/elman.py", "numpy/other.py"} <= set(files)


def test_files_of_cells_that_are_gone_are_told(
    elman: derive.Cell, other: derive.Cell, tmp_path: Path
) -> None:
    generate([elman, other], out=tmp_path, verify=passing)
    result = generate([elman], out=tmp_path, complete=True, verify=passing)
    assert result.stale == ("numpy/other.py", "c/other.c", "c/other.h")
    assert (tmp_path / "numpy" / "other.py").exists()


def test_one_target_keeps_the_files_of_the_other(elman: derive.Cell, tmp_path: Path) -> None:
    generate([elman], out=tmp_path, verify=passing)
    result = generate([elman], ("c",), tmp_path, complete=True, verify=passing)
    assert result.stale == ()
    assert "numpy/elman.py" in json.loads((tmp_path / MANIFEST).read_text())["files"]


def test_check_tells_what_differs_and_writes_nothing(elman: derive.Cell, tmp_path: Path) -> None:
    generate([elman], out=tmp_path, verify=passing)
    assert generate([elman], out=tmp_path, check=True).differences == ()
    source = tmp_path / "c" / "elman.c"
    source.write_text(source.read_text() + "/* mine */\n")
    (tmp_path / "numpy" / "elman.py").unlink()
    (tmp_path / "numpy" / "left.py").write_text("")
    before = {p: (tmp_path / p).read_bytes() for p in paths(tmp_path)}
    found = generate([elman], out=tmp_path, check=True).differences
    assert {(d.path, d.what) for d in found} == {
        ("c/elman.c", "differs"),
        ("numpy/elman.py", "missing"),
        ("numpy/left.py", "stale"),
    }
    assert any("-/* mine */" in d.diff for d in found)
    assert before == {p: (tmp_path / p).read_bytes() for p in paths(tmp_path)}


def test_a_long_difference_is_cut_short(elman: derive.Cell, tmp_path: Path) -> None:
    generate([elman], out=tmp_path, verify=passing)
    (tmp_path / "c" / "elman.c").write_text("")
    (difference,) = generate([elman], out=tmp_path, check=True).differences
    assert len(difference.diff) == module.LINES_SHOWN + 1
    assert difference.diff[-1].endswith("more lines")


def test_a_manifest_that_cannot_be_read_is_written_anew(elman: derive.Cell, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"files": {"a": 3}, "format": 1}', '{"files": 3}'):
        (tmp_path / MANIFEST).write_text(text)
        assert MANIFEST in generate([elman], out=tmp_path, verify=passing).written


def test_files_on_disk_are_those_of_this_very_cell(
    elman: derive.Cell, other: derive.Cell, tmp_path: Path
) -> None:
    generate([elman], out=tmp_path, verify=passing)
    assert on_disk(elman, tmp_path) == {**derive.emit(elman, "numpy"), **derive.emit(elman, "c")}
    assert on_disk(other, tmp_path) is None
    assert on_disk(derive.Cell.parse(ELMAN.replace("tanh", "relu")), tmp_path) is None


def test_a_cell_called_like_the_shared_header_is_refused(
    elman: derive.Cell, tmp_path: Path
) -> None:
    rival = derive.Cell.parse(ELMAN.replace("elman", "derive_kernels"))
    with pytest.raises(CellError, match="overwrite the header"):
        generate([elman, rival], out=tmp_path, verify=passing)


def test_cells_whose_names_differ_in_case_alone_are_refused(
    elman: derive.Cell, tmp_path: Path
) -> None:
    rival = derive.Cell.parse(ELMAN.replace("elman", "Elman"))
    with pytest.raises(ArgumentError, match="both want to write"):
        generate([elman, rival], out=tmp_path, verify=passing)


def test_a_folder_that_cannot_be_written_is_told(
    elman: derive.Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write anywhere
    with pytest.raises(ArgumentError, match="cannot be written"):
        generate([elman], out=tmp_path / "out", verify=passing)


def test_a_file_in_the_way_is_told(elman: derive.Cell, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ArgumentError, match="cannot be written"):
        generate([elman], out=tmp_path / "out", verify=passing)
    assert paths(tmp_path) == {"out"}


def everything_below(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("call", ["mkstemp", "replace"])
def test_a_disk_that_fills_up_leaves_everything_as_it_was(
    elman: derive.Cell,
    other: derive.Cell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    nth: int,
) -> None:
    """Writing fails at the n-th file; in one folder all is new, in the other files are replaced."""
    generate([elman], out=tmp_path / "old", verify=passing)
    for path in ("c/elman.c", "numpy/elman.py", "c/derive_kernels.h"):
        (tmp_path / "old" / path).write_text("mine")
    (tmp_path / "new").mkdir()
    before = everything_below(tmp_path)
    home, real = (tempfile, tempfile.mkstemp) if call == "mkstemp" else (os, os.replace)
    calls = []

    def full(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    for out in ("old", "new/deeper"):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(home, call, full)
            with pytest.raises(ArgumentError, match="No space left on device"):
                generate([elman, other], out=tmp_path / out, verify=passing)
        assert everything_below(tmp_path) == before


def test_a_folder_where_a_file_should_be_leaves_everything_as_it_was(
    elman: derive.Cell, tmp_path: Path
) -> None:
    (tmp_path / "c" / "elman.h").mkdir(parents=True)
    before = everything_below(tmp_path)
    with pytest.raises(ArgumentError, match=r"elman\.h cannot be written"):
        generate([elman], out=tmp_path, verify=passing)
    assert everything_below(tmp_path) == before


def not_built(files: dict[derive.Cell, dict[str, str]]) -> list[Report]:
    """As of a compiler that breaks down over the last cell."""
    reports = passing(files)
    row = Row("build", "c float32", None, None, None, "it broke down\nhere")
    return [*reports[:-1], Report(reports[-1].name, 0, (*reports[-1].rows, row))]


def test_a_target_that_cannot_be_built_for_one_cell_writes_nothing(
    elman: derive.Cell, other: derive.Cell, tmp_path: Path
) -> None:
    with pytest.raises(ToolchainError) as caught:
        generate([elman, other], out=tmp_path / "out", verify=not_built)
    assert caught.value.facts == ("c float32: it broke down",)
    assert paths(tmp_path) == set()


def test_a_check_that_failed_counts_more_than_a_target_that_was_not_built(
    elman: derive.Cell, other: derive.Cell, tmp_path: Path
) -> None:
    def both(files: dict[derive.Cell, dict[str, str]]) -> list[Report]:
        return [failing(files)[0], not_built(files)[1]]

    with pytest.raises(VerificationError):
        generate([elman, other], out=tmp_path / "out", verify=both)


def test_without_a_compiler_numpy_alone_is_generated_and_c_is_not(
    elman: derive.Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/nonexistent")
    for chosen in (("numpy", "c"), ("c",)):
        with pytest.raises(ToolchainError, match="nothing was written"):
            generate([elman], chosen, tmp_path / "out")
    assert paths(tmp_path) == set()
    generate([elman], ("numpy",), tmp_path)
    assert paths(tmp_path) == {"numpy/elman.py", MANIFEST}
    generate([elman], out=tmp_path, check=True)  # compares texts and builds nothing


_DIGESTS = """
import hashlib, json, sys, derive
from derive.inspect import STAGES, show
found = {}
for name in sys.argv[1:]:
    cell = derive.cells.from_spec(name)
    texts = {**derive.emit(cell, "numpy"), **derive.emit(cell, "c")}
    skipped = ("numpy", "c", *(("tangent", "second") if cell.checked.shapes else ()))
    for format in ("text", "json"):
        texts[format] = show(cell, [s for s in STAGES if s not in skipped], format)
    for path, text in texts.items():
        found[f"{name} {path}"] = hashlib.sha256(text.encode()).hexdigest()
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(tuple(sorted(SAMPLE)), id="sample"),
        pytest.param(derive.cells.names(), id="all", marks=pytest.mark.slow),
    ],
)
def test_the_same_bytes_under_any_hash_seed(names: tuple[str, ...]) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _DIGESTS, *names],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for seed in ("0", "1", "4242")
    ]
    outputs = [process.communicate()[0] for process in running]
    first, *others = [json.loads(output) for output in outputs]
    assert len(first) > 5 * len(names)
    for other in others:
        assert {name for name in first if first[name] != other[name]} == set()


def test_the_committed_files_are_as_generated() -> None:
    folder = Path(__file__).parents[3] / "generated"
    assert (folder / MANIFEST).exists(), "generated/ is part of the project"
    cells = [derive.cells.from_spec(name) for name in derive.cells.names()]
    assert generate(cells, out=folder, check=True, complete=True).differences == ()
