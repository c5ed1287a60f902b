"""A fit of one cell's parameters to another's -> the map that it may be, for a proof to decide.

In: two Cells and the best fit, so near that it is no accident.  Out: what each parameter of the
target is of the source's.
Not here: the fit (fits.py), the search by equations (matching.py), proofs (one_direction.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.comparison.canonical import Meaning
from derive.comparison.constraints import Known, known, matrix_of, vector_of
from derive.comparison.fits import Distance

#: How far a number of the map may be from a fraction with a denominator up to LARGEST.
OFF, LARGEST = 1e-4, 12


def meaning(source: Cell, target: Cell, fit: Distance) -> Meaning | None:
    """Each parameter of the target as a multiple of one of the source's, or a sum of multiples of
    several where that is nearer than OFF; None where a parameter is neither."""
    vectors, matrices = {}, {}
    for name, shape in target.params.items():
        value = fit.fitted[name]
        candidates = _candidates(source, fit.params, name, value.shape)
        one = next((m for k in candidates if (m := _multiples(value, {k: candidates[k]}))), None)
        several = one if one is not None else _multiples(value, candidates)
        if several is None:
            return None
        if len(shape) == 1:
            vectors[name] = vector_of(several)
        else:
            matrices[name] = matrix_of(several)
    return Meaning(vectors, matrices)


def _candidates(
    source: Cell, params: Mapping[str, Any], name: str, shape: tuple[int, ...]
) -> dict[Known, Any]:
    """Arrays of that shape, the one of that name first."""
    found: dict[Known, Any] = {}
    for other in sorted(source.params, key=lambda each: each != name):
        value = params[other]
        if value.ndim == 1 and value.shape == shape:
            scalar = source.params[other] == (1,)
            found[known("vector", other, scalar=scalar)] = value
        elif value.ndim == 2 and value.shape == shape:
            found[known("matrix", other)] = value
        if value.ndim == 2 and value.T.shape == shape:
            found[known("matrix", other, transposed=True)] = value.T
    if len(shape) == 1:
        found["vector", ()] = np.ones(shape)
    elif shape[0] == shape[1]:
        found["matrix", ()] = np.eye(shape[0])
    return found


def _multiples(value: Any, candidates: Mapping[Known, Any]) -> dict[Known, Fraction] | None:
    if np.abs(value).max(initial=0.0) < OFF:
        return {}
    if not candidates:
        return None
    columns = np.stack([np.ravel(each) for each in candidates.values()], axis=1)
    numbers = np.linalg.lstsq(columns, np.ravel(value), rcond=None)[0]
    near = [Fraction(float(c)).limit_denominator(LARGEST) for c in numbers]
    if np.abs(columns @ np.array(near, dtype=float) - np.ravel(value)).max() > OFF:
        return None
    return {key: c for key, c in zip(candidates, near, strict=True) if c}
