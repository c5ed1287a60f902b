"""Gradient -> Schedule: both passes over time, and what the first keeps for the second.

In: the reverse Program of a step.  Out: `Schedule`, two Plans that meet at the saved arrays.
Not here: the choice of what is saved (save_or_recompute.py), of phases (phases.py), of stages
(stages.py); loops and text (emit/).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from derive.derivative import Gradient
from derive.display import Displayed
from derive.program import Equation, Map, Matmul, Program, Sum
from derive.recurrence.kind import is_linear
from derive.schedule.blocks import along_axes, has_blocks, in_blocks
from derive.schedule.dataflow import check
from derive.schedule.folds import with_folds
from derive.schedule.passes import in_registers, passes
from derive.schedule.phases import leading_to, phases, reached_from
from derive.schedule.plan import Accumulator as Accumulator
from derive.schedule.plan import Group as Group
from derive.schedule.plan import Kind as Kind
from derive.schedule.plan import Phase as Phase
from derive.schedule.plan import Plan as Plan
from derive.schedule.plan import Stage as Stage
from derive.schedule.save_or_recompute import Split, split
from derive.schedule.stages import accumulate, memory_operands, stages


@dataclass(frozen=True, slots=True)
class Schedule(Displayed):
    """Both passes over time, and what the first keeps for the second."""

    split: Split
    output_keys: tuple[str, ...]
    forward: Plan
    backward: Plan


def schedule(
    gradient: Gradient, output_keys: tuple[str, ...], wrt: Collection[str] | None = None
) -> Schedule:
    """The schedule of a cell, given the reverse Program of its step.

    output_keys: what users call the step's outputs, in their order.  wrt: names of parameters and
    inputs whose gradients are wanted, all by default.
    """
    return _planned(split(gradient, wrt), output_keys)


def scheduled_in_blocks(found: Schedule) -> Schedule:
    """The same split, for a target that packs matrices: products with matrices for each head, or
    with matrices computed from parameters, run as products with parameters do."""
    programs = (found.split.forward, found.split.backward)
    changes = any(has_blocks(program) for program in programs)
    return _planned(found.split, found.output_keys, blocks=True) if changes else found


def _planned(parts: Split, output_keys: tuple[str, ...], *, blocks: bool = False) -> Schedule:
    gradient, step = parts.gradient, parts.gradient.step
    forward = plan(
        parts.forward,
        tuple(zip(step.states, step.next_states, strict=True)),
        stored=(*parts.saved, *step.next_states),
        blocks=blocks,
    )
    backward = plan(
        parts.backward,
        tuple(zip(gradient.state_seeds, gradient.d_states, strict=True)),
        blocks=blocks,
    )
    return Schedule(parts, output_keys, forward, backward)


def plan(
    program: Program,
    carried: Sequence[tuple[str, str]],
    stored: Iterable[str] = (),
    *,
    blocks: bool = False,
    hoist: bool = True,
) -> Plan:
    """The stages of `program`, which describes one step, sorted by when they run.

    carried: (input, output) pairs, the output of one step being the input of the next.
    stored: arrays that are in memory anyway, because another stage reads them.  blocks: whether
    products with matrices for each head, or with computed ones, run as those with parameters do.
    hoist: False where all that belongs to a row runs step by step, for a target without chunks.
    """
    program = with_folds(in_blocks(program)) if blocks else _along_axes(program)
    program, phase_of = phases(program, carried, set(stored), folds=blocks, hoist=hoist)
    works, arrays = accumulate(program, phase_of)
    table = {array.name: array for array in arrays}
    # Not `phase_of`: an accumulator has a phase of its own, and perhaps a name of its own.
    placed = {work.out: phase for phase, items in works.items() for work in items}
    whole = replace(program, arrays=arrays)
    wanted = {*program.outputs, *stored}
    for phase, items in works.items():
        for work in items:
            held = in_registers(items, table) if blocks and isinstance(work, Sum) else ()
            wanted.update(name for name in memory_operands(work) if name not in held)
            wanted.update(n for n in work.operands if placed.get(n, phase) is not phase)
    if blocks:
        found = {phase: passes(works[phase], table, wanted) for phase in Phase}
        parts = tuple((phase, own.stages) for phase, own in found.items())
        gone = frozenset[str]().union(*(own.gone for own in found.values()))
        placed |= {array.name: phase for phase, own in found.items() for array in own.again}
        placed = {name: phase for name, phase in placed.items() if name not in gone}
        arrays += tuple(array for own in found.values() for array in own.again)
        arrays = tuple(array for array in arrays if array.name not in gone)
    else:
        parts = tuple((phase, stages(works[phase], table, wanted)) for phase in Phase)
    program = replace(program, arrays=arrays)
    return check(
        Plan(
            program,
            tuple(carried),
            parts,
            tuple(placed.items()),
            _is_linear(whole, carried),
            _is_elementwise(program, carried, dict(parts)[Phase.STEP]),
        )
    )


def _along_axes(program: Program) -> Program:
    """Products with matrices that are computed, as products along axes: they are in no panel."""
    given = set(program.inputs)

    def changed(equation: Equation) -> Equation:
        if not isinstance(equation, Matmul) or equation.left in given:
            return equation
        return along_axes(equation)

    return replace(program, equations=tuple(map(changed, program.equations)))


def _is_elementwise(
    program: Program, carried: Sequence[tuple[str, str]], steps: Sequence[Stage]
) -> bool:
    """Whether a step is one stage without products, as wide as everything that is carried:
    products, sums and arrays of another width would have cut it in two."""
    if len(steps) != 1 or not carried:
        return False
    (stage,) = steps
    table = program.table()
    own = {equation.out for equation in stage.maps}
    return (
        stage.kind is Kind.FUSED
        and not stage.groups
        and len(stage.shape) == 1
        and not any(equation.places for equation in stage.maps)
        and all(table[before].shape == stage.shape for before, _ in carried)
        and all(after in own for _, after in carried)
    )


def _is_linear(program: Program, carried: Sequence[tuple[str, str]]) -> bool:
    """Whether the carried outputs are affine in the carried inputs, elementwise, with
    coefficients that depend on no carried array: then the loop is an associative scan."""
    targets = {name for _, name in carried}
    if not targets:
        return False
    table = program.table()
    inputs = {name for name, _ in carried}
    moving = frozenset(reached_from(program, inputs))
    needed = leading_to(program, targets)
    for equation in program.equations:
        if equation.out not in needed or not moving.intersection(equation.operands):
            continue
        if not isinstance(equation, Map):
            return False
        shapes = (table[name].shape for name in equation.operands if name in moving)
        if any(shape != table[equation.out].shape for shape in shapes):
            return False
    return is_linear(program, inputs, targets)
