"""A student on its way to the hub: what must not leave this machine is refused, the rest arrives as it is."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.command import Outcome, run_command
from tests.tiny import save_tiny

from cotdistill.errors import ConfigError, ModelError
from cotdistill.models.load.push import packed

TOKEN = "a-token-of-nobody-0123456789"


class Hub(ThreadingHTTPServer):
    """The few endpoints of the hub that a push asks, on localhost; weights come as large files, the rest inline."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.made: list[dict[str, Any]] = []
        self.refused = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self.server.large[self.path.rpartition("/")[2]] = self._body()
        self._reply({})

    def do_POST(self) -> None:
        if self.server.refused or self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._reply({"error": "Invalid username or password."}, 401)
            return
        body, path = self._body(), self.path.partition("?")[0]
        if path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self._reply({"url": f"{self.server.url}/me/student", "id": "me/student", "name": "me/student"})
        elif path == "/api/validate-yaml":
            self._reply({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            modes = {True: "lfs", False: "regular"}
            files = [
                {
                    "path": file["path"],
                    "uploadMode": modes[file["path"].endswith(".safetensors")],
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._reply({"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                entry | {"actions": {"upload": {"href": f"{self.server.url}/large/{entry['oid']}"}}}
                for entry in json.loads(body)["objects"]
            ]
            self._reply({"transfer": "basic", "objects": objects})
        else:
            assert path == "/api/models/me/student/commit/main", path
            self._commit([json.loads(line) for line in body.splitlines()])

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.large[value["oid"]]
        self._reply({"success": True, "commitUrl": f"{self.server.url}/me/student/commit/1", "commitOid": "1"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, value: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    folder = save_tiny(tmp_path / "student")
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A student\n")
    return folder


def push(folder: Path, *words: str, **environment: str) -> Outcome:
    """The command in a Python of its own: the hub's library reads its environment when it is imported."""
    command = [sys.executable, "-m", "cotdistill", "push", str(folder), "me/student", *words]
    variables = os.environ | {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder.parent / "home")} | environment
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=240)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_every_file_arrives_as_it_is(hub: Hub, student: Path) -> None:
    outcome = push(student, "--private", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert outcome.status == 0, outcome.err
    assert outcome.out.strip() == f"{hub.url}/me/student/commit/1"
    assert hub.files == {file.name: file.read_bytes() for file in student.iterdir()}
    (made,) = hub.made
    assert (made["name"], made["organization"]) == ("student", "me")
    assert made.get("private") or made["visibility"] == "private"


def test_a_hub_that_refuses_and_a_missing_token_are_one_line(hub: Hub, student: Path) -> None:
    hub.refused = True
    refused = push(student, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    missing = push(student, HF_ENDPOINT=hub.url, HF_TOKEN="")
    for outcome, part in ((refused, "it could not be pushed"), (missing, "no token for the hub")):
        assert (outcome.status, outcome.err.strip().count("\n")) == (2, 0), outcome.err
        assert part in outcome.err
        assert TOKEN not in outcome.err
    assert not hub.files


def test_a_dry_run_lists_what_would_be_sent(student: Path) -> None:
    outcome = run_command(student.parent, "push", student, "me/student", "--dry-run", "--json")
    row = json.loads(outcome.out)
    assert row["files"] == {file.name: file.stat().st_size for file in student.iterdir()}
    assert "# A student" in row["card"]
    shown = run_command(student.parent, "push", student, "me/student", "--dry-run").out
    assert "nothing was sent" in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("made in {here}/runs", "names a path of this machine"),
        ('"/home/somebody/models/x"', "names a path of this machine, /home/somebody/"),
        ("key: hf_" + "a" * 34, "looks like a key"),
        ("v=" + TOKEN, r"the value of \$SOME_API_TOKEN"),
    ],
)
def test_what_must_not_leave_this_machine_is_refused(
    text: str, problem: str, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", TOKEN)
    packed(student, "me/student")
    (student / "notes.txt").write_text(text.format(here=student.parent))
    with pytest.raises(ModelError, match=problem) as raised:
        packed(student, "me/student")
    assert TOKEN not in str(raised.value)


def test_urls_and_tags_are_no_paths(student: Path) -> None:
    (student / "notes.txt").write_text("https://huggingface.co/usr/bin/x </usr/bin> owner/name and/or 1/2")
    packed(student, "me/student")


def test_pickles_and_names_that_are_none_are_refused(student: Path) -> None:
    with pytest.raises(ConfigError, match="write OWNER/NAME"):
        packed(student, "student")
    (student / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="pickles can run code"):
        packed(student, "me/student")
