"""Declaration -> Checked: every name has a shape, every expression a width, or all mistakes.

In: a Declaration.  Out: a Checked cell, which holds the Step; CellError for one mistake,
CellErrors for several.
Not here: names (scope.py), unification (infer_widths.py), the equations of the Step (lower.py).

The width of an expression is that of what is written: `0 * m` is as wide as `m`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from derive.errors import CellError
from derive.language import lower, names, to_sympy, wording
from derive.language.axes import check as check_axes
from derive.language.axes.needs import needs_axes
from derive.language.axes.shapes import operands_of
from derive.language.axes.start import check_draws
from derive.language.checked import Checked, Shape
from derive.language.declaration import Declaration, Dim
from derive.language.infer_widths import Widths
from derive.language.resolve_names import resolve
from derive.language.scope import Kind, Scope, show_shape
from derive.language.tree import (
    Binary,
    Call,
    Name,
    Negative,
    Node,
    Number,
    Transpose,
    names_of,
    quote,
)
from derive.widths import Width

Operand = tuple[Node, Dim | None]

#: More parameters of unknown shape than this are not listed at once.
MAX_AMBIGUOUS = 20


def check(declaration: Declaration) -> Checked:
    if needs_axes(declaration):
        return check_axes.check(declaration)
    found = resolve(declaration)
    shapes, ambiguous = _infer(found)
    errors = [*found.errors, *_Check(found, shapes).run()]
    errors += check_draws(found, {n: tuple(map(Width.of, shape)) for n, shape in shapes.items()})
    if not errors:
        errors = ambiguous
    if errors:
        raise check_axes.together(errors)
    step, keys = lower.lower(declaration, shapes, tuple(found.params), found.consts)
    return Checked(
        declaration=declaration,
        params=MappingProxyType({name: shapes[name] for name in found.params}),
        outputs=MappingProxyType({o.name: shapes[o.name] for o in declaration.outputs}),
        consts=MappingProxyType(dict(found.consts)),
        step=step,
        output_keys=keys,
        equations=to_sympy.equations(declaration),
        canonical=to_sympy.canonical(declaration),
        notes=tuple(
            f"'{name}' is a parameter, for nothing defines it; did you mean {quote(near)}?"
            for name, near in found.slips.items()
        ),
        unused=_unused(found),
    )


def _unused(found: Scope) -> tuple[str, ...]:
    """Definitions, inputs, constants and parameters that no line uses."""
    return tuple(
        name
        for name, kind in found.kinds.items()
        if kind not in (Kind.STATE, Kind.NEXT) and not found.uses.get(name)
    )


# --- inference ------------------------------------------------------------------------------


def _infer(found: Scope) -> tuple[dict[str, Shape], list[CellError]]:
    """Shapes of all names, as far as they can be known, and an error for each that cannot."""
    inference = _Inference(found)
    inference.widths.solve()
    errors = []
    made_up = _made_up_dims(found)
    for name in found.params:
        shape = inference.shape(name)
        if None in shape:
            wanted = inference.suppose(name, made_up)
            errors.append(_ambiguous(found, name, wanted))
            if len(errors) == MAX_AMBIGUOUS:
                break
    shapes: dict[str, Shape] = {}
    for name in inference.variables:
        shape = inference.shape(name)
        if None not in shape:
            shapes[name] = shape  # type: ignore[assignment]
    return shapes, errors


def _made_up_dims(found: Scope) -> list[str]:
    taken = {dim for shape in found.shapes.values() for dim in shape}
    return [dim for dim in ("P", "Q", "R", "S", "M", "N", "L") if dim not in taken] + ["P"]


def _ambiguous(found: Scope, name: str, wanted: Shape) -> CellError:
    use = found.matrix_uses.get(name) or found.vector_uses.get(name)
    facts = [f"it stands in '{use.text}'"] if use else ["nothing uses it"]
    what = wording.unknown_shape(name, matrix=use is not None and found.is_matrix(name))
    place = use.place if use else found.places[name]
    facts += found.advise(place)
    hint = f"param {name}: {show_shape(wanted)}"
    return CellError(what, place=place, facts=tuple(facts), hint=hint)


class _Inference:
    """Sets up the unknowns and constraints of all lines."""

    def __init__(self, found: Scope) -> None:
        self.found = found
        self.widths = Widths()
        self.number = self.widths.new(1)
        self.variables: dict[str, tuple[int, ...]] = {}
        declaration = found.declaration
        for declared in (*declaration.inputs, *declaration.states):
            self.declare(declared.name, declared.shape or ("?",))
        for state in declaration.states:
            self.declare(names.next_of(state.name), state.shape or ("?",))
        for name in found.params:
            self.param(name)
        for definition in declaration.definitions:
            value = self.width(definition.expr)
            if definition.target in self.variables:
                if found.kinds[definition.target] is Kind.NEXT:
                    self.widths.fit(self.variables[definition.target][0], value)
            else:
                self.variables[definition.target] = (value,)

    def declare(self, name: str, shape: Shape) -> None:
        self.variables.setdefault(name, tuple(self.widths.new(dim) for dim in shape))

    def param(self, name: str) -> None:
        shape: tuple[Dim | None, ...] | None = self.found.shapes.get(name)
        if shape is None:
            shape = (None, None) if self.found.is_matrix(name) else (None,)
        self.variables[name] = variables = tuple(self.widths.new(dim) for dim in shape)
        mark = self.widths.may_be_scalar if len(shape) == 1 else self.widths.never_scalar
        for variable in variables:
            mark(variable)

    def shape(self, name: str) -> tuple[Dim | None, ...]:
        return tuple(self.widths.dim(variable) for variable in self.variables[name])

    def suppose(self, name: str, made_up: list[str]) -> Shape:
        """Settles an ambiguous shape somehow, for the hint and for what depends on it.

        A vector is as wide as a state. A matrix gets a dimension of its own: P rows for a
        projection, R columns for a product of low rank.
        """
        states = self.found.declaration.states
        usual = next((s.shape[0] for s in states if s.shape and s.shape[0] != 1), "H")
        for variable in self.variables[name]:
            if self.widths.dim(variable) is None:
                dim: Dim = usual
                if len(self.variables[name]) == 2:
                    is_rank = variable != self.variables[name][0] and "R" in made_up
                    dim = "R" if is_rank else made_up[0]
                    if len(made_up) > 1:
                        made_up.remove(str(dim))
                self.widths.set(variable, dim)
                self.widths.solve()
        return tuple(dim for dim in self.shape(name) if dim is not None)

    def width(self, node: Node) -> int:
        """The variable of an expression's width. Numbers have width 1 and meet nothing."""
        if isinstance(node, Number):
            return self.number
        if isinstance(node, Name):
            return self.name(node.name)
        if isinstance(node, Negative):
            return self.width(node.operand)
        if isinstance(node, Transpose):
            return self.widths.new()
        if isinstance(node, Binary) and node.operator == "@":
            return self.product(node)
        if isinstance(node, Binary) and node.operator == "**":
            return self.width(node.left)
        if isinstance(node, Call) and node.function in ("sum", "mean"):
            self.width(node.args[0])
            return self.widths.new(1)
        widths = tuple(w for w in map(self.width, operands_of(node)) if w != self.number)
        return self.widths.group(widths) if widths else self.number

    def name(self, name: str) -> int:
        if name in self.found.consts:
            return self.number
        variables = self.variables.get(name, ())
        return variables[0] if len(variables) == 1 else self.widths.new()

    def product(self, node: Binary) -> int:
        vector = self.width(node.right)
        matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
        variables = self.variables.get(matrix.name, ()) if isinstance(matrix, Name) else ()
        if len(variables) != 2:
            return self.widths.new()
        rows, columns = variables[::-1] if isinstance(node.left, Transpose) else variables
        self.widths.equal(columns, vector)
        return rows


