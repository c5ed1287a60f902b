"""Schedule -> the text of a NumPy module.

In: a Schedule, and what a reader wants to see of the cell (`Info`).  Out: the module's text.
Not here: single lines (numpy_lines.py), the layout of the module (templates/numpy).

A row takes part in a step as long as it is alive: t < lengths[n]. Rows never meet, except in
sums over rows; so it is enough to mask what leaves a function, and what enters such a sum.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from derive import scalar
from derive.emit.numpy_flow import Flow, flow_of, fresh, outs
from derive.emit.numpy_functions import helpers_for
from derive.emit.numpy_hoist import hoist
from derive.emit.numpy_lines import COMMENT_WIDTH, WIDTH, Lines, Names
from derive.emit.printer import shortest, value_of
from derive.emit.render import environment
from derive.program import Dim
from derive.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Info:
    """What the head of the module says: lines of text. notes: {array: its author's equation}."""

    name: str
    doc: tuple[str, ...]
    equations: tuple[str, ...]
    schedule: tuple[str, ...]
    digest: str
    notes: Mapping[str, str]


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
    signature: str
    doc: str
    unpack: tuple[str, ...]
    before: tuple[str, ...]
    loop: Loop | None
    after: tuple[str, ...]
    clean: tuple[str, ...]
    sums: tuple[str, ...]
    results: tuple[Result, ...]


def render_numpy(schedule: Schedule, info: Info) -> str:
    """The text of `generated/numpy/NAME.py`."""
    single_flow, forward_flow = flow_of(schedule.forward), flow_of(schedule.forward)
    backward_flow = flow_of(schedule.backward)
    taken = (*forward_flow.table, *backward_flow.table)
    backward = _Writer(schedule, hoist(backward_flow, taken), {})
    forward = _Writer(schedule, hoist(forward_flow, taken), info.notes)
    single = _Writer(schedule, single_flow, info.notes)
    last = (backward_function(backward), step_function(single))
    functions = (forward_function(forward, backward.states_asked), *last)
    writers = (forward, backward, single)
    used = dict.fromkeys(name for writer in writers for name in writer.lines.mentions.own)
    own = forward.own
    template = environment().get_template("numpy/cell.py.j2")
    return template.render(
        name=info.name,
        doc=[_quotable(line) for line in info.doc if line],
        equations=_wrapped(info.equations),
        schedule=info.schedule,
        digest=info.digest,
        own=own,
        ambiguous=any(writer.has_ambiguous_names() for writer in writers),
        import_as=f" as {own.np}",
        aliases=[f"{own.range} = range"] if own.range != "range" else [],
        helpers=(*(name for name in ("flat", "or_zeros") if name in used), *helpers_for(used)),
        constants=CONSTANTS,
        functions=functions,
    )


def _quotable(text: str) -> str:
    """Text that may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _wrapped(lines: Iterable[str]) -> list[str]:
    return [
        _quotable(part)
        for line in lines
        for part in textwrap.wrap(line, COMMENT_WIDTH, subsequent_indent="    ")
    ]


CONSTANTS: Mapping[str, str] = {
    name: shortest(value_of(expr), np.float64)
    for name, expr in (
        ("leaky_slope", scalar.LEAKY_SLOPE),
        ("selu_alpha", scalar.SELU_ALPHA),
        ("selu_scale", scalar.SELU_SCALE),
        ("sqrt_half", scalar.HALF**scalar.HALF),
        ("sixth", scalar.ONE / 6),
    )
}


# --- what the three functions share ---------------------------------------------------------


class _Writer:
    """One function in the making."""

    def __init__(self, schedule: Schedule, flow: Flow, comments: Mapping[str, str]) -> None:
        plans = (schedule.forward, schedule.backward)
        given = (a.name for p in plans for a in p.program.arrays)
        names = Names(dict.fromkeys((*given, *flow.table)))
        self.schedule = schedule
        self.step = schedule.split.gradient.step
        self.flow = flow
        self.lines = Lines(names, flow.table, flow.order, comments)
        self.names = names
        self.own = names.own
        self.in_loop = tuple(outs(self.flow.step))
        self.fresh = fresh(self.flow.works(), self.flow.table)
        self.states_asked: dict[str, None] = {}

    def has_ambiguous_names(self) -> bool:
        """Names that linters warn of, E741."""
        mentions = self.lines.mentions
        names = (*mentions.steps, *mentions.shared, *map(self.names.size, mentions.dims))
        return not {"I", "O", "l"}.isdisjoint((*names, *self.in_loop))

    def write_once(self) -> list[str]:
        return self.lines.write(self.flow.once, for_all=False)

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
            shape = f"({own.T}, {own.B}, {lines.size(self.flow.table[name].width)})"
            allocate.append(f"{lines.all(name)} = {self.empty(shape)}")
            store.append(f"{lines.all(name)}[{own.t}] = {name}")
        return allocate, store

    def empty(self, shape: str) -> str:
        return f"{self.own.np}.empty({shape}, {self.lines.own('real')})"

    def masked(self, name: str) -> str:
        """An array for all steps that leaves the function: 0 where a row is not alive."""
        text = self.lines.all(name)
        where = f"{self.own.np}.where({self.lines.own('alive_all')}, {text}, 0.0)"
        if name in self.fresh:
            return f"{text} if {self.own.lengths} is None else {where}"
        return where

    def alive(self) -> list[str]:
        own = self.own
        if "alive_all" not in self.lines.mentions.own:
            return []
        lengths = f"{own.np}.full({own.B}, {own.T}) if {own.lengths} is None else {own.lengths}"
        steps = f"{own.np}.arange({own.T})[:, None, None]"
        return [f"{own.alive_all} = {steps} < ({lengths})[:, None]"]

    def freeze(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        """A row that is not alive hands on what it was given."""
        alive = self.own.alive
        lines = [f"{new} = {self.own.np}.where({alive}, {new}, {old})" for old, new in pairs]
        if lines:
            self.lines.own("alive_all")
        return lines

    def unpack(self, places: Mapping[str, str], states: str) -> list[str]:
        """Parameters, arrays for all steps, sizes and the dtype: what the lines mention."""
        mentions, own = self.lines.mentions, self.own
        found = [f'{name} = {own.params}["{name}"]' for name in self.step.params
                 if name in mentions.shared]
        found += [f"{self.names.all(name)} = {place}" for name, place in places.items()
                  if name in mentions.alls]
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


def _fit(lines: Iterable[str], indent: int) -> tuple[str, ...]:
    """Lines that cannot be broken are left alone by formatters and linters."""
    return tuple(
        f"{line}  # noqa: E501  # fmt: skip" if len(line) > WIDTH - indent else line
        for line in lines
    )


def _signature(
    own: SimpleNamespace,
    name: str,
    counts: Iterable[str],
    arrays: Iterable[str],
    results: int,
    *rest: str,
) -> str:
    """`def NAME(T: int, ..., params: Arrays, ..., rest) -> tuple[Arrays, ...]:`"""
    parts = [f"{getattr(own, count)}: int" for count in counts]
    parts += [f"{getattr(own, name)}: {own.Arrays}" for name in arrays]
    returned = ", ".join([own.Arrays] * results)
    return f"def {name}({', '.join([*parts, *rest])}) -> tuple[{returned}]:"


def _carry(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Simultaneous: a next value may be another state's old one."""
    pairs = tuple(pairs)
    olds, news = ", ".join(old for old, _ in pairs), ", ".join(new for _, new in pairs)
    return (f"{olds} = {news}",) if pairs else ()


# --- forward --------------------------------------------------------------------------------


def forward_function(writer: _Writer, states_asked: Iterable[str]) -> Function:
    split, step, flow = writer.schedule.split, writer.step, writer.flow
    lines, own, names = writer.lines, writer.own, writer.names
    once = writer.write_once()
    before = lines.write(flow.before, for_all=True)
    body = lines.write(flow.step, for_all=False, indent=12)
    after = lines.write(flow.after, for_all=True)
    keys = writer.schedule.output_keys
    # Inside the loop everything that is returned is copied into memory of its own.
    writer.fresh = (writer.fresh | set(writer.in_loop)) - set(split.saved)
    outputs = [(key, writer.masked(n)) for key, n in zip(keys, split.outputs, strict=True)]
    loads = writer.loads()
    stored = [name for name in writer.in_loop if name in lines.mentions.alls]
    kept = [n for n in split.saved if n in writer.in_loop and n not in stored]
    allocate, store = writer.memory(stored)
    allocate_kept, store_kept = writer.memory(kept)
    saved = [(name, lines.all(name)) for name in split.saved]
    for state, after_name in flow.carried:
        history = names.history(state)
        width = lines.size(flow.table[state].width)
        if state in split.histories:
            part = names.new(f"{after_name}_kept")
            allocate_kept += [
                f"{history} = {writer.empty(f'({own.T} + 1, {own.B}, {width})')}",
                f"{history}[{own.T} if {own.reverse} else 0] = {state}",
                f"{part} = {history}[:-1] if {own.reverse} else {history}[1:]",
            ]
            store_kept.append(f"{part}[{own.t}] = {after_name}")
            saved.append((state, history))
        elif state in states_asked:
            saved.append((state, writer.empty(f"(0, {width})")))
    loop = Loop(
        allocate=_fit(allocate, 8),
        allocate_kept=_fit(allocate_kept, 16),
        order=f"{own.range}({own.T} - 1, -1, -1) if {own.reverse} else {own.range}({own.T})",
        body=_fit(loads + body, 12),
        freeze=_fit(writer.freeze(flow.carried), 16),
        store=_fit(store, 12),
        store_kept=_fit(store_kept, 16),
        carry=_fit(_carry(flow.carried), 12),
    )
    places = {name: f'{own.inputs}["{name}"]' for name in step.inputs}
    states = [f'{name} = {own.states}["{name}"]' for name in step.states]
    unpack = writer.unpack(places, own.states)
    return Function(
        signature=_signature(
            own, "forward", "TB", ("params", "inputs", "states"), 3,
            f"{own.lengths}: {own.Array} | None = None", f"{own.reverse}: bool = False",
            f"{own.training}: bool = True",
        ),
        doc="All steps: outputs [T, B, width], last states [B, width], and what backward needs.",
        unpack=_fit(unpack + states, 8),
        before=_fit(once + lines.stacks + writer.alive() + before, 8),
        loop=loop if flow.step or flow.carried else None,
        after=_fit(after, 8),
        clean=(),
        sums=(),
        results=(
            Result(own.outputs, tuple(outputs)),
            Result(own.last_states, tuple((n, f"{n}.copy()") for n in step.states)),
            Result(own.saved, tuple(saved), condition=own.training),
        ),
    )


# --- backward -------------------------------------------------------------------------------


def backward_function(writer: _Writer) -> Function:
    split, step, flow = writer.schedule.split, writer.step, writer.flow
    gradient = split.gradient
    lines, own = writer.lines, writer.own
    once = writer.write_once()
    before = lines.write(flow.before, for_all=True)
    body = lines.write(flow.step, for_all=False, indent=12)
    after = lines.write(flow.after, for_all=True)
    sums = lines.write(flow.sums, for_all=True)
    clean = [
        f"{lines.all(n)} = {own.np}.where({lines.own('alive_all')}, {lines.all(n)}, 0.0)"
        for n in dict.fromkeys(n for total in flow.sums for n in total.operands)
        if flow.table[n].per_row
    ]
    sums += lines.write(flow.last, for_all=False)
    writer.fresh |= set(writer.in_loop)
    d_inputs = zip(step.inputs, gradient.d_inputs, strict=True)
    d_inputs_ = tuple((name, writer.masked(d_name)) for name, d_name in d_inputs)
    loads = writer.loads()
    allocate, store = writer.memory(n for n in writer.in_loop if n in lines.mentions.alls)
    loop = Loop(
        allocate=_fit(allocate, 8),
        allocate_kept=(),
        order=f"{own.range}({own.T}) if {own.reverse} else {own.range}({own.T} - 1, -1, -1)",
        body=_fit(loads + body, 12),
        freeze=_fit(writer.freeze(flow.carried), 16),
        store=_fit(store, 12),
        store_kept=(),
        carry=_fit(_carry(flow.carried), 12),
    )
    places = _places(writer)
    carried = dict(zip(step.states, gradient.state_seeds, strict=True))
    first = [
        f'{seed} = {lines.own("or_zeros")}({own.d_states}["{state}"], '
        f"({own.B}, {lines.size(flow.table[seed].width)}), {lines.own('real')})"
        for state, seed in carried.items()
    ]
    unpack = writer.unpack(places, own.saved)
    d_params = tuple(
        (name, d_name if d_name in writer.fresh else f"{d_name}.copy()")
        for name, d_name in zip(step.params, gradient.d_params, strict=True)
    )
    return Function(
        signature=_signature(
            own, "backward", "TB", ("params", "inputs", "saved"), 3,
            f"{own.lengths}: {own.Array} | None", f"{own.reverse}: bool",
            f"{own.d_outputs}: Mapping[str, {own.Array} | None]",
            f"{own.d_states}: Mapping[str, {own.Array} | None]",
        ),
        doc="Gradients of params, inputs and first states; a cotangent that is None is zero.",
        unpack=_fit(unpack + first, 8),
        before=_fit(once + lines.stacks + writer.alive() + before, 8),
        loop=loop if flow.step or flow.carried else None,
        after=_fit(after, 8),
        clean=_fit(clean, 12),
        sums=_fit(sums, 8),
        results=(
            Result(own.d_params, d_params),
            Result(own.d_inputs, d_inputs_),
            Result(own.d_initial, tuple((n, f"{seed}.copy()") for n, seed in carried.items())),
        ),
    )


def _places(writer: _Writer) -> dict[str, str]:
    """Where backward finds arrays for all steps."""
    split, own, lines = writer.schedule.split, writer.own, writer.lines
    places = {name: f'{own.inputs}["{name}"]' for name in writer.step.inputs}
    places |= {name: f'{own.saved}["{name}"]' for name in split.saved}
    pairs = zip(writer.step.states, writer.step.next_states, strict=True)
    for state, after in pairs:
        if state in split.histories:
            history = f'{own.saved}["{state}"]'
            early, late = f"{history}[:-1]", f"{history}[1:]"
            places[state] = f"{late} if {own.reverse} else {early}"
            places[after] = f"{early} if {own.reverse} else {late}"
    keys = writer.schedule.output_keys
    for seed, key in zip(split.gradient.output_seeds, keys, strict=True):
        if seed in lines.mentions.alls:
            shape = f"({own.T}, {own.B}, {lines.size(writer.flow.table[seed].width)})"
            given = f'{own.d_outputs}["{key}"]'
            places[seed] = f"{lines.own('or_zeros')}({given}, {shape}, {lines.own('real')})"
    return places


# --- one step -------------------------------------------------------------------------------


def step_function(writer: _Writer) -> Function:
    split, step, flow = writer.schedule.split, writer.step, writer.flow
    lines, own = writer.lines, writer.own
    body = lines.write(flow.works(), for_all=False, stacked=False)
    returned: set[str] = set()

    def entry(key: str, name: str) -> tuple[str, str]:
        alone = name in writer.fresh and name not in returned
        returned.add(name)
        return key, lines.step(name) if alone else f"{lines.step(name)}.copy()"

    pairs = zip(writer.schedule.output_keys, split.outputs, strict=True)
    outputs = tuple(entry(key, name) for key, name in pairs)
    after = zip(step.states, step.next_states, strict=True)
    states = tuple(entry(key, name) for key, name in after)
    unpack = writer.unpack({}, own.states)
    mentioned = lines.mentions.steps
    unpack += [f'{n} = {own.inputs}["{n}"]' for n in step.inputs if n in mentioned]
    unpack += [f'{n} = {own.states}["{n}"]' for n in step.states if n in mentioned]
    return Function(
        signature=_signature(own, "step", "B", ("params", "inputs", "states"), 2),
        doc="One step: outputs and next states, both [B, width].",
        unpack=_fit(unpack, 8),
        before=_fit(body, 8),
        loop=None,
        after=(),
        clean=(),
        sums=(),
        results=(Result(own.outputs, outputs), Result(own.next_states, states)),
    )
