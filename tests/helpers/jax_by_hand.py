"""A cell of two states written out in JAX, to hold derive.jax against. Shares nothing with it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

TEXT = """cell leaky
input x: I
state h: H, m: H
param k: 1
a  = sigmoid(W_a @ x + U_a @ h + b_a)
m' = k * m + (1 - a) * sin(h)
h' = a * h + (1 - a) * tanh(W @ x + U @ m' + b)
output h', m
"""
SHAPES = {
    "k": (1,), "W_a": "HI", "U_a": "HH", "b_a": "H", "W": "HI", "U": "HH", "b": "H",
}  # fmt: skip


def some(T: int = 3, B: int = 2, I: int = 3, H: int = 2, dtype: str = "float64") -> Any:  # noqa: E741
    """Parameters, x and states."""
    lengths = {"I": I, "H": H}
    random = np.random.default_rng(7)

    def draw(*shape: int) -> Any:
        return jnp.asarray(random.uniform(-1, 1, shape), dtype)

    params = {
        name: draw(*shape) if isinstance(shape, tuple) else draw(*(lengths[d] for d in shape))
        for name, shape in SHAPES.items()
    }
    return params, draw(T, B, I), {"h": draw(B, H), "m": draw(B, H)}


def step(p: Any, x: Any, h: Any, m: Any) -> tuple[Any, Any]:
    a = jax.nn.sigmoid(x @ p["W_a"].T + h @ p["U_a"].T + p["b_a"])
    m_next = p["k"] * m + (1 - a) * jnp.sin(h)
    return a * h + (1 - a) * jnp.tanh(x @ p["W"].T + m_next @ p["U"].T + p["b"]), m_next


def run(p: Any, x: Any, state: Any, lengths: Any = None, reverse: bool = False) -> Any:
    """As derive.jax.run."""
    h, m = state["h"], state["m"]
    steps = len(x)
    outputs: list[Any] = [None] * steps
    for k in range(steps):
        t = steps - 1 - k if reverse else k
        alive = jnp.ones(x.shape[1], bool) if lengths is None else t < lengths
        h_next, m_next = step(p, x[t], h, m)
        keep = alive[:, None]
        outputs[t] = jnp.where(keep, h_next, 0), jnp.where(keep, m, 0)
        h, m = jnp.where(keep, h_next, h), jnp.where(keep, m_next, m)
    y, before = (jnp.stack(of) for of in zip(*outputs, strict=True))
    return {"h_next": y, "m": before}, {"h": h, "m": m}


def loss(results: Any) -> Any:
    """A number that depends on every result."""
    outputs, last = results
    total = jnp.sum(jnp.sin(outputs["h_next"])) + jnp.sum(outputs["m"] ** 2)
    return total + jnp.sum(last["h"] * last["m"]) + jnp.sum(last["h"] ** 3)


def differ(one: Any, other: Any) -> float:
    """The largest difference between two trees of arrays."""
    a, b = jax.tree.leaves(one), jax.tree.leaves(other)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert [v.shape for v in a] == [v.shape for v in b]
    return max(
        float(np.max(np.abs(np.asarray(u) - np.asarray(v)), initial=0.0))
        for u, v in zip(a, b, strict=True)
    )


def in_x64() -> Any:
    """A context in which JAX has float64."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()
