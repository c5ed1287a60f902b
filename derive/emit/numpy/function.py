"""What the functions of a NumPy module have in common: their parts as plain data, and how a
function finds its arguments, its memory and its loop.

In: a Schedule and one of its Flows.  Out: a `Writer`, which collects the lines of one function.
Not here: what forward, backward and step do (module.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from derive.emit.numpy.comments import COMMENT_WIDTH
from derive.emit.numpy.flow import Flow, fresh, operands, outs
from derive.emit.numpy.lines import WIDTH, Lines
from derive.emit.numpy.names import Mentions, Names
from derive.emit.numpy.packed_params import PackedParams
from derive.program.program import Dim
from derive.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Loop:
    """A pass over time: what is allocated, the head of the `for`, and its body in order.
    `kept` is what is allocated and stored for backward alone."""

    allocate: tuple[str, ...]
    allocate_kept: tuple[str, ...]
    order: str
    body: tuple[str, ...]
    freeze: tuple[str, ...]
    store: tuple[str, ...]
    store_kept: tuple[str, ...]
    carry: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A dictionary that a function returns. `condition` guards its entries."""

    name: str
    entries: tuple[tuple[str, str], ...]
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    signature: tuple[str, ...]
    doc: str
    unpack: tuple[str, ...]
    before: tuple[str, ...]
    loop: Loop | None
    after: tuple[str, ...]
    clean: tuple[str, ...]
    sums: tuple[str, ...]
    results: tuple[Result, ...]


