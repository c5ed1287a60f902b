"""Templates: the code that Jinja makes of them is kept for later processes."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from derive.build.templates import environment

NAME = "numpy/functions.py.j2"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def as_in_another_process(name: str = NAME) -> jinja2.Template:
    return environment.__wrapped__().get_template(name)


def test_a_process_has_one_environment_so_it_compiles_a_template_once() -> None:
    assert environment() is environment()
    assert environment().get_template(NAME) is environment().get_template(NAME)


def test_a_later_process_does_not_compile_a_template(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_in_another_process()
    monkeypatch.setattr(jinja2.Environment, "compile", None)
    as_in_another_process()


@pytest.mark.parametrize("left", [0, 100])
def test_code_of_a_template_that_is_not_whole_is_not_loaded(cache: Path, left: int) -> None:
    as_in_another_process()
    (kept,) = cache.glob("*/*.template")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:left])
    as_in_another_process()
    assert kept.read_bytes() == whole


def test_a_template_that_changed_is_compiled_again(cache: Path, tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "some.j2").write_text(text)
        changed = environment.__wrapped__().overlay(loader=jinja2.FileSystemLoader(tmp_path))
        assert changed.get_template("some.j2").render() == text


def test_where_there_can_be_no_cache_templates_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERIVE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    as_in_another_process()
