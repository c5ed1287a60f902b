"""The checker works on texts: it catches an edit of generated text that changes a result.

In: a cell, a target, edits of its files.  Out: for each edit whether `verify_files` notices.
Not here: which edits there are (edits.py); mutants of the derived Program (mutants.py).

An edit that verification lets pass is equivalent only if the compiler makes the same machine code
of it, or if the kernels give the same, to the last bit or to what another order of summation may
do, in the calls of wide_calls.py, which verification does not make; else it survived, and
verification has a hole there. Each is tried in a process of its own: it may crash or never end.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from derive import pipeline
from derive import targets as table
from derive.cell import Cell
from derive.errors import ToolchainError, VerificationError
from derive.verification import wide_calls
from derive.verification.apart import Ended, Killed, apart, rearm
from derive.verification.edits import Edit, drawn, possible
from derive.verification.mutants import Fate
from derive.verification.report import Row
from derive.verification.session import Session
from derive.verification.targets import Built, start_building

Found = TypeVar("Found")

#: In this order: what the first kernel fails at needs no second one.
DTYPES = ("float64", "float32")
#: Processor time of an edit: so many times what the unedited text takes, and for the compiler.
TIMES, SECONDS = 10.0, 30.0
#: A check, or a call that is compared, may take so many times what it takes, and so many seconds.
AT_LEAST = 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """why: the check that noticed, how it is known to be equivalent, or the call that differs."""

    edit: Edit
    where: str
    diff: tuple[str, str]
    fate: Fate
    why: str


@dataclass(frozen=True, slots=True)
class Task:
    """A cell's files in one target, and the seed of the verification."""

    cell: Cell
    target: str
    seed: int = 0
    quick: bool = False


def edits_of(task: Task, count: int) -> tuple[Edit, ...]:
    """`count` edits of the files, drawn by the seed."""
    return drawn(possible(pipeline.emit(task.cell, task.target)), count, task.seed)


def outcome(task: Task, edit: Edit) -> Outcome:
    """The fate of one edit. What does not depend on it is computed once a process."""
    return _judge(task).outcome(edit)


@lru_cache(maxsize=2)
def _judge(task: Task) -> _Judge:
    return _Judge(task)


@lru_cache(maxsize=2)
def _session(cell: Cell, seed: int, quick: bool) -> _FirstFailure:
    """What must come out is the same for all targets, and takes longest."""
    gradient, parts = pipeline.differentiate(cell), ("kernels",)
    return _FirstFailure(
        gradient, cell.name, cell.output_keys, seed, quick, None, parts, every_way=not quick
    )


class _Failed(BaseException):
    """Ends a verification at the first row that failed."""

    def __init__(self, row: Row) -> None:
        self.row = row


class _FirstFailure(Session):
    """All checks of kernels, up to the first that fails.

    patience: seconds of work that a check may take; None: any, and `longest` is the most one took.
    """

    patience: float | None = None
    longest = 0.0
    _before = 0.0

    def start_measuring(self) -> None:
        self.longest, self._before = 0.0, time.process_time()

    def add(self, rows: Any) -> None:
        now = time.process_time()
        self.longest, self._before = max(self.longest, now - self._before), now
        if self.patience is not None:
            rearm(self.patience)
        for row in rows:
            if row.ok is False:
                raise _Failed(row)


@dataclass(frozen=True, slots=True)
class _Tried:
    """How far an edit came. kernels: those of another text than the original ones."""

    caught: str
    same_code: bool


