"""What a call of many rows must give, from a reference of few rows.

In: a Step, its derivative, sizes, a seed.  Out: `Expected`: a point of any number of rows, every
result at it, and how far rounding takes each (noise.py).
Not here: the calls (paths.py).

Rows never meet but in the gradients of parameters, and a gradient is linear in its cotangents.
So a few rows are computed, and each row of the point is one of them with cotangents of its own
size: the reference stays cheap, and no two rows of the gradient are equal. Sizes and cotangents
have so few digits that their products are float32 numbers exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.verification.kinks import Kink, closeness
from derive.verification.noise import SAMPLES, UNIT, Source, noisy
from derive.verification.points import KINDS, Random, draw
from derive.verification.reference import Arrays, Moment, Point, Result, run, slope
from derive.verification.rounding import Bounded
from derive.verification.through_time import Backward, backpropagate

#: Rows that are computed; the others are like one of them.
PATTERNS = 5
#: A result may be this many times as far off as the samples were, root mean square. Six samples of
#: a normal error understate it threefold in one of 500 arrays; what remains is four deviations.
MARGIN = 12.0
#: Roundoffs of the reference itself, whose rows are scaled.
OWN = 3.0
#: A point is drawn again if float32 could hide more than this part of a gradient there.
SEEN = 1e-4
#: Points drawn at most: every kind, but for references that take long.
DRAWN, DRAWN_OF_HEAVY = len(KINDS), 5
#: Rounding of unit 1 may not carry an argument across a kink: three deviations for SAFETY's four.
_OF_KINKS = 3.0
_SINGLE = 2.0**-24
#: Formulas may differ in what they compute on the way by so much.
_HEADROOM = 2.0**8

#: Which cotangents a caller gives.
COTANGENTS = ("both", "outputs", "states", "none")
LENGTHS = ("none", "all", "zero", "ragged")


@dataclass(frozen=True, slots=True)
class Results:
    """Arrays one behind the other, each element with its root mean square error in roundoffs; and
    for each array the same of its norm and of its mean along itself, <error, array>."""

    names: tuple[str, ...]
    starts: Any
    shapes: tuple[tuple[int, ...], ...]
    wanted: Any
    element: Any
    norm: Any
    along: Any


def results(wanted: Arrays, errors: Mapping[str, Any]) -> Results:
    """wanted: {name: array}; errors: {name: [SAMPLES, ...]}, in units of roundoff."""
    names = tuple(wanted)
    flat = [np.ravel(wanted[name]) for name in names]
    element, norm, along = [], [], []
    for name, array in zip(names, flat, strict=True):
        error = errors[name].reshape(SAMPLES, -1)
        squares = (error * error).mean(axis=0)
        # Twice, for there are many elements; what six samples miss of one shows in the others.
        element.append(2 * np.sqrt(squares + 0.25 * squares.mean()) + OWN / MARGIN * abs(array))
        norm.append(math.sqrt(squares.sum()) + OWN / MARGIN * _norm(array))
        # A state at rest is rounded alike in every step: along an array errors need not cancel.
        spread = float(np.sqrt(squares) @ abs(array))
        along.append(spread + OWN / MARGIN * _norm(array) ** 2)
    starts = np.cumsum([0, *(a.size for a in flat)])[:-1]
    shapes = tuple(np.shape(wanted[name]) for name in names)
    whole = np.concatenate(flat), np.concatenate(element)
    return Results(names, starts, shapes, *whole, np.array(norm), np.array(along))


def _norm(array: Any) -> float:
    return float(np.sqrt(np.sum(array * array)))


@dataclass(frozen=True, slots=True)
class Expected:
    """The results at one point: `forward` of the sequence, `first` of its first step alone, and the
    gradient for each way to leave cotangents out."""

    point: Point
    forward: Results
    first: Results | None
    gradient: Mapping[str, Results]
    finite: bool
    clearance: float
    largest: float
    hidden: float
    backward_slope: tuple[float, float, float]

    def comparable(self, dtype: str) -> bool:
        """Whether rounding carries no argument across a kink, and no number out of range."""
        within = self.largest < float(np.finfo(dtype).max) / _HEADROOM
        return within and self.clearance > float(np.finfo(dtype).eps) / 2

    def by_lengths(self) -> dict[str, Expected]:
        """This point, and what follows from it: {one of LENGTHS: expected}."""
        if self.point.lengths is not None:
            return {"ragged": self}
        return {"none": self, "all": _all_lengths(self), "zero": _zero_lengths(self)}


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Which pattern each row is, and the size of its cotangents."""

    pattern: Any
    size: Any

    def weights(self, patterns: int) -> Any:
        return np.bincount(self.pattern, weights=self.size, minlength=patterns)


