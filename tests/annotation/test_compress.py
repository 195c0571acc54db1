"""Shorter rationales: the first share, and a teacher's rewriting behind a real server, checked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.annotation.teachers.faulty_server import FaultyServer

from cotdistill.annotation import AnnotationRequest, annotate, plan
from cotdistill.annotation.compress import compress
from cotdistill.annotation.rationales import Rationales
from cotdistill.config import AnnotationConfig, HumanTeacher, KeepFirst, Limits, OpenAITeacher, Rewritten, validated
from cotdistill.errors import ConfigError
from cotdistill.records import Question, Rationale

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")


def rationale(text: str | None, number: int = 0, reasoning: str | None = None) -> Rationale:
    question = Question(f"q{number}", "own", "train", f"What is {number} + 1?", str(number + 1), "number")
    return Rationale(question, text, "human", None, "human", {}, reasoning)


FOUR = "First we look. Then we add 3.5 and 1.\nThat gives 4.5! So we are done."


@pytest.mark.parametrize(
    ("keep_first", "expected"),
    [
        (0.2, "First we look."),
        (0.25, "First we look."),
        (0.5, "First we look. Then we add 3.5 and 1."),
        (0.51, "First we look. Then we add 3.5 and 1.\nThat gives 4.5!"),
        (0.75, "First we look. Then we add 3.5 and 1.\nThat gives 4.5!"),
    ],
)
def test_the_first_share_ends_with_a_whole_sentence(keep_first: float, expected: str) -> None:
    (made,), paid = compress([rationale(FOUR)], KeepFirst(keep_first=keep_first))
    assert (made.rationale, made.meta["compressed"], paid) == (expected, "shortened", (0, 0))


def test_by_words_the_share_is_exact_and_what_is_one_sentence_stays() -> None:
    (made,), _ = compress([rationale("one two three four five")], KeepFirst(keep_first=0.5, unit="words"))
    assert made.rationale == "one two three"
    kept, _ = compress([rationale("Just one sentence."), rationale(None)], KeepFirst(keep_first=0.5))
    assert [one.rationale for one in kept] == ["Just one sentence.", None]
    assert Rationales(tuple(kept)).compressed == {"not_shorter": 1}


def test_reasoning_that_is_kept_apart_is_what_is_shortened() -> None:
    (made,), _ = compress([rationale("What is said.", reasoning=FOUR)], KeepFirst(keep_first=0.25))
    assert (made.rationale, made.reasoning) == ("What is said.", "First we look.")


LONG = "We have a number here. We are to add one to it. Adding one gives the next number, which is {n}."


def shorten(prompt: str) -> str:
    """By the question's number: shorter and right; another answer; none; longer; nothing; nothing but a thought."""
    number = int(re.findall(r"What is (\d+) \+ 1\?", prompt)[-1])
    assert f"The answer is {number + 1}.\n\nThe same solution, shorter:" in prompt
    answer = f"The answer is {number + 1}."
    forms = [
        f"{number} + 1.\n{answer}", "Short.\nThe answer is 99.", "Short.", f"{LONG} And more.\n{answer}", answer,
        f"<think>Easy.</think>{answer}",
    ]  # fmt: skip
    return forms[number % len(forms)]


def test_a_rewriting_is_taken_if_it_states_the_same_in_fewer_words_and_all_others_are_counted(tmp_path: Path) -> None:
    questions = [
        Question(f"q{n}", "own", "train", f"What is {n} + 1?", str(n + 1), "number", None, LONG.format(n=n + 1))
        for n in range(12)
    ]
    with FaultyServer(shorten) as server:
        limits = Limits(concurrency=8, timeout_seconds=60)
        rewriting = Rewritten(teacher=OpenAITeacher(model="m", base_url=server.url, limits=limits))
        config = AnnotationConfig(compress=rewriting, decontaminate="off")
        before = plan(AnnotationRequest(questions, HumanTeacher(), config), tmp_path)
        made = annotate(questions, HumanTeacher(), config, runs=tmp_path)
        asked = len(server.requests) if hasattr(server, "requests") else None
        assert annotate(questions, HumanTeacher(), config, runs=tmp_path) == made
        assert asked is None or len(server.requests) == asked
    assert before.estimate.requests == 12
    assert [one.rationale for one in made][:6] == ["0 + 1.", *(LONG.format(n=n + 1) for n in range(1, 6))]
    expected = {"another_answer": 2, "empty_rationale": 4, "no_stated_answer": 2, "not_shorter": 2, "shortened": 2}
    assert made.compressed == expected
    assert made.path is not None
    summary = json.loads((made.path / "summary.json").read_text())
    assert summary["compressed"] == expected
    assert summary["tokens"][0] > 0
    assert len(list(tmp_path.glob("completions/*/completions.jsonl"))) == 1


def test_only_what_is_set_is_in_the_key_of_an_annotation(tmp_path: Path) -> None:
    questions = [rationale(FOUR).question]
    configs = [AnnotationConfig(), *(AnnotationConfig(compress=KeepFirst(keep_first=share)) for share in (0.3, 0.5))]
    paths = {plan(AnnotationRequest(questions, HumanTeacher(), config), tmp_path).path for config in configs}
    assert len(paths) == 3


def test_the_kind_follows_from_what_is_given() -> None:
    first = validated(AnnotationConfig, {"compress": {"keep_first": 0.5}}, where="annotation")
    asked = {"teacher": {"kind": "openai", "model": "m"}}
    rewritten = validated(AnnotationConfig, {"compress": asked}, where="annotation")
    assert (type(first.compress), type(rewritten.compress)) == (KeepFirst, Rewritten)
    with pytest.raises(ConfigError, match="keep_first"):
        validated(AnnotationConfig, {"compress": {"keep_first": 1.0}}, where="annotation")
