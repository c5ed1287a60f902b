"""A cell and its gradient as text in the notation of time: h_t, h_{t-1}, sums over t.

In: a View.  Out: lines.
Not here: which step an array belongs to (facts/times.py), lines that break (layout.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from derive.inspect.facts.times import Times
from derive.inspect.facts.view import View
from derive.inspect.text.layout import Block, lines_of, shape_text, wrapped
from derive.textbook.notation import TEXT, Notation, Order, write


def notation(times: Times) -> Notation:
    def function(name: str, args: Sequence[str]) -> str:
        return f"sum_t({args[0]})" if name == "sum_rows" else TEXT.function(name, args)

    return replace(
        TEXT,
        name=lambda name: timed(name, times),
        function=function,
        outer=lambda a, b: f"sum_t outer({a}, {b})",
    )


def timed(name: str, times: Times) -> str:
    step = times.step(name)
    plain = times.name(name)
    return plain if not step else f"{plain}_t" if step == "t" else f"{plain}_{{{step}}}"


def _cell(view: View) -> Block:
    cell, times = view.cell, view.times
    yield cell.name
    yield from cell.doc.splitlines()
    yield ""
    groups = (("inputs      ", cell.inputs), ("states      ", cell.states))
    for label, group in groups:
        nexts = zip(group, group.values(), strict=True)
        shown = (f"{times.name(n)}_t: {shape_text(s)}" for n, s in nexts)
        yield from wrapped(label, shown)
    params = (f"{n}: {shape_text(s)}" for n, s in cell.params.items())
    yield from wrapped("parameters  ", params)
    if cell.consts:
        consts = (f"{n} = {write(v, TEXT, Order({}))}" for n, v in cell.consts.items())
        yield from wrapped("constants   ", consts)
    yield from wrapped("outputs     ", (timed(name, times) for name in cell.step.outputs))
    yield ""
    yield from lines_of(view.derivation.equations, notation(times))


def _gradient(view: View) -> Block:
    found, times, gradient = view.derivation, view.times, view.gradient
    shown = notation(times)
    yield "given, at each step t = T..1"
    given = {
        seed: f"d loss / d {timed(output, times)}, from outside"
        for seed, output in zip(gradient.output_seeds, gradient.step.outputs, strict=True)
    }
    given |= dict.fromkeys(gradient.state_seeds, "from step t+1; at the last step from outside")
    names = max((len(timed(seed, times)) for seed in given), default=0)
    for seed, meaning in given.items():
        yield f"  {timed(seed, times).ljust(names)}   {meaning}"
    if found.where:
        yield ""
        yield "where"
        yield from (f"  {line}" for line in lines_of(found.where, shown))
    yield ""
    yield from lines_of(found.gradient, shown)
    yield ""
    yield "sum_t adds up over the steps, and over the rows of a batch; outer(a, b) = a b'."


SECTIONS: Mapping[str, Callable[[View], Block]] = {"cell": _cell, "gradient": _gradient}
