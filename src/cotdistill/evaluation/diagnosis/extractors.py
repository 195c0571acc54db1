"""Several ways to find the answer in an output, side by side: how much a score owes to the regular expression.

Only ``statement`` decides verdicts (see ``tasks/answers/reading.py``); the others are for comparison. A score
that changes between them measures formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cotdistill.records import Question
from cotdistill.tasks.answers.reading import extract_answer, same_answer
from cotdistill.tasks.answers.types import MAX_LENGTH, read_answer


@dataclass(frozen=True, slots=True)
class Extractor:
    """``extract`` gives the answer that an output states, or None; ``same`` tells whether it is the gold answer."""

    name: str
    meaning: str
    extract: Callable[[str, Question], str | None]
    same: Callable[[str, Question], bool]


def _same(extracted: str, question: Question) -> bool:
    return same_answer(extracted, question.answer, question.answer_type)


# ---- ours -----------------------------------------------------------------------------------------------------------

_TEMPLATE = "The answer is "


def _template(output: str, question: Question) -> str | None:
    """The last line must be the template's own: "The answer is X." with nothing before or after it."""
    line = output.rstrip().rpartition("\n")[2]
    if not line.startswith(_TEMPLATE) or not line.endswith("."):
        return None
    return read_answer(line[len(_TEMPLATE) :], question.answer_type, question.choices)


def _statement(output: str, question: Question) -> str | None:
    return extract_answer(output, question.answer_type, question.choices)


_MENTIONS = {
    "number": re.compile(r"-?[0-9][0-9,]{0,50}(?:\.[0-9]{1,50})?"),
    "letter": re.compile(r"\([A-Z]\)"),
    "yes_no": re.compile(r"\b(?:yes|no)\b", re.IGNORECASE),
    "true_false": re.compile(r"\b(?:true|false)\b", re.IGNORECASE),
}


def _flexible(output: str, question: Question) -> str | None:
    """The stated answer; if there is none, the last thing that could be one, or the last line."""
    stated = _statement(output, question)
    if stated is not None:
        return stated
    end = output[-MAX_LENGTH:]
    pattern = _MENTIONS.get(question.answer_type)
    mentions = pattern.findall(end) if pattern else [end.rstrip().rpartition("\n")[2]]
    return read_answer(mentions[-1].rstrip(","), question.answer_type, question.choices) if mentions else None


# ---- others' --------------------------------------------------------------------------------------------------------

_PAPER_CHOICE = re.compile(r"[Tt]he answer is ([A-E]|True|False)")
_PAPER_NUMBER = re.compile(r"-?[0-9][0-9,]{0,50}(?:\.[0-9]{1,50})?")


def _paper(output: str, question: Question) -> str | None:
    """The granularity paper's (arXiv 2502.18001), which reads numbers, letters up to E, True and False."""
    if question.answer_type == "number":
        _, found, behind = output.rpartition("The answer is")
        match = _PAPER_NUMBER.search(behind[:MAX_LENGTH]) if found else None
        return match[0].replace(",", "") if match else None
    match = _PAPER_CHOICE.search(output)
    return match[1] if match else None


_HARNESS = re.compile(r"(?<=the answer is )(.*)(?=.)")


def _harness(output: str, question: Question) -> str | None:
    """lm-eval's for BIG-Bench-Hard with few-shot prompts: the first match, up to the last character of its line."""
    match = _HARNESS.search(output)
    return match[0] if match else None


def _exactly_the_target(extracted: str, question: Question) -> bool:
    """lm-eval compares with the official target, letter by letter ("(A)" is not "A")."""
    return extracted == question.meta.get("target", question.answer)


EXTRACTORS: dict[str, Extractor] = {
    extractor.name: extractor
    for extractor in (
        Extractor("template", 'only a last line "The answer is X."', _template, _same),
        Extractor("statement", "the last readable statement (the first if the answer comes first); it decides verdicts",
                  _statement, _same),
        Extractor("flexible", "the statement, else the last thing that could be an answer", _flexible, _same),
        Extractor("paper", "the granularity paper's regular expressions", _paper, _same),
        Extractor("harness", "lm-eval's regular expression and exact match for BIG-Bench-Hard", _harness,
                  _exactly_the_target),
    )
}  # fmt: skip
