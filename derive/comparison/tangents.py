"""The directional derivative of a polynomial of smooth atoms.

In: a polynomial of arrays and parameters, or a matrix of parameters.  Out: one that also holds
their directions: that of a is the array "d a".
Not here: derivatives of a step, which has conventions at kinks (canonical.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from derive.comparison import polynomial
from derive.comparison.matrices import Chain, Factor, Matrix, apply, named
from derive.comparison.polynomial import ONE, ZERO, Atom, Poly, of, single, split, total


class Kinked(Exception):
    """Something whose derivative is not known here: a function that chooses, for one."""


def tangent_of_matrix(matrix: Matrix) -> Matrix:
    """Of each chain, each factor once in its direction."""
    found: dict[Chain, Fraction] = {}
    for chain, c in matrix.parts.items():
        for k, factor in enumerate(chain):
            if factor.name:
                changes = {Factor("d " + factor.name, factor.transposed): Fraction(1)}
            else:
                slope = tangent_of(single(factor.diagonal))
                changes = {Factor(diagonal=mono): e for mono, e in slope.terms.items()}
            for each, e in changes.items():
                new = (*chain[:k], each, *chain[k + 1 :])
                found[new] = found.get(new, Fraction(0)) + c * e
    return Matrix(found)


def tangent_of(value: Poly) -> Poly:
    """Kinked where a function in it chooses: then the derivative is a convention."""
    result = ZERO
    for mono, c in value.terms.items():
        for k, (atom, n) in enumerate(mono):
            slope = _atom(atom)
            if not slope.terms:
                continue
            left = single(tuple(pair for j, pair in enumerate(mono) if j != k))
            down = polynomial.power(of(atom), Fraction(n - 1))
            result += (left * down * slope).times(c * n)
    return result


def _atom(atom: Atom) -> Poly:
    if atom.kind in ("array", "param"):
        return of(Atom(atom.kind, f"d {atom.name}", (), atom.scalar))
    if atom.kind == "size" or not atom.args:
        return ZERO
    if atom.kind == "product":
        name = atom.name.removesuffix("'")
        own, moved, turned = named(name), named(f"d {name}"), name != atom.name
        return apply(own, turned, tangent_of(atom.args[0])) + apply(moved, turned, atom.args[0])
    (a,) = atom.args if len(atom.args) == 1 else (None,)
    if a is None:
        raise Kinked
    inner = tangent_of(a)
    if not inner.terms:
        return ZERO
    if atom.kind == "sum":
        if any(split(mono)[1] == ONE for mono in inner.terms):
            raise Kinked  # how many it sums is not known here
        return total(inner, ZERO)
    if atom.kind == "exp":
        return of(atom) * inner
    if atom.kind == "power":
        exponent = Fraction(atom.name)
        return (polynomial.power(a, exponent - 1) * inner).times(exponent)
    if atom.name not in _SLOPES:
        raise Kinked
    return _SLOPES[atom.name](a, of(atom)) * inner


_SLOPES: Mapping[str, Callable[[Poly, Poly], Poly]] = {
    "tanh": lambda a, y: ONE - y * y,
    "sin": lambda a, y: polynomial.function("cos", a),
    "cos": lambda a, y: polynomial.function("sin", a).times(Fraction(-1)),
    "lncosh": lambda a, y: polynomial.function("tanh", a),
    "log": lambda a, y: polynomial.power(a, Fraction(-1)),
}
