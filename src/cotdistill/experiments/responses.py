"""Which students think, and between which marks, before anything is trained: as their chat templates have it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from cotdistill.config import ModelConfig, Response
from cotdistill.errors import ModelError
from cotdistill.experiments.make import with_first_models
from cotdistill.experiments.plan import Cell, Plan


def response_lines(cells: Iterable[Cell], plan: Plan, *, exact: bool) -> list[str]:
    """One line for arms that are taught alike; unless ``exact``, which loads tokenizers, only what the file itself
    says."""
    found: dict[tuple[ModelConfig, Response | None], list[str]] = {}
    for cell in cells:
        if cell.config.training is not None and (exact or cell.config.training.response is not None):
            arms = found.setdefault((with_first_models(cell, plan).student, cell.config.training.response), [])
            arms += [] if cell.arm in arms else [cell.arm]
    lines: dict[str, list[str]] = {}
    for (student, response), arms in found.items():
        with contextlib.suppress(ModelError):  # said by the checks of a run, or by its cell
            lines.setdefault(_in_words(student, response) if exact else str(response), []).extend(arms)
    return [f"response of {', '.join(arms)}: {said}" for said, arms in lines.items()]


def _in_words(student: ModelConfig, response: Response | None) -> str:
    from cotdistill.models.load.loading import load_tokenizer
    from cotdistill.models.tokens.framing import framing
    from cotdistill.models.tokens.thinking import settle

    tokenizer = load_tokenizer(student)
    chosen = settle(tokenizer, response)
    frame = framing(tokenizer)
    if chosen == "think":
        opens = "opened by the prompt, " if frame.prefilled else ""
        return (
            f"think, between {frame.opening_mark} and {(frame.closing or '').strip()} ({opens}closed in the response)"
        )
    return f"plain, behind {frame.empty!r}" if frame.empty.strip() else "plain"
