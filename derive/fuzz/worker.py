"""C kernels in a process of their own, which may die: compiled here, called there.

In: generated C, a Signature, a Plan and arrays.  Out: Results; a Fault where the process was
killed, a sanitizer spoke, or the call did not end.
Not here: what is right. The other end is serve.py.

With `sanitize` the kernels are built with AddressSanitizer and UndefinedBehaviorSanitizer, whose
runtime has to be in the process before Python: it is preloaded.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from derive.build import Compiler, find_compiler
from derive.errors import BuildError
from derive.fuzz.fault import fault
from derive.fuzz.running import Given, Plan, Results
from derive.signature import Signature

#: As the kernels are built for users, but quicker to build; fresh memory is not zero.
_FLAGS = (
    "-std=c11", "-O1", "-march=native", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-fPIC", "-pthread",
)  # fmt: skip
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_ENVIRONMENT = {
    "MALLOC_PERTURB_": "165",
    "ASAN_OPTIONS": "detect_leaks=0:max_malloc_fill_size=100000000:malloc_fill_byte=255"
    ":allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "OPENBLAS_NUM_THREADS": "1",
}
_SECONDS = 60.0
#: Libraries that one process loads before it makes room for another.
_LIBRARIES = 150


class Worker:
    """Compiles, and keeps a process that runs what was compiled. Close it in the end."""

    def __init__(self, *, sanitize: bool = False) -> None:
        """BuildError where there is no compiler, or where it has no sanitizers."""
        self.sanitize = sanitize
        self._compiler = find_compiler()
        self._folder = Path(tempfile.mkdtemp(prefix="derive-fuzz-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._built: dict[tuple[int, str], Path] = {}
        self._loaded = 0
        self._preload = _runtime(self._compiler) if sanitize else ""

    def close(self) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self, files: Mapping[str, str], signature: Signature, plan: Plan, given: Given
    ) -> Results:
        """A call of a kernel of generated C."""
        path = self._compiled(files, plan.dtype)
        answer = self.ask({"kind": "call", "path": str(path), "files": dict(files),
                           "signature": signature, "plan": plan, "given": given})  # fmt: skip
        if answer["error"] is not None:
            name, text = answer["error"]
            raise fault(f"c: a good call raises {name}", text)
        results: Results = answer["results"]
        return results

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The other end's answer; a Fault where it died or did not answer in time."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        data = pickle.dumps(question)
        said = b""
        try:
            process.stdin.write(len(data).to_bytes(8, "little") + data)
            process.stdin.flush()
            head = self._read(process, 8)
            said = self._read(process, int.from_bytes(head, "little"))
        except (BrokenPipeError, EOFError):
            raise fault(*self._death(process)) from None
        except TimeoutError:
            self._stop()
            raise fault("c: a call does not end", f"not within {_SECONDS:g} s") from None
        answer: dict[str, Any] = pickle.loads(said)
        return answer

    def _read(self, process: subprocess.Popen[bytes], count: int) -> bytes:
        assert process.stdout is not None
        parts, missing = [], count
        while missing:
            ready, _, _ = select.select([process.stdout], [], [], _SECONDS)
            if not ready:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), min(missing, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _death(self, process: subprocess.Popen[bytes]) -> tuple[str, str]:
        status = process.wait()
        self._stop()
        text = (self._folder / "stderr").read_text(errors="replace")
        lines = [line for line in text.splitlines() if "ERROR" in line or "runtime error" in line]
        kind = "c: the process dies"
        if lines:
            kind = f"c: a sanitizer speaks: {_short(lines[0])}"
        return kind, f"exit status {status}\n" + "\n".join(text.splitlines()[:25])

    # --- the process

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and (
            self._process.poll() is not None or self._loaded > _LIBRARIES
        ):
            self._stop()
        if self._process is None:
            environment = {**os.environ, **_ENVIRONMENT}
            # Arrays of another process's cache are none of the user's.
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
            if self._preload:
                environment["LD_PRELOAD"] = self._preload
            with open(self._folder / "stderr", "wb") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "derive.fuzz.serve"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment,
                )  # fmt: skip
            self._loaded = 0
        self._loaded += 1
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process.kill()
            self._process.wait()
        self._process = None

    # --- compiling

    def _compiled(self, files: Mapping[str, str], dtype: str) -> Path:
        key = (hash(tuple(sorted(files.items()))), dtype)
        if key in self._built:
            return self._built[key]
        while len(self._built) >= 4:
            self._built.pop(next(iter(self._built))).unlink(missing_ok=True)
        for name, text in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        unit = next(name for name in files if name.endswith(".c"))
        library = self._folder / f"{abs(key[0])}_{dtype}.so"
        only = {"float32": "DK_ONLY_F32", "float64": "DK_ONLY_F64"}[dtype]
        command = [
            *self._compiler.command, *_FLAGS, *(_SANITIZE if self.sanitize else ()),
            f"-D{only}", "-I.", unit, "-o", str(library), "-shared", "-lm",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            raise fault("c: the compiler refuses", "\n".join((lines or [done.stderr])[:5]))
        self._built[key] = library
        return library


def _runtime(compiler: Compiler) -> str:
    """The libraries of the sanitizers, for LD_PRELOAD."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        done = subprocess.run(
            [*compiler.command, f"-print-file-name={name}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        path = done.stdout.strip()
        if not os.path.isabs(path):
            raise BuildError(
                f"{compiler.command[0]} has no {name}",
                facts=("--sanitize preloads the runtime of gcc's sanitizers",),
                hint="export CC=gcc",
            )
        found.append(os.path.realpath(path))
    return " ".join(found)


def _short(line: str) -> str:
    """A sanitizer's finding without addresses and lines of a file."""
    if "runtime error: " in line:
        return line.partition("runtime error: ")[2]
    words = line.partition("Sanitizer: ")[2].split()
    return words[0] if words else line
