"""Drivers and wrappers of derive.rnn_cell against formulas written by hand, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow_formulas as tf

import derive
from derive import rnn_cell
from derive.rnn_cell import LSTMStateTuple

B, T, I, H, P = 3, 4, 5, 4, 3  # noqa: E741
LENGTHS = [4, 2, 0]
EXACT = 1e-13
# Central differences with one step of extrapolation, h = 1e-3, of functions of order 1.
DERIVED = 1e-8


@pytest.fixture(autouse=True)
def numpy_kernels() -> Iterator[None]:
    with rnn_cell.using("numpy"):
        yield


def flat(structure: Any) -> list[np.ndarray]:
    if isinstance(structure, dict):
        structure = tuple(structure.values())
    if isinstance(structure, (tuple, list)):
        return [array for part in structure for array in flat(part)]
    return [] if structure is None else [np.asarray(structure)]


def distance(a: Any, b: Any) -> float:
    pairs = list(zip(flat(a), flat(b), strict=True))
    assert all(x.shape == y.shape and np.isfinite(x).all() for x, y in pairs)
    return max(float(np.abs(x - y).max(initial=0)) for x, y in pairs)


def drawn(structure: Any, random: np.random.Generator) -> Any:
    """Random numbers in the structure."""
    if isinstance(structure, dict):
        return {n: drawn(a, random) for n, a in structure.items()}
    if isinstance(structure, LSTMStateTuple):
        return LSTMStateTuple(*(drawn(part, random) for part in structure))
    if isinstance(structure, (tuple, list)):
        return tuple(drawn(part, random) for part in structure)
    return random.normal(size=np.shape(structure))


def plus(a: Any, b: Any, scale: float) -> Any:
    if isinstance(a, dict):
        return {n: plus(a[n], b[n], scale) for n in a}
    if isinstance(a, LSTMStateTuple):
        return LSTMStateTuple(*(plus(x, y, scale) for x, y in zip(a, b, strict=True)))
    if isinstance(a, (tuple, list)):
        return tuple(plus(x, y, scale) for x, y in zip(a, b, strict=True))
    return a + scale * b


def built(cell: Any, seed: int = 0, width: int = I) -> Any:
    random = np.random.default_rng(seed)
    cell.build(width, dtype=np.float64, seed=seed)
    cell.set_variables({n: a + 0.3 * drawn(a, random) for n, a in cell.variables.items()})
    return cell


def check_gradients(
    run: Callable[[Any, Any, Any], Any], arguments: tuple[Any, Any, Any], pulled: Any, results: Any
) -> None:
    """`pulled` against differences of sum(results * cotangents); run(x, state, variables).

    `pulled` was made with `drawn(results, default_rng(9))` for cotangents. Each of the three
    gradients is checked along a direction of its own.
    """
    cotangents = drawn(results, np.random.default_rng(9))

    def loss(moved: tuple[Any, Any, Any]) -> float:
        pairs = zip(flat(run(*moved)), flat(cotangents), strict=True)
        return sum(float((a * d).sum()) for a, d in pairs)

    random = np.random.default_rng(10)
    for k, gradient in enumerate(pulled):
        direction = drawn(arguments[k], random)

        def along(h: float, k: int = k, direction: Any = direction) -> float:
            moved = [
                tuple(plus(a, direction, s * h) if j == k else a for j, a in enumerate(arguments))
                for s in (1, -1)
            ]
            return (loss(moved[0]) - loss(moved[1])) / (2 * h)  # type: ignore[arg-type]

        observed = (4 * along(0.5e-3) - along(1e-3)) / 3
        wanted = sum(
            float((g * d).sum()) for g, d in zip(flat(gradient), flat(direction), strict=True)
        )
        assert abs(observed - wanted) < DERIVED * max(1.0, abs(wanted))


def cotangents_of(results: Any) -> Any:
    return drawn(results, np.random.default_rng(9))


# --- past the end, fresh starts ------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("past_end", ["zero", "last", "computed"])
@pytest.mark.parametrize(
    ("make", "step"),
    [(lambda: rnn_cell.GRUCell(H), tf.gru), (lambda: rnn_cell.LSTMCell(H, num_proj=P), tf.lstm)],
)
def test_row_ends_and_fresh_starts_are_what_they_say_in_values_and_gradients(
    make: Any, step: Any, past_end: str, fresh: bool
) -> None:
    cell = built(make())
    random = np.random.default_rng(1)
    x = random.normal(size=(B, T, I))
    state = drawn(cell.zero_state(B, np.float64), random)
    resets = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], bool) if fresh else None
    kwargs: Any = {"past_end": past_end, "resets": resets}

    outputs, last, pullback = rnn_cell.dynamic_rnn(
        cell, x, LENGTHS, state, return_pullback=True, **kwargs
    )
    wanted = tf.rnn(partial(step, cell.variables), x, state, LENGTHS, **kwargs)
    assert distance((outputs, last), wanted) < EXACT

    def run(x: Any, state: Any, variables: Any) -> Any:
        return tf.rnn(partial(step, variables), x, state, LENGTHS, **kwargs)

    d = cotangents_of((outputs, last))
    check_gradients(run, (x, state, cell.variables), pullback(*d), (outputs, last))


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("past_end", ["zero", "last", "computed"])
def test_both_directions_end_and_start_where_they_should(past_end: str, fresh: bool) -> None:
    fw, bw = built(rnn_cell.LSTMCell(H), 0), built(rnn_cell.GRUCell(P), 1)
    random = np.random.default_rng(2)
    x = random.normal(size=(B, T, I))
    states = tuple(drawn(c.zero_state(B, np.float64), random) for c in (fw, bw))
    resets = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], bool) if fresh else None
    kwargs: Any = {"past_end": past_end, "resets": resets}
    outputs, last, pullback = rnn_cell.bidirectional_dynamic_rnn(
        fw, bw, x, LENGTHS, *states, return_pullback=True, **kwargs
    )

    def run(x: Any, states: Any, variables: Any) -> Any:
        forward = tf.rnn(partial(tf.lstm, variables[0]), x, states[0], LENGTHS, **kwargs)
        backward = tf.rnn(
            partial(tf.gru, variables[1]), x, states[1], LENGTHS, reverse=True, **kwargs
        )
        return (forward[0], backward[0]), (forward[1], backward[1])

    variables = (fw.variables, bw.variables)
    assert distance((outputs, last), run(x, states, variables)) < EXACT
    pulled = pullback(*cotangents_of((outputs, last)))
    check_gradients(run, (x, states, variables), pulled, (outputs, last))


def test_a_fresh_start_is_two_sequences() -> None:
    cell = built(rnn_cell.GRUCell(H))
    x = np.random.default_rng(3).normal(size=(1, 6, I))
    resets = np.zeros((1, 6), bool)
    resets[0, 2] = True
    pair = rnn_cell.bidirectional_dynamic_rnn(cell, cell, x, resets=resets)
    first = rnn_cell.bidirectional_dynamic_rnn(cell, cell, x[:, :2])
    second = rnn_cell.bidirectional_dynamic_rnn(cell, cell, x[:, 2:])
    for side in (0, 1):
        both = np.concatenate([first[0][side], second[0][side]], 1)
        assert distance(pair[0][side], both) < EXACT
    assert distance(pair[1], (second[1][0], first[1][1])) < EXACT


def test_without_lengths_every_past_end_is_the_same() -> None:
    cell = built(rnn_cell.GRUCell(H))
    x = np.random.default_rng(3).normal(size=(2, 3, I))
    runs = [rnn_cell.dynamic_rnn(cell, x, past_end=p) for p in ("zero", "last", "computed")]
    assert distance(runs[0], runs[1]) == distance(runs[0], runs[2]) == 0


def test_nan_past_the_end_stays_there() -> None:
    cell = built(rnn_cell.LSTMCell(H))
    x = np.random.default_rng(3).normal(size=(B, T, I))
    clean = rnn_cell.dynamic_rnn(cell, x, LENGTHS, past_end="last", return_pullback=True)
    for n, length in enumerate(LENGTHS):
        x[n, length:] = np.nan
    dirty = rnn_cell.dynamic_rnn(cell, x, LENGTHS, past_end="last", return_pullback=True)
    assert distance(clean[:2], dirty[:2]) == 0
    d = np.ones_like(clean[0])
    pulled, wanted = dirty[2](d), clean[2](d)
    assert distance(pulled.initial_state, wanted.initial_state) < EXACT


# --- layouts, lists, stacks ----------------------------------------------------------------------


def test_time_major_is_the_same_with_axes_swapped() -> None:
    cell = built(rnn_cell.LSTMCell(H))
    x = np.random.default_rng(4).normal(size=(B, T, I))
    resets = np.zeros((B, T), bool)
    resets[0, 1] = True
    one = rnn_cell.dynamic_rnn(cell, x, LENGTHS, resets=resets, return_pullback=True)
    other = rnn_cell.dynamic_rnn(
        cell, x.swapaxes(0, 1), LENGTHS, time_major=True, resets=resets.T, return_pullback=True
    )
    assert distance((one[0], one[1]), (other[0].swapaxes(0, 1), other[1])) == 0
    d = np.random.default_rng(5).normal(size=one[0].shape)
    a, b = one[2](d), other[2](d.swapaxes(0, 1))
    assert distance(a.inputs, b.inputs.swapaxes(0, 1)) == distance(a.variables, b.variables) == 0


def test_static_rnn_is_dynamic_rnn_on_lists() -> None:
    cell = built(rnn_cell.GRUCell(H))
    x = np.random.default_rng(4).normal(size=(T, B, I))
    outputs, last, pullback = rnn_cell.static_rnn(
        cell, list(x), sequence_length=LENGTHS, return_pullback=True
    )
    wanted = rnn_cell.dynamic_rnn(cell, x, LENGTHS, time_major=True, return_pullback=True)
    assert isinstance(outputs, list) and len(outputs) == T
    assert distance((np.stack(outputs), last), wanted[:2]) == 0
    d: list[Any] = [np.ones((B, H)), None, None, np.ones((B, H))]
    pulled = pullback(d)
    full = np.stack([np.zeros((B, H)) if part is None else part for part in d])
    assert distance(np.stack(pulled.inputs), wanted[2](full).inputs) == 0
    with pytest.raises(ValueError, match="must not be empty"):
        rnn_cell.static_rnn(cell, [])
    with pytest.raises(TypeError, match="must be a sequence"):
        rnn_cell.static_rnn(cell, x)


def test_a_stack_of_both_directions_reads_both_below() -> None:
    fw = [built(rnn_cell.GRUCell(H), 0), built(rnn_cell.LSTMCell(P), 1, 2 * H)]
    bw = [built(rnn_cell.GRUCell(H), 2), built(rnn_cell.LSTMCell(P), 3, 2 * H)]
    random = np.random.default_rng(6)
    x = random.normal(size=(B, T, I))
    start = tuple(
        tuple(drawn(c.zero_state(B, np.float64), random) for c in side) for side in (fw, bw)
    )
    outputs, last_fw, last_bw, pullback = rnn_cell.stack_bidirectional_dynamic_rnn(
        fw, bw, x, *start, sequence_length=LENGTHS, return_pullback=True
    )

    def run(x: Any, start: Any, variables: Any) -> Any:
        ends: tuple[list[Any], list[Any]] = ([], [])
        for k, step in enumerate((tf.gru, tf.lstm)):
            sides = [
                tf.rnn(partial(step, variables[s][k]), x, start[s][k], LENGTHS, reverse=bool(s))
                for s in (0, 1)
            ]
            x = np.concatenate([side[0] for side in sides], -1)
            ends[0].append(sides[0][1])
            ends[1].append(sides[1][1])
        return x, tuple(ends[0]), tuple(ends[1])

    variables = tuple(tuple(c.variables for c in side) for side in (fw, bw))
    results = (outputs, last_fw, last_bw)
    assert distance(results, run(x, start, variables)) < EXACT
    check_gradients(run, (x, start, variables), pullback(*cotangents_of(results)), results)


def test_a_stack_of_both_directions_takes_time_first_too() -> None:
    fw = [built(rnn_cell.GRUCell(H), 0), built(rnn_cell.GRUCell(H), 1, 2 * H)]
    bw = [built(rnn_cell.GRUCell(H), 2), built(rnn_cell.GRUCell(H), 3, 2 * H)]
    x = np.random.default_rng(8).normal(size=(B, T, I))
    run = partial(rnn_cell.stack_bidirectional_dynamic_rnn, fw, bw, sequence_length=LENGTHS)
    outputs, *last = run(x)
    by_time, *last_by_time = run(x.swapaxes(0, 1), time_major=True)
    assert distance((by_time.swapaxes(0, 1), last_by_time), (outputs, last)) == 0


def test_layers_on_top_of_each_other_read_each_other() -> None:
    cell = rnn_cell.MultiRNNCell(
        [rnn_cell.LSTMCell(H, num_proj=P), rnn_cell.MultiRNNCell([rnn_cell.GRUCell(2)])]
    )
    built(cell)
    random = np.random.default_rng(7)
    x = random.normal(size=(B, T, I))
    start = drawn(cell.zero_state(B, np.float64), random)
    outputs, last, pullback = rnn_cell.dynamic_rnn(cell, x, LENGTHS, start, return_pullback=True)

    def run(x: Any, start: Any, variables: Any) -> Any:
        low = {n[7:]: a for n, a in variables.items() if n.startswith("cell_0/")}
        high = {n[14:]: a for n, a in variables.items() if n.startswith("cell_1/cell_0/")}

        def step(x: Any, state: Any) -> Any:
            y, first = tf.lstm(low, x, state[0])
            y, second = tf.gru(high, y, state[1][0])
            return y, (first, (second,))

        return tf.rnn(step, x, start, LENGTHS)

    results = (outputs, last)
    assert distance(results, run(x, start, cell.variables)) < EXACT
    assert isinstance(last[0], LSTMStateTuple)
    pulled = pullback(*cotangents_of(results))
    assert list(pulled.variables) == list(cell.variables)
    check_gradients(run, (x, start, cell.variables), pulled, results)
    y, state = cell(x[:, 0], start)
    whole = rnn_cell.dynamic_rnn(cell, x[:, :1], initial_state=start)
    assert distance((y, state), (whole[0][:, 0], whole[1])) < EXACT


def test_layers_in_one_kernel_are_layers_one_by_one() -> None:
    def make() -> Any:
        return built(rnn_cell.MultiRNNCell([rnn_cell.LSTMCell(H), rnn_cell.GRUCell(H)]))

    apart, whole = make(), rnn_cell.DropoutWrapper(make())  # which drops nothing
    assert len(apart.layers) == 2 and len(whole.layers) == 1
    random = np.random.default_rng(8)
    x = random.normal(size=(B, T, I))
    start = drawn(apart.zero_state(B, np.float64), random)
    one = rnn_cell.dynamic_rnn(apart, x, LENGTHS, start, return_pullback=True)
    other = rnn_cell.dynamic_rnn(whole, x, LENGTHS, start, return_pullback=True)
    assert distance(one[:2], other[:2]) < EXACT
    d = cotangents_of(one[:2])
    a, b = one[2](*d), other[2](*d)
    assert list(a.variables) == list(b.variables) and distance(a, b) < EXACT


def test_joined_states_of_layers_lie_side_by_side() -> None:
    cells = [built(rnn_cell.GRUCell(H)), built(rnn_cell.GRUCell(P), 1, H)]
    joined = rnn_cell.MultiRNNCell(cells, state_is_tuple=False)
    assert joined.state_size == H + P
    start = np.random.default_rng(0).normal(size=(B, H + P))
    x = np.random.default_rng(1).normal(size=(B, T, I))
    one = rnn_cell.dynamic_rnn(joined, x, initial_state=start)
    other = rnn_cell.dynamic_rnn(
        rnn_cell.MultiRNNCell(cells), x, initial_state=(start[:, :H], start[:, H:])
    )
    assert distance(one, (other[0], np.concatenate(other[1], 1))) == 0
    y, state = joined(x[:, 0], start)
    assert y.shape == (B, P) and state.shape == (B, H + P)
    with pytest.raises(ValueError, match="state_is_tuple is not set"):
        rnn_cell.MultiRNNCell([rnn_cell.LSTMCell(H)], state_is_tuple=False)


def test_wrong_stacks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        rnn_cell.MultiRNNCell([])
    with pytest.raises(TypeError, match="list or tuple"):
        rnn_cell.MultiRNNCell(rnn_cell.GRUCell(2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be an RNNCell"):
        rnn_cell.MultiRNNCell([3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="only be the first layer"):
        rnn_cell.MultiRNNCell([rnn_cell.GRUCell(2), rnn_cell.PhasedLSTMCell(2)])
    with pytest.raises(ValueError, match="equally many"):
        rnn_cell.stack_bidirectional_dynamic_rnn(
            [rnn_cell.GRUCell(2)], [rnn_cell.GRUCell(2)] * 2, np.zeros((1, 1, 2))
        )
    with pytest.raises(ValueError, match="at least one cell in cells_fw"):
        rnn_cell.stack_bidirectional_dynamic_rnn([], [], np.zeros((1, 1, 2)))


# --- wrappers ------------------------------------------------------------------------------------


def test_a_residual_is_added_and_differentiated() -> None:
    cell = built(rnn_cell.ResidualWrapper(rnn_cell.LSTMCell(I)))
    random = np.random.default_rng(11)
    x = random.normal(size=(B, T, I))
    start = drawn(cell.zero_state(B, np.float64), random)
    outputs, last, pullback = rnn_cell.dynamic_rnn(cell, x, LENGTHS, start, return_pullback=True)

    def run(x: Any, start: Any, variables: Any) -> Any:
        def step(x: Any, state: Any) -> Any:
            y, new = tf.lstm(variables, x, state)
            return y + x, new

        return tf.rnn(step, x, start, LENGTHS)

    results = (outputs, last)
    assert distance(results, run(x, start, cell.variables)) < EXACT
    check_gradients(run, (x, start, cell.variables), pullback(*cotangents_of(results)), results)
    with pytest.raises(ValueError, match="wrong width"):
        rnn_cell.dynamic_rnn(rnn_cell.ResidualWrapper(rnn_cell.GRUCell(I + 1)), x)
    with pytest.raises(ValueError, match="equations are needed"):
        rnn_cell.ResidualWrapper(rnn_cell.GRUCell(I), residual_fn=lambda i, o: i + o)
    with pytest.raises(ValueError, match="two inputs"):
        rnn_cell.ResidualWrapper(rnn_cell.PhasedLSTMCell(I))


def projected(array: Any, variables: Any, scope: str) -> Any:
    return array @ variables[f"{scope}/kernel"] + variables[f"{scope}/bias"]


def inside_of(variables: Any) -> Any:
    return {name: array for name, array in variables.items() if "wrapper/" not in name}


def test_projections_of_inputs_and_outputs_are_those_of_tensorflow() -> None:
    inner = rnn_cell.InputProjectionWrapper(rnn_cell.LSTMCell(H), 4, activation="tanh")
    cell = built(rnn_cell.OutputProjectionWrapper(inner, 2))
    own = {n: a.shape for n, a in cell.variables.items() if "wrapper/" in n}
    assert own == {
        "input_projection_wrapper/kernel": (I, 4), "input_projection_wrapper/bias": (4,),
        "output_projection_wrapper/kernel": (H, 2), "output_projection_wrapper/bias": (2,),
    }  # fmt: skip
    assert cell.variables["kernel"].shape == (4 + H, 4 * H) and cell.output_size == 2
    random = np.random.default_rng(13)
    x = random.normal(size=(B, T, I))
    start = drawn(cell.zero_state(B, np.float64), random)
    outputs, last, pullback = rnn_cell.dynamic_rnn(cell, x, LENGTHS, start, return_pullback=True)

    def run(x: Any, start: Any, variables: Any) -> Any:
        def step(x: Any, state: Any) -> Any:
            seen = np.tanh(projected(x, variables, "input_projection_wrapper"))
            y, new = tf.lstm(inside_of(variables), seen, state)
            return projected(y, variables, "output_projection_wrapper"), new

        return tf.rnn(step, x, start, LENGTHS)

    results = (outputs, last)
    assert distance(results, run(x, start, cell.variables)) < EXACT
    check_gradients(run, (x, start, cell.variables), pullback(*cotangents_of(results)), results)


def test_an_embedding_is_looked_up_and_its_rows_have_gradients() -> None:
    stack = [rnn_cell.EmbeddingWrapper(rnn_cell.LSTMCell(H), 6, 4), rnn_cell.BasicRNNCell(3)]
    cell = rnn_cell.MultiRNNCell(stack)
    cell.build(1, dtype=np.float64, seed=3)
    table = cell.variables["cell_0/embedding_wrapper/embedding"]
    assert table.shape == (6, 4) and np.abs(table).max() <= 3**0.5
    random = np.random.default_rng(14)
    ids = random.integers(6, size=(B, T, 1))
    outputs, _, pullback = rnn_cell.dynamic_rnn(
        cell, ids, LENGTHS, dtype=np.float64, return_pullback=True
    )
    plain = rnn_cell.MultiRNNCell([rnn_cell.LSTMCell(H), rnn_cell.BasicRNNCell(3)])
    plain.build(4, dtype=np.float64)
    plain.set_variables({n: a for n, a in cell.variables.items() if "embedding" not in n})
    again, _, pull = rnn_cell.dynamic_rnn(
        plain, table[ids[..., 0]], LENGTHS, dtype=np.float64, return_pullback=True
    )
    assert np.array_equal(outputs, again)
    flat = rnn_cell.dynamic_rnn(cell, ids[..., 0], LENGTHS, dtype=np.float64)[0]
    assert np.array_equal(outputs, flat)
    d = random.normal(size=outputs.shape)
    found, wanted = pullback(d, None), pull(d, None)
    ids[...] = 0  # what was read is what the pullback sees
    assert found.inputs is None
    assert np.array_equal(found.variables["cell_0/kernel"], wanted.variables["cell_0/kernel"])
    rows = np.zeros((6, 4))
    again_ids = np.random.default_rng(14).integers(6, size=(B, T, 1))
    np.add.at(rows, again_ids[..., 0], wanted.inputs)
    assert np.allclose(found.variables["cell_0/embedding_wrapper/embedding"], rows, atol=1e-14)
    y, _ = cell(np.array([0, 5, 2]), cell.zero_state(3))
    y_2, _ = plain(table[[0, 5, 2]], plain.zero_state(3))
    assert np.allclose(y, y_2, atol=1e-6)  # integers ask for no float64


def test_variables_of_wrappers_are_known_by_tensorflows_names() -> None:
    cell = rnn_cell.OutputProjectionWrapper(rnn_cell.BasicRNNCell(H), 2)
    scope = "rnn/output_projection_wrapper"
    cell.set_variables({
        f"{scope}/basic_rnn_cell/kernel:0": np.ones((I + H, H)),
        f"{scope}/kernel:0": np.full((H, 2), 2), f"{scope}/bias:0": np.full(2, 3.0),
    })  # fmt: skip
    assert cell.built and cell.variables["kernel"].max() == 1
    assert cell.variables["output_projection_wrapper/kernel"].max() == 2
    cell.variables["output_projection_wrapper/bias"] = np.zeros(2)
    assert not cell.variables["output_projection_wrapper/bias"].any()
    before = rnn_cell.InputProjectionWrapper(rnn_cell.BasicRNNCell(H), 4)
    before.set_variables({"input_projection_wrapper/kernel": np.ones((I, 4))})
    assert before.built and before.sizes["I_in"] == I and before.sizes["I"] == 4
    table = rnn_cell.EmbeddingWrapper(rnn_cell.GRUCell(H), 3, 2)
    table.set_variables({"embedding_wrapper/embedding": np.ones((3, 2))})
    assert table.variables["embedding_wrapper/embedding"].sum() == 6


def embedded() -> Any:
    return rnn_cell.EmbeddingWrapper(rnn_cell.GRUCell(H), 3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn_cell.InputProjectionWrapper(rnn_cell.PhasedLSTMCell(H), 3), "two inputs"),
        (lambda: rnn_cell.InputProjectionWrapper(embedded(), 3), "integers, which have no proj"),
        (lambda: rnn_cell.InputProjectionWrapper(rnn_cell.GRUCell(H), 0), "num_proj"),
        (lambda: rnn_cell.EmbeddingWrapper(embedded(), 3, 2), "reads integers already"),
        (lambda: rnn_cell.ResidualWrapper(embedded()), "added to no output"),
        (lambda: rnn_cell.DropoutWrapper(embedded(), input_keep_prob=0.5), "none can be dropped"),
        (lambda: rnn_cell.MultiRNNCell([rnn_cell.GRUCell(H), embedded()]), "only be the first"),
        (lambda: rnn_cell.dynamic_rnn(embedded(), np.zeros((B, T, 1))), "are integers, not float"),
        (lambda: rnn_cell.dynamic_rnn(embedded(), np.full((B, T), 3)), "lies outside of 0 to 2"),
        (lambda: embedded()(np.zeros((2, 2, 2), int), np.zeros((2, H))), "the wrong shape"),
        (lambda: rnn_cell.OutputProjectionWrapper(rnn_cell.GRUCell(H), 2).set_variables(
            {"output_projection_wrapper/bias": np.zeros(2)}), "has no variables yet"),
        (lambda: rnn_cell.InputProjectionWrapper(rnn_cell.GRUCell(H), 2).set_variables(
            {"input_projection_wrapper/bias": np.zeros(2)}), "has no variables yet"),
        (lambda: built(rnn_cell.OutputProjectionWrapper(rnn_cell.GRUCell(H), 2)).set_variables(
            {"output_projection_wrapper/bias": np.zeros(3)}), "has the wrong shape"),
        (lambda: built(rnn_cell.OutputProjectionWrapper(rnn_cell.GRUCell(H), 2)).set_variables(
            {"output_projection_wrapper/bias": ["a", "b"]}), "real numbers"),
    ],
)  # fmt: skip
def test_what_a_wrapper_cannot_do_is_refused(call: Any, message: str) -> None:
    with pytest.raises(derive.DeriveError, match=message):
        call()


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_masks_act_where_tensorflows_do_and_are_differentiated(variational: bool) -> None:
    inner = built(rnn_cell.LSTMCell(H, num_proj=P))
    cell = rnn_cell.DropoutWrapper(inner, 0.7, 0.6, 0.5, variational, seed=0)
    random = np.random.default_rng(12)
    x = random.normal(size=(B, T, I))
    start = drawn(cell.zero_state(B, np.float64), random)
    masks = rnn_cell.draw_masks(cell, T, B)
    assert {n: a.shape[2] for n, a in masks.items()} == {
        "mask_x": I, "mask_h": P, "mask_output": P,
    }  # fmt: skip
    for name, keep in (("mask_x", 0.7), ("mask_h", 0.5), ("mask_output", 0.6)):
        assert np.isin(masks[name], (0, 1 / keep)).all()
        same = (masks[name] == masks[name][:1, :1]).all()
        assert same == variational
    outputs, last, pullback = rnn_cell.dynamic_rnn(
        cell, x, LENGTHS, start, masks=masks, return_pullback=True
    )

    def run(x: Any, start: Any, variables: Any) -> Any:
        def step(seen: Any, state: Any) -> Any:
            x, of_x, of_h, of_y = seen
            y, (c, h) = tf.lstm(variables, x * of_x, state)
            return y * of_y, (c, h * of_h)

        swapped = [masks[n].swapaxes(0, 1) for n in ("mask_x", "mask_h", "mask_output")]
        return tf.rnn(step, (x, *swapped), start, LENGTHS)

    results = (outputs, last)
    assert distance(results, run(x, start, cell.variables)) < EXACT
    check_gradients(run, (x, start, cell.variables), pullback(*cotangents_of(results)), results)


def test_masks_keep_the_mean_and_come_from_the_given_generator() -> None:
    cell = built(rnn_cell.GRUCell(H))
    one = rnn_cell.DropoutWrapper(cell, input_keep_prob=0.8, seed=3)
    two = rnn_cell.DropoutWrapper(cell, input_keep_prob=0.8, seed=np.random.default_rng(3))
    a, b = rnn_cell.draw_masks(one, 200, 50), rnn_cell.draw_masks(two, 200, 50)
    assert (a["mask_x"] == b["mask_x"]).all()
    # 50000 draws of variance 1/4: five standard deviations
    assert abs(a["mask_x"].mean() - 1) < 5 * 0.5 / np.sqrt(50000)
    assert (rnn_cell.draw_masks(one, 200, 50)["mask_x"] != a["mask_x"]).any()
    x = np.random.default_rng(0).normal(size=(B, T, I))
    three = rnn_cell.DropoutWrapper(cell, input_keep_prob=0.8, seed=3)
    four = rnn_cell.DropoutWrapper(cell, input_keep_prob=0.8, seed=3)
    assert distance(rnn_cell.dynamic_rnn(three, x), rnn_cell.dynamic_rnn(four, x)) == 0
    with pytest.raises(TypeError, match="seed is an integer"):
        rnn_cell.DropoutWrapper(cell, seed="one")


def test_single_steps_keep_a_variational_mask_until_forget() -> None:
    cell = rnn_cell.DropoutWrapper(
        built(rnn_cell.GRUCell(40)), output_keep_prob=0.5, variational_recurrent=True, seed=0
    )
    x, h = np.ones((2, I)), np.ones((2, 40))
    first, again = cell(x, h)[0], cell(x, h)[0]
    assert (first == again).all() and (first == 0).any() and (first[0] == first[1]).all()
    cell.forget()
    assert (cell(x, h)[0] != first).any()
    other = rnn_cell.DropoutWrapper(built(rnn_cell.GRUCell(40)), output_keep_prob=0.5, seed=0)
    assert (other(x, h)[0] != other(x, h)[0]).any()


def test_which_states_are_dropped_can_be_said() -> None:
    def everything(state: Any) -> Any:
        return LSTMStateTuple(True, True) if isinstance(state, LSTMStateTuple) else True

    inner = built(rnn_cell.MultiRNNCell([rnn_cell.LSTMCell(H), rnn_cell.GRUCell(P)]))
    default = rnn_cell.DropoutWrapper(inner, state_keep_prob=0.5)
    assert sorted(default.wiring.masks) == ["mask_h_0", "mask_h_1"]
    cell = rnn_cell.DropoutWrapper(
        inner, state_keep_prob=0.5, dropout_state_filter_visitor=everything
    )
    assert sorted(cell.wiring.masks) == ["mask_c_0", "mask_h_0", "mask_h_1"]
    nothing = rnn_cell.DropoutWrapper(
        inner, state_keep_prob=0.5, dropout_state_filter_visitor=lambda state: False
    )
    assert not nothing.wiring.masks
    flat_state = rnn_cell.DropoutWrapper(
        built(rnn_cell.LSTMCell(H, state_is_tuple=False)), state_keep_prob=0.5
    )
    assert sorted(flat_state.wiring.masks) == ["mask_c", "mask_h"]
    with pytest.raises(TypeError, match="callable"):
        rnn_cell.DropoutWrapper(inner, dropout_state_filter_visitor=3)  # type: ignore[arg-type]


def test_wrappers_in_layers_take_part_layer_by_layer() -> None:
    cell = rnn_cell.MultiRNNCell(
        [
            rnn_cell.DropoutWrapper(rnn_cell.GRUCell(I), 0.6, seed=1),
            rnn_cell.ResidualWrapper(
                rnn_cell.DropoutWrapper(rnn_cell.GRUCell(I), 1.0, 0.6, seed=2)
            ),
        ]
    )
    built(cell)
    x = np.random.default_rng(13).normal(size=(B, T, I))
    masks = rnn_cell.draw_masks(cell, T, B)
    assert set(masks) == {"0.mask_x", "1.mask_output"}
    start = (np.zeros((B, I)), np.zeros((B, I)))
    outputs, last, pullback = rnn_cell.dynamic_rnn(
        cell, x, LENGTHS, start, masks=masks, return_pullback=True
    )

    def run(x: Any, start: Any, variables: Any) -> Any:
        low, high = (
            {n[7:]: a for n, a in variables.items() if n.startswith(f"cell_{k}/")} for k in (0, 1)
        )

        def step(seen: Any, state: Any) -> Any:
            x, of_x, of_y = seen
            y, first = tf.gru(low, x * of_x, state[0])
            z, second = tf.gru(high, y, state[1])
            return z * of_y + y, (first, second)

        swapped = [masks[n].swapaxes(0, 1) for n in ("0.mask_x", "1.mask_output")]
        return tf.rnn(step, (x, *swapped), start, LENGTHS)

    results = (outputs, last)
    assert distance(results, run(x, start, cell.variables)) < EXACT
    check_gradients(run, (x, start, cell.variables), pullback(*cotangents_of(results)), results)
    with pytest.raises(ValueError, match="has no mask 'mask_y'"):
        rnn_cell.dynamic_rnn(cell, x, masks={"mask_y": 1})


def test_recurrent_dropout_of_the_candidate_is_a_mask_too() -> None:
    cell = built(rnn_cell.LayerNormBasicLSTMCell(H, dropout_keep_prob=0.5, dropout_prob_seed=0))
    x = np.random.default_rng(14).normal(size=(B, T, I))
    start = cell.zero_state(B, np.float64)
    masks = rnn_cell.draw_masks(cell, T, B)
    outputs, last, pullback = rnn_cell.dynamic_rnn(
        cell, x, LENGTHS, start, masks=masks, return_pullback=True
    )

    def run(x: Any, start: Any, variables: Any) -> Any:
        def step(seen: Any, state: Any) -> Any:
            return tf.layer_norm_lstm(variables, seen[0], state, seen[1])

        return tf.rnn(step, (x, masks["mask_g"].swapaxes(0, 1)), start, LENGTHS)

    results = (outputs, last)
    assert distance(results, run(x, start, cell.variables)) < EXACT
    check_gradients(run, (x, start, cell.variables), pullback(*cotangents_of(results)), results)


# --- small and wrong things ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, T, I), (B, 0, I)])
def test_nothing_runs_on_nothing(shape: tuple[int, ...]) -> None:
    cell = built(rnn_cell.LSTMCell(H))
    x = np.zeros(shape)
    start = drawn(cell.zero_state(shape[0], np.float64), np.random.default_rng(0))
    for past_end in ("zero", "last", "computed"):
        outputs, last, pullback = rnn_cell.dynamic_rnn(
            cell, x, [0] * shape[0], start, past_end=past_end, return_pullback=True
        )
        assert outputs.shape == (*shape[:2], H) and distance(last, start) == 0
        pulled = pullback(None, start)
        assert distance(pulled.initial_state, start) == 0
        assert all((a == 0).all() for a in pulled.variables.values())


def test_a_pullback_may_be_called_again_and_nothing_given_is_zero() -> None:
    cell = built(rnn_cell.LSTMCell(H))
    x = np.random.default_rng(15).normal(size=(B, T, I))
    outputs, _, pullback = rnn_cell.dynamic_rnn(cell, x, return_pullback=True)
    nothing = pullback()
    assert all((a == 0).all() for a in flat(nothing))
    one, again = pullback(outputs), pullback(outputs)
    assert distance(one, again) == 0
    assert (rnn_cell.dynamic_rnn(cell, x)[0] == outputs).all()


def test_wrong_calls_are_refused() -> None:
    cell = built(rnn_cell.GRUCell(H))
    x = np.zeros((B, T, I))
    with pytest.raises(ValueError, match=r"inputs are \[B, T, width\], given \[3, 5\]"):
        rnn_cell.dynamic_rnn(cell, x[:, 0])
    with pytest.raises(ValueError, match="did you mean 'zero'"):
        rnn_cell.dynamic_rnn(cell, x, LENGTHS, past_end="zeros")
    with pytest.raises(ValueError, match=r"lengths\[0\] = 9 is outside"):
        rnn_cell.dynamic_rnn(cell, x, [9, 1, 1])
    with pytest.raises(ValueError, match="resets has the wrong shape"):
        rnn_cell.dynamic_rnn(cell, x, resets=np.zeros((T, B), bool))
    with pytest.raises(TypeError, match="resets must hold booleans"):
        rnn_cell.dynamic_rnn(cell, x, resets=np.zeros((B, T)))
    with pytest.raises(TypeError, match="pair"):
        rnn_cell.bidirectional_dynamic_rnn(cell, cell, x, return_pullback=True)[2](np.zeros(3))
    with pytest.raises(ValueError, match="cannot be read as an array"):
        rnn_cell.dynamic_rnn(cell, [[[1.0], [2.0, 3.0]]])
