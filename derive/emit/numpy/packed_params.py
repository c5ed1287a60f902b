"""What depends on parameters alone, so that it is made once for many calls.

In: the arrays that a cell's parameters are.  Out: the lines of a module's `pack`, as `forward` and
a step of packed parameters ask for them; or the same lines within one function.
Not here: what the lines say (lines.py); equations of one form side by side, which are packs of
another kind (pack.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from derive.emit.numpy.flow import Work, is_full, operands, outs
from derive.emit.numpy.names import Mentions, Names
from derive.program import Array, Map
from derive.symbolic import functions


class PackedParams:
    """Lines in three lists: matrices of parameters put together, works that run once, and
    matrices of their results put together."""

    def __init__(self, params: Iterable[Array] = ()) -> None:
        params = tuple(params)
        self.mentions = Mentions()
        self.stacks: list[str] = []
        self.once: list[str] = []
        self.late: list[str] = []
        self.made: dict[str, None] = {}
        self._known = {array.name for array in params}
        self._dims = {dim for array in params for dim in array.shape}
        self._named: dict[str, str] = {}

    def lines(self) -> list[str]:
        return [*self.stacks, *self.once, *self.late]

    def has(self, names: Iterable[str]) -> bool:
        """Whether these arrays are parameters, or made of them here."""
        return self._known.issuperset(names)

    def can_make(self, work: Work, table: Mapping[str, Array]) -> bool:
        """Whether a work that runs once reads nothing else, and lengths that parameters tell."""
        if not self._dims or not self.has(operands(work)):
            return False
        dims = {dim for name in outs([work]) for dim in table[name].shape if isinstance(dim, str)}
        if isinstance(work, Map):
            sizes = {str(s)[1:-1] for s in work.expr.free_symbols if functions.is_size(s)}
            dims = sizes if is_full(work, table) else dims | sizes
        return self._dims.issuperset(dims)

    def make(self, work: Work, lines: Iterable[str]) -> None:
        self.once += lines
        self._known.update(outs([work]))
        self.made.update(dict.fromkeys(outs([work])))

    def stack(self, text: str, wanted: str, names: Names, *, late: bool) -> str:
        """The name of what `text` makes; late: of results of `once`."""
        if text not in self._named:
            name = self._named[text] = names.new(wanted)
            self.made.setdefault(name)
            (self.late if late else self.stacks).append(f"{name} = {text}")
        return self._named[text]
