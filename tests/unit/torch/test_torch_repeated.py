"""dt.run, called again: what was found about earlier arguments holds, and no more."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import derive  # noqa: E402
import derive.torch as dt  # noqa: E402
from derive.torch import repeated  # noqa: E402

CELL = derive.cells.lstm()
SIZES = {"I": 3, "H": 4}
X = torch.linspace(-1, 1, 30).view(5, 2, 3)


def params_of(cell: Any = CELL) -> Any:
    torch.manual_seed(0)
    return {name: torch.randn([SIZES[d] for d in axes]) for name, axes in cell.params.items()}


def flat(results: Any) -> Any:
    return torch.cat([value.flatten() for part in results for value in part.values()])


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_seen", {})
    monkeypatch.setattr(repeated, "_names", {})


def test_a_repeated_call_gives_the_same_and_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = {name: torch.nn.Parameter(value) for name, value in params_of().items()}
    state = {"h": torch.ones(2, 4), "c": torch.ones(2, 4)}
    for states in (None, state):
        for options in ({}, {"lengths": [5, 2]}, {"reverse": True}):
            looked = flat(dt.run(CELL, params, X, states, **options))
            monkeypatch.setattr("derive.torch.functional.Arguments", None)
            again = dt.run(CELL, dict(reversed(params.items())), {"x": X}, states, **options)
            monkeypatch.undo()
            assert list(again[0]) == ["h_next"] and list(again[1]) == ["h", "c"]
            assert torch.equal(flat(again), looked)
    gradients = torch.autograd.grad(flat(again).sum(), list(params.values()))
    assert all(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"params": {**params_of(), "b_f": torch.zeros(3)}}, "param b_f has the wrong shape"),
        ({"params": {**params_of(), "b_f": torch.zeros(4).double()}}, "param b_f is float64"),
        ({"params": {**params_of(), "b_f": None}}, "b_f is missing"),
        ({"params": {**params_of(), "z": torch.zeros(4)}}, "has an entry 'z'"),
        ({"params": {**params_of(), "b_f": torch.zeros(4).to_sparse()}}, "param b_f is torch.spa"),
        (
            {"params": {**params_of(), "b_f": torch.zeros(4, device="meta")}},
            "b_f is on meta, and others",
        ),
        ({"inputs": X[..., :2]}, "has the wrong shape"),
        ({"inputs": X.tolist()}, "must be a mapping|must be a Tensor"),
        ({"inputs": {"y": X}}, "has an entry 'y'"),
        ({"states": {"h": torch.zeros(2, 4)[:1], "c": torch.zeros(2, 4)}}, "has the wrong shape"),
        ({"states": torch.zeros(2, 4)}, "states must be a mapping"),
        ({"lengths": [6, 1]}, "lengths has an entry 6"),
        ({"lengths": [1]}, "lengths has the wrong shape"),
        ({"reverse": "no"}, "reverse must be"),
        ({"threads": 0}, "threads = 0"),
        ({"cell": "lstm"}, "cell must be a derive.Cell"),
    ],
)
def test_what_no_longer_fits_after_a_call_that_did_is_an_error(change: Any, says: str) -> None:
    given = {"cell": CELL, "params": params_of(), "inputs": X, **change}
    for _ in range(2):
        dt.run(CELL, params_of(), X)
        with pytest.raises(derive.DeriveError, match=says):
            dt.run(given.pop("cell", CELL), given.pop("params", params_of()),
                   given.pop("inputs", X), given.pop("states", None), **given)  # fmt: skip
        given = {"cell": CELL, "params": params_of(), "inputs": X, **change}


def test_a_tangent_on_another_device_is_an_error() -> None:
    with pytest.raises(derive.DeriveError, match="t_inputs x is on meta, and its primal is on cpu"):
        dt.jvp(CELL, params_of(), X, t_inputs=X.to("meta"))


def test_a_state_that_was_given_once_may_be_left_out_the_next_time() -> None:
    one = {"h": torch.ones(2, 4), "c": torch.ones(2, 4)}
    first = flat(dt.run(CELL, params_of(), X, one))
    zeros = flat(dt.run(CELL, params_of(), X))
    assert torch.equal(flat(dt.run(CELL, params_of(), X, one)), first)
    assert torch.equal(flat(dt.run(CELL, params_of(), X)), zeros)
    part = flat(dt.run(CELL, params_of(), X, {"h": one["h"]}))
    assert torch.equal(flat(dt.run(CELL, params_of(), X, {"h": one["h"]})), part)


def test_another_cell_of_the_same_shapes_is_another_call() -> None:
    names = {"a": "tanh", "b": "sin"}
    found = []
    for name, function in names.items():
        cell = derive.Cell.parse(
            f"cell {name}\ninput x: I\nstate h: H\nh' = {function}(W @ x + U @ h)\noutput h'"
        )
        found += [flat(dt.run(cell, params_of(cell), X)) for _ in range(2)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])
    assert not torch.equal(found[1], found[2])


def test_cells_whose_arrays_are_cut_or_repeated_are_looked_at_each_time() -> None:
    cell = derive.Cell.parse(
        "cell o\ninput x: I, m: H once\nstate h: H = h0\nparam h0: H\n"
        "h' = m * tanh(W @ x + U @ h)\noutput h'"
    )
    given = params_of(cell), {"x": X, "m": torch.ones(2, 4)}
    first = flat(dt.run(cell, *given))
    assert torch.equal(flat(dt.run(cell, *given)), first)
    assert not repeated._seen


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_REMEMBERED", 3)
    for steps in range(1, 9):
        dt.run(CELL, params_of(), X[:1].expand(steps, 2, 3))
    assert len(repeated._seen) <= 3
