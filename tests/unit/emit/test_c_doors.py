"""The public C functions, called with every size and pointer that they can see to be wrong.

A program is written for a cell, compiled with the sanitizers, and must end well: every buffer has
just the size that the query function says.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import derive
from derive.emit.c.syntax import member_names
from derive.kernel.signature import Signature

COMMAND = [
    *("gcc", "-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *("-DDK_ONLY_F32", "-DDK_ROWS_MAX=1", "-Wall", "-Wextra", "-Werror"),
]
CELLS = {
    "lstm": derive.cells.lstm(),
    "min_gru": derive.cells.min_gru(),  # units never meet
    "odd": derive.Cell.parse(
        "cell odd\ninput x: I\ninput m: 1\nstate h: H\nstate c: 2\nparam W: H x I\nparam g: H\n"
        "s = mean(W @ x + g * h)\nc' = c * 0.5 + s\nh' = tanh(W @ x + layer_norm(h) + m + s)\n"
        "output h', c'"
    ),
}
START = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "%(cell)s.h"

#define EXPECT(status, call) expect((status), (call), __LINE__)
static void expect(int wanted, int found, int line)
{
    if (wanted != found) {
        printf("line %%d: status %%d instead of %%d\\n", line, found, wanted);
        exit(1);
    }
}

static float *some(size_t count) /* just so many; whoever reads more is told */
{
    float *memory = malloc(count * sizeof(float));
    for (size_t i = 0; i < count; ++i) {
        memory[i] = 0.125f * (float)(i %% 7);
    }
    return memory;
}
"""


