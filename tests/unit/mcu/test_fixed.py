"""Cells in fixed point: powers of two, sums that cannot overflow, tables, and what is refused."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import axes_cells
import boards
import numpy as np
import pytest
import random_cells
from boards import BOARDS, SANITIZERS, WARNINGS, need

import derive
from derive.cli.main import status
from derive.emit.mcu.fixed.forms import (
    Linear,
    Lookup,
    Total,
)
from derive.emit.mcu.fixed.integers import checked
from derive.emit.mcu.fixed.quantized import Quantized
from derive.emit.mcu.fixed.scales import bits_for, dropped, looked_up
from derive.errors import ArgumentError, CellError, InternalError
from derive.mcu.export import exported
from derive.verification import fixed_point as checks
from derive.verification.fixed_point import check_fixed, library_of
from derive.verification.kinks import kinks_of
from derive.verification.points import find, small_sizes

STEPS = 20
AXES = {name: text for name, (text, _) in axes_cells.CELLS.items()}
TEXTS = {
    **AXES,
    **{f"random {seed}": random_cells.text(seed) for seed in range(100, 130)},
}


def lstm(**options: Any) -> tuple[derive.Cell, dict[str, np.ndarray]]:
    cell = derive.cells.lstm()
    return cell, derive.compile(cell, "numpy").init(I=16, H=32, seed=0)


def checked_rows(cell: derive.Cell) -> list[Any]:
    found = find(cell.step, kinks_of(cell.step.program), small_sizes(cell.step), 3, 2, seed=(0, 1))
    with np.errstate(all="ignore"):
        return check_fixed(cell, found.point, 0)


def check_text(text: str) -> None:
    rows = checked_rows(derive.Cell.parse(text))
    assert not [row for row in rows if not row.ok], rows


@pytest.mark.parametrize("name", ["lstm", "gru", "mamba2", "lstm_layer_norm_ba2016"])
def test_c_computes_the_integers_and_each_operation_is_right_up_to_rounding(name: str) -> None:
    rows = checked_rows(getattr(derive.cells, name)())
    assert {row.check for row in rows if row.where.startswith("mcu q15")} == {
        "operations", "rounding", "same integers"
    }  # fmt: skip
    assert all(row.ok for row in rows), rows


@pytest.mark.parametrize("dtype", ["q15", "int8"])
def test_a_number_that_is_compared_with_itself_is_not_compared(dtype: str, tmp_path: Path) -> None:
    text = (
        "cell same\ninput x: I\nstate h: I\na = where(h >= h, h, x) + where(x < x, h, 0.5 * x)\n"
        "h' = tanh(a + maximum(x, x) + where(1 <= 1, x, h))\noutput h'"
    )
    cell = derive.Cell.parse(text)
    rows = checked_rows(cell)
    assert all(row.ok for row in rows), rows
    files = exported(cell, {}, dtype=dtype, activations="q15", ranges={"x": 1.0}, sizes={"I": 3})
    assert "?" not in files["same.c"].partition("same_step(")[2]
    boards.write(files, tmp_path)
    for compiler in ("gcc", "clang"):
        if shutil.which(compiler):
            boards.run((compiler, "-std=c99", *WARNINGS, "-c", "same.c", "-o", "o"), tmp_path)


NO_INPUT = "cell alone\nstate h: 2, c: 2\nh' = 0.5 * h + 0.2 * c\nc' = tanh(c) + 0.3\noutput h'"


@pytest.mark.parametrize("dtype", ["q15", "int8"])
def test_a_cell_without_inputs_and_dimensions_is_exported(dtype: str, tmp_path: Path) -> None:
    """The factor 0.2 of a sum has 15 bits; a header without sizes names none."""
    cell = derive.Cell.parse(NO_INPUT)
    rows = checked_rows(cell)
    assert all(row.ok for row in rows), rows
    own = derive.mcu.quantize(cell, {}, data=np.zeros((5, 1, 0)), dtype=dtype)
    assert own.bits["c"] == 14
    files = exported(cell, {}, dtype=dtype, activations="q15", data=np.zeros((5, 1, 0)))
    assert "Sizes" not in files["alone.h"]


@pytest.mark.parametrize("name", [*TEXTS][::12])
def test_cells_of_any_form_are_computed(name: str) -> None:
    check_text(TEXTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_all_cells_of_any_form_are_computed(name: str) -> None:
    check_text(TEXTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", derive.cells.names())
def test_c_computes_the_integers_of_any_cell(name: str) -> None:
    rows = checked_rows(getattr(derive.cells, name)())
    assert all(row.ok for row in rows), rows


def test_verify_has_the_rows_of_fixed_point() -> None:
    report = derive.verify(derive.cells.rnn(), targets=("mcu",), quick=True)
    assert report.ok, report.text()
    rows = [row for row in report.rows if row.where.startswith("mcu q15")]
    assert {row.check for row in rows} == {"operations", "rounding", "same integers"}


def test_a_wrong_operation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In integers and in C alike: then only the operation itself tells."""
    real = checks.quantized

    def wrong(change: Any) -> Any:
        def made(*args: Any, **options: Any) -> Quantized:
            own = real(*args, **options)
            operations = {n: change(o) for n, o in own.scaled.operations.items()}
            return replace(own, scaled=replace(own.scaled, operations=operations))

        return made

    def sign(operation: Any) -> Any:
        if isinstance(operation, Linear):
            parts = tuple(replace(p, factor=-p.factor) for p in operation.parts[:1])
            return replace(operation, parts=(*parts, *operation.parts[1:]))
        return operation

    def scale(operation: Any) -> Any:
        return (
            replace(operation, drop=operation.drop - 1)
            if isinstance(operation, Total)
            else operation
        )

    def table(operation: Any) -> Any:
        if isinstance(operation, Lookup):
            moved = (*operation.table[1:], operation.table[-1])
            return replace(operation, table=moved)
        return operation

    for change in (sign, scale, table):
        monkeypatch.setattr(checks, "quantized", wrong(change))
        rows = {row.check: row.ok for row in checked_rows(derive.cells.janet())}
        assert rows["rounding"] is False and rows["same integers"] is True, change


