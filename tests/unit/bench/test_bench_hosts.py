"""derive.bench: who runs where: hosts, their processes, memory, what is kept for backward."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive.bench.contest import contest
from derive.bench.host import Failed, Local
from derive.bench.peers import peer
from derive.bench.record import Report
from derive.bench.shapes import DEFAULT, Shape
from derive.bench.table import tables
from derive.bench.task import Contestant, Task, task_of
from derive.bench.worker import Remote
from derive.cli.select import cell_of
from derive.kernel.tune import clock

SHAPE = Shape(5, 3, 7, 13)
JANET = cell_of("janet")
MIB = 2**20
linux = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="no Linux")


class Only:
    """A peer with one contestant, which does `work`."""

    NAME = "only"

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work

    def missing(self) -> None:
        return None

    def enter(self, task: Task) -> list[Contestant]:
        return [Contestant("only", self.work, None, lambda result: {})]


def complain() -> None:
    raise RuntimeError("out of luck\nand more")


# --- failures -------------------------------------------------------------------------------


def test_who_fails_is_named_with_the_reason() -> None:
    class Refuses(Only):
        NAME = "refuses"

        def enter(self, task: Task) -> list[Contestant]:
            raise ValueError("not this one")

    hosts = [Local([Only(complain), Refuses(complain)]), Local([peer("numpy_loop")])]
    records, _ = contest("janet", task_of(JANET, SHAPE, 1), hosts, clock.QUICK, ["infer"])
    assert [(r.contestant, r.agrees, r.failure) for r in records] == [
        ("refuses", False, "ValueError: not this one"),
        ("only", False, "RuntimeError: out of luck"),
        ("NumPy loop", True, ""),
    ]
    assert records[0].seconds is None and records[2].seconds is not None
    text = tables(Report(tuple(records), (), {}, {}, (None, None), 1.0))
    assert "### Failed or wrong" in text
    assert "- only, janet 5,3,7,13 infer: failed: RuntimeError: out of luck" in text


def test_who_fails_while_it_is_timed_has_no_time() -> None:
    calls: list[int] = []

    def work() -> tuple[Any, None]:
        calls.append(0)
        if len(calls) > 4:
            complain()
        return loop.mode("infer")()  # type: ignore[misc]

    (loop,) = peer("numpy_loop").enter(task_of(JANET, SHAPE, 1))

    class Tires(Only):
        def enter(self, task: Task) -> list[Contestant]:
            return [Contestant("tires", work, None, loop.read)]

    (record,), _ = contest(
        "janet", task_of(JANET, SHAPE, 1), [Local([Tires(work)])], clock.QUICK, ["infer"]
    )
    assert (record.seconds, record.agrees) == (None, False)
    assert record.failure == "RuntimeError: out of luck"


# --- memory ---------------------------------------------------------------------------------


@linux
def test_memory_is_the_peak_of_a_call_and_what_calls_keep() -> None:
    kept: list[Any] = []

    def work() -> None:
        if not kept:
            kept.append(np.ones(8 * MIB, np.uint8))
        np.ones(32 * MIB, np.uint8).sum()

    found = []
    for _ in range(2):  # memory that was freed before hides nothing
        host = Local([Only(work)])
        host.enter(JANET, SHAPE, 1)
        found.append(host.first(0, "infer").peak)
        kept.clear()
    for peak in found:
        assert peak is not None and 39 * MIB < peak < 44 * MIB


@pytest.mark.parametrize("spec", ["lstm", "gru", "gru:reset=before", "lstm:peephole=true"])
def test_no_more_is_saved_than_onednn_keeps(spec: str) -> None:
    """Bytes per step and row, at the shapes that are measured where nobody asks for others."""
    onednn, ours = peer("onednn"), peer("derive_c")
    for one in (onednn, ours):
        if why := one.missing():
            pytest.skip(f"{one.NAME}: {why}")
    cell = cell_of(spec)
    for shape in DEFAULT:
        if shape.B * shape.H > 4096:
            continue  # a second of work for nothing else
        task = task_of(cell, shape, 1)
        saved = []
        for one in (ours, onednn):
            contestant = one.enter(task)[0]
            assert contestant.train is not None and contestant.saved is not None
            saved.append(contestant.saved(contestant.train()))
        assert saved[0] <= saved[1], (shape, saved)


@linux
def test_what_onednn_made_before_its_calls_counts_as_their_memory() -> None:
    onednn = peer("onednn")
    if why := onednn.missing():
        pytest.skip(why)
    shape = Shape(100, 32, 64, 64)
    host = Local([onednn])
    host.enter(cell_of("lstm"), shape, 1)
    outputs = 4 * 100 * 32 * 64
    for number in range(2):  # each has buffers of its own
        assert (host.first(number, "infer").peak or 0) >= outputs
        trained = host.first(number, "train")
        assert trained.saved is not None and trained.peak is not None
        assert trained.peak >= 2 * outputs + 4 * 100 * 32 * trained.saved


# --- processes ------------------------------------------------------------------------------


@pytest.fixture
def remote() -> Iterator[Remote]:
    found = Remote(["numpy_loop", "torch_compiled"], 1)
    yield found
    found.close()


def state(remote: Remote) -> str:
    return Path(f"/proc/{remote._process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@linux
def test_a_process_is_stopped_but_for_its_turns(remote: Remote) -> None:
    assert remote.absent == {"torch.compile": "it takes minutes for each shape: --compile"}
    entrants, failures = remote.enter(JANET, SHAPE, 1)
    assert ([one.name for one in entrants], failures) == (["NumPy loop"], {})
    assert state(remote) == "T"
    first = remote.first(0, "train")
    assert first.saved == 4 * 13 and first.results["output h_next"].shape == (5, 3, 13)
    seconds, processor = remote.sample(0, "train")
    assert seconds > 0 and processor > 0
    assert state(remote) == "T"


@linux
def test_a_process_that_ends_fails_its_contestants_and_is_replaced(remote: Remote) -> None:
    remote.enter(JANET, SHAPE, 1)
    os.kill(remote._process.pid, signal.SIGKILL)
    with pytest.raises(Failed, match="its process ended with status -9"):
        remote.first(0, "infer")
    with pytest.raises(Failed, match="its process has ended"):
        remote.sample(0, "infer")
    entrants, _ = remote.enter(JANET, SHAPE, 1)
    assert [one.name for one in entrants] == ["NumPy loop"]


def test_closing_leaves_nothing_behind() -> None:
    remote = Remote(["derive_numpy"], 1)
    process, folder = remote._process, remote._cache.name
    remote.close()
    assert not process.is_alive() and not os.path.exists(folder)


@linux
def test_a_stopped_process_does_not_outlive_a_killed_parent() -> None:
    text = (
        "from derive.bench.worker import Remote\n"
        "if __name__ == '__main__':\n"
        "    remote = Remote(['numpy_loop'], 1)\n"
        "    print(remote._process.pid, remote._cache.name, flush=True)\n"
        "    input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    number, folder = parent.stdout.readline().split()
    child = Path(f"/proc/{number}/stat")
    assert child.read_text().rpartition(")")[2].split()[0] == "T"
    parent.kill()
    parent.wait()
    limit = time.monotonic() + 60
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < limit
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)
