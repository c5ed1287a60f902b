"""`--what calls`: series of calls with strange arguments, good ones between them.

In: choices of hypothesis.  Out: nothing, or a Fault.
Not here: how they are made (strange.py).

Any arguments give results or a DeriveError; all targets say the same, word for word; and
a kernel that was called before says what a fresh one says.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import strategies as st

from derive import pipeline
from derive import targets as table
from derive.cell import Cell
from derive.fuzz.fault import Fault, fault
from derive.fuzz.running import plain
from derive.fuzz.strange import METHODS, VALUES, B, T, Turn, good
from derive.fuzz.worker import Worker
from derive.kernel.argument_words import only

_TEXTS = (
    "cell plain\ninput x: I\nstate h: H\nh' = tanh(W @ x + U @ h + b)\noutput h'\n",
    "cell two\ninput x: I, m: 1\nstate h: H, c: P\nparam s: 1\n"
    "h' = tanh(W @ x + s * h)\nc' = 0.5 * c + m * (V @ h')\noutput h', c'\n",
    "cell alone\nstate h: H\nh' = tanh(U @ h)\noutput h'\n",
    "cell free\ninput x: 1\nstate h: H\nh' = 0.5 * h + x\noutput h'\n",
    # What the text works with is not what a user gives.
    "cell learned\ninput x: I\nstate h: H = h0, c: P\nparam h0: H\n"
    "h' = tanh(W @ x + h)\nc' = 0.5 * c + V @ h'\noutput h', c'\n",
    "cell given\ninput x: I, m: H once\nstate h: H\nfixed M: H x H\n"
    "h' = tanh(W @ x + m * (M @ h))\noutput h'\n",
    "cell joined\ninput x: 2 x I\nstate C: 2 x H\nparam K: 2 x H x (I + H)\n"
    "C' = tanh(K @ concat(x, C))\noutput C'\n",
    "cell whole\ninput x: 3\nstate h: 4\nparam b: 4\nh' = sigmoid(W @ x + b) * h\noutput h', h\n",
)
_DTYPES = ("float32", "int64", "bool", "float16", "complex128", "object", "U3", "M8[s]", "S2", "V4")
_PLAIN: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.5, 1e400, -1e400, 2**31, 2**62, 2**63, 2**200, "a", "", b"a",
    "time", (), [], {}, [[1.0], [1.0, 2.0]], [None], [1, "a"], {"x": 1}, {1: 2}, 1j, "nan",
    [0, 3], [3, 3], [4, 0], [-1, 0], [0.0, 1.0], [True, False], [2**63, 0], {3},
)  # fmt: skip


class CallsRoom:
    """counts: strange calls, and those that were refused."""

    def __init__(self, *, sanitize: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._workers = {
            row.name: Worker(row, sanitize=sanitize) for row in table.rows() if row.unit is not None
        }
        self._child = next(iter(self._workers.values())).child
        self._case: tuple[str, list[Turn]] = ("", [])

    def example(self, data: st.DataObject) -> None:
        text = data.draw(st.sampled_from(_TEXTS))
        cell = _cell(text)
        turns: list[Turn] = []
        for _ in range(data.draw(st.integers(1, 4))):
            turn = data.draw(_turns(cell))
            # After three good calls of a kind the next one is looked at by the quick way first.
            turns += [(turn[0], {}, 3)] * data.draw(st.booleans()) + [turn]
        self._case = (text, turns)
        files = {target: pipeline.emit(cell, target) for target in table.usual()}
        paths = {
            target: str(worker.compiled(files[target], "float64"))
            for target, worker in self._workers.items()
        }
        answer = self._child.ask({
            "kind": "turns", "paths": paths, "turns": turns, "files": files, **_kernels(cell),
        })  # fmt: skip
        for turn, (used, fresh) in zip(turns, answer["outcomes"], strict=True):
            self.counts["strange calls"] += 1
            self.counts["strange calls refused"] += next(iter(fresh.values()))[0] == "refused"
            _judge(turn, used, fresh)

    def case(self, found: Fault) -> str:
        text, turns = self._case
        return f"from derive.fuzz.calls_room import replay\n\nreplay({text!r},\n       {turns!r})\n"

    def cell_text(self) -> str:
        return self._case[0]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


def replay(text: str, turns: list[Turn]) -> None:
    """The turns in this very process: it dies where they kill one."""
    from derive.build.library import compile_library
    from derive.fuzz.strange import play

    cell = _cell(text)
    files = {target: pipeline.emit(cell, target) for target in table.usual()}
    libraries = {
        row.name: compile_library(files[row.name], defines=(only("float64"),))
        for row in table.rows()
        if row.unit is not None
    }
    question = {"turns": turns, "files": files, **_kernels(cell)}
    answer = play(question, libraries)
    for turn, (used, fresh) in zip(turns, answer["outcomes"], strict=True):
        print(turn, used, fresh, sep="\n")
        _judge(turn, used, fresh)


def _kernels(cell: Cell) -> dict[str, Any]:
    """What kernels are made of, as plain data."""
    return {
        "signature": plain(pipeline.signature(cell)),
        "signature_of_parts": plain(pipeline.signature_of_parts(cell)),
        "parts": {name: tuple(parts) for name, parts in cell.checked.wholes.items()},
    }


@functools.cache
def _cell(text: str) -> Cell:
    return Cell.parse(text)


def _judge(turn: Turn, used: dict[str, Any], fresh: dict[str, Any]) -> None:
    for target, tries in used.items():
        for outcome in (fresh[target], *tries):
            if outcome[0] == "raised":
                raise fault(f"{target}: {turn[0]} raises {outcome[1]}", outcome[2])
    for target, tries in used.items():
        for outcome in tries:
            if difference := _difference(outcome, fresh[target], exactly=True):
                what = f"{target}: {turn[0]} depends on earlier calls"
                raise fault(what, f"of a kernel that was called before, and of a fresh one\n"
                                  f"{difference}")  # fmt: skip
    first, *others = fresh
    for other in others:
        if difference := _difference(fresh[first], fresh[other], exactly=False):
            raise fault(f"{turn[0]}: the targets differ", f"{first}, then {other}\n{difference}")


def _difference(one: tuple[Any, ...], other: tuple[Any, ...], *, exactly: bool) -> str:
    """In words; nothing where both came to the same."""
    if one[0] != other[0] or one[0] == "refused":
        return "" if one == other else f"{_words(one)}\n{_words(other)}"
    if one[1].keys() != other[1].keys():
        return f"{list(one[1])}\n{list(other[1])}"
    for name, array in one[1].items():
        same = np.shape(array) == np.shape(other[1][name]) and (
            np.array_equal(array, other[1][name], equal_nan=True)
            if exactly
            else np.allclose(array, other[1][name], rtol=1e-9, atol=1e-12, equal_nan=True)
        )
        if not same:
            return f"{name}: {array!r}\n{name}: {other[1][name]!r}"
    return ""


def _words(outcome: tuple[Any, ...]) -> str:
    if outcome[0] == "given":
        return "gives " + ", ".join(f"{name} {np.shape(a)}" for name, a in outcome[1].items())
    return f"{outcome[0]}: {outcome[1]}: {outcome[2]}"


@st.composite
def _turns(draw: st.DrawFn, cell: Cell) -> Turn:
    method = draw(st.sampled_from(tuple(METHODS)))
    changes = {}
    for _ in range(draw(st.sampled_from((1, 1, 0, 2)))):
        argument = draw(st.sampled_from(METHODS[method]))
        changes[argument] = draw(_changes(cell, argument))
    return method, changes, draw(st.integers(1, 3))


@st.composite
def _changes(draw: st.DrawFn, cell: Cell, argument: str) -> tuple[Any, ...]:
    there = good(pipeline.signature(cell), argument)
    if isinstance(there, dict) and draw(st.sampled_from((True, True, False))):
        name = draw(st.sampled_from((*there, "zzz")))
        kind = draw(st.sampled_from(("entry", "drop", "add")))
        if kind == "drop":
            return ("drop", name)
        shape = np.shape(there[name]) if name in there else (B, 4)
        names: tuple[Any, ...] = ("zzz", 3, None, "h_next", name)
        key = draw(st.sampled_from(names)) if kind == "add" else name
        return (kind, key, draw(_values(shape)))
    only = next(iter(there.values())) if isinstance(there, dict) and there else there
    shape = np.shape(only) if isinstance(only, np.ndarray) else (B,)
    return ("is", draw(_values(shape)))


@st.composite
def _values(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A value for a place of that shape: of that shape and strange, or of another."""
    if draw(st.integers(0, 2)) == 2:
        return ("plain", draw(st.sampled_from(_PLAIN)))
    other = list(shape)
    if draw(st.booleans()):
        change = draw(st.sampled_from(("longer", "shorter", "empty", "flat", "deeper", "turned")))
        if change == "flat":
            other = [int(np.prod(shape))]
        elif change == "deeper":
            other = [*other, 1]
        elif change == "turned":
            other = other[::-1]
        elif other:
            at = draw(st.integers(0, len(other) - 1))
            other[at] = {"longer": other[at] + 1, "shorter": max(other[at] - 1, 0), "empty": 0}[
                change
            ]
    word = draw(st.sampled_from(tuple(word for word in VALUES if word != "plain")))
    if word == "array":
        return (word, tuple(other), draw(st.sampled_from(("float64", *_DTYPES))))
    if word == "full":
        return (word, tuple(other), draw(st.sampled_from((np.nan, np.inf, -1, T, 2**40, 1e308))))
    if word in ("huge", "lying", "failing", "itself"):
        return (word,)
    return (word, tuple(other))
