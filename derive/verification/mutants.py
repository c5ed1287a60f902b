"""The checker works: it catches wrong gradients of every kind that can be seeded.

In: a Gradient and the truths it was checked against.  Out: for every mutant of its reverse
Program whether the same check noticed.
Not here: mutants of kernels; those are in the tests.

| mutation  | what is done to one equation of the reverse Program                   |
| --------- | --------------------------------------------------------------------- |
| negate    | its result has the other sign                                         |
| percent   | its result is 1 % too large                                           |
| drop      | it gives 0; or one of the terms it adds is left out                   |
| swap      | two of its operands change places                                     |
| array     | one operand is another array of the same shape                        |
| layout    | a square matrix is transposed                                         |

A mutant that no point catches is either equivalent or a hole in the checker. It counts as
equivalent only if it gives the same as the original (to 1e-13) on random arrays of six sizes
from 1e-3 to 1e3 that have nothing to do with the points of the check, wherever the cell itself
is finite.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import sympy

from derive.derivative import Gradient
from derive.errors import ProgramError
from derive.program import (
    Array,
    Equation,
    Layout,
    Map,
    Matmul,
    Namer,
    Over,
    Program,
    Sum,
    check,
    interpret,
    placed,
)
from derive.symbolic import functions
from derive.verification.gradient import check_gradient
from derive.verification.points import Random
from derive.verification.report import SAFETY, Row, measured
from derive.verification.rounding import BOUNDED
from derive.verification.through_time import backward_of
from derive.verification.truth import ROUNDOFF, Truth

#: Other arrays tried in the place of each operand.
OTHERS = 2
SIZES = (1e-3, 0.03, 0.3, 1.0, 30.0, 1e3)


class Fate(enum.Enum):
    KILLED = "killed"
    EQUIVALENT = "equivalent"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`equations` take the place of equation number `at` of the reverse Program."""

    label: str
    at: int
    equations: tuple[Equation, ...]
    arrays: tuple[Array, ...] = ()


def mutants_of(gradient: Gradient) -> Iterator[Mutant]:
    """Every mutant of every equation that the reverse Program adds to its step."""
    program = gradient.program
    table = program.table()
    forward = {array.name for array in gradient.step.program.arrays}
    namer = Namer(table)
    live = _live(program)
    known = list(program.inputs)
    for at, equation in enumerate(program.equations):
        if equation.out not in forward and equation.out in live:
            seen: set[Any] = {equation}
            for mutant in _of_equation(at, equation, table, known, namer):
                if mutant.equations[-1] not in seen:
                    seen.add(mutant.equations[-1])
                    yield mutant
        known.append(equation.out)


_OTHER_WAY = {Over.CUMSUM: Over.CUMSUM_BACK, Over.CUMSUM_BACK: Over.CUMSUM}


def _live(program: Program) -> set[str]:
    """Arrays that some output depends on: a mutant of any other changes nothing."""
    live = set(program.outputs)
    for equation in reversed(program.equations):
        if equation.out in live:
            live.update(equation.operands)
    return live


