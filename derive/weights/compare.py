"""Whether arrays and a cell belong together, and what to say where they do not.

In: a cell with its traits, a system, arrays by local names.  Out: the layout that holds for
them; ArgumentError with the facts and a cell of the catalogue that fits.
Not here: what is exact between conventions (transfer.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.convert import shape_text
from derive.kernel.signature import Arrays
from derive.weights.blocks import dims_of
from derive.weights.name_scopes import missing
from derive.weights.suggest import fit, fitting, renamed
from derive.weights.systems import Layout, System
from derive.weights.traits import TITLES, Traits


def layout_of(
    system: System,
    cell: Cell,
    traits: Traits,
    options: Mapping[str, Any],
    arrays: Arrays | None,
) -> Layout:
    """The layout for a cell; without one the system has no such cell."""
    _check_lbr(cell, traits, options)
    _check_functions(system, cell, traits)
    coupled = traits.coupled
    if options.get("input_forget") is not None:
        if coupled and not options["input_forget"]:
            raise ArgumentError(
                f"{cell.name} couples its gates i and f, and input_forget is 0",
                hint="derive.cells.lstm()",
            )
        coupled = "input" if options["input_forget"] else ""
    kinds = [
        lay
        for lay in system.layouts
        if lay.kind == traits.kind
        and lay.reset == traits.reset
        and lay.layer_norm == traits.layer_norm
        and options.get("api") in (None, lay.api)
    ]
    if arrays is not None and system.name == "flax" and options["api"] is None:
        kinds = [lay for lay in kinds if fit(lay, renamed(lay, arrays)) is not None] or kinds
    chosen = [lay for lay in kinds if bool(lay.coupled) == bool(coupled)]
    if chosen:
        return chosen[0]
    if kinds:
        return kinds[0]  # gates that are coupled here have parameters of their own there
    what = f"{TITLES[traits.kind]}{_reset_text(traits.reset)}"
    what += " with layer normalisation of that form" if traits.layer_norm else ""
    raise ArgumentError(
        f"{system.title} has no arrays for {what}, as {cell.name} is",
        facts=tuple(f"it has {_kind_text(layout)}" for layout in system.layouts),
        hint=fitting(system, arrays) if arrays else _other_reset(system, traits),
    )


def _check_functions(system: System, cell: Cell, traits: Traits) -> None:
    """Where a system has no choice of activations, the cell's are its own."""
    if not traits.functions:
        return
    gate, inner, outer = traits.functions[:3]
    if traits.kind == "lstm" and system.one_activation and inner != outer:
        raise ArgumentError(
            f"an LSTM of {system.title} has one function for the candidate and the output, and "
            f"{cell.name} has two",
            facts=(f"the candidate: {inner or 'none'}, the output: {outer or 'none'}",),
            hint="derive.cells.lstm()" if inner == "tanh" else f"use {inner} in the output too",
        )
    if system.gate and gate and gate != system.gate:
        raise ArgumentError(
            f"gates of {system.title} are {system.gate}, and those of {cell.name} are {gate}",
            hint=f"derive.cells.{traits.kind}()",
        )
    known = system.functions.get(traits.kind)
    if known is None or traits.functions in known:
        return
    names = [name or "none" for name in traits.functions]
    places = ("gates", "the candidate", "the output", "the clip of c", "the clip of the projection")
    usual = [{choice[k] or "none" for choice in known} for k in range(len(names))]
    raise ArgumentError(
        f"{system.title} has no {traits.kind} with the functions of {cell.name}",
        facts=tuple(
            f"{place}: {name} here, {' or '.join(sorted(theirs))} there"
            for place, name, theirs in zip(places, names, usual, strict=True)
            if name not in theirs
        ),
        hint=f"derive.cells.{traits.kind}()",
    )


def _other_reset(system: System, traits: Traits) -> str | None:
    resets = [lay.reset for lay in system.layouts if lay.kind == traits.kind and lay.reset]
    return f'derive.cells.gru(reset="{resets[0]}")' if resets else None


