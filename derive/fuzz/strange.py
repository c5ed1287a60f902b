"""Calls with strange arguments, of all targets side by side, one after the other.

In: files of each target, a Signature, turns.  Out: what each turn came to: results, a refusal, or
an exception that a user should never see.
Not here: which turns (calls_room.py). Neither SymPy nor hypothesis is imported.

A turn is (method, changes, repeats). Arguments are good ones but for `changes`, {argument: change}:
("is", value), ("entry", name, value), ("drop", name), ("add", name, value). A value is a word of
VALUES with what it needs, so that a turn is plain data.
"""

from __future__ import annotations

import ctypes
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from derive import targets
from derive.errors import DeriveError
from derive.kernel import Kernel
from derive.kernel.backend import Backend
from derive.kernel.signature import Signature
from derive.kernel.whole import Groups, WholeBackend
from derive.widths import Width

T, B = 3, 2
SIZES = {"I": 3, "H": 4, "P": 2}

#: Methods, and the arguments that a turn may change.
METHODS: Mapping[str, tuple[str, ...]] = {
    "forward": ("params", "x", "state", "lengths", "reverse", "training", "remat"),
    "backward": ("d_outputs", "d_states"),
    "step": ("params", "x_t", "state"),
    "pack": ("params",),
    "packed": ("x", "state", "lengths", "reverse", "training", "remat"),
    "stream": ("params", "rows", "state", "x_t"),
    "init": ("seed", "H", "I"),
}

Turn = tuple[str, dict[str, Any], int]


