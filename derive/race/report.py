"""A race as text, JSON, a plot and a page.

In: a Race and its Results.  Out: text; files.
Not here: what they say (verdict.py), the pages of single cells (inspect/).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from derive import pipeline
from derive.display import text_table
from derive.errors import ArgumentError
from derive.inspect.facts import cost
from derive.race import files
from derive.race.run import Race, Results, unmatched
from derive.race.sizes import raced
from derive.race.task import task_of
from derive.race.verdict import LEVEL, NO_DIFFERENCE, Verdict, summary, verdicts

COLUMNS = (
    "cell", "parameters", "sizes", "rate", "final", "quartiles", "solved at", "seconds", "diverged",
    "kept",
)  # fmt: skip


def rows(found: Mapping[str, Any], task: str) -> list[tuple[str, ...]]:
    """Of one task, a row for each cell, in the order of COLUMNS.  found: as `as_dict` gives it."""
    lines: list[tuple[str, ...]] = []
    for label, own in found["tasks"][task]["cells"].items():
        solved = (
            "-" if own["solved"] is None else f"{own['solved']:.0f} ({own['solved_seconds']:.1f} s)"
        )
        low, high = map(_number, own["quartiles"])
        lines.append(
            (
                label,
                f"{own['params']:,}",
                " ".join(f"{dim}={length}" for dim, length in own["outcomes"][0]["trial"]["sizes"]),
                f"{own['rate']:g}",
                f"{_number(own['final']):.4g}",
                f"{low:.4g} to {high:.4g}",
                solved,
                f"{own['seconds']:.1f}",
                f"{own['diverged']} of {own['count']}",
                str(own.get("kept", "-")),
            )
        )
    return lines


def _number(value: float | None) -> float:
    """JSON has no infinity."""
    return math.inf if value is None else value


def text(found: Mapping[str, Any]) -> str:
    """All of it as tables and sentences.  found: as `as_dict` gives it."""
    parts = []
    for name, task in found["tasks"].items():
        value, words = task["without recurrence"]
        parts += [
            f"{name}: {task['what']}; {task['metric']}, solved at {task['solved']:g}, "
            f"without recurrence {value:.4g} ({words})",
            text_table(COLUMNS, rows(found, name), range(1, 10)),
            "",
        ]
    parts += [sentence(verdict) for verdict in verdicts_of(found)]
    return "\n".join([*parts, *found["unmatched"], how(found["seeds"])])


def verdicts_of(found: Mapping[str, Any]) -> list[Verdict]:
    return [
        Verdict(**{**each, "ratio": _number(each["ratio"]), "p": _number(each["p"])})
        for each in found["verdicts"]
    ]


def kept(cell: Any, sizes: dict[str, int]) -> int:
    """Numbers that training keeps for each step and row."""
    return cost.at(cost.cost(cell, pipeline.schedule(cell)).saved, sizes)


def sentence(verdict: Verdict) -> str:
    """A verdict in words."""
    numbers = (
        f"median ratio {verdict.ratio:.3g}, less in {verdict.wins} of {verdict.count} seeds, "
        f"p = {verdict.p:.2g}"
    )
    if verdict.what == NO_DIFFERENCE:
        return f"{verdict.task}: {verdict.cell} and {verdict.against}: {NO_DIFFERENCE} ({numbers})"
    return f"{verdict.task}: {verdict.cell} is {verdict.what} than {verdict.against} ({numbers})"


def how(seeds: int) -> str:
    """What the figures are."""
    return (
        f"{seeds} seeds; medians; less is better. kept: numbers a step and row. Paired t test "
        f"of the metric's logarithm over seeds, Holm's correction, level {LEVEL:g}."
    )


def as_dict(race: Race, results: Results) -> dict[str, Any]:
    """All there is, for JSON."""
    return {
        "cells": {label: cell.to_text() for label, cell in race.cells.items()},
        "seeds": race.seeds,
        "tasks": {
            name: {
                "what": task.what,
                "metric": task.metric,
                "solved": task.solved,
                "without recurrence": task.without,
                "reference": task.reference,
                "cells": {
                    label: {
                        **asdict(summary(results.outcomes[label, name])),
                        "rate": results.rates[label, name],
                        "kept": _kept(race, results, label, name),
                        "searched": results.searched.get((label, name), {}),
                        "outcomes": [asdict(o) for o in results.outcomes[label, name]],
                    }
                    for label in race.cells
                },
            }
            for name, task in ((name, task_of(name)) for name in race.tasks)
        },
        "unmatched": unmatched(race),
        "verdicts": [asdict(verdict) for verdict in verdicts(results.outcomes)],
    }


def _kept(race: Race, results: Results, label: str, task: str) -> int:
    sizes = {dim: int(length) for dim, length in results.outcomes[label, task][0].trial["sizes"]}
    return kept(raced(race.cells[label]), sizes)


def check_plot() -> None:
    """ArgumentError where a plot cannot be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ArgumentError(
            "a plot needs matplotlib, which is not installed", hint="pip install matplotlib"
        ) from None


