"""The cost card is what the interpreter does: counted again, one number at a time.

The interpreter runs each equation on numbers that have no value and write down what is done to
them. What a schedule adds up in one accumulator costs no addition of its own there; the
interpreter adds it up in a line of its own, and those additions are taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from entries import OF_VECTORS, sampled
from strange_cells import CELLS as STRANGE

import derive
from derive import pipeline
from derive.inspect.facts.cost import Part, Work, at, cost, depth
from derive.program import Map, Matmul, Program, Sum, interpret
from derive.schedule.plan import Phase, Plan
from derive.symbolic import functions
from derive.symbolic.evaluate import Algebra

TRANSCENDENTAL = set(
    "sigmoid tanh exp log log1p expm1 sin cos erf softplus logsigmoid elu selu gelu silu "
    "gaussian gelu_slope silu_slope".split()
)
PARTS = {
    Phase.ONCE: Part.CALL,
    Phase.BEFORE: Part.HOISTED,
    Phase.STEP: Part.SEQUENTIAL,
    Phase.AFTER: Part.HOISTED,
    Phase.LAST: Part.CALL,
}
#: Numbers that no cell has as a constant: widths are known when a kernel is called.
SIZES, OTHER = {"I": 13, "H": 11, "P": 7}, 17


def cell_called(name: str) -> derive.Cell:
    family, _, strange = name.partition(" ")
    return derive.Cell.parse(STRANGE[strange]) if strange else derive.cells.from_spec(family)


EVERY = (
    *sampled(OF_VECTORS),
    *(f"strange {name}" for name in STRANGE),
    "lstm:layer_norm=supercell",
)


@dataclass
class Ledger:
    multiply_adds: int = 0
    elementwise: int = 0
    transcendental: int = 0

    def take(self) -> tuple[int, int, int]:
        found = (self.multiply_adds, self.elementwise, self.transcendental)
        self.multiply_adds = self.elementwise = self.transcendental = 0
        return found


@dataclass(frozen=True)
class Number:
    """constant: known when code is written.  sign: it is -1, and multiplying by it is a sign.
    reciprocal: multiplying by it is the division that has been counted.
    scaled: a number is among its factors, with which another one makes one number.
    products: how many lie behind it since the start of the step, None for what never changes."""

    ledger: Ledger = field(repr=False)
    constant: bool = False
    sign: bool = False
    reciprocal: bool = False
    scaled: bool = False
    products: int | None = None

    def _with(self, *others: Number, reciprocal: bool = False, scaled: bool = False) -> Number:
        every = (self, *others)
        found = [n.products for n in every if n.products is not None]
        constant = all(n.constant for n in every)
        products = max(found, default=None)
        return Number(self.ledger, constant, False, reciprocal, scaled, products)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Number):
            return NotImplemented
        self.ledger.elementwise += not (self.constant and other.constant)
        return self._with(other)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Number):
            return NotImplemented
        both = self.reciprocal and other.reciprocal
        free = self.sign or other.sign or self.reciprocal or other.reciprocal
        one_number = (self.scaled and other.constant) or (other.scaled and self.constant)
        free = free or one_number or (self.constant and other.constant)
        self.ledger.elementwise += not free
        kept = both or (self.sign and other.reciprocal) or (other.sign and self.reciprocal)
        number = any(n.constant and not n.sign for n in (self, other))
        return self._with(other, reciprocal=kept, scaled=number or self.scaled or other.scaled)

    def power(self, exponent: Any) -> Number:
        if self.constant:
            return self
        whole = abs(exponent)
        if whole.is_Integer:
            self.ledger.elementwise += int(whole) - 1
        elif whole == functions.HALF:
            self.ledger.elementwise += 1
        else:
            self.ledger.transcendental += 1
        self.ledger.elementwise += bool(exponent < 0)
        return self._with(reciprocal=bool(exponent < 0))


def counting(ledger: Ledger) -> Algebra:
    def function(name: str) -> Any:
        def one(*args: Number) -> Number:
            if not all(n.constant for n in args):
                if name in TRANSCENDENTAL:
                    ledger.transcendental += 1
                else:
                    ledger.elementwise += 1
            return args[0]._with(*args[1:])

        return lambda *args: np.frompyfunc(one, len(args), 1)(*args)

    def total(value: Any, axis: int) -> Any:
        ledger.elementwise += value.size
        most = value.flat[0]._with(*value.flat) if value.size else Number(ledger)
        shape = np.sum(np.ones(value.shape), axis=axis, keepdims=True).shape
        return np.full(shape, most, dtype=object)

    def matmul(left: Any, right: Any) -> Any:
        shape = np.dot(np.ones(left.shape), np.ones(right.shape)).shape
        ledger.multiply_adds += int(np.prod(shape)) * left.shape[-1]
        found = [n.products for n in (*left.flat, *right.flat) if n.products is not None]
        products = max(found) + 1 if found else None
        return np.full(shape, Number(ledger, products=products), dtype=object)

    return Algebra(
        name="counting",
        array=lambda value: value,
        number=lambda expr: Number(
            ledger, constant=expr not in (*SIZES.values(), OTHER), sign=expr == -1
        ),
        power=lambda base, exponent: np.frompyfunc(lambda n: n.power(exponent), 1, 1)(base),
        functions={name: function(name) for name in functions.RULES},
        sum=total,
        matmul=matmul,
    )


def sizes_of(program: Program) -> dict[str, int]:
    return {dim: SIZES.get(dim, OTHER) for dim in program.dims()}


def shape_of(name: str, program: Program, sizes: dict[str, int]) -> tuple[int, ...]:
    array = program.table()[name]
    shape = tuple(sizes[d] if isinstance(d, str) else d for d in array.shape)
    return (1, *shape) if array.per_row else shape


def counted(program: Program, plan: Plan) -> tuple[dict[Part, tuple[int, ...]], int]:
    """What the interpreter does, by the part in which the schedule does it; and the largest
    number of products behind what the loop hands on."""
    ledger = Ledger()
    algebra = counting(ledger)
    sizes = sizes_of(program)
    carried = {name for name, _ in plan.carried}
    values: dict[str, Any] = {
        name: np.full(
            shape_of(name, program, sizes),
            Number(ledger, products=0 if name in carried else None),
            dtype=object,
        )
        for name in program.inputs
    }
    table, phase_of = program.table(), dict(plan.phase_of)
    for phase, stages in plan.phases:
        for stage in stages:
            together = (a for g in stage.groups for a in g.accumulators)
            for accumulator in (*together, *stage.sums):
                phase_of.update((t.out, phase) for t in accumulator.terms if t.out not in phase_of)
    result = {part: np.zeros(3, int) for part in Part}
    for equation in program.equations:
        names = dict.fromkeys((*equation.operands, equation.out))
        alone = Program(
            tuple(table[name] for name in names),
            tuple(dict.fromkeys(equation.operands)),
            (equation,),
            (equation.out,),
        )
        given = {name: values[name] for name in equation.operands}
        if isinstance(equation, Map):  # each unit does all of the line
            shape = shape_of(equation.out, program, sizes)
            given = {name: np.broadcast_to(value, shape) for name, value in given.items()}
        found = interpret(alone, given, rows=1, sizes=sizes, algebra=algebra)
        stored = np.frompyfunc(lambda n: Number(ledger, products=n.products), 1, 1)
        values[equation.out] = stored(found[equation.out])
        if isinstance(equation, Sum):
            # Over rows and width the interpreter sums twice; the second time once a call.
            ledger.elementwise = values[equation.source].size
        if isinstance(equation, Matmul) and not ledger.multiply_adds:
            # The outer product of what all rows share: the interpreter writes it with *.
            ledger.multiply_adds, ledger.elementwise = ledger.elementwise, 0
        result[PARTS[phase_of[equation.out]]] += ledger.take()
    longest = [n.products for _, name in plan.carried for n in np.ravel(values[name])]
    reached = [n for n in longest if n is not None]
    return {part: tuple(map(int, n)) for part, n in result.items()}, max(reached, default=0)


def added_up_in_place(program: Program, plan: Plan, part: Part, sizes: dict[str, int]) -> int:
    """Additions that cost nothing: of terms that share an accumulator. The interpreter does them
    where their sum is used, which may be later than the accumulator is filled."""
    table, phase_of = plan.program.table(), dict(plan.phase_of)
    reader = {name: e.out for e in program.equations for name in e.operands if isinstance(e, Map)}
    count = 0
    for _, stages in plan.phases:
        for stage in stages:
            together = (a for g in stage.groups for a in g.accumulators)
            for accumulator in (*together, *stage.sums):
                more = len(accumulator.terms) - 1
                if more and PARTS[phase_of[reader[accumulator.terms[0].out]]] is part:
                    shape = table[accumulator.out].shape
                    lengths = [sizes[d] if isinstance(d, str) else d for d in shape]
                    count += more * int(np.prod(lengths, dtype=int))
    return count


def numbers(work: Work, sizes: dict[str, int]) -> tuple[int, int, int]:
    found = (work.multiply_adds, work.elementwise, work.transcendental)
    first, second, third = (at(value, sizes) for value in found)
    return first, second, third


@pytest.mark.parametrize("name", EVERY)
def test_the_interpreter_does_what_the_card_says(name: str) -> None:
    cell = cell_called(name)
    plans = pipeline.schedule(cell)
    found = cost(cell, plans)
    for program, plan, works in (
        (plans.split.forward, plans.forward, found.forward),
        (plans.split.backward, plans.backward, found.backward),
    ):
        sizes = sizes_of(program)
        done, _ = counted(program, plan)
        for part in Part:
            products, elementwise, calls = done[part]
            elementwise -= added_up_in_place(program, plan, part, sizes)
            assert numbers(works[part], sizes) == (products, elementwise, calls), part


@pytest.mark.parametrize("name", EVERY)
def test_as_many_products_lie_in_sequence_as_the_card_says(name: str) -> None:
    plans = pipeline.schedule(cell_called(name))
    for program, plan in (
        (plans.split.forward, plans.forward),
        (plans.split.backward, plans.backward),
    ):
        assert counted(program, plan)[1] == depth(plan)


@pytest.mark.parametrize("name", EVERY)
def test_the_backward_pass_runs_on_what_the_card_says_is_kept(name: str) -> None:
    """The interpreter is given the parameters, the inputs, what comes from outside, and what is
    kept: nothing else; and that has the card's size."""
    cell = cell_called(name)
    plans = pipeline.schedule(cell)
    gradient, backward = plans.split.gradient, plans.split.backward
    sizes = sizes_of(backward)
    step = gradient.step
    free = {*step.params, *step.inputs, *gradient.output_seeds, *gradient.state_seeds}
    known = {a.name for a in step.program.arrays}
    random = np.random.default_rng(1)
    given = {
        name: random.uniform(0.2, 0.9, shape_of(name, backward, sizes)) for name in backward.inputs
    }
    interpret(backward, given, rows=1, sizes=sizes)
    kept = {name: value.size for name, value in given.items() if name not in free}
    assert set(kept) <= known
    # The value of a state before and after a step lie in one history.
    after = dict(zip(step.next_states, step.states, strict=True))
    once = {after.get(name, name): size for name, size in kept.items()}
    assert sum(once.values()) == at(cost(cell, plans).saved, sizes)


@pytest.mark.parametrize("name", EVERY)
def test_the_card_counts_the_parameters_that_a_kernel_has(name: str) -> None:
    cell = cell_called(name)
    plans = pipeline.schedule(cell)
    program = plans.split.gradient.step.program
    sizes = sizes_of(program)
    held = sum(np.prod(shape_of(name, program, sizes), dtype=int) for name in cell.params)
    assert held == at(cost(cell, plans).parameters, sizes)


def test_a_miscount_of_one_operation_is_seen() -> None:
    """The check of the checker: tanh taken for an elementwise operation."""
    plans = pipeline.schedule(derive.cells.lstm())
    TRANSCENDENTAL.remove("tanh")
    try:
        done, _ = counted(plans.split.forward, plans.forward)
    finally:
        TRANSCENDENTAL.add("tanh")
    card = cost(derive.cells.lstm(), plans).forward[Part.SEQUENTIAL]
    assert (
        numbers(card, sizes_of(plans.split.forward))[2] == done[Part.SEQUENTIAL][2] + 2 * SIZES["H"]
    )
