"""Each pass removes what it says and changes no output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import derive
from derive.derivative import reverse_step
from derive.program import Array, Layout, Map, Matmul, Program, Sum, check, interpret, prune
from derive.program.simplify import PASSES, constants, copies, repeats, simplify
from derive.symbolic import functions

A, B = functions.symbol("a"), functions.symbol("b")


def program(*equations: Any, outputs: tuple[str, ...], shapes: dict[str, Any] | None = None) -> Any:
    """Vectors of width H, unless `shapes` says otherwise; inputs a, b and M [H, H]."""
    names = ("a", "b", *(equation.out for equation in equations))
    widths = shapes or {}
    arrays = (
        Array("M", ("H", "H"), False),
        *(Array(name, widths.get(name, ("H",)), True) for name in names),
    )
    return check(Program(arrays, ("M", "a", "b"), equations, outputs))


def outs(simplified: Program) -> dict[str, Any]:
    return {e.out: e.expr for e in simplified.equations if isinstance(e, Map)}


def test_zeros_reach_products_and_sums() -> None:
    simplified = constants(
        program(
            Map("z", functions.ZERO),
            Matmul("p", "M", "z", Layout.NORMAL),
            Sum("s", "p"),
            Map("y", A + functions.symbol("p") * B + functions.symbol("s")),
            outputs=("y",),
            shapes={"s": (1,)},
        )
    )
    assert outs(simplified) == {"z": 0, "p": 0, "s": 0, "y": A}


def test_a_zero_in_gated_and_where_is_folded() -> None:
    z = functions.symbol("z")
    simplified = constants(
        program(
            Map("z", functions.ZERO),
            Map("y", functions.gated(z, A) + functions.gated(A, z) + functions.where(A, z, z)),
            outputs=("y",),
        )
    )
    assert outs(simplified)["y"] == 0


def test_zero_times_an_infinite_function_of_zero_is_left_alone() -> None:
    z = functions.symbol("z")
    simplified = constants(
        program(Map("z", functions.ZERO), Map("y", functions.exp(z) * A), outputs=("y",))
    )
    assert outs(simplified)["y"] == A


def test_copies_are_read_through_and_outputs_keep_their_names() -> None:
    simplified = copies(
        program(
            Map("c", A), Map("d", functions.symbol("c")), Map("y", functions.symbol("d") + B),
            Map("z", functions.symbol("d")), outputs=("y", "z"),
        )
    )  # fmt: skip
    assert outs(simplified) == {"y": A + B, "z": A}
    assert "c" not in simplified.table()


def test_a_copy_that_broadcasts_is_no_copy() -> None:
    simplified = copies(
        program(Sum("s", "a"), Map("w", functions.symbol("s")), Map("y", functions.symbol("w") * B),
                outputs=("y",), shapes={"s": (1,)})
    )  # fmt: skip
    assert "w" in simplified.table()


def test_repeats_are_computed_once() -> None:
    simplified = repeats(
        program(
            Matmul("p", "M", "a", Layout.NORMAL), Matmul("q", "M", "a", Layout.NORMAL),
            Matmul("r", "M", "a", Layout.TRANSPOSED),
            Map("y", functions.symbol("p") + 2 * functions.symbol("q") + functions.symbol("r")),
            outputs=("y",),
        )
    )  # fmt: skip
    assert [e.out for e in simplified.equations] == ["p", "r", "y"]
    assert outs(simplified)["y"] == 3 * functions.symbol("p") + functions.symbol("r")


def test_two_outputs_that_are_equal_stay_two() -> None:
    simplified = repeats(program(Map("y", A * B), Map("z", A * B), outputs=("y", "z")))
    assert list(outs(simplified)) == ["y", "z"]


def test_prune_keeps_inputs_and_drops_what_nothing_needs() -> None:
    pruned = prune(program(Map("c", A), Map("y", B), outputs=("y",)))
    assert [e.out for e in pruned.equations] == ["y"]
    assert pruned.inputs == ("M", "a", "b")


TEXT = """
cell mixed
input x: I, m: 1
state h: H, c: H
a = W @ x + U @ h + U.T @ c
u = where(m > 0, a, stop_gradient(h))
h' = tanh(u) * mean(c) + clip(a, -1, 1)
c' = maximum(u, c) + 0 * a
output h', c
"""


@pytest.mark.parametrize("name", [*PASSES, "all"])
def test_no_pass_changes_an_output(name: str) -> None:
    given = reverse_step(derive.Cell.parse(TEXT).step).program
    simplified = check((PASSES.get(name) or simplify)(given))
    assert simplified.outputs == given.outputs and simplified.inputs == given.inputs
    table, random, sizes = given.table(), np.random.default_rng(0), {"I": 2, "H": 3}
    values = {
        n: random.normal(size=((2,) if table[n].per_row else ())
                         + tuple(sizes[d] if isinstance(d, str) else d for d in table[n].shape))
        for n in given.inputs
    }  # fmt: skip
    one, other = (interpret(p, values, rows=2, sizes=sizes) for p in (given, simplified))
    for output in given.outputs:
        assert np.allclose(one[output], other[output], rtol=1e-13, atol=1e-15)


def test_simplifying_twice_is_simplifying_once() -> None:
    once = simplify(reverse_step(derive.Cell.parse(TEXT).step).program)
    assert simplify(once) == once


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        # z is 0 whatever m is: what has no value there is inf or NaN at run time, where it counts.
        ("z = m - m\nv = 1 / z\nm' = where(m > 0, m, tanh(v))", [0.5, 1.0]),
        ("z = m - m\nv = log(z)\nm' = where(m > 0, m, v)", [0.5, -np.inf]),
        ("z = m - m - 2\nv = sqrt(z)\nm' = where(m > 0, m, v)", [0.5, np.nan]),
        ("u = layer_norm(s)\nz = (u - u) ** 4\nm' = where(z > 0.1, log(z), m)", [0.5, -0.25]),
        # A comparison that is known takes its branch.
        ("z = m - m\nm' = where(z > 0.1, exp(m), 2 * m)", [1.0, -0.5]),
        ("z = m - m\nm' = where(z < 0.1, m, log(z))", [0.5, -0.25]),
    ],
)
def test_what_is_no_number_stays_for_the_run_and_a_known_branch_is_taken(
    body: str, wanted: list[float], target: str
) -> None:
    cell = derive.Cell.parse(f"cell at_zero\nstate m: H, s: H\n{body}\ns' = s\noutput m'\n")
    kernel = derive.compile(cell, target, "float64")
    run = kernel.forward({}, np.zeros((1, 1, 0)), {"m": [[0.5, -0.25]]})
    assert np.array_equal(run.states["m"], [wanted], equal_nan=True)
    assert np.isfinite(kernel.backward(run, np.ones((1, 1, 2))).states["m"][0, 0])
