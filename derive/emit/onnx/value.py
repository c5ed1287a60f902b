"""Names that stand for the arrays of an ONNX graph, with the operators of Python.

In: a Tracer.  Out: `Traced` and `Gate`.
Not here: what an operator leaves in the graph (graph.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derive.emit.onnx.graph import Tracer


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """An array that the graph computes."""

    tracer: Tracer
    name: str

    # NumPy leaves operators with one of its numbers on the left to this class.
    __array_ufunc__ = None

    def __getitem__(self, key: tuple[Any, slice]) -> Traced:
        whole, part = key
        assert whole is Ellipsis and part.step is None
        return self.tracer.part(self, part.start, part.stop)

    def __neg__(self) -> Traced:
        return self.tracer.node("Neg", self)

    def __add__(self, other: Any) -> Traced:
        return self.tracer.add(self, other)

    def __radd__(self, other: Any) -> Traced:
        return self.tracer.add(other, self)

    def __sub__(self, other: Any) -> Traced:
        return self.tracer.node("Sub", self, other)

    def __rsub__(self, other: Any) -> Traced:
        return self.tracer.node("Sub", other, self)

    def __mul__(self, other: Any) -> Traced:
        return self.tracer.node("Mul", self, other)

    def __rmul__(self, other: Any) -> Traced:
        return self.tracer.node("Mul", other, self)

    def __truediv__(self, other: Any) -> Traced:
        return self.tracer.node("Div", self, other)

    def __rtruediv__(self, other: Any) -> Traced:
        return self.tracer.node("Div", other, self)

    def __pow__(self, exponent: float) -> Traced:
        return self.tracer.node("Pow", self, exponent)

    def __lt__(self, other: Any) -> Traced:
        return self.tracer.node("Less", self, other)

    def __le__(self, other: Any) -> Traced:
        return self.tracer.node("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Traced:
        return self.tracer.node("Greater", self, other)

    def __ge__(self, other: Any) -> Traced:
        return self.tracer.node("GreaterOrEqual", self, other)

    def __eq__(self, other: object) -> Traced:  # type: ignore[override]
        return self.tracer.node("Equal", self, other)

    def __ne__(self, other: object) -> Traced:  # type: ignore[override]
        return self.tracer.node("Not", self.tracer.node("Equal", self, other))


@dataclass(frozen=True, slots=True, eq=False)
class Gate(Traced):
    """Part of a product in a body, plus what is known before the loop. name: that of the part."""

    known: tuple[Any, ...] = ()
