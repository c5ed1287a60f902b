"""Flags that break arithmetic are an error, with every compiler, built now or cached."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import derive
from derive.build import compiler as compilers
from derive.build import library as build
from derive.build.loading import BROKEN, load
from derive.emit.c.shared_header import render_header
from derive.errors import BuildError

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
#: Each with what it breaks, as numbers of lines of BROKEN.
FLAGS = {
    "-ffast-math": {0, 1, 2, 3, 4},
    "-funsafe-math-optimizations": {1, 2, 3},
    "-ffinite-math-only": {0},
    "-fassociative-math -fno-signed-zeros": {1, 2},
    "-freciprocal-math": {3},
    "-fno-signed-zeros": {1},
}
HARMLESS = ("-fno-trapping-math", "-ffp-contract=off", "-fno-math-errno", "-O0", "-O3")
#: Sets what -ffast-math sets when a library is loaded: subnormal results and arguments are 0.
FLUSHING = "__attribute__((constructor)) static void f(void) { __builtin_ia32_ldmxcsr(0x9fc0); }\n"

x86_alone = pytest.mark.skipif(platform.machine() != "x86_64", reason="an instruction of x86")
pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
each_compiler = pytest.mark.parametrize("compiler", COMPILERS)

CELL = derive.Cell.parse("cell small\ninput x: 1\nstate h: 1\nh' = tanh(x + h)\noutput h'")


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_loaded", {})


@pytest.fixture
def environment() -> Iterator[None]:
    """The processor's modes as they were, afterwards."""
    kept = (ctypes.c_uint64 * 32)()
    ctypes.CDLL(None).fegetenv(kept)
    yield
    ctypes.CDLL(None).fesetenv(kept)


def flushes() -> bool:
    return bool(np.float64(1e-310) * np.float64(0.5) == 0)


@each_compiler
@pytest.mark.parametrize("flags", FLAGS)
def test_a_flag_that_breaks_arithmetic_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, compiler: str, flags: str
) -> None:
    monkeypatch.setenv("CC", f"{compiler} {flags}")
    with pytest.raises(BuildError, match="arithmetic") as caught:
        derive.compile(CELL, target="c", dtype="float64")
    text = str(caught.value)
    assert flags in text and "export CC=gcc" in text
    assert not flushes()


def test_a_library_from_the_cache_is_tested_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = COMPILERS[-1]
    header = without_refusal(render_header())
    monkeypatch.setattr(import_module("derive.emit.c.files"), "render_header", lambda: header)
    monkeypatch.setenv("CC", f"{compiler} -freciprocal-math")
    with pytest.raises(BuildError, match="arithmetic"):
        derive.compile(CELL, target="c")
    monkeypatch.setattr(build, "_loaded", {})
    monkeypatch.setattr(build, "run", None)  # nothing is compiled
    with pytest.raises(BuildError, match=re.escape(BROKEN[3])):
        derive.compile(CELL, target="c")


@each_compiler
@pytest.mark.parametrize("flags", FLAGS)
def test_the_self_test_finds_what_a_flag_breaks_without_a_macro(
    tmp_path: Path, compiler: str, flags: str
) -> None:
    (tmp_path / "derive_kernels.h").write_text(without_refusal(render_header()))
    found = self_tests(tmp_path, compiler, flags)
    for failed in found:
        assert {k for k in range(len(BROKEN)) if failed >> k & 1} >= FLAGS[flags]


@each_compiler
@pytest.mark.parametrize("flags", HARMLESS)
def test_the_self_test_is_content_with_other_flags(
    tmp_path: Path, compiler: str, flags: str
) -> None:
    (tmp_path / "derive_kernels.h").write_text(render_header())
    assert self_tests(tmp_path, compiler, flags) == (0, 0)


@x86_alone
@pytest.mark.usefixtures("environment")
def test_a_library_that_flushes_subnormal_numbers_changes_nothing_in_the_process(
    tmp_path: Path,
) -> None:
    library = compiled(tmp_path, FLUSHING)
    load(library)
    assert not flushes()
    ctypes.CDLL(str(compiled(tmp_path, FLUSHING, "other")))
    assert flushes()  # so that is what it does


@x86_alone
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_another_library_that_flushes_subnormal_numbers_changes_no_normal_result(
    tmp_path: Path, target: str, dtype: str
) -> None:
    kernel = derive.compile(derive.cells.lstm(), target=target, dtype=dtype)
    params = kernel.init(I=3, H=5, seed=1)
    x = np.linspace(-30, 30, 4 * 2 * 3).reshape(4, 2, 3)

    def results() -> list[np.ndarray]:
        run = kernel.forward(params, x)
        grads = kernel.backward(run, np.ones_like(run.output))
        return [run.output, *grads.params.values(), *grads.inputs.values()]

    before = results()
    ctypes.CDLL(str(compiled(tmp_path, FLUSHING, "flush")))
    assert flushes()
    smallest = np.finfo(dtype).tiny
    for was, now in zip(before, results(), strict=True):
        same = (was == now) | ((abs(was) < 16 * smallest) & (abs(now) < 16 * smallest))
        assert same.all()


def without_refusal(header: str) -> str:
    found = re.sub(r"#if defined\(__FAST_MATH__\).*?#endif\n", "", header, flags=re.DOTALL)
    assert "#error" not in found
    return found


def self_tests(folder: Path, compiler: str, flags: str) -> tuple[int, int]:
    text = '#define DK_IMPLEMENTATION\n#include "derive_kernels.h"\n'
    for tag in ("f32", "f64"):
        text += f"int {tag}(void);\nint {tag}(void) {{ return dk_self_test_{tag}(); }}\n"
    library = load(compiled(folder, text, "test", (compiler, *compilers.FLAGS, *flags.split())))
    return int(library.f32()), int(library.f64())


def compiled(
    folder: Path, text: str, name: str = "library", command: tuple[str, ...] = ("gcc",)
) -> Path:
    (folder / f"{name}.c").write_text(text)
    target = folder / f"{name}.so"
    subprocess.run(
        [*command, "-shared", "-fPIC", f"{name}.c", "-o", str(target), "-lm"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return target
