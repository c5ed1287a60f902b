"""All contests of a run, one number of threads after the other.

In: `Order`s.  Out: a Report.
Not here: what a contest is (contest.py), where contestants live (worker.py).
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.bench.contest import contest, rated
from derive.bench.record import Record, Report
from derive.bench.shapes import Shape
from derive.bench.task import task_of
from derive.bench.worker import Remote
from derive.cell import Cell
from derive.kernel.tune import clock
from derive.machine.probe import load_average, probe

#: Packages whose versions belong to a report.
_PACKAGES = ("numpy", "torch", "jax", "onnxruntime", "onednn-cpu-gomp")


@dataclass(frozen=True, slots=True)
class Order:
    """What is measured with one number of threads.

    cells: each with what the user calls it.  peers: modules of derive.bench.peers.  together: all
    peers share one process, and the threads that each leaves behind.
    """

    cells: tuple[tuple[str, Cell], ...]
    shapes: tuple[Shape, ...]
    threads: int
    peers: tuple[str, ...]
    modes: tuple[str, ...]
    quick: bool
    together: bool = False


def report(orders: list[Order], tick: Callable[[str], None]) -> Report:
    """Run all orders, one after the other; `tick` is called after each contest."""
    started, before = time.perf_counter(), load_average()
    records: list[Record] = []
    machines: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    with np.errstate(all="ignore"):
        for order in orders:
            groups = [order.peers] if order.together else [(one,) for one in order.peers]
            hosts: list[Remote] = []
            try:
                for group in groups:
                    hosts.append(Remote(group, order.threads))
                    absent.update(hosts[-1].absent)
                found, machine = _contests(order, hosts, tick)
            finally:
                for host in hosts:
                    host.close()
            records += found
            machines.append(machine)
    seconds = time.perf_counter() - started
    return Report(
        tuple(records), tuple(machines), absent, _versions(), (before, load_average()), seconds
    )


def _contests(
    order: Order, hosts: list[Remote], tick: Callable[[str], None]
) -> tuple[list[Record], dict[str, Any]]:
    effort = clock.QUICK if order.quick else clock.FULL
    samples = effort.least
    machine = probe(order.threads, samples)
    found = []
    for label, cell in order.cells:
        for shape in order.shapes:
            task = task_of(cell, shape, order.threads)
            records, need = contest(label, task, hosts, effort, order.modes)
            found += [(record, need) for record in records]
            # Again and again: the best counts, and at times others have the machine.
            machine = machine.best(probe(order.threads, samples))
            tick(f"{label} {shape}, {order.threads} threads")
    return [rated(record, need, machine) for record, need in found], machine.as_dict()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
