"""All checks of one cell, in order, with the points they share.

In: a Gradient, and kernels.  Out: rows, collected into a Report.
Not here: the checks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.derivative import Gradient
from derive.kernel import Kernel
from derive.program import Step
from derive.verification import kernels as on_kernels
from derive.verification import mutants, promises
from derive.verification.as_called import check_as_called
from derive.verification.conventions import check_conventions
from derive.verification.expected import COTANGENTS, Expectations, Maker
from derive.verification.gradient import (
    check_adjoint,
    check_differences,
    check_gradient,
    check_second,
    holds,
)
from derive.verification.kernels import Subject
from derive.verification.kinks import constants, kinks_of
from derive.verification.paths import Paths, Ways, check_slopes
from derive.verification.places import Place, places
from derive.verification.points import Found, find, on_kinks, small_sizes
from derive.verification.report import Report, Row, not_run
from derive.verification.second_order import SecondOrder
from derive.verification.sizes import Case, cases
from derive.verification.targets import Built, failed
from derive.verification.thin_weights import check_thin_weights
from derive.verification.through_time import Backward, backward_of
from derive.verification.truth import ROUNDOFF, Truth, establish

Progress = Callable[[str, int, int], None]

SMALL_STEPS, SMALL_ROWS = 3, 2
#: Of a larger Program a sample drawn by the seed is tried.
MUTANTS, MUTANTS_OF_QUICK, MUTANTS_OF_TANGENT = 350, 40, 40
MORE_POINTS = 12


#: What every kernel is asked at an ordinary point.
OF_KERNELS: tuple[Callable[..., list[Row]], ...] = (
    on_kernels.check_point,
    on_kernels.check_ulp,
    on_kernels.check_step,
    on_kernels.check_inference,
    promises.check_bits,
    promises.check_omitted,
    promises.check_empty,
)


class Session:
    """Collects rows; `report` freezes them."""

    def __init__(
        self,
        gradient: Gradient,
        name: str,
        output_keys: Sequence[str],
        seed: int,
        quick: bool,
        progress: Progress | None,
        parts: Sequence[str] = ("program", "kernels"),
        every_way: bool = False,
        moving: Callable[[], Step] | None = None,
    ) -> None:
        """moving: the tangent step, where it has a text of its own."""
        self._moving = moving
        self.gradient = gradient
        self.step = gradient.step
        self.name = name
        self.output_keys = tuple(output_keys)
        self.seed = seed
        self.quick = quick
        self._progress = progress
        self._done = 0
        self._cases = cases(self.step, seed, quick=quick)
        self._places = places(self.step) if every_way else ()
        of_program, of_kernels = 2 if quick else 3, 3 + len(self._cases) + len(self._places)
        self._total = of_program * ("program" in parts) + of_kernels * ("kernels" in parts)
        self._rows: list[Row] = []
        self._notes: dict[str, None] = {}
        self._truths: dict[str, Truth] = {}
        self._known: dict[str, Expectations] = {}
        self.kinks = kinks_of(self.step.program)

    def add(self, rows: Iterable[Row]) -> None:
        self._rows.extend(rows)

    def report(self) -> Report:
        return Report(self.name, self.seed, tuple(self._rows), tuple(self._notes))

    def _next(self, what: str) -> None:
        if self._progress is not None:
            self._progress(what, self._done, self._total)
        self._done += 1

    # --- points -----------------------------------------------------------------------------

    @cached_property
    def backward(self) -> Backward:
        return backward_of(self.gradient)

    @cached_property
    def small(self) -> Truth:
        """An ordinary point, element by element."""
        found = self._find(small_sizes(self.step), SMALL_STEPS, SMALL_ROWS, 1)
        return establish(found, self.backward, (self.seed, 11))

    @cached_property
    def wide(self) -> tuple[Truth, ...]:
        """Points beyond every threshold, with lengths, in both directions of time."""
        beyond = max(3.0, *(2.0 * c for c in (0.0, *constants(self.kinks))))
        lengths = np.array([2, 3, 1])
        found = [
            self._find(small_sizes(self.step), 3, 3, 2, scale=3.0, lengths=lengths),
            self._find(
                small_sizes(self.step), 3, 3, 3, scale=beyond, lengths=lengths, reverse=True
            ),
        ]
        return tuple(
            establish(f, self.backward, (self.seed, 12, k), how="arrays")
            for k, f in enumerate(found)
            if f.finite
        )

    @cached_property
    def on_kinks(self) -> tuple[Truth, ...]:
        found = on_kinks(self.step, self.kinks, self.seed)
        return tuple(establish(f, self.backward, (self.seed, 18), how="none") for f in found)

    def _another(self, k: int) -> Truth:
        scale, stretch = ((0.2, 1.0), (1.0, 3.0), (0.5, 1.0), (2.0, 8.0))[k % 4]
        sizes = small_sizes(self.step)
        found = self._find(sizes, 3, 3, 20 + k, scale=scale, stretch=stretch)
        return establish(found, self.backward, (self.seed, 21, k), how="arrays")

    def _find(
        self, sizes: Mapping[str, int], steps: int, rows: int, purpose: int, **options: Any
    ) -> Found:
        seed = (self.seed, purpose)
        return find(self.step, self.kinks, sizes, steps, rows, seed=seed, **options)

    # --- the derived Program ----------------------------------------------------------------

    def program(self) -> None:
        """Checks of the derived Program. NaN and infinities are compared, not warned about."""
        with np.errstate(all="ignore"):
            self._program()

    def _program(self) -> None:
        self._next("gradient of the program")
        self.add(check_conventions())
        if not self._has_a_point():
            return
        truths = (self.small, *self.wide)
        for truth in truths:
            self.add(check_gradient(truth, self.backward))
        self.add(check_differences(self.small, self.backward, (self.seed, 13), together=self.quick))
        self.add(check_adjoint(self.small, self.backward, (self.seed, 14), together=self.quick))
        if not self.quick:
            self._next("second derivative")
            self.add(check_second(self.gradient, self.small.point, (self.seed, 15)))
            self._second_order(truths)
        self._next("mutants")
        limit = MUTANTS_OF_QUICK if self.quick else MUTANTS
        possible = tuple(mutants.mutants_of(self.gradient))
        tried = mutants.try_mutants(self.gradient, truths, self.seed, mutants=possible, limit=limit)
        for k in range(MORE_POINTS):
            if all(outcome.fate is not mutants.Fate.SURVIVED for outcome in tried):
                break
            # The points so far leave a part of the gradient idle; another joins the check.
            truth = self._another(k)
            if truth.found.finite:
                self.add(check_gradient(truth, self.backward))
                tried = mutants.try_again(self.gradient, tried, truth)
        self.add(mutants.check_mutants(tried, len(possible) if len(tried) == limit else None))

    def _second_order(self, truths: Sequence[Truth]) -> None:
        """The tangent over time, and a sample of its mutants."""
        moving = None if self._moving is None else self._moving()
        second = SecondOrder(self.step, (self.seed, 19), moving)
        for truth in truths:
            self.add(second.check_jvp(truth))
        self.add(second.check_double_backward(self.backward, self.small))
        possible = tuple(mutants.mutants_of(second.gradient))
        tried = mutants.try_mutants(
            second.gradient, truths, self.seed, mutants=possible, limit=MUTANTS_OF_TANGENT,
            caught=second.catches,
        )  # fmt: skip
        for k in range(MORE_POINTS):
            if all(outcome.fate is not mutants.Fate.SURVIVED for outcome in tried):
                break
            tried = mutants.try_again(second.gradient, tried, self._another(k), second.catches)
        whole = len(possible) if len(tried) == MUTANTS_OF_TANGENT else None
        self.add(mutants.check_mutants(tried, whole, "mutants of the tangent"))

    @property
    def has_a_point(self) -> bool:
        return self.small.found.finite

    def _has_a_point(self) -> bool:
        found = self.small.found
        if not found.finite:
            bound = "no random point was found at which outputs and states are finite"
            self.add([Row("points", "all", float("inf"), 0.0, False, bound)])
            return False
        for name in found.close.exact:
            self._notes[f"{name} sits exactly on a kink at every point drawn"] = None
        return True

    # --- kernels ----------------------------------------------------------------------------

    def built(self, built: Built) -> None:
        self.add(built.rows)
        self.kernels(built.kernels, built.ways)

    def as_called(self, cell: Cell, built: Built, *, wanted: bool = False) -> None:
        """The kernels that users get, where they are given and give other arrays than the step.

        wanted: whether some gradients are asked for alone as well.
        """
        if cell.checked.is_plain or not self.has_a_point:
            return
        for ways in built.ways:
            try:
                self.add(check_thin_weights(ways, self.step, self.seed, cell))
            except Exception as error:  # a kernel under test may raise anything
                self.add([failed("thin weights", f"{ways.where}: as called", error)])
        for kernel in built.kernels:
            try:
                with np.errstate(all="ignore"):
                    of = (cell, kernel, self.backward, self.kinks, self.seed)
                    self.add(check_as_called(*of, wanted=wanted))
            except Exception as error:  # a kernel under test may raise anything
                where = f"{kernel.target} {kernel.dtype.name}"
                self.add([failed("call", f"{where}: as called", error)])

    def kernels(self, kernels: Sequence[Kernel], ways: Sequence[Ways] = ()) -> None:
        """ways: all ways to call what given texts, or texts of ours, compile to."""
        if not kernels or not self._has_a_point():
            return
        subjects = [Subject(kernel, self.step, self.output_keys) for kernel in kernels]
        self._next("kernels")
        for subject in subjects:
            for check in OF_KERNELS:
                self._try(subject, check, self.small)
            if subject.dtype == "float64":
                self._taylor(subject)
                if subject.kernel.compiles_for_some:
                    self._try(subject, on_kernels.check_wanted, self.small)
        self._next("targets agree")
        first = next((s for s in subjects if s.dtype == "float64"), None)
        for subject in subjects:
            if first is not None and subject is not first:
                for truth in (self.small, *self.wide[:1]):
                    self._try(subject, on_kernels.check_agreement, first, truth)
        self._next("kernels on kinks")
        for truth in self.on_kinks:
            for subject in subjects:
                self._try(subject, on_kernels.check_kink, truth)
        for case in self._cases:
            self._next(f"sizes {case.label}")
            truth = self._truth_of(case)
            if not truth.found.finite:
                self._notes[f"{case.label}: no finite point was found, not compared"] = None
                continue
            self.add(check_gradient(truth, self.backward, case.label))
            for subject in subjects:
                if truth.found.close.clearance > ROUNDOFF[subject.dtype]:
                    self._try(subject, on_kernels.check_point, truth, case.label)
                else:
                    note = f"{subject.dtype}, {case.label}: rounding may cross a kink, not compared"
                    self._notes[note] = None

        for place in self._places:
            self._next(f"paths {place.label}")
            self._paths(place, ways)
        for each in ways:
            self.add(check_thin_weights(each, self.step, self.seed))

    def _expected(self, place: Place) -> Expectations:
        """What must come out at a place: once, other kernels may follow."""
        if place.label not in self._known:
            maker = Maker(self.backward, self.kinks, self.seed)
            cotangents = ("both",) if place.heavy else COTANGENTS
            self._known[place.label] = maker.make(place.sizes, place.steps, place.rows, cotangents)
        return self._known[place.label]

    def _paths(self, place: Place, ways: Sequence[Ways]) -> None:
        """Every combination of options at one place."""
        expected = self._expected(place)
        if not expected.finite:
            self._notes[f"{place.label}: no finite point was found, not compared"] = None
            return
        self.add(check_slopes(expected, place.label))
        for way in ways:
            if not expected.comparable(way.dtype):
                note = f"{way.dtype}, {place.label}: beyond a kink or its range, not compared"
                self._notes[note] = None
                continue
            for low in (False, True):
                if way.teams(low) and (place.low or not low):
                    paths = Paths(way, self.step, self.output_keys, place, low)
                    with np.errstate(all="ignore"):
                        if place is self._places[0] and not low:
                            self.add(paths.refused(expected.by))
                        self.add(paths.rows(expected.by))

    def _try(self, subject: Subject, check: Callable[..., list[Row]], *args: Any) -> None:
        """The rows of one check; a kernel under test may raise anything, and that fails it."""
        try:
            with np.errstate(all="ignore"):
                self.add(check(subject, *args))
        except Exception as error:
            self.add([failed("call", f"{subject.where}: {check.__name__}", error)])

    def _taylor(self, subject: Subject) -> None:
        if holds(self.step.program, "stop_gradient"):
            why = "stop_gradient: the derivative is not that of the function"
            self.add([not_run("Taylor rate", subject.where, why)])
        else:
            self._try(subject, on_kernels.check_taylor, self.small, self.kinks, (self.seed, 16))

    def _truth_of(self, case: Case) -> Truth:
        """Of a case once: other kernels may follow."""
        if case.label not in self._truths:
            self._truths[case.label] = self._establish(case)
        return self._truths[case.label]

    def _establish(self, case: Case) -> Truth:
        found = self._find(
            case.sizes, case.steps, case.rows, 4, lengths=case.lengths, reverse=case.reverse,
            room=2.0**-24 * 1.5,
        )  # fmt: skip
        arrays = len(found.point.given())
        how = "arrays" if case.steps * arrays <= 100 else "groups"
        return establish(found, self.backward, (self.seed, 17), how=how)
