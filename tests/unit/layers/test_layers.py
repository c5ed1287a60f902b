"""derive.layers.RNN: layers and directions, streaming, dropout, files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import derive
from derive.layers import checkpoint
from derive.layers.rnn import RNN

T, B, I, H = 5, 3, 4, 3  # noqa: E741
LENGTHS = [5, 2, 3]
EXACT = 1e-13
DERIVED = 1e-12  # two computations of one gradient, sums of a few dozen terms near 1

#: cell, PyTorch's class, its options, the order of its gates
PEERS: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "rnn": (lambda: derive.cells.rnn(), torch.nn.RNN, {}, ""),
    "relu": (
        lambda: derive.cells.rnn(activation="relu"), torch.nn.RNN, {"nonlinearity": "relu"}, "",
    ),
    "lstm": (lambda: derive.cells.lstm(), torch.nn.LSTM, {}, "ifgo"),
    "lstm_projection": (
        lambda: derive.cells.lstm(projection=True), torch.nn.LSTM, {"proj_size": 2}, "ifgo",
    ),
    "gru": (lambda: derive.cells.gru(), torch.nn.GRU, {}, "rzn"),
}  # fmt: skip


def make(cell: Any, **options: Any) -> RNN:
    sizes = {"I": I, "H": H} | ({"P": 2} if "projection" in cell.name else {})
    return RNN(cell, dtype="float64", target="numpy", **options, **sizes)


def take_over(rnn: RNN, peer: Any, gates: str) -> None:
    """Give the peer our parameters; its second bias is zero but in a GRU."""
    ours = rnn.params

    def put(name: str, arrays: list[np.ndarray]) -> None:
        getattr(peer, name).data = torch.from_numpy(np.concatenate(arrays))

    for layer in range(rnn.num_layers):
        for end in ("", "_reverse")[: rnn.directions]:
            place = f"l{layer}{end}"
            keys = [f"_{gate}" for gate in gates] or [""]
            put(f"weight_ih_{place}", [ours[f"W{key}_{place}"] for key in keys])
            put(f"weight_hh_{place}", [ours[f"U{key}_{place}"] for key in keys])
            put(f"bias_ih_{place}", [ours[f"b{key}_{place}"] for key in keys])
            second = [f"b_h{gate}_{place}" for gate in gates]
            if second and second[0] in ours:
                put(f"bias_hh_{place}", [ours[name] for name in second])
            else:
                getattr(peer, f"bias_hh_{place}").data.zero_()
            if f"W_p_{place}" in ours:
                put(f"weight_hr_{place}", [ours[f"W_p_{place}"]])


def torch_gradients(rnn: RNN, peer: Any, gates: str) -> dict[str, np.ndarray]:
    found = {}
    for name in rnn.params:
        short, _, place = name.partition("_l")
        kind, gate = short.split("_")[0], short.split("_")[-1] if "_" in short else ""
        source = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}[kind]
        if short == "W_p":
            found[name] = getattr(peer, f"weight_hr_l{place}").grad.numpy()
            continue
        if short.startswith("b_h"):
            source, gate = "bias_hh", short[-1]
        whole = getattr(peer, f"{source}_l{place}").grad.numpy()
        k = gates.index(gate) if gates else 0
        found[name] = np.split(whole, max(len(gates), 1))[k]
    return found


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, True), (3, False)])
@pytest.mark.parametrize("name", PEERS)
def test_values_and_gradients_are_pytorchs(
    name: str, layers: int, both: bool, ragged: bool
) -> None:
    make_cell, peer_class, options, gates = PEERS[name]
    cell = make_cell()
    rnn = make(cell, num_layers=layers, bidirectional=both)
    peer = peer_class(I, H, layers, bidirectional=both, dtype=torch.float64, **options)
    take_over(rnn, peer, gates)
    random = np.random.default_rng(0)
    places = layers * (2 if both else 1)
    x = random.normal(size=(T, B, I))
    widths = {n: 2 if n == "h" and "projection" in name else H for n in cell.states}
    state = {n: random.normal(size=(places, B, w)) for n, w in widths.items()}

    x_t = torch.from_numpy(x).requires_grad_()
    s_t = {n: torch.from_numpy(a).requires_grad_() for n, a in state.items()}
    fed: Any = x_t
    if ragged:
        fed = torch.nn.utils.rnn.pack_padded_sequence(
            x_t, torch.tensor(LENGTHS), enforce_sorted=False
        )
    out_t, last_t = peer(fed, (s_t["h"], s_t["c"]) if "c" in s_t else s_t["h"])
    if ragged:
        out_t, _ = torch.nn.utils.rnn.pad_packed_sequence(out_t, total_length=T)
    last = dict(zip(("h", "c"), last_t if "c" in s_t else (last_t,), strict=False))

    run = rnn.forward(x, state, LENGTHS if ragged else None)
    assert np.abs(run.output - out_t.detach().numpy()).max() < EXACT
    for n in state:
        assert np.abs(run.states[n] - last[n].detach().numpy()).max() < EXACT

    d = random.normal(size=run.output.shape)
    d_last = {n: random.normal(size=a.shape) for n, a in run.states.items()}
    loss = (out_t * torch.from_numpy(d)).sum()
    for n in d_last:
        loss = loss + (last[n] * torch.from_numpy(d_last[n])).sum()
    loss.backward()
    grads = rnn.backward(run, d, d_last)
    assert np.abs(grads.inputs["x"] - x_t.grad.numpy()).max() < DERIVED
    for n in state:
        assert np.abs(grads.states[n] - s_t[n].grad.numpy()).max() < DERIVED
    wanted = torch_gradients(rnn, peer, gates)
    assert list(grads.params) == list(rnn.params)
    for n, gradient in grads.params.items():
        assert np.abs(gradient - wanted[n]).max() < DERIVED * 10


def test_streaming_steps_are_the_sequence() -> None:
    rnn = make(derive.cells.lstm(), num_layers=2)
    x = np.random.default_rng(1).normal(size=(T, B, I))
    run = rnn.forward(x, training=False)
    outputs = np.stack([rnn.step(x_t) for x_t in x])
    assert np.abs(outputs - run.output).max() < EXACT
    assert rnn.state is not None
    for n, array in rnn.state.items():
        assert np.abs(array - run.states[n]).max() < EXACT
    first = rnn.step(x[0], {n: np.zeros_like(a) for n, a in run.states.items()})
    assert np.abs(first - run.output[0]).max() < EXACT
    rnn.reset_state()
    assert np.abs(rnn.step(x[0]) - run.output[0]).max() < EXACT


def test_a_row_of_a_stream_can_start_again() -> None:
    rnn = make(derive.cells.gru(), num_layers=2)
    x = np.random.default_rng(1).normal(size=(2, B, I))
    fresh = rnn.forward(x[1:]).output[0]
    on = rnn.forward(x).output[1]
    rnn.step(x[0])
    rnn.reset_state([1])
    y = rnn.step(x[1])
    assert np.abs(y[1] - fresh[1]).max() < EXACT
    assert np.abs(y[[0, 2]] - on[[0, 2]]).max() < EXACT


def test_fresh_starts_inside_a_sequence_are_those_of_two() -> None:
    rnn = make(derive.cells.lstm(), num_layers=2, bidirectional=True)
    x = np.random.default_rng(2).normal(size=(6, 2, I))
    resets = np.zeros((6, 2), bool)
    resets[4] = True
    one = rnn.forward(x, resets=resets)
    parts = [rnn.forward(x[:4]), rnn.forward(x[4:])]
    # The layers above read both directions, which stay apart at the same place.
    assert np.abs(one.output - np.concatenate([p.output for p in parts])).max() < EXACT


@pytest.mark.parametrize("past_end", ["zero", "last", "computed"])
def test_gradients_past_the_end_are_derived(past_end: str) -> None:
    rnn = make(derive.cells.gru(), num_layers=2, bidirectional=True, past_end=past_end)
    random = np.random.default_rng(3)
    x = random.normal(size=(T, B, I))
    run = rnn.forward(x, lengths=LENGTHS)
    d = random.normal(size=run.output.shape)
    direction = random.normal(size=x.shape)

    def along(h: float) -> float:
        sides = [rnn.forward(x + s * h * direction, lengths=LENGTHS) for s in (1, -1)]
        return float(((sides[0].output - sides[1].output) * d).sum()) / (2 * h)

    observed = (4 * along(0.5e-3) - along(1e-3)) / 3
    wanted = float((rnn.backward(run, d).inputs["x"] * direction).sum())
    assert abs(observed - wanted) < 1e-8 * max(1.0, abs(wanted))


def test_batch_first_swaps_the_axes() -> None:
    one = make(derive.cells.gru(), batch_first=True)
    other = make(derive.cells.gru())
    x = np.random.default_rng(4).normal(size=(B, T, I))
    resets = np.zeros((B, T), bool)
    resets[0, 2] = True
    a = one.forward(x, lengths=LENGTHS, resets=resets)
    b = other.forward(x.swapaxes(0, 1), lengths=LENGTHS, resets=resets.T)
    assert (a.output == b.output.swapaxes(0, 1)).all()
    d = np.ones_like(a.output)
    d_a = one.backward(a, d).inputs["x"]
    assert (d_a == other.backward(b, d.swapaxes(0, 1)).inputs["x"].swapaxes(0, 1)).all()


def test_dropout_acts_between_layers_in_training_only() -> None:
    rnn = make(derive.cells.gru(), num_layers=2, dropout=0.5)
    whole = make(derive.cells.gru(), num_layers=2)
    whole.set_params(rnn.params)
    x = np.random.default_rng(5).normal(size=(T, B, I))
    assert (rnn.forward(x, training=False).output == whole.forward(x).output).all()
    one, other = rnn.forward(x), rnn.forward(x)
    assert (one.output != other.output).any()
    assert (one.states["h"][0] == whole.forward(x).states["h"][0]).all()
    again = make(derive.cells.gru(), num_layers=2, dropout=0.5)
    assert (again.forward(x).output == one.output).all()
    nothing = make(derive.cells.gru(), num_layers=2, dropout=1.0)
    d = np.ones_like(one.output)
    assert (nothing.backward(nothing.forward(x), d).inputs["x"] == 0).all()
    d_one = rnn.backward(one, d).params
    assert all(np.isfinite(a).all() for a in d_one.values())


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_parameters_come_back_from_a_file(tmp_path: Path, ending: str) -> None:
    rnn = make(derive.cells.lstm(), num_layers=2, bidirectional=True)
    path = tmp_path / f"weights.{ending}"
    rnn.save(path)
    other = make(derive.cells.lstm(), num_layers=2, bidirectional=True, seed=1)
    other.load(path)
    assert all((other.params[n] == a).all() for n, a in rnn.params.items())


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_file_of_another_cell_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"weights.{ending}"
    make(derive.cells.lstm()).save(path)
    for other in (
        derive.cells.lstm(forget_bias=1.0),
        derive.cells.lstm(activation="relu"),
        derive.cells.gru(),
    ):
        with pytest.raises(ValueError, match="parameters of another cell"):
            make(other).load(path)
    with pytest.raises(ValueError, match="lacks the parameter W_i_l1"):
        make(derive.cells.lstm(), num_layers=2).load(path)


def test_the_digest_is_of_the_equations_alone() -> None:
    lines = "input x: I\nstate h: H\nparam W: H x I\nconst a = 0.5\nh' = {}\noutput h'"
    one = derive.Cell.parse("cell one\n" + lines.format("tanh(W @ x + a * h)"))
    same = derive.Cell.parse("cell same\ndoc words\n" + lines.format("tanh(h * a + W @ x)"))
    other = derive.Cell.parse("cell one\n" + lines.format("tanh(W @ x - a * h)"))
    assert checkpoint.digest(one) == checkpoint.digest(same) != checkpoint.digest(other)
    less = lines.replace("0.5", "0.25").format("tanh(W @ x + a * h)")
    assert checkpoint.digest(derive.Cell.parse(f"cell one\n{less}")) != checkpoint.digest(one)


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    rnn = make(derive.cells.gru())
    with pytest.raises(ValueError, match=r"neither \.npz nor \.safetensors"):
        rnn.save(tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"neither \.npz nor \.safetensors"):
        rnn.load(tmp_path / "weights.pt")
    for ending in ("npz", "safetensors"):
        path = tmp_path / f"weights.{ending}"
        with pytest.raises(ValueError, match="cannot be read"):
            rnn.load(path)
        path.write_bytes(b"no such format, and long enough to look like one of a kind")
        with pytest.raises(ValueError, match="cannot be read"):
            rnn.load(path)
    np.savez(tmp_path / "other.npz", W=np.zeros(3))
    with pytest.raises(ValueError, match="digest none"):
        rnn.load(tmp_path / "other.npz")


SHAPE = f"({H}, {I})".encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, b""),
        (SHAPE, b"(10000000000000, 3)"),
        (SHAPE, b"(4, -3)"),
        (b"'<f8'", b"'|O'"),
        (b"'<f8'", b"['"),
        (b"False, ", b"False, (" * 500),
    ],
    ids=["empty", "memory", "negative", "objects", "no Python", "nested"],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, old: bytes | None, new: bytes) -> None:
    """The sums of the archive are right: what is damaged is a part, or there is nothing at all."""
    rnn, path = make(derive.cells.gru()), tmp_path / "weights.npz"
    rnn.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if old is None:
        path.write_bytes(new)
    else:
        part = parts["W_r_l0.npy"]
        end = part.index(b"\n") + 1
        text = part[10:end].replace(old, new)
        assert text != part[10:end]
        parts["W_r_l0.npy"] = part[:8] + len(text).to_bytes(2, "little") + text + part[end:]
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    with pytest.raises(derive.DeriveError, match="cannot be read"):
        rnn.load(path)


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ValueError, match="needs the package safetensors"):
        make(derive.cells.gru()).save(tmp_path / "weights.safetensors")


def test_layers_have_the_widths_that_fit() -> None:
    rnn = make(derive.cells.gru(), num_layers=2, bidirectional=True)
    assert rnn.params["W_r_l0"].shape == (H, I) and rnn.params["W_r_l1"].shape == (H, 2 * H)
    assert rnn.output_size == 2 * H
    same = derive.Cell.parse("cell same\ninput x: H\nstate h: H\nh' = tanh(x + U @ h)\noutput h'")
    assert RNN(same, 2, target="numpy", H=3).output_size == 3
    with pytest.raises(ValueError, match="do not fit on each other"):
        RNN(same, 2, bidirectional=True, target="numpy", H=3)


def test_the_same_seed_gives_the_same_parameters() -> None:
    one, other = make(derive.cells.gru(), seed=7), make(derive.cells.gru(), seed=7)
    assert all((other.params[n] == a).all() for n, a in one.params.items())
    assert any((make(derive.cells.gru()).params[n] != a).any() for n, a in one.params.items())


def test_a_backward_may_be_repeated_and_what_is_left_out_is_zero() -> None:
    rnn = make(derive.cells.lstm(), num_layers=2)
    run = rnn.forward(np.ones((T, B, I)))
    assert all((a == 0).all() for a in rnn.backward(run).params.values())
    d = np.ones_like(run.output)
    one, again = rnn.backward(run, d), rnn.backward(run, d)
    assert all((again.params[n] == a).all() for n, a in one.params.items())
    last = rnn.backward(run, None, {"c": np.ones_like(run.states["c"])})
    assert last.inputs["x"].any()


def test_nothing_runs_on_nothing() -> None:
    rnn = make(derive.cells.gru(), num_layers=2, bidirectional=True)
    for shape in ((0, B, I), (T, 0, I)):
        run = rnn.forward(np.zeros(shape))
        assert run.output.shape == (*shape[:2], 2 * H)
        grads = rnn.backward(run, np.zeros(run.output.shape))
        assert grads.inputs["x"].shape == shape


def test_wrong_use_is_refused() -> None:
    gru = derive.cells.gru()
    rnn = make(gru, num_layers=2)
    x = np.zeros((T, B, I))
    with pytest.raises(TypeError, match=r"must be a derive\.Cell"):
        RNN("gru", I=1, H=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 2 inputs"):
        RNN(derive.Cell.parse("cell c\ninput x, y: I\nstate h\nh' = W @ x + V @ y\noutput h'"))
    with pytest.raises(ValueError, match="the length of H is missing"):
        RNN(gru, I=1)
    with pytest.raises(TypeError, match="has no dimension 'J'"):
        RNN(gru, I=1, H=1, J=1)
    with pytest.raises(ValueError, match="num_layers must be positive"):
        RNN(gru, 0, I=1, H=1)
    with pytest.raises(TypeError, match="bidirectional must be True or False"):
        RNN(gru, 1, 3, I=1, H=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dropout is a probability"):
        RNN(gru, dropout=1.5, I=1, H=1)
    with pytest.raises(TypeError, match="dropout is a number"):
        RNN(gru, dropout="half", I=1, H=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"it is \[T, B, 4\], given \[3, 4\]"):
        rnn.forward(x[0])
    with pytest.raises(ValueError, match="has the one input x"):
        rnn.forward({"y": x})
    with pytest.raises(ValueError, match="state h has the wrong shape"):
        rnn.forward(x, np.zeros((1, B, H)))
    with pytest.raises(ValueError, match="has no state 'c'"):
        rnn.forward(x, {"c": np.zeros((2, B, H))})
    with pytest.raises(ValueError, match="must be a mapping"):
        make(derive.cells.lstm()).forward(x, np.zeros((1, B, H)))
    with pytest.raises(ValueError, match="has no parameter 'W_q_l0'"):
        rnn.set_params({"W_q_l0": np.zeros((H, I))})
    with pytest.raises(ValueError, match="parameter W_r_l0 has the wrong shape"):
        rnn.set_params({"W_r_l0": np.zeros((I, H))})
    run = rnn.forward(x)
    with pytest.raises(ValueError, match="d_output has the wrong shape"):
        rnn.backward(run, np.zeros(3))
    with pytest.raises(TypeError, match="run must be what forward"):
        make(gru).backward(run)
    with pytest.raises(ValueError, match="training=False"):
        rnn.backward(rnn.forward(x, training=False))
    with pytest.raises(ValueError, match="needs the whole sequence"):
        make(gru, bidirectional=True).step(x[0])
