"""The programs of docs/how-to/use-the-c.md compile without a warning, and run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from derive import cells, pipeline

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "use-the-c.md"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated files, and each block that begins with the name of a file."""
    root = tmp_path_factory.mktemp("page")
    for path, text in pipeline.emit(cells.lstm(), "c").items():
        (root / Path(path).name).write_text(text)
    blocks = re.findall(r"^```c\n(/\* (\w+\.c): .*?)^```$", PAGE.read_text(), re.M | re.S)
    for text, name in blocks:
        (root / name).write_text(text)
    assert {name for _, name in blocks} == {"main.c", "team.c"}
    return root


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


def test_the_program_of_the_page_runs_as_the_page_compiles_it(folder: Path) -> None:
    command = re.search(r"^cc (.*main\.c lstm\.c -lm)$", PAGE.read_text(), re.M)
    assert command
    words = command[1].split()
    run(folder, COMPILERS[0], *WARNINGS, "-DDK_ONLY_F32", *words, "-o", "page")
    assert "loss" in run(folder, "./page")


def test_the_program_of_the_page_is_clean_under_sanitizers_and_without_threads(
    folder: Path,
) -> None:
    options = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    run(folder, COMPILERS[0], "-std=c11", *WARNINGS, *options, "-DDK_ONLY_F32", "-DDK_ROWS_MAX=1",
        "-DDK_NO_THREADS", "main.c", "lstm.c", "-lm", "-o", "clean")  # fmt: skip
    run(folder, "./clean")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_other_program_compiles(folder: Path, compiler: str) -> None:
    run(folder, compiler, "-std=gnu11", *WARNINGS, "-O2", "-pthread", "-c", "team.c", "-o", "t.o")
