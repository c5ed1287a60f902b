"""Weights in int8: whole numbers and scales, which matrices, the C, accuracy, refusals."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import boards
import numpy as np
import pytest
from boards import BOARDS, SANITIZERS, WARNINGS, need

import derive
from derive.cli.main import status
from derive.emit.mcu.int8 import InInt8, dequantized
from derive.errors import ArgumentError, DeriveError
from derive.mcu.export import exported
from derive.verification import fixed_point as checks
from derive.verification.fixed_point import BOTH, IN_INT8, check_fixed
from derive.verification.kinks import kinks_of
from derive.verification.points import find, small_sizes

STEPS = 20


def checked_rows(cell: derive.Cell) -> dict[tuple[str, str], Any]:
    found = find(cell.step, kinks_of(cell.step.program), small_sizes(cell.step), 3, 2, seed=(0, 1))
    with np.errstate(all="ignore"):
        rows = check_fixed(cell, found.point, 0)
    return {(row.where.partition(":")[0], row.check): row for row in rows}


def weights(text: str, params: dict[str, Any], **sizes: int) -> InInt8:
    return derive.mcu.quantize_weights(derive.Cell.parse(text), params, sizes=sizes)


@pytest.mark.parametrize("name", ["gru", "slstm", "weight_norm_lstm"])
def test_verification_has_nothing_against_weights_in_int8(name: str) -> None:
    rows = checked_rows(getattr(derive.cells, name)())
    assert all(row.ok for row in rows.values()), rows
    assert {(IN_INT8, "weights"), (IN_INT8, "steps"), (BOTH, "same integers")} <= set(rows)


def test_a_weight_is_off_by_half_the_scale_of_its_row_at_most() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 40)) * np.array(
        [[1e-6], [0], [1], [7], [1e3]]
    )
    text = "cell one\ninput x: I\nstate h: H\nh' = tanh(W @ x + b)\noutput h'"
    own = weights(text, {"W": matrix, "b": np.ones(5)})
    whole, scale = own.weights["W"], own.scales["W"]
    assert whole.dtype == np.int8 and abs(whole).max(axis=1).tolist() == [127, 0, 127, 127, 127]
    assert scale.shape == (5,) and scale[1] == 0
    off = abs(whole * scale[:, None] - matrix.astype(np.float32))
    assert np.all(off <= scale[:, None] / 2 * (1 + 1e-9))
    assert own.errors["W"] == pytest.approx(off.max())
    assert own.arrays()["scale_W"].dtype == np.float32


MANY = """\
cell many
input x: I
state h: H, q: N x D
param A: H x I, B: H x H, E: H x H, G: H x I, R: N x D x D, K: H x H, O: 2 x H, S: H x 2
u = A @ x + B.T @ h + E @ h + E.T @ h
k = (G @ x) * sum(x) + K @ h
h' = tanh(u + 0.1 * k + S @ (O @ h))
q' = tanh(R @ q)
output h', q'
"""


def test_a_scale_is_that_of_what_no_product_sums_over() -> None:
    random = np.random.default_rng(0)
    shapes = {
        "A": (4, 3), "B": (4, 4), "E": (4, 4), "G": (4, 3), "R": (2, 3, 3), "K": (4, 4),
        "O": (2, 4), "S": (4, 2),
    }  # fmt: skip
    cell = derive.Cell.parse(MANY)
    params = {name: random.normal(size=shape) for name, shape in shapes.items()}
    own = derive.mcu.quantize_weights(cell, params)
    assert {n: s.shape for n, s in own.scales.items()} == {
        "A": (4,),
        "B": (4,),
        "E": (1,),
        "G": (4,),
        "R": (2, 3),
        "K": (4,),
        "O": (2,),
    }  # S has rows of two
    columns = abs(params["B"]).max(axis=0) / 127
    assert np.allclose(own.scales["B"], columns, rtol=1e-6)
    for name, array in dequantized(own.own).items():
        assert abs(array - params[name]).max() <= own.scales[name].max() / 2 * 1.001, name
    rows = checked_rows(cell)
    assert all(row.ok for row in rows.values()), rows


def test_a_matrix_that_more_than_products_read_stays_as_it_is() -> None:
    text = (
        "cell both\ninput x: I\nstate C: H x I\nparam W: H x I\n"
        "C' = 0.5 * C * W + outer(W @ x, x)\n"
        "output C'"
    )
    own = weights(text, {"W": np.ones((3, 4))})
    assert not own.weights and own.arrays()["W"].dtype == np.float32


def test_what_parameters_alone_decide_is_computed_before_it_is_rounded() -> None:
    text = (
        "cell norm\ninput x: I\nstate h: H\nparam V: H x I, g: H\n"
        "h' = tanh((g / norm(V, I) * V) @ x)\noutput h'"
    )
    matrix = np.random.default_rng(0).normal(size=(3, 5))
    own = weights(text, {"V": matrix, "g": np.array([1.0, 2.0, 3.0])})
    (name,) = own.weights
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True) * np.array([[1], [2], [3]])
    assert np.allclose(own.weights[name] * own.scales[name][:, None], unit, atol=0.02)


def test_what_is_not_finite_then_is_refused() -> None:
    text = "cell q\ninput x: I\nstate h: H\nh' = tanh(W @ x + log(b))\noutput h'"
    params = {"W": np.ones((2, 3)), "b": np.array([1.0, -1.0])}
    with pytest.raises(ArgumentError, match="log_b, which depends on parameters alone") as told:
        weights(text, params)
    assert "log_b[1] is nan" in str(told.value)


def test_what_is_not_finite_in_float32_is_refused(tmp_path: Path) -> None:
    text = (
        "cell r\ninput x: I\nstate h: N x D\nparam g: N, V: N x D x I\nW = g * V\n"
        "h' = tanh(W @ x + h)\noutput h'\n"
    )
    V = np.random.default_rng(0).normal(size=(4, 2, 5))
    V[0] = 1e25
    params = {"V": V, "g": np.array([1e25, 1, 1, 1])}
    with pytest.raises(ArgumentError, match="depends on parameters alone, is not finite in float3"):
        weights(text, params)
    with pytest.raises(ArgumentError, match="is not finite in float32") as told:
        derive.mcu.export(derive.Cell.parse(text), tmp_path / "d", params, dtype="int8")
    assert "W[0, 0, 0] is inf" in str(told.value) and not (tmp_path / "d").exists()


@pytest.mark.parametrize(("change", "check"), [("weight", "weights"), ("text", "steps")])
def test_a_wrong_weight_and_a_wrong_text_are_noticed(
    monkeypatch: pytest.MonkeyPatch, change: str, check: str
) -> None:
    made, texts = checks.int8_of, checks.int8_files

    def wrong(*args: Any) -> InInt8:
        own = made(*args)
        params = dict(own.own.params)
        (name, *_) = own.own.scales
        params[name] = params[name] + np.where(params[name] < 127, 1, 0)
        return replace(own, own=replace(own.own, params=params))

    def edited(*args: Any) -> dict[str, str]:
        files = dict(texts(*args))
        assert "p->scale[j][1]" in files["mcu/janet.c"]
        files["mcu/janet.c"] = files["mcu/janet.c"].replace("p->scale[j][1]", "p->scale[j][0]")
        return files

    name, other = ("int8_of", wrong) if change == "weight" else ("int8_files", edited)
    monkeypatch.setattr(checks, name, other)
    rows = {k: row.ok for k, row in checked_rows(derive.cells.janet()).items() if k[0] == IN_INT8}
    assert rows == {key: key[1] != check for key in rows}


def test_a_number_that_int8_does_not_have_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = checks.int8_of

    def wrong(*args: Any) -> InInt8:
        own = made(*args)
        params = {n: a * 2 if n in own.own.scales else a for n, a in own.own.params.items()}
        return replace(own, own=replace(own.own, params=params))

    monkeypatch.setattr(checks, "int8_of", wrong)
    assert not checked_rows(derive.cells.rnn())[f"{IN_INT8} W", "weights"].ok


def test_a_scale_that_is_too_large_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights lie within half of it, and not within half of what it should be."""
    monkeypatch.setattr(sys.modules[InInt8.__module__], "MOST", 60)
    rows = checked_rows(derive.cells.rnn())
    assert not rows[IN_INT8, "weights"].ok and not rows[BOTH, "weights"].ok


