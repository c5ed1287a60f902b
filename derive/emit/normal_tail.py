"""The tail of the normal distribution as a polynomial, for both targets.

In: nothing.  Out: coefficients for single and double precision.
Not here: the functions that use it, gelu and its slope (templates/).

exp(x^2 / 2) Phi(-x) = P(t) / (1 + x) with t = (x - k) / (x + k), for x from 0 to where Phi(-x) is
below the smallest number. The form is that of Shepherd & Laframboise, Chebyshev approximation of
(1 + 2x) exp(x^2) erfc(x), Math. Comp. 36 (1981) 249-253; the coefficients were found by Chebyshev
interpolation at 200 bits, and are off by 2^-30 and 2^-58 of the value before they are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tail:
    """terms: of P, lowest power first, in hexadecimal."""

    k: float
    terms: tuple[str, ...]

    @property
    def highest_first(self) -> tuple[str, ...]:
        return self.terms[::-1]

    @property
    def numbers(self) -> tuple[float, ...]:
        """k, then the coefficients, highest power first."""
        return (self.k, *map(float.fromhex, self.highest_first))


SINGLE = Tail(
    4.0,
    (
        "0x1.e361eap-2",
        "-0x1.8c18f2p-4",
        "0x1.cabd28p-7",
        "0x1.d496bp-6",
        "-0x1.07c23cp-5",
        "0x1.25de7ep-6",
        "-0x1.483068p-8",
        "-0x1.3078dcp-12",
        "0x1.749afcp-11",
        "-0x1.2f5b98p-14",
        "-0x1.a11056p-14",
        "-0x1.7da5ep-17",
    ),
)
DOUBLE = Tail(
    6.0,
    (
        "0x1.d0568f5d76666p-2",
        "-0x1.5c438de6f0fe4p-4",
        "0x1.46229bd017002p-5",
        "-0x1.1e9d4130ee0b7p-8",
        "-0x1.08766e432d24cp-6",
        "0x1.7227accaf7002p-6",
        "-0x1.43da9f7398e16p-6",
        "0x1.b212c026fd76ep-7",
        "-0x1.ceac1d89cceb2p-8",
        "0x1.80c84115b9f4dp-9",
        "-0x1.c79a7cb02c989p-11",
        "0x1.f52ce84eaafb5p-14",
        "0x1.3d0bb0aaa7c27p-15",
        "-0x1.ba21332b8636p-16",
        "0x1.2823dcfdd82dbp-18",
        "0x1.de9cf7d8ce6b5p-20",
        "-0x1.0c99c0dc11476p-20",
        "0x1.30d83421cb29cp-31",
        "0x1.1f82bc8749506p-23",
        "-0x1.60a2490d519b7p-26",
        "-0x1.2232f2b0f05fbp-26",
        "0x1.866814ffdaa21p-29",
        "0x1.14993d462b1dfp-29",
        "0x1.5da5b3996b9a1p-33",
    ),
)
