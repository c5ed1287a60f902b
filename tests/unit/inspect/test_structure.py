"""What `derive.structure` says of known cells, in every format."""

from __future__ import annotations

import json

import axes_cells
import numpy as np
import pytest

import derive
from derive.errors import ArgumentError, ArgumentTypeError
from derive.inspect import show
from derive.inspect.facts.structure import Structure, Surety
from derive.program import interpret

SLSTM = """
cell   slstm_c_over_n
doc    sLSTM. Beck et al. 2024, arXiv 2405.04517, section 2.2.
input  x: I
state  h: H, c: H, n: H, m: H
z  = tanh(W_z @ x + R_z @ h + b_z)
o  = sigmoid(W_o @ x + R_o @ h + b_o)
a  = W_i @ x + R_i @ h + b_i
l  = logsigmoid(W_f @ x + R_f @ h + b_f)
m' = maximum(l + m, a)
i  = exp(a - m')
f  = exp(l + m - m')
c' = f * c + i * z
n' = f * n + i
h' = o * c' / n'
output h'
"""
#: The same without a stabiliser: the exponentials are not made smaller.
PLAIN = """
cell   slstm_plain
input  x: I
state  h: H, c: H, n: H
z  = tanh(W_z @ x + R_z @ h + b_z)
o  = sigmoid(W_o @ x + R_o @ h + b_o)
i  = exp(W_i @ x + R_i @ h + b_i)
f  = exp(W_f @ x + R_f @ h + b_f)
c' = f * c + i * z
n' = f * n + i
h' = o * c' / n'
output h'
"""


def of(text: str) -> Structure:
    return derive.structure(derive.Cell.parse(text))


def said(found: Structure, topic: str) -> str:
    return "\n".join(f"{c.says} [{c.surety.value}] {c.condition}" for c in found.of(topic))


