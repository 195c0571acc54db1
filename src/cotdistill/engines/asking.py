"""Asking a server many questions at once: a bounded number of requests, paced, retried, within a budget, each answer
written down before anything else is done with it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from cotdistill.config import Limits
from cotdistill.engines.costs import Budget, estimated_tokens
from cotdistill.errors import DataError
from cotdistill.progress import Progress
from cotdistill.storage.jsonl import RowAppender

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0  # seconds

OUT_OF_BUDGET = "out_of_budget"


@dataclass(frozen=True, slots=True)
class Request:
    """One draw for one question. ``key`` stands for model, prompt, sampling and draw."""

    key: str
    question_id: str
    prompt: str
    draw: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``finish_reason`` is the server's: "length" where the limit cut the text."""

    text: str
    finish_reason: str | None
    input_tokens: int
    output_tokens: int


class Unanswered(Exception):
    """A request failed for this reason (one of a few words); ``retry_after`` is the server's wish, in seconds."""

    def __init__(self, reason: str, *, retryable: bool, retry_after: float | None = None):
        super().__init__(reason)
        self.reason, self.retryable, self.retry_after = reason, retryable, retry_after


class Transport(Protocol):
    """A way to a teacher. ``complete`` raises Unanswered for what concerns one request, and a CotDistillError for what
    makes all others pointless (a wrong key, an unknown model)."""

    async def complete(self, request: Request) -> Answer: ...

    async def close(self) -> None: ...


class AnswerLog:
    """Raw answers in a JSON Lines file, by key; each is durable, against a kill of the process, once it is added."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = RowAppender(path)
        self._rows = {row["key"]: row for row in self._file.rows}

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def get(self, key: str) -> dict[str, Any] | None:
        return self._rows.get(key)

    def add(self, request: Request, answer: Answer) -> None:
        self.add_all([(request, answer)])

    def add_all(self, answered: Iterable[tuple[Request, Answer]]) -> None:
        rows = [_row(request, answer) for request, answer in answered]
        self._file.append_all(rows)
        self._rows.update((row["key"], row) for row in rows)

    def num_tokens(self) -> tuple[int, int]:
        """Of the prompts and of the answers in it."""
        rows = self._rows.values()
        return sum(row["input_tokens"] for row in rows), sum(row["output_tokens"] for row in rows)

    def close(self) -> None:
        self._file.close()


def logged_keys(path: Path) -> set[str]:
    """The keys of a log that another process may be writing at this moment; a torn last line does not count.

    Raises DataError for any other line that is no answer.
    """
    keys: set[str] = set()
    if not path.is_file():
        return keys
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith("\n"):
                try:
                    keys.add(json.loads(line)["key"])
                except (ValueError, KeyError, TypeError):
                    where = f"{path}, line {number}"
                    raise DataError("malformed answer", where=where, remedy="mend or delete that line") from None
    return keys


def _row(request: Request, answer: Answer) -> dict[str, Any]:
    return {
        "key": request.key,
        "question": request.question_id,
        "draw": request.draw,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
    }


async def ask_all(
    requests: Iterable[Request],
    transport: Transport,
    log: AnswerLog,
    limits: Limits,
    budget: Budget,
    progress: Progress,
    *,
    max_output_tokens: int,
) -> dict[str, str]:
    """Ask what is not in ``log`` yet and write the answers there; gives the reasons of those that failed, by key.

    A request whose key is under way is not asked twice: the answer, or the failure, is of both. ``requests`` is
    consumed as the work goes on, so that only ``limits.concurrency`` of them are in memory.
    """
    failures: dict[str, str] = {}
    under_way: set[str] = set()
    pace = _Pace(limits)
    waiting: Iterator[Request] = iter(requests)

    async def work() -> None:
        for request in waiting:
            if request.key not in log and request.key not in under_way:
                under_way.add(request.key)
                tokens = estimated_tokens(request.prompt) + max_output_tokens
                if await budget.reserve(tokens):
                    try:
                        answer = await _ask(request, transport, pace, limits)
                        log.add(request, answer)
                        budget.spend(answer.input_tokens, answer.output_tokens)
                    except Unanswered as failure:
                        failures[request.key] = failure.reason
                    finally:
                        await budget.release(tokens)
                else:
                    failures[request.key] = OUT_OF_BUDGET
                under_way.remove(request.key)
            progress.advance(note=str(budget))

    workers = [asyncio.create_task(work()) for _ in range(limits.concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await transport.close()
    return failures


async def _ask(request: Request, transport: Transport, pace: _Pace, limits: Limits) -> Answer:
    """The answer, after at most ``max_retries`` further tries; the wait doubles, or is what the server asks for."""
    jitter = Random(request.key)  # spreads the tries of many requests that failed together
    for attempt in range(limits.max_retries + 1):
        await pace.turn(estimated_tokens(request.prompt))
        try:
            return await asyncio.wait_for(transport.complete(request), limits.timeout_seconds)
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            failure = Unanswered("timeout", retryable=True)
        except Unanswered as error:
            failure = error
        if not failure.retryable or attempt == limits.max_retries:
            raise failure
        backing_off = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * jitter.uniform(0.5, 1.0)
        await asyncio.sleep(backing_off if failure.retry_after is None else failure.retry_after)
    raise AssertionError("the last attempt returns or raises")


class _Pace:
    """Turns in time: at most so many requests and prompt tokens a minute, evenly spread."""

    def __init__(self, limits: Limits):
        self._seconds_per_request = 60 / limits.requests_per_minute if limits.requests_per_minute else 0.0
        self._seconds_per_token = 60 / limits.tokens_per_minute if limits.tokens_per_minute else 0.0
        self._next = 0.0

    async def turn(self, tokens: int) -> None:
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + max(self._seconds_per_request, tokens * self._seconds_per_token)
        if start > now:
            await asyncio.sleep(start - now)
