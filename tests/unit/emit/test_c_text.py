"""Generated C as an expert compiler sees it: warnings, sanitizers, symbols, C++, widths."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from entries import SAMPLE, sampled
from strange_cells import CELLS

from derive import cells, pipeline
from derive.cell import Cell

WARNINGS = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-Wshadow",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wdouble-promotion",
    "-Wcast-qual",
    "-Wcast-align",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Wundef",
]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
#: What people compile with. Which warnings a compiler can give depends on how far it looks.
LEVELS = ("-O0", "-O2", "-O3", "-Os")
WAYS = [(compiler, level) for compiler in COMPILERS for level in LEVELS]
HEADERS = ("lstm", "gru", "lstm_layer_norm_ba2016", "min_gru")
CATALOGUE = tuple(cells.names())


def emit_into(folder: Path, name: str) -> str:
    """The C files of a cell, of the catalogue or a strange one; what they are called."""
    cell = cells.from_spec(name) if name in CATALOGUE else Cell.parse(CELLS[name])
    for path, text in pipeline.emit(cell, "c").items():
        (folder / Path(path).name).write_text(text)
    return cell.name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the C files, with those that several tests read."""
    root = tmp_path_factory.mktemp("text")
    for name in ("lstm", "collide"):
        emit_into(root, name)
    return root


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


#: One folder holds all: a strange cell called like one of the catalogue is left out.
OTHERS = tuple(name for name in CELLS if name not in CATALOGUE)
NAMES = (*sampled(), *OTHERS)
SHARED = (*sorted(SAMPLE), *OTHERS)


def compile_quietly(folder: Path, name: str, compiler: str, *options: str) -> None:
    """Both precisions, unless an option says otherwise; any warning is an error."""
    stem = emit_into(folder, name)
    run(compiler, *WARNINGS, *options, "-c", f"{stem}.c", "-o", f"{stem}.o", cwd=folder)


def test_a_compiler_is_there_to_test_with() -> None:
    assert COMPILERS


@pytest.mark.parametrize("name", NAMES)
def test_every_file_compiles_without_a_warning(folder: Path, name: str) -> None:
    compile_quietly(folder, name, COMPILERS[0], "-O2", "-DDK_ONLY_F32")


