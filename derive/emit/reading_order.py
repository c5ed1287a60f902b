"""The order in which the names of a Program stand in an expression.

In: a Program.  Out: {name: rank}.
Not here: printing (symbolic/printer.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.program import Program


def rank(program: Program, first: Sequence[str] = ()) -> dict[str, int]:
    """Reading order of the names of a Program: `first`, then definitions, then inputs."""
    names = [*first, *(equation.out for equation in program.equations), *reversed(program.inputs)]
    return {name: k for k, name in reversed(list(enumerate(names)))}
