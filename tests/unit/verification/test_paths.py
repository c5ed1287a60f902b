"""verify reaches every way through a kernel: sizes, options, fences, and edits under conditions."""

from __future__ import annotations

import shutil
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from edited_texts import EDITS, Edit
from reached import unreached
from strange_cells import CELLS as STRANGE

import derive
from derive.emit.c.shared_header import render_header
from derive.emit.limits import LIMITS, limit, low_defines
from derive.kernel import Kernel
from derive.pipeline import differentiate, emit, signature
from derive.verification import verify_files
from derive.verification.covering import covering
from derive.verification.expected import LENGTHS, Maker
from derive.verification.fences import Fence, FencedC, PoisonedNumpy
from derive.verification.kinks import kinks_of
from derive.verification.paths import TEAMS, Paths, Way, Ways
from derive.verification.places import MOST_NUMBERS, Place, numbers_at, places
from derive.verification.reference import run
from derive.verification.spread import MARGIN
from derive.verification.through_time import backpropagate, backward_of

JANET = derive.cells.janet()
#: Cells whose texts differ most: a loop with products, one without, and arrays without inputs.
REACHED = ("min_gru", "janet", "gru", "strange:alone")
WITH_GCOV = pytest.mark.skipif(shutil.which("gcov") is None, reason="gcov comes with gcc")

# --- edits by hand ------------------------------------------------------------------------------

#: One of each kind; the others are looked at with -m slow.
SAMPLE = {"d_states left out, lengths", "one element past the workspace", "team of 3, reverse"}


def edits() -> list[Any]:
    def marks(edit: Edit) -> Any:
        return () if edit.label in SAMPLE else pytest.mark.slow

    return [pytest.param(e, id=f"{e.target}: {e.label}", marks=marks(e)) for e in EDITS]


@pytest.mark.parametrize("edit", edits())
def test_an_edit_that_acts_under_one_condition_alone_is_seen(edit: Edit) -> None:
    dtypes = ("float32",) if "float32" in edit.label else ("float64",)
    report = verify_files(JANET, edit.of(emit(JANET, edit.target)), dtypes=dtypes)
    assert not report.ok
    assert {row.check for row in report.failures} & {"paths", "overrun", "caller"}


# --- paths at one place -------------------------------------------------------------------------


def rows_at(
    place: Place, dtype: str, *, change: tuple[str, str] | None = None, target: str = "c",
    low: bool = True, refused: bool = False,
) -> list[Any]:  # fmt: skip
    """The rows of one kernel of janet at one place; change: of the texts; refused: those of calls
    that must be."""
    files, own = emit(JANET, target), signature(JANET)
    if change is not None:
        assert any(change[0] in text for text in files.values())
        files = {path: text.replace(*change) for path, text in files.items()}
    ways = []
    if target == "c":
        for team in TEAMS:
            fenced = FencedC(files, own, dtype, team, low_defines() if low else ())
            ways.append(Way(Kernel(own, fenced, dtype), fenced, team, low))
    else:
        poisoned = PoisonedNumpy(files, own)
        ways.append(Way(Kernel(own, poisoned, dtype), poisoned, 1, low))
    maker = Maker(backward_of(differentiate(JANET)), kinks_of(JANET.step.program), 0)
    expected = maker.make(place.sizes, place.steps, place.rows).by
    paths = Paths(Ways("here", dtype, tuple(ways)), JANET.step, JANET.output_keys, place, low)
    return paths.refused(expected) if refused else paths.rows(expected)


HERE = Place({"I": 3, "H": 4}, 5, 3, 2)


@pytest.mark.parametrize("rows", [3, 9])
def test_what_is_expected_with_lengths_and_the_other_way_round_is_what_the_reference_gives(
    rows: int,
) -> None:
    cell = derive.cells.lstm()
    backward = backward_of(differentiate(cell))
    maker = Maker(backward, kinks_of(cell.step.program), 3)
    expected = maker.make({"I": 3, "H": 4}, 5, rows)
    assert set(expected.by) == set(product(LENGTHS, (False, True)))
    for (lengths, reverse), one in expected.by.items():
        point = one.point
        assert point.rows == rows and point.reverse is reverse
        assert (point.lengths is None) is (lengths == "none")
        result = run(cell.step, point)
        gradient = backpropagate(backward, point, result)
        found = {f"output {name}": array for name, array in result.outputs.items()}
        if lengths == "zero":
            found = {f"output {n}": np.zeros(a.shape) for n, a in point.d_outputs.items()}
        found |= {f"state {name}": array for name, array in result.states.items()}
        for wanted, got in ((one.forward, found), (one.gradient["both"], gradient)):
            flat = np.concatenate([np.ravel(got[name]) for name in wanted.names])
            assert (abs(flat - wanted.wanted) <= 2.0**-50 * wanted.element).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["numpy", "c"])
