"""What the statements of a text say -> the declaration of a cell.

In: `Collected` statements, a name, and what is told of single symbols.  Out: a Declaration whose
places are those of the LaTeX; CellError where the equations make no cell.
Not here: right sides (translate.py), shapes (widths.py), the check of the declaration
(language/check_shapes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from derive.errors import CellError
from derive.language import names
from derive.language import tree as cell
from derive.language.declaration import Constant, Declaration, Declared, Definition, Output
from derive.papers import widths
from derive.papers.roles import Equation, Roles
from derive.papers.statements import Collected
from derive.papers.tokens import Text
from derive.papers.translate import Translator, delayed
from derive.papers.tree import symbols

#: Of several arrays that nothing reads, the one that papers put out.
_OUTPUTS = ("y", "h")
#: The step of a discretisation, one number, and its name where an array has it too.
_STEPS = ("dt", "dt_0")


@dataclass(frozen=True, slots=True)
class Assembly:
    name: str
    told: Mapping[str, str]
    found: Collected
    roles: Roles
    translator: Translator

    @property
    def text(self) -> Text:
        return self.found.text

    def declaration(self) -> Declaration:
        roles, translator = self.roles, self.translator
        at = self.text.place(0)
        if not self.found.equations:
            raise self.text.error("there is no equation in this text", 0, "h_t = \\tanh(W x_t)")
        definitions: list[Definition] = []
        for equation in list(self.found.equations):
            try:
                found = [self.defined(equation, k)
                         for k in range(len(equation.left))]  # fmt: skip
            except CellError as error:
                self.found.comment(equation.start, equation.end)
                self.found.errors.append(error)
                self.found.equations.remove(equation)
                self.found.failed |= {symbol.key for symbol in equation.left}
                continue
            definitions += found
        if not definitions:
            raise self.text.error("none of these equations could be read", 0)
        self.refuse_open()
        for equation in self.found.equations:
            for symbol in symbols(equation.right):
                if symbol.key in self.found.failed:
                    name = roles.name(symbol.key)
                    what = f"'{name}' is read here, and its equation was not understood"
                    raise self.text.error(what, symbol.at)
        definitions = _in_order(definitions)
        states = [roles.name(key) for key in roles.states()]
        delays, delayed_states = self.delays()
        inputs = [roles.name(key) for key in roles.inputs()]
        consts = self.constants(definitions)
        given = {
            name: dims[::-1] if name in translator.flipped else dims
            for key, dims in self.found.shaped.items()
            if dims and key not in self.found.consts
            for name in (roles.name(key),)
        }
        arrays = {roles.name(key) for key in roles.arrays}
        given |= {n: (1,) for n in _STEPS if n not in arrays}
        given |= {n: (1,) for n, meaning in self.told.items() if meaning == "scalar"}
        given |= {roles.name(k): (1,) for k, dims in self.found.shaped.items() if not dims}
        all_states = [*states, *delayed_states]
        every = [*definitions, *delays]
        if translator.printed and not delayed_states:
            used = {name.name for d in every for name in cell.names_of(d.expr)}
            printed = {roles.name(k): self.found.shaped[k] or (1,) for k in self.found.labelled}
            found_shapes = {n: s for n, s in printed.items() if n in {*inputs, *states, *used}}
        else:
            found_shapes = widths.shapes(
                every, inputs, states, [c.name for c in consts], given, delayed_states,
                translator.matrices(), translator.along,
            )  # fmt: skip
            self.refuse_sizes(given, found_shapes)
            self.mention_numbers(inputs, found_shapes)

        def declared(group: Iterable[str]) -> tuple[Declared, ...]:
            return tuple(Declared(n, found_shapes[n], at) for n in group)

        others = {*inputs, *all_states, *(d.target for d in every)}
        params = [n for n in found_shapes if n not in others]
        return Declaration(
            name=self.name,
            doc="",
            inputs=declared(inputs),
            states=declared(all_states),
            params=declared(params),
            consts=tuple(consts),
            definitions=tuple(every),
            outputs=tuple(self.outputs(definitions)),
            place=at,
        )

    def defined(self, equation: Equation, row: int) -> Definition:
        symbol = equation.left[row]
        name, state = self.roles.name(symbol.key), self.roles.is_state(symbol.key)
        value = self.translator.definition(equation, row)
        target = names.next_of(name) if state else name
        return Definition(target, value, self.text.place(symbol.at), state)

    def refuse_open(self) -> None:
        """An array that is read at the step before alone, and that no equation gives."""
        for equation in self.found.equations:
            for symbol in symbols(equation.right):
                key, name = symbol.key, self.roles.name(symbol.key)
                late = self.roles.is_input(key) and self.roles.shifts.get(key) == 1
                if late and key[0] != "x" and self.told.get(name) != "input":
                    raise self.text.error(
                        f"'{name}' is read at the step before, and no equation gives it",
                        symbol.at,
                        f"an equation {name}_t = ...,  or  --as {name}=input",
                    )

    def mention_numbers(self, inputs: Sequence[str], found: Mapping[str, widths.Shape]) -> None:
        """Inputs that are taken for one number a row, because they stand beside a matrix."""
        names = [n for n in inputs if found.get(n) == (1,) and self.told.get(n) != "scalar"]
        if names and self.translator.matrices():
            shown = ", ".join(names)
            self.translator.note(
                f"beside a matrix, {shown} {'is' if len(names) == 1 else 'are'} taken for one "
                f"number a row;  --as {names[-1]}=matrix  for another"
            )

    def refuse_sizes(
        self, given: Mapping[str, widths.Shape], found: Mapping[str, widths.Shape]
    ) -> None:
        """Two numbers that the paper prints for what is one width."""
        for name, dims in given.items():
            for printed, dim in zip(dims, found.get(name, ()), strict=False):
                numbers = isinstance(printed, int) and isinstance(dim, int)
                if numbers and printed != dim:
                    raise self.text.error(
                        f"'{name}' has width {printed}, and meets arrays of width {dim}",
                        self.found.shaped_at.get(name, 0),
                    )

    def delays(self) -> tuple[list[Definition], list[str]]:
        """States for what is read more than one step late."""
        found: list[Definition] = []
        states: list[str] = []
        for key, steps in self.translator.delays.items():
            source: cell.Node
            place = self.text.place(0)
            name = self.roles.name(key)
            source = cell.Name(name, place)
            for step in range(1, steps + 1):
                state = delayed(self.roles, key, step)
                found.append(Definition(names.next_of(state), source, place, True))
                states.append(state)
                source = cell.Name(state, place)
        return found, states

    def constants(self, definitions: Sequence[Definition]) -> list[Constant]:
        read_ = {name.name for d in definitions for name in cell.names_of(d.expr)}
        found = []
        for key, (symbol, value) in self.found.consts.items():
            name = self.roles.name(key)
            if name in read_:
                node = self.translator.vector(value)
                found.append(Constant(name, node, self.text.place(symbol.at)))
        for name, meaning in self.told.items():
            if name in read_ and meaning[0] in "-.0123456789":
                at = self.text.place(0)
                number: cell.Node = cell.Number(meaning.removeprefix("-"), at)
                number = cell.Negative(number, at) if meaning[0] == "-" else number
                found.append(Constant(name, number, at))
        return found

    def outputs(self, definitions: Sequence[Definition]) -> list[Output]:
        """What the text calls outputs; else what no definition reads, y or h if it is there."""
        roles, at = self.roles, self.text.place(0)
        if self.found.outputs:
            return [
                Output(names.next_of(name), at, True)
                if roles.is_state(key) and not before
                else Output(name, at)
                for key, before in self.found.outputs
                for name in (roles.name(key),)
            ]
        read_ = {
            name.name
            for d in definitions
            for name in cell.names_of(d.expr)
            if not (d.primed and name.name == d.target)
        }
        last = [d for d in definitions if d.target not in read_] or [definitions[-1]]
        usual = (d for name in _OUTPUTS for d in last if d.target.removesuffix(names.NEXT) == name)
        first = next(usual, None)
        return [Output(d.target, at, d.primed) for d in ([first] if first else last)]


def _in_order(definitions: Sequence[Definition]) -> list[Definition]:
    """Each definition behind those that it reads."""
    of = {d.target: d for d in definitions}
    done: dict[str, Definition] = {}
    doing: list[str] = []

    def visit(target: str) -> None:
        if target in done or target not in of:
            return
        if target in doing:
            circle = [*doing[doing.index(target) :], target]
            shown = " -> ".join(name.removesuffix(names.NEXT) for name in circle)
            raise CellError(
                "these equations define each other",
                place=of[target].place,
                facts=(shown,),
                hint="an index t-1 makes one of them the value of the step before",
            )
        doing.append(target)
        for name in cell.names_of(of[target].expr):
            visit(name.name)
        doing.pop()
        done[target] = of[target]

    for definition in definitions:
        visit(definition.target)
    return list(done.values())
