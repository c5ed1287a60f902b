"""Whole modules of PyTorch as stacks of layers, and gradients under PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import derive
import derive.torch as dt
from derive import layers, weights

MODULES: dict[str, Any] = {
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64),
    "projection": lambda: nn.LSTM(3, 4, proj_size=2, num_layers=2, dtype=torch.float64),
    "gru": lambda: nn.GRU(3, 4, num_layers=2, batch_first=True, dtype=torch.float64),
    "rnn": lambda: nn.RNN(3, 4, nonlinearity="relu", bias=False, dtype=torch.float64),
    "drop_in": lambda: dt.SimpleRNN(3, 4, dtype=torch.float64),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_becomes_a_stack_and_comes_back(name: str) -> None:
    module = MODULES[name]()
    rnn = layers.RNN.from_torch(module)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    wanted = module(x)[0].detach().numpy()
    np.testing.assert_allclose(rnn.forward(x.numpy()).output, wanted, atol=1e-14)
    back = rnn.to_torch()
    np.testing.assert_allclose(back(x)[0].detach().numpy(), wanted, atol=1e-14)


def test_load_takes_a_whole_module() -> None:
    module = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    cell = derive.cells.lstm()
    found = weights.load(cell, "pytorch", module)
    own = layers.RNN.from_torch(module).params
    assert found.keys() == own.keys()
    assert all(np.array_equal(found[n], own[n]) for n in own)
    step = weights.load(cell, "pytorch", nn.LSTMCell(3, 4))
    assert list(step) == list(cell.params)


def test_what_torch_has_not_is_refused() -> None:
    with pytest.raises(derive.DeriveError, match="has no module for janet"):
        layers.RNN(derive.cells.janet(), I=3, H=4).to_torch()
    with pytest.raises(derive.DeriveError, match="from_torch takes a torch"):
        layers.RNN.from_torch(nn.Linear(3, 4))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_gradients_are_those_that_torch_finds(kind: str) -> None:
    module = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](3, 4, dtype=torch.float64)
    cell = {
        "lstm": derive.cells.lstm(), "gru": derive.cells.gru(), "rnn": derive.cells.rnn()
    }[kind]  # fmt: skip
    params = weights.load(cell, "pytorch", module.state_dict())
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    module(x)[0].sum().backward()
    kernel = derive.compile(cell, "numpy", "float64")
    run = kernel.forward(params, x.numpy())
    grads = kernel.backward(run, np.ones((5, 2, 4)))
    found = weights.save_gradients(cell, "pytorch", grads.params)
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), atol=1e-12)
    assert found["bias_hh_l0"].any()
    values = weights.save(cell, "pytorch", grads.params)
    if kind != "gru":
        assert not values["bias_hh_l0"].any()  # `save` is for values


def test_gradients_under_other_names_follow_signs_and_sums() -> None:
    cell = derive.cells.gru(reset="after", keeps="candidate", biases=2)
    random = np.random.default_rng(0)
    shapes = {n: [{"H": 4, "I": 3}[d] for d in s] for n, s in cell.params.items()}
    grads = {name: random.normal(size=shape) for name, shape in shapes.items()}
    found = weights.save_gradients(cell, "pytorch", grads)
    theirs = {name: random.normal(size=array.shape) for name, array in found.items()}
    base = weights.load(cell, "pytorch", {name: 0 * array for name, array in theirs.items()})
    moved = weights.load(cell, "pytorch", theirs)
    ours = sum(float(np.sum(grads[n] * (moved[n] - base[n]))) for n in grads)
    assert abs(ours - sum(float(np.sum(found[n] * theirs[n])) for n in found)) < 1e-10
    with pytest.raises(derive.DeriveError, match="gradients come by paths"):
        weights.save_gradients(cell, "flax", grads, nested=True)


@pytest.mark.parametrize("system", ["pytorch", "onnx", "flax", "keras", "tensorflow"])
@pytest.mark.parametrize("name", ["lstm", "rnn", "gru"])
def test_gradients_of_arrays_are_the_transpose_of_loading(name: str, system: str) -> None:
    cell = derive.cells.from_spec(name)
    random = np.random.default_rng(0)
    shapes = {n: [{"H": 4, "I": 3}[d] for d in s] for n, s in cell.params.items()}
    grads = {n: random.normal(size=shape) for n, shape in shapes.items()}
    found = weights.save_gradients(cell, system, grads)
    theirs = {n: random.normal(size=np.shape(array)) for n, array in found.items()}
    base = weights.load(cell, system, {n: 0 * array for n, array in theirs.items()})
    moved = weights.load(cell, system, theirs)
    ours = sum(float(np.sum(grads[n] * (moved[n] - base[n]))) for n in grads)
    assert abs(ours - sum(float(np.sum(found[n] * theirs[n])) for n in found)) < 1e-10


@pytest.mark.parametrize("option", [{"layer": 1}, {"reverse": True}, {"prefix": "rnn."}])
def test_a_whole_module_takes_no_option_of_one_layer(option: dict[str, object]) -> None:
    with pytest.raises(derive.DeriveError, match="a module is loaded whole"):
        weights.load(derive.cells.lstm(), "pytorch", nn.LSTM(3, 4), **option)


def test_a_parametrized_module_gives_the_weights_that_it_computes() -> None:
    module = nn.LSTM(3, 4)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    x = torch.randn(5, 2, 3)
    ours = derive.layers.RNN.from_torch(module)
    np.testing.assert_allclose(
        ours.forward(x.numpy()).output, module(x)[0].detach().numpy(), atol=1e-5
    )
    loaded = weights.load(derive.cells.lstm(), "pytorch", module)
    assert all(np.array_equal(loaded[name], array) for name, array in ours.params.items())


def test_a_module_without_values_or_of_another_class_is_refused() -> None:
    with pytest.raises(derive.DeriveError, match="the module is on meta"):
        derive.layers.RNN.from_torch(nn.LSTM(3, 4, device="meta"))
    with pytest.raises(derive.DeriveError, match="the module is on meta"):
        weights.load(derive.cells.lstm(), "pytorch", nn.LSTM(3, 4, device="meta"))
    other = type("LSTM", (), {"mode": "LSTM", "num_layers": 1})()
    with pytest.raises(derive.DeriveError, match=r"from_torch takes a torch\.nn"):
        derive.layers.RNN.from_torch(other)
