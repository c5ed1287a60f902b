"""Whole modules of PyTorch: layers and directions in one call.

In: a torch.nn.LSTM, GRU or RNN, or a cell of these, or one of derive.torch's drop-ins.  Out:
parameters by the names of `derive.layers.RNN`.
Not here: one layer and direction (exchange.py), the arrays of a module (layers/torch_modules.py).
torch itself is not imported.
"""

from __future__ import annotations

from typing import Any

from derive.cell import Cell
from derive.kernel.signature import Arrays
from derive.layers.torch_modules import arrays_of, places
from derive.weights.exchange import load


def load_module(cell: Cell, module: Any) -> Arrays:
    """{NAME_l0: array, NAME_l1_reverse: ...}, as `layers.RNN.set_params` takes them; of a module of
    one step, torch.nn.LSTMCell and the like, {NAME: array}."""
    arrays = arrays_of(module)
    if not hasattr(module, "num_layers"):
        return load(cell, "pytorch", arrays, layer=None)
    found: Arrays = {}
    for layer, reverse, suffix in places(module.num_layers, module.bidirectional):
        own = load(cell, "pytorch", arrays, layer=layer, reverse=reverse)
        found |= {f"{name}{suffix}": array for name, array in own.items()}
    return found
