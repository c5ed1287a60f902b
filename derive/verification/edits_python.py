"""Edits of generated Python.

In: the text of a module.  Out: Edits of its functions.
Not here: how the text runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from derive.verification.edits import Edit, scaled

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//",
    ast.Pow: "*",
}  # fmt: skip
#: Functions of NumPy for others of the same kind.
_FUNCTIONS = {
    "add": "subtract", "subtract": "add", "multiply": "add", "divide": "multiply",
    "minimum": "maximum", "maximum": "minimum", "empty": "zeros", "zeros": "empty",
    "exp": "expm1", "expm1": "exp", "log": "log1p", "log1p": "log", "sin": "cos", "cos": "sin",
    "tanh": "sinh", "sqrt": "square", "less": "less_equal", "less_equal": "less",
    "greater": "greater_equal", "greater_equal": "greater", "sum": "mean", "mean": "sum",
    "where": "maximum", "negative": "abs", "abs": "negative", "reciprocal": "negative",
    "cumsum": "flip", "max": "min", "min": "max",
}  # fmt: skip
#: Other names of a function that are tried in the place of one.
NAMES = 2


def edits(path: str, text: str) -> list[Edit]:
    """Of all functions. A text that does not parse has none."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    found: list[Edit] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found += _Edits(path, text, node).found()
    return list(dict.fromkeys(found))


