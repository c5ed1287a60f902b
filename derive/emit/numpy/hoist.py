"""Flow -> Flow: out of the loop with what the loop does not need.

In: a Flow.  Out: a Flow that computes the same with fewer calls a step.
Not here: which products run where (schedule/schedule.py).

A call of NumPy costs as much as some hundred elements, so a sum, product or function of arrays
that do not move with the loop is computed for all steps at once. In the loop a gate becomes
`U_i_h + a_i_early`; and in a backward pass, which is linear in what it carries, a cotangent
becomes `d_c_next * d_a_i_factor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import sympy

from derive.emit.numpy.flow import Flow, Work, operands, outs
from derive.program import Array, Map, Namer, names_in
from derive.symbolic import functions
from derive.symbolic.functions import Expr


def hoist(flow: Flow, taken: Iterable[str]) -> Flow:
    """The flow with everything hoisted; new arrays get names that are not `taken`."""
    moving = {name for pair in flow.carried for name in pair}
    for work in flow.step:
        if moving.intersection(operands(work)):
            moving.update(outs([work]))
    hoister = _Hoister(flow.table, moving, Namer(taken))
    for work in _merge(flow, moving):
        hoister.add(work)
    return replace(
        flow,
        table={**flow.table, **hoister.arrays},
        once=(*flow.once, *hoister.once),
        before=(*flow.before, *hoister.before),
        step=tuple(hoister.step),
        parts=hoister.parts,
    )


# --- products of products -------------------------------------------------------------------


def _merge(flow: Flow, moving: set[str]) -> list[Work]:
    """The loop without every array d * p that one other equation alone reads, and only as
    d * p * q, where p and q stand still: p * q can then be hoisted as one."""
    step = list(flow.step)
    outside = [*flow.before, *flow.after, *flow.sums, *flow.last]
    for out in outs(flow.step):
        work = next(work for work in step if out in outs([work]))
        readers = [other for other in (*step, *outside) if out in operands(other)]
        if out in flow.wanted or len(readers) != 1 or readers[0] not in step:
            continue
        reader, symbol = readers[0], functions.symbol(out)
        if not isinstance(work, Map) or not isinstance(reader, Map):
            continue
        if work.places or reader.places:
            continue
        if flow.table[out].shape != flow.table[reader.out].shape:
            continue
        if _has_still_factor(work.expr, moving) and _scales(reader, symbol, moving):
            merged = replace(reader, expr=reader.expr.xreplace({symbol: work.expr}))
            step[step.index(reader)] = merged
            step.remove(work)
    return step


def _has_still_factor(expr: Expr, moving: set[str]) -> bool:
    return bool(expr.is_Mul) and any(_is_still(factor, moving) for factor in _args(expr))


def _scales(reader: Map, factor: sympy.Symbol, moving: set[str]) -> bool:
    """Whether every term of `reader` that has `factor` is factor * q * ..., with q still."""
    terms = cast(tuple[Expr, ...], sympy.Add.make_args(reader.expr))
    found = [term for term in terms if term.has(factor)]
    return all(factor in term.args and _has_still_factor(term, moving) for term in found)


def _is_still(expr: Expr, moving: set[str]) -> bool:
    """Whether `expr` has arrays, and none that moves with the loop."""
    names = names_in(expr)
    return bool(names) and moving.isdisjoint(names)


# --- hoisting -------------------------------------------------------------------------------


class _Hoister:
    """Takes the works of the loop one by one; collects where their parts go."""

    def __init__(self, table: Mapping[str, Array], moving: set[str], namer: Namer) -> None:
        self.table = table
        self.moving = moving
        self.namer = namer
        self.arrays: dict[str, Array] = {}
        self.once: list[Work] = []
        self.before: list[Work] = []
        self.step: list[Work] = []
        self.known: dict[tuple[Expr, object], str] = {}
        self.parts: dict[str, str] = {}

    def add(self, work: Work) -> None:
        if not isinstance(work, Map):
            self.step.append(work)
        elif work.out not in self.moving and work.operands:
            self.before.append(work)
        elif work.places or len(self.table[work.out].shape) > 1:
            self.step.append(work)
        else:
            self.step.append(replace(work, expr=self.rest(work.expr, work.out)))

    def rest(self, expr: Expr, out: str) -> Expr:
        """`expr` with everything that stands still in arrays of its own."""
        if not expr.args or expr.is_number:
            return expr
        if _is_still(expr, self.moving):
            return self.hoisted(expr, out, "early")
        if not (expr.is_Add or expr.is_Mul):
            return cast(Expr, expr.func(*(self.rest(part, out) for part in _args(expr))))
        still = [part for part in _args(expr) if part.is_number or _is_still(part, self.moving)]
        others = [self.rest(part, out) for part in _args(expr) if part not in still]
        together = cast(Expr, expr.func(*still))
        if _is_still(together, self.moving):
            together = self.hoisted(together, out, "early" if expr.is_Add else "factor")
        return cast(Expr, expr.func(together, *others))

    def hoisted(self, expr: Expr, out: str, suffix: str) -> Expr:
        """The array that holds `expr`; a lone array with a sign or number stays as it is."""
        if _is_cheap(expr):
            return expr
        parts = [self.array(name) for name in names_in(expr)]
        shape = next((part.shape for part in parts if part.shape != (1,)), (1,))
        if (expr, shape) not in self.known:
            name = self.namer(f"{out}_{suffix}")
            self.known[expr, shape] = name
            self.parts[name] = out
            self.arrays[name] = Array(name, shape, any(part.per_row for part in parts))
            target = self.before if self.arrays[name].per_row else self.once
            target.append(Map(name, expr))
        return functions.symbol(self.known[expr, shape])

    def array(self, name: str) -> Array:
        return self.arrays[name] if name in self.arrays else self.table[name]


def _is_cheap(expr: Expr) -> bool:
    """An array, perhaps with a sign; or a comparison, whose result is no array of numbers."""
    is_comparison = functions.NAME_OF_HEAD.get(expr.func) in _COMPARISONS
    return bool(expr.is_Symbol or (-expr).is_Symbol or is_comparison)


_COMPARISONS = ("less", "less_equal", "equal", "not_equal")


def _args(expr: Expr) -> tuple[Expr, ...]:
    return cast(tuple[Expr, ...], expr.args)
