"""Who of a team touches which place between which meetings: no member may meet another's writes.

In: what each piece of a pass reads and writes, as the text of that piece is made (c/stages.py), and
the Memory.  Out: the order of one call, and ProgramError where two members could touch one element
between two meetings, one of them writing.
Not here: the text (templates/c), the barrier and the functions that cut (the shared header).

A place is a buffer or an argument. A cut says which of its elements each member takes. Accesses of
one cut never meet: what one member writes no other one reads. Two cuts of one place may meet
anywhere, so between them there must be a meeting. A cut depends on sizes and the team alone:

| cut                     | who takes what                                                       |
| ----------------------- | -------------------------------------------------------------------- |
| ALL                     | every member all of it: reading only                                 |
| FIRST                   | the first member all of it                                           |
| columns(width)          | dk_range over vectors of a line: sums over rows into such a line      |
| elements(count)         | dk_range over elements: copies, and one number for each row           |
| parts(name)             | the function of that name has a cut of its own                       |
| OWN                     | rows of a member, the same through all steps of a chunk              |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from derive.emit.c.memory_views import Memory, SlotView
from derive.errors import ProgramError

ALL, FIRST, OWN = "all", "the first member", "rows of its own"


def columns(width: str) -> str:
    return f"columns of {width}"


def elements(count: str) -> str:
    return f"elements of {count}"


def parts(name: str) -> str:
    return f"parts of {name}"


@dataclass(frozen=True, slots=True)
class Access:
    """place: a slot of the Memory, or what the call has besides.  step: of which step, for a
    place that has rows for each."""

    place: str
    cut: str
    writes: bool
    step: int | None = None

    def meets(self, other: Access) -> bool:
        """Whether one member may write an element that another one touches."""
        same = self.place == other.place and (
            self.step == other.step or self.step is None or other.step is None
        )
        apart = self.cut == other.cut and self.cut != ALL
        return same and (self.writes or other.writes) and not apart


@dataclass(frozen=True, slots=True)
class Work:
    """What every member does its share of, without waiting for another."""

    name: str
    accesses: tuple[Access, ...]


#: Work, or None: all members meet.
Course = Sequence[Work | None]


def reads(place: str, cut: str = ALL) -> Access:
    return Access(place, cut, writes=False)


def writes(place: str, cut: str) -> Access:
    return Access(place, cut, writes=True)


def with_meetings(
    pairs: Iterable[tuple[str, Work]], meeting: str
) -> Iterator[tuple[str, Work | None]]:
    """Texts and their work, with a meeting before a work that would touch what an earlier one
    has written."""
    since: list[Access] = []
    for text, work in pairs:
        if any(access.meets(other) for access in work.accesses for other in since):
            yield meeting, None
            since = []
        since += work.accesses
        yield text, work


def check_course(name: str, course: Course) -> None:
    """ProgramError where two members may touch one element between two meetings."""
    since: dict[str, dict[Access, Work]] = {}
    for work in course:
        if work is None:
            since = {}
            continue
        for access in work.accesses:
            at_place = since.setdefault(access.place, {})
            at_place.setdefault(access, work)
            for earlier, other in at_place.items():
                if access.meets(earlier):
                    raise ProgramError(
                        f"{name}: two members of a team may meet at {access.place}: {other.name} "
                        f"takes {earlier.cut}, {work.name} takes {access.cut}, and no meeting is "
                        "between them"
                    )


# --- one call -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoopWork:
    """An elementwise loop over time: what it reads whole, and what in pieces."""

    name: str
    whole: tuple[str, ...]
    moving: tuple[str, ...]
    written: tuple[str, ...]
    history: bool


#: Chunks and steps of a call that is looked at: the second meets what the first one left.
_TURNS = 2


def course_of(
    phases: Mapping[str, Course],
    memory: Memory,
    early: Sequence[Work],
    loop: LoopWork | None,
    *,
    is_forward: bool,
    own_rows: bool,
    packs: bool = False,
) -> list[Work | None]:
    """One call of a pass, in the order of templates/c/cell/pass.c.j2, over two chunks of two steps.

    phases: the work of the stages of each phase, meetings included.  early: products with what is
    known before the loop.  own_rows: whether members take rows of their own through the steps.
    packs: whether matrices that the phase `once` has computed are packed after it.
    """
    pass_ = _Pass(memory, is_forward, own_rows)
    course: list[Work | None] = [*pass_.start(), *pass_.many(phases["once"])]
    if packs:
        cut = parts("packing of computed matrices")
        matrices = (reads(pass_.place(slot)) for slot in pass_.written(phases["once"]))
        course += [Work("packing", (*matrices, writes("computed panels", cut))), None]
    for chunk in range(_TURNS):
        course += [Work("lengths", (writes("alive", FIRST),)), None]
        course += pass_.many(phases["before"])
        course += [*pass_.many(early), *([None] if early else [])]
        course += pass_.loop(loop, chunk) if loop else pass_.steps(phases["step"], chunk)
        course += pass_.many(phases["after"])
        course += [*pass_.ended(), None]
    course += pass_.many(phases["last"])
    return [*course, *pass_.last(), None]


class _Pass:
    def __init__(self, memory: Memory, is_forward: bool, own_rows: bool) -> None:
        self.memory = memory
        self.is_forward = is_forward
        self.own_rows = own_rows
        self.slots = {slot.name: slot for slot in memory.slots}
        self.roots = {slot.name: _root(slot) for slot in memory.slots}
        self.latest = tuple(state.first for state in memory.states)

    def place(self, name: str) -> str:
        """Slots of one buffer are one place."""
        return self.roots.get(name, name)

    def many(self, course: Course) -> list[Work | None]:
        """Work outside the loop over the steps: all rows of a chunk, shared by the team."""
        return [work and _each(work, lambda a: replace(a, place=self.place(a.place)))
                for work in course]  # fmt: skip

    def written(self, course: Course) -> list[str]:
        """The places that some stages write, each once."""
        found = (a.place for work in course if work for a in work.accesses if a.writes)
        return list(dict.fromkeys(found))

    def start(self) -> Iterator[Work | None]:
        memory = self.memory
        yield Work("packing", (writes("panels", parts("packing")),))
        zeroed = [writes(self.place(slot), elements(count)) for slot, count in memory.zeroed]
        yield Work("zeros", tuple(zeroed))
        zeros = tuple(writes(buffer, elements(buffer)) for _, buffer, *_ in memory.zero_seeds)
        yield Work("cotangents that were left out", zeros)
        yield None
        if not self.is_forward:
            yield self.copies("last cotangents", [self.carried(s.before, 0) for s in memory.states])
            self.latest = tuple(self.carried(s.before, 0)[0] for s in memory.states)
            yield None

    def carried(self, slot: str, step: int) -> tuple[str, int | None]:
        """The place of a state before or after a step, and whose row of it: a history has one for
        each step; of two buffers each is the one before every second step."""
        for state in self.memory.states:
            if slot in (state.before, state.after):
                before, after = self.place(state.before), self.place(state.after)
                if before == after:
                    return before, step + (slot == state.after)
                return (before, after)[(step + (slot == state.after)) % 2], None
        return self.place(slot), step

    def copies(self, name: str, targets: Iterable[tuple[str, int | None]]) -> Work:
        """From the latest states, as elements of the rows that are shared."""
        cut = OWN if self.own_rows else elements("states")
        found = [Access(place, cut, writes=True, step=step) for place, step in targets]
        return Work(name, (*found, *(reads(place, cut) for place in self.latest)))

    def steps(self, course: Course, chunk: int) -> Iterator[Work | None]:
        memory = self.memory
        for step in range(chunk * _TURNS, (chunk + 1) * _TURNS):
            if self.is_forward and memory.states and step == chunk * _TURNS:
                first = [self.carried(state.before, step) for state in memory.states]
                yield self.copies("first states", first)
                yield from self.meeting()
            for work in course:
                if work is None:
                    yield from self.meeting()
                else:
                    yield _each(work, partial(self.in_step, step))
            if memory.states:
                yield self.frozen(step)
                yield from self.meeting()
                after = [self.carried(state.after, step) for state in memory.states]
                self.latest = tuple(place for place, _ in after)
        if self.own_rows:
            yield None

    def meeting(self) -> Iterator[None]:
        if not self.own_rows:
            yield None

    def in_step(self, step: int, access: Access) -> Access:
        slot = self.slots.get(access.place)
        place, at = self.carried(access.place, step) if slot else (access.place, step)
        moves = slot is not None and not (
            slot.own == "" and slot.global_ == "0" and slot.local == "0"
        )
        cut = OWN if self.own_rows and moves else access.cut
        return replace(access, place=place, step=at if moves else None, cut=cut)

    def frozen(self, step: int) -> Work:
        """States of rows that have ended."""
        cut = OWN if self.own_rows else elements("rows")
        found = [reads("alive")]
        for state in self.memory.states:
            for slot, is_written in ((state.after, True), (state.before, False)):
                place, at = self.carried(slot, step)
                found.append(Access(place, cut, is_written, step=at))
        return Work("rows that have ended", tuple(found))

    def loop(self, loop: LoopWork, chunk: int) -> Iterator[Work | None]:
        states = self.memory.states
        if loop.history:
            first = [self.carried(s.before, chunk * _TURNS) for s in states]
            yield self.copies("first states", first)
            yield None
        found = [reads(self.place(name)) for name in loop.whole]
        cut = parts(loop.name)
        found += [reads(self.carried(s.before, chunk)[0], cut) for s in states]
        found += [writes(self.carried(s.after, chunk)[0], cut) for s in states]
        found += [reads(self.place(name), cut) for name in loop.moving]
        found += [writes(self.place(name), cut) for name in loop.written]
        yield Work(loop.name, tuple(found))
        yield None
        self.latest = tuple(self.carried(s.after, chunk)[0] for s in states)

    def ended(self) -> Iterator[Work]:
        for slot, _ in self.memory.ended:
            accesses = (writes(self.place(slot), elements("rows")), reads("alive"))
            yield Work("results of rows that have ended", accesses)

    def last(self) -> Iterator[Work]:
        yield self.copies("last states", [(state.last, None) for state in self.memory.states])


def _each(work: Work, change: Callable[[Access], Access]) -> Work:
    return replace(work, accesses=tuple(map(change, work.accesses)))


def _root(slot: SlotView) -> str:
    """Where a slot's memory begins, in either direction of time."""
    return re.sub(r" \+ \(call->reverse \? .*\)$", "", slot.at)
