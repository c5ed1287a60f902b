"""Cell: one recurrent cell, checked. The public object that everything else starts from.

In: `.cell` text, or SymPy equations.  Out: an immutable Cell; CellError otherwise.
Not here: reading (language/parse_text.py), checking (language/check_shapes.py), derivatives
(derivative/gradient.py).

There is one way in, and it is text: SymPy objects are written out as text first, so both
give the very same cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import sympy

from derive.catalogue import vary_text
from derive.display import Displayed
from derive.errors import ArgumentTypeError
from derive.language import declare
from derive.language.checked import Checked, Shape
from derive.language.declaration import Declaration, Dim
from derive.language.declare import Declarations, Equations
from derive.language.variant import vary
from derive.program import Step
from derive.symbolic.functions import Expr


class Cell(Displayed):
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

    fixed: {"A": ("M", "M")}, arrays that are not trained; once: ["m"], inputs that do not change
    with time; starts: {"b": 1, "U": "orthogonal", "h": "h0"}, what parameters start training from,
    and the parameter that a state begins with.

    `W.T @ v` is the transposed product. Functions are SymPy's (tanh, exp, Abs, Max, Min,
    Piecewise, ...) and those of `derive.functions` (sigmoid, relu, where, ...); `Eq` may be
    replaced by a mapping {name: expression}. Plain SymPy symbols do as well: they are taken
    by their names.

    Cells compare by content: name, arrays with shapes and starts, constants, equations, outputs.
    The order of terms, the spelling of numbers and the doc do not count.
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
        fixed: Declarations = (),
        once: Iterable[Any] = (),
        starts: Mapping[Any, Any] | None = None,
    ) -> None:
        checked = declare.from_equations(
            name, equations,
            inputs=inputs, states=states, params=params, consts=consts, outputs=outputs, doc=doc,
            fixed=fixed, once=once, starts=starts,
        )  # fmt: skip
        self._set(checked)

    @classmethod
    def of(cls, checked: Checked) -> Cell:
        """The cell that was checked already."""
        cell = object.__new__(cls)
        cell._set(checked)
        return cell

    @classmethod
    def parse(cls, text: str, file: str = "<text>") -> Cell:
        """The cell that `.cell` text describes; `file` is its name in error messages."""
        if not isinstance(text, str):
            raise ArgumentTypeError(
                f"the text of a cell is a str, not {type(text).__name__}",
                hint="derive.load(path) reads a file",
            )
        return cls.of(vary_text.checked(text, str(file)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cell:
        """The cell in a `.cell` file."""
        return cls.of(vary_text.load(path))

    @classmethod
    def from_latex(
        cls, text: str, *, name: str = "paper", meaning: Mapping[str, str] | None = None
    ) -> Cell:
        r"""The cell that a paper's equations describe, pasted as they stand.

            derive.Cell.from_latex(r"h_t = \tanh(W x_t + U h_{t-1} + b)")

        A symbol with an index of time that nothing defines is an input, one that is read at t-1
        a state, everything else a parameter; a capital letter before a vector is a matrix.
        meaning: {name: "input", "matrix", "vector", "scalar", a number, or a function such as
        "relu"}, for symbols about which the equations leave a doubt. `derive read` prints what was
        concluded. CellError, with its place in the LaTeX, for what cannot be read.
        """
        if not isinstance(text, str):
            raise ArgumentTypeError(
                f"LaTeX is a str, not {type(text).__name__}", hint='Cell.from_latex(r"h_t = ...")'
            )
        from derive.papers import read

        return cls.of(read(text, name=name, told=meaning).cell())

    def _set(self, checked: Checked) -> None:
        object.__setattr__(self, "_checked", checked)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Cell cannot be changed; {name!r} is fixed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Cell cannot be changed; {name!r} is fixed")

    @property
    def checked(self) -> Checked:
        """What the language knows of the cell."""
        return self._checked

    @property
    def declaration(self) -> Declaration:
        """What the author wrote, as a tree."""
        return self._checked.declaration

    @property
    def name(self) -> str:
        return self._checked.name

    @property
    def doc(self) -> str:
        return self._checked.doc

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """{name: (width,)}, in declared order."""
        return self._checked.inputs

    @property
    def states(self) -> Mapping[str, Shape]:
        """{name: (width,)}, in declared order."""
        return self._checked.states

    @property
    def params(self) -> Mapping[str, Shape]:
        """{name: (rows, columns) or (width,)}: the declared ones, then the inferred ones."""
        return self._checked.params

    @property
    def inferred(self) -> Mapping[str, Shape]:
        """Those of `params` that no line declares: names that nothing else explains."""
        return self._checked.inferred

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """{key: (width,)}; the key of `output h'` is "h_next"."""
        return self._checked.outputs

    @property
    def output_keys(self) -> tuple[str, ...]:
        """The keys of `outputs`, parallel to `step.outputs`."""
        return self._checked.output_keys

    @property
    def consts(self) -> Mapping[str, Expr]:
        """{name: exact rational}."""
        return self._checked.consts

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
        return self._checked.to_text()

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
        declare: str | Iterable[str] = (),
        outputs: str | Iterable[str] = (),
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
        declare: lines of a cell's text, "input m: M once", "param W: N x D x I", "state n: H",
        "fixed A: M x M".  outputs: what is put out instead: "h'", or several.
        Parameters that nothing uses any more disappear.
        """
        varied = vary.vary(
            self._checked,
            name=name,
            doc=doc,
            replace=replace,
            remove=remove,
            tie=tie,
            activation=activation,
            rename=rename,
            states=states,
            consts=consts,
            declare=declare,
            outputs=outputs,
            **definitions,
        )
        return Cell.of(varied)

    def _content(self) -> tuple[Any, ...]:
        checked = self._checked
        # Inferred parameters come in order of first use, which the order of terms decides.
        return (
            self.name,
            tuple(self.inputs.items()),
            tuple(self.states.items()),
            frozenset(checked.params.items()),
            frozenset(checked.consts.items()),
            checked.canonical,
            tuple(checked.outputs.items()),
            checked.fixed,
            checked.once,
            tuple(checked.learned.items()),
            frozenset(checked.starts.items()),
        )

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, Cell) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        given = ", ".join((*self.inputs, *self.states))
        return f"<Cell {self.name}: {given} -> {', '.join(self.outputs)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Cell.parse, (self.to_text(), self._checked.declaration.place.file)
