"""Every function and its derivative, as kernels of both targets compute them, against mpmath.

In: targets.  Out: `Figure`s: the largest error of each function and derivative, and where.
Not here: the functions of the shared header by themselves, at every vector width (ulp.py).

One cell holds every function of the language, each of an input of its own. So what is measured is
what the printers wrote and the schedule arranged: the gradient of that input, for a cotangent of 1,
is the derivative. Arguments are those of ulp.py, infinities and NaN besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
from mpmath import mp

from derive.kernel.signature import Array
from derive.verification.ulp import (
    CANCEL,
    EXACT,
    REALS,
    SELU_ALPHA,
    SELU_SCALE,
    error_in_ulp,
    samples,
    ulp_of,
)

if TYPE_CHECKING:
    from derive.cell import Cell

#: Ulp that a function and a derivative may be off.
ALLOWED = {"value": 4.0, "slope": 16.0}
#: Every so many of the arguments of ulp.py are taken.
STRIDE = {"f32": 3, "f64": 7}
_DTYPES = {"f32": "float32", "f64": "float64"}
TARGETS = ("numpy", "c")
_ZERO, _ONE, _HALF = mp.mpf(0), mp.mpf(1), mp.mpf(1) / 2
_INF = math.inf

Real = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True, slots=True)
class Looser:
    """Where a result has no bound relative to itself.

    For arguments from `low` to `high` it may besides be off by `units` units of roundoff (2^-24,
    2^-53) of 1, or, `subnormal`, by the smallest normal number.  why: for a reader.
    """

    low: float
    high: float
    units: float
    why: str
    subnormal: bool = False
    targets: tuple[str, ...] = TARGETS
    reals: tuple[str, ...] = tuple(_DTYPES)

    def bound(self, real: str) -> str:
        if self.subnormal:
            return f"+ the smallest normal number from {self.low:g} to {self.high:g}: {self.why}"
        unit = {"f32": "2^-24", "f64": "2^-53"}[real]
        return f"+ {self.units:g} * {unit} from {self.low:g} to {self.high:g}: {self.why}"


_OVERFLOW = "exp(-v) overflows, and 0 stands for a subnormal number"
_SATURATED = "computed of the rounded value, which is all that is kept"
_ROOT = "the derivative has a root there, that is no number of the type"

#: By (kind, function); see docs/explanation/accuracy.md.
LOOSER: Mapping[tuple[str, str], tuple[Looser, ...]] = {
    ("value", "sigmoid"): (Looser(-_INF, -88, 0, _OVERFLOW, True, ("numpy",)),),
    ("slope", "softplus"): (Looser(-_INF, -88, 0, _OVERFLOW, True, ("numpy",)),),
    ("slope", "logsigmoid"): (Looser(88, _INF, 0, _OVERFLOW, True, ("numpy",)),),
    ("slope", "sigmoid"): (
        Looser(1, _INF, 2, _SATURATED),
        Looser(-_INF, -88, 0, _OVERFLOW, True, ("numpy",)),
    ),
    ("slope", "tanh"): (Looser(0.5, _INF, 3, _SATURATED), Looser(-_INF, -0.5, 3, _SATURATED)),
    ("slope", "gelu"): (Looser(-1, -0.6, 2, _ROOT),),
    ("slope", "silu"): (Looser(-1.5, -1.1, 2, _ROOT),),
    ("slope", "pow_tenth"): (
        Looser(0, 2.0**-126, _INF, "v**-0.9 overflows, a tenth of it would not", reals=("f32",)),
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of a function ("value") or derivative ("slope") that used most of its bound.

    error: in ulp of the exact result.  at: its argument.  used: error / bound, at most 1.  bound:
    in words.  edges: what is wrong at infinities and NaN; "" if nothing is.
    """

    function: str
    kind: str
    target: str
    real: str
    error: float
    at: float
    used: float
    bound: str
    edges: str

    @property
    def ok(self) -> bool:
        return self.used <= 1 and not self.edges

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def figures(
    targets: Sequence[str] = TARGETS,
    *,
    tags: Sequence[str] = tuple(REALS),
    names: Sequence[str] | None = None,
    tick: Callable[[str], None] = lambda name: None,
) -> list[Figure]:
    """Every function and derivative; `tick` is called with the name of each that is done."""
    found = []
    for tag in tags:
        arguments = _arguments(tag)
        results = {target: results_of(target, tag, arguments) for target in targets}
        for name in names or TEXTS:
            for kind, exact in zip(
                KINDS, _exact_pair(name, arguments[: -len(_EDGES)]), strict=True
            ):
                got = {target: results[target][kind, name] for target in targets}
                for target, values in got.items():
                    worst = _worst(name, kind, target, tag, values, exact, arguments)
                    edges = _edges(name, kind, values, got)
                    bound = _in_words(name, kind, target, tag)
                    found.append(Figure(name, kind, target, tag, *worst, bound, edges))
            tick(f"{name} {tag}")
    return found


