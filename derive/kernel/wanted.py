"""Wanted gradients only: names of parameters, inputs and states, and kernels that compute theirs.

In: what a caller gave as `wrt`; a kernel, and another of the same cell for some gradients.
Out: names in the order of the signature; the gradients; ArgumentError and ArgumentTypeError.
Not here: leaving out what only the others need (schedule/save_or_recompute.py).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text
from derive.kernel.packed import Packed
from derive.kernel.run import Gradients, Run
from derive.kernel.signature import Arrays, Signature

if TYPE_CHECKING:
    from derive.kernel.backend import Ready
    from derive.kernel.kernel import Kernel

#: Kinds of repeated calls that are kept.
_REMEMBERED = 256


def to_wanted(wrt: Any, signature: Signature) -> tuple[str, ...] | None:
    """wrt: None for all, a name, or several."""
    if wrt is None:
        return None
    if not isinstance(wrt, str | Iterable) or getattr(wrt, "ndim", 1) == 0:
        raise ArgumentTypeError(
            f"wrt must be names of arrays or None for all, not {kind_text(wrt)}",
            hint=_example(signature),
        )
    given = [wrt] if isinstance(wrt, str) else list(wrt)
    if wrong := [name for name in given if not isinstance(name, Hashable)]:
        raise ArgumentTypeError(
            f"wrt must hold names of arrays, and has {kind_text(wrong[0])}",
            hint=_example(signature),
        )
    names = set(given)
    known = signature.differentiable()
    for name in sorted(names, key=str):
        if name in signature.fixed:
            raise ArgumentError(
                f"wrt has {name!r}, which is fixed and has no gradient",
                facts=(f"gradients of {signature.name}: {', '.join(known)}",),
            )
        if name not in known:
            raise ArgumentError(
                f"wrt has {name!r}, but {signature.name} has no such parameter, input or state",
                facts=(f"gradients of {signature.name}: {', '.join(known)}",),
                hint=closest(name, known) or _example(signature),
            )
    if missing := [name for name in sorted(names) if not signature.wants(name)]:
        raise ArgumentError(
            f"this kernel does not compute the gradient of {', '.join(missing)}",
            facts=(f"it was compiled with wrt={signature.wrt!r}",),
            hint="derive.compile(cell) computes all",
        )
    found = tuple(name for name in known if name in names)
    return None if found == known else found


def _example(signature: Signature) -> str:
    return f'wrt=("{next(iter(signature.differentiable()), "h")}",)'


def only(
    names: Collection[str] | None, d_params: Arrays, d_inputs: Arrays, d_states: Arrays
) -> Gradients:
    """The gradients with these names; None: all."""
    if names is None:
        return Gradients(d_params, d_inputs, d_states)
    groups = d_params, d_inputs, d_states
    return Gradients(*({n: a for n, a in group.items() if n in names} for group in groups))


class Partial:
    """Some gradients of one kernel's runs.

    What a forward pass keeps does not depend on which gradients are wanted, so a run of the kernel
    for all of them serves the backward pass of any other. Panels of packed parameters do depend on
    it, so parameters are packed again for this one.
    """

    __slots__ = ("_kernel", "_names", "_packed", "_ready", "_whole")

    def __init__(self, names: tuple[str, ...], whole: Kernel, kernel: Kernel | None) -> None:
        """kernel: the one for these gradients, or None where `whole` was made of given files; then
        all gradients are computed."""
        self._names = names
        self._whole = whole
        self._kernel = kernel
        self._ready: dict[Ready, Ready | None] = {}
        self._packed: tuple[Packed, Packed] | None = None

    def backward(self, run: Run, d_outputs: Any, d_states: Any) -> Gradients:
        if self._kernel is None:
            found = self._whole.backward(run, d_outputs, d_states)
            return only(self._names, found.params, found.inputs, found.states)
        return self._kernel.backward(self._run_of(self._kernel, run), d_outputs, d_states)

    def _run_of(self, kernel: Kernel, run: Run) -> Run:
        """The run as if `kernel` had made it."""
        call, saved, seen = run._call, run._saved, run._seen
        given, ready = run._given, None
        if run._ready is not None:
            ready = self._ready_like(kernel, run)
            if ready is None:
                thorough = self._whole._repeats.thorough(run)
                assert thorough is not None
                call, saved, seen, _ = thorough
        if ready is not None and given is not None:
            params, inputs = given
            given = self._repacked(kernel, run, params), inputs
        else:
            given = None
            params = self._repacked(kernel, run, call.params)
            call = call if params is call.params else replace(call, params=params)
        return Run(kernel, call, run._outputs, run._states, saved, seen, ready, given)

    def _ready_like(self, kernel: Kernel, run: Run) -> Ready | None:
        """A prepared call of `kernel` with the run's sizes and options; None if it has none."""
        assert run._ready is not None
        if run._ready not in self._ready:
            thorough = self._whole._repeats.thorough(run)
            assert thorough is not None
            if len(self._ready) >= _REMEMBERED:
                self._ready.clear()
            self._ready[run._ready] = kernel._backend.ready(thorough[0])
        return self._ready[run._ready]

    def _repacked(self, kernel: Kernel, run: Run, params: Any) -> Any:
        if type(params) is not Packed:
            return params
        known = self._packed
        if known is None or known[0] is not params:
            panels = kernel._backend.pack(run.sizes, params)
            known = params, Packed(params._arrays, params._owner, params._axes, panels)
            self._packed = known
        return known[1]
