"""The author's equations, as comments above the lines of NumPy that compute them.

In: a Flow, and the equation of each array.  Out: lines with their comments.
Not here: the lines (lines.py), the text of an equation (emit/equation_lines.py).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

from derive.emit.numpy.flow import Flow, operands, outs

#: The longest line of a comment.
COMMENT_WIDTH = 100


class Comments:
    """Of one function. equations: {array: "z = sigmoid(W_z @ x + ...)"}; each is told once."""

    def __init__(self, flow: Flow, equations: Mapping[str, str]) -> None:
        self.packs, self.parts, self.equations = flow.packs, flow.parts, equations
        self.told: set[str] = set()
        self.known = {name for pair in flow.carried for name in pair}
        self.known.update(name for names in flow.packs.values() for name in names)
        for work in flow.works():
            self.known.update((*outs([work]), *operands(work)))

    def above(self, out: str, *lines: str) -> list[str]:
        """The lines, below the author's equation where that says it differently."""
        found: list[str] = []
        for name in self.packs.get(out, (out,)):
            whole = self.parts.get(name, name)
            equation = self.equations.get(whole)
            if equation is not None and (equation,) != lines:
                found += self._written_out(equation)
                found.append(equation if whole == name else f"part of {equation}")
        notes = [line for note in dict.fromkeys(found) for line in _wrapped(note)]
        return [*(f"# {line}" for line in notes), *lines]

    def _written_out(self, equation: str) -> list[str]:
        """The equations of what an equation mentions and no line computes: it is written out where
        it is used. Each is told once."""
        found: list[str] = []
        for word in re.findall(r"[A-Za-z]\w*'?", equation.partition(" = ")[2]):
            name = word.replace("'", "_next")
            if name in self.equations and name not in self.known and name not in self.told:
                self.told.add(name)
                found += [*self._written_out(self.equations[name]), self.equations[name]]
        return found


def _wrapped(note: str) -> list[str]:
    """A comment as lines; a sum that is too long goes on in front of a term."""
    terms, depth = [""], 0
    for word in note.split(" "):
        if depth == 0 and word in ("+", "-"):
            terms.append("")
        terms[-1] += f" {word}" if terms[-1] else word
        depth += word.count("(") - word.count(")")
    lines = [terms[0]]
    for term in terms[1:]:
        if len(lines[-1]) + 1 + len(term) > COMMENT_WIDTH:
            lines.append(f"    {term}")
        else:
            lines[-1] += f" {term}"
    return [
        part
        for k, line in enumerate(lines)
        for part in textwrap.wrap(
            line.strip(), COMMENT_WIDTH, initial_indent="    " * (k > 0), subsequent_indent="    "
        )
    ]
