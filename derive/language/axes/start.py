"""What arrays start from: draws of parameters, learned starts of states.

In: a Scope and shapes.  Out: what is wrong.
Not here: drawing (kernel/starts.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from derive.errors import CellError
from derive.language.axes.messages import shown
from derive.language.axes.shapes import SCALAR, Shape, Shapes
from derive.language.declaration import Declared
from derive.language.parse_expression import DRAWS
from derive.language.scope import Kind, Scope
from derive.language.tree import Call, Name, Node, children
from derive.symbolic import functions


def check_starts(scope: Scope, shapes: Shapes) -> list[CellError]:
    errors: list[CellError] = []
    inputs = scope.declaration.inputs
    if inputs and all(declared.once for declared in inputs):
        what = "no input changes with time, so nothing tells how many steps there are"
        hint = f"input {inputs[0].name}: {shown(shapes.known[inputs[0].name])}"
        errors.append(CellError(what, place=inputs[0].place, hint=hint))
    for declared in scope.declaration.states:
        if declared.start is not None:
            errors += _state(scope, shapes, declared, declared.start)
    return errors + check_draws(scope, shapes.known)


def check_draws(scope: Scope, known: Mapping[str, Shape]) -> list[CellError]:
    """What parameters start training from."""
    errors: list[CellError] = []
    for declared in scope.declaration.params:
        if declared.start is not None:
            errors += _param(scope, known.get(declared.name, ()), declared, declared.start)
    return errors


def _state(scope: Scope, shapes: Shapes, state: Declared, start: Node) -> list[CellError]:
    shape = shapes.known[state.name]
    if not isinstance(start, Name) or scope.kinds.get(start.name) is not Kind.PARAM:
        what = f"state '{state.name}' starts from something that is no parameter"
        hint = f"state {state.name}: {shown(shape)} = {state.name}0"
        facts = (f"'{scope.text(start)}' stands where a parameter is named",)
        return [CellError(what, place=start.place, facts=facts, hint=hint)]
    known = shapes.known.setdefault(start.name, shape)
    if known in (shape, SCALAR):
        return []
    what = f"state '{state.name}' starts from a parameter of another shape"
    facts = (f"{state.name} is {shown(shape)}, {start.name} is {shown(known)}",)
    hint = f"param {start.name}: {shown(shape)}"
    return [CellError(what, place=start.place, facts=facts, hint=hint)]


def _param(scope: Scope, shape: Shape, param: Declared, start: Node) -> list[CellError]:
    for node in _walk(start):
        if isinstance(node, Name) and node.name not in scope.consts:
            what = f"'{node.name}' has no value before training"
            facts = ("a start value is made of numbers, constants, functions and draws",)
            return [CellError(what, place=node.place, facts=facts, hint="uniform(-1, 1)")]
        if isinstance(node, Call):
            known = node.function in DRAWS or node.function in functions.RESERVED
            if not known or node.function in functions.REDUCTIONS:
                what = f"'{node.function}' is no function of a start value"
                return [CellError(what, place=node.place, hint=", ".join(DRAWS))]
            matrix = node.function in ("orthogonal", "eye", "glorot")
            if matrix and len(shape) < 2:
                what = f"'{node.function}' draws matrices, and '{param.name}' is none"
                facts = (f"{param.name} has width {shown(shape)}",)
                return [CellError(what, place=node.place, facts=facts, hint="uniform(-1, 1)")]
    return []


def _walk(node: Node) -> list[Node]:
    return [node, *(part for child in children(node) for part in _walk(child))]
