"""The Gradient of a step: its reverse Program, and the part that each array plays in it.

In: a Step.  Out: a Gradient.
Not here: rules (rules.py), time (schedule/).
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from derive.derivative.builder import Derivative
from derive.derivative.rules import reverse
from derive.display import Displayed
from derive.program import Program, Step
from derive.program.formulas import formulas
from derive.program.simplify import constants


@dataclass(frozen=True, slots=True)
class Gradient(Displayed):
    """The reverse Program of one time step.

    Its inputs are the step's inputs, then `output_seeds` (cotangents of `step.outputs`, from
    outside) and `state_seeds` (cotangents of the next states, from the following step). Its
    outputs are d_params, d_inputs, d_states: `d_states` is what the preceding step receives.
    """

    step: Step
    derivative: Derivative
    output_seeds: tuple[str, ...]
    state_seeds: tuple[str, ...]

    @property
    def program(self) -> Program:
        return self.derivative.program

    @property
    def equations(self) -> tuple[sympy.Eq, ...]:
        """d_NAME = ... for every array NAME of the forward pass, in an order in which each
        can be computed. They refer to arrays of `forward` and to the seeds.

        Products are SymPy functions: matmul(transpose(U), d_a), outer(d_a, h), sum_rows(d_a).
        """
        program = constants(self.program)
        primal = {array.name for array in self.step.program.arrays}
        cotangents = {name for _, name in self.derivative.of}
        terms = {e.out for e in program.equations} - primal - cotangents
        written = formulas(program, expand=terms, rename=cotangents)
        return tuple(line for line in written if line.lhs.name in cotangents)

    @property
    def forward(self) -> tuple[sympy.Eq, ...]:
        """The forward pass that `equations` refer to: one line for each array, all of them."""
        return formulas(self.step.program)

    @property
    def d_params(self) -> tuple[str, ...]:
        return tuple(self.derivative.name(name) for name in self.step.params)

    @property
    def d_inputs(self) -> tuple[str, ...]:
        return tuple(self.derivative.name(name) for name in self.step.inputs)

    @property
    def d_states(self) -> tuple[str, ...]:
        return tuple(self.derivative.name(name) for name in self.step.states)


def reverse_step(step: Step) -> Gradient:
    """The gradient of one time step, ready to be run backwards through time."""
    seeds = [(name, f"d_{name}_output") for name in step.outputs]
    seeds += [
        (after, f"d_{state}_carry")
        for state, after in zip(step.states, step.next_states, strict=True)
    ]
    derivative = reverse(step.program, seeds, by=(*step.params, *step.inputs, *step.states))
    names = tuple(name for _, name in derivative.seeds)
    cut = len(step.outputs)
    return Gradient(step, derivative, names[:cut], names[cut:])
