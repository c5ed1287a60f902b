"""Wrappers with variables inside each other: outputs, gradients and names of every one of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import derive
from derive import rnn_cell

B, T, I, H = 2, 3, 5, 3  # noqa: E741
LENGTHS = [3, 2]
IN, OUT, TABLE = "input_projection_wrapper", "output_projection_wrapper", "embedding_wrapper"
Nest = tuple[tuple[str, int], ...]


@pytest.fixture(autouse=True)
def numpy_kernels() -> Iterator[None]:
    with rnn_cell.using("numpy"):
        yield


def wrapped(nest: Nest, cell: Any) -> Any:
    """The first entry of the nest is the outermost wrapper."""
    for kind, width in reversed(nest):
        if kind == "in":
            cell = rnn_cell.InputProjectionWrapper(cell, width)
        elif kind == "out":
            cell = rnn_cell.OutputProjectionWrapper(cell, width)
        elif kind == "residual":
            cell = rnn_cell.ResidualWrapper(cell)
        else:
            cell = rnn_cell.DropoutWrapper(cell, output_keep_prob=0.5)
    return cell


def by_hand(nest: Nest, x: Any, h: Any, variables: Any, depth: tuple[int, int] = (1, 1)) -> Any:
    """(output, h') of one step; the n-th wrapper of a kind has its scope n times."""
    if not nest:
        h = np.tanh(np.concatenate([x, h], 1) @ variables["kernel"] + variables["bias"])
        return h, h
    kind, rest, (ins, outs) = nest[0][0], nest[1:], depth
    if kind == "residual":
        y, h = by_hand(rest, x, h, variables, depth)
        return x + y, h
    scope = "/".join([IN] * ins if kind == "in" else [OUT] * outs)
    kernel, bias = variables[f"{scope}/kernel"], variables[f"{scope}/bias"]
    if kind == "in":
        return by_hand(rest, x @ kernel + bias, h, variables, (ins + 1, outs))
    y, h = by_hand(rest, x, h, variables, (ins, outs + 1))
    return y @ kernel + bias, h


def sequence_by_hand(nest: Nest, x: Any, variables: Any) -> Any:
    h, outputs = np.zeros((B, H)), []
    for t in range(T):
        y, new = by_hand(nest, x[:, t], h, variables)
        alive = np.array([[t < n] for n in LENGTHS])
        outputs.append(np.where(alive, y, 0))
        h = np.where(alive, new, h)
    return np.stack(outputs, 1)


def redrawn(variables: Any, seed: int) -> Any:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=array.shape) / 2 for name, array in variables.items()}