def test_c_that_differs_from_the_integers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = checks.fixed_files

    def edited(*args: Any) -> Mapping[str, str]:
        files = dict(real(*args))
        text = files["mcu/janet.c"]
        assert "p->U[j][1][k]" in text
        files["mcu/janet.c"] = text.replace("p->U[j][1][k]", "p->U[j][0][k]")
        return files

    monkeypatch.setattr(checks, "fixed_files", edited)
    rows = {row.check: row.ok for row in checked_rows(derive.cells.janet())}
    assert rows["same integers"] is False and rows["rounding"] is True


# --- powers of two --------------------------------------------------------------------------


def test_bits_are_the_most_that_fit() -> None:
    assert [bits_for(size) for size in (1.0, 1.01, 0.5, 8.0, 100.0, 0.0)] == [15, 14, 16, 12, 8, 15]
    assert bits_for(1.0, reached=True) == 14 and bits_for(0.99999, reached=True) == 14
    assert bits_for(1e-30) == 30 and bits_for(1e30) == -16


def test_dropping_bits_rounds_to_the_nearest() -> None:
    values = np.arange(-70000, 70000, 7)
    for count in (1, 3, 12):
        assert np.array_equal(dropped(values, count), np.floor(values / 2.0**count + 0.5))


def test_arrays_say_where_their_bounds_come_from() -> None:
    cell, params = lstm()
    own = derive.mcu.quantize(cell, params, ranges={"x": 2.0, "c": (-3, 5)})
    bounds = own.scaled.bounds
    assert bounds["x"].why == bounds["c"].why == "given" and bounds["h"].why == "interval"
    assert own.bits == {"x": 14, "h": 15, "c": 12, "h_next": 15}
    seen = derive.mcu.quantize(cell, params, data=np.ones((4, 2, 16)))
    assert seen.scaled.bounds["c"].why == "data" and seen.bits["c"] > 12
    header = exported(cell, params, dtype="q15", ranges={"x": 2.0, "c": 8})["lstm.h"]
    assert re.search(r"\* c +12 +8  given", header) and "#define LSTM_BITS_h_next 15" in header


