"""Kernel.tune: alternatives give the same bits, and the right one is chosen and remembered.

No test depends on the clock: what is measured is made up, but for one real run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive import cells, pipeline
from derive.build.compiler import FLAGS
from derive.cell import Cell
from derive.cli.main import status
from derive.errors import ArgumentError, ArgumentTypeError, BuildError
from derive.kernel import Kernel
from derive.kernel.c_backend import CBackend
from derive.kernel.call import Call
from derive.kernel.signature import Sizes
from derive.kernel.tune import search, store
from derive.kernel.tune.backend import TunedBackend
from derive.kernel.tune.options import QUESTIONS, Choice, alternatives, choice_of
from derive.kernel.tune.search import Contestant, tune

#: Quick to compile.
QUICK = (*FLAGS, "-O1")
CHOICES = (
    Choice(threads=1),
    Choice(threads=2),
    Choice(share="rows"),
    Choice(share="units"),
    Choice(contract="early"),
    Choice(contract="late"),
    Choice(tile=4),
    Choice(tile=3),
    Choice(threads=2, share="rows", contract="early", tile=3),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(folder))
    return folder


def backend_of(cell: Cell, chosen: Choice, threads: int, *flags: str) -> CBackend:
    """All threads take part where the choice says nothing: small sizes would not pay."""
    return CBackend(
        pipeline.emit(cell, "c"), pipeline.signature(cell), "float32", threads,
        (*QUICK, *chosen.flags(), *flags), team=chosen.threads or threads,
    )  # fmt: skip


def kernel_of(cell: Cell, threads: int = 1) -> Kernel:
    files, signature = pipeline.emit(cell, "c"), pipeline.signature(cell)

    def build(chosen: Choice) -> CBackend:
        flags = (*QUICK, *chosen.flags())
        return CBackend(files, signature, "float32", threads, flags, team=chosen.threads)

    backend = TunedBackend(build, files, QUICK, signature.dims(), "float32", threads)
    return Kernel(signature, backend, "float32", target="c")


# --- the same bits --------------------------------------------------------------------------


def bits(forward: CBackend, backward: CBackend, cell: Cell, rows: int) -> Iterator[bytes]:
    """Everything that a call computes, forward by one backend and backward by another."""
    signature = pipeline.signature(cell)
    dims = {"I": 21, "H": 37}
    random = np.random.default_rng(rows)
    params = {
        name: random.standard_normal([dims.get(a, a) for a in axes]).astype("f4") / 4
        for name, axes in cell.params.items()
    }

    def draw(widths: Any, *before: int) -> dict[str, Any]:
        return {
            name: random.standard_normal((*before, dims.get(w, w))).astype("f4")
            for name, w in widths.items()
        }

    for steps, reverse in ((13, False), (1, True)):
        sizes = Sizes(steps, rows, {dim: dims[dim] for dim in signature.dims()})
        lengths = random.integers(0, steps + 1, rows) if reverse else None
        inputs, d_outputs = (draw(w, steps, rows) for w in (signature.inputs, signature.outputs))
        states, d_states = (draw(signature.states, rows) for _ in range(2))
        call = Call(sizes, params, inputs, states, lengths, reverse, training=True)
        outputs, last, saved = forward.forward(call)
        grads = backward.backward(call, saved, d_outputs, d_states)
        for group in (outputs, last, *grads):
            yield from (array.tobytes() for array in group.values())


@pytest.mark.parametrize(
    "spec", ["lstm", "gru:reset=before", "intersection_rnn", "lstm:layer_norm=supercell", "min_gru"]
)
def test_every_alternative_gives_the_bits_of_the_default(spec: str) -> None:
    cell = cells.from_spec(spec)
    default = backend_of(cell, Choice(), 2)
    others = [(chosen, backend_of(cell, chosen, 2)) for chosen in CHOICES]
    for rows in (2, 3, 7, 17):
        wanted = list(bits(default, default, cell, rows))
        for chosen, other in others:
            if rows // 2 < 2 and chosen.share:
                continue  # nothing to share: never offered
            assert list(bits(other, other, cell, rows)) == wanted, (chosen, rows)
            assert list(bits(default, other, cell, rows)) == wanted, (chosen, rows)


def test_a_choice_that_changed_the_order_of_sums_would_be_seen() -> None:
    cell = cells.from_spec("lstm")
    default, other = (backend_of(cell, Choice(), 1, *f) for f in ((), ("-DDK_CHUNK_ROWS=8",)))
    assert list(bits(other, other, cell, 7)) != list(bits(default, default, cell, 7))


def test_a_single_row_is_summed_otherwise_where_its_inputs_are_contracted_early() -> None:
    """Why nothing of the sort is offered for it."""
    cell = cells.from_spec("lstm")
    early, late = (backend_of(cell, Choice(contract=c), 1) for c in ("early", "late"))
    assert list(bits(early, early, cell, 1)) != list(bits(late, late, cell, 1))


def test_a_thread_with_a_single_row_sums_it_like_one_of_several() -> None:
    cell = cells.from_spec("lstm")
    default, single = (backend_of(cell, Choice(), 2, *f) for f in ((), ("-DDK_ROWS_EACH=1",)))
    assert list(bits(single, single, cell, 2)) == list(bits(default, default, cell, 2))


# --- what there is to choose ----------------------------------------------------------------


def test_the_shared_header_takes_every_macro_that_is_set() -> None:
    header = pipeline.emit(cells.from_spec("rnn"), "c")["c/derive_kernels.h"]
    names = {flag[2:].partition("=")[0] for chosen in CHOICES for flag in chosen.flags()}
    assert names == {"DK_ROWS_EACH", "DK_ROWS_BYTES", "DK_EARLY_ROWS", "DK_ROWS_MAX"}
    for name in names:
        assert f"#ifndef {name}\n" in header


def offered(spec: str, rows: int, threads: int, team: int) -> dict[str, list[str]]:
    files = pipeline.emit(cells.from_spec(spec), "c")
    sizes = Sizes(10, rows, {"I": 4, "H": 4})
    return {
        question: list(map(str, alternatives(question, files, sizes, threads, team)))
        for question in QUESTIONS
    }


def test_alternatives_leave_out_what_is_the_default_anyway() -> None:
    found = offered("lstm", 32, 3, 3)
    assert found == {
        "threads": ["1 thread", "2 threads"],
        "share": ["threads take rows", "threads share units"],
        "contract": ["W x before the loop"],
        "tile": ["tiles of 4 rows", "tiles of 3 rows"],
    }
    few = offered("lstm", 4, 2, 2)
    assert few["share"] == ["threads take rows"]
    assert few["contract"] == ["W x before the loop"]
    assert few["tile"] == ["tiles of 3 rows"]
    assert offered("lstm", 3, 2, 2)["contract"] == ["W x in the loop"]


def test_a_single_row_has_nothing_but_threads_to_choose() -> None:
    found = offered("lstm", 1, 2, 2)
    assert found == {"threads": ["1 thread"], "share": [], "contract": [], "tile": []}
    assert not any(offered("lstm", 1, 1, 1).values())


def test_cells_are_offered_what_makes_a_difference_to_them() -> None:
    found = offered("min_gru", 32, 2, 2)  # units never meet, and no product is in the loop
    assert found["share"] == [] and found["contract"] == []


def test_threads_may_be_given_a_single_row_but_not_none() -> None:
    assert offered("lstm", 3, 2, 2)["share"] == ["threads take rows"]
    assert offered("lstm", 1, 2, 2)["share"] == []


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"threads": 1}, {**Choice().as_dict(), "other": 1},
        {**Choice().as_dict(), "share": "all"}, {**Choice().as_dict(), "tile": 1},
        {**Choice().as_dict(), "contract": []}, {**Choice().as_dict(), "threads": 0},
        {**Choice().as_dict(), "threads": 3}, {**Choice().as_dict(), "threads": True},
    ],
)  # fmt: skip
def test_a_choice_is_read_strictly(data: object) -> None:
    with pytest.raises(ValueError):
        choice_of(data, 2)


@pytest.mark.parametrize("chosen", [Choice(), *CHOICES], ids=str)
def test_a_choice_is_read_as_it_was_written(chosen: Choice) -> None:
    assert choice_of(json.loads(json.dumps(chosen.as_dict())), 2) == chosen


# --- the winner -----------------------------------------------------------------------------

Speed = Callable[[Choice, bool], float]


def fake(speed: Speed, rounds: int = 9) -> Callable[[Sequence[Contestant]], list[list[float]]]:
    """Times that were never measured; every call is made once."""

    def measure(contestants: Sequence[Contestant]) -> list[list[float]]:
        for one in contestants:
            one.call()
        noise = 1 + np.arange(rounds) % 3  # the machine is disturbed: all slow down together
        return [list(speed(one.choice, one.training) * noise) for one in contestants]

    return measure


def sizes_of(steps: int = 12, rows: int = 9) -> Sizes:
    return Sizes(steps, rows, {"H": 8, "I": 5})


def run(speed: Speed, kernel: Kernel | None = None, sizes: Sizes | None = None) -> search.Tuning:
    kernel = kernel or kernel_of(cells.from_spec("rnn"))
    return tune(kernel, sizes or sizes_of(), measure=fake(speed))


def test_the_fastest_wins_and_what_won_before_stays() -> None:
    def speed(chosen: Choice, training: bool) -> float:
        return (0.9 if chosen.contract else 1) * {None: 1, 4: 0.95, 3: 0.8}[chosen.tile]

    found = run(speed)
    assert found.winner == Choice(contract="early", tile=3)
    assert [str(trial.choice) for trial in found.trials] == [
        "default",
        "W x before the loop",
        "W x before the loop, tiles of 4 rows",
        "W x before the loop, tiles of 3 rows",
    ]
    assert [round(t.training_ratio, 3) for t in found.trials] == [1, 0.9, 0.855, 0.72]
    assert found.remembered


@pytest.mark.parametrize(
    ("forward", "training", "wins"),
    [(0.9, 0.9, True), (0.98, 0.98, False), (0.5, 1.05, False), (0.85, 1.0, True), (1, 1, False)],
)
def test_a_winner_is_faster_by_a_margin_and_slower_in_nothing(
    forward: float, training: float, wins: bool
) -> None:
    def speed(chosen: Choice, trains: bool) -> float:
        return (training if trains else forward) if chosen.tile == 4 else 1.0

    assert (run(speed).winner.tile == 4) == wins


@pytest.mark.parametrize(
    ("rounds", "below", "sure"),
    [(6, 6, False), (7, 7, True), (7, 6, False), (20, 16, True), (20, 15, False), (31, 22, False)],
)
def test_chance_does_not_win(rounds: int, below: int, sure: bool) -> None:
    """P(X >= 16 of 20) = 0.6 %, P(X >= 15) = 2.1 %; P(X >= 22 of 31) = 1.5 %."""
    ratios = [0.9] * below + [1.1] * (rounds - below)
    assert search._is_sure(ratios) == sure


def test_an_alternative_that_cannot_be_compiled_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = kernel_of(cells.from_spec("rnn"))
    backend = kernel._backend
    assert isinstance(backend, TunedBackend)
    build = backend.build

    def refuse(chosen: Choice) -> Any:
        if chosen.tile == 3:
            raise BuildError("no")
        return build(chosen)

    monkeypatch.setattr(backend, "build", refuse)
    found = run(lambda chosen, training: 1.0 - (chosen.tile == 4) / 2, kernel)
    assert found.winner == Choice(tile=4)
    assert Choice(tile=3) not in [trial.choice for trial in found.trials]


def test_long_calls_are_measured_with_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_LONG", 0.0)
    found = run(lambda chosen, training: 1.0, sizes=sizes_of(steps=1000))
    assert found.steps == 4 * (192 // 9)
    assert found.sizes.steps == 1000
    assert "(84 steps measured)" in str(found)


# --- who uses it ----------------------------------------------------------------------------


class Traced:
    """A backend that says who was called."""

    calls: list[Choice]

    def __init__(self, chosen: Choice, calls: list[Choice]) -> None:
        self.chosen, self.calls = chosen, calls

    def forward(self, *_: object) -> None:
        self.calls.append(self.chosen)

    backward = forward


def traced(key: str = "a") -> tuple[TunedBackend, list[Choice]]:
    calls: list[Choice] = []
    files = {"c/derive_kernels.h": key}
    dims = ("H", "I")

    def build(chosen: Choice) -> Any:
        return Traced(chosen, calls)

    return TunedBackend(build, files, FLAGS, dims, "float32", 2), calls


def test_a_winner_serves_calls_of_about_its_sizes() -> None:
    backend, calls = traced()
    short, long = Choice(tile=3), Choice(tile=4)
    backend.use(sizes_of(12), short)
    backend.use(sizes_of(100), long)
    wanted = {
        5: Choice(), 6: short, 24: short, 25: Choice(), 49: Choice(), 50: long, 200: long,
        201: Choice(),
    }  # fmt: skip
    for steps in wanted:
        backend.forward(Call(sizes_of(steps), {}, {}, {}))
        backend.forward(Call(sizes_of(steps, rows=8), {}, {}, {}))
    assert calls[::2] == list(wanted.values())
    assert set(calls[1::2]) == {Choice()}


def test_of_two_winners_the_nearer_serves() -> None:
    backend, calls = traced()
    backend.use(sizes_of(100), Choice(tile=4))
    backend.use(sizes_of(150), Choice())
    for steps in (120, 130):
        backend.forward(Call(sizes_of(steps), {}, {}, {}))
    assert calls == [Choice(tile=4), Choice()]


def tile(chosen: Choice, training: bool) -> float:
    """Times with which tiles of four rows win."""
    return 0.5 if chosen.tile == 4 else 1.0


@pytest.mark.parametrize("remat", [None, "time"])
def test_results_before_and_after_tuning_are_the_same(remat: str | None) -> None:
    kernel = kernel_of(cells.from_spec("rnn"))
    params = kernel.init(I=5, H=8)
    x = np.random.default_rng(0).standard_normal((60, 9, 5))
    d_output = np.ones((60, 9, 8))
    before = kernel.forward(params, x, remat=remat)
    wanted = kernel.backward(before, d_output)
    run(tile, kernel, sizes_of(60))
    run(tile, kernel, sizes_of(21))  # and the pieces of remat="time"
    after = kernel.forward(params, x, remat=remat)
    assert after.output.tobytes() == before.output.tobytes()
    for one in (before, after):
        grads = kernel.backward(one, d_output)
        for name, array in wanted.params.items():
            assert grads.params[name].tobytes() == array.tobytes()


def test_a_kernel_says_what_it_uses_until_it_forgets() -> None:
    kernel = kernel_of(cells.from_spec("rnn"))
    run(tile, kernel)
    assert [str(one) for one in kernel.tuned] == ["T=12, B=9, H=8, I=5: tiles of 4 rows"]
    run(lambda chosen, training: 1.0, kernel)
    assert [str(one) for one in kernel.tuned] == ["T=12, B=9, H=8, I=5: default"]
    kernel.untune()
    assert kernel.tuned == ()


def test_cells_with_fixed_arrays_inputs_given_once_and_learned_starts_are_tuned() -> None:
    cell = Cell.parse(
        "cell c\ninput x: I, m: H once\nstate h: H = h0\nparam h0: H\nfixed M: H x H\n"
        "h' = tanh(W @ x + m * (M @ h))\noutput h'\n"
    )
    assert run(lambda chosen, training: 1.0, kernel_of(cell)).trials


# --- memory ---------------------------------------------------------------------------------


def test_a_kernel_compiled_later_uses_the_winner() -> None:
    cell = cells.from_spec("rnn")
    run(tile, kernel_of(cell))
    assert [one.choice for one in kernel_of(cell).tuned] == [Choice(tile=4)]
    assert kernel_of(cell, threads=2).tuned == ()
    assert kernel_of(cells.from_spec("rnn:activation=relu")).tuned == ()
    kernel_of(cell).untune()
    assert kernel_of(cell).tuned == ()


def test_another_process_uses_the_winner_without_measuring() -> None:
    kernel = derive.compile(cells.from_spec("rnn"))
    tune(kernel, sizes_of(), measure=fake(tile))
    code = """
