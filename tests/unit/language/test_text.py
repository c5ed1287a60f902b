"""`.cell` text: what reads, what comes back, and the full message of every mistake."""

from __future__ import annotations

import ast
import random
import re

import pytest

from derive.errors import CellError
from derive.language import parse_text
from derive.language import tree as expression
from derive.language.tree import Binary, Call, Name, Negative, Node, Number, Transpose
from derive.symbolic.functions import PUBLIC_FUNCTIONS

BASE = "cell   c\ninput  x: I\nstate  h: H\n"

#: What cannot be read, and what is said about it.
ERRORS = {
    "an_empty_text": (
        "",
        """\
my.cell:1:1: there is no cell in this text
    
    ^
  hint: cell   janet
""",
    ),
    "a_text_without_a_name": (
        "input x: I",
        """\
my.cell:1:1: a text begins with the name of its cell
    input x: I
    ^
  hint: cell   janet
""",
    ),
    "a_cell_without_a_name": (
        "cell",
        """\
my.cell:1:5: a name is missing after 'cell'
    cell
        ^
  hint: cell   janet
""",
    ),
    "a_doc_before_the_cell": (
        "doc text\ncell a",
        """\
my.cell:1:1: a text begins with the name of its cell
    doc text
    ^
  hint: cell   janet
""",
    ),
    "a_list_of_cells": (
        "cell a, b",
        """\
my.cell:1:9: a text holds one cell
    cell a, b
            ^
""",
    ),
    "a_second_cell": (
        "cell a\ncell b",
        """\
my.cell:2:1: a text holds one cell
    cell b
    ^
""",
    ),
    "two_names": (
        "cell a b",
        """\
my.cell:1:8: 'b' has no meaning in 'cell'
    cell a b
           ^
  hint: cell   janet
""",
    ),
    "a_control_character": (
        "cell a\x00",
        """\
my.cell:1:7: the control character U+0000 has no meaning here
    cell a�
          ^
""",
    ),
    "a_keyword_of_python": (
        BASE + "lambda_ = x\nlambda = x",
        """\
my.cell:5:1: 'lambda' is a reserved word of Python
    lambda = x
    ^
  hint: lambda_
""",
    ),
    "a_keyword_of_c": (
        BASE + "double = x",
        """\
my.cell:4:1: 'double' is a reserved word of C
    double = x
    ^
  hint: double_
""",
    ),
    "a_leading_underscore": (
        BASE + "_a = x",
        """\
my.cell:4:1: '_a' begins with an underscore
    _a = x
    ^
  hint: a
""",
    ),
    "a_function_as_a_name": (
        "cell c\ninput tanh: I",
        """\
my.cell:2:7: 'tanh' is a function, so nothing else can have this name
    input tanh: I
          ^
  hint: tanh_
""",
    ),
    "a_reserved_word_in_an_expression": (
        BASE + "h' = x if h else h",
        """\
my.cell:4:8: 'if' is a reserved word of Python
    h' = x if h else h
           ^
  hint: where(a < b, u, v)
""",
    ),
    "an_unclosed_bracket": (
        BASE + "h' = tanh(W @ x + (U @ h)\noutput h'",
        """\
my.cell:4:10: '(' is never closed
    h' = tanh(W @ x + (U @ h)
             ^
""",
    ),
    "a_bracket_that_closes_nothing": (
        BASE + "h' = tanh(h))",
        """\
my.cell:4:13: ')' closes nothing
    h' = tanh(h))
                ^
""",
    ),
    "a_missing_operator": (
        BASE + "h' = W x",
        """\
my.cell:4:8: an operator is missing between 'W' and 'x'
    h' = W x
           ^
  hint: W @ x
""",
    ),
    "a_missing_operator_before_a_bracket": (
        BASE + "h' = (h)(x)",
        """\
my.cell:4:9: an operator is missing before '('
    h' = (h)(x)
            ^
  hint: * (
""",
    ),
    "a_missing_value_at_the_end": (
        BASE + "h' = h +",
        """\
my.cell:4:8: a value is missing after '+'
    h' = h +
           ^
""",
    ),
    "a_missing_value_before_an_operator": (
        BASE + "h' = * h",
        """\
my.cell:4:6: a value is missing before '*'
    h' = * h
         ^
""",
    ),
    "a_missing_value_in_brackets": (
        BASE + "h' = h * ()",
        """\
my.cell:4:11: a value is missing before ')'
    h' = h * ()
              ^
""",
    ),
    "a_missing_argument": (
        BASE + "h' = maximum(h,)",
        """\
my.cell:4:16: a value is missing before ')'
    h' = maximum(h,)
                   ^
""",
    ),
    "a_missing_first_argument": (
        BASE + "h' = maximum(, h)",
        """\
my.cell:4:14: a value is missing before ','
    h' = maximum(, h)
                 ^
""",
    ),
    "a_missing_expression": (
        BASE + "h' =",
        """\
my.cell:4:5: an expression is missing here
    h' =
        ^
""",
    ),
    "a_stray_caret": (
        BASE + "h' = h^2",
        """\
my.cell:4:7: '^' has no meaning here
    h' = h^2
          ^
  hint: a power is written **
""",
    ),
    "a_stray_unicode_minus": (
        BASE + "h' = h − x",
        """\
my.cell:4:8: '−' has no meaning here
    h' = h − x
           ^
  hint: a minus is written -
""",
    ),
    "a_stray_tilde": (
        BASE + "h' = ~h",
        """\
my.cell:4:6: '~' has no meaning here
    h' = ~h
         ^
""",
    ),
    "a_subscript": (
        BASE + "h' = h[0]",
        """\
my.cell:4:6: a single element has no name: arrays are cut into parts
    h' = h[0]
         ^
  hint: h[0:1]
""",
    ),
    "a_string": (
        BASE + 'h\' = "h"',
        """\
my.cell:4:6: '"' has no meaning here
    h' = "h"
         ^
""",
    ),
    "a_colon": (
        BASE + "h' = h: H",
        """\
my.cell:4:7: ':' has no meaning here
    h' = h: H
          ^
  hint: a width belongs to a declaration, for example  param b: H
""",
    ),
    "a_prime_on_an_expression": (
        BASE + "h' = (h + x)'",
        """\
my.cell:4:13: a prime belongs right behind the name of a state
    h' = (h + x)'
                ^
  hint: h'
""",
    ),
    "two_primes": (
        BASE + "h' = h''",
        """\
my.cell:4:6: one prime is the next value, and there is no other
    h' = h''
         ^
""",
    ),
    "two_primes_on_a_target": (
        BASE + "h'' = h",
        """\
my.cell:4:1: one prime is the next value, and there is no other
    h'' = h
    ^
""",
    ),
    "an_attribute": (
        BASE + "h' = h.shape",
        """\
my.cell:4:7: '.shape' has no meaning: only .T, the transpose, exists
    h' = h.shape
          ^
""",
    ),
    "a_dot_at_the_end": (
        BASE + "h' = W.",
        """\
my.cell:4:7: '.' has no meaning: only .T, the transpose, exists
    h' = W.
          ^
""",
    ),
    "a_dot_without_a_value": (
        BASE + "h' = .T @ h",
        """\
my.cell:4:6: a value is missing before '.'
    h' = .T @ h
         ^
""",
    ),
    "a_tuple": (
        BASE + "h' = (h, x)",
        """\
my.cell:4:8: a comma separates the arguments of a function only
    h' = (h, x)
           ^
""",
    ),
    "a_keyword_argument": (
        BASE + "h' = clip(h, lo=0, 1)",
        """\
my.cell:4:16: functions take no arguments by name
    h' = clip(h, lo=0, 1)
                   ^
  hint: give the value alone, in its place
""",
    ),
    "a_second_equals": (
        BASE + "h' = c' = h",
        """\
my.cell:4:9: a second '=' in one line
    h' = c' = h
            ^
  hint: one statement a line
""",
    ),
    "a_floor_division": (
        BASE + "h' = h // 2",
        """\
my.cell:4:8: '//' is no operator here
    h' = h // 2
           ^
  hint: floor(a / b)
""",
    ),
    "a_doc_that_begins_with_equals": (
        BASE + "doc == x",
        """\
my.cell:4:4: a doc cannot begin with '='
    doc == x
       ^
""",
    ),
    "a_comparison_outside_where": (
        BASE + "h' = h < 1",
        """\
my.cell:4:6: a comparison stands in where(...) only
    h' = h < 1
         ^
  hint: where(a < b, u, v)
""",
    ),
    "a_chained_comparison": (
        BASE + "h' = where(0 < h < 1, h, 0)",
        """\
my.cell:4:12: one comparison at a time
    h' = where(0 < h < 1, h, 0)
               ^
  hint: where(a < b, where(b < c, u, v), v)
""",
    ),
    "a_condition_that_is_none": (
        BASE + "h' = where(h, 1, 0)",
        """\
my.cell:4:12: the first argument of 'where' is a comparison
    h' = where(h, 1, 0)
               ^
  hint: where(a < b, u, v)
""",
    ),
    "an_unknown_function": (
        BASE + "h' = tahn(h)",
        """\
my.cell:4:6: there is no function 'tahn'
    h' = tahn(h)
         ^
  hint: did you mean 'tanh'?
""",
    ),
    "a_function_of_another_library": (
        BASE + "h' = swish(h)",
        """\
my.cell:4:6: there is no function 'swish'
    h' = swish(h)
         ^
  hint: did you mean 'silu'?
""",
    ),
    "a_product_written_as_a_call": (
        BASE + "h' = W(h)",
        """\
my.cell:4:6: there is no function 'W'
    h' = W(h)
         ^
  hint: W @ h
""",
    ),
    "a_primed_function": (
        BASE + "h' = tanh'(h)",
        """\
my.cell:4:11: an operator is missing before '('
    h' = tanh'(h)
              ^
""",
    ),
    "too_many_arguments": (
        BASE + "h' = tanh(h, x)",
        """\
my.cell:4:6: 'tanh' takes 1 argument
    h' = tanh(h, x)
         ^
  2 are given
  hint: tanh(v)
""",
    ),
    "too_few_arguments": (
        BASE + "h' = clip(h)",
        """\
my.cell:4:6: 'clip' takes 3 arguments
    h' = clip(h)
         ^
  1 is given
  hint: clip(v, -1, 1)
""",
    ),
    "a_function_without_arguments": (
        BASE + "h' = tanh",
        """\
my.cell:4:6: 'tanh' is a function, and needs its arguments
    h' = tanh
         ^
  hint: tanh(v)
""",
    ),
    "a_number_with_letters": (
        BASE + "h' = 2h",
        """\
my.cell:4:6: '2h' is no number
    h' = 2h
         ^
  hint: 2 * h
""",
    ),
    "a_number_with_underscores": (
        BASE + "h' = 1_000 * h",
        """\
my.cell:4:6: '1_000' is no number
    h' = 1_000 * h
         ^
  hint: 1000
""",
    ),
    "a_hexadecimal_number": (
        BASE + "h' = 0x1f * h",
        """\
my.cell:4:6: '0x1f' is no number
    h' = 0x1f * h
         ^
  hint: decimal digits
""",
    ),
    "a_leading_zero": (
        BASE + "h' = 007 * h",
        """\
my.cell:4:6: '007' is no number: it begins with 0
    h' = 007 * h
         ^
  hint: 7
""",
    ),
    "a_width_of_zero": (
        BASE + "state z: 0",
        """\
my.cell:4:10: a width is at least 1 and below 10**9, not 0
    state z: 0
             ^
  hint: state  h: H
""",
    ),
    "a_negative_width": (
        BASE + "state z: -3",
        """\
my.cell:4:10: a width is at least 1 and below 10**9, not -3
    state z: -3
             ^
  hint: state  h: H
""",
    ),
    "a_missing_width": (
        BASE + "state z:",
        """\
my.cell:4:9: a width is missing here
    state z:
            ^
  hint: state  h: H
""",
    ),
    "a_reserved_width": (
        BASE + "state z: for",
        """\
my.cell:4:10: 'for' is a reserved word
    state z: for
             ^
  hint: state  h: H
""",
    ),
    "a_fractional_width": (
        BASE + "state z: 1.5",
        """\
my.cell:4:10: '1.5' is no width
    state z: 1.5
             ^
  hint: state  h: H
""",
    ),
    "a_matrix_with_half_a_shape": (
        BASE + "param W: H x",
        """\
my.cell:4:13: a width is missing here
    param W: H x
                ^
  hint: param  W: H x I
""",
    ),
    "a_strange_shape": (
        BASE + "param W: H times I",
        """\
my.cell:4:12: 'times' has no meaning in a width
    param W: H times I
               ^
  hint: param  W: H x I
""",
    ),
    "a_declaration_without_a_name": (
        BASE + "input",
        """\
my.cell:4:6: a name is missing after 'input'
    input
         ^
  hint: input  x: I
""",
    ),
    "a_declaration_with_rubbish": (
        BASE + "input x y",
        """\
my.cell:4:9: 'y' has no meaning in 'input'
    input x y
            ^
  hint: input  x: I
""",
    ),
    "an_output_expression": (
        BASE + "output h + 1",
        """\
my.cell:4:10: '+ 1' has no meaning in 'output'
    output h + 1
             ^
  hint: output h'
""",
    ),
    "a_const_without_a_value": (
        BASE + "const beta",
        """\
my.cell:4:7: a const needs a value
    const beta
          ^
  hint: const  beta = 1.0
""",
    ),
    "an_assignment_to_an_expression": (
        BASE + "h + x = 3",
        """\
my.cell:4:1: this line neither declares nor defines anything
    h + x = 3
    ^
  hint: h = ...
""",
    ),
    "an_assignment_to_a_number": (
        BASE + "3 = h",
        """\
my.cell:4:1: a line cannot begin with '3'
    3 = h
    ^
""",
    ),
    "a_misspelt_declaration": (
        BASE + "outptu h'",
        """\
my.cell:4:1: this line neither declares nor defines anything
    outptu h'
    ^
  hint: did you mean 'output'?
""",
    ),
    "a_foreign_letter_in_a_name": (
        BASE + "größe = h",
        """\
my.cell:4:3: 'ö' has no meaning here
    größe = h
      ^
""",
    ),
    "deep_nesting": (
        BASE
        + "h' = tanh(tanh(tanh(------------------------------------------------------------h)))",
        """\
my.cell:4:78: this nests deeper than 60 levels, or has more than 200 terms
    h' = tanh(tanh(tanh(------------------------------------------------------------h)))
                                                                                 ^
  hint: name a part of it on a line of its own
""",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_message_about(case: str) -> None:
    source, message = ERRORS[case]
    with pytest.raises(CellError) as caught:
        parse_text.parse(source, file="my.cell")
    assert str(caught.value) + "\n" == message


def expr(source: str) -> Node:
    return parse_text.parse(f"{BASE}y = {source}").definitions[0].expr


def printed(source: str) -> str:
    return expression.to_text(expr(source), frozenset({"h"}))


@pytest.mark.parametrize(
    "canonical",
    [
        "a + b - c",
        "a - (b - c)",
        "a + (b + c)",
        "a / b / c",
        "a / (b * c)",
        "a * (b / c)",
        "-a**2",
        "(-a)**2",
        "a**b**c",
        "(a**b)**c",
        "2**-x",
        "-(a * b)",
        "-a * b",
        "a * -b",
        "a - -b",
        "--a",
        "W @ x + U.T @ h",
        "U @ (V @ h)",
        "a * (W @ x)",
        "a * W @ x",
        "h'**2",
        "where(a + 1 <= b, u, v)",
        "clip(v, -0.5, beta)",
        "layer_norm(W @ x)",
        ".5 * x + 1e-3 * y + 5. * z",
    ],
)
def test_canonical_expression_reads_back_as_it_is(canonical: str) -> None:
    assert printed(canonical) == canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("((a))+b", "a + b"),
        ("+a", "a"),
        ("a ** b", "a**b"),
        ("( W @(x) )", "W @ x"),
        ("h_next + h'", "h' + h'"),
        ("maximum( a,b )", "maximum(a, b)"),
        ("(W).T@x", "W.T @ x"),
    ],
)
def test_spelling_is_made_canonical(written: str, canonical: str) -> None:
    assert printed(written) == canonical


