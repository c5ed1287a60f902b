"""The mcu target on this machine: the same array contract as every kernel, in float32."""

from __future__ import annotations

import axes_cells
import numpy as np
import pytest
import random_cells
import strange_cells
from numpy.typing import NDArray

import derive
from derive.errors import ArgumentError, BuildError
from derive.kernel.mcu_backend import McuBackend
from derive.verification import verify, verify_files
from derive.widths import Width

AXES = {name: text for name, (text, _) in axes_cells.CELLS.items()}
TEXTS = {
    **AXES,
    **strange_cells.CELLS,
    **{f"random {seed}": random_cells.text(seed) for seed in range(100, 140)},
    **{f"shared {seed}": random_cells.shared_text(seed) for seed in range(100, 140)},
}
#: Of these the default run takes every so many.
SAMPLE = [*TEXTS][::16]
OPTIONS: tuple[dict[str, object], ...] = ({}, {"lengths": [2, 4], "reverse": True})


def draw(
    cell: derive.Cell,
) -> tuple[dict[str, NDArray], object, dict[str, NDArray], dict[str, NDArray], dict[str, NDArray]]:
    signature = derive.pipeline.signature(cell)
    sizes = {dim: k + 3 for k, dim in enumerate(signature.dims())}
    random = np.random.default_rng(0)

    def array(axes: tuple[int | str, ...], *before: int) -> NDArray:
        lengths = [a if isinstance(a, int) else Width.of(a).length(sizes) for a in axes]
        return (0.7 * random.standard_normal((*before, *lengths))).astype(np.float32)

    x: object = {
        name: array(axes, 2) if name in signature.once else array(axes, 4, 2)
        for name, axes in cell.inputs.items()
    }
    return (
        {name: array(axes) for name, axes in cell.params.items()},
        x or np.zeros((4, 2, 0), np.float32),
        {name: array(axes, 2) for name, axes in cell.states.items()},
        {name: array(axes, 4, 2) for name, axes in cell.outputs.items()},
        {name: array(axes, 2) for name, axes in cell.states.items()},
    )


def results(kernel: derive.Kernel, cell: derive.Cell) -> dict[str, NDArray]:  # type: ignore[name-defined]
    params, x, states, d_outputs, d_states = draw(cell)
    found = {}
    for k, options in enumerate(OPTIONS):
        run = kernel.forward(params, x, states, **options)
        grads = kernel.backward(run, d_outputs, d_states)
        groups = (run.outputs, run.states, grads.params, grads.inputs, grads.states)
        for number, group in enumerate(groups):
            found |= {f"{name} {number} {k}": array for name, array in group.items()}
    return found


def check_text(text: str) -> None:
    """As the NumPy target in the same precision; derive.verify holds both against the reference."""
    cell = derive.Cell.parse(text)
    with np.errstate(all="ignore"):
        got = results(derive.compile(cell, "mcu"), cell)
        wanted = results(derive.compile(cell, "numpy", "float32"), cell)
    assert [*got] == [*wanted]
    for name, array in wanted.items():
        assert got[name].shape == array.shape and got[name].dtype == array.dtype
        assert np.array_equal(np.isnan(got[name]), np.isnan(array)), name
        finite = np.isfinite(array)
        largest = np.max(abs(array[finite]), initial=1e-3)
        assert np.max(abs(got[name] - array)[finite], initial=0) < 2e-4 * largest, name


@pytest.mark.parametrize("name", SAMPLE)
def test_a_cell_of_any_form_computes(name: str) -> None:
    check_text(TEXTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TEXTS if name not in SAMPLE])
def test_every_cell_of_any_form_computes(name: str) -> None:
    check_text(TEXTS[name])


@pytest.mark.parametrize("name", ["lstm", "slstm"])
def test_verification_has_nothing_against_a_cell(name: str) -> None:
    report = verify(getattr(derive.cells, name)(), targets=("mcu",), quick=True)
    assert report.ok, report.text()
    assert {"forward", "gradient", "step", "same bits", "empty"} <= {
        row.check for row in report.rows if row.where.startswith("mcu float32")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", derive.cells.names())
def test_verification_has_nothing_against_any_cell(name: str) -> None:
    assert verify(getattr(derive.cells, name)(), targets=("mcu",), quick=True).ok


EDITS = {
    "another gate": ("p->U[j][0][k]", "p->U[j][1][k]"),
    "a transposed product": ("FMA(p->U[j][1][k], d_a_g, sum)", "FMA(p->U[k][1][j], d_a_g, sum)"),
    "a slope": ("(1.0f - g * g)", "(1.0f - g)"),
    "overwriting": ("d_p->b[j][0] += ", "d_p->b[j][0] = "),
    "a state too early": ("h_next[j] = ", "s->h[j] = h_next[j] = "),
    "one step further": ("tape->h[t][k], d_p", "tape->h[t + 1][k], d_p"),
}  # fmt: skip


@pytest.mark.parametrize("which", EDITS)
def test_an_edit_of_the_text_is_noticed(which: str) -> None:
    cell = derive.cells.janet()
    files = derive.emit(cell, "mcu")
    before, after = EDITS[which]
    assert before in files["mcu/janet.c"]
    files["mcu/janet.c"] = files["mcu/janet.c"].replace(before, after)
    report = verify_files(cell, files, quick=True)
    assert report.failures


def test_gradients_add_up_over_windows_and_descend_goes_down() -> None:
    kernel = derive.compile(derive.cells.janet(), "mcu")
    params = kernel.init(I=3, H=4)
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    whole = kernel.forward(params, x)
    ones = np.ones_like(whole.output)
    together = kernel.backward(whole, ones).params
    apart = kernel.backward(kernel.forward(params, x, remat="time"), ones).params
    for name, array in together.items():
        assert np.allclose(apart[name], array, rtol=1e-5, atol=1e-6)


def test_a_header_of_other_structures_is_refused() -> None:
    cell = derive.cells.rnn()
    files = derive.emit(cell, "mcu")
    signature = derive.pipeline.signature_of_parts(cell)
    more = files["mcu/rnn.h"].replace(
        "    float b[RNN_H];", "    float b[RNN_H];\n    float more[3];"
    )
    with pytest.raises(BuildError, match="do not hold the arrays of rnn"):
        McuBackend({**files, "mcu/rnn.h": more}, signature)
    without = files["mcu/rnn.h"].replace("rnn_h_next_at(", "at_h_next(")
    with pytest.raises(BuildError, match="has 0 functions that read an output"):
        McuBackend({**files, "mcu/rnn.h": without}, signature)


@pytest.mark.parametrize("width", [0, 40_000])
def test_sizes_that_no_device_has_are_refused(width: int) -> None:
    cell = derive.Cell.parse("cell wide\nstate h: H\nparam a: 1\nh' = h + a\noutput h'")
    kernel = derive.compile(cell, "mcu")
    with pytest.raises(ArgumentError, match=f"no kernel for H = {width}"):
        kernel.forward({"a": 0.5}, np.zeros((2, 1, 0)), {"h": np.zeros((1, width))})
