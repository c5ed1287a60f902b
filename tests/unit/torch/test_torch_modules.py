"""derive.torch.RNN and Cell as PyTorch modules: what other code does with a module."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import derive
import derive.torch as dt
from derive import layers
from derive.errors import InternalError
from derive.torch.engine import Engine, engine_of, engine_of_key


def a_module(**options: Any) -> Any:
    torch.manual_seed(0)
    return dt.RNN(derive.cells.rnn(), 3, 4, dtype=torch.float64, **options)


def some_x(*shape: int) -> Any:
    return torch.randn(shape or (5, 2, 3), dtype=torch.float64)


# --- results --------------------------------------------------------------------------------


WAYS = tuple(itertools.product(("zero", "last", "computed"), (None, [5, 3]), (False, True)))


def test_layers_agree_with_the_layers_of_numpy() -> None:
    check_layers("zero", None, False)
    check_layers("zero", [5, 3], False)
    check_layers("computed", [5, 3], True)


@pytest.mark.slow
@pytest.mark.parametrize(("past_end", "lengths", "fresh"), WAYS)
def test_layers_agree_with_the_layers_of_numpy_in_every_way(
    past_end: str, lengths: Any, fresh: bool
) -> None:
    check_layers(past_end, lengths, fresh)


def check_layers(past_end: str, lengths: Any, fresh: bool) -> None:
    rnn = a_module(num_layers=2, bidirectional=True)
    plain = layers.RNN(rnn.cell, 2, True, dtype="float64", I=3, H=4)
    plain.set_params({name: p.detach().numpy() for name, p in rnn.named_parameters()})
    x, flags = some_x(), torch.tensor([[1, 0], [0, 1], [0, 0], [1, 1], [0, 0]], dtype=torch.bool)
    d_y = some_x(5, 2, 8)
    rnn.past_end = plain.past_end = past_end
    resets = flags if fresh else None
    y, last = rnn(x, lengths=lengths, resets=resets)
    run = plain.forward(
        x.numpy(), lengths=lengths, resets=None if resets is None else resets.numpy()
    )
    np.testing.assert_allclose(y.detach().numpy(), run.output, atol=1e-14)
    np.testing.assert_allclose(last.detach().numpy(), run.states["h"], atol=1e-14)
    y.backward(d_y)
    grads = plain.backward(run, d_y.numpy())
    for name, p in rnn.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), grads.params[name], atol=1e-13)
    same, _, states = rnn(x, lengths=lengths, resets=resets, return_states=True)
    assert torch.allclose(same, y, atol=1e-14) and states["h"].shape == (4, 5, 2, 4)
    ends = states["h"][0, [n - 1 for n in lengths or (5, 5)], range(2)]
    assert torch.allclose(ends, last[0], atol=1e-14)


def test_states_of_all_steps_are_those_of_a_loop() -> None:
    torch.manual_seed(0)
    cell = derive.cells.lstm()
    rnn = dt.RNN(cell, 3, 4, batch_first=True, dtype=torch.float64)
    one = dt.Cell(cell, 3, 4, dtype=torch.float64)
    one.load_state_dict({name.removesuffix("_l0"): p for name, p in rnn.state_dict().items()})
    x = some_x(2, 5, 3)
    y, (_, c), states = rnn(x, return_states=True)
    state = None
    for t in range(5):
        out, state = one(x[:, t], state)
        assert torch.allclose(out, y[:, t], atol=1e-14)
        assert torch.allclose(state[0], states["h"][0, :, t], atol=1e-14)
        assert torch.allclose(state[1], states["c"][0, :, t], atol=1e-14)
    assert torch.allclose(state[1], c[0], atol=1e-14)
    alone, _ = rnn(x[0])
    assert torch.allclose(alone, y[0], atol=1e-14)
    assert one(x[0, 0])[0].shape == (4,)


def test_equal_cells_with_their_parameters_in_another_order_never_meet() -> None:
    first = "cell two\ninput x: I\nstate h: H\n{}h' = tanh(W @ x + U @ h)\noutput h'\n"
    one = derive.Cell.parse(first.format("param W: H x I\nparam U: H x H\n"))
    other = derive.Cell.parse(first.format("param U: H x H\nparam W: H x I\n"))
    assert one == other and list(one.params) != list(other.params)
    x, flags = torch.randn(5, 2, 4), torch.zeros(5, 2, dtype=torch.bool)
    found = []
    for cell in (one, other):
        torch.manual_seed(0)
        rnn = dt.RNN(cell, 4, 4)
        with torch.no_grad():
            for k, name in enumerate(("W_l0", "U_l0")):
                rnn.get_parameter(name).copy_(torch.arange(16.0).view(4, 4) / (20 + k))
        params = {name: rnn.get_parameter(f"{name}_l0") for name in cell.params}
        found.append([
            rnn(x)[0], rnn(x, resets=flags)[0], rnn(x, return_states=True)[0],
            dt.run(cell, params, x)[0]["h_next"],
        ])  # fmt: skip
    for results in found:
        assert all(torch.allclose(results[0], other, atol=1e-6) for other in results)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_other_dimensions_of_a_cell_are_given_by_name() -> None:
    rnn = dt.RNN(derive.cells.from_spec("lstm_projection"), 3, 2, H=6)
    y, (h, c) = rnn(torch.randn(5, 2, 3))
    assert (y.shape[-1], h.shape[-1], c.shape[-1]) == (2, 2, 6)


def test_without_bias_the_vectors_are_zero_and_no_parameters() -> None:
    rnn = a_module(bias=False)
    assert list(dict(rnn.named_parameters())) == ["W_l0", "U_l0"]
    whole = a_module()
    whole.load_state_dict({**rnn.state_dict(), "b_l0": torch.zeros(4, dtype=torch.float64)})
    x = some_x()
    assert torch.equal(rnn(x)[0], whole(x)[0])
    rnn(x)[0].sum().backward()


@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 0, 3), (0, 0, 3)])
def test_no_steps_and_no_rows_are_valid(shape: Any) -> None:
    rnn = a_module(num_layers=2, bidirectional=True)
    x = some_x(*shape).requires_grad_()
    first = torch.randn(4, shape[1], 4, dtype=torch.float64, requires_grad=True)
    y, last = rnn(x, first)
    assert y.shape == (*shape[:2], 8)
    (y.sum() + (2 * last).sum()).backward()
    assert all(not p.grad.any() for p in rnn.parameters())
    assert x.grad.shape == x.shape
    if not shape[0]:
        assert torch.equal(last, first) and (first.grad == 2).all()


def test_strided_inputs_and_cotangents_give_the_same_bits() -> None:
    rnn = a_module()
    x = some_x(3, 2, 5).permute(2, 1, 0)
    assert not x.is_contiguous()
    y = rnn(x)[0]
    assert torch.equal(y, rnn(x.contiguous())[0])
    d_y = some_x(4, 2, 5).permute(2, 1, 0)
    one = torch.autograd.grad(y, list(rnn.parameters()), d_y, retain_graph=True)
    other = torch.autograd.grad(y, list(rnn.parameters()), d_y.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    imaginary = torch.complex(x.contiguous(), -x.contiguous()).conj().imag  # has its sign apart
    assert torch.equal(rnn(imaginary)[0], y)


def test_nan_in_the_padding_changes_nothing() -> None:
    rnn = a_module(bidirectional=True)
    x, lengths = some_x(), [3, 5]
    spoilt = x.clone()
    spoilt[3:, 0] = torch.nan
    results = []
    for given in (x, spoilt):
        rnn.zero_grad()
        y, _ = rnn(given, lengths=lengths)
        y.sum().backward()
        results.append([y, *(p.grad.clone() for p in rnn.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_parameters_and_inputs_may_be_written_into_only_after_backward() -> None:
    rnn = a_module()
    y = rnn(some_x())[0].sum()
    with torch.no_grad():
        rnn.W_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes_are_computed_in_float32(dtype: Any) -> None:
    torch.manual_seed(0)
    rnn = dt.LSTM(3, 4)
    x = torch.randn(5, 2, 3)
    narrow = copy.deepcopy(rnn).to(dtype)
    y, (h, _) = narrow(x.to(dtype))
    assert y.dtype == h.dtype == dtype
    wide = copy.deepcopy(narrow).float()
    assert torch.equal(y, wide(x.to(dtype).float())[0].to(dtype))
    y.float().sum().backward()
    assert {p.grad.dtype for p in narrow.parameters()} == {dtype}


def test_autocast_gives_the_dtypes_that_torchs_own_gives() -> None:
    theirs, ours = nn.LSTM(3, 4), dt.LSTM(3, 4)
    ours.load_state_dict(theirs.state_dict())
    x, state = torch.randn(5, 2, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4))
    found = []
    with torch.autocast("cpu", torch.bfloat16):
        for module in (theirs, ours):
            y, (h, c) = module(x, state)
            found.append((y, h, c))
    assert [t.dtype for t in found[0]] == [t.dtype for t in found[1]]
    assert (found[0][0] - found[1][0]).abs().max() < 0.03
    found[1][0].float().sum().backward()
    assert ours.weight_ih_l0.grad.dtype == torch.float32


def test_the_numpy_target_serves_where_no_compiler_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from derive import pipeline
    from derive.errors import BuildError
    from derive.torch import engine

    cell = derive.cells.rnn()
    with_c = engine_of(cell.to_text(), 1)
    with_c.backend("float32")

    untuned = pipeline.untuned

    def no_compiler(cell: Any, target: str, *rest: Any) -> Any:
        if target == "c":
            raise BuildError("no C compiler was found")
        return untuned(cell, target, *rest)

    monkeypatch.setattr(pipeline, "untuned", no_compiler)
    engine._mention_once.cache_clear()
    plain = Engine(cell, 1, with_c.groups)
    given = (
        [torch.randn(4, 3), torch.randn(4, 4), torch.randn(4)],
        [torch.randn(5, 2, 3)],
        [torch.randn(2, 4)],
    )
    lengths = torch.tensor([5, 3])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = plain.forward(*given, lengths, True, True)
        plain.forward(*given, lengths, True, False)
    assert [str(w.message) for w in caught] == [
        "derive.torch computes with NumPy, which is slower: no C compiler was found"
    ]
    wanted = with_c.forward(*given, lengths, True, True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found[:2], wanted[:2], strict=True))
    assert not found[-1].numel() and not plain.room(torch.float32, plain.sizes(*given))
    d = [torch.randn(5, 2, 4)], [None]
    one = plain.backward(*given, lengths, True, found[-1], *d)
    other = with_c.backward(*given, lengths, True, wanted[-1], *d)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))
    again = with_c.backward(*given, lengths, True, found[-1], *d)  # nothing kept: it runs again
    assert all(torch.equal(a, b) for a, b in zip(other, again, strict=True))


X = "input x: I\n"
#: What arrays with axes add to the language: joined axes, heads, a learned start, and so on.
NEWER = {
    "cat": X + "state h: H\nparam K: H x I + H\nh' = tanh(K @ concat(x, h) + b)\n",
    "heads": X + "state h: N x D\nparam U: N x D x D, W: N x D x I\nh' = tanh(U @ h + W @ x)\n",
    "learned": X + "state h: H = h0\nparam h0: H\nh' = tanh(W @ x + U @ h)\n",
    "once": "input x: I, m: H once\nstate h: H\nh' = tanh(W @ x + U @ h) * m\n",
    "fixed": X + "state h: H\nfixed A: H x H\nh' = tanh(W @ x + A @ h)\n",
}


def newer(name: str) -> Any:
    return derive.Cell.parse(f"cell {name}\n{NEWER[name]}output h'\n")


@pytest.mark.parametrize("name", NEWER)
def test_run_agrees_with_the_kernel_on_the_whole_language(name: str) -> None:
    cell = newer(name)
    kernel = derive.compile(cell, "numpy", "float64")
    random = np.random.default_rng(0)
    sizes = {"I": 3, "H": 4, "N": 2, "D": 3, "I + H": 7}

    def draw(shape: Any, *before: int) -> Any:
        return random.normal(size=(*before, *(sizes[d] for d in shape)))

    params = {n: draw(s) for n, s in cell.params.items()}
    x = {n: draw(s, *((2,) if n in cell.checked.once else (5, 2))) for n, s in cell.inputs.items()}
    run = kernel.forward(params, x, lengths=[5, 3])
    grads = kernel.backward(run, np.ones_like(run.output))
    own = {n: torch.tensor(a, requires_grad=True) for n, a in params.items()}
    given = {n: torch.tensor(a, requires_grad=True) for n, a in x.items()}
    outputs, last = dt.run(cell, own, given, lengths=[5, 3])
    outputs["h_next"].sum().backward()
    np.testing.assert_allclose(outputs["h_next"].detach().numpy(), run.output, atol=1e-14)
    np.testing.assert_allclose(last["h"].detach().numpy(), run.states["h"], atol=1e-14)
    for group, wanted in ((own, grads.params), (given, grads.inputs)):
        for n, array in wanted.items():
            np.testing.assert_allclose(group[n].grad.numpy(), array, atol=1e-13)
    assert all(own[n].grad is None for n in cell.checked.fixed)


def test_parameters_start_as_the_cell_says() -> None:
    text = "cell starts\ninput x: I\nstate h: H\nparam b: H = 1, U: H x H = orthogonal\n"
    cell = derive.Cell.parse(text + "h' = tanh(W @ x + U @ h + b)\noutput h'\n")
    torch.manual_seed(0)
    for module in (dt.RNN(cell, 3, 4, num_layers=2), dt.Cell(cell, 3, 4)):
        for name, value in module.named_parameters():
            if name.startswith("b"):
                assert (value == 1).all()
            if name.startswith("U"):
                assert torch.allclose(value @ value.t(), torch.eye(4), atol=1e-6)


def test_a_long_call_computes_the_gradients_that_are_wanted_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from derive.binding import wanted as wanted_gradients

    monkeypatch.setattr(wanted_gradients, "_LONG", 0)
    rnn, x = a_module(), some_x().requires_grad_()
    params = list(rnn.parameters())
    whole = torch.autograd.grad(rnn(x)[0].sum(), [*params, x])
    alone = torch.autograd.grad(rnn(x)[0].sum(), params)
    assert all(torch.equal(a, b) for a, b in zip(alone, whole, strict=False))
    assert torch.equal(torch.autograd.grad(rnn(x)[0].sum(), x)[0], whole[-1])
    (slope,) = torch.autograd.grad(rnn(x)[0].sum(), x, create_graph=True)
    once = torch.autograd.grad(slope.square().sum(), params)
    monkeypatch.setattr(wanted_gradients, "_LONG", 1 << 60)
    (slope,) = torch.autograd.grad(rnn(x)[0].sum(), x, create_graph=True)
    again = torch.autograd.grad(slope.square().sum(), params)
    assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(once, again, strict=True))


# --- as a module ----------------------------------------------------------------------------


def test_copies_pickles_and_checkpoints_give_the_same_bits() -> None:
    rnn, x = a_module(num_layers=2), some_x()
    y = rnn(x)[0]
    assert torch.equal(copy.deepcopy(rnn)(x)[0], y)
    assert torch.equal(pickle.loads(pickle.dumps(rnn))(x)[0], y)
    file = io.BytesIO()
    torch.save(rnn.state_dict(), file)
    file.seek(0)
    other = a_module(num_layers=2)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(other(x)[0], y)
    drop_in = dt.LSTM(3, 4)
    again = pickle.loads(pickle.dumps(drop_in))
    assert torch.equal(again(x.float())[0], drop_in(x.float())[0])


def test_an_engine_is_known_by_its_content() -> None:
    engine = engine_of(derive.cells.rnn().to_text(), 1)
    assert pickle.loads(pickle.dumps(engine)).key == engine.key
    assert copy.deepcopy(engine) is engine
    assert engine_of_key(engine.key) is engine


def test_functional_call_takes_other_parameters() -> None:
    rnn, x = a_module(), some_x()
    params = {name: torch.randn_like(p) for name, p in rnn.named_parameters()}
    other = a_module()
    other.load_state_dict(params)
    assert torch.equal(torch.func.functional_call(rnn, params, (x,))[0], other(x)[0])


def test_parametrizations_and_weight_drop_work() -> None:
    x = some_x()
    for change in (parametrizations.weight_norm, parametrizations.spectral_norm):
        rnn = dt.LSTM(3, 4, dtype=torch.float64)
        change(rnn, "weight_hh_l0")
        rnn(x)[0].sum().backward()
        kept = rnn.parametrizations.weight_hh_l0
        assert all(p.grad.abs().max() > 0 for p in kept.parameters())
    rnn = dt.LSTM(3, 4, dtype=torch.float64)
    weight = rnn.weight_hh_l0
    del rnn.weight_hh_l0
    rnn.register_parameter("raw", weight)
    rnn.weight_hh_l0 = nn.functional.dropout(rnn.raw, 0.5)
    rnn(x)[0].sum().backward()
    assert rnn.raw.grad.abs().max() > 0


def test_hooks_see_inputs_and_gradients() -> None:
    rnn, seen = a_module(), []
    rnn.register_forward_pre_hook(lambda _, given: seen.append("before"))
    rnn.register_forward_hook(lambda _, given, result: seen.append(type(result).__name__))
    rnn.W_l0.register_hook(lambda grad: seen.append(tuple(grad.shape)))
    rnn.register_full_backward_hook(lambda *_: seen.append("after"))
    rnn(some_x().requires_grad_())[0].sum().backward()
    assert seen == ["before", "tuple", (4, 3), "after"] or set(map(str, seen)) == {
        "before", "tuple", "(4, 3)", "after"
    }  # fmt: skip


def test_no_gradient_is_computed_for_what_needs_none() -> None:
    rnn = a_module()
    rnn.U_l0.requires_grad_(False)
    rnn(some_x())[0].sum().backward()
    assert rnn.U_l0.grad is None and rnn.W_l0.grad is not None


def test_inference_mode_and_no_grad_give_the_same_bits() -> None:
    rnn, x = a_module(), some_x()
    y = rnn(x)[0]
    with torch.no_grad():
        assert torch.equal(rnn(x)[0], y)
    with torch.inference_mode():
        assert torch.equal(rnn(x)[0], y)


def test_checkpointing_gives_the_same_gradients() -> None:
    from torch.utils.checkpoint import checkpoint

    rnn, x = a_module(), some_x().requires_grad_()
    rnn(x)[0].sum().backward()
    wanted = [p.grad.clone() for p in rnn.parameters()]
    rnn.zero_grad()
    checkpoint(rnn, x, use_reentrant=False)[0].sum().backward()
    assert all(torch.equal(p.grad, w) for p, w in zip(rnn.parameters(), wanted, strict=True))


def test_a_module_on_the_device_meta_has_shapes() -> None:
    rnn = dt.LSTM(3, 4, bidirectional=True, device="meta")
    y, (h, c) = rnn(torch.empty(5, 2, 3, device="meta"))
    assert y.device.type == "meta" and y.shape == (5, 2, 8) and h.shape == c.shape == (2, 2, 4)
    rnn.to_empty(device="cpu").reset_parameters()
    assert rnn(torch.zeros(5, 2, 3))[0].isfinite().all()


WORKERS = """
import sys, torch
import derive, derive.torch as dt
from torch.utils.data import DataLoader, Dataset