# --- the check ------------------------------------------------------------------------------


class _Check:
    """Walks over all lines with every width known; None is a width that could not be inferred."""

    def __init__(self, found: Scope, shapes: Mapping[str, Shape]) -> None:
        self.found = found
        self.text = found.text
        self.shapes = shapes
        self.inferred = set(found.inferred())
        self.errors: list[CellError] = []

    def run(self) -> list[CellError]:
        for definition in self.found.declaration.definitions:
            width = self.width(definition.expr)
            kind = self.found.kinds.get(definition.target)
            if kind is Kind.NEXT and width is not None:
                self.next_value(definition.target, width, definition.expr)
        return self.errors

    def next_value(self, target: str, width: Dim, expr: Node) -> None:
        state = target.removesuffix(names.NEXT)
        wanted = self.shapes[state][0]
        if width not in (wanted, 1):
            self.errors.append(
                CellError(
                    wording.other_next(state),
                    place=expr.place,
                    facts=(
                        f"{state} has width {wanted}, {wording.sized(self.found, expr, [width])}",
                        *self.origins(expr),
                        *self.found.advise(expr.place),
                    ),
                    hint=wording.next_of_width(self.found, state, expr, [width]),
                )
            )

    def width(self, node: Node) -> Dim | None:
        if isinstance(node, Number):
            return 1
        if isinstance(node, Name):
            if node.name in self.found.consts:
                return 1
            shape = self.shapes.get(node.name, ())
            return shape[0] if len(shape) == 1 else None
        if isinstance(node, Negative):
            return self.width(node.operand)
        if isinstance(node, Transpose):
            return None
        if isinstance(node, Binary) and node.operator == "@":
            return self.product(node)
        if isinstance(node, Binary) and node.operator == "**":
            return self.width(node.left)
        if isinstance(node, Call) and node.function in ("sum", "mean"):
            return None if self.width(node.args[0]) is None else 1
        return self.elementwise(node)

    def elementwise(self, node: Node) -> Dim | None:
        operands = operands_of(node)
        widths = [self.width(operand) for operand in operands]
        if None in widths:
            return None
        wide = [(o, w) for o, w in zip(operands, widths, strict=True) if w != 1]
        if not wide:
            return 1
        first, width = wide[0]
        for other, other_width in wide[1:]:
            if other_width != width:
                self.mismatch(node, (first, width), (other, other_width))
                return None
        return width

    def mismatch(self, node: Node, one: Operand, other: Operand) -> None:
        (a, a_width), (b, b_width) = one, other
        sizes = (wording.sized(self.found, n, [w]) for n, w in ((a, a_width), (b, b_width)))
        self.errors.append(
            CellError(
                wording.different_width(self.found, node),
                place=b.place,
                facts=(
                    ", ".join(sizes),
                    *self.origins(a, b),
                    *self.found.advise(b.place),
                ),
                hint=self.mismatch_hint(one, other),
            )
        )

    def mismatch_hint(self, *operands: Operand) -> str:
        """Which operand to project: the one that is not as wide as a state, else the last."""
        for node, _ in operands:
            guessed = self.guessed(node)
            if guessed is not None:
                return f"param {guessed}: 1   if it is meant to be a scalar"
        states = {self.shapes[state.name][0] for state in self.found.declaration.states}
        (a, a_width), (b, b_width) = operands
        node, width = (a, b_width) if b_width in states and a_width not in states else (b, a_width)
        return wording.project(self.found, node, width)

    def guessed(self, node: Node) -> str | None:
        """The inferred parameter that alone gives `node` its width, if there is one."""
        wide = dict.fromkeys(
            name.name for name in names_of(node) if self.shapes.get(name.name, (1,)) != (1,)
        )
        only = next(iter(wide)) if len(wide) == 1 else ""
        is_guess = only in self.inferred and not self.found.is_matrix(only)
        return only if is_guess else None

    def product(self, node: Binary) -> Dim | None:
        vector = self.width(node.right)
        matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
        shape = self.shapes.get(matrix.name, ()) if isinstance(matrix, Name) else ()
        if len(shape) != 2 or vector is None or not isinstance(matrix, Name):
            return None
        rows, columns = shape[::-1] if isinstance(node.left, Transpose) else shape
        if columns == vector:
            return rows
        swapped = rows == vector and matrix.name not in self.inferred
        self.errors.append(
            CellError(
                wording.columns_and_vector(self.found, node, columns, vector),
                place=node.right.place,
                facts=(
                    f"{self.text(node.left)} is {rows} x {columns}, "
                    f"{wording.sized(self.found, node.right, [vector])}",
                    *self.origins(matrix, node.right),
                    *self.found.advise(node.place),
                ),
                hint=wording.other_matrix(self.found, node, swapped=swapped),
            )
        )
        return None

    def origins(self, *nodes: Node) -> list[str]:
        """Where the shapes of inferred parameters, and likely slips, come from."""
        facts = []
        for node in nodes:
            name = node.name if isinstance(node, Name) else self.guessed(node)
            if name is None or name not in self.inferred:
                continue
            use = self.found.matrix_uses.get(name) or self.found.vector_uses[name]
            facts.append(
                f"{name} is a parameter; its shape {show_shape(self.shapes[name])} "
                f"was inferred, from line {use.place.line} on"
            )
        return facts
