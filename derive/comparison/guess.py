"""A fit of one cell's parameters to another's -> the map that it may be, for a proof to decide.

In: two Cells and the best fit, near enough to be none by accident.  Out: parts for each
parameter; how many digits two cells agree to under them.
Not here: the fit (equal_numbers.py), the search by equations (matching.py), proofs (one_way.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from derive.algebra import MPMATH
from derive.cell import Cell
from derive.comparison.equal_numbers import Distance, _applied, _draw, _sizes
from derive.program import interpret

#: A fit that is nearer than this, relative to the outputs, may be a map.
NEAR = 1e-7
#: How far a number of the map may be from a fraction with a denominator up to LARGEST.
OFF, LARGEST = 1e-5, 12
DIGITS, POINTS, ROWS = 50, 4, 2
#: As many digits agree by no accident: constants in a text are exact, or kept to 40 digits.
ENOUGH = 36

Key = tuple[str, str, bool]


def parts(source: Cell, target: Cell, fit: Distance) -> dict[str, dict[Key, Fraction]] | None:
    """Each parameter of the target as multiples of the source's: of one, if that will do."""
    found = {}
    for name in target.params:
        value = fit.fitted[name]
        known = _candidates(source, fit.params, name, value.shape)
        one = next((m for key in known if (m := _multiples(value, {key: known[key]}))), None)
        several = one if one is not None else _multiples(value, known)
        if several is None:
            return None
        found[name] = several
    return found


def _candidates(
    source: Cell, params: Mapping[str, Any], name: str, shape: tuple[int, ...]
) -> dict[Key, Any]:
    """Arrays of that shape, the one of that name first."""
    found: dict[Key, Any] = {}
    for other in sorted(source.params, key=lambda known: known != name):
        value = params[other]
        if value.shape == shape:
            found["vector" if value.ndim == 1 else "matrix", other, False] = value
        if value.ndim == 2 and value.T.shape == shape:
            found["matrix", other, True] = value.T
    if len(shape) == 1:
        found["one", "", False] = np.ones(shape)
    elif shape[0] == shape[1]:
        found["eye", "", False] = np.eye(shape[0])
    return found


def _multiples(value: Any, known: Mapping[Key, Any]) -> dict[Key, Fraction] | None:
    if np.abs(value).max(initial=0.0) < OFF:
        return {}
    if not known:
        return None
    columns = np.stack([np.ravel(each) for each in known.values()], axis=1)
    numbers = np.linalg.lstsq(columns, np.ravel(value), rcond=None)[0]
    near = [Fraction(float(c)).limit_denominator(LARGEST) for c in numbers]
    if np.abs(columns @ np.array(near, dtype=float) - np.ravel(value)).max() > OFF:
        return None
    return {key: c for key, c in zip(known, near, strict=True) if c}


def digits(source: Cell, target: Cell, given: Any) -> int:
    """To how many decimal digits one step agrees under the map, at random points."""
    here, there = _sizes(source, target)
    there |= {mine: here[theirs] for mine, theirs in given.sizes.items() if theirs in here}
    worst = DIGITS
    with mpmath.workdps(DIGITS + 10):
        for seed in range(POINTS):
            random = np.random.default_rng(40 + seed)
            params = _draw(random, source.params, here)
            exact = {name: MPMATH.array(value) for name, value in params.items()}
            mapped = {
                name: _applied(given.params[name], exact, tuple(_size(d, there) for d in shape))
                for name, shape in target.params.items()
            }
            x = _draw(random, source.inputs, here, ROWS)
            state = _draw(random, source.states, here, ROWS)
            names = {**given.states, **dict(zip(target.inputs, source.inputs, strict=True))}
            if set(source.inputs) == set(target.inputs):
                names |= {name: name for name in target.inputs}
            # States that nothing reads stand in no map.
            values = {
                s: np.zeros((ROWS, *(_size(d, there) for d in shape)))
                for s, shape in target.states.items()
            }
            values |= {mine: {**x, **state}[theirs] for mine, theirs in names.items()}
            one, other = source.step, target.step
            left = interpret(
                one.program, {**exact, **x, **state}, rows=ROWS, sizes=here, algebra=MPMATH
            )
            right = interpret(
                other.program, {**mapped, **values}, rows=ROWS, sizes=there, algebra=MPMATH
            )
            after = dict(zip(one.states, one.next_states, strict=True))
            pairs = [*zip(one.outputs, other.outputs, strict=True)]
            pairs += [
                (after[given.states[s]], n)
                for s, n in zip(other.states, other.next_states, strict=True)
                if s in given.states
            ]
            for mine, theirs in pairs:
                gap = max((abs(v) for v in np.ravel(left[mine] - right[theirs])), default=0)
                if gap:
                    worst = min(worst, int(-mpmath.log10(gap)))
    return worst


def _size(dim: Any, sizes: Mapping[str, int]) -> int:
    return sizes[dim] if isinstance(dim, str) else dim