def plot(race: Race, results: Results, file: io.StringIO) -> None:
    """Curves of every task as SVG: the median over seeds, and between the quartiles a band."""
    import numpy as np
    from matplotlib.figure import Figure

    count = len(race.tasks)
    figure = Figure(figsize=(6.0, 3.2 * count), layout="constrained")
    axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    for axis, name in zip(axes, race.tasks, strict=True):
        task = task_of(name)
        for label in race.cells:
            curves = [dict(outcome.curve) for outcome in results.outcomes[label, name]]
            steps = sorted(set.intersection(*(set(curve) for curve in curves)))
            values = np.array([[curve[step] for step in steps] for curve in curves])
            values[~np.isfinite(values)] = np.nan  # a gap in the curve
            low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
            (line,) = axis.plot(steps, middle, label=label)
            axis.fill_between(steps, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
        axis.axhline(task.without[0], color="gray", linestyle=":", label=task.without[1])
        axis.axhline(task.solved, color="gray", linestyle="--", label="solved")
        axis.set(title=f"{name}: {task.what}", xlabel="step", ylabel=task.metric, yscale="log")
        axis.legend(fontsize="small")
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)


def page(race: Race, results: Results, pages: dict[str, str], *, drawn: bool) -> str:
    """One HTML page, nothing loaded from elsewhere.  pages: {label: file of the cell's page}."""
    found = as_dict(race, results)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(' / '.join(race.cells))}</title>",
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse;display:block;overflow-x:auto}"
        "td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ccc;"
        "white-space:nowrap}td:first-child,th:first-child{text-align:left}svg{max-width:100%;"
        "height:auto}pre{overflow-x:auto}</style>",
        f"<h1>{escape(' / '.join(race.cells))}</h1>",
        f"<p>{escape(how(race.seeds))}</p><h2>Verdict</h2><ul>",
        *(f"<li>{escape(sentence(verdict))}" for verdict in verdicts(results.outcomes)),
        "</ul>",
    ]
    parts += [f"<p>{escape(line)}." for line in unmatched(race)]
    for name in race.tasks:
        task = task_of(name)
        value, words = task.without
        parts += [
            f"<h2>{escape(name)}</h2><p>{escape(task.what)}. Metric: {escape(task.metric)}; "
            f"solved at {task.solved:g}; without recurrence {value:.4g} ({escape(words)}). "
            f"{escape(task.reference)}</p>",
            _table(COLUMNS, rows(found, name), pages),
        ]
    if drawn:
        text = io.StringIO()
        plot(race, results, text)
        parts.append("<h2>Curves</h2>" + text.getvalue().partition("<svg")[2].join(("<svg", "")))
    parts.append("<h2>Cells</h2>")
    for label, cell in race.cells.items():
        parts.append(
            f"<h3><a href='{escape(pages[label])}'>{escape(label)}</a></h3>"
            f"<pre>{escape(cell.to_text())}</pre>"
        )
    return "\n".join(parts) + "\n"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]], pages: Mapping[str, str]) -> str:
    head = "".join(f"<th>{escape(column)}" for column in columns)
    body = "".join(
        f"<tr><td>{_linked(line[0], pages)}" + "".join(f"<td>{escape(value)}" for value in line[1:])
        for line in lines
    )
    return f"<table><tr>{head}{body}</table>"


def _linked(label: str, pages: Mapping[str, str]) -> str:
    page = pages.get(label)
    return f"<a href='{escape(page)}'>{escape(label)}</a>" if page else escape(label)


def fragment(found: Mapping[str, Any]) -> str:
    """Tables and verdicts as HTML, for a notebook.  found: as `as_dict` gives it."""
    parts = []
    for name, task in found["tasks"].items():
        value, words = task["without recurrence"]
        parts += [
            f"<h4>{escape(name)}</h4><p>{escape(task['what'])}; {escape(task['metric'])}, "
            f"solved at {task['solved']:g}, without recurrence {value:.4g} ({escape(words)})</p>",
            _table(COLUMNS, rows(found, name), {}),
        ]
    parts += ["<ul>", *(f"<li>{escape(sentence(each))}" for each in verdicts_of(found)), "</ul>"]
    parts += [f"<p>{escape(line)}</p>" for line in (*found["unmatched"], how(found["seeds"]))]
    return "\n".join(parts)


def to_json(race: Race, results: Results) -> str:
    return files.to_json(as_dict(race, results), indent=1)