def test_no_sum_overflows_whatever_the_inputs_are() -> None:
    """Large weights, all of one sign, integers at the ends: `Integers` raises where one does."""
    cell, params = lstm()
    for scale in (0.01, 1.0, 300.0):
        large = {name: scale * abs(array) for name, array in params.items()}
        own = derive.mcu.quantize(cell, large, ranges={"x": 2.0, "c": 8.0})
        for low, high in ((-32768, -32767), (32767, 32768), (-32768, 32768)):
            random = np.random.default_rng(0)
            x = {"x": random.integers(low, high, (3, 2, 16))}
            states = {n: random.integers(low, high, (2, 32)) for n in cell.states}
            outputs, _ = own.run(x, states)
            assert abs(outputs["h_next"]).max() <= 32768
    with pytest.raises(InternalError, match="overflows 32 bits"):
        checked(np.array([2**31]))


def test_tables_of_sigmoid_and_tanh_are_right_to_a_few_last_bits() -> None:
    """At every one of the 65,536 arguments: what `error` says is what is found."""
    cell, params = lstm()
    own = derive.mcu.quantize(cell, params, ranges={"x": 8.0, "c": 8.0})
    found = {o.function: o for o in own.scaled.operations.values() if isinstance(o, Lookup)}
    for name, exact in (("sigmoid", lambda v: 1 / (1 + np.exp(-v))), ("tanh", np.tanh)):
        operation = found[name]
        every = np.arange(-32768, 32768)
        got = looked_up(np.array(operation.table), every) / 32768
        off = abs(got - exact(every * 2.0 ** -own.scaled.bits[operation.source]))
        assert off.max() <= 7e-5 and operation.error <= 7e-5
        assert operation.error >= 0.9 * off.max()


@pytest.mark.parametrize("kind", ["exp", "log", "sqrt", "softplus", "sin", "erf", "gelu", "selu"])
def test_every_function_of_one_number_is_a_table(kind: str) -> None:
    text = f"cell one\ninput x: I\nstate s: I\ns' = 0.5 * s + {kind}(1.5 + x)\noutput s'"
    own = derive.mcu.quantize(derive.Cell.parse(text), {}, ranges={"x": 1, "s": 8}, sizes={"I": 3})
    (error,) = own.errors.values()
    assert error < 2e-3


# --- far apart --------------------------------------------------------------------------------


FAR = """
cell   far
input  x: H
state  h: H
h' = VALUE
output h'
"""


@pytest.mark.parametrize(
    ("value", "params", "size", "x", "wanted"),
    [
        # 43 bits of a sum are dropped, more than an int32 has
        ("W @ x + b", {"W": np.full((2, 2), 1e-5), "b": np.full(2, 1e-7)}, 0.01, 0.009, 0.0),
        # a large number is rounded by one bit
        ("tanh(b / x)", {"b": np.full(2, 4.0)}, 2.0, 0.0, 1.0),
        ("tanh(b / x)", {"b": np.full(2, -4.0)}, 2.0, 0.0, -1.0),
        ("tanh(1e-5 * floor(x) + b)", {"b": np.zeros(2)}, 1e5, 70000.0, np.tanh(0.7)),
        # all that x can be, its largest number too, is less than 2
        ("where(x < 2, 0.5, b)", {"b": np.full(2, 0.25)}, 1.0, 1.0, 0.5),
        ("where(x < -2, 0.5, b)", {"b": np.full(2, 0.25)}, 1.0, -1.0, 0.25),
    ],
)  # fmt: skip
def test_numbers_far_apart_are_what_the_interpreter_says(
    value: str, params: dict[str, Any], size: float, x: float, wanted: float
) -> None:
    cell = derive.Cell.parse(FAR.replace("VALUE", value))
    ranges = {"x": size, **({"h": 100.0} if "W" in value else {})}
    data = {"data": np.full((1, 1, 2), 1.0)} if "/" in value else {}
    own = derive.mcu.quantize(cell, params, ranges=ranges, sizes={"H": 2}, **data)
    inputs, zeros = own.to_integers({"x": np.full((1, 2), x)}), {"h": np.zeros((1, 2), np.int64)}
    ((outputs, _),) = own.steps({"x": inputs["x"][None]}, zeros)
    found, _ = library_of(cell, own).step(dict(own.scaled.weights), inputs, zeros)
    assert np.array_equal(found["h_next"], outputs["h_next"])
    assert abs(own.to_floats(found)["h_next"] - wanted).max() < 1e-3


