"""What we write may come back in any shape: commands that read it succeed, make it again, or end in one line."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command
from tests.fuzz.test_commands import ends_well, places

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(900)]

FILE = """
task: {train: own.jsonl, test_share: 0.5}
student: builtin:nano-student
teacher: human
training: {epochs: 1, batch_size: 4, dtype: float32}
evaluation: {max_new_tokens: 2, dtype: float32}
comparisons: [{a: student, b: base}]
"""
WRONG: list[Any] = [None, [], {"x": None}, "../../x", -1, 10**400]
EVERY = 30
"""A report takes long, so it is made of every so many shapes only."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    rows = [
        {"id": n, "question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."}
        for n in range(12)
    ]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "e.yaml").write_text(FILE, encoding="utf-8")
    outcome = run_command(folder, "run", "e.yaml")
    assert outcome.status == 0, outcome
    return folder


def other_shapes(value: Any) -> list[Any]:
    """``value`` with each of its parts replaced or taken away, and things that are nothing like it."""
    shapes = list(WRONG)
    for number in range(len(places(value))):
        for wrong in WRONG:
            changed = copy.deepcopy(value)
            holder, key = places(changed)[number]
            holder[key] = wrong
            shapes.append(changed)
        changed = copy.deepcopy(value)
        holder, key = places(changed)[number]
        del holder[key]
        shapes.append(changed)
    return shapes


def check(monkeypatch: pytest.MonkeyPatch, lab: Path, file: Path, *commands: tuple[str, ...]) -> None:
    """The ``commands`` end well whatever is in ``file``."""
    monkeypatch.chdir(lab)
    content = file.read_bytes()
    texts = [json.dumps(shape, indent=1) for shape in other_shapes(json.loads(content))]
    damaged = ["", "{", "[" * 100_000, "9" * 5000, '{"a": 1, "a": 2}', content[: len(content) // 2], b"\xff\xfe", b"\0"]
    try:
        for number, text in enumerate([*damaged, *texts]):
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            for command in commands:
                if command[0] != "report" or number % EVERY == 0:
                    ends_well(*command)
    finally:
        file.write_bytes(content)


def stage(lab: Path, noun: str) -> str:
    """The folder of the newest stage of a kind."""
    folders = sorted((lab / "runs" / noun).iterdir(), key=lambda path: path.stat().st_mtime)
    return str(folders[-1].relative_to(lab))


def test_states_of_cells(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = max((lab / "runs" / "e" / "cells").glob("*.json"), key=lambda path: len(path.read_text()))
    check(monkeypatch, lab, file, ("report", "e.yaml"), ("plan", "e.yaml"), ("show", "runs/e"))


@pytest.mark.parametrize("noun", ["annotation", "training", "evaluation"])
def test_what_says_what_an_unfinished_stage_will_be(lab: Path, monkeypatch: pytest.MonkeyPatch, noun: str) -> None:
    begun = lab / "begun"
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    shutil.copy(lab / stage(lab, noun) / "identity.json", begun)
    check(monkeypatch, lab, begun / "identity.json", ("show", "begun"), ("audit", "begun"))


def test_summaries_of_experiments(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab / "claims.yaml").write_text(
        "claims: [{id: a, source: b, claim: c, experiment: e, test: {kind: better, a: student, b: base}}]\n",
        encoding="utf-8",
    )
    check(monkeypatch, lab, lab / "runs/e/summary.json", ("show", "runs/e"), ("reproduce-check", "claims.yaml"))
