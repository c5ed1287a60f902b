"""Cell: one recurrent cell, checked. The public object that everything else starts from.

In: `.cell` text, or SymPy equations.  Out: an immutable Cell; CellError otherwise.
Not here: reading (text.py), checking (shapes.py), derivatives (differentiate.py).

There is one way in, and it is text: SymPy objects are written out as text first, so both
give the very same cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sympy

from derive.errors import ArgumentTypeError, CellError, Place
from derive.language import from_sympy, names, shapes, text
from derive.language.declaration import Constant, Declaration, Declared, Definition, Dim, Output
from derive.language.shapes import Checked, Shape
from derive.program import Step
from derive.scalar import Expr

Equations = Iterable[sympy.Eq] | Mapping[Any, Any]
Declarations = Mapping[str, Any] | Iterable[str]


class Cell:
    """A recurrent cell: its equations, its arrays with their shapes, its outputs.

    From text: `Cell.parse(text)` or `Cell.load(path)`. From SymPy:

        from sympy import Eq, tanh
        x, h, h_next, W, U, b, beta = derive.arrays("x h h_next W U b beta")
        cell = derive.Cell(
            "elman",
            [Eq(h_next, tanh(W @ x + U @ h + beta * b))],
            inputs={"x": "I"},              # or just ["x"]
            states={"h": "H"},              # or just ["h"]
            params={"W": ("H", "I")},       # what is left out is inferred
            consts={"beta": 1},
            outputs=("h_next",),            # left out: the next value of every state
        )

    `W.T @ v` is the transposed product. Functions are SymPy's (tanh, exp, Abs, Max, Min,
    Piecewise, ...) and those of `derive.scalar` (sigmoid, relu, where, ...); `Eq` may be
    replaced by a mapping {name: expression}. Plain SymPy symbols do as well: they are taken
    by their names.

    Cells compare by content: name, arrays with shapes, constants, equations, outputs. The
    order of terms, the spelling of numbers and the doc do not count.
    """

    __slots__ = ("_checked",)
    _checked: Checked

    def __init__(
        self,
        name: str,
        equations: Equations,
        *,
        inputs: Declarations = (),
        states: Declarations = (),
        params: Declarations = (),
        consts: Mapping[str, Any] | None = None,
        outputs: Iterable[Any] | None = None,
        doc: str = "",
    ) -> None:
        declared = _declared(states, "H")
        if outputs is None:
            outputs = (names.next_of(state.name) for state in declared)
        order = tuple(
            tuple(entry.name for group in groups for entry in _declared(group, "I"))
            for groups in ((params,), (inputs, states))
        )
        try:
            declaration = Declaration(
                name=_name(name),
                doc=_doc(doc),
                inputs=_declared(inputs, "I"),
                states=declared,
                params=_declared(params, None),
                consts=tuple(
                    Constant(_name(key), from_sympy.read(value), _NOWHERE)
                    for key, value in (consts or {}).items()
                ),
                definitions=tuple(_definitions(equations, order)),
                outputs=tuple(Output(_name(output), _NOWHERE) for output in outputs),
                place=_NOWHERE,
            )
            written = text.to_text(declaration)
        except (RecursionError, MemoryError):
            raise _too_deep("<sympy>") from None
        self._set(_parse(written, "<sympy>"))

    @classmethod
    def parse(cls, text: str, file: str = "<text>") -> Cell:
        """The cell that `.cell` text describes; `file` is its name in error messages."""
        if not isinstance(text, str):
            raise ArgumentTypeError(
                f"the text of a cell is a str, not {type(text).__name__}",
                hint="derive.load(path) reads a file",
            )
        cell = object.__new__(cls)
        cell._set(_parse(text, str(file)))
        return cell

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cell:
        """The cell in a `.cell` file."""
        shown = os.fspath(path)
        try:
            data = Path(path).read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise CellError(f"{shown} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise CellError(f"{shown} is not UTF-8 text: byte {error.start} is wrong") from error
        return cls.parse(data, file=shown)

    def _set(self, checked: Checked) -> None:
        object.__setattr__(self, "_checked", checked)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Cell cannot be changed; {name!r} is fixed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Cell cannot be changed; {name!r} is fixed")

    @property
    def name(self) -> str:
        return self._checked.declaration.name

    @property
    def doc(self) -> str:
        return self._checked.declaration.doc

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """{name: (width,)}, in declared order."""
        return _shapes(self._checked.declaration.inputs)

    @property
    def states(self) -> Mapping[str, Shape]:
        """{name: (width,)}, in declared order."""
        return _shapes(self._checked.declaration.states)

    @property
    def params(self) -> Mapping[str, Shape]:
        """{name: (rows, columns) or (width,)}: the declared ones, then the inferred ones."""
        return MappingProxyType(dict(self._checked.params))

    @property
    def inferred(self) -> Mapping[str, Shape]:
        """Those of `params` that no line declares: names that nothing else explains."""
        declared = {param.name for param in self._checked.declaration.params}
        found = {name: shape for name, shape in self._checked.params if name not in declared}
        return MappingProxyType(found)

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """{key: (width,)}; the key of `output h'` is "h_next"."""
        return MappingProxyType(dict(self._checked.outputs))

    @property
    def output_keys(self) -> tuple[str, ...]:
        """The keys of `outputs`, parallel to `step.outputs`."""
        return self._checked.output_keys

    @property
    def consts(self) -> Mapping[str, Expr]:
        """{name: exact rational}."""
        return MappingProxyType(dict(self._checked.consts))

    @property
    def equations(self) -> tuple[sympy.Eq, ...]:
        """One SymPy equation a definition, the next value of `h` spelled h_next."""
        return self._checked.equations

    @property
    def step(self) -> Step:
        """One time step as a Program: what is differentiated, scheduled and emitted."""
        return self._checked.step

    @property
    def notes(self) -> tuple[str, ...]:
        """What is legal and probably a slip."""
        return self._checked.notes

    @property
    def unused(self) -> tuple[str, ...]:
        """Definitions, inputs, constants and parameters that nothing uses."""
        return self._checked.unused

    def to_text(self) -> str:
        """Canonical `.cell` text; `Cell.parse` of it gives an equal cell."""
        return text.to_text(self._checked.declaration)

    def vary(
        self,
        *,
        name: str | None = None,
        doc: str | None = None,
        replace: Mapping[str, Any] | None = None,
        remove: str | Iterable[str] = (),
        tie: Mapping[str, str] | None = None,
        activation: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
        states: Mapping[str, Dim] | Iterable[str] = (),
        consts: Mapping[str, Any] | None = None,
        **definitions: Any,
    ) -> Cell:
        """A variant: `lstm.vary(o=1)`, `lstm.vary(i="1 - f")`.

        definitions, replace: {definition: text, number or SymPy expression}; `h_next` or "h'"
        is a next value; a new name that something uses is a new definition.
        remove: gates, which leave their products, and parameters, which become zero.
        tie: {"r": "z"} puts z wherever r stood; states and parameters can be tied as well.
        activation: {"tanh": "relu"} everywhere, {"g": "identity"} in one definition.
        states: definitions that the next step sees; where they are replaced, the bare name is
        the previous value.  consts: new constants.  rename: {old name: new name}.
        Parameters that nothing uses any more disappear.
        """
        from derive.variants.vary import vary

        return vary(
            self,
            name=name,
            doc=doc,
            replace={**(replace or {}), **definitions},
            remove=remove,
            tie=tie,
            activation=activation,
            rename=rename,
            states=states,
            consts=consts,
        )

    def _content(self) -> tuple[Any, ...]:
        checked = self._checked
        # Inferred parameters come in order of first use, which the order of terms decides.
        return (
            self.name,
            tuple(self.inputs.items()),
            tuple(self.states.items()),
            frozenset(checked.params),
            frozenset(checked.consts),
            checked.canonical,
            checked.outputs,
        )

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, Cell) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        given = ", ".join((*self.inputs, *self.states))
        return f"<Cell {self.name}: {given} -> {', '.join(self.outputs)}>"

    def _repr_html_(self) -> str:
        return str(import_module("derive.inspect.notebook").html(self))

    def _repr_latex_(self) -> str:
        return str(import_module("derive.inspect.notebook").latex(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Cell.parse, (self.to_text(), self._checked.declaration.place.file)


# --- from SymPy -----------------------------------------------------------------------------

_NOWHERE = Place("<sympy>", 1, 1, "")


def _parse(source: str, file: str) -> Checked:
    try:
        return shapes.check(text.parse(source, file))
    except (RecursionError, MemoryError):
        raise _too_deep(file) from None


def _too_deep(file: str) -> CellError:
    return CellError(f"{file} nests too deeply", hint="name parts of it on lines of their own")


def _doc(doc: Any) -> str:
    if not isinstance(doc, str):
        raise ArgumentTypeError(f"a doc is a str, not {type(doc).__name__}")
    for line in doc.splitlines():
        if line.lstrip().startswith("="):
            raise CellError(f"a line of a doc cannot begin with '=', as {line.strip()!r} does")
    return "\n".join(doc.splitlines())


def _shapes(group: tuple[Declared, ...]) -> Mapping[str, Shape]:
    return MappingProxyType({declared.name: declared.shape or () for declared in group})


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
