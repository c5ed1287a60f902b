"""What a graph computes from constants alone, as arrays.

In: a `Model`, and the name of an array in one of its graphs.  Out: its value; or what it is
repeated from, where only its shape is open; or where it comes from, in words.
Not here: which arrays are asked for (onnx_nodes.py), one node (onnx_evaluate.py), how a loop is
wired (onnx_loops.py).

Any operator that the onnx package's reference evaluator knows is computed, one node at a time, and
only where all that it reads is constant. What a node takes is found from shapes before it is
computed, so that a small file cannot ask for a large array or for hours. An If whose condition is
constant is the branch that it takes. What an iteration of a Loop or Scan hands to the next one as
it was is what the first one began with; one that reads constants alone is run, a node at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import ArgumentError, DeriveError
from derive.kernel.signature import Array
from derive.weights.onnx_evaluate import evaluated, filling
from derive.weights.onnx_file import Model, Scope
from derive.weights.onnx_loops import MOST_RUNS, Repeated, joined, loop_of, slices, steps_of
from derive.weights.onnx_sizes import bytes_of

#: Bytes that all results together may take.
MOST_TOGETHER = 2**32
#: Work that all of them together may take, in bytes that are gone through: some ten seconds.
MOST_WORK = 2**35
#: Work of looking up one array that another one hangs on.
_LOOK_UP = 2**10
#: Operators whose results differ from call to call.
_RANDOM = frozenset(
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli "
    "Dropout".split()
)
#: Operators that only repeat what they read, and those that move or choose its elements.
_REPEATING = frozenset({"Expand", "Tile"})
_MOVING = frozenset(
    "Identity Slice Gather Reshape Squeeze Unsqueeze Split Transpose Flatten".split()
)

Key = tuple[int, str]


class _TooManyRuns(Exception):
    """Loops of a model are run for too many nodes and iterations."""


class Constants:
    """The constants of one model. given: arrays that are known besides, by name."""

    def __init__(self, model: Model, given: Mapping[str, Array] | None = None) -> None:
        self._model = model
        self._given = dict(given or {})
        # by graph, so that an iteration forgets what the one before it made and nothing else
        self._known: defaultdict[int, dict[str, bool]] = defaultdict(dict)
        self._values: defaultdict[int, dict[str, Any]] = defaultdict(dict)
        self._bytes = 0
        self._loops: dict[tuple[int, int], Repeated | None] = {}
        self._inside = 0
        self._runs = 0
        self._work = 0

    def clear(self) -> None:
        """Forget the arrays."""
        self._values.clear()
        self._bytes = 0

    def value(self, scope: Scope, name: str) -> Array | None:
        """The array, None where it is not constant; ArgumentError where it cannot be computed."""
        try:
            if not self._constant(scope, name):
                return None
            found = self._computed(scope, name)
        except RecursionError as error:
            raise ArgumentError(
                f"{name!r} of {self._model.title} hangs on conditions nested too deeply"
            ) from error
        if not isinstance(found, np.ndarray):
            raise ArgumentError(f"{name!r} of {self._model.title} is no array")
        return found

    def repeated(self, scope: Scope, name: str) -> Array | None:
        """The constant that an array of open shape repeats: broadcast it to the shape. None where
        there is no such constant."""
        chain: list[tuple[Scope, Any]] = []
        while not self._constant(scope, name):
            home = scope.home(name)
            if home is None or name not in home.makers or len(chain) > len(home.nodes):
                return None
            node = home.nodes[home.makers[name]]
            kind = node.op_type if node.domain in ("", "ai.onnx") else ""
            if kind not in _REPEATING | _MOVING | {"Cast", "ConstantOfShape"}:
                return None
            chain.append((home, node))
            if kind == "ConstantOfShape":
                return self._along(filling(self._model, node), chain[:-1])
            scope, name = home, node.input[0]
        found = self.value(scope, name)
        return None if found is None else self._along(found, chain)

    def source(self, scope: Scope, name: str) -> str:
        """Where an array comes from, in words."""
        home = scope.home(name)
        if home is None:
            return f"{name!r}, which is nowhere in the model"
        if name in home.tensors:
            return f"the constant {name!r}"
        if name in home.sparse:
            return f"the sparse constant {name!r}, which is not read"
        if name in home.makers:
            node = home.nodes[home.makers[name]]
            return f"{name!r}, which {node.op_type} {node.name!r} computes".replace(" ''", "")
        return f"the input {name!r} of {'the model' if home.outer is None else home.place}"

    # --- what is constant ---------------------------------------------------------------------

    def _constant(self, scope: Scope, name: str) -> bool:
        """Whether an array hangs on constants alone. A stack of its own: graphs may be deep."""
        waiting = [(scope, name)]
        opened: set[Key] = set()
        while waiting:
            scope, name = waiting[-1]
            home = scope.home(name)
            if home is None:
                return False
            key = (id(home), name)
            if name in self._known[id(home)]:
                waiting.pop()
                continue
            if name in self._given or name in home.tensors:
                self._known[id(home)][name] = True
                continue
            needed = self._needed(home, name)
            if needed is None:
                self._known[id(home)][name] = False
                continue
            states = [self._state(inner, other) for inner, other in needed]
            if False in states:
                self._known[id(home)][name] = False
            elif None not in states:
                self._known[id(home)][name] = True
            else:
                opened.add(key)
                missing = [n for n, state in zip(needed, states, strict=True) if state is None]
                if any((id(inner.home(other)), other) in opened for inner, other in missing):
                    raise ArgumentError(f"{name!r} of {self._model.title} is computed from itself")
                waiting += missing
        return bool(self._state(scope, name))

    def _state(self, scope: Scope, name: str) -> bool | None:
        home = scope.home(name)
        return False if home is None else self._known[id(home)].get(name)

    def _needed(self, home: Scope, name: str) -> list[tuple[Scope, str]] | None:
        """What an array hangs on; None where it is never constant. The last one is the array
        itself where it is a branch's, or what a loop began with."""
        if (origin := self._origin(home, name)) is not None:
            return [origin]
        if name not in home.makers:
            return None
        number = home.makers[name]
        node = home.nodes[number]
        if node.op_type in _RANDOM:
            return None
        read = [(home, operand) for operand in node.input if operand]
        if not home.children.get(number):
            return read
        if (loop := self._loop(home, number)) is not None:
            return None if loop.kinds & _RANDOM else read + [(loop.body, n) for n in loop.free]
        if node.op_type != "If" or len(read) != 1:
            return None
        if self._state(*read[0]) is not True:
            return read
        taken = self._taken(home, number)
        place = list(node.output).index(name)
        if taken is None or place >= len(taken.outputs):
            return None
        return [*read, (taken, taken.outputs[place])]

    def _origin(self, home: Scope, name: str) -> tuple[Scope, str] | None:
        """What a loop hands on as it was: where that is outside of the loop."""
        if name in home.makers:
            loop = self._loop(home, home.makers[name])
            return (home, loop.passed[name]) if loop and name in loop.passed else None
        if home.outer is None or name not in home.inputs:
            return None
        loop = self._loop(home.outer, home.owner)
        return (home.outer, loop.stays[name]) if loop and name in loop.stays else None

    def _loop(self, home: Scope, number: int) -> Repeated | None:
        key = (id(home), number)
        if key not in self._loops:
            self._loops[key] = loop_of(home, number, self._model.opsets)
        return self._loops[key]

    def _taken(self, home: Scope, number: int) -> Scope | None:
        condition = self._computed(home, home.nodes[number].input[0])
        return home.children[number].get("then" if np.all(condition) else "else")

    # --- values -------------------------------------------------------------------------------

    def _computed(self, scope: Scope, name: str) -> Any:
        """The value of what is constant."""
        waiting = [(scope, name)]
        while waiting:
            scope, name = waiting[-1]
            home = scope.home(name)
            assert home is not None
            values = self._values[id(home)]
            if name in values:
                waiting.pop()
                continue
            if name in self._given:
                values[name] = self._given[name]
            elif name in home.tensors:
                values[name] = self._model.array(home.tensors[name])
            else:
                needed = self._needed(home, name) or []
                missing = [n for n in needed if self._value_of(*n) is None]
                if missing:
                    waiting += missing
                else:
                    self._add(home, name, needed)
        return self._value_of(scope, name)

    def _add(self, home: Scope, name: str, needed: Sequence[tuple[Scope, str]]) -> None:
        """The value of an array, all that it hangs on being there."""
        self._spend(_LOOK_UP * len(needed))
        if self._origin(home, name) is None:
            number = home.makers[name]
            if (loop := self._loop(home, number)) is not None:
                return self._run_loop(home, home.nodes[number], loop, name)
            if not home.children.get(number):
                operands = [self._value_of(*each) for each in needed]
                return self._run(home, home.nodes[number], operands)
        self._values[id(home)][name] = self._value_of(*needed[-1])
        return None

    def _value_of(self, scope: Scope, name: str) -> Any:
        return self._values[id(scope.home(name))].get(name)

    def _run(self, home: Scope, node: Any, operands: Sequence[Any]) -> None:
        names = dict.fromkeys(operand for operand in node.input if operand)
        given = dict(zip([n for n in node.input if n], operands, strict=True))
        read = {name: given[name] for name in names}
        if self._inside:
            self._run_once()
        results = evaluated(self._model, node, read, self._spend)
        for name, result in zip([n for n in node.output if n], results, strict=True):
            self._keep(home, name, result)

    def _run_once(self) -> None:
        self._runs += 1
        if self._runs > MOST_RUNS:
            raise _TooManyRuns

    def _run_loop(self, home: Scope, node: Any, loop: Repeated, wanted: str) -> None:
        """A Loop or Scan that reads constants alone. wanted: the output that is asked for."""
        operands = {name: self._value_of(home, name) for name in node.input if name}
        what = f"{node.op_type} {node.name!r}".removesuffix(" ''") + f" of {self._model.title}"
        self._inside += 1
        try:
            found = self._iterated(loop, operands)
            if wanted not in found:
                raise ArgumentError(f"{wanted!r} has no slices, and no shape")
        except (DeriveError, RecursionError):
            raise
        except _TooManyRuns as error:
            raise ArgumentError(
                f"{what} is not computed",
                facts=(f"it takes more than {MOST_RUNS:,} nodes and iterations, with all loops",),
            ) from error
        except Exception as error:  # operands that do not fit
            raise ArgumentError(
                f"{what} cannot be computed", facts=(f"{type(error).__name__}: {error}",)
            ) from error
        finally:
            self._inside -= 1
            self._forget(loop)
        for name, result in found.items():
            self._keep(home, name, result)

    def _iterated(self, loop: Repeated, operands: Mapping[str, Any]) -> dict[str, Any]:
        """{output: value} after all iterations. A stack of no slices is left out: its shape is
        that of no array."""
        steps, step = steps_of(loop, operands), 0
        now = {each.before: operands[each.start] for each in loop.carried}
        go = loop.go is None or not loop.go.start or bool(np.all(operands[loop.go.start]))
        stacks: list[list[Array]] = [[] for _ in loop.given]
        while go and (steps is None or step < steps):
            self._run_once()
            here = {**now, **slices(loop, operands, step, steps or 0)}
            if loop.go is not None:
                here |= {loop.number: np.array(step), loop.go.before: np.array(True)}
            self._forget(loop)
            for name, array in here.items():
                self._known[id(loop.body)][name] = True
                self._values[id(loop.body)][name] = array
                self._spend(_LOOK_UP + bytes_of(array))
            now = {each.before: self._of_body(loop, each.after) for each in loop.carried}
            for stack, cut in zip(stacks, loop.given, strict=True):
                stack.append(self._of_body(loop, cut.inside))
                self._count(stack[-1])
            go = loop.go is None or bool(np.all(self._of_body(loop, loop.go.after)))
            step += 1
        ends = {each.end: now[each.before] for each in loop.carried if each.end}
        pairs = zip(loop.given, stacks, strict=True)
        return ends | {
            cut.outside: joined(cut, stack) for cut, stack in pairs if cut.outside and stack
        }

    def _of_body(self, loop: Repeated, name: str) -> Any:
        if not self._constant(loop.body, name):
            raise ArgumentError(f"{name!r} of {self._model.title} is nowhere in {loop.body.place}")
        return self._computed(loop.body, name)

    def _forget(self, loop: Repeated) -> None:
        """What is known of a body: another iteration has other values."""
        for held in (self._known, self._values):
            for number in held.keys() & loop.numbers:
                del held[number]

    def _keep(self, home: Scope, name: str, result: Any) -> None:
        self._values[id(home)][name] = result
        self._count(result)

    def _count(self, result: Any) -> None:
        self._bytes += bytes_of(result)
        if self._bytes > MOST_TOGETHER:
            raise ArgumentError(
                f"constants of {self._model.title} are too large",
                facts=(f"computing them takes more than {MOST_TOGETHER >> 30} GiB",),
            )

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > MOST_WORK:
            raise ArgumentError(
                f"constants of {self._model.title} take too long to compute",
                facts=(f"their nodes go through more than {MOST_WORK >> 30} GiB",),
            )

    def _along(self, base: Array, chain: Sequence[tuple[Scope, Any]]) -> Array | None:
        """`base` after the nodes of a chain, last first, none of which may change its elements
        but by choosing whole ones."""
        tiled = False
        for home, node in reversed(chain):
            kind = node.op_type
            if kind == "Cast":
                base = evaluated(self._model, node, {node.input[0]: base}, self._spend)[0]
            elif kind in _REPEATING | {"Identity"} or base.size == 1:
                tiled |= kind == "Tile"
                base = base if base.size > 1 or kind in _REPEATING else base.reshape(())
            elif kind == "Transpose" and not tiled:
                order = [list(a.ints) for a in node.attribute if a.name == "perm"]
                if not order or len(order[0]) < base.ndim:
                    return None
                padded = base.reshape((1,) * (len(order[0]) - base.ndim) + base.shape)
                base = padded.transpose(order[0])
            elif kind == "Slice" and not tiled and self._slices_whole(home, node, base):
                operands = {n: self.value(home, n) for n in node.input[1:] if n}
                operands[node.input[0]] = base
                base = evaluated(self._model, node, operands, self._spend)[0]
            elif kind == "Unsqueeze" and self._at_the_front(home, node):
                pass
            else:
                return None
        return base

    def _slices_whole(self, home: Scope, node: Any, base: Array) -> bool:
        """Whether a Slice cuts only axes whose length the base has."""
        axes = self._axes(home, node, 3)
        others = [n for n in node.input[1:] if n]
        return (
            axes is not None
            and base.ndim == 3
            and all(self._constant(home, n) for n in others)
            and all(-3 <= axis < 3 and base.shape[axis] != 1 for axis in axes)
        )

    def _at_the_front(self, home: Scope, node: Any) -> bool:
        axes = self._axes(home, node, 1)
        return axes is not None and axes == [0]

    def _axes(self, home: Scope, node: Any, place: int) -> list[int] | None:
        for attribute in node.attribute:
            if attribute.name == "axes":
                return list(attribute.ints)
        if len(node.input) <= place or not node.input[place]:
            return None
        found = self.value(home, node.input[place])
        return None if found is None else [int(axis) for axis in np.ravel(found)]
