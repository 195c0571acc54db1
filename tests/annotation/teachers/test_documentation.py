"""The examples of docs/teachers.md are settings that are accepted, and mean what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cotdistill.annotation.teachers.prompting import prompt_of
from cotdistill.config import CellConfig, OpenAITeacher, RoutedTeacher
from cotdistill.config.files import parse_yaml
from cotdistill.config.signal import LiveTeacher, OwnContext
from cotdistill.config.validation import validated
from cotdistill.records import Question

PAGE = Path(__file__).parents[3] / "docs" / "teachers.md"
BLOCKS = dict(re.findall(r"^```(?:yaml|text)\n# (\S+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
EXPERIMENTS = [name for name, text in BLOCKS.items() if name.endswith(".yaml") and not text.startswith("-")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text('{"question": "1 + 1?", "answer": 2, "subject": "algebra"}')
    return tmp_path


def cell(folder: Path, name: str) -> CellConfig:
    values: dict[str, Any] = {"task": "svamp", "student": "builtin:nano-student"} | parse_yaml(BLOCKS[name])
    return validated(CellConfig, values, where=name, folder=folder)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_example_is_accepted(folder: Path, name: str) -> None:
    made = cell(folder, name)
    if name in ("vllm.yaml", "deepseek.yaml", "o-series.yaml"):
        assert isinstance(made.teacher, OpenAITeacher)
        assert made.teacher.reasoning == "as_response"
        assert (made.teacher.base_url is None) == (name == "o-series.yaml")


def test_the_prompts_are_prompts(folder: Path) -> None:
    question = Question("q", "svamp", "train", "Tom has 3 hats. How many?", "3", "number")
    asked = prompt_of(question, cell(folder, "asked.yaml").annotation)
    assert not isinstance(asked, str)
    assert [message.role for message in asked] == ["system", "user", "assistant", "user"]
    training = cell(folder, "concise.yaml").training
    assert training is not None
    assert isinstance(training.signal, LiveTeacher)
    assert isinstance(training.signal.context, OwnContext)
    assert training.signal.context.prompt.messages[0].content.startswith("$question\n\nReason")


def test_the_routes_are_routes(folder: Path) -> None:
    teacher = cell(folder, "routed.yaml").teacher
    assert isinstance(teacher, RoutedTeacher)
    told = Question("q", "questions", "train", "Who?", "3", "number", meta={"subject": "history"})
    route = teacher.route(told)
    assert isinstance(route, OpenAITeacher)
    assert route.model == "general-model"
