"""The tables: which arrays each system has, and which parameters lie where in them.

In: nothing.  Out: SYSTEMS, one `System` a name. Every order of gates, orientation and stacking
is here and only here, and both directions read it.
Not here: how blocks are cut (blocks.py), names around them (name_scopes.py).

Parameters go by the catalogue's names; a second bias, which goes with the recurrent product,
is b_hk. Gates: LSTM i f g o, with g the candidate (TensorFlow's j, Keras's and ONNX's c);
GRU r z n, with n the candidate (TensorFlow's c; Keras's and ONNX's h).

Sources: TensorFlow 1.15 tf.nn.rnn_cell and tf.contrib.rnn; Keras 3 LSTM, GRU, SimpleRNN and
tf.keras.experimental.PeepholeLSTMCell; torch.nn.LSTM, GRU, RNN; ONNX operators LSTM, GRU, RNN
of opset 22; flax.linen and flax.nnx recurrent cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from derive.weights.blocks import Entry, Grid


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of one kind of cell in one system.

    kind: "lstm", "gru", "rnn".  reset: "before" or "after", of a GRU.  coupled: "forget" where
    i = 1 - f, "input" where f = 1 - i.  ignored: gates that have blocks and no effect.
    api: the name of an interface where a system has several.
    """

    kind: str
    entries: tuple[Entry, ...]
    reset: str = ""
    coupled: str = ""
    ignored: str = ""
    layer_norm: str = ""
    api: str = ""

    @property
    def features(self) -> frozenset[str]:
        return frozenset(entry.feature for entry in self.entries) - {""}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for entry in self.entries for name in (entry.name, *entry.aliases))


@dataclass(frozen=True, slots=True)
class System:
    """A system: its layouts, and the options of load and save with their defaults.

    functions: of each kind, those that its cells have, as Traits.functions tells them; a kind that
    is not there takes any.  gate: the function that all gates have, "" where there is a choice.
    one_activation: whether the candidate and the output of an LSTM have the same function.
    """

    name: str
    title: str
    layouts: tuple[Layout, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    nested: bool = False
    gate: str = ""
    one_activation: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for layout in self.layouts for name in layout.names))


def _across(kind: str, gates: str) -> tuple[str, ...]:
    """One row of blocks: _across("W", "if") is ("W_i", "W_f"). A dot is the only gate."""
    return tuple(kind if gate == "." else f"{kind}_{gate}" for gate in gates)


def _down(kind: str, gates: str) -> Grid:
    return tuple((role,) for role in _across(kind, gates))


def _second(gates: str) -> tuple[str, ...]:
    """The biases that go with the recurrent product: b_hi, b_hf, ..."""
    return tuple("b_h" if gate == "." else f"b_h{gate}" for gate in gates)


# --- TensorFlow 1: one kernel [I + H, gates] for x and h ------------------------------------


def _tf(name: str, gates: str, sources: str = "WU", aliases: tuple[str, ...] = ()) -> Entry:
    grid = tuple(_across(kind, gates) for kind in sources)
    return Entry(name, grid, transposed=True, aliases=aliases)


def _tf_bias(name: str, gates: str, aliases: tuple[str, ...] = ()) -> Entry:
    return Entry(name, (_across("b", gates),), aliases=aliases)


def _tf_lstm(gates: str, layer_norm: str = "") -> tuple[Entry, ...]:
    coupled = "i" not in gates
    scopes = {"i": "input", "g": "transform", "f": "forget", "o": "output", "c": "state"}
    diagonals = tuple(
        Entry(
            f"W_{gate.upper()}_diag" if coupled else f"w_{gate}_diag",
            ((f"p_{gate}",),),
            feature="peephole",
            aliases=(f"w_{gate}_diag",) if coupled else (),
        )
        for gate in "fio"
        if gate in gates
    )
    projection = Entry(
        "W_P_0" if coupled else "projection/kernel",
        (("W_p",),),
        transposed=True,
        feature="projection",
        aliases=("W_P", "projection/kernel") if coupled else (),
    )
    kernel = _tf("kernel", gates)
    bias = _tf_bias("bias", gates)
    if coupled:
        kernel = _tf("W_0", gates, aliases=("W", "kernel"))
        bias = _tf_bias("B", gates, aliases=("bias",))
    if layer_norm:
        norms = tuple(
            Entry(f"{scopes[k]}/{what}", ((f"{what}_{k}",),))
            for k in f"{gates}c"
            for what in ("gamma", "beta")
        )
        return (kernel, *norms)
    return (kernel, bias, *diagonals, projection)


_TENSORFLOW = System(
    "tensorflow",
    "TensorFlow",
    (
        Layout("lstm", _tf_lstm("igfo")),
        Layout("lstm", _tf_lstm("gfo"), coupled="forget"),
        Layout("lstm", _tf_lstm("igfo", "tensorflow"), layer_norm="tensorflow"),
        Layout(
            "gru",
            (
                _tf("gates/kernel", "rz"),
                _tf_bias("gates/bias", "rz"),
                _tf("candidate/kernel", "n"),
                _tf_bias("candidate/bias", "n"),
            ),
            reset="before",
        ),
        Layout(
            "gru",
            (
                _tf("gates/kernel", "rz"),
                _tf_bias("gates/bias", "rz"),
                _tf("candidate/input_projection/kernel", "n", "W"),
                _tf("candidate/hidden_projection/kernel", "n", "U"),
                _tf_bias("candidate/input_projection/bias", "n"),
                Entry("candidate/hidden_projection/bias", (("b_hn",),)),
            ),
            reset="after",
        ),
        Layout("rnn", (_tf("kernel", "."), _tf_bias("bias", "."))),
    ),
    MappingProxyType({"forget_bias": None}),
    gate="sigmoid",
    one_activation=True,
)


