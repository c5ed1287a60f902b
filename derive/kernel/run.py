"""What a kernel's calls return: `Run` and `Gradients`.

In: arrays.  Out: the two.
Not here: the calls (kernel.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from derive.errors import ArgumentTypeError
from derive.kernel.signature import Array, Arrays, Sizes

if TYPE_CHECKING:
    from derive.kernel.backend import Ready
    from derive.kernel.call import Call
    from derive.kernel.kernel import Kernel


class Run:
    """What `Kernel.forward` computed, and what `Kernel.backward` needs of it.

    outputs: {name: [T, B, width]}; states: {name: [B, width]} after the last step of each row.
    A run refers to the caller's parameters and inputs where they needed no conversion: where
    those have been written into since, `backward` refuses the run.
    """

    __slots__ = (
        "_call", "_given", "_kernel", "_outputs", "_ready", "_saved", "_seen", "_states",
    )  # fmt: skip

    def __init__(
        self, kernel: Kernel, call: Call, outputs: Arrays, states: Arrays, saved: Any,
        seen: bytes = b"", ready: Ready | None = None, given: tuple[Any, Any] | None = None,
    ) -> None:  # fmt: skip
        """seen: the fingerprint of what `backward` reads again.  ready: what made a repeated call,
        which has its fingerprint in `saved`; its `call` is without arrays, and its parameters (a
        tuple, or packed ones) and inputs (a tuple) are `given`."""
        self._kernel = kernel
        self._call = call
        self._outputs = outputs
        self._states = states
        self._saved = saved
        self._seen = seen
        self._ready = ready
        self._given = given

    def __repr__(self) -> str:
        made = f"{self._kernel!r}, T={self._call.sizes.steps}, B={self._call.sizes.rows}"
        return f"<Run of {made}, training={self._call.training}>"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "a run cannot be copied or sent to another process",
            facts=("it belongs to its kernel, and refers to the arrays that forward was given",),
            hint="send run.outputs and run.states, or call forward there",
        )

    # `backward` trusts what follows to be what forward saw, so nothing of it can be set.

    @property
    def outputs(self) -> Arrays:
        return self._outputs

    @property
    def output(self) -> Array:
        """The first output, [T, B, width]."""
        return next(iter(self._outputs.values()))

    @property
    def states(self) -> Arrays:
        return self._states

    @property
    def sizes(self) -> Sizes:
        return self._call.sizes

    @property
    def lengths(self) -> Array | None:
        """A copy."""
        lengths = self._call.lengths
        return None if lengths is None else lengths.copy()

    @property
    def reverse(self) -> bool:
        return self._call.reverse

    @property
    def training(self) -> bool:
        return self._call.training

    @property
    def remat(self) -> str | None:
        return self._call.remat


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients, each of the shape of what it is the gradient of; states: the initial ones."""

    params: Arrays
    inputs: Arrays
    states: Arrays
