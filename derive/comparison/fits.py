"""How near one cell can come to another: least squares fits at several widths.

In: two Cells.  Out: a `Distance` for each width tried: parameters and inputs of the one, and the
nearest that the other came.
Not here: what follows from it (equal.py). A fit that stays away is evidence and no proof.

The source starts from zero states. Those of the target at the start are fitted as well, the same
for all rows, because a state may be the other's in another form. Where outputs show every state
of both, both start from the same random ones instead. All starts of a fit, and all
directions of a Jacobian, are one array with an axis of its own: many fits cost what one costs.
Starts are the source's parameters under the target's names, parameters of the source of the same
shape in any order and with any sign, and random ones of several sizes. The number of runs is
fixed, so the result does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from derive.comparison.many_runs import outputs
from derive.comparison.saturation import has_stairs, on_plateau, read, saturated
from derive.comparison.widths import Fitted, lengths, paired, shape_of

Arrays = dict[str, Any]
Sizes = Mapping[str, int]

#: Widths of units and inputs, and how many starts: one alone, where least can go wrong; two.
WIDTHS = ((1, 1, 32), (2, 2, 6))
ROWS, STEPS, ROUNDS = 12, 4, 40
#: A fit of more numbers than this takes fewer rounds, for each costs as many runs as there are; and
#: so many numbers all starts together may have, beyond the FEWEST.
MANY, ALL, FEWEST = 60, 500, 6
#: Numbers that one run may hold; it bounds the memory.
LARGEST = 1_500_000
DONE, STEP = 1e-10, 1e-6
TRIALS = 6.0 ** np.array([-2, -1, 0, 1, 3, 6])
#: A fit that stays further away than this, relative to the outputs, is apart; where at least
#: ALIKE fits from different starts end at the same distance, so is one above LEAST.
APART, LEAST, ALIKE = 0.02, 1e-4, 3
#: Where a fit is between the two, so many times as many starts are made.
MORE = 3
#: A fit that is nearer than this may be a map, and is looked at far out. Fits that come this
#: close to a cell of their own kind are able to, if one start in OFTEN does.
NEAR, CLOSE, OFTEN = 1e-6, 1e-5, 8


@dataclass(frozen=True, slots=True)
class Distance:
    """How near `target` comes to `source` at one point: the best of several fits.

    params: of the source; fitted: the target's, and its initial states; wanted, got: the outputs
    at the place where they differ most. relative: that difference, relative to all outputs.
    alike: how many fits ended there.
    """

    source: str
    target: str
    relative: float
    params: Arrays
    fitted: Arrays
    inputs: Arrays
    output: str
    place: tuple[int, ...]
    wanted: float
    got: float
    alike: int
    state: Arrays

    @property
    def apart(self) -> bool:
        """Whether that is evidence: far away, or less so where several fits end there."""
        return self.relative >= (APART if self.alike < ALIKE else LEAST)


@dataclass(frozen=True, slots=True)
class Nearest:
    """best: the fit that tells most. evidence: whether the target then is another function than
    the source; incapable: whether that it is not is because fits do not even find back to
    parameters of the target itself; mute: or because outputs of the source hardly change with some
    of its parameters, or those of the target where the fit ended: it may end anywhere then."""

    best: Distance | None
    evidence: bool
    incapable: bool
    mute: bool = False


def nearest(source: Fitted, target: Fitted) -> Nearest:
    """Fits at each of WIDTHS, up to the first at which they are evidence.

    They are if fits to two points stay apart at a width at which fits to the target itself, from
    starts that know nothing, come close; or if all that come close are apart far out.
    """
    best, incapable, mute = None, False, False
    for k, (hidden, inputs, starts) in enumerate(WIDTHS):
        both = lengths(source, target, hidden, inputs, strict=False)
        if both is None:
            continue
        fits = [_Fit(source, target, *both, seed=11 + 20 * j + k) for j in (0, 1)]
        found = fits[0].settled(starts)
        if found.apart and not capable(target, k):
            incapable = True
        elif found.apart and fits[0].blind(found):
            mute = True
        elif found.apart:
            again = fits[1].settled(starts)
            if again.apart and not fits[1].blind(again):
                return Nearest(found, True, False)
            mute |= again.apart
        elif found.relative < NEAR:
            away = fits[0].far(found)
            if away.apart and not fits[0].mute(found):
                return Nearest(away, True, False)
            mute |= away.apart
        best = found
    return Nearest(best, False, incapable, mute and not incapable)


def mute_note(source: str, target: str) -> str:
    return (
        f"fits of {target} are no evidence: outputs of {source} or {target} hardly change with "
        "parameters there"
    )


def shown(source: Fitted, target: Fitted) -> Distance | None:
    """The best of a few fits: in numbers what is proved already."""
    hidden, inputs, starts = WIDTHS[-1]
    both = lengths(source, target, hidden, inputs, strict=False)
    return None if both is None else _Fit(source, target, *both, seed=12).near(starts)


@lru_cache(maxsize=64)
def capable(cell: Fitted, k: int) -> bool:
    """Whether fits find the way back to parameters of the cell itself, from random starts: if
    they do not, that they stay away from another cell is no evidence. k: of WIDTHS."""
    hidden, inputs, starts = WIDTHS[k]
    both = lengths(cell, cell, hidden, inputs, strict=False)
    if both is None:
        return False
    fit = _Fit(cell, cell, both[0], both[0], seed=31 + k)
    found = fit.near(starts, named=False)
    close = found.relative < CLOSE and found.alike * OFTEN >= fit.count(starts)
    # Outputs that hardly change are met by any parameters.
    return close and not fit.mute(found)


class _Fit:
    """One fit of the target's parameters to the source's outputs at one point."""

    def __init__(
        self, source: Fitted, target: Fitted, here: Sizes, there: Sizes, seed: int
    ) -> None:
        self.source, self.target, self.here, self.there = source, target, here, there
        self.random = np.random.default_rng(seed)
        self.params = self.draw(source.params, 1.5)
        self.pinned = _pinned(source, target)
        shapes = {n: shape_of(s, there) for n, s in target.params.items()}
        starts = {
            f"{n} at first": shape_of(s, there) for n, s in target.states.items() if not self.pinned
        }
        self.free = {**shapes, **starts}

    def draw(self, group: Mapping[str, Any], scale: float, *front: int) -> Arrays:
        return {
            n: self.random.uniform(-scale, scale, (*front, *shape_of(s, self.here)))
            for n, s in group.items()
        }

    def settled(self, count: int) -> Distance:
        """The best of `count` fits, or of more where a few only were made and too few of them end
        at the same distance."""
        found = self.near(count)
        unsure = count == FEWEST and found.relative >= LEAST and not found.apart
        return self.near(MORE * count) if unsure and self.count(MORE * count) > count else found

    def count(self, wanted: int) -> int:
        """How many starts are made."""
        size = sum(int(np.prod(shape)) for shape in self.free.values())
        return max(FEWEST, min(wanted, ALL // max(1, size)))

    def near(self, count: int, *, named: bool = True) -> Distance:
        """The best of `count` fits, at ordinary numbers. named: whether one of them starts at
        the source's parameters of the same names."""
        x = self.draw(self.source.inputs, 2.0, STEPS, ROWS)
        state = self.draw(self.source.states, 1.0 if self.pinned else 0.0, 1, ROWS)
        wanted = self.wanted(x, state)
        if not np.isfinite(wanted).all():
            flat = np.zeros(sum(int(np.prod(s)) for s in self.free.values()))
            return self.told(x, state, wanted, wanted, flat, 0)
        starts = _starts(self.random, self.params, self.free, self.count(count), named=named)
        flat, alike = _fit(lambda z: self.run(z, x, state), wanted, starts, first=named)
        got = self.run(flat[np.newaxis], x, state)[0]
        return self.told(x, state, wanted, got, flat, alike)

    def far(self, fit: Distance) -> Distance:
        """The fitted parameters at zeros, integers and large numbers, What parameters
        change that are off by as much as the fit leaves open is taken off the difference."""
        flat = np.concatenate([np.ravel(fit.fitted[n]) for n in self.free] or [np.zeros(0)])
        sizes = 10.0 ** np.arange(ROWS)
        x = self.draw(self.source.inputs, 1.0, STEPS, ROWS)
        x = {
            n: np.round(v * sizes.reshape(ROWS, *(1,) * (v.ndim - 2)), 0 if k else 3)
            for k, (n, v) in enumerate(x.items())
        }
        for value in x.values():
            value[0] = np.round(value[0])
            value[:, -1] = 0.0
        state = {n: v[np.newaxis] for n, v in fit.state.items()}
        state = {n: np.round(v) for n, v in state.items()}
        for value in state.values():
            value[:, -1] = 0.0
        wanted = self.wanted(x, state)
        near = flat + self.unsure(flat, fit)
        got = self.run(np.concatenate([flat[np.newaxis], near]), x, state)
        with np.errstate(all="ignore"):
            unsure = np.abs(got[1:] - got[0]).sum(axis=0)
            gap = np.abs(got[0] - wanted) - 3 * unsure
            off = gap / (1e-3 + np.abs(wanted) + np.abs(got[0]))
        off[~np.isfinite(off)] = 0.0
        at = int(np.argmax(off))
        told = self.told(x, state, wanted, got[0], flat, fit.alike, at)
        return replace(told, relative=max(0.0, float(off[at])))

    def unsure(self, flat: Any, fit: Distance) -> Any:
        """[n, numbers]: how far the fitted numbers may be off, along each singular direction of
        the Jacobian: the less it tells of a direction, the further, up to 1."""
        if not flat.size:
            return np.zeros((1, 0))
        state = {n: v[np.newaxis] for n, v in fit.state.items()}
        plain = self.run(flat[np.newaxis], fit.inputs, state)[0]
        wanted = self.wanted(fit.inputs, state)
        moved = self.run(flat + STEP * np.eye(flat.size), fit.inputs, state)
        slope = (moved - plain) / STEP
        if not np.isfinite(slope).all():
            return np.zeros((1, flat.size))
        directions, values, _ = np.linalg.svd(slope)
        values = np.concatenate([values, np.zeros(flat.size - len(values))])
        rest = 10 * float(np.linalg.norm(plain - wanted)) + 1e-12 * (1 + np.linalg.norm(wanted))
        off = np.minimum(1.0, rest / np.maximum(values, 1e-300))
        return directions.T * off[:, np.newaxis]

    def mute(self, fit: Distance) -> bool:
        """Whether outputs of the source hardly change with its parameters."""
        state = {n: v[np.newaxis] for n, v in fit.state.items()}

        def run(params: Mapping[str, Any]) -> dict[str, Any]:
            return outputs(self.source, {**params}, fit.inputs, state, self.here, STEPS, ROWS)

        return saturated(run, self.params, read(self.source), stairs=has_stairs(self.source))

    def stuck(self, fit: Distance) -> bool:
        """Whether the fit ended where the target's output hardly changes with any parameter at the
        place where it is furthest away: then it does not see which way to go. Where several fits
        end there, that is the nearest."""
        if fit.alike >= ALIKE:
            return False
        key = self.target.step.outputs[list(self.source.outputs).index(fit.output)]
        first = {
            n: fit.state[self.pinned[n]][np.newaxis]
            if self.pinned
            else np.broadcast_to(fit.fitted[f"{n} at first"], (1, ROWS, *shape_of(s, self.there)))
            for n, s in self.target.states.items()
        }
        x = paired(self.target.inputs, fit.inputs)

        def run(params: Mapping[str, Any]) -> dict[str, Any]:
            return outputs(self.target, {**params}, x, first, self.there, STEPS, ROWS)

        params = {n: fit.fitted[n] for n in self.target.params}
        names = read(self.target, key) & params.keys()
        return on_plateau(run, params, names, key, fit.place[2:])

    def blind(self, fit: Distance) -> bool:
        """Whether that the fit stays away tells of saturation, not of the two functions."""
        return self.mute(fit) or self.stuck(fit)

    def wanted(self, x: Arrays, state: Arrays) -> Any:
        given = {n: v[np.newaxis] for n, v in self.params.items()}
        with np.errstate(all="ignore"):
            found = outputs(self.source, given, x, state, self.here, STEPS, ROWS)
        self.shapes = {k: v.shape[1:] for k, v in found.items()}
        return np.concatenate([v.reshape(-1) for v in found.values()])

    def run(self, flat: Any, x: Arrays, state: Arrays) -> Any:
        """[n, numbers of the target] -> [n, outputs]"""
        values = _unpacked(flat, self.free)
        first = {
            n: state[self.pinned[n]]
            if self.pinned
            else np.broadcast_to(
                values[f"{n} at first"][:, np.newaxis], (len(flat), ROWS, *shape_of(s, self.there))
            )
            for n, s in self.target.states.items()
        }
        with np.errstate(all="ignore"):
            out = outputs(
                self.target, values, paired(self.target.inputs, x), first, self.there, STEPS, ROWS
            )
        # What no parameter stands in has been computed once for all.
        each = [np.broadcast_to(v, (len(flat), *v.shape[1:])) for v in out.values()]
        return np.concatenate([v.reshape(len(flat), -1) for v in each], axis=1)

    def told(
        self,
        x: Arrays,
        state: Arrays,
        wanted: Any,
        got: Any,
        flat: Any,
        alike: int,
        at: int | None = None,
    ) -> Distance:
        gap = np.abs(got - wanted)
        at = int(np.argmax(gap)) if at is None else at
        scale = max(float(np.sqrt(np.mean(wanted**2))), 1e-12)
        key, place = _where(at, self.shapes)
        name = dict(zip(self.source.step.outputs, self.source.outputs, strict=True))[key]
        return Distance(
            self.source.name,
            self.target.name,
            float(gap[at]) / scale,
            self.params,
            _unpacked(flat, self.free),
            x,
            name,
            place,
            float(wanted[at]),
            float(got[at]),
            alike,
            {n: v[0] for n, v in state.items()},
        )


