"""What was found by tuning, remembered in the cache of compiled kernels.

In: a key and sizes.  Out: a Choice for each sizes that were tuned.
Not here: the folder, its safety and its size (build/cache.py), what a choice means (options.py).

A record is a small file of its own, so that processes may write at once. One that cannot be
read, or holds what no kernel could have written, is ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence

from derive.build import cache
from derive.kernel.signature import Sizes
from derive.kernel.tune.options import Choice, choice_of

#: A change of what records or choices mean gets a new number here.
_FORMAT = 1
_SUFFIX = ".tuned.json"


def key_of(files: Mapping[str, str], flags: Sequence[str], dtype: str, threads: int) -> str:
    """The key of a kernel's records. It depends on its text, the compiler, the processor and how
    many processors there are."""
    about = f"tuned {_FORMAT}, {dtype}, {threads} of {processors()}"
    return cache.key_of({**files, "": about}, flags)


def remember(key: str, sizes: Sizes, choice: Choice) -> bool:
    """Whether it could be remembered."""
    data = {
        "steps": sizes.steps,
        "rows": sizes.rows,
        "dims": dict(sizes.dims),
        "choice": choice.as_dict(),
    }
    text = json.dumps(data, indent=1) + "\n"
    return cache.put(text.encode(), key, _name(sizes)) is not None


def recall(key: str, dims: Sequence[str], threads: int) -> list[tuple[Sizes, Choice]]:
    """Everything that is remembered of a kernel with these dimensions."""
    known = []
    for path in cache.found(key, _SUFFIX):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            data = json.loads(path.read_text(encoding="utf-8"))
            sizes = Sizes(data["steps"], data["rows"], {dim: data["dims"][dim] for dim in dims})
            numbers = (sizes.steps, sizes.rows, *sizes.dims.values())
            if path.name == _name(sizes) and all(type(n) is int and n > 0 for n in numbers):
                known.append((sizes, choice_of(data["choice"], threads)))
    return known


def forget(key: str) -> None:
    for path in cache.found(key, _SUFFIX):
        with contextlib.suppress(OSError):
            path.unlink()


def _name(sizes: Sizes) -> str:
    """Its numbers: names of dimensions may differ in case alone, and some systems ignore that."""
    return "-".join(map(str, (sizes.steps, sizes.rows, *sizes.dims.values()))) + _SUFFIX


def processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
