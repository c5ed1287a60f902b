"""The rates of this machine, measured when they are first asked for and remembered.

In: how many threads.  Out: a `Machine`.
Not here: measuring (probe.py), where the cache folder is (build/cache.py).

The file lies in the cache folder of compiled libraries, and its name is a digest of what the
rates depend on: the loops that measure, the compiler, its flags and the processor.

    <cache>/machine-<key>-<threads>.json
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from derive.build.cache import cache_folder, key_of
from derive.build.compiler import FLAGS
from derive.errors import ArgumentError
from derive.machine.probe import Machine, probe, sources

#: Each rate is the best of this many samples of a millisecond.
SAMPLES = 40

_known: dict[str, Machine] = {}


def machine(threads: int = 1, *, again: bool = False) -> Machine:
    """The rates of `threads` threads together.

    again: measure even if the rates are remembered, and remember the new ones. BuildError where
    no compiler works.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ArgumentError(f"threads must be a positive integer, not {threads!r}")
    name = f"machine-{key_of(sources(), FLAGS)}-{threads}.json"
    if again or name not in _known:
        found = None if again else _remembered(name, threads)
        _known[name] = found or _measured(name, threads)
    return _known[name]


def is_known(threads: int = 1) -> bool:
    """Whether `machine(threads)` would measure nothing."""
    name = f"machine-{key_of(sources(), FLAGS)}-{threads}.json"
    return name in _known or _remembered(name, threads) is not None


def _measured(name: str, threads: int) -> Machine:
    found = probe(threads, SAMPLES)
    if folder := cache_folder():
        with contextlib.suppress(OSError):  # what cannot be kept is measured again next time
            _write(folder / name, json.dumps(found.as_dict(), indent=2) + "\n")
    return found


def _remembered(name: str, threads: int) -> Machine | None:
    """None where there is no file, or none that makes sense."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        found = _read(json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.threads == threads else None


def _read(data: Any) -> Machine:
    return Machine(
        threads=int(data["threads"]),
        peak={key: float(rate) for key, rate in data["peak"].items()},
        activations={key: float(rate) for key, rate in data["activations"].items()},
        bandwidth=tuple((int(size), float(rate)) for size, rate in data["bandwidth"]),
        caches=tuple((str(cache), int(size)) for cache, size in data["caches"]),
    )


def _write(path: Path, text: str) -> None:
    """In one step, so that another process never reads half a file."""
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except OSError:
        os.unlink(part)
        raise
