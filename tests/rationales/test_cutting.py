"""Cutting a rationale: whole sentences, and units that stay whole."""

from __future__ import annotations

import pytest

from cotdistill.rationales.cutting import cut


def beginnings(text: str) -> list[str]:
    """Every text that some limit of characters cuts ``text`` to, the shortest first."""
    found = [cut(text, limit) for limit in range(len(text))]
    return list(dict.fromkeys(one for one in found if one))


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("We add. Then we stop. Done.", ["We add.", "We add. Then we stop."]),
        ("Is it 5? Yes! It is.", ["Is it 5?", "Is it 5? Yes!"]),
        ("It costs 3.50 each, e.g. two cost 7. Dr. Who pays.", ["It costs 3.50 each, e.g. two cost 7."]),
        ("Hmm... wait, no. So 4.", ["Hmm... wait, no."]),
        ("3 * 4 = 12\n12 - 5 = 7\nSo seven are left.", ["3 * 4 = 12", "3 * 4 = 12\n12 - 5 = 7"]),
        ("A line that was wrapped by an\neditor. And so on it\ngoes.", ["A line that was wrapped by an\neditor."]),
        ("First, the sum:\n\n12 + 3 = 15\n\nThen the rest.", ["First, the sum:\n\n12 + 3 = 15"]),
        ("We have $a = 1. b = 2$ here. Then c.", ["We have $a = 1. b = 2$ here."]),
        ("It is \\[x = 1.\n\ny = 2.\\] for both. Done.", ["It is \\[x = 1.\n\ny = 2.\\] for both."]),
        ("See. ```\na. B\n\nc. D\n``` is run. End.", ["See.", "See. ```\na. B\n\nc. D\n``` is run."]),
        (
            "So. \\begin{align}x. Y\\\\ z. W\\end{align} holds. End.",
            ["So.", "So. \\begin{align}x. Y\\\\ z. W\\end{align} holds."],
        ),
        ('He says "Stop. Now." and goes. She stays.', ['He says "Stop. Now." and goes.']),
        ("It is (see above. Or below) so. Yes.", ["It is (see above. Or below) so."]),
        ("我们先加。然后停。完", ["我们先加。", "我们先加。然后停。"]),
        ("no sentence ends here", []),
        ("", []),
    ],
)
def test_a_text_is_cut_behind_whole_sentences(text: str, ends: list[str]) -> None:
    assert beginnings(text) == ends


def test_a_list_stays_whole_where_something_before_it_fits() -> None:
    before, items = "There are three ways.", "1. Add them.\n2. Take one. Then two.\n   And so on.\n3. Stop."
    text = f"{before}\n{items}\nThen we choose. Good."
    assert beginnings(text) == [before, f"{before}\n{items}", f"{before}\n{items}\nThen we choose."]


def test_a_text_that_is_one_list_is_cut_between_its_items() -> None:
    assert beginnings("1. Add 3.\n2. Take 4.\n3. Stop.") == ["1. Add 3.", "1. Add 3.\n2. Take 4."]
    assert beginnings("| a | b |\n| 1 | 2 |\n| 3 | 4 |")[-1] == "| a | b |\n| 1 | 2 |"


def test_a_long_trace_is_cut_in_a_moment() -> None:
    text = "\n\n".join(f"Wait, let me check ${n} + 1 = {n + 1}$ again. Is it so? I think (yes)." for n in range(20_000))
    found = cut(text, 500_000)
    assert found is not None
    assert 499_000 < len(found) <= 500_000
    assert found.endswith((".", "?"))
