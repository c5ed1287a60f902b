"""Parameters of a trained cell as a header."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from boards import WARNINGS, write

import derive
from derive.errors import ArgumentError, ArgumentTypeError

#: A number of type float.
NUMBER = r"-?\d+\.?\d*(?:e[-+]?\d+)?(?=f\b)"


def params() -> dict[str, np.ndarray]:
    return derive.compile(derive.cells.janet(), "numpy").init(I=3, H=2, seed=1)


def test_the_header_holds_every_number_exactly_and_says_the_sizes() -> None:
    given = params()
    text = derive.mcu.params_header(derive.cells.janet(), given)
    numbers = [float(n) for n in re.findall(NUMBER, text)]
    stacked = [np.stack([given[f"{m}_f"], given[f"{m}_g"]], axis=1).ravel() for m in "WUb"]
    assert np.array_equal(np.concatenate(stacked), np.array(numbers, np.float32))
    assert "static const janet_params janet_weights = {" in text
    assert '#error "compile with -DJANET_H=2"' in text and "-DJANET_I=3" in text


def test_the_header_compiles_with_its_cell_and_refuses_other_sizes(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    cell = derive.cells.janet()
    write(derive.emit(cell, "mcu"), tmp_path)
    (tmp_path / "janet_params.h").write_text(derive.mcu.params_header(cell, params()))
    (tmp_path / "main.c").write_text(
        '#include "janet_params.h"\nint main(void) { return janet_weights.b[0][0] > 2.0f; }\n'
    )
    for size, good in ((2, True), (3, False)):
        done = subprocess.run(
            ("gcc", "-std=c99", *WARNINGS, "-DJANET_I=3", f"-DJANET_H={size}", "-c", "main.c"),
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is good, done.stderr


def test_a_cell_whose_arrays_are_cut_gets_its_parts() -> None:
    cell = derive.Cell.parse(
        "cell joined\ninput x: I\nstate h: H\nparam K: H x (I + H)\n"
        "h' = tanh(K @ concat(x, h))\noutput h'"
    )
    given = derive.compile(cell, "numpy").init(I=2, H=3)
    text = derive.mcu.params_header(cell, given)
    numbers = [float(n) for n in re.findall(NUMBER, text)]
    assert np.array_equal(np.sort(given["K"].ravel()), np.sort(np.array(numbers, np.float32)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_f": np.zeros((2, 4))}, "the wrong shape"),
        ({"b_f": [np.nan, 0.0]}, "parameter b_f has a number that is not finite in float32"),
        ({"b_f": [1e300, 0.0]}, "not finite"),
        ({"more": np.zeros(2)}, "more"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        derive.mcu.params_header(derive.cells.janet(), {**params(), **change})


def test_an_axis_that_no_loop_over_int_counts_is_refused() -> None:
    cell = derive.Cell.parse("cell wide\nstate h: H\nh' = h * a\noutput h'")
    with pytest.raises(ArgumentError, match="H = 40000 is too large"):
        derive.mcu.params_header(cell, {"a": np.zeros(40_000)})
    cell = derive.Cell.parse("cell wide\nparam a: 40000\nstate h: H\nh' = h * mean(a)\noutput h'")
    with pytest.raises(ArgumentError, match="parameter a is too large"):
        derive.mcu.params_header(cell, {"a": np.zeros(40_000)})


@pytest.mark.parametrize("given", ["lstm", None, [1]])
def test_what_is_no_cell_is_refused(given: object) -> None:
    for call in (derive.mcu.params_header, derive.mcu.quantize):
        with pytest.raises(ArgumentTypeError, match="cell must be a Cell") as caught:
            call(given, params())
        assert "derive.cells.lstm()" in str(caught.value)
    with pytest.raises(ArgumentTypeError, match="cell must be a Cell"):
        derive.flow.measure(given, params(), np.zeros((3, 2)))
