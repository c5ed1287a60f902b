"""Cells -> verified files in a folder, or what differs from the files that are there.

In: cells, targets, a folder.  Out: a `Result`: what was written, what differs, what is stale.
Not here: the stages (pipeline.py), verdicts (verification/), the command (cli/generated_files.py).

The folder holds a folder for each target (numpy/NAME.py, c/NAME.h, c/NAME.c, c/derive_kernels.h)
and manifest.json, which says of every file which cell it is of and what its bytes and its cell's
text hash to. Same input, same bytes: no date, path or version is in any of them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derive import pipeline
from derive import targets as table
from derive.build.written_files import read_text, write_all
from derive.cli import apart
from derive.errors import ArgumentError, InternalError, ToolchainError, VerificationError

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.targets import Target
    from derive.verification import Report
    from derive.verification.session import Progress

MANIFEST = "manifest.json"
#: Goes up when the form of the manifest changes.
FORMAT = 1

#: Reports about one cell, given its files: verification, in this process or in another.
Check = Callable[[Mapping["Cell", Mapping[str, str]]], Sequence["Report"]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A generated file. `cell` is empty for what all cells share."""

    path: str
    sha256: str
    cell: str
    cell_sha256: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as it should be: "missing", "differs", or "stale" (of no cell)."""

    path: str
    what: str
    diff: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """`written`: paths whose bytes changed, `same`: those that were right already."""

    written: tuple[str, ...]
    same: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def stale(self) -> tuple[str, ...]:
        return tuple(d.path for d in self.differences if d.what == "stale")


def generate(
    cells: Sequence[Cell],
    targets: Sequence[str] | None = None,
    out: str | os.PathLike[str] = "generated",
    *,
    check: bool = False,
    complete: bool = False,
    verify: Check | None = None,
) -> Result:
    """Emit, compile and verify `cells`, then write all of their files or, with an error, none.

    VerificationError: a check failed.  ToolchainError: a target cannot be built on this machine.
    ArgumentError: the folder cannot be written.
    check: compile and write nothing, tell what differs on disk.  complete: `cells` are all that
    the folder is to hold.  verify: how reports are made; by default one by one.
    """
    folder = Path(out)
    targets = table.usual() if targets is None else targets
    if not check:
        _find(targets)
    try:
        files = {cell: emitted(cell, targets) for cell in cells}
    except InternalError as error:
        facts = (*error.facts, "nothing was written, of no target")
        raise InternalError(error.what, facts=facts, hint=error.hint) from error
    texts = _merged(files)
    manifest = _manifest(files, texts, _others(folder, cells, targets, complete))
    stale = _stale(folder, manifest)
    texts[MANIFEST] = _manifest_text(manifest)
    if check:
        compared = (_compare(folder, path, text) for path, text in texts.items())
        return Result((), (), (*(d for d in compared if d), *stale))
    reports = tuple((verify or _one_by_one)(files))
    if failed := [report for report in reports if report.failed]:
        raise VerificationError(
            "nothing was written: verification failed",
            facts=tuple(fact for report in failed for fact in _why(report)),
            hint=f"derive verify {' '.join(report.name for report in failed)}",
        )
    if missing := [row for report in reports for row in report.not_built]:
        whys = (f"{row.where}: {row.bound.splitlines()[0]}" for row in missing)
        first = table.row(missing[0].where.partition(" ")[0])
        raise _not_built(first, tuple(dict.fromkeys(whys)))
    written = write_all(folder, texts, "derive generate --out another/folder")
    same = tuple(path for path in texts if path not in written)
    return Result(written, same, stale)


def _why(report: Report) -> Iterator[str]:
    """How many checks failed, and the first of them that has no number: it raised, or crashed."""
    yield f"{report.name}: {len(report.failures)} of {len(report.rows)} checks"
    without = (row.bound for row in report.failures if row.observed in (None, math.inf))
    yield from (f"  {why.splitlines()[0]}" for why in islice(without, 1) if why)


def _find(targets: Sequence[str]) -> None:
    """ToolchainError before any work is done, where this machine lacks what a target needs."""
    for target in map(table.row, targets):
        try:
            target.find()
        except ToolchainError as error:
            raise _not_built(target, (error.what, *error.facts)) from error


def _not_built(target: Target, facts: tuple[str, ...]) -> ToolchainError:
    others = ",".join(name for name in table.usual() if name != target.name)
    leave = f"leave {target.title} out: --target {others}"
    return ToolchainError(
        f"nothing was written: target {target.name} cannot be built on this machine",
        facts=facts,
        hint=f"{target.install}; or {leave}" if target.install else leave,
    )


def emitted(cell: Cell, targets: Sequence[str]) -> dict[str, str]:
    """The files of a cell in all targets, {path: text}."""
    files: dict[str, str] = {}
    for target in targets:
        files |= pipeline.emit(cell, target)
    return files


def on_disk(cell: Cell, out: str | os.PathLike[str]) -> dict[str, str] | None:
    """The cell's files in `out` as they stand there; None if there are none of this very cell.

    Of this very cell are those that the manifest says were generated from the same text.
    """
    folder = Path(out)
    digest = _sha256(cell.to_text())
    entries = read_manifest(folder)
    own = [e.path for e in entries if e.cell == cell.name and e.cell_sha256 == digest]
    shared = [e.path for e in entries if not e.cell]
    targets = {path.partition("/")[0] for path in own}
    paths = own + [path for path in shared if path.partition("/")[0] in targets]
    files = {path: text for path in paths if (text := read_text(folder / path)) is not None}
    return files if own else None


# --- what should be there -------------------------------------------------------------------


def _merged(files: Mapping[Cell, Mapping[str, str]]) -> dict[str, str]:
    """All files; one path means one text."""
    texts: dict[str, str] = {}
    owners: dict[str, str] = {}
    for cell, own in files.items():
        for path, text in own.items():
            other = owners.setdefault(path.lower(), cell.name)
            if texts.setdefault(path, text) != text or (other != cell.name and _is_own(path, cell)):
                raise ArgumentError(
                    f"the cells {other} and {cell.name} both want to write {path}",
                    hint="rename one of them",
                )
    return texts


def _is_own(path: str, cell: Cell) -> bool:
    return Path(path).stem == cell.name


def _manifest(
    files: Mapping[Cell, Mapping[str, str]], texts: Mapping[str, str], others: Sequence[Entry]
) -> tuple[Entry, ...]:
    entries = {entry.path: entry for entry in others}
    for cell, own in files.items():
        for path in own:
            owner = (cell.name, _sha256(cell.to_text())) if _is_own(path, cell) else ("", "")
            entries[path] = Entry(path, _sha256(texts[path]), *owner)
    return tuple(entries[path] for path in sorted(entries))


def _others(
    folder: Path, cells: Sequence[Cell], targets: Sequence[str], complete: bool
) -> tuple[Entry, ...]:
    """What the folder's manifest holds and this run does not make: it stays."""
    names = {cell.name for cell in cells}
    return tuple(
        entry
        for entry in read_manifest(folder)
        if entry.path.partition("/")[0] not in targets or not (complete or entry.cell in names)
    )


