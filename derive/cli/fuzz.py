"""`derive fuzz`: random cells, texts, files and calls until something fails.

In: what to fuzz, targets, a seed, a limit.  Out: of each fault, as soon as it is found, the
smallest case: the `.cell` text and a Python snippet that can be pasted; the same in a file; in the
end counts. All on standard output.
Not here: the fuzzing (fuzz/).
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from derive import targets
from derive.cli import console
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.fuzz.run import Finding, Room

_SECONDS_PER_LINE = 10


def run(
    minutes: float | None,
    examples: int | None,
    seed: int,
    what: str,
    target: str,
    out: str | None,
    *,
    first: int,
    sanitize: bool,
    keep_going: bool,
) -> int:
    try:
        from derive.fuzz.run import WHAT, rooms_of
    except ImportError as error:
        if error.name != "hypothesis":
            raise
        raise ArgumentError(
            "derive fuzz needs hypothesis, which is not installed",
            hint='pip install "derive-kernels[fuzz]"',
        ) from error
    if minutes is not None and examples is not None:
        raise ArgumentError("give --minutes or --examples, not both")
    if minutes is not None and not 0 < minutes < math.inf:
        raise ArgumentError(f"--minutes must be more than 0, not {minutes:g}")
    chosen = _words(target, targets.names(), "--target")
    rooms = rooms_of(_words(what, WHAT, "--what"), chosen, sanitize=sanitize)
    texts: list[str] = []

    def tell(found: Finding) -> None:
        texts.append(_text(found, seed))
        console.result(texts[-1] + "\n")
        sys.stdout.flush()
        if out is not None:
            Path(out).write_text("\n\n".join(texts) + "\n", encoding="utf-8")

    try:
        found, counts = _fuzz(rooms, minutes, examples, seed, first, keep_going, tell)
    finally:
        for room in rooms.values():
            room.close()
    verdict = f"{len(found)} FAILED" if found else "nothing failed"
    console.result(f"{_counts(counts) or 'nothing ran'}: {verdict} (seed {seed})")
    return 1 if found else 0


def _fuzz(
    rooms: Mapping[str, Room],
    minutes: float | None,
    examples: int | None,
    seed: int,
    first: int,
    keep_going: bool,
    tell: Callable[[Finding], None],
) -> tuple[list[Finding], Counter[str]]:
    from derive.fuzz.run import CHUNK, fuzz

    seconds = None if examples is not None else 60.0 * (1.0 if minutes is None else minutes)
    if seconds is not None:
        total = math.ceil(seconds / _SECONDS_PER_LINE)
    else:
        total = math.ceil((examples or 0) / CHUNK) * len(rooms)
    start, told = time.monotonic(), 0
    with console.progress("fuzzing", total) as tick:

        def progress(counts: Counter[str], chunks: int) -> None:
            nonlocal told
            now = int(time.monotonic() - start) // _SECONDS_PER_LINE if seconds else chunks
            while told < min(now, total):
                told += 1
                tick(_counts(counts))

        outcome = fuzz(
            dict(rooms),
            seed=seed,
            seconds=seconds,
            examples=examples,
            first=first,
            keep_going=keep_going,
            tick=progress,
            tell=tell,
        )
    return outcome.findings, outcome.counts


def _words(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word for word in text.replace(",", " ").split()))
    if unknown := [word for word in words if word not in known]:
        raise ArgumentError(
            f"{option} has no {unknown[0]!r}", facts=(f"known: {', '.join(known)}",)
        )
    if not words:
        raise ArgumentError(f"{option} names nothing", facts=(f"known: {', '.join(known)}",))
    return words


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def _text(found: Finding, seed: int) -> str:
    lines = [f"FAILED {found.what}: {found.kind}", "", _indented(found.details)]
    if found.cell:
        lines += ["", "the cell", "", _indented(found.cell.rstrip())]
    lines += ["", "the call, to be pasted", "", _indented(found.case.rstrip()), ""]
    again = f"derive fuzz --what {found.what} --seed {seed} --first {found.chunk} --examples 50"
    return "\n".join([*lines, f"again: {again}"])


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
