"""A View as a LaTeX document that compiles as it stands.

In: a View.  Out: one block of lines for each stage; `document` puts them into an article.
Not here: what is shown (textbook/derivation.py, inspect/facts/schedule_summary.py, cost.py), how a
formula is written (notation.py), equations and tables (layout.py), graph, shapes and chain rule
(parts.py), numbers (cost.py).

Needs amsmath, geometry and tikz, which every distribution has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from derive.inspect.facts.cost import at
from derive.inspect.facts.schedule_summary import Kept, PassView
from derive.inspect.facts.view import View
from derive.inspect.latex.cost import cost, verification, width_formula
from derive.inspect.latex.layout import (
    PAGE,
    Block,
    aligned,
    dim_text,
    escape,
    inline,
    meaning,
    names,
    shape_text,
    table,
    verbatim,
)
from derive.inspect.latex.notation import latex_name
from derive.inspect.latex.parts import chain, graph, shapes
from derive.inspect.latex.structure import structure
from derive.inspect.text.report import SECTIONS as TEXT_SECTIONS
from derive.program import Program
from derive.program.formulas import formulas
from derive.schedule.plan import Phase
from derive.symbolic import functions
from derive.targets import WithTargets
from derive.textbook.derivation import Line
from derive.textbook.notation import Order

_HEAD = r"""\documentclass[a4paper]{article}
% Fonts that scale: Latin Modern or CM-Super where they are installed, or else Computer Modern in
% its first encoding. T1 without either is drawn as bitmaps.
\IfFileExists{lmodern.sty}{\usepackage[T1]{fontenc}\usepackage{lmodern}}{%
\IfFileExists{type1ec.sty}{\usepackage[T1]{fontenc}\usepackage{type1ec}}{%
\renewcommand{\labelitemi}{$\bullet$}\renewcommand{\labelitemiii}{$\ast$}%
\renewcommand{\labelitemiv}{$\cdot$}\DeclareTextCommandDefault{\textdollar}{\ensuremath{\mathdollar}}%
\DeclareTextCommandDefault{\textquotedbl}{''}\DeclareTextCommandDefault{\textbar}{\ensuremath{|}}%
\DeclareTextCommandDefault{\textless}{\ensuremath{<}}\DeclareTextCommandDefault{\textgreater}{\ensuremath{>}}%
\DeclareTextCommandDefault{\textbraceleft}{\ensuremath{\lbrace}}%
\DeclareTextCommandDefault{\textbraceright}{\ensuremath{\rbrace}}%
\DeclareTextCommandDefault{\textbackslash}{\ensuremath{\backslash}}}}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{amsmath,tikz}
\usetikzlibrary{shapes.misc}
\definecolor{product}{HTML}{2F6FB4}
\definecolor{way}{HTML}{B8560F}
\allowdisplaybreaks
\tolerance=9000
\emergencystretch=3em
\raggedright
\begin{document}
"""


def document(view: View, sections: Mapping[str, Block]) -> str:
    if view.report:
        sections = {**sections, "verification": verification(view.report)}
    parts = [_HEAD]
    for name, lines in sections.items():
        title = f"{view.cell.name}: {_TITLES[name]}"
        parts.append(f"\\section*{{{escape(title)}}}\n" + "\n".join(lines) + "\n")
    parts.append("\\end{document}\n")
    return "\n".join(parts)


_TITLES: Mapping[str, str] = WithTargets({
    "cell": "equations",
    "graph": "data flow",
    "shapes": "shapes",
    "structure": "structure",
    "program": "one step as a Program",
    "gradient": "gradient",
    "chain": "chain rule, line by line",
    "tangent": "tangent",
    "second": "second derivative",
    "simplified": "simplified Programs",
    "schedule": "schedule",
    "cost": "cost",
    "verification": "verification",
}, lambda target: target.title)  # fmt: skip


def _program_lines(program: Program) -> tuple[Line, ...]:
    order = Order({array.name: k for k, array in enumerate(program.arrays)})
    return tuple(Line(e.lhs.name, e.rhs, order) for e in formulas(program))


# --- stages ---------------------------------------------------------------------------------


def _cell(view: View) -> Block:
    cell = view.cell
    if cell.doc:
        yield escape(" ".join(cell.doc.split()))
        yield ""
    groups = {"Inputs": cell.inputs, "States": cell.states, "Parameters": cell.params}
    for label, group in groups.items():
        if group:
            items = (f"${latex_name(name)}: {shape_text(shape)}$" for name, shape in group.items())
            yield f"{label}: {', '.join(items)}."
            yield ""
    if cell.consts:
        consts = cell.consts.items()
        items = (f"${latex_name(name)} =$ {inline(v, Order({}))}" for name, v in consts)
        yield f"Constants: {', '.join(items)}."
        yield ""
    yield from aligned(view.derivation.equations)
    yield f"Outputs: {names(cell.outputs)}."


def _program(view: View) -> Block:
    yield from aligned(_program_lines(view.gradient.step.program))


def _simplified(view: View) -> Block:
    for title, program in (
        ("Forward", view.schedule.split.forward),
        ("Backward", view.schedule.split.backward),
    ):
        yield rf"\subsection*{{{title}}}"
        yield from aligned(_program_lines(program))


def _gradient(view: View) -> Block:
    yield from _gradient_of(view, PAGE)


def _gradient_of(view: View, page: float) -> Block:
    found = view.derivation
    yield r"Given, at each step $t = T, \dots, 1$:"
    yield r"\begin{itemize}"
    yield from (rf"\item ${latex_name(s.name)}$: {meaning(s.meaning)}" for s in found.seeds)
    yield r"\end{itemize}"
    if found.where:
        yield "Where"
        yield from aligned(found.where, page=page)
    yield from aligned(found.gradient, page=page)
    yield r"Sums over $n$ run over the rows of the batch, sums over $j$ over the width; over time"
    yield r"the loop adds up. $\odot$ is the product element by element."


#: A line of the page for second derivatives, whose names have more subscripts than others.
_NARROW = 0.92 * PAGE


def _tangent(view: View) -> Block:
    yield from aligned(view.moved, page=_NARROW)


def _second(view: View) -> Block:
    yield "The gradient of the tangent."
    yield from _gradient_of(view.tangent, _NARROW)


def _schedule(view: View) -> Block:
    found = view.loops
    for pass_ in found.passes:
        yield from _pass(pass_)
    yield r"\subsection*{Kept from forward to backward, for each step and row}"
    yield from _kept(found.kept, view.sizes)
    yield f"Computed again in the backward pass: {names(found.recomputed)}."
    yield ""
    yield "The recurrence is linear." if found.passes[0].linear else "The recurrence is not linear."
    if found.passes[0].elementwise:
        yield "Each unit runs through time by itself."


def _pass(view: PassView) -> Block:
    yield rf"\subsection*{{{view.name.capitalize()} pass}}"
    for name, stages in view.phases:
        loop = r", $t = 1, \dots, T$" if name == Phase.STEP.value else ""
        if loop and view.name == "backward":
            loop = r", $t = T, \dots, 1$"
        for k, stage in enumerate(stages, 1):
            number = f", stage {k} of {len(stages)}" if len(stages) > 1 else ""
            yield rf"\paragraph{{{name.capitalize()}{loop}{number}.}}"
            over = f" Over ${shape_text(stage.shape)}$." if stage.shape else ""
            yield escape(stage.title).capitalize() + "." + over
            stacked = (line for stack in stage.stacks for line in stack.lines)
            yield from aligned((*stacked, *stage.lines, *stage.sums))
            if stage.stores:
                yield rf"Stores {names(stage.stores)}."
    idle = [name for name, stages in view.phases if not stages]
    if idle:
        yield ""
        yield f"Nothing: {', '.join(idle)}."


def _kept(kept: tuple[Kept, ...], sizes: Mapping[str, int]) -> Block:
    if not kept:
        yield "Nothing."
        yield ""
        return
    total = sum((item.numbers for item in kept), functions.ZERO)
    shown = ", ".join(f"${dim_text(name)} = {number}$" for name, number in sizes.items())
    rows = [
        (
            f"${latex_name(item.name)}$" + (" (history)" if item.history else ""),
            f"${width_formula(item.numbers)}$",
            f"{at(4 * item.numbers, sizes):,}",
            f"{at(8 * item.numbers, sizes):,}",
        )
        for item in kept
    ]
    rows.append(
        ("together", f"${width_formula(total)}$", f"{at(4 * total, sizes):,}",
         f"{at(8 * total, sizes):,}")
    )  # fmt: skip
    yield from table("lrrr", ("", "numbers", "bytes, float32", "bytes, float64"), rows)
    yield f"Bytes at {shown}."
    yield ""


def _code(stage: str) -> Callable[[View], Block]:
    def section(view: View) -> Block:
        yield r"{\scriptsize"
        yield from verbatim(TEXT_SECTIONS[stage](view))
        yield "}"

    return section


SECTIONS: Mapping[str, Callable[[View], Block]] = WithTargets({
    "cell": _cell,
    "graph": graph,
    "shapes": shapes,
    "structure": structure,
    "program": _program,
    "gradient": _gradient,
    "chain": chain,
    "tangent": _tangent,
    "second": _second,
    "simplified": _simplified,
    "schedule": _schedule,
    "cost": cost,
}, lambda target: _code(target.name))  # fmt: skip
