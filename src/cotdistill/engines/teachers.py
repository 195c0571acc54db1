"""What teachers that are asked have in common: which model, how it is sampled, what it may cost, and the way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotdistill.config import (
    AskedTeacher,
    Limits,
    OpenAITeacher,
    Price,
    Sampling,
    ScriptedTeacher,
    TransformersTeacher,
    VLLMTeacher,
)
from cotdistill.engines.asking import AnswerLog, Request, Transport, ask_all
from cotdistill.engines.batches import Engine, ask_engine
from cotdistill.engines.costs import Budget, price_of
from cotdistill.progress import Progress
from cotdistill.storage.hashes import file_sha256

_FREE = Limits()
"""What is asked in this process costs nothing and is not paced."""
_SCRIPTED = Limits(concurrency=1, max_failed_share=1.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """A teacher's settings in one form. ``model`` is all that says who answers: it is part of an answer's key, and
    ``name`` stands in records and error lines."""

    name: str
    model: Any
    sampling: Sampling
    max_draws: int
    limits: Limits
    price: Price | None


def asked(teacher: AskedTeacher) -> Asked:
    """Raises ModelError for a model of this process that is not there, DataError for a script that is not."""
    if isinstance(teacher, OpenAITeacher):
        name = [teacher.base_url, teacher.model]
        return Asked(teacher.model, name, teacher.sampling, teacher.max_draws, teacher.limits, price_of(teacher))
    if isinstance(teacher, ScriptedTeacher):
        return Asked(teacher.kind, ["scripted", file_sha256(teacher.answers)], Sampling(), 1, _SCRIPTED, None)
    from cotdistill.models.load.source import model_identity

    model = [teacher.kind, model_identity(teacher.model), teacher.dtype]
    return Asked(teacher.model.model, model, teacher.sampling, teacher.max_draws, _FREE, None)


def ask(
    teacher: AskedTeacher,
    requests: Iterator[Request],
    log: AnswerLog,
    progress: Progress,
) -> dict[str, str]:
    """Ask the teacher and write its answers to ``log``; gives the reasons of the requests that failed, by key.

    What the answers in the log have cost counts against the teacher's budget, whoever asked for them.
    """
    if isinstance(teacher, TransformersTeacher | VLLMTeacher):
        return ask_engine(requests, _engine(teacher), log, progress, max_batch_size=teacher.max_batch_size)
    settings = asked(teacher)
    work = ask_all(
        requests,
        _transport(teacher),
        log,
        settings.limits,
        Budget(settings.limits, settings.price, log.num_tokens()),
        progress,
        max_output_tokens=settings.sampling.max_tokens,
    )
    return asyncio.run(work)


def _transport(teacher: OpenAITeacher | ScriptedTeacher) -> Transport:
    if isinstance(teacher, ScriptedTeacher):
        from cotdistill.engines.scripted import ScriptedServer

        return ScriptedServer(teacher)
    from cotdistill.engines.openai_server import OpenAIServer

    return OpenAIServer(teacher)


def _engine(teacher: TransformersTeacher | VLLMTeacher) -> Engine:
    if isinstance(teacher, VLLMTeacher):
        from cotdistill.engines.vllm_engine import VLLMEngine

        return VLLMEngine(teacher)
    from cotdistill.engines.transformers_engine import TransformersEngine

    return TransformersEngine(teacher)
