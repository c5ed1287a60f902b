"""Calls with shapes that were seen before: arguments are compared, not converted or checked again.

In: the arguments of a call, and a Backend.  Out: its results, or None, and then the call has to be
looked at thoroughly (kernel/arguments.py, kernel/kernel.py), which raises the errors.
Not here: how arrays are compared with what is expected of them (native_call.py).

Names are compared here, shapes and dtypes by the backend. The second call of a kind makes the
plan that all later ones follow. A plan has the sizes of that call, so it serves only calls whose
arrays determine those sizes: a state may be left out where parameters and inputs tell its width.
Nor does one serve a call whose arrays are not those of the compiled code: a state that is left out
and starts from a parameter, an input that is given once and repeated for every step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from derive.kernel.arguments import Arguments
from derive.kernel.backend import Backend, Ready, Values
from derive.kernel.call import Call
from derive.kernel.fingerprint import Look
from derive.kernel.packed import Packed
from derive.kernel.signature import Arrays

if TYPE_CHECKING:
    from derive.kernel.run import Run

#: Kinds of calls whose plans are kept.
_REMEMBERED = 256


class Repeats:
    """The kinds of calls that one kernel has seen."""

    __slots__ = (
        "_arguments", "_inputs", "_learned", "_no_states", "_outputs", "_params", "_seen",
        "_states",
    )  # fmt: skip

    def __init__(self, arguments: Arguments) -> None:
        signature = arguments.signature
        self._arguments = arguments
        self._params = tuple(signature.params)
        self._inputs = tuple(signature.inputs)
        self._states = tuple(signature.states)
        self._outputs = tuple(signature.outputs)
        self._no_states: Values = (None,) * len(self._states)
        self._learned = tuple(self._states.index(name) for name in signature.learned)
        self._seen: dict[object, Ready | None] = {}

    def forget(self) -> None:
        self._seen.clear()

    def forward(
        self, params: Any, x: Any, state: Any, reverse: Any, training: Any, step: bool = False
    ) -> tuple[Ready, Packed | Values, Values, tuple[Arrays, Arrays, Any]] | None:
        """A call like one before: what made it, parameters, inputs, and results."""
        inputs = _values(x, self._inputs)
        if not inputs:
            return None
        # 1 and np.True_ are found under True, so they are not looked up.
        if reverse.__class__ is not bool or training.__class__ is not bool:
            return None
        packed: str | bool = type(params) is Packed
        if packed:
            if params._owner is not self._arguments:
                return None
            given, panels = params._values, params._panels
            packed = params._weights or True
        else:
            given, panels = _values(params, self._params), None
            if given is None:
                return None
        ready = self._seen.get((_shape(inputs), _shape(given), packed, reverse, training, step))
        if ready is None:
            return None
        first = self._no_states if state is None else _values(state, self._states)
        if first is None:
            return None
        for k in self._learned:
            if first[k] is None:
                return None
        results = ready.forward(given, panels, inputs, first)
        if results is None:
            return None
        return ready, params if packed else given, inputs, results

    def saw(self, backend: Backend, call: Call) -> None:
        """A call without lengths that was looked at thoroughly, and ran."""
        if not call.inputs or (self._arguments.signature.once and not call.step):
            return
        shapes = _shape(tuple(call.inputs.values())), _shape(tuple(call.params.values()))
        packed: str | bool = type(call.params) is Packed
        if type(call.params) is Packed:
            packed = call.params._weights or True
        key = (*shapes, packed, call.reverse, call.training, call.step)
        if key not in self._seen:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[key] = None
            return
        known = self._seen[key]
        if known is None or known.call.sizes != call.sizes:  # else the arrays had to be converted
            self._seen[key] = backend.ready(call)

    def backward(
        self, run: Run, d_outputs: Any, d_states: Any
    ) -> tuple[Arrays, Arrays, Arrays] | None:
        """Gradients of a call that was like one before."""
        ready, given = run._ready, run._given
        if ready is None or given is None:
            return None
        d_out = (
            (None,) * len(self._outputs) if d_outputs is None else _values(d_outputs, self._outputs)
        )
        d_last = self._no_states if d_states is None else _values(d_states, self._states)
        if d_out is None or d_last is None:
            return None
        params, inputs = given
        if type(params) is Packed:
            return ready.backward(params._values, params._panels, inputs, run._saved, d_out, d_last)
        return ready.backward(params, None, inputs, run._saved, d_out, d_last)

    def thorough(self, run: Run) -> tuple[Call, Any, bytes, Look] | None:
        """A run of a repeated call as any other: its call, what was saved, and the fingerprint with
        how it was made."""
        ready, given = run._ready, run._given
        if ready is None or given is None:
            return None
        params, inputs = given
        by_name = params if type(params) is Packed else _named(self._params, params)
        call = replace(run._call, params=by_name, inputs=_named(self._inputs, inputs))
        return call, *ready.parts(run._saved), ready.fingerprint


def _values(given: Any, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """What a dictionary with just these names holds, or the only array; None for all else.

    A subclass of dict is refused: a defaultdict makes an entry for each name that is looked up.
    """
    if type(given) is dict:
        if len(given) != len(names):
            return None
        try:
            return tuple([given[name] for name in names])
        except KeyError:
            return None
    if type(given) is np.ndarray and len(names) == 1:
        return (given,)
    return None


def _shape(arrays: Values) -> tuple[int, ...] | None:
    """The shape of the first; most other shapes follow from it."""
    return arrays[0].shape if arrays and type(arrays[0]) is np.ndarray else None


def _named(names: tuple[str, ...], values: Values) -> Arrays:
    return {name: a for name, a in zip(names, values, strict=True) if a is not None}
