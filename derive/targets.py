"""The table of targets: a target is one row here and one folder below emit/.

In: nothing.  Out: `Target`, and the rows by name.
Not here: what a target does (emit/, kernel/): its functions are imported when they are called, so
that the command line knows the names and loads nothing else.

Everything that knows targets reads this table: emit and compile (pipeline.py), verification, the
stages that `derive show` prints, the command line, and the folder of generated files, where each
target has the folder of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from derive.build import compiler
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.kernel.backend import Backend
    from derive.kernel.fingerprint import Look
    from derive.kernel.signature import Signature
    from derive.schedule import Schedule

Files = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What turns a Schedule into files, and files into a Backend.

    name: what users write, and the folder that holds the files.  title: what it is called in
    text.  shows: what `derive show --stage NAME` shows.
    suffixes: {what files end in: what such a file is called}, that of the code first. Where two
    targets have such files, verification knows a file by its folder.  shared: names of files that
    are the same for all cells; any other is called after its cell.
    dtypes: of its kernels.  fixed: whether its cells may be in fixed point too.  usual: whether it
    is meant where no target is named.  least: the smallest width of its arrays.

    emit(cell, schedule): {path: text}; the same cell gives the same bytes, anywhere.
    load(files, signature, dtype): a Backend with one thread. The files may have been edited:
    a fault in them may raise any exception.

    serve(files, signature, dtype, threads, elementwise): the Backend that `derive.compile` takes
    instead, where there are threads or ways to run to choose from.  looks(dtype): quicker
    fingerprints than NumPy's (kernel/fingerprint.py).
    find(): raises ToolchainError where this machine cannot build it; install: what to do then.
    preferred: taken before the others where no target is named (layers/, torch/).

    What verification, the fuzzer and torch make use of where a target offers it:
    unit(files, signature, dtype, threads, flags, *, elementwise, team, library): the Backend of a
    target whose files are one unit of C with the functions of its header. So it can be compiled in
    other ways, with sanitizers for example, its memory fenced in, and called by address.
    low(): definitions that lower the thresholds of such a unit.
    module: whether the files are a Python module that takes its memory from `numpy.empty`.
    flags: whether `load` compiles when a kernel is called, and takes flags of the compiler besides:
    load(files, signature, dtype, flags). So it can be run under sanitizers too.
    numpy_functions: whether functions are NumPy's, so that exp(-v) of sigmoid may overflow.
    """

    name: str
    title: str
    shows: str
    suffixes: Mapping[str, str]
    emit: Callable[[Cell, Schedule], Files]
    load: Callable[..., Backend]
    shared: tuple[str, ...] = ()
    serve: Callable[[Files, Signature, str, int, bool], Backend] | None = None
    looks: Callable[[str], tuple[Look, Look]] | None = None
    find: Callable[[], object] = field(default=lambda: None)
    install: str = ""
    preferred: bool = False
    unit: Callable[..., Backend] | None = None
    low: Callable[[], tuple[str, ...]] = field(default=tuple)
    module: bool = False
    numpy_functions: bool = False
    dtypes: tuple[str, ...] = ("float32", "float64")
    usual: bool = True
    fixed: bool = False
    least: int = 0
    flags: bool = False

    def is_shared(self, path: str) -> bool:
        return path.rpartition("/")[2] in self.shared


def names() -> tuple[str, ...]:
    """All targets, in the order of the table."""
    return tuple(_TABLE)


def usual() -> tuple[str, ...]:
    """Those that are meant where no target is named."""
    return tuple(target.name for target in _TABLE.values() if target.usual)


def of_file(path: str) -> Target | None:
    """The target that a file belongs to: that of its folder if it has such files, otherwise the
    first that has; None where no target has."""
    *_, folder, name = ("", *path.split("/"))
    having = [t for t in _TABLE.values() if name.endswith(tuple(t.suffixes))]
    return next((t for t in having if t.name == folder), having[0] if having else None)


def rows() -> tuple[Target, ...]:
    return tuple(_TABLE.values())


def plain() -> Target:
    """The first of the table, which every machine can build."""
    return next(iter(_TABLE.values()))


def in_words() -> str:
    """The usual ones for a message: 'numpy', 'c'."""
    return ", ".join(map(repr, usual()))


def by_preference() -> tuple[Target, ...]:
    """In the order in which they are tried where no target is named."""
    rows = (target for target in _TABLE.values() if target.usual)
    return tuple(sorted(rows, key=lambda target: not target.preferred))


