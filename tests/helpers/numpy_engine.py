"""derive.torch without a compiler, for tests of derivatives: C compiles for seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from derive import pipeline
from derive.errors import BuildError
from derive.torch import engine


@contextmanager
def numpy_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, engines compute with the NumPy target, and none is kept."""

    untuned = pipeline.untuned

    def no_compiler(cell: Any, target: str, *rest: Any, **options: Any) -> Any:
        if target == "c":
            raise BuildError("no C compiler was found")
        return untuned(cell, target, *rest, **options)

    def forget() -> None:
        engine._engine.cache_clear()
        engine.engine_of_key.cache_clear()

    monkeypatch.setattr(engine, "_mention_once", lambda *_: None)
    monkeypatch.setattr(pipeline, "untuned", no_compiler)
    forget()
    yield
    forget()
