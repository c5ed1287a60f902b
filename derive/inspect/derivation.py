"""Cell and Gradient -> the lines of a derivation as a person would write it down.

In: a Cell and its Gradient.  Out: a `Derivation`: the cell's equations, the cotangents that
come from outside, what is abbreviated, and the gradient, all as SymPy equations with the order
in which each line reads best.
Not here: how a line is printed (notation.py).

`Gradient.equations` has a line for every array, those that the author never named included.
Of those only what is used more than once keeps a line here; the rest is written out in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sympy

from derive import formulas, scalar
from derive.cell import Cell
from derive.differentiate import Gradient
from derive.inspect.notation import Order, order_in
from derive.language import symbols
from derive.program import Array
from derive.scalar import Expr

#: An expression of more operations than this keeps a line of its own.
_SHORT = 6
#: The operations of a function and its argument, sigmoid(a - 1), that need no name.
_ONE_CALL = 2


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    value: Expr
    order: Order


@dataclass(frozen=True, slots=True)
class Seed:
    """A cotangent that comes from outside the step."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """`where` defines what the gradient refers to and the author did not name."""

    equations: tuple[Line, ...]
    seeds: tuple[Seed, ...]
    where: tuple[Line, ...]
    gradient: tuple[Line, ...]


def derivation(cell: Cell, gradient: Gradient) -> Derivation:
    own = {*cell.inputs, *cell.states, *cell.params, *_defined(cell)}
    table = gradient.program.table()
    reading = _reading_order(gradient)
    forward = {e.lhs.name: e.rhs for e in gradient.forward}
    helpers = {name: value for name, value in forward.items() if name not in own}
    lines = _without_asides(gradient, set(helpers), table)
    written = _written_out(helpers, table)
    lines = {name: value.xreplace(written) for name, value in lines.items()}
    of = {name: array for array, name in gradient.derivative.of}
    where = _needed(
        {of[name] for name in lines}.union(*map(_names, lines.values())),
        {name: value.xreplace(written) for name, value in helpers.items()},
    )
    as_written = order_in(cell.to_text())
    return Derivation(
        equations=_equations(cell),
        seeds=_seeds(gradient, cell),
        where=tuple(Line(n, v, as_written) for n, v in where.items()),
        gradient=tuple(Line(n, lines[n], reading) for n in _params_last(gradient, lines)),
    )


def _defined(cell: Cell) -> Iterator[str]:
    return (equation.lhs.name for equation in cell.equations)


def _equations(cell: Cell) -> tuple[Line, ...]:
    orders = {}
    for text in cell.to_text().splitlines():
        name, sign, value = text.partition(" = ")
        if sign and len(name.split()) == 1:
            orders[name.strip().replace("'", "_next")] = order_in(value)
    return tuple(
        Line(e.lhs.name, e.rhs, orders.get(e.lhs.name, order_in(""))) for e in cell.equations
    )


def _seeds(gradient: Gradient, cell: Cell) -> tuple[Seed, ...]:
    step = gradient.step
    from_outside = (
        Seed(name, f"d loss / d {key}, from outside")
        for name, key in zip(gradient.output_seeds, cell.output_keys, strict=True)
    )
    carried = (
        Seed(name, f"d_{state} of the step after this one; at the last step from outside")
        for name, state in zip(gradient.state_seeds, step.states, strict=True)
    )
    return (*from_outside, *carried)


def _reading_order(gradient: Gradient) -> Order:
    """Cotangents first, then what the author defined, then states, inputs and parameters."""
    primal = gradient.step.program
    known = {array.name for array in primal.arrays}
    names = [array.name for array in gradient.program.arrays if array.name not in known]
    names += [equation.out for equation in primal.equations]
    names += reversed(primal.inputs)
    places = {name: k for k, name in reversed(list(enumerate(names)))}
    return Order(places, names_first=True)


def _params_last(gradient: Gradient, lines: Mapping[str, Expr]) -> list[str]:
    """Line names in order; states, inputs and parameters at the end, as declared."""
    ends = (*gradient.d_states, *gradient.d_inputs, *gradient.d_params)
    return [n for n in lines if n not in ends] + [n for n in ends if n in lines]


def _without_asides(
    gradient: Gradient, helpers: set[str], table: Mapping[str, Array]
) -> dict[str, Expr]:
    """The gradient's lines, less those of helpers that say nothing or are used once."""
    of = {name: array for array, name in gradient.derivative.of}
    lines = {e.lhs.name: e.rhs for e in gradient.equations}
    kept: dict[str, Expr] = {}
    aside: dict[sympy.Symbol, Expr] = {}
    for name, value in lines.items():
        symbol = scalar.symbol(name)
        uses = sum(_count(other, symbol) for other in lines.values())
        value = value.xreplace(aside)
        is_helper = of[name] in helpers
        if is_helper and (uses == 0 or value == 0):
            continue
        if is_helper and uses == 1 and _fits_in_place(value, name, table):
            aside[symbol] = value
        else:
            kept[name] = value
    return kept


def _written_out(
    helpers: Mapping[str, Expr], table: Mapping[str, Array]
) -> dict[sympy.Symbol, Expr]:
    """Helpers that are one function of what the author named: tanh(c_next), sigmoid(a - 1)."""
    found: dict[sympy.Symbol, Expr] = {}
    arguments: dict[sympy.Symbol, Expr] = {}
    for name, value in helpers.items():
        value = value.xreplace(arguments)
        if _names(value) & set(helpers) or not _fits_in_place(value, name, table):
            continue
        if value.is_Function and not isinstance(value, scalar.where):
            if value.count_ops() <= _ONE_CALL:
                found[scalar.symbol(name)] = value
        elif value.count_ops() < _ONE_CALL:
            arguments[scalar.symbol(name)] = value
    return found


def _needed(wanted: set[str], helpers: Mapping[str, Expr]) -> dict[str, Expr]:
    """The helpers among `wanted`, and those that these refer to, in their own order."""
    found: dict[str, Expr] = {}
    for name in reversed(tuple(helpers)):
        value = helpers[name]
        if name in wanted:
            found[name] = value
            wanted |= _names(value)
    return {name: found[name] for name in reversed(tuple(found))}


def _names(value: Expr) -> set[str]:
    return {symbol.name for symbol in value.free_symbols}


def _count(value: Expr, symbol: sympy.Symbol) -> int:
    return sum(node == symbol for node in sympy.preorder_traversal(value))


def _fits_in_place(value: Expr, name: str, table: Mapping[str, Array]) -> bool:
    """Whether `value` is short and, written in place of `name`, has its shape by itself."""
    if value.count_ops() > _SHORT:
        return False
    if isinstance(value, symbols.matmul):
        return True
    wanted = table[name]
    return any(
        table[symbol.name].shape == wanted.shape and table[symbol.name].per_row == wanted.per_row
        for symbol in _elementwise(value)
        if not scalar.is_size(symbol)
    )


def _elementwise(value: Expr) -> Iterator[sympy.Symbol]:
    """The symbols of an expression that are not inside a product or a sum over an axis."""
    if isinstance(value, sympy.Symbol):
        yield value
    elif not isinstance(
        value, (symbols.matmul, symbols.total, symbols.mean, formulas.outer, formulas.sum_rows)
    ):
        for arg in value.args:
            yield from _elementwise(arg)
