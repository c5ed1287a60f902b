"""Program -> Program: reverse mode and forward mode over the three kinds of equation.

In: a Program, and the arrays whose cotangents (or tangents) come from outside.
Out: a Program that computes the given one *and* its derivative. It is a Program like any
other, so it can be differentiated again: Hessian-vector products need nothing new.
Not here: time. Backpropagation through time runs the reverse Program of one step for
t = T..1 and carries the cotangents of the states (schedule.py).

| equation            | reverse mode: what d_out contributes       | forward mode               |
| ------------------- | ------------------------------------------ | -------------------------- |
| Map out = e(a, ...) | d_a: d_out * de/da, summed over axes a lacks | sum of de/da * t_a       |
| Matmul out = W v    | d_v: W' d_out;  d_W: outer(d_out, v)       | W t_v + t_W v              |
| Matmul out = W' v   | d_v: W d_out;   d_W: outer(v, d_out)       | W' t_v + t_W' v            |
| outer(u, v)         | d_u: d_out v;   d_v: d_out' u              | outer(t_u, v) + outer(u, t_v) |
| Sum out = sum a     | d_a: d_out, broadcast                      | sum t_a                    |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import sympy

from derive.display import Displayed
from derive.program import Array, Equation, Layout, Map, Matmul, Namer, Program, Step, Sum, check
from derive.program.formulas import formulas
from derive.program.simplify import constants
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


# A contribution to a cotangent: an elementwise expression, or an equation that waits for the
# name of its result.
_Deferred = Callable[[str], Equation]
_Contribution = functions.Expr | _Deferred


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
        contributions[array].append(functions.symbol(build.seed(array, wanted)))
    guarded: set[str] = set()
    strange = _possibly_infinite(program)
    for equation in reversed(program.equations):
        _settle(build, equation.out, cotangent[equation.out], contributions[equation.out])
        if isinstance(equation, Map):
            _through_map(build, equation, cotangent, contributions, guarded)
        elif isinstance(equation, Sum):
            d_out = functions.symbol(cotangent[equation.out])
            contributions[equation.source].append(d_out)
            if equation.out in guarded:
                guarded.add(equation.source)
        else:
            right = equation.right
            if equation.out in guarded and right in strange and right in build.table:
                right = _taken(build, equation, cotangent[equation.out])
            _through_product(equation, right, cotangent, contributions)
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
    if len(parts) == 1 and not isinstance(parts[0], sympy.Basic):
        build.equations.append(parts[0](name))
        return
    terms: list[functions.Expr] = []
    for part in parts:
        if isinstance(part, sympy.Basic):
            terms.append(part)
        else:
            term = build.like(of, build.name(f"{name}_{len(terms) + 1}"))
            build.equations.append(part(term))
            terms.append(functions.symbol(term))
    build.equations.append(Map(name, sympy.Add(*terms)))


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
        if operand.shape == out.shape and operand.per_row == out.per_row:
            contributions[name].append(term)
            continue
        if term == d_out:
            source = cotangent[equation.out]
        else:
            source = build.like(equation.out, build.name(f"{cotangent[name]}_of_{out.name}"))
            build.equations.append(Map(source, term))
        contributions[name].append(_sum_of(source))


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
    heads = (functions.exp, functions.expm1, functions.log, functions.log1p)
    found: set[str] = set()
    for equation in program.equations:
        risky = isinstance(equation, Map) and (
            equation.expr.has(*heads)
            or any(not p.exp.is_Integer or p.exp < 0 for p in equation.expr.atoms(sympy.Pow))
        )
        if risky or found.intersection(equation.operands):
            found.add(equation.out)
    return found


def _taken(build: _Builder, product: Matmul, d_out: str) -> str:
    """`product.right`, with 0 on every row that took another branch of a `where`.

    There d_out is 0, and in the gradient of the matrix 0 times NaN would spoil the other rows.
    """
    out, right = build.table[product.out], product.right
    if product.layout is Layout.OUTER or not out.per_row:
        return right
    size = build.like(product.out, build.name(f"{d_out}_size"))
    build.equations.append(Map(size, functions.absolute(functions.symbol(d_out))))
    total = build.name(f"{d_out}_total")
    build.arrays.append(replace(out, name=total, shape=(1,)))
    if out.shape == (1,):
        build.equations.append(Map(total, functions.symbol(size)))
    else:
        build.equations.append(Sum(total, size))
    taken = build.like(right, build.name(f"{right}_taken"))
    chosen = functions.where(
        functions.equal(functions.symbol(total), functions.ZERO),
        functions.ZERO,
        functions.symbol(right),
    )
    build.equations.append(Map(taken, chosen))
    return taken


def _through_product(
    equation: Matmul,
    right: str,
    cotangent: dict[str, str],
    contributions: dict[str, list[_Contribution]],
) -> None:
    """`right` holds the right operand's values; its cotangent goes to `equation.right`."""
    d_out, left, given = cotangent[equation.out], equation.left, equation.right
    if equation.layout is Layout.OUTER:
        contributions[left].append(_product(d_out, right, Layout.NORMAL))
        contributions[given].append(_product(d_out, left, Layout.TRANSPOSED))
    elif equation.layout is Layout.NORMAL:
        contributions[left].append(_product(d_out, right, Layout.OUTER))
        contributions[given].append(_product(left, d_out, Layout.TRANSPOSED))
    else:
        contributions[left].append(_product(right, d_out, Layout.OUTER))
        contributions[given].append(_product(left, d_out, Layout.NORMAL))


