"""How gradients flow through a cell: the Jacobian of one step, symbolic and in numbers.

In: a Cell; for numbers also parameters and inputs.  Out: `Block`s, one for each pair of states;
`Flow`, the norms of the Jacobians and of their products over time.
Not here: the gradient itself (derivative/), tables and plots (cli/flow.py).

Block c_D_h is d c' / d h. Every block is a sum of terms; a term is a chain of diagonal
matrices and parameters: diag(c * f * (1 - f)) @ U_f. Where arrays have axes, diag(v) multiplies by
v element by element, U_f is the product along axes, along(D, K) repeats along those, turned swaps
the last two, and other products are written out with a dot for what moves: (· @ q).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import sympy

from derive import pipeline, targets
from derive.cell import Cell
from derive.derivative import forward
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import MOST, closest, kind_text, shape_text, to_array, to_count
from derive.kernel.signature import Sizes
from derive.program import Array, Layout, Map, Matmul, Over, Sum, interpret
from derive.program.formulas import formula
from derive.program.program import Dim
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.heads import matmul, transpose
from derive.textbook.notation import TEXT, Order, write
from derive.widths import Width

#: One factor of a chain: a matrix, or "sum", and the diagonal to its right.
Link = tuple[str, Expr]
Chain = tuple[Link, ...]
#: What a tangent is: for each chain, the diagonal to its left.
Operator = Mapping[Chain, Expr]

SUM, TURNED = "sum", "turned"


@dataclass(frozen=True, slots=True)
class Block:
    """d result' / d argument. kind: zero, identity, diagonal, low rank, diagonal plus low rank,
    block diagonal or dense. A chain through a width that no state has, or through a sum over the
    width, has low rank."""

    result: str
    argument: str
    kind: str
    terms: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.result}_D_{self.argument}"

    def text(self) -> str:
        return f"{self.name} = {' + '.join(self.terms) or '0'}"


@dataclass(frozen=True, slots=True)
class Flow:
    """Spectral norms. step: of d s_t / d s_(t-1); product: of d s_t / d s_0, for t = 1..T.

    blocks: {c_D_c: [T]}, of single steps; `s` is all states together.
    """

    name: str
    step: Any
    product: Any
    blocks: Mapping[str, Any]


# --- symbolic -------------------------------------------------------------------------------


def jacobian(cell: Cell) -> tuple[Block, ...]:
    """The blocks of one step: d next state / d state, by forward mode on operators."""
    cell = pipeline.as_vectors(cell) or cell
    names = _written_out(cell)
    blocks = []
    table = cell.step.program.table()
    wide = {dim for state in cell.step.states for dim in table[state].shape}
    for argument in cell.step.states:
        tangents = _tangents(cell, argument, names)
        for result, after in zip(cell.step.states, cell.step.next_states, strict=True):
            found = {
                tuple((m, c.xreplace(names)) for m, c in chain): left.xreplace(names)
                for chain, left in tangents.get(after, {}).items()
                if left != 0
            }
            terms = tuple(_term(left, chain) for chain, left in found.items())
            blocks.append(Block(result, argument, _kind(found, wide, cell), terms))
    return tuple(sorted(blocks, key=lambda b: cell.step.states.index(b.result)))


def _tangents(cell: Cell, argument: str, names: Mapping[sympy.Symbol, Expr]) -> dict[str, Operator]:
    """The tangent of every array as an operator on that of `argument`. names: arrays that are
    written out."""
    known: dict[str, Operator] = {argument: {(): functions.ONE}}
    table = cell.step.program.table()
    for equation in cell.step.program.equations:
        total: dict[Chain, Expr] = {}
        for name in dict.fromkeys(equation.operands):
            for chain, left in known.get(name, {}).items():
                if isinstance(equation, Map):
                    by, out = functions.symbol(name), functions.symbol(equation.out)
                    whole = equation.expr.is_Function or equation.expr.is_Pow
                    slope = functions.partial(equation.expr, by, out if whole else None)
                    if (lies := _lies(equation, name, table)) is not None:
                        chain, left = ((lies, left), *chain), functions.ONE
                    total[chain] = total.get(chain, functions.ZERO) + slope * left
                else:
                    total[((_label(equation, name, table, names), left), *chain)] = functions.ONE
        total = {chain: left for chain, left in total.items() if left != 0}
        if total:
            known[equation.out] = total
    return known


def _lies(equation: Map, name: str, table: Mapping[str, Array]) -> str | None:
    """What an elementwise equation does with the axes of an operand before anything else."""
    out, place = table[equation.out], equation.place(name)
    if place is None:
        scalar = table[name].shape == (1,) and len(out.shape) > 1
        return f"along({', '.join(map(str, out.shape))})" if scalar else None
    if list(place) != sorted(place):
        return TURNED
    gone = [str(dim) for k, dim in enumerate(out.shape) if k not in place]
    return f"along({', '.join(gone)})"


def _label(
    equation: Matmul | Sum, moving: str, table: Mapping[str, Array],
    names: Mapping[sympy.Symbol, Expr],
) -> str:  # fmt: skip
    """A product or a reduction as an operator on one of its operands: the other one, a matrix; or
    all of it, with a dot for what moves."""
    if isinstance(equation, Sum):
        plain = equation.over is Over.SUM and not equation.axes
        return SUM if plain else _dotted(equation, moving, table, names)
    assert equation.layout is not Layout.OUTER
    value = formula(equation, table)
    if isinstance(value, matmul) and moving == equation.right and equation.left != moving:
        turned = isinstance(value.args[0], transpose)
        return equation.left + (".T" if turned else "")
    return _dotted(equation, moving, table, names)


def _dotted(
    equation: Matmul | Sum, moving: str, table: Mapping[str, Array],
    names: Mapping[sympy.Symbol, Expr],
) -> str:  # fmt: skip
    value = formula(equation, table).xreplace({functions.symbol(moving): functions.symbol("·")})
    text = write(value.xreplace(names), TEXT, Order({}))
    return f"({text})" if isinstance(value, matmul) else text


def _written_out(cell: Cell) -> dict[sympy.Symbol, Expr]:
    """Arrays that the author did not name, as expressions of those that he did."""
    own = {*cell.step.defined, *cell.step.program.inputs}
    table = cell.step.program.table()
    found: dict[sympy.Symbol, Expr] = {}
    for equation in cell.step.program.equations:
        if equation.out not in own:
            found[functions.symbol(equation.out)] = formula(equation, table).xreplace(found)
    return found


def _kind(found: Operator, wide: set[Dim], cell: Cell) -> str:
    if not found:
        return "zero"
    if set(found) == {()}:
        return "identity" if found[()] == 1 else "diagonal"
    low = all(_has_low_rank(chain, wide, cell) for chain in found if chain)
    if not low:
        blocks = _block_diagonal(cell)
        inside = all(label in blocks for chain in found for label, _ in chain)
        return "block diagonal" if inside else "dense"
    return "diagonal plus low rank" if () in found else "low rank"


def _has_low_rank(chain: Chain, wide: set[Dim], cell: Cell) -> bool:
    table = cell.step.program.table()
    for label, _ in chain:
        if label == SUM:
            return True
        name = label.removesuffix(".T")
        matrix = name in cell.step.params and len(table[name].shape) == 2
        if matrix and set(table[name].shape) - wide:
            return True
    return False


def _block_diagonal(cell: Cell) -> set[str]:
    """Matrices that are one for each of some leading axes, of heads for example."""
    found = set()
    for equation in cell.step.program.equations:
        if isinstance(equation, Matmul) and equation.layout is Layout.AXES:
            mine, theirs, out = equation.letters()
            if set(mine) & set(theirs) & set(out):
                found |= {equation.left, f"{equation.left}.T"}
    return found


def _term(left: Expr, chain: Chain) -> str:
    parts = [] if left == 1 and chain else [_diagonal(left)]
    for label, inner in chain:
        parts.append("ones @ ones.T" if label == SUM else label)
        if inner != 1:
            parts.append(_diagonal(inner))
    return " @ ".join(parts)


def _diagonal(value: Expr) -> str:
    if value == 1:
        return "identity"
    return f"diag({write(sympy.factor_terms(value), TEXT, Order({}))})"


# --- numbers --------------------------------------------------------------------------------


def measure(
    cell: Cell,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any] | Any,
    state: Mapping[str, Any] | None = None,
) -> Flow:
    """Norms along one sequence. inputs: {name: [T, width]}, or the array of the only input, [width]
    of one that does not change with time; state: {name: [width]}; where left out, zeros, or what
    was learned to start from."""
    whole = _Whole(cell, params, inputs, state)
    step = cell.step
    table, sizes = step.program.table(), whole.sizes
    shapes = [sizes.shape(table[name].shape) for name in step.states]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    units = int(ends[-1])
    now = whole.states
    derivative = forward(step.program, by=step.states, outputs=step.next_states)
    # One row for each unit of the states: its tangent is that unit's.
    seeds = {
        derivative.name(name): np.eye(units)[:, ends[k] : ends[k + 1]].reshape(units, *shapes[k])
        for k, name in enumerate(step.states)
    }
    at = {
        name: np.concatenate([np.arange(ends[k], ends[k + 1]) for k in whole.places(name)])
        for name in cell.states
    }
    steps, products = [], []
    blocks: dict[str, list[float]] = {f"{a}_D_{b}": [] for a in cell.states for b in cell.states}
    total = np.eye(units)
    for t in range(whole.steps):
        here = {**whole.at(t), **now}
        rows = {n: np.broadcast_to(v, (units, *v.shape)) for n, v in here.items()}
        found = interpret(
            derivative.program, {**whole.params, **rows, **seeds}, rows=units, sizes=sizes.dims
        )
        tangents = [found[derivative.name(n)].reshape(units, -1).T for n in step.next_states]
        matrix = np.concatenate(tangents, axis=0)
        total = matrix @ total
        steps.append(_norm(matrix))
        products.append(_norm(total))
        for a in cell.states:
            for b in cell.states:
                blocks[f"{a}_D_{b}"].append(_norm(matrix[np.ix_(at[a], at[b])]))
        now = {
            name: found[after][0] for name, after in zip(step.states, step.next_states, strict=True)
        }
    return Flow(
        cell.name,
        np.array(steps),
        np.array(products),
        {name: np.array(norms) for name, norms in blocks.items()},
    )


class _Whole:
    """One sequence, as a step takes it: arrays in parts."""

    def __init__(self, cell: Cell, params: Any, inputs: Any, state: Any) -> None:
        if not isinstance(cell, Cell):
            raise ArgumentTypeError(f"cell must be a Cell, not {kind_text(cell)}")
        self.cell, self.wholes = cell, cell.checked.wholes
        once = cell.checked.once
        if not isinstance(inputs, Mapping):
            inputs = dict.fromkeys(cell.inputs, inputs)
        x = _arrays(cell, "input", cell.inputs, inputs)
        if not x:
            raise ArgumentError(
                f"{cell.name} has no inputs, so nothing tells how many steps there are"
            )
        for name, value in x.items():
            axes = cell.inputs[name]
            if value.ndim != len(axes) + (name not in once):
                letters = ", ".join((*(() if name in once else ("T",)), *map(str, axes)))
                plain = letters == f"T, {axes[0]}" and len(x) == 1
                raise ArgumentError(
                    "an input of one sequence has shape [T, width]" if plain
                    else f"input {name} of one sequence has shape [{letters}]"
                )  # fmt: skip
        values = _arrays(cell, "parameter", cell.params, params)
        given = {} if state is None else _arrays(cell, "state", cell.states, state, some=True)
        for name, value in (*values.items(), *given.items()):
            axes = cell.params.get(name, cell.states.get(name, ()))
            if value.ndim != len(axes):
                shape = " x ".join(map(str, axes))
                raise ArgumentError(
                    f"{name} of {cell.name} is {shape}", facts=(f"given {shape_text(value.shape)}",)
                )
        self.sizes = Sizes(0, 0, _lengths(cell, values, x, given))
        self.params = self.cut(values)
        self.x = self.cut(x)
        self.once = {part for name in once for part in self.cut({name: x[name]})}
        self.steps = next(len(v) for n, v in self.x.items() if n not in self.once)
        for name, axes in cell.states.items():
            start = cell.checked.learned.get(name)
            zero = np.zeros(self.sizes.shape(axes))
            given.setdefault(name, zero if start is None else zero + values[start])
        self.states = self.cut({name: given[name] for name in cell.states})

    def cut(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        width, found = self.sizes.width, {}
        for name, array in arrays.items():
            for part, bounds in self.wholes.get(name, ((name, ()),)):
                slices = tuple(slice(width(a), width(b)) for a, b in bounds)
                found[part] = array[(..., *slices)] if slices else array
        return found

    def at(self, t: int) -> dict[str, Any]:
        return {n: v if n in self.once else v[t] for n, v in self.x.items()}

    def places(self, state: str) -> list[int]:
        """Which of the step's states a state is made of."""
        parts = [part for part, *_ in self.wholes.get(state, ((state, ()),))]
        return [self.cell.step.states.index(part) for part in parts]


