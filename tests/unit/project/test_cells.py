"""The catalogue against cells written by hand in NumPy from the papers, option by option.

The oracles below share nothing with derive: weights are named as the catalogue names them,
everything else is written out.
"""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

import families_by_hand
import numpy as np
import pytest
from all_by_hand import HAND

import derive
from derive import cells
from derive.catalogue.option import Activation, Option, to_text
from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.language import names
from derive.program import interpret
from derive.symbolic import functions
from derive.symbolic.closed_set import TABLE
from derive.symbolic.oracle import ORACLE

B, SIZES = 3, {"I": 4, "H": 5, "P": 2, "M": 3, "N": 6, "Q": 2, "R": 3}
# Sums of ten products of numbers below 2, divided by deviations above 0.1, in float64: some
# hundred roundings of 2e-16, ten times over.
TOLERANCE = 1e-12

Arrays = dict[str, np.ndarray]
EVERY_FAMILY = tuple(name for name, (family, _) in cells.ENTRIES.items() if name == family)
#: Those with a formula in NumPy; test_families.py has the others, in PyTorch.
FAMILIES = tuple(name for name in EVERY_FAMILY if name not in HAND)


# --- by hand --------------------------------------------------------------------------------


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def softplus(v: Any) -> Any:
    return np.log(1 + np.exp(v))


ERF = np.vectorize(math.erf, otypes=[float])
SELU = 1.0507009873554805, 1.6732632423543772
BY_HAND: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda v: np.maximum(v, 0),
    "identity": lambda v: v,
    "exp": np.exp,
    "log": np.log,
    "log1p": lambda v: np.log(1 + v),
    "expm1": lambda v: np.exp(v) - 1,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "erf": ERF,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "softplus": softplus,
    "logsigmoid": lambda v: np.log(sigmoid(v)),
    "softsign": lambda v: v / (1 + np.abs(v)),
    "elu": lambda v: np.where(v > 0, v, np.exp(v) - 1),
    "leaky_relu": lambda v: np.where(v > 0, v, v / 100),
    "selu": lambda v: SELU[0] * np.where(v > 0, v, SELU[1] * (np.exp(v) - 1)),
    "gelu": lambda v: v * (1 + ERF(v / math.sqrt(2))) / 2,
    "silu": lambda v: v * sigmoid(v),
    "hard_sigmoid": lambda v: np.minimum(np.maximum(v / 6 + 0.5, 0), 1),
    "hard_tanh": lambda v: np.minimum(np.maximum(v, -1), 1),
    "hard_swish": lambda v: v * np.minimum(np.maximum(v / 6 + 0.5, 0), 1),
    "stop_gradient": lambda v: v,
}


for _name in functions.ACTIVATIONS:
    BY_HAND.setdefault(_name, ORACLE[_name].float64)


def norm(v: Any) -> Any:
    """(v - mean) / sqrt(variance + 1e-5) over the last axis."""
    centred = v - v.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def rnn_by_hand(v: Arrays, activation: str = "tanh") -> Arrays:
    return {"h": BY_HAND[activation](v["x"] @ v["W"].T + v["h"] @ v["U"].T + v["b"])}


def lstm_by_hand(
    v: Arrays,
    forget_bias: float = 0.0,
    peephole: bool = False,
    projection: bool = False,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    coupled: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    layer_norm: str | None = None,
) -> Arrays:
    act, gate = BY_HAND[activation], BY_HAND[recurrent_activation]
    gates = "fgo" if coupled else "ifgo"
    # One matrix for all gates, as the libraries have it: [B, gates * H].
    row = {
        kind: np.concatenate([v[f"{kind}_{k}"] for k in gates])
        for kind in ("W", "U", "b", "gamma", "beta", "gamma_x", "gamma_h", "beta_x", "beta_h")
        if f"{kind}_{gates[0]}" in v
    }
    Wx, Uh = v["x"] @ row["W"].T, v["h"] @ row["U"].T
    if layer_norm is None:
        a = Wx + Uh + row["b"]
    elif layer_norm == "ba2016":
        a = row["gamma_x"] * norm(Wx) + row["gamma_h"] * norm(Uh) + row["b"]
    elif layer_norm == "fastrnns":
        a = row["gamma_x"] * norm(Wx) + row["beta_x"] + row["gamma_h"] * norm(Uh) + row["beta_h"]
    else:
        each = [norm(part) for part in np.split(Wx + Uh, len(gates), axis=1)]
        a = row["gamma"] * np.concatenate(each, axis=1) + row["beta"]
    at = dict(zip(gates, np.split(a, len(gates), axis=1), strict=True))
    at["f"] = at["f"] + forget_bias
    if peephole:
        at["f"] = at["f"] + v["p_f"] * v["c"]
        if not coupled:
            at["i"] = at["i"] + v["p_i"] * v["c"]
    f = gate(at["f"])
    i = 1 - f if coupled else gate(at["i"])
    c = f * v["c"] + i * act(at["g"])
    if layer_norm in ("fastrnns", "tensorflow"):
        c = v["gamma_c"] * norm(c) + v["beta_c"]
    if cell_clip is not None:
        c = np.minimum(np.maximum(c, -cell_clip), cell_clip)
    o = gate(at["o"] + v["p_o"] * c) if peephole else gate(at["o"])
    inner = v["gamma_c"] * norm(c) + v["beta_c"] if layer_norm in ("ba2016", "supercell") else c
    h = o * act(inner)
    if projection:
        h = h @ v["W_p"].T
    if proj_clip is not None:
        h = np.minimum(np.maximum(h, -proj_clip), proj_clip)
    return {"h": h, "c": c}


