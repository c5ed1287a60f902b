"""The eight variants of "LSTM: a search space odyssey", each one change to the peephole LSTM.

Greff, Srivastava, Koutnik, Steunebrink & Schmidhuber 2017, arXiv 1503.04069. What CIFG couples is
f = 1 - i, and FGR shows every gate the gates of the step before. Without a variant it is the
paper's vanilla LSTM. Equation numbers not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from derive.catalogue.lstm import lstm
from derive.catalogue.option import Draft, family, varied
from derive.language.variant.vary import vary

Variant = Literal["nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr"]


def _fully_recurrent(gate: str, cell_state: str) -> str:
    gates = f"R_i{gate} @ i + R_f{gate} @ f + R_o{gate} @ o"
    return f"sigmoid(W_{gate} @ x + U_{gate} @ h + {gates} + p_{gate} * {cell_state} + b_{gate})"


#: What `Cell.vary` is asked for.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "nig": {"i": 1},
    "nfg": {"f": 1},
    "nog": {"o": 1},
    "niaf": {"activation": {"g": "identity"}},
    "noaf": {"activation": {"h_next": "identity"}},
    "cifg": {"f": "1 - i"},
    "np": {"remove": ("p_i", "p_f", "p_o")},
    "fgr": {
        "states": ("i", "f", "o"),
        "i_next": _fully_recurrent("i", "c"),
        "f_next": _fully_recurrent("f", "c"),
        "o_next": _fully_recurrent("o", "c_next"),
    },
}


@family
def odyssey(
    *,
    variant: Annotated[Variant | None, "which change to the LSTM with peepholes"] = None,
) -> Draft:
    """The LSTM with peepholes of the odyssey, and its eight variants."""
    doc = "LSTM of a search space odyssey. Greff et al. 2017, arXiv 1503.04069"
    base = lstm(peephole=True)
    cell = vary(base, **VARIANTS[variant]) if variant else base
    return varied(cell, f"{doc}, {variant.upper()}." if variant else f"{doc}.")
