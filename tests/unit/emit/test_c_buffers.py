"""Buffers of a C call have room for what the call uses; a build without threads has no atomics.

That nothing is written past them, verify and test_c_doors.py see.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive import cells, pipeline
from derive.build.library import FLAGS
from derive.emit.limits import limit
from derive.kernel import Kernel
from derive.kernel.c_backend import CBackend
from derive.kernel.signature import Sizes

COMPILER = shutil.which("gcc") or "cc"


def backend_of(spec: str, *defines: str, threads: int = 1) -> CBackend:
    cell = cells.from_spec(spec)
    flags = (*FLAGS, "-O1", *(f"-D{define}" for define in defines))
    return CBackend(pipeline.emit(cell, "c"), pipeline.signature(cell), "float32", threads, flags)


@pytest.fixture(scope="module")
def janet() -> CBackend:
    return backend_of("janet")


def needed(backend: CBackend, steps: int, rows: int, **dims: int) -> dict[str, int]:
    memory = backend._memory(Sizes(steps, rows, dims))
    return {name: int(getattr(memory, name)) for name, _ in memory._fields_}


@pytest.mark.parametrize(("steps", "rows"), [(1, 1), (1, 4), (3, 1)])
def test_a_call_of_few_rows_has_no_room_for_panels(janet: CBackend, steps: int, rows: int) -> None:
    assert steps * rows <= limit("DK_PLAIN_ROWS").value
    found = needed(janet, steps, rows, I=64, H=64)
    assert found["forward_packed"] > 16000 and found["backward_packed"] > 16000
    assert found["forward"] < 1000 and found["inference"] < 1000
    assert found["backward"] < 64 * 64


@pytest.mark.parametrize(("steps", "rows"), [(20, 1), (7, 5), (100, 32)])
def test_a_call_with_packed_parameters_has_no_room_for_panels(
    janet: CBackend, steps: int, rows: int
) -> None:
    found = needed(janet, steps, rows, I=64, H=64)
    for name, kind in (("forward", "forward"), ("inference", "forward"), ("backward", "backward")):
        assert found[name] - found[f"{name}_with_packed"] == found[f"{kind}_packed"]


def test_scratch_of_outer_products_follows_rows_and_widths(janet: CBackend) -> None:
    """736 parameters asked for 177 KB, whatever the number of rows."""
    assert 4 * needed(janet, 1, 1, I=6, H=16)["backward"] < 1000
    assert 4 * needed(janet, 10, 4, I=6, H=16)["backward"] < 20000
    few, many = (needed(janet, 1, rows, I=6, H=16)["backward"] for rows in (1, 4))
    assert few < many
    wide = needed(janet, 1000, 32, I=1000, H=1000)["backward_with_packed"]
    assert wide > limit("DK_OUTER_HEIGHT").value * limit("DK_OUTER_DEPTH").value


def test_a_packed_call_runs_in_the_smaller_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly so many elements, and the same bits as a call that packs for itself."""
    backend = backend_of("gru")
    asked: list[int] = []

    def exactly(count: int) -> Any:
        asked.append(count)
        return np.empty(max(count, 1), np.float32)

    monkeypatch.setattr(backend, "_workspace", exactly)
    monkeypatch.setattr(backend, "ready", lambda *_: None)
    kernel = Kernel(pipeline.signature(cells.gru()), backend, "float32", target="c")
    params = kernel.init(I=9, H=21, seed=1)
    x = np.random.default_rng(0).standard_normal((6, 5, 9)).astype(np.float32)
    results = []
    for given in (params, kernel.pack(params)):
        run = kernel.forward(given, x)
        grads = kernel.backward(run, run.output)
        results.append([run.output, *grads.params.values(), *grads.inputs.values()])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    assert asked[2] < asked[0] and asked[3] < asked[1]


# --- without threads ----------------------------------------------------------------------------

ALONE = """
#include <stdio.h>
#include "min_gru.h"
int main(void)
{
    dk_barrier barrier;
    const dk_team two = {0, 2, &barrier}, one = {0, 1, NULL};
    const min_gru_sizes sizes = {.steps = 2, .rows = 1, .dim_I = 1, .dim_H = 1};
    float value[8] = {0}, workspace[64];
    min_gru_memory memory;
    min_gru_f32_forward_args args = {.sizes = sizes, .params = {value, value, value, value},
        .inputs.x = value, .outputs.h_next = workspace + 60, .last.h = workspace + 62,
        .workspace = workspace};
    if (min_gru_f32_memory_needed(&sizes, 1, &memory) != DK_OK || memory.inference > 60) {
        return 9;
    }
    args.workspace_count = memory.inference;
    return min_gru_f32_forward(&args, &two) == REFUSED && min_gru_f32_forward(&args, &one) == DK_OK
        && min_gru_f32_forward(&args, NULL) == DK_OK ? 0 : 1;
}
"""


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


def test_a_build_without_threads_needs_no_atomics(tmp_path: Path) -> None:
    for path, text in pipeline.emit(cells.min_gru(), "c").items():
        (tmp_path / Path(path).name).write_text(text)
    (tmp_path / "main.c").write_text(ALONE)
    command = (COMPILER, "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-DDK_ONLY_F32")
    without = run(tmp_path, *command, "-DDK_NO_THREADS", "-E", "-P", "min_gru.c")
    usual = run(tmp_path, *command, "-E", "-P", "min_gru.c")
    atomic = re.compile(r"__atomic|__ATOMIC|pause|yield\(")
    assert atomic.search(usual) and not atomic.search(without)
    run(tmp_path, *command, "-DDK_NO_THREADS", "-DREFUSED=DK_BAD_SIZE", "main.c", "min_gru.c",
        "-o", "alone", "-lm")  # fmt: skip
    run(tmp_path, "./alone")


def test_a_team_of_several_without_a_barrier_is_refused(tmp_path: Path) -> None:
    for path, text in pipeline.emit(cells.min_gru(), "c").items():
        (tmp_path / Path(path).name).write_text(text)
    (tmp_path / "main.c").write_text(ALONE.replace("{0, 2, &barrier}", "{0, 2, NULL}"))
    run(tmp_path, COMPILER, "-std=c11", "-O1", "-DDK_ONLY_F32", "-DREFUSED=DK_NULL_POINTER",
        "main.c", "min_gru.c", "-o", "alone", "-lm")  # fmt: skip
    run(tmp_path, "./alone")
