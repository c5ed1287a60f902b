"""verify: reports, the derived Program and its mutants, points, and given texts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import derive
from derive import targets
from derive.build import compiler
from derive.derivative import Gradient
from derive.errors import ArgumentError, ToolchainError
from derive.pipeline import differentiate, emit
from derive.program import Layout, Map, Matmul, Sum, check
from derive.symbolic import functions
from derive.targets import Target
from derive.verification import Report, Row, verify, verify_files, verify_program
from derive.verification import mutants as m
from derive.verification.kinks import kinks_of
from derive.verification.points import find, on_kinks, small_sizes
from derive.verification.reference import difference, run, slope
from derive.verification.report import compared, measured, not_run
from derive.verification.sizes import LENGTHS, cases

CELLS = {
    "lstm": """
cell lstm
input x: I
state h: H, c: H
i = sigmoid(W_i @ x + U_i @ h + b_i)
f = sigmoid(W_f @ x + U_f @ h + b_f)
g = tanh(W_g @ x + U_g @ h + b_g)
o = sigmoid(W_o @ x + U_o @ h + b_o)
c' = f * c + i * g
h' = o * tanh(c')
output h'
""",
    "gru": """
cell gru
input x: I
state h: H
z = sigmoid(W_z @ x + U_z @ h + b_z)
r = sigmoid(W_r @ x + U_r @ h + b_r)
n = tanh(W_n @ x + U_n @ (r * h) + b_n)
h' = (1 - z) * n + z * h
output h'
""",
    "janet": """
cell janet
input x: I
state h: H
const beta = 1.0
a = W_f @ x + U_f @ h + b_f
g = tanh(W_g @ x + U_g @ h + b_g)
h' = sigmoid(a) * h + (1 - sigmoid(a - beta)) * g
output h'
""",
    "several_widths": """
cell several_widths
input x: T, m: 1
state h: B, c: K, q: 3
param s: 1
a = relu(W @ x + U @ h + b)
h' = 0.5 * a * s + maximum(V @ c, h)
c' = clip(M @ a, -0.3, 2) + m
q' = floor(3 * mean(h)) + N @ q
output c', h, x
""",
    "branches": """
cell branches
input x: I, m: 1
state h: H
a = W @ x + U @ h
r = log(a)
p = V @ r
h' = where(m > 0.1, p, a) + where(a > 0, sqrt(a), hard_tanh(a))
output h'
""",
    "bare": "cell bare\nstate n: 3\nn' = n + 1\noutput n'\n",
    "no_state": """
cell no_state
input x: I
param W: P x I
y = gelu(W @ x) + softsign(b)
output y
""",
    "no_params": "cell no_params\ninput x: H\nstate h: H\nh' = 0.5 * h + x\noutput h'\n",
    "stopped": """
cell stopped
input x: I
state h: H
h' = tanh(W @ x + stop_gradient(U @ h)) + 0.1 * h
output h'
""",
    "letters": """
