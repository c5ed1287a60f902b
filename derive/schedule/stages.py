"""Phases -> stages: which equations run together in one pass over units and rows.

In: a Program and a Phase for every equation.  Out: the stages of each phase.
Not here: where arrays live in memory (emit/).

Inside a phase the cut is at products and sums over the width: they need the whole of their
operand, so it has to be complete. Everything elementwise that follows a product runs in its
stage, unit by unit, while the product is still in registers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from derive.program import Array, Equation, Layout, Map, Matmul, Namer, Over, Program, Sum
from derive.program.program import Dim
from derive.schedule.plan import Accumulator, Group, Kind, Phase, Stage, Work
from derive.symbolic import functions

# --- accumulators ---------------------------------------------------------------------------


def accumulate(
    program: Program, phase_of: Mapping[str, Phase]
) -> tuple[dict[Phase, list[Work]], tuple[Array, ...]]:
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
    works: list[tuple[Phase, Work | Matmul]] = []
    for equation in program.equations:
        phase = phase_of[equation.out]
        if not isinstance(equation, Map):
            works.append((phase, equation))
            continue
        terms = _absorbable(equation, program, phase_of)
        rest = equation.expr - sympy.Add(*(functions.symbol(name) for name in terms))
        if len(terms) < 2 and not (terms and rest == 0):
            works.append((phase, equation))
            continue
        absorbed.update(terms)
        name = equation.out if rest == 0 else namer(f"{equation.out}_products")
        arrays[name] = replace(table[equation.out], name=name)
        together = tuple(definitions[term] for term in terms)
        works.append((phase_of[terms[0]], Accumulator(name, together)))  # type: ignore[arg-type]
        if rest != 0:
            works.append((phase, replace(equation, expr=rest + functions.symbol(name))))
    result: dict[Phase, list[Work]] = {phase: [] for phase in Phase}
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
        if isinstance(term, Matmul) and term.layout is Layout.AXES:
            return None
        readers = sum(name in e.operands for e in program.equations)
        if readers != 1 or table[name].shape != table[equation.out].shape:
            return None
        outer = isinstance(term, Matmul) and sums_rows(term, table)
        if isinstance(term, Sum) and (term.axes or not _sums_rows(term, table)):
            return None
        phase = phase_of[name]
        over_rows = outer or isinstance(term, Sum)
        fits = phase is here or (over_rows and here is Phase.LAST and phase is Phase.AFTER)
        return (phase, isinstance(term, Sum), outer) if fits else None

    lies = {name for name, _ in equation.places}
    kinds = {name: kind(name) for name in plain_addends(equation.expr) if name not in lies}
    first = next((found for found in kinds.values() if found), None)
    return [name for name, found in kinds.items() if found and found == first]


def _sums_rows(work: Work | Equation, table: Mapping[str, Array]) -> bool:
    return isinstance(work, Sum) and table[work.source].per_row and not table[work.out].per_row


def plain_addends(expr: functions.Expr) -> tuple[str, ...]:
    """Arrays that are added to the rest of `expr` with coefficient 1 and appear only there."""
    terms = sympy.Add.make_args(expr)
    names = [term.name for term in terms if term.is_Symbol and not functions.is_size(term)]
    return tuple(n for n in names if sum(term.has(functions.symbol(n)) for term in terms) == 1)


# --- stages ---------------------------------------------------------------------------------


def memory_operands(work: Work) -> tuple[str, ...]:
    """Operands that are read across units or rows, hence from memory and not from registers."""
    if isinstance(work, Map):
        return ()
    return work.operands


def stages(
    works: Sequence[Work], table: Mapping[str, Array], wanted: set[str]
) -> tuple[Stage, ...]:
    place: dict[str, tuple[int, Kind, tuple[Dim, ...]]] = {}
    lying: dict[tuple[int, Kind, tuple[Dim, ...]], dict[str, tuple[int, ...] | None]] = {}
    for work in works:
        kind, shape = kind_of(work, table)
        level = 0
        for name in work.operands:
            if name not in place:
                continue
            there = place[name]
            in_registers = isinstance(work, Map) and there[1:] == (kind, shape)
            in_registers = in_registers and work.place(name) is None  # type: ignore[union-attr]
            level = max(level, there[0] if in_registers else there[0] + 1)
        if isinstance(work, Map):
            while lies_elsewhere(work, lying.setdefault((level, kind, shape), {})):
                level += 1
            lying[level, kind, shape].update((name, work.place(name)) for name in work.operands)
        place[work.out] = (level, kind, shape)
    for work in works:
        # A product waits for the stage of its readers: then it need not go through memory.
        readers = [place[w.out] for w in works if work.out in w.operands]
        level, *where = place[work.out]
        together = readers and all([*there[1:]] == where for there in readers)
        if isinstance(work, Accumulator) and together and work.out not in wanted:
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
        stages.append(stage_of(key[1], key[2], members, wanted | read_elsewhere))
    return tuple(stages)


def lies_elsewhere(equation: Map, lying: Mapping[str, tuple[int, ...] | None]) -> bool:
    """Whether an operand lies on other axes than in the stage so far, where it is read once."""
    return any(lying.get(n, equation.place(n)) != equation.place(n) for n in equation.operands)


def kind_of(work: Work, table: Mapping[str, Array]) -> tuple[Kind, tuple[Dim, ...]]:
    out = table[work.out]
    if isinstance(work, Sum):
        return kind_of_sum(work, table), table[work.source].shape
    if isinstance(work, Accumulator):
        first = work.terms[0]
        if isinstance(first, Sum) or sums_rows(first, table):
            return Kind.ROW_SUM, ()
        if first.layout is Layout.AXES:
            return Kind.ALONG_AXES, out.shape
    return Kind.FUSED, out.shape


def sums_rows(product: Matmul, table: Mapping[str, Array]) -> bool:
    """Whether a product is summed over rows, as the gradient of a matrix is."""
    if product.layout is Layout.AXES:
        return table[product.left].per_row and not table[product.out].per_row
    by_blocks = product.layout is Layout.BLOCKS and table[product.left].per_row
    return product.layout is Layout.OUTER or by_blocks


def kind_of_sum(term: Sum, table: Mapping[str, Array]) -> Kind:
    """Of one that is no sum over rows."""
    plain = term.over is Over.SUM and len(table[term.source].shape) == 1
    return Kind.WIDTH_SUM if plain else Kind.ALONG_AXES


def stage_of(
    kind: Kind, shape: tuple[Dim, ...], members: Sequence[Work], wanted: set[str]
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
        if kind in (Kind.ROW_SUM, Kind.ALONG_AXES):
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
