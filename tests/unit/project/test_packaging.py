"""What is installed finds its templates: from a wheel, from a source archive, in place."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytest.importorskip("hatchling")

_TRY = """
import pathlib, derive
from derive.build import templates
root = pathlib.Path(derive.__file__).parent
print(root)
print(templates.environment().loader.searchpath[0])
files = {**derive.emit(derive.cells.rnn(), "numpy"), **derive.emit(derive.cells.rnn(), "c")}
print(len(files))
"""


def hook(name: str, folder: Path, source: Path = ROOT) -> Path:
    """Call the build backend as an installer does, without a network and without isolation."""
    code = f"import hatchling.build as b; print(b.{name}({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def try_out(path: Path, cwd: Path) -> list[str]:
    """Use the package that lies in `path`, with the dependencies of this environment."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _TRY],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def unpacked(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hook("build_wheel", tmp_path_factory.mktemp("wheel"))


def test_a_wheel_finds_its_templates(wheel: Path, tmp_path: Path) -> None:
    site = unpacked(wheel, tmp_path / "site")
    root, templates, count = try_out(site, tmp_path)
    assert root == str(site / "derive")
    assert templates == str(site / "derive" / "_templates")
    assert count == "4"


def test_a_wheel_holds_the_package_and_the_templates_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"derive"}
    templates = {name for name in names if name.startswith("derive/_templates/")}
    there = (ROOT / "templates").rglob("*.j2")
    assert templates == {f"derive/_templates/{p.relative_to(ROOT / 'templates')}" for p in there}


def test_a_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = hook("build_sdist", tmp_path)
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = hook("build_wheel", tmp_path, source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
        for name in first.namelist():
            assert first.read(name) == second.read(name), name
    site = unpacked(again, tmp_path / "site")
    assert try_out(site, tmp_path)[1] == str(site / "derive" / "_templates")


def test_an_editable_install_finds_the_templates_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("editables")
    site = unpacked(hook("build_editable", tmp_path), tmp_path / "site")
    (pointer,) = site.glob("*.pth")
    path = pointer.read_text().strip()
    root, templates, _ = try_out(Path(path), tmp_path)
    assert root == str(ROOT / "derive")
    assert templates == str(ROOT / "templates")


def test_the_command_is_installed_under_its_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "derive = derive.cli.main:main" in archive.read(entry).decode()


# --- types ----------------------------------------------------------------------------------

_USER = """
import numpy as np
from numpy.typing import NDArray

import derive

x, h, h_next, W, U, b = derive.arrays("x h h_next W U b")
made = derive.Cell("c", {h_next: derive.functions.tanh(W @ x + U @ h + b)}, states=["h"])
cell: derive.Cell = derive.Cell.parse("cell c\\ninput x: I\\nstate h: H\\nh' = W @ x\\noutput h'")
lstm = derive.cells.lstm(forget_bias=1.0, peephole=True)
files: dict[str, str] = derive.emit(lstm, target="numpy")
kernel = derive.compile(cell, target="numpy", dtype="float64")
run = kernel.forward(kernel.init(I=2, H=3, seed=0), np.zeros((4, 1, 2)), lengths=[4])
gradient: NDArray[np.float64] = kernel.backward(run, d_outputs=np.ones((4, 1, 3))).params["W"]
ok: bool = derive.verify(cell, targets=("numpy",), quick=True).ok
name: str = derive.__version__
"""


def check_types(folder: Path, program: str) -> str:
    (folder / "program.py").write_text(program)
    command = ["mypy", "--strict", "--follow-imports=silent", "--config-file=", "program.py"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--cache-dir", str(folder / "cache")],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_users_type_checker_sees_the_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    assert check_types(tmp_path, _USER).startswith("Success"), check_types(tmp_path, _USER)
    wrong = _USER.replace("name: str", "name: int").replace("lengths=[4]", "length=[4]")
    found = check_types(tmp_path, wrong)
    assert 'Unexpected keyword argument "length"' in found
    assert 'has type "str", variable has type "int"' in found


def test_the_marker_of_types_and_the_version_are_in_the_wheel(wheel: Path) -> None:
    import derive

    with zipfile.ZipFile(wheel) as archive:
        assert "derive/py.typed" in archive.namelist()
    assert f"-{derive.__version__}-" in wheel.name
