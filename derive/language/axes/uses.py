"""The names on the right of a definition of arrays with axes.

In: a definition, and a Scope that knows all earlier ones.  Out: the Scope, filled further.
Not here: cells of one width each (language/resolve_uses.py), shapes (shapes.py).
"""

from __future__ import annotations

from derive.errors import CellError
from derive.language.constants import NotConstant, evaluate
from derive.language.resolve_uses import Uses
from derive.language.tree import Binary, Call, Compare, Name, Node, children, names_of
from derive.symbolic import functions


class AxesUses(Uses):
    """A matrix may stand anywhere; what does not fit, its shape will say."""

    def visit(self, node: Node) -> None:
        if isinstance(node, Compare):
            self.visit(node.left)
            self.visit(node.right)
            return
        try:
            evaluate(node, self.scope.consts)
        except NotConstant:
            self.visit_array(node)
        except CellError as error:
            self.scope.errors.append(error)
        else:
            for name in names_of(node):
                self.scope.count(name.name)

    def visit_array(self, node: Node) -> None:
        if isinstance(node, Name):
            if not self.looks_like_a_function(node):
                self.vector(node)
        elif isinstance(node, Binary) and node.operator == "**":
            self.visit(node.left)
            self.exponent(node)
        elif isinstance(node, Call) and node.function == "clip":
            self.visit(node.args[0])
            self.bounds(node)
        else:
            for child in children(node):
                self.visit(child)
            if isinstance(node, Call) and node.eps is not None:
                hint = "layer_norm(v, eps=1e-3)"
                value = self.constant(node.eps, "the epsilon of 'layer_norm' is no number", hint)
                if value is not None and value < 0:
                    self.report("the epsilon of 'layer_norm' is negative", node.place, hint=hint)

    def looks_like_a_function(self, name: Name) -> bool:
        if name.name in self.scope.kinds or name.name not in functions.OVER_AXES:
            return False
        what = f"'{name.name}' is a function, and needs its arguments"
        declared = f"for a parameter of this name write  param {name.name}: H"
        self.report_once(name, what, declared, hint=f"{name.name}(v)")
        return True
