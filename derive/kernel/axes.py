"""Axes of a call's arrays: which belong together, and how long each is.

In: places for arrays with named axes, and the shapes of what fills them.  Out: the length of every
axis, or the ArgumentError that says which two arrays disagree.
Not here: converting arrays, and which a call needs (arguments.py).

The first array that mentions a dimension gives it its length, in the order parameters,
inputs, states; every later one must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from derive.errors import ArgumentError
from derive.kernel.convert import axes_text, letter, shape_text
from derive.kernel.signature import LETTERS, Dim, axes_of
from derive.kernel.signature import Axes as Widths
from derive.widths import Width


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one array: its name, what it is ("parameter W"), and its axes."""

    name: str
    label: str
    axes: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The slots that one argument fills, and how messages speak of it.

    argument: its name in Python; plural: what its entries are ("inputs").
    """

    argument: str
    plural: str
    slots: tuple[Slot, ...]

    @property
    def singular(self) -> str:
        return self.plural.removesuffix("s")

    def listing(self, cell: str) -> str:
        """For example "lstm has the states h, c"."""
        if not self.slots:
            return f"{cell} has no {self.plural}"
        noun = self.plural if len(self.slots) > 1 else self.singular
        return f"{cell} has the {noun} {', '.join(slot.name for slot in self.slots)}"


def with_axes(widths: Mapping[str, Widths], *leading: str) -> dict[str, tuple[Dim, ...]]:
    return {name: (*leading, *axes_of(width)) for name, width in widths.items()}


def group(argument: str, plural: str, words: str, shapes: Mapping[str, tuple[Dim, ...]]) -> Group:
    slots = (Slot(name, f"{words} {name}", axes) for name, axes in shapes.items())
    return Group(argument, plural, tuple(slots))


def is_sum(axis: Dim) -> bool:
    """Whether an axis is a sum or a multiple, "4*H" or "I + H". The axes of time and of rows are
    none, though their names ("time steps") are no identifiers either."""
    return isinstance(axis, str) and not axis.isidentifier() and axis not in LETTERS


class Axes:
    """Lengths of the axes seen so far in one call, and the array that gave each of them."""

    __slots__ = ("givers", "known", "told", "waiting")

    def __init__(self, start: Axes | None = None) -> None:
        #: Lengths that no array gave: a caller said them.
        self.told: tuple[tuple[Dim, int], ...] = start.told if start else ()
        self.known: dict[Dim, int] = dict(start.known) if start else {}
        self.givers: dict[Dim, tuple[Slot, tuple[int, ...]]] = dict(start.givers) if start else {}
        #: Arrays with a sum of which several dimensions are not known yet.
        self.waiting: list[tuple[Slot, tuple[int, ...]]] = list(start.waiting) if start else []

    def become(self, other: Axes) -> None:
        self.known = dict(other.known)
        self.givers = dict(other.givers)
        self.waiting = list(other.waiting)

    def settle(self) -> None:
        """Looks again at arrays whose sums could not be told apart."""
        known = -1
        while self.waiting and len(self.known) > known:
            known = len(self.known)
            waiting, self.waiting = self.waiting, []
            for slot, shape in waiting:
                self.bind(slot, shape)

    def tell(self, axis: str, length: int, label: str) -> None:
        """Take a length that the caller names; ArgumentError where an array has another one."""
        if self.known.setdefault(axis, length) != length:
            giver, given = self.givers[axis]
            raise ArgumentError(
                f"{label} = {length} does not fit the parameters",
                facts=(self._fact(axis, giver, given),),
                hint=f"{label}={self.known[axis]}, or leave it out",
            )
        self.told += ((axis, length),)
        self.givers.setdefault(axis, (Slot(label, label, ()), ()))

    def bind(self, slot: Slot, shape: tuple[int, ...]) -> None:
        """Take the lengths of the axes of one array; ArgumentError where they do not fit."""
        if len(shape) != len(slot.axes):
            raise self._misfit(slot, shape)
        for axis, length in zip(slot.axes, shape, strict=True):
            if isinstance(axis, int):
                if length != axis:
                    raise self._misfit(slot, shape)
            elif is_sum(axis):
                self._bind_sum(slot, shape, axis, length)
            elif self.known.setdefault(axis, length) != length:
                raise self._misfit(slot, shape)
            elif axis not in self.givers:
                self.givers[axis] = (slot, shape)

    def _bind_sum(self, slot: Slot, shape: tuple[int, ...], axis: str, length: int) -> None:
        """A sum tells the one dimension of it that nothing else has told."""
        width = Width.of(axis)
        named = {dim: own for dim, own in self.known.items() if isinstance(dim, str)}
        found = width.solve(length, named)
        if found is None:
            if not any(other is slot for other, _ in self.waiting):
                self.waiting.append((slot, shape))
            return
        name, rest = found
        open_ = set(width.names()) - set(named)
        if not name and (open_ or width.length(named) != length):
            raise self._misfit(slot, shape)
        if name:
            self.known[name] = rest
            self.givers[name] = (slot, shape)

    def _misfit(self, slot: Slot, shape: tuple[int, ...]) -> ArgumentError:
        facts = [f"{slot.label} is {axes_text(slot.axes)}, given {shape_text(shape)}"]
        disagreeing: dict[tuple[str, str], None] = {}
        for axis, length in zip(slot.axes, shape, strict=len(shape) == len(slot.axes)):
            if axis in self.givers and length != self.known[axis]:
                giver, given = self.givers[axis]
                if giver is not slot:
                    disagreeing.setdefault((giver.label, letter(axis)))
                facts.append(self._fact(axis, giver, given))
        wanted = tuple(self._wanted(axis) for axis in slot.axes)
        if len(shape) == 2 and shape[::-1] == wanted:
            hint = f"transpose it: {slot.name}.T"
        else:
            hint = f"give {slot.label} the shape {axes_text(wanted)}"
            hint += "".join(f", or {other} another {axis}" for other, axis in disagreeing)
        return ArgumentError(
            f"{slot.label} has the wrong shape", facts=tuple(dict.fromkeys(facts)), hint=hint
        )

    def _wanted(self, axis: Dim) -> Dim:
        if is_sum(axis):
            width = Width.of(axis)
            named = {dim: own for dim, own in self.known.items() if isinstance(dim, str)}
            return axis if set(width.names()) - set(named) else width.length(named)
        return self.known.get(axis, axis)

    def _fact(self, axis: Dim, giver: Slot, given: tuple[int, ...]) -> str:
        if not giver.axes:
            return f"{letter(axis)} = {self.known[axis]}, as was asked for"
        return (
            f"{letter(axis)} = {self.known[axis]} by {giver.label}, which is "
            f"{axes_text(giver.axes)}, given {shape_text(given)}"
        )
