"""Activations as callers give them: names, functions of any library, expressions.

In: an argument `activation`.  Out: `Activation`, and cells of the catalogue with it.
Not here: which option of a family it is (core_cells.py and its like).

A function is never taken by its name. It is called: with a SymPy symbol, and what it returns is
the expression; else with numbers, and it is the function of the closed set that has the same
values on a grid. A function that is none of these is refused.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy import Eq

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel.signature import Array
from derive.language.tree import Call, Node, mapped
from derive.language.variant.rewriting import Draft, named, substituted
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY
from derive.symbolic.heads import arrays

_SYNONYMS = {"linear": "identity", "swish": "silu", "nn.relu": "relu"}
#: The variable of an expression that is given as text.
VARIABLE = "v"
#: A function that no cell has of its own accord: it stands where the expression will be.
_PLACE = "erf"
#: Names that an argument may match by its values. stop_gradient has those of identity.
_NAMES = tuple(dict.fromkeys(("identity", "tanh", "sigmoid", "relu", *functions.ACTIVATIONS)))
_GRID = np.unique(
    np.concatenate([np.linspace(-9, 9, 721), np.linspace(-1, 1, 41) * 1e3, [-30.5, 30.5]])
)
#: Other libraries compute in float32.
_CLOSE = 2e-6


@dataclass(frozen=True, slots=True)
class Activation:
    """A name of the catalogue; or `own`, an expression of the array VARIABLE."""

    name: str
    own: Node | None = None


def activation_of(given: Any, default: str = "tanh") -> Activation:
    """None, a name, an expression of v as text, or a function of one argument.

    ArgumentError where it is none that is known, ArgumentTypeError where it is no activation.
    """
    if given is None:
        return Activation(default)
    if isinstance(given, str):
        known = _SYNONYMS.get(given.lower(), given.lower())
        return Activation(known) if known.isidentifier() else _of_text(given)
    if not callable(given):
        raise ArgumentTypeError(f"{given!r} is no activation", hint='activation="relu"')
    expr = _symbolic(given)
    if expr is not None:
        return _of_expression(given, expr)
    name = _by_values(given)
    if name is None:
        raise ArgumentError(
            f"{_word(given)} is no activation that is known",
            facts=(
                "its values are those of none of the functions of .cell text",
                "a function is known by what it computes, not by its name",
            ),
            hint=f'activation="where({VARIABLE} < 0, 0.2 * {VARIABLE}, {VARIABLE})", an expression '
            f"of {VARIABLE}",
        )
    return Activation(name)


def cell_with(family: str, activation: Activation, **options: Any) -> Cell:
    """The family's cell; with an expression of one's own where its activation stands."""
    if activation.own is None:
        return cells.family(family)(activation=activation.name, **options)
    cell = cells.family(family)(activation=_PLACE, **options)
    draft = Draft(cell.checked)
    draft.name = draft.name.replace(f"activation_{_PLACE}", "activation_own")
    equations, draft.equations = draft.equations, []
    taken = draft.names() | {target for target, _ in equations}
    for target, expr in equations:
        draft.append(target, _placed(expr, activation.own, draft, taken))
    return Cell.of(draft.finish())


def _placed(node: Node, own: Node, draft: Draft, taken: set[str]) -> Node:
    """`node` with `own` for _PLACE; the argument becomes a definition of its own."""
    if not (isinstance(node, Call) and node.function == _PLACE):
        return mapped(node, lambda part: _placed(part, own, draft, taken))
    k = 1
    while (name := f"pre_{k}") in taken:
        k += 1
    taken.add(name)
    draft.append(name, _placed(node.args[0], own, draft, taken))
    return substituted(own, {VARIABLE: named(name)})


# --- expressions ----------------------------------------------------------------------------


def _of_text(text: str) -> Activation:
    try:
        cell = Cell.parse(f"cell own\ninput {VARIABLE}: H\nstate s: H\ns' = {text}\noutput s'\n")
    except DeriveError as error:
        raise ArgumentError(
            f"{text!r} is no activation",
            facts=(error.what,),
            hint=f'activation="tanh(2 * {VARIABLE})", an expression of {VARIABLE}',
        ) from error
    return _of_cell(cell, repr(text))


def _of_cell(cell: Cell, word: str) -> Activation:
    strange = [*cell.params, *(name for name in ("s",) if name in _read(cell))]
    if strange or VARIABLE not in _read(cell):
        raise ArgumentError(
            f"{word} is no activation",
            facts=(f"it is an expression of {VARIABLE}, and of nothing else",),
            hint=f'activation="tanh(2 * {VARIABLE})"',
        )
    (definition,) = cell.checked.declaration.definitions
    return Activation(_PLACE, definition.expr)


def _read(cell: Cell) -> set[str]:
    """Names of the arrays that the next state is computed from."""
    (equation,) = cell.equations
    return {str(symbol) for symbol in equation.rhs.free_symbols}


def _symbolic(given: Any) -> Any:
    """What a function makes of a symbol; None where it is one of numbers only."""
    (v,) = arrays(VARIABLE)
    try:
        expr = given(v)
    except Exception:  # functions of numbers fail in ways of their own
        return None
    return expr if isinstance(expr, sympy.Expr) else None


def _of_expression(given: Any, expr: Any) -> Activation:
    v, s_next = arrays(f"{VARIABLE} s_next")
    if expr == v:
        return Activation("identity")
    for name in functions.ACTIVATIONS:
        if expr == (sympy.sqrt(v) if name == "sqrt" else functions.RULES[name].head(v)):
            return Activation(name)
    try:
        cell = Cell("own", [Eq(s_next, expr)], inputs={VARIABLE: "H"}, states={"s": "H"},
                    params={}, outputs=("s_next",))  # fmt: skip
    except DeriveError as error:
        raise ArgumentError(
            f"{_word(given)} is no activation", facts=(f"it computes {expr}", error.what)
        ) from error
    return _of_cell(cell, _word(given))


# --- values ---------------------------------------------------------------------------------


def _by_values(given: Any) -> str | None:
    middle = _GRID.size // 2
    parts = [_called(given, part) for part in (_GRID, _GRID[:middle], _GRID[middle:])]
    found = parts[0]
    if found is None or found.shape != _GRID.shape:
        return None
    apart = np.concatenate([np.ravel(part) for part in parts[1:]])
    if not np.allclose(apart, found, rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
        return None  # it is no function of single numbers
    with np.errstate(all="ignore"):
        for name in _NAMES:
            if name == "stop_gradient":
                continue
            wanted = _named_values(name)
            single = np.asarray(wanted, np.float32).astype(float)  # inf where float32 has no more
            for values in (np.asarray(wanted, float), single):
                if np.allclose(found, values, rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
                    return name
    return None


def _named_values(name: str) -> Any:
    if name in ("identity", "sqrt"):
        return _GRID if name == "identity" else np.sqrt(_GRID)
    return NUMPY.functions[name](_GRID)


def _called(given: Any, grid: Array) -> Any:
    """given(grid) as float64; as a tensor where it is one of torch's; None where it fails."""
    torch = sys.modules.get("torch")
    kinds: list[Any] = [np.array] if torch is None else [np.array, torch.tensor]
    for kind in kinds:
        try:
            with np.errstate(all="ignore"):
                return np.asarray(given(kind(grid)), dtype=np.float64)
        except Exception:  # a library may raise any
            continue
    return None


def _word(given: Any) -> str:
    return str(getattr(given, "__name__", type(given).__name__))
