"""What depends on parameters alone, computed once for all steps.

In: the Program of a step.  Out: the arrays that a caller keeps, the Program that computes them, and
a Program that reads them.
Not here: text (passes.py), parameters that an export knows (known.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from derive.program import Program, check, prune


def prepared_arrays(program: Program) -> tuple[str, ...]:
    """Arrays that all rows share, that are no parameters, and that a step reads or gives."""
    table = program.table()
    read = {n for e in program.equations if table[e.out].per_row for n in e.operands}
    read |= set(program.outputs)
    return tuple(e.out for e in program.equations if e.out in read and not table[e.out].per_row)


def preparing(program: Program, names: Iterable[str]) -> Program:
    """The Program of these arrays."""
    table = program.table()
    shared = tuple(e for e in program.equations if not table[e.out].per_row)
    inputs = tuple(name for name in program.inputs if not table[name].per_row)
    known = {*inputs, *(e.out for e in shared)}
    arrays = tuple(array for array in program.arrays if array.name in known)
    return check(prune(Program(arrays, inputs, shared, tuple(names))))


def prepared(program: Program, of: Program, names: Iterable[str]) -> Program:
    """`program` with these arrays given from outside, where it computes them as `of` does."""
    wanted, theirs = set(names), of.definitions()
    given = [e.out for e in program.equations if e.out in wanted and e == theirs[e.out]]
    equations = tuple(e for e in program.equations if e.out not in given)
    return check(prune(replace(program, inputs=(*program.inputs, *given), equations=equations)))
