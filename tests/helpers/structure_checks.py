"""What `derive.structure` claims of a cell, held against numbers of the interpreter.

In: a Cell.  Out: `refuted`, sentences that say which claim a number contradicts; none is good.
The numbers come from `interpret` and from differences of its results; nothing of derive/recurrence
is used for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np

import derive
from derive.cell import Cell
from derive.inspect.facts.structure import Structure
from derive.program import Program, interpret
from derive.recurrence.hazards import Verdict
from derive.recurrence.jacobian import Kind
from derive.recurrence.linear import Degree
from derive.symbolic.evaluate import MPMATH
from derive.symbolic.interval import Interval

#: Lengths of the axes of states, in the order in which they come, and of all other dimensions.
STATE_SIZES, OTHER_SIZE = (6, 3, 5, 4), 2
ROWS = 3
Values = dict[str, Any]


def refuted(cell: Cell, seed: int = 0, found: Structure | None = None) -> list[str]:
    """Claims that some number contradicts. found: what is claimed, by derive if left out."""
    point = Point(cell, seed)
    found = found or derive.structure(cell)
    if not cell.step.states:
        return []
    with np.errstate(all="ignore"):
        return [
            *point.intervals(found),
            *point.degrees(found),
            *point.patterns(found),
            *point.trajectories(found),
            *point.growth(found),
            *point.sizes_in_time(found),
            *point.inverse(found),
            *point.numbers(found),
            *point.stabilisers(found),
            *point.coefficients(found),
        ]


class Point:
    """A cell with sizes, and a source of numbers."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.step = cell.step
        self.table = cell.step.program.table()
        self.random = np.random.default_rng(seed)
        own = dict.fromkeys(d for s in cell.step.states for d in self.table[s].shape)
        self.sizes = dict.fromkeys(cell.step.program.dims(), OTHER_SIZE)
        names = [dim for dim in own if isinstance(dim, str)]
        self.sizes |= {dim: STATE_SIZES[k % 4] for k, dim in enumerate(names)}
        self.nexts = dict(zip(cell.step.states, cell.step.next_states, strict=True))
        self.tops = {output: cell.step.outputs[k] for k, output in enumerate(cell.output_keys)}

    def lengths(self, name: str) -> tuple[int, ...]:
        shape = self.table[name].shape
        return tuple(self.sizes[dim] if isinstance(dim, str) else dim for dim in shape)

    def draw(self, name: str, spread: float, rows: int = ROWS) -> Any:
        lead = (rows,) if self.table[name].per_row else ()
        return self.random.uniform(-spread, spread, (*lead, *self.lengths(name)))

    def drawn(self, names: Any, spread: float, rows: int = ROWS) -> Values:
        return {name: self.draw(name, spread, rows) for name in names}

    def given(self, spread: float, rows: int = ROWS) -> Values:
        return self.drawn(self.step.program.inputs, spread, rows)

    def run(self, given: Mapping[str, Any], program: Program | None = None) -> Values:
        program = program or self.step.program
        rows = len(given[self.step.states[0]])
        return interpret(program, given, rows=rows, sizes=self.sizes)

    def nexts_of(self, given: Mapping[str, Any]) -> Values:
        found = self.run(given)
        return {state: found[name] for state, name in self.nexts.items()}

    # --- bounds

    def intervals(self, found: Structure) -> Iterator[str]:
        for spread in (0.7, 5.0):
            given = self.given(spread)
            for name, value in self.run(given).items():
                if not lies(value, found.bounds.free[name]):
                    yield f"{name} leaves {found.bounds.free[name]}, from any states"
            for state in self.step.states:
                given[state] = inside(given[state], found.bounds.kept[state])
            for (above, below), values in found.bounds.quotients.items():
                given[above] = given[below] * inside(given[above], values)
                while not lies(given[above], found.bounds.kept[above]):  # which holds 0
                    given[above], given[below] = given[above] / 2, given[below] / 2
            for name, value in self.run(given).items():
                if not lies(value, found.bounds.inside[name]):
                    yield f"{name} leaves {found.bounds.inside[name]}, states within their bounds"

    def trajectories(self, found: Structure) -> Iterator[str]:
        """Long ones, from zeros, with small and large inputs; and of clocks with other inputs."""
        if not any(
            kept.lo is not None or kept.hi is not None for kept in found.bounds.kept.values()
        ):
            steps = 3
        else:
            steps = 40
        for spread in (1.0, 8.0):
            params = self.drawn(self.step.params, 2.0)
            now = {state: np.zeros((ROWS, *self.lengths(state))) for state in self.step.states}
            for _ in range(steps):
                now = self.nexts_of({**params, **self.drawn(self.step.inputs, spread), **now})
                for state, value in now.items():
                    if not lies(value, found.bounds.kept[state]):
                        yield f"{state} leaves {found.bounds.kept[state]} on its way"
                for (above, below), values in found.bounds.quotients.items():
                    if not lies(now[above] / now[below], values):
                        yield f"{above} / {below} leaves {values} on its way"
        for clock in found.recurrence.clocks:
            params, start = self.drawn(self.step.params, 1.0), self.drawn(self.step.states, 1.0)
            ends = []
            for _ in range(2):
                now = start
                for _ in range(3):
                    now = self.nexts_of({**params, **self.drawn(self.step.inputs, 1.0), **now})
                ends.append(now[clock])
            if not same(*ends):
                yield f"{clock} depends on the inputs"

    def growth(self, found: Structure) -> Iterator[str]:
        given = self.given(3.0)
        for state, value in self.nexts_of(given).items():
            grown = found.bounds.growth.get(state)
            if grown is None:
                continue
            factor = found.bounds.free.of(grown.factor).size
            added = found.bounds.free.of(grown.added).size
            if factor is not None and added is not None:
                most = float(factor) * np.abs(given[state]) + float(added)
                if np.any(np.abs(value) > most * (1 + 1e-9) + 1e-9):
                    yield f"{state} grows faster than {factor} |{state}| + {added}"

    def sizes_in_time(self, found: Structure) -> Iterator[str]:
        """What the words say of growth, on a way of 30 steps: of states that are said never to
        grow two ways come no further apart, and the others grow by no more than is said."""
        apart, by = said_of_growth(found)
        if not (apart or by):
            return
        params = self.drawn(self.step.params, 1.5)
        now, other = self.drawn(self.step.states, 2.0), self.drawn(self.step.states, 2.0)
        for state in self.step.states:
            now[state] = inside(now[state], found.bounds.kept[state])
            other[state] = now[state] if state not in apart else other[state]
        for _ in range(30):
            x = self.drawn(self.step.inputs, 1.5)
            then, there = self.run({**params, **x, **now}), self.run({**params, **x, **other})
            for state, after in self.nexts.items():
                if not (np.isfinite(then[after]).all() and np.isfinite(there[after]).all()):
                    return
                before = np.abs(now[state] - other[state])
                room = 1e-9 * (1 + np.abs(now[state]).max(initial=0))
                alike = all(
                    np.array_equal(now[s], other[s]) for s in self.step.states if s != state
                )
                if (
                    state in apart
                    and alike
                    and np.any(np.abs(then[after] - there[after]) > before + room)
                ):
                    yield f"{state} grows, and is said not to"
                more = np.abs(then[after]) - np.abs(now[state])
                if state in by and np.any(more > by[state] * (1 + 1e-5) + room):
                    yield f"{state} grows by more than {by[state]}"
            now = {state: then[after] for state, after in self.nexts.items()}
            other = {state: there[after] for state, after in self.nexts.items()}

    # --- linear

    def degrees(self, found: Structure) -> Iterator[str]:
        rec = found.recurrence
        groups = [((state,), {state: rec.own[state]}) for state in self.step.states]
        groups.append((self.step.states, dict(rec.together)))
        groups += [(part, {s: rec.in_parts[s] for s in part}) for part in rec.parts]
        for states, degrees in groups:
            first, last = self.given(1.5), self.drawn(states, 1.5)
            for name in (*self.step.inputs, *self.step.states):
                first[name][1:] = first[name][0]
            third = {state: last[state][0] for state in states}
            for state in states:
                first[state][1] = 0.75 * first[state][0] + 0.25 * third[state]
                first[state][2] = third[state]
            values = self.nexts_of(first)
            for state, degree in degrees.items():
                a, middle, b = values[state]
                if not np.isfinite(values[state]).all():
                    continue
                room = 1e-9 * (1 + np.abs(values[state]).max(initial=0))
                if degree is Degree.AFFINE and np.abs(0.75 * a + 0.25 * b - middle).max() > room:
                    yield f"{state}' is not affine in {', '.join(states)}"
                if degree is Degree.CONSTANT and np.abs(a - b).max(initial=0) > room:
                    yield f"{state}' depends on {', '.join(states)}"

    def coefficients(self, found: Structure) -> Iterator[str]:
        """Of a linear recurrence: other inputs that coefficients do not read change no slope."""
        if not found.linear:
            return
        given = self.given(1.0, rows=2)
        moved = {state: self.draw(state, 1.0, 2) for state in self.step.states}
        for name in (*self.step.inputs, *self.step.states):
            if name in self.step.states or name in found.recurrence.varying:
                given[name][1] = given[name][0]
        for state in self.step.states:
            moved[state][1] = moved[state][0]
        before = self.nexts_of(given)
        after = self.nexts_of({**given, **{s: given[s] + moved[s] for s in moved}})
        for state in self.step.states:
            slope = after[state] - before[state]
            if np.isfinite(slope).all() and not same(slope[0], slope[1]):
                yield f"what multiplies {state} depends on an input that is not named"

    # --- the Jacobian

    def patterns(self, found: Structure) -> Iterator[str]:
        """Moving one unit of a state changes those units of a next value alone that may change."""
        one = self.given(1.0, rows=1)
        jacobians = self.jacobians(one)
        for before in self.step.states:
            size = math.prod(self.lengths(before))
            rows = {
                name: np.repeat(value, size + 1, axis=0) if self.table[name].per_row else value
                for name, value in one.items()
            }
            flat = rows[before].reshape(size + 1, size)
            flat[np.arange(1, size + 1), np.arange(size)] += 0.6
            for after, value in self.nexts_of(rows).items():
                if not np.isfinite(value).all():
                    continue
                values = value.reshape(size + 1, -1)
                changed = (values[1:] != values[0]).T
                pattern = found.recurrence.patterns[after, before]
                name = f"d {after}' / d {before}"
                if pattern.kind is Kind.ZERO and changed.any():
                    yield f"{name} is not zero"
                if pattern.kind in (Kind.IDENTITY, Kind.DIAGONAL) and off_diagonal(changed):
                    yield f"{name} is not diagonal"
                if pattern.kind is Kind.IDENTITY:
                    ones = np.diagonal(values[1:] - values[0])
                    if np.abs(ones - 0.6).max(initial=0) > 1e-9:
                        yield f"{name} is not the identity"
                if pattern.kind is Kind.REPEATED and (changed.sum(axis=1) > 1).any():
                    yield f"a unit of {after}' reads several of {before}"
                apart = self.apart(after, before, pattern.blocks)
                if pattern.blocks and changed[apart].any():
                    yield f"{name} is not block-diagonal over {pattern.blocks}"
                if pattern.rank and (after, before) in jacobians:
                    yield from self.ranks(name, jacobians[after, before], pattern, after)

    def apart(self, after: str, before: str, blocks: tuple[int, ...]) -> Any:
        """[units after, units before]: whether they differ along the axes of blocks."""
        counts = math.prod(self.lengths(after)), math.prod(self.lengths(before))
        if not blocks:
            return np.zeros(counts, dtype=bool)
        shape = self.lengths(after)
        places = np.indices(shape).reshape(len(shape), -1)[list(blocks)]
        return (places[:, :, None] != places[:, None, :]).any(axis=0)

    def jacobians(self, one: Values) -> dict[tuple[str, str], Any]:
        """By central differences in 50 digits: {(after, before): matrix}."""
        found = {}
        step = mpmath.mpf(10) ** -15
        with mpmath.workdps(50):
            for before in self.step.states:
                size = math.prod(self.lengths(before))
                rows = {
                    n: np.repeat(MPMATH.array(v), 2 * size, axis=0) if self.table[n].per_row
                    else MPMATH.array(v)
                    for n, v in one.items()
                }  # fmt: skip
                flat = rows[before].reshape(2 * size, size)
                for unit in range(size):
                    flat[unit, unit] += step
                    flat[size + unit, unit] -= step
                if size > 40:
                    continue
                try:
                    values = interpret(
                        self.step.program, rows, rows=2 * size, sizes=self.sizes, algebra=MPMATH
                    )
                except (ZeroDivisionError, TypeError):  # no infinity, and complex logarithms
                    continue
                for after, name in self.nexts.items():
                    value = values[name].reshape(2 * size, -1)
                    slopes = floats((value[:size] - value[size:]) / (2 * step)).T
                    if np.isfinite(slopes).all():
                        found[after, before] = slopes
        return found

    def ranks(self, name: str, matrix: Any, pattern: Any, after: str) -> Iterator[str]:
        rank = sum(int(p) if p.isdigit() else self.sizes[p] for p in pattern.rank.split(" + "))
        shape = self.lengths(after)
        places = np.indices(shape).reshape(len(shape), -1)[list(pattern.blocks)]
        for block in {tuple(column) for column in places.T}:
            inside_block = (block == places.T).all(axis=1)
            units = np.flatnonzero(inside_block) if block else np.arange(len(matrix))
            square = matrix.shape[0] == matrix.shape[1]
            part = matrix[np.ix_(units, units)] if square else matrix
            if pattern.kind is Kind.PLUS_LOW_RANK:  # apart from the diagonal
                half = len(part) // 2
                part = part[:half, half:]
            if np.linalg.matrix_rank(part, tol=1e-9 * max(1.0, np.abs(part).max(initial=0))) > rank:
                yield f"{name} has a higher rank than {pattern.rank}"

    # --- inverse, numbers, stabilisers

    def inverse(self, found: Structure) -> Iterator[str]:
        if found.inverse is None:
            return
        given = self.given(0.9)
        exact = not found.inverse.matrices
        if exact:
            with mpmath.workdps(60):
                given = {name: MPMATH.array(value) for name, value in given.items()}
                yield from self.there_and_back(found, given, MPMATH, 1e-30)
        else:
            yield from self.there_and_back(found, given, None, 1e-4)

    def there_and_back(
        self, found: Structure, given: Values, algebra: Any, room: float
    ) -> Iterator[str]:
        assert found.inverse is not None
        how = {} if algebra is None else {"algebra": algebra}
        try:
            values = interpret(self.step.program, given, rows=ROWS, sizes=self.sizes, **how)
        except (ZeroDivisionError, TypeError):
            return
        after = {state: values[name] for state, name in self.nexts.items()}
        params = {name: given[name] for name in self.step.params}
        inputs = {name: given[name] for name in self.step.inputs}
        if not all(np.isfinite(floats(v)).all() for v in after.values()):
            return
        try:
            back = found.inverse.restore(params, inputs, after, sizes=self.sizes, **how)
        except ZeroDivisionError:  # mpmath has no infinity there
            assert found.inverse.nonzero
            return
        for state, value in back.items():
            error = np.abs(floats(value - given[state])).max(initial=0)
            divided = bool(found.inverse.nonzero) and not np.isfinite(error)  # by 0
            if not (error < room or divided):
                yield f"the inverse of {state} is {error} off"

    def numbers(self, found: Structure) -> Iterator[str]:
        """Where nothing may go wrong, nothing does, with parameters and inputs of any size."""
        worst: dict[str, list[Verdict]] = {}
        for hazard in found.hazards:
            worst.setdefault(hazard.array, []).append(hazard.verdict)
        for spread in (1.0, 30.0):
            given = self.given(spread)
            for state in self.step.states:
                given[state] = inside(given[state], found.bounds.kept[state])
            values = self.run(given)
            for name, verdicts in worst.items():
                equation = self.step.program.definitions()[name]
                fine = all(np.isfinite(values[operand]).all() for operand in equation.operands)
                safe = all(v in (Verdict.NEVER, Verdict.STARTED) for v in verdicts)
                if safe and fine and not np.isfinite(values[name]).all():
                    yield f"{name} leaves the numbers"

    def stabilisers(self, found: Structure) -> Iterator[str]:
        for one in found.stabilisers:
            if one.clash is not None:
                continue
            after = self.nexts[one.state]
            kept = tuple(e for e in self.step.program.equations if e.out != after)
            inputs = (*self.step.program.inputs, after)
            free = replace(self.step.program, inputs=inputs, equations=kept)
            params = self.drawn(self.step.params, 1.0)
            now = {state: np.zeros((ROWS, *self.lengths(state))) for state in self.step.states}
            other = dict(now)
            for _ in range(4):
                x = self.drawn(self.step.inputs, 1.0)
                usual = self.run({**params, **x, **now})
                chosen = usual[after] + self.random.uniform(-1, 1, usual[after].shape)
                changed = self.run({**params, **x, **other, after: chosen}, free)
                for name in self.step.outputs:
                    if not same(usual[name], changed[name]):
                        yield f"{name} depends on how {one.state}' is chosen"
                now = {state: usual[name] for state, name in self.nexts.items()}
                other = {state: changed[name] for state, name in self.nexts.items()}


