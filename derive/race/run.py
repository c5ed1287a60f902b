"""All trials of a race.

In: cells, tasks, a budget, a folder.  Out: outcomes of every cell, task and seed, and the rates
that were chosen.
Not here: one trial (trial.py), what outcomes mean (verdict.py).

Rates come first: every cell is tried with each of the same few, for a part of the steps, with a
seed that is not raced with; the best goes on. Each outcome is a file in the folder, named by what
was done, so a race that was stopped goes on where it was, and one with a cell more runs that cell
alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from derive import targets
from derive.cell import Cell
from derive.errors import ArgumentError, DeriveError, TrialError
from derive.kernel.convert import axes_text, shape_text
from derive.kernel.signature import Arrays
from derive.layers.sizes import dims_of
from derive.race import executors, files, trial
from derive.race.check import check
from derive.race.sizes import dims_of_cell, dims_of_fixed, params_of, sizes_of
from derive.race.task import failed, task_of
from derive.race.trial import Outcome, Trial, fixed_of

RATES = (1e-2, 3e-3, 1e-3)
#: The part of the steps that a rate is tried for, and with which seed.
SEARCHED, SEARCH_SEED = 4, 1_000_000
#: Numbers of parameters that differ by more are told.
FAR = 0.05


@dataclass(frozen=True, slots=True)
class Race:
    """cells: {label: cell}, the first one is compared with.  tasks: names.  seeds: how many.
    params: how many numbers each model has, None: as many as the first cell's with `width` units.
    match: False: the same width for all.  steps, rows: instead of the tasks' own.  sizes: of
    dimensions that a cell has besides.  rates: that are tried; one: no search.  fixed: (name, file
    that numpy.save wrote) of fixed arrays, for every cell that has one of that name.
    """

    cells: Mapping[str, Cell]
    tasks: tuple[str, ...]
    seeds: int = 5
    params: int | None = None
    width: int = 32
    match: bool = True
    steps: int | None = None
    rows: int | None = None
    sizes: tuple[tuple[str, int], ...] = ()
    rates: tuple[float, ...] = RATES
    target: str = field(default_factory=lambda: targets.by_preference()[0].name)
    fixed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """outcomes: {(label, task): by seed}; rates: {(label, task): chosen}; searched: {(label, task):
    {rate: the task's metric}}."""

    outcomes: dict[tuple[str, str], list[Outcome]]
    rates: dict[tuple[str, str], float]
    searched: dict[tuple[str, str], dict[float, float]]


def trials_of(race: Race) -> list[Trial]:
    """One of each cell and task, with the first rate and seed 0; the rest differs in those."""
    if race.params is not None and not race.match:
        raise ArgumentError(
            "all cells cannot have the same width and a given number of parameters",
            hint="--match params --params 5000, or --match width --width 32",
        )
    known = {dim: None for cell in race.cells.values() for dim in dims_of_cell(cell)}
    for dim, _ in race.sizes:
        if dim not in known:
            raise ArgumentError(
                f"no cell of the race has a dimension {dim}",
                facts=(f"dimensions: {', '.join(known)}",),
                hint=f"--size {next(iter(known))}=4",
            )
    names = [name for cell in race.cells.values() for name in cell.checked.fixed]
    for name, _ in race.fixed:
        if name not in names:
            raise ArgumentError(
                f"no cell of the race has a fixed array {name!r}",
                facts=(f"fixed arrays: {', '.join(dict.fromkeys(names)) or 'none'}",),
            )
        files_of_name = [path for other, path in race.fixed if other == name]
        if len(files_of_name) > 1:
            raise ArgumentError(
                f"fixed array {name} is given {len(files_of_name)} times",
                facts=(f"files: {', '.join(files_of_name)}",),
                hint=f"--fixed {name}={files_of_name[-1]}",
            )
    arrays = fixed_of(race.fixed)
    found = []
    for name in race.tasks:
        task = task_of(name)
        check(task, race.rows or task.rows)
        wanted = race.params
        for label, cell in race.cells.items():
            own = dict(race.sizes) | _of_files(race, cell, arrays)
            files_of = tuple((n, p) for n, p in race.fixed if n in cell.checked.fixed)
            sizes = sizes_of(
                cell, task, own, params=wanted if race.match else None, width=race.width
            )
            if wanted is None and race.match:
                wanted = params_of(cell, task, sizes)
            steps, rows = race.steps or task.steps, race.rows or task.rows
            found.append(
                Trial(
                    label,
                    cell.to_text(),
                    name,
                    tuple(sizes.items()),
                    race.rates[0],
                    0,
                    steps,
                    rows,
                    race.target,
                    files_of,
                )
            )
    return found


def _of_files(race: Race, cell: Cell, arrays: Arrays) -> dict[str, int]:
    """Lengths that files of fixed arrays tell; ArgumentError where --size says another."""
    found = dims_of_fixed(cell, arrays)
    for dim, length in race.sizes:
        if found.get(dim, length) != length:
            name = next(n for n in cell.checked.fixed if dim in cell.params[n])
            raise ArgumentError(
                f"--size {dim}={length}, and a fixed array of {cell.name} has {dim}={found[dim]}",
                facts=(f"{name} is {axes_text(cell.params[name])}, "
                       f"{dict(race.fixed)[name]} is {shape_text(arrays[name].shape)}",),
                hint=f"--size {dim}={found[dim]}",
            )  # fmt: skip
    return found


def unmatched(race: Race) -> list[str]:
    """In words, which cells of a race that matches parameters are far from their number, and which
    of a race that matches widths have a width of a file's."""
    if not race.match:
        return _of_other_width(race)
    found, trials = [], trials_of(race)
    for name in race.tasks:
        task, wanted = task_of(name), race.params
        for one in (each for each in trials if each.task == name):
            cell, sizes = race.cells[one.label], dict(one.sizes)
            own = params_of(cell, task, sizes)
            wanted = wanted or own
            if abs(own - wanted) > FAR * wanted:
                lengths = " ".join(f"{dim}={length}" for dim, length in one.sizes)
                found.append(
                    f"{name}: {one.label} is not matched: {own:,} parameters at {lengths}, where "
                    f"{wanted:,} were wanted, and no width comes nearer"
                )
    return found


def _of_other_width(race: Race) -> list[str]:
    arrays, found = fixed_of(race.fixed), []
    for label, cell in race.cells.items():
        told = _of_files(race, cell, arrays)
        own, task = dict(race.sizes) | told, task_of(race.tasks[0])
        sizes, others = (
            sizes_of(cell, task, own, params=None, width=w) for w in (race.width, race.width + 1)
        )
        out = dims_of([next(iter(cell.outputs.values()))])
        lengths = [
            f"{dim}={told[dim]}" for dim in out
            if told.get(dim, race.width) != race.width and dim not in dict(race.sizes)
        ]  # fmt: skip
        if lengths and sizes == others:  # no dimension is left that the width is of
            found.append(
                f"{label} is not matched: its fixed arrays tell {' '.join(lengths)}, where the "
                f"width is {race.width}"
            )
    return found


def search_of(each: Trial, rates: Sequence[float]) -> list[Trial]:
    """The trials that choose a rate."""
    steps = max(each.steps // SEARCHED, 1)
    return [replace(each, rate=rate, seed=SEARCH_SEED, steps=steps) for rate in rates]


def count_of(race: Race) -> int:
    """How many trials a race has."""
    searched = len(race.rates) if len(race.rates) > 1 else 0
    return len(race.cells) * len(race.tasks) * (searched + race.seeds)


def run(
    race: Race, folder: Path, *, resume: bool, executor: str = "local", jobs: int = 1,
    tick: Callable[[str], None] = lambda label: None,
) -> Results:  # fmt: skip
    """Every trial, or what is left of them where `folder` has some and `resume` is set."""
    with files.opened(folder):
        if not resume and any(folder.glob("trial-*.json")):
            raise ArgumentError(
                f"{folder} holds trials of an earlier race",
                hint="--resume to go on with them, or another folder: -o race2",
            )
        firsts = trials_of(race)
        with executors.opened(executor, jobs) as engine:
            return _results(race, firsts, lambda trials: _each(trials, folder, engine, tick))


def _results(
    race: Race, firsts: Sequence[Trial],
    each_of: Callable[[Sequence[Trial]], Iterable[tuple[Trial, Outcome]]],
) -> Results:  # fmt: skip
    """The search of rates, and all seeds with those that were chosen."""
    searched: dict[tuple[str, str], dict[float, float]] = {}
    rates = {(each.label, each.task): race.rates[0] for each in firsts}
    if len(race.rates) > 1:
        many = [one for each in firsts for one in search_of(each, race.rates)]
        for one, outcome in each_of(many):
            value = float("inf") if outcome.diverged else outcome.final
            searched.setdefault((one.label, one.task), {})[one.rate] = value
        rates = {place: min(tried, key=tried.__getitem__) for place, tried in searched.items()}
    chosen = [
        replace(each, rate=rates[each.label, each.task], seed=seed)
        for each in firsts
        for seed in range(race.seeds)
    ]
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for one, outcome in each_of(chosen):
        outcomes.setdefault((one.label, one.task), []).append(outcome)
    ordered = {(each.label, each.task): outcomes[each.label, each.task] for each in firsts}
    by_label = {(label, name): ordered[label, name] for label in race.cells for name in race.tasks}
    return Results(by_label, rates, searched)


def _each(
    trials: Sequence[Trial], folder: Path, engine: Any, tick: Callable[[str], None]
) -> Iterable[tuple[Trial, Outcome]]:
    """Outcomes in the order of the trials; new ones are files as soon as they are there."""
    found: dict[str, Outcome] = {}
    waiting: dict[str, tuple[Trial, Any]] = {}
    for one in trials:
        known = files.load(_file(folder, one))
        if known is not None:
            found[one.key] = known
            tick(f"{one.label}, {one.task}: known")
        elif one.key not in waiting:
            # A process of another folder, or another machine, finds both.
            paths = tuple((name, os.path.abspath(path)) for name, path in one.fixed)
            sent = replace(one, task=_absolute(one.task), fixed=paths), str(folder.resolve())
            with _told(one):
                waiting[one.key] = one, engine.submit(_to_file, *sent)
    try:
        while waiting:
            ready = [key for key, (_, answer) in waiting.items() if answer.done()]
            for key in ready:
                one, answer = waiting.pop(key)
                with _told(one):
                    came = answer.result()
                if not isinstance(came, Outcome):
                    raise TrialError(
                        f"a trial of {_words(one)} failed", facts=tuple(came.splitlines()),
                        hint="--resume goes on with the trials that were done",
                    )  # fmt: skip
                found[key] = came
                tick(f"{one.label}, {one.task}: {found[key].final:.4g}")
            if not ready:
                time.sleep(0.05)
    finally:  # of a race that is stopped, or in which a trial failed
        for _, answer in waiting.values():
            answer.cancel()
    return [(one, replace(found[one.key], trial=asdict(one))) for one in trials]


@contextmanager
def _told(one: Trial) -> Iterator[None]:
    """What an executor raises, of a process that died, as an error of the race."""
    try:
        yield
    except DeriveError:
        raise
    except Exception as error:
        died = isinstance(error, BrokenExecutor)
        raise TrialError(
            f"a process died that ran trials, of {_words(one)} or others" if died
            else f"the executor lost a trial of {_words(one)}",
            facts=(f"{type(error).__name__}: {error}",),
            hint="--resume goes on with the trials that were done; --jobs 1 needs the least memory",
        ) from error  # fmt: skip


def _words(one: Trial) -> str:
    return f"{one.label} in {one.task}, seed {one.seed}, rate {one.rate:g}"


def _absolute(task: str) -> str:
    path, _, name = task.rpartition(":")
    return f"{os.path.abspath(path)}:{name}" if path.endswith(".py") else task


def _file(folder: Path, one: Trial) -> Path:
    return folder / f"trial-{one.key}.json"


def _to_file(one: Trial, folder: str) -> Outcome | str:
    """Where the trial runs. What it raised comes back as text: an error of a user's own class may
    not be sent between processes."""
    try:
        outcome = trial.run(one)
        files.save(outcome, _file(Path(folder), one))
        return outcome
    except DeriveError as error:
        return str(error)
    except Exception as error:
        return str(failed("training stopped", error))
