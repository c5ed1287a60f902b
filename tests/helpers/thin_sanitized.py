"""Kernels with thin weights under the address and undefined-behaviour sanitizers.

    PYTHONPATH=. python tests/helpers/thin_sanitized.py [CELL ...] [--bits=512]

Builds each CELL (those of `CELLS` otherwise) with bfloat16 and 8-bit weights, in vectors of so many
bits, and runs the calls of `derive/verification/thin_weights.py`: sequences, steps and streams of
one row and many, forwards and backwards in time, with lengths and without, widths around whole
vectors. Prints how far results are from those with whole weights, and what a sanitizer says; ends
with 1 if anything is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Products of one to seven gates, with heads, and parameters that are cut at a call.
CELLS = ("rnn", "janet", "gru", "lstm", "cfc", "lem", "slstm", "lstm:projection=true", "nas")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def sanitized(
    names: tuple[str, ...], bits: int, edit: tuple[str, str] = ("", "")
) -> subprocess.CompletedProcess[str]:
    """The run of this file in a process that has the sanitizers loaded. edit: of the header."""
    from derive.build.compiler import find_compiler
    from derive.fuzz.worker import _runtime

    environment = {
        **os.environ, "LD_PRELOAD": _runtime(find_compiler()), "PYTHONPATH": str(ROOT),
        "ASAN_OPTIONS": "detect_leaks=0", "OPENBLAS_NUM_THREADS": "1", "CC": "gcc",
        "THIN_EDIT": "\n".join(edit),
    }  # fmt: skip
    command = (sys.executable, __file__, "--inside", f"--bits={bits}", *names)
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def inside(names: tuple[str, ...], bits: int) -> int:
    from derive import cells, pipeline
    from derive.build.compiler import FLAGS
    from derive.kernel import Kernel
    from derive.kernel.c_backend import CBackend
    from derive.kernel.weights import WEIGHTS
    from derive.verification.paths import Way, Ways
    from derive.verification.thin_weights import check_thin_weights

    bad = 0
    old, _, new = os.environ.get("THIN_EDIT", "\n").partition("\n")
    plain = tuple(flag for flag in FLAGS if not flag.startswith("-O"))
    flags = (*plain, "-O1", *SANITIZERS, f"-DDK_VECTOR_BITS={bits}", "-DDK_ROWS_MAX=2",
             "-DDK_PLAIN_ROWS=0", "-Wno-psabi")  # fmt: skip
    for name in names:
        cell = cells.from_spec(name)
        files, signature = dict(pipeline.emit(cell, "c")), pipeline.signature_of_parts(cell)
        if old:
            assert old in files["c/derive_kernels.h"]
            files["c/derive_kernels.h"] = files["c/derive_kernels.h"].replace(old, new)
        each = []
        for weights in (None, *WEIGHTS):
            own = flags if weights else ("-O1", *plain)
            backend = CBackend(files, signature, "float32", 1, own, weights=weights)
            if weights:
                backend.check_weights(weights)
            kernel = Kernel(signature, backend, "float32", target="c")
            each.append(Way(kernel, backend, 1, True, weights))
        step = pipeline.schedule(cell).split.gradient.step
        rows = check_thin_weights(Ways("c float32", "float32", tuple(each)), step, 0)
        for row in rows:
            print(f"{name}: {row.where}: {row.observed:g} of {row.allowed:g}")
        bad += sum(not row.ok for row in rows) + (len(rows) != len(WEIGHTS))
    return 1 if bad else 0


def main(words: list[str]) -> int:
    names = tuple(word for word in words if not word.startswith("--")) or CELLS
    bits = next((int(w.partition("=")[2]) for w in words if w.startswith("--bits=")), 512)
    if "--inside" in words:
        return inside(names, bits)
    run = sanitized(names, bits)
    print(run.stdout, run.stderr[-6000:], sep="")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
