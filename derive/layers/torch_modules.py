"""RNN.from_torch and RNN.to_torch: torch.nn's LSTM, GRU and RNN as a stack of layers, and back.

In: a module, or an RNN.  Out: the other.
Not here: other systems and other conventions (weights/). torch is imported by `to_torch` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text

if TYPE_CHECKING:
    from derive.layers.rnn import RNN

#: Of a torch module's mode: gates in torch's order, and whether it has a bias inside of its reset.
_GATES = {"LSTM": "ifgo", "GRU": "rzn", "RNN_TANH": "", "RNN_RELU": ""}

_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def _cell_of(mode: str, projected: bool) -> Cell:
    if mode == "LSTM":
        return cells.from_spec("lstm_projection" if projected else "lstm")
    if mode == "GRU":
        return cells.gru(reset="after", keeps="previous", biases=2)
    return cells.rnn(activation=mode.removeprefix("RNN_").lower())


def mode_of(module: Any) -> str:
    """ "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"; of derive.torch's drop-ins as well."""
    mode = getattr(module, "mode", None)
    if mode is None:
        mode = {"LSTM": "LSTM", "GRU": "GRU"}.get(type(module).__name__)
    if mode is None and hasattr(module, "nonlinearity"):
        mode = f"RNN_{module.nonlinearity.upper()}"
    wanted = ("num_layers", "input_size", "bidirectional", "batch_first", "dropout")
    if mode not in _GATES or not all(hasattr(module, name) for name in wanted):
        raise ArgumentTypeError(
            f"from_torch takes a torch.nn.LSTM, GRU or RNN, not {kind_text(module)}",
            hint='derive.weights.load(cell, "pytorch", module.state_dict())',
        )
    return str(mode)


def options_of(module: Any) -> tuple[Cell, dict[str, Any]]:
    """The cell of a module, and arguments of RNN."""
    mode = mode_of(module)
    projection = int(getattr(module, "proj_size", 0) or 0)
    sizes = {"I": module.input_size, "H": module.hidden_size}
    if projection:
        sizes["P"] = projection
    dtype = str(next(iter(module.parameters())).dtype).removeprefix("torch.")
    options = {
        "num_layers": module.num_layers,
        "bidirectional": module.bidirectional,
        "batch_first": module.batch_first,
        "dropout": float(module.dropout),
        "dtype": dtype if dtype in ("float32", "float64") else "float32",
    }
    return _cell_of(mode, bool(projection)), {**options, **sizes}


def params_of(module: Any, cell: Cell) -> dict[str, Any]:
    """The module's parameters by the names of RNN."""
    given = arrays_of(module)
    gates = _GATES[mode_of(module)]
    found: dict[str, Any] = {}
    for _, _, suffix in places(module.num_layers, module.bidirectional):
        weight = given[f"weight_ih{suffix}"]
        none = np.zeros(len(weight), weight.dtype)
        biases = [given.get(f"bias_{side}{suffix}", none) for side in ("ih", "hh")]
        if gates != "rzn":
            biases = [biases[0] + biases[1]]
        stacked = {"W": weight, "U": given[f"weight_hh{suffix}"], "b": biases[0]}
        if gates == "rzn":
            stacked["b_h"] = biases[1]
        for name, array in stacked.items():
            names = _blocks(name, gates)
            found |= {
                f"{one}{suffix}": part.copy()
                for one, part in zip(names, np.split(array, len(names)), strict=True)
            }
        if "W_p" in cell.params:
            found[f"W_p{suffix}"] = given[f"weight_hr{suffix}"].copy()
    return found


def arrays_of(module: Any) -> dict[str, Any]:
    """{torch's name: array} of a layer or of a cell of one step. A parametrized weight (weight_norm
    and the like) is what it computes, which is no entry of `state_dict`."""
    if any(getattr(value, "is_meta", False) for value in module.state_dict().values()):
        raise ArgumentError("the module is on meta, where it has no values")
    ends = [""]
    if hasattr(module, "num_layers"):
        ends = [suffix for _, _, suffix in places(module.num_layers, module.bidirectional)]
    found = {
        name: value
        for name, value in module.state_dict().items()
        if not name.startswith("parametrizations.")
    }
    for name in (f"{kind}{end}" for end in ends for kind in _KINDS):
        value = getattr(module, name, None)
        if value is not None and hasattr(value, "detach"):
            found[name] = value
    return {name: _array(value) for name, value in found.items()}


def places(num_layers: int, bidirectional: bool) -> Iterator[tuple[int, bool, str]]:
    """(layer, reverse, the end of its parameters' names)."""
    for layer in range(num_layers):
        for reverse in (False, True)[: 2 if bidirectional else 1]:
            yield layer, reverse, f"_l{layer}{'_reverse' if reverse else ''}"


def module_of(rnn: RNN) -> Any:
    """A torch.nn module that computes what the RNN does."""
    import torch

    has_projection = "W_p" in rnn.cell.params
    kinds = {m: _cell_of(m, has_projection and m == "LSTM") for m in _GATES}
    mode = next((m for m, cell in kinds.items() if cell == rnn.cell), None)
    if mode is None:
        raise ArgumentError(
            f"torch.nn has no module for {rnn.cell.name}",
            facts=("it has the catalogue's lstm, lstm_projection, gru and rnn",),
            hint="derive.torch.RNN(cell, input_size, hidden_size)",
        )
    params, gates = rnn.params, _GATES[mode]
    projected = has_projection and mode == "LSTM"
    first = params["W_l0" if not gates else f"W_{gates[0]}_l0"]
    options: dict[str, Any] = {
        "num_layers": rnn.num_layers, "bidirectional": rnn.bidirectional,
        "batch_first": rnn.batch_first, "dropout": rnn.dropout,
        "dtype": getattr(torch, rnn.dtype.name),
    }  # fmt: skip
    if projected:
        options["proj_size"] = len(params["W_p_l0"])
    if mode.startswith("RNN"):
        options["nonlinearity"] = mode.removeprefix("RNN_").lower()
    kind = getattr(torch.nn, mode.partition("_")[0])
    module = kind(first.shape[1], first.shape[0], **options)
    state: dict[str, Any] = {}
    for _, _, suffix in places(rnn.num_layers, rnn.bidirectional):
        names = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}
        if mode == "GRU":
            names["bias_hh"] = "b_h"
        for theirs, ours in names.items():
            parts = [params[f"{one}{suffix}"] for one in _blocks(ours, gates)]
            state[f"{theirs}{suffix}"] = torch.from_numpy(np.concatenate(parts))
        if mode != "GRU":
            state[f"bias_hh{suffix}"] = torch.zeros_like(state[f"bias_ih{suffix}"])
        if projected:
            state[f"weight_hr{suffix}"] = torch.from_numpy(params[f"W_p{suffix}"].copy())
    module.load_state_dict(state, strict=True)
    return module


def _blocks(name: str, gates: str) -> list[str]:
    """W_i, W_f, ...; b_hr, b_hz, ...; of a cell without gates the name itself."""
    if not gates:
        return [name]
    joint = "" if name == "b_h" else "_"
    return [f"{name}{joint}{gate}" for gate in gates]


def _array(value: Any) -> Any:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    return (value.float() if value.element_size() < 4 else value).numpy()