KINDS = {
    "lstm": "nonlinear, linear in c by itself; dense",
    "gru": "nonlinear; dense",
    "min_gru": "linear; diagonal",
    "rg_lru": "linear; diagonal",
    "indrnn": "nonlinear; diagonal",
    "unicornn": "nonlinear, linear in z by itself; diagonal",
    "cfc": "nonlinear; rank N",
    "mamba": "linear; diagonal",
    "gated_delta": "linear; block-diagonal over N, D in blocks that are diagonal plus rank 1",
    "rwkv7": "linear; block-diagonal over N, D in blocks that are diagonal plus rank 1",
    "block_gru": "nonlinear; block-diagonal over N",
    "mlstm": "nonlinear, linear in C and in n each by itself; each state diagonal",
    "ttt_linear": "nonlinear; dense",
    "t_gru": "linear one state after the other; each state diagonal",
    "householder_rnn": "nonlinear; diagonal plus rank 4",
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_known_cells(name: str) -> None:
    if name in axes_cells.CELLS:
        assert of(axes_cells.CELLS[name][0]).kind == KINDS[name]
    else:
        assert derive.structure(derive.cells.from_spec(name)).kind == KINDS[name]


def test_linear_one_state_after_the_other() -> None:
    found = of("cell two\ninput x: H\nstate u: H, v: H\n"
               "u' = sigmoid(W @ x) * u + x\nv' = sigmoid(u) * v + u\noutput v'")  # fmt: skip
    assert found.kind == "linear one state after the other; diagonal"
    assert found.recurrence.parts == (("u",), ("v",)) and not found.linear
    assert "affine one after the other: u, then v" in said(found, "linear")


def test_coefficients_of_parameters_alone() -> None:
    lru = "cell lru\ninput x: I\nstate h: H\nh' = exp(-exp(nu)) * h + B @ x\noutput h'"
    found = of(lru)
    assert found.recurrence.constant_coefficients
    assert "parameters alone: each step is the same" in said(found, "linear")
    once = of(lru.replace("input  x: I", "input x: I").replace("x: I", "x: I, k: H once", 1)
              .replace("exp(-exp(nu))", "sigmoid(k)"))  # fmt: skip
    assert "depends on k, which do not change with time" in said(once, "linear")


def test_a_state_that_counts_makes_the_step_change_with_time() -> None:
    found = of("cell legs\ninput x: 1\nstate m: M, t: 1\nfixed A: M x M, b: M\n"
               "t' = t + 1\nm' = m + (A @ m + b * x) / t'\noutput m'")  # fmt: skip
    assert found.recurrence.clocks == ("t",)
    assert "t runs by itself" in said(found, "time")
    assert "1 / t' may divide by 0" not in said(found, "numbers")  # t starts at 0, and grows


BOUNDS = {
    "lstm": ("|h'| < 1, from any states [proved]", "|c| grows by at most 1 a step"),
    "gru": ("|h| < 1 at every step [proved under a condition]",),
    "cifg": ("|c| < 1 at every step", "|h| < 0.761595 at every step"),
    "rnn_activation_relu": ("h >= 0 at every step",),
    "fast_rnn": ("h stays bounded: each step shrinks it",),
    "min_gru": ("what is stored never grows: each step multiplies h by `1 - z`, in (0, 1)",),
    "lem": ("|h| < 1 at every step", "|z| < 1 at every step"),
    "cornn": ("no bound of z was found [not known]",),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_known_cells(name: str) -> None:
    text = said(derive.structure(derive.cells.from_spec(name)), "bound")
    for part in BOUNDS[name]:
        assert part in text


def test_a_leaky_state_is_bounded_by_how_it_grows() -> None:
    found = of("cell leaky\ninput x: H\nstate h: H\nh' = 0.75 * h + 0.5 * tanh(x)\noutput h'")
    assert "|h| <= 2 at every step" in said(found, "bound")


def test_states_that_stay_zero_are_looked_at_from_other_starts() -> None:
    """u opens where p is above a half, which it never is from zeros on."""
    found = of("cell skip\ninput x: H\nstate h: H, p: H\nu = where(p > 0.5, 1, 0)\n"
               "h' = u * tanh(x) + (1 - u) * h\np' = (1 - u) * p\noutput h'")  # fmt: skip
    assert "|h| <= 1 at every step" in said(found, "bound")
    learned = of("cell start\ninput x: H\nstate h: H = h0\nz = sigmoid(x)\n"
                 "h' = z * h + (1 - z) * tanh(x)\noutput h'")  # fmt: skip
    (claim,) = learned.of("bound")
    assert claim.condition == "it starts so (|h| < 1)"


def test_slstm_is_bounded_by_a_quotient_of_states() -> None:
    text = said(of(SLSTM), "bound")
    assert "|c / n| < 1 at every step [proved under a condition] c and n start as zeros" in text
    assert "|h| < 1 at every step" in text and "|c| grows by at most 1 a step" in text


INVERSES = {
    "min_gru": "`h = (h' - z * n) / (1 - z)` [proved]",
    "unicornn": "`h = h' - speed * z'`, then `z =",
    "lstm": "`U_o @ h = ",
    "sru": "`c = (c' - (1 - f) * (W_g @ x)) / f`",
}


@pytest.mark.parametrize("name", INVERSES)
def test_inverses_of_known_cells(name: str) -> None:
    assert INVERSES[name] in said(derive.structure(derive.cells.from_spec(name)), "inverse")


def test_a_step_that_forgets_a_state_cannot_be_inverted() -> None:
    found = of("cell f\ninput x: H\nstate h: H, s: H\nh' = tanh(x + h)\ns' = x\noutput h', s'")
    (claim,) = found.of("inverse")
    assert claim.says.endswith("no next value depends on s") and claim.surety is Surety.PROVED
    relu = of("cell r\ninput x: H\nstate h: H\nh' = relu(x + u * h)\noutput h'")
    assert "no inverse in closed form was found [not known]" in said(relu, "inverse")


def test_an_inverse_goes_back_through_a_sequence() -> None:
    cell = derive.cells.unicornn()
    found, kernel = derive.structure(cell).inverse, derive.compile(cell, "numpy", "float64")
    assert found is not None
    params = kernel.init(I=3, H=4, seed=1)
    x = np.random.default_rng(1).normal(size=(20, 2, 3))
    states = kernel.forward(params, x).states
    for t in reversed(range(20)):
        states = found.restore(params, {"x": x[t]}, states, sizes={"I": 3, "H": 4})
    assert all(np.abs(value).max() < 1e-12 for value in states.values())
    with pytest.raises(ArgumentError, match="the state z after the step is missing"):
        found.restore(params, {"x": x[0]}, {"h": states["h"]}, sizes={"I": 3, "H": 4})


# --- exponentials, divisions, stabilisers ---------------------------------------------------------


def test_the_stabiliser_of_slstm_changes_no_output() -> None:
    found = of(SLSTM)
    (claim,) = found.of("stabiliser")
    assert claim.surety is Surety.PROVED and claim.about == ("m", "c", "n")
    assert "no output depends on how m' is chosen" in claim.says
    numbers = said(found, "numbers")
    assert "never overflows, never divides by 0: `exp(a - m')`, `exp(l + m - m')`" in numbers
    assert "`1 / n'` never divides by 0 [proved under a condition] `n'` does not round" in numbers


def test_slstm_without_its_stabiliser_gives_the_same_numbers() -> None:
    """The proof says so; here the two run side by side, as two cells."""
    stable = derive.Cell.parse(SLSTM.replace("logsigmoid(W_f @ x + R_f @ h + b_f)",
                                             "W_f @ x + R_f @ h + b_f"))  # fmt: skip
    plain = derive.Cell.parse(PLAIN)
    random, sizes = np.random.default_rng(3), {"I": 2, "H": 3}
    table = stable.step.program.table()
    params = {n: random.normal(size=[sizes[d] for d in table[n].shape]) for n in stable.params}
    one = {name: np.zeros((4, 3)) for name in stable.states}
    other = {name: np.zeros((4, 3)) for name in plain.states}
    for _ in range(6):
        x = {"x": random.normal(size=(4, 2))}
        found = interpret(stable.step.program, {**params, **x, **one}, rows=4, sizes=sizes)
        plainly = interpret(plain.step.program, {**params, **x, **other}, rows=4, sizes=sizes)
        assert np.allclose(found["h_next"], plainly["h_next"], rtol=1e-12, atol=0)
        for state in "cn":  # the map of states
            scaled = found[f"{state}_next"] * np.exp(found["m_next"])
            assert np.allclose(scaled, plainly[f"{state}_next"], rtol=1e-12, atol=0)
        one = {name: found[f"{name}_next"] for name in stable.states}
        other = {name: plainly[f"{name}_next"] for name in plain.states}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("n' = maximum(f * n + i, 1)", "n': a comparison of what is scaled and what is not: "
                                       "`i + f * n` is scaled, `1` is not"),
        ("n' = f * n + i + 1", "n': a sum of what is scaled and what is not"),
        ("n' = exp(-abs(f * n + i))", "a function that sees the scale|an exponential of what"),
    ],
)  # fmt: skip
def test_the_stabiliser_of_a_variant_is_refused_with_the_reason(line: str, reason: str) -> None:
    (claim,) = of(SLSTM.replace("n' = f * n + i", line)).of("stabiliser")
    assert claim.surety is Surety.EXAMPLE
    assert claim.says == "outputs depend on how m' is chosen"
    assert any(part in claim.because[0] for part in reason.split("|"))