class Maker:
    """Makes what is expected at any sizes. `kinks`: of the step."""

    def __init__(self, backward: Backward, kinks: tuple[Kink, ...], seed: int) -> None:
        self._backward = backward
        self._step = backward.gradient.step
        self._kinks = kinks
        self._seed = seed

    def make(
        self, sizes: Mapping[str, int], steps: int, rows: int, *, ragged: bool, reverse: bool,
        cotangents: Sequence[str] = COTANGENTS,
    ) -> Expected:  # fmt: skip
        """The best of the points drawn: finite, off kinks, and showing small errors."""
        best: Expected | None = None
        heavy = cotangents == ("both",)
        for attempt, kind in enumerate(KINDS[: DRAWN_OF_HEAVY if heavy else DRAWN]):
            random = Random(self._seed, 80, attempt, steps, rows, ragged, reverse, *sizes.values())
            found = self._at(random, kind, sizes, steps, rows, ragged, reverse, cotangents)
            if best is None or _rank(found) > _rank(best):
                best = found
            if _rank(best) == (True, True, 0.0):
                break
        assert best is not None
        return best

    def _at(
        self, random: Random, kind: Any, sizes: Mapping[str, int], steps: int, rows: int,
        ragged: bool, reverse: bool, cotangents: Sequence[str],
    ) -> Expected:  # fmt: skip
        step, backward = self._step, self._backward
        few = min(rows, PATTERNS)
        point = draw(step, sizes, steps, few, random, kind, 1.0, 1.0)
        lengths = _ragged(steps, few, random) if ragged else None
        point = replace(
            point, lengths=lengths, reverse=reverse, d_outputs=_short(point.d_outputs),
            d_states=_short(point.d_states),
        )  # fmt: skip
        pattern = random.order(range(few)) + [random.choice(range(few)) for _ in range(rows - few)]
        size = [random.choice(range(512, 1536)) for _ in range(rows)]
        tiles = _Tiles(np.array(pattern), np.array(size) / 1024)
        weights = tiles.weights(few)
        source = Source(random.choice(range(1 << 30)))
        algebra = noisy(source)
        with np.errstate(all="ignore"):
            plain, noise = run(step, point), run(step, point, algebra)
            weighted = _weighted(point, weights)
            parts = {"both": weighted}
            if cotangents != ("both",):
                parts = {
                    "outputs": replace(weighted, d_states=_zeros(point.d_states)),
                    "states": replace(weighted, d_outputs=_zeros(point.d_outputs)),
                }
            found = {
                name: (
                    backpropagate(backward, part, plain),
                    backpropagate(backward, part, noise, algebra),
                )
                for name, part in parts.items()
            }
            whole = _spread(point, tiles)
            forward = self._forward(plain, noise, tiles)
            gradient = self._gradients(found, tiles, weights)
            probe = self._probe(weighted, found, random)
            close = closeness(self._kinks, point, _as_bounded(plain, noise, bool(self._kinks)))
        finite = all(
            np.isfinite(r.wanted).all() and np.isfinite(r.element).all()
            for r in (forward, *gradient.values())
        )
        clearance = 0.0 if close.exact and close.unsure else close.clearance
        hidden = 0.0
        if finite:
            both = gradient["both"]
            sizes_ = np.add.reduceat(both.wanted * both.wanted, both.starts)
            with np.errstate(all="ignore"):
                part = MARGIN * _SINGLE * both.along / sizes_
            hidden = float(np.max(part[sizes_ > 0], initial=0.0))
        first = self._first(plain, noise, tiles) if lengths is None and not reverse else None
        return Expected(
            whole, forward, first, gradient, finite, clearance, source.largest, hidden, probe
        )

    def _forward(self, plain: Result, noise: Result, tiles: _Tiles) -> Results:
        wanted, errors = {}, {}
        for name in self._step.outputs:
            wanted[f"output {name}"] = plain.outputs[name][:, tiles.pattern]
            errors[f"output {name}"] = _error(noise.outputs[name], plain.outputs[name])[
                :, :, tiles.pattern
            ]
        for name in self._step.states:
            wanted[f"state {name}"] = plain.states[name][tiles.pattern]
            errors[f"state {name}"] = _error(noise.states[name], plain.states[name])[
                :, tiles.pattern
            ]
        return results(wanted, errors)

    def _first(self, plain: Result, noise: Result, tiles: _Tiles) -> Results:
        wanted, errors = {}, {}
        here, there = plain.moments[0].values, noise.moments[0].values
        labels = [(f"output {name}", name) for name in self._step.outputs]
        pairs = zip(self._step.states, self._step.next_states, strict=True)
        labels += [(f"state {name}", after) for name, after in pairs]
        for label, name in labels:
            wanted[label] = here[name][tiles.pattern]
            errors[label] = _error(there[name], here[name])[:, tiles.pattern]
        return results(wanted, errors)

    def _gradients(
        self, found: Mapping[str, Any], tiles: _Tiles, weights: Any
    ) -> dict[str, Results]:
        """Gradients of rows by the size of each, those of parameters as they are. Their sums are
        over more rows than were computed, and round accordingly."""
        own = tiles.size / weights[tiles.pattern]
        more = math.sqrt(max(1.0, len(tiles.pattern) / len(weights)))
        gradient: dict[str, Results] = {}
        wanted: dict[str, dict[str, Any]] = {}
        errors: dict[str, dict[str, Any]] = {}
        for which, (exact, noise) in found.items():
            wanted[which], errors[which] = {}, {}
            for name, array in exact.items():
                error = _error(noise[name], array)
                if name in self._step.params:
                    error = error * more
                elif name in self._step.inputs:
                    array = array[:, tiles.pattern] * own[:, None]
                    error = error[:, :, tiles.pattern] * own[:, None]
                else:
                    array = array[tiles.pattern] * own[:, None]
                    error = error[:, tiles.pattern] * own[:, None]
                wanted[which][name], errors[which][name] = array, error
            gradient[which] = results(wanted[which], errors[which])
        if "both" in found:
            return gradient
        names = tuple(wanted["outputs"])
        gradient["both"] = results(
            {n: wanted["outputs"][n] + wanted["states"][n] for n in names},
            {n: errors["outputs"][n] + errors["states"][n] for n in names},
        )
        nothing = {n: np.zeros_like(wanted["outputs"][n]) for n in names}
        gradient["none"] = _exactly(nothing)
        return gradient

    def _probe(
        self, point: Point, found: Mapping[str, Any], random: Random
    ) -> tuple[float, float, float]:
        """One slope along everything: by the gradient expected, by a complex step, and what it may
        be off: the gradient was checked at small points, and this is no place to be wrong."""
        given = point.given()
        along = {name: random.uniform(np.shape(array)) for name, array in given.items()}
        got, spread = 0.0, 0.0
        for exact, noise in found.values():
            for name, direction in along.items():
                got += float(np.sum(direction * exact[name]))
                spread += float(np.sum(abs(direction * _error(noise[name], exact[name]))))
        return got, float(slope(self._step, point, along).sum()), spread * 2.0**-53


