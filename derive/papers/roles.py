"""What each symbol of a set of equations is: an input, a state, a parameter, a function.

In: equations, and what the reader was told.  Out: `Roles`; names in `.cell` text.
Not here: right sides as expressions (translate.py), widths (widths.py).

What is on the left of an equation is defined. A symbol with an index of time that is defined
nowhere is an input. A defined symbol that is read at an earlier step is a state. Everything else is
a parameter, unless it stands before brackets and is one of the letters that papers use for
functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from derive.language import names
from derive.papers.tree import Group, Node, Number, Product, Sum, Symbol, symbols, walk
from derive.papers.vocabulary import FUNCTIONS

Key = tuple[str, tuple[str, ...], tuple[str, ...]]

#: Letters that stand for a function where brackets follow, and what is taken for it.
LETTERS = {
    "sigma": "sigmoid", "phi": "tanh", "psi": "tanh", "rho": "tanh", "f": "tanh", "g": "tanh",
    "h": "tanh", "act": "tanh",
}  # fmt: skip
#: sigma_c and sigma_h of Wikipedia's LSTM.
_TANH_INDICES = frozenset({"c", "h"})
MEANINGS = ("input", "matrix", "vector", "scalar")


@dataclass(frozen=True, slots=True)
class Equation:
    """left are several where a column of gates is defined at once."""

    left: tuple[Symbol, ...]
    right: Node
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Macro:
    """f(u) = ... of the paper: `argument` is u."""

    argument: Key
    body: Node


@dataclass(slots=True)
class Roles:
    """told: {name in .cell text: meaning}, from the command line.  letter: of time."""

    equations: Sequence[Equation]
    macros: Mapping[Key, Macro]
    told: Mapping[str, str]
    shaped: Mapping[Key, int]  # how many dimensions a line such as W \in R^{H x I} gives
    mentioned: frozenset[Key]  # symbols with an index of time, and those told to be inputs
    defined: dict[Key, Equation] = field(default_factory=dict)
    lags: dict[Key, int] = field(default_factory=dict)  # the earliest step at which it is read
    shifts: dict[Key, int] = field(default_factory=dict)  # of an input that is read late alone
    arrays: set[Key] = field(default_factory=set)
    _names: dict[Key, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for equation in self.equations:
            for symbol in equation.left:
                self.defined.setdefault(symbol.key, equation)
        self.arrays = {*self.defined, *self.mentioned}
        for equation in self.equations:
            self.arrays |= {s.key for s in symbols(equation.right) if s.time is not None}
        self.arrays |= {s.key for s in self._all() if self.told.get(name_of(s.key)) == "input"}
        if not self.arrays - set(self.defined):
            self.arrays |= {s.key for s in self._all() if s.key == ("x", (), ())}
        found: dict[Key, list[int]] = {}
        for equation in self.equations:
            for symbol in symbols(equation.right):
                if symbol.key in self.arrays:
                    found.setdefault(symbol.key, []).append(self.lag(symbol, equation))
        for key, lags in found.items():
            self.shifts[key] = 0 if key in self.defined else -max(lags)
            self.lags[key] = min(lags) + self.shifts[key]

    def _all(self) -> Iterable[Symbol]:
        return (s for equation in self.equations for s in symbols(equation.right))

    def lag(self, symbol: Symbol, equation: Equation) -> int:
        """0 for this step, -1 for the one before; without an index it is this step."""
        now = equation.left[0].time or 0
        return (now if symbol.time is None else symbol.time) - now

    def is_input(self, key: Key) -> bool:
        return key in self.arrays and key not in self.defined

    def is_state(self, key: Key) -> bool:
        return key in self.defined and self.lags.get(key, 0) < 0

    def states(self) -> list[Key]:
        named = [key for key in self.shaped if self.is_state(key)]
        return list(dict.fromkeys([*named, *(key for key in self.defined if self.is_state(key))]))

    def inputs(self) -> list[Key]:
        found = (*self.shaped, *(s.key for s in self._all()), *self.arrays)
        return list(dict.fromkeys(key for key in found if self.is_input(key)))

    def name(self, key: Key) -> str:
        """The name in `.cell` text; one key has one name, and one name one key."""
        if key not in self._names:
            name = plain = name_of(key)
            count = 2
            while name in self._names.values():
                name, count = f"{plain}_{count}", count + 1
            self._names[key] = name
        return self._names[key]

    def fresh(self, wanted: str) -> str:
        """A name for what has no symbol of its own: the same for the same wish."""
        return self.name((wanted, (), ()))

    # --- functions ---------------------------------------------------------------------------

    def function(self, symbol: Symbol, *, called: bool) -> str | Macro | None:
        """What a symbol means as a function; None if it is an array or a parameter. called:
        brackets follow."""
        key = symbol.key
        if key in self.macros:
            return self.macros[key]
        told = self.told.get(name_of(key), "")
        if told in FUNCTIONS:
            return FUNCTIONS[told]
        if key in self.arrays or key in self.shaped or symbol.transposed or told:
            return None
        if symbol.base == "sigma":
            return "tanh" if set(symbol.parts) & _TANH_INDICES else "sigmoid"
        if called and symbol.base in LETTERS:
            return LETTERS[symbol.base]
        return None

    def is_certain(self, symbol: Symbol) -> bool:
        """Whether the meaning of a function is the usual one, and not only a guess."""
        plain = symbol.base == "sigma" and not symbol.accents
        return plain or symbol.key in self.macros or name_of(symbol.key) in self.told

    # --- parameters ------------------------------------------------------------------------

    def is_matrix_like(self, symbol: Symbol) -> bool:
        """Whether what follows a parameter may be multiplied by it as by a matrix."""
        key = symbol.key
        if key in self.arrays:
            return False
        told = self.told.get(self.name(key), "")
        if told:
            return told == "matrix"
        if key in self.shaped:
            return self.shaped[key] > 1
        return symbol.base[0].isupper() or "'" in symbol.base


def name_of(key: Key) -> str:
    """The name of a symbol, before it is known whether another symbol has it too."""
    base, accents, parts = key
    words = [base, *accents, *parts]
    name = "_".join(re.sub(r"[^A-Za-z0-9_]", "", word).strip("_") for word in words).strip("_")
    if not name or not name[0].isalpha():
        name = f"v_{name}"
    return name if names.fault(name) is None else f"{name}_"


def macro_of(left: Node) -> tuple[Symbol, Symbol] | None:
    """(f, u) of a left side f(u)."""
    if not isinstance(left, Product) or len(left.factors) != 2:
        return None
    (_, function), (sign, group) = left.factors
    if not isinstance(function, Symbol) or sign or not isinstance(group, Group):
        return None
    if function.time is not None or len(group.items) != 1:
        return None
    (argument,) = group.items
    if not isinstance(argument, Symbol) or argument.time is not None:
        return None
    return function, argument


def is_minus_one(node: Node) -> bool:
    if isinstance(node, Sum):
        return [(sign, term) for sign, term in node.terms] == [("-", Number("1"))]
    return node == Number("-1")


def is_number(node: Node) -> bool:
    """Whether an expression holds no symbol."""
    return not any(isinstance(part, Symbol) for part in walk(node))
