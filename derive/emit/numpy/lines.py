"""Products, elementwise equations and sums -> lines of NumPy.

In: the work of a schedule, and the names that are taken.  Out: lines, and a record of what
they mention, so that a function unpacks and allocates that and nothing else.
Not here: the equations above them (comments.py); functions, loops over time and memory (module.py).

`NAME` is an array of one step, [B, width]; `NAME_all` the same array for all steps,
[T, B, width]. What all rows share has one name, `NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

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
)
from derive.emit.numpy.helpers import COMPARISONS, HELPERS, NUMPY
from derive.program import Array, Layout, Map, Matmul, Namer, Over, Sum
from derive.program.program import Dim
from derive.schedule.schedule import Accumulator, Group
from derive.symbolic import functions
from derive.symbolic.code import Syntax, has_arrays, print_expression, print_terms, shortest

#: Names of the module's own; each gives way where the cell has an array of that name.
OWN = (
    "np", "Array", "Arrays", "range", "flat", "or_zeros", *HELPERS,
    "T", "B", "params", "inputs", "states", "lengths", "reverse", "training", "saved",
    "outputs", "last_states", "d_outputs", "d_states", "d_params", "d_inputs", "d_initial",
    "next_states", "t", "alive", "alive_all", "real", "scan",
)  # fmt: skip

#: The longest line.
WIDTH = 320


class Names:
    """Every name of a generated module, each given once: the user's own names come first."""

    def __init__(self, arrays: Iterable[str]) -> None:
        self._namer = Namer(arrays)
        self._given: dict[tuple[str, str], str] = {}
        self.own = SimpleNamespace(**{name: self._namer(name) for name in OWN})

    def _name(self, kind: str, key: str, wanted: str) -> str:
        if (kind, key) not in self._given:
            self._given[kind, key] = self._namer(wanted)
        return self._given[kind, key]

    def all(self, array: str) -> str:
        """The array `array` for all steps."""
        return self._name("all", array, f"{array}_all")

    def history(self, state: str) -> str:
        """The T + 1 values of a state."""
        return self._name("history", state, f"{state}_history")

    def size(self, dim: str) -> str:
        return self._name("size", dim, dim)

    def new(self, wanted: str) -> str:
        return self._namer(wanted)


@dataclass(slots=True)
class Mentions:
    """What lines speak of: arrays of one step, of all steps, shared ones, sizes, own names."""

    steps: dict[str, None] = field(default_factory=dict)
    alls: dict[str, None] = field(default_factory=dict)
    shared: dict[str, None] = field(default_factory=dict)
    dims: dict[str, None] = field(default_factory=dict)
    own: dict[str, None] = field(default_factory=dict)


class Lines:
    """Writes the lines of one function."""

    def __init__(self, names: Names, flow: Flow, comments: Mapping[str, str]) -> None:
        self.names = names
        self.table = flow.table
        self.packs = flow.packs
        self.filled = flow.filled
        self.flow = flow
        self.comments = Comments(flow, comments)
        self.mentions = Mentions()
        self.stacks: list[str] = []
        self.late_stacks: list[str] = []  # of matrices that are computed once
        self.once = set(outs(flow.once))
        self.for_all = False
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

        stacked: products of the same vectors become one, of matrices that are put together in
        `self.stacks`, outside every loop.
        """
        self.for_all, self.room = for_all, WIDTH - indent
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
        line = f"{target} = {text}"
        if len(line) <= self.room or not equation.expr.is_Add or not full:
            return [line]
        terms = print_terms(equation.expr, self.syntax, self.order)
        return [f"{target} = (", *(f"    {term}" for term in terms), ")"]

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
        matrix = self.array(term.left)
        return f"{matrix}.T" if term.layout is Layout.NORMAL else matrix

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
        normal = rows[0][0].layout is Layout.NORMAL
        blocks = [[self._oriented(term, normal) for term in row] for row in rows]
        # One row of blocks an accumulator, one column a vector; the other way round if transposed.
        if not normal:
            blocks = [list(column) for column in zip(*blocks, strict=True)]
        if len(blocks) == len(blocks[0]) == 1:
            return f"{blocks[0][0]}.T" if normal else blocks[0][0]
        name = self.names.new(common_name(matrices) + "_stack")
        joined = [self._joined(row, axis=1) for row in blocks]
        stacks = self.late_stacks if self.once.intersection(matrices) else self.stacks
        stacks.append(f"{name} = {self._joined(joined, axis=0)}")
        return f"{name}.T" if normal else name

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
