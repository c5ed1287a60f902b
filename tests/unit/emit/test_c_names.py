"""Headers of generated cells live beside a program's macros and every header of C."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from strange_cells import CELLS

from derive import cells, pipeline
from derive.cell import Cell
from derive.emit.c.syntax import member_names

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
#: C11, 7.1.2; what a compiler has none of (threads.h, stdatomic.h) is left out.
HEADERS = (
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal "
    "stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath "
    "threads time uchar wchar wctype"
).split()
#: C++ has its own: <complex.h> and <tgmath.h> mean <complex>, <stdatomic.h> clashes before C++23.
ONLY_C = {"stdatomic", "threads", "stdnoreturn", "tgmath", "complex"}
#: What programs for small machines and for Windows define, besides single letters.
MACROS = (
    "ABS ALIGN ARRAY_SIZE BATCH BIT BLOCK BUFFER COUNT DEFAULT DEPTH DIM DISABLE ENABLE ERROR "
    "FALSE FIRST FLAG FORWARD GATES HEIGHT HIDDEN HIGH IN INLINE INPUT LANES LAST LENGTH LOW MAX "
    "MIN NUM OFF OK ON OUT OUTPUT PACKED PI RESET ROWS SAVED SET SIZE SIZES STATE STATUS STEPS "
    "SUCCESS TEAM TRUE UNITS UNUSED WIDTH F32 F64 f32 f64 near far small interface"
).split()
#: Names of arrays as authors choose them, and what C or a program has taken.
AWKWARD = """
cell awkward
input  X: I, I: E
state  H: N, near: N
param  W: N x I
param  EOF: N x E
param  errno: N
param  complex: N
a  = W @ X + EOF @ I + errno
H' = tanh(a + complex * H)
near' = near + H'
output H', near
"""


def programs(folder: Path) -> list[Cell]:
    made = [cells.from_spec(spec) for spec in ("rnn", "lstm", "nas", "min_gru", "phased_lstm")]
    made += [Cell.parse(AWKWARD), Cell.parse(CELLS["collide"])]
    for cell in made:
        for path, text in pipeline.emit(cell, "c").items():
            (folder / Path(path).name).write_text(text)
    return made


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("language", ["c", "c++"])
def test_a_header_compiles_after_every_header_of_c_and_a_programs_macros(
    tmp_path: Path, compiler: str, language: str
) -> None:
    lines = []
    for header in HEADERS:
        if language == "c" or header not in ONLY_C:
            lines += [f"#if __has_include(<{header}.h>)", f"#include <{header}.h>", "#endif"]
    for name in (*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *MACROS):
        lines += [f"#undef {name}", f"#define {name} 16"]
    lines += ["#define min(a, b) ((a) < (b) ? (a) : (b))", "#define max(a, b) 3"]
    if language == "c++":
        lines = [line for line in lines if not re.match(r"#(?:define|undef) (?:min|max)\b", line)]
    for cell in programs(tmp_path):
        lines += [f'#include "{cell.name}.h"']
        lines += [f"int use_{cell.name}({cell.name}_f32_forward_args *args);"]
        lines += [f"int use_{cell.name}({cell.name}_f32_forward_args *args)"]
        lines += [f"{{ return (int){cell.name}_f32_forward(args, NULL); }}"]
    source = tmp_path / f"program.{'c' if language == 'c' else 'cpp'}"
    source.write_text("\n".join(lines) + "\n")
    standard = "-std=gnu11" if language == "c" else "-std=c++17"
    run(tmp_path, compiler, "-x", language, standard, "-Wall", "-Wextra", "-Werror",
        "-fsyntax-only", source.name)  # fmt: skip


@pytest.mark.parametrize("compiler", COMPILERS)
def test_awkward_names_compile(tmp_path: Path, compiler: str) -> None:
    programs(tmp_path)
    run(tmp_path, compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O0", "-c", "awkward.c")


def test_a_member_that_would_meet_a_macro_gives_way() -> None:
    found = member_names(["W", "W_i", "I", "x", "EOF", "b1", "N2", "complex"])
    assert found == {
        "W": "W_", "W_i": "W_i", "I": "I_", "x": "x", "EOF": "EOF_", "b1": "b1", "N2": "N2_",
        "complex": "complex_",
    }  # fmt: skip
    assert len(set(member_names(["W", "w_", "W_", "h_next", "H"]).values())) == 5


def test_a_program_that_only_calls_a_cell_reads_no_kernels(tmp_path: Path) -> None:
    """So it may be compiled with other flags, -ffast-math among them."""
    programs(tmp_path)
    (tmp_path / "main.c").write_text('#include "lstm.h"\n')
    text = run(tmp_path, COMPILERS[0], "-std=c11", "-ffast-math", "-E", "-P", "main.c")
    assert "dk_team" in text and "dk_tanh" not in text and "vector_size" not in text
