"""Backend: what every target offers a kernel.

In: nothing.  Out: the Protocol.
Not here: a target (c_backend.py, numpy_backend.py), checked arguments (arguments.py). SymPy is not
imported.

Shapes are written with T time steps, B batch rows, and a width for each array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from derive.kernel.call import Call
from derive.kernel.chunks import Sums
from derive.kernel.fingerprint import Look, fingerprint
from derive.kernel.signature import Array, Arrays, Sizes
from derive.kernel.stream import Turn

#: Arrays in declared order; None stands for zeros.
Values: TypeAlias = tuple[Array | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """Repeats calls of one kind: compares the arrays with those of the first such call, and returns
    None where one has another type, dtype, layout or shape.

    call: that kind, without arrays.
    forward(params, panels, inputs, states): as `Backend.forward`, or `Backend.step` with nothing
    saved; backward(params, panels, inputs, saved, d_outputs, d_states): as `Backend.backward`, but
    None as well where parameters or inputs have been written into since forward saw them.
    panels: what `Backend.pack` made of the parameters, if they are packed.

    parts(saved): what `Backend.backward` calls saved, and the fingerprint of what forward saw;
    fingerprint(arrays): how that was made (fingerprint.py).
    """

    call: Call
    forward: Callable[[Values, Any, Values, Values], tuple[Arrays, Arrays, Any] | None]
    backward: Callable[
        [Values, Any, Values, Any, Values, Values], tuple[Arrays, Arrays, Arrays] | None
    ]
    parts: Callable[[Any], tuple[Any, bytes]]
    fingerprint: Look = fingerprint


class Backend(Protocol):
    """The generated code of one target.

    It is called with at least one step and one row. Arrays given are C-contiguous, aligned, of
    native byte order, of the kernel's dtype and of exact shape; a backend never writes into
    them. Arrays returned are fresh: they share no memory with what was given, with `saved` or
    with each other. A backend may be called from several threads at once.
    """

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        """Outputs {name: [T, B, width]}, last states, and what backward needs (if training)."""
        ...

    def backward(
        self,
        call: Call,
        saved: Any,
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
        sums: Sums | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:
        """Gradients of params, inputs and initial states. A cotangent that is None is zero.

        call: the one that `forward` ran.  saved: what that returned; it serves any number of
        calls, also at once, so it is not written into.  sums: this is one of several calls, whose
        gradients of params are complete after the last.
        """
        ...

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        """Outputs {name: [B, width]} and next states of one step."""
        ...

    def ready(self, call: Call) -> Ready | None:
        """A quick way to repeat a call of this kind, without lengths; None: there is none.

        Only the shapes of the arrays count, and whether the parameters are packed.
        """
        ...

    def turns(
        self, call: Call, outputs: Arrays, states: tuple[Arrays, Arrays]
    ) -> tuple[Turn, Turn]:
        """Two functions that run one step each: from the first states to the second, and back.

        They read the inputs of `call`, write `outputs`, and keep to these buffers for good.
        """
        ...

    def pack(self, sizes: Sizes, params: Mapping[str, Array], weights: str | None = None) -> Any:
        """What the backend can prepare of parameters once; params of later calls carry it.

        weights: thin ones, after `check_weights`."""
        ...

    def check_weights(self, weights: str) -> None:
        """ArgumentError where there are no such thin weights of this cell (weights.py)."""
        ...

    def chunk_steps(self, sizes: Sizes) -> int:
        """Steps that are summed together: a sequence gives the same bits in pieces of whole
        chunks, forward and, from the last piece to the first, backward with `sums`."""
        ...
