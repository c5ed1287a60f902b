"""A Structure as the data of a section of a page.

In: a Structure.  Out: plain data for templates/html/structure.html.j2.
Not here: what is claimed (inspect/facts/structure.py), the other sections (report.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from derive.inspect.facts.structure import Structure
from derive.inspect.text.structure import LEGEND, SHORT, sentence


@dataclass(frozen=True, slots=True)
class Row:
    topic: str
    surety: str
    says: str
    because: tuple[str, ...]


def structure_data(found: Structure) -> Mapping[str, Any]:
    rows, topic = [], ""
    for claim in found.claims:
        because = tuple(map(_words, claim.because))
        shown = claim.topic if claim.topic != topic else ""
        topic = claim.topic
        rows.append(Row(shown, SHORT[claim.surety], _words(sentence(claim)), because))
    return {"kind": f"{found.name}: {found.kind}.", "claims": tuple(rows), "legend": LEGEND}


def _words(text: str) -> str:
    """Formulas between backquotes as code."""
    parts = text.split("`")
    return "".join(
        f"<code>{escape(part)}</code>" if k % 2 else escape(part) for k, part in enumerate(parts)
    )
