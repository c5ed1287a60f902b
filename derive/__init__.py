"""derive: recurrent cells from equations to verified kernels.

    import derive

    cell = derive.Cell.parse(text)            # or derive.load("janet.cell")
    cell = derive.cells.lstm(forget_bias=1.0)  # the catalogue
    gradient = derive.differentiate(cell)
    files = derive.emit(cell, target="c")
    kernel = derive.compile(cell, target="c", dtype="float32", threads=1)
    report = derive.verify(cell)
    change = derive.diff(old, new)             # what changed, in meaning
    verdict = derive.equal(a, b)               # whether two cells compute the same
    blocks = derive.flow.jacobian(cell)        # how gradients flow
    found = derive.structure(cell)             # what kind of recurrence it is

SymPy is imported when a name that needs it is first used, so `import derive` is quick.

The rooms of the package, from the ground up; a room uses only rooms above it in this list:

    errors.py         every message that a user can meet
    display.py        what a notebook shows of an object, drawn by what is handed down
    widths.py         widths of arrays: dimensions, numbers, their sums and multiples
    symbolic/         SymPy: scalar functions, products and sums, evaluation, printing
    program/          one step as equations of three kinds; its interpreter, the oracle
    build/            compilers, caches, libraries, templates; no SymPy
    language/         text and SymPy to a checked declaration and its step, and back; variants
    papers/           a paper's equations, as LaTeX, to `.cell` text
    derivative/       a Program to a Program that computes its derivative
    recurrence/       what kind of recurrence a step is: linear, bounded, invertible, stable
    kernel/           running a compiled cell; NumPy and ctypes, no SymPy
    schedule/         when each equation runs, what is saved, what is fused
    catalogue/        published cells, one file a family
    cell.py           Cell: what users hold
    cells.py          derive.cells: one function a family
    textbook/         a cell and its gradient as a person writes them down
    emit/             a Schedule to texts: numpy/, c/, mcu/; python/, onnx/ for other libraries
    machine/          what this machine can do
    targets.py        the table of targets: a target is a row here and a folder of emit/
    pipeline.py       the arrows from a Cell to a Kernel
    binding/          what bindings share: arguments by name, parts of whole arrays
    layers/           stacks, directions, sequences that end and start afresh
    train/            a model around a cell, losses and optimisers, in NumPy
    torch/            cells as PyTorch modules and functions, to any order
    jax/              cells as JAX functions and modules, to any order
    verification/     whether a derivative and its kernels are right
    inspect/          facts about a cell, and text, LaTeX, HTML and JSON of them
    rnn_cell/         TensorFlow's names
    comparison/       whether two cells are the same, and what differs
    weights/          files and names of other libraries
    mcu/              trained cells as files for a microcontroller
    onnx/             cells as ONNX models
    bench/            times, beside other libraries
    race/             cells trained on the same tasks with the same budget, and a verdict
    fuzz/             random cells, calls, texts and files
    cli/              the command line
    __main__.py       python -m derive
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from derive import display

if TYPE_CHECKING:
    from derive import cells as cells
    from derive import jax as jax
    from derive import layers as layers
    from derive import mcu as mcu
    from derive import onnx as onnx
    from derive import race as race
    from derive import rnn_cell as rnn_cell
    from derive import torch as torch
    from derive import train as train
    from derive import weights as weights
    from derive.cell import Cell as Cell
    from derive.comparison.diff import diff as diff
    from derive.comparison.equal import equal as equal
    from derive.errors import DeriveError as DeriveError
    from derive.inspect import gradient_flow as flow  # noqa: F401
    from derive.inspect.facts.structure import structure as structure
    from derive.pipeline import compile as compile
    from derive.pipeline import differentiate as differentiate
    from derive.pipeline import emit as emit
    from derive.pipeline import load as load
    from derive.pipeline import tangent as tangent
    from derive.symbolic import functions  # noqa: F401
    from derive.symbolic.heads import arrays as arrays
    from derive.verification import verify as verify

__version__ = "0.1.0"

#: Public name -> (module, attribute); an empty attribute is the module itself.
_PUBLIC = {
    "Cell": ("derive.cell", "Cell"),
    "DeriveError": ("derive.errors", "DeriveError"),
    "arrays": ("derive.symbolic.heads", "arrays"),
    "cells": ("derive.cells", ""),
    "compile": ("derive.pipeline", "compile"),
    "diff": ("derive.comparison.diff", "diff"),
    "differentiate": ("derive.pipeline", "differentiate"),
    "emit": ("derive.pipeline", "emit"),
    "equal": ("derive.comparison.equal", "equal"),
    "functions": ("derive.symbolic.functions", ""),
    "flow": ("derive.inspect.gradient_flow", ""),
    "jax": ("derive.jax", ""),
    "layers": ("derive.layers", ""),
    "load": ("derive.pipeline", "load"),
    "mcu": ("derive.mcu", ""),
    "rnn_cell": ("derive.rnn_cell", ""),
    "onnx": ("derive.onnx", ""),
    "race": ("derive.race", ""),
    "structure": ("derive.inspect.facts.structure", "structure"),
    "tangent": ("derive.pipeline", "tangent"),
    "torch": ("derive.torch", ""),
    "train": ("derive.train", ""),
    "verify": ("derive.verification", "verify"),
    "weights": ("derive.weights", ""),
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'derive' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value: Any = importlib.import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(types.ModuleType):
    """`derive.verify` is the function, also once the submodule of that name is loaded.

    The import system binds a submodule to its package when it is first loaded; for a public
    name that binding is dropped. `from derive.verification import ...` finds the submodule as ever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, types.ModuleType) and _PUBLIC.get(name, ("", ""))[1]):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def _notebook() -> tuple[Any, Any]:
    drawing: Any = importlib.import_module("derive.inspect.notebook")
    return drawing.html, drawing.latex


display.draw_with(_notebook)
