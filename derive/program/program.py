"""Program: everything one step computes, as named equations of three kinds.

In: arrays with shapes and equations over them.  Out: a checked, immutable Program.
Not here: where equations come from (language/lower.py, derivative/), in which order and over
which loops they run (schedule/), evaluating them (interpret.py).

| kind   | meaning                                                                      |
| ------ | ---------------------------------------------------------------------------- |
| Map    | elementwise expression; an operand is repeated along the axes that it lacks  |
| Matmul | product of two arrays, summed over what they share and the result lacks      |
| Sum    | sum, maximum or running sum over axes or rows                                |

An array is either *per row* (one for each batch row: inputs, states, everything computed from
them) or *shared* by all rows (parameters and what depends on them alone). It has up to three
axes besides. Everything here is positional: which axis meets which by its name has been settled
by the language.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy

from derive.errors import ProgramError
from derive.symbolic import functions

Dim = str | int


@dataclass(frozen=True, slots=True)
class Array:
    """A named array. `shape` is (width,) for a vector, (rows, columns) for a matrix, or three
    axes; the rows of the batch do not count."""

    name: str
    shape: tuple[Dim, ...]
    per_row: bool

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) == 2

    @property
    def width(self) -> Dim:
        assert len(self.shape) == 1
        return self.shape[0]


#: (operand, the axis of the result on which each of its axes lies), for some operands.
Places = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Map:
    """out = expr, elementwise. Operands have out's shape, or width 1, or are Sizes.

    places: operands of other shapes, which are repeated along the axes of `out` on which none of
    theirs lies: f of N in f * C with C of N x D lies on (0,), and C transposed on (1, 0).
    """

    out: str
    expr: functions.Expr
    places: Places = ()

    @property
    def operands(self) -> tuple[str, ...]:
        return names_in(self.expr)

    def place(self, name: str) -> tuple[int, ...] | None:
        """Where the axes of an operand lie; None: on those of the result, or it has width 1."""
        for operand, place in self.places:
            if operand == name:
                return place
        return None


def placed(out: str, expr: functions.Expr, places: Iterable[tuple[str, tuple[int, ...]]]) -> Map:
    """A Map with the places of the operands that it has, in their order."""
    known = dict(places)
    return Map(out, expr, tuple((n, known[n]) for n in names_in(expr) if n in known))


class Layout(enum.Enum):
    NORMAL = "normal"  # out[j] = sum_k left[j, k] right[k]
    TRANSPOSED = "transposed"  # out[j] = sum_k left[k, j] right[k]
    OUTER = "outer"  # out[j, k] = sum over rows of left[j] right[k]
    AXES = "axes"  # as `subscripts` say; over rows too where operands have them and out has not
    BLOCKS = "blocks"  # in a plan: as AXES, with matrices that all rows share (schedule/blocks.py)


@dataclass(frozen=True, slots=True)
class Matmul:
    """A product of two arrays. `left` is the matrix, except in an outer product of vectors.

    subscripts: of a product along named axes, a letter for each axis, as in NumPy's einsum:
    "nij,nj->ni" multiplies the matrices of n heads with their vectors.
    """

    out: str
    left: str
    right: str
    layout: Layout
    subscripts: str = ""

    @property
    def operands(self) -> tuple[str, ...]:
        return (self.left, self.right)

    def letters(self) -> tuple[str, str, str]:
        """A letter for each axis of left, right and out."""
        operands, out = (self.subscripts or _LETTERS[self.layout]).split("->")
        left, right = operands.split(",")
        return left, right, out


_LETTERS = {
    Layout.NORMAL: "ij,j->i",
    Layout.TRANSPOSED: "ji,j->i",
    Layout.OUTER: "i,j->ij",
}


class Over(enum.Enum):
    """What a Sum does along an axis."""

    SUM = "sum"
    MAX = "max"  # drops the axis, as SUM does
    CUMSUM = "cumsum"  # out[k] = the sum of source[: k + 1]
    CUMSUM_BACK = "cumsum_back"  # out[k] = the sum of source[k :]

    @property
    def keeps(self) -> bool:
        return self in (Over.CUMSUM, Over.CUMSUM_BACK)


@dataclass(frozen=True, slots=True)
class Sum:
    """out = source reduced over `axes`; and summed over rows, where out has none.

    axes: left out, that of a vector whose `out` has width 1, or none. Over all its axes an array
    reduces to width 1.
    """

    out: str
    source: str
    over: Over = Over.SUM
    axes: tuple[int, ...] = ()

    @property
    def operands(self) -> tuple[str, ...]:
        return (self.source,)

    def axes_of(self, source: Array, out: Array) -> tuple[int, ...]:
        """The axes of `source` that are reduced, or summed along."""
        if self.axes:
            return self.axes
        return () if source.shape == out.shape and not self.over.keeps else (0,)


Equation = Map | Matmul | Sum


@lru_cache(maxsize=1 << 14)
def names_in(expr: functions.Expr) -> tuple[str, ...]:
    """Names of the arrays in `expr`, each once, in the order of a left-to-right reading."""
    seen: dict[str, None] = {}
    for node in sympy.preorder_traversal(expr):
        if node.is_Symbol and not functions.is_size(node):
            seen.setdefault(node.name)
    return tuple(seen)


@dataclass(frozen=True, slots=True)
class Program:
    """Equations in an order in which each can be computed; every array is defined once.

    `inputs` are arrays given from outside, `outputs` the arrays that the caller wants
    (inputs may be among them). Neither repeats a name.
    """

    arrays: tuple[Array, ...]
    inputs: tuple[str, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[str, ...]

    def table(self) -> dict[str, Array]:
        return {array.name: array for array in self.arrays}

    def definitions(self) -> dict[str, Equation]:
        return {equation.out: equation for equation in self.equations}

    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions that are known at run time only, in order of first use."""
        seen: dict[str, None] = {}
        for array in self.arrays:
            for dim in array.shape:
                if isinstance(dim, str):
                    seen.setdefault(dim)
        return tuple(seen)


