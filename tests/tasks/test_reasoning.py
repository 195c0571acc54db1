"""What is thought and what is said, told apart by the marks that models and servers use."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.tasks.reasoning import marks_open, split_reasoning, without_marks

PAIRS = [
    ("<think>", "</think>"),
    ("<think>\n", "\n</think>\n\n"),
    ("<Thinking>", "</Thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought\n", "\n<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    (" to=self<|message|>", "<|eom|><|start|>assistant to=user<|message|>"),
]


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_each_kind_of_marks_is_known(opening: str, closing: str) -> None:
    assert split_reasoning(f"{opening}Is it 3?\n\nNo.{closing}It is 4.") == ("Is it 3?\n\nNo.", "It is 4.", True)
    assert split_reasoning(f"Is it 3?{closing}It is 4.") == ("Is it 3?", "It is 4.", True), "the prompt opened it"
    assert split_reasoning(f"{opening}Is it 3? But then") == ("Is it 3? But then", "", False)
    assert split_reasoning(f"{opening}{closing}It is 4.") == (None, "It is 4.", True)
    assert without_marks(f"{opening}Is it 3?") == "Is it 3?"
    assert marks_open(f"What is 2 + 2?\n{opening}").strip() == opening.strip()
    assert not marks_open(f"What is 2 + 2?\n{opening}{closing}")


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("It is 4.\n", (None, "It is 4.\n", True)),
        ("<think>One.</think>It is 3.<think>Two.</think> Or 4.", ("One.\n\nTwo.", "It is 3. Or 4.", True)),
        ("Let me see. <think>Hm", ("Hm", "Let me see.", False)),
        ("<think>One <think>two</think>It is 4.", ("One\n\ntwo", "It is 4.", True)),
        ("One.</think>Two.</think>It is 4.", ("One.\n\nTwo.", "It is 4.", True)),
        ("analysisWe add.assistantfinalIt is 4.", ("We add.", "It is 4.", True)),
        ("analysis of the rows: 4", (None, "analysis of the rows: 4", True)),
        (
            "<|channel|>analysis<|message|>We.<|end|><|start|>assistant<|channel|>final<|message|>It is 4.<|return|>",
            ("We.", "It is 4.", True),
        ),
        ("if a <b> think> c", (None, "if a <b> think> c", True)),
    ],
)
def test_what_is_thought_and_what_is_said(text: str, split: tuple[str | None, str, bool]) -> None:
    assert split_reasoning(text) == split


def test_a_models_own_marks_are_the_only_ones() -> None:
    text = "<think>ab<plan>cd</plan>ef"
    assert split_reasoning(text, ("<plan>", "</plan>")) == ("cd", "<think>abef", True)


@given(st.lists(st.sampled_from(["<think>", "</think>", "one ", "two ", "\n", "[THINK]", "<|channel|>"]), max_size=12))
def test_no_word_is_lost_or_made_up(pieces: list[str]) -> None:
    reasoning, visible, _ = split_reasoning("".join(pieces))
    words = ["one", "two"]
    found = [word for word in f"{reasoning or ''} {visible}".split() if word in words]
    if "<|channel|>" not in pieces:
        assert sorted(found) == sorted(piece.strip() for piece in pieces if piece.strip() in words)
    assert "think>" not in visible


def test_long_texts_take_no_time() -> None:
    started = time.process_time()
    for text in ("<" * 200_000, "<|channel|>analysis" * 20_000, "<think>" * 50_000, "analysis(" + "a" * 500_000):
        split_reasoning(text)
    assert time.process_time() - started < 2
