"""The contributor's guide: its diffs apply to this checkout, touch as few files as it says, and what they add works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "extending.md"
NUMBERS = {"one": 1, "two": 2}
SECTION = re.compile(r"^## (A .*?): (one|two) files?$.*?^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)

USED = """
import torch
from cotdistill.config import BENCHMARKS, AnnotationConfig, RestatingTeacher, TrainingConfig
from cotdistill.annotation.annotate import collect_rationales
from cotdistill.reports.figures import draw_all
from cotdistill.tasks import load_task
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.training.losses.divergences import divergence
from cotdistill.config import ProceduralTask

assert "coin_flips" in BENCHMARKS and benchmark("coin_flips").sizes["test"] == 3333
settings = TrainingConfig(loss="squared_hellinger", signal={"kind": "live", "model": "builtin:nano-teacher"})
logits = torch.randn(3, 5)
assert divergence(settings.loss[0], logits, logits).abs().max() < 1e-6
assert divergence(settings.loss[0], logits, -logits).min() > 0
questions = load_task(ProceduralTask(num_train=2, num_test=1)).train
made = collect_rationales(questions, RestatingTeacher(), AnnotationConfig())
assert [one.teacher for one in made.records] == ["restating"] * 2
assert "draw_spread" in draw_all.__code__.co_names
"""


def sections() -> dict[str, tuple[int, str]]:
    """By the title of a section: how many files it says that its diff touches, and the diff."""
    text = GUIDE.read_text(encoding="utf-8")
    return {title: (NUMBERS[number], diff) for title, number, diff in SECTION.findall(text)}


@pytest.mark.parametrize("title", ["A benchmark", "A loss", "A kind of teacher", "A figure"])
def test_a_diff_touches_as_few_files_as_the_guide_says(title: str) -> None:
    number, diff = sections()[title]
    assert len(set(re.findall(r"^\+\+\+ b/(\S+)$", diff, re.MULTILINE))) == number


def test_what_the_diffs_add_works(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for title, (_, diff) in sections().items():
        command = ["git", "apply", "--unidiff-zero", "-"]
        applied = subprocess.run(command, cwd=tmp_path, input=diff, capture_output=True, text=True, check=False)
        assert applied.returncode == 0, f"{title}: {applied.stderr}"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    used = subprocess.run([sys.executable, "-c", USED], env=environment, capture_output=True, text=True, check=False)
    assert used.returncode == 0, used.stderr