import sys, derive
(one,) = derive.compile(derive.cells.rnn()).tuned
print(one)
assert "derive.kernel.tune.search" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"{kernel.tuned[0]}\n", done.stderr


def record(folder: Path) -> Path:
    backend, _ = traced()
    backend.use(sizes_of(), Choice(tile=4))
    (path,) = folder.glob("*/*.tuned.json")
    assert [one.choice for one in traced()[0].tuned()] == [Choice(tile=4)]
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", ""), ('"tile": 4', '"tile": 5'),
        ('"rows": 9', '"rows": 8'), ('"rows": 9', '"rows": 9.0'),
        ('"steps": 12', '"steps": "12"'), ('"dims"', '"axes"'), ('"H": 8', '"H": [8]'), ("}", "}}"),
    ],
)  # fmt: skip
def test_a_corrupted_record_is_as_good_as_none(own_cache: Path, old: str, new: str) -> None:
    path = record(own_cache)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert traced()[0].tuned() == ()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_record_that_others_may_write_is_not_read(own_cache: Path) -> None:
    path = record(own_cache)
    path.chmod(0o666)
    assert traced()[0].tuned() == ()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_without_a_safe_cache_the_winner_lasts_as_long_as_the_kernel(own_cache: Path) -> None:
    own_cache.mkdir()
    own_cache.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="can be written by others"):
        kernel = kernel_of(cells.from_spec("rnn"))
        found = run(tile, kernel)
        assert not found.remembered
        assert str(found).endswith(
            "winner: tiles of 4 rows (not remembered: the cache cannot be used)"
        )
        assert [one.choice for one in kernel.tuned] == [Choice(tile=4)]
        assert kernel_of(cells.from_spec("rnn")).tuned == ()


