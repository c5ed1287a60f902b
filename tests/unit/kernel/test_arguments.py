"""The words of the messages about arguments, and the conversions by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel.arguments import Arguments
from derive.kernel.convert import to_array, to_lengths
from derive.kernel.signature import Signature, Sizes

LSTM = Signature(
    name="lstm",
    params={"W_f": ("H", "I"), "W_g": ("H", "I"), "b": ("H",), "beta": (1,)},
    inputs={"x": "I"},
    states={"h": "H", "c": "H"},
    outputs={"h_next": "H"},
)
X = np.zeros((7, 3, 5))
SIZES = Sizes(7, 3, {"H": 4, "I": 5})


def params(**changes: Any) -> dict[str, Any]:
    given = {"W_f": np.ones((4, 5)), "W_g": np.ones((4, 5)), "b": np.ones(4), "beta": 1.0}
    return {**given, **changes}


def forward(p: Any = None, x: Any = X, state: Any = None, lengths: Any = None) -> Any:
    return Arguments(LSTM, np.float32).of_forward(params() if p is None else p, x, state, lengths)


def backward(d_outputs: Any = None, d_states: Any = None) -> Any:
    return Arguments(LSTM, np.float32).of_backward(SIZES, d_outputs, d_states)


MESSAGES: dict[str, tuple[Callable[[], Any], str]] = {
    "missing parameter": (
        lambda: forward({"W_f": np.ones((4, 5)), "b": np.ones(4), "beta": 1}),
        """\
parameter W_g is missing
  lstm has the parameters W_f, W_g, b, beta
  parameter W_g is [H, I]
  hint: params["W_g"] = ...""",
    ),
    "misspelt parameter": (
        lambda: forward({**{n: v for n, v in params().items() if n != "beta"}, "betta": 1}),
        """\
params has an entry 'betta', but lstm has no such parameter
  lstm has the parameters W_f, W_g, b, beta
  hint: did you mean 'beta'?""",
    ),
    "parameters of different width": (
        lambda: forward(params(W_g=np.ones((6, 5)))),
        """\
parameter W_g has the wrong shape
  parameter W_g is [H, I], given [6, 5]
  H = 4 by parameter W_f, which is [H, I], given [4, 5]
  hint: give parameter W_g the shape [4, 5], or parameter W_f another H""",
    ),
    "transposed parameter": (
        lambda: forward(params(W_g=np.ones((5, 4)))),
        """\
parameter W_g has the wrong shape
  parameter W_g is [H, I], given [5, 4]
  H = 4 by parameter W_f, which is [H, I], given [4, 5]
  I = 5 by parameter W_f, which is [H, I], given [4, 5]
  hint: transpose it: W_g.T""",
    ),
    "matrix that is not square": (
        lambda: Arguments(Signature("cell", {"U": ("H", "H")}, {}, {}, {}), "f4").of_forward(
            {"U": np.ones((4, 5))}, None, None, None
        ),
        """\
parameter U has the wrong shape
  parameter U is [H, H], given [4, 5]
  H = 4 by parameter U, which is [H, H], given [4, 5]
  hint: give parameter U the shape [4, 4]""",
    ),
    "input of another width": (
        lambda: forward(x=np.zeros((7, 3, 6))),
        """\
input x has the wrong shape
  input x is [T, B, I], given [7, 3, 6]
  I = 5 by parameter W_f, which is [H, I], given [4, 5]
  hint: give input x the shape [7, 3, 5], or parameter W_f another I""",
    ),
    "input without a batch": (
        lambda: forward(x=np.zeros((7, 5))),
        """\
input x has the wrong shape
  input x is [T, B, I], given [7, 5]
  hint: give input x the shape [T, B, 5]""",
    ),
    "state of another batch": (
        lambda: forward(state={"h": np.zeros((2, 4))}),
        """\
state h has the wrong shape
  state h is [B, H], given [2, 4]
  B = 3 by input x, which is [T, B, I], given [7, 3, 5]
  hint: give state h the shape [3, 4], or input x another B""",
    ),
    "number for a vector": (
        lambda: forward(params(b=0.5)),
        """\
parameter b has the wrong shape
  parameter b is [H], given a single number
  hint: give parameter b the shape [4]""",
    ),
    "bare state of several": (
        lambda: forward(state=np.zeros((3, 4))),
        """\
