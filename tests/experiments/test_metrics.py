"""Metrics of several samples from the file of an experiment to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.config import experiment_of
from cotdistill.errors import ConfigError
from cotdistill.experiments.plan import plan
from cotdistill.experiments.run import run_experiment
from cotdistill.experiments.work import Work
from cotdistill.reports.result import evidence_of
from cotdistill.reports.sections import all_tables
from cotdistill.reports.verdict import findings, in_markdown
from cotdistill.storage.finished import open_finished

SETTINGS = {
    "name": "sampled",
    "task": {"name": "procedural", "kinds": ["navigate"], "difficulty": 1, "num_train": 1, "num_test": 4},
    "student": "builtin:nano-student",
    "training": None,
    "evaluation": {"num_samples": 3, "temperature": 1.0, "max_new_tokens": 48, "max_batch_size": 16},
    "arms": {"cold": {"evaluation.temperature": 0.2}, "warm": {}},
}


def test_comparisons_summaries_and_tables_hold_the_metrics_that_are_asked_for(tmp_path: Path):
    compared = [{"a": "cold", "b": "warm"}, {"a": "cold", "b": "warm", "metric": "pass@2"}]
    result = run_experiment(experiment_of(SETTINGS | {"comparisons": compared}, where="here"), Work(tmp_path, print))
    assert [one["metric"] for one in result.to_row()["comparisons"]] == ["accuracy", "pass@2"]
    assert "cold against warm in pass@2: " in str(result.comparisons[1])
    (cold, warm) = (arm.done[0] for arm in result.arms.values())
    assert cold.summary("evaluation")["metrics"].keys() == {"avg@3", "pass@2", "pass@3", "maj@3"}
    assert {one.tally.num_samples for one in warm.predictions()} == {3}
    written = open_finished(warm.stages["evaluation"])
    assert written.summary["metrics"]["avg@3"]["samples_error"] is not None

    evidence = evidence_of(result)
    shown = {table.name: table for table in all_tables(evidence)["findings"]}
    assert [row[:2] for row in shown["metrics"].rows][:4] == [
        ("cold", m) for m in ("avg@3", "pass@2", "pass@3", "maj@3")
    ]
    assert "metric" in shown["comparisons"].headings
    assert "in pass@2" in in_markdown(findings(evidence)[0])


@pytest.mark.parametrize("metric", ["pass@4", "avg@16"])
def test_a_metric_of_more_samples_than_are_drawn_is_refused_before_anything_runs(metric: str):
    compared = [{"a": "cold", "b": "warm", "metric": metric}]
    with pytest.raises(ConfigError, match=r"comparisons\.0\.metric.*cold draws 3; set evaluation\.num_samples"):
        plan(experiment_of(SETTINGS | {"comparisons": compared}, where="here"))


@pytest.mark.parametrize("metric", ["pass@0", "best@3", "pass", "accuracy@2"])
def test_an_unknown_metric_is_refused(metric: str):
    with pytest.raises(ConfigError, match="metric"):
        experiment_of(SETTINGS | {"comparisons": [{"a": "cold", "b": "warm", "metric": metric}]}, where="here")


def test_two_evaluations_are_compared_in_a_metric_from_python(tmp_path: Path):
    import cotdistill as cot

    settings = SETTINGS["evaluation"] | {"max_new_tokens": 16}
    task = cot.load_task("procedural", kinds=["navigate"], num_test=3)
    cold, warm = (
        cot.evaluate("builtin:nano-student", task.test, runs=tmp_path, **(settings | {"temperature": degree}))
        for degree in (0.2, 1.0)
    )
    assert cot.compare(cold, warm, metric="pass@3").metric == "pass@3"
    with pytest.raises(ConfigError, match="metric"):
        cot.compare(cold, warm, metric="best@3")
