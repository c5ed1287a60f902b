"""Named passes Program -> Program, each of which leaves every output as it was.

In and out: a checked Program.
Not here: choices that trade one cost for another; those are the schedule's.

| pass      | what it removes                                                       |
| --------- | --------------------------------------------------------------------- |
| constants | arrays that are one number everywhere, and products and sums of zeros |
| copies    | arrays that are another array under a second name                     |
| repeats   | equations whose right-hand side was computed before                   |
| prune     | equations that no output needs                                        |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import mpmath
import sympy

from derive.program.program import Equation, Map, Program, Sum, check, placed, prune
from derive.symbolic import functions
from derive.symbolic.evaluate import MPMATH

#: Digits of a function of numbers: more than a double holds.
_DIGITS = 40


def constants(program: Program) -> Program:
    """Arrays that are one number everywhere, for any inputs; 0 above all.

    Outputs among them stay, as a Map of that number. What is no finite real number, `1 / z` or
    `log(z)` where z is 0 everywhere, stays an equation of arrays: it is inf or NaN at run time.
    """
    known: dict[str, functions.Expr] = {}
    kept: list[Equation] = []
    for equation in program.equations:
        if isinstance(equation, Map):
            swap = {functions.symbol(n): known[n] for n in equation.operands if n in known}
            if swap:
                with suppress(_NoNumber):
                    folded = _fold(equation.expr.xreplace(swap))
                    equation = placed(equation.out, folded, equation.places)
            if functions.is_constant(equation.expr):
                known[equation.out] = equation.expr
        elif any(known.get(name) == 0 for name in equation.operands):
            equation = Map(equation.out, functions.ZERO)
            known[equation.out] = functions.ZERO
        kept.append(equation)
    return replace(program, equations=tuple(kept))


#: What SymPy makes of a division by zero, or of a logarithm of a negative number.
_NO_NUMBERS = (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I)


class _NoNumber(Exception):
    """A part of an expression is no finite real number."""


def _fold(expr: functions.Expr) -> functions.Expr:
    """Functions of numbers as numbers; `gated(0, p)`, `gated(d, 0)`, `where(c, 0, 0)` as 0;
    a branch that is known as that branch alone. _NoNumber where there is none."""
    if expr.has(*_NO_NUMBERS):
        raise _NoNumber
    if not expr.args:
        return expr
    args = [_fold(arg) for arg in expr.args]
    if isinstance(expr, functions.gated) and 0 in args:
        return functions.ZERO
    if isinstance(expr, functions.where):
        if args[0].is_number:
            return args[2] if args[0] == 0 else args[1]
        if args[1] == args[2]:
            return args[1]
    folded = expr.func(*args) if args != list(expr.args) else expr
    if folded.has(*_NO_NUMBERS):
        raise _NoNumber
    if (
        folded.is_number
        and not functions.is_constant(folded)
        and all(map(functions.is_constant, args))
    ):
        with mpmath.workdps(_DIGITS):
            value = MPMATH.evaluate(folded, {}, {})
        if mpmath.isfinite(value):
            return functions.number(mpmath.nstr(value, _DIGITS))
    return folded


def copies(program: Program) -> Program:
    """Arrays that only repeat another of the same shape. Outputs keep their names."""
    table = program.table()
    lies = _placed_operands(program)
    outputs = {*program.outputs, *lies}
    original: dict[str, str] = {}
    kept: list[Equation] = []
    for equation in program.equations:
        equation = rename_operands(equation, original)
        if (
            not lies.intersection(equation.operands)
            and isinstance(equation, Map)
            and not equation.places
            and equation.expr.is_Symbol
            and not functions.is_size(equation.expr)
            and equation.out not in outputs
        ):
            source = table[equation.expr.name]
            if replace(source, name=equation.out) == table[equation.out]:
                original[equation.out] = source.name
                continue
        kept.append(equation)
    return _without_unused_arrays(replace(program, equations=tuple(kept)))


def repeats(program: Program) -> Program:
    """Equations with the same right-hand side and shape as an earlier one."""
    table = program.table()
    lies = _placed_operands(program)
    outputs = {*program.outputs, *lies}
    first: dict[object, str] = {}
    original: dict[str, str] = {}
    kept: list[Equation] = []
    for equation in program.equations:
        equation = rename_operands(equation, original)
        key = (replace(equation, out=""), table[equation.out].shape, table[equation.out].per_row)
        if key in first and equation.out not in outputs and first[key] not in lies:
            original[equation.out] = first[key]
            continue
        first.setdefault(key, equation.out)
        kept.append(equation)
    return _without_unused_arrays(replace(program, equations=tuple(kept)))


def _placed_operands(program: Program) -> set[str]:
    """Operands that lie on some axes of a result only. They keep their names, and no other array
    gets one of theirs: an operand lies in one place, so W and its transpose are two arrays."""
    maps = (equation for equation in program.equations if isinstance(equation, Map))
    return {name for equation in maps for name, _ in equation.places}


def rename_operands(equation: Equation, new: Mapping[str, str]) -> Equation:
    """The equation with operands called by their new names."""
    if not any(name in new for name in equation.operands):
        return equation
    if isinstance(equation, Map):
        swap = {
            functions.symbol(n): functions.symbol(new[n]) for n in equation.operands if n in new
        }
        places = [(new.get(name, name), place) for name, place in equation.places]
        return placed(equation.out, equation.expr.xreplace(swap), places)
    if isinstance(equation, Sum):
        return replace(equation, source=new[equation.source])
    left, right = (new.get(name, name) for name in equation.operands)
    return replace(equation, left=left, right=right)


def _without_unused_arrays(program: Program) -> Program:
    names = {*program.inputs, *(equation.out for equation in program.equations)}
    arrays = tuple(array for array in program.arrays if array.name in names)
    return replace(program, arrays=arrays)


PASSES: Mapping[str, Callable[[Program], Program]] = {
    "constants": constants,
    "copies": copies,
    "repeats": repeats,
    "prune": prune,
}


def simplify(program: Program) -> Program:
    """All passes in the order of the table, with every rule checked after each."""
    for run in PASSES.values():
        program = check(run(program))
    return program
