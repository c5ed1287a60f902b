"""Which element of a next state meets which element of a state: the pattern of the Jacobian.

In: a Program, states and what holds their next values.  Out: a `Pattern` for each pair.
Not here: values of the Jacobian (inspect/gradient_flow.py), whether it is constant (linear.py).

How an array depends on a state is a sum of terms. A term is a product of arrays with a letter for
each axis, as in NumPy's einsum. S @ k, with S: D x K, is k[j] S[i, j]: the array has the letter i,
the state has i and j, and the factor k has j. The array and the state have i in common, so rows of
S never meet. A letter of the array and one of the state that no factor connects belong to an outer
product: its rank is 1.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from derive.program import Array, Map, Matmul, Over, Program, Sum
from derive.program.program import Dim
from derive.recurrence.linear import coefficients
from derive.symbolic import functions
from derive.symbolic.functions import Expr

Letters = tuple[int, ...]
#: (what it is, the letters of its axes)
Factor = tuple[str, Letters]

#: More terms than this are taken together: what all have in common stays.
_MOST = 64
#: More than the dimensions of any cell.
_DIMS = 1 << 16


@dataclass(frozen=True, slots=True)
class Term:
    """Of the dependence of an array on a state: the letters of both, and the factors between."""

    out: Letters
    into: Letters
    factors: tuple[Factor, ...] = ()

    def renamed(self, new: Mapping[int, int]) -> Term:
        def of(letters: Letters) -> Letters:
            return tuple(new.get(letter, letter) for letter in letters)

        factors = tuple((label, of(letters)) for label, letters in self.factors)
        return Term(of(self.out), of(self.into), factors)


class Kind(enum.Enum):
    """What d next / d state is, or each of its blocks."""

    ZERO = "zero"
    IDENTITY = "identity"
    DIAGONAL = "diagonal"
    REPEATED = "repeated"  # of a state with fewer axes: each element meets those in its place
    LOW_RANK = "low rank"
    PLUS_LOW_RANK = "diagonal plus low rank"
    DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Pattern:
    """blocks: positions of the axes along which elements never meet, of a matrix that is not
    diagonal; kind: of each block.  rank: at most this, where it is low: "1", "R", "R + 1"."""

    kind: Kind
    blocks: tuple[int, ...] = ()
    rank: str = ""

    @property
    def is_diagonal(self) -> bool:
        return self.kind in (Kind.ZERO, Kind.IDENTITY, Kind.DIAGONAL)


def patterns(
    program: Program, carried: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Pattern]:
    """{(state after the step, state before it): pattern}. carried: (state, its next value)."""
    table = program.table()
    wide = {dim for state, _ in carried for dim in table[state].shape}
    found: dict[tuple[str, str], Pattern] = {}
    for before, _ in carried:
        walk = _Walk(program, before)
        for after, name in carried:
            terms = walk.terms.get(name, ())
            found[after, before] = walk.pattern(terms, table[name].shape, wide)
    return found


class _Walk:
    """The terms of every array by one state."""

    def __init__(self, program: Program, state: str) -> None:
        self.table: Mapping[str, Array] = program.table()
        self.dims: dict[int, Dim] = {}
        self.numbers: dict[Dim, int] = {}
        self.shape = self.table[state].shape
        own = self.letters(self.shape)
        self.terms: dict[str, tuple[Term, ...]] = {state: (Term(own, own),)}
        for equation in program.equations:
            moved = any(name in self.terms for name in equation.operands)
            if moved and (terms := self.through(equation)):
                self.terms[equation.out] = self.few(terms)

    def letters(self, shape: Sequence[Dim]) -> Letters:
        """A new letter for each axis; none for what is one number a row."""
        if tuple(shape) == (1,):
            return ()
        return tuple(self.letter(dim) for dim in shape)

    def letter(self, dim: Dim) -> int:
        new = len(self.dims)
        self.dims[new] = dim
        return new

    def through(self, equation: Map | Matmul | Sum) -> list[Term]:
        if isinstance(equation, Map):
            return self.map(equation)
        if isinstance(equation, Sum):
            return [self.sum(equation, term) for term in self.terms[equation.source]]
        return self.product(equation)

    def map(self, equation: Map) -> list[Term]:
        shape = self.table[equation.out].shape
        found = []
        for name in equation.operands:
            if name not in self.terms:
                continue
            symbol = functions.symbol(name)
            affine = coefficients(equation.expr, frozenset((symbol,)))
            if affine is not None and symbol not in affine[0]:
                continue  # it cancels
            slope = equation.expr if affine is None else affine[0][symbol]
            for term in self.terms[name]:
                axes = self.letters(shape)
                place = self.place(equation, name)
                term = term.renamed(dict(zip(term.out, (axes[k] for k in place), strict=True)))
                parts = slope.args if slope.is_Mul and affine is not None else (slope,)
                factors = tuple(
                    (f"{equation.out}/{name}/{k}", letters)
                    for k, part in enumerate(parts)
                    if (letters := self.on(equation, part, axes)) is not None
                )
                found.append(Term(axes, term.into, term.factors + factors))
        return found

    def place(self, equation: Map, name: str) -> tuple[int, ...]:
        """The axes of the result on which those of an operand lie."""
        place = equation.place(name)
        shape = self.table[name].shape
        if shape == (1,):
            return ()
        return tuple(range(len(shape))) if place is None else place

    def on(self, equation: Map, part: Expr, axes: Letters) -> Letters | None:
        """The letters on which a factor lies; None for 1."""
        if part == 1:
            return None
        names = [s.name for s in part.free_symbols if not functions.is_size(s)]
        places = {k for name in names for k in self.place(equation, name)}
        return tuple(axes[k] for k in sorted(places))

    def sum(self, equation: Sum, term: Term) -> Term:
        source, out = self.table[equation.source], self.table[equation.out]
        axes = equation.axes_of(source, out)
        if not equation.over.keeps:
            kept = tuple(letter for k, letter in enumerate(term.out) if k not in axes)
            if out.shape == (1,):  # one number a row, be it what is left of an axis of length 1
                kept = ()
            if equation.over is Over.SUM:
                return Term(kept, term.into, term.factors)
            return Term(kept, term.into, (*term.factors, (equation.out, term.out)))
        (axis,) = axes
        if not term.out:
            return term
        new = self.letter(source.shape[axis])
        factor = (equation.over.value, (new, term.out[axis]))
        kept = tuple(new if k == axis else letter for k, letter in enumerate(term.out))
        return Term(kept, term.into, (*term.factors, factor))

    def product(self, equation: Matmul) -> list[Term]:
        *of, of_out = equation.letters()
        pair = (equation.left, equation.right)
        dims: dict[str, Dim] = {}
        for k in (0, 1):
            dims |= dict(zip(of[k], self.table[pair[k]].shape, strict=False))
        found = []
        for k in (0, 1):
            for term in self.terms.get(pair[k], ()):
                letter = {c: self.letter(dim) for c, dim in dims.items()}
                if term.out:  # a number a row has no letter
                    mine = (letter[c] for c in of[k])
                    term = term.renamed(dict(zip(term.out, mine, strict=True)))
                other = (pair[1 - k], tuple(letter[c] for c in of[1 - k]))
                is_number = self.table[equation.out].shape == (1,)
                out = () if is_number else tuple(letter[c] for c in of_out)
                found.append(Term(out, term.into, (*term.factors, other)))
        return found

    def few(self, terms: list[Term]) -> tuple[Term, ...]:
        """Each once; one instead of more than can be looked at."""
        unique = tuple(dict.fromkeys(map(self.canonical, terms)))
        return unique if len(unique) <= _MOST else (self.together(unique),)

    def canonical(self, term: Term) -> Term:
        """The same term with letters in the order in which they stand: equal terms are equal."""
        order = dict.fromkeys(
            (*term.into, *term.out, *(one for _, letters in term.factors for one in letters))
        )
        # Letters are looked up by their dimension: a number for each dimension and place.
        new: dict[int, int] = {}
        for k, letter in enumerate(order):
            new[letter] = self.known_letter(k, self.dims[letter])
        return term.renamed(new)

    def known_letter(self, place: int, dim: Dim) -> int:
        key = -1 - (place * _DIMS + self.numbers.setdefault(dim, len(self.numbers)))
        self.dims[key] = dim
        return key

    def together(self, terms: Sequence[Term]) -> Term:
        """One term that says what all of them say: letters in common stay so, the rest meets."""
        first = terms[0]
        into = self.letters(self.shape)
        dims = [self.dims[letter] for letter in first.out]
        out = []
        for k, dim in enumerate(dims):
            shared = [p for p in range(len(into)) if all(t.out[k] == t.into[p] for t in terms)]
            out.append(into[shared[0]] if shared else self.letter(dim))
        return Term(tuple(out), into, (("several", (*out, *into)),))

    # --- what the terms come to

    def pattern(self, terms: Sequence[Term], shape: Sequence[Dim], wide: Iterable[Dim]) -> Pattern:
        if not terms:
            return Pattern(Kind.ZERO)
        alike = tuple(shape) == tuple(self.shape)
        same = [_shared(term) if alike else frozenset[int]() for term in terms]
        blocks = frozenset.intersection(*same)
        every = frozenset(range(len(self.letters(shape))))
        if alike and blocks == every:
            plain = len(terms) == 1 and not terms[0].factors
            return Pattern(Kind.IDENTITY if plain else Kind.DIAGONAL)
        names = tuple(sorted(blocks))
        off = [term for term, own in zip(terms, same, strict=True) if not alike or own != every]
        if not alike and all(set(term.into) <= set(term.out) for term in terms):
            return Pattern(Kind.REPEATED)
        rank = self.rank(off, blocks, frozenset(wide))
        if rank is None:
            return Pattern(Kind.DENSE, names)
        kind = Kind.LOW_RANK if len(off) == len(terms) else Kind.PLUS_LOW_RANK
        return Pattern(kind, names, rank)

    def rank(
        self, terms: Sequence[Term], blocks: frozenset[int], wide: frozenset[Dim]
    ) -> str | None:
        """At most this rank; None where it is not known to be low.

        Terms that begin with the same factors, or end with the same, are one matrix times a sum.
        """
        begin: dict[object, str] = {}
        end: dict[object, str] = {}
        for term in terms:
            fixed = {term.out[k] for k in blocks}
            sources, sinks = set(term.into) - fixed, set(term.out) - fixed
            if sources & sinks:
                return None
            edges = [set(letters) - fixed for _, letters in term.factors]
            cut: int | None = None
            if _reach(edges, sources) & sinks:
                inner = {letter for edge in edges for letter in edge} - sources - sinks
                cuts = [
                    letter
                    for letter in inner
                    if self.dims[letter] not in wide
                    and not _reach([edge - {letter} for edge in edges], sources) & sinks
                ]
                if not cuts:
                    return None
                cut = min(cuts, key=lambda letter: str(self.dims[letter]))
            size = "1" if cut is None else str(self.dims[cut])
            begin[_side(term, sources, fixed, cut)] = size
            end[_side(term, sinks, fixed, cut)] = size
        return min(_total(list(begin.values())), _total(list(end.values())), key=len)


def _shared(term: Term) -> frozenset[int]:
    """The axes along which an element meets only those in its own place."""
    pairs = enumerate(zip(term.out, term.into, strict=True))
    return frozenset(k for k, (out, into) in pairs if out == into)


def _reach(edges: Sequence[set[int]], start: set[int]) -> set[int]:
    """The letters that factors connect with some."""
    reached = set(start)
    while True:
        grown = reached.union(*(edge for edge in edges if edge & reached))
        if grown == reached:
            return reached
        reached = grown


def _side(term: Term, start: set[int], fixed: set[int], cut: int | None) -> object:
    """The factors of a term on one side of a letter that cuts it in two."""
    gone = fixed if cut is None else fixed | {cut}
    reached = _reach([set(letters) - gone for _, letters in term.factors], start)
    return frozenset(
        (label, tuple(None if letter == cut else letter for letter in letters))
        for label, letters in term.factors
        if reached & set(letters)
    )


def _total(ranks: Sequence[str]) -> str:
    number = sum(int(rank) for rank in ranks if rank.isdigit())
    names = [rank for rank in ranks if not rank.isdigit()]
    return " + ".join([*names, *([str(number)] if number else [])])
