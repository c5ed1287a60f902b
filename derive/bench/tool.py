"""The speed of the tool itself: importing it, and from an edited cell to verified kernels.

In: nothing.  Out: `Figure`s.
Not here: the speed of kernels (contest.py). Each figure is taken in a fresh process, by that
process, so that the start of Python does not count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from derive.errors import BuildError

#: An import is short, so it is taken several times.
IMPORTS = 9


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds by the clock, and those of all processors together, which hardly grow where
    others use the machine. `goal`: what the project wants on two idle processors."""

    name: str
    seconds: float
    processor: float
    goal: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


#: Both clocks, children included, since the start.
_CLOCK = """
import json, os, sys, time
def now():
    t = os.times()
    return [time.perf_counter(), time.process_time() + t.children_user + t.children_system]
def since(start):
    return [b - a for a, b in zip(start, now())]
"""
_IMPORT = """
start = now()
import derive
print(json.dumps([since(start)]))
"""

#: An LSTM whose text no cache has seen: the constant is the process's own number.
_EDITED = """
import derive
{warm}
text = open({cell!r}).read()
start = now()
cell = derive.Cell.parse(text)
derive.emit(cell, target="numpy")
derive.emit(cell, target="c")
emitted = since(start)
report = derive.verify(cell, quick=True)
verified = since(start)
assert report.ok, report.text()
other = derive.Cell.parse(text.replace("1.5", "1.75"))
start = now()
derive.compile(other, target="c")
print(json.dumps([emitted, verified, since(start)]))
"""
_WARM = """
other = derive.cells.gru()
derive.emit(other, target="numpy"), derive.compile(other), derive.verify(other, quick=True)
"""
_WITHOUT = """
import numpy as np
start = now()
sys.path.insert(0, {folder!r})
import lstm
T, B, I, H = 10, 2, 3, 4
params = {{}}
for gate in "ifgo":
    params["W_" + gate] = np.ones((H, I), np.float32)
    params["U_" + gate] = np.ones((H, H), np.float32)
    params["b_" + gate] = np.ones(H, np.float32)
states = dict(h=np.zeros((B, H), np.float32), c=np.zeros((B, H), np.float32))
lstm.forward(T, B, params, dict(x=np.ones((T, B, I), np.float32)), states)
seconds = since(start)
assert not any(name.split(".")[0] in ("sympy", "derive") for name in sys.modules)
print(json.dumps([seconds]))
"""


def figures(tick: Callable[[str], None], quick: bool = False) -> list[Figure]:
    """All of them; `tick` is called with the name of each part that is done."""
    found = [Figure("import derive", *_import(1 if quick else IMPORTS), goal=0.05)]
    tick("import derive")
    with tempfile.TemporaryDirectory(prefix="derive-bench-") as name:
        folder = Path(name)
        found += _edited(folder, "cold", "", (None, 2.5, None))
        tick("edited cell, cold")
        found += _edited(folder, "warm", _WARM, (None, 1.5, None))
        tick("edited cell, warm")
        found.append(_without_sympy(folder))
        tick("generated kernel alone")
    return found


STEPS = 4  # ticks of `figures`


def _import(times: int) -> tuple[float, float]:
    pairs = [_run(_IMPORT)[0] for _ in range(times)]
    clock, processor = (statistics.median(values) for values in zip(*pairs, strict=True))
    return clock, processor


def _edited(folder: Path, label: str, warm: str, goals: tuple[float | None, ...]) -> list[Figure]:
    """From the text of an LSTM that is in no cache."""
    import derive

    text = derive.cells.lstm().to_text()
    first, rest = text.split("\n", 1)
    assert first.split() == ["cell", "lstm"]
    edited = f"cell   edited_{label}\n{rest}".replace("g * i", "1.5 * g * i").replace(
        "i * g", "1.5 * i * g"
    )
    file = folder / f"{label}.cell"
    file.write_text(edited, encoding="utf-8")
    cache = folder / f"cache_{label}"
    seconds = _run(_EDITED.format(cell=str(file), warm=warm), {"DERIVE_CACHE_DIR": str(cache)})
    what = (
        "emitted for both targets",
        "verified as derive generate does, both targets, float32 and float64",
        "edited again, kernel for C and float32",
    )
    return [
        Figure(f"{label}: edited lstm, {part}", clock, processor, goal)
        for part, (clock, processor), goal in zip(what, seconds, goals, strict=True)
    ]


def _without_sympy(folder: Path) -> Figure:
    import derive

    ((_, text),) = derive.emit(derive.cells.lstm(), target="numpy").items()
    (folder / "lstm.py").write_text(text, encoding="utf-8")
    ((clock, processor),) = _run(_WITHOUT.format(folder=str(folder)))
    what = "generated NumPy lstm: import and run, without derive and SymPy"
    return Figure(what, clock, processor)


def _run(text: str, environment: dict[str, str] | None = None) -> list[list[float]]:
    """What a fresh Python prints: pairs of seconds."""
    done = subprocess.run(
        [sys.executable, "-c", _CLOCK + text],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BuildError("a part of the benchmark failed", facts=(last,))
    result: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result
