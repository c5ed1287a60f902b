"""Wrappers with variables of their own: EmbeddingWrapper, Input- and OutputProjectionWrapper.

In: an RNNCell.  Out: an RNNCell that reads, or puts out, something else. Projections are equations
of the cell that runs; rows of an embedding are looked up before it, and their gradients added up.
Not here: wrappers without variables (wrappers.py).

Variables of a wrapper have its scope before their names, as in TensorFlow:
input_projection_wrapper/kernel. Those of a wrapper of the same kind inside have it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import MOST, check_room, read, shape_text, to_count, to_generator
from derive.kernel.signature import Array, Arrays
from derive.language.tree import Binary, Call, Node
from derive.language.variant.rewriting import NOWHERE, Draft, named, substituted
from derive.layers.compose import Composed, composed
from derive.layers.held import Held
from derive.rnn_cell.activation import VARIABLE, Activation, activation_of
from derive.rnn_cell.base import RNNCell, Wiring, float_dtype, given_arrays
from derive.rnn_cell.layout import Variable, constant, glorot_uniform, initializer_of, uniform
from derive.rnn_cell.wrappers import Wrapper, agree


class _Extended(Wrapper):
    """A wrapper that adds variables to those of the cell inside."""

    #: What TensorFlow calls it.
    scope = ""

    def __init__(self, cell: RNNCell) -> None:
        super().__init__(cell)
        if len(cell.wiring.inputs) > 1:
            raise ArgumentError(f"{cell.name} has two inputs, and {type(self).__name__} one")
        self._own: Arrays = {}
        self._width: int | None = None

    @property
    def built(self) -> bool:
        return self._cell.built and bool(self._own)

    def build(self, input_width: Any = None, *, dtype: Any = None, seed: Any = None) -> None:
        """Build the cell inside, and draw the wrapper's own variables."""
        widths = self._widths(input_width)
        if self.built:
            return self._check_width(widths)
        random = to_generator(seed)
        self._cell.build(self._width_inside(widths[0]), dtype=dtype, seed=random)
        sizes = self.wiring.with_input_widths(widths)
        kind = self._dtype if dtype is None else float_dtype(dtype)
        kind = np.dtype(np.float32) if kind is None else kind
        for variable in self._variables():
            shape = variable.shape(self.wiring.cell.params, sizes)
            check_room(f"variable {variable.name}", shape, np.dtype(np.float64).itemsize)
            self._own[variable.name] = variable.draw(shape, random, {}).astype(kind)
        self._width = widths[0]
        return None

    def _width_inside(self, width: int) -> int:
        return width

    def _variables(self) -> tuple[Variable, ...]:
        """The wrapper's own, which stand behind those of the cell inside."""
        return self.wiring.variables[len(self._cell.wiring.variables) :]

    def _outside(self, name: str) -> str:
        """What a variable of the cell inside is called here."""
        return f"{self.scope}/{name}" if name.startswith(f"{self.scope}/") else name

    def _joined(self, inner: Wiring, *own: Variable) -> tuple[Variable, ...]:
        return (*(replace(v, name=self._outside(v.name)) for v in inner.variables), *own)

    @property
    def sizes(self) -> Mapping[str, int]:
        self._need_variables()
        assert self._width is not None
        return {**self._cell.sizes, **self.wiring.with_input_widths((self._width,))}

    @property
    def variables(self) -> Arrays:
        """Those of the cell inside, and SCOPE/NAME of its own; what is called SCOPE/NAME inside
        is SCOPE/SCOPE/NAME here."""
        self._need_variables()

        def arrays() -> Arrays:
            inside = {self._outside(name): a for name, a in self._cell.variables.items()}
            return {**inside, **self._own}

        return Held(arrays, self.set_variables)

    def set_variables(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """As of any cell; the wrapper's own by SCOPE/NAME, others go to the cell inside."""
        own: dict[str, Any] = {}
        inside: dict[str, Any] = {}
        place = self._placing()
        for key, value in given_arrays(values, named):
            is_own, name = place(str(key).removesuffix(":0"))
            group = own if is_own else inside
            if name in group:
                raise ArgumentError(
                    f"variable {name} of {(self if is_own else self._cell).name} is given twice",
                    facts=(f"once as {key!r}",),
                )
            group[name] = value
        arrays = {name: np.array(read(value, f"variable {name}")) for name, value in own.items()}
        if not self.built:
            self._build_for(arrays, inside)
        for name, array in arrays.items():
            if array.shape != self._own[name].shape:
                wanted = shape_text(self._own[name].shape)
                raise ArgumentError(
                    f"variable {name} has the wrong shape",
                    facts=(f"{name} is {wanted}, given {shape_text(array.shape)}",),
                )
            if array.dtype.kind not in "fiub":
                raise ArgumentTypeError(f"variable {name} must hold real numbers")
        if inside:
            self._cell.set_variables(inside)
        for name, array in arrays.items():
            self._own[name] = array if array.dtype.kind == "f" else array.astype(np.float64)

    def _placing(self) -> Callable[[str], tuple[bool, str]]:
        """A function from a name to (whether the variable is the wrapper's own, its name there).

        A name of `variables` means that variable. In others TensorFlow's scope is looked for; what
        stands before it may be any scope, but none of the cell inside: cell_0/SCOPE/kernel
        belongs to a layer inside.
        """
        known = {variable.name for variable in self._variables()}
        inner = [variable.name for variable in self._cell.wiring.variables]
        inside = {self._outside(name): name for name in inner}
        scopes = {scope for name in inner for scope in name.split("/")[:-1]} - {self.scope}

        def place(key: str) -> tuple[bool, str]:
            if key in known:
                return True, key
            if key in inside:
                return False, inside[key]
            before, _, rest = f"/{key}".partition(f"/{self.scope}/")
            if not rest or not scopes.isdisjoint(before.split("/")):
                return False, key
            name = f"{self.scope}/{rest}"
            return (True, name) if name in known else (False, rest)

        return place

    def _build_for(self, own: Arrays, inside: Mapping[str, Any]) -> None:
        """Build for the input width that arrays tell."""
        if inside and not self._cell.built:
            self._cell.set_variables(inside)
        if not self._cell.built:
            self._need_variables()
        dims = self._cell.wiring.input_dims()
        self.build(tuple(self._cell.length(dim) for dim in dims))


def _applied(activation: Activation | None, value: str, draft: Draft) -> Node:
    if activation is None or activation.name == "identity":
        return named(value)
    if activation.own is None:
        return Call(activation.name, (named(value),), NOWHERE)
    return substituted(activation.own, {VARIABLE: named(value)})


def _linear(matrix: str, x: str, bias: str) -> Node:
    product = Binary("@", named(matrix), named(x), NOWHERE)
    return Binary("+", product, named(bias), NOWHERE)


def _fresh_dim(draft: Draft, wanted: str) -> str:
    name, k = wanted, 1
    while name in draft.dims():
        k += 1
        name = f"{wanted}_{k}"
    return name


def _own_activation(given: Any) -> Activation | None:
    return None if given is None else activation_of(given)


class InputProjectionWrapper(_Extended):
    """activation(inputs kernel + bias) is what the cell reads; linear without an activation."""

    scope = "input_projection_wrapper"

    def __init__(
        self, cell: RNNCell, num_proj: int, activation: Any = None, input_size: Any = None,
        reuse: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(cell)
        if cell.looks_up:
            raise ArgumentError(
                f"{cell.name} reads integers, which have no projection",
                hint="EmbeddingWrapper(InputProjectionWrapper(cell, 8), classes, size)",
            )
        self._units = to_count(num_proj, "num_proj", least=1, most=MOST)
        self._activation = _own_activation(activation)

    def _width_inside(self, width: int) -> int:
        return self._units

    def _wire(self, inner: Wiring) -> Wiring:
        draft = Draft(inner.cell.checked)
        (x,) = inner.inputs
        (narrow,) = inner.cell.inputs[x]
        width = _fresh_dim(draft, "I_in")
        draft.inputs[x] = (width,)
        matrix, bias = draft.fresh("W_in"), draft.fresh("b_in")
        draft.params |= {matrix: (narrow, width), bias: (narrow,)}
        seen, linear = draft.fresh(f"{x}_seen"), draft.fresh(f"{x}_linear")
        draft.rename_uses({x: named(seen)})
        draft.insert(0, linear, _linear(matrix, x, bias))
        draft.insert(1, seen, _applied(self._activation, linear, draft))
        made: Composed = composed(draft)
        sizes = dict(inner.sizes)
        agree(sizes, narrow, self._units, inner)
        variables = self._joined(
            inner,
            Variable(f"{self.scope}/kernel", ((matrix,),), glorot_uniform),
            Variable(f"{self.scope}/bias", ((bias,),), constant(0.0)),
        )
        return replace(
            inner, cell=made.cell, output=made.outputs[inner.output], sizes=sizes,
            variables=variables,
        )  # fmt: skip

    def _build_for(self, own: Arrays, inside: Mapping[str, Any]) -> None:
        kernel = own.get(f"{self.scope}/kernel")
        if kernel is None or kernel.ndim != 2:
            self._need_variables()
        else:
            self.build(len(kernel))


class OutputProjectionWrapper(_Extended):
    """activation(output kernel + bias) is put out; linear without an activation."""

    scope = "output_projection_wrapper"

    def __init__(
        self, cell: RNNCell, output_size: int, activation: Any = None, reuse: Any = None
    ) -> None:
        super().__init__(cell)
        self._units = to_count(output_size, "output_size", least=1, most=MOST)
        self._activation = _own_activation(activation)

    def _wire(self, inner: Wiring) -> Wiring:
        draft = Draft(inner.cell.checked)
        out = draft.outputs[inner.output]
        width = _fresh_dim(draft, "O")
        matrix, bias = draft.fresh("W_out"), draft.fresh("b_out")
        draft.params |= {matrix: (width, *inner.cell.outputs[inner.output]), bias: (width,)}
        linear, total = draft.fresh("out_linear"), draft.fresh("projected")
        draft.append(linear, _linear(matrix, out, bias))
        draft.append(total, _applied(self._activation, linear, draft))
        draft.outputs[inner.output] = total
        made = composed(draft)
        variables = self._joined(
            inner,
            Variable(f"{self.scope}/kernel", ((matrix,),), glorot_uniform),
            Variable(f"{self.scope}/bias", ((bias,),), constant(0.0)),
        )
        return replace(
            inner, cell=made.cell, output=made.outputs[inner.output],
            sizes={**inner.sizes, width: self._units}, variables=variables,
        )  # fmt: skip


class EmbeddingWrapper(_Extended):
    """Inputs are integers below embedding_classes, [B, T, 1] or [B, T]; the cell reads their rows
    of `embedding`, which is drawn from +-sqrt(3), as in TensorFlow. Integers have no gradient."""

    scope = "embedding_wrapper"

    def __init__(
        self, cell: RNNCell, embedding_classes: int, embedding_size: int, initializer: Any = None,
        reuse: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(cell)
        if cell.looks_up:
            raise ArgumentError(f"{cell.name} reads integers already", hint="one EmbeddingWrapper")
        self._classes = to_count(embedding_classes, "embedding_classes", least=1, most=MOST)
        self._units = to_count(embedding_size, "embedding_size", least=1, most=MOST)
        self._draw = initializer_of(initializer, uniform(-(3**0.5), 3**0.5))

    @property
    def looks_up(self) -> bool:
        return True

    def _wire(self, inner: Wiring) -> Wiring:
        sizes = dict(inner.sizes)
        agree(sizes, inner.input_dims()[0], self._units, inner)
        table = Variable(
            f"{self.scope}/embedding", (), self._draw, unused=(self._classes, self._units)
        )
        return replace(inner, sizes=sizes, variables=self._joined(inner, table))

    def _width_inside(self, width: int) -> int:
        return self._units

    def build(self, input_width: Any = None, *, dtype: Any = None, seed: Any = None) -> None:
        """As of any cell; the width of the inputs is that of the embedding."""
        super().build(None, dtype=dtype, seed=seed)

    def _build_for(self, own: Arrays, inside: Mapping[str, Any]) -> None:
        self.build()

    def looked_up(self, inputs: Any, dtype: str) -> Any:
        ids = read(inputs, "inputs")
        if not np.issubdtype(ids.dtype, np.integer):
            raise ArgumentTypeError(
                f"inputs of {self.name} are integers, not {ids.dtype}", hint="x.astype(int)"
            )
        if ids.ndim in (2, 3) and ids.shape[-1] == 1:
            ids = ids[..., 0]
        if ids.ndim not in (1, 2):
            raise ArgumentError(
                f"inputs of {self.name} have the wrong shape",
                facts=(f"they are [B, T, 1] integers, given {shape_text(np.shape(inputs))}",),
            )
        if ids.size and not (ids.min() >= 0 and ids.max() < self._classes):
            raise ArgumentError(
                f"an input of {self.name} lies outside of 0 to {self._classes - 1}",
                facts=(f"smallest {ids.min()}, largest {ids.max()}",),
            )
        self.build(dtype=self._dtype or dtype)
        return self._table[ids]

    def pull_lookup(self, inputs: Any, d: Array) -> tuple[Any, Arrays]:
        gradient = np.zeros(self._table.shape, d.dtype)
        np.add.at(gradient, np.reshape(inputs, -1), d.reshape(-1, d.shape[-1]))
        return None, {f"{self.scope}/embedding": gradient}

    @property
    def _table(self) -> Array:
        return self._own[f"{self.scope}/embedding"]
