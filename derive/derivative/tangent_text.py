"""Declaration -> Declaration: a cell whose arrays have axes, and its directional derivative.

In: a Declaration without mistakes.  Out: one that says the tangent of every line as well.
Not here: the rules (tangent_rules.py), lines (tangent_lines.py); cells of vectors, whose tangent is
derived from their Step and written down (tangent.py).

    a = K @ concat(x, h) + b      t_a = t_K @ concat(x, h) + K @ concat(t_x, t_h) + t_b
    i, o = split(a, 2)            t_i, t_o = split(t_a, 2)

The equations of a Step are over parts of arrays, and positional. So the tangent is taken of what
the author wrote, whose arrays are whole and whose axes have names. It is checked against the
complex step of the Step (verification/second_order.py).

Fixed arrays have no tangent. That of an input that is given once is given once; that of a learned
start is the start of the state's tangent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from derive.derivative.tangent import tangent_names
from derive.derivative.tangent_lines import Lines
from derive.derivative.tangent_rules import rule_of
from derive.errors import Place
from derive.language.axes.check import shapes_of
from derive.language.declaration import Declaration, Declared, Definition, Output
from derive.language.names import next_of
from derive.language.tree import Name, Node, Part

_NOWHERE = Place("<tangent>", 1, 1, "")


def tangent_declaration(declaration: Declaration, name: str, doc: str) -> Declaration:
    return _Tangent(declaration).declaration(name, doc)


class _Tangent:
    """All values come first, then all tangents."""

    def __init__(self, declaration: Declaration) -> None:
        self.of = declaration
        shapes = shapes_of(declaration)
        self.scope = shapes.scope
        self.shapes = {name: tuple(w.dim for w in s) for name, s in shapes.known.items()}
        states = [state.name for state in declaration.states]
        pairs = [(state, next_of(state)) for state in states]
        self.names = tangent_names(pairs, shapes.known, self.scope.consts)
        fixed = {array.name for array in declaration.fixed}
        self.params = tuple(name for name in self.scope.params if name not in fixed)
        self.inputs = tuple(declared.name for declared in declaration.inputs)
        moving = {n: self.names[n] for n in (*self.params, *self.inputs, *states)}
        taken = (*shapes.known, *self.scope.consts, *self.names.values())
        self.lines = Lines(shapes, moving, taken, rule_of)

    def declaration(self, name: str, doc: str) -> Declaration:
        for group in _together(self.of.definitions):
            self.define(group)
        outputs = self.outputs()
        return Declaration(
            name=name,
            doc=doc,
            inputs=self.doubled(self.of.inputs),
            states=self.doubled(self.of.states),
            params=self.doubled(self.declared_params()),
            consts=self.of.consts,
            definitions=tuple(
                Definition(target, node, _NOWHERE, target in self.primed())
                for target, node in (*self.lines.values, *self.lines.tangents)
            ),
            outputs=outputs,
            place=_NOWHERE,
            fixed=self.of.fixed,
        )

    def declared_params(self) -> tuple[Declared, ...]:
        declared = {param.name: param for param in self.of.params}
        return tuple(
            replace(declared.get(n, Declared(n, None, _NOWHERE)), shape=self.shapes[n])
            for n in self.params
        )

    def doubled(self, group: Iterable[Declared]) -> tuple[Declared, ...]:
        """The arrays, and their tangents behind them. Only a state's tangent has a start."""
        group = tuple(group)
        return (*group, *(self.moved(declared) for declared in group))

    def moved(self, declared: Declared) -> Declared:
        start = declared.start
        learned = isinstance(start, Name) and start.name in self.params
        if learned and isinstance(start, Name):
            start = Name(self.names[start.name], _NOWHERE)
        return replace(declared, name=self.names[declared.name], start=start if learned else None)

    def outputs(self) -> tuple[Output, ...]:
        """An output that does not move has the tangent 0."""
        wanted = [output.name for output in self.of.outputs]
        for name in wanted:
            if name not in self.lines.moving:
                self.lines.move(name, self.names[name], None)
        names = (*wanted, *(self.lines.moving[name] for name in wanted))
        return tuple(Output(name, _NOWHERE, name in self.primed()) for name in names)

    def primed(self) -> set[str]:
        states = [state.name for state in self.of.states]
        return {next_of(name) for state in states for name in (state, self.names[state])}

    def define(self, group: tuple[Definition, ...]) -> None:
        """One definition, or all names of one split."""
        first = group[0]
        if len(group) > 1 and isinstance(first.expr, Part):
            of = self.lines.of(first.expr.array, first.target)
            for d in group:
                assert isinstance(d.expr, Part)
                self.lines.put(d.target, replace(d.expr, array=of.value))
            for d in group:
                assert isinstance(d.expr, Part)
                part = None if of.tangent is None else replace(d.expr, array=self.lines.whole(of))
                self.move(d.target, part)
            return
        of = self.lines.of(first.expr, first.target, root=True)
        self.lines.put(first.target, of.value)
        self.move(first.target, of.tangent)

    def move(self, target: str, tangent: Node | None) -> None:
        """An array that does not move needs no line, unless it is a next value."""
        after = {next_of(state.name) for state in self.of.states}
        if tangent is not None or target in after:
            self.lines.move(target, self.names[target], tangent)


def _together(definitions: tuple[Definition, ...]) -> Iterable[tuple[Definition, ...]]:
    """Definitions one by one, but the names of one split together."""
    at = 0
    while at < len(definitions):
        first, count = definitions[at].expr, 1
        if isinstance(first, Part) and first.index == 0:
            parts = [replace(first, index=k) for k in range(first.count)]
            if [d.expr for d in definitions[at : at + first.count]] == parts:
                count = first.count
        yield definitions[at : at + count]
        at += count
