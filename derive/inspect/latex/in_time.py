r"""A cell and its gradient as LaTeX in the notation of time: h_t, h_{t-1}, sums over t.

In: a View.  Out: lines of LaTeX, which `derive read` reads back to an equal cell.
Not here: which step an array belongs to (facts/times.py), lines that break (layout.py).

Shapes are written as papers write them, W \in \mathbf{R}^{H \times I}, and a state is named with
its first value, h_0: so what is read back has the shapes, the states and the outputs of the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from derive.inspect.facts.times import Times
from derive.inspect.facts.view import View
from derive.inspect.latex.layout import Block, aligned, escape, shape_text
from derive.inspect.latex.notation import LATEX, latex_name
from derive.textbook.notation import Notation, Order, write


def notation(times: Times) -> Notation:
    def function(name: str, args: Sequence[str]) -> str:
        return LATEX.function(name, args).replace(r"\sum_{n}", r"\sum_{t}")

    return replace(
        LATEX,
        name=lambda name: timed(name, times),
        function=function,
        outer=lambda a, b: LATEX.outer(a, b).replace(r"\sum_{n}", r"\sum_{t}"),
    )


def timed(name: str, times: Times) -> str:
    return latex_name(times.name(name), times.step(name))


def _cell(view: View) -> Block:
    cell, times = view.cell, view.times
    if cell.doc:
        yield escape(" ".join(cell.doc.split()))
        yield ""
    inputs = [f"{timed(name, times)} {_in(shape)}" for name, shape in cell.inputs.items()]
    states = []
    for name, shape in cell.states.items():
        now, first = latex_name(name, "t"), latex_name(name, "0")
        states.append(f"{now} {_in(shape)}$ from ${first}")
    params = [f"{latex_name(name)} {_in(shape)}" for name, shape in cell.params.items()]
    consts = [
        f"{latex_name(name)} = {write(value, LATEX, Order({}))}"
        for name, value in cell.consts.items()
    ]
    groups = {"Inputs": inputs, "States": states, "Parameters": params, "Constants": consts}
    for label, items in groups.items():
        if items:
            yield f"{label}: {', '.join(f'${item}$' for item in items)}."
            yield ""
    yield from aligned(view.derivation.equations, shrink=False, notation=notation(times))
    outputs = ", ".join(f"${timed(name, times)}$" for name in cell.step.outputs)
    yield f"Outputs: {outputs}."


def _in(shape: Sequence[str | int]) -> str:
    r"""\in \mathbf{R}^{H \times I}; a scalar is in R."""
    dims = "" if tuple(shape) == (1,) else f"^{{{shape_text(shape)}}}"
    return rf"\in \mathbf{{R}}{dims}"


def _gradient(view: View) -> Block:
    found, times, gradient = view.derivation, view.times, view.gradient
    shown = notation(times)
    yield r"Given, at each step $t = T, \dots, 1$:"
    yield r"\begin{itemize}"
    for seed, output in zip(gradient.output_seeds, gradient.step.outputs, strict=True):
        yield rf"\item ${timed(seed, times)}$: d loss / d ${timed(output, times)}$, from outside"
    for seed in gradient.state_seeds:
        yield rf"\item ${timed(seed, times)}$: from step $t+1$; at the last step from outside"
    yield r"\end{itemize}"
    if found.where:
        yield "Where"
        yield from aligned(found.where, notation=shown)
    yield from aligned(found.gradient, notation=shown)
    yield r"Sums over $t$ run over the steps, and over the rows of a batch; sums over $j$ over the"
    yield r"width. $\odot$ is the product element by element."


SECTIONS: Mapping[str, Callable[[View], Block]] = {"cell": _cell, "gradient": _gradient}
