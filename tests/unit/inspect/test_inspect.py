"""What `derive show` says of a cell is complete, right and readable."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from entries import OF_VECTORS, WITH_AXES, sampled
from strange_cells import CELLS as STRANGE
from sympy import pi, sqrt

import derive
from derive import pipeline
from derive.errors import ArgumentError
from derive.inspect import FORMATS, STAGES, chosen_stages, show
from derive.inspect.facts.cost import Part, at, cost, operations, polynomial
from derive.inspect.facts.view import View
from derive.inspect.latex.notation import LATEX, latex_name
from derive.program import interpret
from derive.symbolic.evaluate import NUMPY
from derive.symbolic.functions import exp, sigmoid, symbol, where
from derive.textbook.notation import TEXT, Order, order_in, write

LSTM = """cell lstm
input  x: I
state  h: H, c: H

i = sigmoid(W_i @ x + U_i @ h + b_i)
f = sigmoid(W_f @ x + U_f @ h + b_f)
o = sigmoid(W_o @ x + U_o @ h + b_o)
g = tanh(W_g @ x + U_g @ h + b_g)
c' = f * c + i * g
h' = o * tanh(c')

output h'
"""


def cell_called(name: str) -> derive.Cell:
    family, _, strange = name.partition(" ")
    return derive.Cell.parse(STRANGE[strange]) if strange else derive.cells.from_spec(family)


EVERY = (*sampled(OF_VECTORS), *(f"strange {name}" for name in STRANGE))


# --- the printed gradient is the derivative -------------------------------------------------

_FUNCTIONS: dict[str, Any] = {
    **NUMPY.functions,
    "sqrt": np.sqrt,
    "sum": lambda v: np.sum(v, keepdims=True),
    "mean": lambda v: np.mean(v, keepdims=True),
    "sum_rows": lambda v: v,
    "outer": np.outer,
}


def evaluate(text: str, values: dict[str, Any], sizes: dict[str, int]) -> Any:
    """A printed formula for a batch of one row, by Python's own parser."""
    text = re.sub(r"\|(\w+)\|", lambda match: str(sizes[match[1]]), text)
    return eval(text, {"__builtins__": {}}, {**_FUNCTIONS, **values})


def at_a_point(cell: derive.Cell) -> tuple[dict[str, Any], dict[str, int]]:
    """Every array of the derivative's Program, for one row, and the sizes."""
    gradient = derive.differentiate(cell)
    program = gradient.program
    sizes = {dim: 3 + k for k, dim in enumerate(program.dims())}
    random = np.random.default_rng(3)
    table = program.table()
    inputs = {}
    for name in program.inputs:
        shape = tuple(sizes[d] if isinstance(d, str) else d for d in table[name].shape)
        inputs[name] = random.uniform(0.2, 0.9, (1, *shape) if table[name].per_row else shape)
    values = interpret(program, inputs, rows=1, sizes=sizes)
    return {n: v[0] if table[n].per_row else v for n, v in values.items()}, sizes


def ambiguous(cell: derive.Cell) -> bool:
    """An array called like a function makes a line that Python's parser cannot tell apart."""
    arrays = {array.name for array in derive.differentiate(cell).program.arrays}
    return bool(arrays & set(_FUNCTIONS))


