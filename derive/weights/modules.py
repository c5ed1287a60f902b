"""Whole modules of PyTorch: layers and directions in one call.

In: a torch.nn.LSTM, GRU or RNN, or a cell of these, or one of derive.torch's drop-ins.  Out:
parameters by the names of `derive.layers.RNN`.
Not here: one layer and direction (exchange.py). torch itself is not imported: a module is asked for
its `state_dict`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.kernel.signature import Arrays
from derive.weights.exchange import load


def load_module(cell: Cell, module: Any) -> Arrays:
    """{NAME_l0: array, NAME_l1_reverse: ...}, as `layers.RNN.set_params` takes them; of a module of
    one step, torch.nn.LSTMCell and the like, {NAME: array}."""
    arrays = {name: _array(value) for name, value in module.state_dict().items()}
    if not hasattr(module, "num_layers"):
        return load(cell, "pytorch", arrays, layer=None)
    found: Arrays = {}
    for layer, reverse, suffix in places(module.num_layers, module.bidirectional):
        own = load(cell, "pytorch", arrays, layer=layer, reverse=reverse)
        found |= {f"{name}{suffix}": array for name, array in own.items()}
    return found


def places(num_layers: int, bidirectional: bool) -> Iterator[tuple[int, bool, str]]:
    """(layer, reverse, the end of its parameters' names)."""
    for layer in range(num_layers):
        for reverse in (False, True)[: 2 if bidirectional else 1]:
            yield layer, reverse, f"_l{layer}{'_reverse' if reverse else ''}"


def _array(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) in ("torch.bfloat16", "torch.float16"):
            value = value.float()
        return value.numpy()
    return np.asarray(value)
