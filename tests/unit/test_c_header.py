"""The shared header on its own: every function, every product, at every vector width."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from derive.emit.header import render_header

HERE = Path(__file__).parents[1] / "c"
WARNINGS = (
    "-Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion -Wdouble-promotion "
    "-Wcast-qual -Wcast-align -Wvla -Wundef"
).split()
ONLY_C = ["-std=c11", "-Wstrict-prototypes", "-Wmissing-prototypes"]
SPEED = "-O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast".split()
WIDTHS = (1, 128, 256, 512)
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
REALS = {"f32": np.float32, "f64": np.float64}
GATES = (1, 2, 3, 4, 5, 6, 7, 9)

Library = ctypes.CDLL


@pytest.fixture(scope="session")
def header(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("header")
    (folder / "derive_kernels.h").write_text(render_header())
    return folder


def supports(bits: int) -> bool:
    """Wider vectors than the processor has are right too, but slow to compile."""
    flags = subprocess.run(
        ["gcc", "-march=native", "-dM", "-E", "-x", "c", "/dev/null"],
        capture_output=True,
        text=True,
    ).stdout
    return bits < 512 or "__AVX512F__" in flags


@pytest.fixture(scope="session")
def build(header: Path) -> Callable[[str, int, str], Library]:
    built: dict[tuple[str, int, str], Library] = {}

    def compile_(source: str, bits: int, compiler: str) -> Library:
        key = (source, bits, compiler)
        if key not in built:
            target = header / f"{source}_{bits}_{compiler}.so"
            command = [
                compiler,
                *ONLY_C,
                *WARNINGS,
                *SPEED,
                f"-DDK_VECTOR_BITS={bits}",
                f"-I{header}",
            ]
            command += ["-shared", "-fPIC", str(HERE / f"{source}.c"), "-o", str(target), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr, done.stderr
            built[key] = ctypes.CDLL(str(target))
        return built[key]

    return compile_


def call(library: Library, name: str, *arguments: object) -> None:
    converted = [
        ctypes.c_void_p(a.ctypes.data)
        if isinstance(a, np.ndarray)
        else ctypes.c_void_p(None)
        if a is None
        else ctypes.c_size_t(a)  # type: ignore[arg-type]
        for a in arguments
    ]
    getattr(library, name)(*converted)


def size(library: Library, name: str, *arguments: int) -> int:
    function = getattr(library, name)
    function.restype = ctypes.c_size_t
    return int(function(*map(ctypes.c_size_t, arguments)))


each_build = pytest.mark.parametrize(
    ("bits", "compiler"), [(bits, name) for bits in WIDTHS for name in COMPILERS]
)
each_real = pytest.mark.parametrize("tag", list(REALS))


@each_build
@each_real
@pytest.mark.parametrize("gates", GATES)
def test_a_tile_is_the_sum_of_its_segments(build, bits, compiler, tag, gates):
    library = build("products", bits, compiler)
    real = REALS[tag]
    random = np.random.default_rng(gates)
    for rows, units, depth_a, depth_b in (
        (1, 1, 1, 0),
        (1, 17, 13, 5),
        (2, 5, 3, 4),
        (7, 64, 33, 1),
        (13, 100, 16, 31),
        (32, 33, 8, 8),
    ):
        a = random.standard_normal((gates, units, depth_a)).astype(real)
        b = random.standard_normal((gates, depth_b, units)).astype(real)
        x = random.standard_normal((rows, depth_a)).astype(real)
        y = random.standard_normal((rows, depth_b)).astype(real)
        panel = np.full(
            size(library, f"{tag}_g{gates}_panel_size", units, depth_a + depth_b), np.nan, real
        )
        out = np.full((rows, gates, units), np.nan, real)
        call(library, f"{tag}_g{gates}_pack", panel, units, depth_a, depth_b, a, b)
        call(library, f"{tag}_g{gates}_multiply", rows, units, depth_a, depth_b, panel, x, y, out)
        assert not np.isnan(panel).any()
        exact = np.einsum("guk,rk->rgu", a.astype(np.longdouble), x.astype(np.longdouble))
        exact += np.einsum("gku,rk->rgu", b.astype(np.longdouble), y.astype(np.longdouble))
        size_of_terms = np.einsum("guk,rk->rgu", abs(a), abs(x)) + np.einsum(
            "gku,rk->rgu", abs(b), abs(y)
        )
        bound = (depth_a + depth_b + 4) * np.finfo(real).eps * size_of_terms
        assert (abs(out - exact) <= bound).all(), (rows, units)


@each_build
@each_real
def test_outer_products_of_live_rows_are_added(build, bits, compiler, tag):
    library = build("products", bits, compiler)
    real = REALS[tag]
    random = np.random.default_rng(0)
    for rows, m, n in (
        (0, 3, 4),
        (1, 1, 1),
        (5, 3, 2),
        (97, 17, 33),
        (200, 65, 100),
        (301, 200, 7),
    ):
        left = random.standard_normal((rows, m + 2)).astype(real)
        right = random.standard_normal((rows, n + 3)).astype(real)
        start = random.standard_normal((m, n + 1)).astype(real)
        for alive in (None, (random.random(rows) < 0.6).astype(np.uint8)):
            keep = np.ones(rows, bool) if alive is None else alive.astype(bool)
            left_, right_, out = left.copy(), right.copy(), start.copy()
            left_[~keep], right_[~keep] = np.nan, np.inf
            scratch = np.full(size(library, f"{tag}_outer_scratch", n) + 1, 77, real)
            call(
                library,
                f"{tag}_outer",
                rows,
                alive,
                left_,
                m + 2,
                m,
                right_,
                n + 3,
                n,
                out,
                n + 1,
                scratch,
            )
            assert scratch[-1] == 77
            assert (out[:, n:] == start[:, n:]).all()
            p, q = left[keep, :m].astype(np.longdouble), right[keep, :n].astype(np.longdouble)
            bound = (rows + 4) * np.finfo(real).eps * (abs(l).T @ abs(r) + abs(start[:, :n]))
            assert (abs(out[:, :n] - (start[:, :n] + l.T @ r)) <= bound).all(), (rows, m, n)
