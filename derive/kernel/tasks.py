"""Tasks of compiled code in one call: which read from which, and the arrays that they share.

In: the arguments of each task, words and slots of arrays.  Out: `Tasks`, called with arrays or with
addresses.
Not here: what a task waits for (templates/c/layers.c.j2), what the tasks are (stack.py,
stack_backward.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from derive.kernel.buffers import address, empty
from derive.kernel.c_backend import CBackend
from derive.kernel.fast import native_call
from derive.kernel.fast.native_call import Direct, Place
from derive.kernel.pool import beside_header, pool
from derive.kernel.signature import Array

#: Words before the first task, of a task, and of a cache line (templates/c/layers.c.j2).
_HEAD, _TASK, _LINE = 4, 7, 8
_Word = ctypes.c_size_t
#: Elements; the workspace of each thread begins on a cache line.
_ALIGNED = 16

Shape: TypeAlias = tuple[int, ...]


class Slot(NamedTuple):
    """An array of a call: "params", "inputs", "first", "outputs", "last", "saved" of a layer, their
    cotangents "d_params" and so on, "joined" of those from a layer on, "split" for a layer; "x",
    "lengths", "d_output", "progress" or "workspace" of all."""

    kind: str
    layer: int = 0
    name: str = ""


_PROGRESS, _WORKSPACE, LENGTHS = Slot("progress"), Slot("workspace"), Slot("lengths")


@dataclass(slots=True)
class Task:
    """words: its arguments, with slots where the address of an array goes.  function: where it
    begins.  reads: consecutive earlier tasks.  follows: whether it begins before the only one of
    them is complete.  workspace: the word that is the address of one; 0: none."""

    words: list[int | Slot]
    function: int
    reads: tuple[int, ...] = ()
    follows: bool = False
    workspace: int = 0


class Functions(NamedTuple):
    """run: what a pool runs; the addresses of tasks that join arrays, and split them."""

    run: Any
    join: int
    split: int


def functions(files: Mapping[str, str]) -> Functions:
    """files: of any cell, for the shared header."""
    return _functions(_header(files))


@lru_cache(maxsize=16)
def _functions(header: tuple[tuple[str, str], ...]) -> Functions:
    from derive.build.templates import environment

    text = environment().get_template("c/layers.c.j2").render()
    library = beside_header(dict(header), "layers.c", text)
    join, split = map(entry, (library.derive_layers_join, library.derive_layers_split))
    return Functions(library.derive_layers_run, join, split)


@lru_cache(maxsize=16)
def _pool(header: tuple[tuple[str, str], ...]) -> Any:
    return pool(dict(header))


def _header(files: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(item for item in files.items() if item[0].endswith("derive_kernels.h"))


def entry(function: Any) -> int:
    """Where a compiled function begins."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@dataclass(slots=True)
class Arrays:
    """The slots of a call: their shapes (None: any), those that may be left out, and the elements
    of the largest workspace."""

    shapes: dict[Slot, Shape | None] = field(default_factory=dict)
    optional: set[Slot] = field(default_factory=set)
    room: int = 1

    def slot(self, slot: Slot, shape: Shape | None, *, optional: bool = False) -> Slot:
        self.shapes.setdefault(slot, shape)
        if optional:
            self.optional.add(slot)
        return slot


class Tasks:
    """A call of these tasks."""

    def __init__(
        self, backend: CBackend, files: Mapping[str, str], tasks: Sequence[Task], arrays: Arrays,
        writes: Collection[str], *, team: int, patient: bool, steps: int,
        inner: Collection[Slot] = (),
    ) -> None:  # fmt: skip
        """backend: of any of the cells.  writes: kinds of the arrays that a call makes.  team:
        threads that take part.  patient: whether to wait until they are awake.  steps: of a part,
        where a task follows another.  inner: arrays that only tasks read and write; they lie
        behind the workspaces, in memory that the next call uses again."""
        self._check, self._dtype = backend._check, backend._dtype
        self._workspace: Callable[[int], Array] = backend._workspace
        self._team, self._patient = team, patient
        made = functions(files)
        steps = steps if any(task.follows for task in tasks) else 0
        self._progress = _LINE * ctypes.sizeof(_Word) // self._dtype.itemsize * (2 + len(tasks))
        room = -(-arrays.room // _ALIGNED) * _ALIGNED
        self._room = room * team
        words: list[int | Slot] = [len(tasks), _PROGRESS, _WORKSPACE, room * self._dtype.itemsize]
        at = _HEAD + _TASK * len(tasks)
        for task in tasks:
            first = task.reads[0] if task.reads else 0
            words += [task.function, at, first, len(task.reads), int(task.follows), steps]
            words.append(task.workspace)
            at += len(task.words)
        for task in tasks:
            words += task.words
        self._words = words
        self._order = [word for word in words if isinstance(word, Slot)]
        self.written = [
            (slot, shape)
            for slot, shape in arrays.shapes.items()
            if slot.kind in writes and shape is not None and slot not in inner
        ]
        self._inner: list[tuple[Slot, int, Shape]] = []
        end = self._room
        for slot in inner:
            shape = arrays.shapes[slot] or ()
            self._inner.append((slot, end, shape))
            end += -(-prod(shape) // _ALIGNED) * _ALIGNED
        self._memory = end
        self._run, self._pool = made.run, _pool(_header(files)) if team > 1 else None
        self._direct: Direct | None = None
        if native_call.usable():
            shapes = {_PROGRESS: None, _WORKSPACE: None, **arrays.shapes}
            placed = [
                Place(shapes[word], word in arrays.optional) if isinstance(word, Slot) else word
                for word in words
            ]
            self._direct = Direct(made.run, placed, self._dtype, self._pool, team, patient)

    def __call__(self, given: Mapping[Slot, Array | None]) -> dict[Slot, Any] | None:
        """All arrays, those that the call made included. given: the others, of the shapes and the
        dtype of the plan and C-contiguous, lengths int64; None where an array does not fit."""
        if self._direct is None:
            return None
        arrays: dict[Slot, Any] = dict(given)
        lengths = given.get(LENGTHS)
        if lengths is not None:
            arrays[LENGTHS] = lengths.view(self._dtype)
        arrays[_WORKSPACE] = memory = self._workspace(self._memory)
        for slot, begin, shape in self._inner:
            arrays[slot] = memory[begin : begin + prod(shape)].reshape(shape)
        for slot, shape in self.written:
            arrays[slot] = empty(shape, self._dtype)
        arrays[_PROGRESS] = np.zeros(self._progress, self._dtype)
        status = self._direct(tuple([arrays[slot] for slot in self._order]))
        if status is None:
            return None
        self._check(status)
        arrays[LENGTHS] = lengths
        return arrays

    def by_address(self, at: Mapping[Slot, int]) -> None:
        """The same, for arrays that are not NumPy's: where each begins, 0 for lengths that are left
        out. Shapes, dtype and layout are the caller's to check."""
        workspace, progress = self._workspace(self._memory), np.zeros(self._progress, self._dtype)
        first = address(workspace)
        known = {**at, _WORKSPACE: first, _PROGRESS: address(progress)}
        for slot, begin, _ in self._inner:
            known[slot] = first + begin * self._dtype.itemsize
        numbers = [known[word] if isinstance(word, Slot) else word for word in self._words]
        args = (_Word * len(numbers))(*numbers)  # the call writes into it
        if self._pool is None:
            status = self._run(args, None)
        else:
            status = self._pool(self._run, args, _Word(self._team), _Word(self._patient))
        self._check(status)
