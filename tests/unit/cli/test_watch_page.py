"""A page that follows a file: who is served, what the page holds, what is verified meanwhile."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

import derive
from derive.catalogue import vary_text
from derive.cli import main, watch_page, watched_file
from derive.cli.checker import Checker, Event, _serve
from derive.cli.page_server import Board, served
from derive.errors import ArgumentError
from derive.verification.report import Report, Row

TEXT = "cell a\ninput x: I\nstate h: H\nh' = tanh(W @ x + u * h)\noutput h'\n"

# --- the server -------------------------------------------------------------------------------


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def address(board: Board) -> Iterator[urllib.parse.SplitResult]:
    with served(lambda nonce: f"<script nonce={nonce}>", board) as text:
        yield urllib.parse.urlsplit(text)


def asked(
    address: urllib.parse.SplitResult, path: str | None = None, method: str = "GET", **headers: str
) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
    connection.putrequest(method, path or address.path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text, answer.headers


def test_the_page_is_served_at_its_address_alone(address: urllib.parse.SplitResult) -> None:
    status, text, headers = asked(address)
    assert status == 200 and b"<script nonce=" in text
    policy = headers["Content-Security-Policy"]
    assert text.decode().partition("nonce=")[2].rstrip(">") in policy
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    token = address.path.strip("/")
    assert len(token) >= 32
    for path in ("/", f"/{token}", f"/{token[:-1]}x/", f"/{token}/../", f"/{token}/x",
                 f"/{token}/?x", "/etc/passwd", "/%2e%2e/"):  # fmt: skip
        assert asked(address, path)[:2] == (404, b""), path
    with served(lambda nonce: "", Board()) as other:
        assert urllib.parse.urlsplit(other).path != address.path


def test_pages_of_other_names_are_refused(address: urllib.parse.SplitResult) -> None:
    """A name that its owner has resolve to 127.0.0.1 is no way in."""
    port = address.port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil"):
        assert asked(address, Host=host)[:2] == (403, b""), host
    assert asked(address, Host=f"localhost:{port}")[0] == 200
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}", "http://127.0.0.1"):
        assert asked(address, Origin=origin)[0] == 403, origin
    assert asked(address, Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert asked(address, Sec_Fetch_Site="cross-site")[0] == 403
    assert asked(address, method="POST")[0] == asked(address, method="PUT")[0] == 501


def test_it_listens_on_this_machine_alone(address: urllib.parse.SplitResult) -> None:
    assert address.hostname == "127.0.0.1"
    with pytest.raises(ArgumentError, match="cannot be used"), served(str, Board(), address.port):
        pass


def events(address: urllib.parse.SplitResult) -> Iterator[dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
    connection.request("GET", f"{address.path}events")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    try:
        while True:
            line = answer.readline().decode()
            if line.startswith("data: "):
                yield json.loads(line[6:])
    finally:
        connection.close()


def test_what_is_put_on_the_board_is_sent_to_all_who_look(
    board: Board, address: urllib.parse.SplitResult
) -> None:
    board.put(error="", body="one\ntwo")
    first = events(address)
    assert next(first) == {"error": "", "body": "one\ntwo"}
    board.put(error="wrong", body="one\ntwo")  # the body did not change
    assert next(first) == {"error": "wrong"}
    late = events(address)
    assert next(late) == {"error": "wrong", "body": "one\ntwo"}
    board.put(body="three")
    assert next(first) == next(late) == {"body": "three"}
    first.close()
    late.close()


def test_a_connection_is_kept_while_nothing_changes(
    board: Board, address: urllib.parse.SplitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derive.cli.page_server._ALIVE", 0.01)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
    connection.request("GET", f"{address.path}events")
    answer = connection.getresponse()
    assert answer.readline() == b": alive\n"
    connection.close()


# --- what it shows ----------------------------------------------------------------------------


class Asked:
    """In place of a Checker."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def check(self, number: int, cell: derive.Cell) -> None:
        self.numbers.append(number)


def parts(board: Board) -> dict[str, str]:
    return board.since(0, 0)[1]


def test_a_save_a_mistake_and_a_verification_are_shown(tmp_path: Path, board: Board) -> None:
    shown, asked, path = watch_page.Shown(board, "out"), Asked(), tmp_path / "a.cell"

    def save(text: str) -> dict[str, str]:
        path.write_text(text)
        shown.save(path, asked)  # type: ignore[arg-type]
        return parts(board)

    found = save(TEXT)
    assert found["title"] == "a" and found["change"] == found["error"] == ""
    assert 'id="eq-h_next"' in found["body"] and 'id="numpy"' in found["body"]
    assert found["checking"] == "generating and verifying" and asked.numbers == [1]

    row = Row("values", "numpy", 1e-9, 1e-7, True, "running error")
    shown.hear(Event(1, "verifying 1/2: kernels"))
    assert parts(board)["checking"] == "verifying 1/2: kernels"
    shown.hear(Event(1, "", Report("a", 0, (row,)), done=True))
    assert "running error" in parts(board)["verification"]
    assert parts(board)["checking"] == "verified; out is up to date"

    found = save(TEXT.replace("tanh(", "tanh(("))
    assert "never closed" in found["error"] and "^" in found["error"] and found["stale"]
    assert 'id="eq-h_next"' in found["body"] and asked.numbers == [1]

    found = save(TEXT.replace("tanh", "sin"))
    assert found["error"] == found["stale"] == "" and "- h_next = tanh" in found["change"]
    assert found["verification"] == "" and asked.numbers == [1, 3]
    shown.hear(Event(1, "of an earlier version", done=True))
    assert parts(board)["error"] == ""

    shown.hear(Event(3, "verification failed", done=True))
    assert parts(board)["error"] == "verification failed"
    assert "- h_next = tanh" in save(TEXT.replace("tanh", "cos"))["change"]  # sin was not good


