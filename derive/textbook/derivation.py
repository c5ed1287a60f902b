"""Cell and Gradient -> the lines of a derivation as a person would write it down.

In: a Gradient, and its Cell where that is known.  Out: a `Derivation`: the cell's equations, the
cotangents that come from outside, what is abbreviated, and the gradient, all as SymPy equations
with the order in which each line reads best.
Not here: how a line is printed (notation.py).

`Gradient.equations` has a line for every array, those that the author never named included.
Of those only what is used more than once keeps a line here; the rest is written out in place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import sympy

from derive.cell import Cell
from derive.derivative import Gradient
from derive.program import Array, Program, formulas
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.textbook.form import Tidy, elementwise, fits, fits_within
from derive.textbook.notation import Order, order_in

#: An expression of more operations than this keeps a line of its own.
_SHORT = 6
#: An expression of no more operations, over one array, is written out more than once.
_SCALED = 2
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

    @property
    def orders(self) -> dict[str, Order]:
        """{array of the forward pass that has a line: the order in which its line reads}."""
        return {line.name: line.order for line in (*self.equations, *self.where)}

    @property
    def reading(self) -> Order:
        """The order of every line of the gradient."""
        return self.gradient[0].order if self.gradient else Order({})


def derivation(gradient: Gradient, cell: Cell | None = None) -> Derivation:
    """Without the cell, equations are put together again, in the order of declarations."""
    step = gradient.step
    own = {*step.inputs, *step.states, *step.params, *step.defined}
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
    as_written = order_in(cell.to_text()) if cell else _declared(gradient)
    equations = _equations(cell) if cell else _from_program(gradient, helpers, as_written)
    orders = {line.name: line.order for line in equations}
    owner = owners(step.program, orders)
    tidy = tidy_for(gradient)
    where = {n: tidy(v) for n, v in _once_used(where, lines, of, table).items()}
    named = {v: n for n, v in reversed(lines.items()) if v.args and table[n].per_row}
    return Derivation(
        equations=equations,
        seeds=_seeds(gradient, cell.output_keys if cell else step.outputs),
        where=tuple(Line(n, v, orders.get(owner.get(n, ""), as_written)) for n, v in where.items()),
        gradient=tuple(
            Line(n, tidy(_summed_by_name(lines[n], named)), reading)
            for n in _params_last(gradient, lines)
        ),
    )


def owners(program: Program, named: Collection[str]) -> dict[str, str]:
    """Array -> the named array that it is part of: one that it leads to without another."""
    owner = {name: name for name in named}
    for equation in reversed(program.equations):
        for name in equation.operands:
            if name not in named and equation.out in owner:
                owner[name] = owner[equation.out]
    return owner


def tidy_for(gradient: Gradient) -> Tidy:
    """What makes a formula of this gradient read like those of its cell."""
    written = [line.rhs for line in gradient.forward]
    return Tidy(written, gradient.program.table())


def _summed_by_name(value: Expr, named: Mapping[Expr, str]) -> Expr:
    """What is summed over the rows, under its name where it has a line."""

    def by_name(node: Expr) -> Expr:
        inner = cast(Expr, node.args[0])
        return cast(Expr, node.func(functions.symbol(named[inner]) if inner in named else inner))

    return cast(Expr, value.replace(lambda node: isinstance(node, formulas.sum_rows), by_name))


def _once_used(
    where: Mapping[str, Expr],
    lines: Mapping[str, Expr],
    of: Mapping[str, str],
    table: Mapping[str, Array],
) -> dict[str, Expr]:
    """Without what only one other abbreviation refers to."""
    shown = {of[name] for name in lines}
    found = dict(where)
    for name, value in where.items():
        symbol = functions.symbol(name)
        users = [other for other, v in found.items() if _count(v, symbol)]
        read = sum(_count(v, symbol) for v in (*found.values(), *lines.values()))
        if name in shown or read != 1 or not users or value.count_ops() > _SHORT:
            continue
        (user,) = users
        value = found[name]
        narrow = not fits(value, table[name], table)
        if narrow and not fits_within(found[user], name, table, table[user]):
            continue
        found[user] = found[user].xreplace({symbol: value})
        del found[name]
    return found


def _from_program(
    gradient: Gradient, helpers: Mapping[str, Expr], order: Order
) -> tuple[Line, ...]:
    """The author's equations, put together again."""
    lines = formulas.formulas(gradient.step.program, expand=helpers)
    return tuple(Line(e.lhs.name, e.rhs, order) for e in lines)


def _declared(gradient: Gradient) -> Order:
    """Parameters, what is defined, inputs and states: W x + U h + b, and i g + f c."""
    step = gradient.step
    defined = (equation.out for equation in step.program.equations)
    names = (*step.params, *defined, *step.inputs, *step.states)
    return Order({name: k for k, name in enumerate(names)})


