"""Which cells compute the same: the identities of the literature, true and false."""

from __future__ import annotations

import json

import numpy as np
import pytest

import derive
from derive import cli, polynomial
from derive.comparison.equal import Verdict, equal
from derive.polynomial import Atom, constant, function, of

cells = derive.cells
parse = derive.Cell.parse

HEAD = "cell {}\ninput x: I\nstate h: H{}\n"
SLSTM = (
    "z = tanh(W_z @ x + R_z @ h + b_z)\no = sigmoid(W_o @ x + R_o @ h + b_o)\n"
    "i = W_i @ x + R_i @ h + b_i\nF = W_f @ x + R_f @ h + b_f\n"
)
STABLE = (
    "m' = maximum(logsigmoid(F) + m, i)\ni2 = exp(i - m')\nf2 = exp(logsigmoid(F) + m - m')\n"
    "c' = f2 * c + i2 * z\nn' = {}\nh' = o * c' / n'\noutput h'"
)
TEXTS = {
    "t_rnn": "z = W @ x + b_z\nf = sigmoid(V @ x + b_f)\nh' = f * h + (1 - f) * z\noutput h'",
    "star": "z = tanh(W_z @ x + b_z)\nk = sigmoid(W_x @ x + U @ h + b_k)\n"
    "h' = tanh((1 - k) * h + k * z)\noutput h'",
    "star_code": "z = tanh(W_z @ x + b_z)\nf = W_x @ x + U @ h + b_k\n"
    "h' = tanh(sigmoid(f) * h + (1 - sigmoid(f - 1)) * z)\noutput h'",
    "turned": "param W: I x H\nh' = tanh(W.T @ x + U.T @ h - b)\noutput h'",
    "low": "param V: H x R, Q: R x H\nh' = tanh(W @ x + V @ (Q @ h) + b)\noutput h'",
    "low_2": "param A: H x K, B: K x H\nh' = tanh(W @ x - A @ (B @ h) + b)\noutput h'",
    "diagonal_before": "r = sigmoid(V @ x)\nh' = tanh(W @ x + u * (r * h))\noutput h'",
    "diagonal_after": "r = sigmoid(V @ x)\nh' = tanh(W @ x + r * (u * h))\noutput h'",
    "square": "h' = (W @ x) * (W @ x) + h\noutput h'",
    "product": "h' = (W @ x) * (V @ x) + h\noutput h'",
}


def cell(text: str) -> derive.Cell:
    if text in TEXTS:
        return parse(HEAD.format(text, "") + TEXTS[text])
    if text.startswith("slstm"):
        if text == "slstm_plain":
            body = "c' = sigmoid(F) * c + exp(i) * z\nn' = sigmoid(F) * n + exp(i)\n"
            body += "h' = o * c' / n'\noutput h'"
            return parse(HEAD.format(text, ", c: H, n: H") + SLSTM + body)
        n = "maximum(f2 * n + i2, 1)" if text == "slstm_max" else "f2 * n + i2"
        return parse(HEAD.format(text, ", c: H, n: H, m: H") + SLSTM + STABLE.format(n))
    return cells.from_spec(text)


EQUAL = {
    ("gru", "gru:keeps=candidate"): "W_z = -W_z",
    ("gru:reset=before", "gru:reset=before,keeps=candidate"): "b_z = -b_z",
    ("janet:beta=0", "ugrnn:forget_bias=2"): "b_g = b_f - 2",
    ("janet:beta=0", "ligru:activation=tanh"): "W_z = W_f",
    ("cifg", "cifg:gate=input"): "U_i = -U_f",
    ("cifg", "lstm:coupled=true"): "W_f = W_f",
    ("gru:reset=before,biases=2", "gru:reset=before,biases=1"): "b_n = b_hn + b_n",
    ("lstm:forget_bias=1.5", "lstm"): "b_f = b_f + 3/2",
    ("min_gru", "t_rnn"): "V = -W_z",
    ("rnn", "turned"): "W = W.T",
    ("low", "low_2"): "B = -Q",
    ("diagonal_before", "diagonal_after"): "u = u",
    ("slstm", "slstm_plain"): "W_i = W_i",
    ("odyssey_variant_np", "lstm"): "b_i = b_i",
}


