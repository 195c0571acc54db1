"""The optimizer: what this machine does not have is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.command import run_command

from cotdistill.errors import ModelError
from cotdistill.training.optimizer import check_optimizer

FILE = """
task: {name: procedural, num_train: 4, num_test: 2}
teacher: procedural
student: builtin:nano-student
training: {optimizer: adamw_8bit}
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_moments_in_eight_bits_without_cuda_are_one_clear_line(tmp_path: Path) -> None:
    check_optimizer("adamw")
    with pytest.raises(ModelError, match=r"training\.optimizer: adamw_8bit needs a CUDA device.*; set it to adamw"):
        check_optimizer("adamw_8bit")
    (tmp_path / "run.yaml").write_text(FILE)
    outcome = run_command(tmp_path, "run", "run.yaml")
    assert (outcome.status, outcome.err.strip().count("\n")) == (2, 0), outcome.err
    assert "adamw_8bit needs a CUDA device" in outcome.err
    assert not list((tmp_path / "runs").rglob("rationales.jsonl"))
