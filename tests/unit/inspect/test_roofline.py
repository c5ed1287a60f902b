"""What a step moves, what binds, and what is remembered of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import derive
from derive import pipeline
from derive.bench.bound import bound
from derive.bench.shapes import Shape
from derive.bench.task import task_of
from derive.cli.main import GOOD, WRONG_USE, status
from derive.errors import ArgumentError
from derive.inspect import show
from derive.inspect.facts.cost import Part, cost, polynomial
from derive.inspect.facts.roofline import (
    ACTIVATIONS,
    BANDWIDTH,
    MULTIPLY_ADDS,
    Roof,
    intensity,
    roofline,
    rows_of,
    traffic,
)
from derive.machine import known
from derive.machine.probe import Machine, caches

MACHINE = Machine(
    threads=1,
    peak={"float32": 2e11, "float64": 1e11},
    activations={"float32": 4e9, "float64": 2e9},
    bandwidth=((32 * 1024, 4e11), (1024 * 1024, 1e11), (1 << 27, 4e10)),
    caches=(("L1", 32 * 1024), ("L2", 1024 * 1024)),
)


def part_of(roofs: tuple[Roof, ...], name: str, part: Part) -> Roof:
    (found,) = (roof for roof in roofs if (roof.name, roof.part) == (name, part))
    return found


def test_a_step_of_an_lstm_moves_what_one_counts_by_hand() -> None:
    """Forward: four matrices and biases; each row reads four products of x, h and c, and writes
    four gates, c' and h'. Backward: four matrices; each row reads the gates, c, c', and what
    comes from outside and from the next step (h, c), and writes four d_a, d_c and d_h; what one
    stage writes and the next reads moves once."""
    plans = pipeline.schedule(derive.cells.lstm())
    forward, backward = traffic(plans.forward), traffic(plans.backward)
    assert polynomial(forward[Part.SEQUENTIAL].shared) == "4*H**2 + 4*H"
    assert polynomial(forward[Part.SEQUENTIAL].rows) == "12*H"
    assert polynomial(forward[Part.HOISTED].shared) == "4*H*I"
    assert polynomial(forward[Part.HOISTED].rows) == "4*H + I"
    assert polynomial(backward[Part.SEQUENTIAL].shared) == "4*H**2"
    assert polynomial(backward[Part.SEQUENTIAL].rows) == "15*H"
    assert polynomial(backward[Part.HOISTED].shared) == "4*H**2 + 8*H*I + 4*H"


def test_intensity_is_operations_over_bytes() -> None:
    cell = derive.cells.lstm()
    plans = pipeline.schedule(cell)
    work = cost(cell, plans).forward[Part.SEQUENTIAL]
    moved = traffic(plans.forward)[Part.SEQUENTIAL]
    formula = intensity(work, moved, rows_of(Part.SEQUENTIAL, ("I", "H")))
    assert str(formula) == "B*H/(2*(3*B + H + 1))"
    roof = part_of(roofline(cell, (9, 5, 3, 7), machine=MACHINE), "forward", Part.SEQUENTIAL)
    assert roof.intensity == pytest.approx(eval(str(formula), {"B": 5, "H": 7}))
    assert roof.bytes == 4 * (4 * 7 * 7 + 4 * 7 + 5 * 12 * 7)
    assert roof.rounds == 9


def test_letters_of_rows_give_way_to_widths_of_a_cell() -> None:
    assert str(rows_of(Part.HOISTED, ("B", "H"))) == "T*rows"


def test_one_row_is_bound_by_reading_and_many_by_arithmetic() -> None:
    cell = derive.cells.lstm()
    few = roofline(cell, (100, 1, 128, 128), machine=MACHINE)
    many = roofline(cell, (100, 32, 128, 128), machine=MACHINE)
    for name in ("forward", "backward"):
        first, second = (part_of(r, name, Part.SEQUENTIAL) for r in (few, many))
        assert (first.binds, second.binds) == (BANDWIDTH, MULTIPLY_ADDS)
        assert first.level == second.level == "L2"
        assert first.intensity < first.ridge == 2.0 < second.intensity
    assert {r.binds for r in many if r.part is Part.HOISTED} == {MULTIPLY_ADDS}


def test_a_step_without_products_is_bound_by_activations_or_reading() -> None:
    found = roofline(derive.cells.sru(), (100, 32, 128, 128), machine=MACHINE)
    roof = part_of(found, "forward", Part.SEQUENTIAL)
    assert (roof.multiply_adds, roof.intensity) == (0, 0)
    slow = Machine(1, MACHINE.peak, {"float32": 1e6, "float64": 1e6}, MACHINE.bandwidth)
    found = roofline(derive.cells.sru(), (100, 32, 128, 128), machine=slow)
    roof = part_of(found, "forward", Part.SEQUENTIAL)
    assert (roof.binds, roof.level) == (ACTIVATIONS, "unknown")


def test_the_benchmark_bounds_the_same_arithmetic() -> None:
    """With reading free, the least times of all rounds are the benchmark's bound."""
    free = Machine(1, MACHINE.peak, MACHINE.activations, ((1 << 40, 1e30),))
    for spec in ("lstm", "gru_reset_before", "min_gru"):
        cell = derive.cells.from_spec(spec)
        found = roofline(cell, (20, 4, 5, 7), machine=free)
        seconds = sum(roof.rounds * roof.least for roof in found)
        task = task_of(cell, Shape(20, 4, 5, 7), 1)
        assert seconds == pytest.approx(bound(task).seconds("train", free, "float32"))


