"""One step as arrays: named equations of three kinds, their interpreter and simplification.

program       Array, Map, Matmul, Sum, Program, Step, check
interpret     a Program's arrays, computed in the plainest way
formulas      equations as SymPy shows them
simplify      Program -> a Program that computes the same with less
"""

from derive.program.interpret import (
    interpret as interpret,
)
from derive.program.program import (
    Array as Array,
)
from derive.program.program import (
    Equation as Equation,
)
from derive.program.program import (
    Layout as Layout,
)
from derive.program.program import (
    Map as Map,
)
from derive.program.program import (
    Matmul as Matmul,
)
from derive.program.program import (
    Namer as Namer,
)
from derive.program.program import (
    Over as Over,
)
from derive.program.program import (
    Program as Program,
)
from derive.program.program import (
    Step as Step,
)
from derive.program.program import (
    Sum as Sum,
)
from derive.program.program import (
    check as check,
)
from derive.program.program import (
    is_aligned as is_aligned,
)
from derive.program.program import (
    names_in as names_in,
)
from derive.program.program import (
    placed as placed,
)
from derive.program.program import (
    prune as prune,
)
