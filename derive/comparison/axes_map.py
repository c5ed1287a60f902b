"""The parameter map between two cells with axes, of arrays that correspond.

In: two cells' parts, and names of the source's arrays for the target's.  Out: a `ParameterMap`.
Not here: whether the two compute the same (equal_axes.py), numbers (confirm.py).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from derive.comparison.indexed import Names
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.polynomial import Atom, Poly, constant, of

if TYPE_CHECKING:
    from derive.comparison.equal_axes import Parts


def turned_round(names: Names) -> Names:
    """Names of the target's arrays for the source's, where they go one to one."""
    back = {
        name: (other, tuple(axes.index(k) for k in range(len(axes))))
        for other, (name, axes) in names.arrays.items()
    }
    dims = {str(mine): theirs for theirs, mine in names.dims.items()}
    return Names(back, dims, frozenset(names.arrays[name][0] for name in names.minus))


def map_of(
    source: Parts, target: Parts, names: Names, error: float, whole: int | None
) -> ParameterMap:
    """names: of the target's arrays in the source."""
    arrays = names.arrays
    axes = {
        name: tuple(lies.index(k) for k in range(len(lies)))
        for name, (_, lies) in arrays.items()
        if list(lies) != sorted(lies) and len(lies) == len(target.shapes[name])
    }
    params = {n: v for n in target.params if (v := _value(source, target, names, n)) is not None}
    idle = [name for name in target.params if name not in params]
    form = source.form(whole=whole)
    lines = ["at an index of its axes each array is a number: products are sums over indices"]
    for cell in (source, target):
        for name, put in cell.less.put.items():
            if put.number is not None:
                sign = "*" if put.number else "+"
                taken = " and ".join(
                    f"{other} {sign} {name} for {other}"
                    for other, told in cell.less.told.items()
                    if name in {n for n, _ in (*told.times, *told.plus)}
                )
                lines.append(
                    f"{name} of {cell.name} may be {put.number}: with {taken} the sums are what "
                    "they were"
                )
            if put.shift:
                sign = "-" if put.shift > 0 else "+"
                lines.append(
                    f"{name} {sign} {abs(put.shift)} of {cell.name} is one parameter, for {name} "
                    "stands only as a term by itself"
                )
    if form is not None:
        for key, value in zip(source.outputs, form.outputs, strict=True):
            terms = len(value.terms)
            lines.append(
                f"{key} of {source.name} is a sum of {terms} product{'s' if terms > 1 else ''} "
                f"there; with the parameters of {target.name} put in, its own is the same sum"
            )
    lines.append("functions with kinks stand in both as they are, so gradients are the same too")
    plain = not source.less.told and not target.less.put
    return ParameterMap(
        source.name,
        target.name,
        params,
        {n: of(Atom("array", arrays[n][0])) for n in target.states if n in arrays},
        {},
        {n: arrays[n][0] for n in target.inputs if n in arrays},
        dict(names.dims),
        False,
        plain and not idle and len({arrays[n] for n in params}) == len(source.params),
        steps=tuple(lines),
        error=error,
        notes=tuple(f"nothing depends on {name} of {target.name}" for name in idle),
        axes=axes,
    )


def _value(source: Parts, target: Parts, names: Names, name: str) -> Poly | None:
    """A parameter of the target, told by those of the source; None where nothing depends on it."""
    put = target.less.put.get(name)
    if put is not None and put.number is not None:
        return constant(put.number)
    if name not in names.arrays:
        return None
    own = names.arrays[name][0]
    value = of(Atom("param", own))
    told = source.less.told.get(own)
    if told is not None:
        value = value.times(told.factor)
        for other, _ in told.times:
            value = value * of(Atom("param", other))
        for other, _ in told.plus:
            value = value + of(Atom("param", other))
        value = value + constant(told.shift) if told.shift else value
    factor = Fraction(-1 if name in names.minus else 1) * (put.factor if put is not None else 1)
    value = value.times(factor)
    return value + constant(put.shift) if put is not None and put.shift else value
