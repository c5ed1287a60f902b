"""A paper's equations as LaTeX are read as the cell that they are; what is wrong is said where."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from paper_equations import PAPERS

import derive
from derive.cli import main
from derive.errors import ArgumentError, ArgumentTypeError, CellError, CellErrors
from derive.papers import Reading, read

#: Sets whose comparison takes longest; the default run has one of each kind besides.
_LONG = {
    "lstm, a library's documentation: two biases, g",
    "lstm, an encyclopedia: sigma_g, sigma_c",
    "lstm, an online course: angle brackets, capital gates",
    "lstm with peepholes, circles",
    "lstm, a search space odyssey: time above, g and h",
    "rg-lru",
    "a gate by cases",
    "multiplicative lstm",
}


def cell_of(text: str) -> derive.Cell:
    if text.startswith("vary"):
        return derive.Cell.parse(f"{text}\ncell base\n")
    return derive.Cell.parse(text) if "\n" in text else derive.cells.from_spec(text)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in _LONG else ()) for n in PAPERS]
)
def test_equations_as_they_are_printed_are_the_cell(name: str) -> None:
    paper = PAPERS[name]
    cell = derive.Cell.from_latex(paper.latex, meaning=paper.told)
    verdict = derive.equal(cell, cell_of(paper.cell))
    assert (verdict.status, verdict.proved) == ("equal", True)


@pytest.mark.parametrize("name", PAPERS)
def test_what_is_read_is_cell_text(name: str) -> None:
    reading = read(PAPERS[name].latex, told=PAPERS[name].told)
    assert reading.errors == ()
    assert reading.checked is not None
    cell = derive.Cell.of(reading.checked)
    assert derive.Cell.parse(reading.text) == cell
    assert not cell.inferred  # every parameter is declared


def reading_of(latex: str, **told: str) -> Reading:
    return read(latex, told=told)


def lines_of(latex: str, **told: str) -> list[str]:
    reading = reading_of(latex, **told)
    assert reading.errors == ()
    return reading.text.splitlines()


# --- what single notations mean -------------------------------------------------------------

#: LaTeX of h_t, and its line in the cell.
NOTATIONS = {
    r"W x_t + U h_{t-1}": "W @ x + U @ h",
    r"W \cdot x_t + U \cdot h_{t-1}": "W @ x + U @ h",
    r"x_t W + h_{t-1} U": "W @ x + U @ h",
    r"W^\top x_t + U^{T} h_{t-1}": "W.T @ x + U.T @ h",
    r"(W x_t) \odot h_{t-1}": "W @ x * h",
    r"W x_t \circ h_{t-1}": "W @ x * h",
    r"W x_t \cdot h_{t-1}": "W @ x * h",
    r"h_{t-1} W x_t": "h * (W @ x)",
    r"\alpha W x_t + h_{t-1}": "alpha * (W @ x) + h",
    r"w_h h_{t-1} + w_x x_t": "w_h * h + w_x @ x",
    r"(1 - z) W x_t + h_{t-1}": "(1 - z) * (W @ x) + h",
    r"\frac{1}{2} h_{t-1} + W x_t": "1 / 2 * h + W @ x",
    r"\tfrac12 h_{t-1} + W x_t": "1 / 2 * h + W @ x",
    r"h_{t-1}^2 + W x_t": "h**2 + W @ x",
    r"W^1_z x_t + W_z^{2} h_{t-1}": "W_1_z @ x + W_z_2 @ h",
    r"v_z^2 h_{t-1} + W x_t": "v_z**2 * h + W @ x",
    r"v^1 h_{t-1} + v^2 W x_t": "v_1 * h + v_2 * (W @ x)",
    r"\sqrt{h_{t-1}} + |W x_t|": "sqrt(h) + abs(W @ x)",
    r"\left| W x_t \right| + h_{t-1}": "abs(W @ x) + h",
    r"\tanh^2(h_{t-1}) + W x_t": "tanh(h)**2 + W @ x",
    r"\tanh W x_t + h_{t-1}": "tanh(W @ x) + h",
    r"\log \sigma(W x_t) + h_{t-1}": "log(sigmoid(W @ x)) + h",
    r"\max(0, W x_t) + h_{t-1}": "maximum(0, W @ x) + h",
    r"\max\{0, W x_t, h_{t-1}\}": "maximum(maximum(0, W @ x), h)",
    r"e^{-h_{t-1}} + W x_t": "exp(-h) + W @ x",
    r"\operatorname{softmax}(W x_t) + h_{t-1}": "softmax(W @ x) + h",
    r"\max(W x_t) h_{t-1}": "max(W @ x) * h",
    r"\|W x_t\| h_{t-1}": "norm(W @ x) * h",
    r"\exp(-h_{t-1}) + W x_t": "exp(-h) + W @ x",
    r"a^{W x_t} + h_{t-1}": "exp(W @ x * log(a)) + h",
    r"\operatorname{softplus}(W x_t) + h_{t-1}": "softplus(W @ x) + h",
    r"\mathrm{tanh}(W x_t) + h_{t-1}": "tanh(W @ x) + h",
    r"\text{ReLU}(W x_t) + h_{t-1}": "relu(W @ x) + h",
    r"sigmoid(W x_t) + h_{t-1}": "sigmoid(W @ x) + h",
    r"W x_t - -h_{t-1}": "W @ x - -h",
    r"W x_t \cdot 2 + h_{t-1}": "W @ x * 2 + h",
    r"2 (W x_t) / h_{t-1}": "2 * (W @ x) / h",
    r"v^\top h_{t-1} + W x_t": "sum(v * h) + W @ x",
    r"\operatorname{diag}(u) h_{t-1} + W x_t": "u * h + W @ x",
    r"(W + V) x_t + h_{t-1}": "W @ x + V @ x + h",
    r"K [x_t; h_{t-1}]": "K_x @ x + K_h @ h",
    r"K \begin{bmatrix} x_t \\ h_{t-1} \end{bmatrix}": "K_x @ x + K_h @ h",
    r"K [x_t, h_{t-1}, 1]": "K_x @ x + K_h @ h + K_3",
    r"\lfloor W x_t \rfloor + h_{t-1}": "floor(W @ x) + h",
    r"\mathcal{W} x_t + W h_{t-1}": "W_cal @ x + W @ h",
    r"\Phi x_t + \pi h_{t-1}": "Phi @ x + 3.141592653589793 * h",
}


@pytest.mark.parametrize("latex", NOTATIONS)
def test_a_notation_means(latex: str) -> None:
    reading = reading_of(f"h_t = {latex}")
    assert reading.errors == ()
    assert f"h' = {NOTATIONS[latex]}" in reading.text


#: A symbol with its marks, and its name.
NAMES = {
    r"\tilde{h}_t": "h_tilde",
    r"\widetilde{h_t}": "h_tilde",
    r"\hat h_t": "h_hat",
    r"\mathbf{\hat{h}}^{(t)}": "h_hat",
    r"\bar{\boldsymbol{h}}^t": "h_bar",
    r"h^{\text{new}}_t": "h_new",
    r"h_{t, \mathrm{out}}": "h_out",
    r"h'_t": "h_p",
    r"h_t^{l-1}": "h_lm1",
    r"\lambda_t": "lambda_",
    r"\mathrm{cell}_t": "cell",
    r"g^{<t>}": "g",
    r"g^{[t]}": "g",
    "g\u0303_t": "g_tilde",
}


@pytest.mark.parametrize("symbol", NAMES)
def test_a_name_keeps_the_marks_of_its_symbol(symbol: str) -> None:
    (line,) = [x for x in lines_of(f"{symbol} = W x_t\n y_t = {symbol} + y_{{t-1}}") if "W @" in x]
    assert line.split(" = ")[0].strip() == NAMES[symbol]


def test_what_is_read_one_step_late_is_a_state_and_the_rest_of_time_an_input() -> None:
    reading = reading_of(r"h_t = \tanh(W x_t + V u_t + U h_{t-1} + b)")
    assert reading.checked is not None
    assert dict(reading.checked.inputs) == {"x": ("I",), "u": ("J",)}
    assert dict(reading.checked.states) == {"h": ("H",)}
    assert dict(reading.checked.params) == {
        "W": ("H", "I"), "V": ("H", "J"), "U": ("H", "H"), "b": ("H",),
    }  # fmt: skip
    assert reading.said[0].split() == ["inputs", "x:", "I,", "u:", "J"]


def test_equations_may_stand_in_any_order() -> None:
    text = reading_of("h_t = o_t c_t\no_t = \\sigma(W x_t)\nc_t = c_{t-1} + o_t").text
    assert text.index("o  =") < text.index("c' =") < text.index("h  =")


def test_a_number_above_a_symbol_that_is_defined_with_one_is_no_power() -> None:
    text = reading_of("x^1_t = Q h_{t-1} + x_t\nh_t = x^2_t + h_{t-1}\nx^2_t = W x^1_t").text
    assert "x_1 = Q @ h + x" in text
    assert "x_2 = W @ x_1" in text
    assert "**" not in text


def test_two_and_more_steps_are_a_chain_of_states() -> None:
    found = lines_of(r"h_t = W x_t + V x_{t-2} + U h_{t-3}")
    assert "state  h: H, x_before: I, x_before2: I, h_before: H, h_before2: H" in found
    assert "h_before2' = h_before" in found


def test_the_shapes_that_a_paper_prints_are_kept() -> None:
    found = lines_of(
        r"\[ y_t = \alpha A x_t + P \odot y_{t-1} \] with $x_t \in \mathbb{R}^{d}$, "
        r"$A \in \mathbb{R}^{n \times d}$, $P \in \mathbb{R}^n$ and $\alpha \in \mathbb{R}$"
    )
    assert {"input  x: d", "state  y: n", "param  A: n x d", "param  alpha: 1"} <= set(found)


def test_what_is_no_equation_is_kept_as_a_comment() -> None:
    text = reading_of("The cell is\n\\[ h_t = W x_t + h_{t-1} \\]\nwhere $W$ is a matrix.").text
    assert text.endswith("# From the text:\n# The cell is\n# where $W$ is a matrix.\n")


def test_numbers_labels_and_comments_of_latex_are_no_factors() -> None:
    latex = "h_t = W x_t % + V x_t\n + h_{t-1} \\label{eq:h} \\tag{7}, \\nonumber \\qquad (7)"
    assert "h' = W @ x + h" in lines_of(latex)


def test_a_guessed_function_is_said() -> None:
    said = reading_of(r"h_t = \phi(W x_t + h_{t-1})").said
    assert said[-1] == "phi(...) is taken for tanh;  --as phi=relu  for another"
    told = reading_of(r"h_t = \phi(W x_t + h_{t-1})", phi="relu")
    assert "relu" in told.text
    assert not any("phi" in line for line in told.said)


def test_a_meaning_decides_what_the_equations_leave_open() -> None:
    found = lines_of(
        r"h_t = \alpha U h_{t-1} + \beta \sigma(m \odot (B x_t))",
        U="vector", B="matrix", alpha="scalar", beta="0.5", m="input",
    )  # fmt: skip
    assert "input  m: H, x: I" in found
    assert "const  beta = 0.5" in found
    assert "h' = alpha * (U * h) + beta * sigmoid(m * (B @ x))" in found


# --- what cannot be read ----------------------------------------------------------------------

#: LaTeX, the first line of its message behind the place, and where the caret stands.
MISTAKES = {
    "h_t = argmax(W x_t)": ("the language has no function argmax", 7),
    r"h_t = \mathrm{argmax}(W x_t)": ("the language has no function argmax", 15),
    r"h_t = W x_t + \foo h_{t-1}": ("'\\foo' is not understood", 15),
    r"h_t = W x_t + ) h_{t-1}": ("')' has no meaning here", 15),
    r"h_t = W x_t +": ("something is missing here", 14),
    r"h_t = \frac{W x_t}": ("something is missing here", 19),
    r"h_t = [x_t, h_{t-1}] + b": ("vectors are joined here, and no matrix multiplies them", 7),
    r"h_t = W x_{t+1} + x_t + h_{t+1}": ("'h' is read at a step that comes later", 25),
    r"h_t = \tanh(W x_t + U s_{t-1})": (
        "'s' is read at the step before, and no equation gives it", 23,
    ),
    r"h_t = z_t, z_t = W h_t": ("these equations define each other", 1),
    r"h_t = W x_t, h_t = U x_t": ("'h' is defined twice", 14),
    r"h_t + c_t = W x_t": ("an equation defines a symbol, or several below each other", 1),
    r"$$h_t \tanh(W x_t)$$": ("this formula is no equation", 3),
    r"h_t = \log_2 W x_t + h_{t-1}": ("an index belongs to a symbol", 11),
    r"h_t = (W x_t)_2 + h_{t-1}": ("an index belongs to a symbol", 14),
    r"h_t = \tanh + h_{t-1}": ("a function is not applied to anything", 7),
    r"h_t = \tanh(x_t, h_{t-1})": ("'tanh' takes 1 argument", 7),
    r"h_t = \sum_i x_t": ("a sum runs over the units, by the index j", 7),
    r"h_t = (W - V^T) + h_{t-1}": ("this matrix multiplies nothing", 8),
    r"h_t = \sqrt[3]{x_t} + h_{t-1}": ("a root of another order is written as a power", 7),
    r"h_t = \tanh^{-1}(x_t) + h_{t-1}": ("the power -1 of a function may mean its inverse", 12),
    r"h_t = 2^\top x_t + h_{t-1}": ("something is transposed that is no vector or matrix", 8),
    r"S_t = f_t \odot S_{t-1} + v_t \\ o_t = S_t q_t": (
        "'S' stands before a vector as a matrix does", 40,
    ),
    r"h_t = \tilde{x_t + 1}": ("'\\tilde' belongs over a symbol", 7),
    r"h_t = \begin{cases} x_t & \text{if } x_t < 0 \end{cases}": (
        "the other case is missing", 7,
    ),
    r"h_t = \begin{cases} x_t & \text{if } x_t \\ 0 & \text{else} \end{cases}": (
        "a comparison is missing here", 42,
    ),
    r"h_t = \begin{cases} 1 & \text{not ever} \\ 0 & \text{else} \end{cases}": (
        "'not ever' is no condition", 31,
    ),
    r"h_t = \begin{cases} 1 & \text{else} \\ 0 & \text{if } x_t < 0 \end{cases}": (
        "'otherwise' stands last", 21,
    ),
    r"h_t = \begin{tikz} x_t \end{tikz}": ("an environment tikz is not understood", 7),
    r"h_t = W [x_t, h_{t-1}] + W x_t": (
        "'W' multiplies joined vectors elsewhere, and one vector here", 26,
    ),
    r"h_t = W [x_t, h_{t-1}] + W [x_t, h_{t-1}, c_t]": (
        "'W' multiplies 2 joined vectors elsewhere", 26,
    ),
    r"z_t = z_{\bar{t}} + h_{t-1}": ("the index tbar names no step", 7),
    r"x^\top_t = W h_{t-1}": ("a transposed symbol is defined", 1),
    r"h_t = \hat{h_{t-1} + x_t": ("'{' is never closed in this formula", 25),
    r"h_t = x_t} + h_{t-1}": ("'}' closes nothing", 10),
    "h_t = x_t \u2603 h_{t-1}": ("'\u2603' has no meaning in a formula", 11),
    "": ("there is no equation in this text", 1),
    "Nothing is defined here.": ("there is no equation in this text", 1),
    r"\[ \begin{pmatrix} i_t \\ f_t \end{pmatrix} = \begin{pmatrix} \sigma \\ \tanh \\ \sigma"
    r"\end{pmatrix} T x_t \]": ("3 functions, and 2 on the left", 47),
    "h_t = " + "(" * 80 + "x_t" + ")" * 80: ("this nests deeper than 60 levels", 67),
}  # fmt: skip


@pytest.mark.parametrize(
    ("latex", "wanted"),
    [
        (r"h_t = \sigma(W x_t)^2 + U h_{t-1}", "sigmoid(W @ x)**2 + U @ h"),
        (r"h_t = \sigma(\Lambda)^{c x_t} h_{t-1}", "exp(c * x * log(sigmoid(Lambda))) * h"),
        (r"h_t = \mathrm{relu}(W x_t)^2 \odot h_{t-1}", "relu(W @ x)**2 * h"),
        (r"h_t = (W x_t)^\top h_{t-1} + U x_t", "sum(W @ x * h) + U @ x"),
        (r"h_t = (U+V)^\top x_t + h_{t-1}", "U.T @ x + V.T @ x + h"),
        (r"h_t = (W^\top)^\top x_t + h_{t-1}", "W @ x + h"),
    ],
)
def test_powers_and_transposes_of_brackets_are_those_of_the_whole(latex: str, wanted: str) -> None:
    assert f"h' = {wanted}\n" in derive.Cell.from_latex(latex).to_text()


def test_a_capital_letter_that_multiplies_nothing_is_mentioned(tmp_path, capsys) -> None:
    path = tmp_path / "paper.tex"
    path.write_text(r"h_t = \exp(A) h_{t-1} + W x_t")
    assert main.status(["read", str(path)]) == 0
    said = capsys.readouterr().err
    assert "A multiplies no vector, so it is a vector itself" in said and "W mult" not in said


def test_a_product_that_may_be_an_outer_one_is_mentioned(tmp_path, capsys) -> None:
    path = tmp_path / "paper.tex"
    path.write_text(r"h_t = f_t \odot h_{t-1} + x_t \otimes f_t")
    assert main.status(["read", str(path)]) == 0
    assert "\\otimes is read element by element" in capsys.readouterr().err
    path.write_text(r"h_t = f_t \odot h_{t-1} + x_t \odot f_t")
    assert main.status(["read", str(path)]) == 0
    assert "element by element" not in capsys.readouterr().err


@pytest.mark.parametrize("latex", MISTAKES)
def test_a_mistake_has_its_place_in_the_latex(latex: str) -> None:
    errors = read(latex, "paper.tex").errors
    what, column = MISTAKES[latex]
    assert errors
    assert errors[0].what == what
    assert errors[0].place is not None
    assert (errors[0].place.file, errors[0].place.column) == ("paper.tex", column)
    text = str(errors[0]).splitlines()
    assert text[2].index("^") == 4 + column - 1


def test_from_latex_raises_what_was_not_understood() -> None:
    with pytest.raises(CellError, match="no function argmax"):
        derive.Cell.from_latex("h_t = W x_t + h_{t-1}\ny_t = argmax(V h_t)")
    with pytest.raises(CellErrors):
        derive.Cell.from_latex("a_t = argmax(V x_t)\nb_t = argmax(U x_t)")
    with pytest.raises(ArgumentTypeError, match="LaTeX is a str, not bytes"):
        derive.Cell.from_latex(b"h_t = x_t")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'diagonal' is no meaning of W"):
        derive.Cell.from_latex("h_t = W x_t", meaning={"W": "diagonal"})
    with pytest.raises(ArgumentError, match="'for' is a reserved word"):
        derive.Cell.from_latex("h_t = W x_t", name="for")


def test_a_mistake_of_shapes_is_placed_in_the_latex() -> None:
    latex = r"\[ h_t = W x_t + v \] $v \in \mathbb{R}^{3}$ $h_t \in \mathbb{R}^{4}$"
    with pytest.raises(CellError, match=r"<latex>:1:47: 'h' has width 4, and meets .* 3"):
        derive.Cell.from_latex(latex)


PIECES = [
    r"\frac", "{", "}", "_", "^", "&", r"\\", "=", "(", ")", "[", "]", r"\sigma", ",", "$", "|",
    r"\begin{cases}", r"\end{cases}", "'", "-", "1", "x_t", r"\left", r"\tilde", r"\in", "%", ":",
    r"\mathbb{R}^{H}", r"\text{if }", "<", r"\sum_j", r"^\top", "U^T", "h_0", r"\quad", "\n", "",
]  # fmt: skip


def test_damaged_latex_is_a_cell_or_an_error_with_a_place() -> None:
    draw = random.Random(7)
    texts = [paper.latex for paper in PAPERS.values()]
    for _ in range(400):
        text = draw.choice(texts)
        for _ in range(draw.choice([1, 2, 4])):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(PIECES) + text[at + draw.choice([0, 1, 3]) :]
        reading = read(text)
        assert reading.checked is not None or reading.errors
        assert all(error.place is not None for error in reading.errors)


# --- the command --------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main.status(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_read_prints_the_cell_and_says_what_was_concluded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "elman.tex"
    file.write_text("h_t = \\phi(W x_t + U h_{t-1} + b)")
    status, out, err = run(capsys, "read", str(file), "--name", "elman", "--as", "phi=relu")
    assert status == 0
    assert derive.Cell.parse(out).name == "elman"
    assert "relu" in out
    assert re.search(r"^states +h: H$", err, re.MULTILINE)


def test_read_takes_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"h_t = W x_t + h_{t-1}")))
    status, out, _ = run(capsys, "read", "-")
    assert status == 0
    assert "h' = W @ x + h" in out


def test_read_keeps_what_it_did_not_understand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "rnn.tex"
    file.write_text("h_t = W x_t + h_{t-1}\ny_t = argmax(V h_t)\n")
    status, out, err = run(capsys, "read", str(file), "--as", "Q=matrix")
    assert status == 1
    assert "# y_t = argmax(V h_t)" in out
    assert f"{file}:2:7: the language has no function argmax" in err
    assert "--as Q: there is no such name" in err


def test_read_ends_with_two_where_there_is_no_cell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "rnn.tex"
    file.write_text("h_t = W x_t + U s_{t-1}\n")
    assert run(capsys, "read", str(file))[:2] == (2, "")
    file.write_bytes(b"h_t = \xff")
    assert "is not UTF-8 text: byte 6 is wrong" in run(capsys, "read", str(file))[2]
    assert "cannot be read" in run(capsys, "read", str(tmp_path / "no.tex"))[2]
    assert "gives no meaning" in run(capsys, "read", str(file), "--as", "W")[2]


@pytest.mark.parametrize(
    ("latex", "what", "caret", "hint"),
    [
        (r"h_t = \tanh(A^2 x_t + A h_{t-1})", "a power of the matrix A, or another", "A^2", "A_2"),
        (r"h_t = \tanh(\frac{W}{2} x_t + h_{t-1})", "matrix 'W' stands in a fraction", "W}", None),
        (r"h_t = h_{t-1} + 1/\tau W x_t", "how much the slash divides by", r"\tau", None),
        (r"h_t = \sum_j W_j x_t^j + h_{t-1}", "the index of a sum is a power", "j + h", "x_j"),
        (r"h_t = \begin{cases} x_t & x_t > 0 \\ h_{t-1} & x_t < 1 \end{cases}",
         "the last case does not hold wherever the first does not", "x_t < 1",
         r"\text{otherwise}"),
    ],
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_refused(
    latex: str, what: str, caret: str, hint: str | None
) -> None:
    with pytest.raises(derive.DeriveError, match=re.escape(what)) as caught:
        derive.Cell.from_latex(latex)
    shown, line = str(caught.value).splitlines()[1:3]
    assert shown[line.index("^") :].startswith(caret), str(caught.value)
    assert hint is None or f"hint: {hint}" in str(caught.value)


@pytest.mark.parametrize(
    ("latex", "wanted"),
    [
        (r"h_t = h_{t-1} + 1/2 W x_t", "h + 1 / 2 * (W @ x)"),
        (r"h_t = h_{t-1} + \frac{1}{\tau} W x_t", "h + 1 / tau * (W @ x)"),
        (r"h_t = h_{t-1} + (1/\tau) W x_t", "h + 1 / tau * (W @ x)"),
        (r"h_t = x_t / \tau + h_{t-1}", "x / tau + h"),
        (r"h_t = x_t / \exp(\tau) + h_{t-1}", "x / exp(tau) + h"),
        (r"h_t = \begin{cases} x_t & x_t > 0 \\ h_{t-1} & x_t \le 0 \end{cases}",
         "where(x > 0, x, h)"),
        (r"h_t = \begin{cases} x_t & x_t > 0 \\ h_{t-1} & 0 \ge x_t \end{cases}",
         "where(x > 0, x, h)"),
        (r"h_t = \tanh(A^1 x_t + A^2 h_{t-1})", "tanh(A_1 @ x + A_2 @ h)"),
    ],
)  # fmt: skip
def test_what_is_said_clearly_is_read(latex: str, wanted: str) -> None:
    assert f"h' = {wanted}\n" in derive.Cell.from_latex(latex).to_text()
