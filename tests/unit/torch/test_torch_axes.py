"""Cells with axes inside PyTorch: every order, both modes, modules, what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import axes_cells
import numpy as np
import pytest
import torch
from axes_by_hand import ROWS, SIZES, STEPS, over_time, point
from numpy_engine import numpy_engine
from torch.autograd import gradcheck, gradgradcheck

import derive
import derive.torch as dt
from derive import pipeline


@cache
def cell_of(name: str) -> derive.Cell:
    return derive.Cell.parse(axes_cells.CELLS[name][0])


def tensors(name: str, seed: int = 3) -> list[dict[str, Any]]:
    groups = point(derive.compile(cell_of(name), "numpy", "float64"), seed)
    return [{n: torch.tensor(a, requires_grad=True) for n, a in g.items()} for g in groups]


@pytest.fixture
def numpy_only(monkeypatch: pytest.MonkeyPatch) -> Any:
    with numpy_engine(monkeypatch):
        yield


SMALL = {
    "heads": """
input x: I, m: N once
state h: N x D = h0
param W: N x D x I, U: N x D x D, h0: N x D
h' = tanh(m * (U @ h) + softmax(W @ x))
""",
    "joined": """
input x: I
state h: H
param K: 2*H x I + H
fixed A: H x H
i, g = split(K @ concat(h, x), 2)
h' = sigmoid(i) * tanh(g) + A @ h
""",
}


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_every_order_are_those_of_differences(name: str) -> None:
    cell = derive.Cell.parse(f"cell {name}\n{SMALL[name].strip()}\noutput h'\n")
    sizes, random = {"I": 2, "N": 2, "D": 2, "H": 2, "2*H": 4, "I + H": 4}, np.random.default_rng(0)

    def draw(axes: Any, *ahead: int, grad: bool = True) -> torch.Tensor:
        array = random.normal(size=(*ahead, *(sizes[a] for a in axes)))
        return torch.tensor(array, requires_grad=grad)

    fixed, once = cell.checked.fixed, cell.checked.once
    params = {n: draw(axes, grad=n not in fixed) for n, axes in cell.params.items()}
    x = {n: draw(axes, *((2,) if n in once else (2, 2))) for n, axes in cell.inputs.items()}
    names = [n for n in params if n not in fixed]

    def run(*given: torch.Tensor) -> torch.Tensor:
        own = dict(zip([*names, *x], given, strict=True))
        every = {n: own.get(n, params[n]) for n in params}
        return dt.run(cell, every, {n: own[n] for n in x}, lengths=[2, 1])[0]["h_next"]

    given = [*(params[n] for n in names), *x.values()]
    assert gradcheck(run, given, check_forward_ad=True)
    assert gradgradcheck(run, given, check_fwd_over_rev=True)


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("name", ["block_gru", "tf_lstm", "lmu"])
def test_jvp_is_that_of_a_formula_by_hand(name: str) -> None:
    cell, step = cell_of(name), axes_cells.CELLS[name][1]
    own = pipeline.signature(cell)
    at = [{n: a.detach() for n, a in group.items()} for group in tensors(name)]
    random = np.random.default_rng(1)
    along = [{n: torch.tensor(random.normal(size=tuple(a.shape))) for n, a in group.items()
              if n not in own.fixed} for group in at]  # fmt: skip
    (outputs, last), (t_outputs, t_last) = dt.jvp(
        cell, *at, t_params=along[0], t_inputs=along[1], t_states=along[2]
    )
    full = [{n: t.get(n, torch.zeros_like(a)) for n, a in group.items()}
            for group, t in zip(at, along, strict=True)]  # fmt: skip

    def by_hand(*groups: Any) -> Any:
        return over_time(step, own, *groups)

    (wanted, wanted_last), (t_wanted, t_wanted_last) = torch.func.jvp(
        by_hand, tuple(at), tuple(full)
    )
    for mine, theirs in ((outputs, wanted), (last, wanted_last), (t_outputs, t_wanted),
                         (t_last, t_wanted_last)):  # fmt: skip
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor, theirs[key], rtol=1e-10, atol=1e-10)


def test_the_hessian_of_a_cell_in_c_is_that_of_a_formula_by_hand() -> None:
    cell, step = cell_of("block_gru"), axes_cells.CELLS["block_gru"][1]
    own, (p, x, s) = pipeline.signature(cell), tensors("block_gru")

    def slopes(run: Any) -> list[Any]:
        loss = sum(y.square().sum() for y in run(p, x, s)[0].values())
        first = torch.autograd.grad(loss, [*p.values(), x["m"]], create_graph=True)
        return list(
            torch.autograd.grad(sum(g.sin().sum() for g in first), [*p.values(), *x.values()])
        )

    mine = slopes(lambda *given: dt.run(cell, *given))
    theirs = slopes(lambda *given: over_time(step, own, *given))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


# --- modules --------------------------------------------------------------------------------


def a_gru(**options: Any) -> dt.RNN:
    torch.manual_seed(0)
    sizes = {n: SIZES[n] for n in ("M",)}
    return dt.RNN(cell_of("block_gru"), 5, (2, 3), dtype=torch.float64, **sizes, **options)


def params_of(rnn: Any, suffix: str) -> dict[str, Any]:
    return {name: getattr(rnn, f"{name}{suffix}") for name in rnn.cell.params}


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_module_of_heads_is_the_function_in_each_direction(bidirectional: bool) -> None:
    rnn = a_gru(bidirectional=bidirectional)
    x = torch.randn(STEPS, ROWS, 5, dtype=torch.float64)
    m = torch.randn(ROWS, 7, dtype=torch.float64)
    y, h = rnn(x, once={"m": m}, lengths=[4, 0, 2])
    assert y.shape == (STEPS, ROWS, 2, 3 * (1 + bidirectional))
    assert h.shape == (1 + bidirectional, ROWS, 2, 3)
    for k, suffix in enumerate(("_l0", "_l0_reverse")[: 1 + bidirectional]):
        outputs, last = dt.run(rnn.cell, params_of(rnn, suffix), {"x": x, "m": m},
                               lengths=[4, 0, 2], reverse=bool(k))  # fmt: skip
        assert torch.equal(y[..., 3 * k : 3 * k + 3], outputs["h_next"])
        assert torch.equal(h[k], last["h"])
    y.square().sum().backward()
    assert rnn.h0_l0.grad.abs().sum() > 0
    again, _ = rnn(x, h, once={"m": m}, lengths=[4, 0, 2])
    assert not torch.equal(again[0], y[0])


@pytest.mark.usefixtures("numpy_only")
def test_a_row_that_starts_afresh_starts_from_what_was_learned() -> None:
    rnn = a_gru()
    x = torch.randn(5, 2, 5, dtype=torch.float64)
    m = torch.randn(2, 7, dtype=torch.float64)
    resets = torch.zeros(5, 2, dtype=torch.bool)
    resets[3, 0] = True
    y, _, states = rnn(x, once={"m": m}, resets=resets, return_states=True)
    fresh, _ = rnn(x[3:, :1], once={"m": m[:1]})
    torch.testing.assert_close(y[3:, :1], fresh)
    torch.testing.assert_close(states["h"][0], y)
    whole, _ = rnn(x, once={"m": m})
    torch.testing.assert_close(y[:, 1], whole[:, 1])


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("past_end", ["last", "computed"])
def test_rows_that_end_keep_their_meaning_with_axes(past_end: str) -> None:
    rnn = a_gru(past_end=past_end, bidirectional=True)
    x, m = torch.randn(4, 3, 5, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    lengths = torch.tensor([4, 0, 2])
    y, h = rnn(x, once={"m": m}, lengths=lengths)
    rnn.past_end = "zero"
    plain, last = rnn(x, once={"m": m}, lengths=lengths)
    torch.testing.assert_close(h, last)
    torch.testing.assert_close(y[:2, 2], plain[:2, 2])
    after = y[2:, 2, :, :3]
    torch.testing.assert_close(after[0], y[1, 2, :, :3]) if past_end == "last" else None
    assert (after != 0).all()


@pytest.mark.usefixtures("numpy_only")
def test_layers_of_joined_gates_read_what_the_one_below_puts_out() -> None:
    torch.manual_seed(0)
    rnn = dt.RNN(cell_of("tf_lstm"), 5, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    assert rnn.K_l0.shape == (16, 9)
    assert rnn.K_l1.shape == (16, 12)
    assert (rnn.b_l1 == 0).all()
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    y, (h, _) = rnn(x)
    for layer in range(2):
        both = [
            dt.run(rnn.cell, params_of(rnn, f"_l{layer}{end}"), x, reverse=bool(k))
            for k, end in enumerate(("", "_reverse"))
        ]
        x = torch.cat([outputs["h_next"] for outputs, _ in both], -1)
        assert torch.equal(h[2 * layer], both[0][1]["h"])
    assert torch.equal(y, x)


@pytest.mark.usefixtures("numpy_only")
def test_fixed_arrays_are_buffers() -> None:
    fixed = {"A": 0.1 * torch.randn(7, 7), "B": np.ones(7)}
    rnn = dt.RNN(cell_of("lmu"), 5, 6, num_layers=2, M=7, fixed=fixed, dtype=torch.float64)
    assert dict(rnn.named_buffers()).keys() == {"A_l0", "B_l0", "A_l1", "B_l1"}
    torch.testing.assert_close(rnn.A_l1, fixed["A"].double())
    y, _ = rnn(torch.randn(3, 2, 5, dtype=torch.float64))
    y.sum().backward()
    assert rnn.A_l0.grad is None
    assert all(p.grad is not None for p in rnn.parameters())
    other = dt.RNN(cell_of("lmu"), 5, 6, num_layers=2, M=7, dtype=torch.float64,
                   fixed={"A": np.zeros((7, 7)), "B": np.zeros(7)})  # fmt: skip
    other.load_state_dict(rnn.state_dict())
    assert torch.equal(other.A_l0, rnn.A_l0)


@pytest.mark.usefixtures("numpy_only")
def test_one_step_is_the_first_of_a_sequence() -> None:
    rnn = a_gru()
    one = dt.Cell(cell_of("block_gru"), 5, (2, 3), M=7, dtype=torch.float64)
    one.load_state_dict({n.removesuffix("_l0"): v for n, v in rnn.state_dict().items()})
    x, m = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    y, h = rnn(x, once={"m": m})
    y_0, h_0 = one(x[0], once={"m": m})
    y_1, h_1 = one(x[1], h_0, once={"m": m})
    torch.testing.assert_close(torch.stack([y_0, y_1]), y)
    torch.testing.assert_close(h_1, h[0])
    alone, _ = one(x[0, 0], once={"m": m[0]})
    torch.testing.assert_close(alone, y[0, 0])


def test_parameters_with_axes_start_within_the_bounds_of_kernel_init() -> None:
    cell = cell_of("slstm")
    rnn = dt.RNN(cell, 5, (2, 30))
    kernel = derive.compile(cell, "numpy")
    for name, array in kernel.init(I=5, N=2, D=30).items():
        mine = getattr(rnn, f"{name}_l0")
        assert mine.shape == array.shape
        assert float(mine.detach().abs().max()) == pytest.approx(np.abs(array).max(), rel=0.15)


WRONG: dict[str, tuple[Any, str]] = {
    "two inputs": (lambda: dt.RNN(derive.Cell.parse(
        "cell two\ninput x: I, z: I\nstate h: H\nh' = tanh(W @ x + U @ z + h)\noutput h'"
    ), 3, 4), "two has 2 inputs, and layers pass on one"),
    "axes": (lambda: dt.RNN(cell_of("slstm"), 5, 6),
             "hidden_size of slstm is N x D, a number for each axis"),
    "layers": (lambda: dt.RNN(cell_of("slstm"), 5, (2, 3), num_layers=2),
               r"each reads \[I\] = \[5\], the one below puts out \[N, D\] = \[2, 3\]"),
    "fixed": (lambda: dt.RNN(cell_of("lmu"), 5, 6, M=7), "A of lmu is fixed, and no values"),
    "fixed shape": (lambda: dt.RNN(cell_of("lmu"), 5, 6, M=7, fixed={"A": np.ones((7, 6))}),
                    "fixed array A has the wrong shape"),
    "no fixed": (lambda: dt.RNN(cell_of("slstm"), 5, (2, 3), fixed={"A": np.ones(3)}),
                 "slstm has no fixed array 'A'"),
    "once": (lambda: a_gru()(torch.zeros(2, 1, 5, dtype=torch.float64)),
             "input m of block_gru, which does not change with time, is missing"),
    "once shape": (lambda: a_gru()(torch.zeros(2, 1, 5, dtype=torch.float64),
                                   once={"m": torch.zeros(1, 6)}), "input m has the wrong shape"),
    "once name": (lambda: a_gru()(torch.zeros(2, 1, 5, dtype=torch.float64), once={"k": 1}),
                  "block_gru has no input 'k' that is given once"),
    "once kind": (lambda: a_gru()(torch.zeros(2, 1, 5, dtype=torch.float64), once=[1]),
                  "once is a mapping from names to arrays, not"),
    "width": (lambda: dt.RNN(derive.Cell.parse(
        "cell wide\ninput x: I\nstate h: 2*H\nh' = tanh(W @ x + h)\nparam W: 2*H x I\noutput h'"
    ), 3, 5), r"hidden_size is 2\*H in wide, not 5"),
    "moving fixed": (lambda: dt.jvp(cell_of("lmu"), *tensors("lmu"),
                                    t_params={"A": torch.ones(7, 7)}),
                     "'A' of lmu is fixed, so it has no tangent"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_told_with_shapes(what: str) -> None:
    wrong, message = WRONG[what]
    with pytest.raises(derive.DeriveError, match=message):
        wrong()


def test_a_sum_of_widths_tells_its_dimension() -> None:
    cell = derive.Cell.parse(
        "cell wide\ninput x: I\nstate h: 2*H\nh' = tanh(W @ x + h)\nparam W: 2*H x I\noutput h'"
    )
    assert dt.RNN(cell, 3, 6).W_l0.shape == (6, 3)


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("name", ["tf_lstm", "block_gru"])
def test_one_graph_of_torch_compile_holds_the_whole_call(name: str) -> None:
    given: dict[str, Any] = {}
    if name == "block_gru":
        rnn, given["once"] = a_gru(), {"m": torch.randn(3, 7, dtype=torch.float64)}
    else:
        rnn = dt.RNN(cell_of(name), 5, 4, dtype=torch.float64)
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    y, _ = rnn(x, **given)
    traced, _ = torch.compile(rnn, fullgraph=True, backend="eager")(x, **given)
    assert torch.equal(traced, y)
    mine = torch.autograd.grad(y.sum(), list(rnn.parameters()))
    theirs = torch.autograd.grad(traced.sum(), list(rnn.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.usefixtures("numpy_only")
def test_an_input_given_once_becomes_narrow_under_autocast() -> None:
    rnn = a_gru().float()
    x, m = torch.randn(3, 2, 5), torch.randn(2, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = rnn(x, once={"m": m})
    assert y.dtype is torch.bfloat16
    torch.testing.assert_close(y.float(), rnn(x, once={"m": m})[0], rtol=0, atol=0.05)
