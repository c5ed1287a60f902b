"""Operations in fixed point -> lines of C, as lines.py asks for them.

In: a `Scaled`, free names.  Out: `FixedNumbers`, and the tables that its lines read.
Not here: which operations there are (forms.py), loops (lines.py).

Elements are int16_t in memory and int32_t in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from derive.emit.mcu.fixed.forms import (
    Along,
    Choice,
    Linear,
    Lookup,
    Part,
    Quotient,
    Total,
    Where,
    Whole,
)
from derive.emit.mcu.fixed.scales import Scaled
from derive.emit.mcu.numbers import Lines
from derive.program import Map

#: By more bits an int32_t is not shifted; what so many leave is -1 or 0, as more would.
_FARTHEST = 31
_SIGNS = {"less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!="}


class FixedNumbers:
    """derive.emit.mcu.numbers.Numbers. tables: {values: name} of those that lines read."""

    real, value, once, registers = "int16_t", "int32_t", True, True

    def __init__(self, scaled: Scaled, cell: str, free: Callable[[str], str]) -> None:
        self.operations = scaled.operations
        self.bits = scaled.bits
        self.cell = cell
        self.free = free
        self.sums: dict[str, str] = {}
        self.tables: dict[tuple[int, ...], tuple[str, Lookup]] = {}

    def read(self, element: str) -> str:
        return element

    def zero(self) -> str:
        return "0"

    def running(self, name: str) -> str:
        if name not in self.sums:
            self.sums[name] = self.free(f"{name}_sum")
        return self.sums[name]

    def begin(self, out: str, name: str, start: str) -> Lines:
        operation = self._total(out)
        value = "0" if operation.start is None else _part(operation.start, [f"(int32_t){start}"])
        return [f"int32_t {self.running(name)} = {value};"]

    def added(self, out: str, place: int, total: str, factors: Sequence[str]) -> str:
        drop = min(self._total(out).drops[place], _FARTHEST)
        first, *others = factors
        product = " * ".join([f"(int32_t){first}", *others])
        if drop:
            return (
                f"{total} + (({product}) >> {drop})"
                if others
                else f"{total} + ({product} >> {drop})"
            )
        return f"{total} + {product}"

    def end(self, out: str, name: str) -> Lines:
        value = self.ended(out, self.running(name))
        return [f"const int32_t {name} = {value};"]

    def ended(self, out: str, total: str) -> str:
        operation = self.operations[out]
        assert isinstance(operation, (Total, Along))
        return f"derive_q15_saturate({_dropped(total, operation.drop)})"

    def _total(self, out: str) -> Total:
        operation = self.operations[out]
        assert isinstance(operation, Total)
        return operation

    def stored(self, value: str) -> str:
        return f"(int16_t){value}"

    def largest(self) -> tuple[str, str]:
        return "-32768", "{1} > {0} ? {1} : {0}"

    # --- equations ------------------------------------------------------------------------------

    def equation(self, equation: Map, name: str, texts: Mapping[str, str]) -> Lines:
        text = self._text(equation.out, texts)
        return [f"const int32_t {name} = {text};"]

    def _text(self, out: str, texts: Mapping[str, str]) -> str:
        operation = self.operations[out]
        if isinstance(operation, Lookup):
            return f"derive_q15_table({self._table(operation)}, {texts[operation.source]})"
        return f"derive_q15_saturate({self._unsaturated(out, texts)})"

    def _unsaturated(self, out: str, texts: Mapping[str, str]) -> str:
        operation = self.operations[out]

        def part(one: Part) -> str:
            return _part(one, [texts[n] for n in one.names])

        if isinstance(operation, Linear):
            terms = [part(p) for p in operation.parts]
            if operation.constant or not terms:
                terms.append(str(operation.constant))
            total = terms[0]
            for term in terms[1:]:
                bare = term.removeprefix("-")
                plain = term.startswith("-") and "(" not in term
                total += f" - {bare}" if plain else f" + {term}"
            return _dropped(total, operation.drop)
        if isinstance(operation, Choice):
            sign = ">" if operation.kind == "maximum" else "<"
            one, other = map(part, operation.parts)
            return f"{one} {sign} {other} ? {one} : {other}"
        if isinstance(operation, Where):
            one, other = map(part, operation.test)
            test = f"{one} {_SIGNS[operation.kind]} {other}"
            return f"{test} ? {part(operation.chosen)} : {part(operation.other)}"
        if isinstance(operation, Quotient):
            above = f"{part(operation.above)} * 32768"
            quotient = f"derive_q15_divide({above}, {texts[operation.below]})"
            return _dropped(quotient, operation.drop)
        assert isinstance(operation, Whole)
        v = texts[operation.source]
        if operation.kind == "sign":
            return f"(({v} > 0) - ({v} < 0)) * {_power(operation.left)}"
        return f"({v} >> {operation.bits}) * {_power(operation.left)}"

    def _table(self, operation: Lookup) -> str:
        known = self.tables.get(operation.table)
        if known is None:
            word = "".join(c if c.isalnum() else "_" for c in operation.function)
            own, left = (self.bits[n] for n in (operation.source, operation.out))
            taken = [name for name, _ in self.tables.values()]
            name = self.free(f"{self.cell}_{word}_{own}_{left}".replace("-", "m"))
            assert name not in taken
            self.tables[operation.table] = known = (name, operation)
        elif operation.error > known[1].error:
            self.tables[operation.table] = (known[0], operation)
        return known[0]


def _power(count: int) -> str:
    return str(1 << count)


def _part(part: Part, names: Sequence[str]) -> str:
    """An integer of 32 bits."""
    if not names:
        return str(part.factor)
    product = " * ".join(names)
    if part.factor == -1:
        product = f"-({product})" if len(names) > 1 else f"-{product}"
    elif part.factor != 1:
        product = f"{product} * {part.factor}"
    return _dropped(product, part.drop)


def _dropped(text: str, count: int) -> str:
    if count > 0:
        return f"derive_q15_round({text}, {min(count, _FARTHEST + 1)})"
    if count < 0:
        # What is not 0 saturates after 16 bits, as after more, and is an int32 until then.
        return f"derive_q15_saturate({text}) * {_power(min(-count, 16))}"
    return text
