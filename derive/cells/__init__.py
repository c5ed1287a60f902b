"""The catalogue: published cells, each declared once by its equations, with typed options.

    derive.cells.lstm(forget_bias=1.0)              one function per family, options as keywords
    derive.cells.names()                            every entry that needs no argument
    derive.cells.options("lstm")                    the options of an entry: name, type, default
    derive.cells.from_spec("lstm:peephole=true")    an entry with options, as typed in a shell

Not here: equations (one file a family), options in general (option.py), specs (spec.py).
SymPy is imported with the first cell; names() needs none. The files are called *_cell, so
that importing one never hides the function of its family.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.cells.cfn_cell import cfn as cfn
    from derive.cells.cifg_cell import cifg as cifg
    from derive.cells.gru_cell import gru as gru
    from derive.cells.indrnn_cell import indrnn as indrnn
    from derive.cells.intersection_rnn_cell import intersection_rnn as intersection_rnn
    from derive.cells.janet_cell import janet as janet
    from derive.cells.ligru_cell import ligru as ligru
    from derive.cells.lstm_cell import lstm as lstm
    from derive.cells.mgu_cell import mgu as mgu
    from derive.cells.min_gru_cell import min_gru as min_gru
    from derive.cells.min_lstm_cell import min_lstm as min_lstm
    from derive.cells.minimal_rnn_cell import minimal_rnn as minimal_rnn
    from derive.cells.nas_cell import nas as nas
    from derive.cells.odyssey_cell import odyssey as odyssey
    from derive.cells.option import Option
    from derive.cells.phased_lstm_cell import phased_lstm as phased_lstm
    from derive.cells.rnn_cell import rnn as rnn
    from derive.cells.slim_cell import slim as slim
    from derive.cells.sru_cell import sru as sru
    from derive.cells.ugrnn_cell import ugrnn as ugrnn

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


def names() -> tuple[str, ...]:
    """Every entry that needs no argument: `getattr(derive.cells, name)()` is its cell."""
    return tuple(ENTRIES)


def options(name: str) -> tuple[Option, ...]:
    """The options of an entry, in the order of its signature, with the defaults it presets."""
    from derive.cells import spec

    return spec.options(name)


def from_spec(text: str) -> Cell:
    """The cell that `lstm`, or `lstm:peephole=true,forget_bias=1`, describes."""
    from derive.cells import spec

    return spec.from_spec(text)


def family(name: str) -> Callable[..., Cell]:
    """The function of a family: family("lstm") is lstm."""
    function: Callable[..., Cell] = getattr(
        importlib.import_module(f"derive.cells.{name}_cell"), name
    )
    return function


def __getattr__(name: str) -> Any:
    if name not in ENTRIES:
        raise AttributeError(f"module 'derive.cells' has no attribute {name!r}")
    base, preset = ENTRIES[name]
    value = partial(family(base), **preset) if preset else family(base)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*ENTRIES, "from_spec", "names", "options"])
