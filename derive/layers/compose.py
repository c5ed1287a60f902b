"""Cells from cells: masks, fresh starts, ends of rows, shortcuts and stacks, as equations.

In: a Cell, and what is to be done to it.  Out: a new Cell and the names it gave to what is new.
Everything here rewrites equations and nothing else, so that the gradient through a dropout
mask or past the end of a row is derived like that of any other equation.
Not here: the arrays that go into the new inputs (sequence.py, rnn_cell/).

    masked(cell, ["x", "h_next"])   factors, one input each, on inputs, next states or definitions
    restarted(cell)                 an input that sets a row's states to zero before a step
    held(cell)                      past a row's end: outputs repeat, states stay
    running_on(cell)                past a row's end: everything runs on, last states are kept aside
    shortened(cell)                 an input is added to the output
    stacked(cells)                  each cell reads the output of the one before
    without(cell, ["b"])            parameters that are zero, and gone
    with_epsilon(cell, 1e-12)       another epsilon in layer_norm
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.language.declaration import Dim
from derive.language.tree import Binary, Call, Name, Number
from derive.language.variant.rewriting import (
    NOWHERE,
    Draft,
    calls,
    named,
    renamed_dim,
    replaced,
    tidied,
    where_above_zero,
)


@dataclass(frozen=True, slots=True)
class Composed:
    """A new cell and its names.

    added: what was asked for -> the name of the new input or state.  outputs: the old key of
    an output -> its new key.
    """

    cell: Cell
    added: Mapping[str, str]
    outputs: Mapping[str, str]


def composed(draft: Draft, added: Mapping[str, str] = MappingProxyType({})) -> Composed:
    """The cell that a draft has become."""
    cell = Cell.of(draft.finish())
    return Composed(cell, MappingProxyType(dict(added)), MappingProxyType(dict(draft.outputs)))


def masked(cell: Cell, names: Iterable[str], *, outputs: Iterable[str] = ()) -> Composed:
    """Each of `names`, and each output of the keys `outputs`, times an input of its width.

    A masked input is seen masked by all equations. A masked next value `h_next` goes on to the
    next step masked, and the equations and outputs of this step see it whole: what
    DropoutWrapper does to a state. A masked definition is seen masked by all equations.
    """
    draft = Draft(cell.checked)
    added = {name: draft.mask(name) for name in names}
    added |= {f"output {key}": draft.mask_output(key) for key in outputs}
    return composed(draft, added)


def restarted(cell: Cell) -> Composed:
    """Where the new input "reset" is above 0, the step starts from states that are zero, or from
    what they have learned to start from."""
    draft = Draft(cell.checked)
    reset = draft.new_input("reset", 1)
    for state in draft.states:
        fresh = draft.fresh(f"{state}_start")
        draft.rename_uses({state: Name(fresh, NOWHERE)})
        start = draft.starts.get(state, Number("0", NOWHERE))
        draft.insert(0, fresh, where_above_zero(reset, start, named(state)))
    return composed(draft, {"reset": reset})


def held(cell: Cell) -> Composed:
    """Where the new input "alive" is 0, states stay and outputs repeat what they were last.

    `added` names, for "last KEY", the new state that remembers an output; it starts as zero.
    """
    draft = Draft(cell.checked)
    alive = draft.new_input("alive", 1)
    added = {"alive": alive}
    for state in tuple(draft.states):
        raw = draft.divert(state)
        draft.append(f"{state}_next", where_above_zero(alive, named(raw), named(state)))
    for key in tuple(draft.outputs):
        last = draft.new_state(f"last_{key.removesuffix('_next')}", *cell.outputs[key])
        value = where_above_zero(alive, named(draft.outputs[key]), named(last))
        draft.append(f"{last}_next", value)
        draft.outputs[key] = f"{last}_next"
        added[f"last {key}"] = last
    return composed(draft, added)


def running_on(cell: Cell) -> Composed:
    """Where the new input "alive" is 0, all runs on, and new states keep the old values.

    `added` names, for "end STATE", the state that stops where the row ends.
    """
    draft = Draft(cell.checked)
    alive = draft.new_input("alive", 1)
    added = {"alive": alive}
    for state, shape in tuple(draft.states.items()):
        end = draft.new_state(f"{state}_end", *shape)
        if state in draft.starts:
            draft.starts[end] = draft.starts[state]
        value = where_above_zero(alive, named(f"{state}_next"), named(end))
        draft.append(f"{end}_next", value)
        added[f"end {state}"] = end
    return composed(draft, added)


def shortened(cell: Cell, x: str, key: str) -> Composed:
    """The output `key` plus the input `x`, whose width becomes that of the output."""
    draft = Draft(cell.checked)
    wide, narrow = cell.outputs[key], cell.inputs[x]
    if wide != narrow:
        vectors = len(wide) == len(narrow) == 1
        if not vectors or not isinstance(narrow[0], str) or not narrow[0].isidentifier():
            raise ArgumentError(
                f"{x} of {cell.name} cannot be added to its output",
                facts=(f"{x} has width {_shown(narrow)}, the output {_shown(wide)}",),
            )
        draft.rename_dims({narrow[0]: wide[0]})
    total = draft.fresh("shortcut")
    draft.append(total, Binary("+", named(draft.outputs[key]), named(x), NOWHERE))
    draft.outputs[key] = total
    return composed(draft, {})


def stacked(
    cells: Sequence[Cell], links: Sequence[tuple[str, str]], name: str
) -> tuple[Composed, tuple[Mapping[str, str], ...], tuple[Mapping[str, Dim], ...]]:
    """One cell from several; links[k] is (input of k+1, key of the output of k that it reads).

    Arrays of layer k get the suffix _k. The second result is {old name: new name} of each
    layer, the third {old dimension: new dimension}. Outputs are those of the last.
    """
    drafts = [Draft(cell.checked) for cell in cells]
    arrays: list[Mapping[str, str]] = []
    dims: list[Mapping[str, Dim]] = []
    taken: set[str] = set()
    below = ""
    for k, draft in enumerate(drafts):
        renamed = draft.add_suffix(k, taken)
        sizes: dict[str, Dim] = {dim: f"{dim}_{k}" for dim in draft.dims()}
        if k:
            x = renamed[links[k - 1][0]]
            shape, given = draft.inputs.pop(x), dims[k - 1]
            for width, wanted in zip(shape, cells[k - 1].outputs[links[k - 1][1]], strict=True):
                if isinstance(width, str):
                    sizes[width] = renamed_dim(wanted, given)
            draft.rename_uses({x: named(below)})
        draft.rename_dims(sizes)
        below = draft.outputs[links[k][1]] if k < len(links) else ""
        arrays.append(renamed)
        dims.append(sizes)
        taken |= draft.names()
    whole = drafts[0]
    whole.name, whole.doc = name, ""
    for draft in drafts[1:]:
        whole.absorb(draft)
    return composed(whole, {}), tuple(arrays), tuple(dims)


def _shown(shape: tuple[Dim, ...]) -> str:
    return " x ".join(map(str, shape))


def without(cell: Cell, names: Iterable[str]) -> Cell:
    """The cell with parameters that are zero taken out."""
    draft = Draft(cell.checked)
    for name in names:
        del draft.params[name]
        draft.rename_uses({name: Number("0", NOWHERE)})
    draft.equations = [(target, tidied(expr)) for target, expr in draft.equations]
    return Cell.of(draft.finish())


def with_epsilon(cell: Cell, epsilon: float) -> Cell:
    """The cell with layer_norm(v) written out, and `epsilon` for its 1e-5."""
    draft = Draft(cell.checked)
    number = Number(repr(float(epsilon)), NOWHERE)
    k = 0
    while k < len(draft.equations):
        target, expr = draft.equations[k]
        call = next(calls(expr, "layer_norm"), None)
        if call is None:
            k += 1
            continue
        v, centred, deviation = (draft.fresh(f"{w}_{target}") for w in ("whole", "centred", "sd"))
        mean = Call("mean", (named(v),), NOWHERE)
        square = Binary("*", named(centred), named(centred), NOWHERE)
        var = Binary("+", Call("mean", (square,), NOWHERE), number, NOWHERE)
        draft.insert(k, v, call.args[0])
        draft.insert(k + 1, centred, Binary("-", named(v), mean, NOWHERE))
        draft.insert(k + 2, deviation, Call("sqrt", (var,), NOWHERE))
        normal = Binary("/", named(centred), named(deviation), NOWHERE)
        draft.equations[k + 3] = (target, replaced(expr, call, normal))
    return Cell.of(draft.finish())