def _equations(cell: Cell) -> tuple[Line, ...]:
    orders = {}
    for text in cell.to_text().splitlines():
        name, sign, value = text.partition(" = ")
        if sign and len(name.split()) == 1:
            orders[name.strip().replace("'", "_next")] = order_in(value)
    return tuple(
        Line(e.lhs.name, e.rhs, orders.get(e.lhs.name, order_in(""))) for e in cell.equations
    )


def _seeds(gradient: Gradient, keys: tuple[str, ...]) -> tuple[Seed, ...]:
    step = gradient.step
    from_outside = (
        Seed(name, f"d loss / d {key}, from outside")
        for name, key in zip(gradient.output_seeds, keys, strict=True)
    )
    carried = (
        Seed(name, f"d_{state} of the step after this one; at the last step from outside")
        for name, state in zip(gradient.state_seeds, step.states, strict=True)
    )
    return (*from_outside, *carried)


def _reading_order(gradient: Gradient) -> Order:
    """Cotangents first, from the loss on: by how many equations lie between, then as the forward
    pass has them. Then the forward pass from its first line, then states, inputs, parameters."""
    primal = gradient.step.program
    known = {array.name for array in primal.arrays}
    forward = [*primal.inputs, *(equation.out for equation in primal.equations)]
    rank = {gradient.derivative.name(name): k for k, name in enumerate(forward)}
    away: dict[str, int] = dict.fromkeys(known, -1)
    for equation in gradient.program.equations:
        if equation.out not in known:
            away[equation.out] = 1 + max((away.get(n, 0) for n in equation.operands), default=0)
    given = (*gradient.output_seeds, *gradient.state_seeds)
    cotangents = sorted(
        (array.name for array in gradient.program.arrays if array.name not in {*known, *given}),
        key=lambda name: (away[name], rank.get(name, -1)),
    )
    names = (*given, *cotangents, *(e.out for e in primal.equations), *reversed(primal.inputs))
    return Order({name: k for k, name in enumerate(names)}, names_first=True, products=rank)


def _params_last(gradient: Gradient, lines: Mapping[str, Expr]) -> list[str]:
    """Line names in order; states, inputs and parameters at the end, as declared."""
    ends = (*gradient.d_states, *gradient.d_inputs, *gradient.d_params)
    return [n for n in lines if n not in ends] + [n for n in ends if n in lines]


def _without_asides(
    gradient: Gradient, helpers: set[str], table: Mapping[str, Array]
) -> dict[str, Expr]:
    """The gradient's lines, less those of helpers that say nothing or are used once."""
    of = {name: array for array, name in gradient.derivative.of}
    lines = _named_by_author(gradient, helpers, of, table)
    kept: dict[str, Expr] = {}
    aside: dict[sympy.Symbol, Expr] = {}
    for name, value in lines.items():
        symbol = functions.symbol(name)
        users = {other: v for other, v in lines.items() if _count(v, symbol)}
        uses = sum(_count(v, symbol) for v in users.values())
        value = value.xreplace(aside)
        is_helper = of[name] in helpers
        if is_helper and (uses == 0 or value == 0):
            continue
        short = value.count_ops() <= (_SHORT if uses == 1 else _SCALED)
        alone = uses == 1 or len(set(elementwise(value))) == 1
        in_place = fits(value, table[name], table) or all(
            fits_within(v.xreplace(aside), name, table, table[other]) for other, v in users.items()
        )
        if is_helper and short and alone and in_place:
            aside[symbol] = value
        else:
            kept[name] = value
    return kept


def _named_by_author(
    gradient: Gradient, helpers: set[str], of: Mapping[str, str], table: Mapping[str, Array]
) -> dict[str, Expr]:
    """Where a line only repeats the cotangent of a helper, it takes the helper's place; but for
    states, inputs and parameters, which stand at the end."""
    lines = {e.lhs.name: e.rhs for e in gradient.equations}
    ends = {*gradient.d_states, *gradient.d_inputs, *gradient.d_params}
    new: dict[str, str] = {}
    for name, value in lines.items():
        source = value.name if isinstance(value, sympy.Symbol) else ""
        repeats = source in lines and of[source] in helpers and source not in new
        by_author = of[name] not in helpers and name not in ends
        if repeats and by_author and formulas.repeats(value, name, table):
            new[source] = name
    swap = {functions.symbol(source): functions.symbol(name) for source, name in new.items()}
    return {
        new.get(name, name): value.xreplace(swap)
        for name, value in lines.items()
        if name not in new.values()
    }


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
        if value.is_Function and not isinstance(value, functions.where):
            if value.count_ops() <= _ONE_CALL:
                found[functions.symbol(name)] = value
        elif value.count_ops() < _ONE_CALL:
            arguments[functions.symbol(name)] = value
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
    return value.count_ops() <= _SHORT and fits(value, table[name], table)
