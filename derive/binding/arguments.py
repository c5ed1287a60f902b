"""Arguments: what a user gave for a sequence, by name, checked, as kernels take it.

In: a Cell, arrays of a library by name, what that library can do.  Out: arrays in the order of
the cell and of its parts, zeros and learned starts where states were left out; results by name;
ArgumentError and ArgumentTypeError for what does not fit.
Not here: a library's arrays and devices (torch/functional.py, jax/checks.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from derive.binding.slices import join_by, sizes_of, slices_of
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text
from derive.kernel.signature import Sizes, names_in

#: What stands for an axis in a message.
_LETTERS = {"time steps": "T", "batch rows": "B"}


class Library(Protocol):
    """What a library of arrays does for these arguments.

    arrays: what it calls them.  inputs, states: what the arguments of `run` are called.
    """

    arrays: str
    inputs: str
    states: str

    def array(self, value: Any, label: str) -> Any:
        """A real array on the CPU, or an error about `label`."""

    def fits(self, value: Any, label: str, like: Any) -> Any:
        """With a dtype that kernels have, that of `like` where there is one; or an error."""

    def is_array(self, value: Any) -> bool: ...

    def zeros(self, shape: Sequence[int], like: Any) -> Any: ...

    def zeros_text(self, axes: Sequence[Any]) -> str:
        """How to make one, for a hint."""

    def repeated(self, value: Any, shape: Sequence[int]) -> Any:
        """Along leading axes that `shape` has."""

    def constant(self, value: Any) -> Any:
        """Without a derivative."""

    def part(self, value: Any, at: Sequence[slice]) -> Any:
        """Of the last axes."""

    def concatenated(self, arrays: list[Any], axis: int) -> Any: ...

    def lengths(self, value: Any, steps: int, rows: int) -> Any: ...


class Arguments:
    """Arguments in the order of the cell, of one dtype, and of shapes that fit each other."""

    def __init__(
        self, library: Library, cell: Any, params: Any, inputs: Any, states: Any, lengths: Any
    ) -> None:
        self.library, self.cell = library, a_cell(cell)
        if not isinstance(params, Mapping):
            raise ArgumentTypeError(
                f"params must be a mapping from names to {library.arrays}, not {kind_text(params)}",
                facts=(f"{cell.name} has the parameters {', '.join(cell.params)}",),
            )
        self.dims: dict[Any, tuple[int, str]] = {}
        self.like: Any = None
        of_params = self.named("params", tuple(cell.params), params)
        of_inputs = self._inputs_given(inputs)
        of_states = self.named(library.states, tuple(cell.states), states, optional=True)
        self.params = [self._fit("param", n, of_params[n], s, ()) for n, s in cell.params.items()]
        ahead = ("time steps", "batch rows")
        once = cell.checked.once
        self.given = [
            self._fit("input", n, of_inputs[n], s, ahead[n in once :])
            for n, s in cell.inputs.items()
        ]
        if not cell.inputs:
            self.given = [self._fit("input", "x", of_inputs["x"], (0,), ahead)]
        states_given = {
            n: self._fit("state", n, of_states[n], s, ahead[1:])
            for n, s in cell.states.items() if of_states.get(n) is not None
        }  # fmt: skip
        moving = (x for n, x in zip(cell.inputs, self.given, strict=False) if n not in once)
        steps, rows = next(moving, self.given[0]).shape[:2]
        self.sizes = Sizes(steps, rows, self._told())
        self.inputs = self.at_each_step(self.given)
        self.left_out = [n for n in cell.states if n not in states_given]
        self.states = [
            states_given[n] if n in states_given else self.start(n, s, self.params)
            for n, s in cell.states.items()
        ]
        self.lengths = None if lengths is None else library.lengths(lengths, steps, rows)

    def named(
        self, kind: str, names: Sequence[str], given: Any, *, optional: bool = False
    ) -> Mapping[str, Any]:
        """`given` by name; a bare value stands for the only one."""
        if given is None and optional:
            return {}
        if not isinstance(given, Mapping):
            if len(names) == 1:
                return {names[0]: given}
            entries = ", ".join(f'"{name}": ...' for name in names)
            raise ArgumentTypeError(
                f"{kind} must be a mapping from names to {self.library.arrays}, "
                f"not {kind_text(given)}",
                hint=f"{kind}={{{entries}}}",
            )
        for name in given:
            if name not in names:
                raise ArgumentError(
                    f"{kind} has an entry {name!r}, but {self.cell.name} has none of that name",
                    facts=(f"it has {', '.join(names) or 'none'}",),
                    hint=closest(name, names),
                )
        if missing := [name for name in names if given.get(name) is None and not optional]:
            raise ArgumentError(
                f"{missing[0]} is missing in {kind}",
                facts=(f"{self.cell.name} has {', '.join(names)}",),
            )
        return given

    def at_each_step(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs [T, B, width]; those that are given once are repeated."""
        once = self.cell.checked.once
        names = (self.cell.inputs or ("x",)) if inputs else ()
        return [
            self.library.repeated(x, (self.sizes.steps, *x.shape)) if n in once else x
            for n, x in zip(names, inputs, strict=True)
        ]

    def start(self, name: str, shape: Sequence[Any], params: Sequence[Any]) -> Any:
        """A state that was left out: what it has learned, or zeros."""
        cell, library = self.cell, self.library
        for dim in (part for axis in shape for part in names_in(axis)):
            if dim not in self.sizes.dims:
                raise ArgumentError(
                    f"nothing given determines the width {dim} of state {name}",
                    hint=f'{library.states}={{"{name}": {library.zeros_text(("B", *shape))}}}',
                )
        wanted = (self.sizes.rows, *self.sizes.shape(shape))
        learned = cell.checked.learned.get(name)
        if learned is None:
            return library.zeros(wanted, self.given[0])
        return library.repeated(params[list(cell.params).index(learned)], wanted)

    def parts(
        self, params: Sequence[Any], inputs: Sequence[Any], states: Sequence[Any]
    ) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """Parameters, inputs and states as kernels know them; fixed ones without a derivative."""
        cell = self.cell
        if cell.checked.is_plain:
            return params, inputs, states
        fixed = cell.checked.fixed
        params = [self.library.constant(p) if n in fixed else p
                  for n, p in zip(cell.params, params, strict=True)]  # fmt: skip
        names = (cell.inputs or ("x",)) if inputs else ()
        groups = ((cell.params, params), (names, inputs), (cell.states, states))
        one, two, three = (self._cut(tuple(n), t) for n, t in groups)
        return one, two, three

    def results(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs and last states by name, from those of parts."""
        cell = self.cell
        count = len(cell.output_keys)
        outputs = self._join(tuple(cell.outputs), values[:count])
        return outputs, self._join(tuple(cell.states), values[count:])

    # --- helpers ----------------------------------------------------------------------------

    def _inputs_given(self, inputs: Any) -> Mapping[str, Any]:
        cell, library = self.cell, self.library
        if cell.inputs:
            return self.named(library.inputs, tuple(cell.inputs), inputs)
        if not library.is_array(inputs) or inputs.ndim != 3 or inputs.shape[2]:
            raise ArgumentError(
                f"{cell.name} has no inputs, so an empty array tells T and B",
                hint=f"{library.inputs}={library.zeros_text(('T', 'B', 0))}",
            )
        return {"x": inputs}

    def _fit(
        self, kind: str, name: str, value: Any, shape: Sequence[Any], ahead: Sequence[Any]
    ) -> Any:
        label = f"{kind} {name}"
        value = self.library.array(value, label)
        axes = (*ahead, *shape)
        if value.ndim == 0 and axes == (1,):
            value = value.reshape((1,))
        fits = value.ndim == len(axes)
        facts = []
        for axis, length in zip(axes, value.shape, strict=False):
            known, by = (
                (axis, label) if isinstance(axis, int) else self.dims.get(axis, (length, label))
            )
            if known != length:
                fits = False
                facts.append(f"{axis} = {known} by {by}")
            elif isinstance(axis, str):
                self.dims.setdefault(axis, (length, label))
        if not fits:
            shown = ", ".join(str(_LETTERS.get(axis, axis)) for axis in axes)
            raise ArgumentError(
                f"{label} has the wrong shape",
                facts=(f"it is [{shown}], given {list(value.shape)}", *facts),
            )
        self.like = self.library.fits(value, label, self.like)
        return self.like

    def _told(self) -> dict[str, int]:
        """Lengths of dimensions, those that only sums of them tell included."""
        arrays = [((axis,), (length,)) for axis, (length, _) in self.dims.items()
                  if axis not in _LETTERS]  # fmt: skip
        return dict(sizes_of(arrays).dims)

    def _cut(self, names: Sequence[str], arrays: Sequence[Any]) -> list[Any]:
        return [
            self.library.part(array, at) if at else array
            for own, array in zip(slices_of(self.cell, names, self.sizes), arrays, strict=True)
            for at in own
        ]

    def _join(self, names: Sequence[str], parts: Sequence[Any]) -> dict[str, Any]:
        slices = slices_of(self.cell, names, self.sizes)
        return dict(zip(names, join_by(slices, parts, self.library.concatenated), strict=True))


def a_cell(value: Any) -> Cell:
    if not isinstance(value, Cell):
        raise ArgumentTypeError(
            f"cell must be a derive.Cell, not {kind_text(value)}", hint="derive.cells.lstm()"
        )
    return value
