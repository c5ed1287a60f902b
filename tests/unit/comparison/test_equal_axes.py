"""derive.equal and derive.diff of cells whose arrays have axes."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import axes_cells
import pytest

import derive
from derive.comparison import confirm, equal_axes, polynomial
from derive.comparison.equal_axes import Parts
from derive.comparison.fits import Nearest
from derive.comparison.indexed import Names, indexed, renamed


@cache
def cell_of(name: str) -> derive.Cell:
    return derive.Cell.parse(axes_cells.CELLS[name][0])


def with_other_names(cell: derive.Cell) -> derive.Cell:
    """Parameters, states and definitions under other names; the doc and the input stay."""
    names = {p: f"p{k}" for k, p in enumerate(cell.params)}
    names |= {s: f"s{k}" for k, s in enumerate(cell.states)}
    own = (e.lhs.name for e in cell.equations if not e.lhs.name.endswith("_next"))
    names |= {d: f"d{k}" for k, d in enumerate(own)}
    dims = set(re.findall(r"[A-Za-z]\w*", " ".join(map(str, [
        *cell.params.values(), *cell.inputs.values(), *cell.states.values()]))))  # fmt: skip
    names |= {dim: f"W{dim}" for dim in dims - names.keys()}
    lines = [
        re.sub(r"(?<!\.)\b[A-Za-z]\w*", lambda m: names.get(m[0], m[0]), line)
        for line in cell.to_text().splitlines()
        if not line.startswith(("doc", "cell"))
    ]
    return derive.Cell.parse("\n".join(["cell renamed", *lines]))


#: The others are proved too, in up to twenty seconds.
QUICK = ("slstm", "mlstm", "gated_delta", "mamba", "rwkv7", "lmu", "weight_norm_lstm", "block_gru")
SLOW = tuple(name for name in axes_cells.CELLS if name not in QUICK)


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_copy_under_other_names_is_proved_equal(name: str) -> None:
    verdict = derive.equal(cell_of(name), with_other_names(cell_of(name)))
    assert verdict.status == "equal", str(verdict)
    assert verdict.proved
    assert verdict.forward is not None
    assert verdict.forward.error < 1e-12


#: block_gru with axes in other orders, gates written otherwise, and another name for everything.
TURNED = """
cell turned
input x: I, m: M once
state g: D x N = g0
param V_r: N x D x I, V_z: N x D x I, V_n: N x I x D, V_m: N x D x M
param P_r: N x D x D, P_z: N x D x D, P_n: N x D x D, s: D x N
k  = g.T
u  = 1 - sigmoid(V_z @ x + P_z @ k + s.T)
q  = tanh(V_n.T @ x + sigmoid(V_r @ x + P_r.T @ k) * (P_n @ k) + V_m @ m)
g' = (k + u * (q - k)).T
y = g'.T
output y
"""


def test_heads_in_another_order_of_axes_are_proved_equal() -> None:
    verdict = derive.equal(cell_of("block_gru"), derive.Cell.parse(TURNED))
    assert verdict.status == "equal"
    assert verdict.proved
    assert verdict.forward is not None
    assert verdict.forward.lines() == [
        "V_r = W_r", "V_z = W_z", "V_n = W_n.T", "V_m = W_m", "P_r = U_r.T", "P_z = U_z",
        "P_n = U_n", "s = b_z.T", "g0 = h0.T",
    ]  # fmt: skip
    assert "state g is h.T of block_gru" in str(verdict)
    assert verdict.backward is not None
    assert verdict.backward.lines()[2] == "W_n = V_n.T"


def test_parameters_of_the_other_sign_correspond() -> None:
    text = TURNED.replace(
        "1 - sigmoid(V_z @ x + P_z @ k + s.T)", "sigmoid(V_z @ x + P_z @ k - s.T)"
    )
    verdict = derive.equal(cell_of("block_gru"), derive.Cell.parse(text))
    assert verdict.status == "equal"
    assert verdict.proved
    for found, lines in (
        (verdict.forward, {"V_z = -W_z", "P_z = -U_z", "s = b_z.T", "V_r = W_r"}),
        (verdict.backward, {"W_z = -V_z", "U_z = -P_z", "b_z = s.T", "W_r = V_r"}),
    ):
        assert found is not None and lines <= set(found.lines())
        assert found.error < 1e-12


def test_a_minus_that_no_parameter_takes_is_seen() -> None:
    one, other = heads("tanh(W @ x) * h + U @ h + V @ h"), heads("h - tanh(W @ x) + U @ h + V @ h")
    assert derive.equal(one, other).status != "equal"
    fixed = cell_of("lmu")
    turned = derive.Cell.parse(fixed.to_text().replace("A @ m", "-(A @ m)"))
    assert turned != fixed
    assert derive.equal(fixed, turned).status != "equal"


#: A change of one line, or of what is declared; the verdict; what the verdict or a note says.
CHANGED = {
    "another product": ("P_r.T @ k", "P_r.T @ k + s.T", "not equal", "does not come to"),
    "given at each step": ("m: M once", "m: M", "not equal", "m of block_gru does not change"),
    "a factor": ("u * (q - k)", "2 * u * (q - k)", "not equal", "does not come"),
    "no learned start": ("g: D x N = g0", "g: D x N", "undecided", ""),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_line_is_never_called_equal(what: str) -> None:
    old, new, status, said = CHANGED[what]
    assert old in TURNED
    verdict = derive.equal(cell_of("block_gru"), derive.Cell.parse(TURNED.replace(old, new)))
    assert verdict.status == status
    assert said in str(verdict)
    assert not verdict.proved or "once" in old


def test_outputs_of_other_axes_are_another_function() -> None:
    flat = "cell flat\ninput x: I, m: M once\nstate h: H\nh' = tanh(W @ x + V @ m + h)\noutput h'"
    verdict = derive.equal(cell_of("block_gru"), derive.Cell.parse(flat))
    assert (verdict.status, verdict.proved) == ("not equal", True)
    assert "h_next of block_gru is N x D and h_next of flat is H" in str(verdict)


HEADS = """
cell heads
input x: I
state h: N x D
param W: N x D x I, U: N x D x D, V: N x D x D
h' = {}
output h'
"""


def heads(expr: str) -> derive.Cell:
    return derive.Cell.parse(HEADS.format(expr))


PAIRS = [
    ("tanh(W @ x + U @ (h + V @ h))", "tanh(U @ h + W @ x + U @ (V @ h))"),
    ("softmax(h + W @ x) + 0 * (U @ h)", "exp(h + W @ x) / sum(exp(h + W @ x)) + 0 * (V @ h)"),
    ("h * sum(h * (W @ x)) + U @ h", "(outer(h, h) @ (W @ x)) + U @ h"),
    ("softmax(h + W @ x) + 0 * (U @ h)", "softmax(h + W @ x + 3) + 0 * (V @ h)"),
    ("max(h + W @ x) + U @ h", "max(h + W @ x - 2) + 2 + U @ h"),
    ("maximum(W @ x, h) + U @ h", "maximum(h, W @ x) + U @ h"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_products_and_sums_have_one_form_however_they_are_written(one: str, other: str) -> None:
    verdict = derive.equal(heads(one), heads(other))
    assert verdict.status == "equal"
    assert verdict.proved


def test_a_maximum_over_heads_is_none_over_units() -> None:
    verdict = derive.equal(heads("h * max(W @ x)"), heads("h * max(W @ x, N)"))
    assert verdict.status != "equal"


def test_fixed_and_trained_arrays_do_not_correspond() -> None:
    lmu = axes_cells.CELLS["lmu"][0]
    trained = derive.Cell.parse(lmu.replace("fixed  A: M x M, B: M", "param A: M x M, B: M"))
    assert derive.equal(cell_of("lmu"), trained).status == "undecided"


def test_numbers_refute_a_map_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    a = cell_of("block_gru")
    one = Parts(a)
    given = {**one.params, **one.inputs, **one.states}
    same = {name: (name, tuple(range(len(shape)))) for name, shape in given.items()}
    swapped = Names({**same, "W_r": same["W_z"], "W_z": same["W_r"]})
    assert "at ordinary numbers" in confirm.confirm(one, one, swapped).apart
    monkeypatch.setattr(equal_axes, "_proved", lambda *_, **__: iter([swapped]))
    monkeypatch.setattr(equal_axes, "nearest", lambda *_: Nearest(None, False, False))
    verdict = derive.equal(a, derive.Cell.parse(a.to_text()))
    assert verdict.status == "undecided"
    assert "refuted by numbers" in str(verdict)


def test_an_index_that_is_renamed_is_not_captured() -> None:
    with polynomial.opaque():
        form = indexed(heads("U @ (h * (V @ h))").step)
        (output,) = form.outputs
        turned = renamed(output, {"0": "1", "1": "0"})
    assert renamed(turned, {"0": "1", "1": "0"}) == output
    assert turned != output


# --- diff -----------------------------------------------------------------------------------

LINES: dict[str, tuple[str, str, str]] = {
    "block_gru": ("(1 - z) * n", "(1 - z) * tanh(n)", "h_next"),
    "slstm": ("o * c' / (n' + 1)", "o * c' / n'", "h_next"),
    "tf_lstm": ("f + forget_bias", "f", "c_next"),
    "weight_norm_lstm": ("norm(U) * U", "norm(U, H) * U", ""),
    "lmu": ("tanh(W_x", "relu(W_x", "h_next"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_changed_line_is_found(name: str) -> None:
    old, new, changed = LINES[name]
    text = axes_cells.CELLS[name][0]
    assert old in text
    assert not derive.diff(cell_of(name), cell_of(name))
    found = derive.diff(cell_of(name), derive.Cell.parse(text.replace(old, new)))
    own = [c.name for c in found.equations if not c.follows]
    assert own == ([changed] if changed else ["a"] if found.equations else [])


def test_other_names_of_definitions_are_no_change() -> None:
    text = axes_cells.CELLS["tf_lstm"][0]
    other = text.replace("i, j, f, o =", "i, g, f, o =").replace("tanh(j)", "tanh(g)")
    found = derive.diff(cell_of("tf_lstm"), derive.Cell.parse(other))
    assert not found
    assert found.renamed == {"j": "g"}


def test_what_is_declared_otherwise_is_a_change() -> None:
    text = axes_cells.CELLS["block_gru"][0]
    other = text.replace("m: M once", "m: M").replace("h: N x D = h0", "h: N x D")
    found = {c.name: (c.before, c.after) for c in
             derive.diff(cell_of("block_gru"), derive.Cell.parse(other)).arrays}  # fmt: skip
    assert found["input m"] == ("M once", "M")
    assert found["state h"] == ("N x D = h0", "N x D")
    fixed = axes_cells.CELLS["lmu"][0].replace("fixed  A: M x M, B: M", "param A: M x M, B: M")
    found: Any = derive.diff(cell_of("lmu"), derive.Cell.parse(fixed)).arrays
    assert {c.before for c in found} == {"M x M, fixed", "M, fixed"}


def test_known_cells_are_compared_with_those_that_have_axes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from derive.comparison import known

    catalogue = {"heads": heads("tanh(W @ x + U @ h)"), "lstm": derive.cells.lstm()}
    monkeypatch.setattr(known.cells, "names", lambda: tuple(catalogue))
    monkeypatch.setattr(known.cells, "from_spec", catalogue.get)
    found: list[known.Relation] = []
    known.known(heads("tanh(V @ h + W @ x)"), found, lambda _: None)
    assert [(r.known, r.relation) for r in found] == [("heads", "equal")]
    found.clear()
    known.known(derive.cells.rnn(), found, lambda _: None)
    assert not found
