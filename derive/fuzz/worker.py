"""Compiled kernels in a process of their own: compiled here, called there.

In: a target whose files are a unit of C (targets.py), its files, a Signature, a Plan and arrays. A
target that compiles when it is called does so there.
Out: Results; a Fault where the compiler refuses, the process dies, a sanitizer speaks, or the call
does not end.
Not here: what is right; the process (child.py).

With `sanitize` the kernels are built with AddressSanitizer and UndefinedBehaviorSanitizer, whose
runtime has to be in the process before Python: it is preloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from derive.build.compiler import Compiler, find_compiler
from derive.errors import BuildError
from derive.fuzz.child import Child
from derive.fuzz.fault import fault
from derive.fuzz.running import Given, Plan, Results, plain
from derive.kernel.argument_words import only
from derive.kernel.signature import Signature
from derive.kernel.whole import Parts
from derive.targets import Target

#: As the kernels are built for users, but quicker to build.
_FLAGS = (
    "-std=c11", "-Og", "-march=native", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-fPIC", "-pthread",
)  # fmt: skip
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: Compiled cells that are kept, for the calls to come.
_KEPT = 6


class Worker:
    """Compiles, and has what was compiled called. Close it in the end."""

    def __init__(self, target: Target, *, sanitize: bool = False) -> None:
        """BuildError where there is no compiler, or where it has no sanitizers."""
        self.target = target
        self.sanitize = sanitize
        self._compiler = find_compiler()
        self._folder = Path(tempfile.mkdtemp(prefix="derive-fuzz-"))
        self._built: dict[tuple[tuple[tuple[str, str], ...], str], Path] = {}
        self._count = 0
        self.child = Child(target.name, preload=_runtime(self._compiler) if sanitize else "")

    def close(self) -> None:
        self.child.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self,
        files: Mapping[str, str],
        signatures: tuple[Signature, Signature],
        parts: Parts,
        plan: Plan,
        given: Given,
    ) -> Results:
        """A call of a kernel of generated text. signatures: of whole arrays, and of their parts."""
        whole, of_parts = map(plain, signatures)
        answer = self.child.ask({
            "kind": "call", "target": self.target.name,
            "path": str(self.compiled(files, plan.dtype)) if self.target.unit else "",
            "flags": _SANITIZE if self.sanitize else (), "files": dict(files),
            "signature": whole, "signature_of_parts": of_parts, "parts": parts, "plan": plan,
            "given": given,
        })  # fmt: skip
        if answer["error"] is not None:
            name, text = answer["error"]
            raise fault(f"{self.target.name}: a good call raises {name}", text)
        results: Results = answer["results"]
        return results

    def compiled(self, files: Mapping[str, str], dtype: str) -> Path:
        """The library of generated text in one dtype."""
        key = (tuple(sorted(files.items())), dtype)
        if key in self._built:
            return self._built[key]
        while len(self._built) >= _KEPT:
            self._built.pop(next(iter(self._built))).unlink(missing_ok=True)
        for name, text in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._count += 1
        code = next(iter(self.target.suffixes))
        unit = next(name for name in files if name.endswith(code))
        library = self._folder / f"{self._count}.so"
        command = [
            *self._compiler.command, *_FLAGS, *(_SANITIZE if self.sanitize else ()),
            f"-D{only(dtype)}", "-I.", unit, "-o", str(library), "-shared", "-lm",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            raise fault(
                f"{self.target.name}: the compiler refuses", "\n".join((lines or [done.stderr])[:5])
            )
        self._built[key] = library
        return library


def _runtime(compiler: Compiler) -> str:
    """The libraries of the sanitizers, for LD_PRELOAD."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        done = subprocess.run(
            [*compiler.command, f"-print-file-name={name}"],
            capture_output=True,
            text=True,
            check=False,
        )
        path = done.stdout.strip()
        if not os.path.isabs(path):
            raise BuildError(
                f"{compiler.command[0]} has no {name}",
                facts=("--sanitize preloads the runtime of gcc's sanitizers",),
                hint="export CC=gcc",
            )
        found.append(os.path.realpath(path))
    return " ".join(found)
