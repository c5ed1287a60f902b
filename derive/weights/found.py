"""Recurrent cells among arrays that have only names and shapes.

In: {name: array}.  Out: a `Found` for each layer and direction: the system whose names they are,
the options of `load` that choose it, and the catalogue's cells that its shapes fit.
Not here: files (array_files.py), loading (exchange.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from derive.errors import DeriveError
from derive.kernel.signature import Arrays
from derive.weights.blocks import Lengths
from derive.weights.name_scopes import local_arrays, scopes_in
from derive.weights.suggest import fit, fitting, renamed
from derive.weights.systems import SYSTEMS, System

#: The end of a name in PyTorch: its layer and direction.
_LAYER = re.compile(r"_l(\d+)(_reverse)?$")


@dataclass(frozen=True, slots=True)
class Found:
    """place: what the names of the arrays begin with.  cell: calls of the catalogue."""

    system: str
    place: str
    options: Mapping[str, Any]
    sizes: Mapping[str, int]
    cell: str
    names: tuple[str, ...]


def found_in(arrays: Arrays) -> list[Found]:
    """In the order of systems and of names."""
    found: list[Found] = []
    taken: set[str] = set()
    for name in ("pytorch", "keras", "flax", "tensorflow"):
        system = SYSTEMS[name]
        for options in _choices(system, arrays):
            for scope in scopes_in(system, arrays, options):
                one = _one(system, arrays, scope, options)
                if one is not None and not taken.intersection(one.names):
                    found.append(one)
                    taken.update(one.names)
    return found


def _choices(system: System, arrays: Arrays) -> Iterator[dict[str, Any]]:
    """The options by which names may end."""
    if system.name != "pytorch":
        yield {}
        return
    ends = {(int(m[1]), bool(m[2])) for name in arrays if (m := _LAYER.search(name))}
    for layer, reverse in sorted(ends):
        yield {"layer": layer, "reverse": reverse}
    yield {"layer": None}


def _one(system: System, arrays: Arrays, scope: str, options: Mapping[str, Any]) -> Found | None:
    if system.name == "tensorflow" and not re.search(r"cell(_\d+)?/$", scope):
        return None  # a dense layer has a kernel and a bias as well
    try:
        local = local_arrays(system, arrays, scope, {**system.options, **options})
    except DeriveError:
        return None
    sizes = _sizes(system, local)
    cell = fitting(system, local)
    if sizes is None or cell is None:
        return None
    marks = {key: value for key, value in options.items() if value is None or value}
    ending = ""
    if options.get("layer") is not None:
        ending = f"_l{options['layer']}" + "_reverse" * bool(options.get("reverse"))
    names = tuple(
        name for name in arrays if name.startswith(scope) and name.endswith(ending)
        and name[len(scope) : len(name) - len(ending)] in local
    )  # fmt: skip
    place = f"{scope}*{ending}" if scope or ending else "the top"
    return Found(
        system.name, place, ({"prefix": scope} if scope else {}) | marks, sizes, cell, names
    )


def _sizes(system: System, arrays: Arrays) -> Lengths | None:
    for layout in system.layouts:
        lengths = fit(layout, renamed(layout, arrays))
        if lengths is not None:
            return {k: lengths[k] for k in "IHP" if k != "P" or lengths["P"] != lengths["H"]}
    return None
