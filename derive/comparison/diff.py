"""Two cells -> what changed: in meaning, never in text.

In: two Cells, or two versions of one.  Out: a `Comparison`.
Not here: whether the two compute the same under a parameter map (equal.py); a change in words
(change_text.py).

Intermediates that are called differently and compute the same are one; those that only one of
the two cells has are written out where they are used; terms are brought into canonical order.
What is left is a change. A line whose inputs alone changed is none, and where nothing changed
there is no change of cost either, although another way to write a step may cost a little more.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import sympy

from derive import pipeline
from derive.cell import Cell
from derive.comparison import canonical, change_text, polynomial
from derive.comparison.follows import origins, parts_of, replaced
from derive.comparison.indexed import indexed
from derive.comparison.matrices import apply, named
from derive.comparison.polynomial import Atom, Poly, of
from derive.display import Printed
from derive.inspect.facts.cost import Part
from derive.inspect.facts.cost import polynomial as as_formula
from derive.inspect.facts.view import View
from derive.language import tree
from derive.language.names import NEXT
from derive.program import Map, formulas
from derive.schedule.phases import leading_to, reached_from
from derive.symbolic import functions, heads
from derive.textbook.derivation import Line
from derive.textbook.notation import TEXT, write

#: Steps of rewriting for the forms of two cells, and for one line.
STEPS, OF_LINE = 60_000, 6_000
#: Terms up to which an array with axes is written out in what reads it.
OF_ARRAY = 12
#: A line of more terms is compared as a whole, and not written out in others.
LARGE = 60


@dataclass(frozen=True, slots=True, repr=False)
class Change(Printed):
    """before or after is None where one of the two has no such thing.

    was: what the first cell calls it, where that is another name.  follows: the changed equations
    that this one only follows from; empty where it is a change of its own.
    """

    name: str
    before: str | None
    after: str | None
    was: str = ""
    follows: tuple[str, ...] = ()

    def __repr__(self) -> str:
        before, after = self.before or "nothing", self.after or "nothing"
        return f"<Change of {self.name}: {before} -> {after}>"

    def __str__(self) -> str:
        """What `derive diff` prints of it: a line before and a line after."""
        return "\n".join(line.lstrip() for line in change_text.change_lines(self, " = "))


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Printed):
    """renamed: {intermediate of a: what b calls it}. The rest are changes."""

    a: str
    b: str
    renamed: Mapping[str, str]
    arrays: tuple[Change, ...]
    equations: tuple[Change, ...]
    gradient: tuple[Change, ...]
    cost: tuple[Change, ...]
    structure: Change | None

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.arrays or self.equations or self.gradient or self.cost or self.structure)

    def __repr__(self) -> str:
        return f"<Comparison {change_text.summary(self)}>"

    def __str__(self) -> str:
        """What `derive diff` prints."""
        return "\n".join(change_text.lines(self))


def diff(a: Cell, b: Cell) -> Comparison:
    """What changed from `a` to `b`, in meaning: two cells, or two versions of one.

        found = derive.diff(derive.cells.lstm(), derive.cells.cifg())
        bool(found)                                   # whether anything changed
        [change.name for change in found.equations]   # ["i"]
        found.arrays, found.gradient, found.cost      # each a tuple of Change
        found.structure                               # a Change, or None

    Other names of intermediates, another order of terms and factors, and definitions written
    out or drawn together are no change.
    """
    a, b = (pipeline.as_vectors(cell) or cell for cell in (a, b))
    axes = bool(a.checked.shapes or b.checked.shapes)
    views = View(a), View(b)
    inner: dict[str, str] = {}
    renamed: dict[str, str] = {}  # without forms an intermediate of another name is a change
    for opaque in (False, True):
        try:
            with polynomial.budget(STEPS), polynomial.opaque(opaque):
                forms = _forms(a, axes), _forms(b, axes)
                renamed = _renamed(a, b, forms)
                inner = _same_arrays(forms)
            break
        except polynomial.TooLarge:
            continue
    arrays = tuple(_arrays(a, b))
    nexts = {n for cell in (a, b) for n in cell.step.next_states}
    lines = _equations(views[0]), _equations(views[1])
    equations = _following(tuple(_lines(*lines, renamed, nexts)), *lines, renamed)
    gradient: tuple[Change, ...] = ()
    if arrays or equations:
        # The same step has the same gradient, however its intermediates are called.
        inner |= renamed | {change.was: change.name for change in equations if change.was}
        carried = {f"d_{old}": f"d_{new}" for old, new in inner.items()} | inner
        own = {f"d_{n}" for c in (a, b) for n in (*c.params, *c.inputs, *c.states)}
        changed = {c.name: c.was or c.name for c in equations if not c.follows}
        parts = [parts_of(cell.step) for cell in (a, b)]
        gradient = tuple(
            replace(change, follows=origins(change.name, changed, parts))
            for change in _lines(_gradient(views[0]), _gradient(views[1]), carried, own)
        )
    anything = bool(arrays or equations)
    before, after = (structure(a), structure(b)) if anything else ("", "")
    return Comparison(
        a.name,
        b.name,
        renamed,
        arrays,
        equations,
        gradient,
        tuple(_costs(*views)) if anything else (),
        None if before == after else Change("structure", before, after),
    )


def _forms(cell: Cell, axes: bool) -> Mapping[str, Poly]:
    """Of every array, by name; one that is cut has those of its parts. axes: whether one of the two
    cells has any."""
    if not axes:
        return canonical.canonical(cell.step).arrays
    arrays = dict(indexed(cell.step, whole=OF_ARRAY).arrays)
    for equation in cell.equations:
        name = equation.lhs.name
        if name not in arrays:
            base, primed = (name.removesuffix(NEXT), NEXT) if name.endswith(NEXT) else (name, "")
            shape = re.compile(rf"{re.escape(base)}(_\d+)+{primed}")
            parts = tuple(arrays[n] for n in cell.step.defined if shape.fullmatch(n))
            arrays[name] = of(Atom("whole", "", parts))
    return arrays


def structure(cell: Cell) -> str:
    """linear: the next state is affine in the state, unit by unit, with coefficients free of it;
    diagonal: each unit of a next state sees its own unit of the states alone; mixing: more."""
    step = cell.step
    if not step.states:
        return "stateless"
    if View(cell).schedule.forward.linear:
        return "linear"
    moving = set(reached_from(step.program, set(step.states)))
    needed = leading_to(step.program, set(step.next_states))
    mixes = any(
        not isinstance(e, Map) and e.out in needed and moving.intersection(e.operands)
        for e in step.program.equations
    )
    return "mixing" if mixes else "diagonal"


# --- arrays ---------------------------------------------------------------------------------


def _arrays(a: Cell, b: Cell) -> Iterable[Change]:
    for kind in ("inputs", "states", "params", "outputs"):
        one, other = getattr(a, kind), getattr(b, kind)
        for name in dict.fromkeys((*one, *other)):
            before, after = (
                _shape(cell, name, group.get(name)) for cell, group in ((a, one), (b, other))
            )
            if before != after:
                yield Change(f"{kind.removesuffix('s')} {name}", before, after)
    for name in dict.fromkeys((*a.consts, *b.consts)):
        value, new = a.consts.get(name), b.consts.get(name)
        if value != new and (name in a.consts) == (name in b.consts):
            yield Change(f"const {name}", str(value), str(new))


def _shape(cell: Cell, name: str, shape: tuple[Any, ...] | None) -> str | None:
    """As its declaration says it, but for what it starts training from."""
    if shape is None:
        return None
    checked = cell.checked
    said = " x ".join(map(str, shape))
    said += f" = {checked.learned[name]}" if name in checked.learned else ""
    said += " once" if name in checked.once else ""
    return f"{said}, fixed" if name in checked.fixed else said


# --- lines ----------------------------------------------------------------------------------

#: name -> (its value, its text)
Lines = Mapping[str, tuple[functions.Expr, str]]


def _equations(view: View) -> Lines:
    consts = {functions.symbol(name): value for name, value in view.cell.consts.items()}
    states = view.cell.declaration.state_names
    texts = {d.target: tree.to_text(d.expr, states) for d in view.cell.declaration.definitions}
    return {e.lhs.name: (e.rhs.xreplace(consts), texts[e.lhs.name]) for e in view.cell.equations}


def _gradient(view: View) -> Lines:
    found = view.derivation
    lines: tuple[Line, ...] = (*found.where, *found.gradient)
    return {line.name: (line.value, write(line.value, TEXT, line.order)) for line in lines}


def _renamed(
    a: Cell, b: Cell, forms: tuple[Mapping[str, Poly], Mapping[str, Poly]]
) -> dict[str, str]:
    """Definitions of a and of b that compute the same under two names, exchanged ones too."""
    mine = [e.lhs.name for e in a.equations]
    theirs = [e.lhs.name for e in b.equations]
    one, other = (
        {n: form[n].key for n in names} for form, names in zip(forms, (mine, theirs), strict=True)
    )
    fixed = {n for n in mine if n in other and one[n] == other[n]}
    fixed |= {*a.step.next_states, *b.step.next_states}
    known = {other[name]: name for name in reversed(theirs) if name not in fixed}
    found: dict[str, str] = {}
    for name in mine:
        new = known.get(one[name])
        if name not in fixed and new is not None and new not in found.values():
            found[name] = new
    # A name that another definition takes over is free: what it stood for must have one too.
    while taken := [n for n in found.values() if n in mine and n not in found and n not in fixed]:
        found = {old: new for old, new in found.items() if new not in taken}
    return found


def _same_arrays(forms: tuple[Mapping[str, Poly], Mapping[str, Poly]]) -> dict[str, str]:
    """Arrays without a name of the author's: which of b computes the same as which of a."""
    mine, theirs = forms
    known = {value.key: name for name, value in theirs.items() if name not in mine}
    keys = ((name, value.key) for name, value in mine.items() if name not in theirs)
    found: dict[str, str] = {}
    for name, key in keys:
        if key in known and known[key] not in found.values():
            found[name] = known[key]
    return found


