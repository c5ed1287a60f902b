"""What changed between two cells; names of intermediates and the order of terms do not count."""

from __future__ import annotations

import json
import time

import pytest

import derive
from derive.cli import main
from derive.comparison.diff import Change, diff, structure

cells = derive.cells
HEAD = "cell a\ninput x: I\nstate h: H\n"
ONE = HEAD + (
    "z = sigmoid(W_z @ x + U_z @ h + b_z)\nn = tanh(W @ x + U @ h)\n"
    "h' = (1 - z) * n + z * h\noutput h'\n"
)
REWRITTEN = HEAD + (
    "pre = b_z + W_z @ x\nkeep = sigmoid(U_z @ h + pre)\nn = tanh(U @ h + W @ x)\n"
    "h' = keep * h + n - keep * n\noutput h'\n"
)


def changes(a: str, b: str):
    return diff(derive.Cell.parse(a), derive.Cell.parse(b))


def names(found: tuple[Change, ...]) -> set[str]:
    return {change.name for change in found}


def test_renamed_intermediates_and_reordered_terms_are_no_change() -> None:
    found = changes(ONE, REWRITTEN)
    assert not found and found.renamed == {"z": "keep"}
    assert found.equations == found.gradient == found.cost == () and found.structure is None


def test_two_intermediates_that_exchange_their_names_are_no_change() -> None:
    exchanged = ONE.replace("z = ", "@ = ").replace("n = ", "z = ").replace("@ = ", "n = ")
    exchanged = exchanged.replace("(1 - z) * n + z * h", "(1 - n) * z + n * h")
    found = changes(ONE, exchanged)
    assert not found and found.renamed == {"z": "n", "n": "z"}
    assert changes(ONE, exchanged.replace("tanh(", "relu("))


def test_rewriting_that_would_not_end_is_told_all_the_same() -> None:
    line = HEAD + "a = W @ x\nh' = maximum({})\noutput h'\n"
    assert not changes(line.format("a * h, h"), line.format("h, a * h"))
    clipped = diff(cells.lstm(), cells.lstm(activation="relu", cell_clip=1))
    assert {"g", "h_next"} <= names(clipped.equations)


def test_a_changed_line_is_told_with_its_gradient_and_the_lines_below_it_are_not() -> None:
    found = changes(ONE, REWRITTEN.replace("sigmoid(", "hard_sigmoid("))
    assert found.renamed == {} and "n" not in names(found.equations)
    one = changes(ONE, ONE.replace("tanh(", "relu("))
    assert names(one.equations) == {"n"}
    (change,) = one.equations
    assert (change.before, change.after) == ("tanh(W @ x + U @ h)", "relu(W @ x + U @ h)")
    assert "d_a_n" in names(one.gradient) and "d_a_z" not in names(one.gradient)


def test_what_a_new_state_does_next_is_told() -> None:
    found = changes(ONE, ONE.replace("h: H\n", "h: H, s: H\n") + "s' = 0.9 * s + n\n")
    assert names(found.arrays) == {"state s"} and names(found.equations) == {"s_next"}
    assert "d_s" in names(found.gradient)


def test_definitions_written_out_or_drawn_together_are_no_change() -> None:
    inlined = ONE.replace("n = tanh(W @ x + U @ h)\n", "").replace("* n", "* tanh(W @ x + U @ h)")
    outlined = ONE.replace("h' = (1 - z) * n", "m = 1 - z\nh' = n * m")
    assert not changes(ONE, inlined) and not changes(inlined, ONE) and not changes(ONE, outlined)


def test_a_sign_or_a_factor_changes_the_gradients_that_it_stands_in() -> None:
    flipped = changes(ONE, ONE.replace("n + z * h", "n - z * h"))
    assert names(flipped.equations) == {"h_next"} and names(flipped.gradient) == {"d_z", "d_h"}
    line = HEAD + "h' = {}tanh(W @ x + U @ h)\noutput h'\n"
    found = changes(line.format(""), line.format("5 * "))
    # The argument of tanh is called otherwise and is the same.
    assert not {"d_h", "d_x", "d_W", "d_U"} & names(found.gradient)


def test_cells_that_share_little_are_compared_quickly() -> None:
    started = time.process_time()
    assert diff(cells.lstm(layer_norm="ba2016"), cells.gru())
    assert time.process_time() - started < 3


def test_parameters_that_go_take_their_gradients_and_cost_with_them() -> None:
    found = diff(cells.lstm(), cells.cifg())
    assert names(found.equations) == {"i"}
    assert names(found.arrays) == {"param W_i", "param U_i", "param b_i"}
    assert {"d_W_i", "d_f", "d_h"} <= names(found.gradient)
    cost = {change.name: change for change in found.cost}
    assert cost["parameters"].after == "3*H**2 + 3*H*I + 3*H"
    assert cost["bytes saved per step and row, float32"].before == "24*H"