def _arrays(
    cell: Cell, what: str, names: Mapping[str, Any], given: Any, *, some: bool = False
) -> dict[str, Any]:
    """What was given by name, in float64. some: whether names may be left out, or None."""
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(
            f"the {what}s of one sequence are a mapping from names to arrays, not "
            f"{kind_text(given)}"
        )
    left = [name for name in names if given.get(name) is None]
    if strange := [name for name in given if name not in names]:
        raise ArgumentError(
            f"{cell.name} has no {what} {strange[0]!r}",
            facts=(f"it has {', '.join(names) or 'none'}",), hint=closest(strange[0], names),
        )  # fmt: skip
    if left and not some:
        raise ArgumentError(f"{what} {left[0]} of {cell.name} is missing")
    found = {}
    for name in names:
        if name not in left:
            array = to_array(given[name], f"{what} {name}", np.dtype(np.float64))
            found[name] = array.reshape(1) if not array.ndim and names[name] == (1,) else array
    return found


def _norm(matrix: Any) -> float:
    if not np.isfinite(matrix).all():
        return float("inf")
    return float(np.linalg.norm(matrix, 2)) if matrix.size else 0.0


def _lengths(cell: Cell, *groups: Mapping[str, Any]) -> dict[str, int]:
    """Of dimensions, which any array may tell, sums of widths among them."""
    axes = {**cell.params, **cell.inputs, **cell.states}
    told = [
        (name, Width.of(dim), length)
        for group in groups
        for name, value in group.items()
        for dim, length in zip(axes[name], value.shape[value.ndim - len(axes[name]) :], strict=True)
    ]
    sizes: dict[str, int] = {}
    for _ in told:
        for _, width, length in told:
            found = width.solve(length, sizes)
            if found is not None and found[0]:
                sizes[found[0]] = found[1]
    for name, width, length in told:
        if set(width.names()) <= sizes.keys() and width.length(sizes) != length:
            raise ArgumentError(f"{name} of {cell.name} has width {length} for {width}")
    missing = [
        n for shape in cell.states.values() for d in shape for n in Width.of(d).names()
        if n not in sizes
    ]  # fmt: skip
    if missing:
        raise ArgumentError(f"nothing tells the width {missing[0]} of {cell.name}")
    return sizes