def _of_equation(
    at: int, equation: Equation, table: dict[str, Array], known: Sequence[str], namer: Namer
) -> Iterator[Mutant]:
    out = equation.out

    def one(label: str, new: Equation) -> Mutant:
        return Mutant(f"{label} {out}", at, (new,))

    if isinstance(equation, Map):
        yield one("negate", replace(equation, expr=-equation.expr))
        yield one("percent", replace(equation, expr=equation.expr * sympy.Rational(101, 100)))
        yield one("drop", Map(out, functions.ZERO))
        for k, expr in enumerate(_without_one_term(equation.expr)):
            yield one(f"drop term {k} of", placed(out, expr, equation.places))
        names = equation.operands
        for a, b in ((a, b) for k, a in enumerate(names) for b in names[k + 1 :]):
            x, y = functions.symbol(a), functions.symbol(b)
            swapped = equation.expr.xreplace({x: y, y: x})
            yield one(f"swap {a}, {b} in", placed(out, swapped, equation.places))
    else:
        # The result under another name, then a Map: negate and percent for any equation.
        inner = namer(f"{out}_right")
        arrays = (replace(table[out], name=inner),)
        for label, factor in (("negate", -1), ("percent", sympy.Rational(101, 100))):
            wrong = Map(out, factor * functions.symbol(inner))
            yield Mutant(f"{label} {out}", at, (replace(equation, out=inner), wrong), arrays)
        yield one("drop", Map(out, functions.ZERO))
    if isinstance(equation, Matmul):
        yield one("swap operands of", replace(equation, left=equation.right, right=equation.left))
        flipped = {
            Layout.NORMAL: Layout.TRANSPOSED, Layout.TRANSPOSED: Layout.NORMAL
        }.get(equation.layout)  # fmt: skip
        if flipped:
            yield one("layout of", replace(equation, layout=flipped))
    if isinstance(equation, Sum) and equation.over in _OTHER_WAY:
        yield one("direction of", replace(equation, over=_OTHER_WAY[equation.over]))
    for name in equation.operands:
        model = table[name]
        others = [o for o in known if o != name and replace(table[o], name=name) == model]
        for other in others[-OTHERS:]:
            yield one(f"array {other} for {name} in", _renamed(equation, name, other))


def _without_one_term(expr: functions.Expr) -> Iterator[functions.Expr]:
    """Each sum inside `expr` with each of its terms left out."""
    for node in sympy.preorder_traversal(expr):
        if node.is_Add:
            for k in range(len(node.args)):
                rest = sympy.Add(*node.args[:k], *node.args[k + 1 :])
                yield expr.xreplace({node: rest})


def _renamed(equation: Equation, old: str, new: str) -> Equation:
    if isinstance(equation, Map):
        expr = equation.expr.xreplace({functions.symbol(old): functions.symbol(new)})
        places = [(new if name == old else name, place) for name, place in equation.places]
        return placed(equation.out, expr, places)
    if isinstance(equation, Sum):
        return replace(equation, source=new)
    if equation.left == old:
        return replace(equation, left=new)
    return replace(equation, right=new)


def build(gradient: Gradient, mutant: Mutant) -> Gradient | None:
    """The Gradient with the mutation; None where its arrays do not fit each other."""
    program = gradient.program
    equations = (
        *program.equations[: mutant.at], *mutant.equations, *program.equations[mutant.at + 1 :]
    )  # fmt: skip
    try:
        wrong = check(
            replace(program, equations=equations, arrays=(*program.arrays, *mutant.arrays))
        )
    except ProgramError:
        return None
    except ValueError:  # an operand of the wrong rank
        return None
    return replace(gradient, derivative=replace(gradient.derivative, program=wrong))


@dataclass(frozen=True, slots=True)
class Outcome:
    mutant: Mutant
    fate: Fate


#: Whether a check notices that a Gradient is wrong, at a point.
Catches = Callable[[Gradient, Truth], bool]


def try_mutants(
    gradient: Gradient,
    truths: Sequence[Truth],
    seed: int,
    *,
    mutants: Sequence[Mutant],
    limit: int | None = None,
    caught: Catches | None = None,
) -> tuple[Outcome, ...]:
    """The fate of every mutant, or of `limit` of them drawn by the seed.

    caught: whether a check notices a wrong Gradient at a point; that of the gradient by default.
    """
    caught = caught or _caught
    if limit is not None and limit < len(mutants):
        mutants = Random(seed, 80).order(mutants)
    outcomes: list[Outcome] = []
    for mutant in mutants:
        if len(outcomes) == limit:
            break
        wrong = build(gradient, mutant)
        if wrong is None:
            continue
        if any(caught(wrong, truth) for truth in truths):
            fate = Fate.KILLED
        elif is_equivalent(gradient, wrong, truths[0], seed):
            fate = Fate.EQUIVALENT
        else:
            fate = Fate.SURVIVED
        outcomes.append(Outcome(mutant, fate))
    return tuple(outcomes)


