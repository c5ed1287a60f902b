"""The shape of the project: imports go one way, heavy packages have a home, files say what
they are for, templates hold layout only, and the linters have nothing to say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "derive"
TEMPLATES = ROOT / "templates"

#: Each module or folder of derive/ imports only what stands before it, wherever in its text
#: the import is. `derive` itself holds the public names and loads them when they are used.
ORDER = """
    errors display scalar
    polynomial.terms polynomial.bounds polynomial.squares polynomial.piecewise
    polynomial.powers polynomial.functions polynomial.products polynomial
    algebra program heads
    language.names language.expression language.declaration language.words language.foreign
    language.reader language.scope language.infer language.constants language.text language.uses
    language.checked language.lower
    language.resolve language.symbols language.from_sympy language.shapes language.declare
    language.variant language
    catalogue cell cells compose
    simplify formulas differentiate
    plan dataflow phases stages saved schedule
    emit
    signature conversion axes packed arguments pieces stream fingerprint backend remat loading
    build choice records tuned repeat run kernel target_numpy direct fresh target_c pipeline
    bench.measure tuning
    checkpoint layer_sizes sequence rnn_cell layers
    machine verify inspect generate
    comparison.matrices comparison.tangents comparison.canonical comparison.parameter_map
    comparison.constraints comparison.same comparison.matching comparison.links
    comparison.widths comparison.fits comparison.guess comparison.balls comparison.rank
    comparison.one_way comparison.numbers comparison.check comparison.equal comparison.known
    comparison.compare comparison.flow comparison
    weights
    bench watch fuzz
    commands cli __main__
""".split()

#: Imports inside functions that go the other way, each for a reason.
BACKWARDS = {
    ("kernel", "tuning"),  # kernel.tune(...) is a method
}

#: A package that takes long to load, or that is another world: the modules that may import it.
HOMES = {
    "jinja2": {"derive.emit.render"},
    "click": {"derive.cli"},
    "rich": {"derive.commands.console"},
    "subprocess": {"derive.build", "derive.bench", "derive.fuzz"},
    "ctypes": {
        "derive.build",
        "derive.direct",
        "derive.fresh",
        "derive.loading",
        "derive.target_c",
        "derive.machine",
        "derive.bench",
        "derive.fuzz",
        "derive.verify.ulp",
    },
    "platformdirs": {"derive.build"},
    "hypothesis": {"derive.fuzz"},
    "mpmath": {
        "derive.algebra",
        "derive.comparison.check",
        "derive.comparison.numbers",
        "derive.language.constants",
        "derive.simplify",
        "derive.verify",
    },
}

#: What a program that only runs kernels loads, and what the command line loads for its help.
WITHOUT_SYMPY = ("arguments", "kernel", "build", "target_numpy", "target_c", "errors")
WITHOUT_NUMPY = ("errors", "cli", "inspect", "commands.console", "commands.select")

TOP = {"pyproject.toml", "README.md", "derive", "templates", "generated", "tests", "docs"}


@cache
def modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return dict(zip((name.removesuffix(".__init__") for name in dotted), paths, strict=True))


def imports(path: Path, *, everywhere: bool = True) -> Iterator[str]:
    """Dotted names that a file imports, not counting what only a type checker sees.

    everywhere: also those inside functions.
    """
    tree = ast.parse(path.read_text())
    skipped = (ast.If,) if everywhere else (ast.If, ast.FunctionDef)
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, skipped)
        if not isinstance(branch, ast.If) or ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str, *, everywhere: bool = True) -> set[str]:
    """Which rows of ORDER a module imports from."""
    found = set()
    for name in imports(modules()[module], everywhere=everywhere):
        parts = name.split(".")
        if parts[0] == "derive" and len(parts) > 1 and f"derive.{parts[1]}" in modules():
            found.add(row(parts))
    return found


def row(parts: Sequence[str]) -> str:
    """The row of ORDER that a dotted name belongs to: of the module itself, or its folder."""
    inner = ".".join(parts[1:3])
    return inner if inner in ORDER else parts[1]


def test_every_module_has_its_place_in_the_order() -> None:
    assert {row(name.split(".")) for name in modules() if "." in name} <= set(ORDER)


@pytest.mark.parametrize("name", [name for name in modules() if "." in name])
def test_imports_go_one_way(name: str) -> None:
    own = row(name.split("."))
    before = set(ORDER[: ORDER.index(own) + 1])
    assert own_imports(name, everywhere=False) - before == set()
    excused = {target for source, target in BACKWARDS if source == own}
    assert own_imports(name) - before - excused == set()


@pytest.mark.parametrize("package", HOMES)
def test_heavy_packages_have_a_home(package: str) -> None:
    users = {
        name
        for name, path in modules().items()
        if package in {imported.split(".")[0] for imported in imports(path)}
    }
    assert {
        name
        for name in users
        if not any(name == home or name.startswith(f"{home}.") for home in HOMES[package])
    } == set()


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_import_derive_loads_nothing_heavy() -> None:
    assert not loaded_by("import derive") & {"sympy", "numpy", "jinja2", "click", "rich", "mpmath"}


def test_what_runs_kernels_does_not_need_sympy() -> None:
    code = "\n".join(f"import derive.{name}" for name in WITHOUT_SYMPY)
    assert "sympy" not in loaded_by(code)


def test_the_command_line_starts_without_numpy() -> None:
    code = "\n".join(f"import derive.{name}" for name in WITHOUT_NUMPY)
    assert not loaded_by(code) & {"sympy", "numpy", "jinja2", "rich"}


def test_a_generated_c_kernel_runs_without_sympy(tmp_path: Path) -> None:
    import derive
    from derive.pipeline import signature

    cell = derive.cells.rnn()
    for path, text in derive.emit(cell, "c").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    found = signature(cell)
    fields = ("params", "inputs", "states", "outputs")
    arguments = ", ".join(f"{name}={dict(getattr(found, name))!r}" for name in fields)
    code = f"""
