"""Generated cells on cores of microcontrollers: warnings, sizes, and what emulated boards compute.

`INSTRUCTIONS` holds counts of one compiler version. They are deterministic: 2 % more fails.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import boards
import numpy as np
import pytest
from boards import ARM, BOARDS, CORES, compiler, measured, need, ran, write

import derive
from derive.verification.kinks import kinks_of
from derive.verification.points import find, small_sizes
from derive.verification.through_time import backward_of
from derive.verification.truth import Truth, establish, judge_forward, judge_gradient

SAMPLE = ("lstm", "mamba2", "lstm_layer_norm_ba2016")
#: Helpers of libgcc for cores without an FPU, and 64-bit numbers on 32-bit cores.
HELPERS = tuple(
    "__aeabi_ __gnu_ __mul __add __sub __div __float __fix __lt __le __gt __ge __eq __ne __unord "
    "__ashl __lshr __ashr".split()
)
#: Cells with an exception from 2 KiB for a step: layer norm, and matrix memories.
LARGE = 4096


def files_of(name: str) -> tuple[derive.Cell, dict[str, str]]:
    cell = getattr(derive.cells, name)()
    return cell, derive.emit(cell, "mcu")


def check_core(name: str, core: str, folder: Path) -> None:
    cell, files = files_of(name)
    write(files, folder)
    for options in (("-Os",), ("-O2", f"-D{cell.name.upper()}_TRAIN")):
        found = measured(cell.name, core, folder, options)
        assert found.data == 0 and found.bss == 0
        strange = {s for s in found.undefined if not s.startswith(HELPERS)}
        assert strange <= {"memcpy", "memset"}, strange


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", SAMPLE)
def test_a_core_s_compiler_has_nothing_to_say_and_nothing_is_missing(
    name: str, core: str, tmp_path: Path
) -> None:
    need(compiler(core))
    check_core(name, core, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in derive.cells.names() if n not in SAMPLE])
def test_no_cell_makes_any_core_s_compiler_speak(name: str, tmp_path: Path) -> None:
    for core in CORES:
        need(compiler(core))
        check_core(name, core, tmp_path)


def test_the_lstm_is_as_small_as_was_asked(tmp_path: Path) -> None:
    """I = 16, H = 32, on a Cortex-M4F."""
    need(f"{ARM}-gcc")
    _, files = files_of("lstm")
    write(files, tmp_path)
    step = measured("lstm", "cortex-m4", tmp_path)
    assert step.text <= 900
    assert sum(step.stack.values()) <= 128  # at most: no two functions of the same depth
    train = measured("lstm", "cortex-m4", tmp_path, ("-Os", "-DLSTM_TRAIN"))
    assert train.text <= 3 * 1024
    assert "lstm_backward" in train.stack


@pytest.mark.slow
@pytest.mark.parametrize("name", derive.cells.names())
def test_a_step_of_any_cell_fits_in_two_kilobytes(name: str, tmp_path: Path) -> None:
    need(f"{ARM}-gcc")
    cell, files = files_of(name)
    write(files, tmp_path)
    has_axes = any(len(shape) > 1 for shape in cell.states.values())
    large = has_axes or "norm" in cell.to_text() or name == "nas"
    assert measured(cell.name, "cortex-m4", tmp_path).text <= (LARGE if large else 2048)


# --- run ------------------------------------------------------------------------------------

STEPS = 20
CELLS = ("lstm", "gru_reset_before", "lstm_layer_norm_ba2016", "mamba2")


@cache
def truth_of(name: str, large: bool = False) -> Truth:
    """A point of one row, and what the interpreter says there."""
    cell = getattr(derive.cells, name)()
    sizes = {"I": 16, "H": 32} if large else small_sizes(cell.step)
    found = find(cell.step, kinks_of(cell.step.program), sizes, STEPS, 1, seed=(0, 1))
    return establish(found, backward_of(derive.differentiate(cell)), (0, 2), how="none")


def check_board(name: str, board: str) -> None:
    """Step by step, and a training window with one step of descent."""
    truth, where = truth_of(name), board
    cell = getattr(derive.cells, name)()
    place = None if board == "here" else BOARDS[board]
    found = ran(cell, place, truth.point, ("-O0",) if place is None else ("-O2",))
    rows = judge_forward(truth, "window", where, found.outputs, found.states, "float32")
    rows += judge_forward(truth, "step", where, found.steps, found.after_steps, "float32")
    rows += judge_gradient(truth, "gradient", where, found.gradients, "float32")
    assert not [row for row in rows if not row.ok]
    wholes = cell.checked.wholes
    fixed = {part for n in cell.checked.fixed for part, *_ in wholes.get(n, ((n,),))}
    for name, array in truth.point.params.items():
        wanted = array - 0.5 * found.gradients[name] * (name not in fixed)
        assert np.allclose(found.descended[name], wanted, rtol=1e-6, atol=1e-7), name


@pytest.mark.parametrize(("board", "name"), [*zip(BOARDS, (*CELLS, *CELLS), strict=False)])
def test_a_board_computes_what_the_interpreter_computes(board: str, name: str) -> None:
    check_board(name, board)


@pytest.mark.parametrize("name", ["gru", "lru"])
def test_sanitizers_find_nothing_in_a_step_and_a_window(name: str) -> None:
    """Addresses, undefined behaviour, conversions of floats."""
    check_board(name, "here")


@pytest.mark.slow
@pytest.mark.parametrize("name", derive.cells.names())
def test_sanitizers_find_nothing_in_any_cell(name: str) -> None:
    check_board(name, "here")


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("name", CELLS)
def test_every_board_computes_what_the_interpreter_computes(board: str, name: str) -> None:
    check_board(name, board)


#: (cell, board, flag): instructions of a step, and of a step of forward and of backward, at
#: I = 16, H = 32, with gcc 12.2.
INSTRUCTIONS: dict[tuple[str, str, str], tuple[int, int, int]] = {
    ("rnn", "mps2-an386", "-O2"): (9_174, 9_084, 17_738),
    ("rnn", "mps2-an386", "-Os"): (9_418, 9_398, 19_788),
    ("gru", "mps2-an386", "-O2"): (17_974, 18_140, 37_380),
    ("gru", "mps2-an386", "-Os"): (19_402, 19_642, 41_660),
    ("lstm", "mps2-an386", "-O2"): (22_998, 23_206, 46_454),
    ("lstm", "mps2-an386", "-Os"): (25_548, 25_790, 50_406),
    ("janet", "mps2-an386", "-O2"): (14_678, 14_848, 30_826),
    ("janet", "mps2-an386", "-Os"): (16_074, 16_180, 34_910),
    ("lstm", "mps2-an385", "-O2"): (750_266, 750_348, 1_171_264),
    ("lstm", "virt rv32imac", "-O2"): (1_508_786, 1_508_562, 2_441_323),
    ("lstm", "virt rv32imafc", "-O2"): (25_768, 26_406, 49_701),
    ("lstm_layer_norm_ba2016", "mps2-an386", "-O2"): (29_570, 29_180, 69_654),
    ("weight_norm_lstm", "mps2-an386", "-O2"): (23_256, 23_504, 59_106),
}


def check_instructions(name: str, board: str, flag: str) -> dict[str, float]:
    core = BOARDS[board].core
    need(compiler(core))
    said = subprocess.run(
        (compiler(core), "-dumpfullversion"), capture_output=True, text=True, check=True
    )
    if not said.stdout.startswith("12.2"):
        pytest.skip(f"counts are of gcc 12.2, this is {said.stdout.strip()}")
    found = ran(getattr(derive.cells, name)(), BOARDS[board], truth_of(name, True).point, (flag,))
    counts = {what: total / STEPS for what, total in found.instructions.items()}
    for count, known in zip(counts.values(), INSTRUCTIONS[name, board, flag], strict=True):
        assert count <= 1.02 * known, counts
    return counts


def test_instructions_of_the_lstm_are_as_few_as_was_asked() -> None:
    counts = check_instructions("lstm", "mps2-an386", "-O2")
    assert counts["step"] <= 28_000 and counts["backward"] <= 62_000


@pytest.mark.slow
@pytest.mark.parametrize("key", INSTRUCTIONS, ids=" ".join)
def test_instructions_have_not_grown(key: tuple[str, str, str]) -> None:
    check_instructions(*key)


def test_a_missing_program_skips_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards.shutil, "which", lambda program: None)
    with pytest.raises(pytest.skip.Exception, match="no arm-none-eabi-gcc"):
        need("arm-none-eabi-gcc")
