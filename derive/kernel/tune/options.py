"""What `Kernel.tune` may choose: alternatives of a schedule that give the same bits.

In: generated C text, sizes, a number of threads.  Out: `Choice`s.
Not here: trying them (search.py), remembering them (store.py).

An alternative is a macro of the shared header, or a number of threads. Those that change the
order of a sum are left out: the rows of a chunk (DK_CHUNK_ROWS), products without packing
(DK_PLAIN_ROWS), the vector width; and, for a single row, whose product is summed in several parts,
where W x is contracted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from derive.kernel.signature import Sizes

EARLY, LATE = "early", "late"
ROWS, UNITS = "rows", "units"
#: Most rows of a tile: less than the registers hold, which may split the rows more evenly.
TILES = (4, 3)

#: In the order in which they are asked: the first have the largest effect.
QUESTIONS = ("threads", "share", "contract", "tile")

#: More rows than any call has.
_ALWAYS = 10**9
#: Of a thread that takes rows of its own.
_LEAST_ROWS = 1

_DEFINES: Mapping[str, Mapping[Any, tuple[str, ...]]] = {
    "share": {
        ROWS: (f"DK_ROWS_EACH={_LEAST_ROWS}", "DK_ROWS_BYTES=SIZE_MAX"),
        UNITS: (f"DK_ROWS_EACH={_ALWAYS}",),
    },
    "contract": {EARLY: (f"DK_EARLY_ROWS={_ALWAYS}",), LATE: ("DK_EARLY_ROWS=0",)},
    "tile": {rows: (f"DK_ROWS_MAX={rows}",) for rows in TILES},
}
_WORDS: Mapping[str, Mapping[Any, str]] = {
    "share": {ROWS: "threads take rows", UNITS: "threads share units"},
    "contract": {EARLY: "W x before the loop", LATE: "W x in the loop"},
    "tile": {rows: f"tiles of {rows} rows" for rows in TILES},
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to run a kernel; what is None is left to the kernel itself.

    threads: how many take part.  share: whether they take rows of their own through all steps or
    share the units of every step.  contract: whether the products of inputs with matrices (W x)
    are contracted before the loop over time or in it.  tile: the most rows of a tile.
    """

    threads: int | None = None
    share: str | None = None
    contract: str | None = None
    tile: int | None = None

    def __str__(self) -> str:
        words = [] if self.threads is None else [_counted(self.threads)]
        words += [_WORDS[name][getattr(self, name)] for name in self._set()]
        return ", ".join(words) or "default"

    def flags(self) -> tuple[str, ...]:
        """For the compiler."""
        names = (define for name in self._set() for define in _DEFINES[name][getattr(self, name)])
        return tuple(f"-D{name}" for name in names)

    def as_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _set(self) -> list[str]:
        return [name for name in _DEFINES if getattr(self, name) is not None]


def choice_of(data: Any, threads: int) -> Choice:
    """What `as_dict` made; ValueError for anything else, or for more threads."""
    if not isinstance(data, dict) or set(data) != {field.name for field in fields(Choice)}:
        raise ValueError("not a choice")
    for name, known in _DEFINES.items():
        if data[name] not in (None, *known):
            raise ValueError(f"{name} is {data[name]!r}")
    count = data["threads"]
    if count is not None and (type(count) is not int or not 1 <= count <= threads):
        raise ValueError(f"threads is {count!r}")
    return Choice(**data)


def alternatives(
    question: str, files: Mapping[str, str], sizes: Sizes, threads: int, team: int
) -> tuple[Choice, ...]:
    """What else could be chosen about one of QUESTIONS; what is the default anyway is left out.

    files: generated text.  threads: of the kernel.  team: how many take part as things stand.
    """
    header = next(text for path, text in files.items() if path.endswith("derive_kernels.h"))
    text = "".join(t for t in files.values() if t is not header)
    rows = sizes.rows
    if question == "threads":
        return tuple(Choice(threads=n) for n in _powers(threads) if n != team)
    if question == "share":
        if team == 1 or rows // team < _LEAST_ROWS or "dk_share_rows(" not in text:
            return ()
        alone = rows // team < _default(header, "DK_ROWS_EACH")  # units, at any size of weights
        return (Choice(share=ROWS),) if alone else (Choice(share=ROWS), Choice(share=UNITS))
    if rows == 1:
        return ()
    if question == "contract":
        other = LATE if rows < _default(header, "DK_EARLY_ROWS") else EARLY
        return (Choice(contract=other),) if "dk_contracts_early(" in text else ()
    assert question == "tile"
    return tuple(Choice(tile=n) for n in TILES if n < rows) if "DK_GROUP(tile," in text else ()


def both(one: Choice, other: Choice) -> Choice:
    """`one` with what `other` sets."""
    return replace(one, **{k: v for k, v in other.as_dict().items() if v is not None})


def _default(header: str, name: str) -> int:
    """A number that the shared header uses where none is given."""
    found = re.search(rf"#define {name} (\d+)$", header, re.MULTILINE)
    assert found is not None, name
    return int(found[1])


def _powers(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    return sorted({most} | {2**k for k in range(most.bit_length()) if 2**k <= most})


def _counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
