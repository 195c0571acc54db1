"""Verdicts: golden cases of our own, properties, adversarial text, and the released data."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from cotdistill.records import ANSWER_TYPES, VERDICTS, AnswerType, Question
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.answers.reading import extract_answer, judge, same_answer
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.answers.types import read_gold

GOLDEN = Path(__file__).parents[2] / "golden" / "answers.jsonl"
CASES = list(read_rows(GOLDEN))


def question_of(answer: str, answer_type: AnswerType, choices: list[str] | None = None) -> Question:
    return Question("q", "own", "test", "?", answer, answer_type, tuple(choices) if choices else None)


def test_golden_verdicts() -> None:
    wrong = []
    for case in CASES:
        question = question_of(case["answer"], case["answer_type"], case["choices"])
        extracted, verdict = judge(case["output"], question, finished=case["finished"])
        if (extracted, verdict) != (case["extracted"], case["verdict"]):
            wrong.append((case, extracted, verdict))
    assert not wrong, json.dumps(wrong[:5], indent=1)


def test_golden_cases_cover_types_and_verdicts() -> None:
    assert len(CASES) >= 100
    counts = Counter((case["answer_type"], case["verdict"]) for case in CASES)
    assert set(counts) == {(answer_type, verdict) for answer_type in ANSWER_TYPES for verdict in VERDICTS}


@pytest.mark.parametrize(
    ("text", "answer_type", "choices", "canonical"),
    [
        ("19.0", "number", None, "19"),
        ("$1,250.50", "number", None, "1250.5"),
        ("6/8", "number", None, "3/4"),
        ("many", "number", None, None),
        ("(b)", "letter", ["red", "blue"], "B"),
        ("Blue", "letter", ["red", "blue"], "B"),
        ("C", "letter", ["red", "blue"], None),
        ("bluebell", "letter", ["red", "blue"], None),
        ("red", "letter", ["red", "Red "], None),
        ("true", "true_false", None, "True"),
        ("no", "yes_no", None, "No"),
        ("perhaps", "yes_no", None, None),
        ("b, a and c", "list", None, "b a c"),
        ("  the  old mill. A ruin ", "text", None, "the old mill. A ruin"),
    ],
)
def test_gold_answers_become_canonical(
    text: str, answer_type: AnswerType, choices: list[str] | None, canonical: str | None
) -> None:
    assert read_gold(text, answer_type, choices) == canonical


def test_any_number_survives_being_written_and_read_in_any_dress() -> None:
    draw = random.Random(7)
    for _ in range(2000):
        number = draw.choice([draw.randint(-20, 20), draw.randint(-(10**9), 10**9), draw.randint(-9999, 9999) / 100])
        written = draw.choice([f"{number}", f"{number:,}", f"${number:,}", f"**{number}**", f"{number} apples"])
        statement = draw.choice(["The answer is {}.", "So the answer is: {}", "1 + 1 = 2. The answer is x = {}."])
        output = statement.format(written)
        extracted = extract_answer(output, "number")
        assert same_answer(extracted, str(number), "number"), (output, extracted)
        assert not same_answer(extracted, str(number + 1), "number")


def test_a_wrong_letter_is_never_taken_for_a_right_one() -> None:
    choices = ["a red kite", "kites", "a", "the wind", "rain"]
    for stated, word in zip("ABCDE", choices, strict=True):
        for written in (stated, f"({stated})", f"{stated})", f"{stated}. {word}", f"**{stated}**"):
            extracted = extract_answer(f"The answer is {written}.", "letter", choices)
            assert extracted == stated, written


def test_numbers_compare_by_value_and_words_in_any_case() -> None:
    assert same_answer("19", "19.0", "number")
    assert same_answer("0.5", "1/2", "number")
    assert not same_answer("0.33", "1/3", "number")
    assert same_answer("the Old Mill", "old mill.", "text")
    assert not same_answer("19 mills", "19", "text")
    assert not same_answer(None, "", "text")


ADVERSARIAL = [
    "a", " ", "\n", "\t", ". ", " \n", "\n ", "Q:\n", "Question:", "and ", "a,", "= ", "(", "'", "9", "1/", "1,234",
    "answer is ", "the answer is -", "So the answer is 5. ", "answer is not ", "most likely ", "\\boxed{", "{", "{}",
    "}", "\\text{\\frac{", "**", "\x00\x1b[31m", "(a+)+$", "\ud800", "<b>",
]  # fmt: skip


def test_a_megabyte_of_anything_is_judged_within_a_second() -> None:
    slow = []
    types = itertools.cycle(ANSWER_TYPES)
    for piece in ADVERSARIAL:
        repeated = piece * (1_000_000 // len(piece))
        for text in (repeated, f"The answer is {repeated}"):
            for answer_type in (next(types), next(types), next(types)):
                started = time.process_time()
                judge(text, question_of("5", answer_type, ["5", "(a+)+$", "**"]), finished=answer_type != "list")
                if time.process_time() - started > 1:
                    slow.append((answer_type, text[:40]))
        started = time.process_time()
        clean_rationale(repeated)
        if time.process_time() - started > 1:
            slow.append(("rationale", repeated[:40]))
        next(types)  # so that each form of text meets every type
    assert not slow


@pytest.mark.shared
def test_stated_answers_of_the_release_are_read_as_its_preparation_read_them(shared_data: Path) -> None:
    same = total = 0
    for path in sorted((shared_data / "eit_cot").glob("*SVAMP_*level*.jsonl.gz")):
        for row in read_rows(path):
            if (stated := row["meta"]["teacher_answer"]) is not None:
                total += 1
                same += same_answer(extract_answer(row["output"], "number"), stated, "number")
    assert total > 15_000
    assert same / total >= 0.995
