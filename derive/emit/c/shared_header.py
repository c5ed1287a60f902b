"""The header that every generated C file includes.

In: nothing.  Out: its text, the same for every cell.
Not here: the C itself (templates/c), how the constants were found (docs/explanation/accuracy.md).

The functions are written once, in terms of the two tables below, so that single and double
precision cannot drift apart.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping
from typing import Any

from derive.build.templates import environment
from derive.emit import normal_tail
from derive.emit.c.syntax import typed_syntax
from derive.emit.limits import LIMITS
from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import COMPOSED, LANES
from derive.symbolic.code import print_expression
from derive.symbolic.composed import composed, symbols
from derive.symbolic.functions import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

Context = Mapping[str, Any]

#: (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2, lowest power first: minimax with weight |r|,
#: each coefficient rounded before the next is fitted.
EXPM1_SINGLE = (
    "0x1p-1",
    "0x1.555556p-3",
    "0x1.5554fp-5",
    "0x1.110fe2p-7",
    "0x1.6d437ap-10",
    "0x1.a28f34p-13",
)
EXPM1_DOUBLE = (
    "0x1p-1",
    "0x1.5555555555559p-3",
    "0x1.5555555555557p-5",
    "0x1.111111110f64ap-7",
    "0x1.6c16c16c15779p-10",
    "0x1.a01a01b00a43cp-13",
    "0x1.a01a01ab165fp-16",
    "0x1.71ddf7fa5404p-19",
    "0x1.27e4d13bd8832p-22",
    "0x1.af5f55fc1e14dp-26",
    "0x1.1f83f2c68ede2p-29",
)

#: (log((1 + s) / (1 - s)) - 2 s) / s^3 in z = s^2 for (1 + s) / (1 - s) in [1/sqrt 2, sqrt 2].
LOG_SINGLE = ("0x1.55558ap-1", "0x1.995272p-2", "0x1.32febcp-2")
LOG_DOUBLE = (
    "0x1.55555555555ep-1",
    "0x1.999999996b848p-2",
    "0x1.2492495139963p-2",
    "0x1.c71c4709d5021p-3",
    "0x1.74684c262d3b8p-3",
    "0x1.3970b70eef008p-3",
    "0x1.30d4a18e721b1p-3",
)

#: (tanh(x) / x - 1) / z in z = x^2 for |x| < 0.55, weight z.
TANH_SINGLE = (
    "-0x1.55554cp-2",
    "0x1.110d68p-3",
    "-0x1.b93178p-5",
    "0x1.597d3ap-6",
    "-0x1.9c731cp-8",
)
TANH_DOUBLE = (
    "-0x1.55555555554a3p-2",
    "0x1.1111111102db6p-3",
    "-0x1.ba1ba1ad994b8p-5",
    "0x1.664f45c8c0451p-6",
    "-0x1.226dddc862f38p-7",
    "0x1.d6c62af328bccp-9",
    "-0x1.7cf429439c6f2p-10",
    "0x1.2fa49495f45cbp-11",
    "-0x1.b914944573cf3p-13",
    "0x1.ac19000ce0477p-15",
)

#: Of the self-test: functions, the bits of an argument and of the value there, rounded to nearest.
KNOWN_SINGLE = (
    ("exp", 0x3F800000, 0x402DF854),  # at 1
    ("expm1", 0x3A800000, 0x3A801001),  # at 2^-10
    ("log", 0x40400000, 0x3F8C9F54),  # at 3
    ("log1p", 0x3A800000, 0x3A7FE005),  # at 2^-10
    ("tanh", 0x3E800000, 0x3E7ACBF5),  # at 1/4
    ("tanh", 0x3FC00000, 0x3F67B7CC),  # at 3/2
    ("sigmoid", 0xC1A00000, 0x310DA433),  # at -20
    ("softplus", 0xC1A00000, 0x310DA433),  # at -20
)
KNOWN_DOUBLE = (
    ("exp", 0x3FF0000000000000, 0x4005BF0A8B145769),
    ("expm1", 0x3F50000000000000, 0x3F5002002AAD5577),
    ("log", 0x4008000000000000, 0x3FF193EA7AAD030B),
    ("log1p", 0x3F50000000000000, 0x3F4FFC00AA8AB110),
    ("tanh", 0x3FD0000000000000, 0x3FCF597EA69A1C86),
    ("tanh", 0x3FF8000000000000, 0x3FECF6F9786DF577),
    ("sigmoid", 0xC034000000000000, 0x3E21B4865556B5D5),
    ("softplus", 0xC034000000000000, 0x3E21B48655A5141E),
)
#: Divided by 3, these differ from their product with 1/3 rounded, in both precisions.
DIVIDENDS = (5, 7, 10, 14, 17)

_LANES = tuple(name for name, record in TABLE.items() if record.c == LANES)
COMPARISONS = (("less", "<"), ("less_equal", "<="), ("equal", "=="), ("not_equal", "!="))

SINGLE: Context = {
    "tag": "f32",
    "packed": "ps",  # how x86 calls its instructions
    "real": "float",
    "bytes": 4,
    "intel": "ps",  # in the names of the processor's instructions
    "suffix": "f",
    "mantissa": 23,
    "bias": 127,
    "ln2_high": "0x1.63p-1f",  # 9 bits: k * ln2_high is exact
    "ln2_low": "-0x1.bd0106p-13f",
    "exp_max": "89.0f",  # exp overflows above 88.72
    "exp_min": "-104.0f",  # and rounds to 0 below -103.97
    "expm1_min": "-20.0f",  # expm1 rounds to -1 below -17.3
    "sigmoid_max": "110.0f",  # v sigmoid(v) rounds to 0 below -108.3
    "tanh_max": "10.0f",  # tanh rounds to 1 above 9.01
    "sqrt_half_bits": "0x3f3504f3u",
    "smallest": "0x1p-126f",
    "largest": "0x1.fffffep+127f",
    "infinity": "INFINITY",
    "expm1_terms": tuple(f"{term}f" for term in reversed(EXPM1_SINGLE)),
    "log_terms": tuple(f"{term}f" for term in reversed(LOG_SINGLE)),
    "tanh_terms": tuple(f"{term}f" for term in reversed(TANH_SINGLE)),
    "pow_expression": "(float)pow((double)lanes[i], exponent)",
    "known": KNOWN_SINGLE,
    "gaussian_max": "14.5f",  # exp(-v^2 / 2) rounds to 0 above 14.42
    "square_round": "0x1.8p+15f",  # added and subtracted, it rounds to a multiple of 2^-8
    "tail": normal_tail.SINGLE,
}

DOUBLE: Context = {
    "tag": "f64",
    "packed": "pd",
    "real": "double",
    "bytes": 8,
    "intel": "pd",
    "suffix": "",
    "mantissa": 52,
    "bias": 1023,
    "ln2_high": "0x1.62e42feep-1",  # 32 bits: k * ln2_high is exact
    "ln2_low": "0x1.a39ef35793c76p-33",
    "exp_max": "710.0",  # exp overflows above 709.79
    "exp_min": "-746.0",  # and rounds to 0 below -745.13
    "expm1_min": "-40.0",  # expm1 rounds to -1 below -37.4
    "sigmoid_max": "754.0",  # v sigmoid(v) rounds to 0 below -751.8
    "tanh_max": "20.0",  # tanh rounds to 1 above 19.06
    "sqrt_half_bits": "UINT64_C(0x3fe6a09e667f3bcd)",
    "smallest": "0x1p-1022",
    "largest": "0x1.fffffffffffffp+1023",
    "infinity": "(double)INFINITY",
    "expm1_terms": tuple(reversed(EXPM1_DOUBLE)),
    "log_terms": tuple(reversed(LOG_DOUBLE)),
    "tanh_terms": tuple(reversed(TANH_DOUBLE)),
    "pow_expression": "pow(lanes[i], exponent)",
    "known": KNOWN_DOUBLE,
    "gaussian_max": "39.0",  # exp(-v^2 / 2) rounds to 0 above 38.61
    "square_round": "0x1.8p+44",
    "tail": normal_tail.DOUBLE,
}


#: What a text that is compiled for each precision may name: besides the scalar functions.
TYPED = (
    "real", "mask", "source", "target", "segment", "product", "matrix", "factor", "outer", "state",
    "from", "into", "copy", "freeze", "load", "load_part", "load_cycle", "load_left", "splat",
    "store_part", "sum", "sum_columns", "sum_width", "sum_all", "add_outers", "outer_scratch",
    "padded", "product_at", "product_after", "product_before", "begin_states", "freeze_states",
    "advance_states", "end_states", "self_test", "square", "pow",
    "load_apart", "innermost", "nested", "each_row", "over_rows", "max_along", "running_sum",
)  # fmt: skip


@functools.cache
def render_header() -> str:
    """The text of derive_kernels.h."""
    template = environment().get_template("c/derive_kernels.h.j2")
    limits = {limit.macro: limit.text for limit in LIMITS}
    names = dict.fromkeys((*TYPED, *TABLE))
    return template.render(
        reals=[_complete(SINGLE), _complete(DOUBLE)], limits=limits, typed_names=tuple(names)
    )


def single_precision() -> Context:
    """The constants of single precision, for other texts of the same functions."""
    return _complete(SINGLE)


def _complete(real: Context) -> Context:
    """A table with what follows from its entries."""
    tag, suffix, mantissa, bias = real["tag"], real["suffix"], real["mantissa"], real["bias"]
    width = 8 * real["bytes"]

    def word(value: int) -> str:
        return f"0x{value:x}u" if width == 32 else f"UINT64_C(0x{value:x})"

    def literal(value: float) -> str:
        return f"{value!r}{suffix}"

    def shortest(value: Any) -> str:
        return f"{_single(float(value))}f" if suffix else repr(float(value))

    def bits(value: float) -> str:
        packed = struct.pack("<f" if suffix else "<d", value)
        return word(int.from_bytes(packed, "little"))

    rounding = 3 << (mantissa - 1)
    return {
        **real,
        "upper": tag.upper(),
        "vec": f"dk_{tag}",
        "word": f"dk_bits_{tag}",
        "mask": f"dk_mask_{tag}",
        "integer": f"uint{width}_t",
        "comparisons": COMPARISONS,
        "one": literal(1.0),
        "two": literal(2.0),
        "three": literal(3.0),
        "tanh_split": literal(0.55),
        "six": literal(6.0),
        "density": shortest(1 / math.sqrt(2 * math.pi)),
        "tail_split": literal(real["tail"].k),
        "tail_terms": tuple(f"{term}{suffix}" for term in real["tail"].highest_first),
        "half": literal(0.5),
        "log2e": shortest(1 / math.log(2)),
        "twice_log2e": shortest(2 / math.log(2)),
        "round_one": literal(float(rounding + bias)),
        "round_two": literal(float(rounding + 2 * bias)),
        "twice_bias": word(2 * bias),
        "magnitude_bits": word((1 << (width - 1)) - 1),
        "sign_bit": word(1 << (width - 1)),
        "mantissa_bits": word((1 << mantissa) - 1),
        "one_bits": word(bias << mantissa),
        "integer_bits": word((bias + mantissa) << mantissa),
        "integer_offset": literal(float((1 << mantissa) + bias)),
        "subnormal_scale": f"0x1p+{mantissa + 1}{suffix}",
        "subnormal_shift": shortest((mantissa + 1) * math.log(2)),
        "leaky_slope": shortest(LEAKY_SLOPE),
        "selu_scale": shortest(SELU_SCALE),
        "selu_scale_alpha": shortest(SELU_SCALE * SELU_ALPHA),
        "nan_bits": bits(math.nan),
        "infinity_bits": bits(math.inf),
        "three_quarters_bits": bits(0.75),
        "minus_quarter_bits": bits(-0.25),
        "quotients": {
            "divisor": bits(3.0),
            "pairs": tuple((bits(float(n)), bits(n / 3)) for n in DIVIDENDS),
        },
        "known_values": tuple((name, word(at), word(value)) for name, at, value in real["known"]),
        "lane_functions": tuple((name, f"{name}{suffix}(lanes[i])") for name in _LANES),
        "composed": _composed(tag),
        "interleavings": tuple(_interleaving(bits, bits // width) for bits in (128, 256, 512)),
    }


def _composed(tag: str) -> tuple[tuple[str, str], ...]:
    """Functions that are made of others, each with its text in terms of v."""
    found = []
    for name, record in TABLE.items():
        if record.c == COMPOSED:
            (v,) = symbols(name)
            text = print_expression(composed(name, (v,)), typed_syntax(tag, {"v": "v"}), {})
            found.append((name, text))
    return tuple(found)


def _interleaving(bits: int, lanes: int) -> tuple[int, str, str]:
    """Lane numbers of (a[0], b[0], a[1], b[1], ...), for the lower and for the upper half."""
    order = [str(lane) for k in range(lanes) for lane in (k, k + lanes)]
    return bits, ", ".join(order[:lanes]), ", ".join(order[lanes:])


def _single(value: float) -> str:
    """The shortest decimal text that reads back as `value` rounded to single precision."""
    (nearest,) = struct.unpack("f", struct.pack("f", value))
    for digits in range(1, 10):
        text = repr(float(f"{nearest:.{digits}g}"))
        (read,) = struct.unpack("f", struct.pack("f", float(text)))
        if read == nearest:
            return text
    raise AssertionError(value)
