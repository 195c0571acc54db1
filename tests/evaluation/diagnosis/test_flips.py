"""Flips between two arms, and what is said to have failed."""

from __future__ import annotations

import time

import pytest

from cotdistill.errors import DataError
from cotdistill.evaluation.diagnosis.flips import Flip, failure_of, find_flips, flips_by_task, has_false_equation
from cotdistill.records import Prediction, Question
from cotdistill.tasks.answers.reading import judge


def question(id_: str = "q", task: str = "sums") -> Question:
    return Question(id_, task, "test", "?", "19", "number")


def prediction(output: str, *, finished: bool = True, id_: str = "q", task: str = "sums") -> Prediction:
    extracted, verdict = judge(output, question(id_, task), finished=finished)
    return Prediction(id_, task, "19", output, extracted, verdict, 5, 5)


RIGHT, WRONG = "12 + 7 = 19. The answer is 19.", "12 + 8 = 20. The answer is 20."


@pytest.mark.parametrize(
    ("output", "finished", "failure"),
    [
        ("First we add 12 and", False, "length"),
        ("So that makes 19 apples", True, "format"),
        ("I do not know.", True, "format"),
        ("12 + 7 = 18. The answer is 18.", True, "arithmetic"),
        (WRONG, True, "reasoning"),
    ],
)
def test_what_failed_is_told_from_the_output(output, finished, failure):
    assert failure_of(prediction(output, finished=finished), question()) == failure


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("12 + 7 = 19", False),
        ("12 + 7 = 18", True),
        ("1,200 - 300 = 900", False),
        ("7 / 3 = 2.33", False),
        ("7 / 2 = 3", True),
        ("7 / 0 = 3", True),
        ("2 * 3.5 = 7", False),
        ("3 × 4 = 14", True),
        ("2 + 3 + 4 = 9", False),  # the end of a longer sum is no equation of two numbers
        ("3 + 4 = 7 + 1 = 8", False),
        ("5 - 8 = -3", False),
        ("5 - 8 = 3", True),
        ("x1 + 2 = 4", False),
        ("no numbers", False),
        ("", False),
    ],
)
def test_false_equations(text, false):
    assert has_false_equation(text) == false


@pytest.mark.parametrize("piece", ["1 + ", "9", "1 + 1 = ", "1.", ",", "= 2 ", "1 + 1 = 2 "])
def test_a_megabyte_is_searched_within_a_second(piece):
    started = time.process_time()
    has_false_equation(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 1


def test_flips_are_counted_by_task_with_significance():
    tasks = {"easy": ([RIGHT] * 9 + [WRONG], [WRONG] * 9 + [WRONG]), "hard": ([WRONG, RIGHT], ["19", RIGHT])}
    questions, a, b = [], [], []
    for task, (ours, theirs) in tasks.items():
        questions += [question(str(i), task) for i in range(len(ours))]
        a += [prediction(output, id_=str(i), task=task) for i, output in enumerate(ours)]
        b += [prediction(output, id_=str(i), task=task) for i, output in enumerate(theirs)]
    easy, hard = flips_by_task(questions, a, b)
    assert (easy.task, easy.n, easy.gained, easy.lost) == ("easy", 10, 9, 0)
    assert easy.failures_of_gained == {"reasoning": 9}
    assert easy.p_value == pytest.approx(2 / 2**9)
    assert easy.adjusted_p_value == pytest.approx(4 / 2**9)
    assert (hard.gained, hard.lost, hard.failures_of_lost) == (0, 0, {})
    assert find_flips(questions, b, a)[0] == Flip("0", "easy", False, "reasoning")
    with pytest.raises(DataError, match="the question '0' of task easy is missing"):
        find_flips([], a, b)
