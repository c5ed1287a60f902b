"""Step -> Step: a time step together with its directional derivative.

In: a Step.  Out: a Step that computes what the given one does *and* its tangents.
Not here: the rules (forward.py), the cell made of it (pipeline.py).

Its parameters are those of the given step and then their tangents (P, tP); so are its inputs
(X, tX), states (S, tS) and outputs (Y, tY). It is a Step like any other: run over time it gives
the jvp of a sequence, and its reverse Program gives

| wanted                               | cotangents of the tangent step                       |
| ------------------------------------ | ---------------------------------------------------- |
| double backward: <g, J' d_y> by P    | d_y on tY, 0 on Y; tangents g: d_P is the gradient   |
| jvp of backward (d_P, d_y moving)    | d_y on tY and t_d_y on Y: d_P is the tangent of d_P  |

because <g, J' d_y> = <J g, d_y>, and J g is what the tangent step puts out.
"""

from __future__ import annotations

from collections.abc import Iterable

from derive.derivative.forward import forward
from derive.language.names import next_of
from derive.program import Namer, Program, Step, check
from derive.program.simplify import constants, copies, repeats


def tangent_step(step: Step, reserved: Iterable[str] = ()) -> Step:
    """reserved: names that no array of the result may have."""
    pairs = zip(step.states, step.next_states, strict=True)
    names = tangent_names(pairs, (array.name for array in step.program.arrays), reserved)
    wanted = tuple(names[name] for name in step.program.outputs)
    moved = forward(step.program, names=names).program
    program = Program(
        arrays=moved.arrays,
        inputs=(*_doubled(step.params, names), *_doubled(step.inputs, names),
                *_doubled(step.states, names)),
        equations=moved.equations,
        outputs=(*step.program.outputs, *wanted),
    )  # fmt: skip
    for run in (constants, copies, repeats):
        program = check(run(program))
    return Step(
        program=program,
        params=_doubled(step.params, names),
        inputs=_doubled(step.inputs, names),
        states=_doubled(step.states, names),
        next_states=_doubled(step.next_states, names),
        outputs=_doubled(step.outputs, names),
        defined=_doubled(step.defined, names),
    )


def _doubled(group: tuple[str, ...], names: dict[str, str]) -> tuple[str, ...]:
    return (*group, *(names[name] for name in group))


def tangent_names(
    states: Iterable[tuple[str, str]], arrays: Iterable[str], reserved: Iterable[str]
) -> dict[str, str]:
    """t_NAME, with a number where that is taken; t_h_next stays the next value of t_h.

    states: with the names of their next values.  arrays: all, those among them.
    """
    arrays = tuple(arrays)
    taken = {*arrays, *reserved}
    names: dict[str, str] = {}
    for state, after in states:
        name, count = f"t_{state}", 1
        while name in taken or next_of(name) in taken:
            count += 1
            name = f"t_{state}_{count}"
        taken.update((name, next_of(name)))
        names[state] = name
        names[after] = next_of(name)
    fresh = Namer(taken)
    for array in arrays:
        if array not in names:
            names[array] = fresh(f"t_{array}")
    return names
