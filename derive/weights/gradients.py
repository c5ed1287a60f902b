"""save_gradients: gradients of a cell's parameters as gradients of another system's arrays.

In: a Cell, the name of a system, gradients by parameter.  Out: gradients by the system's own names.
Not here: values (exchange.py).

`load` is linear in the arrays, up to a constant: each element of a parameter is a sum of elements
of arrays, some with the other sign, so the gradient of an array collects what its elements went
into. Which those are is asked of `load` itself: an array that holds 1, 2, 3, ... while all others
are zero says of every element of a parameter where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.signature import Arrays
from derive.weights.exchange import load, save

#: What only `save` takes.
_OF_SAVE = ("bias", "nested", "api")


def save_gradients(
    cell: Cell,
    target: str,
    gradients: Mapping[str, Any],
    *,
    prefix: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Gradients of another system's arrays, by its own names, from those of the parameters.

    target, prefix and options: as in `save`.  gradients: {parameter: array}. Where the system adds
    two biases, both get the gradient of the sum: `save` would put all into one and zero into the
    other, which is right for values.
    """
    if options.get("nested"):
        raise ArgumentError("gradients come by paths, not as a tree", hint="nested=False")
    like = save(cell, target, gradients, prefix=prefix, **options)  # checks what was given
    own = {key: value for key, value in options.items() if key not in _OF_SAVE}
    zeros = {name: np.zeros(np.shape(array)) for name, array in like.items()}
    base = load(cell, target, zeros, prefix=prefix, **own)
    found: dict[str, Any] = {}
    for name, array in like.items():
        codes = np.arange(1, np.size(array) + 1, dtype=float).reshape(np.shape(array))
        read = load(cell, target, {**zeros, name: codes}, prefix=prefix, **own)
        found[name] = _collected(read, base, gradients, np.asarray(array))
    return found


def _collected(
    read: Arrays, base: Arrays, gradients: Mapping[str, Any], like: np.ndarray[Any, Any]
) -> Any:
    """The sum over all elements of parameters of what came from each element of an array."""
    total = np.zeros(like.size, like.dtype)
    for name, values in read.items():
        codes = np.rint(values - base[name]).astype(np.int64)
        taken = codes != 0
        part = np.sign(codes[taken]) * np.asarray(gradients[name])[taken]
        np.add.at(total, np.abs(codes[taken]) - 1, part.astype(like.dtype))
    return total.reshape(like.shape)
