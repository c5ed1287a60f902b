"""The gradients of a stack in one call of compiled code, from the last layer to the first.

In: the layers of a forward call.  Out: `BackwardPlan`, which runs their backward passes.
Not here: one call of several tasks (tasks.py), the forward passes (stack.py).

The gradient of a layer's input is the cotangent of the output below, and is read where it was
written. A layer in one direction begins when the one above has ended a chunk of its steps: sums
over time are those of whole chunks, so the bits are those of layer after layer. The directions of a
layer run at the same time: a task of its own sums the gradients of their inputs, and hands each
direction below its part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from derive.kernel.signature import Array
from derive.kernel.stack import Layer, head, of_kind, widths
from derive.kernel.tasks import Arrays, Shape, Slot, Task, Tasks, entry, functions

#: What a call makes.
_WRITTEN = ("d_params", "d_inputs", "d_first", "split")


class BackwardPlan:
    """Backward calls of a stack with one set of sizes.

    Layers lie in the order of the forward pass, the directions of a layer next to each other.
    """

    def __init__(
        self, files: Mapping[str, str], layers: Sequence[Layer], x_of: Sequence[Slot],
        directions: int, *, team: int = 1, patient: bool = True,
    ) -> None:  # fmt: skip
        """x_of: the slot that each layer read in the forward pass."""
        self._layers, self._x_of, self._directions = tuple(layers), tuple(x_of), directions
        self._arrays = Arrays()
        self._split = functions(files).split
        self._size = layers[0].backend._dtype.itemsize
        tasks = self._tasks(team > 1)
        self._call = Tasks(
            layers[0].backend, files, tasks, self._arrays, _WRITTEN, team=team, patient=patient,
            steps=0,
        )  # fmt: skip

    def __call__(self, given: Mapping[Slot, Array | None]) -> dict[Slot, Any] | None:
        """given: "lengths"; "d_output" of all directions side by side; of each layer "params", what
        it read, "saved", and "d_last", which may be None. "d_params", "d_inputs" and "d_first" of
        each layer besides; None where an array does not fit."""
        return self._call(given)

    def _tasks(self, may_follow: bool) -> list[Task]:
        tasks: list[Task] = []
        count = self._directions
        above: tuple[int, ...] = ()  # the tasks of the layer above
        for first in reversed(range(0, len(self._layers), count)):
            whole = self._whole(first)
            cotangents: list[Slot] = [self._arrays.slot(Slot("d_output"), whole)]
            if above:
                cotangents = [
                    Slot("d_inputs", k, self._layers[k].x)
                    for k in range(first + count, first + 2 * count)
                ]
            if count > 1:
                parts = [Slot("split", first + k) for k in range(count)]
                tasks.append(self._parted(first, whole, cotangents, parts, above))
                cotangents, above = parts, (len(tasks) - 1,)
            begin = len(tasks)
            for k, cotangent in enumerate(cotangents, start=first):
                words = self._words(k, self._layers[k], cotangent)
                function = entry(self._layers[k].backend._pipelined[1])
                follows = may_follow and count == 1 and bool(above)
                tasks.append(Task(words, function, above, follows, len(words) - 4))
            above = tuple(range(begin, len(tasks)))
        return tasks

    def _whole(self, first: int) -> Shape:
        """The outputs of all directions of a layer, side by side."""
        shapes = [one.shape(one.y) for one in self._layers[first : first + self._directions]]
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def _parted(
        self, first: int, whole: Shape, sources: list[Slot], parts: list[Slot],
        reads: tuple[int, ...],
    ) -> Task:  # fmt: skip
        words: list[int | Slot] = [prod(whole[:-1]), len(parts), self._size, sources[0]]
        words.append(sources[1] if len(sources) > 1 else 0)
        for k, part in enumerate(parts, start=first):
            shape = self._layers[k].shape(self._layers[k].y)
            words += [self._arrays.slot(part, shape), shape[-1] * self._size]
        return Task(words, self._split, reads)

    def _words(self, k: int, layer: Layer, cotangent: Slot) -> list[int | Slot]:
        """The argument structure in the order of the header."""
        call, own, arrays, sizes = layer.call, layer.signature, self._arrays, layer.call.sizes
        memory = layer.backend._memory(sizes)
        params = {name: call.params[name].shape for name in own.params}
        inputs = widths(layer, own.inputs, sizes.steps)
        words = head(layer, arrays)
        words += of_kind(arrays, "params", k, params)
        for name, shape in inputs.items():
            slot = self._x_of[k] if name == layer.x else Slot("inputs", k, name)
            words.append(arrays.slot(slot, shape))
        for name, shape in widths(layer, own.outputs, sizes.steps).items():
            words.append(arrays.slot(cotangent, shape) if name == layer.y else 0)
        words += of_kind(arrays, "d_last", k, widths(layer, own.states), optional=True)
        words += of_kind(arrays, "d_params", k, {n: s for n, s in params.items() if own.wants(n)})
        words += of_kind(arrays, "d_inputs", k, {n: s for n, s in inputs.items() if own.wants(n)})
        words += of_kind(arrays, "d_first", k, widths(layer, own.states))
        saved, room = memory.saved, max(memory.returning({}), 1)
        kept = arrays.slot(Slot("saved", k), (max(saved, 1),))
        arrays.room = max(arrays.room, room)
        return [*words, 0, 0, kept, saved, 0, room, 0, 0]
