"""Plan -> what runs one after another in a step: nests of loops, and what each adds up on the way.

In: a Plan whose rows run step by step.  Out: `Nests` of a phase.
Not here: where arrays lie (memory.py), text (lines.py).

A stage is one loop over its units. What a later stage makes of one of its elements alone is done
in that loop, while the element is in a register: a row of an outer product, a unit's share of a
transposed product, a bias's gradient. So the elements need no array:

    for each unit j:   d_a = ...,  d_b[j] += d_a
        for each k:    d_U[j][k] += d_a * h[k],  d_h[k] += U[j][k] * d_a
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy

from derive.program import Array, Map, Matmul, Over, Sum
from derive.program.program import Dim
from derive.schedule.plan import Accumulator, Kind, Phase, Plan, Stage
from derive.schedule.stages import plain_addends
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class Term:
    """out += left * right, a letter for each axis; right is "" where nothing is multiplied.

    along: the letter of the axis that a maximum or a running sum goes along.
    """

    out: str
    out_letters: str
    left: str
    left_letters: str
    right: str
    right_letters: str
    dims: Mapping[str, Dim]
    over: Over = Over.SUM
    along: str = ""

    @property
    def operands(self) -> tuple[tuple[str, str], ...]:
        """(array, letters)."""
        left = (self.left, self.left_letters)
        return (left, (self.right, self.right_letters)) if self.right else (left,)

    @property
    def summed(self) -> str:
        """Letters that the result lacks."""
        both = dict.fromkeys(self.left_letters + self.right_letters)
        return "".join(letter for letter in both if letter not in self.out_letters)

    def other(self, name: str) -> tuple[str, str]:
        """The operand beside `name`; ("", "") for none."""
        found = [pair for pair in self.operands if pair[0] != name]
        return found[0] if found else ("", "")


def term_of(equation: Matmul | Sum, out: str, table: Mapping[str, Array]) -> Term:
    target = table[out]
    if isinstance(equation, Sum):
        source = table[equation.source]
        letters = "abc"[: len(source.shape)]
        gone = equation.axes_of(source, target)
        kept = "".join(letter for k, letter in enumerate(letters) if k not in gone)
        dims = dict(zip(letters, source.shape, strict=True))
        plain = equation.over is Over.SUM
        return Term(
            out, letters if equation.over.keeps else kept, equation.source, letters, "", "", dims,
            equation.over, "" if plain else letters[gone[0]],
        )  # fmt: skip
    left, right, own = equation.letters()
    dims = {}
    for letters, name in ((left, equation.left), (right, equation.right)):
        dims.update(zip(letters, table[name].shape, strict=False))
    return Term(out, own, equation.left, left, equation.right, right, dims)


@dataclass(frozen=True, slots=True)
class Gather:
    """A sum in a register of one unit: `start`, an array or "", and the terms."""

    out: str
    start: str
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What one element of a nest adds to an array in memory. bound: the operand it is one of."""

    term: Term
    bound: str


@dataclass(slots=True)
class Nest:
    """One loop over the units of a shape.  stage: whose equations it computes."""

    stage: Stage
    shape: tuple[Dim, ...]
    gathers: tuple[Gather, ...]
    maps: tuple[Map, ...]
    shares: list[Share] = field(default_factory=list)

    @property
    def own(self) -> tuple[str, ...]:
        """What it has in registers."""
        return (*(g.out for g in self.gathers), *(m.out for m in self.maps))

    @property
    def loads(self) -> tuple[str, ...]:
        names = (n for equation in self.maps for n in equation.operands if n not in self.own)
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Loose:
    """A product or a sum by itself.  sets: it is all that its result is made of."""

    stage: Stage
    term: Term
    sets: bool


Item = Nest | Loose


@dataclass(frozen=True, slots=True)
class Access:
    """name: an array in memory.  alike: of the element only that the nest is at."""

    name: str
    alike: bool


