"""`derive read`: a paper's equations as `.cell` text.

In: the path of a LaTeX file, or - for standard input; a name; meanings of single symbols.
Out: `.cell` text on standard output, what was concluded on standard error.
Not here: reading LaTeX (papers/).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from derive.cli import console
from derive.errors import ArgumentError


def run(file: str, name: str, meanings: Sequence[str]) -> int:
    from derive.papers import read

    told = dict(map(_meaning, meanings))
    reading = read(_text(file), "<stdin>" if file == "-" else file, name, told)
    for error in reading.errors:
        console.say(f"{error}\n")
    if reading.checked is None:
        return 2
    for line in reading.said:
        console.say(line)
    unknown = [symbol for symbol in told if symbol not in reading.known]
    if unknown:
        console.say(
            f"--as {unknown[0]}: there is no such name; the names are those of the text below"
        )
    console.result(reading.text)
    return 1 if reading.errors else 0


def _meaning(text: str) -> tuple[str, str]:
    symbol, sign, meaning = (part.strip() for part in text.partition("="))
    if not sign or not symbol or not meaning:
        raise ArgumentError(f"'{text}' gives no meaning", hint="--as W_ci=vector")
    return symbol, meaning


def _text(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file} is not UTF-8 text: byte {error.start} is wrong") from error