@pytest.mark.parametrize(
    "nest",
    [
        (("out", 4), ("out", 2)),
        (("out", H), ("out", H)),
        (("out", 2), ("out", 4), ("out", 6)),
        (("out", 2), ("residual", 0), ("out", I)),
        (("in", 4), ("in", 2)),
        (("in", H), ("in", H)),
        (("in", H), ("residual", 0), ("in", 4)),
        (("out", 2), ("in", 4), ("out", 4), ("in", 2)),
        (("in", 2), ("out", 4), ("in", 4), ("out", 2)),
    ],
    ids=lambda nest: "-".join(f"{kind}{width or ''}" for kind, width in nest),
)
def test_nested_projections_have_kernels_of_their_own(nest: Nest) -> None:
    cell = wrapped(nest, rnn_cell.BasicRNNCell(H))
    cell.build(I, dtype=np.float64, seed=0)
    cell.set_variables(redrawn(cell.variables, 1))
    variables = dict(cell.variables)
    assert len(variables) == 2 + 2 * sum(kind != "residual" for kind, _ in nest)
    x = np.random.default_rng(2).normal(size=(B, T, I))
    outputs, _, pullback = rnn_cell.dynamic_rnn(cell, x, LENGTHS, return_pullback=True)
    assert np.allclose(outputs, sequence_by_hand(nest, x, variables), rtol=0, atol=1e-13)
    d = np.random.default_rng(3).normal(size=outputs.shape)
    found = pullback(d)
    assert list(found.variables) == list(variables)
    for name, slope in {**found.variables, "x": found.inputs}.items():
        array, wanted = {**variables, "x": x}[name], np.zeros(slope.shape)
        for place in np.ndindex(array.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = array.copy()
                moved[place] += step
                given = {**variables, "x": x, name: moved}
                ends.append(np.sum(d * sequence_by_hand(nest, given["x"], given)))
            wanted[place] = (ends[0] - ends[1]) / 2e-5
        assert np.allclose(slope, wanted, rtol=0, atol=1e-8), name


def test_nested_wrappers_are_named_as_in_tensorflow() -> None:
    cell = wrapped((("out", 4), ("out", 2)), rnn_cell.BasicRNNCell(H))
    cell.set_variables({
        f"rnn/{OUT}/{OUT}/basic_rnn_cell/kernel:0": np.full((I + H, H), 1.0),
        f"rnn/{OUT}/{OUT}/kernel:0": np.full((H, 2), 2.0),
        f"rnn/{OUT}/kernel:0": np.full((2, 4), 3.0),
    })  # fmt: skip
    kernels = {n: (a.shape, a.max()) for n, a in cell.variables.items() if "kernel" in n}
    assert kernels == {
        "kernel": ((I + H, H), 1), f"{OUT}/{OUT}/kernel": ((H, 2), 2), f"{OUT}/kernel": ((2, 4), 3),
    }  # fmt: skip
    layers = [wrapped((("out", H),), rnn_cell.BasicRNNCell(H)), rnn_cell.BasicRNNCell(H)]
    cell = wrapped((("in", H), ("out", H)), rnn_cell.MultiRNNCell(layers))
    cell.build(H)
    whole = f"model/rnn/{IN}/{OUT}"
    cell.set_variables({
        f"{whole}/multi_rnn_cell/cell_0/{OUT}/kernel": np.full((H, H), 4.0),
        f"{whole}/kernel": np.full((H, H), 5.0), f"model/rnn/{IN}/kernel": np.full((H, H), 6.0),
    })  # fmt: skip
    assert cell.variables[f"cell_0/{OUT}/kernel"].max() == 4
    assert cell.variables[f"{OUT}/kernel"].max() == 5 and cell.variables[f"{IN}/kernel"].max() == 6
    part = f"multi_rnn_cell/cell_0/{OUT}/bias"  # a name of a layer, without the wrappers' scopes
    cell.set_variables({part: np.full(H, 7.0)})
    assert cell.variables[f"cell_0/{OUT}/bias"].max() == 7
    assert not cell.variables[f"{OUT}/bias"].any()


def basic() -> Any:
    return rnn_cell.BasicRNNCell(H)


def stacks() -> Iterator[Any]:
    """All nestings of up to three wrappers, around a cell and around layers that have wrappers."""
    kinds = ("in", "out", "residual", "dropout")
    for count in range(4):
        for chosen in itertools.product(kinds, repeat=count):
            yield tuple((kind, H) for kind in chosen)


def nests() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for nest in stacks():
        label = "-".join(kind for kind, _ in nest)
        found[f"{label}-cell"] = lambda n=nest: wrapped(n, basic())
        if len(nest) < 3:

            def layered(n: Nest = nest) -> Any:
                low = wrapped((("out", H), ("in", H)), basic())
                return wrapped(n, rnn_cell.MultiRNNCell([low, wrapped(n, basic())]))

            def embedded(n: Nest = nest) -> Any:
                low = rnn_cell.EmbeddingWrapper(wrapped(n, basic()), 4, H)
                top = wrapped((("out", H),), rnn_cell.MultiRNNCell([low, wrapped(n, basic())]))
                return top

            found[f"{label}-layers"] = layered
            found[f"{label}-embedding"] = embedded
    return found


NESTS = nests()


@pytest.mark.parametrize("group", ["cell", "layers", "embedding"])
def test_variables_of_a_cell_set_into_it_are_those_it_had(group: str) -> None:
    # All widths are equal, so that an array in a wrong place would fit. What a kernel is given
    # tells more than `variables`, in which one variable may hide another.
    for label, make in NESTS.items():
        if not label.endswith(group):
            continue
        cell, other = make(), make()
        cell.build(H, dtype=np.float64, seed=0)
        other.build(H, dtype=np.float64, seed=1)
        cell.set_variables(redrawn(cell.variables, 2))
        before, params = {n: a.copy() for n, a in cell.variables.items()}, cell.parameters()
        assert sorted(params) == sorted(cell.wiring.cell.params), label
        assert len(before) == len(cell.wiring.variables), label
        assert len({array.tobytes() for array in before.values()}) == len(before), label
        cell.set_variables(before)
        other.set_variables({f"{name}:0": array for name, array in before.items()})
        third = make()
        third.build(H, dtype=np.float64, seed=3)
        for name, array in before.items():
            third.variables[name] = array
        for each in (cell, other, third):
            assert list(each.variables) == list(before), label
            assert all(np.array_equal(each.variables[n], a) for n, a in before.items()), label
            own = each.parameters()
            assert all(np.array_equal(own[n], a) for n, a in params.items()), label


def test_a_variable_that_is_given_twice_is_refused() -> None:
    cell = wrapped((("out", H), ("out", H)), basic())
    cell.build(I)
    array = np.ones((H, H))
    for name in (f"{OUT}/kernel", f"{OUT}/{OUT}/kernel"):
        with pytest.raises(derive.DeriveError, match=r"kernel of .* is given twice"):
            cell.set_variables({name: array, f"rnn/{name}:0": array})


@pytest.mark.parametrize(
    "make",
    [
        lambda: wrapped((("out", H),), basic()),
        lambda: rnn_cell.MultiRNNCell([basic()]),
        lambda: rnn_cell.IntersectionRNNCell(H),
        basic,
    ],
)
def test_variables_that_are_no_mapping_are_refused(make: Any) -> None:
    with pytest.raises(derive.DeriveError, match="values must be a mapping"):
        make().set_variables([np.ones(3)])


# --- integers in other drivers ---------------------------------------------------------------


def embedded() -> Any:
    cell = rnn_cell.EmbeddingWrapper(rnn_cell.GRUCell(H), 6, 2)
    cell.build(dtype=np.float64, seed=5)
    return cell


IDS = np.random.default_rng(6).integers(6, size=(B, T))


def one_direction(cell: Any, d: Any, reverse: bool) -> Any:
    """Variables' gradients of dynamic_rnn, which has its own test; by hand backwards in time."""
    ids = np.stack([np.r_[row[:n][::-1], row[n:]] for row, n in zip(IDS, LENGTHS, strict=True)])
    back = np.stack([np.r_[row[:n][::-1], row[n:]] for row, n in zip(d, LENGTHS, strict=True)])
    run = rnn_cell.dynamic_rnn(
        cell, ids if reverse else IDS, LENGTHS, dtype=np.float64, return_pullback=True
    )
    return run[2](back if reverse else d).variables


def close(found: Any, wanted: Any) -> bool:
    return list(found) == list(wanted) and all(
        np.allclose(found[name], wanted[name], rtol=0, atol=1e-13) for name in wanted
    )


def test_both_directions_over_integers_have_gradients_of_variables_and_none_of_inputs() -> None:
    pair = embedded(), embedded()
    _, _, pullback = rnn_cell.bidirectional_dynamic_rnn(
        *pair, IDS, LENGTHS, dtype=np.float64, return_pullback=True
    )
    d = np.random.default_rng(7).normal(size=(2, B, T, H))
    found = pullback(tuple(d))
    assert found.inputs is None
    for k, cell in enumerate(pair):
        assert close(found.variables[k], one_direction(cell, d[k], bool(k)))


def test_layers_of_both_directions_over_integers_have_gradients() -> None:
    pair, above = (embedded(), embedded()), (rnn_cell.GRUCell(H), rnn_cell.GRUCell(H))
    outputs, _, _, pullback = rnn_cell.stack_bidirectional_dynamic_rnn(
        [pair[0], above[0]], [pair[1], above[1]], IDS, dtype=np.float64, sequence_length=LENGTHS,
        return_pullback=True,
    )  # fmt: skip
    low = rnn_cell.bidirectional_dynamic_rnn(*pair, IDS, LENGTHS, dtype=np.float64)[0]
    _, _, pull = rnn_cell.bidirectional_dynamic_rnn(
        *above, np.concatenate(low, -1), LENGTHS, return_pullback=True
    )
    d = np.random.default_rng(8).normal(size=outputs.shape)
    found, upper = pullback(d), pull((d[..., :H], d[..., H:]))
    assert found.inputs is None
    for k, cell in enumerate(pair):
        part = upper.inputs[..., k * H : (k + 1) * H]
        assert close(found.variables[k][1], upper.variables[k])
        assert close(found.variables[k][0], one_direction(cell, part, bool(k)))


def test_a_direction_that_reads_numbers_keeps_the_gradient_of_its_inputs() -> None:
    plain = rnn_cell.GRUCell(H)
    _, _, pullback = rnn_cell.bidirectional_dynamic_rnn(
        embedded(), plain, IDS[..., None], dtype=np.float64, return_pullback=True
    )
    d = np.ones((B, T, H))
    backwards = pullback((None, d)).inputs
    alone = rnn_cell.dynamic_rnn(
        plain, IDS[:, ::-1, None], dtype=np.float64, return_pullback=True
    )[2](d).inputs  # fmt: skip
    assert np.allclose(backwards, alone[:, ::-1], rtol=0, atol=1e-13)


def test_a_list_of_integers_has_gradients_of_variables_and_none_of_inputs() -> None:
    cell = embedded()
    steps = list(IDS.T[..., None])
    _, _, pullback = rnn_cell.static_rnn(
        cell, steps, dtype=np.float64, sequence_length=LENGTHS, return_pullback=True
    )
    d = np.random.default_rng(9).normal(size=(B, T, H))
    found = pullback(list(d.swapaxes(0, 1)))
    assert found.inputs == [None] * T
    assert close(found.variables, one_direction(cell, d, False))
