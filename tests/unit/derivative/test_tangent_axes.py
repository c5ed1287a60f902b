"""derive.tangent of cells whose arrays have axes: rules by name, texts, sequences."""

from __future__ import annotations

from typing import Any

import axes_cells
import numpy as np
import pytest
import torch
from axes_by_hand import SIZES, by_hand, over_time, point

import derive
from derive import pipeline
from derive.derivative import tangent_rules
from derive.program import interpret
from derive.symbolic import functions
from derive.verification import _moving
from derive.verification.session import Session

#: Every function over every axis; an axis that stands twice; axes in parts; kinks and widths.
ODD = {
    "each_axis": """
input x: N x D x K
state C: N x D x K, s: 1
param P: N x D x K
a = sum(C, N) + mean(C * x, N)
b = norm(C * P, D) + max(C - x, D) + min(x * P, D)
c = logsumexp(C, K) * sum(sum(softmax(x * C, D) * P, D), K)
d = cumsum(C * x, N) + layer_norm(C + x, D, eps=1e-3) * cumsum(P, D)
C' = d * tanh(a) + outer(c, b) / (1 + c**2) + s * b
s' = sum(sum(sum(C * d))) / 9 + max(max(a)) * norm(norm(b))
output C', s'
""",
    "one_axis_twice": """
input x: H
state Q: H x H
param A: H x H, B: H x H x H
m = max(Q) + min(A) + norm(Q * A)
s = softmax(Q + A) @ x
n = layer_norm(Q * A, eps=1e-2)
L = logsumexp(Q)
R = B @ x
S = softmax(B * B)
T = layer_norm(B, eps=1e-2)
u = max(B)
w = norm(B)
Q' = diag(m) @ n + Q @ diag(s) + outer(L, x) * R + (S @ x) * u.T + (T @ m) * w
output Q', m, k
k = ((A - A.T - 0.1 * eye(H)).T * Q) @ x
""",
    "parts": """
input x: I, y: 2*H
state h: H + 3, Q: H x 2*H
param K: 4*H x I + H, b: 4*H
fixed F: 2*H x H + 3, E: H + 3 x 2*H + 3
i, j, k, l = split(K @ concat(x, h[0:H]) + b, 4)
m = max(concat(i, h)) + min(concat(j, k)) * norm(concat(k, h))
z = softmax(concat(i, h)) + cumsum(concat(j, h)) - layer_norm(concat(k, h), eps=1e-2)
h' = tanh(E @ z * m + logsumexp(concat(l, h)))
Q' = outer(i, (F @ h) * y) + Q @ diag(concat(j, k)) * m + diag(l) @ outer(j, y)
w = sum(Q', H) + F @ h'
output w, z
""",
    "kinks": """
input x: N x D, c: N once
state h: N x D = h0, r: 1 = r0
param u: N, A: N x D x D, w: N x D, e: 1
fixed f: N
const k = 2
p = where(x < f, f * h, where(u * h <= c, exp(u), log(u * u + 1) * h))
q = maximum(p * c, u) + minimum(h, e) - clip(p * q0, -0.5, k)
t = abs(q) ** 1.5 + sqrt(u * u + 1) * q / (c * c + k) - r / (2 + sin(p))
y = silu(t) + gelu(t * e) + elu(h) * softplus(u + h) + stop_gradient(h * u) * x + floor(h)
h' = A @ (tanh(y) * u) + hard_tanh(e) * w + (stop_gradient(h) + f * w)
r' = sum(mean(h' * h)) * e + 2
output h', u, f
""",
}


def odd(name: str) -> derive.Cell:
    lines = [line for line in ODD[name].strip().splitlines() if not line.startswith("output")]
    output = next(line for line in ODD[name].splitlines() if line.startswith("output"))
    return derive.Cell.parse("\n".join([f"cell {name}", *lines, output]))


def published(name: str) -> derive.Cell:
    return derive.Cell.parse(axes_cells.CELLS[name][0])