@pytest.mark.parametrize("name", EVERY)
def test_every_printed_gradient_line_computes_the_gradient(name: str) -> None:
    cell = cell_called(name)
    if ambiguous(cell):
        pytest.skip("an array is called like a function")
    wanted, sizes = at_a_point(cell)
    found = View(cell).derivation
    own = {*cell.inputs, *cell.states, *cell.params, *(e.lhs.name for e in cell.equations)}
    seeds = {seed.name for seed in found.seeds}
    values = {n: v for n, v in wanted.items() if n in own | seeds}
    for line in (*found.where, *found.gradient):
        value = evaluate(write(line.value, TEXT, line.order), values, sizes)
        values[line.name] = np.broadcast_to(value, wanted[line.name].shape)
        np.testing.assert_allclose(values[line.name], wanted[line.name], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", EVERY)
def test_gradient_equations_are_complete_and_right(name: str) -> None:
    cell = cell_called(name)
    gradient = derive.differentiate(cell)
    lines = {equation.lhs.name for equation in gradient.equations}
    assert lines == {d for _, d in gradient.derivative.of}
    for own in (*cell.inputs, *cell.states, *cell.params, *(e.lhs.name for e in cell.equations)):
        assert gradient.derivative.name(own) in lines
    if ambiguous(cell):
        pytest.skip("an array is called like a function")
    wanted, sizes = at_a_point(cell)
    values = {name: wanted[name] for name in gradient.program.inputs}
    for equation in (*gradient.forward, *gradient.equations):
        name = equation.lhs.name
        value = evaluate(write(equation.rhs, TEXT, Order({})), values, sizes)
        values[name] = np.broadcast_to(value, wanted[name].shape)
        np.testing.assert_allclose(values[name], wanted[name], rtol=1e-11, atol=1e-13)


def test_gradient_of_lstm_reads_as_in_a_textbook() -> None:
    text = show(derive.Cell.parse(LSTM), ("gradient",))
    for line in (
        "d_o      = d_h_next * tanh(c_next)",
        "d_c_next = d_c_carry + d_h_next * o * (1 - tanh(c_next)**2)",
        "d_f      = d_c_next * c",
        "d_a_f    = d_f * f * (1 - f)",
        "d_a_g    = d_g * (1 - g**2)",
        "d_h      = U_i.T @ d_a_i + U_f.T @ d_a_f + U_o.T @ d_a_o + U_g.T @ d_a_g",
        "d_c      = d_c_next * f",
        "d_U_f    = outer(d_a_f, h)",
        "d_b_f    = sum_rows(d_a_f)",
        "  a_f = W_f @ x + U_f @ h + b_f",
    ):
        assert line in text.splitlines()


def test_gradient_of_what_nothing_uses_is_zero() -> None:
    cell = derive.Cell.parse(
        "cell dead\ninput x: I\nstate h: H\nparam W: P x I\nm = W @ x\n"
        "h' = tanh(U @ h)\noutput h'\n"
    )
    text = show(cell, ("gradient",))
    assert "d_W      = 0" in text
    assert "d_x      = 0" in text


# --- schedule -------------------------------------------------------------------------------


def stages_of(name: str, which: str, phase: str) -> list[dict[str, Any]]:
    data = json.loads(show(cell_called(name), ("schedule",), "json"))["schedule"]
    stages: list[dict[str, Any]] = data[which]["phases"][phase]
    return stages


def test_lstm_has_one_stage_with_four_products_stacked_into_one() -> None:
    (stage,) = stages_of("lstm", "forward", "each step")
    (product,) = stage["products"]
    assert product["count"] == 4
    assert product["vectors"] == ["h"]
    (hoisted,) = stages_of("lstm", "forward", "before the loop")
    assert [p["count"] for p in hoisted["products"]] == [4]


def test_lstm_sums_weight_gradients_after_the_loop() -> None:
    cell = derive.cells.lstm()
    in_loop = [
        line for stage in stages_of("lstm", "backward", "each step") for line in stage["sums"]
    ]
    after = [
        line["name"]
        for stage in stages_of("lstm", "backward", "after the loop")
        for line in stage["sums"]
    ]
    assert in_loop == []
    assert sorted(after) == sorted(f"d_{name}" for name in cell.params)


def test_gru_has_two_stages_with_reset_before_the_product_and_one_after() -> None:
    def products(name: str) -> list[list[int]]:
        stages = stages_of(name, "forward", "each step")
        return [[p["count"] for p in stage["products"]] for stage in stages]

    assert products("gru_reset_before") == [[2], [1]]
    assert products("gru") == [[3]]


def test_layer_norm_cuts_stages_at_its_sums() -> None:
    stages = stages_of("lstm_layer_norm_ba2016", "forward", "each step")
    assert "sum over the width" in {stage["kind"] for stage in stages}
    assert len(stages) > 3


@pytest.mark.parametrize("name, linear", [("min_gru", True), ("gru", False), ("lstm", False)])
def test_linear_recurrences_are_named(name: str, linear: bool) -> None:
    cell = cell_called(name)
    assert json.loads(show(cell, ("schedule",), "json"))["schedule"]["forward"]["linear"] is linear
    assert ("recurrence    linear" in show(cell, ("schedule",))) is linear
    alone = "forward and backward: each unit runs through time by itself"
    assert (alone in show(cell, ("schedule",))) is linear


def test_what_lstm_keeps_and_recomputes_is_printed_with_its_bytes() -> None:
    text = show(derive.cells.lstm(), ("schedule",))
    assert "recomputed    tanh_c_next" in text
    assert "6*H numbers per step and row: 24*H bytes in float32, 48*H in float64" in text


# --- cost -----------------------------------------------------------------------------------


def test_cost_of_lstm_is_what_one_counts_by_hand() -> None:
    cell = derive.cells.lstm()
    found = cost(cell, pipeline.schedule(cell))
    assert polynomial(found.parameters) == "4*H**2 + 4*H*I + 4*H"
    assert polynomial(found.saved) == "6*H"
    assert polynomial(found.forward[Part.SEQUENTIAL].multiply_adds) == "4*H**2"
    assert polynomial(found.forward[Part.HOISTED].multiply_adds) == "4*H*I"
    assert polynomial(found.forward[Part.SEQUENTIAL].transcendental) == "5*H"
    assert polynomial(found.backward[Part.SEQUENTIAL].transcendental) == "H"
    assert polynomial(found.backward[Part.SEQUENTIAL].multiply_adds) == "4*H**2"
    assert polynomial(found.backward[Part.HOISTED].multiply_adds) == "4*H**2 + 8*H*I"
    assert at(found.parameters, {"I": 2, "H": 3}) == 72


# Of cells with axes backward computes outer products again instead of keeping them.
@pytest.mark.parametrize("name", sampled(OF_VECTORS))
def test_backward_does_twice_the_products_of_forward(name: str) -> None:
    cell = cell_called(name)
    found = cost(cell, pipeline.schedule(cell))
    passes = [
        sum(part.multiply_adds for part in parts.values())
        for parts in (found.forward, found.backward)
    ]
    assert passes[1] == (2 * passes[0]).expand()


def test_parameters_are_those_of_a_kernel() -> None:
    cell = derive.cells.gru()
    sizes = {"I": 3, "H": 5}
    params = derive.compile(cell, target="numpy").init(sizes)
    counted = at(cost(cell, pipeline.schedule(cell)).parameters, sizes)
    assert counted == sum(array.size for array in params.values())


def test_operations_are_counted_as_written() -> None:
    a, b = symbol("a"), symbol("b")
    assert operations(a + b) == (1, 0)
    assert operations(a - b) == (1, 0)
    assert operations(a * (1 - a)) == (2, 0)
    assert operations(sigmoid(a) * b) == (1, 1)
    assert operations(a**2) == (1, 0)
    assert operations(1 / a) == (1, 0)
    assert operations(a ** (symbol("a") * 0 + 1)) == (0, 0)
    assert operations(exp(a) / b) == (1, 1)
    assert operations(-a * b) == (1, 0)
    assert operations(1 / (a * b)) == (2, 0)
    assert operations(a**-2) == (2, 0)
    assert operations(sqrt(2) * a * b / (2 * sqrt(pi))) == (2, 0)


# --- notation -------------------------------------------------------------------------------


def test_text_has_only_the_parentheses_it_needs() -> None:
    a, b, c = symbol("a"), symbol("b"), symbol("c")
    order = order_in("a b c")
    assert write(a - (b - c), TEXT, order) == "a + c - b"
    assert write(a * (b + c), TEXT, order) == "a * (b + c)"
    assert write(a / (b * c), TEXT, order) == "a / (b * c)"
    assert write(-(a**2), TEXT, order) == "-a**2"
    assert write((-a) ** 3 + b, TEXT, order) == "b - a**3"
    assert write(where(symbol("m"), a, -b), TEXT, order) == "where(m, a, -b)"


def test_matrix_products_have_parentheses_where_cell_text_asks_for_them() -> None:
    cell = derive.Cell.parse(
        "cell p\ninput x: I\nstate h: H\nparam W: H x I\nh' = h * (W @ x) - W @ x + h\noutput h'\n"
    )
    line = View(cell).derivation.equations[0]
    assert write(line.value, TEXT, line.order) == "h + h * (W @ x) - W @ x"


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("d_U_f", r"\mathrm{d}U_{f}"),
        ("h_next", "h'"),
        ("alpha", r"{\alpha}"),
        ("beta1", r"{\beta1}"),
        ("tanh_c_next", r"\mathrm{tanh}_{c'}"),
        ("gate", r"\mathrm{gate}"),
        ("a_", r"\mathrm{a\_}"),
        ("d_p", r"\mathrm{d}p"),
        ("d", "d"),
    ],
)
def test_names_in_latex(name: str, wanted: str) -> None:
    assert latex_name(name) == wanted


