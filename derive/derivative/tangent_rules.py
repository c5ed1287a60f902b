"""The tangent of an expression of arrays with axes, in the author's words.

In: expressions of a cell without mistakes, and the tangents of its arrays by name.
Out: for each expression, its value and its tangent as expressions; lines that both refer to.
Not here: which arrays move, declarations (tangent_text.py); equations of a Step (rules.py).

| expression                     | its tangent                                                  |
| ------------------------------ | ------------------------------------------------------------ |
| f(u, ...), elementwise         | the slopes of symbolic/functions.py times the tangents       |
| A @ v, outer(u, v), u * v      | the product rule                                             |
| where(c, u, v)                 | where(c, t_u, t_v)                                           |
| sum, mean, cumsum, concat, cut | linear: the same of the tangents                             |
| max(v), min(v)                 | the mean of t_v over the elements that tie                   |
| norm(v) = n                    | where(0 < n, sum(v * t_v) / n, 0)                            |
| softmax(v) = s                 | s * (t_v - sum(s * t_v))                                     |
| logsumexp(v)                   | sum(softmax(v) * t_v)                                        |
| layer_norm(v) = y              | (t_v - mean(t_v) - y * mean(y * t_v)) / deviation            |

A tangent of None is 0. What a tangent needs of a value gets a name, unless it is short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from derive.derivative.tangent_lines import (
    Lines,
    Moved,
    Rule,
    difference,
    negative,
    plus,
    times,
)
from derive.errors import Place
from derive.language import constants, from_sympy, names
from derive.language.axes.shapes import is_diagonal
from derive.language.tree import Binary, Call, Compare, Name, Negative, Node, Number, mapped
from derive.symbolic import functions

_NOWHERE = Place("<tangent>", 1, 1, "")


def rule_of(node: Node) -> Rule:
    if isinstance(node, Call):
        if node.function in functions.OVER_AXES:
            return OF_WHOLE_ARRAYS[node.function]
        return _where if node.function == "where" else _function
    if isinstance(node, Binary):
        return OF_OPERATORS[node.operator]
    return _linear


# --- elementwise ----------------------------------------------------------------------------


def _function(rules: Lines, node: Call, own: Name | None) -> Moved:
    free = node.args[:1] if node.function == "clip" else node.args
    bounds = [constants.evaluate(arg, rules.shapes.scope.consts) for arg in node.args[len(free) :]]
    values = [rules.expression(arg) for arg in free]
    symbols = [functions.symbol(f"u{k}") for k in range(len(free))]
    if node.function == "sqrt":
        expr = symbols[0] ** functions.HALF
    else:
        expr = functions.RULES[node.function].head(*symbols, *bounds)

    def rebuild(args: list[Node]) -> Node:
        return replace(node, args=(*args, *node.args[len(free) :]))

    return rules.applied(values, expr, rebuild, own)


def _power(rules: Lines, node: Binary, own: Name | None) -> Moved:
    exponent = constants.evaluate(node.right, rules.shapes.scope.consts)
    base = rules.expression(node.left)
    expr = functions.symbol("u0") ** exponent
    if not expr.is_Pow:  # v**1, v**0
        return Moved(replace(node, left=base.value), base.tangent if exponent == 1 else None)
    return rules.applied([base], expr, lambda args: replace(node, left=args[0]), own)


def _sum(rules: Lines, node: Binary, own: Name | None) -> Moved:
    left, right = rules.expression(node.left), rules.expression(node.right)
    tangent = left.tangent
    if right.tangent is not None:
        minus = node.operator == "-"
        tangent = plus(tangent, negative(right.tangent) if minus else right.tangent)
    return Moved(replace(node, left=left.value, right=right.value), tangent)


def _times(rules: Lines, node: Binary, own: Name | None) -> Moved:
    left, right = rules.expression(node.left), rules.expression(node.right)
    a = left.value if right.tangent is None else rules.again(left.value)
    b = right.value if left.tangent is None else rules.again(right.value)
    tangent: Node | None = None
    if left.tangent is not None:
        tangent = times(left.tangent, b)
    if right.tangent is not None:
        tangent = plus(tangent, times(a, right.tangent))
    return Moved(replace(node, left=a, right=b), tangent)


def _over(rules: Lines, node: Binary, own: Name | None) -> Moved:
    """(t_a - a / b * t_b) / b"""
    left, right = rules.expression(node.left), rules.expression(node.right)
    a, b = left.value, rules.again(right.value)
    if right.tangent is None:
        over = None if left.tangent is None else Binary("/", left.tangent, b, _NOWHERE)
        return Moved(replace(node, left=a, right=right.value), over)
    quotient: Node = own or Binary("/", rules.again(a), b, _NOWHERE)
    a = a if own else rules.again(a)
    above = plus(left.tangent, negative(times(quotient, right.tangent)))
    return Moved(replace(node, left=a, right=b), _divided(above, b))


def _divided(above: Node, b: Node) -> Node:
    if isinstance(above, Negative):
        return negative(Binary("/", above.operand, b, _NOWHERE))
    return Binary("/", above, b, _NOWHERE)


def _where(rules: Lines, node: Call, own: Name | None) -> Moved:
    condition, *branches = node.args
    assert isinstance(condition, Compare)
    sides = [rules.again(rules.expression(s).value) for s in (condition.left, condition.right)]
    test = replace(condition, left=sides[0], right=sides[1])
    chosen, other = (rules.expression(branch) for branch in branches)
    value = replace(node, args=(test, chosen.value, other.value))
    if chosen.tangent is None and other.tangent is None:
        return Moved(value, None)
    zero = Number("0", _NOWHERE)
    return Moved(value, replace(node, args=(test, chosen.tangent or zero, other.tangent or zero)))


# --- parts, products, whole arrays ----------------------------------------------------------


def _linear(rules: Lines, node: Node, own: Name | None) -> Moved:
    """Negative, transposed, cut: of one operand, elementwise or of its axes."""
    found: list[Moved] = []

    def value(child: Node) -> Node:
        found.append(rules.expression(child))
        return found[0].value

    rebuilt = mapped(node, value)
    (of,) = found
    if of.tangent is None:
        return Moved(rebuilt, None)
    if isinstance(node, Negative):
        return Moved(rebuilt, negative(of.tangent))
    tangent = rules.whole(of)
    return Moved(rebuilt, mapped(node, lambda child: tangent))


def _matrix_product(rules: Lines, node: Binary, own: Name | None) -> Moved:
    left, right = rules.expression(node.left), rules.expression(node.right)
    a = left.value if right.tangent is None else _factor(rules, left.value)
    b = right.value if left.tangent is None else _factor(rules, right.value)
    tangent: Node | None = None
    if left.tangent is not None:
        tangent = replace(node, left=rules.whole(replace(left, value=a)), right=b)
    if right.tangent is not None:
        moved = rules.whole(replace(right, value=b))
        if rules.is_rowwise(b) and not rules.is_rowwise(moved):
            moved = plus(moved, rules.zero(b))  # a product of two shared matrices is none
        tangent = plus(tangent, replace(node, left=a, right=moved))
    return Moved(replace(node, left=a, right=b), tangent)


def _factor(rules: Lines, node: Node) -> Node:
    """What stands on one side of @ in two places. diag(v) stays where it is seen."""
    if is_diagonal(node) and isinstance(node, Call):
        return replace(node, args=(_factor(rules, node.args[0]),))
    return rules.named(node, rules.wanted(node))


def _outer(rules: Lines, node: Call, own: Name | None) -> Moved:
    left, right = (rules.expression(arg) for arg in node.args)
    a = left.value if right.tangent is None else _factor(rules, left.value)
    b = right.value if left.tangent is None else _factor(rules, right.value)
    tangent: Node | None = None
    if left.tangent is not None:
        tangent = replace(node, args=(rules.whole(replace(left, value=a)), b))
    if right.tangent is not None:
        moved = replace(node, args=(a, rules.whole(replace(right, value=b))))
        tangent = plus(tangent, moved)
    return Moved(replace(node, args=(a, b)), tangent)


def _linear_call(rules: Lines, node: Call, own: Name | None) -> Moved:
    """sum, mean, cumsum, concat, diag."""
    found = [rules.expression(arg) for arg in node.args]
    value = replace(node, args=tuple(each.value for each in found))
    if all(each.tangent is None for each in found):
        return Moved(value, None)
    return Moved(value, replace(node, args=tuple(map(rules.whole, found))))


def _fixed(rules: Lines, node: Call, own: Name | None) -> Moved:
    return Moved(node, None)


# --- reductions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A reduction whose argument, result and tangent of the argument have names.

    value: what stands in its place.  y: the name of the result, v: of the argument.
    """

    value: Node
    y: Node
    v: Node
    t: Node

    def over(self, function: str, of: Node, node: Call) -> Call:
        return Call(function, (of,), _NOWHERE, axis=node.axis)


