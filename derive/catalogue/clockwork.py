"""Clockwork RNN: groups of units that step at periods of their own.

Koutnik, Greff, Gomez & Schmidhuber 2014, "A clockwork RNN", arXiv 1402.3511. A unit steps where
its period divides the time, which begins at 0, so that all step first; otherwise it keeps its
value. Units are sorted by period, and a fast one sees the slower ones but not the other way: the
mask M is 1 where the period of the column is at least that of the row. Periods (usually 1, 2, 4,
...) and mask are fixed arrays. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def clockwork() -> Text:
    """Clockwork RNN: h' = tanh(W x + (U M) h + b) where the period divides t, else h."""
    return Text(
        doc="Clockwork RNN. Koutnik et al. 2014, arXiv 1402.3511.",
        text="""
input  x: I
state  h: H, t: 1
fixed  M: H x H, period: H
param  W: H x I, U: H x H, b: H

n  = tanh(W @ x + (U * M) @ h + b)
h' = where(t - period * floor(t / period) == 0, n, h)
t' = t + 1

output h'
""",
    )
