"""Many requests to a server at once: a bounded number in flight, paced, retried, within a budget."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random
from typing import Generic, Protocol, TypeVar

from cotdistill.config import Limits
from cotdistill.engines.asking import OUT_OF_BUDGET, TIMEOUT
from cotdistill.engines.costs import Budget
from cotdistill.engines.engine import Failed
from cotdistill.errors import ModelError

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0  # seconds
_NUMBER = re.compile(r"\d+")
_REMEDIES = {TIMEOUT: "raise limits.timeout_seconds"}


class Unanswered(Exception):
    """A request failed for this ``reason`` (one of a few words); ``said`` is the server's own message, ``retry_after``
    the delay that it asks for, in seconds, and ``lost`` says that it was not reached."""

    def __init__(
        self, reason: str, *, retryable: bool, said: str = "", retry_after: float | None = None, lost: bool = False
    ):
        super().__init__(reason)
        self.reason, self.retryable, self.said = reason, retryable, said
        self.retry_after, self.lost = retry_after, lost


class Job(Protocol):
    """What is sent, with about how many tokens."""

    @property
    def key(self) -> str: ...


class Reply(Protocol):
    """What came back, and what is charged for it."""

    @property
    def input_tokens(self) -> int: ...

    @property
    def output_tokens(self) -> int: ...


J = TypeVar("J", bound=Job)
R = TypeVar("R", bound=Reply)


class Exchange(Generic[J, R]):
    """``send`` answers a job, or raises Unanswered for what concerns it alone, and a CotDistillError for what makes all
    others pointless (a wrong key, an unknown model). ``num_tokens`` is the approximate number in a job's prompt,
    ``most_output`` the most that should come back. Where a server counts more, the most that it counted so far is
    reserved for each job after that.
    """

    def __init__(
        self,
        send: Callable[[J], Awaitable[R]],
        close: Callable[[], Awaitable[None]],
        limits: Limits,
        budget: Budget,
        *,
        num_tokens: Callable[[J], int],
        most_output: int,
        where: str,
    ):
        self._send, self._close, self._limits, self._budget = send, close, limits, budget
        self._num_tokens, self._most_output, self._where = num_tokens, most_output, where
        self._next_turn = 0.0
        self._prompt_ratio = 1.0
        self._lost_in_a_row = 0
        self._answered = 0
        self._refusals: Counter[str] = Counter()

    def outcomes(self, jobs: Iterable[J]) -> Iterator[list[R | Failed]]:
        """Outcomes as they come; those that come at the same time, together. ``jobs`` is consumed as the work goes on.

        The next job is sent when the caller, having kept what came, asks for more. So a kill loses at most as many
        answers as can be in flight.

        The loop runs only while the next outcome is awaited. So an interrupt, wherever it comes, ends in this generator
        or at its caller, and what is in flight is given up at once.
        """
        loop = asyncio.new_event_loop()
        queue: asyncio.Queue[R | Failed | Exception | None] = asyncio.Queue()
        waiting = iter(jobs)
        workers = [loop.create_task(self._work(waiting, queue)) for _ in range(self._limits.concurrency)]
        at_work = len(workers)
        try:
            while at_work:
                come = [loop.run_until_complete(queue.get())]
                come += [queue.get_nowait() for _ in range(queue.qsize())]
                at_work -= come.count(None)
                if answered := [each for each in come if each is not None and not isinstance(each, Exception)]:
                    yield answered
                for _ in come:
                    queue.task_done()
                if problem := next((each for each in come if isinstance(each, Exception)), None):
                    raise problem
        finally:
            for worker in workers:
                worker.cancel()
            loop.run_until_complete(asyncio.gather(*workers, return_exceptions=True))
            loop.run_until_complete(self._close())
            loop.close()

    async def _work(self, waiting: Iterator[J], queue: asyncio.Queue[R | Failed | Exception | None]) -> None:
        try:
            for job in waiting:
                queue.put_nowait(await self._within_budget(job))
                await queue.join()
        except Exception as error:  # raised in turn where the outcomes are waited for
            queue.put_nowait(error)
        queue.put_nowait(None)

    async def _within_budget(self, job: J) -> R | Failed:
        reserved = await self._budget.reserve(lambda: self._most(job))
        if reserved is None:
            return Failed(job.key, OUT_OF_BUDGET)
        try:
            reply = await self._reply(job)
            self._spend(job, reply)
            return reply
        except Unanswered as failure:
            self._count_refused(failure)
            return Failed(job.key, failure.reason, failure.said)
        finally:
            await self._budget.release(reserved)

    def _most(self, job: J) -> int:
        return math.ceil(self._prompt_ratio * self._num_tokens(job)) + self._most_output

    def _spend(self, job: J, reply: R) -> None:
        self._answered += 1
        self._budget.spend(reply.input_tokens, reply.output_tokens)
        self._most_output = max(self._most_output, reply.output_tokens)
        self._prompt_ratio = max(self._prompt_ratio, reply.input_tokens / max(1, self._num_tokens(job)))

    async def _reply(self, job: J) -> R:
        """The reply, after at most ``max_retries`` more tries; the wait doubles, or is what the server asks for."""
        jitter = Random(job.key)  # spreads the tries of many requests that failed together
        for attempt in range(self._limits.max_retries + 1):
            await self._turn(self._num_tokens(job))
            try:
                reply = await asyncio.wait_for(self._send(job), self._limits.timeout_seconds)
                self._lost_in_a_row = 0
                return reply
            except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
                failure = Unanswered(TIMEOUT, retryable=True)
            except Unanswered as error:
                failure = error
                self._count_lost(error)
            if not failure.retryable or attempt == self._limits.max_retries:
                raise failure
            backing_off = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * jitter.uniform(0.5, 1.0)
            await asyncio.sleep(backing_off if failure.retry_after is None else failure.retry_after)
        raise AssertionError("the last attempt returns or raises")

    def _count_lost(self, failure: Unanswered) -> None:
        """Give up on a server that no request reaches any more: as many failures in a row as can be in flight, each
        after all its retries. A refusal is an answer, and a timeout may concern one request only."""
        if failure.reason == TIMEOUT:
            return
        self._lost_in_a_row = self._lost_in_a_row + 1 if failure.lost else 0
        if self._lost_in_a_row >= self._limits.concurrency * (self._limits.max_retries + 1):
            remedy = "check the server and run again; what was answered is kept"
            raise ModelError("the server cannot be reached", where=self._where, remedy=remedy)

    def _count_refused(self, failure: Unanswered) -> None:
        """Give up on a server that has answered nothing and refuses as many as can be in flight in the same words."""
        words = f"{failure.reason} {_NUMBER.sub('', failure.said)}"
        self._refusals[words] += 1
        if not self._answered and self._refusals[words] >= self._limits.concurrency:
            said = f"; the server says: {failure.said}" if failure.said else ""
            remedy = f"{_REMEDIES.get(failure.reason, 'fix that')} and run again"
            raise ModelError(
                f"nothing is answered ({failure.reason}{said})", where=self._where, remedy=remedy
            ) from None

    async def _turn(self, tokens: int) -> None:
        """Wait for a turn: requests and prompt tokens per minute are limited and evenly spread."""
        per_request, per_token = self._limits.requests_per_minute, self._limits.tokens_per_minute
        now = time.monotonic()
        start = max(now, self._next_turn)
        seconds = (60 / per_request if per_request else 0.0, tokens * 60 / per_token if per_token else 0.0)
        self._next_turn = start + max(seconds)
        if start > now:
            await asyncio.sleep(start - now)
