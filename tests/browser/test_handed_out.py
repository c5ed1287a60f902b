"""Pages as a teacher hands them out: on paper, in the notation of time, on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

import derive
from derive.inspect import show

pytestmark = pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on this machine")

SEEN = "[...document.querySelectorAll('{}')].filter(e => e.checkVisibility()).length"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "lstm.html"
    path.write_text(show(derive.cells.lstm(), ("cell", "graph", "gradient", "numpy"), "html"))
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.opened(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_on_paper_the_chain_rule_is_open_and_the_ground_white(
    chromium: browser.Browser, address: str, tmp_path: Path
) -> None:
    page = chromium.page(address)
    page.call(
        "Emulation.setEmulatedMedia", media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )  # fmt: skip
    rows = "[...document.querySelectorAll('.chain .row')]"
    assert page.value(f"{rows}.length") > 50
    assert page.value(f"{rows}.every(e => e.checkVisibility())")
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.value("getComputedStyle(document.querySelector('h2')).breakAfter") == "avoid"
    for gone in ("nav", ".switch", "#numpy", ".code-link", ".timed"):
        assert page.value(SEEN.format(gone)) == 0, gone
    page.call("Emulation.setEmulatedMedia", media="screen")
    assert not page.value(f"{rows}.some(e => e.checkVisibility())")


def test_the_switch_shows_one_notation_at_a_time(chromium: browser.Browser, address: str) -> None:
    page = chromium.page(address)
    before = page.value(SEEN.format(".stepped"))
    assert before > 30 and page.value(SEEN.format(".timed")) == 0
    page.value("document.getElementById('in-time').click()")
    assert page.value(SEEN.format(".stepped")) == 0
    assert page.value(SEEN.format(".timed")) == before
    text = page.value("document.querySelector('#eq-h_next').innerText").replace("\n", "")
    assert text.startswith("ht=ot") and "′" not in text


def test_a_graph_that_scrolls_says_so(
    chromium: browser.Browser, address: str, tmp_path: Path
) -> None:
    page = chromium.page(address, 390, 844)
    box = "document.querySelector('figure .scroll')"
    assert page.value(f"{box}.scrollWidth > {box}.clientWidth")
    assert page.value(f"getComputedStyle({box}).backgroundImage").count("linear-gradient") == 4
    page.value(f"{box}.scrollIntoView()")
    page.screenshot(tmp_path / "begin.png")
    page.value(f"{box}.scrollLeft = 1000")
    page.screenshot(tmp_path / "end.png")
    begin, end = (edges(tmp_path / f"{name}.png") for name in ("begin", "end"))
    # Dark is the edge behind which there is more.
    assert begin[1] < begin[0] - 30 and end[0] < end[1] - 30


def edges(path: Path) -> tuple[float, float]:
    """How bright the left and the right edge of the graph's box are."""
    image = pytest.importorskip("matplotlib.image").imread(path) * 255
    column = image[:300, :, :3].mean(axis=(0, 2))
    return float(column[12:20].mean()), float(column[-20:-12].mean())
