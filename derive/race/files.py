"""The folder of a race: outcomes of trials, reports.

In: a folder, outcomes.  Out: files that are there as a whole or not at all; outcomes.
Not here: what is written (trial.py, report.py).

JSON has no infinity and no NaN: null stands for a number that is not finite.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from derive.errors import ArgumentError
from derive.race.trial import Outcome

try:
    import fcntl
except ImportError:  # Windows has none, and no lock here
    fcntl = None  # type: ignore[assignment]

#: What `write` calls a file that is not whole yet.
_PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Makes the folder, and keeps other races out of it while the block runs; ArgumentError where
    nothing can be written into it, or another race is under way. The lock ends with its process,
    however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "ab")  # noqa: SIM115
    except OSError as error:
        raise _unwritable(folder, error) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArgumentError(
                    f"another race is under way in {folder}", hint="-o another_folder"
                ) from None
            except OSError:  # a disk that knows no locks
                pass
        for part in folder.glob(".*.part"):  # of a race that was killed while it wrote
            if _PART.fullmatch(part.name):  # and no other program's: the folder is the user's
                part.unlink(missing_ok=True)
        yield


def write(path: Path, text: str) -> None:
    """A file as a whole or not at all, also where several machines share the folder."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # where the folder is none, the error above says so
            part.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ArgumentError:
    return ArgumentError(
        f"{path} cannot be written",
        facts=(f"{type(error).__name__}: {error}",),
        hint="-o another_folder",
    )


def to_json(values: Any, indent: int | None = None) -> str:
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(values: Any) -> Any:
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return values


def save(outcome: Outcome, path: Path) -> None:
    write(path, to_json(asdict(outcome)))


def load(path: Path) -> Outcome | None:
    """None where there is no such file; ArgumentError where it cannot be read or holds something
    else."""
    try:
        values = json.loads(path.read_text("utf-8"))
        known = {name.name for name in fields(Outcome)}
        if not isinstance(values, dict) or set(values) != known:
            raise ValueError("other entries than those of an outcome")
        curve = tuple((int(step), _number(value)) for step, value in values.pop("curve"))
        return Outcome(curve=curve, final=_number(values.pop("final")), **values)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"{path} is no outcome of a trial", facts=(str(error),), hint=f"remove {path}"
        ) from error


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)