class Writer:
    """One function in the making."""

    def __init__(
        self,
        schedule: Schedule,
        flow: Flow,
        comments: Mapping[str, str],
        names: Names,
        packing: PackedParams | None = None,
    ) -> None:
        """packing: what the module's `pack` makes for this function."""
        self.schedule = schedule
        self.step = schedule.split.gradient.step
        self.flow = flow
        self.packing = packing
        self.lines = Lines(names, flow, comments, packing)
        self.names = names
        self.own = names.own
        self.in_loop = tuple(outs(self.flow.step))
        self.fresh = fresh(self.flow)
        self.states_asked: dict[str, None] = {}

    def has_ambiguous_names(self) -> bool:
        """Names that linters warn of, E741."""
        mentions = self.lines.mentions
        names = (*mentions.steps, *mentions.shared, *map(self.names.size, mentions.dims))
        return not {"I", "O", "l"}.isdisjoint((*names, *self.in_loop, *self.step.states))

    def write_once(self) -> list[str]:
        """Works that run once, but for those that the module's `pack` does."""
        found: list[str] = []
        for work in self.flow.once:
            if self.packing and self.packing.has(outs([work])):
                continue  # another function has asked for it
            if self.packing is None or not self.packing.can_make(work, self.flow.table):
                found += self.lines.write([work], for_all=False)
            else:
                with self.lines.outside(operands(work)):
                    self.packing.make(work, self.lines.write([work], for_all=False))
        return found

    def around(self, once: Iterable[str]) -> list[str]:
        """`once`, between the matrices that it reads and those that are put together of it."""
        return [*self.lines.stacks.stacks, *once, *self.lines.stacks.late]

    @property
    def packing_made(self) -> bool:
        """Whether the module has a `pack`, as far as the lines so far say."""
        return self.packing is not None and bool(self.packing.made)

    def packs(self) -> list[str]:
        """The call of the module's `pack` where the caller has not made one."""
        own = self.own
        if not self.packing_made:
            return []
        call = f"    {own.packed} = {own.pack}({own.params}, {own.B})"
        return [f"if {own.packed} is None:", call]

    def scanned_once(self) -> list[str]:
        """A step of the recurrence that a scan stands for."""
        scan, lines = self.flow.scan, self.lines
        assert scan is not None
        state, factor, offset = map(lines.step, (scan.state, scan.factor, scan.offset))
        text = f"{factor} * {state} + {offset}"
        if scan.inside:
            text = f"{factor} * ({state} + {offset})"
        return lines.comments.above(scan.after, f"{scan.after} = {text}")

    def unpack_packed(self) -> list[str]:
        """What the lines mention of the module's `pack`."""
        made = self.packing.made if self.packing else ()
        asked = self.lines.mentions.shared
        return [f'{name} = {self.own.packed}["{name}"]' for name in made if name in asked]

    def loads(self) -> list[str]:
        """`x = x_all[t]` for what the loop reads and does not make itself."""
        made = {*self.in_loop, *(name for name, _ in self.flow.carried)}
        names = [name for name in self.lines.mentions.steps if name not in made]
        return [f"{name} = {self.lines.all(name)}[{self.own.t}]" for name in names]

    def memory(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Allocation and storing of arrays of the loop for all steps."""
        lines, own = self.lines, self.own
        allocate, store = [], []
        for name in names:
            shape = f"({own.T}, {own.B}, {lines.shape(name)})"
            allocate.append(f"{lines.all(name)} = {self.empty(shape)}")
            if name not in self.flow.filled:
                store.append(f"{lines.all(name)}[{own.t}] = {name}")
        return allocate, store

    def empty(self, shape: str) -> str:
        return f"{self.own.np}.empty({shape}, {self.lines.own('real')})"

    def storage(self, body: list[str]) -> tuple[list[str], list[str], list[str], list[str]]:
        """For what the loop makes and later phases read: allocation; storing; storing of what the
        body has written into memory already, for rows that have ended; and that body."""
        names = self.stored()
        allocate, store = self.memory(names)
        found, written = list(body), []
        read = {name for work in self.flow.step for name in operands(work)}
        read.update(name for pair in self.flow.carried for name in pair)
        for name in names:
            line, call = self.lines.calls.get(name, ("", ""))
            if line in found:
                place = f"{self.lines.all(name)}[{self.own.t}]"
                target = f"{name} = " if name in read else ""
                found[found.index(line)] = f"{target}{call}, out={place})"
                written.append(f"{place} = {name}")
        return allocate, [line for line in store if line not in written], written, found

    def stored(self) -> list[str]:
        """What the loop makes and later phases read."""
        later = set(outs(self.flow.after))
        alls = self.lines.mentions.alls
        made = [name for name in self.in_loop if name in alls and name not in later]
        return [*self.flow.filled, *made]

    def masked(self, name: str) -> str:
        """An array for all steps that leaves the function: 0 where a row is not alive."""
        text = self.lines.all(name)
        alive = self._for_axes(self.lines.own("alive_all"), name)
        where = f"{self.own.np}.where({alive}, {text}, 0.0)"
        if name in self.fresh:
            return f"{text} if {self.own.lengths} is None else {where}"
        if self.flow.scan and name == self.flow.scan.after:
            alone = f"{text}.copy() if {self.own.training} else {text}"
            return f"({alone}) if {self.own.lengths} is None else {where}"
        return f"{text}.copy() if {self.own.lengths} is None else {where}"

    def alive(self) -> list[str]:
        own = self.own
        if "alive_all" not in self.lines.mentions.own:
            return []
        steps = f"{own.np}.arange({own.T})[:, None, None]"
        return [
            f"if {own.lengths} is not None:",
            f"    {own.alive_all} = {steps} < {own.lengths}[:, None]",
        ]

    def freeze(self, pairs: Iterable[tuple[str, str]], store: Iterable[str] = ()) -> list[str]:
        """A row that is not alive hands on what it was given. store: lines behind that."""
        pairs = tuple(pairs)
        lines = [
            f"{new} = {self.own.np}.where({self._for_axes(self.own.alive, new)}, {new}, {old})"
            for old, new in pairs
        ]
        if lines:
            self.lines.own("alive_all")
        frozen = {new for _, new in pairs}
        return [*lines, *(line for line in store if line.rpartition(" = ")[2] in frozen)]

    def _for_axes(self, alive: str, name: str) -> str:
        """`alive`, [..., B, 1], for an array of any number of axes."""
        more = len(self.flow.table[name].shape) - 1
        return f"{alive}[..., {', '.join(['None'] * more)}]" if more else alive

    def clean(self, name: str) -> str:
        """An array for all steps, with zeros in rows past their end."""
        text = self.lines.all(name)
        alive = self._for_axes(self.lines.own("alive_all"), name)
        return f"{text} = {self.own.np}.where({alive}, {text}, 0.0)"

    def scan(self, down: str, body: Iterable[str]) -> list[str]:
        """The call that stands for the loop, and what follows from it for all steps. `down` says
        whether the last step comes first."""
        found, lines, own = self.flow.scan, self.lines, self.own
        if found is None:
            return []
        factor, offset = lines.all(found.factor), lines.all(found.offset)
        alive, history = lines.own("alive_all"), self.names.history(found.state)
        late, early = f"{history}[1:]", f"{history}[:-1]"
        note = lines.comments.equations.get(found.after)
        views = {found.state: (late, early), found.after: (early, late)}
        return [
            f"if {own.lengths} is not None:",
            f"    {factor} = {own.np}.where({alive}, {factor}, 1.0)",
            f"    {offset} = {own.np}.where({alive}, {offset}, -0.0)",
            *([f"# {note}"] if note else []),
            f"{history} = {lines.own('scan')}"
            f"({factor}, {offset}, {found.state}, {down}, {found.inside})",
            *(
                f"{lines.all(name)} = {backwards} if {down} else {forwards}"
                for name, (backwards, forwards) in views.items()
                if name in lines.mentions.alls
            ),
            f"{found.state} = {history}[0 if {down} else {own.T}]",
            *self.memory(self.flow.filled)[0],
            *body,
        ]

    def unpack(
        self, places: Mapping[str, str], states: str, mentions: Mentions | None = None
    ) -> list[str]:
        """Parameters, arrays for all steps, sizes and the dtype: what the lines mention."""
        mentions, own = mentions or self.lines.mentions, self.own
        found = [
            f'{name} = {own.params}["{name}"]'
            for name in self.step.params
            if name in mentions.shared
        ]
        found += [
            f"{self.names.all(name)} = {place}"
            for name, place in places.items()
            if name in mentions.alls
        ]
        sizes = [f"{self.names.size(dim)} = {self._source(states, dim)}" for dim in mentions.dims]
        if "real" in mentions.own:
            sizes.append(f"{own.real} = {self._source(states)}")
        return sizes + found

    def _source(self, states: str, dim: Dim | None = None) -> str:
        """Where a size can be read off, or the dtype."""
        table = self.step.program.table()
        kinds = (
            (self.step.params, self.own.params),
            (self.step.inputs, self.own.inputs),
            (self.step.states, states),
        )
        for names, place in kinds:
            for name in names:
                shape = table[name].shape
                if dim is not None and dim not in shape:
                    continue
                if names is self.step.states:
                    self.states_asked.setdefault(name)
                array = f'{place}["{name}"]'
                if dim is None:
                    return f"{array}.dtype.type"
                return f"{array}.shape[{shape.index(dim) - len(shape)}]"
        raise AssertionError(f"no array tells {dim or 'the dtype'}")


def fit(lines: Iterable[str], indent: int) -> tuple[str, ...]:
    """Lines that cannot be broken are left alone by formatters and linters."""
    return tuple(
        f"{line}  # noqa: E501  # fmt: skip" if len(line) > WIDTH - indent else line
        for line in lines
    )


def signature(
    own: SimpleNamespace,
    name: str,
    counts: Iterable[str],
    arrays: Iterable[str],
    results: int,
    *rest: str,
) -> tuple[str, ...]:
    """`def NAME(T: int, ..., params: Arrays, ..., rest) -> tuple[Arrays, ...]:`

    In one line where that is no longer than a comment may be, else an argument a line.
    """
    parts = [f"{getattr(own, count)}: int" for count in counts]
    parts += [f"{getattr(own, name)}: {own.Arrays}" for name in arrays]
    returned = ", ".join([own.Arrays] * results)
    returned = f"tuple[{returned}]" if results > 1 else returned
    parts += rest
    line = f"def {name}({', '.join(parts)}) -> {returned}:"
    if len(line) <= COMMENT_WIDTH:
        return (line,)
    return (f"def {name}(", *(f"    {part}," for part in parts), f") -> {returned}:")


def carry(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Simultaneous: a next value may be another state's old one."""
    pairs = tuple(pairs)
    olds, news = ", ".join(old for old, _ in pairs), ", ".join(new for _, new in pairs)
    return (f"{olds} = {news}",) if pairs else ()
