"""Step -> canonical polynomials at one index, for arrays with axes.

In: a Step, and what its arrays and dimensions are called.  Out: `Indexed`.
Not here: the algebra of scalars (polynomial/), which arrays correspond (indexed_matching.py).

An array is the number at an index: h[0,1] of a state of heads and units. What is elementwise is the
algebra of polynomials, and an axis along which something is repeated is an index that it lacks. A
product is a sum over the indices that its result lacks:

    U @ h           sum over b1 of U[0,1,b1] * h[0,b1]

Sums are one a monomial; of sums within sums one is made, and what is free of the index stands
outside. So `U @ (V @ h)` and `(h @ V.T) ...` come to the same sum of U V h over two indices. The
indices of sums are called b1, b2 ... so that the monomial's key is least.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import count, permutations

from derive.comparison import polynomial
from derive.comparison.canonical import Meaning, _Walk, deep_atoms
from derive.comparison.polynomial import ONE, ZERO, Atom, Mono, Poly, of, single
from derive.program import Array, Map, Matmul, Over, Step, Sum
from derive.program.program import Dim
from derive.symbolic import functions

#: Sums over more indices than this are not brought into order.
MOST = 5
#: The index of an axis of length 1.
ALONE = "."
#: Functions of two arguments that may change places.
_EVEN = ("maximum", "minimum", "equal", "not_equal")


@dataclass(frozen=True, slots=True)
class Put:
    """What stands for a parameter: a number; or itself, times a number and others, plus others and
    a number (shift).

    times, plus: parameters, and at which axes of this one theirs are.
    """

    factor: Fraction = Fraction(1)
    times: tuple[tuple[str, tuple[int, ...]], ...] = ()
    plus: tuple[tuple[str, tuple[int, ...]], ...] = ()
    number: Fraction | None = None
    shift: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Names:
    """What another cell calls an array, and where its axes are in that: {name: (name, axes)}; and
    its dimensions. An axis that is not there is one along which the other's array is repeated.

    minus: parameters that are the negative of what they are called. put: what stands for one.
    """

    arrays: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    dims: Mapping[str, Dim] = field(default_factory=dict)
    minus: frozenset[str] = frozenset()
    put: Mapping[str, Put] = field(default_factory=dict)

    def dim(self, dim: Dim) -> Dim:
        return self.dims.get(dim, dim) if isinstance(dim, str) else dim


@dataclass(frozen=True, slots=True)
class Indexed:
    """Polynomials of next values, outputs and arrays, at the indices 0, 1, 2 of their axes.

    domain: keys of polynomials that are 0 at all indices exactly where everything needed, and all
    its derivatives, are numbers.
    """

    states: Mapping[str, Poly]
    outputs: tuple[Poly, ...]
    arrays: Mapping[str, Poly]
    domain: frozenset[str]


def indexed(step: Step, names: Names | None = None, whole: int | None = None) -> Indexed:
    """polynomial.TooLarge where a form grows beyond all use.

    whole: an array of more terms than this is one thing to what reads it. Then forms are small, and
    two that compute the same from other intermediates may differ.
    """
    walk = _IndexedWalk(step, names or Names(), whole)
    needed = _needed(step)
    for equation in step.program.equations:
        walk.add(equation, needed=equation.out in needed)
    return Indexed(
        {s: walk.values[n] for s, n in zip(step.states, step.next_states, strict=True)},
        tuple(walk.values[name] for name in step.outputs),
        walk.values,
        frozenset(_at_all_indices(poly) for poly in (*walk.outside, *walk.steep)),
    )


def _needed(step: Step) -> set[str]:
    """Arrays that an output depends on, in this step or a later one."""
    made = {equation.out: equation for equation in step.program.equations}
    nexts = dict(zip(step.states, step.next_states, strict=True))
    found: set[str] = set()
    waiting = list(step.outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += made[name].operands if name in made else ()
            waiting += [nexts[name]] if name in nexts else []
    return found


class _IndexedWalk(_Walk):
    """`values` are at the indices of an array's own axes; while an equation is written out, at
    those of its result."""

    def __init__(self, step: Step, names: Names, whole: int | None) -> None:
        self.names, self.whole = names, whole
        self.meaning, self.sloped = Meaning(sizes=names.dims), False
        self.table: Mapping[str, Array] = step.program.table()
        self.values: dict[str, Poly] = {}
        self.slopes: dict[str, Poly] = {}
        self.outside: dict[Poly, None] = {}
        self.steep: dict[Poly, None] = {}
        self._fresh = count()
        for name in step.program.inputs:
            kind = "param" if name in step.params else "array"
            own = self.own_indices(name)
            called, axes = names.arrays.get(name, (name, tuple(range(len(own)))))
            shown = ",".join(own[axis] for axis in axes)
            own_value = of(Atom(kind, f"{called}[{shown}]"))
            self.values[name] = own_value.times(Fraction(-1 if name in names.minus else 1))
        own_values = dict(self.values)
        for name, put in names.put.items():
            self.values[name] = self.put(own_values, name, put)

    def put(self, own: Mapping[str, Poly], name: str, put: Put) -> Poly:
        if put.number is not None:
            return polynomial.constant(put.number)
        value = own[name].times(put.factor)
        for other, axes in put.times:
            value = value * renamed(own[other], {str(j): str(k) for j, k in enumerate(axes)})
        for other, axes in put.plus:
            value = value + renamed(own[other], {str(j): str(k) for j, k in enumerate(axes)})
        return value + polynomial.constant(put.shift) if put.shift else value

    def own_indices(self, name: str) -> tuple[str, ...]:
        shape = self.table[name].shape
        return tuple(ALONE if dim == 1 else str(k) for k, dim in enumerate(shape))

    def add(self, equation: Map | Matmul | Sum, *, needed: bool = True) -> None:
        if isinstance(equation, Map):
            value = self.map(equation, needed)
        elif isinstance(equation, Sum):
            value = self.reduced(equation)
        else:
            value = self.product(equation)
        if self.whole is not None and len(value.terms) > self.whole:
            value = of(Atom("whole", "", (value,)))
        self.values[equation.out] = value

    def map(self, equation: Map, needed: bool) -> Poly:
        own, here = self.values, dict(self.values)
        for name in equation.operands:
            place = equation.place(name)
            if place is not None:
                here[name] = renamed(own[name], {str(j): str(k) for j, k in enumerate(place)})
        self.values = here
        try:
            value = self.expr(equation.expr)
            if needed:
                self.leaves(equation.expr, ONE)
        finally:
            self.values = own
        return value

    def expr(self, expr: functions.Expr) -> Poly:
        value = super().expr(expr)
        if len(value.terms) == 1 and polynomial.is_opaque():
            ((mono, c),) = value.terms.items()
            if len(mono) == 1 and mono[0][0].name in _EVEN and mono[0][0].kind == "function":
                atom = mono[0][0]
                args = tuple(sorted(atom.args, key=lambda arg: arg.key))
                return of(Atom(atom.kind, atom.name, args)).times(c)
        return value

    # --- sums -------------------------------------------------------------------------------

    def reduced(self, equation: Sum) -> Poly:
        source, out = self.table[equation.source], self.table[equation.out]
        axes = equation.axes_of(source, out)
        value = self.values[equation.source]
        if source.per_row != out.per_row:
            raise polynomial.TooLarge
        if equation.over.keeps:
            (axis,) = axes
            return self.running(value, axis, source.shape[axis], equation.over)
        left = [k for k in range(len(source.shape)) if k not in axes]
        gone = {str(k): self.index() for k in axes if source.shape[k] != 1}
        value = renamed(value, {**gone, **{str(k): str(j) for j, k in enumerate(left)}})
        dims = [(index, self.names.dim(source.shape[int(k)])) for k, index in gone.items()]
        if equation.over is Over.MAX:
            return _largest(value, dims)
        return summed(value, dims, self.size)

    def running(self, value: Poly, axis: int, dim: Dim, over: Over) -> Poly:
        """One atom a monomial: the sum up to an index."""
        bound = f"b{_depth(value)}"
        inner, result = renamed(value, {str(axis): bound}), ZERO
        for mono, c in inner.terms.items():
            inside = tuple(pair for pair in mono if bound in free(pair[0]))
            outside = single(tuple(pair for pair in mono if bound not in free(pair[0])))
            name = f"{over.value}|{bound}:{self.names.dim(dim)}|{axis}"
            result += (of(Atom("running", name, (single(inside),))) * outside).times(c)
        return result

    def product(self, equation: Matmul) -> Poly:
        letters = equation.letters()
        operands = (equation.left, equation.right)
        at = {letter: str(k) for k, letter in enumerate(letters[2])}
        dims: list[tuple[str, Dim]] = []
        parts = []
        for name, own in zip(operands, letters, strict=False):
            indices = {}
            for k, letter in enumerate(own):
                dim = self.table[name].shape[k]
                if letter not in at:
                    at[letter] = ALONE if dim == 1 else self.index()
                    if dim != 1:
                        dims.append((at[letter], self.names.dim(dim)))
                indices[str(k)] = at[letter]
            parts.append(renamed(self.values[name], indices))
        return summed(parts[0] * parts[1], dims, self.size)

    def index(self) -> str:
        """One that nothing else has."""
        return f"t{next(self._fresh)}"


# --- indices --------------------------------------------------------------------------------


def base_of(atom: Atom) -> tuple[str, tuple[str, ...]]:
    """The name of an array or parameter, and its indices."""
    name, _, rest = atom.name.rstrip("]").partition("[")
    return name, tuple(rest.split(",")) if rest else ()


def bound_of(atom: Atom) -> tuple[tuple[str, str], ...]:
    """(index, dimension) of what a sum, a maximum or a running sum goes over."""
    text = atom.name.split("|")[1] if atom.kind == "running" else atom.name
    return tuple((i, dim) for i, _, dim in (part.partition(":") for part in text.split(";")))


_BINDING = ("indexed sum", "largest", "running")


@lru_cache(maxsize=1 << 15)
def free(atom: Atom) -> frozenset[str]:
    """Indices that an atom has and does not bind. Remembered: an atom may occur in many others,
    and those in many, so a walk without a memory may double with each of them."""
    if atom.kind in ("array", "param"):
        return frozenset(base_of(atom)[1]) - {ALONE}
    found = frozenset[str]().union(*(free_of(arg) for arg in atom.args))
    if atom.kind in _BINDING:
        found -= {index for index, _ in bound_of(atom)}
    if atom.kind == "running":
        found |= {atom.name.split("|")[2]} - {ALONE}
    return found


def free_of(value: Poly) -> frozenset[str]:
    return frozenset[str]().union(*(free(a) for mono in value.terms for a, _ in mono))


def _depth(value: Poly) -> int:
    """One more than the last index that is bound anywhere inside."""
    numbers = (
        int(index[1:])
        for atom in deep_atoms([value])
        if atom.kind in _BINDING
        for index, _ in bound_of(atom)
    )
    return max(numbers, default=0) + 1


def renamed(value: Poly, indices: Mapping[str, str]) -> Poly:
    """With other free indices, all at once."""
    indices = {old: new for old, new in indices.items() if old != new}
    known: dict[Atom, Atom] = {}

    def poly(value: Poly) -> Poly:
        if not free_of(value) & indices.keys():
            return value
        result = ZERO
        for mono, c in value.terms.items():
            part = polynomial.constant(c)
            for atom, n in mono:
                part = part * single(((one(atom), n),))
            result += part
        return result

    def one(atom: Atom) -> Atom:
        if not free(atom) & indices.keys():
            return atom
        if atom not in known:
            known[atom] = _with(atom, tuple(map(poly, atom.args)), indices)
        return known[atom]

    return poly(value) if indices else value


def _with(atom: Atom, args: tuple[Poly, ...], indices: Mapping[str, str]) -> Atom:
    """An atom with arguments whose indices are renamed."""
    if atom.kind in ("array", "param"):
        name, own = base_of(atom)
        return Atom(atom.kind, f"{name}[{','.join(indices.get(k, k) for k in own)}]")
    name = atom.name
    if atom.kind == "running":
        over, bound, at = name.split("|")
        name = f"{over}|{bound}|{indices.get(at, at)}"
    return Atom(atom.kind, name, args, atom.scalar)


# --- sums in normal form ----------------------------------------------------------------------


def summed(value: Poly, dims: Sequence[tuple[str, Dim]], size: object) -> Poly:
    """The sum over indices, one monomial at a time."""
    result = ZERO
    for mono, c in value.terms.items():
        polynomial.spend()
        result += _summed(mono, list(dims), size).times(c)
    return result


def _summed(mono: Mono, dims: list[tuple[str, Dim]], size: object) -> Poly:
    factor, used = ONE, []
    for index, dim in dims:
        if any(index in free(atom) for atom, _ in mono):
            used.append((index, dim))
        else:
            assert callable(size)
            factor = factor * size(dim)
    if not used:
        return single(mono) * factor
    indices = {index for index, _ in used}
    outside, inside = ONE, []
    for atom, n in mono:
        if not free(atom) & indices:
            outside = outside * of(atom, n)
        elif atom.kind == "exp":
            # exp(u + v) is exp(u) * exp(v): what no index stands in is moved out.
            moving, resting = _parted(atom.args[0], indices)
            turn = polynomial.exp(moving.times(Fraction(n)))
            whole = list(turn.terms.values()) != [1]
            outside = outside * (ONE if whole else polynomial.exp(resting.times(Fraction(n))))
            inside += [(atom, n)] if whole else list(next(iter(turn.terms)))
        else:
            inside.append((atom, n))
    fresh, merged = count(), ONE
    for atom, n in inside:
        if atom.kind == "indexed sum" and n == 1:
            names = {old: f"m{next(fresh)}" for old, _ in bound_of(atom)}
            used += [(names[old], dim) for old, dim in bound_of(atom)]
            merged = merged * renamed(atom.args[0], names)
        else:
            merged = merged * single(((atom, n),))
    result = ZERO
    for each, c in merged.terms.items():
        result += of(_sum_atom("indexed sum", single(each), used)).times(c)
    return result * outside * factor


def _largest(value: Poly, dims: Sequence[tuple[str, Dim]]) -> Poly:
    if not dims:
        return value
    # The largest of u + c is c more than the largest of u.
    moving, resting = _parted(value, {index for index, _ in dims})
    if not moving.terms:
        moving, resting = resting, moving
    return of(_sum_atom("largest", moving, list(dims))) + resting


def _parted(value: Poly, indices: set[str]) -> tuple[Poly, Poly]:
    """The terms in which one of the indices stands, and the others."""
    moving = {
        mono: c for mono, c in value.terms.items() if any(free(atom) & indices for atom, _ in mono)
    }
    return Poly(moving), Poly({m: c for m, c in value.terms.items() if m not in moving})


def _sum_atom(kind: str, value: Poly, dims: list[tuple[str, Dim]]) -> Atom:
    """With its indices called b1, b2 ... in the order that makes the key least."""
    if len(dims) > MOST:
        raise polynomial.TooLarge
    first, best = _depth(value), None
    names = [f"b{first + k}" for k in range(len(dims))]
    for order in permutations(dims):
        polynomial.spend()
        told = {index: name for (index, _), name in zip(order, names, strict=True)}
        inner = renamed(value, told)
        own = ";".join(f"{n}:{dim}" for n, (_, dim) in zip(names, order, strict=True))
        if best is None or (own, inner.key) < (best.name, best.args[0].key):
            best = Atom(kind, own, (inner,))
    assert best is not None
    return best


def _at_all_indices(value: Poly) -> str:
    """The key of what holds at all indices, the same for any names of them."""
    own = sorted(free_of(value))
    keys: Iterable[str] = (
        renamed(value, dict(zip(own, (f"i{k}" for k in order), strict=True))).key
        for order in permutations(range(len(own)))
    )
    return min(keys)
