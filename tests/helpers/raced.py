"""Generated C under a thread sanitizer, by teams of two and three threads.

    python tests/helpers/raced.py [catalogue] [strange] [random FIRST LAST] [cell FILE] [CELL ...]

Every team must give the bits of one thread, without a race. Prints one line a cell; the exit status
is the number of cells that failed.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import random_cells
from strange_cells import CELLS

from derive import cells, pipeline
from derive.cell import Cell
from derive.errors import CellError
from derive.kernel.signature import Axes, Sizes, axes_of

DRIVER = Path(__file__).parents[1] / "c" / "raced.c"
#: Vectors that the sanitizer can see, rather than instructions; chunks of few steps; quick to
#: compile.
FLAGS = (
    "-std=c11", "-O1", "-fsanitize=thread", "-pthread", "-ffp-contract=fast", "-DDK_ONLY_F32",
    "-DDK_VECTOR_BITS=128", "-DDK_ROWS_MAX=2", "-DDK_CHUNK_ROWS=60",
)  # fmt: skip
#: T, B and calls: units of every stage are shared; rows, each through all steps; one row; products
#: without packing. Odd widths: the cuts of units and of columns differ.
CASES = ((25, 5, 4), (3, 50, 4), (70, 1, 4), (2, 2, 2))
WIDTHS = {"I": 7, "H": 19, "P": 9}


def check(folder: Path, cell: Cell, *flags: str) -> str:
    """What the sanitizer or the driver complains about; nothing where all is well."""
    signature = pipeline.signature_of_parts(cell)  # what generated text works with
    for path, text in pipeline.emit(cell, "c").items():
        (folder / Path(path).name).write_text(text)
    name = signature.name
    command = ["gcc", *FLAGS, *flags, f'-DHEADER="{name}.h"', f"-DCELL={name}", f"-I{folder}"]
    command += [str(DRIVER), str(folder / f"{name}.c"), "-lm", "-o", str(folder / "raced")]
    subprocess.run(command, check=True)
    # A state of three axes is as many numbers as one of 19 units, or not many times more.
    others = 3 if any(len(axes_of(width)) > 1 for width in signature.states.values()) else 5
    dims = {dim: WIDTHS.get(dim, others) for dim in signature.dims()}
    given = []
    for steps, rows, calls in CASES:
        sizes = Sizes(steps, rows, dims)

        def count(width: Axes, times: int = 1, sizes: Sizes = sizes) -> int:
            return times * math.prod(sizes.shape(axes_of(width)))

        lists = (
            [steps, rows, *dims.values()],
            [count(shape) for shape in signature.params.values()],
            [count(width, steps * rows) for width in signature.inputs.values()],
            [count(width, rows) for width in signature.states.values()],
            [count(width, steps * rows) for width in signature.outputs.values()],
            [calls],
        )
        given += [f"{len(numbers)} {' '.join(map(str, numbers))}" for numbers in lists]
    done = subprocess.run(
        [str(folder / "raced")], input="\n".join(given), capture_output=True, text=True,
        timeout=1200, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr or f"status {done.returncode}"


def named(words: list[str]) -> Iterator[tuple[str, Cell]]:
    while words:
        word = words.pop(0)
        if word == "catalogue":
            yield from ((name, cells.from_spec(name)) for name in cells.names())
        elif word == "strange":
            yield from ((name, Cell.parse(text)) for name, text in CELLS.items())
        elif word == "cell":
            yield words[0], Cell.parse(Path(words.pop(0)).read_text())
        elif word != "random":
            yield word, cells.from_spec(word)
        else:
            for seed in range(int(words.pop(0)), int(words.pop(0))):
                try:
                    yield f"random {seed}", Cell.parse(random_cells.text(seed))
                except CellError:
                    continue


def main(words: list[str]) -> int:
    failed = 0
    for name, cell in named(words):
        with tempfile.TemporaryDirectory() as folder:
            found = check(Path(folder), cell)
        failed += bool(found)
        print(name, found[:2000] or "ok", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
