"""A folder with a tiny student and an experiment on it, and the experiment run undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.command import run_command
from tests.tiny import save_tiny

FILE = """
name: lab
question: Does it survive?
task: {kind: procedural, kinds: [boolean_expressions, object_counting], difficulty: 1, num_train: 16, num_test: 8}
teacher: procedural
student: ./student
training: {epochs: 5, batch_size: 4, max_length: 512, learning_rate: 1.0e-3, checkpoint_every: 7, dtype: float32}
evaluation: {max_new_tokens: 12, max_batch_size: 4, dtype: float32}
arms: {levels: {}, answers: {teacher: answer_only, seed: 0}}
grid: {annotation.granularity: [1, 2, 3, 4, 5, 6], seed: [0, 1, 2]}
comparisons:
  - {a: {annotation.granularity: 3}, b: {annotation.granularity: 1}}
  - {a: {annotation.granularity: 3}, b: base}
"""
"""20 cells of 20 training steps and 8 test items."""


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student and ``lab.yaml``."""
    folder = tmp_path_factory.mktemp("experiments") / "lab"
    save_tiny(folder / "student")
    (folder / "lab.yaml").write_text(FILE, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def unbroken(lab: Path) -> Path:
    """The folder of runs of the whole experiment, which nothing disturbed."""
    outcome = run_command(lab, "run", "lab.yaml", "--runs", "unbroken", "--jobs", 2, seconds=1200)
    assert (outcome.status, "Traceback" in outcome.err) == (0, False), outcome.err
    return lab / "unbroken"
