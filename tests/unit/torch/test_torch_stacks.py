"""derive.torch: layers and directions in one call give the bits of layer after layer."""

import pytest

torch = pytest.importorskip("torch")

import derive  # noqa: E402
import derive.torch as dt  # noqa: E402
from derive.kernel.side_by_side import Way  # noqa: E402
from derive.torch import at_once, module  # noqa: E402

MODULES = {
    "LSTM": lambda **options: dt.LSTM(5, 9, **options),
    "projected": lambda **options: dt.LSTM(5, 9, proj_size=4, **options),
    "GRU": lambda **options: dt.GRU(5, 9, **options),
    "no bias": lambda **options: dt.SimpleRNN(5, 9, bias=False, **options),
    "RNN": lambda **options: dt.RNN(derive.cells.janet(), 5, 9, threads=2, **options),
}


@pytest.fixture(params=[(1, 0), (2, 3)], ids=["one thread", "two threads"])
def calls(request, monkeypatch):
    """How many stacks ran in one call; with two threads also where that is too short."""
    team, steps = request.param
    at_once._plan.cache_clear()
    monkeypatch.setattr(at_once, "way_of", lambda *_: Way(team, True, steps))
    found = []
    run = at_once.at_once
    monkeypatch.setattr(module, "at_once", lambda *args: found.append(1) or run(*args))
    yield found
    at_once._plan.cache_clear()


def assert_same(rnn, *args, **options):
    with torch.no_grad():
        y, state = rnn(*args, **options)
    other, last = rnn(*args, **options)  # with gradients: layer after layer
    assert y.numpy().tobytes() == other.detach().numpy().tobytes()
    for one, two in zip(*(s if isinstance(s, tuple) else (s,) for s in (state, last)), strict=True):
        assert one.shape == two.shape and torch.equal(one, two)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(("layers", "both"), [(3, False), (2, True)])
def test_a_stack_without_gradients_has_the_bits_of_one_with_them(name, layers, both, calls):
    torch.manual_seed(0)
    rnn = MODULES[name](num_layers=layers, bidirectional=both)
    for steps, rows in ((9, 1), (4, 3)):
        assert_same(rnn, torch.randn(steps, rows, 5))
    assert len(calls) == 2


def test_states_batch_first_and_float64_have_the_same_bits(calls):
    rnn = dt.LSTM(5, 9, num_layers=2, batch_first=True, dtype=torch.float64)
    x, state = torch.randn(3, 7, 5).double(), torch.randn(2, 2, 3, 9).double()
    assert_same(rnn, x, tuple(state))
    assert_same(rnn, x[0], tuple(s[:, 0] for s in state))
    half = dt.GRU(5, 9, num_layers=2, dtype=torch.bfloat16)
    with torch.no_grad():
        assert half(torch.randn(7, 3, 5).bfloat16())[0].dtype is torch.bfloat16
    assert len(calls) == 3


def test_lengths_dropout_and_empty_sequences_run_layer_after_layer(calls):
    rnn = dt.LSTM(5, 9, num_layers=2, dropout=0.5)
    with torch.no_grad():
        rnn(torch.randn(7, 3, 5))
        rnn.eval()
        rnn(torch.randn(7, 3, 5), lengths=torch.tensor([7, 2, 0]))
        rnn(torch.randn(0, 3, 5))
    assert not calls


def test_parameters_of_another_shape_are_refused(calls):
    rnn = dt.LSTM(5, 9, num_layers=2)
    rnn.weight_hh_l1 = torch.nn.Parameter(torch.zeros(36, 8))
    with torch.no_grad(), pytest.raises(derive.DeriveError):
        rnn(torch.randn(7, 3, 5))


def test_equal_cells_with_their_parameters_in_another_order_run_as_each_alone(calls):
    text = "cell two_orders\ninput x: I\nstate h: H\nh' = tanh({})\noutput h'\n"
    terms = ("W @ x + U @ h + b", "U @ h + b + W @ x")
    first, second = (derive.Cell.parse(text.format(sum_)) for sum_ in terms)
    assert first == second and list(first.params) != list(second.params)
    for cell in (first, second, first):
        assert_same(dt.RNN(cell, 4, 4, num_layers=2), torch.randn(6, 3, 4))
    assert len(calls) == 3


def test_tracing_is_refused_without_gradients_too():
    for rnn in (dt.LSTM(4, 4), dt.LSTM(4, 4, num_layers=2)):
        with torch.no_grad(), pytest.raises(derive.DeriveError, match="jit"):
            torch.jit.trace(rnn, (torch.randn(3, 2, 4),), check_trace=False)


def test_a_state_of_width_zero_runs_in_one_call(calls):
    cell = derive.Cell.parse(
        "cell zero\nparam W: H x I, V: K x I\ninput x: I\nstate h: H, q: K\n"
        "q' = tanh(V @ x + q)\nh' = tanh(W @ x + h)\noutput h'\n"
    )
    for width in (2, 0):
        assert_same(dt.RNN(cell, 4, 4, num_layers=2, K=width), torch.randn(5, 2, 4))
    assert len(calls) == 2
