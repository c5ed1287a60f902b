"""Widths of a cell's dimensions, from what an example fixes and what `--size` adds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any


def widths(signature: Any, *, inputs: int, hidden: int, given: Mapping[str, int]) -> dict[str, int]:
    """A length for each dimension: that of the cell's input is as wide as the data, H is the
    width of the state, and `given` has all others, or another H.

    ValueError, in words, where one is missing, unknown, or where the cell has several inputs.
    """
    name, dims = signature.name, signature.dims()
    if len(signature.inputs) != 1:
        raise ValueError(f"{name} has {len(signature.inputs)} inputs, and the data are one")
    (axes,) = signature.inputs.values()
    found = {"H": hidden} if "H" in dims else {}
    found |= {axes: inputs} if axes in dims else {}
    if unknown := sorted(given.keys() - set(dims)):
        raise ValueError(f"{name} has no dimension {unknown[0]}; it has {', '.join(dims)}")
    found |= given
    if missing := [dim for dim in dims if dim not in found]:
        sizes = " ".join(f"--size {dim}=2" for dim in missing)
        raise ValueError(f"{name} needs a length for {', '.join(missing)}\n  hint: {sizes}")
    return found


def size(text: str) -> tuple[str, int]:
    """('R', 2) of `R=2`, for argparse."""
    name, _, length = text.partition("=")
    if not (name.isidentifier() and length.isdecimal() and int(length)):
        raise argparse.ArgumentTypeError(f"a size is a name and a length, as R=2, not {text!r}")
    return name, int(length)
