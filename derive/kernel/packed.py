"""Packed: parameters checked, copied and packed once, for many calls of one kernel.

In: the copies, and what a backend made of them.  Out: a mapping that cannot be changed.
Not here: checking them (arguments.py), packing (a backend's), calls that use them (kernel.py).

Compiled code follows the addresses in here without looking at shapes again, so nothing in here can
be exchanged, and what is read out of it lies in memory that NumPy itself calls read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, final

import numpy as np

from derive.errors import ArgumentTypeError
from derive.kernel.signature import Array, Arrays

if TYPE_CHECKING:
    from derive.kernel.axes import Axes


@final
class Packed(Mapping[str, Array]):
    """Made by `Kernel.pack`; stands for `params` in every call of that kernel.

    Ask `type(params) is Packed`: isinstance takes 0.2 us, because Mapping is an abstract base.
    """

    __slots__ = ("_arrays", "_axes", "_owner", "_panels", "_values", "_weights")

    _arrays: Arrays
    _axes: Axes
    _owner: object
    _panels: Any
    _values: tuple[Array, ...]
    _weights: str | None

    def __init__(
        self, arrays: Arrays, owner: object, axes: Axes, panels: Any, weights: str | None = None
    ) -> None:
        """arrays: read-only ones.  owner: who may use them.  panels: the backend's.  weights:
        thin ones in these (weights.py)."""
        set_once = super().__setattr__
        set_once("_arrays", dict(arrays))
        set_once("_values", tuple(arrays.values()))
        set_once("_owner", owner)
        set_once("_axes", axes)
        set_once("_panels", panels)
        set_once("_weights", weights)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<packed parameters {', '.join(self._arrays) or 'of no parameter'}>"

    # Two of them are the same if they are one: comparing arrays has no single answer.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __copy__(self) -> Packed:
        return self

    def __deepcopy__(self, _: object) -> Packed:
        return self

    def __reduce__(self) -> NoReturn:
        raise _fixed("cannot be sent to another process", "send dict(packed), and pack it there")

    def __setitem__(self, name: object, _: object) -> NoReturn:
        raise _fixed("cannot be changed", f"kernel.pack({{**packed, {name!r}: ...}})")

    def __delitem__(self, _: object) -> NoReturn:
        raise _fixed("cannot be changed", "dict(packed) is a mapping that can")

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise _fixed("cannot be changed", "dict(packed) is a mapping that can")

    __delattr__ = __delitem__


def _fixed(what: str, hint: str) -> ArgumentTypeError:
    return ArgumentTypeError(f"packed parameters {what}", hint=hint)


def read_only(array: Array) -> Array:
    """A copy that stays as it is: its memory is that of a `bytes`."""
    if not array.size:
        empty = np.zeros(array.shape, array.dtype)
        empty.flags.writeable = False
        return empty
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
