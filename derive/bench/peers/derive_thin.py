"""derive's C target with thin weights, for inference: parameters packed once."""

from __future__ import annotations

from derive.bench.peers.derive_c import missing as missing
from derive.bench.peers.derive_numpy import kernel_contestant
from derive.bench.task import Contestant, Task
from derive.errors import ArgumentError
from derive.kernel.weights import WEIGHTS

NAME = "derive C, thin"


def enter(task: Task) -> list[Contestant]:
    found = []
    for weights in WEIGHTS:
        name = f"derive C, {weights}"
        try:
            one = kernel_contestant(name, task, "c", "float32", packed=True, weights=weights)
        except ArgumentError:  # matrices that are computed in a call
            return []
        found.append(one)
    return found
