"""Bad input to the language of arrays with axes: what is said, word by word."""

from __future__ import annotations

import pytest

import derive

BASE = "cell c\ninput x: I\nstate h: H\n"

ERRORS = {
    "two ways": (
        BASE + "param W: H x H\nh' = (h * W) @ h\noutput h'",
        """\
my.cell:5:7: 'h * W' stands left of @ and is no matrix
    h' = (h * W) @ h
          ^
  @ takes a parameter on its left, and binds as tightly as *, from left to right
  hint: h * (W @ h)
""",
    ),
    "does not divide": (
        BASE + "a, b = split(h, 2)\nh' = h\noutput h'",
        """\
my.cell:4:8: H does not divide into 2 equal parts
    a, b = split(h, 2)
           ^
  h has width H
  hint: state h: 2*P
""",
    ),
    "matrix as next": (
        BASE + "state C: D x K\nC' = C\nh' = C\noutput h'",
        """\
my.cell:6:6: the next value of 'h' has another shape than 'h'
    h' = C
         ^
  h has width H, C is D x K
  hint: state h: D x K
""",
    ),
    "missing axis": (
        BASE + "state C: D x K\nC' = C\nh' = sum(C, N)\noutput h'",
        """\
my.cell:6:6: 'sum(C, N)' acts over an axis that C has not
    h' = sum(C, N)
         ^
  C is D x K
  hint: sum(C, D)
""",
    ),
    "axis twice": (
        BASE + "param W: H x H\nh' = norm(W, H) * h\noutput h'",
        """\
my.cell:5:6: 'norm(W, H)' acts over an axis that W has twice
    h' = norm(W, H) * h
         ^
  W is H x H
  hint: norm(W)   acts over the last axis
""",
    ),
    "beyond": (
        BASE + "a = h[0:2*H]\nh' = h\noutput h'",
        """\
my.cell:4:5: 'h[0:2*H]' cuts beyond the width
    a = h[0:2*H]
        ^
  h has width H
  hint: h[0:H]   is all of it
""",
    ),
    "beyond other": (
        BASE + "a = h[0:D]\nh' = h\noutput h'",
        """\
my.cell:4:5: 'h[0:D]' cuts at D, which may lie beyond the width
    a = h[0:D]
        ^
  h has width H
  hint: h[0:H]   is all of it
""",
    ),
    "vector left": (
        BASE + "state C: D x K\nstate q: K\nq' = q\nC' = C\nd = q @ C\nh' = h\noutput h'",
        """\
my.cell:8:5: 'q' stands left of @ and is no matrix
    d = q @ C
        ^
  q has width K, C is D x K
  hint: C @ q
""",
    ),
    "columns": (
        BASE + "state C: D x K\nC' = C\nd = C @ h\nh' = h\noutput h'",
        """\
my.cell:6:9: 'C @ h' multiplies K columns with a vector of width H
    d = C @ h
            ^
  C is D x K, h has width H
  hint: C_h @ h   with a matrix of its own
""",
    ),
    "heads": (
        BASE + "state s: N x D\nparam U: M x D x D\ns' = U @ s\nh' = h\noutput h'",
        """\
my.cell:6:10: 'U @ s' multiplies arrays whose leading axes do not meet
    s' = U @ s
             ^
  U is M x D x D, s is N x D
  the axes before the last two of a matrix are those of the vector before its last
  hint: param U: N x D x D
""",
    ),
    "two matrices": (
        BASE + "param U: H x H, V: H x H\nh' = (U @ V) @ h + softmax(h)\noutput h'",
        """\
my.cell:5:11: 'U @ V' multiplies two matrices
    h' = (U @ V) @ h + softmax(h)
              ^
  U is H x H, V is H x H
  hint: U @ (V @ v)
""",
    ),
    "transposed vector": (
        BASE + "h' = h.T @ softmax(h)\noutput h'",
        """\
my.cell:4:6: 'h.T' transposes a vector
    h' = h.T @ softmax(h)
         ^
  h has width H
  hint: sum(h * v)   for a product of two vectors
""",
    ),
    "max two arrays": (
        BASE + "h' = max(h, x)\noutput h'",
        """\
my.cell:4:6: 'max(h, x)' acts over an axis that h has not
    h' = max(h, x)
         ^
  h has width H
  hint: maximum(h, x)
""",
    ),
    "max of zero": (
        BASE + "h' = max(h, 0)\noutput h'",
        """\
my.cell:4:6: 'max' acts over an axis, and '0' names none
    h' = max(h, 0)
         ^
  hint: maximum(h, 0)
""",
    ),
    "four axes": (
        BASE + "state s: A x B x C x D\nh'=h\noutput h'",
        """\
my.cell:4:20: an array has up to three axes, and 'x' begins a fourth
    state s: A x B x C x D
                       ^
  hint: N x D x K
""",
    ),
    "too many": (
        BASE + "state s: N x D x K\ns' = s\nt = outer(s, s)\nh' = h\noutput h'",
        """\
my.cell:6:5: 'outer(s, s)' has more than three axes
    t = outer(s, s)
        ^
  it would be N x D x K x K
  hint: outer(sum(s, N), s)
""",
    ),
    "outer leads": (
        BASE + "state s: N x D, r: M x K\ns' = s\nr' = r\nt = outer(s, r)\nh' = h\noutput h'",
        """\
my.cell:7:5: 'outer(s, r)' joins arrays whose leading axes do not meet
    t = outer(s, r)
        ^
  s is N x D, r is M x K
  hint: state r: N x K
""",
    ),
    "elementwise": (
        BASE + "state s: N x D\ns' = s * h\nh' = h\noutput h'",
        """\
my.cell:5:10: 's * h' multiplies arrays whose axes do not meet
    s' = s * h
             ^
  s is N x D, h has width H
  an operand's axes have to be, in this order, some of those of the other
  hint: sum(h, H)   has no axis H
""",
    ),
    "elementwise2": (
        BASE + "state s: N x D, t: N x K\ns' = s * t\nt' = t\nh' = h\noutput h'",
        """\
my.cell:5:10: 's * t' multiplies arrays whose axes do not meet
    s' = s * t
             ^
  s is N x D, t is N x K
  an operand's axes have to be, in this order, some of those of the other
  hint: sum(t, K)   has no axis K
""",
    ),
    "concat": (
        BASE + "state s: N x D\nt = concat(s, h)\ns' = s\nh' = h\noutput h'",
        """\
my.cell:5:5: 'concat(s, h)' joins arrays that differ in more than their last axis
    t = concat(s, h)
        ^
  s is N x D, h has width H
  all axes but the last have to be the same
  hint: state h: N x H
""",
    ),
    "split count": (
        BASE + "a, b, c = split(h, 2)\nh' = h\noutput h'",
        """\
my.cell:4:1: 3 names stand left of '=', and no split into 3 parts right of it
    a, b, c = split(h, 2)
    ^
  hint: split(h, 3)
""",
    ),
    "split alone": (
        BASE + "a = split(h, 2)\nh' = h\noutput h'",
        """\
my.cell:4:5: 'split(h, 2)' is 2 arrays
    a = split(h, 2)
        ^
  hint: a, b = split(h, 2)
""",
    ),
    "not split": (
        BASE + "a, b = h\nh' = h\noutput h'",
        """\
my.cell:4:1: 2 names stand left of '=', and no split into 2 parts right of it
    a, b = h
    ^
  hint: split(v, 2)
""",
    ),
    "unknown matrix": (
        BASE + "state s: N x D\ns' = U @ s\nh' = h\noutput h'",
        """\
my.cell:5:6: the shape of the matrix 'U' cannot be inferred
    s' = U @ s
         ^
  it stands in 'U @ s'
  hint: param U: N x D x D
""",
    ),
    "fixed no shape": (
        BASE + "fixed A\nh' = A @ h\noutput h'",
        """\
my.cell:4:8: the shape of 'A' is missing
    fixed A
           ^
  hint: A: M x M
""",
    ),
    "input start": (
        BASE + "input y: I = 1\nh' = h\noutput h'",
        """\
my.cell:4:12: an input has no value to start from
    input y: I = 1
               ^
  hint: input  x: I
""",
    ),
    "start name": (
        BASE + "param b: H = c\nh' = b*h\noutput h'",
        """\
my.cell:4:14: 'c' has no value before training
    param b: H = c
                 ^
  a start value is made of numbers, constants, functions and draws
  hint: uniform(-1, 1)
""",
    ),
    "start orth": (
        BASE + "param b: H = orthogonal\nh' = b*h\noutput h'",
        """\
my.cell:4:14: 'orthogonal' draws matrices, and 'b' is none
    param b: H = orthogonal
                 ^
  b has width H
  hint: uniform(-1, 1)
""",
    ),
    "start uniform": (
        BASE + "param b: H = uniform\nh' = b*h\noutput h'",
        """\
my.cell:4:14: 'uniform' needs its numbers
    param b: H = uniform
                 ^
  hint: uniform(-1, 1)
""",
    ),
    "start fn": (
        BASE + "param b: H = sigmod(1)\nh' = b*h\noutput h'",
        """\
my.cell:4:14: there is no function 'sigmod'
    param b: H = sigmod(1)
                 ^
  hint: did you mean 'sigmoid'?
""",
    ),
    "learned": (
        BASE + "state g: H = 1\ng' = g\nh' = h\noutput h'",
        """\
my.cell:4:14: state 'g' starts from something that is no parameter
    state g: H = 1
                 ^
  '1' stands where a parameter is named
  hint: state g: H = g0
""",
    ),
    "learned shape": (
        BASE + "param g0: I\nstate g: H = g0\ng' = g\nh' = h\noutput h'",
        """\
my.cell:5:14: state 'g' starts from a parameter of another shape
    state g: H = g0
                 ^
  g is H, g0 is I
  hint: param g0: H
""",
    ),
    "diag": (
        BASE + "param W: H x I\nh' = (diag(x) @ W) @ x\noutput h'",
        """\
my.cell:5:7: 'diag(x) @ W' scales an axis by a vector of another width
    h' = (diag(x) @ W) @ x
          ^
  x has width I, W is H x I
  hint: W @ diag(x)
""",
    ),
    "different widths": (
        BASE + "h' = softmax(h) + x\noutput h'",
        """\
my.cell:4:19: 'softmax(h) + x' adds arrays of different width
    h' = softmax(h) + x
                      ^
  softmax(h) has width H, x has width I
  hint: project x first, for example  x_h = W_x @ x
""",
    ),
    "widths": (
        BASE + "param K: 4*H x I\nh' = K @ x\noutput h'",
        """\
my.cell:5:6: the next value of 'h' has another width than 'h'
    h' = K @ x
         ^
  h has width H, 'K @ x' has width 4*H
  hint: h' = W_h @ (K @ x)
""",
    ),
    "cut order": (
        BASE + "a = concat(x, h)\nb = concat(h, x)\nc = a + b\nh' = h\noutput h'",
        """\
my.cell:1:1: an axis of width I + H is cut at I and at H
    cell c
    ^
  which of them comes first depends on the sizes
  hint: join and cut an array in the same order everywhere
""",
    ),
    "index": (
        BASE + "h' = softmax(h)[0] * h\noutput h'",
        """\
my.cell:4:6: a single element has no name: arrays are cut into parts
    h' = softmax(h)[0] * h
         ^
  hint: softmax(h)[0:1]
""",
    ),
    "eps": (
        BASE + "h' = layer_norm(h, eps=x)\noutput h'",
        """\
my.cell:4:24: the epsilon of 'layer_norm' is no number
    h' = layer_norm(h, eps=x)
                           ^
  hint: layer_norm(v, eps=1e-3)
""",
    ),
    "eps2": (
        BASE + "h' = tanh(h, eps=1)\noutput h'",
        """\
my.cell:4:6: functions take no arguments by name
    h' = tanh(h, eps=1)
         ^
  hint: give the value alone, in its place
""",
    ),
    "sum of width": (
        BASE + "param b: 0*H\nh' = b*h\noutput h'",
        """\
my.cell:4:10: a width is at least 1 and below 10**9, not 0
    param b: 0*H
             ^
  hint: param  W: H x I
""",
    ),
    "a shape in parentheses": (
        BASE + "param b: (H x H)\nh' = b*h\noutput h'",
        """\
my.cell:4:10: one width, or a sum of widths, stands in parentheses
    param b: (H x H)
             ^
  hint: (I + H)
""",
    ),
    "a vector added to a square matrix": (
        "cell c\ninput x: H\nstate C: H x H\nC' = x - C\noutput C'",
        """\
my.cell:4:6: 'x - C' subtracts arrays that meet in two ways
    C' = x - C
         ^
  C is H x H, x has width H
  hint: outer(x, 1 + 0 * x) - C   for its rows
""",
    ),
    "a multiple that is too large": (
        BASE + "param b: 65*H\nh' = b*h\noutput h'",
        """\
my.cell:4:10: a width is the sum of up to 64 dimensions
    param b: 65*H
             ^
  hint: param  W: H x I
""",
    ),
    "a shape that nests without end": (
        BASE + "param b: " + "(" * 61 + "H" + ")" * 61 + "\nh' = b*h\noutput h'",
        "my.cell:4:70: a shape has up to 60 parentheses and products\n"
        "    param b: " + "(" * 61 + "H" + ")" * 61 + "\n" + " " * 73 + "^\n"
        "  hint: param  W: H x I\n",
    ),
    "a multiple the other way round": (
        BASE + "param b: (H + H)*2\nh' = b*h\noutput h'",
        """\
my.cell:4:10: a number stands before a sum that it multiplies
    param b: (H + H)*2
             ^
  hint: 4*(I + H)
""",
    ),
    "minus": (
        BASE + "param b: H - 1\nh' = b*h\noutput h'",
        """\
my.cell:4:12: '-' has no meaning in a width
    param b: H - 1
               ^
  hint: param  W: H x I
""",
    ),
    "param out": (
        BASE + "param W: N x D x K\nh' = h\noutput h', W",
        """\
my.cell:6:12: the matrix 'W' cannot be an output
    output h', W
               ^
  W is N x D x K, the same for every row
  hint: y = W @ v
""",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_message_about(case: str) -> None:
    text, message = ERRORS[case]
    with pytest.raises(derive.DeriveError) as caught:
        derive.Cell.parse(text, "my.cell")
    assert str(caught.value) + "\n" == message


SLIPS = (
    "h' = tanh(h + x)",
    "h' = tanh(h + sigmoid(2 * x))",
    "param U: H x H\nh' = U @ x",
    "param U: I x H\nh' = U @ x",
    "h' = x",
    "h' = 2 * x",
)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_in_the_same_words_whether_or_not_arrays_have_axes(slip: str) -> None:
    messages = []
    for more in ("", "\ne = softmax(h)"):
        with pytest.raises(derive.DeriveError) as caught:
            derive.Cell.parse(f"{BASE}{slip}{more}\noutput h'", "my.cell")
        messages.append(str(caught.value))
    plain, with_axes = messages
    assert with_axes == plain
