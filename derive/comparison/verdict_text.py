"""A Verdict in words: what `derive equal` prints, and what a Verdict is as text.

In: a Verdict.  Out: lines; the first is the headline.
Not here: how it is found (equal.py), JSON and exit statuses (cli/equal.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from derive.comparison.check import Apart
from derive.comparison.fits import Distance
from derive.comparison.parameter_map import ParameterMap, is_simple, text_of
from derive.comparison.rank import Rank

if TYPE_CHECKING:
    from derive.comparison.equal import Verdict


def text(verdict: Verdict) -> Iterator[str]:
    yield headline(verdict)
    for given in (verdict.forward, verdict.backward):
        if given is not None:
            yield ""
            yield from _map_lines(given)
    if verdict.point is not None:
        yield ""
        yield from _point_lines(verdict, verdict.point)
    for rank in verdict.ranks:
        yield ""
        yield from _rank_lines(rank)
    for each in verdict.distances:
        yield ""
        yield from _distance_lines(each)
    if verdict.notes:
        yield ""
        yield from verdict.notes
    steps = next((m.steps for m in (verdict.forward, verdict.backward) if m), ())
    if steps:
        yield ""
        yield "proof"
        for k, step in enumerate(steps, 1):
            first, *rest = step.split("\n")
            yield f"  {k}. {first}"
            yield from (f"     {line}" for line in rest)


def headline(verdict: Verdict) -> str:
    a, b = verdict.a, verdict.b
    how = "proved" if verdict.proved else "by numbers, no proof"
    if verdict.status == "equal":
        return f"equal ({how}): {a} and {b} compute the same"
    if verdict.status == "equal in values":
        return f"equal in values ({how}): gradients of {a} and {b} differ, as at the point below"
    if verdict.status == "equal where both are numbers":
        return (
            f"equal where both are numbers ({how}): at the point below only one of {a} and {b} is"
        )
    if verdict.status == "sub-case":
        forward, backward = verdict.forward, verdict.backward
        if forward is not None and backward is not None:
            return f"sub-case ({how}): {a} and {b} compute the same in some widths only"
        small, large = (a, b) if forward is not None else (b, a)
        return f"sub-case ({how}): {small} is {large} with parameters that are tied or fixed"
    if verdict.status == "not equal":
        return f"not equal ({how}): {a} and {b} compute different functions"
    return f"undecided: neither that {a} and {b} compute the same is proved, nor that they do not"


def _rank_lines(rank: Rank) -> Iterator[str]:
    widths = ", ".join(f"{name} = {length}" for name, length in rank.sizes.items())
    after = "one step" if rank.steps == 1 else f"{rank.steps} steps"
    yield (
        f"{rank.target} cannot compute {rank.source} ({widths}): by its parameters the outputs "
        f"of {after} move in {rank.source_rank} independent"
    )
    yield (
        f"  directions or more, those of {rank.target} in {rank.target_rank} at most, as many as "
        "it has parameters; in interval arithmetic,"
    )
    yield f"  with a bound of {rank.residual:.1e} on |I - X J|, which need only be below 1"


def _map_lines(given: ParameterMap) -> Iterator[str]:
    yield f"{given.target} computes {given.source} with"
    pairs = [line.split(" = ", 1) for line in given.lines()]
    width = max((len(name) for name, _ in pairs), default=0)
    yield from (f"  {name.ljust(width)} = {value}" for name, value in pairs)
    for mine, value in given.states.items():
        if not is_simple(mine, value) or mine in given.axes:
            yield f"  state {mine} is {given.text(mine)} of {given.source}"
    for theirs, value in given.through.items():
        if not is_simple(f"~{theirs}", value):
            yield f"  state {theirs} of {given.source} is {text_of(value)} of {given.target}"
    if given.from_zero:
        yield "  from initial states that are zero"
    widths = {mine: theirs for mine, theirs in given.sizes.items() if mine != theirs}
    if widths:
        yield "  in widths " + ", ".join(f"{mine} = {theirs}" for mine, theirs in widths.items())
    yield (
        "  confirmed by the interpreter in widths from 1 to 7, values and gradients:"
        f" largest relative difference {given.error:.1e}"
    )


def _point_lines(verdict: Verdict, given: Apart) -> Iterator[str]:
    widths = ", ".join(f"{name} = {length}" for name, length in given.sizes.items())
    yield (
        f"{given.what} is {given.wanted:.6g} in {verdict.a} and {given.got:.6g} in {verdict.b}, "
        f"the map applied ({widths}), at"
    )
    for group in (given.params, given.inputs, given.states):
        for name, value in group.items():
            yield f"    {name} = {_short(value)}"


def _distance_lines(given: Distance) -> Iterator[str]:
    t, row, *unit = given.place
    at = ", ".join(map(str, unit))
    close = given.relative < 1e-3
    yield (
        f"{given.target} {'comes close to' if close else 'does not come to'} {given.source}: "
        f"the best fit of its parameters to the outputs of one {given.source}, where "
        f"{given.alike} of the fits end"
    )
    yield (
        f"  {given.output}[t={t}, row={row}, unit={at}] = {given.got:.6g} instead of "
        f"{given.wanted:.6g}; relative to all outputs {given.relative:.1e}"
    )
    zero = all(not value.any() for value in given.state.values())
    yield f"  {given.source}, initial states {'zero' if zero else 'as below'}, has"
    for name, value in given.params.items():
        yield f"    {name} = {_short(value)}"
    for name, value in given.inputs.items():
        yield f"    {name} = {_short(value[:, row])}   of this row"
    for name, value in given.state.items() if not zero else ():
        yield f"    {name} = {_short(value[row])}   at first, in both"


def _short(value: Any) -> str:
    return np.array2string(value, precision=4, separator=", ", threshold=10**6).replace("\n", "")
