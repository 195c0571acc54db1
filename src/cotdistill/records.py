"""The rows that stages exchange: Question, Rationale, Prediction, Score.

A row on disk is flat. A question and a rationale share one schema (``id, task, split, question, choices, answer,
answer_type, rationale, reasoning, teacher, granularity, format, meta``), so a file of rationales is also a file of
questions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

__all__ = ["Prediction", "Question", "Rationale", "Score", "Tally"]

AnswerType = Literal["number", "letter", "yes_no", "true_false", "list", "text", "math"]
"""How an answer is read and compared: a number; a choice's letter (A is the first); Yes/No; True/False; a sequence of
words or symbols in order; free text; an expression in LaTeX."""

ANSWER_TYPES: tuple[AnswerType, ...] = get_args(AnswerType)

Format = Literal["cot", "least_to_most", "rar", "symbolic", "human", "answer_only"]
"""How a rationale is written; ``answer_only`` means that there is none."""

Verdict = Literal["correct", "wrong", "unreadable", "truncated"]
"""Unreadable: no answer can be extracted. Truncated: the token limit is reached before an answer."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

ACCURACY = "accuracy"
"""The metric of a prediction's own verdict; those of its samples are in ``evaluation/statistics/metrics.py``."""


Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation; ``reasoning`` is what an assistant thought before it, kept apart."""

    role: Role
    content: str
    reasoning: str | None = None

    def to_row(self) -> dict[str, str]:
        row = {"role": self.role, "content": self.content}
        return row if self.reasoning is None else row | {"reasoning_content": self.reasoning}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Turn:
        return cls(row["role"], row["content"], row.get("reasoning_content"))


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a task. ``answer`` is the gold answer in canonical form (see ``tasks/answers/reading.py``).

    ``turns`` are what was said before it, a system message first if there is one; a row has them only then, and
    ``human_reasoning`` likewise.
    """

    id: str
    task: str
    split: str
    question: str
    answer: str
    answer_type: AnswerType
    choices: tuple[str, ...] | None = None
    human_rationale: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    turns: tuple[Turn, ...] | None = None
    human_reasoning: str | None = None

    @property
    def asked(self) -> str:
        """The question with what was said before it."""
        return "\n".join([*(turn.content for turn in self.turns or ()), self.question])

    def to_row(self) -> dict[str, Any]:
        row = {
            "id": self.id,
            "task": self.task,
            "split": self.split,
            "question": self.question,
            "choices": list(self.choices) if self.choices else None,
            "answer": self.answer,
            "answer_type": self.answer_type,
            "rationale": self.human_rationale,
            "meta": self.meta,
        }
        if self.human_reasoning is not None:
            row["reasoning"] = self.human_reasoning
        if self.turns:
            row["turns"] = [turn.to_row() for turn in self.turns]
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Question:
        choices = row.get("choices")
        return cls(
            id=row["id"],
            task=row["task"],
            split=row["split"],
            question=row["question"],
            answer=row["answer"],
            answer_type=row["answer_type"],
            choices=tuple(choices) if choices else None,
            human_rationale=row.get("rationale"),
            meta=row.get("meta") or {},
            turns=_turns(row),
            human_reasoning=row.get("reasoning"),
        )


def _turns(row: dict[str, Any]) -> tuple[Turn, ...] | None:
    return tuple(map(Turn.from_row, row["turns"])) if row.get("turns") else None


@dataclass(frozen=True, slots=True)
class Rationale:
    """A question with one teacher's rationale for it; ``rationale`` is None if only the answer is taught.

    ``rationale`` holds what is said before the closing statement of the answer; ``reasoning`` what the teacher thought
    before it said that, if it is kept apart; ``meta`` says where both came from.
    """

    question: Question
    rationale: str | None
    teacher: str
    granularity: int | None
    format: Format
    meta: dict[str, Any] = field(default_factory=dict)
    reasoning: str | None = None

    @property
    def id(self) -> str:
        return self.question.id

    def to_row(self) -> dict[str, Any]:
        row = self.question.to_row()
        return row | {
            "rationale": self.rationale,
            "reasoning": self.reasoning,
            "teacher": self.teacher,
            "granularity": self.granularity,
            "format": self.format,
            "meta": self.meta,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Rationale:
        choices = row.get("choices")
        asked = (row["id"], row["task"], row["split"], row["question"], row["answer"], row["answer_type"])
        question = Question(*asked, tuple(choices) if choices else None, turns=_turns(row))
        written = (row["rationale"], row["teacher"], row["granularity"], row["format"])
        return cls(question, *written, row.get("meta") or {}, row.get("reasoning"))


@dataclass(frozen=True, slots=True)
class Tally:
    """How the samples of one question are judged: how many there are, how many are correct, and how many state each of
    the wrong answers, most first (the rest state none)."""

    num_samples: int
    num_correct: int
    wrong_votes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model wrote for one question, and how it is judged. ``answer`` is the gold answer.

    Of several samples it is the one that won the vote; ``samples`` says how all of them are judged (None: there is
    one). ``num_output_tokens`` are those of all samples; ``num_reasoning_tokens``, where they are known, are part of
    them. ``num_unclosed`` samples end within a thought.
    """

    id: str
    task: str
    answer: str
    output: str
    extracted: str | None
    verdict: Verdict
    num_prompt_tokens: int
    num_output_tokens: int
    samples: Tally | None = None
    num_reasoning_tokens: int | None = None
    num_unclosed: int = 0

    @property
    def correct(self) -> bool:
        return self.verdict == "correct"

    @property
    def tally(self) -> Tally:
        """How all samples are judged, be it one."""
        if self.samples is not None:
            return self.samples
        return Tally(1, int(self.correct), (1,) if self.verdict == "wrong" else ())

    def to_row(self) -> dict[str, Any]:
        row = asdict(self)
        return row | (row.pop("samples") or {})

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Prediction:
        if "num_samples" not in row:
            return cls(**row)
        own = {name: value for name, value in row.items() if name not in _OF_SAMPLES}
        return cls(**own, samples=Tally(row["num_samples"], row["num_correct"], tuple(row["wrong_votes"])))


_OF_SAMPLES = ("num_samples", "num_correct", "wrong_votes")


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy over ``n`` predictions with a 95 % Wilson interval (both as fractions), and the four verdict counts."""

    n: int
    accuracy: float
    interval: tuple[float, float]
    correct: int
    wrong: int
    unreadable: int
    truncated: int

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        return f"{100 * self.accuracy:.1f} % ({low:.1f} to {high:.1f}) of {self.n:,} questions"

    def to_row(self) -> dict[str, Any]:
        return asdict(self) | {"interval": list(self.interval)}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Score:
        low, high = row["interval"]
        return cls(**{**row, "interval": (low, high)})


def count_by(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, sorted by name: the form in which dropped rows and verdicts are reported."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
