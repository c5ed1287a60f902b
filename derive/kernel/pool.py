"""The threads that share a call of the C target.

In: the shared header of a cell.  Out: the pool's function, which runs a compiled function on a
team; by threads of its own, or by those of OpenMP where a library brings them.
Not here: what the pool does (templates/c/pool.c.j2), how many threads a call is worth (team.py).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from derive.build.library import compile_library


class OpenMP(NamedTuple):
    """Addresses of the functions of an OpenMP runtime that is loaded in this process."""

    GOMP_parallel: int
    omp_get_thread_num: int
    omp_get_num_threads: int


_lock = threading.Lock()
_pools: dict[int, ctypes.CDLL] = {}
_lender: OpenMP | None = None
_is_child = False


def _forked() -> None:
    """A child has none of its parent's threads, and a lock may be held by one of them."""
    global _lock, _lender, _is_child
    _lock, _lender, _is_child = threading.Lock(), None, True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def pool(files: Mapping[str, str]) -> Any:
    """derive_pool_run: a function and its arguments on so many threads, for the C of a cell."""
    from derive.build.templates import environment  # one thread needs no template

    text = environment().get_template("c/pool.c.j2").render()
    library = beside_header(files, "pool.c", text)
    with _lock:
        if _pools.setdefault(library._handle, library) is library and _lender is not None:
            _lend(library, _lender)
    return library.derive_pool_run


def borrow(openmp: OpenMP | None) -> None:
    """Has every pool of this process take threads of OpenMP from now on; None: its own.

    Otherwise both kinds of threads would share processors: OpenMP's threads spin for some
    milliseconds after each of its parallel regions. Processes that are forked later start
    threads of their own."""
    global _lender
    if _is_child:
        return
    with _lock:
        _lender = openmp
        for library in _pools.values():
            _lend(library, openmp)


def _lend(library: ctypes.CDLL, openmp: OpenMP | None) -> None:
    library.derive_pool_borrow(*map(ctypes.c_void_p, openmp or (None, None, None)))


def beside_header(files: Mapping[str, str], name: str, text: str) -> ctypes.CDLL:
    """A file of C compiled beside the shared header of a cell."""
    shared = {path: text for path, text in files.items() if path.endswith("derive_kernels.h")}
    folder = next(iter(shared)).rpartition("/")[0]
    return compile_library({**shared, f"{folder}/{name}": text})
