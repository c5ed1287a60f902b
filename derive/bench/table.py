"""Report -> tables for people.

In: a Report.  Out: Markdown, which reads as plain text too.
Not here: JSON (record.py), curves (plot.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from derive.bench.record import Record, Report

COLUMNS = (
    "contestant", "time", "GFLOP/s", "of peak", "of bound", "by fastest peer", "first call",
    "saved", "memory", "cores",
)  # fmt: skip


_PAGE = 4096


def tables(report: Report) -> str:
    parts = [_machine(report), _failures(report), _summary(report), _saved(report)]

    def place(record: Record) -> tuple[str, str, int, str]:
        return record.cell, str(record.shape), record.threads, record.mode

    for (cell, shape, threads, mode), group in groupby(report.records, place):
        records = sorted(group, key=lambda r: r.seconds if r.seconds is not None else math.inf)
        title = f"{cell}  T,B,I,H = {shape}  {mode}  {_threads(threads)}"
        parts.append(f"### {title}\n\n{markdown(COLUMNS, map(_row, records))}")
    return "\n\n".join(part for part in parts if part)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all columns but the first are aligned to the right."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    texts = []
    for line in lines:
        cells = [
            text.ljust(width) if k == 0 else text.rjust(width)
            for k, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append(f"| {' | '.join(cells)} |")
    rule = [("-" * w) if k == 0 else "-" * (w - 1) + ":" for k, w in enumerate(widths)]
    texts.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(texts)


def seconds_text(value: float | None) -> str:
    if value is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.0f} ns"


# --- parts ----------------------------------------------------------------------------------


def _machine(report: Report) -> str:
    lines = []
    for machine in report.machines:
        peak, rate = machine["peak"], machine["activations"]
        reads = ", ".join(
            f"{size // 1024} KiB {speed / 1e9:.0f}" for size, speed in machine["bandwidth"]
        )
        lines.append(
            f"{_threads(machine['threads'])}: multiply-adds {peak['float32'] / 1e9:.0f} GFLOP/s "
            f"(float64 {peak['float64'] / 1e9:.0f}), sigmoid and tanh "
            f"{rate['float32'] / 1e9:.2f} G/s (float64 {rate['float64'] / 1e9:.2f}), "
            f"reading, GB/s: {reads}."
        )
    before, after = (("-" if load is None else f"{load:.1f}") for load in report.load)
    lines.append(
        f"Load average {before} before and {after} after: on an idle machine the first is near 0. "
        f"{report.seconds:.0f} s in all."
    )
    if report.versions:
        versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
        lines.append(f"Versions: {versions}.")
    if report.absent:
        absent = "; ".join(f"{name} ({why})" for name, why in report.absent.items())
        lines.append(f"Took no part: {absent}.")
    return "\n\n".join(lines)


def _failures(report: Report) -> str:
    """Who had no time because of an error or a wrong result, each once, with the first case."""
    found: dict[tuple[str, str], Record] = {}
    for record in report.records:
        if not record.agrees:
            found.setdefault((record.contestant, record.cell), record)
    lines = [
        f"- {contestant}, {cell} {record.shape} {record.mode}: {_complaint(record)}"
        for (contestant, cell), record in found.items()
    ]
    return "\n".join(["### Failed or wrong", "", *lines]) if lines else ""


def _summary(report: Report) -> str:
    """Geometric means over shapes and threads: derive's kernels by the fastest peer."""
    found: dict[tuple[str, str, str], list[Record]] = {}
    for record in report.records:
        if record.ours and record.ratio is not None:
            found.setdefault((record.cell, record.contestant, record.mode), []).append(record)
    if not found:
        return ""
    rows = []
    for (cell, contestant, mode), records in found.items():
        ratios = [r.ratio for r in records if r.ratio is not None]
        bounds = [r.of_bound for r in records if r.of_bound is not None]
        rows.append(
            (
                f"{cell} {mode}, {contestant}", f"{_mean(ratios):.2f}", f"{max(ratios):.2f}",
                f"{_mean(bounds):.0%}", str(len(records)),
            )
        )  # fmt: skip
    columns = ("cell and kernel", "by fastest peer, mean", "worst", "of bound, mean", "cases")
    return f"### Geometric means over shapes and threads\n\n{markdown(columns, rows)}"


def _saved(report: Report) -> str:
    """What derive's C target and oneDNN keep from forward to backward, side by side."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for record in report.records:
        name = record.contestant.partition(" ")[0]
        both = record.contestant == "derive C" or name == "oneDNN"
        if record.saved is not None and both:
            found.setdefault((record.cell, str(record.shape)), {})[name] = record.saved
    rows = [
        (f"{cell} {shape}", f"{s['derive']:.0f} B", f"{s['oneDNN']:.0f} B",
         f"{s['derive'] / s['oneDNN']:.2f}")
        for (cell, shape), s in found.items()
        if s.keys() == {"derive", "oneDNN"}
    ]  # fmt: skip
    if not rows:
        return ""
    columns = ("saved for backward, per step and row", "derive C", "oneDNN", "ratio")
    return f"### Memory from forward to backward\n\n{markdown(columns, rows)}"


def _mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _row(record: Record) -> tuple[str, ...]:
    name = record.contestant
    if not record.agrees:
        return (f"{name} {_complaint(record)}", *("-",) * 9)
    return (
        name,
        seconds_text(record.seconds),
        _number(record.flops, 1e-9),
        _percent(record.of_peak),
        _percent(record.of_bound),
        "-" if record.ratio is None else f"{record.ratio:.2f}",
        seconds_text(record.start),
        "-" if record.saved is None else f"{record.saved:.0f} B",
        _memory(record.peak),
        _number(record.processors, 1),
    )


def _complaint(record: Record) -> str:
    if record.failure:
        return f"failed: {record.failure}"
    infinite = record.error is None or math.isinf(record.error)
    share = "infinitely" if infinite else f"{record.error:.1f} times"
    return f"wrong: {share} the allowed error in {record.where}"


def _memory(count: int | None) -> str:
    if count is None:
        return "-"
    if count < _PAGE:  # resident memory is counted in pages
        return "< 4 KiB"
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count // 2**10} KiB"


def _number(value: float | None, scale: float) -> str:
    return "-" if value is None else f"{value * scale:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _threads(count: int) -> str:
    return f"{count} thread" + ("" if count == 1 else "s")
