"""derive.jax: derived cells inside JAX, to any order (needs jax: derive-kernels[jax]).

    import derive.jax as dj
    outputs, last = dj.run(cell, params, x)          a pure function: jit, grad, jvp, vmap, scan ...
    params = dj.init(cell, key, I=5, H=4)            {name: array}
    layer = dj.equinox.RNN(cell, in_size, hidden_size, key=key)          a module of Equinox
    layer = dj.nnx.RNN(cell, in_features, hidden_features, rngs=rngs)    a module of Flax NNX

| file           | holds                                                                    |
| -------------- | ------------------------------------------------------------------------ |
| versions.py    | what differs between versions of JAX                                     |
| handlers.py    | the handler of XLA's foreign function interface                          |
| engine.py      | one cell's kernels, called by XLA                                        |
| primitives.py  | three primitives, closed under differentiation                           |
| batching.py    | their vmap                                                               |
| checks.py      | what a user may give                                                     |
| functional.py  | run                                                                      |
| starts.py      | init                                                                     |
| layer.py       | what modules of both libraries do                                        |
| equinox.py     | modules of Equinox                                                       |
| nnx.py         | modules of Flax NNX                                                      |
"""

from __future__ import annotations

import importlib
from typing import Any

try:
    import jax as jax
except ImportError as error:
    from derive.errors import BuildError

    raise BuildError(
        "derive.jax needs JAX, which is not installed",
        hint="pip install 'derive-kernels[jax]'",
    ) from error

from derive.jax.versions import check_version

check_version()

from derive.jax.functional import run as run  # noqa: E402
from derive.jax.starts import init as init  # noqa: E402

__all__ = ["equinox", "init", "nnx", "run"]


def __getattr__(name: str) -> Any:
    """equinox and nnx load the library that they are for when they are first used."""
    if name in ("equinox", "nnx"):
        return importlib.import_module(f"derive.jax.{name}")
    raise AttributeError(f"module 'derive.jax' has no attribute {name!r}")
