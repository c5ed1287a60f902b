"""Arrays written out: arithmetic of arithmetic in one expression, element by element.

In: a Program.  Out: expressions over `Atom`s: arrays that are not arithmetic of others.
Not here: what follows from such an expression (ranges.py, inverse.py).

`z * h + (1 - z) * n` shows that h' lies between h and n; `z * h + w * n`, with w = 1 - z on a line
of its own, shows it once w is written out. An array that lies on some axes of another is a number
of its own there: f[i] is one atom and f[j] another.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import sympy

from derive.program import Map, Over, Program, Sum
from derive.symbolic import functions
from derive.symbolic.functions import Expr

#: An expression of more nodes than this is not written out any further.
_LARGEST = 80


@dataclass(frozen=True, slots=True)
class Atom:
    """An array, and the axes of the whole expression on which its own lie. mean: it stands for
    the mean of this array over what a sum drops."""

    array: str
    place: tuple[int, ...]
    mean: bool = False


class WrittenOut:
    """Expressions of a Program's arrays. keep: arrays that stay atoms."""

    def __init__(self, program: Program, keep: Collection[str] = ()) -> None:
        self.table = program.table()
        self.definitions = program.definitions()
        self.atoms: dict[sympy.Symbol, Atom] = {}
        self._keep = set(keep)
        self._sizes: dict[str, int] = {}
        self._known: dict[str, Expr] = {}
        for equation in program.equations:
            if isinstance(equation, Sum) and equation.over is Over.MAX:
                self._keep.add(equation.source)

    def value(self, name: str) -> Expr:
        """The right-hand side of a Map, written out; the array itself for anything else."""
        if name not in self._known:
            shape = self.table[name].shape
            place = () if shape == (1,) else tuple(range(len(shape)))
            equation = self.definitions.get(name)
            whole = isinstance(equation, Map)
            self._known[name] = (
                self._of_map(cast(Map, equation), place) if whole else self._atom(name, place)
            )
        return self._known[name]

    def part(self, equation: Map, expr: Expr) -> Expr:
        """A part of the right-hand side of an equation, written out."""
        shape = self.table[equation.out].shape
        place = () if shape == (1,) else tuple(range(len(shape)))
        names = [s.name for s in expr.free_symbols if not functions.is_size(s)]
        return _rebuilt(expr, {name: self._inner(equation, name, place) for name in names})

    def at(self, name: str, place: tuple[int, ...]) -> Expr:
        """An array on some axes of an expression, written out where it is arithmetic."""
        equation = self.definitions.get(name)
        if name in self._keep or self._size(name) > _LARGEST:
            return self._atom(name, place)
        if isinstance(equation, Map) and is_arithmetic(equation.expr):
            return self._of_map(equation, place)
        return self._atom(name, place)

    def _count(self, name: str) -> Expr:
        """How many numbers a sum adds up; 0 for anything else."""
        equation = self.definitions.get(name)
        if not isinstance(equation, Sum) or equation.over is not Over.SUM:
            return functions.ZERO
        shape = self.table[equation.source].shape
        axes = equation.axes_of(self.table[equation.source], self.table[name])
        return cast(Expr, sympy.Mul(*(functions.size(shape[k]) for k in axes)) if axes else 0)

    def _of_map(self, equation: Map, place: tuple[int, ...]) -> Expr:
        inner = {name: self._inner(equation, name, place) for name in equation.operands}
        return _rebuilt(equation.expr, inner)

    def _inner(self, equation: Map, name: str, place: tuple[int, ...]) -> Expr:
        own = equation.place(name)
        if self.table[name].shape == (1,):
            own = ()
        elif own is None:
            own = tuple(range(len(self.table[name].shape)))
        place = tuple(place[k] for k in own)
        if equation.expr.is_Mul and len(equation.operands) == 1 and (count := self._count(name)):
            return count * self._atom(name, place, mean=True)  # a mean, or a multiple of one
        return self.at(name, place)

    def _atom(self, name: str, place: tuple[int, ...], mean: bool = False) -> Expr:
        plain = not mean and place == tuple(range(len(place)))
        text = name if plain else f"{name}@{','.join(map(str, place))}" + "~" * mean
        symbol = functions.symbol(text)
        self.atoms[symbol] = Atom(name, place, mean)
        return symbol

    def _size(self, name: str) -> int:
        """How many nodes an array has when it is written out as far as possible."""
        if name not in self._sizes:
            equation = self.definitions.get(name)
            size = 1
            if isinstance(equation, Map) and is_arithmetic(equation.expr):
                own = sum(1 for _ in sympy.preorder_traversal(equation.expr))
                size = own + sum(map(self._size, equation.operands))
            self._sizes[name] = size
        return self._sizes[name]


def _rebuilt(expr: Expr, inner: dict[str, Expr]) -> Expr:
    """With expressions in place of arrays, and without stop_gradient, which changes no value."""
    if expr.is_Symbol:
        return expr if functions.is_size(expr) else inner[expr.name]
    if not expr.args:
        return expr
    args = [_rebuilt(arg, inner) for arg in expr.args]
    if isinstance(expr, functions.stop_gradient):
        return args[0]
    return cast(Expr, expr.func(*args))


@lru_cache(maxsize=1 << 14)
def is_arithmetic(expr: Expr) -> bool:
    """Whether it is made of sums, products and whole powers alone."""
    if expr.is_Symbol or not expr.args:
        return True
    if isinstance(expr, functions.exp):
        return False
    if isinstance(expr, sympy.Pow):
        return bool(expr.exp.is_Integer) and abs(int(expr.exp)) <= 8 and is_arithmetic(expr.base)
    if expr.is_Add or expr.is_Mul or isinstance(expr, functions.stop_gradient):
        return all(map(is_arithmetic, expr.args))
    return False
