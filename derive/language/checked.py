"""Checked: a declaration without mistakes, with all that is known of it.

In: what check_shapes.py found.  Out: an immutable record, which `Cell` shows to users.
Not here: the check (check_shapes.py), reading (parse_text.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import sympy

from derive.language import parse_text
from derive.language.declaration import Declaration, Declared, Dim
from derive.language.tree import Binary, Call, Compare, Name, Negative, Node, Number
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
    parameters, inputs, states and outputs of which `step` knows parts alone.  shapes: those of all
    names, where arrays have axes.
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
    shapes: Mapping[str, Shape] = field(default_factory=dict)

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
        declared = {p.name for p in (*self.declaration.params, *self.declaration.fixed)}
        found = {name: shape for name, shape in self.params.items() if name not in declared}
        return MappingProxyType(found)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Parameters that are given, and not trained."""
        return tuple(declared.name for declared in self.declaration.fixed)

    @property
    def once(self) -> tuple[str, ...]:
        """Inputs that do not change with time."""
        return tuple(declared.name for declared in self.declaration.inputs if declared.once)

    @property
    def learned(self) -> Mapping[str, str]:
        """{state: the parameter that it starts from}."""
        found = ((state.name, state.start) for state in self.declaration.states)
        return {name: start.name for name, start in found if isinstance(start, Name)}

    @property
    def starts(self) -> Mapping[str, Any]:
        """{parameter: what it starts training from}, as plain data (kernel/starts.py)."""
        found = ((param.name, param.start) for param in self.declaration.params)
        return {name: plain(start, self.consts) for name, start in found if start is not None}

    @property
    def is_plain(self) -> bool:
        """Whether every array is given and taken as a step knows it, at every time step."""
        return not (self.wholes or self.fixed or self.once or self.learned)

    def to_text(self) -> str:
        """Canonical `.cell` text."""
        return parse_text.to_text(self.declaration)


def plain(node: Node, consts: Mapping[str, Expr]) -> Any:
    """A start value as numbers and tuples (function, argument, ...)."""
    if isinstance(node, Number):
        return float(node.text)
    if isinstance(node, Name):
        return float(consts[node.name])
    if isinstance(node, Negative):
        return ("negative", plain(node.operand, consts))
    if isinstance(node, (Binary, Compare)):
        return (node.operator, plain(node.left, consts), plain(node.right, consts))
    assert isinstance(node, Call)
    return (node.function, *(plain(arg, consts) for arg in node.args))


def _shapes(group: Iterable[Declared]) -> Mapping[str, Shape]:
    return MappingProxyType({declared.name: declared.shape or () for declared in group})
