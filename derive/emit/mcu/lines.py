"""Nests -> lines of C: loops over int, one unit at a time.

In: nests, and where each array lies.  Out: lines, indented from 0.
Not here: which nests there are (nests.py), functions and their arguments (passes.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from derive.emit.c.syntax import broken
from derive.emit.equation_lines import stage_lines
from derive.emit.mcu.nests import Gather, Item, Loose, Nest, Nests, Term, spreads
from derive.emit.mcu.numbers import FloatNumbers, Lines, Numbers
from derive.emit.reading_order import rank
from derive.program import Over
from derive.program.program import Dim
from derive.schedule.plan import Plan
from derive.symbolic import functions

#: The element of an array at some indices.
Element = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Write:
    """One place that an array is written to. base: the array as a whole; bytes: how long it is, of
    an argument, which C hands over as a pointer.

    adds: what is there already counts.  guard: a condition without which there is no such place.
    """

    base: str
    element: Element
    adds: bool = False
    guard: str = ""
    bytes: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies. guard: the array is 0 where this condition does not hold."""

    element: Element | None
    writes: tuple[Write, ...] = ()
    guard: str = ""


def element_of(base: str) -> Element:
    return lambda indices: base + "".join(f"[{index}]" for index in indices)


@dataclass(frozen=True, slots=True)
class Words:
    """Names that are free in a function. locals: of an element of each array.

    outer, inner: of loops over units, and over what they meet.  total: of a sum.
    """

    locals: Mapping[str, str]
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    total: str
    dims: Mapping[str, str]

    def length(self, dim: Dim) -> str:
        return str(dim) if isinstance(dim, int) else self.dims[dim]


