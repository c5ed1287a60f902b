"""Program -> Program: forward mode over the three kinds of equation.

In: a Program, and the inputs whose tangents come from outside.
Out: a Program that computes the given one *and* the tangent of every array.
Not here: what each kind of equation contributes, as a table beside reverse mode (rules.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from derive.derivative.builder import (
    Builder,
    Contribution,
    Deferred,
    Derivative,
    Elementwise,
    lying,
    settle,
    share_of_ties,
)
from derive.program import Equation, Map, Matmul, Over, Program, Sum
from derive.symbolic import functions


def forward(
    program: Program,
    by: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
) -> Derivative:
    """Tangents of every array, given those of the inputs `by` (all by default).

    The outputs of the result are the tangents of `outputs` (the Program's own by default).
    names: what the tangent of each array is called, t_NAME by default.
    """
    build = Builder(program, reserved=names.values() if names else ())
    order = [*program.inputs, *(equation.out for equation in program.equations)]
    active = set(program.inputs if by is None else by)
    tangent = {name: names[name] if names else build.name(f"t_{name}") for name in order}
    for name in program.inputs:
        if name in active:
            build.like(name, tangent[name])
            build.seeds.append((name, tangent[name]))
        else:
            build.like(name, tangent[name])
            build.equations.append(Map(tangent[name], functions.ZERO))
    for equation in program.equations:
        moving = [name for name in dict.fromkeys(equation.operands) if name in active]
        if moving:
            active.add(equation.out)
        _push(build, equation, tangent, moving)
    wanted = program.outputs if outputs is None else outputs
    extended = build.program(tuple(tangent[name] for name in wanted))
    return Derivative(extended, tuple(build.seeds), tuple(tangent.items()))


def _push(build: Builder, equation: Equation, tangent: dict[str, str], moving: list[str]) -> None:
    parts: list[Contribution] = []
    if isinstance(equation, Map):
        of_tangents = [(tangent[name], place) for name, place in equation.places]
        places = (*equation.places, *of_tangents)
        for name in moving:
            by, at = functions.symbol(name), functions.symbol(equation.out)
            term = _tangent_of_map(equation.expr, by, at, functions.symbol(tangent[name]))
            parts.append(Elementwise(term, places))
    elif isinstance(equation, Sum):
        parts.extend(_push_sum(build, equation, tangent[name]) for name in moving)
    else:
        if equation.left in moving:
            parts.append(_like(equation, tangent[equation.left], equation.right))
        if equation.right in moving:
            parts.append(_like(equation, equation.left, tangent[equation.right]))
    settle(build, equation.out, tangent[equation.out], parts)


def _like(product: Matmul, left: str, right: str) -> Deferred:
    return lambda name: replace(product, out=name, left=left, right=right)


def _push_sum(build: Builder, equation: Sum, tangent: str) -> Contribution:
    if equation.over is not Over.MAX:
        return lambda name: replace(equation, out=name, source=tangent)
    source, out = build.table[equation.source], build.table[equation.out]
    axes = equation.axes_of(source, out)
    ties = share_of_ties(build, equation)
    here = functions.symbol(source.name), functions.symbol(out.name)
    moving = build.like(source.name, build.name(f"{tangent}_of_{out.name}"))
    chosen = functions.where(functions.equal(*here), functions.symbol(tangent), functions.ZERO)
    build.equations.append(Map(moving, chosen, lying(source, axes, out.name)))
    total = build.like(out.name, build.name(f"{tangent}_sum"))
    build.equations.append(Sum(total, moving, axes=axes))
    return Elementwise(functions.symbol(total) / functions.symbol(ties))


def _tangent_of_map(
    expr: functions.Expr, by: sympy.Symbol, out: sympy.Symbol, t: sympy.Symbol
) -> functions.Expr:
    if isinstance(expr, functions.where):
        # Chosen last, so that a NaN in the tangent of the branch not taken is dropped.
        condition, chosen, other = expr.args
        t_chosen, t_other = (_tangent_of_map(part, by, out, t) for part in (chosen, other))
        return (
            functions.ZERO
            if t_chosen == t_other == 0
            else functions.where(condition, t_chosen, t_other)
        )
    slope = functions.partial(expr, by, out if expr.is_Function or expr.is_Pow else None)
    if slope != 0 and expr.has(functions.gated):
        return functions.gated(slope, t)  # on a branch not taken the slope is 0 and t may be NaN
    return slope * t if slope != 0 else functions.ZERO