state must be a mapping from names to arrays, not ndarray
  lstm has the states h, c
  a bare array stands for the only one
  hint: state={"h": ..., "c": ...}""",
    ),
    "complex numbers": (
        lambda: forward(x=X * 1j),
        """\
input x must hold real numbers, not complex numbers
  it was given as ndarray
  hint: take its real part, for example np.real(...)""",
    ),
    "Python objects": (
        lambda: forward(x=[[[None]]]),
        """\
input x must hold real numbers, not Python objects
  it was given as list
  hint: np.asarray(..., dtype=np.float32)""",
    ),
    "masked array": (
        lambda: forward(x=np.ma.array(X)),
        """\
input x is a masked array
  a kernel knows no masked entries: it would compute with what lies under them
  hint: say what they are worth, for example .filled(0.0)""",
    ),
    "no mapping of parameters": (
        lambda: forward([1.0]),
        """\
params must be a mapping from names to arrays, not list
  lstm has the parameters W_f, W_g, b, beta
  hint: for example params = kernel.init(H=4, seed=0), or {"W": ..., "b": ...}""",
    ),
    "length out of range": (
        lambda: forward(lengths=[7, 8, -1]),
        """\
lengths[1] = 8 is outside 0..T
  T = 7
  hint: np.clip(lengths, 0, 7)""",
    ),
    "lengths of another batch": (
        lambda: forward(lengths=[7]),
        """\
lengths has the wrong shape
  lengths is [B] with B = 3, given [1]
  hint: lengths=np.full(3, 7)""",
    ),
    "lengths that are floats": (
        lambda: forward(lengths=[7.0, 1.0, 2.0]),
        """\
lengths must hold integers, not float64
  it was given as list
  hint: np.asarray(lengths, dtype=np.int64)""",
    ),
    "cotangent of another shape": (
        lambda: backward(np.zeros((7, 3, 5))),
        """\
cotangent of output h_next has the wrong shape
  cotangent of output h_next is [T, B, H], given [7, 3, 5]
  hint: give cotangent of output h_next the shape [7, 3, 4]""",
    ),
    "cotangent of an unknown output": (
        lambda: backward({"h_nxt": np.zeros((7, 3, 4))}),
        """\
d_outputs has an entry 'h_nxt', but lstm has no such output
  lstm has the output h_next
  hint: did you mean 'h_next'?""",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_a_message_reads(case: str) -> None:
    provoke, text = MESSAGES[case]
    with pytest.raises(DeriveError) as caught:
        provoke()
    assert str(caught.value) == text


def test_sizes_keep_time_and_rows_apart_from_dimensions_of_that_name() -> None:
    signature = Signature("odd", {"W": ("T", "B")}, {"x": "B"}, {"h": "T"}, {"h": "T"})
    call = Arguments(signature, np.float64).of_forward(
        {"W": np.ones((4, 5))}, np.ones((7, 3, 5)), None, None
    )
    assert call.sizes == Sizes(7, 3, {"T": 4, "B": 5})
    assert call.sizes.shape(("T", 2, "B")) == (4, 2, 5)


def test_a_state_gives_the_width_of_another() -> None:
    signature = Signature("two", {}, {"x": 1}, {"a": "H", "b": "H"}, {"a": "H"})
    call = Arguments(signature, np.float64).of_forward(
        {}, np.ones((7, 3, 1)), {"b": np.ones((3, 6))}, None
    )
    assert call.states["a"].shape == (3, 6) and not call.states["a"].any()


def test_dims_are_in_order_of_first_use() -> None:
    assert LSTM.dims() == ("H", "I")


def test_a_right_array_is_returned_itself() -> None:
    array = np.ones((2, 3), np.float32)
    assert to_array(array, "x", np.dtype(np.float32)) is array


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([1j]), np.array([object()])])
def test_to_array_refuses_what_is_not_real(value: Any) -> None:
    with pytest.raises(ArgumentTypeError):
        to_array(value, "x", np.dtype(np.float32))


def test_to_lengths_of_no_rows_takes_an_empty_list() -> None:
    assert to_lengths([], Sizes(7, 0, {})).dtype == np.int64


def test_to_lengths_returns_a_fresh_array() -> None:
    given = np.array([1, 2, 3])
    assert not np.may_share_memory(to_lengths(given, SIZES), given)


def test_every_length_is_checked() -> None:
    for row in range(3):
        lengths = [0, 0, 0]
        lengths[row] = 8
        with pytest.raises(ArgumentError, match=rf"lengths\[{row}\] = 8"):
            to_lengths(lengths, SIZES)
