"""A process of our own that may die: questions to it, its answers, and what killed it.

In: a module to run, an environment, a limit on memory.  Out: answers; a Fault where there is none.
Not here: what is asked (worker.py, files_room.py, calls_room.py), what answers (serve.py).

Questions and answers are pickles between a program and its own child.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from derive.fuzz.fault import fault

#: Fresh memory is not zero; one thread of NumPy's own.
_ENVIRONMENT = {
    "MALLOC_PERTURB_": "165",
    "ASAN_OPTIONS": "detect_leaks=0:max_malloc_fill_size=100000000:malloc_fill_byte=255"
    ":allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "OPENBLAS_NUM_THREADS": "1",
}
#: An answer may take so many seconds of work, and so many times that on a busy machine.
_SECONDS, _PATIENCE = 60.0, 10.0
#: Questions that one process answers before it makes room for another: it loads libraries.
_QUESTIONS = 300


class Child:
    """Runs `python -m derive.fuzz.serve`; starts again where it died. Close it in the end.

    label: what it is in the kind of a fault; preload: libraries; memory: bytes of address space.
    """

    def __init__(self, label: str, *, preload: str = "", memory: int | None = None) -> None:
        self._label = label
        self._preload = preload
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        handle, self._said = tempfile.mkstemp(prefix="derive-fuzz-", suffix=".stderr")
        os.close(handle)

    def close(self) -> None:
        self._stop()
        with contextlib.suppress(OSError):
            os.unlink(self._said)

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; a Fault where the process died or said nothing in time."""
        process = self._running()
        assert process.stdin is not None
        data = pickle.dumps(question)
        try:
            process.stdin.write(len(data).to_bytes(8, "little") + data)
            process.stdin.flush()
            count = int.from_bytes(_read(process, 8), "little")
            answer: dict[str, Any] = pickle.loads(_read(process, count))
        except (BrokenPipeError, EOFError):
            raise fault(*self._death(process)) from None
        except TimeoutError:
            self._stop()
            raise fault(f"{self._label}: no end", f"not within {_SECONDS:g} s of work") from None
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and (
            self._process.poll() is not None or self._asked >= _QUESTIONS
        ):
            self._stop()
        if self._process is None:
            environment = {**os.environ, **_ENVIRONMENT}
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
            if self._preload:
                environment["LD_PRELOAD"] = self._preload
            memory = () if self._memory is None else (str(self._memory),)
            with open(self._said, "wb") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "derive.fuzz.serve", *memory],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                )
            self._asked = 0
        self._asked += 1
        return self._process

    def _death(self, process: subprocess.Popen[bytes]) -> tuple[str, str]:
        status = process.wait()
        self._stop()
        with open(self._said, errors="replace") as file:
            text = file.read()
        lines = [line for line in text.splitlines() if "ERROR" in line or "runtime error" in line]
        kind = f"{self._label}: the process dies"
        if lines:
            kind = f"{self._label}: a sanitizer speaks: {_short(lines[0])}"
        return kind, f"exit status {status}\n" + "\n".join(text.splitlines()[:25])

    def _stop(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process.kill()
            self._process.wait()
        self._process = None


def _read(process: subprocess.Popen[bytes], count: int) -> bytes:
    assert process.stdout is not None
    parts, missing = [], count
    begun, before = time.monotonic(), _worked(process.pid)
    while missing:
        ready, _, _ = select.select([process.stdout], [], [], _SECONDS / 20)
        if not ready:
            waited = time.monotonic() - begun
            if waited < _SECONDS or (
                waited < _PATIENCE * _SECONDS and _worked(process.pid) - before < _SECONDS / 2
            ):
                continue
            raise TimeoutError
        part = os.read(process.stdout.fileno(), min(missing, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _worked(process: int) -> float:
    """Seconds of processor time; where the system does not say, those that have passed."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _short(line: str) -> str:
    """A sanitizer's finding without addresses and lines of a file."""
    if "runtime error: " in line:
        return re.sub(r"0x[0-9a-f]+", "...", line.partition("runtime error: ")[2])
    words = line.partition("Sanitizer: ")[2].split()
    return words[0] if words else line
