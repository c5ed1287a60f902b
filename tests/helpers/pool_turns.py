"""Kernels with different numbers of threads in turn, over a pool whose threads are late.

    python tests/helpers/pool_turns.py turns|callers|forks|exits CALLS

Each call must give the bits of one thread. `turns` calls from one thread, `callers` from three,
`forks` forks children that call meanwhile, `exits` ends the process in the middle of three calls.
A program of its own, since what it looks for may hang or crash.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import derive
from derive.build.compiler import FLAGS
from derive.build.library import compile_library
from derive.build.templates import environment
from derive.kernel import Kernel, c_backend
from derive.kernel.signature import Sizes
from derive.kernel.tune.options import Choice

DELAYS = Path(__file__).parents[1] / "c" / "pool_delays.h"
#: As many threads as processors hide what a worker without work does: 3 and 4 have some.
TEAMS = (2, 2, 3, 1, 4)
STEPS, INPUTS, UNITS = 48, 64, 96


def pool(files: Mapping[str, str]) -> Any:
    """The pool of derive.kernel.pool with delays at every step of its protocol."""
    shared = {path: text for path, text in files.items() if path.endswith("derive_kernels.h")}
    shared["c/pool.c"] = environment().get_template("c/pool.c.j2").render()
    return compile_library(shared, flags=(*FLAGS, "-include", str(DELAYS))).derive_pool_run


def kernels() -> list[Kernel]:
    """GRUs of 2, 2, 3, 1 and 4 threads, and one of 4 that was tuned to use 3."""
    c_backend.pool = pool
    cell = derive.cells.gru()
    found = [derive.compile(cell, threads=count) for count in (*TEAMS, 4)]
    tuned: Any = found[-1]._backend
    tuned._use(Sizes(STEPS, 1, {"I": INPUTS, "H": UNITS}), Choice(threads=3))
    return found


def main(mode: str, calls: int) -> None:
    own = kernels()
    params = own[0].init(I=INPUTS, H=UNITS, seed=1)
    x = np.random.default_rng(0).standard_normal((STEPS, 1, INPUTS)).astype(np.float32)
    wanted = own[TEAMS.index(1)].forward(params, x).output.tobytes()
    wrong: list[int] = []

    def call(count: int) -> None:
        for k in range(count):
            if own[k % len(own)].forward(params, x).output.tobytes() != wanted:
                wrong.append(k)

    if mode == "turns":
        call(calls)
        sys.exit(len(wrong))
    threads = [threading.Thread(target=call, args=(calls,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    if mode == "exits":
        time.sleep(0.02)
        sys.exit(len(wrong))
    while mode == "forks" and any(thread.is_alive() for thread in threads):
        child = os.fork()
        if child == 0:
            call(12)
            os._exit(len(wrong))
        wrong += [-1] * (os.waitpid(child, 0)[1] != 0)
    for thread in threads:
        thread.join()
    sys.exit(len(wrong))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
