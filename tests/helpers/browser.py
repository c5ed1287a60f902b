"""A Chromium that tests speak to: its DevTools protocol over a pair of pipes, no package needed.

with opened(folder) as browser:
    page = browser.page("http://127.0.0.1:8000/")
    page.until("document.title === 'lstm'")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    def __init__(self, wanted: int, told: int) -> None:
        self._out, self._in = os.fdopen(wanted, "wb", 0), os.fdopen(told, "rb")
        self._count, self._rest = 0, b""

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """The answer of a method of the protocol; events are passed over."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> bytes:
        while b"\0" not in self._rest:
            more = os.read(self._in.fileno(), 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return message

    def page(self, address: str, width: int = 1280, height: int = 900) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        page.call("Page.enable")
        page.call("Page.navigate", url=address)
        page.until("document.readyState === 'complete'")
        return page


class Page:
    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, self._session, **params)

    def value(self, script: str) -> Any:
        """What an expression is in the page; promises are waited for."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> float:
        """Waits until an expression is true; how many seconds that took."""
        began = time.monotonic()
        while not self.value(script):
            assert time.monotonic() - began < seconds, f"not in {seconds} s: {script}"
            time.sleep(0.05)
        return time.monotonic() - began

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        found = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def opened(folder: Path) -> Iterator[Browser]:
    """folder: for its profile."""
    assert BROWSER is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def ends() -> None:  # the browser reads from 3 and writes to 4
        one, two = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(one, 3)
        os.dup2(two, 4)

    process = subprocess.Popen(
        [BROWSER, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        preexec_fn=ends, close_fds=False, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        process.terminate()
        process.wait()