def test_double_precision_moves_twice_the_bytes() -> None:
    cell = derive.cells.rnn()
    single, double = (
        roofline(cell, (3, 2, 4, 5), machine=MACHINE, dtype=dtype)
        for dtype in ("float32", "float64")
    )
    assert [2 * roof.bytes for roof in single] == [roof.bytes for roof in double]


def test_a_wrong_dtype_or_shape_is_told() -> None:
    cell = derive.cells.rnn()
    with pytest.raises(ArgumentError, match="unknown dtype 'int8'"):
        roofline(cell, (1, 1, 1, 1), machine=MACHINE, dtype="int8")
    with pytest.raises(ArgumentError, match="four positive numbers"):
        roofline(cell, (1, 0, 1, 1), machine=MACHINE)


def test_every_format_says_what_binds() -> None:
    cell, shape = derive.cells.gru(), (100, 32, 128, 128)
    for format_ in ("text", "latex", "html"):
        text = show(cell, ("cost",), format_, shapes=(shape,), machine=MACHINE)
        assert "multiply-adds" in text and "what binds" in text and "L2" in text
        assert "what binds" not in show(cell, ("cost",), format_)
    data = json.loads(show(cell, ("cost",), "json", shapes=(shape,), machine=MACHINE))["cost"]
    assert data["bounds"][0]["shape"] == {"T": 100, "B": 32, "I": 128, "H": 128}
    parts = data["bounds"][0]["parts"]
    assert {(p["pass"], p["part"]) for p in parts} == {
        (name, part) for name in ("forward", "backward") for part in ("sequential", "hoisted")
    }
    assert all(p["binds"] == MULTIPLY_ADDS and p["held_in"] for p in parts)
    assert data["machine"]["peak"]["float32"] == 2e11


# --- remembering ----------------------------------------------------------------------------


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Threads of each measurement; every one gives the same rates."""
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(known, "_known", {})
    monkeypatch.setattr(known, "key_of", lambda sources, options: "key")
    done: list[int] = []

    def probe(threads: int, samples: int) -> Machine:
        done.append(threads)
        return MACHINE

    monkeypatch.setattr(known, "probe", probe)
    return done


def forgotten() -> None:
    """As in another process."""
    known._known.clear()


def test_a_machine_is_measured_once(measurements: list[int]) -> None:
    assert not known.is_known()
    assert known.machine() == known.machine() == MACHINE
    forgotten()
    assert known.is_known() and known.machine() == MACHINE
    assert measurements == [1]


def test_a_machine_is_measured_again_on_demand(measurements: list[int]) -> None:
    known.machine()
    known.machine(again=True)
    assert measurements == [1, 1]


def test_a_file_that_makes_no_sense_is_measured_anew(
    measurements: list[int], tmp_path: Path
) -> None:
    known.machine()
    (path,) = (tmp_path / "cache").glob("machine-*.json")
    for text in (
        "{",
        "[]",
        '{"threads": 1}',
        path.read_text().replace('"threads": 1', '"threads": 2'),
    ):
        path.write_text(text)
        forgotten()
        assert known.machine() == MACHINE
    assert len(measurements) == 5


def test_threads_are_a_positive_number(measurements: list[int]) -> None:
    with pytest.raises(ArgumentError, match="threads must be a positive integer"):
        known.machine(0)
    assert measurements == []


def test_caches_are_read_as_linux_describes_them(tmp_path: Path) -> None:
    for k, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M"), ("3", "x", "?")]
    ):
        entry = tmp_path / f"index{k}"
        entry.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (entry / name).write_text(text + "\n")
    assert caches(tmp_path) == (("L1", 48 * 1024), ("L2", 2 * 1024 * 1024))
    assert caches(tmp_path / "none") == ()


# --- command line ---------------------------------------------------------------------------


def test_shapes_on_the_command_line(
    measurements: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["show", "lstm", "--stage", "cost", "--shapes", "100,1,128,128"]
    assert status(command) == GOOD
    first = capsys.readouterr()
    assert "T,B,I,H = 100,1,128,128" in first.out and "measuring this machine" in first.err
    assert status([*command, "--shapes", "100,32,128,128"]) == GOOD
    assert capsys.readouterr().err == ""
    assert status([*command, "--measure"]) == GOOD
    assert measurements == [1, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shapes", "1,2,3"], "a shape is T,B,I,H"),
        (["--measure"], "--measure says nothing without a shape"),
        (["--threads", "2"], "--threads says nothing without a shape"),
        (["--stage", "cell", "--shapes", "1,2,3,4"], "--shapes is for the cost"),
    ],
)
def test_options_that_say_nothing_are_refused(
    options: list[str], said: str, measurements: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["show", "rnn", *options]) == WRONG_USE
    assert said in capsys.readouterr().err
    assert measurements == []
