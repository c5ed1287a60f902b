"""Plan -> plain data for the C templates: stages of one pass.

In: a Plan and its Memory.  Out: names, printed lines and pointers, all strings and numbers.
Not here: the layout of the files (templates/c), where arrays live (memory.py), products and
functions (the shared header).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace

from derive.emit.c.along_axes import (
    AlongCall,
    along_call,
    is_along,
    lengths_of,
    load_text,
    place_of,
    stage_lies,
)
from derive.emit.c.early_products import early_vectors
from derive.emit.c.heads import (
    Steps,
    added,
    blocks,
    factor_widths,
    has_heads,
    heads_of,
    steps_of,
    times,
)
from derive.emit.c.memory_views import Memory, SlotView
from derive.emit.c.syntax import broken, listed, syntax
from derive.emit.c.views import (
    FactorView,
    FoldView,
    GroupView,
    LoadView,
    OutersView,
    OuterView,
    PanelView,
    SegmentView,
    StageView,
    StoreView,
)
from derive.emit.c_sharing import (
    Access,
    Course,
    Work,
    columns,
    elements,
    parts,
    reads,
    with_meetings,
    writes,
)
from derive.emit.equation_lines import stage_lines
from derive.emit.reading_order import rank
from derive.program import Map, Matmul, Sum
from derive.program.program import Dim
from derive.schedule import Phase, Plan
from derive.schedule.dataflow import matrices_of
from derive.schedule.schedule import Accumulator, Group, Kind, Stage
from derive.symbolic.code import print_expression


def stage_views(
    name: str, plan: Plan, memory: Memory, notes: Mapping[str, str]
) -> dict[str, tuple[StageView, ...]]:
    """The stages of one pass by phase: once, before, step, after, last.

    name: what its functions begin with.  notes: {array: its equation in plain text}.
    """
    writer = _Writer(name, plan, memory, notes)
    return {
        phase.name.lower(): tuple(writer.stage(phase, k, s) for k, s in enumerate(stages, 1))
        for phase, stages in plan.phases
    }


class _Writer:
    def __init__(self, name: str, plan: Plan, memory: Memory, notes: Mapping[str, str]) -> None:
        self.name = name
        self.plan = plan
        self.memory = memory
        self.notes = notes
        self.table = plan.program.table()
        self.c = memory.names
        self.slots = {slot.name: slot for slot in memory.slots}
        self.groups = 0
        cotangents = [a.name for a in plan.program.arrays if a.name.startswith("d_")]
        self.order = rank(plan.program, cotangents)
        self.syntax = syntax(self.c, memory.size_names)

    def dim(self, dim: Dim) -> str:
        return self.memory.dim(dim)

    def stage(self, phase: Phase, number: int, stage: Stage) -> StageView:
        label = phase.name.lower()
        fused = stage.kind is Kind.FUSED
        first_group = self.groups + 1
        lying = stage_lies(stage, self.plan.program)
        by_head = bool(stage.groups) and (lying or has_heads(_products(stage), self.table))
        groups = tuple(self._group(phase, stage, group, by_head) for group in stage.groups)
        loads = [
            LoadView(self.c[accumulator.out], self._from_accumulator(g, k), "")
            for g, group in enumerate(stage.groups, first_group)
            for k, accumulator in enumerate(group.accumulators)
        ]
        own = tuple(a.out for group in stage.groups for a in group.accumulators)
        along = lying or by_head or (fused and bool(stage.sums))
        one_row = phase in (Phase.ONCE, Phase.LAST)
        loads += [self._load(n, stage, along, one_row) for n in stage.loads if n not in own]
        sizes = [
            LoadView(
                self.memory.size_names[dim],
                f"dk_splat(a->dk_{self.memory.size_names[dim]})",
                self.dim(dim),
            )
            for dim in self._sizes(stage.maps)
        ]
        # A product that no elementwise equation reads is stored without a unit function.
        as_is = {} if stage.maps else {load.name: load.text for load in loads}
        stores = self._stores(stage, as_is) if fused else ()
        read = tuple(dict.fromkeys(load.slot for load in loads if load.slot))
        written = tuple(store.slot for store in stores)
        if fused:
            written += tuple(slot for a in stage.sums for slot in self.memory.stores[a.out])
        full_name = f"{self.name}_{label}_{number}"
        outers, outer_work = self._outers(phase, stage.sums)
        folds = tuple(self._fold(a) for a in stage.sums) if fused else ()
        sums = [] if fused else [pair for a in stage.sums for pair in self._sums(phase, a)]
        calls = tuple(with_meetings(sums, "dk_wait(team);"))
        own_work = (self._fused(full_name, stage, written),) if fused else ()
        lies = lengths_of(stage.shape, self.dim) if along else None
        folded = {a.out: a.terms[0].operands[0] for a in stage.sums if fused}
        given = dict.fromkeys(n for n in (*stage.stores, *folded.values()) if n not in folded)
        results = () if as_is else tuple(self.c[name] for name in given)
        parameters = [f"dk_vector {load.name}" for load in (*loads, *sizes)] or ["void"]
        return StageView(
            name=full_name,
            title=f"{phase.value.capitalize()}, stage {number}: {_what(stage)}.",
            kind="fused" if fused else "sums",
            note=tuple(line for text in self._notes(stage) for line in commented(text)),
            width=" * ".join(self.dim(dim) for dim in stage.shape[-1 if lies else 0 :]) or "1",
            block=self._extreme("block", groups, ">"),
            rows=self._extreme("rows", groups, "<"),
            one_block=len({group.gates for group in groups}) == 1,
            many_rows=phase in (Phase.BEFORE, Phase.AFTER),
            groups=groups,
            loads=(*loads, *sizes),
            size_loads=tuple(sizes),
            lines=tuple(
                line
                for m in stage.maps
                for line in broken(
                    f"const dk_vector {self.c[m.out]} = "
                    f"{print_expression(m.expr, self.syntax, self.order)};",
                    indent=4,
                )
            ),
            parameters=listed(parameters, indent=4, end=")"),
            results=listed(results, indent=8),
            members=broken(f"dk_vector {', '.join(results)};", indent=4),
            stores=stores,
            read_slots=read,
            write_slots=written,
            texts=tuple((slot, self._pointer(slot)) for slot in (*read, *written)),
            outers=outers,
            sum_texts=tuple(text for text, _ in calls),
            work=(*own_work, *outer_work, *(work for _, work in calls), None),
            lengths=lies or (),
            by_head=by_head,
            folds=folds,
        )

    def _notes(self, stage: Stage) -> tuple[str, ...]:
        """The equations of a stage; sums over rows are added up from chunk to chunk."""
        lines = stage_lines(stage, self.plan, self.notes)
        if stage.kind is Kind.ROW_SUM:
            return tuple(line.replace(" = ", " += ", 1) for line in lines)
        return lines

    def _fused(self, name: str, stage: Stage, written: Sequence[str]) -> Work:
        """Members share units or rows; products read whole rows, and a number for each row is
        read by all."""
        read = self.memory.read
        vectors = [read[vector] for group in stage.groups for vector in group.vectors]
        matrices = [read[name] for name in matrices_of(stage) if name not in self.memory.params]
        packed = ["panels", *(["computed panels"] if matrices else [])]
        found = [reads(slot) for slot in (*packed, *matrices, *vectors)]
        for array in (self.table[load] for load in stage.loads):
            if array.name in read:
                own = array.per_row and array.shape == stage.shape
                found.append(
                    reads(read[array.name], parts(name)) if own else reads(read[array.name])
                )
        found += [writes(slot, parts(name)) for slot in written]
        return Work(name, tuple(found))

    def _extreme(self, constant: str, groups: Sequence[GroupView], than: str) -> str:
        """The largest (smallest) of a constant over the groups of a stage, as C text."""
        text = ""
        for gates in dict.fromkeys(group.gates for group in groups):
            name = f"DK_GROUP({constant}, g{gates})"
            if text:
                name = f"(int){name}"
                text = text if text.startswith("(") else f"(int){text}"
            text = f"({text} {than} {name} ? {text} : {name})" if text else name
        return text

    def _from_accumulator(self, group: int, k: int) -> str:
        offset = {0: "", 1: f" + stride_{group}"}.get(k, f" + {k} * stride_{group}")
        return f"dk_load(acc_{group}{offset})"

    def _pointer(self, slot: str) -> str:
        return pointer_to(self.slots[slot])

    def _sizes(self, maps: Sequence[Map]) -> list[str]:
        found: dict[str, None] = {}
        for equation in maps:
            for symbol in sorted(equation.expr.free_symbols, key=str):
                dim = symbol.name.strip("|")
                if symbol.name.startswith("|"):
                    found.setdefault(dim)
        return list(found)

    def _load(self, name: str, stage: Stage, along: bool, one_row: bool) -> LoadView:
        """one_row: what all rows share is read like an array of one row."""
        array, slot = self.table[name], self.memory.read[name]
        if along:
            array = replace(array, per_row=array.per_row or one_row)
            place = place_of(name, stage.maps)
            text = load_text(array, place, len(stage.shape), slot)
        elif array.shape != stage.shape:
            text = f"dk_splat(a->{slot}[{'row' if array.per_row else '0'}])"
        else:
            text = f"dk_load_part(a->{slot} + {'place' if array.per_row else 'unit'}, rest)"
        return LoadView(self.c[name], text, slot)

    def _stores(self, stage: Stage, as_is: Mapping[str, str]) -> tuple[StoreView, ...]:
        return tuple(
            StoreView(
                as_is.get(self.c[name], f"value.{self.c[name]}"), slot, slot in self.memory.nullable
            )
            for name in stage.stores
            if name not in {accumulator.out for accumulator in stage.sums}
            for slot in self.memory.stores[name]
        )

    def _fold(self, accumulator: Accumulator) -> FoldView:
        (term,) = accumulator.terms
        assert isinstance(term, Sum)
        source = self.table[term.source]
        axes = term.axes_of(source, self.table[accumulator.out])
        last = len(source.shape) - 1
        over = "total" if len(axes) > 1 else "line" if axes == (last,) else "column"
        slots = self.memory.stores[accumulator.out]
        nullable = self.memory.nullable
        places = sorted(((slot, slot in nullable) for slot in slots), key=lambda place: place[1])
        return FoldView(
            self.c[accumulator.out], over, f"value.{self.c[term.source]}", tuple(places)
        )

    def _group(self, phase: Phase, stage: Stage, group: Group, by_head: bool) -> GroupView:
        self.groups += 1
        terms = [(t, steps_of(blocks(t, self.table), self.dim, by_head=by_head))
                 for accumulator in group.accumulators
                 for t in accumulator.terms if isinstance(t, Matmul)]  # fmt: skip
        segments = tuple(
            SegmentView(
                self._pointer(self.memory.read[term.right]), steps.depth, steps.row,
                self.memory.read[term.right], steps.operand,
            )
            for term, steps in terms[: len(group.vectors)]
        )  # fmt: skip
        depths = [segment.depth for segment in segments]
        panels = tuple(self._panel(term, steps) for term, steps in terms)
        start_count = max(len(accumulator.starts) for accumulator in group.accumulators)
        starts = tuple(
            self.memory.params[accumulator.starts[k]] if k < len(accumulator.starts) else "NULL"
            for accumulator in group.accumulators
            for k in range(start_count)
        )
        early = early_vectors(self.plan, group) if phase is Phase.STEP else 0
        return GroupView(
            number=self.groups,
            gates=len(group.accumulators),
            units=times(stage.shape[by_head:], self.dim),
            heads=self.dim(stage.shape[0]) if by_head else "",
            start_step=times(stage.shape[1:], self.dim),
            computed=any(term.left not in self.memory.params for term, _ in terms),
            segments=segments,
            panels=panels,
            starts=starts,
            start_count=start_count,
            depth=added(depths),
            early=segments[:early],
            early_depth=added(depths[:early]),
        )

    def _panel(self, term: Matmul, steps: Steps) -> PanelView:
        """The matrix is a parameter, or computed from some, once in a call."""
        place = self.memory.params.get(term.left)
        if place is None:
            slot = self.slots[self.memory.read[term.left]]
            place = f"call->{slot.argument or f'at.{slot.name}.at'}"
        return PanelView(place, steps.unit, steps.k, steps.depth, steps.matrix)

    def _sums(self, phase: Phase, accumulator: Accumulator) -> list[tuple[str, Work]]:
        """Every term into one place, and from there to the others."""
        nullable = self.memory.nullable
        slots = sorted(self.memory.stores[accumulator.out], key=lambda slot: slot in nullable)
        first, *others = (self._pointer(slot) for slot in slots)
        found = [
            self._along(phase, slots[0], accumulator, term)
            if isinstance(term, Matmul) or is_along(term)
            else self._sum(phase, slots[0], accumulator, term)
            for term in accumulator.terms
            if isinstance(term, Sum) or is_along(term)
        ]
        if slots[0] in nullable:
            found = [(f"if ({first} != NULL) {{ {text} }}", work) for text, work in found]
        out = self.table[accumulator.out]
        width = times(out.shape, self.dim)
        count = width if not out.per_row else "rows" if width == "1" else f"rows * {width}"
        for slot, other in zip(slots[1:], others, strict=True):
            copy = f"dk_copy({other}, {first}, {count}, team);"
            text = f"if ({other} != NULL) {{ {copy} }}" if slot in nullable else copy
            cut = elements(count)
            found.append((text, Work("dk_copy", (reads(slots[0], cut), writes(slot, cut)))))
        return found

    def _outers(
        self, phase: Phase, sums: Sequence[Accumulator]
    ) -> tuple[tuple[OutersView, ...], Course]:
        """The outer products of a stage; every factor is packed once for all of them that have
        the same heads."""
        terms: dict[tuple[str, str], list[tuple[Matmul, str]]] = {}
        for accumulator in sums:
            slot = self._first_slot(accumulator.out)
            for term in accumulator.terms:
                if isinstance(term, Matmul) and not is_along(term):
                    terms.setdefault(heads_of(term, self.table, self.dim), []).append((term, slot))
        found = [self._outers_of(phase, heads, own) for (heads, _), own in terms.items()]
        views = tuple(view for view, _ in found)
        return views, tuple(work for _, course in found for work in course)

    def _outers_of(
        self, phase: Phase, heads: str, terms: Sequence[tuple[Matmul, str]]
    ) -> tuple[OutersView, Course]:
        lefts: dict[str, FactorView] = {}
        rights: dict[str, FactorView] = {}
        products = []
        added: list[Access] = []
        for term, slot in terms:
            widths = factor_widths(term, self.table, self.dim)
            for side, name, width in zip((lefts, rights), term.operands, widths, strict=True):
                row = times(self.table[name].shape, self.dim) if heads else ""
                pointer = self._pointer(self.memory.read[name])
                side[name] = FactorView(pointer, width, row, width)
            places = [*lefts].index(term.left), [*rights].index(term.right)
            products.append(OuterView(*places, self._pointer(slot)))
            cut = f"outer products of {heads + ' heads of ' if heads else ''}{widths[0]}"
            added.append(writes(slot, parts(cut)))
        factors = tuple(lefts.values()), tuple(rights.values())
        sources = tuple(reads(self.memory.read[name]) for name in (*lefts, *rights))
        packing = (*sources, reads("alive"), writes("scratch", parts("packing")))
        course: Course = (
            Work("packing of factors", packing),
            None,
            Work("dk_add_outers", (*sources, reads("alive"), reads("scratch"), *added)),
            None,
        )
        if heads:  # members pack what they need themselves
            course = (Work("dk_add_head_outers", (*sources, reads("alive"), *added)), None)
        return OutersView(_alive(phase), heads, *factors, tuple(products)), course

    def _along(
        self, phase: Phase, slot: str, accumulator: Accumulator, term: Matmul | Sum
    ) -> tuple[str, Work]:
        """A product or a reduction along axes: row by row, or summed over rows."""
        read = tuple(self.memory.read[name] for name in term.operands)
        arrays = tuple(self.table[name] for name in (*term.operands, accumulator.out))
        pointers = tuple(self._pointer(name) for name in (*read, slot))
        call = AlongCall(arrays, read, slot, pointers, _alive(phase))
        return along_call(term, call, self.dim)

    def _first_slot(self, name: str) -> str:
        """Where an accumulator is summed up: a place that is always there, if it has one."""
        return min(self.memory.stores[name], key=lambda slot: slot in self.memory.nullable)

    def _sum(
        self, phase: Phase, slot: str, accumulator: Accumulator, term: Sum
    ) -> tuple[str, Work]:
        """The call for one term, which adds its sum to what the accumulator holds, and its work.
        Sums over rows into one place are cut alike: a place that two terms share has one owner."""
        alive = _alive(phase)
        source, target = self.table[term.source], self.table[accumulator.out]
        width = " * ".join(self.dim(dim) for dim in source.shape)
        read_slot = self.memory.read[term.source]
        read, out = self._pointer(read_slot), self._pointer(slot)
        if source.per_row == target.per_row:
            cut = elements("rows")
            work = Work("dk_sum_width", (reads(read_slot, cut), writes(slot, cut)))
            return f"dk_sum_width(rows, {read}, {width}, {out}, team);", work
        form = "columns" if source.shape == target.shape else "all"
        own = columns(" * ".join(self.dim(dim) for dim in target.shape))
        work = Work(f"dk_sum_{form}", (reads(read_slot), reads("alive"), writes(slot, own)))
        return f"dk_sum_{form}(rows, {alive}, {read}, {width}, {out}, team);", work


def _products(stage: Stage) -> list[Matmul]:
    """Those of the groups of a stage."""
    sums = [accumulator for group in stage.groups for accumulator in group.accumulators]
    return [term for total in sums for term in total.terms if isinstance(term, Matmul)]


def _alive(phase: Phase) -> str:
    """The rows that count in a sum over rows."""
    return "dk_alive_at(call->alive, span.local)" if phase is Phase.AFTER else "NULL"


def commented(line: str) -> tuple[str, ...]:
    """An equation in lines of a comment."""
    return tuple(textwrap.wrap(line, 92, subsequent_indent="    ", break_long_words=False))


def _what(stage: Stage) -> str:
    """What a stage does, in a few words."""
    if stage.kind is not Kind.FUSED:
        return str(stage.kind.value)
    parts = ["products"] if stage.groups else []
    parts += ["elementwise equations"] if stage.maps else []
    return ", then ".join(parts)


def pointer_to(slot: SlotView) -> str:
    """The first of the rows of a slot that a stage works on."""
    if slot.argument:
        return f"call->{slot.argument}"
    return f"dk_{'from' if slot.kind == 'source' else 'into'}(call->at.{slot.name}, span)"
