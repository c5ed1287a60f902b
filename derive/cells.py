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

if TYPE_CHECKING:
    from derive.catalogue import (
        antisymmetric_rnn as _antisymmetric_rnn,
    )
    from derive.catalogue import (
        atr as _atr,
    )
    from derive.catalogue import (
        brc as _brc,
    )
    from derive.catalogue import (
        cfc as _cfc,
    )
    from derive.catalogue import (
        cfn as _cfn,
    )
    from derive.catalogue import (
        cifg as _cifg,
    )
    from derive.catalogue import (
        cornn as _cornn,
    )
    from derive.catalogue import (
        fast_grnn as _fast_grnn,
    )
    from derive.catalogue import (
        fast_rnn as _fast_rnn,
    )
    from derive.catalogue import (
        gru as _gru,
    )
    from derive.catalogue import (
        indrnn as _indrnn,
    )
    from derive.catalogue import (
        indy_lstm as _indy_lstm,
    )
    from derive.catalogue import (
        intersection_rnn as _intersection_rnn,
    )
    from derive.catalogue import (
        janet as _janet,
    )
    from derive.catalogue import (
        lem as _lem,
    )
    from derive.catalogue import (
        light_ru as _light_ru,
    )
    from derive.catalogue import (
        ligru as _ligru,
    )
    from derive.catalogue import (
        lstm as _lstm,
    )
    from derive.catalogue import (
        mgu as _mgu,
    )
    from derive.catalogue import (
        mi_rnn as _mi_rnn,
    )
    from derive.catalogue import (
        min_gru as _min_gru,
    )
    from derive.catalogue import (
        min_lstm as _min_lstm,
    )
    from derive.catalogue import (
        minimal_rnn as _minimal_rnn,
    )
    from derive.catalogue import (
        multiplicative_lstm as _multiplicative_lstm,
    )
    from derive.catalogue import (
        mut as _mut,
    )
    from derive.catalogue import (
        nas as _nas,
    )
    from derive.catalogue import (
        odyssey as _odyssey,
    )
    from derive.catalogue import (
        phased_lstm as _phased_lstm,
    )
    from derive.catalogue import (
        ran as _ran,
    )
    from derive.catalogue import (
        rg_lru as _rg_lru,
    )
    from derive.catalogue import (
        rnn as _rnn,
    )
    from derive.catalogue import (
        slim as _slim,
    )
    from derive.catalogue import (
        sru as _sru,
    )
    from derive.catalogue import (
        star as _star,
    )
    from derive.catalogue import (
        ugrnn as _ugrnn,
    )
    from derive.catalogue import (
        unicornn as _unicornn,
    )
    from derive.catalogue.option import Option
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
    cfn = _of(_cfn.cfn)
    cifg = _of(_cifg.cifg)
    gru = _of(_gru.gru)
    indrnn = _of(_indrnn.indrnn)
    intersection_rnn = _of(_intersection_rnn.intersection_rnn)
    janet = _of(_janet.janet)
    ligru = _of(_ligru.ligru)
    lstm = _of(_lstm.lstm)
    mgu = _of(_mgu.mgu)
    min_gru = _of(_min_gru.min_gru)
    min_lstm = _of(_min_lstm.min_lstm)
    minimal_rnn = _of(_minimal_rnn.minimal_rnn)
    nas = _of(_nas.nas)
    odyssey = _of(_odyssey.odyssey)
    phased_lstm = _of(_phased_lstm.phased_lstm)
    rnn = _of(_rnn.rnn)
    slim = _of(_slim.slim)
    sru = _of(_sru.sru)
    ugrnn = _of(_ugrnn.ugrnn)
    ran = _of(_ran.ran)
    atr = _of(_atr.atr)
    star = _of(_star.star)
    light_ru = _of(_light_ru.light_ru)
    mut = _of(_mut.mut)
    fast_rnn = _of(_fast_rnn.fast_rnn)
    fast_grnn = _of(_fast_grnn.fast_grnn)
    brc = _of(_brc.brc)
    mi_rnn = _of(_mi_rnn.mi_rnn)
    antisymmetric_rnn = _of(_antisymmetric_rnn.antisymmetric_rnn)
    cornn = _of(_cornn.cornn)
    unicornn = _of(_unicornn.unicornn)
    lem = _of(_lem.lem)
    multiplicative_lstm = _of(_multiplicative_lstm.multiplicative_lstm)
    indy_lstm = _of(_indy_lstm.indy_lstm)
    rg_lru = _of(_rg_lru.rg_lru)
    cfc = _of(_cfc.cfc)


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
