"""The same work for many cells: several processes, one progress bar.

In: a function of one item, that can be pickled, and items.  Out: results in the items' order.
Not here: the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from derive.cli import console
from derive.kernel.tune.store import processors

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    title: str,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    label: Callable[[Item], str],
    jobs: int | None = None,
) -> list[Result]:
    """work(item) for every item, in as many processes as there are processors, or `jobs`."""
    jobs = min(jobs or processors(), len(items))
    with console.progress(title, len(items)) as tick:
        if jobs <= 1:
            results = []
            for item in items:
                results.append(work(item))
                tick(label(item))
            return results
        return _in_processes(work, items, label, jobs, tick)


def _in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    label: Callable[[Item], str],
    jobs: int,
    tick: Callable[[str], None],
) -> list[Result]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # Fork would copy the threads' locks of the progress bar.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context)
    try:
        futures: dict[Any, int] = {pool.submit(work, item): k for k, item in enumerate(items)}
        for future in as_completed(futures):
            future.result()
            tick(label(items[futures[future]]))
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)
