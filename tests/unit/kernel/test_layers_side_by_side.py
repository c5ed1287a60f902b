"""The tasks of a stack: each runs once, after what it reads, also where threads are late."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from derive.build.templates import environment
from derive.emit.c.shared_header import render_header

TESTS = Path(__file__).parents[2]
SANITIZE = "-fsanitize=thread"

#: Faults of the protocol: what is replaced.
FAULTS = {
    "two members take one task": (
        "__atomic_fetch_add(self->progress, (size_t)1, __ATOMIC_RELAXED)",
        "__atomic_load_n(self->progress, __ATOMIC_RELAXED);\n"
        "        DERIVE_LAYERS_STEP();\n"
        "        __atomic_store_n(self->progress, k + 1, __ATOMIC_RELAXED)",
    ),
    "a task begins before what it reads is complete": (
        "wait_until_complete(self, own->first + i);", "",
    ),
    "a task is complete before it has run": (
        "    DERIVE_LAYERS_STEP();\n    if (__atomic_load_n(failed",
        "    __atomic_store_n(done_of(self, k), COMPLETE, __ATOMIC_RELEASE);\n"
        "    DERIVE_LAYERS_STEP();\n    if (__atomic_load_n(failed",
    ),
    "members share a workspace": ("member * self->room", "0 * member"),
}  # fmt: skip


def program(folder: Path, *flags: str, fault: tuple[str, str] | None = None) -> list[str]:
    """tests/c/layers.c with the tasks, which delay their threads."""
    text = environment().get_template("c/layers.c.j2").render()
    if fault:
        assert text.count(fault[0]) == 1
        text = text.replace(*fault)
    (folder / "derive_kernels.h").write_text(render_header())
    (folder / "tasks.c").write_text(text)
    command = ["gcc", "-std=c11", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
    command += ["-include", str(TESTS / "c/pool_delays.h"), *flags, str(folder / "tasks.c")]
    command += [str(TESTS / "c/layers.c"), "-o", str(folder / "layers")]
    subprocess.run(command, check=True)
    return [str(folder / "layers")]


def status(command: list[str], calls: int) -> int:
    try:
        run = subprocess.run([*command, str(calls)], capture_output=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        return 1
    return run.returncode


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@needs_gcc
def test_late_threads_run_each_layer_once_and_after_what_it_reads(tmp_path: Path) -> None:
    assert status(program(tmp_path), 200) == 0


@needs_gcc
def test_a_thread_sanitizer_finds_nothing(tmp_path: Path) -> None:
    assert status(program(tmp_path, SANITIZE), 60) == 0


@needs_gcc
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_protocol_is_seen(name: str, tmp_path: Path) -> None:
    assert status(program(tmp_path, SANITIZE, fault=FAULTS[name]), 400) != 0
