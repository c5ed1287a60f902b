"""Generated cells on emulated boards: built with a cross compiler, run under QEMU, read back.

In: a cell of the mcu target, a board, a point.  Out: the arrays that the device computed, and how
many instructions it took (`-icount shift=0`: one nanosecond each).
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive.mcu.params_header import Given, render
from derive.verification.reference import Point

HERE = Path(__file__).parents[1] / "c" / "board.c"

WARNINGS = (
    "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wdouble-promotion", "-Wvla",
    "-Wshadow",
)  # fmt: skip

ARM, RISCV = "arm-none-eabi", "riscv64-unknown-elf"
_HARD = "-mfloat-abi=hard"
_RISCV = ("-mcmodel=medany", "--specs=picolibc.specs")

#: The flags of each core that the target is compiled for.
CORES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cortex-m0": (ARM, ("-mcpu=cortex-m0", "-mthumb")),
    "cortex-m3": (ARM, ("-mcpu=cortex-m3", "-mthumb")),
    "cortex-m4": (ARM, ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", _HARD)),
    "cortex-m7": (ARM, ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", _HARD)),
    "cortex-m33": (ARM, ("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", _HARD)),
    "cortex-m55": (ARM, ("-mcpu=cortex-m55", "-mthumb", _HARD)),
    "rv32imac": (RISCV, ("-march=rv32imac", "-mabi=ilp32", *_RISCV)),
    "rv32imafc": (RISCV, ("-march=rv32imafc", "-mabi=ilp32f", *_RISCV)),
}


@dataclass(frozen=True, slots=True)
class Board:
    """rom, ram: (first address, bytes), one for both.  tick: nanoseconds of its clock."""

    machine: str
    core: str
    rom: tuple[int, int]
    ram: tuple[int, int]
    tick: float = 1.0
    emulator: tuple[str, ...] = ("qemu-system-arm",)


BOARDS = {
    "mps2-an385": Board("mps2-an385", "cortex-m3", (0, 4 << 20), (0x20000000, 4 << 20), 40.0),
    # Code for a Cortex-M0 runs on an M3.
    "mps2-an385 cortex-m0": Board(
        "mps2-an385", "cortex-m0", (0, 4 << 20), (0x20000000, 4 << 20), 40.0
    ),
    "mps2-an386": Board("mps2-an386", "cortex-m4", (0, 4 << 20), (0x20000000, 4 << 20), 40.0),
    "mps2-an500": Board("mps2-an500", "cortex-m7", (0, 4 << 20), (0x20000000, 4 << 20), 40.0),
    "mps2-an505": Board(
        "mps2-an505", "cortex-m33", (0x10000000, 4 << 20), (0x38000000, 2 << 20), 50.0
    ),
    "mps3-an547": Board(
        "mps3-an547", "cortex-m55", (0x10000000, 512 << 10), (0x30000000, 512 << 10), 31.25
    ),
    "virt rv32imac": Board(
        "virt", "rv32imac", (0x80000000, 4 << 20), (0x80400000, 4 << 20),
        emulator=("qemu-system-riscv32", "-bios", "none"),
    ),
    "virt rv32imafc": Board(
        "virt", "rv32imafc", (0x80000000, 4 << 20), (0x80400000, 4 << 20),
        emulator=("qemu-system-riscv32", "-bios", "none"),
    ),
}  # fmt: skip


def compiler(core: str) -> str:
    return f"{CORES[core][0]}-gcc"


def need(*programs: str) -> None:
    """Skip a test where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")


def run(command: Sequence[str], folder: Path, seconds: float = 60) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write(files: Mapping[str, str], folder: Path) -> None:
    for path, text in files.items():
        place = folder / path.removeprefix("mcu/")
        place.write_text(text)


@dataclass(frozen=True, slots=True)
class Measured:
    """text, data, bss: bytes.  stack: {function: bytes}.  undefined: symbols from elsewhere."""

    text: int
    data: int
    bss: int
    stack: Mapping[str, int]
    undefined: frozenset[str]


def measured(name: str, core: str, folder: Path, options: Sequence[str] = ("-Os",)) -> Measured:
    """Of NAME.c, compiled with all warnings."""
    prefix, flags = CORES[core]
    command = (compiler(core), "-std=c99", *WARNINGS, *flags, *options, "-fstack-usage")
    run((*command, "-c", f"{name}.c", "-o", "unit.o"), folder)
    size = run((f"{prefix}-size", "unit.o"), folder).splitlines()[1].split()
    symbols = run((f"{prefix}-nm", "-u", "unit.o"), folder).split()
    stack = {}
    for line in (folder / "unit.su").read_text().splitlines():
        place, count, _ = line.split("\t")
        stack[place.rpartition(":")[2]] = int(count)
    undefined = frozenset(word for word in symbols if word != "U")
    return Measured(int(size[0]), int(size[1]), int(size[2]), stack, undefined)


