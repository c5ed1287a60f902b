"""Reads one expression of `.cell` text into a tree. Python's own parser finds the structure.

In: a part of a statement.  Out: an expression.Node, every name and number with its place.
Not here: stray characters and missing operands (tokens.py), statements (parse_text.py), whether
names exist and shapes fit (check_shapes.py).

What passes the scan of tokens.py is given to `ast.parse`, which evaluates nothing, and copied
node by node; a kind of node that is not known here is an error. The prime of `h'` travels
through Python's parser as U+02B9, a letter of one column.
"""

from __future__ import annotations

import ast

from derive.errors import CellError, Place
from derive.language import foreign, names
from derive.language import tree as expression
from derive.language.tokens import MAX_DEPTH, MAX_TERMS, Statement, scan, too_deep, words
from derive.language.tree import Node
from derive.symbolic import functions
from derive.widths import Width

_PRIME = "\u02b9"


def read(statement: Statement, start: int, end: int) -> Node:
    """The tree of the expression that stands in statement.text[start:end]."""
    found = scan(statement, start, end)
    first = found[0].start
    text = statement.text[first:end].replace("'", _PRIME)
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        raise statement.error("this does not read as an expression", first) from None
    except (RecursionError, MemoryError):
        raise too_deep(statement.place(first)) from None
    return _Copy(statement, first, text).node(tree)


def read_start(statement: Statement, start: int, end: int) -> Node:
    """What a parameter starts from: numbers, elementwise functions and draws; or the parameter
    that a state begins with."""
    found = scan(statement, start, end)
    first = found[0].start
    try:
        tree = ast.parse(statement.text[first:end], mode="eval").body
    except (SyntaxError, ValueError):
        raise statement.error("this does not read as an expression", first) from None
    return _Start(statement, first, statement.text[first:end]).node(tree)


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.MatMult: "@",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


