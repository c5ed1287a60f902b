"""`derive equal`: whether two cells compute the same, and how their parameters correspond.

In: two CELLs, or one to compare with the catalogue.  Out: text or JSON on standard output;
0 equal, 1 decided otherwise, 3 undecided, 130 interrupted.
Not here: how it is found out (comparison/equal.py, comparison/known.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from derive.cli import console
from derive.cli.select import cell_of
from derive.errors import DeriveError, ProgramError

if TYPE_CHECKING:
    from derive.comparison.check import Apart
    from derive.comparison.equal import Verdict
    from derive.comparison.fits import Distance
    from derive.comparison.parameter_map import ParameterMap
    from derive.comparison.rank import Rank

UNDECIDED = 3
INTERRUPTED = 130
#: Of the verdicts: every one that is decided and is not "equal" is 1.
STATUS = {"equal": 0, "undecided": UNDECIDED}


def run(first: str, second: str, as_json: bool) -> int:
    a, b = cell_of(first), cell_of(second)
    from derive.comparison.equal import STEPS, Comparing

    stopped = False
    with console.progress("comparing", STEPS, lines=False) as tick:
        comparing = Comparing(a, b, tick)
        try:
            verdict = comparing.run()
        except KeyboardInterrupt:
            stopped, verdict = True, comparing.so_far()
        except ProgramError as error:
            # Status 1 would be a verdict.
            raise DeriveError(f"{a.name} and {b.name} could not be compared: {error}") from error
    if as_json:
        console.result(json.dumps({**data(verdict), "interrupted": stopped}, indent=2))
    else:
        if stopped:
            console.say("interrupted; what was found so far:")
        console.result("\n".join(text(verdict)))
    return INTERRUPTED if stopped else STATUS.get(verdict.status, 1)


def run_known(first: str, as_json: bool) -> int:
    """0 if a catalogue cell is equal, 1 if none is, 130 if interrupted."""
    cell = cell_of(first)
    from derive.cells import names
    from derive.comparison.known import Relation, known

    found: list[Relation] = []
    stopped = False
    with console.progress("comparing", len(names()), lines=False) as tick:
        try:
            known(cell, found, tick)
        except KeyboardInterrupt:
            stopped = True
    if as_json:
        rows = [{**asdict(each), "map": _map(each.map)} for each in found]
        whole = {"format": 1, "cell": cell.name, "known": rows, "interrupted": stopped}
        console.result(json.dumps(whole, indent=2))
    else:
        if stopped:
            console.say("interrupted; what was found so far:")
        console.result("\n".join(_known_lines(cell.name, found)))
    if stopped:
        return INTERRUPTED
    return 0 if any(each.relation == "equal" for each in found) else 1


def _known_lines(name: str, found: list[Any]) -> Iterator[str]:
    if not found:
        yield f"{name}: no cell of the catalogue is proved to equal it, contain it or be part of it"
    order = ("equal", "equal in values", "contained in", "contains")
    said = {
        "equal": "equals",
        "equal in values": "equals, in values but not in gradients at ties,",
        "contained in": "is contained in",
        "contains": "contains",
    }
    for each in sorted(found, key=lambda r: (order.index(r.relation), r.known)):
        lines = [line for line in each.map.lines() if len(set(line.split(" = "))) > 1]
        shown = "; ".join(lines[:6]) + ("; ..." if len(lines) > 6 else "")
        yield f"{name} {said[each.relation]} {each.known}" + (f": {shown}" if shown else "")


def data(verdict: Verdict) -> Any:
    return {
        "format": 1,
        "a": verdict.a,
        "b": verdict.b,
        "status": verdict.status,
        "proved": verdict.proved,
        "maps": [_map(m) for m in (verdict.forward, verdict.backward) if m is not None],
        "point": None if verdict.point is None else _point(verdict.point),
        "counter_examples": [_distance(each) for each in verdict.distances],
        "ranks": [{**asdict(rank), "sizes": dict(rank.sizes)} for rank in verdict.ranks],
        "notes": list(verdict.notes),
    }


def _map(given: ParameterMap) -> Any:
    from derive.comparison.parameter_map import parts_of, text_of

    return {
        "source": given.source,
        "target": given.target,
        "params": {
            name: {"text": text_of(value), "parts": parts_of(value)}
            for name, value in given.params.items()
        },
        "states": given.simple_states,
        "affine_states": {s: [str(c) for c in pair] for s, pair in given.affine.items()},
        "states_as_text": {name: text_of(value) for name, value in given.states.items()},
        "source_states_as_text": {name: text_of(value) for name, value in given.through.items()},
        "widths": dict(given.sizes),
        "bijective": given.bijective,
        "from_zero_states": given.from_zero,
        "gradients": given.gradients,
        "steps": list(given.steps),
        "largest_difference": given.error,
    }


def _point(given: Apart) -> Any:
    return {
        "what": given.what,
        "sizes": dict(given.sizes),
        "params": _lists(given.params),
        "inputs": _lists(given.inputs),
        "states": _lists(given.states),
        "a": str(given.wanted),
        "b": str(given.got),
    }


def _distance(given: Distance) -> Any:
    return {
        "source": given.source,
        "target": given.target,
        "relative": given.relative,
        "params": _lists(given.params),
        "state": _lists(given.state),
        "inputs": _lists(given.inputs),
        "output": given.output,
        "place": list(given.place),
        "wanted": given.wanted,
        "nearest": given.got,
        "nearest_params": _lists(given.fitted),
    }


def _lists(arrays: Mapping[str, Any]) -> Any:
    return {name: value.tolist() for name, value in arrays.items()}


# --- text -----------------------------------------------------------------------------------


def text(verdict: Verdict) -> Iterator[str]:
    yield _headline(verdict)
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


def _headline(verdict: Verdict) -> str:
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
    from derive.comparison.parameter_map import is_simple, text_of

    yield f"{given.target} computes {given.source} with"
    pairs = [line.split(" = ", 1) for line in given.lines()]
    width = max((len(name) for name, _ in pairs), default=0)
    yield from (f"  {name.ljust(width)} = {value}" for name, value in pairs)
    for mine, value in given.states.items():
        if not is_simple(mine, value):
            yield f"  state {mine} is {text_of(value)} of {given.source}"
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
    t, row, unit = given.place
    close = given.relative < 1e-3
    yield (
        f"{given.target} {'comes close to' if close else 'does not come to'} {given.source}: "
        f"the best fit of its parameters to the outputs of one {given.source}, where "
        f"{given.alike} of the fits end"
    )
    yield (
        f"  {given.output}[t={t}, row={row}, unit={unit}] = {given.got:.6g} instead of "
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
    import numpy as np

    return np.array2string(value, precision=4, separator=", ", threshold=10**6).replace("\n", "")
