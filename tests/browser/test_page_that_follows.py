"""`derive watch --page` in a real browser: edit, see it change, break it, mend it."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import browser
import pytest

pytestmark = pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on this machine")

BASE = "cell base\ninput x: I\nstate h: H\na = W @ x + u * h\nh' = tanh(a)\noutput h'\n"
MINE = "vary  base.cell: h' = relu(a)\ncell  mine\n"

CHANGE, ERROR = (f"document.getElementById('{name}').textContent" for name in ("change", "error"))
STALE = "document.getElementById('body').classList.contains('stale')"
EQUATION = "document.getElementById('eq-h_next').textContent"


def test_the_page_follows_the_file(tmp_path: Path) -> None:
    (tmp_path / "base.cell").write_text(BASE)
    path = tmp_path / "mine.cell"
    path.write_text(MINE)
    command = [sys.executable, "-m", "derive", "watch", str(path), "--page", "--no-open",
               "--target", "numpy", "--out", str(tmp_path / "out")]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        # As in a terminal: a job in the background is started with the signal ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        with browser.opened(tmp_path) as chromium:
            page = chromium.page(address)
            page.until("document.title === 'mine'")
            assert "relu" in page.value(EQUATION) and page.value(CHANGE) == ""
            page.until("document.getElementById('checking').textContent.startsWith('verified')")
            page.until("document.querySelectorAll('#verification tr').length > 5")
            page.until("document.getElementById('numpy') !== null")  # the whole page
            assert page.value("document.querySelectorAll('.graph .node').length") > 3
            page.value("document.querySelector('#body details').open = true")

            path.write_text(MINE.replace("relu", "sin"))  # an edit
            page.until(f"{CHANGE}.includes('+ h_next = sin(a)')")
            assert "sin" in page.value(EQUATION) and page.value(ERROR) == ""
            assert page.value("document.querySelector('#body details').open")

            path.write_text(MINE.replace("relu(a)", "relu(a"))  # a mistake
            page.until(f"{ERROR}.includes('never closed')")
            assert "^" in page.value(ERROR) and page.value(STALE)
            assert "sin" in page.value(EQUATION)  # of the last good version

            path.write_text(MINE.replace("relu", "cos"))  # mended
            page.until(f"{CHANGE}.includes('+ h_next = cos')")
            assert page.value(ERROR) == "" and not page.value(STALE)

            (tmp_path / "base.cell").write_text(BASE.replace("u * h", "U @ h"))  # what it varies
            page.until(f"{CHANGE}.includes('U @ h')")

            # A page from elsewhere reads nothing.
            foreign = chromium.page("data:text/html,<p>elsewhere")
            asked = f"fetch({address!r}).then(r => 'read', e => 'refused')"
            assert foreign.value(asked) == "refused"

            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            page.until("document.getElementById('status').textContent.includes('has ended')")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert (tmp_path / "out" / "numpy" / "mine.py").exists()
