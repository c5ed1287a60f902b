"""Who runs trials.

In: --executor.  Out: something with submit(function, argument), whose answers have done() and
result(), for as long as a block lasts.
Not here: which trials there are (run.py).

Trials are independent and made of text, so any engine will do. "local": processes here, one
thread each. "dask": a cluster of Dask, at an address or on this machine. "slurm:FOLDER": submitit,
which writes its files into FOLDER, and runs trials here where there is no Slurm.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from derive.errors import ArgumentError

NAMES = ("local", "dask", "dask:ADDRESS", "slurm:FOLDER")


@contextmanager
def opened(text: str, jobs: int) -> Iterator[Any]:
    """jobs: how many trials at a time, where that is ours to say. What was opened is closed: after
    an error, or Ctrl-C, without waiting for trials that run."""
    name, _, rest = text.partition(":")
    if text == "local":
        yield from _local(jobs)
    elif name == "dask":
        yield from _dask(rest, jobs)
    elif name == "slurm" and rest:
        submitit = _imported("submitit", "submitit")
        executor = submitit.AutoExecutor(folder=os.path.abspath(rest))
        executor.update_parameters(cpus_per_task=1, name="derive-race")
        yield executor
    else:
        raise ArgumentError(
            f"there is no executor '{text}'", facts=(f"executors: {', '.join(NAMES)}",),
            hint="--executor local",
        )  # fmt: skip


def _local(jobs: int) -> Iterator[Any]:
    # Fork would copy the threads of a progress bar, and of kernels.
    spawn = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    engine = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_end_with_parent)
    try:
        yield engine
    except BaseException:
        engine.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    engine.shutdown()


def _end_with_parent() -> None:
    """In a process of the pool: a race that is killed leaves none behind. They would wait for
    work for ever, since each holds the other end of its queue too."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _dask(address: str, jobs: int) -> Iterator[Any]:
    distributed = _imported("distributed", "dask[distributed]")
    try:
        if address:
            client = distributed.Client(address, timeout=10)
        else:
            client = distributed.Client(n_workers=jobs, threads_per_worker=1)
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"there is no cluster of Dask at {address or 'this machine'}",
            facts=(f"{type(error).__name__}: {error}",),
            hint="--executor dask:tcp://127.0.0.1:8786, or --executor local",
        ) from error
    with closing(client):
        yield client.get_executor()


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ArgumentError(
            f"this executor needs the package {module}, which is not installed",
            hint=f"pip install '{package}'",
        ) from None
