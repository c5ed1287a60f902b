"""Families that are one function, part of another, or another after one line has changed.

In: nothing.  Out: `EQUAL` and `PART_OF`, pairs of specs, `ONE_LINE`, a spec, a change and a spec;
`between`, what is known of two families.
Not here: the proofs (a test proves every row by `derive equal`), cells of users (comparison/).
"""

from __future__ import annotations

from derive.catalogue.entries import ENTRIES

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

#: (a cell, the line that is changed as `vary` takes it, what it is then).
ONE_LINE = (
    ("janet", "h' = sigmoid(a) * h + (1 - sigmoid(a)) * g", "ugrnn:forget_bias=0"),
    ("ugrnn:forget_bias=0", "c = tanh(W_c @ x)", "light_ru"),
    ("mgu", "n = tanh(W_n @ x)", "light_ru"),
    ("lstm", "i = 1 - f", "cifg"),
    ("gru:reset=before,keeps=candidate", "r = z", "mgu"),
    ("rnn", "h' = tanh(W @ x + u * h + b)", "indrnn:activation=tanh"),
    ("gated_deltanet", "T = S", "deltanet"),
    ("slstm", "n' = maximum(f * n + i, 1)", "slstm:normaliser=bounded"),
    ("rwkv6", "d = w_0", "rwkv5"),
)


def family_of(spec: str) -> str:
    """The family of a spec such as lstm:peephole=true; "" of anything else, a path for example."""
    entry = spec.partition(":")[0].strip()
    return ENTRIES[entry][0] if entry in ENTRIES else ""


def between(first: str, second: str) -> tuple[str, ...]:
    """What is known of the families of two specs, a sentence each."""
    wanted = {family_of(first), family_of(second)}

    def about(one: str, other: str) -> bool:
        return {family_of(one), family_of(other)} == wanted

    found = [f"{a} with `{line}` is {b}" for a, line, b in ONE_LINE if about(a, b)]
    found += [f"{a} and {b} are the same function" for a, b in EQUAL if about(a, b)]
    found += [f"{b} contains {a}" for a, b in PART_OF if about(a, b)]
    return tuple(found)
