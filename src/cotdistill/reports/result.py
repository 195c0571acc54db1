"""From an experiment on disk to the evidence that its report is made from. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.config import CellConfig, ModelConfig
from cotdistill.config.experiment import ARM_FACTOR
from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.evaluation.statistics.proportions import seeds_interval
from cotdistill.evaluation.statistics.thoughts import thoughts_of
from cotdistill.records import Prediction, Score
from cotdistill.reports.evidence import Arm, Cell, Evidence, Examples, Fact, Missing, Untested
from cotdistill.reports.facts import (
    Readings,
    factors_of,
    mean_output_tokens,
    read_curve,
    settings_of,
)
from cotdistill.reports.setup import setup_of
from cotdistill.reports.watched import read_watched

if TYPE_CHECKING:
    from cotdistill.experiments.result import ArmResult, CellResult, ExperimentResult


def evidence_of(result: ExperimentResult) -> Evidence:
    """The evidence of an experiment so far; cells that failed or have not run yet are missing."""
    read = Readings()
    done = {name: arm for name, arm in result.arms.items() if arm.done}
    arms = {name: _arm(arm, done, read) for name, arm in done.items()}
    folders = {folder for cell in result.done for folder in cell.stages.values()}
    stages = {folder: read.stage(folder) for folder in sorted(folders)}
    told = result.experiment
    return Evidence(
        name=told.name,
        question=told.question,
        arms=arms,
        comparisons=[compared.result for compared in result.comparisons if compared.result],
        seconds=round(sum(stage.seconds for stage in stages.values()), 1),
        missing=[_missing(cell) for cell in result.cells if cell.status != "done"],
        untested=[
            Untested(compared.pair.a, compared.pair.b, compared.problem or "")
            for compared in result.comparisons
            if not compared.result
        ],
        figures=told.figures,
        setup=setup_of(result, stages),
        examples=_examples(done, read),
    )


def _missing(result: CellResult) -> Missing:
    cell = result.cell
    return Missing(cell.arm, None if cell.untrained else cell.seed, result.error)


def _arm(arm: ArmResult, arms: Mapping[str, ArmResult], read: Readings) -> Arm:
    cells = []
    for one in arm.done:
        curve = read_curve(read.stage(one.stages["training"])) if "training" in one.stages else None
        questions = read.questions(read.stage(one.stages["evaluation"]))
        watched = read_watched(read.stage(one.stages["training"])) if "training" in one.stages else None
        cells.append(Cell(one.cell.seed, one.predictions(), questions, curve, _student(one), watched))
    config = arm.cells[0].cell.config
    return Arm(
        score=score_of_seeds([cell.predictions for cell in cells]),
        extras=_extras(arm, cells, read),
        factors=_factors(arm),
        base=_base(arm, arms),
        cells=cells,
        settings=_settings(config),
        token_limit=config.evaluation.max_new_tokens,
        **_training_data(arm, read),
    )


def _student(result: CellResult) -> str | None:
    """What to call it by from the folder that holds ``runs``; an untrained one by the name of its model."""
    config, training = result.cell.config, result.stages.get("training")
    if training is None:
        return None if config.evaluation.served else config.student.model
    folder = training / "student"
    runs = training.parent.parent
    return str(folder.relative_to(runs.parent)) if folder.is_dir() else None


def _settings(config: CellConfig) -> dict[str, Fact]:
    sections = {"annotation": config.annotation, "training": config.training, "evaluation": config.evaluation}
    return {
        f"{name}.{key}": value
        for name, section in sections.items()
        if section is not None
        for key, value in settings_of(section).items()
    }


def _examples(arms: Mapping[str, ArmResult], read: Readings) -> list[Examples]:
    """What students are trained on, once for all arms that share it."""
    shared: dict[Path, list[str]] = {}
    for name, arm in arms.items():
        stages = arm.done[0].stages
        if "training" in stages and "annotation" in stages:
            shared.setdefault(stages["annotation"], []).append(name)
    taught = {folder: read.taught(read.stage(folder)) for folder in shared}
    return [Examples(names, taught[folder].examples, taught[folder].number) for folder, names in shared.items()]


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


def _training_data(arm: ArmResult, read: Readings) -> dict[str, Any]:
    """What became of the examples of the first seed, which questions had been dropped before, and of those that are
    tested on."""
    stages = arm.done[0].stages
    if "training" not in stages:
        return {}
    annotation = read.stage(stages["annotation"])
    contamination = annotation.manifest.get("contamination") or {}
    return {
        "lengths": read.stage(stages["training"]).manifest.get("lengths"),
        "dropped": annotation.dropped,
        "contamination": contamination if contamination.get("evaluation") else None,
    }


def _extras(arm: ArmResult, cells: Sequence[Cell], read: Readings) -> dict[str, Fact]:
    """Means over the seeds that are done; rationales, and what their teacher took, are those of the first."""
    first = arm.done[0].stages
    annotation = read.stage(first["annotation"]) if "annotation" in first else None
    taught = read.taught(annotation) if annotation else None
    asked, written = annotation.summary.get("tokens", (None, None)) if annotation else (None, None)
    trainings = [read.stage(one.stages["training"]).summary for one in arm.done if "training" in one.stages]
    signals = [read.stage(one.stages["teacher_signal"]).seconds for one in arm.done if "teacher_signal" in one.stages]
    return {
        "rationales": taught.number if taught else None,
        "rationale_words": taught.words if taught else None,
        "teacher_tokens_read": asked,
        "teacher_tokens_written": written,
        "teacher_seconds": round(annotation.seconds, 1) if annotation else None,
        "signal_seconds": _mean(signals, 1),
        "training_tokens": _mean([one.get("num_tokens") for one in trainings], 0),
        "training_seconds": _mean([one.get("seconds") for one in trainings], 1),
        "evaluation_seconds": _mean([read.stage(one.stages["evaluation"]).seconds for one in arm.done], 1),
        "output_tokens": _mean([mean_output_tokens(cell.predictions) for cell in cells], 1),
        **_thoughts(cells),
        **_samples([found for one in trainings if (found := one.get("rollouts"))]),
        **_overlap([found for one in trainings if (found := one.get("overlap"))]),
    }


def _samples(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Fact]:
    """How the student's own samples in training were; nothing where it had none."""
    named = {"tokens": "mean_length", "truncated": "truncated", "repeated": "repeated"}
    return {f"sample_{name}": _mean([one.get(key) for one in trainings], 1) for name, key in named.items() if trainings}


def _overlap(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Fact]:
    """The teacher's probability on the student's likeliest tokens before training; nothing without a teacher."""
    named = {"examples": "overlap_on_examples", "samples": "overlap_on_samples"}
    found = {name: [one[what]["mass"] for one in trainings if what in one] for what, name in named.items()}
    return {name: _mean(shares, 4) for name, shares in found.items() if shares}


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
