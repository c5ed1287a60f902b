"""derive.torch's LSTM, GRU and SimpleRNN against torch.nn's LSTM, GRU and RNN."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import derive
import derive.torch as dt

PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, dt.LSTM, {}),
    "lstm_projection": (nn.LSTM, dt.LSTM, {"proj_size": 3}),
    "gru": (nn.GRU, dt.GRU, {}),
    "rnn": (nn.RNN, dt.SimpleRNN, {}),
    "rnn_relu": (nn.RNN, dt.SimpleRNN, {"nonlinearity": "relu"}),
}
#: num_layers, bias, batch_first, bidirectional, unbatched, state given, dropout.
WAYS = tuple(
    itertools.product(
        (1, 2),
        (True, False),
        (False, True),
        (False, True),
        (False, True),
        (False, True),
        (0.0, 0.4),
    )
)
BOUNDS = {torch.float64: 1e-12, torch.float32: 2e-6}


def both(kind: str, dtype: Any = torch.float64, **options: Any) -> tuple[Any, Any]:
    theirs, ours, own = PAIRS[kind]
    made = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        made.append(module(4, 5, dtype=dtype, **own, **options))
    return made[0], made[1]


def flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for part in value for t in flat(part)]


def compared(theirs: Any, ours: Any, *given: Tensor | None, weights: int = 0) -> float:
    """The largest difference of results and of all gradients in one random weighting, relative
    to the largest element of each tensor where that is above 1."""
    found = []
    for module in (theirs, ours):
        module.zero_grad()
        own = [None if g is None else g.clone().requires_grad_() for g in given]
        x, *state = own
        hx = None if not state or state[0] is None else tuple(state) if len(state) > 1 else state[0]
        torch.manual_seed(2)
        results = flat(module(x, hx))
        torch.manual_seed(3)
        sum((value * torch.randn_like(value)).sum() for value in results).backward()
        grads = [p.grad for p in module.parameters()] + [v.grad for v in own if v is not None]
        found.append([*results, *grads])
    pairs = list(zip(*found, strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return max(
        float((a - b).detach().abs().max() / a.detach().abs().max().clamp(min=1)) for a, b in pairs
    )


def check_way(kind: str, dtype: Any, way: tuple[Any, ...]) -> None:
    layers, bias, batch_first, bidirectional, unbatched, with_state, dropout = way
    theirs, ours = both(
        kind, dtype, num_layers=layers, bias=bias, batch_first=batch_first,
        bidirectional=bidirectional, dropout=dropout if layers > 1 else 0.0,
    )  # fmt: skip
    one, other = theirs.state_dict(), ours.state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))
    ours.load_state_dict(one, strict=True)
    theirs.load_state_dict(other, strict=True)
    x = torch.randn(*((6, 4) if unbatched else (2, 6, 4)), dtype=dtype)
    rows = () if unbatched else ((2,) if batch_first else (6,))
    places = layers * (2 if bidirectional else 1)
    widths = {"lstm": (5, 5), "lstm_projection": (3, 5)}.get(kind, (5,))
    states = [torch.randn(places, *rows, width, dtype=dtype) for width in widths]
    worst = compared(theirs, ours, x, *(states if with_state else [None]))
    assert worst <= BOUNDS[dtype], (kind, way)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_sample_of_all_options_gives_torchs_results_and_gradients(kind: str) -> None:
    chosen = random.Random(kind).sample(WAYS, 6)
    for number, way in enumerate(chosen):
        check_way(kind, (torch.float64, torch.float32)[number % 2], way)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("kind", PAIRS)
def test_all_options_give_torchs_results_and_gradients(kind: str, dtype: Any) -> None:
    for way in WAYS:
        check_way(kind, dtype, way)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_packed_sequence_gives_torchs_results_and_gradients(kind: str) -> None:
    theirs, ours = both(kind, num_layers=2, bidirectional=True)
    for enforce in (False, True):
        sizes = [5, 3, 1] if enforce else [3, 5, 1]
        rows = [torch.randn(n, 4, dtype=torch.float64) for n in sizes]
        found = []
        for module in (theirs, ours):
            module.zero_grad()
            own = [row.clone().requires_grad_() for row in rows]
            packed = nn.utils.rnn.pack_sequence(own, enforce_sorted=enforce)
            h = [torch.full((4, 3, 5), 0.1 * k, dtype=torch.float64) for k in (1, 2)]
            first = [s * torch.arange(1, 4).view(1, 3, 1) for s in h]
            y, last = module(packed, tuple(first) if kind == "lstm" else first[0])
            assert torch.equal(y.batch_sizes, packed.batch_sizes)
            for name in ("sorted_indices", "unsorted_indices"):
                one, other = getattr(y, name), getattr(packed, name)
                assert (one is None) == (other is None) and (one is None or torch.equal(one, other))
            results = [y.data, *flat(last)]
            sum((r**2).sum() for r in results).backward()
            grads = [p.grad for p in module.parameters()] + [row.grad for row in own]
            found.append([*results, *grads])
        for a, b in zip(*found, strict=True):
            assert a.shape == b.shape and (a - b).abs().max() < 1e-12


def test_options_print_and_list_as_torchs() -> None:
    theirs, ours = both("lstm_projection", num_layers=2, bidirectional=True, batch_first=True)
    assert repr(theirs) == repr(ours)
    for one, other in zip(theirs.all_weights, ours.all_weights, strict=True):
        assert [a.shape for a in one] == [b.shape for b in other]
    ours.flatten_parameters()
    assert repr(both("rnn_relu")[1]) == "SimpleRNN(4, 5)"


def test_lengths_are_a_packed_sequence() -> None:
    torch.manual_seed(0)
    rnn = dt.LSTM(4, 5, bidirectional=True, dtype=torch.float64)
    x, lengths = torch.randn(6, 3, 4, dtype=torch.float64), torch.tensor([2, 6, 4])
    x[2:, 0] = torch.nan
    y, state = rnn(x, lengths=lengths)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    y_packed, state_packed = rnn(packed)
    padded, _ = nn.utils.rnn.pad_packed_sequence(y_packed)
    assert torch.equal(y, padded)
    assert all(torch.equal(a, b) for a, b in zip(state, state_packed, strict=True))
    y.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in rnn.parameters())


# --- PyTorch's own database of module tests -------------------------------------------------

#: Entries that speak of what is out of scope here, by what they test.
OUT_OF_SCOPE = {
    "cuda": "derive.torch runs on the CPU",
    "errors": "messages and classes of errors are this project's own",
}


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_the_entries_of_torchs_module_database_agree(name: str) -> None:
    common = pytest.importorskip("torch.testing._internal.common_modules")
    theirs = getattr(nn, name)
    ours = {"LSTM": dt.LSTM, "GRU": dt.GRU, "RNN": dt.SimpleRNN}[name]
    info = next(i for i in common.module_db if i.module_cls is theirs)
    count = 0
    for dtype, training, requires_grad in itertools.product(
        (torch.float64, torch.float32), (True, False), (True, False)
    ):
        entries = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=training
        )
        for entry in entries:
            made, given = entry.constructor_input, entry.forward_input
            found = []
            for module in (theirs, ours):
                torch.manual_seed(0)
                own = module(*made.args, **made.kwargs).to(dtype).train(training)
                args = [_copied(a) for a in given.args]
                torch.manual_seed(1)
                results = flat(own(*args, **given.kwargs))
                sum((r**2).sum() for r in results).backward()
                grads = [p.grad for p in own.parameters()]
                grads += [a.grad for a in flat(args) if a.requires_grad]
                found.append([*results, *grads])
            for a, b in zip(*found, strict=True):
                assert a.shape == b.shape
                assert (a - b).abs().max() <= 10 * BOUNDS[dtype], entry.desc
            count += 1
    assert count >= 24


def _copied(value: Any) -> Any:
    if isinstance(value, nn.utils.rnn.PackedSequence):
        return value
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return tuple(map(_copied, value)) if isinstance(value, tuple) else value


# --- errors ---------------------------------------------------------------------------------


def test_wrong_options_are_errors() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"num_layers": 0}, "num_layers must be positive"),
        ({"hidden_size": 0}, "hidden_size must be positive"),
        ({"dropout": 2.0}, "dropout is a probability"),
        ({"dropout": "much"}, "dropout is a number"),
        ({"proj_size": 9}, "proj_size is smaller than hidden_size"),
    ]
    for options, message in wrong:
        with pytest.raises(derive.DeriveError, match=message):
            dt.LSTM(**{"input_size": 3, "hidden_size": 4, **options})
    with pytest.raises(derive.DeriveError, match="nonlinearity is 'tanh' or 'relu'"):
        dt.SimpleRNN(3, 4, nonlinearity="tan")


ONE = torch.zeros(5, 2, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((ONE[..., :2],), "x has 2 features, and this LSTM takes input_size=3"),
        ((ONE[0, 0],), "x has the wrong shape"),
        (([1.0],), "x must be a Tensor, not list"),
        ((ONE.long(),), "x has dtype torch.int64"),
        ((ONE.to_sparse(),), "x is torch.sparse_coo"),
        ((ONE.double(),), "x is float64, and the parameters are float32"),
        ((ONE, ONE), r"state must be a tuple \(h, c\), not Tensor"),
        ((ONE, (ONE,)), r"state must be a tuple \(h, c\), and 1 were given"),
        ((ONE, (ONE, ONE)), "state h has the wrong shape"),
        ((ONE, (ONE.new_zeros(1, 2, 4).double(),) * 2), "state h is float64, and x is float32"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_runs(given: Any, message: str) -> None:
    rnn = dt.LSTM(3, 4)
    with pytest.raises(derive.DeriveError, match=message):
        rnn(*given)
    with pytest.raises(derive.DeriveError, match="state must be a Tensor, not tuple"):
        dt.GRU(3, 4)(ONE, (1, 2))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5, 6], "lengths has an entry 6"),
        ([5, -1], "lengths has an entry -1"),
        ([5], "lengths has the wrong shape"),
        ([5.0, 1.0], "lengths must be integers"),
        ("ab", "lengths must be integers"),
    ],
)
def test_wrong_lengths_are_errors(lengths: Any, message: str) -> None:
    with pytest.raises(derive.DeriveError, match=message):
        dt.LSTM(3, 4)(ONE, lengths=lengths)


def test_a_tensor_elsewhere_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from derive.torch import checks

    class Elsewhere(Tensor):
        device = torch.device("cuda:0")  # type: ignore[assignment]

    x = ONE.as_subclass(Elsewhere)
    with pytest.raises(derive.DeriveError) as found:
        checks.tensor_of(x, "x")
    assert str(found.value) == (
        "derive.torch runs on the CPU, and x is on cuda:0\n  hint: x.cpu(), rnn.cpu()"
    )


def test_a_packed_sequence_tells_its_own_lengths() -> None:
    packed = nn.utils.rnn.pack_sequence([ONE[:, 0], ONE[:3, 1]])
    with pytest.raises(derive.DeriveError, match="lengths and a PackedSequence were both given"):
        dt.LSTM(3, 4)(packed, lengths=[1, 2])
    with pytest.raises(derive.DeriveError, match="return_states is for tensors"):
        dt.RNN(derive.cells.rnn(), 3, 4)(packed, return_states=True)
