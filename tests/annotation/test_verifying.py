"""Many rationales are verified by several processes, and with the same result as by one."""

from __future__ import annotations

import random

import pytest

from cotdistill.annotation import verifying
from cotdistill.annotation.keep import refusal
from cotdistill.annotation.rationales import Dropped, Missing
from cotdistill.annotation.verifying import Found, with_refusals
from cotdistill.records import Question, Rationale

TEXTS = (
    "He has 3 + 4 = 7 apples.",
    "He has 3 + 4 = 8 apples, so 7.",
    "It is 7\ud83d, or half a face.",
    "",
    "apples " * 60,
    "So 2 + 2 = ?",
)


@pytest.fixture
def found() -> list[Found]:
    draw = random.Random(0)
    made: list[Found] = []
    for number in range(60):
        question = Question(f"q{number}", "own", "train", "How many?", "7", "number", meta={"level": number})
        said = {"teacher_answer": draw.choice(("7", "8", None)), "teacher_agrees": draw.random() < 0.8}
        rationale = Rationale(question, draw.choice(TEXTS), "t", 3, "cot", said)
        made.append(Missing(question, "no_rationale") if number % 9 == 4 else rationale)
    return made


def plain(found: list[Found]) -> list[tuple[Found, Dropped | None]]:
    return [
        (one, Dropped(one.question.id, one.reason) if isinstance(one, Missing) else refusal(one, "verified"))
        for one in found
    ]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two processes, which get seven rationales at a time; the number of each that is started."""
    monkeypatch.setattr(verifying, "num_processors", lambda: 2)
    monkeypatch.setattr(verifying, "CHUNK", 7)
    started: list[int] = []
    start = verifying._started

    def counted():
        process = start()
        started.append(process.pid)
        return process

    monkeypatch.setattr(verifying, "_started", counted)
    return started


def test_several_processes_refuse_what_one_does_in_the_same_order(found: list[Found], several: list[int]) -> None:
    assert list(with_refusals(iter(found), "verified")) == plain(found)
    assert len(several) == 2


def test_few_rationales_and_other_rules_start_no_process(found: list[Found], several: list[int]) -> None:
    assert list(with_refusals(found[:7], "verified")) == plain(found[:7])
    assert [
        refused for _, refused in with_refusals(found, "all") if refused and refused.reason == "false_arithmetic"
    ] == []
    assert several == []


def test_what_a_process_does_not_answer_is_verified_without_it(
    found: list[Found], several: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = verifying._asked

    def killed(process, rows):
        process.kill()
        return asked(process, rows)

    monkeypatch.setattr(verifying, "_asked", killed)
    assert list(with_refusals(found, "verified")) == plain(found)


def test_processes_end_when_the_rest_is_not_wanted(found: list[Found], several: list[int]) -> None:
    rows = with_refusals(found, "verified")
    next(rows)
    rows.close()
    assert len(several) == 2
