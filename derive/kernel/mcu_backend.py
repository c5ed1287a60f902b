"""The mcu target on this machine: generated C for a microcontroller -> a compiled Backend.

In: the files of `emit(cell, "mcu")`, a Signature.  Out: an `McuBackend`.
Not here: finding and running the compiler (build/), how structures lie (mcu_layout.py). SymPy is
not imported.

The sizes of the generated code are macros, so there is a library for each set of sizes. Rows run
one after another; a row that runs backwards gets its inputs turned round, and one that ends early
stops there, so the device's code knows neither.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.build.library import compile_library
from derive.errors import ArgumentError, BuildError
from derive.kernel.backend import Ready
from derive.kernel.call import Call
from derive.kernel.chunks import Sums
from derive.kernel.mcu_layout import LARGEST, Member, macros, members
from derive.kernel.signature import Array, Arrays, Axes, Signature, Sizes, axes_of
from derive.kernel.stream import Turn

#: As a board's compiler would be called, on this machine: without contraction and libm.
FLAGS = ("-std=c99", "-O1", "-fPIC", "-fno-builtin-memcpy")

_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class _Built:
    """A library for some sizes. bytes: of the structures of parameters, states, the tape, and what
    is prepared."""

    library: ctypes.CDLL
    bytes: tuple[int, int, int, int]
    outputs: tuple[Callable[..., None], ...]


class McuBackend:
    """Implements derive.kernel.backend.Backend, in float32. flags: of the compiler, besides."""

    def __init__(
        self, files: Mapping[str, str], signature: Signature, flags: tuple[str, ...] = ()
    ) -> None:
        self._files = dict(files)
        self._flags = (*FLAGS, *flags)
        self._signature = signature
        self._name = signature.name
        self._members = members(signature.params)
        self._macros = macros(self._name, signature.dims())
        self._readers = self._found_readers()
        self._prepares = any(f"void {self._name}_prepare(" in text for text in files.values())
        self._known: dict[tuple[int, ...], _Built] = {}
        self._lock = threading.Lock()
        ones = Sizes(1, 1, dict.fromkeys(signature.dims(), 2))
        self._built(ones)

    # --- the library ----------------------------------------------------------------------------

    def _found_readers(self) -> list[str]:
        """Functions of the header that say where an output lies on the tape, in declared order."""
        headers = [text for path, text in self._files.items() if path.endswith(f"{self._name}.h")]
        pattern = rf"static inline const float \*({re.escape(self._name)}_\w+_at)\("
        found = [name for text in headers for name in re.findall(pattern, text)]
        if len(found) != len(self._signature.outputs):
            raise BuildError(
                f"{self._name}.h has {len(found)} functions that read an output from the tape",
                facts=(f"{self._name} has {len(self._signature.outputs)} outputs",),
            )
        return found

    def _code(self) -> str:
        """The path of NAME.c."""
        (path,) = (path for path in self._files if path.endswith(f"{self._name}.c"))
        return path

    def _built(self, sizes: Sizes) -> _Built:
        for dim in self._macros.dims:
            if not 1 <= sizes.dims[dim] <= LARGEST:
                raise ArgumentError(
                    f"the target mcu has no kernel for {dim} = {sizes.dims[dim]}",
                    facts=(f"its sizes are from 1 to {LARGEST}",),
                )
        window = 1 << (sizes.steps - 1).bit_length()
        key = (window, *(sizes.dims[dim] for dim in self._macros.dims))
        with self._lock:
            if key not in self._known:
                self._known[key] = self._build(window, sizes)
            return self._known[key]

    def _build(self, window: int, sizes: Sizes) -> _Built:
        named = self._macros
        defines = [f"{macro}={sizes.dims[dim]}" for dim, macro in named.dims.items()]
        defines += [f"{named.window}={window}", named.train]
        code = self._code()
        sources = {**self._files, code: self._files[code] + self._host(sizes)}
        library = compile_library(sources, flags=self._flags, defines=defines)
        found = (ctypes.c_size_t * 4).in_dll(library, "derive_host_bytes")
        readers = tuple(library[f"derive_host_{k}"] for k in range(len(self._readers)))
        built = _Built(library, (found[0], found[1], found[2], found[3]), readers)
        params = sum(_count(m.axes, sizes) for m in self._members)
        states = sum(_count(axes_of(w), sizes) for w in self._signature.states.values())
        wanted = 4 * max(params, 1), 4 * max(states, 1)
        if built.bytes[:2] != wanted:
            raise BuildError(
                f"the structures of {self._name}.h do not hold the arrays of {self._name}",
                facts=(f"bytes of parameters and states: {built.bytes[:2]}, not {wanted}",),
            )
        return built

    def _host(self, sizes: Sizes) -> str:
        """C behind that of the cell: sizes of structures, and outputs copied from the tape."""
        name = self._name
        ready = f"sizeof({name}_prepared)" if self._prepares else "0"
        lines = [
            "",
            f"const size_t derive_host_bytes[4] = {{sizeof({name}_params), sizeof({name}_state), "
            f"sizeof({name}_tape), {ready}}};",
        ]
        for k, (reader, width) in enumerate(
            zip(self._readers, self._signature.outputs.values(), strict=True)
        ):
            count = _count(axes_of(width), sizes)
            lines += [
                f"void derive_host_{k}(const {name}_tape *tape, int steps, float *out)",
                "{",
                "    for (int t = 0; t < steps; ++t) {",
                f"        memcpy(out + (size_t)t * {count}, {reader}(tape, t), "
                f"{count} * sizeof *out);",
                "    }",
                "}",
            ]
        return "\n".join([*lines, ""])

    def _params(self, built: _Built, params: Mapping[str, Array]) -> tuple[Array, ...]:
        """Parameters as the code has them, and what it makes of them where it does."""
        joined = self._joined_params(params)
        if not self._prepares:
            return (joined,)
        ready = np.full(built.bytes[3] // 4, np.nan, _FLOAT)
        built.library[f"{self._name}_prepare"](*_pointers(joined, ready))
        return joined, ready

    # --- structures -----------------------------------------------------------------------------

    def _joined_params(self, params: Mapping[str, Array]) -> Array:
        parts = [_stacked(member, params).ravel() for member in self._members]
        return np.concatenate(parts) if parts else np.zeros(1, _FLOAT)

    def _split_params(self, whole: Array, sizes: Sizes) -> Arrays:
        found: Arrays = {}
        at = 0
        for member in self._members:
            shape = sizes.shape(member.axes)
            count = int(np.prod(shape))
            array = whole[at : at + count].reshape(shape)
            at += count
            if member.axis is None:
                found[member.params[0]] = array.copy()
                continue
            for k, name in enumerate(member.params):
                found[name] = np.ascontiguousarray(np.take(array, k, axis=member.axis))
        return {name: found[name] for name in self._signature.params}

    def _joined_states(self, states: Mapping[str, Array | None], row: int, sizes: Sizes) -> Array:
        parts = []
        for name, width in self._signature.states.items():
            array = states.get(name)
            count = _count(axes_of(width), sizes)
            parts.append(np.zeros(count, _FLOAT) if array is None else array[row].ravel())
        return np.concatenate(parts) if parts else np.zeros(1, _FLOAT)

    def _split_states(self, whole: Array, into: Arrays, row: int) -> None:
        at = 0
        for array in into.values():
            count = array[row].size
            array[row] = whole[at : at + count].reshape(array.shape[1:])
            at += count

    def _fresh(self, widths: Mapping[str, Axes], sizes: Sizes, *before: int) -> Arrays:
        return {n: np.zeros((*before, *sizes.lengths(w)), _FLOAT) for n, w in widths.items()}

    # --- Backend --------------------------------------------------------------------------------

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        sizes, own = call.sizes, self._signature
        built = self._built(sizes)
        params = self._params(built, call.params)
        outputs = self._fresh(own.outputs, sizes, sizes.steps, sizes.rows)
        last = self._fresh(own.states, sizes, sizes.rows)
        tapes = []
        for row, steps in enumerate(_lengths(call)):
            state = self._joined_states(call.states, row, sizes)
            tape = np.full(max(built.bytes[2], 4) // 4, np.nan, _FLOAT)
            inputs = [_of_row(array, row, steps, call.reverse) for array in call.inputs.values()]
            built.library[f"{self._name}_forward"](
                *_pointers(*params, state, tape, *inputs), ctypes.c_int(steps)
            )
            for read, array in zip(built.outputs, outputs.values(), strict=True):
                found = np.empty((steps, *array.shape[2:]), _FLOAT)
                read(*_pointers(tape), ctypes.c_int(steps), *_pointers(found))
                array[:steps, row] = found[::-1] if call.reverse else found
            self._split_states(state, last, row)
            tapes.append(tape)
        return outputs, last, tapes if call.training else None

    def backward(
        self,
        call: Call,
        saved: Any,
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
        sums: Sums | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:
        sizes, own = call.sizes, self._signature
        built = self._built(sizes)
        params = self._params(built, call.params)
        total = np.zeros_like(params[0]) if sums is None or sums.kept is None else sums.kept
        if sums is not None:
            sums.kept = total
        d_inputs = {n: np.zeros_like(a) for n, a in call.inputs.items() if own.wants(n)}
        d_first = self._fresh(own.states, sizes, sizes.rows)
        for row, steps in enumerate(_lengths(call)):
            state = self._joined_states(d_states, row, sizes)
            inputs = [_of_row(array, row, steps, call.reverse) for array in call.inputs.values()]
            given = [
                None if (d := d_outputs.get(key)) is None else _of_row(d, row, steps, call.reverse)
                for key in own.outputs
            ]
            found = [np.zeros_like(x) if n in d_inputs else None
                     for n, x in zip(call.inputs, inputs, strict=True)]  # fmt: skip
            built.library[f"{self._name}_backward"](
                *_pointers(*params, saved[row], *inputs, *given, total, state, *found),
                ctypes.c_int(steps),
            )
            for name, array in zip(call.inputs, found, strict=True):
                if array is not None:
                    d_inputs[name][:steps, row] = array[::-1] if call.reverse else array
            self._split_states(state, d_first, row)
        d_params = self._split_params(total, sizes)
        wanted = {name: array for name, array in d_params.items() if own.wants(name)}
        return wanted, d_inputs, d_first

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        sizes, own = call.sizes, self._signature
        built = self._built(sizes)
        params = self._params(built, call.params)
        outputs = self._fresh(own.outputs, sizes, sizes.rows)
        after = self._fresh(own.states, sizes, sizes.rows)
        for row in range(sizes.rows):
            state = self._joined_states(call.states, row, sizes)
            inputs = [np.ascontiguousarray(array[row]) for array in call.inputs.values()]
            found = [np.full(array.shape[1:], np.nan, _FLOAT) for array in outputs.values()]
            built.library[f"{self._name}_step"](*_pointers(*params, state, *inputs, *found))
            for array, one in zip(outputs.values(), found, strict=True):
                array[row] = one
            self._split_states(state, after, row)
        return outputs, after

    def ready(self, call: Call) -> Ready | None:
        """None: every call goes row by row."""
        return None

    def turns(
        self, call: Call, outputs: Arrays, states: tuple[Arrays, Arrays]
    ) -> tuple[Turn, Turn]:
        def turn(first: Arrays, last: Arrays) -> Turn:
            def run() -> None:
                found, after = self.step(replace(call, states=first))
                for target, values in ((outputs, found), (last, after)):
                    for name, array in values.items():
                        target[name][...] = array

            return run

        return turn(*states), turn(*reversed(states))

    def check_weights(self, weights: str) -> None:
        raise AssertionError("weights.py has refused them")

    def pack(self, sizes: Sizes, params: Mapping[str, Array], weights: str | None = None) -> None:
        """The code reads the parameters as they lie."""

    def chunk_steps(self, sizes: Sizes) -> int:
        return 1


def _count(axes: tuple[Any, ...], sizes: Sizes) -> int:
    return int(np.prod(sizes.shape(axes)))


def _stacked(member: Member, params: Mapping[str, Array]) -> Array:
    if member.axis is None:
        return params[member.params[0]]
    return np.stack([params[name] for name in member.params], axis=member.axis)


def _lengths(call: Call) -> list[int]:
    if call.lengths is None:
        return [call.sizes.steps] * call.sizes.rows
    return [int(length) for length in call.lengths]


def _of_row(array: Array, row: int, steps: int, reverse: bool) -> Array:
    """The steps of one row, in the order in which they run."""
    own = array[:steps, row]
    return np.ascontiguousarray(own[::-1] if reverse else own)


def _pointers(*arrays: Array | None) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(None if a is None else a.ctypes.data) for a in arrays]
