"""Layers and directions side by side give the bits of layer after layer."""

import copy
import pickle
import threading

import numpy as np
import pytest

import derive
from derive.kernel.c_backend import CBackend
from derive.kernel.side_by_side import Way, way_of
from derive.layers import RNN, at_once

MY_CELL = """
cell mine
input x: I
state h: H = h_0, m: H
param h_0: H
a  = sigmoid(W_a @ x + U_a @ h + b_a)
m' = 0.5 * m + a * tanh(W @ x + b)
h' = a * h + (1 - a) * tanh(m' + U @ h)
output h'
"""
HEADS = """
cell heads
input x: I
state C: N x D
param P: D x I
param R: N x D x D
param V: N x D x I
b  = sigmoid(P @ x)
C' = b * C + (1 - b) * tanh(R @ C + V @ x)
h  = b * norm(C', N)
output h
"""
CELLS = {
    "lstm": derive.cells.lstm,
    "gru": lambda: derive.cells.gru(reset="after", keeps="previous", biases=2),
    "min_gru": lambda: derive.cells.from_spec("min_gru"),
    "learned start": lambda: derive.Cell.parse(MY_CELL),
}


class _Never:
    """Layers run one after the other."""

    def forward(self, *_):
        return None

    def gradients(self, *_):
        return {}


def one_after_another(rnn):
    found = copy.deepcopy(rnn)
    found._at_once = _Never()
    return found


@pytest.fixture(params=[(1, 0), (2, 2), (2, 5)], ids=["one thread", "parts of 2", "parts of 5"])
def beside(request, monkeypatch):
    """Every stack of the C target runs in one call, by two threads also where that is too short."""
    team, steps = request.param
    calls = []

    def way(layers, threads, elementwise, *, backward=False):
        if not backward:
            calls.append(len(layers))
        return Way(team, True, steps)

    monkeypatch.setattr(at_once, "way_of", way)
    return calls


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_same_run(rnn, x, state=None, d_output=True, **options):
    """Outputs, states and gradients, to the bit."""
    other = one_after_another(rnn)
    one, two = (each.forward(x, state, **options) for each in (rnn, other))
    assert one.output.tobytes() == two.output.tobytes()
    for name, array in two.states.items():
        assert one.states[name].tobytes() == array.tobytes()
    if not options.get("training", True):
        return
    d = numbers(one.output.shape, seed=9)
    of_last = {name: numbers(a.shape, seed=8) for name, a in one.states.items()}
    g, h = rnn.backward(one, d, of_last), other.backward(two, d, of_last)
    for kind in ("params", "inputs", "states"):
        for name, array in getattr(h, kind).items():
            assert getattr(g, kind)[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("layers", "both"), [(2, False), (3, False), (1, True), (2, True)])
def test_a_stack_has_the_bits_of_layer_after_layer(name, layers, both, beside):
    for steps, rows in ((11, 1), (7, 3)):
        rnn = RNN(CELLS[name](), layers, both, I=5, H=9, threads=2)
        assert_same_run(rnn, numbers((steps, rows, 5)))
    assert beside == [layers * (2 if both else 1)] * 2


def test_states_lengths_and_inference_have_the_same_bits(beside):
    rnn = RNN(derive.cells.lstm(), 3, I=5, H=9, threads=2)
    state = {"h": numbers((3, 4, 9)), "c": numbers((3, 4, 9), 1)}
    for training in (True, False):
        assert_same_run(rnn, numbers((8, 4, 5)), state, lengths=[8, 0, 1, 5], training=training)
    both = RNN(derive.cells.lstm(), 2, True, batch_first=True, I=5, H=9, threads=2)
    assert_same_run(both, numbers((4, 8, 5)), lengths=[8, 0, 1, 5])
    assert len(beside) == 3


def test_dropout_between_layers_draws_and_computes_the_same(beside):
    rnn = RNN(derive.cells.lstm(), 3, I=5, H=9, dropout=0.4, threads=2, seed=3)
    assert_same_run(rnn, numbers((6, 2, 5)))
    assert_same_run(rnn, numbers((6, 2, 5)), training=False)
    assert len(beside) == 2


