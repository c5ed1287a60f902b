"""A View as a LaTeX document that compiles as it stands.

In: a View.  Out: one block of lines for each stage; `document` puts them into an article.
Not here: what is shown (derivation.py, loops.py, cost.py), how a formula is written
(notation.py).

A cotangent d_NAME is written dNAME, the next value of a state with a prime, * as a circled dot.
Needs amsmath and inputenc, which every distribution has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from derive.formulas import formulas
from derive.inspect.as_text import SECTIONS as TEXT_SECTIONS
from derive.inspect.cost import Part, at, depth, in_widths
from derive.inspect.derivation import Line
from derive.inspect.loops import PassView, StageView
from derive.inspect.notation import LATEX, Order, folded, latex_name, write
from derive.inspect.view import View
from derive.program import Program

Block = Iterable[str]

#: A formula of more characters than this goes on below, where a sum allows it.
_LONG = 150

_HEAD = r"""\documentclass[a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{amsmath}
\allowdisplaybreaks
\raggedright
\begin{document}
"""


def document(view: View, sections: Mapping[str, Block]) -> str:
    parts = [_HEAD]
    for name, lines in sections.items():
        title = f"{view.cell.name}: {_TITLES[name]}"
        parts.append(f"\\section*{{{escape(title)}}}\n" + "\n".join(lines) + "\n")
    parts.append("\\end{document}\n")
    return "\n".join(parts)


_TITLES = {
    "cell": "equations",
    "program": "one step as a Program",
    "gradient": "gradient",
    "simplified": "simplified Programs",
    "schedule": "schedule",
    "cost": "cost",
    "numpy": "NumPy",
    "c": "C",
}

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def escape(text: str) -> str:
    return "".join(_ESCAPES.get(c, c if c.isascii() else "?") for c in text)


# --- formulas -------------------------------------------------------------------------------


def aligned(lines: Sequence[Line]) -> Block:
    if not lines:
        return
    yield r"\begin{align*}"
    for k, line in enumerate(lines):
        end = r" \\" if k < len(lines) - 1 else ""
        rows = folded(write(line.value, LATEX, line.order), _LONG)
        yield f"{latex_name(line.name)} &= {rows[0]}" + (r" \\" if rows[1:] else end)
        for j, row in enumerate(rows[1:], 2):
            yield rf"&\quad {{}}{row}" + (r" \\" if j < len(rows) else end)
    yield r"\end{align*}"


def _program_lines(program: Program) -> tuple[Line, ...]:
    order = Order({array.name: k for k, array in enumerate(program.arrays)})
    return tuple(Line(e.lhs.name, e.rhs, order) for e in formulas(program))


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"${latex_name(name)}$" for name in names) or "nothing"


def _shape(shape: Sequence[str | int]) -> str:
    return r" \times ".join(str(dim) if isinstance(dim, int) else _dim(dim) for dim in shape)


def _dim(dim: str) -> str:
    return dim if len(dim) == 1 else rf"\mathrm{{{escape(dim)}}}"


# --- stages ---------------------------------------------------------------------------------


def _cell(view: View) -> Block:
    cell = view.cell
    if cell.doc:
        yield escape(" ".join(cell.doc.split()))
        yield ""
    groups = {"Inputs": cell.inputs, "States": cell.states, "Parameters": cell.params}
    for label, group in groups.items():
        if group:
            items = (f"${latex_name(name)}: {_shape(shape)}$" for name, shape in group.items())
            yield f"{label}: {', '.join(items)}."
            yield ""
    if cell.consts:
        consts = cell.consts.items()
        items = (f"${latex_name(name)} = {write(v, LATEX, Order({}))}$" for name, v in consts)
        yield f"Constants: {', '.join(items)}."
        yield ""
    yield from aligned(view.derivation.equations)
    yield f"Outputs: {_names(cell.outputs)}."


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
    found = view.derivation
    yield f"Given at each step $t = T, \\dots, 1$: {_names(seed.name for seed in found.seeds)}."
    if found.where:
        yield "Where"
        yield from aligned(found.where)
    yield from aligned(found.gradient)
    yield r"Sums over $n$ run over the rows of the batch; over time the loop adds up."


def _schedule(view: View) -> Block:
    found = view.loops
    for pass_ in found.passes:
        yield from _pass(pass_)
    yield f"Kept: {_names(item.name for item in found.kept)}."
    yield ""
    yield f"Recomputed: {_names(found.recomputed)}."
    yield ""
    yield "The recurrence is linear." if found.passes[0].linear else "The recurrence is not linear."
    if found.passes[0].elementwise:
        yield "Each unit runs through time by itself."


def _pass(view: PassView) -> Block:
    yield rf"\subsection*{{{view.name.capitalize()} pass}}"
    for name, stages in view.phases:
        for stage in stages:
            yield rf"\paragraph{{{name.capitalize()}}} {_summary(stage)}"
            stacked = (line for stack in stage.stacks for line in stack.lines)
            yield from aligned((*stacked, *stage.lines, *stage.sums))


def _summary(stage: StageView) -> str:
    parts = [f"{stack.products} products of {_names(stack.vectors)}" for stack in stage.stacks]
    parts += [f"{len(stage.lines)} elementwise lines"] if stage.lines else []
    parts += [f"{len(stage.sums)} sums"] if stage.sums else []
    return ", ".join(parts) + "."


def _cost(view: View) -> Block:
    found, sizes = view.cost, view.sizes
    shown = ", ".join(f"${_dim(name)} = {number}$" for name, number in sizes.items())
    yield r"\begin{tabular}{lrr}"
    yield rf" & formula & {shown} \\ \hline"
    rows = [
        ("parameters", found.parameters),
        ("numbers kept per step and row", found.saved),
    ]
    for name, parts in (("forward", found.forward), ("backward", found.backward)):
        for part in Part:
            work = parts[part]
            for column in ("multiply_adds", "elementwise", "transcendental"):
                if (value := getattr(work, column)) != 0:
                    what = f"{name}, {part.value}: {column.replace('_', '-')}"
                    rows.append((what, value))
    for what, value in rows:
        formula = write(in_widths(value), LATEX, Order({})).replace(r" \odot ", r" \, ")
        yield rf"{escape(what)} & ${formula}$ & {at(value, sizes)} \\"
    for name, plan in (("forward", view.schedule.forward), ("backward", view.schedule.backward)):
        yield rf"products in sequence, {name} & & {depth(plan)} \\"
    yield r"\end{tabular}"


def _code(stage: str) -> Callable[[View], Block]:
    def section(view: View) -> Block:
        yield r"\begin{verbatim}"
        yield from TEXT_SECTIONS[stage](view)
        yield r"\end{verbatim}"

    return section


SECTIONS: Mapping[str, Callable[[View], Block]] = {
    "cell": _cell,
    "program": _program,
    "gradient": _gradient,
    "simplified": _simplified,
    "schedule": _schedule,
    "cost": _cost,
    "numpy": _code("numpy"),
    "c": _code("c"),
}
