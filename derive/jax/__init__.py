"""derive.jax: derived cells inside JAX, to any order (needs jax: derive-kernels[jax]).

    import derive.jax as dj
    outputs, last = dj.run(cell, params, x)          a pure function: jit, grad, jvp, vmap, scan ...

| file           | holds                                                                    |
| -------------- | ------------------------------------------------------------------------ |
| versions.py    | what differs between versions of JAX                                     |
| handlers.py    | the handler of XLA's foreign function interface                          |
| engine.py      | one cell's kernels, called by XLA                                        |
| primitives.py  | three primitives, closed under differentiation                           |
| batching.py    | their vmap                                                               |
| checks.py      | what a user may give                                                     |
| functional.py  | run                                                                      |
"""

from __future__ import annotations

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

__all__ = ["run"]
