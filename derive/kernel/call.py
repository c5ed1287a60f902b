"""Call: one call of a kernel, as every backend takes it.

In: nothing.  Out: the record.
Not here: checking what a caller gave (arguments.py), running it (backend.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from derive.kernel.signature import Array, Arrays, Sizes


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What goes into one call, and how it runs. T time steps, B batch rows.

    params: {name: [rows, columns] or [width]}, or `Packed`.  inputs: {name: [T, B, width]}, in a
    step {name: [B, width]}.  states: {name: [B, width]}, before the first step of each row;
    `backward` does not read them.  lengths: [B] int64 in 0..T, or None for T each.

    reverse: each row runs its steps last to first.  training: `backward` will be called.
    step: this is one step, so `sizes.steps` is 1 and no array has an axis for time.
    remat: "time" where states are kept at a few steps only (remat.py).
    learned: states that were not given, and start from a parameter.
    """

    sizes: Sizes
    params: Mapping[str, Array]
    inputs: Arrays
    states: Arrays
    lengths: Array | None = None
    reverse: bool = False
    training: bool = False
    step: bool = False
    remat: str | None = None
    learned: tuple[str, ...] = ()

    def without_arrays(self) -> Call:
        """The same kind of call, which keeps nothing alive."""
        return Call(
            self.sizes, {}, {}, {}, None, self.reverse, self.training, self.step, self.remat
        )
