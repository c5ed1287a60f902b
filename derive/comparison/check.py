"""An independent check of a parameter map: two cells in numbers, values and gradients.

In: two Cells and a map between them.  Out: a `Check`: how far apart they are, and where.
Not here: how the map was found or proved. This file shares no rule with the prover: the map is
data that is evaluated, the cells are run by the interpreter (verification/reference.py) and their
derived gradients by interpretation (verification/through_time.py).

Points: widths 1 to 7, equal ones among them; ordinary numbers, zeros, small integers that meet
in ties, numbers up to 10^4, states at zero and elsewhere. Each is computed in float64. Where the
two differ there by more than rounding explains, mpmath decides, with 60 digits and, if they
still differ, with 1000: what saturates in float64 is no difference, and what overflows is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np

from derive.cell import Cell
from derive.comparison.numbers import TOLERANT, names_in, polynomial_in_numbers, value_in_numbers
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.widths import shape_of
from derive.derivative import reverse_step
from derive.symbolic.evaluate import NUMPY, Algebra
from derive.verification.reference import Point, run
from derive.verification.through_time import Backward, backpropagate, backward_of

Arrays = dict[str, Any]

STEPS, ROWS = 3, 2
#: What rounding explains in float64, and with many digits, relative to the numbers compared.
ROUNDING, DIGITS_AGREE = 1e-9, mpmath.mpf(10) ** -20
DIGITS = (60, 1000)
#: (kind of point, scale), in the order in which they are looked at.
KINDS = (
    ("ordinary", 1.0),
    ("ties", 1.0),
    ("zeros", 0.0),
    ("ordinary", 1.5),
    ("ties", 2.0),
    ("large", 30.0),
    ("ordinary", 1.0),
    ("ties", 1.0),
    ("large", 1e4),
    ("ordinary", 0.1),
    ("ties", 3.0),
    ("large", 4.0),
)
#: Points at which mpmath looks as well, also where float64 finds no difference.
SURE = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Apart:
    """One place where two cells differ: what it is, and the numbers there.

    params, inputs, states: of the source; wanted, got: of the source and the target.
    """

    what: str
    sizes: Mapping[str, int]
    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    states: Mapping[str, Any]
    wanted: float
    got: float


@dataclass(frozen=True, slots=True)
class Check:
    """values, gradients: the first place where they differ, or None.

    error: the largest relative difference in float64, of numbers of ordinary size, that rounding
    explains; outside: a place
    where one of the two is a number and the other is none; float64: a place where the two differ
    in float64 though not in exact arithmetic.
    """

    points: int
    error: float
    values: Apart | None
    gradients: Apart | None
    outside: Apart | None
    float64: Apart | None

    @property
    def holds(self) -> bool:
        return self.values is None and self.gradients is None and self.outside is None


def check(
    source: Cell, target: Cell, given: ParameterMap, *, kinds: tuple[tuple[str, float], ...] = KINDS
) -> Check:
    """Whether the target computes the source under the map, at every point."""
    work = _Work(source, target, given)
    error, values, gradients, outside, float64 = 0.0, None, None, None, None
    for k, (kind, scale) in enumerate(kinds):
        here = _point(source, target, given, k, kind, scale)
        plain = work.compare(here, NUMPY, ROUNDING)
        worst = max((found.off for found in plain), default=0.0)
        if worst <= ROUNDING:
            error = max(error, float(worst)) if kind != "large" else error
            if k not in SURE:
                continue
        exact = []
        for digits in DIGITS:
            with mpmath.workdps(digits):
                exact = [f for f in work.compare(here, TOLERANT, DIGITS_AGREE) if f.off > 1e-15]
            if not exact:
                break
        if worst > ROUNDING and not exact and float64 is None:
            float64 = here.apart(max(plain, key=lambda found: found.off))
        for found in exact:
            if found.outside and kind == "large":
                # No digits tell 1 - tanh(10^4) from 0.
                float64 = float64 or here.apart(found)
            elif found.outside:
                outside = outside or here.apart(found)
            elif found.gradient:
                gradients = gradients or here.apart(found)
            else:
                values = values or here.apart(found)
        if values is not None:
            break
    return Check(len(kinds), error, values, gradients, outside, float64)


# --- points ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """A difference: of what, how large, relative; and the two numbers."""

    what: str
    off: float
    wanted: float
    got: float
    gradient: bool
    outside: bool


@dataclass(frozen=True, slots=True)
class _Here:
    """Numbers of the source; of the target's states, where those are told the other way."""

    here: Mapping[str, int]
    there: Mapping[str, int]
    params: Arrays
    inputs: Arrays
    states: Arrays
    others: Arrays
    weights: Arrays
    along: Arrays

    def apart(self, found: _Found) -> Apart:
        return Apart(
            found.what, self.here, self.params, self.inputs, self.states, found.wanted, found.got
        )


