"""Text, or SymPy equations and declarations, to a Checked cell.

In: `.cell` text; or a name, equations and what is declared.  Out: a Checked cell; CellError.
Not here: reading (parse_text.py), checking (check_shapes.py), SymPy's expressions (from_sympy.py).

There is one way in, and it is text: SymPy objects are written out as text first, so both give
the very same cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import sympy

from derive.errors import ArgumentTypeError, CellError, Place
from derive.language import check_shapes, from_sympy, names, parse_expression, parse_text
from derive.language.checked import Checked
from derive.language.declaration import Constant, Declaration, Declared, Definition, Dim, Output
from derive.language.tokens import Source, Statement
from derive.language.tree import Node

Equations = Iterable[sympy.Eq] | Mapping[Any, Any]
Declarations = Mapping[str, Any] | Iterable[str]


def from_text(source: str, file: str) -> Checked:
    """The cell that `.cell` text describes; `file` is its name in error messages."""
    try:
        return check_shapes.check(parse_text.parse(source, file))
    except (RecursionError, MemoryError):
        raise _too_deep(file) from None


def from_declaration(declaration: Declaration, file: str) -> Checked:
    """A declaration that was put together, by way of its text: places are those of the text."""
    return from_text(parse_text.to_text(declaration), file)


def from_equations(
    name: str,
    equations: Equations,
    *,
    inputs: Declarations = (),
    states: Declarations = (),
    params: Declarations = (),
    consts: Mapping[str, Any] | None = None,
    outputs: Iterable[Any] | None = None,
    doc: str = "",
    fixed: Declarations = (),
    once: Iterable[Any] = (),
    starts: Mapping[Any, Any] | None = None,
) -> Checked:
    """The cell of SymPy equations; `Cell` says what the arguments mean."""
    declared = _declared(states, "H")
    if outputs is None:
        outputs = (names.next_of(state.name) for state in declared)
    order = tuple(
        tuple(entry.name for group in groups for entry in _declared(group, "I"))
        for groups in ((params,), (inputs, states))
    )
    try:
        given = _Starts(starts or {})
        declaration = Declaration(
            name=_name(name),
            doc=_doc(doc),
            inputs=_given_once(_declared(inputs, "I"), once),
            states=given.put(declared),
            params=given.rest(given.put(_declared(params, None))),
            consts=tuple(
                Constant(_name(key), from_sympy.read(value), _NOWHERE)
                for key, value in (consts or {}).items()
            ),
            definitions=tuple(_definitions(equations, order)),
            outputs=tuple(Output(_name(output), _NOWHERE) for output in outputs),
            place=_NOWHERE,
            fixed=_declared(fixed, None),
        )
        written = parse_text.to_text(declaration)
    except (RecursionError, MemoryError):
        raise _too_deep("<sympy>") from None
    return from_text(written, "<sympy>")


_NOWHERE = Place("<sympy>", 1, 1, "")


def _too_deep(file: str) -> CellError:
    return CellError(f"{file} nests too deeply", hint="name parts of it on lines of their own")


def _doc(doc: Any) -> str:
    if not isinstance(doc, str):
        raise ArgumentTypeError(f"a doc is a str, not {type(doc).__name__}")
    for line in doc.splitlines():
        if line.lstrip().startswith("="):
            raise CellError(f"a line of a doc cannot begin with '=', as {line.strip()!r} does")
    return "\n".join(doc.splitlines())


def _name(value: Any) -> str:
    name = value.name if isinstance(value, sympy.Symbol) else value
    if not isinstance(name, str):
        raise ArgumentTypeError(f"{value!r} is no name")
    if not names.is_identifier(name):
        raise CellError(f"'{name}' is no name: letters, digits and underscores only")
    return name


def _declared(group: Declarations, default: Dim | None) -> tuple[Declared, ...]:
    if isinstance(group, str):
        raise ArgumentTypeError(f"{group!r} is a string", hint=f"[{group!r}]")
    found = []
    for key in group:
        shape = group[key] if isinstance(group, Mapping) else default
        if shape is not None:
            shape = tuple(map(_dim, shape if isinstance(shape, (tuple, list)) else (shape,)))
        found.append(Declared(_name(key), shape, _NOWHERE))
    return tuple(found)


def _given_once(inputs: tuple[Declared, ...], once: Iterable[Any]) -> tuple[Declared, ...]:
    if isinstance(once, str):
        raise ArgumentTypeError(f"{once!r} is a string", hint=f"once=[{once!r}]")
    names_ = {_name(name) for name in once}
    if strange := sorted(names_ - {declared.name for declared in inputs}):
        raise CellError(f"'{strange[0]}' is given once, and is no input")
    return tuple(replace(declared, once=declared.name in names_) for declared in inputs)


class _Starts:
    """What states and parameters start from, as text or numbers."""

    def __init__(self, given: Mapping[Any, Any]) -> None:
        self._left = {_name(key): _start(value) for key, value in given.items()}

    def put(self, group: tuple[Declared, ...]) -> tuple[Declared, ...]:
        return tuple(replace(own, start=self._left.pop(own.name, None)) for own in group)

    def rest(self, params: tuple[Declared, ...]) -> tuple[Declared, ...]:
        """What is left starts parameters whose shape is inferred."""
        left = (Declared(name, None, _NOWHERE, start) for name, start in self._left.items())
        return (*params, *left)


def _start(value: Any) -> Node:
    """`1`, "orthogonal", "log(uniform(1, 99))"; the name of a parameter, of a state."""
    if not isinstance(value, str):
        return from_sympy.read(value)
    return parse_expression.read_start(
        Statement(Source("<start>", (value,)), 1, value), 0, len(value)
    )


def _dim(dim: Any) -> Dim:
    if isinstance(dim, sympy.Symbol):
        return str(dim.name)
    if isinstance(dim, str) or (isinstance(dim, int) and not isinstance(dim, bool)):
        return dim
    raise ArgumentTypeError(f"{dim!r} is no width", hint="a name or a positive integer")


def _definitions(equations: Equations, around: tuple[tuple[str, ...], ...]) -> Iterable[Definition]:
    """around: names that read before and after the definitions in sums and products."""
    if not isinstance(equations, Iterable):
        raise ArgumentTypeError(f"{equations!r} is no list of equations", hint="[Eq(h_next, ...)]")
    given: Iterable[Any] = equations.items() if isinstance(equations, Mapping) else equations
    pairs = [pair.args if isinstance(pair, sympy.Eq) else pair for pair in given]
    targets = [str(pair[0]) for pair in pairs if isinstance(pair, (tuple, list)) and pair]
    before, after = around
    reading = (*before, *targets, *after)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise CellError(f"{pair!r} is no equation", hint="Eq(h_next, ...)")
        target, value = pair
        if not isinstance(target, (str, sympy.Symbol)):
            raise CellError(f"'{target}' is defined, which is no name", hint="Eq(h_next, ...)")
        yield Definition(_name(target), from_sympy.read(value, reading), _NOWHERE)
