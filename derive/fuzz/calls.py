"""Random calls of a cell's kernel, and a call as Python text that can be pasted.

In: a Cell.  Out: `calls(cell)`, a strategy of `Call`s; the arrays of a call; its text.
Not here: running it (running.py), what is right (truth.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from derive.cell import Cell
from derive.fuzz.running import Given, Plan, untold
from derive.fuzz.wholes import lengths_of
from derive.widths import Width

_WIDTHS = (1, 2, 3, 4, 5, 0, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 130)
_ROWS = (1, 2, 3, 4, 5, 0, 8, 9, 15, 16, 17, 33, 64, 65, 193)
_STEPS = (1, 2, 3, 5, 0, 4, 7, 16, 17, 33)
#: Arrays as they usually are: only these go the quick way from the third call on.
_STYLES = (*("plain",) * 5, "readonly", "fortran", "strided", "unaligned", "list")
#: A call may have so many numbers in all, and so many steps times equations: the reference is slow.
_MOST_NUMBERS, _MOST_TURNS = 20_000, 1200
#: Of an array with three axes.
_MOST_OF_ONE = 3000


@dataclass(frozen=True, slots=True)
class Call:
    """What is done and with which numbers. plan: the options; the rest says how to draw arrays.

    sizes: {dimension: length}; given: the states that are given, others start at zero; weighted:
    outputs and states with cotangents; scale: the size of inputs and states; grid: halves only,
    so that arguments lie on kinks.
    """

    plan: Plan
    sizes: Mapping[str, int]
    steps: int
    rows: int
    lengths: tuple[int, ...] | None
    given: tuple[str, ...]
    d_outputs: tuple[str, ...]
    d_states: tuple[str, ...]
    seed: int
    scale: float
    grid: bool


def is_told(cell: Cell) -> bool:
    """Whether all arrays together tell every dimension: `state s: H + K` alone does not."""
    return not untold(_all_shapes(cell).values(), dims_of(cell))


def dims_of(cell: Cell) -> tuple[str, ...]:
    """All dimensions, those of arrays that nothing uses as well."""
    widths = (Width.of(axis) for shape in _all_shapes(cell).values() for axis in shape)
    others = (name for width in widths for name in width.names())
    return tuple(dict.fromkeys((*cell.step.program.dims(), *others)))


def must_be_given(cell: Cell) -> tuple[str, ...]:
    """States with a dimension that nothing else determines."""
    others = (*cell.params.values(), *cell.inputs.values())
    open_ = untold(others, dims_of(cell))
    return tuple(
        name
        for name, shape in cell.states.items()
        if any(dim in open_ for axis in shape for dim in Width.of(axis).names())
    )


@st.composite
def calls(draw: st.DrawFn, cell: Cell, dtype: str = "float64") -> Call:
    """Calls that fit the cell."""

    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    def some(names: Iterable[str]) -> tuple[str, ...]:
        """All of them, more often than not."""
        there = tuple(names)
        if not there or pick((True, True, False)):
            return there
        return tuple(name for name in there if draw(st.booleans()))

    few = pick((5, 10, len(_WIDTHS)))
    dims = dims_of(cell)
    sizes = {dim: pick(_WIDTHS[:few]) for dim in dims}
    if len(sizes) > 1 and pick((False, False, True)):
        sizes = dict.fromkeys(sizes, next(iter(sizes.values())))
    sizes = _bounded(cell, sizes)
    rows = pick(_ROWS[: 5 if few > 10 else len(_ROWS)])
    steps = pick(_STEPS if few <= 10 else _STEPS[:6])
    equations = len(cell.step.program.equations)
    if steps * equations > _MOST_TURNS or _numbers(cell, sizes, steps, rows) > _MOST_NUMBERS:
        steps = min(steps, 3)
        rows = min(rows, 9)
    mode = pick(("forward", "forward", "forward", "forward", "step", "stream"))
    if mode == "step":
        steps = 1
    needs_rows = mode == "stream" or (mode == "step" and not cell.inputs)
    rows = max(rows, 1) if needs_rows else rows
    steps = max(steps, 1) if mode == "stream" else steps
    lengths: tuple[int, ...] | None = None
    reverse, training, remat = False, True, False
    if mode == "forward":
        kind = pick(("none", "none", "ragged", "ragged", "ragged", "whole", "zero"))
        if kind != "none":
            lengths = tuple(
                {"whole": steps, "zero": 0}[kind] if kind != "ragged" else
                draw(st.integers(0, steps)) for _ in range(rows)
            )  # fmt: skip
        reverse = draw(st.booleans())
        training = pick((True, True, True, False))
        remat = pick((False, False, True))
    plan = Plan(
        mode=mode,
        dtype=dtype,
        threads=pick((1, 2, 3)),
        packed=draw(st.booleans()),
        reverse=reverse,
        training=training,
        remat=remat,
        style=pick(_STYLES),
        repeats=pick((1, 4, 3)),
    )
    needed = must_be_given(cell)
    given = some(cell.states)
    if not cell.inputs and mode == "step":
        given = tuple(cell.states)
    return Call(
        plan=plan,
        sizes=sizes,
        steps=steps,
        rows=rows,
        lengths=lengths,
        given=tuple(name for name in cell.states if name in given or name in needed),
        d_outputs=some(cell.outputs),
        d_states=some(cell.states),
        seed=draw(st.integers(0, 999)),
        scale=pick((1.0, 1.0, 0.3, 3.0)),
        grid=pick((False, False, False, True)),
    )


def _numbers(cell: Cell, sizes: Mapping[str, int], steps: int, rows: int) -> int:
    per_row = sum(
        math.prod(lengths_of(array.shape, sizes))
        for array in cell.step.program.arrays
        if array.per_row
    )
    return per_row * rows * steps


def _bounded(cell: Cell, sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes with which no array has more than _MOST_OF_ONE numbers: three axes make many."""
    sizes = dict(sizes)
    shapes = [array.shape for array in cell.step.program.arrays if len(array.shape) > 2]
    for shape in (*shapes, *(s for s in _all_shapes(cell).values() if len(s) > 2)):
        while math.prod(lengths_of(shape, sizes)) > _MOST_OF_ONE:
            longest = max((d for w in shape for d in Width.of(w).names()), key=sizes.__getitem__)
            sizes[longest] = sizes[longest] // 2
    return sizes


