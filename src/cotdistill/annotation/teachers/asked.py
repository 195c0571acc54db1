"""A teacher that is asked: prompts out, raw answers into a log, rationales from the log."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cotdistill.annotation.keep import refusal
from cotdistill.annotation.rationales import Missing
from cotdistill.annotation.teachers.prompting import prompts_fingerprint, teacher_prompt
from cotdistill.config import AnnotationConfig, AskedTeacher, ScriptedTeacher, TransformersTeacher, VLLMTeacher
from cotdistill.engines.asking import OUT_OF_BUDGET, AnswerLog, Request, logged_keys
from cotdistill.engines.costs import Estimate, estimate
from cotdistill.engines.teachers import Asked, ask, asked
from cotdistill.errors import DataError
from cotdistill.progress import track
from cotdistill.rationales.measures import BANDS
from cotdistill.records import Question, Rationale, count_by
from cotdistill.storage.hashes import content_key, file_sha256
from cotdistill.storage.locks import hold
from cotdistill.tasks.answers.reading import extract_answer, same_answer
from cotdistill.tasks.answers.stripping import clean_rationale

LOG = "answers.jsonl"


@dataclass(frozen=True)
class LiveSource:
    """Rationales of a teacher that is asked; raw answers are kept below ``answers`` and are never asked for twice."""

    teacher: AskedTeacher
    answers: Path

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        """The first draw for each question that ``annotation.keep`` accepts, else the last one.

        A question whose next draw could not be had counts as unanswered, whatever its draws before gave. Raises
        DataError where the budget is spent or too many questions stay unanswered; what was answered is kept.
        """
        with hold(self.answers):
            log = AnswerLog(self.answers / LOG)
            try:
                yield from self._draw(questions, annotation, log)
            finally:
                log.close()

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        written = {"granularity": annotation.granularity, "format": annotation.format}
        how = {"prompts": prompts_fingerprint(), "answer_conditioned": annotation.answer_conditioned}
        if isinstance(self.teacher, ScriptedTeacher):
            return written | how | {"script": file_sha256(self.teacher.answers)}
        in_process = isinstance(self.teacher, TransformersTeacher | VLLMTeacher)
        return written | how | ({"model": self._asked.model} if in_process else {})

    def plan(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Estimate:
        """What is left to ask: a first draw for every question that is not in the log. Asks nothing."""
        done = logged_keys(self.answers / LOG)
        keyed = {self._key(question, annotation, 0): question for question in questions}
        return self._estimate([question for key, question in keyed.items() if key not in done], annotation)

    # ---- asking ----

    def _draw(
        self, questions: Sequence[Question], annotation: AnnotationConfig, log: AnswerLog
    ) -> Iterator[Rationale | Missing]:
        found: list[Rationale | Missing | None] = [None] * len(questions)
        open_places = list(range(len(questions)))
        for draw in range(self._asked.max_draws):
            keys = {place: self._key(questions[place], annotation, draw) for place in open_places}
            new = [questions[place] for place in open_places if keys[place] not in log]
            failures = self._ask(new, annotation, draw, log) if new else {}
            for place, key in keys.items():
                if row := log.get(key):
                    found[place] = self._rationale(questions[place], annotation, row)
                else:
                    found[place] = Missing(questions[place], f"unanswered_{failures[key]}")
            open_places = [place for place in open_places if not _accepted(found[place], annotation)]
        missing = [outcome for outcome in found if isinstance(outcome, Missing)]
        self._refuse_failures(missing, len(questions))
        for outcome in found:
            assert outcome is not None, "every question was drawn for"
            yield outcome

    def _ask(self, new: list[Question], annotation: AnnotationConfig, draw: int, log: AnswerLog) -> dict[str, str]:
        if not isinstance(self.teacher, ScriptedTeacher):
            print(f"asking {self._asked.name}: {self._estimate(new, annotation)}", file=sys.stderr)
        requests = (self._request(question, annotation, draw) for question in new)
        with track("asking", len(new)) as progress:
            return ask(self.teacher, requests, log, progress)

    def _refuse_failures(self, missing: list[Missing], num_questions: int) -> None:
        if not missing or len(missing) <= self._asked.limits.max_failed_share * num_questions:
            return
        counts = ", ".join(f"{reason} {count}" for reason, count in count_by(m.reason for m in missing).items())
        spent = any(one.reason.endswith(OUT_OF_BUDGET) for one in missing)
        remedy = "raise the budget" if spent else "see to the server, or raise limits.max_failed_share"
        problem = f"{len(missing)} of {num_questions} questions are unanswered ({counts})"
        where = f"teacher {self._asked.name}"
        raise DataError(problem, where=where, remedy=f"{remedy}, and run again: what was answered is kept")

    # ---- requests and what comes of them ----

    @cached_property
    def _asked(self) -> Asked:
        return asked(self.teacher)

    @cached_property
    def _sampling(self) -> dict[str, Any]:
        return self._asked.sampling.model_dump(mode="json")

    def _prompt(self, question: Question, annotation: AnnotationConfig) -> str:
        conditioned = annotation.answer_conditioned
        return teacher_prompt(question, annotation.granularity, annotation.format, answer_conditioned=conditioned)

    def _key(self, question: Question, annotation: AnnotationConfig, draw: int) -> str:
        return content_key([self._asked.model, self._prompt(question, annotation), self._sampling, draw])

    def _request(self, question: Question, annotation: AnnotationConfig, draw: int) -> Request:
        return Request(self._key(question, annotation, draw), question.id, self._prompt(question, annotation), draw)

    def _estimate(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Estimate:
        band = BANDS[annotation.granularity or 1].words
        prompts = (self._prompt(question, annotation) for question in questions)
        return estimate(prompts, (band.fewest + band.most) // 2, self._asked.price)

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
            "input_tokens": row["input_tokens"],
            "output_tokens": row["output_tokens"],
        }
        text = clean_rationale(row["text"])
        return Rationale(question, text, self._asked.name, annotation.granularity, annotation.format, meta)


def _accepted(outcome: Rationale | Missing | None, annotation: AnnotationConfig) -> bool:
    return isinstance(outcome, Rationale) and refusal(outcome, annotation.keep) is None
