"""Every Python block of the documentation runs, page by page, from top to bottom.

Only blocks marked `python` are Python. Blocks marked `cell` parse.
What a page prints is not compared: numbers belong in the benchmark.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import derive

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
KINDS = {"python", "text", "console", "bash", "c", "cell", "json", "latex", "toml", "html", ""}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, int, str]]:
    """(kind, line, text) of each fenced block."""
    text = page.read_text()
    return [(m[1], text[: m.start(2)].count("\n"), m[2]) for m in _FENCE.finditer(text)]


def needed(page: Path) -> list[str]:
    """Packages of the extras that a page's Python imports; derive.torch needs torch."""
    extras = "torch|jax|equinox|flax|optax|onnx|onnxruntime|sklearn"
    imports = rf"^ *(?:import|from) (?:derive\.)?({extras})\b"
    text = "\n".join(text for kind, _, text in blocks(page) if kind == "python")
    return sorted(set(re.findall(imports, text, re.MULTILINE)))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert {kind for kind, _, _ in blocks(page)} <= KINDS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of their own, which holds the `.cell` blocks of the page under their names."""
    for package in needed(page):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    names: dict[str, object] = {"__name__": "__docs__"}
    for kind, line, text in blocks(page):
        if kind == "cell" and text.startswith("cell "):
            cell = derive.Cell.parse(text, file=name(page))
            (tmp_path / f"{cell.name}.cell").write_text(text)
        elif kind == "python":
            code = compile("\n" * line + text, str(page), "exec")
            exec(code, names)


def test_a_page_is_known_to_need_what_its_python_imports() -> None:
    assert needed(ROOT / "README.md") == ["torch"]
    assert needed(ROOT / "docs/reference/jax.md") == ["equinox", "flax", "jax"]
    assert needed(ROOT / "docs/tutorial/first-cell.md") == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    (line,) = re.findall(r"^python3 -m venv .*pytest.*$", readme, re.MULTILINE)
    for part in line.split(" && "):
        program, _, rest = part.removeprefix("python3 -m ").partition(" ")
        assert rest.removeprefix(".venv").strip() in ci, part
        assert Path(program).name in ci
