"""Arrays with axes in strange combinations: gradients against differences, on both targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import derive
from derive.kernel.signature import Sizes

SIZES = {"I": 5, "H": 6, "N": 2, "D": 3, "K": 4, "P": 2}
STEPS, ROWS = 3, 2

CELLS = {
    "parts of state": """
state s: 2*H + 1
a = s[0:H]
b = s[H:2*H]
c = s[2*H:2*H+1]
s' = concat(tanh(a * c + b), softmax(b), mean(a) * c)
y = cumsum(s') + max(s')
output y
""",
    "input parts": """
input z: I + 3
state h: H
u = z[0:I]
v = z[I:I+3]
h' = tanh(W @ u + V @ v + U @ h + sum(z) + norm(z) + logsumexp(z))
output h', z
""",
    "int parts": """
state h: 12
a, b, c = split(h, 3)
h' = tanh(W @ x + concat(b, c, a) * concat(a, a, b))
param W: 12 x I
output h'
""",
    "matrix parts": """
state C: D x 2*K
param W: 2*K x 2*K
A, B = split(C, 2)
q = w @ x
param w: K x I
C' = concat(tanh(B), A @ diag(q)) + 0.1 * sum(W)
y = C' @ concat(q, q * q)
output y, C'
""",
    "transposes": """
state C: D x D
param W: D x D
v = w @ x
param w: D x I
C' = tanh(C.T + C * 0.5 + W - W.T + outer(v, v) + diag(v) + eye(D))
y = C.T @ v + C' @ (W.T @ v) + diag(v) @ v
output y
""",
    "outputs along axes that are read": """
state h: N x D
param W: N x D x I
z = cumsum(h + W @ x)
m = max(z, N)
s = sum(z, N)
h' = tanh(z * 0.1 + m * s)
output z, m, s, h'
""",
    "softmax axis": """
