"""Program -> Plan: which equation runs before, during and after the loop over time.

In: a checked Program of one step, and which of its inputs are carried from step to step.
Out: a `Plan`: five phases of stages, each stage a set of products with the elementwise
equations that follow them unit by unit, and the set of arrays that need memory.
Not here: which forward arrays the backward pass keeps (saved.py), loops and text (emit/).

| phase  | what runs there                                               | rows it runs over |
| ------ | ------------------------------------------------------------- | ----------------- |
| ONCE   | what depends on parameters alone                              | 1                 |
| BEFORE | products and sums no state reaches, and what follows from them | a chunk of steps |
| STEP   | everything on the way from state to state                     | the batch         |
| AFTER  | products and sums that no next state needs; gradients of parameters | a chunk of steps |
| LAST   | what depends on sums over all rows                            | 1                 |

A chunk is as many steps as keep its buffers in the cache: hoisting a product out of the loop
costs no memory that grows with T.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from derive import scalar
from derive.differentiate import Gradient
from derive.program import Array, Dim, Equation, Layout, Map, Matmul, Namer, Program, Sum
from derive.saved import Split, split
from derive.simplify import rename_operands


class Phase(enum.Enum):
    ONCE = "once"
    BEFORE = "before the loop"
    STEP = "each step"
    AFTER = "after the loop"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Accumulator:
    """out = the sum of `terms`, which are accumulated in one place.

    The terms are products W v and W' v (held in registers), or outer products (added to a
    matrix over all rows), or Sums over rows; never a mixture.
    """

    out: str
    terms: tuple[Matmul | Sum, ...]

    @property
    def operands(self) -> tuple[str, ...]:
        return tuple(name for term in self.terms for name in term.operands)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The arrays the terms contract over, in order: the right operands."""
        return tuple(term.right for term in self.terms if isinstance(term, Matmul))


@dataclass(frozen=True, slots=True)
class Group:
    """Accumulators of one width that contract the same vectors: one stacked product."""

    accumulators: tuple[Accumulator, ...]

    @property
    def vectors(self) -> tuple[str, ...]:
        return self.accumulators[0].vectors


class Kind(enum.Enum):
    FUSED = "fused"  # products, then elementwise equations, unit by unit
    WIDTH_SUM = "sum over the width"  # one number per row
    ROW_SUM = "sum over rows"  # gradients of parameters: outer products and column sums


@dataclass(frozen=True, slots=True)
class Stage:
    """Equations that run together in one pass over units and rows.

    `loads` are arrays read elementwise from memory, `stores` those that something outside the
    stage reads. Vectors of products and sources of sums are read as well.
    """

    kind: Kind
    shape: tuple[Dim, ...]
    groups: tuple[Group, ...]
    maps: tuple[Map, ...]
    sums: tuple[Accumulator, ...]
    loads: tuple[str, ...]
    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass over time. `carried` pairs the input and the output that carry the loop."""

    program: Program
    carried: tuple[tuple[str, str], ...]
    phases: tuple[tuple[Phase, tuple[Stage, ...]], ...]
    phase_of: tuple[tuple[str, Phase], ...]
    linear: bool

    def stages(self, phase: Phase) -> tuple[Stage, ...]:
        return dict(self.phases)[phase]

    def crossing(self) -> tuple[str, ...]:
        """Arrays computed here that are read by a stage other than their own."""
        seen: dict[str, None] = {}
        for _, stages in self.phases:
            for stage in stages:
                for name in stage.stores:
                    seen.setdefault(name)
        return tuple(seen)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Both passes over time, and what the first keeps for the second."""

    split: Split
    output_keys: tuple[str, ...]
    forward: Plan
    backward: Plan


def schedule(gradient: Gradient, output_keys: tuple[str, ...]) -> Schedule:
    """The schedule of a cell, given the reverse Program of its step.

    output_keys: what users call the step's outputs, in their order.
    """
    parts = split(gradient)
    step = gradient.step
    forward = plan(
        parts.forward,
        tuple(zip(step.states, step.next_states, strict=True)),
        stored=(*parts.saved, *step.next_states),
    )
    backward = plan(
        parts.backward, tuple(zip(gradient.state_seeds, gradient.d_states, strict=True))
    )
    return Schedule(parts, output_keys, forward, backward)


_Work = Map | Sum | Accumulator


def plan(
    program: Program,
    carried: Sequence[tuple[str, str]],
    stored: Iterable[str] = (),
) -> Plan:
    """The schedule of `program`, run once a step.

    carried: (input, output) pairs, the output of one step being the input of the next.
    stored: arrays that are in memory anyway, because somebody else reads them.
    """
    phase_of = _phases(program, carried, set(stored))
    program, phase_of = _keep_carried(program, carried, phase_of)
    works, arrays = _accumulate(program, phase_of)
    table = {array.name: array for array in arrays}
    wanted = {*program.outputs, *stored}
    for phase, items in works.items():
        for work in items:
            for name in _memory_operands(work):
                wanted.add(name)
            wanted.update(n for n in work.operands if phase_of.get(n, phase) is not phase)
    phases = tuple((phase, _stages(works[phase], table, wanted)) for phase in Phase)
    placed = {work.out: phase for phase, items in works.items() for work in items}
    program = replace(program, arrays=arrays)
    linear = _is_linear(program, carried)
    return Plan(program, tuple(carried), phases, tuple(placed.items()), linear)