def try_again(
    gradient: Gradient,
    outcomes: Sequence[Outcome],
    truth: Truth,
    caught: Catches | None = None,
) -> tuple[Outcome, ...]:
    """The outcomes, survivors tried at one more point."""
    noticed = caught or _caught

    def retried(outcome: Outcome) -> Outcome:
        if outcome.fate is not Fate.SURVIVED:
            return outcome
        wrong = build(gradient, outcome.mutant)
        assert wrong is not None
        return replace(outcome, fate=Fate.KILLED) if noticed(wrong, truth) else outcome

    return tuple(retried(outcome) for outcome in outcomes)


def _caught(wrong: Gradient, truth: Truth) -> bool:
    return not all(row.ok for row in check_gradient(truth, backward_of(wrong)))


def is_equivalent(gradient: Gradient, wrong: Gradient, truth: Truth, seed: int) -> bool:
    """Whether both give the same gradients of one step, on numbers of very different sizes.

    The same is what rounding cannot tell apart: where terms cancel, as in the gradient of a mean
    that a softmax takes no notice of, nothing but rounding is left of either. Only points at which
    the step itself is finite count, and no number so large that its square could overflow, which
    would be no rounding; at least six of them must.
    """
    program, table, sizes = gradient.program, gradient.program.table(), truth.point.sizes
    finite = 0
    for k, (size, sign, again) in enumerate(product(SIZES, (0, 1, 2), (0, 1))):
        random = Random(seed, 81, k, again)
        given = {}
        for name in program.inputs:
            array = table[name]
            shape = tuple(sizes[d] if isinstance(d, str) else d for d in array.shape)
            given[name] = random.uniform((1, *shape) if array.per_row else shape, size, sign)
        right = interpret(program, given, rows=1, sizes=sizes)
        if not all(np.isfinite(right[name]).all() for name in gradient.step.program.outputs):
            continue
        if not all(_in_range(array) for array in right.values()):
            continue
        finite += 1
        other = interpret(wrong.program, given, rows=1, sizes=sizes)
        for name in program.outputs:
            a, b = np.asarray(right[name]), np.asarray(other[name])
            known = np.isfinite(a)
            scale = float(np.max(abs(a[known]), initial=0.0))
            if np.any(known & ~(abs(a - b) <= 1e-13 * scale)) and not _rounds_alike(
                gradient, wrong, given, sizes, name
            ):
                return False
    return finite >= len(SIZES)


def _in_range(array: Any) -> bool:
    """Whether squares of all numbers that are finite, and of their reciprocals, are as well."""
    size = abs(np.asarray(array))
    size = size[np.isfinite(size) & (size > 0)]
    return bool(np.all((size < 1e100) & (size > 1e-100)))


def _rounds_alike(
    gradient: Gradient, wrong: Gradient, given: Mapping[str, Any], sizes: Mapping[str, int],
    name: str,
) -> bool:  # fmt: skip
    """Whether an output of both is the same within the running error bounds of both."""
    a, b = (
        interpret(each.program, given, rows=1, sizes=sizes, algebra=BOUNDED)[name]
        for each in (gradient, wrong)
    )
    allowed = SAFETY * ROUNDOFF["float64"] * (a.error + b.error)
    known = np.isfinite(a.value) & np.isfinite(allowed)
    return bool(np.all(~known | (abs(a.value - b.value) <= allowed)))


def check_mutants(
    outcomes: Sequence[Outcome], sample_of: int | None = None, check: str = "mutants"
) -> list[Row]:
    """One row. sample_of: how many mutants there are, where only some were tried."""
    count = {fate: sum(o.fate is fate for o in outcomes) for fate in Fate}
    survived = [o.mutant.label for o in outcomes if o.fate is Fate.SURVIVED]
    where = f"{count[Fate.KILLED]} killed, {count[Fate.EQUIVALENT]} equivalent"
    where += f", a sample of {sample_of}" if sample_of else ""
    bound = "0: every mutant that changes a gradient is caught"
    if survived:
        bound += f"; survived: {', '.join(survived[:5])}"
    return [measured(check, where, len(survived), 0, bound)]
