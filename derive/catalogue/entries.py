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
    "lstm_joined": ("lstm", {"joined": True}),
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
    "ran": ("ran", {}),
    "atr": ("atr", {}),
    "star": ("star", {}),
    "light_ru": ("light_ru", {}),
    "mut": ("mut", {}),
    "fast_rnn": ("fast_rnn", {}),
    "fast_grnn": ("fast_grnn", {}),
    "brc": ("brc", {}),
    "mi_rnn": ("mi_rnn", {}),
    "antisymmetric_rnn": ("antisymmetric_rnn", {}),
    "cornn": ("cornn", {}),
    "unicornn": ("unicornn", {}),
    "lem": ("lem", {}),
    "multiplicative_lstm": ("multiplicative_lstm", {}),
    "indy_lstm": ("indy_lstm", {}),
    "rg_lru": ("rg_lru", {}),
    "cfc": ("cfc", {}),
    "linear_attention": ("linear_attention", {}),
    "retnet": ("retnet", {}),
    "gla": ("gla", {}),
    "deltanet": ("deltanet", {}),
    "gated_deltanet": ("gated_deltanet", {}),
    "kda": ("kda", {}),
    "mlstm": ("mlstm", {}),
    "slstm": ("slstm", {}),
    "mamba": ("mamba", {}),
    "mamba2": ("mamba2", {}),
    "hgrn": ("hgrn", {}),
    "lru": ("lru", {}),
    "s4d": ("s4d", {}),
    "longhorn": ("longhorn", {}),
    "hgrn2": ("hgrn2", {}),
    "gateloop": ("gateloop", {}),
    "comba": ("comba", {}),
    "gdn2": ("gdn2", {}),
    "rwkv5": ("rwkv5", {}),
    "rwkv6": ("rwkv6", {}),
    "rwkv7": ("rwkv7", {}),
    "ttt_linear": ("ttt_linear", {}),
    "titans": ("titans", {}),
    "rwkv4": ("rwkv4", {}),
    "lstm97": ("lstm97", {}),
    "wmc_lstm": ("wmc_lstm", {}),
    "mc_lstm": ("mc_lstm", {}),
    "res_lstm": ("res_lstm", {}),
    "weight_norm_lstm": ("weight_norm_lstm", {}),
    "spectral_lstm": ("spectral_lstm", {}),
    "mogrifier_lstm": ("mogrifier_lstm", {}),
    "zoneout_lstm": ("zoneout_lstm", {}),
    "variational_lstm": ("variational_lstm", {}),
    "hyper_lstm": ("hyper_lstm", {}),
    "on_lstm": ("on_lstm", {}),
    "skip_lstm": ("skip_lstm", {}),
    "indy_gru": ("indy_gru", {}),
    "sgu": ("sgu", {}),
    "tau_gru": ("tau_gru", {}),
    "augru": ("augru", {}),
    "miru": ("miru", {}),
    "sgrn": ("sgrn", {}),
    "rhn": ("rhn", {}),
    "scrn": ("scrn", {}),
    "clockwork": ("clockwork", {}),
    "householder_rnn": ("householder_rnn", {}),
    "t_rnn": ("t_rnn", {}),
    "t_gru": ("t_gru", {}),
    "t_lstm": ("t_lstm", {}),
    "qrnn": ("qrnn", {}),
    "sru_v2": ("sru_v2", {}),
    "lmu": ("lmu", {}),
    "hippo_legs": ("hippo_legs", {}),
    "ltc": ("ltc", {}),
    "ode_rnn": ("ode_rnn", {}),
    "lif": ("lif", {}),
    "time_lstm": ("time_lstm", {}),
    "gru_d": ("gru_d", {}),
}

#: What kind of cell the families are, for a reader of the list.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "simple recurrent networks": (
        "rnn", "indrnn", "mi_rnn", "minimal_rnn", "fast_rnn", "rhn", "scrn", "clockwork",
        "householder_rnn",
    ),
    "LSTM and its variants": (
        "lstm", "cifg", "odyssey", "slim", "phased_lstm", "multiplicative_lstm", "indy_lstm",
        "ran", "nas", "slstm", "lstm97", "wmc_lstm", "mc_lstm", "res_lstm", "weight_norm_lstm",
        "spectral_lstm", "mogrifier_lstm", "zoneout_lstm", "variational_lstm", "hyper_lstm",
        "on_lstm", "skip_lstm",
    ),
    "GRU and its relatives": (
        "gru", "mut", "ligru", "cfn", "atr", "brc", "intersection_rnn", "indy_gru", "sgu",
        "tau_gru", "augru",
    ),
    "one gate": (
        "mgu", "janet", "ugrnn", "light_ru", "star", "fast_grnn", "miru", "sgrn",
    ),
    "linear or diagonal in the state": (
        "min_gru", "min_lstm", "sru", "rg_lru", "hgrn", "lru", "rwkv4", "t_rnn", "t_gru",
        "t_lstm", "qrnn", "sru_v2",
    ),
    "state spaces": (
        "mamba", "mamba2", "s4d", "longhorn", "lmu", "hippo_legs",
    ),
    "matrix memories: linear attention and delta rules": (
        "linear_attention", "retnet", "gla", "mlstm", "deltanet", "gated_deltanet", "kda",
        "hgrn2", "gateloop", "comba", "gdn2", "rwkv5", "rwkv6", "rwkv7", "ttt_linear", "titans",
    ),
    "differential equations and neurons": (
        "antisymmetric_rnn", "cornn", "unicornn", "lem", "cfc", "ltc", "ode_rnn", "lif",
    ),
    "time and missing values": ("time_lstm", "gru_d"),
}  # fmt: skip


#: What `derive verify --quick` takes where no cell is named: the classical cells, and from every
#: group those whose equations differ most.
SAMPLE: tuple[str, ...] = (
    "rnn", "lstm", "lstm_peephole", "lstm_projection", "lstm_layer_norm_ba2016", "lstm_joined",
    "gru", "gru_reset_before", "janet", "mgu", "ugrnn", "cifg", "min_gru", "min_lstm", "indrnn",
    "minimal_rnn", "phased_lstm", "nas", "sru", "odyssey_variant_fgr", "fast_grnn", "unicornn",
    "cfc", "rg_lru", "slstm", "mlstm", "gated_deltanet", "retnet", "mamba", "lmu", "lif",
    "weight_norm_lstm",
)  # fmt: skip


def function_of(name: str) -> Callable[..., Checked]:
    """The function of a family: function_of("lstm") is that of lstm.py."""
    module = importlib.import_module(f"derive.catalogue.{name}")
    function: Callable[..., Checked] = getattr(module, name)
    return function
