"""The shape of the project: imports go one way, heavy packages have a home, files say what
they are for, templates hold layout only, and the linters have nothing to say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "derive"
TEMPLATES = ROOT / "templates"

#: The rooms of derive/, from the ground up: a room imports from itself and from those before it.
#: `derive` itself holds the public names, and hands down how objects are drawn.
ORDER = (
    "errors",
    "display",
    "widths",
    "symbolic",
    "program",
    "build",
    "language",
    "papers",
    "derivative",
    "recurrence",
    "kernel",
    "schedule",
    "catalogue",
    "cell",
    "cells",
    "textbook",
    "emit",
    "machine",
    "targets",
    "pipeline",
    "binding",
    "layers",
    "train",
    "torch",
    "jax",
    "verification",
    "inspect",
    "rnn_cell",
    "comparison",
    "weights",
    "mcu",
    "onnx",
    "bench",
    "race",
    "fuzz",
    "cli",
    "__main__",
)

#: A package that takes long to load, or that is another world: the modules that may import it.
HOMES = {
    "jinja2": {"derive.build.templates"},
    "click": {"derive.cli"},
    "rich": {"derive.cli.console"},
    "subprocess": {"derive.build.compiler", "derive.bench", "derive.fuzz"},
    "ctypes": {
        "derive.build.library",
        "derive.kernel.fast.address_calls",
        "derive.kernel.fast.native_call",
        "derive.kernel.buffers",
        "derive.build.loading",
        "derive.kernel.argument_words",
        "derive.kernel.c_backend",
        "derive.kernel.mcu_backend",
        "derive.kernel.mcu_step",
        "derive.kernel.pool",
        "derive.kernel.tasks",
        "derive.machine",
        "derive.torch.threads",
        "derive.jax.handlers",
        "derive.bench",
        "derive.fuzz",
        "derive.verification.fences",
        "derive.verification.ulp",
    },
    "torch": {
        "derive.torch",
        "derive.layers.torch_modules",
        "derive.weights.array_files",
        "derive.bench",
        "derive.fuzz",
    },
    "jax": {"derive.jax", "derive.bench"},
    "equinox": {"derive.jax.equinox"},
    "flax": {"derive.jax.nnx"},
    "h5py": {"derive.weights.array_files"},
    "platformdirs": {"derive.build.cache"},
    "hypothesis": {"derive.fuzz"},
    "mpmath": {
        "derive.race.verdict",
        "derive.symbolic",
        "derive.comparison.check",
        "derive.comparison.numbers",
        "derive.language.constants",
        "derive.program.simplify",
        "derive.verification",
    },
}

#: What a program that only runs kernels loads, and what the command line loads for its help.
WITHOUT_SYMPY = ("kernel", "kernel.numpy_backend", "kernel.c_backend", "build.library", "errors")
WITHOUT_NUMPY = ("errors", "cli.main", "inspect", "cli.console", "cli.select")

TOP = {"pyproject.toml", "README.md", "derive", "templates", "generated", "tests", "docs"}


@cache
def modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return dict(zip((name.removesuffix(".__init__") for name in dotted), paths, strict=True))


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, by statement or by string, wherever in it; not counting
    what only a type checker sees."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
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
        elif isinstance(node, ast.Call):
            yield from by_string(node)


def by_string(call: ast.Call) -> Iterator[str]:
    """What `import_module("derive.x.y")` or `__import__` names, as far as it is written out."""
    function = ast.unparse(call.func).rpartition(".")[2]
    if function in ("import_module", "__import__") and call.args:
        name = call.args[0]
        if isinstance(name, ast.JoinedStr):
            name = name.values[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value.rstrip(".")


def rooms_used(path: Path) -> set[str]:
    """The rooms that a file imports from; public names count as rooms of their own name."""
    parts = (name.split(".") for name in imports(path))
    return {part[1] for part in parts if part[0] == "derive" and len(part) > 1} & set(ORDER)


def room_of(name: str) -> str:
    return name.split(".")[1]


def test_every_module_has_a_room() -> None:
    assert {room_of(name) for name in modules() if "." in name} == set(ORDER)


@pytest.mark.parametrize("name", [name for name in modules() if "." in name])
def test_imports_go_one_way(name: str) -> None:
    before = set(ORDER[: ORDER.index(room_of(name)) + 1])
    assert rooms_used(modules()[name]) - before == set()


def test_an_import_by_string_counts(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import importlib\nimportlib.import_module('derive.cli.main')\n"
        "__import__('derive.bench')\nimportlib.import_module(f'derive.fuzz.{path}')\n"
    )
    assert rooms_used(path) == {"cli", "bench", "fuzz"}


def listed_rooms(text: str) -> list[str]:
    """The rooms of a listing: lines that begin with a folder or a file."""
    found = re.findall(r"^ *(\w+)(?:/|\.py)  +\S", text, re.MULTILINE)
    return [name for name in found if name in ORDER]


def test_the_listings_show_the_rooms_in_order() -> None:
    docstring = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text()))
    assert listed_rooms(docstring or "") == list(ORDER)
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    assert listed_rooms(page) == list(ORDER)


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
from derive.kernel.signature import Signature
from derive.kernel import Kernel
from derive.kernel.c_backend import CBackend
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


def paths_named(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w./*])((?:\w+/)*[a-z_0-9]+\.py)\b(?!\.)", text))


def test_every_file_that_a_docstring_names_exists() -> None:
    """Below the file's own folder, one above it, derive/ or the project; or it is the only file of
    its name."""
    known = {Path(path) for path in tracked()}
    counts = Counter(path.name for path in known)
    for name, path in modules().items():
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        folders = [folder.relative_to(ROOT) for folder in path.parents if ROOT in folder.parents]
        for named in paths_named(docstring):
            places = [folder / named for folder in (*folders, Path("derive"), Path())]
            assert any(place in known for place in places) or counts[named] == 1, (name, named)
    assert paths_named("as in (build/no_such_file.py) and cli.py") == {
        "build/no_such_file.py",
        "cli.py",
    }


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


# --- words ----------------------------------------------------------------------------------

#: Words that stand where a text should say who or what it means.
VAGUE = re.compile(r"\b(nobody|somebody|anybody|whoever|whatever)\b", re.IGNORECASE)


@pytest.mark.parametrize("folder", ["derive", "templates", "docs"])
def test_texts_say_who_and_what_they_mean(folder: str) -> None:
    files = [ROOT / path for path in tracked() if path.startswith(f"{folder}/")]
    texts = {path: path.read_text() for path in files if path.suffix in (".py", ".j2", ".md", ".c")}
    assert not [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if VAGUE.search(line)
    ]


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


def test_no_folder_of_tests_is_passed_by(pytestconfig: pytest.Config) -> None:
    ignored = pytestconfig.getini("norecursedirs")
    folders = [path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()]
    assert not [n for n in folders if any(fnmatch(n, pattern) for pattern in ignored)]


def test_tests_lie_in_folders_named_after_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()}
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert folders - {"project", "__pycache__"} <= rooms & set(ORDER)
    assert not list((ROOT / "tests" / "unit").glob("*.py"))
