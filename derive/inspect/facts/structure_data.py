"""A Structure as plain data, for programs. The form is described in docs/reference/command-line.md.

In: a Structure.  Out: dictionaries, lists, text and numbers.
Not here: what is claimed (structure.py), the other stages (inspect/json.py).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from derive.inspect.facts.structure import Claim, Structure, Surety
from derive.inspect.facts.structure_words import Words
from derive.recurrence.linear import Degree
from derive.symbolic.interval import Interval

_DEGREE = {Degree.CONSTANT: "constant", Degree.AFFINE: "affine", Degree.HIGHER: "not known"}
_SURETY = {
    Surety.PROVED: "proved",
    Surety.CONDITION: "condition",
    Surety.EXAMPLE: "example",
    Surety.UNKNOWN: "unknown",
}


def as_data(found: Structure) -> dict[str, Any]:
    rec, bounds, words = found.recurrence, found.bounds, Words(found.cell)
    nexts = dict(zip(found.cell.step.states, found.cell.step.next_states, strict=True))
    solved = found.inverse.solved if found.inverse else ()
    return {
        "kind": found.kind,
        "linear": rec.linear,
        "linear_in_order": rec.linear_in_order,
        "elementwise": rec.elementwise,
        "constant_coefficients": rec.constant_coefficients,
        "coefficients_depend_on": list(rec.varying),
        "clocks": list(rec.clocks),
        "order": [list(part) for part in rec.parts],
        "states": {
            state: {
                "shape": list(found.shapes[state]),
                "together": _DEGREE[rec.together[state]],
                "own": _DEGREE[rec.own[state]],
                "next": _interval(bounds.free[nexts[state]]),
                "kept": _interval(bounds.kept[state]),
            }
            for state in rec.states
        },
        "jacobian": [
            {
                "after": after,
                "before": before,
                "kind": pattern.kind.value,
                "blocks": [found.shapes[after][k] for k in pattern.blocks],
                "rank": pattern.rank,
            }
            for (after, before), pattern in rec.patterns.items()
        ],
        "inverse": [
            {
                "state": one.state,
                "matrix": one.matrix,
                "transposed": one.turned,
                "value": words.text(one.value),
                "not_zero": [words.text(expr) for expr, _ in one.nonzero],
            }
            for one in solved
        ],
        "claims": [_claim(claim) for claim in found.claims],
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "topic": claim.topic,
        "about": list(claim.about),
        "says": claim.says,
        "surety": _SURETY[claim.surety],
        "condition": claim.condition,
        "because": list(claim.because),
    }


def _interval(values: Interval) -> dict[str, Any]:
    return {
        "low": _number(values.lo),
        "high": _number(values.hi),
        "low_open": values.lo_open,
        "high_open": values.hi_open,
    }


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
