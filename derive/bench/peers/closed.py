"""Which cells of the closed lists of other libraries a cell is.

In: a Cell.  Out: `Known`, with the names of its parameters in the order that PyTorch uses, or
None.
Not here: the libraries (torch_module.py, onnx_operator.py, onednn.py, numpy_by_hand.py).

A cell is recognised by being equal to one of the catalogue. This is the one place of derive
that knows single cells: the comparison names the cell of the library by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from derive import cells
from derive.cell import Cell


@dataclass(frozen=True, slots=True)
class Known:
    """kind: lstm, gru (reset after the product), gru_before or rnn (tanh).

    Names of parameters, gate by gate: matrices of the input and of the state, biases, and where
    the kind has them biases inside the recurrent product and peepholes of i, f and o.
    """

    kind: str
    input: tuple[str, ...]
    hidden: tuple[str, ...]
    bias: tuple[str, ...]
    hidden_bias: tuple[str, ...] = ()
    peepholes: tuple[str, ...] = ()


def known(cell: Cell) -> Known | None:
    for candidate, found in _KNOWN.items():
        if cell == cells.from_spec(candidate):
            return found
    return None


def _gates(kind: str, gates: str, hidden_bias: bool = False, peepholes: str = "") -> Known:
    return Known(
        kind,
        tuple(f"W_{gate}" for gate in gates),
        tuple(f"U_{gate}" for gate in gates),
        tuple(f"b_{gate}" for gate in gates),
        tuple(f"b_h{gate}" for gate in gates) if hidden_bias else (),
        tuple(f"p_{gate}" for gate in peepholes),
    )


_KNOWN = {
    "lstm": _gates("lstm", "ifgo"),
    "lstm:peephole=true": _gates("lstm", "ifgo", peepholes="ifo"),
    "gru": _gates("gru", "rzn", hidden_bias=True),
    "gru:reset=before": _gates("gru_before", "rzn"),
    "rnn": Known("rnn", ("W",), ("U",), ("b",)),
}
