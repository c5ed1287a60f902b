"""The compiled C target against a plain run of `interpret` through time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import LENGTHS, ROWS, STEPS, check_agreement, forward, make
from strange_cells import CELLS

from derive import cells, pipeline
from derive.build.compiler import FLAGS
from derive.cell import Cell
from derive.errors import CellError
from derive.kernel import Kernel
from derive.kernel.c_backend import CBackend

#: Past a vector, past a block of units, and odd; the longest sum is about four times that of
#: the standard sizes.
SIZES = {"I": 6, "H": 18, "P": 17, "T": 3, "B": 5, "np": 5}
SLACK = 4.0

WAYS = [(None, False), (None, True), (LENGTHS, False), (LENGTHS, True)]


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory holds NaN: what is read before it is written shows."""
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, _nan(dtype)))


def _nan(dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    return np.array(np.nan, dtype) if dtype.kind == "f" else np.array(0, dtype)


def kernel_of(cell: Cell, dtype: str, *flags: str, threads: int = 1) -> Kernel:
    """-O1 keeps the compiler quick; FLAGS themselves are tested with the catalogue."""
    backend = CBackend(
        pipeline.emit(cell, "c"), pipeline.signature(cell), dtype, threads, (*FLAGS, "-O1", *flags)
    )
    return Kernel(pipeline.signature(cell), backend, dtype, target="c")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CELLS)
def test_strange_cells_agree_with_the_interpreter(name: str, dtype: str) -> None:
    cell = Cell.parse(CELLS[name])
    kernel = kernel_of(cell, dtype)
    for lengths, reverse in WAYS:
        check_agreement(kernel, make(cell, lengths, reverse))
    check_agreement(kernel, make(cell, LENGTHS, False, sizes=SIZES, spread=0.4), SLACK)


def test_a_cell_cannot_be_called_like_the_shared_header() -> None:
    cell = Cell.parse("cell derive_kernels\ninput x: H\nstate h: H\nh' = x + h\noutput h'")
    with pytest.raises(CellError, match="overwrite the header"):
        pipeline.emit(cell, "c")


@pytest.mark.parametrize("bits", [1, 128, 256, 512])
@pytest.mark.parametrize("spec", ["lstm", "gru:reset=before"])
def test_every_vector_width_agrees(spec: str, bits: int) -> None:
    cell = cells.from_spec(spec)
    kernel = kernel_of(cell, "float32", f"-DDK_VECTOR_BITS={bits}", "-Wno-psabi")
    check_agreement(kernel, make(cell, LENGTHS, True, sizes=SIZES), SLACK)


#: Cells whose steps have several stages, with arrays between them, and one without products.
STAGED = ("mgu", "lstm:layer_norm=ba2016", "lstm:projection=true", "phased_lstm", "min_gru")


