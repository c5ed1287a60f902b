"""verify: independent verdicts about a cell's derivative and its kernels.

In: a Cell (or a Gradient, or generated texts).  Out: a `Report`: every check with what was
observed and what was allowed, and where the bound comes from.
Not here: anything of what is checked. The reference is `interpret` over the forward Program of
one step, run through time by reference.py, and mpmath; never the derived gradient.

| file             | what it holds                                                       |
| ---------------- | ------------------------------------------------------------------- |
| reference.py     | a sequence in the plainest way; slopes by complex step              |
| rounding.py      | running error bounds: where tolerances come from                    |
| noise.py         | random roundings: how far results go in practice                    |
| kinks.py         | how far a point keeps off kinks and jumps                           |
| points.py        | random points; sizes.py: odd sizes                                  |
| truth.py         | what must come out at a point, and how far rounding may take it     |
| through_time.py  | the derivative under test, interpreted through time                 |
| gradient.py      | checks of the derived Program; conventions.py: on kinks             |
| second_order.py  | jvp and double backward over time, by the tangent                   |
| mutants.py       | the checker works                                                   |
| text_mutants.py  | verification notices edits of the text: edits.py, edits_c.py,       |
|                  | edits_python.py                                                     |
| kernels.py       | checks of kernels; promises.py: of the array contract               |
| paths.py         | every way through a kernel: places.py, expected.py, covering.py,    |
|                  | fences.py, team.c                                                   |
| as_called.py     | the kernels that users get, of those of parts                       |
| wide_calls.py    | whether two texts do the same in calls that verification never made |
| spread.py        | how far a result of one may be off                                  |
| refusals.py      | calls that a compiled function must refuse                          |
| apart.py         | work in a process of its own                                        |
| ulp.py           | the header's functions against mpmath, called by functions.c        |
| accuracy.py      | functions and derivatives of both targets against mpmath; bends.py: |
|                  | their second derivatives                                            |
| targets.py       | where kernels come from                                             |
| fixed_point.py   | cells in fixed point, down to their C                               |
| session.py       | all of it in order                                                  |
| report.py        | Row, Report                                                         |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from derive import pipeline
from derive import targets as table
from derive.cell import Cell
from derive.derivative import Gradient
from derive.errors import ArgumentError
from derive.kernel import Kernel
from derive.program import Step
from derive.verification.fixed_point import check_fixed
from derive.verification.report import Report as Report
from derive.verification.report import Row as Row
from derive.verification.session import Progress, Session
from derive.verification.targets import start_building

__all__ = ["Report", "Row", "verify", "verify_files", "verify_program"]


def verify(
    cell: Cell,
    *,
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] = ("float32", "float64"),
    seed: int = 0,
    kernels: Sequence[Kernel] | None = None,
    progress: Progress | None = None,
    quick: bool = False,
) -> Report:
    """Every check of the derived gradient and of the kernels of `targets` and `dtypes`.

    kernels: these instead of compiling `targets`.  quick: fewer points and sizes, a sample of
    the mutants, no second derivatives.  progress: called with (what comes next, done, total).
    One seed gives one report.

    `report.ok` speaks of everything that was asked for: it is False where a check failed, and
    where a kernel cannot be built on this machine (`report.not_built`). Without a C compiler ask
    for targets=("numpy",). Raises ArgumentError for an unknown target or dtype, or for none.
    """
    known = table.names()
    targets = table.usual() if targets is None else targets
    if kernels is None:
        targets = _some_of(targets, known, "target")
    elif not kernels:
        raise ArgumentError("no kernel to verify was given")
    dtypes = _some_of(dtypes, pipeline.DTYPES, "dtype")
    gradient = pipeline.differentiate(cell)
    every_way = kernels is None and not quick
    session = Session(
        gradient, cell.name, cell.output_keys, seed, quick, progress,
        every_way=every_way, moving=_moving(cell),
    )  # fmt: skip
    if kernels is None:
        building = start_building(cell, targets, dtypes, every_way)
        session.program()
        built = building.built()
        session.built(built)
        session.as_called(cell, built, wanted=every_way)
        if any(table.row(target).fixed for target in targets) and session.has_a_point:
            session.add(check_fixed(cell, session.small.point, seed))
    else:
        session.program()
        session.kernels(kernels)
    return session.report()


def verify_program(
    gradient: Gradient, *, name: str = "gradient", seed: int = 0, quick: bool = False
) -> Report:
    """The checks of a derived gradient alone, by interpretation."""
    session = Session(gradient, name, gradient.step.outputs, seed, quick, None)
    session.program()
    return session.report()


def verify_files(
    cell: Cell,
    files: Mapping[str, str],
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    seed: int = 0,
    progress: Progress | None = None,
    quick: bool = False,
    program: bool = False,
) -> Report:
    """The kernels that given texts make, {path: text}: are they kernels of this cell?

    The texts are run. They may have been edited by hand; anything wrong with them, down to
    not compiling, is a row that failed, and so is a file of no target or of another cell.
    program: with the checks of the derived gradient, as `verify` has them.
    """
    dtypes = _some_of(dtypes, pipeline.DTYPES, "dtype")
    gradient = pipeline.differentiate(cell)
    parts = ("program", "kernels") if program else ("kernels",)
    session = Session(
        gradient, cell.name, cell.output_keys, seed, quick, progress, parts, not quick,
        _moving(cell),
    )  # fmt: skip
    building = start_building(cell, files, dtypes, not quick)
    if program:
        session.program()
    built = building.built()
    session.built(built)
    session.as_called(cell, built)
    return session.report()


def _moving(cell: Cell) -> Callable[[], Step] | None:
    """The tangent of a cell with axes is derived from its text, so that is what is checked."""
    if not cell.checked.shapes:
        return None
    return lambda: pipeline.tangent_of_parts(cell).step


def _some_of(values: Sequence[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    """One or several of `known`; a bare name stands for the only one."""
    chosen = (values,) if isinstance(values, str) else tuple(dict.fromkeys(values))
    for value in chosen:
        if value not in known:
            raise ArgumentError(f"unknown {what} {value!r}", facts=(f"known: {', '.join(known)}",))
    if not chosen:
        raise ArgumentError(
            f"no {what} to verify was given",
            facts=(f"known: {', '.join(known)}",),
            hint="derive.verification.verify_program(derive.differentiate(cell))",
        )
    return chosen
