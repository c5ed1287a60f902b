"""remat="time": the same bits from less memory, for every cell and target."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import check_agreement, make
from strange_cells import CELLS

import derive
from derive import cells, pipeline
from derive.build.compiler import FLAGS
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel import Kernel, numpy_backend
from derive.kernel.c_backend import CBackend
from derive.kernel.remat import kept_every

#: Chunks of so few rows that short sequences have many pieces.
CHUNK_ROWS = 8
SIZES = {"I": 5, "H": 19, "P": 3, "T": 3, "B": 4, "np": 2}

#: slim:form=3 and the strange shared_next and shared_product have gradients that follow from
#: complete sums alone; collide, dims and proj several inputs, states or outputs.
CATALOGUE = (
    "lstm", "lstm:peephole=true", "lstm:projection=true", "lstm:layer_norm=ba2016", "gru",
    "gru:reset=before", "janet", "min_gru", "slim:form=3",
)  # fmt: skip
EVERY = (*CATALOGUE, *CELLS)
LENGTHS = (0, 1, 2, 7, 37, 400)


def cell_of(name: str) -> Cell:
    return Cell.parse(CELLS[name]) if name in CELLS else cells.from_spec(name)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_backend, "CHUNK_ROWS", CHUNK_ROWS)


def kernel_of(cell: Cell, target: str, dtype: str, threads: int = 1) -> Kernel:
    if target == "numpy":
        return pipeline.compile(cell, "numpy", dtype)
    flags = (*FLAGS, "-O1", f"-DDK_CHUNK_ROWS={CHUNK_ROWS}")
    signature = pipeline.signature(cell)
    backend = CBackend(pipeline.emit(cell, "c"), signature, dtype, threads, flags)
    return Kernel(signature, backend, dtype, target="c")


class Call:
    """Arguments of one sequence, rounded to float32."""

    def __init__(self, cell: Cell, steps: int, rows: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)

        def draw(shapes: Any, *before: int) -> dict[str, Any]:
            axes = {n: tuple(SIZES.get(d, d) for d in shape) for n, shape in shapes.items()}
            arrays = {n: random.uniform(-0.4, 0.4, (*before, *s)) for n, s in axes.items()}
            return {n: array.astype(np.float32) for n, array in arrays.items()}

        self.params = draw(cell.params)
        self.x: Any = draw(cell.inputs, steps, rows) or np.zeros((steps, rows, 0))
        self.states = draw(cell.states, rows)
        self.d_outputs = draw(cell.outputs, steps, rows)
        self.d_states = draw(cell.states, rows)
        self.lengths = random.integers(0, steps + 1, rows)

    def results(self, kernel: Kernel, params: Any = None, **options: Any) -> dict[str, Any]:
        """Every array that comes out, by kind and name."""
        run = kernel.forward(params or self.params, self.x, self.states, **options)
        grads = kernel.backward(run, self.d_outputs, self.d_states)
        groups = {
            "output": run.outputs, "state": run.states, "param": grads.params,
            "input": grads.inputs, "first": grads.states,
        }  # fmt: skip
        return {f"{k} {n}": array for k, group in groups.items() for n, array in group.items()}


def check_bits(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name


def ways(call: Call) -> Iterator[dict[str, Any]]:
    for lengths in (None, call.lengths):
        for reverse in (False, True):
            yield {"lengths": lengths, "reverse": reverse}


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", EVERY)
def test_every_cell_gives_the_same_bits(name: str, target: str) -> None:
    cell = cell_of(name)
    kernel = kernel_of(cell, target, "float32")
    for steps, rows in ((37, 3), (7, 1)):
        call = Call(cell, steps, rows)
        for how in ways(call):
            check_bits(call.results(kernel, **how, remat="time"), call.results(kernel, **how))


@pytest.mark.parametrize("name", EVERY)
def test_chunks_of_a_backward_pass_agree_with_the_interpreter(name: str) -> None:
    """What the bits are compared with is right, in pieces too, for gradients after all sums."""
    cell = cell_of(name)
    kernel = kernel_of(cell, "c", "float32")
    for lengths, reverse in ((None, True), (np.array([3, 0, 5]), False)):
        check_agreement(kernel, make(cell, lengths, reverse))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", ["lstm", "gru:reset=before", "shared_product", "gates"])
def test_every_length_and_batch_gives_the_same_bits(name: str, target: str, dtype: str) -> None:
    cell = cell_of(name)
    kernel = kernel_of(cell, target, dtype)
    for steps in LENGTHS:
        for rows in (1, 3, 33):
            call = Call(cell, steps, rows)
            for how in ways(call):
                check_bits(call.results(kernel, **how, remat="time"), call.results(kernel, **how))


@pytest.mark.parametrize("name", ["lstm", "slim:form=3", "min_gru"])
def test_threads_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in (
        "SHARED_STEP",
        "SHARED_CALL",
        "SHARED_CHUNK",
        "MEETING",
    ):  # however little work there is
        monkeypatch.setattr(f"derive.kernel.team.{bound}", 0)
    cell = cell_of(name)
    alone, together = (kernel_of(cell, "c", "float32", threads) for threads in (1, 2))
    for rows in (1, 3, 33):
        call = Call(cell, 37, rows)
        for how in ways(call):
            wanted = call.results(alone, **how)
            check_bits(call.results(together, **how, remat="time"), wanted)


def test_chunks_as_they_are_compiled_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for target in ("numpy", "c"):
        kernel = derive.compile(cells.lstm(), target)
        call = Call(cells.lstm(), 401, 33)
        wanted = call.results(kernel, lengths=call.lengths)
        check_bits(call.results(kernel, lengths=call.lengths, remat="time"), wanted)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_packed_parameters_and_repeated_backward_calls(target: str) -> None:
    cell = cells.lstm()
    kernel = kernel_of(cell, target, "float32")
    call = Call(cell, 37, 3)
    wanted = call.results(kernel)
    check_bits(call.results(kernel, kernel.pack(call.params), remat="time"), wanted)
    run = kernel.forward(call.params, call.x, call.states, remat="time")
    kernel.backward(run)
    call.states["h"][:] = call.params["U_i"][:] = 7  # neither is looked at again
    for _ in range(2):
        grads = kernel.backward(run, call.d_outputs, call.d_states)
        for name, array in grads.params.items():
            assert array.tobytes() == wanted[f"param {name}"].tobytes()
    left_out = kernel.backward(run).params
    assert not any(array.any() for array in left_out.values())


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_threads_may_share_a_run(target: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cell = cells.gru()
    kernel = kernel_of(cell, target, "float32")
    call = Call(cell, 60, 3)
    run = kernel.forward(call.params, call.x, remat="time")
    wanted = kernel.backward(run, call.d_outputs)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: kernel.backward(run, call.d_outputs), range(8)))
    for grads in found:
        check_bits(grads.params, wanted.params)
        check_bits(grads.inputs, wanted.inputs)


def test_layers_give_the_same_bits() -> None:
    rnn = derive.layers.RNN(
        cells.lstm(), num_layers=2, bidirectional=True, dropout=0.3, target="numpy", I=5, H=6
    )
    again = derive.layers.RNN(
        cells.lstm(), num_layers=2, bidirectional=True, dropout=0.3, target="numpy", I=5, H=6
    )
    x = np.random.default_rng(1).standard_normal((37, 3, 5))
    how: dict[str, Any] = {"lengths": [37, 5, 0]}
    whole, pieces = rnn.forward(x, **how), again.forward(x, **how, remat="time")
    check_bits({"output": pieces.output, **pieces.states}, {"output": whole.output, **whole.states})
    wanted, found = rnn.backward(whole, whole.output), again.backward(pieces, whole.output)
    for group in ("params", "inputs", "states"):
        check_bits(getattr(found, group), getattr(wanted, group))


# --- memory ---------------------------------------------------------------------------------


def bytes_in(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(bytes_in, value.values()))
    return sum(map(bytes_in, value)) if isinstance(value, list) else int(value.nbytes)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_a_run_keeps_the_states_before_each_piece_and_no_more(target: str) -> None:
    cell = cells.lstm()
    kernel = kernel_of(cell, target, "float32")
    call = Call(cell, 400, 1)
    whole = kernel.forward(call.params, call.x)
    run = kernel.forward(call.params, call.x, remat="time")
    pieces = -(-400 // kept_every(400, CHUNK_ROWS))
    assert 10 < pieces < 20
    assert bytes_in(run._saved) == pieces * 2 * SIZES["H"] * 4
    assert bytes_in(whole._saved) >= 400 * 6 * SIZES["H"] * 4
    assert run.remat == "time" and whole.remat is None
    inference = kernel.forward(call.params, call.x, training=False, remat="time")
    assert inference._saved is None


@pytest.mark.parametrize(
    ("steps", "chunk", "wanted"),
    [(1, 1, 1), (2, 1, 2), (100, 1, 10), (101, 1, 11), (100, 6, 12), (9, 192, 192)],
)
def test_a_piece_is_the_square_root_in_whole_chunks(steps: int, chunk: int, wanted: int) -> None:
    assert kept_every(steps, chunk) == wanted


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_training_needs_less_memory(target: str) -> None:
    """What another step adds to the peak over both passes, in states: output and gradient of x
    are 1 + I / H; what is kept without remat is six more."""
    cell = cells.lstm()
    kernel = kernel_of(cell, target, "float32")
    calls = [Call(cell, steps, 1) for steps in (1000, 2000)]

    def peak(call: Call, remat: str | None) -> int:
        tracemalloc.start()
        run = kernel.forward(call.params, call.x, remat=remat)
        kernel.backward(run, None, call.d_states)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    def slope(remat: str | None) -> float:
        peak(calls[0], remat)  # what Python itself allocates but once
        short, long = (peak(call, remat) for call in calls)
        return (long - short) / (1000 * SIZES["H"] * 4)

    results = 1 + SIZES["I"] / SIZES["H"]
    assert slope(None) > results + 5.9
    assert slope("time") < results + 0.5  # pieces grow as sqrt(T)


# --- generated C without Python -------------------------------------------------------------


def test_generated_c_runs_a_sequence_in_pieces(tmp_path: Path) -> None:
    """tests/c/pieces.c, under sanitizers."""
    (tmp_path / "c").mkdir()
    for path, text in pipeline.emit(cells.from_spec("slim:form=3"), "c").items():
        (tmp_path / path).write_text(text)
    program = Path(__file__).parents[2] / "c" / "pieces.c"
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-O1", "-march=native", "-DDK_ONLY_F64",
               f"-DDK_CHUNK_ROWS={CHUNK_ROWS}", "-DDK_PLAIN_ROWS=0", "-fsanitize=address,undefined",
               "-fno-sanitize-recover=all", "-I.", program, "slim_form_3.c", "-o", "pieces",
               "-lm"]  # fmt: skip
    built = subprocess.run(command, cwd=tmp_path / "c", capture_output=True, text=True)
    assert built.returncode == 0 and not built.stderr, built.stderr
    done = subprocess.run(
        ["./pieces"], cwd=tmp_path / "c", capture_output=True, text=True,
        env={"ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"


# --- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Time", "layers", True, 3, np.ones(2)])
def test_an_unknown_value_is_refused(value: Any) -> None:
    kernel = pipeline.compile(cells.lstm(), "numpy")
    call = Call(cells.lstm(), 2, 1)
    with pytest.raises(ArgumentError, match="remat is None or 'time'"):
        kernel.forward(call.params, call.x, remat=value)