@pytest.mark.parametrize("pair", EQUAL, ids="-".join)
def test_a_true_identity_is_proved_with_its_map(pair: tuple[str, str]) -> None:
    verdict = equal(*map(cell, pair))
    assert verdict.status == "equal" and verdict and verdict.distances == ()
    assert verdict.forward is not None and EQUAL[pair] in verdict.forward.lines()
    assert all(m.error < 1e-12 for m in (verdict.forward, verdict.backward) if m)


@pytest.mark.parametrize("pair", [p for p in EQUAL if p[0] != "slstm"], ids="-".join)
def test_an_identity_holds_read_the_other_way(pair: tuple[str, str]) -> None:
    assert equal(cell(pair[1]), cell(pair[0])).status == "equal"


def test_a_stabiliser_is_seen_through_from_either_side() -> None:
    assert equal(cell("slstm_plain"), cell("slstm")).status == "equal"


def test_all_sigmoid_lstm_has_twice_the_candidate_weights() -> None:
    lstm = cells.lstm()
    verdict = equal(lstm, lstm.vary(g="2 * sigmoid(W_g @ x + U_g @ h + b_g) - 1"))
    assert verdict.forward is not None and "U_g = 2 * U_g" in verdict.forward.lines()


def test_states_that_are_one_are_merged() -> None:
    open_cifg = cells.cifg().vary(o=1, activation={"h'": "identity"})
    verdict = equal(cells.janet(beta=0), open_cifg)
    assert verdict.status == "equal" and verdict.forward is not None and verdict.forward.from_zero
    assert verdict.notes


def test_names_of_arrays_states_and_widths_do_not_count() -> None:
    gru = cells.gru(reset="before")
    other = parse(gru.vary(rename={"h": "s", "z": "q", "W_n": "A"}).to_text().replace(" H", " M"))
    assert equal(gru, other).status == "equal"


def test_permuted_gates_of_a_large_cell_are_found() -> None:
    turned = cells.nas().vary(rename={f"W_{k}": f"W_{(k + 1) % 8}" for k in range(8)})
    assert equal(cells.nas(), turned).status == "equal"


SUB_CASES = {
    ("cifg", "lstm"): "U_i = -U_f",
    ("mgu", "gru:reset=before,keeps=candidate"): "W_r = W_f",
    ("indrnn", "rnn:activation=relu"): "U = diag(u)",
    ("gru:biases=1", "gru:biases=2"): "b_hn = 0",
    ("lstm", "lstm:peephole=true"): "p_o = 0",
}


@pytest.mark.parametrize("pair", SUB_CASES, ids="-".join)
def test_a_tied_cell_is_a_sub_case(pair: tuple[str, str]) -> None:
    verdict = equal(*map(cell, pair))
    assert verdict.status == "sub-case" and not verdict
    assert verdict.forward is not None and SUB_CASES[pair] in verdict.forward.lines()
    assert verdict.backward is None and verdict.distances[0].relative > 0.01


FALSE = [
    ("janet", "ugrnn"),
    ("star", "star_code"),
    ("gru:reset=before", "gru:biases=1"),
    ("slstm_max", "slstm_plain"),
    ("rnn", "rnn:activation=softsign"),
]


@pytest.mark.parametrize("pair", FALSE, ids="-".join)
def test_a_false_identity_is_refuted_with_numbers(pair: tuple[str, str]) -> None:
    verdict = equal(*map(cell, pair))
    assert verdict.status == "not equal" and verdict.forward is None and verdict.backward is None
    far = max(verdict.distances, key=lambda each: each.relative)
    assert far.relative > 0.01 and far.wanted != far.got


def test_the_numbers_of_a_counter_example_can_be_reproduced() -> None:
    a, b = cell("star"), cell("star_code")
    (found, _) = equal(a, b).distances
    for one, params, value in ((a, found.params, found.wanted), (b, found.fitted, found.got)):
        kernel = derive.compile(one, target="numpy", dtype="float64")
        run = kernel.forward(params, found.inputs)
        assert run.outputs[found.output][found.place] == pytest.approx(value, rel=1e-12)


def test_cells_of_different_inputs_or_outputs_are_different() -> None:
    two = parse("cell two\nstate h: H\nh' = W @ x + A @ y\ninput x, y\noutput h'")
    assert equal(cells.rnn(), two).notes == ("inputs: rnn has x; two has x, y",)
    assert equal(cells.rnn(), two).status == "not equal"
    narrow = parse("cell narrow\ninput x: 3\nstate h: H\nh' = W @ x\noutput h'")
    assert "width" in equal(cells.rnn(), narrow).notes[0]


