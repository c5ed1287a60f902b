"""Choosing among a schedule's alternatives by measuring them on this machine.

In: a kernel and sizes.  Out: a Tuning; calls of these sizes use its winner from then on.
Not here: what there is to choose (options.py), what uses it (backend.py), clocks
(kernel/tune/clock.py).

One question after another is asked. Its alternatives are measured with the default and the best
so far, in rounds. An alternative takes over where its time by that of the best so far, in
geometric mean of forward alone and training, is below 1 - MARGIN in so many rounds that chance
would do it one time in a hundred (a sign test, for any kind of noise), and where neither of the two
became slower.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from derive.errors import BuildError
from derive.kernel.call import Call
from derive.kernel.signature import Array, Arrays, Axes, Sizes
from derive.kernel.tune.backend import TeamBackend, TunedBackend, sizes_text
from derive.kernel.tune.clock import Clock, Effort, rounds
from derive.kernel.tune.options import QUESTIONS, Choice, alternatives, both

if TYPE_CHECKING:
    from derive.kernel.kernel import Kernel

#: By how much an alternative has to be faster.
MARGIN = 0.03
#: How often chance alone may let it look so.
_CHANCE = 0.01
_EFFORT = Effort(seconds=0.15, least=7, most=31)
#: Seconds of a training call above which fewer steps are measured, but so many chunks of them.
_LONG = 0.05
_CHUNKS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """A choice that was measured, in seconds of a call and by the default's: medians."""

    choice: Choice
    forward: float
    training: float
    forward_ratio: float
    training_ratio: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `Kernel.tune` found; `str` of it is a table.

    trials: the default first, then the alternatives as they were tried; empty where there is
    nothing to choose.  steps: how many were measured, fewer than asked for where calls are long.
    remembered: whether kernels compiled from now on, in any process, use the winner.
    """

    kernel: str
    sizes: Sizes
    steps: int
    trials: tuple[Trial, ...]
    winner: Choice
    remembered: bool

    def __str__(self) -> str:
        head = f"{self.kernel}  {sizes_text(self.sizes)}"
        if not self.trials:
            return f"{head}\nnothing to choose: there is one way to run it here"
        if self.steps != self.sizes.steps:
            head += f"  ({self.steps} steps measured)"
        rows = [("", "forward", "by default", "training", "by default"), *map(_row, self.trials)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if k else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        kept = "remembered" if self.remembered else "not remembered: the cache cannot be used"
        return "\n".join([head, *lines, f"winner: {self.winner} ({kept})"])

    def as_dict(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "sizes": {"T": self.sizes.steps, "B": self.sizes.rows, "dims": dict(self.sizes.dims)},
            "steps": self.steps,
            "trials": [
                {
                    "choice": trial.choice.as_dict(),
                    "seconds": {"forward": trial.forward, "training": trial.training},
                    "ratio": {"forward": trial.forward_ratio, "training": trial.training_ratio},
                }
                for trial in self.trials
            ],
            "winner": self.winner.as_dict(),
            "remembered": self.remembered,
        }


@dataclass(frozen=True, slots=True)
class Contestant:
    """A choice doing one of two things: forward alone, or training."""

    choice: Choice
    training: bool
    call: Callable[[], object]


#: Seconds of each contestant in each round.
Measure = Callable[[Sequence[Contestant]], Sequence[Sequence[float]]]


def measured(contestants: Sequence[Contestant]) -> list[list[float]]:
    found = rounds([Clock(one.call).sample for one in contestants], _EFFORT)
    return [[seconds for seconds, _ in samples] for samples in found]


def tune(
    kernel: Kernel,
    sizes: Sizes,
    tick: Callable[[str], None] = lambda label: None,
    measure: Measure = measured,
) -> Tuning:
    """tick: called as each of QUESTIONS is answered."""
    backend = kernel._backend
    label = " ".join(filter(None, (kernel.name, kernel.target, str(kernel.dtype))))
    if not isinstance(backend, TunedBackend):
        return Tuning(label, sizes, sizes.steps, (), Choice(), False)
    params = _params(kernel, sizes)
    work: _Work | None = None
    built: dict[Choice, TeamBackend] = {Choice(): backend.default}
    best = Choice()
    trials: dict[Choice, Trial] = {}
    for question in QUESTIONS:
        team = built[best].team(Call(sizes, params, {}, {}))
        others = alternatives(question, backend.files, sizes, backend.threads, team)
        built |= _built(backend, [both(best, other) for other in others])
        tried = [choice for other in others if (choice := both(best, other)) in built]
        if tried:
            work = work or _work(kernel, backend.default, sizes, params)
            entrants = list(dict.fromkeys([Choice(), best, *tried]))
            times = _times(entrants, built, work, measure)
            for choice in entrants:
                trials.setdefault(choice, _trial(choice, times[choice], times[Choice()]))
            best = _winner(best, tried, times)
        tick(question)
    remembered = bool(trials) and backend.use(sizes, best)
    steps = work.call.sizes.steps if work else sizes.steps
    return Tuning(label, sizes, steps, tuple(trials.values()), best, remembered)


# --- deciding -------------------------------------------------------------------------------

#: Seconds in each round of forward alone, and of training.
_Times = tuple[Sequence[float], Sequence[float]]


def _winner(best: Choice, tried: Sequence[Choice], times: Mapping[Choice, _Times]) -> Choice:
    """The fastest of those that are faster than the best so far beyond doubt."""
    winner, score = best, 1.0
    for choice in tried:
        forward, training = map(_ratios, times[choice], times[best])
        means = [math.sqrt(f * t) for f, t in zip(forward, training, strict=True)]
        slower = max(map(statistics.median, (forward, training))) > 1 + MARGIN
        if _is_sure(means) and not slower and statistics.median(means) < score:
            winner, score = choice, statistics.median(means)
    return winner


def _is_sure(ratios: Sequence[float]) -> bool:
    """Whether so many ratios below 1 - MARGIN would be a rare chance if half of them were."""
    count = len(ratios)
    below = sum(ratio < 1 - MARGIN for ratio in ratios)
    ways = sum(math.comb(count, k) for k in range(below, count + 1))
    return bool(ways <= _CHANCE * 2**count)


def _ratios(times: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round: what disturbs a round disturbs both."""
    return [one / other for one, other in zip(times, others, strict=True)]


