"""Checked definitions of arrays with axes -> the Step.

In: a Declaration whose names and shapes are known to be right, and where axes are cut.
Out: a Step over the parts, and which parts each name has.
Not here: mistakes of users, but for numbers that are out of range; reductions (reduce.py),
products and matrices (multiply.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import add, mul, sub, truediv
from typing import cast

from derive.errors import CellError
from derive.language import names
from derive.language.axes import multiply, reduce
from derive.language.axes.cuts import Cuts
from derive.language.axes.shapes import SCALAR, Shape, Shapes, operands_of, ways
from derive.language.axes.values import (
    Conflict,
    Part,
    Place,
    Value,
    indices,
    join,
    number,
    symbol,
)
from derive.language.constants import COMPARE, apply, check_line, check_power, evaluate, power
from derive.language.declaration import Definition
from derive.language.lower import COMPARISONS
from derive.language.tree import Binary, Call, Compare, Cut, Name, Negative, Node, Transpose
from derive.language.tree import Part as PartOf
from derive.program import (
    Array,
    Equation,
    Map,
    Matmul,
    Namer,
    Program,
    Step,
    Sum,
    check,
    names_in,
    placed,
)
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.widths import Dim

_ARITHMETIC: Mapping[str, Callable[..., Expr]] = {"+": add, "-": sub, "*": mul, "/": truediv}


class Lines:
    """Collects arrays and equations; frozen into a Step at the end."""

    def __init__(self, shapes: Shapes, cuts: Cuts) -> None:
        self.shapes = shapes
        self.cuts = cuts
        self.scope = shapes.scope
        self.consts = self.scope.consts
        declaration = self.scope.declaration
        self.inputs = tuple(declared.name for declared in declaration.inputs)
        self.states = tuple(declared.name for declared in declaration.states)
        self.next_states = tuple(map(names.next_of, self.states))
        self.namer = Namer((*shapes.known, *self.consts))
        self.arrays: dict[str, Array] = {}
        self.equations: list[Equation] = []
        self.known: dict[object, str] = {}
        self.unnamed: set[str] = set()
        self.parts: dict[str, Value] = {}
        self.target = ""
        self.place = declaration.place
        for name in (*self.scope.params, *self.inputs, *self.states):
            self.declare(name, per_row=name not in self.scope.params)
        for name in self.next_states:
            self.parts[name] = self.named_parts(name)

    # --- names and their parts --------------------------------------------------------------

    def named_parts(self, name: str) -> Value:
        """The parts of a name under names of their own; one part has the name itself."""
        axes = self.cuts.atoms(name)
        parts = {}
        for index in indices(axes):
            numbers = [str(k + 1) for k, axis in zip(index, axes, strict=True) if len(axis) > 1]
            base, primed = name, ""
            if numbers and name in self.next_states:
                base, primed = name.removesuffix(names.NEXT), names.NEXT
            part = self.namer("_".join((base, *numbers)) + primed) if numbers else name
            parts[index] = symbol(part)
        return Value(axes, parts)

    def declare(self, name: str, per_row: bool) -> None:
        self.parts[name] = value = self.named_parts(name)
        for index, part in value.parts.items():
            own = str(part.expr)
            self.arrays[own] = Array(own, value.shape(index), per_row)

    def names_of(self, name: str) -> tuple[str, ...]:
        return tuple(str(part.expr) for part in self.parts[name].parts.values())

    def all_names(self, group: Sequence[str]) -> tuple[str, ...]:
        return tuple(part for name in group for part in self.names_of(name))

    def freeze(self) -> Step:
        outputs = tuple(
            self.output(name)
            for output in self.scope.declaration.outputs
            for name in self.names_of(output.name)
        )
        params, inputs, states = map(
            self.all_names, (tuple(self.scope.params), self.inputs, self.states)
        )
        next_states = self.all_names(self.next_states)
        program = Program(
            arrays=tuple(self.arrays.values()),
            inputs=(*params, *inputs, *states),
            equations=tuple(self.equations),
            outputs=tuple(dict.fromkeys((*next_states, *outputs))),
        )
        return Step(
            program=check(program),
            params=params,
            inputs=inputs,
            states=states,
            next_states=next_states,
            outputs=outputs,
            defined=self.all_names([d.target for d in self.scope.declaration.definitions]),
        )

    def output(self, name: str) -> str:
        """The array of an output; one that all rows share is spread over the rows."""
        array = self.arrays[name]
        if array.per_row:
            return name
        out = self.namer(f"{name}_rows")
        self.arrays[out] = Array(out, array.shape, per_row=True)
        self.equations.append(Map(out, functions.symbol(name)))
        return out

    # --- one definition ---------------------------------------------------------------------

    def define(self, definition: Definition) -> None:
        self.target, self.place = definition.target, definition.place
        is_next = self.target in self.next_states
        if not is_next:
            self.parts[self.target] = self.named_parts(self.target)
        out = self.parts[self.target]
        shape, wanted = self.shape(definition.expr), self.shapes.known[self.target]
        own = str(out.only.expr) if out.is_whole() and shape == wanted else None
        value = self.value(definition.expr, None if is_next and self.is_shared(definition) else own)
        place = None if shape == SCALAR and wanted != SCALAR else ways(shape, wanted)[0]
        spread = self.together([(value, place)], out.axes, lambda expr: expr)
        for index, part in spread.parts.items():
            name = str(out.parts[index].expr)
            if name not in self.arrays:
                self.map(name, part, out.shape(index), is_next)

    def is_shared(self, definition: Definition) -> bool:
        return not self.shapes.is_rowwise(definition.expr)

    def map(self, name: str, part: Part, shape: tuple[Dim, ...], per_row: bool = False) -> None:
        check_line(part.expr, self.place)
        rows = per_row or self.is_per_row(part)
        self.arrays[name] = Array(name, shape, rows)
        self.equations.append(placed(name, part.expr, part.places.items()))
        self.known.setdefault(self.key(part, shape, rows), name)

    def key(self, part: Part, shape: tuple[Dim, ...], per_row: bool) -> object:
        return part.expr, tuple(sorted(part.places.items())), shape, per_row

    def is_per_row(self, part: Part) -> bool:
        return any(self.arrays[name].per_row for name in names_in(part.expr))

    # --- arrays -----------------------------------------------------------------------------

    def array(self, part: Part, shape: tuple[Dim, ...], wanted: str) -> str:
        """The array that holds an expression: one there is, or a new one."""
        if part.expr.is_Symbol and not part.places and not functions.is_size(part.expr):
            name = str(part.expr)
            if self.arrays[name].shape == shape:
                return name
        found = self.known.get(self.key(part, shape, self.is_per_row(part)))
        if found is None:
            found = self.namer(wanted)
            self.map(found, part, shape)
        if found not in self.shapes.known:
            self.unnamed.add(found)
        return found

    def computed(
        self, equation: Callable[[str], Matmul | Sum], shape: tuple[Dim, ...], per_row: bool,
        wanted: str, own: str | None,
    ) -> Part:  # fmt: skip
        """The result of a product or a reduction; one that occurs twice is computed once."""
        key = equation("")
        if key not in self.known:
            name = own if own is not None and own not in self.arrays else self.namer(wanted)
            self.arrays[name] = Array(name, shape, per_row)
            self.equations.append(equation(name))
            self.known[key] = name
        return symbol(self.known[key])

    def arrays_of(self, value: Value, wanted: str) -> Value:
        """A Value whose parts are arrays."""
        found = {
            index: symbol(self.array(part, value.shape(index), wanted))
            for index, part in value.parts.items()
        }
        return Value(value.axes, found)

    # --- expressions ------------------------------------------------------------------------

    def shape(self, node: Node) -> Shape:
        shape = self.shapes.of(node)
        assert shape is not None
        return shape

    def axes_of(self, node: Node) -> tuple[tuple[Dim, ...], ...]:
        if self.shape(node) == SCALAR:
            return ((1,),)
        return tuple(map(self.cuts.atoms_of, self.cuts.axes(node)))

    def value(self, node: Node, own: str | None = None) -> Value:
        """own: the array that is to hold the value, where that is one product, reduction or
        function."""
        if self.shapes.is_constant(node):
            return number(evaluate(node, self.consts))
        if isinstance(node, Name):
            return self.parts[node.name]
        if isinstance(node, Negative):
            value = self.value(node.operand)
            return self.together([(value, self.whole(value))], value.axes, lambda expr: -expr)
        if isinstance(node, Transpose):
            return multiply.transposed(self, self.value(node.matrix))
        if isinstance(node, Binary) and node.operator == "@":
            return multiply.product(self, node, own)
        if isinstance(node, Binary) and node.operator == "**":
            return self.power(node, own)
        if isinstance(node, (Cut, PartOf)):
            return self.part(node)
        if isinstance(node, Call) and node.function in functions.REDUCTIONS:
            return reduce.FUNCTIONS[node.function](self, node, own)
        if isinstance(node, Call) and node.function in multiply.FUNCTIONS:
            return multiply.FUNCTIONS[node.function](self, node, own)
        if isinstance(node, Call):
            return self.call(node, own)
        assert isinstance(node, Binary)
        return self.arithmetic(node)

    def whole(self, value: Value) -> Place | None:
        return None if value.is_scalar else tuple(range(len(value.axes)))

    def arithmetic(self, node: Binary) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator == "/" and right.is_scalar and right.only.expr == 0:
            raise CellError("this divides by zero", place=node.right.place)
        items = [left, right]
        return self.elementwise(node, items, (node.left, node.right), _ARITHMETIC[node.operator])

    def elementwise(
        self, node: Node, values: Sequence[Value], nodes: Sequence[Node],
        combine: Callable[..., Expr],
    ) -> Value:  # fmt: skip
        whole, axes = self.shape(node), self.axes_of(node)
        items = []
        for value, operand in zip(values, nodes, strict=True):
            place = None if value.is_scalar else ways(self.shape(operand), whole)[0]
            items.append((value, place))
        return self.together(items, axes, combine)

    def together(
        self, items: Sequence[tuple[Value, Place | None]], axes: tuple[tuple[Dim, ...], ...],
        combine: Callable[..., Expr],
    ) -> Value:  # fmt: skip
        """One expression for each part of the result; each item lies at its place among `axes`."""
        rank = len(axes)
        parts = {}
        for index in indices(axes):
            found = []
            for value, place in items:
                at = (0,) if place is None else tuple(index[k] for k in place)
                found.append((value.parts[at], value.shape(at), place))
            parts[index] = self.joined(found, rank, combine)
        return Value(axes, parts)

    def joined(
        self, found: list[tuple[Part, tuple[Dim, ...], Place | None]], rank: int,
        combine: Callable[..., Expr],
    ) -> Part:  # fmt: skip
        while True:
            try:
                lifted = [part.lifted(place, rank, self.scalars(part)) for part, _, place in found]
                return join(lifted, combine)
            except Conflict as conflict:
                found = self.told_apart(found, conflict.name)

    def told_apart(
        self, found: list[tuple[Part, tuple[Dim, ...], Place | None]], name: str
    ) -> list[tuple[Part, tuple[Dim, ...], Place | None]]:
        """The operands, with a copy in one that holds `name`: an array lies in one place of an
        expression."""
        holders = [k for k, (part, _, _) in enumerate(found) if name in names_in(part.expr)]
        at = next((k for k in holders if found[k][0].places), holders[-1])
        part, shape, place = found[at]
        copy = self.namer(f"{name}_T" if part.places else f"{name}_{self.target}")
        self.map(copy, part, shape)
        found[at] = (symbol(copy), shape, place)
        return found

    def scalars(self, part: Part) -> tuple[str, ...]:
        return tuple(n for n in names_in(part.expr) if self.arrays[n].shape == (1,))

    # --- functions --------------------------------------------------------------------------

    def argument(self, value: Value, function: str, alone: bool) -> Value:
        """Arguments of a function: arrays, or numbers."""
        target = self.target.removesuffix(names.NEXT)
        wanted = f"a_{target}" if alone else f"{function}_arg"
        parts = {}
        for index, part in value.parts.items():
            if not (part.expr.is_Symbol or part.expr.is_number):
                part = symbol(self.array(part, value.shape(index), wanted))
            parts[index] = part
        return Value(value.axes, parts)

    def result(self, value: Value, function: str, own: str | None) -> Value:
        """A function of arrays, as arrays. `own` leaves it to the definition's own line."""
        parts = {}
        for index, part in value.parts.items():
            if part.expr.is_number or own is not None:
                parts[index] = part
                continue
            operands = names_in(part.expr)
            simple = len(operands) == 1 and operands[0] not in self.unnamed
            wanted = f"{function}_{operands[0] if simple else self.target}"
            parts[index] = symbol(self.array(part, value.shape(index), wanted))
        return Value(value.axes, parts)

    def call(self, node: Call, own: str | None) -> Value:
        if node.function == "where":
            return self.where(node, own)
        if node.function == "sqrt":
            return self.root(node.args[0], functions.HALF, own)
        free = node.args[:1] if node.function == "clip" else node.args
        bounds = [evaluate(arg, self.consts) for arg in node.args[len(free) :]]
        alone = own is not None and len(free) == 1
        args = [self.argument(self.value(arg), node.function, alone) for arg in free]

        def applied(*exprs: Expr) -> Expr:
            values = [*exprs, *bounds]
            if all(each.is_number for each in values):
                return apply(node.function, values, node.place)
            return cast(Expr, functions.RULES[node.function].head(*values))

        return self.result(self.elementwise(node, args, free, applied), node.function, own)

    def where(self, node: Call, own: str | None) -> Value:
        condition = node.args[0]
        assert isinstance(condition, Compare)
        head, swap = COMPARISONS[condition.operator]
        nodes = operands_of(node)
        values = [self.value(each) for each in nodes]
        sides = [value.only.expr for value in values[:2] if value.is_whole()]
        if len(sides) == 2 and all(side.is_number for side in sides):
            at = 2 if COMPARE[condition.operator](*sides) else 3
            return self.elementwise(node, [values[at]], [nodes[at]], lambda expr: expr)

        def chosen(left: Expr, right: Expr, one: Expr, other: Expr) -> Expr:
            test = head(right, left) if swap else head(left, right)
            return cast(Expr, functions.where(test, one, other))

        return self.result(self.elementwise(node, values, nodes, chosen), "where", own)

    def power(self, node: Binary, own: str | None) -> Value:
        exponent = evaluate(node.right, self.consts)
        if not exponent.is_Integer:
            return self.root(node.left, exponent, own)

        def raised(base: Expr) -> Expr:
            check_power(base, exponent, node.place)
            return cast(Expr, base**exponent)

        value = self.value(node.left)
        return self.together([(value, self.whole(value))], value.axes, raised)

    def root(self, node: Node, exponent: Expr, own: str | None) -> Value:
        """base ** (p/q), in equations of its own, as in cells of one width."""
        function = "sqrt" if abs(exponent) == functions.HALF else "power"
        inverse = exponent == -functions.HALF
        alone = own is not None and not inverse
        value = self.argument(self.value(node), function, alone)

        def rooted(base: Expr) -> Expr:
            if base.is_number:
                return power(base, abs(exponent) if inverse else exponent, node.place)
            return cast(Expr, base ** (abs(exponent) if inverse else exponent))

        whole = self.whole(value)
        roots = self.together([(value, whole)], value.axes, rooted)
        roots = self.result(roots, function, own if alone else None)
        if inverse:
            roots = self.together([(roots, whole)], value.axes, lambda expr: 1 / expr)
        return roots

    # --- parts of arrays --------------------------------------------------------------------

    def part(self, node: Cut | PartOf) -> Value:
        """Those parts of an array's last axis that lie within the bounds."""
        value = self.value(node.array)
        shape = self.shape(node.array)
        if isinstance(node, PartOf):
            width = self.shape(node)[-1]
            start = width.times(node.index)
            stop = start + width
        else:
            start, stop = self.shapes.bounds(node, shape)
        bounds = self.cuts.bounds(self.cuts.axes(node.array)[-1])
        kept = [k for k, (a, b) in enumerate(bounds) if start.fits(a) and b.fits(stop)]
        axes = (*value.axes[:-1], tuple(value.axes[-1][k] for k in kept))
        parts = {
            index: value.parts[(*index[:-1], kept[index[-1]])] for index in indices(axes)
        }  # fmt: skip
        return Value(axes, parts)
