"""Report -> bars, each a fraction of the bound. Matplotlib, an optional extra, lives here.

In: a Report and a file name.  Out: the picture; its ending says the format.
Not here: numbers (table.py).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from derive.bench.record import Record, Report
from derive.errors import ArgumentError

#: Of a panel, for each shape and number of threads: as long as the text below it.
INCHES = 1.0


def check_plot() -> None:
    """ArgumentError where there is nothing to plot with: said before anything is measured."""
    if find_spec("matplotlib") is None:
        raise ArgumentError("--plot needs matplotlib", hint='pip install "derive-kernels[bench]"')


def plot(report: Report, file: str) -> None:
    """One panel for each cell and mode: fraction of the bound, for every shape and thread."""
    check_plot()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: dict[tuple[str, str], list[Record]] = {}
    for record in report.records:
        if record.of_bound is not None and record.dtype == "float32":
            panels.setdefault((record.cell, record.mode), []).append(record)
    if not panels:
        raise ArgumentError("there is nothing to plot")
    names = list(dict.fromkeys(r.contestant for records in panels.values() for r in records))
    colors = dict(zip(names, pyplot.get_cmap("tab20").colors, strict=False))
    most = max(len(_places(records)) for records in panels.values())
    size = max(10, INCHES * most), 2.6 * len(panels)
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=size, squeeze=False, layout="constrained"
    )
    for axis, ((cell, mode), records) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, records, colors)
        axis.set_title(f"{cell}, {mode}", loc="left", fontsize=10)
        axis.set_ylabel("of the bound")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"the plot cannot be written: {error}") from error
    finally:
        pyplot.close(figure)


def _places(records: list[Record]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((str(r.shape), r.threads) for r in records))


def _panel(axis: Any, records: list[Record], colors: dict[str, Any]) -> None:
    places = _places(records)
    names = [name for name in colors if any(r.contestant == name for r in records)]
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        found = {(str(r.shape), r.threads): r.of_bound for r in records if r.contestant == name}
        at = [p + (k - (len(names) - 1) / 2) * width for p in range(len(places))]
        heights = [found.get(place, 0) for place in places]
        axis.bar(at, heights, width, label=name, color=colors[name])
    axis.set_xticks(range(len(places)), [f"{s}\n{t} thr." for s, t in places], fontsize=7)
    axis.margins(x=0.01)
    axis.set_ylim(0, 1.05 * max([1.0, *(r.of_bound or 0 for r in records)]))
    axis.axhline(1, color="black", linewidth=0.5)
