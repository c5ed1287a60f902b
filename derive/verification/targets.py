"""Kernels to verify: compiled from a cell, or made of given texts.

In: a cell and targets, or {path: text}.  Out: kernels, and rows for what could not be built.
Not here: what is checked of them, how a target's texts become a backend (pipeline.py).

Everything that was asked for, a target or a file, becomes kernels, or a row that says why not:
one that failed where the texts are wrong, one of `not_built` where this machine cannot build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath

from derive import pipeline
from derive import targets as table
from derive.cell import Cell
from derive.errors import ArgumentError, InternalError, ToolchainError
from derive.kernel import Kernel
from derive.kernel.backend import Backend
from derive.kernel.fast import native_call
from derive.kernel.kernel import Origin
from derive.kernel.signature import Signature
from derive.kernel.weights import WEIGHTS
from derive.targets import Target
from derive.verification.fences import FencedC, PoisonedNumpy
from derive.verification.paths import TEAMS, Way, Ways
from derive.verification.report import BUILD, Row, not_run


@dataclass(frozen=True, slots=True)
class Built:
    """kernels: one for each target and dtype; ways: of each, all ways to call it, where wanted."""

    kernels: tuple[Kernel, ...]
    ways: tuple[Ways, ...]
    rows: tuple[Row, ...]


class Building:
    """Kernels in the making. A compiler is a process of its own, so what is checked of the derived
    Program meanwhile costs no time where there are two processors."""

    def __init__(self, cell: Cell, every_way: bool, emitted: bool) -> None:
        """emitted: the texts are those that `pipeline.emit` gives."""
        self._cell = cell
        self._emitted = emitted
        self._every_way = every_way
        self._side_by_side = ThreadPoolExecutor()
        self._waiting: list[tuple[str, str, Future[tuple[Backend, list[_Way]]]]] = []
        self._rows: list[Row] = []

    def start(self, target: str, files: Mapping[str, str], dtypes: Sequence[str]) -> None:
        """Kernels of one target, of texts {path: text}, in those of the dtypes that it has."""
        known = table.row(target).dtypes
        if not (dtypes := [dtype for dtype in dtypes if dtype in known]):
            self.refuse(target, f"its kernels are {' and '.join(known)} only")
            return
        if wrong := [failed(BUILD, target, why) for why in _complaints(self._cell, target, files)]:
            self._rows += wrong
            return
        if why := _missing(target):
            self._rows += [not_run(BUILD, f"{target} {dtype}", why) for dtype in dtypes]
            return
        for dtype in dtypes:
            of = (self._cell, target, files, dtype, self._every_way)
            self._waiting.append((target, dtype, self._side_by_side.submit(_backends, *of)))
        if table.row(target).unit is not None:
            self._side_by_side.submit(native_call.usable)  # asked for by the second call

    def refuse(self, what: str, why: Exception | str) -> None:
        """A file that is of no target, or a target that has no texts."""
        self._rows.append(failed(BUILD, what, why))

    def _origin(self, target: str, dtype: str) -> Origin | None:
        """Where all ways are checked of what is emitted, wanted gradients are as well."""
        whole = pipeline.signature(self._cell)
        parts = pipeline.signature_of_parts(self._cell)
        if whole.once or whole.differentiable() != parts.differentiable():
            return None  # checked here are the kernels of parts
        if not (self._every_way and self._emitted):
            return None
        return Origin(pipeline.compile, (self._cell, target, dtype), None)

    def built(self) -> Built:
        """Waits for all of them. What could not be built is a row."""
        kernels, ways = [], []
        rows = list(self._rows)
        for target, dtype, waiting in self._waiting:
            try:
                backend, others = waiting.result()
            except ToolchainError as error:
                rows.append(not_run(BUILD, f"{target} {dtype}", str(error)))
            except Exception as error:  # the text may be edited: its exceptions are a verdict
                rows.append(failed(BUILD, f"{target} {dtype}", error))
            else:
                signature = pipeline.signature_of_parts(self._cell)
                origin = self._origin(target, dtype)
                kernels.append(Kernel(signature, backend, dtype, target=target, origin=origin))
                each = tuple(
                    Way(Kernel(signature, other, dtype, target=target), other, team, low, weights)
                    for other, team, low, weights in others
                )
                ways.append(Ways(f"{target} {dtype}", dtype, each))
        self._side_by_side.shutdown()
        return Built(tuple(kernels), tuple(ways), tuple(rows))


def start_building(
    cell: Cell, files: Mapping[str, str] | Sequence[str], dtypes: Sequence[str], every_way: bool
) -> Building:
    """A kernel for each dtype, of texts {path: text}, or of what is emitted for some targets.

    every_way: and those of paths.py: teams, low thresholds, fences.
    """
    building = Building(cell, every_way, not isinstance(files, Mapping))
    if not isinstance(files, Mapping):
        for target in files:
            try:
                texts = pipeline.emit(cell, target)
            except InternalError as error:  # of one target: the others are checked all the same
                building.refuse(target, error)
            else:
                building.start(target, texts, dtypes)
        return building
    known = dict.fromkeys(suffix for row in table.rows() for suffix in row.suffixes)
    by_target: dict[str, dict[str, str]] = {}
    for path, text in files.items():
        row = table.of_file(path)
        if row is not None:
            by_target.setdefault(row.name, {})[path] = text
        else:
            suffix = PurePosixPath(path).suffix
            building.refuse(path, f"no target has {suffix or 'such'} files: {', '.join(known)}")
    if not files:
        building.refuse("files", "there are none")
    for target, texts in by_target.items():
        building.start(target, texts, dtypes)
    return building


def _complaints(cell: Cell, target: str, files: Mapping[str, str]) -> Iterator[str]:
    """Why the files are not those of one kernel of the cell."""
    row = table.row(target)
    suffixes = tuple(row.suffixes)
    code = suffixes[0]
    own = [path for path in files if path.endswith(code) and _is_of(cell, path)]
    if not own:
        yield f"{cell.name}{code} is missing; given: {', '.join(files) or 'nothing'}"
    elif len(own) > 1:
        yield f"there may be one {cell.name}{code}, not {', '.join(own)}"
    for path in files:
        if not _is_of(cell, path) and not row.is_shared(path):
            yield f"{path} is no file of {cell.name}: nothing would be checked of it"
        elif not path.endswith(suffixes):
            yield f"{path} is no file of a kernel: they end in {', '.join(suffixes)}"


def _is_of(cell: Cell, path: str) -> bool:
    return PurePosixPath(path).stem == cell.name


def failed(check: str, where: str, error: Exception | str) -> Row:
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Row(check, where, float("inf"), 0.0, False, reason)


def _missing(target: str) -> str:
    """What this machine lacks to build a target; "" where it can."""
    try:
        table.row(target).find()
    except ToolchainError as error:
        return error.what
    return ""


#: A backend, its team, whether its thresholds are low, and its thin weights.
_Way = tuple[Backend, int, bool, str | None]


def _backends(
    cell: Cell, target: str, texts: Mapping[str, str], dtype: str, every_way: bool
) -> tuple[Backend, list[_Way]]:
    """The backend of a user, and where wanted those for every way to call it."""
    plain = pipeline.backend(cell, target, texts, dtype)
    if not every_way:
        return plain, []
    return plain, _ways(table.row(target), plain, texts, pipeline.signature_of_parts(cell), dtype)


def _ways(
    row: Target, plain: Backend, texts: Mapping[str, str], signature: Signature, dtype: str
) -> list[_Way]:
    """With memory that is fenced in, and with teams and low thresholds, where a target has them."""
    if row.unit is not None:
        builds = [(False, ()), *([(True, row.low())] if row.low() else [])]
        found: list[_Way] = [
            (FencedC(texts, signature, dtype, team, defines), team, low, None)
            for (low, defines), team in product(builds, TEAMS)
        ]
        return [*found, *(_thin(texts, signature, row.low()) if dtype == "float32" else ())]
    if row.module:
        return [(PoisonedNumpy(texts, signature), 1, False, None)]
    return [(plain, 1, False, None)]


def _thin(texts: Mapping[str, str], signature: Signature, defines: Sequence[str]) -> Iterator[_Way]:
    """Those with thin weights, of cells that have them."""
    for weights, team in product(WEIGHTS, (TEAMS[0], TEAMS[-1])):
        backend = FencedC(texts, signature, "float32", team, defines, weights)
        with suppress(ArgumentError):
            backend.check_weights(weights)
            yield backend, team, True, weights