def _check_lbr(cell: Cell, traits: Traits, options: Mapping[str, Any]) -> None:
    after = options.get("linear_before_reset")
    if traits.kind == "gru" and after is not None and bool(after) != (traits.reset == "after"):
        raise ArgumentError(
            f"linear_before_reset is {int(after)}, and the reset gate of {cell.name} acts "
            f"{traits.reset} the product",
            hint=f'derive.cells.gru(reset="{"after" if after else "before"}")',
        )


def compare(system: System, layout: Layout, cell: Cell, traits: Traits, arrays: Arrays) -> None:
    """What belongs to the arrays and not to the cell, and the other way round."""
    for entry in layout.entries:
        present = entry.name in arrays
        if entry.feature in ("peephole", "projection"):
            has = getattr(traits, entry.feature)
            if present and not has and np.any(arrays[entry.name]):
                raise ArgumentError(
                    f"{cell.name} has no {entry.feature}, and the arrays of {system.title} have",
                    facts=(f"{entry.name!r} is {shape_text(arrays[entry.name].shape)}",),
                    hint=fitting(system, arrays),
                )
            if has and not present:
                raise ArgumentError(
                    f"{cell.name} has a {entry.feature}, "
                    f"and the arrays of {system.title} have none",
                    facts=(f"{entry.name!r} is missing", f"given: {', '.join(arrays)}"),
                    hint=fitting(system, arrays),
                )
        elif not present and not entry.feature:
            if hint := fitting(system, arrays):
                raise _wrong(system, cell, traits, arrays, hint)
            raise missing(system, layout, entry.name, arrays)
        elif not present and any(
            e.feature == entry.feature and e.name in arrays for e in layout.entries
        ):
            raise missing(system, layout, entry.name, arrays)  # one of two biases
    for feature in ("peephole", "projection"):
        if getattr(traits, feature) and feature not in layout.features:
            raise ArgumentError(
                f"{cell.name} has a {feature}, and the arrays of {system.title} have none",
                facts=(f"given: {', '.join(arrays)}",),
                hint=fitting(system, arrays),
            )
    if strange := [n for n in arrays if n not in {e.name for e in layout.entries}]:
        if hint := fitting(system, arrays):
            raise _wrong(system, cell, traits, arrays, hint)
        raise ArgumentError(
            f"{cell.name} has no place for the array {strange[0]!r} of {system.title}",
            facts=(f"for {_kind_text(layout)} it has {', '.join(e.name for e in layout.entries)}",),
        )


def _wrong(system: System, cell: Cell, traits: Traits, arrays: Arrays, hint: str) -> ArgumentError:
    return ArgumentError(
        f"the arrays of {system.title} are not those of {cell.name}",
        facts=(
            f"{cell.name} is {TITLES[traits.kind]}{_reset_text(traits.reset)}",
            *(f"{name} is {shape_text(array.shape)}" for name, array in arrays.items()),
        ),
        hint=hint,
    )


def misfit(
    system: System, layout: Layout, cell: Cell, traits: Traits, arrays: Arrays
) -> ArgumentError:
    hint = fitting(system, arrays)
    if hint and fit(layout, arrays) is None:
        return _wrong(system, cell, traits, arrays, hint)
    declared = {d for n, s in cell.params.items() for d in zip(dims_of(n), s, strict=False)}
    numbers = ", ".join(sorted(f"{name} = {d}" for name, d in declared if isinstance(d, int)))
    return ArgumentError(
        f"the arrays of {system.title} have shapes that do not fit {cell.name}",
        facts=(
            *(
                f"{entry.name} is {entry.axes_text()}, given {shape_text(arrays[entry.name].shape)}"
                for entry in layout.entries
                if entry.name in arrays
            ),
            *((f"{cell.name} has {numbers}",) if numbers else ()),
        ),
    )


def _reset_text(reset: str) -> str:
    return f" whose reset gate acts {reset} the product" if reset else ""


def _kind_text(layout: Layout) -> str:
    text = TITLES[layout.kind] + _reset_text(layout.reset)
    if layout.coupled:
        text += " with coupled gates"
    if layout.layer_norm:
        text += " with layer normalisation"
    return text + (f" ({layout.api})" if layout.api else "")
