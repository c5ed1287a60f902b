"""The sizes at which generated C takes another way, as data.

In: nothing.  Out: `LIMITS`, which the shared header is rendered with and `verify` takes sizes from:
on both sides of each; of "bytes" and "vectors" on those of the low value only.
Not here: what happens on either side (templates/c/kernels).

The numbers that a template compares sizes with are here, so that a new threshold is a new case of
`verify`; but for the four times DK_EARLY_ROWS of large weights, which the places cross too.
`low` is the value of a second build in which the same text meets its thresholds at small sizes;
there every macro can be given on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """Something changes where `quantity` passes `value`.

    quantity: "steps * rows", "rows", "rows of a thread", "tiles of a thread", "rows that count",
    "width" (of units), "vectors" (of one step), or "bytes" (of weights). C text of the value:
    `text`.
    """

    macro: str
    quantity: str
    value: int
    low: int

    @property
    def text(self) -> str:
        if self.quantity == "bytes":
            return f"((size_t){self.value >> 20} << 20)"
        return str(self.value)


LIMITS: tuple[Limit, ...] = (
    Limit("DK_PLAIN_ROWS", "steps * rows", 4, 2),
    Limit("DK_CHUNK_ROWS", "steps * rows", 192, 6),
    Limit("DK_EARLY_ROWS", "rows", 4, 3),
    Limit("DK_ROWS_EACH", "rows of a thread", 4, 2),
    Limit("DK_SHARE_TILES", "tiles of a thread", 4, 1),
    Limit("DK_ROWS_BYTES", "bytes", 4 << 20, 4096),
    Limit("DK_NEAR_BYTES", "bytes", 12 << 20, 2048),
    # A multiple of every DK_OUTER_ROWS.
    Limit("DK_OUTER_HEIGHT", "width", 192, 24),
    Limit("DK_OUTER_DEPTH", "rows that count", 192, 4),
    Limit("DK_TOGETHER", "vectors", 64, 2),
)

#: Bits of the widest vectors: widths are looked at on both sides of whole numbers of them.
WIDEST_VECTOR = 512


def limit(macro: str) -> Limit:
    return next(limit for limit in LIMITS if limit.macro == macro)


def low_defines() -> tuple[str, ...]:
    """The definitions for a build with low thresholds."""
    return tuple(f"{limit.macro}={limit.low}" for limit in LIMITS)
