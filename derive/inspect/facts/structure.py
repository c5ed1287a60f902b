"""What kind of recurrence a cell is, in words: claims, each with how sure it is and why.

In: a Cell.  Out: a `Structure`.
Not here: the proofs (recurrence/), how claims are laid out (inspect/text/ and the other formats).

Formulas stand between backquotes, as their author writes them: `h'` is the next value of `h`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from derive.cell import Cell
from derive.display import Displayed
from derive.errors import ArgumentTypeError
from derive.inspect.facts.structure_words import what_it_is
from derive.kernel.convert import kind_text
from derive.recurrence import (
    Bounds,
    Hazard,
    Inverse,
    Recurrence,
    bounds,
    hazards,
    inverse,
    recurrence,
)
from derive.recurrence.hazards import Danger, Verdict
from derive.recurrence.stabiliser import Offer, Stabiliser, offer, stabilisers


class Surety(enum.Enum):
    """How a claim is known."""

    PROVED = "proved"
    CONDITION = "proved under a condition"
    EXAMPLE = "shown by an example"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Claim:
    """topic: what it is about: linear, transition, bound, inverse, time, numbers, stabiliser.
    about: the states and arrays that it names.  condition: under which it holds; "" for none."""

    topic: str
    about: tuple[str, ...]
    says: str
    surety: Surety
    because: tuple[str, ...] = ()
    condition: str = ""


@dataclass(frozen=True)
class Structure(Displayed):
    """What kind of recurrence a cell is. `claims` says it in words, the rest to programs.

    kind: in a few words.  recurrence: linear or not, the pattern of the Jacobian.  bounds:
    between which numbers the states stay.  inverse: the step backwards, or None; its `restore`
    computes it.  hazards: where the step may leave the numbers.
    """

    cell: Cell = field(repr=False)

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def kind(self) -> str:
        return what_it_is(self.recurrence, self.shapes)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[Any, ...]]:
        table = self.cell.step.program.table()
        return {state: table[state].shape for state in self.cell.step.states}

    @cached_property
    def recurrence(self) -> Recurrence:
        return recurrence(self.cell.step)

    @property
    def linear(self) -> bool:
        """Whether the next states are affine in all states together: a scan is legal."""
        return self.recurrence.linear

    @cached_property
    def bounds(self) -> Bounds:
        step = self.cell.step
        return bounds(step.program, tuple(zip(step.states, step.next_states, strict=True)))

    @cached_property
    def inverse(self) -> Inverse | None:
        return inverse(self.cell.step, self.bounds.free)

    @cached_property
    def hazards(self) -> tuple[Hazard, ...]:
        return hazards(self.cell.step, self.bounds)

    @cached_property
    def stabilisers(self) -> tuple[Stabiliser, ...]:
        return stabilisers(self.cell.step)

    @cached_property
    def offers(self) -> tuple[Offer, ...]:
        """For states that an exponential which may overflow is added to, or multiplies."""
        step, table = self.cell.step, self.cell.step.program.table()
        if self.stabilisers:
            return ()
        large = {
            hazard.array
            for hazard in self.hazards
            if hazard.danger is Danger.OVERFLOW and hazard.verdict is Verdict.POSSIBLE
        }
        atoms = self.bounds.free.written.atoms
        read = {
            atoms[symbol].array
            for grown in self.bounds.growth.values()
            for symbol in grown.factor.free_symbols | grown.added.free_symbols
            if symbol in atoms
        } & large
        shapes = {table[name].shape for name in read}
        if len(shapes) != 1:
            return ()
        alike = [name for name in large if table[name].shape in shapes]
        found = offer(step, sorted(alike))
        return () if found is None else (found,)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        from derive.inspect.facts.structure_claims import claims

        return claims(self)

    def of(self, topic: str) -> tuple[Claim, ...]:
        """The claims of one topic."""
        return tuple(claim for claim in self.claims if claim.topic == topic)

    def text(self) -> str:
        """As `derive show CELL --stage structure` prints it."""
        from derive.inspect import show

        return show(self.cell, ("structure",))


def structure(cell: Cell) -> Structure:
    """What kind of recurrence a cell is: linear or not, bounds, the inverse, what may overflow."""
    if not isinstance(cell, Cell):
        raise ArgumentTypeError(
            f"cell must be a Cell, not {kind_text(cell)}",
            hint='derive.cells.lstm(), derive.load("mine.cell") or derive.Cell.parse(text)',
        )
    return Structure(cell)
