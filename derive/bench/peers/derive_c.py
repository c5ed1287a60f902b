"""derive's C target: in float32, with parameters packed once too, and in float64."""

from __future__ import annotations

from derive.bench.peers.derive_numpy import kernel_contestant
from derive.bench.task import Contestant, Task
from derive.build.compiler import find_compiler
from derive.errors import BuildError

NAME = "derive C"


def missing() -> str | None:
    try:
        find_compiler()
    except BuildError as error:
        return str(error).splitlines()[0]
    return None


def enter(task: Task) -> list[Contestant]:
    return [
        kernel_contestant(NAME, task, "c", "float32"),
        kernel_contestant(f"{NAME}, packed", task, "c", "float32", packed=True),
        kernel_contestant(f"{NAME} f64", task, "c", "float64"),
    ]
