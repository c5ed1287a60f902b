"""Schedule and a machine's rates -> what binds each part of a cell: arithmetic or reading.

In: the Cost of a cell and its Schedule; for numbers also a shape T, B, I, H and a `Machine`.
Out: `Traffic`, formulas in the widths; `Roof`, numbers.
Not here: counting operations (cost.py), measuring (derive/machine).

A *round* is one step of the loop for the sequential part, and the whole call for what is done
for all steps at once. In a round every array that a stage reads or writes in memory is moved
once; what lives in registers alone is not. Its bytes are the working set of the round: the cache
that holds them says how fast they come. Then

    intensity   = operations of products / bytes moved, two operations for a multiply-add
    ridge point = peak / bandwidth of the cache that holds the working set
    least time  = max(multiply-adds / peak + activations / their rate, bytes / bandwidth)

and bandwidth binds where it is the larger of the two; otherwise that of products and activations
which takes longer. The rates are those of the benchmark's bound (bench/bound.py), which
counts of all bytes the matrices alone, since it has to be a floor. Both are of training: the
forward pass stores what the backward pass reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import sympy

from derive import pipeline
from derive.errors import ArgumentError
from derive.inspect.facts.cost import PARTS_IN_TIME, Cost, Part, Work, at, cost, in_widths, widths
from derive.schedule import Schedule
from derive.schedule.plan import Plan, Stage
from derive.symbolic import functions
from derive.symbolic.functions import Expr

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.machine.probe import Machine

#: T steps, B rows, input width I, every other width H: as `derive bench --shapes` has it.
Shape = tuple[int, int, int, int]
BYTES = {"float32": 4, "float64": 8}
#: What a round is called.
ROUNDS = {Part.SEQUENTIAL: "each step", Part.HOISTED: "all steps at once"}
MULTIPLY_ADDS, ACTIVATIONS, BANDWIDTH = "multiply-adds", "activations", "bandwidth"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Numbers that a round moves. shared: parameters, and gradients of parameters.
    rows: of arrays that each row has, for one step and row."""

    shared: Expr
    rows: Expr


@dataclass(frozen=True, slots=True)
class Roof:
    """One part of a pass, at one shape on one machine. Numbers are of one round; there are
    `rounds` of them in a call.

    bytes: moved, and the working set.  level: the cache that holds them.  bandwidth: in bytes a
    second.  intensity, ridge: in operations a byte.  seconds: {what: the least that it takes}.
    """

    name: str
    part: Part
    rounds: int
    multiply_adds: int
    activations: int
    bytes: int
    level: str
    bandwidth: float
    intensity: float
    ridge: float
    seconds: Mapping[str, float]

    @property
    def least(self) -> float:
        """Seconds of one round: arithmetic and reading go on at the same time."""
        return max(self._arithmetic, self.seconds[BANDWIDTH])

    @property
    def binds(self) -> str:
        if self.seconds[BANDWIDTH] >= self._arithmetic:
            return BANDWIDTH
        return max((MULTIPLY_ADDS, ACTIVATIONS), key=lambda what: self.seconds[what])

    @property
    def _arithmetic(self) -> float:
        return self.seconds[MULTIPLY_ADDS] + self.seconds[ACTIVATIONS]


def traffic(plan: Plan) -> dict[Part, Traffic]:
    """What the parts of a pass that grow with the number of steps move in a round."""
    table = plan.program.table()
    found = {}
    for part, phases in PARTS_IN_TIME.items():
        names = dict.fromkeys(
            name for phase in phases for stage in plan.stages(phase) for name in _moved(stage)
        )
        numbers = {
            per_row: sympy.Add(
                *(
                    sympy.Mul(*map(functions.size, table[name].shape))
                    for name in names
                    if table[name].per_row is per_row
                )
            )
            for per_row in (False, True)
        }
        found[part] = Traffic(sympy.expand(numbers[False]), sympy.expand(numbers[True]))
    return found


