"""Everyone who can do a Task; one file each.

In: nothing.  Out: `PEERS`, the modules in the order of the table.
Not here: measuring.

A peer is a module with
    NAME       as it stands in the table
    missing()  why it cannot take part on this machine, or None
    enter(task)  a list of contestants; empty where it does not have the cell
    STACKS     whether it has stacks of layers; False where it is left out
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Protocol, cast

from derive.bench.task import Contestant, Task

#: Modules of this package.
PEERS = (
    "derive_c",
    "derive_thin",
    "derive_layers",
    "derive_numpy",
    "derive_torch",
    "derive_jax",
    "onednn",
    "onednn_thin",
    "torch_module",
    "torch_loop",
    "torch_compiled",
    "jax_scan",
    "onnx_operator",
    "onnx_scan",
    "numpy_loop",
    "numpy_by_hand",
)


class Peer(Protocol):
    NAME: str

    def missing(self) -> str | None: ...

    def enter(self, task: Task) -> list[Contestant]: ...


def peer(module: str) -> Peer:
    return cast(Peer, importlib.import_module(f"{__name__}.{module}"))


def not_installed(*modules: str) -> str | None:
    """Which of some Python packages is not installed, in words."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    return None