def test_an_honest_kernel_passes_and_a_hundred_thousandth_would_show(
    target: str, dtype: str
) -> None:
    rows = rows_at(HERE, dtype, target=target)
    assert all(row.ok for row in rows), rows
    assert rows[0].check == "paths" and rows[0].allowed < 1e-5


def test_a_barrier_that_is_missing_shows() -> None:
    text = next(t for path, t in emit(JANET, "c").items() if path.endswith("janet.c"))
    barrier = "        DK_NAME(backward_step_1)(&a, rows, team);\n        dk_wait(team);\n"
    assert text.count(barrier) == 1
    rows = rows_at(HERE, "float64", change=(barrier, barrier.replace("dk_wait(team);", "")))
    assert rows[0].check == "paths" and rows[0].ok is False and "team=" in rows[0].where


@pytest.mark.parametrize(
    "change",
    [
        ("dk_wait_for_steps(pipeline, done + steps);", ""),
        ("dk_wait_for_steps(pipeline, done + steps);", "dk_wait_for_steps(pipeline, done);"),
        ("dk_publish_steps(pipeline, done);", "dk_publish_steps(pipeline, all);"),
        ("dk_publish_steps(pipeline, done);", ""),
    ],
)
def test_a_pass_that_reads_too_early_or_announces_what_is_not_there_shows(
    change: tuple[str, str],
) -> None:
    rows = rows_at(HERE, "float32", change=change)
    assert not all(row.ok for row in rows)
    assert any("the pipeline waited for" in str(row) for row in rows)


OUTSIDE = """    dk_wait(team);
    args->last.h[args->sizes.rows * args->sizes.dim_H] = 0;
    return DK_OK;"""
REVERSE = "call->reverse = args->reverse != 0;"
INTO = f"{REVERSE}\n    ((dk_real *)(uintptr_t)args->inputs.x)[0] = 0;"


@pytest.mark.parametrize(
    ("before", "after", "check"),
    [
        ("    dk_wait(team);\n    return DK_OK;", OUTSIDE, "overrun"),
        (REVERSE, INTO, "caller"),
    ],
)
def test_a_write_outside_or_into_an_argument_shows(before: str, after: str, check: str) -> None:
    whole = next(text for path, text in emit(JANET, "c").items() if path.endswith("janet.c"))
    head, name, rest = whole.partition(" DK_NAME(forward_prepare)(")
    edited = head + name + rest.replace(before, after, 1)
    assert edited != whole
    rows = rows_at(HERE, "float64", change=(whole, edited))
    assert any(row.check == check and row.ok is False for row in rows), rows


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, ""),
        (("return DK_TOO_SMALL;", "return DK_BAD_LENGTH;"), "is too small: bad length, not buffer"),
        (("return DK_BAD_LENGTH;", "return DK_BAD_SIZE;"), "a length is -1: bad size, not bad"),
    ],
)
def test_a_call_that_is_refused_has_the_status_of_the_header(
    change: tuple[str, str] | None, said: str
) -> None:
    (row,) = rows_at(HERE, "float64", change=change, refused=True)
    assert row.check == "refused" and row.ok is (change is None) and said in row.where


# --- what is reached ----------------------------------------------------------------------------


def test_every_line_and_branch_of_a_numpy_module_is_run() -> None:
    assert [line for name in REACHED for line in unreached(name, "numpy")] == []


@WITH_GCOV
@pytest.mark.parametrize("name", REACHED[:1])
def test_every_line_and_branch_of_compiled_text_is_run(name: str) -> None:
    assert unreached(name, "c") == []


@pytest.mark.slow
@WITH_GCOV
@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", [*derive.cells.names(), *(f"strange:{n}" for n in STRANGE)])
def test_every_line_and_branch_of_every_cell_is_run(name: str, target: str) -> None:
    assert unreached(name, target) == []


def test_every_threshold_is_a_macro_of_the_header_that_can_be_lowered() -> None:
    header = render_header()
    for each in LIMITS:
        assert f"#ifndef {each.macro}\n#define {each.macro} {each.text}\n" in header
        assert f"{each.macro}={each.low}" in low_defines()


@pytest.mark.parametrize("name", ["gated_deltanet", "kda", "ttt_linear", "ltc", "mamba", "lstm"])
def test_where_arrays_have_axes_wide_ones_take_turns(name: str) -> None:
    """All at once they were 4e8 numbers a step of gated_deltanet, and the process was killed."""
    step = derive.cells.from_spec(name).step
    seen = places(step)
    assert max(numbers_at(step, place) for place in seen) <= MOST_NUMBERS
    assert len(seen) <= 48
    for dim in step.program.dims():
        widths = {place.sizes[dim] for place in seen}
        assert max(widths) == limit("DK_OUTER_HEIGHT").value + 32 and len(widths) > 5
    assert any(len({*place.sizes.values()}) == 1 for place in seen)


