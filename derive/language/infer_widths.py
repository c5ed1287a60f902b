"""Widths that the text does not give: a small unification in which width 1 broadcasts.

In: equalities and elementwise groups over unknown widths.  Out: a width for each, or None.
Not here: messages. A contradiction is left as it is: check_shapes.py walks over the expressions
afterwards, with all widths known, finds it and says where.

Three kinds of knowledge, used in this order:

1. What follows. In an elementwise group, operands have one common width or 1, and so has the
   result. The operand of a product has the matrix's number of columns.
2. The width it meets. An operand that could be 1 or H takes H.
3. A parameter that meets arrays of width 1 only is a scalar. Numbers do not count as arrays,
   and the rows of a matrix are never guessed this way.
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.language.declaration import Dim


@dataclass(frozen=True, slots=True)
class Group:
    """result = an elementwise function of operands. A next value (`fits`) may be narrower."""

    result: int
    operands: tuple[int, ...]
    fits: bool = False


class Widths:
    """Unknown widths are numbered; `dim` tells what is known of one."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._dim: list[Dim | None] = []
        self._groups: list[Group] = []
        self._scalars: list[int] = []
        self._rows: list[int] = []

    def new(self, dim: Dim | None = None) -> int:
        self._parent.append(len(self._parent))
        self._dim.append(dim)
        return len(self._parent) - 1

    def may_be_scalar(self, width: int) -> None:
        self._scalars.append(width)

    def never_scalar(self, width: int) -> None:
        self._rows.append(width)

    def dim(self, width: int) -> Dim | None:
        return self._dim[self._root(width)]

    def group(self, operands: tuple[int, ...]) -> int:
        """The width of an elementwise result."""
        if len(set(operands)) == 1:
            return operands[0]
        result = self.new()
        self._groups.append(Group(result, operands))
        return result

    def fit(self, state: int, value: int) -> None:
        """A value of width 1 or the state's becomes its next value."""
        self._groups.append(Group(state, (value,), fits=True))

    def equal(self, a: int, b: int) -> bool:
        """Makes two widths one; False where both are known, or one already."""
        a, b = self._root(a), self._root(b)
        if a == b or (self._dim[a] is not None and self._dim[b] is not None):
            return False
        if self._dim[a] is None:
            a, b = b, a
        self._parent[b] = a
        return True

    def set(self, width: int, dim: Dim) -> bool:
        root = self._root(width)
        if self._dim[root] is not None:
            return False
        self._dim[root] = dim
        return True

    def solve(self) -> None:
        """Until nothing changes: all that follows, else one width met, else one scalar."""
        while self._follow() or self._meet() or self._meet_scalar():
            pass

    def _root(self, width: int) -> int:
        while self._parent[width] != width:
            width = self._parent[width]
        return width

    def _follow(self) -> bool:
        return any([self._follow_group(group) for group in self._groups])

    def _follow_group(self, group: Group) -> bool:
        result = self.dim(group.result)
        if group.fits:
            return result == 1 and self.set(group.operands[0], 1)
        known = [dim for dim in map(self.dim, group.operands) if dim is not None]
        unknown = list(dict.fromkeys(self._root(w) for w in group.operands if self.dim(w) is None))
        wide = next((dim for dim in known if dim != 1), None)
        if wide is not None:
            return self.set(group.result, wide)
        if not unknown:
            return self.set(group.result, 1)
        if len(unknown) == 1:
            return self.equal(group.result, unknown[0])
        return result == 1 and any([self.set(width, 1) for width in unknown])

    def _meet(self) -> bool:
        for group in self._groups:
            result = self.dim(group.result)
            if result is None or result == 1:
                continue
            for width in group.operands:
                if self.set(width, result):
                    return True
        return False

    def _meet_scalar(self) -> bool:
        scalars = {self._root(width) for width in self._scalars}
        scalars -= {self._root(width) for width in self._rows}
        for group in self._groups:
            dims = [self.dim(width) for width in group.operands]
            if group.fits or 1 not in dims or any(dim not in (1, None) for dim in dims):
                continue
            for width in group.operands:
                if self._root(width) in scalars and self.set(width, 1):
                    return True
        return False
