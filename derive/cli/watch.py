"""`derive watch`: on each save of a file generate, verify, and tell what changed.

In: a path, a folder.  Out: changes since the last good version on standard output, mistakes on
standard error. Ctrl-C ends it, with status 0.
Not here: when a file was saved (watched_file.py).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from derive.cli import console, select

if TYPE_CHECKING:
    from derive.cell import Cell


def run(file: str, target: str, out: str) -> int:
    from derive.cli import watched_file
    from derive.cli.generated_files import generate

    targets = select.targets_of(target)

    def work(cell: Cell) -> None:
        select.announce(cell)
        console.say(f"{time.strftime('%H:%M:%S')} {cell.name}: generating and verifying")
        generate((cell,), targets, out)

    try:
        for found in watched_file.rounds(Path(file), work):
            if found.error is not None:
                console.say(str(found.error))
            elif found.change is not None:
                console.result(str(found.change))
            if found.cell is not None:
                console.say(f"{found.cell.name} is verified; {out} is up to date")
    except KeyboardInterrupt:
        console.say("no longer watched")
    return 0
