"""All layers and directions of a stack in one call of compiled code, side by side where that pays.

In: the kind of each layer's forward call, and which layers it reads from.  Out: `StackPlan`, which
runs them on arrays or addresses.
Not here: what a task waits for (templates/c/layers.c.j2), how many threads take part (beside.py),
parameters and what users give (layers/, torch/).

A layer's outputs are written where the layer above reads them, and those of both directions are
joined by a task of its own. Kernels are those of one thread: the bits are those of layer after
layer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from derive.kernel.buffers import address, empty
from derive.kernel.c_backend import CBackend
from derive.kernel.call import Call
from derive.kernel.fast import native_call
from derive.kernel.fast.native_call import Direct, Place
from derive.kernel.pool import beside_header, pool
from derive.kernel.signature import Array, Signature

#: Words before the first task, of a task, and of a cache line (templates/c/layers.c.j2).
_HEAD, _TASK, _LINE = 4, 7, 8
_Word = ctypes.c_size_t
#: What a call writes, and returns.
_WRITTEN = ("outputs", "last", "saved", "joined")
#: Elements; each part of a workspace begins on a cache line.
_ALIGNED = 16

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One direction of one layer.

    call: sizes, reverse and training of its forward call; of its arrays the shapes of parameters
    count.  x: the input that changes with time; y: the output that goes up.  reads: the
    layers whose outputs lie side by side in x, by their places in the stack; none: x is given.
    """

    backend: CBackend
    call: Call
    x: str
    y: str
    reads: tuple[int, ...] = ()

    @property
    def signature(self) -> Signature:
        return self.backend.signature

    def shape(self, name: str) -> Shape:
        """Of an input or an output, [T, B, ...]."""
        sizes, own = self.call.sizes, self.signature
        width = own.inputs[name] if name in own.inputs else own.outputs[name]
        return (sizes.steps, sizes.rows, *sizes.lengths(width))


class Slot(NamedTuple):
    """An array of a stack. kind: "params", "inputs", "first", "outputs", "last" or "saved" of a
    layer, "joined" of those from a layer on; "x", "lengths", "progress" or "workspace" of all."""

    kind: str
    layer: int = 0
    name: str = ""


@dataclass(slots=True)
class _Arguments:
    """The arguments of one task: numbers, and slots where the address of an array goes."""

    words: list[int | Slot]
    function: int
    reads: tuple[int, ...] = ()  # tasks
    follows: int = 0
    workspace: int = 0  # the word that is its address


class _Functions(NamedTuple):
    """run: what a pool runs; join: the address of the task that joins outputs."""

    run: Any
    join: int


def _functions(files: Mapping[str, str]) -> _Functions:
    from derive.build.templates import environment

    text = environment().get_template("c/layers.c.j2").render()
    library = beside_header(files, "layers.c", text)
    return _Functions(library.derive_layers_run, native_call._entry(library.derive_layers_join))


