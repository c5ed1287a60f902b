"""Maps between cells with axes that are more than other names: scales, sums, ties, numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from renamed import renamed
from test_equal_axes import with_other_names

import derive
from derive.fuzz.axes_grammar import cells_with_axes
from derive.fuzz.check import cell_of

HEADS = """
cell {name}
input x: I
state h: N x D
param W: N x D x I, U: {shape}, {more}
h' = tanh({line})
output h'
"""


def head_cell(name: str, line: str, more: str = "b: N x D", shape: str = "N x D x D") -> Any:
    return derive.Cell.parse(HEADS.format(name=name, line=line, more=more, shape=shape))


PLAIN = head_cell("plain", "W @ x + U @ h + b")
#: {what: (a cell that is PLAIN, the parameters of it, those of PLAIN)}
TAKEN_UP = {
    "a scale of each head": (
        head_cell("other", "s * (W @ x) + U @ h + b", "b: N x D, s: N"),
        ["W = W", "U = U", "b = b", "s = 1"], ["W = W * s", "U = U", "b = b"],
    ),
    "a scale of each unit, the same in all heads": (
        head_cell("other", "s * (W @ x + U @ h) + b", "b: N x D, s: D"),
        ["W = W", "U = U", "b = b", "s = 1"], ["W = W * s", "U = U * s", "b = b"],
    ),
    "a second bias": (
        head_cell("other", "W @ x + c + U @ h + b", "b: N x D, c: D"),
        ["W = W", "U = U", "b = b", "c = 0"], ["W = W", "U = U", "b = b + c"],
    ),
    "numbers": (
        head_cell("other", "2 * (W @ x) - U @ h / 3 + b"),
        ["W = 1/2 * W", "U = -3 * U", "b = b"], ["W = 2 * W", "U = -1/3 * U", "b = b"],
    ),
    "a number beside a bias": (
        head_cell("other", "W @ x + U @ h + b + 1"),
        ["W = W", "U = U", "b = b - 1"], ["W = W", "U = U", "b = b + 1"],
    ),
    "a number so large that all is saturated": (
        head_cell("other", "W @ x + U @ h + (b - 1000)"),
        ["W = W", "U = U", "b = b + 1000"], ["W = W", "U = U", "b = b - 1000"],
    ),
    "a number beside a multiple of a bias, negated": (
        head_cell("other", "W @ x + U @ h - 2 * b + 1 / 3"),
        ["W = W", "U = U", "b = -1/2 * b + 1/6"], ["W = W", "U = U", "b = -2 * b + 1/3"],
    ),
    "a number beside two biases": (
        head_cell("other", "W @ x + c + U @ h + b + 1", "b: N x D, c: D"),
        ["W = W", "U = U", "b = b - 1", "c = 0"], ["W = W", "U = U", "b = b + c + 1"],
    ),
    "numbers and a transpose": (
        head_cell("other", "W @ x + 4 * (U.T @ h) + b"),
        ["W = W", "U = (1/4 * U).T", "b = b"], ["W = W", "U = (4 * U).T", "b = b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN_UP)
def test_parameters_that_others_take_up_are_left_out(name: str) -> None:
    other, forward, backward = TAKEN_UP[name]
    verdict = derive.equal(PLAIN, other)
    assert verdict.status == "equal" and verdict.proved
    assert verdict.forward is not None and verdict.backward is not None
    assert verdict.forward.lines() == forward and verdict.backward.lines() == backward
    assert max(verdict.forward.error, verdict.backward.error) < 1e-12
    assert derive.equal(other, PLAIN).status == "equal"


GATES = """
cell {name}
input x: I
state h: N x D, c: N x D
param W_f: N x D x I, U_f: N x D x D, b_f: {bias}, W_i: N x D x I, U_i: N x D x D, b_i: N x D
param W_o: N x D x I, U_o: N x D x D, b_o: N x D, W_g: N x D x I, U_g: N x D x D, b_g: N x D
f = sigmoid(W_f @ x + U_f @ h + {forget})
i = sigmoid(W_i @ x + U_i @ h + b_i)
o = sigmoid(W_o @ x + U_o @ h + b_o)
g = tanh(W_g @ x + U_g @ h + b_g)
c' = f * c + i * g
h' = o * tanh(c')
output h'
"""


@pytest.mark.parametrize("bias", ["N x D", "N"])
@pytest.mark.parametrize(
    ("forget", "value"), [("b_f + 1", "b_f - 1"), ("1 - b_f", "-b_f + 1"), ("b_f + 30", "b_f - 30")]
)
def test_the_forget_bias_of_heads_may_have_a_number_beside_it(
    bias: str, forget: str, value: str
) -> None:
    one, other = (
        derive.Cell.parse(GATES.format(name=name, bias=bias, forget=text))
        for name, text in (("one", "b_f"), ("other", forget))
    )
    verdict = derive.equal(one, other)
    assert verdict.status == "equal" and verdict.proved
    assert f"b_f = {value}" in verdict.forward.lines() and verdict.forward.error < 1e-9
    assert "for b_f stands only as a term by itself" in "\n".join(verdict.forward.steps)


#: {what: (a cell with a number, the same without it)}: no parameter takes it up.
NOT_TAKEN_UP = {
    "beside no parameter": ("W @ x + U @ h + 1", "W @ x + U @ h"),
    "beside a product": ("b * (W @ x) + U @ h + 1", "b * (W @ x) + U @ h"),
    "a parameter that stands elsewhere too": ("W @ x + U @ (h * b) + b + 1",
        "W @ x + U @ (h * b) + b"),
    "beside one of two places": ("W @ x + sin(U @ h + b) + b + 1", "W @ x + sin(U @ h + b) + b"),
    "other numbers in two places": ("W @ x + sin(U @ h + b + 1) + b + 2",
        "W @ x + sin(U @ h + b) + b"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_TAKEN_UP)
def test_a_number_that_no_parameter_can_take_up_is_a_difference(name: str) -> None:
    one, other = (head_cell(n, line) for n, line in zip("ab", NOT_TAKEN_UP[name], strict=True))
    verdict = derive.equal(one, other)
    assert verdict.status in ("not equal", "undecided") and not verdict.proved
    assert verdict.forward is None and verdict.backward is None


def test_a_number_goes_from_one_place_of_a_parameter_to_the_other() -> None:
    one = head_cell("one", "W @ x + sin(U @ h + b) + b + 1")
    verdict = derive.equal(one, head_cell("other", "W @ x + sin(U @ h + b - 1) + b"))
    assert verdict.status == "equal" and verdict.proved
    assert "b = b + 1" in verdict.forward.lines()


#: Lines that compute the same as `tanh(W @ x + b * k) / 2 + h / 2` or `tanh(W @ x + b) ...`, which
#: is not proved, and are saturated for parameters of ordinary size.
SATURATED = {
    "by 20": ("tanh(W @ x + (b - 20) * k) / 2", "tanh(W @ x + b * k) / 2"),
    "by 100": ("tanh(W @ x + (b - 100) * k) / 2", "tanh(W @ x + b * k) / 2"),
    "by a factor": ("tanh(1000 * (W @ x) + 1000 * (V @ x) + b)", "tanh(W @ x + b)"),
    "by a large factor": ("tanh(10**6 * (W @ x + V @ x) + b)", "tanh(W @ x + b)"),
}


@pytest.mark.parametrize("name", SATURATED)
def test_fits_of_outputs_that_hardly_change_with_parameters_are_no_evidence(name: str) -> None:
    text = "cell {}\ninput x: I\nstate h: N x D\nparam W: N x D x I, V: N x D x I, b: N x D, "
    text += "k: N x D\nh' = {} + h / 2\noutput h'\n"
    one, other = (
        derive.Cell.parse(text.format(n, line))
        for n, line in zip("ab", SATURATED[name], strict=True)
    )
    verdict = derive.equal(one, other)
    assert verdict.status == "undecided"
    assert "fits of b are no evidence: outputs of a or b hardly change" in str(verdict)


def test_fixed_arrays_and_starts_are_never_taken_up() -> None:
    scaled = head_cell("other", "s * (W @ x) + U @ h + b", "b: N x D\nfixed s: N")
    assert derive.equal(PLAIN, scaled).status != "equal"
    text = HEADS.replace("state h: N x D", "state h: N x D = c")
    line, more = "W @ x + U @ h + b + c", "b: N x D, c: N x D"
    started = derive.Cell.parse(text.format(name="a", line=line, more=more, shape="N x D x D"))
    line = "W @ x + U @ h + b"
    other = derive.Cell.parse(text.format(name="b", line=line, more=more, shape="N x D x D"))
    assert derive.equal(started, other).status != "equal"


@pytest.mark.parametrize(
    ("line", "more", "shape"),
    [
        ("W @ x + U @ h + b", "b: N x D", "D x D"),
        ("W @ x + U @ h + b", "b: D", "N x D x D"),
        ("W @ x + U @ h + U @ tanh(h)", "c: D", "N x D x D"),
    ],
    ids=["a matrix for all heads", "a bias for all heads", "one matrix twice"],
)
def test_heads_that_share_parameters_are_a_sub_case(line: str, more: str, shape: str) -> None:
    one = head_cell("one", line, more, shape)
    other = PLAIN if "tanh" not in line else head_cell("other", line.replace("U @ t", "V @ t"),
        "V: N x D x D")  # fmt: skip
    verdict = derive.equal(one, other)
    assert verdict.status == "sub-case", str(verdict)
    assert verdict.forward is not None and verdict.backward is None
    assert verdict.forward.error < 1e-12
    assert derive.equal(other, one).status == "sub-case"


@pytest.mark.parametrize("name", ["ttt_linear", pytest.param("ltc", marks=pytest.mark.slow)])
def test_a_copy_of_a_cell_that_nests_deeply_is_proved_equal(name: str) -> None:
    cell = derive.cells.from_spec(name)
    verdict = derive.equal(cell, with_other_names(cell))
    assert verdict.status == "equal" and verdict.proved


def test_the_work_of_a_copy_grows_with_the_length_of_the_cell_and_not_exponentially() -> None:
    lines = [f"h_{k} = tanh(W * h_{k - 1} + h_{k - 1} * sum(h_{k - 1}))" for k in range(1, 14)]
    text = "cell deep\nstate h: N x D\nparam W: D\nh_0 = h\n" + "\n".join(lines)
    deep = derive.Cell.parse(text + "\nh' = h_13\noutput h'\n")
    verdict = derive.equal(deep, with_other_names(deep))
    assert verdict.status == "equal" and verdict.proved


def test_functions_whose_arguments_may_change_places_match_in_either_order() -> None:
    one = head_cell("one", "maximum(W @ x, U @ h)", "b: D")
    other = head_cell("other", "minimum(-(Z @ h), -(A @ x))", "b: D, Z: N x D x D, A: N x D x I")
    assert derive.equal(one, other).status != "equal"
    other = head_cell("other", "maximum(A @ h, Z @ x)", "b: D, A: N x D x D, Z: N x D x I")
    assert derive.equal(one, other).status == "equal"


def test_cells_without_parameters_are_told_apart() -> None:
    text = "cell {}\ninput x: H\nstate h: H\nh' = {}\noutput h'\n"
    one = derive.Cell.parse(text.format("one", "layer_norm(x + h)"))
    other = derive.Cell.parse(text.format("other", "layer_norm(x + h, eps=1e-3)"))
    assert derive.equal(one, other).status == "not equal"
    summed = derive.Cell.parse(text.format("summed", "cumsum(x) + h / 2"))
    assert derive.equal(summed, derive.Cell.parse(text.format("p", "x + h / 2"))).status == (
        "not equal"
    )


def test_a_root_of_nothing_ends_no_comparison() -> None:
    text = "cell {}\ninput x: I\nstate h: H\nv = W @ x + U @ h\nh' = {}\noutput h'\n"
    one = derive.Cell.parse(text.format("one", "v / norm(v)"))
    other = derive.Cell.parse(text.format("other", "v / sqrt(sum(v * v))"))
    assert derive.equal(one, other).status in ("equal in values", "undecided")


def test_two_gains_are_one() -> None:
    text = "cell {}\ninput x: I\nstate h: H\nh' = {}\noutput h'\n"
    one = derive.Cell.parse(text.format("one", "tanh(g * k * layer_norm(W @ x + U @ h))"))
    other = derive.Cell.parse(text.format("other", "tanh(g * layer_norm(W @ x + U @ h))"))
    verdict = derive.equal(one, other)
    assert verdict.status == "equal" and verdict.proved


def test_an_undecided_pair_says_which_kinds_of_arrays_differ() -> None:
    text = "cell {}\ninput x: I\nstate h: H{}\nh' = tanh(W @ x + U @ h)\noutput h'\n"
    one = derive.Cell.parse(text.format("one", " = h0"))
    verdict = derive.equal(one, derive.Cell.parse(text.format("other", "")))
    assert verdict.status == "undecided"
    assert "states that start from a parameter: one has 1, other 0" in str(verdict)


#: Cells of a grammar of random ones. Each raised an exception, or a copy of it was undecided.
STRANGE = {
    "a state that nothing reads": "input x: N x D\nstate h: N x D\nh' = tanh(x)\noutput h'\n",
    "widths that only an output tells": (
        "input x: I + H\nstate c: I = m\nparam m: I, f: I x I + H\nfixed w: 1\nk = f @ x\n"
        "c' = tanh(w)\noutput c'\n"
    ),
    "a next state that is the same in all rows": (
        "input x: K x 2\nstate s: K x 2 = v, t: 2 x N = m\nparam v: K x 2, m: 2 x N, r: K, w: 2\n"
        "s' = 0.5 * tanh(12 + r) + 0.2 * s\nt' = tanh(w**2)\noutput t'\n"
    ),
    "an output that is made of parameters": (
        "input x: D x H\nstate b: 2 x 3 = t\nparam t: 2 x 3, v: 2 x 3 x 3, u: D\n"
        "b' = 0.5 * tanh(v.T @ t) + 0.2 * b\na = u * 2\noutput a, b'\n"
    ),
    "an input with axes that nothing reads, among vectors": (
        "input x: P x K\nstate n: H\nn' = 0.5 * tanh(n * n) + 0.2 * n\noutput n'\n"
    ),
    "an unread state that need not be a number": (
        "input x: P x K\nstate s: I + H\nparam b: K x I + H, w: I + H\n"
        "s' = diag(diag(w) @ s) @ (mean(b, K) + layer_norm(s))\noutput x\n"
    ),
    "the state before": (
        "input x: H + 1\nstate c: N x P x D\nparam w: N x D x D, a: N x D\n"
        "c' = 0.5 * tanh(w @ a) + 0.2 * c\noutput c', c\n"
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_copy_of_a_strange_cell_is_proved_equal_and_a_change_of_it_ends_in_a_verdict(
    name: str,
) -> None:
    text = f"cell strange\n{STRANGE[name]}"
    cell = derive.Cell.parse(text)
    verdict = derive.equal(cell, with_other_names(cell))
    assert verdict.status == "equal" and verdict.proved, str(verdict)
    # What is changed may be what no output depends on.
    changed = derive.Cell.parse(text.replace("0.5 * tanh(", "0.5 * sin(").replace("u * 2", "u**2"))
    assert derive.equal(cell, changed).status in ("equal", "not equal", "undecided")


@pytest.mark.parametrize("number", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_a_copy_of_a_random_cell_with_axes_is_proved_equal(number: int) -> None:
    @seed(4242)
    @settings(
        max_examples=number, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cells_with_axes())
    def each(drawn: Any) -> None:
        found = cell_of(drawn)
        if found is not None:
            verdict = derive.equal(found[0], renamed(found[0]))
            assert verdict.status == "equal" and verdict.proved, f"{found[1]}\n{verdict}"

    each()
