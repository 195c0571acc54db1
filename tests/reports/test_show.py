"""``cotdistill show`` reads every folder that the other commands leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotdistill.errors import DataError
from cotdistill.reports.show import describe, read_artifact
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.stages import open_stage


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished annotation, a training that is under way, and two experiments."""
    with open_stage(tmp_path, "annotation", {"teacher": "human"}) as stage:
        write_rows(stage.path / "rationales.jsonl", ({"rationale": f"number {i}\x1b[31m"} for i in range(9)))
        stage.finish({"rationales": 9}, seeds={}, dropped={"disagrees": 2})
    with open_stage(tmp_path, "training", {"student": "nano"}) as stage:
        write_rows(stage.path / "metrics.jsonl", [{"step": 1, "loss": 2.5}])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "experiment.yaml").write_text("name: mine")
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "experiment.yaml").write_text("name: grid")
    write_json_atomically(tmp_path / "grid" / "cells" / "abc.json", {"status": "failed", "error": "no space left"})
    return tmp_path


def shown(path: Path) -> str:
    return "\n".join(describe(read_artifact(path, 2)))


def test_an_annotation_shows_counts_and_first_rows_with_control_characters_escaped(runs):
    (folder,) = (runs / "annotation").iterdir()
    text = shown(folder)
    assert "rationales: 9" in text
    assert "disagrees: 2" in text
    assert r"number 1\u001b[31m" in text
    assert "number 2" not in text
    assert "sha256" not in text
    assert "sha256" in json.dumps(read_artifact(folder, 2))


def test_an_unfinished_stage_says_so(runs):
    (folder,) = (runs / "training").iterdir()
    assert "state: not finished" in shown(folder)
    assert "student: nano" in shown(folder)


def test_an_experiment_shows_the_state_of_its_cells(runs):
    assert "no space left" in shown(runs / "grid")


def test_a_folder_of_runs_says_what_it_holds(runs):
    found = read_artifact(runs, 2)
    assert found["experiments"] == ["grid", "mine"]
    assert found["finished stages"] == {"annotation": 1, "training": 0, "evaluation": 0}


def test_other_folders_and_damaged_files_are_errors(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no artifact here"):
        read_artifact(tmp_path / "empty", 2)
    (runs / "grid" / "summary.json").write_text("{")
    with pytest.raises(DataError, match=r"summary.json: malformed JSON"):
        read_artifact(runs / "grid", 2)
