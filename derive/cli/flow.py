"""`derive flow`: the Jacobian of one step, and how its products grow or shrink over time.

In: CELLs, a length, widths.  Out: text or JSON on standard output, and a picture if one is
wanted; matplotlib is imported for that alone.
Not here: the Jacobian (inspect/gradient_flow.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derive.cli import console
from derive.cli.select import cell_of, size_of
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.inspect.gradient_flow import Block, Flow

USUAL_WIDTH = 32


def run(
    texts: Sequence[str],
    steps: int,
    given: Sequence[str],
    seed: int,
    chrono: str | None,
    plot: str | None,
    as_json: bool,
) -> int:
    from derive.inspect.facts.cost import widths
    from derive.inspect.gradient_flow import jacobian

    cells = [cell_of(text) for text in texts]
    sizes = dict(map(size_of, given))
    known = list(dict.fromkeys(name for cell in cells for name in widths(cell)))
    for name in sizes:
        if name not in known:
            raise ArgumentError(f"no width is called {name}", facts=(f"known: {', '.join(known)}",))
    if chrono is not None and not any(chrono in cell.params for cell in cells):
        raise ArgumentError(f"no parameter is called '{chrono}'")
    found: list[tuple[Cell, Sequence[Block], list[Flow]]] = []
    with console.progress("measuring", len(cells), lines=False) as tick:
        for cell in cells:
            flows = [_measured(cell, sizes, steps, seed, None)]
            if chrono is not None and chrono in cell.params:
                flows.append(_measured(cell, sizes, steps, seed, chrono))
            found.append((cell, jacobian(cell), flows))
            tick(cell.name)
    if plot:
        _plot(plot, [flows for _, _, flows in found])
    if as_json:
        data = [_data(cell, blocks, flow) for cell, blocks, flows in found for flow in flows]
        console.result(json.dumps({"format": 1, "cells": data}, indent=2))
        return 0
    for cell, blocks, _ in found:
        console.result("\n".join([cell.name, *_blocks(blocks), ""]))
    console.result("\n".join(_norms([flow for _, _, flows in found for flow in flows], steps)))
    return 0


def _measured(cell: Cell, sizes: dict[str, int], steps: int, seed: int, chrono: str | None) -> Flow:
    """With `chrono`, that parameter is a forget bias for sequences of `steps` steps."""
    from derive.inspect import gradient_flow as flow
    from derive.inspect.facts.cost import widths

    known = {name: sizes.get(name, USUAL_WIDTH) for name in widths(cell)}
    params, inputs = flow.draw(cell, known, steps, seed)
    if chrono is None:
        return flow.measure(cell, params, inputs)
    if steps < 3:
        raise ArgumentError("chrono initialisation needs 3 steps at least")
    params = flow.chrono(params, steps, chrono, seed=seed)
    return replace(flow.measure(cell, params, inputs), name=f"{cell.name}, chrono")


def _blocks(blocks: Sequence[Block]) -> Iterator[str]:
    width = max((len(block.kind) for block in blocks), default=0)
    for block in blocks:
        first, *rest = block.terms or ("0",)
        head = f"  {block.kind.ljust(width)}  {block.name} = "
        yield head + first
        yield from (" " * (len(head) - 2) + "+ " + term for term in rest)


def _norms(flows: Sequence[Flow], steps: int) -> Iterator[str]:
    yield "norm of the states after t steps by the states before the first"
    at = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t < steps] + [steps]
    rows = [[flow.name, *(f"{flow.product[t - 1]:.2e}" for t in at)] for flow in flows]
    columns = ["cell", *(f"t = {t}" for t in at)]
    yield console.table(columns, rows, numeric=range(1, len(columns)))


def _data(cell: Cell, blocks: Sequence[Block], flow: Flow) -> Any:
    return {
        "name": flow.name,
        "cell": cell.name,
        "jacobian": [{"name": b.name, "kind": b.kind, "terms": list(b.terms)} for b in blocks],
        "step_norms": flow.step.tolist(),
        "product_norms": flow.product.tolist(),
        "block_norms": {name: norms.tolist() for name, norms in flow.blocks.items()},
    }


#: Told apart by those who see colours differently, too (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Smaller values are drawn here, as zero is.
FLOOR = 1e-20


def _plot(path: str, cells: Sequence[Sequence[Flow]]) -> None:
    """The product of Jacobians over time, and the geometric mean of its factors."""
    try:
        from importlib import import_module

        figures: Any = import_module("matplotlib.figure")
    except ImportError:
        raise ArgumentError("a picture needs matplotlib", hint="pip install matplotlib") from None
    figure = figures.Figure(figsize=(11, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    names, factors = [], []
    for k, flows in enumerate(cells):
        for flow, line in zip(flows, ("-", "--"), strict=False):
            shown = flow.product.clip(FLOOR)
            steps = range(1, len(shown) + 1)
            colour = COLOURS[k % len(COLOURS)]
            left.plot(steps, shown, line, color=colour, label=flow.name, linewidth=1.8)
            names.append(flow.name)
            factors.append(float(shown[-1]) ** (1 / len(shown)))
            look = {"hatch": "///", "fill": False} if line == "--" else {"color": colour}
            right.barh(len(names), factors[-1], height=0.7, edgecolor=colour, **look)
    left.set_title("how much of a gradient arrives from t steps later")
    left.set_xlabel("t")
    left.set_ylabel("norm of  d state(t) / d state(0)")
    left.set_yscale("log")
    left.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
    left.grid(True, which="major", color="0.9", linewidth=0.6)
    right.set_title("what a step multiplies it by, on average")
    right.set_yticks(range(1, len(names) + 1), names)
    right.invert_yaxis()
    right.axvline(1.0, color="0.6", linewidth=0.8)
    right.set_xlim(0, 1.2 * max(1.0, *factors))
    for k, factor in enumerate(factors):
        right.text(factor + 0.01, k + 1, f"{factor:.3f}", va="center", fontsize="small")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{path} cannot be written: {error}") from None