def test_latex_of_a_quotient_is_a_fraction() -> None:
    a, b = symbol("a"), symbol("b")
    assert write(a / (1 + b), LATEX, order_in("a b")) == r"\frac{a}{b + 1}"


# --- every stage, every format --------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", EVERY)
def test_every_stage_of_every_cell_can_be_shown(name: str, format_: str) -> None:
    text = show(cell_called(name), tuple(STAGES), format_)
    assert text.endswith("\n")
    assert "<" not in text or format_ != "text" or "object at" not in text


#: Second derivatives of cells with axes have no text.
WITHOUT_TEXT = ("tangent", "second")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", sampled(WITH_AXES))
def test_the_stages_of_every_cell_with_axes_can_be_shown(name: str, format_: str) -> None:
    stages = tuple(stage for stage in STAGES if stage not in WITHOUT_TEXT)
    text = show(cell_called(name), stages, format_)
    assert text.endswith("\n") and "object at" not in text


@pytest.mark.parametrize("name", [*EVERY, *sampled(WITH_AXES)])
def test_latex_is_balanced(name: str) -> None:
    text = show(cell_called(name), ("cell", "program", "gradient", "schedule", "cost"), "latex")
    assert text.isascii()
    assert text.count(r"\left(") == text.count(r"\right)")
    depth = 0
    for c in re.sub(r"\\[{}]", "", text):
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    open_: list[str] = []
    for kind, environment in re.findall(r"\\(begin|end)\{([a-z*]+)\}", text):
        if kind == "begin":
            open_.append(environment)
        else:
            assert open_.pop() == environment
    assert open_ == []
    for body in re.findall(r"\\begin\{align\*\}\n(.*?)\\end\{align\*\}", text, re.DOTALL):
        rows = _without_cases(body).strip().split("\\\\\n")
        assert all(row.count("&") == 1 for row in rows)
        assert "\n\n" not in body


