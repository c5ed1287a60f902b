"""`derive equal`: whether two cells compute the same, and how their parameters correspond.

In: two CELLs, or one to compare with the catalogue.  Out: text or JSON on standard output;
0 equal, 1 decided otherwise, 3 undecided, 130 interrupted.
Not here: how it is found out (comparison/equal.py, comparison/known.py), its text
(comparison/verdict_text.py).
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
        console.result(str(verdict))
        if verdict.status != "equal":
            console.relations(first, second)
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
            name: {"text": given.text(name), "parts": parts_of(value)}
            for name, value in given.params.items()
        },
        "states": given.simple_states,
        "affine_states": {s: [str(c) for c in pair] for s, pair in given.affine.items()},
        "states_as_text": {name: given.text(name) for name in given.states},
        "source_states_as_text": {name: text_of(value) for name, value in given.through.items()},
        "axes": {name: list(axes) for name, axes in given.axes.items()},
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
