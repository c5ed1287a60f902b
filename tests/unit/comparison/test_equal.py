"""Which cells compute the same: the identities of the literature, true and false."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import numpy as np
import pytest

import derive
from derive.cli import main
from derive.comparison import polynomial
from derive.comparison.equal import Verdict, equal, narrow
from derive.comparison.equal_axes import Found
from derive.comparison.polynomial import ONE, ZERO, Atom, constant, exp, function, of, power
from derive.comparison.polynomial.functions import FORMS
from derive.symbolic.evaluate import NUMPY
from derive.symbolic.functions import RULES

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
    "leaky": "h' = leaky_relu(W @ x + U @ h)",
    "leaky_2": "a = 3 * (W @ x + U @ h)\nh' = where(a <= 0, a / 100, a) / 3",
    "state_2": "s = W @ x + U @ (h - 1)\nh' = 1 + sin(s)",
    "state_1": "h' = sin(W @ x + U @ h)",
    "stopped": "h' = sin(W @ x + stop_gradient(U @ h))",
    "by_mean": "h' = tanh(W @ x) * mean(h)",
    "by_sum": "h' = tanh(W @ x) * sum(h)",
    "twice": "t = tanh(W @ x + U @ h)\nh' = 2 * t / (1 + t * t)",
    "doubled": "h' = tanh(2 * (W @ x) + 2 * (U @ h))",
    "square": "h' = (W @ x) * (W @ x) + h\noutput h'",
    "product": "h' = (W @ x) * (V @ x) + h\noutput h'",
}


def cell(text: str) -> derive.Cell:
    if text in TEXTS:
        output = "" if "output" in TEXTS[text] else "\noutput h'"
        return parse(HEAD.format(text, "") + TEXTS[text] + output)
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
    ("leaky", "leaky_2"): "W = W",
}


@pytest.mark.parametrize("pair", EQUAL, ids="-".join)
def test_a_true_identity_is_proved_with_its_map(pair: tuple[str, str]) -> None:
    verdict = equal(*map(cell, pair))
    assert verdict.status == "equal" and verdict and verdict.distances == () and verdict.proved
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


@pytest.mark.parametrize("added", ["V @ x", "A @ (B @ x)"], ids=["a matrix", "a product of two"])
def test_a_width_that_one_cell_alone_has_may_be_any(added: str) -> None:
    more = "param A: H x R, B: R x I\n" if "A" in added else ""
    one = parse(HEAD.format("one", "") + more + f"h' = tanh(W @ x + {added} + h)\noutput h'")
    other = parse(HEAD.format("other", "") + "h' = tanh(W @ x + h)\noutput h'")
    for verdict in (equal(one, other), equal(other, one)):
        assert verdict.status == "equal" and verdict.proved and not verdict.notes
        assert max(verdict.forward.error, verdict.backward.error) < 1e-9
    # Where all widths have to be told, as by a file of weights, it counts.
    wanted = "R of one is no width of other" if more else ""
    assert narrow(verdict.forward, one, told=True) == wanted
    assert narrow(verdict.backward, other, told=True) == ""


def test_a_width_that_a_map_ties_to_another_is_named() -> None:
    text = (
        HEAD.format("low", "") + "param A: H x R, B: R x I\nh' = tanh(A @ (B @ x) + h)\noutput h'"
    )
    other = parse(HEAD.format("other", "") + "h' = tanh(W @ x + h)\noutput h'")
    verdict = equal(other, parse(text))
    assert verdict.status == "sub-case" and verdict.proved
    assert verdict.notes[-1].startswith("in these widths only: ")
    assert "R of low = I of other" in verdict.notes[-1]


@pytest.mark.parametrize("pair", SUB_CASES, ids="-".join)
def test_a_tied_cell_is_a_sub_case(pair: tuple[str, str]) -> None:
    verdict = equal(*map(cell, pair))
    assert verdict.status == "sub-case" and not verdict
    assert verdict.forward is not None and SUB_CASES[pair] in verdict.forward.lines()
    assert verdict.backward is None and verdict.distances[0].relative > 1e-4
    (rank,) = verdict.ranks
    assert verdict.proved and rank.source_rank > rank.target_rank and rank.residual < 1e-3


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


def test_a_refutation_by_numbers_does_not_say_that_it_is_a_proof() -> None:
    verdict = equal(cell("star"), cell("star_code"))
    assert verdict.status == "not equal" and not verdict.proved and verdict.ranks == ()


def test_more_dimensions_than_the_other_has_are_a_proof() -> None:
    from derive.comparison.rank import excludes

    lstm, gru = cells.lstm(), cells.gru()
    there = excludes(lstm, gru)
    # Of two units and two inputs: one direction more than the GRU has parameters.
    assert there is not None and (there.source_rank, there.target_rank) == (37, 36)
    assert excludes(gru, lstm) is None and excludes(cells.cifg(), lstm) is None


def test_a_state_may_be_the_others_scaled_shifted_or_negated() -> None:
    base = "cell a\ninput x: I\nstate h: H\nparam V: O x H\n"
    one = parse(base + "h' = tanh(W @ x + U @ h)\ny = V @ h'\noutput y")
    moved = parse(base + "h' = tanh(W @ x + 2 * (U @ h)) / 2\ny = 2 * (V @ h')\noutput y")
    verdict = equal(one, moved)
    assert verdict.status == "equal" and verdict.proved
    shifted = parse("cell a\nstate c: H\nc' = c / 2 + W @ x\ny = tanh(c')\ninput x: I\noutput y")
    other = parse(
        "cell b\nstate c: H\nc' = c / 2 + W @ x + 1 / 2\ny = tanh(c' - 1)\ninput x: I\noutput y"
    )
    found = equal(shifted, other).forward
    assert found is not None and found.affine == {"c": (1, 1)} and found.error < 1e-12


def test_stopped_gradients_are_a_difference_though_the_values_are_none() -> None:
    verdict = equal(cell("state_1"), cell("stopped"))
    assert verdict.status == "equal in values" and verdict.proved
    assert verdict.point is not None and verdict.point.what.startswith("gradient of")


def test_states_are_not_zero_where_zero_would_hide_the_difference() -> None:
    assert equal(cell("by_mean"), cell("by_sum")).status == "not equal"


def test_a_map_may_be_read_off_a_fit_and_is_then_proved() -> None:
    verdict = equal(cell("twice"), cell("doubled"))
    assert verdict.status == "equal" and verdict.proved
    assert verdict.forward is not None and "U = U" in verdict.forward.lines()


def test_the_numbers_of_a_counter_example_can_be_reproduced() -> None:
    a, b = cell("star"), cell("star_code")
    (found, _) = equal(a, b).distances
    fitted = {name: found.fitted[name] for name in b.params}
    for one, params, value in ((a, found.params, found.wanted), (b, fitted, found.got)):
        kernel = derive.compile(one, target="numpy", dtype="float64")
        run = kernel.forward(params, found.inputs, found.state)
        assert run.outputs[found.output][found.place] == pytest.approx(value, rel=1e-12)


def test_cells_of_different_inputs_or_outputs_are_different() -> None:
    two = parse("cell two\nstate h: H\nh' = W @ x + A @ y\ninput x, y\noutput h'")
    assert equal(cells.rnn(), two).notes == ("inputs: rnn has x; two has x, y",)
    assert equal(cells.rnn(), two).status == "not equal" and equal(cells.rnn(), two).proved
    narrow = parse("cell narrow\ninput x: 3\nstate h: H\nh' = W @ x\noutput h'")
    assert "width" in equal(cells.rnn(), narrow).notes[0]


def test_a_search_that_was_not_finished_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("derive.comparison.matching.MAX_NODES", 2)
    monkeypatch.setattr(
        "derive.comparison.equal.proved_equal", lambda *_: Found("undecided", False)
    )
    turned = cells.nas().vary(rename={f"W_{k}": f"W_{(k + 1) % 8}" for k in range(8)})
    verdict = equal(cells.nas(), turned)
    assert verdict.status == "undecided" and any("not every way" in n for n in verdict.notes)


def test_a_product_of_two_unknown_matrices_is_not_guessed() -> None:
    # What is left after the linear equations is tried by names and shapes, and no more.
    verdict = equal(cell("square"), cell("product"))
    assert verdict.status in ("sub-case", "undecided")


def test_a_form_that_grows_beyond_use_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("derive.comparison.polynomial.terms.MAX_TERMS", 2)
    verdict = equal(cell("leaky"), cell("leaky_2"))
    assert verdict.status == "undecided" and any("too large" in note for note in verdict.notes)


def test_a_wrong_map_is_caught_by_numbers() -> None:
    from dataclasses import replace

    from derive.comparison.check import check

    a, b = cells.gru(), cells.gru(keeps="candidate")
    right = equal(a, b).forward
    assert right is not None and check(a, b, right).holds
    wrong = check(a, b, replace(right, params={**right.params, "W_z": right.params["W_r"]}))
    assert wrong.values is not None and wrong.values.what.startswith("output")


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


def hard(a: polynomial.Poly) -> polynomial.Poly:
    return function("clip", a, ZERO, ONE)


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
        (function("relu", A + A), function("relu", A) + function("relu", A)),
        (function("relu", function("relu", A)), function("relu", A)),
        (function("maximum", A, B_), B_ + function("relu", A - B_)),
        (function("where", function("less", A, ZERO), ZERO, A), function("relu", A)),
        (function("where", function("less_equal", A, B_), B_, A), function("maximum", A, B_)),
        (function("maximum", A, A.times(Fraction(1, 100))), function("leaky_relu", A)),
        (A * function("sign", A), function("abs", A)),
        (function("elu", A), function("where", function("less", ZERO, A), A, exp(A) - ONE)),
        (function("hard_sigmoid", A), hard(A.times(Fraction(1, 6)) + constant(Fraction(1, 2)))),
        (
            function("hard_tanh", A),
            function("maximum", function("minimum", A, ONE), constant(-1)),
        ),
        (function("softsign", A), A * power(ONE + function("abs", A), Fraction(-1))),
        (function("sigmoid", A), power(ONE + exp(A.times(Fraction(-1))), Fraction(-1))),
        (function("sigmoid", A), exp(A) * power(ONE + exp(A), Fraction(-1))),
        (
            function("tanh", A),
            (exp(A) - exp(A.times(Fraction(-1))))
            * power(exp(A) + exp(A.times(Fraction(-1))), Fraction(-1)),
        ),
        (power(function("sigmoid", A), Fraction(-1)), ONE + exp(A.times(Fraction(-1)))),
        (function("softplus", A), function("log", ONE + exp(A))),
        (function("softplus", A), function("log1p", exp(A))),
        (function("logsigmoid", A), function("log", function("sigmoid", A))),
        (function("log", exp(A)), A),
        (exp(function("log", A)), A),
        (power(exp(A), Fraction(1, 2)), exp(A.times(Fraction(1, 2)))),
        (power(function("sin", A), Fraction(2)) + power(function("cos", A), Fraction(2)), ONE),
        (power(A * B_, Fraction(-1)) * A * B_, constant(1)),
    ],
)
def test_an_identity_of_functions_holds_in_canonical_form(left, right) -> None:
    assert left == right and left.key == right.key


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (function("relu", A.times(Fraction(-1))), function("relu", A)),
        (function("less", ZERO, A), function("less_equal", ZERO, A)),  # at a tie they differ
        (function("sign", A) * function("sign", A), ONE),  # so do these
        (function("maximum", A, B_), function("minimum", A, B_)),
        (function("elu", A), function("selu", A)),
        (power(A * A, Fraction(1, 2)), A),
        (function("softplus", A), function("relu", A)),
        (function("clip", A, constant(-1), ONE), function("clip", A, constant(-1), constant(2))),
    ],
)
def test_what_is_no_identity_does_not_hold_in_canonical_form(left, right) -> None:
    assert left != right


@pytest.mark.parametrize("name", sorted(FORMS.keys() & RULES.keys() - {"where"}))
def test_a_function_and_its_canonical_form_have_the_same_values(name: str) -> None:
    given = [[-3.0, -1.0, -0.4, 0.0, 0.0, 0.7, 1.0, 3.5], [0.2, -1.0, 0.4, 0.0, 1.0, 0.7, -1.0, 2]]
    if name in ("log", "log1p", "softsign"):
        given[0] = [0.3, 0.7, 1.1, 1.5, 2.0, 2.5, 3.0, 4.0]
    arity = RULES[name].arity
    args = (A, constant(Fraction(-1, 2)), constant(2)) if name == "clip" else (A, B_, A * B_)
    form = function(name, *args[:arity])
    a, b = map(np.array, given)
    plain = (a, -0.5, 2.0) if name == "clip" else (a, b, a * b)
    wanted = NUMPY.functions[name](*plain[:arity])
    assert np.abs(value(form, {"a": a, "b": b}) - wanted).max() < 1e-13


def value(form: polynomial.Poly, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """A polynomial in numbers, told by its atoms alone."""
    own = {
        "positive": lambda v: 1.0 * (v > 0),
        "zero": lambda v: 1.0 * (v == 0),
        "lncosh": lambda v: np.log(2 * np.cosh(v)),
    }
    total = np.zeros(8)
    for mono, c in form.terms.items():
        term = np.full(8, float(c))
        for atom, n in mono:
            args = [value(arg, arrays) for arg in atom.args]
            if atom.kind == "array":
                base = arrays[atom.name]
            elif atom.kind == "exp":
                base = np.exp(args[0])
            elif atom.kind == "power":
                base = args[0] ** float(Fraction(atom.name))
            else:
                base = {**NUMPY.functions, **own}[atom.name](*args)
            term = term * base**n
        total = total + term
    return total


# --- command --------------------------------------------------------------------------------


def test_the_command_prints_the_map_and_says_how_it_went(capsys) -> None:
    assert main.status(["equal", "janet:beta=0", "ugrnn:forget_bias=2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("equal (proved): janet_beta_0 and ugrnn_forget_bias_2 compute the same")
    assert "b_g = b_f - 2" in out and "confirmed" in out
    assert main.status(["equal", "cifg", "lstm"]) == 1
    assert capsys.readouterr().out.startswith("sub-case (proved): cifg is lstm with parameters")
    assert main.status(["equal", "janet", "ugrnn"]) == 1
    assert "instead of" in capsys.readouterr().out


def test_the_command_writes_json(capsys, tmp_path) -> None:
    path = tmp_path / "star.cell"
    path.write_text(cell("star").to_text())
    assert main.status(["equal", str(path), str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "equal" and found["maps"][0]["params"]["U"]["text"] == "U"
    assert main.status(["equal", "janet", "ugrnn", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    example = found["counter_examples"][0]
    assert np.shape(example["params"]["W_f"]) == (1, 1) and example["relative"] > 0.01


def test_undecided_has_a_status_of_its_own(monkeypatch, capsys) -> None:
    for name in ("searched", "proved"):
        monkeypatch.setattr(f"derive.comparison.equal.{name}", lambda *_: None)
    monkeypatch.setattr(
        "derive.comparison.equal.proved_equal", lambda *_: Found("undecided", False)
    )
    assert main.status(["equal", "janet", "janet"]) == 3
    assert capsys.readouterr().out.startswith("undecided:")


def test_a_proof_is_a_list_of_steps() -> None:
    found = equal(cell("state_1"), cell("state_1"))
    assert found.forward is not None
    steps = found.forward.steps
    assert any(step.startswith("with the map, the next h is in both cells\n") for step in steps)
    assert any(
        step.startswith(("output h_next is", "with the map, output h_next")) for step in steps
    )
    gates = equal(cells.gru(), cells.gru(keeps="candidate")).forward
    assert (
        gates is not None
        and (
            "gru: z = sigmoid(a_z), with a_z = W_z @ x + U_z @ h + b_z + b_hz,\n"
            "  is 1/2 * tanh(1/2 * a_z) + 1/2\n"
            "  as sigmoid(a) is (1 + tanh(a / 2)) / 2"
        )
        in gates.steps
    )
    assert gates.steps[-1] == "gradients: all functions are analytic"


def test_the_form_in_the_end_is_told_in_parts_that_can_be_read() -> None:
    found = equal(cells.lstm(), cells.lstm()).forward
    assert found is not None
    (step,) = (s for s in found.steps if s.startswith("with the map, the next h "))
    _, form, *meanings = step.split("\n")
    assert len(form) < 60
    told = dict(line.strip().removeprefix("where ").split(" = ", 1) for line in meanings)
    for k, meaning in enumerate(told.values()):  # each part is said by those before it
        later = list(told)[k:]
        assert not any(re.search(rf"\\b{name}\\b", meaning) for name in later), meaning


def test_a_function_without_a_form_of_its_own_is_proved_by_its_formula() -> None:
    head = "cell {}\ninput x: I\nstate h: H\na = W @ x + U @ h + b\noutput h'\n"
    one = derive.Cell.parse(head.format("one") + "h' = hard_swish(a)\n")
    two = derive.Cell.parse(head.format("two") + "h' = a * hard_sigmoid(a)\n")
    verdict = equal(one, two)
    assert verdict.status in ("equal", "equal in values") and verdict.proved
    steps = verdict.forward.steps if verdict.forward else ()
    assert any("as hard_swish(v) is hard_sigmoid(v) * maximum(v, -3)" in step for step in steps)