def test_small_rows_share_the_steps_of_scales_in_int16() -> None:
    """As the reference says: a thousandth costs up to 6 %, a hundred-thousandth a factor of 6."""
    matrix = np.ones((3, 8)) * np.array([[1.0], [1e-3], [1e-5]])
    text = "cell one\ninput x: I\nstate h: H\nh' = tanh(W @ x)\noutput h'"
    for factor in np.linspace(1, 2, 50):
        params = {"W": factor * matrix}
        own = derive.mcu.quantize(
            derive.Cell.parse(text), params, dtype="int8", ranges={"x": 1}
        ).own
        ratio = own.params["scale_W"] / (params["W"][:, 0] / 127)
        assert ratio.min() >= 1 and np.all(ratio <= [1.0001, 1.063, 6.3]), ratio


# --- files --------------------------------------------------------------------------------------


def program(activations: str, text: str = "") -> tuple[str, str, dict[str, str]]:
    """The cell's name, main.c of an export over 20 steps, and the other files."""
    cell = derive.Cell.parse(text) if text else derive.cells.lstm()
    sizes = {"I": 16, "H": 32} if not text else small_sizes(cell.step)
    params = derive.compile(cell, "numpy").init(seed=0, **sizes)
    more: dict[str, Any] = {}
    if activations == "q15":
        more["data"] = np.random.default_rng(0).standard_normal((STEPS, 4, sizes["I"]))
    files = exported(
        cell, params, dtype="int8", activations=activations, steps=STEPS, sizes=sizes, **more
    )
    return cell.name, files.pop("main.c"), files


