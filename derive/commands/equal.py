"""`derive equal`: whether two cells compute the same, and how their parameters correspond.

In: two CELLs.  Out: text or JSON on standard output; 0 equal, 1 not equal or a sub-case only,
3 undecided.
Not here: how it is found out (equal.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from derive.commands import console
from derive.commands.select import cell_of

if TYPE_CHECKING:
    from fractions import Fraction

    from derive.comparison.equal import Verdict
    from derive.comparison.equal_numbers import Distance
    from derive.comparison.parameter_map import ParameterMap
    from derive.comparison.rank import Rank

STATUS = {"equal": 0, "sub-case": 1, "not equal": 1, "undecided": 3}


def run(first: str, second: str, as_json: bool) -> int:
    a, b = cell_of(first), cell_of(second)
    from derive.comparison.equal import STEPS, equal

    with console.progress("comparing", STEPS, lines=False) as tick:
        verdict = equal(a, b, tick=tick)
    if as_json:
        console.result(json.dumps(data(verdict), indent=2))
    else:
        console.result("\n".join(text(verdict)))
    return STATUS[verdict.status]


def data(verdict: Verdict) -> Any:
    return {
        "format": 1,
        "a": verdict.a,
        "b": verdict.b,
        "status": verdict.status,
        "proved": verdict.proved,
        "maps": [_map(m) for m in (verdict.forward, verdict.backward) if m is not None],
        "counter_examples": [_distance(each) for each in verdict.distances],
        "ranks": [{**asdict(rank), "sizes": dict(rank.sizes)} for rank in verdict.ranks],
        "notes": list(verdict.notes),
    }


def _map(given: ParameterMap) -> Any:
    from derive.comparison.parameter_map import text_of

    return {
        "source": given.source,
        "target": given.target,
        "params": {
            name: {
                "text": text_of(parts),
                "parts": [
                    {
                        "kind": part.kind,
                        "name": part.name,
                        "transposed": part.transposed,
                        "factor": str(part.factor),
                    }
                    for part in parts
                ],
            }
            for name, parts in given.params.items()
        },
        "states": given.states,
        "affine_states": {s: [str(c) for c in pair] for s, pair in given.affine.items()},
        "from_zero_states": given.from_zero,
        "digits": given.digits,
        "largest_difference": given.error,
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
    for rank in verdict.ranks:
        yield ""
        yield from _rank_lines(rank)
    for each in verdict.distances:
        yield ""
        yield from _distance_lines(each)
    if verdict.notes:
        yield ""
        yield from verdict.notes


def _headline(verdict: Verdict) -> str:
    a, b = verdict.a, verdict.b
    how = "proved" if verdict.proved else "by numbers, no proof"
    if verdict.status == "equal":
        return f"equal ({how}): {a} and {b} compute the same"
    if verdict.status == "sub-case":
        small, large = (a, b) if verdict.forward is not None else (b, a)
        return f"sub-case ({how}): {small} is {large} with parameters that are tied or fixed"
    if verdict.status == "not equal":
        return f"not equal ({how}): {a} and {b} compute different functions"
    return f"undecided: no parameter map was found, and nothing that rules one out for {a} and {b}"


def _rank_lines(rank: Rank) -> Iterator[str]:
    widths = ", ".join(f"{name} = {length}" for name, length in rank.sizes.items())
    after = "one step" if rank.steps == 1 else f"{rank.steps} steps"
    yield (
        f"{rank.target} cannot compute {rank.source} ({widths}): by its parameters the outputs "
        f"of {after} move in {rank.source_rank} independent"
    )
    yield (
        f"  directions, those of {rank.target} in {rank.target_rank} at most, "
        + ("as many as it has parameters" if rank.counted else "its largest rank")
    )


def _map_lines(given: ParameterMap) -> Iterator[str]:
    yield f"{given.target} computes {given.source} with"
    pairs = [line.split(" = ", 1) for line in given.lines()]
    width = max((len(name) for name, _ in pairs), default=0)
    yield from (f"  {name.ljust(width)} = {value}" for name, value in pairs)
    renamed = {mine: theirs for mine, theirs in given.states.items() if mine != theirs}
    for mine, (factor, shift) in given.affine.items():
        yield f"  state {mine} is {_moved(given.states[mine], factor, shift)} of {given.source}"
        renamed.pop(mine, None)
    if renamed:
        yield "  " + ", ".join(f"state {m} is {t} of {given.source}" for m, t in renamed.items())
    if given.from_zero:
        yield "  from initial states that are zero"
    yield (
        "  confirmed over several steps, values and gradients:"
        f" largest relative difference {given.error:.1e}"
    )
    if given.digits:
        yield f"  read off a fit; at random points one step agrees to {given.digits} digits"


def _moved(state: str, factor: Fraction, shift: Fraction) -> str:
    sign = "-" if factor < 0 else ""
    scaled = f"{sign}{state}" if abs(factor) == 1 else f"{factor} * {state}"
    return f"{scaled} {'-' if shift < 0 else '+'} {abs(shift)}" if shift else scaled


def _distance_lines(given: Distance) -> Iterator[str]:
    t, row, unit = given.place
    close = given.relative < 1e-3
    yield (
        f"{given.target} {'comes close to' if close else 'does not compute'} {given.source}: "
        f"the best of {given.starts} fits of its parameters to the outputs of one {given.source}"
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