def _lengths(cell: Cell, given: ParameterMap, target: Cell, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(1000 + seed)
    dims = cell.step.program.dims()
    if seed == 0:
        here = {dim: 2 + k % 3 for k, dim in enumerate(dims)}
    elif seed in (1, 2):
        here = dict.fromkeys(dims, seed)
    else:
        here = {dim: int(random.integers(1, 8)) for dim in dims}
    there = {}
    for dim in target.step.program.dims():
        image = given.sizes.get(dim, dim)
        # A width that the source has not may be any.
        there[dim] = image if isinstance(image, int) else here.get(image, 1 + (2 + seed) % 7)
    return here, there


def _draw(random: Any, kind: str, scale: float, shape: tuple[int, ...]) -> Any:
    if kind == "ties":
        return random.integers(-1, 2, shape) * scale
    if kind == "large":
        return random.uniform(-1, 1, shape) * scale ** random.uniform(0, 1, shape)
    return random.uniform(-1, 1, shape) * scale


def _point(
    source: Cell, target: Cell, given: ParameterMap, seed: int, kind: str, scale: float
) -> _Here:
    random = np.random.default_rng(seed)
    here, there = _lengths(source, given, target, seed)

    def group(arrays: Mapping[str, Any], sizes: Mapping[str, int], *front: int) -> Arrays:
        return {
            name: _draw(random, kind, scale, (*front, *shape_of(shape, sizes)))
            for name, shape in arrays.items()
        }

    params = group(source.params, here)
    inputs = group(source.inputs, here, STEPS, ROWS)
    states = group(source.states, here, ROWS)
    others = group(target.states, there, ROWS)
    if given.from_zero or seed % 2:
        states = {name: np.zeros_like(value) for name, value in states.items()}
        others = {name: np.zeros_like(value) for name, value in others.items()}
    weights = {
        name: random.uniform(0.5, 1.5, (STEPS, ROWS, *shape_of(source.outputs[key], here)))
        for key, name in zip(source.outputs, source.step.outputs, strict=True)
    }
    along = {
        name: random.uniform(0.5, 1.5, np.shape(value))
        for name, value in {**params, **inputs, **states}.items()
    }
    return _Here(here, there, params, inputs, states, others, weights, along)


# --- both cells at one point ----------------------------------------------------------------


@lru_cache(maxsize=64)
def _backward(cell: Cell) -> Backward:
    return backward_of(reverse_step(cell.step))


class _Work:
    def __init__(self, source: Cell, target: Cell, given: ParameterMap) -> None:
        self.source, self.target, self.given = source, target, given
        self.reads = {name: names_in(value) for name, value in given.params.items()}

    def compare(self, here: _Here, algebra: Algebra, allowed: Any) -> list[_Found]:
        """Everything that must agree, by how much it does not."""
        with np.errstate(all="ignore"):
            return list(self._compare(here, algebra, allowed))

    def _compare(self, here: _Here, algebra: Algebra, allowed: Any) -> Iterator[_Found]:
        given = self.given
        params = {name: algebra.array(value) for name, value in here.params.items()}
        mapped = self.mapped(params, here, algebra)
        states, others = self.states(params, here, algebra)
        one = self.point(self.source, here.here, params, here.inputs, states, here.weights)
        pairs = list(zip(self.target.step.outputs, self.source.step.outputs, strict=True))
        weights = {theirs: here.weights[mine] for theirs, mine in pairs}
        inputs = {mine: here.inputs[theirs] for mine, theirs in given.inputs.items()}
        two = self.point(self.target, here.there, mapped, inputs, others, weights)
        left, right = run(self.source.step, one, algebra), run(self.target.step, two, algebra)
        for theirs, mine in pairs:
            yield _apart(f"output {mine}", left.outputs[mine], right.outputs[theirs])
        if not given.from_zero:
            yield from self.last_states(params, left.states, right.states, algebra)
        back = backpropagate(_backward(self.source), one, left, algebra)
        forth = backpropagate(_backward(self.target), two, right, algebra)
        for mine, theirs in given.inputs.items():
            yield _apart(f"gradient of {theirs}", back[theirs], forth[mine], gradient=True)
        yield from self.pulled(here, params, back, forth, algebra)

    def point(
        self, cell: Cell, sizes: Any, params: Any, inputs: Any, states: Any, weights: Any
    ) -> Point:
        zeros = {name: np.zeros(np.shape(states[name])) for name in cell.states}
        return Point(sizes, STEPS, ROWS, params, inputs, states, weights, zeros)

    def mapped(
        self, params: Arrays, here: _Here, algebra: Algebra, of: str | None = None
    ) -> Arrays:
        """The target's parameters, all or those that a parameter of the source stands in."""
        return {
            name: value_in_numbers(
                self.given.params[name], params, here.here, algebra, shape_of(shape, here.there)
            )
            for name, shape in self.target.params.items()
            if of is None or of in self.reads[name]
        }

    def states(self, params: Arrays, here: _Here, algebra: Algebra) -> tuple[Arrays, Arrays]:
        """Initial states of the two, as the map says they correspond."""
        states = {name: algebra.array(value) for name, value in here.states.items()}
        others = {
            name: algebra.array(np.zeros((ROWS, *shape_of(shape, here.there))))
            for name, shape in self.target.states.items()
        }
        if self.given.through:
            others = {name: algebra.array(value) for name, value in here.others.items()}
            known = {f"~{name}": value for name, value in others.items()}
            for name, poly in self.given.through.items():
                shape = (ROWS, *shape_of(self.source.states[name], here.here))
                states[name] = polynomial_in_numbers(poly, known, here.there, algebra, shape)
        for name, poly in self.given.states.items():
            shape = (ROWS, *shape_of(self.target.states[name], here.there))
            others[name] = polynomial_in_numbers(poly, states, here.here, algebra, shape)
        return states, others

    def last_states(
        self, params: Arrays, mine: Any, theirs: Any, algebra: Algebra
    ) -> Iterator[_Found]:
        known = {f"~{name}": value for name, value in theirs.items()}
        for name, poly in self.given.through.items():
            value = polynomial_in_numbers(poly, known, {}, algebra, np.shape(mine[name]))
            yield _apart(f"state {name}", mine[name], value)
        for name, poly in self.given.states.items():
            value = polynomial_in_numbers(poly, dict(mine), {}, algebra, np.shape(theirs[name]))
            yield _apart(f"state {name}", value, theirs[name])

    def pulled(
        self, here: _Here, params: Arrays, back: Any, forth: Any, algebra: Algebra
    ) -> Iterator[_Found]:
        """The slope along one direction of each parameter of the source, through the map."""
        h = mpmath.mpf(10) ** (-mpmath.mp.dps // 3)
        for name in self.source.params:
            along = algebra.array(here.along[name])
            if algebra is NUMPY:  # the complex step: h^2 is no number any more
                moved = {**params, name: params[name] + 1e-100j * along}
                ahead = self.mapped(moved, here, algebra, name)
                slopes = {key: np.imag(value) / 1e-100 for key, value in ahead.items()}
            else:
                ahead, behind = (
                    self.mapped(
                        {**params, name: params[name] + sign * h * along}, here, algebra, name
                    )
                    for sign in (1, -1)
                )
                slopes = {key: (ahead[key] - behind[key]) / (2 * h) for key in ahead}
            mine = _total(back[name] * along)
            theirs, size = 0.0, abs(mine)
            for key, slope in slopes.items():
                theirs = theirs + _total(forth[key] * slope)
                size = size + _total(abs(forth[key] * slope))
            size = size + _total(abs(back[name] * along))
            yield _apart(f"gradient of {name}", mine, theirs, gradient=True, size=size)


def _total(value: Any) -> Any:
    return np.sum(value) if np.size(value) else 0.0


def _apart(what: str, one: Any, other: Any, *, gradient: bool = False, size: Any = None) -> _Found:
    one, other = np.asarray(one), np.asarray(other)
    if one.size == 0:
        return _Found(what, 0.0, 0.0, 0.0, gradient, False)
    one, other = np.broadcast_arrays(one, other)
    numbers = np.array(
        [[_is_number(v), _is_number(w)] for v, w in zip(one.flat, other.flat, strict=True)]
    )
    odd = np.flatnonzero(numbers[:, 0] != numbers[:, 1])
    if len(odd):
        k = int(odd[0])
        return _Found(
            what, float("inf"), _float(one.flat[k]), _float(other.flat[k]), gradient, True
        )
    both = np.flatnonzero(numbers.all(axis=1))
    if not len(both):
        return _Found(what, 0.0, 0.0, 0.0, gradient, False)
    gaps = [abs(one.flat[k] - other.flat[k]) for k in both]
    at = max(range(len(both)), key=lambda k: gaps[k])
    k = int(both[at])
    scale = max(abs(one.flat[j]) for j in both) if size is None else size
    off = gaps[at] / max(scale, type(gaps[at])(1))
    return _Found(what, _float(off), _float(one.flat[k]), _float(other.flat[k]), gradient, False)


def _is_number(value: Any) -> bool:
    return (
        bool(mpmath.isfinite(value)) if not isinstance(value, float) else bool(np.isfinite(value))
    )


def _float(value: Any) -> float:
    return float(value) if not isinstance(value, mpmath.mpc) else float("nan")
