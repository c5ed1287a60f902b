"""docs/reference/rnn_cell.md, written from the classes: `python tests/helpers/rnn_cell_page.py`.

For each class its arguments and, side by side, each array's equation, its derived gradient and
what TensorFlow calls it. A test compares the page with what this writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from derive import rnn_cell
from derive.inspect import show
from derive.rnn_cell.absent import ABSENT
from derive.rnn_cell.base import RNNCell, Wiring
from derive.rnn_cell.structure import leaves

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rnn_cell.md"

H, P, I = 4, 3, 5  # noqa: E741 - lengths that tell the dimensions apart
CELLS: dict[str, RNNCell] = {
    "BasicRNNCell(num_units)": rnn_cell.BasicRNNCell(H),
    "BasicLSTMCell(num_units)": rnn_cell.BasicLSTMCell(H),
    "LSTMCell(num_units, use_peepholes=True, cell_clip=3.0, num_proj=P, proj_clip=1.0)":
        rnn_cell.LSTMCell(H, True, 3.0, num_proj=P, proj_clip=1.0),
    "GRUCell(num_units)": rnn_cell.GRUCell(H),
    "LSTMBlockCell(num_units, use_peephole=True, cell_clip=3.0)":
        rnn_cell.LSTMBlockCell(H, cell_clip=3.0, use_peephole=True),
    "GRUBlockCellV2(num_units)": rnn_cell.GRUBlockCellV2(H),
    "CudnnCompatibleLSTMCell(num_units)": rnn_cell.CudnnCompatibleLSTMCell(H),
    "CudnnCompatibleGRUCell(num_units)": rnn_cell.CudnnCompatibleGRUCell(H),
    "UGRNNCell(num_units)": rnn_cell.UGRNNCell(H),
    "CoupledInputForgetGateLSTMCell(num_units, use_peepholes=True, num_proj=P)":
        rnn_cell.CoupledInputForgetGateLSTMCell(H, True, num_proj=P),
    "LayerNormBasicLSTMCell(num_units)": rnn_cell.LayerNormBasicLSTMCell(H),
    "PhasedLSTMCell(num_units, use_peepholes=True)": rnn_cell.PhasedLSTMCell(H, True),
    "NASCell(num_units, num_proj=P, use_bias=True)": rnn_cell.NASCell(H, P, True),
    "IntersectionRNNCell(num_units)": rnn_cell.IntersectionRNNCell(H),
    "SRUCell(num_units)": rnn_cell.SRUCell(H),
    "IndRNNCell(num_units)": rnn_cell.IndRNNCell(H),
    "MinimalRNNCell(units)": rnn_cell.MinimalRNNCell(H),
    "CFNCell(units)": rnn_cell.CFNCell(H),
    "JANETCell(num_units)": rnn_cell.JANETCell(H),
}  # fmt: skip

HEAD = """# rnn_cell

TensorFlow 1's `rnn_cell` by its own names, on derived kernels. NumPy arrays in and out. This
page is written from the classes by `tests/helpers/rnn_cell_page.py`.

```python
import numpy as np
from derive import rnn_cell

cell = rnn_cell.LSTMCell(16, use_peepholes=True)
x = np.random.default_rng(0).normal(size=(3, 7, 8))            # [B, T, I]
outputs, state, pullback = rnn_cell.dynamic_rnn(
    cell, x, sequence_length=[7, 4, 0], return_pullback=True
)
d_x, d_initial_state, d_variables = pullback(np.ones_like(outputs))
assert d_variables["kernel"].shape == cell.variables["kernel"].shape == (8 + 16, 4 * 16)
```

## Cells

Every cell has `state_size`, `output_size`, `zero_state(batch_size, dtype)`, `build(input_width)`,
`variables`, `set_variables(...)`, and `output, new_state = cell(inputs, state)`, inputs [B, I].

- A cell that is not built yet builds itself for the first inputs it sees, or for the width that
  `set_variables` is told. Variables are float32 unless they were set as, or built for, float64.
  It computes in the dtype of the inputs.
- `set_variables` takes the names below, and TensorFlow's full ones:
  `rnn/multi_rnn_cell/cell_0/lstm_cell/kernel:0`.
- Variables start as TensorFlow's: matrices and peepholes uniform in
  +-sqrt(6 / (fan in + fan out)), biases 0, the gates of a GRU 1. An initializer is a function of
  (shape, dtype), a number, or "glorot_uniform", "zeros", "ones".
- `activation` is a name, or a function that has one: `"relu"`, `np.tanh`.
- `reuse`, `scope`, `name` and sharding are accepted and of no effect.
- `forget_bias` is added at run time and is no part of a bias. The gradient of a clip is 1 at its
  bound and 0 beyond.
- With `state_is_tuple=False` a state is one array: c, then h. `LSTMStateTuple(c, h)` otherwise.

`using(target="numpy")` in a `with` chooses the kernels; without it C is taken where a compiler is
there.

## Drivers

