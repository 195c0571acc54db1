"""Servers on localhost whose models think, refuse settings, count wrongly or answer in odd forms, by the model's name.

Their answers are counted as they are charged: what a user pays is ``paid``.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Reply = Callable[[Body], tuple[int, Any]]
"""Status and body for the body of a request."""

THOUGHT = "Let me see. One more than it was. Hm, maybe the answer is 999? Wait, no."


@dataclass
class Seen:
    """What a server was asked, and what it charged, in tokens of prompts and of answers, by prompt."""

    bodies: list[Body] = field(default_factory=list)
    paid: list[tuple[int, int]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.bodies)

    def __getitem__(self, place: int) -> Body:
        return self.bodies[place]

    def note(self, body: Body, answer: Any) -> None:
        usage = answer.get("usage") if isinstance(answer, dict) else None
        if isinstance(usage, dict) and usage:
            self.paid.append((usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)))
            self.answered[body["messages"][-1]["content"]] += 1


@contextmanager
def server(reply: Reply) -> Iterator[tuple[str, Seen]]:
    """Its base URL, and what it sees."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.bodies.append(body)
            status, answer = reply(body)
            seen.note(body, answer)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))  # some servers name no content type
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/v1", seen
    finally:
        running.shutdown()
        running.server_close()


def message(finish: Any = "stop", usage: Any = None, **fields: Any) -> tuple[int, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 60} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish}
    return 200, {"choices": [choice], "usage": usage}


def refusal(words: str, status: int = 400) -> tuple[int, Any]:
    return status, {"error": {"message": words, "type": "invalid_request_error"}}


def sum_of(body: Body) -> str:
    """The right answer to the last "What is 3 + 1?" of a request."""
    one, other = re.findall(r"What is (\d+) \+ (\d+)\?", body["messages"][-1]["content"])[-1]
    return str(int(one) + int(other))


def stated(body: Body) -> str:
    return f"One more than it was.\nThe answer is {sum_of(body)}."


def _only_default_sampling(body: Body) -> tuple[int, Any]:
    if "max_tokens" in body:
        return refusal("Unsupported parameter: 'max_tokens'; use 'max_completion_tokens'.")
    if body.get("temperature", 1) != 1 or "top_p" in body:
        return refusal("Unsupported value: 'temperature' supports only the default (1).")
    return message(content=stated(body))


def _needs_extra(body: Body) -> tuple[int, Any]:
    if not body.get("chat_template_kwargs"):
        return refusal("missing required body parameter chat_template_kwargs.enable_thinking")
    return message(content=stated(body))


def _slow(body: Body) -> tuple[int, Any]:
    time.sleep(0.3)
    return message(content=stated(body))


def _boundless(body: Body) -> tuple[int, Any]:
    """It thinks for as long as it likes, whatever the limit."""
    usage = {"prompt_tokens": 100, "completion_tokens": 5000}
    return message(content=stated(body), reasoning_content=THOUGHT, usage=usage)


MODES: dict[str, Reply] = {
    "plain": lambda body: message(content=stated(body)),
    "reasoner": lambda body: message(
        content=f"The answer is {sum_of(body)}.", reasoning_content=f"{THOUGHT} So it is {sum_of(body)}."
    ),
    "reasoner-and-text": lambda body: message(content=stated(body), reasoning=THOUGHT),
    "reasoner-null": lambda body: message(
        content=None, reasoning_content=f"{THOUGHT} So the answer is {sum_of(body)}."
    ),
    "thinktag": lambda body: message(content=f"<think>\n{THOUGHT}\n</think>\n\n{stated(body)}"),
    "think-noopen": lambda body: message(content=f"{THOUGHT}\n</think>\n\n{stated(body)}"),
    "channels": lambda body: message(
        content=f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{stated(body)}"
    ),
    "parts": lambda body: message(
        content=[
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
            {"type": "text", "text": stated(body)},
        ]
    ),
    "hashes": lambda body: message(content=f"One more than it was.\n#### {sum_of(body)}"),
    "boxed": lambda body: message(content=f"One more than it was:\n\\[\n\\boxed{{{sum_of(body)}}}\n\\]"),
    "bold": lambda body: message(content=f"One more than it was.\n\n**Final Answer:** {sum_of(body)}"),
    "context": lambda body: refusal("The maximum context length is 2048 tokens. However, you requested 3000 tokens"),
    "thinks-too-long": lambda body: message("length", content=None, reasoning_content=THOUGHT * 9),
    "tag-cut": lambda body: message("length", content=f"<think>\n{THOUGHT}"),
    "hidden-cut": lambda body: message("length", content=""),
    "o-like": _only_default_sampling,
    "needs-extra": _needs_extra,
    "slow": _slow,
    "boundless": _boundless,
    "ends-in-error": lambda body: message("error", content="One mo"),
    "filtered": lambda body: message("content_filter", content="One mo"),
    "refuses": lambda body: message(content=None, refusal="I must not."),
    "tools": lambda body: message("tool_calls", content=None, tool_calls=[{"id": "1", "type": "function"}]),
    "content-number": lambda body: message(content=7),
    "content-list": lambda body: message(content=[1, [2]]),
    "content-deep": lambda body: message(content=json.loads("[" * 300 + "]" * 300)),
    "no-message": lambda body: (200, {"choices": [{}], "usage": {"prompt_tokens": 100, "completion_tokens": 9}}),
    "provider-error": lambda body: (200, {"error": {"message": "Provider returned error", "code": 502}}),
    "no-choices": lambda body: (200, {"choices": []}),
    "null": lambda body: (200, None),
    "odd-letters": lambda body: message(
        content=f"One\u2028more\x00 \ud800 than it was.\nThe answer is {sum_of(body)}."
    ),
    "odd-finish": lambda body: message({"why": "not"}, content=stated(body)),
}


def counting(usage: Any) -> Reply:
    """A server that counts tokens in its own way."""
    return lambda body: message(content=stated(body), usage=usage)
