"""Slim variants: gates that see less than the input, the hidden state and a bias.

Salem 2016, "Reduced parameterization in gated recurrent neural networks", technical report;
Akandeh & Salem 2017, arXiv 1707.04619 (LSTM 1-3) and 1707.04623 (4 and 5); Dey & Salem 2017, arXiv
1701.05923 (GRU); Heck & Salem 2017, arXiv 1701.03452 (MGU). The candidate, and in the LSTM the way
of the cell state, stay as they were. Equation numbers not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from derive.catalogue.gru import gru
from derive.catalogue.lstm import lstm
from derive.catalogue.mgu import mgu
from derive.catalogue.option import Draft, family, varied
from derive.language.checked import Checked
from derive.language.variant.vary import vary

Base = Literal["lstm", "gru", "mgu"]

#: The pre-activation of every gate k.
FORMS: Mapping[int, str] = {
    1: "U_{k} @ h + b_{k}",
    2: "U_{k} @ h",
    3: "b_{k}",
    4: "u_{k} * h",
    5: "u_{k} * h + b_{k}",
}


@family
def slim(
    *,
    base: Annotated[Base, "whose gates are made slim"] = "lstm",
    form: Annotated[Literal[1, 2, 3, 4, 5], "what a gate sees: U h + b, U h, b, u*h, u*h + b"] = 1,
) -> Draft:
    """LSTM, GRU (reset before the product) or MGU with gates of fewer parameters."""
    cell, gates = _BASES[base]()
    made = {gate: f"sigmoid({FORMS[form].format(k=gate)})" for gate in gates}
    doc = f"{base.upper()}{form}, slim gates. Salem 2016; Dey & Salem 2017, arXiv 1701.05923."
    return varied(vary(cell, replace=made), doc)


_BASES: Mapping[str, Callable[[], tuple[Checked, str]]] = {
    "lstm": lambda: (lstm(), "ifo"),
    "gru": lambda: (gru(reset="before"), "rz"),
    "mgu": lambda: (mgu(), "f"),
}
