"""C text to a loaded library: find a compiler, compile, cache, load.

In: generated sources ({relative path: text}).  Out: a ctypes.CDLL, or a BuildError; one that is
a ToolchainError is about this machine, any other about the sources.
Not here: what the sources say (emit/), how their functions are called (targets.py).
This is the only file that starts processes; machine code is loaded in loading.py.

The cache is a folder per key under the user's cache folder (DERIVE_CACHE_DIR overrides), and
the key is a digest of everything the result depends on: sources, flags, compiler, processor.

    <cache>/<key>/<sha256 of the library>.so

The name of a library is its checksum: it is verified before it is loaded, since a truncated
library can kill the interpreter, and it is moved into place in one step, so that processes may
build the same thing at once without locks.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from derive.build.loading import FAST_MATH, REFUSED_FLAGS, load
from derive.errors import BuildError, ToolchainError

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

# What compilers and assemblers say when they do not know the processor they run on.
NATIVE_REFUSED = ("native", "-march", "no such instruction", "target CPU", "-mcpu")

# A change of this file's meaning that old entries must not survive gets a new number here.
CACHE_FORMAT = "1"
CACHE_LIMIT = 256 * 2**20  # bytes; the entries used longest ago go first
SECONDS_PER_COMMAND = 600
LINES_SHOWN = 12

# What compilers say when they broke down themselves, or the machine under them.
BROKE_DOWN = (
    "internal compiler error",
    "unable to execute command",
    "No space left on device",
    "Cannot allocate memory",
    "out of memory",
)

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
    key = _key(sources, options, compiler)
    if library := _loaded.get(key):
        return library
    with _locks.setdefault(key, threading.Lock()):
        if key not in _loaded:
            _loaded[key] = _from_cache(key) or _build(key, sources, options, compiler)
        return _loaded[key]


def key_of(sources: Mapping[str, str], options: Sequence[str]) -> str:
    """The cache key of what depends on these, on the compiler and on the processor."""
    return _key(sources, options, find_compiler())


_loaded: dict[str, ctypes.CDLL] = {}
_locks: dict[str, threading.Lock] = {}


@functools.cache
def version(compiler: Compiler) -> str:
    """The first line of what the compiler says about itself, for reports."""
    result = _run((*compiler.command, "--version"), cwd=None)
    return (result.stdout.splitlines() or ["unknown version"])[0]


# --- Compilers ------------------------------------------------------------------------------


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


def _works(compiler: Compiler) -> bool:
    """Whether it turns the smallest program that uses the C library into a library."""
    text = "#include <math.h>\ndouble probe(double v);\ndouble probe(double v) { return exp(v); }\n"
    try:
        with tempfile.TemporaryDirectory(prefix="derive-") as name:
            folder = Path(name)
            (folder / "probe.c").write_text(text)
            command = (*compiler.command, "-fPIC", "probe.c", "-o", "probe.so", *LINK_FLAGS)
            return _run(command, folder).returncode == 0 and (folder / "probe.so").is_file()
    except OSError:  # a full disk says nothing about the compiler
        return True


# --- The key --------------------------------------------------------------------------------


def _key(sources: Mapping[str, str], options: Sequence[str], compiler: Compiler) -> str:
    parts = [CACHE_FORMAT, sys.platform, compiler.identity, _processor(), str(len(options))]
    parts += [*options, *LINK_FLAGS]
    for path in sorted(sources):
        parts += [path, sources[path]]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")  # paths need not be UTF-8
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:40]


@functools.cache
def _processor() -> str:
    """What -march=native depends on: the first processor's own description of itself.

    Where there is none, the machine's name keeps apart the machines that share a home.
    """
    kept = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU ", "isa")
    lines = []
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if not line.strip():
                break
            if line.startswith(kept):
                lines.append(line)
    return platform.machine() + ("".join(lines) or platform.node())


# --- The cache ------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of cached libraries, made if need be; None where it must not be used.

    Machine code is loaded from it, so it must belong to this user, and nobody else may be able
    to write there.
    """
    if given := os.environ.get("DERIVE_CACHE_DIR"):
        folder = Path(given).absolute()
    else:
        import platformdirs  # only here: compile is the first to need it

        folder = platformdirs.user_cache_path("derive-kernels", appauthor=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    if complaint := _distrust(status):
        warnings.warn(
            f"the cache folder {folder} is not used: it {complaint}", RuntimeWarning, stacklevel=2
        )
        return None
    return folder


def _distrust(status: os.stat_result) -> str | None:
    """Why a file or folder cannot be trusted, in words."""
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            return "belongs to somebody else"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "can be written by others (chmod go-w)"
    return None


def _from_cache(key: str) -> ctypes.CDLL | None:
    folder = cache_folder()
    if folder is None:
        return None
    entry = folder / key
    # Whatever goes wrong here, building anew is the answer.
    with contextlib.suppress(OSError, BuildError):
        if _distrust(entry.stat()):
            return None
        for path in sorted(entry.glob("*.so")):
            if _distrust(path.stat()) is None and path.stem == _checksum(path):
                library = load(path)
                with contextlib.suppress(OSError):
                    os.utime(entry)  # read by _prune
                return library
            path.unlink()
    return None


def _store(built: Path, key: str) -> Path | None:
    """A copy of `built` in the cache, or None where that cannot be."""
    return put(built.read_bytes(), key, f"{_checksum(built)}.so")


def put(data: bytes, key: str, name: str) -> Path | None:
    """A file of the cache, there as a whole or not at all; None where that cannot be."""
    folder = cache_folder()
    if folder is None:
        return None
    entry = folder / key
    path = entry / name
    try:
        entry.mkdir(mode=0o700, exist_ok=True)
        if _distrust(entry.stat()):
            return None
        handle, part = tempfile.mkstemp(dir=entry, suffix=".part")
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(part, path)
        except OSError:
            os.unlink(part)
            raise
    except OSError:
        return None
    with contextlib.suppress(OSError):  # another process may be pruning too
        _prune(folder, keep=key)
    return path


def found(key: str, suffix: str) -> list[Path]:
    """The files of an entry of the cache that can be trusted, in order; the entry was used."""
    folder = cache_folder()
    if folder is None:
        return []
    entry = folder / key
    with contextlib.suppress(OSError):
        if _distrust(entry.stat()) is None:
            paths = [p for p in sorted(entry.glob(f"*{suffix}")) if _distrust(p.stat()) is None]
            os.utime(entry)  # read by _prune
            return paths
    return []


def _prune(folder: Path, keep: str) -> None:
    """Remove the entries used longest ago, until the rest is within CACHE_LIMIT.

    A library that a process has loaded stays usable: its file lives as long as the mapping.
    """
    entries = []
    for entry in folder.iterdir():
        size = sum(path.stat().st_size for path in entry.iterdir()) if entry.is_dir() else 0
        entries.append((entry.stat().st_mtime_ns, size, entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= CACHE_LIMIT:
            break
        if entry.name != keep and entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    failures: list[_Result] = []
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
) -> _Result | None:
    """The first command that failed, or None."""
    start = (*compiler.command, *options, "-I.")
    objects: list[str] = []
    if len(units) > 1:
        from concurrent.futures import ThreadPoolExecutor

        objects = [f"{unit}.o" for unit in units]
        commands = [(*start, "-c", u, "-o", o) for u, o in zip(units, objects, strict=True)]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            results = list(pool.map(lambda command: _run(command, folder), commands))
        if failed := [result for result in results if result.returncode]:
            return failed[0]
    result = _run((*start, *(objects or units), "-o", library, *LINK_FLAGS), folder)
    return None if result.returncode == 0 and (folder / library).is_file() else result


#: The status of a compiler that could not be started or did not end; a signal is negative too.
NOT_ENDED = -1


@dataclass(frozen=True, slots=True)
class _Result:
    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def _run(command: tuple[str, ...], cwd: Path | None) -> _Result:
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
        return _Result(command, NOT_ENDED, "", str(error))
    return _Result(command, done.returncode, done.stdout, done.stderr)


def _refusal(failure: _Result, folder: Path, compiler: Compiler) -> BuildError:
    said = [line.rstrip() for line in failure.stderr.splitlines() if line.strip()]
    said = said or ["it said nothing"]
    facts = (f"command: {shlex.join(failure.command)}", *said[:LINES_SHOWN])
    if not _works(compiler):
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
