"""The stages in one place: what `derive.differentiate`, `.emit` and `.compile` do.

In: a Cell.  Out: a Gradient, a Schedule, generated files, a Kernel.
Not here: any of the work; each function names the stages it runs.
"""

from __future__ import annotations

import os
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from derive import targets as table
from derive.cell import Cell
from derive.derivative import Gradient, reverse_step, tangent_declaration, tangent_step
from derive.errors import (
    ArgumentError,
    ArgumentTypeError,
    DeriveError,
    InternalError,
    ProgramError,
)
from derive.kernel import Kernel
from derive.kernel.backend import Backend
from derive.kernel.convert import kind_text, to_count
from derive.kernel.kernel import Origin
from derive.kernel.signature import Axes, Dim, Signature
from derive.kernel.wanted import to_wanted
from derive.kernel.whole import Groups, WholeBackend
from derive.language import declare, from_step
from derive.language.axes import given
from derive.language.declaration import Declaration
from derive.schedule import Schedule
from derive.schedule import schedule as _schedule
from derive.targets import Target

DTYPES = ("float32", "float64")
#: Cells whose results are remembered, so that the stages share their work.
_REMEMBERED = 64


def load(path: str | os.PathLike[str]) -> Cell:
    """The cell in a `.cell` file. CellError if it cannot be read or is wrong."""
    return Cell.load(path)


Result = TypeVar("Result")


def by_text(function: Callable[..., Result]) -> Callable[..., Result]:
    """Remembers results by canonical text: equal cells may order their parameters differently."""
    known: OrderedDict[tuple[Any, ...], Result] = OrderedDict()

    @wraps(function)
    def remembered(cell: Cell, *options: Any) -> Result:
        key = (_a_cell(cell).to_text(), *options)
        if key not in known:
            known[key] = function(cell, *options)
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        return known[key]

    remembered.cache_clear = known.clear  # type: ignore[attr-defined]
    return remembered


def _a_cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    raise ArgumentTypeError(
        f"cell must be a Cell, not {kind_text(value)}",
        hint='derive.cells.lstm(), derive.load("mine.cell") or derive.Cell.parse(text)',
    )


@contextmanager
def _stage(cell: Cell, what: str, hint: str | None = None) -> Iterator[None]:
    """A DeriveError passes; any other exception becomes an InternalError: a fault of `derive`."""
    try:
        yield
    except (InternalError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, DeriveError) and not isinstance(error, ProgramError):
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise InternalError(
            f"cell {cell.name}: {what} failed, which is a fault of derive and not of the cell",
            facts=(
                f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})",
            ),
            hint=hint,
        ) from error


@by_text
def differentiate(cell: Cell) -> Gradient:
    """The gradient of one time step: cotangents d_NAME of every array of the forward pass."""
    with _stage(cell, "differentiation"):
        return reverse_step(cell.step)


@by_text
def tangent(cell: Cell) -> Cell:
    """The cell of directional derivatives: what `cell` computes, and its tangents.

    Parameters (P, tP), inputs (X, tX), states (S, tS) and outputs (Y, tY): those of the cell, then
    the tangents, each in the cell's order. Its `forward` is the jvp of a sequence; its `backward`
    with the cotangents on tY is the gradient of a gradient, with the given tangents as the
    cotangents of that. The tangent of a tangent gives the third order, and so on.

    Fixed arrays have no tangent. The tangent of an input that is given once is given once, that of
    a learned start is the start of the state's tangent.

    `stop_gradient(v)` counts as a constant, in the second derivative too.
    """
    with _stage(_a_cell(cell), "the tangent"):
        if cell.checked.shapes:
            return _written(cell, tangent_declaration(cell.declaration, *_of_tangent(cell)))
        step = tangent_step(cell.step, (*cell.consts, *cell.outputs))
        return _written(cell, from_step.declaration(step, *_of_tangent(cell)))


