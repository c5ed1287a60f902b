"""Times of the catalogue's families beside the LSTM: `python tests/helpers/catalogue_speed.py`.

Training (a forward and a backward pass) by the C target in float32 with one thread, in turn with
the LSTM of the same input and as many units, by the machinery of `derive bench`. The result is
catalogue_speed.json, which the catalogue's page reads; it names the processor. With `build` as an
argument kernels are compiled and nothing is measured: what is measured later then only measures.
Not here: the page (catalogue_page.py), contests with other libraries (`derive bench`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from derive import cells
from derive.bench.peers.derive_numpy import kernel_contestant
from derive.bench.shapes import Shape
from derive.bench.task import task_of
from derive.catalogue.entries import GROUPS
from derive.kernel.tune.clock import Clock, Effort, interleaved

FILE = Path(__file__).with_name("catalogue_speed.json")
STEPS, ROWS, WIDTH = 100, 32, 128
#: Widths that are not H: heads share the width among them, ranks and states of a channel are small.
NAMED = {"D": 128, "K": 16, "R": 16, "E": 16, "M": 128, "P": 128, "Q": 16}
HEADS = {"N": 4, "D": 32, "K": 32, "R": 16}
EFFORT = Effort(seconds=0.3, least=5, most=15)


def shape_of(family: str) -> Shape:
    """As many units as the LSTM, in heads where the family has some."""
    cell = cells.from_spec(family)
    dims = {dim for shape in cell.states.values() for dim in shape if isinstance(dim, str)}
    named = HEADS if "N" in dims else NAMED
    used = cell.step.program.dims()
    return Shape(STEPS, ROWS, WIDTH, WIDTH, tuple((k, v) for k, v in named.items() if k in used))


def contestant(family: str) -> Any:
    return kernel_contestant(
        family, task_of(cells.from_spec(family), shape_of(family), 1), "c", "float32"
    )


def families() -> list[str]:
    return [family for group in GROUPS.values() for family in group]


def processor() -> str:
    """The processor's name, where Linux says it."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def measured(family: str, lstm: Any) -> dict[str, Any]:
    one = contestant(family)
    turns = [Clock(c.train).sample for c in (lstm, one)]
    base, own = interleaved(turns, EFFORT)
    shape = shape_of(family)
    return {
        "named": dict(shape.named),
        "milliseconds": round(own.median * 1e3, 3),
        "lstm": round(own.median / base.median, 3),
    }


def main() -> None:
    if sys.argv[1:] == ["build"]:
        for family in families():
            contestant(family)
            print(family, flush=True)
        return
    lstm = contestant("lstm")
    found = {}
    for family in families():
        found[family] = measured(family, lstm)
        print(family, found[family], flush=True)
    report = {"processor": processor(), "steps": STEPS, "rows": ROWS, "width": WIDTH,
              "families": found}  # fmt: skip
    FILE.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
