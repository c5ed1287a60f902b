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

    def no_compiler(*_: Any, **__: Any) -> Any:
        raise BuildError("no C compiler was found")

    def forget() -> None:
        engine._engine.cache_clear()
        engine.engine_of_key.cache_clear()
        engine._mention_once.cache_clear()

    monkeypatch.setattr(pipeline, "c_backend", no_compiler)
    forget()
    with pytest.warns(UserWarning, match="computes with NumPy"):
        engine._mention_once("no C compiler was found")
        yield
    forget()