def gru_by_hand(
    v: Arrays,
    reset: str = "after",
    keeps: str = "previous",
    biases: int | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> Arrays:
    gate, h = BY_HAND[recurrent_activation], v["h"]
    two = biases == 2 or (biases is None and reset == "after")
    second = {k: v[f"b_h{k}"] if two else 0.0 for k in "rzn"}
    r = gate(v["x"] @ v["W_r"].T + v["b_r"] + h @ v["U_r"].T + second["r"])
    z = gate(v["x"] @ v["W_z"].T + v["b_z"] + h @ v["U_z"].T + second["z"])
    if reset == "before":
        from_h = (r * h) @ v["U_n"].T + second["n"]
    else:
        from_h = r * (h @ v["U_n"].T + second["n"])
    n = BY_HAND[activation](v["x"] @ v["W_n"].T + v["b_n"] + from_h)
    return {"h": z * h + (1 - z) * n if keeps == "previous" else (1 - z) * h + z * n}


def affine(v: Arrays, k: str, h: Any = None) -> Any:
    return v["x"] @ v[f"W_{k}"].T + v[f"b_{k}"] + (0 if h is None else h @ v[f"U_{k}"].T)


def cifg_by_hand(
    v: Arrays,
    gate: str = "forget",
    forget_bias: float = 0.0,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> Arrays:
    act, squash = BY_HAND[activation], BY_HAND[recurrent_activation]
    if gate == "forget":
        f = squash(affine(v, "f", v["h"]) + forget_bias)
    else:
        f = 1 - squash(affine(v, "i", v["h"]))
    c = f * v["c"] + (1 - f) * act(affine(v, "g", v["h"]))
    return {"h": squash(affine(v, "o", v["h"])) * act(c), "c": c}


def janet_by_hand(v: Arrays, beta: float = 1.0) -> Arrays:
    s = affine(v, "f", v["h"])
    g = np.tanh(affine(v, "g", v["h"]))
    return {"h": sigmoid(s) * v["h"] + (1 - sigmoid(s - beta)) * g}


def mgu_by_hand(v: Arrays) -> Arrays:
    f = sigmoid(affine(v, "f", v["h"]))
    return {"h": (1 - f) * v["h"] + f * np.tanh(affine(v, "n", f * v["h"]))}


def ugrnn_by_hand(v: Arrays, forget_bias: float = 1.0, activation: str = "tanh") -> Arrays:
    g = sigmoid(affine(v, "g", v["h"]) + forget_bias)
    return {"h": g * v["h"] + (1 - g) * BY_HAND[activation](affine(v, "c", v["h"]))}


def minimal_rnn_by_hand(v: Arrays, activation: str = "tanh", input_bias: bool = True) -> Arrays:
    z = BY_HAND[activation](v["x"] @ v["W_x"].T + (v["b_z"] if input_bias else 0))
    u = sigmoid(v["h"] @ v["U_h"].T + z @ v["U_z"].T + v["b_u"])
    return {"h": u * v["h"] + (1 - u) * z}


def indrnn_by_hand(v: Arrays, activation: str = "relu") -> Arrays:
    return {"h": BY_HAND[activation](v["x"] @ v["W"].T + v["u"] * v["h"] + v["b"])}


def positive(v: Any) -> Any:
    return np.where(v >= 0, v + 0.5, sigmoid(v))


def min_gru_by_hand(v: Arrays, log_space: bool = False, log_state: bool = False) -> Arrays:
    z, n = sigmoid(affine(v, "z")), affine(v, "n")
    if log_state:
        return {"l": np.log((1 - z) * np.exp(v["l"]) + z * positive(n))}
    return {"h": (1 - z) * v["h"] + z * (positive(n) if log_space else n)}


def min_lstm_by_hand(v: Arrays, log_space: bool = False) -> Arrays:
    f, i, n = sigmoid(affine(v, "f")), sigmoid(affine(v, "i")), affine(v, "n")
    return {"h": (f * v["h"] + i * (positive(n) if log_space else n)) / (f + i)}


def ligru_by_hand(v: Arrays, activation: str = "relu") -> Arrays:
    z = sigmoid(affine(v, "z", v["h"]))
    return {"h": z * v["h"] + (1 - z) * BY_HAND[activation](affine(v, "n", v["h"]))}


def phased_lstm_by_hand(v: Arrays, leak: float = 0.001, peephole: bool = False) -> Arrays:
    def full(k: str, c: Any) -> Any:
        return affine(v, k, v["h"]) + (c @ v[f"P_{k}"].T if peephole else 0)

    i, f = sigmoid(full("i", v["c"])), sigmoid(full("f", v["c"]))
    c = f * v["c"] + i * np.tanh(affine(v, "g", v["h"]))
    h = sigmoid(full("o", c)) * np.tanh(c)
    phi = np.mod(v["time"] - v["phase"], v["period"]) / v["period"]
    k = np.where(phi < v["ratio_on"], 2 - 2 * phi / v["ratio_on"], leak * phi)
    k = np.where(phi < v["ratio_on"] / 2, 2 * phi / v["ratio_on"], k)
    return {"h": k * h + (1 - k) * v["h"], "c": k * c + (1 - k) * v["c"]}


def nas_by_hand(v: Arrays, bias: bool = False, projection: bool = False) -> Arrays:
    left = [v["x"] @ v[f"W_{k}"].T for k in range(8)]
    right = [v["h"] @ v[f"U_{k}"].T + (v[f"b_{k}"] if bias else 0) for k in range(8)]
    s = [a + b for a, b in zip(left, right, strict=True)]
    relu = BY_HAND["relu"]
    inner = np.tanh(sigmoid(s[0]) * relu(s[1])) + v["c"]
    c = np.tanh(inner) * np.tanh(sigmoid(s[2]) + relu(left[3] * right[3]))
    late = np.tanh(np.tanh(s[4]) * sigmoid(s[5])) + sigmoid(np.tanh(s[6]) + sigmoid(s[7]))
    m = np.tanh(c * np.tanh(late))
    return {"h": m @ v["W_p"].T if projection else m, "c": c}


def intersection_rnn_by_hand(
    v: Arrays, forget_bias: float = 1.0, activation: str = "relu", projection: bool = False
) -> Arrays:
    seen = dict(v, x=v["x"] @ v["W_p"].T + v["b_p"]) if projection else v
    g = sigmoid(affine(seen, "gh", v["h"]) + forget_bias)
    return {"h": g * v["h"] + (1 - g) * np.tanh(affine(seen, "n", v["h"]))}


def sru_by_hand(v: Arrays, activation: str = "tanh") -> Arrays:
    f = sigmoid(affine(v, "f"))
    return {"c": f * v["c"] + (1 - f) * (v["x"] @ v["W_g"].T)}


def cfn_by_hand(v: Arrays, input_gate: str = "direct", activation: str = "tanh") -> Arrays:
    act = BY_HAND[activation]
    theta, eta = sigmoid(affine(v, "t", v["h"])), sigmoid(affine(v, "e", v["h"]))
    let_in = eta if input_gate == "direct" else 1 - eta
    return {"h": theta * act(v["h"]) + let_in * act(v["x"] @ v["W_x"].T)}


def odyssey_by_hand(v: Arrays, variant: str | None = None) -> Arrays:
    x, h, c = v["x"], v["h"], v["c"]
    own = {k: x @ v[f"W_{k}"].T + h @ v[f"U_{k}"].T + v[f"b_{k}"] for k in "ifgo" if f"W_{k}" in v}
    if variant == "fgr":
        for k in "ifo":
            own[k] = own[k] + sum(v[of] @ v[f"R_{of}{k}"].T for of in "ifo")
    peep = {k: 0 if variant == "np" else v.get(f"p_{k}") for k in "ifo"}
    i = 1 if variant == "nig" else sigmoid(own["i"] + peep["i"] * c)
    f = {"nfg": lambda: 1, "cifg": lambda: 1 - i}.get(
        variant, lambda: sigmoid(own["f"] + peep["f"] * c)
    )()
    after = f * c + i * (own["g"] if variant == "niaf" else np.tanh(own["g"]))
    o = 1 if variant == "nog" else sigmoid(own["o"] + peep["o"] * after)
    found = {"h": o * (after if variant == "noaf" else np.tanh(after)), "c": after}
    return found | ({"i": i, "f": f, "o": o} if variant == "fgr" else {})


def slim_by_hand(v: Arrays, base: str = "lstm", form: int = 1) -> Arrays:
    h = v["h"]

    def gate(k: str) -> Any:
        if form in (1, 2):
            return sigmoid(h @ v[f"U_{k}"].T + (v[f"b_{k}"] if form == 1 else 0))
        if form == 3:
            return sigmoid(v[f"b_{k}"])
        return sigmoid(v[f"u_{k}"] * h + (v[f"b_{k}"] if form == 5 else 0))

    if base == "lstm":
        c = gate("f") * v["c"] + gate("i") * np.tanh(affine(v, "g", h))
        return {"h": gate("o") * np.tanh(c), "c": c}
    if base == "gru":
        z = gate("z")
        return {"h": z * h + (1 - z) * np.tanh(affine(v, "n", gate("r") * h))}
    f = gate("f")
    return {"h": (1 - f) * h + f * np.tanh(affine(v, "n", f * h))}


# --- values ---------------------------------------------------------------------------------


def draw(cell: derive.Cell, seed: int = 0, low: float = -1.5) -> Arrays:
    """Values for everything that a step reads, uniform in [low, 1.5]."""
    random = np.random.default_rng(seed)

    def shape(dims: tuple[Any, ...]) -> tuple[int, ...]:
        return tuple(SIZES[dim] if isinstance(dim, str) else dim for dim in dims)

    per_row = {**cell.inputs, **cell.states}
    values = {
        **{k: random.uniform(low, 1.5, shape(s)) for k, s in cell.params.items()},
        **{k: random.uniform(low, 1.5, (B, *shape(s))) for k, s in per_row.items()},
    }
    return {k: np.abs(v) if k == "elapsed" else v for k, v in values.items()}  # time goes on


def step(cell: derive.Cell, values: Arrays) -> Arrays:
    """The next states, by the interpreter."""
    wanted = {name: values[name] for name in cell.step.program.inputs}
    found = interpret(cell.step.program, wanted, rows=B, sizes=SIZES)
    return {s: found[n] for s, n in zip(cell.step.states, cell.step.next_states, strict=True)}


def distance(a: Arrays, b: Arrays) -> float:
    assert a.keys() == b.keys()
    assert all(np.isfinite(a[name]).all() and a[name].shape == b[name].shape for name in a)
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def check(cell: derive.Cell, by_hand: Callable[..., Arrays], **given: Any) -> None:
    for seed in range(2):
        values = draw(cell, seed)
        assert distance(step(cell, values), by_hand(values, **given)) < TOLERANCE


TRIED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "rnn": {"activation": ("relu", "identity")},
    "lstm": {
        "forget_bias": (1.0, -0.3),
        "peephole": (True,),
        "projection": (True,),
        "cell_clip": (0.4,),
        "proj_clip": (0.3,),
        "coupled": (True,),
        "activation": ("identity", "softsign"),
        "recurrent_activation": ("hard_sigmoid",),
        "layer_norm": ("ba2016", "fastrnns", "tensorflow", "supercell"),
        "joined": (),  # test_the_joined_lstm_is_the_lstm_with_its_matrices_in_one_kernel
    },
    "gru": {
        "reset": ("before",),
        "keeps": ("candidate",),
        "biases": (1, 2),
        "activation": ("relu",),
        "recurrent_activation": ("hard_sigmoid",),
    },
    "janet": {"beta": (0.0, 2.5)},
    "mgu": {},
    "ugrnn": {"forget_bias": (0.0, -1.5), "activation": ("relu",)},
    "cifg": {
        "gate": ("input",),
        "forget_bias": (1.0,),
        "activation": ("softsign",),
        "recurrent_activation": ("hard_sigmoid",),
    },
    "minimal_rnn": {"activation": ("relu",), "input_bias": (False,)},
    "indrnn": {"activation": ("tanh",)},
    "min_gru": {"log_space": (True,), "log_state": (True,)},
    "min_lstm": {"log_space": (True,)},
    "ligru": {"activation": ("tanh",)},
    "phased_lstm": {"leak": (0.25,), "peephole": (True,)},
    "nas": {"bias": (True,), "projection": (True,)},
    "intersection_rnn": {
        "forget_bias": (0.0, -0.5),
        "activation": ("tanh",),
        "projection": (True,),
    },
    "sru": {"activation": ("relu",)},
    "cfn": {"input_gate": ("complement",), "activation": ("relu",)},
    "odyssey": {"variant": ("nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr")},
    "slim": {"base": ("gru", "mgu"), "form": (2, 3, 4, 5)},
    **families_by_hand.TRIED,
}


def combinations(family: str) -> list[dict[str, Any]]:
    """The defaults, each option alone, and every pair; those that make sense."""
    single = [{key: value} for key, values in TRIED[family].items() for value in values]
    pairs = [{**a, **b} for a, b in itertools.combinations(single, 2) if a.keys() != b.keys()]
    made = [{}, *single, *pairs]
    if family == "lstm":
        made = [{**m, "projection": True} if "proj_clip" in m else m for m in made]
    if family == "min_gru":
        made = [{**m, "log_space": True} if "log_state" in m else m for m in made]
    if family == "cifg":
        made = [m for m in made if not ("forget_bias" in m and "gate" in m)]
    return made


CASES = [(family, given) for family in FAMILIES for given in combinations(family)]
EVERYTHING = {
    "forget_bias": 1.0,
    "peephole": True,
    "projection": True,
    "cell_clip": 0.7,
    "proj_clip": 0.5,
    "coupled": True,
    "activation": "softsign",
    "recurrent_activation": "hard_sigmoid",
}


def spec_of(family: str, given: Mapping[str, Any]) -> str:
    parts = ",".join(f"{key}={to_text(value)}" for key, value in given.items())
    return f"{family}:{parts}" if parts else family


@pytest.mark.parametrize(("family", "given"), CASES, ids=[spec_of(*case) for case in CASES])
def test_a_cell_computes_what_its_paper_says(family: str, given: dict[str, Any]) -> None:
    cell = getattr(cells, family)(**given)
    by_hand = families_by_hand.BY_HAND.get(family) or globals()[f"{family}_by_hand"]
    check(cell, by_hand, **given)
    assert derive.Cell.parse(cell.to_text()) == cell
    assert cells.from_spec(spec_of(family, given)) == cell
    assert cell.notes == () and cell.unused == ()
    to_the_layer_above = {"intersection_rnn": ("y",), "sru": ("y",)}
    if not given.get("log_state"):
        assert tuple(cell.outputs) == to_the_layer_above.get(family, ("h_next",))
    assert names.fault(cell.name) is None


@pytest.mark.parametrize("family", families_by_hand.BY_HAND)
def test_the_gradient_over_three_steps_is_that_of_the_formula_by_hand(family: str) -> None:
    """Central differences of the loop by hand, in float64, against the NumPy kernel."""
    cell = getattr(cells, family)()
    by_hand = families_by_hand.BY_HAND[family]
    values = draw(cell, 3)
    random = np.random.default_rng(4)
    inputs = {k: random.uniform(-1.5, 1.5, (3, *values[k].shape)) for k in cell.inputs}
    weights = random.normal(size=values["h"].shape)
    start = {k: values[k] for k in cell.states}
    params = {k: values[k] for k in cell.params}

    def loss() -> float:
        state = dict(start)
        for t in range(3):
            now = {k: v[t] for k, v in inputs.items()}
            state = by_hand({**params, **now, **state})
        return float((state["h"] * weights).sum())

    kernel = derive.compile(cell, target="numpy", dtype="float64")
    run = kernel.forward(params, inputs, start)
    grads = kernel.backward(run, d_states={"h": weights})
    for given, found in ((params, grads.params), (inputs, grads.inputs), (start, grads.states)):
        for name, array in given.items():
            for at in random.integers(array.size, size=4):
                place = np.unravel_index(at, array.shape)
                kept, size = array[place], 1e-5
                array[place] = kept + size
                above = loss()
                array[place] = kept - size
                slope = (above - loss()) / (2 * size)
                array[place] = kept
                assert abs(found[name][place] - slope) < 1e-7 * max(1, abs(slope)), (name, place)


@pytest.mark.parametrize("form", [None, *TRIED["lstm"]["layer_norm"]])
def test_all_options_of_lstm_together_compute_what_they_say(form: str | None) -> None:
    given = {**EVERYTHING, "layer_norm": form}
    cell = cells.lstm(**given)
    check(cell, lstm_by_hand, **given)
    assert cell.states == {"h": ("P",), "c": ("H",)}
    assert cell.params["U_f"] == ("H", "P") and cell.params["W_p"] == ("P", "H")
    assert derive.Cell.parse(cell.to_text()) == cell


@pytest.mark.parametrize("activation", typing.get_args(Activation))
def test_every_activation_is_the_function_of_its_name(activation: str) -> None:
    cell = cells.rnn(activation=activation)
    low = 0.01 if activation in ("log", "log1p", "sqrt") else -1.5
    values = draw(cell, low=low)
    assert distance(step(cell, values), rnn_by_hand(values, activation)) < TOLERANCE


def test_the_activations_are_the_elementwise_functions_of_one_argument_and_identity() -> None:
    unary = {name for name, record in TABLE.items() if record.public and record.arity == 1}
    assert set(typing.get_args(Activation)) == unary | {"identity"}
    assert set(BY_HAND) <= unary | {"identity"}  # of others the oracle is asked


def test_the_cell_state_of_tensorflows_layer_norm_is_normalised_and_that_of_ba_is_not() -> None:
    # Mutants: the right function under the wrong name is far away.
    for wrong, right in (("fastrnns", "ba2016"), ("supercell", "tensorflow")):
        cell = cells.lstm(layer_norm=right)
        other = cells.lstm(layer_norm=wrong)
        values = draw(other) | draw(cell)
        assert distance(step(cell, values), step(other, values)) > 0.1


def test_the_output_gate_sees_the_clipped_new_cell_state() -> None:
    cell = cells.lstm(peephole=True, cell_clip=0.1)
    values = draw(cell)
    assert np.abs(step(cell, values)["c"]).max() <= 0.1
    lines = cell.to_text().splitlines()
    assert any(line.startswith("o ") and "p_o * c'" in line for line in lines)


# --- identities -----------------------------------------------------------------------------


def same(a: derive.Cell, b: derive.Cell, turn: Callable[[Arrays], Arrays]) -> float:
    """How far b, with the parameters `turn` makes of those of a, is from a."""
    values = draw(a)
    return distance(step(a, values), step(b, values | turn(values)))


def test_z_that_keeps_is_z_that_writes_with_the_signs_turned_round() -> None:
    for reset in ("before", "after"):
        keeping = cells.gru(reset=reset)
        writing = cells.gru(reset=reset, keeps="candidate")
        turned = [name for name in keeping.params if name in ("W_z", "U_z", "b_z", "b_hz")]
        assert same(keeping, writing, lambda v, t=turned: {k: -v[k] for k in t}) < TOLERANCE


def test_cifg_is_an_lstm_with_tied_gates() -> None:
    turn = lambda v: {f"{k}_i": -v[f"{k}_f"] for k in ("W", "U", "b")}  # noqa: E731
    assert same(cells.cifg(), cells.lstm(), turn) < TOLERANCE
    assert same(cells.cifg(), cells.cifg(gate="input"), turn) < TOLERANCE
    assert same(cells.cifg(), cells.lstm(coupled=True), lambda v: {}) == 0


def test_janet_without_beta_is_ugrnn_and_light_gru_with_tanh() -> None:
    def ugrnn(v: Arrays) -> Arrays:
        gate = {f"{k}_g": v[f"{k}_f"] for k in ("W", "U", "b")}
        candidate = {f"{k}_c": v[f"{k}_g"] for k in ("W", "U", "b")}
        return gate | candidate | {"b_g": v["b_f"] - 2}

    def ligru(v: Arrays) -> Arrays:
        return {f"{k}_{to}": v[f"{k}_{of}"] for k in ("W", "U", "b") for of, to in ("fz", "gn")}

    assert same(cells.janet(beta=0), cells.ugrnn(forget_bias=2), ugrnn) < TOLERANCE
    assert same(cells.janet(beta=0), cells.ligru(activation="tanh"), ligru) < TOLERANCE
    assert same(cells.janet(), cells.ugrnn(forget_bias=2), ugrnn) > 0.1


JOINED: list[dict[str, Any]] = [
    {},
    {"forget_bias": 1.0, "activation": "relu"},
    {"peephole": True, "cell_clip": 0.4},
    {"projection": True, "proj_clip": 0.3, "recurrent_activation": "hard_sigmoid"},
]


@pytest.mark.parametrize("given", JOINED)
def test_the_joined_lstm_is_the_lstm_with_its_matrices_in_one_kernel(
    given: dict[str, Any],
) -> None:
    apart, joined = cells.lstm(**given), cells.lstm(joined=True, **given)
    values, random = draw(apart), np.random.default_rng(2)
    whole = {name: array for name, array in values.items() if name in joined.params}
    gates = "igfo"  # the order of the code, where g is called j
    rows = [np.concatenate([values[f"W_{k}"], values[f"U_{k}"]], axis=1) for k in gates]
    whole |= {"K": np.concatenate(rows), "b": np.concatenate([values[f"b_{k}"] for k in gates])}
    x = random.normal(size=(4, B, SIZES["I"]))
    found = []
    for cell, params in ((apart, {k: values[k] for k in apart.params}), (joined, whole)):
        kernel = derive.compile(cell, target="numpy", dtype="float64")
        run = kernel.forward(params, x, {k: values[k] for k in ("h", "c")})
        grads = kernel.backward(run, np.cos(run.output))
        found.append((run.output, grads.inputs["x"], *grads.states.values()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_mgu_is_a_gru_with_tied_gates() -> None:
    gru = cells.gru(reset="before", keeps="candidate")
    tie = lambda v: {f"{k}_{to}": v[f"{k}_f"] for k in ("W", "U", "b") for to in "rz"}  # noqa: E731
    assert same(cells.mgu(), gru, tie) < TOLERANCE


def test_reset_before_is_reset_after_only_with_a_diagonal_matrix() -> None:
    before, after = cells.gru(reset="before"), cells.gru(biases=1)
    values = draw(before)
    assert distance(step(before, values), step(after, values)) > 0.1
    values["U_n"] = np.diag(np.diag(values["U_n"]))
    assert distance(step(before, values), step(after, values)) < TOLERANCE


def test_two_biases_are_one_except_in_the_candidate_of_reset_after() -> None:
    def add(gates: str) -> Callable[[Arrays], Arrays]:
        return lambda v: {f"b_{k}": v[f"b_{k}"] + v[f"b_h{k}"] for k in gates}

    two, one = cells.gru(reset="before", biases=2), cells.gru(reset="before", biases=1)
    assert same(two, one, add("rzn")) < TOLERANCE
    two, one = cells.gru(biases=2), cells.gru(biases=1)
    assert same(two, one, add("rzn")) > 0.1
    # With b_hn zero, the rest adds up.
    values = draw(two) | {"b_hn": np.zeros(SIZES["H"])}
    assert distance(step(two, values), step(one, values | add("rzn")(values))) < TOLERANCE


@pytest.mark.parametrize("name", ["lstm", "cifg", "ugrnn"])
def test_a_forget_bias_is_added_to_the_bias_of_the_gate(name: str) -> None:
    function = getattr(cells, name)
    b = "b_g" if name == "ugrnn" else "b_f"
    plain, shifted = function(forget_bias=0), function(forget_bias=1.5)
    assert same(shifted, plain, lambda v: {b: v[b] + 1.5}) < TOLERANCE


def test_tanh_is_a_sigmoid_of_twice_the_argument() -> None:
    cell = cells.rnn(activation="sigmoid")
    values = draw(cell)
    twice = values | {name: 2 * values[name] for name in cell.params}
    assert np.abs(step(cells.rnn(), values)["h"] - (2 * step(cell, twice)["h"] - 1)).max() < 1e-14


def test_the_log_space_weights_of_min_lstm_hold_up_where_its_gates_underflow() -> None:
    cell = cells.min_lstm(log_space=True)
    values = draw(cell)
    values["b_f"], values["b_i"] = values["b_f"] - 800, values["b_i"] - 801
    shifted = values | {"b_f": values["b_f"] + 790, "b_i": values["b_i"] + 790}
    # Far below zero only the difference of the two pre-activations counts, up to exp(-5).
    assert distance(step(cell, values), step(cell, shifted)) < 0.05


# --- the catalogue --------------------------------------------------------------------------


def test_every_entry_needs_no_argument_and_is_called_what_its_cell_is_called() -> None:
    for name in cells.names():
        cell = getattr(cells, name)()
        assert cell.name == name and cell == cells.from_spec(name)
        assert re.search(r"(19|20)\d\d", cell.doc)
    for name in EVERY_FAMILY:
        assert cells.family(name).__doc__


def test_every_family_has_an_entry_and_every_option_is_tried() -> None:
    assert set(EVERY_FAMILY) == {family for family, _ in cells.ENTRIES.values()}
    assert set(TRIED) == set(FAMILIES)
    for name in FAMILIES:
        assert tuple(TRIED[name]) == tuple(option.name for option in cells.options(name))


def test_different_options_have_different_names() -> None:
    seen = {}
    for family, given in CASES:
        seen.setdefault(getattr(cells, family)(**given).name, []).append(given)
    assert all(len(set(map(str, map(sorted, map(dict.items, g))))) == 1 for g in seen.values())


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "lstm_forget_bias_1"),
        (1.0, "lstm_forget_bias_1"),
        (np.float32(0.5), "lstm_forget_bias_0p5"),
        (-0.3, "lstm_forget_bias_m0p3"),
        (1e-7, "lstm_forget_bias_1em07"),
        (1e22, "lstm_forget_bias_1e22"),
        (-0.0, "lstm"),
    ],
)
def test_a_number_keeps_its_digits_in_the_name(value: Any, name: str) -> None:
    cell = cells.lstm(forget_bias=value)
    assert cell.name == name
    assert derive.Cell.parse(cell.to_text()) == cell