class _Edits:
    """The edits of one function."""

    def __init__(self, path: str, text: str, function: ast.FunctionDef) -> None:
        self._path = path
        self._function = function
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._text = text
        self._known: list[str] = [a.arg for a in function.args.args]

    def found(self) -> Iterator[Edit]:
        for statement in self._function.body:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                yield from self._statement(statement)

    # --- places in the text -----------------------------------------------------------------

    def _span(self, node: ast.AST) -> tuple[int, int]:
        start, end = (
            self._lines[line - 1] + column
            for line, column in (
                (node.lineno, node.col_offset),  # type: ignore[attr-defined]
                (node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
            )
        )
        return start, end

    def _source(self, node: ast.AST) -> str:
        return self._text[slice(*self._span(node))]

    def _edit(self, node: ast.AST, new: str, kind: str) -> Edit:
        return Edit(self._path, *self._span(node), new, kind)

    def _between(self, left: ast.AST, right: ast.AST, new: str, kind: str) -> Edit:
        """Another operator between two operands; brackets stay where they are."""
        start, end = self._span(left)[1], self._span(right)[0]
        old = self._text[start:end]
        sign = old.strip("() \n")
        at = start + old.index(sign)
        return Edit(self._path, at, at + len(sign), new, kind)

    # --- statements -------------------------------------------------------------------------

    def _statement(self, node: ast.stmt) -> Iterator[Edit]:
        if isinstance(node, (ast.With, ast.For, ast.If, ast.While)):
            for name in ("test", "iter", "items"):
                value = getattr(node, name, None)
                if name == "test" and value is not None:
                    yield self._edit(value, f"not ({self._source(value)})", "condition")
                    yield from self._expression(value)
                elif name == "iter" and value is not None:
                    yield from self._expression(value)
            if isinstance(node, ast.For):
                self._learn(node.target)
            for part in (*node.body, *getattr(node, "orelse", ())):
                yield from self._statement(part)
            return
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            new = all(isinstance(t, ast.Name) and t.id not in self._known for t in targets)
            if not new:  # what is never defined would only be a NameError
                yield self._edit(node, "pass", "statement")
            for target in targets:
                if isinstance(target, ast.Subscript):
                    yield from self._index(target)
            if isinstance(node, ast.AugAssign):
                sign = _OPERATORS.get(type(node.op))
                if sign:
                    yield self._between(node.target, node.value, f"{sign}=", "operator")
                    yield self._between(node.target, node.value, "=", "operator")
        elif isinstance(node, ast.Expr):
            yield self._edit(node, "pass", "statement")
        if value is not None:
            yield from self._expression(value)
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._learn(target)

    def _learn(self, target: ast.expr) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and node.id not in self._known:
                self._known.append(node.id)

    # --- expressions ------------------------------------------------------------------------

    def _expression(self, root: ast.expr) -> Iterator[Edit]:
        for node in ast.walk(root):
            if isinstance(node, ast.Compare):
                new = _COMPARISONS.get(type(node.ops[0]))
                if new:
                    yield self._between(node.left, node.comparators[0], new, "comparison")
            elif isinstance(node, ast.BoolOp):
                sign = "or" if isinstance(node.op, ast.And) else "and"
                yield self._between(node.values[0], node.values[1], sign, "condition")
            elif isinstance(node, ast.BinOp):
                yield from self._operation(node)
            elif isinstance(node, ast.UnaryOp):
                kind = "condition" if isinstance(node.op, ast.Not) else "sign"
                yield self._edit(node, self._source(node.operand), kind)
            elif isinstance(node, ast.IfExp):
                one, two = self._source(node.orelse), self._source(node.body)
                yield self._edit(node, f"{one} if {self._source(node.test)} else {two}", "choice")
            elif isinstance(node, ast.Constant):
                yield from self._constant(node)
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(node)
            elif isinstance(node, ast.Subscript):
                yield from self._index(node)
            elif isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.Name):
                yield from self._name(node)

    def _operation(self, node: ast.BinOp) -> Iterator[Edit]:
        left, right = self._source(node.left), self._source(node.right)
        if isinstance(node.op, ast.MatMult):
            yield self._edit(node, f"({right}) @ ({left})", "operator")
        elif sign := _OPERATORS.get(type(node.op)):
            yield self._between(node.left, node.right, sign, "operator")
        if isinstance(node.op, (ast.Add, ast.Mult)):
            yield self._edit(node, left, "term")
            yield self._edit(node, right, "term")

    def _constant(self, node: ast.Constant) -> Iterator[Edit]:
        value = node.value
        if isinstance(value, bool):
            yield self._edit(node, str(not value), "constant")
        elif isinstance(value, int):
            yield self._edit(node, str(value + 1), "constant")
            if value:
                yield self._edit(node, str(value - 1), "constant")
        elif isinstance(value, float):
            yield self._edit(node, repr(scaled(value)), "constant")

    def _attribute(self, node: ast.Attribute) -> Iterator[Edit]:
        owner = self._source(node.value)
        if node.attr == "T":
            yield self._edit(node, owner, "transposed")
        elif node.attr in _FUNCTIONS:
            yield self._edit(node, f"{owner}.{_FUNCTIONS[node.attr]}", "function")

    def _index(self, node: ast.Subscript) -> Iterator[Edit]:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in parts:
            if isinstance(part, ast.Slice):
                for bound in (part.lower, part.upper):
                    if bound is not None:
                        yield self._edit(bound, f"{self._source(bound)} + 1", "index")
            elif isinstance(part, (ast.Name, ast.BinOp)):
                yield self._edit(part, f"({self._source(part)}) - 1", "index")

    def _call(self, node: ast.Call) -> Iterator[Edit]:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "copy" and not node.args:
            yield self._edit(node, self._source(node.func.value), "call")
        for one, two in zip(node.args, node.args[1:], strict=False):
            start, end = self._span(one)[0], self._span(two)[1]
            between = self._text[self._span(one)[1] : self._span(two)[0]]
            new = self._source(two) + between + self._source(one)
            if isinstance(one, ast.Starred) or self._source(one) == self._source(two):
                continue
            yield Edit(self._path, start, end, new, "call")
        for keyword in node.keywords:
            if keyword.arg == "out":
                start = self._text.rfind(",", 0, self._span(keyword)[0])
                yield Edit(self._path, start, self._span(keyword)[1], "", "call")
            elif keyword.arg == "axis" and isinstance(keyword.value, ast.Tuple):
                first = keyword.value.elts[0]
                yield self._edit(keyword.value, self._source(first), "call")

    def _name(self, node: ast.Name) -> Iterator[Edit]:
        """A name for one that was defined shortly before, or is of the same group of names."""
        if not isinstance(node.ctx, ast.Load) or node.id not in self._known:
            return
        at = self._known.index(node.id)
        near = [*self._known[at + 1 : at + 2], *self._known[max(0, at - 1) : at]]
        for name in near[:NAMES]:
            yield self._edit(node, name, "name")
