"""LaTeX of a formula -> tokens.

In: a text and the part of it that is a formula.  Out: tokens, each with its place.
Not here: which parts are formulas (passages.py), what tokens mean together (parse.py).

What only changes how a formula looks is dropped here: fonts, sizes, numbers and labels of
equations, `\\left` and `\\right`. Letters and signs of Unicode become the commands they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from derive.errors import CellError, Place
from derive.language.tokens import Source


@dataclass(frozen=True, slots=True)
class Text:
    """A LaTeX text, and where each of its offsets lies."""

    source: Source
    text: str

    def place(self, at: int) -> Place:
        before = self.text[:at]
        return self.source.place(before.count("\n") + 1, at - before.rfind("\n"))

    def error(
        self, what: str, at: int, hint: str | None = None, facts: tuple[str, ...] = ()
    ) -> CellError:
        return CellError(what, place=self.place(at), facts=facts, hint=hint)


@dataclass(frozen=True, slots=True)
class Token:
    """kind: letter, number, word (several upright letters), command, sign, open, close, row
    (two backslashes), tab (&), space, text (prose inside a formula), begin, end (of what)."""

    kind: str
    text: str
    at: int


#: Commands that change the look alone, without and with an argument that stays.
_LOOKS = frozenset(
    "displaystyle textstyle scriptstyle limits nolimits nonumber notag middle noindent centering"
    " mathstrut big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm left right"
    " allowbreak relax hfill bf rm it boldmath small normalsize hline par strut protect".split()
)
_FONTS = frozenset(
    "mathbf boldsymbol bm pmb mathbb vec ensuremath mathord mathbin"
    " underline mathop mathrel mathclose mathopen smash boxed".split()
)
_UPRIGHT = frozenset("mathrm mathit mathsf mathtt operatorname textsc textsf texttt".split())
_PROSE = frozenset("text textrm textit textbf textnormal mbox hbox intertext emph".split())
#: Words of text between formulas, which name nothing.
_JOINERS = frozenset("and or where with for if when while let so then otherwise else".split())
#: Commands that vanish with their argument.
_ASIDES = frozenset("label tag eqref ref cite citep citet hspace vspace color phantom".split())
_SPACES = frozenset("quad qquad enspace thinspace".split())

_UNICODE = {
    "σ": "\\sigma", "φ": "\\phi", "ϕ": "\\phi", "ψ": "\\psi", "α": "\\alpha", "β": "\\beta",
    "γ": "\\gamma", "δ": "\\delta", "ε": "\\epsilon", "ϵ": "\\epsilon", "ζ": "\\zeta",
    "η": "\\eta", "θ": "\\theta", "κ": "\\kappa", "λ": "\\lambda", "μ": "\\mu", "ν": "\\nu",
    "ξ": "\\xi", "ρ": "\\rho", "τ": "\\tau", "χ": "\\chi", "ω": "\\omega", "π": "\\pi",
    "Γ": "\\Gamma", "Δ": "\\Delta", "Θ": "\\Theta", "Λ": "\\Lambda", "Σ": "\\Sigma",
    "Φ": "\\Phi", "Ψ": "\\Psi", "Ω": "\\Omega",
    "⊙": "\\odot", "∘": "\\circ", "∗": "*", "·": "\\cdot", "⋅": "\\cdot", "×": "\\times",
    "⊗": "\\otimes", "−": "-", "–": "-", "≤": "\\le", "≥": "\\ge", "≠": "\\ne", "∈": "\\in",
    "′": "'", "’": "'", "⟨": "\\langle", "⟩": "\\rangle", "←": "\\leftarrow", "⊤": "\\top",
    "ᵀ": "^T", "ℝ": "R", "½": "\\frac12",
}  # fmt: skip
_LOW = {**dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎", "0123456789+-()", strict=True)), "ₜ": "t", "ₕ": "h",
        "ₓ": "x", "ᵢ": "i", "ⱼ": "j", "ₙ": "n", "ₖ": "k", "ₒ": "o", "ᵣ": "r", "ₚ": "p", "ₛ": "s",
        "ₗ": "l", "ₘ": "m", "ₐ": "a", "ₑ": "e", "ᵤ": "u", "ᵥ": "v"}  # fmt: skip
_ACCENTS = {"\u0303": "tilde", "\u0302": "hat", "\u0304": "bar", "\u0305": "bar", "\u0307": "dot"}

_COMMAND = re.compile(r"\\([A-Za-z]+)\*?|\\(.)", re.DOTALL)
#: A name of several letters, wkv_t or net_c(t); a product has spaces between its letters.
_WORD = re.compile(r"[a-z]{3,}(?=[_^(])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_ENVIRONMENT = re.compile(r"\s*\{([A-Za-z]+\*?)\}")


def tokens(text: Text, start: int, end: int) -> list[Token]:
    """The tokens of a formula."""
    return list(_Scan(text, start, end).run())


class _Scan:
    def __init__(self, text: Text, start: int, end: int) -> None:
        self.whole, self.text = text, text.text
        self.at, self.end = start, end
        self.depth: list[bool] = []  # for each open brace, whether it is a token

    def run(self) -> Iterator[Token]:
        while self.at < self.end:
            yield from self.step()
        if self.depth:
            raise self.whole.error("'{' is never closed in this formula", self.end)

    def step(self) -> Iterator[Token]:
        at, character = self.at, self.text[self.at]
        if character == "\\":
            yield from self.command()
            return
        if number := _NUMBER.match(self.text, at, self.end):
            self.at = number.end()
            yield Token("number", number[0], at)
            return
        self.at += 1
        if character == "%":
            line = self.text.find("\n", at, self.end)
            self.at = self.end if line < 0 else line + 1
        elif character == "{" and self.text[at + 1 : min(at + 2, self.end)] == "}":
            self.at += 1
        elif character == "{":
            self.depth.append(True)
            yield Token("open", "{", at)
        elif character == "}":
            yield from self.closing(at)
        elif character == "&":
            yield Token("tab", "&", at)
        elif (word := _WORD.match(self.text, at, self.end)) and not self.text[
            at - 1 : at
        ].isalpha():
            self.at = word.end()
            yield Token("word", word[0], at)
        elif character.isascii() and character.isalpha():
            yield from self.accented(Token("letter", character, at))
        elif character in _LOW:
            yield from self.lowered(at)
        elif character in _UNICODE:
            yield from self.replaced(_UNICODE[character], at)
        elif character == ":" and self.text[at + 1 : at + 2] == "=":
            self.at += 1
            yield Token("sign", "=", at)
        elif character == "." and self.text[at + 1 : at + 2] == "*":
            self.at += 1
            yield Token("command", "odot", at)
        elif character in "+-*/=()[]|,;:<>'^_!.":
            yield Token("sign", character, at)
        elif not character.isspace() and character not in "~$":
            shown = character if character.isprintable() else f"U+{ord(character):04X}"
            raise self.whole.error(f"'{shown}' has no meaning in a formula", at)

    def accented(self, letter: Token) -> Iterator[Token]:
        """A letter, and the accent that Unicode puts behind it."""
        following = self.text[self.at : self.at + 1]
        if following in _ACCENTS and self.at < self.end:
            self.at += 1
            yield Token("command", _ACCENTS[following], letter.at)
        yield letter

    def closing(self, at: int) -> Iterator[Token]:
        if not self.depth:
            raise self.whole.error("'}' closes nothing", at)
        if self.depth.pop():
            yield Token("close", "}", at)

    def lowered(self, at: int) -> Iterator[Token]:
        yield Token("sign", "_", at)
        yield Token("open", "{", at)
        self.at = at
        while self.at < self.end and self.text[self.at] in _LOW:
            plain = _LOW[self.text[self.at]]
            kind = "letter" if plain.isalpha() else "number" if plain.isdigit() else "sign"
            yield Token(kind, plain, self.at)
            self.at += 1
        yield Token("close", "}", at)

    def replaced(self, by: str, at: int) -> Iterator[Token]:
        if by.startswith("\\frac"):
            yield Token("command", "frac", at)
            yield Token("number", "1", at)
            yield Token("number", "2", at)
        elif by == "^T":
            yield Token("sign", "^", at)
            yield Token("letter", "T", at)
        elif by.startswith("\\"):
            yield Token("command", by[1:], at)
        else:
            yield Token("letter" if by.isalpha() else "sign", by, at)

    # --- commands --------------------------------------------------------------------------

    def command(self) -> Iterator[Token]:
        at = self.at
        found = _COMMAND.match(self.text, at, self.end)
        if found is None:
            raise self.whole.error("a command is missing after this backslash", at)
        self.at = found.end()
        name = found[1]
        if name is None:
            yield from self.short(found[2], at)
        elif name in ("begin", "end"):
            yield Token(name, self.environment(name, at), at)
        elif name in _LOOKS:
            if name in ("left", "right") and self.text[self.at : self.at + 1] == ".":
                self.at += 1
        elif name in _SPACES:
            yield Token("space", name, at)
        elif name in _ASIDES:
            self.argument(at)
        elif name in _PROSE or name in _UPRIGHT:
            yield from self.upright(name, at)
        elif name in _FONTS:
            yield from self.font()
        else:
            yield Token("command", name, at)

    def short(self, character: str, at: int) -> Iterator[Token]:
        if character == "\\":
            if gap := re.compile(r"\*?\s*\[[^\]]*(?:pt|em|ex|mm|cm)\]").match(self.text, self.at):
                self.at = gap.end()
            yield Token("row", "\\\\", at)
        elif character in ",;: >!\n\t" or character in "()[]/":
            yield Token("space", character, at)
        elif character in "{}|":
            yield Token("sign", "\\" + character, at)
        elif character in "_%&#$":
            yield Token("letter", character, at)
        elif character in "-'^`\"~=.":
            yield Token("space", character, at)
        else:
            raise self.whole.error(f"'\\{character}' has no meaning in a formula", at)

    def environment(self, name: str, at: int) -> str:
        found = _ENVIRONMENT.match(self.text, self.at, self.end)
        if found is None:
            raise self.whole.error(f"\\{name} names no environment", at, f"\\{name}{{cases}}")
        self.at = found.end()
        inner = found[1].rstrip("*")
        if name == "begin" and inner in ("array", "alignat", "aligned", "tabular"):
            columns = re.compile(r"\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}").match(self.text, self.at)
            if columns and columns.end() <= self.end and inner != "aligned":
                self.at = columns.end()
        return inner

    def argument(self, at: int) -> tuple[int, int]:
        """The bounds of the braces that follow, and a step behind them."""
        space = re.compile(r"\s*\*?").match(self.text, self.at)
        assert space is not None
        begin = space.end()
        if self.text[begin : begin + 1] != "{":
            return begin, begin
        depth, k = 0, begin
        while k < self.end:
            if self.text[k] == "\\":
                k += 2
                continue
            depth += (self.text[k] == "{") - (self.text[k] == "}")
            k += 1
            if depth == 0:
                self.at = k
                return begin + 1, k - 1
        raise self.whole.error("'{' is never closed in this formula", begin)

    def font(self) -> Iterator[Token]:
        """A font with braces: the braces are no group, their content stays; a word is a name."""
        space = re.compile(r"\s*").match(self.text, self.at)
        assert space is not None
        if word := re.compile(r"\{([a-z]{3,})\}").match(self.text, space.end(), self.end):
            self.at = word.end()
            yield Token("word", word[1], word.start(1))
        elif self.text[space.end() : space.end() + 1] == "{":
            self.depth.append(False)
            self.at = space.end() + 1

    def upright(self, name: str, at: int) -> Iterator[Token]:
        """One letter is a letter, several are a word, anything else in text is prose."""
        begin, stop = self.argument(at)
        inner = self.text[begin:stop]
        plain = re.sub(r"\\_", "_", inner.strip())
        plain = re.sub(r"\\[,;: !]|[{}~]", "", plain)
        if re.fullmatch(r"[A-Za-z]", plain):
            yield from self.accented(Token("letter", plain, begin))
        elif re.fullmatch(r"[A-Za-z][A-Za-z0-9_ -]*", plain) and (
            name in _UPRIGHT or (" " not in plain and plain.lower() not in _JOINERS)
        ):
            yield Token("word", re.sub(r"[ -]", "_", plain), begin)
        elif name in _PROSE:
            yield Token("text", inner.replace("$", ""), begin)
        else:
            yield from _Scan(self.whole, begin, stop).run()
