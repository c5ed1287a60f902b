"""How the structures of the mcu target lie in memory: what its files and its backend agree on.

In: names and shapes of a cell's parameters, and its dimensions.  Out: members of the structure of
parameters, and names of macros.
Not here: text (emit/mcu), arrays (mcu_backend.py).

Parameters of one shape whose names differ behind an underscore, such as W_i, W_f, W_g and W_o, lie
in one member `W`, the rows of a unit together: W[H][4][I], and b[H][4] for b_i to b_o. Those in
int8 lie behind the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from derive.kernel.signature import Dim

#: The largest size that a loop over int counts where an int has 16 bits.
LARGEST = 32766


@dataclass(frozen=True, slots=True)
class Member:
    """Parameters that lie together. shape: of each of them; a single one keeps its own shape.
    narrow: in int8."""

    name: str
    params: tuple[str, ...]
    shape: tuple[Dim, ...]
    narrow: bool = False

    @property
    def axis(self) -> int | None:
        """Where the axis is that counts the parameters; None for a single one."""
        if len(self.params) == 1:
            return None
        return max(len(self.shape) - 1, 1)

    @property
    def axes(self) -> tuple[Dim, ...]:
        """The shape of the member."""
        if self.axis is None:
            return self.shape
        return (*self.shape[: self.axis], len(self.params), *self.shape[self.axis :])


def members(
    params: Mapping[str, tuple[Dim, ...]], narrow: Collection[str] = ()
) -> tuple[Member, ...]:
    """The members of the structure of parameters, in the order of their first parameters.

    narrow: those in int8, which lie behind the others, so that nothing is padded in between."""
    taken = set(params)
    both = [
        _members({n: s for n, s in params.items() if (n in narrow) == small}, taken)
        for small in (False, True)
    ]
    return (*both[0], *(replace(member, narrow=True) for member in both[1]))


def _members(params: Mapping[str, tuple[Dim, ...]], taken: set[str]) -> tuple[Member, ...]:
    """taken: names that no member may have that is not a parameter of its own; it grows."""
    groups: dict[tuple[str, tuple[Dim, ...]], list[str]] = {}
    for name, shape in params.items():
        stem, sign, _ = name.partition("_")
        together = sign and stem and shape != (1,)
        groups.setdefault((stem if together else f"{name}_", shape), []).append(name)
    found: list[Member] = []
    for (stem, shape), names in groups.items():
        if len(names) == 1:
            found.append(Member(names[0], (names[0],), shape))
            continue
        longer = _common(names).rstrip("_")
        free = [name for name in (stem, longer) if name not in taken]
        if not free:
            found += [Member(name, (name,), shape) for name in names]
            continue
        taken.add(free[0])
        found.append(Member(free[0], tuple(names), shape))
    return tuple(found)


def _common(names: list[str]) -> str:
    """The letters that all names begin with."""
    first, last = min(names), max(names)
    length = next((k for k, c in enumerate(first) if last[k : k + 1] != c), len(first))
    return first[:length]


@dataclass(frozen=True, slots=True)
class Macros:
    """dims: of each dimension; window: steps of a training window; train: whether to train."""

    dims: Mapping[str, str]
    window: str
    train: str
    guard: str


def macros(cell: str, dims: Iterable[str]) -> Macros:
    """The macros of a cell's header. Where a dimension has the name of another macro, that gives
    way: LSTM_T is the window, or LSTM_T_2 where the cell has a dimension T."""
    dims = tuple(dims)
    taken = set(dims)

    def free(name: str) -> str:
        count, found = 1, name
        while found in taken:
            count += 1
            found = f"{name}_{count}"
        taken.add(found)
        return f"{cell.upper()}_{found}"

    named = {dim: f"{cell.upper()}_{dim}" for dim in dims}
    return Macros(named, free("T"), free("TRAIN"), free("MCU_INCLUDED"))
