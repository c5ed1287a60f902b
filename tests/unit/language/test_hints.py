"""Hints can be typed: pasted into the text, they are accepted or lead to another message.

The hook in conftest.py asks the same of every hint that any test causes.
"""

from __future__ import annotations

from pathlib import Path

import hints
import pytest

import derive
from derive.cli import main
from derive.errors import CellError
from derive.language import check_shapes
from derive.language import parse_text as text

BASE = "cell   c\ninput  x: I\nstate  h: H\n"
END = "\noutput h'\n"


def error_of(source: str) -> CellError | None:
    try:
        check_shapes.check(text.parse(source, "my.cell"))
    except CellError as error:
        return error
    return None


def first_error(source: str) -> CellError:
    error = error_of(source)
    assert error is not None
    return error.errors[0] if hasattr(error, "errors") else error


#: A line with a mistake, its hint, and whether the pasted text is a cell.
LINES = {
    "a_low_rank_product_gets_a_width_of_its_own": ("h' = A @ (B @ h)", "param A: H x R", True),
    "matrices_are_not_multiplied_by_elements": (
        "y = U @ h\nh' = y + (U * M) @ h",
        "W @ h   with a parameter W",
        True,
    ),
    "a_scaled_matrix": ("h' = (a * M) @ h", "a * (M @ h)", True),
    "a_dot_product": ("h' = (W @ x) @ h", "sum((W @ x) * h)   for two vectors", True),
    "two_names_side_by_side": ("h' = W h", "W @ h", True),
    "two_vectors_side_by_side": ("h' = a h", "a * h", True),
    "a_product_written_as_a_call": ("h' = W(h)", "W @ h", True),
    "a_dropout": ("h' = dropout(h)", "m * h   with the mask as  input m: H", True),
    "a_round": ("h' = round(h - 1)", "floor((h - 1) + 0.5)", True),
    "a_max_of_two": ("h' = max(h, 0)", "maximum(h, 0)", True),
    "a_power": ("h' = pow(h, 2)", "h**2", True),
    "a_previous_state": ("h' = 0.5 * h_prev", "h", True),
    "a_state_of_time_minus_one": ("h' = U @ h_tm1", "h", True),
    "a_state_of_this_time_before_it_is_known": ("h' = U @ h_t", "h", True),
    "a_state_of_this_time": ("h' = U @ h\ny = 2 * h_t", "h'", True),
    "an_input_of_this_time": ("h' = W @ x_t", "x", True),
    "a_previous_input": ("h' = W @ x_prev", "state x_prev: I", False),
    "a_previous_gate": ("z = sigmoid(h)\nh' = z * z_old", "state z_old: H", False),
    "pi": ("h' = sin(pi * h)", "const pi = 3.141592653589793", True),
    "pi_in_a_const": ("const c = 2 * pi\nh' = c * h", "const pi = 3.141592653589793", True),
}


@pytest.mark.parametrize("case", LINES)
def test_a_hint_is_what_to_type(case: str) -> None:
    lines, hint, is_cell = LINES[case]
    error = first_error(BASE + lines + END)
    assert error.hint == hint
    pasted = [error_of(text) for text in hints.pasted(BASE + lines + END, error)]
    assert hints.fault(BASE + lines + END, error, error_of) is None
    assert any(after is None for after in pasted) == is_cell, pasted


def test_a_hint_that_changes_nothing_is_noticed() -> None:
    source = BASE + "h' = W h" + END
    error = first_error(source)
    misleading = CellError(error.what, place=error.place, hint="W h")
    assert hints.fault(source, misleading, error_of) is not None


def test_the_hook_sees_the_errors_of_a_test(hint_recorder: hints.Recorder) -> None:
    hint_recorder.forget()
    assert error_of(BASE + "h' = (h) // 2" + END) is not None
    assert [error.hint for _, error in hint_recorder.take()] == ["floor(a / b)"]