def test_a_sign_is_less_than_what_a_large_state_can_say() -> None:
    cell = derive.Cell.parse(FAR.replace("VALUE", "sign(x)"))
    own = derive.mcu.quantize(cell, {}, ranges={"x": 1.0, "h": 1e6}, sizes={"H": 2})
    assert own.bits["h"] < 0
    x, h = np.full((1, 2), 9), np.full((1, 2), 7)
    found, _ = library_of(cell, own).step({}, {"x": x}, {"h": h})
    ((outputs, _),) = own.steps({"x": x[None]}, {"h": h})
    assert not outputs["h_next"].any() and not found["h_next"].any()


def test_what_is_far_beyond_a_bound_saturates() -> None:
    cell = derive.Cell.parse(FAR.replace("VALUE", "W @ x"))
    params = {"W": 1000.0 * np.eye(2)}
    own = derive.mcu.quantize(cell, params, ranges={"x": 1000.0, "h": 1e-7})
    x, h = own.to_integers({"x": np.array([[999.0, -999.0]])}), {"h": np.zeros((1, 2), np.int64)}
    found, _ = library_of(cell, own).step(dict(own.scaled.weights), x, h)
    ((outputs, _),) = own.steps({"x": x["x"][None]}, h)
    assert found["h_next"].tolist() == outputs["h_next"].tolist() == [[32767, -32768]]


# --- refusals -------------------------------------------------------------------------------


def test_what_has_no_bound_is_named_with_what_to_give() -> None:
    cell, params = lstm()
    with pytest.raises(ArgumentError, match="needs a bound of x, c\n") as told:
        derive.mcu.quantize(cell, params)
    assert told.value.hint is not None
    assert told.value.hint.startswith("data=x with inputs as the device will see them, or ranges=")
    ranges = ast.literal_eval(told.value.hint.partition("ranges=")[2])
    assert derive.mcu.quantize(cell, params, ranges=ranges).bits["c"]
    with pytest.raises(ArgumentError, match="needs a bound of c\n"):
        derive.mcu.quantize(cell, params, ranges={"x": 1.0})
    text = "cell q\ninput x: I\nstate s: I\nv = 1 / x\ns' = tanh(v) * v\noutput s'"
    with pytest.raises(
        ArgumentError, match="needs a bound of v\n  v may be any number: 1/x"
    ) as told:
        derive.mcu.quantize(derive.Cell.parse(text), {}, ranges={"x": 1, "s": 4}, sizes={"I": 3})
    assert "ranges" not in str(told.value)  # which are for inputs and states


def test_zeros_alone_are_no_bound_of_an_input() -> None:
    cell, params = lstm()
    with pytest.raises(ArgumentError, match="needs a bound of x"):
        derive.mcu.quantize(cell, params, data=np.zeros((3, 2, params["W_i"].shape[1])))


def test_the_range_of_a_state_is_that_of_its_next_value() -> None:
    cell = derive.Cell.parse(FAR.replace("VALUE", "h / x"))
    own = derive.mcu.quantize(cell, {}, ranges={"x": 1.0, "h": 3.0}, sizes={"H": 2})
    assert own.bits["h"] == own.bits["h_next"] == 13


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"y": 1.0}, "lstm has no input or state 'y'"),
        ({"x": 0.0}, "0.0 is no range of x"),
        ({"x": (2, 1)}, r"\(2, 1\) is no range of x"),
        ({"x": float("inf")}, "inf is no range"),
        ({"x": None}, "None is no range"),
        ({"x": "ab"}, "'ab' is no range"),
        ({"x": True}, "True is no range"),
        ({"x": (1, 2, 3)}, "is no range"),
        ([("x", 1.0)], "ranges are a mapping from names to numbers, not list"),
    ],
)
def test_ranges_that_are_none_are_refused(ranges: Any, message: str) -> None:
    cell, params = lstm()
    with pytest.raises(derive.DeriveError, match=message):
        derive.mcu.quantize(cell, params, ranges=ranges)


def test_data_that_hold_no_number_are_refused() -> None:
    cell, params = lstm()
    data = np.zeros((4, 1, 16))
    data[2, 0, 3] = np.nan
    with pytest.raises(ArgumentError, match="data of x has an element that is no finite number"):
        derive.mcu.quantize(cell, params, data=data)
    with pytest.raises(ArgumentError, match="data of x has no step or no row"):
        derive.mcu.quantize(cell, params, data=np.zeros((4, 0, 16)))


