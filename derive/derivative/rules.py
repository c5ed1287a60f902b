"""Program -> Program: reverse mode and forward mode over the three kinds of equation.

In: a Program, and the arrays whose cotangents (or tangents) come from outside.
Out: a Program that computes the given one *and* its derivative. It is a Program like any
other, so it can be differentiated again: Hessian-vector products need nothing new.
Not here: time. Backpropagation through time runs the reverse Program of one step for
t = T..1 and carries the cotangents of the states (schedule/schedule.py).

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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from derive.program import (
    Array,
    Equation,
    Layout,
    Map,
    Matmul,
    Namer,
    Over,
    Program,
    Sum,
    check,
    placed,
)
from derive.program.program import Places
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class Derivative:
    """A Program extended by its derivative.

    `program.inputs` are the given Program's inputs, then the seeds. `seeds` pairs an array of
    the given Program with the input that carries its cotangent (tangent) from outside; an
    array may have several. `of` pairs every array with its cotangent (tangent).
    """

    program: Program
    seeds: tuple[tuple[str, str], ...]
    of: tuple[tuple[str, str], ...]

    def name(self, array: str) -> str:
        return dict(self.of)[array]


@dataclass(frozen=True, slots=True)
class _Elementwise:
    """An elementwise contribution to a cotangent, and where its operands lie."""

    expr: functions.Expr
    places: Places = ()


# A contribution to a cotangent: an elementwise expression, or an equation that waits for the
# name of its result.
_Deferred = Callable[[str], Equation]
_Contribution = _Elementwise | _Deferred


class _Builder:
    """Collects the arrays and equations of the derivative; frozen by `program`."""

    def __init__(self, primal: Program, reserved: Iterable[str] = ()) -> None:
        self.primal = primal
        self.table = primal.table()
        self.name = Namer((*self.table, *reserved))
        self.arrays: list[Array] = list(primal.arrays)
        self.equations: list[Equation] = list(primal.equations)
        self.seeds: list[tuple[str, str]] = []

    def like(self, model: str, name: str) -> str:
        """A new array of the shape of `model`."""
        self.arrays.append(replace(self.table[model], name=name))
        return name

    def seed(self, array: str, wanted: str) -> str:
        name = self.like(array, self.name(wanted))
        self.seeds.append((array, name))
        return name

    def program(self, outputs: tuple[str, ...]) -> Program:
        inputs = (*self.primal.inputs, *(name for _, name in self.seeds))
        return check(
            Program(tuple(self.arrays), inputs, tuple(self.equations), outputs),
        )


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
    build = _Builder(program)
    order = [*program.inputs, *(equation.out for equation in program.equations)]
    cotangent = {name: build.name(f"d_{name}") for name in order}
    contributions: dict[str, list[_Contribution]] = {name: [] for name in order}
    for array, wanted in seeds:
        seed = functions.symbol(build.seed(array, wanted))
        contributions[array].append(_Elementwise(seed))
    guarded: set[str] = set()
    strange = _possibly_infinite(program)
    for equation in reversed(program.equations):
        _settle(build, equation.out, cotangent[equation.out], contributions[equation.out])
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
        _settle(build, name, cotangent[name], contributions[name])
    by = program.inputs if by is None else by
    extended = build.program(tuple(cotangent[name] for name in by))
    return Derivative(extended, tuple(build.seeds), tuple(cotangent.items()))


def _settle(build: _Builder, of: str, name: str, parts: list[_Contribution]) -> None:
    """Defines the cotangent `name` of `of` as the sum of its contributions."""
    build.like(of, name)
    if len(parts) == 1 and not isinstance(parts[0], _Elementwise):
        build.equations.append(parts[0](name))
        return
    terms: list[functions.Expr] = []
    places: dict[str, tuple[int, ...] | None] = {}
    for part in parts:
        if isinstance(part, _Elementwise) and _agree(part, places):
            terms.append(part.expr)
            continue
        term = build.like(of, build.name(f"{name}_{len(terms) + 1}"))
        if isinstance(part, _Elementwise):
            build.equations.append(placed(term, part.expr, part.places))
        else:
            build.equations.append(part(term))
        terms.append(functions.symbol(term))
    lie = [(operand, place) for operand, place in places.items() if place is not None]
    build.equations.append(placed(name, sympy.Add(*terms), lie))


def _agree(part: _Elementwise, places: dict[str, tuple[int, ...] | None]) -> bool:
    """Whether the operands of `part` lie where those of earlier parts do; if so they join them."""
    own = dict(part.places)
    mine = {name: own.get(name) for name in Map("", part.expr).operands}
    if any(places.get(name, place) != place for name, place in mine.items()):
        return False
    places.update(mine)
    return True


def _through_map(
    build: _Builder,
    equation: Map,
    cotangent: dict[str, str],
    contributions: dict[str, list[_Contribution]],
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
            contributions[name].append(_Elementwise(term, equation.places))
            continue
        if term == d_out:
            source = cotangent[equation.out]
        else:
            source = build.like(equation.out, build.name(f"{cotangent[name]}_of_{out.name}"))
            build.equations.append(placed(source, term, equation.places))
        contributions[name].append(_back_to(build, operand, out, place, source))


def _back_to(
    build: _Builder, operand: Array, out: Array, place: tuple[int, ...] | None, source: str
) -> _Deferred:
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


def _through_sum(build: _Builder, equation: Sum, d_out: str) -> _Contribution:
    """What a reduction hands to its source."""
    source, out = build.table[equation.source], build.table[equation.out]
    axes = equation.axes_of(source, out)
    if equation.over.keeps:
        other = Over.CUMSUM if equation.over is Over.CUMSUM_BACK else Over.CUMSUM_BACK
        return lambda name: Sum(name, d_out, other, axes)
    d = functions.symbol(d_out)
    if equation.over is Over.SUM:
        return _Elementwise(d, _lying(source, axes, d_out))
    share = _share_of_ties(build, equation)
    here = functions.symbol(source.name), functions.symbol(out.name)
    split = build.like(out.name, build.name(f"{d_out}_share"))
    build.equations.append(Map(split, d / functions.symbol(share)))
    chosen = functions.where(functions.equal(*here), functions.symbol(split), functions.ZERO)
    return _Elementwise(chosen, _lying(source, axes, out.name, split))


def _lying(source: Array, axes: tuple[int, ...], *names: str) -> Places:
    """Where arrays of the shape that a reduction of `axes` leaves over lie on its source."""
    kept = tuple(k for k in range(len(source.shape)) if k not in axes)
    return tuple((name, kept) for name in names if 0 < len(kept) < len(source.shape))


def _share_of_ties(build: _Builder, equation: Sum) -> str:
    """How many elements are as large as the largest one."""
    source, out = build.table[equation.source], build.table[equation.out]
    axes = equation.axes_of(source, out)
    largest = build.like(source.name, build.name(f"{source.name}_is_{out.name}"))
    same = functions.equal(functions.symbol(source.name), functions.symbol(out.name))
    expr = functions.where(same, functions.ONE, functions.ZERO)
    build.equations.append(Map(largest, expr, _lying(source, axes, out.name)))
    ties = build.like(out.name, build.name(f"{out.name}_ties"))
    build.equations.append(Sum(ties, largest, axes=axes))
    return ties


def _sum_of(source: str) -> _Deferred:
    return lambda name: Sum(name, source)


def _chosen_between(expr: functions.Expr) -> set[str]:
    """Arrays in a branch of a `where`: their cotangent is 0 where the branch is not taken."""
    found: set[str] = set()
    for node in expr.atoms(functions.where):
        for branch in node.args[1:]:
            found.update(s.name for s in branch.free_symbols)
    return found


def _product(left: str, right: str, layout: Layout) -> _Deferred:
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


def _taken(build: _Builder, product: Matmul, operand: str, d_out: str) -> str:
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
    contributions: dict[str, list[_Contribution]],
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


def _along(left: str, right: str, subscripts: str) -> _Deferred:
    return lambda name: Matmul(name, left, right, Layout.AXES, subscripts)


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
    build = _Builder(program, reserved=names.values() if names else ())
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


def _push(build: _Builder, equation: Equation, tangent: dict[str, str], moving: list[str]) -> None:
    parts: list[_Contribution] = []
    if isinstance(equation, Map):
        of_tangents = [(tangent[name], place) for name, place in equation.places]
        places = (*equation.places, *of_tangents)
        for name in moving:
            by, at = functions.symbol(name), functions.symbol(equation.out)
            term = _tangent_of_map(equation.expr, by, at, functions.symbol(tangent[name]))
            parts.append(_Elementwise(term, places))
    elif isinstance(equation, Sum):
        parts.extend(_push_sum(build, equation, tangent[name]) for name in moving)
    else:
        if equation.left in moving:
            parts.append(_like(equation, tangent[equation.left], equation.right))
        if equation.right in moving:
            parts.append(_like(equation, equation.left, tangent[equation.right]))
    _settle(build, equation.out, tangent[equation.out], parts)


def _like(product: Matmul, left: str, right: str) -> _Deferred:
    return lambda name: replace(product, out=name, left=left, right=right)


def _push_sum(build: _Builder, equation: Sum, tangent: str) -> _Contribution:
    if equation.over is not Over.MAX:
        return lambda name: replace(equation, out=name, source=tangent)
    source, out = build.table[equation.source], build.table[equation.out]
    axes = equation.axes_of(source, out)
    ties = _share_of_ties(build, equation)
    here = functions.symbol(source.name), functions.symbol(out.name)
    moving = build.like(source.name, build.name(f"{tangent}_of_{out.name}"))
    chosen = functions.where(functions.equal(*here), functions.symbol(tangent), functions.ZERO)
    build.equations.append(Map(moving, chosen, _lying(source, axes, out.name)))
    total = build.like(out.name, build.name(f"{tangent}_sum"))
    build.equations.append(Sum(total, moving, axes=axes))
    return _Elementwise(functions.symbol(total) / functions.symbol(ties))


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
