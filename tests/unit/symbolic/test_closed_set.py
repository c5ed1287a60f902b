"""The records of scalar functions say what is so; what lists functions lists those of the table."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from mpmath import mpf

from derive.cell import Cell
from derive.emit.numpy.helpers import HELPERS, NUMPY
from derive.emit.python.names import meanings, native
from derive.symbolic import functions
from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import COMPOSED, OSCILLATES
from derive.symbolic.composed import composed, symbols
from derive.symbolic.evaluate import NUMPY as FLOATS
from derive.symbolic.oracle import ORACLE

DOCS = Path(__file__).parents[3] / "docs"
UNARY = [name for name, record in TABLE.items() if record.arity == 1]
PLACES = np.array([-30.25, -4.5, -3.0, -1.2, -1.0, -0.3, 0.0, 0.4, 1.0, 1.7, 3.0, 3.6, 25.3])


def places(name: str) -> list[float]:
    above = 0 if name == "sqrt" else TABLE[name].above
    return [float(v) for v in PLACES if above is None or v > above]


def test_every_function_has_a_record_an_oracle_and_a_text_in_each_target() -> None:
    assert list(TABLE) == [record.name for record in TABLE.values()]
    assert set(ORACLE) == set(TABLE)
    comparisons = {"less", "less_equal", "equal", "not_equal", "stop_gradient"}
    assert set(TABLE) - comparisons <= {*NUMPY, *HELPERS}
    for name, record in TABLE.items():
        if COMPOSED in (record.numpy, record.c):
            assert record.composed is not None and set(record.needs) <= set(TABLE)
        assert record.public or not record.aliases, name


@pytest.mark.parametrize("name", UNARY)
def test_the_limits_of_a_record_are_those_of_the_oracle(name: str) -> None:
    with mpmath.workprec(140):
        for limit, far in zip(TABLE[name].limits, (mpf(-10) ** 301, mpf(10) ** 300), strict=True):
            if limit is None or limit is OSCILLATES:
                continue
            value = ORACLE[name].value(far)
            if limit.is_infinite:
                assert abs(value) > 500 and (value > 0) == (limit > 0)
            else:
                assert abs(value - mpf(str(sympy.N(limit, 30)))) < 1e-15


@pytest.mark.parametrize("name", UNARY)
def test_a_record_agrees_with_the_oracle(name: str) -> None:
    """Range, parity, the bound on the slope, and the slope away from kinks."""
    record, exact = TABLE[name], ORACLE[name]
    assert exact.slope is not None and (record.analytic or record.kinks)
    for place in places(name):
        with mpmath.workprec(2000):  # 1 - erf(25) is no 0
            value, slope = exact.value(mpf(place)), exact.slope(mpf(place))
            for bound, side in ((record.range.low, 1), (record.range.high, -1)):
                if bound is not None:
                    room = side * (value - mpf(str(sympy.N(bound, 30))))
                    assert room >= 0 and (record.range.reached or room > 0)
            if record.parity:
                assert exact.value(mpf(-place)) == record.parity * value
        if record.slope is not None:
            assert abs(slope) <= record.slope
        on_a_kink = any(kink(mpf(place)) == 0 for kink in record.kinks)
        if not on_a_kink and name not in ("floor", "stop_gradient"):
            with mpmath.workprec(200):
                difference = mpmath.diff(exact.value, mpf(place))
            assert abs(difference - slope) < 1e-10 * (1 + abs(slope)), (name, place)


@pytest.mark.parametrize("name", [n for n, record in TABLE.items() if record.composed])
def test_a_formula_of_other_functions_is_the_function(name: str) -> None:
    erf = np.vectorize(math.erf, otypes=[float])
    known = meanings(np, erf=erf, clip=np.clip)
    args: list[Any] = [PLACES, PLACES[::-1].copy()][: TABLE[name].arity]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            known[name](*args), FLOATS.functions[name](*args), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("name", [name for name in UNARY if name in FLOATS.functions])
def test_a_formula_of_other_functions_keeps_what_is_no_number(name: str) -> None:
    erf = np.vectorize(math.erf, otypes=[float])
    with np.errstate(all="ignore"):
        found = meanings(np, erf=erf, clip=np.clip)[name](np.array([math.nan]))
        wanted = FLOATS.functions[name](np.array([math.nan]))
    assert np.isnan(found) == np.isnan(wanted), name


def test_a_function_that_is_printed_from_its_formula_is_in_the_language() -> None:
    printed = [name for name, record in TABLE.items() if COMPOSED in (record.numpy, record.c)]
    assert "hard_swish" in printed
    for name in printed:
        letters = symbols(name)
        assert composed(name, letters).free_symbols == set(letters)
        cell = Cell.parse(
            f"cell one\nstate h: H\nh' = {name}(W @ x + b)\nparam W: H x I\noutput h'\n"
        )
        assert cell.equations[0].rhs.has(getattr(functions, name))


def test_torch_evaluates_every_function_of_the_language() -> None:
    """Native or by formula, as the fuzzer's own cell and the loop of the bench do."""
    torch = pytest.importorskip("torch")
    from derive.bench.peers.torch_loop import _function
    from derive.fuzz.torch_cell import _FUNCTIONS

    loop = _function("def run(arrays):\n    return arrays\n").__globals__
    values = torch.tensor(PLACES)
    for name in functions.ACTIVATIONS:
        at = [float(v) in places(name) for v in PLACES]
        wanted = ORACLE[name].float64(PLACES[at])
        for known in (_FUNCTIONS, loop):
            got = np.asarray(known[name](values))[at]
            np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_a_librarys_own_function_exists_and_is_the_same(library: str) -> None:
    module = pytest.importorskip(library)
    paths = {name: getattr(record, library) for name, record in TABLE.items()}
    found = native(module, paths)
    assert set(found) == {name for name, path in paths.items() if path}
    array = module.tensor(PLACES) if library == "torch" else module.numpy.asarray(PLACES)
    for name, function in found.items():
        if TABLE[name].arity == 1 and TABLE[name].public:
            at = [float(v) in places(name) for v in PLACES]
            np.testing.assert_allclose(
                np.asarray(function(array))[at], FLOATS.functions[name](PLACES[at])
                if name != "sqrt" else np.sqrt(PLACES[at]), rtol=2e-5, atol=1e-6,
            )  # fmt: skip


def test_the_pages_list_the_functions_of_the_table() -> None:
    page = (DOCS / "reference/cell-text.md").read_text()
    (row,) = re.findall(r"\| elementwise \| `([^`]*)` \|", page)
    assert row.split() == list(functions.ACTIVATIONS)
    others = [n for n, record in TABLE.items() if record.public and record.arity > 1]
    assert all(f"`{name}(" in page or f"  {name}(" in page for name in others)
    accuracy = (DOCS / "explanation/accuracy.md").read_text()
    exact = {name for name, record in TABLE.items() if record.exact}
    assert all(f"| {name} |" in accuracy for name in set(functions.ACTIVATIONS) - exact)
