"""Arrays with axes in C: where operands of a stage lie, and products and reductions along axes.

In: equations over arrays with axes, and where arrays are in memory.  Out: texts of C.
Not here: stages (stages.py), the loops themselves (templates/c/kernels/axes.h.j2).

A stage whose operands lie on some of its axes runs over rows and all axes but the last as if they
were rows, and over the last in vectors. `i_0`, `i_1` are the places on the leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from derive.emit.c_sharing import FIRST, Work, elements, reads, writes
from derive.program import Array, Layout, Map, Matmul, Over, Program, Sum
from derive.program.program import Dim
from derive.schedule.plan import Plan, Stage

DimText = Callable[[Dim], str]


def uses_axes(plan: Plan) -> bool:
    """Whether a pass needs the loops along axes."""
    return any(
        stage_lies(stage, plan.program)
        or any(is_along(t) or _by_blocks(t) for t in terms_of(stage))
        for _, stages in plan.phases
        for stage in stages
    )


def terms_of(stage: Stage) -> list[Matmul | Sum]:
    grouped = (accumulator for group in stage.groups for accumulator in group.accumulators)
    return [term for accumulator in (*stage.sums, *grouped) for term in accumulator.terms]


def _by_blocks(term: Matmul | Sum) -> bool:
    return isinstance(term, Matmul) and term.layout is Layout.BLOCKS


def is_along(term: Matmul | Sum) -> bool:
    if isinstance(term, Matmul):
        return term.layout is Layout.AXES
    return term.over is not Over.SUM or bool(term.axes)


def stage_lies(stage: Stage, program: Program) -> bool:
    """Whether a stage has operands that lie on some of its axes only, or are turned."""
    return any(equation.places for equation in stage.maps)


# --- elementwise stages ---------------------------------------------------------------------


def lengths_of(shape: Sequence[Dim], dim: DimText) -> tuple[tuple[str, str], ...]:
    """Fields that hold the lengths of the axes of a stage: names and texts."""
    return tuple((f"dk_length_{k}", dim(axis)) for k, axis in enumerate(shape))


def place_of(name: str, maps: Sequence[Map]) -> tuple[int, ...] | None:
    for equation in maps:
        place = equation.place(name)
        if place is not None:
            return place
    return None


def load_text(array: Array, place: tuple[int, ...] | None, rank: int, slot: str) -> str:
    """A vector of an operand, in a stage that runs over each of its axes."""
    if place is None and array.shape == (1,) and rank > 0:
        place = ()
    if place is None:
        place = tuple(range(rank))
    last = rank - 1
    turned = list(place) != sorted(place)
    leading = [axis for axis in place if axis != last]
    if turned:
        leading = [axis for axis in place if axis not in (last, last - 1)]
    if array.per_row and not turned and place == tuple(range(rank)):
        return f"dk_load_part(a->{slot} + place, rest)"
    at = "row" if array.per_row else ""
    for axis in leading:
        at = _behind(at, f"a->dk_length_{axis}", f"i_{axis}")
    if turned:
        stride = f"a->dk_length_{last - 1}"
        first = f"({_behind(at, f'a->dk_length_{last}', 'unit')}) * {stride} + i_{last - 1}"
        return f"dk_load_apart(a->{slot} + {first}, {stride}, rest)"
    if last in place:
        return f"dk_load_part(a->{slot} + {_behind(at, f'a->dk_length_{last}', 'unit')}, rest)"
    return f"dk_splat(a->{slot}[{at or '0'}])"


def _behind(at: str, length: str, index: str) -> str:
    """The place at `index` of the axis behind `at`; `at` is empty before the first axis."""
    if not at:
        return index
    return f"({at}) * {length} + {index}" if " " in at else f"{at} * {length} + {index}"


# --- along axes -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Along:
    """One call of the loops along axes; `axes` are (length, strides of out, left and right)."""

    axes: tuple[tuple[str, str, str, str], ...]
    rows: tuple[str, str, str]


def product_axes(term: Matmul, arrays: tuple[Array, Array, Array], dim: DimText) -> Along:
    """arrays: left, right and out."""
    letters = term.letters()
    return _along(letters, arrays, dim)


def sum_axes(term: Sum, source: Array, out: Array, dim: DimText) -> Along:
    """A sum over some axes, and perhaps over rows, as a product of one operand."""
    letters = "abc"[: len(source.shape)]
    gone = term.axes_of(source, out)
    kept = "".join(letter for k, letter in enumerate(letters) if k not in gone)
    return _along((letters, "", kept), (source, None, out), dim)


def _along(
    letters: tuple[str, str, str], arrays: tuple[Array, Array | None, Array], dim: DimText
) -> Along:
    mine, theirs, out = letters
    order = out + "".join(dict.fromkeys(c for c in mine + theirs if c not in out))
    shapes: dict[str, Dim] = {}
    for own, array in zip(letters, arrays, strict=True):
        if array is not None and own:
            shapes.update(zip(own, array.shape, strict=True))
    order = _innermost_last(order, letters)
    axes = tuple(
        (
            dim(shapes[c]),
            _stride(c, out, shapes, dim),
            _stride(c, mine, shapes, dim),
            _stride(c, theirs, shapes, dim),
        )
        for c in order
    )
    left, right, result = arrays
    rows = tuple(_size(array, dim) if array is not None and array.per_row else "0"
                 for array in (result, left, right))  # fmt: skip
    return Along(axes, rows)  # type: ignore[arg-type]


def _innermost_last(order: str, letters: tuple[str, str, str]) -> str:
    """The letter that is the last of most arrays is the innermost loop."""
    if not order:
        return order
    best = max(order, key=lambda c: (sum(own[-1:] == c for own in letters), order.index(c)))
    return order.replace(best, "") + best


def _stride(letter: str, own: str, shapes: dict[str, Dim], dim: DimText) -> str:
    """Elements from one place on an axis to the next; 0 where an array has no such axis."""
    if letter not in own:
        return "0"
    behind = own[own.index(letter) + 1 :]
    return " * ".join(dim(shapes[c]) for c in behind) or "1"


def _size(array: Array, dim: DimText) -> str:
    return " * ".join(map(dim, array.shape))


def calls_axes(along: Along) -> str:
    """The axes as an initializer."""
    rows = (f"{{{', '.join(axis)}}}" for axis in along.axes or (("1", "0", "0", "0"),))
    return f"(const dk_axis[]){{{', '.join(rows)}}}"


@dataclass(frozen=True, slots=True)
class AlongCall:
    """arrays: the operands, then the result; read, slot: where they are; pointers: texts."""

    arrays: tuple[Array, ...]
    read: tuple[str, ...]
    slot: str
    pointers: tuple[str, ...]
    alive: str


def along_call(term: Matmul | Sum, call: AlongCall, dim: DimText) -> tuple[str, Work]:
    """The call for one product or reduction along axes, and its work."""
    *operands, out = call.arrays
    *sources, place = call.pointers
    rows = elements("rows")
    if isinstance(term, Sum) and term.over is not Over.SUM:
        return _reduction(term, call, dim)
    if isinstance(term, Matmul):
        along = product_axes(term, (operands[0], operands[1], out), dim)
    else:
        along = sum_axes(term, operands[0], out, dim)
    right = sources[1] if len(sources) > 1 else "NULL"
    axes = f"{max(len(along.axes), 1)}, {calls_axes(along)}, {', '.join(along.rows[1:])}"
    rest = f"{axes}, {sources[0]}, {right}, {place}, team);"
    if operands[0].per_row and not out.per_row:
        accesses = (*map(reads, call.read), reads("alive"), writes(call.slot, FIRST))
        text = f"dk_over_rows(rows, {call.alive}, {rest}"
        return text, Work("dk_over_rows", accesses)
    own = (
        reads(name, rows) if array.per_row else reads(name)
        for name, array in zip(call.read, operands, strict=True)
    )
    text = f"dk_each_row(rows, {_size(out, dim)}, {rest}"
    return text, Work("dk_each_row", (*own, writes(call.slot, rows)))


def _reduction(term: Sum, call: AlongCall, dim: DimText) -> tuple[str, Work]:
    """The largest element, or running sums, along one axis."""
    source, out = call.arrays
    (axis,) = term.axes_of(source, out)
    parts = source.shape[:axis], source.shape[axis : axis + 1], source.shape[axis + 1 :]
    sizes = ", ".join(" * ".join(map(dim, part)) or "1" for part in parts)
    back = f" {int(term.over is Over.CUMSUM_BACK)}," if term.over.keeps else ""
    name = "dk_running_sum" if term.over.keeps else "dk_max_along"
    text = f"{name}(rows, {sizes},{back} {', '.join(call.pointers)}, team);"
    rows = elements("rows")
    return text, Work(name, (reads(call.read[0], rows), writes(call.slot, rows)))
