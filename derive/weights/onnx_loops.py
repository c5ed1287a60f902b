"""Loop and Scan: which array of the body is which outside.

In: a Scope, and the number of a node in it.  Out: `Repeated`; what stays as it is; what one
iteration reads, and what all of them give.
Not here: computing a body (onnx_constants.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Array
from derive.weights.onnx_file import Scope

#: Nodes and iterations that all loops of a model may be run for.
MOST_RUNS = 20_000
#: Nodes Identity that are followed one after the other.
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Carried:
    """start: outside, what the first iteration reads as `before`; after: what the next one reads.
    end: outside, what the last one gives. "" where there is none."""

    start: str
    before: str
    after: str
    end: str


@dataclass(frozen=True, slots=True)
class Cut:
    """An array outside, of which each iteration has one slice, along an axis, forward or not."""

    outside: str
    inside: str
    axis: int
    reverse: bool


@dataclass(frozen=True)
class Repeated:
    """A Loop or a Scan. count: the number of iterations, an array; go: a condition, outside, and
    inside before and after an iteration; number: what the body calls the iteration."""

    body: Scope
    carried: tuple[Carried, ...]
    read: tuple[Cut, ...] = ()
    given: tuple[Cut, ...] = ()
    count: str = ""
    go: Carried | None = None
    number: str = ""

    @cached_property
    def free(self) -> tuple[str, ...]:
        """What the body, and what is inside it, reads of the graphs around it."""
        inside = self.numbers
        names = [
            name
            for scope in self.scopes
            for name in (*(n for node in scope.nodes for n in node.input if n), *scope.outputs)
            if id(scope.home(name)) not in inside
        ]
        return tuple(dict.fromkeys(names))

    @cached_property
    def scopes(self) -> tuple[Scope, ...]:
        """The body, and what is inside it."""
        found = [self.body]
        for scope in found:
            found += [child for children in scope.children.values() for child in children.values()]
        return tuple(found)

    @cached_property
    def numbers(self) -> frozenset[int]:
        """Of `scopes`: the id of each."""
        return frozenset(map(id, self.scopes))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The operators in `scopes`."""
        return frozenset(node.op_type for scope in self.scopes for node in scope.nodes)

    @cached_property
    def stays(self) -> Mapping[str, str]:
        """{input of the body: what, outside, it is in every iteration}, where it never changes."""
        return {each.before: each.start for each in self._constant}

    @cached_property
    def passed(self) -> Mapping[str, str]:
        """{output of the node: what, outside, it is}, as `stays`."""
        return {each.end: each.start for each in self._constant}

    @cached_property
    def _constant(self) -> list[Carried]:
        return [each for each in self.carried if each.start and self._is_handed_on(each)]

    def _is_handed_on(self, each: Carried) -> bool:
        name = each.after
        for _ in range(_LONGEST):
            outer = name == each.start and self.body.home(name) is not self.body
            if name == each.before or outer:
                return True
            number = self.body.makers.get(name)
            node = None if number is None else self.body.nodes[number]
            if node is None or node.op_type != "Identity" or len(node.input) != 1:
                return False
            name = node.input[0]
        return False


def loop_of(home: Scope, number: int, opsets: Mapping[str, int]) -> Repeated | None:
    """None where the node is no Loop or Scan, or is not wired as the operator is."""
    node = home.nodes[number]
    body = home.children.get(number, {}).get("body")
    if body is None or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Loop":
        return _loop(node, body)
    version = opsets.get("", opsets.get("ai.onnx", 0))
    return _scan(node, body) if node.op_type == "Scan" and version >= 9 else None


def _loop(node: Any, body: Scope) -> Repeated | None:
    starts, ends = list(node.input[2:]), list(node.output)
    count = len(starts)
    if len(node.input) < 2 or len(body.order) != count + 2 or len(body.outputs) <= count:
        return None
    ends += [""] * (len(body.outputs) - 1 - len(ends))
    parts = zip(starts, body.order[2:], body.outputs[1:], ends, strict=False)
    stacked = zip(ends[count:], body.outputs[1 + count :], strict=False)
    return Repeated(
        body,
        tuple(Carried(*part) for part in parts),
        given=tuple(Cut(outside, inside, 0, False) for outside, inside in stacked),
        count=node.input[0],
        go=Carried(node.input[1], body.order[1], body.outputs[0], ""),
        number=body.order[0],
    )


def _scan(node: Any, body: Scope) -> Repeated | None:
    numbers: dict[str, Any] = {
        a.name: list(a.ints) or a.i for a in node.attribute if a.name != "body"
    }
    scanned = numbers.get("num_scan_inputs", 0)
    states = len(node.input) - scanned if isinstance(scanned, int) else -1
    stacked = len(body.outputs) - states
    if states < 0 or scanned < 1 or len(body.order) != len(node.input) or stacked < 0:
        return None
    ends = list(node.output) + [""] * (len(body.outputs) - len(node.output))

    def cuts(kind: str, outside: Sequence[str], inside: Sequence[str]) -> list[Cut] | None:
        zeros = [0] * len(inside)
        axes = numbers.get(f"scan_{kind}_axes") or zeros
        ways = numbers.get(f"scan_{kind}_directions") or zeros
        if not len(axes) == len(ways) == len(inside):
            return None
        rows = zip(outside, inside, axes, ways, strict=True)
        return [Cut(out, inner, axis, way == 1) for out, inner, axis, way in rows]

    read = cuts("input", node.input[states:], body.order[states:])
    given = cuts("output", ends[states : len(body.outputs)], body.outputs[states:])
    if read is None or given is None:
        return None
    parts = zip(node.input[:states], body.order, body.outputs, ends, strict=False)
    carried = tuple(Carried(*part) for part in parts)
    return Repeated(body, carried, tuple(read), tuple(given))


def steps_of(loop: Repeated, operands: Mapping[str, Array]) -> int | None:
    """How many iterations there are at most; None where only the condition says."""
    if loop.read:
        lengths = {operands[cut.outside].shape[cut.axis] for cut in loop.read}
        if len(lengths) > 1:
            raise ArgumentError(f"arrays that one Scan reads have {sorted(lengths)} slices")
        return int(lengths.pop())
    return int(np.ravel(operands[loop.count])[0]) if loop.count else None


def slices(
    loop: Repeated, operands: Mapping[str, Array], step: int, steps: int
) -> dict[str, Array]:
    """What an iteration reads, by the names inside."""
    return {
        cut.inside: np.take(operands[cut.outside], steps - 1 - step if cut.reverse else step,
                            axis=cut.axis)
        for cut in loop.read
    }  # fmt: skip


def joined(cut: Cut, parts: list[Array]) -> Array:
    """What all iterations gave; there is at least one."""
    return np.stack(parts[::-1] if cut.reverse else parts, axis=cut.axis)
