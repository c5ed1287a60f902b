"""`derive export CELL --format mcu`: all files or none, from weights of any system."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from boards import WARNINGS

import derive
from derive import mcu
from derive.cli.main import status
from derive.errors import ArgumentError, ArgumentTypeError

#: Once inputs, two inputs, a cut matrix, heads, a learned start, one parameter among others.
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


def params_of(cell: derive.Cell, **sizes: int) -> dict[str, np.ndarray]:
    return derive.compile(cell, "numpy").init(**sizes, seed=2)


def ran(folder: Path, name: str, *options: str) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    command = ("gcc", "-std=c99", *WARNINGS, *options, f"{name}.c", "main.c", "-o", "run")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run(("./run",), cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    return said.stdout


def test_the_exported_program_runs_and_agrees_with_derive(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **params_of(derive.cells.lstm(), I=3, H=5))
    out = tmp_path / "deep" / "dev"
    command = ["export", "lstm", "--format", "mcu", "--weights", str(tmp_path / "w.npz")]
    assert status([*command, "--I", "3", "--H=5", "--steps", "4", "-o", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["derive_mcu.h", "lstm.c", "lstm.h", "lstm_params.h", "main.c"]
    )
    lines = ran(out, "lstm").splitlines()
    assert len(lines) == 5 and lines[-1] == "0 numbers differ"
    text = (out / "main.c").read_text()
    (out / "main.c").write_text(text.replace("state, 0, sizeof state", "state, 63, sizeof state"))
    with pytest.raises(AssertionError, match="numbers differ"):
        ran(out, "lstm")


def test_cells_of_any_form_are_exported(tmp_path: Path) -> None:
    cell = derive.Cell.parse(STRANGE)
    params = {
        name: np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        for name, shape in {"K": (3, 5), "R": (2, 3), "b_start": (3,), "b_more": (3,)}.items()
    }
    mcu.export(cell, tmp_path, params)
    assert ran(tmp_path, "strange").endswith("0 numbers differ\n")


def test_what_is_prepared_and_outputs_that_are_not_finite_are_exported(tmp_path: Path) -> None:
    text = (
        "cell ready\ninput prepared: I\nstate h: H\nparam W: H x I, U: H x 2, V: 2 x H, b: H\n"
        "h' = tanh(exp(W) @ prepared + U @ (V @ h) + mean(b))\n"
        "q = log(h)\noutput h', q"
    )
    cell = derive.Cell.parse(text)
    folder = tmp_path / "ready"
    mcu.export(cell, folder, params_of(cell, I=3, H=4))
    lines = ran(folder, "ready").splitlines()
    assert lines[-1] == "0 numbers differ" and "inf" in lines[1]
    main = (folder / "main.c").read_text()
    assert "ready_prepare(&ready_weights, &prepared);" in main
    header = (folder / "ready.h").read_text()
    assert "const ready_prepared *prepared_2" in header
    wrong = main.replace("3.4028235e+38f", "0.0f").replace("3.4028234e+38f", "0.0f")
    (folder / "main.c").write_text(wrong)
    with pytest.raises(AssertionError, match="numbers differ"):
        ran(folder, "ready")


def test_a_width_that_no_parameter_tells_is_asked_for(tmp_path: Path) -> None:
    text = "cell soft\ninput x: J\nstate s: J\ns' = s + a * x\nparam a: 1\noutput s'"
    cell = derive.Cell.parse(text)
    with pytest.raises(ArgumentError, match="no parameter of soft tells J"):
        mcu.export(cell, tmp_path, {"a": 0.5})
    mcu.export(cell, tmp_path, {"a": 0.5}, sizes={"J": 7})
    assert ran(tmp_path, "soft").splitlines()[0].count(" ") == 7


def test_weights_of_other_systems_are_found_by_their_names(tmp_path: Path) -> None:
    cell = derive.cells.lstm()
    params = params_of(cell, I=3, H=4)
    for system in ("pytorch", "keras", "flax", "tensorflow"):
        arrays = derive.weights.save(cell, system, params, prefix="")
        if system == "tensorflow":
            arrays = {f"rnn/lstm_cell/{name}": array for name, array in arrays.items()}
        np.savez(tmp_path / f"{system}.npz", **arrays)
        files = mcu.export(cell, tmp_path / system, tmp_path / f"{system}.npz")
        assert "lstm_params.h" in files
    own = {(tmp_path / s / "lstm_params.h").read_text() for s in ("pytorch", "keras", "flax")}
    mcu.export(cell, tmp_path / "plain", params)
    assert own == {(tmp_path / "plain" / "lstm_params.h").read_text()}
    np.savez(tmp_path / "layers.npz", **{f"{name}_l0": a for name, a in params.items()})
    mcu.export(cell, tmp_path / "l0", tmp_path / "layers.npz")
    assert (tmp_path / "l0" / "lstm_params.h").read_text() in own


def test_several_layers_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 3, num_layers=2)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    command = ["export", "lstm", "--format", "mcu", "--weights", str(tmp_path / "m.pt")]
    command += ["-o", str(tmp_path / "dev")]
    assert status(command) == 2 and not (tmp_path / "dev").exists()
    said = capsys.readouterr().err
    assert "holds 2 layers that fit lstm" in said and "--from pytorch --layer" in said
    assert status([*command, "--from", "pytorch", "--layer", "1"]) == 0
    assert status([*command, "--layer", "1"]) == 0


REFUSED = [
    (["--H", "6"], "the parameters are for H = 4, and 6 was given"),
    (["--Q", "6"], "gru has no width 'Q'"),
    (["--H", "x"], "'H=x' is no width"),
    (["--lenghts"], "No such option"),
    (["--lenghts", "x"], "No such option"),
    (["--layers", "2"], "--layers says nothing of --format mcu"),
    (["--steps", "0"], "0 is not in the range"),
    (["--dtype", "float64"], "float32"),
    (["--from", "keras"], "keras"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda part: " ".join(part)[:12])
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "w.npz", **params_of(derive.cells.gru(), I=3, H=4))
    out = tmp_path / "dev"
    command = ["export", "gru", "--format", "mcu", "--weights", str(tmp_path / "w.npz")]
    assert status([*command, "-o", str(out), *words]) == 2
    assert message.lower() in capsys.readouterr().err.lower()
    assert not out.exists()


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    with pytest.raises(ArgumentError, match="has no parameters of gru that are known"):
        mcu.export(derive.cells.gru(), tmp_path / "dev", tmp_path / "w.npz")
    with pytest.raises(ArgumentError, match="a source is named for parameters"):
        mcu.export(derive.cells.gru(), tmp_path / "dev", params_of(derive.cells.gru(), I=1, H=1),
                   source="keras")  # fmt: skip
    with pytest.raises(ArgumentTypeError, match="cell must be"):
        mcu.export("gru", tmp_path / "dev", {})  # type: ignore[arg-type]
    assert status(["export", "gru", "--format", "mcu"]) == 2
    assert status(["export", "gru", "--prefix", "a", "--H", "3", "--I", "2"]) == 2
    large = derive.Cell.parse("cell wide\nstate h: H\nh' = h + a\nparam a: 1\noutput h'")
    with pytest.raises(ArgumentError, match="H = 40000 is too large"):
        mcu.export(large, tmp_path / "dev", {"a": 1.0}, sizes={"H": 40000})
    assert not (tmp_path / "dev").exists()


def test_nothing_is_written_where_one_file_cannot_be(tmp_path: Path) -> None:
    out = tmp_path / "dev"
    (out / "gru.c").mkdir(parents=True)
    with pytest.raises(ArgumentError, match="cannot be written"):
        mcu.export(derive.cells.gru(), out, params_of(derive.cells.gru(), I=2, H=2))
    assert [p.name for p in out.iterdir()] == ["gru.c"]


def test_a_cell_called_main_is_refused(tmp_path: Path) -> None:
    cell = derive.Cell.parse("cell main\nstate h: H\nh' = h * a\noutput h'")
    with pytest.raises(ArgumentError, match="would share a file"):
        mcu.export(cell, tmp_path / "dev", {"a": np.ones(2)})