def _reduction(
    rule: Callable[[Lines, Call, _Reduced], Node], *, twice: bool = True
) -> Callable[[Lines, Call, Name | None], Moved]:
    """twice: the rule needs the tangent of the argument in two places."""

    def applied(rules: Lines, node: Call, own: Name | None) -> Moved:
        of = rules.expression(node.args[0])
        if of.tangent is None:
            return Moved(replace(node, args=(of.value,)), None)
        v = rules.named(of.value, rules.wanted(of.value))
        t = rules.whole(Moved(v, of.tangent))
        t = rules.named(t, f"t_{_said(v, rules)}", tangent=True) if twice else t
        value: Node = replace(node, args=(v,))
        y = own or rules.named(value, rules.wanted(value))
        return Moved(value if own else y, rule(rules, node, _Reduced(value, y, v, t)))

    return applied


def _said(node: Node, rules: Lines) -> str:
    return node.name if isinstance(node, Name) else f"in_{rules.target.removesuffix(names.NEXT)}"


def _of_extreme(rules: Lines, node: Call, of: _Reduced) -> Node:
    test = Compare("==", of.v, rules.spread(of.y, of.v), _NOWHERE)
    zero, one = Number("0", _NOWHERE), Number("1", _NOWHERE)
    total = of.over("sum", Call("where", (test, of.t, zero), _NOWHERE), node)
    ties = of.over("sum", Call("where", (test, one, zero), _NOWHERE), node)
    return Binary("/", total, ties, _NOWHERE)


