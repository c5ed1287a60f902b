"""Variants by transformation: what they compute, what disappears, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import derive
from derive.catalogue.odyssey import VARIANTS
from derive.errors import ArgumentError, ArgumentTypeError, CellError, DeriveError
from derive.program import interpret

cells = derive.cells
SIZES = {"I": 3, "H": 4, "P": 2}


def one_step(cell: derive.Cell, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {name: values[name] for name in cell.step.program.inputs}
    found = interpret(cell.step.program, given, rows=2, sizes=SIZES)
    return {s: found[n] for s, n in zip(cell.step.states, cell.step.next_states, strict=True)}


def draw(*several: derive.Cell) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    found = {}
    for cell in several:
        for rows, group in (((), cell.params), ((2,), cell.inputs), ((2,), cell.states)):
            for name, shape in sorted(group.items()):
                sizes = [SIZES[d] if isinstance(d, str) else d for d in shape]
                found.setdefault(name, random.normal(size=(*rows, *sizes)))
    return found


def equations(cell: derive.Cell) -> list[str]:
    lines = cell.to_text().splitlines()
    return [" ".join(line.split()) for line in lines if " = " in line and line[:3] != "doc"]


def compute_the_same(a: derive.Cell, b: derive.Cell) -> bool:
    values = draw(a, b)
    one, other = one_step(a, values), one_step(b, values)
    return one.keys() == other.keys() and all(
        np.allclose(one[k], other[k], rtol=1e-13, atol=1e-13) for k in one
    )


def test_a_replaced_gate_takes_its_parameters_with_it() -> None:
    cell = cells.lstm().vary(o=1)
    assert cell.name == "lstm_o_1" and cell.doc.endswith("Variant of lstm: o = 1.")
    assert "o = 1" in equations(cell)
    assert not {"W_o", "U_o", "b_o"} & set(cell.params) and len(cell.params) == 9
    assert derive.Cell.parse(cell.to_text()) == cell


def test_the_given_cell_stays_as_it_was() -> None:
    cell = cells.lstm()
    before = cell.to_text()
    cell.vary(o=1, remove="i")
    assert cell.to_text() == before


def test_a_removed_gate_leaves_its_product() -> None:
    assert "h' = tanh(c')" in equations(cells.lstm().vary(remove="o"))
    assert compute_the_same(cells.lstm().vary(remove="o"), cells.lstm().vary(o=1))


def test_a_coupled_gate_is_defined_after_the_one_it_reads() -> None:
    cell = cells.lstm().vary(i="1 - f", name="coupled")
    assert compute_the_same(cell, cells.cifg())
    assert [line.split()[0] for line in equations(cell)][:2] == ["f", "i"]


def test_mgu_is_gru_with_tied_gates() -> None:
    tied = cells.gru(reset="before", keeps="candidate").vary(tie={"r": "z"}, rename={"z": "f"})
    both = {f"{kind}_z": f"{kind}_f" for kind in "WUb"}
    assert compute_the_same(tied.vary(rename=both), cells.mgu())


def test_janet_starts_from_lstm() -> None:
    cell = cells.lstm().vary(
        name="janet_from_lstm",
        tie={"c": "h"},
        consts={"beta": 1},
        a="W_f @ x + U_f @ h + b_f",
        f="sigmoid(a)",
        i="1 - sigmoid(a - beta)",
        replace={"h'": "f * h + i * g"},
    )
    assert tuple(cell.states) == ("h",) and cell.unused == ()
    assert set(cell.params) == set(cells.janet().params)
    assert compute_the_same(cell, cells.janet())


def test_tied_parameters_are_one() -> None:
    cell = cells.lstm().vary(tie={"W_i": "W_f", "U_i": "U_f"})
    assert "i = sigmoid(W_f @ x + U_f @ h + b_i)" in equations(cell)


def test_a_removed_parameter_is_zero() -> None:
    cell = cells.lstm(peephole=True).vary(remove=["p_i", "p_f", "p_o"])
    assert equations(cell) == equations(cells.lstm())
    slim = cells.gru(reset="before").vary(remove=["W_r", "W_z", "b_r"])
    assert equations(slim)[:2] == ["r = sigmoid(U_r @ h)", "z = sigmoid(U_z @ h + b_z)"]


def test_a_removed_term_keeps_its_sign() -> None:
    cell = derive.Cell.parse(
        "cell a\ninput x: H\nstate h: H\nh' = p * x - q * h - sin(p)\noutput h'"
    )
    assert equations(cell.vary(remove="p")) == ["h' = -(q * h) - sin(0)"]
    assert equations(cell.vary(remove="q")) == ["h' = p * x - sin(p)"]


def test_functions_are_swapped_everywhere_or_in_one_definition() -> None:
    everywhere = cells.lstm().vary(activation={"tanh": "identity"})
    assert {"g = W_g @ x + U_g @ h + b_g", "h' = o * c'"} <= set(equations(everywhere))
    one = cells.lstm().vary(activation={"g": "relu"})
    assert {"g = relu(W_g @ x + U_g @ h + b_g)", "h' = o * tanh(c')"} <= set(equations(one))
    exact = cells.janet().vary(activation={"h'": {"sigmoid": "hard_sigmoid"}})
    assert equations(exact)[-1] == "h' = (1 - hard_sigmoid(a - beta)) * g + h * hard_sigmoid(a)"


def test_names_change_with_their_next_values() -> None:
    cell = cells.gru(reset="before").vary(rename={"h": "s", "z": "keep", "U_n": "V"})
    assert tuple(cell.states) == ("s",) and tuple(cell.outputs) == ("s_next",)
    assert "n = tanh(W_n @ x + V @ (r * s) + b_n)" in equations(cell)


def test_a_definition_that_becomes_a_state_is_seen_by_the_next_step() -> None:
    cell = cells.lstm().vary(states=["i"], replace={"i'": "sigmoid(W_i @ x + R @ i)"})
    assert tuple(cell.states) == ("h", "c", "i") and cell.params["R"] == ("H", "H")
    assert "c' = i' * g + f * c" in equations(cell)


def test_a_width_that_only_the_old_equations_told_is_kept() -> None:
    base = derive.Cell.parse(
        "cell a\ninput x: I\nstate h: H\nm = U @ h\nz = V @ x + m\n"
        "y = p * z\nh' = A @ z + B @ y\nparam V: 3 x I\noutput h'"
    )
    cell = base.vary(z="m")
    assert cell.params["U"] == (3, "H") and "V" not in cell.params


def test_a_definition_that_was_idle_stays() -> None:
    base = derive.Cell.parse(
        "cell a\nstate h: H\nnote = q * h\nh' = f * h\nf = 1\noutput h'".replace(
            "h' = f * h\nf = 1", "f = sigmoid(w)\nh' = f * h"
        )
    )
    cell = base.vary(f=1)
    assert "note = q * h" in equations(cell) and tuple(cell.params) == ("q",)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_of_the_odyssey_is_one_change(variant: str) -> None:
    cell = cells.lstm(peephole=True).vary(**VARIANTS[variant])
    assert compute_the_same(cell, cells.odyssey(variant=variant))
    lstm = set(equations(cells.lstm(peephole=True)))
    changed = 3 if variant in ("np", "fgr") else 1
    primes = {"i' =": "i =", "f' =": "f =", "o' =": "o ="}
    if variant != "fgr":
        assert len(set(equations(cell)) - lstm) == changed, primes


def test_a_variant_is_derived_and_runs() -> None:
    cell = cells.lstm().vary(o=1, i="1 - f")
    report = derive.verify(cell, targets=("numpy",), quick=True)
    assert report.ok


# --- as text --------------------------------------------------------------------------------

TEXTS = {
    "vary lstm: o = 1": {"replace": {"o": 1}},
    "vary lstm: o = 1, i = 1 - f": {"replace": {"o": 1, "i": "1 - f"}},
    "vary lstm:forget_bias=1,peephole=true: remove p_o": {"remove": ["p_o"]},
    "vary gru:reset=before: r = z": {"tie": {"r": "z"}},
    "vary lstm: tanh = relu": {"activation": {"tanh": "relu"}},
    "vary lstm: h' = o * c'": {"replace": {"h_next": "o * c_next"}},
    "vary lstm: m = o * tanh(c'), h' = clip(m,\n -1, 1)": {
        "replace": {"m": "o * tanh(c')", "h_next": "clip(m, -1, 1)"}
    },
    "vary lstm: tanh = identity in h'": {"activation": {"h'": {"tanh": "identity"}}},
    "vary lstm: W_i = W_f": {"tie": {"W_i": "W_f"}},
    "vary janet: const beta = 2": {"consts": {"beta": 2}},
    "vary lstm: rename g to z, const k = 1 / 2, f = sigmoid(W_f @ x + k)": {
        "rename": {"g": "z"},
        "consts": {"k": "1 / 2"},
        "f": "sigmoid(W_f @ x + k)",
    },
    "vary lstm: o = 2 * o": {"o": "2 * sigmoid(W_o @ x + U_o @ h + b_o)"},
    "vary lstm: state o, o' = sigmoid(R @ o)": {
        "states": ["o"],
        "replace": {"o'": "sigmoid(R @ o)"},
    },
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_line_says_what_the_method_does(text: str) -> None:
    base = cells.from_spec(text.removeprefix("vary ").rpartition(":")[0])
    cell = derive.Cell.parse(text)
    assert equations(cell) == equations(base.vary(**TEXTS[text]))
    assert "vary" not in cell.to_text() and derive.Cell.parse(cell.to_text()) == cell


def test_a_text_may_name_and_describe_its_variant(tmp_path) -> None:
    path = tmp_path / "mine.cell"
    path.write_text("# first\nvary lstm: o = 1  # no output gate\ncell mine\ndoc A doc.\n")
    cell = derive.load(path)
    assert (cell.name, cell.doc) == ("mine", "A doc.")


BASE = "cell base\ninput x: I\nstate h: H\nz = sigmoid(W @ x)\nh' = z * h\noutput h'\n"


def test_a_text_may_vary_a_file_beside_it(tmp_path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "base.cell").write_text(BASE)
    (tmp_path / "parts" / "one.cell").write_text("vary ../base.cell: z = 1\ncell one\n")
    (tmp_path / "two.cell").write_text("vary parts/one.cell: h' = z * h + W @ x\n")
    assert equations(derive.load(tmp_path / "two.cell")) == ["z = 1", "h' = z * h + W @ x"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vary a.cell: z = 1", "a.cell:1:6: a variant of itself\n"),
        ("vary b.cell: z = 1", "b.cell:1:6: a variant of itself\n"),
        ("vary missing.cell: z = 1", "a.cell:1:6: there is no file"),
        ("vary /base.cell: z = 1", "a.cell:1:6: '/base.cell' is not relative to this file"),
        ("vary broken.cell: z = 1", "broken.cell:2:6: '(' is never closed"),
    ],
)
def test_a_file_that_cannot_be_varied_is_told_where_it_is_named(text, says, tmp_path) -> None:
    (tmp_path / "a.cell").write_text(text)
    (tmp_path / "b.cell").write_text("vary a.cell: z = 1")
    (tmp_path / "broken.cell").write_text("cell q\nh' = (\n")
    with pytest.raises(CellError) as raised:
        derive.load(tmp_path / "a.cell")
    assert says in str(raised.value)


def test_text_of_no_file_opens_none() -> None:
    with pytest.raises(CellError, match="this text is of none"):
        derive.Cell.parse("vary base.cell: z = 1")


def test_vary_is_an_ordinary_name_elsewhere() -> None:
    cell = derive.Cell.parse("cell a\nstate h: H\nvary = u * h\nh' = vary\noutput h'")
    assert cell.params == {"u": ("H",)}


REFUSED = {
    "vary lst: o = 1": "<text>:1:6: the catalogue has no cell 'lst'",
    "vary lstm: q = 1": "<text>:1:12: lstm has no 'q' that could be changed so",
    "vary lstm o = 1": "<text>:1:16: a colon ends what is varied",
    "vary lstm:": "<text>:1:10: nothing is changed",
    "vary lstm: o": "<text>:1:12: this changes nothing",
    "vary lstm: o = 1, o = 2": "<text>:1:19: 'o' is changed twice",
    "vary lstm: o = 1 +": "<text>:1:18: a value is missing after '+'",
    "vary lstm: o = 1\nh' = 2": "<text>:2:1: below 'vary' there are lines 'cell' and 'doc' only",
    "vary lstm: tanh = tan": "<text>:1:12: there is no activation 'tan'",
    "vary lstm: x = 1": "<text>:1:12: 'x' of lstm is no definition",
    "vary lstm: i = f, f = i * 1": "<text>:1:12: 'f' is replaced by something of 'i'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_line_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(CellError) as raised:
        derive.Cell.parse(text)
    assert str(raised.value).startswith(REFUSED[text])


@pytest.mark.parametrize(
    ("changes", "error", "what"),
    [
        ({"remove": "i_"}, ArgumentError, "lstm has no 'i_' that could be changed so"),
        ({"remove": "h'"}, ArgumentError, "lstm has no 'h_next' that could be changed so"),
        ({"tie": {"i": "q"}}, ArgumentError, "lstm has no 'q' that could be changed so"),
        ({"tie": {"q": "i"}}, ArgumentError, "lstm has no 'q' that could be changed so"),
        ({"h": "1"}, ArgumentError, "'h' of lstm is no definition"),
        ({"o": " "}, ArgumentError, "'o' is replaced by nothing"),
        ({"replace": {1: "f"}}, ArgumentTypeError, "1 is no name of a definition"),
        ({"remove": [1]}, ArgumentTypeError, "1 is no name"),
        ({"activation": {"relu": "tanh"}}, ArgumentError, "lstm has no relu to swap for tanh"),
        ({"activation": {"tanh": 3}}, ArgumentTypeError, "tanh is swapped for a function, not 3"),
        ({"activation": {"c'": "relu"}}, ArgumentError, "'c_next' has no function"),
        ({"activation": {"q": "relu"}}, ArgumentError, "lstm has no 'q' that could be changed so"),
        ({"states": ["h"]}, ArgumentError, "lstm has no 'h' that could be changed so"),
        ({"rename": {"q": "r"}}, ArgumentError, "lstm has no 'q' that could be changed so"),
        ({"rename": {"i": "f"}}, ArgumentError, "'i' cannot be called 'f': there is one already"),
        ({"rename": {"i": "if"}}, ArgumentError, "'if' is a reserved word of Python"),
        ({"name": "a b", "o": 1}, ArgumentError, "'a b' is no name"),
    ],
)
def test_what_cannot_be_varied_is_refused(changes, error, what) -> None:
    with pytest.raises(error) as raised:
        cells.lstm().vary(**changes)
    assert isinstance(raised.value, DeriveError) and str(raised.value).startswith(what)


def test_a_gate_that_is_more_than_a_factor_is_not_removed() -> None:
    with pytest.raises(ArgumentError, match="'z' is more than a factor, so it cannot be removed"):
        cells.gru().vary(remove="z")


def test_a_parameter_that_divides_is_not_removed() -> None:
    cell = derive.Cell.parse("cell a\nstate h: H\nh' = h / q\noutput h'")
    with pytest.raises(ArgumentError, match="without 'q' there is a division by zero"):
        cell.vary(remove="q")


def test_a_definition_with_two_functions_says_which_to_name() -> None:
    cell = derive.Cell.parse("cell a\nstate h: H\nh' = tanh(h) + sin(h)\noutput h'")
    with pytest.raises(ArgumentError, match=r'activation=\{"h_next": \{"tanh": "identity"\}\}'):
        cell.vary(activation={"h'": "relu"})


def test_definitions_that_need_each_other_are_called_a_circle() -> None:
    with pytest.raises(CellError, match="'i' and 'f' form a circle"):
        derive.cells.lstm().vary(i="1 - f", f="1 - i")


# --- what is declared, and what is put out ---------------------------------------------------


def test_a_variant_declares_inputs_parameters_states_and_fixed_arrays() -> None:
    lstm = derive.cells.lstm()
    varied = lstm.vary(
        name="conditioned",
        declare=["input m: M once", "param V: H x M = orthogonal, R: N x H x N", "state n: N = n0",
                 "fixed A: H x H"],
        g="tanh(W_g @ x + U_g @ h + V @ m + A @ h + b_g)",
        replace={"n'": "tanh(R.T @ g @ n)", "h'": "o * tanh(c') + sum(n')"},
        outputs=["h'", "n'"],
    )  # fmt: skip
    checked = varied.checked
    assert (checked.once, checked.fixed, dict(checked.learned)) == (("m",), ("A",), {"n": "n0"})
    assert varied.params["R"] == ("N", "H", "N")
    assert checked.starts["V"] == ("orthogonal",)
    assert list(varied.outputs) == ["h_next", "n_next"]
    assert "input m: M once" in varied.doc
    again = varied.vary(rename={"A": "B", "m": "context", "n0": "first", "n": "k"}, o=1)
    assert again.checked.fixed == ("B",)
    assert again.checked.once == ("context",)
    assert again.checked.learned == {"k": "first"}
    assert derive.Cell.parse(again.to_text()) == again


def test_what_is_removed_or_tied_takes_its_start_along() -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate h: H = h0, c: H = c0\nparam b: H = 1\nfixed A: H x H\n"
        "h' = tanh(W @ x + A @ h + b + c)\nc' = c + h\noutput h'\n"
    )
    assert cell.vary(tie={"c": "h"}).checked.learned == {"h": "h0"}
    assert cell.vary(remove="h0").checked.learned == {"c": "c0"}
    assert cell.vary(remove="A").checked.fixed == ()
    assert cell.vary(remove="b").checked.starts == {}


def test_the_line_vary_declares_and_puts_out() -> None:
    cell = derive.Cell.parse(
        "vary lstm: input m: M once, param V: H x M, g = tanh(W_g @ x + V @ m + b_g), "
        "output h', output c'\ncell told\n"
    )
    assert cell.checked.once == ("m",)
    assert list(cell.outputs) == ["h_next", "c_next"]
    assert cell.params["V"] == ("H", "M")


WRONG_LINES = {
    "nothing": ({"declare": "m: M"}, "'m: M' declares nothing"),
    "a word": ({"declare": 3}, "3 is no line of a cell's text"),
    "taken": ({"declare": "input x: I"}, "lstm has 'x' already"),
    "of a parameter": ({"declare": "fixed U_i: H x H"}, "lstm has 'U_i' already"),
    "an output": ({"outputs": "q"}, "lstm has no 'q' that could be changed so"),
    "no next value": ({"declare": "state n: H"}, "state 'n' has no next value"),
}


@pytest.mark.parametrize("what", WRONG_LINES)
def test_a_line_that_declares_nothing_is_refused(what: str) -> None:
    given, message = WRONG_LINES[what]
    with pytest.raises(derive.DeriveError, match=message):
        derive.cells.lstm().vary(**given)
