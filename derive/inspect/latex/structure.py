"""A Structure as LaTeX.

In: a View.  Out: lines of LaTeX.
Not here: what is claimed (inspect/facts/structure.py), the other stages (report.py, parts.py).
"""

from __future__ import annotations

from derive.inspect.facts.view import View
from derive.inspect.latex.layout import Block, escape
from derive.inspect.text.structure import LEGEND, SHORT, sentence


def structure(view: View) -> Block:
    found = view.structure
    yield escape(f"{found.name}: {found.kind}.")
    topic = ""
    for claim in found.claims:
        if claim.topic != topic:
            if topic:
                yield r"\end{itemize}"
            topic = claim.topic
            yield rf"\paragraph{{{escape(topic.capitalize())}.}}"
            yield r"\begin{itemize}"
        yield rf"\item {_words(sentence(claim))} (\emph{{{SHORT[claim.surety]}}})"
        yield from (rf"\\ {{\small {_words(reason)}}}" for reason in claim.because)
    yield r"\end{itemize}"
    yield escape(LEGEND)


def _words(text: str) -> str:
    """Formulas between backquotes in the type of code, in which a line may break at a space."""
    parts = text.split("`")
    return "".join(
        rf"\texttt{{{escape(part)}}}" if k % 2 else escape(part) for k, part in enumerate(parts)
    )
