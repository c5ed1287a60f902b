"""`--what cells` and `--what axes`: random cells and calls through every target and oracle.

In: choices of hypothesis.  Out: nothing, or a Fault; the case as text that can be pasted.
Not here: how cells and calls are drawn (grammar.py, axes_grammar.py, calls.py), what is right
(truth.py).
"""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from derive import targets as table
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.fuzz.calls import Call, calls, is_told, snippet
from derive.fuzz.check import Apart, Here, cell_of, check
from derive.fuzz.fault import Fault
from derive.fuzz.grammar import Drawn, cells
from derive.fuzz.worker import Worker

_CALLS = 3


#: Drawn from; a target may have some of them.
_DTYPES = ("float64", "float64", "float64", "float32")


class CellsRoom:
    """Cells by the thousand. counts: cells, calls, and calls of which every number was compared."""

    def __init__(
        self,
        targets: Sequence[str],
        *,
        sanitize: bool = False,
        drawn: Callable[[], st.SearchStrategy[Drawn]] = cells,
    ) -> None:
        """drawn: the grammar."""
        self._drawn = drawn
        self.counts: Counter[str] = Counter()
        rows = [table.row(name) for name in targets]
        self._dtypes = [d for d in _DTYPES if all(d in row.dtypes for row in rows)]
        apart = [row for row in rows if row.unit is not None or (sanitize and row.flags)]
        alone = [row.name for row in rows if row not in apart and not row.module]
        if sanitize and alone:
            raise ArgumentError(
                f"--sanitize has no way to build the target {alone[0]}", hint="--target c"
            )
        self._least = max((row.least for row in rows), default=0)
        self._here = [row for row in rows if row not in apart]
        self._workers = [Worker(row, sanitize=sanitize) for row in apart]
        self._torch = _has_torch()
        self._case: tuple[str, Cell | None, Call | None] = ("", None, None)

    def example(self, data: st.DataObject) -> None:
        drawn = data.draw(self._drawn())
        self._case = (drawn.declared, None, None)
        found = cell_of(drawn)
        if found is None:
            return
        cell, text = found
        self._case = (text, cell, None)
        if not is_told(cell):
            return
        kernels: list[Here | Apart] = [Here(cell, row) for row in self._here]
        kernels += [Apart(cell, worker) for worker in self._workers]
        dtype = data.draw(st.sampled_from(self._dtypes))
        self.counts["cells"] += 1
        if self.counts["cells"] % 100 == 0:
            linecache.clearcache()  # a generated module leaves its lines there, for tracebacks
        for _ in range(_CALLS):
            call = data.draw(calls(cell, dtype))
            if min(call.sizes.values(), default=1) < self._least:
                continue
            self._case = (text, cell, call)
            compared = check(cell, text, call, kernels, torch=self._torch, poles=drawn.poles)
            self.counts["calls"] += 1
            self.counts["compared"] += compared

    def case(self, found: Fault) -> str:
        """The cell, and the call where there was one."""
        text, cell, call = self._case
        if cell is None or call is None:
            return f"import derive\n\nderive.Cell.parse({text!r})\n" if cell is None else (
                "import derive\n\n"
                f"cell = derive.Cell.parse({text!r})\n"
                f"derive.emit(cell, {_target(found)!r})\n"
            )  # fmt: skip
        return snippet(text, cell, call, _target(found))

    def cell_text(self) -> str:
        return self._case[0]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


def _target(found: Fault) -> str:
    """The target at fault, or the first where it is none."""
    name, _, _ = found.kind.partition(":")
    return name if name in table.names() else table.names()[0]


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None
