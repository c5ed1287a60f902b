"""A proof as steps that a reader can follow.

In: the step of a cell, and what its names stand for; forms that two cells share.
Out: lines: which equation is rewritten, into what, by which identity; and what both come to.
Not here: the search and the decision (one_direction.py, matching.py).

    gru: z = sigmoid(a_z), with a_z = W_z @ x + U_z @ h + b_z + b_hz,
      is 1/2 + 1/2 * tanh(1/2 * a_z)
      as sigmoid(a) is (1 + tanh(a / 2)) / 2
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from derive.comparison.canonical import Meaning, rewritings
from derive.comparison.parameter_map import atom_text, text_of
from derive.comparison.polynomial import Atom, Poly
from derive.program import Map, Matmul, Step, Sum
from derive.program.program import Layout
from derive.symbolic import functions, heads
from derive.symbolic.functions import Expr
from derive.textbook.notation import TEXT, Order, write

#: Terms of a form that are shown, and letters of an argument that stands where it is.
SHOWN, SHORT = 12, 24


def rewritten(name: str, step: Step, meaning: Meaning) -> Iterator[str]:
    """A step of the proof for each equation of the cell `name` that an identity rewrites."""
    made = {equation.out: equation for equation in step.program.equations}
    own = {*step.program.inputs, *step.defined, *step.next_states}
    # Parameters come first in the order of their first use: W_i @ x + U_i @ h + b_i.
    places = {name: k for k, name in enumerate(dict.fromkeys((*step.program.inputs, *made)))}

    def say(expr: Expr) -> str:
        return write(expr, TEXT, Order(places))

    def whole(array: str) -> Expr:
        """An array that the author did not name, by those that he named."""
        equation = made.get(array)
        if equation is None or array in own:
            return functions.symbol(array)
        if isinstance(equation, Map):
            parts = {functions.symbol(n): whole(n) for n in equation.operands}
            return equation.expr.xreplace(parts)
        return _linear(equation, whole)

    for equation, form, near, far in rewritings(step, meaning):
        between = [n for n in equation.operands if n in made and n not in own]
        with_ = ", ".join(f"{n} = {say(whole(n))}" for n in between)
        right = say(equation.expr if isinstance(equation, Map) else _linear(equation, whole))
        lines = [f"{name}: {equation.out} = {right}" + (f", with {with_}," if with_ else "")]
        if near:
            shown, *meanings = told(form)
            lines += [f"is {shown}", *meanings]
            lines += [f"as {identity}" for identity in near]
        if more := [identity for identity in far if identity not in near]:
            lines.append("and with everything written out")
            lines += [f"as {identity}" for identity in more]
        yield "\n  ".join(lines)


def _linear(equation: Matmul | Sum, whole: Callable[[str], Expr]) -> Expr:
    """The right side of a product or a sum."""
    if isinstance(equation, Sum):
        return cast(Expr, heads.total(whole(equation.source)))
    matrix = functions.symbol(equation.left)
    turned = equation.layout is Layout.TRANSPOSED
    left = heads.transpose(matrix) if turned else matrix
    return cast(Expr, heads.matmul(left, whole(equation.right)))


def told(form: Poly) -> list[str]:
    """A form as a line, and below it what stands for its longer parts."""
    names: dict[Atom, str] = {}
    meanings: dict[str, str] = {}
    seen: dict[Atom, Atom] = {}

    def short(value: Poly) -> Poly:
        terms = {}
        for mono, c in value.terms.items():
            terms[tuple((part(atom), n) for atom, n in mono)] = c
        return Poly(terms)

    def part(atom: Atom) -> Atom:
        if atom.args and atom not in seen:
            seen[atom] = named(atom)
        return seen.get(atom, atom)

    def named(atom: Atom) -> Atom:
        inner = Atom(atom.kind, atom.name, tuple(map(short, atom.args)), atom.scalar)
        if len(atom_text(inner)) <= SHORT:
            return inner
        if atom not in names:
            names[atom] = f"t{len(names) + 1}"
            meanings[names[atom]] = atom_text(inner)
        return Atom("array", names[atom], (), atom.scalar)

    value = short(form)
    count = len(value.terms)
    if count > SHOWN:
        value = Poly(dict(list(value.terms.items())[:SHOWN]))
    line = text_of(value) + (f" + ... ({count} terms)" if count > SHOWN else "")
    used = [name for name in meanings if count <= SHOWN or name in line]
    lines = [line, *(f"where {name} = {meanings[name]}" for name in used)]
    for name, relation in (("positive", ">"), ("zero", "=")):
        if any(f"{name}(" in part for part in lines):
            lines.append(f"where {name}(u) is 1 for u {relation} 0, else 0")
    return lines