def program(own: Signature) -> str:
    cell = own.name
    dims = own.dims()

    def count(axes: tuple[str | int, ...], *before: str) -> str:
        return " * ".join(
            [*before, *(str(a) if isinstance(a, int) else f"s.dim_{a}" for a in axes)]
        )

    def fill(field: str, arrays: dict[str, str]) -> str:
        return "".join(f"    a.{field}.{name} = some({size});\n" for name, size in arrays.items())

    c = member_names((*own.params, *own.inputs, *own.states))
    key = member_names(own.outputs)
    params = {c[name]: count(axes) for name, axes in own.params.items()}
    inputs = {c[name]: count((width,), "s.steps", "s.rows") for name, width in own.inputs.items()}
    outputs = {key[n]: count((width,), "s.steps", "s.rows") for n, width in own.outputs.items()}
    states = {c[name]: count((width,), "s.rows") for name, width in own.states.items()}
    forward = {"params": params, "inputs": inputs, "outputs": outputs, "last": states}
    backward = {"params": params, "inputs": inputs, "d_params": params, "d_inputs": inputs,
                "d_first": states}  # fmt: skip
    optional = {"d_outputs": outputs, "d_last": states}

    def nulls(kind: str, needed: dict[str, dict[str, str]], call: str, *more: str) -> str:
        fields = [f"{field}.{name}" for field, arrays in needed.items() for name in arrays]
        return "".join(
            f"    {{ {cell}_f32_{kind}_args b = a; b.{field} = NULL;"
            f" EXPECT(DK_NULL_POINTER, {call}); }}\n"
            for field in (*fields, *more)
        )

    def of_pass(kind: str, needed: dict[str, dict[str, str]], extra: str) -> str:
        saved = "saved" if kind == "backward" else "workspace"
        return f"""
static void {kind}_of({cell}_sizes s, {cell}_memory m, float *saved)
{{
    {cell}_f32_{kind}_args a = {{0}};
    int64_t *const lengths = malloc(s.rows * sizeof(int64_t));
    float *const packed = some(m.{kind}_packed);
    a.sizes = s;
{"".join(fill(field, arrays) for field, arrays in needed.items())}{extra}
    a.saved = saved;
    a.saved_count = m.saved;
    a.workspace = some(m.{kind});
    a.workspace_count = m.{kind};
    EXPECT(DK_OK, {cell}_f32_{kind}(&a, NULL));
    EXPECT(DK_OK, {cell}_f32_{kind}_pack(&a, packed, m.{kind}_packed));
    if (m.{kind}_packed > 0) {{
        free(a.workspace);
        a.workspace = some(m.{kind}_with_packed);
        EXPECT(DK_TOO_SMALL, {cell}_f32_{kind}_pack(&a, packed, m.{kind}_packed - 1));
        a.packed = packed;
        a.packed_count = m.{kind}_packed - 1;
        EXPECT(DK_TOO_SMALL, {cell}_f32_{kind}(&a, NULL));
        a.packed_count = m.{kind}_packed;
        if (m.{kind}_with_packed > 0) {{
            a.workspace_count = m.{kind}_with_packed - 1;
            EXPECT(DK_TOO_SMALL, {cell}_f32_{kind}(&a, NULL));
        }}
        a.workspace_count = m.{kind}_with_packed;
        EXPECT(DK_OK, {cell}_f32_{kind}(&a, NULL));
    }}
    for (size_t n = 0; n < s.rows; ++n) {{
        lengths[n] = (int64_t)(n % (s.steps + 1));
    }}
    a.lengths = lengths;
    for (a.reverse = 0; a.reverse < 2; ++a.reverse) {{
        EXPECT(DK_OK, {cell}_f32_{kind}(&a, NULL));
    }}
    if (s.rows > 0) {{
        lengths[s.rows - 1] = (int64_t)s.steps + 1;
        EXPECT(DK_BAD_LENGTH, {cell}_f32_{kind}(&a, NULL));
        lengths[s.rows - 1] = -1;
        EXPECT(DK_BAD_LENGTH, {cell}_f32_{kind}(&a, NULL));
        lengths[s.rows - 1] = 0;
    }}
    if (a.workspace_count > 0) {{
        a.workspace_count -= 1;
        EXPECT(DK_TOO_SMALL, {cell}_f32_{kind}(&a, NULL));
        a.workspace_count += 1;
    }}
    if (m.saved > 0) {{
        a.saved_count -= 1;
        EXPECT(DK_TOO_SMALL, {cell}_f32_{kind}(&a, NULL));
        a.saved_count += 1;
    }}
{nulls(kind, needed, f"{cell}_f32_{kind}(&b, NULL)", "workspace", saved)}
{nulls(kind, {"params": params}, f"{cell}_f32_{kind}_pack(&b, packed, m.{kind}_packed)")}
    /* Sizes that are not those of the buffers: nothing is read or written, whatever they are. */
    {{
        static const size_t huge[] = {{SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX / 2,
            SIZE_MAX / 4, (size_t)1 << 33, (size_t)1 << 40}};
        for (size_t i = 0; i < sizeof huge / sizeof *huge; ++i) {{
            for (size_t word = 0; word < sizeof s / sizeof(size_t); ++word) {{
                for (size_t other = 0; other < sizeof s / sizeof(size_t); ++other) {{
                    {cell}_f32_{kind}_args b = a;
                    {cell}_memory needed;
                    memcpy((char *)&b.sizes + word * sizeof(size_t), huge + i, sizeof(size_t));
                    memcpy((char *)&b.sizes + other * sizeof(size_t), huge + i, sizeof(size_t));
                    const int status = {cell}_f32_memory_needed(&b.sizes, 1, &needed);
                    const size_t wanted = a.packed ? needed.{kind}_with_packed : needed.{kind};
                    if (status == DK_OK && wanted <= a.workspace_count) {{
                        continue; /* no steps, or no rows: there is nothing to see */
                    }}
                    EXPECT(status == DK_OK ? DK_TOO_SMALL : DK_OVERFLOW, {cell}_f32_{
            kind
        }(&b, NULL));
                    if (status != DK_OK || needed.{kind}_packed > m.{kind}_packed) {{
                        EXPECT(status == DK_OK ? DK_TOO_SMALL : DK_OVERFLOW,
                               {cell}_f32_{kind}_pack(&b, packed, m.{kind}_packed));
                    }}
                }}
            }}
        }}
    }}
    EXPECT(DK_NULL_POINTER, {cell}_f32_{kind}(NULL, NULL));
    EXPECT(DK_NULL_POINTER, {cell}_f32_{kind}_pack(NULL, packed, 0));
    EXPECT(DK_NULL_POINTER, {cell}_f32_{kind}_pack(&a, NULL, 0));
{
            '''    a.lengths = NULL;
    EXPECT(s.steps == 1 ? DK_OK : DK_BAD_SIZE, '''
            + cell
            + '''_f32_step(&a, NULL));
    EXPECT(DK_NULL_POINTER, '''
            + cell
            + '''_f32_step(NULL, NULL));
'''
            if kind == "forward"
            else ""
        }}}
"""

    loops = "".join(
        f"    for (s.dim_{dim} = 0; s.dim_{dim} < 4; s.dim_{dim} = 2 * s.dim_{dim} + 1) {{\n"
        for dim in dims
    )
    return (
        START % {"cell": cell}
        + of_pass("forward", forward, "")
        + of_pass("backward", backward, "".join(fill(f, a) for f, a in optional.items()))
        + f"""
int main(void)
{{
    static const size_t lengths[] = {{0, 1, 3, 200}};
    {cell}_sizes s;
    {cell}_memory m;
    for (int t = 0; t < 4; ++t) {{
    for (int n = 0; n < 3; ++n) {{
    s.steps = lengths[t];
    s.rows = lengths[n];
{loops}
        EXPECT(DK_OK, {cell}_f32_memory_needed(&s, 1, &m));
        EXPECT(DK_NULL_POINTER, {cell}_f32_memory_needed(NULL, 1, &m));
        EXPECT(DK_NULL_POINTER, {cell}_f32_memory_needed(&s, 1, NULL));
        EXPECT(DK_OVERFLOW, {cell}_f32_memory_needed(&s, SIZE_MAX, &m));
        float *const saved = some(m.saved);
        forward_of(s, m, saved);
        backward_of(s, m, saved);
{"    }" * len(dims)}
    }}
    }}
    return 0;
}}
"""
    )


@pytest.mark.parametrize("name", CELLS)
def test_the_functions_of_c_refuse_what_they_can_see(name: str, tmp_path: Path) -> None:
    cell = CELLS[name]
    for path, text in derive.emit(cell, "c").items():
        (tmp_path / Path(path).name).write_text(text)
    main = tmp_path / "main.c"
    main.write_text(program(derive.pipeline.signature(cell)))
    binary = tmp_path / "doors"
    sources = [str(main), str(tmp_path / f"{cell.name}.c")]
    done = subprocess.run(
        [*COMMAND, "-I", str(tmp_path), *sources, "-o", str(binary), "-lm"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    environment = {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
    done = subprocess.run([str(binary)], capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stdout + done.stderr[-3000:]