| function | gives |
| --- | --- |
| `dynamic_rnn(cell, inputs, sequence_length, initial_state, dtype, ...)` | outputs, state |
| `bidirectional_dynamic_rnn(cell_fw, cell_bw, inputs, sequence_length, ...)` | pairs of them |
| `stack_bidirectional_dynamic_rnn(cells_fw, cells_bw, inputs, ...)` | outputs and two tuples |
| `static_rnn(cell, inputs, initial_state, dtype, sequence_length)` | a list of outputs, state |

Arguments stand in TensorFlow's order; `parallel_iterations`, `swap_memory` and `scope` are of no
effect. All take, as keywords:

- `return_pullback=True`: one more value, `pullback(d_outputs, d_state)`, which gives
  `(inputs, initial_state, variables)`, gradients in the structures and layouts of what they are
  gradients of. What is None is zero. It may be called any number of times.
  Variables may be changed before it; inputs that are written into are an error.
- `past_end`: what happens past a row's length. A backward direction starts at the row's last
  step.

  | past_end | outputs | state | as |
  | --- | --- | --- | --- |
  | `"zero"` | 0 | copied through | TensorFlow 1 |
  | `"last"` | the last one again; 0 before the first step | copied through | Keras with a mask |
  | `"computed"` | what running on gives | of the row's last step | haste |

- `resets`: booleans with the first two axes of the inputs. Where it is true a segment begins, and
  the row starts afresh from a state of zeros; a backward direction does so where a segment ends.
- `masks` (`dynamic_rnn`, `static_rnn`): dropout masks to use; `draw_masks(cell, T, B)` draws some.

Row ends, fresh starts and masks are equations of the kernel that runs, and differentiated as such.

## Wrappers

- `MultiRNNCell(cells, state_is_tuple=True)`: each cell reads the output of the one below.
  Variables are called `cell_0/...`, `cell_1/...`.
- `DropoutWrapper(cell, input_keep_prob=1.0, output_keep_prob=1.0, state_keep_prob=1.0,
  variational_recurrent=False, input_size=None, dtype=None, seed=None,
  dropout_state_filter_visitor=None)`: masks are inputs of the equations. `seed` may be a
  `numpy.random.Generator`. A variational mask is one draw for all steps and all rows.
- `ResidualWrapper(cell)`: the inputs are added to the outputs.
- `InputProjectionWrapper(cell, num_proj, activation=None)`: the cell reads
  activation(inputs kernel + bias); without an activation a linear map.
- `OutputProjectionWrapper(cell, output_size, activation=None)`: activation(output kernel + bias) is
  put out.
- `EmbeddingWrapper(cell, embedding_classes, embedding_size, initializer=None)`: inputs are integers
  [B, T, 1] or [B, T] of which the cell reads rows of `embedding`; they have no gradient (None), the
  table has. Only the lowest cell of a `MultiRNNCell` may be one.

Variables of the last three have their scope before their names, `input_projection_wrapper/kernel`,
beside those of the cell inside; TensorFlow's full names are understood. A wrapper inside one of the
same kind has the scope once more: `input_projection_wrapper/input_projection_wrapper/kernel`.

## Other names

`linear(args, output_size, kernel, bias)` is the old `_linear`: [args side by side] kernel + bias.

`LSTMBlockFusedCell(num_units, forget_bias=1.0, cell_clip=None, use_peephole=False)` runs a whole
sequence: `outputs, state = cell(inputs, initial_state, dtype, sequence_length)`, inputs [T, B, I];
`cell.cell` is its `LSTMBlockCell`.

Names of TensorFlow's that are not here say why, and what to write instead: ABSENT.

## Each class