def said_of_growth(found: Structure) -> tuple[set[str], dict[str, float]]:
    """(states that are said never to grow, {state: by how much it grows a step})."""
    never: set[str] = set()
    most: dict[str, float] = {}
    for claim in found.of("bound"):
        (state, *_) = claim.about
        if "never grows" in claim.says:
            never.add(state)
        if match := re.search(r"grows by at most (\S+) a step", claim.says):
            most[state] = float(match[1])
    return never, most


def floats(value: Any) -> Any:
    """mpmath's numbers as doubles; a complex one, of a logarithm outside its domain, is NaN."""
    numbers = np.asarray(value, dtype=object)
    plain = [np.nan if isinstance(v, mpmath.mpc) else float(v) for v in numbers.ravel()]
    return np.array(plain, dtype=float).reshape(numbers.shape)


def lies(value: Any, interval: Interval) -> bool:
    """Whether numbers lie in an interval, up to rounding; what is no number does not count."""
    value = np.asarray(value, dtype=float)
    value = value[np.isfinite(value)]
    room = 1e-9 * (1 + np.abs(value))
    low = interval.lo is None or bool((value >= float(interval.lo) - room).all())
    return low and (interval.hi is None or bool((value <= float(interval.hi) + room).all()))


def inside(value: Any, interval: Interval) -> Any:
    """Numbers moved into an interval."""
    low = -np.inf if interval.lo is None else float(interval.lo)
    high = np.inf if interval.hi is None else float(interval.hi)
    if np.isfinite(low) and np.isfinite(high):
        return low + (high - low) / (1 + np.exp(-value))
    if np.isfinite(low):
        return low + np.abs(value)
    return high - np.abs(value) if np.isfinite(high) else value


def same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return True
    return bool(np.abs(a - b).max(initial=0) <= 1e-8 * (1 + np.abs(a).max(initial=0)))


def off_diagonal(changed: Any) -> bool:
    return bool((changed & ~np.eye(*changed.shape, dtype=bool)).any())
