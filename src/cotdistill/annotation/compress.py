"""Shorter rationales: the first share of each, or a teacher's rewriting that states the same answer in fewer words.

Where a teacher's reasoning is kept apart from its rationale, the reasoning is what is shortened. No rationale is lost:
one that cannot be shortened stays as it is, and the reason is in its ``meta["compressed"]`` and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any

from cotdistill.annotation.perturb import truncate
from cotdistill.annotation.rationales import Missing
from cotdistill.annotation.teachers.asked import AskedSource
from cotdistill.annotation.teachers.prompting import asked_text
from cotdistill.config import AnnotationConfig, Compression, KeepFirst, Rewritten
from cotdistill.engines.estimate import NOTHING, Estimate
from cotdistill.granularities import COARSEST, GRANULARITIES
from cotdistill.rationales.cutting import first_share
from cotdistill.rationales.measures import num_words
from cotdistill.records import Question, Rationale
from cotdistill.storage.hashes import content_key
from cotdistill.tasks.answers.reading import same_answer
from cotdistill.tasks.prompts import answer_name

VERSION = 1
"""Raised whenever a change of code changes what a compression makes."""

SHORTENED = "shortened"
_PROMPT = Path(__file__).with_name("shorten.txt")
_DRAWN = AnnotationConfig(keep="agree")
"""Further drafts of a teacher that may draw several are for those that do not state the gold answer."""


@dataclass(frozen=True)
class Shortening(AskedSource):
    """A teacher that is asked to rewrite ``originals``, by question; its completions are kept like any others."""

    originals: Mapping[str, Rationale] = field(default_factory=dict)

    def _prompt(self, question: Question, annotation: AnnotationConfig) -> str:
        return _prompt_of(self.originals[question.id])


def compress(
    rationales: Sequence[Rationale], compression: Compression, completions: Path | None = None
) -> tuple[list[Rationale], tuple[int, int]]:
    """``rationales`` in their order, shortened where they can be, and the tokens of the prompts and completions that
    this took.

    ``completions`` keeps what a teacher writes. Raises DataError as :class:`AskedSource` does.
    """
    if isinstance(compression, KeepFirst):
        return [_first(rationale, compression) for rationale in rationales], (0, 0)
    assert completions is not None, "a teacher's completions are kept"
    written = [rationale for rationale in rationales if _text(rationale)]
    source = Shortening(compression.teacher, completions, {one.id: one for one in written})
    rewritten = dict(zip((one.id for one in written), _asked(source, written), strict=True))
    return [_checked(one, rewritten[one.id]) if one.id in rewritten else one for one in rationales], source.tokens


def _asked(source: Shortening, rationales: Sequence[Rationale]) -> Iterator[Rationale | Missing]:
    return source.rationales([rationale.question for rationale in rationales], _DRAWN)


def compression_identity(compression: Compression, completions: Path) -> dict[str, Any]:
    """Everything besides its settings that can change what :func:`compress` gives."""
    if isinstance(compression, KeepFirst):
        return {"version": VERSION}
    asked = Shortening(compression.teacher, completions).identity((), _DRAWN)
    return {"version": VERSION, "prompt": content_key(_PROMPT.read_text("utf-8")), "model": asked.get("model")}


def planned(questions: Sequence[Question], annotation: AnnotationConfig, completions: Path) -> Estimate:
    """What a teacher would be asked to rewrite, if each question had a rationale of the length that is asked for."""
    compression = annotation.compress
    if not isinstance(compression, Rewritten):
        return NOTHING
    text = "word " * GRANULARITIES[annotation.granularity or COARSEST].words.most
    typical = [Rationale(question, text, "", annotation.granularity, annotation.format) for question in questions]
    source = Shortening(compression.teacher, completions, {one.id: one for one in typical})
    return source.estimate(questions, annotation)


def _text(rationale: Rationale) -> str:
    """What is shortened; "" for an answer alone."""
    return rationale.reasoning or rationale.rationale or ""


def _with(rationale: Rationale, text: str, outcome: str = SHORTENED) -> Rationale:
    meta = rationale.meta | {"compressed": outcome}
    changed = {"reasoning": text} if rationale.reasoning else {"rationale": text}
    return replace(rationale, **changed, meta=meta) if text else replace(rationale, meta=meta)


def _first(rationale: Rationale, compression: KeepFirst) -> Rationale:
    text = _text(rationale)
    if not text:
        return rationale
    by_words = compression.unit == "words"
    kept = (truncate if by_words else first_share)(text, compression.keep_first)
    return _with(rationale, kept, SHORTENED if num_words(kept) < num_words(text) else "not_shorter")


def _checked(original: Rationale, found: Rationale | Missing) -> Rationale:
    """The rewriting, if it states what the original does in fewer words; else the original, and why."""
    if isinstance(found, Missing):
        return _with(original, "", found.reason)
    text, question = found.rationale or "", original.question
    stated = found.meta["teacher_answer"]
    expected = original.meta.get("teacher_answer") or question.answer
    if not text or found.meta.get("reasoning") == "as_rationale":  # what it thought about the task is no rewriting
        return _with(original, "", "empty_rationale")
    if stated is None:
        return _with(original, "", "no_stated_answer")
    if not same_answer(stated, expected, question.answer_type):
        return _with(original, "", "another_answer")
    if found.meta["finish_reason"] == "length":
        return _with(original, "", "truncated")
    return _with(original, text) if num_words(text) < num_words(_text(original)) else _with(original, "", "not_shorter")


def _prompt_of(rationale: Rationale) -> str:
    question = rationale.question
    return Template(_PROMPT.read_text("utf-8").rstrip("\n")).substitute(
        answer_form=answer_name(question.answer_type),
        question=asked_text(question.question, question.choices),
        solution=_text(rationale),
        answer=rationale.meta.get("teacher_answer") or question.answer,
    )
