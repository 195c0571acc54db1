"""From a run or a study on disk to the evidence that its report is made from. Loads no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.evaluation.statistics.comparisons import score, wilson_interval
from cotdistill.records import Prediction, Question, Score, read_rows
from cotdistill.reports.evidence import Arm, Cell, Evidence, Fact, Missing, Untested
from cotdistill.reports.facts import factors_of, mean_output_tokens, mean_words, questions_reader, read_curve
from cotdistill.storage.stages import MANIFEST

if TYPE_CHECKING:
    from cotdistill.experiments import result as studies
    from cotdistill.pipeline import ArmResult, RunResult

ReadQuestions = Callable[[Path], tuple[Question, ...]]


def evidence_of_run(result: RunResult) -> Evidence:
    """The evidence of a run: scores, and beside them what each arm was made from and took."""
    read = questions_reader()
    arms = {name: _arm_of_run(arm, result, read) for name, arm in result.arms.items()}
    stages = [stage for arm in result.arms.values() for stage in (arm.rationales, arm.student, arm.evaluation)]
    seconds = _seconds_of({stage.path for stage in stages if stage and stage.path})
    return Evidence(result.run.name, result.run.question, arms, result.comparisons, seconds)


def _arm_of_run(arm: ArmResult, result: RunResult, read: ReadQuestions) -> Arm:
    curve = read_curve(arm.student.path / "metrics.jsonl") if arm.student else None
    cell = Cell(arm.config.seed, arm.evaluation.predictions, read(arm.evaluation.path), curve)
    base = _base_in_run(arm, result.arms)
    return Arm(arm.evaluation.score, _extras_of_run(arm, result.path), factors_of(arm.config), base, (cell,))


def _base_in_run(arm: ArmResult, arms: Mapping[str, ArmResult]) -> str | None:
    """The arm that tests the same student untrained."""
    if arm.config.training is None:
        return None
    untrained = (name for name, other in arms.items() if other.config.training is None)
    return next((name for name in untrained if arms[name].config.student == arm.config.student), None)


def _extras_of_run(arm: ArmResult, folder: Path) -> dict[str, Fact]:
    summary = arm.student.summary if arm.student else {}
    return {
        "rationales": len(arm.rationales) if arm.rationales else None,
        "rationale_words": mean_words(rationale.rationale for rationale in arm.rationales or ()),
        "training_tokens": summary.get("num_tokens"),
        "training_seconds": summary.get("seconds"),
        "evaluation_seconds": arm.evaluation.seconds,
        "output_tokens": mean_output_tokens(arm.evaluation.predictions),
        "predictions": os.path.relpath(arm.evaluation.path / "predictions.jsonl", folder),
        "student": os.path.relpath(arm.student.model, folder) if arm.student else arm.config.student.model,
    }


def evidence_of_study(result: studies.StudyResult) -> Evidence:
    """The evidence of a study as far as it is done; cells that failed or did not run yet are listed as missing."""
    read = questions_reader()
    done = _in_order({name: arm for name, arm in result.arms.items() if arm.done}, list(result.study.students))
    arms = {name: _arm_of_study(arm, done, read) for name, arm in done.items()}
    absent = [cell for cell in result.cells if cell.status != "done"]
    missing = [Missing(f"{cell.cell.arm} (seed {cell.cell.seed})", cell.error) for cell in absent]
    comparisons = [compared.result for compared in result.comparisons if compared.result]
    untested = [
        Untested(compared.pair.a, compared.pair.b, compared.problem or "")
        for compared in result.comparisons
        if not compared.result
    ]
    seconds = _seconds_of({folder for cell in result.done for folder in (cell.stages or {}).values()})
    return Evidence(result.study.name, result.study.question, arms, comparisons, seconds, missing, untested)


def _in_order(arms: Mapping[str, studies.ArmResult], students: list[str]) -> dict[str, studies.ArmResult]:
    """Student by student, each as it was before training first; a study plans the untrained last."""
    return dict(
        sorted(arms.items(), key=lambda item: (students.index(item[1].factors["student"]), not item[1].untrained))
    )


def _arm_of_study(arm: studies.ArmResult, arms: Mapping[str, studies.ArmResult], read: ReadQuestions) -> Arm:
    cells = []
    for one in arm.done:
        stages = one.stages or {}
        curve = read_curve(stages["training"] / "metrics.jsonl") if "training" in stages else None
        cells.append(Cell(one.cell.seed, one.predictions(), read(stages["evaluation"]), curve))
    pooled = score_of_seeds([cell.predictions for cell in cells])
    return Arm(pooled, _extras_of_study(arm, cells), _factors(arm), _base_in_study(arm, arms), cells)


def score_of_seeds(predictions: Sequence[Sequence[Prediction]]) -> Score:
    """One score of an arm's seeds: the mean accuracy, and verdicts counted over all of them.

    Outcomes of one item under several seeds are not independent, so ``n`` and the interval (Wilson's, of the mean) are
    of the items alone, as if there were one seed.
    """
    scores = [score(one) for one in predictions]
    if len(scores) == 1:
        return scores[0]
    n = max(one.n for one in scores)
    accuracy = sum(one.accuracy for one in scores) / len(scores)
    counts = {
        verdict: sum(getattr(one, verdict) for one in scores)
        for verdict in ("correct", "wrong", "unreadable", "truncated")
    }
    return Score(n=n, accuracy=accuracy, interval=wilson_interval(round(accuracy * n), n), **counts)


def _factors(arm: studies.ArmResult) -> dict[str, Fact]:
    """What the arm is made of; where the study has a name for it, in the study's own words."""
    named = {axis.rpartition(".")[2]: _fact(value) for axis, value in arm.factors.items() if axis != "training"}
    return factors_of(arm.cells[0].cell.config) | named


def _fact(value: Any) -> Fact:
    return value if isinstance(value, int | float | str | None) else json.dumps(value)


def _base_in_study(arm: studies.ArmResult, arms: Mapping[str, studies.ArmResult]) -> str | None:
    """The untrained arm that agrees in all factors that both have: the same student, asked in the same way."""
    if arm.untrained:
        return None
    for name, other in arms.items():
        shared = (arm.factors.keys() & other.factors.keys()) - {"training"}
        if other.untrained and all(arm.factors[axis] == other.factors[axis] for axis in shared):
            return name
    return None


def _extras_of_study(arm: studies.ArmResult, cells: Sequence[Cell]) -> dict[str, Fact]:
    """Means over the seeds that are done, rationales those of the first."""
    first = arm.done[0]
    folder = (first.stages or {}).get("annotation")
    rationales = [row["rationale"] for row in read_rows(folder / "rationales.jsonl")] if folder else []
    trainings = [one.summary("training") for one in arm.done]
    return {
        "rationales": len(rationales) or None,
        "rationale_words": mean_words(rationales),
        "training_tokens": _mean([one.get("num_tokens") for one in trainings], 0),
        "training_seconds": _mean([one.get("seconds") for one in trainings], 1),
        "evaluation_seconds": _mean([one.manifest("evaluation").get("seconds") for one in arm.done], 1),
        "output_tokens": _mean([mean_output_tokens(cell.predictions) for cell in cells], 1),
    }


def _mean(values: Sequence[int | float | None], digits: int) -> int | float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return round(mean, digits) if digits else round(mean)


def _seconds_of(folders: Iterable[Path]) -> float:
    """What stages took to make, whenever that was."""
    manifests = (json.loads((folder / MANIFEST).read_text(encoding="utf-8")) for folder in folders)
    return round(sum(manifest["seconds"] for manifest in manifests), 1)
