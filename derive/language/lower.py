"""Checked expressions -> the Step: named equations, one function application a line.

In: a Declaration whose names and shapes are known to be right.  Out: a Step, and the keys of
its outputs.
Not here: any question of the user's beyond the size of numbers.

    i = sigmoid(W_i @ x + U_i @ h + b_i)

becomes

    W_i_x = W_i @ x
    U_i_h = U_i @ h
    a_i   = W_i_x + U_i_h + b_i
    i     = sigmoid(a_i)

What is said twice is computed once. Names given by the user never change; a name made here
that is taken gets an underscore.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add, mul, sub, truediv
from typing import cast

import sympy

from derive.errors import CellError
from derive.language import names
from derive.language.constants import (
    COMPARE,
    NotConstant,
    apply,
    check_line,
    check_power,
    evaluate,
    power,
)
from derive.language.declaration import Declaration, Definition, Dim
from derive.language.tree import Binary, Call, Compare, Name, Negative, Node, Transpose, children
from derive.program import (
    Array,
    Equation,
    Layout,
    Map,
    Matmul,
    Namer,
    Program,
    Step,
    Sum,
    check,
    names_in,
)
from derive.symbolic import functions
from derive.symbolic.functions import Expr

Shapes = Mapping[str, tuple[Dim, ...]]

#: a OP b as one of the four comparisons of functions.py; True where the sides change places.
COMPARISONS = {
    "<": (functions.less, False),
    "<=": (functions.less_equal, False),
    ">": (functions.less, True),
    ">=": (functions.less_equal, True),
    "==": (functions.equal, False),
    "!=": (functions.not_equal, False),
}


ARITHMETIC = {"+": add, "-": sub, "*": mul, "/": truediv}


def lower(
    declaration: Declaration,
    shapes: Shapes,
    params: tuple[str, ...],
    consts: Mapping[str, Expr],
) -> tuple[Step, tuple[str, ...]]:
    """The Step, and the key of each of its outputs."""
    lines = _Lines(declaration, shapes, params, consts)
    for definition in declaration.definitions:
        lines.define(definition)
    return lines.freeze(), tuple(output.name for output in declaration.outputs)


class _Lines:
    """Collects arrays and equations; frozen into a Step at the end."""

    def __init__(
        self,
        declaration: Declaration,
        shapes: Shapes,
        params: tuple[str, ...],
        consts: Mapping[str, Expr],
    ) -> None:
        self.declaration = declaration
        self.shapes = shapes
        self.params = params
        self.consts = consts
        self.inputs = tuple(declared.name for declared in declaration.inputs)
        self.states = tuple(declared.name for declared in declaration.states)
        self.next_states = tuple(map(names.next_of, self.states))
        self.namer = Namer((*shapes, *consts, *self.next_states))
        self.arrays: dict[str, Array] = {}
        self.equations: list[Equation] = []
        self.known: dict[tuple[object, ...], str] = {}
        self.unnamed: set[str] = set()  # arguments; what is made of them is named by target
        self.target = ""
        self.place = declaration.place
        for name in (*params, *self.inputs, *self.states):
            self.arrays[name] = Array(name, tuple(shapes[name]), per_row=name not in params)

    def freeze(self) -> Step:
        outputs = tuple(self.output(output.name) for output in self.declaration.outputs)
        program = Program(
            arrays=tuple(self.arrays.values()),
            inputs=(*self.params, *self.inputs, *self.states),
            equations=tuple(self.equations),
            outputs=tuple(dict.fromkeys((*self.next_states, *outputs))),
        )
        return Step(
            program=check(program),
            params=self.params,
            inputs=self.inputs,
            states=self.states,
            next_states=self.next_states,
            outputs=outputs,
            defined=tuple(definition.target for definition in self.declaration.definitions),
        )

    def output(self, name: str) -> str:
        """The array of an output; one that all rows share is spread over the rows."""
        array = self.arrays[name]
        if array.per_row:
            return name
        out = self.namer(f"{name}_rows")
        self.add(Map(out, functions.symbol(name)), array.width, per_row=True)
        return out

    # --- one definition

    def define(self, definition: Definition) -> None:
        node, target = definition.expr, definition.target
        is_next = target in self.next_states
        self.target, self.place = target, definition.place
        width = self.shapes[target][0] if is_next else self.width(node)
        expr = self.whole(node, width, is_next)
        if target not in self.arrays:
            self.map(target, expr, width, is_next)

    def whole(self, node: Node, width: Dim, is_next: bool) -> Expr:
        """What a definition's right side amounts to. Where that is one product, one sum or
        one function, the target itself is its array and no second one is made."""
        own = None
        if self.width(node) == width and not self.is_constant(node):
            own = self.target
        if isinstance(node, Binary) and node.operator == "@":
            return self.product(node, own, is_next)
        if isinstance(node, Call) and node.function == "sum":
            return self.total(self.operand(node.args[0], "sum_arg"), own, is_next)
        if isinstance(node, Call) and not self.is_constant(node):
            return self.call(node, whole=True)
        if isinstance(node, Binary) and node.operator == "**" and not self.is_constant(node):
            return self.power(node, whole=True)
        return self.expr(node)

    def map(self, name: str, expr: Expr, width: Dim, per_row: bool = False) -> None:
        check_line(expr, self.place)
        per_row = per_row or any(self.arrays[a].per_row for a in names_in(expr))
        self.add(Map(name, expr), width, per_row)
        self.known.setdefault((expr, width, per_row), name)

    def add(self, equation: Equation, width: Dim, per_row: bool) -> None:
        self.arrays[equation.out] = Array(equation.out, (width,), per_row)
        self.equations.append(equation)

    # --- expressions

    def is_constant(self, node: Node) -> bool:
        try:
            evaluate(node, self.consts)
        except NotConstant:
            return False
        return True

    def expr(self, node: Node) -> Expr:
        """The elementwise expression of `node`, over arrays that have been computed."""
        try:
            return evaluate(node, self.consts)
        except NotConstant:
            pass
        if isinstance(node, Name):
            return functions.symbol(node.name)
        if isinstance(node, Negative):
            return -self.expr(node.operand)
        if isinstance(node, Call):
            return self.call(node)
        assert isinstance(node, Binary)
        if node.operator == "@":
            return self.product(node)
        if node.operator == "**":
            return self.power(node)
        left, right = self.expr(node.left), self.expr(node.right)
        if node.operator == "/" and right == 0:
            raise CellError("this divides by zero", place=node.right.place)
        return cast(Expr, ARITHMETIC[node.operator](left, right))

    def power(self, node: Binary, whole: bool = False) -> Expr:
        exponent = evaluate(node.right, self.consts)
        if not exponent.is_Integer:
            return self.root(node.left, exponent, whole)
        base = self.expr(node.left)
        check_power(base, exponent, node.place)
        return cast(Expr, base**exponent)

    def root(self, base: Node, exponent: Expr, whole: bool = False) -> Expr:
        """base ** (p/q), a line of its own: inside a larger expression SymPy would turn
        sqrt(v**2) into |v|. A negative power is one over the positive one for a root alone:
        v**1.5 may overflow where v**-1.5 is a number."""
        function = "sqrt" if abs(exponent) == functions.HALF else "power"
        argument = self.argument(base, function, whole)
        if argument.is_number:
            return power(argument, exponent, base.place)
        inverse = exponent == -functions.HALF
        root = cast(Expr, argument ** (abs(exponent) if inverse else exponent))
        value = self.value(function, root, whole and not inverse)
        return 1 / value if inverse else value

    def call(self, node: Call, whole: bool = False) -> Expr:
        if node.function in _REDUCTIONS:
            return _REDUCTIONS[node.function](self, node, whole)
        if node.function == "where":
            return self.where(node, whole)
        if node.function == "sqrt":
            return self.root(node.args[0], functions.HALF, whole)
        free = node.args[:1] if node.function == "clip" else node.args
        args = [self.argument(arg, node.function, whole and len(free) == 1) for arg in free]
        args += [evaluate(arg, self.consts) for arg in node.args[len(free) :]]
        if all(arg.is_number for arg in args):
            return apply(node.function, args, node.place)
        expr = cast(Expr, functions.RULES[node.function].head(*args))
        return self.value(node.function, expr, whole)

    def argument(self, node: Node, function: str, whole: bool) -> Expr:
        """The argument of a function: one array, or a number."""
        expr = self.expr(node)
        if expr.is_Symbol or expr.is_number:
            return expr
        wanted = f"a_{self.target.removesuffix(names.NEXT)}" if whole else f"{function}_arg"
        return functions.symbol(self.argument_array(expr, self.width(node), wanted))

    def argument_array(self, expr: Expr, width: Dim, wanted: str) -> str:
        name = self.array(expr, width, wanted)
        if name not in self.shapes:
            self.unnamed.add(name)
        return name

    def value(self, function: str, expr: Expr, whole: bool) -> Expr:
        """A function of arrays, as an array. `whole` leaves it to the definition's own line."""
        width = _widest(self.arrays[name].width for name in names_in(expr))
        per_row = any(self.arrays[name].per_row for name in names_in(expr))
        if whole and (expr, width, per_row) not in self.known:
            return expr
        operands = names_in(expr)
        simple = len(operands) == 1 and operands[0] not in self.unnamed
        wanted = f"{function}_{operands[0] if simple else self.target}"
        return functions.symbol(self.array(expr, width, wanted))

    def array(self, expr: Expr, width: Dim, wanted: str) -> str:
        """The array that holds `expr`: one there is, or a new one."""
        per_row = any(self.arrays[name].per_row for name in names_in(expr))
        found = self.known.get((expr, width, per_row))
        if found is None:
            found = self.namer(wanted)
            self.map(found, expr, width)
        return found

    def where(self, node: Call, whole: bool) -> Expr:
        condition, chosen, other = node.args
        assert isinstance(condition, Compare)
        head, swap = COMPARISONS[condition.operator]
        left, right = self.expr(condition.left), self.expr(condition.right)
        if left.is_number and right.is_number:
            taken = COMPARE[condition.operator](left, right)
            return self.expr(chosen if taken else other)
        test = head(right, left) if swap else head(left, right)
        expr = cast(Expr, functions.where(test, self.expr(chosen), self.expr(other)))
        return self.value("where", expr, whole)

    # --- products and sums

    def operand(self, node: Node, wanted: str) -> str:
        """An array that holds `node` at the width in which it is written."""
        expr, width = self.expr(node), self.width(node)
        if expr.is_Symbol and self.arrays[expr.name].shape == (width,):
            return str(expr)
        return self.argument_array(expr, width, wanted)

    def product(self, node: Binary, own: str | None = None, per_row: bool = False) -> Expr:
        transposed = isinstance(node.left, Transpose)
        name = node.left.matrix if isinstance(node.left, Transpose) else node.left
        assert isinstance(name, Name)
        matrix = name.name
        vector = self.operand(node.right, f"{matrix}_arg")
        layout = Layout.TRANSPOSED if transposed else Layout.NORMAL
        key = (matrix, vector, layout)
        if key not in self.known:
            prefix = f"{matrix}_T" if transposed else matrix
            wanted = f"{prefix}_{self.target if vector in self.unnamed else vector}"
            fits = own is not None and (self.arrays[vector].per_row or not per_row)
            out = own if own is not None and fits else self.namer(wanted)
            per_row = self.arrays[vector].per_row
            self.add(Matmul(out, matrix, vector, layout), self.width(node), per_row)
            self.known[key] = out
        return functions.symbol(self.known[key])

    def total(self, source: str, own: str | None = None, per_row: bool = False) -> Expr:
        array = self.arrays[source]
        if array.width == 1:
            return functions.symbol(source)
        key = ("sum", source)
        if key not in self.known:
            fits = own is not None and (array.per_row or not per_row)
            out = own if own is not None and fits else self.namer(f"sum_{source}")
            self.add(Sum(out, source), 1, array.per_row)
            self.known[key] = out
        return functions.symbol(self.known[key])

    def sum(self, node: Call, whole: bool) -> Expr:
        return self.total(self.operand(node.args[0], "sum_arg"))

    def mean(self, node: Call, whole: bool) -> Expr:
        source = self.operand(node.args[0], "mean_arg")
        expr = self.mean_of(source)
        return expr if whole or expr.is_Symbol else self.named(expr, f"mean_{source}")

    def mean_of(self, source: str) -> Expr:
        width = self.arrays[source].width
        return self.total(source) if width == 1 else self.total(source) / functions.size(width)

    def named(self, expr: Expr, wanted: str) -> Expr:
        return functions.symbol(self.array(expr, 1, wanted))

    def layer_norm(self, node: Call, whole: bool) -> Expr:
        source = self.operand(node.args[0], f"layer_norm_arg_{self.target}")
        width = self.arrays[source].width
        if width == 1:
            return functions.ZERO
        of = self.target if source in self.unnamed else source
        mean = self.named(self.mean_of(source), f"mean_{of}")
        centred = self.array(functions.symbol(source) - mean, width, f"centred_{of}")
        square = self.array(functions.symbol(centred) ** 2, width, f"square_{of}")
        variance = self.named(self.mean_of(square), f"variance_{of}")
        root = sympy.Pow(variance + functions.LAYER_NORM_EPSILON, -functions.HALF)
        expr = functions.symbol(centred) * root
        per_row = self.arrays[source].per_row
        if whole and (expr, width, per_row) not in self.known:
            return expr
        return functions.symbol(self.array(expr, width, f"layer_norm_{of}"))

    # --- widths and numbers

    def width(self, node: Node) -> Dim:
        """The width of an expression as written."""
        if isinstance(node, Name):
            return 1 if node.name in self.consts else self.shape_of(node.name)[0]
        if isinstance(node, Binary) and node.operator == "@":
            transposed = isinstance(node.left, Transpose)
            matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
            assert isinstance(matrix, Name)
            return self.shape_of(matrix.name)[1 if transposed else 0]
        if isinstance(node, Call) and node.function in ("sum", "mean"):
            return 1
        return _widest(self.width(child) for child in children(node))

    def shape_of(self, name: str) -> tuple[Dim, ...]:
        return self.arrays[name].shape


def _widest(widths: Iterable[Dim]) -> Dim:
    """The common width of operands of which some may have width 1."""
    return next((width for width in widths if width != 1), 1)


_REDUCTIONS = {"sum": _Lines.sum, "mean": _Lines.mean, "layer_norm": _Lines.layer_norm}