def draw(cell: Cell, sizes: Mapping[str, int], steps: int, seed: int = 0) -> tuple[Any, Any]:
    """Parameters as `kernel.init` draws them, and inputs from a normal distribution.

    sizes: {width: length}; widths that the cell does not have do not count."""
    from derive.inspect.facts.cost import widths
    from derive.pipeline import compile as compiled

    if not isinstance(sizes, Mapping):
        raise ArgumentTypeError(
            f"sizes are a mapping from widths to lengths, not {kind_text(sizes)}",
            hint="draw(cell, {'I': 3, 'H': 4}, 5)",
        )
    steps = to_count(steps, "steps", most=MOST)
    kernel = compiled(cell, targets.plain().name, "float64")
    params = kernel.init({name: sizes[name] for name in widths(cell) if name in sizes}, seed=seed)
    random, known = np.random.default_rng(seed), Sizes(1, 1, sizes)
    for name in cell.checked.fixed:  # given, and not drawn by `init`: as matrices are
        shape = known.shape(cell.params[name])
        params[name] = random.uniform(-1, 1, shape) * np.sqrt(6 / max(sum(shape[-2:]), 1))
    once = cell.checked.once
    return params, {
        name: random.normal(size=((steps,) if name not in once else ()) + known.shape(axes))
        for name, axes in cell.inputs.items()
    }


def chrono(
    params: Mapping[str, Any], longest: int, forget: str = "b_f", input_: str = "", seed: int = 0
) -> dict[str, Any]:
    """Chrono initialisation: the forget bias is log of a uniform draw from [1, longest - 1], and
    the input gate's bias, if there is one, its negative. Tallec & Ollivier 2018,
    arXiv 1804.11188, eq. 16."""
    if not isinstance(params, Mapping):
        raise ArgumentTypeError(
            f"params must be a mapping from names to arrays, not {kind_text(params)}"
        )
    for name in (forget, *([input_] if not isinstance(input_, str) or input_ else [])):
        if not isinstance(name, str) or name not in params:
            known = ", ".join(map(str, params))
            raise ArgumentError(f"there is no parameter {name!r}", hint=f"one of {known}")
    if isinstance(longest, bool) or not isinstance(longest, Real) or not 2 <= longest < np.inf:
        raise ArgumentError(
            f"longest is a number of steps from 2 on, not {longest!r}", hint="longest=100"
        )
    random = np.random.default_rng(to_count(seed, "seed"))
    bias = np.log(random.uniform(1, longest - 1, np.shape(params[forget])))
    return {**params, forget: bias, **({input_: -bias} if input_ else {})}
