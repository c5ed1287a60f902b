"""Above each stage of generated code stand the equations it computes, in the author's names."""

from __future__ import annotations

import re

import pytest
from entries import sampled
from strange_cells import CELLS

import derive
from derive import cells, pipeline
from derive.cell import Cell
from derive.emit.equation_lines import author_lines, gradient_lines, stage_lines
from derive.textbook.derivation import derivation

SPECS = ("lstm", "gru", "janet", "nas", "min_gru", "phased_lstm", "lstm:layer_norm=ba2016")


def cell_of(name: str) -> Cell:
    return Cell.parse(CELLS[name]) if name in CELLS else cells.from_spec(name)


def by_stage(cell: Cell) -> dict[str, list[tuple[str, ...]]]:
    plans = pipeline.schedule(cell)
    found = {}
    for label, plan, notes in (
        ("forward", plans.forward, author_lines(cell)),
        ("backward", plans.backward, gradient_lines(cell, plans)),
    ):
        stages = (stage for _, stages in plan.phases for stage in stages)
        found[label] = [stage_lines(stage, plan, notes) for stage in stages]
    return found


@pytest.mark.parametrize("name", [*SPECS, *CELLS])
def test_every_stage_has_an_equation(name: str) -> None:
    for stages in by_stage(cell_of(name)).values():
        assert all(stages)


@pytest.mark.parametrize("name", SPECS)
def test_every_line_of_the_derivation_stands_above_a_stage(name: str) -> None:
    """But for those that do nothing: a sum that is the last of several names for one array."""
    cell = cell_of(name)
    stages = by_stage(cell)["backward"]
    shown = {name for lines in stages for line in lines for name in line.split(" = ")[:-1]}
    for line in derivation(pipeline.differentiate(cell), cell).gradient:
        assert line.name in shown or line.value.is_Symbol, line.name


def test_the_lines_are_those_that_show_prints() -> None:
    assert by_stage(cells.from_spec("lstm"))["backward"][:2] == [
        (
            "d_h_next = d_h_next_output + d_h_carry",
            "d_o = d_h_next * tanh(c_next)",
            "d_a_o = d_o * o * (1 - o)",
            "d_c_next = d_c_carry + d_h_next * o * (1 - tanh(c_next)**2)",
            "d_g = d_c_next * i",
            "d_a_g = d_g * (1 - g**2)",
            "d_f = d_c_next * c",
            "d_a_f = d_f * f * (1 - f)",
            "d_i = d_c_next * g",
            "d_a_i = d_i * i * (1 - i)",
            "d_c = d_c_next * f",
        ),
        ("d_h = U_i.T @ d_a_i + U_f.T @ d_a_f + U_g.T @ d_a_g + U_o.T @ d_a_o",),
    ]


def test_an_array_with_two_names_has_the_line_of_the_authors() -> None:
    cell = cells.from_spec("gru")
    notes = gradient_lines(cell, pipeline.schedule(cell))
    assert notes["d_b_hn_of_a_n"] == "d_U_n_h = d_a_n * r"


def test_the_authors_own_lines_stand_forward() -> None:
    assert by_stage(cells.from_spec("janet"))["forward"][-1] == (
        "a = W_f @ x + U_f @ h + b_f",
        "g = tanh(W_g @ x + U_g @ h + b_g)",
        "h' = (1 - sigmoid(a - beta)) * g + h * sigmoid(a)",
    )


@pytest.mark.parametrize("name", sampled())
def test_the_backward_pass_in_numpy_carries_the_whole_derivation(name: str) -> None:
    cell = cell_of(name)
    text = derive.emit(cell, target="numpy")[f"numpy/{name}.py"]
    backward = text.partition("def backward(")[2]
    backward = backward.partition("\ndef step(")[0]
    comments = joined_comments(backward)
    told = {line.partition(" = ")[0].removeprefix("part of ") for line in comments}
    gradient = derive.differentiate(cell)
    lines = {line.name: line for line in derivation(gradient, cell).gradient}
    needed = [*gradient.d_params, *gradient.d_inputs, *(n for n in lines if n.endswith("_carry"))]
    for cotangent in needed:
        line = lines.get(cotangent)
        if line is not None and not line.value.is_Symbol:
            assert cotangent in told or f"{cotangent} = " in backward, cotangent
            names = {symbol.name for symbol in line.value.free_symbols}
            needed += sorted(names & set(lines) - set(needed))
    given = {*gradient.output_seeds, *gradient.state_seeds}
    for line in comments:
        mentioned = set(re.findall(r"\bd_\w+", line.partition(" = ")[2]))
        for cotangent in mentioned - given - told:
            assert f"{cotangent} = " in backward, (line, cotangent)
    assert all(len(line) <= 100 for line in signatures(text))


def joined_comments(text: str) -> list[str]:
    """Comments with an equation, lines that go on put together."""
    found: list[str] = []
    for line in text.splitlines():
        comment = line.strip().partition("# ")[2] if line.strip().startswith("# ") else ""
        if comment.startswith("    ") and found:
            found[-1] += " " + comment.strip()
        elif " = " in comment:
            found.append(comment)
    return found


def signatures(text: str) -> list[str]:
    lines = text.splitlines()
    starts = [k for k, line in enumerate(lines) if re.match(r"def (forward|backward|step)\(", line)]
    assert len(starts) == 3
    return [line for k in starts for line in lines[k : next(
        j for j in range(k, len(lines)) if lines[j].endswith(":")) + 1]]  # fmt: skip
