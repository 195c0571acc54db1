"""From a finished run to what its report says of each arm."""

from __future__ import annotations

import os
from pathlib import Path

from cotdistill.pipeline import ArmResult, RunResult
from cotdistill.reports.run_report import Arm, RunReport


def report_of(result: RunResult) -> RunReport:
    """The report of a run: scores, and beside them what each arm was made from and took."""
    arms = {name: Arm(arm.evaluation.score, _extras(arm, result.path)) for name, arm in result.arms.items()}
    return RunReport(result.run.name, result.run.question, arms, result.comparisons, round(result.seconds, 1))


def _extras(arm: ArmResult, folder: Path) -> dict[str, int | float | str | None]:
    summary = arm.student.summary if arm.student else {}
    predictions = arm.evaluation.predictions
    return {
        "rationales": len(arm.rationales) if arm.rationales else None,
        "training_tokens": summary.get("num_tokens"),
        "training_seconds": summary.get("seconds"),
        "evaluation_seconds": arm.evaluation.seconds,
        "output_tokens": round(sum(p.num_output_tokens for p in predictions) / len(predictions), 1),
        "predictions": os.path.relpath(arm.evaluation.path / "predictions.jsonl", folder),
        "student": os.path.relpath(arm.student.model, folder) if arm.student else arm.config.student.model,
    }
