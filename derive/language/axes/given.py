"""A cell as its kernels take it: every array is given, and given anew at every step.

In: a Checked cell, or a Declaration.  Out: a Declaration.
Not here: parts (cuts.py), what a user gives (kernel/).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from derive.errors import Place
from derive.language.checked import Checked
from derive.language.declaration import Declaration, Declared, Definition
from derive.language.tree import Binary, Name
from derive.program import Namer

_NOWHERE = Place("<given>", 1, 1, "")


def all_given(cell: Checked) -> Declaration:
    """Fixed arrays are parameters, inputs change with time, states start from what is given."""
    old = cell.declaration
    return replace(
        old,
        inputs=tuple(replace(declared, once=False) for declared in old.inputs),
        states=tuple(replace(declared, start=None) for declared in old.states),
        params=tuple(Declared(name, shape, _NOWHERE) for name, shape in cell.params.items()),
        fixed=(),
    )


def cut_alike(declaration: Declaration, pairs: Iterable[tuple[str, str]]) -> Declaration:
    """With a line for each pair of arrays that nothing else needs, so that both have the same
    parts: where two arrays meet, both are cut where one is."""
    taken = {d.target for d in declaration.definitions}
    groups = (declaration.inputs, declaration.states, declaration.params)
    fresh = Namer({*taken, *(declared.name for group in groups for declared in group)})
    lines = tuple(
        Definition(
            fresh(f"{one}_cut"),
            Binary("+", Name(one, _NOWHERE), Name(other, _NOWHERE), _NOWHERE),
            _NOWHERE,
        )
        for one, other in pairs
    )
    return replace(declaration, definitions=(*declaration.definitions, *lines))
