"""Cells as one types them in a shell: `lstm:peephole=true,forget_bias=1`.

In: the text of a spec.  Out: a Checked cell; ArgumentError where the text means nothing.
Not here: what an option may be (option.py), which entries there are (entries.py).

    spec    = entry [":" option "=" value {"," option "=" value}]
    value   = true | false | none | a number | a name
"""

from __future__ import annotations

import contextlib
import dataclasses

from derive.catalogue.entries import ENTRIES, function_of
from derive.catalogue.option import Option, Value, no_value, table_of, to_text, unknown
from derive.errors import ArgumentError, ArgumentTypeError
from derive.language.checked import Checked


def from_spec(text: str) -> Checked:
    """The cell that `text` describes. What an entry presets may be set again."""
    if not isinstance(text, str):
        raise ArgumentTypeError(
            f"a spec is a str, not {type(text).__name__}", hint='from_spec("lstm:peephole=true")'
        )
    entry, colon, rest = text.partition(":")
    name, table = entry.strip(), {option.name: option for option in options(entry.strip())}
    given: dict[str, Value] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise _incomplete(text, name, key, table)
        if key not in table:
            raise unknown(f"{name} has no option '{key}'", key, table, ArgumentError)
        if key in given:
            raise ArgumentError(f"{key} is given twice in '{text}'")
        given[key] = _read(name, table[key], value)
    base, preset = ENTRIES[name]
    return function_of(base)(**{**preset, **given})


def options(name: str) -> tuple[Option, ...]:
    """The options of an entry; the defaults are those it presets."""
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"the name of a cell is a str, not {type(name).__name__}", hint='options("lstm")'
        )
    if name not in ENTRIES:
        what = f"the catalogue has no cell '{name}'"
        raise unknown(what, name, ENTRIES, ArgumentError)
    base, preset = ENTRIES[name]
    return tuple(
        dataclasses.replace(option, default=preset.get(option.name, option.default))
        for option in table_of(function_of(base))
    )


def _incomplete(text: str, name: str, key: str, table: dict[str, Option]) -> ArgumentError:
    if key and key not in table:
        return unknown(f"{name} has no option '{key}'", key, table, ArgumentError)
    what = f"'{key}' has no value in '{text}'" if key else f"an option is missing in '{text}'"
    option = table.get(key) or next(iter(table.values()), None)
    if option is None:
        return ArgumentError(what, hint=name)
    value = to_text(option.values[0]) if option.values else "1"
    return ArgumentError(what, hint=f"{name}:{option.name}={value}")


def _read(name: str, option: Option, text: str) -> Value:
    """The value that `text` spells, in the option's own type."""
    for value in (*option.values, None) if option.optional else option.values:
        if text == to_text(value) or (option.kind is bool and text.lower() == to_text(value)):
            return value
    if option.kind is float:
        with contextlib.suppress(ValueError):
            return float(text)
    raise no_value(name, option, text or "empty", ArgumentError)
