"""A server that sends anything at all: one line at most, nothing lost, and the key goes nowhere else."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.annotation.teachers.test_asked import KEY, LEVEL, questions

from cotdistill.annotation import annotate
from cotdistill.config import Limits, OpenAITeacher
from cotdistill.errors import ConfigError, CotDistillError, ModelError

pytest.importorskip("openai")

BODY = json.dumps(
    {
        "choices": [{"message": {"content": "One more.\nThe answer is 1."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9},
    }
).encode()


def reply(status: str, body: bytes = b"", *fields: str, length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *fields]
    return "\r\n".join([*head, "connection: close", "", ""]).encode() + body


def error(status: str, body: str, *fields: str) -> bytes:
    return reply(status, body.encode(), "content-type: application/json", *fields)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
OK = reply("200 OK", BODY)
RAW: dict[str, bytes] = {
    "fine": OK,
    "packed": reply("200 OK", gzip.compress(BODY), "content-encoding: gzip"),
    "not-packed": reply("200 OK", BODY, "content-encoding: gzip"),
    "bomb": reply("200 OK", gzip.compress(b" " * 2**27), "content-encoding: gzip"),
    "with-a-mark": reply("200 OK", b"\xef\xbb\xbf" + BODY),
    "cut": reply("200 OK", BODY[:40], length=len(BODY)),
    "too-short": reply("200 OK", BODY, length=20),
    "cut-chunk": CHUNKED + b"40\r\n" + BODY[:20],
    "early-close": b"HTTP/1.1 200 OK\r\ncontent-le",
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bad-status": b"HTTP/1.1 two hundred\r\n\r\n",
    "long-header": reply("200 OK", BODY, "x-long: " + "x" * 200_000),
    "two-lengths": reply("200 OK", BODY, "content-length: 3"),
    "empty": reply("200 OK"),
    "page": reply("200 OK", b"<html>Log in first</html>", "content-type: text/html"),
    "word": reply("200 OK", b'"yes"'),
    "null": reply("200 OK", b"null"),
    "list": reply("200 OK", b"[1]"),
    "no-utf8": reply("200 OK", b'{"choices": "\xff\xfe"}'),
    "nested": reply("200 OK", b"[" * 100_000),
    "huge-number": reply("200 OK", b'{"choices": ' + b"9" * 6_000 + b"}"),
    "teapot": error("418 X", '{"error": "short and stout"}'),
    "error-list": error("400 X", '{"error": ["a", {"b": 1}]}'),
    "error-text": error("400 X", "no\nsuch\x1b[31m thing"),
    "too-large": error("413 X", '{"detail": [{"msg": "long"}]}'),
    "no-credit": error("429 X", '{"error": {"message": "pay first", "code": "insufficient_quota"}}'),
    "forbidden": error("403 X", '{"error": {"message": "not here"}}'),
    **{f"retry-{n}": error("429 X", "{}", f"retry-after: {n}") for n in ("-5", "nan", "soon", "0")},
    "redirect-loop": reply("302 X", b"", "location: /v1/chat/completions"),
    "redirect-to-file": reply("307 X", b"", "location: file:///etc/passwd"),
    "redirect-nowhere": reply("301 X"),
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "endless": b"",
    "dripping": b"",
    "silent": b"",
}


class Raw:
    """Sends the bytes of its ``mode`` to whoever asks, and notes what it was sent."""

    def __init__(self) -> None:
        self.mode, self.asked, self.running = b"", list[bytes](), True

    def answer(self, mode: str, connection: socketserver.StreamRequestHandler) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (line := connection.rfile.readline()):
            head += line
        length = re.search(rb"content-length: (\d+)", head.lower())
        connection.rfile.read(int(length[1]) if length else 0)
        self.asked.append(head)
        if mode in ("endless", "dripping"):
            connection.wfile.write(CHUNKED)
            while self.running:
                connection.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n" if mode == "endless" else b"1\r\n \r\n")
                time.sleep(0 if mode == "endless" else 0.1)
        elif mode == "silent":
            while self.running:
                time.sleep(0.05)
        else:
            connection.wfile.write(RAW[mode])


@contextmanager
def raw_server(mode: str) -> Iterator[tuple[Raw, str, list[str]]]:
    """The server, its address, and its mode in a list of one."""
    raw, current = Raw(), [mode]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the client went away
                raw.answer(current[0], self)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield raw, f"127.0.0.1:{running.server_address[1]}", current
        raw.running = False
        running.shutdown()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def teacher(address: str) -> OpenAITeacher:
    limits = Limits(concurrency=2, max_retries=1, timeout_seconds=1.5)
    return OpenAITeacher(model="m", base_url=f"http://{address}/v1", limits=limits)


@pytest.mark.parametrize("mode", RAW)
def test_whatever_a_server_sends_the_next_run_goes_on(tmp_path: Path, mode: str) -> None:
    with raw_server(mode) as (_, address, current):
        started = time.monotonic()
        try:
            assert len(annotate(questions(3), teacher(address), LEVEL, runs=tmp_path)) == 3
        except CotDistillError as problem:
            line = str(problem)
        else:
            line = ""
        assert "\n" not in line
        assert KEY not in line
        assert time.monotonic() - started < 30
        current[0] = "fine"
        assert len(annotate(questions(3), teacher(address), LEVEL, runs=tmp_path)) == 3
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written


def test_neither_questions_nor_the_key_are_sent_on_to_another_host(tmp_path: Path) -> None:
    with raw_server("fine") as (other, elsewhere, _), raw_server("fine") as (raw, address, current):
        elsewhere = elsewhere.replace("127.0.0.1", "localhost")
        for status in ("301 X", "302 X", "307 X", "308 X"):
            RAW["away"] = reply(status, b"", f"location: http://{elsewhere}/v1/chat/completions")
            current[0] = "away"
            with pytest.raises(ModelError, match=rf"sends what it is asked on to localhost \(status {status[:3]}\)"):
                annotate(questions(3), teacher(address), LEVEL, runs=tmp_path)
        del RAW["away"]
        assert not other.asked
        assert any(KEY.encode() in head for head in raw.asked)


def test_an_address_in_the_environment_is_no_address_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server("fine") as (raw, address, _):
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{address}/v1")
        with pytest.raises(ConfigError, match=r"OPENAI_BASE_URL names 127.0.0.1.*; set base_url to it, or unset"):
            annotate(questions(1), OpenAITeacher(model="gpt-4o"), LEVEL, runs=tmp_path)
        assert not raw.asked
        assert len(annotate(questions(1), teacher(address), LEVEL, runs=tmp_path)) == 1
