"""Works -> stages: as few passes over arrays with several axes as their equations allow.

In: the works of one phase.  Out: its stages, and the arrays that are computed a second time.
Not here: which phase (phases.py); stages of vectors alone (stages.py).

A *pass* goes over an array of several axes once. All elementwise equations of its shape run in it
together, and the folds of what they compute; nothing but a fold that has to be complete, or a step
to another shape and back, begins another one. So the matrix of a recurrent memory is read, changed,
read out and written in one pass. Works are numbered by the passes that must be over before them:
first all works of vectors with a number, then the passes with it.

What an earlier pass has computed with a few multiplications from a single array of that shape is
computed again rather than written and read, but for what is compared exactly (compared.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from derive.program import Array, Map, Namer, Sum
from derive.program.program import Dim
from derive.program.simplify import rename_operands
from derive.schedule.compared import read_exactly
from derive.schedule.folds import is_fold
from derive.schedule.plan import Accumulator, Kind, Stage, Work
from derive.schedule.stages import kind_of, lies_elsewhere, stage_of, stages
from derive.symbolic import functions

Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class _Key:
    """The number of a work, and the shape of the pass that it is in; vectors are in none."""

    number: int
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Passes:
    """The stages of a phase; arrays that are computed again under a name of their own, and those
    that then nothing reads."""

    stages: tuple[Stage, ...]
    again: tuple[Array, ...]
    gone: frozenset[str]


def passes(works: Sequence[Work], table: Mapping[str, Array], wanted: set[str]) -> Passes:
    shapes = pass_shapes(works, table)
    if not shapes:
        return Passes(stages(works, table, wanted), (), frozenset())
    planner = _Planner(works, table, shapes)
    found = planner.stages(wanted)
    return Passes(found, tuple(planner.again), frozenset(planner.gone))


def pass_shapes(works: Sequence[Work], table: Mapping[str, Array]) -> frozenset[Shape]:
    """Shapes of several axes in which no product is computed on tiles."""
    own = {table[w.out].shape for w in works if isinstance(w, Map)}
    own |= {table[w.source].shape for w in works if is_fold(w, table)}  # type: ignore[union-attr]
    taken = {
        shape
        for kind, shape in (kind_of(w, table) for w in works if isinstance(w, Accumulator))
        if kind is Kind.FUSED
    }
    return frozenset(shape for shape in own - taken if len(shape) > 1)


def in_registers(works: Sequence[Work], table: Mapping[str, Array]) -> frozenset[str]:
    """Sources of folds that are computed in the phase: in memory only for other readers."""
    shapes = pass_shapes(works, table)
    maps = {w.out for w in works if isinstance(w, Map) and table[w.out].shape in shapes}
    return frozenset(w.source for w in works if isinstance(w, Sum) and is_fold(w, table)) & maps


class _Planner:
    def __init__(
        self, works: Sequence[Work], table: Mapping[str, Array], shapes: frozenset[Shape]
    ) -> None:
        self.table = dict(table)
        self.namer = Namer(table)
        self.shapes = shapes
        self.again: list[Array] = []
        self.gone: set[str] = set()
        self.key: dict[str, _Key] = {}
        self.lying: dict[_Key, dict[str, tuple[int, ...] | None]] = {}
        self.works = list(works)
        self._number({})
        self._merge()

    def stages(self, wanted: set[str]) -> tuple[Stage, ...]:
        self._compute_again(wanted)
        self._drop_unread(wanted)
        keys = list(dict.fromkeys(self.key[work.out] for work in self.works))
        found: list[Stage] = []
        read = {
            name
            for work in self.works
            for name in work.operands
            if name in self.key and not self._held(work, name)
        }
        # Of vectors with one number `stages` finds out which are read from memory.
        for key in sorted(keys, key=lambda k: (k.number, k.shape is not None)):
            members = [work for work in self.works if self.key[work.out] == key]
            if key.shape is None:
                found += stages(members, self.table, wanted | read)
            else:
                found.append(self._pass(key.shape, members, wanted | read))
        return tuple(found)

    def _shape(self, work: Work) -> Shape | None:
        """Of the pass that a work is part of."""
        if isinstance(work, Map):
            shape = self.table[work.out].shape
        elif isinstance(work, Sum) and is_fold(work, self.table):
            shape = self.table[work.source].shape
        else:
            return None
        return shape if shape in self.shapes else None

    def _number(self, least: Mapping[str, int]) -> None:
        """The number of every work: the smallest that its operands allow, and `least` does."""
        self.key, self.lying = {}, {}
        for work in self.works:
            self._place(work, least.get(work.out, 0))

    def _merge(self) -> None:
        """Passes that may wait for the next one of their shape are part of it."""
        least: dict[str, int] = {}
        size = self._size()
        for key in sorted(set(self.key.values()), key=lambda k: (k.number, str(k.shape))):
            later = [k.number for k in self.key.values()
                     if k.shape == key.shape and k.number > key.number]  # fmt: skip
            members = [name for name, own in self.key.items() if own == key]
            if key.shape is None or not later or not members:
                continue
            tried = {**least, **dict.fromkeys(members, min(later))}
            self._number(tried)
            if self._size() < size:
                least, size = tried, self._size()
            else:
                self._number(least)

    def _size(self) -> tuple[int, ...]:
        """How many passes there are, those over most axes first."""
        ranks = [len(key.shape) for key in set(self.key.values()) if key.shape is not None]
        return tuple(sum(rank == axes for rank in ranks) for axes in (3, 2))

    def _place(self, work: Work, number: int) -> None:
        shape = self._shape(work)
        for name in work.operands:
            if name in self.key:
                there = self.key[name]
                over = there.shape is not None and not self._joins(work, name, shape)
                number = max(number, there.number + over)
        key = _Key(number, shape)
        if isinstance(work, Map) and shape is not None:
            while lies_elsewhere(work, self.lying.setdefault(key, {})):
                key = replace(key, number=key.number + 1)
            self.lying[key].update((name, work.place(name)) for name in work.operands)
        self.key[work.out] = key

    def _joins(self, work: Work, name: str, shape: Shape | None) -> bool:
        """Whether a work finds an operand in the registers of a pass of its own shape."""
        if self.key[name].shape != shape or self.table[name].shape != shape:
            return False
        return not isinstance(work, Map) or work.place(name) is None

    def _held(self, work: Work, name: str) -> bool:
        key = self.key[work.out]
        if self.key[name] != key:
            return False
        return key.shape is None or self._joins(work, name, key.shape)

    # --- once more ---------------------------------------------------------------------------

    def _compute_again(self, wanted: set[str]) -> None:
        maps = {w.out: w for w in self.works if isinstance(w, Map) and self.key[w.out].shape}
        for name in read_exactly(self.works):
            maps.pop(name, None)
        copies: dict[tuple[str, _Key], str] = {}
        result: list[Work] = []
        for work in self.works:
            key = self.key[work.out]
            names: dict[str, str] = {}
            for name in work.operands if key.shape is not None else ():
                if name in maps and self.key[name] != key and self._joins(work, name, key.shape):
                    equation = self._cheap(name, maps, key)
                    if equation is not None and name not in wanted:
                        if (name, key) not in copies:
                            copies[name, key] = self._copy(equation, key)
                            result.append(replace(equation, out=copies[name, key]))
                        names[name] = copies[name, key]
            result.append(rename_operands(work, names) if names else work)  # type: ignore[arg-type]
        self.works = result

    def _cheap(self, name: str, maps: Mapping[str, Map], key: _Key) -> Map | None:
        """The equation of `name`, if it takes a few multiplications from one array of its shape
        that is in memory, and others that are."""
        equation = maps[name]
        plain = all(
            node.is_Symbol or node.is_number or node.is_Mul or node.is_Add
            for node in sympy.preorder_traversal(equation.expr)
        )
        whole = [n for n in equation.operands if self.table[n].shape == self.table[name].shape]
        held = [n for n in equation.operands if n in maps]
        if not plain or len(whole) > 1 or held:
            return None
        return None if lies_elsewhere(equation, self.lying.get(key, {})) else equation

    def _copy(self, equation: Map, key: _Key) -> str:
        name = self.namer(f"{equation.out}_again")
        array = replace(self.table[equation.out], name=name)
        self.table[name] = array
        self.again.append(array)
        self.key[name] = key
        self.lying.setdefault(key, {}).update((n, equation.place(n)) for n in equation.operands)
        return name

    def _drop_unread(self, wanted: set[str]) -> None:
        read = set(wanted)
        kept: list[Work] = []
        for work in reversed(self.works):
            if work.out in read:
                kept.append(work)
                read.update(work.operands)
            else:
                self.gone.add(work.out)
        self.works = kept[::-1]

    # --- one pass ----------------------------------------------------------------------------

    def _pass(self, shape: Shape, members: Sequence[Work], wanted: set[str]) -> Stage:
        own = {work.out for work in members}
        read: list[Work] = []
        done: list[Work] = []
        held: dict[str, str] = {}
        for work in members:
            if isinstance(work, Sum):
                if work.source not in own:
                    if work.source not in held:
                        held[work.source] = self.namer(f"{work.source}_read")
                        name = held[work.source]
                        array = replace(self.table[work.source], name=name)
                        self.table[name] = array
                        self.again.append(array)
                        read.append(Map(name, functions.symbol(work.source)))
                    work = replace(work, source=held[work.source])
                done.append(work)
            else:
                done.append(work)
        return stage_of(Kind.FUSED, shape, [*read, *done], wanted)
