"""A cell and its parameters -> main.c, which runs it over an example and compares.

In: a Cell, parameters that fit it, inputs of one row.  Out: text.
Not here: the other files (export.py), layout (templates/mcu).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from derive import pipeline
from derive.build.templates import environment
from derive.cell import Cell
from derive.emit.mcu.fixed.files import names_of as names_of_fixed
from derive.emit.mcu.fixed.quantized import Quantized
from derive.emit.mcu.int8 import InInt8
from derive.emit.mcu.int8_files import names_of_int8
from derive.emit.mcu.lines import loops
from derive.emit.mcu.names import Names, names_of
from derive.emit.mcu.passes import stacked
from derive.kernel.signature import Array, Arrays, Sizes
from derive.mcu.params_header import Given, braced, numbers
from derive.program import Namer


@dataclass(frozen=True, slots=True)
class Example:
    """inputs: {name: [T, width]} of parts, or [width] of what is given once.  outputs: {key: [T,
    width]}, by parts, as derive computes them.

    texts: {name: array of texts of the same shape} as the device's numbers are written.
    """

    steps: int
    inputs: Arrays
    outputs: Arrays


def main_file(
    cell: Cell, params: Given, example: Example, stored: Quantized | InInt8 | None = None
) -> str:
    """stored: the cell as a device for inference has it; integers are compared exactly."""
    schedule = pipeline.schedule(cell)
    fixed = stored if isinstance(stored, Quantized) else None
    names = _names(cell, stored)
    real = "float" if fixed is None else "int16_t"
    notes = [] if fixed is None else [
        "An integer n of an array with b bits has the value n / 2^b. Bits here:",
        f"{', '.join(f'{n} {b}' for n, b in fixed.bits.items())}.",
        "",
    ]  # fmt: skip
    signature = pipeline.signature_of_parts(cell)
    once = once_parts(cell)
    step, name = schedule.split.gradient.step, cell.name
    ends = ("params", "state", "weights", "step", "tape", "prepare", "prepared")
    namer = Namer(
        {f"{name}_{end}" for end in ends}
        | {"STEPS", "different", "main", "printf", "t", "k", "wrong"}
    )
    arrays, arguments = [], []
    for array in step.inputs:
        text = namer(f"in_{names.inputs[array]}")
        brackets = names.brackets(names.shapes[array])
        is_once = array in once
        shown = brackets if is_once else f"[STEPS]{brackets}"
        arrays.append(_constant(f"static const {real} {text}{shown}", example.inputs[array]))
        arguments.append(text if is_once else f"{text}[t]")
    locals_, compares = [], []
    outputs = example.outputs
    for key, array in zip(schedule.output_keys, step.outputs, strict=True):
        brackets = names.brackets(names.shapes[array])
        wanted, out = namer(f"wanted_{names.outputs[key]}"), namer(f"out_{names.outputs[key]}")
        arrays.append(
            _constant(f"static const {real} {wanted}[STEPS]{brackets}", _in_range(outputs[key]))
        )
        locals_.append(f"{real} {out}{brackets};")
        arguments.append(out)
        first = "[0]" * len(names.shapes[array])
        count = Sizes(1, 1, params.sizes).lengths(signature.outputs[key])
        compares.append(
            f'wrong += different("{key}", &{out}{first}, &{wanted}[t]{first}, '
            f"{int(np.prod(count))});"
        )
    state = namer("state")
    ready = namer("prepared") if names.prepared else ""
    own = f"&{name}_weights, &{ready}" if ready else f"&{name}_weights"
    call = f"{name}_step({own}, &{state}, {', '.join(arguments)});"
    context = {
        "cell": name,
        "state": state,
        "ready": ready,
        "real": real,
        "exact": real != "float",
        "lost": not all(np.isfinite(array).all() for array in outputs.values()),
        "steps": example.steps,
        "notes": notes,
        "arrays": arrays,
        "locals": locals_,
        "call": _folded(call, 8),
        "compares": compares,
        "starts": _starts(cell, names, state, stored),
    }
    return environment().get_template("mcu/main.c.j2").render(context)


def _in_range(array: Array) -> Array:
    """A constant of C has no infinity: the largest number stands for what is not finite."""
    if array.dtype.kind == "i":
        return array
    return np.where(np.isfinite(array), array, np.finfo(np.float32).max).astype(np.float32)


def _names(cell: Cell, stored: Quantized | InInt8 | None) -> Names:
    if stored is None:
        return names_of(cell.name, pipeline.schedule(cell))
    if isinstance(stored, InInt8):
        return names_of_int8(cell, stored)
    return names_of_fixed(cell, stored.scaled)


def _constant(head: str, array: Array) -> list[str]:
    first, *rest = braced(numbers(array), 0, end="")
    return [f"{head} = {first}", *rest[:-1], f"{rest[-1]};"]


def _folded(text: str, indent: int) -> list[str]:
    """A call in lines that fit."""
    lines, room = [""], 100 - indent
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _starts(cell: Cell, names: Names, state: str, stored: Quantized | InInt8 | None) -> list[str]:
    """States that start from a parameter, part by part."""
    wholes = cell.checked.wholes
    found: list[str] = []
    for own, param in pipeline.signature(cell).learned.items():
        targets = [part for part, *_ in wholes.get(own, ((own,),))]
        sources = [part for part, *_ in wholes.get(param, ((param,),))]
        for to, by in zip(targets, sources, strict=True):
            if stored is not None:
                found += _assigned(f"{state}.{names.states[to]}", stored.start(by, to))
                continue
            shape = names.shapes[to]
            letters = ("i", "j", "k")[3 - len(shape) :]
            for member, text in names.members:
                if by in member.params:
                    base = f"{cell.name}_weights.{text}"
                    element = stacked(base, member.axis, member.params.index(by))
            value = "".join(f"[{letter}]" for letter in letters)
            line = f"{state}.{names.states[to]}{value} = {element(letters)};"
            lengths: Mapping[str, str] = {
                letter: names.words.length(dim) for letter, dim in zip(letters, shape, strict=True)
            }
            found += loops(lengths.items(), [line])
    return found


def _assigned(target: str, values: Array) -> list[str]:
    """Assignments, element by element."""
    texts = numbers(values)
    return [
        f"{target}{''.join(f'[{k}]' for k in index)} = {texts[index]};"
        for index in np.ndindex(values.shape)
    ]


def once_parts(cell: Cell) -> set[str]:
    """Parts of inputs that are given once."""
    wholes = cell.checked.wholes
    once = pipeline.signature(cell).once
    return {part for name in once for part, *_ in wholes.get(name, ((name,),))}
