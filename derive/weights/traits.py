"""What a cell's parameters mean: which kind it is and which conventions it follows.

In: a Cell.  Out: `Traits`. The kind comes from the names of its parameters, which are those of
the catalogue (W_k, U_k, b_k, p_k, b_hk, W_p); conventions that names do not tell (what z keeps,
where r acts, which gate is one minus the other) come from computing one step at chosen points.
The cell's own name never counts.
Not here: what other systems call the same things (systems.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.signature import Array, Arrays
from derive.program import interpret

#: Parameters that a cell must have to be of a kind; the LSTM also W_i or W_f.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "lstm": ("W_g", "W_o", "U_g", "U_o"),
    "gru": ("W_r", "W_z", "W_n", "U_r", "U_z", "U_n"),
    "rnn": ("W", "U"),
}
_STATES = {"lstm": {"h", "c"}, "gru": {"h"}, "rnn": {"h"}}
_GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}
TITLES = {"lstm": "an LSTM", "gru": "a GRU", "rnn": "a simple RNN"}

#: Pre-activations at which a gate is looked at.
_POINTS = (0.3, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class Traits:
    """kind: "lstm", "gru" or "rnn"; the rest is "" or 0 where it does not apply.

    reset: "before" or "after".  keeps: "previous" or "candidate".  coupled: "forget" where
    i = 1 - f and only f has parameters, "input" where f = 1 - i.  layer_norm: "tensorflow",
    or "other".  forget_bias: what is added to the forget gate at run time.  functions: of gates, of
    the candidate and of the output, then the clips of c and of the projection, once they are known.
    """

    kind: str
    reset: str = ""
    keeps: str = "previous"
    coupled: str = ""
    peephole: bool = False
    projection: bool = False
    layer_norm: str = ""
    forget_bias: float = 0.0
    functions: tuple[str, ...] = ()


def traits_of(cell: Cell) -> Traits:
    """The traits of a cell; ArgumentError if it is none of the kinds that other systems have."""
    params = cell.params
    kind = next((k for k, names in _KINDS.items() if all(n in params for n in names)), None)
    if kind == "lstm" and not ({"W_i", "W_f"} & set(params)):
        kind = None
    if kind is None or not _STATES[kind] <= set(cell.states) or not _matrices(cell):
        raise ArgumentError(
            f"{cell.name} is no LSTM, GRU or simple RNN",
            facts=(
                f"its parameters are {', '.join(params) or 'none'}",
                "an LSTM has W_i W_f W_g W_o, U_.. and b_..; a GRU W_r W_z W_n, U_.. and b_..; "
                "a simple RNN W, U and b",
            ),
            hint="derive.rnn_cell has TensorFlow's other cells, with their variables",
        )
    known = re.compile(_roles(kind))
    normed = any(name.startswith(("gamma", "beta")) for name in params)
    strange = [n for n in params if not known.fullmatch(n) and not n.startswith(("gamma", "beta"))]
    if strange:
        raise ArgumentError(
            f"no other system has the parameters {', '.join(strange)} of {cell.name}",
            facts=(f"by its other parameters {cell.name} is {TITLES[kind]}",),
        )
    if kind == "rnn":
        return Traits(kind)
    if kind == "gru":
        return Traits(kind, reset=_reset(cell), keeps=_keeps(cell))
    bias = cell.consts.get("forget_bias")
    return Traits(
        kind,
        coupled=_coupled(cell),
        peephole=any(name.startswith("p_") for name in params),
        projection="W_p" in params,
        layer_norm=_layer_norm(cell) if normed else "",
        forget_bias=0.0 if bias is None or "forget_bias" in cell.unused else float(bias),
    )


def _roles(kind: str) -> str:
    gates = _GATES[kind]
    if not gates:
        return "W|U|b|b_h"
    return f"[WUb]_[{gates}]|b_h[{gates}]" + ("|p_[ifo]|W_p" if kind == "lstm" else "")


def _matrices(cell: Cell) -> bool:
    """Whether all products with the state are products with a matrix."""
    names = [name for name in cell.params if re.fullmatch("[WU](_.)?", name)]
    return all(len(cell.params[name]) == 2 for name in names)


# --- one step at a chosen point -------------------------------------------------------------


def mirrored(cell: Cell, traits: Traits) -> bool:
    """Whether 1 - gate(a) = gate(-a), so that a gate is turned round by its parameters' signs."""
    gate = _gate(cell, "z" if traits.kind == "gru" else "f" if "W_f" in cell.params else "i")
    return all(abs(gate(a) + gate(-a) - 1) < 1e-12 for a in _POINTS)


