"""What a single random point shows: that a step is not affine, that units do meet.

In: a Step.  Out: the states and the pairs of states for which the point shows it.
Not here: what holds at every point (linear.py, jacobian.py).

A point refutes what would hold everywhere. All widths are small, and the numbers are those of the
interpreter in float64; a difference counts where it is a million times what rounding can be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from derive.program import Step, interpret
from derive.program.program import Dim

#: The length of every dimension.
WIDTH = 3
_CLEAR = 1e-8


class Witness:
    """One random point of a step, by a seed that never changes."""

    def __init__(self, step: Step, seed: int = 7) -> None:
        self.step = step
        self.random = np.random.default_rng(seed)
        self.table = step.program.table()
        self.sizes = dict.fromkeys(step.program.dims(), WIDTH)
        self.params = {name: self.draw(name) for name in step.params}
        self.inputs = {name: self.draw(name) for name in step.inputs}
        self.states = {name: self.draw(name) for name in step.states}

    def draw(self, name: str) -> Any:
        return self.random.uniform(-1.0, 1.0, self.lengths(self.table[name].shape))

    def lengths(self, shape: Collection[Dim]) -> tuple[int, ...]:
        return tuple(self.sizes[dim] if isinstance(dim, str) else dim for dim in shape)

    def nexts(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """{state: its next value, [rows, *shape]}, the inputs alike in all rows."""
        rows = len(next(iter(states.values()))) if states else 1
        inputs = {n: np.repeat(v[np.newaxis], rows, axis=0) for n, v in self.inputs.items()}
        given = {**self.params, **inputs, **states}
        found = interpret(self.step.program, given, rows=rows, sizes=self.sizes)
        pairs = zip(self.step.states, self.step.next_states, strict=True)
        return {state: found[name] for state, name in pairs}

    def bent(self, by: Collection[str]) -> set[str]:
        """States whose next value is not affine in the states `by`: at the middle of two points it
        is not the mean of their values."""
        return self._bent(by, 1.0) | self._bent(by, 6.0)  # further out, where a clip may end

    def _bent(self, by: Collection[str], spread: float) -> set[str]:
        rows = {}
        for name, value in self.states.items():
            other = spread * self.draw(name) if name in by else value
            rows[name] = np.stack([value, (value + other) / 2, other])
        found = self.nexts(rows)
        return {
            state
            for state, (first, middle, last) in found.items()
            if np.isfinite(found[state]).all()
            and np.abs(first - 2 * middle + last).max(initial=0)
            > _CLEAR * (1 + np.abs(found[state]).max(initial=0))
        }

    def chooses(self, state: str) -> bool:
        """Whether outputs change where another value is taken for the next value of a state."""
        nexts = dict(zip(self.step.states, self.step.next_states, strict=True))
        after, program = nexts[state], self.step.program
        rows = {n: np.stack([v, v]) for n, v in {**self.inputs, **self.states}.items()}
        given = {**self.params, **rows}
        found = interpret(program, given, rows=2, sizes=self.sizes)
        kept = tuple(equation for equation in program.equations if equation.out != after)
        free = replace(program, inputs=(*program.inputs, after), equations=kept)
        chosen = found[after] + np.array([0.0, 0.7]).reshape(2, *(1,) * (found[after].ndim - 1))
        found = interpret(free, {**given, after: chosen}, rows=2, sizes=self.sizes)
        outputs = (found[name] for name in self.step.outputs if name != after)
        return any(
            np.isfinite(value).all() and np.abs(value[0] - value[1]).max(initial=0) > _CLEAR
            for value in outputs
        )

    @cached_property
    def meets(self) -> Mapping[tuple[str, str], Any]:
        """{(after, before): [units after, units before], whether moving one unit of a state moves
        one of a next value}."""
        counts = {name: value.size for name, value in self.states.items()}
        total = sum(counts.values())
        rows = {n: np.repeat(v[np.newaxis], total + 1, axis=0) for n, v in self.states.items()}
        first = 1
        for name, value in self.states.items():
            moved = rows[name].reshape(total + 1, -1)
            for unit in range(value.size):
                moved[first + unit, unit] += 0.4142
            first += value.size
        found = self.nexts(rows)
        result = {}
        for after, value in found.items():
            flat = value.reshape(total + 1, -1)
            moved_by = np.abs(flat[1:] - flat[0])
            size = 1e-12 * (1 + np.abs(flat[0]))  # less than this may be rounding
            changed = (np.isfinite(moved_by) & (moved_by > size)).T
            ends = np.cumsum([0, *counts.values()])
            for k, before in enumerate(counts):
                result[after, before] = changed[:, ends[k] : ends[k + 1]]
        return result
