"""Declaration -> Checked, for cells whose arrays have axes.

In: a Declaration.  Out: a Checked cell, which holds the Step and the parts of its arrays;
CellError for one mistake, CellErrors for several.
Not here: shapes (shapes.py), cuts (cuts.py), equations (lower.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from derive.errors import CellError, CellErrors
from derive.language import resolve_names, to_sympy
from derive.language.axes.cuts import Cuts
from derive.language.axes.lower import Lines
from derive.language.axes.messages import shown
from derive.language.axes.shapes import Shape, Shapes
from derive.language.axes.start import check_starts
from derive.language.axes.uses import AxesUses
from derive.language.checked import Checked, Whole
from derive.language.declaration import Declaration, Dim
from derive.language.scope import Kind, Scope
from derive.language.tree import quote

#: More parameters of unknown shape than this are not listed at once.
MAX_AMBIGUOUS = 20


def shapes_of(declaration: Declaration) -> Shapes:
    """The shapes of a declaration without mistakes."""
    shapes = Shapes(resolve_names.resolve(declaration, AxesUses))
    shapes.settle()
    check_starts(shapes.scope, shapes)
    return shapes


def check(declaration: Declaration) -> Checked:
    scope = resolve_names.resolve(declaration, AxesUses)
    shapes = Shapes(scope)
    errors = [*scope.errors, *shapes.settle()]
    errors += check_starts(scope, shapes)
    if not errors:
        errors = [*_unknown(scope, shapes), *_outputs(scope, shapes)]
    if errors:
        raise together(errors)
    cuts = Cuts(shapes)
    lines = Lines(shapes, cuts)
    for definition in declaration.definitions:
        lines.define(definition)
    step = lines.freeze()
    outputs = tuple(output.name for output in declaration.outputs)
    return Checked(
        declaration=declaration,
        params=_proxy(shapes, scope.params),
        outputs=_proxy(shapes, outputs),
        consts=MappingProxyType(dict(scope.consts)),
        step=step,
        output_keys=lines.all_names(outputs),
        equations=to_sympy.equations(declaration),
        canonical=to_sympy.canonical(declaration),
        notes=tuple(
            f"'{name}' is a parameter, for nothing defines it; did you mean {quote(near)}?"
            for name, near in scope.slips.items()
        ),
        unused=tuple(
            name
            for name, kind in scope.kinds.items()
            if kind not in (Kind.STATE, Kind.NEXT) and not scope.uses.get(name)
        ),
        wholes=MappingProxyType(dict(_wholes(lines, cuts, outputs))),
        shapes=_proxy(shapes, shapes.known),
    )


def together(errors: list[CellError]) -> CellError:
    """One error, or all of them in the order of the text."""
    errors = sorted(errors, key=lambda e: (e.place.line, e.place.column) if e.place else (0, 0))
    return errors[0] if len(errors) == 1 else CellErrors(tuple(errors))


def _dims(shape: Shape) -> tuple[Dim, ...]:
    return tuple(width.dim for width in shape)


def _proxy(shapes: Shapes, names: Iterable[str]) -> MappingProxyType[str, tuple[Dim, ...]]:
    return MappingProxyType({name: _dims(shapes.known[name]) for name in names})


def _unknown(scope: Scope, shapes: Shapes) -> list[CellError]:
    """Parameters whose shape nothing tells."""
    unknown = [name for name in scope.params if name not in shapes.known]
    return [shapes.say.unknown(name) for name in unknown[:MAX_AMBIGUOUS]]


def _outputs(scope: Scope, shapes: Shapes) -> list[CellError]:
    """Matrices that all rows share are no outputs."""
    found = []
    for output in scope.declaration.outputs:
        shape, kind = shapes.known.get(output.name, ()), scope.kinds.get(output.name)
        if kind is Kind.PARAM and len(shape) > 1:
            found.append(
                CellError(
                    f"the matrix '{output.name}' cannot be an output",
                    place=output.place,
                    facts=(f"{output.name} is {shown(shape)}, the same for every row",),
                    hint=f"y = {output.name} @ v",
                )
            )
    return found


def _wholes(lines: Lines, cuts: Cuts, outputs: tuple[str, ...]) -> Iterable[tuple[str, Whole]]:
    """Arrays that are given or wanted whole, and cut."""
    for name in (*lines.scope.params, *lines.inputs, *lines.states, *outputs):
        value = lines.parts[name]
        if value.is_whole():
            continue
        bounds = [cuts.bounds(axis) for axis in cuts.names[name]]
        yield (
            name,
            tuple(
                (
                    str(part.expr),
                    tuple(
                        (of_axis[k][0].dim, of_axis[k][1].dim)
                        for k, of_axis in zip(index, bounds, strict=True)
                    ),
                )
                for index, part in value.parts.items()
            ),
        )