def row(name: object) -> Target:
    """ArgumentError for what is no target."""
    if isinstance(name, str) and name in _TABLE:
        return _TABLE[name]
    raise ArgumentError(f"unknown target {name!r}", facts=(f"known: {', '.join(_TABLE)}",))


@contextmanager
def added(target: Target) -> Iterator[Target]:
    """Inside the `with`, the table has this row too: to try a target out before it has one."""
    if target.name in _TABLE:
        raise ArgumentError(f"there is a target {target.name} already")
    _TABLE[target.name] = target
    try:
        yield target
    finally:
        del _TABLE[target.name]


Value = TypeVar("Value")


class WithTargets(Mapping[str, Value], Generic[Value]):
    """Entries by name, and behind them one for each target."""

    def __init__(self, first: Mapping[str, Value], of: Callable[[Target], Value]) -> None:
        self._first = first
        self._of = of

    def __getitem__(self, name: str) -> Value:
        if name in self._first:
            return self._first[name]
        return self._of(_TABLE[name])

    def __iter__(self) -> Iterator[str]:
        return iter((*self._first, *_TABLE))

    def __len__(self) -> int:
        return len(self._first) + len(_TABLE)


# --- NumPy ----------------------------------------------------------------------------------


def _numpy_files(cell: Cell, schedule: Schedule) -> Files:
    from derive.emit.numpy.files import numpy_files

    return numpy_files(cell, schedule)


def _numpy_backend(files: Files, signature: Signature, dtype: str) -> Backend:
    from derive.kernel.numpy_backend import NumpyBackend

    return NumpyBackend(files, signature)


# --- C --------------------------------------------------------------------------------------


def _c_files(cell: Cell, schedule: Schedule) -> Files:
    from derive.emit.c.files import c_files

    return c_files(cell, schedule)


def _c_backend(
    files: Files, signature: Signature, dtype: str, *options: Any, **more: Any
) -> Backend:
    from derive.kernel.c_backend import CBackend

    return CBackend(files, signature, dtype, *options, **more)


def _tuned_c_backend(
    files: Files, signature: Signature, dtype: str, threads: int, elementwise: bool
) -> Backend:
    from derive.kernel.c_backend import CBackend
    from derive.kernel.tune.backend import TunedBackend

    def build(choice: Any, weights: str | None = None) -> CBackend:
        flags = (*compiler.FLAGS, *choice.flags())
        return CBackend(
            files, signature, dtype, threads, flags,
            elementwise=elementwise, team=choice.threads, weights=weights,
        )  # fmt: skip

    return TunedBackend(build, files, compiler.FLAGS, signature.dims(), dtype, threads)


def _c_low() -> tuple[str, ...]:
    from derive.emit.limits import low_defines

    return low_defines()


def _c_looks(dtype: str) -> tuple[Look, Look]:
    from derive.kernel.c_backend import looks

    return looks(dtype)


# --- Microcontrollers -----------------------------------------------------------------------


def _mcu_files(cell: Cell, schedule: Schedule) -> Files:
    from derive.emit.mcu.files import mcu_files

    return mcu_files(cell, schedule)


def _mcu_backend(
    files: Files, signature: Signature, dtype: str, flags: tuple[str, ...] = ()
) -> Backend:
    from derive.kernel.mcu_backend import McuBackend

    return McuBackend(files, signature, flags)


# --- The table ------------------------------------------------------------------------------

_ROWS = (
    Target(
        name="numpy",
        title="NumPy",
        shows="the generated NumPy module",
        suffixes={".py": "NumPy"},
        emit=_numpy_files,
        load=_numpy_backend,
        module=True,
        numpy_functions=True,
    ),
    Target(
        name="c",
        title="C",
        shows="the generated C header and source",
        suffixes={".c": "C", ".h": "C header"},
        emit=_c_files,
        load=_c_backend,
        unit=_c_backend,
        low=_c_low,
        preferred=True,
        shared=("derive_kernels.h",),
        serve=_tuned_c_backend,
        looks=_c_looks,
        find=lambda: compiler.find_compiler(),
        install=compiler.INSTALL,
    ),
    Target(
        name="mcu",
        title="C for microcontrollers",
        shows="the generated C for a microcontroller",
        suffixes={".c": "C", ".h": "C header"},
        emit=_mcu_files,
        load=_mcu_backend,
        shared=("derive_mcu.h",),
        dtypes=("float32",),
        fixed=True,
        least=1,
        flags=True,
        usual=False,
        find=lambda: compiler.find_compiler(),
        install=compiler.INSTALL,
    ),
)

_TABLE: dict[str, Target] = {target.name: target for target in _ROWS}
