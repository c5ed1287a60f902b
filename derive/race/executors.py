"""Who runs trials.

In: --executor.  Out: something with submit(function, argument), whose answers have done() and
result().
Not here: which trials there are (run.py).

Trials are independent and made of text, so any engine will do. "local": processes here, one
thread each. "dask": a cluster of Dask, at an address or on this machine. "slurm:FOLDER": submitit,
which writes its files into FOLDER, and runs trials here where there is no Slurm.
"""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from derive.errors import ArgumentError

NAMES = ("local", "dask", "dask:ADDRESS", "slurm:FOLDER")


def executor_of(text: str, jobs: int) -> Any:
    """jobs: how many trials at a time, where that is ours to say."""
    name, _, rest = text.partition(":")
    if text == "local":
        # Fork would copy the threads of a progress bar, and of kernels.
        return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    if name == "dask":
        distributed = _imported("distributed", "dask[distributed]")
        if rest:
            return distributed.Client(rest).get_executor()
        return distributed.Client(n_workers=jobs, threads_per_worker=1).get_executor()
    if name == "slurm" and rest:
        submitit = _imported("submitit", "submitit")
        executor = submitit.AutoExecutor(folder=rest)
        executor.update_parameters(cpus_per_task=1, name="derive-race")
        return executor
    raise ArgumentError(
        f"there is no executor '{text}'", facts=(f"executors: {', '.join(NAMES)}",),
        hint="--executor local",
    )  # fmt: skip


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ArgumentError(
            f"this executor needs the package {module}, which is not installed",
            hint=f"pip install '{package}'",
        ) from None
