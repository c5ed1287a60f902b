"""A View as text for a terminal.

In: a View.  Out: one block of lines for each stage.
Not here: what is shown (derivation.py, loops.py, cost.py), how a formula is written
(notation.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from derive.formulas import formulas
from derive.inspect.cost import Part, Work, at, depth, polynomial
from derive.inspect.derivation import Line
from derive.inspect.loops import Kept, PassView, Stack, StageView
from derive.inspect.notation import TEXT, Order, folded, write
from derive.inspect.view import View
from derive.program import Program
from derive.schedule import Kind

WIDTH = 100
Block = Iterable[str]


def document(view: View, sections: Mapping[str, Block]) -> str:
    """The sections under their titles; a section on its own needs none."""
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
        yield from _wrapped("inferred  ", (f"{n}: {_shape(s)}" for n, s in inferred.items()))


def _program(view: View) -> Block:
    step = view.gradient.step
    yield from _wrapped("params   ", _shaped(step.program, step.params))
    yield from _wrapped("inputs   ", _shaped(step.program, step.inputs))
    yield from _wrapped("states   ", _shaped(step.program, step.states))
    yield from _wrapped("next     ", step.next_states)
    yield from _wrapped("outputs  ", step.outputs)
    yield ""
    yield from _equations_of(step.program)


def _simplified(view: View) -> Block:
    split = view.schedule.split
    for name, program in (("forward", split.forward), ("backward", split.backward)):
        if name == "backward":
            yield ""
        yield name
        given = _shaped(program, program.inputs)
        yield from (f"  {line}" for line in _wrapped("given    ", given))
        yield from (f"  {line}" for line in _wrapped("results  ", program.outputs))
        yield from (f"  {line}" for line in _equations_of(program))


def _shaped(program: Program, names: Sequence[str]) -> Iterator[str]:
    table = program.table()
    return (f"{name}: {_shape(table[name].shape)}" for name in names)


def _equations_of(program: Program) -> Block:
    table = program.table()
    places = {array.name: k for k, array in enumerate(program.arrays)}
    rows = []
    for equation in formulas(program):
        name = equation.lhs.name
        rows.append((name, write(equation.rhs, TEXT, Order(places)), _shape(table[name].shape)))
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(max((len(value) for _, value, _ in rows), default=0), 60)
    for name, value, shape in rows:
        yield f"{name.ljust(names)} = {value.ljust(values)}   # {shape}"


def _shape(shape: Sequence[object]) -> str:
    return " x ".join(str(dim) for dim in shape)


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


def lines_of(lines: Sequence[Line]) -> Block:
    """`name = value`, the signs below each other; a long sum goes on below its first term."""
    names = max((len(line.name) for line in lines), default=0)
    for line in lines:
        first, *rest = folded(write(line.value, TEXT, line.order), WIDTH - names - 3)
        yield f"{line.name.ljust(names)} = {first}"
        yield from (" " * (names + 3) + row for row in rest)


def _wrapped(label: str, items: Iterable[str]) -> Block:
    text = ", ".join(item.replace(" ", "\0") for item in items) or "none"
    lines = textwrap.wrap(text, WIDTH - len(label), break_long_words=False)
    for k, line in enumerate(lines):
        yield (label if k == 0 else " " * len(label)) + line.replace("\0", " ")


# --- schedule -------------------------------------------------------------------------------


def _schedule(view: View) -> Block:
    found = view.loops
    for pass_ in found.passes:
        yield from _pass(pass_)
        yield ""
    yield from _kept(found.kept)
    yield from _wrapped("recomputed    ", found.recomputed)
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
    over = f" over {_shape(stage.shape)}" if stage.shape else ""
    kind = "" if stage.kind is Kind.FUSED else f"{stage.kind.value}, "
    yield f"* {kind}{', '.join(parts)}{over}"
    lines = [*(line for stack in stage.stacks for line in stack.lines), *stage.lines, *stage.sums]
    yield from (f"    {text}" for text in lines_of(lines))
    if stage.stores and set(stage.stores) != {line.name for line in lines}:
        yield from (f"  {line}" for line in _wrapped("stores  ", stage.stores))


def _stacked(stack: Stack) -> str:
    of = ", ".join(stack.vectors)
    if stack.products == 1:
        return f"1 product of {of}"
    if len(stack.lines) == 1:
        return f"{stack.products} products added up in one place"
    return f"{stack.products} products of {of} stacked into one"


def _kept(kept: Sequence[Kept]) -> Block:
    if not kept:
        yield "kept          nothing"
        return
    total = sum(item.numbers for item in kept)
    names = (
        f"{item.name} (history, {polynomial(item.numbers)})"
        if item.history
        else f"{item.name} ({polynomial(item.numbers)})"
        for item in kept
    )
    yield from _wrapped("kept          ", names)
    yield (
        f"              {polynomial(total)} numbers per step and row: "
        f"{polynomial(4 * total)} bytes in float32, {polynomial(8 * total)} in float64"
    )


# --- cost -----------------------------------------------------------------------------------

_COLUMNS = ("multiply_adds", "elementwise", "transcendental")


def _cost(view: View) -> Block:
    found, sizes = view.cost, view.sizes
    shown = ", ".join(f"{name} = {number}" for name, number in sizes.items())
    rows = [("", "formula", shown)]
    rows.append(("parameters", *_both(found.parameters, sizes)))
    rows.append(("kept per step and row", *_both(found.saved, sizes)))
    rows.append(("  bytes in float32", *_both(4 * found.saved, sizes)))
    rows.append(("  bytes in float64", *_both(8 * found.saved, sizes)))
    for name, plan in (("forward", view.schedule.forward), ("backward", view.schedule.backward)):
        rows.append((f"products in sequence, {name}", "", str(depth(plan))))
    for name, parts in (("forward", found.forward), ("backward", found.backward)):
        for part in Part:
            rows += _work(name, part, parts[part], sizes)
    first = max(len(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows)
    third = max(len(row[2]) for row in rows)
    for row in rows:
        line = f"{row[0].ljust(first)}   {row[1].ljust(second)}   {row[2].rjust(third)}"
        yield line.rstrip()


def _work(
    name: str, part: Part, work: Work, sizes: Mapping[str, int]
) -> Iterator[tuple[str, str, str]]:
    found = {column: getattr(work, column) for column in _COLUMNS}
    if all(value == 0 for value in found.values()):
        return
    per = "" if part is Part.CALL else ", per step and row"
    yield f"{name}, {part.value}{per}", "", ""
    for column, value in found.items():
        if value != 0:
            yield f"  {column.replace('_', '-')}", *_both(value, sizes)


def _both(value: object, sizes: Mapping[str, int]) -> tuple[str, str]:
    return polynomial(value), f"{at(value, sizes):,}"


# --- code -----------------------------------------------------------------------------------


def _code(target: str) -> Callable[[View], Block]:
    def section(view: View) -> Block:
        files = view.files(target)
        for path, text in files.items():
            if path.endswith("derive_kernels.h"):
                continue  # the same for every cell
            if len(files) > 1:
                yield f"=== {path} ==="
            yield from text.rstrip("\n").splitlines()

    return section


SECTIONS: Mapping[str, Callable[[View], Block]] = {
    "cell": _cell,
    "program": _program,
    "gradient": _gradient,
    "simplified": _simplified,
    "schedule": _schedule,
    "cost": _cost,
    "numpy": _code("numpy"),
    "c": _code("c"),
}
