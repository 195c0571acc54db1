"""Who reads an evaluation's completions (``evaluation.reader``): we, lm-eval, math-verify, or the user's function.

The others find an answer wherever one may stand, a statement or not; a score that
changes between readers measures formats.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from cotdistill.config import Part, Reader
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import AnswerType, Question, Verdict
from cotdistill.tasks.answers.mathematics import read_and_compare
from cotdistill.tasks.answers.reading import judge, same_answer
from cotdistill.tasks.answers.types import read_gold

Judge = Callable[[str, Question, bool], tuple[str | None, Verdict]]
"""The stated answer and the verdict of a completion of a question, given whether the completion is finished."""

_READS: dict[Reader, frozenset[AnswerType]] = {
    "lm_eval": frozenset({"number", "letter", "yes_no", "true_false", "list", "text"}),
    "math_verify": frozenset({"number", "math"}),
}
_PACKAGES: dict[Reader, tuple[str, str]] = {"lm_eval": ("lm_eval", "lm-eval"), "math_verify": ("math_verify", "math")}

_NUMBER = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
_STATED = r"(?<=the answer is )(.*)(?=.)"
_IGNORED = (",", r"\$", r"\.$")


def judge_of(reader: Reader | Part, questions: Iterable[Question], *, first: bool = False) -> Judge:
    """The judge that ``reader`` is; ``first`` (the first statement counts) affects only ours.

    Raises ConfigError if its package is missing, or if it does not read the answers of one of ``questions``.
    """
    if isinstance(reader, Part):
        return partial(_judge_by, partial(_part, reader))
    if reader == "cotdistill":
        return lambda text, question, finished: judge(text, question, finished=finished, first=first)
    package, extra = _PACKAGES[reader]
    if importlib.util.find_spec(package) is None:
        remedy = f"pip install 'cotdistill[{extra}]', or omit reader"
        raise ConfigError(f"this needs the package {package}", where=f"evaluation.reader: {reader}", remedy=remedy)
    for question in questions:
        if question.answer_type not in _READS[reader]:
            problem = f"{reader} does not read answers of the type {question.answer_type} ({question.task})"
            raise ConfigError(problem, where="evaluation.reader", remedy="choose another reader, or omit it")
    return partial(_judge_by, _lm_eval if reader == "lm_eval" else _math_verify)


def is_slow(reader: Reader | Part, question: Question) -> bool:
    """Whether another process compares what is read as mathematics."""
    return reader == "math_verify" or (reader == "cotdistill" and question.answer_type == "math")


def _judge_by(
    read: Callable[[str, Question], tuple[str | None, bool]], text: str, question: Question, finished: bool
) -> tuple[str | None, Verdict]:
    stated, correct = read(text, question)
    if stated is None:
        return None, "unreadable" if finished else "truncated"
    return stated, "correct" if correct else "wrong"


def _part(reader: Part, text: str, question: Question) -> tuple[str | None, bool]:
    """Reads what the user's function finds like a gold answer. Raises DataError if it does not return text."""
    found = reader.call(text, question)
    if found is not None and not isinstance(found, str):
        problem = f"{reader.name} returns {type(found).__name__} for question {question.id!r}"
        raise DataError(problem, where=reader, remedy="return the stated answer as text, or None for none")
    stated = None if found is None else read_gold(found, question.answer_type, question.choices)
    if stated is None:
        return found, False
    return stated, same_answer(stated, question.answer, question.answer_type, question.meta.get("tolerance", 0.0))


def _math_verify(text: str, question: Question) -> tuple[str | None, bool]:
    return read_and_compare(text, question.answer)


def _lm_eval(text: str, question: Question) -> tuple[str | None, bool]:
    """As its tasks do: the last number, as for GSM8K (flexible-extract), else what follows "the answer is", as for
    BIG-Bench-Hard, which is compared letter by letter with the official target."""
    extraction: Any = importlib.import_module("lm_eval.filters.extraction")
    metrics: Any = importlib.import_module("lm_eval.api.metrics")
    is_number = question.answer_type == "number"
    last = extraction.RegexFilter(_NUMBER if is_number else _STATED, group_select=-1 if is_number else 0, fallback="")
    ((stated,),) = last.apply([[text]], [{}])
    if not stated:
        return None, False
    target = str(question.meta.get("target", question.answer))
    ignored = {"regexes_to_ignore": list(_IGNORED), "ignore_case": True} if is_number else {}
    return stated, bool(metrics.exact_match_hf_evaluate([stated], [target], **ignored)["exact_match"])
