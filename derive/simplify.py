"""Named passes Program -> Program, each of which leaves every output as it was.

In and out: a checked Program.
Not here: choices that trade one cost for another; those are the schedule's.

| pass     | what it removes                                                       |
| -------- | --------------------------------------------------------------------- |
| zeros    | arrays that are identically 0, and the products and sums of them      |
| copies   | arrays that are another array under a second name                     |
| repeats  | equations whose right-hand side was computed before                   |
| prune    | equations that no output needs                                        |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from derive import scalar
from derive.program import Equation, Map, Program, Sum, check, prune


def zeros(program: Program) -> Program:
    """Arrays that are 0 everywhere, whatever the inputs. Outputs among them stay, as Map 0."""
    zero: set[str] = set()
    kept: list[Equation] = []
    for equation in program.equations:
        if isinstance(equation, Map):
            gone = {scalar.symbol(n): scalar.ZERO for n in equation.operands if n in zero}
            if gone:
                equation = Map(equation.out, _fold(equation.expr.xreplace(gone)))
            is_zero = equation.expr == 0
        else:
            is_zero = any(name in zero for name in equation.operands)
            if is_zero:
                equation = Map(equation.out, scalar.ZERO)
        if is_zero:
            zero.add(equation.out)
        kept.append(equation)
    return replace(program, equations=tuple(kept))


def _fold(expr: scalar.Expr) -> scalar.Expr:
    """`gated(0, p)`, `gated(d, 0)` and `where(c, 0, 0)` are 0."""

    def collapse(node: scalar.Expr) -> scalar.Expr:
        if not node.args:
            return node
        args = [collapse(arg) for arg in node.args]
        if isinstance(node, scalar.gated) and 0 in args:
            return scalar.ZERO
        if isinstance(node, scalar.where) and args[1] == args[2] == 0:
            return scalar.ZERO
        return node.func(*args) if args != list(node.args) else node

    return collapse(expr)


def copies(program: Program) -> Program:
    """Arrays that only repeat another of the same shape. Outputs keep their names."""
    table = program.table()
    outputs = set(program.outputs)
    original: dict[str, str] = {}
    kept: list[Equation] = []
    for equation in program.equations:
        equation = rename_operands(equation, original)
        if (
            isinstance(equation, Map)
            and equation.expr.is_Symbol
            and not scalar.is_size(equation.expr)
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
    outputs = set(program.outputs)
    first: dict[object, str] = {}
    original: dict[str, str] = {}
    kept: list[Equation] = []
    for equation in program.equations:
        equation = rename_operands(equation, original)
        key = (replace(equation, out=""), table[equation.out].shape, table[equation.out].per_row)
        if key in first and equation.out not in outputs:
            original[equation.out] = first[key]
            continue
        first.setdefault(key, equation.out)
        kept.append(equation)
    return _without_unused_arrays(replace(program, equations=tuple(kept)))


def rename_operands(equation: Equation, new: Mapping[str, str]) -> Equation:
    """The equation with operands called by their new names."""
    if not any(name in new for name in equation.operands):
        return equation
    if isinstance(equation, Map):
        swap = {scalar.symbol(n): scalar.symbol(new[n]) for n in equation.operands if n in new}
        return Map(equation.out, equation.expr.xreplace(swap))
    if isinstance(equation, Sum):
        return Sum(equation.out, new[equation.source])
    left, right = (new.get(name, name) for name in equation.operands)
    return replace(equation, left=left, right=right)


def _without_unused_arrays(program: Program) -> Program:
    names = {*program.inputs, *(equation.out for equation in program.equations)}
    arrays = tuple(array for array in program.arrays if array.name in names)
    return replace(program, arrays=arrays)


PASSES: Mapping[str, Callable[[Program], Program]] = {
    "zeros": zeros,
    "copies": copies,
    "repeats": repeats,
    "prune": prune,
}


def simplify(program: Program) -> Program:
    """All passes in the order of the table, with every rule checked after each."""
    for run in PASSES.values():
        program = check(run(program))
    return program
