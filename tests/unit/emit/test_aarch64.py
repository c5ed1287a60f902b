"""The generated C on another processor: cross-compiled for 64-bit Arm, run under qemu."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import LENGTHS, check_agreement, forward, make
from strange_cells import CELLS
from test_c_header import ONLY_C, WARNINGS

from derive import cells, pipeline
from derive.build.compiler import FLAGS, NATIVE
from derive.cell import Cell
from derive.emit.c.shared_header import render_header
from derive.kernel import Kernel
from derive.kernel.call import Call
from derive.kernel.signature import Array, Arrays, Signature, Sizes
from derive.verification import ulp

COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
MISSING = [
    name
    for name, path in (("gcc-aarch64-linux-gnu", COMPILER), ("qemu-user", EMULATOR))
    if path is None
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

DRIVER = Path(__file__).parents[2] / "c" / "emulated.c"
TAGS = {"float32": "f32", "float64": "f64"}
VALUE, GIVEN, MADE, WORK = range(4)
CROSS = (str(COMPILER), *ONLY_C, *WARNINGS, *(flag for flag in FLAGS if flag != NATIVE))

#: One cell of each kind: entries of the catalogue, and strange cells.
ENTRIES = (
    "rnn", "lstm", "gru", "gru:reset=before", "lstm:peephole=true", "lstm:layer_norm=supercell",
    "lstm:projection=true", "min_gru",
)  # fmt: skip
STRANGE = ("acts", "branches", "intwidth", "transposed")
WAYS = [(None, False), (None, True), (LENGTHS, False), (LENGTHS, True)]
#: Past a vector and past a block of units of this processor; the longest sum is about four times
#: that of the standard sizes.
SIZES = {"I": 6, "H": 18, "P": 17, "T": 3, "B": 5, "np": 5}
SLACK = 4.0

Word = int | tuple[int, Array | int]


class Emulated:
    """The compiled functions of one cell in one dtype; a `derive.kernel.kernel.Backend`."""

    def __init__(self, folder: Path, cell: Cell, dtype: str, bits: int | None) -> None:
        self.signature: Signature = pipeline.signature(cell)
        self.dtype, self.folder = np.dtype(dtype), folder
        for path, text in pipeline.emit(cell, "c").items():
            (folder / Path(path).name).write_text(text)
        name, tag = self.signature.name, TAGS[dtype]
        command = [*CROSS, "-O1", f"-DDK_ONLY_{tag.upper()}", f'-DHEADER="{name}.h"']
        command += [f"-DCELL={name}", f"-DREAL={tag}", f"-I{folder}"]
        command += [f"-DDK_VECTOR_BITS={bits}"] if bits else ["-DEXPECTED_BITS=128"]
        build([*command, str(DRIVER), str(folder / f"{name}.c")], folder / "emulated")

    def made_by(self, function: str, words: list[Word]) -> list[bytes]:
        """What the call wrote into each MADE array."""
        parts, made = [], []
        for word in words:
            kind, value = word if isinstance(word, tuple) else (VALUE, word)
            data = value.tobytes() if isinstance(value, np.ndarray) else b""
            count = len(data) if isinstance(value, np.ndarray) else value
            parts += [np.array([kind, count], np.uint64).tobytes(), data]
            made += [count] if kind == MADE else []
        request, results = self.folder / "request", self.folder / "results"
        request.write_bytes(b"".join(parts))
        command = [str(EMULATOR), str(self.folder / "emulated"), function, request, results]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, (function, done)
        data = results.read_bytes()
        assert len(data) == sum(made)
        ends = np.cumsum([0, *made])
        return [data[a:b] for a, b in itertools.pairwise(ends)]

    # --- words ------------------------------------------------------------------------------

    def size_words(self, sizes: Sizes) -> list[Word]:
        return [sizes.steps, sizes.rows, *(sizes.dims[dim] for dim in self.signature.dims())]

    def memory(self, sizes: Sizes) -> dict[str, int]:
        (found,) = self.made_by("memory_needed", [*self.size_words(sizes), (MADE, 8 * 10)])
        names = (
            "saved", "forward", "inference", "backward", "forward_with_packed",
            "inference_with_packed", "backward_with_packed", "forward_packed", "backward_packed",
            "chunk_steps",
        )  # fmt: skip
        return dict(zip(names, np.frombuffer(found, np.uint64).tolist(), strict=True))

    def start(self, call: Call, *groups: Mapping[str, Array | None]) -> list[Word]:
        words = [*self.size_words(call.sizes), given(call.lengths), int(call.reverse)]
        return [*words, *(given(array) for group in groups for array in group.values())]

    def made(self, shapes: Mapping[str, tuple[int, ...]]) -> list[Word]:
        return [(MADE, self.dtype.itemsize * int(np.prod(shape))) for shape in shapes.values()]

    def work(self, count: int) -> list[Word]:
        return [(WORK, self.dtype.itemsize * count), count]

    def arrays(self, shapes: Mapping[str, tuple[int, ...]], found: list[bytes]) -> Arrays:
        """Takes the first results."""
        return {
            name: np.frombuffer(found.pop(0), self.dtype).reshape(shape)
            for name, shape in shapes.items()
        }

    # --- Backend ----------------------------------------------------------------------------

    def ready(self, *_: Any) -> None:
        """Every call is a process of its own."""

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        sizes, training = call.sizes, call.training
        memory, signature = self.memory(sizes), self.signature
        before = (sizes.steps, sizes.rows)
        outputs = {n: (*before, sizes.width(w)) for n, w in signature.outputs.items()}
        last = {n: (sizes.rows, sizes.width(w)) for n, w in signature.states.items()}
        words = self.start(call, call.params, call.inputs, call.states)
        words += [*self.made(outputs), *self.made(last), 0, 0]
        if training:
            words += [(MADE, self.dtype.itemsize * memory["saved"]), memory["saved"]]
        else:
            words += [0, 0]
        words += self.work(memory["forward" if training else "inference"])
        found = self.made_by("forward", words)
        return self.arrays(outputs, found), self.arrays(last, found), found[0] if training else None

    def backward(
        self, call: Call, saved: Any,
        d_outputs: Mapping[str, Array | None], d_states: Mapping[str, Array | None],
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        sizes, params, inputs = call.sizes, call.params, call.inputs
        memory = self.memory(sizes)
        shapes = [
            {name: array.shape for name, array in params.items()},
            {name: array.shape for name, array in inputs.items()},
            {n: (sizes.rows, sizes.width(w)) for n, w in self.signature.states.items()},
        ]
        words = self.start(call, params, inputs, d_outputs, d_states)
        words += [word for group in shapes for word in self.made(group)]
        words += [0, 0, (GIVEN, np.frombuffer(saved, self.dtype)), memory["saved"]]
        found = self.made_by("backward", [*words, *self.work(memory["backward"]), 0, 0])
        d_params, d_inputs, d_first = (self.arrays(group, found) for group in shapes)
        return d_params, d_inputs, d_first

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        sizes = call.sizes
        outputs = {n: (sizes.rows, sizes.width(w)) for n, w in self.signature.outputs.items()}
        last = {n: (sizes.rows, sizes.width(w)) for n, w in self.signature.states.items()}
        words = self.start(call, call.params, call.inputs, call.states)
        words += [*self.made(outputs), *self.made(last), 0, 0, 0, 0]
        found = self.made_by("step", [*words, *self.work(self.memory(sizes)["inference"])])
        return self.arrays(outputs, found), self.arrays(last, found)

    def pack(self, sizes: Sizes, params: Arrays) -> Any:
        raise NotImplementedError

    def turns(self, *_: Any) -> Any:
        raise NotImplementedError


def build(command: list[str], program: Path) -> None:
    """Without a word from the compiler."""
    command = [*command, "-static", "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def given(array: Array | None) -> Word:
    return 0 if array is None else (GIVEN, array)


def kernel_of(folder: Path, cell: Cell, dtype: str, bits: int | None) -> Kernel:
    backend = Emulated(folder, cell, dtype, bits)
    return Kernel(backend.signature, backend, dtype, target="c")


def cell_of(name: str) -> Cell:
    return Cell.parse(CELLS[name]) if name in STRANGE else cells.from_spec(name)


@pytest.mark.parametrize("bits", [None, 1], ids=["128 bits", "no vectors"])
@pytest.mark.parametrize("dtype", list(TAGS))
@pytest.mark.parametrize("name", [*ENTRIES, *STRANGE])
def test_a_cell_agrees_with_the_interpreter_on_arm(
    tmp_path: Path, name: str, dtype: str, bits: int | None
) -> None:
    """Outputs, states and every gradient; 128 bits are what the header chooses by itself."""
    cell = cell_of(name)
    kernel = kernel_of(tmp_path, cell, dtype, bits)
    for lengths, reverse in WAYS:
        check_agreement(kernel, make(cell, lengths, reverse))
    check_agreement(kernel, make(cell, LENGTHS, False, sizes=SIZES, spread=0.4), SLACK)


def test_a_sequence_is_its_steps_on_arm(tmp_path: Path) -> None:
    cell = cells.from_spec("lstm:peephole=true")
    kernel = kernel_of(tmp_path, cell, "float32", None)
    case = make(cell, None, False)
    run = forward(kernel, case, training=False)
    state: dict[str, Any] = case.states
    for t, wanted in enumerate(run.output):
        output, state = kernel.step(case.params, {"x": case.inputs["x"][t]}, state)
        # So few rows are not packed, and their sums of 6 terms run in another order.
        np.testing.assert_allclose(output, wanted, rtol=0, atol=16 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(
        state["c"], run.states["c"], rtol=0, atol=16 * np.finfo(np.float32).eps
    )


@pytest.mark.parametrize("bits", [128, 1])
@pytest.mark.parametrize("tag", list(ulp.REALS))
def test_functions_are_within_two_ulp_of_mpmath_on_arm(tmp_path: Path, tag: str, bits: int) -> None:
    arguments = ulp.samples(ulp.REALS[tag])[::5]
    calls = "\n".join(
        f"    {tag}_{name}({arguments.size}, source, target);\n"
        f"    (void)fwrite(target, sizeof target, 1, stdout);"
        for name in ulp.EXACT
    )
    real = f"dk_real_{tag}"
    (tmp_path / "derive_kernels.h").write_text(render_header())
    (tmp_path / "every_unary.h").write_text(ulp.every_unary())
    (tmp_path / "main.c").write_text(f"""
#include <stdio.h>
#include "{Path(ulp.__file__).with_name("functions.c")}"
int main(void)
{{
    static {real} source[{arguments.size}], target[{arguments.size}];
    if (fread(source, sizeof source, 1, stdin) != 1) {{
        return 1;
    }}
{calls}
    return 0;
}}
""")
    command = [*CROSS, f"-DDK_VECTOR_BITS={bits}", f"-I{tmp_path}", str(tmp_path / "main.c")]
    build(command, tmp_path / "functions")
    done = subprocess.run(
        [str(EMULATOR), str(tmp_path / "functions")],
        input=arguments.tobytes(), capture_output=True, check=True,
    )  # fmt: skip
    found = np.frombuffer(done.stdout, arguments.dtype).reshape(len(ulp.EXACT), -1)
    for name, values in zip(ulp.EXACT, found, strict=True):
        error, place = ulp._worst(values, ulp._exact(name, arguments), arguments)
        assert error <= ulp.allowed(name), (name, error, place)
