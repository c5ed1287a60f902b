"""Options of a family: one signature feeds the Python call, specs, help and documentation.

In: a function whose keyword-only parameters are annotated, that returns a Draft or a Text.
Out: a function that checks its options and returns a Checked cell, and the table of those options.

    @family
    def ugrnn(*, forget_bias: Annotated[float, "added to the gate"] = 1.0) -> Draft: ...

Kinds of options: bool, float, and Literal[...] of names or integers; `| None` where leaving
an option out means something of its own.
Not here: the equations (one file a family), the text form of options (spec.py).
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

import sympy

from derive.errors import ArgumentError, ArgumentTypeError
from derive.language.checked import Checked
from derive.language.declare import from_equations, from_text
from derive.symbolic import functions

Value = bool | int | float | str | None
Kind = type[Any]

#: Every elementwise function of one argument, and "identity".
if TYPE_CHECKING:
    Activation = str
else:
    Activation = Literal[("tanh", "sigmoid", "relu", "identity", *functions.ACTIVATIONS)]


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword of a family. `choices` is empty where any number will do."""

    name: str
    kind: Kind  # bool, int, float or str
    optional: bool  # whether None is a value
    choices: tuple[Value, ...]
    default: Value
    meaning: str

    @property
    def values(self) -> tuple[Value, ...]:
        """Every value, where they can be counted."""
        values = (True, False) if self.kind is bool else self.choices
        return (*values, None) if values and self.optional else values

    @property
    def type(self) -> str:
        """Its values as one types them: `true or false`, `number or none`, `activation`."""
        if self.choices == typing.get_args(Activation):
            return "activation"
        words = [to_text(value) for value in self.values]
        return " or ".join(words or (["number", "none"] if self.optional else ["number"]))


def to_text(value: Value) -> str:
    """A value as a spec spells it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


@dataclass(frozen=True, slots=True)
class Draft:
    """A cell without its name, which the options decide."""

    doc: str
    equations: Iterable[sympy.Eq]
    states: Mapping[str, str]
    params: Mapping[str, tuple[str, ...]]
    consts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str | int] = field(default_factory=lambda: {"x": "I"})
    outputs: tuple[str, ...] = ("h_next",)
    starts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """A cell as `.cell` text, without the lines of its name and its doc.

    For arrays with axes, start values and all else that SymPy cannot express.
    """

    doc: str
    text: str


P = ParamSpec("P")


def family(function: Callable[P, Draft | Text]) -> Callable[P, Checked]:
    """Check the options, then name and build what `function` drafts."""

    @functools.wraps(function)
    def build(*args: P.args, **kwargs: P.kwargs) -> Checked:
        table = table_of(build)
        chosen = _checked(function.__name__, table, args, kwargs)
        name = _cell_name(function.__name__, table, chosen)
        draft = cast(Callable[..., Draft | Text], function)(**chosen)
        if isinstance(draft, Text):
            doc = "".join(f"doc    {line}\n" for line in draft.doc.splitlines())
            return from_text(f"cell   {name}\n{doc}{draft.text.strip()}\n", f"<{name}>")
        return from_equations(
            name,
            draft.equations,
            inputs=draft.inputs,
            states=draft.states,
            params=draft.params,
            consts=draft.consts,
            outputs=draft.outputs,
            doc=draft.doc,
            starts=draft.starts,
        )

    return build


def doc_of(function: Callable[..., Any], chosen: Mapping[str, Any]) -> str:
    """The doc of a family's cell with these options, which is not built for it."""
    draft: Draft | Text = inspect.unwrap(function)(
        **{option.name: option.default for option in table_of(function)} | dict(chosen)
    )
    return draft.doc


