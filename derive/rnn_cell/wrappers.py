"""Cells made of cells: MultiRNNCell, DropoutWrapper, ResidualWrapper.

In: RNNCells.  Out: an RNNCell whose equations are those of the cells it holds, rewritten by
layers/compose.py; variables stay with the cells inside.
Not here: running a stack over a sequence layer by layer (drivers.py). A wrapper around a
MultiRNNCell runs as one cell with all the layers in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import to_flag, to_generator
from derive.kernel.signature import Array, Arrays, Dim
from derive.layers.compose import masked, shortened, stacked
from derive.layers.held import Held
from derive.rnn_cell.base import RNNCell, Wiring, check_cell, given_arrays
from derive.rnn_cell.layout import Variable
from derive.rnn_cell.masks import Mask, probability
from derive.rnn_cell.structure import (
    Joined,
    LSTMStateTuple,
    Template,
    built,
    flattened,
    leaves,
    mapped,
    renamed,
    sizes_of,
)


class MultiRNNCell(RNNCell):
    """Cells on top of each other: each reads the output of the one below."""

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        if not isinstance(cells, (list, tuple)):
            raise ArgumentTypeError(f"cells must be a list or tuple, but saw: {cells!r}")
        if not cells:
            raise ArgumentError("Must specify at least one cell for MultiRNNCell.")
        for cell in cells:
            check_cell(cell)
            if cell is not cells[0] and len(cell.wiring.inputs) > 1:
                raise ArgumentError(f"{cell.name} has two inputs and can only be the first layer")
            if cell is not cells[0] and cell.looks_up:
                raise ArgumentError(f"{cell.name} reads integers and can only be the first layer")
        owners: dict[int, int] = {}
        for k, cell in enumerate(cells):
            for owner in _owners(cell):
                if (other := owners.setdefault(id(owner), k)) != k:
                    raise ArgumentError(
                        f"layers {other} and {k} are the same {owner.name}",
                        facts=("they would share their variables, whose gradients are sums",),
                        hint=f"[{type(owner).__name__}(...) for _ in range({len(cells)})]",
                    )
        is_tuple = to_flag(state_is_tuple, "state_is_tuple")
        if not is_tuple and any(isinstance(cell.state_size, tuple) for cell in cells):
            raise ArgumentError(
                "Some cells return tuples of states, but the flag state_is_tuple is not set",
                facts=(f"state sizes are {[cell.state_size for cell in cells]}",),
            )
        self._cells = tuple(cells)
        self._state_is_tuple = is_tuple
        self.name = type(self).__name__
        self._dtype = None
        self._wired: tuple[list[Wiring], Wiring] | None = None

    @property
    def layers(self) -> tuple[tuple[tuple[int, ...], RNNCell], ...]:
        return tuple(
            ((k, *path), layer) for k, cell in enumerate(self._cells) for path, layer in cell.layers
        )

    def state_layout(self) -> tuple[Template, dict[str, int]]:
        templates: list[Template] = []
        widths: dict[str, int] = {}
        for k, cell in enumerate(self._cells):
            template, own = cell.state_layout()
            templates.append(renamed(template, {name: f"{k}.{name}" for name in own}))
            widths |= {f"{k}.{name}": width for name, width in own.items()}
        return self._structure(templates), widths

    @property
    def output_size(self) -> int:
        return int(self._cells[-1].output_size)

    @property
    def wiring(self) -> Wiring:
        """All layers as one Cell: for a wrapper around this cell."""
        wirings = [cell.wiring for cell in self._cells]
        if self._wired is None or any(
            a is not b for a, b in zip(self._wired[0], wirings, strict=True)
        ):
            self._wired = wirings, self._wire(wirings)
        return self._wired[1]

    def _wire(self, wirings: list[Wiring]) -> Wiring:
        links = [(above.inputs[0], below.output) for below, above in itertools.pairwise(wirings)]
        name = "_on_".join(w.cell.name for w in reversed(wirings))
        whole, arrays, dims = stacked([w.cell for w in wirings], links, name)
        sizes: dict[str, int] = {}
        variables: list[Variable] = []
        masks: dict[str, Mask] = {}
        templates: list[Template] = []
        for k, (wiring, names, new) in enumerate(zip(wirings, arrays, dims, strict=True)):
            for dim, size in wiring.sizes.items():
                agree(sizes, new[dim], size, wiring)
            templates.append(renamed(wiring.state, names))
            masks |= {names[name]: mask for name, mask in wiring.masks.items()}
            for variable in wiring.variables:
                table = tuple(tuple(names[name] for name in row) for row in variable.table)
                unused = tuple(new.get(d, d) if isinstance(d, str) else d for d in variable.unused)
                prefixed = f"cell_{k}/{variable.name}"
                aliases = tuple(f"cell_{k}/{alias}" for alias in variable.aliases)
                variables.append(
                    replace(variable, name=prefixed, table=table, unused=unused, aliases=aliases)
                )
        return Wiring(
            cell=whole.cell,
            inputs=tuple(arrays[0][name] for name in wirings[0].inputs),
            output=whole.outputs[wirings[-1].output],
            state=self._structure(templates),
            variables=tuple(variables),
            sizes=sizes,
            masks=masks,
        )

    def _structure(self, templates: list[Template]) -> Template:
        return tuple(templates) if self._state_is_tuple else Joined(tuple(templates))

    @property
    def built(self) -> bool:
        return all(cell.built for cell in self._cells)

    def build(self, input_width: Any = None, *, dtype: Any = None, seed: Any = None) -> None:
        """Build the layers from below; each reads what the one below puts out."""
        random = to_generator(seed)
        for cell in self._cells:
            cell.build(input_width, dtype=dtype, seed=random)
            input_width = cell.output_size

    @property
    def variables(self) -> Arrays:
        """Those of the layers, as cell_0/NAME, cell_1/NAME, ..."""

        def arrays() -> Arrays:
            return {
                f"cell_{k}/{name}": array
                for k, cell in enumerate(self._cells)
                for name, array in cell.variables.items()
            }

        return Held(arrays, self.set_variables)

    def set_variables(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """As of any cell; each name says its layer, cell_0/..., cell_1/..."""
        groups: list[dict[str, Any]] = [{} for _ in self._cells]
        for key, value in given_arrays(values, named):
            layer, rest = self._place(key)
            if rest in groups[layer]:
                raise ArgumentError(f"variable {key!r} of {self.name} is given twice")
            groups[layer][rest] = value
        for cell, group in zip(self._cells, groups, strict=True):
            if group:
                cell.set_variables(group)

    def _place(self, key: str) -> tuple[int, str]:
        parts = str(key).split("/")
        for k, part in enumerate(parts):
            number = part.removeprefix("cell_")
            if part.startswith("cell_") and number.isdigit() and int(number) < len(self._cells):
                return int(number), "/".join(parts[k + 1 :])
        raise ArgumentError(
            f"{self.name} has no variable {key!r}",
            facts=(f"it has {len(self._cells)} layers: cell_0/... and so on",),
        )

    @property
    def sizes(self) -> Mapping[str, int]:
        return _sizes(self.wiring, self._cells[0])

    @property
    def looks_up(self) -> bool:
        return bool(self._cells[0].looks_up)

    def looked_up(self, inputs: Any, dtype: str) -> Any:
        return self._cells[0].looked_up(inputs, dtype)

    def pull_lookup(self, inputs: Any, d: Array) -> tuple[Any, Arrays]:
        d_inputs, variables = self._cells[0].pull_lookup(inputs, d)
        return d_inputs, {f"cell_0/{name}": array for name, array in variables.items()}

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Array, Any]:
        template, widths = self.state_layout()
        given = flattened(template, state, widths)
        new: Arrays = {}
        for k, cell in enumerate(self._cells):
            own, _ = cell.state_layout()
            start = {n: given.get(f"{k}.{n}") for n in leaves(own)}
            inputs, after = cell(inputs, _structured(own, start))
            new |= {f"{k}.{n}": a for n, a in flattened(own, after, cell.state_layout()[1]).items()}
        return inputs, built(template, new)


class Wrapper(RNNCell):
    """A cell around one other, which keeps the variables."""

    def __init__(self, cell: RNNCell) -> None:
        check_cell(cell)
        self._cell = cell
        self._wired: tuple[Wiring, Wiring] | None = None
        self._dtype = cell._dtype
        self.name = f"{type(self).__name__}({cell.name})"

    @property
    def wrapped_cell(self) -> RNNCell:
        return self._cell

    @property
    def looks_up(self) -> bool:
        return self._cell.looks_up

    def looked_up(self, inputs: Any, dtype: str) -> Any:
        return self._cell.looked_up(inputs, dtype)

    def pull_lookup(self, inputs: Any, d: Array) -> tuple[Any, Arrays]:
        return self._cell.pull_lookup(inputs, d)

    @property
    def wiring(self) -> Wiring:
        """The inner cell's, rewritten; anew where that is another since."""
        inner = self._cell.wiring
        if self._wired is None or self._wired[0] is not inner:
            self._wired = inner, self._wire(inner)
        return self._wired[1]

    def _wire(self, inner: Wiring) -> Wiring:
        raise NotImplementedError

    @property
    def built(self) -> bool:
        return self._cell.built

    def build(self, input_width: Any = None, *, dtype: Any = None, seed: Any = None) -> None:
        """Build the cell inside."""
        self._cell.build(input_width, dtype=dtype, seed=seed)

    @property
    def variables(self) -> Arrays:
        """Those of the cell inside."""
        return self._cell.variables

    def set_variables(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Those of the cell inside."""
        self._cell.set_variables(values, **named)

    @property
    def sizes(self) -> Mapping[str, int]:
        return _sizes(self.wiring, self._cell)


class DropoutWrapper(Wrapper):
    """Dropout of a cell's inputs, states and output, by masks that are inputs of its equations.

    keep_prob = 1 leaves a part alone. Kept values are divided by keep_prob. A state is masked
    on its way to the next step; the output is that of the whole state, by a mask of its own.
    Of an LSTMStateTuple only h is masked, unless dropout_state_filter_visitor says otherwise.
    variational_recurrent: one draw for all steps and rows of a run.  seed: an integer or a
    numpy.random.Generator.
    """

    def __init__(
        self,
        cell: RNNCell,
        input_keep_prob: float = 1.0,
        output_keep_prob: float = 1.0,
        state_keep_prob: float = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: Any = None,
        dropout_state_filter_visitor: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(cell)
        if dropout_state_filter_visitor is not None and not callable(dropout_state_filter_visitor):
            raise ArgumentTypeError("dropout_state_filter_visitor must be callable")
        self._keep = {
            "input": probability(input_keep_prob, "input_keep_prob"),
            "state": probability(state_keep_prob, "state_keep_prob"),
            "output": probability(output_keep_prob, "output_keep_prob"),
        }
        if self._keep["input"] < 1 and cell.looks_up:
            raise ArgumentError(
                f"{cell.name} reads integers, of which none can be dropped",
                hint="EmbeddingWrapper(DropoutWrapper(cell, input_keep_prob=0.5), classes, size)",
            )
        self._variational = to_flag(variational_recurrent, "variational_recurrent")
        self._random = to_generator(seed)
        self._visitor = dropout_state_filter_visitor or _all_but_c
        self._masks: dict[str, Mask] = {}

    def forget(self) -> None:
        """Let single steps draw a variational mask anew."""
        for mask in self.wiring.masks.values():
            mask.forget()

    def _wire(self, inner: Wiring) -> Wiring:
        names = list(inner.inputs) if self._keep["input"] < 1 else []
        kinds = {name: "input" for name in names}
        if self._keep["state"] < 1:
            for state in _chosen(inner, self._visitor):
                names.append(f"{state}_next")
                kinds[f"{state}_next"] = "state"
        outputs = [inner.output] if self._keep["output"] < 1 else []
        kinds |= {f"output {inner.output}": "output" for _ in outputs}
        dropped = masked(inner.cell, names, outputs=outputs)
        masks = dict(inner.masks)
        for what, name in dropped.added.items():
            keep = self._keep[kinds[what]]
            masks[name] = self._masks.setdefault(what, Mask(keep, self._random, self._variational))
        return replace(inner, cell=dropped.cell, output=dropped.outputs[inner.output], masks=masks)


class ResidualWrapper(Wrapper):
    """The cell's inputs are added to its outputs; both have one width."""

    def __init__(self, cell: RNNCell, residual_fn: Any = None) -> None:
        super().__init__(cell)
        if residual_fn is not None:
            raise ArgumentError(
                "a residual_fn is a function of arrays, and equations are needed here",
                hint="derive.layers.compose.shortened adds an input to an output",
            )
        if len(cell.wiring.inputs) > 1:
            raise ArgumentError(f"{cell.name} has two inputs, and the output is one array")
        if cell.looks_up:
            raise ArgumentError(f"{cell.name} reads integers, which are added to no output")

    def _wire(self, inner: Wiring) -> Wiring:
        (x,) = inner.inputs
        summed = shortened(inner.cell, x, inner.output)
        narrow, wide = inner.cell.inputs[x][0], inner.cell.outputs[inner.output][0]
        sizes = dict(inner.sizes)
        if isinstance(narrow, str) and narrow in sizes and isinstance(wide, str):
            agree(sizes, wide, sizes[narrow], inner)
        return replace(inner, cell=summed.cell, output=summed.outputs[inner.output], sizes=sizes)


# --- what they share -----------------------------------------------------------------------------


def _owners(cell: RNNCell) -> Iterator[RNNCell]:
    """The cells and wrappers that may hold variables."""
    if isinstance(cell, Wrapper):
        yield cell
        yield from _owners(cell.wrapped_cell)
    elif isinstance(cell, MultiRNNCell):
        for inner in cell._cells:
            yield from _owners(inner)
    else:
        yield cell


def agree(sizes: dict[str, int], dim: Dim, size: int, wiring: Wiring) -> None:
    """Say that a dimension has this length; ArgumentError where it has another."""
    known = dim if isinstance(dim, int) else sizes.setdefault(dim, size)
    if known != size:
        raise ArgumentError(
            f"inputs of {wiring.cell.name} have the wrong width",
            facts=(f"they have width {size}, and what it reads has width {known}",),
        )


def _sizes(wiring: Wiring, first: RNNCell) -> dict[str, int]:
    widths = tuple(
        dim if isinstance(dim, int) else first.sizes[dim] for dim in first.wiring.input_dims()
    )
    return wiring.with_input_widths(widths)


def _structured(template: Template, arrays: Mapping[str, Any]) -> Any:
    """The structure, with None for what is missing."""

    def joined(parts: list[Any]) -> Any:
        return None if any(p is None for p in parts) else np.concatenate(parts, axis=-1)

    return mapped(template, lambda name: arrays[name], joined)


def _all_but_c(state: Any) -> Any:
    """TensorFlow's choice of what to drop: everything but the c of an LSTM."""
    return LSTMStateTuple(c=False, h=True) if isinstance(state, LSTMStateTuple) else True


def _chosen(wiring: Wiring, visitor: Callable[[Any], Any]) -> list[str]:
    """Names of the states that the visitor wants masked."""
    widths = wiring.state_widths()

    def visit(template: Template) -> list[str]:
        answer = visitor(sizes_of(template, widths))
        if answer is False:
            return []
        if isinstance(template, (str, Joined)):
            return list(leaves(template))
        flags = answer if isinstance(answer, (tuple, list)) else (True,) * len(template)
        chosen = []
        for part, flag in zip(template, flags, strict=True):
            if flag is True:
                chosen += [part] if isinstance(part, str) else visit(part)
        return chosen

    return visit(wiring.state)
