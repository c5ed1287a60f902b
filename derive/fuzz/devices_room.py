"""`--what devices`: random cells as folders for a microcontroller, built under sanitizers and run.

In: choices of hypothesis.  Out: nothing, or a Fault; the case as text that can be pasted.
Not here: how cells are drawn (grammar.py, axes_grammar.py), what is exported (mcu/), training in
float32 (cells_room.py with the target mcu).

Each cell is exported in every kind of numbers. A compiler has nothing to say, sanitizers nothing
either, and in fixed point main.c finds the very integers that the interpreter computed. In float
an output at a kink or near a pole may be another, so there only the sanitizers judge.
"""

from __future__ import annotations

import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from derive import pipeline
from derive.build.compiler import find_compiler
from derive.cell import Cell
from derive.errors import DeriveError
from derive.fuzz.axes_grammar import cells_with_axes
from derive.fuzz.calls import is_told
from derive.fuzz.check import cell_of
from derive.fuzz.fault import Fault, fault
from derive.fuzz.grammar import cells
from derive.kernel.signature import Sizes
from derive.mcu.export import exported

#: dtype and activations.
KINDS = (("float32", None), ("q15", None), ("int8", None), ("int8", "q15"))

_WARNINGS = (
    "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wdouble-promotion", "-Wvla",
    "-Wshadow", "-Wundef", "-Wcast-qual", "-Wstrict-prototypes",
)  # fmt: skip
_SANITIZE = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
_SECONDS = 120


class DevicesRoom:
    """counts: cells, programs that ran, and those that a cell has no bounds for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._compiler = find_compiler()
        self._drawn = st.one_of(cells(), cells_with_axes())
        self._case: tuple[str, dict[str, int], int, str, str | None] = ("", {}, 0, "", None)

    def example(self, data: st.DataObject) -> None:
        drawn = data.draw(self._drawn)
        self._case = (drawn.declared, {}, 0, "", None)
        found = cell_of(drawn)
        if found is None or not is_told(found[0]):
            return
        cell, text = found
        sizes = {d: data.draw(st.integers(1, 5)) for d in pipeline.signature(cell).dims()}
        seed = data.draw(st.integers(0, 1 << 16))
        given = arrays(cell, sizes, seed)
        if given is None:
            return
        self.counts["cells"] += 1
        for dtype, activations in KINDS:
            self._case = (text, sizes, seed, dtype, activations)
            self._check(cell, sizes, given, dtype, activations)

    def _check(
        self, cell: Cell, sizes: Mapping[str, int], given: tuple[dict[str, Any], Any],
        dtype: str, activations: str | None,
    ) -> None:  # fmt: skip
        label = " ".join(filter(None, (dtype, activations)))
        params, x = given
        fixed = "q15" in (dtype, activations)
        more = {"data": x} if fixed else {}
        try:
            with np.errstate(all="ignore"):
                files = exported(
                    cell, params, dtype=dtype, activations=activations, steps=4, sizes=sizes, **more
                )
        except DeriveError:
            self.counts["without bounds"] += 1
            return
        except Exception as error:
            lines = "".join(traceback.format_exception(error)).splitlines()
            kind = f"{label}: exporting raises {type(error).__name__}"
            raise fault(kind, "\n".join(lines[-9:])) from error
        self.counts["programs"] += 1
        with tempfile.TemporaryDirectory(prefix="derive-fuzz-") as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text)
            command = (*self._compiler.command, "-std=c99", "-O1", *_WARNINGS)
            unit = f"{cell.name}.c"
            if dtype == "float32":
                train = (f"-D{cell.name.upper()}_TRAIN", "-c", unit, "-o", "train.o")
                self._run(f"{label}: training does not compile", (*command, *train), folder)
            build = (*command, *_SANITIZE, unit, "main.c", "-o", "program")
            self._run(f"{label}: the compiler refuses", build, folder)
            allowed = (0,) if fixed else (0, 1)
            self._run(f"{label}: the program fails", ("./program",), folder, allowed)

    def _run(
        self, kind: str, command: tuple[str, ...], folder: str, allowed: tuple[int, ...] = (0,)
    ) -> None:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SECONDS,
        )  # fmt: skip
        said = done.stderr.splitlines()
        if done.returncode not in allowed or said:
            lines = [line for line in said if "error" in line or "ERROR" in line] or said
            text = "\n".join((lines or done.stdout.splitlines()[-1:])[:8])
            raise fault(kind, f"exit status {done.returncode}\n{text}")

    def case(self, found: Fault) -> str:
        text, sizes, seed, dtype, activations = self._case
        lines = ["import derive", f"cell = derive.Cell.parse({text!r})"]
        if dtype:
            lines += [
                "from derive.fuzz.devices_room import arrays",
                f"sizes = {sizes!r}",
                f"params, x = arrays(cell, sizes, {seed})",
                f"derive.mcu.export(cell, 'device', params, sizes=sizes, dtype={dtype!r}, "
                f"activations={activations!r}, steps=4"
                + (", data=x)" if "q15" in (dtype, activations) else ")"),
            ]
        return "\n".join(lines)

    def cell_text(self) -> str:
        return self._case[0]

    def close(self) -> None:
        """Nothing is left open."""


def arrays(
    cell: Cell, sizes: Mapping[str, int], seed: int
) -> tuple[dict[str, Any], dict[str, Any] | Any] | None:
    """Parameters and inputs of 5 steps and 2 rows; None where a width has no length."""
    signature = pipeline.signature(cell)
    lengths, random = Sizes(5, 2, sizes), np.random.default_rng(seed)
    try:
        shapes = {n: lengths.shape(s) for n, s in {**cell.params, **cell.inputs}.items()}
    except ValueError:
        return None
    params = {n: random.normal(size=shapes[n]).astype(np.float32) for n in cell.params}
    x = {
        n: random.normal(size=(*(() if n in signature.once else (5,)), 2, *shapes[n]))
        for n in cell.inputs
    }
    return params, x or np.zeros((5, 2, 0))
