"""Declaration -> Scope: what every name stands for, and every mistake seen without shapes.

In: a Declaration.  Out: a Scope.
Not here: the right sides, name by name (resolve_uses.py); widths (check_shapes.py).
"""

from __future__ import annotations

from derive.errors import CellError, Place
from derive.language import names
from derive.language.constants import NotConstant, evaluate
from derive.language.declaration import Constant, Declaration, Declared, Definition, Output
from derive.language.resolve_uses import Uses
from derive.language.scope import Kind, Scope, not_a_state, show_shape
from derive.language.tree import Name, names_of, quote
from derive.symbolic import functions


def resolve(declaration: Declaration, uses: type[Uses] = Uses) -> Scope:
    """Every name of the cell, and in `errors` all that is wrong with them.

    uses: what is made of the names on the right of a definition.
    """
    scope = Scope(declaration)
    _declare(scope)
    _evaluate_consts(scope)
    later = _defined_names(scope)
    _starts(scope, later)
    for definition in declaration.definitions:
        uses(scope, definition, later).visit(definition.expr)
        _define(scope, definition)
    if uses is Uses:
        _check_matrices(scope)
    _check_next_values(scope)
    _check_outputs(scope)
    scope.find_slips()
    return scope


# --- declarations ---------------------------------------------------------------------------


