"""A teacher that is asked: prompts out, raw answers into a log, rationales from the log."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.annotation.asking import OUT_OF_BUDGET, AnswerLog, Request, Transport, ask_all
from cotdistill.annotation.costs import Budget, Estimate, estimate, price_of
from cotdistill.annotation.keep import refusal
from cotdistill.annotation.prompting import BANDS, prompts_fingerprint, teacher_prompt
from cotdistill.annotation.rationales import Missing
from cotdistill.artifacts import content_key, file_sha256, hold
from cotdistill.config import AnnotationConfig, Limits, OpenAITeacher, Sampling, ScriptedTeacher
from cotdistill.errors import DataError
from cotdistill.progress import track
from cotdistill.records import Question, Rationale, count_by
from cotdistill.tasks.answers import extract_answer, same_answer
from cotdistill.tasks.prompts import clean_rationale

_SCRIPTED = Limits(concurrency=1, max_failed_share=1.0)


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Rationales of a teacher that is asked; raw answers are kept below ``answers`` and are never asked for twice."""

    teacher: OpenAITeacher | ScriptedTeacher
    answers: Path

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        """The first draw for each question that ``annotation.keep`` accepts, else the last one.

        Raises DataError where the budget is spent or too many questions stay unanswered; what was answered is kept.
        """
        with hold(self.answers):
            log = AnswerLog(self.answers / "answers.jsonl")
            try:
                yield from self._draw(questions, annotation, log)
            finally:
                log.close()

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        written = {"granularity": annotation.granularity, "format": annotation.format}
        asked = {"prompts": prompts_fingerprint(), "answer_conditioned": annotation.answer_conditioned}
        script = {"script": file_sha256(self.teacher.answers)} if isinstance(self.teacher, ScriptedTeacher) else {}
        return written | asked | script

    def plan(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Estimate:
        """What a first draw for every question would cost, if nothing is in the log."""
        prompts = [self._prompt(question, annotation) for question in questions]
        band = BANDS[annotation.granularity or 1]
        return estimate(prompts, (band.fewest + band.most) // 2, self._price())

    # ---- asking ----

    def _draw(
        self, questions: Sequence[Question], annotation: AnnotationConfig, log: AnswerLog
    ) -> Iterator[Rationale | Missing]:
        found: list[Rationale | Missing | None] = [None] * len(questions)
        open_places = list(range(len(questions)))
        budget = Budget(self._limits(), self._price())
        for draw in range(self._max_draws()):
            failures = self._ask([questions[place] for place in open_places], annotation, draw, log, budget)
            for place in open_places:
                request = self._request(questions[place], annotation, draw)
                row = log.get(request.key)
                if row is not None:
                    found[place] = self._rationale(questions[place], annotation, row)
                elif found[place] is None:
                    found[place] = Missing(questions[place], f"unanswered_{failures[request.key]}")
            open_places = [place for place in open_places if not _accepted(found[place], annotation)]
        missing = [outcome for outcome in found if isinstance(outcome, Missing)]
        self._refuse_failures(missing, len(questions))
        for outcome in found:
            assert outcome is not None, "every question was drawn for"
            yield outcome

    def _ask(
        self, questions: list[Question], annotation: AnnotationConfig, draw: int, log: AnswerLog, budget: Budget
    ) -> dict[str, str]:
        new = [q for q in questions if self._request(q, annotation, draw).key not in log]
        if not new:
            return {}
        if isinstance(self.teacher, OpenAITeacher):
            print(f"asking {self.teacher.model}: {self.plan(new, annotation)}", file=sys.stderr)
        requests = (self._request(question, annotation, draw) for question in new)
        with track("asking", len(new)) as progress:
            return asyncio.run(
                ask_all(
                    requests,
                    self._transport(),
                    log,
                    self._limits(),
                    budget,
                    progress,
                    max_output_tokens=self._sampling().max_tokens,
                )
            )

    def _refuse_failures(self, missing: list[Missing], num_questions: int) -> None:
        if not missing or len(missing) <= self._limits().max_failed_share * num_questions:
            return
        counts = ", ".join(f"{reason} {count}" for reason, count in count_by(m.reason for m in missing).items())
        spent = any(one.reason.endswith(OUT_OF_BUDGET) for one in missing)
        remedy = "raise the budget" if spent else "see to the server, or raise limits.max_failed_share"
        problem = f"{len(missing)} of {num_questions} questions are unanswered ({counts})"
        where = f"teacher {getattr(self.teacher, 'model', self.teacher.kind)}"
        raise DataError(problem, where=where, remedy=f"{remedy}, and run again: what was answered is kept")

    def _transport(self) -> Transport:
        if isinstance(self.teacher, ScriptedTeacher):
            from cotdistill.annotation.scripted import ScriptedServer

            return ScriptedServer(self.teacher)
        from cotdistill.annotation.openai_server import OpenAIServer

        return OpenAIServer(self.teacher)

    # ---- requests and what comes of them ----

    def _prompt(self, question: Question, annotation: AnnotationConfig) -> str:
        conditioned = annotation.answer_conditioned
        return teacher_prompt(question, annotation.granularity, annotation.format, answer_conditioned=conditioned)

    def _request(self, question: Question, annotation: AnnotationConfig, draw: int) -> Request:
        prompt = self._prompt(question, annotation)
        key = content_key([self._model(), prompt, self._sampling().model_dump(mode="json"), draw])
        return Request(key, question.id, prompt, draw)

    def _rationale(self, question: Question, annotation: AnnotationConfig, row: dict[str, Any]) -> Rationale:
        stated = extract_answer(row["text"], question.answer_type, question.choices)
        agrees = None if stated is None else same_answer(stated, question.answer, question.answer_type)
        meta = {
            "teacher_answer": stated,
            "teacher_agrees": agrees,
            "answer_conditioned": annotation.answer_conditioned,
            "finish_reason": row["finish_reason"],
            "draw": row["draw"],
            "key": row["key"],
        }
        name = self.teacher.model if isinstance(self.teacher, OpenAITeacher) else self.teacher.kind
        text = clean_rationale(row["text"])
        return Rationale(question, text, name, annotation.granularity, annotation.format, meta)

    # ---- settings that a script has none of ----

    def _model(self) -> list[str | None]:
        if isinstance(self.teacher, OpenAITeacher):
            return [self.teacher.base_url, self.teacher.model]
        return ["scripted", file_sha256(self.teacher.answers)]

    def _limits(self) -> Limits:
        return self.teacher.limits if isinstance(self.teacher, OpenAITeacher) else _SCRIPTED

    def _sampling(self) -> Sampling:
        return self.teacher.sampling if isinstance(self.teacher, OpenAITeacher) else Sampling()

    def _max_draws(self) -> int:
        return self.teacher.max_draws if isinstance(self.teacher, OpenAITeacher) else 1

    def _price(self) -> Any:
        return price_of(self.teacher) if isinstance(self.teacher, OpenAITeacher) else None


def _accepted(outcome: Rationale | Missing | None, annotation: AnnotationConfig) -> bool:
    return isinstance(outcome, Rationale) and refusal(outcome, annotation.keep) is None
