"""derive.torch: derived cells inside PyTorch, to any order (needs torch: derive-kernels[torch]).

    import derive.torch as dt
    rnn = dt.RNN(cell, input_size, hidden_size)      any cell, in layers and directions
    one = dt.Cell(cell, input_size, hidden_size)     one step
    rnn = dt.LSTM(input_size, hidden_size)           torch.nn's LSTM, GRU and RNN: drop-ins
    outputs, last = dt.run(cell, params, inputs)     a function of tensors
    plain, tangents = dt.jvp(cell, params, inputs, t_inputs=...)

| file           | holds                                                                    |
| -------------- | ------------------------------------------------------------------------ |
| engine.py      | one cell's kernels, called with tensors                                  |
| threads.py     | kernels on the threads of PyTorch                                        |
| array_calls.py | calls of a target that takes NumPy arrays                                |
| functions.py   | derivatives and batching for autograd and torch.func                     |
| operators.py   | the operators that torch.compile and torch.export trace                  |
| running.py     | which of these serves a call                                             |
| at_once.py     | all layers in one call, where nothing is differentiated                  |
| ragged.py      | rows of unlike lengths: only those that are left are computed            |
| traced.py      | whether a tensor has numbers to look at                                  |
| checks.py      | what a user may give                                                     |
| module.py      | layers, directions, packed sequences                                     |
| rnn.py         | RNN, Cell                                                                |
| composed.py    | one layer of them: whole tensors, rows that end and start afresh         |
| drop_in.py     | LSTM, GRU, SimpleRNN                                                     |
| functional.py  | run, jvp                                                                 |
| repeated.py    | calls of run like an earlier one                                         |
| onnx_translation.py | torch.onnx.export of modules                                        |
| whole.py       | tensors that are held whole, and their parts                             |
"""

from __future__ import annotations

try:
    import torch as torch
except ImportError as error:
    from derive.errors import BuildError

    raise BuildError(
        "derive.torch needs PyTorch, which is not installed",
        hint="pip install 'derive-kernels[torch]'",
    ) from error

from derive.torch.drop_in import GRU as GRU
from derive.torch.drop_in import LSTM as LSTM
from derive.torch.drop_in import SimpleRNN as SimpleRNN
from derive.torch.functional import jvp as jvp
from derive.torch.functional import run as run
from derive.torch.onnx_translation import onnx_translations as onnx_translations
from derive.torch.rnn import RNN as RNN
from derive.torch.rnn import Cell as Cell

__all__ = ["GRU", "LSTM", "RNN", "Cell", "SimpleRNN", "jvp", "onnx_translations", "run"]
