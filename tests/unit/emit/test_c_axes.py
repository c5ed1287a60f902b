"""Arrays with axes in C: the same numbers as NumPy at sizes on both sides of every threshold."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import axes_cells
import numpy as np
import pytest

import derive
from derive.kernel.signature import Sizes

#: Less than a vector and no multiple of one; several vectors and a rest.
WIDTHS = (
    {"I": 5, "H": 6, "N": 2, "D": 3, "K": 4, "M": 7, "R": 2},
    {"I": 33, "H": 40, "N": 3, "D": 37, "K": 19, "M": 18, "R": 5},
)
#: Steps, rows, whether rows end early: plain, packed, single, many chunks, rows for each thread.
CALLS = ((1, 1, False), (2, 2, False), (5, 1, False), (30, 8, True), (3, 20, False), (70, 5, False))


def _results(kernel: Any, widths: dict[str, int], call: tuple[int, int, bool]) -> dict[str, Any]:
    steps, rows, ragged = call
    own, random = kernel.signature, np.random.default_rng(1)
    sizes = Sizes(steps, rows, {dim: widths[dim] for dim in own.dims()})
    params = {n: 0.3 * random.normal(size=sizes.shape(axes)) for n, axes in own.params.items()}
    x = {
        n: random.normal(size=((rows,) if n in own.once else (steps, rows)) + sizes.lengths(w))
        for n, w in own.inputs.items()
    }
    state = {
        n: 0.5 * random.normal(size=(rows, *sizes.lengths(w)))
        for n, w in own.states.items()
        if n not in own.learned
    }
    lengths = random.integers(0, steps + 1, rows) if ragged else None
    run = kernel.forward(params, x, state, lengths=lengths)
    alone = kernel.forward(params, x, state, lengths=lengths, training=False)
    draw = np.random.default_rng(2)
    seeds = [{n: draw.normal(size=a.shape) for n, a in group.items()}
             for group in (run.outputs, run.states)]  # fmt: skip
    grads = kernel.backward(run, *seeds)
    for name, array in (*run.outputs.items(), *run.states.items()):
        np.testing.assert_array_equal(array, {**alone.outputs, **alone.states}[name])
    groups = {"output": run.outputs, "state": run.states, "d_param": grads.params,
              "d_input": grads.inputs, "d_state": grads.states}  # fmt: skip
    return {f"{kind} {n}": a for kind, group in groups.items() for n, a in group.items()}


#: Heads, matrices that are computed, and passes over a matrix; the other cells are slow.
COMPILED = ("slstm", "weight_norm_lstm", "gated_delta")


@pytest.mark.parametrize(
    "name",
    [
        name if name in COMPILED else pytest.param(name, marks=pytest.mark.slow)
        for name in axes_cells.CELLS
    ],
)
def test_numbers_are_those_of_numpy_and_bits_those_of_one_thread(name: str) -> None:
    cell = derive.Cell.parse(axes_cells.CELLS[name][0])
    numpy = derive.compile(cell, target="numpy", dtype="float64")
    alone, team = (derive.compile(cell, target="c", dtype="float64", threads=n) for n in (1, 2))
    for widths in WIDTHS:
        for call in CALLS:
            wanted = _results(numpy, widths, call)
            found, shared = (_results(kernel, widths, call) for kernel in (alone, team))
            for key, array in wanted.items():
                scale = np.abs(array).max(initial=1e-9)
                assert np.abs(found[key] - array).max(initial=0.0) < 1e-10 * scale, (call, key)
                np.testing.assert_array_equal(found[key], shared[key], err_msg=f"{call} {key}")


def test_packed_parameters_and_a_stream_give_the_same_numbers() -> None:
    cell = derive.Cell.parse(axes_cells.CELLS["weight_norm_lstm"][0])
    kernel = derive.compile(cell, target="c", dtype="float64")
    params = kernel.init(I=5, H=6, seed=0)
    x = np.random.default_rng(0).normal(size=(9, 3, 5))
    wanted = kernel.forward(params, x)
    packed = kernel.pack(params)
    found = kernel.forward(packed, x)
    np.testing.assert_array_equal(found.output, wanted.output)
    again = kernel.backward(found, np.ones_like(found.output))
    for name, array in kernel.backward(wanted, np.ones_like(wanted.output)).params.items():
        np.testing.assert_array_equal(again.params[name], array)


def test_many_heads_share_their_outer_products_among_threads() -> None:
    """Fewer columns in a head than in a tile; more heads than threads, and fewer."""
    cell = derive.Cell.parse(
        "cell heads\ninput x: N x D\nstate h: N x D\nparam R: N x D x D\n"
        "h' = tanh(R @ h + x)\noutput h'\n"
    )
    numpy = derive.compile(cell, target="numpy", dtype="float64")
    kernels = [derive.compile(cell, target="c", dtype="float64", threads=n) for n in (1, 2, 3)]
    for heads, width in ((1, 30), (7, 3), (2, 17)):
        widths = {"N": heads, "D": width}
        wanted = _results(numpy, widths, (40, 6, True))
        first, *others = (_results(kernel, widths, (40, 6, True)) for kernel in kernels)
        for key, array in wanted.items():
            np.testing.assert_allclose(first[key], array, rtol=1e-10, atol=1e-12)
            for other in others:
                np.testing.assert_array_equal(other[key], first[key])


STRICT = (
    "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wconversion", "-Wsign-conversion",
    "-Wdouble-promotion", "-Wcast-qual", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla",
    "-Wundef", "-Wno-psabi",
)  # fmt: skip


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("name", ["slstm", "mlstm", "gated_delta", "weight_norm_lstm", "on_lstm"])
def test_strict_warnings_have_nothing_to_say(name: str, tmp_path: Path) -> None:
    cell = derive.Cell.parse(axes_cells.CELLS[name][0])
    for path, text in derive.emit(cell, target="c").items():
        (tmp_path / Path(path).name).write_text(text)
    subprocess.run(
        ["gcc", "-fsyntax-only", "-std=c11", "-march=native", *STRICT, f"{cell.name}.c"],
        cwd=tmp_path, check=True,
    )  # fmt: skip


DRIVER = """
#define DK_IMPLEMENTATION
#include <stdio.h>
#include <stdlib.h>
#include "NAME.h"
static float *numbers(size_t count)
{
    float *a = malloc(count * sizeof *a + (count == 0));
    for (size_t i = 0; i < count; ++i) { a[i] = (float)(i % 7) / 8 - 0.25f; }
    return a;
}
int main(void)
{
    const size_t calls[][2] = {{1, 1}, {2, 2}, {7, 1}, {70, 5}};
    for (size_t call = 0; call < sizeof calls / sizeof *calls; ++call) {
        const size_t T = calls[call][0], B = calls[call][1];
        NAME_f32_forward_args f = {.sizes = {.steps = T, .rows = B, SIZES}};
        NAME_f32_backward_args b = {.sizes = f.sizes};
        NAME_memory need;
        if (NAME_f32_memory_needed(&f.sizes, 1, &need) != DK_OK) { return 1; }
        FORWARD
        f.saved = numbers(need.saved);
        f.saved_count = need.saved;
        f.workspace = numbers(need.forward);
        f.workspace_count = need.forward;
        if (NAME_f32_forward(&f, NULL) != DK_OK) { return 2; }
        BACKWARD
        b.saved = f.saved;
        b.saved_count = need.saved;
        b.workspace = numbers(need.backward);
        b.workspace_count = need.backward;
        if (NAME_f32_backward(&b, NULL) != DK_OK) { return 3; }
        f.saved = NULL;
        f.workspace = numbers(need.inference);
        f.workspace_count = need.inference;
        if (NAME_f32_forward(&f, NULL) != DK_OK) { return 4; }
        BIG
        if (NAME_f32_memory_needed(&f.sizes, 1, &need) != DK_OVERFLOW) { return 5; }
    }
    return 0;
}
"""


def _driver(cell: derive.Cell, widths: dict[str, int]) -> str:
    """A program that gives a kernel buffers of exactly the sizes that it asks for."""

    def fill(struct: str, shapes: Any, rows: str) -> str:
        lines = []
        for name, axes in shapes.items():
            size = " * ".join([rows, *(str(widths.get(dim, dim)) for dim in axes)])
            lines.append(f"{struct}.{name} = numbers({size});")
        return " ".join(lines)

    dims = {dim for group in (cell.params, cell.inputs, cell.states) for axes in group.values()
            for dim in axes if isinstance(dim, str)}  # fmt: skip
    forward = [
        fill("f.params", cell.params, "1"), fill("f.inputs", cell.inputs, "T * B"),
        fill("f.first", cell.states, "B"), fill("f.last", cell.states, "B"),
        fill("f.outputs", cell.outputs, "T * B"),
    ]  # fmt: skip
    backward = [
        "b.params = f.params; b.inputs = f.inputs;", fill("b.d_outputs", cell.outputs, "T * B"),
        fill("b.d_last", cell.states, "B"), fill("b.d_first", cell.states, "B"),
        fill("b.d_params", cell.params, "1"), fill("b.d_inputs", cell.inputs, "T * B"),
    ]  # fmt: skip
    texts = {
        "NAME": cell.name,
        "SIZES": ", ".join(f".dim_{dim} = {widths[dim]}" for dim in sorted(dims)),
        "FORWARD": " ".join(forward),
        "BACKWARD": " ".join(backward),
        "BIG": " ".join(f"f.sizes.dim_{dim} = (size_t)1 << 22;" for dim in "NDK" if dim in dims),
    }
    text = DRIVER
    for word, value in texts.items():
        text = text.replace(word, value)
    return text


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("bits", [512, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    ["slstm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mlstm", "gated_delta"))],
)
def test_buffers_of_the_sizes_asked_for_are_large_enough(
    name: str, bits: int, tmp_path: Path
) -> None:
    """Address and undefined-behaviour sanitizers find nothing, and three axes of a few million each
    are refused: the widths are small, a row of their product is not."""
    cell = derive.Cell.parse(axes_cells.CELLS[name][0])
    for path, text in derive.emit(cell, target="c").items():
        (tmp_path / Path(path).name).write_text(text)
    (tmp_path / "driver.c").write_text(_driver(cell, WIDTHS[1]))
    command = [
        "gcc", "-std=c11", "-O1", "-g", "-march=native", f"-DDK_VECTOR_BITS={bits}", "-Wno-psabi",
        "-DDK_ONLY_F32", "-DDK_ROWS_MAX=2", "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all", "driver.c", f"{cell.name}.c", "-o", "driver", "-lm",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        ["./driver"], cwd=tmp_path, capture_output=True, text=True,
        env={"ASAN_OPTIONS": "detect_leaks=0"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