def test_a_name_spells_the_options_in_the_order_of_the_signature() -> None:
    a = cells.lstm(layer_norm="ba2016", peephole=True)
    b = cells.from_spec("lstm:peephole=true,layer_norm=ba2016")
    assert a.name == b.name == "lstm_peephole_layer_norm_ba2016"
    assert cells.gru(reset="before", biases=1).name == "gru_reset_before_biases_1"
    assert cells.from_spec("lstm_peephole:peephole=false").name == "lstm"


def test_the_gates_of_lstm_are_in_the_order_i_f_g_o() -> None:
    params = list(cells.lstm().params)
    assert params == [f"{kind}_{gate}" for kind in "WUb" for gate in "ifgo"]
    assert list(cells.gru().params)[:3] == ["W_r", "W_z", "W_n"]


def test_the_names_of_the_catalogue_need_no_sympy() -> None:
    code = "import sys, derive; derive.cells.names(); print('sympy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_the_options_of_an_entry_have_the_defaults_it_presets() -> None:
    table = {option.name: option for option in cells.options("gru_reset_before")}
    assert table["reset"] == Option(
        "reset",
        str,
        False,
        ("before", "after"),
        "before",
        "whether r acts on h before or after the product with U_n",
    )
    assert table["reset"].type == "before or after"
    assert table["biases"].type == "1 or 2 or none"
    assert table["activation"].type == "activation"
    lstm = {option.name: option for option in cells.options("lstm")}
    assert lstm["forget_bias"].type == "number" and lstm["cell_clip"].type == "number or none"
    assert lstm["peephole"].type == "true or false"
    assert cells.options("mgu") == ()