def given_of(cell: Cell, call: Call) -> Given:
    """The arrays of a call as a user gives them, in float64, each of them a float32; NaN where a
    row has ended."""
    draw = _drawing(call.seed, call.scale, call.grid)
    sequence, sizes = (call.steps, call.rows), call.sizes
    shapes = {name: lengths_of(shape, sizes) for name, shape in _all_shapes(cell).items()}
    before = {n: sequence[1:] if n in cell.checked.once else sequence for n in cell.inputs}
    params = {
        name: draw(*shapes[name]) * (1.0 if call.grid else _reach(shapes[name]))
        for name in cell.params
    }
    params = {name: array.astype(np.float32).astype(np.float64) for name, array in params.items()}
    inputs = {name: draw(*before[name], *shapes[name]) for name in cell.inputs}
    states = {name: draw(call.rows, *shapes[name]) for name in cell.states}
    d_outputs = {
        key: draw(*sequence, *lengths_of(shape, sizes)) for key, shape in cell.outputs.items()
    }
    d_states = {name: draw(call.rows, *shapes[name]) for name in cell.states}
    lengths = None if call.lengths is None else np.array(call.lengths, dtype=np.int64)
    if lengths is not None:
        ended = np.arange(call.steps)[:, None] >= lengths
        moving = {n: a for n, a in inputs.items() if n not in cell.checked.once}
        for array in (*moving.values(), *d_outputs.values()):
            array[ended] = np.nan
    return Given(
        dict(sizes), call.steps, call.rows, params, inputs,
        {name: states[name] for name in call.given},
        {key: d_outputs[key] for key in call.d_outputs},
        {name: d_states[name] for name in call.d_states},
        lengths,
    )  # fmt: skip


