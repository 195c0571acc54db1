"""A chat completions server on localhost that fails as servers do, on purpose and by plan."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable

Fault = str
"""``ok``, ``rate_limited``, ``error``, ``silent``, ``cut``, ``truncated``, ``malformed`` or ``forbidden``; ``limited``
is a whole answer that ends at the token limit."""


class FaultyServer:
    """Answers each prompt by ``answer(prompt)`` after ``latency`` seconds, or as ``plan(prompt, attempt)`` says.

    ``answered`` counts whole answers by prompt; with ``counts_tokens`` off no answer says how many tokens it has. Use
    as a context manager; ``url`` is its base URL.
    """

    def __init__(
        self,
        answer: Callable[[str], str],
        plan: Callable[[str, int], Fault] = lambda prompt, attempt: "ok",
        latency: float = 0.0,
        *,
        counts_tokens: bool = True,
    ):
        self.answer, self.plan, self.latency, self.counts_tokens = answer, plan, latency, counts_tokens
        self.attempts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.faults: Counter[Fault] = Counter()
        self.under_way = self.most_under_way = 0
        self.keys: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False where the connection ends."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        self.keys.add(fields.get("authorization", ""))
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        prompt = body["messages"][0]["content"]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.latency)
        self.under_way -= 1
        fault = self.plan(prompt, self.attempts[prompt])
        self.attempts[prompt] += 1
        self.faults[fault] += 1
        if fault == "silent":
            await asyncio.sleep(3600)
        if fault == "cut":
            return False
        writer.write(self._reply(fault, prompt, fields.get("authorization", "")))
        await writer.drain()
        return fault != "truncated"

    def _reply(self, fault: Fault, prompt: str, key: str) -> bytes:
        if fault == "rate_limited":
            return _http(429, '{"error": {"message": "slow down"}}', "retry-after: 0.05\r\n")
        if fault == "error":
            return _http(500, '{"error": {"message": "oops"}}')
        if fault == "forbidden":
            return _http(401, json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}))
        message = {"role": "assistant", "content": self.answer(prompt)}
        completion = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "length" if fault == "limited" else "stop"}],
        }
        if self.counts_tokens:
            completion["usage"] = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        text = json.dumps(completion)
        if fault == "malformed":
            return _http(200, text[: len(text) // 2])
        reply = _http(200, text)
        if fault == "truncated":
            return reply[: len(reply) // 2]
        self.answered[prompt] += 1
        return reply


def _http(status: int, body: str, fields: str = "") -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{fields}\r\n"
    return head.encode() + data
