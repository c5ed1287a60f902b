"""Polynomials over atoms: the canonical form in which two expressions can be compared.

An atom is an array, W @ v for one monomial v, a sum over the width, a power, or a function.
Functions are written in terms of few, so that identities hold by themselves. Each module stands on
those before it:

- terms.py: atoms, monomials and polynomials, their sums and their keys;
- bounds.py: between which numbers a polynomial stays;
- squares.py: whether it is a square;
- piecewise.py: positive(a) and zero(a), of which every function that chooses is made;
- powers.py: exponentials, powers and logarithms;
- functions.py: the table of all other functions;
- products.py: products that come to less.

Identities hold wherever both sides are numbers: a / a is 1, log(exp(a)) is a.
"""

from derive.comparison.polynomial.functions import function as function
from derive.comparison.polynomial.functions import rebuilt as rebuilt
from derive.comparison.polynomial.functions import split as split
from derive.comparison.polynomial.functions import total as total
from derive.comparison.polynomial.piecewise import parity as parity
from derive.comparison.polynomial.powers import exp as exp
from derive.comparison.polynomial.powers import power as power
from derive.comparison.polynomial.powers import without_factor as without_factor
from derive.comparison.polynomial.products import product
from derive.comparison.polynomial.terms import ONE as ONE
from derive.comparison.polynomial.terms import ZERO as ZERO
from derive.comparison.polynomial.terms import Atom as Atom
from derive.comparison.polynomial.terms import Mono as Mono
from derive.comparison.polynomial.terms import Poly as Poly
from derive.comparison.polynomial.terms import TooLarge as TooLarge
from derive.comparison.polynomial.terms import budget as budget
from derive.comparison.polynomial.terms import constant as constant
from derive.comparison.polynomial.terms import explained as explained
from derive.comparison.polynomial.terms import is_opaque as is_opaque
from derive.comparison.polynomial.terms import mono_key as mono_key
from derive.comparison.polynomial.terms import of as of
from derive.comparison.polynomial.terms import once as once
from derive.comparison.polynomial.terms import opaque as opaque
from derive.comparison.polynomial.terms import short as short
from derive.comparison.polynomial.terms import single as single
from derive.comparison.polynomial.terms import spend as spend

# Polynomials multiply by these rules, and the rules multiply polynomials. Without this line
# there is no product at all, never one that is not in normal form.
Poly.product = product
