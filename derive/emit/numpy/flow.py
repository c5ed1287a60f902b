"""Plan -> Flow: the work of a pass over time in the order in which NumPy does it.

In: a Plan.  Out: a `Flow`: lists of products, elementwise equations and sums, one list for each
place in a function.
Not here: what a scan replaces (scan.py), what leaves the loop (hoist.py), what is
done side by side (pack.py), text (lines.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword

from derive.emit.reading_order import rank
from derive.errors import ProgramError
from derive.program import Array, Map
from derive.schedule import Phase, Plan
from derive.schedule.schedule import Accumulator, Group, Kind, Stage
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class Stacked:
    """The products of a group as one; `out` is the pack of their results."""

    out: str
    group: Group


@dataclass(frozen=True, slots=True)
class Joined:
    """Shared arrays side by side, put together once."""

    out: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """Members start ... stop - 1 of a pack, under a name of their own."""

    out: str
    pack: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Fill:
    """An equation whose result is member `place` of a pack that is in memory."""

    pack: str
    place: int
    map: Map


@dataclass(frozen=True, slots=True)
class Scan:
    """after = factor * state + offset, or inside, factor * (state + offset), step by step; all
    four are arrays of one width."""

    state: str
    after: str
    factor: str
    offset: str
    inside: bool


Work = Group | Map | Accumulator | Stacked | Joined | View | Fill


@dataclass(frozen=True, slots=True)
class Flow:
    """What runs once, for all steps at once, in the loop, for all steps again, and the sums over
    rows with what follows from them.

    `wanted` arrays leave the function; `order` is that in which a reader meets them; `packs`
    are arrays of one width that lie side by side, {name: members}, of which those of `filled`
    have memory for all steps that the loop writes into. Where `scan` stands for the
    loop, what is left of `step` runs for all steps behind it. `parts` are arrays that hold what is
    known of another before the loop, {name: the other}.
    """

    table: Mapping[str, Array]
    carried: tuple[tuple[str, str], ...]
    wanted: frozenset[str]
    order: Mapping[str, int]
    once: tuple[Work, ...]
    before: tuple[Work, ...]
    step: tuple[Work, ...]
    after: tuple[Work, ...]
    sums: tuple[Work, ...]
    last: tuple[Work, ...]
    packs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    scan: Scan | None = None
    parts: Mapping[str, str] = field(default_factory=dict)

    def places(self) -> tuple[tuple[str, tuple[Work, ...]], ...]:
        """The lists by name, in the order in which they run."""
        return (
            ("once", self.once),
            ("before", self.before),
            ("step", self.step),
            ("after", self.after),
            ("sums", self.sums),
            ("last", self.last),
        )

    def works(self) -> tuple[Work, ...]:
        return tuple(work for _, works in self.places() for work in works)


def flow_of(plan: Plan) -> Flow:
    cotangents = [e.out for e in plan.program.equations if e.out.startswith("d_")]
    after = [stage for stage in plan.stages(Phase.AFTER) if stage.kind is not Kind.ROW_SUM]
    sums = [stage for stage in plan.stages(Phase.AFTER) if stage.kind is Kind.ROW_SUM]
    return Flow(
        table=plan.program.table(),
        carried=plan.carried,
        wanted=frozenset(plan.program.outputs),
        order=rank(plan.program, cotangents),
        once=_works(plan.stages(Phase.ONCE)),
        before=_works(plan.stages(Phase.BEFORE)),
        step=_works(plan.stages(Phase.STEP)),
        after=_works(after),
        sums=_works(sums),
        last=_works(plan.stages(Phase.LAST)),
    )


def check_flow(flow: Flow, given: Iterable[str]) -> Flow:
    """The flow itself; ProgramError where a work reads what no earlier one made.

    given: arrays from outside, those that the loop carries among them.
    """
    known = set(given)

    def made(name: str) -> bool:
        return name in known or (name in flow.packs and known.issuperset(flow.packs[name]))

    def need(names: Iterable[str], reader: object) -> None:
        if lost := [name for name in names if not made(name)]:
            raise ProgramError(f"{lost[0]}: is read before it is there", facts=(f"by {reader}",))

    for place, works in flow.places():
        if place == "step" and flow.scan:
            need((flow.scan.state, flow.scan.factor, flow.scan.offset), flow.scan)
            known.add(flow.scan.after)
        for work in works:
            need(operands(work), work)
            known.update(outs([work]))
            if isinstance(work, Fill):
                known.add(flow.packs[work.pack][work.place])
    for pack, members in flow.packs.items():
        if pack in known:  # what leaves the function may be taken out of a pack
            known.update(members)
    need((*sorted(flow.wanted), *(after for _, after in flow.carried)), "the caller")
    return flow


def _works(stages: Iterable[Stage]) -> tuple[Work, ...]:
    works: list[Work] = []
    for stage in stages:
        works += [*stage.groups, *stage.maps, *stage.sums]
    return tuple(works)


def outs(works: Iterable[Work]) -> Iterator[str]:
    """The arrays that `works` define, in order."""
    for work in works:
        if isinstance(work, Group):
            yield from (accumulator.out for accumulator in work.accumulators)
        elif not isinstance(work, Fill):
            yield work.out


def operands(work: Work) -> tuple[str, ...]:
    if isinstance(work, Group):
        return tuple(name for part in work.accumulators for name in part.operands)
    if isinstance(work, Stacked):
        return operands(work.group)
    if isinstance(work, Joined):
        return work.parts
    if isinstance(work, View):
        return (work.pack,)
    return work.map.operands if isinstance(work, Fill) else work.operands


def fresh(flow: Flow) -> set[str]:
    """Arrays whose line allocates them: neither a second name nor a view of another array."""
    found: set[str] = set()
    for work in flow.works():
        if isinstance(work, Group):
            found.update(outs([work]))
        elif isinstance(work, Accumulator) or (
            isinstance(work, Map) and _makes_memory(work, flow.table)
        ):
            found.add(work.out)
        elif isinstance(work, View) and not flow.table[work.pack].per_row:
            found.add(work.out)  # the members of a stacked gradient do not overlap
    return found


def reused(flow: Flow) -> dict[str, str]:
    """Sums of two arrays that may lie where a product lay, {sum: product}: nothing else reads the
    product, and both are made in one place."""
    readers = [name for work in flow.works() for name in operands(work)]
    kept = {*flow.wanted, *(name for pair in flow.carried for name in pair)}
    found: dict[str, str] = {}

    def members(name: str) -> int:  # a sum of width 1 repeats an operand of one for all of its own
        return len(flow.packs.get(name, (name,)))

    for _, works in flow.places():
        products = {
            name
            for work in works
            if isinstance(work, Stacked | Group)
            for name in outs([work])
            if readers.count(name) == 1 and kept.isdisjoint((name, *flow.packs.get(name, ())))
        }
        for work in works:
            if not isinstance(work, Map) or work.places or not work.expr.is_Add:
                continue
            if len(work.expr.args) != 2 or not all(term.is_Symbol for term in work.expr.args):
                continue
            for name in work.operands:
                one, out = flow.table[name], flow.table[work.out]
                alike = one.shape == out.shape and members(name) == members(work.out)
                if name in products and one.per_row and alike:
                    found.setdefault(work.out, name)
    return found


def _makes_memory(equation: Map, table: Mapping[str, Array]) -> bool:
    expr = equation.expr
    while isinstance(expr, functions.stop_gradient):
        expr = expr.args[0]
    return not expr.is_Symbol and (is_full(equation, table) or not equation.operands)


def is_full(equation: Map, table: Mapping[str, Array]) -> bool:
    """Whether an operand has the shape of the result, so that nothing needs broadcasting."""
    out = table[equation.out]
    return any(
        table[name].shape == out.shape
        and table[name].per_row == out.per_row
        and equation.place(name) is None
        for name in equation.operands
    )


def common_name(names: Sequence[str]) -> str:
    """A name for arrays side by side: W_i_x, W_f_x -> W_x; i, f -> i_f."""
    parts = [name.split("_") for name in names]
    most = min(map(len, parts)) - 1
    head = _common([part[:most] for part in parts])
    tail = _common([part[::-1][: most - len(head)] for part in parts])[::-1]
    name = "_".join([*head, *tail])
    return name if name.isidentifier() and not iskeyword(name) else "_".join(names)


def _common(parts: Sequence[Sequence[str]]) -> list[str]:
    found = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        found.append(column[0])
    return found