# --- Keras ----------------------------------------------------------------------------------


def _keras(gates: str, *, rows: int = 1, peephole: bool = False) -> tuple[Entry, ...]:
    bias = (_across("b", gates), _second(gates))[:rows]
    words = {"i": "input", "f": "forget", "o": "output"}
    diagonals = tuple(
        Entry(f"{words[gate]}_gate_peephole_weights", ((f"p_{gate}",),), feature="peephole")
        for gate in "ifo"
    )
    return (
        Entry("kernel", (_across("W", gates),), transposed=True),
        Entry("recurrent_kernel", (_across("U", gates),), transposed=True),
        Entry("bias", bias, feature="bias", stacked=rows > 1),
        *(diagonals if peephole else ()),
    )


_KERAS = System(
    "keras",
    "Keras",
    (
        Layout("lstm", _keras("ifgo", peephole=True)),
        Layout("gru", _keras("zrn", rows=2), reset="after"),
        Layout("gru", _keras("zrn"), reset="before"),
        Layout("rnn", _keras(".")),
    ),
    MappingProxyType({"bias": True}),
    one_activation=True,
)


# --- PyTorch --------------------------------------------------------------------------------


def _pytorch(gates: str, *, projection: bool = False) -> tuple[Entry, ...]:
    found = (
        Entry("weight_ih", _down("W", gates), aliases=("w_ih",)),
        Entry("weight_hh", _down("U", gates), aliases=("w_hh",)),
        Entry("bias_ih", (_across("b", gates),), feature="bias", aliases=("b_ih",)),
        Entry("bias_hh", (_second(gates),), feature="bias", aliases=("b_hh",)),
    )
    hr = Entry("weight_hr", (("W_p",),), feature="projection", aliases=("w_hr",))
    return (*found, hr) if projection else found


_PYTORCH = System(
    "pytorch",
    "PyTorch",
    (
        Layout("lstm", _pytorch("ifgo", projection=True)),
        Layout("gru", _pytorch("rzn"), reset="after"),
        Layout("rnn", _pytorch(".")),
    ),
    MappingProxyType({"layer": 0, "reverse": False, "bias": True}),
    functions={
        "lstm": (("sigmoid", "tanh", "tanh", "", ""),),
        "gru": (("sigmoid", "tanh", "", "", ""),),
        "rnn": (("", "tanh", "", "", ""), ("", "relu", "", "", "")),
    },
)


# --- ONNX: as without the leading axis of directions ----------------------------------------


def _onnx(gates: str, peephole: str = "") -> tuple[Entry, ...]:
    found = (
        Entry("W", _down("W", gates)),
        Entry("R", _down("U", gates)),
        Entry("B", (_across("b", gates) + _second(gates),), feature="bias"),
    )
    if not peephole:
        return found
    return (*found, Entry("P", (_across("p", peephole),), feature="peephole"))


_ONNX = System(
    "onnx",
    "ONNX",
    (
        Layout("lstm", _onnx("iofg", "iof")),
        Layout("lstm", _onnx("iofg", "iof"), coupled="input", ignored="f"),
        Layout("gru", _onnx("zrn"), reset="before"),
        Layout("gru", _onnx("zrn"), reset="after"),
        Layout("rnn", _onnx(".")),
    ),
    MappingProxyType(
        {"direction": "forward", "input_forget": None, "linear_before_reset": None,
         "node": None, "bias": True}
    ),
)  # fmt: skip


# --- Flax -----------------------------------------------------------------------------------


def _flax(side: str, gates: str, biases: str = "") -> tuple[Entry, ...]:
    """Dense layers of linen, one a gate: ii, if, ig, io; `biases` are gates with a bias."""
    kind = {"i": "W", "h": "U"}[side]
    entries = []
    for gate in gates:
        name = side if gate == "." else f"{side}{gate}"
        alias = ("if_/{}",) if name == "if" else ()
        kernel = (_across(kind, gate),)
        entries.append(
            Entry(f"{name}/kernel", kernel, transposed=True,
                  aliases=tuple(a.format("kernel") for a in alias))
        )  # fmt: skip
        if gate in biases:
            # A GRU's input side has the bias, and its candidate one on both sides.
            second = side == "h" and gates == "rzn"
            role = f"b_h{gate}" if second else _across("b", gate)[0]
            entries.append(Entry(f"{name}/bias", ((role,),)))
    return tuple(entries)


def _nnx(gates: str, bias: str) -> tuple[Entry, ...]:
    """The fused layers of nnx; `bias` is the side that has one."""
    entries = [
        Entry(f"dense_{side}/kernel", (_across(kind, gates),), transposed=True)
        for side, kind in (("i", "W"), ("h", "U"))
    ]
    return (*entries, Entry(f"dense_{bias}/bias", (_across("b", gates),)))


_FLAX = System(
    "flax",
    "Flax",
    (
        Layout("lstm", _flax("i", "ifgo") + _flax("h", "ifgo", "ifgo"), api="linen"),
        Layout(
            "gru", _flax("i", "rzn", "rzn") + _flax("h", "rzn", "n"), reset="after", api="linen"
        ),
        Layout("rnn", _flax("i", ".", ".") + _flax("h", "."), api="linen"),
        Layout("lstm", _nnx("ifgo", "h"), api="nnx"),
        Layout("gru", _nnx("rzn", "i"), reset="after", api="nnx"),
        Layout("rnn", _nnx(".", "i"), api="nnx"),
    ),
    MappingProxyType({"api": None, "nested": False}),
    nested=True,
    one_activation=True,
)

SYSTEMS: Mapping[str, System] = MappingProxyType(
    {system.name: system for system in (_TENSORFLOW, _KERAS, _PYTORCH, _ONNX, _FLAX)}
)
