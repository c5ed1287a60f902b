"""What the machine can do: multiply-adds, reading from each cache, activations.

In: how many threads.  Out: `Machine`, rates in operations, bytes and elements a second.
Not here: what a cell needs of them (inspect/facts/roofline.py, bench/bound.py). The loops are in
probe.c, built like a kernel.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

KIB = 1024
#: Bytes that are read again and again, for each thread.
READS = (32 * KIB, 256 * KIB, 1024 * KIB, 4096 * KIB, 16384 * KIB, 131072 * KIB)
_TAGS = {"float32": "f32", "float64": "f64"}
_ACTIVATIONS = 4096
#: Seconds of a sample: long against the clock's resolution, short against a scheduler's slice.
SAMPLE = 1e-3


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates of all `threads` together.

    peak: {dtype: floating-point operations a second, two for a multiply-add}.
    activations: {dtype: sigmoids and tanhs a second}.
    bandwidth: ((bytes that each thread reads, bytes a second), ...), ascending.
    caches: ((name, bytes), ...), ascending, as far as the system tells.
    """

    threads: int
    peak: Mapping[str, float]
    activations: Mapping[str, float]
    bandwidth: tuple[tuple[int, float], ...]
    caches: tuple[tuple[str, int], ...] = ()

    def reading(self, count: float) -> float:
        """Bytes a second where `count` bytes, split between the threads, are read each time."""
        share = count / self.threads
        for size, rate in self.bandwidth:
            if share <= size:
                return rate
        return self.bandwidth[-1][1]

    def level(self, count: float) -> str:
        """The name of the cache that holds `count` bytes, split between the threads."""
        share = count / self.threads
        fitting = (name for name, size in self.caches if share <= size)
        return next(fitting, "memory") if self.caches else "unknown"

    def best(self, other: Machine) -> Machine:
        """The higher of each rate: other processes can take a machine's rate away, never add."""
        return Machine(
            self.threads,
            {key: max(rate, other.peak[key]) for key, rate in self.peak.items()},
            {key: max(rate, other.activations[key]) for key, rate in self.activations.items()},
            tuple(
                (size, max(rate, again))
                for (size, rate), (_, again) in zip(self.bandwidth, other.bandwidth, strict=True)
            ),
            self.caches,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def probe(threads: int, samples: int) -> Machine:
    """Measure. Every thread runs the same loop at the same time on data of its own."""
    library = _library()
    rates = {}
    for dtype, tag in _TAGS.items():
        source = np.full(4096, 0.5, dtype)
        function = library[f"probe_peak_{tag}"]
        function.restype = ctypes.c_double
        rates[dtype] = _rate(threads, samples, partial(_peak, function, source))
    reading = library["probe_read"]
    reading.restype = ctypes.c_double
    bandwidth = tuple(
        (size, _rate(threads, samples, partial(_read, reading, size))) for size in READS
    )
    activations = {}
    for dtype, tag in _TAGS.items():
        function = library[f"probe_activations_{tag}"]
        function.restype = ctypes.c_double
        activations[dtype] = _rate(
            threads, samples, partial(_activations, function, np.dtype(dtype))
        )
    return Machine(threads, rates, activations, bandwidth, caches())


def load_average() -> float | None:
    """Processes that wanted a processor, on average over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def sources() -> dict[str, str]:
    """The C text of the loops, {path: text}."""
    from derive.emit.c.shared_header import render_header

    text = files("derive.machine").joinpath("probe.c").read_text(encoding="utf-8")
    return {"probe.c": text, "derive_kernels.h": render_header()}


_UNITS = {"K": KIB, "M": KIB * KIB, "G": KIB**3}


def caches(
    folder: Path = Path("/sys/devices/system/cpu/cpu0/cache"),
) -> tuple[tuple[str, int], ...]:
    """The caches for data of the first processor, as Linux describes them; () elsewhere."""
    found = []
    for entry in sorted(folder.glob("index*")):
        try:
            level, kind, size = (
                (entry / name).read_text(encoding="ascii").strip()
                for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction" and size[:-1].isdigit() and size[-1] in _UNITS:
            found.append((f"L{level}", int(size[:-1]) * _UNITS[size[-1]]))
    return tuple(sorted(found, key=lambda cache: cache[1]))


def _library() -> ctypes.CDLL:
    from derive.build.library import compile_library

    return compile_library(sources())


#: A loop: given a number of rounds, it returns what it did (operations, bytes, elements).
_Loop = Callable[[int], float]


def _peak(function: Any, source: Any) -> _Loop:
    return lambda rounds: float(function(ctypes.c_size_t(rounds), _pointer(source)))


def _read(function: Any, size: int) -> _Loop:
    source = np.zeros(size // 4, np.float32)
    count = ctypes.c_size_t(source.size)
    return lambda rounds: float(function(ctypes.c_size_t(rounds), count, _pointer(source)))


def _activations(function: Any, dtype: Any) -> _Loop:
    source = np.linspace(-4, 4, _ACTIVATIONS).astype(dtype)
    target = np.empty_like(source)
    count = ctypes.c_size_t(source.size)
    return lambda rounds: float(
        function(ctypes.c_size_t(rounds), count, _pointer(source), _pointer(target))
    )


def _pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _rate(threads: int, samples: int, make: Callable[[], _Loop]) -> float:
    """Work a second of `threads` loops at once, the best of several samples."""
    loops = [make() for _ in range(threads)]
    rounds = 1
    while (seconds := _seconds(loops[0], rounds)[1]) < SAMPLE and rounds < 1 << 30:
        rounds = max(2 * rounds, int(rounds * SAMPLE / max(seconds, 1e-7)))
    best = 0.0
    for _ in range(samples):
        results: list[tuple[float, float]] = [(0.0, 1.0)] * threads
        start = threading.Barrier(threads)

        def work(k: int, results: Any = results, start: Any = start) -> None:
            start.wait()
            results[k] = _seconds(loops[k], rounds)

        team = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
        for member in team:
            member.start()
        for member in team:
            member.join()
        best = max(best, sum(done / seconds for done, seconds in results))
    return best


def _seconds(loop: _Loop, rounds: int) -> tuple[float, float]:
    start = time.perf_counter()
    done = loop(rounds)
    return done, time.perf_counter() - start
