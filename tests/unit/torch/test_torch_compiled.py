"""derive.torch traced: torch.compile, torch.export, opcheck, fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch.autograd.forward_ad as forward_ad
from entries import OF_VECTORS
from torch import nn

import derive
import derive.torch as dt
from derive.torch.engine import engine_of

SIZES = {"I": 2, "H": 3}


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_operators(name: str, dtype: Any) -> None:
    engine = engine_of(derive.cells.from_spec(name).to_text(), 1)

    def draw(shape: Any, *before: int) -> Any:
        axes = (*before, *(SIZES.get(d, 2 if isinstance(d, str) else d) for d in shape))
        return torch.randn(axes, dtype=dtype, requires_grad=True)

    params = [draw(s) for s in engine.params]
    x, states = [draw(s, 3, 2) for s in engine.inputs], [draw(s, 2) for s in engine.states]
    for lengths, reverse in ((None, False), (torch.tensor([2, 3]), True)):
        given = (engine.key, params, x, states, lengths, reverse)
        found = torch.library.opcheck(torch.ops.derive.forward.default, (*given, True))
        assert set(found.values()) == {"SUCCESS"}
        results = [r.detach() for r in torch.ops.derive.forward(*given, True)]
        d = [torch.randn_like(r) for r in results[:-1]]
        count = len(engine.outputs)
        wanted = [True] * len((*params, *x, *states))
        found = torch.library.opcheck(
            torch.ops.derive.backward.default, (*given, results[-1], d[:count], d[count:], wanted)
        )
        assert set(found.values()) == {"SUCCESS"}


def test_opcheck_passes_all_four_parts() -> None:
    check_operators("rnn", torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", OF_VECTORS)
def test_opcheck_passes_for_every_cell(name: str, dtype: Any) -> None:
    check_operators(name, dtype)


def test_the_operators_have_second_derivatives() -> None:
    engine = engine_of(derive.cells.rnn().to_text(), 1)
    given = [torch.randn(s, dtype=torch.float64, requires_grad=True)
             for s in ((3, 2), (3, 3), (3,), (3, 2, 2), (2, 3))]  # fmt: skip
    lengths = torch.tensor([2, 3])

    def run(*t: Any) -> Any:
        return torch.ops.derive.forward(engine.key, t[:3], t[3:4], t[4:], lengths, True, True)[:-1]

    assert torch.autograd.gradcheck(run, given) and torch.autograd.gradgradcheck(run, given)


def trained(module: Any, call: Any, x: Any, **options: Any) -> list[Any]:
    module.zero_grad()
    x = x.clone().requires_grad_()
    y = call(x, **options)[0]
    y.pow(2).sum().backward()
    return [y, x.grad, *(p.grad.clone() for p in module.parameters())]


def check_compiled(module: Any, backend: str, lengths: bool = False) -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    for shape in ((5, 2, 3), (7, 3, 3), (9, 4, 3), (6, 5, 3)):
        x = torch.randn(shape)
        options = {"lengths": torch.full(shape[1:2], 4)} if lengths else {}
        one = trained(module, module, x, **options)
        other = trained(module, compiled, x, **options)
        assert all((a - b).abs().max() <= 1e-6 for a, b in zip(one, other, strict=True))
    assert counter.frame_count <= 2  # one shape, then any
    with torch.no_grad():
        assert torch.allclose(compiled(x, **options)[0], module(x, **options)[0], atol=1e-6)


def test_compile_takes_a_model_whole_and_any_shape_with_the_second() -> None:
    check_compiled(dt.RNN(derive.cells.rnn(), 3, 4, num_layers=2, bidirectional=True), "aot_eager")
    torch._dynamo.reset()
    check_compiled(dt.LSTM(3, 4), "aot_eager", lengths=True)


@pytest.mark.slow
def test_inductor_compiles_a_model_whole() -> None:
    check_compiled(dt.LSTM(3, 4, num_layers=2, bidirectional=True), "inductor")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = dt.LSTM(3, 4, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.rnn(x)[0].sum(-1)


@pytest.mark.parametrize("strict", [False, True])
def test_export_leaves_steps_and_rows_open(strict: bool) -> None:
    model = Model()
    t, b = torch.export.Dim("t", min=2, max=64), torch.export.Dim("b", min=2, max=64)
    program = torch.export.export(
        model, (torch.randn(5, 4, 3),), dynamic_shapes={"x": {0: b, 1: t}}, strict=strict
    )
    x = torch.randn(7, 6, 3)
    assert torch.equal(program.module()(x), model(x))


def test_fake_tensors_have_shapes() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        y, last = dt.GRU(3, 4)(torch.empty(5, 2, 3))
        assert y.shape == (5, 2, 4) and last.shape == (1, 2, 4)


def test_a_jvp_inside_of_compile_is_right_or_raises() -> None:
    rnn, x = dt.RNN(derive.cells.rnn(), 3, 4), torch.randn(5, 2, 3)

    def moved(x: Any) -> Any:
        return torch.func.jvp(lambda v: rnn(v)[0], (x,), (torch.ones_like(x),))[1]

    wanted = moved(x)
    assert wanted.abs().max() > 0.01
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(moved, backend="aot_eager", fullgraph=True)(x)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(moved, backend="aot_eager")(x), wanted)


def test_dual_numbers_that_enter_compiled_code_are_right_or_raise() -> None:
    rnn, x = dt.RNN(derive.cells.rnn(), 3, 4), torch.randn(5, 2, 3)
    compiled = torch.compile(lambda v: rnn(v)[0], backend="aot_eager")
    with torch.no_grad():
        compiled(x)
    with (
        forward_ad.dual_level(),
        pytest.raises(derive.DeriveError, match="a derivative in forward mode cannot be traced"),
    ):
        compiled(forward_ad.make_dual(x, torch.ones_like(x)))


def test_the_explicit_jvp_may_stand_inside_of_compile() -> None:
    cell, x = derive.cells.rnn(), torch.randn(5, 2, 3)
    params = {"W": torch.randn(4, 3), "U": torch.randn(4, 4), "b": torch.randn(4)}

    def moved(x: Any) -> Any:
        return dt.jvp(cell, params, x, t_inputs=torch.ones_like(x))[1][0]["h_next"]

    compiled = torch.compile(moved, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), moved(x))