class StackPlan:
    """Forward calls of a stack with one set of sizes."""

    def __init__(
        self, files: Mapping[str, str], layers: Sequence[Layer], joined: Sequence[int], *,
        team: int = 1, patient: bool = True, steps: int = 0,
    ) -> None:  # fmt: skip
        """files: of one of the cells, for the shared header.  joined: the layers whose outputs are
        put out side by side.  team: threads that take part.  steps: of a part, where a layer
        begins before the one below has ended; 0: none does."""
        self.layers, self.team = tuple(layers), team
        backend = layers[0].backend
        self._check, self._dtype = backend._check, backend._dtype
        self._workspace: Callable[[int], Array] = backend._workspace
        self._x: list[Slot] = []  # what each layer reads
        self._room = 0  # elements of the workspace of one thread
        self._shapes: dict[Slot, Shape | None] = {
            Slot("progress"): None, Slot("workspace"): None,
        }  # fmt: skip
        self._optional: set[Slot] = set()
        functions = _functions(files)
        self._follows = team > 1 and steps > 0
        tasks, self._result = self._tasks(functions, joined)
        steps = steps if any(task.follows for task in tasks) else 0
        size = _LINE * ctypes.sizeof(_Word) // self._dtype.itemsize
        self._progress = size * (2 + len(tasks))
        room = -(-self._room // _ALIGNED) * _ALIGNED
        self._room = room * team
        words: list[int | Slot] = [
            len(tasks), Slot("progress"), Slot("workspace"), room * self._dtype.itemsize,
        ]  # fmt: skip
        at = _HEAD + _TASK * len(tasks)
        for task in tasks:
            first = task.reads[0] if task.reads else 0
            words += [task.function, at, first, len(task.reads), task.follows]
            words += [steps if task.function != functions.join else 0, task.workspace]
            at += len(task.words)
        for task in tasks:
            words += task.words
        self._words = words
        self._order = [word for word in words if isinstance(word, Slot)]
        self._written = [(slot, shape) for slot, shape in self._shapes.items()
                         if slot.kind in _WRITTEN and shape is not None]  # fmt: skip
        self._run, self._pool = functions.run, pool(files) if team > 1 else None
        self._patient = patient
        self._direct: Direct | None = None
        if native_call.usable():
            placed = [self._place(word) if isinstance(word, Slot) else word for word in words]
            self._direct = Direct(functions.run, placed, self._dtype, self._pool, team, patient)

    # --- what the tasks are -----------------------------------------------------------------

    def _tasks(self, functions: _Functions, joined: Sequence[int]) -> tuple[list[_Arguments], Slot]:
        """In an order in which each reads from earlier ones; and where the result is."""
        tasks: list[_Arguments] = []
        place: dict[int, int] = {}  # layer -> task
        joints: dict[tuple[int, ...], int] = {}

        def source(parts: tuple[int, ...]) -> tuple[Slot, tuple[int, ...]]:
            """Where the outputs of these layers lie side by side, and which task writes them."""
            if len(parts) == 1:
                layer = self.layers[parts[0]]
                return Slot("outputs", parts[0], layer.y), (place[parts[0]],)
            if parts not in joints:
                joints[parts] = len(tasks)
                tasks.append(self._joint(parts, functions.join, tuple(place[k] for k in parts)))
            return Slot("joined", parts[0]), (joints[parts],)

        for k, layer in enumerate(self.layers):
            x, reads = source(layer.reads) if layer.reads else (Slot("x"), ())
            follows = self._follows and len(layer.reads) == 1
            follows = follows and self._same_order(layer.reads[0], k)
            place[k] = len(tasks)
            self._x.append(x)
            function, words = (
                native_call._entry(layer.backend._pipelined),
                self._layer_words(k, layer, x),
            )
            tasks.append(_Arguments(words, function, reads, int(follows), len(words) - 2))
        result, _ = source(tuple(joined))
        return tasks, result

    def _same_order(self, below: int, above: int) -> bool:
        return self.layers[below].call.reverse == self.layers[above].call.reverse

    def _joint(self, parts: tuple[int, ...], function: int, reads: tuple[int, ...]) -> _Arguments:
        shapes = [self.layers[k].shape(self.layers[k].y) for k in parts]
        whole = (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
        slot = Slot("joined", parts[0])
        self._shapes[slot] = whole
        words: list[int | Slot] = [prod(whole[:-1]), len(parts), slot]
        for k, shape in zip(parts, shapes, strict=True):
            words += [Slot("outputs", k, self.layers[k].y), shape[-1] * self._dtype.itemsize]
        return _Arguments(words, function, reads)

    def _layer_words(self, k: int, layer: Layer, x: Slot) -> list[int | Slot]:
        """The argument structure in the order of the header."""
        call, own, backend = layer.call, layer.signature, layer.backend
        sizes, memory = call.sizes, backend._memory(call.sizes)
        shapes = self._shapes
        lengths = Slot("lengths")
        shapes[lengths] = (sizes.rows * 8 // self._dtype.itemsize,)
        self._optional.add(lengths)
        words: list[int | Slot] = [*backend._size_words(sizes), lengths, int(call.reverse)]

        def add(kind: str, of_kind: Mapping[str, Shape], replaced: Mapping[str, Slot]) -> None:
            for name, shape in of_kind.items():
                slot = replaced.get(name, Slot(kind, k, name))
                shapes.setdefault(slot, shape)
                words.append(slot)

        def widths(of_kind: Mapping[str, Any], steps: int | None) -> dict[str, Shape]:
            return backend._shapes(sizes, of_kind, steps)

        add("params", {name: array.shape for name, array in call.params.items()}, {})
        add("inputs", widths(own.inputs, sizes.steps), {layer.x: x})
        add("first", widths(own.states, None), {})
        add("outputs", widths(own.outputs, sizes.steps), {})
        add("last", widths(own.states, None), {})
        saved = max(memory.saved, 1)
        if call.training:
            shapes[Slot("saved", k)] = (saved,)
        words += [0, 0, Slot("saved", k) if call.training else 0, saved if call.training else 0]
        room = max(memory.running({}, call.training), 1)
        self._room = max(self._room, room)
        words += [0, room]  # its address is that of the thread's
        return words

    def input_slot(self, k: int, name: str) -> Slot:
        """Where an input of layer k is."""
        return self._x[k] if name == self.layers[k].x else Slot("inputs", k, name)

    def _place(self, slot: Slot) -> Place:
        return Place(self._shapes[slot], slot in self._optional)

    # --- calls ------------------------------------------------------------------------------

    def __call__(self, given: dict[Slot, Array | None]) -> tuple[Array, dict[Slot, Any]] | None:
        """given: "x", "lengths" (int64, or None), and "params", "inputs" and "first" of each layer;
        all of the shapes and the dtype of the plan, and C-contiguous. What is put out, and all
        arrays by slot; None where an array does not fit."""
        if self._direct is None:
            return None
        arrays: dict[Slot, Any] = dict(given)
        lengths = given.get(Slot("lengths"))
        if lengths is not None:
            arrays[Slot("lengths")] = lengths.view(self._dtype)
        arrays[Slot("workspace")] = self._workspace(self._room)
        for slot, shape in self._written:
            arrays[slot] = empty(shape, self._dtype)
        arrays[Slot("progress")] = np.zeros(self._progress, self._dtype)
        status = self._direct(tuple([arrays[slot] for slot in self._order]))
        if status is None:
            return None
        self._check(status)
        return arrays[self._result], arrays

    def by_address(self, at: Mapping[Slot, int]) -> None:
        """The same, for arrays that are not NumPy's: where every slot begins but those of the
        workspace and of progress; 0 for lengths that are left out. Shapes, dtype and layout are the
        caller's to check."""
        kept = self._workspace(self._room), np.zeros(self._progress, self._dtype)
        own = dict(zip((Slot("workspace"), Slot("progress")), map(address, kept), strict=True))
        numbers = [
            (own.get(word) or at[word]) if isinstance(word, Slot) else word for word in self._words
        ]
        args = (_Word * len(numbers))(*numbers)  # the call writes into it
        if self._pool is None:
            status = self._run(args, None)
        else:
            status = self._pool(self._run, args, _Word(self.team), _Word(self._patient))
        self._check(status)

    @property
    def written(self) -> Sequence[tuple[Slot, Shape]]:
        """The arrays that a call writes, and their shapes."""
        return self._written

    @property
    def result(self) -> Slot:
        """What is put out."""
        return self._result
