"""What is kept of what teachers write, and what is said of the rest."""

from __future__ import annotations

from typing import get_args

import pytest

from cotdistill.annotation.keep import Keep, refusal
from cotdistill.records import Question, Rationale


def rationale(text: str, **meta: object) -> Rationale:
    question = Question("q", "own", "train", "Ann has 50 pens and buys 24. How many has she then?", "74", "number")
    return Rationale(question, text, "someone", 3, "cot", {"teacher_answer": "74", "teacher_agrees": True} | meta)


@pytest.mark.parametrize("keep", get_args(Keep))
@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("length", "truncated"), ("content_filter", "filtered"), ("error", "failed")]
)
def test_what_a_teacher_did_not_finish_is_kept_only_with_all(keep: Keep, finish_reason: str, reason: str) -> None:
    dropped = refusal(rationale("50 + 24 = 74.", finish_reason=finish_reason), keep)
    if keep == "all":
        assert dropped is None
        return
    assert dropped is not None
    assert (dropped.reason, dropped.rationale) == (reason, "50 + 24 = 74.")


@pytest.mark.parametrize("finish_reason", ["stop", None, "end_turn"])
def test_what_it_finished_is(finish_reason: str | None) -> None:
    for keep in get_args(Keep):
        assert refusal(rationale("50 + 24 = 74.", finish_reason=finish_reason), keep) is None


def test_verification_names_the_first_fault_and_shows_it() -> None:
    wrong = rationale("50 + 24 = 73.", teacher_answer="73")
    dropped = refusal(wrong, "verified")
    assert dropped is not None
    assert (dropped.id, dropped.reason, dropped.evidence) == ("q", "false_arithmetic", "50 + 24 = 73")
    assert refusal(wrong, "agree") is None