def _zero_lengths(expected: Expected) -> Expected:
    """The same point, every row of which has ended before it began."""
    point = expected.point
    zeros = np.zeros(point.rows, np.int64)
    ended = with_lengths(point, zeros)
    forward = {f"output {n}": np.zeros(a.shape) for n, a in point.d_outputs.items()}
    forward |= {f"state {n}": a for n, a in point.states.items()}
    nothing = {n: np.zeros(np.shape(a)) for n, a in point.given().items()}
    passed = {**nothing, **point.d_states}
    kept = {"both": passed, "states": passed, "outputs": nothing, "none": nothing}
    return replace(
        expected, point=ended, forward=_exactly(forward), first=None,
        gradient={name: _exactly(kept[name]) for name in expected.gradient},
    )  # fmt: skip


def _all_lengths(expected: Expected) -> Expected:
    """The same point, the length of every row given."""
    point = expected.point
    lengths = np.full(point.rows, point.steps, np.int64)
    return replace(expected, point=replace(point, lengths=lengths), first=None)


def _exactly(arrays: Arrays) -> Results:
    return results(arrays, {n: np.zeros((SAMPLES, *np.shape(a))) for n, a in arrays.items()})


def with_lengths(point: Point, lengths: Any) -> Point:
    """With NaN wherever a row has ended."""
    ended = (np.arange(point.steps)[:, None] >= lengths)[..., None]
    return replace(
        point, lengths=lengths,
        inputs={n: np.where(ended, np.nan, a) for n, a in point.inputs.items()},
        d_outputs={n: np.where(ended, np.nan, a) for n, a in point.d_outputs.items()},
    )  # fmt: skip


