"""The text of the mcu target: what it is made of, what it may not contain, and its names."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boards import WARNINGS, write

import derive
from derive.emit.mcu.files import function
from derive.errors import CellError
from derive.kernel.mcu_layout import macros, members

EXAMPLE = """\
cell strange
input I: W, p: 1
state s: H, tape: H
param t: H x W
j = sigmoid(t @ I + U @ s + b)
k = softmax(j) * p
x = layer_norm(k + tape)
s' = j * s + (1 - j) * tanh(V @ (x * s) + c)
tape' = k + stop_gradient(x) * e
output s', k, tape
"""


def texts(cell: derive.Cell) -> tuple[str, str]:
    files = derive.emit(cell, "mcu")
    assert list(files) == ["mcu/derive_mcu.h", f"mcu/{cell.name}.h", f"mcu/{cell.name}.c"]
    return files[f"mcu/{cell.name}.h"], files[f"mcu/{cell.name}.c"]


def test_the_header_is_that_of_the_design() -> None:
    header, _ = texts(derive.cells.janet())
    for line in (
        "    float W[JANET_H][2][JANET_I];  /* of W_f, W_g */",
        "    float U[JANET_H][2][JANET_H];  /* of U_f, U_g */",
        "    float b[JANET_H][2];  /* of b_f, b_g */",
        "#define JANET_I 16",
        "    float h[JANET_H];",
        "void janet_step(const janet_params *p, janet_state *s, const float x[JANET_I], "
        "float h_next[JANET_H]);",
        "void janet_descend(janet_params *p, const janet_params *d_p, float rate);",
    ):
        assert line in header.replace(",\n    ", ", ").splitlines(), line


def test_a_step_is_one_loop_over_units_and_overwrites_a_state_after_its_last_reader() -> None:
    _, source = texts(derive.cells.lstm())
    step = source.partition("#ifdef")[0]
    assert step.count("for (int j = 0; j < LSTM_H; ++j)") == 1
    assert "        s->c[j] = c_next;" in step and "memcpy(s->h, h_next, sizeof s->h);" in step
    assert "_all" not in step  # no array of its own


def test_what_depends_on_parameters_alone_is_prepared_once() -> None:
    header, source = texts(derive.cells.weight_norm_lstm())
    assert "void weight_norm_lstm_prepare(const weight_norm_lstm_params *p," in header
    before, _, rest = source.partition("void weight_norm_lstm_step(")
    step, _, training = rest.partition("#ifdef")
    assert "derive_sqrt(" in before and "derive_sqrt(" not in step
    assert "[WEIGHT_NORM_LSTM_I];" not in step.partition("{")[2]  # no array of its own
    forward, _, backward = training.partition("void weight_norm_lstm_backward(")
    assert "derive_sqrt(" not in forward and "prepared->" in forward and "prepared->" in backward
    for text in texts(derive.cells.lstm()):
        assert "prepare" not in text


def test_an_argument_that_only_a_comment_names_is_unused() -> None:
    lines = ["    /* v = relu(b) + 0 * x", "     * y = s */", "    s->h[0] += (float)steps;"]
    made = function(["void f(const float x[2], f_state *s, float y[2], int steps)"], lines)
    assert made.unused == ("x", "y")


@pytest.mark.parametrize("name", ["lstm", "gru", "mamba2", "lstm_layer_norm_ba2016"])
def test_no_text_has_what_a_microcontroller_lacks(name: str) -> None:
    for text in derive.emit(getattr(derive.cells, name)(), "mcu").values():
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for word in ("malloc", "double", "errno", "math.h", "stdio", "alloca", "(*"):
            assert word not in code, word
        assert not re.search(
            r"\b\d+\.\d+(e[-+]?\d+)?(?![\df.e])", code
        )  # a constant of type double
        assert not re.search(
            r"^(?:float|int|uint32_t) \w+(?:\[|;| =)", code, re.MULTILINE
        )  # global


def test_names_of_a_cell_come_before_those_of_the_text() -> None:
    header, _ = texts(derive.Cell.parse(EXAMPLE))
    assert "const float I_[STRANGE_W], const float p[1]" in header.replace("\n    ", " ")
    assert "strange_state *s," in header and "float s_next[STRANGE_H]" in header
    assert "const strange_params *p_2" in header


def test_parameters_that_differ_behind_an_underscore_lie_together() -> None:
    shapes = {
        "W_a": ("H", "I"), "b": ("H",), "W_b": ("H", "I"), "W_h": ("H", "H"), "b_r": ("H",),
        "b_z": ("H",), "s_a": (1,), "s_b": (1,), "R_a": ("N", "D", "D"), "R_b": ("N", "D", "D"),
    }  # fmt: skip
    found = {member.name: (member.params, member.axes) for member in members(shapes)}
    assert found == {
        "W": (("W_a", "W_b"), ("H", 2, "I")),
        "b": (("b",), ("H",)),
        "W_h": (("W_h",), ("H", "H")),
        "b_r": (("b_r",), ("H",)),
        "b_z": (("b_z",), ("H",)),
        "s_a": (("s_a",), (1,)),
        "s_b": (("s_b",), (1,)),
        "R": (("R_a", "R_b"), ("N", "D", 2, "D")),
    }


def test_the_window_gives_way_to_a_dimension_of_its_name() -> None:
    own = macros("a", ("T", "H"))
    assert own.dims == {"T": "A_T", "H": "A_H"} and own.window == "A_T_2"


def test_a_cell_that_would_overwrite_the_shared_header_is_refused() -> None:
    text = derive.cells.rnn().to_text().replace("cell   rnn", "cell   derive_mcu")
    with pytest.raises(CellError, match="would overwrite the header"):
        derive.emit(derive.Cell.parse(text), "mcu")


COMPILERS = {
    "gcc": ("gcc", "-std=c99"),
    "clang": ("clang", "-std=c99"),
    "C11": ("gcc", "-std=c11"),
    "C++": ("g++", "-x", "c++", "-std=c++11"),
    "clang++": ("clang++", "-x", "c++", "-std=c++11"),
    "zig": (sys.executable, "-m", "ziglang", "cc", "-std=c99"),
}


def need_compiler(which: str) -> tuple[str, ...]:
    command = COMPILERS[which]
    there = importlib.util.find_spec("ziglang") if which == "zig" else shutil.which(command[0])
    if not there:
        pytest.skip(f"no {which}")
    return command


@pytest.mark.parametrize("which", COMPILERS)
def test_compilers_have_nothing_to_say(which: str, tmp_path: Path) -> None:
    command = need_compiler(which)
    for cell in (derive.cells.lstm(), derive.cells.mamba2(), derive.Cell.parse(EXAMPLE)):
        write(derive.emit(cell, "mcu"), tmp_path)
        upper = cell.name.upper()
        for options in ((), (f"-D{upper}_TRAIN",)):
            done = subprocess.run(
                (*command, *WARNINGS, "-Wundef", "-Wcast-qual", *options, "-O1", "-c",
                 f"{cell.name}.c", "-o", "unit.o"),
                cwd=tmp_path, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0 and not done.stderr, done.stderr


def test_a_size_that_no_loop_over_int_counts_is_refused(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    write(derive.emit(derive.cells.rnn(), "mcu"), tmp_path)
    for size in ("0", "40000"):
        command = ("gcc", "-std=c99", f"-DRNN_H={size}", "-c", "rnn.c", "-o", "unit.o")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode and "RNN_H must be from 1 to 32766" in done.stderr


@pytest.mark.parametrize(
    ("size", "good"),
    [("(4 + 1)", True), ("4L", True), ("0x10", True), ("4 + 1", False), ("8 - 1", False),
     ("16 / 2", False), ("4 * 2", False), ("1 << 4", False), ("1 ? 8 : 9", False),
     ("8u", False), ("4.0", False), ("", False), ("four", False)],
)  # fmt: skip
def test_a_size_that_stands_for_another_beside_an_operator_is_refused(
    size: str, good: bool, tmp_path: Path
) -> None:
    """A mean divides by the size: sum / 4 + 1 would be another number."""
    command = need_compiler("gcc")
    write(derive.emit(derive.cells.rnn(), "mcu"), tmp_path)
    done = subprocess.run(
        (*command, *WARNINGS, f"-DRNN_H={size}", "-DRNN_TRAIN", "-c", "rnn.c", "-o", "unit.o"),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == good, done.stderr
    if size in ("4 + 1", "16 / 2", "1 << 4"):
        assert "RNN_H must be an int, with brackets around" in done.stderr


@pytest.mark.parametrize("which", COMPILERS)
def test_compilers_have_nothing_to_say_of_what_is_exported(which: str, tmp_path: Path) -> None:
    command = need_compiler(which)
    cell = derive.cells.gru()
    derive.mcu.export(cell, tmp_path, derive.compile(cell, "numpy").init(I=3, H=4))
    done = subprocess.run(
        (*command, *WARNINGS, "-Wundef", "-Wcast-qual", "-c", "main.c", "-o", "main.o"),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
