"""A View as one HTML page that needs nothing else: no script, no font, no file, no network.

In: a View.  Out: a `Section` for each stage; `document` lays them out as a page.
Not here: the parts (parts.py, code.py, inspect/facts/verdicts.py), layout (templates/html).

Every equation has an anchor: eq-NAME, where-NAME and grad-NAME; lines of generated code lead to
them and back. Parts that are not always wanted are folded by `<details>`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.build.templates import html_environment
from derive.derivative import Gradient
from derive.inspect.facts.verdicts import verification
from derive.inspect.facts.view import View
from derive.inspect.html.code import CodeFile, code_files, references
from derive.inspect.html.mathml import math, math_name
from derive.inspect.html.parts import (
    Formula,
    chain_steps,
    cost_card,
    formula,
    prose,
    schedule_picture,
    shape_text,
    shapes_table,
)
from derive.inspect.html.structure import structure_data
from derive.inspect.html.svg import drawn
from derive.program import Program
from derive.program.formulas import formulas
from derive.schedule.plan import Phase
from derive.targets import WithTargets, names
from derive.textbook.derivation import Derivation, Line, owners
from derive.textbook.notation import Order

_SUMS = (
    "Sums over <i>n</i> run over the rows of the batch, sums over <i>j</i> over the width; over "
    "time the loop adds up. ⊙ is the product element by element."
)


@dataclass(frozen=True, slots=True)
class Section:
    """data: what the template of the section reads."""

    id: str
    title: str
    template: str
    data: Mapping[str, Any]


#: Characters of a page for which no stage is named: more is slow to mail, and to open on a phone.
LARGE = 290_000


def document(
    view: View, sections: Mapping[str, Section], left_out: Sequence[Section] = ()
) -> str:  # fmt: skip
    """A whole page. A section for verification follows those asked for."""
    context = _context(view, (*_shown(sections), _verification(view)), left_out)
    return html_environment().get_template("html/page.html.j2").render(context)


def fitted(view: View, sections: Mapping[str, Section]) -> str:
    """A whole page; while it is larger than LARGE, something is left out, and the page says so:
    generated text, the last of it first, then the schedule, then the chain rule."""
    left, found = list[Section](), dict(sections)
    text = document(view, found)
    generated = [stage for stage, section in sections.items() if "files" in section.data]
    for stage in [*reversed(generated), "schedule", "gradient"]:
        if len(text) <= LARGE:
            break
        if stage == "gradient":
            left.insert(0, _chain(view))
            found[stage] = _without_chain(found[stage])
        else:
            left.insert(0, found.pop(stage))
        text = document(view, found, left)
    return text


def _without_chain(section: Section) -> Section:
    lines = tuple(replace(line, steps=()) for line in section.data["equations"])
    return replace(section, data={**section.data, "equations": lines})


def body(view: View, sections: Mapping[str, Section]) -> str:
    """What stands between the tags of a page's body, of these sections alone."""
    context = _context(view, _shown(sections))
    return html_environment().get_template("html/body.html.j2").render(context)


def _context(
    view: View, sections: Sequence[Section], left_out: Sequence[Section] = ()
) -> dict[str, Any]:
    lines = (line for section in sections for line in section.data.get("equations", ()))
    return {
        "name": view.cell.name,
        "sections": sections,
        "switch": any(line.timed for line in lines),
        "left_out": left_out,
    }


def _shown(sections: Mapping[str, Section]) -> tuple[Section, ...]:
    return tuple(_with_code(section, sections) for section in sections.values())


def fragment(*parts: tuple[str, Mapping[str, Any]]) -> str:
    """Sections, each a template and its data, without a page around them, for a notebook."""
    sections = tuple(Section("", "", f"html/{name}.html.j2", data) for name, data in parts)
    context = {"sections": sections}
    return html_environment().get_template("html/fragment.html.j2").render(context)


# --- sections -------------------------------------------------------------------------------


