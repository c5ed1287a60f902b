"""The catalogue: published cells, each declared once by its equations, with typed options.

    derive.cells.lstm(forget_bias=1.0)              one function per family, options as keywords
    derive.cells.names()                            every entry that needs no argument
    derive.cells.options("lstm")                    the options of an entry: name, type, default
    derive.cells.from_spec("lstm:peephole=true")    an entry with options, as typed in a shell

In: options.  Out: a Cell.
Not here: equations (one file a family in catalogue/), options in general (catalogue/option.py).
SymPy is imported with the first cell; names() needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from derive.catalogue.entries import ENTRIES, function_of
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.catalogue.antisymmetric_rnn import antisymmetric_rnn as _antisymmetric_rnn
    from derive.catalogue.atr import atr as _atr
    from derive.catalogue.augru import augru as _augru
    from derive.catalogue.brc import brc as _brc
    from derive.catalogue.cfc import cfc as _cfc
    from derive.catalogue.cfn import cfn as _cfn
    from derive.catalogue.cifg import cifg as _cifg
    from derive.catalogue.clockwork import clockwork as _clockwork
    from derive.catalogue.comba import comba as _comba
    from derive.catalogue.cornn import cornn as _cornn
    from derive.catalogue.deltanet import deltanet as _deltanet
    from derive.catalogue.fast_grnn import fast_grnn as _fast_grnn
    from derive.catalogue.fast_rnn import fast_rnn as _fast_rnn
    from derive.catalogue.gated_deltanet import gated_deltanet as _gated_deltanet
    from derive.catalogue.gateloop import gateloop as _gateloop
    from derive.catalogue.gdn2 import gdn2 as _gdn2
    from derive.catalogue.gla import gla as _gla
    from derive.catalogue.gru import gru as _gru
    from derive.catalogue.gru_d import gru_d as _gru_d
    from derive.catalogue.hgrn import hgrn as _hgrn
    from derive.catalogue.hgrn2 import hgrn2 as _hgrn2
    from derive.catalogue.hippo_legs import hippo_legs as _hippo_legs
    from derive.catalogue.householder_rnn import householder_rnn as _householder_rnn
    from derive.catalogue.hyper_lstm import hyper_lstm as _hyper_lstm
    from derive.catalogue.indrnn import indrnn as _indrnn
    from derive.catalogue.indy_gru import indy_gru as _indy_gru
    from derive.catalogue.indy_lstm import indy_lstm as _indy_lstm
    from derive.catalogue.intersection_rnn import intersection_rnn as _intersection_rnn
    from derive.catalogue.janet import janet as _janet
    from derive.catalogue.kda import kda as _kda
    from derive.catalogue.lem import lem as _lem
    from derive.catalogue.lif import lif as _lif
    from derive.catalogue.light_ru import light_ru as _light_ru
    from derive.catalogue.ligru import ligru as _ligru
    from derive.catalogue.linear_attention import linear_attention as _linear_attention
    from derive.catalogue.lmu import lmu as _lmu
    from derive.catalogue.longhorn import longhorn as _longhorn
    from derive.catalogue.lru import lru as _lru
    from derive.catalogue.lstm import lstm as _lstm
    from derive.catalogue.lstm97 import lstm97 as _lstm97
    from derive.catalogue.ltc import ltc as _ltc
    from derive.catalogue.mamba import mamba as _mamba
    from derive.catalogue.mamba2 import mamba2 as _mamba2
    from derive.catalogue.mc_lstm import mc_lstm as _mc_lstm
    from derive.catalogue.mgu import mgu as _mgu
    from derive.catalogue.mi_rnn import mi_rnn as _mi_rnn
    from derive.catalogue.min_gru import min_gru as _min_gru
    from derive.catalogue.min_lstm import min_lstm as _min_lstm
    from derive.catalogue.minimal_rnn import minimal_rnn as _minimal_rnn
    from derive.catalogue.miru import miru as _miru
    from derive.catalogue.mlstm import mlstm as _mlstm
    from derive.catalogue.mogrifier_lstm import mogrifier_lstm as _mogrifier_lstm
    from derive.catalogue.multiplicative_lstm import multiplicative_lstm as _multiplicative_lstm
    from derive.catalogue.mut import mut as _mut
    from derive.catalogue.nas import nas as _nas
    from derive.catalogue.ode_rnn import ode_rnn as _ode_rnn
    from derive.catalogue.odyssey import odyssey as _odyssey
    from derive.catalogue.on_lstm import on_lstm as _on_lstm
    from derive.catalogue.option import Option
    from derive.catalogue.phased_lstm import phased_lstm as _phased_lstm
    from derive.catalogue.qrnn import qrnn as _qrnn
    from derive.catalogue.ran import ran as _ran
    from derive.catalogue.res_lstm import res_lstm as _res_lstm
    from derive.catalogue.retnet import retnet as _retnet
    from derive.catalogue.rg_lru import rg_lru as _rg_lru
    from derive.catalogue.rhn import rhn as _rhn
    from derive.catalogue.rnn import rnn as _rnn
    from derive.catalogue.rwkv4 import rwkv4 as _rwkv4
    from derive.catalogue.rwkv5 import rwkv5 as _rwkv5
    from derive.catalogue.rwkv6 import rwkv6 as _rwkv6
    from derive.catalogue.rwkv7 import rwkv7 as _rwkv7
    from derive.catalogue.s4d import s4d as _s4d
    from derive.catalogue.scrn import scrn as _scrn
    from derive.catalogue.sgrn import sgrn as _sgrn
    from derive.catalogue.sgu import sgu as _sgu
    from derive.catalogue.skip_lstm import skip_lstm as _skip_lstm
    from derive.catalogue.slim import slim as _slim
    from derive.catalogue.slstm import slstm as _slstm
    from derive.catalogue.spectral_lstm import spectral_lstm as _spectral_lstm
    from derive.catalogue.sru import sru as _sru
    from derive.catalogue.sru_v2 import sru_v2 as _sru_v2
    from derive.catalogue.star import star as _star
    from derive.catalogue.t_gru import t_gru as _t_gru
    from derive.catalogue.t_lstm import t_lstm as _t_lstm
    from derive.catalogue.t_rnn import t_rnn as _t_rnn
    from derive.catalogue.tau_gru import tau_gru as _tau_gru
    from derive.catalogue.time_lstm import time_lstm as _time_lstm
    from derive.catalogue.titans import titans as _titans
    from derive.catalogue.ttt_linear import ttt_linear as _ttt_linear
    from derive.catalogue.ugrnn import ugrnn as _ugrnn
    from derive.catalogue.unicornn import unicornn as _unicornn
    from derive.catalogue.variational_lstm import variational_lstm as _variational_lstm
    from derive.catalogue.weight_norm_lstm import weight_norm_lstm as _weight_norm_lstm
    from derive.catalogue.wmc_lstm import wmc_lstm as _wmc_lstm
    from derive.catalogue.zoneout_lstm import zoneout_lstm as _zoneout_lstm
    from derive.cell import Cell
    from derive.language.checked import Checked

P = ParamSpec("P")


def _of(function: Callable[P, Checked]) -> Callable[P, Cell]:
    """The function of a family, giving a Cell."""

    @wraps(function)
    def build(*args: P.args, **options: P.kwargs) -> Cell:
        from derive.cell import Cell

        return Cell.of(function(*args, **options))

    return build


if TYPE_CHECKING:
    rnn = _of(_rnn)
    lstm = _of(_lstm)
    gru = _of(_gru)
    janet = _of(_janet)
    mgu = _of(_mgu)
    ugrnn = _of(_ugrnn)
    cifg = _of(_cifg)
    minimal_rnn = _of(_minimal_rnn)
    indrnn = _of(_indrnn)
    min_gru = _of(_min_gru)
    min_lstm = _of(_min_lstm)
    ligru = _of(_ligru)
    phased_lstm = _of(_phased_lstm)
    nas = _of(_nas)
    intersection_rnn = _of(_intersection_rnn)
    sru = _of(_sru)
    cfn = _of(_cfn)
    odyssey = _of(_odyssey)
    slim = _of(_slim)
    ran = _of(_ran)
    atr = _of(_atr)
    star = _of(_star)
    light_ru = _of(_light_ru)
    mut = _of(_mut)
    fast_rnn = _of(_fast_rnn)
    fast_grnn = _of(_fast_grnn)
    brc = _of(_brc)
    mi_rnn = _of(_mi_rnn)
    antisymmetric_rnn = _of(_antisymmetric_rnn)
    cornn = _of(_cornn)
    unicornn = _of(_unicornn)
    lem = _of(_lem)
    multiplicative_lstm = _of(_multiplicative_lstm)
    indy_lstm = _of(_indy_lstm)
    rg_lru = _of(_rg_lru)
    cfc = _of(_cfc)
    linear_attention = _of(_linear_attention)
    retnet = _of(_retnet)
    gla = _of(_gla)
    deltanet = _of(_deltanet)
    gated_deltanet = _of(_gated_deltanet)
    kda = _of(_kda)
    mlstm = _of(_mlstm)
    slstm = _of(_slstm)
    mamba = _of(_mamba)
    mamba2 = _of(_mamba2)
    hgrn = _of(_hgrn)
    lru = _of(_lru)
    s4d = _of(_s4d)
    longhorn = _of(_longhorn)
    hgrn2 = _of(_hgrn2)
    gateloop = _of(_gateloop)
    comba = _of(_comba)
    gdn2 = _of(_gdn2)
    rwkv5 = _of(_rwkv5)
    rwkv6 = _of(_rwkv6)
    rwkv7 = _of(_rwkv7)
    ttt_linear = _of(_ttt_linear)
    titans = _of(_titans)
    rwkv4 = _of(_rwkv4)
    lstm97 = _of(_lstm97)
    wmc_lstm = _of(_wmc_lstm)
    mc_lstm = _of(_mc_lstm)
    res_lstm = _of(_res_lstm)
    weight_norm_lstm = _of(_weight_norm_lstm)
    spectral_lstm = _of(_spectral_lstm)
    mogrifier_lstm = _of(_mogrifier_lstm)
    zoneout_lstm = _of(_zoneout_lstm)
    variational_lstm = _of(_variational_lstm)
    hyper_lstm = _of(_hyper_lstm)
    on_lstm = _of(_on_lstm)
    skip_lstm = _of(_skip_lstm)
    indy_gru = _of(_indy_gru)
    sgu = _of(_sgu)
    tau_gru = _of(_tau_gru)
    augru = _of(_augru)
    miru = _of(_miru)
    sgrn = _of(_sgrn)
    rhn = _of(_rhn)
    scrn = _of(_scrn)
    clockwork = _of(_clockwork)
    householder_rnn = _of(_householder_rnn)
    t_rnn = _of(_t_rnn)
    t_gru = _of(_t_gru)
    t_lstm = _of(_t_lstm)
    qrnn = _of(_qrnn)
    sru_v2 = _of(_sru_v2)
    lmu = _of(_lmu)
    hippo_legs = _of(_hippo_legs)
    ltc = _of(_ltc)
    ode_rnn = _of(_ode_rnn)
    lif = _of(_lif)
    time_lstm = _of(_time_lstm)
    gru_d = _of(_gru_d)


def names() -> tuple[str, ...]:
    """Every entry that needs no argument: `getattr(derive.cells, name)()` is its cell."""
    return tuple(ENTRIES)


def options(name: str) -> tuple[Option, ...]:
    """The options of an entry, in the order of its signature, with the defaults it presets."""
    from derive.catalogue import spec

    return spec.options(name)


def from_spec(text: str) -> Cell:
    """The cell that `lstm`, or `lstm:peephole=true,forget_bias=1`, describes."""
    from derive.catalogue import spec
    from derive.cell import Cell

    return Cell.of(spec.from_spec(text))


def family(name: str) -> Callable[..., Cell]:
    """The function of a family: family("lstm") is lstm."""
    families = sorted({base for base, _ in ENTRIES.values()})
    if not isinstance(name, str) or name not in families:
        raise ArgumentError(
            f"the catalogue has no family {name!r}",
            facts=(f"families: {', '.join(families)}",),
            hint='family("lstm")',
        )
    return _of(function_of(name))


def __getattr__(name: str) -> Any:
    if name not in ENTRIES:
        raise AttributeError(f"module 'derive.cells' has no attribute {name!r}")
    base, preset = ENTRIES[name]
    value: Any = family(base)
    if preset:
        value = partial(value, **preset)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*ENTRIES, "from_spec", "names", "options"])
