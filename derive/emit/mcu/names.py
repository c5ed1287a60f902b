"""What arrays are called in the files of the mcu target.

In: a cell's Schedule.  Out: `Names`: members of structures, arguments, locals and macros.
Not here: where arrays lie (passes.py), the structures themselves (kernel/mcu_layout.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from derive.emit.c.syntax import c_names
from derive.emit.mcu.lines import Words
from derive.emit.mcu.prepared import prepared_arrays
from derive.kernel.mcu_layout import Macros, Member, macros, members
from derive.program import Namer, Step
from derive.program.program import Dim
from derive.schedule import Schedule

#: Arguments of the functions that are no arrays of the cell.
_OWN = ("p", "s", "tape", "steps", "d_p", "d_s", "rate")


@dataclass(frozen=True, slots=True)
class Names:
    """members: of the structure of parameters, with their names in C.  states, tape: members of
    structures.  inputs, outputs, d_inputs, d_outputs: arguments, the latter by key.  own: of the
    arguments p, s, tape, steps, d_p, d_s, rate.  shapes: of all arrays.
    """

    cell: str
    macros: Macros
    members: tuple[tuple[Member, str], ...]
    states: Mapping[str, str]
    prepared: Mapping[str, str]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    d_inputs: Mapping[str, str]
    d_outputs: Mapping[str, str]
    own: Mapping[str, str]
    time: str
    words: Words
    shapes: Mapping[str, tuple[Dim, ...]]
    local_array: Callable[[str], str]
    free: Callable[[str], str]

    def brackets(self, shape: tuple[Dim, ...]) -> str:
        return "".join(f"[{self.words.length(dim)}]" for dim in shape)


def _in_c(names: Iterable[str]) -> dict[str, str]:
    """C names that users see: <complex.h> has taken I."""
    found = c_names(names)
    if "I" in found:
        found["I"] = Namer(found.values())("I_")
    return found


class _Locals(dict[str, str]):
    """Names of elements; that of an array which scheduling has made is found when it is needed."""

    def __init__(self, namer: Namer) -> None:
        super().__init__()
        self.namer = namer

    def __missing__(self, name: str) -> str:
        (text,) = c_names([name]).values()
        self[name] = self.namer(text)
        return self[name]


def names_of(cell: str, schedule: Schedule) -> Names:
    split = schedule.split
    programs = (split.forward, split.backward)
    shapes = {a.name: a.shape for program in programs for a in program.arrays}
    ready = prepared_arrays(split.forward)
    step = split.gradient.step
    return names_in(cell, step, schedule.output_keys, shapes, prepared=ready)


def names_in(
    cell: str, step: Step, keys: Sequence[str], shapes: Mapping[str, tuple[Dim, ...]],
    narrow: Collection[str] = (), prepared: Collection[str] = (),
) -> Names:  # fmt: skip
    """shapes: of all arrays that functions have.  narrow: parameters in int8.  prepared: arrays
    that a caller keeps."""
    dims = dict.fromkeys(d for shape in shapes.values() for d in shape if isinstance(d, str))
    of_dims = macros(cell, dims)
    plain = _in_c(dict.fromkeys((*step.inputs, *keys, *shapes)))
    namer = Namer(())
    inputs = {name: namer(plain[name]) for name in step.inputs}
    outputs = {key: namer(plain[key] if key not in inputs else f"{key}_out") for key in keys}
    d_inputs = {name: namer(f"d_{text}") for name, text in inputs.items()}
    d_outputs = {key: namer(f"d_{text}") for key, text in outputs.items()}
    own = {name: namer(name) for name in (*_OWN, *(("prepared",) if prepared else ()))}
    locals_ = _Locals(namer)
    for name in shapes:
        text = plain[name]
        first = namer(text)
        locals_[name] = first if first == text else namer(f"{text}_t")
    words = Words(
        locals=locals_,
        outer=tuple(namer(name) for name in ("n", "i", "j")),
        inner=tuple(namer(name) for name in ("k", "l", "m")),
        total=namer("sum"),
        dims=of_dims.dims,
    )
    found = members({name: shapes[name] for name in step.params}, narrow)
    in_c = _in_c([member.name for member in found])
    return Names(
        cell=cell,
        macros=of_dims,
        members=tuple((member, in_c[member.name]) for member in found),
        states=_in_c(step.states),
        prepared={name: locals_[name] for name in prepared},
        inputs=inputs,
        outputs=outputs,
        d_inputs=d_inputs,
        d_outputs=d_outputs,
        own=own,
        time=namer("t"),
        words=words,
        shapes=shapes,
        local_array=lambda name: namer(f"{locals_[name]}_all"),
        free=namer,
    )
