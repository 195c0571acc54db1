"""Other people's readers in the place of ours: what they find, and what is refused."""

from __future__ import annotations

import importlib.util

import pytest

from cotdistill.config import EvaluationConfig, identity
from cotdistill.errors import ConfigError
from cotdistill.evaluation.readers import judge_of
from cotdistill.records import AnswerType, Question


def question(answer: str = "34", answer_type: AnswerType = "number") -> Question:
    return Question("q", "own", "test", "?", answer, answer_type)


def test_our_own_reader_is_the_default_and_names_nothing_anew() -> None:
    assert EvaluationConfig().reader == "cotdistill"
    assert identity(EvaluationConfig()) == identity(EvaluationConfig(reader="cotdistill"))
    assert judge_of("cotdistill", [question()])("The answer is 34.", question(), True) == ("34", "correct")
    first = judge_of("cotdistill", [question()], first=True)
    assert first("The answer is 34.\nThe answer is 6.", question(), True) == ("34", "correct")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("They are 34 in all.", ("34", "correct")),
        ("So $x = \\frac{68}{2}$.", ("x = \\frac{68}{2}", "correct")),
        ("They are 6.", ("6", "wrong")),
        ("I cannot say.", (None, "unreadable")),
    ],
)
def test_math_verify_reads_where_we_do_not(output: str, expected: tuple[str | None, str]) -> None:
    pytest.importorskip("math_verify")
    assert judge_of("math_verify", [question()])(output, question(), True) == expected
    if expected[0] is None:
        assert judge_of("math_verify", [question()])(output, question(), False) == (None, "truncated")


def test_lm_eval_reads_the_last_number_and_what_follows_the_answer_is() -> None:
    pytest.importorskip("lm_eval")
    number, stated = question("1200"), question("Yes", "yes_no")
    assert judge_of("lm_eval", [number])("6 and then $1,200 in all", number, True) == ("$1,200", "correct")
    assert judge_of("lm_eval", [stated])("So the answer is Yes.", stated, True) == ("Yes", "correct")
    assert judge_of("lm_eval", [stated])("Yes", stated, True) == (None, "unreadable")


def test_a_reader_that_is_not_installed_or_does_not_read_a_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"reader: lm_eval: this needs the package lm_eval; pip install"):
            judge_of("lm_eval", [question()])
    pytest.importorskip("math_verify")
    with pytest.raises(ConfigError, match=r"math_verify does not read answers of the type yes_no \(own\)"):
        judge_of("math_verify", [question("Yes", "yes_no")])