The columns are an array's equation, its derived gradient, and what TensorFlow calls the array.
`x @ W'` of TensorFlow is `W @ x` here: a variable holds parameters transposed and side by side.
`d_NAME` is d loss / d NAME; `gated(d, p)` is d * p, and 0 where d is 0;
`a_NAME` is what a gate's function is applied to; `outer(a, b)` is
a b', and `sum_rows` and `outer` add up over the rows of the batch.
"""

#: What TensorFlow's code calls the gates.
_LSTM = {"i": "i", "g": "j", "f": "f", "o": "o"}
_GRU = {"r": "r", "z": "u", "n": "c"}
GATES: dict[type[RNNCell], dict[str, str]] = {
    rnn_cell.BasicLSTMCell: _LSTM,
    rnn_cell.LSTMCell: _LSTM,
    rnn_cell.LSTMBlockCell: _LSTM,
    rnn_cell.CudnnCompatibleLSTMCell: _LSTM,
    rnn_cell.CoupledInputForgetGateLSTMCell: {"g": "j", "f": "f", "o": "o"},
    rnn_cell.LayerNormBasicLSTMCell: _LSTM,
    rnn_cell.GRUCell: _GRU,
    rnn_cell.GRUBlockCellV2: _GRU,
    rnn_cell.CudnnCompatibleGRUCell: _GRU,
    rnn_cell.UGRNNCell: {"g": "g", "c": "c"},
}


def page() -> str:
    """The whole page."""
    absent = ", ".join(f"`{name}`" for name in ABSENT)
    parts = [HEAD.replace("ABSENT", absent)]
    for title, cell in CELLS.items():
        parts.append("\n".join(_section(title, cell)))
    return "\n".join(parts)


def _section(title: str, cell: RNNCell) -> Iterator[str]:
    name = type(cell).__name__
    wiring = cell.wiring
    yield f"### {name}"
    yield ""
    yield f"`{name}{_signature(type(cell))}`"
    yield ""
    yield f"{inspect.getdoc(type(cell))}"
    yield ""
    yield f"Shown: `{title}`."
    yield ""
    yield "| equation | derived gradient | TensorFlow |"
    yield "| --- | --- | --- |"
    gradient = _gradient(wiring)
    for line in _equations(wiring):
        target = line.split(" = ")[0].replace("'", "_next")
        known = GATES.get(type(cell), {}).get(target) or _name_of(target, wiring)
        yield _row(line, gradient.pop(target, []), known)
    named = _parameters(wiring)
    for group in (wiring.cell.states, wiring.cell.inputs, wiring.cell.params):
        for array, shape in group.items():
            text = f"{array}: {' x '.join(map(str, shape))}"
            yield _row(text, gradient.pop(array, []), named.get(array) or _name_of(array, wiring))
    assert not gradient, f"{title}: no place for {list(gradient)}"
    yield ""


def _row(equation: str, gradient: list[str], name: str) -> str:
    cells = [
        f"`{equation}`",
        "<br>".join(f"`{line}`" for line in gradient),
        f"`{name}`" * bool(name),
    ]
    return f"| {' | '.join(cells)} |"


def _signature(function: Any) -> str:
    parameters = inspect.signature(function).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return str(inspect.Signature(plain))


def _equations(wiring: Wiring) -> Iterator[str]:
    """The definitions, one a line, without the columns of the canonical text."""
    for line in wiring.cell.to_text().splitlines():
        if match := re.fullmatch(r"(\w+'?) *= (.*)", line):
            yield f"{match[1]} = {match[2]}"


def _gradient(wiring: Wiring) -> dict[str, list[str]]:
    """{array: lines of its gradient}; lines of arrays without a row go to the row before."""
    cell = wiring.cell
    text = show(cell, ["gradient"])
    targets = [line.split(" = ")[0].replace("'", "_next") for line in _equations(wiring)]
    rows = {*targets, *cell.params, *cell.inputs, *cell.states}
    found: dict[str, list[str]] = {}
    last = targets[-1]
    body = text.split("\nwhere\n")[-1].split("\n\n")
    for line in "\n".join(body).splitlines():
        match = re.fullmatch(r" *(\w+) *= (.*)", line)
        if not match:
            if line.startswith("   ") and found:  # a long sum goes on
                found[last][-1] += f" {line.strip()}"
            continue
        name = match[1].removeprefix("d_")
        if name not in rows and name.startswith("a_"):
            name = name.removeprefix("a_")
            name = f"{name}_next" if f"{name}_next" in rows else name
        last = name if name in rows else last
        found.setdefault(last, []).append(f"{match[1]} = {match[2]}")
    return found


def _parameters(wiring: Wiring) -> dict[str, str]:
    """{parameter: the part of a variable that holds it}."""
    found = {}
    for variable in wiring.variables:
        for r, row in enumerate(variable.table):
            for c, name in enumerate(row):
                matrix = len(wiring.cell.params[name]) == 2
                rows = _slice(r, [wiring.cell.params[each[0]][-1] for each in variable.table])
                columns = _slice(c, [wiring.cell.params[each][0] for each in row])
                inside = [part for part in ([rows] if matrix else [])] + [columns]
                whole = all(part == ":" for part in inside)
                index = "" if whole else f"[{', '.join(inside)}]"
                first = "[0]" if variable.one_row else ""
                found[name] = f"{variable.name}{first}{index}{'.T' if matrix else ''}"
    return found


def _slice(k: int, lengths: list[Any]) -> str:
    if len(lengths) == 1:
        return ":"

    def total(dims: list[Any]) -> str:
        counts = {dim: dims.count(dim) for dim in dict.fromkeys(dims)}
        return " + ".join(f"{n} * {dim}" if n > 1 else str(dim) for dim, n in counts.items())

    start, end = total(lengths[:k]), total(lengths[: k + 1])
    return f"{start}:" if k + 1 == len(lengths) else f"{start}:{end}"


def _name_of(name: str, wiring: Wiring) -> str:
    """What TensorFlow calls an input, a state, an output or a gate."""
    words = []
    state = name.removesuffix("_next")
    if name == wiring.output:
        words.append("output")
    if state in leaves(wiring.state):
        kind = "new_state" if name != state else "state"
        words.append(kind if isinstance(wiring.state, str) else f"{kind}.{state}")
    if name in wiring.inputs:
        k = wiring.inputs.index(name)
        words.append("inputs" if len(wiring.inputs) == 1 else f"inputs[{k}]")
    return ", ".join(words)


if __name__ == "__main__":
    PAGE.write_text(page())
