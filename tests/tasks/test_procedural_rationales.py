"""Rationales: they end in the answer, grow with every granularity, and stay small enough for small models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import mean

import pytest

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask
from cotdistill.errors import ConfigError, DataError
from cotdistill.granularities import GRANULARITIES
from cotdistill.records import Format, Question
from cotdistill.storage.jsonl import dump_row
from cotdistill.tasks.procedural import generate_split, write_rationale

FORMATS: tuple[Format, ...] = ("cot", "least_to_most", "rar", "symbolic")


def questions_of(kind: str, difficulty: int = 2, count: int = 100) -> list[Question]:
    return generate_split(ProceduralTask(kinds=(kind,), difficulty=difficulty), "train", count, 3)


def lengths(questions: Sequence[Question], granularity: int, format: Format) -> list[int]:
    return [len(write_rationale(question, granularity, format).split()) for question in questions]


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_rationale_ends_in_the_answer_and_grows_with_every_granularity(kind: str, format: Format) -> None:
    for difficulty in (1, 2, 3, 4):
        for question in questions_of(kind, difficulty, count=40):
            written = [write_rationale(question, granularity, format) for granularity in GRANULARITIES]
            shown = f"({question.answer})" if question.answer_type == "letter" else question.answer
            mark = "=> " if format == "symbolic" else ": "
            assert {text.splitlines()[-1].rpartition(mark)[2] for text in written} == {shown}
            num_words = [len(text.split()) for text in written]
            assert num_words == sorted(set(num_words))


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_rationales_are_small_enough_for_small_models(kind: str) -> None:
    questions = questions_of(kind)
    assert mean(lengths(questions, 3, "cot")) < 60
    assert mean(lengths(questions, 6, "cot")) < 200


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_difficulty_adds_steps(kind: str) -> None:
    num_lines = [
        mean(write_rationale(question, 3, "cot").count("\n") for question in questions_of(kind, difficulty))
        for difficulty in (1, 2, 3, 4)
    ]
    assert num_lines == sorted(set(num_lines))


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_formats_keep_the_steps_and_differ_in_their_form(kind: str) -> None:
    for question in questions_of(kind, count=20):
        plain, asked, restated, symbolic = (write_rationale(question, 3, format).splitlines() for format in FORMATS)
        assert restated[1:] == plain
        assert len(symbolic) == len(plain) == len(asked)
        assert all(line.endswith(step) and "? " in line for line, step in zip(asked[1:], plain[1:], strict=True))
        assert "=" in symbolic[-2]


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_finer_granularity_keeps_what_a_coarser_one_says(kind: str) -> None:
    """Level 4 and up keep every state of level 3, in its order."""
    for question in questions_of(kind, count=20):
        states = [line.rpartition(": ")[2] for line in write_rationale(question, 3, "cot").splitlines()]
        for granularity in (4, 5, 6):
            lines = iter(write_rationale(question, granularity, "cot").splitlines())
            assert all(any(line.endswith(state) for line in lines) for state in states)


def test_question_read_back_from_disk_has_the_same_rationale() -> None:
    for kind in PROCEDURAL_KINDS:
        question = questions_of(kind, count=1)[0]
        read_back = Question.from_row(json.loads(dump_row(question.to_row())))
        assert read_back == question
        assert write_rationale(read_back, 5, "rar") == write_rationale(question, 5, "rar")


def test_unknown_granularity_or_format_is_refused() -> None:
    question = questions_of("navigate", count=1)[0]
    with pytest.raises(ConfigError, match="at granularity 7; set a granularity from 1 to 6"):
        write_rationale(question, 7, "cot")
    with pytest.raises(ConfigError, match=r"format human.*one of cot, least_to_most, rar, symbolic"):
        write_rationale(question, 3, "human")


def test_question_that_was_not_generated_is_refused() -> None:
    row = questions_of("navigate", count=1)[0].to_row()
    with pytest.raises(DataError, match="'svamp' has no solver"):
        write_rationale(Question.from_row(row | {"task": "svamp"}), 3, "cot")
    with pytest.raises(DataError, match="lacks seed"):
        write_rationale(Question.from_row(row | {"meta": {}}), 3, "cot")
    with pytest.raises(DataError, match="gives another question"):
        write_rationale(Question.from_row(row | {"question": f"{row['question']} Really?"}), 3, "cot")
