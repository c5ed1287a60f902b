"""Program -> phases: when each equation runs.

In: a Program of one step, and which inputs and outputs the loop carries.
Out: a Phase for every equation, and the Program, in which what the loop carries is copied
where a later phase reads it.
Not here: what runs together (stages.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from derive.program import Array, Equation, Map, Namer, Program, Sum
from derive.program.simplify import rename_operands
from derive.schedule.folds import is_fold
from derive.schedule.plan import Phase
from derive.symbolic import functions

Carried = Sequence[tuple[str, str]]


def phases(
    program: Program,
    carried: Carried,
    stored: set[str],
    *,
    folds: bool = False,
    hoist: bool = True,
) -> tuple[Program, dict[str, Phase]]:
    """The phase of every equation of the Program returned.

    carried: (input, output) pairs, the output of one step being the input of the next.
    stored: arrays that are in memory anyway.  folds: whether sums along the axes of a row cost
    nothing where their source is computed, so that nothing is gained by doing them together.
    hoist: whether anything that belongs to a row may run outside the loop over time.
    """
    return _keep_carried(program, carried, _assign(program, carried, stored, folds, hoist))


def _assign(
    program: Program, carried: Carried, stored: set[str], folds: bool, hoist: bool
) -> dict[str, Phase]:
    table = program.table()
    # What the loop hands on is known step by step, even where no state goes into it.
    known_in_steps = {name for pair in carried for name in pair}
    if folds:
        known_in_steps |= _matrices(program, carried)
    from_state = reached_from(program, known_in_steps)
    to_state = leading_to(program, {name for _, name in carried})
    over_rows = reached_from(program, {n for n in program.inputs if table[n].per_row})
    phase: dict[str, Phase] = {}

    def is_reduction(equation: Equation) -> bool:
        """A product or a sum, which takes less time for all steps at once."""
        return not isinstance(equation, Map) and not (folds and is_fold(equation, table))

    for equation in program.equations:
        out = table[equation.out]
        if not out.per_row:
            if equation.out not in over_rows:
                phase[equation.out] = Phase.ONCE
            elif any(table[name].per_row for name in equation.operands):
                phase[equation.out] = Phase.AFTER
            else:
                phase[equation.out] = Phase.LAST
    rowwise = [equation for equation in program.equations if table[equation.out].per_row]
    if not hoist:
        return phase | {equation.out: Phase.STEP for equation in rowwise}

    def own_stages(equations: Sequence[Equation], on_the_way: set[str]) -> set[str]:
        """Equations of a shape that no equation between the states has: in each step they would
        be a stage of their own. on_the_way: what comes from a state, or leads to one."""
        widths = {table[e.out].shape for e in rowwise if e.out in on_the_way}
        apart = (e for e in equations if table[e.out].shape not in widths)
        return {e.out for e in apart if not (folds and is_fold(e, table))}

    free = [equation for equation in rowwise if equation.out not in from_state]
    before = {equation.out for equation in free if is_reduction(equation)}
    before |= _descendants(free, before)
    before |= own_stages(free, from_state)
    before |= _ancestors(free, before)
    for equation in free:
        if equation.out in before:
            phase[equation.out] = Phase.BEFORE

    late = [e for e in rowwise if e.out not in phase and e.out not in to_state]
    after = {equation.out for equation in late if is_reduction(equation)}
    after |= own_stages(late, to_state)
    after |= _descendants(late, after)
    in_memory = (set(program.inputs) | stored) - {name for name, _ in carried}
    after |= _movable(program, late, after, phase, in_memory)
    for equation in rowwise:
        if equation.out not in phase:
            phase[equation.out] = Phase.AFTER if equation.out in after else Phase.STEP
    return phase


def _matrices(program: Program, carried: Carried) -> set[str]:
    """Arrays as large as a state of several axes, in a program that makes some from smaller ones or
    reduces them: they are computed where the state is in registers, never stored for many steps."""
    table = program.table()
    states = {table[name].shape for name, _ in carried if len(table[name].shape) > 1}
    maps = [e for e in program.equations if isinstance(e, Map) and table[e.out].shape in states]
    large = {table[e.out].shape for e in maps if _expands(e, table)}
    large |= {
        table[e.source].shape
        for e in program.equations
        if isinstance(e, Sum) and is_fold(e, table) and table[e.source].shape in states
    }
    return {e.out for e in maps if table[e.out].per_row and table[e.out].shape in large}


def _expands(equation: Map, table: Mapping[str, Array]) -> bool:
    """Whether each operand that belongs to a row lacks axes of the result."""
    rows = [table[name] for name in equation.operands if table[name].per_row]
    return bool(rows) and all(len(a.shape) < len(table[equation.out].shape) for a in rows)


def _movable(
    program: Program,
    late: Sequence[Equation],
    after: set[str],
    phase: Mapping[str, Phase],
    in_memory: set[str],
) -> set[str]:
    """Maps that only AFTER equations read and whose operands are in memory in any case."""
    kept = in_memory | {n for n, p in phase.items() if p is not Phase.AFTER}
    moved: set[str] = set()
    for _ in late:
        gone = after | moved | {name for name, p in phase.items() if p is Phase.AFTER}
        readers = [equation for equation in program.equations if equation.out in gone]
        known = kept | {name for equation in readers for name in equation.operands}
        found = {
            equation.out
            for equation in late
            if equation.out not in gone
            and equation.out not in program.outputs
            and all(name in known or name in moved for name in equation.operands)
            and all(e.out in gone for e in program.equations if equation.out in e.operands)
        }
        if not found:
            break
        moved |= found
    return moved


def _keep_carried(
    program: Program, carried: Carried, phase_of: dict[str, Phase]
) -> tuple[Program, dict[str, Phase]]:
    """A carried input lives for one step; what AFTER reads of it is copied in the loop."""
    late = [e for e in program.equations if phase_of[e.out] is Phase.AFTER]
    read = [name for name, _ in carried if any(name in e.operands for e in late)]
    if not read:
        return program, phase_of
    table = program.table()
    namer = Namer(table)
    copies = {name: namer(f"{name}_kept") for name in read}
    equations = (
        *(Map(copy, functions.symbol(name)) for name, copy in copies.items()),
        *(rename_operands(e, copies) if e in late else e for e in program.equations),
    )
    arrays = (*program.arrays, *(replace(table[n], name=copy) for n, copy in copies.items()))
    phases = {**dict.fromkeys(copies.values(), Phase.STEP), **phase_of}
    return replace(program, arrays=arrays, equations=equations), phases


def reached_from(program: Program, sources: set[str]) -> set[str]:
    reached = set(sources)
    for equation in program.equations:
        if reached.intersection(equation.operands):
            reached.add(equation.out)
    return reached


def leading_to(program: Program, targets: set[str]) -> set[str]:
    leading = set(targets)
    for equation in reversed(program.equations):
        if equation.out in leading:
            leading.update(equation.operands)
    return leading


def _ancestors(equations: Sequence[Equation], of: set[str]) -> set[str]:
    names = {equation.out for equation in equations}
    found = set(of)
    for equation in reversed(equations):
        if equation.out in found:
            found.update(name for name in equation.operands if name in names)
    return found


def _descendants(equations: Sequence[Equation], of: set[str]) -> set[str]:
    found = set(of)
    for equation in equations:
        if found.intersection(equation.operands):
            found.add(equation.out)
    return found
