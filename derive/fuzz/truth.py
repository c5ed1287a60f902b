"""What a call must give, and how far rounding may take it.

In: a Cell and a Call.  Out: `Expected`: every array with its running error bound; complaints about
the derived gradient, and about the interpreter where torch says something else.
Not here: kernels (check.py).

The interpreter gives outputs and states; the derived gradient, interpreted, gives the elements of
a gradient after complex steps along one random direction for each array have agreed with it. torch
evaluates the text of the cell by itself and must agree with all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.fuzz.calls import Call, given_of
from derive.fuzz.fault import Fault, fault
from derive.fuzz.running import Given
from derive.fuzz.wholes import Bounded, lengths_of, point_of, whole
from derive.program import Step
from derive.program.simplify import constants
from derive.symbolic.evaluate import NUMPY
from derive.verification.kinks import Kink, closeness, kinks_of
from derive.verification.points import Random
from derive.verification.reference import STEP, Point, Result, run
from derive.verification.report import SAFETY
from derive.verification.rounding import BOUNDED
from derive.verification.through_time import Backward, backpropagate, backward_of
from derive.verification.truth import ROUNDOFF

#: Numbers from this size on may leave the range of float32 when they are squared.
_LARGE_IN_FLOAT32 = 1e18
#: Slopes above it are not compared: the imaginary part of a complex step is 2^100 times less,
#: and where it has grown to some 1e-10 it is a step no more, but a distance.
_LARGE = 1e12
#: A complex step leaves out its third power: of (erf(h) / exp(h))**2 at 0, whose slope is 0, it
#: gives STEP**2 times the third derivative, here taken to be at most as large as a slope may be.
_SMALL = STEP**2 * _LARGE
#: From this size on a complex step may stand at a pole: the step to the power of -0.1.
_POLE = 2.0**10
#: Where `_SATURATING` ends: the exponent of e, and a power.
_MOST_EXPONENT, _MOST_POWER = 300.0, 1e130
#: Roundoffs of the largest number of a call that torch may be off by besides.
_SLACK = 1000.0


@dataclass(frozen=True, slots=True)
class Expected:
    """arrays: {"output h_next": (wanted, error in units of roundoff)}, and "state h", "d W".

    An element whose wanted value or error is not finite is not compared. In a dtype for which
    `compared` is False nothing is: there rounding may cross a kink, or numbers leave its range.
    """

    given: Given
    arrays: Mapping[str, Bounded]
    clearance: float
    largest: float

    def compared(self, dtype: str) -> bool:
        if dtype == "float32" and not self.largest < _LARGE_IN_FLOAT32:
            return False
        return self.clearance > ROUNDOFF[dtype]

    def first_wrong(self, got: Mapping[str, Any], dtype: str, slack: float = 0.0) -> str | None:
        """The first array that is wrong, in words. slack: what more is allowed, absolute."""
        for label, array in got.items():
            wanted, error = self.arrays[label]
            array = np.asarray(array)
            if array.shape != wanted.shape:
                return f"{label} has shape {array.shape}, not {wanted.shape}"
            with np.errstate(all="ignore"):
                tiny = float(np.finfo(dtype).tiny)
                off = abs(array.astype(np.float64) - wanted)
                limit = SAFETY * ROUNDOFF[dtype] * error + tiny + slack
                wrong = np.isfinite(wanted) & np.isfinite(limit) & ~(off <= limit)
            if wrong.any():
                at = tuple(int(k) for k in np.argwhere(wrong)[0])
                return (
                    f"{label}{list(at)} is {array[at]!r}, wanted {wanted[at]!r}, "
                    f"off by {off[at]:.2e} where rounding may take it {limit[at]:.2e}"
                )
        return None


@dataclass(frozen=True, slots=True)
class _Derived:
    backward: Backward
    kinks: tuple[Kink, ...]


_known: OrderedDict[str, _Derived] = OrderedDict()


def _derived(cell: Cell) -> _Derived:
    key = cell.to_text()
    if key not in _known:
        backward = backward_of(pipeline.differentiate(cell))
        # What nothing uses has the gradient 0, also where its slope is not finite.
        backward = replace(backward, program=constants(backward.program))
        _known[key] = _Derived(backward, kinks_of(cell.step.program))
        if len(_known) > 8:
            _known.popitem(last=False)
    return _known[key]


def expect(cell: Cell, text: str, call: Call, *, torch: bool, poles: bool) -> Expected:
    """torch: whether the cell is evaluated by torch too; poles: whether it may be at one, where
    gradients are compared only if nothing is infinite or 0.  Fault where the oracles disagree."""
    step, derived, given = cell.step, _derived(cell), given_of(cell, call)
    point = point_of(cell, given, call.plan.reverse)
    with np.errstate(all="ignore"):
        bounded = run(step, point, BOUNDED)
        close = closeness(derived.kinks, point, bounded)
        plain = run(step, point)
        errors = backpropagate(derived.backward, point, bounded, BOUNDED)
        elements = backpropagate(derived.backward, point, plain)
        # The slope of NaN is nothing to agree upon, nor is 0 times that of sqrt(v) at 0.
        smooth = _finite(plain) and not (poles and _touches(plain))
        clearance = -1.0 if close.unsure else close.clearance
        keys = dict(zip(step.outputs, cell.output_keys, strict=True))
        parts: dict[str, Bounded] = {}
        for name, key in keys.items():
            parts[f"output {key}"] = _output(step, name, point, bounded, plain)
        for name in step.states:
            parts[f"state {name}"] = (np.asarray(plain.states[name]), bounded.states[name].error)
        for name, element in elements.items():
            error = errors[name].error
            if not smooth:
                error = np.full(np.shape(error), np.inf)
            parts[f"d {name}"] = (np.asarray(element), error)
        arrays = whole(cell, given, parts)
        expected = Expected(given, arrays, clearance, _largest(bounded, errors))
        if expected.compared("float64"):
            # A complex logarithm or root of a negative number is finite, and means nothing; nor
            # does the side of infinity that a complex step beside it takes.
            if not close.exact and smooth and _known_sides(derived.kinks, point, plain):
                _check_slopes(cell, derived.backward, call, point, parts)
            if torch and _finite(plain):  # NaN - NaN is NaN, and v - v is 0
                _check_torch(cell, text, call, expected)
    return expected


def _output(step: Step, name: str, point: Point, bounded: Result, plain: Result) -> Bounded:
    if name in plain.outputs:
        return np.asarray(plain.outputs[name]), bounded.outputs[name].error
    shape = lengths_of(step.program.table()[name].shape, point.sizes)
    zeros = np.zeros((point.steps, point.rows, *shape))
    return zeros, zeros


def _finite(plain: Result) -> bool:
    arrays = (*plain.outputs.values(), *plain.states.values())
    return all(np.isfinite(array).all() for array in arrays)


def _touches(plain: Result) -> bool:
    """Whether any number is 0, infinite or NaN, or no step was taken."""
    return not plain.moments or not all(
        (np.isfinite(array) & (np.asarray(array) != 0)).all()
        for moment in plain.moments
        for array in moment.values.values()
    )


def _known_sides(kinks: Sequence[Kink], point: Point, plain: Result) -> bool:
    """Whether each distance from a kink is a finite number: else its side is not known."""
    return all(
        np.isfinite(kink.at(NUMPY, moment.values, point.sizes)).all()
        for kink in kinks
        for moment in plain.moments
    )


def _largest(bounded: Result, errors: Mapping[str, Any]) -> float:
    arrays = [a.value for moment in bounded.moments for a in moment.values.values()]
    arrays += [array.value for array in errors.values()]
    return max((float(np.max(abs(a[np.isfinite(a)]), initial=0.0)) for a in arrays), default=0.0)


def _check_slopes(
    cell: Cell, backward: Backward, call: Call, point: Point, parts: Mapping[str, Bounded]
) -> None:
    """The derived gradient against a complex step along a random direction of each array."""
    random = Random(call.seed, 7)
    for name, array in point.given().items():
        direction = random.uniform(np.shape(array))
        wanted, size = _slope(cell.step, point, name, direction)
        element, error = parts[f"d {name}"]
        along = float(np.sum(direction * element))
        # The sum over the direction is taken here, and rounds as well; so does that of the terms
        # of the loss, which may cancel where an output is a state that has a cotangent of its own.
        error = float(np.sum(abs(direction) * (error + abs(element)))) + size
        limit = SAFETY * ROUNDOFF["float64"] * error + _SMALL
        # A bound that is not finite says nothing; a gradient that is not, where the complex step
        # is, says that a branch that is not taken leaks.
        # At a pole, sqrt(v) at 0, a complex step gives a large number and no slope.
        at_a_pole = not np.isfinite(along) and abs(wanted) > _POLE
        too_large = not abs(wanted) < _LARGE or abs(along) > _LARGE
        if at_a_pole or too_large or (np.isfinite(along) and not np.isfinite(limit)):
            continue
        if not np.isfinite(along) and (_of_nothing(point) or _leaves_range(backward, point, name)):
            continue
        if not abs(along - wanted) <= limit:
            raise fault(
                "the derived gradient is wrong",
                f"d {name}: its slope along a random direction is {along}, by a complex step "
                f"{wanted}, where rounding may take it {limit:.1e}",
            )


def _saturating(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda v: function(np.minimum(v, _MOST_EXPONENT))


def _power(base: Any, exponent: Any) -> Any:
    """A pole stays one."""
    value = NUMPY.power(base, exponent)
    return np.where(np.asarray(base) == 0, value, np.clip(value, -_MOST_POWER, _MOST_POWER))


#: float64 in which an exponential or a power that is too large is a large number, not infinite.
_SATURATING = replace(
    NUMPY,
    power=_power,
    functions={
        **NUMPY.functions,
        **{name: _saturating(NUMPY.functions[name]) for name in ("exp", "expm1")},
    },
)


def _of_nothing(point: Point) -> bool:
    """Whether something may be a mean of no number: NaN, as it is in NumPy and in torch."""
    return 0 in point.sizes.values()


def _leaves_range(backward: Backward, point: Point, name: str) -> bool:
    """Whether a gradient is no number only because something overflows.

    Of tanh(exp(v)) at v = 800 it is 0 times infinity, which is NaN, as it is in torch; of numbers
    without a limit it would be 0. What a branch leaks that is not taken is NaN in both.
    """
    forward = run(backward.gradient.step, point, _SATURATING)
    element = backpropagate(backward, point, forward, _SATURATING)[name]
    return bool(np.isfinite(element).all())


def _slope(step: Step, point: Point, name: str, direction: Any) -> tuple[float, float]:
    """The slope of the loss by one complex step, and the sum of its terms without their signs."""
    after = run(step, point.moved({name: 1j * STEP * direction}))
    terms = [
        point.d_outputs[out][moment.times, moment.rows] * np.imag(moment.values[out])
        for moment in after.moments
        for out in step.outputs
    ]
    terms += [point.d_states[state] * np.imag(after.states[state]) for state in step.states]
    sums = [(float(np.sum(term)) / STEP, float(np.sum(abs(term))) / STEP) for term in terms]
    return sum(value for value, _ in sums), sum(size for _, size in sums)


def _check_torch(cell: Cell, text: str, call: Call, expected: Expected) -> None:
    from derive.fuzz import torch_cell

    read = torch_cell.read(text)
    # torch knows outputs by the names of the text, a kernel by its keys.
    keys = dict(zip(read.outputs, cell.outputs, strict=True))
    shapes = {**cell.params, **cell.inputs, **cell.states}
    shapes |= {name: cell.outputs[key] for name, key in keys.items()}
    given = expected.given
    of_names = {name: given.d_outputs[key] for name, key in keys.items() if key in given.d_outputs}
    try:
        here = replace(given, d_outputs=of_names)
        answer = torch_cell.run(read, shapes, tuple(cell.states), here, call.plan.reverse)
    except RuntimeError as error:
        raise fault("torch cannot evaluate the cell", str(error)) from error
    got = {f"output {keys[name]}": array for name, array in answer.outputs.items()}
    got |= {f"state {name}": array for name, array in answer.states.items()}
    fixed = cell.checked.fixed
    got |= {f"d {name}": a for name, a in answer.gradients.items() if name not in fixed}
    # torch computes what is written: `v - v` rounds there, and is 0 in the program; where v is no
    # number (the square root of a negative one) it is NaN there, which says nothing.
    for label, array in got.items():
        wanted = expected.arrays[label][0]
        if np.shape(array) == wanted.shape:
            got[label] = np.where(np.isnan(array), wanted, array)
    slack = _SLACK * ROUNDOFF["float64"] * max(1.0, expected.largest)
    if wrong := expected.first_wrong(got, "float64", slack):
        raise fault("torch disagrees with the interpreter", f"of torch {wrong}")


__all__ = ["Expected", "Fault", "expect"]
