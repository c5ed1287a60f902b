"""What binds, in words: cells of a table, and sentences about the machine.

In: a Roof, a View.  Out: text that every format shows.
Not here: the numbers (inspect/facts/roofline.py), tables (cost.py, parts.py).
"""

from __future__ import annotations

from derive.inspect.facts.roofline import Roof
from derive.inspect.facts.view import View

HEAD = ("bytes", "held in", "flop/byte", "ridge", "least time", "what binds")


def roof_cells(roof: Roof) -> tuple[str, ...]:
    """What stands below `HEAD`."""
    return (
        f"{roof.bytes:,}",
        roof.level,
        f"{roof.intensity:.2f}",
        f"{roof.ridge:.2f}",
        _time(roof.least),
        roof.binds,
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us" if seconds < 999.5e-6 else f"{seconds * 1e3:.3g} ms"


def machine_text(view: View) -> tuple[str, ...]:
    """What the rates are, in sentences."""
    found = view.machine
    assert found is not None
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    reading = ", ".join(f"{size // 1024:,} KiB {rate / 1e9:.0f}" for size, rate in found.bandwidth)
    return (
        f"This machine, {threads}, float32: {found.peak['float32'] / 1e9:.0f} GFLOP/s, "
        f"{found.activations['float32'] / 1e9:.1f} G activations/s.",
        f"Reading, in GB/s: {reading}.",
        "Ridge: the flop per byte at which arithmetic takes as long as reading. Least time: the",
        "larger of arithmetic and reading, for one step, or for all steps at once.",
    )
