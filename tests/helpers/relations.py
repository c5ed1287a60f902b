"""Families of the catalogue that are one function, or part of another: pairs of specs.

In: nothing.  Out: `EQUAL`, `PART_OF`, each a tuple of (one, other). A test proves every one of them
by `derive equal`, and the page of the catalogue lists them.
"""

from __future__ import annotations

EQUAL = (
    ("lstm_joined", "lstm"),
    ("lstm:coupled=true", "cifg"),
    ("cifg", "cifg:gate=input"),
    ("odyssey:variant=np", "lstm"),
    ("mogrifier_lstm:rounds=0", "lstm"),
    ("gru", "gru:keeps=candidate"),
    ("janet:beta=0", "ugrnn:forget_bias=0"),
    ("janet:beta=0", "ligru:activation=tanh"),
    ("rhn:depth=1", "ugrnn:forget_bias=0"),
    ("t_rnn", "min_gru"),
)

PART_OF = (
    ("cifg", "lstm"),
    ("lstm97:squashing=tanh", "odyssey:variant=nfg"),
    ("mgu", "gru:reset=before,keeps=candidate"),
    ("slim:base=mgu,form=3", "mgu"),
    ("light_ru", "janet:beta=0"),
    ("indrnn:activation=tanh", "rnn"),
)
