"""Flow -> Flow: equations of one form, done side by side in one.

In: a Flow.  Out: a Flow in which products of the same vectors are one product, and what follows
them in one form (four sums, three sigmoids) is one equation between packs. A pack is a number of
arrays of one width side by side: member k of each operand makes member k of the result.
Not here: text (lines.py), parameters that serve many calls (packed_params.py).

The order of a pack is the author's, but members that are treated alike stand together, for three
steps ahead: the gates i, f, g, o of an LSTM lie as i, f, o, g.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from derive.emit.numpy.flow import (
    Fill,
    Flow,
    Joined,
    Stacked,
    View,
    Work,
    common_name,
    operands,
    outs,
)
from derive.program import Layout, Map, Matmul, Namer, Sum
from derive.schedule.schedule import Accumulator, Group
from derive.symbolic import functions
from derive.symbolic.functions import Expr

_AHEAD = 3


def pack(flow: Flow, kept: Iterable[str], taken: Iterable[str]) -> Flow:
    """The flow with packs, whose names are not `taken`. `kept` arrays need no name of their own:
    they may be taken out of a pack when they leave the function."""
    packer = _Packer(flow, Namer(taken))
    step, after = packer.fill(flow.step, flow.after)
    before = packer.bundle(packer.stack(flow.before, [*flow.before, *step]))
    step = packer.bundle(packer.stack(step, step))
    after = packer.stack(after, after)
    sums = packer.sums(flow.sums)
    later = [*after, *sums, *flow.last]
    named = {name for pair in flow.carried for name in pair} | (flow.wanted - set(kept))
    in_before = packer.views(before, packer.read([*before, *step, *later]) | flow.wanted)
    in_step = packer.views(step, packer.read([*step, *later]) | named)
    in_after = packer.views([*packer.filled, *after], packer.read(later) | named)
    return replace(
        flow,
        table=packer.table,
        once=(*flow.once, *packer.once),
        before=_ordered([*in_before, *before]),
        step=_ordered([*in_step, *step]),
        after=_ordered([*in_after, *after]),
        sums=tuple(sums),
        last=(*packer.views(sums, {*flow.wanted, *packer.read(flow.last)}), *flow.last),
        packs=packer.packs,
        filled=tuple(packer.filled),
    )


def _ordered(works: Sequence[Work]) -> tuple[Work, ...]:
    """Each work as soon as what it reads is there, else in the order given."""
    waiting, done = list(works), []
    while waiting:
        missing = {name for work in waiting for name in _made(work)}
        work = next(work for work in waiting if missing.isdisjoint(operands(work)))
        waiting.remove(work)
        done.append(work)
    return tuple(done)


def _made(work: Work) -> tuple[str, ...]:
    if isinstance(work, Fill):
        return (work.map.out,) if work.map.out not in work.map.operands else ()
    return tuple(outs([work]))


@dataclass(frozen=True, slots=True)
class _Form:
    """An expression without its names: those of equal `text` may be done side by side."""

    text: str
    names: tuple[str, ...]


class _Packer:
    """The packs so far, and where each member lies."""

    def __init__(self, flow: Flow, namer: Namer) -> None:
        self.flow = flow
        self.namer = namer
        self.table = dict(flow.table)
        self.packs: dict[str, tuple[str, ...]] = {}
        self.place: dict[str, tuple[str, int]] = {}
        self.filled: list[str] = []
        self.once: list[Work] = []
        self.joined: dict[tuple[str, ...], str] = {}

    def new(self, members: Sequence[str]) -> str:
        """A pack of `members`, in its place in their stead."""
        name = self.namer(common_name(members))
        self.packs[name] = tuple(members)
        self.table[name] = replace(self.table[members[0]], name=name)
        self.place.update({member: (name, k) for k, member in enumerate(members)})
        return name

    # --- stacked products -------------------------------------------------------------------

    def stack(self, works: Sequence[Work], readers: Sequence[Work]) -> list[Work]:
        """Groups of several products as one product each."""
        found: list[Work] = []
        for work in works:
            if isinstance(work, Group) and len(work.accumulators) > 1:
                parts = self.alike([part.out for part in work.accumulators], readers)
                table = {part.out: part for part in work.accumulators}
                group = Group(tuple(table[name] for name in parts))
                found.append(Stacked(self.new(parts), group))
            else:
                found.append(work)
        return found

    def alike(self, names: Sequence[str], works: Sequence[Work]) -> list[str]:
        """`names` with those next to each other that the next equations treat alike."""
        keys = [self.treatment(name, works) for name in names]

        def first(k: int, depth: int) -> int:
            return next(j for j in range(len(keys)) if keys[j][:depth] == keys[k][:depth])

        order = sorted(range(len(names)), key=lambda k: [first(k, d + 1) for d in range(_AHEAD)])
        return [names[k] for k in order]

    def treatment(self, name: str, works: Sequence[Work]) -> list[str]:
        texts: list[str] = []
        for _ in range(_AHEAD):
            readers = [w for w in works if isinstance(w, Map) and name in w.operands]
            texts.append(" ".join(sorted(self.form(w.expr, name).text for w in readers)))
            if len(readers) != 1:
                break
            name = readers[0].out
        return texts

    def at(self, name: str) -> str:
        """The pack that `name` can be read in by an equation between packs."""
        whole, _ = self.place.get(name, ("", 0))
        return "" if whole in self.filled else whole

    def form(self, expr: Expr, about: str = "") -> _Form:
        """The form of `expr`; with `about` only as far as that array and functions go."""
        if expr.is_Symbol and not functions.is_size(expr):
            name = str(expr)
            if about:
                return _Form("this" if name == about else "other", ())
            if self.at(name):
                return _Form(f"in {self.at(name)}", (name,))
            shared = not self.table[name].per_row and self.table[name].shape != (1,)
            return _Form("shared" if shared else name, (name,))
        if not expr.args:
            return _Form(str(expr), ())
        parts = [self.form(cast(Expr, part), about) for part in expr.args]
        if expr.is_Add or expr.is_Mul:
            parts.sort(key=lambda part: part.text)
        text = f"{type(expr).__name__}({', '.join(part.text for part in parts)})"
        return _Form(text, tuple(name for part in parts for name in part.names))

    # --- equations between packs ------------------------------------------------------------

    def bundle(self, works: Sequence[Work]) -> list[Work]:
        """Equations of one form over successive members of packs, each run as one equation."""
        found = list(works)
        while runs := self.runs(found):
            for run in runs:
                members = [equation.out for equation, _ in run]
                found = [w for w in found if not (isinstance(w, Map) and w.out in members)]
                found += self.together(run)
        return found

    def runs(self, works: Sequence[Work]) -> list[list[tuple[Map, _Form]]]:
        families: dict[object, list[tuple[Map, _Form]]] = {}
        for work in works:
            if not isinstance(work, Map) or self.has_axes(work):
                continue
            if work.out not in {*self.place, *self.packs}:
                form = self.form(work.expr)
                if any(map(self.at, form.names)):
                    key = form.text, self.table[work.out].shape
                    families.setdefault(key, []).append((work, form))
        runs: list[list[tuple[Map, _Form]]] = []
        for family in families.values():
            family.sort(key=lambda item: [self.place.get(n, ("", 0))[1] for n in item[1].names])
            runs.append([])
            for item in family:
                if runs[-1] and not self.continues(*runs[-1][-1], item[1]):
                    runs.append([])
                runs[-1].append(item)
        return [run for run in runs if len(run) > 1]

    def has_axes(self, work: Map) -> bool:
        """Whether an operand or the result has several axes, or is repeated along some."""
        arrays = (self.table[name] for name in (work.out, *work.operands))
        return bool(work.places) or any(len(array.shape) > 1 for array in arrays)

    def continues(self, map_: Map, form: _Form, next_form: _Form) -> bool:
        """Whether every operand of the second stands next to that of the first."""
        shape = self.table[map_.out].shape
        for name, following in zip(form.names, next_form.names, strict=True):
            array, other = self.table[name], self.table[following]
            if self.at(name):
                whole, k = self.place[name]
                if self.place[following] != (whole, k + 1) or array.shape != shape:
                    return False
            elif array.shape != (1,) and (
                array.per_row or array.shape != shape or other.shape != shape
            ):
                return False
        return _pattern(form) == _pattern(next_form)

    def together(self, run: Sequence[tuple[Map, _Form]]) -> list[Work]:
        """One equation for those of `run`, and what brings its operands together."""
        equation, form = run[0]
        about = common_name([other.out for other, _ in run])
        found: list[Work] = []
        columns: dict[functions.Expr, functions.Expr] = {}
        for k, name in enumerate(form.names):
            column = tuple(other.names[k] for _, other in run)
            if self.at(name):
                columns[functions.symbol(name)] = functions.symbol(self.part(column, about, found))
            elif self.table[name].shape != (1,):
                columns[functions.symbol(name)] = functions.symbol(self.join(column))
        out = self.new([equation.out for equation, _ in run])
        return [*found, Map(out, equation.expr.xreplace(columns))]

    def part(self, members: tuple[str, ...], about: str, works: list[Work]) -> str:
        """The pack of successive members, needed for `about`: a whole one, or a view."""
        whole, start = self.place[members[0]]
        if self.packs[whole] == members:
            return whole
        name = self.namer(f"{common_name(members)}_{about}")
        self.packs[name] = members
        self.table[name] = replace(self.table[members[0]], name=name)
        works.append(View(name, whole, start, start + len(members)))
        return name

    def join(self, parts: tuple[str, ...]) -> str:
        if parts not in self.joined:
            name = self.namer(common_name(parts))
            self.joined[parts] = name
            self.packs[name] = parts
            self.table[name] = replace(self.table[parts[0]], name=name)
            self.once.append(Joined(name, parts))
        return self.joined[parts]

    # --- packs in memory --------------------------------------------------------------------

    def fill(self, step: Sequence[Work], after: Sequence[Work]) -> tuple[list[Work], list[Work]]:
        """Vectors that a product contracts together go straight into memory for all steps."""
        maps = {work.out: work for work in step if isinstance(work, Map)}
        later = self.read([*after, *self.flow.sums, *self.flow.last])
        fixed = {name for pair in self.flow.carried for name in pair}
        for group in [work for work in (*step, *after) if isinstance(work, Group)]:
            vectors = group.vectors
            alike = len({self.table[name].shape for name in vectors}) == 1
            free = all(n in maps and n not in self.place and n not in fixed for n in vectors)
            several = len(set(vectors)) == len(vectors) > 1
            if several and alike and free and not later.isdisjoint(vectors):
                self.filled.append(self.new(vectors))
        read = self.read(step)
        found: list[Work] = []
        for work in step:
            if not isinstance(work, Map) or work.out not in self.place:
                found.append(self.sorted_terms(work))
            elif work.out in read:
                copy = Map(work.out, functions.symbol(work.out))
                found += [work, Fill(*self.place[work.out], copy)]
            else:
                found.append(Fill(*self.place[work.out], work))
        return found, [self.sorted_terms(work) for work in after]

    def sorted_terms(self, work: Work) -> Work:
        """A group with the terms of its sums in the order of the pack of their vectors."""
        if not isinstance(work, Group):
            return work
        packs = {self.place.get(name, ("", 0))[0] for name in work.vectors}
        if len(packs) > 1 or not packs.issubset(self.filled):
            return work

        def terms(part: Accumulator) -> tuple[Matmul | Sum, ...]:
            return tuple(sorted(part.terms, key=lambda term: self.place[term.operands[1]]))

        return Group(tuple(Accumulator(part.out, terms(part)) for part in work.accumulators))

    def read(self, works: Iterable[Work]) -> set[str]:
        """Arrays that `works` read one by one, not as members of a pack."""
        found: set[str] = set()
        filled = [self.packs[name] for name in self.filled]
        for work in works:
            group = work.group if isinstance(work, Stacked) else work
            if isinstance(group, Group) and group.vectors in filled:
                found.update(term.operands[0] for a in group.accumulators for term in a.terms)
            else:
                found.update(operands(work))
        return found

    def sums(self, works: Sequence[Work]) -> list[Work]:
        """Sums over rows that take every member of a pack in memory, as one."""
        families: dict[tuple[str, str, int], dict[int, Accumulator]] = {}
        found: list[Work] = []
        for work in works:
            assert isinstance(work, Accumulator)
            term = work.terms[0]
            source = term.operands[0]
            whole, k = self.place.get(source, ("", 0))
            plain = not isinstance(term, Matmul) or term.layout is Layout.OUTER
            plain = plain and len(work.terms) == 1
            if plain and whole in self.filled and self.keeps_width(work, source):
                right = term.right if isinstance(term, Matmul) else ""
                turn = 0
                while k in families.setdefault((whole, right, turn), {}):
                    turn += 1  # a second parameter with the same gradient
                families[whole, right, turn][k] = work
            else:
                found.append(work)
        for (whole, right, _), family in families.items():
            if len(family) < len(self.packs[whole]):
                found += family.values()
                continue
            name = self.new([family[k].out for k in sorted(family)])
            total = Matmul(name, whole, right, Layout.OUTER) if right else Sum(name, whole)
            found.append(Accumulator(name, (total,)))
        return found

    def keeps_width(self, work: Accumulator, source: str) -> bool:
        return self.table[work.out].shape[0] == self.table[source].shape[0]

    # --- members by their own names ---------------------------------------------------------

    def views(self, makers: Sequence[Work | str], read: set[str]) -> list[Work]:
        """Members of the packs that `makers` make, or are, under the names by which they are
        read."""
        made = {name for maker in makers if not isinstance(maker, str) for name in _made(maker)}
        packs = {*made, *(maker for maker in makers if isinstance(maker, str))}
        return [
            View(name, whole, k, k + 1)
            for name, (whole, k) in self.place.items()
            if whole in packs and name in read and name not in made
        ]


def _pattern(form: _Form) -> list[int]:
    """Which operands are one and the same."""
    return [form.names.index(name) for name in form.names]
