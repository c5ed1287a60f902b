"""Every function, its derivative and second derivative, as kernels compute them, against mpmath.

In: targets.  Out: `Figure`s: the largest error of each function and derivative, and where.
Not here: the functions of the shared header by themselves, at every vector width (ulp.py).

One cell holds every function of the language, each of an input of its own. So what is measured is
what the printers wrote and the schedule arranged: the gradient of that input, for a cotangent of 1,
is the derivative. The second one is the gradient of the tangent cell, as in double backward.
Arguments are those of ulp.py, infinities and NaN besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import sympy
from mpmath import mp

from derive import targets as table
from derive.kernel.signature import Array
from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import OSCILLATES, Expr, Looser
from derive.symbolic.functions import ACTIVATIONS
from derive.symbolic.oracle import ORACLE
from derive.verification import bends
from derive.verification.ulp import (
    BITS,
    EXACT,
    REALS,
    error_in_ulp,
    samples,
    ulp_of,
)

if TYPE_CHECKING:
    from derive.cell import Cell

#: Ulp that a function and a derivative may be off.
ALLOWED = {"value": 4.0, "slope": 16.0, "bend": 16.0}
#: Every so many of the arguments of ulp.py are taken.
STRIDE = {"f32": 3, "f64": 7}
_DTYPES = {"f32": "float32", "f64": "float64"}
_ZERO, _ONE, _HALF = mp.mpf(0), mp.mpf(1), mp.mpf(1) / 2
_INF = math.inf

Real = Callable[[mp.mpf], mp.mpf]


_TENTH = "v**-0.9 overflows, a tenth of it would not"
#: By function; see docs/explanation/accuracy.md.
LOOSER: Mapping[str, tuple[Looser, ...]] = {
    name: (*own, *bends.LOOSER.get(name, ()))
    for name, own in {
        **dict.fromkeys(bends.LOOSER, ()),
        **{name: record.looser for name, record in TABLE.items() if record.looser},
        "pow_tenth": (Looser("slope", 0, 2.0**-126, _INF, _TENTH, reals=("f32",)),),
    }.items()
}


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of a function ("value"), derivative ("slope") or second derivative ("bend") that
    used most of its bound.

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
    targets: Sequence[str] | None = None,
    *,
    tags: Sequence[str] = tuple(REALS),
    names: Sequence[str] | None = None,
    tick: Callable[[str], None] = lambda name: None,
) -> list[Figure]:
    """Every function and derivative; `tick` is called with the name of each that is done.

    targets: None for those that are meant where none is named.
    """
    targets = table.usual() if targets is None else targets
    found = []
    for tag in tags:
        arguments = _arguments(tag)
        results = {target: results_of(target, tag, arguments) for target in targets}
        for name in names or TEXTS:
            for kind, exact in zip(KINDS, _exact(name, arguments[: -len(_EDGES)]), strict=True):
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
        line = f"{name + chr(39) * KINDS.index(kind):<20}"
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
    **{name: f"{name}(v)" for name in ACTIVATIONS},
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


def _within(inside: bool, slope: Any = 1) -> mp.mpf:
    return mp.mpf(slope) if inside else _ZERO


#: The derivative; on a kink what the contract says.
SLOPES: Mapping[str, Real] = {
    **{name: slope for name in ACTIVATIONS if (slope := ORACLE[name].slope) is not None},
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

KINDS = ("value", "slope", "bend")
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
    for name, array in _bends_of(target, tag, arguments).items():
        found["bend", name] = array
    return found


def _bends_of(target: str, tag: str, arguments: Array) -> dict[str, Array]:
    """Second derivatives: the gradient of y'(v) t_v by v, where t_v is 1."""
    from derive import pipeline

    tangent = pipeline.tangent(cell_of_functions())
    kernel = pipeline.compile(tangent, target=target, dtype=_DTYPES[tag])
    x = arguments.reshape(1, 1, -1)
    inputs = {name: np.ones_like(x) for name in tangent.inputs}
    inputs |= {f"v_{name}": x for name in TEXTS}
    state = {name: np.zeros((1, 1), arguments.dtype) for name in tangent.states}
    run = kernel.forward({}, inputs, state)
    grads = kernel.backward(run, {f"t_y_{name}": np.ones_like(x) for name in TEXTS})
    return {name: grads.inputs[f"v_{name}"].reshape(-1) for name in TEXTS}


def _arguments(tag: str) -> Array:
    real = REALS[tag]
    every = samples(real)
    own = np.array([-6, -5, -90, -0.7518, -1.2785, 0.5, -2, 3, -3, 1, -1, 0], real)
    return np.concatenate([every[:: STRIDE[tag]], own, -own, np.array(_EDGES, real)])


# --- errors ---------------------------------------------------------------------------------------


_Exact = list[mp.mpf | None]


def _exact(name: str, arguments: Array) -> tuple[_Exact, _Exact, _Exact]:
    """Values and derivatives to many digits; None where there is none. A second derivative is that
    of a slope which is a number of the type."""
    values: _Exact = []
    slopes: _Exact = []
    second: _Exact = []
    largest = float(np.finfo(arguments.dtype).max)
    with mp.workprec(BITS.get(name, 140)):
        for v in arguments:
            value = _real(VALUES[name], mp.mpf(float(v)))
            values.append(value)
            slope = None if value is None else _real(SLOPES[name], mp.mpf(float(v)))
            slopes.append(slope)
            there = slope is not None and abs(slope) <= largest
            bent = there and not bends.is_kink(name, float(v))
            second.append(_real(bends.BENDS[name], mp.mpf(float(v))) if bent else None)
    return values, slopes, second


def _real(function: Real, v: mp.mpf) -> mp.mpf | None:
    try:
        value = function(v)
    except ZeroDivisionError:
        return None
    if isinstance(value, mpmath.mpc):
        value = value.real if value.imag == 0 else None
    return None if value is None or mp.isinf(value) else value


def _looser(name: str, kind: str, target: str, tag: str) -> tuple[Looser, ...]:
    return tuple(
        rule
        for rule in LOOSER.get(name, ())
        if rule.kind == kind
        and (table.row(target).numpy_functions or not rule.numpy_functions)
        and (not rule.reals or tag in rule.reals)
    )


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
        if math.isinf(place) and kind != "bend":  # there 0 times an infinite slope takes part
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
    if name in TABLE:
        limit = TABLE[name].limits[int(place > 0)]
        if limit is OSCILLATES or kind == "value":
            return None if limit is None else _number(limit)
    with mp.workprec(140):
        if _real(VALUES[name], place) is None:
            return None
        return _real((VALUES if kind == "value" else SLOPES)[name], place)


def _number(limit: Expr) -> mp.mpf | float:
    if limit is OSCILLATES:
        return math.nan
    if limit.is_infinite:
        return mp.inf if limit > 0 else -mp.inf
    return mp.mpf(str(sympy.N(limit, 40)))


def _reaches(got: float, limit: mp.mpf | float, real: Any) -> bool:
    if isinstance(limit, float):
        return math.isnan(got)
    return error_in_ulp(got, limit, real) <= ALLOWED["value"]