state C: N x K
q = softmax(C, N)
r = softmax(C)
param W: N x K x I
C' = tanh(W @ x + layer_norm(C, N) * q - cumsum(r, N) + max(C, N) * logsumexp(C, N))
y = norm(C') + min(C') * mean(C')
output y
""",
    "norm of all": """
state C: N x D x K
param W: N x D x I
v = W @ x
param w: K x I
k = w @ x
C' = C / (1 + norm(C)) + outer(v, k) * sum(sum(C, N))
z = sum(C', D)
y = sum(max(C', N))
output y, z
""",
    "exp matrix": """
state h: H
param A: H x H, B: H x I
h' = tanh(exp(A) @ h + (tanh(B) * sigmoid(B)) @ x + (A - A.T) @ h)
s = sum(A) * h
output h', s
""",
    "shared outer": """
state h: H
param a: H, b: I
h' = tanh(outer(a, b) @ x + h * (softmax(a)) + (diag(a) @ outer(a, b)) @ x)
output h'
""",
    "wide broadcast": """
state C: N x D x K
param f: N, g: D, k: K, p: N x K
C' = tanh(sigmoid(f) * C + g + k * p)
y = C' @ (k * p)
output y
""",
    "once heads": """
input m: N x K once
state C: N x D x K
param W: D x I
C' = tanh(C * m + W @ x)
y = C' @ m
output y
""",
    "where": """
state C: N x D
param W: N x D x I
C' = where(C > 0.1, sqrt(C + 0.5), tanh(W @ x))
y = where(max(C') < 1, C', -C')
output y
""",
    "two heads mats": """
state h: N x D
param U: D x D, W: N x D x I
h' = tanh(U @ h + W @ x)
y = V @ h'
param V: N x P x D
output y
""",
    "matrix col": """
state h: H
param W: H x I, g: I
h' = tanh((W @ diag(g)) @ x + (g * W) @ x)
output h'
""",
    "nested cut": """
state h: 2*H
a = concat(x, h)
b = a[I:I+H]
c = concat(a, b)[I+H:I+3*H]
h' = tanh(K @ a + c)
param K: 2*H x I + 2*H
output h', a
""",
    "dot": """
state C: D x K
v = w @ x
param w: D x I
k = u @ x
param u: K x I
C' = C + 0.1 * outer(v, k)
y = sum(v * (C' @ k)) * k
output y, v
""",
    "power": """
state C: N x D
param W: N x D x I
C' = (C**2 + 1)**0.5 * tanh(W @ x) / (1 + exp(-C))
output C'
""",
    "clip": """
state C: N x D
param W: N x D x I
C' = clip(C + W @ x, -0.9, 0.9) + relu(C) - abs(C) * 0.1
y = maximum(C', minimum(C, 0.2))
output y
""",
    "out state": """
state C: N x D
param W: N x D x I
C' = tanh(C + W @ x)
output C, C'
""",
    "out param": """
state C: N x D
param W: N x D x I, b: N x D
C' = tanh(C + W @ x + b)
y = softmax(b)
output y, C'
""",
    "next scalar": """
state C: N x D, m: N
C' = 0.5
m' = mean(C) + mean(x)
output C', m'
""",
    "fixed conv": """
fixed A: N x K x K
state C: N x K
C' = tanh(A @ C + w @ x)
param w: N x K x I
output C'
""",
    "transposed and repeated": """
state C: D x 3 x K
param A: K x 3
C' = tanh(C + A.T * mean(x))
y = (C * A.T) @ mean(mean(C, D), 3)
output y
""",
    "running sum of parts": """
state n: D x H x 2
a, b = split(n, 2)
n' = 0.5 * tanh(cumsum(n)) + 0.2 * n
y = a * b
output y, n'
""",
    "int axes": """
state C: 2 x 3 x 4
param W: 2 x 3 x I
f = W @ x
C' = tanh(C * f + 0.1)
y = sum(C', 2)
output y
""",
    "H+1": """
state h: H
param W: H x I + 1
h' = tanh(W @ concat(x, 1) + U @ h)
output h'
""",
}
#: Compiled in every run; the others with -m slow.
COMPILED = ("matrix parts", "transposes", "exp matrix", "outputs along axes that are read")
CASES = [
    *((name, "numpy") for name in CELLS),
    *(
        pytest.param(name, "c", marks=[] if name in COMPILED else [pytest.mark.slow])
        for name in CELLS
    ),
]

Groups = dict[str, dict[str, Any]]


def _point(kernel: Any, random: np.random.Generator) -> Groups:
    own = kernel.signature
    sizes = Sizes(STEPS, ROWS, {dim: SIZES[dim] for dim in own.dims()})
    before = {n: (ROWS,) if n in own.once else (STEPS, ROWS) for n in own.inputs}
    return {
        "params": {n: 0.5 * random.normal(size=sizes.shape(a)) for n, a in own.params.items()},
        "inputs": {n: random.normal(size=before[n] + sizes.lengths(w))
                   for n, w in own.inputs.items()},
        "states": {n: random.normal(size=(ROWS, *sizes.lengths(w)))
                   for n, w in own.states.items() if n not in own.learned},
    }  # fmt: skip


@pytest.mark.parametrize("lengths", [None, np.array([1, 3])], ids=["whole", "ragged"])
@pytest.mark.parametrize(("name", "target"), CASES)
def test_gradients_are_those_of_differences(name: str, target: str, lengths: Any) -> None:
    cell = derive.Cell.parse("cell strange\ninput x: I\n" + CELLS[name])
    assert derive.Cell.parse(cell.to_text()) == cell
    kernel = derive.compile(cell, target=target, dtype="float64")
    random = np.random.default_rng(1)
    at = _point(kernel, random)

    def run(groups: Groups) -> Any:
        return kernel.forward(groups["params"], groups["inputs"], groups["states"], lengths=lengths)

    first = run(at)
    d_outputs = {n: random.normal(size=a.shape) for n, a in first.outputs.items()}
    d_states = {n: random.normal(size=a.shape) for n, a in first.states.items()}

    def loss(groups: Groups) -> float:
        found = run(groups)
        total = sum((d_outputs[n] * a).sum() for n, a in found.outputs.items())
        return float(total + sum((d_states[n] * a).sum() for n, a in found.states.items()))

    grads = kernel.backward(first, d_outputs, d_states)
    for group, arrays in at.items():
        for key, array in arrays.items():
            if key in kernel.signature.fixed:
                continue
            along = random.normal(size=array.shape)
            moved = [loss({**at, group: {**arrays, key: array + s * 1e-6 * along}})
                     for s in (1, -1)]  # fmt: skip
            slope = float((getattr(grads, group)[key] * along).sum())
            np.testing.assert_allclose(
                slope, (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-7, err_msg=key
            )


def test_a_fixed_array_has_no_gradient_and_a_start_is_drawn() -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate h: H = h0\nfixed M: H x H\n"
        "param U: H x H = orthogonal, b: H = log(uniform(1, 99)), g: H = 1, V: H x I = glorot\n"
        "h' = tanh((U * M) @ h + g * (V @ x) + b)\noutput h'"
    )
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    params = kernel.init(I=3, H=4, seed=2)
    assert list(params) == ["U", "b", "g", "V", "h0"]
    np.testing.assert_allclose(params["U"] @ params["U"].T, np.eye(4), atol=1e-14)
    assert ((params["b"] >= 0) & (params["b"] <= np.log(99))).all()
    np.testing.assert_array_equal(params["g"], 1)
    assert (abs(params["V"]) <= np.sqrt(6 / 7)).all()
    params["M"] = np.ones((4, 4))
    x = np.ones((2, 3, 3))
    learned = kernel.forward(params, x)
    given = kernel.forward(params, x, {"h": np.repeat(params["h0"][None], 3, axis=0)})
    np.testing.assert_array_equal(learned.output, given.output)
    one, other = (kernel.backward(run, np.ones((2, 3, 4))) for run in (learned, given))
    assert "M" not in one.params
    np.testing.assert_allclose(one.params["h0"], other.states["h"].sum(axis=0), rtol=1e-14)
    np.testing.assert_array_equal(other.params["h0"], 0)


def test_joining_and_cutting_leave_the_bits_of_gates_written_apart() -> None:
    joined = derive.Cell.parse(
        "cell one\ninput x: I\nstate h: H, c: H\nparam K: 4*H x I + H, b: 4*H\n"
        "i, j, f, o = split(K @ concat(x, h) + b, 4)\nc' = sigmoid(f) * c + sigmoid(i) * tanh(j)\n"
        "h' = sigmoid(o) * tanh(c')\noutput h'"
    )
    gates = "".join(f"{g} = W_{g} @ x + U_{g} @ h + b_{g}\n" for g in "ijfo")
    apart = derive.Cell.parse(
        "cell two\ninput x: I\nstate h: H, c: H\n" + gates
        + "c' = sigmoid(f) * c + sigmoid(i) * tanh(j)\nh' = sigmoid(o) * tanh(c')\noutput h'"
    )  # fmt: skip
    random = np.random.default_rng(3)
    K, b = random.normal(size=(16, 7)), random.normal(size=16)
    parts = {f"W_{g}": K[4 * k : 4 * k + 4, :3] for k, g in enumerate("ijfo")}
    parts |= {f"U_{g}": K[4 * k : 4 * k + 4, 3:] for k, g in enumerate("ijfo")}
    parts |= {f"b_{g}": b[4 * k : 4 * k + 4] for k, g in enumerate("ijfo")}
    x, d = random.normal(size=(5, 2, 3)), random.normal(size=(5, 2, 4))
    runs = []
    for cell, params in ((joined, {"K": K, "b": b}), (apart, parts)):
        kernel = derive.compile(cell, target="c", dtype="float64")
        run = kernel.forward(params, x)
        runs.append((run.output, kernel.backward(run, d)))
    (one, grads), (two, others) = runs
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(grads.inputs["x"], others.inputs["x"])
    for k, g in enumerate("ijfo"):
        rows = slice(4 * k, 4 * k + 4)
        np.testing.assert_array_equal(grads.params["K"][rows, :3], others.params[f"W_{g}"])
        np.testing.assert_array_equal(grads.params["K"][rows, 3:], others.params[f"U_{g}"])
        np.testing.assert_array_equal(grads.params["b"][rows], others.params[f"b_{g}"])


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_a_mean_over_no_element_is_no_number_and_no_exception(target: str) -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: K\nstate m: H\nparam b: I x H\n"
        "m' = where(m < 2, mean(b, I), layer_norm(m)) * norm(x)\noutput m'"
    )
    kernel = derive.compile(cell, target=target, dtype="float64")
    run = kernel.forward({"b": np.zeros((0, 3))}, np.ones((2, 1, 2)))
    assert np.isnan(run.output).all()
    grads = kernel.backward(run, np.ones((2, 1, 3)))
    assert grads.params["b"].shape == (0, 3)


def test_a_quotient_of_widths_has_the_dtype_of_the_kernel() -> None:
    text = "cell c\ninput x: H\nstate c: H\nc' = where(x < x, layer_norm(x), x)\noutput c'"
    kernel = derive.compile(derive.Cell.parse(text), target="numpy", dtype="float32")
    run = kernel.forward({}, np.ones((2, 1, 3)))
    (gradient,) = kernel.backward(run, np.ones((2, 1, 3))).inputs.values()
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_packed_parameters_that_do_not_say_where_they_are_cut_are_cut_by_the_call(
    target: str,
) -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate h: N\nparam b: I + 2*N\nh' = b[I:I+N] * h + mean(x)\noutput h'"
    )
    kernel = derive.compile(cell, target=target, dtype="float64")
    params, x, first = {"b": np.arange(1.0, 8.0)}, np.ones((2, 1, 3)), np.ones((1, 2))
    run = kernel.forward(params, x, first)
    np.testing.assert_array_equal(run.output[0, 0], [5.0, 6.0])
    packed = kernel.pack(params)
    again = kernel.forward(packed, x, first)
    np.testing.assert_array_equal(again.output, run.output)
    wanted, got = (kernel.backward(each, np.ones((2, 1, 2))) for each in (run, again))
    np.testing.assert_array_equal(got.params["b"], wanted.params["b"])
    stream = kernel.stream(packed, state={"h": first}, I=3, N=2)
    np.testing.assert_array_equal([stream(x[0]), stream(x[1])], run.output)
    narrow = kernel.forward(packed, np.ones((1, 1, 1)), np.ones((1, 3)))
    np.testing.assert_array_equal(narrow.output[0, 0], [3.0, 4.0, 5.0])


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_a_product_of_two_matrices_is_written_with_transposes(target: str) -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: H\nstate C: H x H\nparam W: H x H\nC' = (W @ C.T).T + outer(x, x)\n"
        "output C'"
    )
    kernel = derive.compile(cell, target=target, dtype="float64")
    random = np.random.default_rng(0)
    W, C = random.normal(size=(3, 3)), random.normal(size=(1, 3, 3))
    run = kernel.forward({"W": W}, np.zeros((1, 1, 3)), state=C)
    np.testing.assert_allclose(run.output[0, 0], W @ C[0], rtol=1e-13)


def test_dimensions_that_nothing_tells_apart_are_an_error_and_no_endless_search() -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate s: H + K\nparam U: H + K x H + K, W: H + K x I\n"
        "s' = tanh(W @ x + U @ concat(s[0:H], s[H:H+K]))\noutput s'"
    )
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    with pytest.raises(derive.DeriveError, match="nothing given determines"):
        kernel.forward({"U": np.ones((7, 7)), "W": np.ones((7, 2))}, np.ones((1, 1, 2)))


@pytest.mark.parametrize("start", ["1/0", "log(uniform(-2, -1))"])
def test_a_start_value_that_is_not_finite_is_an_error(start: str) -> None:
    cell = derive.Cell.parse(
        f"cell c\ninput x: H\nstate h: H\nparam b: H = {start}\nh' = tanh(x + h + b)\noutput h'"
    )
    with pytest.raises(derive.DeriveError, match="start value of parameter b is not finite"):
        derive.compile(cell, target="numpy").init(H=3)


def test_sums_of_widths_may_stand_in_parentheses() -> None:
    text = "cell one\ninput x: I\nstate h: 2*H\nparam K: {} x {}\nh' = K @ concat(x, h)\noutput h'"
    plain = derive.Cell.parse(text.format("2*H", "I + 2*H"))
    assert derive.Cell.parse(text.format("(2*H)", "(I + 2*(H))")) == plain
    assert derive.Cell.parse(text.format("2*(H)", "((I) + (H + H))")) == plain


def test_a_dimension_is_told_by_any_array_and_has_to_divide() -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate h: 2*H\nparam K: 2*H x I\na, b = split(h, 2)\n"
        "h' = tanh(K @ x + concat(b, a))\noutput h'"
    )
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    assert kernel.forward({"K": np.ones((6, 2))}, np.ones((1, 1, 2))).output.shape == (1, 1, 6)
    with pytest.raises(derive.DeriveError, match="parameter K has the wrong shape"):
        kernel.forward({"K": np.ones((5, 2))}, np.ones((1, 1, 2)))


JOINED = """
cell   joined
input  x: I
state  h: H, c: H
param  K: 4*H x I + H, b: 4*H
i, j, f, o = split(K @ concat(x, h) + b, 4)
c' = c * sigmoid(f) + sigmoid(i) * tanh(j)
h' = tanh(c') * sigmoid(o)
output h'
"""
HEADS = (
    "cell heads\ninput x: I\nstate h: N x D\nparam W: N x D x I\nh' = tanh(W @ x + h)\noutput h'"
)


def test_a_cell_of_joined_gates_is_proved_equal_to_one_of_gates_apart() -> None:
    gates = "".join(f"{g} = W_{g} @ x + U_{g} @ h + b_{g}\n" for g in "ijfo")
    apart = "cell apart\ninput x: I\nstate h: H, c: H\n" + gates
    apart += "c' = c * sigmoid(f) + sigmoid(i) * tanh(j)\nh' = tanh(c') * sigmoid(o)\noutput h'"
    verdict = derive.equal(derive.Cell.parse(JOINED), derive.Cell.parse(apart))
    assert verdict.status == "equal"
    assert verdict.proved


@pytest.mark.parametrize("format", ["text", "latex", "html", "json"])
@pytest.mark.parametrize("text", [HEADS, JOINED, "cell c\ninput x: I\n" + CELLS["transposes"]])
def test_it_can_be_shown(text: str, format: str) -> None:
    from derive import inspect

    stages = (
        "cell", "graph", "shapes", "program", "gradient", "chain", "schedule", "cost", "tangent",
        "second",
    )  # fmt: skip
    assert inspect.show(derive.Cell.parse(text), stages, format)


def test_it_can_be_written_in_sympy() -> None:
    from sympy import Eq, tanh

    x, C, C_next, y, W, v, k = derive.arrays("x C C_next y W v k")
    functions = derive.functions
    cell = derive.Cell(
        "memory",
        [
            Eq(k, functions.softmax(v @ x)),
            Eq(C_next, tanh(C + functions.outer(W @ x, k)) * functions.norm(C, "N")),
            Eq(y, C_next @ functions.layer_norm(k, 0.01) + functions.max(C_next)),
        ],
        inputs={"x": "I"},
        states={"C": ("N", "D", "K")},
        params={"W": ("N", "D", "I"), "v": ("K", "I"), "g": ("2*H", "I + 1")},
        outputs=("y",),
    )
    text = cell.to_text()
    assert "norm(C, N)" in text
    assert "layer_norm(k, eps=0.01)" in text
    assert cell.params["g"] == ("2*H", "I + 1")
    assert derive.Cell.parse(text) == cell


def test_everything_a_text_declares_can_be_declared_in_sympy() -> None:
    from sympy import Eq, tanh

    x, m, h, h_next, W, U, A, b = derive.arrays("x m h h_next W U A b")
    cell = derive.Cell(
        "all_of_it",
        [Eq(h_next, tanh(W @ x + U @ h + A @ h + b) * m)],
        inputs={"x": "I", "m": ("N", "D")},
        states={"h": ("N", "D")},
        params={"W": ("N", "D", "I"), "U": ("N", "D", "D")},
        fixed={"A": ("N", "D", "D")},
        once=["m"],
        starts={"h": "h0", "U": "orthogonal", "W": "log(uniform(1, 99))", "b": 1},
    )
    text = cell.to_text()
    for line in ("m: N x D once", "h: N x D = h0", "U: N x D x D = orthogonal", "b = 1",
                 "W: N x D x I = log(uniform(1, 99))", "fixed  A: N x D x D"):  # fmt: skip
        assert line in text
    assert derive.Cell.parse(text) == cell


@pytest.mark.parametrize(
    ("old", "new"),
    [("m: D once", "m: D"), ("h: D = h0", "h: D"), ("fixed", "param"), ("b: D = 1", "b: D = 2")],
)
def test_cells_that_differ_in_what_is_declared_are_not_the_same(old: str, new: str) -> None:
    text = (
        "cell c\ninput x: D, m: D once\nstate h: D = h0\nparam b: D = 1, h0: D\nfixed A: D x D\n"
        "h' = tanh(A @ h + x + b) * m + h0\noutput h'\n"
    )
    assert old in text
    one, other = derive.Cell.parse(text), derive.Cell.parse(text.replace(old, new))
    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"once": ["q"]}, "'q' is given once, and is no input"),
        ({"once": "x"}, "'x' is a string"),
        ({"starts": {"b": "q"}}, "'q' has no value before training"),
        ({"starts": {"b": "orthogonal"}}, "'orthogonal' draws matrices"),
    ],
)
def test_what_cannot_be_declared_in_sympy_is_refused(given: Any, message: str) -> None:
    from sympy import Eq

    x, h, h_next, b = derive.arrays("x h h_next b")
    with pytest.raises(derive.DeriveError, match=message):
        derive.Cell("c", [Eq(h_next, h + x + b)], inputs={"x": "H"}, states=["h"], **given)


def test_gains_of_layer_norm_start_at_one() -> None:
    for form in ("ba2016", "fastrnns", "tensorflow", "supercell"):
        cell = derive.cells.lstm(layer_norm=form)
        gains = [name for name in cell.params if name.startswith("gamma")]
        assert gains
        assert dict(cell.checked.starts) == dict.fromkeys(gains, 1.0)
        kernel = derive.compile(cell, "numpy")
        assert all((kernel.init(I=3, H=4)[name] == 1).all() for name in gains)
        assert not cell.checked.shapes  # a start value makes no axes


def test_loops_in_python_take_what_is_joined_and_cut() -> None:
    from derive import pipeline
    from derive.emit.python.loop import Style, loop_text

    plans = pipeline.schedule(derive.Cell.parse(JOINED))
    text = loop_text(plans.forward, Style.LIST, {"I": 3, "H": 4}, 2, 2, results=("h_next",))
    assert "def run(arrays)" in text


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_numbers_alone_are_joined_and_cut(target: str) -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: 1\nstate h: H\nu, v = split(concat(2, 3, x, 1), 2)\n"
        "w, z = split(concat(5, 7), 2)\nk = concat(11, 13)[1:2]\n"
        "h' = 0.5 * h + z * x\noutput u, v, w, k, h'\n"
    )
    assert derive.Cell.parse(cell.to_text()) == cell
    kernel = derive.compile(cell, target, dtype="float64")
    run = kernel.forward({}, np.ones((1, 1, 1)), {"h": np.ones((1, 3))})
    found = {name: array[0, 0].tolist() for name, array in run.outputs.items()}
    assert found == {"u": [2, 3], "v": [1, 1], "w": [5], "k": [13], "h_next": [7.5] * 3}
