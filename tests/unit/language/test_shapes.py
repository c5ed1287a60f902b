"""Names and widths: what is inferred, what is refused, with the full message."""

from __future__ import annotations

import pytest

import derive
from derive.errors import CellError, CellErrors
from derive.language import check_shapes, parse_text
from derive.language.check_shapes import Checked

BASE = "cell   c\ninput  x: I\nstate  h: H\n"

#: What can be read and makes no sense, and what is said about it.
ERRORS = {
    "a_state_without_a_next_value": (
        BASE + "y = tanh(x)\noutput y",
        """\
my.cell:3:8: state 'h' has no next value
    state  h: H
           ^
  hint: h' = ...
""",
    ),
    "a_missing_output": (
        BASE + "h' = h",
        """\
my.cell:1:1: the cell has no output
    cell   c
    ^
  hint: output h'
""",
    ),
    "a_missing_output_without_states": (
        "cell c\ninput x\ny = tanh(x)",
        """\
my.cell:1:1: the cell has no output
    cell c
    ^
  hint: output y
""",
    ),
    "an_unknown_output": (
        BASE + "gate = h\nh' = gate\noutput gat",
        """\
my.cell:6:8: output 'gat' is neither declared nor defined
    output gat
           ^
  hint: did you mean 'gate'?
""",
    ),
    "an_output_twice": (
        BASE + "h' = h\noutput h', h_next",
        """\
my.cell:5:12: h' is an output twice
    output h', h_next
               ^
  hint: name it once
""",
    ),
    "an_output_that_is_a_matrix": (
        BASE + "h' = W @ h\noutput W",
        """\
my.cell:5:8: the matrix 'W' cannot be an output
    output W
           ^
  an output is a vector: one for every row and time step
  hint: y = W @ h
""",
    ),
    "an_output_that_is_a_const": (
        BASE + "const beta = 1\nh' = beta * h\noutput beta",
        """\
my.cell:6:8: the const 'beta' cannot be an output
    output beta
           ^
  an output is a vector: one for every row and time step
  hint: y = beta * h
""",
    ),
    "an_output_of_no_state": (
        BASE + "h' = h\noutput y'",
        """\
my.cell:5:8: 'y' is no state, so y' has no meaning
    output y'
           ^
  the states are h
  hint: state y: H
""",
    ),
    "a_name_used_before_it_is_defined": (
        BASE + "y = z\nz = tanh(h)\nh' = y\noutput h'",
        """\
my.cell:4:5: 'z' is used before it is defined
    y = z
        ^
  it is defined on line 5
  hint: move line 5 up
""",
    ),
    "a_next_value_used_before_it_is_defined": (
        BASE + "y = h'\nh' = h\noutput h'",
        """\
my.cell:4:5: h' is used before it is defined
    y = h'
        ^
  it is defined on line 5
  hint: move line 5 up
""",
    ),
    "a_name_defined_by_itself": (
        BASE + "y = y + h\nh' = y\noutput h'",
        """\
my.cell:4:5: 'y' is defined by itself
    y = y + h
        ^
  hint: state y: H   if it is to remember its previous value
""",
    ),
    "a_next_value_defined_by_itself": (
        BASE + "h' = h' + x\noutput h'",
        """\
my.cell:4:6: h' is defined by itself
    h' = h' + x
         ^
  hint: h   is the previous value

my.cell:4:11: 'h' + x' adds arrays of different width
    h' = h' + x
              ^
  h' has width H, x has width I
  hint: project x first, for example  x_h = W_x @ x
""",
    ),
    "a_name_defined_twice": (
        BASE + "y = h\ny = x\nh' = h\noutput h'",
        """\
my.cell:5:1: 'y' is defined twice
    y = x
    ^
  the first time on line 4
  hint: y_2 = x
""",
    ),
    "a_next_value_defined_twice": (
        BASE + "h' = h\nh' = x\noutput h'",
        """\
my.cell:5:1: h' is defined twice
    h' = x
    ^
  the first time on line 4
  hint: a state has one next value

my.cell:5:6: the next value of 'h' has another width than 'h'
    h' = x
         ^
  h has width H, x has width I
  hint: state h: I
""",
    ),
    "a_state_that_is_assigned": (
        BASE + "h = tanh(h)\nh' = h\noutput h'",
        """\
my.cell:4:1: 'h' is a state; what a line can define is its next value
    h = tanh(h)
    ^
  hint: h' = tanh(h)
""",
    ),
    "an_input_that_is_assigned": (
        BASE + "x = tanh(h)\nh' = h\noutput h'",
        """\
my.cell:4:1: 'x' is an input and cannot be defined as well
    x = tanh(h)
    ^
  see line 2
  hint: x_2 = tanh(h)
""",
    ),
    "a_parameter_that_is_assigned": (
        BASE + "y = W @ h\nW = h\nh' = h\noutput h'",
        """\
my.cell:4:5: 'W' is used before it is defined
    y = W @ h
        ^
  it is defined on line 5
  hint: move line 5 up
""",
    ),
    "a_next_value_of_an_input": (
        BASE + "x' = h\nh' = h\noutput h'",
        """\
my.cell:4:1: 'x' is no state, so x' has no meaning
    x' = h
    ^
  the states are h
  hint: state x: H
""",
    ),
    "a_next_value_of_no_state": (
        "cell c\nstate hidden: H\nhiden' = hidden\nhidden' = hidden\noutput hidden'",
        """\
my.cell:3:1: 'hiden' is no state, so hiden' has no meaning
    hiden' = hidden
    ^
  the states are hidden
  hint: did you mean hidden'?
""",
    ),
    "a_prime_on_no_state": (
        BASE + "h' = h + x'\noutput h'",
        """\
my.cell:4:10: 'x' is no state, so x' has no meaning
    h' = h + x'
             ^
  the states are h
  hint: state x: H
""",
    ),
    "a_name_declared_twice": (
        BASE + "input x: H\nh' = h\noutput h'",
        """\
my.cell:4:7: 'x' is declared twice
    input x: H
          ^
  the first time as an input, on line 2
  hint: every name stands for one thing; remove or rename one of them
""",
    ),
    "a_name_that_is_a_next_value": (
        BASE + "input h_next: H\nh' = h\noutput h'",
        """\
my.cell:4:7: 'h_next' is the next value of state 'h', and nothing else
    input h_next: H
          ^
  hint: another name, for example  h_next_
""",
    ),
    "a_width_mismatch": (
        BASE + "a_z = W_z @ x + U_z @ h + b_z\nz = sigmoid(a_z) * h\nh' = z * x\noutput h'",
        """\
my.cell:6:10: 'z * x' multiplies arrays of different width
    h' = z * x
             ^
  z has width H, x has width I
  hint: project x first, for example  x_h = W_x @ x
""",
    ),
    "a_width_mismatch_of_compounds": (
        BASE + "h' = tanh(h) + 2 * x\noutput h'",
        """\
my.cell:4:16: 'tanh(h) + 2 * x' adds arrays of different width
    h' = tanh(h) + 2 * x
                   ^
  tanh(h) has width H, '2 * x' has width I
  hint: bring both to one width with a matrix, for example  W @ (2 * x)
""",
    ),
    "a_width_mismatch_in_where": (
        BASE + "h' = where(x < 1, h, 0)\noutput h'",
        """\
my.cell:4:19: 'where(x < 1, h, 0)' takes arrays of different width
    h' = where(x < 1, h, 0)
                      ^
  x has width I, h has width H
  hint: project x first, for example  x_h = W_x @ x
""",
    ),
    "a_width_mismatch_of_an_inferred_vector": (
        BASE + "y = b * h\nz = b + x\nh' = y\noutput h'",
        """\
my.cell:5:9: 'b + x' adds arrays of different width
    z = b + x
            ^
  b has width H, x has width I
  b is a parameter; its shape H was inferred, from line 4 on
  hint: param b: 1   if it is meant to be a scalar
""",
    ),
    "a_width_mismatch_of_an_inferred_vector_inside": (
        BASE + "h' = b * h\ny = x + 1 / (1 + b**2)\noutput h'",
        """\
my.cell:5:9: 'x + 1 / (1 + b**2)' adds arrays of different width
    y = x + 1 / (1 + b**2)
            ^
  x has width I, '1 / (1 + b**2)' has width H
  b is a parameter; its shape H was inferred, from line 4 on
  hint: param b: 1   if it is meant to be a scalar
""",
    ),
    "a_next_value_of_another_width": (
        BASE + "h' = tanh(x)\noutput h'",
        """\
my.cell:4:6: the next value of 'h' has another width than 'h'
    h' = tanh(x)
         ^
  h has width H, tanh(x) has width I
  hint: h' = W_h @ tanh(x)
""",
    ),
    "a_next_value_that_is_an_array_of_another_width": (
        BASE + "h' = x\noutput h'",
        """\
my.cell:4:6: the next value of 'h' has another width than 'h'
    h' = x
         ^
  h has width H, x has width I
  hint: state h: I
""",
    ),
    "a_matrix_with_other_columns": (
        BASE + "param W: H x I\nh' = W @ h\noutput h'",
        """\
my.cell:5:10: 'W @ h' multiplies I columns with a vector of width H
    h' = W @ h
             ^
  W is H x I, h has width H
  hint: W.T @ h
""",
    ),
    "a_matrix_that_should_be_transposed": (
        BASE + "param W: I x H\nh' = W @ x\noutput h'",
        """\
my.cell:5:10: 'W @ x' multiplies H columns with a vector of width I
    h' = W @ x
             ^
  W is I x H, x has width I
  hint: W.T @ x
""",
    ),
    "a_matrix_used_at_two_widths": (
        BASE + "h' = W @ x + W @ h\noutput h'",
        """\
my.cell:4:18: 'W @ h' multiplies I columns with a vector of width H
    h' = W @ x + W @ h
                     ^
  W is H x I, h has width H
  W is a parameter; its shape H x I was inferred, from line 4 on
  hint: W_h @ h   with a matrix of its own
""",
    ),
    "a_matrix_that_is_not_square": (
        BASE + "param W: H x I\nh' = W @ x + W.T @ (h + 1) + W @ (x + h)\noutput h'",
        """\
my.cell:5:14: 'W @ x + W.T @ (h + 1)' adds arrays of different width
    h' = W @ x + W.T @ (h + 1) + W @ (x + h)
                 ^
  'W @ x' has width H, 'W.T @ (h + 1)' has width I
  hint: bring both to one width with a matrix, for example  W_ @ (W.T @ (h + 1))

my.cell:5:39: 'x + h' adds arrays of different width
    h' = W @ x + W.T @ (h + 1) + W @ (x + h)
                                          ^
  x has width I, h has width H
  hint: project x first, for example  x_h = W_x @ x
""",
    ),
    "a_product_with_a_scalar": (
        BASE + "param U: H x H\nh' = U @ (1 + 2 * sum(x))\noutput h'",
        """\
my.cell:5:11: 'U @ (1 + 2 * sum(x))' multiplies H columns with a vector of width 1
    h' = U @ (1 + 2 * sum(x))
              ^
  U is H x H, '1 + 2 * sum(x)' has width 1
  hint: U_2 @ (1 + 2 * sum(x))   with a matrix of its own
""",
    ),
    "a_scaled_matrix": (
        BASE + "param alpha: 1\nh' = alpha * W @ x\noutput h'",
        """\
my.cell:5:6: 'alpha * W' stands left of @ and is no matrix
    h' = alpha * W @ x
         ^
  @ takes a parameter on its left, and binds as tightly as *, from left to right
  hint: alpha * (W @ x)
""",
    ),
    "a_product_of_matrices": (
        BASE + "h' = U @ V @ h\noutput h'",
        """\
my.cell:4:6: 'U @ V' stands left of @ and is no matrix
    h' = U @ V @ h
         ^
  @ takes a parameter on its left, and binds as tightly as *, from left to right
  hint: U @ (V @ h)
""",
    ),
    "a_matrix_in_place_of_a_vector": (
        BASE + "param W: H x I\nh' = W * h\noutput h'",
        """\
my.cell:5:6: the matrix 'W' stands where a vector should
    h' = W * h
         ^
  W is H x I, declared on line 4
  hint: W @ v
""",
    ),
    "a_matrix_used_as_a_vector_later": (
        BASE + "h' = W @ x + W\noutput h'",
        """\
my.cell:4:14: the matrix 'W' stands where a vector should
    h' = W @ x + W
                 ^
  W is a matrix in 'W @ x' on line 4
  hint: W @ v
""",
    ),
    "a_transposed_matrix_alone": (
        BASE + "h' = W.T + h\noutput h'",
        """\
my.cell:4:6: the matrix 'W.T' stands where a vector should
    h' = W.T + h
         ^
  hint: W.T @ v
""",
    ),
    "a_vector_in_place_of_a_matrix": (
        BASE + "param b: H\nh' = b @ x\noutput h'",
        """\
my.cell:5:6: the vector 'b' stands left of @ and is no matrix
    h' = b @ x
         ^
  b has width H, declared on line 4
  hint: param b: H x H
""",
    ),
    "a_state_in_place_of_a_matrix": (
        BASE + "h' = h @ x\noutput h'",
        """\
my.cell:4:6: 'h' stands left of @ and is no matrix
    h' = h @ x
         ^
  h is a state of one axis
  hint: h * x
""",
    ),
    "an_input_in_place_of_a_matrix": (
        BASE + "h' = x @ (h + 1)\noutput h'",
        """\
my.cell:4:6: 'x' stands left of @ and is no matrix
    h' = x @ (h + 1)
         ^
  x is an input of one axis
""",
    ),
    "an_ambiguous_matrix": (
        BASE + "p = V @ h\nh' = h\noutput p",
        """\
my.cell:4:5: the shape of the matrix 'V' cannot be inferred
    p = V @ h
        ^
  it stands in 'V @ h'
  hint: param V: P x H
""",
    ),
    "an_ambiguous_vector": (
        BASE + "p = sigmoid(b)\nh' = h\noutput p",
        """\
my.cell:4:13: the shape of 'b' cannot be inferred
    p = sigmoid(b)
                ^
  it stands in 'sigmoid(b)'
  hint: param b: H
""",
    ),
    "an_ambiguous_sum": (
        BASE + "p = V @ h + b\nh' = h\noutput p",
        """\
my.cell:4:5: the shape of the matrix 'V' cannot be inferred
    p = V @ h + b
        ^
  it stands in 'V @ h'
  hint: param V: P x H
""",
    ),
    "a_parameter_without_a_shape_or_a_use": (
        BASE + "param b\nh' = h\noutput h'",
        """\
my.cell:4:7: the shape of 'b' cannot be inferred
    param b
          ^
  nothing uses it
  hint: param b: H
""",
    ),
    "an_ambiguous_slip": (
        BASE + "gate = sigmoid(h)\np = gaet + 1\nh' = gate\noutput p",
        """\
my.cell:5:5: the shape of 'gaet' cannot be inferred
    p = gaet + 1
        ^
  it stands in 'gaet + 1'
  'gaet' is a parameter, for nothing defines it; did you mean 'gate'?
  hint: param gaet: H
""",
    ),
    "a_mismatch_with_a_slip": (
        BASE + "gate = sigmoid(h)\nh' = gaet * h + x\noutput h'",
        """\
my.cell:5:17: 'gaet * h + x' adds arrays of different width
    h' = gaet * h + x
                    ^
  'gaet * h' has width H, x has width I
  'gaet' is a parameter, for nothing defines it; did you mean 'gate'?
  hint: project x first, for example  x_h = W_x @ x
""",
    ),
    "an_exponent_that_varies": (
        BASE + "h' = abs(h)**x\noutput h'",
        """\
my.cell:4:14: the exponent of 'abs(h)**x' is not constant
    h' = abs(h)**x
                 ^
  hint: exp(x * log(abs(h)))
""",
    ),
    "a_bound_that_varies": (
        BASE + "h' = clip(h, b, 1)\noutput h'",
        """\
my.cell:4:14: a bound of 'clip' is not constant
    h' = clip(h, b, 1)
                 ^
  hint: maximum(b, minimum(h, 1))
""",
    ),
    "bounds_upside_down": (
        BASE + "h' = clip(h, 1, -1)\noutput h'",
        """\
my.cell:4:14: the lower bound of 'clip' lies above the upper one
    h' = clip(h, 1, -1)
                 ^
  hint: clip(h, -1, 1)
""",
    ),
    "constant_bounds_upside_down": (
        BASE + "h' = h + clip(1, 1, -1)\noutput h'",
        """\
my.cell:4:18: the lower bound of 'clip' lies above the upper one
    h' = h + clip(1, 1, -1)
                     ^
  the bounds are 1 and -1
  hint: clip(v, -1, 1)
""",
    ),
    "an_exponent_without_a_value": (
        BASE + "h' = h**(1 / 0)\noutput h'",
        """\
my.cell:4:10: this divides by zero
    h' = h**(1 / 0)
             ^
""",
    ),
    "a_large_exponent": (
        BASE + "h' = h**5000\noutput h'",
        """\
my.cell:4:9: an exponent above 1000 is too large
    h' = h**5000
            ^
""",
    ),
    "a_const_of_an_array": (
        BASE + "const beta = 2 * x\nh' = beta * h\noutput h'",
        """\
my.cell:4:18: 'x' is no number and no earlier const
    const beta = 2 * x
                     ^
  hint: beta = 2 * x   without 'const'
""",
    ),
    "a_const_of_a_later_one": (
        BASE + "const alpha = beta, beta = 1\nh' = alpha * beta * h\noutput h'",
        """\
my.cell:4:15: 'beta' is no number and no earlier const
    const alpha = beta, beta = 1
                  ^
  beta is given on line 4
""",
    ),
    "a_const_that_divides_by_zero": (
        BASE + "const beta = 1 / (2 - 2)\nh' = beta * h\noutput h'",
        """\
my.cell:4:14: this divides by zero
    const beta = 1 / (2 - 2)
                 ^
""",
    ),
    "a_zero_to_a_negative_power": (
        BASE + "const beta = 0**-1\nh' = beta * h\noutput h'",
        """\
my.cell:4:14: this divides by zero
    const beta = 0**-1
                 ^
""",
    ),
    "a_giant_power": (
        BASE + "const beta = 9**9**9\nh' = beta * h\noutput h'",
        """\
my.cell:4:14: 9**387420489 is beyond what a double holds
    const beta = 9**9**9
                 ^
""",
    ),
    "a_const_without_a_real_value": (
        BASE + "const beta = (-8)**0.5\nh' = beta * h\noutput h'",
        """\
my.cell:4:14: (-8)**0.5 is no real number
    const beta = (-8)**0.5
                 ^
""",
    ),
    "a_const_outside_a_domain": (
        BASE + "const beta = log(-1)\nh' = beta * h\noutput h'",
        """\
my.cell:4:14: log(-1) is no real number
    const beta = log(-1)
                 ^
""",
    ),
    "a_const_product_with_at": (
        BASE + "const beta = 2 @ 3\nh' = beta * h\noutput h'",
        """\
my.cell:4:14: '2 @ 3' multiplies numbers with @
    const beta = 2 @ 3
                 ^
  hint: a * b
""",
    ),
    "a_number_beyond_a_double": (
        BASE + "h' = 1e999 * h\noutput h'",
        """\
my.cell:4:6: 1e999 is beyond what a double holds
    h' = 1e999 * h
         ^
""",
    ),
    "a_number_below_a_double": (
        BASE + "h' = 1e-9999 * h\noutput h'",
        """\
my.cell:4:6: 1e-9999 is beyond what a double holds
    h' = 1e-9999 * h
         ^
""",
    ),
    "a_division_by_zero": (
        BASE + "h' = h / 0\noutput h'",
        """\
my.cell:4:10: this divides by zero
    h' = h / 0
             ^
""",
    ),
    "a_division_by_what_vanishes": (
        BASE + "h' = h / (h - h)\noutput h'",
        """\
my.cell:4:11: this divides by zero
    h' = h / (h - h)
              ^
""",
    ),
    "a_vanishing_base": (
        BASE + "h' = (h - h)**-1\noutput h'",
        """\
my.cell:4:6: this divides by zero
    h' = (h - h)**-1
         ^
""",
    ),
    "a_product_beyond_a_double": (
        BASE + "h' = 1e200 * h * 1e200\noutput h'",
        """\
my.cell:4:1: 1.0e+400 is beyond what a double holds
    h' = 1e200 * h * 1e200
    ^
""",
    ),
    "a_power_that_explodes": (
        BASE + "h' = ((9 * h)**1000)**1000\noutput h'",
        """\
my.cell:4:6: this multiplies out to a very large number
    h' = ((9 * h)**1000)**1000
         ^
""",
    ),
    "a_domain_that_only_shows_later": (
        BASE + "h' = log(0 * h)\noutput h'",
        """\
my.cell:4:6: log(0) is no real number
    h' = log(0 * h)
         ^
""",
    ),
}