def _without_cases(text: str) -> str:
    """Without \\begin{cases} ... \\end{cases}, which have signs & of their own."""
    while (shorter := re.sub(_INNERMOST, "", text, flags=re.DOTALL)) != text:
        text = shorter
    return text


_INNERMOST = r"\\begin\{cases\}((?!\\begin\{cases\}).)*?\\end\{cases\}"


def test_json_has_a_key_for_each_stage() -> None:
    data = json.loads(show(derive.cells.lstm(), tuple(STAGES), "json"))
    assert set(data) == {"format", "name", *STAGES}
    assert data["name"] == "lstm"
    assert data["cost"]["parameters"] == {"formula": "4*H**2 + 4*H*I + 4*H", "value": 131584}
    assert data["gradient"]["of"]["U_f"] == "d_U_f"


def test_showing_twice_gives_the_same_text() -> None:
    cell = derive.Cell.parse(LSTM)
    assert show(cell, tuple(STAGES)) == show(derive.Cell.parse(LSTM), tuple(STAGES))


def test_unknown_words_are_told_with_the_known_ones() -> None:
    cell = derive.cells.rnn()
    with pytest.raises(ArgumentError, match="unknown format 'svg'"):
        show(cell, format="svg")
    with pytest.raises(ArgumentError, match="unknown stage 'loops'"):
        chosen_stages(["loops"])
    with pytest.raises(ArgumentError, match="rnn has no width 'P'"):
        show(cell, sizes={"P": 3})


def test_stages_come_in_the_order_of_the_pipeline() -> None:
    assert chosen_stages(["cost", "cell", "cost"]) == ("cell", "cost")
    assert chosen_stages(["all"]) == tuple(STAGES)


@pytest.mark.parametrize(
    "of_zero",
    [
        "cumsum({}, I)",
        "sum({})",
        "mean({})",
        "max({})",
        "softmax({})",
        "norm({})",
        "layer_norm({})",
    ],
)
def test_what_a_head_gives_of_zero_is_written(of_zero: str) -> None:
    """A number to SymPy, which cannot say which one: it raised TypeError, in generated text too."""
    reduced = of_zero.format("C - C")
    for rhs in (f"maximum({reduced}, C)", f"C * where({reduced} > C, {reduced}, 1)"):
        cell = derive.Cell.parse(f"cell zeros\nstate C: I\nC' = tanh({rhs})\noutput C'\n")
        for format_ in ("text", "latex"):
            assert show(cell, ("cell", "gradient"), format_)
        for target in ("numpy", "c"):
            assert derive.emit(cell, target)