def text(found: Sequence[Figure]) -> str:
    """A table: a line for each function and derivative, a column for each target and type."""
    columns = tuple(dict.fromkeys((figure.target, figure.real) for figure in found))
    rows: dict[tuple[str, str], dict[tuple[str, str], Figure]] = {}
    for figure in found:
        rows.setdefault((figure.function, figure.kind), {})[figure.target, figure.real] = figure
    head = "".join(f"{f'{target} {tag}':>12}" for target, tag in columns)
    lines = [f"{'largest error, ulp':<20}{head}"]
    notes: list[str] = []
    for (name, kind), by_column in rows.items():
        line = f"{name + (chr(39) if kind == 'slope' else ''):<20}"
        for column in columns:
            figure = by_column[column]
            shown = f"{figure.error:.3g}" + ("*" if "+" in figure.bound else "")
            line += f"{shown if figure.ok else shown + ' !':>12}"
            if "+" in figure.bound or not figure.ok:
                where = f"{figure.target} {figure.real} {line.split()[0]}"
                wrong = (
                    "" if figure.ok else f" FAILED, {figure.used:.3g} of the bound {figure.edges}"
                )
                notes.append(f"{where}: {figure.bound}, at {figure.at:.9g}{wrong}")
        lines.append(line)
    return "\n".join([*lines, "", "* beyond what is relative to the result:", *notes])


# --- functions as text, their values and their derivatives ----------------------------------------

TEXTS: Mapping[str, str] = {
    **{
        name: f"{name}(v)"
        for name in (
            "sigmoid tanh relu exp log log1p expm1 sqrt sin cos erf abs sign floor softplus "
            "logsigmoid softsign elu leaky_relu selu gelu silu hard_sigmoid hard_tanh "
            "stop_gradient"
        ).split()
    },
    "clip": "clip(v, -2, 3)",
    "maximum_half": "maximum(v, 0.5)",
    "minimum_half": "minimum(0.5, v)",
    "where_less_one": "where(v < 1, v, 7)",
    "pow_2": "v**2",
    "pow_3": "v**3",
    "pow_m1": "v**-1",
    "pow_m2": "v**-2",
    "pow_half": "v**0.5",
    "pow_mhalf": "v**-0.5",
    "pow_3half": "v**1.5",
    "pow_m3half": "v**-1.5",
    "pow_tenth": "v**0.1",
    "pow_2point5": "v**2.5",
}

VALUES: Mapping[str, Real] = {
    **EXACT,
    "maximum_half": lambda v: max(v, _HALF),
    "minimum_half": lambda v: min(v, _HALF),
    "where_less_one": lambda v: v if v < 1 else mp.mpf(7),
}


def _sigmoid(v: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-v))


def _normal(v: mp.mpf) -> mp.mpf:
    return mp.erfc(-v / mp.sqrt(2)) / 2 if abs(v) < 1000 else mp.mpf(int(v > 0))


def _gelu_slope(v: mp.mpf) -> mp.mpf:
    return _normal(v) + v * mp.exp(-v * v / 2) / mp.sqrt(2 * mp.pi)


def _within(inside: bool, slope: Any = 1) -> mp.mpf:
    return mp.mpf(slope) if inside else _ZERO


