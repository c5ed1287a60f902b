"""Elementwise recurrences in C: units that run through time by themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import LENGTHS, check_agreement, forward, make
from strange_cells import CELLS
from test_c_target import WAYS, kernel_of, poisoned  # noqa: F401 - a fixture

from derive import cells, pipeline
from derive.cell import Cell
from derive.kernel.c_backend import CBackend
from derive.kernel.call import Call
from derive.kernel.signature import Sizes
from derive.kernel.tune.backend import TunedBackend

SPECS = ("min_gru", "min_lstm", "sru", "indrnn:activation=tanh")
TEXTS = ("alone", "alone_mean", "one_wide", "noparams", "wnan", "narrow_next")


def cell_of(name: str) -> Cell:
    return Cell.parse(CELLS[name]) if name in TEXTS else cells.from_spec(name)


def function(text: str, name: str) -> str:
    """The definition of a C function."""
    head = rf"^\w[^\n;]*\bDK_NAME\({name}\)\([^;{{]*\)\n{{\n.*?^}}"
    (found,) = re.findall(head, text, re.M | re.S)
    return str(found)


@pytest.mark.parametrize("name", [*SPECS, *TEXTS])
@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_no_thread_waits_between_steps(name: str, pass_: str) -> None:
    cell = cell_of(name)
    text = pipeline.emit(cell, "c")[f"c/{cell.name}.c"]
    assert "for (" not in function(text, f"{pass_}_chunk")
    steps = f"DK_NAME({pass_}_steps)(call, first, steps, team)"
    assert steps in function(text, f"{pass_}_chunk")
    assert "dk_wait" not in function(text, f"{pass_}_steps_run")
    assert "k < steps" not in text


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_cells_whose_units_meet_wait_in_every_step(name: str) -> None:
    text = pipeline.emit(cells.from_spec(name), "c")[f"c/{name}.c"]
    assert "k < steps" in function(text, "forward_chunk")
    assert "_steps_run" not in text


def test_states_of_two_widths_take_their_steps_together() -> None:
    text = pipeline.emit(Cell.parse(CELLS["two_widths"]), "c")["c/two_widths.c"]
    assert "_steps_run" not in text


#: Elements of a step, three rows each: part of a vector; vectors and a tail; more vectors than
#: are taken through time together.
WIDTHS = (1, 2, 18, 32, 700)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [*SPECS, *TEXTS])
def test_every_width_agrees_with_the_interpreter(name: str, dtype: str) -> None:
    cell = cell_of(name)
    kernel = kernel_of(cell, dtype, threads=2)
    kernel._backend._pays = lambda *_: True  # type: ignore[attr-defined]
    for width in WIDTHS:
        for lengths, reverse in WAYS:
            sizes = {"I": 3, "H": width}
            check_agreement(kernel, make(cell, lengths, reverse, sizes=sizes, spread=0.5), 4.0)


@pytest.mark.parametrize("bits", [1, 128, 256, 512])
@pytest.mark.parametrize("name", ["alone", "alone_mean"])
def test_every_vector_width_agrees(name: str, bits: int) -> None:
    cell = cell_of(name)
    kernel = kernel_of(cell, "float32", f"-DDK_VECTOR_BITS={bits}", "-Wno-psabi")
    for width in (2, 18):
        check_agreement(kernel, make(cell, LENGTHS, True, sizes={"I": 3, "H": width}), 4.0)


@pytest.mark.parametrize("name", ["min_gru", "alone"])
def test_chunks_hand_states_on(name: str) -> None:
    cell = cell_of(name)
    kernel, whole = kernel_of(cell, "float64", "-DDK_CHUNK_ROWS=6"), kernel_of(cell, "float64")
    for lengths, reverse in WAYS:
        case = make(cell, lengths, reverse)
        check_agreement(kernel, case)
        short, long = (forward(k, case, training=False) for k in (kernel, whole))
        assert all(np.array_equal(short.outputs[n], long.outputs[n]) for n in long.outputs)
        assert all(np.array_equal(short.states[n], long.states[n]) for n in long.states)


@pytest.mark.parametrize("rows, width", [(1, 7), (1, 150), (5, 33), (40, 3), (3, 1000)])
def test_bits_do_not_depend_on_threads_or_training(rows: int, width: int) -> None:
    cell = cells.from_spec("min_gru")
    kernels = [kernel_of(cell, "float32", threads=count) for count in (1, 2, 3)]
    for kernel in kernels[1:]:
        kernel._backend._pays = lambda *_: True  # type: ignore[attr-defined]
    random = np.random.default_rng(rows)
    params = kernels[0].init(I=9, H=width, seed=1)
    x = random.standard_normal((300, rows, 9)).astype(np.float32)
    lengths = random.integers(0, 301, rows)
    runs = [kernel.forward(params, x, None, lengths) for kernel in kernels]
    d_output = random.standard_normal(runs[0].output.shape)
    grads = [k.backward(run, d_output) for k, run in zip(kernels, runs, strict=True)]
    inference = kernels[2].forward(params, x, None, lengths, training=False)

    def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return all(np.array_equal(a[name], b[name]) for name in a)

    for run in (*runs[1:], inference):
        assert same(run.outputs, runs[0].outputs) and same(run.states, runs[0].states)
    for grad in grads[1:]:
        assert same(grad.params, grads[0].params) and same(grad.inputs, grads[0].inputs)
        assert same(grad.states, grads[0].states)


def test_no_step_and_no_row_leave_the_state_as_it_was() -> None:
    cell = cells.from_spec("min_gru")
    kernel = kernel_of(cell, "float32")
    params = kernel.init(I=3, H=20)
    h = np.arange(40, dtype=np.float32).reshape(2, 20)
    run = kernel.forward(params, np.zeros((0, 2, 3), np.float32), {"h": h})
    assert np.array_equal(run.states["h"], h) and run.output.shape == (0, 2, 20)
    run = kernel.forward(params, np.zeros((4, 0, 3), np.float32))
    assert run.states["h"].shape == (0, 20) and run.output.shape == (4, 0, 20)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
@pytest.mark.parametrize("bits", [1, 512])
def test_sanitizers_find_nothing(tmp_path: Path, sanitizer: str, bits: int) -> None:
    for path, text in pipeline.emit(cells.from_spec("min_gru"), "c").items():
        (tmp_path / Path(path).name).write_text(text)
    shutil.copy(Path(__file__).parents[2] / "c" / "elementwise.c", tmp_path / "driver.c")
    command = ("gcc", "-std=c11", "-O1", "-g", "-march=native", "-DDK_ONLY_F32", "-DDK_ROWS_MAX=1",
               f"-DDK_VECTOR_BITS={bits}", "-Wno-psabi", f"-fsanitize={sanitizer}",
               "-fno-sanitize-recover=all", "driver.c", "min_gru.c", "-o", "driver", "-lm",
               "-pthread")  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    options = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run(["./driver"], cwd=tmp_path, check=True, env=options)


def test_a_second_thread_joins_earlier_where_nobody_waits() -> None:
    """Between two meetings lies a chunk of steps, not one."""

    def joins(name: str, steps: int, rows: int, width: int) -> bool:
        cell = cells.from_spec(name)
        kernel = pipeline.compile(cell, "c", "float32", threads=2)
        backend = kernel._backend
        assert isinstance(backend, TunedBackend) and isinstance(backend.default, CBackend)
        dims = dict.fromkeys(kernel.signature.dims(), width)
        return backend.default.team(Call(Sizes(steps, rows, dims), kernel.init(dims), {}, {})) == 2

    assert joins("min_gru", 100, 1, 128) and not joins("min_gru", 1, 1, 128)
    assert joins("min_gru", 1000, 1, 64) and not joins("min_gru", 1000, 1, 16)
    assert joins("gru", 100, 1, 128) and not joins("gru", 1000, 1, 64)
