"""A cell taken apart, changed and put together again.

In: a Checked cell.  Out: `Draft`, whose parts can be changed, and which gives a new one.
Not here: what to change (layers/compose.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from derive.errors import Place
from derive.language import declare
from derive.language.checked import Checked
from derive.language.declaration import Constant, Declaration, Declared, Definition, Dim, Output
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Name,
    Node,
    Number,
    mapped,
    walk,
)

NOWHERE = Place("<composed>", 1, 1, "")


class Draft:
    """The parts of a cell, to be changed and put together again."""

    def __init__(self, cell: Checked) -> None:
        declaration = cell.declaration
        self.name, self.doc = cell.name, cell.doc
        self.inputs: dict[str, Dim] = {name: shape[0] for name, shape in cell.inputs.items()}
        self.states: dict[str, Dim] = {name: shape[0] for name, shape in cell.states.items()}
        self.params: dict[str, tuple[Dim, ...]] = dict(cell.params)
        self.consts = [(const.name, const.expr) for const in declaration.consts]
        self.equations = [(each.target, each.expr) for each in declaration.definitions]
        self.outputs = {key: key for key in cell.outputs}

    def names(self) -> set[str]:
        states = (*self.states, *(f"{state}_next" for state in self.states))
        consts, defined = (name for name, _ in self.consts), (name for name, _ in self.equations)
        return {*self.inputs, *states, *self.params, *consts, *defined}

    def dims(self) -> tuple[str, ...]:
        shapes = [*self.params.values(), *((w,) for w in self.inputs.values())]
        shapes += [(w,) for w in self.states.values()]
        return tuple(dict.fromkeys(d for shape in shapes for d in shape if isinstance(d, str)))

    def fresh(self, wanted: str) -> str:
        """A name like `wanted` that is free, and whose next value is."""
        taken, name, k = self.names(), wanted, 1
        while name in taken or f"{name}_next" in taken:
            k += 1
            name = f"{wanted}_{k}"
        return name

    def new_input(self, wanted: str, width: Dim) -> str:
        name = self.fresh(wanted)
        self.inputs[name] = width
        return name

    def new_state(self, wanted: str, width: Dim) -> str:
        name = self.fresh(wanted)
        self.states[name] = width
        return name

    def append(self, target: str, expr: Node) -> None:
        self.equations.append((target, expr))

    def insert(self, k: int, target: str, expr: Node) -> None:
        self.equations.insert(k, (target, expr))

    def mask(self, name: str) -> str:
        """`name` times a new input, in the meaning of `masked`."""
        state = name.removesuffix("_next")
        if name in self.inputs:
            mask = self.new_input(f"mask_{name}", self.inputs[name])
            seen = self.fresh(f"{name}_masked")
            self.rename_uses({name: named(seen)})
            self.insert(0, seen, product(name, mask))
        elif name != state and state in self.states:
            mask = self.new_input(f"mask_{state}", self.states[state])
            raw = self.divert(state)
            self.append(name, product(raw, mask))
        else:
            k = [target for target, _ in self.equations].index(name)
            whole = self.fresh(f"{name}_whole")
            mask = self.new_input(f"mask_{name}", self.width_of(name))
            self.equations[k] = (whole, self.equations[k][1])
            self.insert(k + 1, name, product(whole, mask))
        return mask

    def mask_output(self, key: str) -> str:
        mask = self.new_input("mask_output", self.width_of(self.outputs[key]))
        out = self.fresh("output_masked")
        self.append(out, product(self.outputs[key], mask))
        self.outputs[key] = out
        return mask

    def divert(self, state: str) -> str:
        """Give the next value of `state` another name, also where it is used."""
        raw = self.fresh(f"{state}_new")
        target = f"{state}_next"
        narrow = self.states[state] != 1 and self.width_of(target, raw=True) == 1
        self.rename_uses({target: named(raw)})
        k = [name for name, _ in self.equations].index(target)
        expr = self.equations[k][1]
        if narrow:  # a next value of width 1 spreads over the state; so must its other name
            one = Number("1", NOWHERE)
            always = Compare("==", one, one, NOWHERE)
            expr = Call("where", (always, expr, named(state)), NOWHERE)
        self.equations[k] = (raw, expr)
        return raw

    def width_of(self, name: str, raw: bool = False) -> Dim:
        """The width of a defined array; of a next value as it is written, if `raw`."""
        known: dict[str, Dim] = {**self.inputs, **self.states}
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
        return next(iter(outputs.values()))[0]

    def rename_uses(self, mapping: Mapping[str, Node]) -> None:
        """Replace names in expressions and outputs; definitions keep their targets."""
        self.equations = [(t, substituted(expr, mapping)) for t, expr in self.equations]
        for key, name in self.outputs.items():
            new = mapping.get(name)
            if isinstance(new, Name):
                self.outputs[key] = new.name

    def rename_dims(self, mapping: Mapping[str, Dim]) -> None:
        def new(dim: Dim) -> Dim:
            return mapping.get(dim, dim) if isinstance(dim, str) else dim

        self.inputs = {name: new(width) for name, width in self.inputs.items()}
        self.states = {name: new(width) for name, width in self.states.items()}
        self.params = {name: tuple(map(new, shape)) for name, shape in self.params.items()}

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
        self.inputs = {new[name]: width for name, width in self.inputs.items()}
        self.states = {new[name]: width for name, width in self.states.items()}
        self.params = {new[name]: shape for name, shape in self.params.items()}
        self.consts = [(new[name], substituted(expr, nodes)) for name, expr in self.consts]
        self.equations = [(new[t], substituted(expr, nodes)) for t, expr in self.equations]
        self.outputs = {key: new[name] for key, name in self.outputs.items()}
        return MappingProxyType(new)

    def absorb(self, above: Draft) -> None:
        """Put the layer above on top; its outputs are the outputs."""
        self.inputs |= above.inputs
        self.states |= above.states
        self.params |= above.params
        self.consts += above.consts
        self.equations += above.equations
        self.outputs = above.outputs

    def finish(self) -> Checked:
        return declare.from_declaration(self._declaration(), "<composed>")

    def _declaration(self) -> Declaration:
        return Declaration(
            name=self.name,
            doc=self.doc,
            inputs=tuple(Declared(n, (w,), NOWHERE) for n, w in self.inputs.items()),
            states=tuple(Declared(n, (w,), NOWHERE) for n, w in self.states.items()),
            params=tuple(Declared(n, shape, NOWHERE) for n, shape in self.params.items()),
            consts=tuple(Constant(name, expr, NOWHERE) for name, expr in self.consts),
            definitions=tuple(Definition(name, expr, NOWHERE) for name, expr in self.equations),
            outputs=tuple(Output(name, NOWHERE) for name in dict.fromkeys(self.outputs.values())),
            place=NOWHERE,
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