def cell_data(view: View, *, linked: bool) -> Mapping[str, Any]:
    cell = view.cell
    shapes = {array.name: array.shape for array in cell.step.program.arrays}
    shapes |= cell.checked.shapes
    groups = (
        ("input", cell.inputs),
        ("state", cell.states),
        ("parameter", cell.params),
        ("output", cell.outputs),
    )
    return {
        "name": cell.name,
        "doc": " ".join(cell.doc.split()),
        "groups": tuple(
            (label, tuple((math_name(n), shape_text(s)) for n, s in group.items()))
            for label, group in groups
            if group
        ),
        "consts": tuple((math_name(n), math(v, Order({}))) for n, v in cell.consts.items()),
        "equations": tuple(
            formula(line, f"eq-{line.name}" if linked else "", shapes[line.name])
            for line in view.derivation.equations
        ),
        "notes": (*cell.notes, *(f"{name} is not used" for name in cell.unused)),
        "text": cell.to_text(),
        "timed_groups": (),
    }


def _cell(view: View) -> Section:
    return Section("cell", "Equations", "html/cell.html.j2", cell_data(view, linked=True))


def graph_data(view: View, *, linked: bool) -> Mapping[str, Any]:
    return {"graph": drawn(view.graph, linked=linked)}


def _graph(view: View) -> Section:
    return Section("graph", "Data flow", "html/graph.html.j2", graph_data(view, linked=True))


def _shapes(view: View) -> Section:
    return Section("shapes", "Shapes", "html/shapes.html.j2", {"shapes": shapes_table(view)})


def _structure(view: View) -> Section:
    data = structure_data(view.structure)
    return Section("structure", "Structure", "html/structure.html.j2", data)


def gradient_data(
    gradient: Gradient, found: Derivation, *, linked: bool, unfolded: bool = False
) -> Mapping[str, Any]:
    """unfolded: the chain rule under each line is open at first."""
    table = gradient.program.table()
    steps = chain_steps(gradient, found)

    def shown(kind: str, line: Line) -> Formula:
        return formula(line, f"{kind}-{line.name}" if linked else "", table[line.name].shape)

    return {
        "seeds": tuple((math_name(seed.name), prose(seed.meaning)) for seed in found.seeds),
        "where": tuple(shown("where", line) for line in found.where),
        "equations": tuple(
            replace(shown("grad", line), steps=steps[line.name]) for line in found.gradient
        ),
        "unfolded": unfolded,
        "sums": _SUMS,
        "timed_seeds": (),
        "timed_sums": "",
    }


def _gradient(view: View) -> Section:
    data = gradient_data(view.gradient, view.derivation, linked=True)
    return Section("gradient", "Gradient", "html/gradient.html.j2", data)


def _chain(view: View) -> Section:
    data = gradient_data(view.gradient, view.derivation, linked=False, unfolded=True)
    return Section("chain", "Chain rule", "html/gradient.html.j2", data)


def _tangent(view: View) -> Section:
    shapes = {array.name: array.shape for array in view.tangent.cell.step.program.arrays}
    lines = tuple(formula(line, "", shapes[line.name]) for line in view.moved)
    return Section("tangent", "Tangent", "html/program.html.j2", {"parts": (("", lines),)})


def _second(view: View) -> Section:
    of = view.tangent
    data = gradient_data(of.gradient, of.derivation, linked=False)
    return Section("second", "Second derivative", "html/gradient.html.j2", data)


def _program_formulas(program: Program) -> tuple[Formula, ...]:
    table = program.table()
    order = Order({array.name: k for k, array in enumerate(program.arrays)})
    lines = (Line(e.lhs.name, e.rhs, order) for e in formulas(program))
    return tuple(formula(line, shape=table[line.name].shape) for line in lines)


def _program(view: View) -> Section:
    data = {"parts": (("", _program_formulas(view.gradient.step.program)),)}
    return Section("program", "One step as a Program", "html/program.html.j2", data)


def _simplified(view: View) -> Section:
    split = view.schedule.split
    parts = (("Forward", split.forward), ("Backward", split.backward))
    data = {"parts": tuple((title, _program_formulas(program)) for title, program in parts)}
    return Section("simplified", "Simplified Programs", "html/program.html.j2", data)