def _declare(scope: Scope) -> None:
    declaration = scope.declaration
    groups: tuple[tuple[Kind, tuple[Declared | Constant, ...]], ...] = (
        (Kind.INPUT, declaration.inputs),
        (Kind.STATE, declaration.states),
        (Kind.PARAM, (*declaration.params, *declaration.fixed)),
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
            scope.report(
                f"'{name}' is the next value of state '{state.name}', and nothing else",
                scope.places.pop(name),
                hint=f"another name, for example  {name}_",
            )
        scope.kinds[name] = Kind.NEXT


def _starts(scope: Scope, later: dict[str, Place]) -> None:
    """A name that a state starts from is a parameter, of the shape of the state."""
    for state in scope.declaration.states:
        start = state.start
        if not isinstance(start, Name):
            continue
        if start.name not in scope.kinds and start.name not in later:
            scope.kinds[start.name] = Kind.PARAM
            scope.places[start.name] = start.place
            scope.params.append(start.name)
            if state.shape is not None:
                scope.shapes[start.name] = state.shape
        scope.count(start.name)


def _declared_twice(scope: Scope, declared: Declared | Constant) -> None:
    name = declared.name
    scope.report(
        f"'{name}' is declared twice",
        declared.place,
        f"the first time as {scope.kinds[name]}, on line {scope.places[name].line}",
        hint="every name stands for one thing; remove or rename one of them",
    )


def _evaluate_consts(scope: Scope) -> None:
    failed: list[str] = []
    for const in scope.declaration.consts:
        try:
            scope.consts[const.name] = evaluate(const.expr, scope.consts)
        except CellError as error:
            scope.errors.append(error)
            failed.append(const.name)
        except NotConstant as stop:
            if stop.name.name not in failed:
                scope.errors.append(_not_a_const(scope, const, stop.name))
            failed.append(const.name)
        for part in names_of(const.expr):
            scope.count(part.name)
    for name in failed:
        scope.consts.setdefault(name, functions.ONE)


def _not_a_const(scope: Scope, const: Constant, name: Name) -> CellError:
    is_const = scope.kinds.get(name.name) is Kind.CONST
    facts: tuple[str, ...] = ()
    if is_const:
        facts = (f"{name.name} is given on line {scope.places[name.name].line}",)
    hint = f"{const.name} = {scope.text(const.expr)}   without 'const'"
    if name.name == "pi" and not is_const:
        hint = names.PI
    return CellError(
        f"{quote(scope.show(name.name))} is no number and no earlier const",
        place=name.place,
        facts=facts,
        hint=None if is_const else hint,
    )


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
    error = _definition_fault(scope, definition, kind)
    scope.kinds.setdefault(target, Kind.DEFINITION)
    if error is None:
        scope.places[target] = definition.place
    else:
        scope.errors.append(error)


def _definition_fault(scope: Scope, definition: Definition, kind: Kind | None) -> CellError | None:
    target, place = definition.target, definition.place
    renamed = f"{target}_2 = {scope.text(definition.expr)}"
    if target in scope.places and kind in (Kind.NEXT, Kind.DEFINITION):
        return CellError(
            f"{quote(scope.show(target))} is defined twice",
            place=place,
            facts=(f"the first time on line {scope.places[target].line}",),
            hint=renamed if kind is Kind.DEFINITION else "a state has one next value",
        )
    if definition.primed and kind is not Kind.NEXT:
        return not_a_state(scope, target.removesuffix(names.NEXT), place)
    if kind is Kind.STATE:
        return CellError(
            f"'{target}' is a state; what a line can define is its next value",
            place=place,
            hint=f"{target}' = {scope.text(definition.expr)}",
        )
    if kind in (Kind.INPUT, Kind.PARAM, Kind.CONST):
        return CellError(
            f"'{target}' is {kind} and cannot be defined as well",
            place=place,
            facts=(f"see line {scope.places[target].line}",),
            hint=renamed,
        )
    return None


# --- afterwards -----------------------------------------------------------------------------


def _check_matrices(scope: Scope) -> None:
    """A parameter is a matrix everywhere or a vector everywhere."""
    for name in scope.params:
        shape = scope.shapes.get(name)
        matrix, vector = scope.matrix_uses.get(name), scope.vector_uses.get(name)
        if vector is not None and (len(shape) == 2 if shape is not None else matrix is not None):
            fact = f"{name} is {_origin(scope, name)}"
            if shape is None and matrix is not None:
                fact = f"{name} is a matrix in '{matrix.text}' on line {matrix.place.line}"
            what = f"the matrix '{name}' stands where a vector should"
            scope.report(what, vector.place, fact, hint=f"{name} @ v")
        elif matrix is not None and shape is not None and len(shape) == 1:
            scope.report(
                f"the vector '{name}' stands left of @ and is no matrix",
                matrix.place,
                f"{name} has width {_origin(scope, name)}",
                hint=f"param {name}: {shape[0]} x {shape[0]}",
            )


def _origin(scope: Scope, name: str) -> str:
    shape = scope.shapes.get(name, ())
    return f"{show_shape(shape)}, declared on line {scope.places[name].line}"


def _check_next_values(scope: Scope) -> None:
    for state in scope.declaration.states:
        name = names.next_of(state.name)
        if name not in scope.places:
            what = f"state '{state.name}' has no next value"
            scope.report(what, state.place, hint=f"{state.name}' = ...")


def _check_outputs(scope: Scope) -> None:
    seen: set[str] = set()
    for output in scope.declaration.outputs:
        error = _output_fault(scope, output, seen)
        if error is not None:
            scope.errors.append(error)
        seen.add(output.name)
        scope.count(output.name)
    if not scope.declaration.outputs:
        likely = [names.next_of(state.name) for state in scope.declaration.states[:1]]
        likely += [definition.target for definition in scope.declaration.definitions[-1:]]
        hint = f"output {scope.show(likely[0])}" if likely else "output h'"
        scope.report("the cell has no output", scope.declaration.place, hint=hint)


def _some_array(scope: Scope) -> str:
    """The name of a state or an input, for an example."""
    declaration = scope.declaration
    return next((d.name for d in (*declaration.states, *declaration.inputs)), "v")


def _output_fault(scope: Scope, output: Output, seen: set[str]) -> CellError | None:
    name, kind = output.name, scope.kinds.get(output.name)
    shown = f"{name.removesuffix(names.NEXT)}'" if output.primed else scope.show(name)
    if kind is None and output.primed:
        return not_a_state(scope, name.removesuffix(names.NEXT), output.place)
    if kind is None:
        near = names.closest(name, map(scope.show, scope.kinds))
        return CellError(
            f"output '{shown}' is neither declared nor defined",
            place=output.place,
            hint=f"did you mean {quote(near)}?" if near else f"{shown} = ...",
        )
    if name in seen:
        what = f"{quote(shown)} is an output twice"
        return CellError(what, place=output.place, hint="name it once")
    if kind is Kind.CONST or (kind is Kind.PARAM and scope.is_matrix(name)):
        what = "const" if kind is Kind.CONST else "matrix"
        return CellError(
            f"the {what} '{shown}' cannot be an output",
            place=output.place,
            facts=("an output is a vector: one for every row and time step",),
            hint=f"y = {shown} {'*' if kind is Kind.CONST else '@'} {_some_array(scope)}",
        )
    return None
