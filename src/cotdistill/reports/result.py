"""From an experiment on disk to the evidence that its report is made from. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.config import ModelConfig
from cotdistill.config.experiment import ARM_FACTOR
from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.evaluation.statistics.proportions import seeds_interval
from cotdistill.evaluation.statistics.thoughts import thoughts_of
from cotdistill.records import Prediction, Score
from cotdistill.reports.evidence import Arm, Cell, Evidence, Fact, Missing, Untested
from cotdistill.reports.facts import (
    Readings,
    factors_of,
    mean_output_tokens,
    read_curve,
)
from cotdistill.storage.finished import open_finished

if TYPE_CHECKING:
    from cotdistill.experiments.result import ArmResult, ExperimentResult


def evidence_of(result: ExperimentResult) -> Evidence:
    """The evidence of an experiment so far; cells that failed or have not run yet are missing."""
    read = Readings()
    done = {name: arm for name, arm in result.arms.items() if arm.done}
    arms = {name: _arm(arm, done, read) for name, arm in done.items()}
    absent = [cell for cell in result.cells if cell.status != "done"]
    missing = [Missing(cell.cell.title, cell.error) for cell in absent]
    comparisons = [compared.result for compared in result.comparisons if compared.result]
    untested = [
        Untested(compared.pair.a, compared.pair.b, compared.problem or "")
        for compared in result.comparisons
        if not compared.result
    ]
    seconds = _seconds_of({folder for cell in result.done for folder in cell.stages.values()})
    told = result.experiment
    return Evidence(told.name, told.question, arms, comparisons, seconds, missing, untested, told.figures)


def _arm(arm: ArmResult, arms: Mapping[str, ArmResult], read: Readings) -> Arm:
    cells = []
    for one in arm.done:
        curve = read_curve(one.stage("training")) if "training" in one.stages else None
        cells.append(Cell(one.cell.seed, one.predictions(), read.questions(one.stage("evaluation")), curve))
    pooled = score_of_seeds([cell.predictions for cell in cells])
    return Arm(pooled, _extras(arm, cells, read), _factors(arm), _base(arm, arms), cells, *_training_data(arm))


def score_of_seeds(predictions: Sequence[Sequence[Prediction]]) -> Score:
    """One score of an arm's seeds: the mean accuracy, and verdicts counted over all of them.

    Outcomes of one item under several seeds are not independent, so ``n`` is the number of items; the interval is for
    new seeds and new items.
    """
    scores = [score(one) for one in predictions]
    if len(scores) == 1:
        return scores[0]
    n = max(one.n for one in scores)
    accuracies = [one.accuracy for one in scores]
    accuracy = sum(accuracies) / len(scores)
    counts = {
        verdict: sum(getattr(one, verdict) for one in scores)
        for verdict in ("correct", "wrong", "unreadable", "truncated")
    }
    return Score(n=n, accuracy=accuracy, interval=seeds_interval(accuracies, n), **counts)


def _factors(arm: ArmResult) -> dict[str, Fact]:
    """What the arm is made of, in the experiment's own names where it gives them."""
    named = {axis.rpartition(".")[2]: _fact(value) for axis, value in arm.factors.items() if axis != ARM_FACTOR}
    return factors_of(arm.cells[0].cell.config) | named


def _fact(value: Any) -> Fact:
    return value if isinstance(value, int | float | str | None) else json.dumps(value)


def _base(arm: ArmResult, arms: Mapping[str, ArmResult]) -> str | None:
    """The untrained arm that agrees in all factors that both have: the same student, asked in the same way."""
    if arm.untrained:
        return None
    for name, other in arms.items():
        shared = (arm.factors.keys() & other.factors.keys()) - {ARM_FACTOR}
        agree = all(arm.factors[axis] == other.factors[axis] for axis in shared)
        if other.untrained and agree and _model(arm) == _model(other):
            return name
    return None


def _model(arm: ArmResult) -> ModelConfig:
    return arm.cells[0].cell.config.student


def _training_data(arm: ArmResult) -> tuple[Mapping[str, Any] | None, Mapping[str, int]]:
    """What became of the examples of the first seed, and which questions had been dropped before."""
    first = arm.done[0]
    if "training" not in first.stages:
        return None, {}
    return first.stage("training").manifest.get("lengths"), first.stage("annotation").dropped


def _extras(arm: ArmResult, cells: Sequence[Cell], read: Readings) -> dict[str, Fact]:
    """Means over the seeds that are done, rationales those of the first."""
    first = arm.done[0]
    number, words = read.words(first.stage("annotation")) if "annotation" in first.stages else (0, None)
    trainings = [one.summary("training") for one in arm.done]
    return {
        "rationales": number or None,
        "rationale_words": words,
        "training_tokens": _mean([one.get("num_tokens") for one in trainings], 0),
        "training_seconds": _mean([one.get("seconds") for one in trainings], 1),
        "evaluation_seconds": _mean([one.stage("evaluation").seconds for one in arm.done], 1),
        "output_tokens": _mean([mean_output_tokens(cell.predictions) for cell in cells], 1),
        **_thoughts(cells),
        **_samples([found for one in trainings if (found := one.get("rollouts"))]),
    }


def _samples(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Fact]:
    """How the student's own samples in training were; nothing where it had none."""
    named = {"tokens": "mean_length", "truncated": "truncated", "repeated": "repeated"}
    return {f"sample_{name}": _mean([one.get(key) for one in trainings], 1) for name, key in named.items() if trainings}


def _thoughts(cells: Sequence[Cell]) -> dict[str, Fact]:
    """Reasoning tokens of an output, and the share of thoughts that end; nothing where nothing is thought."""
    found = [thoughts for cell in cells if (thoughts := thoughts_of(cell.predictions))]
    if not found:
        return {}
    outputs = sum(len(cell.predictions) for cell in cells)
    return {
        "reasoning_tokens": round(sum(each.tokens for each in found) / outputs, 1),
        "reasoning_closed": round(sum(each.closed * each.outputs for each in found) / sum(e.outputs for e in found), 4),
    }


def _mean(values: Sequence[int | float | None], digits: int) -> int | float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return round(mean, digits) if digits else round(mean)


def _seconds_of(folders: Iterable[Path]) -> float:
    """The seconds that stages took, whenever they were made."""
    return round(sum(open_finished(folder).seconds for folder in folders), 1)
