"""Nodes and constants of an ONNX graph while it grows.

In: operators and names.  Out: NodeProtos; constants are tensors of the outermost graph.
Not here: which nodes a cell becomes (elementwise.py, recurrence.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.kernel.signature import Array


class Nodes:
    """One graph, or the body of a Scan; all share names and constants.

    real: float32 or float64.  opset: which version of the operators.
    """

    def __init__(self, real: Any, opset: int, outer: Nodes | None = None) -> None:
        self.real, self.opset = np.dtype(real), opset
        self.nodes: list[Any] = []
        root = self if outer is None else outer._root
        self._root: Nodes = root
        if outer is None:
            self.taken: set[str] = set()
            self.tensors: dict[str, Array] = {}
            self._constants: dict[tuple[Any, ...], str] = {}

    def body(self) -> Nodes:
        return Nodes(self.real, self.opset, self)

    def fresh(self, wanted: str) -> str:
        """A name that no array of any graph has."""
        taken, name, count = self._root.taken, wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        return name

    def node(
        self, operator: str, *operands: str, out: str = "", doc: str = "", **attributes: Any
    ) -> str:
        """Add a node with one result; its name."""
        from onnx import helper

        name = out or self.fresh(f"{operator.lower()}")
        self.nodes.append(
            helper.make_node(
                operator, list(operands), [name], name=f"{operator} {name}",
                doc_string=doc or None, **attributes,
            )
        )  # fmt: skip
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, self.real), f"{value:g}")

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), "_".join(map(str, values)))

    def constant(self, array: Array, wanted: str) -> str:
        """The name of a constant; equal ones are one."""
        root = self._root
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in root._constants:
            name = root._constants[key] = self.fresh(f"const_{wanted}")
            root.tensors[name] = array
        return root._constants[key]

    def tensor(self, array: Array, name: str) -> str:
        """A constant by a name of its own: a parameter."""
        self._root.tensors[name] = np.ascontiguousarray(array, self.real)
        return name

    @property
    def all_tensors(self) -> dict[str, Array]:
        return self._root.tensors