def check(source: str) -> Checked:
    return check_shapes.check(parse_text.parse(source, file="my.cell"))


@pytest.mark.parametrize("case", ERRORS)
def test_message_about(case: str) -> None:
    source, message = ERRORS[case]
    with pytest.raises(CellError) as caught:
        check(source)
    assert str(caught.value) + "\n" == message


def test_all_mistakes_are_reported_together_in_order() -> None:
    with pytest.raises(CellErrors) as caught:
        check(BASE + "y = h + x\nz = W @ q'\nconst a = 1 / 0\nh = z\n")
    assert [error.place.line for error in caught.value.errors if error.place] == [1, 3, 4, 5, 6, 7]
    assert str(caught.value).count("my.cell:") == 6


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        # Left of @ a matrix, otherwise a vector of the width it meets.
        ("h' = tanh(W @ x + U @ h + b)", {"W": "H x I", "U": "H x H", "b": "H"}),
        ("h' = b * h", {"b": "H"}),
        ("h' = b", {"b": "H"}),
        ("h' = a + b", {"a": "H", "b": "H"}),
        ("h' = tanh(b) * h + sigmoid(a)", {"b": "H", "a": "H"}),
        ("h' = W @ x", {"W": "H x I"}),
        ("h' = W.T @ x", {"W": "I x H"}),
        ("h' = U @ (V @ (W @ x) + h) + V @ h", {"U": "H x H", "V": "H x H", "W": "H x I"}),
        # A line below decides.
        ("a = W @ x + U @ h + b\nh' = a * h", {"W": "H x I", "U": "H x H", "b": "H"}),
        ("p = V @ h\nh' = R @ p\nparam R: H x P", {"R": "H x P", "V": "P x H"}),
        ("a = b * c\nh' = W @ a\nparam W: H x 7", {"W": "H x 7", "b": "7", "c": "7"}),
        # What follows comes before what it meets.
        ("a = b * c\nh' = a * h + W @ a\nparam W: H x 1", {"W": "H x 1", "b": "1", "c": "1"}),
        ("a = b * sum(x)\nh' = a * h", {"b": "H"}),
        # Width 1 only: a scalar. Numbers are no arrays.
        ("y = b * sum(x)\nh' = y * h", {"b": "H"}),
        ("y = b * sum(x)\nz = y + 1\nh' = h", {"b": "1"}),
        ("y = U @ (1 + 2 * sum(x))\nh' = y", {"U": "H x 1"}),
        # Numbers, constants and clip bounds take no part.
        ("const k = 2\nh' = clip(k * b + 1, -k, k)**k", {"b": "H"}),
        ("h' = where(a < b, u, v) * h", {"a": "H", "b": "H", "u": "H", "v": "H"}),
        # Nor do numbers decide which names are arrays.
        ("h' = where(2 > 1, 0, b) + h", {"b": "H"}),
        ("h' = where(h < where(2 > 1, 0, b), h, a)", {"a": "H", "b": "H"}),
        ("h' = maximum(a, h) + layer_norm(g) * h", {"a": "H", "g": "H"}),
        ("h' = W @ x + V @ (W.T @ h)", {"W": "H x I", "V": "H x I"}),
    ],
)
def test_inferred_shapes(body: str, wanted: dict[str, str]) -> None:
    found = dict(check(f"{BASE}{body}\noutput h'").params)
    assert {name: " x ".join(map(str, shape)) for name, shape in found.items()} == wanted


