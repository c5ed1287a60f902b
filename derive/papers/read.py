"""A paper's equations as LaTeX -> `.cell` text, and what was concluded.

In: a text, a name for the cell, and what the reader knows of single symbols.
Out: `Reading`: the cell, its text, conclusions, and what could not be read.
Not here: statements (passages.py, statements.py), the cell that they make (assemble.py).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace

from derive.errors import ArgumentError, CellError, CellErrors
from derive.language import check_shapes, declare, names, parse_text
from derive.language.checked import Checked
from derive.language.tokens import Source
from derive.papers import symbols as scripts
from derive.papers.aligned import align
from derive.papers.assemble import Assembly
from derive.papers.memories import settled, vectors_are_rows
from derive.papers.passages import Statement, passages
from derive.papers.roles import MEANINGS, Equation, Roles, name_of
from derive.papers.statements import Collected, with_index
from derive.papers.tokens import Text
from derive.papers.translate import Translator
from derive.papers.tree import Symbol, changed, symbols
from derive.papers.vocabulary import FUNCTIONS

NAME = "paper"
_SECTION = re.compile(r"\\end\{document\}|\\section\*?\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Reading:
    """checked: None where the equations that were read are no cell.  text: `.cell` text, with what
    was not read as comments.  said: what was concluded, a line each.  errors: what was not
    understood, with its place in the LaTeX."""

    checked: Checked | None
    text: str
    said: tuple[str, ...]
    errors: tuple[CellError, ...]
    known: frozenset[str] = frozenset()  # every name that a meaning may be told of

    def cell(self) -> Checked:
        """The cell; CellError if anything was not understood."""
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else CellErrors(self.errors)
        assert self.checked is not None
        return self.checked


def read(
    latex: str, file: str = "<latex>", name: str = NAME, told: Mapping[str, str] | None = None
) -> Reading:
    """The cell that a paper's equations describe.

    told: {name in the `.cell` text: "input", "matrix", "vector", "scalar", a number or a function},
    for what the equations alone do not say.
    """
    if (fault := names.fault(name)) is not None:
        raise ArgumentError(fault[0], hint=fault[1])
    _check_told(told or {})
    lines = tuple(re.split(r"\r\n|\r|\n", latex.removeprefix("\ufeff")))
    text = Text(Source(file, lines), "\n".join(lines))
    try:
        found = list(passages(text))
        letters = scripts.indices([p for p in found if isinstance(p, Statement)])
        collected = Collected(text, letters)
        collected.add(found)
    except CellError as error:
        return Reading(None, "", (), (error,))
    except RecursionError:
        return Reading(None, "", (), (text.error("this nests too deeply", 0),))
    return _together(collected, name, dict(told or {}))


def _check_told(told: Mapping[str, str]) -> None:
    for name, meaning in told.items():
        known = meaning in (*MEANINGS, *FUNCTIONS)
        if not known and not re.fullmatch(r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?", meaning):
            raise ArgumentError(
                f"'{meaning}' is no meaning of {name}",
                facts=(f"known: {', '.join(MEANINGS)}, a number, a function of the language",),
                hint=f"{name}=vector",
            )


def _together(found: Collected, name: str, told: Mapping[str, str]) -> Reading:
    """The cell of the equations that were read."""
    found.equations = align(_indexed(found))
    shaped = {key: len(dims) for key, dims in found.shaped.items()}
    mentioned = frozenset(
        k for k in found.mentioned if k not in found.consts and k not in found.macros
    )
    roles = Roles(found.equations, found.macros, told, shaped, mentioned)
    for key in found.begun & set(roles.defined):
        roles.lags[key] = min(-1, roles.lags.get(key, -1))
    printed = _all_printed(found, roles)
    translator = _translator(found, roles, told, printed)
    known = {roles.name(symbol.key) for e in found.equations for symbol in symbols(e.right)}
    known |= {name_of(key) for key in found.macros}
    errors = found.errors
    try:
        declaration = Assembly(name, told, found, roles, translator).declaration()
        check_shapes.check(declaration)
        text = parse_text.to_text(declaration)
        checked = declare.from_text(text, f"{name}.cell")
    except CellErrors as several:
        return Reading(None, "", (), (*errors, *several.errors), frozenset(known))
    except CellError as error:
        return Reading(None, "", (), (*errors, error), frozenset(known))
    said = (*_conclusions(checked), *translator.notes, *_diagonal(found, checked))
    return Reading(checked, text + _kept(found), said, tuple(errors), frozenset(known))


def _all_printed(found: Collected, roles: Roles) -> bool:
    """Whether lines such as "Inputs: ..." give the shapes of all arrays that a cell declares."""
    used = {s.key for e in found.equations for s in symbols(e.right)}
    given = {*found.labelled, *found.consts, *roles.macros}
    return bool(found.labelled) and all(
        key in given or (key in roles.defined and not roles.is_state(key)) or key[0] == "sigma"
        for key in used
    )


def _translator(
    found: Collected, roles: Roles, told: Mapping[str, str], printed: bool
) -> Translator:
    """A translator that knows which arrays are matrices."""
    rows = vectors_are_rows(found.equations, roles)

    def made(ranks: Mapping[str, int]) -> Translator:
        return Translator(found.text, roles, ranks, rows, printed)

    known = {name_of(k): 2 for k in roles.arrays if told.get(name_of(k)) == "matrix"}
    if printed:
        known = {roles.name(k): len(found.shaped[k]) for k in found.labelled}
    ranks = settled(
        found.equations, roles, known, rows, lambda now, e, row: made(now).definition(e, row)
    )
    return made(ranks)


def _indexed(found: Collected) -> list[Equation]:
    """The equations, parameters W_t of the paper being no arrays of step t."""

    def change(symbol: Symbol) -> Symbol:
        if symbol.key in found.indexed and symbol.time == 0:
            return with_index(symbol, found.letters.time)
        return symbol

    return [replace(e, right=changed(e.right, change)) for e in found.equations]


def _conclusions(checked: Checked) -> list[str]:
    def listed(shapes: Mapping[str, tuple[str | int, ...]]) -> str:
        parts = (f"{n}: {' x '.join(map(str, s))}" for n, s in shapes.items())
        return ", ".join(parts) or "none"

    said = [
        f"inputs      {listed(checked.inputs)}",
        f"states      {listed(checked.states)}",
        f"parameters  {listed(checked.params)}",
    ]
    if checked.consts:
        said.append(f"constants   {', '.join(checked.consts)}")
    said.append(f"outputs     {', '.join(checked.output_keys)}")
    return said


def _diagonal(found: Collected, checked: Checked) -> list[str]:
    """Matrices that a sentence may call diagonal: it names one of them."""
    texts = [found.text.text[start:end] for start, end in sorted(found.asides)]
    sentences = re.split(r"\.\s+(?=[A-Z])", " ".join(texts))
    for sentence in sentences:
        if re.search(r"\bdiagonal\b", sentence):
            plain = re.sub(r"[\\{}$]|mathbf|boldsymbol|bm", "", sentence)
            square = [n for n, shape in checked.params.items() if len(set(shape)) < len(shape)]
            named = next((n for n in square if re.search(rf"\b{n}\b", plain)), None)
            if named is not None:
                return [f"the text says 'diagonal':  --as {named}=vector  for such a matrix"]
    return []


def _kept(found: Collected) -> str:
    """What is no equation or was not read, as comments; a sentence with its formulas."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found.asides):
        if merged and not re.search(r"[A-Za-z]", found.text.text[merged[-1][1] : start]):
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    lines: list[str] = []
    for start, end in merged:
        start -= found.text.text[start - 1 : start] == "$"
        end += found.text.text[end : end + 1] == "$"
        kept = " ".join(_SECTION.sub(" ", found.text.text[start:end]).split())
        if re.search(r"[A-Za-z]", kept):
            lines += textwrap.wrap(kept, 92, initial_indent="# ", subsequent_indent="#   ")
    return "\n# From the text:\n" + "\n".join(lines) + "\n" if lines else ""