#: The derivative; on a kink what the contract says.
SLOPES: Mapping[str, Real] = {
    "sigmoid": lambda v: _sigmoid(v) * _sigmoid(-v),
    "tanh": lambda v: mp.sech(v) ** 2,
    "relu": lambda v: _within(v > 0),
    "exp": mp.exp,
    "log": lambda v: 1 / v,
    "log1p": lambda v: 1 / (1 + v),
    "expm1": mp.exp,
    "sqrt": lambda v: 1 / (2 * mp.sqrt(v)),
    "sin": mp.cos,
    "cos": lambda v: -mp.sin(v),
    "erf": lambda v: 2 * mp.exp(-v * v) / mp.sqrt(mp.pi),
    "abs": mp.sign,
    "sign": lambda v: _ZERO,
    "floor": lambda v: _ZERO,
    "softplus": _sigmoid,
    "logsigmoid": lambda v: _sigmoid(-v),
    "softsign": lambda v: 1 / (1 + abs(v)) ** 2,
    "elu": lambda v: _ONE if v > 0 else mp.exp(v),
    "leaky_relu": lambda v: _ONE if v > 0 else mp.mpf(1) / 100,
    "selu": lambda v: SELU_SCALE * (_ONE if v > 0 else SELU_ALPHA * mp.exp(v)),
    "gelu": _gelu_slope,
    "silu": lambda v: _sigmoid(v) * (1 + v * _sigmoid(-v)),
    "hard_sigmoid": lambda v: _within(abs(v) < 3, _ONE / 6),
    "hard_tanh": lambda v: _within(abs(v) < 1),
    "stop_gradient": lambda v: _ZERO,
    "clip": lambda v: _within(-2 <= v <= 3),
    "maximum_half": lambda v: _HALF if v == _HALF else _within(v > _HALF),
    "minimum_half": lambda v: _HALF if v == _HALF else _within(v < _HALF),
    "where_less_one": lambda v: _within(v < 1),
    "pow_2": lambda v: 2 * v,
    "pow_3": lambda v: 3 * v**2,
    "pow_m1": lambda v: -1 / v**2,
    "pow_m2": lambda v: -2 / v**3,
    "pow_half": lambda v: 1 / (2 * mp.sqrt(v)),
    "pow_mhalf": lambda v: -1 / (2 * v * mp.sqrt(v)),
    "pow_3half": lambda v: 3 * mp.sqrt(v) / 2,
    "pow_m3half": lambda v: -3 / (2 * v**2 * mp.sqrt(v)),
    "pow_tenth": lambda v: mp.mpf(0.1) * v ** mp.mpf(-0.9),
    "pow_2point5": lambda v: mp.mpf(2.5) * v ** mp.mpf(1.5),
}


# --- what kernels compute -------------------------------------------------------------------------

KINDS = ("value", "slope")
#: The last arguments: where results must agree, and are limits.
_EDGES = (-math.inf, math.inf, math.nan, 0.0, -0.0)


def cell_of_functions() -> Cell:
    """Inputs v_NAME and outputs y_NAME."""
    from derive.cell import Cell

    names = tuple(TEXTS)
    lines = ["cell functions", f"input {', '.join(f'v_{name}: H' for name in names)}", "state s: 1"]
    for name in names:
        own = re.sub(r"\bv\b", f"v_{name}", TEXTS[name])
        lines.append(f"y_{name} = {own}")
    return Cell.parse(
        "\n".join([*lines, "s' = s", f"output {', '.join(map('y_{}'.format, names))}"])
    )


def results_of(target: str, tag: str, arguments: Array) -> dict[tuple[str, str], Array]:
    """{(kind, function): results}, of one step of one row."""
    from derive import pipeline

    kernel = pipeline.compile(cell_of_functions(), target=target, dtype=_DTYPES[tag])
    x = arguments.reshape(1, 1, -1)
    state = {"s": np.zeros((1, 1), arguments.dtype)}
    run = kernel.forward({}, {f"v_{name}": x for name in TEXTS}, state)
    grads = kernel.backward(run, {f"y_{name}": np.ones_like(x) for name in TEXTS})
    found = {}
    for name in TEXTS:
        found["value", name] = run.outputs[f"y_{name}"].reshape(-1)
        found["slope", name] = grads.inputs[f"v_{name}"].reshape(-1)
    return found


def _arguments(tag: str) -> Array:
    real = REALS[tag]
    every = samples(real)
    own = np.array([-6, -5, -90, -0.7518, -1.2785, 0.5, -2, 3, -3, 1, -1, 0], real)
    return np.concatenate([every[:: STRIDE[tag]], own, -own, np.array(_EDGES, real)])


# --- errors ---------------------------------------------------------------------------------------