def _trial(choice: Choice, times: _Times, default: _Times) -> Trial:
    seconds = map(statistics.median, times)
    ratios = (statistics.median(_ratios(*pair)) for pair in zip(times, default, strict=True))
    return Trial(choice, *seconds, *ratios)


# --- measuring ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    """What every contestant is given."""

    call: Call
    inference: Call
    d_outputs: Arrays
    d_states: Mapping[str, Array | None]

    def forward(self, backend: TeamBackend) -> object:
        return backend.forward(self.inference)

    def train(self, backend: TeamBackend) -> object:
        _, _, saved = backend.forward(self.call)
        return backend.backward(self.call, saved, self.d_outputs, self.d_states)


def _work(kernel: Kernel, backend: TeamBackend, sizes: Sizes, params: Arrays) -> _Work:
    """With fewer steps where a call is long: they all cost the same."""
    work = _drawn(kernel, sizes, params)
    work.train(backend)
    seconds = min(_timed(work, backend) for _ in range(2))
    least = _CHUNKS * backend.chunk_steps(sizes)
    enough = max(least, math.ceil(sizes.steps * _LONG / max(seconds, 1e-9)))
    if enough >= sizes.steps:
        return work
    return _drawn(kernel, replace(sizes, steps=enough), params)


def _timed(work: _Work, backend: TeamBackend) -> float:
    start = time.perf_counter()
    work.train(backend)
    return time.perf_counter() - start


def _params(kernel: Kernel, sizes: Sizes) -> Arrays:
    """All arrays in declared order, those that are fixed included."""
    own, random = kernel.signature, np.random.Generator(np.random.PCG64(1))
    drawn = {**kernel.init(sizes.dims)}
    for name in own.fixed:
        shape = sizes.shape(own.params[name])
        drawn[name] = random.uniform(-1, 1, shape).astype(kernel.dtype)
    return {name: drawn[name] for name in own.params}


def _drawn(kernel: Kernel, sizes: Sizes, params: Arrays) -> _Work:
    random = np.random.Generator(np.random.PCG64(0))
    signature, dtype = kernel.signature, kernel.dtype

    def draw(widths: Mapping[str, Axes], *before: int) -> Arrays:
        return {
            name: random.uniform(-1, 1, (*before, *sizes.lengths(width))).astype(dtype)
            for name, width in widths.items()
        }

    steps = sizes.steps, sizes.rows
    inputs, states = draw(signature.inputs, *steps), draw(signature.states, sizes.rows)
    call, inference = (Call(sizes, params, inputs, states, training=t) for t in (True, False))
    d_outputs = draw(signature.outputs, *steps)
    return _Work(call, inference, d_outputs, dict.fromkeys(signature.states))


def _times(
    entrants: Sequence[Choice],
    built: Mapping[Choice, TeamBackend],
    work: _Work,
    measure: Measure,
) -> dict[Choice, _Times]:
    contestants = []
    for choice in entrants:
        contestants.append(Contestant(choice, False, partial(work.forward, built[choice])))
        contestants.append(Contestant(choice, True, partial(work.train, built[choice])))
    found = measure(contestants)
    return {choice: (found[2 * k], found[2 * k + 1]) for k, choice in enumerate(entrants)}


def _built(backend: TunedBackend, choices: Sequence[Choice]) -> dict[Choice, TeamBackend]:
    """Those that can be compiled, side by side."""

    def build(choice: Choice) -> TeamBackend | None:
        try:
            return backend.build(choice)
        except BuildError:
            return None

    with ThreadPoolExecutor() as pool:
        found = zip(choices, pool.map(build, choices), strict=True)
        return {choice: one for choice, one in found if one is not None}


def _row(trial: Trial) -> tuple[str, ...]:
    return (
        str(trial.choice),
        _seconds(trial.forward), f"{trial.forward_ratio:.2f}",
        _seconds(trial.training), f"{trial.training_ratio:.2f}",
    )  # fmt: skip


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} us"
