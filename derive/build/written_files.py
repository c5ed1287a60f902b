"""Several files as one: all of them are written, or none.

In: a folder, {path in it: text}.  Out: the paths whose bytes changed; ArgumentError.
Not here: what the texts are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from derive.errors import ArgumentError


def write_all(folder: Path, texts: Mapping[str, str], hint: str) -> tuple[str, ...]:
    """Write what differs, and say which: all of it or, with an ArgumentError, nothing.

    Every text is on the disk, beside its place, before the first is moved there; what was moved
    is taken back if one cannot be. A reader sees an old file or a new one.
    """
    changed = [path for path, text in texts.items() if read_text(folder / path) != text]
    with ExitStack() as undo:
        path = ""
        try:
            staged = []
            for path in changed:
                staged.append((_stage(folder / path, texts[path], undo), folder / path))
            for part, place in staged:
                path = str(place.relative_to(folder))
                _move(part, place, undo)
        except OSError as error:
            raise ArgumentError(
                f"{folder / path} cannot be written: {error.strerror}",
                facts=("nothing was written",),
                hint=hint,
            ) from error
        undo.pop_all()
    return tuple(changed)


def _stage(place: Path, text: str, undo: ExitStack) -> Path:
    """The text in a file of its own, in the folder of `place`."""
    for parent in reversed(place.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            undo.callback(_quietly, parent.rmdir)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    part = Path(name)
    undo.callback(_quietly, part.unlink)
    with open(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    part.chmod(0o666 & ~_umask())
    return part


def _move(part: Path, place: Path, undo: ExitStack) -> None:
    """Put a staged file in its place, and keep the old one until all are there."""
    old = place.read_bytes() if place.is_file() else None
    os.replace(part, place)
    undo.callback(_quietly, place.unlink if old is None else partial(place.write_bytes, old))


def _quietly(action: Callable[[], object]) -> None:
    with suppress(OSError):
        action()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_text(path: Path) -> str | None:
    """The text of a file; None where there is none that can be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
