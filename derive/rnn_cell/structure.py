"""Nested states, as TensorFlow has them: tuples, LSTMStateTuples, and states joined in columns.

In: a template whose leaves are names of a kernel's states, and a value of its structure.
Out: {name: array}, and the way back.
Not here: which class has which structure (core_cells.py, contrib_cells.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text, read, shape_text
from derive.kernel.signature import Array, Arrays


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM: the cell state and the output."""

    c: Any
    h: Any


@dataclass(frozen=True, slots=True)
class Joined:
    """States that lie side by side in one array [B, sum of widths]; `state_is_tuple=False`."""

    parts: tuple[Template, ...]


#: A state's name, a tuple of templates (an LSTMStateTuple among them), or Joined ones.
Template = Any


def leaves(template: Template) -> Iterator[str]:
    """Names of states, in the order of the structure."""
    if isinstance(template, str):
        yield template
    else:
        for part in template.parts if isinstance(template, Joined) else template:
            yield from leaves(part)


def mapped(template: Template, leaf: Callable[[str], Any], joined: Callable[..., Any]) -> Any:
    """A value of the structure: leaf(name) for names, joined(values) for joined ones."""
    if isinstance(template, str):
        return leaf(template)
    parts = template.parts if isinstance(template, Joined) else template
    values = [mapped(part, leaf, joined) for part in parts]
    if isinstance(template, Joined):
        return joined(values)
    return LSTMStateTuple(*values) if isinstance(template, LSTMStateTuple) else tuple(values)


def renamed(template: Template, names: Mapping[str, str]) -> Template:
    return mapped(template, lambda name: names[name], lambda parts: Joined(tuple(parts)))


def sizes_of(template: Template, widths: Mapping[str, int]) -> Any:
    """state_size: the widths in the structure; joined ones add up."""
    return mapped(template, lambda name: widths[name], sum)


def built(template: Template, arrays: Mapping[str, Array]) -> Any:
    """The structure of arrays [B, width]."""
    return mapped(template, lambda name: arrays[name], lambda parts: np.concatenate(parts, axis=-1))


def flattened(
    template: Template, value: Any, widths: Mapping[str, int], what: str = "state"
) -> Arrays:
    """{name: array} of a value of the structure; parts that are None are left out."""
    if value is None:
        return {}
    if isinstance(template, str):
        return {template: value}
    if isinstance(template, Joined):
        return _split(template, value, widths, what)
    if not isinstance(value, (tuple, list)) or len(value) != len(template):
        wanted = mapped(template, lambda name: widths[name], sum)
        given = f"{len(value)} parts" if isinstance(value, (tuple, list)) else kind_text(value)
        raise ArgumentTypeError(
            f"{what} has the wrong structure",
            facts=(f"its sizes are {wanted}", f"given {given}"),
            hint="cell.zero_state(batch_size, dtype) has the right one",
        )
    found: Arrays = {}
    for part, item in zip(template, value, strict=True):
        found |= flattened(part, item, widths, what)
    return found


def _split(template: Joined, value: Any, widths: Mapping[str, int], what: str) -> Arrays:
    array = read(value, what)
    names = tuple(leaves(template))
    total = sum(widths[name] for name in names)
    if array.ndim != 2 or array.shape[-1] != total:
        raise ArgumentError(
            f"{what} has the wrong shape",
            facts=(f"it is [B, {total}]: {', '.join(names)} side by side, "
                   f"given {shape_text(array.shape)}",),
        )  # fmt: skip
    ends = np.cumsum([widths[name] for name in names])[:-1]
    return dict(zip(names, np.split(array, ends, axis=-1), strict=True))