@dataclass(slots=True)
class Nests:
    """What runs in a step, in order.  begun: {array: the item before which it is set to zero}.

    in_memory: arrays of these items that something reads from memory, or that are results.
    """

    items: list[Item]
    begun: dict[str, int]
    in_memory: set[str]
    table: Mapping[str, Array]

    def reads(self, item: Item) -> Iterator[Access]:
        if isinstance(item, Loose):
            yield from (Access(name, False) for name, _ in item.term.operands)
            return
        for gather in item.gathers:
            if gather.start:
                yield Access(gather.start, self.table[gather.start].shape == item.shape)
            yield from (Access(n, False) for term in gather.terms for n, _ in term.operands)
        for equation in item.maps:
            for name in equation.operands:
                if name not in item.own:
                    like = self.table[name].shape == item.shape and equation.place(name) is None
                    yield Access(name, like)
        for share in item.shares:
            name, _ = share.term.other(share.bound)
            if name and name not in item.own:
                yield Access(name, False)

    def writes(self, item: Item) -> Iterator[Access]:
        if isinstance(item, Loose):
            yield Access(item.term.out, False)
            return
        yield from (Access(name, True) for name in item.own if name in self.in_memory)
        yield from (Access(share.term.out, False) for share in item.shares)

    def is_summed(self, name: str) -> bool:
        """Whether an array is added to, and never set: a sum over all steps."""
        return name not in self.begun and any(
            access.name == name and not access.alike and not (isinstance(item, Loose) and item.sets)
            for item in self.items
            for access in self.writes(item)
        )

    def fits_in_place(self, before: str, after: str) -> bool:
        """Whether `after` may be written where `before` is."""
        if after not in self.in_memory:
            return False
        write, alike = len(self.items), True
        if after in self.begun:
            write, alike = self.begun[after], False
        for k, item in enumerate(self.items):
            for access in self.writes(item):
                if access.name == after and k < write:
                    write, alike = k, access.alike
        for k, item in enumerate(self.items):
            for access in self.reads(item):
                late = k > write or (k == write and not (alike and access.alike))
                if access.name == before and late:
                    return False
        return True


def nests_of(
    plan: Plan, phases: Sequence[Phase], wanted: Iterable[str], *, registers: bool = False
) -> Nests:
    """What runs in some phases, one after another.  wanted: arrays that must be in memory.

    registers: whether every sum is complete before it is written: in integers a part of a sum is
    longer than an element."""
    return _Maker(plan, phases, wanted, registers).nests()


