"""`derive bench`: figures of the kernels and of the tool.

In: whether JSON is wanted.  Out: a table or JSON on standard output.
Not here: what is measured (bench/).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from derive.errors import ArgumentError


def run(as_json: bool) -> int:
    found = find_spec("derive.bench")
    if found is None or found.origin is None:
        raise ArgumentError("this installation has no benchmark")
    status: int = import_module("derive.bench").main(as_json=as_json)
    return status
