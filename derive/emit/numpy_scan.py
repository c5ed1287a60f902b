"""Flow -> Flow: a linear recurrence as one call for all steps.

In: a Flow.  Out: a Flow with a scan for its loop, where the state is carried by
`h' = factor * h + offset` alone, unit by unit; any other Flow unchanged.
Not here: the scan itself (templates/numpy/functions.py.j2).

Equations of the loop that no state reaches are computed before it; those that a state reaches,
after it, when the state before and after every step is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import sympy

from derive import scalar
from derive.emit.numpy_flow import Flow, Scan, Work, operands
from derive.program import Array, Map, Namer
from derive.scalar import Expr


def scan(flow: Flow, taken: Iterable[str]) -> Flow:
    """The flow with a scan where it can be one; new arrays get names that are not `taken`."""
    if len(flow.carried) != 1 or not all(isinstance(work, Map) for work in flow.step):
        return flow
    ((state, after),) = flow.carried
    steps = [work for work in flow.step if isinstance(work, Map)]
    inlined: dict[sympy.Symbol, Expr] = {}
    moving = {state}
    for equation in steps:
        if moving.intersection(equation.operands):
            moving.add(equation.out)
            inlined[scalar.symbol(equation.out)] = equation.expr.xreplace(inlined)
    if after not in moving or _shapes(flow, moving) != {flow.table[state].shape}:
        return flow
    parts = _affine(inlined[scalar.symbol(after)], scalar.symbol(state))
    if parts is None:
        return flow
    factor, offset = parts
    namer = Namer(taken)
    found = Scan(state, after, namer(f"{after}_factor"), namer(f"{after}_offset"))
    table = dict(flow.table)
    for name in (found.factor, found.offset):
        table[name] = Array(name, table[state].shape, per_row=True)
    known = scalar.symbol(found.factor)
    if factor.is_Add or factor.is_Mul:
        offset = offset.subs(factor, known) if factor.is_Mul else offset.xreplace({factor: known})
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


def _affine(expr: Expr, state: sympy.Symbol) -> tuple[Expr, Expr] | None:
    """(factor, offset) of `expr` = factor * state + offset, grouped as the author did; None where
    the state meets anything but sums and products."""
    if not expr.has(state):
        return scalar.ZERO, expr
    if expr == state:
        return scalar.ONE, scalar.ZERO
    args = cast(tuple[Expr, ...], expr.args)
    if expr.is_Add:
        parts = [_affine(arg, state) for arg in args]
        if None in parts:
            return None
        factors, offsets = zip(*cast(list[tuple[Expr, Expr]], parts), strict=True)
        return sympy.Add(*factors), sympy.Add(*offsets)
    with_state = [arg for arg in args if arg.has(state)]
    if not expr.is_Mul or len(with_state) != 1:
        return None
    inner = _affine(with_state[0], state)
    if inner is None:
        return None
    others = sympy.Mul(*(arg for arg in args if arg is not with_state[0]))
    return others * inner[0], others * inner[1]


def _read(late: list[Map], flow: Flow) -> list[Map]:
    """What somebody reads besides the scan."""
    kept: list[Map] = []
    readers: list[Work] = [*flow.after, *flow.sums, *flow.last]
    for equation in reversed(late):
        used = any(equation.out in operands(work) for work in (*kept, *readers))
        if used or equation.out in flow.wanted:
            kept.insert(0, equation)
    return kept
