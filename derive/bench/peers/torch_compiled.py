"""The PyTorch loop through torch.compile. It takes minutes, so it runs only where asked for."""

from __future__ import annotations

import os
from typing import Any

from derive.bench.peers import not_installed
from derive.bench.peers.torch_loop import loop_contestant
from derive.bench.task import Contestant, Task

NAME = "torch.compile"
#: Set by `derive bench --compile`.
WANTED = "DERIVE_BENCH_COMPILE"


def missing() -> str | None:
    if os.environ.get(WANTED) != "1":
        return "it takes minutes for each shape: --compile"
    return not_installed("torch")


def enter(task: Task) -> list[Contestant]:
    import torch

    def compiled(function: Any) -> Any:
        torch._dynamo.reset()
        return torch.compile(function, dynamic=False)

    return [loop_contestant(NAME, task, compiled)]
