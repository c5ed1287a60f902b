"""A View as JSON, for programs. The form is described in docs/reference/command-line.md.

In: a View.  Out: plain data for each stage; `document` writes them as one object.
Not here: what is shown (textbook/derivation.py, inspect/facts/schedule_summary.py, facts/cost.py).

Formulas are text that Python's parser reads; shapes are lists of dimension names and numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from derive.inspect.facts.chain_rule import Link
from derive.inspect.facts.cost import Part, Work, at, depth, polynomial
from derive.inspect.facts.roofline import Roof, Shape, traffic
from derive.inspect.facts.schedule_summary import PassView, StageView
from derive.inspect.facts.structure_data import as_data
from derive.inspect.facts.view import View
from derive.program import Program
from derive.program.formulas import formulas
from derive.symbolic.functions import Expr
from derive.targets import WithTargets
from derive.textbook.derivation import Line
from derive.textbook.notation import TEXT, Order, write

#: Goes up when a program that reads the old form would no longer understand the new one.
FORMAT = 1


def document(view: View, sections: Mapping[str, Any]) -> str:
    if view.report:
        sections = {**sections, "verification": view.report.as_dict()}
    return json.dumps({"format": FORMAT, "name": view.cell.name, **sections}, indent=2) + "\n"


def _shapes(group: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: list(shape) for name, shape in group.items()}


def _lines(lines: Iterable[Line]) -> list[dict[str, str]]:
    return [{"name": line.name, "value": write(line.value, TEXT, line.order)} for line in lines]


def _cell(view: View) -> Any:
    cell = view.cell
    return {
        "doc": cell.doc,
        "inputs": _shapes(cell.inputs),
        "states": _shapes(cell.states),
        "params": _shapes(cell.params),
        "outputs": _shapes(cell.outputs),
        "consts": {name: write(v, TEXT, Order({})) for name, v in cell.consts.items()},
        "equations": _lines(view.derivation.equations),
        "text": cell.to_text(),
        "unused": list(cell.unused),
        "notes": list(cell.notes),
    }


def _graph(view: View) -> Any:
    found = view.graph
    return {
        "nodes": [
            {
                "key": node.key,
                "text": node.text,
                "role": node.role.value,
                "reads": list(node.reads),
                "recurrent": node.key in found.recurrent,
                "direct": node.key in found.direct,
            }
            for node in found.nodes
        ]
    }


def _shaped(view: View) -> Any:
    return [
        {"name": name, "role": row.role, "shape": list(row.shape), "call": list(row.call)}
        for row in view.arrays
        for name in row.names
    ]


def _chain(view: View) -> Any:
    order = view.derivation.reading

    def link(found: Link) -> Any:
        return {
            "from": found.consumer,
            "value": write(found.value, TEXT, order) if found.consumer else "",
            "slope": None if found.slope is None else write(found.slope, TEXT, order),
            "rule": found.rule,
            "adds": write(found.term, TEXT, order),
            "behind": [link(one) for one in found.behind],
        }

    return {name: [link(one) for one in links] for name, links in view.chain.items()}


def _program_data(program: Program) -> Any:
    order = Order({array.name: k for k, array in enumerate(program.arrays)})
    return {
        "arrays": {
            array.name: {"shape": list(array.shape), "per_row": array.per_row}
            for array in program.arrays
        },
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "equations": _lines(Line(e.lhs.name, e.rhs, order) for e in formulas(program)),
    }


def _program(view: View) -> Any:
    step = view.gradient.step
    return {
        "params": list(step.params),
        "inputs": list(step.inputs),
        "states": list(step.states),
        "next_states": list(step.next_states),
        "outputs": list(step.outputs),
        "program": _program_data(step.program),
    }


def _simplified(view: View) -> Any:
    split = view.schedule.split
    return {"forward": _program_data(split.forward), "backward": _program_data(split.backward)}


def _gradient(view: View) -> Any:
    """`equations` is complete, a line for every array; `readable` is what the terminal shows."""
    found = view.derivation
    order = found.gradient[0].order if found.gradient else Order({})
    every = (Line(e.lhs.name, e.rhs, order) for e in view.gradient.equations)
    forward = (Line(e.lhs.name, e.rhs, order) for e in view.gradient.forward)
    return {
        "given": [{"name": seed.name, "meaning": seed.meaning} for seed in found.seeds],
        "forward": _lines(forward),
        "equations": _lines(every),
        "readable": {"where": _lines(found.where), "equations": _lines(found.gradient)},
        "of": dict(view.gradient.derivative.of),
    }


def _tangent(view: View) -> Any:
    return _cell(view.tangent)


def _second(view: View) -> Any:
    return _gradient(view.tangent)


def _stage(stage: StageView) -> Any:
    return {
        "kind": stage.kind.value,
        "shape": list(stage.shape),
        "products": [
            {
                "count": stack.products,
                "vectors": list(stack.vectors),
                "equations": _lines(stack.lines),
            }
            for stack in stage.stacks
        ],
        "elementwise": _lines(stage.lines),
        "sums": _lines(stage.sums),
        "reads": list(stage.reads),
        "stores": list(stage.stores),
    }


def _pass(view: PassView) -> Any:
    return {
        "phases": {name: [_stage(stage) for stage in stages] for name, stages in view.phases},
        "carried": [list(pair) for pair in view.carried],
        "linear": view.linear,
        "elementwise": view.elementwise,
    }


def _schedule(view: View) -> Any:
    found = view.loops
    return {
        **{pass_.name: _pass(pass_) for pass_ in found.passes},
        "kept": [
            {"name": k.name, "numbers": polynomial(k.numbers), "history": k.history}
            for k in found.kept
        ],
        "recomputed": list(found.recomputed),
    }


def _cost(view: View) -> Any:
    found = view.cost

    def number(value: Expr) -> Any:
        return {"formula": polynomial(value), "value": at(value, view.sizes)}

    def work(parts: Mapping[Part, Work]) -> Any:
        return {
            part.name.lower(): {
                column: number(getattr(parts[part], column))
                for column in ("multiply_adds", "elementwise", "transcendental")
            }
            for part in Part
        }

    return {
        "sizes": dict(view.sizes),
        "parameters": number(found.parameters),
        "kept_per_step_and_row": number(found.saved),
        "products_in_sequence": {
            "forward": depth(view.schedule.forward),
            "backward": depth(view.schedule.backward),
        },
        "forward": work(found.forward),
        "backward": work(found.backward),
        "moved": {
            name: {
                part.name.lower(): {"shared": number(t.shared), "each_row": number(t.rows)}
                for part, t in traffic(plan).items()
            }
            for name, plan in (
                ("forward", view.schedule.forward),
                ("backward", view.schedule.backward),
            )
        },
        "flop_per_byte": [
            {"pass": name, "part": part.name.lower(), "formula": str(formula)}
            for name, part, formula in view.intensities
        ],
        "machine": view.machine.as_dict() if view.machine else None,
        "bounds": [_bounds(shape, roofs) for shape, roofs in view.roofs.items()],
    }


def _bounds(shape: Shape, roofs: Sequence[Roof]) -> Any:
    return {
        "shape": dict(zip("TBIH", shape, strict=True)),
        "dtype": "float32",
        "parts": [
            {
                "pass": roof.name,
                "part": roof.part.name.lower(),
                "rounds": roof.rounds,
                "multiply_adds": roof.multiply_adds,
                "transcendental": roof.activations,
                "bytes": roof.bytes,
                "held_in": roof.level,
                "bandwidth": roof.bandwidth,
                "flop_per_byte": roof.intensity,
                "ridge": roof.ridge,
                "seconds": dict(roof.seconds),
                "least": roof.least,
                "binds": roof.binds,
            }
            for roof in roofs
        ],
    }


def _code(target: str) -> Callable[[View], Any]:
    return lambda view: dict(view.files(target))


SECTIONS: Mapping[str, Callable[[View], Any]] = WithTargets({
    "cell": _cell,
    "graph": _graph,
    "shapes": _shaped,
    "structure": lambda view: as_data(view.structure),
    "program": _program,
    "gradient": _gradient,
    "chain": _chain,
    "tangent": _tangent,
    "second": _second,
    "simplified": _simplified,
    "schedule": _schedule,
    "cost": _cost,
}, lambda target: _code(target.name))  # fmt: skip