def _pinned(source: Fitted, target: Fitted) -> dict[str, str]:
    """{state of target: of source}, where outputs show every state of either: those must be the
    same from the start. Empty where some are hidden: then only zero states correspond."""
    found = {}
    for mine, theirs in zip(target.step.outputs, source.step.outputs, strict=True):
        if mine in target.step.next_states and theirs in source.step.next_states:
            state = target.step.states[target.step.next_states.index(mine)]
            found[state] = source.step.states[source.step.next_states.index(theirs)]
    whole = set(found) == set(target.step.states) and set(found.values()) == set(source.states)
    return found if whole else {}


def _starts(
    random: Any, params: Arrays, free: Mapping[str, Any], count: int, *, named: bool
) -> Any:
    rows = []
    for k in range(count):
        values = {}
        for name, shape in free.items():
            size = 10 ** random.uniform(-1, 1) if k % 2 else 1.0
            value = random.uniform(-1.5, 1.5, shape) * size
            if name.endswith(" at first"):
                value = np.zeros(shape)
            elif named and k == 0 and name in params and params[name].shape == shape:
                value = params[name]
            elif named and k < count // 2:
                alike = [n for n, v in params.items() if v.shape == shape]
                if alike:
                    value = params[random.choice(alike)] * random.choice([1, -1])
                    value = value + random.normal(size=shape) * 0.01
            values[name] = value
        rows.append(np.concatenate([np.ravel(v) for v in values.values()] or [np.zeros(0)]))
    return np.array(rows)