def _moved(stage: Stage) -> Iterator[str]:
    yield from stage.loads
    yield from stage.stores
    for group in stage.groups:
        for accumulator in group.accumulators:
            yield from accumulator.operands
    for total in stage.sums:
        yield from total.operands


def intensity(work: Work, moved: Traffic, rows: Expr, size: int = 4) -> Expr:
    """Operations of products a byte, as a formula in the widths and `rows`, the rows of a round:
    B for a step, T * B for all steps at once."""
    flops = 2 * rows * in_widths(work.multiply_adds)
    count = size * (in_widths(moved.shared) + rows * in_widths(moved.rows))
    return cast(Expr, sympy.factor_terms(sympy.cancel(flops / count)))


def rows_of(part: Part, widths: tuple[str, ...]) -> Expr:
    """The rows of a round, in letters that are no width of the cell."""
    T, B = (sympy.Symbol(n if n not in widths else w, positive=True)
            for n, w in (("T", "steps"), ("B", "rows")))  # fmt: skip
    return B if part is Part.SEQUENTIAL else T * B


def sizes_at(widths: tuple[str, ...], shape: Shape, given: Mapping[str, int]) -> dict[str, int]:
    """Every width of a cell: I, those that are given, and H for all others."""
    return {dim: shape[2] if dim == "I" else given.get(dim, shape[3]) for dim in widths}


def roofline(
    cell: Cell,
    shape: Shape,
    *,
    machine: Machine | None = None,
    dtype: str = "float32",
    sizes: Mapping[str, int] | None = None,
) -> tuple[Roof, ...]:
    """What binds each part of each pass of a cell.

    shape: (T, B, I, H) as for the benchmark.  sizes: widths other than I that are not H.
    machine: rates; measured for one thread, or remembered, where none is given: BuildError
    where no compiler works. ArgumentError for a wrong dtype or shape.
    """
    if dtype not in BYTES:
        raise ArgumentError(f"unknown dtype {dtype!r}", facts=(f"known: {', '.join(BYTES)}",))
    if len(shape) != 4 or min(shape) < 1:
        raise ArgumentError(f"a shape is four positive numbers T, B, I, H, not {shape}")
    if machine is None:
        from derive.machine.known import machine as known

        machine = known()
    plans = pipeline.schedule(cell)
    numbers = sizes_at(widths(cell), shape, sizes or {})
    return roofs(cost(cell, plans), plans, shape, numbers, machine, dtype)


def roofs(
    found: Cost,
    plans: Schedule,
    shape: Shape,
    sizes: Mapping[str, int],
    machine: Machine,
    dtype: str = "float32",
) -> tuple[Roof, ...]:
    """One for each part of a pass that moves anything."""
    T, B = shape[:2]
    result = []
    for name, plan, works in (
        ("forward", plans.forward, found.forward),
        ("backward", plans.backward, found.backward),
    ):
        for part, moved in traffic(plan).items():
            rounds, rows = (T, B) if part is Part.SEQUENTIAL else (1, T * B)
            count = at(moved.shared, sizes) + rows * at(moved.rows, sizes)
            work = works[part]
            products = rows * at(work.multiply_adds, sizes)
            calls = rows * at(work.transcendental, sizes)
            if count:
                numbers = (rounds, products, calls, BYTES[dtype] * count)
                result.append(_roof(name, part, numbers, machine, dtype))
    return tuple(result)


def _roof(
    name: str, part: Part, numbers: tuple[int, int, int, int], machine: Machine, dtype: str
) -> Roof:
    rounds, products, calls, moved = numbers
    peak, bandwidth = machine.peak[dtype], machine.reading(moved)
    return Roof(
        name=name,
        part=part,
        rounds=rounds,
        multiply_adds=products,
        activations=calls,
        bytes=moved,
        level=machine.level(moved),
        bandwidth=bandwidth,
        intensity=2 * products / moved,
        ridge=peak / bandwidth,
        seconds={
            MULTIPLY_ADDS: 2 * products / peak,
            ACTIVATIONS: calls / machine.activations[dtype],
            BANDWIDTH: moved / bandwidth,
        },
    )
