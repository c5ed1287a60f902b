"""`--what texts`: damaged and made-up texts, of which the parser may say nothing but a DeriveError.

In: choices of hypothesis.  Out: nothing, or a Fault.
Not here: cells that are meant to be right (cells_room.py).

A text that is a cell all the same must come back from its canonical text, and NumPy code must come
out of it. Nothing may take long, and nothing may run: a text is data.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

import derive
from derive import pipeline, targets
from derive.cell import Cell
from derive.errors import DeriveError
from derive.fuzz.fault import Fault, fault
from derive.fuzz.grammar import cells

_SECONDS = 20
_WORDS = (
    *"h x W b h' h_next cell input state param const output doc vary self int double None".split(),
    *"1 0 0.5 -1 + - * / @ ** .T . , : = == < >= != ( ) ' \'\' # where( clip( sum( tanh(".split(),
    *"layer_norm( sqrt( log( stop_gradient( maximum( softmax( round( 1e400 1e-400 1e999999".split(),
    *"0x10 1_0 007 1.2.3 1e I H 4 -3 1.5 [ ] { } // % ^ & | ~ ! ; \\ ` $ ? lambda True".split(),
    *"if else for nan inf pi e h_prev _ __class__ import __import__('os') \"".split(),
    *"**2 **0.5 **-1 **1000 **99999999999 **(1/3) **h /0 *0".split(),
    "9" * 50, "H x I", "0 x 1", " ", "\t", "\n", "\r", "\x00", "\x1b", "\x85", "\u2028",
    "\u03c3", "\u00d7", "\u2212", "\u2019", "\u0660", "\u200b", "\ufeff", "\U0001f600",
)  # fmt: skip
_SHAPES = (
    "cell {0}", "input {0}: {1}", "state {0}: {1}", "param {0}: {1}", "const {0} = {1}",
    "{0} = {1} {2} {3}", "h' = {0}({1} {2} {3})", "output {0}", "{0}' = {1}", "doc {0}", "{0} {1}",
)  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z_]\w*'?|\d+\.?\d*|\*\*|[<>=!]=|\s|.", re.DOTALL)


class TextsRoom:
    """counts: texts, of which so many were cells."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._catalogue: tuple[str, ...] = ()
        self._text: str | bytes = ""

    def example(self, data: st.DataObject) -> None:
        text: str | bytes = data.draw(_texts(self._known()))
        if data.draw(st.integers(0, 4)) == 4:
            text = data.draw(_bytes(text.encode("utf-8", "surrogatepass")))  # type: ignore[union-attr]
        self._text = text
        with _not_longer_than(_SECONDS):
            cell = _parsed(text)
            if cell is not None:
                _check_cell(cell)
        self.counts["texts"] += 1
        self.counts["texts that are cells"] += cell is not None

    def _known(self) -> tuple[str, ...]:
        if not self._catalogue:
            names = [name for name in derive.cells.names() if name in _SHORT]
            self._catalogue = tuple(getattr(derive.cells, n)().to_text() for n in names)
        return self._catalogue

    def case(self, found: Fault) -> str:
        if isinstance(self._text, bytes):
            return (
                "import derive, pathlib\n\n"
                f'pathlib.Path("fuzzed.cell").write_bytes({self._text!r})\n'
                'cell = derive.load("fuzzed.cell")\n'
                'derive.emit(cell, "numpy")\n'
            )
        return (
            f"import derive\n\ncell = derive.Cell.parse({self._text!r})\n"
            'derive.emit(cell, "numpy")\n'
        )

    def cell_text(self) -> str:
        if isinstance(self._text, bytes):
            return self._text.decode("utf-8", "replace")
        return self._text

    def close(self) -> None: ...


_SHORT = ("rnn", "gru", "lstm", "janet", "min_gru", "lstm_peephole", "lstm_projection", "sru")


@st.composite
def _texts(draw: st.DrawFn, known: tuple[str, ...]) -> str:
    source = draw(st.sampled_from(("made up", "grammar", "catalogue", "grammar", "catalogue")))
    if source == "made up":
        return draw(_made_up())
    text = draw(cells()).inferred if source == "grammar" else draw(st.sampled_from(known))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 2, 3, 6)))):
        text = draw(st.sampled_from((_edit_word, _edit_line, _edit_character, _nest)))(draw, text)
    return text


