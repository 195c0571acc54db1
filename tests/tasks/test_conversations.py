"""Conversations in and out: every form is read as the same questions, and what is written is read back as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tasks.own import load_all, refusal, write_csv, write_jsonl, write_parquet

from cotdistill.config import FileTask
from cotdistill.errors import DataError
from cotdistill.records import Question, Rationale, Turn
from cotdistill.tasks import load_task
from cotdistill.tasks.drafts import draft_of
from cotdistill.tasks.export import Form, exported

SYSTEM, HELLO, HI = "You are terse.", "Hello, I sort socks.", "Then let us count some."
ASKED, REASON, SAID = "How many are 3 pairs?", "A pair is two. Three times two.", "3 * 2 = 6."
REPLY = f"{SAID} The answer is 6."
TURNS = (Turn("system", SYSTEM), Turn("user", HELLO), Turn("assistant", HI))
MARKED = f"<think>\n{REASON}\n</think>\n\n{REPLY}"


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


BEFORE = [message("system", SYSTEM), message("user", HELLO), message("assistant", HI), message("user", ASKED)]
APART = message("assistant", REPLY, reasoning_content=REASON)

FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [*BEFORE, APART]},
    "thinking": {"messages": [*BEFORE, message("assistant", REPLY, thinking=REASON)]},
    "marks": {"messages": [*BEFORE, message("assistant", MARKED)]},
    "parts": {
        "messages": [
            *[message(one["role"], [{"type": "text", "text": one["content"]}]) for one in BEFORE],
            message("assistant", [{"type": "thinking", "thinking": REASON}, {"type": "text", "text": REPLY}]),
        ]
    },
    "prompt and completion": {"prompt": BEFORE, "completion": [APART]},
    "sharegpt": {
        "conversations": [
            {"from": "system", "value": SYSTEM},
            {"from": "human", "value": HELLO},
            {"from": "gpt", "value": HI},
            {"from": "human", "value": ASKED},
            {"from": "gpt", "value": MARKED},
        ]
    },
    "alpaca": {"instruction": ASKED, "output": MARKED, "system": SYSTEM, "history": [[HELLO, HI]]},
    "columns": {"question": BEFORE, "rationale": SAID, "reasoning": REASON, "answer": 6},
    "gold answer": {"messages": [*BEFORE, APART], "answer": "6"},
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_question(tmp_path: Path, name: str) -> None:
    for write, suffix in ((write_jsonl, "jsonl"), (write_parquet, "parquet")):
        (question,) = load_all(write(tmp_path / f"own.{suffix}", [FORMS[name]]))
        assert (question.turns, question.question, question.answer) == (TURNS, ASKED, "6")
        said = REPLY if name == "gold answer" else SAID
        assert (question.human_reasoning, question.human_rationale) == (REASON, said)


def test_texts_alone_are_a_conversation_of_one_turn(tmp_path: Path) -> None:
    rows = [
        {"prompt": ASKED, "completion": REPLY},
        {"messages": [message("user", ASKED + "?"), message("assistant", "6")]},
        {"instruction": ASKED, "input": "Socks.", "output": f"{SAID}\n#### 6"},
    ]
    plain, short, alpaca = load_all(write_jsonl(tmp_path / "own.jsonl", rows))
    assert {question.turns for question in (plain, short, alpaca)} == {None}
    assert (plain.question, plain.human_rationale, plain.answer) == (ASKED, SAID, "6")
    assert (short.human_rationale, short.answer) == (None, "6")
    assert (alpaca.question, alpaca.human_rationale, alpaca.answer) == (f"{ASKED}\n\nSocks.", SAID, "6")


def test_messages_may_be_json_in_a_cell(tmp_path: Path) -> None:
    import json

    cell = json.dumps([*BEFORE, APART])
    (question,) = load_all(write_csv(tmp_path / "own.csv", [{"messages": cell}]))
    assert (question.turns, question.human_reasoning) == (TURNS, REASON)


TOLD = Question("q", "own", "test", ASKED, "6", "number", turns=TURNS)
GOOD = {"messages": [message("user", "1 + 1?"), message("assistant", "The answer is 2.")]}
LEFT_OUT: dict[str, tuple[str, dict[str, Any]]] = {
    "a tool's turn": ("tool_calls", {"messages": [*BEFORE, message("tool", "6")]}),
    "a call": ("tool_calls", {"messages": [*BEFORE, message("assistant", None, tool_calls=[{"id": "1"}])]}),
    "tools": ("tool_calls", {"messages": [*BEFORE, APART], "tools": [{"name": "add"}]}),
    "an image": (
        "images",
        {"messages": [message("user", [{"type": "image_url", "image_url": {"url": "x"}}]), APART]},
    ),
    "audio": ("audio", {"messages": [message("user", [{"type": "input_audio", "input_audio": {}}]), APART]}),
    "no answer": ("no_stated_answer", {"messages": [*BEFORE, message("assistant", "Socks are warm. " * 9)]}),
    "two users": ("turns_out_of_order", {"messages": [message("user", "a"), message("user", "b"), APART]}),
    "no question": ("no_question", {"messages": [message("system", "a"), APART]}),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_cannot_be_used_is_counted_and_refused_where_it_is_most(tmp_path: Path, name: str) -> None:
    reason, row = LEFT_OUT[name]
    path = write_jsonl(tmp_path / "own.jsonl", [GOOD, row])
    loaded = load_task(FileTask(test=path))
    assert (len(loaded.test), loaded.dropped) == (1, {reason: 1})
    alone = write_jsonl(tmp_path / "own.jsonl", [row, GOOD, row])
    line = refusal(alone)
    assert line.startswith("own.jsonl, line 1: ")
    assert f"(of 3 rows 2 cannot be used: {reason} 2)" in line


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"messages": "hello"}, "messages holds no messages; write "),
        ({"messages": [message("narrator", "x")]}, "unknown role 'narrator'; use system, user and assistant"),
        ({"messages": [message("user", 3)]}, "a message holds int instead of text"),
        ({"messages": [message("user", "1?")]}, "no column 'answer'"),
        ({"instruction": "1?", "output": "2", "history": ["x"]}, "history is no list of pairs"),
    ],
)
def test_what_is_no_conversation_is_refused_by_line(tmp_path: Path, row: Any, line: str) -> None:
    assert refusal(write_jsonl(tmp_path / "own.jsonl", [row])).startswith(f"own.jsonl, line 1: {line}")


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["user", "assistant", "<think>", "\ud800", "[{", "2"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "from", "content", "value", "type", "text", "tool_calls"]), inner)
    ),
    max_leaves=12,
)
_COLUMN = st.sampled_from(
    [
        "messages",
        "conversations",
        "prompt",
        "completion",
        "instruction",
        "output",
        "history",
        "system",
        "question",
        "turns",
    ]
)


@given(row=st.dictionaries(_COLUMN, _ANY, min_size=1, max_size=4))
@settings(max_examples=300)
def test_whatever_a_row_holds_it_is_read_or_refused_in_one_line(row: dict[str, Any]) -> None:
    try:
        draft = draft_of(row, "own.jsonl, line 1", {}, "own", whole_answers=False)
        read = bool(draft.question.strip() and draft.answer.strip())
    except DataError as refused:
        read = str(refused).isprintable()
    assert read


def test_equal_questions_after_other_turns_are_different_rows(tmp_path: Path) -> None:
    other = {"messages": [*BEFORE[2:], APART]}
    rows = [FORMS["messages"], {"messages": [message("user", "Hm."), *BEFORE[2:], APART]}, FORMS["messages"]]
    loaded = load_task(FileTask(test=write_jsonl(tmp_path / "own.jsonl", rows)))
    assert (len(loaded.test), loaded.dropped) == (2, {"repeated": 1})
    assert "turns_out_of_order" in refusal(write_jsonl(tmp_path / "own.jsonl", [other]))


def test_a_thought_goes_where_the_student_thinks() -> None:
    both = Rationale(replace(TOLD, turns=None), SAID, "me", None, "human", reasoning=REASON)
    alone = replace(both, reasoning=None)

    def reply(rationale: Rationale, response: Any) -> dict[str, Any]:
        (row,) = exported([rationale], "messages", response=response)
        return row["messages"][-1]

    answer = "The answer is 6."
    assert (
        reply(both, None) == reply(both, "think") == message("assistant", f"{SAID}\n{answer}", reasoning_content=REASON)
    )
    assert reply(both, "plain") == message("assistant", f"{REASON}\n{SAID}\n{answer}")
    assert reply(alone, "think") == message("assistant", answer, reasoning_content=SAID)
    assert reply(alone, None) == reply(alone, "plain") == message("assistant", f"{SAID}\n{answer}")


def test_a_system_message_is_given_to_conversations_without_one() -> None:
    for turns, first in ((None, "Be kind."), (TURNS, SYSTEM)):
        rationale = Rationale(replace(TOLD, turns=turns), SAID, "me", None, "human")
        (row,) = exported([rationale], "messages", system="Be kind.")
        assert row["messages"][0] == message("system", first)


# ---- out and in again -----------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        "sum",
        "3",
        "apples,",
        "(two)",
        "x=4;",
        "é",
        "你好",
        "$a_1$",
        "**bold**",
        "`c`",
        "\\frac{1}{2}",
        "7.",
        "Is?",
        "No!",
        "-",
        "item",
    ]
)
_LINE = st.lists(_WORDS, min_size=1, max_size=7).map(" ".join)
_TEXT = st.lists(_LINE, min_size=1, max_size=4).map("\n".join)
_ANSWERS = st.one_of(
    st.tuples(st.just("number"), st.integers(-999, 999).map(str)),
    st.tuples(st.just("yes_no"), st.sampled_from(["Yes", "No"])),
    st.tuples(st.just("letter"), st.sampled_from("AB")),
    st.tuples(st.just("list"), st.lists(st.sampled_from("abc"), min_size=2, max_size=4).map(" ".join)),
    st.tuples(st.just("text"), st.sampled_from(["blue", "New York", "red socks"])),
    st.tuples(st.just("math"), st.sampled_from([r"\frac{1}{2}", "x^2+1", "(3, 4)"])),
)


@st.composite
def _rationales(draw: st.DrawFn) -> Rationale:
    turns = [Turn("system", draw(_TEXT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        thought = draw(st.none() | _TEXT)
        turns += [Turn("user", draw(_TEXT)), Turn("assistant", draw(_TEXT), thought)]
    kind, answer = draw(_ANSWERS)
    choices = ("one", "more (or less)") if kind == "letter" else None
    question = Question("q", "own", "test", draw(_TEXT), answer, kind, choices, turns=tuple(turns) or None)
    said = draw(st.none() | _TEXT)
    return Rationale(question, said, "human", None, "human", reasoning=draw(st.none() | _TEXT) if said else None)


@pytest.mark.parametrize("form", get_args(Form))
@given(rationale=_rationales())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_and_written_the_same(tmp_path: Path, form: Form, rationale: Rationale) -> None:
    (written,) = exported([rationale], form)
    (read,) = load_all(write_jsonl(tmp_path / "own.jsonl", [written]))
    asked = rationale.question
    assert (read.id, read.turns, read.question, read.choices) == ("q", asked.turns, asked.question, asked.choices)
    assert (read.answer, read.answer_type) == (asked.answer, asked.answer_type)
    assert read.human_reasoning == rationale.reasoning
    back = replace(rationale, question=read, rationale=read.human_rationale, reasoning=read.human_reasoning)
    assert list(exported([back], form)) == [written]