def test_a_function_that_is_defined_nowhere_is_refused() -> None:
    text = "cell q\ninput x: I\nstate s: I\ns' = log(x - 9)\noutput s'"
    with pytest.raises(CellError, match="defined nowhere between the bounds"):
        derive.mcu.quantize(
            derive.Cell.parse(text), {}, ranges={"x": 1, "s": 4}, sizes={"I": 3},
            data=np.zeros((2, 1, 3)),
        )  # fmt: skip


def test_the_command_line_tells_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, params = lstm()
    np.savez(tmp_path / "w.npz", **params)
    np.savez(tmp_path / "x.npz", x=np.ones((3, 1, 16)))
    command = ["export", "lstm", "--format", "mcu", "--weights", str(tmp_path / "w.npz")]
    command += ["-o", str(tmp_path / "dev")]
    for words, message in (
        (["--dtype", "q15"], "needs a bound of x, c"),
        (["--dtype", "q15", "--range", "x=a"], "'x=a' is no range"),
        (["--dtype", "q15", "--range", "x"], "'x' is no range"),
        (["--range", "x=1"], "data and ranges are for fixed point"),
        (["--format", "onnx", "--dtype", "q15"], "float32 or float64"),
    ):
        assert status([*command, *words]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "dev").exists()
    assert status([*command, "--dtype", "q15", "--data", str(tmp_path / "x.npz")]) == 0
    assert status([*command, "--dtype", "q15", "--range", "x=-1..2", "--range", "c=8"]) == 0
    named = derive.Cell.parse("cell derive_mcu_q15\nstate h: H\nh' = 0.5 * h\noutput h'")
    with pytest.raises(CellError, match="would overwrite the header"):
        derive.mcu.export(named, tmp_path, {}, dtype="q15", sizes={"H": 2})
    with pytest.raises(ArgumentError, match="no cell for a microcontroller is in 'q7'"):
        derive.mcu.export(cell, tmp_path, params, dtype="q7")


# --- on devices -----------------------------------------------------------------------------

STRANGE = """\
cell strange
input x: I, out_y: 2
input m: H once
state C: N x H, h: H = b_start
param K: H x (I + H), R: N x H, b_start: H, b_more: H
h' = tanh(K @ concat(x, h) + b_more) * m
C' = 0.5 * C + R * h'
y = sum(C', N) + sum(out_y)
output y, h'
"""


def program(name: str) -> tuple[str, dict[str, str]]:
    """main.c of an export over 20 steps, and the other files."""
    if name == "strange":
        cell = derive.Cell.parse(STRANGE)
        shapes = {"K": (3, 5), "R": (2, 3), "b_start": (3,), "b_more": (3,)}
        params = {n: np.linspace(-1, 1, int(np.prod(s))).reshape(s) for n, s in shapes.items()}
        ranges = {"x": 2, "out_y": 1, "m": 1, "C": 4}
        files = exported(cell, params, dtype="q15", ranges=ranges, steps=STEPS)
    else:
        cell = getattr(derive.cells, name)()
        params = derive.compile(cell, "numpy").init(I=16, H=32, seed=0)
        data = np.random.default_rng(0).standard_normal((STEPS, 4, 16))
        files = exported(cell, params, dtype="q15", data=data, steps=STEPS)
    return files.pop("main.c"), files


@pytest.mark.parametrize("name", ["lstm", "strange"])
def test_the_exported_program_computes_the_integers_under_sanitizers(
    name: str, tmp_path: Path
) -> None:
    need("gcc")
    main, files = program(name)
    boards.write({**files, "main.c": main}, tmp_path)
    command = ("gcc", "-std=c99", *WARNINGS, *SANITIZERS, f"{name}.c", "main.c", "-o", "run")
    boards.run(command, tmp_path)
    assert boards.run(("./run",), tmp_path).endswith("0 numbers differ\n")


#: (board, flag): instructions of a step of the LSTM, I = 16, H = 32, with gcc 12.2.
INSTRUCTIONS = {
    ("mps2-an385 cortex-m0", "-O2"): 54_100,
    ("mps2-an386", "-O2"): 24_300,
    ("virt rv32imac", "-O2"): 30_850,
}


