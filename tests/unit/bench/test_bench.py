"""derive.bench: the machinery. No test looks at a time; absent peers are skipped."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive.bench import agree
from derive.bench.bound import bound
from derive.bench.contest import contest, rated
from derive.bench.host import Local
from derive.bench.peers import PEERS, peer
from derive.bench.peers.closed import known
from derive.bench.record import SCHEMA, Record, Report
from derive.bench.shapes import DEFAULT, OF_AXES, QUICK, Shape, shapes_of
from derive.bench.table import markdown, seconds_text, tables
from derive.bench.task import MODES, Contestant, Task, task_of
from derive.bench.worker import environment
from derive.cli.main import status
from derive.cli.select import cell_of
from derive.emit.python import names
from derive.emit.python.loop import Style, loop_text
from derive.errors import ArgumentError
from derive.kernel.tune import clock
from derive.machine.probe import Machine
from derive.pipeline import schedule
from derive.symbolic.functions import RULES

SHAPE = Shape(5, 3, 7, 13)

#: Every function and kind of equation that a loop has to print.
STRANGE = """
cell strange
input x, y: 1
state h: H, m: 1
q = U @ h
a = where(q < 0.3, stop_gradient(q) * (W @ x), 0.5)
r = softplus(V @ (U.T @ h)) + gelu(a) + maximum(a, 0.2) + clip(q, -0.5, 0.5)**3
s = sum(r * h)
m' = 0.5 * m + tanh(s / 10) * y
h' = tanh(r * w + m * b) + relu(h) ** 2 / 9
output h', m, q
"""
UNCHANGED = """
cell unchanged
input x
state h: H, c: H
h' = tanh(W @ x + U @ h)
c' = c
output h', x
"""

#: Every kind of product and reduction along axes that a loop has to print.
AXES = """
cell axes
input x, y: N x D
state S: N x D x K, h: N x D, c: K
param W: N x D x I, R: N x D x D, V: H x K, a: N, P: K x H
k = softmax(V.T @ tanh(V @ c) + (P / norm(P)) @ (V @ c))
u = max(S, K) + cumsum(h) * a + logsumexp(y)
S' = sigmoid(a) * S + outer(tanh(W @ x) * u, k)
h' = tanh(R @ h + S' @ k)
c' = sum(sum(S', N), D) / 9
output h', k
"""
AXES_SHAPE = Shape(5, 3, 7, 4, (("N", 2), ("K", 5)))

MACHINE = Machine(
    threads=1,
    peak={"float32": 1e11, "float64": 5e10},
    activations={"float32": 1e9, "float64": 5e8},
    bandwidth=((1 << 15, 2e11), (1 << 20, 1e11), (1 << 27, 2e10)),
)


def task(spec: str, shape: Shape = SHAPE) -> Task:
    cell = derive.Cell.parse(spec) if "\n" in spec else cell_of(spec)
    return task_of(cell, shape, 1)


# --- peers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted({*PEERS} - {"derive_c", "derive_thin"}))
@pytest.mark.parametrize(
    "spec",
    ["rnn", "lstm", "lstm:peephole=true", "gru", "gru:reset=before", "janet", "mgu", "min_gru",
     "lstm:layer_norm=supercell", STRANGE, UNCHANGED],
)  # fmt: skip
def test_peers_agree(module: str, spec: str) -> None:
    found = peer(module)
    if why := found.missing():
        pytest.skip(f"{found.NAME}: {why}")
    work = task(spec)
    exact, limits = agree.allowed(work)
    with np.errstate(all="ignore"):
        for one in found.enter(work):
            assert one.ours == module.startswith("derive_")  # else it is its own fastest peer
            if one.dtype in agree.THIN:
                limits = agree.allowed_of_thin(work, exact, one.dtype)
            for mode in MODES:
                if function := one.mode(mode):
                    function()  # twice: nothing may pile up from call to call
                    results = one.read(function())
                    assert agree.worst(results, exact, limits)[0] <= 1
                    if mode == "train":
                        assert results.keys() == exact.keys()


@pytest.mark.parametrize(
    "module", ["derive_numpy", "numpy_loop", "torch_loop", "jax_scan", "derive_jax", "onnx_scan"]
)
def test_peers_agree_on_arrays_with_axes(module: str) -> None:
    found = peer(module)
    if why := found.missing():
        pytest.skip(f"{found.NAME}: {why}")
    work = task(AXES, AXES_SHAPE)
    exact, limits = agree.allowed(work)
    for one in found.enter(work):
        results = one.read(one.train() if one.train else one.infer())
        assert agree.worst(results, exact, limits)[0] <= 1
        assert results.keys() == exact.keys() or module == "onnx_scan"


def test_the_loop_of_pytorch_is_in_a_module_that_torch_compile_can_import() -> None:
    pytest.importorskip("torch")
    from derive.bench.peers.torch_loop import _function

    first, second = (_function("def run(arrays):\n    return arrays\n") for _ in range(2))
    for loop in (first, second):
        module = importlib.import_module(loop.__globals__["__name__"])
        assert vars(module) is loop.__globals__
    assert first.__globals__ is not second.__globals__


def test_derive_c_agrees_in_both_precisions() -> None:
    found = peer("derive_c")
    if why := found.missing():
        pytest.skip(why)
    work = task("janet")
    exact, limits = agree.allowed(work)
    contestants = found.enter(work)
    assert [one.dtype for one in contestants] == ["float32", "float32", "float64"]
    for one in contestants:
        assert one.train is not None
        results = one.read(one.train())
        assert agree.worst(results, exact, limits)[0] <= 1


def test_thin_weights_agree_within_their_rounding() -> None:
    found = peer("derive_thin")
    if why := found.missing():
        pytest.skip(why)
    work = task("rnn")
    exact, limits = agree.allowed(work)
    contestants = found.enter(work)
    assert [one.dtype for one in contestants] == ["bfloat16", "int8"]
    wrong = {name: array[:, ::-1] for name, array in exact.items() if name.startswith("output")}
    records, need = contest("rnn", work, [Local([found])], clock.QUICK)
    assert [(r.contestant, r.mode, r.agrees) for r in records] == [
        ("derive C, bfloat16", "infer", True), ("derive C, int8", "infer", True),
    ]  # fmt: skip
    rates = [rated(record, need, MACHINE) for record in records]
    limits_of_time = [rate.bound for rate in rates if rate.of_bound and rate.of_peak]
    assert len(limits_of_time) == 2 and min(limits_of_time, default=0) > 0
    for one in contestants:
        assert one.train is None and one.infer is not None
        results, mine = one.read(one.infer()), agree.allowed_of_thin(work, exact, one.dtype)
        assert agree.worst(results, exact, mine)[0] <= 1
        assert agree.worst(results, exact, limits)[0] > 1
        assert agree.worst(wrong, exact, mine)[0] > 1  # rows that took each other's place


@pytest.mark.parametrize(
    "spec", ["min_gru", "lstm:layer_norm=supercell", "lstm:projection=true", "phased_lstm",
             "nas", STRANGE, UNCHANGED],
)  # fmt: skip
def test_numpy_loop_of_any_cell_is_right(spec: str) -> None:
    work = task(spec)
    kernel = derive.compile(work.cell, target="numpy", dtype="float64")
    wide = work.as_dtype("float64")
    run = kernel.forward(wide.params, wide.inputs, wide.states)
    gradients = kernel.backward(run, wide.d_outputs)
    exact, _ = agree.allowed(work)
    for kind, group in (
        ("output", run.outputs), ("d_param", gradients.params),
        ("d_input", gradients.inputs), ("d_state", gradients.states),
    ):  # fmt: skip
        for name, array in group.items():
            assert np.allclose(array, exact[f"{kind} {name}"], rtol=1e-9, atol=1e-11), name


def test_closed_lists_know_cells_by_content() -> None:
    found = known(derive.cells.lstm())
    assert found is not None
    assert (found.kind, found.input) == ("lstm", ("W_i", "W_f", "W_g", "W_o"))
    assert known(derive.cells.janet()) is None
    assert known(derive.cells.lstm(forget_bias=1.0)) is None


def test_missing_onednn_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERIVE_ONEDNN", str(tmp_path / "libdnnl.so"))
    assert "is no oneDNN" in (peer("onednn").missing() or "")


# --- loops ----------------------------------------------------------------------------------


def test_functions_have_meanings_in_every_library() -> None:
    named = {*names.FUNCTIONS, *names.COMPARISONS}
    assert named == {*RULES, "sqrt", "square"}
    assert names.FUNCTIONS.keys() <= names.meanings(np, erf=None, clip=None).keys()


def test_loop_stacks_products_and_hoists_the_input() -> None:
    work = task("lstm")
    plans = schedule(work.cell)
    text = loop_text(plans.forward, Style.FILL, work.sizes, 5, 3, results=plans.split.outputs)
    before, _, step = text.partition("for t in range(5):")
    assert before.count("product(") == 1
    assert step.count("product(") == 1


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("r = sigmoid(W_r @ x + U_r @ h + b_r)\nh' = r * tanh(W @ x + U @ h + b)", "Gemm"),
        # One product with two different sums: they stay in the step.
        ("q = U @ h\nh' = tanh(W @ x + q + b) * sigmoid(V @ x + q)", "MatMul"),
        ("h' = tanh(U @ h) + x * 0.5", "MatMul"),
    ],
)
def test_sums_known_before_are_the_third_operand_of_gemm(text: str, body: str) -> None:
    found = peer("onnx_scan")
    if why := found.missing():
        pytest.skip(why)
    from derive.bench.peers.onnx_scan import model_of

    work = task(f"cell one\ninput x: H\nstate h: H\n{text}\noutput h'")
    (scan,) = (n for n in model_of(work).graph.node if n.op_type == "Scan")
    inside = [node.op_type for node in scan.attribute[0].g.node]
    assert inside.count(body) == 1 and {"Gemm", "MatMul"} & {*inside} == {body}
    assert ("Add" in inside) == (body == "MatMul")
    exact, limits = agree.allowed(work)
    (one,) = found.enter(work)
    assert one.infer is not None
    assert agree.worst(one.read(one.infer()), exact, limits)[0] <= 1


# --- right or wrong -------------------------------------------------------------------------


def test_a_wrong_contestant_gets_no_time() -> None:
    class Wrong:
        NAME = "wrong"

        def missing(self) -> None:
            return None

        def enter(self, work: Task) -> list[Contestant]:
            (right,) = peer("numpy_loop").enter(work)

            def read(result: Any) -> dict[str, Any]:
                found = right.read(result)
                if "d_param U_f" in found:
                    found["d_param U_f"] = found["d_param U_f"] * 1.001
                return found

            return [Contestant("wrong", right.infer, right.train, read)]

    records, _ = contest(
        "janet", task("janet"), [Local([Wrong(), peer("numpy_loop")])], clock.QUICK
    )
    assert [(r.contestant, r.mode, r.agrees) for r in records] == [
        ("wrong", "infer", True), ("NumPy loop", "infer", True),
        ("wrong", "train", False), ("NumPy loop", "train", True),
    ]  # fmt: skip
    wrong = records[2]
    assert (wrong.seconds, wrong.where) == (None, "d_param U_f")
    assert "wrong wrong: " in tables(Report(tuple(records), (), {}, {}, (None, None), 1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_wrong(value: float) -> None:
    exact = {"output h": np.ones((2, 2))}
    assert agree.worst({"output h": np.full((2, 2), value)}, exact, {"output h": 1.0})[0] == np.inf


def test_another_shape_is_wrong() -> None:
    exact = {"output h": np.ones((2, 2))}
    assert agree.worst({"output h": np.ones(2)}, exact, {"output h": 1.0})[0] == np.inf


# --- numbers --------------------------------------------------------------------------------


def test_bound_of_lstm_is_that_of_its_products() -> None:
    work = task("lstm", Shape(100, 32, 128, 128))
    found = bound(work)
    assert found.operations("infer") == 2 * 100 * 32 * 4 * 128 * 256
    assert found.operations("train") == 3 * found.operations("infer")
    machine = Machine(1, {"float32": 1e11}, {"float32": 1e30}, ((1 << 30, 1e30),))
    assert found.seconds("infer", machine, "float32") == pytest.approx(838_860_800 / 1e11)


def test_bound_of_one_row_is_that_of_reading_its_weights() -> None:
    found = bound(task("lstm", Shape(100, 1, 128, 128)))
    machine = Machine(1, {"float32": 1e30}, {"float32": 1e30}, ((1 << 30, 1e9),))
    matrix = 4 * 128 * 128 * 4
    assert found.seconds("infer", machine, "float32") == pytest.approx((100 + 1) * matrix / 1e9)


def test_bound_of_a_matrix_memory_reads_and_writes_it_in_every_step() -> None:
    text = "cell m\ninput k: K\nstate S: D x K\nS' = S / 2 + outer(S @ k, k)\noutput S'\n"
    shape = Shape(10, 3, 1, 64)
    found = bound(task(text, shape))
    assert found.operations("infer") == 2 * 10 * 3 * 64 * 64
    machine = Machine(1, {"float32": 1e30}, {"float32": 1e30}, ((1 << 30, 1e9),))
    moved = 2 * 3 * 64 * 64 * 4
    assert found.seconds("infer", machine, "float32") == pytest.approx(10 * moved / 1e9)


def test_a_share_of_the_bytes_is_read_from_the_cache_that_holds_it() -> None:
    two = Machine(2, {}, {}, MACHINE.bandwidth)
    assert MACHINE.reading(1 << 21) == 2e10
    assert two.reading(1 << 21) == 1e11


def test_the_best_rates_of_several_probes_count() -> None:
    slow = Machine(
        1, {"float32": 1e9, "float64": 6e10}, {"float32": 2e9, "float64": 1e8},
        tuple((size, 3e10) for size, _ in MACHINE.bandwidth),
    )  # fmt: skip
    best = MACHINE.best(slow)
    assert best.peak == {"float32": 1e11, "float64": 6e10}
    assert best.activations == {"float32": 2e9, "float64": 5e8}
    assert best.bandwidth == ((1 << 15, 2e11), (1 << 20, 1e11), (1 << 27, 3e10))


def test_contestants_take_turns_in_both_orders() -> None:
    calls: list[str] = []

    def turn(name: str, seconds: float) -> tuple[float, float]:
        calls.append(name)
        return seconds, 2 * seconds

    effort = clock.Effort(seconds=0, least=2, most=2)
    times = clock.interleaved([lambda: turn("a", 1.0), lambda: turn("b", 3.0)], effort)
    assert [(one.rounds, one.median, one.processors) for one in times] == [(2, 1, 2), (2, 3, 2)]
    assert calls == ["a", "b", "b", "a"]


def test_times_are_in_readable_units() -> None:
    assert [seconds_text(v) for v in (None, 2.5, 0.00125, 3e-6, 5e-10)] == [
        "-", "2.5 s", "1.25 ms", "3 us", "0 ns",
    ]  # fmt: skip


def test_tables_are_markdown() -> None:
    assert markdown(("a", "b"), [("x", "10")]) == "| a |  b |\n| - | -: |\n| x | 10 |"


# --- the command ----------------------------------------------------------------------------


def test_shapes_are_read() -> None:
    assert shapes_of(["1,2,3,4"], False) == (Shape(1, 2, 3, 4),)
    assert shapes_of([], False) == DEFAULT
    assert shapes_of([], True) == QUICK
    assert shapes_of([], False, axes=True) == OF_AXES
    (named,) = shapes_of(["1,2,3,4,N=5"], False)
    assert str(named) == "1,2,3,4,N=5"
    assert [named.width(dim) for dim in "IHNK"] == [3, 4, 5, 4]
    with pytest.raises(ArgumentError, match=r"a shape is T,B,I,H, not '1,2'"):
        shapes_of(["1,2"], False)
    with pytest.raises(ArgumentError, match="must be positive integers with commas, not '0,1,1,1'"):
        shapes_of(["0,1,1,1"], False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuchcell"], "no cell is called 'nosuchcell'"),
        (["--peers", "matlab"], "unknown peer 'matlab'"),
        (["--modes", "both"], "unknown mode 'both'"),
        (["--threads", "0"], "threads must be positive integers"),
    ],
)
def test_slips_are_said_before_anything_is_measured(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_plot_without_matplotlib_is_said_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("derive.bench.plot.find_spec", lambda name: None)
    assert status(["bench", "--quick", "--plot", "x.png"]) == 2
    assert "--plot needs matplotlib" in capsys.readouterr().err


def test_json_has_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    code = status(
        ["bench", "janet", "--quick", "--shapes", "3,2,4,5", "--json",
         "--peers", "derive_numpy,numpy_loop"]
    )  # fmt: skip
    assert code == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == SCHEMA
    assert data.keys() == {
        "schema", "machines", "absent", "versions", "load", "seconds", "records"
    }  # fmt: skip
    assert {(r["contestant"], r["mode"]) for r in data["records"]} == {
        (name, mode)
        for name in ("derive NumPy", "derive NumPy, packed", "NumPy loop")
        for mode in MODES
    }
    for record in data["records"]:
        assert record.keys() == set(Record.__dataclass_fields__)
        assert record["agrees"] and record["seconds"] > 0 and record["bound"] > 0
    (machine,) = data["machines"]
    assert machine["peak"].keys() == machine["activations"].keys() == {"float32", "float64"}


def test_environment_is_left_as_it_was() -> None:
    from derive.bench.worker import _set

    before = dict(os.environ)
    with _set(environment(2) | {"PATH": "elsewhere"}):
        assert os.environ["OMP_NUM_THREADS"] in {"2", before.get("OMP_NUM_THREADS")}
        assert os.environ["PATH"] == before["PATH"]
    assert dict(os.environ) == before


@pytest.fixture
def report() -> Iterator[Report]:
    records, need = contest("janet", task("janet"), [Local([peer("numpy_loop")])], clock.QUICK)
    records = [rated(record, need, MACHINE) for record in records]
    yield Report(tuple(records), (), {"JAX scan": "jax is not installed"}, {}, (0.5, 1.0), 2.0)


def test_tables_say_who_is_absent_and_how_busy_the_machine_was(report: Report) -> None:
    text = tables(report)
    assert "Took no part: JAX scan (jax is not installed)." in text
    assert "Load average 0.5 before and 1.0 after" in text
    assert "### janet  T,B,I,H = 5,3,7,13  train  1 thread" in text


def test_plot_is_written(report: Report, tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    from derive.bench.plot import plot

    plot(report, str(tmp_path / "bench.png"))
    assert (tmp_path / "bench.png").stat().st_size > 1000
