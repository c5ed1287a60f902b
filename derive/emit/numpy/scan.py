"""Flow -> Flow: a linear recurrence as one call for all steps.

In: a Flow.  Out: a Flow with a scan for its loop, where the state is carried by
`h' = factor * h + offset` or `factor * (h + offset)` alone; any other Flow unchanged.
Not here: the scan itself (templates/numpy/functions/scan.py.j2).

Equations of the loop that no state reaches are computed before it; those that a state reaches,
after it, when the state before and after every step is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import sympy

from derive.emit.numpy.flow import Flow, Scan, Work, operands
from derive.program import Array, Map, Namer
from derive.symbolic import functions
from derive.symbolic.functions import Expr


def scan(flow: Flow, taken: Iterable[str]) -> Flow:
    """The flow with a scan where it can be one; new arrays get names that are not `taken`."""
    if len(flow.carried) != 1 or not all(isinstance(work, Map) for work in flow.step):
        return flow
    ((state, after),) = flow.carried
    steps = [work for work in flow.step if isinstance(work, Map)]
    if any(work.places or len(flow.table[work.out].shape) > 1 for work in steps):
        return flow
    moving = {state}
    inlined = _inlined(steps, moving)
    if inlined is None:
        return flow
    if after not in moving or _shapes(flow, moving) != {flow.table[state].shape}:
        return flow
    form = _form(inlined[functions.symbol(after)], functions.symbol(state))
    if form is None:
        return flow
    factor, offset, inside = form
    namer = Namer(taken)
    found = Scan(state, after, namer(f"{after}_factor"), namer(f"{after}_offset"), inside)
    table = dict(flow.table)
    for name in (found.factor, found.offset):
        table[name] = Array(name, table[state].shape, per_row=True)
    maps = Map(found.factor, factor), Map(found.offset, offset)
    still = [equation for equation in steps if equation.out not in moving]
    late = [equation for equation in steps if equation.out in moving - {after}]
    return replace(
        flow,
        table=table,
        wanted=flow.wanted | {found.factor, found.offset},
        before=(*flow.before, *still, *maps),
        step=tuple(_read(late, flow)),
        scan=found,
    )


def _shapes(flow: Flow, names: Iterable[str]) -> set[object]:
    return {flow.table[name].shape for name in names}


def _inlined(steps: Iterable[Map], moving: set[str]) -> dict[sympy.Symbol, Expr] | None:
    """What the state makes of each array, as the author grouped it; None where SymPy would
    multiply a sum out, since that rounds otherwise."""
    inlined: dict[sympy.Symbol, Expr] = {}
    for equation in steps:
        if not moving.intersection(equation.operands):
            continue
        for product in equation.expr.atoms(sympy.Mul):
            if product.args[0].is_Number and any(inlined.get(a, a).is_Add for a in product.args):
                return None
        moving.add(equation.out)
        inlined[functions.symbol(equation.out)] = equation.expr.xreplace(inlined)
    return inlined


def _form(expr: Expr, state: sympy.Symbol) -> tuple[Expr, Expr, bool] | None:
    """(factor, offset, inside) of factor * state + offset, or inside, factor * (state + offset)."""
    split = _split(cast(tuple[Expr, ...], sympy.Add.make_args(expr)), state)
    if split is None:
        return None
    term, others = split
    offset = cast(Expr, sympy.Add(*others))
    product = _split(cast(tuple[Expr, ...], sympy.Mul.make_args(term)), state)
    if product is None:
        return None
    inner, factors = product
    if inner == state:
        return cast(Expr, sympy.Mul(*factors)), offset, False
    within = _split(cast(tuple[Expr, ...], sympy.Add.make_args(inner)), state)
    if others or within is None or within[0] != state:
        return None
    return cast(Expr, sympy.Mul(*factors)), cast(Expr, sympy.Add(*within[1])), True


def _split(args: Sequence[Expr], state: sympy.Symbol) -> tuple[Expr, list[Expr]] | None:
    """The one of `args` that has `state`, and the others."""
    found = [arg for arg in args if arg.has(state)]
    return (found[0], [arg for arg in args if arg is not found[0]]) if len(found) == 1 else None


def _read(late: list[Map], flow: Flow) -> list[Map]:
    """Arrays that other work than the scan reads."""
    kept: list[Map] = []
    readers: list[Work] = [*flow.after, *flow.sums, *flow.last]
    for equation in reversed(late):
        used = any(equation.out in operands(work) for work in (*kept, *readers))
        if used or equation.out in flow.wanted:
            kept.insert(0, equation)
    return kept
