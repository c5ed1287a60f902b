"""A View as text for a terminal.

In: a View.  Out: one block of lines for each stage.
Not here: what is shown (textbook/derivation.py, inspect/facts/schedule_summary.py, cost.py), how a
formula is written (textbook/notation.py), lines and columns (layout.py), graph, shapes and chain
rule (parts.py), numbers (cost.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from derive.inspect.facts.cost import at, polynomial
from derive.inspect.facts.schedule_summary import Kept, PassView, Stack, StageView
from derive.inspect.facts.view import View
from derive.inspect.text.cost import cost, verification
from derive.inspect.text.layout import WIDTH, Block, columns, lines_of, shape_text, wrapped
from derive.inspect.text.parts import chain, graph, shapes
from derive.inspect.text.structure import structure
from derive.program import Program
from derive.program.formulas import formulas
from derive.schedule.schedule import Kind
from derive.symbolic import functions
from derive.targets import WithTargets, row
from derive.textbook.notation import TEXT, Order, write


def document(view: View, sections: Mapping[str, Block]) -> str:
    """The sections under their titles; a section on its own needs none."""
    if view.report:
        sections = {**sections, "verification": verification(view.report)}
    if len(sections) == 1:
        return "\n".join(*sections.values()) + "\n"
    parts = [f"{_title(name)}\n\n" + "\n".join(lines) for name, lines in sections.items()]
    return "\n\n".join(parts) + "\n"


def _title(name: str) -> str:
    return f"--- {name} {'-' * (WIDTH - len(name) - 5)}"


# --- cell, program, gradient ----------------------------------------------------------------


def _cell(view: View) -> Block:
    text = view.cell.to_text().rstrip("\n").splitlines()
    yield from text
    declared = {line.split()[1].rstrip(":") for line in text if line.startswith("param ")}
    inferred = {n: shape for n, shape in view.cell.params.items() if n not in declared}
    if inferred:
        yield ""
        yield from wrapped("inferred  ", (f"{n}: {shape_text(s)}" for n, s in inferred.items()))


def _program(view: View) -> Block:
    step = view.gradient.step
    yield from wrapped("params   ", _shaped(step.program, step.params))
    yield from wrapped("inputs   ", _shaped(step.program, step.inputs))
    yield from wrapped("states   ", _shaped(step.program, step.states))
    yield from wrapped("next     ", step.next_states)
    yield from wrapped("outputs  ", step.outputs)
    yield ""
    yield from _equations_of(step.program)


def _simplified(view: View) -> Block:
    split = view.schedule.split
    for name, program in (("forward", split.forward), ("backward", split.backward)):
        if name == "backward":
            yield ""
        yield name
        given = _shaped(program, program.inputs)
        yield from (f"  {line}" for line in wrapped("given    ", given))
        yield from (f"  {line}" for line in wrapped("results  ", program.outputs))
        yield from (f"  {line}" for line in _equations_of(program))


def _shaped(program: Program, names: Sequence[str]) -> Iterator[str]:
    table = program.table()
    return (f"{name}: {shape_text(table[name].shape)}" for name in names)


def _equations_of(program: Program) -> Block:
    table = program.table()
    places = {array.name: k for k, array in enumerate(program.arrays)}
    rows = []
    for equation in formulas(program):
        name = equation.lhs.name
        rows.append((name, write(equation.rhs, TEXT, Order(places)), shape_text(table[name].shape)))
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(max((len(value) for _, value, _ in rows), default=0), 60)
    for name, value, shape in rows:
        yield f"{name.ljust(names)} = {value.ljust(values)}   # {shape}"


def _gradient(view: View) -> Block:
    found = view.derivation
    yield "given, at each step t = T..1"
    names = max(len(seed.name) for seed in found.seeds) if found.seeds else 0
    yield from (f"  {seed.name.ljust(names)}   {seed.meaning}" for seed in found.seeds)
    if found.where:
        yield ""
        yield "where"
        yield from (f"  {line}" for line in lines_of(found.where))
    yield ""
    yield from lines_of(found.gradient)
    yield ""
    yield "outer(a, b) = a b' and sum_rows(a) add up over the rows; over time the loop adds up."


def _tangent(view: View) -> Block:
    yield "given besides: the tangents of parameters, inputs and states"
    yield from wrapped("  ", _of_tangent(view))
    yield ""
    yield from lines_of(view.moved)


def _of_tangent(view: View) -> Iterator[str]:
    cell = view.tangent.cell
    groups = (cell.params, cell.inputs, cell.states)
    return (name for group in groups for name in tuple(group)[len(group) // 2 :])


def _second(view: View) -> Block:
    yield "the gradient of the tangent; arrays of the forward pass are those of stage tangent"
    yield ""
    yield from _gradient(view.tangent)


# --- schedule -------------------------------------------------------------------------------


def _schedule(view: View) -> Block:
    found = view.loops
    for pass_ in found.passes:
        yield from _pass(pass_)
        yield ""
    yield from _kept(found.kept, view.sizes)
    yield from wrapped("recomputed    ", found.recomputed)
    yield "recurrence    " + ("linear" if found.passes[0].linear else "not linear")
    alone = [pass_.name for pass_ in found.passes if pass_.elementwise]
    if alone:
        yield f"              {' and '.join(alone)}: each unit runs through time by itself"


def _pass(view: PassView) -> Block:
    yield f"{view.name} pass"
    for name, stages in view.phases:
        if not stages:
            continue
        count = f"{len(stages)} stage{'s' if len(stages) > 1 else ''}"
        yield f"  {name}: {count}"
        for stage in stages:
            yield from (f"    {line}" for line in _stage(stage))
    idle = [name for name, stages in view.phases if not stages]
    if idle:
        yield f"  nothing: {', '.join(idle)}"


def _stage(stage: StageView) -> Block:
    parts = [_stacked(stack) for stack in stage.stacks]
    if stage.lines:
        parts.append(f"{len(stage.lines)} elementwise line{'s' * (len(stage.lines) > 1)}")
    if stage.sums:
        parts.append(f"{len(stage.sums)} sum{'s' * (len(stage.sums) > 1)}")
    over = f" over {shape_text(stage.shape)}" if stage.shape else ""
    kind = "" if stage.kind is Kind.FUSED else f"{stage.kind.value}, "
    yield f"* {kind}{', '.join(parts)}{over}"
    lines = [*(line for stack in stage.stacks for line in stack.lines), *stage.lines, *stage.sums]
    yield from (f"    {text}" for text in lines_of(lines))
    if stage.stores and set(stage.stores) != {line.name for line in lines}:
        yield from (f"  {line}" for line in wrapped("stores  ", stage.stores))


def _stacked(stack: Stack) -> str:
    of = ", ".join(stack.vectors)
    if stack.products == 1:
        return f"1 product of {of}"
    if len(stack.lines) == 1:
        return f"{stack.products} products added up in one place"
    return f"{stack.products} products of {of} stacked into one"


def _kept(kept: Sequence[Kept], sizes: Mapping[str, int]) -> Block:
    if not kept:
        yield "kept          nothing"
        return
    total = sum((item.numbers for item in kept), functions.ZERO)
    rows = [
        (
            item.name + (" (history)" if item.history else ""),
            f"{polynomial(item.numbers)} numbers",
            f"{polynomial(4 * item.numbers)} = {at(4 * item.numbers, sizes):,} bytes",
        )
        for item in kept
    ]
    for k, line in enumerate(columns(rows)):
        yield ("kept" if k == 0 else "").ljust(14) + line
    yield (
        f"              {polynomial(total)} numbers per step and row: "
        f"{polynomial(4 * total)} bytes in float32, {polynomial(8 * total)} in float64"
    )
    shown = ", ".join(f"{name} = {number}" for name, number in sizes.items())
    yield f"              numbers of bytes are of float32, at {shown}"


# --- code -----------------------------------------------------------------------------------


def _code(target: str) -> Callable[[View], Block]:
    def section(view: View) -> Block:
        files = view.files(target)
        for path, text in files.items():
            if row(target).is_shared(path):
                continue  # the same for every cell
            if len(files) > 1:
                yield f"=== {path} ==="
            yield from text.rstrip("\n").splitlines()

    return section


SECTIONS: Mapping[str, Callable[[View], Block]] = WithTargets({
    "cell": _cell,
    "graph": graph,
    "shapes": shapes,
    "structure": structure,
    "program": _program,
    "gradient": _gradient,
    "chain": chain,
    "tangent": _tangent,
    "second": _second,
    "simplified": _simplified,
    "schedule": _schedule,
    "cost": cost,
}, lambda target: _code(target.name))  # fmt: skip
