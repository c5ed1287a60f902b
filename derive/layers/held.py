"""Arrays by name that an object holds: what is assigned to one goes into the object.

In: what gives {name: array} and what sets one.  Out: `Held`, a dict.
Not here: checks of names and shapes; the object's own method makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from derive.errors import ArgumentTypeError
from derive.kernel.signature import Array


class Held(dict[str, Array]):
    """`held[name] = value` sets the object's array, `held[name][...] = value` writes into it.

    Names cannot be taken away or added. A copy, `dict(held)`, is an ordinary dict.
    """

    __slots__ = ("_get", "_set")

    def __init__(
        self,
        get: Callable[[], Mapping[str, Array]],
        set_arrays: Callable[[Mapping[str, Any]], None],
    ) -> None:
        super().__init__(get())
        self._get, self._set = get, set_arrays

    def __setitem__(self, name: str, value: Any) -> None:
        if value is self.get(name):
            return  # held[name] -= step has written into the array
        self._set({name: value})
        super().update(self._get())  # the object keeps a copy of what was given

    def update(self, *args: Any, **named: Any) -> None:
        for name, value in dict(*args, **named).items():
            self[name] = value

    def __ior__(self, other: Any) -> Held:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __delitem__(self, name: str) -> None:
        raise _fixed()

    def pop(self, *args: Any) -> Any:
        raise _fixed()

    def popitem(self) -> Any:
        raise _fixed()

    def clear(self) -> None:
        raise _fixed()

    def setdefault(self, *args: Any) -> Any:
        raise _fixed()

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _fixed() -> ArgumentTypeError:
    return ArgumentTypeError(
        "these arrays can be set, and none taken away", hint="dict(...) makes a dict of them"
    )
