"""Prompts in files of the user's own: what a teacher is sent, what is kept of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.annotation.teachers.reasoning_server import MODES, server
from tests.annotation.teachers.test_asked import log_rows, questions
from tests.command import run_command

from cotdistill.annotation import annotate
from cotdistill.config import AnnotationConfig, Limits, OpenAITeacher, TransformersTeacher
from cotdistill.config.validation import validated
from cotdistill.errors import ConfigError
from cotdistill.records import Question

CHAT = """
- {role: system, content: You solve sums.}
- {role: user, content: "What is 2 + 1?"}
- {role: assistant, content: "It costs $$1 more. The answer is 3."}
- {role: user, content: "$question"}
"""
COLOUR = Question("c", "own", "train", "Which is a colour?", "B", "letter", ("seven", "blue"))


def config(path: Path, text: str, **settings: Any) -> AnnotationConfig:
    path.write_text(text, encoding="utf-8")
    return validated(AnnotationConfig, {"prompt": str(path), "keep": "all"} | settings, where="run.yaml")


def sent(runs: Path, annotation: AnnotationConfig, asked: list[Question], **settings: Any) -> list[Any]:
    """The messages that a server is sent, by question."""
    pytest.importorskip("openai")
    with server(MODES["plain"]) as (url, seen):
        teacher = OpenAITeacher(model="m", base_url=url, limits=Limits(concurrency=1), **settings)
        made = annotate(asked, teacher, annotation, runs=runs)
    assert made.path is not None
    assert [*made.path.glob("prompt.*")]
    return [body["messages"] for body in seen.bodies]


def test_a_text_is_asked_with_each_question_in_it_and_kept(tmp_path: Path) -> None:
    text = "A sum for $$5:\n${question}\nBe brief.\n"
    annotation = config(tmp_path / "brief.txt", text)
    (first, _) = sent(tmp_path / "runs", annotation, questions(2))
    assert first == [{"role": "user", "content": "A sum for $5:\nWhat is 0 + 1?\nBe brief."}]
    (kept,) = tmp_path.glob("runs/annotation/*/prompt.txt")
    assert kept.read_text("utf-8") == text


@pytest.mark.parametrize("name", ["chat.yaml", "chat.json"])
def test_messages_are_sent_as_a_conversation(tmp_path: Path, name: str) -> None:
    from cotdistill.config.files import parse_yaml

    text = CHAT if name.endswith("yaml") else json.dumps(parse_yaml(CHAT))
    (messages,) = sent(tmp_path / "runs", config(tmp_path / name, text), questions(1))
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "It costs $1 more. The answer is 3."
    assert messages[3]["content"] == "What is 0 + 1?"


def test_choices_stand_behind_the_question_or_where_the_file_names_them(tmp_path: Path) -> None:
    behind = config(tmp_path / "behind.txt", "$question\nWhy?")
    named = config(tmp_path / "named.txt", "Of these:\n$choices\n$question\nIt is $gold. Why?", answer_conditioned=True)
    assert behind.prompt is not None
    assert named.prompt is not None
    from cotdistill.annotation.teachers.prompting import prompt_of

    assert prompt_of(COLOUR, behind) == "Which is a colour?\n(A) seven\n(B) blue\nWhy?"
    assert prompt_of(COLOUR, named) == "Of these:\n(A) seven\n(B) blue\nWhich is a colour?\nIt is B. Why?"


def test_a_prompt_is_known_by_its_words_wherever_it_lies(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    with server(MODES["plain"]) as (url, seen):
        teacher = OpenAITeacher(model="m", base_url=url)
        for name, text in (("a.txt", "$question"), ("b.txt", "$question\n"), ("a.txt", "$question Why?")):
            annotate(questions(2), teacher, config(tmp_path / name, text), runs=tmp_path / "runs")
        assert len(seen) == 4
    assert len([*tmp_path.glob("runs/annotation/*")]) == 2
    assert len(log_rows(tmp_path / "runs")) == 4


def test_a_model_of_this_process_reads_the_conversation(tmp_path: Path) -> None:
    teacher = TransformersTeacher(model="builtin:nano-teacher", sampling={"max_new_tokens": 4})  # pyright: ignore
    tokens = []
    for name, text in (("one.txt", "$question"), ("chat.yaml", CHAT)):
        made = annotate(questions(1), teacher, config(tmp_path / name, text), runs=tmp_path / f"runs of {name}")
        tokens.append(made.tokens[0])
    assert tokens[1] > 2 * tokens[0]


@pytest.mark.parametrize(
    ("name", "text", "settings", "problem"),
    [
        ("p.txt", "Why?", {}, r"names no \$question"),
        ("p.txt", "$question\n$answer", {}, r"in the line 2 of its text: unknown \$answer.*\$\$ for a dollar"),
        ("p.txt", "$questions", {}, r"did you mean 'question'"),
        ("p.txt", "$question for $5", {}, r"a dollar sign that names nothing; write \$\$"),
        ("p.txt", "$question $gold", {}, r"shows the right answer \(\$gold\); set answer_conditioned"),
        ("p.txt", "$question", {"answer_conditioned": True}, r"names no \$gold"),
        (
            "p.yaml",
            "- {role: user, content: $question}\n- {role: assistant, content: Ok}",
            {},
            "last is the user",
        ),
        ("p.yaml", "- {role: tool, content: $question}", {}, "message 1 has no usable role"),
        (
            "p.yaml",
            "- {role: user, content: $question}\n- {role: system, content: x}",
            {},
            "system message comes first",
        ),
        ("p.yaml", "role: user", {}, "no list of messages"),
        ("p.yaml", "- {role: user, content: $question, name: x}", {}, "message 1 is not a role with a content"),
        ("p.yaml", "- [", {}, "cannot be read"),
        ("p.json", "[" * 100_000, {}, "cannot be read"),
    ],
)
def test_a_file_that_is_no_prompt_is_refused_in_a_line(
    tmp_path: Path, name: str, text: str, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        config(tmp_path / name, text, **settings)
    assert "\n" not in str(error.value)


def test_no_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe$question")
    for name, problem in (("no.txt", "no such file"), (".", "no such file"), ("bytes.txt", "not UTF-8")):
        with pytest.raises(ConfigError, match=problem):
            validated(AnnotationConfig, {"prompt": str(tmp_path / name)}, where="run.yaml")


def test_two_system_messages_are_refused(tmp_path: Path) -> None:
    annotation = config(tmp_path / "chat.yaml", CHAT)
    with pytest.raises(ConfigError, match=r"two system messages for question .q0.: teacher.system and"):
        sent(tmp_path / "runs", annotation, questions(1), system="Be brief.")


def test_a_dry_run_shows_what_is_asked_first_and_what_becomes_of_reasoning(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(CHAT)
    (tmp_path / "rows.csv").write_text("question,answer\n" + "".join(f"What is {n} + 1?,{n + 1}\n" for n in range(9)))
    teacher = "{kind: openai, model: m, base_url: 'http://localhost:1/v1', reasoning: as_rationale}"
    (tmp_path / "run.yaml").write_text(
        f"task: rows.csv\nteacher: {teacher}\nannotation: {{prompt: chat.yaml}}\n"
        "student: builtin:nano-student\narms: {taught: {}}\n"
    )
    outcome = run_command(tmp_path, "annotate", "run.yaml", "--dry-run")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    place = lines.index("taught: m reads about the first question (its reasoning, if any, is taken as the rationale):")
    assert lines[place + 1 : place + 3] == ["    [system]", "    You solve sums."]
    assert lines[-2] == "    [user]"
    assert lines[-1].startswith("    What is ")
    assert not (tmp_path / "runs").exists()
