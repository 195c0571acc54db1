"""Statements: the forms in which models state an answer, and what is none.

Changes to golden verdicts, each for one reason: numbers in words and whole calculations are read ("nineteen", "zero",
"12 + 7", "19 * 2", "2^19"); of several numbers none is the answer ("12 of plums and 7 of pears"); a letter with another
choice's text is none ("D) the sun"); "incorrect" is said of an answer and is none; "not True" is False; and "the answer
should be" states one (one output of ChatGPT on SVAMP, and one solution of AQuA).
"""

from __future__ import annotations

import time

import pytest

from cotdistill.records import AnswerType, Question, Verdict
from cotdistill.tasks.answers.reading import extract_answer, judge

CITIES = ("Oslo", "Lima", "Cairo", "Quito")


def question_of(answer: str, answer_type: AnswerType = "number") -> Question:
    choices = CITIES if answer_type == "letter" else None
    return Question("q", "own", "test", "?", answer, answer_type, choices)


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("So the final answer is:\n\\[\n\\boxed{34}\n\\]", "34"),
        ("The final answer is\n\n$$ 34 $$", "34"),
        ("The answer is:\n- 34 shells", "34"),
        ("The answer is:\n- 34", "34"),
        ("The answer is:\n\n**34**", "34"),
        ("## Final Answer\n\n34", "34"),
        ("**Final Answer**\n34", "34"),
        ("**Answer: 34**", "34"),
        ("**Answer:** 34", "34"),
        ("Answer = 34", "34"),
        ("The answer should be 34.", "34"),
        ("The answer would be 34.", "34"),
        ("30 + 4 = 34\n#### 34", "34"),
        ("30 + 4 = 34\n#### $3,400", "3400"),
        ("#### Step 1\nAdd 30 and 4.\n#### Step 2\nThat is all.", None),
        ("Thus \\fbox{34}", "34"),
        ("Thus $x = \\boxed{34}$ cm", "34"),
        ("Thus \\boxed{48{,}000}", "48000"),
        ("Thus \\boxed{2\\sqrt{5}}", None),
        ("Thus $\\boxed{6}\\pi$", None),
        ("\\boxed{2} and \\boxed{6}", None),
        ("<answer>34</answer>", "34"),
        ('{"answer": 34}', "34"),
        ('{"reasoning": "30 + 4", "final_answer": "34"}', "34"),
        ("因此答案是34。", "34"),
        # the last statement counts, remarks are none
        ("The answer is 30. No, I forgot 4. The answer is 34.", "34"),
        ("The answer is 34. I hope that the answer is clear.", "34"),
        ("\\boxed{34}\nThe answer is reasonable.", "34"),
        ("\\boxed{34}\nThis answer is consistent with 2 conditions.", "34"),
        ("The answer is correct if y > 2.\n\nThus \\boxed{34}.", "34"),
        ("The answer is 34. So the answer is 2y + 1.", None),
        # corrections, questions, conditions
        ("The answer is 30, no wait, 34.", "34"),
        ("The answer is 30. Wait, no, I forgot 4. 30 + 4 = 34, so it is 34.", "34"),
        ("The answer is 30. No, that cannot be.", None),
        ("The answer is 30? no. \\boxed{34}", "34"),
        ("The answer is not 30 but 34.", "34"),
        ("The answer is 34. If y were 2, the answer is 6.", None),
        ("If we add 4 to 30, the answer is 34.", "34"),
        ("If y is even, the answer is 6. If it is odd, the answer is 8.", None),
        # no answer
        ("If it rains, the answer is 6. So it depends.", None),
        ("The answer is 6. Then again, the answer depends on y.", None),
        ("Say the answer is 6. But there is no answer to this.", None),
        ("The answer is 6 or so. Hence it cannot be determined.", None),
        ("The answer is 6. The answer is unknown.", None),
    ],
)
def test_stated_numbers(output: str, answer: str | None) -> None:
    assert extract_answer(output, "number") == answer


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("**Answer: B**", "B"),
        ("**Answer:** B", "B"),
        ("Final Answer: (B)", "B"),
        ("Therefore the correct option is B.", "B"),
        ("The correct choice is (B).", "B"),
        ("The answer is B (Lima).", "B"),
        ("The answer is A (Oslo).", "A"),
        ("The answer is （B）.", "B"),
        ("The answer is Ｂ.", "B"),
        ("答案是B。", "B"),
        ("The answer is not A, it is B.", "B"),
        ("The answer is I think B.", "B"),
        ("The answer is A, no wait, B.", "B"),
        ("The answer is (A) Lima.", None),
        ("The answer is one of the others, which excludes (A).", None),
        ("The answer is unclear, although (B) is tempting.", None),
        ("The answer is (A). So the answer is (A) or (B).", None),
    ],
)
def test_stated_letters(output: str, answer: str | None) -> None:
    assert extract_answer(output, "letter", CITIES) == answer


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("The answer is no doubt yes.", "Yes"),
        ("The answer is nope.", "No"),
        ("The answer is a clear no.", "No"),
        ("The answer is yes? No, it cannot.", "No"),
        ("The answer is not true.", "No"),
        ("The answer is untrue.", "No"),
        ("The answer is: not false.", "Yes"),
        ("The answer is correct.", None),
        ("It holds: the answer is correct.", None),
        ("The answer is yes and no.", None),
        ("The answer is yes. Or rather, it depends.", None),
    ],
)
def test_stated_polarity(output: str, answer: str | None) -> None:
    assert extract_answer(output, "yes_no") == answer


