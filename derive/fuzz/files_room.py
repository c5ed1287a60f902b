"""`--what files`: damaged files of weights, of which reading may say nothing but a DeriveError.

In: choices of hypothesis.  Out: nothing, or a Fault.
Not here: good files and how they are read (files.py).

Bytes are changed anywhere; and since an archive has checksums, its parts are also taken out,
changed and put back with the sums right. Reading happens in a process with 3 GiB of address space:
a header that asks for more must be an error.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from importlib.util import find_spec
from typing import Any

import numpy as np
from hypothesis import strategies as st

from derive.fuzz.child import Child
from derive.fuzz.fault import Fault, fault
from derive.fuzz.files import FORMS, good

_MEMORY = 3 << 30
_HEADER_WORDS = (
    b"(10000000000000,)", b"(2, -3)", b"()", b"(0,)", b"'|O'", b"'<c16'", b"'<U3'", b"'>f8'",
    b"'<f2'", b"'|b1'", b"True", b"'<M8[s]'", b"[('a', '<f4')]", b"'|V4'", b"9" * 5000, b"",
)  # fmt: skip


class FilesRoom:
    """counts: files, of which so many were read all the same."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._forms = [f for f, (_, need) in FORMS.items() if need is None or find_spec(need)]
        self._child = Child("reading", memory=_MEMORY)
        self._case: tuple[str, Any] = ("", b"")

    def example(self, data: st.DataObject) -> None:
        form = data.draw(st.sampled_from(self._forms))
        if form == "pytorch":
            damaged: Any = data.draw(_arrays())
        else:
            damaged = data.draw(_damaged(form))
        self._case = (form, damaged)
        answer = self._child.ask({"kind": "file", "form": form, "data": damaged})
        self.counts["files"] += 1
        self.counts["files that were read"] += answer["refused"] is None
        if answer["error"] is not None:
            name, text = answer["error"]
            raise fault(f"reading a file ({form}) raises {name}", text)

    def case(self, found: Fault) -> str:
        form, damaged = self._case
        return (
            "from numpy import array, float32, float64\n"
            f"from derive.fuzz.files import read\n\nread({form!r}, {damaged!r})\n"
        )

    def cell_text(self) -> str:
        return ""

    def close(self) -> None:
        self._child.close()


@st.composite
def _damaged(draw: st.DrawFn, form: str) -> bytes:
    data = good(form)
    if form == "npz" and draw(st.booleans()):
        return _with_part(draw, data)
    if form == "safetensors" and draw(st.booleans()):
        return _with_header(draw, data)
    return _bytes(draw, data)


def _bytes(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.sampled_from((1, 1, 2, 3, 8)))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("set", "cut", "insert", "drop", "double")))
        if kind == "cut":
            data = data[:at]
        elif kind == "set":
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
        else:
            wide = draw(st.integers(1, 40))
            data = data[:at] + data[at : at + wide] * 2 * (kind == "double") + data[at + wide :]
    return data


def _with_part(draw: st.DrawFn, data: bytes) -> bytes:
    """An archive in which one part is changed, and the checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(parts)))
    kind = draw(st.sampled_from(("bytes", "header", "drop", "rename", "empty", "folder")))
    part = parts.pop(name)
    if kind == "bytes":
        parts[name] = _bytes(draw, part)
    elif kind == "header":
        end = part.index(b"\n") + 1 if b"\n" in part else len(part)
        words = [b"'<f4'", b"False", b"(2, 3)", b"(2, 2)", b"(2,)", b"'<U64'", b"()"]
        old = draw(st.sampled_from([word for word in words if word in part[:end]] or [b"{"]))
        new = draw(st.sampled_from(_HEADER_WORDS))
        text = part[10:end].replace(old, new)
        parts[name] = part[:8] + min(len(text), 65535).to_bytes(2, "little") + text + part[end:]
    elif kind == "rename":
        parts[draw(st.sampled_from(("a", "../a.npy", " ", "W_i.npy.npy", "\u00e9.npy")))] = part
    elif kind == "empty":
        parts[name] = b""
    elif kind == "folder":
        parts[name + "/"] = b""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()


def _with_header(draw: st.DrawFn, data: bytes) -> bytes:
    """A safetensors file whose header is changed, and its length is right."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = draw(st.sampled_from(sorted(header)))
    kind = draw(st.sampled_from(("dtype", "shape", "offsets", "drop", "text", "number")))
    entry = header[name]
    if kind == "drop":
        del header[name]
    elif kind == "text":
        header[name] = draw(st.sampled_from(("", None, [], {}, 3)))
    elif kind == "dtype":
        entry["dtype"] = draw(st.sampled_from(("F64", "I8", "BF16", "F16", "BOOL", "F8_E4M3", "X")))
    elif kind == "shape":
        entry["shape"] = draw(st.sampled_from(([10**15], [-1], [2], [], [0], [2**62, 4], "x")))
    elif kind == "offsets":
        entry["data_offsets"] = draw(st.sampled_from(([0, 10**15], [8, 0], [-4, 4], [0], [0, 1])))
    else:
        header["__metadata__"] = draw(st.sampled_from((3, {"a": 3}, {}, {"derive.equations": ""})))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


@st.composite
def _arrays(draw: st.DrawFn) -> dict[str, Any]:
    """A state_dict in which something is not as it should be."""
    with np.load(io.BytesIO(good("pytorch"))) as file:
        arrays: dict[str, Any] = dict(file)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(arrays, key=str)))
        kind = draw(st.sampled_from(("drop", "rename", "shape", "dtype", "value", "add")))
        array = arrays.pop(name)
        if kind == "rename":
            new = ("weight_ih_l1", "", 3, "a.b." + str(name), None, "weight_hr_l0")
            arrays[draw(st.sampled_from(new))] = array  # type: ignore[index]
        elif kind == "shape":
            shapes: tuple[tuple[int, ...], ...] = ((0,), (), (1, 1), (8, 3, 1), (7, 2), (8, 2))
            arrays[name] = np.ones(draw(st.sampled_from(shapes)), np.float32)
        elif kind == "dtype":
            dtype = draw(st.sampled_from(("O", "U3", "c8", "i8", "f2", "M8[s]", "?")))
            arrays[name] = np.zeros(array.shape if isinstance(array, np.ndarray) else (2,), dtype)
        elif kind == "value":
            arrays[name] = draw(st.sampled_from((None, 3, "x", [], [[1], [2, 3]], {}, np.nan)))
        elif kind == "add":
            arrays[name] = array
            arrays[draw(st.sampled_from(("extra", "weight_hh_l1", "bias_ih_l0_reverse")))] = array
        if not arrays:
            break
    return arrays
