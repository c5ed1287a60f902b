"""derive.emit.numpy_* and derive.kernel.numpy_backend, against a plain run of `interpret` through
time."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import reference
from cases import LENGTHS, ROWS, STEPS, Case, by_array, check_agreement, forward, make, worst
from strange_cells import CELLS

import derive.pipeline as pipeline
from derive import cells
from derive.cell import Cell
from derive.emit.numpy.helpers import COMPARISONS, HELPERS, NUMPY
from derive.kernel import numpy_backend
from derive.kernel.numpy_backend import load
from derive.symbolic.functions import RULES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=CELLS)
def cell(request: pytest.FixtureRequest) -> Cell:
    return Cell.parse(CELLS[request.param])


@pytest.fixture(params=[(None, False), (None, True), (LENGTHS, False), (LENGTHS, True)],
                ids=["full", "full reversed", "lengths", "lengths reversed"])  # fmt: skip
def case(cell: Cell, request: pytest.FixtureRequest) -> Case:
    return make(cell, *request.param)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forward_and_backward_agree_with_the_interpreter(case: Case, dtype: str) -> None:
    check_agreement(pipeline.compile(case.cell, "numpy", dtype), case)


def test_sequences_longer_than_a_chunk_agree(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_backend, "CHUNK_ROWS", 2 * ROWS)
    check_agreement(pipeline.compile(case.cell, "numpy", "float64"), case)


def test_the_reference_gradient_agrees_with_the_complex_step(case: Case) -> None:
    inputs, d_outputs = case.clean
    given = {**case.params, **inputs, **case.states}
    arrays = (case.cell.step, case.params, inputs, case.states)
    seeds = (by_array(case, d_outputs), case.d_states)
    slopes = reference.gradients(*arrays, *seeds, **case.how)
    random = np.random.default_rng(1)
    for name, array in given.items():
        along = random.uniform(-1, 1, array.shape)
        wanted = reference.directional(*arrays, *seeds, {name: along}, **case.how)
        assert abs(np.sum(along * slopes[name]) - wanted) < 1e-11 * max(1, abs(wanted))


def test_inference_gives_the_bits_of_training_and_keeps_nothing(case: Case) -> None:
    kernel = pipeline.compile(case.cell, "numpy", "float64")
    run, trained = forward(kernel, case, training=False), forward(kernel, case)
    for found, wanted in ((run.outputs, trained.outputs), (run.states, trained.states)):
        for name in wanted:
            assert found[name].tobytes() == wanted[name].tobytes()
    assert run._saved is None


def test_a_step_is_the_first_step_of_forward(cell: Cell) -> None:
    case = make(cell, None, False)
    kernel = pipeline.compile(cell, "numpy", "float64")
    inputs = {name: array[:1] for name, array in case.inputs.items()}
    wanted = reference.run(cell.step, case.params, inputs, case.states, steps=1, rows=ROWS)
    x = {name: array[0] for name, array in case.inputs.items()}
    found, states = kernel.step(case.params, x or None, case.states)
    found = found if isinstance(found, dict) else {cell.output_keys[0]: found}
    keys = dict(zip(cell.output_keys, cell.step.outputs, strict=True))
    assert worst(found, {key: wanted.outputs[name][0] for key, name in keys.items()}) < 1e-13
    assert worst(states, wanted.states) < 1e-13
    own_memory([*found.values(), *states.values(), *x.values(), *case.states.values()])


def own_memory(arrays: list[Any]) -> None:
    for k, array in enumerate(arrays):
        for other in arrays[:k]:
            assert not np.shares_memory(array, other)


def test_results_share_no_memory_and_arguments_stay_as_they_were(case: Case) -> None:
    kernel = pipeline.compile(case.cell, "numpy", "float64")
    given = [*case.params.values(), *case.inputs.values(), *case.states.values(),
             *case.d_outputs.values(), *case.d_states.values()]  # fmt: skip
    before = [array.copy() for array in given]
    run = forward(kernel, case)
    (saved,) = run._saved
    kept = {name: array.copy() for name, array in saved.items()}
    grads = kernel.backward(run, case.d_outputs, case.d_states)
    results = [*run.outputs.values(), *run.states.values(), *saved.values(),
               *grads.params.values(), *grads.inputs.values(), *grads.states.values()]  # fmt: skip
    own_memory(given + results)
    for array, copy in zip(given, before, strict=True):
        assert array.tobytes() == copy.tobytes()
    for name, copy in kept.items():
        assert saved[name].tobytes() == copy.tobytes()


def test_cotangents_left_out_are_zero(case: Case) -> None:
    kernel = pipeline.compile(case.cell, "numpy", "float64")
    run = forward(kernel, case)
    zeros = (
        {name: np.zeros_like(array) for name, array in case.d_outputs.items()},
        {name: np.zeros_like(array) for name, array in case.d_states.items()},
    )
    found, wanted = kernel.backward(run), kernel.backward(run, *zeros)
    for name, array in wanted.params.items():
        assert np.array_equal(found.params[name], array)


def test_values_of_ended_rows_count_nowhere(cell: Cell) -> None:
    kernel = pipeline.compile(cell, "numpy", "float64")
    case = make(cell, LENGTHS, False)
    results = []
    for filler in (np.nan, np.inf, 0.0):
        inputs = {n: np.where(np.isnan(a), filler, a) for n, a in case.inputs.items()}
        d_outputs = {n: np.where(np.isnan(a), filler, a) for n, a in case.d_outputs.items()}
        x = inputs or np.zeros((STEPS, ROWS, 0))
        run = kernel.forward(case.params, x, case.states, LENGTHS)
        grads = kernel.backward(run, d_outputs, case.d_states)
        results.append([*run.outputs.values(), *run.states.values(), *grads.params.values(),
                        *grads.inputs.values(), *grads.states.values()])  # fmt: skip
    for parts in zip(*results, strict=True):
        assert parts[0].tobytes() == parts[1].tobytes() == parts[2].tobytes()


@pytest.mark.parametrize(("i", "h"), [(0, 3), (3, 0), (0, 0), (1, 1), (17, 16)])
def test_every_width_works(i: int, h: int) -> None:
    cell = Cell.parse(CELLS["proj"])
    kernel = pipeline.compile(cell, "numpy", "float64")
    params = kernel.init(I=i, H=h, P=2)
    x = np.ones((STEPS, ROWS, i))
    state = {"h": np.zeros((ROWS, 2)), "c": np.zeros((ROWS, h))}
    run = kernel.forward(params, x, state, LENGTHS)
    how = {"steps": STEPS, "rows": ROWS, "lengths": LENGTHS}
    wanted = reference.run(cell.step, params, {"x": x}, state, **how)
    assert worst(run.outputs, wanted.outputs) < 1e-13
    assert kernel.backward(run, {"h_next": run.outputs["h_next"]}).inputs["x"].shape == x.shape


# --- the loop -------------------------------------------------------------------------------


def loop_of(text: str, function: str) -> str:
    """The body of the loop over time of one function."""
    body = text[text.index(f"def {function}(") :]
    lines = body[body.index("        for t in ") :].splitlines()[1:]
    end = next(k for k, line in enumerate(lines) if not line.startswith(" " * 12))
    return "\n".join(lines[:end])


def code_of(text: str) -> list[str]:
    """The lines that are not comments."""
    return [line for line in text.splitlines() if not line.strip().startswith("#")]


LSTM = """cell lstm
input x: I
state h: H, c: H
i = sigmoid(W_i @ x + U_i @ h + b_i)
f = sigmoid(W_f @ x + U_f @ h + b_f)
g = tanh(W_g @ x + U_g @ h + b_g)
o = sigmoid(W_o @ x + U_o @ h + b_o)
c' = f * c + i * g
h' = o * tanh(c')
output h'
"""


def test_a_loop_does_one_product_and_each_activation_once() -> None:
    loop = loop_of(text_of(LSTM), "forward")
    code = code_of(loop)
    wanted = {" @ ": 1, "sigmoid(": 1, "np.tanh(a_g": 1, "W_": 0, "b_": 0}
    assert {text: sum(line.count(text) for line in code) for text in wanted} == wanted
    assert "i_f_o = sigmoid(a_i_f_o)" in loop


def test_a_backward_loop_is_linear_and_applies_no_function() -> None:
    loop = "\n".join(code_of(loop_of(text_of(LSTM), "backward")))
    assert "tanh(" not in loop and "1.0 -" not in loop
    assert loop.count("@") == 1


def test_gradients_of_stacked_matrices_are_one_product() -> None:
    text = text_of(LSTM)
    assert text.count("flat(d_a_all).T @ flat(h_all)") == 1
    assert text.count("flat(d_a_all).T @ flat(x_all)") == 1


# --- parameters that are packed -------------------------------------------------------------


def test_a_packed_step_puts_no_matrices_together() -> None:
    text = "\n".join(code_of(text_of(LSTM).partition("def packed_step")[2]))
    assert (text.count(" @ "), text.count("sigmoid("), text.count("concatenate")) == (2, 1, 0)


def test_several_rows_are_multiplied_with_a_copy_and_one_with_a_view() -> None:
    module = load(text_of(LSTM), "numpy/lstm.py")
    params = {f"{m}_{g}": np.ones((6, 6)) for m in "WU" for g in "ifgo"}
    params |= {f"b_{gate}": np.ones(6) for gate in "ifgo"}
    for rows in (1, 2):
        packed = module.pack(params, rows)
        assert packed["U_T"].shape == (6, 24)
        assert packed["U_T"].flags.c_contiguous is (rows > 1)


def test_what_parameters_alone_determine_is_packed() -> None:
    """Of a matrix that is computed from parameters what the loop reads, and nothing between."""
    text = module_of("weight_norm_lstm")
    packed = text.partition("        packed: Arrays = {")[2].partition("}")[0]
    assert packed.count(":") == packed.count('_T":') == 8
    assert "V_1" not in text.partition("def packed_step")[2].replace('params["V_1"].shape', "")


OWN_NAMES = """cell own
input x: I
state h: H
pack = tanh(W @ x + U @ h + b)
packed = pack * across + packed_step
h' = packed
output h'
"""


def test_a_cell_may_have_arrays_that_are_called_as_the_module_calls_its_own() -> None:
    cell = Cell.parse(OWN_NAMES)
    kernel = pipeline.compile(cell, "numpy", "float64")
    params = kernel.init(I=3, H=4)
    x = np.ones((5, 2, 3))
    wanted = reference.run(cell.step, params, {"x": x}, {"h": np.zeros((2, 4))}, steps=5, rows=2)
    found = kernel.forward(kernel.pack(params), x)
    assert worst(found.outputs, wanted.outputs) < 1e-13
    output, _ = kernel.step(kernel.pack(params), x[0])
    assert np.max(abs(output - found.output[0])) < 1e-15


def test_repeated_calls_look_at_all_shapes_of_packed_parameters() -> None:
    """The first parameter, [H, I], does not tell P."""
    cell = Cell.parse(CELLS["proj"])
    kernel = pipeline.compile(cell, "numpy", "float64")
    x = np.ones((2, 4))
    narrow, wide = (kernel.pack(kernel.init(I=4, H=3, P=P)) for P in (2, 5))
    for _ in range(4):
        assert kernel.step(narrow, x)[1]["h"].shape == (2, 2)
    for packed, P in ((wide, 5), (narrow, 2), (wide, 5)):
        assert kernel.step(packed, x)[1]["h"].shape == (2, P)
        run = kernel.forward(packed, x[None], training=False)
        assert run.states["h"].shape == (2, P)


# --- the text -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("generated")
    for name, text in CELLS.items():
        (path / f"{name}.py").write_text(text_of(text))
    yield path


def text_of(text: str) -> str:
    (generated,) = pipeline.emit(Cell.parse(text), "numpy").values()
    return generated


@pytest.mark.parametrize(
    "command",
    [
        ["mypy", "--strict", "--config-file="],
        ["ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--config", "line-length=320"],
        ["ruff", "format", "--check", "--config", "line-length=320"],
    ],
    ids=["mypy", "ruff check", "ruff format"],
)
def test_generated_text_is_clean_as_printed(folder: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_generated_text_is_the_same_under_every_hash_seed() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_numpy_target import CELLS, text_of\n"
        "import hashlib\n"
        "text = ''.join(map(text_of, CELLS.values()))\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), str(Path(__file__).parent)]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "12345")
    }  # fmt: skip
    assert len(digests) == 1


def test_generated_text_needs_numpy_alone(folder: Path) -> None:
    code = (
        "import sys, runpy\n"
        "runpy.run_path(sys.argv[1])\n"
        "print([name for name in ('sympy', 'derive', 'jinja2', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "acts.py")],
        capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_a_doc_cannot_end_the_docstring() -> None:
    text = text_of('cell odd\ndoc ends """ here \\N{x} \\\nstate h: H\nh\' = h\noutput h\'\n')
    assert 'ends """ here \\N{x}' in load(text, "numpy/odd.py").__doc__


