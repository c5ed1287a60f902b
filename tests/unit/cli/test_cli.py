"""The command line: results on standard output, mistakes on standard error, exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from derive.cli import main
from derive.kernel import numpy_backend

ELMAN = """cell elman
input  x: I
state  h: H

h' = tanh(W @ x + U @ h + b)

output h'
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main.status(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def elman(tmp_path: Path) -> str:
    path = tmp_path / "elman.cell"
    path.write_text(ELMAN)
    return str(path)


def test_list_names_the_whole_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    from derive import cells

    status, out, err = run(capsys, "list")
    assert status == 0
    assert err == ""
    first = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert set(cells.names()) <= set(first)


def test_list_has_every_family_in_one_group() -> None:
    from derive.catalogue.entries import ENTRIES, GROUPS

    listed = [family for families in GROUPS.values() for family in families]
    assert sorted(listed) == sorted({family for family, _ in ENTRIES.values()})


def test_list_takes_words_and_shows_the_options_of_what_has_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = run(capsys, "list", "Vecoven", "2021")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == ["brc"] * 2
    assert "neuromodulated=false" in out
    assert "no options" in run(capsys, "list", "twin-gated")[1]
    assert "peephole=false" not in run(capsys, "list")[1]
    assert "peephole=false" in run(capsys, "list", "--options")[1]


def test_list_keeps_linear_recurrences(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list", "--linear")
    assert status == 0
    assert "min_gru" in out and "linear; diagonal. minGRU." in out and "  gru " not in out
    status, out, _ = run(capsys, "list", "--linear", "vaswani", "real-gated")
    assert (status, out) == (2, "")
    assert "rg_lru" in run(capsys, "list", "hawk")[1]  # a word of the title
    status, out, _ = run(capsys, "list", "--linear", "real-gated")
    assert status == 0 and "rg_lru" in out and "min_gru" not in out


def test_list_writes_a_page_for_each_entry_and_links_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "pages"
    status, out, _ = run(capsys, "list", "hawk", "--pages", str(folder))
    assert status == 0 and "1 pages, linked from" in out
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "rg_lru.html"]
    index = (folder / "index.html").read_text("utf-8")
    assert re.findall(r'href="([^"#]+)"', index) == ["rg_lru.html"]
    page = (folder / "rg_lru.html").read_text("utf-8")
    assert "is affine in" in page and "</html>" in page
    (tmp_path / "file").write_text("")
    status, out, err = run(capsys, "list", "hawk", "--pages", str(tmp_path / "file"))
    assert (status, out) == (2, "") and "takes a folder" in err


def test_list_keeps_cells_by_their_states(capsys: pytest.CaptureFixture[str]) -> None:
    from derive import cells

    _, out, _ = run(capsys, "list", "--states", "5")
    assert "odyssey_variant_fgr" in out and "  lstm " not in out
    _, out, _ = run(capsys, "list", "--states", "vector")
    assert "  lstm " in out
    shapes = {name: cells.from_spec(name).states.values() for name in cells.names()}
    matrices = [name for name, group in shapes.items() if any(len(shape) > 1 for shape in group)]
    status, out, _ = run(capsys, "list", "--states", "matrix")
    assert status == (0 if matrices else 2)
    assert all(name in out for name in matrices)


def test_list_says_what_there_is_where_no_entry_passes(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "list", "--states", "77")
    assert (status, out) == (2, "")
    assert "no entry of the catalogue passes --states 77" in err
    assert "--states 1: rnn" in err and "--linear: " in err and "hint: derive list --states" in err
    status, _, err = run(capsys, "list", "--linear", "janet")
    assert status == 2
    assert "no entry of the catalogue with 'janet' passes --linear" in err
    assert "janet: nonlinear; dense" in err and "hint: derive list --linear" in err
    status, _, err = run(capsys, "list", "--states", "big")
    assert status == 2 and "--states takes matrix, vector or a number, not 'big'" in err


def test_list_says_where_no_entry_has_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "list", "householder_rn", "1900")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "no entry of the catalogue has 'householder_rn' and '1900'",
        "  close: householder_rnn",
        "  hint: derive list",
    ]


def test_show_takes_a_spec(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "show", "lstm:peephole=true", "--stage", "cell")
    assert status == 0
    assert "p_f" in out
    assert err == ""


def test_show_takes_a_file(capsys: pytest.CaptureFixture[str], elman: str) -> None:
    status, out, _ = run(capsys, "show", elman)
    assert status == 0
    assert "d_U      = outer(d_a_h, h)" in out


def test_show_takes_stages_with_commas_and_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, together, _ = run(capsys, "show", "rnn", "--stage", "cell,cost")
    _, apart, _ = run(capsys, "show", "rnn", "--stage", "cell", "--stage", "cost")
    assert together == apart
    assert "--- cost" in together


