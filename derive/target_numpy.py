"""The NumPy target: generated text, run as a module.

In: the one file of `emit(cell, "numpy")`.  Out: a Backend of a Kernel.
Not here: how the text is made (emit/numpy_view.py), checked arguments (kernel.py). SymPy is
not imported, and nothing is written to disk.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from derive.arguments import Array, Arrays, Sizes


def load(text: str, path: str) -> ModuleType:
    """The text as a module of its own; tracebacks show its lines."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = f"<generated {path} {digest}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType(PurePosixPath(path).stem)
    module.__file__ = file
    exec(compile(text, file, "exec"), module.__dict__)
    return module


class NumpyBackend:
    """Implements derive.kernel.Backend; holds no state but the loaded functions."""

    __slots__ = ("_backward", "_forward", "_step")

    def __init__(self, files: Mapping[str, str]) -> None:
        ((path, text),) = files.items()
        module = load(text, path)
        self._forward = module.forward
        self._backward = module.backward
        self._step = module.step

    def forward(
        self,
        sizes: Sizes,
        params: Arrays,
        inputs: Arrays,
        states: Arrays,
        lengths: Array | None,
        reverse: bool,
        training: bool,
    ) -> tuple[Arrays, Arrays, Any]:
        outputs, last_states, saved = self._forward(
            sizes.steps, sizes.rows, params, inputs, states, lengths, reverse, training
        )
        return outputs, last_states, saved if training else None

    def backward(
        self,
        sizes: Sizes,
        params: Arrays,
        inputs: Arrays,
        saved: Any,
        lengths: Array | None,
        reverse: bool,
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
    ) -> tuple[Arrays, Arrays, Arrays]:
        gradients: tuple[Arrays, Arrays, Arrays] = self._backward(
            sizes.steps, sizes.rows, params, inputs, saved, lengths, reverse, d_outputs, d_states
        )
        return gradients

    def step(
        self, sizes: Sizes, params: Arrays, inputs: Arrays, states: Arrays
    ) -> tuple[Arrays, Arrays]:
        results: tuple[Arrays, Arrays] = self._step(sizes.rows, params, inputs, states)
        return results
