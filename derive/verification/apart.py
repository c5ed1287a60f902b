"""Work in a process of its own: what it returns, or how it ended.

In: a function and its arguments.  Out: its result; `Ended` where there is none.
Not here: what is done. Generated text that was edited may loop for ever, crash or write where it
should not, and none of that may reach the process that asks.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from derive.errors import DeriveError

Result = TypeVar("Result")

#: Of memory beyond what the process has already: a wrong size asks for anything. Of a machine's
#: memory at most a third.
MEMORY, PART = 8 << 30, 3
#: How much longer than its seconds of work a process may take on a busy machine.
PATIENCE = 8


class Ended(Exception):
    """The process gave no result: it crashed, or did not end in its time. `str` says in the middle
    of what, where the work told."""


class Killed(Ended):
    """It was killed from outside, as a system does whose memory runs out: not by what it did."""


#: What the work of this process is told to the process that waits for it by.
_sender: Connection | None = None


def say(what: str, done: int = 0, total: int = 0) -> None:
    """What this process does next, for the one that waits to know if it crashes."""
    if _sender is not None:
        _sender.send((None, (what, done, total)))


def apart(
    work: Callable[..., Result],
    *arguments: Any,
    seconds: float | None,
    heard: Callable[[str, int, int], None] | None = None,
) -> Result:
    """work(*arguments) in a process that may use `seconds` of processor time; None: any.

    Where the system has fork the process starts with everything that this one has computed. A
    DeriveError that `work` raises is raised here, anything else as a RuntimeError. heard: called
    in this process with what `work` says.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, work, arguments, seconds))
    process.start()
    sender.close()
    during, good = "", None
    result: Any = None
    try:
        while good is None:
            if not receiver.poll(None if seconds is None else PATIENCE * seconds):
                raise Ended(f"it did not end{during}")
            good, result = receiver.recv()
            if good is None:
                during = f", in {result[0]}"
                if heard is not None:
                    heard(*result)
    except EOFError:
        process.join()
        raise _how(process.exitcode, during) from None
    finally:
        _kill(process)
        receiver.close()
    if isinstance(result, DeriveError) and not good:
        raise result
    if not good:
        raise RuntimeError(f"in a process of its own: {result}")
    found: Result = result
    return found


def rearm(seconds: float) -> None:
    """From now on this process may work for so long until it calls this again, or it ends.

    What its compiler does is not counted, nor what other processes do on a busy machine.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def _run(
    sender: Connection, work: Callable[..., Any], arguments: Any, seconds: float | None
) -> None:
    global _sender
    _sender = sender
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, so that its compiler ends with it
    if seconds is not None:
        _limit(seconds)
    silent = os.open(os.devnull, os.O_WRONLY)  # what C says when memory is corrupt
    os.dup2(silent, 2)
    faulthandler.disable()
    answer: tuple[bool, Any]
    try:
        answer = True, work(*arguments)
    except DeriveError as error:
        answer = False, error
    except BaseException as error:
        answer = False, f"{type(error).__name__}: {error}"
    sender.send(answer)
    os._exit(0)  # nothing of a process with corrupt memory is worth tidying up


def _limit(seconds: float) -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + seconds) + 1
        # Beyond the second limit the system kills it: nothing but SIGXCPU shall say so.
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, allowed + 60))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            with open("/proc/self/statm", encoding="ascii") as file:
                size = int(file.read().split()[0]) * resource.getpagesize()
            whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            most = size + min(MEMORY, whole // PART)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            # Where memory runs out all the same this process goes, not the one that waits for it.
            with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write("1000")


def _how(status: int | None, during: str) -> Ended:
    if status is None or status >= 0:
        return Ended(f"it ended with status {status}{during}")
    name = signal.Signals(-status).name
    if name == "SIGKILL":
        return Killed(f"it was killed{during}")
    return Ended(f"{'it did not end' if name in _TIME else f'it crashed: {name}'}{during}")


#: What ends a process that has used up its time.
_TIME = ("SIGXCPU", "SIGVTALRM")


def _kill(process: Any) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()
