"""What differs between versions of JAX.

In: avals, arrays, primitives.  Out: the same of each of them in every version from OLDEST on.
Not here: anything that is the same in all of them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Sequence
from typing import Any

import jax
from jax.core import ShapedArray
from jax.interpreters import ad, mlir
from jax.sharding import PartitionSpec

from derive.errors import BuildError

#: The first with a public `jax.ffi`.
OLDEST = (0, 5, 0)


def check_version() -> None:
    """BuildError where JAX is older than OLDEST."""
    if jax.__version_info__ < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise BuildError(
            f"derive.jax needs jax {least} or later, and {jax.__version__} is installed",
            facts=("earlier ones have no public jax.ffi",),
            hint=f"pip install 'jax>={least}'",
        )


def type_of(value: Any) -> Any:
    """The aval of an array or a tracer."""
    if hasattr(jax, "typeof"):
        return jax.typeof(value)
    return importlib.import_module("jax.core").get_aval(value)


def zero_like(value: Any) -> Any:
    """The tangent that is known to be zero."""
    return ad.Zero(type_of(value).to_tangent_aval())


def aval(shape: Sequence[int], like: Any) -> Any:
    """Of an array with the dtype of `like`, that varies over the same axes of a mesh."""
    sharding = getattr(like, "sharding", None)
    if sharding is None or sharding.mesh.empty:
        return ShapedArray(tuple(shape), like.dtype)
    spec = PartitionSpec(*[None] * len(shape))
    return like.update(shape=tuple(shape), weak_type=False, sharding=sharding.update(spec=spec))


def _varying(value: Any) -> frozenset[str]:
    """The axes of a mesh over which a value differs, inside of shard_map."""
    own = type_of(value)
    kind = getattr(own, "manual_axis_type", None)
    found = getattr(own, "vma", frozenset()) if kind is None else kind.varying
    return frozenset(found)


def vary_alike(values: Sequence[Any]) -> list[Any]:
    """Inside of shard_map, values that all vary over the same axes; elsewhere the same ones."""
    axes = [_varying(value) for value in values]
    union = frozenset().union(*axes)
    if not union:
        return list(values)
    return [
        _vary(value, tuple(sorted(union - own))) if union - own else value
        for value, own in zip(values, axes, strict=True)
    ]


def _vary(value: Any, axes: tuple[str, ...]) -> Any:
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(value, axes, to="varying")
    return jax.lax.pvary(value, axes)


def register_replication(primitive: Any) -> None:
    """Says to the shard_map of older versions that results are alike where operands are."""
    with contextlib.suppress(ImportError, AttributeError):
        rules = importlib.import_module("jax.experimental.shard_map")
        rules.register_standard_check(primitive)
        rules.register_standard_rewrite(primitive)


def implementation(primitive: Any) -> Any:
    """What runs a primitive outside of jit: a compiled computation for each kind of call, within
    jax.disable_jit() too."""

    @functools.lru_cache(maxsize=512)
    def compiled(way: Any) -> Any:
        return jax.jit(lambda *operands: primitive.bind(*operands, way=way))

    def run(*operands: Any, way: Any) -> Any:
        with jax.disable_jit(False):
            return compiled(way)(*operands)

    return run


def lowering(function: Any) -> Any:
    """A lowering rule that traces `function`."""
    return mlir.lower_fun(function, multiple_results=True)