def test_nothing_half_written_is_left_in_the_cache(own_cache: Path) -> None:
    path = record(own_cache)
    assert os.listdir(path.parent) == [path.name]


def test_the_key_depends_on_text_dtype_threads_and_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def key(text: str = "a", dtype: str = "float32", threads: int = 2) -> str:
        return store.key_of({"a.c": text}, FLAGS, dtype, threads)

    keys = {key(), key("b"), key(dtype="float64"), key(threads=3)}
    monkeypatch.setattr(store, "processors", lambda: 77)
    assert len(keys | {key()}) == 5


# --- how it is called -----------------------------------------------------------------------


def test_sizes_are_named_as_in_init(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_EFFORT", search.Effort(seconds=0, least=1, most=1))
    kernel = kernel_of(cells.from_spec("rnn"))
    found = kernel.tune(I=5, H=8, B=9, T=12)  # in any order
    assert list(found.sizes.dims.items()) == [("H", 8), ("I", 5)]
    assert found.sizes == kernel.tune({"I": 5}, T=12, B=9, H=8).sizes
    (one,) = kernel.tuned
    assert one.sizes == found.sizes


def test_dimensions_called_t_or_b_go_into_the_mapping() -> None:
    text = "cell odd\ninput x: B\nstate h: T\nh' = tanh(W @ x + U @ h)\noutput h'"
    kernel = derive.compile(Cell.parse(text), "numpy")
    found = kernel.tune({"T": 3, "B": 4}, T=7, B=5)
    assert found.sizes == Sizes(7, 5, {"T": 3, "B": 4})


@pytest.mark.parametrize(
    ("sizes", "error", "says"),
    [
        ({"B": 2, "H": 3, "I": 4}, ArgumentTypeError, "T must be an integer, not None"),
        ({"T": 2, "B": 0, "H": 3, "I": 4}, ArgumentError, "B = 0, so there is nothing to measure"),
        ({"T": 2, "B": 2, "H": 0, "I": 4}, ArgumentError, "H = 0, so there is nothing to measure"),
        ({"T": 2, "B": 2, "H": 3}, ArgumentError, "tune needs the length of I"),
        ({"T": 2, "B": 2, "H": 3, "I": 4, "P": 5}, ArgumentError, "rnn has no dimension 'P'"),
        ({"T": 2, "B": -1, "H": 3, "I": 4}, ArgumentError, "B = -1 is negative"),
    ],
)
def test_slips_are_said_before_anything_is_measured(
    sizes: dict[str, Any], error: type[Exception], says: str
) -> None:
    kernel = derive.compile(cells.from_spec("rnn"), "numpy")
    with pytest.raises(error, match=says):
        kernel.tune(**sizes)


def test_numpy_kernels_have_nothing_to_choose() -> None:
    kernel = derive.compile(cells.from_spec("rnn"), "numpy")
    found = kernel.tune(T=12, B=9, I=5, H=8)
    assert (found.trials, found.winner, found.remembered) == ((), Choice(), False)
    assert "nothing to choose" in str(found)
    kernel.untune()
    assert kernel.tuned == ()


def test_a_call_without_alternatives_is_not_measured() -> None:
    def never(contestants: Sequence[Contestant]) -> list[list[float]]:
        raise AssertionError

    kernel = kernel_of(cells.from_spec("rnn"))
    found = tune(kernel, sizes_of(rows=1), measure=never)
    assert found.trials == () and kernel.tuned == ()


def test_the_table_shows_what_was_tried() -> None:
    assert str(run(tile)).splitlines() == [
        "rnn c float32  T=12, B=9, H=8, I=5",
        "                     forward  by default  training  by default",
        "default                  2 s        1.00       2 s        1.00",
        "W x before the loop      2 s        1.00       2 s        1.00",
        "tiles of 4 rows          1 s        0.50       1 s        0.50",
        "tiles of 3 rows          2 s        1.00       2 s        1.00",
        "winner: tiles of 4 rows (remembered)",
    ]


def test_a_real_run_ends_on_the_command_line(
    capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    arguments = ["tune", "rnn", "--shapes", "6,4,5,8", "--threads", "1,2", "--dtype", "float64"]
    assert status([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    for threads, found in zip((1, 2), data["tunings"], strict=True):
        assert found["sizes"] == {"T": 6, "B": 4, "dims": {"H": 8, "I": 5}}
        assert all(t["seconds"]["training"] > 0 for t in found["trials"])
        (one,) = derive.compile(cells.from_spec("rnn"), "c", "float64", threads).tuned
        assert one.choice.as_dict() == found["winner"]
    assert status(["tune", "rnn", "--threads", "1,2", "--dtype", "float64", "--forget"]) == 0
    assert not list(own_cache.glob("*/*.tuned.json"))


def test_the_command_needs_shapes_or_forget(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["tune", "rnn"]) == 2
    assert "nothing says for which sizes" in capsys.readouterr().err
    assert status(["tune", "rnn", "--shapes", "6,4,5,8", "--forget"]) == 2
    assert "--forget stands alone" in capsys.readouterr().err
