"""The first paper's protocol as written: ten epochs, the best checkpoint by validation, forward KL alone, LoRA
32/32/0.1, and a report that names the step that was kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run_command

from cotdistill.config import load_experiment
from cotdistill.experiments.plan import plan

RECIPES = Path(__file__).parents[2] / "recipes" / "kd-cot"
SMALL = {
    "nano": ["task={kind: procedural, kinds: [navigate], difficulty: 1, num_train: 24, num_test: 8}"],
    "smollm2": [
        "task={kind: procedural, kinds: [navigate], difficulty: 1, num_train: 12, num_test: 2}",
        "student={model: builtin:smollm2-135m, keep_layers: 2}",
        "training.validation={share: 0.2, questions: 2, keep: best, by: loss}",
    ],
}
SHORT = ["evaluation.max_new_tokens=24", "training.batch_size=8"]


@pytest.mark.parametrize("name", ["protocol-nano", "protocol-smollm2", "llama2"])
def test_a_file_says_the_papers_protocol(name: str) -> None:
    cells = plan(load_experiment(RECIPES / f"{name}.yaml")).cells
    distilled = [cell.config.training for cell in cells if cell.config.training and cell.config.training.signal]
    assert distilled
    for training in distilled:
        assert [(term.kind, term.weight, term.region) for term in training.loss] == [("forward_kl", 1.0, "all")]
        assert training.epochs == 10
        assert training.validation is not None
        assert (training.validation.keep, training.max_steps) == ("best", None)
        assert training.adapter is not None
        assert (training.adapter.rank, training.adapter.alpha, training.adapter.dropout) == (32, 32, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["nano", pytest.param("smollm2", marks=pytest.mark.full)])
def test_the_protocol_runs_and_the_report_names_the_kept_step(tmp_path: Path, model: str) -> None:
    changes = [word for setting in (*SMALL[model], *SHORT) for word in ("--set", setting)]
    done = run_command(tmp_path, "run", RECIPES / f"protocol-{model}.yaml", *changes, seconds=280)
    assert done.status == 0, done.err
    for state in (tmp_path / f"runs/protocol-{model}/cells").glob("*.json"):
        stages = json.loads(state.read_text())["stages"]
        if "training" not in stages:
            continue
        folder = tmp_path / "runs" / stages["training"]
        summary = json.loads((folder / "summary.json").read_text())
        found = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in found] == list(range(1, 11))
        by = "accuracy" if model == "nano" else "loss"
        values = [row[by] for row in found]
        best = found[values.index(max(values) if by == "accuracy" else min(values))]["step"]
        assert summary["validation"]["kept_step"] == best
        page = (tmp_path / f"runs/protocol-{model}/report.md").read_text()
        assert f"| {best} of {summary['num_steps']} | best {by} of 10 |" in page