def _all_shapes(cell: Cell) -> dict[str, tuple[str | int, ...]]:
    return {**cell.params, **cell.inputs, **cell.states}


def _reach(shape: tuple[int, ...]) -> float:
    return 1.0 if len(shape) < 2 else min(1.0, 1.5 / math.sqrt(max(shape[-1], 1)))


def _drawing(seed: int, scale: float, grid: bool) -> Any:
    random = np.random.Generator(np.random.PCG64(seed))

    def draw(*shape: int) -> Any:
        if grid:
            return random.integers(-4, 5, shape) / 2.0
        return (scale * random.uniform(-1, 1, shape)).astype(np.float32).astype(np.float64)

    return draw


# --- text -----------------------------------------------------------------------------------


def snippet(text: str, cell: Cell, call: Call, target: str) -> str:
    """Python text that makes this call again: arrays as literals where they are few."""
    plan, given = call.plan, given_of(cell, call)
    lines = [
        "import numpy as np", "import derive", "from numpy import array, nan, zeros", "",
        f"cell = derive.Cell.parse({_quoted(text)})",
        f"kernel = derive.compile(cell, {target!r}, dtype={plan.dtype!r}, threads={plan.threads})",
        f"params = {_arrays(given.params)}",
        f"x = {_arrays(given.inputs) if cell.inputs else f'zeros({(call.steps, call.rows, 0)})'}",
        f"state = {_arrays(given.states)}",
    ]  # fmt: skip
    if plan.packed:
        lines.append("params = kernel.pack(params)")
    if plan.mode == "step":
        x_t = _inputs_at(cell, "0") if cell.inputs else "x[0]"
        lines += [f"output, last = kernel.step(params, {x_t}, state)", "print(output, last)"]
    elif plan.mode == "stream":
        x_t = _inputs_at(cell, "t") if cell.inputs else "None"
        open_ = untold(cell.params.values(), call.sizes)
        sizes = "".join(f", {dim}={n}" for dim, n in call.sizes.items() if dim in open_)
        lines += [
            f"stream = kernel.stream(params, rows={call.rows}, state=state{sizes})",
            f"for t in range({call.steps}):",
            f"    print(stream({x_t}))",
            "print(stream.state)",
        ]
    else:
        lengths = "None" if call.lengths is None else f"array({list(call.lengths)}, dtype=np.int64)"
        lines += [
            f"run = kernel.forward(params, x, state, {lengths}, reverse={plan.reverse}, "
            f"training={plan.training}, remat={'time' if plan.remat else None!r})",
            "print(run.outputs, run.states)",
        ]
        if plan.training:
            lines += [
                f"d_outputs = {_arrays(given.d_outputs)}",
                f"d_states = {_arrays(given.d_states)}",
                "print(kernel.backward(run, d_outputs, d_states))",
            ]
    return "\n".join(lines) + "\n"


def _inputs_at(cell: Cell, t: str) -> str:
    """Text that takes the inputs of one step out of `x`."""
    parts = (f"{n!r}: x[{n!r}]{'' if n in cell.checked.once else f'[{t}]'}" for n in cell.inputs)
    return "{" + ", ".join(parts) + "}"


def _quoted(text: str) -> str:
    return f'"""\\\n{text}"""' if '"""' not in text and "\\" not in text else repr(text)


def _arrays(arrays: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{name!r}: {_array(array)}" for name, array in arrays.items())
    return "{" + parts + "}"


def _array(array: Any) -> str:
    array = np.asarray(array)
    if not array.size:
        return f"zeros({array.shape})"
    with np.printoptions(threshold=int(1e9), linewidth=10**9, floatmode="unique"):
        return repr(array).replace("\n", "")
