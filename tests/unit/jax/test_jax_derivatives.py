"""derive.jax.run under JAX's transforms, to the third order, against equations written in JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax_by_hand as by_hand
import numpy as np
import pytest
from jax import numpy as jnp
from jax.test_util import check_grads
from jax_by_hand import differ, in_x64, loss, some

import derive
import derive.jax as dj

CELL = derive.Cell.parse(by_hand.TEXT)
ENDS = np.array([3, 1])


@pytest.fixture(autouse=True)
def x64() -> Iterator[None]:
    with in_x64():
        yield


def ours(*given: Any, lengths: Any = None, reverse: bool = False) -> Any:
    return loss(dj.run(CELL, *given, lengths, reverse))


def theirs(*given: Any, lengths: Any = None, reverse: bool = False) -> Any:
    return loss(by_hand.run(*given, lengths, reverse))


def direction(given: Any, seed: int = 1) -> Any:
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(random.standard_normal(a.shape)), given)


@pytest.mark.parametrize(("lengths", "reverse"), [(None, False), (ENDS, True), (ENDS, False)])
def test_results_and_gradients_are_those_of_the_equations(lengths: Any, reverse: bool) -> None:
    given = some()
    assert differ(
        dj.run(CELL, *given, lengths, reverse), by_hand.run(*given, lengths, reverse)
    ) < 1e-14  # fmt: skip
    found, right = (
        jax.grad(lambda *a, f=f: f(*a, lengths=lengths, reverse=reverse), (0, 1, 2))(*given)
        for f in (ours, theirs)
    )
    assert differ(found, right) < 1e-13


def test_results_are_the_kernel_s_to_the_bit_in_both_dtypes() -> None:
    for dtype in ("float32", "float64"):
        params, x, state = some(dtype=dtype)
        kernel = derive.compile(CELL, dtype=dtype)
        numpy = jax.tree.map(np.asarray, (params, x, state))
        run = kernel.forward(*numpy, lengths=ENDS)
        outputs, last = jax.jit(lambda *a: dj.run(CELL, *a))(params, x, state, ENDS)
        assert differ(dict(run.outputs), outputs) == differ(dict(run.states), last) == 0
        d = np.ones_like(run.output)
        grads = kernel.backward(run, {"h_next": d})
        found = jax.grad(
            lambda *a: dj.run(CELL, *a, lengths=ENDS)[0]["h_next"].sum(), (0, 1, 2)
        )(params, x, state)  # fmt: skip
        right = dict(grads.params), grads.inputs["x"], dict(grads.states)
        assert differ(found, right) == 0
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(found))


def test_second_derivatives_in_every_order_of_modes_and_the_third() -> None:
    given = some(T=2, I=1)
    lengths = np.array([2, 1])
    along = direction(given)
    functions = [lambda *a, f=f: f(*a, lengths=lengths, reverse=True) for f in (ours, theirs)]
    grads = [jax.grad(f, (0, 1, 2)) for f in functions]

    def along_of(f: Any) -> Any:
        return lambda *a: jax.jvp(f, a, along)[1]

    forward_over_reverse, right = (jax.jit(along_of(g))(*given) for g in grads)
    assert differ(forward_over_reverse, right) < 1e-12
    reverse_over_forward = jax.jit(jax.grad(along_of(functions[0]), (0, 1, 2)))(*given)
    assert differ(reverse_over_forward, right) < 1e-12
    reverse_over_reverse = jax.grad(
        lambda *a: sum(jax.tree.leaves(jax.tree.map(jnp.vdot, grads[0](*a), along))), (0, 1, 2)
    )(*given)
    assert differ(reverse_over_reverse, right) < 1e-12
    forward_over_forward = along_of(along_of(functions[0]))(*given)
    assert abs(forward_over_forward - along_of(along_of(functions[1]))(*given)) < 1e-11
    third, right = (jax.jit(jax.grad(along_of(along_of(f)), (0, 1, 2)))(*given) for f in functions)
    assert differ(third, right) < 1e-10


def of_biases(f: Any) -> tuple[Any, Any]:
    """A function of few numbers, and where."""
    params, x, state = some(T=2, B=1, I=1)
    return (
        lambda b, h: f({**params, "b": b}, x, {**state, "h": h}),
        (params["b"], state["h"]),
    )


def test_hessians_of_both_modes_agree() -> None:
    (ours_of, given), (theirs_of, _) = of_biases(ours), of_biases(theirs)
    found, right = (jax.jit(jax.hessian(f, (0, 1)))(*given) for f in (ours_of, theirs_of))
    assert differ(found, right) < 1e-12
    backwards = jax.jit(jax.jacrev(jax.grad(ours_of, (0, 1)), (0, 1)))(*given)
    assert differ(backwards, right) < 1e-12


def test_check_grads_is_content() -> None:
    function, given = of_biases(ours)
    check_grads(function, given, order=1, eps=1e-5)


@pytest.mark.slow
def test_check_grads_is_content_with_the_third_order_of_a_cell_of_the_catalogue() -> None:
    cell = derive.cells.janet()
    params = dj.init(cell, jax.random.key(0), I=1, H=2)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 2, 1)))

    def function(params: Any, x: Any) -> Any:
        return dj.run(cell, params, x, lengths=np.array([2, 1]))

    check_grads(function, (params, x), order=2, eps=1e-5)
    check_grads(jax.jit(function), (params, x), order=3, modes="rev", eps=1e-5)


# --- vmap -----------------------------------------------------------------------------------


def stacked(trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def calls(jaxpr: Any) -> dict[str, int]:
    """How often each of the primitives stands in a jaxpr, loops included."""
    text = str(jaxpr)
    names = ("derive_sequence", "derive_jvp", "derive_vjp", "scan", "while")
    return {name: text.count(f"= {name}[") for name in names if f"= {name}[" in text}


def test_vmap_with_shared_parameters_is_one_call_of_more_rows() -> None:
    params, _, _ = some()
    samples = [some()[1] * k for k in (1, 2, 3)]
    starts = [jax.tree.map(lambda a, k=k: a * k, some()[2]) for k in (1, 2, 3)]
    lengths = jnp.array([[3, 1], [0, 2], [2, 2]])

    def one(x: Any, state: Any, ends: Any) -> Any:
        return dj.run(CELL, params, x, state, ends)

    def slope(x: Any, state: Any, ends: Any) -> Any:
        return jax.grad(lambda *a: loss(one(*a, ends)), (0, 1))(x, state)

    for f, names in ((one, {"derive_sequence"}), (slope, {"derive_sequence", "derive_vjp"})):
        together = jax.vmap(f)
        given = jnp.stack(samples), stacked(starts), lengths
        right = stacked([f(x, s, n) for x, s, n in zip(samples, starts, lengths, strict=True)])
        assert differ(jax.jit(together)(*given), right) < 1e-14
        found = calls(jax.make_jaxpr(together)(*given))
        assert set(found) == names and set(found.values()) == {1}
        inner = jax.vmap(jax.vmap(f, (0, None, None)), (None, 0, 0))(*given)
        right = stacked([stacked([f(x, s, n) for x in samples])
                         for s, n in zip(starts, lengths, strict=True)])  # fmt: skip
        assert differ(inner, right) < 1e-14


def test_vmap_over_parameters_and_of_their_gradients_is_a_loop_of_calls() -> None:
    params, x, state = some()
    many = stacked([params, jax.tree.map(lambda a: 2 * a, params)])
    xs = jnp.stack([x, -x])
    grads = jax.grad(ours)
    ensemble = jax.jit(jax.vmap(grads, (0, None, None)))(many, x, state)
    each = [jax.tree.map(lambda a, k=k: a[k], many) for k in (0, 1)]
    assert differ(ensemble, stacked([grads(p, x, state) for p in each])) < 1e-14
    a_sample = jax.jit(jax.vmap(grads, (None, 0, None)))(params, xs, state)
    assert differ(a_sample, stacked([grads(params, x, state) for x in xs])) < 1e-14
    along = direction(params)

    def hvp(p: Any, x: Any) -> Any:
        return jax.jvp(lambda p: grads(p, x, state), (p,), (along,))[1]

    found = jax.jit(jax.vmap(hvp))(many, xs)
    assert differ(found, stacked([hvp(p, x) for p, x in zip(each, xs, strict=True)])) < 1e-13
    rows = jax.jacrev(lambda p: dj.run(CELL, p, x, state)[0]["h_next"][-1])(params)
    columns = jax.jacfwd(lambda p: dj.run(CELL, p, x, state)[0]["h_next"][-1])(params)
    assert differ(rows, columns) < 1e-14


@pytest.mark.parametrize("second", [False, True], ids=["gradient", "Hessian times vector"])
def test_gradients_of_parameters_by_sample_where_lengths_alone_differ(second: bool) -> None:
    params, x, state = some()
    lengths = jnp.array([[3, 1], [0, 2], [2, 2]])

    def slope(p: Any, ends: Any) -> Any:
        grad = jax.grad(lambda p: ours(p, x, state, lengths=ends))
        return jax.jvp(grad, (p,), (direction(params),))[1] if second else grad(p)

    found = jax.jit(jax.vmap(slope, (None, 0)))(params, lengths)
    assert differ(found, stacked([slope(params, ends) for ends in lengths])) < 1e-14


# --- in other transforms --------------------------------------------------------------------


def test_scan_checkpoint_and_a_condition_around_calls() -> None:
    params, x, state = some()
    xs = jnp.stack([x, -x, 2 * x])

    def chained(run: Any) -> Any:
        def total(p: Any, s: Any) -> Any:
            def body(s: Any, x: Any) -> Any:
                outputs, last = run(p, x, s)
                return last, outputs["h_next"].sum()

            last, sums = jax.lax.scan(body, s, xs)
            return (sums**2).sum() + last["m"].sum()

        return total

    def of_ours(*given: Any) -> Any:
        return dj.run(CELL, *given)

    right = jax.jit(jax.grad(chained(by_hand.run), (0, 1)))(params, state)
    assert differ(jax.jit(jax.grad(chained(of_ours), (0, 1)))(params, state), right) < 1e-12
    remade = jax.grad(chained(jax.checkpoint(of_ours)), (0, 1))
    assert differ(jax.jit(remade)(params, state), right) < 1e-12

    def chosen(p: Any, flag: Any) -> Any:
        return jax.lax.cond(flag, lambda p: ours(p, x, state), lambda p: 0.0, p)

    assert differ(jax.grad(chosen)(params, True), jax.grad(ours)(params, x, state)) < 1e-14
    assert differ(jax.grad(chosen)(params, False), jax.tree.map(jnp.zeros_like, params)) == 0


def test_what_nothing_depends_on_has_a_gradient_of_zero_and_no_call() -> None:
    params, x, state = some()
    text = str(jax.make_jaxpr(jax.grad(lambda x: ours(params, x, state)))(x))
    assert "wanted=(False, False, False, False, False, False, False, True, False, False)" in text
    unused = jax.grad(lambda p: dj.run(CELL, p, x, state)[0]["m"][0].sum())(params)
    assert differ(unused, jax.tree.map(jnp.zeros_like, params)) == 0


def test_nothing_runs_where_there_are_no_steps_or_no_rows() -> None:
    params, x, state = some()
    for empty, start in ((x[:0], state), (x[:, :0], jax.tree.map(lambda a: a[:0], state))):
        outputs, last = jax.jit(lambda *a: dj.run(CELL, *a))(params, empty, start)
        assert outputs["h_next"].shape == (*empty.shape[:2], 2) and differ(last, start) == 0
        d_params, d_state = jax.grad(
            lambda p, s, x=empty: loss(dj.run(CELL, p, x, s)), (0, 1)
        )(params, start)  # fmt: skip
        assert differ(d_params, jax.tree.map(jnp.zeros_like, params)) == 0
        assert differ(d_state["m"], start["h"]) < 1e-15


def test_vmap_over_no_samples_gives_none() -> None:
    params, x, state = some()
    none = jnp.zeros((0, *x.shape))
    outputs, _ = jax.vmap(lambda x: dj.run(CELL, params, x, state))(none)
    assert outputs["h_next"].shape == (0, *x.shape[:2], 2)
    slopes = jax.jit(jax.vmap(jax.grad(ours, (0, 1)), (None, 0, None)))(params, none, state)
    assert slopes[0]["b"].shape == (0, *params["b"].shape) and slopes[1].shape == none.shape


def test_calls_run_where_jit_is_disabled_and_numbers_may_lie_in_another_byte_order() -> None:
    cell = derive.cells.rnn()
    params = dj.init(cell, jax.random.key(0), I=3, H=4)
    x = np.ones((5, 2, 3), params["b"].dtype)

    def loss(params: Any, x: Any) -> Any:
        return (dj.run(cell, params, x)[0]["h_next"] ** 2).sum()

    wanted = jax.grad(loss)(params, x)
    with jax.disable_jit():
        found = jax.grad(loss)(params, x.astype(x.dtype.newbyteorder(">")))
    assert all((found[name] == wanted[name]).all() for name in wanted)


def test_a_step_of_training_may_give_its_arrays_away() -> None:
    cell = derive.cells.rnn()
    params = dj.init(cell, jax.random.key(0), I=3, H=4)
    x = jnp.ones((5, 2, 3))

    def step(params: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            outputs, last = dj.run(cell, params, x, state)
            return (outputs["h_next"] ** 2).sum(), last["h"]

        gradients, last = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), last

    one = other = jax.tree.map(jnp.copy, (params, jnp.zeros((2, 4))))
    one = jax.tree.map(jnp.copy, one)
    given_away = jax.jit(step, donate_argnums=(0, 1))
    for _ in range(4):
        one, other = given_away(*one), step(*other)
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)