def _lines(
    before: Lines, after: Lines, renamed: Mapping[str, str], always: Container[str] = ()
) -> Iterable[Change]:
    """Lines whose canonical forms differ, and those of one cell alone that these refer to.

    always: lines that count by themselves: next values, gradients of parameters.
    """
    old = {renamed.get(name, name): line for name, line in before.items()}
    common = set(old) & set(after)
    mine, theirs = _canonical(before, renamed, common), _canonical(after, {}, common)
    told = {name for name in common if mine[name] != theirs[name]}
    told |= {name for name in (*old, *after) if name not in common and name in always}
    grown = True
    while grown:
        read = [lines[name][0] for lines in (old, after) for name in told if name in lines]
        names = {symbol.name for value in read for symbol in value.free_symbols}
        new = {renamed.get(name, name) for name in names} - common - told
        grown = bool(new := new & {*old, *after})
        told |= new
    was = {renamed.get(name, name): name for name in before}
    for name in dict.fromkeys((*after, *old)):
        if name in told:
            yield Change(
                name,
                old[name][1] if name in old else None,
                after[name][1] if name in after else None,
                was[name] if was.get(name, name) != name else "",
            )


def _following(
    changes: tuple[Change, ...], before: Lines, after: Lines, renamed: Mapping[str, str]
) -> tuple[Change, ...]:
    """With a definition of one cell alone and its counterpart as one change, and the lines that
    change by nothing else marked as following from it."""
    old = {renamed.get(name, name): line for name, line in before.items()}
    common = set(old) & set(after)

    def same(one: functions.Expr, other: functions.Expr, names: Mapping[str, str]) -> bool:
        try:
            with polynomial.budget(OF_LINE):
                return _form(one, {**renamed, **names}, {}).key == _form(other, {}, {}).key
        except polynomial.TooLarge:
            return False

    pairs: dict[str, str] = {}
    follows: dict[str, tuple[str, ...]] = {}
    for change in changes:
        found = replaced(change.name, old, after, same, common)
        if found and all(pairs.get(name, new) == new for name, new in found.items()):
            pairs |= found
            follows[change.name] = tuple(found.values())
    told = {change.name: change for change in changes}
    result = []
    for name, change in told.items():
        if name in follows:
            result.append(replace(change, follows=follows[name]))
        elif name in pairs.values():
            was = next(one for one, new in pairs.items() if new == name)
            result.append(replace(change, before=old[was][1], was=was))
        elif name not in pairs:
            result.append(change)
    return tuple(result)


