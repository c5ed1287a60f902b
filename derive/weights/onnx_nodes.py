"""An ONNX file's RNN, GRU or LSTM node, read: attributes, weights, and what feeds it.

In: a path, the bytes of a model or an onnx.ModelProto, and which node.  Out: `Node`.
Not here: the file (onnx_file.py), what is constant (onnx_constants.py), what the attributes mean
for a cell (onnx_cells.py).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text, shape_text
from derive.kernel.signature import Array, Arrays
from derive.weights.onnx_constants import Constants
from derive.weights.onnx_file import Model, Place, open_model, recurrent, strangers

WEIGHTS = ("W", "R", "B", "P")
#: Inputs in their order; the LSTM has two more, and the quantised LSTM four behind these.
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_SCALES = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
_COUNTS = {"RNN": 6, "GRU": 6, "LSTM": 8}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": ("forward",), "reverse": ("reverse",)} | {
    "bidirectional": ("forward", "reverse")
}
_FLAGS = ("input_forget", "linear_before_reset", "layout")


@dataclass(frozen=True, slots=True, eq=False)
class Wired:
    """An input of a node that another node computes when the model runs.

    source: where from, in words.  base: what it repeats, where only the number of rows is open.
    """

    source: str
    base: Array | None
    place: Place
    model: Model
    name: str

    def value(self, X: Array) -> Array | None:
        """What the model makes of the node's own X, None where it takes more than that."""
        (x,) = self.place.node.input[:1]
        known = Constants(self.model, {x: X})
        return known.value(self.place.scope, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One recurrent node.

    place: such as "graph/if_0/then/LSTM_1".  weights: W, R and, where given, B and P, with their
    axis of directions.  constants: sequence_lens, initial_h, initial_c where the file has them;
    wired: where they come from other nodes or from outside.  activations: their names, all
    directions one after the other, empty for the default; alpha and beta: values in the order
    in which activations take them.  clip: 0 for none.  quantized: whether the file has integers of
    eight bits, of which `weights` are the numbers that they stand for.  feeds: {input: what it
    comes from, in words}.
    """

    operator: str
    name: str
    place: str
    weights: Arrays
    constants: Arrays
    wired: Mapping[str, Wired]
    directions: tuple[str, ...]
    activations: tuple[str, ...]
    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    clip: float
    input_forget: bool
    linear_before_reset: bool
    layout: int
    quantized: bool
    feeds: Mapping[str, str]

    @property
    def flags(self) -> dict[str, Any]:
        """The options of derive.weights.load that the node decides."""
        if self.operator == "LSTM":
            return {"input_forget": self.input_forget}
        return {"linear_before_reset": self.linear_before_reset} if self.operator == "GRU" else {}


def read_node(model: Any, name: str | None = None) -> Node:
    """The only recurrent node of a model, or the one of that name or place (or that writes that
    output). UserWarning, to the caller's caller, where its weights are integers."""
    opened = open_model(model)
    node = read_place(opened, _chosen(opened, name), Constants(opened))
    mention_integers(node, 4)
    return node


def mention_integers(node: Node, stacklevel: int) -> None:
    if node.quantized:
        text = f"the weights of {node.name} are integers of eight bits: dequantised"
        warnings.warn(text, UserWarning, stacklevel=stacklevel)


def read_place(model: Model, place: Place, constants: Constants) -> Node:
    _check(place)
    given = _attributes(model, place)
    sources = _sources(place)
    arrays: Arrays = {}
    wired: dict[str, Wired] = {}
    for name, source in sources.items():
        if name == "X":
            continue
        found = constants.value(place.scope, source)
        if found is not None:
            arrays[name] = found
        elif name in ("sequence_lens", "initial_h", "initial_c"):
            base = constants.repeated(place.scope, source)
            text = constants.source(place.scope, source)
            wired[name] = Wired(text, base, place, model, source)
        else:
            raise ArgumentError(
                f"{name} of {place.title} is not in the file",
                facts=(f"it is {constants.source(place.scope, source)}",),
                hint="derive.weights.load(cell, 'onnx', {'W': ..., 'R': ..., 'B': ...})",
            )
    arrays = _dequantized(place, arrays) if place.quantized else arrays
    weights = {name: _real(place, name, arrays.pop(name)) for name in WEIGHTS if name in arrays}
    directions = DIRECTIONS[given.get("direction", "forward")]
    _check_sizes(place, given, weights, len(directions))
    return Node(
        operator=place.operator,
        name=place.name,
        place=place.text,
        weights=weights,
        constants=arrays,
        wired=wired,
        directions=directions,
        activations=tuple(given.get("activations", ())),
        alpha=tuple(given.get("activation_alpha", ())),
        beta=tuple(given.get("activation_beta", ())),
        clip=float(given.get("clip", 0.0)),
        input_forget=bool(given.get("input_forget", 0)),
        linear_before_reset=bool(given.get("linear_before_reset", 0)),
        layout=int(given.get("layout", 0)),
        quantized=place.quantized,
        feeds={name: constants.source(place.scope, source) for name, source in sources.items()},
    )


def labels(places: tuple[Place, ...]) -> list[str]:
    """What each node is chosen by: its name, or its place where names are not enough."""
    names = Counter(place.name for place in places)
    return [p.name if p.name and names[p.name] == 1 else p.text for p in places]


def _chosen(model: Model, name: str | None) -> Place:
    places = recurrent(model)
    known = labels(places)
    others = tuple(f"and {text}, which is not read" for text in strangers(model))
    if name is not None:
        fits = [p for p in places if name == p.text] or [
            p for p in places if name in (p.name, *p.node.output)
        ]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise ArgumentError(
                f"{len(fits)} recurrent nodes of {model.title} are called {name!r}",
                facts=(f"they are: {', '.join(place.text for place in fits)}",),
                hint=f"node={fits[0].text!r}",
            )
        raise ArgumentError(
            f"{model.title} has no recurrent node {name!r}",
            facts=(f"it has: {', '.join(known) or 'none'}", *others),
            hint=closest(name, [*known, *(place.text for place in places)]),
        )
    if len(places) != 1:
        raise ArgumentError(
            f"{model.title} has {len(places)} RNN, GRU and LSTM nodes",
            facts=((f"they are: {', '.join(known)}",) if places else ()) + others,
            hint=f"node={known[0]!r}" if places else None,
        )
    return places[0]


# --- attributes -----------------------------------------------------------------------------


def _check(place: Place) -> None:
    """The node has the names and types of its operator."""
    import onnx

    if place.quantized:
        return
    try:
        onnx.checker.check_node(place.node)
    except Exception as error:  # the checker's own class, and UnicodeDecodeError
        raise ArgumentError(
            f"{place.title} is no {place.node.op_type} of ONNX",
            facts=(str(error).partition("\n")[0],),
        ) from error


def _attributes(model: Model, place: Place) -> dict[str, Any]:
    from onnx import AttributeProto, helper

    known = _schema(model, place)
    given: dict[str, Any] = {}
    for attribute in place.node.attribute:
        if attribute.name not in known:
            raise ArgumentError(
                f"{place.operator} of ONNX has no attribute {attribute.name!r}, "
                f"and {place.title} has",
                facts=(f"its attributes are {', '.join(sorted(known))}",),
                hint=closest(attribute.name, sorted(known)),
            )
        kind = AttributeProto.AttributeType.Name(attribute.type)
        if kind != known[attribute.name]:
            raise ArgumentError(
                f"{attribute.name} of {place.title} has the type {kind}",
                facts=(f"that of the operator is {known[attribute.name]}",),
            )
        given[attribute.name] = _text(helper.get_attribute_value(attribute))
    if given.get("direction", "forward") not in DIRECTIONS:
        raise ArgumentError(
            f"direction of {place.title} cannot be {given['direction']!r}",
            facts=(f"it is {', '.join(DIRECTIONS)}",),
        )
    for name in _FLAGS:
        if given.get(name, 0) not in (0, 1):
            raise ArgumentError(f"{name} of {place.title} is 0 or 1, not {given[name]}")
    if not 0 <= given.get("clip", 0.0) < np.inf:
        raise ArgumentError(
            f"clip of {place.title} cannot be {given['clip']:g}",
            facts=("it is a bound: values are cut to -clip .. clip",),
        )
    return given


def _schema(model: Model, place: Place) -> dict[str, str]:
    """{attribute: type} of the operator in the version of the model."""
    from onnx import defs

    version = model.opsets.get("", model.opsets.get("ai.onnx", 0))
    if place.quantized or not 1 <= version <= defs.onnx_opset_version():
        version = defs.onnx_opset_version()
    schema = defs.get_schema(place.operator, version, "")
    return {name: attribute.type.name for name, attribute in schema.attributes.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_text(v) for v in value] if isinstance(value, (list, tuple)) else value


# --- inputs ---------------------------------------------------------------------------------


def _sources(place: Place) -> dict[str, str]:
    """{input: the name of its array} of those that are there."""
    names = (*_INPUTS, *_SCALES) if place.quantized else _INPUTS[: _COUNTS[place.operator]]
    if len(place.node.input) > len(names):
        raise ArgumentError(
            f"{place.title} has {len(place.node.input)} inputs",
            facts=(f"those of the operator are {', '.join(names)}",),
        )
    return {n: source for n, source in zip(names, place.node.input, strict=False) if source}


def _real(place: Place, name: str, array: Array) -> Array:
    """Weights as float32 or float64."""
    try:
        if array.dtype in (np.float32, np.float64):
            return array
        if array.dtype.kind not in "fV":  # bfloat16 is of a kind of its own
            raise TypeError(f"{array.dtype} is no type of real numbers")
        return array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"{name} of {place.title} must hold real numbers, not {kind_text(array)}",
            facts=(str(error),),
        ) from error


