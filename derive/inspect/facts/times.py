"""Which step each array of a cell and of its gradient belongs to: h_t, h_{t-1}, or none.

In: a Gradient.  Out: {name: (name without its step, step)}; step 0 is t, -1 is t-1.
Not here: how a step is written (text/in_time.py, latex/in_time.py, html/in_time.py).

A state is its value of the step before, its next value that of this step. What belongs to all rows
and steps, a parameter or what is computed from parameters alone, has no step. What step t+1 gives
back for a state is d_h_carry of step t; the gradient line of the bare state is d_h_carry of t-1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from derive.derivative import Gradient

#: What is said of sums below a gradient, {t} being a step.


@dataclass(frozen=True, slots=True)
class Times:
    of: Mapping[str, tuple[str, int]]

    def name(self, name: str) -> str:
        return self.of[name][0] if name in self.of else name

    def step(self, name: str) -> str:
        """ "t", "t-1", or "" for what has none."""
        if name not in self.of:
            return ""
        return "t" if self.of[name][1] == 0 else "t-1"


def times(gradient: Gradient) -> Times:
    step, derivative = gradient.step, gradient.derivative
    of = {array.name: (array.name, 0) for array in gradient.program.arrays if array.per_row}
    names = set(of)
    for name in names:
        plain = name.replace("_next", "")
        if plain != name and plain not in names:
            of[name] = (plain, 0)
    for state, after in zip(step.states, step.next_states, strict=True):
        of[state], of[after] = (state, -1), (state, 0)
    for array, name in derivative.of:
        if array in of and array not in step.params:
            base, when = of[array]
            of[name] = (f"d_{base}", when)
    for state, name in zip(step.states, gradient.d_states, strict=True):
        of[name] = (f"d_{state}_carry", -1)
    for state, seed in zip(step.states, gradient.state_seeds, strict=True):
        of[seed] = (f"d_{state}_carry", 0)
    for output, seed in zip(step.outputs, gradient.output_seeds, strict=True):
        base, when = of.get(output, (output, 0))
        of[seed] = (f"d_{base}_output", when)
    count = Counter(of.values())
    return Times(
        {n: (base if count[base, when] == 1 else n, when) for n, (base, when) in of.items()}
    )
