"""Rows of unlike lengths: calls for the rows that are left give what one call of all rows gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import derive
import derive.torch as dt
from derive.torch import ragged
from derive.torch.running import sequence

ENDS = {
    "sorted": [23, 20, 20, 11, 7, 2, 1],
    "in no order": [2, 23, 7, 20, 1, 11, 20],
    "some of no step": [0, 5, 0, 22, 9, 9, 3],
    "padding for all": [9, 3, 3, 1, 4, 1, 2],
    "of no step at all": [0] * 7,
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ends", ENDS.values(), ids=list(ENDS))
@pytest.mark.parametrize("name", ["lstm", "gru:reset=before"])
def test_spans_give_what_one_call_gives(
    name: str, ends: list[int], reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ragged, "_WORTH", 1)
    torch.manual_seed(0)
    rnn: Any = dt.RNN(derive.cells.from_spec(name), 3, 5, dtype=torch.float64, threads=1)
    x = torch.randn(23, 7, 3, dtype=torch.float64, requires_grad=True)
    states = [torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in rnn._state_names]
    params = list(rnn.parameters())
    lengths = torch.tensor(ends)
    given = rnn._plain_key, rnn._tensors("_l0", x)
    cut = ragged.ragged(*given, [x], states, lengths, reverse)
    whole = sequence(*given, [x], states, lengths, reverse)
    weights = [torch.randn_like(result) for result in whole]
    of_all = [*params, x, *states]

    def gradients(results: list[Any]) -> list[list[Any]]:
        """Of first and second order."""
        total = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
        first = torch.autograd.grad(total, of_all, create_graph=True)
        penalty = sum(g.square().sum() for g in first)
        return [[g.detach() for g in first], list(torch.autograd.grad(penalty, of_all))]

    for got, wanted in zip([cut, *gradients(cut)], [whole, *gradients(whole)], strict=True):
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_time_is_cut_where_rows_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "_WORTH", 100)
    ends = [40, 40, 30, 30, 20, 20, 10, 10]
    assert ragged._spans(ends, 50, 10) == [(0, 20, 8), (20, 30, 4), (30, 40, 2)]
    # Not where all are about as long, nor where little is saved.
    assert ragged._spans([40, 40, 40, 39], 40, 10) == [(0, 40, 4)]
    assert ragged._spans(ends, 50, 1) == [(0, 40, 8)]
    assert ragged._spans([0, 0], 50, 10) == ragged._spans([], 50, 10) == []


def test_rows_are_sorted_where_that_alone_saves_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ragged._rows_behind_ends([5, 3, 3, 1, 0]) == ragged._rows_behind_ends([]) == 0
    assert ragged._rows_behind_ends([1, 5, 3]) == 4
    seen: list[list[int]] = []

    def noted(*call: Any) -> Any:
        seen.append(call[4].tolist())
        return sequence(*call)

    monkeypatch.setattr(ragged, "sequence", noted)
    rnn: Any = dt.RNN(derive.cells.rnn(), 3, 5, dtype=torch.float64, threads=1)
    x = torch.randn(10, 4, 3, dtype=torch.float64)
    found = []
    for worth in (1 << 40, 300):  # nothing pays; sorting does
        monkeypatch.setattr(ragged, "_WORTH", worth)
        found.append(rnn(x, lengths=[7, 9, 6, 10]))
    assert seen == [[7, 9, 6, 10], [10, 9, 7, 6]]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=1e-14)


def test_a_packed_sequence_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def noted(key: str, params: Any, inputs: Any, *rest: Any) -> Any:
        calls.append(tuple(inputs[0].shape[:2]))
        return sequence(key, params, inputs, *rest)

    monkeypatch.setattr(ragged, "sequence", noted)
    rnn: Any = dt.LSTM(64, 128)
    rows = [torch.randn(count, 64) for count in (200, 190, 90, 80, 60, 40, 40, 20)]
    rnn(torch.nn.utils.rnn.pack_sequence(rows))
    assert len(calls) > 1 and sum(steps * rows for steps, rows in calls) < 0.75 * 200 * 8
