"""Kernels to verify: compiled from a cell, or made of given texts.

In: a cell and targets, or {path: text}.  Out: kernels, and rows for what could not be built.
Not here: what is checked of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from derive import build, pipeline
from derive.backend import Backend
from derive.cell import Cell
from derive.errors import BuildError, InternalError
from derive.kernel import Kernel
from derive.verify.report import Row, not_run


@dataclass(frozen=True, slots=True)
class Built:
    kernels: tuple[Kernel, ...]
    rows: tuple[Row, ...]


class Building:
    """Kernels in the making. A compiler is a process of its own, so what is checked of the derived
    Program meanwhile costs no time where there are two processors."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._side_by_side = ThreadPoolExecutor()
        self._waiting: list[tuple[str, str, Future[Backend]]] = []
        self._rows: list[Row] = []

    def start(self, files: Mapping[str, str], dtypes: Sequence[str]) -> None:
        """Kernels of given texts: `.py` is the NumPy target, `.c` and `.h` are the C target.

        Without a C compiler the rows say so.
        """
        python = {path: text for path, text in files.items() if path.endswith(".py")}
        c = {path: text for path, text in files.items() if path.endswith((".c", ".h"))}
        for target, texts in (("numpy", python), ("c", c)):
            if not texts:
                continue
            if target == "c" and (why := _no_compiler()):
                self._rows += [not_run("build", f"c {dtype}", why) for dtype in dtypes]
                continue
            for dtype in dtypes:
                backend = self._side_by_side.submit(_backend, self._cell, target, texts, dtype)
                self._waiting.append((target, dtype, backend))

    def fail(self, target: str, error: Exception) -> None:
        """A target that has no texts."""
        self._rows.append(failed("build", target, error))

    def built(self) -> Built:
        """Waits for all of them. What could not be built is a row that failed."""
        kernels = []
        rows = list(self._rows)
        for target, dtype, waiting in self._waiting:
            try:
                backend = waiting.result()
            except Exception as error:  # the text may not be ours: whatever it raises is a verdict
                rows.append(failed("build", f"{target} {dtype}", error))
            else:
                signature = pipeline.signature(self._cell)
                kernels.append(Kernel(signature, backend, dtype, target=target))
        self._side_by_side.shutdown()
        return Built(tuple(kernels), tuple(rows))


def start_building(
    cell: Cell, files: Mapping[str, str] | Sequence[str], dtypes: Sequence[str]
) -> Building:
    """A kernel for each dtype, of texts {path: text}, or of what is emitted for some targets."""
    building = Building(cell)
    if isinstance(files, Mapping):
        building.start(files, dtypes)
    else:
        for target in files:
            try:
                texts = pipeline.emit(cell, target)
            except InternalError as error:  # of one target: the others are checked all the same
                building.fail(target, error)
            else:
                building.start(texts, dtypes)
    return building


def failed(check: str, where: str, error: Exception) -> Row:
    reason = f"{type(error).__name__}: {error}"
    return Row(check, where, float("inf"), 0.0, False, reason)


def _no_compiler() -> str:
    try:
        build.find_compiler()
    except BuildError as error:
        return error.what
    return ""


def _backend(cell: Cell, target: str, texts: Mapping[str, str], dtype: str) -> Backend:
    if target == "numpy":
        from derive.target_numpy import NumpyBackend

        return NumpyBackend(texts, pipeline.signature(cell))
    from derive.target_c import CBackend

    return CBackend(texts, pipeline.signature(cell), dtype, 1)