def test_the_checker_generates_and_verifies_in_a_process(tmp_path: Path) -> None:
    heard: Queue[Event] = Queue()
    checker = Checker(("numpy",), str(tmp_path / "out"), heard.put)
    try:
        checker.check(7, derive.Cell.parse(TEXT))
        found = [heard.get(timeout=300)]
        while not found[-1].done:
            found.append(heard.get(timeout=300))
        assert {event.number for event in found} == {7} and len(found) > 2
        assert found[0].text.startswith("verifying 0/") and found[-1].text == ""
        assert found[-1].report is not None and found[-1].report.ok
        assert (tmp_path / "out" / "numpy" / "a.py").exists()
        process = checker._process
        assert process is not None
        process.kill()
        assert "has ended" in heard.get(timeout=300).text
        checker.check(8, derive.Cell.parse(TEXT))  # by another process
        while not (last := heard.get(timeout=300)).done:
            assert last.number == 8
        assert last.text == ""
    finally:
        checker.close()
    assert heard.empty()


def test_any_exception_of_a_check_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = multiprocessing.Pipe()
    monkeypatch.setattr("derive.cli.checker.signal.signal", lambda *_: None)
    monkeypatch.setattr("derive.cli.generated_files.generate", lambda *_, **__: 1 / 0)
    mine.send((3, TEXT))
    serving = threading.Thread(target=_serve, args=(theirs, ("numpy",), "out"))
    serving.start()
    told = mine.recv()
    mine.close()
    serving.join()
    assert told == Event(3, "a fault of derive: ZeroDivisionError: division by zero", done=True)


def test_a_process_that_is_ended_takes_back_what_it_writes(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from multiprocessing import Pipe
from pathlib import Path
from derive.build import written_files
from derive.cli import checker, generated_files

def generate(*_, **__):
    moved = written_files._move
    def ended(*given):
        moved(*given)
        os.kill(os.getpid(), signal.SIGTERM)
    written_files._move = ended
    written_files.write_all(Path({str(tmp_path)!r}), {{"a": "new", "b": "new"}}, "")

generated_files.generate = generate
mine, theirs = Pipe()
mine.send((1, {TEXT!r}))
checker._serve(theirs, ("numpy",), "out")
"""
    (tmp_path / "a").write_text("old")
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_the_command_prints_the_address_and_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def saves(path: Path, sleep: Any) -> Iterator[bytes]:
        yield b""
        raise KeyboardInterrupt

    monkeypatch.setattr(watched_file, "saves", saves)
    opened: list[str] = []
    monkeypatch.setattr(watch_page.webbrowser, "open", opened.append)
    missing = str(tmp_path / "missing.cell")
    assert main.status(["watch", missing, "--page"]) == 0
    out, err = capsys.readouterr()
    assert opened == [out.strip()] and out.startswith("http://127.0.0.1:")
    assert "no browser answered" in err and "cannot be read" in err and "no longer watched" in err
    assert main.status(["watch", missing, "--page", "--no-open"]) == 0 and len(opened) == 1
    assert main.status(["watch", missing, "--port", "80"]) == 2
    assert not [t for t in threading.enumerate() if "serve_forever" in t.name]


# --- what a cell depends on -------------------------------------------------------------------


def test_a_variant_depends_on_what_it_is_based_on(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.cell" for name in ("one", "two", "three"))
    three.write_text(TEXT)
    two.write_text("vary three.cell: h' = relu(W @ x)\ncell two\n")
    one.write_text("vary two.cell: input y: H, h' = relu(W @ x + y)\ncell one\n")
    assert vary_text.sources(one) == (one, two, three)
    assert vary_text.sources(three) == (three,)
    two.write_text("vary two.cell")  # broken: what can be told is told
    assert vary_text.sources(one) == (one, two)
    two.write_text("vary one.cell: h' = x")
    assert vary_text.sources(one) == (one, two)
    two.write_bytes(b"\xff")
    assert vary_text.sources(one) == (one, two)
    one.write_text("vary lstm: o = 1")
    assert vary_text.sources(one) == (one,)


def test_a_save_of_the_base_is_a_save(tmp_path: Path) -> None:
    base, mine = tmp_path / "base.cell", tmp_path / "mine.cell"
    base.write_text(TEXT)
    mine.write_text("vary base.cell: h' = relu(W @ x + u * h)\ncell mine\n")
    edits = iter((lambda: base.write_text(TEXT + "# said\n"), lambda: base.unlink()))
    seen = []

    def sleep(seconds: float) -> None:
        edit = next(edits, None)
        if edit is None:
            raise KeyboardInterrupt
        edit()

    with pytest.raises(KeyboardInterrupt):
        for text in watched_file.saves(mine, sleep):
            seen.append(text)
    assert len(seen) == 3