def _manifest_text(entries: Sequence[Entry]) -> str:
    files = {
        entry.path: {"cell": entry.cell, "cell_sha256": entry.cell_sha256, "sha256": entry.sha256}
        for entry in entries
    }
    return json.dumps({"files": files, "format": FORMAT}, indent=1, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> tuple[Entry, ...]:
    """The entries of a folder's manifest; none where there is no manifest that can be read."""
    text = read_text(folder / MANIFEST)
    try:
        data: Any = json.loads(text or "{}")
        return tuple(
            Entry(path, found["sha256"], found["cell"], found["cell_sha256"])
            for path, found in data.get("files", {}).items()
            if data.get("format") == FORMAT
        )
    except (ValueError, AttributeError, KeyError, TypeError):
        return ()


# --- what is there --------------------------------------------------------------------------

#: A difference is shown up to this many lines a file.
LINES_SHOWN = 12


def _compare(folder: Path, path: str, wanted: str) -> Difference | None:
    found = read_text(folder / path)
    if found == wanted:
        return None
    if found is None:
        return Difference(path, "missing")
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), "on disk", "generated", n=0, lineterm=""
    )
    diff = list(lines)[2:]
    shown = [line[:160] for line in diff[:LINES_SHOWN]]
    if len(diff) > LINES_SHOWN:
        shown.append(f"... {len(diff) - LINES_SHOWN} more lines")
    return Difference(path, "differs", tuple(shown))


def _stale(folder: Path, manifest: Sequence[Entry]) -> tuple[Difference, ...]:
    """Files in the folders of the targets that no cell of the manifest accounts for."""
    known = {entry.path for entry in manifest}
    found = []
    suffixes = {suffix for row in table.rows() for suffix in row.suffixes}
    for target in table.names():
        for path in sorted((folder / target).glob("*")):
            name = f"{target}/{path.name}"
            if path.suffix in suffixes and name not in known:
                found.append(Difference(name, "stale"))
    return tuple(found)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _one_by_one(files: Mapping[Cell, Mapping[str, str]]) -> list[Report]:
    return [verified(cell, texts) for cell, texts in files.items()]


def verified(
    cell: Cell, files: Mapping[str, str], progress: Progress | None = None
) -> Report:  # fmt: skip
    """The report about the derived gradient of `cell` and about the kernels that `files` make.

    They run in a process of their own, which they may crash.  progress: called in this one.
    """
    from derive.verification import verify_files

    work = partial(verify_files, cell, files, quick=True, program=True)
    return apart.verified(cell.name, 0, work, progress=progress)