def _dequantized(place: Place, arrays: Arrays) -> Arrays:
    """The numbers that integers stand for, in the operator's own order of axes:
    (W - zero point) scale, with one of both a direction or a row of W."""
    for name in ("W", "R"):
        if f"{name}_scale" not in arrays or name not in arrays or arrays[name].ndim != 3:
            raise ArgumentError(
                f"{place.title} needs {name} [D, inputs, 4H] and {name}_scale",
                facts=(f"it has {', '.join(arrays)}",),
            )
        stored, scale = arrays[name], arrays.pop(f"{name}_scale")
        zero = arrays.pop(f"{name}_zero_point", np.zeros(scale.shape, stored.dtype))
        count, _, width = stored.shape
        for what, array in ((f"{name}_scale", scale), (f"{name}_zero_point", zero)):
            if array.shape not in ((count,), (count, width)):
                raise ArgumentError(
                    f"{what} of {place.title} has the wrong shape",
                    facts=(f"it is [{count}] or [{count}, {width}], "
                           f"given {shape_text(array.shape)}",),
                )  # fmt: skip
        wide = [np.reshape(a, (count, 1, -1)).astype(np.float32) for a in (zero, scale)]
        arrays[name] = np.swapaxes((stored.astype(np.float32) - wide[0]) * wide[1], 1, 2)
    return arrays