@pytest.mark.parametrize("steps", [1, 2, 3, 193, 195])
def test_a_chunk_is_never_cut_to_a_single_step_of_one_row(steps, beside):
    """One row alone is summed in parts, so such a cut would change bits. 192 rows are a chunk."""
    rnn = RNN(derive.cells.lstm(), 2, I=33, H=40, threads=2)
    assert_same_run(rnn, numbers((steps, 1, 33)), training=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layers", "both"), [(3, False), (2, True)])
def test_gradients_of_several_chunks_have_the_same_bits(layers, both, dtype, beside):
    rnn = RNN(derive.cells.lstm(), layers, both, I=5, H=9, threads=2, dtype=dtype)
    x = numbers((70, 4, 5)).astype(dtype)  # 48 steps are a chunk
    assert_same_run(rnn, x)
    assert_same_run(rnn, x, lengths=[70, 3, 0, 55])


def test_backward_without_a_gradient_of_the_output_runs_layer_after_layer(beside):
    rnn = RNN(derive.cells.lstm(), 2, I=5, H=9, threads=2)
    run, last = rnn.forward(numbers((6, 2, 5))), {"c": numbers((2, 2, 9))}
    one = rnn.backward(run, None, last)
    two = rnn.backward(run, np.zeros_like(run.output), last)
    assert all(np.array_equal(one.params[name], two.params[name]) for name in one.params)


def test_a_cell_with_axes_has_the_same_bits(beside):
    rnn = RNN(derive.Cell.parse(HEADS), 2, I=6, N=3, D=5, threads=2)
    assert_same_run(rnn, numbers((9, 2, 6)))
    assert beside


def test_no_step_and_no_row_run_nothing(beside):
    rnn = RNN(derive.cells.lstm(), 2, True, I=5, H=9, threads=2)
    for shape in ((0, 3, 5), (4, 0, 5)):
        assert_same_run(rnn, numbers(shape))
    assert not beside


def test_what_one_call_does_not_take_runs_layer_after_layer(beside):
    rnn = RNN(derive.cells.lstm(), 2, past_end="last", I=5, H=9, threads=2)
    assert_same_run(rnn, numbers((6, 2, 5)), lengths=[3, 6])
    assert_same_run(rnn, numbers((6, 2, 5)), resets=np.eye(6, 2, dtype=bool))
    assert_same_run(rnn, numbers((6, 2, 5)), remat="time")
    cut = derive.Cell.parse(
        "cell cut\ninput x: I\nstate h: H\na, b = split(W @ x + U @ h, 2)\n"
        "param W: 2*H x I\nparam U: 2*H x H\nh' = sigmoid(a) * tanh(b)\noutput h'"
    )
    assert_same_run(RNN(cut, 2, I=5, H=9, threads=2), numbers((6, 2, 5)))
    assert_same_run(RNN(derive.cells.lstm(), 2, I=5, H=9, target="numpy"), numbers((6, 2, 5)))
    assert not beside


def test_parameters_that_were_set_count_in_the_next_call(beside):
    rnn = RNN(derive.cells.lstm(), 2, I=5, H=9, threads=2)
    x = numbers((6, 2, 5))
    before = rnn.forward(x).output
    rnn.params["W_i_l1"] = 2 * rnn.params["W_i_l1"]
    assert rnn.forward(x).output.tobytes() != before.tobytes()
    rnn.params["W_f_l0"][...] += 1
    assert_same_run(rnn, x)


def test_what_was_written_into_before_backward_is_refused(beside):
    rnn = RNN(derive.cells.lstm(), 2, I=5, H=9, threads=2)
    run = rnn.forward(numbers((6, 2, 5)))
    rnn.params["W_i_l1"][0, 0] += 1
    with pytest.raises(derive.DeriveError, match="W_i was written into"):
        rnn.backward(run)


def test_several_threads_of_python_share_one_rnn(beside):
    rnn = RNN(derive.cells.lstm(), 3, I=5, H=9, threads=2)
    inputs = [numbers((20, 2, 5), seed) for seed in range(4)]
    expected = [one_after_another(rnn).forward(x).output.tobytes() for x in inputs]
    wrong = []

    def work(k):
        for _ in range(30):
            if rnn.forward(inputs[k], training=False).output.tobytes() != expected[k]:
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_an_rnn_that_has_run_can_be_pickled(beside):
    rnn = RNN(derive.cells.lstm(), 2, I=5, H=9, threads=2)
    x = numbers((6, 2, 5))
    expected = rnn.forward(x).output
    assert pickle.loads(pickle.dumps(rnn)).forward(x).output.tobytes() == expected.tobytes()


# --- which way -----------------------------------------------------------------------------------


def chosen(layers, both, threads, steps, rows, width=128, backward=False):
    rnn = RNN(derive.cells.lstm(), layers, both, I=width, H=width, threads=threads)
    found = []

    def way(*given, **options):
        found.append(way_of(*given, **options))
        return found[-1] if backward and len(found) < 2 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_once, "way_of", way)
        key = (steps, rows, backward, False)
        rnn._at_once._plan(key)
        if backward:
            rnn._at_once._back(key)
    return found[-1]


