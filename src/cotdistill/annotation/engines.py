"""Asking a model in this process: batch by batch, longest prompts first, each batch written down when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from cotdistill.annotation.asking import Answer, AnswerLog, Request, Unanswered
from cotdistill.progress import Progress


class Engine(Protocol):
    """A model that answers batches of requests, each with an answer or with why there is none, in their order."""

    def answer(self, requests: Sequence[Request]) -> list[Answer | Unanswered]: ...


def ask_engine(
    requests: Iterable[Request], engine: Engine, log: AnswerLog, progress: Progress, *, max_batch_size: int
) -> dict[str, str]:
    """Write the answers to ``log``; gives the reasons of those that failed, by key.

    The batches follow from the requests alone, and a batch is written down as a whole: what a killed process leaves is
    cut into the same batches again, so that rounding, which depends on them, is the same too.
    """
    failures: dict[str, str] = {}
    unique = {request.key: request for request in requests}.values()  # equal prompts are asked once
    ordered = sorted(unique, key=lambda request: (-len(request.prompt), request.key))
    for start in range(0, len(ordered), max_batch_size):
        batch = ordered[start : start + max_batch_size]
        outcomes = list(zip(batch, engine.answer(batch), strict=True))
        log.add_all((request, outcome) for request, outcome in outcomes if isinstance(outcome, Answer))
        failures |= {request.key: outcome.reason for request, outcome in outcomes if isinstance(outcome, Unanswered)}
        progress.advance(len(batch))
    return failures
