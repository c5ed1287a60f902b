"""Training with NumPy alone: gradients against differences, optimisers against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import derive
from derive import train
from derive.errors import ArgumentError, DeriveError
from derive.train.model import metrics

RANDOM = np.random.default_rng


def model(**options: Any) -> train.Model:
    given: dict[str, Any] = {"outputs": 4, "dtype": "float64", "target": "numpy", "I": 3, "H": 5}
    return train.Model(**{"cell": derive.cells.gru(), **given, **options})


def batches() -> dict[str, tuple[dict[str, Any], train.Batch]]:
    random = RANDOM(0)
    x, symbols = random.normal(size=(6, 3, 3)), random.integers(7, size=(6, 3))
    classes, one = random.integers(4, size=(6, 3)), random.integers(4, size=3)
    numbers, weights = random.normal(size=(6, 3, 4)), random.random((6, 3))
    lengths = np.array([6, 2, 4])
    resets = random.random((6, 3)) < 0.3
    return {
        "classes": ({}, train.Batch(x, classes)),
        "numbers": ({}, train.Batch(x, numbers)),
        "the last class": ({}, train.Batch(x, one, lengths=lengths)),
        "the last numbers": ({}, train.Batch(x, numbers[0], random.random(3))),
        "symbols": ({"symbols": 7}, train.Batch(symbols, classes, weights, lengths)),
        "lifted": ({"lift": 2}, train.Batch(x[..., :2], classes)),
        "resets": ({"symbols": 7}, train.Batch(symbols, classes, resets=resets)),
        "layers": ({"layers": 2, "bidirectional": True}, train.Batch(x, classes, weights)),
        "an output with axes": ({"cell": AXES, "H": 2}, train.Batch(x, classes, lengths=lengths)),
        "axes, dropout of nothing, the last one": (
            {"cell": AXES, "H": 2, "bidirectional": True}, train.Batch(x, one)
        ),
        "an input with axes, symbols": (
            {"cell": GRID, "symbols": 7, "H": 2}, train.Batch(symbols, classes, weights)
        ),
        "an input with axes, lifted": (
            {"cell": GRID, "lift": 2, "H": 2}, train.Batch(x[..., :2], classes)
        ),
        "a fixed array": (
            {"cell": FIXED, "fixed": {"A_l": random.normal(size=(2, 2))}, "H": 2},
            train.Batch(x, classes),
        ),
    }  # fmt: skip


AXES = derive.Cell.parse(
    "cell heads\ninput x: I\nstate S: 3 x H\nparam W: 3 x H x I\nS' = tanh(W @ x + S)\noutput S'"
)
GRID = derive.Cell.parse(
    "cell grid\ninput x: I x 2\nstate S: H x 2\nparam U: H\nparam w: I\n"
    "S' = tanh(U * S + sum(w * x, I))\noutput S'"
)
FIXED = derive.Cell.parse(
    "cell held\ninput x: I\nstate h: H\nfixed A_l: H x H\nh' = tanh(W @ x + A_l @ h)\noutput h'"
)


@pytest.mark.parametrize("name", batches())
def test_gradients_are_slopes(name: str) -> None:
    options, batch = batches()[name]
    own = model(**options)
    _, gradients = own.gradients(batch)
    assert set(gradients) == set(own.params)
    random = RANDOM(1)
    for parameter, array in own.params.items():
        direction = random.normal(size=array.shape)
        step = 1e-6
        array += step * direction
        above = own.loss(batch)
        array -= 2 * step * direction
        below = own.loss(batch)
        array += step * direction
        slope = float(np.vdot(gradients[parameter], direction))
        assert abs((above - below) / (2 * step) - slope) < 1e-7 * max(1, abs(slope)), parameter


def test_the_gradient_with_dropout_is_the_slope_for_the_same_masks() -> None:
    batch = batches()["classes"][1]

    def loss_and_gradients(step: float) -> tuple[float, Any]:
        own = model(dropout=0.5, layers=2, seed=3)
        own.params["U_n_l1"][...] += step
        return own.gradients(batch)

    step = 1e-6
    slope = (loss_and_gradients(step)[0] - loss_and_gradients(-step)[0]) / (2 * step)
    assert abs(slope - loss_and_gradients(0.0)[1]["U_n_l1"].sum()) < 1e-7
    own = model(dropout=0.5)
    assert own.loss(batch) == own.loss(batch)


def test_cross_entropy_is_pytorchs() -> None:
    random = RANDOM(2)
    logits, targets = random.normal(size=(5, 3, 4)), random.integers(4, size=(5, 3))
    weights = random.random((5, 3))
    ours = torch.tensor(logits, requires_grad=True)
    losses = torch.nn.functional.cross_entropy(
        ours.reshape(-1, 4), torch.tensor(targets).reshape(-1), reduction="none"
    )
    wanted = (losses * torch.tensor(weights).reshape(-1)).sum() / weights.sum()
    wanted.backward()
    loss, gradient = train.cross_entropy(logits, targets, weights)
    assert abs(loss - wanted.item()) < 1e-12
    np.testing.assert_allclose(gradient, ours.grad.numpy(), atol=1e-15)


def test_what_does_not_count_may_be_anything() -> None:
    logits = np.array([[1.0, 2.0], [np.nan, np.inf]])
    loss, gradient = train.cross_entropy(logits, np.array([0, 1]), [1, 0])
    assert np.isfinite(loss) and not gradient[1].any()
    loss, gradient = train.squared_error(logits, np.zeros((2, 2)), [1, 0])
    assert loss == 2.5 and not gradient[1].any()
    assert train.cross_entropy(logits, np.array([0, 1]), [0, 0])[0] == 0


OPTIMIZERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "adam": (train.Adam, lambda p: torch.optim.Adam(p, lr=0.01)),
    "adamw": (
        lambda p: train.Adam(p, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
    "sgd": (train.SGD, lambda p: torch.optim.SGD(p, lr=0.01)),
    "momentum": (
        lambda p: train.SGD(p, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_take_pytorchs_steps(name: str) -> None:
    random = RANDOM(3)
    arrays = {"a": random.normal(size=(3, 4)), "b": random.normal(size=5)}
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays.values()]
    mine, other = OPTIMIZERS[name][0](arrays), OPTIMIZERS[name][1](theirs)
    for _ in range(5):
        gradients = {key: random.normal(size=array.shape) for key, array in arrays.items()}
        for tensor, gradient in zip(theirs, gradients.values(), strict=True):
            tensor.grad = torch.tensor(gradient)
        mine.step(gradients, 0.01)
        other.step()
    for array, tensor in zip(arrays.values(), theirs, strict=True):
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-12)


def test_clipping_scales_all_gradients_together() -> None:
    gradients = {"a": np.array([3.0]), "b": np.array([4.0])}
    assert train.clip_by_norm(gradients, 10.0) == 5.0
    assert train.clip_by_norm(gradients, 1.0) == 5.0
    np.testing.assert_allclose([gradients["a"][0], gradients["b"][0]], [0.6, 0.8])
    assert train.clip_by_norm(gradients, np.inf) == 1.0
    gradients["a"][0] = np.inf
    assert train.clip_by_norm(gradients, 1.0) == np.inf and gradients["b"][0] == 0.8


def test_rates_fall_to_zero() -> None:
    assert train.linear(-1, 4) == train.cosine(-1, 4) == 1
    assert [train.linear(k, 4) for k in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]
    assert [round(train.cosine(k, 4), 6) for k in (0, 2, 4, 5)] == [1, 0.5, 0, 0]


def test_metrics_count_what_is_wrong() -> None:
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]]))
    batch = train.Batch(None, np.array([[0, 0]]))
    found = metrics(logits, batch)
    assert found["error"] == 0.5 and abs(found["bits"] - 1.5) < 1e-12
    weighted = metrics(logits, train.Batch(None, np.array([[0, 0]]), [[3, 1]]))
    assert weighted["error"] == 0.25
    unknown = metrics(np.full((1, 2, 3), np.nan), batch)
    assert np.isnan(unknown["error"]) and np.isnan(unknown["bits"])
    numbers = metrics(np.ones((2, 1, 1)), train.Batch(None, np.zeros((2, 1, 1)), lengths=[1]))
    assert numbers == {"squared error": 1.0}


def test_a_model_is_saved_and_loaded(tmp_path: Path) -> None:
    batch = batches()["symbols"][1]
    one, two = model(symbols=7, seed=1), model(symbols=7, seed=2)
    assert one.loss(batch) != two.loss(batch)
    one.save(tmp_path / "model.npz")
    two.load(tmp_path / "model.npz")
    assert one.loss(batch) == two.loss(batch) and one.size == sum(
        a.size for a in two.params.values()
    )
    before = {name: array.copy() for name, array in two.params.items()}
    with pytest.raises(ArgumentError, match="holds another model"):
        model(symbols=8).load(tmp_path / "model.npz")
    other = model(symbols=7, H=6)
    other.save(tmp_path / "other.npz")
    with pytest.raises(ArgumentError, match="holds another model"):
        two.load(tmp_path / "other.npz")
    assert all((array == before[name]).all() for name, array in two.params.items())


def test_a_few_steps_lower_the_loss_and_state_runs_on() -> None:
    random = RANDOM(4)
    text = np.tile(random.permutation(7)[:5, None], (20, 4))
    own = model(symbols=7, outputs=7)
    adam, state, losses = train.Adam(own.params), None, []
    for _ in range(150):
        batch = train.Batch(text[:-1], text[1:])
        loss, gradients, state = own.gradients_and_state(batch, state)
        train.clip_by_norm(gradients, 1.0)
        adam.step(gradients, 2e-2)
        losses.append(loss)
    assert losses[-1] < 0.1 < losses[0]
    outputs, _ = own.predict(train.Batch(text[:-1], text[1:]), state)
    assert metrics(outputs, train.Batch(text[:-1], text[1:]))["error"] == 0


def test_fixed_arrays_are_kept_and_not_trained(tmp_path: Path) -> None:
    batch = batches()["a fixed array"][1]
    one, two = (model(cell=FIXED, fixed={"A_l": np.eye(2) * k}, H=2, seed=k) for k in (1, 2))
    assert "A_l_l0" not in one.params and one.size == 2 * 3 + 2 * 4 + 4
    train.Adam(one.params).step(one.gradients(batch)[1], 0.1)
    assert (one.rnn.params["A_l_l0"] == np.eye(2)).all()
    one.save(tmp_path / "model.npz")
    two.load(tmp_path / "model.npz")
    assert one.loss(batch) == two.loss(batch)


def test_where_all_is_dropped_the_readouts_bias_is_left() -> None:
    own, batch = model(dropout=1.0), batches()["classes"][1]
    loss, gradients = own.gradients(batch)
    assert abs(loss - np.log(4)) < 1e-12
    assert gradients["readout_bias"].any() and not gradients["readout"].any()


ONCE = derive.Cell.parse(
    "cell o\ninput x: I\ninput m: H once\nstate h: H\nh' = tanh(m + W @ x + h)\noutput h'"
)
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "floats as symbols": (
        lambda: model(symbols=7).loss(train.Batch(np.ones((2, 3)), np.zeros((2, 3), int))),
        "integers",
    ),
    "a symbol too many": (
        lambda: model(symbols=7).loss(train.Batch(np.full((2, 3), 7), np.zeros((2, 3), int))),
        "outside of 0 to 6",
    ),
    "vectors of another width": (
        lambda: model(lift=2).loss(train.Batch(np.ones((2, 3, 3)), np.zeros((2, 3), int))),
        "x of this model",
    ),
    "a class too many": (
        lambda: model().loss(train.Batch(np.ones((2, 3, 3)), np.full((2, 3), 4))),
        "outside of 0 to 3",
    ),
    "targets of another shape": (
        lambda: model().loss(train.Batch(np.ones((2, 3, 3)), np.zeros((3, 2), int))),
        "one for each position",
    ),
    "numbers of another shape": (
        lambda: model().loss(train.Batch(np.ones((2, 3, 3)), np.zeros((2, 3, 5)))),
        "shape of the outputs",
    ),
    "negative weights": (
        lambda: train.cross_entropy(np.ones((2, 3)), np.zeros(2, int), [-1, 1]),
        "from 0 on",
    ),
    "no last step": (
        lambda: model().loss(train.Batch(np.ones((2, 3, 3)), np.zeros(3, int), lengths=[0, 1, 2])),
        "no last one",
    ),
    "weights that are no numbers": (
        lambda: train.cross_entropy(np.ones((2, 3)), np.zeros(2, int), [np.nan, 1]),
        "from 0 on",
    ),
    "infinite weights": (
        lambda: train.squared_error(np.ones((2, 3)), np.zeros((2, 3)), [np.inf, 1]), "from 0 on"
    ),
    "symbols that are lifted": (lambda: model(symbols=7, lift=2), "not of both"),
    "no lift": (lambda: model(lift=0), "lift = 0 is too small"),
    "no symbols": (lambda: model(symbols=0), "symbols = 0 is too small"),
    "no outputs": (lambda: model(outputs=-1), "outputs = -1 is negative"),
    "an input given once": (lambda: model(cell=ONCE), "a model feeds none"),
    "no steps": (lambda: train.linear(0, 0), "positive number of steps"),
    "steps that are no number": (lambda: train.cosine(0, np.nan), "positive number of steps"),
    "a bound of nothing": (lambda: train.clip_by_norm({}, 0.0), "bound cannot be 0"),
    "a rate that is no number": (
        lambda: train.Adam({}).step({}, np.nan), "rate cannot be nan"
    ),
    "a negative rate": (lambda: train.SGD({}).step({}, -1.0), "rate cannot be -1"),
    "beta of one": (lambda: train.Adam({}, beta1=1.0), "beta1 cannot be 1"),
    "momentum of one": (lambda: train.SGD({}, momentum=1.0), "momentum cannot be 1"),
    "classes that are text": (
        lambda: model().loss(train.Batch(np.ones((2, 3, 3)), np.full((2, 3), "a"))), "y must hold"
    ),
    "ragged classes": (
        lambda: model().loss(train.Batch(np.ones((2, 3, 3)), [[1], [1, 2]])), "y cannot be read"
    ),
    "ragged symbols": (
        lambda: model(symbols=7).loss(train.Batch([[1], [1, 2]], np.zeros((2, 3), int))),
        "x cannot be read",
    ),
    "complex vectors": (
        lambda: model(lift=2).loss(train.Batch(np.ones((2, 3, 2)) * 1j, np.zeros((2, 3), int))),
        "x must hold real numbers",
    ),
    "complex targets": (
        lambda: train.squared_error(np.ones((2, 3)), 1j * np.ones((2, 3))), "targets must hold"
    ),
    "masked targets": (
        lambda: train.cross_entropy(np.ones((2, 3)), np.ma.array([0, 1], mask=[1, 0])), "masked"
    ),
    "weights that are text": (
        lambda: train.cross_entropy(np.ones((2, 3)), np.zeros(2, int), ["a", "b"]),
        "weights must hold",
    ),
    "a rate in words": (lambda: train.Adam({}).step({}, "fast"), "rate is a number, not str"),
    "steps in words": (lambda: train.linear(1, "many"), "steps is a number, not str"),
    "gradients that are no mapping": (
        lambda: train.SGD({"a": np.ones(2)}).step(None, 0.1), "mapping from names to arrays"
    ),
    "no gradient": (lambda: train.Adam({"a": np.ones(2)}).step({}, 0.1), "no gradient of a"),
    "a gradient of another shape": (
        lambda: train.SGD({"a": np.ones(2)}).step({"a": np.ones(3)}, 0.1), "no gradient of a"
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (0, 0)])
def test_no_step_and_no_row_cost_nothing(shape: tuple[int, int]) -> None:
    for options, x in (
        ({}, np.zeros((*shape, 3))),
        ({"lift": 2}, np.zeros((*shape, 2))),
        ({"symbols": 7}, np.zeros(shape, int)),
    ):
        made = model(**options)
        for y in (np.zeros(shape, int), np.zeros((*shape, 4))):
            loss, gradients = made.gradients(train.Batch(x, y))
            assert loss == 0 and gradients.keys() == made.params.keys()
            assert not any(array.any() for array in gradients.values())


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_told(name: str) -> None:
    call, said = WRONG[name]
    with pytest.raises(DeriveError, match=said):
        call()