def test_show_writes_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "show", "rnn", "--format", "json", "--size", "H=7")
    assert status == 0
    assert json.loads(out)["cost"]["sizes"]["H"] == 7


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("show", "householder_rn"),
            "no cell is called 'householder_rn'\n"
            "  close: householder_rnn, ode_rnn\n"
            "  hint: derive list   shows the catalogue; a file is given by its path, "
            "such as my.cell\n",
        ),
        (("show", "no/such.cell"), "there is no file no/such.cell\n"),
        (
            ("show", "rnn", "--stage", "loops"),
            "unknown stage 'loops'\n"
            "  known: cell, graph, shapes, structure, program, gradient, chain, tangent, second, "
            "simplified, schedule, cost, numpy, c, mcu, all\n",
        ),
        (("show", "rnn", "--size", "H"), "'H' is no width\n  hint: --size H=256\n"),
        (
            ("generate", "rnn", "--target", "rust"),
            "unknown target 'rust'\n  known: numpy, c, mcu\n",
        ),
    ],
)
def test_mistakes_are_told_on_standard_error_with_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out, err) == (2, "", message)


@pytest.mark.parametrize(
    "arguments",
    [("shwo",), ("show",), ("show", "rnn", "--format", "svg"), ("verify", "--jobs", "0")],
)
def test_wrong_options_have_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert "Error" in err


def test_mistakes_in_a_file_show_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bad.cell"
    path.write_text(ELMAN.replace("tanh(", "tanj("))
    status, _, err = run(capsys, "show", str(path))
    assert status == 2
    assert f"{path}:5:6" in err
    assert "^" in err
    assert "Traceback" not in err


def test_a_file_of_that_name_is_mentioned(
    capsys: pytest.CaptureFixture[str], elman: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(elman).parent)
    _, _, err = run(capsys, "show", "elman")
    assert "hint: elman.cell" in err
    _, _, err = run(capsys, "show", "elmam.cell")
    assert "close: elman.cell" in err