def test_widths_are_those_of_what_is_written() -> None:
    checked = check(BASE + "m = sum(x)\na = 0 * x\nb = x - x + m\nh' = m\noutput h', a, b, m")
    assert dict(checked.outputs) == {"h_next": ("H",), "a": ("I",), "b": ("I",), "m": (1,)}


def test_dimensions_live_apart_from_arrays() -> None:
    checked = check("cell c\ninput I: I\nstate H: H\nH' = W @ I + H\noutput H'")
    assert dict(checked.params) == {"W": ("H", "I")}


def test_parameters_come_declared_first_then_in_order_of_use() -> None:
    checked = check(BASE + "param z: H, W\nh' = b * h + U @ h + W @ x + a + z\noutput h'")
    assert list(checked.params) == ["z", "W", "b", "U", "a"]


def test_unused_names_are_legal_and_listed() -> None:
    checked = check(BASE + "input q\nparam p: H\nconst k = 1\nm = h\nh' = h\noutput h'")
    assert checked.unused == ("x", "q", "p", "k", "m")


def test_likely_slip_is_noted() -> None:
    checked = check(BASE + "gate = sigmoid(h)\nh' = gaet * h\noutput h'")
    assert checked.notes == ("'gaet' is a parameter, for nothing defines it; did you mean 'gate'?",)


