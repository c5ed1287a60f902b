"""The cell of one direction of an ONNX node: activations with alpha and beta, clip.

In: a `Node` and the number of a direction.  Out: a Cell: the catalogue's where its options say
it all, else the same equations with the node's own functions in them. Parameters have the
catalogue's names either way.
Not here: reading files (onnx_nodes.py), parameters (exchange.py).

Where the operators' text leaves something open or is not followed, ONNX Runtime decides
(1.31, CPU):

- clip bounds what an activation of a gate sees, bias and peephole included; not the cell state
  where the output activation h sees it;
- input_forget is f = 1 - i: the f blocks of W, R, B and P have no effect;
- ThresholdedRelu is 0 at alpha itself.

The text says that alpha and beta default to those of the operators of the same names. They do,
but for ThresholdedRelu, whose alpha is 0 in ONNX Runtime and 1 in the operator: it is 0 here.
Of Affine and ScaledTanh there are no operators any more, and ONNX Runtime takes 0 for both
numbers, which makes them useless: they must be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Eq

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.symbolic.functions import (
    clip,
    expm1,
    less,
    relu,
    sigmoid,
    softplus,
    softsign,
    tanh,
    where,
)
from derive.symbolic.heads import arrays
from derive.weights.onnx_nodes import Node


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation: f(v, alpha, beta), the defaults of the two, and the catalogue's name.

    A default is None where the function takes the value and has no default, and left out
    where it takes none. `plain` holds where alpha and beta are the defaults.
    """

    of: Callable[[Any, Any, Any], Any]
    defaults: tuple[tuple[str, float | None], ...] = ()
    plain: str = ""


ACTIVATIONS = {
    "Relu": Activation(lambda v, a, b: relu(v), plain="relu"),
    "Tanh": Activation(lambda v, a, b: tanh(v), plain="tanh"),
    "Sigmoid": Activation(lambda v, a, b: sigmoid(v), plain="sigmoid"),
    "Affine": Activation(lambda v, a, b: a * v + b, (("alpha", None), ("beta", None))),
    "LeakyRelu": Activation(
        lambda v, a, b: where(less(v, 0), a * v, v), (("alpha", 0.01),), "leaky_relu"
    ),
    "ThresholdedRelu": Activation(lambda v, a, b: where(less(a, v), v, 0), (("alpha", 0.0),)),
    "ScaledTanh": Activation(lambda v, a, b: a * tanh(b * v), (("alpha", None), ("beta", None))),
    "HardSigmoid": Activation(
        lambda v, a, b: clip(a * v + b, 0, 1), (("alpha", 0.2), ("beta", 0.5))
    ),
    "Elu": Activation(lambda v, a, b: where(less(v, 0), a * expm1(v), v), (("alpha", 1.0),), "elu"),
    "Softsign": Activation(lambda v, a, b: softsign(v), plain="softsign"),
    "Softplus": Activation(lambda v, a, b: softplus(v), plain="softplus"),
}

#: Of each operator, the letters of its activations and their defaults.
_SLOTS = {
    "RNN": {"f": "Tanh"},
    "GRU": {"f": "Sigmoid", "g": "Tanh"},
    "LSTM": {"f": "Sigmoid", "g": "Tanh", "h": "Tanh"},
}


@dataclass(frozen=True, slots=True)
class Function:
    """An activation with its numbers: f, g or h of one direction."""

    letter: str
    name: str
    values: tuple[tuple[str, float], ...]

    @property
    def plain(self) -> str:
        """The catalogue's name for it, "" if it has none."""
        rule = ACTIVATIONS[self.name]
        return rule.plain if self.values == rule.defaults else ""

    @property
    def consts(self) -> dict[str, float]:
        return {f"{key}_{self.letter}": value for key, value in self.values}

    def __call__(self, v: Any) -> Any:
        symbols = {key: arrays(f"{key}_{self.letter}")[0] for key, _ in self.values}
        return ACTIVATIONS[self.name].of(v, symbols.get("alpha"), symbols.get("beta"))