def _canonical(lines: Lines, renamed: Mapping[str, str], common: set[str]) -> dict[str, str]:
    """The canonical form of each common line; the others are written out in it."""
    known: dict[str, Poly] = {}
    result = {}
    for name, (value, _) in lines.items():
        own = renamed.get(name, name)
        form = of(Atom("function", str(value)))
        for opaque in (False, True):
            try:
                with polynomial.budget(OF_LINE), polynomial.opaque(opaque):
                    form = _form(value, renamed, known)
                break
            except polynomial.TooLarge:
                continue
        if own in common:
            result[own] = form.key
        elif len(form.terms) > LARGE:
            known[name] = of(Atom("function", form.key))
        else:
            known[name] = form
    return result


def _form(expr: Any, renamed: Mapping[str, str], known: Mapping[str, Poly]) -> Poly:
    def walk(part: Any) -> Poly:
        if part.is_Symbol:
            name = part.name
            return known.get(name) or of(Atom("array", renamed.get(name, name)))
        if part.is_Rational:
            return polynomial.constant(Fraction(int(part.p), int(part.q)))
        if part.is_Add or part.is_Mul:
            result = polynomial.ZERO if part.is_Add else polynomial.ONE
            for arg in part.args:
                result = result + walk(arg) if part.is_Add else result * walk(arg)
            return result
        if isinstance(part, sympy.Pow) and not isinstance(part, functions.exp):
            base, exponent = part.args
            if exponent.is_Rational:
                return polynomial.power(walk(base), Fraction(int(exponent.p), int(exponent.q)))
            return of(Atom("power", str(exponent), (walk(base),)))
        if isinstance(part, heads.matmul):
            left, right = part.args
            if left.is_Symbol and left.name not in known and left.name not in renamed:
                return apply(named(str(left)), False, walk(right))
            if isinstance(left, heads.transpose) and left.args[0].is_Symbol:
                return apply(named(str(left)), False, walk(right))
            return _bilinear("matmul", walk(left), walk(right))
        args = [walk(arg) for arg in part.args]
        if not args:
            return of(Atom("function", str(part)))
        name = functions.NAME_OF_HEAD.get(part.func)
        if name is not None:
            return polynomial.function(name, *args)
        linear = isinstance(part, (heads.total, heads.mean, formulas.sum_rows))
        if not linear:
            return of(Atom("function", type(part).__name__, tuple(args)))
        total = polynomial.ZERO
        for mono, c in args[0].terms.items():
            total += of(Atom("function", type(part).__name__, (polynomial.single(mono),))).times(c)
        return total

    return walk(expr)


def _bilinear(name: str, left: Poly, right: Poly) -> Poly:
    """A product of matrices that are computed, a pair of terms at a time."""
    result = polynomial.ZERO
    for mine, c in left.terms.items():
        for theirs, d in right.terms.items():
            pair = (polynomial.single(mine), polynomial.single(theirs))
            result += of(Atom("function", name, pair)).times(c * d)
    return result


# --- cost -----------------------------------------------------------------------------------


def _costs(a: View, b: View) -> Iterable[Change]:
    before, after = _figures(a), _figures(b)
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name, "0"), after.get(name, "0")
        if one != other:
            yield Change(name, one, other)


def _figures(view: View) -> dict[str, str]:
    found = view.cost
    figures = {
        "parameters": found.parameters,
        "bytes saved per step and row, float32": 4 * found.saved,
    }
    for name, parts in (("forward", found.forward), ("backward", found.backward)):
        for part in Part:
            for what in ("multiply_adds", "elementwise", "transcendental"):
                label = f"{name}, {part.value}: {what.replace('_', '-')}"
                figures[label] = getattr(parts[part], what)
    return {name: as_formula(value) for name, value in figures.items() if value != 0}
