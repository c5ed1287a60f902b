"""Schedule -> the text of a NumPy module.

In: a Schedule, and what a reader wants to see of the cell (`Info`).  Out: the module's text.
Not here: single lines (lines.py), the layout of the module (templates/numpy).

A row takes part in a step as long as it is alive: t < lengths[n]. Rows never meet, except in
sums over rows; so it is enough to mask what leaves a function, and what enters such a sum.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import sympy

from derive.build.templates import environment
from derive.emit import normal_tail
from derive.emit.numpy.comments import COMMENT_WIDTH
from derive.emit.numpy.flow import Flow, check_flow, flow_of, operands
from derive.emit.numpy.function import Function, Loop, Result, Writer, carry, fit, signature
from derive.emit.numpy.helpers import HELPERS, composed_helpers, helpers_for
from derive.emit.numpy.hoist import hoist
from derive.emit.numpy.names import Names
from derive.emit.numpy.pack import pack
from derive.emit.numpy.packed_params import PackedParams
from derive.emit.numpy.scan import scan
from derive.schedule import Schedule
from derive.symbolic import functions
from derive.symbolic.code import shortest, value_of


@dataclass(frozen=True, slots=True)
class Info:
    """What the head of the module says: lines of text.

    notes, gradient_notes: {array: the equation that stands above it}, forward and backward.
    """

    name: str
    doc: tuple[str, ...]
    equations: tuple[str, ...]
    schedule: tuple[str, ...]
    digest: str
    notes: Mapping[str, str]
    gradient_notes: Mapping[str, str]


def render_numpy(schedule: Schedule, info: Info) -> str:
    """The text of `generated/numpy/NAME.py`."""
    single_flow, forward_flow = flow_of(schedule.forward), flow_of(schedule.forward)
    backward_flow = flow_of(schedule.backward)
    given, given_back = (p.program.inputs for p in (schedule.forward, schedule.backward))
    check_flow(single_flow, given)
    taken = (*forward_flow.table, *backward_flow.table)
    backward_flow = check_flow(_fast(backward_flow, (), taken), given_back)
    forward_flow = check_flow(_fast(forward_flow, schedule.split.saved, taken), given)
    taken = (*given, *given_back, *taken, *forward_flow.table, *backward_flow.table)

    def writer(flow: Flow, notes: Mapping[str, str], packing: PackedParams | None = None) -> Writer:
        # Names of all functions of the module, so that its own are called the same in each.
        return Writer(schedule, flow, notes, Names(dict.fromkeys(taken)), packing)

    table = single_flow.table
    packing = PackedParams(table[name] for name in schedule.split.gradient.step.params)
    backward = writer(backward_flow, info.gradient_notes)
    forward = writer(forward_flow, info.notes, packing)
    single = writer(single_flow, info.notes)
    packed = Writer(schedule, forward_flow, info.notes, forward.names, packing)
    last = [backward_function(backward), step_function(single)]
    functions = [forward_function(forward, backward.states_asked), *last]
    if packing.made:
        functions.append(packed_step_function(packed))
        functions.insert(0, pack_function(forward, packed))
    mentions = [w.lines.mentions.own for w in (forward, backward, single, packed)]
    used = dict.fromkeys(name for names in (*mentions, packing.mentions.own) for name in names)
    own = forward.own
    helpers = (
        *(name for name in ("flat", "or_zeros", "across", "scan") if name in used),
        *helpers_for(name for name in used if name in HELPERS),
    )
    template = environment().get_template("numpy/cell.py.j2")
    return template.render(
        name=info.name,
        doc=[_quotable(line) for line in info.doc if line],
        equations=_wrapped(info.equations),
        schedule=info.schedule,
        digest=info.digest,
        own=own,
        ambiguous=any(w.has_ambiguous_names() for w in (forward, backward, single, packed)),
        import_as=f" as {own.np}",
        aliases=[f"{own.range} = range"] if own.range != "range" else [],
        helpers=helpers,
        composed=composed_helpers(helpers, forward.lines.syntax, own.Array),
        constants=CONSTANTS,
        tails=TAILS,
        functions=functions,
        public=[f"pack = {own.pack}"] if packing.made and own.pack != "pack" else [],
    )


def _fast(flow: Flow, kept: Iterable[str], taken: Iterable[str]) -> Flow:
    """With as little as possible in the loop, and that side by side."""
    taken = tuple(taken)
    flow = scan(flow, taken)
    taken = (*taken, *flow.table)
    hoisted = hoist(flow, taken)
    return pack(hoisted, kept, (*taken, *hoisted.table))


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
        ("leaky_slope", functions.LEAKY_SLOPE),
        ("selu_alpha", functions.SELU_ALPHA),
        ("selu_scale", functions.SELU_SCALE),
        ("density", 1 / sympy.sqrt(2 * sympy.pi)),
        ("exp_minus_80", sympy.exp(-80)),
    )
}
#: k and the coefficients of normal_tail in single and double precision.
TAILS: Mapping[str, tuple[str, ...]] = {
    name: tuple(shortest(value, np.float64) for value in tail.numbers)
    for name, tail in (("single", normal_tail.SINGLE), ("double", normal_tail.DOUBLE))
}


# --- forward --------------------------------------------------------------------------------


def forward_function(writer: Writer, states_asked: Iterable[str]) -> Function:
    split, step, flow = writer.schedule.split, writer.step, writer.flow
    lines, own, names = writer.lines, writer.own, writer.names
    once = writer.write_once()
    before = lines.write(flow.before, for_all=True)
    body = lines.write(flow.step, for_all=flow.scan is not None, indent=8 if flow.scan else 12)
    after = lines.write(flow.after, for_all=True)
    keys = writer.schedule.output_keys
    # Inside the loop everything that is returned is copied into memory of its own.
    if not flow.scan:
        writer.fresh |= set(writer.in_loop)
    writer.fresh -= set(split.saved)
    outputs = [(key, writer.masked(n)) for key, n in zip(keys, split.outputs, strict=True)]
    scanned = writer.scan(own.reverse, body)
    loads = writer.loads()
    allocate, store, written, body = writer.storage(body)
    saved, kept = _saved(writer)
    allocate_kept, store_kept = writer.memory(kept)
    for state, after_name in flow.carried:
        history = names.history(state)
        width = lines.shape(state)
        if state in split.histories and flow.scan:
            saved.append((state, history))
        elif state in split.histories:
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
        allocate=fit(allocate, 8),
        allocate_kept=fit(allocate_kept, 16),
        order=f"{own.range}({own.T} - 1, -1, -1) if {own.reverse} else {own.range}({own.T})",
        body=fit(loads + body, 12),
        freeze=fit(writer.freeze(flow.carried, written), 16),
        store=fit(store, 12),
        store_kept=fit(store_kept, 16),
        carry=fit(carry(flow.carried), 12),
    )
    places = {name: f'{own.inputs}["{name}"]' for name in step.inputs}
    states = [f'{name} = {own.states}["{name}"]' for name in step.states]
    unpack = [*writer.packs(), *writer.unpack(places, own.states), *writer.unpack_packed()]
    return Function(
        signature=signature(
            own,
            "forward",
            "TB",
            ("params", "inputs", "states"),
            3,
            f"{own.lengths}: {own.Array} | None = None",
            f"{own.reverse}: bool = False",
            f"{own.training}: bool = True",
            *([f"{own.packed}: {own.Arrays} | None = None"] if writer.packing_made else []),
        ),
        doc="All steps: outputs [T, B, width], last states [B, width], and what backward needs.",
        unpack=fit(unpack + states, 8),
        before=fit(writer.around(once) + writer.alive() + before + scanned, 8),
        loop=loop if (flow.step or flow.carried) and not flow.scan else None,
        after=fit(after, 8),
        clean=(),
        sums=(),
        results=(
            Result(own.outputs, tuple(outputs)),
            Result(own.last_states, tuple((n, f"{n}.copy()") for n in step.states)),
            Result(own.saved, tuple(saved), condition=own.training),
        ),
    )


def _saved(writer: Writer) -> tuple[list[tuple[str, str]], list[str]]:
    """What is kept for backward as (key, text), and what the loop must store for that alone."""
    lines, flow, stored = writer.lines, writer.flow, writer.stored()
    names = writer.schedule.split.saved
    packed = {
        name: (pack, k)
        for pack, members in flow.packs.items()
        if pack in writer.in_loop and set(members) <= set(names) - set(stored)
        for k, name in enumerate(members)
    }
    entries: list[tuple[str, str]] = []
    kept: dict[str, None] = {}
    lines.for_all = True
    for name in names:
        place, k = packed.get(name, (name, 0))
        text = lines.member(place, k, k + 1) if name in packed else lines.all(name)
        entries.append((name, text))
        if place in writer.in_loop and place not in stored:
            kept.setdefault(place)
    return entries, list(kept)


# --- backward -------------------------------------------------------------------------------


def backward_function(writer: Writer) -> Function:
    split, step, flow = writer.schedule.split, writer.step, writer.flow
    gradient = split.gradient
    lines, own = writer.lines, writer.own
    once = writer.write_once()
    before = lines.write(flow.before, for_all=True)
    body = lines.write(flow.step, for_all=flow.scan is not None, indent=8 if flow.scan else 12)
    after = lines.write(flow.after, for_all=True)
    sums = lines.write(flow.sums, for_all=True)
    clean = [
        writer.clean(n)
        for n in dict.fromkeys(n for total in flow.sums for n in operands(total))
        if flow.table[n].per_row
    ]
    sums += lines.write(flow.last, for_all=False)
    if not flow.scan:
        writer.fresh |= set(writer.in_loop)
    d_inputs = tuple((name, writer.masked(d_name)) for name, d_name in split.d_inputs)
    scanned = writer.scan(f"not {own.reverse}", body)
    loads = writer.loads()
    allocate, store, written, body = writer.storage(body)
    loop = Loop(
        allocate=fit(allocate, 8),
        allocate_kept=(),
        order=f"{own.range}({own.T}) if {own.reverse} else {own.range}({own.T} - 1, -1, -1)",
        body=fit(loads + body, 12),
        freeze=fit(writer.freeze(flow.carried, written), 16),
        store=fit(store, 12),
        store_kept=(),
        carry=fit(carry(flow.carried), 12),
    )
    places = _places(writer)
    carried = dict(zip(step.states, gradient.state_seeds, strict=True))
    first = [
        f'{seed} = {lines.own("or_zeros")}({own.d_states}["{state}"], '
        f"({own.B}, {lines.shape(seed)}), {lines.own('real')})"
        for state, seed in carried.items()
    ]
    unpack = writer.unpack(places, own.saved)
    d_params = tuple(
        (name, d_name if d_name in writer.fresh else f"{d_name}.copy()")
        for name, d_name in split.d_params
    )
    return Function(
        signature=signature(
            own,
            "backward",
            "TB",
            ("params", "inputs", "saved"),
            3,
            f"{own.lengths}: {own.Array} | None",
            f"{own.reverse}: bool",
            f"{own.d_outputs}: Mapping[str, {own.Array} | None]",
            f"{own.d_states}: Mapping[str, {own.Array} | None]",
        ),
        doc="Gradients of params, inputs and first states; a cotangent that is None is zero.",
        unpack=fit(unpack + first, 8),
        before=fit(writer.around(once) + writer.alive() + before + scanned, 8),
        loop=loop if (flow.step or flow.carried) and not flow.scan else None,
        after=fit(after, 8),
        clean=fit(clean, 12),
        sums=fit(sums, 8),
        results=(
            Result(own.d_params, d_params),
            Result(own.d_inputs, d_inputs),
            Result(own.d_initial, tuple((n, f"{seed}.copy()") for n, seed in carried.items())),
        ),
    )


def _places(writer: Writer) -> dict[str, str]:
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
            shape = f"({own.T}, {own.B}, {lines.shape(seed)})"
            given = f'{own.d_outputs}["{key}"]'
            places[seed] = f"{lines.own('or_zeros')}({given}, {shape}, {lines.own('real')})"
    return places


# --- one step -------------------------------------------------------------------------------


def step_function(writer: Writer) -> Function:
    body = writer.lines.write(writer.flow.works(), for_all=False, stacked=False)
    return _one_step(writer, "step", "One step: outputs and next states, both [B, width].", body)


def packed_step_function(writer: Writer) -> Function:
    """The lines of `forward` for one step. They ask for what `pack` makes."""
    lines, own, flow = writer.lines, writer.own, writer.flow
    once = writer.write_once()
    body = lines.write(flow.before, for_all=False)
    if flow.scan:
        body += writer.scanned_once()
    for name in flow.filled:
        body.append(f"{name} = {writer.empty(f'({own.B}, {lines.shape(name)})')}")
    body += lines.write((*flow.step, *flow.after), for_all=False)
    doc = "One step, as `step`, with what `pack` made of the parameters."
    return _one_step(writer, "packed_step", doc, [*writer.around(once), *body])


def _one_step(writer: Writer, name: str, doc: str, body: Iterable[str]) -> Function:
    split, step = writer.schedule.split, writer.step
    lines, own = writer.lines, writer.own
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
    unpack += writer.unpack_packed()
    unpack += [f'{n} = {own.inputs}["{n}"]' for n in step.inputs if n in mentioned]
    unpack += [f'{n} = {own.states}["{n}"]' for n in step.states if n in mentioned]
    arrays = ("params", "inputs", "states", *(["packed"] if writer.packing else []))
    return Function(
        signature=signature(own, name, "B", arrays, 2),
        doc=doc,
        unpack=fit(unpack, 8),
        before=fit(body, 8),
        loop=None,
        after=(),
        clean=(),
        sums=(),
        results=(Result(own.outputs, outputs), Result(own.next_states, states)),
    )


# --- parameters -----------------------------------------------------------------------------


def pack_function(writer: Writer, packed: Writer) -> Function:
    """What the lines of `forward` and `packed_step` asked for."""
    own, packing = writer.own, writer.packing
    assert packing is not None
    asked = {**writer.lines.mentions.shared, **packed.lines.mentions.shared}
    return Function(
        signature=signature(own, own.pack, "", ("params",), 1, f"{own.B}: int"),
        doc="What parameters alone determine: made once, it serves many calls of B rows.",
        unpack=fit(writer.unpack({}, own.states, packing.mentions), 8),
        before=fit(packing.lines(), 8),
        loop=None,
        after=(),
        clean=(),
        sums=(),
        results=(Result(own.packed, tuple((n, n) for n in packing.made if n in asked)),),
    )