@pytest.mark.parametrize("key", INSTRUCTIONS, ids=" ".join)
def test_boards_compute_the_integers_in_few_instructions(key: tuple[str, str]) -> None:
    board = BOARDS[key[0]]
    main, files = program("lstm")
    wrong, spent = boards.counted("lstm", board, main, files, (key[1],))
    assert wrong == 0
    said = subprocess.run(
        (boards.compiler(board.core), "-dumpfullversion"),
        capture_output=True,
        text=True,
        check=True,
    )
    if said.stdout.startswith("12.2"):
        assert spent / STEPS <= 1.02 * INSTRUCTIONS[key]
    assert INSTRUCTIONS["mps2-an385 cortex-m0", "-O2"] <= 55_000
    assert INSTRUCTIONS["virt rv32imac", "-O2"] <= 360_000


@pytest.mark.parametrize("core", boards.CORES)
def test_cores_compilers_have_nothing_to_say(core: str, tmp_path: Path) -> None:
    need(boards.compiler(core))
    for name in ("lstm", "strange"):
        _, files = program(name)
        boards.write(files, tmp_path)
        found = boards.measured(name, core, tmp_path)
        assert found.data == found.bss == 0
        assert {s for s in found.undefined if not s.startswith("__")} <= {"memcpy", "memset"}


@pytest.mark.parametrize("which", ["gcc", "clang", "g++", "clang++"])
def test_compilers_have_nothing_to_say(which: str, tmp_path: Path) -> None:
    if shutil.which(which) is None:
        pytest.skip(f"no {which}")
    language = ("-std=c99",) if "+" not in which else ("-x", "c++", "-std=c++11")
    for name in ("lstm", "strange"):
        main, files = program(name)
        boards.write({**files, "main.c": main}, tmp_path)
        command = (which, *language, *WARNINGS, "-Wundef", "-Wcast-qual", "-O1", "-c")
        assert not boards.run((*command, f"{name}.c", "main.c"), tmp_path)


def test_digits_lose_no_accuracy_in_fixed_point() -> None:
    """A cell that is trained on the digits, row by row; half a percentage point is allowed."""
    datasets = pytest.importorskip("sklearn.datasets")
    from derive.train import Adam, cross_entropy

    text = (
        "cell digits\ninput x: I\nstate h: H, c: H\nparam V: 10 x H\n"
        "i = sigmoid(W_i @ x + U_i @ h + b_i)\nf = sigmoid(W_f @ x + U_f @ h + b_f)\n"
        "g = tanh(W_g @ x + U_g @ h + b_g)\nc' = i * g + f * c\n"
        "o = sigmoid(W_o @ x + U_o @ h + b_o)\nh' = o * tanh(c')\ny = V @ h' + d\noutput y\n"
    )
    cell = derive.Cell.parse(text)
    kernel = derive.compile(cell, "numpy", "float32")
    params = kernel.init(I=8, H=16, seed=0)
    data = datasets.load_digits()
    images = (data.images.transpose(1, 0, 2) / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(images.shape[1])
    judged, trained = order[:597], order[597:]
    adam, random = Adam(params, beta2=0.99), np.random.default_rng(1)
    for epoch in range(8):
        for part in np.array_split(random.permutation(trained), 19):
            run = kernel.forward(params, images[:, part])
            _, d_last = cross_entropy(run.output[-1], data.target[part])
            d_y = np.zeros_like(run.output)
            d_y[-1] = d_last
            adam.step(kernel.backward(run, d_y).params, 0.02 * (1 - epoch / 8))
    y = kernel.forward(params, images[:, judged], training=False).output[-1]
    own = derive.mcu.quantize(cell, params, data=images[:, trained[:100]])
    x = own.to_integers({"x": images[:, judged]})
    zeros = {name: np.zeros((len(judged), 16), np.int64) for name in cell.states}
    outputs, _ = own.run(x, zeros)
    right = (y.argmax(axis=1) == data.target[judged]).mean()
    fixed = (outputs["y"][-1].argmax(axis=1) == data.target[judged]).mean()
    assert right > 0.9 and fixed >= right - 0.005
    library = library_of(cell, own)
    states, found = zeros, {}
    for x_t in x["x"]:
        found, states = library.step(dict(own.scaled.weights), {"x": x_t}, states)
    assert np.array_equal(found["y"], outputs["y"][-1])
