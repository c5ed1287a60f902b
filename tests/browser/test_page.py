"""Pages in a real browser: formulas and graphs are laid out, nothing overflows, both schemes.

Skipped where no Chromium is found. Each page is measured by a script inside a frame of the
wanted width, and the browser prints the document that holds the result.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import derive
from derive import pipeline
from derive.inspect import show, usual
from derive.machine.probe import Machine
from derive.verification.report import Report
from derive.verification.report import measured as row

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

CELLS = ("rnn", "lstm", "gru_reset_before", "lstm_layer_norm_ba2016")
WIDTHS = {"phone": 390, "desktop": 1280}
SCHEMES = {"dark": 0, "light": 1}

MACHINE = Machine(
    1, {"float32": 1e11, "float64": 5e10}, {"float32": 1e9, "float64": 5e8},
    ((32768, 2e11), (1 << 27, 4e10)), (("L1", 32768), ("L2", 1 << 20)),
)  # fmt: skip
REPORT = Report("x", 7, (row("values", "numpy: h_next", 1e-9, 1e-7, "running error"),))

_MEASURE = """
<script>
addEventListener("load", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  const box = e => e.getBoundingClientRect();
  const inside = e => e.closest(".scroll, .rhs, .row");
  const empty = s => [...document.querySelectorAll(s)]
    .filter(e => e.checkVisibility() && (box(e).width < 1 || box(e).height < 1)).length;
  const wide = [...document.querySelectorAll("main *, header *")]
    .filter(e => !inside(e.parentElement) && box(e).right > innerWidth + 1)
    .map(e => e.tagName + "." + e.className);
  const clipped = [...document.querySelectorAll(".rhs, .row")]
    .filter(e => e.scrollHeight > e.clientHeight + 1)
    .map(e => `${e.scrollHeight} > ${e.clientHeight}: ${e.textContent}`);
  const fractions = [...document.querySelectorAll(".eq mfrac")];
  const style = getComputedStyle(document.body);
  const emptyFormulas = empty("math");
  document.getElementById("in-time")?.click();
  const inTime = document.querySelectorAll(".timed math").length;
  const emptyInTime = empty(".timed math");
  parent.postMessage({
    page: document.documentElement.scrollWidth, window: innerWidth, wide, clipped,
    chains: document.querySelectorAll("details.chain").length,
    formulas: document.querySelectorAll("math").length, emptyFormulas, inTime, emptyInTime,
    nodes: document.querySelectorAll(".graph .node").length,
    emptyNodes: empty(".graph .node .shape") + empty(".graph .node .name"),
    emptyEdges: [...document.querySelectorAll(".graph .way")]
      .filter(e => e.getTotalLength() < 5).length,
    flatFractions: fractions.filter(e => box(e.children[1]).top < box(e.children[0]).bottom - 1)
      .length,
    ink: style.color, paper: style.backgroundColor,
  }, "*");
});
</script></body>
"""
_FRAME = """<!DOCTYPE html><body><iframe src="page.html" style="width: {width}px; height: 900px;
border: 0"></iframe><script>addEventListener("message", event => {{
document.body.dataset.result = JSON.stringify(event.data); }});</script></body>"""


_CLICK = """
<script>
addEventListener("load", async () => {
  const pause = () => new Promise(done => setTimeout(done, 60));
  const some = (selector, count) => {
    const all = [...document.querySelectorAll(selector)];
    return all.filter((_, k) => k % Math.ceil(all.length / count) == 0);
  };
  const links = [...some(".eq .code-link", 24), ...some(".file a", 24), ...some(".graph a", 6)];
  const lost = [];
  for (const link of links) {
    for (const fold of document.querySelectorAll("details")) fold.open = false;
    for (let e = link.parentElement; e; e = e.parentElement) if (e.open === false) e.open = true;
    link.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, view: window}));
    await pause();
    const name = decodeURIComponent(location.hash.slice(1));
    const target = document.getElementById(name);
    const box = target && target.getBoundingClientRect();
    const hit = link.getAttribute("href") === "#" + name && box && box.height > 0
      && box.bottom > 0 && box.top < innerHeight
      && getComputedStyle(target.matches(".stage") ? target.firstElementChild : target)
        .backgroundColor !== "rgba(0, 0, 0, 0)";
    if (!hit) lost.push(link.textContent + " " + link.getAttribute("href"));
  }
  parent.postMessage({links: links.length, lost}, "*");
});
</script></body>
"""


def measured(
    text: str, width: int, scheme: str, folder: Path, script: str = _MEASURE
) -> dict[str, Any]:
    (folder / "page.html").write_text(text.replace("</body>", script), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.format(width=width))
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-background-networking", "--virtual-time-budget=20000",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--window-size={max(width, 600)},1000", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found, f"the page was not measured: {done.stderr[-500:]}"
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result


def luminance(color: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.fixture(scope="module", params=CELLS)
def page(request: pytest.FixtureRequest) -> str:
    cell, shapes = derive.cells.from_spec(request.param), ((100, 32, 128, 128),)
    return show(cell, usual("html"), "html", report=REPORT, shapes=shapes, machine=MACHINE)


@pytest.mark.parametrize(("width", "scheme"), [("phone", "light"), ("desktop", "dark")])
def test_a_page_is_laid_out_and_does_not_overflow(
    page: str, width: str, scheme: str, tmp_path: Path
) -> None:
    found = measured(page, WIDTHS[width], scheme, tmp_path)
    assert found["window"] == WIDTHS[width]
    assert found["formulas"] > 50 and found["emptyFormulas"] == 0
    assert found["inTime"] > 20 and found["emptyInTime"] == 0
    assert found["nodes"] > 5 and found["emptyNodes"] == found["emptyEdges"] == 0
    assert found["flatFractions"] == 0
    assert found["wide"] == []
    assert found["clipped"] == []
    assert found["page"] <= found["window"]


def test_links_between_equations_and_code_lead_there(page: str, tmp_path: Path) -> None:
    """Each is clicked with everything folded; what it leads to unfolds, is seen, and stands out."""
    found = measured(page, WIDTHS["desktop"], "light", tmp_path, _CLICK)
    assert found["links"] > 30
    assert found["lost"] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_notebook_shows_every_object_within_its_cell(width: str, tmp_path: Path) -> None:
    cell = derive.cells.from_spec("lstm:layer_norm=supercell")
    objects = (cell, derive.differentiate(cell), pipeline.schedule(cell), REPORT)
    shown = "".join(f"<main>{one._repr_html_()}</main>" for one in objects)
    text = f'<!DOCTYPE html><html><meta charset="utf-8"><body>{shown}</body></html>'
    found = measured(text, WIDTHS[width], "light", tmp_path)
    assert found["formulas"] > 200 and found["emptyFormulas"] == found["emptyEdges"] == 0
    assert found["chains"] > 40
    assert found["wide"] == found["clipped"] == []
    assert found["page"] <= found["window"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_stands_out_in_both_schemes(scheme: str, tmp_path: Path) -> None:
    text = show(derive.cells.rnn(), ("cell",), "html")
    found = measured(text, WIDTHS["desktop"], scheme, tmp_path)
    ink, paper = luminance(found["ink"]), luminance(found["paper"])
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7
    assert (paper < ink) == (scheme == "dark")
