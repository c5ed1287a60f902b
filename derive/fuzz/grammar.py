"""Random well-typed cells over the whole grammar of `.cell` text, as a hypothesis strategy.

In: nothing.  Out: `cells()`, a strategy of `Drawn` texts: one with every parameter declared,
which must be a cell, and one in which some are left to be inferred, which may be refused.
Not here: what is done with them (check.py), calls of their kernels (calls.py).

Hypothesis shrinks towards what is drawn first: every table begins with its simplest entry, so a
failing cell becomes short and plain by itself. A construct that is added to the language becomes
a method of `_Maker` and a line in EXPRESSIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import ACTIVATIONS

Width = str | int
Item = TypeVar("Item")

#: Names that a generator may trip over: short ones, those of its own letters, of C and Python's
#: libraries, of the words its text uses.
_STATE_NAMES = ("h", "c", "m", "t", "np", "d_h", "saved", "B", "y1")
_INPUT_NAMES = ("x", "u", "n", "row", "rows", "x_next2", "I", "sizes")
_PARAM_NAMES = ("b", "e", "k", "j", "beta", "args", "d_p", "main", "team", "out", "lengths")
_MATRIX_NAMES = ("W", "U", "V", "A", "R", "M", "T", "params", "W_T", "a_h", "H")
_LOCAL_NAMES = ("v", "z", "g", "i", "f", "acc", "a", "d_v", "size", "unit", "step", "step_1")
_CONST_NAMES = ("alpha", "gamma", "eps", "N", "pi2")

_STATE_WIDTHS: tuple[Width, ...] = ("H", "H", "H", "P", 1, 4, "D")
_INPUT_WIDTHS: tuple[Width, ...] = ("I", "I", "H", 1, 2, "P", "h")
_PARAM_WIDTHS: tuple[Width, ...] = ("H", "H", 1, "P", "I", 4)

#: Functions of any argument; what overflows or has a pole is written with care, below.
UNARY = (
    *(n for n in ACTIVATIONS if not TABLE[n].explodes and TABLE[n].limits[0] is not None),
    "expm1",
)
NUMBERS = ("1", "2", "0.5", "0.1", "1e-3", ".25", "3.", "0", "1.7", "0.30000000000000004", "12")
RELATIONS = ("<", "<=", ">", ">=", "==", "!=")
#: Exponents of any base, and of a positive one.
WHOLE_POWERS = ("2", "3", "1", "4", "0")
POWERS = ("0.5", "2", "-1", "-0.5", "1.5", "-2", "0.3", "1 / 3", "-3")
BOUNDS = (("0", "1"), ("-1", "1"), ("-0.5", "0.7"), ("0.25", "0.25"), ("-2 / 3", "1e3"))
_DOCS = ("A cell.", "x = 1 # no comment here", "h' = (unclosed", "Ünïcödé, \u03c3(v) \u2212 1")


@dataclass(frozen=True, slots=True)
class Drawn:
    """declared: the text with every parameter declared; inferred: with some of them left out;
    poles: whether something may be at a pole, or beyond, outside a branch that is not taken."""

    declared: str
    inferred: str
    poles: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of text: its width; whether a product stands outside brackets; whether it is one
    word or bracketed; whether it holds an array."""

    text: str
    width: Width
    bare: bool = False
    atom: bool = False
    array: bool = True

    def bracketed(self) -> str:
        return self.text if self.atom else f"({self.text})"

    def factor(self) -> str:
        """As an operand where a product would bind otherwise."""
        return self.bracketed() if self.bare else self.text


