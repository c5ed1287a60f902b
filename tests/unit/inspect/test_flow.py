"""Jacobians of one step: their blocks in symbols, their norms in numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from entries import OF_VECTORS, sampled

import derive
from derive.cli import main
from derive.errors import ArgumentError, ArgumentTypeError
from derive.inspect import gradient_flow
from derive.program import interpret

cells = derive.cells
SIZES = {"I": 3, "H": 4, "P": 2, "R": 2}
HEAD = "cell a\ninput x: I\nstate h: H\n"


def blocks(cell: derive.Cell) -> dict[str, gradient_flow.Block]:
    return {block.name: block for block in gradient_flow.jacobian(cell)}


def test_the_cell_state_of_lstm_is_carried_by_the_forget_gate_alone() -> None:
    found = blocks(cells.lstm())
    assert list(found) == ["h_D_h", "h_D_c", "c_D_h", "c_D_c"]
    assert found["c_D_c"].text() == "c_D_c = diag(f)"
    assert found["c_D_h"].terms == (
        "diag(c * f * (1 - f)) @ U_f",
        "diag(i * (1 - g**2)) @ U_g",
        "diag(g * i * (1 - i)) @ U_i",
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("h' = h", "identity"),
        ("h' = f * h", "diagonal"),
        ("h' = W @ x", "zero"),
        ("h' = tanh(U @ h)", "dense"),
        ("h' = tanh(h) + U.T @ h", "dense"),
        ("param V: H x R, Q: R x H\nh' = V @ (Q @ h)", "low rank"),
        ("param V: H x R, Q: R x H\nh' = f * h + V @ (Q @ h)", "diagonal plus low rank"),
        ("h' = h - mean(h)", "diagonal plus low rank"),
    ],
)
def test_the_kind_of_a_block(text: str, kind: str) -> None:
    cell = derive.Cell.parse(HEAD + text + "\noutput h'")
    assert blocks(cell)["h_D_h"].kind == kind


#: A running maximum, one side of which is a zero block at any point.
RUNNING = ("rwkv4",)


@pytest.mark.parametrize("name", sampled(name for name in OF_VECTORS if name not in RUNNING))
def test_the_kinds_of_a_catalogue_cell_are_those_of_its_jacobian(name: str) -> None:
    """By complex steps of the interpreter, which knows nothing of chains and kinds."""
    cell = cells.from_spec(name)
    sizes = {**SIZES, **{width: 5 for (width,) in cell.states.values() if isinstance(width, str)}}
    sizes |= {"P": 5} if "P" in cell.step.program.dims() else {}
    random = np.random.default_rng(3)
    step = cell.step

    def drawn(shape: tuple[int | str, ...], *rows: int) -> np.ndarray:
        lengths = [sizes.get(d, 2) if isinstance(d, str) else d for d in shape]
        return random.uniform(0.2, 0.9, (*rows, *lengths)).astype(complex)

    given = {key: drawn(shape) for key, shape in cell.params.items()}
    given |= {
        key: drawn(shape, 1) for group in (cell.inputs, cell.states) for key, shape in group.items()
    }
    known = {d: sizes.get(d, 2) for d in step.program.dims()}
    kinds = {key: block.kind for key, block in blocks(cell).items()}
    for argument in cell.states:
        columns = []
        for k in range(given[argument].shape[1]):
            moved = given[argument].copy()
            moved[0, k] += 1e-30j
            found = interpret(step.program, {**given, argument: moved}, rows=1, sizes=known)
            columns.append({n: np.imag(found[n][0]) / 1e-30 for n in step.next_states})
        for result, after in zip(step.states, step.next_states, strict=True):
            matrix = np.stack([column[after] for column in columns], axis=1)
            kind = kinds[f"{result}_D_{argument}"]
            off = (
                np.abs(matrix - np.diag(np.diag(matrix))).max()
                if matrix.shape[0] == matrix.shape[1]
                else 1.0
            )
            assert (kind == "zero") == (not matrix.any())
            assert (kind in ("zero", "identity", "diagonal")) == (off == 0)
            if kind == "identity":
                assert np.array_equal(matrix, np.eye(len(matrix)))
            if kind == "dense":
                assert np.linalg.matrix_rank(matrix) == min(matrix.shape)


def test_a_chain_through_another_state_width_is_not_of_low_rank() -> None:
    assert blocks(cells.lstm(projection=True))["h_D_h"].kind == "dense"


@pytest.mark.parametrize("name", ["rnn", "lstm_projection", "gru", "janet", "min_lstm"])
def test_the_measured_jacobian_is_that_of_differences(name: str) -> None:
    cell = cells.from_spec(name)
    params, inputs = gradient_flow.draw(cell, SIZES, 3, seed=4)
    kernel = derive.compile(cell, target="numpy", dtype="float64")

    def after(flat: np.ndarray) -> np.ndarray:
        state, at = {}, 0
        for key, (width,) in cell.states.items():
            state[key] = flat[None, at : at + SIZES[width]]
            at += SIZES[width]
        run = kernel.forward(params, {k: v[:, None] for k, v in inputs.items()}, state=state)
        return np.concatenate([run.states[key][0] for key in cell.states])

    units = sum(SIZES[width] for (width,) in cell.states.values())
    step = 1e-6 * np.eye(units)
    jacobian = np.array([(after(row) - after(-row)) / 2e-6 for row in step]).T
    found = gradient_flow.measure(cell, params, inputs)
    assert found.product[-1] == pytest.approx(np.linalg.norm(jacobian, 2), rel=1e-6)
    assert found.step.shape == found.product.shape == (3,)
    assert found.product[0] == found.step[0]


def test_a_forget_bias_and_chrono_initialisation_keep_gradients() -> None:
    norms = []
    for cell in (cells.lstm(), cells.lstm(forget_bias=1)):
        params, inputs = gradient_flow.draw(cell, SIZES, 60)
        norms.append(gradient_flow.measure(cell, params, inputs).product[-1])
    cell = cells.lstm()
    params, inputs = gradient_flow.draw(cell, SIZES, 60)
    kept = gradient_flow.measure(
        cell, gradient_flow.chrono(params, 60, input_="b_i"), inputs
    ).product[-1]
    assert norms[0] < norms[1] / 10 and norms[1] < kept and kept > 0.1


def test_a_single_input_may_be_an_array_and_states_may_be_given() -> None:
    cell = derive.Cell.parse(HEAD + "h' = h * h + W @ x\noutput h'")
    params = {"W": np.zeros((4, 3))}
    found = gradient_flow.measure(cell, params, np.zeros((1, 3)), {"h": np.array([1.0, 2, 0, 0])})
    assert found.product[0] == 4.0 and found.blocks["h_D_h"][0] == 4.0


def test_what_cannot_be_measured_is_refused() -> None:
    cell = cells.rnn()
    params, _ = gradient_flow.draw(cell, SIZES, 2)
    with pytest.raises(ArgumentError, match=r"has shape \[T, width\]"):
        gradient_flow.measure(cell, params, np.zeros(3))
    with pytest.raises(ArgumentError, match="width 5 for I"):
        gradient_flow.measure(cell, params, np.zeros((2, 5)))
    with pytest.raises(ArgumentError, match="has no inputs"):
        gradient_flow.measure(
            derive.Cell.parse("cell a\nstate h: H\nh' = U @ h\noutput h'"), {}, {}
        )
    with pytest.raises(ArgumentError, match="there is no parameter 'b_f'"):
        gradient_flow.chrono(params, 10)
    with pytest.raises(ArgumentTypeError, match="params must be a mapping"):
        gradient_flow.chrono(3, 10)
    lone = derive.Cell.parse(HEAD + "h' = h * 0.5\noutput h'")
    with pytest.raises(ArgumentError, match="nothing tells the width H"):
        gradient_flow.measure(lone, {}, np.zeros((2, 3)))


def test_the_command_prints_blocks_and_norms(capsys) -> None:
    assert main.status(["flow", "lstm", "rnn", "--steps", "12", "--size", "H=6"]) == 0
    out = capsys.readouterr().out
    assert "  diagonal  c_D_c = diag(f)\n" in out and "t = 12" in out
    arguments = ["flow", "lstm", "--steps", "12", "--size", "H=6", "--json"]
    assert main.status(arguments) == 0
    plain = json.loads(capsys.readouterr().out)["cells"][0]
    assert len(plain["product_norms"]) == 12 and plain["jacobian"][3]["kind"] == "diagonal"
    assert main.status([*arguments, "--chrono", "b_f"]) == 0
    same, kept = json.loads(capsys.readouterr().out)["cells"]
    assert same == plain and (kept["name"], kept["cell"]) == ("lstm, chrono", "lstm")
    assert kept["product_norms"][-1] > plain["product_norms"][-1]


def test_a_width_or_a_bias_that_no_cell_has_is_wrong_use(capsys) -> None:
    assert main.status(["flow", "rnn", "--size", "Q=3"]) == 2
    assert "no width is called Q" in capsys.readouterr().err
    assert main.status(["flow", "rnn", "--chrono", "b_f"]) == 2
    assert "no parameter is called 'b_f'" in capsys.readouterr().err
    assert main.status(["flow", "lstm", "--chrono", "b_f", "--steps", "2"]) == 2
    assert "needs 3 steps" in capsys.readouterr().err


def test_a_picture_without_matplotlib_is_refused(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    arguments = ["flow", "rnn", "--steps", "2", "--size", "H=2"]
    assert main.status([*arguments, "--plot", str(tmp_path / "flow.png")]) == 2
    assert "a picture needs matplotlib" in capsys.readouterr().err


def test_a_picture_is_drawn(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "flow.svg"
    assert main.status(["flow", "rnn", "gru", "--steps", "3", "--plot", str(path)]) == 0
    assert "<svg" in path.read_text()
