"""The entries of the catalogue: which family each belongs to, and what it presets.

In: nothing.  Out: the table, and the function of a family.
Not here: equations (one file a family), options (option.py, spec.py). SymPy is imported with the
first family; the table needs none.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derive.language.checked import Checked

#: Entry -> (family, the options it presets). An entry is called what its cell is called.
ENTRIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "rnn": ("rnn", {}),
    "rnn_activation_relu": ("rnn", {"activation": "relu"}),
    "lstm": ("lstm", {}),
    "lstm_peephole": ("lstm", {"peephole": True}),
    "lstm_projection": ("lstm", {"projection": True}),
    "lstm_layer_norm_ba2016": ("lstm", {"layer_norm": "ba2016"}),
    "gru": ("gru", {}),
    "gru_reset_before": ("gru", {"reset": "before"}),
    "janet": ("janet", {}),
    "mgu": ("mgu", {}),
    "ugrnn": ("ugrnn", {}),
    "cifg": ("cifg", {}),
    "minimal_rnn": ("minimal_rnn", {}),
    "indrnn": ("indrnn", {}),
    "min_gru": ("min_gru", {}),
    "min_lstm": ("min_lstm", {}),
    "ligru": ("ligru", {}),
    "phased_lstm": ("phased_lstm", {}),
    "nas": ("nas", {}),
    "intersection_rnn": ("intersection_rnn", {}),
    "sru": ("sru", {}),
    "cfn": ("cfn", {}),
    "odyssey": ("odyssey", {}),
    "odyssey_variant_nig": ("odyssey", {"variant": "nig"}),
    "odyssey_variant_nfg": ("odyssey", {"variant": "nfg"}),
    "odyssey_variant_nog": ("odyssey", {"variant": "nog"}),
    "odyssey_variant_niaf": ("odyssey", {"variant": "niaf"}),
    "odyssey_variant_noaf": ("odyssey", {"variant": "noaf"}),
    "odyssey_variant_cifg": ("odyssey", {"variant": "cifg"}),
    "odyssey_variant_np": ("odyssey", {"variant": "np"}),
    "odyssey_variant_fgr": ("odyssey", {"variant": "fgr"}),
    "slim": ("slim", {}),
    "slim_form_2": ("slim", {"form": 2}),
    "slim_form_3": ("slim", {"form": 3}),
    "slim_form_4": ("slim", {"form": 4}),
    "slim_form_5": ("slim", {"form": 5}),
}


def function_of(name: str) -> Callable[..., Checked]:
    """The function of a family: function_of("lstm") is that of lstm.py."""
    module = importlib.import_module(f"derive.catalogue.{name}")
    function: Callable[..., Checked] = getattr(module, name)
    return function
