"""The examples of docs/conversations.md do what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.command import run_command
from tests.tasks.own import load_all

from cotdistill.records import Turn

PAGE = (Path(__file__).parents[1] / "docs" / "conversations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FORMS = [text for kind, text in BLOCKS if kind == "jsonl"]


def test_every_form_of_the_page_is_the_same_conversation(tmp_path: Path) -> None:
    assert len(FORMS) == 4
    for number, text in enumerate(FORMS):
        file = tmp_path / f"{number}.jsonl"
        file.write_text(text, encoding="utf-8")
        (question,) = load_all(file)
        assert (question.turns, question.question) == ((Turn("system", "Be brief."),), "How many are 3 pairs?")
        assert (question.human_reasoning, question.answer) == ("A pair is two.", "6")
        assert (question.human_rationale or "").startswith("3 * 2 = 6.")


def test_the_experiment_and_the_exports_of_the_page_run(tmp_path: Path) -> None:
    (settings,) = (text for kind, text in BLOCKS if kind == "yaml")
    (tmp_path / "chat.yaml").write_text(settings, encoding="utf-8")
    (tmp_path / "chat.jsonl").write_text(FORMS[0], encoding="utf-8")
    trained = run_command(tmp_path, "train", "chat.yaml", "--json")
    assert trained.status == 0, trained.err
    (annotation,) = (tmp_path / "runs" / "annotation").iterdir()
    for line in re.findall(r"^    cotdistill (export .*)$", PAGE, re.MULTILINE):
        arguments = line.replace("KEY", annotation.name).split()
        outcome = run_command(tmp_path, *arguments, "--json")
        assert outcome.status == 0, outcome.err
        (written,) = json.loads(outcome.out).values()
        (question,) = load_all(tmp_path / written["path"])
        assert (question.human_reasoning, question.human_rationale) == ("A pair is two.", "3 * 2 = 6.")
