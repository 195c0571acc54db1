"""Asking a model in this process: batch by batch, longest prompts first, each batch written down when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from cotdistill.engines.asking import Answer, AnswerLog, Request
from cotdistill.progress import Progress


class Engine(Protocol):
    """A model that answers batches of requests, in their order."""

    def fits(self, request: Request) -> bool:
        """Whether the prompt leaves room for the answer in the model's positions."""
        ...

    def answer(self, requests: Sequence[Request]) -> list[Answer]: ...


def ask_engine(
    requests: Iterable[Request], engine: Engine, log: AnswerLog, progress: Progress, *, max_batch_size: int
) -> dict[str, str]:
    """Write the answers to ``log``; gives the reasons of those that failed, by key.

    The batches follow from the requests alone, and a batch is written down as a whole: what a killed process leaves is
    cut into the same batches again, so that rounding, which depends on them, is the same too. A request that does not
    fit is in no batch, because it is never written down and would shift all batches after a kill.
    """
    unique = {request.key: request for request in requests}.values()  # equal prompts are asked once
    fits = {request.key: engine.fits(request) for request in unique}
    failures = {key: "prompt_too_long" for key, fitting in fits.items() if not fitting}
    progress.advance(len(failures))
    ordered = sorted(
        (request for request in unique if fits[request.key]), key=lambda request: (-len(request.prompt), request.key)
    )
    for start in range(0, len(ordered), max_batch_size):
        batch = ordered[start : start + max_batch_size]
        log.add_all(zip(batch, engine.answer(batch), strict=True))
        progress.advance(len(batch))
    return failures
