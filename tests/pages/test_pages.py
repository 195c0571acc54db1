"""Every code block of the README and the documentation runs as a reader would run it, or says why not.

A page is followed in a folder of its own that holds what the pages take for granted: files of questions, and a small
experiment that was run. Models that would have to be downloaded stand for the built-in ones.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.command import run_command
from tests.pages.blocks import PAGES, ROOT, Block, blocks

from cotdistill.config import load_experiment
from cotdistill.experiments.plan import plan

ELSEWHERE = {
    "conversations.md": "tests/test_conversations_page.py",
    "extending.md": "tests/test_extending.py",
    "own-data.md": "tests/test_own_data_page.py",
    "own-parts.md": "tests/test_own_parts.py",
}
"""Pages that a test of their own follows."""

FOLLOWED = [page for page in PAGES if page.name not in ELSEWHERE and any(not block.not_run for block in blocks(page))]
BUILT_IN = {
    "Qwen/Qwen2.5-0.5B": "builtin:nano-student",
    "Qwen/Qwen2.5-7B": "builtin:nano-teacher",
    "model: TEACHER": "model: builtin:nano-teacher",
}
EXAMPLE = """
name: example
task: questions.csv
teacher: human
student: builtin:nano-student
training: {epochs: 1, dtype: float32}
evaluation: {max_new_tokens: 24, dtype: float32}
arms: {answers: {teacher: answer_only}, rationales: {}}
grid: {seed: [0, 1]}
comparisons: [{a: rationales, b: answers}]
"""
ROWS = [
    {"question": f"What is {n} + 1?", "answer": str(n + 1), "rationale": f"{n} + 1 = {n + 1}.", "subject": "algebra"}
    for n in range(64)
]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of questions and of a small experiment that was run."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    for name in ("questions.csv", "hard.csv"):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ROWS[0])
            table.writeheader()
            table.writerows(ROWS[:40])
    for name in ("experiment.yaml", "full.yaml"):
        (folder / name).write_text(EXAMPLE, encoding="utf-8")
    outcome = run_command(folder, "run", "experiment.yaml")
    assert outcome.status == 0, outcome.err
    return folder


def keys(folder: Path) -> dict[str, str]:
    """What stands on the pages for a name that only a run gives, and what this run gave."""
    cells = plan(load_experiment(folder / "experiment.yaml")).cells
    states = {cell.id: json.loads((folder / f"runs/example/cells/{cell.id}.json").read_text()) for cell in cells}
    made = {(cell.arm, cell.seed): states[cell.id]["stages"] for cell in cells}
    evaluations = {
        f"{side}{seed}": f"runs/evaluation/{Path(made[arm, seed]['evaluation']).name}"
        for side, arm in (("A", "rationales"), ("B", "answers"))
        for seed in (0, 1)
    }
    first = made["rationales", 0]
    return (
        {f"runs/evaluation/{name}": path for name, path in evaluations.items()}
        | evaluations
        | {f"runs/evaluation/{side}": evaluations[f"{side}0"] for side in "AB"}
        | {f"runs/{stage}/KEY": f"runs/{stage}/{Path(first[stage]).name}" for stage in ("training", "evaluation")}
        | {"/shared/runs": "runs"}
    )


def shell(folder: Path, block: Block, named: dict[str, str]) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = [named.get(word, word) for word in shlex.split(line, comments=True)]
        if not words:
            continue
        plain = words[0] == "cotdistill" and not {"|", "<", ">", ";", "&&"} & set(words)
        assert plain, f"{line}: say why it is not run"
        added = shlex.split(block.added)
        takes = len(words) > 2 and words[2].endswith(".yaml")
        outcome = run_command(folder, *words[1:], *(added if takes else []), environment={"HF_HUB_OFFLINE": "1"})
        assert outcome.status == 0, f"{line}\n{outcome.err}"


def settings(folder: Path, block: Block, named: dict[str, str]) -> None:
    """An experiment is planned; a part of one is planned within the example."""
    text = block.text
    for name, built_in in BUILT_IN.items():
        text = text.replace(name, built_in)
    values: Any = yaml.safe_load(text)
    if block.name:
        (folder / block.name).write_text(text, encoding="utf-8")
    if not isinstance(values, dict):
        return  # a teacher's turns, which another block names
    if "student" not in values:
        values = yaml.safe_load(EXAMPLE) | {"arms": {}, "comparisons": [], "grid": {}} | values
    file = folder / "planned.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert plan(load_experiment(file)).cells


def python(folder: Path, block: Block, named: dict[str, str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def written(folder: Path, block: Block, named: dict[str, str]) -> None:
    if block.name:
        (folder / block.name).write_text(block.text.split("\n", 1)[1], encoding="utf-8")


RUN: dict[str, Callable[[Path, Block, dict[str, str]], None]] = {
    "shell": shell,
    "yaml": settings,
    "python": python,
    "text": written,
    "": written,
}
"""How a block is run, by its kind. A fence without a language shows what a command prints."""


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=[str(page.relative_to(ROOT)) for page in FOLLOWED])
def test_a_page_can_be_followed(page: Path, example: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(example, folder)
    named = keys(example)
    for block in blocks(page):
        if not block.not_run:
            assert block.kind in RUN, f"{page.name}:{block.line}: no way to run {block.kind}; say why it is not run"
            RUN[block.kind](folder, block, named)


def test_a_page_that_is_not_followed_here_has_a_test_of_its_own() -> None:
    for name, test in ELSEWHERE.items():
        assert (ROOT / "docs" / name).is_file()
        assert name in (ROOT / test).read_text(encoding="utf-8")


def test_a_block_that_is_not_run_says_why_in_words() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert not block.not_run or len(block.not_run.split()) >= 2, f"{page.name}:{block.line}"
