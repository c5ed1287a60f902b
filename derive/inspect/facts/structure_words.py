"""Words for what is known of a recurrence: names, formulas, intervals, patterns.

In: a Cell, intervals, patterns, hazards.  Out: text; formulas stand between backquotes.
Not here: which claims are made (structure.py).
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import cast

from derive.cell import Cell
from derive.language import tree
from derive.program import Map
from derive.program.formulas import formula
from derive.recurrence import Bounds, Hazard, Recurrence, Solved
from derive.recurrence.hazards import Danger, Verdict
from derive.recurrence.jacobian import Kind, Pattern
from derive.recurrence.ranges import Ranges
from derive.recurrence.stabiliser import Clash, Offer
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.interval import Interval
from derive.textbook.notation import TEXT, Order, order_in, write


def one_of(single: str, several: str, things: Collection[object]) -> str:
    return single if len(things) == 1 else several


def number(value: Fraction, up: bool | None = None) -> str:
    """As a decimal; rounded up or down where that takes more than 6 digits."""
    if value.denominator == 1 and abs(value) < 10**7:
        return str(value.numerator)
    digits = _digits(value)
    short = Fraction(digits)
    if short != value and up is not None:
        digit = Fraction(10) ** (_exponent(digits) - 5)
        if up and short < value:
            short += digit
        elif not up and short > value:
            short -= digit
        digits = _digits(short)
    return digits


def _digits(value: Fraction) -> str:
    """Six digits: 0.25, 2.71828, 1e+30. Larger and smaller numbers than doubles are too."""
    with decimal.localcontext(prec=6):
        rounded = decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)
    exponent = rounded.adjusted()
    plain = f"{rounded.normalize():f}"
    if not value or (-5 < exponent < 7 and len(plain) < 12):
        return plain
    mantissa = f"{rounded.scaleb(-exponent).normalize():f}"
    return f"{mantissa}e{exponent:+03d}"


def _exponent(digits: str) -> int:
    return decimal.Decimal(digits).adjusted()


def closed(values: Interval) -> str:
    """Between what something lies, in words."""
    if values.lo is None and values.hi is None:
        return "which may be any number"
    if values.lo == values.hi and values.lo is not None:
        return f"which is {number(values.lo)}"
    if values.lo is None and values.hi is not None:
        return f"{'below' if values.hi_open else 'at most'} {number(values.hi, True)}"
    if values.hi is None and values.lo is not None:
        return f"{'above' if values.lo_open else 'at least'} {number(values.lo, False)}"
    assert values.lo is not None and values.hi is not None
    return f"in {brackets(values)}"


def brackets(values: Interval) -> str:
    """(-1, 1), [0, 1)."""
    low = "-inf" if values.lo is None else number(values.lo, False)
    high = "inf" if values.hi is None else number(values.hi, True)
    left = "(" if values.lo is None or values.lo_open else "["
    right = ")" if values.hi is None or values.hi_open else "]"
    return f"{left}{low}, {high}{right}"


def what_it_is(rec: Recurrence, shapes: Mapping[str, Sequence[object]]) -> str:
    """The kind of a recurrence in a few words."""
    if not rec.states:
        return "no recurrence"
    if rec.linear:
        first = "linear"
    elif rec.linear_in_order:
        first = "linear one state after the other"
    else:
        affine = [s for s in rec.states if rec.own[s].name == "AFFINE"]
        first = "nonlinear"
        if affine and len(rec.states) > 1:
            each = "each " if len(affine) > 1 else ""
            first += f", linear in {' and in '.join(affine)} {each}by itself"
    return f"{first}; {_shape_of_transition(rec, shapes)}"


def _shape_of_transition(rec: Recurrence, shapes: Mapping[str, Sequence[object]]) -> str:
    if rec.elementwise:
        return "diagonal"
    kinds = {rec.patterns[state, state] for state in rec.states}
    own = {pattern for pattern in kinds if not pattern.is_diagonal}
    part = {state: k for k, states in enumerate(rec.parts) for state in states}
    cross = [  # a part that is known for all steps is an input of those after it
        pattern
        for (after, before), pattern in rec.patterns.items()
        if after != before
        and not pattern.is_diagonal
        and pattern.kind is not Kind.REPEATED
        and (not rec.linear_in_order or part[after] == part[before])
    ]
    if not own and not cross:
        return "each state diagonal"
    if len(rec.states) == 1:
        (pattern,) = own
        shape = shapes[rec.states[0]]
        text = pattern.kind.value.replace("low rank", f"rank {pattern.rank}")
        if pattern.blocks:
            inner = "" if pattern.kind is Kind.DENSE else f" in blocks that are {text}"
            text = f"block-diagonal over {', '.join(str(shape[k]) for k in pattern.blocks)}{inner}"
        return text
    full = [*own, *cross]
    if all(pattern.blocks for pattern in full):
        return "block-diagonal"
    if all(pattern.kind is not Kind.DENSE for pattern in full):
        return "diagonal plus low rank"
    return "dense"


_HARM = {
    Danger.OVERFLOW: "overflows",
    Danger.DIVISION: "divides by 0",
    Danger.ROOT: "is the root of a number below 0",
    Danger.LOGARITHM: "is the logarithm of a number that is not above 0",
}
_MAY = {
    Danger.OVERFLOW: "overflow",
    Danger.DIVISION: "divide by 0",
    Danger.ROOT: "be the root of a number below 0",
    Danger.LOGARITHM: "be the logarithm of a number that is not above 0",
}
_SAFE = {
    Danger.OVERFLOW: "is at most 88.7 in float32, 709.7 in float64",
    Danger.DIVISION: "is not 0",
    Danger.ROOT: "is at least 0",
    Danger.LOGARITHM: "is above 0",
}


class Words:
    """Names and formulas of a cell, as its author writes them."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.step = cell.step
        self.table = self.step.program.table()
        self.nexts = dict(zip(self.step.states, self.step.next_states, strict=True))
        self.states = cell.declaration.state_names
        self.lines = {
            d.target: tree.to_text(d.expr, self.states) for d in cell.declaration.definitions
        }
        own = {*self.lines, *self.step.program.inputs, *self.step.next_states}
        self.unnamed: dict[Expr, Expr] = {}
        for equation in self.step.program.equations:
            if equation.out not in own:
                value = formula(equation, self.table).xreplace(self.unnamed)
                if not value.is_number:
                    self.unnamed[functions.symbol(equation.out)] = cast(Expr, value)
        text = " ".join(f"{target} {line}" for target, line in self.lines.items())
        self.order = order_in(text) if text else Order({})

    def name(self, name: str) -> str:
        return name

    def names(self, names: Collection[str]) -> str:
        """a, b and c."""
        first = [self.name(name) for name in names]
        return first[0] if len(first) == 1 else f"{', '.join(first[:-1])} and {first[-1]}"

    def prime(self, state: str) -> str:
        return f"{state}'"

    def primes(self, states: Sequence[str]) -> str:
        return self.names([self.prime(state) for state in states])

    def number(self, value: Fraction) -> str:
        return number(value, True)

    def text(self, expr: Expr) -> str:
        """A formula with the author's names alone."""
        plain = {
            s: functions.symbol(s.name.partition("@")[0])
            for s in expr.free_symbols
            if "@" in s.name
        }
        expr = cast(Expr, expr.xreplace(plain).xreplace(self.unnamed))
        return self.primed(write(expr, TEXT, self.order))

    def primed(self, text: str) -> str:
        for name in self.step.next_states:
            text = re.sub(rf"\b{name}\b", f"{name.removesuffix('_next')}'", text)
        return text

    def line(self, state: str) -> str:
        """The line that defines the next value of a state."""
        after = self.nexts[state]
        if after in self.lines:
            return f"`{self.prime(state)} = {self.lines[after]}`"
        equation = self.step.program.definitions().get(after)
        if equation is None:
            return f"`{self.prime(state)} = {after}`"
        return f"`{self.prime(state)} = {self.text(formula(equation, self.table))}`"

    def between(self, what: str, values: Interval) -> str:
        """|h| < 1, 0 <= h < 1, h >= 0."""
        if values.lo is not None and values.hi is not None:
            low, high = number(values.lo, False), number(values.hi, True)
            below, above = _less(values.lo_open), _less(values.hi_open)
            if values.lo == -values.hi and values.lo_open == values.hi_open:
                return f"|{what}| {above} {high}"
            return f"{low} {below} {what} {above} {high}"
        if values.lo is not None:
            return f"{what} >{'' if values.lo_open else '='} {number(values.lo, False)}"
        assert values.hi is not None
        return f"{what} {_less(values.hi_open)} {number(values.hi, True)}"

    def intervals(self, after: str, ranges: Ranges) -> tuple[str, ...]:
        """Between what the arrays lie that the line of a next value reads."""
        equation = self.step.program.definitions().get(after)
        found = []
        for name in equation.operands if equation else ():
            values = ranges[name]
            if (values.lo, values.hi) != (None, None) and name not in self.step.program.inputs:
                found.append(f"`{self.text(functions.symbol(name))}` {closed(values)}")
        return (", ".join(found),) if found else ()

    def pattern(self, pattern: Pattern, after: str) -> tuple[str, tuple[str, ...]]:
        """What a block of the Jacobian is, and why."""
        shape = self.table[self.nexts[after]].shape
        if pattern.kind is Kind.ZERO:
            return "zero", ()
        if pattern.kind is Kind.IDENTITY:
            return "the identity", ()
        if pattern.kind in (Kind.DIAGONAL, Kind.REPEATED):
            repeated = ", repeated" if pattern.kind is Kind.REPEATED else ""
            return f"diagonal{repeated}", ("each unit is read in its own place alone",)
        text = pattern.kind.value
        if pattern.rank:
            text = text.replace("low rank", f"rank {pattern.rank}")
        if pattern.blocks:
            axes = ", ".join(str(shape[k]) for k in pattern.blocks)
            inner = "" if pattern.kind is Kind.DENSE else f", each block {text}"
            because = f"units that differ in {axes} never meet"
            return f"block-diagonal over {axes}{inner}", (because,)
        because = f"units meet through {pattern.rank} numbers alone" if pattern.rank else ""
        return text, (because,) if because else ()

    def solved(self, one: Solved) -> str:
        left = one.state
        if one.matrix:
            left = f"{one.matrix}{'.T' if one.turned else ''} @ {one.state}"
        return f"`{left} = {self.text(one.value)}`"

    def danger(self, hazard: Hazard) -> tuple[str, str]:
        """What a part of a formula does or may do, and the condition."""
        part, subject = self.text(hazard.part), self.text(hazard.subject)
        never = f"`{part}` never {_HARM[hazard.danger]}"
        if hazard.verdict is Verdict.UNDERFLOW:
            return never, f"`{subject}` does not round to 0"
        if hazard.verdict is Verdict.STARTED:
            return never, "the states start within their bounds, as zeros do"
        safe = f"`{subject}` {_SAFE[hazard.danger]}"
        if hazard.verdict is Verdict.PARAMETERS:
            return never, safe
        return f"`{part}` may {_MAY[hazard.danger]}: it does not where {safe}", ""

    def hazard(self, hazard: Hazard) -> str:
        return f"`{self.text(hazard.subject)}` {_lies(hazard.values)}"

    def clash(self, clash: Clash) -> str:
        """Why a state cannot be scaled."""
        where = self.primed(clash.array)
        scaled = [self.text(expr) for expr, weight in clash.terms if weight.moves]
        still = [self.text(expr) for expr, weight in clash.terms if not weight.moves]
        text = f"{where}: {clash.why}"
        if scaled and still:
            return f"{text}: `{', '.join(scaled)}` is scaled, `{', '.join(still)}` is not"
        return f"{text}: `{', '.join(scaled)}`" if scaled else text

    def running_maximum(self, possible: Offer, bounds: Bounds) -> str:
        """m' = maximum(log of the factor + m, log of what is added)."""
        logs: list[str] = []
        for state in possible.states:
            grown = bounds.growth[state]
            size = self._logarithm(grown.factor, bounds)
            logs.append(f"{size} + m" if size else "m")
            logs += self._exponents(grown.added, bounds) or ["0"]
        terms = list(dict.fromkeys(logs))
        result = terms[0]
        for term in terms[1:]:
            result = f"maximum({result}, {term})"
        return f"m' = {result}"

    def _logarithm(self, factor: Expr, bounds: Bounds) -> str:
        found = self._exponents(factor, bounds)
        if len(found) == 1 and factor.is_Symbol:
            return found[0]
        if factor in (1, -1):
            return ""
        size = self.text(factor)
        return f"log({size})" if bounds.free.of(factor).from_zero else f"log(abs({size}))"

    def _exponents(self, expr: Expr, bounds: Bounds) -> list[str]:
        """The arguments of the exponentials that an expression multiplies by."""
        written, found = bounds.free.written, []
        for symbol in sorted(expr.free_symbols, key=str):
            atom = written.atoms.get(symbol)
            equation = written.definitions.get(atom.array) if atom else None
            if isinstance(equation, Map) and isinstance(equation.expr, functions.exp):
                found.append(self.text(cast(Expr, equation.expr.args[0])))
        return found


def _less(is_open: bool) -> str:
    return "<" if is_open else "<="


def _lies(values: Interval) -> str:
    text = closed(values)
    return text.replace("which ", "") if text.startswith("which") else f"is {text}"
