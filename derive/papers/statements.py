r"""The statements of a text -> equations, functions, constants, shapes, outputs.

In: passages.  Out: `Collected`: what the statements say, and what could not be read.
Not here: what a text consists of (passages.py), the cell that this makes (assemble.py).

`h_t = ...` is an equation, `g(u) = ...` a function of the paper, `\beta = 1` a constant,
`W \in \mathbb{R}^{H x I}` a shape, `h_0 = 0` says that h is a state, and "Outputs: $h_t$" is a
line that names outputs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from derive.errors import CellError
from derive.language import names
from derive.papers.parse import parse
from derive.papers.passages import Passage, Prose, Statement
from derive.papers.roles import Equation, Key, Macro, is_number, macro_of, name_of
from derive.papers.symbols import Indices
from derive.papers.tokens import Text, Token
from derive.papers.tree import Group, Node, Product, Symbol
from derive.papers.widths import Shape
from derive.widths import Dim, Width

#: What a formula without a relation holds that was meant as an equation, and what it does not.
_COMMANDS = frozenset("sigma tanh odot circ cdot tilde hat frac exp".split())
_OTHER_RELATIONS = frozenset("rightarrow to mapsto le leq ge geq sim approx propto < >".split())


@dataclass
class Collected:
    """asides: parts of the text that are no equation, or were not read.  mentioned: symbols with
    an index of time.  outputs: symbols, and whether it is the value of the step before.
    begun: states, by an index 0.  failed: what equations define that were not read.
    shaped_at: {name: where its shape is printed}."""

    text: Text
    letters: Indices
    errors: list[CellError] = field(default_factory=list)
    asides: list[tuple[int, int]] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    macros: dict[Key, Macro] = field(default_factory=dict)
    consts: dict[Key, tuple[Symbol, Node]] = field(default_factory=dict)
    shaped: dict[Key, Shape] = field(default_factory=dict)
    shaped_at: dict[str, int] = field(default_factory=dict)
    mentioned: dict[Key, None] = field(default_factory=dict)
    outputs: dict[tuple[Key, bool], None] = field(default_factory=dict)
    begun: set[Key] = field(default_factory=set)
    failed: set[Key] = field(default_factory=set)
    timed: set[Key] = field(default_factory=set)
    labelled: set[Key] = field(default_factory=set)  # "Inputs:", "States:" and "Parameters:"
    indexed: dict[Key, None] = field(default_factory=dict)  # parameters with an index t

    def add(self, found: Sequence[Passage]) -> None:
        for passage in found:
            if isinstance(passage, Statement) and passage.relation == "=":
                for item in self.left_of(passage):
                    if item.time is not None:
                        self.timed.add(item.key)
        for passage in found:
            if isinstance(passage, Prose):
                self.comment(passage.start, passage.end)
                continue
            if passage.inline:
                self.comment(passage.start, passage.end)
            try:
                self.statement(passage)
            except CellError as error:
                self.comment(passage.start, passage.end)
                if not passage.inline or passage.label:
                    self.errors.append(error)
                    self.fail(passage)

    def fail(self, statement: Statement) -> None:
        """Remember what an equation would have defined that could not be read."""
        if statement.relation == "=":
            self.failed |= {item.key for item in self.left_of(statement)}

    def left_of(self, statement: Statement) -> list[Symbol]:
        """The symbols on the left, as far as it can be read."""
        try:
            left = parse(self.text, statement.left, self.letters, statement.end)
        except CellError:
            return []
        items = left.items if isinstance(left, Group) else (left,)
        return [item for item in items if isinstance(item, Symbol)]

    def begins(self, symbol: Symbol) -> bool:
        """Whether a symbol is the first value of an array, h_0, and not the name of another."""
        return symbol.start and _without_start(symbol) in self.timed

    def comment(self, start: int, end: int) -> None:
        """Keep a part of the LaTeX as a comment."""
        self.asides.append((start, end))

    # --- statements ------------------------------------------------------------------------

    def statement(self, statement: Statement) -> None:
        if statement.relation == "in":
            self.declare(statement)
            return
        if statement.relation == "":
            self.mention(statement)
            return
        left = parse(self.text, statement.left, self.letters, statement.end)
        if isinstance(left, Symbol) and (
            (left.key == (self.letters.time, (), ()) and left.time is None) or self.begins(left)
        ):
            if left.start:
                self.begun.add(_without_start(left))
            self.comment(statement.start, statement.end)
            return
        starts = left.items if isinstance(left, Group) else ()
        if starts and all(isinstance(s, Symbol) and self.begins(s) for s in starts):
            self.begun |= {_without_start(s) for s in starts if isinstance(s, Symbol)}
            self.comment(statement.start, statement.end)
            return
        right = parse(self.text, statement.right, self.letters, statement.end)
        if macro := macro_of(left):
            function, argument = macro
            self.macros[function.key] = Macro(argument.key, right)
            return
        targets = self.targets(left, statement)
        (first, *others) = targets
        if not others and first.time is None and is_number(right):
            self.consts[first.key] = (first, right)
            return
        self.equations.append(Equation(tuple(targets), right, statement.start, statement.end))

    def targets(self, left: Node, statement: Statement) -> list[Symbol]:
        while isinstance(left, Group) and len(left.items) == 1:
            (left,) = left.items
        items = left.items if isinstance(left, Group) else (left,)
        if isinstance(left, Product) and (named := _named(left)) is not None:
            items = (named,)
        found = []
        for item in items:
            if not isinstance(item, Symbol):
                raise self.text.error(
                    "an equation defines a symbol, or several below each other", item.at,
                    "h_t = ...",
                )  # fmt: skip
            if item.transposed:
                raise self.text.error("a transposed symbol is defined", item.at)
            same = (item.key, item.time is None)
            if any(same == (s.key, s.time is None) for e in self.equations for s in e.left):
                what = f"'{name_of(item.key)}' is defined twice"
                raise self.text.error(what, item.at, "one of the two equations")
            found.append(item)
        return found

    def declare(self, statement: Statement) -> None:
        r"""W, U \in \mathbb{R}^{H \times I}."""
        left = parse(self.text, statement.left, self.letters, statement.end)
        right = [t for t in statement.right if t.kind != "space"]
        if not right or right[0].text != "R":
            self.comment(statement.start, statement.end)
            return
        dims = _dims(right)
        for item in left.items if isinstance(left, Group) else (left,):
            if not isinstance(item, Symbol):
                continue
            key = item.key
            if statement.label == "parameter" and item.time == 0:
                key = with_index(item, self.letters.time).key
                self.indexed[item.key] = None
            elif self.begins(item) and statement.label != "parameter":
                key = _without_start(item)
                self.begun.add(key)
            array = key != item.key if item.time is None else key == item.key
            if array:
                self.mentioned[key] = None
            # In `X_t \in R^{n x d}` of a text the rows are those of a batch.
            self.shaped[key] = dims[-1:] if array and not statement.label else dims
            if statement.label:
                self.labelled.add(key)
            self.shaped_at[name_of(key)] = item.at
            if statement.label == "output":
                self.outputs[key, item.time == -1] = None

    def mention(self, statement: Statement) -> None:
        if not statement.inline:
            self.comment(statement.start, statement.end)
            texts = {t.text for t in statement.left}
            if texts & _COMMANDS and not texts & _OTHER_RELATIONS:
                raise self.text.error("this formula is no equation", statement.start, "h_t = ...")
            return
        left = parse(self.text, statement.left, self.letters, statement.end)
        for item in left.items if isinstance(left, Group) else (left,):
            if isinstance(item, Symbol) and statement.label == "output":
                self.outputs[item.key, item.time == -1] = None
                self.mentioned[item.key] = None
            elif isinstance(item, Symbol) and self.begins(item):
                self.begun.add(_without_start(item))


def _named(left: Product) -> Symbol | None:
    r"""`\mathrm{Retention}(X_n) = ...`: what a layer puts out, by its name."""
    (_, name), *rest = left.factors
    several = isinstance(name, Symbol) and len(name.base) > 2 and name.time is None
    groups = [factor for _, factor in rest]
    if not several or len(groups) != 1 or not isinstance(groups[0], Group):
        return None
    timed = [s for s in groups[0].items if isinstance(s, Symbol) and s.time == 0]
    assert isinstance(name, Symbol)
    return replace(name, time=0) if timed else None


def with_index(symbol: Symbol, letter: str) -> Symbol:
    """A parameter W_t: its index is part of its name."""
    return replace(symbol, parts=(*symbol.parts, letter), time=None)


def _without_start(symbol: Symbol) -> Key:
    base, accents, parts = symbol.key
    return base, accents, tuple(part for part in parts if part != "0")


def _dims(right: Sequence[Token]) -> Shape:
    """The dimensions of R^{H x I}; () of R. `4 H` and `I + H` are one width each."""
    axes: list[list[str]] = [[""]]
    for token in right[1:]:
        word = token.text
        if word in ("times", "*"):
            axes.append([""])
        elif word == "+":
            axes[-1].append("")
        elif word not in "^{}_(),." and re.fullmatch(r"[A-Za-z0-9]+", word):
            before = axes[-1][-1]
            joined = "_" if before and not word.isdigit() else ""
            axes[-1][-1] += ("*" if before.isdigit() and joined else joined) + word
    dims = [[term for term in axis if term] for axis in axes]
    return tuple(_axis(terms) for terms in dims if terms)


def _axis(terms: Sequence[str]) -> Dim:
    if len(terms) == 1 and terms[0].isdigit():
        return int(terms[0])
    found = Width.of(0)
    for term in terms:
        factor, star, name = term.rpartition("*")
        width = Width.of(name if name.isdigit() else _dim(name))
        found = found + (width.times(int(factor)) if star else width)
    return found.dim


def _dim(word: str) -> str:
    plain = word if word[0].isalpha() else f"n{word}"
    return plain if names.dimension_fault(plain) is None else f"{plain}_"
