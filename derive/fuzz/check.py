"""One cell and some calls through every target, against what is right.

In: a drawn cell, calls, targets.  Out: nothing, or a Fault.
Not here: what is drawn (grammar.py, calls.py), what is right (truth.py), the process in which
compiled kernels run (worker.py).
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from derive import pipeline
from derive.cell import Cell
from derive.errors import CellError, DeriveError
from derive.fuzz.calls import Call
from derive.fuzz.fault import fault
from derive.fuzz.grammar import Drawn
from derive.fuzz.running import Given, Results, run
from derive.fuzz.truth import Expected, expect
from derive.fuzz.worker import Worker
from derive.kernel import Kernel
from derive.targets import Target

#: Why a well-typed cell may be refused: numbers alone that have no value.
_LEGAL = ("divides by zero", "is no real number")


def cell_of(drawn: Drawn) -> tuple[Cell, str] | None:
    """The cell with parameters left to be inferred, where that is one, and its text; None where
    numbers in it have no value."""
    for text in (drawn.inferred, drawn.declared):
        try:
            cell = Cell.parse(text)
        except CellError as error:
            if text == drawn.declared and not any(words in error.what for words in _LEGAL):
                raise fault("a well-typed cell is refused", str(error)) from error
        except Exception as error:
            raise fault(f"parsing raises {type(error).__name__}", _last_lines(error)) from error
        else:
            if Cell.parse(cell.to_text()) != cell:
                raise fault("canonical text is another cell", cell.to_text())
            return cell, text
    return None


def emitted(cell: Cell, target: str) -> dict[str, str]:
    """Generated text. A cell that the front end took must not fail any more."""
    try:
        return pipeline.emit(cell, target)
    except Exception as error:
        kind = f"{target}: generating raises {type(error).__name__}"
        raise fault(kind, _last_lines(error)) from error


def check(
    cell: Cell, text: str, call: Call, kernels: Sequence[Here | Apart], *, torch: bool, poles: bool
) -> bool:
    """Whether numbers could be compared.  Fault where anything is wrong."""
    try:
        expected = expect(cell, text, call, torch=torch, poles=poles)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise fault(f"the interpreter raises {type(error).__name__}", _last_lines(error)) from error
    given = expected.given
    for target in kernels:
        results = target.run(call, given)
        if results.complaints:
            raise fault(f"{target.name}: {_kind(results.complaints[0])}", results.complaints[0])
        if results.all().keys() != (wanted := _wanted(expected, call)):
            names = f"given: {sorted(results.all())}, wanted: {sorted(wanted)}"
            raise fault(f"{target.name}: other results are wanted", names)
        if expected.compared(call.plan.dtype) and (
            wrong := expected.first_wrong(results.all(), call.plan.dtype)
        ):
            what = wrong.split()[0]
            raise fault(f"{target.name}: wrong {_GROUPS.get(what, what)}", wrong)
    return expected.compared(call.plan.dtype)


def _wanted(expected: Expected, call: Call) -> set[str]:
    """Labels of what a call gives: gradients come of `backward` alone."""
    backward = call.plan.mode == "forward" and call.plan.training
    return {label for label in expected.arrays if backward or not label.startswith("d ")}


_GROUPS = {"output": "output", "state": "last state", "d": "gradient"}


def _kind(complaint: str) -> str:
    return complaint.partition(" has ")[2] or complaint


class Here:
    """A target of one cell, in this process."""

    def __init__(self, cell: Cell, target: Target) -> None:
        self.name = target.name
        self._target = target
        self._cell = cell
        self._files = emitted(cell, target.name)

    def run(self, call: Call, given: Given) -> Results:
        dtype = call.plan.dtype
        try:
            parts = pipeline.signature_of_parts(self._cell)
            backend = self._target.load(self._files, parts, dtype)
            backend = pipeline.whole(self._cell, backend, dtype)
            kernel = Kernel(pipeline.signature(self._cell), backend, dtype, target=self.name)
            return run(kernel, call.plan, given)
        except Exception as error:
            kind = f"{self.name}: a good call raises {type(error).__name__}"
            raise fault(kind, _last_lines(error)) from error


class Apart:
    """A compiled target of one cell, in a process that may die."""

    def __init__(self, cell: Cell, worker: Worker) -> None:
        self.name = worker.target.name
        self._files = emitted(cell, self.name)
        self._signatures = pipeline.signature(cell), pipeline.signature_of_parts(cell)
        self._parts = {name: tuple(parts) for name, parts in cell.checked.wholes.items()}
        self._worker = worker

    def run(self, call: Call, given: Given) -> Results:
        return self._worker.run(self._files, self._signatures, self._parts, call.plan, given)


def _last_lines(error: Exception) -> str:
    lines = "".join(traceback.format_exception(error)).splitlines()
    shown = str(error) if isinstance(error, DeriveError) else "\n".join(lines[-7:])
    return shown
