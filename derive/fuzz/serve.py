"""The other end of child.py: answers questions until its input ends.

In: questions on standard input, pickled; as an argument, bytes of memory to live with.
Out: answers on standard output.
Not here: compiling. SymPy is loaded only where a question is about files.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
import traceback
from typing import Any, BinaryIO

import numpy as np

Answer = dict[str, Any]


def _call(question: Answer) -> Answer:
    """A call of a compiled kernel: {"results": Results or None, "error": (class, text) or None}."""
    from derive import targets
    from derive.fuzz.running import run
    from derive.kernel import Kernel
    from derive.kernel.signature import Signature
    from derive.kernel.whole import Groups, WholeBackend

    plan, own = question["plan"], Signature(**question["signature"])
    of_parts = Signature(**question["signature_of_parts"])
    row = targets.row(question["target"])
    try:
        backend: Any
        if row.unit is None:
            backend = row.load(question["files"], of_parts, plan.dtype, question["flags"])
        else:
            backend = row.unit(
                question["files"], of_parts, plan.dtype, plan.threads, team=plan.threads,
                library=_library(question["path"]),
            )  # fmt: skip
        if question["parts"]:
            groups = Groups(*map(tuple, (own.params, own.inputs, own.states, own.outputs)))
            backend = WholeBackend(backend, question["parts"], groups, np.dtype(plan.dtype))
        kernel = Kernel(own, backend, plan.dtype, target=row.name)
        return {"results": run(kernel, plan, question["given"]), "error": None}
    except Exception as error:
        return {"results": None, "error": (type(error).__name__, str(error))}


def _file(question: Answer) -> Answer:
    """A file read: {"error": (class, text) or None}; a DeriveError is no error."""
    from derive.errors import DeriveError
    from derive.fuzz.files import read

    try:
        read(question["form"], question["data"])
    except DeriveError as error:
        return {"error": None, "refused": type(error).__name__}
    except BaseException as error:
        lines = "".join(traceback.format_exception(error)).splitlines()
        return {"error": (type(error).__name__, "\n".join(lines[-9:])), "refused": None}
    return {"error": None, "refused": None}


def _turns(question: Answer) -> Answer:
    """A series of calls with strange arguments."""
    from derive.fuzz.strange import play

    return play(question, {name: _library(path) for name, path in question["paths"].items()})


_ANSWERS = {"call": _call, "file": _file, "turns": _turns}
_libraries: dict[str, ctypes.CDLL] = {}


def _library(path: str) -> ctypes.CDLL:
    if path not in _libraries:
        _libraries[path] = ctypes.CDLL(path)
    return _libraries[path]


def main(source: BinaryIO, sink: BinaryIO) -> None:
    while head := source.read(8):
        question = pickle.loads(source.read(int.from_bytes(head, "little")))
        answer = pickle.dumps(_ANSWERS[question["kind"]](question))
        sink.write(len(answer).to_bytes(8, "little") + answer)
        sink.flush()


def _live_with(memory: int) -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    os.environ.pop("LD_PRELOAD", None)  # libraries for this process, not for a compiler
    if len(sys.argv) > 1:
        _live_with(int(sys.argv[1]))
    # What anything prints must not get between two answers.
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, own)