def test_a_stabiliser_is_offered_where_it_changes_nothing() -> None:
    (claim,) = of(PLAIN).of("stabiliser")
    assert claim.surety is Surety.PROVED
    assert "store `c * exp(-m)` and `n * exp(-m)`, with `m' = maximum(" in claim.says
    assert "may overflow" in said(of(PLAIN), "numbers")
    (claim,) = of(PLAIN.replace("n' = f * n + i", "n' = maximum(f * n + i, 1)")).of("stabiliser")
    assert claim.surety is Surety.UNKNOWN
    assert "`i + f * n` is scaled, `1` is not" in claim.because[0]
    for changed in ("output h', c'", "d = tanh(c)\noutput h', d"):
        (claim,) = of(PLAIN.replace("output h'", changed)).of("stabiliser")
        assert claim.surety is Surety.UNKNOWN
    (claim,) = of(PLAIN.replace("c' = f * c + i * z", "c' = f * c + i * z + f * n")).of(
        "stabiliser"
    )
    assert "a scaled state reads another one" in claim.because[0]


def test_a_stabiliser_of_each_head_is_one_number_for_all_its_units() -> None:
    text = axes_cells.CELLS["mlstm"][0]
    (claim,) = of(text).of("stabiliser")
    assert claim.surety is Surety.PROVED and claim.about == ("m", "C", "n")
    # A sum over the heads would need one number for all of them.
    mixed = text.replace("abs(sum(n' * q))", "abs(sum(n' * q) + 0 * sum(sum(n' * q), N))")
    (claim,) = of(mixed.replace("+ 0 *", "+ 1 *")).of("stabiliser")
    assert claim.surety is not Surety.PROVED
    assert "units that are scaled apart are summed" in claim.because[0]


def test_a_maximum_within_a_step_may_be_held_while_a_stabiliser_is_moved() -> None:
    """RWKV-4 reads with a maximum of its own, and stores with another."""
    found = derive.structure(derive.cells.from_spec("rwkv4"))
    (claim,) = found.of("stabiliser")
    assert claim.surety is Surety.PROVED and claim.about == ("o", "a", "b")


def test_softmax_never_overflows_and_never_divides_by_zero() -> None:
    text = said(of(axes_cells.CELLS["on_lstm"][0]), "numbers")
    assert "[not known]" not in text and "[proved under a condition]" not in text


