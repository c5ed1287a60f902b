"""Kernels to verify: compiled from a cell, or made of given texts.

In: a cell and targets, or {path: text}.  Out: kernels, and rows for what could not be built.
Not here: what is checked of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from derive import build, pipeline
from derive.backend import Backend
from derive.cell import Cell
from derive.errors import BuildError
from derive.kernel import Kernel
from derive.verify.report import Row, not_run


@dataclass(frozen=True, slots=True)
class Built:
    kernels: tuple[Kernel, ...]
    rows: tuple[Row, ...]


def compile_all(cell: Cell, targets: Sequence[str], dtypes: Sequence[str]) -> Built:
    """A kernel for each target and dtype. Without a C compiler the rows say so."""
    kernels: list[Kernel] = []
    rows: list[Row] = []
    for target in targets:
        files = pipeline.emit(cell, target)
        built = from_files(cell, files, dtypes)
        kernels += built.kernels
        rows += built.rows
    return Built(tuple(kernels), tuple(rows))


def from_files(cell: Cell, files: Mapping[str, str], dtypes: Sequence[str]) -> Built:
    """Kernels of given texts: `.py` is the NumPy target, `.c` and `.h` are the C target."""
    python = {path: text for path, text in files.items() if path.endswith(".py")}
    c = {path: text for path, text in files.items() if path.endswith((".c", ".h"))}
    kernels: list[Kernel] = []
    rows: list[Row] = []
    for target, texts in (("numpy", python), ("c", c)):
        if not texts:
            continue
        if target == "c" and (why := _no_compiler()):
            rows += [not_run("build", f"c {dtype}", why) for dtype in dtypes]
            continue
        with ThreadPoolExecutor() as side_by_side:  # a compiler is a process of its own
            waiting = [side_by_side.submit(_backend, cell, target, texts, d) for d in dtypes]
        for dtype, result in zip(dtypes, waiting, strict=True):
            try:
                backend = result.result()
            except Exception as error:  # the text is not ours: whatever it raises is a verdict
                rows.append(failed("build", f"{target} {dtype}", error))
            else:
                kernels.append(Kernel(pipeline.signature(cell), backend, dtype, target=target))
    return Built(tuple(kernels), tuple(rows))


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

        return NumpyBackend(texts)
    from derive.target_c import CBackend

    return CBackend(texts, pipeline.signature(cell), dtype, 1)
