"""What a kernel's calls return: `Run` and `Gradients`.

In: arrays.  Out: the two.
Not here: the calls (kernel.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from derive.kernel.signature import Array, Arrays, Sizes

if TYPE_CHECKING:
    from derive.kernel.backend import Ready
    from derive.kernel.kernel import Kernel


class Run:
    """What `Kernel.forward` computed, and what `Kernel.backward` needs of it.

    outputs: {name: [T, B, width]}; states: {name: [B, width]} after the last step of each row.
    A run refers to the caller's parameters and inputs where they needed no conversion: where
    those have been written into since, `backward` refuses the run.
    """

    __slots__ = (
        "_inputs", "_kernel", "_lengths", "_outputs", "_params", "_ready", "_remat", "_reverse",
        "_saved", "_seen", "_sizes", "_states", "_training",
    )  # fmt: skip

    def __init__(
        self, outputs: Arrays, states: Arrays, sizes: Sizes, lengths: Array | None,
        reverse: bool, training: bool, remat: str | None,
        kernel: Kernel, params: Any, inputs: Any, saved: Any,
        seen: bytes | None = None, ready: Ready | None = None,
    ) -> None:  # fmt: skip
        """params and inputs: of a repeated call tuples, or packed parameters.  seen: the
        fingerprint of both; of a repeated call in `saved`, as `ready` knows."""
        self._outputs = outputs
        self._states = states
        self._sizes = sizes
        self._lengths = lengths
        self._reverse = reverse
        self._training = training
        self._remat = remat
        self._kernel = kernel
        self._params = params
        self._inputs = inputs
        self._saved = saved
        self._seen = seen
        self._ready = ready

    def __repr__(self) -> str:
        made = f"{self._kernel!r}, T={self._sizes.steps}, B={self._sizes.rows}"
        return f"<Run of {made}, training={self._training}>"

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
        return self._sizes

    @property
    def lengths(self) -> Array | None:
        """A copy."""
        return None if self._lengths is None else self._lengths.copy()

    @property
    def reverse(self) -> bool:
        return self._reverse

    @property
    def training(self) -> bool:
        return self._training

    @property
    def remat(self) -> str | None:
        return self._remat


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients, each of the shape of what it is the gradient of; states: the initial ones."""

    params: Arrays
    inputs: Arrays
    states: Arrays