def test_a_constant_counts_with_its_value() -> None:
    found = diff(cells.janet(beta=1), cells.janet(beta=2))
    assert Change("const beta", "1", "2") in found.arrays and names(found.equations) == {"h_next"}


def test_a_shape_that_changed_is_told() -> None:
    found = changes(ONE, ONE.replace("state h: H\n", "state h: H\nparam b_z: 1\n"))
    assert found.arrays == (Change("param b_z", "H", "1"),)


def test_the_structure_is_linear_diagonal_or_mixing() -> None:
    assert [structure(cells.from_spec(n)) for n in ("min_gru", "indrnn", "lstm", "sru")] == [
        "linear",
        "diagonal",
        "mixing",
        "linear",
    ]
    norm = derive.Cell.parse(HEAD + "h' = layer_norm(h) + W @ x\noutput h'")
    assert structure(norm) == "mixing"
    assert diff(cells.min_gru(), cells.indrnn()).structure == Change(
        "structure", "linear", "diagonal"
    )


def test_every_entry_is_no_change_from_itself_and_one_from_others() -> None:
    for name in ("gru", "lstm_projection", "phased_lstm", "odyssey_variant_fgr"):
        cell = cells.from_spec(name)
        assert not diff(cell, derive.Cell.parse(cell.to_text()))
        assert diff(cell, cells.rnn())


def test_forms_that_grow_beyond_use_are_compared_as_they_stand(monkeypatch) -> None:
    monkeypatch.setattr("derive.comparison.polynomial.terms.MAX_TERMS", 1)
    assert not changes(ONE, ONE)
    assert changes(ONE, ONE.replace("tanh(", "relu("))


def test_the_command_tells_and_says_so_by_its_status(tmp_path, capsys) -> None:
    old, new = tmp_path / "old.cell", tmp_path / "new.cell"
    old.write_text(ONE)
    new.write_text(REWRITTEN)
    assert main.status(["diff", str(old), str(new)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("two versions of a: nothing changed") and "z as keep" in out
    assert main.status(["diff", "lstm", "cifg"]) == 1
    out = capsys.readouterr().out
    assert "  - i = sigmoid(W_i @ x + U_i @ h + b_i)\n  + i = 1 - f\n" in out
    assert main.status(["diff", "lstm", "cifg", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["changed"] and found["equations"][0]["after"] == "1 - f"


def test_a_definition_with_another_name_and_another_value_is_one_change() -> None:
    other = ONE.replace("z = sigmoid", "keep = hard_sigmoid").replace("(1 - z)", "(1 - keep)")
    found = changes(ONE, other.replace("+ z *", "+ keep *"))
    keep, after = found.equations
    assert (keep.was, keep.name, keep.follows) == ("z", "keep", ())
    assert keep.before == "sigmoid(W_z @ x + U_z @ h + b_z)"
    assert after.name == "h_next" and after.follows == ("keep",)
    (line,) = found.gradient
    assert (line.was, line.name, line.follows) == ("d_a_z", "d_a_keep", ("keep",))


def test_a_line_that_changes_by_itself_too_does_not_follow() -> None:
    other = ONE.replace("z = sigmoid", "keep = hard_sigmoid").replace("(1 - z)", "(1 - keep)")
    found = changes(ONE, other.replace("+ z * h", "+ 2 * keep * h"))
    assert all(change.follows == () for change in found.equations)


def test_each_changed_line_of_the_gradient_says_which_equation_it_follows_from() -> None:
    found = diff(cells.lstm(), cells.cifg())
    assert [change.name for change in found.equations] == ["i"]
    assert found.gradient and all(change.follows == ("i",) for change in found.gradient)
    two = ONE.replace("tanh(", "relu(").replace("sigmoid(", "hard_sigmoid(")
    follows = {change.name: change.follows for change in changes(ONE, two).gradient}
    assert follows["d_a_n"] == ("n",) and follows["d_a_z"] == ("z",)


def test_the_terminal_and_json_show_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.status(["diff", "lstm", "cifg"]) == 1
    shown = capsys.readouterr().out
    assert "  + d_f = d_c_next * c - d_i   (follows from i)\n" in shown
    assert "  + i = 1 - f\n" in shown
    assert main.status(["diff", "lstm", "cifg", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["equations"][0]["follows"] == []
    assert all(line["follows"] == ["i"] for line in found["gradient"])
