"""Which catalogue cell given arrays belong to: the hint of a refusal.

In: a system and its arrays, by local names.  Out: pasteable calls of the catalogue.
Not here: what is done with a cell that fits (exchange.py).
"""

from __future__ import annotations

from derive.kernel.signature import Arrays
from derive.weights.blocks import Lengths, lengths_of
from derive.weights.systems import Layout, System


def fit(layout: Layout, arrays: Arrays) -> Lengths | None:
    """The lengths of dimensions if these are the arrays of the layout, all of them."""
    if any(not entry.feature and entry.name not in arrays for entry in layout.entries):
        return None
    known = [entry for entry in layout.entries if entry.name in arrays]
    if len(known) != len(arrays):
        return None
    shapes = {name: array.shape for name, array in arrays.items()}
    return lengths_of(known, shapes, any(e.feature == "projection" for e in known))


def fitting(system: System, arrays: Arrays) -> str | None:
    """Calls of the catalogue whose cells these arrays fit; None if there is none."""
    fitting = [renamed(lay, arrays) for lay in system.layouts]
    calls = dict.fromkeys(
        call(system, layout, found)
        for layout, found in zip(system.layouts, fitting, strict=True)
        if not layout.ignored and fit(layout, found) is not None
    )
    return " or ".join(calls) or None


def renamed(layout: Layout, arrays: Arrays) -> Arrays:
    """Aliases by the names of the layout."""
    aliases = {alias: entry.name for entry in layout.entries for alias in entry.aliases}
    return {aliases.get(name, name): array for name, array in arrays.items()}


def call(system: System, layout: Layout, arrays: Arrays) -> str:
    """For example derive.cells.lstm(forget_bias=1.0, peephole=True)."""
    present = {entry.feature for entry in layout.entries if entry.name in arrays}
    options = []
    if layout.kind == "lstm" and system.name == "tensorflow":
        options.append("forget_bias=1.0")
    options += [f"{name}=True" for name in ("peephole", "projection") if name in present]
    if layout.coupled:
        options.append("coupled=True")
    if layout.layer_norm:
        options.append(f"layer_norm={layout.layer_norm!r}")
    if layout.kind == "gru":
        options.append(f"reset={layout.reset!r}".replace("'", '"'))
        if layout.reset == "after":
            options.append("biases=2")
    return f"derive.cells.{layout.kind}({', '.join(options)})".replace("'", '"')
