"""derive.jax on two devices, and with the oldest JAX that it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import derive

ROOT = Path(derive.__file__).parents[1]

TWO_DEVICES = """
import jax, numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, PartitionSpec as S
import derive, derive.jax as dj

try:
    from jax import shard_map
except ImportError:
    from jax.experimental.shard_map import shard_map

cell = derive.cells.rnn()
params = dj.init(cell, jax.random.key(0), I=3, H=4)
x = jax.random.normal(jax.random.key(1), (3, 4, 3))
h = jax.random.normal(jax.random.key(2), (4, 4))
lengths = jnp.array([3, 1, 0, 2])

def whole(p, x, h, n):
    outputs, last = dj.run(cell, p, x, h, n)
    return (outputs["h_next"] ** 2).sum() + (last["h"] ** 3).sum()

mesh = Mesh(np.array(jax.devices()), ("rows",))
assert len(jax.devices()) == 2
kinds = dict(mesh=mesh, in_specs=(S(), S(None, "rows"), S("rows"), S("rows")))
shared = shard_map(lambda *a: jax.lax.psum(whole(*a), "rows"), out_specs=S(), **kinds)
inside = shard_map(
    lambda *a: jax.lax.psum(jax.grad(whole, 1)(*a).sum(), "rows"), out_specs=S(), **kinds
)
given = params, x, h, lengths

def near(a, b):
    close = jax.tree.map(lambda u, v: np.allclose(u, v, rtol=2e-5, atol=2e-5), a, b)
    assert all(jax.tree.leaves(close)), (a, b)

near(jax.jit(shared)(*given), whole(*given))
near(jax.jit(jax.grad(shared, (0, 1, 2)))(*given), jax.grad(whole, (0, 1, 2))(*given))
near(jax.jit(inside)(*given), jax.grad(whole, 1)(*given).sum())
def hvp(f):
    return jax.jvp(lambda p: jax.grad(f)(p, *given[1:]), (params,), (params,))[1]
near(jax.jit(lambda: hvp(shared))(), hvp(whole))
print("agree")
"""


def run(python: str, code: str, **more: str) -> str:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    done = subprocess.run(
        [python, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, **more},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_shard_map_shares_rows_among_two_devices() -> None:
    flags = "--xla_force_host_platform_device_count=2"
    assert "agree" in run(sys.executable, TWO_DEVICES, XLA_FLAGS=flags)


@pytest.mark.slow
def test_all_of_it_with_the_oldest_jax_that_is_taken(tmp_path: Path) -> None:
    """In an environment of its own, from the package index."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "old")], check=True)
    python = str(tmp_path / "old" / "bin" / "python")
    packages = [
        "jax==0.5.0", "jaxlib==0.5.0", "equinox==0.11.12", "flax==0.10.4", "optax==0.2.4",
        "numpy", "sympy", "mpmath", "jinja2", "click", "rich", "platformdirs", "pytest",
    ]  # fmt: skip
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    tests = [str(path) for path in sorted(Path(__file__).parent.glob("test_jax_*.py"))]
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT,
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
