"""Where arrays live in C, as the templates and the checks of a pass read it: plain data.

In: nothing.  Out: the types that memory.py fills.
Not here: how they are made (memory.py), what else templates see (views.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from derive.program.program import Dim


@dataclass(frozen=True, slots=True)
class SlotView:
    """A field of the call structure. kind: "source" (const) or "target". own: the width of what
    is kept for one step, of which each thread may have rows of its own; else empty."""

    name: str
    kind: str
    at: str
    global_: str
    local: str
    own: str

    @property
    def is_long(self) -> bool:
        """Whether its initializer needs lines of its own."""
        return len(self.at + self.own + self.global_ + self.local) > 60

    @property
    def argument(self) -> str:
        """The member of the arguments that it is, where that is all: one place for all rows."""
        stays = self.global_ == self.local == "0" and not self.own
        return self.at if stays and re.fullmatch(r"args->\w+\.\w+", self.at) else ""


@dataclass(frozen=True, slots=True)
class OutersSize:
    """What the scratch of a stage of outer products follows from: its rows, and the widths of its
    left and its right factors; by_head: in each head."""

    rows: str
    lefts: tuple[str, ...]
    rights: tuple[str, ...]
    by_head: bool = False


@dataclass(frozen=True, slots=True)
class BufferView:
    """`rows` times `width` elements; both are expressions in sizes."""

    name: str
    rows: str
    width: str


@dataclass(frozen=True, slots=True)
class StateView:
    """A carried array: the slots of its value before and after a step of the loop, and the
    arguments that its first value comes from and its last one goes to."""

    before: str
    after: str
    width: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Memory:
    """names, dims, size_names: what arrays, dimensions and sizes are called in C.

    params: {parameter: expression}.  read: {array: slot}; stores: {array: slots}; nullable:
    slots that may be NULL.  zeroed: (slot, elements) of sums over rows; zero_seeds: (argument,
    buffer, rows, width) of cotangents that may be left out; ended: (slot, width) of arrays whose
    rows past the end are set to zero; outers: sizes of outer products.
    """

    names: Mapping[str, str]
    dims: Mapping[str, str]
    size_names: Mapping[str, str]
    params: Mapping[str, str]
    read: Mapping[str, str]
    stores: Mapping[str, tuple[str, ...]]
    nullable: frozenset[str]
    slots: tuple[SlotView, ...]
    buffers: tuple[BufferView, ...]
    saved: tuple[BufferView, ...]
    states: tuple[StateView, ...]
    zeroed: tuple[tuple[str, str], ...]
    zero_seeds: tuple[tuple[str, str, str, str], ...]
    ended: tuple[tuple[str, str], ...]
    outers: tuple[OutersSize, ...]

    def dim(self, dim: Dim) -> str:
        return str(dim) if isinstance(dim, int) else f"sizes->{self.dims[dim]}"