class Rows(Dataset):
    def __init__(self, rnn): self.rnn = rnn
    def __len__(self): return 4
    def __getitem__(self, k):
        with torch.no_grad():
            return self.rnn(torch.full((3, 3), float(k)))[0]

if __name__ == "__main__":
    torch.manual_seed(0)
    rnn = dt.RNN(derive.cells.rnn(), 3, 4)
    rnn.share_memory()
    here = torch.stack([Rows(rnn)[k] for k in range(4)])
    loader = DataLoader(Rows(rnn), 2, num_workers=1, multiprocessing_context="spawn")
    there = torch.cat(list(loader))
    assert torch.equal(here, there)
    print("same")
"""

TWO = """
import os, sys, torch
import torch.distributed as dist, torch.multiprocessing as mp
import derive, derive.torch as dt

def work(rank, port, queue):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    rnn = torch.nn.parallel.DistributedDataParallel(dt.RNN(derive.cells.rnn(), 3, 4))
    torch.manual_seed(1)
    x = torch.randn(5, 4, 3)
    rnn(x[:, 2 * rank : 2 * rank + 2])[0].pow(2).mean().backward()
    if rank == 0:
        queue.put([p.grad.tolist() for p in rnn.parameters()])
    dist.barrier()
    dist.destroy_process_group()

