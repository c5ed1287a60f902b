"""Schedule -> the functions of a cell: one step, forward and backward over a window.

In: a Schedule and its Names.  Out: bodies of functions, and the members of the tape.
Not here: loops over units (lines.py), layout (templates/mcu).

What each pass keeps where:

| array             | step                     | forward        | backward       |
| ----------------- | ------------------------ | -------------- | -------------- |
| a state           | s->h                     | tape->h[t]     | tape->h[t]     |
| its next value    | in place, or the output  | tape->h[t + 1] | tape->h[t + 1] |
| of parameters     | prepared->U_hat          | the same       | the same       |
| what is saved     | a register               | tape->i[t]     | tape->i[t]     |
| d_ of a state     |                          |                | d_s->h         |
| d_ of a parameter |                          |                | added to d_p   |

Where a state's next value, or the cotangent of its previous one, cannot be written where the old
one is still read, it goes into a local array, and from there at the end of the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from derive.emit.mcu.lines import (
    Element,
    Place,
    Write,
    Writer,
    element_of,
    fitted,
    indented,
)
from derive.emit.mcu.names import Names
from derive.emit.mcu.nests import Nests, nests_of
from derive.emit.mcu.numbers import Lines, Numbers
from derive.emit.mcu.prepared import prepared, preparing
from derive.program import Array, Map, Namer, Program, Step, check, prune
from derive.schedule import Phase, Plan, Schedule
from derive.schedule.schedule import plan
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class TapeMember:
    """An array of the tape. extra: steps besides those of the window."""

    name: str
    array: str
    extra: int


@dataclass(frozen=True, slots=True)
class Tape:
    """outputs: {key: (member, steps by which it lies behind)}."""

    members: tuple[TapeMember, ...]
    saved: Mapping[str, str]
    histories: Mapping[str, str]
    outputs: Mapping[str, tuple[str, int]]
    own_outputs: Mapping[str, str]


def tape_of(schedule: Schedule, names: Names) -> Tape:
    split = schedule.split
    step = split.gradient.step
    namer = Namer(())
    after = dict(zip(step.next_states, step.states, strict=True))
    saved = {name: namer(names.words.locals[name]) for name in split.saved}
    histories = {name: namer(names.states[name]) for name in split.histories}
    members = [TapeMember(text, name, 0) for name, text in saved.items()]
    members += [TapeMember(text, name, 1) for name, text in histories.items()]
    outputs: dict[str, tuple[str, int]] = {}
    own: dict[str, str] = {}
    for key, plain, name in zip(schedule.output_keys, step.outputs, split.outputs, strict=True):
        if name in saved:
            outputs[key] = saved[name], 0
        elif after.get(name) in histories:
            outputs[key] = histories[after[name]], 1
        elif plain in histories:
            outputs[key] = histories[plain], 0
        else:
            if name not in own:
                own[name] = namer(names.outputs[key])
                members.append(TapeMember(own[name], name, 0))
            outputs[key] = own[name], 0
    return Tape(tuple(members), saved, histories, outputs, own)


class Passes:
    def __init__(
        self, schedule: Schedule, names: Names, notes: Mapping[str, str],
        gradient_notes: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.schedule = schedule
        self.split = schedule.split
        self.names = names
        self.notes = notes
        self.gradient_notes = gradient_notes
        self.tape = tape_of(schedule, names)
        self.cell_step = self.split.gradient.step

    # --- places ---------------------------------------------------------------------------------

    def _params(self, pointer: str) -> dict[str, Element]:
        return param_elements(self.names, pointer)

    def _given(self) -> dict[str, Place]:
        params = self._params(self.names.own["p"])
        ready = self.names.own.get("prepared", "")
        return {name: Place(element) for name, element in params.items()} | {
            name: Place(element_of(f"{ready}->{text}"))
            for name, text in self.names.prepared.items()
        }

    def _prepared(self, program: Program) -> Program:
        """With what a caller keeps given from outside."""
        return prepared(program, self.split.forward, self.names.prepared)

    def prepare(self) -> Lines:
        """What depends on parameters alone; no lines where nothing does."""
        names = self.names
        if not names.prepared:
            return []
        made = plan(preparing(self.split.forward, names.prepared), (), hoist=False)
        params = self._params(names.own["p"])
        given = {name: Place(element) for name, element in params.items()}
        build = _Function(made, names, self.notes, given)
        build.results = set(names.prepared)
        build.split(before=(Phase.ONCE,), each=(Phase.STEP, Phase.AFTER))
        for name, text in names.prepared.items():
            base = f"{names.own['prepared']}->{text}"
            build.write(name, [Write(base, element_of(base))])
        return build.lines()

    def _inputs(self, at: str) -> dict[str, Place]:
        return {name: Place(element_of(f"{text}{at}")) for name, text in self.names.inputs.items()}

    # --- one step -------------------------------------------------------------------------------

    def step(self) -> Lines:
        split = self.split
        return step_lines(
            replace(
                self.cell_step, program=self._prepared(split.forward), outputs=split.outputs
            ),
            self.schedule.output_keys, self.names, self.notes, self._given() | self._inputs(""),
        )  # fmt: skip

    # --- a window -------------------------------------------------------------------------------

    def forward(self) -> Lines:
        names, split, step, tape = self.names, self.split, self.cell_step, self.tape
        own_outputs = tuple(tape.own_outputs)
        program, renamed = with_results(
            self._prepared(split.forward), (*step.next_states, *own_outputs, *split.saved)
        )
        nexts = [renamed[name] for name in step.next_states]
        made = plan(program, tuple(zip(step.states, nexts, strict=True)), nexts, hoist=False)
        t, s, on_tape = names.time, names.own["s"], names.own["tape"]
        build = _Function(made, names, self.notes, self._given() | self._inputs(f"[{t}]"))
        build.results = {renamed[name] for name in (*step.next_states, *own_outputs, *split.saved)}
        build.split(before=(Phase.ONCE,), each=(Phase.STEP, Phase.AFTER))
        for name, text in (*tape.saved.items(), *tape.own_outputs.items()):
            base = f"{on_tape}->{text}[{t}]"
            build.write(renamed[name], [Write(base, element_of(base))])
        first: Lines = []
        last: Lines = []
        for state, after in zip(step.states, nexts, strict=True):
            own = f"{s}->{names.states[state]}"
            if state not in tape.histories:
                build.carry(state, after, own, ())
                continue
            base = f"{on_tape}->{tape.histories[state]}"
            build.places[state] = Place(element_of(f"{base}[{t}]"))
            build.write(after, [Write(f"{base}[{t} + 1]", element_of(f"{base}[{t} + 1]"))])
            first.append(f"memcpy({base}[0], {own}, sizeof {own});")
            last.append(f"memcpy({own}, {base}[{names.own['steps']}], sizeof {own});")
        loop = f"for (int {t} = 0; {t} < {names.own['steps']}; ++{t}) {{"
        return build.lines(first=first, loop=loop, last=last)

    def backward(self) -> Lines:
        names, split, step, tape = self.names, self.split, self.cell_step, self.tape
        gradient = split.gradient
        d_params = dict(split.d_params)
        d_inputs = dict(split.d_inputs)
        wanted = (*d_params.values(), *d_inputs.values(), *gradient.d_states)
        program, renamed = with_results(
            self._prepared(split.backward), wanted, unread=(*d_params.values(), *d_inputs.values())
        )
        results = [renamed[name] for name in gradient.d_states]
        made = plan(program, tuple(zip(gradient.state_seeds, results, strict=True)), hoist=False)
        t, on_tape = names.time, names.own["tape"]
        build = _Function(made, names, self.gradient_notes, self._given() | self._inputs(f"[{t}]"))
        build.results = {renamed[name] for name in wanted}
        for name, text in tape.saved.items():
            build.places[name] = Place(element_of(f"{on_tape}->{text}[{t}]"))
        for state, after in zip(step.states, step.next_states, strict=True):
            if state in tape.histories:
                base = f"{on_tape}->{tape.histories[state]}"
                build.places[state] = Place(element_of(f"{base}[{t}]"))
                build.places[after] = Place(element_of(f"{base}[{t} + 1]"))
        for key, seed in zip(self.schedule.output_keys, gradient.output_seeds, strict=True):
            text = names.d_outputs[key]
            build.places[seed] = Place(element_of(f"{text}[{t}]"), guard=f"{text} != NULL")
        build.split(before=(Phase.ONCE,), each=(Phase.STEP, Phase.AFTER), after=(Phase.LAST,))
        writes: dict[str, list[Write]] = {}
        elements = self._params(names.own["d_p"])
        for name, cotangent in d_params.items():
            writes.setdefault(renamed[cotangent], []).append(Write("", elements[name], adds=True))
        for name, cotangent in d_inputs.items():
            text = names.d_inputs[name]
            base = f"{text}[{t}]"
            writes.setdefault(renamed[cotangent], []).append(
                Write(base, element_of(base), guard=f"{text} != NULL")
            )
        d_s = names.own["d_s"]
        for state, seed, after in zip(step.states, gradient.state_seeds, results, strict=True):
            build.carry(seed, after, f"{d_s}->{names.states[state]}", writes.pop(after, ()))
        for name, own in writes.items():
            build.write(name, own)
        loop = f"for (int {t} = {names.own['steps']} - 1; {t} >= 0; --{t}) {{"
        return build.lines(loop=loop)


def param_elements(names: Names, pointer: str) -> dict[str, Element]:
    """Elements of the parameters in the structure that `pointer` points to."""
    found: dict[str, Element] = {}
    for member, text in names.members:
        base = f"{pointer}->{text}"
        for k, name in enumerate(member.params):
            found[name] = stacked(base, member.axis, k)
    return found


def step_lines(
    step: Step, keys: Sequence[str], names: Names, notes: Mapping[str, str],
    given: Mapping[str, Place], numbers: Numbers | None = None,
) -> Lines:  # fmt: skip
    """The body of a function that runs one step. given: where parameters and inputs lie."""
    program, renamed = with_results(step.program, (*step.next_states, *step.outputs))
    nexts = [renamed[name] for name in step.next_states]
    outs = [renamed[name] for name in step.outputs]
    made = plan(program, tuple(zip(step.states, nexts, strict=True)), nexts, hoist=False)
    build = _Function(made, names, notes, given, numbers)
    build.results = {*nexts, *outs}
    build.split(before=(Phase.ONCE,), each=(Phase.STEP, Phase.AFTER))
    writes: dict[str, list[Write]] = {}
    for key, name in zip(keys, outs, strict=True):
        text = names.outputs[key]
        count = f"sizeof({build.real}{names.brackets(made.program.table()[name].shape)})"
        writes.setdefault(name, []).append(Write(text, element_of(text), bytes=count))
    s = names.own["s"]
    for state, after in zip(step.states, nexts, strict=True):
        build.carry(state, after, f"{s}->{names.states[state]}", writes.get(after, ()))
    for name, own in writes.items():
        build.write(name, own)
    return build.lines()


def stacked(base: str, axis: int | None, k: int) -> Element:
    def element(indices: Sequence[str]) -> str:
        at = list(indices)
        if axis is not None:
            at.insert(axis, str(k))
        return base + "".join(f"[{index}]" for index in at)

    return element


def with_results(
    program: Program, wanted: Iterable[str], unread: Iterable[str] = ()
) -> tuple[Program, dict[str, str]]:
    """The program of these results, each an array of its own that belongs to a row, and what they
    are called in it.

    A copy is made of a result that is given, that all rows share, or, of `unread`, that is read as
    well: those have places that are written to only."""
    table = program.table()
    read = {name for equation in program.equations for name in equation.operands}
    unread = set(unread)
    namer = Namer(table)
    arrays = list(program.arrays)
    equations = list(program.equations)
    renamed: dict[str, str] = {}
    for name in dict.fromkeys(wanted):
        renamed[name] = name
        shared = not table[name].per_row and name not in unread
        if name in program.inputs or shared or (name in unread and name in read):
            copy = namer(f"{name}_result")
            per_row = table[name].per_row or name not in unread
            arrays.append(Array(copy, table[name].shape, per_row))
            equations.append(Map(copy, functions.symbol(name)))
            renamed[name] = copy
    outputs = tuple(dict.fromkeys(renamed.values()))
    made = Program(tuple(arrays), program.inputs, tuple(equations), outputs)
    return check(prune(made)), renamed


class _Function:
    """A function in the making: what runs before, in and after its loop, and where arrays lie."""

    def __init__(
        self, made: Plan, names: Names, notes: Mapping[str, str], places: Mapping[str, Place],
        numbers: Numbers | None = None,
    ) -> None:  # fmt: skip
        self.plan = made
        self.numbers = numbers
        self.real = "float" if numbers is None else numbers.real
        self.names = names
        self.notes = notes
        self.places = dict(places)
        self.results: set[str] = set()
        self.copies: Lines = []
        self.inner: Lines = []
        self.outer: Lines = []

    def split(
        self, before: Sequence[Phase], each: Sequence[Phase], after: Sequence[Phase] = ()
    ) -> None:
        def read(*parts: Nests) -> set[str]:
            items = ((part, item) for part in parts for item in part.items)
            return {access.name for part, item in items for access in part.reads(item)}

        def made(phases: Sequence[Phase], wanted: set[str]) -> Nests:
            return nests_of(self.plan, phases, wanted, registers=self.numbers is not None)

        self.last = made(after, self.results)
        self.each = made(each, self.results | read(self.last))
        self.once = made(before, self.results | read(self.each, self.last))

    def write(self, name: str, writes: Sequence[Write]) -> None:
        element = None if any(w.guard or w.adds for w in writes) else writes[0].element
        known = self.places.get(name)
        own = known.writes if known else ()
        if own and known is not None:
            element = known.element
        bases = {w.base for w in own if w.base}
        more = tuple(w for w in writes if not w.base or w.base not in bases)
        self.places[name] = Place(element, (*own, *more))

    def carry(self, before: str, after: str, base: str, others: Sequence[Write]) -> None:
        """The next value of what a loop carries: in place where it can be, else in another place
        that it is written to anyway, else in a local array."""
        self.places[before] = Place(element_of(base))
        own = Write(base, element_of(base))
        if self.each.fits_in_place(before, after) and self._alone(after):
            self.write(after, [own, *others])
            return
        whole = [w for w in others if not (w.guard or w.adds)]
        if not whole and after not in self.places:
            local = self._local(after)
            whole = [Write(local, element_of(local))]
            others = [*whole, *others]
        elif not whole:
            whole = list(self.places[after].writes[:1])
        self.write(after, [*others])
        self.copies.append(f"memcpy({base}, {whole[0].base}, sizeof {base});")

    def _alone(self, after: str) -> bool:
        """Whether one state only takes this value: another's place may be read for longer."""
        return sum(name == after for _, name in self.plan.carried) == 1

    def _local(self, name: str, *, outside: bool = False) -> str:
        text = self.names.local_array(name)
        brackets = self.names.brackets(self.plan.program.table()[name].shape)
        (self.outer if outside else self.inner).append(f"{self.real} {text}{brackets};")
        return text

    def _place_rest(self) -> Lines:
        """Local arrays for what has no place yet; sums over all steps begin with zero."""
        zeroed: Lines = []
        for part in (self.once, self.each, self.last):
            for name in sorted(part.in_memory, key=self._position):
                if name in self.places:
                    continue
                summed = part.is_summed(name)
                text = self._local(name, outside=part is not self.each or summed)
                self.places[name] = Place(element_of(text), (Write(text, element_of(text)),))
                if summed:
                    zeroed.append(f"memset({text}, 0, sizeof {text});")
        return zeroed

    def _position(self, name: str) -> int:
        return [array.name for array in self.plan.program.arrays].index(name)

    def lines(self, first: Sequence[str] = (), loop: str = "", last: Sequence[str] = ()) -> Lines:
        zeroed = self._place_rest()
        writer = Writer(self.plan, self.names.words, self.places, self.notes, self.numbers)
        each = [*writer.lines(self.each), *self.copies]
        if loop:
            each = [loop, *indented([*self.inner, *each]), "}"]
            self.inner = []
        parts = [
            *self.outer, *self.inner, *zeroed, *first, *writer.lines(self.once), *each,
            *writer.lines(self.last), *last,
        ]  # fmt: skip
        return fitted(indented(parts))
