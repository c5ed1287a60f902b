"""The cache of compiled libraries: a folder of the user's, with an entry for each key.

In: what a library is made of.  Out: its key; files of the cache that can be trusted.
Not here: compiling (library.py), loading machine code (loading.py).

The cache is a folder per key under the user's cache folder (DERIVE_CACHE_DIR overrides), and
the key is a digest of everything the result depends on: sources, flags, compiler, processor.

    <cache>/<key>/<sha256 of the library>.so

What templates compile to lies there too (templates.py).

The name of a library is its checksum: it is verified before it is loaded, since a truncated
library can kill the interpreter, and it is moved into place in one step, so that processes may
build the same thing at once without locks.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from derive.build.compiler import LINK_FLAGS, Compiler, find_compiler

# A change of this file's meaning that old entries must not survive gets a new number here.
CACHE_FORMAT = "1"
CACHE_LIMIT = 256 * 2**20  # bytes; the entries used longest ago go first


# --- The key --------------------------------------------------------------------------------


def key_of(
    sources: Mapping[str, str], options: Sequence[str], compiler: Compiler | None = None
) -> str:
    """The key of what depends on these, on the compiler and on the processor."""
    compiler = compiler or find_compiler()
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


# --- The folder -----------------------------------------------------------------------------


def cache_folder(*, warn: bool = True) -> Path | None:
    """The folder of cached libraries, made if need be; None where it must not be used.

    Machine code is loaded from it, so it must belong to this user, and no other user may be able
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
        if warn:
            text = f"the cache folder {folder} is not used: it {complaint}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
    return folder


def _distrust(status: os.stat_result) -> str | None:
    """Why a file or folder cannot be trusted, in words."""
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            return "belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "can be written by others (chmod go-w)"
    return None


# --- Entries --------------------------------------------------------------------------------


def put(data: bytes, key: str, name: str, *, prune: bool = True, warn: bool = True) -> Path | None:
    """A file of the cache, there as a whole or not at all; None where that cannot be.

    prune: old entries go if there are too many; it takes long where many small files are put.
    """
    folder = cache_folder(warn=warn)
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
    if prune:
        with contextlib.suppress(OSError):  # another process may be pruning too
            _prune(folder, keep=key)
    return path


def libraries(key: str) -> Iterator[Path]:
    """The libraries of an entry that are what their names say; others are removed.  Raises OSError
    where there is no such entry."""
    folder = cache_folder()
    if folder is None:
        return
    entry = folder / key
    if _distrust(entry.stat()):
        return
    for path in sorted(entry.glob("*.so")):
        if _distrust(path.stat()) is None and path.stem == checksum(path):
            with contextlib.suppress(OSError):
                os.utime(entry)  # read by _prune
            yield path
        else:
            path.unlink()


def found(key: str, suffix: str, *, warn: bool = True) -> list[Path]:
    """The files of an entry of the cache that can be trusted, in order; the entry was used."""
    folder = cache_folder(warn=warn)
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


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