class _Maker:
    def __init__(
        self, plan: Plan, phases: Sequence[Phase], wanted: Iterable[str], registers: bool
    ) -> None:
        self.registers = registers
        self.table = dict(plan.program.table())
        self.stages = [stage for phase in phases for stage in plan.stages(phase)]
        self.places = {array.name: k for k, array in enumerate(plan.program.arrays)}
        self.wanted = set(wanted)
        self.items: list[Item] = []
        self.made_by: dict[str, int] = {}
        self.begun: dict[str, int] = {}

    def nests(self) -> Nests:
        for stage in self.stages:
            self._add(stage)
        made = {name for item in self.items if isinstance(item, Nest) for name in item.own}
        found = Nests(self.items, self.begun, set(), self.table)
        read = {access.name for item in self.items for access in found.reads(item)}
        summed = {share.term.out for i in self.items if isinstance(i, Nest) for share in i.shares}
        summed |= {item.term.out for item in self.items if isinstance(item, Loose)}
        found.in_memory = (made & (read | self.wanted)) | summed
        return found

    def _add(self, stage: Stage) -> None:
        gathers: list[Gather] = []
        for group in stage.groups:
            for accumulator in group.accumulators:
                terms = self._terms(accumulator)
                if self.registers or all(map(_is_row_by_row, terms)):
                    gathers.append(Gather(accumulator.out, "", terms))
                else:
                    self._in_memory(stage, accumulator.out, terms)
        for accumulator in stage.sums:
            over_rows = stage.kind is Kind.ROW_SUM
            terms = self._terms(accumulator)
            self._in_memory(stage, accumulator.out, terms, begin=not over_rows)
        if stage.maps or gathers:
            nest = _with_starts(Nest(stage, stage.shape, tuple(gathers), stage.maps), self._keeps)
            self.made_by.update(dict.fromkeys(nest.own, len(self.items)))
            self.items.append(nest)

    def _keeps(self, name: str, stage: Stage) -> bool:
        return name in stage.stores

    def _terms(self, accumulator: Accumulator) -> tuple[Term, ...]:
        terms = (term_of(t, accumulator.out, self.table) for t in accumulator.terms)
        return tuple(sorted(terms, key=lambda term: self.places.get(term.right, 0)))

    def _in_memory(
        self, stage: Stage, out: str, terms: Sequence[Term], *, begin: bool = True
    ) -> None:
        """A sum in an array: the shares of earlier nests where there are such, loose terms else.

        begin: it starts anew in every step."""
        shared = [(term, None if self.registers else self._nest_of(term)) for term in terms]
        spreads = _spreads(terms[0]) and not self.registers
        sets = begin and len(terms) == 1 and shared[0][1] is None and not spreads
        first = len(self.items)
        for term, found in shared:
            if found is None:
                self.items.append(Loose(stage, term, sets))
                continue
            place, bound = found
            nest = self.items[place]
            assert isinstance(nest, Nest)
            nest.shares.append(Share(term, bound))
            first = min(first, place)
        if begin and not sets:
            self.begun[out] = first
        self.made_by[out] = len(self.items) - 1

    def _nest_of(self, term: Term) -> tuple[int, str] | None:
        """The nest that may add its share of a term, and the operand that is one of its elements.

        The other operand is complete by then, or an element of the same nest."""
        if term.over is not Over.SUM:
            return None
        for name, letters in term.operands:
            place = self.made_by.get(name)
            if place is None:
                continue
            nest = self.items[place]
            if not isinstance(nest, Nest) or name not in nest.own:
                continue
            if self.table[name].shape != nest.shape or len(letters) != len(nest.shape):
                continue
            other, others = term.other(name)
            made = self.made_by.get(other, -1)
            beside = made == place and others == letters and other in nest.own
            if other and made >= place and not beside:
                continue
            inner = [c for c in dict.fromkeys(term.out_letters + others) if c not in letters]
            if not inner or term.out_letters[-1:] == others[-1:]:
                return place, name
        return None


def _is_row_by_row(term: Term) -> bool:
    """Whether a unit's sum goes along the rows of its matrix."""
    return term.left_letters[-1:] in tuple(term.summed)


def _spreads(term: Term) -> bool:
    """Whether a loose term is best added up in memory, the last axis of its result innermost."""
    letters = {own[-1:] for _, own in term.operands if len(own) > 1}
    return (
        term.over is Over.SUM
        and bool(term.summed and term.out_letters)
        and bool(letters)
        and letters == {term.out_letters[-1:]}
    )


def spreads(item: Loose) -> bool:
    return _spreads(item.term)


def _with_starts(nest: Nest, keeps: Callable[[str, Stage], bool]) -> Nest:
    """The nest with parameters that are added to a sum as what the sum begins with.

    q = W @ x, a = q + b  ->  a = b + W @ x, in one register.
    """
    gathers = {gather.out: gather for gather in nest.gathers}
    maps: list[Map] = []
    readers: dict[str, int] = {}
    for equation in nest.maps:
        for name in equation.operands:
            readers[name] = readers.get(name, 0) + 1
    for equation in nest.maps:
        addends = [n for n in plain_addends(equation.expr) if equation.place(n) is None]
        sums = [n for n in addends if n in gathers and readers[n] == 1 and not keeps(n, nest.stage)]
        starts = [n for n in addends if n not in gathers and n in nest.loads]
        if len(sums) != 1 or not starts or gathers[sums[0]].start:
            maps.append(equation)
            continue
        gather, start = gathers[sums[0]], starts[0]
        rest = equation.expr - sympy.Add(functions.symbol(gather.out), functions.symbol(start))
        if rest == 0:
            moved = tuple(replace(term, out=equation.out) for term in gather.terms)
            gathers[gather.out] = Gather(equation.out, start, moved)
            continue
        gathers[gather.out] = replace(gather, start=start)
        maps.append(replace(equation, expr=rest + functions.symbol(gather.out)))
    return Nest(nest.stage, nest.shape, tuple(gathers.values()), tuple(maps))
