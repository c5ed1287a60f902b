"""Modules of Equinox and Flax NNX, parameters to start from, and training with Optax."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax import numpy as jnp
from jax_by_hand import differ, in_x64

import derive
import derive.jax as dj
from derive.train import Adam

LEARNS = """cell learns
input x: I, m: H once
state h: H = h0, s: H
fixed A: H x H
param U: H x H = orthogonal, b: H = log(uniform(1, 99)), h0: H = 0.5
param w: 4 * H = where(0.5 < 1, softplus(normal(0, 1)), 2)
v  = A @ (U @ (h * m)) + W @ x
h' = tanh(v + b + w[0:H])
s' = s + h'
output h'
"""
CELL = derive.Cell.parse(LEARNS)
A = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.0]])
M = np.array([1.0, 0.5, -1.0])
XS = np.linspace(-1, 1, 20).reshape(5, 2, 2)


@pytest.fixture(autouse=True)
def x64() -> Iterator[None]:
    with in_x64():
        yield


def right(params: Any, xs: Any, lengths: Any = None) -> Any:
    kernel = derive.compile(CELL, target="numpy", dtype="float64")
    arrays = {name: np.asarray(a) for name, a in params.items()}
    m = np.broadcast_to(M, (xs.shape[1], 3))
    return kernel.forward({**arrays, "A": A}, {"x": xs, "m": m}, lengths=lengths)


# --- init -----------------------------------------------------------------------------------


def test_parameters_start_as_the_cell_says() -> None:
    draw = jax.jit(lambda key: dj.init(CELL, key, {"I": 2, "H": 3}))
    params = draw(jax.random.key(0))
    assert {n: a.shape for n, a in params.items()} == {
        "U": (3, 3), "b": (3,), "h0": (3,), "w": (12,), "W": (3, 2)
    }  # fmt: skip
    assert jnp.allclose(params["U"] @ params["U"].T, jnp.eye(3))
    assert (params["h0"] == 0.5).all() and (params["b"] >= 0).all() and (params["w"] > 0).all()
    assert (abs(params["W"]) <= (6 / 5) ** 0.5).all() and params["W"].std() > 0
    many = jax.vmap(draw)(jax.random.split(jax.random.PRNGKey(1), 4))
    assert many["W"].shape == (4, 3, 2) and many["W"].std(0).min() > 0
    text = "cell d\ninput x: I\nstate h: H\nparam a: H x H = glorot, c: H x H = eye, d: H = ones\n"
    text += (
        "param e: H = zeros, f: H = uniform(2, 3)\n"
        "h' = a @ h + c @ h + d + e * h + f + W @ x\noutput h'"
    )
    found = dj.init(derive.Cell.parse(text), jax.random.key(0), H=3, I=3, dtype=jnp.float32)
    assert (found["c"] == jnp.eye(3)).all() and (found["d"] == 1).all() and not found["e"].any()
    assert (abs(found["a"]) <= 1).all() and (found["f"] >= 2).all()
    assert all(a.dtype == jnp.float32 for a in found.values())


# --- Equinox --------------------------------------------------------------------------------


def test_an_equinox_module_has_that_library_s_manners() -> None:
    def make(seed: int) -> Any:
        return dj.equinox.RNN(CELL, 2, 3, key=jax.random.key(seed), fixed={"A": A})

    model, once = make(0), {"m": jnp.asarray(M)}
    ys, (h, s) = eqx.filter_jit(lambda model, x: model(x, once=once))(model, XS[:, 0])
    run = right(model.params, XS)
    assert differ(ys, run.output[:, 0]) < 1e-14 and differ(s, run.states["s"][0]) < 1e-14
    batched, _ = jax.vmap(lambda x: model(x, once=once), 1, (1, 0))(XS)
    assert differ(batched, run.output) < 1e-14
    rows, last = model(XS, once={"m": np.stack([M, M])}, lengths=np.array([2, 5]))
    ended = right(model.params, XS, np.array([2, 5]))
    assert differ(rows, ended.output) < 1e-14 and differ(last[0], ended.states["h"]) < 1e-14
    one, _ = model(XS[:, 0], once=once, lengths=2, state=(h * 0 + 0.5, s * 0))
    assert differ(one, ended.output[:, 0]) < 1e-14
    named, _ = model(XS[:, 0], {"h": h * 0 + 0.5}, once=once, lengths=2)
    assert differ(named, one) == 0
    grads = eqx.filter_grad(lambda m, x: (m(x, once=once)[0] ** 2).sum())(model, XS[:, 0])
    assert not grads.fixed["A"].any() and all(a.any() for a in grads.params.values())
    assert len(jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))) == 6
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, model)
    file.seek(0)
    other = eqx.tree_deserialise_leaves(file, make(1))
    assert differ(other(XS[:, 0], once=once)[0], ys) == 0
    changed = eqx.tree_at(lambda m: m.params["b"], model, model.params["b"] + 1)
    assert differ(changed(XS[:, 0], once=once)[0], ys) > 1e-3
    assert model.cell == CELL


def test_a_module_of_one_state_gives_an_array_and_may_run_backwards() -> None:
    cell = derive.cells.rnn()
    model = dj.equinox.RNN(cell, 2, 3, key=jax.random.key(0), reverse=True, threads=2)
    ys, h = model(XS)
    kernel = derive.compile(cell, dtype="float64")
    run = kernel.forward(jax.tree.map(np.asarray, model.params), XS, reverse=True)
    assert differ((ys, h), (run.output, run.states["h"])) == 0
    ys, h = model(XS, jnp.ones((2, 3)))
    assert differ(h, kernel.forward(
        jax.tree.map(np.asarray, model.params), XS, {"h": np.ones((2, 3))}, reverse=True
    ).states["h"]) == 0  # fmt: skip


# --- Flax NNX -------------------------------------------------------------------------------


def test_an_nnx_module_has_that_library_s_manners() -> None:
    model = dj.nnx.RNN(CELL, 2, 3, rngs=nnx.Rngs(0), fixed={"A": A})
    once = {"m": jnp.asarray(np.stack([M, M]))}
    inputs = jnp.swapaxes(jnp.asarray(XS), 0, 1)
    ys = nnx.jit(lambda model, x: model(x, once=once))(model, inputs)
    params = {name: np.asarray(getattr(model.params, name)[...]) for name in "U b h0 w W".split()}
    run = right(params, XS, np.array([2, 5]))
    assert differ(ys, jnp.swapaxes(right(params, XS).output, 0, 1)) < 1e-14
    (h, s), ended = model(inputs, once=once, seq_lengths=jnp.array([2, 5]), return_carry=True)
    assert differ(jnp.swapaxes(ended, 0, 1), run.output) < 1e-14
    assert differ((h, s), (run.states["h"], run.states["s"])) < 1e-14
    one = model(inputs[0], once={"m": M}, initial_carry=(params["h0"], np.zeros(3)))
    assert differ(one, ys[0]) < 1e-14
    assert differ(model(inputs[0], once={"m": M}, initial_carry=(None, np.zeros(3))), one) == 0
    graph, of_params, others = nnx.split(model, nnx.Param, ...)
    assert sorted(of_params["params"]) == sorted(params) and list(others["fixed"]) == ["A"]
    merged = nnx.merge(graph, of_params, others)
    assert differ(merged(inputs, once=once), ys) == 0
    grads = nnx.grad(lambda model: (model(inputs, once=once) ** 2).sum())(model)
    assert sorted(grads["params"]) == sorted(params)
    nnx.update(model, jax.tree.map(lambda a: a * 0, nnx.state(model, nnx.Param)))
    assert not model(inputs, once=once).any()
    major = dj.nnx.RNN(
        derive.cells.rnn(), 2, 3, rngs=nnx.Rngs(params=0), time_major=True, return_carry=True
    )
    carry, ys = major(XS)
    assert ys.shape == (5, 2, 3) and differ(carry, ys[-1]) == 0 and major.cell.name == "rnn"


def test_arrays_of_an_nnx_module_may_be_called_as_its_own_code_is() -> None:
    text = "cell n\ninput x: I\nstate h: H\nparam values: H x I\nh' = h + values @ x\noutput h'"
    model = dj.nnx.RNN(derive.Cell.parse(text), 2, 3, rngs=nnx.Rngs(0))
    right = jnp.cumsum(jnp.swapaxes(XS, 0, 1) @ model.params.values[...].T, 1)
    assert differ(model(jnp.swapaxes(XS, 0, 1)), right) < 1e-12


# --- training -------------------------------------------------------------------------------


def test_twenty_steps_of_optax_are_those_of_the_numpy_kernel() -> None:
    cell = derive.cells.rnn()
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    start = kernel.init(I=2, H=3, seed=1)
    target = np.sin(np.arange(30.0)).reshape(5, 2, 3)
    optimiser = optax.adam(0.05)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            return ((dj.run(cell, params, XS)[0]["h_next"] - target) ** 2).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimiser.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    params = jax.tree.map(jnp.asarray, start)
    state = optimiser.init(params)
    ours = {name: array.copy() for name, array in start.items()}
    other = Adam(ours)
    for _ in range(20):
        params, state, value = step(params, state)
        run = kernel.forward(ours, XS)
        wrong = run.output - target
        assert abs(value - (wrong**2).mean()) < 1e-12
        grads = kernel.backward(run, 2 * wrong / wrong.size)
        other.step(grads.params, 0.05)
    assert differ(params, ours) < 1e-9
    assert value < 0.9 * ((kernel.forward(start, XS).output - target) ** 2).mean()
