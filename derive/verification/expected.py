"""What calls of many rows must give, from a reference of few rows.

In: a Step, its derivative, sizes, a seed.  Out: `Expectations`: points of any number of rows, every
result at each, and how far rounding takes it (noise.py).
Not here: the calls (paths.py).

Rows never meet but in the gradients of parameters, and a gradient is linear in its cotangents.
So a few rows are computed, and each row of a point is one of them with cotangents of its own
size: the reference stays cheap, and no two rows of the gradient are equal. Sizes and cotangents
have so few digits that their products are float32 numbers exactly.

One run of the forward pass serves every choice of lengths and both directions: a row that ends
early gives what the longer one gave until then, and a sequence that is turned round, each row
within its length, gives the same turned round. Gradients are computed with lengths and without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.symbolic.evaluate import Algebra
from derive.verification.kinks import Kink, closeness
from derive.verification.noise import Noisy, Source, alike, noisy
from derive.verification.points import KINDS, Random, draw, with_lengths, zeros_like
from derive.verification.reference import STEP, Arrays, Moment, Point, Result, run
from derive.verification.rounding import Bounded
from derive.verification.spread import MARGIN, Results, exactly, of_runs, results
from derive.verification.through_time import Backward, backpropagate

#: Rows that are computed; the others are like one of them.
PATTERNS = 5
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
class Expected:
    """The results at one point: `forward` of the sequence, `first` of its first step alone, and the
    gradient for each way to leave cotangents out."""

    point: Point
    forward: Results
    first: Results | None
    gradient: Mapping[str, Results]


@dataclass(frozen=True, slots=True)
class Expectations:
    """by: what is expected by (one of LENGTHS, reverse), at points made of the same numbers.

    slopes: for each gradient that was computed, its slope along one direction, the same by a
    complex step, and how far apart rounding may take them.
    """

    by: Mapping[tuple[str, bool], Expected]
    finite: bool
    clearance: float
    largest: float
    hidden: float
    slopes: tuple[tuple[float, float, float], ...]

    def comparable(self, dtype: str) -> bool:
        """Whether rounding carries no argument across a kink, and no number out of range."""
        within = self.largest < float(np.finfo(dtype).max) / _HEADROOM
        return within and self.clearance > float(np.finfo(dtype).eps) / 2


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
        self, sizes: Mapping[str, int], steps: int, rows: int,
        cotangents: Sequence[str] = COTANGENTS,
    ) -> Expectations:  # fmt: skip
        """The best of the points drawn: finite, off kinks, and showing small errors."""
        best: Expectations | None = None
        heavy = cotangents == ("both",)
        for attempt, kind in enumerate(KINDS[: DRAWN_OF_HEAVY if heavy else DRAWN]):
            random = Random(self._seed, 80, attempt, steps, rows, *sizes.values())
            found = self._at(random, kind, sizes, steps, rows, cotangents)
            if best is None or _rank(found) > _rank(best):
                best = found
            if _rank(best) == (True, True, 0.0):
                break
        assert best is not None
        return best

    def _at(
        self, random: Random, kind: Any, sizes: Mapping[str, int], steps: int, rows: int,
        cotangents: Sequence[str],
    ) -> Expectations:  # fmt: skip
        few = min(rows, PATTERNS)
        point = draw(self._step, sizes, steps, few, random, kind, 1.0, 1.0)
        point = replace(point, d_outputs=_short(point.d_outputs), d_states=_short(point.d_states))
        lengths = _ragged(steps, few, random)
        pattern = random.order(range(few)) + [random.choice(range(few)) for _ in range(rows - few)]
        size = [random.choice(range(512, 1536)) for _ in range(rows)]
        tiles = _Tiles(np.array(pattern), np.array(size) / 1024)
        weighted = _weighted(point, tiles.weights(few))
        source = Source(random.choice(range(1 << 30)))
        algebra = noisy(source)
        with np.errstate(all="ignore"):
            whole = run(self._step, point, algebra)
            close = closeness(self._kinks, point, _as_bounded(whole, bool(self._kinks)))
            along = {n: random.uniform(np.shape(a)) for n, a in point.given().items()}
            steep = self._steep(point, along)
            by: dict[tuple[str, bool], Expected] = {}
            slopes, hidden, finite = [], 0.0, True
            for ended in (None, lengths):
                result = whole if ended is None else self._shortened(whole, point, ended)
                at = replace(weighted, lengths=ended)
                found = self._backpropagated(at, result, cotangents, algebra)
                slopes.append(self._probe(at, found, along, steep))
                spread = _spread(replace(point, lengths=ended), tiles)
                first = self._first(whole, tiles) if ended is None else None
                one = Expected(
                    spread, self._forward(result, tiles), first, self._gradients(found, tiles)
                )
                finite = finite and all(
                    np.isfinite(r.wanted).all() and np.isfinite(r.element).all()
                    for r in (one.forward, *one.gradient.values())
                )
                hidden = max(hidden, _hidden(one.gradient["both"])) if finite else 0.0
                by |= _by_lengths(one)
        clearance = 0.0 if close.exact and close.unsure else close.clearance
        return Expectations(by, finite, clearance, source.largest, hidden, tuple(slopes))

    def _shortened(self, whole: Result, point: Point, lengths: Any) -> Result:
        """The run of the same point with lengths: of every row the steps that it has."""
        table = self._step.program.table()
        moments = []
        states = {name: whole.moments[0].values[name].copy() for name in self._step.states}
        for t, moment in enumerate(whole.moments):
            rows = np.flatnonzero(lengths > t)
            if not len(rows):
                break
            values = {
                name: array[rows] if table[name].per_row else array
                for name, array in moment.values.items()
            }
            moments.append(Moment(rows, np.full(len(rows), t), values))
            for name, after in zip(self._step.states, self._step.next_states, strict=True):
                states[name][rows] = values[after]
        alive = np.arange(point.steps)[:, None] < lengths
        outputs = {
            n: _masked(array, over(alive, len(table[n].shape)))
            for n, array in whole.outputs.items()
        }
        return Result(outputs, states, tuple(moments))

    def _backpropagated(
        self, point: Point, result: Result, cotangents: Sequence[str], algebra: Algebra
    ) -> dict[str, Noisy]:
        """{name: gradient}, its parts by "both", or by "outputs" and "states"."""
        d_outputs, d_states = point.d_outputs, point.d_states
        parts = [(d_outputs, d_states)]
        if cotangents != ("both",):
            parts = [(d_outputs, zeros_like(d_states)), (zeros_like(d_outputs), d_states)]
        source = next(iter(result.outputs.values())).source
        seeded = replace(
            point,
            d_outputs={n: alike([of[n] for of, _ in parts], source) for n in d_outputs},
            d_states={n: alike([of[n] for _, of in parts], source) for n in d_states},
        )
        return backpropagate(self._backward, seeded, result, algebra)

    def _steep(self, point: Point, along: Arrays) -> tuple[Arrays, Arrays]:
        """The slopes of outputs [T, B, width] and of the states after each step, along a
        direction."""
        by = {name: 1j * STEP * array for name, array in along.items()}
        found = run(self._step, point.moved(by))
        states = {
            name: np.stack([np.imag(moment.values[after]) / STEP for moment in found.moments])
            for name, after in zip(self._step.states, self._step.next_states, strict=True)
        }
        return {n: np.imag(a) / STEP for n, a in found.outputs.items()}, states

    def _probe(
        self, point: Point, found: Mapping[str, Noisy], along: Arrays,
        steep: tuple[Arrays, Arrays],
    ) -> tuple[float, float, float]:  # fmt: skip
        """One slope along everything: by the gradient expected, by a complex step, and what it may
        be off: the gradient was checked at small points, and this is no place to be wrong."""
        got, spread = 0.0, 0.0
        for name, direction in along.items():
            got += float(np.sum(direction * found[name].exact))
            spread += float(np.sum(abs(direction * found[name].errors)))
        lengths = np.full(point.rows, point.steps) if point.lengths is None else point.lengths
        alive = np.arange(point.steps)[:, None] < lengths
        outputs, states = steep
        wanted = sum(
            float(np.sum(point.d_outputs[n] * a * over(alive, a.ndim - 2)))
            for n, a in outputs.items()
        )
        rows = np.arange(point.rows)
        for name, after in states.items():
            began = over(lengths > 0, after.ndim - 2)
            last = np.where(began, after[lengths - 1, rows], along[name])
            wanted += float(np.sum(point.d_states[name] * last))
        return got, wanted, spread * 2.0**-53

    def _forward(self, result: Result, tiles: _Tiles) -> Results:
        found = {f"output {n}": result.outputs[n][:, tiles.pattern] for n in self._step.outputs}
        found |= {f"state {n}": result.states[n][tiles.pattern] for n in self._step.states}
        return of_runs(found, 0)

    def _first(self, whole: Result, tiles: _Tiles) -> Results:
        values = whole.moments[0].values
        labels = [(f"output {name}", name) for name in self._step.outputs]
        pairs = zip(self._step.states, self._step.next_states, strict=True)
        labels += [(f"state {name}", after) for name, after in pairs]
        return of_runs({label: values[name][tiles.pattern] for label, name in labels}, 0)

    def _gradients(self, found: Mapping[str, Noisy], tiles: _Tiles) -> dict[str, Results]:
        """Gradients of rows by the size of each, those of parameters as they are. Their sums are
        over more rows than were computed, and round accordingly."""
        few = int(max(tiles.pattern)) + 1
        sizes = tiles.size / tiles.weights(few)[tiles.pattern]
        table = self._step.program.table()
        more = math.sqrt(max(1.0, len(tiles.pattern) / few))
        wanted: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        parts = max((len(array.value) for array in found.values()), default=1)
        for part in range(parts):
            wanted.append({})
            errors.append({})
            for name, array in found.items():
                # What depends on no cotangent is 0 in all parts, and computed once.
                of = min(part, len(array.value) - 1)
                exact, error = array.exact[of], array.errors[of]
                if name in self._step.params:
                    error = error * more
                else:
                    rank = len(table[name].shape)
                    rows = (..., tiles.pattern, *(slice(None),) * rank)
                    exact = exact[rows] * over(sizes, rank)
                    error = error[rows] * over(sizes, rank)
                wanted[-1][name], errors[-1][name] = exact, error
        if len(wanted) == 1:
            return {"both": results(wanted[0], errors[0])}
        both = [{n: one[n] + other[n] for n in one} for one, other in (wanted, errors)]
        nothing = {name: np.zeros_like(array) for name, array in wanted[0].items()}
        return {
            "outputs": results(wanted[0], errors[0]), "states": results(wanted[1], errors[1]),
            "both": results(*both), "none": exactly(nothing),
        }  # fmt: skip


def _masked(array: Noisy, alive: Any) -> Noisy:
    """`array`, 0 where a row has ended."""
    return Noisy(np.where(alive, array.value, 0.0), array.source)


def _hidden(both: Results) -> float:
    """The largest part of an array that float32 could hide."""
    sizes = np.add.reduceat(both.wanted * both.wanted, both.starts)
    with np.errstate(all="ignore"):
        part = MARGIN * _SINGLE * both.along / sizes
    return float(np.max(part[sizes > 0], initial=0.0))


def _by_lengths(one: Expected) -> dict[tuple[str, bool], Expected]:
    """This point, and what follows from it: {(one of LENGTHS, reverse): expected}."""
    found = {"ragged": one}
    if one.point.lengths is None:
        found = {"none": one, "all": _all_lengths(one), "zero": _zero_lengths(one)}
    turned = {(name, True): _turned(each) for name, each in found.items()}
    return {(name, False): each for name, each in found.items()} | turned


def _turned(one: Expected) -> Expected:
    """The same numbers the other way round in time, each row within its length."""
    point, steps = one.point, one.point.steps
    lengths = np.full(point.rows, steps) if point.lengths is None else point.lengths
    times = np.arange(steps)[:, None]
    times = np.where(times < lengths, lengths - 1 - times, times)
    rows = np.arange(point.rows)

    def turn(arrays: Arrays) -> dict[str, Any]:
        return {name: array[times, rows] for name, array in arrays.items()}

    def turn_results(found: Results) -> Results:
        wanted, element = found.wanted.copy(), found.element.copy()
        for name, start, shape in zip(found.names, found.starts, found.shapes, strict=True):
            if name in point.inputs or name.startswith("output "):
                here = slice(start, start + math.prod(shape))
                for flat in (wanted, element):
                    flat[here] = flat[here].reshape(shape)[times, rows].reshape(-1)
        return replace(found, wanted=wanted, element=element)

    turned = replace(
        point, inputs=turn(point.inputs), d_outputs=turn(point.d_outputs), reverse=True
    )
    gradient = {name: turn_results(found) for name, found in one.gradient.items()}
    return Expected(turned, turn_results(one.forward), None, gradient)


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
        expected, point=ended, forward=exactly(forward), first=None,
        gradient={name: exactly(kept[name]) for name in expected.gradient},
    )  # fmt: skip


def _all_lengths(expected: Expected) -> Expected:
    """The same point, the length of every row given."""
    point = expected.point
    lengths = np.full(point.rows, point.steps, np.int64)
    return replace(expected, point=replace(point, lengths=lengths), first=None)


def _rank(found: Expectations) -> tuple[bool, bool, float]:
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


def _weighted(point: Point, weights: Any) -> Point:
    return replace(
        point,
        d_outputs={n: a * over(weights, a.ndim - 2) for n, a in point.d_outputs.items()},
        d_states={n: a * over(weights, a.ndim - 1) for n, a in point.d_states.items()},
    )


def over(of_rows: Any, rank: int) -> Any:
    """Numbers of rows, with as many axes of length 1 as an array of theirs has axes."""
    return of_rows.reshape(*of_rows.shape, *(1,) * rank)


def _spread(point: Point, tiles: _Tiles) -> Point:
    """All rows, from those that are computed."""
    k, size = tiles.pattern, tiles.size
    whole = replace(
        point, rows=len(k),
        inputs={n: a[:, k] for n, a in point.inputs.items()},
        states={n: a[k] for n, a in point.states.items()},
        d_outputs={n: a[:, k] * over(size, a.ndim - 2) for n, a in point.d_outputs.items()},
        d_states={n: a[k] * over(size, a.ndim - 1) for n, a in point.d_states.items()},
    )  # fmt: skip
    return whole if point.lengths is None else with_lengths(whole, point.lengths[k])


def _as_bounded(whole: Result, wanted: bool) -> Result:
    """The run with what rounding may do to it, as kinks.py wants it."""
    moments: list[Moment] = []
    if not wanted:
        return Result({}, {}, ())
    for moment in whole.moments:
        values = {}
        for name, array in moment.values.items():
            spread = np.sqrt((array.errors**2).mean(axis=1))
            values[name] = Bounded(array.exact[0], _OF_KINKS * spread[0])
        moments.append(Moment(moment.rows, moment.times, values))
    return Result({}, {}, tuple(moments))
