"""A teacher that is asked: prompts out, completions into a log, rationales from the log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from cotdistill.annotation.keep import refusal
from cotdistill.annotation.rationales import Missing
from cotdistill.annotation.teachers.prompting import prompt_of, prompts_fingerprint
from cotdistill.config import (
    AnnotationConfig,
    AskedTeacher,
    Message,
    Sampling,
    ScriptedTeacher,
    ServedModel,
)
from cotdistill.engines.asking import CompletionLog, ask, key_at, logged, refuse_failures
from cotdistill.engines.costs import FREE, price_of
from cotdistill.engines.engine import EMPTY, Completion, Engine, Failed, Request, conversation
from cotdistill.engines.estimate import Estimate, estimate
from cotdistill.engines.opening import identity_of, name_of, open_engine
from cotdistill.errors import ConfigError, printable
from cotdistill.granularities import COARSEST, GRANULARITIES
from cotdistill.progress import track
from cotdistill.records import Question, Rationale
from cotdistill.storage.hashes import content_key
from cotdistill.storage.locks import hold
from cotdistill.tasks.answers.reading import extract_answer, same_answer
from cotdistill.tasks.answers.stripping import clean_rationale

LOG = "completions.jsonl"
VERSION = 3
"""Raised whenever a change of code changes the completions that a model in this process gives."""

_CONCLUSION = 500
"""Characters at the end of a reasoning in which its answer is looked for."""


class Tokens(NamedTuple):
    """Of the prompt and of a completion, and whether the server counted them."""

    input: int
    output: int
    counted: bool


@dataclass(frozen=True)
class AskedSource:
    """Rationales of a teacher that is asked; its completions are kept in ``folder`` and are never asked for twice."""

    teacher: AskedTeacher
    folder: Path
    _used: dict[str, Tokens] = field(default_factory=dict, init=False, compare=False)

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        """The first draw for each question that ``annotation.keep`` accepts, else the last one.

        A question whose next draw fails counts as unanswered, whatever earlier draws gave. Raises DataError if the
        budget is spent or too many questions stay unanswered; what was answered is kept.
        """
        with hold(self.folder), CompletionLog(self.folder / LOG) as log:
            yield from self._draw(questions, annotation, log)

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the prompts and completions of all draws so far, each once, whenever they were paid for."""
        used = self._used.values()
        return sum(tokens.input for tokens in used), sum(tokens.output for tokens in used)

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        written = {"granularity": annotation.granularity, "format": annotation.format}
        prompts = annotation.prompt.identity if annotation.prompt else prompts_fingerprint()
        how = {"prompts": prompts, "answer_conditioned": annotation.answer_conditioned}
        if isinstance(self.teacher, ServedModel):
            return written | how
        return written | how | {"version": VERSION, "model": self._model}

    def plan(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Estimate:
        """What is left to ask: a first draw for every question that is not in the log. Asks nothing."""
        done = logged(self.folder / LOG)
        keyed = {self._key(question, annotation, 0): question for question in questions}
        left = [question for key, question in keyed.items() if done.serving(key, self._limit) not in done]
        return self.estimate(left, annotation)

    # ---- asking ----

    def _draw(
        self, questions: Sequence[Question], annotation: AnnotationConfig, log: CompletionLog
    ) -> Iterator[Rationale | Missing]:
        found: list[Rationale | Missing | None] = [None] * len(questions)
        failures: dict[int, Failed] = {}
        open_places = list(range(len(questions)))
        for draw in range(getattr(self.teacher, "max_draws", 1)):
            keys = {
                place: log.serving(self._key(questions[place], annotation, draw), self._limit) for place in open_places
            }
            new = [questions[place] for place in open_places if keys[place] not in log]
            failed = self._ask(new, annotation, draw, log) if new else {}
            for place, key in keys.items():
                answer = log.get(key)
                problem = failed[key] if answer is None else Failed(key, self._problem(answer))
                if answer is not None:
                    self._used[key] = Tokens(answer.input_tokens, answer.output_tokens, answer.counted)
                if answer is None or problem.reason:
                    failures[place] = problem
                    found[place] = Missing(questions[place], f"unanswered_{problem.reason}")
                else:
                    failures.pop(place, None)
                    found[place] = self._rationale(questions[place], annotation, answer)
            open_places = [place for place in open_places if not _accepted(found[place], annotation)]
        self._say_what_is_estimated()
        share, remedy = self.teacher.max_failed_share, "check the server, or raise teacher.max_failed_share"
        refuse_failures(failures.values(), len(questions), share=share, where=f"teacher {self.name}", remedy=remedy)
        for outcome in found:
            assert outcome is not None, "every question was drawn for"
            yield outcome

    def _ask(
        self, new: list[Question], annotation: AnnotationConfig, draw: int, log: CompletionLog
    ) -> dict[str, Failed]:
        if not isinstance(self.teacher, ScriptedTeacher):
            print(printable(f"asking {self.name}: {self.estimate(new, annotation)}"), file=sys.stderr)
        with track("asking", len(new)) as progress:
            return ask(self._engine, self._requests(new, annotation, draw), log, progress)

    def _say_what_is_estimated(self) -> None:
        estimated = sum(not tokens.counted for tokens in self._used.values())
        if estimated and isinstance(self.teacher, ServedModel):
            problem = f"{estimated} of {len(self._used)} answers come without a usable count of tokens"
            line = f"{self.name}: {problem}; theirs, and so the budget, is estimated from the text"
            print(printable(line), file=sys.stderr)

    # ---- requests and what comes of them ----

    @cached_property
    def _engine(self) -> Engine:
        return open_engine(self.teacher)

    @cached_property
    def _model(self) -> Any:
        return identity_of(self.teacher)

    @property
    def name(self) -> str:
        return name_of(self.teacher)

    @cached_property
    def _sampling(self) -> dict[str, Any]:
        sampling = getattr(self.teacher, "sampling", Sampling())
        return sampling.model_dump(mode="json", exclude=set() if self._limit is None else {"max_new_tokens"})

    @property
    def _limit(self) -> int | None:
        """A server's, which is apart from the key: what ended by itself is not paid for again under another limit.

        In this process, where other batches can round otherwise, a limit is one of the settings that make a key.
        """
        return self.teacher.sampling.max_new_tokens if isinstance(self.teacher, ServedModel) else None

    def _prompt(self, question: Question, annotation: AnnotationConfig) -> str | tuple[Message, ...]:
        asked, system = prompt_of(question, annotation), getattr(self.teacher, "system", None)
        if system is not None and not isinstance(asked, str) and asked[0].role == "system":
            theirs = f"the system message of {annotation.prompt or 'its conversation'}"
            problem = f"two system messages for question {question.id!r}: teacher.system and {theirs}"
            raise ConfigError(problem, where=f"teacher {self.name}", remedy="delete one of them")
        return asked

    def shown(self, question: Question, annotation: AnnotationConfig) -> str:
        """What is asked about a question, as a text for a reader."""
        system = getattr(self.teacher, "system", None)
        messages = conversation(self._prompt(question, annotation)) or []
        messages = [*([{"role": "system", "content": system}] if system else []), *messages]
        if len(messages) == 1:
            return messages[0]["content"]
        return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)

    def _key(self, question: Question, annotation: AnnotationConfig, draw: int) -> str:
        return content_key([self._model, self._prompt(question, annotation), self._sampling, draw])

    def _requests(self, questions: Iterable[Question], annotation: AnnotationConfig, draw: int) -> Iterator[Request]:
        for question in questions:
            key = key_at(self._key(question, annotation, draw), self._limit)
            yield Request(key, self._prompt(question, annotation), question.id, draw)

    def estimate(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Estimate:
        """What a draw for each of the questions takes."""
        band = GRANULARITIES[annotation.granularity or COARSEST].words
        prompts = (self._prompt(question, annotation) for question in questions)
        price = price_of(self.teacher) if isinstance(self.teacher, ServedModel) else FREE
        return estimate(prompts, (band.fewest + band.most) // 2, price)

    def _problem(self, completion: Completion) -> str:
        if completion.problem is None and not completion.text.strip() and self.teacher.reasoning == "drop":
            return EMPTY
        return completion.problem or ""

    def _rationale(self, question: Question, annotation: AnnotationConfig, completion: Completion) -> Rationale:
        stated = _stated(question, completion)
        agrees = None if stated is None else same_answer(stated, question.answer, question.answer_type)
        meta = {
            "teacher_answer": stated,
            "teacher_agrees": agrees,
            "answer_conditioned": annotation.answer_conditioned,
            "finish_reason": completion.finish_reason,
            "draw": completion.draw,
            "key": completion.key,
            "input_tokens": completion.input_tokens,
            "output_tokens": completion.output_tokens,
        }
        said, thought, use = clean_rationale(completion.text), completion.reasoning, self.teacher.reasoning
        if thought and (use == "as_rationale" or (use == "as_response" and not said)):
            said, thought, use = clean_rationale(thought), None, "as_rationale"
        if completion.reasoning:
            meta["reasoning"] = use
        apart = thought if use == "as_response" else None
        return Rationale(question, said, self.name, annotation.granularity, annotation.format, meta, apart)


def _stated(question: Question, completion: Completion) -> str | None:
    """The answer that the visible text states, else the one at the end of the reasoning."""
    reading = question.answer_type, question.choices
    stated = extract_answer(completion.whole, *reading)
    if stated is None and completion.reasoning:
        stated = extract_answer(completion.reasoning[-_CONCLUSION:], *reading)
    return stated


def _accepted(outcome: Rationale | Missing | None, annotation: AnnotationConfig) -> bool:
    return isinstance(outcome, Rationale) and refusal(outcome, annotation.keep) is None
