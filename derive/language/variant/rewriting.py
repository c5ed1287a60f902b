"""A cell taken apart, changed and put together again.

In: a Checked cell.  Out: `Draft`, whose parts can be changed, and which gives a new one.
Not here: what to change (layers/compose.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from derive.errors import Place
from derive.language import declare
from derive.language.checked import Checked, Shape
from derive.language.declaration import Constant, Declaration, Declared, Definition, Dim, Output
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Cut,
    Name,
    Node,
    Number,
    mapped,
    names_of,
    walk,
)
from derive.widths import ONE, ZERO, Width

NOWHERE = Place("<composed>", 1, 1, "")


class Draft:
    """The parts of a cell, to be changed and put together again.

    inputs, states, params: {name: shape}.  starts: what states and parameters start from.  once:
    inputs that do not change with time.  fixed: parameters that are not trained.
    """

    def __init__(self, cell: Checked) -> None:
        declaration = cell.declaration
        self.name, self.doc = cell.name, cell.doc
        self.inputs: dict[str, Shape] = dict(cell.inputs)
        self.states: dict[str, Shape] = dict(cell.states)
        self.params: dict[str, Shape] = dict(cell.params)
        declared = (*declaration.states, *declaration.params)
        self.starts = {d.name: d.start for d in declared if d.start is not None}
        self.once, self.fixed = set(cell.once), set(cell.fixed)
        self.consts = [(const.name, const.expr) for const in declaration.consts]
        self.equations = [(each.target, each.expr) for each in declaration.definitions]
        self.outputs = {key: key for key in cell.outputs}

    def names(self) -> set[str]:
        states = (*self.states, *(f"{state}_next" for state in self.states))
        consts, defined = (name for name, _ in self.consts), (name for name, _ in self.equations)
        return {*self.inputs, *states, *self.params, *consts, *defined}

    def dims(self) -> tuple[str, ...]:
        groups = (self.params, self.inputs, self.states)
        shapes = [shape for group in groups for shape in group.values()]
        return tuple(dict.fromkeys(n for s in shapes for d in s for n in Width.of(d).names()))

    def fresh(self, wanted: str) -> str:
        """A name like `wanted` that is free, and whose next value is."""
        taken, name, k = self.names(), wanted, 1
        while name in taken or f"{name}_next" in taken:
            k += 1
            name = f"{wanted}_{k}"
        return name

    def new_input(self, wanted: str, *shape: Dim) -> str:
        name = self.fresh(wanted)
        self.inputs[name] = shape
        return name

    def new_state(self, wanted: str, *shape: Dim) -> str:
        name = self.fresh(wanted)
        self.states[name] = shape
        return name

    def append(self, target: str, expr: Node) -> None:
        self.equations.append((target, expr))

    def insert(self, k: int, target: str, expr: Node) -> None:
        self.equations.insert(k, (target, expr))

    def mask(self, name: str) -> str:
        """`name` times a new input, in the meaning of `masked`."""
        state = name.removesuffix("_next")
        if name in self.inputs:
            mask = self.new_input(f"mask_{name}", *self.inputs[name])
            seen = self.fresh(f"{name}_masked")
            self.rename_uses({name: named(seen)})
            self.insert(0, seen, product(name, mask))
        elif name != state and state in self.states:
            mask = self.new_input(f"mask_{state}", *self.states[state])
            raw = self.divert(state)
            self.append(name, product(raw, mask))
        else:
            k = [target for target, _ in self.equations].index(name)
            whole = self.fresh(f"{name}_whole")
            mask = self.new_input(f"mask_{name}", *self.shape_of(name))
            self.equations[k] = (whole, self.equations[k][1])
            self.insert(k + 1, name, product(whole, mask))
        return mask

    def mask_output(self, key: str) -> str:
        mask = self.new_input("mask_output", *self.shape_of(self.outputs[key]))
        out = self.fresh("output_masked")
        self.append(out, product(self.outputs[key], mask))
        self.outputs[key] = out
        return mask

    def divert(self, state: str) -> str:
        """Give the next value of `state` another name, also where it is used."""
        raw = self.fresh(f"{state}_new")
        target = f"{state}_next"
        narrow = self.states[state] != self.shape_of(target, raw=True)
        self.rename_uses({target: named(raw)})
        k = [name for name, _ in self.equations].index(target)
        expr = self.equations[k][1]
        if narrow:  # a next value with fewer axes spreads over the state; so must its other name
            one = Number("1", NOWHERE)
            always = Compare("==", one, one, NOWHERE)
            expr = Call("where", (always, expr, named(state)), NOWHERE)
        self.equations[k] = (raw, expr)
        return raw

    def shape_of(self, name: str, raw: bool = False) -> Shape:
        """The shape of a defined array; of a next value as it is written, if `raw`."""
        known: dict[str, Shape] = {**self.inputs, **self.states}
        known |= {f"{s}_next": w for s, w in self.states.items() if not raw}
        if name in known:
            return known[name]
        probe = replace(self._declaration(), outputs=(Output(name, NOWHERE),))
        if raw:
            seen = self.fresh("seen")
            k = [target for target, _ in self.equations].index(name)
            written = Definition(seen, self.equations[k][1], NOWHERE)
            taken = replace(probe.definitions[k], expr=named(seen))
            definitions = (*probe.definitions[:k], written, taken, *probe.definitions[k + 1 :])
            probe = replace(probe, definitions=definitions, outputs=(Output(seen, NOWHERE),))
        outputs = declare.from_declaration(probe, "<composed>").outputs
        return next(iter(outputs.values()))

    def rename_uses(self, mapping: Mapping[str, Node]) -> None:
        """Replace names in expressions and outputs; definitions keep their targets."""
        self.equations = [(t, substituted(expr, mapping)) for t, expr in self.equations]
        for key, name in self.outputs.items():
            new = mapping.get(name)
            if isinstance(new, Name):
                self.outputs[key] = new.name

    def rename_dims(self, mapping: Mapping[str, Dim]) -> None:
        def new(shape: Shape) -> Shape:
            return tuple(renamed_dim(dim, mapping) for dim in shape)

        self.inputs = {name: new(shape) for name, shape in self.inputs.items()}
        self.states = {name: new(shape) for name, shape in self.states.items()}
        self.params = {name: new(shape) for name, shape in self.params.items()}
        self.equations = [(t, with_dims(expr, mapping)) for t, expr in self.equations]

    def add_suffix(self, k: int, taken: set[str]) -> Mapping[str, str]:
        """Rename every array to NAME_k, or what is free; {old: new}."""
        old = self.names()
        nexts = {f"{state}_next" for state in self.states}
        new: dict[str, str] = {}
        for name in sorted(old - nexts):
            wanted, tail = f"{name}_{k}", ""
            while {wanted + tail, f"{wanted}{tail}_next"} & (taken | set(new.values())):
                tail += "x"
            new[name] = wanted + tail
        new |= {f"{state}_next": f"{new[state]}_next" for state in self.states}
        nodes = {name: named(to) for name, to in new.items()}
        self.inputs = {new[name]: shape for name, shape in self.inputs.items()}
        self.states = {new[name]: shape for name, shape in self.states.items()}
        self.params = {new[name]: shape for name, shape in self.params.items()}
        self.starts = {new[name]: substituted(e, nodes) for name, e in self.starts.items()}
        self.once = {new[name] for name in self.once}
        self.fixed = {new[name] for name in self.fixed}
        self.consts = [(new[name], substituted(expr, nodes)) for name, expr in self.consts]
        self.equations = [(new[t], substituted(expr, nodes)) for t, expr in self.equations]
        self.outputs = {key: new[name] for key, name in self.outputs.items()}
        return MappingProxyType(new)

    def absorb(self, above: Draft) -> None:
        """Put the layer above on top; its outputs are the outputs."""
        self.inputs |= above.inputs
        self.states |= above.states
        self.params |= above.params
        self.starts |= above.starts
        self.once |= above.once
        self.fixed |= above.fixed
        self.consts += above.consts
        self.equations += above.equations
        self.outputs = above.outputs

    def finish(self) -> Checked:
        return declare.from_declaration(self._declaration(), "<composed>")

    def _declaration(self) -> Declaration:
        return Declaration(
            name=self.name,
            doc=self.doc,
            inputs=self._declared(self.inputs),
            states=self._declared(self.states),
            params=self._declared(n for n in self.params if n not in self.fixed),
            consts=tuple(Constant(name, expr, NOWHERE) for name, expr in self.consts),
            definitions=tuple(Definition(name, expr, NOWHERE) for name, expr in self.equations),
            outputs=tuple(Output(name, NOWHERE) for name in dict.fromkeys(self.outputs.values())),
            place=NOWHERE,
            fixed=self._declared(n for n in self.params if n in self.fixed),
        )

    def _declared(self, names: Iterable[str]) -> tuple[Declared, ...]:
        shapes = {**self.params, **self.inputs, **self.states}
        return tuple(
            Declared(name, shapes[name], NOWHERE, self.starts.get(name), name in self.once)
            for name in names
        )


# --- expressions -------------------------------------------------------------------------------


def named(name: str) -> Name:
    return Name(name, NOWHERE)


def product(a: str, b: str) -> Node:
    return Binary("*", named(a), named(b), NOWHERE)


def where_above_zero(flag: str, chosen: Node, other: Node) -> Node:
    above = Compare(">", named(flag), Number("0", NOWHERE), NOWHERE)
    return Call("where", (above, chosen, other), NOWHERE)


def substituted(node: Node, mapping: Mapping[str, Node]) -> Node:
    if isinstance(node, Name):
        return mapping.get(node.name, node)
    return mapped(node, lambda part: substituted(part, mapping))


def renamed_dim(dim: Dim, mapping: Mapping[str, Dim]) -> Dim:
    """A width with dimensions replaced: 2*H + I."""
    total = ZERO
    for name, factor in Width.of(dim).terms:
        own = Width.of(mapping.get(name, name)) if name else ONE
        total = total + own.times(factor)
    return total.dim


def with_dims(node: Node, mapping: Mapping[str, Dim]) -> Node:
    """An expression in which axes and bounds are widths of other dimensions."""

    def new(dim: Dim | None) -> Dim | None:
        return None if dim is None else renamed_dim(dim, mapping)

    node = mapped(node, lambda part: with_dims(part, mapping))
    if isinstance(node, Call):
        return replace(node, axis=new(node.axis))
    if isinstance(node, Cut):
        return replace(node, start=new(node.start), stop=new(node.stop))
    return node


def replaced(node: Node, old: Node, new: Node) -> Node:
    return new if node is old else mapped(node, lambda part: replaced(part, old, new))


def calls(node: Node, function: str) -> Iterator[Call]:
    return (part for part in walk(node) if isinstance(part, Call) and part.function == function)


def tidied(node: Node) -> Node:
    """Without sums with zero."""
    node = mapped(node, tidied)
    if isinstance(node, Binary) and node.operator == "+":
        for zero, other in ((node.left, node.right), (node.right, node.left)):
            if zero == Number("0", NOWHERE):
                return other
    return node


def in_order(equations: Mapping[str, Node]) -> dict[str, Node]:
    """Each definition after those that it reads, otherwise as given; a circle stays one."""
    waiting, placed = dict(equations), dict[str, Node]()
    while waiting:
        for target, expr in waiting.items():
            reads = {part.name for part in names_of(expr)}
            if not reads & set(waiting):
                placed[target] = waiting.pop(target)
                break
        else:
            return {**placed, **waiting}
    return placed