class _Copy:
    """Copies Python's tree into ours."""

    def __init__(self, statement: Statement, first: int, text: str) -> None:
        self.statement = statement
        self.first = first
        self.lines = text.split("\n")
        self.depth = 0  # of the tree
        self.nesting = 0  # without the left sides of operators: a + b + c does not nest

    def offset(self, tree: ast.expr) -> int:
        """Where `tree` begins in the statement; Python counts columns in bytes."""
        before = sum(len(line) + 1 for line in self.lines[: tree.lineno - 1])
        line = self.lines[tree.lineno - 1].encode()
        return self.first + before + len(line[: tree.col_offset].decode())

    def place(self, tree: ast.expr) -> Place:
        return self.statement.place(self.offset(tree))

    def error(self, what: str, tree: ast.expr, hint: str | None = None) -> CellError:
        return self.statement.error(what, self.offset(tree), hint)

    def node(self, tree: ast.expr, nested: int = 1) -> Node:
        self.depth += 1
        self.nesting += nested
        if self.depth > MAX_TERMS or self.nesting > MAX_DEPTH:
            raise too_deep(self.place(tree))
        node = self.copy(tree)
        self.depth -= 1
        self.nesting -= nested
        return node

    def copy(self, tree: ast.expr) -> Node:
        place = self.place(tree)
        if isinstance(tree, ast.Constant):
            return self.number(tree)
        if isinstance(tree, ast.Name):
            return self.name(tree)
        if isinstance(tree, ast.Attribute):
            return expression.Transpose(self.node(tree.value), place)
        if isinstance(tree, ast.Subscript):
            return self.cut(tree)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd)):
            operand = self.node(tree.operand)
            if isinstance(tree.op, ast.UAdd):
                return operand
            return expression.Negative(operand, place)
        if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
            left, right = self.node(tree.left, nested=0), self.node(tree.right)
            return expression.Binary(_OPERATORS[type(tree.op)], left, right, place)
        if isinstance(tree, ast.Call):
            return self.call(tree)
        if isinstance(tree, ast.Compare):
            raise self.error("a comparison stands in where(...) only", tree, "where(a < b, u, v)")
        raise self.error("this does not read as an expression", tree)

    def number(self, tree: ast.Constant) -> Node:
        at = self.offset(tree)
        word = next(words(self.statement, at, len(self.statement.text)))
        assert word.kind == "number"
        return expression.Number(word.text, self.statement.place(at))

    def name(self, tree: ast.Name) -> Node:
        if tree.id in functions.RESERVED:
            raise self.error(
                f"'{tree.id}' is a function, and needs its arguments", tree, usage(tree.id)
            )
        if tree.id.endswith(_PRIME):
            return expression.Name(names.next_of(tree.id[:-1]), self.place(tree), primed=True)
        return expression.Name(tree.id, self.place(tree))

    def call(self, tree: ast.Call) -> Node:
        if not isinstance(tree.func, ast.Name):
            raise self.error("only a function can be called", tree)
        function = tree.func.id
        if function not in functions.PUBLIC_FUNCTIONS:
            raise self.unknown_function(function.replace(_PRIME, "'"), tree)
        if function in functions.OVER_AXES:
            return self.over_axes(function, tree)
        if tree.keywords:
            raise self.error(
                "functions take no arguments by name", tree, "give the value alone, in its place"
            )
        wanted, given = arity(function), len(tree.args)
        if wanted != given:
            plural = "" if wanted == 1 else "s"
            raise CellError(
                f"'{function}' takes {wanted} argument{plural}",
                place=self.place(tree),
                facts=(f"{given} {'is' if given == 1 else 'are'} given",),
                hint=usage(function),
            )
        if function == "where":
            condition = self.condition(tree.args[0])
            branches = map(self.node, tree.args[1:])
            return expression.Call(function, (condition, *branches), self.place(tree))
        args = tuple(map(self.node, tree.args))
        return expression.Call(function, args, self.place(tree))

    def over_axes(self, function: str, tree: ast.Call) -> Node:
        """A reduction and its axis; joining, splitting, and matrices made of vectors."""
        place, given = self.place(tree), tree.args
        least, most = functions.OVER_AXES[function]
        options = {keyword.arg: keyword.value for keyword in tree.keywords}
        if options and (function != "layer_norm" or set(options) != {"eps"}):
            hint = "give the value alone, in its place"
            raise self.error("functions take no arguments by name", tree, hint)
        if not least <= len(given) <= most:
            self.wrong_count(function, tree)
        eps = self.node(options["eps"]) if options else None
        if function == "eye":
            return expression.Call(function, (), place, axis=self.width(given[0]).dim)
        if function == "split":
            count = self.count(given[1])
            return expression.Split(self.node(given[0]), count, place)
        if function in ("max", "min") and len(given) == 2 and not isinstance(given[1], ast.Name):
            args = [ast.unparse(arg).replace(_PRIME, "'") for arg in given]
            what = f"'{function}' acts over an axis, and '{args[1]}' names none"
            raise self.error(what, tree, f"{function}imum({', '.join(args)})")
        if function in functions.REDUCTIONS:
            axis = self.width(given[1]).dim if len(given) > 1 else None
            return expression.Call(function, (self.node(given[0]),), place, axis, eps)
        return expression.Call(function, tuple(map(self.node, given)), place)

    def wrong_count(self, function: str, tree: ast.Call) -> None:
        least, given = functions.OVER_AXES[function][0], len(tree.args)
        plural = "" if least == 1 else "s"
        raise CellError(
            f"'{function}' takes {least} argument{plural}",
            place=self.place(tree),
            facts=(f"{given} {'is' if given == 1 else 'are'} given",),
            hint=usage(function),
        )

    def count(self, tree: ast.expr) -> int:
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int) and tree.value > 1:
            return tree.value
        raise self.error("split takes a number of parts, from 2 on", tree, "split(v, 4)")

    def cut(self, tree: ast.Subscript) -> Node:
        """v[start:stop]; split(v, n)[k] is one of its parts."""
        array, at = self.node(tree.value), tree.slice
        if isinstance(array, expression.Split):
            index = at.value if isinstance(at, ast.Constant) else None
            if not isinstance(index, int) or not index < array.count:
                what = f"a split into {array.count} has the parts 0 to {array.count - 1}"
                raise self.error(what, tree, f"split(v, {array.count})[0]")
            return expression.Part(array.array, index, array.count, array.place)
        if not isinstance(at, ast.Slice) or at.step is not None:
            index = at.value if isinstance(at, ast.Constant) else 0
            text = ast.unparse(tree.value).replace(_PRIME, "'")
            what = "a single element has no name: arrays are cut into parts"
            hint = f"{text}[{index}:{index + 1}]" if isinstance(index, int) else f"{text}[0:1]"
            raise self.error(what, tree, hint)
        start, stop = (None if end is None else self.width(end) for end in (at.lower, at.upper))
        first = None if start is None or not start.terms else start.dim
        return expression.Cut(array, first, None if stop is None else stop.dim, self.place(tree))

    def width(self, tree: ast.expr) -> Width:
        """A width such as H, 4*H, I + H or 12."""
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int) and tree.value >= 0:
            return Width.of(tree.value)
        if isinstance(tree, ast.Name) and names.dimension_fault(tree.id) is None:
            return Width.of(tree.id)
        if isinstance(tree, ast.BinOp):
            left, right = self.width(tree.left), self.width(tree.right)
            if isinstance(tree.op, ast.Add):
                return left + right
            if isinstance(tree.op, ast.Sub) and right.fits(left):
                return left - right
            if isinstance(tree.op, ast.Mult) and isinstance(left.dim, int):
                return right.times(left.dim)
            if isinstance(tree.op, ast.Mult) and isinstance(right.dim, int):
                return left.times(right.dim)
        raise self.error(
            "this is no width: dimensions, numbers, their sums and multiples", tree, "4*H"
        )

    def condition(self, tree: ast.expr) -> Node:
        if not isinstance(tree, ast.Compare):
            raise self.error(
                "the first argument of 'where' is a comparison", tree, "where(a < b, u, v)"
            )
        if len(tree.ops) != 1:
            raise self.error(
                "one comparison at a time",
                tree,
                "where(a < b, where(b < c, u, v), v)",
            )
        left, right = self.node(tree.left), self.node(tree.comparators[0])
        return expression.Compare(_OPERATORS[type(tree.ops[0])], left, right, self.place(tree))

    def unknown_function(self, function: str, tree: ast.Call) -> CellError:
        args = [ast.unparse(arg).replace(_PRIME, "'") for arg in tree.args]
        near = names.closest(function, functions.PUBLIC_FUNCTIONS)
        hint = foreign.advice(function, args) or (f"did you mean '{near}'?" if near else None)
        facts = () if hint else foreign.KNOWN
        what = f"there is no function '{function}'"
        return CellError(what, place=self.place(tree), facts=facts, hint=hint)