def cell_of(node: Node, direction: int) -> Cell:
    """The cell of one direction; the directions of a node may differ in activations."""
    functions = functions_of(node)[direction]
    peephole = bool(np.any(node.weights.get("P", 0)))
    return _from_catalogue(node, functions, peephole) or _BUILDERS[node.operator](
        node, functions, peephole
    )


def call_of(node: Node, direction: int) -> str:
    """The catalogue's cell as a call, "equations of its own" where it has none."""
    peephole = bool(np.any(node.weights.get("P", 0)))
    entry = _entry(node, functions_of(node)[direction], peephole)
    if entry is None:
        return "equations of its own"
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid", "peephole": False}
    options = (f'{k}="{v}"' if isinstance(v, str) else f"{k}={v}"
               for k, v in entry[1].items() if usual.get(k) != v)  # fmt: skip
    return f"derive.cells.{entry[0]}({', '.join(options)})"


def functions_of(node: Node) -> tuple[dict[str, Function], ...]:
    """The activations of each direction by their letters."""
    slots, count = _SLOTS[node.operator], len(node.directions)
    names = node.activations or tuple(slots.values()) * count
    if len(names) != len(slots) * count:
        raise ArgumentError(
            f"{node.name} has {len(names)} activations",
            facts=(f"{node.operator} has {len(slots)} for each of its {count} directions",),
        )
    given = {"alpha": iter(node.alpha), "beta": iter(node.beta)}
    letters = tuple(slots) * count
    read = [_function(node, x, name, given) for x, name in zip(letters, names, strict=True)]
    for key, values in given.items():
        if left := len(tuple(values)):
            raise ArgumentError(
                f"activation_{key} of {node.name} has {left} values too many",
                facts=(f"its activations are {', '.join(names)}",),
            )
    width = len(slots)
    return tuple(
        {function.letter: function for function in read[k * width : (k + 1) * width]}
        for k in range(count)
    )


def _function(node: Node, letter: str, name: str, given: dict[str, Iterator[float]]) -> Function:
    """Takes the next alpha and beta, if it is a function that has them."""
    known = {activation.lower(): activation for activation in ACTIVATIONS}
    if name.lower() not in known:
        raise ArgumentError(
            f"{name!r} of {node.name} is no activation", facts=(f"known: {', '.join(ACTIVATIONS)}",)
        )
    name = known[name.lower()]
    values = []
    for key, default in ACTIVATIONS[name].defaults:
        value = next(given[key], None)
        # An attribute is a float32: its shortest decimal is the number that was meant.
        value = default if value is None else float(str(np.float32(value)))
        if value is None:
            raise ArgumentError(
                f"activation_{key} of {node.name} does not say the {key} of {name}",
                facts=(f"there is no default for {name}",),
            )
        values.append((key, value))
    return Function(letter, name, tuple(values))


# --- cells ----------------------------------------------------------------------------------


def _from_catalogue(node: Node, functions: dict[str, Function], peephole: bool) -> Cell | None:
    entry = _entry(node, functions, peephole)
    return None if entry is None else cells.family(entry[0])(**entry[1])


def _entry(
    node: Node, functions: dict[str, Function], peephole: bool
) -> tuple[str, dict[str, Any]] | None:
    """The family of the catalogue and its options; None where it has no such cell."""
    plain = {letter: function.plain for letter, function in functions.items()}
    if node.clip or not all(plain.values()):
        return None
    if node.operator == "RNN":
        return "rnn", {"activation": plain["f"]}
    options: dict[str, Any] = {"recurrent_activation": plain["f"], "activation": plain["g"]}
    if node.operator == "GRU":
        return "gru", {"reset": "after" if node.linear_before_reset else "before", **options}
    if plain["g"] != plain["h"] or (node.input_forget and peephole):
        return None
    if node.input_forget:
        return "cifg", {"gate": "input", **options}
    return "lstm", {"peephole": peephole, **options}


