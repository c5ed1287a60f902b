"""What the forward pass keeps for the backward pass, and what is computed again.

In: the reverse Program of a step.  Out: the arrays to keep, and the two Programs, forward and
backward, that meet at them: a `Split`.
Not here: when things run (schedule.py).

Nothing that contains a product or a sum is computed twice, nor what must be the same to the
last bit (compared.py); other elementwise equations are, where that keeps fewer numbers. The
choice is a minimum cut of the graph from what cannot be computed again to what the gradient
reads, each array weighing its width; among equal cuts the one nearest to the gradient, which
recomputes least. The previous and the next value of a state lie in one array of T + 1 slots, so
the two count as one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from derive.derivative import Gradient
from derive.program import Array, Equation, Map, Namer, Program, check, prune
from derive.program.simplify import simplify
from derive.schedule.compared import compared, maximised_by_name
from derive.schedule.folds import outers_as_maps
from derive.symbolic import functions

#: A width that is known at run time only counts as this many numbers.
TYPICAL_WIDTH = 128
_UNLIMITED = 1 << 40


@dataclass(frozen=True, slots=True)
class Split:
    """A step's two Programs. `saved` are forward arrays kept for every step; `histories` the
    states whose values before and after every step are kept; `recomputed` the forward arrays
    that the backward Program computes again. `outputs` run parallel to step.outputs: an output
    that is a plain state or input is copied under a name of its own. `d_params` and `d_inputs` are
    pairs of an array and its cotangent, of those whose gradients are wanted.
    """

    gradient: Gradient
    forward: Program
    backward: Program
    saved: tuple[str, ...]
    histories: tuple[str, ...]
    recomputed: tuple[str, ...]
    outputs: tuple[str, ...]
    d_params: tuple[tuple[str, str], ...]
    d_inputs: tuple[tuple[str, str], ...]


def split(gradient: Gradient, wrt: Collection[str] | None = None) -> Split:
    """wrt: parameters and inputs whose gradients are wanted, all by default.

    What is kept does not depend on it, so that one forward pass serves every backward pass.
    Cotangents of states are always computed: the loop carries them.
    """
    step = gradient.step
    cotangents = tuple(dict.fromkeys((*gradient.d_params, *gradient.d_inputs, *gradient.d_states)))
    forward_outputs = step.program.outputs
    whole = simplify(
        replace(gradient.program, outputs=tuple(dict.fromkeys((*forward_outputs, *cotangents))))
    )
    whole = check(outers_as_maps(maximised_by_name(whole)))
    primal = {array.name for array in step.program.arrays}
    adjoint = [e for e in whole.equations if e.out not in primal]
    forward = [e for e in whole.equations if e.out in primal]
    kept = _minimum_cut(gradient, whole, forward, adjoint)

    pair = dict(zip(step.next_states, step.states, strict=True))
    histories = tuple(state for after, state in pair.items() if state in kept)
    in_history = {*histories, *(after for after, state in pair.items() if state in histories)}
    saved = tuple(e.out for e in forward if e.out in kept and e.out not in in_history)

    d_params = _wanted(step.params, gradient.d_params, wrt)
    d_inputs = _wanted(step.inputs, gradient.d_inputs, wrt)
    results = (*(d for _, d in (*d_params, *d_inputs)), *gradient.d_states)

    given = [n for n in whole.inputs if n not in step.states]
    backward = prune(
        Program(
            whole.arrays,
            (*given, *(n for n in (*step.states, *step.next_states) if n in in_history), *saved),
            tuple(e for e in whole.equations if e.out not in {*saved, *in_history}),
            tuple(name for name in cotangents if name in results),
        )
    )
    recomputed = tuple(e.out for e in backward.equations if e.out in primal)
    forward_program, outputs = _with_output_copies(gradient, whole, forward, saved)
    return Split(
        gradient, forward_program, check(backward), saved, histories, recomputed, outputs,
        d_params, d_inputs,
    )  # fmt: skip


def _wanted(
    names: Sequence[str], cotangents: Sequence[str], wrt: Collection[str] | None
) -> tuple[tuple[str, str], ...]:
    pairs = zip(names, cotangents, strict=True)
    return tuple(pair for pair in pairs if wrt is None or pair[0] in wrt)


def _with_output_copies(
    gradient: Gradient, whole: Program, equations: list[Equation], saved: tuple[str, ...]
) -> tuple[Program, tuple[str, ...]]:
    step = gradient.step
    table = whole.table()
    namer = Namer(table)
    arrays: list[Array] = list(whole.arrays)
    outputs = []
    for name in step.outputs:
        if name in step.program.inputs:
            copy = namer(f"{name}_output")
            arrays.append(replace(table[name], name=copy))
            equations = [*equations, Map(copy, functions.symbol(name))]
            name = copy
        outputs.append(name)
    wanted = tuple(dict.fromkeys((*step.next_states, *outputs, *saved)))
    program = prune(Program(tuple(arrays), step.program.inputs, tuple(equations), wanted))
    return check(program), tuple(outputs)


# --- the cut --------------------------------------------------------------------------------


def _minimum_cut(
    gradient: Gradient, whole: Program, forward: list[Equation], adjoint: list[Equation]
) -> set[str]:
    step = gradient.step
    table = whole.table()
    state_of = dict(zip(step.next_states, step.states, strict=True))

    def node(name: str) -> str:
        return state_of.get(name, name)

    def weight(name: str) -> int:
        return math.prod(
            TYPICAL_WIDTH if isinstance(dim, str) else min(dim, TYPICAL_WIDTH)
            for dim in table[name].shape
        )

    # Every per-row array is two nodes, (name, 0) -> (name, 1), joined by an edge of its weight.
    capacity: dict[tuple[str, int], dict[tuple[str, int], int]] = {}

    def edge(tail: tuple[str, int], head: tuple[str, int], amount: int) -> None:
        capacity.setdefault(tail, {})[head] = amount
        capacity.setdefault(head, {}).setdefault(tail, 0)

    source, sink = ("", 0), ("", 1)
    capacity[source], capacity[sink] = {}, {}
    rowwise = [e for e in forward if table[e.out].per_row]
    once = compared(whole, {e.out for e in forward})
    names = dict.fromkeys((*step.states, *(node(e.out) for e in rowwise)))
    for name in names:
        edge((name, 0), (name, 1), weight(name))
    for state in step.states:
        edge(source, (state, 0), _UNLIMITED)
    for equation in rowwise:
        if equation.out in state_of:
            continue  # its slot of the history is the source
        if not isinstance(equation, Map) or equation.out in once:
            edge(source, (equation.out, 0), _UNLIMITED)
            continue
        for name in equation.operands:
            if node(name) in names:
                edge((node(name), 1), (equation.out, 0), _UNLIMITED)
    for equation in adjoint:
        for name in equation.operands:
            if node(name) in names:
                edge((node(name), 1), sink, _UNLIMITED)
    return {name for name, _ in _cut(capacity, source, sink)}


_Node = tuple[str, int]


def _cut(capacity: dict[_Node, dict[_Node, int]], source: _Node, sink: _Node) -> list[_Node]:
    """Vertices (name, 0) whose edge to (name, 1) lies in the minimum cut nearest to `sink`."""
    while path := _augmenting_path(capacity, source, sink):
        amount = min(capacity[a][b] for a, b in path)
        for a, b in path:
            capacity[a][b] -= amount
            capacity[b][a] += amount
    into_sink = {sink}
    waiting = [sink]
    while waiting:
        head = waiting.pop()
        for tail in capacity[head]:
            if capacity[tail][head] > 0 and tail not in into_sink:
                into_sink.add(tail)
                waiting.append(tail)
    return [
        node
        for node in capacity
        if node[1] == 0 and (node[0], 1) in into_sink and node not in into_sink and node[0]
    ]


def _augmenting_path(
    capacity: Mapping[_Node, Mapping[_Node, int]], source: _Node, sink: _Node
) -> list[tuple[_Node, _Node]]:
    came_from: dict[_Node, _Node] = {source: source}
    waiting = [source]
    for node in waiting:
        for head, amount in capacity[node].items():
            if amount > 0 and head not in came_from:
                came_from[head] = node
                waiting.append(head)
        if sink in came_from:
            break
    if sink not in came_from:
        return []
    path = []
    node = sink
    while node != source:
        path.append((came_from[node], node))
        node = came_from[node]
    return path
