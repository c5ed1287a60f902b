"""A Structure as text for a terminal.

In: a View.  Out: lines.
Not here: what is claimed (inspect/facts/structure.py), the other stages (report.py, parts.py).
"""

from __future__ import annotations

import textwrap

from derive.inspect.facts.structure import Claim, Surety
from derive.inspect.facts.view import View
from derive.inspect.text.layout import WIDTH, Block

#: How a claim is known, in a column.
SHORT = {
    Surety.PROVED: "proved",
    Surety.CONDITION: "condition",
    Surety.EXAMPLE: "example",
    Surety.UNKNOWN: "not known",
}
LEGEND = (
    "proved: for all parameters, inputs and states, in real numbers.  condition: proved where it "
    "holds.  example: shown at one random point.  not known: neither proved nor shown."
)


def structure(view: View) -> Block:
    found = view.structure
    yield f"{found.name}: {found.kind}"
    yield ""
    topic = ""
    for claim in found.claims:
        if topic and claim.topic != topic:
            yield ""
        yield from _claim(claim, claim.topic if claim.topic != topic else "")
        topic = claim.topic
    yield ""
    yield from textwrap.wrap(LEGEND, WIDTH)


def sentence(claim: Claim) -> str:
    return claim.says + (f", if {claim.condition}" if claim.condition else "")


def _claim(claim: Claim, topic: str) -> Block:
    head = f"{topic.ljust(10)}  {SHORT[claim.surety].ljust(9)}  "
    first, *rest = _wrapped(sentence(claim), WIDTH - len(head))
    yield head + first
    for line in rest:
        yield " " * len(head) + line
    for reason in claim.because:
        for k, line in enumerate(_wrapped(reason, WIDTH - len(head) - 4)):
            yield " " * (len(head) + 2 + 2 * (k > 0)) + line


def _wrapped(text: str, width: int) -> list[str]:
    plain = text.replace("`", "")
    return textwrap.wrap(plain, width, break_long_words=False, break_on_hyphens=False)
