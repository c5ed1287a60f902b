"""Three primitives of JAX, closed under differentiation.

In: an engine, and arrays.  Out: results, which JAX may differentiate to any order, in both modes.
Not here: vmap (batching.py), numbers (engine.py), what users call (functional.py).

F is what a cell computes over a sequence: from A, its parameters, inputs and first states, its
outputs and last states. t1, t2, ... are directions, each of the shape of A, and c is a cotangent.

| primitive   | is                                                | linear in       |
| ----------- | ------------------------------------------------- | --------------- |
| sequence_p  | F(A), and what backward needs                     |                 |
| jvp_p       | D^n F(A) [t1, ..., tn], n >= 1                    | each direction  |
| vjp_p       | the gradient by A of <c, D^m F(A) [t1, ..., tm]>  | c, each direction |

| derivative                     | is                                                         |
| ------------------------------ | ---------------------------------------------------------- |
| of any of them along t         | itself with the direction t more; and, it being linear in  |
|                                | directions and c, itself with the tangent of each in turn  |
| jvp_p, transposed by ti        | vjp_p without ti                                           |
| vjp_p, transposed by c         | jvp_p with what is transposed as a direction more          |
| vjp_p, transposed by ti        | vjp_p with what is transposed in the place of ti, since    |
|                                | derivatives may be taken in any order                      |

D^n F is computed by the tangent cell of the tangent cell ..., whose tangents of tangents are
zero. Arrays of a direction that are zero are left out: `given` has a flag for each array. So are
cotangents that are zero (`on`) and gradients that nothing asks for (`wanted`).

Operands stand in this order: lengths, A, what was kept for backward, c, t1, t2, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir

from derive.errors import ArgumentError
from derive.jax import versions
from derive.jax.engine import Arrays, Engine

Flags = tuple[bool, ...]

sequence_p = Primitive("derive_sequence")
jvp_p = Primitive("derive_jvp")
vjp_p = Primitive("derive_vjp")
PRIMITIVES = (sequence_p, jvp_p, vjp_p)


@dataclass(frozen=True, slots=True)
class Way:
    """Which call: the cell, the direction of time, and what stands among its operands.

    ends: whether lengths are given.  kept: whether what was kept for backward is.  on: of outputs
    and last states, whether there is a cotangent.  given: of each direction and array, whether it
    is there.  wanted: of each array, whether its gradient is.  training: whether a forward call
    keeps what backward needs.
    """

    engine: Engine
    reverse: bool
    ends: bool
    kept: bool = False
    on: Flags = ()
    given: tuple[Flags, ...] = ()
    wanted: Flags = ()
    training: bool = False

    @property
    def count(self) -> int:
        """Of the arrays in A."""
        return sum(self.engine.counts)

    def parted(self, operands: Arrays) -> Parted:
        """The operands by kind."""
        rest = list(operands)

        def take(count: int) -> list[Any]:
            found, rest[:] = rest[:count], rest[count:]
            return found

        ends, arrays, saved = take(self.ends), take(self.count), take(self.kept)
        cotangents = take(sum(self.on))
        return Parted(ends, arrays, saved, cotangents, [take(sum(flags)) for flags in self.given])

    def bind(self, parted: Parted) -> list[Any]:
        """Calls the primitive that this way is one of."""
        primitive = vjp_p if self.wanted else jvp_p if self.given else sequence_p
        operands = versions.vary_alike(parted.flat())
        return list(primitive.bind(*operands, way=self))

    def without_saved(self, parted: Parted) -> tuple[Way, Parted]:
        return replace(self, kept=False), replace(parted, saved=[])


@dataclass(frozen=True, slots=True)
class Parted:
    """Operands by kind; of cotangents and directions those that are there."""

    ends: list[Any]
    arrays: list[Any]
    saved: list[Any]
    cotangents: list[Any]
    directions: list[list[Any]]

    def flat(self) -> list[Any]:
        flat = [*self.ends, *self.arrays, *self.saved, *self.cotangents]
        return [*flat, *(array for one in self.directions for array in one)]


def _spread(flags: Flags, values: Sequence[Any]) -> list[Any]:
    """A value for each flag: the next one where it is set, else None."""
    rest = iter(values)
    return [next(rest) if flag else None for flag in flags]


def _picked(values: Sequence[Any]) -> tuple[Flags, list[Any]]:
    """Which of some tangents or cotangents are not zero, and those."""
    flags = tuple(v is not None and type(v) is not ad.Zero for v in values)
    return flags, [v for v, flag in zip(values, flags, strict=True) if flag]


# --- shapes ---------------------------------------------------------------------------------


def _abstract(*avals: Any, way: Way) -> list[Any]:
    parted = way.parted(avals)
    arrays = parted.arrays
    sizes = way.engine.sizes(arrays)
    if way.wanted:
        picked = (a for a, flag in zip(arrays, way.wanted, strict=True) if flag)
        return [versions.aval(a.shape, arrays[0]) for a in picked]
    found = [versions.aval(shape, arrays[0]) for shape in way.engine.results(sizes)]
    if way.training:
        saved = (way.engine.saved(sizes, arrays[0].dtype),)
        found.append(versions.aval(saved, arrays[0]))
    return found


# --- derivatives ----------------------------------------------------------------------------


def _sum(terms: Sequence[Sequence[Any]]) -> list[Any]:
    first, *others = terms
    total = list(first)
    for term in others:
        total = [a + b for a, b in zip(total, term, strict=True)]
    return total


def _sequence_jvp(primals: Arrays, tangents: Arrays, *, way: Way) -> tuple[Any, Any]:
    arrays = replace(way, training=True)
    results = arrays.bind(way.parted(primals))
    flags, direction = _picked(way.parted(tangents).arrays)
    if not any(flags):
        moved: list[Any] = [versions.zero_like(r) for r in results[:-1]]
    else:
        parted = way.parted(primals)
        moved = replace(way, training=False, kept=True, given=(flags,)).bind(
            replace(parted, saved=[results[-1]], directions=[direction])
        )
    if way.training:
        return results, [*moved, versions.zero_like(results[-1])]
    return results[:-1], moved


def _derivative(primals: Arrays, tangents: Arrays, *, way: Way) -> tuple[Any, Any]:
    """Of jvp_p and vjp_p."""
    parted, moved = way.parted(primals), way.parted(tangents)
    results = way.bind(parted)
    terms = []
    flags, direction = _picked(moved.arrays)
    if any(flags):
        more, operands = way.without_saved(parted)
        terms.append(
            replace(more, given=(*way.given, flags)).bind(
                replace(operands, directions=[*parted.directions, direction])
            )
        )
    flags, cotangents = _picked(_spread(way.on, moved.cotangents))
    if any(flags):
        terms.append(replace(way, on=flags).bind(replace(parted, cotangents=cotangents)))
    for k, own in enumerate(way.given):
        flags, direction = _picked(_spread(own, moved.directions[k]))
        if any(flags):
            terms.append(
                replace(way, given=_with(way.given, k, flags)).bind(
                    replace(parted, directions=[*_with(parted.directions, k, direction)])
                )
            )
    if not terms:
        return results, [versions.zero_like(r) for r in results]
    return results, _sum(terms)


def _with(values: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _undefined(way: Way, parted: Parted) -> tuple[int, Flags]:
    """Which direction is to be transposed, -1 for the cotangent; and which of its arrays."""
    kinds = [(-1, way.on, parted.cotangents)]
    kinds += [(k, way.given[k], own) for k, own in enumerate(parted.directions)]
    for place, flags, values in kinds:
        found = tuple(v is not None and ad.is_undefined_primal(v) for v in _spread(flags, values))
        if any(found):
            return place, found
    raise AssertionError("a linear operand is transposed, or nothing is")


def _jvp_transpose(cotangents: Arrays, *operands: Any, way: Way) -> list[Any]:
    parted = way.parted(operands)
    place, flags = _undefined(way, parted)
    on, given = _picked(cotangents)
    found: list[Any] = [None] * sum(flags)
    if any(on):
        kept = way.kept and len(way.given) == 1
        found = replace(
            way, kept=kept, on=on, given=_without(way.given, place), wanted=flags
        ).bind(
            replace(
                parted, saved=parted.saved if kept else [], cotangents=given,
                directions=list(_without(parted.directions, place)),
            )
        )  # fmt: skip
    return _placed(way, parted, place, flags, found)


def _vjp_transpose(cotangents: Arrays, *operands: Any, way: Way) -> list[Any]:
    parted = way.parted(operands)
    place, flags = _undefined(way, parted)
    given, direction = _picked(_spread(way.wanted, cotangents))
    found: list[Any] = [None] * sum(flags)
    if any(given) and place < 0:
        results = replace(way, on=(), wanted=(), given=(*way.given, given)).bind(
            replace(parted, cotangents=[], directions=[*parted.directions, direction])
        )
        found = [r for r, flag in zip(results, flags, strict=True) if flag]
    elif any(given):
        found = replace(way, given=_with(way.given, place, given), wanted=flags).bind(
            replace(parted, directions=list(_with(parted.directions, place, direction)))
        )
    return _placed(way, parted, place, flags, found)


def _without(values: Sequence[Any], place: int) -> tuple[Any, ...]:
    return (*values[:place], *values[place + 1 :])


def _placed(way: Way, parted: Parted, place: int, flags: Flags, found: Sequence[Any]) -> list[Any]:
    """A cotangent for each operand: `found` where it was to be transposed, else None."""
    of_all = Parted(
        [None] * len(parted.ends), [None] * len(parted.arrays), [None] * len(parted.saved),
        [None] * len(parted.cotangents), [[None] * len(own) for own in parted.directions],
    )  # fmt: skip
    own = way.on if place < 0 else way.given[place]
    values = [v for v, flag in zip(_spread(flags, found), own, strict=True) if flag]
    if place < 0:
        return replace(of_all, cotangents=values).flat()
    return replace(of_all, directions=list(_with(of_all.directions, place, values))).flat()


# --- lowering -------------------------------------------------------------------------------


def _run_sequence(*operands: Any, way: Way) -> list[Any]:
    parted = way.parted(operands)
    return way.engine.forward(parted.ends, parted.arrays, way.reverse, way.training)


def _run_jvp(*operands: Any, way: Way) -> list[Any]:
    parted = way.parted(operands)
    engine, order = way.engine, len(way.given)
    results = engine.of_order(order).forward(parted.ends, _moved(way, parted), way.reverse, False)
    outputs, states = len(engine.outputs), len(engine.states)
    last = outputs << order
    return [*results[last - outputs : last], *results[len(results) - states :]]


def _run_vjp(*operands: Any, way: Way) -> list[Any]:
    parted = way.parted(operands)
    engine, order = way.engine, len(way.given)
    cotangents = _spread(way.on, parted.cotangents)
    count = len(engine.outputs)
    of_outputs, of_states = cotangents[:count], cotangents[count:]
    wanted: list[bool] = list(way.wanted)
    for k in range(order):  # c belongs to the last of the results, wanted to the first arrays
        of_outputs = [*[None] * len(of_outputs), *of_outputs]
        of_states = [*[None] * len(of_states), *of_states]
        wanted = engine.of_order(k).firsts(wanted)
    arrays = _moved(way, parted)
    of_order = engine.of_order(order)
    if way.kept:
        saved = parted.saved[0]
    else:
        saved = of_order.forward(parted.ends, arrays, way.reverse, True)[-1]
    given = [*of_outputs, *of_states]
    return of_order.backward(parted.ends, arrays, way.reverse, saved, given, wanted)


def _moved(way: Way, parted: Parted) -> list[Any]:
    """Arrays of the cell D^n F: A, the directions, and zeros for what is higher."""
    zeros = [jnp.zeros_like(array) for array in parted.arrays]
    full = [
        [z if t is None else t for z, t in zip(zeros, _spread(flags, own), strict=True)]
        for flags, own in zip(way.given, parted.directions, strict=True)
    ]

    def built(base: list[Any], directions: list[list[Any]]) -> list[Any]:
        if not directions:
            return base
        *others, last = directions
        below = way.engine.of_order(len(others))
        return below.pair(built(base, others), built(last, [zeros] * len(others)))

    return built(parted.arrays, full)


def _refused(ctx: Any, *operands: Any, way: Way) -> Any:
    raise ArgumentError(
        f"derive.jax runs on the CPU, and {way.engine.cell.name} is to run on another device",
        hint="x = jax.device_put(x, jax.devices('cpu')[0]), and the parameters too",
    )


for _primitive, _run, _jvp in (
    (sequence_p, _run_sequence, _sequence_jvp),
    (jvp_p, _run_jvp, _derivative),
    (vjp_p, _run_vjp, _derivative),
):
    _primitive.multiple_results = True
    _primitive.def_abstract_eval(_abstract)
    _primitive.def_impl(versions.implementation(_primitive))
    ad.primitive_jvps[_primitive] = _jvp
    mlir.register_lowering(_primitive, versions.lowering(_run), platform="cpu")
    mlir.register_lowering(_primitive, _refused)
    versions.register_replication(_primitive)
ad.primitive_transposes[jvp_p] = _jvp_transpose
ad.primitive_transposes[vjp_p] = _vjp_transpose