@pytest.mark.parametrize("k", range(0, len(SHARED), 2))
def test_a_sample_compiles_without_a_warning_in_every_way(folder: Path, k: int) -> None:
    """Each way with several cells, every second of them with all that this processor can do."""
    compiler, level = WAYS[k // 2 % len(WAYS)]
    native = ["-march=native"] if k // 2 // len(WAYS) % 2 else []
    compile_quietly(folder, SHARED[k], compiler, level, *native)


@pytest.mark.slow
@pytest.mark.parametrize("compiler, level", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_every_file_compiles_without_a_warning_in_every_way(
    folder: Path, name: str, compiler: str, level: str
) -> None:
    compile_quietly(folder, name, compiler, level)


@pytest.mark.parametrize("bits", [1, 128, 256, 512])
def test_every_vector_width_compiles_without_a_warning(folder: Path, bits: int) -> None:
    run(COMPILERS[0], *WARNINGS, "-O1", "-march=native", f"-DDK_VECTOR_BITS={bits}", "-Wno-psabi",
        "-c", "lstm.c", "-o", f"lstm.{bits}.o", cwd=folder)  # fmt: skip


@pytest.mark.parametrize("name", [*HEADERS, *OTHERS])
def test_the_header_is_plain_cpp_too(folder: Path, name: str) -> None:
    name = emit_into(folder, name)
    (folder / f"{name}.cpp").write_text(
        f'#include "{name}.h"\nstatic_assert(sizeof({name}_memory) > 0, "complete");\n'
    )
    run("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"{name}.cpp",
        cwd=folder)  # fmt: skip


@pytest.mark.parametrize("name", ["lstm", "collide"])
def test_the_object_exports_what_the_header_declares_and_holds_no_data(
    folder: Path, name: str
) -> None:
    run("gcc", "-std=c11", "-O2", "-c", f"{name}.c", "-o", "symbols.o", cwd=folder)
    listing = run("nm", "symbols.o", cwd=folder).splitlines()
    kinds: dict[str, set[str]] = {}
    for line in listing:
        *_, kind, symbol = line.split()
        kinds.setdefault(kind, set()).add(symbol)
    header = (folder / f"{name}.h").read_text()
    declared = set(re.findall(r"^(?:dk_status|int) (\w+)\(", header, re.MULTILINE))
    assert kinds["T"] == declared
    assert all(symbol.startswith(f"{name}_f") for symbol in declared)
    assert not kinds.keys() & {"D", "B", "C", "d", "b"}, "writable data"
    libm = {"exp", "log", "pow", "sin", "cos", "erf", "sqrt", "floor", "tanh", "log1p", "expm1"}
    allowed = {*libm, *(f"{f}f" for f in libm), "memset", "memcpy", "memmove",
               "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}  # fmt: skip
    assert kinds.get("U", set()) <= allowed


DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include "lstm.h"
enum { STEPS = 5, ROWS = 3, IN = 7, WIDTH = 19 };
static float *numbers(size_t count)
{
    float *data = malloc((count ? count : 1) * sizeof *data);
    for (size_t k = 0; k < count; ++k) { data[k] = (float)((k * 37) % 11) / 11.0f - 0.4f; }
    return data;
}
int main(void)
{
    lstm_sizes sizes = {.steps = STEPS, .rows = ROWS, .dim_I = IN, .dim_H = WIDTH};
    lstm_memory need;
    const int64_t lengths[ROWS] = {5, 0, 3};
    if (lstm_f32_memory_needed(&sizes, 1, &need) != DK_OK) { return 1; }
    for (size_t reverse = 0; reverse < 2; ++reverse) {
        lstm_f32_forward_args f = {.sizes = sizes, .lengths = lengths, .reverse = reverse};
        lstm_f32_backward_args b = {.sizes = sizes, .lengths = lengths, .reverse = reverse};
        const float **params = (const float **)(void *)&f.params;
        for (size_t k = 0; k < sizeof f.params / sizeof(float *); ++k) {
            params[k] = numbers(WIDTH * (WIDTH > IN ? WIDTH : IN));
        }
        b.params = f.params;
        f.inputs.x = b.inputs.x = numbers(STEPS * ROWS * IN);
        f.outputs.h_next = numbers(STEPS * ROWS * WIDTH);
        f.last.h = numbers(ROWS * WIDTH);
        f.last.c = numbers(ROWS * WIDTH);
        f.saved = numbers(need.saved);
        f.saved_count = need.saved;
        f.workspace = numbers(need.forward);
        f.workspace_count = need.forward - 1;
        if (lstm_f32_forward(&f, NULL) != DK_TOO_SMALL) { return 2; }
        f.workspace_count = need.forward;
        if (lstm_f32_forward(&f, NULL) != DK_OK) { return 3; }
        float **grads = (float **)(void *)&b.d_params;
        for (size_t k = 0; k < sizeof b.d_params / sizeof(float *); ++k) {
            grads[k] = numbers(WIDTH * (WIDTH > IN ? WIDTH : IN));
        }
        b.d_outputs.h_next = f.outputs.h_next;
        b.d_inputs.x = numbers(STEPS * ROWS * IN);
        b.d_first.h = numbers(ROWS * WIDTH);
        b.d_first.c = numbers(ROWS * WIDTH);
        b.saved = f.saved;
        b.saved_count = need.saved;
        b.workspace = numbers(need.backward);
        b.workspace_count = need.backward;
        if (lstm_f32_backward(&b, NULL) != DK_OK) { return 4; }
        const int64_t bad[ROWS] = {5, 6, 3};
        f.lengths = bad;
        if (lstm_f32_forward(&f, NULL) != DK_BAD_LENGTH) { return 5; }
        f.lengths = NULL;
        f.inputs.x = NULL;
        if (lstm_f32_forward(&f, NULL) != DK_NULL_POINTER) { return 6; }
        f.sizes.steps = SIZE_MAX / 2;
        if (lstm_f32_memory_needed(&f.sizes, 1, &need) != DK_OVERFLOW) { return 7; }
        printf("%g %g\\n", (double)f.last.h[0], (double)b.d_inputs.x[0]);
    }
    return 0;
}
"""


@pytest.mark.parametrize("bits", [1, 512])
def test_address_and_undefined_behaviour_sanitizers_find_nothing(folder: Path, bits: int) -> None:
    """Buffers of exactly the size that the query names, odd sizes, lengths, both directions."""
    (folder / "driver.c").write_text(DRIVER)
    run("gcc", "-std=c11", "-O1", "-g", "-march=native", f"-DDK_VECTOR_BITS={bits}", "-Wno-psabi",
        "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "driver.c", "lstm.c",
        "-o", f"driver{bits}", "-lm", cwd=folder)  # fmt: skip
    done = subprocess.run(
        [f"./driver{bits}"], cwd=folder, capture_output=True, text=True,
        env={"ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", ["lstm", "nas", "lstm:layer_norm=ba2016", "min_gru", "collide"])
def test_the_text_has_no_filler_and_every_stage_its_equations(name: str) -> None:
    cell = Cell.parse(CELLS[name]) if name in CELLS else cells.from_spec(name)
    text = pipeline.emit(cell, "c")[f"c/{cell.name}.c"]
    assert not re.search(r"^\s*\(void\)\w+;", text, re.MULTILINE)
    assert "? 0 : 0" not in text
    code = [line for line in text.splitlines() if not line.startswith((" *", "#"))]
    assert max(map(len, code)) <= 100
    stages = re.findall(r"/\* \w[\w ]*, stage \d+: (.*)\n(.*)\n", text)
    assert stages and all(re.search(r"\*   \w+'? [+=]", line) for _, line in stages)
    unit = r"^DK_INLINE DK_NAME\(\w+_values\) .*?\n\{\n(.*?)^\}"
    for body in re.findall(unit, text, re.MULTILINE | re.DOTALL):
        assert "const dk_vector " in body


def test_both_precisions_are_one_text() -> None:
    text = pipeline.emit(cells.lstm(), "c")["c/lstm.c"]
    assert len(text.splitlines()) <= 1300
    assert text.count('#include "lstm.c"') == 2
    assert not re.search(r"\b(?:float|double) ", text.partition("#else /* DK_TAG */")[2].replace(
        "double widths", ""))  # fmt: skip


def test_lines_are_those_of_the_file_in_both_precisions(folder: Path) -> None:
    """As debuggers and gcov see them: the file includes itself, so no line moves."""
    if shutil.which("gcov") is None:
        pytest.skip("no gcov")
    emit_into(folder, "min_gru")
    main = "int main(void) { return min_gru_f32_self_test() | min_gru_f64_self_test(); }\n"
    (folder / "covered.c").write_text(f'#include "min_gru.h"\n{main}')
    run("gcc", "-std=c11", "-O0", "--coverage", "-DDK_VECTOR_BITS=1", "covered.c", "min_gru.c",
        "-lm", "-o", "covered", cwd=folder)  # fmt: skip
    run("./covered", cwd=folder)
    run("gcov", "-o", ".", "covered-min_gru.gcda", cwd=folder)
    lines = (folder / "min_gru.c.gcov").read_text().splitlines()
    counts = [line.split(":")[0].strip() for line in lines if "return dk_self_test();" in line]
    assert counts == ["2", "1", "1"]  # together, then each function by itself
