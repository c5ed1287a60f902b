"""Whether a cell is the LSTM, GRU or simple RNN that its parameters' names say, by its equations.

In: a Cell, and the traits that names and a few numbers tell.  Out: a `Kinship`: the reference
cell that it is proved equal to, and how their parameters correspond; ArgumentError with the line
that differs where it is none.
Not here: the proof (comparison/), the traits (traits.py), the arrays of systems (systems.py).

The reference is written down here as text, gate by gate, from the parameters that the cell has.
Activations, clips and the epsilon of layer normalisation are the cell's own: those that stand
in its equations are tried in the reference. A literal number that is added in the forget gate is
a forget bias, like a constant of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import islice, product
from typing import Any

import numpy as np
import sympy

from derive import cells
from derive.cell import Cell
from derive.comparison.diff import diff
from derive.comparison.equal import narrow
from derive.comparison.numbers import value_in_numbers
from derive.comparison.one_direction import Sides, by_names, inverse, proved, searched
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.polynomial import Atom, Poly, of
from derive.errors import ArgumentError
from derive.kernel.signature import Arrays
from derive.program import Map
from derive.program.program import Dim
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY
from derive.weights.traits import TITLES, Traits

APOSTROPHE = "'"
#: Combinations of activations and clips that are tried by names, and by every map.
MOST, FEW = 60, 4


@dataclass(frozen=True, slots=True)
class Kinship:
    """traits: of the reference, with the forget bias that the cell adds. forward, backward: the
    reference's parameters from the cell's and back; None where they are the same by name."""

    reference: Cell
    traits: Traits
    forward: ParameterMap | None
    backward: ParameterMap | None


def converted(given: ParameterMap, source: Cell, target: Cell, params: Arrays) -> Arrays:
    """The target's parameters from the source's by a map, in the dtype that they have."""
    dtype = np.result_type(*params.values())
    sizes: dict[str, int] = {}
    for name, shape in source.params.items():
        sizes |= {
            d: n for d, n in zip(shape, params[name].shape, strict=True) if isinstance(d, str)
        }
    found = {}
    for name, shape in target.params.items():
        images = (given.sizes.get(d, d) if isinstance(d, str) else d for d in shape)
        own = tuple(sizes[d] if isinstance(d, str) else d for d in images)
        value = value_in_numbers(given.params[name], params, sizes, NUMPY, own)
        found[name] = np.array(value, dtype)
    return found


@lru_cache(maxsize=256)
def kinship(cell: Cell, traits: Traits) -> Kinship:
    """ArgumentError where the cell is not proved to be of its kind."""
    if traits.layer_norm == "other":
        # No system has arrays for such a cell, so all of them refuse it (compare.py), proof or not.
        return Kinship(cell, traits, None, None)
    sides = Sides(cell)
    known = [(Sides(one), own) for one, own in islice(_references(cell, traits), MOST)]
    for theirs, own in known:
        forward, backward = by_names((sides, theirs)), by_names((theirs, sides))
        if forward is not None and backward is not None:
            return _told(cell, theirs.cell, own, forward, backward)
    for theirs, own in known[:FEW]:
        reference = theirs.cell
        forward = searched((sides, theirs), [])
        if forward is None or narrow(forward, reference, told=True):
            continue
        meaning = inverse(forward)
        backward = None if meaning is None else proved((theirs, sides), meaning)
        backward = backward or searched((theirs, sides), [])
        if backward is None or narrow(backward, cell, told=True) or not _same_states(forward):
            continue
        return _told(cell, reference, own, forward, backward)
    raise _refused(cell, known[0][0].cell, traits)


def _same_states(given: ParameterMap) -> bool:
    """Whether states are the same as they are: initial states are handed over too."""
    return not given.through and all(
        value == of(Atom("array", name, (), value.scalar)) for name, value in given.states.items()
    )


def _told(
    cell: Cell, reference: Cell, traits: Traits, forward: ParameterMap, backward: ParameterMap
) -> Kinship:
    others = {
        name: value
        for name, value in forward.params.items()
        if f"{name} = {name}" not in forward.lines()
    }
    shift = others.get("b_f")
    if set(others) == {"b_f"} and isinstance(shift, Poly) and "b_f" in cell.params:
        by = shift - of(Atom("param", "b_f"))
        if by.number is not None:
            # What is added in the equations is added at run time, however it is written.
            bias = traits.forget_bias + float(by.number)
            return Kinship(cell, replace(traits, forget_bias=bias), None, None)
    if not others and set(cell.params) == set(reference.params):
        return Kinship(cell, traits, None, None)
    return Kinship(reference, replace(traits, forget_bias=0.0), forward, backward)


def _refused(cell: Cell, reference: Cell, traits: Traits) -> ArgumentError:
    lines = [
        f"{change.name}: {change.before or 'nothing'} there, {change.after or 'nothing'} here"
        for change in diff(reference, cell).equations
    ]
    return ArgumentError(
        f"{cell.name} has the parameters of {TITLES[traits.kind]}, and is not proved to be one",
        facts=(
            "parameters of the one that are those of the other were not found",
            *lines[:3],
        ),
        hint="derive.equal(cell, other) compares two cells; derive.cells has the usual ones",
    )


# --- references -----------------------------------------------------------------------------


def _references(cell: Cell, traits: Traits) -> Iterator[tuple[Cell, Traits]]:
    """Cells of the kind, the likeliest first, each with its traits."""
    unary, clips = _functions(cell)
    bias = traits.forget_bias
    usual = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh", ""),
             "rnn": ("", "tanh", "")}[traits.kind]  # fmt: skip
    others = [name for name in unary if name not in usual]
    slots = [
        [name for name in (usual[k], *others, "") if name != usual[k] or name in unary]
        if usual[k]
        else [""]
        for k in range(3)
    ]
    combinations = sorted(product(*slots), key=lambda each: _distance(each, usual))
    for names in dict.fromkeys((usual, *combinations)):
        for clip in clips:
            own = replace(traits, functions=(*names, *clip))
            if traits.layer_norm == "tensorflow":
                yield _normed(traits, names, bias), own
            else:
                yield Cell.parse(_text(cell, traits, names, clip)), own


def _distance(names: tuple[str, ...], usual: tuple[str, ...]) -> int:
    return sum(x != y for x, y in zip(names, usual, strict=True))


def _functions(cell: Cell) -> tuple[list[str], list[tuple[str, str]]]:
    """Functions of one argument in the equations, and clips: of c, and of the projection."""
    unary: dict[str, None] = {}
    bounds: dict[str, None] = {}
    for equation in cell.step.program.equations:
        if not isinstance(equation, Map):
            continue
        for node in sympy.preorder_traversal(equation.expr):
            name = functions.NAME_OF_HEAD.get(node.func)
            if name in functions.PUBLIC_FUNCTIONS and len(node.args) == 1:
                unary.setdefault(name)
            elif name == "clip" and node.args[1] == -node.args[2]:
                bounds.setdefault(str(node.args[2]))
    clips = [("", "")]
    for bound in bounds:
        clips += [(bound, ""), ("", bound)]
    clips += [(one, other) for one in bounds for other in bounds]
    return list(unary), clips


def _normed(traits: Traits, names: tuple[str, ...], bias: float) -> Cell:
    options: dict[str, Any] = {"layer_norm": "tensorflow", "forget_bias": bias}
    options |= {"activation": names[1]} if names[1] not in ("", "tanh") else {}
    return cells.lstm(**options)


def _text(cell: Cell, traits: Traits, names: tuple[str, ...], clip: tuple[str, str]) -> str:
    gate, inner, outer = names
    arrays = "\n".join(
        [f"input {_declared(cell.inputs)}", f"state {_declared(cell.states)}"]
        + [f"param {name}: {' x '.join(map(str, shape))}" for name, shape in cell.params.items()]
    )
    body = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}[traits.kind](
        cell, traits, gate, inner, outer, clip
    )
    outputs = [name.replace("_next", "'") for name in cell.outputs if name.endswith("_next")]
    return (
        f"cell {cell.name}\n{arrays}\n{body}\noutput {', '.join(outputs or ['h' + APOSTROPHE])}\n"
    )


def _declared(group: Mapping[str, tuple[Dim, ...]]) -> str:
    return ", ".join(f"{name}: {' x '.join(map(str, shape))}" for name, shape in group.items())


def _sum(cell: Cell, gate: str, recurrent: str = "", *more: str) -> str:
    """W_k @ x + U_k @ h and what the cell has besides: b_k, b_hk."""
    tail = f"_{gate}" if gate else ""
    parts = [f"W{tail} @ {next(iter(cell.inputs))}", recurrent or f"U{tail} @ h"]
    parts += [name for name in (f"b{tail}", f"b_h{gate}") if name in cell.params]
    return " + ".join([*parts, *more])


def _rnn(cell: Cell, traits: Traits, gate: str, inner: str, outer: str, clip: object) -> str:
    return f"h' = {inner}({_sum(cell, '')})"


def _gru(cell: Cell, traits: Traits, gate: str, inner: str, outer: str, clip: object) -> str:
    lines = [f"{k} = {gate}({_sum(cell, k)})" for k in "rz"]
    x = next(iter(cell.inputs))
    if traits.reset == "after":
        second = " + b_hn" if "b_hn" in cell.params else ""
        first = " + b_n" if "b_n" in cell.params else ""
        lines.append(f"n = {inner}(W_n @ {x}{first} + r * (U_n @ h{second}))")
    else:
        lines.append(f"n = {inner}({_sum(cell, 'n', 'U_n @ (r * h)')})")
    kept = "z * h + (1 - z) * n" if traits.keeps == "previous" else "(1 - z) * h + z * n"
    return "\n".join([*lines, f"h' = {kept}"])


def _lstm(
    cell: Cell, traits: Traits, gate: str, inner: str, outer: str, clip: tuple[str, str]
) -> str:
    def peep(k: str, state: str) -> tuple[str, ...]:
        return (f"p_{k} * {state}",) if f"p_{k}" in cell.params else ()

    bias = (_number(traits.forget_bias),) if traits.forget_bias else ()
    lines = []
    for k in "if":
        if f"W_{k}" in cell.params:
            extra = bias if k == "f" else ()
            lines.append(f"{k} = {gate}({_sum(cell, k, '', *peep(k, 'c'), *extra)})")
    if traits.coupled:
        lines.append("i = 1 - f" if traits.coupled == "forget" else "f = 1 - i")
    lines.append(f"g = {inner}({_sum(cell, 'g')})")
    kept = "f * c + i * g"
    lines.append(f"c' = clip({kept}, -{clip[0]}, {clip[0]})" if clip[0] else f"c' = {kept}")
    lines.append(f"o = {gate}({_sum(cell, 'o', '', *peep('o', 'c' + APOSTROPHE))})")
    made = f"o * {outer}(c')"
    if traits.projection:
        made = f"W_p @ ({made})"
        made = f"clip({made}, -{clip[1]}, {clip[1]})" if clip[1] else made
    return "\n".join([*lines, f"h' = {made}"])


def _number(value: float) -> str:
    return str(Fraction(str(value))).replace("/", " / ")