def test_few_rows_of_two_layers_run_side_by_side_and_many_rows_are_shared():
    assert chosen(2, False, 1, 100, 1) == Way()
    assert chosen(2, False, 2, 100, 1) == Way(2, True, 8)
    assert chosen(1, True, 2, 100, 7).team == 2
    assert chosen(4, False, 2, 100, 7) == Way(2, True, 4)
    assert chosen(4, False, 2, 100, 8) is None  # threads share its rows
    assert chosen(2, False, 2, 100, 64) is None
    assert chosen(1, False, 2, 100, 1) is None  # threads share its units
    assert chosen(2, False, 2, 3, 1, width=8) == Way()


def test_gradients_follow_by_chunks_so_one_row_of_few_steps_gains_from_directions_alone():
    assert chosen(1, True, 2, 100, 1, backward=True).team == 2
    assert chosen(2, False, 2, 100, 7, backward=True).team == 2
    one_chunk = chosen(2, False, 2, 100, 1, backward=True)
    assert one_chunk is None or one_chunk.team == 1
    assert chosen(2, False, 2, 2000, 1, backward=True).team == 2


ORDERS = tuple(
    f"cell two_orders\ninput x: I\nstate h: H\nh' = tanh({terms})\noutput h'\n"
    for terms in ("W @ x + U @ h + b", "U @ h + b + W @ x")
)


@pytest.mark.parametrize("d_output", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_equal_cells_with_their_parameters_in_another_order_run_as_each_alone(
    dropout, d_output, beside
):
    first, second = map(derive.Cell.parse, ORDERS)
    assert first == second and list(first.params) != list(second.params)
    x, options = numbers((6, 3, 4)), dict(num_layers=2, I=4, H=4, dropout=dropout, seed=5)
    for cell in (first, second, first):
        rnn, plain = RNN(cell, target="c", **options), RNN(cell, target="numpy", **options)
        plain.set_params(rnn.params)
        run, exact = rnn.forward(x), plain.forward(x)
        assert run._found is not None
        np.testing.assert_allclose(run.output, exact.output, atol=1e-5)
        d = numbers(run.output.shape, 1) if d_output else None
        last = {"h": np.ones((2, 3, 4), np.float32)}
        grads, wanted = rnn.backward(run, d, last), plain.backward(exact, d, last)
        for name, gradient in wanted.params.items():
            np.testing.assert_allclose(grads.params[name], gradient, atol=2e-4, err_msg=name)


def test_parameters_that_are_set_between_forward_and_backward_leave_the_run_as_it_was(beside):
    rnn = RNN(derive.cells.lstm(), 2, I=5, H=9, target="c", seed=1)
    x = numbers((6, 3, 5))
    run = rnn.forward(x)
    d = np.ones_like(run.output)
    before = {name: g.tobytes() for name, g in rnn.backward(run, d).params.items()}
    rnn.set_params({name: 1.5 * array for name, array in rnn.params.items()})
    after = {name: g.tobytes() for name, g in rnn.backward(run, d).params.items()}
    assert run._found is not None and before == after


def test_learned_starts_of_several_rows_run_in_one_call(beside):
    rnn = RNN(derive.Cell.parse(MY_CELL), 2, I=5, H=9, target="c")
    assert rnn.forward(numbers((6, 3, 5)))._found is not None
    assert_same_run(rnn, numbers((6, 3, 5)))


def test_files_from_before_pipelines_run_layer_after_layer(monkeypatch):
    rnn = RNN(derive.cells.lstm(), 2, I=5, H=9, threads=2)
    at_once.kind_of.cache_clear()
    monkeypatch.setattr(CBackend, "can_pipeline", False)
    assert rnn._at_once._planned(6, 2, True, False) is None
    assert_same_run(rnn, numbers((6, 2, 5)))
    at_once.kind_of.cache_clear()