def _schedule(view: View) -> Section:
    data = {"picture": schedule_picture(view.loops, view.sizes, linked=True)}
    return Section("schedule", "Schedule", "html/schedule.html.j2", data)


def _cost(view: View) -> Section:
    return Section("cost", "Cost", "html/cost.html.j2", {"card": cost_card(view)})


def _code(target: str, title: str) -> Callable[[View], Section]:
    def section(view: View) -> Section:
        files = code_files(view.files(target), _anchors(view), _stage_anchors(view))
        return Section(target, title, "html/code.html.j2", {"files": files})

    return section


def _verification(view: View) -> Section:
    found = verification(view.report) if view.report else None
    data = {"found": found, "name": view.cell.name}
    return Section("verification", "Verification", "html/verification.html.j2", data)


SECTIONS: Mapping[str, Callable[[View], Section]] = WithTargets({
    "cell": _cell,
    "graph": _graph,
    "shapes": _shapes,
    "structure": _structure,
    "program": _program,
    "gradient": _gradient,
    "chain": _chain,
    "tangent": _tangent,
    "second": _second,
    "simplified": _simplified,
    "schedule": _schedule,
    "cost": _cost,
}, lambda target: _code(target.name, f"Generated {target.title}"))  # fmt: skip


# --- links between equations and code -------------------------------------------------------


def _anchors(view: View) -> dict[str, str]:
    """{array: the anchor of the line that shows it, or of the line that it is part of}."""
    found, gradient = view.derivation, view.gradient
    places = {line.name: f"grad-{line.name}" for line in found.gradient}
    places |= {line.name: f"where-{line.name}" for line in found.where}
    places |= {line.name: f"eq-{line.name}" for line in found.equations}
    primal = {array.name for array in gradient.step.program.arrays}
    forward = owners(gradient.step.program, [name for name in places if name in primal])
    whole = owners(gradient.program, places)
    inputs = set(gradient.program.inputs)
    parts = {name: places[line] for name, line in (whole | forward).items() if name not in inputs}
    return parts | places


def _stage_anchors(view: View) -> dict[str, tuple[str, ...]]:
    """{anchor of a stage: the arrays that its products and sums give}."""
    return {
        f"stage-{pass_.name}-{Phase(title).name.lower()}-{k}": tuple(
            line.name
            for line in (*(line for stack in stage.stacks for line in stack.lines), *stage.sums)
        )
        for pass_ in view.loops.passes
        for title, stages in pass_.phases
        for k, stage in enumerate(stages, 1)
    }


def _with_code(section: Section, sections: Mapping[str, Section]) -> Section:
    """The section, its equations knowing the generated lines of the other sections; and
    generated lines with anchors where an equation leads to them, and without links to sections
    that the page does not have."""
    files = [file for name in names() if name in sections
             for file in sections[name].data["files"]]  # fmt: skip
    places = references(files)
    if "files" in section.data:
        wanted = {anchor for found in places.values() for _, anchor in found}
        own = _linked(section.data["files"], sections, wanted)
        return replace(section, data={"files": tuple(own)})
    data = dict(section.data)
    for key in ("equations", "where"):
        if key in data:
            data[key] = tuple(
                replace(line, code=tuple(places.get(line.id, ()))) for line in data[key]
            )
    return replace(section, data=data)


_HOME = {"eq": "cell", "where": "gradient", "grad": "gradient", "stage": "schedule"}


def _linked(
    files: Iterable[CodeFile], sections: Mapping[str, Section], wanted: Container[str]
) -> Iterable[CodeFile]:
    """wanted: the anchors of lines that equations lead to."""
    for file in files:
        yield replace(
            file,
            lines=tuple(
                replace(
                    line,
                    targets=tuple(t for t in line.targets if _HOME[t[1].split("-")[0]] in sections),
                    id=anchor if (anchor := f"{file.id}-{line.number}") in wanted else "",
                )
                for line in file.lines
            ),
        )
