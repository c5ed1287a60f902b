"""Writing to the terminal: results, tables, progress. Rich lives here.

In: text.  Out: results on standard output, everything else on standard error.
Not here: what is said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from derive.display import text_table

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
#: A table as plain text.
table = text_table


class Tick(Protocol):
    def __call__(self, label: str) -> None: ...


def result(text: str) -> None:
    """What the user asked for, as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def relations(first: str, second: str) -> None:
    """What the catalogue knows of the families of two specs."""
    from derive.catalogue.relations import between, family_of

    if found := between(first, second):
        names = " and ".join(dict.fromkeys(map(family_of, (first, second))))
        result("\n".join(["", f"known of {names}:", *(f"  {line}" for line in found)]))


def say(text: str) -> None:
    """Anything about the result."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def progress(title: str, total: int, *, lines: bool = True) -> Iterator[Tick]:
    """A progress bar on standard error while the block runs, gone afterwards.

    Where standard error is no terminal, one line for each tick, or none at all.
    """
    if total == 0 or not sys.stderr.isatty():
        done = 0
        if not lines:
            yield lambda label: None
            return

        def line(label: str) -> None:
            nonlocal done
            done += 1
            say(f"{title} {done}/{total} {label}")

        yield line
        return
    with _bar() as bar:
        task = bar.add_task(title, total=total, label="")

        def advance(label: str) -> None:
            bar.update(task, advance=1, label=label)

        yield advance


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[label]}"),
        console=Console(stderr=True),
        transient=True,
    )
