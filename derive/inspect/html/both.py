"""A page in both notations: one step, and time, one of which is shown at a time.

In: a View, the sections of a page.  Out: the sections, their formulas written in both ways.
Not here: the notations (report.py, in_time.py), the switch (templates/html/body.html.j2): a page
has no script, the state of a button is read by its style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from derive.inspect.facts.view import View
from derive.inspect.html import in_time
from derive.inspect.html.report import Section

_LINES = ("equations", "where")
#: Of these the template shows a second form, under the name with this in front.
_DOUBLE = ("groups", "seeds", "sums")


def in_both(view: View, sections: Mapping[str, Section]) -> dict[str, Section]:
    found = dict(sections)
    for stage in sections.keys() & in_time.SECTIONS.keys():
        data, other = dict(sections[stage].data), in_time.SECTIONS[stage](view).data
        for key in _LINES:
            if key in data:
                data[key] = tuple(
                    replace(line, timed=(timed.name, timed.pieces))
                    for line, timed in zip(data[key], other[key], strict=True)
                )
        data |= {f"timed_{key}": other[key] for key in _DOUBLE if key in other}
        found[stage] = replace(sections[stage], data=data)
    return found
