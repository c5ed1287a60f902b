"""Every error a user can meet: what went wrong, where, the facts, and what to type instead.

In: the four parts of a message.  Out: exception classes, all children of `DeriveError`.
Not here: the decision that something is wrong; each stage makes its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a user's text: file, one-based line and column, and the line itself."""

    file: str
    line: int
    column: int
    text: str

    def head(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The offending line with a caret under the column."""
        indent = " " * 4
        kept = "".join("\t" if c == "\t" else " " for c in self.text[: self.column - 1])
        return f"{indent}{self.text}\n{indent}{kept}^"


class DeriveError(Exception):
    """A mistake in what the user gave, told in four parts.

    `what` is one line; `place` says where (or None); `facts` are lines such as
    "a_z has width H"; `hint` can be pasted.
    """

    def __init__(
        self,
        what: str,
        *,
        place: Place | None = None,
        facts: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.place = place
        self.facts = facts
        self.hint = hint
        super().__init__(self.render())

    def render(self) -> str:
        lines = [f"{self.place.head()}: {self.what}" if self.place else self.what]
        if self.place:
            lines.append(self.place.excerpt())
        lines.extend(f"  {fact}" for fact in self.facts)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class CellError(DeriveError, ValueError):
    """The declaration of a cell is wrong: its text, a name, a shape."""


class CellErrors(CellError):
    """Several mistakes of one declaration, reported together.

    `errors` holds each of them; the text is theirs, one after the other.
    """

    def __init__(self, errors: tuple[CellError, ...]) -> None:
        self.errors = errors
        first = errors[0]
        super().__init__(first.what, place=first.place, facts=first.facts, hint=first.hint)

    def __reduce__(self) -> tuple[type[CellErrors], tuple[tuple[CellError, ...]]]:
        """What another process gets: an exception is made again of its text otherwise."""
        return type(self), (self.errors,)

    def render(self) -> str:
        return "\n\n".join(error.render() for error in self.errors)


class ArgumentError(DeriveError, ValueError):
    """An argument has a wrong name, shape, length or value."""


class ArgumentTypeError(DeriveError, TypeError):
    """An argument has a wrong type or dtype."""


class ProgramError(DeriveError):
    """An internal Program breaks a rule of its own: a fault of `derive`, never of the user."""


class InternalError(ProgramError):
    """A stage failed on a legal cell: a fault of `derive`. It says which stage and which cell."""


class BuildError(DeriveError):
    """No compiler was found, or it refused the generated text, or the result did not load."""


class ToolchainError(BuildError):
    """This machine cannot build: no compiler that works, no room, a folder that forbids
    execution. It says nothing about the text that was to be built."""


class VerificationError(DeriveError):
    """Generated kernels failed their verification; nothing was written."""


class TrialError(DeriveError):
    """A trial of a race was lost: the process that ran it died, or the executor gave it up."""
