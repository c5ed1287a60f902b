"""A cell and its gradient for a page, in the notation of time: h_t, h_{t-1}, sums over t.

In: a View.  Out: sections for the templates of report.py.
Not here: which step an array belongs to (facts/times.py), how a name is drawn (mathml.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from derive.inspect.facts.times import Times
from derive.inspect.facts.view import View
from derive.inspect.html.mathml import MATHML, element, math, name_in
from derive.inspect.html.parts import Formula, formula, shape_text
from derive.inspect.html.report import Section
from derive.inspect.text import in_time as text
from derive.textbook.derivation import Line
from derive.textbook.notation import Notation, Order

_SUMS = (
    "Sums over <i>t</i> run over the steps, and over the rows of a batch; sums over <i>j</i> over "
    "the width. ⊙ is the product element by element."
)


def notation(times: Times) -> Notation:
    def over_time(written: str) -> str:
        return written.replace("<mo>∑</mo><mi>n</mi>", "<mo>∑</mo><mi>t</mi>")

    def function(name: str, args: Sequence[str]) -> str:
        return over_time(MATHML.function(name, args))

    return replace(
        MATHML,
        name=lambda name: name_in(times.name(name), times.step(name)),
        function=function,
        outer=lambda a, b: over_time(MATHML.outer(a, b)),
    )


def _cell(view: View) -> Section:
    cell, times = view.cell, view.times
    shapes = {array.name: array.shape for array in cell.step.program.arrays}
    states = {state: shape for state, shape in cell.states.items()}
    groups = (
        ("input", [(element(name_in(n, "t")), shape_text(s)) for n, s in cell.inputs.items()]),
        ("state", [(element(name_in(n, "t")), shape_text(s)) for n, s in states.items()]),
        ("parameter", [(element(name_in(n)), shape_text(s)) for n, s in cell.params.items()]),
        (
            "output",
            [
                (element(notation(times).name(name)), shape_text(shape))
                for name, shape in zip(cell.step.outputs, cell.outputs.values(), strict=True)
            ],
        ),
    )
    data = {
        "name": cell.name,
        "doc": " ".join(cell.doc.split()),
        "groups": tuple((label, tuple(items)) for label, items in groups if items),
        "consts": tuple((element(name_in(n)), math(v, Order({}))) for n, v in cell.consts.items()),
        "equations": tuple(
            _shown(view, line, f"eq-{line.name}", shapes[line.name])
            for line in view.derivation.equations
        ),
        "notes": (*cell.notes, *(f"{name} is not used" for name in cell.unused)),
        "text": cell.to_text(),
        "timed_groups": (),
    }
    return Section("cell", "Equations", "html/cell.html.j2", data)


def _gradient(view: View) -> Section:
    found, gradient = view.derivation, view.gradient
    table, name = gradient.program.table(), notation(view.times).name
    seeds = [
        (element(name(seed)), f"d loss / d {element(name(output))}, from outside")
        for seed, output in zip(gradient.output_seeds, gradient.step.outputs, strict=True)
    ]
    carried = "from step <i>t</i> + 1; at the last step from outside"
    seeds += [(element(name(seed)), carried) for seed in gradient.state_seeds]
    data = {
        "seeds": tuple(seeds),
        "where": tuple(
            _shown(view, line, f"where-{line.name}", table[line.name].shape) for line in found.where
        ),
        "equations": tuple(
            _shown(view, line, f"grad-{line.name}", table[line.name].shape)
            for line in found.gradient
        ),
        "unfolded": False,
        "sums": _SUMS,
        "timed_seeds": (),
        "timed_sums": "",
    }
    return Section("gradient", "Gradient", "html/gradient.html.j2", data)


def _shown(view: View, line: Line, id: str, shape: Sequence[str | int]) -> Formula:
    return formula(line, id, tuple(shape), notation(view.times), text.notation(view.times))


SECTIONS: Mapping[str, Callable[[View], Section]] = {"cell": _cell, "gradient": _gradient}
