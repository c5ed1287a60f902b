"""What does not fit is refused before a kernel reads it, also after calls that did fit."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import derive  # noqa: E402
import derive.torch as dt  # noqa: E402
from derive import cells  # noqa: E402
from derive.errors import ArgumentError, ArgumentTypeError  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_parameter_that_changes_its_dtype_after_a_call_is_refused(dtype: Any) -> None:
    layer, x = dt.LSTM(3, 4), torch.randn(5, 2, 3)
    layer(x)
    layer.weight_hh_l0 = torch.nn.Parameter(layer.weight_hh_l0.detach().to(dtype))
    with pytest.raises(ArgumentTypeError, match="x is float32, and the parameters are"):
        layer(x)


def test_a_weight_of_a_narrow_product_is_cast_under_autocast() -> None:
    class LowRank(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.randn(16, 2))
            self.b = torch.nn.Parameter(torch.randn(2, 4))

        def forward(self, _: Any) -> Any:
            return self.a @ self.b

    torch.manual_seed(0)
    layer, x = dt.LSTM(3, 4), torch.randn(5, 2, 3)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", LowRank())
    plain = layer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = layer(x)[0]
    assert narrow.dtype is torch.bfloat16
    torch.testing.assert_close(narrow.float(), plain, atol=0.03, rtol=0)


def test_a_cell_does_not_cast_its_parameters_in_silence() -> None:
    with pytest.raises(ArgumentTypeError, match="x is float64, and the parameters are float32"):
        dt.Cell(cells.lstm(), 3, 4)(torch.randn(2, 3).double())


def test_a_cell_without_parameters_runs_as_a_layer() -> None:
    cell = derive.Cell.parse("cell c\ninput x: H\nstate h: H\nh' = tanh(x + h)\noutput h'")
    x = torch.randn(5, 2, 4)
    h = torch.zeros(2, 4)
    for step in x:
        h = torch.tanh(step + h)
    torch.testing.assert_close(dt.RNN(cell, 4, 4)(x)[0][-1], h)


def test_a_cell_of_biases_alone_runs_without_them() -> None:
    cell = derive.Cell.parse("cell c\ninput x: H\nstate h: H\nh' = tanh(x + h + b)\noutput h'")
    x = torch.randn(5, 2, 4).double()
    h = torch.zeros(2, 4).double()
    for step in x:
        h = torch.tanh(step + h)
    torch.testing.assert_close(dt.RNN(cell, 4, 4, bias=False)(x)[0][-1], h)


@pytest.mark.parametrize("resets", [torch.zeros(2, 5, 1, dtype=torch.bool), [[True], []], "no", 1])
def test_resets_of_another_shape_or_kind_are_refused(resets: Any) -> None:
    for batch_first in (True, False):
        layer = dt.RNN(cells.gru(), 3, 4, batch_first=batch_first)
        with pytest.raises((ArgumentError, ArgumentTypeError), match="resets"):
            layer(torch.randn(2, 5, 3), resets=resets)
    with pytest.raises((ArgumentError, ArgumentTypeError), match="resets"):
        dt.RNN(cells.gru(), 3, 4)(torch.randn(5, 3), resets=True)


@pytest.mark.parametrize("threads", [0, -1, 2.5, "a", True])
def test_a_number_of_threads_is_a_positive_integer(threads: Any) -> None:
    cell = cells.rnn()
    params = {name: torch.zeros([3 if d == "I" else 4 for d in shape])
              for name, shape in cell.params.items()}  # fmt: skip
    with pytest.raises((ArgumentError, ArgumentTypeError), match="threads"):
        dt.run(cell, params, torch.zeros(2, 1, 3), threads=threads)
    with pytest.raises(ArgumentTypeError, match="reverse"):
        dt.run(cell, params, torch.zeros(2, 1, 3), reverse="no")


def test_what_lies_on_another_device_is_refused() -> None:
    with pytest.raises(ArgumentError, match="x is on cpu, and the parameters are on meta"):
        dt.LSTM(3, 4, device="meta")(torch.randn(2, 2, 3))
    with pytest.raises(ArgumentError, match="lengths is on meta"):
        dt.LSTM(3, 4)(torch.randn(2, 2, 3), lengths=torch.ones(2, dtype=torch.int64, device="meta"))
    with pytest.raises(ArgumentError, match="x is on cpu, and state is on meta"):
        dt.GRU(3, 4)(torch.randn(2, 2, 3), torch.zeros(1, 2, 4, device="meta"))


@pytest.mark.parametrize("numpy", [False, True])
def test_lengths_that_a_transform_hides_are_checked_all_the_same(
    numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if numpy:
        from derive.errors import BuildError
        from derive.torch import engine

        untuned = engine.pipeline.untuned

        def without_c(cell: Any, target: str, *rest: Any) -> Any:
            if target == "c":
                raise BuildError("no compiler")
            return untuned(cell, target, *rest)

        monkeypatch.setattr(engine.pipeline, "untuned", without_c)
        engine._engine.cache_clear()
    layer, x = dt.RNN(cells.light_ru(), 3, 4), torch.randn(5, 3, 3)
    try:
        with pytest.raises(ArgumentError, match="lengths has an entry 9"):
            torch.func.vmap(lambda ends: layer(x, lengths=ends)[0])(torch.tensor([[9, 1, 1]]))
    finally:
        engine_cache_clear()


def engine_cache_clear() -> None:
    from derive.torch import engine

    engine._engine.cache_clear()


X = torch.ones(5, 2, 3)


def leaf_tracer_hint(rnn: Any) -> Any:
    return torch.fx.symbolic_trace(nn.Sequential(rnn))


def batched_by_the_older_vmap(rnn: Any) -> Any:
    x = torch.randn(5, 2, 3, requires_grad=True)
    y = rnn(x)[0]
    return torch.autograd.grad(y, x, torch.randn(3, *y.shape), is_grads_batched=True)


def forward_mode_by_the_older_vmap(rnn: Any) -> Any:
    return torch.autograd.functional.jacobian(
        lambda x: rnn(x)[0], torch.randn(5, 2, 3), vectorize=True, strategy="forward-mode"
    )


def with_sparse_weights(rnn: Any) -> Any:
    rnn.weight_ih_l0 = nn.Parameter(rnn.weight_ih_l0.detach().to_sparse())
    return rnn(torch.randn(5, 2, 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda rnn: torch.jit.trace(rnn, X), "torch.jit.trace does not take"),
        (torch.jit.script, "torch.jit.script does not take derived cells"),
        (lambda rnn: torch.jit.script(nn.Sequential(rnn)), "torch.jit.script does not take"),
        (
            lambda rnn: rnn(torch.nested.nested_tensor([torch.randn(5, 3), torch.randn(2, 3)])),
            "x is a nested tensor\n  hint: torch.nn.utils.rnn.pack_sequence",
        ),
        (lambda rnn: rnn(torch.masked.masked_tensor(X, X > 0)), "x is a MaskedTensor"),
        (lambda rnn: rnn(X.to_sparse()), "x is torch.sparse_coo"),
        (lambda rnn: rnn(X.to(torch.complex64)), "x has dtype torch.complex64"),
        (leaf_tracer_hint, "x must be a Tensor, not Proxy\n  hint: a torch.fx.Tracer whose"),
        (batched_by_the_older_vmap, "is_grads_batched=True and vectorize=True do not batch"),
        (forward_mode_by_the_older_vmap, "is_grads_batched=True and vectorize=True do not batch"),
        (with_sparse_weights, "a parameter is torch.sparse_coo"),
    ],
)  # fmt: skip
def test_what_pytorch_has_besides_plain_tensors_is_refused_in_words(call: Any, says: str) -> None:
    with pytest.raises(derive.DeriveError, match=says):
        call(dt.LSTM(3, 4))


@pytest.mark.filterwarnings("ignore")
def test_a_cell_is_not_scripted_either() -> None:
    with pytest.raises(derive.DeriveError, match=r"torch.jit.script does not take"):
        torch.jit.script(dt.Cell(derive.cells.rnn(), 3, 4))


def test_widths_of_zero_are_valid_as_in_a_kernel() -> None:
    rnn = dt.LSTM(0, 4)
    y, _ = rnn(torch.randn(5, 2, 0))
    y.square().sum().backward()
    assert rnn.weight_ih_l0.grad.shape == (16, 0) and rnn.weight_hh_l0.grad.abs().sum() > 0
    assert dt.RNN(derive.cells.lstm(), 3, 0)(torch.randn(5, 2, 3))[0].shape == (5, 2, 0)
