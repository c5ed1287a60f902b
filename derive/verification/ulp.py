"""The elementwise functions of the shared header against mpmath: how many ulp they are off.

In: vector widths.  Out: `Figure`s: the largest error of each function, type and width, and where.
Not here: cells. The functions come as arrays from functions.c, compiled as kernels are.

Arguments are every power of two with random numbers above it, subnormal ones included, ordinary
numbers, and a crowd about each place where a function changes its formula. In float32 every
4093rd number of all that there are is compared with the function in float64 besides, which is
exact in comparison, once it has passed itself.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import mpmath
import numpy as np
from mpmath import mp

from derive.kernel.signature import Array
from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import ACTIVATIONS
from derive.symbolic.oracle import ORACLE

REALS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
WIDTHS = (1, 128, 256, 512)
#: Ulp that a power, clip ... may be off; of other functions their record says it.
ALLOWED = 2.0
_STRIDE = 4093
#: Beyond, float64 itself has no digits left of the fractions of a turn.
_TURNS = 1e30


@dataclass(frozen=True, slots=True)
class Figure:
    """The largest error of a function, in ulp of the exact value, and its argument."""

    function: str
    real: str
    bits: int
    error: float
    at: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def allowed(name: str) -> float:
    return TABLE[name].ulp if name in TABLE else ALLOWED


def figures(
    widths: Sequence[int] = WIDTHS,
    *,
    tags: Sequence[str] = tuple(REALS),
    tick: Callable[[str], None] = lambda name: None,
) -> list[Figure]:
    """Every function; `tick` is called with the name of each that is done."""
    libraries = {bits: _library(bits) for bits in widths}
    found = []
    for tag in tags:
        arguments = samples(REALS[tag])
        for name in EXACT:
            right = _exact(name, arguments)
            known: dict[bytes, tuple[float, float]] = {}  # widths give the same bits, as a rule
            for bits, library in libraries.items():
                values = _apply(library, tag, name, arguments)
                bytes_ = values.tobytes()
                if bytes_ not in known:
                    known[bytes_] = _worst(values, right, arguments)
                worst = known[bytes_]
                if tag == "f32":
                    worst = max(worst, _over_all_floats(library, name))
                found.append(Figure(name, tag, bits, *worst))
            tick(f"{name} {tag}")
    return found


def text(found: Sequence[Figure]) -> str:
    """A table: a line for each function and type, a column for each width."""
    widths = tuple(dict.fromkeys(figure.bits for figure in found))
    rows: dict[tuple[str, str], dict[int, Figure]] = {}
    for figure in found:
        rows.setdefault((figure.function, figure.real), {})[figure.bits] = figure
    head = "".join(f"{'plain C' if bits == 1 else f'{bits} bits':>10}" for bits in widths)
    lines = [f"{'largest error, ulp':<20}{head}  at"]
    for (name, tag), by_width in rows.items():
        errors = "".join(f"{by_width[bits].error:10.3f}" for bits in widths)
        worst = max(by_width.values(), key=lambda figure: figure.error)
        place = f"  {worst.at:.9g}" if worst.error else ""
        lines.append(f"{name + ' ' + tag:<20}{errors}{place}")
    return "\n".join(lines)


# --- arguments ------------------------------------------------------------------------------

#: Near these a function changes its formula, or its result ends to be a normal number.
_CHANGES = (
    0.0, 0.25, 0.3466, 0.55, 0.6931, 1.0, 1.0397, 3.0, 6.0, 9.0, 16.64, 17.3, 36.74, 37.4, 83.2,
    87.3, 88.72, 103.97, 108.3, 708.4, 709.78, 745.13, 751.8,
)  # fmt: skip


def samples(real: Any) -> Array:
    info = np.finfo(real)
    random = np.random.default_rng(1)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp)
    mantissas = random.uniform(1, 2, (2, exponents.size))
    changes = real(_CHANGES)
    beside = [np.nextafter(changes, real(side * np.inf)) for side in (-1, 1)]
    crowd = np.concatenate([v + 0.05 * random.standard_normal(8) for v in _CHANGES])
    smallest = [info.smallest_subnormal, info.tiny, info.tiny / 2, info.max, info.eps, 2.0]
    positive = [
        random.uniform(0, 4, 450), random.uniform(0, 40, 250), random.uniform(0, 760, 150),
        *np.ldexp(mantissas, exponents), np.ldexp(1.0, exponents), changes, *beside, crowd,
        smallest,
    ]  # fmt: skip
    found = np.concatenate([np.asarray(part, real) for part in positive])
    return np.concatenate([found, -found])


# --- errors ---------------------------------------------------------------------------------


def _exact(name: str, arguments: Array) -> list[mp.mpf | None]:
    """Values to far more digits than needed; None where there is no real one."""
    found = []
    with mp.workprec(max(160, BITS.get(name, 0))):
        for v in arguments:
            try:
                value = EXACT[name](mp.mpf(float(v)))
            except ZeroDivisionError:
                value = None
            if isinstance(value, mpmath.mpc):
                value = value.real if value.imag == 0 else None
            found.append(None if value is None or (mp.isinf(value) and v == 0) else value)
    return found


def _worst(values: Array, right: Sequence[mp.mpf | None], arguments: Array) -> tuple[float, float]:
    """The largest error, and its argument."""
    with mp.workprec(160):
        return max(
            (error_in_ulp(float(value), exact, values.dtype), float(v))
            for value, exact, v in zip(values, right, arguments, strict=True)
            if exact is not None
        )


def _over_all_floats(library: ctypes.CDLL, name: str) -> tuple[float, float]:
    v = np.arange(0, 2**32, _STRIDE, dtype=np.uint32).view(np.float32)
    v = v[np.isfinite(v) & (abs(v) < _TURNS if name in ("sin", "cos") else True)]
    with np.errstate(all="ignore"):
        value = _apply(library, "f32", name, v).astype(float)
        exact = _apply(library, "f64", name, v.astype(float))
        exponent = np.maximum(np.frexp(exact)[1], -125)
        error = abs(value - exact) / np.ldexp(1.0, exponent - 24)
        # Just above the largest float32, that number and infinity are both as near as can be.
        largest = float(np.finfo(np.float32).max)
        over = abs(exact) > largest
        near = abs(exact) < largest * (1 + 2.0**-22)
        same = np.sign(value) == np.sign(exact)
        error[over] = np.where(same & (np.isinf(value) | near), 0, np.inf)[over]
        neither = np.isnan(value) & np.isnan(exact)
        error[neither] = 0
        error[np.isnan(error)] = np.inf
    place = int(error.argmax())
    return float(error[place]), float(v[place])


def error_in_ulp(value: float, exact: mp.mpf, real: Any) -> float:
    """|value - exact| in units of the last place of `exact`."""
    info = np.finfo(real)
    if mp.isinf(exact) or abs(exact) > mp.mpf(float(info.max)) * (1 + mp.mpf(float(info.eps)) / 4):
        return 0.0 if math.isinf(value) and (value > 0) == (exact > 0) else math.inf
    if not math.isfinite(value):
        return math.inf
    return float(abs(mp.mpf(value) - exact) / ulp_of(exact, real))


def ulp_of(exact: mp.mpf, real: Any) -> mp.mpf:
    """The distance of neighbouring numbers of the type at `exact`."""
    info = np.finfo(real)
    exponent = mp.frexp(exact)[1] if exact != 0 else info.minexp
    return mp.ldexp(1, max(exponent - 1, info.minexp) - info.nmant)


# --- the library ----------------------------------------------------------------------------


def _library(bits: int) -> ctypes.CDLL:
    from derive.build.library import compile_library
    from derive.emit.c.shared_header import render_header

    source = files("derive.verification").joinpath("functions.c").read_text(encoding="utf-8")
    headers = {"derive_kernels.h": render_header(), "every_unary.h": every_unary()}
    return compile_library({"functions.c": source, **headers}, defines=(f"DK_VECTOR_BITS={bits}",))


def every_unary() -> str:
    """every_unary.h of functions.c: the functions of one argument."""
    names = [name for name in TABLE if TABLE[name].arity == 1]
    return f"#define EVERY_UNARY(tag) {' '.join(f'UNARY(tag, {name})' for name in names)}\n"


def _apply(library: ctypes.CDLL, tag: str, name: str, values: Array) -> Array:
    out = np.empty_like(values)
    library[f"{tag}_{name}"](
        ctypes.c_size_t(values.size),
        ctypes.c_void_p(values.ctypes.data),
        ctypes.c_void_p(out.ctypes.data),
    )
    return out


# --- exact values ---------------------------------------------------------------------------


EXACT: dict[str, Callable[[mp.mpf], mp.mpf]] = {
    **{name: ORACLE[name].value for name in (*ACTIVATIONS, "gaussian")},
    "clip": lambda v: min(max(v, mp.mpf(-2)), mp.mpf(3)),
    "pow_2": lambda v: v**2,
    "pow_3": lambda v: v**3,
    "pow_m1": lambda v: 1 / v,
    "pow_m2": lambda v: 1 / v**2,
    "pow_half": mp.sqrt,
    "pow_mhalf": lambda v: 1 / mp.sqrt(v),
    "pow_3half": lambda v: v * mp.sqrt(v),
    "pow_m3half": lambda v: 1 / (v * mp.sqrt(v)),
    "pow_tenth": lambda v: v ** mp.mpf(0.1),
    "pow_2point5": lambda v: v ** mp.mpf(2.5),
}

#: For the exact value.
BITS: Mapping[str, int] = {name: exact.bits for name, exact in ORACLE.items()}
