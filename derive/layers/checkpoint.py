"""Parameters in files, with a digest of the equations they belong to.

In: {name: array} and a Cell.  Out: a .npz or .safetensors file; and back.
Not here: whose parameters they are (rnn.py).

The digest is of what a parameter means: names and shapes of the arrays, constants, equations
and outputs, but neither the cell's name and doc nor the order of terms. A file of another cell
is refused. `.safetensors` needs the package of that name; `.npz` is always there, and nothing
in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel.convert import kind_text
from derive.kernel.signature import Array, Arrays
from derive.language import parse_text
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Cut,
    Name,
    Negative,
    Node,
    Number,
    Part,
    Transpose,
)

#: Entry of the digest; no parameter is called that.
KEY = "derive.equations"


def digest(cell: Cell) -> str:
    """SHA-256 of the equations, in hexadecimal digits."""
    declaration = parse_text.parse(cell.to_text())
    lines = [
        *(f"input {name} {shape}" for name, shape in cell.inputs.items()),
        *(f"state {name} {shape}" for name, shape in cell.states.items()),
        *sorted(f"param {name} {shape}" for name, shape in cell.params.items()),
        *sorted(f"const {name} {value}" for name, value in cell.consts.items()),
        *(f"{each.target} = {canonical(each.expr)}" for each in declaration.definitions),
        f"output {' '.join(cell.outputs)}",
        *(f"once {name}" for name in cell.checked.once),
        *(f"start {state} {start}" for state, start in cell.checked.learned.items()),
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def canonical(node: Node) -> str:
    """Text of an expression in which terms and factors are sorted and numbers are fractions."""
    if isinstance(node, Number):
        return str(Fraction(node.text))
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Transpose):
        return f"{canonical(node.matrix)}.T"
    if isinstance(node, Negative):
        return f"(- {canonical(node.operand)})"
    if isinstance(node, Call):
        args = [canonical(arg) for arg in node.args]
        args += [] if node.axis is None else [str(node.axis)]
        args += [] if node.eps is None else [canonical(node.eps)]
        return f"({node.function} {' '.join(args)})"
    if isinstance(node, Cut):
        return f"(cut {canonical(node.array)} {node.start} {node.stop})"
    if isinstance(node, Part):
        return f"(part {canonical(node.array)} {node.index} {node.count})"
    if isinstance(node, Binary) and node.operator in "+*":
        parts = sorted(canonical(part) for part in _chain(node, node.operator))
        return f"({node.operator} {' '.join(parts)})"
    assert isinstance(node, (Binary, Compare))
    return f"({node.operator} {canonical(node.left)} {canonical(node.right)})"


def _chain(node: Node, operator: str) -> list[Node]:
    if isinstance(node, Binary) and node.operator == operator:
        return [*_chain(node.left, operator), *_chain(node.right, operator)]
    return [node]


def save(path: str | os.PathLike[str], arrays: Mapping[str, Array], cell: Cell) -> None:
    """Write `arrays`; the ending of the path says in which format."""
    shown = _shown(path)
    kind = os.path.splitext(shown)[1]
    if kind not in (".npz", ".safetensors"):
        raise _ending(shown)
    package = _safetensors() if kind == ".safetensors" else None
    if not os.path.isdir(folder := os.path.dirname(shown) or "."):
        raise ArgumentError(f"{shown} cannot be written", facts=(f"there is no folder {folder}",))
    part = f"{shown}.{os.getpid()}.part"  # what was there stays until all is written
    try:
        if package is None:
            with open(part, "wb") as file:
                np.savez(file, **{KEY: np.array(digest(cell))}, **arrays)  # type: ignore[arg-type]
        else:
            plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            package.save_file(plain, part, metadata={KEY: digest(cell)})
        os.replace(part, shown)
    except Exception as error:
        with suppress(OSError):
            os.unlink(part)
        raise ArgumentError(
            f"{shown} cannot be written", facts=(f"{type(error).__name__}: {error}",)
        ) from error


def load(path: str | os.PathLike[str], cell: Cell) -> Arrays:
    """The arrays of a file; ArgumentError unless it was written for these equations."""
    shown = _shown(path)
    if not shown.endswith((".npz", ".safetensors")):
        raise _ending(shown)
    try:
        found, arrays = _read_npz(shown) if shown.endswith(".npz") else _read_safetensors(shown)
    except DeriveError:
        raise
    # A damaged file makes readers fail in ways of their own: EOFError, TokenError, SyntaxError,
    # NotImplementedError, and MemoryError where a header asks for more than there is.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if "allow_pickle" in reason:  # NumPy's advice how to run what is in a file
            reason = "it holds Python objects, which are not read"
        raise ArgumentError(f"{shown} cannot be read", facts=(reason,)) from error
    if found != digest(cell):
        raise ArgumentError(
            f"{shown} holds parameters of another cell than {cell.name}",
            facts=(
                f"its equations have the digest {found[:16] or 'none'}...",
                f"those of {cell.name} have {digest(cell)[:16]}...",
            ),
            hint="load it with the cell it was saved with",
        )
    return arrays


def _shown(path: Any) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise ArgumentTypeError(
            f"path must be a path, not {kind_text(path)}", hint='"weights.npz"'
        ) from None


def _read_npz(path: str) -> tuple[str, Arrays]:
    with open(path, "rb") as start:  # NumPy would take anything else for a pickle
        if start.read(2) != b"PK":
            raise ArgumentError(f"{path} cannot be read", facts=("it is no .npz file",))
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != KEY}
        return (str(file[KEY]) if KEY in file.files else ""), arrays


def _read_safetensors(path: str) -> tuple[str, Arrays]:
    package = _safetensors()
    with open(path, "rb") as file:  # a missing file is an OSError, for any package
        file.read(1)
    try:
        with package.safe_open(path, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return (opened.metadata() or {}).get(KEY, ""), arrays
    except package.SafetensorError as error:
        raise ValueError(str(error)) from error


class _Package:
    """What is used of safetensors."""

    def __init__(self) -> None:
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import save_file

        self.SafetensorError = SafetensorError
        self.safe_open: Any = safe_open
        self.save_file: Any = save_file


def _safetensors() -> _Package:
    try:
        return _Package()
    except ImportError as error:
        raise ArgumentError(
            "a .safetensors file needs the package safetensors, which is not installed",
            hint="pip install safetensors, or a path that ends in .npz",
        ) from error


def _ending(path: str) -> ArgumentError:
    return ArgumentError(
        f"{path} ends in neither .npz nor .safetensors", hint=f"{os.path.splitext(path)[0]}.npz"
    )