# --- errors ---------------------------------------------------------------------------------

REFUSED_SPECS = {
    "householder_rn": f"""\
the catalogue has no cell 'householder_rn'
  known: {", ".join(cells.names())}
  hint: did you mean householder_rnn?""",
    "lstm:": """\
an option is missing in 'lstm:'
  hint: lstm:forget_bias=1""",
    "mgu:": """\
an option is missing in 'mgu:'
  hint: mgu""",
    "lstm:peephole": """\
'peephole' has no value in 'lstm:peephole'
  hint: lstm:peephole=true""",
    "gru:rest": """\
gru has no option 'rest'
  known: reset, keeps, biases, activation, recurrent_activation
  hint: did you mean reset?""",
    "gru:rest=before": """\
gru has no option 'rest'
  known: reset, keeps, biases, activation, recurrent_activation
  hint: did you mean reset?""",
    "mgu:a=1": """\
mgu has no option 'a'
  there are none""",
    "gru:reset=befor": """\
reset of gru cannot be befor
  values: before, after
  meaning: whether r acts on h before or after the product with U_n
  hint: did you mean before?""",
    "gru:biases=3": """\
biases of gru cannot be 3
  values: 1, 2, none
  meaning: vectors a gate; none: 2 with reset=after, 1 with reset=before""",
    "lstm:peephole=1": """\
peephole of lstm cannot be 1
  values: true, false
  meaning: i and f see the cell state, o the next one, by p_i p_f p_o""",
    "lstm:forget_bias=one": """\
forget_bias of lstm cannot be one
  values: number
  meaning: added to the forget gate's pre-activation at run time""",
    "lstm:forget_bias=none": """\
forget_bias of lstm cannot be none
  values: number
  meaning: added to the forget gate's pre-activation at run time""",
    "lstm:forget_bias=nan": "forget_bias of lstm is a finite number, not nan",
    "lstm:peephole=true,peephole=true": (
        "peephole is given twice in 'lstm:peephole=true,peephole=true'"
    ),
    "lstm:cell_clip=0": "cell_clip of lstm is a positive bound, not 0",
    "lstm:proj_clip=1": """\
proj_clip of lstm bounds the projection, and there is none
  hint: projection=True, proj_clip=1""",
    "lstm:joined=true,coupled=true": """\
joined of lstm is TensorFlow's form, with four gates and no layer norm
  hint: joined=True, peephole=True""",
    "min_gru:log_state=true": """\
log_state of min_gru needs the positive candidate
  hint: log_space=True, log_state=True""",
    "cifg:gate=input,forget_bias=1": """\
forget_bias of cifg needs a forget gate with parameters
  hint: gate=forget, forget_bias=1""",
    "lstm:cell_clip=": """\
cell_clip of lstm cannot be empty
  values: number or none
  meaning: bound on the size of c', before o and h' see it""",
}