@pytest.mark.parametrize(
    "name", ["h_prev", "h_tm1", "h_t", "h_old", "h_last", "x_t", "z_prev", "pi"]
)
def test_a_name_that_looks_like_something_else_is_no_parameter(name: str) -> None:
    source = BASE + f"z = sigmoid(W @ x)\nh' = z * {name} + (1 - z) * h" + END
    if name == "x_t":
        source = source.replace(name, "(V @ x_t)")
    error = first_error(source)
    assert f"'{name}' would be a parameter that is trained" in error.what
    shape = "I" if name == "x_t" else "H"
    declared = source.replace("state ", f"param  {name}: {shape}\nstate ")
    assert error_of(declared) is None
    assert any(f"param {name}: H" in fact for fact in error.facts)


@pytest.mark.parametrize("name", ["softmax", "max", "norm", "cumsum", "logsumexp"])
def test_a_function_without_arguments_is_no_parameter(name: str) -> None:
    error = error_of(BASE + f"h' = tanh(W @ x + {name})" + END)
    assert error is not None and f"'{name}' is a function, and needs its arguments" in error.what
    assert error_of(BASE + f"param  {name}: H\nh' = tanh(W @ x + {name})" + END) is None
    assert error_of(BASE + f"{name} = W @ x\nh' = tanh({name})" + END) is None


def test_a_name_is_reported_once() -> None:
    source = BASE + "z = h_prev * h_prev\nh' = z + h_prev" + END
    error = error_of(source)
    assert error is not None
    assert str(error).count("would be a parameter") == 1
    assert hints.fault(source, error, error_of) is None


@pytest.mark.parametrize("name", ["b_t", "b_old", "theta_last", "prev", "t", "spin"])
def test_suffixes_of_parameters_are_names_like_any_other(name: str) -> None:
    assert error_of(BASE + f"h' = {name} * h" + END) is None


SMALL = """cell small
input x: H
state h: H
param b: H
h' = tanh(U @ h + b + x) * decya
output h'
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("show", ""), ("flow", ""), ("diff lstm", ""), ("generate", "--target numpy --out {}")],
)
def test_every_command_names_the_inferred_parameters(
    before: str, after: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.cell"
    path.write_text(SMALL)
    words = [*before.split(), str(path), *after.format(tmp_path).split()]
    assert main.status(words) == ("diff" in before)
    said = capfd.readouterr().err.splitlines()
    assert said.count("small: inferred parameters U: H x H, decya: H") == 1


def test_a_cell_that_declares_everything_infers_nothing() -> None:
    source = "cell c\nstate h: H\nparam U: H x H\nh' = tanh(U @ h)\noutput h'\n"
    assert dict(derive.Cell.parse(source).inferred) == {}
    inferred = derive.Cell.parse(source.replace("param U: H x H\n", "")).inferred
    assert dict(inferred) == {"U": ("H", "H")}


def test_a_hint_may_lead_to_the_same_mistake_further_on() -> None:
    source = "cell c\nstate h: H\nconst N = 2 param main: 4\nh' = h\noutput h"
    error = error_of(source)
    assert error is not None and error.hint == "2 * param"
    assert hints.fault(source, error, error_of) is None
    assert hints.fault(source, error, lambda _: error) is not None


def test_a_hint_need_not_mend_other_lines_with_the_same_mistake() -> None:
    text = (
        "cell c\ninput x: P\nstate h: H\nparam W_f: H x I, W_g: H x I\n"
        "f = sigmoid(W_f @ x)\ng = tanh(W_g @ x)\nh' = f * g\noutput h'"
    )

    def check(source: str) -> CellError | None:
        try:
            derive.Cell.parse(source)
        except CellError as error:
            return error
        return None

    found = check(text)
    assert found is not None
    errors = getattr(found, "errors", ())
    assert len(errors) == 2
    assert [hints.fault(text, one, check) for one in errors] == [None, None]
