"""Steps against a gradient.

In: arrays and their gradients, by name.  Out: the arrays, changed in place.
Not here: the gradients (model.py, the kernels).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text
from derive.kernel.signature import Array, Arrays


class Adam:
    """Kingma & Ba 2015, arXiv 1412.6980, algorithm 1; weight_decay as in AdamW, Loshchilov & Hutter
    2019, arXiv 1711.05101: each step takes rate * weight_decay of an array off."""

    def __init__(
        self, params: Mapping[str, Array], *, beta1: float = 0.9, beta2: float = 0.999,
        eps: float = 1e-8, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        _check_number("beta1", beta1, lambda v: 0 <= v < 1, "0.9")
        _check_number("beta2", beta2, lambda v: 0 <= v < 1, "0.999")
        _check_number("eps", eps, lambda v: v > 0, "1e-8")
        _check_number("weight_decay", weight_decay, lambda v: v >= 0, "0.01")
        self._params = _arrays(params, "params", "model.params")
        self._first = {name: np.zeros_like(array) for name, array in self._params.items()}
        self._second = {name: np.zeros_like(array) for name, array in self._params.items()}
        self._beta1, self._beta2, self._eps, self._decay = beta1, beta2, eps, weight_decay
        self._steps = 0

    def step(self, gradients: Mapping[str, Array], rate: float) -> None:
        """One step; `gradients` has all arrays."""
        _check(self._params, gradients)
        _check_number("rate", rate, lambda v: v >= 0, "1e-3")
        self._steps += 1
        unbias1 = 1 - self._beta1**self._steps
        unbias2 = 1 - self._beta2**self._steps
        for name, array in self._params.items():
            d, first, second = np.asarray(gradients[name]), self._first[name], self._second[name]
            first *= self._beta1
            first += (1 - self._beta1) * d
            second *= self._beta2
            second += (1 - self._beta2) * d * d
            if self._decay:
                array *= 1 - rate * self._decay
            array -= rate / unbias1 * first / (np.sqrt(second / unbias2) + self._eps)


class SGD:
    """Stochastic gradient descent; with momentum m the step is rate * v, v = m v + gradient."""

    def __init__(self, params: Mapping[str, Array], *, momentum: float = 0.0) -> None:
        _check_number("momentum", momentum, lambda v: 0 <= v < 1, "0.9")
        self._params = _arrays(params, "params", "model.params")
        self._momentum = momentum
        self._moving: Arrays = {}

    def step(self, gradients: Mapping[str, Array], rate: float) -> None:
        """One step; `gradients` has all arrays."""
        _check(self._params, gradients)
        _check_number("rate", rate, lambda v: v >= 0, "1e-3")
        for name, array in self._params.items():
            moving = np.asarray(gradients[name])
            if self._momentum:
                before = self._moving.get(name)
                moving = moving.copy() if before is None else self._momentum * before + moving
                self._moving[name] = moving
            array -= rate * moving


def clip_by_norm(gradients: Mapping[str, Array], bound: float) -> float:
    """Scales all gradients together, in place, to a norm of at most `bound`; returns the norm
    before. Where that is infinite or NaN nothing is changed; an infinite bound changes nothing."""
    gradients = _arrays(gradients, "gradients", "loss, grads = model.gradients(batch)")
    if not (isinstance(bound, Real) and bound == math.inf):
        _check_number("bound", bound, lambda v: v > 0, "1.0")
    norm = math.sqrt(sum(float(np.vdot(d, d)) for d in gradients.values()))
    if math.isfinite(norm) and norm > bound:
        for d in gradients.values():
            d *= bound / norm
    return norm


def linear(step: int, steps: int) -> float:
    """A factor of the rate that falls from 1 at step 0 to 0 at step `steps`, which is positive."""
    return 1 - _share(step, steps)


def cosine(step: int, steps: int) -> float:
    """The same along half a wave: Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts."""
    return 0.5 * (1 + math.cos(math.pi * _share(step, steps)))


def _share(step: int, steps: int) -> float:
    for name, value in (("step", step), ("steps", steps)):
        _check_real(name, value, "1000")
    if not steps > 0:
        raise ArgumentError(
            f"a rate falls over a positive number of steps, and not over {steps}",
            hint="train.linear(step, 1000)",
        )
    return min(max(step / steps, 0.0), 1.0)


def _arrays(given: Any, what: str, hint: str) -> Arrays:
    """What is changed in place has to be arrays, and their own memory."""
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(
            f"{what} are a mapping from names to arrays, not {kind_text(given)}", hint=hint
        )
    for name, array in given.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            kind = f"of {array.dtype}" if isinstance(array, np.ndarray) else kind_text(array)
            raise ArgumentTypeError(
                f"{name} of {what} has to be an array of floating point numbers, not {kind}",
                hint=hint,
            )
        if not array.flags.writeable:
            raise ArgumentError(f"{name} of {what} is read-only, and would be changed", hint=hint)
    return dict(given)


def _check(params: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
    if not isinstance(gradients, Mapping):
        raise ArgumentTypeError(
            f"gradients are a mapping from names to arrays, not {kind_text(gradients)}",
            hint="loss, grads = model.gradients(batch)",
        )
    for name, array in params.items():
        if name not in gradients or np.shape(gradients[name]) != array.shape:
            raise ArgumentError(
                f"there is no gradient of {name} in its shape",
                facts=(f"given: {', '.join(map(str, gradients)) or 'none'}",),
                hint="loss, grads = model.gradients(batch)",
            )


def _check_number(name: str, value: Any, good: Callable[[float], bool], hint: str) -> None:
    """good: False of NaN too."""
    _check_real(name, value, hint)
    if not math.isfinite(value) or not good(float(value)):
        raise ArgumentError(f"{name} cannot be {value}", hint=f"{name}={hint}")


def _check_real(name: str, value: Any, hint: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(
            f"{name} is a number, not {kind_text(value)}", hint=f"{name}={hint}"
        )