def _random_tree(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.1:
        return rng.choice(["a", "b", "2", "0.5", "h_next"])
    left, right = (_random_tree(rng, depth - 1) for _ in range(2))
    kind = rng.randrange(8)
    if kind == 0:
        return f"({left})"
    if kind == 1:
        return f"-{left}"
    if kind == 2:
        return f"maximum({left}, {right})"
    return f"{left} {rng.choice(['+', '-', '*', '/', '**', '@'])} {right}"


def test_precedence_is_that_of_python() -> None:
    """The canonical text means to Python's parser what the author's text means to it."""
    rng = random.Random(0)
    for _ in range(500):
        source = _random_tree(rng, 4)
        again = printed(source).replace("h'", "h_next")
        assert ast.dump(ast.parse(again)) == ast.dump(ast.parse(source)), source


def test_printing_twice_changes_nothing() -> None:
    rng = random.Random(1)
    for _ in range(200):
        once = printed(_random_tree(rng, 4))
        assert printed(once) == once


FULL = """\
cell   everything
doc    One of each.   # this is not a comment
doc
doc    It goes on, with \u00e9 and \u2202.
input  x: I, m: 1, w: 3
state  h: H, c: H
param  W: H x I
param  b: H
param  g
const  beta = 1.0, gamma = beta / 3

a  = W @ x + b * g
h' = tanh(a) * h + w - m
c' = h'

output h', c, a
"""


def test_canonical_text_is_stable() -> None:
    assert parse_text.to_text(parse_text.parse(FULL)) == FULL


def test_doc_keeps_its_lines_and_takes_no_part_in_equality_of_nodes() -> None:
    doc = parse_text.parse(FULL).doc
    assert doc == "One of each.   # this is not a comment\n\nIt goes on, with \u00e9 and \u2202."


@pytest.mark.parametrize(
    "variant",
    [
        FULL.replace("\n", "\r\n"),
        FULL.replace("\n", "\r"),
        "\ufeff" + FULL,
        FULL.replace("  = ", " \t=\t").replace("input  ", "\tinput\t"),
        "\n\n# first\n" + FULL + "\n\n  # last",
        FULL.replace("a  = W @ x + b * g", "a = (W @ x  # a product\n\n  + b\n* g)"),
        FULL.replace("h' =", "h_next ="),
        FULL.replace("output h', c, a", "output h'\noutput c , a"),
        FULL.replace("state  h: H, c: H", "state h, c"),
        FULL.replace("input  x: I, m: 1, w: 3", "input x, m:1\ninput w :3"),
        FULL.replace("param  W: H x I", "param W:H  x\tI"),
    ],
)
def test_layout_does_not_count(variant: str) -> None:
    assert parse_text.to_text(parse_text.parse(variant)) == FULL


def test_matrix_may_have_numbers_and_the_letter_x_as_widths() -> None:
    shapes = [p.shape for p in parse_text.parse(f"{BASE}param W: 3 x H, V: x x x, U: 2 x 2").params]
    assert shapes == [(3, "H"), ("x", "x"), (2, 2)]


@pytest.mark.parametrize("word", ["input", "state", "param", "cell", "doc", "output"])
def test_words_that_begin_declarations_are_names_too(word: str) -> None:
    parsed = parse_text.parse(f"{BASE}{word} = h + 1\nh' = {word}\noutput {word}\n")
    assert parsed.definitions[0].target == word
    assert parse_text.parse(parse_text.to_text(parsed)) == parsed


@pytest.mark.parametrize(
    "name", [*"tnkjBTIHGWifoNES", "np", "x_next", "d_p", "match", "type", "main", "double_"]
)
def test_every_other_name_is_legal(name: str) -> None:
    assert expr(f"{name} + 1") == Binary("+", Name(name, NOWHERE), Number("1", NOWHERE), NOWHERE)


NOWHERE = parse_text.parse("cell c").place


def test_places_are_columns_of_the_users_text() -> None:
    source = f"{BASE}y = (h' +\n\th' * tanh(\n   x) @ z)"
    place = {
        node.name: node.place
        for node in expression.walk(parse_text.parse(source).definitions[0].expr)
        if isinstance(node, Name)
    }
    assert (place["x"].line, place["x"].column) == (6, 4)
    assert (place["z"].line, place["z"].column) == (6, 9)
    assert (place["h_next"].line, place["h_next"].column) == (5, 2)
    assert place["h_next"].excerpt() == "    \th' * tanh(\n    \t^"


def test_tree_of_each_kind_of_node() -> None:
    tree = expr("where(-a < W.T @ b, 1, tanh(c))")
    assert isinstance(tree, Call)
    kinds = [type(node).__name__ for node in expression.walk(tree)]
    assert kinds == [
        "Call", "Negative", "Name", "Compare", "Transpose", "Name", "Binary", "Name", "Number",
        "Call", "Name",
    ]  # fmt: skip
    assert Negative(Name("a", NOWHERE), NOWHERE) in expression.walk(tree)
    assert Transpose(Name("W", NOWHERE), NOWHERE) in expression.walk(tree)


@pytest.mark.parametrize("function", PUBLIC_FUNCTIONS)
def test_every_function_can_be_written(function: str) -> None:
    args = {"where": "h < 1, h, 1", "clip": "h, 0, 1", "maximum": "h, 1", "minimum": "h, 1"}
    args |= {"outer": "h, h", "concat": "h, h", "split": "h, 2", "eye": "H"}
    assert printed(f"{function}({args.get(function, 'h')})").startswith(function)


@pytest.mark.parametrize(
    "source",
    [
        "h' = " + "(" * 100_000 + "h" + ")" * 100_000,
        "h' = " + "-" * 100_000 + "h",
        "h' = " + "-" * 1900 + "h",
        "h' = " + "2**" * 900 + "h",
        "h' = " + "tanh(" * 500 + "h" + ")" * 500,
        "h' = " + "h + " * 100_000 + "h",
        "h' = " + "9" * 100_000,
        "h' = 1e" + "9" * 300 + "x",
        "h' = (" * 10_000,
        "x" * 100_000 + "!",
        "\x00" * 1000,
        "doc \x07",
        "h' = \ud800",
        "\u202e",
    ],
    ids=range(14),
)
def test_hostile_text_is_refused_cleanly(source: str) -> None:
    with pytest.raises(CellError):
        parse_text.parse(BASE + source)


def test_random_rubbish_is_read_or_refused_cleanly() -> None:
    rng = random.Random(2)
    pieces = [*"hxWUb123.,()+-*/@=<>'#:_ \n\t\u00e9\x0b", "tanh", "where", "h'", ".T", "if"]
    pieces += ["input ", "state ", "param ", "const ", "output ", "cell ", "doc "]
    for _ in range(3000):
        body = "".join(rng.choice(pieces) for _ in range(rng.randrange(25)))
        try:
            parsed = parse_text.parse(BASE + body)
        except CellError as error:
            assert re.match(r"<text>:\d+:\d+: ", str(error))
        else:
            assert parse_text.parse(parse_text.to_text(parsed)) == parsed
