"""The shared header on its own: every function, every product, at every vector width."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from derive.emit.c.shared_header import render_header
from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import RULES, SELU_ALPHA, SELU_SCALE
from derive.verification import ulp
from derive.verification.ulp import EXACT

HERE = Path(__file__).parents[2] / "c"
FUNCTIONS = Path(ulp.__file__).with_name("functions.c")
WARNINGS = [
    *("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wconversion", "-Wsign-conversion"),
    *("-Wdouble-promotion", "-Wcast-qual", "-Wcast-align", "-Wvla", "-Wundef"),
]
ONLY_C = ["-std=c11", "-Wstrict-prototypes", "-Wmissing-prototypes"]
SPEED = ["-O2", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
SANITIZE = ["-O1", "-march=native", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
REALS = {"f32": np.float32, "f64": np.float64}
GROUPS = [("f32", gates) for gates in (1, 2, 3, 4, 5, 6, 7, 9)]
GROUPS += [("f64", gates) for gates in (1, 3, 4, 9)]

Build = Callable[..., ctypes.CDLL]


def widths() -> Iterator[int]:
    """The widths that this processor has registers for; 1 is plain C."""
    command = ["gcc", "-march=native", "-dM", "-E", "-x", "c", "/dev/null"]
    macros = subprocess.run(command, capture_output=True, text=True).stdout
    yield from (1, 128)
    if "__AVX__" in macros:
        yield 256
    if "__AVX512F__" in macros:
        yield 512


WIDTHS = tuple(widths())
BUILDS = [(bits, "gcc") for bits in WIDTHS]
BUILDS += [(bits, "clang") for bits in (1, WIDTHS[-1]) if "clang" in COMPILERS]
WIDEST = (WIDTHS[-1], "gcc")
each_build = pytest.mark.parametrize(("bits", "compiler"), BUILDS)
each_real = pytest.mark.parametrize("tag", list(REALS))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("header")
    (path / "derive_kernels.h").write_text(render_header())
    (path / "every_unary.h").write_text(ulp.every_unary())
    return path


@pytest.fixture(scope="session")
def build(folder: Path) -> Build:
    built: dict[tuple[object, ...], ctypes.CDLL] = {}

    def compile_(source: str, bits: int, compiler: str, flags: tuple[str, ...] = ()) -> ctypes.CDLL:
        key = (source, bits, compiler, flags)
        if key not in built:
            target = folder / f"{len(built)}.so"
            command = [compiler, *ONLY_C, *WARNINGS, *(flags or SPEED), f"-DDK_VECTOR_BITS={bits}"]
            command += [f"-I{folder}", "-shared", "-fPIC"]
            command.append(str(FUNCTIONS if source == "functions" else HERE / f"{source}.c"))
            run([*command, "-o", str(target), "-lm"])
            built[key] = ctypes.CDLL(str(target))
        return built[key]

    return compile_


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def call(library: ctypes.CDLL, name: str, *arguments: np.ndarray | int | None) -> None:
    def convert(argument: np.ndarray | int | None) -> object:
        if isinstance(argument, int):
            return ctypes.c_size_t(argument)
        return ctypes.c_void_p(None if argument is None else argument.ctypes.data)

    getattr(library, name)(*map(convert, arguments))


def size(library: ctypes.CDLL, name: str, *arguments: int) -> int:
    function = getattr(library, name)
    function.restype = ctypes.c_size_t
    return int(function(*map(ctypes.c_size_t, arguments)))


def apply(library: ctypes.CDLL, tag: str, name: str, values: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    call(library, f"{tag}_{name}", len(values), values, out)
    return out


# Products


@each_build
@pytest.mark.parametrize(("tag", "gates"), GROUPS)
def test_a_tile_is_the_sum_of_its_segments(
    build: Build, bits: int, compiler: str, tag: str, gates: int
) -> None:
    check_tiles(build("products", bits, compiler), bits, tag, gates)


def check_tiles(library: ctypes.CDLL, bits: int, tag: str, gates: int) -> None:
    real = REALS[tag]
    random = np.random.default_rng(gates)
    shapes = [(1, 1, 1, 0), (1, 17, 13, 5), (2, 5, 3, 4), (7, 64, 33, 1), (13, 100, 16, 31)]
    tails = [(5, 20, 9, 7), (3, 36, 5, 6), (2, 50, 4, 3), (1, 20, 9, 7), (6, 66, 3, 2)]
    for rows, units, depth_a, depth_b in [*shapes, (32, 33, 8, 8), *tails]:
        depth = depth_a + depth_b
        sizes = gates, rows, units, depth_a, depth_b
        start = random.standard_normal((gates, units)).astype(real)
        a = random.standard_normal((gates, units, depth_a)).astype(real)
        b = random.standard_normal((gates, depth_b, units)).astype(real)
        x = random.standard_normal((rows, depth_a)).astype(real)
        y = random.standard_normal((rows, depth_b)).astype(real)
        name = f"{tag}_g{gates}"
        panel = np.full(size(library, f"{name}_panel_size", units, depth), np.nan, real)
        before = np.full((rows, size(library, f"{name}_before_size", units)), np.nan, real)
        call(library, f"{name}_pack", panel, units, depth_a, depth_b, a, b, start)
        assert not np.isnan(panel).any()

        operands = start, a, b, x, y
        together = multiply(library, name, sizes, panel, operands, None)
        early = multiply(library, name, sizes, panel, operands, before)
        plain = multiply(library, name, sizes, None, operands, None)
        exact = stacked_product(*operands)
        bound = (depth + 5) * np.finfo(real).eps * stacked_product(*map(abs, operands))
        assert (abs(together - exact) <= bound).all(), (rows, units)
        assert (abs(early - exact) <= bound).all(), (rows, units)
        assert (abs(plain - exact) <= bound).all(), (rows, units)
        assert not np.isnan(before).any()
        # A tile of a single row is summed in several parts; a compiler that has to find the
        # vectors itself may round a product before it is added.
        if rows % 2 == 0 and bits > 1:
            assert (early == together).all(), (rows, units)


def multiply(
    library: ctypes.CDLL,
    name: str,
    sizes: tuple[int, int, int, int, int],
    panel: np.ndarray | None,
    operands: tuple[np.ndarray, ...],
    before: np.ndarray | None,
) -> np.ndarray:
    gates, rows, units, *_ = sizes
    start, a, b, x, y = operands
    out = np.full((rows, gates, units), np.nan, x.dtype)
    call(library, f"{name}_multiply", *sizes[1:], panel, x, y, before, a, b, start, out)
    return out


def stacked_product(
    start: np.ndarray, a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    first = np.einsum("guk,rk->rgu", a, x, dtype=np.longdouble)
    return start + first + np.einsum("gku,rk->rgu", b, y, dtype=np.longdouble)


@each_build
@each_real
def test_outer_products_of_live_rows_are_added(
    build: Build, bits: int, compiler: str, tag: str
) -> None:
    check_outer(build("products", bits, compiler), tag)


def check_outer(library: ctypes.CDLL, tag: str) -> None:
    real = REALS[tag]
    random = np.random.default_rng(0)
    shapes = [(0, 3, 2, 4, 5), (1, 1, 1, 1, 1), (5, 3, 8, 2, 1), (97, 17, 9, 33, 48)]
    for rows, k, m, n, o in [*shapes, (200, 65, 8, 100, 16), (401, 200, 24, 7, 65)]:
        lefts = [random.standard_normal((rows, width)).astype(real) for width in (k, m)]
        rights = [random.standard_normal((rows, width)).astype(real) for width in (n, o)]
        pairs = [(0, 0), (0, 1), (1, 1)]
        starts = [
            random.standard_normal((lefts[i].shape[1], rights[j].shape[1])).astype(real)
            for i, j in pairs
        ]
        for alive in (None, (random.random(rows) < 0.6).astype(np.uint8)):
            live = np.ones(rows, bool) if alive is None else alive.astype(bool)
            spoilt = [array.copy() for array in (*lefts, *rights)]
            for array, value in zip(spoilt, (np.nan, np.inf, np.inf, np.nan), strict=True):
                array[~live] = value
            outs = [np.append(start, real(77)) for start in starts]
            scratch = np.full(
                size(library, f"{tag}_outer_scratch", rows, max(k, m), n, o) + 1, 77, real
            )
            factors = [x for array in spoilt for x in (array, array.shape[1])]
            call(library, f"{tag}_outer", rows, alive, *factors, *outs, scratch)
            assert scratch[-1] == 77
            for (i, j), start, out in zip(pairs, starts, outs, strict=True):
                a, b = lefts[i][live].astype(np.longdouble), rights[j][live].astype(np.longdouble)
                bound = (rows + 4) * np.finfo(real).eps * (abs(a).T @ abs(b) + abs(start))
                result = out[:-1].reshape(start.shape)
                assert out[-1] == 77
                assert (abs(result - (start + a.T @ b)) <= bound).all(), (rows, i, j)


@pytest.mark.parametrize("bits", [1, WIDTHS[-1]])
def test_the_sanitizer_finds_no_undefined_behaviour(build: Build, bits: int) -> None:
    products = build("products", bits, "gcc", (*SANITIZE, "-DDK_ROWS_MAX=2"))
    functions = build("functions", bits, "gcc", tuple(SANITIZE))
    for tag in REALS:
        check_tiles(products, bits, tag, 1)
        check_tiles(products, bits, tag, 9)
        check_outer(products, tag)
        for name in (*EXACT, *EXACT_OF_TWO):
            apply(functions, tag, name, edges(tag))


# Functions


#: With one argument fixed: the value for a finite v, and for NaN.
EXACT_OF_TWO: dict[str, tuple[Callable[[float], float], float]] = {
    "maximum_half": (lambda v: max(v, 0.5), math.nan),
    "half_maximum": (lambda v: max(0.5, v), math.nan),
    "minimum_half": (lambda v: min(v, 0.5), math.nan),
    "half_minimum": (lambda v: min(0.5, v), math.nan),
    "zero_gates": (lambda v: 0.0, 0.0),
    "two_gates": (lambda v: 2 * v, math.nan),
    "gated_by": (lambda v: 2 * v, math.nan),
    "where_less_one": (lambda v: v if v < 1 else 7.0, 7.0),
    "where_less_equal_one": (lambda v: v if v <= 1 else 7.0, 7.0),
    "where_equal_one": (lambda v: v if v == 1 else 7.0, 7.0),
    "where_not_equal_one": (lambda v: v if v != 1 else 7.0, math.nan),
}

#: Values at -infinity, -0, infinity. NaN gives NaN everywhere.
NAN, INF = math.nan, math.inf
AT_EDGES = {
    "sigmoid": (0.0, 0.5, 1.0),
    "tanh": (-1.0, -0.0, 1.0),
    "relu": (0.0, 0.0, INF),
    "exp": (0.0, 1.0, INF),
    "log": (NAN, -INF, INF),
    "log1p": (NAN, -0.0, INF),
    "expm1": (-1.0, -0.0, INF),
    "sqrt": (NAN, -0.0, INF),
    "sin": (NAN, -0.0, NAN),
    "cos": (NAN, 1.0, NAN),
    "erf": (-1.0, -0.0, 1.0),
    "abs": (INF, 0.0, INF),
    "sign": (-1.0, 0.0, 1.0),
    "floor": (-INF, -0.0, INF),
    "softplus": (0.0, math.log(2), INF),
    "logsigmoid": (-INF, -math.log(2), -0.0),
    "softsign": (-1.0, -0.0, 1.0),
    "elu": (-1.0, -0.0, INF),
    "leaky_relu": (-INF, -0.0, INF),
    "selu": (-float(SELU_SCALE * SELU_ALPHA), -0.0, INF),
    "gelu": (-0.0, -0.0, INF),
    "silu": (-0.0, -0.0, INF),
    "gaussian": (0.0, 1.0, 0.0),
    "hard_sigmoid": (0.0, 0.5, 1.0),
    "hard_tanh": (-1.0, -0.0, 1.0),
    "hard_swish": (-0.0, -0.0, INF),
    "stop_gradient": (-INF, -0.0, INF),
    "clip": (-2.0, -0.0, 3.0),
    "pow_2": (INF, 0.0, INF),
    "pow_3": (-INF, -0.0, INF),
    "pow_m1": (-0.0, -INF, 0.0),
    "pow_m2": (0.0, INF, 0.0),
    "pow_half": (NAN, -0.0, INF),
    "pow_3half": (INF, 0.0, INF),
    "pow_m3half": (0.0, INF, 0.0),
    "pow_tenth": (INF, 0.0, INF),
    "pow_2point5": (INF, 0.0, INF),
}


def test_every_scalar_rule_has_a_function_here() -> None:
    two = {"maximum", "minimum", "where", "less", "less_equal", "equal", "not_equal", "gated"}
    assert set(RULES) <= set(EXACT) | two | {"gelu_slope", "silu_slope"}
    assert set(AT_EDGES) <= set(EXACT)
    for name, (low, _, high) in AT_EDGES.items():
        if name in TABLE and TABLE[name].arity == 1:
            limits = [math.nan if v is None else float(v) for v in TABLE[name].limits]
            np.testing.assert_allclose(limits, [low, high], rtol=1e-15)
    header = render_header()
    for name in RULES:
        for tag in REALS:
            assert f" dk_{name}_{tag}(" in header


def edges(tag: str) -> np.ndarray:
    info = np.finfo(REALS[tag])
    tiny = [info.smallest_subnormal, info.tiny, info.tiny / 2, info.max, info.eps, 1.0, 2.0, 0.0]
    return np.array([*tiny, *(-v for v in tiny), NAN, INF, -INF], REALS[tag])


@pytest.mark.parametrize("tag", list(REALS))
def test_functions_are_within_two_ulp_of_mpmath(
    capsys: pytest.CaptureFixture[str], tag: str
) -> None:
    """Every exponent and every 4093rd float, at every width that this processor has."""
    found = ulp.figures(WIDTHS, tags=(tag,))
    with capsys.disabled():
        print(f"\n{ulp.text(found)}")
    assert {(figure.function, figure.bits) for figure in found} == {
        (name, bits) for name in EXACT for bits in WIDTHS
    }
    assert [figure for figure in found if figure.error > ulp.allowed(figure.function)] == []


def test_a_function_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong sign, NaN, and more than two ulp, each by mpmath and over all floats."""
    apply = ulp._apply
    changes = {
        "tanh": lambda v: v * np.float32(1.0000004),
        "exp": lambda v: np.where(v > 1e30, np.nan, v),
        "erf": lambda v: -v,
    }

    def wrong(library: ctypes.CDLL, tag: str, name: str, values: np.ndarray) -> np.ndarray:
        found = apply(library, tag, name, values)
        return changes[name](found).astype(found.dtype) if tag == "f32" else found

    monkeypatch.setattr(ulp, "_apply", wrong)
    library, arguments = ulp._library(1), ulp.samples(np.float32)
    for name in changes:
        values, exact = wrong(library, "f32", name, arguments), ulp._exact(name, arguments)
        assert ulp._worst(values, exact, arguments)[0] > 2
        assert ulp._over_all_floats(library, name)[0] > 2