# --- phases ---------------------------------------------------------------------------------


def _phases(
    program: Program, carried: Sequence[tuple[str, str]], stored: set[str]
) -> dict[str, Phase]:
    table = program.table()
    from_state = _reached_from(program, {name for name, _ in carried})
    to_state = _leading_to(program, {name for _, name in carried})
    over_rows = _reached_from(program, {n for n in program.inputs if table[n].per_row})
    phase: dict[str, Phase] = {}

    def is_reduction(equation: Equation) -> bool:
        """A product or a sum: what pays to run for all steps at once."""
        return not isinstance(equation, Map)

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

    free = [equation for equation in rowwise if equation.out not in from_state]
    before = {equation.out for equation in free if is_reduction(equation)}
    before |= _ancestors(free, before) | _descendants(free, before)
    before -= {name for _, name in carried}  # the loop itself hands these on
    for equation in free:
        if equation.out in before:
            phase[equation.out] = Phase.BEFORE

    late = [e for e in rowwise if e.out not in phase and e.out not in to_state]
    after = {equation.out for equation in late if is_reduction(equation)}
    after |= _descendants(late, after)
    in_memory = (set(program.inputs) | stored) - {name for name, _ in carried}
    after |= _movable(program, late, after, phase, in_memory)
    for equation in rowwise:
        if equation.out not in phase:
            phase[equation.out] = Phase.AFTER if equation.out in after else Phase.STEP
    return phase


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
    program: Program, carried: Sequence[tuple[str, str]], phase_of: dict[str, Phase]
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
        *(Map(copy, scalar.symbol(name)) for name, copy in copies.items()),
        *(rename_operands(e, copies) if e in late else e for e in program.equations),
    )
    arrays = (*program.arrays, *(replace(table[n], name=copy) for n, copy in copies.items()))
    phases = {**dict.fromkeys(copies.values(), Phase.STEP), **phase_of}
    return replace(program, arrays=arrays, equations=equations), phases


def _reached_from(program: Program, sources: set[str]) -> set[str]:
    reached = set(sources)
    for equation in program.equations:
        if reached.intersection(equation.operands):
            reached.add(equation.out)
    return reached


def _leading_to(program: Program, targets: set[str]) -> set[str]:
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


# --- accumulators ---------------------------------------------------------------------------


def _accumulate(
    program: Program, phase_of: Mapping[str, Phase]
) -> tuple[dict[Phase, list[_Work]], tuple[Array, ...]]:
    """The work of each phase; products that are only ever added to each other share one place.

    A product is absorbed when its one reader adds it, with coefficient 1, in the phase in
    which it is computed. Outer products and sums over rows are absorbed by the addition that
    follows in LAST.
    """
    table = program.table()
    arrays = dict(table)
    namer = Namer(table)
    definitions = program.definitions()
    absorbed: set[str] = set()
    works: list[tuple[Phase, _Work]] = []
    for equation in program.equations:
        phase = phase_of[equation.out]
        if not isinstance(equation, Map):
            works.append((phase, equation))
            continue
        terms = _absorbable(equation, program, phase_of)
        rest = equation.expr - sympy.Add(*(scalar.symbol(name) for name in terms))
        if len(terms) < 2 and not (terms and rest == 0):
            works.append((phase, equation))
            continue
        absorbed.update(terms)
        name = equation.out if rest == 0 else namer(f"{equation.out}_products")
        arrays[name] = replace(table[equation.out], name=name)
        together = tuple(definitions[term] for term in terms)
        works.append((phase_of[terms[0]], Accumulator(name, together)))  # type: ignore[arg-type]
        if rest != 0:
            works.append((phase, Map(equation.out, rest + scalar.symbol(name))))
    result: dict[Phase, list[_Work]] = {phase: [] for phase in Phase}
    for phase, work in works:
        if work.out in absorbed:
            continue
        if isinstance(work, Matmul) or _sums_rows(work, table):
            work = Accumulator(work.out, (work,))  # type: ignore[arg-type]
        result[phase].append(work)
    kept = tuple(array for array in arrays.values() if array.name not in absorbed)
    return result, kept


def _absorbable(equation: Map, program: Program, phase_of: Mapping[str, Phase]) -> list[str]:
    """The addends of `equation` that may be accumulated together, all of one kind."""
    table, definitions = program.table(), program.definitions()
    here = phase_of[equation.out]

    def kind(name: str) -> tuple[Phase, bool, bool] | None:
        term = definitions.get(name)
        if term is None or isinstance(term, Map) or name in program.outputs:
            return None
        readers = sum(name in e.operands for e in program.equations)
        if readers != 1 or table[name].shape != table[equation.out].shape:
            return None
        outer = isinstance(term, Matmul) and term.layout is Layout.OUTER
        if isinstance(term, Sum) and not _sums_rows(term, table):
            return None
        phase = phase_of[name]
        over_rows = outer or isinstance(term, Sum)
        fits = phase is here or (over_rows and here is Phase.LAST and phase is Phase.AFTER)
        return (phase, isinstance(term, Sum), outer) if fits else None

    kinds = {name: kind(name) for name in _plain_addends(equation.expr)}
    first = next((found for found in kinds.values() if found), None)
    return [name for name, found in kinds.items() if found and found == first]


