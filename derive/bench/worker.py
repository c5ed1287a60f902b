"""All contests of one number of threads, in a process of their own.

In: `Order`.  Out: messages: the machine's rates, Records, who is absent.
Not here: what a contest is (contest.py), what becomes of Records (table.py).

How many threads a library uses is fixed, for many, when it is loaded, by the environment. So
each number of threads has a process, whose environment says it.
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from derive.bench.machine import load_average
from derive.bench.record import Record, Report
from derive.bench.shapes import Shape
from derive.errors import BuildError


@dataclass(frozen=True, slots=True)
class Order:
    """cells: as the user calls them. peers: modules of derive.bench.peers."""

    cells: tuple[str, ...]
    shapes: tuple[Shape, ...]
    threads: int
    peers: tuple[str, ...]
    modes: tuple[str, ...]
    quick: bool


#: Packages whose versions belong to a report.
_PACKAGES = ("numpy", "torch", "jax", "onnxruntime", "onednn-cpu-gomp")

#: Environment of a process that shall use n threads. JAX's pool is NPROC threads.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


def environment(threads: int) -> dict[str, str]:
    """What is set for a worker, where the user did not set it already."""
    found = dict.fromkeys(_THREADS, str(threads))
    found["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if _has_avx512():
        # NumPy's OpenBLAS takes newer processors for older ones, and runs at half of its speed.
        found["OPENBLAS_CORETYPE"] = "SkylakeX"
    return found


def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return " avx512dq " in file.read()
    except OSError:
        return False


#: ("absent", {peer: why}), ("done", label) for each contest, and in the end
#: ("records", list, rates of the machine).
Message = tuple[Any, ...]


def messages(order: Order) -> Iterator[Message]:
    """What a worker for `order` says, until it ends."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(order, send), daemon=True)
    with _set(environment(order.threads)):
        process.start()
    send.close()
    try:
        while True:
            yield receive.recv()
    except EOFError:
        process.join()
        if process.exitcode:
            raise BuildError(
                f"the benchmark with {order.threads} threads ended",
                facts=(f"exit status {process.exitcode}",),
            ) from None
    finally:
        if process.is_alive():
            process.terminate()


@contextmanager
def _set(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment for a while, but for those that have a value."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _work(order: Order, send: Any) -> None:
    import numpy as np

    from derive.bench import measure
    from derive.bench.contest import contest, rated
    from derive.bench.machine import probe
    from derive.bench.peers import peer
    from derive.bench.task import task_of
    from derive.commands.select import cell_of

    np.seterr(all="ignore")
    effort = measure.QUICK if order.quick else measure.FULL
    samples = effort.least
    machine = probe(order.threads, samples)
    peers, absent = [], {}
    for module in order.peers:
        one = peer(module)
        if why := one.missing():
            absent[one.NAME] = why
        else:
            peers.append(one)
    send.send(("absent", absent))
    found = []
    for label in order.cells:
        cell = cell_of(label)
        for shape in order.shapes:
            task = task_of(cell, shape, order.threads)
            records, need = contest(label, task, peers, effort, order.modes)
            found += [(record, need) for record in records]
            # Again and again: the best counts, and at times others have the machine.
            machine = machine.best(probe(order.threads, samples))
            send.send(("done", f"{label} {shape}"))
    send.send(
        ("records", [rated(record, need, machine) for record, need in found], machine.as_dict())
    )


def report(orders: list[Order], tick: Any) -> Report:
    """Run all orders, one after the other."""
    started, before = time.perf_counter(), load_average()
    records: list[Record] = []
    machines: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    for order in orders:
        for kind, *content in messages(order):
            if kind == "absent":
                absent.update(content[0])
            elif kind == "done":
                tick(f"{content[0]}, {order.threads} threads")
            else:
                records += content[0]
                machines.append(content[1])
    seconds = time.perf_counter() - started
    return Report(
        tuple(records), tuple(machines), absent, _versions(), (before, load_average()), seconds
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
