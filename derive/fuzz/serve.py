"""The other end of worker.py: calls kernels of compiled libraries until its input ends.

In: questions on standard input, pickled.  Out: answers on standard output.
Not here: compiling. Neither SymPy nor hypothesis is imported.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from typing import Any, BinaryIO

from derive.fuzz.running import run
from derive.kernel import Kernel
from derive.target_c import CBackend


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    plan, signature = question["plan"], question["signature"]
    try:
        backend = CBackend(
            question["files"], signature, plan.dtype, plan.threads, team=plan.threads,
            library=_library(question["path"]),
        )  # fmt: skip
        kernel = Kernel(signature, backend, plan.dtype, target="c")
        return {"results": run(kernel, plan, question["given"]), "error": None}
    except Exception as error:
        return {"results": None, "error": (type(error).__name__, str(error))}


_libraries: dict[str, ctypes.CDLL] = {}


def _library(path: str) -> ctypes.CDLL:
    if path not in _libraries:
        _libraries[path] = ctypes.CDLL(path)
    return _libraries[path]


def main(source: BinaryIO, sink: BinaryIO) -> None:
    while head := source.read(8):
        answer = pickle.dumps(_answer(pickle.loads(source.read(int.from_bytes(head, "little")))))
        sink.write(len(answer).to_bytes(8, "little") + answer)
        sink.flush()


if __name__ == "__main__":
    # What anything prints must not get between two answers.
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, own)
