"""Products, elementwise equations and sums -> lines of NumPy.

In: the work of a schedule, and the names that are taken.  Out: lines, and a record of what
they mention, so that a function unpacks and allocates that and nothing else.
Not here: the equations above them (comments.py); functions, loops over time and memory (module.py).

`NAME` is an array of one step, [B, width]; `NAME_all` the same array for all steps,
[T, B, width]. What all rows share has one name, `NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from derive.emit.numpy.comments import Comments
from derive.emit.numpy.flow import (
    Fill,
    Flow,
    Joined,
    Stacked,
    View,
    Work,
    common_name,
    is_full,
    outs,
    reused,
)
from derive.emit.numpy.helpers import COMPARISONS, HELPERS, NUMPY
from derive.emit.numpy.names import Mentions, Names
from derive.emit.numpy.packed_params import PackedParams
from derive.program import Array, Layout, Map, Matmul, Over, Sum
from derive.program.program import Dim
from derive.schedule.schedule import Accumulator, Group
from derive.symbolic import functions
from derive.symbolic.code import Syntax, has_arrays, print_expression, print_terms, shortest

#: The longest line.
WIDTH = 320


class Lines:
    """Writes the lines of one function."""

    def __init__(
        self, names: Names, flow: Flow, comments: Mapping[str, str], packing: PackedParams | None
    ) -> None:
        """packing: what the module's `pack` makes for this function, if it does."""
        self.names = names
        self.table = flow.table
        self.packs = flow.packs
        self.filled = flow.filled
        self.flow = flow
        self.comments = Comments(flow, comments)
        self.mentions = Mentions()
        self.packing = packing
        self.stacks = PackedParams()
        self.once = set(outs(flow.once))
        self.reused = reused(flow)
        self.calls: dict[str, tuple[str, str]] = {}
        self.for_all = False
        self.stacked = True
        self.room = WIDTH
        self.order = flow.order
        self.map: Map | None = None  # whose operands are being written
        self.syntax = Syntax(
            number=_literal,
            whole=_literal,
            name=self._operand,
            size=self.size,
            functions={name: self._callee(name) for name in (*NUMPY, *HELPERS)},
            comparisons=COMPARISONS,
            power=self._power,
            size_power=lambda base, exponent: f"{base}**{_literal(exponent)}",
            # Of two numbers of Python a quotient by 0 raises.
            size_quotient=lambda a, b: (
                f"({self.own('real')}({a}) / {b if b.isidentifier() else f'({b})'})"
            ),
            constant_branch=lambda text: f"{self.own('real')}({text})",
        )

    # --- names ------------------------------------------------------------------------------

    def own(self, name: str) -> str:
        self.mentions.own.setdefault(name)
        return str(getattr(self.names.own, name))

    def size(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        self.mentions.dims.setdefault(dim)
        return self.names.size(dim)

    def array(self, name: str) -> str:
        """An array as it is called here: inside the loop, or for all steps."""
        if not self.table[name].per_row:
            self.mentions.shared.setdefault(name)
            return name
        return self.all(name) if self.for_all else self.step(name)

    def step(self, name: str) -> str:
        self.mentions.steps.setdefault(name)
        return name

    def all(self, name: str) -> str:
        self.mentions.alls.setdefault(name)
        return self.names.all(name)

    def axes(self, array: Array) -> tuple[str, ...]:
        """The shape of an array as it is called here."""
        rows: tuple[str, ...] = ()
        if array.per_row:
            rows = (self.own("T"), self.own("B")) if self.for_all else (self.own("B"),)
        return (*rows, *map(self.size, array.shape))

    def _callee(self, name: str) -> str:
        own = self.names.own
        return str(getattr(own, name)) if name in HELPERS else f"{own.np}.{name}"

    def _power(self, base: str, exponent: float) -> str:
        exact = float(np.float32(exponent)) == exponent
        callee = f"{self.own('np')}.power" if exact else self.own("power")
        return f"{callee}({base}, {_literal(exponent)})"

    # --- lines ------------------------------------------------------------------------------

    def write(
        self, works: Iterable[Work], *, for_all: bool, stacked: bool = True, indent: int = 8
    ) -> list[str]:
        """The lines of `works`, for all steps or for one, to be indented by `indent` blanks.

        stacked: products of the same vectors become one, of matrices that are put together outside
        every loop, and transposed there.
        """
        self.for_all, self.room, self.stacked = for_all, WIDTH - indent, stacked
        lines: list[str] = []
        for work in works:
            if isinstance(work, View):
                lines += self._work(work)
            elif not isinstance(work, Group):
                out = work.map.out if isinstance(work, Fill) else work.out
                lines += self.comments.above(out, *self._work(work))
            elif stacked and len(work.vectors) > 1 and len(work.accumulators) == 1:
                out = work.accumulators[0].out
                lines += self.comments.above(out, self._stacked(out, work))
            else:
                for part in work.accumulators:
                    lines += self.comments.above(part.out, self._products(part))
        return lines

    def _work(self, work: Map | Accumulator | Stacked | Joined | View | Fill) -> list[str]:
        if isinstance(work, Map):
            return self._map(work, self._target(work.out))
        if isinstance(work, Fill):
            return self._map(work.map, self.member(work.pack, work.place, work.place + 1))
        if isinstance(work, Accumulator):
            return [self._sum(work)]
        if isinstance(work, View):
            part = self.member(work.pack, work.start, work.stop)
            return [f"{self._target(work.out)} = {part}"]
        if isinstance(work, Joined):
            return [f"{work.out} = {self._joined([self.array(n) for n in work.parts], axis=0)}"]
        return [self._stacked(work.out, work.group)]

    def member(self, pack: str, start: int, stop: int) -> str:
        """Members start ... stop - 1 of a pack: columns, or rows of what all rows share."""
        width = self.size(self.table[pack].shape[0])
        axes = "..., " if self.table[pack].per_row else ""
        return f"{self.array(pack)}[{axes}{_slice(start, stop, width)}]"

    def width(self, name: str) -> str:
        """Elements of one row of an array or a pack."""
        width, count = self.size(self.table[name].width), len(self.packs.get(name, (name,)))
        return width if count == 1 else f"{count} * {width}"

    def shape(self, name: str) -> str:
        """The axes of one row of an array or a pack."""
        if len(self.table[name].shape) == 1:
            return self.width(name)
        return ", ".join(map(self.size, self.table[name].shape))

    def _operand(self, name: str) -> str:
        """An operand of a Map, with an axis of length 1 wherever it is repeated."""
        text = self.array(name)
        if self.map is None:
            return text
        array, rank = self.table[name], len(self.table[self.map.out].shape)
        place = self.map.place(name)
        if place is None and array.shape == (1,) and rank > 1 and array.per_row:
            place = (0,)
        if place is None:
            return text
        if list(place) != sorted(place):
            return f"{text}.swapaxes(-1, -2)"
        axes = ", ".join(":" if k in place else "None" for k in range(rank))
        return f"{text}[..., {axes}]" if array.per_row else f"{text}[{axes}]"

    def _target(self, name: str) -> str:
        return self.names.all(name) if self.for_all and self.table[name].per_row else name

    def _map(self, equation: Map, target: str) -> list[str]:
        for node in equation.expr.atoms(*functions.NAME_OF_HEAD):
            if functions.NAME_OF_HEAD[node.func] in HELPERS:
                self.own(functions.NAME_OF_HEAD[node.func])
        self.map = equation
        text = print_expression(equation.expr, self.syntax, self.order)
        full = is_full(equation, self.table)
        if not full:
            np_, shape = self.own("np"), _tuple(self.axes(self.table[equation.out]))
            if has_arrays(equation.expr):
                text = f"{np_}.broadcast_to({text}, {shape})"
            else:
                text = f"{np_}.full({shape}, {text}, {self.own('real')})"
        elif equation.out in self.reused and equation.expr.is_Add:
            left, right = text.split(" + ")
            memory = self.array(self.reused[equation.out])
            text = f"{self.own('np')}.add({left}, {right}, out={memory})"
        if full and not self.for_all and (call := self._call(equation, text)):
            self.calls[target] = f"{target} = {text}", call
        line = f"{target} = {text}"
        if len(line) <= self.room or not equation.expr.is_Add or not full:
            return [line]
        terms = print_terms(equation.expr, self.syntax, self.order)
        return [f"{target} = (", *(f"    {term}" for term in terms), ")"]

    def _call(self, equation: Map, text: str) -> str:
        """The call of NumPy that an equation is, without its last parenthesis; "" for several."""
        np_ = self.own("np")
        if equation.expr.is_Add:
            terms = print_terms(equation.expr, self.syntax, self.order)
            if len(terms) == 2 and terms[1].startswith("+ "):
                return f"{np_}.add({terms[0]}, {terms[1][2:]}"
        elif found := re.fullmatch(r"(\w+) \* (\w+)", text):
            return f"{np_}.multiply({found[1]}, {found[2]}"
        elif re.fullmatch(rf"{np_}\.(tanh|exp|sin|cos|sqrt)\(\w+\)", text):
            return text[:-1]
        return ""

    def _sum(self, accumulator: Accumulator) -> str:
        out = self.table[accumulator.out]
        terms = " + ".join(self._reduction(term, out) for term in accumulator.terms)
        return f"{self._target(out.name)} = {terms}"

    def _reduction(self, term: Matmul | Sum, out: Array) -> str:
        if isinstance(term, Matmul) and term.layout is Layout.AXES:
            return self._along(term)
        if isinstance(term, Matmul):
            if not self.table[term.left].per_row:
                return f"{self.own('np')}.outer({self.array(term.left)}, {self.array(term.right)})"
            return f"{self._flat(term.left)}.T @ {self._flat(term.right)}"
        source, name = self.table[term.source], self.array(term.source)
        if term.over is not Over.SUM or len(source.shape) > 1:
            return self._along_axes(term, source, out)
        if source.per_row == out.per_row:
            return f"{name}.sum(axis=-1, keepdims=True)"
        if source.shape == out.shape:
            return f"{name}.sum(axis=(0, 1))"
        return f"{name}.sum().reshape(1)"

    def _along_axes(self, term: Sum, source: Array, out: Array) -> str:
        """A sum, a maximum or a running sum along some axes, and perhaps over rows."""
        name, np_ = self.array(term.source), self.own("np")
        rank = len(source.shape)
        axes = [k - rank for k in term.axes_of(source, out)]
        if term.over.keeps:
            (axis,) = axes
            if term.over is Over.CUMSUM:
                return f"{np_}.cumsum({name}, axis={axis})"
            return f"{np_}.flip({np_}.cumsum({np_}.flip({name}, {axis}), axis={axis}), {axis})"
        over_rows = [0, 1] if source.per_row and not out.per_row else []
        reduced = _tuple([str(axis) for axis in (*over_rows, *axes)])
        if term.over is Over.MAX:
            text = f"{name}.max(axis={reduced}, initial=-{np_}.inf)"
        else:
            text = f"{name}.sum(axis={reduced})"
        if len(axes) == rank:  # a number is an array of width 1
            text += "[..., None]" if out.per_row else ".reshape(1)"
        return text

    def _along(self, product: Matmul) -> str:
        """A product along axes; rows that its result lacks are summed over."""
        plain = self._plain(product)
        if plain is not None:
            matrix = self._matrix(replace(product, layout=plain))
            return self._unflat(f"{self._flat(product.right)} @ {matrix}", product.out)
        rows = "TB" if self.for_all else "B"
        letters = product.letters()
        names = (product.left, product.right, product.out)
        parts = [
            (rows if self.table[name].per_row else "") + own
            for name, own in zip(names, letters, strict=True)
        ]
        operands = []
        for name, own in zip(names[:2], letters, strict=False):
            one = self.array(name)
            operands.append(one if own or self.table[name].shape != (1,) else f"{one}[..., 0]")
        subscripts = f"{parts[0]},{parts[1]}->{parts[2]}"
        text = f'{self.own("np")}.einsum("{subscripts}", {", ".join(operands)}, optimize=True)'
        return text if letters[2] else f"{text}[..., None]"

    def _plain(self, product: Matmul) -> Layout | None:
        """The layout of a product of rows of vectors and one matrix, which BLAS does at once."""
        left, right, out = (self.table[n] for n in (product.left, product.right, product.out))
        vectors = right.per_row and out.per_row and len(right.shape) == len(out.shape) == 1
        if left.per_row or len(left.shape) != 2 or not vectors:
            return None
        of_left, of_right, of_out = product.letters()
        layouts = {(of_right, of_out): Layout.TRANSPOSED, (of_out, of_right): Layout.NORMAL}
        return layouts.get((of_left[:1], of_left[1:]))

    # --- products ---------------------------------------------------------------------------

    def _flat(self, vector: str) -> str:
        if self.for_all and self.table[vector].per_row:
            return f"{self.own('flat')}({self.array(vector)})"
        return self.array(vector)

    def _unflat(self, text: str, out: str) -> str:
        if self.for_all and self.table[out].per_row:
            return f"({text}).reshape({self.own('T')}, {self.own('B')}, {self.width(out)})"
        return text

    def _products(self, accumulator: Accumulator) -> str:
        terms = [
            f"{self._flat(term.right)} @ {self._matrix(term)}"
            for term in accumulator.terms
            if isinstance(term, Matmul)
        ]
        text = self._unflat(" + ".join(terms), accumulator.out)
        return f"{self._target(accumulator.out)} = {text}"

    def _matrix(self, term: Matmul) -> str:
        """What a row vector is multiplied with from the right."""
        if term.layout is not Layout.NORMAL:
            return self.array(term.left)
        if not self.stacked or not self.table[term.right].per_row:
            return f"{self.array(term.left)}.T"
        with self.outside([term.left]):
            text = f"{self.own('across')}({self.own('B')}, {self.array(term.left)})"
        return self.kept(text, f"{term.left}_T", [term.left])

    def _stacked(self, out: str, group: Group) -> str:
        product = f"{self._vectors(group)} @ {self._stack(group)}"
        return f"{self._target(out)} = {self._unflat(product, out)}"

    def _vectors(self, group: Group) -> str:
        if len(group.vectors) == 1:
            return self._flat(group.vectors[0])
        for name in self.filled:
            if self.packs[name] == group.vectors:
                return self._flat(name)
        parts = _tuple([self._flat(vector) for vector in group.vectors])
        return f"{self.own('np')}.concatenate({parts}, axis=-1)"

    def _stack(self, group: Group) -> str:
        """The matrices of a group in one, put together outside the loop."""
        rows = [
            [term for term in accumulator.terms if isinstance(term, Matmul)]
            for accumulator in group.accumulators
        ]
        matrices = list(dict.fromkeys(term.left for row in rows for term in row))
        if len(rows) == len(rows[0]) == 1:
            return self._matrix(rows[0][0])
        normal = rows[0][0].layout is Layout.NORMAL
        with self.outside(matrices):
            blocks = [[self._oriented(term, normal) for term in row] for row in rows]
            # One row of blocks an accumulator, one column a vector; the other way round if
            # transposed.
            if not normal:
                blocks = [list(column) for column in zip(*blocks, strict=True)]
            joined = [self._joined(row, axis=1) for row in blocks]
            if normal:
                text = f"{self.own('across')}({', '.join((self.own('B'), *joined))})"
            else:
                text = self._joined(joined, axis=0)
        return self.kept(text, common_name(matrices) + ("_T" if normal else "_stack"), matrices)

    @contextmanager
    def outside(self, matrices: Iterable[str]) -> Iterator[None]:
        """What is written meanwhile is written where these matrices are put together."""
        mentions = self.mentions
        if self.packing and self.packing.has(matrices):
            self.mentions = self.packing.mentions
        try:
            yield
        finally:
            self.mentions = mentions

    def kept(self, text: str, wanted: str, matrices: Iterable[str]) -> str:
        """The name of what `text` makes of `matrices`, once: in the module's `pack` if that has
        them all, else in front of the loop."""
        late = bool(self.once.intersection(matrices))
        if not (self.packing and self.packing.has(matrices)):
            return self.stacks.stack(text, wanted, self.names, late=late)
        name = self.packing.stack(text, wanted, self.names, late=late)
        self.mentions.shared.setdefault(name)
        return name

    def _oriented(self, term: Matmul, normal: bool) -> str:
        matrix = self.array(term.left)
        return matrix if (term.layout is Layout.NORMAL) == normal else f"{matrix}.T"

    def _joined(self, parts: Sequence[str], axis: int) -> str:
        if len(parts) == 1:
            return parts[0]
        return f"{self.own('np')}.concatenate({_tuple(parts)}, axis={axis})"


def _literal(value: float) -> str:
    return shortest(value, np.float64)


def _slice(start: int, stop: int, width: str) -> str:
    """start * width : stop * width"""
    first, last = ({0: "", 1: width}.get(count, f"{count} * {width}") for count in (start, stop))
    return f"{first}:{last}" if start == 0 and stop == 1 else f"{first} : {last}".lstrip()


def _tuple(parts: Sequence[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
