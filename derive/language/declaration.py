"""Declaration: what a `.cell` text says, before it is checked.

In: the statements of a text.  Out: one immutable object, in the author's order.
Not here: reading (parse_text.py, parse_expression.py), names, shapes and meaning (check_shapes.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from derive.errors import Place
from derive.language.tree import Node
from derive.widths import Dim as Dim


@dataclass(frozen=True, slots=True)
class Declared:
    """An input, a state, a param or a fixed array.

    shape: None where a param was declared without one.  start: the value that a parameter starts
    training from, or the parameter that a state begins with.  once: of an input that does not
    change with time.
    """

    name: str
    shape: tuple[Dim, ...] | None
    place: Place = field(compare=False, repr=False)
    start: Node | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Constant:
    name: str
    expr: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Definition:
    """target = expr. The target `h'` is spelled h_next, with `primed` set."""

    target: str
    expr: Node
    place: Place = field(compare=False, repr=False)
    primed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    place: Place = field(compare=False, repr=False)
    primed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    name: str
    doc: str
    inputs: tuple[Declared, ...]
    states: tuple[Declared, ...]
    params: tuple[Declared, ...]
    consts: tuple[Constant, ...]
    definitions: tuple[Definition, ...]
    outputs: tuple[Output, ...]
    place: Place = field(compare=False, repr=False)
    fixed: tuple[Declared, ...] = ()

    @property
    def state_names(self) -> frozenset[str]:
        return frozenset(state.name for state in self.states)
