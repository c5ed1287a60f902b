"""What each name of a cell stands for.

In: a Declaration.  Out: a Scope: the kind of every name, parameters in order, constants, and
every mistake that can be seen without shapes.
Not here: widths (shapes.py).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from derive import names, scalar
from derive.constants import MAX_EXPONENT, NotConstant, evaluate
from derive.declaration import Constant, Declaration, Declared, Definition, Output
from derive.errors import CellError, Place
from derive.expression import Binary, Call, Name, Node, Transpose, children, names_of, to_text


class Kind(enum.Enum):
    INPUT = "input"
    STATE = "state"
    PARAM = "param"
    CONST = "const"
    NEXT = "next value"
    DEFINITION = "definition"


@dataclass(frozen=True, slots=True)
class Use:
    """Where a parameter stood for the first time as a matrix, or as a vector."""

    text: str
    place: Place


@dataclass(slots=True)
class Scope:
    """What is known of the names; filled by `resolve`."""

    declaration: Declaration
    kinds: dict[str, Kind] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    params: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[str | int, ...]] = field(default_factory=dict)
    consts: dict[str, scalar.Expr] = field(default_factory=dict)
    matrix_uses: dict[str, Use] = field(default_factory=dict)
    vector_uses: dict[str, Use] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    errors: list[CellError] = field(default_factory=list)

    def is_matrix(self, name: str) -> bool:
        if name in self.shapes:
            return len(self.shapes[name]) == 2
        return name in self.matrix_uses

    def inferred(self) -> tuple[str, ...]:
        """Parameters that no line declares."""
        declared = {param.name for param in self.declaration.params}
        return tuple(name for name in self.params if name not in declared)

    def show(self, name: str) -> str:
        """A name as the author of `.cell` text spells it."""
        if self.kinds.get(name) is Kind.NEXT:
            return name.removesuffix(names.NEXT) + "'"
        return name

    def slips(self) -> Mapping[str, str]:
        """Parameters that stand once and are probably another name, misspelt."""
        known = [name for name in self.kinds if name not in self.inferred()]
        found = {}
        for name in self.inferred():
            near = names.slip(name, known) if self.uses.get(name, 0) == 1 else None
            if near is not None:
                found[name] = self.show(near)
        return found


def resolve(declaration: Declaration) -> Scope:
    scope = Scope(declaration)
    _declare(scope)
    _evaluate_consts(scope)
    later = _defined_names(scope)
    for definition in declaration.definitions:
        _Uses(scope, definition, later).visit(definition.expr)
        _define(scope, definition)
    _check_matrices(scope)
    _check_next_values(scope)
    _check_outputs(scope)
    return scope


# --- declarations ---------------------------------------------------------------------------


def _declare(scope: Scope) -> None:
    declaration = scope.declaration
    groups: tuple[tuple[Kind, tuple[Declared | Constant, ...]], ...] = (
        (Kind.INPUT, declaration.inputs),
        (Kind.STATE, declaration.states),
        (Kind.PARAM, declaration.params),
        (Kind.CONST, declaration.consts),
    )
    for kind, group in groups:
        for declared in group:
            if declared.name in scope.kinds:
                _declared_twice(scope, declared)
                continue
            scope.kinds[declared.name] = kind
            scope.places[declared.name] = declared.place
            if isinstance(declared, Declared) and declared.shape is not None:
                scope.shapes[declared.name] = declared.shape
            if kind is Kind.PARAM:
                scope.params.append(declared.name)
    for state in declaration.states:
        name = names.next_of(state.name)
        if name in scope.kinds and scope.kinds[name] is not Kind.NEXT:
            scope.errors.append(
                CellError(
                    f"'{name}' is the next value of state '{state.name}', and nothing else",
                    place=scope.places[name],
                    hint=f"another name, for example  {name}_",
                )
            )
        scope.kinds[name] = Kind.NEXT


def _declared_twice(scope: Scope, declared: Declared | Constant) -> None:
    first = scope.places[declared.name]
    kind = scope.kinds[declared.name].value
    scope.errors.append(
        CellError(
            f"'{declared.name}' is declared twice",
            place=declared.place,
            facts=(f"the first time as {kind}, on line {first.line}",),
            hint="every name stands for one thing; remove or rename one of them",
        )
    )


def _evaluate_consts(scope: Scope) -> None:
    failed = set()
    for const in scope.declaration.consts:
        try:
            scope.consts[const.name] = evaluate(const.expr, scope.consts)
        except CellError as error:
            scope.errors.append(error)
            failed.add(const.name)
        except NotConstant as stop:
            if stop.name.name not in failed:
                scope.errors.append(_not_a_const(scope, const, stop.name))
            failed.add(const.name)
        for name in names_of(const.expr):
            _count(scope, name.name)
    for name in failed:
        scope.consts.setdefault(name, scalar.ONE)


def _not_a_const(scope: Scope, const: Constant, name: Name) -> CellError:
    is_const = scope.kinds.get(name.name) is Kind.CONST
    facts = ()
    if is_const:
        facts = (f"{name.name} is given on line {scope.places[name.name].line}",)
    return CellError(
        f"'{scope.show(name.name)}' is no number and no earlier const",
        place=name.place,
        facts=facts,
        hint=None if is_const else f"{const.name} = {to_text(const.expr)}   without 'const'",
    )


def _count(scope: Scope, name: str) -> None:
    scope.uses[name] = scope.uses.get(name, 0) + 1


# --- definitions ----------------------------------------------------------------------------


def _defined_names(scope: Scope) -> dict[str, Place]:
    """Where each name is defined that a definition may define."""
    found: dict[str, Place] = {}
    for definition in scope.declaration.definitions:
        if scope.kinds.get(definition.target, Kind.NEXT) is Kind.NEXT:
            found.setdefault(definition.target, definition.place)
    return found


def _define(scope: Scope, definition: Definition) -> None:
    target = definition.target
    kind = scope.kinds.get(target)
    error: CellError | None = None
    if target in scope.places and kind in (Kind.NEXT, Kind.DEFINITION):
        error = CellError(
            f"'{scope.show(target)}' is defined twice",
            place=definition.place,
            facts=(f"the first time on line {scope.places[target].line}",),
            hint=f"{target}_2 = {to_text(definition.expr, scope.declaration.state_names)}"
            if kind is Kind.DEFINITION
            else None,
        )
    elif definition.primed and kind is not Kind.NEXT:
        error = _not_a_state(scope, target.removesuffix(names.NEXT), definition.place)
    elif kind is Kind.STATE:
        error = CellError(
            f"'{target}' is a state; what a line can define is its next value",
            place=definition.place,
            hint=f"{target}' = {to_text(definition.expr, scope.declaration.state_names)}",
        )
    elif kind in (Kind.INPUT, Kind.PARAM, Kind.CONST):
        declared_here = target in {param.name for param in scope.declaration.params}
        how = "is declared as" if kind is not Kind.PARAM or declared_here else "was used above as"
        error = CellError(
            f"'{target}' {how} {kind.value} and cannot be defined as well",
            place=definition.place,
            facts=(f"see line {scope.places[target].line}",),
            hint=f"{target}_2 = {to_text(definition.expr, scope.declaration.state_names)}",
        )
    if error is not None:
        scope.errors.append(error)
        scope.kinds.setdefault(target, Kind.DEFINITION)
        return
    scope.kinds.setdefault(target, Kind.DEFINITION)
    scope.places[target] = definition.place


def _not_a_state(scope: Scope, name: str, place: Place) -> CellError:
    states = [state.name for state in scope.declaration.states]
    near = names.closest(name, states) if len(name) > 1 else None
    return CellError(
        f"'{name}' is no state, so {name}' has no meaning",
        place=place,
        facts=(f"the states are {', '.join(states)}",) if states else ("there are no states",),
        hint=f"did you mean {near}'?" if near else f"state {name}: H",
    )


class _Uses:
    """The names on the right of one definition."""

    def __init__(self, scope: Scope, definition: Definition, later: Mapping[str, Place]) -> None:
        self.scope = scope
        self.definition = definition
        self.later = later

    def text(self, node: Node) -> str:
        return to_text(node, self.scope.declaration.state_names)

    def error(self, what: str, place: Place, *facts: str, hint: str | None = None) -> None:
        self.scope.errors.append(CellError(what, place=place, facts=facts, hint=hint))

    def visit(self, node: Node) -> None:
        try:
            evaluate(node, self.scope.consts)
        except NotConstant:
            self.visit_array(node)
        except CellError as error:
            self.scope.errors.append(error)
        else:
            for name in names_of(node):
                _count(self.scope, name.name)

    def visit_array(self, node: Node) -> None:
        if isinstance(node, Name):
            self.vector(node)
        elif isinstance(node, Transpose):
            self.error(
                f"the matrix '{self.text(node)}' stands where a vector should",
                node.place,
                hint=f"{self.text(node)} @ v",
            )
        elif isinstance(node, Binary) and node.operator == "@":
            self.product(node)
        elif isinstance(node, Binary) and node.operator == "**":
            self.visit(node.left)
            self.exponent(node)
        elif isinstance(node, Call) and node.function == "clip":
            self.visit(node.args[0])
            self.bounds(node)
        else:
            for child in children(node):
                self.visit(child)

    def product(self, node: Binary) -> None:
        matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
        if isinstance(matrix, Name):
            self.matrix(matrix, node)
        else:
            self.no_matrix(node)
        self.visit(node.right)

    def matrix(self, name: Name, node: Binary) -> None:
        scope = self.scope
        if self.unreadable(name):
            return
        kind = scope.kinds.get(name.name, Kind.PARAM)
        if kind is not Kind.PARAM:
            self.error(
                f"'{scope.show(name.name)}' stands left of @ and is no matrix",
                name.place,
                f"{scope.show(name.name)} is a {kind.value}; a matrix is always a parameter",
                hint=f"{scope.show(name.name)} * {self.text(node.right)}"
                if isinstance(node.right, (Name, Call))
                else None,
            )
            _count(scope, name.name)
            return
        self.parameter(name)
        scope.matrix_uses.setdefault(name.name, Use(self.text(node), name.place))

    def vector(self, name: Name) -> None:
        scope = self.scope
        if self.unreadable(name):
            return
        if scope.kinds.get(name.name, Kind.PARAM) is Kind.PARAM:
            self.parameter(name)
            use = Use(self.text(self.definition.expr), name.place)
            scope.vector_uses.setdefault(name.name, use)
        else:
            _count(scope, name.name)

    def parameter(self, name: Name) -> None:
        _count(self.scope, name.name)
        if name.name not in self.scope.kinds:
            self.scope.kinds[name.name] = Kind.PARAM
            self.scope.places[name.name] = name.place
            self.scope.params.append(name.name)

    def unreadable(self, name: Name) -> bool:
        """Reports a name that has no value on this line; a parameter always has one."""
        scope = self.scope
        kind = scope.kinds.get(name.name)
        if name.primed and kind is not Kind.NEXT:
            scope.errors.append(_not_a_state(scope, name.name.removesuffix("_next"), name.place))
            return True
        if name.name in self.later and name.name not in scope.places:
            _count(scope, name.name)
            self.undefined(name, kind)
            return True
        # A next value that no line defines is reported once, with its state.
        return kind is Kind.NEXT and name.name not in scope.places

    def undefined(self, name: Name, kind: Kind | None) -> None:
        shown = self.scope.show(name.name)
        where = self.later[name.name].line
        if name.name == self.definition.target:
            what = f"'{shown}' is defined by itself"
            previous = name.name.removesuffix(names.NEXT)
            hint = f"{previous}   is its previous value" if kind is Kind.NEXT else (
                f"state {shown}: H   if it is to remember its previous value"
            )
            self.error(what, name.place, hint=hint)
        else:
            self.error(
                f"'{shown}' is used before it is defined",
                name.place,
                f"it is defined on line {where}",
                hint=f"move line {where} up",
            )

    def no_matrix(self, node: Binary) -> None:
        """The left of @ is computed. Most often an operator binds other than it looks."""
        left, right = node.left, self.text(node.right)
        hint = "only a parameter is a matrix"
        if isinstance(left, Binary) and left.operator == "@":
            hint = f"{self.text(left.left)} @ ({self.text(left.right)} @ {right})"
        elif isinstance(left, Binary) and left.operator in "*/" and _may_be_matrix(left.right):
            factor = self.text(left.left)
            hint = f"{factor} {left.operator} ({self.text(left.right)} @ {right})"
        elif isinstance(left, Binary) and left.operator in "+-":
            hint = f"{self.text(left.left)} @ {right} {left.operator} "
            hint += f"{self.text(left.right)} @ {right}"
        elif not isinstance(left, (Binary, Call)):
            inner = children(left)
            hint = f"-({self.text(inner[0])} @ {right})" if inner else hint
        self.error(
            f"'{self.text(left)}' stands left of @ and is no matrix",
            left.place,
            "@ takes a parameter on its left and a vector on its right; "
            "it binds as tightly as *, from left to right",
            hint=hint,
        )

    def exponent(self, node: Binary) -> None:
        value = self.constant(
            node.right,
            f"the exponent of '{self.text(node)}' is no constant",
            f"exp({self.text(node.right)} * log({self.text(node.left)}))",
        )
        if value is not None and abs(value) > MAX_EXPONENT:  # type: ignore[operator]
            self.error(f"an exponent above {MAX_EXPONENT} is too large", node.right.place)

    def bounds(self, node: Call) -> None:
        v, low, high = (self.text(arg) for arg in node.args)
        hint = f"maximum({low}, minimum({v}, {high}))"
        what = "a bound of 'clip' is no constant"
        bounds = [self.constant(arg, what, hint) for arg in node.args[1:]]
        if None not in bounds and bounds[0] > bounds[1]:  # type: ignore[operator]
            self.error(
                "the lower bound of 'clip' lies above the upper one",
                node.args[1].place,
                hint=f"clip({v}, {high}, {low})",
            )

    def constant(self, node: Node, what: str, hint: str) -> scalar.Expr | None:
        for name in names_of(node):
            if name.name in self.scope.consts:
                _count(self.scope, name.name)
        try:
            return evaluate(node, self.scope.consts)
        except NotConstant as stop:
            self.error(what, stop.name.place, hint=hint)
        except CellError as error:
            self.scope.errors.append(error)
        return None


def _may_be_matrix(node: Node) -> bool:
    return isinstance(node, (Name, Transpose))


# --- afterwards -----------------------------------------------------------------------------


def _check_matrices(scope: Scope) -> None:
    """A parameter is a matrix everywhere or a vector everywhere."""
    for name in scope.params:
        shape = scope.shapes.get(name)
        matrix, vector = scope.matrix_uses.get(name), scope.vector_uses.get(name)
        if vector is not None and (len(shape) == 2 if shape is not None else matrix is not None):
            fact = f"'{matrix.text}' on line {matrix.place.line}" if matrix else ""
            if shape is not None:
                fact = f"{name} is {show_shape(shape)}, declared on line {scope.places[name].line}"
            elif matrix is not None:
                fact = f"{name} is a matrix in '{matrix.text}' on line {matrix.place.line}"
            scope.errors.append(
                CellError(
                    f"the matrix '{name}' stands where a vector should",
                    place=vector.place,
                    facts=(fact,),
                    hint=f"{name} @ v",
                )
            )
        elif matrix is not None and shape is not None and len(shape) == 1:
            scope.errors.append(
                CellError(
                    f"the vector '{name}' stands left of @ and is no matrix",
                    place=matrix.place,
                    facts=(
                        f"{name} has width {shape[0]}, declared on line {scope.places[name].line}",
                    ),
                    hint=f"param {name}: {shape[0]} x {shape[0]}",
                )
            )


def show_shape(shape: tuple[str | int, ...]) -> str:
    return " x ".join(map(str, shape))


def _check_next_values(scope: Scope) -> None:
    for state in scope.declaration.states:
        name = names.next_of(state.name)
        if name not in scope.places:
            scope.errors.append(
                CellError(
                    f"state '{state.name}' has no next value",
                    place=state.place,
                    hint=f"{state.name}' = ...",
                )
            )


def _check_outputs(scope: Scope) -> None:
    seen: set[str] = set()
    for output in scope.declaration.outputs:
        error = _output_fault(scope, output, seen)
        if error is not None:
            scope.errors.append(error)
        seen.add(output.name)
        _count(scope, output.name)
    if not scope.declaration.outputs:
        first = scope.declaration.states or scope.declaration.definitions
        if scope.declaration.states:
            hint = f"output {scope.declaration.states[0].name}'"
        elif first:
            hint = f"output {scope.declaration.definitions[-1].target}"
        else:
            hint = "output h'"
        scope.errors.append(
            CellError("the cell has no output", place=scope.declaration.place, hint=hint)
        )


def _output_fault(scope: Scope, output: Output, seen: set[str]) -> CellError | None:
    name, kind = output.name, scope.kinds.get(output.name)
    shown = f"{name.removesuffix(names.NEXT)}'" if output.primed else scope.show(name)
    if kind is None and output.primed:
        return _not_a_state(scope, name.removesuffix(names.NEXT), output.place)
    if kind is None:
        near = names.closest(name, map(scope.show, scope.kinds))
        return CellError(
            f"output '{shown}' is neither declared nor defined",
            place=output.place,
            hint=f"did you mean '{near}'?" if near else f"{shown} = ...",
        )
    if name in seen:
        return CellError(f"'{shown}' is an output twice", place=output.place, hint="name it once")
    if kind is Kind.CONST or scope.is_matrix(name):
        what = "const" if kind is Kind.CONST else "matrix"
        return CellError(
            f"the {what} '{shown}' cannot be an output",
            place=output.place,
            facts=("an output is a vector: one for every row and time step",),
            hint=f"y = {shown} * v" if kind is Kind.CONST else f"y = {shown} @ v",
        )
    return None