#: Draws, and how many numbers each takes.
DRAWS: dict[str, int] = {
    "uniform": 2, "normal": 2, "glorot": 0, "orthogonal": 0, "eye": 0, "zeros": 0, "ones": 0,
}  # fmt: skip


class _Start(_Copy):
    """Copies the tree of a start value, where draws are functions."""

    def copy(self, tree: ast.expr) -> Node:
        if isinstance(tree, ast.Name) and DRAWS.get(tree.id) == 0:
            return expression.Call(tree.id, (), self.place(tree))
        return super().copy(tree)

    def name(self, tree: ast.Name) -> Node:
        if DRAWS.get(tree.id, 0):
            example = f"{tree.id}({'-1, 1' if tree.id == 'uniform' else '0, 1'})"
            raise self.error(f"'{tree.id}' needs its numbers", tree, example)
        return super().name(tree)

    def call(self, tree: ast.Call) -> Node:
        drawn = isinstance(tree.func, ast.Name) and tree.func.id in DRAWS
        if not drawn:
            return super().call(tree)
        assert isinstance(tree.func, ast.Name)
        wanted = DRAWS[tree.func.id]
        if len(tree.args) != wanted or tree.keywords:
            example = tree.func.id + (
                f"({'-1, 1' if tree.func.id == 'uniform' else '0, 1'})" if wanted else ""
            )
            raise self.error(f"'{tree.func.id}' takes {wanted or 'no'} numbers", tree, example)
        args = tuple(map(self.node, tree.args))
        return expression.Call(tree.func.id, args, self.place(tree))


_USAGE = {
    "outer": "outer(u, v)",
    "concat": "concat(u, v)",
    "split": "a, b = split(v, 2)",
    "eye": "eye(H)",
    "maximum": "maximum(a, b)",
    "minimum": "minimum(a, b)",
    "clip": "clip(v, -1, 1)",
    "where": "where(a < b, u, v)",
}


def arity(function: str) -> int:
    return functions.RULES[function].arity if function in functions.RULES else 1


def usage(function: str) -> str:
    return _USAGE.get(function, f"{function}(v)")
