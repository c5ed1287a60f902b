"""What a compiled function must refuse: every pointer missing, every size and length out of range.

In: the machine words of a call that is right, and the functions.  Out: complaints, in words.
Not here: which calls are made (paths.py), what a caller of Python may do wrong
(kernel/arguments.py).

One word at a time is made wrong, and the status has to be the documented one. Where a check is
missing a function would go on. So wherever the order of checks allows it the workspace is said to
be empty as well: what goes on is refused for that, with another status, instead of crashing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: In the order of dk_status.
OK, NULL_POINTER, BAD_SIZE, BAD_LENGTH, TOO_SMALL, OVERFLOW = range(6)
_MEANING = ("ok", "null pointer", "bad size", "bad length", "buffer too small", "overflow")
_LARGEST = (1 << 64) - 1
_HUGE = 1 << 40

Words = Sequence[int]
#: Status of a call with these words; None: of one without arguments.
Call = Callable[[Words | None], int]


@dataclass(frozen=True, slots=True)
class Form:
    """Where things are in the words of a call.

    dims: how many dimensions; groups: how many arrays of each kind; optional: the kinds that may be
    missing; needed: elements of packed, saved and workspace; single: whether the function takes
    one step alone.
    """

    dims: int
    groups: tuple[int, ...]
    optional: tuple[int, ...]
    needed: tuple[int, int, int]
    single: bool = False

    @property
    def lengths(self) -> int:
        return 2 + self.dims

    @property
    def arrays(self) -> int:
        return self.lengths + 2

    @property
    def buffers(self) -> int:
        """The first of (packed, count, saved, count, workspace, count)."""
        return self.arrays + sum(self.groups)


def wrong_calls(
    words: Words, form: Form, *, training: bool, backward: bool
) -> Iterator[tuple[str, int, Words]]:
    """(what is wrong, the status it must have, words)."""

    def with_word(place: int, value: int, *others: tuple[int, int]) -> Words:
        changed = list(words)
        for where, what in ((place, value), *others):
            changed[where] = what
        return changed

    at, buffers = form.arrays, form.buffers
    room = buffers + 5
    empty = (room, 0)
    for k, count in enumerate(form.groups):
        for j in range(count):
            if k not in form.optional:
                yield f"array {j} of group {k} is NULL", NULL_POINTER, with_word(at + j, 0, empty)
        at += count
    yield "the workspace is NULL", NULL_POINTER, with_word(buffers + 4, 0, empty)
    if backward:
        yield "saved is NULL", NULL_POINTER, with_word(buffers + 2, 0, empty)
    for k in range(form.dims):
        yield f"dimension {k} is huge", OVERFLOW, with_word(2 + k, _LARGEST, empty)
    yield "B is 0", OK, with_word(1, 0)
    yield "B is huge", OVERFLOW, with_word(1, _LARGEST // 2, empty)
    if form.single:
        yield "T is 2", BAD_SIZE, with_word(0, 2, empty)
    else:
        yield "T is huge", OVERFLOW, with_word(0, _LARGEST, empty)
        yield "both are large", OVERFLOW, with_word(0, _HUGE, (1, _HUGE), empty)
    packed, saved, workspace = form.needed
    if workspace > 1:
        yield "the workspace is too small", TOO_SMALL, with_word(room, workspace - 1)
    if saved > 1 and (training or backward):
        yield "saved is too small", TOO_SMALL, with_word(buffers + 3, saved - 1)
    if packed > 1 and words[buffers]:
        yield "packed is too small", TOO_SMALL, with_word(buffers + 1, packed - 1)


def complaints(
    name: str, call: Call, words: Words, form: Form, *, training: bool, backward: bool
) -> list[str]:
    """What one function does not refuse as it must."""
    found = [_complaint(name, "no arguments", NULL_POINTER, call(None))]
    for wrong, status, changed in wrong_calls(words, form, training=training, backward=backward):
        found.append(_complaint(name, wrong, status, call(changed)))
    return [text for text in found if text]


def bad_lengths(name: str, call: Call, words: Words, lengths: Any) -> list[str]:
    """A length below 0, and one beyond the last step; `lengths` are put right again."""
    found = []
    kept = int(lengths[-1])
    for value in (-1, words[0] + 1):
        lengths[-1] = value
        found.append(_complaint(name, f"a length is {value}", BAD_LENGTH, call(words)))
    lengths[-1] = kept
    return [text for text in found if text]


def packing(
    name: str, pack: Callable[..., int], words: Words, form: Form, memory: tuple[int, int]
) -> list[str]:
    """pack(words or None, address, count); memory: (address, count) of the panels."""
    at, count = memory
    params = range(form.arrays, form.arrays + form.groups[0])
    tried = [
        ("no arguments", NULL_POINTER, pack(None, at, count)),
        ("packed is NULL", NULL_POINTER, pack(words, 0, count)),
        ("T is huge", OVERFLOW, pack(_changed(words, 0, _LARGEST), at, count)),
    ]
    tried += [
        (f"parameter {k} is NULL", NULL_POINTER, pack(_changed(words, place, 0), at, 0))
        for k, place in enumerate(params)
    ]
    if count:
        tried.append(("packed is too small", TOO_SMALL, pack(words, at, count - 1)))
    found = [_complaint(name, *one) for one in tried]
    return [text for text in found if text]


def asking(ask: Callable[..., int], sizes: Words) -> list[str]:
    """ask(sizes or None, whether there is a place for the answer)."""
    tried = [
        ("no sizes", NULL_POINTER, ask(None, True)),
        ("no place for the answer", NULL_POINTER, ask(sizes, False)),
        ("T is huge", OVERFLOW, ask(_changed(sizes, 0, _LARGEST), True)),
        ("B is huge", OVERFLOW, ask(_changed(sizes, 1, _LARGEST // 2), True)),
    ]
    tried += [
        (f"dimension {k - 2} is huge", OVERFLOW, ask(_changed(sizes, k, _LARGEST), True))
        for k in range(2, len(sizes))
    ]
    found = [_complaint("memory_needed", *one) for one in tried]
    return [text for text in found if text]


def _changed(words: Words, place: int, value: int) -> list[int]:
    return [*words[:place], value, *words[place + 1 :]]


def _complaint(name: str, wrong: str, wanted: int, got: int) -> str:
    if got == wanted:
        return ""
    meaning = _MEANING[got] if 0 <= got < len(_MEANING) else str(got)
    return f"{name}: {wrong}: {meaning}, not {_MEANING[wanted]}"
