"""`derive bench`: figures of the kernels and of the tool.

In: CELLs and options.  Out: tables or JSON on standard output.
Not here: what is measured (bench/).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def run(texts: Sequence[str], **options: Any) -> int:
    from derive.bench import main

    return main(texts, **options)