def _pre(gate: str) -> Any:
    W, U, b, x, h = arrays(f"W_{gate} U_{gate} b_{gate} x h" if gate else "W U b x h")
    return W @ x + U @ h + b


def _clip(node: Node, v: Any) -> Any:
    (bound,) = arrays("bound")
    return clip(v, -bound, bound) if node.clip else v


def _cell(
    node: Node,
    gates: str,
    states: str,
    equations: list[Eq],
    functions: dict[str, Function],
    vectors: tuple[str, ...] = (),
) -> Cell:
    suffixes = [f"_{gate}" for gate in gates] or [""]
    params: dict[str, tuple[str, ...]] = {}
    for kind, shape in {"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}.items():
        params |= {kind + suffix: shape for suffix in suffixes}
    consts = {
        key: value for function in functions.values() for key, value in function.consts.items()
    }
    return Cell(
        f"onnx_{node.operator.lower()}",
        equations,
        inputs={"x": "I"},
        states={state: "H" for state in states},
        params=params | {vector: ("H",) for vector in vectors},
        consts=consts | ({"bound": float(str(np.float32(node.clip)))} if node.clip else {}),
        outputs=("h_next",),
        doc=f"{node.operator} of ONNX, with the attributes of one node.",
    )


def _rnn(node: Node, functions: dict[str, Function], peephole: bool) -> Cell:
    h_next, a = arrays("h_next a")
    equations = [Eq(a, _clip(node, _pre(""))), Eq(h_next, functions["f"](a))]
    return _cell(node, "", "h", equations, functions)


def _gru(node: Node, functions: dict[str, Function], peephole: bool) -> Cell:
    f, g = functions["f"], functions["g"]
    x, h, h_next, r, z, n, a_r, a_z, a_n = arrays("x h h_next r z n a_r a_z a_n")
    W_n, U_n, b_n, b_hn = arrays("W_n U_n b_n b_hn")
    after = node.linear_before_reset
    recurrent = r * (U_n @ h + b_hn) if after else U_n @ (r * h)
    equations = [
        Eq(a_r, _clip(node, _pre("r"))),
        Eq(r, f(a_r)),
        Eq(a_z, _clip(node, _pre("z"))),
        Eq(z, f(a_z)),
        Eq(a_n, _clip(node, W_n @ x + b_n + recurrent)),
        Eq(n, g(a_n)),
        Eq(h_next, z * h + (1 - z) * n),
    ]
    return _cell(node, "rzn", "h", equations, functions, ("b_hn",) if after else ())


def _lstm(node: Node, functions: dict[str, Function], peephole: bool) -> Cell:
    f_, g_, h_ = functions["f"], functions["g"], functions["h"]
    c, h_next, c_next, i, f, g, o = arrays("c h_next c_next i f g o")
    a_i, a_f, a_g, a_o = arrays("a_i a_f a_g a_o")
    p_i, p_f, p_o = arrays("p_i p_f p_o") if peephole else (0, 0, 0)
    gates = "igo" if node.input_forget else "ifgo"
    forget = [Eq(a_f, _clip(node, _pre("f") + p_f * c)), Eq(f, f_(a_f))]
    equations = [
        Eq(a_i, _clip(node, _pre("i") + p_i * c)),
        Eq(i, f_(a_i)),
        *([Eq(f, 1 - i)] if node.input_forget else forget),
        Eq(a_g, _clip(node, _pre("g"))),
        Eq(g, g_(a_g)),
        Eq(c_next, f * c + i * g),
        Eq(a_o, _clip(node, _pre("o") + p_o * c_next)),
        Eq(o, f_(a_o)),
        Eq(h_next, o * h_(c_next)),
    ]
    vectors = tuple(f"p_{gate}" for gate in "ifo" if gate in gates) if peephole else ()
    return _cell(node, gates, "hc", equations, functions, vectors)


_BUILDERS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
