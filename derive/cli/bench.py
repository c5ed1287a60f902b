"""`derive bench`: figures of the kernels and of the tool.

In: CELLs and options.  Out: tables or JSON on standard output; the exit status: 1 if one of
derive's kernels was wrong.
Not here: what is measured (bench/).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from derive.cli import console
from derive.cli.select import cell_of
from derive.errors import ArgumentError

#: The cells that are measured by default.
CELLS = (
    "rnn", "lstm", "gru", "gru:reset=before", "lstm:peephole=true", "janet",
    "lstm:layer_norm=supercell", "mgu", "min_gru",
)  # fmt: skip
QUICK_CELLS = ("lstm", "gru:reset=before", "janet")
STACKED_CELLS = ("lstm", "gru", "rnn")


def run(
    texts: Sequence[str] = (),
    *,
    shapes: Sequence[str] = (),
    threads: str = "",
    peers: str = "",
    modes: str = "",
    as_json: bool = False,
    plot: str | None = None,
    quick: bool = False,
    tool: bool = False,
    compile_: bool = False,
    together: bool = False,
    stacks: bool = False,
) -> int:
    """Measure and print. peers: names of modules of derive.bench.peers, with commas."""
    if tool:
        return _tool(as_json, quick)
    from derive.bench.peers import PEERS
    from derive.bench.plot import check_plot
    from derive.bench.plot import plot as draw
    from derive.bench.run import Order, report
    from derive.bench.shapes import counts_of, shapes_of
    from derive.bench.table import tables
    from derive.bench.task import MODES, has_axes

    if plot:
        check_plot()
    labels = tuple(texts) or (STACKED_CELLS if stacks else QUICK_CELLS if quick else CELLS)
    cells = tuple((label, cell_of(label)) for label in labels)
    axes = any(has_axes(cell) for _, cell in cells)
    sizes = shapes_of(shapes, quick, axes=axes, stacks=stacks)
    counts = counts_of(threads or ("1" if quick else "1,2"), "threads")
    chosen = _chosen(peers, PEERS, "peer")
    wanted = _chosen(modes, MODES, "mode")
    if compile_:
        os.environ["DERIVE_BENCH_COMPILE"] = "1"
    orders = [Order(cells, sizes, n, chosen, wanted, quick, together) for n in counts]
    with console.progress("measuring", len(labels) * len(sizes) * len(counts)) as tick:
        found = report(orders, tick)
    if plot:
        draw(found, plot)
    console.result(json.dumps(found.as_dict(), indent=2) if as_json else tables(found))
    return 0 if all(record.agrees for record in found.records if record.ours) else 1


def _tool(as_json: bool, quick: bool) -> int:
    from derive.bench.table import markdown, seconds_text
    from derive.bench.tool import STEPS, figures

    with console.progress("measuring", STEPS) as tick:
        found = figures(tick, quick)
    if as_json:
        data = {"schema": 1, "figures": [figure.as_dict() for figure in found]}
        console.result(json.dumps(data, indent=2))
        return 0
    rows = [
        (
            f.name, seconds_text(f.seconds), seconds_text(f.processor),
            "-" if f.goal is None else f"under {f.goal:g} s",
        )
        for f in found
    ]  # fmt: skip
    console.result(markdown(("the tool itself", "time", "of processors", "goal"), rows))
    return 0


def _chosen(text: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    """Some of `known`, in its order; all of them where nothing is asked for."""
    if not text:
        return tuple(known)
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in known:
            raise ArgumentError(f"unknown {what} '{word}'", facts=(f"known: {', '.join(known)}",))
    return tuple(word for word in known if word in words)