def check_step(cell: derive.Cell, tangent: derive.Cell) -> None:
    """The tangent's step against the complex step of the cell's."""
    random, step, moving = np.random.default_rng(0), cell.step, tangent.step
    table = step.program.table()
    values, along = {}, {}
    for name in (*step.params, *step.inputs, *step.states):
        array = table[name]
        shape = tuple(SIZES[d] if isinstance(d, str) else d for d in array.shape)
        shape = (3, *shape) if array.per_row else shape
        values[name], along[name] = 0.7 * random.normal(size=shape), random.normal(size=shape)
    wholes = cell.checked.wholes
    still = {part for n in cell.checked.fixed for part, *_ in wholes.get(n, ((n,),))}
    along |= {name: np.zeros_like(along[name]) for name in still}
    moved = [name for name in step.params if name not in still]
    given: dict[str, Any] = {}
    for mine, group, rest in (
        (moving.params, moved, [n for n in step.params if n in still]),
        (moving.inputs, step.inputs, []),
        (moving.states, step.states, []),
    ):
        arrays = [values[n] for n in group] + [along[n] for n in group] + [values[n] for n in rest]
        given |= dict(zip(mine, arrays, strict=True))
    got = interpret(moving.program, given, rows=3, sizes=SIZES)
    turned = {name: values[name] + 1e-30j * along[name] for name in values}
    wanted = interpret(step.program, turned, rows=3, sizes=SIZES)
    for mine, names in ((moving.outputs, step.outputs), (moving.next_states, step.next_states)):
        for k, name in enumerate(names):
            value, tangent_ = wanted[name].real, wanted[name].imag / 1e-30
            scale = 1 + abs(tangent_).max()
            np.testing.assert_allclose(got[mine[k]], value, rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(
                got[mine[len(names) + k]] / scale, tangent_ / scale, atol=1e-11, err_msg=name
            )


@pytest.mark.parametrize("name", ODD)
def test_each_rule_is_the_complex_step_to_the_third_order(name: str) -> None:
    cell = odd(name)
    tangent = derive.tangent(cell)
    check_step(cell, tangent)
    check_step(tangent, derive.tangent(tangent))


@pytest.mark.parametrize("name", axes_cells.CELLS)
def test_the_tangent_of_a_published_cell_is_one_and_reads_back(name: str) -> None:
    cell = published(name)
    tangent = derive.tangent(cell)
    check_step(cell, tangent)
    assert derive.Cell.parse(tangent.to_text()) == tangent


def test_there_is_a_rule_for_every_function_of_whole_arrays() -> None:
    assert tangent_rules.OF_WHOLE_ARRAYS.keys() == functions.OVER_AXES.keys()


def test_a_tangent_is_written_as_its_cell_is() -> None:
    assert derive.tangent(published("tf_lstm")).to_text() == (
        "cell   tf_lstm_tangent\n"
        "doc    What tf_lstm computes, and its directional derivative: t_v is the tangent of v.\n"
        "input  x: I, t_x: I\n"
        "state  h: H, c: H, t_h: H, t_c: H\n"
        "param  K: 4*H x I + H\n"
        "param  b: 4*H = 0\n"
        "param  t_K: 4*H x I + H\n"
        "param  t_b: 4*H\n"
        "const  forget_bias = 1\n\n"
        "i, j, f, o         = split(K @ concat(x, h) + b, 4)\n"
        "sigmoid_c          = sigmoid(f + forget_bias)\n"
        "sigmoid_i          = sigmoid(i)\n"
        "tanh_j             = tanh(j)\n"
        "c'                 = c * sigmoid_c + sigmoid_i * tanh_j\n"
        "tanh_c_next        = tanh(c')\n"
        "sigmoid_o          = sigmoid(o)\n"
        "h'                 = tanh_c_next * sigmoid_o\n"
        "t_i, t_j, t_f, t_o = split(t_K @ concat(x, h) + K @ concat(t_x, t_h) + t_b, 4)\n"
        "t_c'               = t_c * sigmoid_c + c * (sigmoid_c * (1 - sigmoid_c) * t_f)"
        " + sigmoid_i * (1 - sigmoid_i) * t_i * tanh_j"
        " + sigmoid_i * ((1 - tanh_j**2) * t_j)\n"
        "t_h'               = (1 - tanh_c_next**2) * t_c' * sigmoid_o"
        " + tanh_c_next * (sigmoid_o * (1 - sigmoid_o) * t_o)\n\n"
        "output h', t_h'\n"
    )


def test_starts_given_once_and_fixed_arrays_keep_their_kinds() -> None:
    tangent = derive.tangent(published("block_gru"))
    assert tangent.checked.once == ("m", "t_m")
    assert tangent.checked.learned == {"h": "h0", "t_h": "t_h0"}
    tangent = derive.tangent(published("lmu"))
    assert tangent.checked.fixed == ("A", "B")
    assert "t_A" not in tangent.to_text()


CASES = [("block_gru", "numpy", True), ("lmu", "numpy", False), ("tf_lstm", "numpy", True),
         ("mlstm", "c", False)]  # fmt: skip
MORE = [pytest.param(name, "c", True, marks=pytest.mark.slow) for name in axes_cells.CELLS]


@pytest.mark.parametrize(("name", "target", "ragged"), [*CASES, *MORE])
def test_jvp_and_double_backward_over_time_are_those_of_autograd(
    name: str, target: str, ragged: bool
) -> None:
    text, step = axes_cells.CELLS[name]
    cell = derive.Cell.parse(text)
    own = pipeline.signature(cell)
    lengths = np.array([4, 0, 2]) if ragged else None
    at = point(derive.compile(cell, "numpy", "float64"))
    random = np.random.default_rng(7)
    along = [{n: random.normal(size=a.shape) for n, a in group.items()} for group in at]
    along[0] |= {n: np.zeros_like(along[0][n]) for n in own.fixed}
    outputs, last, leaves = by_hand(step, own, *at, lengths)
    results = {**outputs, **{f"last {n}": a for n, a in last.items()}}
    d = {n: torch.tensor(random.normal(size=tuple(a.shape))) for n, a in results.items()}

    given = [t for group in leaves.values() for t in group.values()]
    moved = [torch.tensor(a) for group in along for a in group.values()]
    loss = sum((d[n] * a).sum() for n, a in results.items())
    first = torch.autograd.grad(loss, given, create_graph=True, allow_unused=True)
    inner = sum((g * t).sum() for g, t in zip(first, moved, strict=True) if g is not None)
    second = torch.autograd.grad(inner, given, allow_unused=True)

    tangent = derive.tangent(cell)
    kernel = derive.compile(tangent, target, "float64")

    def paired(names: Any, group: dict[str, Any], move: dict[str, Any]) -> dict[str, Any]:
        names, moving = list(names), [n for n in group if n not in own.fixed]
        values = dict(zip(names[: len(moving)], moving, strict=True))
        found = {n: group[old] for n, old in values.items() if n in group}
        new = zip(names[len(moving) : 2 * len(moving)], moving, strict=True)
        return {**found, **{n: move[old] for n, old in new}, **{n: group[n] for n in own.fixed
                                                                if n in group}}  # fmt: skip

    states = [n for n in tangent.states if n in at[2] or n.removeprefix("t_") in at[2]]
    arguments = [paired(tangent.params, at[0], along[0]), paired(tangent.inputs, at[1], along[1]),
                 paired(states, at[2], along[2])]  # fmt: skip
    run = kernel.forward(*arguments, lengths=lengths)

    def jvp(*groups: Any) -> Any:
        found, after = over_time(step, own, *groups, lengths)
        return {**found, **{f"last {n}": a for n, a in after.items()}}

    tensors = [{n: torch.tensor(a) for n, a in group.items()} for group in at]
    tangents = [{n: torch.tensor(a) for n, a in group.items()} for group in along]
    _, wanted = torch.func.jvp(jvp, tuple(tensors), tuple(tangents))
    half = len(run.outputs) // 2
    got = dict(zip(outputs, list(run.outputs.values())[half:], strict=True))
    half = len(run.states) // 2
    got |= dict(zip((f"last {n}" for n in last), list(run.states.values())[half:], strict=True))
    for key, array in got.items():
        np.testing.assert_allclose(array, wanted[key], rtol=1e-10, atol=1e-10, err_msg=key)

    d_outputs = {t: d[n].numpy() for t, n in zip(list(run.outputs)[len(outputs) :], outputs,
                                                strict=True)}  # fmt: skip
    d_states = {t: d[f"last {n}"].numpy() for t, n in zip(list(run.states)[len(last) :], last,
                                                         strict=True)}  # fmt: skip
    grads = kernel.backward(run, d_outputs, d_states)
    found = iter(second)
    for group in ("params", "inputs", "states"):
        for name_, leaf in leaves[group].items():
            want = next(found)
            if name_ not in own.fixed:
                mine = getattr(grads, group)[name_]
                want = np.zeros(leaf.shape) if want is None else want
                np.testing.assert_allclose(mine, want, rtol=1e-9, atol=1e-9, err_msg=name_)


@pytest.mark.parametrize("wrong", [False, True])
def test_verification_checks_the_text_of_the_tangent(
    wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(rules: Any, node: Any, own: Any) -> Any:
        left, right = rules.expression(node.left), rules.expression(node.right)
        moved = tangent_rules.times(left.tangent, right.value) if left.tangent else None
        return tangent_rules.Moved(node, moved)

    if wrong:
        monkeypatch.setitem(tangent_rules.OF_OPERATORS, "*", half)  # type: ignore[arg-type]
    text = axes_cells.CELLS["mamba"][0].replace("mamba", f"half_{wrong}")
    cell = derive.Cell.parse(text)
    gradient = pipeline.differentiate(cell)
    session = Session(gradient, cell.name, cell.output_keys, 0, False, None, moving=_moving(cell))
    session._second_order((session.small,))
    checks = {row.check: row.ok for row in session.report().rows}
    assert (checks["jvp"], checks["double backward"]) == (not wrong, not wrong)


def test_parts_of_a_tangent_are_those_of_its_array() -> None:
    cell = derive.Cell.parse(
        "cell stopped\ninput x: I, y: 2*H\nstate h: H\nparam K: 2*H x I + H\n"
        "i, j = split(stop_gradient(K @ concat(h, x)), 2)\n"
        "h' = tanh(i + j * y[0:H])\noutput h'\n"
    )
    made = pipeline.tangent_of_parts(cell)
    for name, tangent in (("K", "t_K"), ("y", "t_y")):
        bounds = [[at for _, at in made.checked.wholes[n]] for n in (name, tangent)]
        assert bounds[0] == bounds[1]
    assert [made.step.program.table()[n].shape for n in made.step.params[:4]] == [
        made.step.program.table()[n].shape for n in made.step.params[4:]
    ]