def test_what_depends_on_parameters_alone_is_a_condition_on_them() -> None:
    text = said(of(axes_cells.CELLS["mamba"][0]), "numbers")
    assert "`exp(A_log)` never overflows [proved under a condition] `A_log` is at most 88.7" in text
    text = said(
        of("cell r\ninput x: H\nstate h: H\nh' = sqrt(h) / x + log(x)\noutput h'"), "numbers"
    )
    for part in ("`sqrt(h)` may be the root", "`1 / x` may divide by 0", "`log(x)` may be the log"):
        assert part in text


# --- formats --------------------------------------------------------------------------------------


def test_text_says_how_each_claim_is_known() -> None:
    text = derive.structure(derive.cells.min_gru()).text()
    assert text.startswith(
        "min_gru: linear; diagonal\n\nlinear      proved     h' is affine in h\n"
    )
    assert "`" not in text and max(map(len, text.splitlines())) <= 100


def test_json_holds_the_facts_and_the_claims() -> None:
    data = json.loads(show(derive.cells.lstm(), ("structure",), "json"))["structure"]
    assert data["linear"] is False and data["states"]["c"]["own"] == "affine"
    assert data["states"]["h"]["next"] == {
        "low": -1.0, "high": 1.0, "low_open": True, "high_open": True,
    }  # fmt: skip
    blocks = {(b["after"], b["before"]): b["kind"] for b in data["jacobian"]}
    assert blocks["c", "c"] == "diagonal" and blocks["h", "h"] == "dense"
    assert [one["state"] for one in data["inverse"]] == ["h", "c"]
    assert {claim["surety"] for claim in data["claims"]} == {"proved", "condition", "example"}


def test_html_and_latex_set_formulas_as_code() -> None:
    cell = derive.cells.min_gru()
    assert "<code>h&#x27; = (1 - z) * h + z * n</code>" in show(cell, ("structure",), "html")
    assert r"\texttt{h' = (1 - z) * h + z * n}" in show(cell, ("structure",), "latex")
    found = derive.structure(cell)
    assert "<code>" in found._repr_html_() and r"\text{proved}" in found._repr_latex_()


def test_a_cell_without_states_has_no_recurrence() -> None:
    found = of("cell plain\ninput x: I\nparam W: P x I\ny = tanh(W @ x)\noutput y")
    assert found.kind == "no recurrence"
    assert [claim.says for claim in found.claims] == ["there is no state, so no recurrence"]
    assert "no recurrence" in found.text()


def test_structure_takes_a_cell_alone() -> None:
    with pytest.raises(ArgumentTypeError, match="cell must be a Cell, not"):
        derive.structure("lstm")  # type: ignore[arg-type]


def test_parts_of_a_state_that_is_cut_are_states() -> None:
    found = of("cell cut\ninput x: 2*H\nstate s: 2*H\na, b = split(s, 2)\nu, v = split(x, 2)\n"
               "s' = concat(0.5 * a + u, a + b * v)\noutput s'")  # fmt: skip
    assert len(found.recurrence.states) == 2 and found.linear
    assert "[not known]" not in said(found, "linear") and found.text()


@pytest.mark.parametrize(
    ("equations", "topic", "words"),
    [
        # The mean of what s sums is no element of s: below zero it is the larger one.
        (
            "input x: I\nstate h: N\nparam W: N x D x I\nv = W @ x\ns = sum(v, D)\n"
            "h' = exp(mean(v, D) - max(s))\noutput h'",
            "bound",
            "",
        ),
        # A clock that is added multiplies nothing.
        (
            "input x: I\nstate h: H, t: 1\nt' = t + 1\nh' = h / 2 + W @ x + t\noutput h'",
            "linear",
            "changes with",
        ),
        # Two numbers above 0 whose product is 0 in float32.
        (
            "input x: I\nstate h: H\na = sigmoid(clip(W @ x, -80, 0))\n"
            "b = sigmoid(clip(V @ x, -80, 0))\nc = a * b\nh' = tanh(h) / c\noutput h'",
            "numbers",
            "never",
        ),
        # Bounded, though intervals see no bound.
        (
            "input x: I\nstate h: H\na = W @ x\nh' = h / 2 + softplus(a) - relu(a)\noutput h'",
            "bound",
            "no bound,",
        ),
    ],
)
def test_what_does_not_hold_is_not_proved(equations: str, topic: str, words: str) -> None:
    found = derive.structure(derive.Cell.parse(f"cell c\n{equations}"))
    proved = [
        claim.says
        for claim in found.claims
        if claim.topic == topic and claim.surety is Surety.PROVED
    ]
    assert not [says for says in proved if words in says]