from pathlib import Path
import numpy as np
from derive.signature import Signature
from derive.kernel import Kernel
from derive.target_c import CBackend
folder = Path({str(tmp_path)!r})
files = {{str(p.relative_to(folder)): p.read_text() for p in folder.glob("c/*")}}
signature = Signature(name={found.name!r}, {arguments})
kernel = Kernel(signature, CBackend(files, signature, "float64"), "float64", target="c")
run = kernel.forward(kernel.init(I=3, H=4), np.ones((5, 2, 3)))
kernel.backward(run, np.ones((5, 2, 4)))
"""
    assert "sympy" not in loaded_by(code)


# --- files ----------------------------------------------------------------------------------


def needs_docstring(name: str, path: Path) -> bool:
    """Packages list their files instead; a family of cells cites its papers, a peer its makers."""
    return path.name != "__init__.py" and not name.startswith(
        ("derive.catalogue.", "derive.bench.peers.")
    )


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_for(name: str) -> None:
    path = modules()[name]
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert text
    if needs_docstring(name, path):
        for part in (r"^In( and out)?:", r"(Out|In and out):", r"^Not here:"):
            assert re.search(part, text, re.MULTILINE), f"{name}: {part}"


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("no git repository")
    return done.stdout.splitlines()


def test_the_top_level_holds_what_it_may_and_no_more() -> None:
    top = {path.partition("/")[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP


@pytest.mark.parametrize(
    "path", sorted(TEMPLATES.rglob("*.j2")), ids=lambda path: str(path.relative_to(TEMPLATES))
)
def test_templates_hold_layout_only(path: Path) -> None:
    words = re.findall(r"\{%[-+]?\s*(\w+)", path.read_text())
    layout = {"for", "endfor", "if", "elif", "else", "endif", "include", "with", "endwith"}
    assert set(words) <= layout


# --- linters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "derive", "tests"),
        ("ruff", "format", "--check", "derive", "tests"),
        ("mypy",),
    ],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_linters_have_nothing_to_say(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