@dataclass(frozen=True, slots=True)
class Step:
    """One time step of a cell: a Program and the part each array plays in it.

    `program.inputs` is params, then inputs, then states (previous values). `next_states`
    names, for each state, the array that holds its next value (`h_next` for `h`); `outputs`
    names arrays of any kind, a bare state among them. `program.outputs` is next_states and
    outputs, each name once. `defined` are the arrays that the author named in an equation.
    """

    program: Program
    params: tuple[str, ...]
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    next_states: tuple[str, ...]
    outputs: tuple[str, ...]
    defined: tuple[str, ...] = ()

    def needed(self) -> set[str]:
        """Arrays that a next state or an output comes from, and those themselves."""
        found = {*self.next_states, *self.outputs}
        for equation in reversed(self.program.equations):
            if equation.out in found:
                found.update(equation.operands)
        return found


class Namer:
    """Hands out names for arrays that the user did not name; the user's names come first.

    A name that is taken gets a number: mean_arg, mean_arg_2, mean_arg_3.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def __call__(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def check(program: Program) -> Program:
    """The Program itself, once every rule holds; ProgramError names the equation otherwise."""
    table = program.table()
    if len(table) != len(program.arrays):
        raise ProgramError("an array is declared twice")
    defined = set(program.inputs)
    for equation in program.equations:
        for name in equation.operands:
            if name not in defined:
                raise ProgramError(f"{equation}: {name} is used before it is defined")
        if equation.out in defined:
            raise ProgramError(f"{equation}: {equation.out} is defined twice")
        defined.add(equation.out)
        _check_shapes(equation, table)
    if missing := [name for name in program.outputs if name not in defined]:
        raise ProgramError(f"outputs without a definition: {missing}")
    if len(set(program.outputs)) != len(program.outputs):
        raise ProgramError("an output is named twice")
    if strange := [name for name in table if name not in defined]:
        raise ProgramError(f"arrays without a definition: {strange}")
    return program


def _check_shapes(equation: Equation, table: Mapping[str, Array]) -> None:
    out = table[equation.out]
    if isinstance(equation, Map):
        for name in equation.operands:
            operand = table[name]
            place = equation.place(name)
            fits = operand.shape == out.shape or operand.shape == (1,)
            if place is not None:
                fits = tuple(out.shape[k] for k in place) == operand.shape
                fits = fits and len(set(place)) == len(place) and is_aligned(place, len(out.shape))
            if not fits or (operand.per_row and not out.per_row):
                raise ProgramError(f"{equation}: {operand} does not fit {out}")
    elif isinstance(equation, Sum):
        source = table[equation.source]
        axes = equation.axes_of(source, out)
        left_over = tuple(dim for k, dim in enumerate(source.shape) if k not in axes) or (1,)
        fits = out.shape == (source.shape if equation.over.keeps else left_over)
        over_rows = source.per_row and not out.per_row
        fits = fits and not (over_rows and equation.over is not Over.SUM)
        fits = fits and not (equation.over.keeps and len(axes) != 1)
        if not fits or (out.per_row and not source.per_row) or not (axes or over_rows):
            raise ProgramError(f"{equation}: {source} does not sum to {out}")
    elif equation.subscripts:
        _check_axes(equation, table)
    else:
        left, right = table[equation.left], table[equation.right]
        wanted: tuple[Dim, ...]
        if equation.layout is Layout.OUTER:
            wanted = (*left.shape, *right.shape)
            fits = left.per_row == right.per_row and not out.per_row
        else:
            rows, columns = left.shape
            if equation.layout is Layout.TRANSPOSED:
                rows, columns = columns, rows
            wanted = (rows,)
            fits = (columns,) == right.shape and out.per_row == right.per_row and not left.per_row
        if not fits or out.shape != wanted:
            raise ProgramError(f"{equation}: {left} and {right} do not give {out}")


def is_aligned(place: tuple[int, ...], rank: int) -> bool:
    """Whether axes lie in order, or are all of them with the last two swapped."""
    return list(place) == sorted(place) or place == (*range(rank - 2), rank - 1, rank - 2)


def _check_axes(product: Matmul, table: Mapping[str, Array]) -> None:
    """Every letter means one axis; it stands in two of the three places at least."""
    arrays = tuple(table[name] for name in (product.left, product.right, product.out))
    letters = product.letters()
    known: dict[str, Dim] = {}
    fits = True
    for array, own in zip(arrays, letters, strict=True):
        shape = () if not own and array.shape == (1,) else array.shape
        fits = fits and len(own) == len(set(own)) == len(shape)
        for letter, dim in zip(own, shape, strict=False):
            fits = fits and known.setdefault(letter, dim) == dim
    fits = fits and all(sum(letter in own for own in letters) > 1 for letter in known)
    left, right, out = arrays
    rows = left.per_row or right.per_row
    fits = fits and (out.per_row <= rows and (out.per_row or left.per_row == right.per_row))
    if not fits:
        raise ProgramError(f"{product}: {left} and {right} do not give {out}")


def prune(program: Program) -> Program:
    """Without the equations that no output needs. Inputs stay."""
    needed = set(program.outputs)
    kept: list[Equation] = []
    for equation in reversed(program.equations):
        if equation.out in needed:
            kept.append(equation)
            needed.update(equation.operands)
    kept.reverse()
    names = {*program.inputs, *(equation.out for equation in kept)}
    arrays = tuple(array for array in program.arrays if array.name in names)
    return Program(arrays, program.inputs, tuple(kept), program.outputs)