class _Judge:
    """Verifies the files of one task, each time with one edit."""

    def __init__(self, task: Task) -> None:
        self._cell, self._target = task.cell, task.target
        self._files = pipeline.emit(task.cell, task.target)
        known = table.row(task.target).dtypes
        self._dtypes = tuple(dtype for dtype in DTYPES if dtype in known)
        self._session = _session(task.cell, task.seed, task.quick)
        try:
            with tempfile.TemporaryDirectory(prefix="derive-") as folder:
                self._codes = {
                    d: self._build(self._files, d, f"{folder}/{d}", False)[1] for d in self._dtypes
                }
                built = [
                    self._build(self._files, d, f"{folder}/{d}", True)[0] for d in self._dtypes
                ]
            self._all_checks(built)  # what must come out is computed here, and kept
            before = time.process_time()
            self._session.start_measuring()
            self._all_checks(built)
            self._seconds = TIMES * (time.process_time() - before) + SECONDS
            self._patience = TIMES * self._session.longest + AT_LEAST
        except _Failed as failure:
            raise VerificationError(
                f"{self._cell.name}: the {self._target} files fail without any edit",
                facts=(f"{failure.row.check}, {failure.row.where}: {failure.row.bound}",),
                hint=f"derive verify {self._cell.name}",
            ) from None
        signature = pipeline.signature_of_parts(self._cell)
        self._wide = []
        with np.errstate(all="ignore"):
            for dtype, one in zip(self._dtypes, built, strict=True):
                for k, call in enumerate(wide_calls.calls(signature, dtype, task.seed)):
                    self._wide.append((dtype, k, call, _results(one, k, call)))

    def outcome(self, edit: Edit) -> Outcome:
        files = edit.applied(self._files)
        with tempfile.TemporaryDirectory(prefix="derive-") as folder:
            fate, why = self._fate(files, folder)
        return Outcome(edit, edit.where(self._files), edit.diff(self._files), fate, why)

    def _fate(self, files: Mapping[str, str], folder: str) -> tuple[Fate, str]:
        try:
            tried = self._apart(self._verify, files, folder)
        except Ended as end:
            return Fate.KILLED, str(end)
        if tried.caught:
            return Fate.KILLED, tried.caught
        if tried.same_code:
            return Fate.EQUIVALENT, "the same machine code"
        try:
            off, where = self._apart(self._compare, files, folder)
        except Ended as end:
            return Fate.SURVIVED, f"in calls that verification does not make {end}"
        if where:
            return Fate.SURVIVED, f"off by {off:.1e}: {where}"
        count = len(self._wide)
        if off:
            return Fate.EQUIVALENT, f"the same but for rounding in {count} other calls"
        return Fate.EQUIVALENT, f"the same bits in {count} other calls"

    def _apart(
        self, work: Callable[[Mapping[str, str], str], Found], files: Mapping[str, str], folder: str
    ) -> Found:
        """Once more where the process was killed: others may have used the memory."""
        try:
            return apart(work, files, folder, seconds=self._seconds)
        except Killed:
            return apart(work, files, folder, seconds=self._seconds)

    # --- in a process of their own ----------------------------------------------------------

    def _verify(self, files: Mapping[str, str], folder: str) -> _Tried:
        """What `verify_files` does, in another order: what is quick to build and to check first."""
        changed = []
        self._session.patience = self._patience
        rearm(self._patience)
        try:
            for dtype in self._dtypes:
                built, code = self._build(files, dtype, f"{folder}/{dtype}", False)
                if not code or code != self._codes[dtype]:
                    changed.append(dtype)
                    self._session.kernels(built.kernels, ())
            self._all_checks(
                [self._build(files, dtype, f"{folder}/{dtype}", True)[0] for dtype in changed]
            )
        except _Failed as failure:
            return _Tried(f"{failure.row.check}, {failure.row.where.partition(':')[0]}", False)
        return _Tried("", not changed)

    def _all_checks(self, built: Sequence[Built]) -> None:
        kernels = [kernel for one in built for kernel in one.kernels]
        self._session.kernels(kernels, [way for one in built for way in one.ways])

    def _compare(self, files: Mapping[str, str], folder: str) -> tuple[float, str]:
        """The largest difference; and where, if it is more than rounding."""
        built = {d: self._build(files, d, f"{folder}/{d}", True)[0] for d in self._dtypes}
        worst = 0.0
        for dtype, k, call, wanted in self._wide:
            rearm(self._patience)
            try:
                with np.errstate(all="ignore"):
                    got = _results(built[dtype], k, call)
            except Exception as error:  # an edited text may raise anything
                return float("inf"), f"{dtype} {call.label}: {type(error).__name__}: {error}"
            off, name = wide_calls.apart_by(wanted, got)
            if not off <= wide_calls.ROUNDING[dtype]:
                return off, f"{name} of {dtype} {call.label}"
            worst = max(worst, off)
        return worst, ""

    def _build(
        self, files: Mapping[str, str], dtype: str, folder: str, every_way: bool
    ) -> tuple[Built, tuple[str, ...]]:
        """Kernels, and the checksums of its machine code, by which cache.py names files."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        before = os.environ.get("DERIVE_CACHE_DIR")
        os.environ["DERIVE_CACHE_DIR"] = folder
        try:
            built = start_building(self._cell, files, (dtype,), every_way).built()
        finally:
            del os.environ["DERIVE_CACHE_DIR"]
            if before is not None:
                os.environ["DERIVE_CACHE_DIR"] = before
        for row in built.rows:
            if row.ok is None:
                raise ToolchainError(row.bound)
            raise _Failed(row)
        code: Sequence[str] = ()
        with suppress(OSError):
            code = sorted(path.stem for path in Path(folder).glob("*/*.so"))
        return built, tuple(code)


def _results(built: Built, k: int, call: wide_calls.Call) -> dict[str, Any]:
    """Of the k-th call: teams of 1, 2 and 3 take turns, in memory that tells what is overrun."""
    ways = [way for way in built.ways[0].each if not way.low]
    way = ways[k % len(ways)]
    found = wide_calls.results(way.kernel, call)
    overrun = way.fence.overrun() if way.fence else []
    return {**found, "memory": np.array([len(overrun)])}
