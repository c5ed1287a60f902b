"""save_gradients: gradients of a cell's parameters as gradients of another system's arrays.

In: a Cell, the name of a system, gradients by parameter.  Out: gradients by the system's own names.
Not here: values (exchange.py).

`load` is linear in the arrays, up to a constant: each element of a parameter is a sum of elements
of arrays, some with the other sign, so the gradient of an array collects what its elements went
into. Which those are is asked of `load` itself, with an array that holds 1, 1, 1, ..., then 1, 2,
3, ..., then 1, 4, 9, ... while all others are zero: a parameter's element is the sum of as many
elements as the first says, and those are the numbers whose sum and sum of squares the others say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, InternalError
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
        try:
            read = [
                load(cell, target, {**zeros, name: codes**power}, prefix=prefix, **own)
                for power in (0, 1, 2)
            ]
        except ArgumentError as error:
            raise ArgumentError(
                f"the gradient of {name} does not follow from those of {cell.name}",
                facts=(error.what, *error.facts[:1]),
                hint=error.hint,
            ) from error
        total = np.zeros(np.size(array), np.asarray(array).dtype)
        for param, start in base.items():
            count, first, second = (values[param] - start for values in read)
            _collect(total, count, first, second, np.asarray(gradients[param]))
        found[name] = total.reshape(np.shape(array))
    return found


def _collect(total: Any, count: Any, first: Any, second: Any, gradient: Any) -> None:
    """Adds to the elements of an array, counted from 1, the gradient of what they went into.

    count: how many of them each element of a parameter is the sum of, -1 for one that is turned;
    first, second: the sums of their numbers and of the squares of these.
    """
    for signed in (1, -1):
        one = count == signed
        np.add.at(total, _place(signed * first[one]), signed * gradient[one])
        two = count == 2 * signed
        total_of, squares = signed * first[two], signed * second[two]
        apart = np.sqrt(np.maximum(2 * squares - total_of**2, 0))
        for number in ((total_of - apart) / 2, (total_of + apart) / 2):
            np.add.at(total, _place(number), signed * gradient[two])
    if not np.isin(count, (-2, -1, 0, 1, 2)).all():
        raise InternalError("an element of a parameter is the sum of more than two of an array")


def _place(numbers: Any) -> Any:
    return np.rint(numbers).astype(np.int64) - 1
