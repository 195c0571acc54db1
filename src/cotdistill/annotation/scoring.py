"""How an untrained student sees texts, as a stage: each text is scored once, whoever asks.

The rank-surprisal ratio is that of arXiv 2601.14249 (equation 7): the sum of the ranks of a rationale's tokens under
the student, each cut at 100, over the sum of their surprisals. Low is good: words the student would not have said (much
to learn), yet among those that it thinks of first (within reach). For a set it is the mean over its texts of their mean
rank, over that of their mean surprisal, so that a long text counts as much as a short one. Ours includes the statement
of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cotdistill.config import Model
from cotdistill.models.load.source import model_identity
from cotdistill.progress import track
from cotdistill.records import Question, Rationale
from cotdistill.storage.hashes import content_key
from cotdistill.storage.jsonl import RowAppender, read_rows
from cotdistill.storage.stages import open_stage
from cotdistill.tasks.prompts import prompt_of, response_text

if TYPE_CHECKING:
    from cotdistill.models.forward.scoring import ScoredText, TextScore

VERSION = 3
"""Raised whenever a change of code changes what a scoring holds."""

MAX_RANK = 100
"""The paper's value: ranks above it count as equal."""

_OPENING = "The answer is"
_MAX_BATCH_TOKENS = 8192


def difficulties(questions: Sequence[Question], student: Model, runs: Path) -> list[float]:
    """How hard each question is for ``student``: the surprisal of the gold answer without a rationale, in nats."""
    from cotdistill.models.forward.scoring import ScoredText

    texts = [ScoredText(prompt_of(q, "answer"), _OPENING, f" {q.answer}.") for q in questions]
    return [round(score.surprisal, 4) for score in score_under(student, texts, runs)]


def rationale_scores(rationales: Sequence[Rationale], student: Model, runs: Path) -> list[TextScore]:
    """Each rationale with its statement of the answer, as ``student`` would read it in training."""
    from cotdistill.models.forward.scoring import ScoredText

    texts = []
    for rationale in rationales:
        target = "answer" if rationale.rationale is None else "rationale"
        texts.append(ScoredText(prompt_of(rationale.question, target), "", response_text(rationale)))
    return score_under(student, texts, runs)


def rank_surprisal_ratio(score: TextScore) -> float:
    """The ratio of one text; infinite if nothing in it is surprising."""
    return round(score.rank / score.surprisal, 4) if score.surprisal > 0 else float("inf")


def rank_surprisal_ratio_of_set(scores: Sequence[TextScore]) -> float:
    """The ratio of a set of rationales: mean over its texts of their mean rank, over that of their mean surprisal."""
    surprisal = sum(score.surprisal / score.num_tokens for score in scores)
    return round(sum(score.rank / score.num_tokens for score in scores) / surprisal, 4) if surprisal else float("inf")


def score_under(student: Model, texts: Sequence[ScoredText], runs: Path) -> list[TextScore]:
    """Scores of ``texts`` in their order, made in ``runs/scoring/<key>`` or found there; a killed scoring resumes."""
    from cotdistill.models.forward.scoring import TextScore

    identity = {
        "version": VERSION,
        "model": model_identity(student),
        "max_rank": MAX_RANK,
        "texts": content_key([list(text) for text in texts]),
    }
    with open_stage(runs, "scoring", identity) as stage:
        file = stage.path / "scores.jsonl"
        if not stage.finished:
            _score(student, texts, file)
            num_tokens = sum(row["num_tokens"] for row in read_rows(file))
            stage.finish({"texts": len(texts), "num_tokens": num_tokens}, seeds={}, dropped={})
        by_place = {row.pop("place"): TextScore(**row) for row in read_rows(file)}
    return [by_place[place] for place in range(len(texts))]


def _score(student: Model, texts: Sequence[ScoredText], file: Path) -> None:
    """Append the scores of whole batches, so that a killed scoring resumes with the batches of an unbroken one."""
    import torch

    from cotdistill.models.forward.scoring import score_texts
    from cotdistill.models.load.loading import load_model, load_tokenizer, pick_device

    with RowAppender(file) as appender:
        done = {row["place"] for row in appender.rows()}
        if len(done) == len(texts):
            return
        model = load_model(student, dtype=torch.float32, device=pick_device())
        batches = score_texts(
            model,
            load_tokenizer(student),
            texts,
            max_batch_tokens=_MAX_BATCH_TOKENS,
            max_rank=MAX_RANK,
            done=done,
        )
        with track("score", len(texts), done=len(done)) as progress:
            for scores in batches:
                new = {place: score for place, score in scores.items() if place not in done}
                appender.append_all({"place": place} | asdict(score) for place, score in new.items())
                progress.advance(len(new))