def _sums_rows(work: _Work | Equation, table: Mapping[str, Array]) -> bool:
    return isinstance(work, Sum) and table[work.source].per_row and not table[work.out].per_row


def _plain_addends(expr: scalar.Expr) -> tuple[str, ...]:
    """Arrays that are added to the rest of `expr` with coefficient 1 and appear only there."""
    terms = sympy.Add.make_args(expr)
    names = [term.name for term in terms if term.is_Symbol and not scalar.is_size(term)]
    return tuple(n for n in names if sum(term.has(scalar.symbol(n)) for term in terms) == 1)


# --- stages ---------------------------------------------------------------------------------


def _memory_operands(work: _Work) -> tuple[str, ...]:
    """Operands that are read across units or rows, hence from memory and not from registers."""
    if isinstance(work, Map):
        return ()
    return work.operands


def _stages(
    works: Sequence[_Work], table: Mapping[str, Array], wanted: set[str]
) -> tuple[Stage, ...]:
    place: dict[str, tuple[int, Kind, tuple[Dim, ...]]] = {}
    for work in works:
        kind, shape = _kind(work, table)
        level = 0
        for name in work.operands:
            if name not in place:
                continue
            there = place[name]
            in_registers = isinstance(work, Map) and there[1:] == (kind, shape)
            level = max(level, there[0] if in_registers else there[0] + 1)
        place[work.out] = (level, kind, shape)
    for work in works:
        # A product waits for the stage of its readers: then it need not go through memory.
        readers = [place[w.out] for w in works if work.out in w.operands]
        level, *where = place[work.out]
        if isinstance(work, Accumulator) and readers and work.out not in wanted:
            if all([*there[1:]] == where for there in readers):
                place[work.out] = min(readers, key=lambda there: there[0])
    order = sorted(dict.fromkeys(place.values()), key=lambda key: key[0])
    stages = []
    for key in order:
        members = [work for work in works if place[work.out] == key]
        read_elsewhere = {
            name
            for work in works
            for name in work.operands
            if name in place and (place[work.out] != key or not isinstance(work, Map))
        }
        stages.append(_stage(key[1], key[2], members, wanted | read_elsewhere))
    return tuple(stages)


def _kind(work: _Work, table: Mapping[str, Array]) -> tuple[Kind, tuple[Dim, ...]]:
    out = table[work.out]
    if isinstance(work, Sum):
        return Kind.WIDTH_SUM, table[work.source].shape
    if isinstance(work, Accumulator):
        first = work.terms[0]
        if isinstance(first, Sum) or first.layout is Layout.OUTER:
            return Kind.ROW_SUM, ()
    return Kind.FUSED, out.shape


def _stage(
    kind: Kind, shape: tuple[Dim, ...], members: Sequence[_Work], wanted: set[str]
) -> Stage:
    own = {work.out for work in members}
    maps = tuple(work for work in members if isinstance(work, Map))
    accumulators = [work for work in members if isinstance(work, Accumulator)]
    loads: dict[str, None] = {}
    for equation in maps:
        loads.update(dict.fromkeys(name for name in equation.operands if name not in own))
    groups: dict[tuple[str, ...], list[Accumulator]] = {}
    sums: list[Accumulator] = []
    for work in members:
        if isinstance(work, Sum):
            sums.append(Accumulator(work.out, (work,)))
    for accumulator in accumulators:
        if kind is Kind.ROW_SUM:
            sums.append(accumulator)
        else:
            groups.setdefault(accumulator.vectors, []).append(accumulator)
    return Stage(
        kind,
        shape,
        tuple(Group(tuple(found)) for found in groups.values()),
        maps,
        tuple(sums),
        tuple(loads),
        tuple(work.out for work in members if work.out in wanted),
    )


# --- linear recurrences ---------------------------------------------------------------------


def _is_linear(program: Program, carried: Sequence[tuple[str, str]]) -> bool:
    """Whether the carried outputs are affine in the carried inputs, elementwise, with
    coefficients that depend on no carried array: then the loop is an associative scan."""
    targets = {name for _, name in carried}
    if not targets:
        return False
    table = program.table()
    moving = frozenset(_reached_from(program, {name for name, _ in carried}))
    needed = _leading_to(program, targets)
    for equation in program.equations:
        if equation.out not in needed or not moving.intersection(equation.operands):
            continue
        if not isinstance(equation, Map):
            return False
        by = [scalar.symbol(name) for name in equation.operands if name in moving]
        slopes = [scalar.partial(equation.expr, symbol) for symbol in by]
        if any(slope.has(*by) for slope in slopes):
            return False
        if any(table[s.name].shape != table[equation.out].shape for s in by):
            return False
    return True
