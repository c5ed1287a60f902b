"""A step whose arrays have bounds -> powers of two, and each operation in integers.

In: an `Ordered`, a `Bound` for each array.  Out: `Scaled`.
Not here: bounds (ranges.py), running operations (integers.py), text (writer.py).

An array with b bits has the value v / 2^b for the int16 v. b is the largest for which its bound
fits. A sum is an int32 with bits of its own: as many as leave room for the largest sum that any
int16 operands can give, the weights being known. So no sum overflows for any inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import sympy

from derive.emit.mcu.fixed.forms import (
    Along,
    Choice,
    Linear,
    Lookup,
    Operation,
    Part,
    Quotient,
    Total,
    Where,
    Whole,
)
from derive.emit.mcu.fixed.order import Ordered, product, summed
from derive.emit.mcu.fixed.ranges import Bound
from derive.emit.mcu.nests import Gather, Loose, Term
from derive.errors import CellError
from derive.kernel.signature import Array as Values
from derive.program import Map, Over
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY
from derive.symbolic.functions import Expr

LOWEST, HIGHEST = -32768, 32767
_ROOM = (1 << 31) - 1
_MOST_BITS, _LEAST_BITS = 30, -16
#: Pairs of segments of a table, and the arguments of a segment.
SEGMENTS, SEGMENT = 256, 256


@dataclass(frozen=True, slots=True)
class Scaled:
    """bits: of each array.  operations: by what they compute.  weights: parameters as int16."""

    order: Ordered
    bounds: Mapping[str, Bound]
    bits: Mapping[str, int]
    operations: Mapping[str, Operation]
    weights: Mapping[str, Values]


def scaled(order: Ordered, bounds: Mapping[str, Bound]) -> Scaled:
    return _Scaler(order, bounds).found()


def bits_for(size: float, *, reached: bool = False) -> int:
    """The most bits with which a number of this size fits into int16; 2^k itself may saturate,
    unless `reached`."""
    if size <= 0:
        return 15
    mantissa, exponent = math.frexp(size)
    bits = 15 - exponent + (mantissa == 0.5 and not reached)
    if reached and round(size * 2.0**bits) > HIGHEST:
        bits -= 1
    return max(min(bits, _MOST_BITS), _LEAST_BITS)


def in_int16(scales: Values) -> Values:
    """What rows of int8 are multiplied by, as it is stored: no less."""
    bits = bits_for(float(scales.max(initial=0.0)), reached=True)
    return np.minimum(np.ceil(scales * 2.0**bits), HIGHEST) * 2.0**-bits


def to_integers(values: Values | float, bits: int) -> Values:
    with np.errstate(all="ignore"):
        found = np.rint(np.asarray(values, np.float64) * 2.0**bits)
        found = np.nan_to_num(found, nan=0.0, posinf=HIGHEST, neginf=LOWEST)
    return np.clip(found, LOWEST, HIGHEST).astype(np.int64)


class _Scaler:
    def __init__(self, order: Ordered, bounds: Mapping[str, Bound]) -> None:
        self.order, self.bounds, self.table = order, bounds, order.table
        self.params, self.narrow = order.single.params, order.single.scales
        self.bits: dict[str, int] = {}
        for name, bound in bounds.items():
            size = abs(self.params[name]).max(initial=0) if name in self.params else bound.size
            self.bits[name] = bits_for(float(size), reached=name in self.params)
        self.bits |= dict.fromkeys(self.narrow, 0)  # whole numbers
        self.operations: dict[str, Operation] = {}

    def found(self) -> Scaled:
        for before, after in self.order.carried():
            self.bits[after] = self.bits[before]
        sums: list[tuple[tuple[Term, ...], str]] = [
            ((item.term,), "") for item in self.order.nests.items
            if isinstance(item, Loose) and item.term.over is Over.SUM
        ]  # fmt: skip
        for item in self.order.nests.items:
            if not isinstance(item, Loose):
                sums += [(g.terms, g.start) for g in item.gathers]
        for terms, start in sums:  # bits of weights, so that the sums have room
            bits = self._bits_of_sum(terms, start, lower=True)
            for term in terms:
                weight, other = self._weight(term)
                if weight and weight not in self.narrow:
                    self.bits[weight] = min(self.bits[weight], bits - other)
        for item in self.order.nests.items:
            if isinstance(item, Loose):
                self._loose(item)
                continue
            for gather in item.gathers:
                self._gather(gather)
            for equation in item.maps:
                self.operations[equation.out] = self._map(equation)
        weights = {name: to_integers(a, self.bits[name]) for name, a in self.params.items()}
        return Scaled(self.order, self.bounds, self.bits, self.operations, weights)

    def _fixed_out(self, name: str) -> bool:
        """Whether the bits of an array are settled: the next value of a state."""
        return any(name == after for _, after in self.order.carried())

    def _settle(self, out: str, most: int) -> int:
        """The bits of a result, at most `most`; and how many more it must have."""
        if not self._fixed_out(out):
            self.bits[out] = min(self.bits[out], most)
        return self.bits[out]

    # --- sums of products -----------------------------------------------------------------------

    def _weight(self, term: Term) -> tuple[str, int]:
        """The parameter of a term, and the bits of the other operand."""
        names = [name for name, _ in term.operands]
        weight = next((name for name in names if name in self.params), "")
        return weight, sum(self.bits[name] for name in names if name != weight)

    def _bits_of_sum(self, terms: Iterable[Term], start: str, *, lower: bool) -> int:
        """The most bits with which no sum overflows. lower: weights may get fewer bits."""
        terms = tuple(terms)
        top = min(sum(self.bits[n] for n, _ in term.operands) for term in terms)
        for bits in range(top, top - 64, -1):
            if self._largest(terms, start, bits, lower=lower) <= _ROOM:
                return bits
        raise CellError("a sum has no room in 32 bits")  # pragma: no cover

    def _largest(self, terms: tuple[Term, ...], start: str, bits: int, *, lower: bool) -> int:
        total = 0
        for term in terms:
            weight, other = self._weight(term)
            own = sum(self.bits[n] for n, _ in term.operands)
            drop = own - bits
            ones = {
                n: np.ones((1, *self._shape(n)), np.int64) * (1 << 15)
                for n, _ in term.operands if n != weight
            }  # fmt: skip
            if weight:
                own_bits = self.bits[weight]
                if lower and weight not in self.narrow:
                    own_bits = min(own_bits, bits - other)
                drop = own_bits + other - bits
                ones[weight] = abs(to_integers(self.params[weight], own_bits))
            products = product(term, ones, self.table)
            if drop > 0:
                products = (products >> drop) + 1
            total += int(summed(products, term).max(initial=0))
        if start:
            part = self._aligned(start, bits)
            largest = (
                int(abs(to_integers(self.params[start], self.bits[start])).max(initial=0))
                if start in self.params else 1 << 15
            )  # fmt: skip
            total += ((largest * abs(part.factor)) >> part.drop) + 1
        return total

    def _aligned(self, name: str, bits: int) -> Part:
        more = bits - self.bits[name]
        return Part((name,), 1 << more) if more >= 0 else Part((name,), 1, -more)

    def _total(self, out: str, terms: tuple[Term, ...], start: str) -> Total:
        bits = self._bits_of_sum(terms, start, lower=False)
        drops = tuple(sum(self.bits[n] for n, _ in term.operands) - bits for term in terms)
        drop = bits - self._settle(out, bits)
        return Total(out, self._aligned(start, bits) if start else None, terms, drops, drop)

    def _gather(self, gather: Gather) -> None:
        self.operations[gather.out] = self._total(gather.out, gather.terms, gather.start)

    def _loose(self, item: Loose) -> None:
        term = item.term
        if term.over is Over.SUM:
            self.operations[term.out] = self._total(term.out, (term,), "")
            return
        own = self.bits[term.left]
        drop = own - self._settle(term.out, own)
        self.operations[term.out] = Along(term.out, term, drop)

    def _shape(self, name: str) -> tuple[int, ...]:
        sizes = self.order.single.sizes
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.table[name].shape)

    # --- elementwise operations -----------------------------------------------------------------

    def _map(self, equation: Map) -> Operation:
        out, expr = equation.out, equation.expr
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            if expr.exp == -1:
                return self._quotient(out, functions.ONE, expr.base)
            if not expr.exp.is_Integer:
                return self._lookup(out, expr, expr.base)
        if expr.is_Mul and (below := [f for f in expr.args if isinstance(f, sympy.Pow)
                                      and f.exp == -1]):  # fmt: skip
            return self._quotient(out, expr / below[0], below[0].base)
        arithmetic = expr.is_Symbol or expr.is_Add or expr.is_Mul or expr.is_Pow
        if not expr.free_symbols or (arithmetic and not isinstance(expr, functions.exp)):
            return self._linear(out, expr)
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        if name in ("maximum", "minimum"):
            return self._choice(out, name, *expr.args)
        if name in ("abs", "relu"):
            (v,) = expr.args
            return self._choice(out, "maximum", v, -v if name == "abs" else functions.ZERO)
        if name == "where":
            return self._where(out, *expr.args)
        if name in ("sign", "floor"):
            (v,) = expr.args
            own = self.bits[v.name]
            if name == "floor" and own <= 0:  # all that its int16 can say are integers
                return self._linear(out, v)
            most = 15 if name == "sign" else max(own, 0)
            left = self._settle(out, most)
            if left < 0:  # a state whose integers stand for more than 1 each
                return self._linear(out, functions.ZERO)
            return Whole(out, name, v.name, max(own, 0), left)
        (v,) = expr.args
        return self._lookup(out, expr, v)

    def _linear(self, out: str, expr: Expr) -> Linear:
        constant = 0.0
        raw: list[tuple[tuple[str, ...], float]] = []
        for term in sympy.Add.make_args(expr):
            number, rest = term.as_coeff_Mul()
            if not rest.free_symbols:
                constant += float(sympy.N(term, 30))
                continue
            of: list[str] = []
            for factor in sympy.Mul.make_args(rest):
                if isinstance(factor, sympy.Pow) and factor.exp == 2 and factor.base.is_Symbol:
                    of += [factor.base.name] * 2
                elif factor.is_Symbol:
                    of.append(factor.name)
                else:
                    number = number * factor
            raw.append((tuple(of), float(sympy.N(number, 30))))
        top = self.bits[out] + 16
        for names, _ in raw:
            if len(names) == 2:
                top = min(top, sum(self.bits[n] for n in names))
        for bits in range(top, top - 80, -1):
            parts = [self._part(names, factor, bits) for names, factor in raw]
            parts = [part for part in parts if part.factor]
            number_ = round(constant * 2.0**bits)
            if sum(map(_largest_part, parts)) + abs(number_) <= _ROOM and all(
                abs(part.factor) << (15 * len(part.names)) <= _ROOM for part in parts
            ):
                drop = bits - self._settle(out, max(bits, self.bits[out]))
                return Linear(out, tuple(parts), number_, drop)
        raise CellError("a sum has no room in 32 bits")  # pragma: no cover

    def _part(self, names: tuple[str, ...], factor: float, bits: int) -> Part:
        """factor * the arrays with `bits` bits; of two arrays the factor is 1 or -1."""
        more = bits - sum(self.bits[n] for n in names)
        if len(names) == 2:
            return Part(names, int(factor), -more)
        exact = factor * 2.0**more
        if exact == round(exact):
            return Part(names, round(exact))
        mantissa, exponent = math.frexp(factor)  # of 15 bits
        whole = round(mantissa * (1 << 15))
        if abs(whole) > HIGHEST:
            whole, exponent = whole // 2, exponent + 1
        drop, off = 15 - exponent - more, abs(math.ldexp(whole, exponent - 15) / factor - 1)
        if drop > 30:
            return Part(names, 0)
        if drop < 0:
            return Part(names, whole << -drop, 0, off)
        while drop and whole % 2 == 0:
            whole, drop = whole // 2, drop - 1
        return Part(names, whole, drop, off)

    def _operand(self, expr: Expr, bits: int) -> Part:
        if not expr.free_symbols:
            # Not held to int16: with all of it, 2 is more than the largest number with 15 bits.
            exact = round(float(sympy.N(expr, 30)) * 2.0**bits)
            return Part((), max(-_ROOM, min(exact, _ROOM)))
        number, rest = expr.as_coeff_Mul()
        part = self._aligned(rest.name, bits)
        return Part(part.names, int(number) * part.factor, part.drop)

    def _common(self, *exprs: Expr, most: int) -> int:
        """Bits for operands that are compared or chosen from, without an overflow."""
        own = [self.bits[str(s.name)] for e in exprs for s in e.free_symbols]
        return min([most, *(bits + 15 for bits in own)])

    def _choice(self, out: str, kind: str, one: Expr, other: Expr) -> Choice | Linear:
        bits = self._common(one, other, most=self.bits[out])
        bits = self._settle(out, bits)
        parts = self._operand(one, bits), self._operand(other, bits)
        if parts[0] == parts[1]:  # compilers warn of a number that is compared with itself
            return Linear(out, parts[:1], 0, 0)
        return Choice(out, kind, parts)

    def _where(self, out: str, test: Expr, chosen: Expr, other: Expr) -> Where | Linear:
        kind = functions.NAME_OF_HEAD[functions.rule_of(test).head]
        own = [self.bits[str(s.name)] for s in test.free_symbols]
        common = self._common(*test.args, most=max(own, default=15))
        bits = self._settle(out, self._common(chosen, other, most=self.bits[out]))
        one, two = (self._operand(arg, common) for arg in test.args)
        if one == two:
            taken = chosen if kind in ("less_equal", "equal") else other
            return Linear(out, (self._operand(taken, bits),), 0, 0)
        return Where(out, kind, (one, two), self._operand(chosen, bits), self._operand(other, bits))

    def _quotient(self, out: str, above: Expr, below: Expr) -> Quotient:
        if above.free_symbols:
            part = Part((above.name,), 1)
            own = self.bits[above.name]
        else:
            value = float(sympy.N(above, 30))
            own = bits_for(abs(value), reached=True)
            part = Part((), int(to_integers(value, own)))
        bits = own - self.bits[below.name] + 15
        drop = bits - self._settle(out, bits)
        return Quotient(out, part, below.name, drop)

    def _lookup(self, out: str, expr: Expr, source: Expr) -> Lookup:
        name = str(source.name)
        own, left = self.bits[name], self.bits[out]
        every = np.arange(LOWEST, HIGHEST + 1)

        def exact(v: Values) -> Values:
            with np.errstate(all="ignore"):
                found = NUMPY.evaluate(expr, {name: v * 2.0**-own}, {})
            return np.asarray(found, np.float64)

        nodes = exact(np.arange(LOWEST, HIGHEST + 2, SEGMENT))
        valid = np.flatnonzero(~np.isnan(nodes))
        if not len(valid):  # what the bounds allow says why
            valid, nodes = np.array([0]), np.zeros_like(nodes)
        nearest = valid[abs(np.arange(len(nodes))[:, None] - valid[None, :]).argmin(axis=1)]
        table = to_integers(nodes[nearest], left)
        interval = self.bounds[name].interval
        assert interval.lo is not None and interval.hi is not None
        low, high = (math.floor(interval.lo * 2**own) if own >= 0 else LOWEST,
                     math.ceil(interval.hi * 2**own) if own >= 0 else HIGHEST)  # fmt: skip
        inside = every[(every >= low) & (every <= high)]
        if not len(inside):
            inside = every
        values = exact(inside)
        if np.isnan(values).all():
            raise CellError(f"{expr} is defined nowhere between the bounds of {name}")
        wanted = np.clip(values * 2.0**left, LOWEST, HIGHEST)
        with np.errstate(all="ignore"):
            errors = abs(looked_up(table, inside) - wanted)
        error = float(np.nanmax(errors, initial=0)) * 2.0**-left
        head = expr.func.__name__ if not expr.is_Pow else f"power {expr.exp}"
        if isinstance(expr, functions.exp):
            head = "exp"
        return Lookup(out, name, head, tuple(int(v) for v in table), error)


def _largest_part(part: Part) -> int:
    return ((abs(part.factor) << (15 * len(part.names))) >> part.drop) + (part.drop > 0)


# --- the arithmetic that text and interpreter share ----------------------------------------------


def dropped(value: Values, count: int) -> Values:
    """value / 2^count, to the nearest, halves upwards; with zeros behind for a negative count."""
    if count > 0:
        return ((value >> (count - 1)) + 1) >> 1
    return saturated(value) * (1 << -count) if count < 0 else value


def saturated(value: Values) -> Values:
    return np.clip(value, LOWEST, HIGHEST)


def looked_up(table: Values, v: Values) -> Values:
    """A parabola through three values of a table."""
    table = np.asarray(table, np.int64)
    at = np.asarray(v, np.int64) - LOWEST
    first, u = 2 * (at >> 9), at & 511
    y0, y1, y2 = table[first], table[first + 1], table[first + 2]
    curve = ((u * (u - SEGMENT)) >> 5) * ((y2 - y1) - (y1 - y0))
    return saturated(y0 + dropped(16 * u * (y1 - y0) + curve, 12))