@pytest.mark.parametrize(
    ("defined", "used"),
    [("gate", "Gate"), ("new_gate", "newgate"), ("update", "updte"), ("update", "updatee")],
)
def test_kinds_of_slips(defined: str, used: str) -> None:
    (note,) = check(f"{BASE}{defined} = h + 1\nh' = {used} * h\noutput h'").notes
    assert note.endswith(f"did you mean '{defined}'?")


def test_ambiguous_shapes_are_listed_up_to_a_limit() -> None:
    body = "".join(f"y{k} = W{k} @ h\n" for k in range(100))
    with pytest.raises(CellErrors) as caught:
        check(f"{BASE}{body}h' = h\noutput h'")
    assert len(caught.value.errors) == check_shapes.MAX_AMBIGUOUS


def test_hint_gives_way_to_names_in_use() -> None:
    with pytest.raises(CellError, match="x_h_ = W_x_ @ x"):
        check(f"{BASE}x_h = h\nW_x = h\nh' = h * x\noutput h'")


def test_families_of_names_are_no_slips() -> None:
    body = "param W_i: H x I, beta1: H\ni = W_i @ x\nf = W_f @ x * beta2\nh' = i * f\n"
    assert check(f"{BASE}{body}output h'").notes == ()


def test_cell_without_states_or_inputs_is_legal() -> None:
    checked = check("cell c\nparam b: 3\ny = 2 * b\noutput y")
    assert checked.step.states == () and checked.step.inputs == ()


