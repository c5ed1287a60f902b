"""Functions of other languages that a cell's text has under another name, or as an expression.

In: the name of an unknown function and the texts of its arguments.  Out: what to type instead.
Not here: the functions there are (symbolic/functions.py), the message (parse_expression.py).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from derive.symbolic import functions
from derive.symbolic.closed_set import TABLE

#: All functions by name, as lines of a message.
KNOWN = tuple(textwrap.wrap("the functions are " + ", ".join(functions.PUBLIC_FUNCTIONS), 96))

#: The same function under the name it has here; arguments stay.
_RENAMED = {
    **{alias: name for name, record in TABLE.items() for alias in record.aliases},
    "LayerNorm": "layer_norm",
    "layernorm": "layer_norm",
    "reduce_mean": "mean",
    "reduce_sum": "sum",
}

#: (function, number of arguments) -> an expression. `{u}` and `{v}` are the arguments, `{a}` and
#: `{b}` the same in brackets where they are more than a name.
_WRITTEN = {
    ("ceil", 1): "-floor(-{a})",
    ("cosh", 1): "(exp({u}) + exp(-{a})) / 2",
    ("dot", 2): "sum({a} * {b})",
    ("dropout", 1): "m * {a}   with the mask as  input m: H",
    ("dropout", 2): "m * {a}   with the mask as  input m: H",
    ("exp2", 1): "exp({a} * log(2))",
    ("heaviside", 1): "where({u} > 0, 1, 0)",
    ("log10", 1): "log({u}) / log(10)",
    ("log2", 1): "log({u}) / log(2)",
    ("matmul", 2): "{a} @ {b}",
    ("max", 2): "maximum({u}, {v})",
    ("min", 2): "minimum({u}, {v})",
    ("mish", 1): "{a} * tanh(softplus({u}))",
    ("mul", 2): "{a} * {b}",
    ("multiply", 2): "{a} * {b}",
    ("pow", 2): "{a}**{b}",
    ("power", 2): "{a}**{b}",
    ("relu6", 1): "clip({u}, 0, 6)",
    ("reciprocal", 1): "1 / {a}",
    ("round", 1): "floor({a} + 0.5)",
    ("rsqrt", 1): "1 / sqrt({u})",
    ("sinh", 1): "(exp({u}) - exp(-{a})) / 2",
    ("square", 1): "{a}**2",
    ("std", 1): "sqrt(mean(({a} - mean({u}))**2))",
    ("step", 1): "where({u} > 0, 1, 0)",
    ("tan", 1): "sin({u}) / cos({u})",
    ("var", 1): "mean(({a} - mean({u}))**2)",
}
_JOINING = ("cat", "concatenate", "hstack")


def advice(function: str, args: Sequence[str]) -> str | None:
    """What to type in place of `function(args)`; None where there is nothing alike.

    A name of one letter, also with an index (`W_i(x)`), is taken for a product.
    """
    if function in _RENAMED:
        return f"did you mean '{_RENAMED[function]}'?"
    if function in _JOINING and len(args) > 1:
        return f"concat({', '.join(args)})"
    if (function, len(args)) in _WRITTEN:
        u, v = (*args, "", "")[:2]
        return _WRITTEN[function, len(args)].format(u=u, v=v, a=_bracketed(u), b=_bracketed(v))
    if re.fullmatch(r"[A-Za-z](_?[0-9]*|_\w+)'?", function) and len(args) == 1:
        return f"{function} {'@' if function[0].isupper() else '*'} {_bracketed(args[0])}"
    return None


def _bracketed(text: str) -> str:
    return text if re.fullmatch(r"[\w.]+'?|\w+\([^()]*\)", text) else f"({text})"