LEARNED = """\
cell learned
input x: I
state h: H = start
param W: H x I, U: H x H, start: H = normal(0, 1), V: 4 x H
h' = tanh(W @ x + U @ h)
y = softmax(V @ h' + mean(h) / 3)
output y, h'
"""


@pytest.mark.parametrize("text", ["", LEARNED])
@pytest.mark.parametrize("activations", ["float32", "q15"])
def test_the_exported_program_computes_what_derive_does_under_sanitizers(
    activations: str, text: str, tmp_path: Path
) -> None:
    need("gcc")
    name, main, files = program(activations, text)
    boards.write({**files, "main.c": main}, tmp_path)
    command = ("gcc", "-std=c99", *WARNINGS, *SANITIZERS, f"{name}.c", "main.c", "-o", "run")
    boards.run(command, tmp_path)
    assert boards.run(("./run",), tmp_path).endswith("0 numbers differ\n")


@pytest.mark.parametrize("activations", ["float32", "q15"])
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m33", "rv32imafc"])
def test_cores_compilers_have_nothing_to_say(core: str, activations: str, tmp_path: Path) -> None:
    need(boards.compiler(core))
    _, _, files = program(activations)
    boards.write(files, tmp_path)
    found = boards.measured("lstm", core, tmp_path)
    assert found.data == found.bss == 0


def test_weights_take_a_quarter(tmp_path: Path) -> None:
    """Of flash: 6,144 weights in 1 byte, 256 scales and 128 biases in 4 or 2, of 25,088."""
    need("gcc")
    for activations, size in (("float32", 6144 + 4 * 384), ("q15", 6144 + 2 * 384)):
        _, _, files = program(activations)
        size_of = '#include <stdio.h>\n#include "lstm_params.h"\nint main(void)\n{\n'
        size_of += '    printf("%d", (int)sizeof lstm_weights);\n    return 0;\n}\n'
        boards.write({**files, "size.c": size_of}, tmp_path)
        boards.run(("gcc", "size.c", "-o", "size"), tmp_path)
        assert int(boards.run(("./size",), tmp_path)) == size


#: (board, activations): instructions of a step of the LSTM, I = 16, H = 32, gcc 12.2, -O2.
INSTRUCTIONS = {
    ("mps2-an385 cortex-m0", "q15"): 53_500,
    ("mps2-an386", "q15"): 28_160,
    ("mps2-an386", "float32"): 36_450,
    ("virt rv32imac", "q15"): 33_510,
    ("virt rv32imafc", "float32"): 33_050,
}


