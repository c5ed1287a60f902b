"""HiPPO-LegS: the coefficients of all that was seen, in Legendre polynomials scaled to its length.

Gu, Dao, Ermon, Rudra & Re 2020, "HiPPO: recurrent memory with optimal polynomial projections",
arXiv 2008.07669, by Euler's rule: m' = m + (A m + B u) / t at step t = 1, 2, ... A_nk = -sqrt((2 n
+ 1) (2 k + 1)) below the diagonal, -(n + 1) on it and 0 above, B_n = sqrt(2 n + 1), both fixed.
The authors' code has the bilinear rule, which takes a solution of (I - A / 2 t), as its default;
Euler's rule is not stable in the first steps of a large memory. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def hippo_legs() -> Text:
    """HiPPO-LegS: m' = m + (A m + B u) / t, t = 1, 2, ..."""
    return Text(
        doc="HiPPO-LegS, Euler's rule. Gu et al. 2020, arXiv 2008.07669.",
        text="""
input  u: 1
state  m: M, t: 1
fixed  A: M x M, B: M

t' = t + 1
m' = m + (A @ m + B * u) / t'

output m'
""",
    )