def _unpacked(flat: Any, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    values, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        values[name] = flat[..., at : at + size].reshape(*flat.shape[:-1], *shape)
        at += size
    return values


def _where(at: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    for key, shape in shapes.items():
        size = int(np.prod(shape))
        if at < size:
            return key, tuple(int(k) for k in np.unravel_index(at, shape))
        at -= size
    raise AssertionError


def _fit(run: Any, wanted: Any, starts: Any, *, first: bool) -> tuple[Any, int]:
    """Levenberg and Marquardt's method from all starts at once: the best end, and how many others
    are as near."""
    flat = starts.copy()
    count, size = flat.shape
    residual = run(flat) - wanted
    error = _mean(residual)
    damping = np.full(count, 1e-2)
    alive = np.isfinite(error)
    group = max(1, LARGEST // max(1, size * wanted.size))
    for _ in range(ROUNDS * MANY // max(MANY, size)):
        alive &= error > DONE**2
        if not size or not alive.any() or (first and error.min() < DONE**2):
            break
        for some in np.array_split(np.flatnonzero(alive), -(-int(alive.sum()) // group)):
            moved = flat[some][:, np.newaxis] + STEP * np.eye(size)
            ends = run(moved.reshape(-1, size)).reshape(len(some), size, -1)
            slope = (ends - wanted - residual[some][:, np.newaxis]) / STEP
            usable = np.isfinite(slope).all(axis=(1, 2))
            alive[some[~usable]] = False
            some, slope = some[usable], slope[usable]
            if not len(some):
                continue
            square = slope @ np.swapaxes(slope, 1, 2)
            gradient = (slope @ residual[some][:, :, np.newaxis])[..., 0]
            values, vectors = np.linalg.eigh(square)
            turned = np.einsum("nij,ni->nj", vectors, gradient)
            scales = damping[some][:, np.newaxis] * TRIALS
            steps = turned[:, np.newaxis] / (
                np.maximum(values, 0)[:, np.newaxis] + scales[..., np.newaxis]
            )
            trials = flat[some][:, np.newaxis] - np.einsum("nij,nkj->nki", vectors, steps)
            ends = run(trials.reshape(-1, size)).reshape(*trials.shape[:2], -1) - wanted
            errors = _mean(ends)
            best = errors.argmin(axis=1)
            row = np.arange(len(some))
            better = errors[row, best] < error[some] * (1 - 1e-5)
            alive[some[~better]] = False
            kept = some[better]
            at = row[better], best[better]
            flat[kept], residual[kept], error[kept] = trials[at], ends[at], errors[at]
            damping[kept] = np.maximum(scales[at], 1e-14)
    best = float(error.min())
    return flat[int(np.argmin(error))], int((error <= max(best * 1.02, CLOSE**2)).sum())


def _mean(residual: Any) -> Any:
    with np.errstate(all="ignore"):
        value = np.mean(residual**2, axis=-1)
    return np.where(np.isfinite(value), value, np.inf)