def test_state_of_width_one_and_of_a_number() -> None:
    checked = check("cell c\ninput x: 2\nstate s: 1, h: 3\ns' = sum(h) * s\nh' = s\noutput s'")
    table = checked.step.program.table()
    assert table["s_next"].shape == (1,) and table["h_next"].shape == (3,)


@pytest.mark.parametrize(
    "lines, shapes",
    [
        (
            "i, j, f, o = split(K @ concat(x, h) + b, 4)\n"
            "c' = sigmoid(f) * c + sigmoid(i) * tanh(j)\nh' = sigmoid(o) * tanh(c')",
            {"K": ("4*H", "I + H"), "b": ("4*H",)},
        ),
        (
            "a = K @ x + b\nz, r, g = split(a, 3)\nc' = c\nh' = z * h + r * g",
            {"K": ("3*H", "I"), "b": ("3*H",)},
        ),
    ],
)
def test_what_is_cut_into_equal_parts_has_all_parts_of_what_each_part_meets(lines, shapes):
    text = f"cell c\ninput x: I\nstate h: H, c: H\n{lines}\noutput h'"
    assert derive.Cell.parse(text).params == shapes


@pytest.mark.parametrize(
    "lines, hint",
    [
        ("z, r = split(K @ x, 2)\nh' = V @ z + V @ r", "param K: 2*H x I"),
        ("a = K @ x\nh' = a[0:H] * a[3*H:4*H] + a[H:2*H]", "param K: 4*H x I"),
        ("a = K @ x\nh' = a[0:H] * a[H:]", "param K: 2*H x I"),
    ],
)
def test_a_matrix_whose_product_is_cut_is_suggested_with_rows_for_all_parts(lines, hint):
    text = f"cell c\ninput x: I\nstate h: H\n{lines}\noutput h'"
    with pytest.raises(CellError) as caught:
        derive.Cell.parse(text)
    assert f"hint: {hint}\n" in f"{caught.value}\n"


def test_a_definition_has_the_axes_of_what_is_inferred_last():
    text = (
        "cell c\ninput x: I\nstate m: D x 2\nparam e: D x D, f: D, a: 2\nm' = m\n"
        "y = where(f > e.T @ b, outer(b, a), f)\noutput y, m"
    )
    cell = derive.Cell.parse(text)
    assert cell.params["b"] == ("D",)
    y = next(e for e in cell.step.program.arrays if e.name == "y")
    assert y.shape == ("D", 2)
