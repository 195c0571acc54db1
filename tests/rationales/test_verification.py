"""What verification flags of correct solutions, and of the same with one number made wrong."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from tests.rationales.latex_solutions import SOLUTIONS

from cotdistill.config import BenchmarkTask
from cotdistill.rationales.faults import find_faults
from cotdistill.records import Question, Rationale
from cotdistill.tasks import load_task


def flagged(text: str, answer: str) -> bool:
    question = Question("q", "own", "train", "What is it?", answer, "number")
    return bool(find_faults(Rationale(question, text, "t", 3, "cot")))


def with_one_number_wrong(text: str, seed: str) -> str:
    """``text`` with one of its numbers raised by 1 to 3; which and by how much follows from ``seed``."""
    numbers = list(re.finditer(r"\d+", text))
    chosen = Random(seed).choice(numbers)
    wrong = int(chosen[0]) + 1 + Random(f"{seed}x").randrange(3)
    return f"{text[: chosen.start()]}{wrong}{text[chosen.end() :]}"


def test_there_are_fifty_solutions() -> None:
    assert len(SOLUTIONS) == len(set(SOLUTIONS)) == 50


@pytest.mark.parametrize(("text", "answer"), SOLUTIONS)
def test_correct_latex_is_not_flagged(text: str, answer: str) -> None:
    assert not flagged(text, answer)


def test_latex_with_one_number_wrong_is_flagged_more_often_than_before() -> None:
    wrong = [(with_one_number_wrong(text, f"{text}{n}"), answer) for text, answer in SOLUTIONS for n in range(4)]
    share = sum(flagged(text, answer) for text, answer in wrong) / len(wrong)
    assert share >= BEFORE


BEFORE = 0.56
"""What the reading that knew nothing of LaTeX flagged: 112 of 200, and 11 of the 50 correct solutions."""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\[ \text{Sum} = 6 + 5 = 11 \]", "11"),
        (r"She walks \(4 \times 6 = 24\,\text{miles}\).", "24"),
        (r"\(\frac{9 + 7}{4} = 4\)", "4"),
        ("40 + 3ab = 70 gives ab = 10.", "10"),
        ("She cut 6 / 1/2 = 12 pieces.", "12"),
        ("It is 24 000 / 6 = 4 000 a year.", "4000"),
        ("He earns $36k / 12 = $3k a month.", "3000"),
        ("The rest is 31 - 22 = 9 sq in", "9"),
        ("He falls back: 3 + 2 = 5th place.", "5"),
        ("6!/4! = 30.", "30"),
        ("g(-3) = 4 - 2 = 2", "2"),
        ("11 AM + 3 hours = 2 PM, which is 3 hours later.", "3"),
        ("The shop is open from 9:30 + 2 hours = 11:30, for 2 hours.", "2"),
        ("3/5 = 60, so all of it is 100.", "100"),
        ("90 minutes * 2 = 3 hours, so 3.", "3"),
        ("It costs 7 / 2 = 3,5 euros.", "3.5"),
        ("So **3 + 4 = 7**", "7"),
    ],
)
def test_what_is_right_in_its_own_way_is_left_alone(text: str, answer: str) -> None:
    assert not flagged(text, answer)


@pytest.mark.parametrize(
    "text",
    [
        "3(2 + 5) = 20",
        r"\(\frac{9 + 7}{4} = 5\)",
        r"$2\frac{1}{2} + 1 = 4\frac{1}{2}$",
        r"$2^{10} = 1000$",
        r"$\sqrt{81} = 8 + 2$",
        "24 000 / 6 = 5 000",
        r"$12{,}000 + 500 = 13{,}000$",
        r"\begin{align} x &= 3 + 4 \\ &= 8 \end{align}",
        r"$90^\circ - 30^\circ = 50^\circ$",
        "5!/3! = 10 * 3",
    ],
)
def test_what_is_wrong_is_found_in_any_dress(text: str) -> None:
    found = find_faults(Rationale(Question("q", "own", "train", "What?", "x", "math"), text, "t", 3, "cot"))
    assert [fault.reason for fault in found] == ["false_arithmetic"]


@pytest.mark.shared
def test_people_are_rarely_flagged_and_their_slips_are(shared_data: Path) -> None:
    """Of the 7,473 solutions in GSM8K's training set 0.9 % are flagged, mostly for slips of their own; it was 1.3 %.
    With one number wrong it was 5,212."""
    questions = load_task(BenchmarkTask(name="gsm8k", data_dir=shared_data)).train
    right = wrong = 0
    for question in questions:
        text = question.human_rationale or ""
        right += bool(find_faults(Rationale(question, text, "human", None, "human")))
        text = with_one_number_wrong(text, question.id)
        wrong += bool(find_faults(Rationale(question, text, "human", None, "human")))
    assert right <= 0.01 * len(questions)
    assert wrong >= 5212