def test_tracebacks_show_generated_lines() -> None:
    module = load(text_of(CELLS["noinput"]), "numpy/noinput.py")
    try:
        module.step(1, {}, {}, {})
    except KeyError:
        assert 'params["U"]' in traceback.format_exc()
    else:
        pytest.fail("no error")


# --- functions ------------------------------------------------------------------------------


def test_the_tables_cover_the_closed_function_set() -> None:
    assert {*NUMPY, *HELPERS, *COMPARISONS} >= RULES.keys() - {"stop_gradient"}
    assert not NUMPY.keys() & HELPERS.keys()


#: Helpers of one argument; those that are not public are in the gradient of the others.
OF_ONE = [name for name in HELPERS if name in RULES and RULES[name].arity == 1]
PUBLIC = [name for name in OF_ONE if RULES[name].public]
FUNCTIONS = load(
    text_of(
        "cell f\ninput v: H\n"
        + "\n".join(f"y_{name} = {name}(v)" for name in PUBLIC)
        + f"\noutput {', '.join(f'y_{name}' for name in PUBLIC)}"
    ),
    "numpy/f.py",
)


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_helpers_are_accurate_over_the_whole_range(name: str, dtype: Any) -> None:
    from derive.symbolic.evaluate import MPMATH

    parts = np.linspace(-20, 20, 401), np.linspace(-1, 1, 101), [-300, -80, 80, 300]
    grid = np.concatenate(parts)
    v = grid.astype(dtype)
    with np.errstate(all="ignore"):
        found = getattr(FUNCTIONS, name)(v)
    assert found.dtype == dtype
    with mpmath.workdps(40):
        wanted = MPMATH.functions[name](MPMATH.array(v.astype(np.float64)))
    eps = float(np.finfo(dtype).eps)
    for value, exact, at in zip(found, wanted, v, strict=True):
        near_root = name.endswith("_slope") and -1.6 < at < -0.5
        scale = max(abs(exact), 0.25 if near_root else 1e-30)
        assert abs(float(value) - exact) <= 8 * eps * scale, (at, value, exact)


