"""Program -> Program: reverse mode over the three kinds of equation.

In: a Program, and the arrays whose cotangents come from outside.
Out: a Program that computes the given one *and* its derivative. It is a Program like any
other, so it can be differentiated again: Hessian-vector products need nothing new.
Not here: forward mode (forward.py). Time: backpropagation through time runs the reverse Program of
one step for t = T..1 and carries the cotangents of the states (schedule/schedule.py).

| equation            | reverse mode: what d_out contributes       | forward mode               |
| ------------------- | ------------------------------------------ | -------------------------- |
| Map out = e(a, ...) | d_a: d_out * de/da, summed over axes a lacks | sum of de/da * t_a       |
| Matmul out = W v    | d_v: W' d_out;  d_W: outer(d_out, v)       | W t_v + t_W v              |
| Matmul out = W' v   | d_v: W d_out;   d_W: outer(v, d_out)       | W' t_v + t_W' v            |
| outer(u, v)         | d_u: d_out v;   d_v: d_out' u              | outer(t_u, v) + outer(u, t_v) |
| l, r -> o, axes     | d_l: o, r -> l;  d_r: l, o -> r            | t_l, r -> o  +  l, t_r -> o |
| Sum out = sum a     | d_a: d_out, repeated                       | sum t_a                    |
| out = max a         | d_a: where(a = out, d_out / ties, 0)       | the mean of t_a where a = out |
| running sum         | the running sum from the other end         | running sum of t_a         |

An operand of a Map that lies on some axes of the result is repeated along the others; its
cotangent is summed over those.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from derive.program import Array, Layout, Map, Matmul, Over, Program, Sum, placed
from derive.symbolic import functions


def reverse(
    program: Program,
    seeds: Sequence[tuple[str, str]] | None = None,
    by: Sequence[str] | None = None,
) -> Derivative:
    """Cotangents of every array, given those of the outputs.

    seeds: (array, wanted name of the input that holds its cotangent); one for each output by
    default, called d_NAME_seed.  by: the inputs whose cotangents become the outputs, all by
    default.
    """
    if seeds is None:
        seeds = [(name, f"d_{name}_seed") for name in program.outputs]
    # Names the reader expects come first: d_NAME belongs to NAME's cotangent, not to a seed.
    build = Builder(program)
    order = [*program.inputs, *(equation.out for equation in program.equations)]
    cotangent = {name: build.name(f"d_{name}") for name in order}
    contributions: dict[str, list[Contribution]] = {name: [] for name in order}
    for array, wanted in seeds:
        seed = functions.symbol(build.seed(array, wanted))
        contributions[array].append(Elementwise(seed))
    guarded: set[str] = set()
    strange = _possibly_infinite(program)
    for equation in reversed(program.equations):
        settle(build, equation.out, cotangent[equation.out], contributions[equation.out])
        if isinstance(equation, Map):
            _through_map(build, equation, cotangent, contributions, guarded)
        elif isinstance(equation, Sum):
            part = _through_sum(build, equation, cotangent[equation.out])
            contributions[equation.source].append(part)
            if equation.out in guarded:
                guarded.add(equation.source)
        else:
            left, right = equation.operands
            if equation.out in guarded and right in strange and right in build.table:
                right = _taken(build, equation, right, cotangent[equation.out])
            if equation.out in guarded and left in strange and equation.layout is Layout.AXES:
                left = _taken(build, equation, left, cotangent[equation.out])
            _through_product(equation, left, right, cotangent, contributions)
            if equation.out in guarded:
                guarded.update(equation.operands)
    for name in reversed(program.inputs):
        settle(build, name, cotangent[name], contributions[name])
    by = program.inputs if by is None else by
    extended = build.program(tuple(cotangent[name] for name in by))
    return Derivative(extended, tuple(build.seeds), tuple(cotangent.items()))


def _through_map(
    build: Builder,
    equation: Map,
    cotangent: dict[str, str],
    contributions: dict[str, list[Contribution]],
    guarded: set[str],
) -> None:
    out = build.table[equation.out]
    d_out = functions.symbol(cotangent[equation.out])
    guarded.update(_chosen_between(equation.expr))
    if equation.out in guarded:
        guarded.update(equation.operands)
    for name in equation.operands:
        operand = build.table[name]
        slope = functions.partial(
            equation.expr, functions.symbol(name), functions.symbol(equation.out)
        )
        if slope == 0:
            continue
        if equation.out in guarded and not slope.is_number:
            term = functions.gated(d_out, slope)
        else:
            term = d_out * slope
        place = equation.place(name)
        if operand.shape == out.shape and operand.per_row == out.per_row and place is None:
            contributions[name].append(Elementwise(term, equation.places))
            continue
        if term == d_out:
            source = cotangent[equation.out]
        else:
            source = build.like(equation.out, build.name(f"{cotangent[name]}_of_{out.name}"))
            build.equations.append(placed(source, term, equation.places))
        contributions[name].append(_back_to(build, operand, out, place, source))


def _back_to(
    build: Builder, operand: Array, out: Array, place: tuple[int, ...] | None, source: str
) -> Deferred:
    """The sum of `source`, of the shape of `out`, over all that the operand lacks."""
    rank = len(out.shape)
    if place is None and operand.shape == (1,):
        if rank == 1 or operand.shape == out.shape:
            return _sum_of(source)
        return lambda name: Sum(name, source, axes=tuple(range(rank)))
    place = tuple(range(rank)) if place is None else place
    gone = tuple(k for k in range(rank) if k not in place)
    if list(place) == sorted(place):
        return lambda name: Sum(name, source, axes=gone)
    if operand.per_row == out.per_row:
        return lambda name: Map(name, functions.symbol(source), ((source, place),))
    summed = build.name(f"{source}_sum")
    build.arrays.append(Array(summed, out.shape, operand.per_row))
    build.equations.append(Sum(summed, source))
    return lambda name: Map(name, functions.symbol(summed), ((summed, place),))


def _through_sum(build: Builder, equation: Sum, d_out: str) -> Contribution:
    """What a reduction hands to its source."""
    source, out = build.table[equation.source], build.table[equation.out]
    axes = equation.axes_of(source, out)
    if equation.over.keeps:
        other = Over.CUMSUM if equation.over is Over.CUMSUM_BACK else Over.CUMSUM_BACK
        return lambda name: Sum(name, d_out, other, axes)
    d = functions.symbol(d_out)
    if equation.over is Over.SUM:
        return Elementwise(d, lying(source, axes, d_out))
    share = share_of_ties(build, equation)
    here = functions.symbol(source.name), functions.symbol(out.name)
    split = build.like(out.name, build.name(f"{d_out}_share"))
    build.equations.append(Map(split, d / functions.symbol(share)))
    chosen = functions.where(functions.equal(*here), functions.symbol(split), functions.ZERO)
    return Elementwise(chosen, lying(source, axes, out.name, split))


def _sum_of(source: str) -> Deferred:
    return lambda name: Sum(name, source)


def _chosen_between(expr: functions.Expr) -> set[str]:
    """Arrays in a branch of a `where`: their cotangent is 0 where the branch is not taken."""
    found: set[str] = set()
    for node in expr.atoms(functions.where):
        for branch in node.args[1:]:
            found.update(s.name for s in branch.free_symbols)
    return found


def _product(left: str, right: str, layout: Layout) -> Deferred:
    return lambda name: Matmul(name, left, right, layout)


def _possibly_infinite(program: Program) -> set[str]:
    """Arrays in which a finite argument may give NaN or infinity."""
    heads = [record.head for record in functions.RULES.values() if record.explodes]
    found: set[str] = set()
    for equation in program.equations:
        risky = isinstance(equation, Map) and (
            equation.expr.has(*heads)
            or any(not p.exp.is_Integer or p.exp < 0 for p in equation.expr.atoms(sympy.Pow))
        )
        if risky or found.intersection(equation.operands):
            found.add(equation.out)
    return found


def _taken(build: Builder, product: Matmul, operand: str, d_out: str) -> str:
    """`operand`, with 0 on every row that took another branch of a `where`.

    There d_out is 0, and in the gradient of the matrix 0 times NaN would spoil the other rows.
    """
    out, array = build.table[product.out], build.table[operand]
    if product.layout is Layout.OUTER or not (out.per_row and array.per_row):
        return operand
    size = build.like(product.out, build.name(f"{d_out}_size"))
    build.equations.append(Map(size, functions.absolute(functions.symbol(d_out))))
    total = build.name(f"{d_out}_total")
    build.arrays.append(replace(out, name=total, shape=(1,)))
    if out.shape == (1,):
        build.equations.append(Map(total, functions.symbol(size)))
    elif len(out.shape) == 1:
        build.equations.append(Sum(total, size))
    else:
        build.equations.append(Sum(total, size, axes=tuple(range(len(out.shape)))))
    taken = build.like(operand, build.name(f"{operand}_taken"))
    chosen = functions.where(
        functions.equal(functions.symbol(total), functions.ZERO),
        functions.ZERO,
        functions.symbol(operand),
    )
    build.equations.append(Map(taken, chosen))
    return taken


def _through_product(
    equation: Matmul,
    left: str,
    right: str,
    cotangent: dict[str, str],
    contributions: dict[str, list[Contribution]],
) -> None:
    """`left` and `right` hold the operands' values; their cotangents go to the operands."""
    d_out = cotangent[equation.out]
    if equation.layout is Layout.AXES:
        of_left, of_right, of_out = equation.letters()
        to_left = _along(d_out, right, f"{of_out},{of_right}->{of_left}")
        to_right = _along(left, d_out, f"{of_left},{of_out}->{of_right}")
    elif equation.layout is Layout.OUTER:
        to_left = _product(d_out, right, Layout.NORMAL)
        to_right = _product(d_out, left, Layout.TRANSPOSED)
    elif equation.layout is Layout.NORMAL:
        to_left = _product(d_out, right, Layout.OUTER)
        to_right = _product(left, d_out, Layout.TRANSPOSED)
    else:
        to_left = _product(right, d_out, Layout.OUTER)
        to_right = _product(left, d_out, Layout.NORMAL)
    contributions[equation.left].append(to_left)
    contributions[equation.right].append(to_right)


def _along(left: str, right: str, subscripts: str) -> Deferred:
    return lambda name: Matmul(name, left, right, Layout.AXES, subscripts)
