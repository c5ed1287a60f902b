"""derive.torch traced: torch.compile, torch.export, opcheck, fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch.autograd.forward_ad as forward_ad
from entries import OF_VECTORS
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

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


class Ending(nn.Module):
    def __init__(self, past_end: str) -> None:
        super().__init__()
        self.rnn = dt.RNN(derive.cells.rnn(), 3, 4, bidirectional=True, past_end=past_end)

    def forward(self, x: Any, lengths: Any, resets: Any) -> Any:
        return self.rnn(x, lengths=lengths, resets=resets, return_states=True)


@pytest.mark.parametrize("past_end", ["zero", "last", "computed"])
def test_export_leaves_steps_and_rows_of_rows_that_end_open(past_end: str) -> None:
    model = Ending(past_end)
    t, b = torch.export.Dim("t", min=2, max=64), torch.export.Dim("b", min=2, max=64)
    given = torch.randn(5, 4, 3), torch.tensor([1, 2, 3, 5]), torch.zeros(5, 4, dtype=torch.bool)
    shapes = {"x": {0: t, 1: b}, "lengths": {0: b}, "resets": {0: t, 1: b}}
    program = torch.export.export(model, given, dynamic_shapes=shapes, strict=False)
    other = torch.randn(7, 3, 3), torch.tensor([7, 1, 0]), torch.arange(21).view(7, 3) % 4 == 0
    pairs = zip(tree_leaves(program.module()(*other)), tree_leaves(model(*other)), strict=True)
    for one, two in pairs:
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


def test_fake_tensors_have_shapes() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        y, last = dt.GRU(3, 4)(torch.empty(5, 2, 3))
        assert y.shape == (5, 2, 4) and last.shape == (1, 2, 4)
        held = dt.RNN(derive.cells.rnn(), 3, 4, past_end="last")
        y, _ = held(torch.empty(5, 2, 3), lengths=torch.tensor([2, 5]))
        assert y.shape == (5, 2, 4)


# --- transforms inside of compile -------------------------------------------------------------


def a_stack() -> Any:
    torch.manual_seed(0)
    rnn = dt.RNN(derive.cells.rnn(), 3, 4, bidirectional=True, dtype=torch.float64)
    return rnn, {name: p.detach() for name, p in rnn.named_parameters()}


def transforms() -> dict[str, Any]:
    """{name: (function, argument)}; all but the first three to second order."""
    rnn, params = a_stack()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    lengths, along = torch.tensor([3, 5]), torch.randn_like(x)
    samples = torch.stack([x, 2 * x, -x])
    models = {name: torch.stack([p, 2 * p]) for name, p in params.items()}

    def output(x: Any) -> Any:
        return rnn(x, lengths=lengths)[0]

    def loss(x: Any) -> Any:
        return output(x).square().sum()

    def with_params(params: Any, x: Any) -> Any:
        return functional_call(rnn, params, (x,))[0].square().sum()

    return {
        "jvp": (lambda x: jvp(output, (x,), (along,))[1], x),
        "jacfwd": (lambda x: jacfwd(loss)(x), x),
        "vmap": (lambda x: vmap(output)(x), samples),
        "grad": (lambda x: grad(loss)(x), x),
        "jacrev": (lambda x: jacrev(output)(x), x),
        "per sample": (lambda x: vmap(grad(with_params), (None, 0))(params, x), samples),
        "ensemble": (lambda p: vmap(grad(with_params), (0, None))(p, x), models),
        "hvp": (lambda x: jvp(grad(loss), (x,), (along,))[1], x),
        "hessian": (lambda x: hessian(loss)(x), x),
    }


@pytest.mark.parametrize("name", list(transforms()))
def test_transforms_inside_of_compile_are_those_outside(name: str) -> None:
    function, argument = transforms()[name]
    wanted = tree_leaves(function(argument))
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    found = tree_leaves(compiled(argument))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
        assert other.abs().max() > 1e-3


@pytest.mark.parametrize("way", ["grad", "jvp"])
def test_a_penalty_on_a_slope_is_trained_inside_of_compile(way: str) -> None:
    rnn, _ = a_stack()
    x = torch.randn(5, 2, 3, dtype=torch.float64)

    def penalty(x: Any) -> Any:
        if way == "jvp":
            return jvp(lambda v: rnn(v)[0], (x,), (torch.ones_like(x),))[1].square().sum()
        return grad(lambda v: rnn(v)[0].square().sum())(x).square().sum()

    def gradients(function: Any) -> list[Any]:
        return list(torch.autograd.grad(function(x), list(rnn.parameters())))

    compiled = torch.compile(penalty, backend="aot_eager", fullgraph=True)
    for one, other in zip(gradients(compiled), gradients(penalty), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_autograd_grad_inside_of_compile_is_right_where_torch_traces_it() -> None:
    rnn, _ = a_stack()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)

    def penalty(x: Any) -> Any:
        loss = rnn(x)[0].square().sum()
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        return slope.square().sum()

    def gradients(function: Any) -> list[Any]:
        return list(torch.autograd.grad(function(x), list(rnn.parameters())))

    compiled = torch.compile(penalty, backend="aot_eager", fullgraph=True)
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        found = gradients(compiled)
    for one, other in zip(found, gradients(penalty), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_double_backward_of_compiled_code_raises() -> None:
    rnn, _ = a_stack()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    y = torch.compile(lambda v: rnn(v)[0], backend="aot_eager")(x)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        slope.square().sum().backward()


def test_make_fx_records_a_transform() -> None:
    rnn, _ = a_stack()
    samples = torch.randn(3, 5, 2, 3, dtype=torch.float64)
    recorded = make_fx(vmap(lambda v: rnn(v)[0]))(samples)
    assert torch.equal(recorded(samples), vmap(lambda v: rnn(v)[0])(samples))


def test_dual_numbers_that_enter_compiled_code_are_right_or_raise() -> None:
    rnn, x = dt.RNN(derive.cells.rnn(), 3, 4), torch.randn(5, 2, 3)
    compiled = torch.compile(lambda v: rnn(v)[0], backend="aot_eager")
    with torch.no_grad():
        compiled(x)
    with (
        forward_ad.dual_level(),
        pytest.raises(derive.DeriveError, match="dual numbers cannot be traced"),
    ):
        compiled(forward_ad.make_dual(x, torch.ones_like(x)))


@pytest.mark.parametrize("past_end", ["zero", "last", "computed"])
@pytest.mark.parametrize("options", ["resets", "lengths", "resets lengths states"])
def test_a_sequence_with_ends_and_fresh_starts_is_one_graph(options: str, past_end: str) -> None:
    rnn = dt.RNN(derive.cells.rnn(), 3, 4, bidirectional=True, past_end=past_end,
                 dtype=torch.float64)  # fmt: skip
    x = torch.randn(6, 3, 3, dtype=torch.float64)
    known: dict[str, Any] = {
        "resets": torch.arange(18).view(6, 3) % 5 == 0, "lengths": torch.tensor([6, 0, 4]),
        "states": True,
    }  # fmt: skip
    given = {name: known[name] for name in options.split()}
    given["return_states"] = given.pop("states", False)

    def gradients(call: Any) -> list[Any]:
        results = tree_leaves(call(x, **given))
        total = sum(r.square().sum() for r in results)
        return [*results, *torch.autograd.grad(total, list(rnn.parameters()))]

    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
    for one, other in zip(gradients(compiled), gradients(rnn), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_explicit_jvp_may_stand_inside_of_compile() -> None:
    cell, x = derive.cells.rnn(), torch.randn(5, 2, 3)
    params = {"W": torch.randn(4, 3), "U": torch.randn(4, 4), "b": torch.randn(4)}

    def moved(x: Any) -> Any:
        return dt.jvp(cell, params, x, t_inputs=torch.ones_like(x))[1][0]["h_next"]

    compiled = torch.compile(moved, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), moved(x))