class _Lying:
    """An array-like that is not what it says."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.error = error

    def __repr__(self) -> str:  # one text in all targets: messages are compared
        return "<strange>"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.error is not None:
            raise self.error("as asked")
        return "no array"


class _Own(np.ndarray):
    """A subclass of arrays."""


def _masked(shape: tuple[int, ...]) -> Any:
    return np.ma.MaskedArray(np.ones(shape), mask=np.arange(np.prod(shape)).reshape(shape) % 2 == 0)


def _strided(shape: tuple[int, ...]) -> Any:
    return np.ones((*shape, 2))[..., 0]


#: What a value may be, by a word; each is given what follows the word.
VALUES: Mapping[str, Callable[..., Any]] = {
    "array": lambda shape, dtype="float64": np.ones(shape, dtype),
    "full": lambda shape, value: np.full(shape, value),
    "plain": lambda value: value,
    "list": lambda shape: np.ones(shape).tolist(),
    "masked": _masked,
    "strided": _strided,
    "negative strides": lambda shape: np.ones(shape)[..., ::-1],
    "repeated": lambda shape: np.broadcast_to(np.ones(()), shape),
    "own": lambda shape: np.ones(shape).view(_Own),
    "swapped": lambda shape: np.ones(shape).astype(">f8"),
    "huge": lambda: np.broadcast_to(np.ones(()), (10**9, 10**9)),
    "lying": _Lying,
    "failing": lambda: _Lying(RuntimeError),
    "buffer": lambda shape: np.ones(shape).data,
    "itself": lambda: VALUES,
}


def play(question: Mapping[str, Any], libraries: Mapping[str, ctypes.CDLL]) -> dict[str, Any]:
    """{"outcomes": for each turn those of every target, by used kernels and by fresh ones}.

    libraries: what the files of compiled targets were compiled to.
    """
    signature = Signature(**question["signature"])
    of_parts = Signature(**question["signature_of_parts"])
    groups = (signature.params, signature.inputs, signature.states, signature.outputs)
    backends: dict[str, Backend] = {}
    for name, files in question["files"].items():
        row = targets.row(name)
        if row.unit is None:
            backends[name] = row.load(files, of_parts, "float64")
        else:
            backends[name] = row.unit(files, of_parts, "float64", library=libraries[name])
        if question["parts"]:
            backends[name] = WholeBackend(
                backends[name], question["parts"], Groups(*map(tuple, groups)), np.dtype("float64")
            )

    def kernels() -> dict[str, Kernel]:
        return {
            target: Kernel(signature, backend, "float64", target=target)
            for target, backend in backends.items()
        }

    used, outcomes = kernels(), []
    for method, changes, repeats in question["turns"]:
        found = {}
        for target, kernel in used.items():
            tries = [_outcome(kernel, method, changes) for _ in range(repeats)]
            found[target] = tries
        fresh = {t: _outcome(kernel, method, changes) for t, kernel in kernels().items()}
        outcomes.append((found, fresh))
    return {"outcomes": outcomes}


def _outcome(kernel: Kernel, method: str, changes: Mapping[str, Any]) -> tuple[Any, ...]:
    """("given", arrays), ("refused", class, text) or ("raised", class, text)."""
    try:
        with np.errstate(all="ignore"):
            return ("given", _CALLS[method](kernel, _arguments(kernel.signature, method, changes)))
    except DeriveError as error:
        return ("refused", type(error).__name__, str(error))
    except Exception as error:
        lines = "".join(traceback.format_exception(error)).splitlines()
        return ("raised", type(error).__name__, "\n".join(lines[-7:]))


def good(signature: Signature, argument: str) -> Any:
    """A value that a call may be given."""
    random = np.random.default_rng(3)

    def arrays(shapes: Mapping[str, Any], *before: int) -> dict[str, Any]:
        return {
            name: random.uniform(-1, 1, (*before, *(_length(a) for a in _axes(shape))))
            for name, shape in shapes.items()
        }

    if argument == "params":
        return arrays(signature.params)
    if argument in ("x", "x_t"):
        before = (T, B) if argument == "x" else (B,)
        moving = {n: axes for n, axes in signature.inputs.items() if n not in signature.once}
        still = {n: axes for n, axes in signature.inputs.items() if n in signature.once}
        return {**arrays(moving, *before), **arrays(still, B)} or np.zeros((*before, 0))
    if argument in ("state", "d_states"):
        return arrays(signature.states, B)
    if argument == "d_outputs":
        return arrays(signature.outputs, T, B)
    return {"lengths": None, "reverse": False, "training": True, "remat": None,
            "rows": B, "seed": 0, **SIZES}[argument]  # fmt: skip


def _axes(shape: Any) -> tuple[Any, ...]:
    return shape if isinstance(shape, tuple) else (shape,)


def _length(axis: Any) -> int:
    return Width.of(axis).length(SIZES)


def _arguments(signature: Signature, method: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    found = {argument: good(signature, argument) for argument in METHODS[method]}
    for argument, change in changes.items():
        kind, *rest = change
        if kind == "is":
            found[argument] = value(rest[0])
            continue
        group = found[argument]
        if not isinstance(group, dict):
            continue
        if kind == "drop":
            group.pop(rest[0], None)
        elif kind == "add" or rest[0] in group:
            group[rest[0]] = value(rest[1])
    return found


def value(spec: tuple[Any, ...]) -> Any:
    word, *rest = spec
    return VALUES[word](*rest)


# --- methods: arrays of what they give ------------------------------------------------------


def _of_run(run: Any) -> dict[str, Any]:
    return {**{f"output {n}": a for n, a in run.outputs.items()},
            **{f"state {n}": a for n, a in run.states.items()}}  # fmt: skip


def _forward(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    run = kernel.forward(**given)
    found = _of_run(run)
    if run.training:
        grads = kernel.backward(run)
        found |= {f"d {n}": a for n, a in {**grads.params, **grads.states}.items()}
    return found


def _backward(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    run = kernel.forward(good(kernel.signature, "params"), good(kernel.signature, "x"))
    grads = kernel.backward(run, **given)
    return {**grads.params, **grads.inputs, **grads.states}


def _step(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    output, state = kernel.step(**given)
    outputs = output if isinstance(output, dict) else {"output": output}
    return {**outputs, **{f"state {name}": array for name, array in state.items()}}


def _pack(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    packed = kernel.pack(**given)
    return _of_run(kernel.forward(packed, good(kernel.signature, "x")))


def _packed(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    return _forward(kernel, {"params": kernel.pack(good(kernel.signature, "params")), **given})


def _stream(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    x_t = given.pop("x_t")
    stream = kernel.stream(**given)
    if not kernel.signature.inputs and isinstance(x_t, np.ndarray):
        x_t = None
    stream(x_t)
    output = stream(x_t)
    outputs = output if isinstance(output, dict) else {"output": output}
    return {**outputs, **{f"state {name}": array for name, array in stream.state.items()}}


def _init(kernel: Kernel, given: dict[str, Any]) -> dict[str, Any]:
    known = kernel.signature.dims()
    seed = given.pop("seed")
    return kernel.init({dim: n for dim, n in {**SIZES, **given}.items() if dim in known}, seed=seed)


_CALLS: Mapping[str, Callable[[Kernel, dict[str, Any]], dict[str, Any]]] = {
    "forward": _forward, "backward": _backward, "step": _step, "pack": _pack,
    "packed": _packed, "stream": _stream, "init": _init,
}  # fmt: skip
