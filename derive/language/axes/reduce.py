"""Reductions along an axis, and what is made of them: softmax, norms, normalised arrays.

In: a call of a reduction.  Out: a Value.
Not here: products (multiply.py), elementwise functions (lower.py).

The largest element is subtracted before an exponential, without a gradient of its own: then
logsumexp and softmax do not overflow, and all their derivatives are right, since neither depends
on what is subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import sympy

from derive.language.axes.values import Index, Part, Place, Value, indices, number, symbol
from derive.language.constants import evaluate
from derive.language.tree import Call
from derive.program import Over, Sum
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.widths import Dim

if TYPE_CHECKING:
    from derive.language.axes.lower import Lines

_WORDS = {Over.SUM: "sum", Over.MAX: "max", Over.CUMSUM: "cumsum"}


class _Along:
    """The argument of a reduction as arrays, and its axis."""

    def __init__(self, lines: Lines, node: Call) -> None:
        self.lines = lines
        self.node = node
        self.axis = lines.shapes.axis(node, lines.shape(node.args[0]))
        word = f"{node.function}_arg"
        self.value = lines.arrays_of(lines.value(node.args[0]), f"{word}_{lines.target}")
        first = str(next(iter(self.value.parts.values())).expr)
        self.of = lines.target if first in lines.unnamed else first

    @property
    def axes(self) -> tuple[tuple[Dim, ...], ...]:
        return self.value.axes

    @property
    def kept(self) -> tuple[tuple[Dim, ...], ...]:
        """The axes that the reduction leaves."""
        return (*self.axes[: self.axis], *self.axes[self.axis + 1 :]) or ((1,),)

    @property
    def lies(self) -> Place | None:
        """Where the axes that the reduction leaves lie among those of the argument."""
        rank = len(self.axes)
        return None if rank == 1 else tuple(k for k in range(rank) if k != self.axis)

    @property
    def length(self) -> Expr:
        return cast(Expr, sympy.Add(*map(functions.size, self.axes[self.axis])))

    def is_number(self) -> bool:
        """Whether there is nothing to reduce: a vector of one element."""
        return self.axes == ((1,),)

    # --- what equations are made of ---------------------------------------------------------

    def reduced(self, over: Over, value: Value, own: str | None = None) -> Value:
        """A sum, or the largest element, along the axis."""
        parts: dict[Index, Part] = {}
        single = len(self.axes[self.axis]) == 1
        for index in indices(self.kept):
            around = index if len(self.axes) > 1 else ()
            terms = []
            for k in range(len(self.axes[self.axis])):
                at = (*around[: self.axis], k, *around[self.axis :])
                terms.append(self.one(over, value, at, own if single else None))
            parts[index] = terms[0]
            for term in terms[1:]:
                combine = functions.maximum if over is Over.MAX else sympy.Add
                parts[index] = Part(cast(Expr, combine(parts[index].expr, term.expr)))
        return Value(self.kept, parts)

    def one(self, over: Over, value: Value, at: Index, own: str | None) -> Part:
        shape = value.shape(at)
        lines, word = self.lines, _WORDS[over]
        source = lines.array(value.parts[at], shape, f"{word}_arg_{lines.target}")
        array = lines.arrays[source]
        if shape == (1,):
            return symbol(source)
        out = (*shape[: self.axis], *shape[self.axis + 1 :]) or (1,)
        plain = len(shape) == 1
        axes = () if plain else (self.axis,)

        def equation(name: str) -> Sum:
            return Sum(name, source, over, axes)

        return lines.computed(equation, out, array.per_row, f"{word}_{source}", own)

    def named(self, value: Value, wanted: str) -> Value:
        return self.lines.arrays_of(value, wanted)

    def with_rest(self, value: Value, rest: Value, combine: Callable[..., Expr]) -> Value:
        """An elementwise function of an array with all axes and of a reduced one."""
        lines = self.lines
        return lines.together(
            [(value, lines.whole(value)), (rest, self.lies)], self.axes, combine
        )  # fmt: skip

    def each(self, value: Value, combine: Callable[..., Expr]) -> Value:
        return self.lines.together([(value, self.lines.whole(value))], value.axes, combine)

    def largest(self) -> Value:
        """The largest element, without a gradient."""
        largest = self.named(self.reduced(Over.MAX, self.value), f"max_{self.of}")
        held = self.each(largest, lambda expr: functions.stop_gradient(expr))
        return self.named(held, f"top_{self.of}")

    def exponentials(self) -> Value:
        """exp(v - the largest of v)."""
        below = self.with_rest(self.value, self.largest(), lambda v, top: v - top)
        below = self.named(below, f"below_{self.of}")
        return self.named(self.each(below, functions.exp), f"exp_{self.of}")

    def mean_of(self, value: Value, own: str | None = None) -> Value:
        total = self.reduced(Over.SUM, value, own)
        return self.each(total, lambda expr: expr / self.length)


def _sum(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    return along.reduced(Over.SUM, along.value, own)


def _mean(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    mean = along.mean_of(along.value)
    return mean if own is not None else along.named(mean, f"mean_{along.of}")


def _max(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    if len(along.axes[along.axis]) == 1:
        return along.reduced(Over.MAX, along.value, own)
    return _max_of_parts(along)


def _max_of_parts(along: _Along) -> Value:
    """Of an axis in parts: elements that tie share the gradient over all parts.

    The value is the largest one, without a gradient, plus the mean over ties of v - v.
    """
    top = along.largest()
    here = along.with_rest(
        along.value, top, lambda v, t: functions.where(functions.equal(v, t), 1, 0)
    )
    gone = along.each(along.value, lambda v: v - functions.stop_gradient(v))
    lines = along.lines
    moving = lines.together(
        [(along.value, lines.whole(along.value)), (gone, lines.whole(gone)), (top, along.lies)],
        along.axes,
        lambda v, zero, t: functions.where(functions.equal(v, t), zero, 0),
    )
    ties = along.named(along.reduced(Over.SUM, along.named(here, f"is_max_{along.of}")), "ties")
    total = along.reduced(Over.SUM, along.named(moving, f"at_max_{along.of}"))
    items = [(value, lines.whole(value)) for value in (top, total, ties)]
    return lines.together(items, along.kept, lambda t, s, n: t + s / n)


def _min(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    along.value = along.named(along.each(along.value, lambda v: -v), f"minus_{along.of}")
    single = len(along.axes[along.axis]) == 1
    found = along.reduced(Over.MAX, along.value) if single else _max_of_parts(along)
    return along.each(found, lambda expr: -expr)


def _norm(lines: Lines, node: Call, own: str | None) -> Value:
    """The root of the sum of squares. At 0 its gradient is 0."""
    along = _Along(lines, node)
    squares = along.named(along.each(along.value, lambda v: v**2), f"square_{along.of}")
    total = along.named(along.reduced(Over.SUM, squares), f"squares_{along.of}")

    def root(s: Expr) -> Expr:
        test = functions.less(functions.ZERO, s)
        return cast(Expr, functions.where(test, s**functions.HALF, functions.ZERO))

    return lines.result(along.each(total, root), "norm", own)


def _logsumexp(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    top = along.largest()
    total = along.named(along.reduced(Over.SUM, along.exponentials()), f"sum_exp_{along.of}")
    logs = along.named(along.each(total, functions.log), f"log_sum_exp_{along.of}")
    items = [(value, lines.whole(value)) for value in (top, logs)]
    return lines.together(items, along.kept, lambda t, s: t + s)


def _softmax(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    if along.is_number():
        return number(functions.ONE)
    powers = along.exponentials()
    total = along.named(along.reduced(Over.SUM, powers), f"sum_exp_{along.of}")
    return lines.result(along.with_rest(powers, total, lambda e, s: e / s), "softmax", own)


def _cumsum(lines: Lines, node: Call, own: str | None) -> Value:
    """Of each part, and the sums of all parts before it."""
    along = _Along(lines, node)
    if along.is_number():
        return along.value
    axis, count = along.axis, len(along.axes[along.axis])
    parts = {}
    for index in indices(along.axes):
        shape = along.value.shape(index)
        source = str(along.value.parts[index].expr)
        expr = functions.symbol(source)
        if shape[axis] != 1:

            def equation(name: str, source: str = source) -> Sum:
                return Sum(name, source, Over.CUMSUM, (axis,))

            array = lines.arrays[source]
            alone = own if count == 1 else None
            wanted = f"cumsum_{source}"
            expr = lines.computed(equation, shape, array.per_row, wanted, alone).expr
        items: list[tuple[Part, tuple[Dim, ...], Place | None]] = [
            (Part(expr), shape, tuple(range(len(shape))))
        ]
        for k in range(index[axis]):
            before = along.one(Over.SUM, along.value, (*index[:axis], k, *index[axis + 1 :]), None)
            left = (*shape[:axis], *shape[axis + 1 :]) or (1,)
            items.append((before, left, along.lies))
        parts[index] = lines.joined(items, len(shape), lambda *terms: sympy.Add(*terms))
    return Value(along.axes, parts)


def _layer_norm(lines: Lines, node: Call, own: str | None) -> Value:
    along = _Along(lines, node)
    epsilon = functions.LAYER_NORM_EPSILON
    if node.eps is not None:
        epsilon = evaluate(node.eps, lines.consts)
    if along.is_number():
        return number(functions.ZERO)
    mean = along.named(along.mean_of(along.value), f"mean_{along.of}")
    centred = along.with_rest(along.value, mean, lambda v, m: v - m)
    centred = along.named(centred, f"centred_{along.of}")
    square = along.named(along.each(centred, lambda v: v**2), f"square_{along.of}")
    variance = along.named(along.mean_of(square), f"variance_{along.of}")

    def normalised(v: Expr, s: Expr) -> Expr:
        return cast(Expr, v * sympy.Pow(s + epsilon, -functions.HALF))

    return lines.result(along.with_rest(centred, variance, normalised), "layer_norm", own)


FUNCTIONS: Mapping[str, Callable[[Lines, Call, str | None], Value]] = {
    "sum": _sum,
    "mean": _mean,
    "max": _max,
    "min": _min,
    "norm": _norm,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "cumsum": _cumsum,
    "layer_norm": _layer_norm,
}
