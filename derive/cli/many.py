"""The same work for many cells: several processes, one progress bar.

In: a function of one item, that can be pickled, and items.  Out: results in the items' order.
Not here: the work.

A process that dies, killed where memory runs out for example, takes no result with it but its own:
what it may have worked on is done again, each item by itself. One that ends its process once more
is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from derive.cli import console
from derive.errors import DeriveError
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
    found: dict[int, Result] = {}

    def missing() -> list[int]:
        return [k for k in range(len(items)) if k not in found]

    def done(k: int, result: Result) -> None:
        found[k] = result
        tick(label(items[k]))

    while numbers := missing():
        if _lived(work, items, numbers, jobs, done):
            continue
        # Items are begun in order: the one whose process died is among the first that are missing.
        for k in missing()[:jobs]:
            if not _lived(work, items, [k], 1, done):
                raise DeriveError(
                    f"{label(items[k])}: its process ended twice without a result",
                    facts=("it crashed, or was killed, as processes are where memory runs out",),
                    hint="--jobs 1",
                )
    return [found[k] for k in range(len(items))]


def _lived(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    numbers: Sequence[int],
    jobs: int,
    done: Callable[[int, Result], None],
) -> bool:
    """Whether no process died while they worked on the items of these numbers."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    # Fork would copy the threads' locks of the progress bar.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(numbers)), mp_context=context)
    lived = True
    try:
        futures: dict[Any, int] = {pool.submit(work, items[k]): k for k in numbers}
        for future in as_completed(futures):
            try:
                done(futures[future], future.result())
            except BrokenProcessPool:
                lived = False  # said by every item that has no result
    except BrokenProcessPool:  # while items were handed out
        lived = False
    finally:
        pool.shutdown(cancel_futures=True)
    return lived
