"""Plan -> the loop over time that a careful person writes by hand, as Python text.

In: one pass of a Schedule, sizes, a `Style`.  Out: the text of a function `run(arrays)`.
Not here: the libraries that run it (peers/). Nothing here knows any cell.

Products of one vector with several matrices are one product with the matrices stacked; what no
state reaches is computed for all steps at once; gradients of matrices are one product after the
loop. Beyond that the text is plain: one line an equation, one array a result.

`v_NAME` is an array that all rows share, or one of the current step, [B, width]; `all_NAME` is
the array for all steps, [T, B, width].
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import cast

from derive.emit.python.items import Item, operands_of, outs_of, together
from derive.emit.python.names import COMPARISONS, FUNCTIONS
from derive.emit.reading_order import rank
from derive.program import Array, Layout, Map, Matmul, Over, Sum
from derive.schedule.plan import Accumulator, Group, Phase, Plan
from derive.symbolic import functions
from derive.symbolic.code import Syntax, print_expression


class Style(enum.Enum):
    FILL = "a for loop that fills arrays"  # NumPy
    LIST = "a for loop that appends to lists"  # PyTorch
    SCAN = "a function of one step, scanned"  # JAX


def loop_text(
    plan: Plan,
    style: Style,
    sizes: dict[str, int],
    steps: int,
    rows: int,
    histories: Sequence[tuple[str, str]] = (),
    *,
    results: Iterable[str],
    backwards: bool = False,
) -> str:
    """`run(arrays)`: takes {name: array} of plan.program.inputs, returns {name: array}.

    results: arrays that are wanted, of all steps if they have rows; the last values of carried
    arrays come as "last NAME".  histories: (state, next state) whose values are all wanted.
    """
    writer = _Writer(plan, style, sizes, steps, rows, backwards)
    return writer.text(tuple(dict.fromkeys(results)), tuple(histories))


class _Writer:
    def __init__(
        self, plan: Plan, style: Style, sizes: dict[str, int], steps: int, rows: int,
        backwards: bool,
    ) -> None:  # fmt: skip
        self.plan, self.style, self.sizes = plan, style, sizes
        self.steps, self.rows, self.backwards = steps, rows, backwards
        self.table = plan.program.table()
        self.order = rank(plan.program)
        self.phase_of = dict(plan.phase_of)
        self.phase = Phase.ONCE
        self.lines: list[str] = []
        self.once: list[str] = []  # stacks of matrices that the loop reads
        self.joins: dict[tuple[bool, tuple[str, ...]], str] = {}
        self.stored: dict[str, None] = {}  # what the loop keeps for later
        self.read: dict[str, None] = {}  # what a step reads of arrays for all steps
        self.stops: dict[str, str] = {}  # symbol -> text
        self.count = 0

    # --- the function -----------------------------------------------------------------------

    def text(self, results: Sequence[str], histories: Sequence[tuple[str, str]]) -> str:
        carried = self.plan.carried
        initial = {name for name, _ in carried}
        head = [
            f"{'all' if self.over_time(n) else 'v'}_{n} = arrays[{n!r}]"
            for n in self.plan.program.inputs
        ]
        before = [*self.emit(Phase.ONCE), *self.emit(Phase.BEFORE)]
        step = self.emit(Phase.STEP)
        after = [*self.emit(Phase.AFTER), *self.emit(Phase.LAST)]
        in_history = {name for pair in histories for name in pair}
        for name in results:
            if self.in_loop(name) or name in initial:
                self.stored.setdefault(name)
        for name in in_history:
            self.stored.pop(name, None)
        self.read.update((n, None) for _, n in carried if self.over_time(n) and n not in self.read)
        lines = [*head, *before, *self.once]
        lines += self.loop(step, carried, histories)
        lines += after
        entries = [f"{n!r}: {self.result(n, in_history)}" for n in results]
        entries += [f"'last {n}': v_{n}" for n, _ in carried]
        lines.append(f"return {{{', '.join(entries)}}}")
        return "\n".join(["def run(arrays):", *(f"    {line}" for line in lines), ""])

    def result(self, name: str, in_history: set[str]) -> str:
        stacked = name in self.stored or name in in_history or self.over_time(name)
        return f"all_{name}" if stacked else f"v_{name}"

    def loop(
        self, body: list[str], carried: Sequence[tuple[str, str]],
        histories: Sequence[tuple[str, str]],
    ) -> list[str]:  # fmt: skip
        order = f"range({self.steps - 1}, -1, -1)" if self.backwards else f"range({self.steps})"
        take = tuple(self.read)
        first = ", ".join(f"v_{n}" for n, _ in carried)
        after = ", ".join(f"v_{n}" for _, n in carried)
        early = [n for n in self.stored if n in dict(carried)]
        if self.style is Style.SCAN:
            return self.scan(body, first, after)
        fill = self.style is Style.FILL
        lines = []
        for state, name in histories:
            lines.append(f"history_{state} = empty(({self.steps + 1}, *v_{state}.shape))")
            lines += [f"history_{state}[0] = v_{state}", f"all_{state} = history_{state}[:-1]"]
            lines.append(f"all_{name} = history_{state}[1:]")
        for name in self.stored:
            made = f"empty({self.shape_text(name)})" if fill else "[]"
            lines.append(f"all_{name} = {made}")
        if not fill:
            lines += [f"each_{n} = all_{n}.unbind(0)" for n in take]
        source = "all" if fill else "each"
        lines.append(f"for t in {order}:")
        lines += [f"    v_{n} = {source}_{n}[t]" for n in take]
        lines += [f"    {self.store(n)}" for n in early]
        lines += [f"    {line}" for line in body]
        lines += [f"    {self.store(n)}" for n in self.stored if n not in early]
        lines += [f"    all_{name}[t] = v_{name}" for _, name in histories]
        lines.append(f"    {first} = {after}" if first else "    pass")
        if not fill:
            lines += [f"all_{n} = stack(all_{n})" for n in self.stored]
        return lines

    def scan(self, body: list[str], first: str, after: str) -> list[str]:
        take = tuple(self.read)
        row = "".join(f"v_{n}, " for n in take)
        kept = "".join(f"v_{n}, " for n in self.stored)
        lines = ["def step(carry, row):", f"    {first}, = carry" if first else "    pass"]
        if take:
            lines.append(f"    {row}= row")
        lines += [f"    {line}" for line in body]
        lines.append(f"    return ({after}{',' if after else ''}), ({kept})")
        rows = "".join(f"all_{n}, " for n in take)
        lines.append(
            f"({first}{',' if first else ''}), kept = "
            f"scan(step, ({first}{',' if first else ''}), ({rows}), length={self.steps})"
        )
        if kept:
            lines.append(f"{''.join(f'all_{n}, ' for n in self.stored)}= kept")
        return lines

    def store(self, name: str) -> str:
        if self.style is Style.FILL:
            return f"all_{name}[t] = v_{name}"
        return f"all_{name}.append(v_{name})"

    # --- names and shapes -------------------------------------------------------------------

    def over_time(self, name: str) -> bool:
        """Whether the array exists for all steps before the loop, or is made so after it."""
        if not self.per_row(name) or name in dict(self.plan.carried):
            return False
        return self.phase_of.get(name, Phase.BEFORE) is not Phase.STEP

    def in_loop(self, name: str) -> bool:
        return self.phase_of.get(name) is Phase.STEP or name in self.joins.values()

    def per_row(self, name: str) -> bool:
        return self.table[name].per_row if name in self.table else True

    def name(self, name: str) -> str:
        """The array as the current phase speaks of it; remembers what that takes."""
        if not self.per_row(name):
            return f"v_{name}"
        if self.phase is Phase.STEP:
            if self.over_time(name):
                self.read.setdefault(name)
            return f"v_{name}"
        if self.in_loop(name) or name in dict(self.plan.carried):
            self.stored.setdefault(name)
        return f"all_{name}"

    def width(self, array: Array) -> tuple[int, ...]:
        return tuple(d if isinstance(d, int) else self.sizes[d] for d in array.shape)

    def shape_text(self, name: str) -> str:
        if name in self.table:
            width = self.width(self.table[name])
        else:
            members = next(names for (_, names), made in self.joins.items() if made == name)
            width = (sum(self.width(self.table[n])[0] for n in members),)
        return str((self.steps, self.rows, *width))

    def fresh(self, kind: str) -> str:
        self.count += 1
        return f"{kind} {self.count}".replace(" ", "_")

    # --- phases -----------------------------------------------------------------------------

    def emit(self, phase: Phase) -> list[str]:
        self.phase, self.lines = phase, []
        waiting: list[Item] = []
        for stage in self.plan.stages(phase):
            waiting += [*stage.groups, *stage.maps, *together(stage.sums, self.table)]
        missing = {out for item in waiting for out in outs_of(item)}
        while waiting:
            item = next(i for i in waiting if not missing.intersection(operands_of(i)))
            waiting.remove(item)
            missing.difference_update(outs_of(item))
            self.item(item)
        return self.lines

    def item(self, item: Item) -> None:
        if isinstance(item, Map):
            self.map(item)
        elif isinstance(item, Accumulator):
            self.total(item)
        elif isinstance(item.accumulators[0].terms[0], Sum):
            self.row_sums(item)
        elif item.accumulators[0].terms[0].layout is Layout.OUTER:
            self.outers(item)
        else:
            self.products(item)

    def map(self, equation: Map) -> None:
        out = self.table[equation.out]
        syntax = Syntax(
            number=repr,
            whole=lambda value: f"real({value!r})",
            name=lambda name: self.stops.get(name) or self.placed(name, equation),
            size=lambda dim: str(self.sizes[dim]),
            functions=FUNCTIONS,
            comparisons=COMPARISONS,
            power=lambda base, exponent: f"({base}) ** {exponent!r}",
            constant_branch=lambda text: f"real({text})",
        )
        text = print_expression(self.with_stops(equation.expr, syntax), syntax, self.order)
        operands = [self.table[name] for name in equation.operands]
        if not any(a.shape == out.shape and a.per_row == out.per_row for a in operands):
            lead: tuple[int, ...] = ()
            if out.per_row:
                lead = (self.rows,) if self.phase is Phase.STEP else (self.steps, self.rows)
            text = f"full({text}, {(*lead, *self.width(out))})"
        self.define(equation.out, text)

    def placed(self, name: str, equation: Map) -> str:
        """An operand, with an axis of length 1 wherever the result has one more."""
        array, rank = self.table[name], len(self.table[equation.out].shape)
        text, place = self.name(name), equation.place(name)
        if place is None and (array.shape != (1,) or rank < 2 or not array.per_row):
            return text
        if place is not None and list(place) != sorted(place):
            return f"{text}.swapaxes(-1, -2)"
        if place is None:  # a number for each row
            axes = ", ".join([":", *["None"] * (rank - 1)])
        else:
            axes = ", ".join(":" if k in place else "None" for k in range(rank))
        return f"{text}[..., {axes}]" if array.per_row else f"{text}[{axes}]"

    def with_stops(self, expr: functions.Expr, syntax: Syntax) -> functions.Expr:
        """Each stop_gradient as a symbol: the printer drops them, libraries must see them."""

        def symbol_of(node: functions.Expr) -> functions.Expr:
            key = f"stop {len(self.stops)}"
            inner = print_expression(cast(functions.Expr, node.args[0]), syntax, self.order)
            self.stops[key] = f"stop_gradient({inner})"
            return functions.symbol(key)

        stop = functions.stop_gradient
        return cast(functions.Expr, expr.replace(lambda node: isinstance(node, stop), symbol_of))

    def define(self, name: str, text: str) -> None:
        stacked = self.per_row(name) and self.phase is not Phase.STEP
        self.lines.append(f"{'all' if stacked else 'v'}_{name} = {text}")

    def split(self, outs: Sequence[str], whole: str, axis: str = "...") -> None:
        """Define `outs` as parts of an array in which they lie side by side."""
        if len(outs) == 1:
            self.define(outs[0], whole)
            return
        made = self.fresh("parts")
        self.lines.append(f"{made} = {whole}")
        start = 0
        for out in outs:
            end = start + self.width(self.table[out])[0]
            where = f"[..., {start}:{end}]" if axis == "..." else f"[{start}:{end}]"
            self.define(out, f"{made}{where}")
            start = end

    # --- products and sums ------------------------------------------------------------------

    def products(self, group: Group) -> None:
        first = group.accumulators[0]
        order = sorted(range(len(first.terms)), key=lambda k: first.vectors[k])
        blocks = []
        for accumulator in group.accumulators:
            parts = []
            for k in order:
                term = accumulator.terms[k]
                assert isinstance(term, Matmul)
                parts.append(f"v_{term.left}" + (".T" if term.layout is Layout.TRANSPOSED else ""))
            blocks.append(parts[0] if len(parts) == 1 else f"cat(({', '.join(parts)}), 1)")
        text = blocks[0] if len(blocks) == 1 else f"cat(({', '.join(blocks)}), 0)"
        stack = self.fresh("stack")
        (self.once if self.phase is Phase.STEP else self.lines).append(f"{stack} = {text}")
        vector = self.join([first.vectors[k] for k in order])
        self.split([a.out for a in group.accumulators], f"product({vector}, {stack})")

    def join(self, names: Sequence[str]) -> str:
        """Arrays side by side; one that the loop made is kept by the loop."""
        if len(names) == 1:
            return self.name(names[0])
        in_step = self.phase is Phase.STEP
        made = self.joins.get((True, tuple(names)))
        if made and not in_step and self.style is Style.FILL:
            self.stored.setdefault(made)
            return f"all_{made}"
        key = (in_step, tuple(names))
        if key not in self.joins:
            made = self.fresh("joined")
            parts = ", ".join(self.name(name) for name in names)
            self.lines.append(f"{'v' if in_step else 'all'}_{made} = cat(({parts}), -1)")
            self.joins[key] = made
        return f"{'v' if in_step else 'all'}_{self.joins[key]}"

    def outers(self, group: Group) -> None:
        terms = [a.terms[0] for a in group.accumulators]
        lefts = self.join([t.left for t in terms if isinstance(t, Matmul)])
        right = self.name(group.vectors[0])
        self.split([a.out for a in group.accumulators], f"rows({lefts}).T @ rows({right})", "0")

    def row_sums(self, group: Group) -> None:
        sources = [t.source for a in group.accumulators for t in a.terms if isinstance(t, Sum)]
        self.split([a.out for a in group.accumulators], f"rows({self.join(sources)}).sum(0)")

    def total(self, accumulator: Accumulator) -> None:
        self.define(
            accumulator.out,
            " + ".join(self.term(term, accumulator.out) for term in accumulator.terms),
        )

    def term(self, term: Matmul | Sum, total: str) -> str:
        if isinstance(term, Matmul) and term.subscripts:
            return self.along_axes(term)
        if isinstance(term, Sum) and (term.axes or term.over is not Over.SUM):
            return self.reduced(term, total)
        if isinstance(term, Matmul):
            left, right = self.name(term.left), self.name(term.right)
            if self.per_row(term.left):
                return f"rows({left}).T @ rows({right})"
            return f"{left}[:, None] * {right}[None, :]"
        source, out = self.table[term.source], self.table[total]
        text = self.name(term.source)
        if source.per_row and not out.per_row and len(source.shape) > 1:
            return f"{text}.reshape({(-1, *self.width(source))}).sum(0)"
        if source.per_row and not out.per_row:
            text = f"rows({text}).sum(0)"
        return text if source.shape == out.shape else f"width_sum({text})"

    def along_axes(self, term: Matmul) -> str:
        """A product along axes; rows that its result lacks are summed over."""
        mine, theirs, out = term.letters()
        rows = "Z" if self.phase is Phase.STEP else "YZ"
        left, right = (self.table[name].per_row for name in term.operands)
        of_row = rows if self.per_row(term.out) else ""
        letters = f"{rows * left}{mine},{rows * right}{theirs}->{of_row}{out}"
        text = f"einsum({letters!r}, {self.name(term.left)}, {self.name(term.right)})"
        return text if out else f"{text}[..., None]"

    def reduced(self, term: Sum, total: str) -> str:
        """A sum, a maximum or a running sum along axes, and perhaps over rows."""
        source, out = self.table[term.source], self.table[total]
        rank = len(source.shape)
        axes = tuple(k - rank for k in term.axes_of(source, out))
        text = self.name(term.source)
        if term.over.keeps and term.over is Over.CUMSUM:
            return f"{text}.cumsum({axes[0]})"
        if term.over.keeps:
            return f"flip(flip({text}, ({axes[0]},)).cumsum({axes[0]}), ({axes[0]},))"
        text = f"amax({text}, {axes})" if term.over is Over.MAX else f"{text}.sum({axes})"
        text = text if len(axes) < rank else f"{text}[..., None]"
        if source.per_row and not out.per_row:
            text = f"{text}.reshape({(-1, *self.width(out))}).sum(0)"
        return text