@pytest.mark.parametrize("key", INSTRUCTIONS, ids=" ".join)
def test_boards_compute_it_in_few_instructions(key: tuple[str, str]) -> None:
    board = BOARDS[key[0]]
    need(boards.compiler(board.core), board.emulator[0])
    _, main, files = program(key[1])
    wrong, spent = boards.counted("lstm", board, main, files, ("-O2",))
    assert wrong == 0
    said = subprocess.run(
        (boards.compiler(board.core), "-dumpfullversion"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if said.stdout.startswith("12.2"):
        assert spent / STEPS <= 1.02 * INSTRUCTIONS[key]


def test_digits_lose_no_accuracy_in_int8() -> None:
    """A cell that is trained on the digits, row by row; half a percentage point is allowed."""
    datasets = pytest.importorskip("sklearn.datasets")
    from derive.train import Adam, cross_entropy

    text = (
        "cell digits\ninput x: I\nstate h: H\nparam V: 10 x H\n"
        "z = sigmoid(W_z @ x + U_z @ h + b_z)\n"
        "g = tanh(W_g @ x + U_g @ h + b_g)\nh' = z * h + (1 - z) * g\ny = V @ h' + d\noutput y\n"
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
            d_y = np.zeros_like(run.output)
            _, d_y[-1] = cross_entropy(run.output[-1], data.target[part])
            adam.step(kernel.backward(run, d_y).params, 0.02 * (1 - epoch / 8))
    y = kernel.forward(params, images[:, judged], training=False).output[-1]
    right = (y.argmax(axis=1) == data.target[judged]).mean()
    assert right > 0.9
    inputs, zeros = {"x": images[:, judged]}, {"h": np.zeros((len(judged), 16))}
    narrow, _ = derive.mcu.quantize_weights(cell, params).run(inputs, zeros)
    own = derive.mcu.quantize(cell, params, dtype="int8", data=images[:, trained[:100]])
    fixed, _ = own.run(own.to_integers(inputs), {"h": zeros["h"].astype(int)})
    for outputs in (narrow, fixed):
        found = (outputs["y"][-1].argmax(axis=1) == data.target[judged]).mean()
        assert found >= right - 0.005


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"dtype": "int8", "activations": "int8"}, "no activations are in 'int8'", "float32, q15"),
        ({"dtype": "q15", "activations": "float32"}, "activations in float32 go with", "float32"),
        ({"dtype": "float32", "activations": "q15"}, "activations in q15 go with", 'dtype="q15"'),
        ({"dtype": "float32", "activations": "q15"}, "activations in q15 go with", 'dtype="int8"'),
        ({"dtype": "int8", "sizes": {"I": 4}}, "are for I = 3, and 4 was given", 'sizes={"I": 3}'),
        ({"dtype": "int8", "sizes": 3}, "sizes are a mapping from dim", 'sizes={"H": 16}'),
        ({"dtype": "q15", "ranges": {"x": 0}}, "0 is no range of x", 'ranges={"x": (-1, 3)}'),
        ({"dtype": "int8", "ranges": {"x": 1}}, "for fixed point", 'activations="q15"'),
        ({"dtype": "int8", "activations": "q15"}, "needs a bound of x, c", "ranges="),
        ({"dtype": "int4"}, "no cell for a microcontroller is in 'int4'", "float32, q15, int8"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(
    options: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    cell = derive.cells.lstm()
    params = derive.compile(cell, "numpy").init(I=3, H=4, seed=0)
    with pytest.raises(DeriveError, match=message) as told:
        derive.mcu.export(cell, tmp_path / "device", params, **options)
    assert hint in str(told.value) and not (tmp_path / "device").exists()
    with pytest.raises(ArgumentError, match="no weights in fixed point are in 'float32'"):
        derive.mcu.quantize(cell, params, dtype="float32")


def test_the_command_line_writes_int8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = derive.cells.rnn()
    np.savez(tmp_path / "w.npz", **derive.compile(cell, "numpy").init(I=3, H=4, seed=0))
    command = ["export", "rnn", "--format", "mcu", "--weights", str(tmp_path / "w.npz")]
    command += ["--dtype", "int8", "-o", str(tmp_path / "device")]
    assert status(command) == 0
    header = (tmp_path / "device" / "rnn.h").read_text()
    assert re.search(r"int8_t W\[RNN_H\]\[RNN_I\];", header) and "float h[RNN_H];" in header
    assert status([*command, "--activations", "q15", "--range", "x=2"]) == 0
    header = (tmp_path / "device" / "rnn.h").read_text()
    assert "int8_t W[RNN_H][RNN_I];" in header and "int16_t h[RNN_H];" in header
    capsys.readouterr()
    assert status(["export", "rnn", "--activations", "q15"]) == 2
    assert "--activations says nothing of --format onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--activations q15", "--dtype int8, or --dtype q15"),
        ("--dtype int8 --data x.npz", "--activations q15"),
        ("--range x=2", "--dtype q15"),
        (
            "--dtype q15",
            "--data FILE.npz with inputs as the device will see them, or --range x=4.0",
        ),
        ("--dtype q15 --range x=0", "--range x=4.0, or --range x=-1..3"),
        ("--dtype q15 --data x.npy", "numpy.savez('x.npz', x=x)"),
        ("--dtype int8 --I 4", "--I 3"),
        ("--dtype int8 -o w.npz/device", "another folder: -o device2"),
    ],
)
def test_a_hint_of_the_command_line_is_typed_there(
    words: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("w.npz", **derive.compile(derive.cells.rnn(), "numpy").init(I=3, H=4, seed=0))
    np.savez("x.npz", x=np.ones((3, 1, 3)))
    np.save("x.npy", np.ones((3, 1, 3)))
    command = ["export", "rnn", "--format", "mcu", "--weights", "w.npz", *words.split()]
    assert status(command) == 2
    assert f"hint: {hint}\n" in (said := capsys.readouterr().err), said
    assert not Path("rnn_mcu").exists()


def test_a_dimension_that_no_parameter_tells_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "cell free\ninput x: I\nstate h: I\nparam a: 1\nh' = a * h + x\noutput h'\n"
    with pytest.raises(ArgumentError, match=r'hint: sizes=\{"I": 16\}'):
        derive.mcu.export(derive.Cell.parse(text), "device", {"a": 0.5})
    Path("free.cell").write_text(text)
    np.savez("w.npz", a=0.5)
    command = ["export", "free.cell", "--format", "mcu", "--weights", "w.npz"]
    assert status(command) == 2
    assert "hint: --I 16\n" in capsys.readouterr().err
    assert status([*command, "--I", "16"]) == 0
