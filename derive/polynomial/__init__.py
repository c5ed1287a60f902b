"""Polynomials over atoms: the canonical form in which two expressions can be compared.

An atom is an array, W @ v for one monomial v, a sum over the width, a power, or a function.
Functions are told by few, so that identities hold by themselves. Each module stands on those
before it:

- terms.py: atoms, monomials and polynomials, their sums and their keys;
- bounds.py: between which numbers a polynomial stays;
- squares.py: whether it is a square;
- piecewise.py: positive(a) and zero(a), of which every function that chooses is made;
- powers.py: exponentials, powers and logarithms;
- functions.py: the table of all other functions;
- products.py: products that come to less.

Identities hold wherever both sides are numbers: a / a is 1, log(exp(a)) is a.
"""

from derive.polynomial.functions import function as function
from derive.polynomial.functions import rebuilt as rebuilt
from derive.polynomial.functions import split as split
from derive.polynomial.functions import total as total
from derive.polynomial.piecewise import parity as parity
from derive.polynomial.powers import exp as exp
from derive.polynomial.powers import power as power
from derive.polynomial.powers import without_factor as without_factor
from derive.polynomial.products import product
from derive.polynomial.terms import ONE as ONE
from derive.polynomial.terms import ZERO as ZERO
from derive.polynomial.terms import Atom as Atom
from derive.polynomial.terms import Mono as Mono
from derive.polynomial.terms import Poly as Poly
from derive.polynomial.terms import TooLarge as TooLarge
from derive.polynomial.terms import budget as budget
from derive.polynomial.terms import constant as constant
from derive.polynomial.terms import explained as explained
from derive.polynomial.terms import is_opaque as is_opaque
from derive.polynomial.terms import mono_key as mono_key
from derive.polynomial.terms import of as of
from derive.polynomial.terms import opaque as opaque
from derive.polynomial.terms import single as single
from derive.polynomial.terms import spend as spend

# Polynomials multiply by these rules, and the rules multiply polynomials. Without this line
# there is no product at all, never one that is not in normal form.
Poly.product = product