if __name__ == "__main__":
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    workers = [context.Process(target=work, args=(rank, port, queue)) for rank in range(2)]
    for worker in workers: worker.start()
    found = queue.get()
    for worker in workers: worker.join()
    torch.manual_seed(0)
    rnn = dt.RNN(derive.cells.rnn(), 3, 4)
    torch.manual_seed(1)
    rnn(torch.randn(5, 4, 3))[0].pow(2).mean().backward()
    for p, other in zip(rnn.parameters(), found):
        assert (p.grad - torch.tensor(other)).abs().max() < 1e-6
    print("same")
"""


def printed(code: str, tmp_path: Path) -> str:
    script = tmp_path / "script.py"
    script.write_text(code)
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=root, timeout=300,
        env={**__import__("os").environ, "PYTHONPATH": root}, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.slow
def test_spawned_workers_of_a_data_loader_give_the_same_bits(tmp_path: Path) -> None:
    assert printed(WORKERS, tmp_path) == "same"


@pytest.mark.slow
def test_two_processes_over_gloo_are_one(tmp_path: Path) -> None:
    assert printed(TWO, tmp_path) == "same"


def test_import_derive_does_not_load_torch() -> None:
    code = "import sys, derive, derive.cells, derive.layers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_torch_an_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import derive\n"
        "try: derive.torch\n"
        "except derive.DeriveError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "derive.torch needs PyTorch, which is not installed\n"
        "  hint: pip install 'derive-kernels[torch]'\n"
    )


# --- errors ---------------------------------------------------------------------------------

NO_STATE = "cell nostate\ninput x: I\ny = tanh(W @ x)\nparam W: P x I\noutput y\n"
TWO_INPUTS = "cell two\ninput x: I, m: H\nstate h: H\nh' = tanh(W @ x) * m + h\noutput h'\n"
SAME = "cell same\ninput x: H\nstate h: H\nh' = tanh(x + h)\noutput h'\n"
FIXED = "cell fixed\ninput x: 3\nstate h: H\nh' = tanh(W @ x + h)\noutput h'\n"


def test_cells_and_sizes_that_do_not_fit_are_errors() -> None:
    parse = derive.Cell.parse
    wrong: list[tuple[Any, ...]] = [
        (("lstm", 3, 4), {}, "cell must be a derive.Cell, not str"),
        ((parse(NO_STATE), 3, 4), {"P": 2}, "nostate has no state"),
        ((parse(TWO_INPUTS), 3, 4), {}, "two has 2 inputs"),
        ((parse(SAME), 3, 4), {}, "hidden_size is 3 in same, not 4"),
        ((parse(FIXED), 4, 4), {}, "input_size is 3 in fixed, not 4"),
        ((derive.cells.rnn(), 3, 4), {"P": 2}, "rnn has no dimension 'P'"),
        ((derive.cells.rnn(), 3, 4), {"past_end": "none"}, "past_end is 'zero' or"),
    ]
    for args, options, message in wrong:
        with pytest.raises(derive.DeriveError, match=message):
            dt.RNN(*args, **options)


def test_states_and_flags_of_the_wrong_kind_are_errors() -> None:
    rnn, one = a_module(), dt.Cell(derive.cells.lstm(), 3, 4)
    with pytest.raises(derive.DeriveError, match="state must be a Tensor, not int"):
        rnn(some_x(), 3)
    with pytest.raises(derive.DeriveError, match="resets must hold booleans"):
        rnn(some_x(), resets=torch.zeros(5, 2))
    with pytest.raises(derive.DeriveError, match="resets has the wrong shape"):
        rnn(some_x(), resets=torch.zeros(5, 3, dtype=torch.bool))
    with pytest.raises(derive.DeriveError, match=r"state must be a tuple \(h, c\), not Tensor"):
        one(torch.zeros(2, 3), torch.zeros(2, 4))


def test_run_says_what_does_not_fit() -> None:
    cell = derive.cells.rnn()
    params = {"W": torch.zeros(4, 3), "U": torch.zeros(4, 4), "b": torch.zeros(4)}
    x = torch.zeros(5, 2, 3)
    wrong: list[tuple[Any, Any, dict[str, Any], str]] = [
        ([1], x, {}, "params must be a mapping"),
        ({"W": params["W"]}, x, {}, "U is missing in params"),
        ({**params, "V": x}, x, {}, "params has an entry 'V'"),
        ({**params, "b": torch.zeros(3)}, x, {}, "param b has the wrong shape"),
        (params, x.double(), {}, "input x is float64"),
        (params, x.bfloat16(), {}, "input x is torch.bfloat16"),
        (params, x, {"states": torch.zeros(3, 4)}, "state h has the wrong shape"),
    ]
    for given, inputs, options, message in wrong:
        with pytest.raises(derive.DeriveError, match=message):
            dt.run(cell, given, inputs, **options)
    with pytest.raises(derive.DeriveError, match="cell must be a derive\\.Cell"):
        dt.run("rnn", params, x)  # type: ignore[arg-type]
    two = derive.Cell.parse(TWO_INPUTS)
    with pytest.raises(derive.DeriveError, match="inputs must be a mapping"):
        dt.run(two, {"W": params["W"]}, x)
    free = derive.Cell.parse("cell free\nstate h: H\nh' = tanh(h)\noutput h'\n")
    with pytest.raises(derive.DeriveError, match="free has no inputs"):
        dt.run(free, {}, x)
    with pytest.raises(derive.DeriveError, match="nothing given determines the width H"):
        dt.run(free, {}, torch.empty(5, 2, 0))
    outputs, _ = dt.run(free, {}, torch.empty(5, 2, 0), torch.ones(2, 4, requires_grad=True))
    outputs["h_next"].sum().backward()


def test_an_engine_trusts_nothing_that_does_not_fit() -> None:
    engine = engine_of(derive.cells.rnn().to_text(), 1)
    given = (
        [torch.zeros(4, 3), torch.zeros(4, 4), torch.zeros(5)],
        [torch.zeros(5, 2, 3)],
        [torch.zeros(2, 4)],
    )
    with pytest.raises(InternalError, match="a tensor is"):
        engine.forward(*given, None, False, False)
    given[0][2] = torch.zeros(4)
    with pytest.raises(InternalError, match="room for 3 elements"):
        engine.forward(*given, None, False, True, room=3)
