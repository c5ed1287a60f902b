"""Packed parameters with weights of 16 or 8 bits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import thin_sanitized

import derive
from derive import cells, pipeline
from derive.build.compiler import FLAGS
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel import Kernel
from derive.kernel.c_backend import CBackend
from derive.verification.paths import Way, Ways
from derive.verification.thin_weights import check_thin_weights

SUM = Cell.parse("cell affine\ninput x: I\nstate h: H\nh' = W @ x + U @ h + b\noutput h'\n")
JOINED = Cell.parse(
    "cell joined\ninput x: I\nstate h: H\nparam K: 2*H x I + H, b: 2*H\n"
    "z, n = split(K @ concat(x, h) + b, 2)\n"
    "h' = sigmoid(z) * h + (1 - sigmoid(z)) * tanh(n)\noutput h'\n"
)
THIN = ("bfloat16", "int8")
WITH_GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return derive.compile(SUM)


def drawn(kernel: Kernel, rows: int = 3, I: int = 37, H: int = 21) -> tuple[Any, Any, Any]:  # noqa: E741
    random = np.random.default_rng(rows)
    params = {
        name: array + random.normal(size=array.shape).astype(np.float32)
        for name, array in kernel.init(I=I, H=H).items()
    }
    x = random.normal(size=(1, rows, I)).astype(np.float32)
    return params, x, {"h": random.normal(size=(rows, H)).astype(np.float32)}


def bfloat16(array: Any) -> Any:
    """The nearest numbers with 8 significant bits, ties to even."""
    scale = 2.0 ** (7 - np.floor(np.log2(np.abs(array.astype(np.float64)))))
    return (np.rint(array * scale) / scale).astype(np.float32)


def int8(params: Mapping[str, Any], groups: list[tuple[str, ...]]) -> dict[str, Any]:
    """Rows of the matrices of each group are multiples of one 127th of their largest number."""
    found = dict(params)
    for names in groups:
        most = np.max([np.abs(params[name]).max(axis=1) for name in names], axis=0)
        scale = (most / np.float32(127))[:, None]
        found |= {name: np.rint(params[name] / scale) * scale for name in names}
    return found


# --- what is computed -----------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_bfloat16_is_rounded_to_the_nearest(kernel: Kernel, rows: int) -> None:
    params, x, state = drawn(kernel, rows)
    rounded = {**params, "W": bfloat16(params["W"]), "U": bfloat16(params["U"])}
    found = kernel.forward(kernel.pack(params, weights="bfloat16"), x, state, training=False)
    wanted = kernel.forward(kernel.pack(rounded), x, state, training=False)
    assert found.output.tobytes() == wanted.output.tobytes()


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_int8_has_a_scale_for_each_row_of_a_sum(kernel: Kernel, rows: int) -> None:
    params, x, state = drawn(kernel, rows)
    found = kernel.forward(kernel.pack(params, weights="int8"), x, state, training=False)
    wanted = kernel.forward(int8(params, [("W", "U")]), x, state, training=False)
    assert np.max(abs(found.output - wanted.output)) < 2e-5


@pytest.mark.parametrize("weights", THIN)
@pytest.mark.parametrize("rows", [1, 7])
def test_the_error_is_bounded_by_the_rounding_of_weights(
    kernel: Kernel, weights: str, rows: int
) -> None:
    """Of each weight at most 2**-8 of itself; of integers half of a 127th of the largest in a
    row."""
    params, x, state = drawn(kernel, rows)
    W, U = (abs(params[name].astype(np.float64)) for name in "WU")
    sizes = abs(x[0]), abs(state["h"])
    found = kernel.forward(kernel.pack(params, weights=weights), x, state, training=False).output[0]
    exact = (
        x[0].astype(np.float64) @ params["W"].T + state["h"].astype(np.float64) @ params["U"].T
        + params["b"]
    )  # fmt: skip
    if weights == "bfloat16":
        bound = 2.0**-8 * (sizes[0] @ W.T + sizes[1] @ U.T)
    else:
        most = np.maximum(W.max(axis=1), U.max(axis=1))
        bound = most / 254 * (sizes[0].sum(1) + sizes[1].sum(1))[:, None]
    sums = sizes[0] @ W.T + sizes[1] @ U.T + abs(params["b"])
    error = abs(found - exact)
    assert (error <= bound + 64 * 2.0**-24 * sums).all()
    assert error.max() > 0.01 * bound.max()  # the bound says something


@pytest.mark.parametrize("weights", THIN)
def test_numbers_that_are_none_spoil_their_own_row_alone(kernel: Kernel, weights: str) -> None:
    params, x, state = drawn(kernel)
    plain = kernel.forward(kernel.pack(params, weights=weights), x, state, training=False).output
    params["W"][2, 5], params["U"][4, 0], params["W"][4, 0] = np.nan, np.inf, np.nan
    found = kernel.forward(kernel.pack(params, weights=weights), x, state, training=False).output
    assert not np.isfinite(found[..., [2, 4]]).any()
    others = [j for j in range(21) if j not in (2, 4)]
    assert found[..., others].tobytes() == plain[..., others].tobytes()


def test_a_row_of_zeros_is_exact(kernel: Kernel) -> None:
    params, x, state = drawn(kernel)
    params["W"][3], params["U"][3] = 0, 0
    for weights in THIN:
        run = kernel.forward(kernel.pack(params, weights=weights), x, state, training=False)
        assert (run.output[0, :, 3] == params["b"][3]).all()


@pytest.mark.parametrize("weights", THIN)
def test_parameters_that_are_cut_at_a_call_may_be_thin(weights: str) -> None:
    kernel = derive.compile(JOINED)
    params = kernel.init(I=5, H=6)
    x = np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)
    found = kernel.forward(kernel.pack(params, weights=weights), x, training=False).output
    exact = kernel.forward(params, x, training=False).output
    assert 0 < np.max(abs(found - exact)) < 0.02


# --- beside other calls ---------------------------------------------------------------------


def test_repeated_calls_do_not_take_one_kind_of_weights_for_another(kernel: Kernel) -> None:
    params, x, state = drawn(kernel)
    packed = [kernel.pack(params, weights=weights) for weights in (None, *THIN)]
    wanted = [kernel.forward(p, x, state, training=False).output.tobytes() for p in packed]
    assert len(set(wanted)) == 3
    for _ in range(3):
        for p, bits in zip(packed, wanted, strict=True):
            assert kernel.forward(p, x, state, training=False).output.tobytes() == bits
            assert kernel.step(p, x[0], state)[0].tobytes() == bits


@pytest.mark.parametrize("weights", THIN)
def test_a_stream_with_thin_weights_is_the_sequence(weights: str) -> None:
    kernel = derive.compile(SUM)
    params = kernel.init(I=5, H=4)
    x = np.random.default_rng(0).normal(size=(6, 2, 5)).astype(np.float32)
    packed = kernel.pack(params, weights=weights)
    run = kernel.forward(packed, x, training=False)
    stream = kernel.stream(packed, rows=2)
    assert np.stack([stream(x_t) for x_t in x]).tobytes() == run.output.tobytes()


# --- refusals -------------------------------------------------------------------------------


def test_backward_with_thin_weights_is_an_error_that_says_so(kernel: Kernel) -> None:
    params, x, state = drawn(kernel)
    packed = kernel.pack(params, weights="int8")
    for remat in (None, "time"):
        for _ in range(3):  # a repeated call too
            run = kernel.forward(packed, x, state, remat=remat)
            with pytest.raises(ArgumentError, match="weights='int8' have no gradient"):
                kernel.backward(run)


@pytest.mark.parametrize(
    "target, dtype, weights, error, words",
    [
        ("c", "float32", "int4", ArgumentError, "one of 'bfloat16', 'int8'"),
        ("c", "float32", 8, ArgumentTypeError, "must be None or a name"),
        ("c", "float64", "int8", ArgumentError, "multiplied with float32"),
        ("numpy", "float32", "int8", ArgumentError, "the target numpy have no thin weights"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(
    target: str, dtype: str, weights: Any, error: type[Exception], words: str
) -> None:
    kernel = derive.compile(SUM, target=target, dtype=dtype)
    with pytest.raises(error, match=words):
        kernel.pack(kernel.init(I=2, H=3), weights=weights)


def test_a_cell_whose_matrices_are_computed_says_which() -> None:
    cell = Cell.parse(
        "cell computed\ninput x: I\nstate h: H\nparam U: H x H, M: H x H\n"
        "h' = tanh(W @ x + (U * M) @ h)\noutput h'\n"
    )
    kernel = derive.compile(cell)
    with pytest.raises(ArgumentError, match="matrices are computed from U, M"):
        kernel.pack(kernel.init(I=2, H=3), weights="int8")


def test_files_from_before_thin_weights_say_so() -> None:
    cell = cells.from_spec("rnn")
    files = {
        path: text.replace("DK_NAME(not_packed)", "DK_NAME(other)")
        for path, text in pipeline.emit(cell, "c").items()
    }
    backend = CBackend(files, pipeline.signature(cell), "float32", flags=FLAGS, weights="int8")
    with pytest.raises(ArgumentError, match="generated before there were thin weights"):
        backend.check_weights("int8")


# --- what verify asks -----------------------------------------------------------------------


def ways(bits: int, cell: Cell | None = None) -> Ways:
    """The kernel of parts and those with thin weights, in vectors of so many bits."""
    cell = cell or cells.from_spec("rnn")
    files, signature = pipeline.emit(cell, "c"), pipeline.signature_of_parts(cell)
    flags = (*FLAGS, "-O1", f"-DDK_VECTOR_BITS={bits}", "-DDK_PLAIN_ROWS=0", "-Wno-psabi")
    each = []
    for weights in (None, *THIN):
        backend = CBackend(files, signature, "float32", 1, flags, weights=weights)
        each.append(
            Way(Kernel(signature, backend, "float32", target="c"), backend, 1, True, weights)
        )
    return Ways("c float32", "float32", tuple(each))


@pytest.mark.parametrize("bits", [1, 128, 256])
def test_every_width_of_vectors_reads_thin_weights(bits: int) -> None:
    step = pipeline.schedule(cells.from_spec("rnn")).split.gradient.step
    rows = check_thin_weights(ways(bits), step, 0)
    assert len(rows) == 2 and all(row.ok for row in rows), rows


def test_verify_calls_kernels_of_users_with_thin_weights() -> None:
    """Arrays that are cut, an input given once, a learned start and a fixed matrix."""
    cell = Cell.parse(
        "cell whole\ninput x: I, m: H once\nstate h: H = h0\n"
        "param K: 2*H x I + H, b: 2*H, h0: H\nfixed F: H x H\n"
        "z, n = split(K @ concat(x, h) + b, 2)\n"
        "h' = sigmoid(z) * h + (1 - sigmoid(z)) * tanh(n * m + F @ h)\noutput h'\n"
    )
    found = ways(128, cell)
    rows = check_thin_weights(found, cell.step, 0, cell)
    assert [row.ok for row in rows] == [True, True] and "as called" in rows[0].where
    whole, _, thin = found.each
    wrong = replace(found, each=(whole, replace(thin, weights="bfloat16")))
    (row,) = check_thin_weights(wrong, cell.step, 0, cell)
    assert not row.ok


def test_verify_notices_weights_that_are_not_what_they_should_be() -> None:
    """Integers whose sums end with a scale, where the bits of whole weights are asked for."""
    step = pipeline.schedule(cells.from_spec("rnn")).split.gradient.step
    found = ways(128)
    whole, _, thin = found.each
    wrong = replace(thin, weights="bfloat16")
    (row,) = check_thin_weights(replace(found, each=(whole, wrong)), step, 0)
    assert not row.ok and row.observed > 0


@WITH_GCC
def test_sanitizers_find_nothing() -> None:
    run = thin_sanitized.sanitized(("rnn",), 512)
    assert run.returncode == 0 and run.stdout.count("rnn: ") == 2, run.stdout + run.stderr


@WITH_GCC
@pytest.mark.slow
@pytest.mark.parametrize("bits", [1, 128, 512])
@pytest.mark.parametrize("name", thin_sanitized.CELLS)
def test_sanitizers_find_nothing_in_any_cell(name: str, bits: int) -> None:
    run = thin_sanitized.sanitized((name,), bits)
    assert run.returncode == 0, run.stdout + run.stderr


@WITH_GCC
@pytest.mark.slow
def test_a_sanitizer_notices_weights_beyond_their_panel() -> None:
    """A segment that ends where whole weights would end, read once more."""
    found = ("depth - (depth + DK_EACH_F32 - 1) / DK_EACH_F32", "depth + depth")
    run = thin_sanitized.sanitized(("rnn",), 512, found)
    assert run.returncode != 0 and "AddressSanitizer" in run.stderr
