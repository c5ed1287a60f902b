"""A race that was run, read again: in Python and in a notebook.

In: the folder of a race.  Out: `Finished`, which prints its tables and shows them in a notebook.
Not here: running races (run.py), what is shown (report.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.race import report
from derive.race.verdict import Verdict


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Finished:
    """A finished race. data: what race.json holds."""

    folder: Path
    data: Mapping[str, Any]

    @property
    def cells(self) -> dict[str, Cell]:
        """By their labels; the first one is what the others are compared with."""
        return {label: Cell.parse(text) for label, text in self.data["cells"].items()}

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.data["tasks"])

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each cell but the first, in each task."""
        return tuple(report.verdicts_of(self.data))

    def finals(self, cell: str, task: str) -> list[float]:
        """The metric at the end, by seeds; infinite where nothing came of it."""
        if task not in self.data["tasks"] or cell not in self.data["cells"]:
            raise ArgumentError(
                f"{self.folder} holds no trials of {cell} in {task}",
                facts=(f"cells: {', '.join(self.data['cells'])}; tasks: {', '.join(self.tasks)}",),
            )
        outcomes = self.data["tasks"][task]["cells"][cell]["outcomes"]
        return [float("inf") if o["final"] is None else o["final"] for o in outcomes]

    def __str__(self) -> str:
        return report.text(self.data)

    def __repr__(self) -> str:
        names = " / ".join(self.data["cells"])
        return f"<race of {names} in {', '.join(self.tasks)}: print it, {self.folder}>"

    def _repr_html_(self) -> str:
        return report.fragment(self.data)


def load(folder: str | os.PathLike[str]) -> Finished:
    """The race that `derive race -o FOLDER` has run to its end.

    ArgumentError where there is none, or race.json cannot be read or holds something else.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ArgumentTypeError(
            f"the folder of a race is a path, not {type(folder).__name__}",
            hint='derive.race.load("race")',
        )
    path = Path(folder) / "race.json"
    if Path(folder).is_file():
        raise ArgumentError(
            f"{folder} is a file, and a race is read from its folder",
            hint=f"derive.race.load({str(Path(folder).parent)!r})",
        )
    try:
        found = Finished(Path(folder), json.loads(path.read_text("utf-8")))
        str(found)  # every entry that is shown is there
    except FileNotFoundError as error:
        stopped = any(Path(folder).glob("trial-*.json"))
        raise ArgumentError(
            f"{folder} holds no finished race",
            facts=(f"there is no {path}",),
            hint=f"derive race ... -o {folder}{' --resume' if stopped else ''}",
        ) from error
    except OSError as error:  # whose remedy lies with the file's owner
        raise ArgumentError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArgumentError(
            f"{path} is no race", facts=(f"{type(error).__name__}: {error}",), hint=f"remove {path}"
        ) from error
    return found
