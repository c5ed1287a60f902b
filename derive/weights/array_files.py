"""Files of arrays: .npz, .safetensors, PyTorch's .pt and .pth, Keras's .h5 and .keras.

In: a path.  Out: {name: array}, nested names joined by "." (PyTorch) or "/" (HDF5).
Not here: ONNX (onnx_file.py), what the arrays are (found.py, exchange.py).

Nothing in a file is executed: .npz without pickles, .pt with weights_only, HDF5 without links to
other files. A small file may not ask for a large array: what it unpacks to is bounded.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from derive.errors import ArgumentError, DeriveError
from derive.kernel.signature import Array, Arrays

#: What a file may unpack to: bytes, and times its own size.
ROOM, TIMES = 2**30, 20
_VARS = ("kernel", "recurrent_kernel", "bias")  # Keras 3 numbers the variables of a cell


def is_onnx(path: str) -> bool:
    return path.lower().endswith(".onnx")


def is_archive(path: str | bytes) -> bool:
    """Whether the path ends as one of the files that hold arrays."""
    return os.fsdecode(path).lower().endswith(tuple(_READERS))


def read_arrays(path: str, what: str = "weights", hint: str | None = None) -> Arrays:
    """ArgumentError where the file is missing, damaged or of no known kind.

    what: it holds, and what to type where its ending is not known, in words."""
    ending = next((e for e in _READERS if path.lower().endswith(e)), None)
    if ending is None:
        more = (".onnx",) if what == "weights" else ()
        raise ArgumentError(
            f"{path} is no file of {what} by its ending",
            facts=(f"endings are {', '.join((*_READERS, *more))}",),
            hint=hint,
        )
    try:
        with open(path, "rb") as file:  # a missing file is an OSError, for any package
            file.read(1)
        found = dict(_READERS[ending](path))
    except DeriveError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArgumentError(f"{path} cannot be read: {reason}") from error
    # A damaged file makes readers fail in ways of their own.
    except Exception as error:
        raise ArgumentError(
            f"{path} cannot be read", facts=(f"{type(error).__name__}: {_first_line(error)}",)
        ) from error
    if not found:
        raise ArgumentError(f"{path} holds no arrays of numbers")
    return found


def _first_line(error: Exception) -> str:
    """What went wrong, without advice to read what is unsafe."""
    return str(error).strip().partition("\n")[0].partition(". (")[0]


def _check_room(path: str, wanted: int) -> None:
    most = max(ROOM, TIMES * os.path.getsize(path))
    if wanted > most:
        raise ArgumentError(
            f"{path} unpacks to more than is read",
            facts=(f"to {wanted} bytes; at most {most} are read",),
        )


def _check_zip(path: str) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_room(path, sum(member.file_size for member in archive.infolist()))


# --- NumPy, safetensors -----------------------------------------------------------------------


def _npz(path: str) -> Iterator[tuple[str, Array]]:
    if not zipfile.is_zipfile(path):
        raise ArgumentError(f"{path} is no .npz file", facts=("it is no zip archive",))
    _check_zip(path)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_header(path, member.filename, file, member.file_size)
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            if array.dtype.kind in "fiub":
                yield name, _plain(array)


def _check_header(path: str, name: str, file: Any, size: int) -> None:
    version = np.lib.format.read_magic(file)
    reader = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = reader(file)
    if dtype.hasobject:
        raise ArgumentError(
            f"{path} holds Python objects, which are not read", facts=(f"in {name!r}",)
        )
    count = 1
    for length in shape:
        count *= int(length)
    if count * dtype.itemsize > size:
        raise ArgumentError(
            f"{path} is cut off", facts=(f"{name!r} lacks {count * dtype.itemsize - size} bytes",)
        )


def _safetensors(path: str) -> Iterator[tuple[str, Array]]:
    try:
        import safetensors
    except ImportError as error:
        raise _needed(path, "safetensors", "safetensors") from error
    deserialize: Any = safetensors.deserialize
    with open(path, "rb") as file:
        found = deserialize(file.read())
    for name, tensor in found:
        kind = tensor["dtype"]
        if kind == "BF16":  # NumPy has no such type: the upper half of a float32
            wide = np.frombuffer(tensor["data"], "<u2").astype(np.uint32) << 16
            yield name, wide.view(np.float32).reshape(tensor["shape"])
        elif kind in _TENSORS:
            array = np.frombuffer(tensor["data"], _TENSORS[kind]).reshape(tensor["shape"])
            yield name, _plain(array)


#: Types of .safetensors; those of eight bits and less are no weights.
_TENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
_TENSORS |= {"I8": "i1", "U8": "u1", "BOOL": "?"}


def _plain(array: Array) -> Array:
    """bfloat16 and float16 as float32."""
    wide = array.dtype in (np.float32, np.float64) or array.dtype.kind in "iub"
    return array if wide else array.astype(np.float32)


# --- PyTorch ----------------------------------------------------------------------------------


def _torch(path: str) -> Iterator[tuple[str, Array]]:
    try:
        import torch
    except ImportError as error:
        raise _needed(path, "torch", "torch") from error
    _check_zip(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise ArgumentError(
                    f"{path} is a TorchScript program, which is not run",
                    hint="torch.save(module.state_dict(), 'weights.pt')",
                )
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, ...
        raise ArgumentError(
            f"{path} holds no plain tensors",
            facts=(f"{type(error).__name__}: {_first_line(error)}",),
            hint="torch.save(module.state_dict(), 'weights.pt')",
        ) from error
    yield from _leaves(tree, "", 0)


def _leaves(tree: Any, prefix: str, depth: int) -> Iterator[tuple[str, Array]]:
    if isinstance(tree, Mapping) and depth < 20:
        for key, value in tree.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)
    elif hasattr(tree, "detach") and not tree.is_complex() and not tree.is_sparse:
        tensor = tree.detach()
        kind = str(tensor.dtype)
        yield prefix, (tensor.float() if "float16" in kind else tensor).numpy()


# --- HDF5 -------------------------------------------------------------------------------------


def _hdf5(path: str) -> Iterator[tuple[str, Array]]:
    yield from _datasets(path, path)


def _keras(path: str) -> Iterator[tuple[str, Array]]:
    if not zipfile.is_zipfile(path):
        raise ArgumentError(f"{path} is no .keras file", facts=("it is no zip archive",))
    _check_zip(path)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".weights.h5")]
        if not names:
            raise ArgumentError(
                f"{path} has no weights in it", facts=(f"it has {', '.join(archive.namelist())}",)
            )
        yield from _datasets(path, io.BytesIO(archive.read(names[0])))


def _datasets(path: str, source: Any) -> Iterator[tuple[str, Array]]:
    try:
        import h5py
    except ImportError as error:
        raise _needed(path, "h5py", "keras") from error
    found: list[tuple[str, Any]] = []
    with h5py.File(source, "r") as file:
        file.visititems(lambda name, item: found.append((name, item)))  # follows no links
        total = 0
        for name, item in found:
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
                continue
            if item.external or item.is_virtual:
                raise ArgumentError(f"{path} takes {name!r} from another file, which is not read")
            total += int(item.size) * item.dtype.itemsize
            _check_room(path, total)
            yield _keras_name(name), _plain(np.asarray(item))


def _keras_name(name: str) -> str:
    """ "layers/lstm/cell/vars/0" as "layers/lstm/cell/kernel", "lstm/kernel:0" as "lstm/kernel"."""
    name = name.removesuffix(":0")
    match = re.fullmatch(r"(.*cell)/vars/([012])", name)
    return f"{match[1]}/{_VARS[int(match[2])]}" if match else name


def _needed(path: str, package: str, extra: str) -> ArgumentError:
    return ArgumentError(
        f"reading {path} needs the package {package}",
        hint=f'pip install "derive-kernels[{extra}]"',
    )


_READERS: Mapping[str, Callable[[str], Iterator[tuple[str, Array]]]] = {
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".keras": _keras,
}