cell letters
input t: k, n: 1
state B: T, d_p: T
p = tanh(W @ t + U @ B)
d_p' = p * d_p * n
B' = p + d_p
output p, d_p
""",
}  # fmt: skip


def cell_of(name: str) -> Any:
    return derive.Cell.parse(CELLS[name])


# --- the derived Program ------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_the_derived_gradient_of_every_cell_passes(name: str) -> None:
    report = verify_program(differentiate(cell_of(name)), name=name, quick=name != "gru")
    assert report.ok, report.text()


def wrong(gradient: Gradient, out: str, change: Any) -> Gradient:
    """The gradient with another equation for `out`."""
    program = gradient.program
    equations = tuple(change(e) if e.out == out else e for e in program.equations)
    changed = check(replace(program, equations=equations))
    return replace(gradient, derivative=replace(gradient.derivative, program=changed))


@pytest.mark.parametrize(
    ("out", "change"),
    [
        ("d_n", lambda e: Map(e.out, -e.expr)),
        ("d_h", lambda e: Map(e.out, e.expr * functions.number("1.01"))),
        ("d_z", lambda e: Map(e.out, functions.ZERO)),
        ("d_U_z", lambda e: replace(e, left=e.right, right=e.left)),
        ("d_W_n", lambda e: replace(e, left="d_a_r")),
        ("d_b_n", lambda e: Sum(e.out, "d_a_z")),
        ("d_a_z", lambda e: Map(e.out, e.expr * (1 + functions.number("1e-10")))),
    ],
)
def test_a_wrong_gradient_fails_the_gradient_check(out: str, change: Any) -> None:
    broken = wrong(differentiate(cell_of("gru")), out, change)
    report = verify_program(broken, quick=True)
    assert any(row.check == "gradient" for row in report.failures)


@pytest.mark.parametrize("name", ["lstm", "gru", "janet", "several_widths", "branches"])
def test_every_mutant_is_killed_or_equivalent(name: str) -> None:
    gradient = differentiate(cell_of(name))
    report = verify_program(gradient)
    (row,) = (row for row in report.rows if row.check == "mutants")
    assert row.ok, row
    assert int(row.where.split()[0]) > 50


def test_mutants_are_of_every_kind_and_none_equals_the_original() -> None:
    gradient = differentiate(cell_of("lstm"))
    mutants = list(m.mutants_of(gradient))
    kinds = {mutant.label.split()[0] for mutant in mutants}
    assert kinds == {"negate", "percent", "drop", "swap", "array", "layout"}
    for mutant in mutants:
        built = m.build(gradient, mutant)
        assert built is None or built.program != gradient.program


def test_an_equivalent_mutant_is_told_from_a_survivor() -> None:
    gradient = differentiate(cell_of("gru"))
    truth = _truth(gradient)
    same = wrong(gradient, "d_h", lambda e: Map(e.out, e.expr * 1 + 0))
    renamed = wrong(gradient, "d_W_n", lambda e: Matmul(e.out, e.left, "x", Layout.OUTER))
    other = wrong(gradient, "d_h", lambda e: Map(e.out, e.expr * functions.number("1.000001")))
    assert m.is_equivalent(gradient, same, truth, 0)
    assert m.is_equivalent(gradient, renamed, truth, 0)
    assert not m.is_equivalent(gradient, other, truth, 0)


def test_mutants_of_what_cancels_are_equivalent_and_those_beside_it_are_not() -> None:
    """softmax takes no notice of a shift, so the gradient of the mean is 0 but for rounding."""
    cell = derive.Cell.parse(
        "cell shifted\ninput x: P\nstate h: P\ny = W @ x + h\nz = exp(y - mean(y))\n"
        "h' = z / sum(z)\noutput h'\n"
    )
    gradient = differentiate(cell)
    report = verify_program(gradient, name="shifted")
    assert report.ok, report.failures
    found = small_sizes(cell.step)
    truth = find(cell.step, kinks_of(cell.step.program), found, 2, 2, seed=(0,))
    equations = {e.out: (k, e) for k, e in enumerate(gradient.program.equations)}
    fates = {}
    for name in ("d_mean_y", "d_a_z"):
        k, equation = equations[name]
        labelled = [mu for mu in m.mutants_of(gradient) if mu.label == f"percent {name}"]
        assert labelled and equation.out == name and labelled[0].at == k
        damaged = m.build(gradient, labelled[0])
        assert damaged is not None
        with np.errstate(all="ignore"):
            fates[name] = m.is_equivalent(gradient, damaged, truth, 0)
    assert fates == {"d_mean_y": True, "d_a_z": False}


def test_a_mutant_that_survives_fails_the_report() -> None:
    mutant = next(m.mutants_of(differentiate(cell_of("gru"))))
    (row,) = m.check_mutants([m.Outcome(mutant, m.Fate.SURVIVED)])
    assert row.ok is False and mutant.label in row.bound


def _truth(gradient: Gradient) -> Any:
    from derive.verification.through_time import backward_of
    from derive.verification.truth import establish

    found = find(gradient.step, (), small_sizes(gradient.step), 2, 2, seed=(0, 1))
    return establish(found, backward_of(gradient), (0, 2))


# --- the reference --------------------------------------------------------------------------------


def test_the_reference_agrees_with_a_loop_written_by_hand() -> None:
    step = cell_of("janet").step
    lengths = np.array([3, 0, 2])
    point = find(step, (), {"I": 2, "H": 4}, 3, 3, seed=(3, 1), lengths=lengths, reverse=True).point
    p, result = point.params, run(step, point)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    for n, length in enumerate(lengths):
        h = point.states["h"][n]
        for t in reversed(range(length)):
            x = point.inputs["x"][t, n]
            a = p["W_f"] @ x + p["U_f"] @ h + p["b_f"]
            g = np.tanh(p["W_g"] @ x + p["U_g"] @ h + p["b_g"])
            h = sigmoid(a) * h + (1 - sigmoid(a - 1.0)) * g
            assert np.allclose(result.outputs["h_next"][t, n], h, rtol=1e-14)
        assert np.allclose(result.states["h"][n], h, rtol=1e-14)
        assert not result.outputs["h_next"][length:, n].any()


def test_complex_step_and_differences_agree() -> None:
    step = cell_of("lstm").step
    point = find(step, (), small_sizes(step), 3, 2, seed=(0, 1)).point
    along = {"W_i": np.ones_like(point.params["W_i"]), "c": np.ones_like(point.states["c"])}
    exact = slope(step, point, along).sum()
    assert difference(step, point, along) == pytest.approx(exact, rel=1e-10)


def test_points_keep_off_kinks_and_their_numbers_are_float32() -> None:
    step = cell_of("several_widths").step
    kinks = kinks_of(step.program)
    assert {kink.function for kink in kinks} == {"relu", "maximum", "clip", "floor"}
    found = find(step, kinks, small_sizes(step), 3, 2, seed=(0, 1))
    assert found.finite and found.close.clearance > 1e-6 and not found.close.exact
    for array in found.point.given().values():
        assert np.array_equal(array, array.astype(np.float32))


def test_points_on_kinks_are_exactly_there() -> None:
    step = cell_of("several_widths").step
    found = on_kinks(step, kinks_of(step.program), 0)
    assert found and all(f.close.exact and not f.close.unsure for f in found)


def test_a_cell_that_is_never_finite_fails_and_says_so() -> None:
    cell = derive.Cell.parse("cell bad\ninput x: 2\nh = log(-1 - x * x)\noutput h\n")
    report = verify_program(differentiate(cell), quick=True)
    assert not report.ok and report.failures[0].check == "points"


def test_sizes_take_every_length_in_every_dimension() -> None:
    step = cell_of("several_widths").step
    drawn = cases(step, 0, quick=False)
    for dim in step.program.dims():
        assert sorted(case.sizes[dim] for case in drawn) == list(LENGTHS)
    assert sorted(case.rows for case in drawn) == list(LENGTHS)
    assert any(case.lengths is not None for case in drawn)
    assert any(case.reverse for case in drawn)
    assert max(case.steps for case in drawn) >= 64


# --- kernels and texts -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_numpy_kernels_of_every_cell_pass(name: str) -> None:
    report = verify(cell_of(name), targets=("numpy",), quick=True)
    assert report.ok, report.text()


def test_given_texts_are_verified_and_an_edit_by_hand_is_seen() -> None:
    cell = cell_of("gru")
    files = emit(cell, "numpy")
    assert verify_files(cell, files, quick=True).ok
    ((path, text),) = files.items()
    changed = text.replace('"W_z": d_W_z', '"W_z": 1.01 * d_W_z')
    assert changed != text
    edited = verify_files(cell, {path: changed}, quick=True)
    assert any(row.check == "gradient" and "W_z" in row.where for row in edited.failures)


@pytest.mark.parametrize("text", ["def forward(:", "import no_such_module", "x = 1"])
def test_a_text_that_does_not_even_load_is_a_failed_row(text: str) -> None:
    report = verify_files(cell_of("gru"), {"numpy/gru.py": text}, quick=True)
    assert {row.check for row in report.failures} == {"build"} and not report.ok


def test_without_a_compiler_the_report_is_not_ok_and_says_what_was_not_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> None:
        raise ToolchainError("no C compiler was found")

    monkeypatch.setattr(compiler, "find_compiler", none)
    report = verify(cell_of("no_params"), quick=True)
    assert not report.ok and not report.failed and not report.not_run
    assert [row.where for row in report.not_built] == ["c float32", "c float64"]
    assert "checks passed, NOT BUILT: c float32, c float64" in report.text()
    assert "no C compiler was found" in report.text()
    assert verify(cell_of("no_params"), targets=("numpy",), quick=True).ok
    alone = verify(cell_of("no_params"), targets=("c",), quick=True)
    assert not alone.ok and not alone.failed


NUMPY, C = (emit(cell_of("gru"), target) for target in ("numpy", "c"))
OTHER = emit(cell_of("no_params"), "c")
NOT_ITS_FILES = {
    "nothing": {},
    "an unknown suffix": {"rust/gru.rs": "fn main() {}"},
    "an unknown suffix beside good files": {**NUMPY, "rust/gru.rs": "fn main() {}"},
    "no suffix": {**NUMPY, "gru": ""},
    "a header alone": {"c/gru.h": C["c/gru.h"]},
    "the shared header alone, beside NumPy": {**NUMPY, "c/derive_kernels.h": ""},
    "two modules": {**NUMPY, "other/gru.py": NUMPY["numpy/gru.py"]},
    "two sources": {**C, "other/gru.c": C["c/gru.c"]},
    "another cell's module": {"numpy/no_params.py": NUMPY["numpy/gru.py"]},
    "another cell's module too": {**NUMPY, "numpy/no_params.py": ""},
    "another cell's source": OTHER,
    "another cell's source too": {**C, **OTHER},
    "another cell's header too": {**C, "c/no_params.h": OTHER["c/no_params.h"]},
}


@pytest.mark.parametrize("which", NOT_ITS_FILES)
def test_files_that_are_not_those_of_one_kernel_are_failed_rows(which: str) -> None:
    report = verify_files(cell_of("gru"), NOT_ITS_FILES[which], quick=True, dtypes=("float64",))
    assert report.failed and {row.check for row in report.failures} == {"build"}


def rust(cell: derive.Cell, schedule: object) -> dict[str, str]:
    return {f"rust/{cell.name}.rs": "//"}


def no_kernel(*_: object) -> Any:
    raise KeyError("there is no Rust compiler")


RUST = Target("rust", "Rust", "the generated Rust", {".rs": "Rust"}, rust, no_kernel)


def test_a_target_that_makes_no_kernel_fails() -> None:
    with targets.added(RUST):
        report = verify(cell_of("no_params"), targets=("numpy", "rust"), quick=True)
    assert {row.where for row in report.failures} == {"rust float32", "rust float64"}
    assert not report.ok
    with targets.added(replace(RUST, emit=lambda cell, schedule: {})):
        report = verify(cell_of("no_params"), targets=("rust",), quick=True)
    assert [row.where for row in report.failures] == ["rust"]


@pytest.mark.parametrize(
    "options",
    [
        {"targets": ()},
        {"targets": ("rust",)},
        {"dtypes": ()},
        {"dtypes": ("float16",)},
        {"kernels": ()},
    ],
)
def test_what_asks_for_no_kernel_is_refused(options: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ArgumentError):
        verify(cell_of("no_params"), quick=True, **options)


def test_a_bare_name_stands_for_the_only_target() -> None:
    report = verify(cell_of("no_params"), targets="numpy", dtypes="float64", quick=True)
    assert report.ok and {row.where for row in report.rows if row.check == "empty"} >= {
        "numpy float64: T=0 B=0"
    }


def test_one_seed_gives_one_report_and_another_seed_another() -> None:
    first, again, other = (
        verify(cell_of("no_params"), targets=("numpy",), quick=True, seed=s) for s in (4, 4, 5)
    )
    assert first == again
    assert first.rows != other.rows


def test_progress_is_told() -> None:
    seen: list[tuple[str, int, int]] = []
    verify(
        cell_of("no_params"), targets=("numpy",), quick=True,
        progress=lambda what, done, total: seen.append((what, done, total)),
    )  # fmt: skip
    assert [done for _, done, _ in seen] == list(range(len(seen)))
    assert all(total == len(seen) for _, _, total in seen)


# --- reports ------------------------------------------------------------------------------------


def test_a_report_is_a_table_and_plain_data() -> None:
    rows = (
        measured("gradient", "numpy: W", 1e-15, 1e-11, "4 u"),
        measured("gradient", "numpy: U", 2e-12, 1e-11, "4 u"),
        measured("gradient", "c: W", float("nan"), 1e-11, "4 u"),
        not_run("build", "c float32", "no C compiler"),
    )
    report = Report("gru", 7, rows, ("a note",))
    assert not report.ok and report.failures == rows[2:3] and report.not_built == rows[3:]
    assert report.text() == (
        "check     where      observed  allowed\n"
        "gradient  numpy: U    2.0e-12  1.0e-11  ok\n"
        "gradient  c: W            nan  1.0e-11  FAILED\n"
        "build     c float32         -        -  NOT BUILT\n"
        "\n"
        "where the bounds come from\n"
        "  gradient: 4 u\n"
        "  build: no C compiler\n"
        "\n"
        "note: a note\n"
        "\n"
        "gru: 1 of 3 checks FAILED, NOT BUILT: c float32 (seed 7)"
    )
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert data["rows"][2]["observed"] == "nan" and data["ok"] is False


def test_a_report_in_which_nothing_ran_is_not_ok() -> None:
    assert not Report("gru", 0, (not_run("build", "c", "no compiler"),)).ok
    assert not Report("gru", 0, ()).ok


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_fail_whatever_is_allowed(bad: float) -> None:
    row = compared("c", "w", np.array([1.0, bad]), np.ones(2), np.array([1.0, np.nan]), 1.0, "")
    assert row.ok is False
    assert measured("c", "w", 0.0, np.inf, "").ok is False


def test_a_result_of_another_shape_fails() -> None:
    row = compared("c", "w", np.ones((2, 1)), np.ones(2), np.ones(2), 1.0, "")
    assert row == Row("c", "w", np.inf, 0.0, False, "shape (2, 1), not (2,)")


def test_a_target_that_fails_is_a_row_and_the_other_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(cell: derive.Cell, schedule: object) -> dict[str, str]:
        raise KeyError("d_o")

    monkeypatch.setitem(targets._TABLE, "c", replace(targets.row("c"), emit=broken))
    cell = derive.Cell.parse("cell small\ninput x: H\nstate h: H\nh' = tanh(h + x)\noutput h'")
    report = verify(cell, quick=True)
    (failure,) = report.failures
    assert (failure.check, failure.where) == ("build", "c")
    assert "the c target failed" in failure.bound
    assert any(row.check == "forward" and row.where.startswith("numpy") for row in report.rows)


#: What is reduced is a parameter: a number of the whole cell, not of a row.
REDUCED = {
    "softmax": "param u: H\np = exp(u) / sum(exp(u))\nh' = tanh(h * p + W @ x)",
    "norm": "param v: H, g: 1\nh' = tanh(g * v / sqrt(sum(v * v)) * h + W @ x)",
    "layer_norm": "param u: H\nh' = tanh(h * layer_norm(u) + W @ x)",
    "of a product": "param A: H x P, u: P\nh' = tanh(h * sum(A @ u) + mean(u) * (W @ x))",
}


@pytest.mark.parametrize("name", REDUCED)
def test_cells_that_reduce_a_parameter_pass_every_check(name: str) -> None:
    text = f"cell reduced\ninput x: I\nstate h: H\n{REDUCED[name]}\noutput h'"
    report = verify(derive.Cell.parse(text), targets=("numpy",))
    assert report.ok, report
    assert {"ulp", "second derivative"} <= {row.check for row in report.rows}