def table_of(function: Callable[..., Any]) -> tuple[Option, ...]:
    """The options of a family, read from its signature."""
    hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    return tuple(
        _option(name, hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    )


def _option(name: str, hint: Any, default: Value) -> Option:
    hint, meaning = typing.get_args(hint)
    parts = typing.get_args(hint) if _is_union(hint) else (hint,)
    plain = [part for part in parts if part is not type(None)]
    assert len(plain) == 1
    choices = typing.get_args(plain[0])
    kind = type(choices[0]) if choices else plain[0]
    return Option(name, kind, len(parts) > 1, choices, default, meaning)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


# --- values ---------------------------------------------------------------------------------


def _checked(
    name: str, table: tuple[Option, ...], args: tuple[Any, ...], given: Mapping[str, Any]
) -> dict[str, Value]:
    if args:
        example = f"{name}({table[0].name}={args[0]!r})" if table else f"{name}()"
        raise ArgumentTypeError(f"the options of {name} are keywords", hint=example)
    by_name = {option.name: option for option in table}
    for key in given:
        if key not in by_name:
            raise unknown(f"{name} has no option '{key}'", key, by_name, ArgumentTypeError)
    return {
        option.name: _value(name, option, given[option.name])
        if option.name in given
        else option.default
        for option in table
    }


def _value(name: str, option: Option, value: Any) -> Value:
    """`value` as the option's own type; an error if it is none of its values."""
    if value is None and option.optional:
        return None
    wrong = no_value(name, option, repr(value), ArgumentTypeError)
    if option.kind is bool:
        if type(value).__name__ not in ("bool", "bool_"):  # NumPy's too
            raise wrong
        return bool(value)
    if option.kind is str:
        if not isinstance(value, str):
            raise wrong
        if value not in option.choices:
            raise no_value(name, option, value, ArgumentError)
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong
    if option.choices:
        if value not in option.choices:
            raise no_value(name, option, to_text(float(value)), ArgumentError)
        return int(float(value))
    number = float(value) + 0.0  # -0.0 is 0.0
    if not math.isfinite(number):
        raise ArgumentError(f"{option.name} of {name} is a finite number, not {number}")
    return number


E = TypeVar("E", ArgumentError, ArgumentTypeError)


def unknown(what: str, given: str, known: Iterable[str], error: type[E]) -> E:
    """`given` is none of the `known`: the error, with what was probably meant."""
    words = tuple(known)
    facts = f"known: {', '.join(words)}" if words else "there are none"
    return error(what, facts=(facts,), hint=_near(given, words))


def no_value(name: str, option: Option, given: str, error: type[E]) -> E:
    """`given` is no value of the option: the error, with its values and its meaning."""
    words = [to_text(value) for value in option.values]
    return error(
        f"{option.name} of {name} cannot be {given}",
        facts=(f"values: {', '.join(words) or option.type}", f"meaning: {option.meaning}"),
        hint=_near(given, words),
    )


def _near(given: str, words: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(given, words, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else None


# --- names ----------------------------------------------------------------------------------


def _cell_name(name: str, table: tuple[Option, ...], chosen: Mapping[str, Value]) -> str:
    """The family, then every option that is not at its default, as one identifier.

    A number keeps all its digits: 0.5 is 0p5, -1 is m1, 1e-07 is 1em07.
    """
    words = [name]
    for option in table:
        value = chosen[option.name]
        if value == option.default:
            continue
        if value is True:
            words.append(option.name)
        elif value is False:
            words += ["no", option.name]
        else:
            text = to_text(value)
            if isinstance(value, (int, float)):
                text = text.replace("-", "m").replace(".", "p").replace("+", "")
            words += [option.name, text]
    return "_".join(words)


# --- what the families share -----------------------------------------------------------------


def function_of(activation: Value) -> Callable[[Any], Any]:
    """The SymPy function behind the name of an activation."""
    if activation == "identity":
        return lambda v: v
    if activation == "sqrt":
        return cast(Callable[[Any], Any], sympy.sqrt)
    return cast(Callable[[Any], Any], functions.RULES[str(activation)].head)


def applied(activation: Value, text: str) -> str:
    """An activation of an expression, as text: applied("tanh", "W @ x") is `tanh(W @ x)`."""
    return text if activation == "identity" else f"{activation}({text})"


def stacked(shapes: Mapping[str, tuple[str, ...]], gates: str) -> dict[str, tuple[str, ...]]:
    """One parameter of each kind for each gate: W_i, W_f, ..., then U_i, U_f, ..."""
    return {f"{kind}_{gate}": shape for kind, shape in shapes.items() for gate in gates.split()}


def varied(cell: Checked, doc: str) -> Draft:
    """What a variation of another family's cell came to."""
    return Draft(
        doc=doc,
        equations=cell.equations,
        states={name: str(width) for name, (width,) in cell.states.items()},
        params=cast(Mapping[str, tuple[str, ...]], cell.params),
        consts=cell.consts,
        inputs=cast(Mapping[str, str], {name: width for name, (width,) in cell.inputs.items()}),
    )