def _check_sizes(place: Place, given: dict[str, Any], weights: Arrays, directions: int) -> None:
    if missing := [name for name in ("W", "R") if name not in weights]:
        raise ArgumentError(f"{place.title} has no {missing[0]}")
    axes = {"W": 3, "R": 3, "B": 2, "P": 2}
    for name, array in weights.items():
        if array.ndim != axes[name]:
            raise ArgumentError(
                f"{name} of {place.title} has {axes[name]} axes",
                facts=(f"given {shape_text(array.shape)}",),
            )
        if array.shape[0] != directions:
            raise ArgumentError(
                f"{name} of {place.title} has {array.shape[0]} directions, "
                f"and direction says {directions}"
            )
    units = weights["R"].shape[-1]
    if given.get("hidden_size", units) != units:
        raise ArgumentError(
            f"hidden_size of {place.title} is {given['hidden_size']}, and R has {units} columns"
        )
    rows = GATES[place.operator] * units
    wanted = {"W": (rows, weights["W"].shape[-1]), "R": (rows, units), "B": (2 * rows,)}
    wanted["P"] = (3 * units,)
    for name, array in weights.items():
        if array.shape[1:] != wanted[name]:
            raise ArgumentError(
                f"{name} of {place.title} has the wrong shape",
                facts=(f"it is {shape_text((directions, *wanted[name]))} for {units} units, "
                       f"given {shape_text(array.shape)}",),
            )  # fmt: skip


def as_layout(array: Array, layout: int) -> Array:
    """Y_h, Y_c and initial states with batch and direction in the order of `layout`."""
    return np.swapaxes(array, 0, 1) if layout else array
