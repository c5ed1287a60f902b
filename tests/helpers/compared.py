"""Catalogue cells beside public implementations, as they were compared once, in float64.

In: nothing.  Out: `COMPARED`: (spec, the other program, largest difference, its largest output).
Parameters were drawn at random and given to both; six steps, three rows. Programs that compute in
float32 were run with float64 in its place. Their differences are those of float64 arithmetic.
"""

from __future__ import annotations

FLA, XLSTM = "fla-core 0.6.0", "xlstm 2.0.6"
CELLS = "torchrecurrent 0.2.5"

COMPARED = (
    ("linear_attention:normalised=false,feature_map=identity", f"{FLA}, linear_attn", 7e-15, 27),
    ("retnet:rotation=false", f"{FLA}, retention", 6e-14, 209),
    ("gla", f"{FLA}, gla", 4e-15, 14),
    ("deltanet", f"{FLA}, delta_rule", 4e-16, 1.4),
    ("gated_deltanet", f"{FLA}, gated_delta_rule", 7e-16, 1.2),
    ("kda", f"{FLA}, kda", 2e-16, 1.1),
    ("gdn2", f"{FLA}, gdn2", 3e-16, 0.6),
    ("comba:erase=decayed", f"{FLA}, comba, naive_recurrent_comba", 4e-16, 1.4),
    ("mamba2", f"{FLA}, simple_gla", 9e-16, 4.2),
    ("rwkv6", f"{FLA}, rwkv6", 2e-14, 33),
    ("hgrn", f"{FLA}, hgrn", 7e-16, 2.7),
    ("ttt_linear:output=own", f"{FLA}, ttt, one token a batch", 6e-12, 24945),
    ("mlstm", f"{XLSTM}, recurrent_step_stabilized_simple with eps 0", 1e-15, 1.9),
    ("slstm", f"{XLSTM}, slstm_forward_pointwise", 3e-16, 0.9),
    ("min_gru:log_space=true", "minGRU-pytorch 0.2.1, minGRU", 4e-16, 1.6),
    ("sru_v2:scale=1.7320507764816284", "sru 2.6.0, SRUCell with rescale", 7e-16, 3.1),
    ("ltc", "ncps 1.0.1, LTCCell", 3e-16, 0.8),
    ("lif (subtract, zero, none)", "snntorch 1.0.0, Leaky: spikes", 0.0, 1),
    ("lif (subtract, zero, none)", "snntorch 1.0.0, Leaky: gradients of x", 7e-08, 2.1),
    ("lstm97:squashing=tanh", f"{CELLS}, OriginalLSTMCell", 2e-16, 0.9),
    ("wmc_lstm", f"{CELLS}, WMCLSTMCell without memory bias", 1e-16, 0.6),
    ("mc_lstm", f"{CELLS}, MCLSTMCell", 2e-16, 0.7),
    ("res_lstm", f"{CELLS}, ResLSTMCell", 3e-16, 1.8),
    ("sgrn", f"{CELLS}, SGRNCell", 2e-16, 1),
    ("sgu", f"{CELLS}, SGUCell", 2e-16, 1),
    ("sgu:deep=true", f"{CELLS}, DSGUCell", 1e-16, 0.6),
    ("miru", f"{CELLS}, MiRU1Cell", 2e-16, 0.9),
    ("tau_gru", f"{CELLS}, tauGRUCell", 3e-16, 1.5),
    ("t_rnn", f"{CELLS}, TRNNCell", 4e-16, 2.6),
    ("t_gru", f"{CELLS}, TGRUCell", 2e-15, 7.9),
    ("t_lstm", f"{CELLS}, TLSTMCell", 1e-15, 3.5),
)
