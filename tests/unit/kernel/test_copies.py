"""Kernels and layers that are copied, pickled and sent to other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import derive
from derive import targets
from derive.derivative import reverse_step
from derive.errors import ArgumentTypeError, DeriveError
from derive.kernel import Gradients, Kernel, Run
from derive.kernel.signature import Sizes
from derive.kernel.tune.backend import Tuned
from derive.kernel.tune.options import Choice

T, B, I, H = 5, 2, 3, 4  # noqa: E741
TEXT = """\
cell counted
input x: I
state h: H
h' = tanh(W @ x + U @ h + b)
output h'
"""
COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Winners of other tests are not for these; a child process has the same cache."""
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(tmp_path / "cache"))


def kernel_of(target: str, **options: Any) -> Kernel:
    return derive.compile(derive.Cell.parse(TEXT), target, **options)


def bits(kernel: Kernel, seed: int = 0) -> list[bytes]:
    """Everything that a call computes, with arguments drawn by a seed."""
    params = kernel.init(I=I, H=H, seed=seed)
    x = np.random.default_rng(seed).standard_normal((T, B, I))
    run = kernel.forward(params, x, lengths=[T, 2])
    grads = kernel.backward(run, np.ones((T, B, H)))
    groups = run.outputs, run.states, grads.params, grads.inputs, grads.states
    return [array.tobytes() for group in groups for array in group.values()]


def layers_bits(rnn: derive.layers.RNN) -> list[bytes]:
    run = rnn.forward(np.random.default_rng(1).standard_normal((T, B, I)))
    grads = rnn.backward(run, np.ones_like(run.output))
    return [run.output.tobytes(), *(array.tobytes() for array in grads.params.values())]


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("target", targets.usual())
def test_a_copy_of_a_kernel_computes_the_same_bits(target: str, way: str) -> None:
    kernel = kernel_of(target, dtype="float64", threads=2)
    again = COPIES[way](kernel)
    assert again is not kernel
    assert repr(again) == repr(kernel) and again.signature == kernel.signature
    assert bits(again) == bits(kernel)


def test_a_pickled_kernel_is_text() -> None:
    kernel = kernel_of("c")
    data = pickle.dumps(kernel)
    assert b"h' = tanh(" in data and b"\x7fELF" not in data
    assert len(data) < 1000


def test_a_copy_has_what_tune_found_and_goes_its_own_way_from_then_on() -> None:
    kernel = kernel_of("c")
    found = Tuned(Sizes(T, B, {"I": I, "H": H}), Choice(tile=3))
    kernel._backend.use(found.sizes, found.choice)  # type: ignore[attr-defined]
    data = pickle.dumps(kernel)
    kernel.untune()
    again = pickle.loads(data)
    assert again.tuned == (found,) and kernel.tuned == ()
    assert bits(again) == bits(kernel)
    fresh = pickle.dumps(kernel)
    again._backend.use(found.sizes, found.choice)  # remembered in the cache
    assert pickle.loads(fresh).tuned == ()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_kernels_and_layers_work_in_a_worker_process(method: str) -> None:
    kernels = [kernel_of("numpy"), kernel_of("c", threads=2)]
    rnn = derive.layers.RNN(derive.Cell.parse(TEXT), 2, bidirectional=True, I=I, H=H)
    wanted = [bits(kernel, 3) for kernel in kernels]  # a pool of threads runs before the fork
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert [pool.submit(bits, kernel, 3).result() for kernel in kernels] == wanted
        assert pool.submit(layers_bits, rnn).result() == layers_bits(rnn)


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_copy_of_layers_has_parameters_of_its_own_and_drops_the_same(way: str) -> None:
    rnn = derive.layers.RNN(
        derive.Cell.parse(TEXT), 2, True, dropout=0.5, past_end="last", I=I, H=H
    )
    again = COPIES[way](rnn)
    assert layers_bits(again) == layers_bits(rnn)
    again.params["W_l0"][...] = 0
    assert rnn.params["W_l0"].any()


def test_a_copy_of_layers_goes_on_from_their_state() -> None:
    rnn = derive.layers.RNN(derive.Cell.parse(TEXT), I=I, H=H)
    x = np.ones((B, I))
    rnn.step(x)
    again = copy.deepcopy(rnn)
    assert again.step(x).tobytes() == rnn.step(x).tobytes()


def test_gradients_can_be_sent() -> None:
    kernel = kernel_of("numpy")
    run = kernel.forward(kernel.init(I=I, H=H), np.ones((T, B, I)))
    grads = kernel.backward(run, np.ones((T, B, H)))
    again: Gradients = pickle.loads(pickle.dumps(grads))
    assert again.params["W"].tobytes() == grads.params["W"].tobytes()


def run_of(kernel: Kernel) -> Run:
    return kernel.forward(kernel.init(I=I, H=H), np.ones((T, B, I)))


BOUND = {
    "run": run_of,
    "run of a repeated call": lambda kernel: [run_of(kernel) for _ in range(3)][-1],
    "run of layers": lambda _: derive.layers.RNN(derive.Cell.parse(TEXT), I=I, H=H).forward(
        np.ones((T, B, I))
    ),
    "stream": lambda kernel: kernel.stream(kernel.init(I=I, H=H)),
    "kernel of files": lambda kernel: Kernel(kernel.signature, kernel._backend, "float32"),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", BOUND)
def test_what_belongs_to_a_process_says_so(name: str, way: str) -> None:
    value = BOUND[name](kernel_of("c"))
    if name == "run of layers" and way == "copy":
        return  # a record: its copy holds the same runs
    with pytest.raises(ArgumentTypeError, match="cannot be copied or sent to another process"):
        COPIES[way](value)


def test_a_worker_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(kernel_of("c"))
    monkeypatch.setenv("CC", "/no/such/compiler")
    with pytest.raises(DeriveError, match="compiler"):
        pickle.loads(data)


def test_a_gradient_of_a_cell_can_be_sent() -> None:
    gradient = reverse_step(derive.Cell.parse(TEXT).step)
    assert pickle.loads(pickle.dumps(gradient)) == gradient
