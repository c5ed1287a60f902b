"""All layers and directions of a stack in one call of compiled code, side by side where that pays.

In: the kind of each layer's forward call, and which layers it reads from.  Out: `StackPlan`, which
runs them on arrays or addresses.
Not here: one call of several tasks (tasks.py), how many threads take part (side_by_side.py),
gradients (stack_backward.py), parameters and what users give (layers/, torch/).

A layer's outputs are written where the layer above reads them, and those of both directions are
joined by a task of its own. Kernels are those of one thread: the bits are those of layer after
layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from derive.kernel.c_backend import CBackend
from derive.kernel.call import Call
from derive.kernel.signature import Array, Signature
from derive.kernel.tasks import LENGTHS, Arrays, Shape, Slot, Task, Tasks, entry, functions
from derive.kernel.team import NO_MEETINGS, Meetings

#: What a call makes.
_WRITTEN = ("outputs", "last", "saved", "joined")


@dataclass(frozen=True, slots=True)
class Layer:
    """One direction of one layer.

    call: sizes, reverse and training of its forward call; of its arrays the shapes of parameters
    count.  x: the input that changes with time; y: the output that goes up.  reads: the
    layers whose outputs lie side by side in x, by their places in the stack; none: x is given.
    meetings: of threads that share it.
    """

    backend: CBackend
    call: Call
    x: str
    y: str
    reads: tuple[int, ...] = ()
    meetings: Meetings = NO_MEETINGS

    @property
    def signature(self) -> Signature:
        return self.backend.signature

    def shape(self, name: str) -> Shape:
        """Of an input or an output, [T, B, ...]."""
        sizes, own = self.call.sizes, self.signature
        width = own.inputs[name] if name in own.inputs else own.outputs[name]
        return (sizes.steps, sizes.rows, *sizes.lengths(width))


class StackPlan:
    """Forward calls of a stack with one set of sizes."""

    def __init__(
        self, files: Mapping[str, str], layers: Sequence[Layer], joined: Sequence[int], *,
        team: int = 1, patient: bool = True, steps: int = 0,
    ) -> None:  # fmt: skip
        """files: of one of the cells, for the shared header.  joined: the layers whose outputs are
        put out side by side.  team: threads that take part.  steps: of a part, where a layer
        begins before the one below has ended; 0: none does."""
        self.layers = tuple(layers)
        self._x: list[Slot] = []  # what each layer reads
        self._arrays = Arrays()
        self._join = functions(files).join
        self._size = layers[0].backend._dtype.itemsize
        tasks, self.result = self._tasks(joined, team > 1 and steps > 0)
        # A backward pass reads what went from layer to layer.
        inner = (
            () if layers[0].call.training else [s for s in self._arrays.shapes if self._is_inner(s)]
        )
        self._call = Tasks(
            layers[0].backend, files, tasks, self._arrays, _WRITTEN, team=team, patient=patient,
            steps=steps, inner=inner,
        )  # fmt: skip

    def _tasks(self, joined: Sequence[int], may_follow: bool) -> tuple[list[Task], Slot]:
        """In an order in which each reads from earlier ones; and where the result is."""
        tasks: list[Task] = []
        place: dict[int, int] = {}  # layer -> task
        joints: dict[tuple[int, ...], int] = {}

        def source(parts: tuple[int, ...]) -> tuple[Slot, tuple[int, ...]]:
            """Where the outputs of these layers lie side by side, and which task writes them."""
            if len(parts) == 1:
                return Slot("outputs", parts[0], self.layers[parts[0]].y), (place[parts[0]],)
            if parts not in joints:
                joints[parts] = len(tasks)
                tasks.append(self._joint(parts, tuple(place[k] for k in parts)))
            return Slot("joined", parts[0]), (joints[parts],)

        for k, layer in enumerate(self.layers):
            x, reads = source(layer.reads) if layer.reads else (Slot("x"), ())
            follows = may_follow and len(layer.reads) == 1
            follows = follows and self.layers[layer.reads[0]].call.reverse == layer.call.reverse
            place[k] = len(tasks)
            self._x.append(x)
            words = self._words(k, layer, x)
            function = entry(layer.backend._pipelined[0])
            tasks.append(Task(words, function, reads, follows, len(words) - 2))
        return tasks, source(tuple(joined))[0]

    def _is_inner(self, slot: Slot) -> bool:
        return slot.kind in ("outputs", "joined") and slot != self.result

    def _joint(self, parts: tuple[int, ...], reads: tuple[int, ...]) -> Task:
        shapes = [self.layers[k].shape(self.layers[k].y) for k in parts]
        whole = (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
        slot = self._arrays.slot(Slot("joined", parts[0]), whole)
        words: list[int | Slot] = [prod(whole[:-1]), len(parts), slot]
        for k, shape in zip(parts, shapes, strict=True):
            words += [Slot("outputs", k, self.layers[k].y), shape[-1] * self._size]
        return Task(words, self._join, reads)

    def _words(self, k: int, layer: Layer, x: Slot) -> list[int | Slot]:
        """The argument structure in the order of the header."""
        call, own, arrays, sizes = layer.call, layer.signature, self._arrays, layer.call.sizes
        memory = layer.backend._memory(sizes)
        words = head(layer, arrays)
        words += of_kind(arrays, "params", k, {n: call.params[n].shape for n in own.params})
        for name in own.inputs:
            words.append(arrays.slot(x if name == layer.x else Slot("inputs", k, name),
                                     layer.shape(name)))  # fmt: skip
        words += of_kind(arrays, "first", k, widths(layer, own.states))
        words += of_kind(arrays, "outputs", k, widths(layer, own.outputs, sizes.steps))
        words += of_kind(arrays, "last", k, widths(layer, own.states))
        words += [0, 0]  # no panels
        saved = max(memory.saved, 1)
        kept = arrays.slot(Slot("saved", k), (saved,)) if call.training else 0
        room = max(memory.running({}, call.training), 1)
        arrays.room = max(arrays.room, room)
        return [*words, kept, saved if call.training else 0, 0, room]

    def input_slot(self, k: int, name: str) -> Slot:
        """Where an input of layer k is."""
        return self._x[k] if name == self.layers[k].x else Slot("inputs", k, name)

    def __call__(self, given: Mapping[Slot, Array | None]) -> tuple[Array, dict[Slot, Any]] | None:
        """given: "x", "lengths" (int64, or None), and "params", "inputs" and "first" of each layer;
        all of the shapes and the dtype of the plan, and C-contiguous. What is put out, and all
        arrays by slot; None where an array does not fit."""
        arrays = self._call(given)
        return None if arrays is None else (arrays[self.result], arrays)

    def by_address(self, at: Mapping[Slot, int]) -> None:
        """The same, for arrays that are not NumPy's; at: where each begins, those of `written`
        included."""
        self._call.by_address(at)

    @property
    def written(self) -> Sequence[tuple[Slot, Shape]]:
        """The arrays that a call writes, and their shapes."""
        return self._call.written


def head(layer: Layer, arrays: Arrays) -> list[int | Slot]:
    """Sizes, lengths and reverse."""
    sizes, size = layer.call.sizes, layer.backend._dtype.itemsize
    lengths = arrays.slot(LENGTHS, (sizes.rows * 8 // size,), optional=True)
    return [*layer.backend._size_words(sizes), lengths, int(layer.call.reverse)]


def of_kind(
    arrays: Arrays, kind: str, k: int, shapes: Mapping[str, Shape], *, optional: bool = False
) -> list[int | Slot]:
    """Slots of the arrays of one kind."""
    return [arrays.slot(Slot(kind, k, n), shape, optional=optional) for n, shape in shapes.items()]


def widths(layer: Layer, axes: Mapping[str, Any], steps: int | None = None) -> dict[str, Shape]:
    """{name: [B, ...]}, or [T, B, ...]."""
    return layer.backend._shapes(layer.call.sizes, axes, steps)