def test_two_different_cells_of_one_name_are_refused(
    capsys: pytest.CaptureFixture[str], elman: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.cell"
    other.write_text(ELMAN.replace("tanh", "relu"))
    status, _, err = run(capsys, "verify", elman, str(other))
    assert status == 2
    assert "two different cells are called elman" in err


def test_verify_of_one_cell_prints_its_table(
    capsys: pytest.CaptureFixture[str], elman: str
) -> None:
    status, out, err = run(capsys, "verify", elman, "--quick", "--files", "none")
    assert status == 0
    assert "checks passed" in out
    assert "verifying 1/1 elman" in err


def test_verify_writes_json(capsys: pytest.CaptureFixture[str], elman: str) -> None:
    status, out, _ = run(capsys, "verify", elman, "--quick", "--json", "--files", "none")
    data = json.loads(out)
    assert status == 0
    assert data["ok"] is True
    assert data["reports"][0]["name"] == "elman"
    assert {"check", "where", "observed", "allowed"} <= set(data["reports"][0]["rows"][0])


def test_verify_checks_edited_files_as_they_stand(
    capsys: pytest.CaptureFixture[str], elman: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(capsys, "generate", elman, "--out", str(out), "--target", "numpy")[0] == 0
    path = out / "numpy" / "elman.py"
    text = path.read_text()
    line = next(part for part in text.splitlines() if " d_h_next = " in part and "#" not in part)
    path.write_text(text.replace(line, f"{line} * 1.01"))
    status, report, _ = run(capsys, "verify", elman, "--quick", "--files", str(out))
    assert status == 1
    assert "FAILED" in report
    assert f"elman ({out})" in report


NO_COMPILER = [
    (("generate", "ELMAN", "--out", "OUT"), 2),
    (("generate", "ELMAN", "--out", "OUT", "--target", "c"), 2),
    (("generate", "ELMAN", "--out", "OUT", "--target", "numpy"), 0),
    (("verify", "ELMAN", "--quick", "--files", "OUT"), 2),
    (("verify", "ELMAN", "--quick", "--files", "OUT", "--json"), 2),
    (("verify", "ELMAN", "rnn", "--quick", "--jobs", "1", "--files", "OUT"), 2),
    (("verify", "ELMAN", "--quick", "--files", "OUT", "--target", "c"), 2),
    (("verify", "ELMAN", "--quick", "--files", "OUT", "--target", "numpy"), 0),
    (("show", "ELMAN", "--stage", "cell", "--verify"), 2),
]


@pytest.mark.parametrize("compiler", ["/nonexistent", "false"])
@pytest.mark.parametrize(("arguments", "wanted"), NO_COMPILER)
def test_a_target_that_cannot_be_built_here_is_never_good(
    capsys: pytest.CaptureFixture[str],
    elman: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    wanted: int,
    compiler: str,
) -> None:
    monkeypatch.setenv("CC", compiler)
    out = tmp_path / "out"
    words = {"ELMAN": elman, "OUT": str(out)}
    status, printed, err = run(capsys, *(words.get(word, word) for word in arguments))
    assert status == wanted
    assert "Traceback" not in err
    if wanted == 2:
        assert "--target numpy" in err or ("show" in arguments and "NOT BUILT" in printed)
        assert compiler in err
        assert not out.exists()
    if "--json" in arguments:
        assert json.loads(printed)["ok"] is False


def test_an_edited_kernel_that_crashes_is_a_failed_row(
    capsys: pytest.CaptureFixture[str], elman: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(capsys, "generate", elman, "--out", str(out))[0] == 0
    source = out / "c" / "elman.c"
    text = source.read_text()
    start = "DK_NAME(check_params)(const DK_NAME(params) *params)\n{\n"
    assert start in text
    source.write_text(text.replace(start, f"{start}    *(volatile int *)16 = 1;\n"))
    status, report, err = run(capsys, "verify", elman, "--quick", "--files", str(out))
    assert status == 1
    assert "it crashed: SIGSEGV, in kernels" in report and "Traceback" not in err


def test_a_kernel_that_crashes_is_a_failed_row_of_its_cell_alone(
    capsys: pytest.CaptureFixture[str], elman: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.cell"
    broken.write_text(Path(elman).read_text().replace("cell elman", "cell broken"))
    plain, start = numpy_backend.load, '    with np.errstate(all="ignore"):\n'

    def load(text: str, path: str) -> Any:
        assert start in text
        crash = f"    import os; os.kill(os.getpid(), 11)\n{start}"
        return plain(text.replace(start, crash) if "broken" in path else text, path)

    monkeypatch.setattr(numpy_backend, "load", load)
    arguments = ("--quick", "--target", "numpy", "--jobs", "1", "--files", "none")
    status, report, err = run(capsys, "verify", str(broken), elman, *arguments)
    assert status == 1
    assert report.count("it crashed: SIGSEGV, in kernels") == 1 and "Traceback" not in err
    status, report, _ = run(capsys, "verify", elman, *arguments)
    assert status == 0


def test_a_kernel_of_which_a_file_is_gone_is_not_good(
    capsys: pytest.CaptureFixture[str], elman: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(capsys, "generate", elman, "--out", str(out))[0] == 0
    (out / "c" / "elman.c").unlink()
    status, report, _ = run(capsys, "verify", elman, "--quick", "--files", str(out))
    assert status == 1
    assert "elman.c is missing" in report


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from derive import __version__

    assert run(capsys, "--version") == (0, f"derive {__version__}\n", "")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "show", "generate", "verify", "bench", "tune"):
        status, out, _ = run(capsys, command, "--help")
        assert status == 0
        assert out.startswith(f"Usage: derive {command}")


def in_process(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(("-c", code) if code else ("-m", "derive")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_help_imports_nothing_heavy() -> None:
    done = in_process(
        code="import sys; from derive.cli import main; main.status(['--help']); "
        "print(sorted({'sympy', 'numpy', 'jinja2', 'rich', 'mpmath'} & set(sys.modules)))"
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_who_stops_early_sees_no_traceback() -> None:
    command = f"'{sys.executable}' -m derive show lstm --stage all | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_broken_derivative_is_no_wrong_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from derive.cli import catalogue
    from derive.errors import ProgramError, VerificationError

    for error in (ProgramError("a"), VerificationError("b")):

        def fail(*words: object, error: Exception = error, **options: object) -> int:
            raise error

        monkeypatch.setattr(catalogue, "run", fail)
        assert run(capsys, "list") == (1, "", f"{error}\n")


def test_a_quick_verification_without_a_cell_takes_a_sample_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from derive.catalogue.entries import ENTRIES, SAMPLE
    from derive.cli import many

    taken: list[list[str]] = []

    def each(title: str, work: object, items: list[Any], *_: object) -> list[Any]:
        taken.append([item[0].name for item in items])
        return []

    monkeypatch.setattr(many, "each", each)
    _, _, err = run(capsys, "verify", "--quick")
    assert f"{len(SAMPLE)} of {len(ENTRIES)} entries of the catalogue" in err
    run(capsys, "verify", "--quick", "--all")
    run(capsys, "verify")
    assert taken == [list(SAMPLE), list(ENTRIES), list(ENTRIES)]
