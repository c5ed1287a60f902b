"""derive.symbolic.code: golden lines, and random expressions evaluated as printed."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

from derive.symbolic import functions
from derive.symbolic.code import Syntax, print_expression, print_terms, shortest
from derive.symbolic.evaluate import NUMPY

A, B, C, D = map(functions.symbol, "abcd")
SIZE = functions.size("H")
ORDER = {name: k for k, name in enumerate("dcba")}

PYTHON = Syntax(
    number=lambda value: shortest(value, np.float64),
    whole=lambda value: shortest(value, np.float64),
    name=lambda name: name,
    size=lambda dim: dim,
    functions={name: name for name in (*functions.RULES, "sqrt", "square")},
    comparisons={
        "less": "{0} < {1}",
        "less_equal": "{0} <= {1}",
        "equal": "{0} == {1}",
        "not_equal": "{0} != {1}",
        "greater": "{0} > {1}",
        "greater_equal": "{0} >= {1}",
    },
    power=lambda base, exponent: f"power({base}, {shortest(exponent, np.float64)})",
    size_power=lambda base, exponent: f"{base}**{shortest(exponent, np.float64)}",
    constant_branch=lambda text: f"real({text})",
)


def text_of(expr: Any) -> str:
    return print_expression(sympy.sympify(expr), PYTHON, ORDER)


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        (A + B * C, "c * b + a"),
        ((A + B) * C, "c * (b + a)"),
        (A - (B - C), "c + a - b"),
        (A / (B * C), "a / (c * b)"),
        (A * B / C, "b * a / c"),
        (A / (B / C), "c * a / b"),
        (1 / A, "1.0 / a"),
        (-1 / A, "-1.0 / a"),
        (1 / (A + B), "1.0 / (b + a)"),
        (-A, "-a"),
        (-A - B, "-b - a"),
        (-A * (B + 1), "-a * (b + 1.0)"),
        (C * (1 - B), "c * (1.0 - b)"),
        (1 - A, "1.0 - a"),
        (A - 1, "a - 1.0"),
        (A**2, "a * a"),
        (1 / A**2, "square(1.0 / a)"),
        (1 / A**3, "square(1.0 / a) / a"),
        (B / A**2, "b * square(1.0 / a)"),
        (A ** Fraction(-3, 2), "power(a, -1.5)"),
        (1 - A**2, "1.0 - a * a"),
        ((A + B) ** 2, "square(b + a)"),
        (A**4, "power(a, 4.0)"),
        (A ** Fraction(5, 2), "power(a, 2.5)"),
        (A ** Fraction(-1, 2), "1.0 / sqrt(a)"),
        (B * (A + 1) ** Fraction(-1, 2), "b / sqrt(a + 1.0)"),
        (A / SIZE, "a / H"),
        (A * SIZE ** Fraction(-1, 2), "a / H**0.5"),
        (A / 3, "0.3333333333333333 * a"),
        (functions.exp(-A), "exp(-a)"),
        (1 / functions.exp(A), "exp(-a)"),
        (B * functions.exp(-A), "b * exp(-a)"),
        (functions.sigmoid(A) * (1 - functions.sigmoid(A)), "(1.0 - sigmoid(a)) * sigmoid(a)"),
        (functions.where(functions.less(A, B), C, D), "where(a < b, c, d)"),
        (functions.where(functions.less(0, A), 1, 0), "where(a > 0.0, real(1.0), 0.0)"),
        (functions.where(functions.less(0, A), 1, B), "where(a > 0.0, 1.0, b)"),
        (functions.where(functions.less(0, A), 1 / SIZE, 0), "where(a > 0.0, real(1.0 / H), 0.0)"),
        (
            functions.where(functions.less(A, B), 1, functions.where(functions.equal(A, B), 0, 1)),
            "where(a < b, 1.0, where(a == b, real(0.0), 1.0))",
        ),
        (functions.stop_gradient(A + B) * C, "c * (b + a)"),
        (functions.number("0.1") + functions.number("0.2"), "0.3"),
        (functions.number("1e-5") * A, "1e-05 * a"),
    ],
)
def test_golden_lines(expr: Any, wanted: str) -> None:
    assert text_of(expr) == wanted


def test_the_order_is_that_of_the_reader() -> None:
    gate, cell = functions.symbol("f"), functions.symbol("c")
    order = {"f": 0, "i": 1, "g": 2, "c": 3}
    expr = gate * cell + functions.symbol("i") * functions.symbol("g")
    assert print_expression(expr, PYTHON, order) == "f * c + i * g"


def test_terms_join_to_the_expression() -> None:
    expr = A - B * C - 2 * D + functions.exp(A)
    terms = print_terms(expr, PYTHON, ORDER)
    assert " ".join(terms) == text_of(expr)
    assert len(terms) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_come_back_as_they_were(dtype: Any) -> None:
    source = random.Random(2)
    for _ in range(2000):
        value = dtype(source.uniform(-1, 1) * 10.0 ** source.randint(-30, 30))
        assert dtype(shortest(float(value), dtype)) == value


# --- random expressions ---------------------------------------------------------------------

_UNARY = ("sigmoid", "tanh", "exp", "sin", "cos", "softplus", "abs", "stop_gradient", "erf")


def expression(source: random.Random, depth: int) -> Any:
    """A random expression. Divisors and bases of roots stay positive, and no function is applied
    to a number: the front end has none of those."""
    if depth == 0:
        return source.choice([A, B, C, D, A, B, sympy.Rational(source.randint(-5, 5), 3), SIZE])

    def part(varies: bool = False) -> Any:
        found = expression(source, depth - 1)
        return found + A if varies and sympy.sympify(found).is_number else found

    kind = source.randrange(10)
    if kind < 2:
        return part() + part()
    if kind == 2:
        return part() - part()
    if kind == 3:
        return part() * part()
    if kind == 4:
        return part() / (1 + part() ** 2)
    if kind == 5:
        return -part()
    if kind == 6:
        return (part() ** 2 + sympy.Rational(1, 2)) ** sympy.Rational(source.randint(-5, 5), 2)
    if kind == 7:
        relation = source.choice([functions.less, functions.not_equal])
        return functions.where(relation(part(True), part()),
                            part(), part())  # fmt: skip
    if kind == 8:
        return part() ** source.choice([2, 3, 4])
    return functions.RULES[source.choice(_UNARY)].head(functions.sigmoid(part(True)))


NAMESPACE: dict[str, Any] = {
    **{name: NUMPY.functions[name] for name in functions.RULES if name in NUMPY.functions},
    "sqrt": np.sqrt,
    "square": np.square,
    "power": np.power,
    "real": np.float64,
    "H": 7,
}


@pytest.mark.parametrize("seed", range(300))
def test_a_random_expression_has_the_value_of_its_text(seed: int) -> None:
    source = random.Random(seed)
    expr = sympy.sympify(expression(source, source.randint(1, 4)))
    numbers = np.random.default_rng(seed)
    values = {name: numbers.uniform(-1.5, 1.5, 5) for name in "abcd"}
    with np.errstate(all="ignore"):
        wanted = NUMPY.evaluate(expr, values, {"H": 7})
        found = eval(text_of(expr), {**NAMESPACE, **values})
    # The text orders terms and factors in its own way, so large terms may cancel differently.
    scale = np.maximum(1.0, np.abs(wanted)) * max(1, len(list(sympy.preorder_traversal(expr))))
    assert np.all((np.abs(found - wanted) <= 1e-13 * scale) | ~np.isfinite(wanted)), text_of(expr)


def test_a_random_expression_in_mutated_text_is_found_wrong() -> None:
    """The test above can fail: with every parenthesis of a sum taken away it does."""
    expr = (A + B) * (C - D)
    values = {name: np.array([1.0 + k]) for k, name in enumerate("abcd")}
    text = text_of(expr)
    assert text.count("(") == 2
    assert eval(text, dict(values)) == NUMPY.evaluate(expr, values, {})
    assert eval(text.replace("(", "").replace(")", ""), dict(values)) != eval(text, dict(values))
