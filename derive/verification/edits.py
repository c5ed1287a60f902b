"""Small edits of generated text, the kind that slips in by hand: drawn by a seed.

In: {path: text} of a kernel.  Out: `Edit`s.
Not here: which edits a language knows (edits_c.py, edits_python.py), what becomes of them
(text_mutants.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from derive.verification.points import Random

FACTOR = 1.001


@dataclass(frozen=True, slots=True)
class Edit:
    """`new` takes the place of characters [start, end) of the file `path`; `kind` says how."""

    path: str
    start: int
    end: int
    new: str
    kind: str

    def applied(self, files: Mapping[str, str]) -> dict[str, str]:
        text = files[self.path]
        return {**files, self.path: text[: self.start] + self.new + text[self.end :]}

    def where(self, files: Mapping[str, str]) -> str:
        return f"{self.path}:{files[self.path].count(chr(10), 0, self.start) + 1}"

    def diff(self, files: Mapping[str, str]) -> tuple[str, str]:
        """The lines that it changes, before and after."""
        text = files[self.path]
        first = text.rfind("\n", 0, self.start) + 1
        last = text.find("\n", self.end)
        after = text[first : self.start] + self.new + text[self.end : last]
        return f"- {_squeezed(text[first:last])}", f"+ {_squeezed(after)}"


def _squeezed(lines: str) -> str:
    return " ".join(lines.replace("\\\n", " ").split())


def possible(files: Mapping[str, str]) -> tuple[Edit, ...]:
    """Every edit of every file, in the order of the text."""
    from derive.verification import edits_c, edits_python

    found: list[Edit] = []
    for path, text in files.items():
        if path.endswith(".py"):
            found += edits_python.edits(path, text)
    found += edits_c.edits({p: t for p, t in files.items() if p.endswith((".c", ".h"))})
    return tuple(found)


def drawn(edits: Sequence[Edit], count: int, seed: int) -> tuple[Edit, ...]:
    """`count` of them: kinds and files take turns, so that the rare ones come up as well."""
    random = Random(seed, 90)
    groups: dict[tuple[str, str], list[Edit]] = {}
    for edit in edits:
        groups.setdefault((edit.kind, edit.path), []).append(edit)
    queues = [random.order(groups[key]) for key in sorted(groups)]
    turns: list[Edit] = []
    for k in range(max(map(len, queues), default=0)):
        turns += random.order([queue[k] for queue in queues if k < len(queue)])
        if len(turns) >= count:
            break
    return tuple(turns[:count])


def scaled(number: float) -> float:
    """A constant a little off; zero becomes something small."""
    return number * FACTOR if number else FACTOR - 1
