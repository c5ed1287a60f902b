"""Cells as ONNX models.

    model = derive.onnx.export(cell, "cell.onnx", params=params, lengths=True)

Needs the extra `onnx`. Reading ONNX files is `derive.weights`.

| file        | holds                                                                |
| ----------- | -------------------------------------------------------------------- |
| model.py    | export: what a caller asks for, checked; the model                    |
| given.py    | parameters and sizes                                                 |
| scan.py     | layers and directions, each a Scan                                   |
| operator.py | LSTM, GRU or RNN, where a cell is proved to be one                   |

Not here: the nodes of one recurrence (emit/onnx/).
"""

from __future__ import annotations

from derive.onnx.model import export

__all__ = ["export"]
