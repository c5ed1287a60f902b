"""C text to a loaded library: compile, cache, load.

In: generated sources ({relative path: text}).  Out: a ctypes.CDLL, or a BuildError; one that is
a ToolchainError is about this machine, any other about the sources.
Not here: what the sources say (emit/), how their functions are called (kernel/c_backend.py), the
compiler (compiler.py), where libraries are kept (cache.py), loading one (loading.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from derive.build import cache
from derive.build.compiler import (
    FLAGS,
    INSTALL,
    LINK_FLAGS,
    NATIVE,
    Compiler,
    Result,
    find_compiler,
    run,
    works,
)
from derive.build.loading import FAST_MATH, REFUSED_FLAGS, load
from derive.errors import BuildError, ToolchainError

# What compilers and assemblers say when they do not know the processor they run on.
NATIVE_REFUSED = ("native", "-march", "no such instruction", "target CPU", "-mcpu")
LINES_SHOWN = 12

# What compilers say when they broke down themselves, or the machine under them.
BROKE_DOWN = (
    "internal compiler error",
    "unable to execute command",
    "No space left on device",
    "Cannot allocate memory",
    "out of memory",
)


def compile_library(
    sources: Mapping[str, str],
    *,
    flags: Sequence[str] = FLAGS,
    defines: Sequence[str] = (),
    compiler: Compiler | None = None,
) -> ctypes.CDLL:
    """The library that `sources` compile to, from memory, from the cache, or built now.

    sources: {relative path: text}; every `.c` file is compiled, by itself and in parallel, with
    the root of the sources on the include path.  defines: "NAME" or "NAME=VALUE".
    BuildError shows the first lines of the compiler's complaint and where the sources are.
    """
    compiler = compiler or find_compiler()
    options = (*flags, *(f"-D{define}" for define in defines))
    key = cache.key_of(sources, options, compiler)
    if library := _loaded.get(key):
        return library
    with _locks.setdefault(key, threading.Lock()):
        if key not in _loaded:
            _loaded[key] = _from_cache(key) or _build(key, sources, options, compiler)
        return _loaded[key]


_loaded: dict[str, ctypes.CDLL] = {}
_locks: dict[str, threading.Lock] = {}


# --- The cache ------------------------------------------------------------------------------


def _from_cache(key: str) -> ctypes.CDLL | None:
    # An entry that cannot be loaded is built anew.
    with contextlib.suppress(OSError, BuildError):
        for path in cache.libraries(key):
            return load(path)
    return None


def _store(built: Path, key: str) -> Path | None:
    """A copy of `built` in the cache, or None where that cannot be."""
    return cache.put(built.read_bytes(), key, f"{cache.checksum(built)}.so")


# --- Building -------------------------------------------------------------------------------


def _build(
    key: str, sources: Mapping[str, str], options: Sequence[str], compiler: Compiler
) -> ctypes.CDLL:
    try:
        folder = Path(tempfile.mkdtemp(prefix="derive-"))
        for name, text in sources.items():
            _write(folder, name, text)
    except OSError as error:
        raise ToolchainError(
            "the sources cannot be written to the temporary folder",
            facts=(f"{type(error).__name__}: {error}",),
            hint="make room, or export TMPDIR=/a/folder/with/room",
        ) from error
    built = folder / "kernel.so"
    _compile(folder, built.name, tuple(sources), options, compiler)
    # Where the cache cannot be used, the library lives on in memory alone.
    library = None
    if stored := _store(built, key):
        with contextlib.suppress(BuildError):
            library = load(stored)
    library = library or load(built)
    shutil.rmtree(folder, ignore_errors=True)
    return library


def _write(folder: Path, name: str, text: str) -> None:
    relative = PurePosixPath(name)
    assert not relative.is_absolute() and ".." not in relative.parts
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _compile(
    folder: Path, library: str, names: Iterable[str], options: Sequence[str], compiler: Compiler
) -> None:
    """Compile every .c file below `folder` into `library`, first for this very processor."""
    attempts = [tuple(options)]
    if NATIVE in options:
        attempts.append(tuple(option for option in options if option != NATIVE))
    units = [name for name in names if name.endswith(".c")]
    failures: list[Result] = []
    for attempt in attempts:
        failure = _attempt(folder, library, units, attempt, compiler)
        if failure is None:
            return
        failures.append(failure)
        refused = failure.returncode > 0
        if not (refused and any(sign in failure.stderr for sign in NATIVE_REFUSED)):
            break
    raise _refusal(failures[-1], folder, compiler)


def _attempt(
    folder: Path, library: str, units: Sequence[str], options: Sequence[str], compiler: Compiler
) -> Result | None:
    """The first command that failed, or None."""
    start = (*compiler.command, *options, "-I.")
    objects: list[str] = []
    if len(units) > 1:
        from concurrent.futures import ThreadPoolExecutor

        objects = [f"{unit}.o" for unit in units]
        commands = [(*start, "-c", u, "-o", o) for u, o in zip(units, objects, strict=True)]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            results = list(pool.map(lambda command: run(command, folder), commands))
        if failed := [result for result in results if result.returncode]:
            return failed[0]
    result = run((*start, *(objects or units), "-o", library, *LINK_FLAGS), folder)
    return None if result.returncode == 0 and (folder / library).is_file() else result


def _refusal(failure: Result, folder: Path, compiler: Compiler) -> BuildError:
    said = [line.rstrip() for line in failure.stderr.splitlines() if line.strip()]
    said = said or ["it said nothing"]
    facts = (f"command: {shlex.join(failure.command)}", *said[:LINES_SHOWN])
    if not works(compiler):
        shutil.rmtree(folder, ignore_errors=True)
        return ToolchainError(
            f"{compiler.command[0]} ({compiler.origin}) is not a working C compiler",
            facts=facts,
            hint=f"set CC to one, or {INSTALL}",
        )
    if REFUSED_FLAGS in failure.stderr:
        shutil.rmtree(folder, ignore_errors=True)
        return ToolchainError(
            "the compiler was told to break arithmetic", facts=facts, hint=FAST_MATH
        )
    if failure.returncode < 0 or any(sign in failure.stderr for sign in BROKE_DOWN):
        shutil.rmtree(folder, ignore_errors=True)
        return ToolchainError(
            f"{compiler.command[0]} ({compiler.origin}) broke down over the generated code",
            facts=facts,
            hint="make room, or try another: export CC=clang",
        )
    return BuildError(
        "the compiler refused the generated code",
        facts=(*facts, f"sources are kept in {folder}"),
        hint="this is a fault of derive unless $CC asks for something special: please report it",
    )