def test_sizes_lie_on_both_sides_of_every_threshold() -> None:
    seen = places(derive.cells.lstm().step)
    quantities = {
        "steps * rows": lambda p: p.steps * p.rows,
        "rows": lambda p: p.rows,
        "rows of a thread": lambda p: p.rows // 2,
        "tiles of a thread": lambda p: p.rows // 8 // 2,  # no tile has more than 8 rows
        "rows that count": lambda p: p.rows * max(1, min(p.steps, 192 // p.rows)),
        "width": lambda p: max(p.sizes.values()),
    }  # fmt: skip
    # What small sizes do not reach is crossed by the build with low thresholds.
    in_low_build = {
        "bytes": lambda p: 4 * 4 * p.sizes["H"] * (p.sizes["I"] + p.sizes["H"]),
        "vectors": lambda p: max(p.sizes.values()) // 16,
    }
    assert {each.quantity for each in LIMITS} == {*quantities, *in_low_build}
    for each in LIMITS:
        if each.quantity in quantities:
            values = [quantities[each.quantity](place) for place in seen]
            assert min(values) < each.value < max(values), each
        else:
            values = [in_low_build[each.quantity](place) for place in seen if place.low]
            assert min(values) < each.low < max(values), each
    widths = {width for place in seen for width in place.sizes.values()}
    for lanes in (2, 4, 8, 16):
        assert lanes in widths and lanes + 1 in widths
    assert set(range(1, 10)) <= {place.rows for place in seen}
    assert any(len({*p.sizes.values()}) == 1 for p in seen)
    assert any(len({*p.sizes.values()}) == len(p.sizes) for p in seen)
    long = limit("DK_CHUNK_ROWS").value
    assert any(p.steps > long for p in seen) and any(p.rows > 1024 for p in seen)


@pytest.mark.parametrize("strength", [1, 2, 3, 4])
def test_choices_contain_every_combination_of_so_many_options(strength: int) -> None:
    options = {"a": "wxyz", "b": (0, 1), "c": (1, 2, 3), "d": (False, True), "e": (None, "time")}
    chosen = list(covering(options, strength))
    assert chosen == list(covering(options, strength))
    for names in combinations(options, strength):
        wanted = set(product(*(options[name] for name in names)))
        assert wanted == {tuple(choice[name] for name in names) for choice in chosen}
    assert len(chosen) <= {1: 8, 2: 24, 3: 80, 4: 160}[strength]


# --- fences and roundings -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fence_sees_writes_on_both_sides_and_hands_out_nan(dtype: str) -> None:
    fence = Fence()
    array = fence.empty((3, 5), dtype, "outputs")
    assert np.isnan(array).all() and array.flags.c_contiguous
    assert fence.overrun() == []
    for word in ("before", "past"):
        array = fence.empty((3, 5), dtype, "outputs")
        memory: Any = array.base
        begin = (array.ctypes.data - memory.ctypes.data) // memory.itemsize
        memory[begin - 1 if word == "before" else begin + array.nbytes // memory.itemsize] = 0
        (found,) = fence.overrun()
        assert word in found and "outputs" in found


def test_members_that_take_turns_give_the_bits_of_threads() -> None:
    files, own = emit(JANET, "c"), signature(JANET)
    x = np.random.default_rng(0).standard_normal((7, 9, 5)).astype(np.float32)
    turns = Kernel(own, FencedC(files, own, "float32", 3), "float32")
    params = turns.init(I=5, H=6)
    threads = derive.compile(JANET, target="c", dtype="float32", threads=3)
    first, second = turns.forward(params, x), threads.forward(params, x)
    again = turns.forward(params, x)
    assert np.array_equal(first.output, second.output) and np.array_equal(
        first.output, again.output
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_roundings_bound_what_arithmetic_does(dtype: str) -> None:
    """NumPy's own float32, and float64 beside more digits, stay within a third of the bound."""
    place = Place({"I": 3, "H": 4}, 60, 4, 2)
    rows = rows_at(place, dtype, target="numpy")
    assert rows[0].ok and MARGIN > 3
    assert rows[0].allowed < (1e-3 if dtype == "float32" else 1e-11)


@pytest.mark.slow
def test_every_way_through_a_kernel_is_taken_where_states_have_axes() -> None:
    cell = derive.Cell.parse(
        "cell heads\ninput x: I\nstate C: N x D, m: N\nparam W: N x D x I, w: N x I\n"
        "m' = sigmoid(w @ x) * m\nC' = tanh(m' * C + W @ x)\noutput C', m'\n"
    )
    report = verify_files(cell, derive.emit(cell, "numpy"), dtypes=("float64",))
    assert report.ok, report.text()