def _of_norm(rules: Lines, node: Call, of: _Reduced) -> Node:
    slope = Binary("/", of.over("sum", times(of.v, of.t), node), of.y, _NOWHERE)
    zero = Number("0", _NOWHERE)
    return Call("where", (Compare("<", zero, of.y, _NOWHERE), slope, zero), _NOWHERE)


def _of_logsumexp(rules: Lines, node: Call, of: _Reduced) -> Node:
    weights = replace(node, function="softmax", args=(of.v,))
    return of.over("sum", times(weights, of.t), node)


def _of_softmax(rules: Lines, node: Call, of: _Reduced) -> Node:
    mean = of.over("sum", times(of.y, of.t), node)
    if rules.lies(mean, of.v):
        return times(of.y, difference(of.t, mean))
    return difference(times(of.y, of.t), rules.scaled(of.y, mean))


def _of_layer_norm(rules: Lines, node: Call, of: _Reduced) -> Node:
    epsilon = node.eps or from_sympy.read(functions.LAYER_NORM_EPSILON)
    said = _said(of.v, rules)
    mean = rules.named(of.over("mean", of.v, node), f"mean_{said}")
    centred = rules.named(difference(of.v, rules.spread(mean, of.v)), f"centred_{said}")
    square = Binary("**", centred, Number("2", _NOWHERE), _NOWHERE)
    variance = plus(of.over("mean", square, node), epsilon)
    deviation = rules.named(Call("sqrt", (variance,), _NOWHERE), f"deviation_{said}")
    down = rules.spread(of.over("mean", of.t, node), of.v)
    along = of.over("mean", times(of.y, of.t), node)
    above = difference(difference(of.t, down), rules.scaled(of.y, along))
    if rules.lies(deviation, of.v):
        return Binary("/", above, deviation, _NOWHERE)
    return rules.scaled(above, Binary("/", Number("1", _NOWHERE), deviation, _NOWHERE))


OF_OPERATORS: Mapping[str, Rule] = {
    "+": _sum, "-": _sum, "*": _times, "/": _over, "@": _matrix_product, "**": _power,
}  # fmt: skip

#: One rule for each function of functions.OVER_AXES; `split` stands for its parts.
OF_WHOLE_ARRAYS: Mapping[str, Rule] = {
    "sum": _linear_call,
    "mean": _linear_call,
    "cumsum": _linear_call,
    "concat": _linear_call,
    "diag": _linear_call,
    "split": _linear,
    "eye": _fixed,
    "outer": _outer,
    "max": _reduction(_of_extreme),
    "min": _reduction(_of_extreme),
    "norm": _reduction(_of_norm, twice=False),
    "logsumexp": _reduction(_of_logsumexp, twice=False),
    "softmax": _reduction(_of_softmax),
    "layer_norm": _reduction(_of_layer_norm),
}
