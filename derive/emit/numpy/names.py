"""Every name of a generated NumPy module, and which of them the lines of a function mention.

In: the names that a cell takes.  Out: names that give way to those.
Not here: the lines (lines.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

from derive.emit.numpy.helpers import HELPERS
from derive.program import Namer

#: Names of the module's own; each gives way where the cell has an array of that name.
OWN = (
    "np", "Array", "Arrays", "range", "flat", "or_zeros", *HELPERS,
    "T", "B", "params", "inputs", "states", "lengths", "reverse", "training", "saved",
    "outputs", "last_states", "d_outputs", "d_states", "d_params", "d_inputs", "d_initial",
    "next_states", "t", "alive", "alive_all", "real", "scan", "across", "pack", "packed",
)  # fmt: skip


class Names:
    """Every name of a generated module, each given once: the user's own names come first."""

    def __init__(self, arrays: Iterable[str]) -> None:
        self._namer = Namer(arrays)
        self._given: dict[tuple[str, str], str] = {}
        self.own = SimpleNamespace(**{name: self._namer(name) for name in OWN})

    def _name(self, kind: str, key: str, wanted: str) -> str:
        if (kind, key) not in self._given:
            self._given[kind, key] = self._namer(wanted)
        return self._given[kind, key]

    def all(self, array: str) -> str:
        """The array `array` for all steps."""
        return self._name("all", array, f"{array}_all")

    def history(self, state: str) -> str:
        """The T + 1 values of a state."""
        return self._name("history", state, f"{state}_history")

    def size(self, dim: str) -> str:
        return self._name("size", dim, dim)

    def new(self, wanted: str) -> str:
        return self._namer(wanted)


@dataclass(slots=True)
class Mentions:
    """What lines speak of: arrays of one step, of all steps, shared ones, sizes, own names."""

    steps: dict[str, None] = field(default_factory=dict)
    alls: dict[str, None] = field(default_factory=dict)
    shared: dict[str, None] = field(default_factory=dict)
    dims: dict[str, None] = field(default_factory=dict)
    own: dict[str, None] = field(default_factory=dict)