# --- running --------------------------------------------------------------------------------


def linker_script(board: Board) -> str:
    rom, ram = (f"ORIGIN = {a:#x}, LENGTH = {n:#x}" for a, n in (board.rom, board.ram))
    return f"""\
MEMORY {{ ROM (rx) : {rom}  RAM (rwx) : {ram} }}
ENTRY({"board_start" if board.core.startswith("rv") else "begin"})
SECTIONS {{
  .text : {{ KEEP(*(.start)) *(.text*) *(.rodata*) *(.srodata*) *(.sdata*) *(.data*) }} > ROM
  .bss (NOLOAD) : {{ . = ALIGN(4); board_bss_begin = .; *(.bss*) *(.sbss*) *(COMMON) . = ALIGN(4);
                     board_bss_end = .; }} > RAM
  board_stack_end = ORIGIN(RAM) + LENGTH(RAM);
  /DISCARD/ : {{ *(.ARM.exidx*) *(.ARM.extab*) *(.eh_frame*) *(.comment*) }}
}}
"""


def on_board(
    board: Board, main: str, files: Mapping[str, str], options: Sequence[str], units: Sequence[str]
) -> list[int]:
    """The words that a program prints. units: the .c files besides main.c."""
    _, flags = CORES[board.core]
    need(compiler(board.core), board.emulator[0])
    with tempfile.TemporaryDirectory(prefix="derive-board-") as name:
        folder = Path(name)
        write(files, folder)
        (folder / "main.c").write_text(main)
        (folder / "board.c").write_text(HERE.read_text())
        (folder / "board.ld").write_text(linker_script(board))
        own = tuple(f.replace("rv32imafc", "rv32imafc_zicsr").replace("rv32imac", "rv32imac_zicsr")
                    for f in flags)  # fmt: skip
        start = (
            compiler(board.core),
            "-std=gnu99",
            *own,
            "-O1",
            "-fno-tree-loop-distribute-patterns",
        )
        run((*start, "-c", "board.c", "-o", "board.o"), folder)
        run((compiler(board.core), "-std=c99", *flags, *options, "-c", *units, "main.c"), folder)
        objects = [unit.replace(".c", ".o") for unit in units]
        link = (
            compiler(board.core),
            *flags,
            "-nostdlib",
            "-Tboard.ld",
            "-Wl,--no-warn-rwx-segments",
        )
        run((*link, "board.o", "main.o", *objects, "-lc", "-lgcc", "-o", "program.elf"), folder)
        emulate = (
            *board.emulator, "-M", board.machine, "-nographic", "-icount", "shift=0",
            "-semihosting-config", "enable=on,target=native", "-kernel", "program.elf",
        )  # fmt: skip
        done = subprocess.run(
            emulate, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        words = re.findall(r"^[0-9a-f]{8}$", said, re.MULTILINE)
        return [int(word, 16) for word in words]


def counted(
    name: str, board: Board, main: str, files: Mapping[str, str], options: Sequence[str]
) -> tuple[int, float]:
    """main.c of an export on a board, without its printing: numbers that differ, and instructions
    of all steps."""
    head = "void board_print(const void *values, int count);\nuint32_t board_clock(void);\n"
    main = main.replace("#include <stdio.h>\n", f"#include <stdint.h>\n{head}")
    main = re.sub(r' *printf\("(?: %d|%s|\\n| %\.9g)".*\n', "", main)
    main = main.replace('printf("%d numbers differ\\n", wrong);', "board_print(&wrong, 1);")
    main = main.replace("int found = 0;", "int found = 0;\n    (void)name;")
    main = main.replace("int wrong = 0;", "int wrong = 0;\n    uint32_t spent = 0, before;")
    call = f"{name}_step("
    main = main.replace(call, f"before = board_clock();\n        {call}")
    main = main.replace(
        "        wrong +=",
        "        spent += (board_clock() - before) & 0xffffffu;\n        wrong +=", 1,
    )  # fmt: skip
    main = main.replace("return wrong != 0;", "board_print(&spent, 1);\n    return 0;")
    wrong, ticks = on_board(board, main, files, options, (f"{name}.c",))
    return wrong, ticks * board.tick


#: What takes the place of a board where a program runs on this machine.
HOST = """\
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void board_print(const void *values, int count);
uint32_t board_clock(void);

void board_print(const void *values, int count)
{
    for (int n = 0; n < count; ++n) {
        uint32_t word;
        memcpy(&word, (const char *)values + 4 * n, sizeof word);
        printf("%08" PRIx32 "\\n", word);
    }
}

uint32_t board_clock(void)
{
    return 0;
}
"""

SANITIZERS = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")


def on_host(
    main: str, files: Mapping[str, str], options: Sequence[str], units: Sequence[str]
) -> list[int]:
    """The words that the same program prints here, under sanitizers."""
    need("gcc")
    with tempfile.TemporaryDirectory(prefix="derive-board-") as name:
        folder = Path(name)
        write(files, folder)
        (folder / "main.c").write_text(main)
        (folder / "host.c").write_text(HOST)
        command = ("gcc", "-std=c99", *SANITIZERS, *options, *units, "main.c", "host.c")
        run((*command, "-o", "program"), folder)
        return [int(word, 16) for word in run(("./program",), folder).split()]


def constants(name: str, array: Any) -> str:
    """A constant array of floats."""
    shape = "".join(f"[{length}]" for length in np.shape(array))

    def braced(part: Any) -> str:
        if np.ndim(part) == 0:
            return f"{float(np.float32(part)).hex()}f"
        return "{" + ", ".join(map(braced, part)) + "}"

    return f"static const float {name}{shape} = {braced(array)};\n"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a device computed at a point of one row. descended: parameters after `descend` with a
    rate of 1/2. `instructions`: of all steps, of forward and
    of backward; what the loop around the steps takes is in it."""

    steps: Mapping[str, Any]
    after_steps: Mapping[str, Any]
    outputs: Mapping[str, Any]
    states: Mapping[str, Any]
    gradients: Mapping[str, Any]
    descended: Mapping[str, Any]
    instructions: Mapping[str, float]


def ran(
    cell: derive.Cell, board: Board | None, point: Point, options: Sequence[str] = ("-O2",)
) -> Ran:
    """Step by step over all of the point, then a window over the same: forward, backward and one
    step of descent. board: None for this machine, under sanitizers."""
    signature = derive.pipeline.signature_of_parts(cell)
    step, name, upper = cell.step, cell.name, cell.name.upper()
    files = dict(derive.emit(cell, "mcu"))
    of_parts = Given({}, dict(point.params), point.sizes)
    files[f"mcu/{name}_params.h"] = render(cell, of_parts)
    lengths = {**signature.states, **signature.inputs, **signature.outputs}
    sizes = {dim: point.sizes[dim] for dim in signature.dims()}
    count = point.steps
    readers = re.findall(rf"float \*({name}_\w+_at)", files[f"mcu/{name}.h"])
    keys = list(cell.output_keys)

    def width(label: str) -> int:
        axes = lengths[label] if isinstance(lengths[label], tuple) else (lengths[label],)
        return int(np.prod([sizes.get(axis, axis) for axis in axes]))  # type: ignore[call-overload]

    main = [f'#include "{name}_params.h"\n', "#include <stdint.h>\n#include <string.h>\n",
            "void board_print(const void *values, int count);\n",
            "uint32_t board_clock(void);\n"]  # fmt: skip
    main += [constants(f"in_{n}", point.inputs[n][:, 0]) for n in step.inputs]
    for array, key in zip(step.outputs, keys, strict=True):
        main.append(constants(f"seed_{key}", point.d_outputs[array][:, 0]))
        main.append(f"static float out_{key}[{count}][{width(key)}];\n")
    for n in step.states:
        main.append(constants(f"first_{n}", point.states[n][0]))
        main.append(constants(f"last_{n}", point.d_states[n][0]))
    main.append(f"static {name}_state state;\nstatic {name}_tape tape;\n")
    main.append(f"static {name}_params d_p, trained;\n")
    own = f"&{name}_weights"
    if f"{name}_prepare(" in files[f"mcu/{name}.h"]:
        main.append(f"static {name}_prepared prepared;\n")
        own += ", &prepared"
    for n in step.inputs:
        main.append(f"static float d_{n}_all[{count}][{width(n)}];\n")
    main.append("int main(void)\n{\n    uint32_t ticks[4];\n")
    states = [f"    memcpy(state.{n}, first_{n}, sizeof state.{n});\n" for n in step.states]
    inputs, outs = [f"in_{n}" for n in step.inputs], [f"out_{key}" for key in keys]
    arguments = ", ".join([*(f"{x}[t]" for x in inputs), *(f"{y}[t]" for y in outs)])
    main += states
    if "prepared" in own:
        main.append(f"    {name}_prepare({own});\n")
    main.append("    ticks[0] = board_clock();\n")
    main.append(f"    for (int t = 0; t < {count}; ++t) {{\n")
    main.append(f"        {name}_step({own}, &state, {arguments});\n    }}\n")
    main.append("    ticks[1] = board_clock();\n")
    main += [
        f"    board_print({y}, {count * width(key)});\n" for y, key in zip(outs, keys, strict=True)
    ]
    main.append("    board_print(&state, sizeof state / 4);\n")
    main += states
    given = "".join(f", {x}" for x in inputs)
    main.append("    ticks[2] = board_clock();\n")
    main.append(f"    {name}_forward({own}, &state, &tape{given}, {count});\n")
    main.append(
        "    ticks[3] = board_clock();\n    ticks[1] -= ticks[0];\n    ticks[3] -= ticks[2];\n"
    )
    main.append("    board_print(ticks + 1, 1);\n    board_print(ticks + 3, 1);\n")
    for reader, key in zip(readers, keys, strict=True):
        main.append(f"    for (int t = 0; t < {count}; ++t) {{\n")
        main.append(f"        board_print({reader}(&tape, t), {width(key)});\n    }}\n")
    main.append("    board_print(&state, sizeof state / 4);\n")
    main += [f"    memcpy(state.{n}, last_{n}, sizeof state.{n});\n" for n in step.states]
    seeds = "".join(f", seed_{key}" for key in keys)
    back = "".join(f", d_{n}_all" for n in step.inputs)
    main.append("    ticks[0] = board_clock();\n")
    main.append(f"    {name}_backward({own}, &tape{given}{seeds}, &d_p, &state{back}, {count});\n")
    main.append("    ticks[1] = board_clock() - ticks[0];\n    board_print(ticks + 1, 1);\n")
    main.append(
        "    board_print(&d_p, sizeof d_p / 4);\n    board_print(&state, sizeof state / 4);\n"
    )
    main += [f"    board_print(d_{n}_all, {count * width(n)});\n" for n in step.inputs]
    main.append(f"    memcpy(&trained, &{name}_weights, sizeof trained);\n")
    main.append(f"    {name}_descend(&trained, &d_p, 0.5f);\n")
    main.append("    board_print(&trained, sizeof trained / 4);\n")
    main.append("    return 0;\n}\n")
    defines = [f"-D{upper}_{dim}={length}" for dim, length in sizes.items()]
    defines += [f"-D{upper}_T={count}", f"-D{upper}_TRAIN"]
    program = "".join(main), files, (*options, *defines), (f"{name}.c",)
    words = on_host(*program) if board is None else on_board(board, *program)
    return _read(words, cell, point, board)


def _read(words: list[int], cell: derive.Cell, point: Point, board: Board | None) -> Ran:
    from derive.kernel.mcu_layout import members

    step = cell.step
    at = 0

    def take(shape: tuple[int, ...]) -> Any:
        nonlocal at
        count = int(np.prod(shape))
        raw = struct.pack(f"<{count}I", *words[at : at + count])
        at += count
        return np.frombuffer(raw, np.float32).reshape(shape).astype(np.float64)

    def ticks() -> float:
        nonlocal at
        at += 1
        if board is None:
            return 0.0
        count = words[at - 1]
        return (count if board.core.startswith("rv") else count & 0xFFFFFF) * board.tick

    outputs = {a: np.shape(point.d_outputs[a][:, 0]) for a in step.outputs}
    states = {n: np.shape(point.states[n][0]) for n in step.states}
    by_step = {a: take(shape)[:, None] for a, shape in outputs.items()}
    after = {n: take(shape)[None] for n, shape in states.items()}
    counts = {"step": ticks(), "forward": ticks()}
    window = {a: take(shape)[:, None] for a, shape in outputs.items()}
    last = {n: take(shape)[None] for n, shape in states.items()}
    counts["backward"] = ticks()
    signature = derive.pipeline.signature_of_parts(cell)

    def take_params() -> dict[str, Any]:
        found = {}
        for member in members(signature.params):
            array = take(tuple(point.sizes.get(d, d) for d in member.axes))  # type: ignore[call-overload]
            for k, name in enumerate(member.params):
                found[name] = array if member.axis is None else np.take(array, k, axis=member.axis)
        return found

    found = take_params()
    found |= {n: take(shape)[None] for n, shape in states.items()}
    found |= {n: take(np.shape(point.inputs[n][:, 0]))[:, None] for n in step.inputs}
    trained = take_params()
    assert at == len(words)
    return Ran(by_step, after, window, last, found, trained, counts)