@pytest.mark.parametrize("name", OF_ONE)
def test_helpers_hand_on_nan(name: str) -> None:
    with np.errstate(all="ignore"):
        assert np.isnan(getattr(FUNCTIONS, name)(np.array([np.nan]))).all()


MIN_GRU = load(pipeline.emit(cells.from_spec("min_gru"), "numpy")["numpy/min_gru.py"], "min_gru.py")


@pytest.mark.parametrize("spec", ["min_gru", "min_lstm", "linear"])
def test_a_linear_recurrence_is_one_call_for_all_steps(spec: str) -> None:
    """That the results are right, in the author's order of operations, is tested above and by
    `verify`."""
    text = module_of(spec)
    assert text.count("= scan(") == 2 and "for t in" not in text


def test_the_sum_in_front_of_a_factor_is_not_multiplied_out() -> None:
    """carry + seed may cancel, and then rounding is far less than that of two products."""
    backward = module_of("min_gru").partition("def backward")[2]
    assert "d_h_offset_all = d_h_next_output_all\n" in backward
    assert "scan(d_h_factor_all, d_h_offset_all, d_h_carry, not reverse, True)" in backward


@pytest.mark.parametrize(
    "spec, scans",
    [("lstm", 0), ("indrnn", 1), ("pure_swap", 0), ("wnan", 1), ("two_widths", 0), ("sru", 2),
     ("noparams", 1)],
)  # fmt: skip
def test_a_loop_stays_where_a_scan_would_not_do(spec: str, scans: int) -> None:
    """Products, two states; forward alone a nonlinear step and a branch, whose gradients are
    linear; tanh(c') of SRU is not on the way. In the gradient of `noparams` SymPy would multiply
    0.5 * (carry + seed) out."""
    text = module_of(spec)
    assert (text.count("= scan("), text.count("for t in")) == (scans, 2 - scans)


def module_of(spec: str) -> str:
    cell = Cell.parse(CELLS[spec]) if spec in CELLS else cells.from_spec(spec)
    return pipeline.emit(cell, "numpy")[f"numpy/{cell.name}.py"]


MIN_GRU = load(module_of("min_gru"), "min_gru.py")


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("steps", [1, 9])
def test_scan_is_the_loop_to_the_bit(steps: int, inside: bool, down: bool) -> None:
    random = np.random.default_rng(steps)
    factors, offsets = random.standard_normal((2, steps, 2, 3))
    state = random.standard_normal((2, 3))
    given = [array.copy() for array in (factors, offsets, state)]
    history = MIN_GRU.scan(factors, offsets, state, down, inside)
    assert history.shape == (steps + 1, 2, 3)
    for t in reversed(range(steps)) if down else range(steps):
        assert np.array_equal(history[t + down], state)
        f, o = factors[t], offsets[t]
        state = f * (state + o) if inside else f * state + o
    assert np.array_equal(history[0 if down else steps], state)
    assert np.array_equal(factors, given[0]) and np.array_equal(offsets, given[1])
