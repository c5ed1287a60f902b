"""Arrays of which both passes must see the same bits, because they are compared with each other.

In: the reverse Program of a step.  Out: names of forward arrays; the Program with
one name for each of them.
Not here: what is kept so that both passes see them (save_or_recompute.py).

An elementwise line that is computed twice may be rounded twice, each time otherwise: a compiler
contracts `a * b + c` in one place and not in the other. Nearly always that is one rounding more or
less. It is not where a result depends on two arrays being exactly equal, as the largest element is
to the maximum: the gradient of `m = max(a)` goes to the elements with `a == m`, and if `a` has been
computed once more there may be none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import sympy

from derive.program import Equation, Map, Over, Program, Sum, placed
from derive.program.program import names_in
from derive.symbolic import functions

_EQUALITIES = (functions.equal, functions.not_equal)
_ORDERS = (functions.less, functions.less_equal)


def compared(program: Program, forward: Collection[str]) -> frozenset[str]:
    """Operands of `==` and `!=` in what the cell says, and of every comparison with a maximum or
    with a sum of one.

    forward: names of the arrays of the forward pass.  A plain copy, or one with the other sign, is
    exact: the array that it is a copy of takes its place.
    """
    definitions = program.definitions()
    maxima = _maxima(program.equations)
    found: set[str] = set()
    for equation in program.equations:
        if not isinstance(equation, Map):
            continue
        for node in sympy.preorder_traversal(equation.expr):
            if not isinstance(node, (*_EQUALITIES, *_ORDERS)):
                continue
            names = set(names_in(node))
            said = equation.out in forward and isinstance(node, _EQUALITIES)
            if said or names & maxima:
                found |= names & set(forward)
    return frozenset(_copied(name, definitions) for name in found)


def read_exactly(works: Iterable[object]) -> frozenset[str]:
    """Arrays of a phase of which all readers must see the same bits: operands of `==` and `!=`, and
    what is compared with its maximum."""
    works = list(works)
    expressions = [work.expr for work in works if isinstance(work, Map)]
    nodes = [node for expr in expressions for node in expr.atoms(*_EQUALITIES)]
    return maximised(works).union(*map(names_in, nodes))


def maximised(equations: Iterable[object]) -> frozenset[str]:
    """Arrays whose maximum is taken."""
    return frozenset(e.source for e in equations if isinstance(e, Sum) and e.over is Over.MAX)


def maximised_by_name(program: Program) -> Program:
    """`p * g - max(p * g)` as `a - max(a)`: then it is 0 at the largest element, however the
    compiler rounds `p * g - m`."""
    table, definitions = program.table(), program.definitions()
    sources = [definitions.get(name) for name in sorted(maximised(program.equations))]
    changed: list[Equation] = []
    known: list[Map] = []
    for equation in program.equations:
        for source in known if isinstance(equation, Map) else ():
            assert isinstance(equation, Map)
            alike = table[source.out].shape == table[equation.out].shape
            if alike and all(equation.place(n) == source.place(n) for n in source.operands):
                expr = equation.expr.xreplace({source.expr: functions.symbol(source.out)})
                equation = placed(equation.out, expr, equation.places)
        changed.append(equation)
        if equation in sources and isinstance(equation, Map) and not _is_copy(equation.expr):
            known.append(equation)
    return replace(program, equations=tuple(changed))


def _is_copy(expr: functions.Expr) -> bool:
    return bool(expr.is_Symbol or (-expr).is_Symbol)


def _maxima(equations: Collection[Equation]) -> frozenset[str]:
    """Maxima, and what differs from one by sums and products: `a - max(a)` is 0 somewhere."""
    found: set[str] = set()
    for equation in equations:
        if isinstance(equation, Sum) and equation.over is Over.MAX:
            found.add(equation.out)
        elif isinstance(equation, Map) and found.intersection(equation.operands):
            nodes = sympy.preorder_traversal(equation.expr)
            if all(n.is_Symbol or n.is_number or n.is_Add or n.is_Mul or _stops(n) for n in nodes):
                found.add(equation.out)
    return frozenset(found)


def _stops(node: sympy.Basic) -> bool:
    return isinstance(node, functions.stop_gradient)


def _copied(name: str, definitions: dict[str, Equation]) -> str:
    """What an array is a copy of, or the negative of; itself where it is computed."""
    equation = definitions.get(name)
    while isinstance(equation, Map) and not equation.places:
        expr = equation.expr
        source = expr if expr.is_Symbol else -expr
        if not _is_copy(expr) or functions.is_size(source):
            break
        name = source.name
        equation = definitions.get(name)
    return name