@by_text
def tangent_of_parts(cell: Cell) -> Cell:
    """`tangent` of the cell that kernels run: one whose fixed arrays are parameters, whose inputs
    change with time and whose states start from what is given.

    The parts of its arrays are those of the cell's, then theirs once more for the tangents.
    """
    if not _a_cell(cell).checked.shapes:
        return tangent(cell)
    with _stage(cell, "the tangent"):
        plain = given.all_given(cell.checked)
        made = _written(cell, tangent_declaration(plain, *_of_tangent(cell)))
    groups = (made.params, made.inputs, made.states, made.outputs)
    uneven = [
        (one, other)
        for names in map(tuple, groups)
        for one, other in zip(names[: len(names) // 2], names[len(names) // 2 :], strict=True)
        if _bounds(made, one) != _bounds(made, other)
    ]
    if uneven:  # what stop_gradient holds has a tangent that nothing cuts
        made = _written(cell, given.cut_alike(made.declaration, uneven))
    return made


def _of_tangent(cell: Cell) -> tuple[str, str]:
    """Its name and its doc."""
    says = f"What {cell.name} computes, and its directional derivative: t_v is the tangent of v."
    return f"{cell.name}_tangent", says


def _written(cell: Cell, tangent: Declaration) -> Cell:
    return Cell.of(declare.from_declaration(tangent, f"<tangent of {cell.name}>"))


def _bounds(cell: Cell, name: str) -> list[Any]:
    """Where the parts of an array begin and end."""
    return [bounds for _, bounds in cell.checked.wholes.get(name, ())]


Wanted: TypeAlias = tuple[str, ...] | None


def as_vectors(cell: Cell) -> Cell | None:
    """The cell of its parts, where those are vectors and matrices of parameters; None where they
    have axes, or are fixed, given once or learned to start from."""
    checked = _a_cell(cell).checked
    if not checked.shapes:
        return cell
    if checked.once or checked.fixed or checked.learned or from_step.unsayable(cell.step):
        return None
    made = from_step.declaration(cell.step, cell.name, cell.doc)
    return Cell.of(declare.from_declaration(made, f"<parts of {cell.name}>"))


@by_text
def schedule(cell: Cell, wrt: Wanted = None) -> Schedule:
    """What runs before, during and after the loop over time, and what is kept."""
    with _stage(cell, "scheduling"):
        return _schedule(differentiate(cell), cell.output_keys, _parts(cell, wrt))


def emit(cell: Cell, target: str = "c", *, wrt: Any = None) -> dict[str, str]:
    """Generated files, {relative path: text}, for a target such as "numpy" or "c".

    wrt: names of parameters, inputs and states whose gradients are wanted; None: all.
    """
    chosen = table.row(target)
    others = ",".join(name for name in table.usual() if name != target)
    with _stage(_a_cell(cell), f"the {target} target", f"--target {others}"):
        return dict(_files(cell, chosen, to_wanted(wrt, signature(cell))))


@by_text
def _files(cell: Cell, target: Target, wrt: Wanted) -> Mapping[str, str]:
    return target.emit(cell, schedule(cell, wrt))


#: Members of a team, in any kernel.
_MOST_THREADS = 1024


def compile(
    cell: Cell,
    target: str = "c",
    dtype: Any = "float32",
    threads: int = 1,
    *,
    wrt: Any = None,
) -> Kernel:
    """A callable kernel.

    target: "c" (needs a compiler), "numpy", or another of the table (targets.py).  dtype: "float32"
    or "float64" ("mcu": "float32" alone).  threads: how many threads one call of the C
    target uses.  wrt: names of parameters, inputs and states whose gradients `backward` computes;
    None: all. Raises ArgumentError for a wrong option and BuildError where no compiler works.
    """
    chosen = table.row(target)
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError):
        name = str(dtype)
    name = _one_of(name, DTYPES, "dtype")
    if name not in chosen.dtypes:
        known = " and ".join(chosen.dtypes)
        raise ArgumentError(
            f"the target {chosen.name} has no kernels in {name}",
            facts=(f"{chosen.title}: {known} only",),
            hint=f'dtype="{chosen.dtypes[0]}"',
        )
    threads = to_count(threads, "threads", least=1, most=_MOST_THREADS)
    wrt = to_wanted(wrt, signature(_a_cell(cell)))
    text, own = emit(cell, target, wrt=wrt), signature(cell, wrt)
    origin = Origin(compile, (cell, target, name, threads), wrt)
    if chosen.serve is None:
        made = backend(cell, target, text, name, wrt)
    else:
        plan = schedule(cell, wrt)
        elementwise = plan.forward.elementwise and plan.backward.elementwise
        parts = signature_of_parts(cell, wrt)
        made = chosen.serve(text, parts, name, threads, elementwise)
    looks = {} if chosen.looks is None else {"looks": chosen.looks(name)}
    return Kernel(own, whole(cell, made, name), name, target=target, origin=origin, **looks)


def whole(cell: Cell, parts: Backend, dtype: str) -> Backend:
    """A backend of the cell's arrays, made of one of their parts."""
    if not cell.checked.wholes:
        return parts
    groups = Groups(tuple(cell.params), tuple(cell.inputs), tuple(cell.states), tuple(cell.outputs))
    return WholeBackend(parts, cell.checked.wholes, groups, np.dtype(dtype))


def backend(
    cell: Cell, target: str, files: Mapping[str, str], dtype: str, wrt: Wanted = None
) -> Backend:
    """What given texts {path: text} compile to, with one thread and not tuned.

    They need not be those that `emit` gives: texts that are wrong may raise any exception.
    """
    return table.row(target).load(files, signature_of_parts(cell, wrt), dtype)


def untuned(cell: Cell, target: str, dtype: str, threads: int, wrt: Wanted = None) -> Backend:
    """A target with one way to run it, on arrays of parts. BuildError where it cannot be built."""
    files, unit = emit(cell, target, wrt=wrt), table.row(target).unit
    if unit is None:
        return backend(cell, target, files, dtype, wrt)
    plan = schedule(cell, wrt)
    elementwise = plan.forward.elementwise and plan.backward.elementwise
    own = signature_of_parts(cell, wrt)
    return unit(files, own, dtype, threads, elementwise=elementwise)


def _parts(cell: Cell, wrt: Wanted) -> Wanted:
    """What generated code calls the arrays with these names."""
    wholes = cell.checked.wholes
    if wrt is None:
        return None
    return tuple(part for name in wrt for part, *_ in wholes.get(name, ((name,),)))


def signature(cell: Cell, wrt: Wanted = None) -> Signature:
    """Names and shapes of a cell's arrays, without its equations."""
    checked = _a_cell(cell).checked

    def widths(shapes: Mapping[str, tuple[Dim, ...]]) -> dict[str, Axes]:
        return {n: shape[0] if len(shape) == 1 else shape for n, shape in shapes.items()}

    return Signature(
        name=cell.name,
        params=dict(cell.params),
        inputs=widths(cell.inputs),
        states=widths(cell.states),
        outputs=widths(cell.outputs),
        fixed=checked.fixed,
        once=checked.once,
        learned=checked.learned,
        starts=checked.starts,
        wrt=wrt,
    )


def signature_of_parts(cell: Cell, wrt: Wanted = None) -> Signature:
    """Names and shapes of the arrays that generated code works with: where an array is cut
    (`K @ concat(x, h)`), its parts."""
    step = cell.step
    table = step.program.table()

    def widths(names: Iterable[tuple[str, str]]) -> dict[str, Axes]:
        shapes = ((key, table[name].shape) for key, name in names)
        return {key: shape[0] if len(shape) == 1 else shape for key, shape in shapes}

    return Signature(
        name=cell.name,
        params={name: table[name].shape for name in step.params},
        inputs=widths(zip(step.inputs, step.inputs, strict=True)),
        states=widths(zip(step.states, step.states, strict=True)),
        outputs=widths(zip(cell.output_keys, step.outputs, strict=True)),
        wrt=_parts(cell, wrt),
    )


def _one_of(value: Any, known: tuple[str, ...], what: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise ArgumentError(f"unknown {what} {value!r}", facts=(f"known: {', '.join(known)}",))
    return value
