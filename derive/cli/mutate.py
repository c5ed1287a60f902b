"""`derive verify --mutate-text`: does verification notice when generated text is wrong?

In: CELLs, targets, how many edits of each, a seed.  Out: a table and every edit that survived, or
JSON, on standard output; status 1 if one survived.
Not here: the edits and their fates (verification/text_mutants.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from derive.cli import console, many
from derive.cli.select import cells_of, targets_of
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.verification.edits import Edit
    from derive.verification.text_mutants import Outcome, Task

_COLUMNS = ("cell", "target", "edits", "killed", "equivalent", "survived")
_Found = Mapping["Task", Sequence["Outcome"]]


def run(
    texts: Sequence[str], target: str, count: int, seed: int, as_json: bool, jobs: int | None
) -> int:
    if not texts:
        raise ArgumentError("no cell was given", hint=f"derive verify lstm --mutate-text {count}")
    from derive.verification import text_mutants

    targets = targets_of(target)
    tasks = [text_mutants.Task(cell, t, seed) for cell in cells_of(texts) for t in targets]
    items = [(task, edit) for task in tasks for edit in text_mutants.edits_of(task, count)]
    outcomes = many.each("trying edits", _outcome, items, _label, jobs)
    found: dict[Task, list[Outcome]] = {task: [] for task in tasks}
    for (task, _), outcome in zip(items, outcomes, strict=True):
        found[task].append(outcome)
    console.result(_as_json(found) if as_json else _as_text(found))
    return 1 if any(_fate(outcome) == "survived" for outcome in outcomes) else 0


def _outcome(item: tuple[Task, Edit]) -> Outcome:
    from derive.verification.text_mutants import outcome

    return outcome(*item)


def _label(item: tuple[Task, Edit]) -> str:
    task, edit = item
    return f"{task.cell.name} {task.target}: {edit.kind}"


def _fate(outcome: Outcome) -> str:
    return str(outcome.fate.value)


def _as_text(found: _Found) -> str:
    rows = []
    for task, outcomes in found.items():
        fates = Counter(map(_fate, outcomes))
        counts = (str(fates[fate]) for fate in _COLUMNS[3:])
        rows.append((task.cell.name, task.target, str(len(outcomes)), *counts))
    lines = [console.table(_COLUMNS, rows, numeric=(2, 3, 4, 5))]
    every = [outcome for outcomes in found.values() for outcome in outcomes]
    for fate in ("killed", "equivalent"):
        whys = Counter(o.why.partition(",")[0] for o in every if _fate(o) == fate)
        if whys:
            lines += ["", f"{fate}:", *(f"{n:>6}  {why}" for why, n in whys.most_common())]
    for outcome in every:
        if _fate(outcome) == "survived":
            lines += ["", f"SURVIVED  {outcome.where}: {outcome.edit.kind}"]
            lines += [f"    {line}" for line in (*outcome.diff, outcome.why)]
    return "\n".join(lines)


def _as_json(found: _Found) -> str:
    runs: list[dict[str, Any]] = []
    for task, outcomes in found.items():
        edits = [
            {
                "where": outcome.where, "kind": outcome.edit.kind, "before": outcome.diff[0][2:],
                "after": outcome.diff[1][2:], "fate": _fate(outcome), "why": outcome.why,
            }
            for outcome in outcomes
        ]  # fmt: skip
        runs.append(
            {"name": task.cell.name, "target": task.target, "seed": task.seed, "edits": edits}
        )
    ok = not any(_fate(o) == "survived" for outcomes in found.values() for o in outcomes)
    return json.dumps({"ok": ok, "runs": runs}, indent=2)
