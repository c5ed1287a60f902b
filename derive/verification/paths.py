"""Every way through a kernel: every combination of options, at many sizes.

In: kernels as Subjects, and what is expected at each place (expected.py).  Out: rows.
Not here: the sizes (places.py), which arrays a function gets (fences.py), choices of options
(covering.py).

A path is a place (T, B and the widths) and a choice of options: which rows have lengths, the
direction, training or not, parameters packed or not, how many threads, everything kept or
computed again, which cotangents are given, and whether arrays are contiguous. Besides the sequence
there are single steps and streams. Results, guard words and the caller's arrays are looked at after
each call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.kernel import Kernel
from derive.kernel.backend import Backend
from derive.program import Step
from derive.verification.covering import covering
from derive.verification.expected import COTANGENTS, LENGTHS, Expectations, Expected
from derive.verification.fences import Fence, FencedC
from derive.verification.places import Place
from derive.verification.reference import Point
from derive.verification.report import Row, measured
from derive.verification.spread import MARGIN, Results
from derive.verification.truth import ROUNDOFF

OF_PATHS = f"{MARGIN:g} times the root mean square error of runs with random roundings"
OF_SLOPE = "the sizes of what random roundings did along the direction, in six runs"
OF_FENCES = "0: every array is as long as the query function says"
OF_REFUSED = "0: what is missing or out of range has the status of the header"
OF_CALLER = "0: arguments are never written"
#: So many failures of one kernel at one place are listed one by one.
_TOLD = 3
#: Keeps a bound of zero from dividing zero by zero.
_SMALLEST = float(np.finfo(np.float64).tiny)
#: Threads that take part in a call.
TEAMS = (1, 2, 3)
#: Steps up to which a sequence is also run as a stream.
_STREAMED = 8


@dataclass(frozen=True, slots=True)
class Way:
    """A kernel that is called in one way: by a team, or built with low thresholds, or with thin
    weights besides."""

    kernel: Kernel
    backend: Backend
    team: int = 1
    low: bool = False
    weights: str | None = None

    @property
    def fence(self) -> Fence | None:
        return getattr(self.backend, "fence", None)


@dataclass(frozen=True, slots=True)
class Ways:
    """The kernels of one target and dtype."""

    where: str
    dtype: str
    each: tuple[Way, ...]

    def teams(self, low: bool) -> dict[int, Way]:
        return {w.team: w for w in self.each if w.low is low and w.weights is None}


def check_slopes(expected: Expectations, label: str) -> list[Row]:
    """The gradients that kernels are compared with, along one direction."""
    where = f"derived program: paths {label}"
    return [
        measured("gradient", f"{where}{more}", abs(got - wanted), allowed, OF_SLOPE)
        for (got, wanted, allowed), more in zip(expected.slopes, ("", " lengths"), strict=True)
    ]


@dataclass(slots=True)
class _Worst:
    """The call that used most of its bound, and those that went beyond."""

    use: float = 0.0
    observed: float = 0.0
    allowed: float = 0.0


class Paths:
    """Calls of the kernels of one target and dtype at one place."""

    def __init__(
        self, ways: Ways, step: Step, output_keys: Sequence[str], place: Place, low: bool
    ) -> None:
        self._ways = ways
        self.step = step
        self.output_keys = tuple(output_keys)
        self._place = place
        self._low = low
        self._teams = ways.teams(low)
        self._unit = ROUNDOFF[ways.dtype]
        self._tiny = float(np.finfo(ways.dtype).tiny)
        self._worst = _Worst()
        self._failed: list[Row] = []
        self._overrun: dict[str, None] = {}
        self._written: dict[str, None] = {}
        thresholds = "low thresholds, " if low else ""
        self._where = f"{ways.where}: {thresholds}{place.label}"

    def rows(self, expected: Mapping[tuple[str, bool], Expected]) -> list[Row]:
        """expected: by which lengths are given, and by the direction."""
        for training in (False, True):
            for choice in self._choices(training):
                self._sequence(self._teams[choice["team"]], choice, expected, training=training)
        first = expected.get(("none", False))
        if first is not None:
            for way in self._teams.values():
                for packed in (False, True) if way.team == 1 else (True,):
                    self._step(way, packed, first)
            self._stream(self._teams[TEAMS[0]], first)
        return self._report()

    def _choices(self, training: bool) -> Iterator[dict[str, Any]]:
        """A team waits long at every barrier, but where thresholds are low."""
        options: dict[str, Sequence[Any]] = {
            "lengths": LENGTHS, "reverse": (False, True), "strided": (False, True),
            "packed": (False, True),
        }  # fmt: skip
        if training:
            options["remat"] = (None, "time")
            options["cotangents"] = ("both",) if self._place.heavy else COTANGENTS
        alone, strength = {"team": TEAMS[:1]}, self._place.strength
        teams = {"team": [team for team in TEAMS if team in self._teams]}
        if self._low or len(self._teams) == 1:
            yield from covering(options | teams, strength)
        else:
            yield from covering(options | alone, strength)
            teams["team"] = teams["team"][1:]
            yield from covering(options | teams, 2 if strength > 2 else 1)

    def _sequence(
        self, way: Way, choice: Mapping[str, Any], expected: Mapping[tuple[str, bool], Expected],
        *, training: bool,
    ) -> None:  # fmt: skip
        wanted = expected.get((choice["lengths"], choice["reverse"]))
        if wanted is None:
            return
        label = _label(choice, training)
        with self._call(way, wanted.point, label, spread=choice["strided"]) as given:
            kernel, point = way.kernel, given.point
            params: Any = point.params
            if choice["packed"]:
                params = kernel.pack(params)
            options = {"remat": choice["remat"]} if training and choice["remat"] else {}
            run = kernel.forward(
                params, given.inputs, point.states or None, point.lengths, point.reverse,
                training, **options,
            )  # fmt: skip
            self._compare(label, wanted.forward, self._forward(run.outputs, run.states))
            if training:
                which = choice["cotangents"]
                d_outputs = given.d_outputs if which in ("both", "outputs") else None
                d_states = point.d_states if which in ("both", "states") else None
                found = kernel.backward(run, d_outputs, d_states or None)
                arrays = {**found.params, **found.inputs, **found.states}
                self._compare(label, wanted.gradient[which], arrays)

    def _step(self, way: Way, packed: bool, wanted: Expected) -> None:
        label = f"step{' packed' if packed else ''} team={way.team}"
        with self._call(way, wanted.point, label) as given:
            params: Any = way.kernel.pack(given.point.params) if packed else given.point.params
            x = {name: array[0] for name, array in given.point.inputs.items()}
            x_t = x if x else np.zeros((given.point.rows, 0))
            output, states = way.kernel.step(params, x_t, given.point.states or None)
            assert wanted.first is not None
            self._compare(label, wanted.first, self._forward(self._by_key(output), states))

    def _stream(self, way: Way, wanted: Expected) -> None:
        if self._place.steps > _STREAMED or not wanted.point.inputs:
            return
        label = f"stream team={way.team}"
        with self._call(way, wanted.point, label) as given:
            point, step = given.point, self.step
            needed = step.program.dims()
            known = {axis for n in point.params for axis in step.program.table()[n].shape}
            named = {dim: self._place.sizes[dim] for dim in needed if dim not in known}
            stream = way.kernel.stream(point.params, point.rows, point.states or None, **named)
            outputs: dict[str, list[Any]] = {key: [] for key in self.output_keys}
            for t in range(point.steps):
                output = stream({name: array[t] for name, array in point.inputs.items()})
                for key, array in self._by_key(output).items():
                    outputs[key].append(array)
            stacked = {key: np.stack(arrays) for key, arrays in outputs.items()}
            self._compare(label, wanted.forward, self._forward(stacked, stream.state))

    def refused(self, expected: Mapping[tuple[str, bool], Expected]) -> list[Row]:
        """Calls that compiled functions must refuse, beside calls that are right."""
        way = self._teams[TEAMS[0]]
        backend, wanted = way.backend, expected.get(("ragged", False))
        if not isinstance(backend, FencedC) or wanted is None:
            return []

        def make() -> None:
            with self._call(way, wanted.point, "refused") as given:
                point, kernel = given.point, way.kernel
                states = point.states or None
                rest = (given.inputs, states, point.lengths, point.reverse)
                run = kernel.forward(kernel.pack(point.params), *rest)
                kernel.backward(run, given.d_outputs, point.d_states or None)
                kernel.forward(point.params, *rest, training=False)
                x = {name: array[0] for name, array in point.inputs.items()}
                kernel.step(point.params, x or np.zeros((point.rows, 0)), states)

        found = backend.refused(make)
        label = f"{self._where}: {found[0]}" if found else self._where
        return [measured("refused", label, len(found), 0, OF_REFUSED)]

    def _by_key(self, output: Any) -> Mapping[str, Any]:
        return output if isinstance(output, Mapping) else {self.output_keys[0]: output}

    def _forward(self, outputs: Mapping[str, Any], states: Mapping[str, Any]) -> dict[str, Any]:
        pairs = zip(self.step.outputs, self.output_keys, strict=True)
        found = {f"output {name}": outputs[key] for name, key in pairs}
        return found | {f"state {name}": states[name] for name in self.step.states}

    # --- one call ---------------------------------------------------------------------------

    def _call(self, way: Way, point: Point, label: str, *, spread: bool = False) -> _Call:
        return _Call(self, way, point, label, spread)

    def _compare(self, label: str, wanted: Results, got: Mapping[str, Any]) -> None:
        for name, shape in zip(wanted.names, wanted.shapes, strict=True):
            if got[name].shape != shape or got[name].dtype != self._ways.dtype:
                text = f"{got[name].dtype} {got[name].shape}, not {self._ways.dtype} {shape}"
                self._fail(f"{name}: {label}", np.inf, 0.0, text)
                return
        flat = np.concatenate([np.ravel(got[name]) for name in wanted.names])
        starts, bound = wanted.starts, MARGIN * self._unit
        off = flat.astype(np.float64) - wanted.wanted
        norm = np.sqrt(np.add.reduceat(off * off, starts))
        along = abs(np.add.reduceat(off * wanted.wanted, starts))
        each = abs(off) / (bound * wanted.element + self._tiny)
        # Below the normal numbers an error is absolute, one of each element.
        counts = np.diff([*starts, flat.size])
        size = np.add.reduceat(abs(wanted.wanted), starts)
        uses = np.array([
            np.maximum.reduceat(each, starts),
            norm / (bound * wanted.norm + self._tiny * np.sqrt(counts)),
            along / (bound * wanted.along + self._tiny * size + _SMALLEST),
        ])  # fmt: skip
        uses[np.isnan(uses)] = np.inf
        kind, k = np.unravel_index(np.argmax(uses), uses.shape)
        use = float(uses[kind, k])
        if use <= self._worst.use:
            return
        here = slice(starts[k], starts[k] + int(np.prod(wanted.shapes[k])))
        array = wanted.wanted[here]
        at = int(np.argmax(np.nan_to_num(each[here], nan=np.inf)))
        seen, allowed, scale = (
            (abs(off[here][at]), wanted.element[here][at], np.max(abs(array))),
            (norm[k], wanted.norm[k], np.sqrt(array @ array)),
            (along[k], wanted.along[k], array @ array),
        )[kind]
        allowed, scale = bound * allowed + self._tiny, scale or 1.0
        if use <= 1:
            self._worst.use = use
            self._worst.observed, self._worst.allowed = seen / scale, allowed / scale
        else:
            what = ("", "norm of ", "mean of ")[kind] + wanted.names[k]
            self._fail(f"{what}: {label}", seen / scale, allowed / scale, OF_PATHS)

    def _fail(self, label: str, observed: float, allowed: float, bound: str) -> None:
        if len(self._failed) < _TOLD:
            where = f"{self._where}: {label}"
            row = Row("paths", where, float(observed), float(allowed), False, bound)
            self._failed.append(row)

    def raised(self, label: str, error: Exception) -> None:
        self._fail(label, np.inf, 0.0, f"{type(error).__name__}: {error}")

    def after(self, label: str, overrun: Sequence[str], written: Sequence[str]) -> None:
        for what in overrun:
            self._overrun.setdefault(f"{label}: {what}")
        for what in written:
            self._written.setdefault(f"{label}: {what}")

    def _report(self) -> list[Row]:
        rows = list(self._failed)
        if not rows:
            worst = self._worst
            rows.append(measured("paths", self._where, worst.observed, worst.allowed, OF_PATHS))
        for check, found, bound in (
            ("overrun", self._overrun, OF_FENCES), ("caller", self._written, OF_CALLER),
        ):  # fmt: skip
            label = f"{self._where}: {next(iter(found))}" if found else self._where
            rows.append(measured(check, label, len(found), 0, bound))
        return rows


def _label(choice: Mapping[str, Any], training: bool) -> str:
    words = [
        name if value is True else f"{name}={value}"
        for name, value in choice.items()
        if value not in (False, None)
    ]
    return " ".join(words if training else [*words, "training=False"])


class _Call:
    """Arrays for one call, which are looked at after it; what it raises is a failure of its own."""

    def __init__(self, paths: Paths, way: Way, point: Point, label: str, spread: bool) -> None:
        self._paths, self._way, self._label = paths, way, label
        dtype = way.kernel.dtype
        fence = way.fence or Fence()

        def given(arrays: Mapping[str, Any], what: str) -> dict[str, Any]:
            own = {}
            for name, array in arrays.items():
                if spread:
                    own[name] = _like(array, dtype)
                else:
                    own[name] = fence.copy(array.astype(dtype), f"{what}{name}")
            return own

        self.point = replace(
            point,
            params=given(point.params, ""), inputs=given(point.inputs, ""),
            states=given(point.states, ""), d_outputs=given(point.d_outputs, "d_"),
            d_states=given(point.d_states, "d_"),
            lengths=None if point.lengths is None else fence.copy(point.lengths, "lengths"),
        )  # fmt: skip
        self._fence = fence
        keys = dict(zip(paths.step.outputs, paths.output_keys, strict=True))
        self.d_outputs = {keys[name]: array for name, array in self.point.d_outputs.items()}
        self.inputs: Any = self.point.inputs or np.zeros((point.steps, point.rows, 0))
        self._before = [array.tobytes() for _, array in self._all()]

    def _all(self) -> list[tuple[str, Any]]:
        point = self.point
        arrays = [*point.given().items(), *point.d_outputs.items(), *point.d_states.items()]
        return arrays if point.lengths is None else [*arrays, ("lengths", point.lengths)]

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        raised = isinstance(error, Exception)
        if isinstance(error, Exception):
            self._paths.raised(self._label, error)
        pairs = zip(self._before, self._all(), strict=True)
        written = [name for before, (name, array) in pairs if array.tobytes() != before]
        self._paths.after(self._label, self._fence.overrun(), written)
        return raised


def _like(array: Any, dtype: Any) -> Any:
    """The same numbers in an array that is not contiguous, or runs the other way."""
    if array.ndim == 2:
        return np.asarray(array, dtype, order="F")
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, dtype)
    wide[..., ::2] = array
    return wide[..., ::2]