def _gate(cell: Cell, gate: str) -> Callable[[float], float]:
    """What the previous state is multiplied by, as a function of a gate's product with x.

    The forget bias is part of the gate and is taken off.
    """
    state = "h" if "c" not in cell.states else "c"
    bias = float(cell.consts.get("forget_bias", 0)) if gate == "f" else 0.0

    def value(a: float) -> float:
        params = {f"W_{gate}": np.full((2, 1), a - bias)}
        low, high = (_step(cell, params, {state: np.full(2, v)})[state][0] for v in (0.0, 0.25))
        return float((high - low) / 0.25)

    return value


def _keeps(cell: Cell) -> str:
    gate = _gate(cell, "z")
    rise = gate(0.5) - gate(-0.5)
    if not rise:
        raise ArgumentError(
            f"the equations of {cell.name} do not tell what its gate z keeps",
            facts=("what h is multiplied by does not change with z",),
            hint="a gate that rises: recurrent_activation=sigmoid",
        )
    return "previous" if rise > 0 else "candidate"


def _reset(cell: Cell) -> str:
    """r of one unit moves the same unit where it acts after the product, others where before."""

    def at(r: float) -> Array:
        params = {
            "W_r": np.array([[r], [0.04]]),
            "W_z": np.array([[0.01], [0.02]]),
            "W_n": np.array([[0.05], [0.05]]),
            "U_n": np.array([[0.0, 0.7], [0.9, 0.0]]),
        }
        return _step(cell, params, {"h": np.array([0.05, 0.04])})["h"][:2]

    moved = tuple(at(0.03) != at(0.08))
    found = {(True, False): "after", (False, True): "before"}.get(moved)
    if found is None:
        raise ArgumentError(
            f"the equations of {cell.name} are not those of a GRU",
            facts=("its gate r acts neither on h before the product with U_n nor after it",),
        )
    return found


def _coupled(cell: Cell) -> str:
    """ "forget" where i = 1 - f, "input" where f = 1 - i, "" where both have parameters."""
    if {"W_i", "W_f"} <= set(cell.params):
        return ""
    gate = "f" if "W_f" in cell.params else "i"
    kept = _gate(cell, gate)

    def written(a: float) -> float:
        params = {f"W_{gate}": np.full((2, 1), a), "W_g": np.full((2, 1), 0.1)}
        return float(_step(cell, params, {})["c"][0])

    shift = float(cell.consts.get("forget_bias", 0)) if gate == "f" else 0.0
    ratios = [written(a - shift) / (1 - kept(a)) for a in _POINTS if kept(a) != 1]
    if len(ratios) < 2 or max(ratios) - min(ratios) > 1e-12:
        raise ArgumentError(
            f"the equations of {cell.name} are not those of an LSTM with coupled gates",
            facts=("it has parameters for one of i and f, and the other is not one minus that",),
        )
    return "forget" if gate == "f" else "input"


def _layer_norm(cell: Cell) -> str:
    """ "tensorflow" where each gate and the stored c are normalised."""
    if {f"gamma_{k}" for k in "ifgoc"} - set(cell.params):
        return "other"
    moved = _step(cell, {}, {})["c"] != _step(cell, {"beta_c": np.ones(2)}, {})["c"]
    return "tensorflow" if moved[:2].all() else "other"


def _step(cell: Cell, params: Mapping[str, Array], states: Mapping[str, Array]) -> Arrays:
    """Next states {name: [width]} of one row with x = (1, 0, ...); what is not given is zero."""
    sizes = {dim: 2 for shape in _shapes(cell) for dim in shape if isinstance(dim, str)}
    sizes |= {dim: 1 for (dim,) in cell.inputs.values() if isinstance(dim, str)}
    given: dict[str, Array] = {}
    for name, shape in cell.params.items():
        value = np.zeros([sizes[d] if isinstance(d, str) else d for d in shape])
        given[name] = _cornered(params.get(name), value)
    for name, (dim,) in cell.inputs.items():
        value = np.zeros((1, sizes[dim] if isinstance(dim, str) else dim))
        value[:, :1] = 1
        given[name] = value
    for name, (dim,) in cell.states.items():
        value = np.zeros(sizes[dim] if isinstance(dim, str) else dim)
        given[name] = _cornered(states.get(name), value)[np.newaxis]
    step = cell.step
    inputs = {name: given[name] for name in step.program.inputs}
    with np.errstate(all="ignore"):
        values = interpret(step.program, inputs, rows=1, sizes=sizes)
    return {
        state: values[name][0] for state, name in zip(step.states, step.next_states, strict=True)
    }


def _cornered(wanted: Array | None, value: Array) -> Array:
    """`wanted` in the first rows and columns; a width that is a number may be another than 2."""
    if wanted is not None:
        part = tuple(slice(min(m, n)) for m, n in zip(wanted.shape, value.shape, strict=True))
        value[part] = wanted[part]
    return value


def _shapes(cell: Cell) -> list[tuple[str | int, ...]]:
    return [*cell.params.values(), *cell.inputs.values(), *cell.states.values()]
