"""What is left of a rationale without its closing statement: all of the reasoning, laid out and marked as before."""

from __future__ import annotations

import pytest

from cotdistill.tasks.answers.stripping import clean_rationale, split_statement


@pytest.mark.parametrize(
    ("text", "reasoning", "stated"),
    [
        ("12 + 7 = 19. The answer is 19.", "12 + 7 = 19.", "19."),
        ("12 + 7 = 19.\nSo the answer is **19**.", "12 + 7 = 19.", "**19**."),
        ("Add both, so the answer is 19", "Add both.", "19"),
        ("It shines. Therefore, the correct answer is (B) the sun.", "It shines.", "(B) the sun."),
        ("The answer is 19.", "", "19."),
        ("So, the answer is 8. The answer is 8", "", "8"),
        ("12 + 7 = 19", "12 + 7 = 19", None),
        ("The answer is 19 because 12 + 7 = 19.", "The answer is 19 because 12 + 7 = 19.", None),
        ("The answer is 18. That was hasty: 12 + 7 = 19.", "The answer is 18. That was hasty: 12 + 7 = 19.", None),
    ],
)
def test_a_closing_statement_is_split_off(text: str, reasoning: str, stated: str | None) -> None:
    assert split_statement(text) == (reasoning, stated)


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("def f(n):\n    return 1\n\nf(1) gives 1. The answer is 1.", "def f(n):\n    return 1\n\nf(1) gives 1."),
        ("| a | b |\n|  1 |  2 |\n\nThe answer is 3.", "| a | b |\n|  1 |  2 |"),
        ("    x = 1\n    if x:\n        y = 2", "x = 1\nif x:\n    y = 2"),
        (" First, add.\nThen stop.\r\nThe answer is 4.", "First, add.\nThen stop."),
        ("<think>\nmaybe 5?\n</think>\nNo, 6.\nThe answer is 6.", "maybe 5?\nNo, 6."),
    ],
)
def test_layout_is_kept_and_tags_around_thinking_are_not(text: str, reasoning: str) -> None:
    assert clean_rationale(text) == reasoning


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("It is **7**.\n**The answer is 7.**", "It is **7**."),
        ("It is **7**\n* The answer is 7", "It is **7**"),
        ("**It is 3 + 4. The answer is 7.**", "**It is 3 + 4.**"),
        ("We add (3 + 4, so the answer is 7).", "We add (3 + 4)."),
        ("We add 3 and 4. (The answer is 7.)", "We add 3 and 4."),
        ('She says "I have 3 + 4. The answer is 7."', 'She says "I have 3 + 4."'),
        ("“Add them. So the answer is 7.”", "“Add them.”"),
        ("It costs $3 and $4. The answer is $7.", "It costs $3 and $4."),
        ("Since $x = 3$, $x + 4 = 7$. The answer is $7$.", "Since $x = 3$, $x + 4 = 7$."),
        ("We have \\[ 3 + 4 = 7, \\text{ so the answer is } 7 \\]", "We have \\[ 3 + 4 = 7\\]."),
        ("```\nprint(3 + 4)\nThe answer is 7\n```", "```\nprint(3 + 4)\n```"),
        ("The sum is 7.\n\n## The answer is 7", "The sum is 7."),
        ("It is 7.\nThe final answer is:\n\\[\n\\boxed{7}\n\\]", "It is 7."),
    ],
)
def test_marks_stay_in_pairs(text: str, reasoning: str) -> None:
    assert clean_rationale(text) == reasoning


def test_cleaning_again_changes_nothing() -> None:
    for text in (
        "a  b.\n\n c. The answer is 3.",
        "So, the answer is 8. The answer is 8",
        "x, so the answer is 4",
        "(x, so the answer is 4)",
        "** The answer is 4. The answer is 4**",
    ):
        assert clean_rationale(clean_rationale(text)) == clean_rationale(text)
