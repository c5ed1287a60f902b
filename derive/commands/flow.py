"""`derive flow`: the Jacobian of one step, and how its products grow or shrink over time.

In: CELLs, a length, widths.  Out: text or JSON on standard output, and a picture if one is
wanted; matplotlib is imported for that alone.
Not here: the Jacobian (flow.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from derive.commands import console
from derive.commands.select import cell_of
from derive.commands.show import _size
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.comparison.flow import Block, Flow

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
    from derive.comparison.flow import jacobian
    from derive.inspect.cost import widths

    cells = [cell_of(text) for text in texts]
    sizes = dict(map(_size, given))
    known = list(dict.fromkeys(name for cell in cells for name in widths(cell)))
    for name in sizes:
        if name not in known:
            raise ArgumentError(f"no width is called {name}", facts=(f"known: {', '.join(known)}",))
    if chrono is not None and not any(chrono in cell.params for cell in cells):
        raise ArgumentError(f"no parameter is called '{chrono}'")
    found = []
    with console.progress("measuring", len(cells)) as tick:
        for cell in cells:
            found.append((cell, jacobian(cell), _measured(cell, sizes, steps, seed, chrono)))
            tick(cell.name)
    if plot:
        _plot(plot, [flow for _, _, flow in found])
    if as_json:
        console.result(json.dumps({"format": 1, "cells": list(map(_data, found))}, indent=2))
        return 0
    for cell, blocks, _ in found:
        console.result("\n".join([cell.name, *_blocks(blocks), ""]))
    console.result("\n".join(_norms([flow for _, _, flow in found], steps)))
    return 0


def _measured(cell: Cell, sizes: dict[str, int], steps: int, seed: int, chrono: str | None) -> Flow:
    from derive.comparison import flow
    from derive.inspect.cost import widths

    known = {name: sizes.get(name, USUAL_WIDTH) for name in widths(cell)}
    params, inputs = flow.draw(cell, known, steps, seed)
    if chrono is not None and chrono in params:
        if steps < 3:
            raise ArgumentError("chrono initialisation needs 3 steps at least")
        params = flow.chrono(params, steps, chrono, seed=seed)
    return flow.measure(cell, params, inputs)


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


def _data(found: tuple[Cell, Sequence[Block], Flow]) -> Any:
    cell, blocks, flow = found
    return {
        "name": cell.name,
        "jacobian": [{"name": b.name, "kind": b.kind, "terms": list(b.terms)} for b in blocks],
        "step_norms": flow.step.tolist(),
        "product_norms": flow.product.tolist(),
        "block_norms": {name: norms.tolist() for name, norms in flow.blocks.items()},
    }


def _plot(path: str, flows: Sequence[Flow]) -> None:
    try:
        from importlib import import_module

        figures: Any = import_module("matplotlib.figure")
    except ImportError:
        raise ArgumentError("a picture needs matplotlib", hint="pip install matplotlib") from None
    figure = figures.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for flow in flows:
        axes.semilogy(range(1, len(flow.product) + 1), flow.product, label=flow.name)
    axes.set_xlabel("steps t")
    axes.set_ylabel("norm of d state(t) / d state(0)")
    axes.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{path} cannot be written: {error}") from None