@pytest.mark.parametrize("spec", ["lstm:peephole=true", *STAGED])
@pytest.mark.parametrize("rows", [1, 2, 7, 40])
def test_results_do_not_depend_on_threads_or_training(
    rows: int, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in (
        "SHARED_STEP",
        "SHARED_CALL",
        "SHARED_CHUNK",
        "MEETING",
    ):  # however little work there is
        monkeypatch.setattr(f"derive.kernel.team.{bound}", 0)
    cell = cells.from_spec(spec)
    alone, together = (kernel_of(cell, "float32", threads=count) for count in (1, 3))
    random = np.random.default_rng(rows)
    sizes = {"I": 70, "H": 150, "P": 33}
    params = alone.init({dim: sizes[dim] for dim in alone.signature.dims()}, seed=1)
    shapes = {name: (9, rows, sizes.get(width, width)) for name, width in
              alone.signature.inputs.items()}  # fmt: skip
    x = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    lengths = random.integers(0, 10, rows)
    runs = [kernel.forward(params, x, None, lengths) for kernel in (alone, together)]
    inference = together.forward(params, x, None, lengths, training=False)
    d_output = {name: random.standard_normal(a.shape) for name, a in runs[0].outputs.items()}
    grads = [k.backward(run, d_output) for k, run in zip((alone, together), runs, strict=True)]

    def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return all(np.array_equal(a[name], b[name]) for name in a)

    assert same(runs[0].outputs, runs[1].outputs) and same(runs[0].states, runs[1].states)
    assert same(inference.outputs, runs[0].outputs) and same(inference.states, runs[0].states)
    assert same(grads[0].params, grads[1].params) and same(grads[0].inputs, grads[1].inputs)
    assert same(grads[0].states, grads[1].states)


#: Rows of their own for each thread, however few, or units for all; tiles of one row.
SHARES = {"rows": ("-DDK_ROWS_EACH=1", "-DDK_ROWS_MAX=1"), "units": ("-DDK_ROWS_EACH=1000",)}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("bits", [1, 128, 512])
def test_bits_do_not_depend_on_threads_at_any_vector_width(
    bits: int, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("SHARED_STEP", "SHARED_CALL", "SHORT_CALL", "MEETING"):
        monkeypatch.setattr(f"derive.kernel.team.{bound}", 0)
    cell = cells.from_spec("lstm:layer_norm=ba2016")
    flags = (*SHARES[share], f"-DDK_VECTOR_BITS={bits}", "-DDK_EARLY_ROWS=8", "-Wno-psabi")
    kernels = [kernel_of(cell, "float32", *flags, threads=count) for count in (1, 2, 3)]
    params = kernels[0].init(I=17, H=33, seed=1)
    for rows in (1, 2, 5, 10):
        x = np.random.default_rng(rows).standard_normal((4, rows, 17))
        found = []
        for kernel in kernels:
            run = kernel.forward(params, x)
            grads = kernel.backward(run, run.output)
            arrays = (run.output, *grads.params.values(), *grads.inputs.values())
            found.append([array.tobytes() for array in arrays])
        assert found[0] == found[1] == found[2], rows


def test_sequences_longer_than_a_chunk_agree() -> None:
    """Chunks hand states on, forwards and backwards, with and without a saved history."""
    cell = cells.from_spec("gru")
    kernel = kernel_of(cell, "float64", "-DDK_CHUNK_ROWS=4")
    whole = kernel_of(cell, "float64")
    for lengths, reverse in WAYS:
        case = make(cell, lengths, reverse)
        check_agreement(kernel, case)
        short, long = (forward(k, case, training=False) for k in (kernel, whole))
        assert np.array_equal(short.output, long.output)
        assert np.array_equal(short.states["h"], long.states["h"])


def test_several_threads_may_call_one_kernel_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    cell = cells.from_spec("lstm")
    kernel = kernel_of(cell, "float32", threads=2)
    params = kernel.init(I=64, H=128)
    xs = [np.full((5, 16, 64), k / 8, np.float32) for k in range(8)]
    wanted = [kernel.forward(params, x).output for x in xs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: kernel.forward(params, x).output, xs * 4))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted * 4, strict=True))


def test_the_steps_of_a_sequence_one_by_one_are_the_sequence() -> None:
    cell = cells.from_spec("lstm")
    kernel = kernel_of(cell, "float64")
    case = make(cell, None, False)
    run = forward(kernel, case)
    packed = kernel.pack(case.params)
    state: dict[str, Any] = case.states
    for t in range(STEPS):
        x_t = {"x": case.inputs["x"][t]}
        # So few rows are not packed for one call, and summed in another order.
        plain, _ = kernel.step(case.params, x_t, state)
        output, state = kernel.step(packed, x_t, state)
        np.testing.assert_allclose(plain, output, rtol=1e-14, atol=1e-15)
        assert np.array_equal(output, run.output[t])
    assert state["h"].shape == (ROWS, 4)
    assert np.array_equal(state["c"], run.states["c"])
