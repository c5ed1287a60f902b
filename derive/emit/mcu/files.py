"""Cell and Schedule -> the files of the mcu target: NAME.h, NAME.c and the header that all share.

In: a Cell and its Schedule.  Out: {relative path: text}.
Not here: bodies of functions (passes.py), layout (templates/mcu).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from derive.build.templates import environment
from derive.cell import Cell
from derive.emit.banner import Banner, banner
from derive.emit.equation_lines import gradient_lines
from derive.emit.mcu.lines import Element, element_of, indented, loops
from derive.emit.mcu.names import Names, names_of
from derive.emit.mcu.numbers import Lines
from derive.emit.mcu.passes import Passes, stacked
from derive.emit.mcu.shared_header import render_header
from derive.errors import CellError
from derive.kernel.mcu_layout import LARGEST
from derive.program import Step
from derive.program.program import Dim
from derive.schedule import Schedule

HEADER = "mcu/derive_mcu.h"

#: Sizes that stand in a header until a program defines others.
_DEFAULTS = {"I": 16, "H": 32}
_OTHER = 8
_WINDOW = 16


@dataclass(frozen=True, slots=True)
class FieldView:
    """real: the type of its elements, where it is not that of the others."""

    name: str
    brackets: str
    note: str = ""
    real: str = ""


@dataclass(frozen=True, slots=True)
class FunctionView:
    """head: the prototype in lines, without a semicolon.  unused: arguments that nothing reads."""

    head: tuple[str, ...]
    unused: tuple[str, ...]
    lines: tuple[str, ...]


def mcu_files(
    cell: Cell, schedule: Schedule, sizes: Mapping[str, int] | None = None
) -> dict[str, str]:
    """sizes: of dimensions, which the header then has where a program defines no others."""
    _refuse_name(cell, HEADER)
    text = banner(cell, schedule)
    names = names_of(cell.name, schedule)
    passes = Passes(schedule, names, text.notes, gradient_lines(cell, schedule))
    templates = environment()
    context = {
        "cell": cell.name,
        "title": f"{cell.name}: a recurrent cell for a microcontroller, and its training.",
        "doc": text.doc,
        "equations": text.equations,
        "schedule_lines": text.schedule[:2],
        "digest": text.digest,
        "m": names.macros,
        "own": names.own,
        "sizes": [*default_sizes(names, sizes), (names.macros.window, _WINDOW)],
        "largest": LARGEST,
        "real": "float",
        "train": True,
        "window_note": f"\n * {names.macros.window}: the most steps of a training window.",
        "scale_lines": (),
        "scales": (),
        "tables": (),
        "shared": "derive_mcu.h",
        "options": ", and without -ffast-math",
        "params": params_fields(names),
        "states": state_fields(names, schedule.split.gradient.step),
        "prepared": _prepared_fields(names),
        "tape": _tape(names, passes),
        "outputs": _outputs(names, passes, schedule),
        "step": function(step_head(names, schedule.split.gradient.step), passes.step()),
        "prepare": function(_prepare_head(names), passes.prepare()),
        "forward": function(_forward_head(names, schedule), passes.forward()),
        "backward": function(_backward_head(names, schedule), passes.backward()),
        "descend": function(_descend_head(names), _descend(cell, names)),
    }
    return {
        HEADER: render_header(),
        f"mcu/{cell.name}.h": templates.get_template("mcu/cell.h.j2").render(context),
        f"mcu/{cell.name}.c": templates.get_template("mcu/cell.c.j2").render(context),
    }


def inference_files(
    cell: Cell, text: Banner, names: Names, step: Step, body: Lines, *, real: str, title: str,
    sizes: Mapping[str, int], header: tuple[str, str], **more: Any,
) -> dict[str, str]:  # fmt: skip
    """The files of a step alone. body: its lines.  header: that cells share, and its text."""
    _refuse_name(cell, header[0])
    templates = environment()
    context: dict[str, Any] = {
        "cell": cell.name,
        "title": f"{cell.name}: a recurrent cell for a microcontroller, {title}.",
        "doc": text.doc,
        "equations": text.equations,
        "schedule_lines": (),
        "digest": text.digest,
        "m": names.macros,
        "own": names.own,
        "sizes": default_sizes(names, sizes),
        "largest": LARGEST,
        "real": real,
        "train": False,
        "window_note": "",
        "shared": header[0].removeprefix("mcu/"),
        "options": "",
        "scales": (),
        "tables": (),
        "prepared": (),
        "params": params_fields(names),
        "states": state_fields(names, step),
        "step": function(step_head(names, step, real), body),
        **more,
    }
    return {
        header[0]: header[1],
        f"mcu/{cell.name}.h": templates.get_template("mcu/cell.h.j2").render(context),
        f"mcu/{cell.name}.c": templates.get_template("mcu/cell.c.j2").render(context),
    }


def _refuse_name(cell: Cell, header: str) -> None:
    if f"mcu/{cell.name}.h" == header:
        raise CellError(
            f"a cell called {cell.name} would overwrite the header that all cells share",
            hint=f"cell {cell.name}_cell",
        )


def default_sizes(names: Names, sizes: Mapping[str, int] | None) -> list[tuple[str, int]]:
    """(macro, length) of each dimension."""
    known = {**_DEFAULTS, **(sizes or {})}
    return [(macro, known.get(dim, _OTHER)) for dim, macro in names.macros.dims.items()]


# --- structures -----------------------------------------------------------------------------


def params_fields(names: Names) -> list[FieldView]:
    found = []
    for member, text in names.members:
        note = "" if member.axis is None else f"of {', '.join(member.params)}"
        real = "int8_t" if member.narrow else ""
        found.append(FieldView(text, names.brackets(member.axes), note, real))
    return found


def state_fields(names: Names, step: Step) -> list[FieldView]:
    return [FieldView(names.states[n], names.brackets(names.shapes[n])) for n in step.states]


def _prepared_fields(names: Names) -> list[FieldView]:
    return [FieldView(t, names.brackets(names.shapes[n])) for n, t in names.prepared.items()]


def _tape(names: Names, passes: Passes) -> list[FieldView]:
    window = names.macros.window
    return [
        FieldView(
            member.name,
            f"[{window}{' + 1' if member.extra else ''}]"
            + names.brackets(names.shapes[member.array]),
        )
        for member in passes.tape.members
    ]


def _outputs(names: Names, passes: Passes, schedule: Schedule) -> list[tuple[str, str]]:
    """(name, the address of its first element) of each output after step t."""
    found = []
    step = schedule.split.gradient.step
    for key, array in zip(schedule.output_keys, step.outputs, strict=True):
        member, late = passes.tape.outputs[key]
        at = f"t + {late}" if late else "t"
        first = "[0]" * len(names.shapes[array])
        found.append((names.outputs[key], f"&tape->{member}[{at}]{first}"))
    return found


# --- functions ------------------------------------------------------------------------------


def step_head(names: Names, step: Step, real: str = "float") -> list[str]:
    own, cell = names.own, names.cell
    found = [*_params_of(names), f"{cell}_state *{own['s']}"]
    for name, text in names.inputs.items():
        found.append(f"const {real} {text}{names.brackets(names.shapes[name])}")
    for (_, text), array in zip(names.outputs.items(), step.outputs, strict=True):
        found.append(f"{real} {text}{names.brackets(names.shapes[array])}")
    return _head(f"{cell}_step", found)


def _params_of(names: Names) -> list[str]:
    """Parameters, and what was made of them."""
    own, cell = names.own, names.cell
    ready = [f"const {cell}_prepared *{own['prepared']}"] if names.prepared else []
    return [f"const {cell}_params *{own['p']}", *ready]


def _prepare_head(names: Names) -> list[str]:
    own, cell = names.own, names.cell
    ready = own.get("prepared", "prepared")
    return _head(
        f"{cell}_prepare", [f"const {cell}_params *{own['p']}", f"{cell}_prepared *{ready}"]
    )


def _forward_head(names: Names, schedule: Schedule) -> list[str]:
    own, cell = names.own, names.cell
    found = [
        *_params_of(names),
        f"{cell}_state *{own['s']}",
        f"{cell}_tape *{own['tape']}",
        *_windows(names, names.inputs),
        f"int {own['steps']}",
    ]
    return _head(f"{cell}_forward", found)


def _backward_head(names: Names, schedule: Schedule) -> list[str]:
    step = schedule.split.gradient.step
    own, cell = names.own, names.cell
    found = [
        *_params_of(names),
        f"const {cell}_tape *{own['tape']}",
        *_windows(names, names.inputs),
    ]
    for (_, text), array in zip(names.d_outputs.items(), step.outputs, strict=True):
        found.append(f"const float {text}[]{names.brackets(names.shapes[array])}")
    found += [f"{cell}_params *{own['d_p']}", f"{cell}_state *{own['d_s']}"]
    for name, text in names.d_inputs.items():
        found.append(f"float {text}[]{names.brackets(names.shapes[name])}")
    return _head(f"{cell}_backward", [*found, f"int {own['steps']}"])


def _descend_head(names: Names) -> list[str]:
    own, cell = names.own, names.cell
    arguments = [
        f"{cell}_params *{own['p']}",
        f"const {cell}_params *{own['d_p']}",
        f"float {own['rate']}",
    ]
    return _head(f"{cell}_descend", arguments)


def _windows(names: Names, arrays: Mapping[str, str]) -> list[str]:
    return [
        f"const float {text}[]{names.brackets(names.shapes[name])}" for name, text in arrays.items()
    ]


def _head(name: str, arguments: Sequence[str]) -> list[str]:
    """A prototype in lines."""
    lines = [f"void {name}("]
    for k, argument in enumerate(arguments):
        end = ")" if k + 1 == len(arguments) else ","
        wide = len(lines[-1]) + len(argument) + 2 > 100
        if wide:
            lines.append(f"    {argument}{end}")
        else:
            gap = "" if lines[-1].endswith("(") else " "
            lines[-1] += f"{gap}{argument}{end}"
    return lines


def function(head: list[str], lines: Sequence[str]) -> FunctionView:
    """With a line for each argument that the body does not mention."""
    text = re.sub(r"/\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL)
    whole = " ".join(head)
    words = re.findall(r"(\w+)(?:\[[^,]*\])*\s*[,)]", whole)
    unused = [word for word in words if not re.search(rf"(?<![\w>.]){word}\b", text)]
    return FunctionView(tuple(head), tuple(unused), tuple(lines))


def _descend(cell: Cell, names: Names) -> Lines:
    """p -= rate * d_p, member by member; what is fixed stays."""
    wholes = cell.checked.wholes
    fixed = {part for name in cell.checked.fixed for part, *_ in wholes.get(name, ((name,),))}
    p, d_p, rate = (names.own[name] for name in ("p", "d_p", "rate"))
    found: Lines = []
    for member, text in names.members:
        target, source = f"{p}->{text}", f"{d_p}->{text}"
        if not fixed.intersection(member.params):
            found += _descend_lines(
                names, member.axes, element_of(target), element_of(source), rate
            )
            continue
        for k, name in enumerate(member.params):
            if name not in fixed:
                to, by = (stacked(base, member.axis, k) for base in (target, source))
                found += _descend_lines(names, member.shape, to, by, rate)
    return found


def _descend_lines(
    names: Names, axes: Sequence[Dim], target: Element, source: Element, rate: str
) -> Lines:
    letters = (*names.words.inner, *names.words.outer)[: len(axes)]
    body = f"{target(letters)} = DERIVE_FMA(-{rate}, {source(letters)}, {target(letters)});"
    lengths = (names.words.length(dim) for dim in axes)
    return indented(loops(zip(letters, lengths, strict=True), [body]))
