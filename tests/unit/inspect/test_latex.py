"""The LaTeX document compiles as it stands, and nothing leaves the page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from strange_cells import CELLS as STRANGE

import derive
from derive.inspect import ALL, show
from derive.inspect.latex.layout import escape, verbatim
from derive.inspect.text.line_breaking import folded, latex_width
from derive.machine.probe import Machine
from derive.verification.report import Report, measured, not_run

PDFLATEX = shutil.which("pdflatex")
needs_latex = pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex on this machine")

MACHINE = Machine(
    1, {"float32": 1e11, "float64": 5e10}, {"float32": 1e9, "float64": 5e8},
    ((32768, 2e11), (1 << 27, 4e10)), (("L1", 32768), ("L2", 1 << 20)),
)  # fmt: skip
REPORT = Report(
    "x",
    7,
    (
        measured("values", "numpy: h_next", 1e-9, 1e-7, "running error"),
        measured("gradient", "c: d_U_100%", 2e-3, 1e-6, "running <error>"),
        not_run("second derivative", "c", "no compiler"),
    ),
)


def compiled(text: str, folder: Path) -> str:
    """The log of one run of pdflatex, its lines put together again."""
    (folder / "page.tex").write_text(text, encoding="utf-8")
    assert PDFLATEX is not None
    done = subprocess.run(
        [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=folder, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    log = (folder / "page.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*(?:\n.*){6}", log, re.MULTILINE)
    assert (folder / "page.pdf").stat().st_size > 10_000
    assert not re.search(r"\w+\.\d*pk>", log), "a font is drawn as a bitmap"
    return log


@needs_latex
@pytest.mark.parametrize(
    "name",
    ["rnn", "lstm_layer_norm_ba2016", "phased_lstm", "strange acts", "strange words",
     "strange powers", "strange transposed", "strange nostate"],
)  # fmt: skip
def test_every_stage_compiles_and_stays_on_the_page(name: str, tmp_path: Path) -> None:
    family, _, strange = name.partition(" ")
    cell = derive.Cell.parse(STRANGE[strange]) if strange else derive.cells.from_spec(family)
    text = show(
        cell, (ALL,), "latex", report=REPORT, shapes=((100, 32, 128, 128),), machine=MACHINE
    )
    log = compiled(text, tmp_path)
    wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)
    assert [float(points) for points in wide if float(points) > 5] == []
    assert "Missing character" not in log and "undefined" not in log


@needs_latex
def test_text_of_an_author_cannot_break_the_document(tmp_path: Path) -> None:
    cell = derive.Cell.parse(
        r"""cell odd
doc  50 % of $x^2_i$ & \end{document} #1 ~ {é} ß 漢字 \end{verbatim} "q" <a|b>
input x: I
state h: H
h' = tanh(U @ h + W @ x)
output h'
"""
    )
    compiled(show(cell, (ALL,), "latex"), tmp_path)


def test_signs_of_latex_are_escaped_in_text() -> None:
    assert escape("a_b & 5% {x}") == r"a\_b \& 5\% \{x\}"
    assert escape("Élan 漢") == "Élan ?"
    assert list(verbatim([r"a \end{verbatim} b"]))[1] == r"a \end {verbatim} b"


# --- lines that go on -----------------------------------------------------------------------


def test_a_line_breaks_outside_brackets_where_it_can() -> None:
    text = "alpha * (beta + gamma) + delta * (epsilon - zeta)"
    assert folded(text, 30) == ["alpha * (beta + gamma)", "+ delta * (epsilon - zeta)"]


def test_a_line_breaks_at_a_product_or_inside_brackets_where_it_must() -> None:
    assert folded("alpha * beta * gamma", 14) == ["alpha * beta", "* gamma"]
    assert folded("f(alpha + beta + gamma)", 16) == ["f(alpha + beta", "+ gamma)"]


def test_what_cannot_break_stays_whole() -> None:
    assert folded("a_long_name_of_an_array", 5) == ["a_long_name_of_an_array"]
    text = r"\left(a + b\right) + \frac{c + d}{e}"
    assert folded(text, 1, latex_width) == [r"\left(a + b\right)", r"+ \frac{c + d}{e}"]


def test_nothing_is_lost_by_breaking() -> None:
    text = "-sum(d_a * g) / (2 * (v + 1e-05)**(3 / 2)) + U.T @ d_b - outer(a, b)"
    for width in range(1, 70):
        assert " ".join(folded(text, width)) == text


def test_width_of_latex_is_that_of_what_is_seen() -> None:
    assert latex_width(r"\operatorname{mean}") == latex_width("mean") == 4
    assert latex_width(r"\frac{abcdef}{ab}") < latex_width("abcdefgh")
    assert latex_width("a_{bcd}") < latex_width("abcd")