class _Maker:
    """One cell in the making: its arrays by width and the lines written so far."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.vectors: dict[str, Width] = {}
        self.shared: dict[str, Width] = {}
        self.matrices: dict[str, tuple[Width, Width]] = {}
        self.consts: list[str] = []
        self.taken: set[str] = set()
        self.params: list[tuple[str, str]] = []  # name, declaration
        self.poles = False

    # --- draws

    def pick(self, options: Sequence[Item]) -> Item:
        return self.draw(st.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        """False where it shrinks to."""
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def count(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def name(self, pool: Sequence[str]) -> str:
        free = [name for name in pool if name not in self.taken]
        name = self.pick(free) if free else f"{pool[0]}_{len(self.taken)}"
        self.taken |= {name, f"{name}_next"}
        return name

    # --- operands

    def number(self) -> _Part:
        if self.consts and self.chance(3):
            return _Part(self.pick(self.consts), 1, atom=True, array=False)
        text = self.pick(NUMBERS)
        if self.chance(5):
            return _Part(f"-{text}", 1, array=False)
        return _Part(text, 1, atom=True, array=False)

    def param(self, width: Width) -> str:
        name = self.name(_PARAM_NAMES)
        self.params.append((name, f"{name}: {width}"))
        self.shared[name] = width
        return name

    def matrix(self, rows: Width | None, columns: Width) -> tuple[str, Width]:
        """A matrix with `columns`, known or new, transposed where that fits; and its rows."""
        fitting = [
            (text, shape[0])
            for name, found in self.matrices.items()
            for text, shape in ((name, found), (f"{name}.T", found[::-1]))
            if shape[1] == columns and rows in (None, shape[0])
        ]
        if fitting and self.chance(2):
            return self.pick(fitting)
        rows = self.pick(_STATE_WIDTHS) if rows is None else rows
        name = self.name(_MATRIX_NAMES)
        if self.chance(4):
            self.matrices[name] = (columns, rows)
            self.params.append((name, f"{name}: {columns} x {rows}"))
            return f"{name}.T", rows
        self.matrices[name] = (rows, columns)
        self.params.append((name, f"{name}: {rows} x {columns}"))
        return name, rows

    def leaf(self, width: Width) -> _Part:
        known = {**self.vectors, **self.shared}
        fitting = [name for name, own in known.items() if own in (width, 1)]
        if self.chance(8) or not fitting:
            if self.chance(2) and len(self.shared) < 4:
                return _Part(self.param(width), width, atom=True)
            return self.number()
        name = self.pick(fitting)
        return _Part(name, known[name], atom=True)

    # --- expressions

    def expression(self, width: Width, depth: int) -> _Part:
        if depth <= 0:
            return self.leaf(width)
        return self.pick(EXPRESSIONS)(self, width, depth - 1)

    def product(self, width: Width, depth: int) -> _Part:
        """Rows may be of any width where `width` is 1: nothing else gives a vector of that."""
        known = {**self.vectors, **self.shared}
        if depth > 0 and self.chance(3):
            inner = self.expression(self.pick(list(known.values())), depth - 1)
        else:
            name = self.pick(list(known))
            inner = _Part(name, known[name], atom=True)
        if not inner.array:
            return inner
        matrix, rows = self.matrix(width, inner.width)
        minus = "-" if self.chance(12) else ""
        return _Part(f"{matrix} @ {minus}{inner.bracketed()}", rows, bare=True)

    def affine(self, width: Width, depth: int) -> _Part:
        """A gate's argument: a product with a state or two and with an input, and a vector."""
        own = [self.pick(list(self.states().items()))]
        others = [pair for pair in self.vectors.items() if pair[0] in _INPUT_NAMES]
        own += [self.pick(others or list(self.vectors.items()))]
        terms = [f"{self.matrix(width, columns)[0]} @ {name}" for name, columns in own]
        if width != 1 and self.chance(2):
            terms.append(self.param(width))
        elif self.chance(3):
            terms.append(self.leaf(width).factor())
        order = self.draw(st.permutations(terms)) if self.chance(2) else terms
        return _Part(" + ".join(order), width, bare=True)

    def states(self) -> dict[str, Width]:
        return {name: width for name, width in self.vectors.items() if name in _STATE_NAMES}

    def unary(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        return _Part(f"{self.pick(UNARY)}({inner.text})", inner.width, False, True, inner.array)

    def sum_of(self, width: Width, depth: int) -> _Part:
        a, b = self.expression(width, depth), self.expression(width, depth)
        sign = self.pick("+-")
        right = b.bracketed() if self.chance(3) else b.text
        return self.both(f"{a.text} {sign} {right}", a, b, a.bare or b.bare)

    def times(self, width: Width, depth: int) -> _Part:
        a, b = self.expression(width, depth), self.expression(width, depth)
        left = a.bracketed() if self.chance(2) else a.text
        right = b.bracketed() if self.chance(2) else b.factor()
        return self.both(f"{left} * {right}", a, b, a.bare)

    def both(self, text: str, a: _Part, b: _Part, bare: bool, atom: bool = False) -> _Part:
        width = a.width if a.width != 1 else b.width
        return _Part(text, width, bare, atom, a.array or b.array)

    def minus(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        return _Part(f"-{inner.factor()}", inner.width, False, False, inner.array)

    def quotient(self, width: Width, depth: int) -> _Part:
        a, b = self.expression(width, depth), self.expression(width, depth)
        safe = self.pick(("(2 + abs({}))", "exp({})", "sqrt(1 + ({}) ** 2)")).format(b.text)
        return self.both(f"{a.bracketed()} / {safe}", a, b, False)

    def where(self, width: Width, depth: int) -> _Part:
        """One in three guards a branch that is not finite where it is not taken."""
        a, b = self.expression(width, depth), self.expression(width, depth)
        c, d = self.expression(width, depth), self.expression(width, depth)
        chosen, test = c.text, f"{a.text} {self.pick(RELATIONS)} {b.text}"
        if self.chance(3):
            of = self.pick(("log({})", "sqrt({})", "1 / ({})", "({}) ** -0.5", "log1p({})"))
            chosen, test = of.format(a.text), f"{a.text} > 0.1"
            c, b = a, a
        width = next((part.width for part in (a, b, c, d) if part.width != 1), 1)
        array = any(part.array for part in (a, b, c, d))
        return _Part(f"where({test}, {chosen}, {d.text})", width, False, True, array)

    def larger(self, width: Width, depth: int) -> _Part:
        a, b = self.expression(width, depth), self.expression(width, depth)
        text = f"{self.pick(('maximum', 'minimum'))}({a.text}, {b.text})"
        return self.both(text, a, b, False, True)

    def clip(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        low, high = self.pick(BOUNDS)
        return _Part(f"clip({inner.text}, {low}, {high})", inner.width, False, True, inner.array)

    def reduction(self, width: Width, depth: int) -> _Part:
        of = self.pick(list({**self.vectors, **self.shared}.values()))
        inner = self.expression(of, depth)
        return _Part(f"{self.pick(('sum', 'mean'))}({inner.text})", 1, False, True, inner.array)

    def layer_norm(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        return _Part(f"layer_norm({inner.text})", inner.width, False, True, inner.array)

    def power(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        text = f"{inner.bracketed()} ** {self.pick(WHOLE_POWERS)}"
        return _Part(text, inner.width, False, False, inner.array)

    def root(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        safe = self.pick(("(1 + abs({}))", "(2 + sin({}))", "exp({})")).format(inner.factor())
        exponent = self.pick(POWERS)
        exponent = f"({exponent})" if "/" in exponent else exponent
        return _Part(f"{safe} ** {exponent}", inner.width, False, False, inner.array)

    def log(self, width: Width, depth: int) -> _Part:
        inner = self.expression(width, depth)
        of = self.pick(("log(1 + abs({}))", "sqrt(1 + exp({}))", "log1p(abs({}))", "exp(-abs({}))"))
        return _Part(of.format(inner.factor()), inner.width, False, True, inner.array)

    def raw(self, width: Width, depth: int) -> _Part:
        """A function of any argument: often not finite, which must not end in a crash."""
        inner = self.leaf(width)
        of = self.pick(("exp({})", "sqrt({})", "log({})", "1 / ({})", "log1p({})", "exp(({}) * 9)"))
        if not inner.array:
            return inner
        self.poles = self.poles or not of.startswith("exp")
        text = of.format(inner.text)
        return _Part(text if text[-1] == ")" and text[0] != "1" else f"({text})", inner.width,
                     False, True)  # fmt: skip

    # --- statements

    def declare(self) -> list[str]:
        lines = []
        for kind, pool, widths, counts in (
            ("input", _INPUT_NAMES, _INPUT_WIDTHS, (1, 1, 2, 0)),
            ("state", _STATE_NAMES, _STATE_WIDTHS, (1, 1, 2, 2, 3)),
        ):
            entries = []
            for _ in range(self.pick(counts)):
                name, width = self.name(pool), self.pick(widths)
                self.vectors[name] = width
                default = {"input": "I", "state": "H"}[kind]
                entries.append(name if width == default and self.chance(4) else f"{name}: {width}")
            if len(entries) > 1 and self.chance(2):
                lines.append(f"{kind} {', '.join(entries)}")
            else:
                lines += [f"{kind} {entry}" for entry in entries]
        for _ in range(self.pick((0, 0, 1, 2))):
            name = self.name(_CONST_NAMES)
            value = self.pick(("0.5", "2", "-1.25", "1 / 3", "sqrt(2)", "1e-2"))
            if self.consts and self.chance(2):
                value = f"{self.consts[-1]} * ({value}) + 1"
            lines.append(f"const {name} = {value}")
            self.consts.append(name)
        for _ in range(self.pick((0, 1, 2))):
            self.param(self.pick(_PARAM_WIDTHS))
        return lines

    def visible(self, part: _Part, width: Width) -> str:
        """The part with an array in it: a definition needs one, to have a width."""
        if part.array:
            return part.text
        return f"{part.text} + {self.pick([n for n, w in self.vectors.items() if w == width])}"

    def define(self) -> list[str]:
        """Definitions and next values, in any order; one cell in three begins with gates."""
        states = self.states()
        todo = [None] * self.pick((0, 1, 1, 2, 3)) + list(states)
        lines = []
        gates, width = self.pick((0, 0, 0, 0, 2, 3, 4)), self.pick(list(states.values()))
        for _ in range(gates):
            text = f"{self.pick(('sigmoid', 'tanh', *UNARY))}({self.affine(width, 0).text})"
            name = self.name(_LOCAL_NAMES)
            lines.append(f"{name} = {text}")
            self.vectors[name] = width
        for state in todo if not self.chance(3) else todo[::-1]:
            if state is None:
                width = self.pick(list(self.vectors.values()))
                part = self.expression(width, self.pick((1, 2, 3)))
                name = self.name(_LOCAL_NAMES)
                lines.append(f"{name} = {self.visible(part, width)}")
                self.vectors[name] = part.width if part.array else width
                continue
            width = states[state]
            form = self.pick(("{}", "tanh({})", "0.5 * tanh({}) + 0.2 * {}", "{}"))
            part = self.expression(width, self.pick((1, 2, 2, 3)))
            text = form.format(part.text, state)
            spelled = f"{state}_next" if self.chance(6) else f"{state}'"
            lines.append(f"{spelled} = {text}")
            own = part.width if form != "0.5 * tanh({}) + 0.2 * {}" else width
            # A scalar is repeated to the state's width, which is the width of the next value.
            self.vectors[f"{state}'"] = width if own == 1 else own
        return lines

    def outputs(self) -> list[str]:
        names = [*reversed(self.vectors)]
        count = self.pick((1, 1, 2, 3))
        chosen = [self.pick(names) for _ in range(count)]
        return [f"output {', '.join(dict.fromkeys(chosen))}"]


EXPRESSIONS: tuple[Callable[[_Maker, Width, int], _Part], ...] = (
    lambda maker, width, depth: maker.leaf(width),
    _Maker.product, _Maker.product, _Maker.product, _Maker.product, _Maker.affine, _Maker.affine,
    _Maker.unary, _Maker.unary, _Maker.unary,
    _Maker.sum_of, _Maker.sum_of, _Maker.sum_of,
    _Maker.times, _Maker.times, _Maker.times,
    _Maker.minus, _Maker.quotient, _Maker.power, _Maker.clip, _Maker.larger,
    _Maker.reduction, _Maker.reduction, _Maker.layer_norm, _Maker.log, _Maker.root,
    _Maker.where, _Maker.where, _Maker.raw,
)  # fmt: skip


@st.composite
def cells(draw: st.DrawFn) -> Drawn:
    """Texts of well-typed cells, called `fuzzed`."""
    maker = _Maker(draw)
    declarations = maker.declare()
    body = maker.define()
    outputs = maker.outputs()
    head = ["cell fuzzed"]
    if maker.chance(6):
        head.append(f"doc {maker.pick(_DOCS)}")
    if maker.chance(5):
        body = [line.replace("(", "(  # opened here\n    ", 1) for line in body]
    params = [f"param {text}" for _, text in maker.params]
    hidden = {param for param, _ in maker.params if maker.chance(3)}
    shown = [f"param {text}" for param, text in maker.params if param not in hidden]

    def text(own: list[str]) -> str:
        return "\n".join([*head, *declarations, *own, *body, *outputs, ""])

    return Drawn(text(params), text(shown), maker.poles)
