"""Kernels on the threads of PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

#: The functions that PyTorch lends, whether they are those that it uses itself, and whether a call
#: of two threads has the bits of one, before and after a loop of PyTorch's own, in a nested call
#: and in a child.
SCRIPT = """
import os, threading
import torch
import derive, derive.torch as dt
from derive.kernel import pool
from derive.torch import threads

torch.set_num_threads(2)
torch.manual_seed(0)
x = torch.randn(60, 32, 40)

def results(rnn):
    y, _ = rnn(x)
    y.square().sum().backward()
    grads = [p.grad.numpy().tobytes() for p in rnn.parameters()]
    rnn.zero_grad()
    return y.detach().numpy().tobytes(), *grads

one = dt.RNN(derive.cells.gru(), 40, 96, threads=1)
assert pool._lender is None
wanted = results(one)
two = dt.RNN(derive.cells.gru(), 40, 96, threads=2)
two.load_state_dict(one.state_dict())
assert results(two) == wanted
assert pool._lender is not None and all(pool._lender)
torch.ones(3000, 3000).exp().sum()
assert results(two) == wanted
found = []
callers = [threading.Thread(target=lambda: found.append(results(one) == wanted)) for _ in range(2)]
[caller.start() for caller in callers]
assert [results(two) == wanted for _ in range(5)] == [True] * 5
[caller.join() for caller in callers]
child = os.fork()
if child == 0:
    good = False
    try:
        with torch.no_grad():
            torch.set_num_threads(1)
            good = two(x)[0].numpy().tobytes() == wanted[0]
            fresh = dt.RNN(derive.cells.gru(), 40, 96, threads=2, dtype=torch.float64)
            good = good and fresh(x.double())[0].isfinite().all()
    finally:
        os._exit(0 if good else 1)
assert os.waitpid(child, 0)[1] == 0
print("good")
"""


@pytest.mark.skipif(
    "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info(),
    reason="this PyTorch has no OpenMP",
)
def test_two_threads_of_pytorch_give_the_bits_of_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "good\n", done.stderr[-2000:]