@st.composite
def _made_up(draw: st.DrawFn) -> str:
    """Lines of the right shape with any words in them."""
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        shape = draw(st.sampled_from(_SHAPES))
        words = [draw(st.sampled_from(_WORDS)) for _ in range(4)]
        lines.append(shape.format(*words))
    return "\n".join(lines)


def _edit_word(draw: st.DrawFn, text: str) -> str:
    words = _TOKEN.findall(text)
    if not words:
        return draw(st.sampled_from(_WORDS))
    at = draw(st.integers(0, len(words) - 1))
    kind = draw(st.sampled_from(("drop", "replace", "insert", "double", "swap")))
    if kind == "drop":
        del words[at]
    elif kind == "replace":
        words[at] = draw(st.sampled_from((*_WORDS, *words)))
    elif kind == "insert":
        words.insert(at, draw(st.sampled_from((*_WORDS, *words))))
    elif kind == "double":
        words.insert(at, words[at])
    else:
        other = draw(st.integers(0, len(words) - 1))
        words[at], words[other] = words[other], words[at]
    return "".join(words)


def _edit_line(draw: st.DrawFn, text: str) -> str:
    lines = text.split("\n")
    at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    kind = draw(st.sampled_from(("drop", "double", "swap", "join")))
    if kind == "drop":
        del lines[at]
    elif kind == "double":
        lines.insert(other, lines[at])
    elif kind == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at : at + 2] = [" ".join(lines[at : at + 2])]
    return "\n".join(lines)


def _edit_character(draw: st.DrawFn, text: str) -> str:
    at = draw(st.integers(0, len(text)))
    wide = draw(st.integers(0, 3))
    new = draw(st.text(max_size=2))
    return text[:at] + new + text[at + wide :]


def _nest(draw: st.DrawFn, text: str) -> str:
    """Something large: brackets, functions or sums by the hundred."""
    words = _TOKEN.findall(text)
    names = [k for k, word in enumerate(words) if word[0].isalpha()] or [0]
    at = draw(st.sampled_from(names))
    many = draw(st.sampled_from((3, 30, 61, 250, 3000)))
    form = draw(
        st.sampled_from(("({})", "tanh({})", "-{}", "{} + {}", "{} * h", "where({} < 0, {}, 1)"))
    )
    word = words[at] if words else "h"
    if form in ("({})", "tanh({})"):
        left, right = form.split("{}")
        new = left * many + word + right * many
    elif form == "-{}":
        new = "-" * many + word
    else:
        new = word
        for _ in range(min(many, 9) if form.count("{}") > 1 else many):
            new = form.format(*[new] * form.count("{}"))
    words[at : at + 1] = [new]
    return "".join(words)


@st.composite
def _bytes(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        wide = draw(st.integers(0, 3))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + wide :]
    return data


# --- what must hold -------------------------------------------------------------------------


def _parsed(text: str | bytes) -> Cell | None:
    try:
        if isinstance(text, str):
            return Cell.parse(text)
        with tempfile.TemporaryDirectory(prefix="derive-fuzz-") as folder:
            path = os.path.join(folder, "fuzzed.cell")
            with open(path, "wb") as file:
                file.write(text)
            return Cell.load(path)
    except DeriveError as error:
        if not str(error).strip() or "Traceback" in str(error):
            raise fault("an error says nothing", repr(error)) from error
        return None
    except _TooLong as error:
        raise fault("parsing does not end", f"not within {_SECONDS} s") from error
    except Exception as error:
        raise fault(f"parsing raises {type(error).__name__}", _lines(error)) from error


def _check_cell(cell: Cell) -> None:
    try:
        again = Cell.parse(cell.to_text())
        if again != cell or again.to_text() != cell.to_text():
            raise fault("canonical text is another cell", cell.to_text())
        pipeline.emit(cell, targets.plain().name)
    except Fault:
        raise
    except _TooLong as error:
        raise fault("generating does not end", f"not within {_SECONDS} s") from error
    except Exception as error:
        kind = f"generating of a cell raises {type(error).__name__}"
        raise fault(kind, _lines(error)) from error


def _lines(error: Exception) -> str:
    return "\n".join("".join(traceback.format_exception(error)).splitlines()[-7:])


class _TooLong(BaseException):
    """Not an Exception: what is fuzzed must not catch it."""


@contextlib.contextmanager
def _not_longer_than(seconds: float) -> Iterator[None]:
    """Where the system has such a signal, and in the main thread."""
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(*_: Any) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
