"""Whether the options of a variant are of the kinds that they have to be.

In: what a user gave.  Out: nothing, or the error that says what has to be given.
Not here: what the options do (vary.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from derive.errors import ArgumentTypeError


def check_options(
    *, mappings: Mapping[str, Any], names: Mapping[str, Any], lists: Mapping[str, Any]
) -> None:
    """Options by name. mappings: from names to anything; names: from names to names; lists: of
    texts, or one."""
    for label, given in mappings.items():
        _check_mapping(label, given)
    for label, given in names.items():
        _check_names(label, given)
    for label, given in lists.items():
        # What is neither text nor several is looked at later, one by one.
        if isinstance(given, Mapping) or getattr(given, "ndim", 1) == 0:
            raise ArgumentTypeError(
                f"{label} is text, or several, not {type(given).__name__}", hint=f'{label}="..."'
            )


def _check_mapping(label: str, given: Any) -> None:
    if given is not None and not isinstance(given, Mapping):
        raise ArgumentTypeError(
            f"{label} is a mapping from names, not {type(given).__name__}",
            hint=f'{label}={{"name": "..."}}',
        )


def _check_names(label: str, given: Any) -> None:
    _check_mapping(label, given)
    for text in (each for item in (given or {}).items() for each in item):
        if not isinstance(text, str):
            raise ArgumentTypeError(
                f"{label} has {type(text).__name__} where a name has to be",
                hint=f'{label}={{"name": "other"}}',
            )
