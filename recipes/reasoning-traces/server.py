"""A server on this machine whose model thinks before it answers, for the procedural questions of ``nano.yaml``.

    python recipes/reasoning-traces/server.py cotdistill run recipes/reasoning-traces/nano.yaml

It speaks OpenAI's chat completions, puts what it thinks into ``reasoning_content``, runs the command behind it and ends
with it. The solver writes what is thought, and the last line of it is said again before the answer; of every 20
questions one gets no answer and one uses up its tokens while it thinks, so that there is something to be counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from cotdistill.annotation import collect_rationales
from cotdistill.config import AnnotationConfig, ProceduralTask, ProceduralTeacher
from cotdistill.records import Rationale
from cotdistill.tasks import load_task

PORT = 8765
CUT_AT = 12
"""Words of a reasoning that uses up its tokens."""


def solved(num_train: int) -> dict[str, Rationale]:
    """The solver's rationale of each training question, by the question's text."""
    task = load_task(ProceduralTask(num_train=num_train, num_test=1))
    made = collect_rationales(task.train, ProceduralTeacher(), AnnotationConfig(granularity=3))
    return {rationale.question.question: rationale for rationale in made}


def reply(prompt: str, known: dict[str, Rationale]) -> dict[str, Any] | None:
    """What the model thinks and says about the question that is last in a prompt; None if it knows none of it."""
    places = {prompt.rfind(question): rationale for question, rationale in known.items() if question in prompt}
    if not places:
        return None
    rationale = places[max(places)]
    thought, answer = rationale.rationale or "", rationale.question.answer
    luck = int(sha256(rationale.id.encode()).hexdigest(), 16) % 20
    if luck == 0:
        return {"reasoning_content": " ".join(thought.split()[:CUT_AT]), "content": None, "finish_reason": "length"}
    said = "No idea." if luck == 1 else f"{thought.splitlines()[-1]}\nThe answer is {answer}."
    return {"reasoning_content": f"Let me see.\n{thought}", "content": said, "finish_reason": "stop"}


class Handler(BaseHTTPRequestHandler):
    """Answers ``/v1/chat/completions``."""

    known: dict[str, Rationale]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not content:  # the client went away
            return
        asked = json.loads(content)
        found = reply(asked["messages"][-1]["content"], self.known)
        if found is None:
            self._send(400, {"error": {"message": "this model knows only the training questions of nano.yaml"}})
            return
        reason = found.pop("finish_reason")
        words = [len(str(text).split()) for text in (asked["messages"], *found.values())]
        self._send(
            200,
            {
                "id": "own",
                "object": "chat.completion",
                "created": 0,
                "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", **found}}],
                "usage": {
                    "prompt_tokens": words[0],
                    "completion_tokens": sum(words[1:]),
                    "total_tokens": sum(words),
                    "completion_tokens_details": {"reasoning_tokens": words[1]},
                },
            },
        )

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the command's own lines are what is read."""


def num_train() -> int:
    """How many questions the experiment beside this file trains on."""
    experiment = yaml.safe_load(Path(__file__).with_name("nano.yaml").read_text(encoding="utf-8"))
    return experiment["task"]["num_train"]


def serve(num_train: int, port: int = PORT) -> ThreadingHTTPServer:
    """The server, which answers until it is shut down; port 0 is any that is free."""
    handler = type("Known", (Handler,), {"known": solved(num_train)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    server = serve(num_train())
    try:
        sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
    finally:
        server.shutdown()