def forward(
    program: Program,
    by: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Derivative:
    """Tangents of every array, given those of the inputs `by` (all by default).

    The outputs of the result are the tangents of `outputs` (the Program's own by default).
    """
    build = _Builder(program)
    order = [*program.inputs, *(equation.out for equation in program.equations)]
    active = set(program.inputs if by is None else by)
    tangent = {name: build.name(f"t_{name}") for name in order}
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
    out = build.like(equation.out, tangent[equation.out])
    parts: list[_Contribution] = []
    if isinstance(equation, Map):
        for name in moving:
            by, at = functions.symbol(name), functions.symbol(equation.out)
            parts.append(_tangent_of_map(equation.expr, by, at, functions.symbol(tangent[name])))
    elif isinstance(equation, Sum):
        parts.extend(_sum_of(tangent[name]) for name in moving)
    else:
        if equation.left in moving:
            parts.append(_product(tangent[equation.left], equation.right, equation.layout))
        if equation.right in moving:
            parts.append(_product(equation.left, tangent[equation.right], equation.layout))
    build.arrays.pop()
    _settle(build, equation.out, out, parts)


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


@dataclass(frozen=True, slots=True)
class Gradient(Displayed):
    """The reverse Program of one time step.

    Its inputs are the step's inputs, then `output_seeds` (cotangents of `step.outputs`, from
    outside) and `state_seeds` (cotangents of the next states, from the following step). Its
    outputs are d_params, d_inputs, d_states: `d_states` is what the preceding step receives.
    """

    step: Step
    derivative: Derivative
    output_seeds: tuple[str, ...]
    state_seeds: tuple[str, ...]

    @property
    def program(self) -> Program:
        return self.derivative.program

    @property
    def equations(self) -> tuple[sympy.Eq, ...]:
        """d_NAME = ... for every array NAME of the forward pass, in an order in which each
        can be computed. They refer to arrays of `forward` and to the seeds.

        Products are SymPy functions: matmul(transpose(U), d_a), outer(d_a, h), sum_rows(d_a).
        """
        program = constants(self.program)
        primal = {array.name for array in self.step.program.arrays}
        cotangents = {name for _, name in self.derivative.of}
        terms = {e.out for e in program.equations} - primal - cotangents
        written = formulas(program, expand=terms, rename=cotangents)
        return tuple(line for line in written if line.lhs.name in cotangents)

    @property
    def forward(self) -> tuple[sympy.Eq, ...]:
        """The forward pass that `equations` refer to: one line for each array, all of them."""
        return formulas(self.step.program)

    @property
    def d_params(self) -> tuple[str, ...]:
        return tuple(self.derivative.name(name) for name in self.step.params)

    @property
    def d_inputs(self) -> tuple[str, ...]:
        return tuple(self.derivative.name(name) for name in self.step.inputs)

    @property
    def d_states(self) -> tuple[str, ...]:
        return tuple(self.derivative.name(name) for name in self.step.states)


def reverse_step(step: Step) -> Gradient:
    """The gradient of one time step, ready to be run backwards through time."""
    seeds = [(name, f"d_{name}_output") for name in step.outputs]
    seeds += [
        (after, f"d_{state}_carry")
        for state, after in zip(step.states, step.next_states, strict=True)
    ]
    derivative = reverse(step.program, seeds, by=(*step.params, *step.inputs, *step.states))
    names = tuple(name for _, name in derivative.seeds)
    cut = len(step.outputs)
    return Gradient(step, derivative, names[:cut], names[cut:])