def _rank(found: Expected) -> tuple[bool, bool, float]:
    return found.finite, found.comparable("float32"), -max(0.0, found.hidden - SEEN)


def _ragged(steps: int, rows: int, random: Random) -> Any:
    """Lengths of every kind: whole, none, and in between."""
    lengths = np.array([random.choice(range(steps + 1)) for _ in range(rows)], np.int64)
    lengths[0] = max(steps - 1, 1)
    if rows > 1:
        lengths[1] = steps
    if rows > 2:
        lengths[2] = 0
    return lengths


def _short(arrays: Arrays) -> dict[str, Any]:
    """Numbers of nine binary digits."""
    return {name: np.round(array * 256) / 256 for name, array in arrays.items()}


def _zeros(arrays: Arrays) -> dict[str, Any]:
    return {name: np.zeros_like(array) for name, array in arrays.items()}


def _weighted(point: Point, weights: Any) -> Point:
    by = weights[:, None]
    return replace(
        point,
        d_outputs={n: a * by for n, a in point.d_outputs.items()},
        d_states={n: a * by for n, a in point.d_states.items()},
    )


def _spread(point: Point, tiles: _Tiles) -> Point:
    """All rows, from those that are computed."""
    k, size = tiles.pattern, tiles.size[:, None]
    whole = replace(
        point, rows=len(k),
        inputs={n: a[:, k] for n, a in point.inputs.items()},
        states={n: a[k] for n, a in point.states.items()},
        d_outputs={n: a[:, k] * size for n, a in point.d_outputs.items()},
        d_states={n: a[k] * size for n, a in point.d_states.items()},
    )  # fmt: skip
    return whole if point.lengths is None else with_lengths(whole, point.lengths[k])


def _error(noise: Any, exact: Any) -> Any:
    return (noise.value - exact) / UNIT


def _as_bounded(plain: Result, noise: Result, wanted: bool) -> Result:
    """The plain run with what rounding may do to it, as kinks.py wants it."""
    moments: list[Moment] = []
    if not wanted:
        return Result({}, {}, ())
    for here, there in zip(plain.moments, noise.moments, strict=True):
        values = {}
        for name, array in here.values.items():
            error = _error(there.values[name], array)
            values[name] = Bounded(array, _OF_KINKS * np.sqrt((error * error).mean(axis=0)))
        moments.append(Moment(here.rows, here.times, values))
    return Result({}, {}, tuple(moments))
