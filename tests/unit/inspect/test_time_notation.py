"""The notation of time: h_t, h_{t-1} and sums over t, in every format, and read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entries import OF_VECTORS, sampled

import derive
from derive.cli import main
from derive.errors import ArgumentError
from derive.inspect import show
from derive.papers import read


@pytest.mark.parametrize("name", sampled(OF_VECTORS))
def test_what_is_written_in_the_notation_of_time_reads_back_as_the_cell(name: str) -> None:
    cell = derive.cells.from_spec(name)
    latex = show(cell, ("cell", "gradient"), "latex", notation="time")
    reading = read(latex, name=cell.name)
    assert reading.errors == ()
    found = derive.Cell.of(reading.cell())
    assert found.output_keys == cell.output_keys
    if found != cell:  # a name that is one letter of time, or a parameter that nothing uses
        verdict = derive.equal(found, cell)
        assert (verdict.status, verdict.proved) == ("equal", True)


def test_lstm_reads_as_in_a_paper() -> None:
    text = show(derive.cells.lstm(), ("cell", "gradient"), notation="time")
    for line in (
        "f_t = sigmoid(W_f @ x_t + U_f @ h_{t-1} + b_f)",
        "c_t = i_t * g_t + f_t * c_{t-1}",
        "h_t = o_t * tanh(c_t)",
        "d_h_t           = d_h_output_t + d_h_carry_t",
        "d_c_carry_{t-1} = d_c_t * f_t",
        "d_W_f           = sum_t outer(d_a_f_t, x_t)",
        "d_U_f           = sum_t outer(d_a_f_t, h_{t-1})",
        "d_b_f           = sum_t(d_a_f_t)",
    ):
        assert line in text.splitlines()
    latex = show(derive.cells.lstm(), ("cell", "gradient"), "latex", notation="time")
    assert r"c_{t} &= i_{t} \odot g_{t} + f_{t} \odot c_{t-1} \\" in latex
    assert (
        r"\mathrm{d}U_{f} &= {\textstyle\sum_{t}} {\mathrm{d}a_{f,t}} \, {h_{t-1}}^{\top} \\"
        in latex
    )


FUNCTIONS: dict[str, Any] = {
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "tanh": np.tanh,
    "outer": np.outer,
    "relu": lambda v: np.maximum(v, 0),
    "where": np.where,
}


@pytest.mark.parametrize("name", ["lstm", "gru", "janet:beta=0.5", "rnn"])
def test_the_printed_lines_over_all_steps_are_the_gradient(name: str) -> None:
    """Runs the text as it is printed, step by step, one row; sum_t adds up over the steps."""
    cell = derive.cells.from_spec(name)
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    params = kernel.init(I=3, H=4, seed=1)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 1, 3))
    given = rng.normal(size=(5, 1, 4))
    run = kernel.forward(params, x)
    grads = kernel.backward(run, given)

    forward, where, backward = lines_of(cell)
    steps = len(x)
    arrays: dict[str, dict[int, Any]] = {"x": dict(enumerate(x[:, 0]))}
    arrays |= {state: {-1: np.zeros(4)} for state in cell.states}
    arrays |= {f"d_{state}_carry": {steps - 1: np.zeros(4)} for state in cell.states}
    arrays["d_h_output"] = dict(enumerate(given[:, 0]))
    sums: dict[str, Any] = {}
    consts = {name: float(value) for name, value in cell.consts.items()}
    fixed = {**params, **consts, **FUNCTIONS}
    for t in range(steps):
        for left, right in (*forward, *where):
            arrays.setdefault(left.base, {})[t + left.lag] = value(right, t, arrays, fixed)
    for t in reversed(range(steps)):
        for left, right in backward:
            if "sum_t" not in right:
                arrays.setdefault(left.base, {})[t + left.lag] = value(right, t, arrays, fixed)
                continue
            term = value(right.replace("sum_t ", "").replace("sum_t", ""), t, arrays, fixed)
            sums[left.base] = sums.get(left.base, 0) + term
    for param, wanted in grads.params.items():
        np.testing.assert_allclose(sums[f"d_{param}"], wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        np.array([arrays["d_x"][t] for t in range(steps)]), grads.inputs["x"][:, 0], rtol=1e-9
    )
    assert set(sums) == {f"d_{param}" for param in cell.params}


class Left:
    """`c_{t-1}` is c and a lag of -1; `d_W` belongs to no step."""

    def __init__(self, text: str) -> None:
        self.lag = -1 if text.endswith("_{t-1}") else 0
        self.base = text.removesuffix("_{t-1}").removesuffix("_t")


Lines = list[tuple[Left, str]]


def lines_of(cell: derive.Cell) -> tuple[Lines, Lines, Lines]:
    cell_text = show(cell, ("cell",), notation="time")
    gradient_text = show(cell, ("gradient",), notation="time")
    where, _, rest = gradient_text.partition("\nd_")
    return equations(cell_text), equations(where.partition("where")[2]), equations("d_" + rest)


def equations(text: str) -> Lines:
    found: list[list[str]] = []
    for line in text.splitlines():
        if match := re.fullmatch(r"\s*(\S+_t|\S+_\{t-1\}|d_\w+)\s+= (.+)", line):
            found.append([match[1], match[2]])
        elif found and re.match(r"\s+[-+*/]", line):
            found[-1][1] += line
    return [(Left(left), right) for left, right in found]


def value(text: str, t: int, arrays: dict[str, dict[int, Any]], fixed: dict[str, Any]) -> Any:
    text = re.sub(r"\b(\w+?)_\{t-1\}", r"at('\1', -1)", text)
    text = re.sub(r"\b(\w+?)_t\b", r"at('\1', 0)", text)
    return eval(text, {"at": lambda name, lag: arrays[name][t + lag], **fixed})


def test_what_parameters_alone_decide_has_no_step() -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: H\nstate h: H\nparam a: H\nk = exp(a)\nh' = k * h + x\noutput h'\n"
    )
    text = show(cell, ("cell", "gradient"), notation="time")
    assert "k   = exp(a)" in text
    assert "h_t = k * h_{t-1} + x_t" in text
    assert re.search(r"^d_k +  *= sum_t\(d_h_t \* h_\{t-1\}\)", text, re.MULTILINE)


def test_a_page_has_sums_over_t_and_no_sum_over_rows() -> None:
    page = show(derive.cells.gru(), (), "html", notation="time")
    assert "<mi>t</mi><mo>−</mo><mn>1</mn>" in page
    assert "<mo>∑</mo><mi>t</mi>" in page
    assert "<mo>∑</mo><mi>n</mi>" not in page
    assert "d_h_carry_{t-1}" in page  # the plain text of a line, for who copies it


def test_what_the_notation_of_time_does_not_have_is_an_error() -> None:
    cell = derive.cells.rnn()
    with pytest.raises(ArgumentError, match="the stage graph is not written in the notation"):
        show(cell, ("graph",), notation="time")
    with pytest.raises(ArgumentError, match="json has one notation"):
        show(cell, ("cell",), "json", notation="time")
    with pytest.raises(ArgumentError, match="unknown notation 'space'"):
        show(cell, ("cell",), notation="space")


def test_show_and_read_are_a_round_trip_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mgu.tex"
    assert main.status(("show", "mgu", "--notation", "time", "--format", "latex")) == 0
    file.write_text(capsys.readouterr().out)
    assert main.status(("read", str(file), "--name", "mgu")) == 0
    assert derive.Cell.parse(capsys.readouterr().out) == derive.cells.mgu()
