"""How gradients flow through a cell: the Jacobian of one step, symbolic and in numbers.

In: a Cell; for numbers also parameters and inputs.  Out: `Block`s, one for each pair of states;
`Flow`, the norms of the Jacobians and of their products over time.
Not here: the gradient itself (derivative/), tables and plots (cli/flow.py).

Block c_D_h is d c' / d h. Every block is a sum of terms; a term is a chain of diagonal
matrices and parameters: diag(c * f * (1 - f)) @ U_f.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from derive import pipeline, targets
from derive.cell import Cell
from derive.derivative import forward
from derive.errors import ArgumentError
from derive.program import Layout, Map, Matmul, interpret
from derive.program.formulas import formula
from derive.program.program import Dim
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.textbook.notation import TEXT, Order, write

#: One factor of a chain: a matrix, or "sum", and the diagonal to its right.
Link = tuple[str, Expr]
Chain = tuple[Link, ...]
#: What a tangent is: for each chain, the diagonal to its left.
Operator = Mapping[Chain, Expr]

SUM = "sum"


@dataclass(frozen=True, slots=True)
class Block:
    """d result' / d argument. kind: zero, identity, diagonal, low rank, diagonal plus low rank
    or dense. A chain through a width that no state has, or through a sum over the width,
    has low rank."""

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
    cell = pipeline.of_vectors(cell, "derive flow")
    names = _written_out(cell)
    blocks = []
    wide = {width for (width,) in cell.states.values()}
    for argument in cell.step.states:
        tangents = _tangents(cell, argument)
        for result, after in zip(cell.step.states, cell.step.next_states, strict=True):
            found = {
                tuple((m, c.xreplace(names)) for m, c in chain): left.xreplace(names)
                for chain, left in tangents.get(after, {}).items()
                if left != 0
            }
            terms = tuple(_term(left, chain) for chain, left in found.items())
            blocks.append(Block(result, argument, _kind(found, wide, cell), terms))
    return tuple(sorted(blocks, key=lambda b: cell.step.states.index(b.result)))


def _tangents(cell: Cell, argument: str) -> dict[str, Operator]:
    """The tangent of every array as an operator on that of `argument`."""
    known: dict[str, Operator] = {argument: {(): functions.ONE}}
    for equation in cell.step.program.equations:
        total: dict[Chain, Expr] = {}
        for name in dict.fromkeys(equation.operands):
            for chain, left in known.get(name, {}).items():
                if isinstance(equation, Map):
                    by, out = functions.symbol(name), functions.symbol(equation.out)
                    whole = equation.expr.is_Function or equation.expr.is_Pow
                    slope = functions.partial(equation.expr, by, out if whole else None)
                    total[chain] = total.get(chain, functions.ZERO) + slope * left
                else:
                    label = SUM
                    if isinstance(equation, Matmul):
                        assert equation.layout is not Layout.OUTER
                        turned = equation.layout is Layout.TRANSPOSED
                        label = equation.left + (".T" if turned else "")
                    total[((label, left), *chain)] = functions.ONE
        total = {chain: left for chain, left in total.items() if left != 0}
        if total:
            known[equation.out] = total
    return known


def _written_out(cell: Cell) -> dict[sympy.Symbol, Expr]:
    """Arrays that the author did not name, as expressions of those that he did."""
    own = {e.lhs.name for e in cell.equations} | set(cell.step.program.inputs)
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
        return "dense"
    return "diagonal plus low rank" if () in found else "low rank"


def _has_low_rank(chain: Chain, wide: set[Dim], cell: Cell) -> bool:
    for label, _ in chain:
        if label == SUM:
            return True
        if set(cell.params[label.removesuffix(".T")]) - wide:
            return True
    return False


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
    """Norms along one sequence. inputs: {name: [T, width]}, or the array of the only input;
    state: {name: [width]}, zeros where left out."""
    cell = pipeline.of_vectors(cell, "derive flow")
    if not isinstance(inputs, Mapping):
        inputs = dict.fromkeys(cell.inputs, inputs)
    x = {name: np.asarray(inputs[name], dtype=float) for name in cell.inputs}
    if not x:
        raise ArgumentError(f"{cell.name} has no inputs, so nothing tells how many steps there are")
    if any(value.ndim != 2 for value in x.values()):
        raise ArgumentError("an input of one sequence has shape [T, width]")
    values = {name: np.asarray(params[name], dtype=float) for name in cell.params}
    sizes = _lengths(cell, values, x)
    widths = [sizes[d] if isinstance(d, str) else d for (d,) in cell.states.values()]
    ends = np.cumsum([0, *widths])
    units = int(ends[-1])
    now = {
        name: np.asarray((state or {}).get(name, np.zeros(width)), dtype=float)
        for name, width in zip(cell.states, widths, strict=True)
    }
    derivative = forward(cell.step.program, by=cell.step.states, outputs=cell.step.next_states)
    # One row for each unit of the states: its tangent is that unit's.
    seeds = {
        derivative.name(name): np.eye(units)[:, ends[k] : ends[k + 1]]
        for k, name in enumerate(cell.states)
    }
    steps, products = [], []
    blocks: dict[str, list[float]] = {f"{a}_D_{b}": [] for a in cell.states for b in cell.states}
    total = np.eye(units)
    for t in range(len(next(iter(x.values())))):
        rows = {n: np.tile(v[t], (units, 1)) for n, v in x.items()}
        rows |= {n: np.tile(v, (units, 1)) for n, v in now.items()}
        found = interpret(derivative.program, {**values, **rows, **seeds}, rows=units, sizes=sizes)
        matrix = np.concatenate(
            [found[derivative.name(n)].T for n in cell.step.next_states], axis=0
        )
        total = matrix @ total
        steps.append(_norm(matrix))
        products.append(_norm(total))
        for i, a in enumerate(cell.states):
            for j, b in enumerate(cell.states):
                part = matrix[ends[i] : ends[i + 1], ends[j] : ends[j + 1]]
                blocks[f"{a}_D_{b}"].append(_norm(part))
        now = {
            name: found[after][0]
            for name, after in zip(cell.states, cell.step.next_states, strict=True)
        }
    return Flow(
        cell.name,
        np.array(steps),
        np.array(products),
        {name: np.array(norms) for name, norms in blocks.items()},
    )


def _norm(matrix: Any) -> float:
    if not np.isfinite(matrix).all():
        return float("inf")
    return float(np.linalg.norm(matrix, 2)) if matrix.size else 0.0


def _lengths(cell: Cell, *groups: Mapping[str, Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for group in groups:
        for name, value in group.items():
            shape = cell.params.get(name) or cell.inputs[name]
            for dim, length in zip(shape, value.shape[-len(shape) :], strict=True):
                if isinstance(dim, str) and sizes.setdefault(dim, length) != length:
                    raise ArgumentError(f"{name} of {cell.name} has width {length} for {dim}")
    missing = [d for (d,) in cell.states.values() if isinstance(d, str) and d not in sizes]
    if missing:
        raise ArgumentError(f"nothing tells the width {missing[0]} of {cell.name}")
    return sizes


def draw(cell: Cell, sizes: Mapping[str, int], steps: int, seed: int = 0) -> tuple[Any, Any]:
    """Parameters as `kernel.init` draws them, and inputs from a normal distribution.

    sizes: {width: length}; widths that the cell does not have do not count."""
    from derive.inspect.facts.cost import widths
    from derive.pipeline import compile as compiled

    kernel = compiled(cell, targets.plain().name, "float64")
    params = kernel.init({name: sizes[name] for name in widths(cell) if name in sizes}, seed=seed)
    random = np.random.default_rng(seed)
    lengths = {name: sizes[w] if isinstance(w, str) else w for name, (w,) in cell.inputs.items()}
    return params, {name: random.normal(size=(steps, n)) for name, n in lengths.items()}


def chrono(
    params: Mapping[str, Any], longest: int, forget: str = "b_f", input_: str = "", seed: int = 0
) -> dict[str, Any]:
    """Chrono initialisation: the forget bias is log of a uniform draw from [1, longest - 1], and
    the input gate's bias, if there is one, its negative. Tallec & Ollivier 2018,
    arXiv 1804.11188, eq. 16."""
    if forget not in params:
        raise ArgumentError(f"there is no parameter '{forget}'", hint=f"one of {', '.join(params)}")
    bias = np.log(np.random.default_rng(seed).uniform(1, longest - 1, np.shape(params[forget])))
    return {**params, forget: bias, **({input_: -bias} if input_ else {})}