@pytest.mark.parametrize("spec", REFUSED_SPECS)
def test_a_spec_that_means_nothing_is_refused(spec: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        cells.from_spec(spec)
    assert str(caught.value) == REFUSED_SPECS[spec]


def test_a_spec_may_have_spaces_and_capitals() -> None:
    spec = " lstm : peephole = True , cell_clip = none, forget_bias = 1e0 "
    assert cells.from_spec(spec) == cells.lstm(peephole=True, forget_bias=1)


REFUSED_CALLS: list[tuple[Callable[[], Any], type[DeriveError], str]] = [
    (
        lambda: cells.lstm(peephol=True),  # type: ignore[call-arg]
        ArgumentTypeError,
        "lstm has no option 'peephol'\n"
        "  known: forget_bias, peephole, projection, cell_clip, proj_clip, coupled, activation, "
        "recurrent_activation, layer_norm, joined\n"
        "  hint: did you mean peephole?",
    ),
    (
        lambda: cells.lstm(1.0),  # type: ignore[misc]
        ArgumentTypeError,
        "the options of lstm are keywords\n  hint: lstm(forget_bias=1.0)",
    ),
    (
        lambda: cells.mgu(1.0),  # type: ignore[call-arg]
        ArgumentTypeError,
        "the options of mgu are keywords\n  hint: mgu()",
    ),
    (
        lambda: cells.lstm(peephole=1),  # type: ignore[arg-type]
        ArgumentTypeError,
        "peephole of lstm cannot be 1\n"
        "  values: true, false\n"
        "  meaning: i and f see the cell state, o the next one, by p_i p_f p_o",
    ),
    (
        lambda: cells.janet(beta=True),
        ArgumentTypeError,
        "beta of janet cannot be True\n"
        "  values: number\n"
        "  meaning: taken off the pre-activation where new input is let in",
    ),
    (
        lambda: cells.janet(beta="1"),  # type: ignore[arg-type]
        ArgumentTypeError,
        "beta of janet cannot be '1'\n"
        "  values: number\n"
        "  meaning: taken off the pre-activation where new input is let in",
    ),
    (
        lambda: cells.rnn(activation=np.tanh),  # type: ignore[arg-type]
        ArgumentTypeError,
        "activation of rnn cannot be <ufunc 'tanh'>\n"
        f"  values: {', '.join(typing.get_args(Activation))}\n"
        "  meaning: applied to the whole sum",
    ),
    (
        lambda: cells.gru(biases=3),  # type: ignore[arg-type]
        ArgumentError,
        "biases of gru cannot be 3\n"
        "  values: 1, 2, none\n"
        "  meaning: vectors a gate; none: 2 with reset=after, 1 with reset=before",
    ),
    (
        lambda: cells.gru(reset="afters"),  # type: ignore[arg-type]
        ArgumentError,
        "reset of gru cannot be afters\n"
        "  values: before, after\n"
        "  meaning: whether r acts on h before or after the product with U_n\n"
        "  hint: did you mean after?",
    ),
    (
        lambda: cells.lstm(cell_clip=-1.5),
        ArgumentError,
        "cell_clip of lstm is a positive bound, not -1.5",
    ),
    (
        lambda: cells.ugrnn(forget_bias=math.inf),
        ArgumentError,
        "forget_bias of ugrnn is a finite number, not inf",
    ),
    (
        lambda: cells.from_spec(b"lstm"),  # type: ignore[arg-type]
        ArgumentTypeError,
        'a spec is a str, not bytes\n  hint: from_spec("lstm:peephole=true")',
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED_CALLS)
def test_a_wrong_option_is_refused(
    call: Callable[[], Any], error: type[DeriveError], text: str
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text


def test_a_cell_that_the_catalogue_lacks_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"'derive\.cells' has no attribute 'lstn'"):
        cells.lstn  # noqa: B018
    assert set(cells.names()) < set(dir(cells))
