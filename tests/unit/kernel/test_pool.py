"""The pool of threads: who runs a call, and that nobody is waited for who would come too late."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive import pipeline
from derive.build.templates import environment
from derive.emit.c.shared_header import render_header
from derive.kernel import pool as pools
from derive.kernel.call import Call
from derive.kernel.signature import Sizes
from derive.kernel.team import OF_STATE, Meetings, pays, work_of

TASK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t))
#: Longer than any worker spins.
ASLEEP = 0.2
TESTS = Path(__file__).parents[2]

Run = Callable[..., list[tuple[int, int]]]


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """PyTorch may have lent its threads to this process."""
    before = pools._lender
    pools.borrow(None)
    yield
    pools.borrow(before)


@pytest.fixture
def run() -> Run:
    """Runs a task: (index, count) of the members that ran it, (0, 1) for the caller alone."""
    function: Any = pools.pool(derive.emit(derive.cells.rnn(), "c"))

    def call(threads: int, patient: bool, seconds: float = 0.0) -> list[tuple[int, int]]:
        members: list[tuple[int, int]] = []

        def task(_: Any, team: Any) -> int:
            members.append((team[0], team[1]) if team else (0, 1))
            time.sleep(seconds)
            return 7

        kept = TASK(task)
        status = function(kept, None, ctypes.c_size_t(threads), ctypes.c_size_t(patient))
        assert status == 7
        return sorted(members)

    return call


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_a_patient_call_wakes_its_threads(run: Run, threads: int) -> None:
    for _ in range(3):
        assert run(threads, patient=True) == [(index, threads) for index in range(threads)]
        time.sleep(ASLEEP)


def alone_at_last(run: Run, seconds: float = 0.0) -> bool:
    """Whether a short call runs alone, once the other thread sleeps."""
    run(2, patient=True)
    for _ in range(20):
        time.sleep(ASLEEP)
        if run(2, patient=False, seconds=seconds) == [(0, 1)]:
            return True
    return False


def test_a_short_call_does_not_wait_for_a_sleeper(run: Run) -> None:
    assert alone_at_last(run)


def test_a_short_call_wakes_the_sleeper_for_the_next(run: Run) -> None:
    # While the caller is at it alone, the other stays awake.
    assert alone_at_last(run, seconds=ASLEEP)
    both = [(0, 2), (1, 2)]
    assert any(run(2, patient=False, seconds=0.001) == both for _ in range(1000))


def test_one_thread_needs_no_other(run: Run) -> None:
    assert run(1, patient=True) == [(0, 1)]


def test_a_busy_pool_leaves_a_caller_alone(run: Run) -> None:
    found: list[list[tuple[int, int]]] = []
    first = threading.Thread(target=lambda: found.append(run(2, patient=True, seconds=0.5)))
    first.start()
    time.sleep(0.1)
    assert run(2, patient=True) == [(0, 1)]
    first.join()
    assert found == [[(0, 2), (1, 2)]]


def test_a_child_has_threads_of_its_own(run: Run) -> None:
    assert run(2, patient=True) == [(0, 2), (1, 2)]
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = run(2, patient=True) == [(0, 2), (1, 2)]
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0


# --- threads that are borrowed --------------------------------------------------------------


PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Lender:
    """OpenMP of Python threads, which gives at most so many."""

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self.asked: list[int] = []
        self._own = threading.local()
        self._kept = (
            ctypes.CFUNCTYPE(None, PART, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)(self._run),
            ctypes.CFUNCTYPE(ctypes.c_int)(lambda: self._own.index),
            ctypes.CFUNCTYPE(ctypes.c_int)(lambda: self._own.count),
        )
        addresses = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in self._kept]
        self.functions = pools.OpenMP(*addresses)

    def _run(self, part: Any, data: Any, wanted: int, flags: int) -> None:
        self.asked.append(wanted)
        count = min(wanted, self.most)

        def member(index: int) -> None:
            self._own.index, self._own.count = index, count
            part(data)

        others = [threading.Thread(target=member, args=(index,)) for index in range(1, count)]
        for other in others:
            other.start()
        member(0)
        for other in others:
            other.join()


def test_a_long_call_is_run_by_borrowed_threads(run: Run) -> None:
    lender = Lender()
    pools.borrow(lender.functions)
    assert run(3, patient=True) == [(0, 3), (1, 3), (2, 3)]
    assert lender.asked == [3]
    pools.borrow(None)
    assert run(3, patient=True) == [(0, 3), (1, 3), (2, 3)]
    assert lender.asked == [3]


def test_a_short_call_does_not_borrow(run: Run) -> None:
    lender = Lender()
    pools.borrow(lender.functions)
    assert run(2, patient=False) == run(1, patient=True) == [(0, 1)]
    assert lender.asked == []


def test_a_call_that_is_given_fewer_threads_runs_alone(run: Run) -> None:
    lender = Lender(most=2)
    pools.borrow(lender.functions)
    assert run(3, patient=True) == [(0, 1)]
    assert run(2, patient=True) == [(0, 2), (1, 2)]
    assert lender.asked == [3, 2]


def test_a_child_borrows_nothing(run: Run) -> None:
    lender = Lender()
    pools.borrow(lender.functions)
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = run(2, patient=True) == [(0, 2), (1, 2)] and lender.asked == []
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_borrowed_threads_give_the_bits_of_one() -> None:
    cell = derive.cells.gru()
    one, three = derive.compile(cell, threads=1), derive.compile(cell, threads=3)
    lender = Lender()
    pools.borrow(lender.functions)
    params = one.init(I=40, H=96, seed=1)
    for rows in (1, 5, 40):
        x = np.random.default_rng(0).standard_normal((60, rows, 40)).astype(np.float32)
        runs = [kernel.forward(params, x) for kernel in (one, three)]
        assert runs[0].output.tobytes() == runs[1].output.tobytes()
        grads = [
            kernel.backward(run, run.output) for kernel, run in zip((one, three), runs, strict=True)
        ]
        for name, array in grads[0].params.items():
            assert array.tobytes() == grads[1].params[name].tobytes(), name
    assert lender.asked == [3] * 6


@pytest.mark.parametrize(
    ("steps", "rows", "units", "team", "patient"),
    [
        (1, 1, 128, 1, False),  # a step takes less than two threads need to meet
        (10, 1, 128, 2, False),  # they help, but not if one has to be woken
        (100, 1, 128, 2, True),
        (1, 1, 512, 2, True),
        (1000, 1, 16, 1, False),  # a long call, whose steps are too short to meet in each
        (100, 32, 16, 2, True),  # each takes rows of its own
    ],
)
def test_who_takes_part_depends_on_the_work(
    steps: int, rows: int, units: int, team: int, patient: bool
) -> None:
    kernel = derive.compile(derive.cells.lstm(), threads=2)
    backend: Any = kernel._backend
    sizes = Sizes(steps, rows, {"H": units, "I": units})
    call = Call(sizes, kernel.init(H=units, I=units), {}, {})
    assert backend.default.team(call) == team
    if team == 2:
        assert backend.default._patient(call) == patient


@pytest.mark.parametrize(
    ("name", "rows", "width", "shared"),
    [
        ("lstm", 1, 128, True),
        ("lstm:layer_norm=ba2016", 1, 128, False),  # as many products, and 13 meetings in a step
        ("lstm:layer_norm=ba2016", 4, 256, True),
        ("mlstm", 1, 256, False),
        ("mlstm", 2, 256, True),
    ],
)
def test_each_meeting_in_a_step_wants_work(name: str, rows: int, width: int, shared: bool) -> None:
    cell = derive.cells.from_spec(name)
    signature = pipeline.signature_of_parts(cell)
    dims = {dim: width // 4 if dim in ("D", "K") else width for dim in signature.dims()}
    sizes = Sizes(100, rows, {**dims, **({"N": 4} if "N" in dims else {})})
    params = {n: np.empty(sizes.lengths(axes)) for n, axes in signature.params.items()}
    meetings = Meetings.of(derive.emit(cell, "c"), cell.name)
    for training in (False, True):
        call = Call(sizes, params, {}, {}, training=training)
        assert pays(call, 2, signature, False, meetings) == shared


def test_a_state_of_several_axes_is_work() -> None:
    assert work_of([10, 4]) == work_of([10, 4], [(5,)]) == 14
    assert work_of([10, 4], [(5,), (3, 2)]) == 14 + 6 * OF_STATE


# --- The protocol: threads that are late at every step of it -----------------------------------

#: So few numbers of calls that they wrap round all the time.
FEW_NUMBERS = "-DDERIVE_POOL_NUMBERS=7"
SANITIZE = "-fsanitize=thread"

#: Faults of the protocol: what is replaced, and what sees it.
FAULTS = {
    "the members are read apart from the number": (
        "turns",
        "    return index < (call & 0xff) && __atomic_load_n(&pool.worker[index].done, "
        "__ATOMIC_RELAXED) != call;",
        """    static __thread size_t seen;
    if (call == seen) {
        return 0;
    }
    seen = call;
    DERIVE_POOL_STEP();
    return index < (pool.call & 0xff);""",
    ),
    "done before it is": (
        "turns",
        "        (void)pool.task(pool.args, &team);",
        """        __atomic_store_n(&pool.worker[index].done, call, __ATOMIC_RELEASE);
        (void)pool.task(pool.args, &team);""",
    ),
    "a member is not waited for": ("callers", "index = 1, spins = 0;", "index = 2, spins = 0;"),
    "an old word comes again": ("turns", "!is_done(index, number << 8 | threads)", "1"),
    "a child thinks it has its parent's threads": (
        "forks",
        "    memset(&pool, 0, sizeof pool);",
        "",
    ),
}


def program(folder: Path, *flags: str, fault: tuple[str, str] | None = None) -> Callable[..., int]:
    """tests/c/pool.c with the pool, which delays its threads: its exit status, 1 where it hangs."""
    text = environment().get_template("c/pool.c.j2").render()
    if fault:
        assert text.count(fault[0]) == 1
        text = text.replace(*fault)
    (folder / "derive_kernels.h").write_text(render_header())
    (folder / "pool.c").write_text(text)
    command = ["gcc", "-std=c11", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
    command += ["-include", str(TESTS / "c/pool_delays.h"), *flags, str(folder / "pool.c")]
    command += [str(TESTS / "c/pool.c"), "-o", str(folder / "pool")]
    subprocess.run(command, check=True)

    def run(mode: str, calls: int, patience: float = 100) -> int:
        command = [str(folder / "pool"), mode, str(calls)]
        try:
            return subprocess.run(
                command, capture_output=True, timeout=patience, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return 1

    return run


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@needs_gcc
@pytest.mark.parametrize("flags", [(), (FEW_NUMBERS,)], ids=["", "few numbers"])
def test_late_threads_take_part_in_their_calls_alone(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    run = program(tmp_path, *flags)
    assert [run(mode, 500) for mode in ("turns", "callers", "forks")] == [0, 0, 0]
    assert [run("exits", 10**6) for _ in range(10)] == [0] * 10


@needs_gcc
def test_the_pool_has_no_race(tmp_path: Path) -> None:
    run = program(tmp_path, SANITIZE)
    assert [run(mode, 200) for mode in ("turns", "callers")] == [0, 0]


@needs_gcc
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_protocol_is_seen(name: str, tmp_path: Path) -> None:
    mode, *fault = FAULTS[name]
    run = program(tmp_path, FEW_NUMBERS, fault=(fault[0], fault[1]))
    assert run(mode, 2000, patience=3) != 0


@pytest.mark.parametrize("mode", ["turns", "callers", "forks", "exits"])
def test_kernels_of_different_teams_give_the_bits_of_one_thread(mode: str) -> None:
    command = [sys.executable, str(TESTS / "helpers/pool_turns.py"), mode, "40"]
    assert subprocess.run(command, timeout=300, check=False).returncode == 0
