"""The C compiler of this machine: which it is, and running it.

In: $CC and PATH.  Out: a Compiler; what it said and did; ToolchainError where there is none.
Not here: what is compiled (library.py).
Libraries are compiled here only.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from derive.errors import ToolchainError

NATIVE = "-march=native"
FLAGS = (
    "-std=c11",
    "-O2",
    NATIVE,
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fPIC",
    "-pthread",
)
LINK_FLAGS = ("-shared", "-lm")

SECONDS_PER_COMMAND = 600

INSTALL = 'install one: apt install gcc libc6-dev, or pip install "derive-kernels[compiler]"'


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler. `command` is its absolute path and fixed arguments.

    origin: how it was found, in words.  identity: path, size and time of every file that
    `command` names; it stands for the version, so that a cache hit starts no process.
    """

    command: tuple[str, ...]
    origin: str
    identity: str


def find_compiler() -> Compiler:
    """$CC, else cc, gcc or clang on PATH, else the `ziglang` wheel; ToolchainError if none."""
    if words := _split_cc(os.environ.get("CC", "")):
        program = shutil.which(words[0])
        if program is None:
            raise ToolchainError(
                f"$CC names a compiler that cannot be run: {words[0]}",
                facts=(f"CC={os.environ['CC']}", "it is neither on PATH nor an executable file"),
                hint="unset CC, or export CC=gcc",
            )
        return _compiler((os.path.abspath(program), *words[1:]), "$CC")
    for name in ("cc", "gcc", "clang"):
        if program := shutil.which(name):
            return _compiler((os.path.abspath(program),), f"{name} on PATH")
    if zig := _zig():
        return _compiler((sys.executable, "-m", "ziglang", "cc"), "the ziglang wheel", zig)
    raise ToolchainError(
        "no C compiler was found",
        facts=("looked for $CC, cc, gcc, clang and the Python package ziglang",),
        hint=INSTALL,
    )


@functools.cache
def version(compiler: Compiler) -> str:
    """The first line of what the compiler says about itself, for reports."""
    result = run((*compiler.command, "--version"), cwd=None)
    return (result.stdout.splitlines() or ["unknown version"])[0]


# --- Finding one ----------------------------------------------------------------------------


def _split_cc(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ToolchainError(
            "$CC is not a command line", facts=(f"CC={text}", str(error)), hint="export CC=gcc"
        ) from error


def _zig() -> str | None:
    """Path of the zig program in the `ziglang` wheel, if that is installed."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        return None
    return shutil.which("zig", path=spec.submodule_search_locations[0])


def _compiler(command: tuple[str, ...], origin: str, *others: str) -> Compiler:
    """`others` are programs behind the command that its words do not name.

    Each word that names a program counts: in `ccache gcc` the second is the compiler.
    """
    programs = [path for word in command if (path := shutil.which(word))]
    lines = [" ".join(command)]
    for path in (*programs, *others):
        status = os.stat(path)
        lines.append(f"{os.path.realpath(path)} {status.st_size} {status.st_mtime_ns}")
    return Compiler(command, origin, "\n".join(lines))


def works(compiler: Compiler) -> bool:
    """Whether it turns the smallest program that uses the C library into a library."""
    text = "#include <math.h>\ndouble probe(double v);\ndouble probe(double v) { return exp(v); }\n"
    try:
        with tempfile.TemporaryDirectory(prefix="derive-") as name:
            folder = Path(name)
            (folder / "probe.c").write_text(text)
            command = (*compiler.command, "-fPIC", "probe.c", "-o", "probe.so", *LINK_FLAGS)
            return run(command, folder).returncode == 0 and (folder / "probe.so").is_file()
    except OSError:  # a full disk says nothing about the compiler
        return True


# --- Running it -----------------------------------------------------------------------------

#: The status of a compiler that could not be started or did not end; a signal is negative too.
NOT_ENDED = -1


@dataclass(frozen=True, slots=True)
class Result:
    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def run(command: tuple[str, ...], cwd: Path | None) -> Result:
    """Run a compiler. One that cannot be started or does not end fails like any other."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            timeout=SECONDS_PER_COMMAND,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Result(command, NOT_ENDED, "", str(error))
    return Result(command, done.returncode, done.stdout, done.stderr)