@pytest.mark.parametrize("bits", ulp.WIDTHS)
def test_figures_are_of_the_width_they_say(bits: int) -> None:
    assert size(ulp._library(bits), "f32_lanes") == max(bits // 32, 1)


@each_build
def test_edges_of_the_range_are_right(build: Build, bits: int, compiler: str) -> None:
    library = build("functions", bits, compiler)
    for tag, real in REALS.items():
        argument = np.array([-INF, -0.0, INF, NAN], real)
        for name, expected in AT_EDGES.items():
            found = apply(library, tag, name, argument)
            for value, right in zip(found, (*expected, NAN), strict=True):
                same = value == right or (np.isnan(value) and math.isnan(right))
                if math.isfinite(right):
                    same = abs(value - real(right)) <= 2 * np.spacing(abs(real(right)))
                assert same, (tag, name, found)
                if right == 0:
                    assert np.signbit(value) == np.signbit(right), (tag, name, found)


@each_build
def test_widths_and_compilers_agree_on_ordinary_arguments(
    build: Build, bits: int, compiler: str
) -> None:
    """Within four ulp of the widest build, which is within two of the truth."""
    library, reference = build("functions", bits, compiler), build("functions", *WIDEST)
    for tag in REALS:
        v = ulp.samples(REALS[tag])
        for name in EXACT:
            found, right = apply(library, tag, name, v), apply(reference, tag, name, v)
            assert (np.isnan(found) == np.isnan(right)).all(), name
            finite = np.isfinite(right) & np.isfinite(found)
            bound = 4 * np.finfo(REALS[tag]).eps * abs(right[finite])
            bound += 4 * np.finfo(REALS[tag]).smallest_subnormal
            assert (abs(found[finite] - right[finite]) <= bound).all(), (tag, name)


@each_build
def test_widths_and_compilers_agree_on_slopes(build: Build, bits: int, compiler: str) -> None:
    """Each has a root, near which no bound is relative; test_accuracy.py compares with mpmath."""
    library, reference = build("functions", bits, compiler), build("functions", *WIDEST)
    for tag in REALS:
        v = np.concatenate([ulp.samples(REALS[tag]), edges(tag)])
        for name in ("gelu_slope", "silu_slope"):
            found, right = apply(library, tag, name, v), apply(reference, tag, name, v)
            assert (np.isnan(found) == np.isnan(right)).all(), name
            bound = 8 * np.finfo(REALS[tag]).eps * abs(right)
            bound[(v < -0.5) & (v > -1.6)] = 2 * np.finfo(REALS[tag]).eps
            bound += 32 * np.finfo(REALS[tag]).smallest_subnormal
            wrong = abs(found - right) > bound
            assert not wrong.any(), (tag, name, v[wrong])


@each_build
def test_functions_of_two_arguments_choose_as_numpy_does(
    build: Build, bits: int, compiler: str
) -> None:
    library = build("functions", bits, compiler)
    for tag, real in REALS.items():
        v = np.array([-1.5, 0.0, 0.5, 1.0, 2.5, INF, -INF, NAN], real)
        for name, (function, at_nan) in EXACT_OF_TWO.items():
            right = [at_nan if math.isnan(a) else function(float(a)) for a in v]
            np.testing.assert_array_equal(apply(library, tag, name, v), np.array(right, real), name)


@each_build
def test_the_sum_of_the_lanes_is_the_sum(build: Build, bits: int, compiler: str) -> None:
    library = build("functions", bits, compiler)
    for tag, real in REALS.items():
        lanes = size(library, f"{tag}_lanes")
        v = np.arange(1, lanes + 1).astype(real)
        assert (apply(library, tag, "sum", v) == lanes * (lanes + 1) / 2).all()


# The rest


def test_it_compiles_as_cplusplus(folder: Path) -> None:
    source = folder / "include.cpp"
    source.write_text(
        '#define DK_IMPLEMENTATION\n#include "derive_kernels.h"\nDK_DEFINE_GROUP(f32, g4, 4, 4)\n'
    )
    command = ["g++", "-std=c++17", *WARNINGS, "-O1", "-march=native", "-c", str(source)]
    run([*command, "-o", str(folder / "include.o")])


def test_it_needs_libm_and_memory_functions_alone(folder: Path) -> None:
    objects = folder / "functions.o"
    command = ["gcc", *ONLY_C, *SPEED, f"-I{folder}", "-c", str(FUNCTIONS)]
    run([*command, "-o", str(objects)])
    names = {line.split()[-1] for line in run(["nm", "-u", str(objects)]).splitlines()}
    libm = {"sin", "cos", "erf", "pow", "sqrt", "floor"}
    libm |= {f"{name}f" for name in libm}
    assert names <= libm | {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}


def test_rendering_is_the_same_text_every_time() -> None:
    text = render_header()
    assert text == render_header()
    assert text.endswith("#endif /* DK_IMPLEMENTATION */\n") and "\t" not in text
    assert all(line == line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_thread_passes_a_barrier_before_all_have_come(build: Build, compiler: str) -> None:
    library = build("team", 128, compiler)
    for count in (1, 2, 3):
        barrier = ctypes.create_string_buffer(size(library, "barrier_size"))
        library.start(barrier, ctypes.c_size_t(count))
        steps = 300
        totals = np.zeros(steps * count, np.uintp)
        threads = [
            threading.Thread(
                target=call,
                args=(library, "work", barrier_array(barrier), index, count, steps, totals),
            )
            for index in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Each step adds one for each thread; every thread reads the total between two barriers.
        assert (totals.reshape(steps, count) == np.arange(1, steps + 1)[:, None] * count).all()


def barrier_array(buffer: ctypes.Array[ctypes.c_char]) -> np.ndarray:
    return np.frombuffer(buffer, np.uint8)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_ranges_of_a_team_cover_everything_once(build: Build, compiler: str) -> None:
    library = build("team", 128, compiler)
    for total in (0, 1, 5, 16, 17):
        for count in (1, 2, 3, 7):
            seen: list[int] = []
            for index in range(count):
                limits = np.zeros(2, np.uintp)
                call(library, "range", total, index, count, limits)
                seen += range(int(limits[0]), int(limits[1]))
            assert seen == list(range(total))


def test_threads_share_few_rows_as_rows_where_the_weights_are_few_too(build: Build) -> None:
    library = build("team", 128, "gcc")
    mib = 1 << 20

    def by_rows(rows: int, size: int, count: int) -> bool:
        return bool(library.by_rows(*map(ctypes.c_size_t, (rows, size, count))))

    assert by_rows(8, 2 * mib, 2) and by_rows(13, 3 * mib, 2) and by_rows(16, 4 * mib, 2)
    assert not by_rows(7, mib, 2) and not by_rows(8, mib, 3)  # three rows for one of them
    assert not by_rows(8, 2 * mib + 8, 2) and not by_rows(11, 3 * mib, 2)  # of both
    assert not by_rows(64, 4 * mib + 8, 2) and not by_rows(64, mib, 1)


def test_sizes_that_overflow_are_reported(build: Build) -> None:
    library = build("team", 128, "gcc")
    biggest = 2 ** (8 * ctypes.sizeof(ctypes.c_size_t)) - 1
    for a, b in ((0, biggest), (biggest, 1), (2, biggest // 2), (2, biggest // 2 + 1), (3, 7)):
        out = np.full(1, 5, np.uintp)
        status = library.multiply(
            ctypes.c_size_t(a), ctypes.c_size_t(b), ctypes.c_void_p(out.ctypes.data)
        )
        fits = a * b <= biggest
        assert (status == 0) == fits and int(out[0]) == (a * b if fits else 5)
