"""A backend for each way to run a kernel, and which sizes use which.

In: a function that builds a backend for a Choice; what was remembered.  Out: a Backend.
Not here: finding the best way (search.py), what may be chosen (options.py).

All choices give the same bits and lay out what they keep and pack in the same way, so calls of one
run may be served by different ones. A winner serves calls with the same rows and widths, and
half to twice as many steps: nearly all costs are those of a step, but a few steps are dominated
by packing and by waking threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from derive.errors import BuildError
from derive.kernel.backend import Backend, Ready
from derive.kernel.call import Call
from derive.kernel.chunks import Sums
from derive.kernel.convert import letter
from derive.kernel.packed import Packed
from derive.kernel.signature import ROWS, STEPS, Array, Arrays, Sizes
from derive.kernel.stream import Turn
from derive.kernel.tune import store
from derive.kernel.tune.options import Choice

#: A winner serves calls of up to so many times as many steps, or as few.
_NEAR = 2


class TeamBackend(Backend, Protocol):
    """A Backend that says how many threads take part in a call."""

    def team(self, call: Call) -> int: ...


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a kernel uses for calls of about these sizes."""

    sizes: Sizes
    choice: Choice

    def __str__(self) -> str:
        return f"{sizes_text(self.sizes)}: {self.choice}"


def sizes_text(sizes: Sizes) -> str:
    lengths = {letter(STEPS): sizes.steps, letter(ROWS): sizes.rows}
    named = [*lengths.items(), *sizes.dims.items()]
    return ", ".join(f"{name}={length}" for name, length in named)


def tuned(backend: Backend) -> tuple[Tuned, ...]:
    """The winners that a kernel uses; of other targets none."""
    return backend.tuned() if isinstance(backend, TunedBackend) else ()


def untune(backend: Backend) -> None:
    """Forgets the winners of a kernel."""
    if isinstance(backend, TunedBackend):
        backend.untune()


def adopt(backend: Backend, winners: Iterable[Tuned]) -> None:
    """Uses the winners of another kernel of the same cell instead of its own."""
    if isinstance(backend, TunedBackend):
        backend.adopt(winners)


class TunedBackend:
    """`derive.kernel.backend.Backend`.

    Winners change as a whole: calls see the old ones or the new.
    """

    def __init__(
        self, build: Callable[..., TeamBackend], files: Mapping[str, str],
        flags: Sequence[str], dims: Sequence[str], dtype: str, threads: int,
    ) -> None:  # fmt: skip
        """build(choice, weights=None): BuildError where that cannot be compiled.  dims: of the
        cell, in order."""
        self.build = build
        self.files = files
        self.threads = threads
        self.default = build(Choice())
        self._key = store.key_of(files, flags, dtype, threads)
        self._lock = threading.Lock()
        self._winners: dict[tuple[int, ...], dict[int, tuple[Tuned, TeamBackend]]] = {}
        self._thin: dict[str, TeamBackend] = {}
        self.adopt(Tuned(*found) for found in store.recall(self._key, dims, threads))

    def use(self, sizes: Sizes, choice: Choice) -> bool:
        """From now on, for these sizes; whether it could be remembered."""
        self._use(sizes, choice)
        return store.remember(self._key, sizes, choice)

    def adopt(self, winners: Iterable[Tuned]) -> None:
        """From now on these and no others; they are not remembered."""
        with self._lock:
            self._winners = {}
        for tuned in winners:
            with suppress(BuildError):  # as if there were no such winner
                self._use(tuned.sizes, tuned.choice)

    def untune(self) -> None:
        with self._lock:
            self._winners = {}
            store.forget(self._key)

    def tuned(self) -> tuple[Tuned, ...]:
        return tuple(tuned for tuned, _ in self._all())

    def _use(self, sizes: Sizes, choice: Choice) -> None:
        with self._lock:
            known = {tuned.choice: backend for tuned, backend in self._all()}
            known.setdefault(Choice(), self.default)
            backend = known.get(choice) or self.build(choice)
            key = _key(sizes)
            near = {**self._winners.get(key, {}), sizes.steps: (Tuned(sizes, choice), backend)}
            self._winners = {**self._winners, key: dict(sorted(near.items()))}

    def _all(self) -> Iterator[tuple[Tuned, TeamBackend]]:
        return (found for near in self._winners.values() for found in near.values())

    def _of(self, call: Call) -> TeamBackend:
        if type(call.params) is Packed and call.params._weights is not None:
            return self._with(call.params._weights)
        sizes, winners = call.sizes, self._winners
        if not winners:
            return self.default
        near = winners.get(_key(sizes), {})
        apart, steps = min(((_ratio(sizes.steps, s), s) for s in near), default=(_NEAR + 1, 0))
        return near[steps][1] if apart <= _NEAR else self.default

    # --- Backend ----------------------------------------------------------------------------

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        return self._of(call).forward(call)

    def backward(
        self, call: Call, saved: Any,
        d_outputs: Mapping[str, Array | None], d_states: Mapping[str, Array | None],
        sums: Sums | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        # Calls that hand sums on share a workspace, which choices lay out differently.
        backend = self._of(call) if sums is None else self.default
        return backend.backward(call, saved, d_outputs, d_states, sums)

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        return self._of(call).step(call)

    def ready(self, call: Call) -> Ready | None:
        return self._of(call).ready(call)

    def turns(
        self, call: Call, outputs: Arrays, states: tuple[Arrays, Arrays]
    ) -> tuple[Turn, Turn]:
        return self._of(call).turns(call, outputs, states)

    def pack(self, sizes: Sizes, params: Mapping[str, Array], weights: str | None = None) -> Any:
        return self._with(weights).pack(sizes, params, weights)

    def check_weights(self, weights: str) -> None:
        self._with(weights).check_weights(weights)

    def _with(self, weights: str | None) -> TeamBackend:
        """The backend for packed parameters with these weights, compiled when it is first needed:
        nothing is tuned for thin ones."""
        if weights is None:
            return self.default
        with self._lock:
            if weights not in self._thin:
                self._thin[weights] = self.build(Choice(), weights)
            return self._thin[weights]

    def chunk_steps(self, sizes: Sizes) -> int:
        return self.default.chunk_steps(sizes)


def _key(sizes: Sizes) -> tuple[int, ...]:
    return (sizes.rows, *sizes.dims.values())


def _ratio(a: int, b: int) -> float:
    return max(a, b) / min(a, b)