class Writer:
    """Lines of the nests of one plan. notes: {array: its equation in plain text}."""

    def __init__(
        self, plan: Plan, words: Words, places: Mapping[str, Place], notes: Mapping[str, str],
        numbers: Numbers | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.words = words
        self.places = places
        self.notes = notes
        self.table = plan.program.table()
        cotangents = [a.name for a in plan.program.arrays if a.name.startswith("d_")]
        self.numbers = numbers or FloatNumbers(words.dims, rank(plan.program, cotangents))

    def lines(self, nests: Nests) -> Lines:
        found: Lines = []
        stage = None
        for k, item in enumerate(nests.items):
            for name, first in nests.begun.items():
                if first == k:
                    found += self.zero(name)
            if item.stage is not stage:
                stage = item.stage
                found += comment(stage_lines(stage, self.plan, self.notes))
            found += self._item(item, nests)
        return found

    def zero(self, name: str) -> Lines:
        found: Lines = []
        for write in self.places[name].writes:
            if write.adds:
                continue
            text = f"memset({write.base}, 0, {write.bytes or f'sizeof {write.base}'});"
            found += guarded(write.guard, [text])
        return found

    def _item(self, item: Item, nests: Nests) -> Lines:
        if isinstance(item, Loose):
            return self._loose(item)
        return self._nest(item, nests)

    # --- a loop over units ----------------------------------------------------------------------

    def _nest(self, nest: Nest, nests: Nests) -> Lines:
        units = self._indices(nest.shape)
        body: Lines = []
        for gather in nest.gathers:
            start = self._read(gather.start, self._at(gather.start, nest, None, units))
            body += self.numbers.begin(gather.out, self.words.locals[gather.out], start)
        body += self._gathered(nest.gathers, units)
        for gather in nest.gathers:
            body += self.numbers.end(gather.out, self.words.locals[gather.out])
        texts, more = self._loads(nest, units)
        body += more
        for equation in nest.maps:
            body += self.numbers.equation(equation, self.words.locals[equation.out], texts)
        for name in nest.own:
            if name in nests.in_memory:
                body += self._store(name, units, self.numbers.stored(self.words.locals[name]))
        body += self._shares(nest, units)
        return loops(zip(units, map(self.words.length, nest.shape), strict=True), body)

    def _indices(self, shape: Sequence[Dim]) -> tuple[str, ...]:
        """An index for each axis; "0" for an axis of length 1."""
        names = self.words.outer[len(self.words.outer) - len(shape) :]
        return tuple("0" if dim == 1 else name for name, dim in zip(names, shape, strict=True))

    def _loads(self, nest: Nest, units: Sequence[str]) -> tuple[dict[str, str], Lines]:
        """How the equations of a nest write what they read, and lines that read it once."""
        words = self.words.locals
        texts = {name: words[name] for name in nest.own}
        lines = []
        for name in nest.loads:
            place = next((e.place(name) for e in nest.maps if e.place(name) is not None), None)
            text = self._read(name, self._at(name, nest, place, units))
            uses = sum(e.expr.count(functions.symbol(name)) for e in nest.maps)
            if self.places[name].guard or uses > 1 or self.numbers.once:
                lines.append(f"const {self.numbers.value} {words[name]} = {text};")
                text = words[name]
            texts[name] = text
        return texts, lines

    def _at(
        self, name: str, nest: Nest, place: tuple[int, ...] | None, units: Sequence[str]
    ) -> tuple[str, ...]:
        """The indices of an operand of a nest."""
        if not name:
            return ()
        if place is not None:
            return tuple(units[axis] for axis in place)
        return ("0",) if self.table[name].shape == (1,) else tuple(units)

    def _read(self, name: str, indices: Sequence[str]) -> str:
        if not name:
            return ""
        place = self.places[name]
        assert place.element is not None, name
        text = place.element(indices)
        text = self.numbers.read(text)
        return f"({place.guard} ? {text} : {self.numbers.zero()})" if place.guard else text

    def _store(self, name: str, indices: Sequence[str], value: str) -> Lines:
        found: Lines = []
        for write in self.places[name].writes:
            sign = "+=" if write.adds else "="
            found += guarded(write.guard, [f"{write.element(indices)} {sign} {value};"])
        return found

    def _gathered(self, gathers: Sequence[Gather], units: Sequence[str]) -> Lines:
        """Loops over what the units meet, one for each operand that several sums share."""
        together: dict[tuple[object, ...], list[tuple[str, int, Term]]] = {}
        for gather in gathers:
            for place, term in enumerate(gather.terms):
                dims = tuple(term.dims[letter] for letter in term.summed)
                key = (term.right, term.right_letters, dims)
                together.setdefault(key, []).append((gather.out, place, term))
        found: Lines = []
        for pairs in together.values():
            body = []
            for out, place, term in pairs:
                total = self.numbers.running(self.words.locals[out])
                index = dict(zip(term.out_letters, units, strict=True)) | self._inner(term.summed)
                body.append(f"{total} = {self._added(out, place, term, index, total)};")
            first = pairs[0][2]
            found += self._over(first, first.summed, body)
        return found

    def _inner(self, letters: str) -> dict[str, str]:
        return dict(zip(letters, self.words.inner, strict=False))

    def _over(self, term: Term, letters: str, body: Lines) -> Lines:
        lengths = [self.words.length(term.dims[letter]) for letter in letters]
        return loops(zip(self.words.inner, lengths, strict=False), body)

    def _operands(self, term: Term, index: Mapping[str, str]) -> list[str]:
        return [
            self._read(name, [index[letter] for letter in letters] or ["0"])
            for name, letters in term.operands
        ]

    def _added(self, out: str, place: int, term: Term, index: Mapping[str, str], total: str) -> str:
        """total + left * right."""
        return self.numbers.added(out, place, total, self._operands(term, index))

    # --- what elements add to arrays ------------------------------------------------------------

    def _shares(self, nest: Nest, units: Sequence[str]) -> Lines:
        """Loops that add to arrays in memory; those of one length and guard are one loop."""
        together: dict[tuple[str, tuple[Dim, ...]], dict[str, list[list[str]]]] = {}
        for share in nest.shares:
            term = share.term
            letters = dict(term.operands)[share.bound]
            inner = "".join(
                c
                for c in dict.fromkeys(term.out_letters + term.other(share.bound)[1])
                if c not in letters
            )
            index = dict(zip(letters, units, strict=True)) | self._inner(inner)
            factors = []
            for name, own in term.operands:
                at = [index[letter] for letter in own] or ["0"]
                bound = name in nest.own and own == letters
                factors.append(self.words.locals[name] if bound else self._read(name, at))
            at = [index[letter] for letter in term.out_letters] or ["0"]
            dims = tuple(term.dims[letter] for letter in inner)
            for write in self.places[term.out].writes:
                sums = together.setdefault((write.guard, dims), {})
                sums.setdefault(write.element(at), []).append(factors)
        found: Lines = []
        for (guard, dims), totals in sorted(together.items(), key=lambda pair: len(pair[0][1])):
            body: Lines = []
            for text, terms in totals.items():
                lines = self._total(text, terms)
                alone = len(totals) == 1 and lines[0] == "{" and bool(dims)
                body += [line.removeprefix("    ") for line in lines[1:-1]] if alone else lines
            lengths = map(self.words.length, dims)
            found += guarded(guard, loops(zip(self.words.inner, lengths, strict=False), body))
        return found

    def _total(self, text: str, terms: Sequence[Sequence[str]]) -> Lines:
        if len(terms) == 1:
            (factors,) = terms
            if len(factors) == 1:
                return [f"{text} += {factors[0]};"]
            return [f"{text} = {_plus(text, factors)};"]
        total = self.words.total
        body = [f"float {total} = {text};"]
        body += [f"{total} = {_plus(total, factors)};" for factors in terms]
        return ["{", *indented([*body, f"{text} = {total};"]), "}"]

    # --- one product or sum by itself -----------------------------------------------------------

    def _loose(self, item: Loose) -> Lines:
        term = item.term
        if term.over is not Over.SUM:
            return self._along(term)
        outs = term.out_letters
        names = self.words.outer[: len(outs)]
        index = dict(zip(outs, names, strict=True)) | self._inner(term.summed)
        at = [index[letter] for letter in outs] or ["0"]
        lengths = [(index[c], self.words.length(term.dims[c])) for c in outs]
        if spreads(item) and not self.numbers.registers:
            found: Lines = []
            inner = [(index[c], self.words.length(term.dims[c])) for c in term.summed]
            for write in self.places[term.out].writes:
                body = self._total(write.element(at), [self._operands(term, index)])
                each = (*lengths[:-1], *inner, lengths[-1])
                found += guarded(write.guard, loops(each, body))
            return found
        total = self.words.total
        sums = self._over(
            term, term.summed, [f"{total} = {self._added(term.out, 0, term, index, total)};"]
        )
        value = self.numbers.stored(self.numbers.ended(term.out, total))
        stores: Lines = []
        for write in self.places[term.out].writes:
            sign = "=" if item.sets and not write.adds else "+="
            stores += guarded(write.guard, [f"{write.element(at)} {sign} {value};"])
        body = [f"{self.numbers.value} {total} = {self.numbers.zero()};", *sums, *stores]
        return loops(lengths, body) if lengths else ["{", *indented(body), "}"]

    def _along(self, term: Term) -> Lines:
        """The largest element, or running sums, along one axis."""
        total, along = self.words.total, term.along
        rest = [c for c in term.left_letters if c != along]
        names = dict(zip(rest, self.words.outer, strict=False))
        index = {**names, along: self.words.inner[0]}
        length = self.words.length(term.dims[along])
        backwards = term.over is Over.CUMSUM_BACK
        step = f"{length} - 1 - {index[along]}" if backwards else index[along]
        at = {**index, along: step}
        value = self._read(term.left, [at[letter] for letter in term.left_letters])
        out = [at[letter] for letter in term.out_letters] or ["0"]
        own = self.numbers.value
        stores = self._store(
            term.out, out, self.numbers.stored(self.numbers.ended(term.out, total))
        )
        if term.over is Over.MAX:
            least, larger = self.numbers.largest()
            body = [f"{own} {total} = {least};"]
            inner = [f"{total} = {larger.format(total, value)};"]
            body += [*loops([(index[along], length)], inner), *stores]
        else:
            body = [f"{own} {total} = {self.numbers.zero()};"]
            body += loops([(index[along], length)], [f"{total} += {value};", *stores])
        each = [(index[c], self.words.length(term.dims[c])) for c in rest]
        return loops(each, body) if each else ["{", *indented(body), "}"]


def _plus(total: str, factors: Sequence[str]) -> str:
    if len(factors) == 1:
        return f"{total} + {factors[0]}"
    return f"DERIVE_FMA({factors[0]}, {factors[1]}, {total})"


def loops(each: Iterable[tuple[str, str]], body: Lines) -> Lines:
    """`body` inside loops, the first outermost; an index "0" is no loop."""
    counted = [(index, length) for index, length in each if index != "0"]
    if not counted:
        declares = any(line.startswith(("float ", "int32_t ", "const ")) for line in body)
        return ["{", *indented(body), "}"] if declares else body
    for index, length in reversed(counted):
        head = f"for (int {index} = 0; {index} < {length}; ++{index}) {{"
        body = [head, *indented(body), "}"]
    return body


def guarded(guard: str, body: Lines) -> Lines:
    return [f"if ({guard}) {{", *indented(body), "}"] if guard else body


def indented(lines: Iterable[str]) -> Lines:
    return [f"    {line}" if line else "" for line in lines]


def comment(lines: Sequence[str]) -> Lines:
    """Equations above the loop that computes them."""
    wrapped = [
        part
        for line in lines
        for part in textwrap.wrap(line, 88, subsequent_indent="    ", break_long_words=False)
    ]
    if not wrapped:
        return []
    first, *rest = wrapped
    return [*[f"/* {first}", *(f" * {line}" for line in rest)][:-1], *_ended(wrapped)]


def _ended(wrapped: Sequence[str]) -> Lines:
    """The last line of a comment."""
    return [f"{'/*' if len(wrapped) == 1 else ' *'} {wrapped[-1]} */"]


def fitted(lines: Iterable[str]) -> Lines:
    """Lines that fit, those that are too long broken."""
    found: Lines = []
    for line in lines:
        bare = line.lstrip()
        indent = len(line) - len(bare)
        if len(line) > 100 and not bare.startswith(("/*", "*", "#")):
            found += [" " * indent + part for part in broken(bare, indent)]
        else:
            found.append(line)
    return found
