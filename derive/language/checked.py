"""Checked: a declaration without mistakes, with all that is known of it.

In: what check_shapes.py found.  Out: an immutable record, which `Cell` shows to users.
Not here: the check (check_shapes.py), reading (parse_text.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import sympy

from derive.language import parse_text
from derive.language.declaration import Declaration, Declared, Dim
from derive.program import Step
from derive.symbolic.functions import Expr

Shape = tuple[Dim, ...]

#: The parts of an array that is cut: their names, and where each begins and ends on every axis.
Whole = tuple[tuple[str, tuple[tuple[Dim, Dim], ...]], ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A cell without mistakes. `output_keys` runs parallel to `step.outputs`.

    params, outputs: {name: shape}.  consts: {name: exact rational}.  equations: one a
    definition, in the author's names.  canonical: what equal cells have in common.  wholes:
    parameters, inputs, states and outputs of which `step` knows parts alone.
    """

    declaration: Declaration
    params: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    consts: Mapping[str, Expr]
    step: Step
    output_keys: tuple[str, ...]
    equations: tuple[sympy.Eq, ...]
    canonical: tuple[tuple[str, Expr], ...]
    notes: tuple[str, ...]
    unused: tuple[str, ...]
    wholes: Mapping[str, Whole] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.declaration.name

    @property
    def doc(self) -> str:
        return self.declaration.doc

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """{name: shape}, in declared order."""
        return _shapes(self.declaration.inputs)

    @property
    def states(self) -> Mapping[str, Shape]:
        """{name: shape}, in declared order."""
        return _shapes(self.declaration.states)

    @property
    def inferred(self) -> Mapping[str, Shape]:
        """Those of `params` that no line declares."""
        declared = {param.name for param in self.declaration.params}
        found = {name: shape for name, shape in self.params.items() if name not in declared}
        return MappingProxyType(found)

    def to_text(self) -> str:
        """Canonical `.cell` text."""
        return parse_text.to_text(self.declaration)


def _shapes(group: Iterable[Declared]) -> Mapping[str, Shape]:
    return MappingProxyType({declared.name: declared.shape or () for declared in group})
