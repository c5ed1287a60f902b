"""A file of machine code to a loaded library whose arithmetic is what C says.

In: the path of a library.  Out: a ctypes.CDLL, or a BuildError.
Not here: how it was compiled, and whether the file can be trusted (cache.py).
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from derive.errors import BuildError, ToolchainError

#: In the header's message about such flags (templates/c/derive_kernels.h.j2).
REFUSED_FLAGS = "compile without -ffast-math"
FAST_MATH = (
    "take -ffast-math, -Ofast, -funsafe-math-optimizations and their parts out of the flags: "
    "export CC=gcc"
)
#: What the header's self-test finds, one bit each, and a flag that does it.
BROKEN = (
    "NaN and infinity (-ffinite-math-only)",
    "signed zeros (-fno-signed-zeros)",
    "the order of sums (-fassociative-math)",
    "quotients (-freciprocal-math)",
    "elementwise functions",
)


def load(path: Path) -> ctypes.CDLL:
    """The library at `path`; the processor's floating-point modes stay as they were.

    What was linked with -ffast-math or -funsafe-math-optimizations makes the processor flush
    subnormal numbers to zero as soon as it is loaded, in all code of this thread and of those
    that it starts.
    """
    before = _float_environment()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        # A symbol that is missing is the sources' fault, anything else this machine's.
        kind = BuildError if "symbol" in str(error) else ToolchainError
        raise kind(
            "the compiled library does not load",
            facts=(str(error),),
            hint="if its folder forbids execution: export DERIVE_CACHE_DIR=/another/folder",
        ) from error
    if before is not None:
        ctypes.CDLL(None).fesetenv(before)
    return library


def check_arithmetic(library: ctypes.CDLL, self_test: str, compiler: str) -> None:
    """BuildError where flags broke the arithmetic of `library`, by its own function `self_test`.

    It takes microseconds. Few compilers have a macro for each such flag, so that the text could
    refuse them all.
    """
    failed = int(library[self_test]())
    if failed:
        broken = (text for k, text in enumerate(BROKEN) if failed >> k & 1)
        raise BuildError(
            "the compiled library does not do arithmetic as it is written",
            facts=(
                f"wrong: {'; '.join(broken)}",
                f"compiler: {compiler}",
                f"found by its function {self_test}",
            ),
            hint=FAST_MATH,
        )


def _float_environment() -> ctypes.Array[ctypes.c_uint64] | None:
    """This thread's rounding mode, exception flags and treatment of subnormal numbers, by C's
    fegetenv; None where the process has no such function."""
    environment = (ctypes.c_uint64 * 32)()  # larger than any fenv_t
    try:
        ctypes.CDLL(None).fegetenv(environment)
    except (AttributeError, OSError, TypeError):
        return None
    return environment
