"""Kernels on the threads of PyTorch.

In: nothing.  Out: calls of several threads are run by PyTorch's OpenMP threads.
Not here: what the threads do (templates/c/pool.c.j2), the choice between pools (kernel/pool.py).
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

from derive.kernel.pool import OpenMP, borrow


@functools.cache
def share_threads() -> None:
    """Where PyTorch computes with OpenMP, kernels of several threads borrow its threads.

    After each of its parallel loops these spin for some milliseconds, and threads of our own would
    have to share processors with them. Other builds of PyTorch: nothing changes."""
    if (openmp := _openmp()) is not None:
        borrow(openmp)


def _openmp() -> OpenMP | None:
    if "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info():
        return None
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        path = Path(torch.__file__).with_name("lib") / name
        try:
            library = ctypes.CDLL(str(path))  # is loaded already, and so is its OpenMP
            addresses = [
                ctypes.cast(library[function], ctypes.c_void_p).value for function in OpenMP._fields
            ]
        except (OSError, AttributeError):
            continue
        return OpenMP(*(address or 0 for address in addresses))
    return None
