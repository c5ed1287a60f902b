"""Weights of PyTorch: values and gradients in float64, every option of torch.nn.RNN, LSTM, GRU."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import derive
from derive import cells, weights

torch = pytest.importorskip("torch")

T, B, I, H, P = 5, 3, 3, 4, 2  # noqa: E741
RANDOM = np.random.default_rng(3)

CASES = [
    (torch.nn.RNN, {}, cells.rnn()),
    (torch.nn.RNN, {"nonlinearity": "relu"}, cells.rnn(activation="relu")),
    (torch.nn.LSTM, {}, cells.lstm()),
    (torch.nn.LSTM, {"proj_size": P}, cells.lstm(projection=True)),
    (torch.nn.GRU, {}, cells.gru()),
    (torch.nn.GRU, {}, cells.gru(keeps="candidate")),
]
IDS = [f"{cell.name}" for _, _, cell in CASES]


def kernel_of(cell):
    return derive.compile(cell, target="numpy", dtype="float64")


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("module", "options", "cell"), CASES, ids=IDS)
def test_two_layers_in_both_directions_as_pytorch_runs_them(module, options, cell, bias):
    net = module(I, H, num_layers=2, bidirectional=True, bias=bias, **options).double()
    x = torch.tensor(RANDOM.normal(size=(T, B, I)), requires_grad=True)
    wanted, _ = net(x)
    found = x.detach().numpy()
    for layer in (0, 1):
        found = np.concatenate(
            [
                kernel_of(cell)
                .forward(
                    weights.load(cell, "pytorch", net.state_dict(), layer=layer, reverse=reverse),
                    found,
                    reverse=reverse,
                )
                .output
                for reverse in (False, True)
            ],
            axis=-1,
        )
    close(found, wanted.detach())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("module", "options", "cell"), CASES, ids=IDS)
def test_gradients_are_those_of_pytorch(module, options, cell, bias):
    net = module(I, H, bias=bias, **options).double()
    x = torch.tensor(RANDOM.normal(size=(T, B, I)), requires_grad=True)
    wanted, last = net(x)
    d_y = RANDOM.normal(size=wanted.shape)
    d_h = RANDOM.normal(size=wanted.shape[1:])
    state = last[0] if isinstance(last, tuple) else last
    ((wanted * torch.tensor(d_y)).sum() + (state[0] * torch.tensor(d_h)).sum()).backward()

    # Parameters that need gradients, as they come: named_parameters, not state_dict.
    kernel = kernel_of(cell)
    run = kernel.forward(weights.load(cell, "pytorch", dict(net.named_parameters())), x.detach())
    grads = kernel.backward(run, d_y, {"h": d_h})
    close(run.output, wanted.detach())
    close(grads.inputs["x"], x.grad)

    # Gradients of W and U only move and change signs, so `save` brings them over.
    signs = dict(grads.params)
    zero = {name: np.zeros_like(a) for name, a in signs.items() if name.startswith("b")}
    arrays = weights.save(cell, "pytorch", signs | zero, bias=False)
    for name, array in arrays.items():
        close(array, getattr(net, name).grad)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("module", "options", "cell"), CASES, ids=IDS)
def test_saved_parameters_run_in_pytorch(module, options, cell, bias):
    lengths = {"P": P} if "W_p" in cell.params else {}
    kernel = kernel_of(cell)
    params = kernel.init(I=I, H=H, **lengths, seed=5)
    if not bias:
        params = {n: 0 * a if n.startswith("b") else a for n, a in params.items()}
    net = module(I, H, bias=bias, **options).double()
    arrays = weights.save(cell, "pytorch", params, bias=bias)
    net.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    x = RANDOM.normal(size=(T, B, I))
    close(kernel.forward(params, x).output, net(torch.tensor(x))[0].detach())


@pytest.mark.parametrize(
    ("module", "cell"),
    [(torch.nn.RNNCell, cells.rnn()), (torch.nn.LSTMCell, cells.lstm()),
     (torch.nn.GRUCell, cells.gru())],
    ids=["rnn", "lstm", "gru"],
)  # fmt: skip
def test_cells_of_pytorch_have_no_layer_in_their_names(module, cell):
    net = module(I, H).double()
    params = weights.load(cell, "pytorch", net.state_dict(), layer=None)
    x = RANDOM.normal(size=(B, I))
    found, _ = kernel_of(cell).step(params, x)
    wanted = net(torch.tensor(x))
    close(found, (wanted[0] if isinstance(wanted, tuple) else wanted).detach())
    with pytest.raises(derive.DeriveError, match="layer=None"):
        weights.load(cell, "pytorch", net.state_dict(), layer=1)
    back = weights.save(cell, "pytorch", params, layer=None)
    assert list(back) == list(net.state_dict())


def test_a_layer_inside_a_model_is_found_or_named():
    model = torch.nn.ModuleDict({"encoder": torch.nn.GRU(I, H), "head": torch.nn.Linear(H, 1)})
    cell = cells.gru()
    found = weights.load(cell, "pytorch", model.state_dict())
    same = weights.load(cell, "pytorch", model.state_dict(), prefix="encoder.")
    assert all(np.array_equal(found[name], same[name]) for name in found)
    model["decoder"] = torch.nn.GRU(I, H)
    with pytest.raises(derive.DeriveError, match=r"prefix='decoder\.'"):
        weights.load(cell, "pytorch", model.state_dict())


def test_a_wrong_cell_is_told_which_one_fits():
    for (module, options, _), other in itertools.product(CASES, (cells.rnn(), cells.gru())):
        net = module(I, H, **options)
        if (module is torch.nn.RNN) == (other.name == "rnn") or module is torch.nn.GRU:
            continue
        with pytest.raises(derive.DeriveError, match=r"hint: derive\.cells\."):
            weights.load(other, "pytorch", net.state_dict())
