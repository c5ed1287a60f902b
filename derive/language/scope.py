"""Scope: what is known of the names of a cell, and the mistakes found on the way.

In: nothing; resolve_names.py and resolve_uses.py fill it.  Out: kinds, places, parameters,
constants.
Not here: widths (check_shapes.py).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from derive.errors import CellError, Place
from derive.language import names
from derive.language.declaration import Declaration, Dim
from derive.language.tree import Call, Name, Node, name_to_text, quote, to_text
from derive.symbolic import functions


class Kind(enum.Enum):
    INPUT = "input"
    STATE = "state"
    PARAM = "param"
    CONST = "const"
    NEXT = "next value"
    DEFINITION = "definition"

    def __str__(self) -> str:
        article = "an" if self.value[0] in "aeiou" else "a"
        return f"{article} {self.value}"


@dataclass(frozen=True, slots=True)
class Use:
    """Where a parameter stood for the first time as a matrix, or as a vector."""

    text: str
    place: Place


@dataclass(slots=True)
class Scope:
    """What is known of the names; filled by `resolve`."""

    declaration: Declaration
    kinds: dict[str, Kind] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    params: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[Dim, ...]] = field(default_factory=dict)
    consts: dict[str, functions.Expr] = field(default_factory=dict)
    matrix_uses: dict[str, Use] = field(default_factory=dict)
    vector_uses: dict[str, Use] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    slips: dict[str, str] = field(default_factory=dict)
    errors: list[CellError] = field(default_factory=list)

    def count(self, name: str) -> None:
        self.uses[name] = self.uses.get(name, 0) + 1

    def report(self, what: str, place: Place, *facts: str, hint: str | None = None) -> None:
        self.errors.append(CellError(what, place=place, facts=facts, hint=hint))

    def is_matrix(self, name: str) -> bool:
        if name in self.shapes:
            return len(self.shapes[name]) == 2
        return name in self.matrix_uses

    def inferred(self) -> dict[str, None]:
        """Parameters that no line declares, in order of first use."""
        declared = {param.name for param in self.declaration.params}
        return {name: None for name in self.params if name not in declared}

    def show(self, name: str) -> str:
        """A name as the author of `.cell` text spells it."""
        return name_to_text(name, self.declaration.state_names)

    def text(self, node: Node) -> str:
        return to_text(node, self.declaration.state_names)

    def bracketed(self, node: Node) -> str:
        """The text of an expression as it may stand right of @."""
        text = self.text(node)
        return text if isinstance(node, (Name, Call)) else f"({text})"

    def fresh(self, wanted: str) -> str:
        """A name that the cell does not use yet."""
        while wanted in self.kinds:
            wanted += "_"
        return wanted

    def advise(self, place: Place) -> tuple[str, ...]:
        """Facts on likely slips in the line of `place`, for a mistake there."""
        return tuple(
            f"'{name}' is a parameter, for nothing defines it; did you mean {quote(near)}?"
            for name, near in self.slips.items()
            if self.places[name].line == place.line
        )

    def find_slips(self) -> None:
        """Parameters that stand once and are probably another name, misspelt."""
        inferred = self.inferred()
        known = [name for name in self.kinds if name not in inferred]
        for name in inferred:
            near = names.slip(name, known) if self.uses.get(name, 0) == 1 else None
            if near is not None:
                self.slips[name] = self.show(near)


def show_shape(shape: tuple[Dim, ...]) -> str:
    return " x ".join(map(str, shape))


def not_a_state(scope: Scope, name: str, place: Place) -> CellError:
    states = [state.name for state in scope.declaration.states]
    near = names.closest(name, states) if len(name) > 1 else None
    return CellError(
        f"'{name}' is no state, so {name}' has no meaning",
        place=place,
        facts=(f"the states are {', '.join(states)}",) if states else ("there are no states",),
        hint=f"did you mean {near}'?" if near else f"state {name}: H",
    )