def _exact_pair(name: str, arguments: Array) -> tuple[list[mp.mpf | None], list[mp.mpf | None]]:
    """Values and derivatives to many digits; None where there is none."""
    values: list[mp.mpf | None] = []
    slopes: list[mp.mpf | None] = []
    with mp.workprec(400 if name in CANCEL else 140):
        for v in arguments:
            value = _real(VALUES[name], mp.mpf(float(v)))
            values.append(value)
            slopes.append(None if value is None else _real(SLOPES[name], mp.mpf(float(v))))
    return values, slopes


def _real(function: Real, v: mp.mpf) -> mp.mpf | None:
    try:
        value = function(v)
    except ZeroDivisionError:
        return None
    if isinstance(value, mpmath.mpc):
        value = value.real if value.imag == 0 else None
    return None if value is None or mp.isinf(value) else value


def _looser(name: str, kind: str, target: str, tag: str) -> tuple[Looser, ...]:
    rules = LOOSER.get((kind, name), ())
    return tuple(rule for rule in rules if target in rule.targets and tag in rule.reals)


def _in_words(name: str, kind: str, target: str, tag: str) -> str:
    relative = f"{ALLOWED[kind]:g} ulp"
    return " ".join([relative, *(rule.bound(tag) for rule in _looser(name, kind, target, tag))])


def _worst(
    name: str, kind: str, target: str, tag: str,
    values: Array, exact: Sequence[mp.mpf | None], arguments: Array,
) -> tuple[float, float, float]:  # fmt: skip
    """(error in ulp, argument, part of the bound) of the result that used most of its bound."""
    info = np.finfo(values.dtype)
    rules = _looser(name, kind, target, tag)
    worst = (0.0, 0.0, 0.0)
    with mp.workprec(140):
        for value, right, v in zip(values, exact, arguments, strict=False):
            if right is None:
                continue
            error = error_in_ulp(float(value), right, values.dtype)
            used = error / ALLOWED[kind]
            if used > 1:
                for rule in rules:
                    if rule.low <= v <= rule.high:
                        more = (
                            float(info.tiny) if rule.subnormal else rule.units * float(info.eps) / 2
                        )
                        ulp = float(ulp_of(right, values.dtype))
                        used = error / (ALLOWED[kind] + more / ulp) if more < math.inf else 0.0
            if math.isnan(used) or used > worst[2]:
                worst = error, float(v), math.inf if math.isnan(used) else used
    return worst


def _edges(name: str, kind: str, values: Array, all_targets: Mapping[str, Array]) -> str:
    """What is wrong at infinities, NaN and zeros: results that are not the limit, or not of the
    same kind (NaN, infinite, finite) and sign as those of the other targets."""
    wrong = []
    first = len(values) - len(_EDGES)
    for k, place in enumerate(_EDGES):
        got = values[first + k]
        for other, theirs in all_targets.items():
            if _nature(got) != _nature(theirs[first + k]):
                wrong.append(f"{got} where {other} has {theirs[first + k]} at {place}")
        if math.isinf(place):
            limit = _limit(name, kind, _FAR if place > 0 else -_FAR)
            if limit is not None and not _reaches(float(got), limit, values.dtype):
                wrong.append(f"{got} at {place}")
        if math.isnan(place) and kind == "value" and name not in _BLIND and not np.isnan(got):
            wrong.append(f"{got} at {place}")
    return "; ".join(dict.fromkeys(wrong))


def _nature(value: Any) -> tuple[bool, ...]:
    """Of a NaN the sign has no meaning."""
    if np.isnan(value):
        return (True,)
    return (False, bool(np.isinf(value)), bool(value == 0), bool(np.signbit(value)))


#: Stands for infinity: any function but a logarithm is there as good as its limit.
_FAR = mp.mpf(10) ** 4000
#: Functions whose value at NaN is a number: the other branch of a comparison.
_BLIND = ("where_less_one",)


def _limit(name: str, kind: str, place: mp.mpf) -> mp.mpf | float | None:
    """NaN where there is none; None where the function is not defined."""
    if name in ("sin", "cos"):
        return math.nan
    if kind == "value" and name in ("log", "log1p") and place > 0:
        return mp.inf
    with mp.workprec(140):
        if _real(VALUES[name], place) is None:
            return None
        return _real((VALUES if kind == "value" else SLOPES)[name], place)


def _reaches(got: float, limit: mp.mpf | float, real: Any) -> bool:
    if isinstance(limit, float):
        return math.isnan(got)
    return error_in_ulp(got, limit, real) <= ALLOWED["value"]
