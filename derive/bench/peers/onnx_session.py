"""An ONNX Runtime session for as many threads as a Task has."""

from __future__ import annotations

from typing import Any

from derive.bench.task import Task


def session(model: Any, task: Task) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
