"""A host in a process of its own, stopped whenever it is not asked for anything.

In: modules of peers, a number of threads.  Out: `Remote`, a Host.
Not here: what a host does (host.py), whose turn it is (contest.py).

How many threads a library uses is fixed, for many, when it is loaded, by the environment: so the
environment of the process says it. And libraries that compute in several threads leave them
spinning for a while after a call, each in its own way and for its own time; the next contestant
would run against them. So between orders a process is stopped by SIGSTOP, and the contestant whose
turn it is has the machine to itself.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from derive.bench.host import Entrant, Failed, First, Local
from derive.bench.shapes import Shape
from derive.cell import Cell

#: Environment of a process that shall use n threads. JAX's pool is NPROC threads.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
#: Seconds for one order: torch.compile takes minutes.
_PATIENCE = 1800
_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG


def environment(threads: int) -> dict[str, str]:
    """What is set for a worker, where the user did not set it already."""
    found = dict.fromkeys(_THREADS, str(threads))
    found["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if _has_avx512():
        # NumPy's OpenBLAS takes newer processors for older ones, and runs at half of its speed.
        found["OPENBLAS_CORETYPE"] = "SkylakeX"
    return found


class Remote:
    """Peers in a process of their own. absent: {peer: why it takes no part}.

    A process that ended, or does not answer, fails what it was asked for; the next cell finds a
    new one.
    """

    def __init__(self, modules: Sequence[str], threads: int) -> None:
        self._modules, self._threads = tuple(modules), threads
        self._process: Any = None
        self._pipe: Any = None
        self._names: tuple[str, ...] = ()
        self.absent: dict[str, str] = {}
        # A cache of its own: the time of a first call holds that of the compiler.
        self._cache = tempfile.TemporaryDirectory(prefix="derive-bench-")
        self._start()

    def enter(self, cell: Cell, shape: Shape, threads: int) -> tuple[list[Entrant], dict[str, str]]:
        if not self._names:
            return [], {}
        if self._process is None:
            self._start()
        try:
            found: tuple[list[Entrant], dict[str, str]] = self._ask(
                "enter", cell.to_text(), shape, threads
            )
        except Failed as error:
            return [], {" and ".join(self._names): str(error)}
        return found

    def first(self, number: int, mode: str) -> First:
        found: First = self._ask("first", number, mode)
        return found

    def sample(self, number: int, mode: str) -> tuple[float, float]:
        found: tuple[float, float] = self._ask("sample", number, mode)
        return found

    def leave(self) -> None:
        with suppress(Failed):
            self._ask("leave")

    def close(self) -> None:
        self._end()
        self._cache.cleanup()

    # --- the process ------------------------------------------------------------------------

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()  # a stopped process hears nothing else
            self._process.join()
            self._pipe.close()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._modules, theirs), daemon=True)
        with _set(environment(self._threads) | {"DERIVE_CACHE_DIR": self._cache.name}):
            self._process.start()
        theirs.close()
        try:
            self._names, self.absent = self._answer()
        except Failed as error:
            self._names, self.absent = (), dict.fromkeys(self._modules, str(error))
        if not self._names:
            self._end()

    def _ask(self, *order: Any) -> Any:
        if self._process is None:
            raise Failed("its process has ended")
        self._signal("SIGCONT")
        try:
            self._pipe.send(order)
        except OSError:
            self._lost()
        return self._answer()

    def _answer(self) -> Any:
        try:
            if not self._pipe.poll(_PATIENCE):
                self._end()
                raise Failed(f"no answer in {_PATIENCE} s")
            good, content = self._pipe.recv()
        except (EOFError, OSError):
            self._lost()
        self._signal("SIGSTOP")
        if hasattr(os, "waitid"):  # a signal takes its time
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if not good:
            raise Failed(content)
        return content

    def _lost(self) -> None:
        self._process.join(10)
        code = self._process.exitcode
        self._end()
        raise Failed(f"its process ended with status {code}")

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):
            os.kill(self._process.pid, getattr(signal, name))


@contextmanager
def _set(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment for a while, but for those that have a value."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _serve(modules: Sequence[str], pipe: Any) -> None:
    """Answers (True, result) or (False, reason) to each order, until the pipe is closed."""
    import numpy as np

    from derive.bench.peers import peer

    _die_with_parent()
    np.seterr(all="ignore")
    peers, absent = [], {}
    for module in modules:
        one = peer(module)
        if why := one.missing():
            absent[one.NAME] = why
        else:
            peers.append(one)
    host = Local(peers, warm=True)
    pipe.send((True, (tuple(one.NAME for one in peers), absent)))
    while True:
        try:
            order, *arguments = pipe.recv()
        except EOFError:
            return
        if order == "enter":
            arguments[0] = Cell.parse(arguments[0])
        try:
            pipe.send((True, getattr(host, order)(*arguments)))
        except Failed as error:
            pipe.send((False, str(error)))


def _die_with_parent() -> None:
    """A stopped process would outlive a killed parent for good."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL)


def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return " avx512dq " in file.read()
    except OSError:
        return False
