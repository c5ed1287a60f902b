"""Parameters -> NAME_params.h, a constant structure that a cell of the mcu target reads.

In: a Cell, and its parameters by name.  Out: text; ArgumentError for arrays that do not fit.
Not here: where parameters come from (weights/), the structure itself (kernel/mcu_layout.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.emit.c.syntax import listed, single
from derive.emit.mcu.fixed.quantized import Quantized
from derive.emit.mcu.int8 import InInt8
from derive.emit.mcu.known import Known
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.arguments import Arguments
from derive.kernel.convert import kind_text, to_width
from derive.kernel.mcu_layout import LARGEST, macros, members
from derive.kernel.signature import Array, Arrays


@dataclass(frozen=True, slots=True)
class Given:
    """Parameters that fit a cell, in float32: whole, and by the parts that generated code has.
    sizes: of the dimensions that they tell, or that were given besides."""

    whole: Arrays
    parts: Arrays
    sizes: Mapping[str, int]


def given(cell: Cell, params: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> Given:
    """ArgumentError: an array is missing, has another shape than the others or `sizes` ask for, or
    is not finite in float32; or a size is too large for a loop over int."""
    signature = pipeline.signature(cell)
    told, whole, axes = Arguments(signature, np.float32).pack(params)
    dims = signature.dims()
    known = {dim: axes.known[dim] for dim in dims if dim in axes.known}
    if sizes is not None and not isinstance(sizes, Mapping):
        raise ArgumentTypeError(
            f"sizes are a mapping from dimensions to lengths, not {kind_text(sizes)}",
            hint=f'sizes={{"{dims[0] if dims else "H"}": 16}}',
        )
    for name, length in (sizes or {}).items():
        if name not in dims:
            raise ArgumentError(
                f"{cell.name} has no width {name!r}", facts=(f"it has {', '.join(dims)}",)
            )
        length = to_width(length, name)
        if known.setdefault(name, length) != length:
            of = [n for n, shape in signature.params.items() if name in shape]
            raise ArgumentError(
                f"the parameters are for {name} = {known[name]}, and {length} was given",
                facts=(f"{of[0]} is {list(whole[of[0]].shape)}",) if of else (),
                hint=f'sizes={{"{name}": {known[name]}}}',
            )
    for name, length in known.items():
        if length > LARGEST:
            raise ArgumentError(
                f"{name} = {length} is too large for a microcontroller's loops over int",
                facts=(f"a width may be up to {LARGEST}",),
            )
    backend: Any = pipeline.whole(cell, cast(Any, None), "float32")
    parts = dict(whole if backend is None else backend.cut(whole, told))
    for name, array in parts.items():
        if not np.isfinite(array).all():
            place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
            raise ArgumentError(
                f"parameter {name} has a number that is not finite in float32",
                facts=(f"{name}{list(place)} is {array[place]}",),
            )
        if any(length > LARGEST for length in array.shape):
            raise ArgumentError(
                f"parameter {name} is too large for a microcontroller's loops over int",
                facts=(f"it is {list(array.shape)}; an axis may have up to {LARGEST}",),
            )
    return Given(dict(whole), parts, known)


def params_header(cell: Cell, params: Mapping[str, Any]) -> str:
    """The text of NAME_params.h: `static const NAME_params NAME_weights = {...};`.

    params: {name: array}, shapes as in `kernel.init`. Numbers are rounded to float32 and written in
    decimal, the shortest that a compiler reads as the very same. The header also says which sizes
    the files must be compiled with, and compares.

    ArgumentError: an array is missing, has another shape, or is not finite in float32; or a size
    is too large for a loop over int.
    """
    return render(cell, given(cell, params))


def render(cell: Cell, params: Given, stored: Quantized | InInt8 | None = None) -> str:
    """The text of NAME_params.h. stored: the same parameters as a device for inference has them."""
    signature = pipeline.signature_of_parts(cell)
    dims = signature.dims()
    shapes, arrays, kind = signature.params, params.parts, "in float32"
    known = None if stored is None else stored.own
    bits: Mapping[str, int] = {}
    if known is not None:
        program = known.step.program
        shapes = {name: program.table()[name].shape for name in known.step.params}
        known_dims = {d for array in program.arrays for d in array.shape}
        dims = tuple(dim for dim in dims if dim in known_dims)
    if isinstance(stored, InInt8):
        arrays, kind = stored.arrays(), "with matrices in int8"
    elif stored is not None:
        arrays, kind = dict(stored.scaled.weights), "in fixed point"
        bits = stored.scaled.bits
    own = macros(cell.name, dims)
    lengths = {dim: params.sizes[dim] for dim in own.dims if dim in params.sizes}
    upper = cell.name.upper()
    flags = " ".join(f"-D{own.dims[dim]}={length}" for dim, length in lengths.items())
    lines = [
        f"/* Parameters of {cell.name}, {kind}. Generated by derive; do not edit.",
        " *",
        f" * Compile {cell.name}.c, and what includes this, with {flags} */"
        if flags
        else f" * {cell.name} has no dimension that its parameters tell. */",
        f"#ifndef {upper}_PARAMS_INCLUDED",
        f"#define {upper}_PARAMS_INCLUDED",
        "",
        f'#include "{cell.name}.h"',
        "",
    ]
    for dim, length in lengths.items():
        macro = own.dims[dim]
        lines += [f"#if {macro} != {length}", f'#error "compile with -D{macro}={length}"', "#endif"]
    body = []
    for member in members(shapes, known.scales if known else ()):
        array = arrays[member.params[0]]
        if member.axis is not None:
            array = np.stack([arrays[name] for name in member.params], axis=member.axis)
        note = ", ".join(_note(name, known, bits) for name in member.params)
        body += [f"    /* {note} */", *braced(numbers(array), 4)]
    lines += ["", f"static const {cell.name}_params {cell.name}_weights = {{"]
    lines += [*(body or ["    0"]), "};", "", f"#endif /* {upper}_PARAMS_INCLUDED */", ""]
    return "\n".join(lines)


def _note(name: str, known: Known | None, bits: Mapping[str, int]) -> str:
    """What the numbers of a parameter are."""
    if known and name in known.scales:
        return f"{name} / {known.scales[name]}"
    return f"{name} * 2^{bits[name]}" if name in bits else name


def numbers(array: Array) -> Array:
    """An array of texts: each number in decimal, exactly."""
    if array.dtype.kind == "i":
        texts = list(map(str, array.ravel()))
    else:
        texts = [single(float(value)) for value in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)


def braced(texts: Array, indent: int, end: str = ",") -> Iterator[str]:
    """An initializer, a pair of braces for each axis."""
    pad = " " * indent
    yield pad + "{"
    if texts.ndim == 1:
        words: Sequence[str] = list(texts)
        yield from (f"{pad}    {line}" for line in listed(words, indent + 4, end=""))
    else:
        for part in texts:
            yield from braced(part, indent + 4)
    yield pad + "}" + end
