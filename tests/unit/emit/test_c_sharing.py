"""What the members of a team touch between two meetings: nowhere does one meet another's writes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import axes_cells
import pytest
import raced
import random_cells
from strange_cells import CELLS

from derive import cells, pipeline
from derive.cell import Cell
from derive.emit.banner import banner
from derive.emit.c import files
from derive.emit.c.file_views import PassFileView
from derive.emit.c.files import courses
from derive.emit.c_sharing import (
    ALL,
    FIRST,
    Access,
    Course,
    Work,
    check_course,
    columns,
    parts,
    reads,
    with_meetings,
    writes,
)
from derive.errors import CellError, ProgramError

#: The gradient of b is a sum of columns and a sum of everything.
ONE_SUM = CELLS["one_sum"]
SPREAD = ("lstm:layer_norm=ba2016", "gru:reset=before", "nas", "min_gru", "phased_lstm",
          "lstm:projection=true", "odyssey")  # fmt: skip


def passes(cell: Cell) -> tuple[PassFileView, ...]:
    schedule = pipeline.schedule(cell)
    return files.file_view(cell, schedule, banner(cell, schedule)).passes


def some_cells() -> Iterator[Cell]:
    yield from (cells.from_spec(spec) for spec in SPREAD)
    yield from map(Cell.parse, CELLS.values())
    for seed in range(2000, 2012):
        try:
            yield Cell.parse(random_cells.text(seed))
        except CellError:
            continue


def apart(course: Course) -> Iterator[list[Work]]:
    """The works between one meeting and the next."""
    since: list[Work] = []
    for work in course:
        if work is None:
            yield since
            since = []
        else:
            since.append(work)
    yield since


def overlaps(course: Course) -> list[tuple[str, str, str]]:
    """Place, work and work: all pairs, found without `check_course`."""
    found = []
    for works in apart(course):
        touched = [(work.name, access) for work in works for access in work.accesses]
        found += [(a.place, name, name) for name, a in touched if a.writes and a.cut == ALL]
        for (one, a), (other, b) in combinations(touched, 2):
            alike = a.place == b.place and (a.step == b.step or None in (a.step, b.step))
            if alike and (a.writes or b.writes) and (a.cut != b.cut or a.cut == ALL):
                found.append((a.place, one, other))
    return found


def test_no_member_meets_what_another_one_writes() -> None:
    looked_at = 0
    for cell in some_cells():
        for view in passes(cell):
            for way, course in courses(view).items():
                assert overlaps(course) == [], (view.name, way)
                looked_at += sum(work is not None for work in course)
    assert looked_at > 1000


#: Works that the text does in a row, each with the cut that its function has.
ALL_OF_B = Work("dk_sum_all", (reads("h"), writes("d_b", FIRST)))
COLUMNS_OF_B = Work("dk_sum_columns", (reads("a"), writes("d_b", columns("1"))))


def test_a_sum_of_everything_by_the_first_member_meets_a_sum_of_columns() -> None:
    """The gradient of a parameter of width 1 lost one of its two sums."""
    with pytest.raises(ProgramError, match="may meet at d_b: dk_sum_all takes the first member"):
        check_course("onesum_backward", [ALL_OF_B, COLUMNS_OF_B])
    check_course("onesum_backward", [ALL_OF_B, None, COLUMNS_OF_B])
    owned = replace(ALL_OF_B, accesses=(reads("h"), writes("d_b", columns("1"))))
    check_course("onesum_backward", [owned, COLUMNS_OF_B])


def test_a_meeting_is_put_where_works_would_meet() -> None:
    pairs = [("all;", ALL_OF_B), ("columns;", COLUMNS_OF_B), ("again;", COLUMNS_OF_B)]
    texts = [text for text, _ in with_meetings(pairs, "wait;")]
    assert texts == ["all;", "wait;", "columns;", "again;"]


def test_the_two_sums_of_one_parameter_have_one_owner() -> None:
    (_, backward) = passes(Cell.parse(ONE_SUM))
    (course,) = {way: c for way, c in courses(backward).items() if way == "units"}.values()
    owners = {
        work.name: access.cut
        for work in course
        if work
        for access in work.accesses
        if access.place == "args->d_params.b" and work.name.startswith("dk_sum")
    }
    assert owners == {"dk_sum_all": columns("1"), "dk_sum_columns": columns("1")}
    spoilt = [
        work
        and replace(
            work,
            accesses=tuple(
                replace(a, cut=FIRST) if a.writes and work.name == "dk_sum_all" else a
                for a in work.accesses
            ),
        )
        for work in course
    ]
    assert {place for place, *_ in overlaps(spoilt)} == {"args->d_params.b"}


def test_everyone_writing_all_of_a_place_meets_himself() -> None:
    with pytest.raises(ProgramError, match="takes all"):
        check_course("pass", [Work("stage", (writes("h", ALL),))])


def test_a_step_does_not_meet_the_rows_of_another_step() -> None:
    now, then = (Access("h", cut, True, step) for cut, step in ((parts("a"), 0), (parts("b"), 1)))
    check_course("pass", [Work("a", (now,)), Work("b", (then,))])
    with pytest.raises(ProgramError):
        check_course("pass", [Work("a", (now,)), Work("b", (replace(then, step=0),))])
    with pytest.raises(ProgramError):
        check_course("pass", [Work("a", (now,)), Work("b", (replace(then, step=None),))])


@pytest.mark.parametrize("spec", ["lstm", "gru:reset=before", "lstm:layer_norm=ba2016"])
def test_the_steps_need_their_meetings(spec: str) -> None:
    """The check is not blind: without the meeting after any stage of a step it complains."""
    for view in passes(cells.from_spec(spec)):
        course = courses(view)["units"]
        for k, work in enumerate(course):
            after = course[k - 1]
            if work is None and after and "_step_" in after.name:
                following = course[k + 1 :]
                assert overlaps([*course[:k], *following]), after.name


def test_the_text_meets_where_the_course_does() -> None:
    plain = ("lstm", "gru:reset=before", "lstm:layer_norm=ba2016", "min_gru")
    axes = (
        Cell.parse(axes_cells.CELLS[name][0]) for name in ("slstm", "mlstm", "weight_norm_lstm")
    )
    for cell in (*map(cells.from_spec, plain), *axes):
        text = pipeline.emit(cell, "c")[f"c/{cell.name}.c"]
        for view in passes(cell):
            for phase in view.phases:
                label, stages = phase.label, phase.stages
                meetings = sum(work is None for stage in stages for work in stage.work)
                outers = (view for stage in stages for view in stage.outers if not view.heads)
                meetings -= 2 * sum(1 for _ in outers)  # in the header
                meetings += bool(phase.early)
                name = rf"DK_NAME\({view.name}_{label}\)"
                found = re.search(rf"static void {name}\(.*?^}}", text, re.M | re.S)
                waits = found[0].count("dk_wait(team);") if found else 0
                assert waits == meetings, (view.name, label)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("name", ["one_sum", "gru:reset=before", "min_lstm", "gated_deltanet"])
def test_a_thread_sanitizer_finds_no_race(name: str, tmp_path: Path) -> None:
    """tests/helpers/raced.py, `catalogue strange random 1000 1100`, asks it of all of them."""
    cell = Cell.parse(CELLS[name]) if name in CELLS else cells.from_spec(name)
    assert raced.check(tmp_path, cell) == ""
