"""The tokens of one side of an equation -> a formula.

In: tokens.  Out: nodes of tree.py; CellError with the place of what cannot be read.
Not here: cases and columns (environments.py); what a symbol is, and so what stands beside another
multiplies or calls (products.py).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from derive.errors import CellError
from derive.papers import symbols
from derive.papers.environments import CONDITIONS, environment
from derive.papers.passages import RELATIONS
from derive.papers.symbols import Indices
from derive.papers.tokens import Text, Token
from derive.papers.tree import (
    Around,
    Fraction,
    Function,
    Group,
    Node,
    Number,
    Power,
    Product,
    Sum,
    Symbol,
)
from derive.papers.vocabulary import FUNCTIONS, GREEK, UNKNOWN

MAX_DEPTH = 60
#: Functions whose index says nothing that their argument does not.
_PLAIN = ("layer_norm", "Linear")

_SIGNS = {"odot": "o", "circ": "o", "otimes": "x", "bullet": "o", "cdot": ".", "*": "*",
          "times": "*", "ast": "*", "star": "*", "/": "/", "div": "/", "oslash": "/",
          "bmod": "mod", "mod": "mod"}  # fmt: skip
_CLOSERS = {"(": ")", "[": "]", "\\{": "\\}", "langle": "rangle", "lfloor": "rfloor",
            "lbrack": "rbrack", "lvert": "rvert"}  # fmt: skip


#: Commands that mean something no equation of the language can say by itself.
_EXPLAINED: Mapping[str, tuple[str, str | None]] = {
    "nabla": (
        "a gradient inside the cell is not taken: write it out",
        "2 (M_{t-1} k_t - v_t) k_t^T",
    ),
    "Re": ("complex numbers are not read: write the real and the imaginary part", None),
    "Im": ("complex numbers are not read: write the real and the imaginary part", None),
    "partial": ("a derivative inside the cell is not taken: write it out", None),
    "int": ("an integral is not read: write the step of the solver", None),
}


def parse(text: Text, row: Sequence[Token], letters: Indices, end: int) -> Node:
    """One side of an equation, which ends at `end`."""
    reader = Reader(text, _without_tabs(row), letters, end)
    node = reader.items()
    if reader.at < len(reader.row):
        raise reader.unexpected(reader.row[reader.at])
    return node[0] if len(node) == 1 else Group("", tuple(node), at=node[0].at)


def _without_tabs(row: Sequence[Token]) -> list[Token]:
    """Columns mean something inside environments alone."""
    found, depth = [], 0
    for token in row:
        depth += (token.kind == "begin") - (token.kind == "end")
        if token.kind != "tab" or depth:
            found.append(token)
    return found


class Reader:
    """A row of tokens, and how far it is read."""

    def __init__(self, text: Text, row: list[Token], letters: Indices, end: int) -> None:
        self.text, self.row, self.end = text, row, end
        self.letters, self.letter = letters, letters.time
        self.at = 0
        self.depth = 0
        self.bars = 0

    # --- tokens ----------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token:
        k = self.at
        while k < len(self.row) and self.row[k].kind == "space":
            k += 1
        k += ahead
        return self.row[k] if k < len(self.row) else Token("end of it", "", self.end)

    def take(self) -> Token:
        token = self.peek()
        while self.at < len(self.row) and self.row[self.at].kind == "space":
            self.at += 1
        self.at += 1
        return token

    def error(self, what: str, at: int, hint: str | None = None) -> CellError:
        return self.text.error(what, at, hint)

    def unexpected(self, token: Token) -> CellError:
        if token.kind == "end of it":
            return self.error("something is missing here", token.at)
        shown = f"\\{token.text}" if token.kind == "command" else token.text
        if token.kind in ("begin", "end"):
            shown = f"\\{token.kind}{{{token.text}}}"
        return self.error(f"'{shown}' has no meaning here", token.at)

    def expect(self, wanted: str) -> None:
        token = self.take()
        if token.text != wanted:
            what = f"'{wanted}' is missing here"
            raise self.error(what, token.at)

    # --- sums and products -----------------------------------------------------------------

    def items(self) -> list[Node]:
        """Expressions with commas or semicolons between them."""
        found = [self.sum()]
        while self.peek().text in (",", ";") or self.peek().kind == "row":
            self.take()
            if self.peek().kind in ("end of it", "end") or self.peek().text in ")]":
                break
            found.append(self.sum())
        return found

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"this nests deeper than {MAX_DEPTH} levels", self.peek().at)
        at = self.peek().at
        sign = self.take().text if self.peek().text in ("+", "-") else "+"
        terms = [(sign, self.product())]
        while self.peek().text in ("+", "-") and self.peek().kind == "sign":
            terms.append((self.take().text, self.product()))
        self.depth -= 1
        return terms[0][1] if len(terms) == 1 and sign == "+" else Sum(tuple(terms), at)

    def product(self) -> Node:
        at = self.peek().at
        factors: list[tuple[str, Node]] = [("", self.factor())]
        while True:
            token = self.peek()
            if token.text in _SIGNS and token.kind in ("sign", "command"):
                self.take()
                negative = self.peek().text == "-"
                if negative:
                    self.take()
                    factors.append((_SIGNS[token.text], Number("-1", token.at)))
                factors.append(("o" if negative else _SIGNS[token.text], self.factor()))
            elif self.begins(token):
                factors.append(("", self.factor()))
            else:
                break
        return factors[0][1] if len(factors) == 1 else Product(tuple(factors), at)

    def begins(self, token: Token) -> bool:
        """Whether a factor begins here, beside the one before it."""
        if token.kind in ("letter", "number", "word", "open", "begin"):
            return True
        if token.kind == "command":
            return token.text not in (*_SIGNS, *RELATIONS, *CONDITIONS, *_CLOSERS.values())
        return token.text in ("(", "[", "\\{") or (token.text in ("|", "\\|") and self.bars == 0)

    # --- factors ---------------------------------------------------------------------------

    def factor(self) -> Node:
        braced = self.peek().kind == "open"
        node, scripts = self.base(), []
        is_sigma = isinstance(node, Symbol) and node.base == "sigma" and not node.accents
        if braced and is_sigma and self.peek().text != "(":
            assert isinstance(node, Symbol)
            node = replace(node, base="sigma_")  # {\\sigma}: an array and no function
        while self.peek().text in ("_", "^", "'", "prime") and self.peek().kind != "letter":
            token = self.take()
            if token.text in ("'", "prime"):
                scripts.append((token, [Token("letter", "p", token.at)]))
            else:
                scripts.append((token, self.script()))
        if isinstance(node, Symbol):
            return self.marked(node, scripts)
        for token, script in scripts:
            node = self.raised(node, token, script)
        return node

    def script(self) -> list[Token]:
        """The tokens of a sub- or superscript."""
        token = self.take()
        if token.kind == "end of it":
            raise self.unexpected(token)
        if token.kind != "open":
            is_accent = symbols.accent(token) is not None
            return [token, *(self.script() if is_accent else [])]
        found: list[Token] = []
        depth = 1
        while True:
            if self.at >= len(self.row):
                raise self.error("'}' is missing here", self.end)
            token = self.row[self.at]
            self.at += 1
            depth += (token.kind == "open") - (token.kind == "close")
            if depth == 0:
                return found
            found.append(token)

    def marked(self, symbol: Symbol, scripts: list[tuple[Token, list[Token]]]) -> Node:
        """A symbol with its scripts, and what remains of them as an exponent."""
        exponent: tuple[list[Token], int] | None = None
        for token, script in scripts:
            found = symbols.parts(script)
            if token.text == "^" and symbols.is_transpose(found):
                symbol = replace(symbol, transposed=True)
            elif token.text == "^" and self.is_exponent(symbol, script, found):
                exponent = script, token.at
            else:
                symbol = self.indexed(symbol, found)
        if exponent is not None:
            return Power(symbol, self.inner(*exponent), exponent[1])
        length = self.time_call() if symbol.time is None else 0
        if length:
            inner = "".join(self.take().text for _ in range(length + 2))[1:-1]
            symbol = replace(symbol, time=symbols.time_of(inner, self.letter))
        return symbol if symbol.time is None else replace(symbol, start=False)

    def is_exponent(self, symbol: Symbol, script: list[Token], found: Sequence[str]) -> bool:
        """Whether what stands above a symbol is a power, and no time and no part of its name."""
        if len(script) > 1 and script[0].text in ("odot", "circ"):
            return True
        if all(part.isdigit() for part in found):
            is_matrix = symbol.base[0].isupper() and symbol.time is None
            if is_matrix and not symbol.parts and symbol.base in self.letters.bare:
                number = "".join(found)
                raise self.error(
                    f"{symbol.base}^{number} is a power of the matrix {symbol.base}, or another "
                    "matrix", symbol.at, f"{symbol.base}_{number}",
                )  # fmt: skip
            return symbol.base not in self.letters.numbered and not is_matrix
        times = [symbols.time_of(part, self.letter) for part in found]
        names = all(t is not None or symbols.is_name(p) for t, p in zip(times, found, strict=True))
        nested = any(inner.text == "_" for inner in script)
        return not names or nested or (symbol.base == "e" and not symbol.parts)

    def indexed(self, symbol: Symbol, found: Sequence[str]) -> Symbol:
        time, start = symbol.time, symbol.start
        kept = list(symbol.parts)
        for part in found:
            when = symbols.time_of(part, self.letter)
            if when is not None and time is None:
                time = when
            elif part == "0":
                start = True
                kept.append(part)
            elif re.fullmatch(rf"{self.letter}(bar|tilde|hat|p)", part):
                what = f"the index {part} names no step"
                raise self.error(what, symbol.at, f"{self.letter} or {self.letter}-1")
            elif part not in self.letters.units:
                kept.append(symbols.in_a_name(part))
        return replace(symbol, parts=tuple(kept), time=time, start=start)

    def time_call(self) -> int:
        """How many tokens stand in the brackets of `(t)` or `(t-1)`; 0 where none follow."""
        for length in (1, 3):
            words = [self.peek(k).text for k in range(length + 2)]
            inner = "".join(words[1:-1])
            if words[0] == "(" and words[-1] == ")" and inner[:1] == self.letter:
                return length if symbols.time_of(inner, self.letter) is not None else 0
        return 0

    def raised(self, node: Node, token: Token, script: list[Token]) -> Node:
        """A bracket, number or function with a script."""
        found = symbols.parts(script)
        if token.text == "^" and symbols.is_transpose(found):
            if not isinstance(node, Group):
                raise self.error("something is transposed that is no vector or matrix", token.at)
            return replace(node, transposed=not node.transposed)
        if isinstance(node, Function) and node.name in _PLAIN and token.text == "_":
            return node
        if len(found) == 1 and found[0] in self.letters.units:
            return node
        if token.text == "_" and isinstance(node, Number) and node.text == "1":
            return node  # a matrix of ones, and its shape
        if token.text == "_" or token.text not in "^":
            raise self.error("an index belongs to a symbol", token.at)
        return Power(node, self.inner(script, token.at), token.at)

    def inner(self, script: list[Token], at: int) -> Node:
        if script and script[0].text in ("odot", "circ") and len(script) > 1:
            script = script[1:]  # k^{\\odot 2}: element by element, as all powers are
        end = script[-1].at + len(script[-1].text) if script else at + 1
        return parse(self.text, script, self.letters, end)

    def base(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Number(token.text, token.at)
        if token.kind in ("letter", "word"):
            return self.named(token)
        if token.kind == "open":
            node = self.items()
            self.expect("}")
            return node[0] if len(node) == 1 else Group("", tuple(node), at=token.at)
        if token.kind == "begin":
            return environment(self, token)
        if token.text in _CLOSERS and token.kind in ("sign", "command"):
            return self.bracketed(token)
        if token.text in ("|", "\\|", "vert") and token.kind in ("sign", "command"):
            return self.absolute(token)
        if token.kind == "command":
            return self.command(token)
        if token.text == "-" or token.text == "+":
            node_ = self.factor()
            return node_ if token.text == "+" else Sum((("-", node_),), token.at)
        raise self.unexpected(token)

    def named(self, token: Token) -> Node:
        indexed = self.peek().text == "_" and FUNCTIONS.get(token.text) not in _PLAIN
        if token.kind == "word" and token.text in FUNCTIONS and not indexed:
            return Function(FUNCTIONS[token.text], token.at)
        if token.kind == "word" and token.text in UNKNOWN and self.peek().text in ("(", "_", "["):
            raise self.error(f"the language has no function {token.text}", token.at)
        if token.kind == "letter":
            word = self.spelled(token)
            if word:
                return word
        return Symbol(token.text, at=token.at)

    def spelled(self, token: Token) -> Function | None:
        """A function that is spelled in plain letters: tanh(x), sigmoid(x)."""
        letters = [token.text]
        while self.peek(len(letters) - 1).kind == "letter":
            following = self.peek(len(letters) - 1)
            if following.at != token.at + len(letters):
                break
            letters.append(following.text)
        word = "".join(letters)
        if len(word) > 2 and word in UNKNOWN:
            raise self.error(f"the language has no function {word}", token.at)
        if len(word) < 3 or word not in FUNCTIONS:
            return None
        for _ in letters[1:]:
            self.take()
        return Function(FUNCTIONS[word], token.at)

    def command(self, token: Token) -> Node:
        name = token.text
        if (mark := symbols.accent(token)) is not None:
            return self.accented(token, mark)
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            return Fraction(self.braced(), self.braced(), token.at)
        if name == "sqrt":
            if self.peek().text == "[":
                raise self.error(
                    "a root of another order is written as a power", token.at, "v^{1/3}"
                )
            return Around("sqrt", self.braced(), token.at)
        if name == "Delta" and self.peek().text in ("t", "tau") and self.peek().at < token.at + 9:
            self.take()
            return Symbol("dt", at=token.at)
        if name == "sum":
            return self.total(token)
        if name in FUNCTIONS:
            return Function(FUNCTIONS[name], token.at)
        if name in GREEK:
            return Symbol(name.removeprefix("var") + self.digits(token), at=token.at)
        if name in ("mathbb1", "mathbbm", "bbone"):
            return Number("1", token.at)
        if name in _EXPLAINED:
            what, hint = _EXPLAINED[name]
            raise self.error(what, token.at, hint)
        raise self.error(f"'\\{name}' is not understood", token.at)

    def digits(self, token: Token) -> str:
        r"""The number that belongs to a letter, as in {\beta1}."""
        following = self.peek()
        beside = following.at == token.at + len(token.text) + 1
        return self.take().text if following.kind == "number" and beside else ""

    def total(self, token: Token) -> Node:
        """A sum over the units, as far as it is written for reading back: sum_j(v)."""
        if self.peek().text == "_":
            self.take()
            if symbols.parts(self.script()) != ("j",):
                raise self.error("a sum runs over the units, by the index j", token.at)
            row = [later for later in self.row if later.at > token.at and later.kind != "open"]
            for sign, later in itertools.pairwise(row):
                if sign.text == "^" and later.text == "j":
                    raise self.error("the index of a sum is a power here", later.at, "x_j")
        return Function("sum", token.at)

    def braced(self) -> Node:
        token = self.peek()
        if token.kind == "open":
            return self.base()
        if token.kind == "number" and len(token.text) > 1 and "." not in token.text:
            self.row[self.row.index(token)] = replace(token, text=token.text[1:], at=token.at + 1)
            return Number(token.text[0], token.at)
        return self.base()

    def accented(self, token: Token, mark: str) -> Node:
        inner = self.base()
        if not isinstance(inner, Symbol):
            raise self.error(f"'\\{token.text}' belongs over a symbol", token.at)
        return replace(inner, accents=(*inner.accents, mark), at=token.at)

    def bracketed(self, token: Token) -> Node:
        bars, self.bars = self.bars, 0
        items = self.items()
        self.expect(_CLOSERS[token.text])
        self.bars = bars
        if token.text in ("lfloor", "lvert"):
            function = {"lfloor": "floor", "lvert": "abs"}[token.text]
            return Around(function, items[0], token.at)
        return Group(token.text, tuple(items), at=token.at)

    def absolute(self, token: Token) -> Node:
        self.bars += 1
        inner = self.sum()
        self.bars -= 1
        self.expect(token.text)
        return Around("norm" if token.text == "\\|" else "abs", inner, token.at)
