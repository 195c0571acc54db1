"""What a user finds beside the code: recipes to copy, and a command that says what is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run_command

RECIPES = Path(__file__).parents[1] / "recipes"


def test_every_recipe_is_listed_with_its_question_and_its_experiments(tmp_path: Path) -> None:
    listed = json.loads(run_command(tmp_path, "recipe", "list", "--json").out)
    assert set(listed) == {folder.name for folder in RECIPES.iterdir() if folder.is_dir()}
    assert listed["granularity"]["files"] == ["nano.yaml", "study.yaml", "full.yaml"]
    assert all(row["question"] for row in listed.values())


def test_a_recipe_is_copied_whole_and_can_be_planned_there(tmp_path: Path) -> None:
    done = run_command(tmp_path, "recipe", "copy", "granularity", "--to", "mine")
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == sorted(
        file.name for file in (RECIPES / "granularity").iterdir()
    )
    assert done.out.splitlines()[-1] == "next: cotdistill plan mine/nano.yaml"
    assert run_command(tmp_path, "plan", "mine/nano.yaml").status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("granularty",), "did you mean 'granularity'?"),
        (("granularity", "--to", "."), "it exists; give another folder"),
    ],
)
def test_what_cannot_be_copied_is_refused_in_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = run_command(tmp_path, "recipe", "copy", *words)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_doctor_names_versions_and_missing_parts_and_shows_no_key(tmp_path: Path) -> None:
    keys = {"OPENAI_API_KEY": "sk-very-secret", "HF_TOKEN": "hf_very_secret", "HF_ENDPOINT": "http://me:secret@hub"}
    done = run_command(tmp_path, "doctor", "--json", environment=keys)
    found = json.loads(done.out)
    assert "secret" not in done.out
    assert (found["environment"]["OPENAI_API_KEY"], found["environment"]["HF_TOKEN"]) == ("(set)", "(set)")
    assert found["versions"]["torch"]
    assert found["computing"]["dtype: auto"] == "float32 (COTDISTILL_DTYPE says so)"
    assert all(value[0].isalnum() for value in found["optional parts"].values())
    assert set(found["optional parts"]) >= {"data", "openai", "ray", "vllm"}
