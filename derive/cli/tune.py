"""`derive tune`: the fastest of a kernel's alternatives on this machine, for given sizes.

In: a CELL, shapes, a dtype, numbers of threads.  Out: tables or JSON on standard output; the
winners are remembered.
Not here: what is tried and how it is judged (kernel/tune/search.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from derive.cli import console
from derive.cli.select import cell_of


def run(
    text: str, shapes: Sequence[str], threads: str, dtype: str, forget: bool, as_json: bool
) -> int:
    from derive import pipeline, targets
    from derive.bench.shapes import counts_of, shapes_of
    from derive.bench.task import width_of
    from derive.errors import ArgumentError
    from derive.kernel.signature import Sizes
    from derive.kernel.tune.options import QUESTIONS
    from derive.kernel.tune.search import tune

    cell = cell_of(text)
    counts = counts_of(threads, "threads")
    wanted = shapes_of(shapes, False) if shapes else ()
    if bool(wanted) == forget:
        raise ArgumentError(
            "--forget stands alone" if forget else "nothing says for which sizes",
            hint="derive tune lstm --shapes 100,32,128,128",
        )
    target = next(row.name for row in targets.rows() if row.serve is not None)
    kernels = [pipeline.compile(cell, target, dtype, count) for count in counts]
    if forget:
        for kernel in kernels:
            kernel.untune()
        return 0
    found = []
    with console.progress("measuring", len(kernels) * len(wanted) * len(QUESTIONS)) as tick:
        for kernel in kernels:
            for shape in wanted:
                dims = {dim: width_of(dim, shape) for dim in kernel.signature.dims()}
                found.append(tune(kernel, Sizes(shape.T, shape.B, dims), tick))
    if as_json:
        console.result(json.dumps({"format": 1, "tunings": [t.as_dict() for t in found]}, indent=2))
    else:
        console.result("\n\n".join(map(str, found)))
    return 0
