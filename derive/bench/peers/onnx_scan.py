"""ONNX Runtime's Scan over the cell's equations, for cells it has no operator for; forward only.

Matrices are constants of the graph, stacked, and products that no state reaches stand before the
Scan, as a careful export of a trained cell would be. Cells with axes are those of
`derive.onnx.export`.
"""

from __future__ import annotations

import time
from typing import Any

from derive.bench.peers import not_installed
from derive.bench.peers.closed import known
from derive.bench.peers.onnx_session import session
from derive.bench.task import Contestant, Results, Task, has_axes, named
from derive.emit.onnx.graph import Conflict, Tracer
from derive.emit.python.loop import Style, loop_text
from derive.kernel.numpy_backend import load
from derive.onnx import export
from derive.pipeline import schedule

NAME = "ONNX Scan"


def missing() -> str | None:
    return not_installed("onnx", "onnxruntime")


def enter(task: Task) -> list[Contestant]:
    if known(task.cell) is not None:
        return []
    start = time.perf_counter()
    axes = has_axes(task.cell)
    model = export(task.cell, params=task.params) if axes else model_of(task)
    prepared = session(model, task)
    given = {**task.inputs, **task.states}
    # A graph has no input that nothing reads.
    given = {i.name: given[i.name] for i in prepared.get_inputs()}
    names = [name if axes else f"output {name}" for name in task.d_outputs]

    def infer() -> Any:
        return prepared.run(names, given)

    def read(result: Any) -> Results:
        return named(output=dict(zip(task.d_outputs, result, strict=True)))

    return [Contestant(NAME, infer, None, read, start=time.perf_counter() - start)]


def model_of(task: Task) -> Any:
    """The onnx.ModelProto: inputs and states go in, `output NAME` comes out."""
    plans = schedule(task.cell)
    text = loop_text(
        plans.forward, Style.SCAN, task.sizes, task.shape.T, task.shape.B,
        results=plans.split.outputs,
    )  # fmt: skip
    try:
        return _traced(text, task, Tracer())
    except Conflict:
        return _traced(text, task, Tracer(gather=False))


def _traced(text: str, task: Task, tracer: Tracer) -> Any:
    module = load(text, "bench/onnx_scan.py")
    module.__dict__.update(tracer.functions())
    given = {n: tracer.input(n, a.shape) for n, a in {**task.inputs, **task.states}.items()}
    results = module.run({**task.params, **given})
    pairs = zip(task.d_outputs.items(), schedule(task.cell).split.outputs, strict=True)
    return tracer.model({f"output {key}": (results[n], a.shape) for (key, a), n in pairs})
