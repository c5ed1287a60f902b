"""Cell: the public object; text and SymPy give the same one; the Step means what was written."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from sympy import Eq

import derive
from derive.cell import Cell
from derive.errors import ArgumentTypeError, CellError, DeriveError
from derive.program import Map, Matmul, interpret
from derive.symbolic import functions
from derive.symbolic.heads import arrays, layer_norm, matmul, mean, total, transpose

JANET = """\
cell   janet
doc    Forget-gate-only LSTM. van der Westhuizen & Lasenby 2018, arXiv 1804.04849, eq. 3.
input  x: I
state  h: H
const  beta = 1.0

a  = W_f @ x + U_f @ h + b_f
g  = tanh(W_g @ x + U_g @ h + b_g)
h' = sigmoid(a) * h + (1 - sigmoid(a - beta)) * g

output h'
"""

LSTM = """\
cell   lstm
input  x: I
state  h: H, c: H

i  = sigmoid(W_i @ x + U_i @ h + b_i)
f  = sigmoid(W_f @ x + U_f @ h + b_f)
g  = tanh(W_g @ x + U_g @ h + b_g)
o  = sigmoid(W_o @ x + U_o @ h + b_o)
c' = f * c + i * g
h' = o * tanh(c')

output h', c
"""

SMALL = "cell c\ninput x: I\nstate h: H\n"


def lines(body: str) -> list[str]:
    """The equations of the Step, in short."""
    cell = Cell.parse(f"{SMALL}{body}\noutput h'\n")
    shown = []
    for line in cell.step.program.equations:
        if isinstance(line, Map):
            shown.append(f"{line.out} = {line.expr}")
        elif isinstance(line, Matmul):
            shown.append(f"{line.out} = {line.left} {line.layout.value} {line.right}")
        else:
            shown.append(f"{line.out} = sum {line.source}")
    return shown


# --- the public object ----------------------------------------------------------------------


def test_names_and_shapes_of_janet() -> None:
    cell = Cell.parse(JANET)
    assert cell.name == "janet"
    assert cell.doc.startswith("Forget-gate-only LSTM.")
    assert dict(cell.inputs) == {"x": ("I",)}
    assert dict(cell.states) == {"h": ("H",)}
    assert list(cell.params.items()) == [
        ("W_f", ("H", "I")),
        ("U_f", ("H", "H")),
        ("b_f", ("H",)),
        ("W_g", ("H", "I")),
        ("U_g", ("H", "H")),
        ("b_g", ("H",)),
    ]
    assert dict(cell.outputs) == {"h_next": ("H",)}
    assert dict(cell.consts) == {"beta": 1}
    assert repr(cell) == "<Cell janet: x, h -> h_next>"
    assert (cell.notes, cell.unused) == ((), ())


def test_key_of_a_bare_state_is_its_name() -> None:
    assert list(Cell.parse(LSTM).outputs) == ["h_next", "c"]


def test_equations_keep_the_authors_names() -> None:
    h, h_next, g, a, beta = map(functions.symbol, ["h", "h_next", "g", "a", "beta"])
    equations = Cell.parse(JANET).equations
    assert [str(eq.lhs) for eq in equations] == ["a", "g", "h_next"]
    wanted = functions.sigmoid(a) * h + (1 - functions.sigmoid(a - beta)) * g
    assert equations[2] == Eq(h_next, wanted)
    w_f, x = functions.symbol("W_f"), functions.symbol("x")
    assert matmul(w_f, x) in equations[0].rhs.args


@pytest.mark.parametrize("source", [JANET, LSTM])
def test_canonical_text_is_a_fixed_point(source: str) -> None:
    cell = Cell.parse(source)
    assert cell.to_text() == source
    assert Cell.parse(cell.to_text()) == cell


def test_cell_is_immutable_and_so_are_its_mappings() -> None:
    cell = Cell.parse(JANET)
    with pytest.raises(AttributeError):
        cell.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        cell.params["W"] = ("H",)  # type: ignore[index]


def test_pickle_gives_an_equal_cell() -> None:
    cell = Cell.parse(JANET)
    again = pickle.loads(pickle.dumps(cell))
    assert again == cell and again.doc == cell.doc and again.to_text() == cell.to_text()


@pytest.mark.parametrize(
    "variant",
    [
        JANET.replace("W_f @ x + U_f @ h + b_f", "b_f + U_f @ h + W_f @ x"),
        JANET.replace("beta = 1.0", "beta = 3 / 3"),
        JANET.replace("doc    Forget", "doc    Another"),
        JANET.replace("x: I", "x").replace("h: H", "h"),
        JANET.replace("const ", "param b_g: H, W_g: H x I\nconst "),
        JANET.replace("h'", "h_next"),
    ],
)
def test_equality_is_by_content(variant: str) -> None:
    assert Cell.parse(variant) == Cell.parse(JANET)
    assert hash(Cell.parse(variant)) == hash(Cell.parse(JANET))


@pytest.mark.parametrize(
    "variant",
    [
        JANET.replace("cell   janet", "cell   other"),
        JANET.replace("beta = 1.0", "beta = 1.1"),
        JANET.replace("U_g @ h", "U_g.T @ h"),
        JANET.replace("output h'", "output h', g"),
        JANET.replace("output h'", "output h"),
        JANET.replace("h: H", "h: K"),
        JANET.replace("tanh(", "softsign("),
        JANET.replace("+ b_f", "+ log(exp(b_f))"),
        JANET.replace("const ", "param b_g: 1\nconst "),
    ],
)
def test_other_content_is_another_cell(variant: str) -> None:
    assert Cell.parse(variant) != Cell.parse(JANET)
    assert Cell.parse(JANET) != "janet"


def test_load_reads_a_file_and_names_it_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "my.cell"
    path.write_bytes(b"\xef\xbb\xbf" + JANET.replace("\n", "\r\n").encode())
    assert Cell.load(path) == Cell.load(str(path)) == Cell.parse(JANET)
    path.write_text("cell 1")
    with pytest.raises(CellError, match=r"my\.cell:1:6: "):
        Cell.load(path)


def test_load_refuses_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "my.cell"
    with pytest.raises(CellError, match="cannot be read"):
        Cell.load(path)
    path.write_bytes(b"cell c\xff")
    with pytest.raises(CellError, match="is not UTF-8 text: byte 6 is wrong"):
        Cell.load(path)


def test_parse_refuses_bytes() -> None:
    with pytest.raises(ArgumentTypeError, match="the text of a cell is a str, not bytes"):
        Cell.parse(b"cell c")  # type: ignore[arg-type]


def test_deep_stack_of_the_caller_is_a_clean_error() -> None:
    def below(depth: int) -> Cell:
        return below(depth - 1) if depth else Cell.parse(JANET)

    for depth in range(0, 1000, 20):
        try:
            below(depth)
        except DeriveError as error:
            assert "nests too deeply" in str(error)
            return
        except RecursionError:
            return


def test_deepest_legal_nesting_works() -> None:
    for start in ("tanh(", "sigmoid(1 - ", "exp(-", "abs(2 * ", "U @ (1 + "):
        source = f"{SMALL}h' = {start * 25}h{')' * 25}\noutput h'"
        cell = Cell.parse(source)
        assert Cell.parse(cell.to_text()) == cell


# --- SymPy ----------------------------------------------------------------------------------

x, h, h_next, W, U, b, beta = arrays("x h, h_next W U b beta")


def test_sympy_and_text_give_the_same_cell() -> None:
    built = Cell(
        "elman",
        [Eq(h_next, sympy.tanh(W @ x + U.T @ h + beta * b))],
        inputs={"x": "I"},
        states=["h"],
        params={"W": ("H", "I")},
        consts={"beta": 0.1},
        doc="Two\nlines.",
    )
    read = Cell.parse(
        "cell elman\ndoc Two\ndoc lines.\ninput x: I\nstate h: H\nparam W: H x I\n"
        "const beta = 1 / 10\nh' = tanh(W @ x + U.T @ h + b * beta)\noutput h'"
    )
    assert built == read
    assert built.doc == read.doc == "Two\nlines."


def test_plain_symbols_and_a_mapping_do_as_well() -> None:
    px, ph, pw = sympy.symbols("x h W")
    built = Cell("c", {"h_next": sympy.tanh(matmul(pw, px)) + ph}, inputs=["x"], states={"h": "H"})
    assert built == Cell.parse(f"{SMALL}h' = h + tanh(W @ x)\noutput h'")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (h**2 / 3 - x, "-x + h**2 / 3"),
        (-h * x, "-(h * x)"),
        (0.1 * h, "0.1 * h"),
        (sympy.Rational(-2, 7) * h, "-(2 * h / 7)"),
        (1 / (1 + sympy.exp(-h)), "1 / (1 + exp(-h))"),
        (sympy.sqrt(h) + h**-0.5 + h**1.5, "h**1.5 + 1 / sqrt(h) + sqrt(h)"),
        (sympy.Max(h, x, 0), "maximum(maximum(0, h), x)"),
        (sympy.Min(h, 2), "minimum(2, h)"),
        (sympy.Abs(h) + sympy.sign(x), "abs(h) + sign(x)"),
        (sympy.Piecewise((h, h > x), (x, True)), "where(h > x, h, x)"),
        (
            sympy.Piecewise((h, h > 1), (x, h >= 0), (h * x, sympy.Ne(h, x)), (0, True)),
            "where(h > 1, h, where(h >= 0, x, where(h != x, h * x, 0)))",
        ),
        (functions.where(functions.less_equal(h, x), 1, h), "where(h <= x, 1, h)"),
        (functions.clip(h, -1, sympy.Rational(1, 2)), "clip(h, -1, 0.5)"),
        (functions.gelu(h) * functions.stop_gradient(x), "gelu(h) * stop_gradient(x)"),
        (total(h) + mean(x) + layer_norm(h), "layer_norm(h) + mean(x) + sum(h)"),
        (matmul(U, h * x) + matmul(transpose(U), h), "U @ (h * x) + U.T @ h"),
        (U.T @ (U @ h + h), "U.T @ (U @ h + h)"),
        (h + sympy.E, "h + 2.718281828459045235360287471352662497757"),
        (h * 10**20, "100000000000000000000 * h"),
        (sympy.Float("0.30000000000000004") * h, "0.30000000000000004 * h"),
        (sympy.exp(h) / sympy.exp(2 * x), "exp(h) * exp(-2 * x)"),
        (sympy.Pow(sympy.E, h, evaluate=False), "exp(h)"),
        (-h / x**2 + 1, "1 - h / x**2"),
        (3, "3"),
        (0.5, "0.5"),
    ],
)
def test_sympy_expression_as_text(value: Any, written: str) -> None:
    given = {"x": "H"}
    built = Cell("c", {"h_next": value}, inputs=given, states={"h": "H"})
    # Terms come in SymPy's order, which is no promise; what counts is the equal cell.
    body = f"cell c\ninput x: H\nstate h: H\nh' = {written}\noutput h'"
    assert built == Cell.parse(body)


def test_equations_of_a_cell_build_it_again() -> None:
    for source in (JANET, LSTM):
        cell = Cell.parse(source)
        again = Cell(
            cell.name,
            cell.equations,
            inputs=cell.inputs,
            states=cell.states,
            consts=cell.consts,
            outputs=cell.outputs,
        )
        assert again == cell


def test_array_symbols_survive_pickle_and_know_products() -> None:
    assert pickle.loads(pickle.dumps(W @ x)) == W @ x == matmul(W, x)
    assert pickle.loads(pickle.dumps(layer_norm(W.T @ h))) == layer_norm(W.T @ h)
    assert str(total(x) + mean(h)) == "mean(h) + sum(x)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"equations": [Eq(h_next, h_next)]}, "True is no equation"),
        ({"equations": [Eq(h_next, sympy.zeta(h))]}, "'zeta(h)' is outside the functions"),
        ({"equations": {"h_next": "h"}}, "'h' is no SymPy expression"),
        ({"equations": [Eq(sympy.tanh(h), h)]}, "'tanh(h)' is defined, which is no name"),
        ({"equations": {"h_next": sympy.I * h}}, "'I' is outside the functions"),
        ({"equations": {"h_next": sympy.Symbol("a b") * h}}, "'a b' is no name"),
        ({"equations": {"h_next": h > 1}}, "'h > 1' is outside the functions"),
        ({"equations": {"h next": h}}, "'h next' is no name"),
        (
            {"equations": {"h_next": sympy.Piecewise((h, h > 1))}},
            "a Piecewise needs a value for every case",
        ),
        (
            {"equations": {"h_next": sympy.Piecewise((h, (h > 1) & (x > 1)), (0, True))}},
            "is no single comparison",
        ),
        ({"equations": 5}, "5 is no list of equations"),
        ({"equations": {"h_next": h + x}}, "<sympy>:5:10: 'x + h' adds arrays of different width"),
        ({"name": "my cell"}, "'my cell' is no name"),
        ({"name": 3}, "3 is no name"),
        ({"states": {"h": sympy.Symbol("no width")}}, "'width' has no meaning in a width"),
        ({"states": "h"}, "'h' is a string"),
        ({"states": {"h": 1.5}}, "1.5 is no width"),
        ({"states": {"h": "no width"}}, "'width' has no meaning in a width"),
        ({"doc": "= h"}, "a line of a doc cannot begin with '='"),
        ({"doc": 3}, "a doc is a str, not int"),
    ],
)
def test_sympy_that_is_no_cell_is_refused(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "name": "c",
        "equations": [Eq(h_next, h)],
        "inputs": {"x": "I"},
        "states": {"h": "H"},
    } | arguments
    with pytest.raises(DeriveError) as caught:
        Cell(given.pop("name"), given.pop("equations"), **given)
    assert message in str(caught.value)


def test_deep_sympy_is_refused_cleanly() -> None:
    deep: Any = h
    for _ in range(400):
        deep = functions.sigmoid(deep)
    with pytest.raises(CellError):
        Cell("c", {"h_next": deep}, states=["h"])


# --- constants ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.1", "1/10"),
        ("1e-3", "1/1000"),
        ("2**10 - 1", "1023"),
        ("4**0.5", "2"),
        ("-(1 / 3)**2", "-1/9"),
        ("where(1 < 2, 5, 1 / 0)", "5"),
        ("clip(7, -1, 2)", "2"),
        ("maximum(1, 2) + sum(3) + mean(4) + layer_norm(5)", "9"),
        ("floor(2.5) + sign(-3) + abs(-4)", "5"),
        ("sigmoid(0)", "1/2"),
        ("0e99999", "0"),
        ("1.6732632423543772848170429916717", "1.6732632423543772848170429916717"),
    ],
)
def test_constants_are_exact(written: str, value: str) -> None:
    cell = Cell.parse(f"{SMALL}const k = {written}\nh' = k + h\noutput h'")
    assert cell.consts["k"] == sympy.Rational(value)


@pytest.mark.parametrize(
    "written",
    ["2**0.5", "exp(1)", "1.1**900", "gelu(0.5)", "sqrt(0.3)", "2**(1/3)", "1.0001**900**0.99"],
)
def test_irrational_and_long_constants_have_forty_digits(written: str) -> None:
    cell = Cell.parse(f"{SMALL}const k = {written}\nh' = k + h\noutput h'")
    wanted = eval(written, {}, {**FUNCTIONS})
    assert cell.consts["k"].is_Rational
    assert abs(float(cell.consts["k"]) / wanted - 1) < 1e-12
    assert len(str(cell.consts["k"].p)) < 60


def test_fractions_that_grow_are_shortened() -> None:
    steps = "".join(f", a{k + 1} = (a{k} + 1 / (a{k} + 0.1)) / 2" for k in range(200))
    cell = Cell.parse(f"{SMALL}const a0 = 1.1{steps}\nh' = a200 * h\noutput h'")
    assert abs(float(cell.consts["a200"]) - 0.951249219) < 1e-6


@pytest.mark.parametrize("written", ["exp(1e300)", "exp(-1e300)", "1e300 * 1e300", "1e308 * 10"])
def test_constants_beyond_a_double_are_refused(written: str) -> None:
    with pytest.raises(CellError, match="is beyond what a double holds"):
        Cell.parse(f"{SMALL}const k = {written}\nh' = k + h\noutput h'")


# --- the lines of a Step --------------------------------------------------------------------


def test_a_gate_is_two_products_a_sum_and_a_function() -> None:
    assert lines("i = sigmoid(W_i @ x + U_i @ h + b_i)\nh' = i") == [
        "W_i_x = W_i normal x",
        "U_i_h = U_i normal h",
        "a_i = U_i_h + W_i_x + b_i",
        "i = sigmoid(a_i)",
        "h_next = i",
    ]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("h' = tanh(h)", ["h_next = tanh(h)"]),
        ("h' = tanh(h + 1)", ["a_h = h + 1", "h_next = tanh(a_h)"]),
        ("h' = 2 * tanh(h)", ["tanh_h = tanh(h)", "h_next = 2*tanh_h"]),
        ("h' = U @ h", ["h_next = U normal h"]),
        ("h' = U.T @ h + h", ["U_T_h = U transposed h", "h_next = U_T_h + h"]),
        ("h' = U @ (h * h)", ["U_arg = h**2", "h_next = U normal U_arg"]),
        ("param V: 2 x H\nh' = U @ (V @ h)", ["V_h = V normal h", "h_next = U normal V_h"]),
        ("h' = U @ h + tanh(U @ h)", ["U_h = U normal h", "tanh_U_h = tanh(U_h)",
                                      "h_next = U_h + tanh_U_h"]),
        ("y = U @ h\nh' = U @ h", ["y = U normal h", "h_next = y"]),
        ("y = sigmoid(h)\nh' = sigmoid(h) * h", ["y = sigmoid(h)", "h_next = h*y"]),
        ("y = h + 1\nh' = tanh(1 + h)", ["y = h + 1", "h_next = tanh(y)"]),
        ("h' = sqrt(h)", ["h_next = sqrt(h)"]),
        ("h' = h**0.5 + h**-0.5", ["sqrt_h = sqrt(h)", "h_next = sqrt_h + 1/sqrt_h"]),
        ("h' = (h**2)**0.5", ["a_h = h**2", "h_next = sqrt(a_h)"]),
        ("h' = h * sum(h)", ["sum_h = sum h", "h_next = h*sum_h"]),
        ("s = sum(x)\nh' = h * s", ["s = sum x", "h_next = h*s"]),
        ("s = mean(x)\nh' = h * s", ["sum_x = sum x", "s = sum_x/|I|", "h_next = h*s"]),
        ("s = sum(x)\nt = mean(s)\nh' = t", ["s = sum x", "t = s", "h_next = t"]),
        ("h' = where(h > 1, h**2, 0)", ["h_next = where(less(1, h), h**2, 0)"]),
        ("h' = h + where(1 > 2, h, 0)", ["h_next = h"]),
        ("h' = clip(h, -1, 2)", ["h_next = clip(h, -1, 2)"]),
        ("const k = 0.5\nh' = k * h**(2 * k)", ["h_next = h/2"]),
        ("tanh_h = h + 1\nh' = 2 * tanh(h)", ["tanh_h = h + 1", "tanh_h_2 = tanh(h)",
                                              "h_next = 2*tanh_h_2"]),
        ("m = 0 * h\nh' = m + sum(0 * h)", ["m = 0", "sum_m = sum m", "h_next = m + sum_m"]),
    ],
)  # fmt: skip
def test_lines_of_the_step(body: str, wanted: list[str]) -> None:
    assert lines(body) == wanted


def test_width_as_written_survives_evaluation() -> None:
    cell = Cell.parse(f"{SMALL}m = 0 * x\ns = sum(1 + 0 * x)\nh' = s * h\noutput m, s")
    table = cell.step.program.table()
    assert table["m"].shape == ("I",)
    values = interpret(
        cell.step.program, {"x": np.ones((2, 5)), "h": np.ones((2, 3))}, rows=2,
        sizes={"I": 5, "H": 3},
    )  # fmt: skip
    assert np.all(values["s"] == 5)


def test_what_depends_on_parameters_alone_is_shared() -> None:
    cell = Cell.parse(f"{SMALL}m = exp(b) + 1\nh' = m * h\noutput h', m, b, x")
    table = cell.step.program.table()
    assert not table["m"].per_row and table["h_next"].per_row
    assert cell.step.outputs == ("h_next", "m_rows", "b_rows", "x")
    assert cell.output_keys == ("h_next", "m", "b", "x")
    assert table["m_rows"].per_row and table["b_rows"].per_row


def test_next_state_from_parameters_alone_is_per_row() -> None:
    for body in ("h' = b", "h' = 1", "y = b + 0 * h\nh' = U @ y", "h' = exp(b)", "h' = 2 * sum(b)"):
        cell = Cell.parse(f"{SMALL}param b: H\n{body}\noutput h'")
        assert cell.step.program.table()["h_next"].per_row, body


def test_step_lists_params_then_inputs_then_states() -> None:
    step = Cell.parse(LSTM).step
    assert step.program.inputs == (*step.params, "x", "h", "c")
    assert step.next_states == ("h_next", "c_next")
    assert step.program.outputs == ("h_next", "c_next", "c")


# --- against NumPy: the text of a random cell, evaluated as Python --------------------------

SIZES = {"I": 3, "H": 4}
_erf = np.vectorize(math.erf)


def _sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def _over_width(function: Any) -> Any:
    return lambda v: function(np.asarray(v, float), -1, keepdims=True) if np.ndim(v) else v


def _layer_norm(v: Any) -> Any:
    if not np.ndim(v):
        return 0.0
    centred = v - np.mean(v, -1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, -1, keepdims=True) + 1e-5)


FUNCTIONS: dict[str, Any] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0),
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _erf,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "softplus": lambda v: np.logaddexp(0, v),
    "logsigmoid": lambda v: -np.logaddexp(0, -v),
    "softsign": lambda v: v / (1 + abs(v)),
    "elu": lambda v: np.where(v > 0, v, np.expm1(v)),
    "leaky_relu": lambda v: np.where(v > 0, v, 0.01 * v),
    "selu": lambda v: 1.0507009873554805 * np.where(v > 0, v, 1.6732632423543772 * np.expm1(v)),
    "gelu": lambda v: 0.5 * v * (1 + _erf(v / math.sqrt(2))),
    "silu": lambda v: v * _sigmoid(v),
    "hard_sigmoid": lambda v: np.clip(v / 6 + 0.5, 0, 1),
    "hard_tanh": lambda v: np.clip(v, -1, 1),
    "stop_gradient": lambda v: v,
}
MORE: dict[str, Any] = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "clip": np.clip,
    "where": np.where,
    "sum": _over_width(np.sum),
    "mean": _over_width(np.mean),
    "layer_norm": _layer_norm,
}


class _Matrix:
    def __init__(self, values: Any) -> None:
        self.values = values

    @property
    def T(self) -> _Matrix:
        return _Matrix(self.values.T)

    def __matmul__(self, vector: Any) -> Any:
        return np.asarray(vector) @ self.values.T


def _expression(rng: random.Random, width: Any, depth: int, widths: dict[str, Any]) -> str:
    """A random expression of the given width, or of width 1."""

    def part(of: Any = width) -> str:
        return _expression(rng, of, depth - 1, widths)

    kind = rng.random()
    if depth == 0 or kind < 0.12:
        names = [name for name, known in widths.items() if known in (width, 1)]
        return rng.choice([*names, "0", "1", "0.5", "3.25", "beta"])
    if kind < 0.4:
        return f"({part()} {rng.choice('+-*')} {part()})"
    if kind < 0.45:
        return f"({part()} / (1 + {part()}**2))"
    if kind < 0.5:
        return f"(-{part()})**{rng.choice(['2', '3', '0', '1', '(1/2)', 'beta', '-1'])}"
    if kind < 0.7:
        return f"{rng.choice(list(FUNCTIONS))}({part()})"
    if kind < 0.75:
        return f"{rng.choice(['maximum', 'minimum'])}({part()}, {part()})"
    if kind < 0.78:
        return f"clip({part()}, -0.5, beta)"
    if kind < 0.83:
        relation = rng.choice(["<", "<=", ">", ">=", "==", "!="])
        return f"where({part()} {relation} {part()}, {part()}, {part()})"
    if width == 1:
        return f"{rng.choice(['sum', 'mean'])}({part(rng.choice(['I', 'H']))})"
    if kind < 0.95:
        choices = {"H": [("W", "I"), ("U", "H"), ("U.T", "H")], "I": [("W.T", "H"), ("V", "I")]}
        matrix, columns = rng.choice(choices[width])
        return f"({matrix} @ ({_full(rng, columns, depth - 1, widths)}))"
    return f"layer_norm({part()})"


def _full(rng: random.Random, width: Any, depth: int, widths: dict[str, Any]) -> str:
    """The same, of no smaller width."""
    array = {"I": "x", "H": "h", 1: "s"}[width]
    zero = rng.choice(["", "0 * "])
    return f"{_expression(rng, width, depth, widths)} + {zero}{array}"


HEAD = """\
cell  random
input x: I
state h: H, c: H, s: 1
param W: H x I, U: H x H, V: I x I, b: H, q: 1, e: I
const beta = 1.25
"""


@pytest.mark.parametrize("seed", range(60))
def test_step_of_a_random_cell_computes_what_its_text_says(seed: int) -> None:
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    widths: dict[str, Any] = {"x": "I", "h": "H", "c": "H", "s": 1, "b": "H", "q": 1, "e": "I"}
    body: list[tuple[str, str]] = []
    for index in range(rng.randint(1, 4)):
        width = rng.choice(["H", "H", "I", 1])
        body.append((f"m{index}", _full(rng, width, rng.randint(1, 3), widths)))
        widths[f"m{index}"] = width
    for state, width in (("h_next", "H"), ("c_next", "H"), ("s_next", 1)):
        body.append((state, _expression(rng, width, 3, widths)))
    source = HEAD + "".join(f"{name} = {value}\n" for name, value in body) + "output m0, h', b\n"
    try:
        cell = Cell.parse(source)
    except CellError as error:
        assert "is no real number" in str(error) or "divides by zero" in str(error), error
        return
    assert Cell.parse(cell.to_text()) == cell
    values: dict[str, Any] = {
        name: numbers.uniform(-1, 1, (2, SIZES.get(width, 1)))
        for name, width in (("x", "I"), ("h", "H"), ("c", "H"), ("s", "one"))
    }
    shapes = {"W": (4, 3), "U": (4, 4), "V": (3, 3), "b": (4,), "q": (1,), "e": (3,)}
    values |= {name: numbers.uniform(-1, 1, shape) for name, shape in shapes.items()}
    program = cell.step.program
    found = interpret(program, {n: values[n] for n in program.inputs}, rows=2, sizes=SIZES)
    space = {**FUNCTIONS, **MORE, **values, "beta": 1.25}
    space |= {name: _Matrix(values[name]) for name in "WUV"}
    table = program.table()
    with np.errstate(all="ignore"):
        for name, value in body:
            computed = np.asarray(eval(value, {}, space), float)  # the text is a test's own
            space[name] = computed
            if name.endswith("_next"):
                width = SIZES.get(table[name].width, 1)  # type: ignore[arg-type]
                space[name] = np.broadcast_to(computed, (2, width))
            if np.all(np.isfinite(computed)):
                # An array may turn out to be shared by the rows: 0 * h + b is b.
                shape = (2, found[name].shape[-1])
                wanted = np.broadcast_to(space[name], shape)
                given = np.broadcast_to(found[name], shape)
                # Two routes of a few dozen operations each, some through exp: 1e-6 is far
                # above their rounding and far below any wrong operand.
                np.testing.assert_allclose(given, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "function", [derive.compile, derive.emit, derive.differentiate, derive.verify]
)
def test_the_name_of_a_cell_is_no_cell(function: Callable[[Any], Any]) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        function("lstm")
    assert str(caught.value) == (
        "cell must be a Cell, not str\n"
        '  hint: derive.cells.lstm(), derive.load("mine.cell") or derive.Cell.parse(text)'
    )
