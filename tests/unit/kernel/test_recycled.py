"""Memory of large arrays is used again, and never while an array still refers to it."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import derive
from derive import pipeline
from derive.kernel import buffers, recycled
from derive.kernel.buffers import address, empty
from derive.kernel.call import Call
from derive.kernel.signature import Sizes


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(buffers, "WORTH_KEEPING", 1 << 14)
    monkeypatch.setattr(recycled, "KEPT", 1 << 17)
    monkeypatch.setattr(recycled, "_idle", {})


FLOAT = np.dtype("float32")


def test_memory_serves_again_when_no_array_refers_to_it() -> None:
    one = empty((64, 128), FLOAT)
    place, part = address(one), one[3:]
    del one
    assert address(empty((64, 128), FLOAT)) != place  # `part` still reads it
    del part
    two = empty((8000,), np.dtype("float64"))
    assert two.shape == (8000,) and two.dtype == np.float64 and two.flags.writeable
    assert address(two) % 64 == 0
    del two
    places = {address(empty((64, 128), FLOAT)) for _ in range(5)}
    assert len(places) == 1


def test_a_block_serves_what_is_a_little_smaller_and_nothing_far_smaller() -> None:
    place = address(empty((10_000,), FLOAT))
    assert address(empty((8_000,), FLOAT)) == place
    assert address(empty((5_000,), FLOAT)) != place
    assert address(empty((11_000,), FLOAT)) != place


def test_idle_blocks_are_bounded_and_the_latest_stay() -> None:
    arrays = [empty((8_000 + 16 * k,), FLOAT) for k in range(8)]
    del arrays[:]
    idle = list(recycled._idle.values())
    assert sum(block.size for block in idle) <= recycled.KEPT and len(idle) == 4
    del arrays
    empty((40_000,), FLOAT)  # larger than all that may be idle
    assert max(block.size for block in recycled._idle.values()) < 40_000


def test_results_of_one_call_are_not_those_of_the_next() -> None:
    kernel = derive.compile(derive.cells.rnn())
    params = kernel.init(I=4, H=64)
    first, second = np.random.default_rng(0).standard_normal((2, 40, 8, 4))
    one = kernel.forward(params, first)
    wanted = one.output.copy()
    d = np.ones_like(wanted)
    gradient = kernel.backward(one, d).params["U"].copy()
    for _ in range(3):
        kernel.backward(kernel.forward(params, second), d)
    assert (one.output == wanted).all()
    assert (kernel.backward(one, d).params["U"] == gradient).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_that_have_ended_behind_all_others_are_not_computed(
    reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = derive.cells.lstm()
    params = derive.compile(cell).init(I=3, H=16)
    backend = pipeline.untuned(cell, "c", "float32", 1)
    kept: list[Any] = []

    def marked(shape: tuple[int, ...]) -> Any:
        kept.append(np.full(shape, 77, "f4"))
        return kept[-1]

    monkeypatch.setattr(backend, "_empty", marked)
    states = {name: np.zeros((4, 16), "f4") for name in ("h", "c")}
    x = {"x": np.ones((6, 4, 3), "f4")}
    untouched = []
    for lengths in ([6, 6, 6, 6], [6, 3, 2, 0], [0, 2, 3, 6]):
        kept.clear()
        sizes = Sizes(6, 4, {"I": 3, "H": 16})
        backend.forward(Call(sizes, params, x, states, np.array(lengths), reverse, True))
        untouched.append(int((kept[0] == 77).sum()))
    gates = 4 * 16
    assert untouched[1] >= untouched[0] + 13 * gates and untouched[2] == untouched[0]


def test_an_array_that_is_collected_while_a_block_is_looked_for_does_no_harm() -> None:
    """The collector may run at any allocation, and give back what a circle of objects held."""

    class Holder:
        me: object
        array: object

    count, threshold = 1000, gc.get_threshold()
    gc.disable()
    try:
        for distance in range(60):
            recycled._idle.clear()
            kept = [recycled.recycled((count + k,), FLOAT) for k in range(12)]
            del kept
            gc.collect()
            for _ in range(2):
                holder = Holder()
                holder.me, holder.array = holder, recycled.recycled((2 * count,), FLOAT)
                del holder
            gc.set_threshold(gc.get_count()[0] + distance, 1000, 1000)
            gc.enable()
            found = recycled.recycled((count,), FLOAT)
            gc.disable()
            assert found.shape == (count,)
            del found
    finally:
        gc.set_threshold(*threshold)
        gc.enable()


def test_idle_blocks_are_let_go_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 1 << 14
    once = recycled.recycled((count,), np.dtype(np.uint8))
    del once
    assert recycled._idle
    empty = np.empty

    def short(*args: Any) -> Any:
        if recycled._idle:
            raise MemoryError
        return empty(*args)

    monkeypatch.setattr(recycled.np, "empty", short)
    assert recycled.recycled((4 * count,), np.dtype(np.uint8)).size == 4 * count