@pytest.mark.parametrize(
    ("output", "answer_type", "answer"),
    [
        ("The answer is kiwi, plum & fig.", "list", "kiwi plum fig"),
        ("The answer is:\n- kiwi\n- plum", "list", "kiwi plum"),
        ("The answer is:\n1. kiwi\n2. plum\n\nThat is all.", "list", "kiwi plum"),
        ("So the final answer is:\n\n\\[\n\\boxed{\\text{kiwi plum}}\n\\]", "list", "kiwi plum"),
        ("The answer is vitamin D. It comes from the sun.", "text", "vitamin D"),
        ("The answer is Harry S. Truman. He was elected.", "text", "Harry S. Truman"),
        ("The answer is Mt. Etna. It smokes.", "text", "Mt. Etna"),
        ("The answer is at 5 p.m. on Friday.", "text", "at 5 p.m. on Friday"),
        ("We get \\boxed{34}. Checking: the answer is correct.", "math", "34"),
        ("\\boxed{\\frac{3}{8}}\nThe answer is in simplest form.", "math", "\\frac{3}{8}"),
    ],
)
def test_stated_lists_texts_and_expressions(output: str, answer_type: AnswerType, answer: str) -> None:
    assert extract_answer(output, answer_type) == answer


@pytest.mark.parametrize(
    ("output", "finished", "expected"),
    [
        ("<think>\nSo the answer is 6? wait.\n</think>\n\nThat is $\\boxed{34}$.", True, ("34", "correct")),
        ("<think>the answer is 6</think>\n\n34", True, ("34", "correct")),
        ("the answer is 6, I think</think>The answer is 34.", True, ("34", "correct")),
        ("<reasoning>The answer is 6.</reasoning>The answer is 34.", True, ("34", "correct")),
        ("[THINK]The answer is 6.[/THINK]The answer is 34.", True, ("34", "correct")),
        ("<|channel|>analysis<|message|>The answer is 6.<|end|><|start|>assistant<|channel|>final<|message|>"
         "The answer is 34.", True, ("34", "correct")),
        ("analysisThe answer is 6.assistantfinalThe answer is 34.", True, ("34", "correct")),
        ("<think>The answer is 34.</think>\n", True, (None, "unreadable")),
        ("<think>The answer is 34.", True, (None, "unreadable")),
        ("<think>The answer is 34. But let me", False, (None, "truncated")),
        ("The answer is 34,", False, (None, "truncated")),
        ("The answer is 34/", False, (None, "truncated")),
        ("The answer is 34 ", False, (None, "truncated")),
        ("The answer is 34 million people", False, (None, "truncated")),
        ("The answer is 6. That is wrong. So the answer is 3", False, (None, "truncated")),
        ("Thus \\boxed{34}", False, ("34", "correct")),
        ("The answer is 34.\nAnd", False, ("34", "correct")),
    ],
)  # fmt: skip
def test_thoughts_are_not_graded_and_what_could_go_on_is_truncated(
    output: str, finished: bool, expected: tuple[str | None, Verdict]
) -> None:
    assert judge(output, question_of("34"), finished=finished) == expected


def test_a_question_before_the_statement_ends_nothing() -> None:
    output = "Q: How many are 30 and 4?\nThey are 34.\nThe answer is 34.\n\nQ: And 3 and 3?\nThe answer is 6."
    assert extract_answer(output, "number") == "34"
    assert extract_answer("Question: Where?\nThe answer is Lima.", "letter", CITIES) == "B"


@pytest.mark.parametrize("gold", ["Mt. Etna", "No. 7", "It rains. Stay in", "e.g. this", "A. B. Yates", "5.", "x; y"])
def test_a_gold_text_that_is_stated_to_the_letter_is_correct(gold: str) -> None:
    assert judge(f"So.\nThe answer is {gold}.", question_of(gold, "text"), finished=True)[1] == "correct"
    assert judge(f"The answer is {gold}.\nSo.", question_of(gold, "text"), finished=True, first=True)[1] == "correct"


def test_ten_thousand_outputs_are_read_in_seconds() -> None:
    output = "First add 30 and 4, which makes 34. " * 12 + "So the answer is $3{,}400$ shells."
    started = time.process_time()
    for _ in range(10_000):
        assert extract_answer(output, "number") == "3400"
    assert time.process_time() - started < 10