def test_a_search_that_was_not_finished_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("derive.comparison.matching.MAX_NODES", 2)
    verdict = equal(cell("star"), cell("star_code"))
    assert verdict.status == "undecided" and "not every way" in verdict.notes[0]


def test_a_product_of_two_unknown_matrices_is_not_guessed() -> None:
    # What is left after the linear equations is tried by names and shapes, and no more.
    verdict = equal(cell("square"), cell("product"))
    assert verdict.status in ("sub-case", "undecided")


def test_a_form_that_grows_beyond_use_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polynomial, "MAX_TERMS", 2)
    verdict = equal(cell("star"), cell("star_code"))
    assert verdict.status == "undecided" and "too large" in verdict.notes[0]


def test_a_wrong_map_is_caught_by_numbers() -> None:
    from dataclasses import replace

    from derive.comparison.equal_numbers import confirm

    a, b = cells.gru(), cells.gru(keeps="candidate")
    right = equal(a, b).forward
    assert right is not None
    wrong = replace(right, params={**right.params, "W_z": right.params["W_r"]})
    assert confirm(a, b, wrong) > 0.01


def test_every_entry_equals_itself_and_reordered_terms_are_no_difference() -> None:
    for name in ("rnn", "lstm", "gru", "min_lstm", "cfn", "odyssey_variant_fgr"):
        verdict: Verdict = equal(cells.from_spec(name), cells.from_spec(name))
        assert verdict.status == "equal"
    one = parse(HEAD.format("one", "") + "h' = tanh(W @ x + b + U @ h) * 2 - p * h\noutput h'")
    other = parse(
        HEAD.format("other", "")
        + "a = U @ h\ns = a + b + W @ x\nt = tanh(s)\nh' = t - p * h + t\noutput h'"
    )
    assert equal(one, other).status == "equal"


# --- canonical forms ------------------------------------------------------------------------

A, B_ = of(Atom("array", "a")), of(Atom("array", "b"))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (function("sigmoid", A) + function("sigmoid", constant(0) - A), constant(1)),
        (
            function("tanh", A),
            function("sigmoid", A + A) + function("sigmoid", A + A) - constant(1),
        ),
        (function("relu", A) - function("relu", constant(0) - A), A),
        (function("softplus", A) - function("softplus", constant(0) - A), A),
        (function("maximum", A, B_) + function("minimum", A, B_), A + B_),
        (function("exp", A) * function("exp", B_), function("exp", A + B_)),
        (function("exp", function("logsigmoid", A)), function("sigmoid", A)),
        (function("silu", A), A * function("sigmoid", A)),
        (function("hard_sigmoid", A) + function("hard_sigmoid", constant(0) - A), constant(1)),
        (polynomial.power(A * B_, polynomial.Fraction(-1)) * A * B_, constant(1)),
    ],
)
def test_an_identity_of_functions_holds_in_canonical_form(left, right) -> None:
    assert left == right and left.key == right.key


# --- command --------------------------------------------------------------------------------


def test_the_command_prints_the_map_and_says_how_it_went(capsys) -> None:
    assert cli.status(["equal", "janet:beta=0", "ugrnn:forget_bias=2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("equal: janet_beta_0 and ugrnn_forget_bias_2 compute the same")
    assert "b_g = b_f - 2" in out and "confirmed" in out
    assert cli.status(["equal", "cifg", "lstm"]) == 1
    assert capsys.readouterr().out.startswith("sub-case: cifg is lstm with parameters")
    assert cli.status(["equal", "janet", "ugrnn"]) == 1
    assert "instead of" in capsys.readouterr().out


def test_the_command_writes_json(capsys, tmp_path) -> None:
    path = tmp_path / "star.cell"
    path.write_text(cell("star").to_text())
    assert cli.status(["equal", str(path), str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "equal" and found["maps"][0]["params"]["U"]["text"] == "U"
    assert cli.status(["equal", "janet", "ugrnn", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    example = found["counter_examples"][0]
    assert np.shape(example["params"]["W_f"]) == (3, 2) and example["relative"] > 0.01


def test_undecided_has_a_status_of_its_own(monkeypatch, capsys) -> None:
    monkeypatch.setattr("derive.comparison.matching.MAX_NODES", 2)
    assert cli.status(["equal", "janet", "ugrnn"]) == 3
    assert capsys.readouterr().out.startswith("undecided:")
