"""The names on the right of a definition of arrays with axes.

In: a definition, and a Scope that knows all earlier ones.  Out: the Scope, filled further.
Not here: cells of one width each (language/resolve_uses.py), shapes (shapes.py).
"""

from __future__ import annotations

from derive.language.resolve_uses import Uses
from derive.language.tree import Call, Name, Node


class AxesUses(Uses):
    """A matrix may stand anywhere; shapes.py finds those that do not fit."""

    def visit_array(self, node: Node) -> None:
        if isinstance(node, Name):
            self.vector(node)
            return
        self.visit_parts(node)
        if isinstance(node, Call) and node.eps is not None:
            hint = "layer_norm(v, eps=1e-3)"
            value = self.constant(node.eps, "the epsilon of 'layer_norm' is no number", hint)
            if value is not None and value < 0:
                self.report("the epsilon of 'layer_norm' is negative", node.place, hint=hint)
