"""Weights of other systems, by their own array names, in both directions.

    params = derive.weights.load(cell, "pytorch", module.state_dict(), layer=1, reverse=True)
    arrays = derive.weights.save(cell, "keras", params)
    stack = derive.weights.load(cell, "pytorch", module)  # all layers and directions
    stack = derive.weights.load_layers(cell, "keras", "model.keras")
    theirs = derive.weights.save_gradients(cell, "pytorch", grads.params)
    layer = derive.weights.from_onnx("model.onnx")       # cells, params, run(X) -> Y, Y_h, Y_c
    print(derive.weights.contents("model.pt"))           # what a file holds, which cells fit

Systems: "tensorflow" (TF 1's rnn_cell), "keras", "pytorch", "onnx", "flax" (linen and nnx).
What a cell's parameters mean is read from their names and its equations (traits.py). A system
is a table of arrays (systems.py); one table serves both directions. What cannot be taken over
exactly is refused, with the reason.

| file           | holds                                                              |
| -------------- | ------------------------------------------------------------------ |
| exchange.py    | load and save                                                      |
| stacks.py      | load_layers: all layers and directions                             |
| modules.py     | whole modules of PyTorch                                           |
| gradients.py   | save_gradients                                                     |
| traits.py      | which conventions a cell follows, from its equations               |
| blocks.py      | arrays as blocks of parameters: shapes, splitting, joining         |
| systems.py     | the tables                                                         |
| name_scopes.py | names: prefixes, layers, nested trees                              |
| transfer.py    | from one convention to another, where that is exact                |
| suggest.py     | which catalogue cell given arrays belong to                        |
| array_files.py | .npz, .safetensors, .pt, .h5, .keras                               |
| found.py       | recurrent cells among named arrays                                 |
| contents.py    | what a file holds, and which cells fit                             |
| onnx_file.py   | an ONNX file: its graphs and recurrent nodes, with their places    |
| onnx_constants.py | what graphs compute from constants alone                        |
| onnx_evaluate.py | one node of that                                                 |
| onnx_sizes.py  | the memory and the work that it takes                              |
| onnx_loops.py  | Loop and Scan: what their bodies read and give                     |
| onnx_nodes.py  | reading an ONNX node                                               |
| onnx_cells.py  | the cell of an ONNX node: activations, clip                        |
| onnx_layers.py | running it: directions, lengths, layout                            |

Not here: initialisers and cells of the same names as TensorFlow's (rnn_cell/).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derive.weights.contents import contents as contents
    from derive.weights.exchange import load as load
    from derive.weights.exchange import save as save
    from derive.weights.gradients import save_gradients as save_gradients
    from derive.weights.onnx_layers import from_onnx as from_onnx
    from derive.weights.stacks import load_layers as load_layers

_PUBLIC = {
    "contents": "contents",
    "load": "exchange",
    "save": "exchange",
    "save_gradients": "gradients",
    "from_onnx": "onnx_layers",
    "load_layers": "stacks",
}

__all__ = ["contents", "from_onnx", "load", "load_layers", "save", "save_gradients"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'derive.weights' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"derive.weights.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
