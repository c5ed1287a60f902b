"""The functions of derive_mcu.h, beside double precision, as this machine computes them."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from derive.build.library import compile_library
from derive.emit.c.syntax import scalar_power
from derive.emit.mcu.shared_header import render_header
from derive.kernel.mcu_backend import FLAGS
from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

ONE: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "tanh": np.tanh,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "softplus": lambda v: np.maximum(v, 0) + np.log1p(np.exp(-abs(v))),
    "logsigmoid": lambda v: np.minimum(v, 0) - np.log1p(np.exp(-abs(v))),
    "silu": lambda v: v / (1 + np.exp(-v)),
    "silu_slope": lambda v: (1 + v / (1 + np.exp(v))) / (1 + np.exp(-v)),
    "gelu": lambda v: v * _phi(v),
    "gelu_slope": lambda v: _phi(v) + v * np.exp(-v * v / 2) / math.sqrt(2 * math.pi),
    "gaussian": lambda v: np.exp(-v * v / 2),
    "abs": abs,
    "sign": np.sign,
    "floor": np.floor,
    "relu": lambda v: np.maximum(v, 0),
    "softsign": lambda v: v / (1 + abs(v)),
    "elu": lambda v: np.where(v > 0, v, np.expm1(v)),
    "selu": lambda v: float(SELU_SCALE) * np.where(v > 0, v, float(SELU_ALPHA) * np.expm1(v)),
    "leaky_relu": lambda v: np.where(v > 0, v, float(LEAKY_SLOPE) * v),
    "hard_sigmoid": lambda v: np.clip((v + 3) / 6, 0, 1),
    "hard_tanh": lambda v: np.clip(v, -1, 1),
    "hard_swish": lambda v: v * np.clip((v + 3) / 6, 0, 1),
    "square": lambda v: v * v,
}
#: Units in the last place of float32; 3 where nothing else stands.
ULP = {
    "gelu_slope": 12.0,
    "erf": 4.0,
    "silu": 4.0,
    "silu_slope": 12.0,
    "gelu": 8.0,
    "gaussian": 4.0,
}
#: Where the slope crosses 0 it may be off by this many roundoffs of 1.
NEAR_ROOT = {"gelu_slope": 4, "silu_slope": 4}
SMALLEST = 1.7e-38  # below it a result may be 0

POWERS = ((0.1, -1.5), (1.7, 2.3), (-0.3, 12.7), (0.7, 0.01))


def _phi(v: Any) -> Any:
    return np.vectorize(lambda u: 0.5 * math.erfc(-u / math.sqrt(2)), otypes=[float])(v)


def arguments() -> Any:
    """Of every size, both signs, with 0 and what lies beyond the range of functions."""
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.uniform(-30, 2.3, 1500)
    around = random.uniform(-20, 20, 3000)
    edges = np.array([0.0, 1.0, 0.75, 3.0, 9.1, 17.3, 86.99, 87.0, 88.7, 88.73, 104.0, 1e30])
    whole = np.concatenate([around, sizes, -sizes, edges, -edges, -edges + 1e-3])
    return whole.astype(np.float32)


@cache
def library(*flags: str) -> ctypes.CDLL:
    lines = [render_header(), "#include <stddef.h>"]
    call = "for (int n = 0; n < count; ++n) {{ y[n] = {}; }}"
    for name in ONE:
        body = call.format(f"derive_{name}(x[n])")
        lines.append(f"void of_{name}(const float *x, float *y, int count) {{ {body} }}")
    for exponent in (e for pair in POWERS for e in pair):
        name = f"pow_{exponent}".replace("-", "m").replace(".", "_")
        body = call.format(scalar_power("x[n]", exponent))
        lines.append(f"void of_{name}(const float *x, float *y, int count) {{ {body} }}")
    return compile_library({"math.c": "\n".join(lines)}, flags=(*FLAGS, *flags))


def computed(name: str, x: Any, *flags: str) -> Any:
    y = np.empty_like(x)
    pointers = (ctypes.c_void_p(array.ctypes.data) for array in (x, y))
    library(*flags)[f"of_{name}"](*pointers, ctypes.c_int(x.size))
    return y.astype(np.float64)


def test_every_function_of_the_language_is_in_the_header() -> None:
    text = render_header()
    written = {"less", "less_equal", "equal", "not_equal", "stop_gradient"}  # by operators
    assert not [n for n in TABLE if n not in written and f"float derive_{n}(" not in text]


@pytest.mark.parametrize("flags", [(), ("-march=native",)], ids=["plain", "with fma"])
@pytest.mark.parametrize("name", ONE)
def test_a_function_is_right_to_a_few_units(name: str, flags: tuple[str, ...]) -> None:
    x = arguments()
    with np.errstate(all="ignore"):
        wanted = ONE[name](x.astype(np.float64))
        rounded = wanted.astype(np.float32)
        got = computed(name, x, *flags)
        finite = np.isfinite(rounded)
        unit = np.spacing(np.maximum(abs(rounded), np.float32(SMALLEST))).astype(np.float64)
        allowed = ULP.get(name, 3.0) * unit + NEAR_ROOT.get(name, 0) * 2.0**-24
        # Below the smallest normal number, and a little above, 0 stands for a result.
        least = SMALLEST * (1 + abs(x).astype(np.float64))
        allowed = np.where(abs(wanted) < least, 2 * least, allowed)
        off = np.where(finite, abs(got - wanted), 0)
        worst = np.argmax(np.where(finite, off / allowed, 0))
    assert off[worst] <= allowed[worst], (x[worst], got[worst], wanted[worst])
    assert np.array_equal(np.isnan(got), np.isnan(rounded))
    assert np.array_equal(got[~finite], rounded[~finite].astype(np.float64), equal_nan=True)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_gates_are_off_by_at_most_two_in_ten_million(name: str) -> None:
    x = np.linspace(-30, 30, 400_001, dtype=np.float32)
    with np.errstate(over="ignore"):
        wanted = ONE[name](x.astype(np.float64))
    for flags in ((), ("-march=native",)):
        assert abs(computed(name, x, *flags) - wanted).max() <= 2e-7


@pytest.mark.parametrize("exponent", [e for pair in POWERS for e in pair])
def test_a_power_is_right_to_a_few_units(exponent: float) -> None:
    x = arguments()
    x = x[x > 0]
    with np.errstate(all="ignore"):
        wanted = x.astype(np.float64) ** exponent
        got = computed(f"pow_{exponent}".replace("-", "m").replace(".", "_"), x)
        normal = (wanted > SMALLEST * 4) & (wanted < 3e38)
    off = abs(got - wanted)[normal] / wanted[normal]
    assert off.max() <= 2.0**-24 * (6 + abs(exponent))


def test_nan_stays_nan_and_infinity_has_its_limit() -> None:
    x = np.array([np.nan, np.inf, -np.inf], dtype=np.float32)
    with np.errstate(all="ignore"):
        for name, function in ONE.items():
            got = computed(name, x)
            assert np.isnan(got[0]), name
            if name not in ("silu", "silu_slope", "gelu", "gelu_slope", "softsign", "hard_swish"):
                wanted = function(x.astype(np.float64))
                assert np.allclose(got[1:], wanted[1:], rtol=2e-7, atol=0, equal_nan=True), name
    assert np.array_equal(computed("silu", x[1:]), [np.inf, 0.0])
    assert np.array_equal(computed("softsign", x[1:]), [1.0, -1.0])
