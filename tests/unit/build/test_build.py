"""Finding a compiler, compiling, and a cache that cannot be made to load something wrong."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from derive.build import cache as store
from derive.build import compiler as compilers
from derive.build import library as build
from derive.errors import BuildError, ToolchainError

SOURCES = {
    "answer.c": '#include "deep/part.h"\nint answer(void) { return part() + VALUE; }\n',
    "deep/part.c": '#include "deep/part.h"\nint part(void) { return 40; }\n',
    "deep/part.h": "#ifndef VALUE\n#define VALUE 2\n#endif\nint part(void);\nint answer(void);\n",
}
FAST = ("-std=c11", "-O0", "-fPIC")  # most tests are about files, not about speed

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))) and compilers._zig() is None,
    reason="no C compiler",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, an empty memory, and a temporary folder that must be empty afterwards."""
    folder = tmp_path / "cache"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(folder))
    monkeypatch.setattr(build, "_loaded", {})
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield folder
    for kept in scratch.iterdir():  # only the sources of what was refused
        assert (kept / "refused").exists() or any("refuse" in p.name for p in kept.iterdir())


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every command that is run from now on."""
    seen: list[tuple[str, ...]] = []
    run = compilers.run

    def spy(command: tuple[str, ...], cwd: Path | None) -> Any:
        seen.append(command)
        return run(command, cwd)

    for module in (compilers, build):
        monkeypatch.setattr(module, "run", spy)
    return seen


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def answer(**more: Any) -> int:
    return int(build.compile_library(SOURCES, flags=FAST, **more).answer())


def forget() -> None:
    build._loaded.clear()


def libraries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.so"))


# --- Compiling ------------------------------------------------------------------------------


@needs_compiler
def test_several_sources_become_one_library() -> None:
    assert answer() == 42


@needs_compiler
def test_the_default_flags_compile() -> None:
    text = "#include <math.h>\ndouble f(double v);\ndouble f(double v) { return exp(v); }\n"
    library = build.compile_library({"f.c": text})
    library.f.restype = ctypes.c_double
    assert library.f(ctypes.c_double(0.0)) == 1.0


@needs_compiler
def test_defines_reach_the_compiler_and_the_key() -> None:
    assert answer(defines=["VALUE=3"]) == 43
    assert answer() == 42


@needs_compiler
def test_two_sources_of_one_name_never_meet() -> None:
    other = {**SOURCES, "deep/part.c": SOURCES["deep/part.c"].replace("40", "50")}
    assert answer() == 42
    assert build.compile_library(other, flags=FAST).answer() == 52


def test_the_key_depends_on_everything() -> None:
    compiler = compilers.Compiler(("cc",), "test", "cc 1 2")
    keys = {
        store.key_of({"a.c": "b"}, ("-O1",), compiler),
        store.key_of({"a.c": "c"}, ("-O1",), compiler),
        store.key_of({"b.c": "b"}, ("-O1",), compiler),
        store.key_of({"a.cb": ""}, ("-O1",), compiler),
        store.key_of({"a.c": "b"}, ("-O2",), compiler),
        store.key_of({"a.c": "b"}, ("-O", "1"), compiler),
        store.key_of({"a.c": "b"}, ("-O1",), compilers.Compiler(("cc",), "test", "cc 1 3")),
    }
    assert len(keys) == 7


def test_the_key_ignores_the_order_of_sources() -> None:
    compiler = compilers.Compiler(("cc",), "test", "cc 1 2")
    keys = {store.key_of(s, (), compiler) for s in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})}
    assert len(keys) == 1


def test_the_key_takes_paths_that_are_not_utf8() -> None:
    compiler = compilers.Compiler(("cc",), "test", os.fsdecode(b"/opt/caf\xe9/cc 1 2"))
    assert store.key_of({}, (), compiler)


def test_the_key_depends_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = compilers.Compiler(("cc",), "test", "cc 1 2")
    here = store.key_of(SOURCES, (), compiler)
    monkeypatch.setattr(store, "_processor", lambda: "another one")
    assert store.key_of(SOURCES, (), compiler) != here


def test_the_processor_is_described() -> None:
    assert len(store._processor()) > len(os.uname().machine)


@needs_compiler
@pytest.mark.parametrize(
    "complaint", ["error: bad value 'native' for '-march='", "Error: no such instruction: vfoo"]
)
def test_a_refused_march_native_is_left_out(tmp_path: Path, complaint: str) -> None:
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    text = f'case "$*" in *-march=native*) echo "{complaint}" >&2; exit 1;; esac\nexec {real} "$@"'
    path = script(tmp_path / "old-cc", text)
    compiler = compilers._compiler((str(path),), "test")
    assert build.compile_library(SOURCES, compiler=compiler).answer() == 42


@needs_compiler
def test_a_refused_source_is_told_and_kept(commands: list[tuple[str, ...]]) -> None:
    with pytest.raises(BuildError) as caught:
        build.compile_library({"refused.c": "int f(void) { return undeclared; }\n"})
    error = caught.value
    assert error.what == "the compiler refused the generated code"
    assert any(fact.startswith("command: ") and "refused.c" in fact for fact in error.facts)
    assert any("undeclared" in fact for fact in error.facts)
    kept = Path(error.facts[-1].removeprefix("sources are kept in "))
    assert (kept / "refused.c").read_text().startswith("int f")
    assert len(commands) == 2  # itself and the probe; not again without -march=native


@needs_compiler
def test_a_refused_source_among_several_is_told() -> None:
    with pytest.raises(BuildError, match=r"refused\.c"):
        build.compile_library({**SOURCES, "refused.c": "int f(void) { return g; }\n"}, flags=FAST)


@needs_compiler
def test_a_missing_function_is_an_error_and_not_a_crash_later() -> None:
    text = "int missing_function(void);\nint refused(void) { return missing_function(); }\n"
    with pytest.raises(BuildError, match="missing_function"):
        build.compile_library({"refused.c": text}, flags=FAST)


def test_a_long_complaint_is_cut(tmp_path: Path) -> None:
    path = script(tmp_path / "talker", "seq 1 1000 >&2; exit 1")
    with pytest.raises(BuildError) as caught:
        build.compile_library(SOURCES, compiler=compilers._compiler((str(path),), "test"))
    assert len(caught.value.facts) <= 1 + build.LINES_SHOWN


@pytest.mark.parametrize("name", ["/etc/evil.c", "../evil.c", "a/../../evil.c"])
def test_a_source_cannot_be_written_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        build._write(tmp_path, name, "")


def test_a_full_temporary_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(BuildError, match="No space left on device"):
        build.compile_library(SOURCES, compiler=compilers.Compiler(("cc",), "test", ""))


def test_a_full_disk_is_not_blamed_on_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    path = script(tmp_path / "compiler", "echo No space left on device >&2; exit 1")
    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    with pytest.raises(ToolchainError, match="No space left on device") as caught:
        build.compile_library({"refused.c": ""}, compiler=compilers._compiler((str(path),), "test"))
    assert caught.value.what == f"{path} (test) broke down over the generated code"


BREAKDOWNS = {
    "crash": "kill -SEGV $$",
    "internal error": "echo 'cc: internal compiler error: Killed' >&2; exit 4",
    "full disk": "echo 'error writing to /tmp/x.s: No space left on device' >&2; exit 1",
    "hang": "exec sleep 30",
}


@needs_compiler
@pytest.mark.parametrize("how", BREAKDOWNS)
def test_a_compiler_that_breaks_down_over_one_text_is_not_the_fault_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    real = compilers.find_compiler()
    works = f'case "$*" in *probe.c*) exec {shlex.join(real.command)} "$@";; esac'
    path = script(tmp_path / "fragile", f"{works}\n{BREAKDOWNS[how]}")
    limit = 5 if how == "hang" else compilers.SECONDS_PER_COMMAND  # the probe is compiled too
    monkeypatch.setattr(compilers, "SECONDS_PER_COMMAND", min(limit, 2))
    with pytest.raises(ToolchainError) as caught:
        build.compile_library(SOURCES, compiler=compilers._compiler((str(path),), "test"))
    assert caught.value.what == f"{path} (test) broke down over the generated code"


@needs_compiler
def test_a_text_that_does_not_compile_or_load_is_not_the_fault_of_the_machine() -> None:
    for text in (
        "int wrong(",
        "int missing_function(void); int f(void) { return missing_function(); }",
    ):
        with pytest.raises(BuildError) as caught:
            build.compile_library({"refused.c": text}, flags=FAST)
        assert type(caught.value) is BuildError


@needs_compiler
def test_threads_compile_one_thing_once(commands: list[tuple[str, ...]]) -> None:
    source = {"one.c": "int one(void) { return 1; }\n"}
    got: list[Any] = []

    def work() -> None:
        got.append(build.compile_library(source, flags=FAST))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(commands) == 1
    assert all(library is got[0] for library in got) and len(got) == 4


# --- Compilers ------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no compiler: the folder that is its whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compilers, "_zig", lambda: None)
    return folder


def test_cc_is_split_like_a_shell_does(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(bare / "my cc", "")
    monkeypatch.setenv("CC", f"'{path}' -m64 '-I/a b'")
    compiler = compilers.find_compiler()
    assert compiler.command == (str(path), "-m64", "-I/a b")
    assert compiler.origin == "$CC"


def test_a_relative_cc_is_found_from_any_folder(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(bare / "mine", "")
    monkeypatch.chdir(bare)
    monkeypatch.setenv("CC", "./mine")
    assert compilers.find_compiler().command == (str(bare / "mine"),)


@pytest.mark.parametrize("cc", ["", "   "])
def test_an_empty_cc_counts_as_unset(bare: Path, monkeypatch: pytest.MonkeyPatch, cc: str) -> None:
    script(bare / "gcc", "")
    monkeypatch.setenv("CC", cc)
    assert compilers.find_compiler().command == (str(bare / "gcc"),)


def test_compilers_are_tried_in_order(bare: Path) -> None:
    found = []
    for name in ("clang", "gcc", "cc"):
        script(bare / name, "")
        found.append(Path(compilers.find_compiler().command[0]).name)
    assert found == ["clang", "gcc", "cc"]


def test_the_ziglang_wheel_comes_last(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "_zig", lambda: str(script(bare / "zig", "")))
    compiler = compilers.find_compiler()
    assert compiler.command == (sys.executable, "-m", "ziglang", "cc")
    assert str(bare / "zig") in compiler.identity
    script(bare / "clang", "")
    assert compilers.find_compiler().command == (str(bare / "clang"),)


def test_the_ziglang_wheel_is_found_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert compilers._zig() is None
    program = script(package / "zig", "")
    assert compilers._zig() == str(program)


def test_no_compiler_says_what_to_install(bare: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compilers.find_compiler()
    assert str(caught.value) == (
        "no C compiler was found\n"
        "  looked for $CC, cc, gcc, clang and the Python package ziglang\n"
        "  hint: install one: apt install gcc libc6-dev, "
        'or pip install "derive-kernels[compiler]"'
    )


def test_a_cc_that_does_not_exist_is_told(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(BuildError) as caught:
        compilers.find_compiler()
    assert str(caught.value) == (
        "$CC names a compiler that cannot be run: no-such-compiler\n"
        "  CC=no-such-compiler -O2\n"
        "  it is neither on PATH nor an executable file\n"
        "  hint: unset CC, or export CC=gcc"
    )


def test_a_cc_that_is_no_command_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc '-O2")
    with pytest.raises(BuildError, match=r"\$CC is not a command line"):
        compilers.find_compiler()


@pytest.mark.parametrize("text", ["exit 0", "exit 3", "echo hello >&2; exit 1", "cat"])
def test_a_cc_that_is_no_compiler_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = script(tmp_path / "impostor", text)
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(BuildError) as caught:
        build.compile_library(SOURCES)
    assert caught.value.what == f"{path} ($CC) is not a working C compiler"


def test_a_cc_that_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text"
    path.write_text("no program at all")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(ToolchainError, match="is not a working C compiler"):
        build.compile_library(SOURCES)


def test_a_compiler_that_never_ends_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "SECONDS_PER_COMMAND", 0.05)
    path = script(tmp_path / "sleeper", "exec sleep 30")
    with pytest.raises(BuildError, match="timed out"):
        build.compile_library(SOURCES, compiler=compilers._compiler((str(path),), "test"))


def test_identity_changes_with_any_program_named(tmp_path: Path) -> None:
    wrapper, real = script(tmp_path / "ccache", ""), script(tmp_path / "gcc", "")
    before = compilers._compiler((str(wrapper), str(real)), "test").identity
    script(real, "# newer")
    assert compilers._compiler((str(wrapper), str(real)), "test").identity != before


@needs_compiler
def test_version_is_one_line_and_asked_once(commands: list[tuple[str, ...]]) -> None:
    compiler = compilers._compiler(compilers.find_compiler().command, "test of version")
    assert "\n" not in compilers.version(compiler) and compilers.version(compiler)
    assert len(commands) == 1


# --- The cache ------------------------------------------------------------------------------


@needs_compiler
def test_a_hit_starts_no_process(commands: list[tuple[str, ...]]) -> None:
    assert answer() == 42
    commands.clear()
    assert answer() == 42
    forget()
    assert answer() == 42
    assert commands == []


@needs_compiler
def test_the_cache_is_private(cache: Path) -> None:
    answer()
    assert cache.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o022 == 0 for path in cache.rglob("*"))


@needs_compiler
@pytest.mark.parametrize("fault", ["truncated", "empty", "flipped", "garbage", "longer"])
def test_a_damaged_library_is_built_anew(cache: Path, fault: str) -> None:
    answer()
    (path,) = libraries(cache)
    data = path.read_bytes()
    flipped = data[:100] + bytes([data[100] ^ 1]) + data[101:]
    damaged = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "flipped": flipped,
        "garbage": b"\x7fELF" + b"\xff" * 5000,
        "longer": data + b"\0",
    }[fault]
    code = (
        "import sys; from derive import build; sys.path.insert(0, sys.argv[1]);"
        "from test_build import answer; sys.exit(answer() != 42)"
    )
    path.unlink()  # this process still has it mapped: do not write into that
    path.write_bytes(damaged)
    here = str(Path(__file__).parent)
    assert subprocess.run([sys.executable, "-c", code, here], check=False).returncode == 0
    (path,) = libraries(cache)
    assert path.stem == store.checksum(path)


@needs_compiler
def test_processes_may_build_the_same_at_once(cache: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from test_build import answer; sys.exit(answer() != 42)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert libraries(cache)
    assert not list(cache.glob("*/*.part"))


@needs_compiler
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_cache_that_others_can_write_is_not_used(cache: Path, mode: int) -> None:
    answer()
    (path,) = libraries(cache)
    other = {**SOURCES, "deep/part.c": SOURCES["deep/part.c"].replace("40", "50")}
    forged = build.compile_library(other, flags=FAST)
    assert forged.answer() == 52
    evil = next(p for p in libraries(cache) if p != path)
    path.parent.joinpath(evil.name).write_bytes(evil.read_bytes())
    path.unlink()
    cache.chmod(mode)
    forget()
    with pytest.warns(RuntimeWarning, match=r"can be written by others \(chmod go-w\)"):
        assert answer() == 42


@needs_compiler
@pytest.mark.filterwarnings("ignore:the cache folder")
def test_a_cache_of_somebody_else_is_not_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch, commands: list[tuple[str, ...]]
) -> None:
    answer()
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    forget()
    commands.clear()
    assert answer() == 42
    assert commands
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_a_cache_of_somebody_else_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        assert store.cache_folder() is None


@needs_compiler
@pytest.mark.parametrize("level", ["entry", "library"])
def test_an_entry_that_others_can_write_is_not_loaded(
    cache: Path, commands: list[tuple[str, ...]], level: str
) -> None:
    answer()
    (path,) = libraries(cache)
    (path if level == "library" else path.parent).chmod(0o777)
    forget()
    commands.clear()
    assert answer() == 42
    assert commands


@needs_compiler
def test_nothing_is_put_where_others_can_write(cache: Path) -> None:
    answer()
    (path,) = libraries(cache)
    path.parent.chmod(0o777)
    path.unlink()
    forget()
    assert answer() == 42
    assert libraries(cache) == []


@needs_compiler
def test_a_cache_that_cannot_be_made_is_done_without(
    cache: Path, commands: list[tuple[str, ...]]
) -> None:
    cache.write_text("a file where the folder should be")
    assert answer() == 42
    commands.clear()
    assert answer() == 42 and commands == []  # from memory
    forget()
    assert answer() == 42 and commands != []


@needs_compiler
@pytest.mark.parametrize("call", ["mkstemp", "replace"])
def test_a_full_or_read_only_cache_is_done_without(
    cache: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile if call == "mkstemp" else os, call, refuse)
    assert answer() == 42
    assert not [path for path in cache.rglob("*") if path.is_file()]


@needs_compiler
def test_a_cache_that_forbids_execution_is_done_without(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = build.load

    def no_execution(path: Path) -> ctypes.CDLL:
        if cache in path.parents:
            raise BuildError("the compiled library does not load")
        return load(path)

    monkeypatch.setattr(build, "load", no_execution)
    assert answer() == 42


def test_a_library_that_does_not_load_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("no library")
    with pytest.raises(ToolchainError, match="the compiled library does not load"):
        build.load(path)


@needs_compiler
def test_an_entry_removed_after_loading_does_not_matter(cache: Path) -> None:
    library = build.compile_library(SOURCES, flags=FAST)
    shutil.rmtree(cache)
    assert library.answer() == 42 and answer() == 42
    forget()
    assert answer() == 42


@needs_compiler
def test_entries_used_longest_ago_are_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (1, 2, 3):
        answer(defines=[f"VALUE={value}"])
        for entry in cache.iterdir():  # an hour passes
            now = entry.stat().st_mtime - 3600
            os.utime(entry, (now, now))
    oldest, middle, newest = sorted(cache.iterdir(), key=lambda entry: entry.stat().st_mtime)
    forget()
    assert answer(defines=["VALUE=1"]) == 41  # used again: no longer the oldest
    size = libraries(cache)[0].stat().st_size
    monkeypatch.setattr(store, "CACHE_LIMIT", 3 * size + size // 2)
    answer(defines=["VALUE=4"])
    assert oldest.exists() and newest.exists() and not middle.exists()


@needs_compiler
def test_a_library_larger_than_the_limit_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CACHE_LIMIT", 0)
    assert answer() == 42


def test_the_cache_is_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    monkeypatch.delenv("DERIVE_CACHE_DIR")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name)
    folder = store.cache_folder()
    assert folder == tmp_path / "derive-kernels" and folder.is_dir()


def test_platformdirs_is_called_as_it_wants_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("DERIVE_CACHE_DIR")
    folder = store.cache_folder()
    assert folder is not None and tmp_path in folder.parents
