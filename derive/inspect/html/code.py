"""Generated text -> lines that know which equations they compute.

In: the files of a target, the names that have a place on the page.  Out: `CodeFile`s.
Not here: the text itself (emit/), the page (report.py).

A line is matched by the array that it defines, a comment by the equation that it repeats, and
a C function by the stage that it is. Arrays that lie side by side in one (`i_f_o`, `d_a`) lead
to each of their parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from derive.targets import rows

_ASSIGNED = re.compile(
    r"\s*(?:const |static )*(?:dk_(?:vector|real) \*?)?"
    r"([A-Za-z]\w*)(?:\[[^=]*\])?(?:: \w+)? [-+*/]?= "
)
_COMMENT = re.compile(r"\s*(?:#|\*|/\*)\s+([A-Za-z]\w*)('?)\s+= ")
#: The last argument of a sum, or of an outer product in a list of them: what it is added to.
_ADDED = re.compile(
    r".*call->(?:at|args->(?P<d>d_)params)\.(?P<name>\w+)(?:, span\))?(?:\},|, team\);)$"
)
_STAGE = re.compile(
    r"(?:static void|DK_INLINE) .*?\((forward|backward)_([a-z]+)_(\d+)(?:_\w+)?\)\("
)
#: Room for an array, or an array under a shorter name: nothing is computed.
_NO_VALUE = re.compile(
    r"np\.(?:empty|zeros)\b|(?:params|inputs|states|saved)\[|\w+\[[^\]]*\](?: if|$)"
    r"|or_zeros|[a-z]\w*$"
)
_SUFFIXES = ("_all", "_factor", "_output")


@dataclass(frozen=True, slots=True)
class CodeLine:
    """targets: (what is written, anchor) of the equations that the line computes.  id: its own
    anchor, "" where nothing leads to it: a page has thousands of lines."""

    number: int
    text: str
    targets: tuple[tuple[str, str], ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class CodeFile:
    """id: before the number in the anchor of a line."""

    path: str
    id: str
    lines: tuple[CodeLine, ...]


def code_files(
    files: Mapping[str, str], anchors: Mapping[str, str], stages: Mapping[str, Iterable[str]]
) -> tuple[CodeFile, ...]:
    """anchors: {array: anchor}, several arrays may share one.
    stages: {anchor of a stage: arrays that its products and sums give}."""
    found = []
    for path, text in files.items():
        if any(target.is_shared(path) for target in rows()):
            continue  # the same for every cell
        ident = path.replace("/", "-").replace(".", "-")
        begun = not path.endswith(".py")  # before the first pass come functions of one array
        lines = []
        for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
            begun = begun or line.startswith("def forward(")
            targets = _targets(line, anchors, stages) if begun or _COMMENT.match(line) else ()
            lines.append(CodeLine(number, line, targets))
        found.append(CodeFile(path, ident, tuple(lines)))
    return tuple(found)


def references(files: Iterable[CodeFile]) -> dict[str, list[tuple[str, str]]]:
    """Anchor of an equation -> (file and line, anchor) of the first line that computes it in
    each file; a line of its own comes before one that it shares, and a factor comes last."""
    found: dict[str, list[tuple[str, str]]] = {}
    labels = {suffix: label for target in rows() for suffix, label in target.suffixes.items()}
    for file in files:
        seen: set[str] = set()
        label = labels[PurePosixPath(file.path).suffix]
        for line in sorted(file.lines, key=_shared):
            for _, anchor in () if _COMMENT.match(line.text) else line.targets:
                if anchor not in seen:
                    seen.add(anchor)
                    place = (f"{label} {line.number}", f"{file.id}-{line.number}")
                    found.setdefault(anchor, []).append(place)
    return found


def _shared(line: CodeLine) -> tuple[bool, bool]:
    own = [name for name, anchor in line.targets if anchor.partition("-")[2] == name]
    return "_factor_all = " in line.text, len(own) != 1 or len(line.targets) != 1


def _targets(
    line: str, anchors: Mapping[str, str], stages: Mapping[str, Iterable[str]]
) -> tuple[tuple[str, str], ...]:
    if comment := _COMMENT.match(line):
        name = comment[1] + ("_next" if comment[2] else "")
        return ((name, anchors[name]),) if name in anchors else ()
    if stage := _STAGE.match(line):
        anchor = f"stage-{stage[1]}-{stage[2]}-{stage[3]}"
        if anchor not in stages:
            return ()
        places = {anchors[name]: name for name in stages[anchor] if name in anchors}
        products = tuple((name, place) for place, name in places.items())
        return (("stage", anchor), *(products if line.startswith("static void") else ()))
    added, assigned = _ADDED.match(line), _ASSIGNED.match(line)
    if added:
        name = (added["d"] or "") + added["name"].rstrip("_")
    elif assigned and not _NO_VALUE.match(line, assigned.end()):
        name = assigned[1]
    else:
        return ()
    places = {anchors[name]: name for name in reversed(_meant(name, anchors))}
    return tuple((name, anchor) for anchor, name in reversed(places.items()))


def _meant(name: str, known: Mapping[str, str]) -> list[str]:
    """The arrays that a name of generated code stands for."""
    for _ in _SUFFIXES:
        if name in known:
            return [name]
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
    prefix = "d_" if name.startswith("d_") else ""
    first, *rest = name.removeprefix(prefix).split("_")
    together = [prefix + part for part in (first, *rest)]
    if rest and all(part in known for part in together):
        return together  # i_f_o
    gates = [f"{prefix}{first}_{part}" for part in rest]
    if rest and all(gate in known for gate in gates):
        return gates  # a_i_f_o
    last = f"_{rest[-1]}" if rest else ""
    pattern = re.compile(f"{re.escape(prefix + first)}_(?!next)[A-Za-z0-9]+{re.escape(last)}")
    return [other for other in known if pattern.fullmatch(other)]  # d_a, U_h
