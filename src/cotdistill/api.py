"""The verbs as Python functions: load_task, annotate, train, evaluate and compare; run and plan for a whole file.

Each takes ``runs``, the folder that holds all stages, and returns an object whose records iterate and whose ``path`` is
its stage folder. What was already made from the same inputs is read, not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.config import (
    AnnotationConfig,
    EvaluationConfig,
    Experiment,
    LossConfig,
    Metric,
    ModelConfig,
    Settings,
    Signal,
    TaskConfig,
    TeacherConfig,
    TrainingConfig,
    experiment_of,
    load_experiment,
    validated,
)
from cotdistill.errors import ConfigError, DataError, printable
from cotdistill.records import ACCURACY, AnswerType, Format, Question, Rationale, Verdict

__all__ = [
    "annotate",
    "check_rationale",
    "compare",
    "evaluate",
    "judge",
    "load_task",
    "plan",
    "read_answer",
    "run",
    "train",
]

if TYPE_CHECKING:
    from cotdistill.annotation import Rationales
    from cotdistill.evaluation.evaluate import Evaluation
    from cotdistill.evaluation.statistics.comparisons import ComparisonResult
    from cotdistill.experiments.plan import Plan
    from cotdistill.experiments.result import ExperimentResult
    from cotdistill.rationales.faults import Fault
    from cotdistill.tasks import Task
    from cotdistill.training.stage import Student


class _TaskArgument(Settings):
    task: TaskConfig


class _TeacherArgument(Settings):
    teacher: TeacherConfig


def load_task(task: str | Path, **settings: Any) -> Task:
    """A built-in benchmark by name, ``procedural``, or your own file; ``settings`` are those of a ``task``.

    Raises ConfigError for an unknown name or setting, DataError for a file that cannot be used.
    """
    from cotdistill import tasks

    name = str(task)
    values: Any = name
    if settings:
        is_file = Path(name).suffix or "/" in name
        values = settings | ({} if name == "procedural" else {"train" if is_file else "name": name})
    return tasks.load_task(validated(_TaskArgument, {"task": values}, where="load_task").task)


def annotate(
    questions: Sequence[Question],
    teacher: str | Settings,
    *,
    granularity: int | None = 3,
    format: Format = "cot",
    keep: str = "finished",
    answer_conditioned: bool = False,
    perturbation: str | Settings | None = None,
    selection: Settings | None = None,
    max_total_words: int | None = None,
    decontaminate: str = "questions",
    evaluation: Sequence[Question] = (),
    data_dir: str | Path | None = None,
    runs: str | Path = "runs",
) -> Rationales:
    """Rationales for ``questions`` from a teacher: a kind by name (``procedural``, ``human``, ...) or its settings.

    The settings are those of an experiment's ``annotation``. Questions that are also in ``evaluation`` are dropped as
    ``decontaminate`` says; ``data_dir`` holds released rationales.
    """
    from cotdistill import annotation

    values = {
        "granularity": granularity,
        "format": format,
        "keep": keep,
        "answer_conditioned": answer_conditioned,
        "perturbation": perturbation,
        "selection": selection,
        "max_total_words": max_total_words,
        "decontaminate": decontaminate,
    }
    config = validated(AnnotationConfig, values, where="annotate")
    source = validated(_TeacherArgument, {"teacher": teacher}, where="annotate").teacher
    folder = None if data_dir is None else Path(data_dir)
    return annotation.annotate(questions, source, config, runs=Path(runs), data_dir=folder, evaluation=evaluation)


def train(
    student: str | ModelConfig,
    rationales: Iterable[Rationale],
    *,
    loss: Sequence[LossConfig] | None = None,
    signal: Signal | None = None,
    seed: int = 0,
    runs: str | Path = "runs",
    **settings: Any,
) -> Student:
    """Train a student; ``settings`` are the other fields of TrainingConfig. Unknown ones are refused."""
    from cotdistill.training.stage import train as train_stage

    values = settings | {"signal": signal} | ({} if loss is None else {"loss": tuple(loss)})
    config = validated(TrainingConfig, values, where="train")
    return train_stage(_model(student), list(rationales), config, seed=seed, runs=Path(runs))


def evaluate(
    student: str | ModelConfig | Student, questions: Sequence[Question], *, runs: str | Path = "runs", **settings: Any
) -> Evaluation:
    """Test a student, or any model, on ``questions``; ``settings`` are the other fields of EvaluationConfig."""
    from cotdistill.evaluation.evaluate import evaluate as evaluate_stage
    from cotdistill.experiments.make import prompt_target
    from cotdistill.training.stage import Student

    config = validated(EvaluationConfig, settings, where="evaluate")
    trained = student if isinstance(student, Student) else None
    model = ModelConfig(model=str(student.model)) if isinstance(student, Student) else _model(student)
    return evaluate_stage(model, questions, target=prompt_target(config, trained), config=config, runs=Path(runs))


def compare(
    a: Evaluation | Sequence[Evaluation],
    b: Evaluation | Sequence[Evaluation],
    *,
    names: tuple[str, str] = ("a", "b"),
    metric: str = ACCURACY,
) -> ComparisonResult:
    """The difference between two students on the same questions, or between two arms with one evaluation of each per
    seed.

    Two students are compared with respect to new questions (McNemar's exact p, paired bootstrap interval), arms with
    respect to new questions and new seeds (t-test). A single evaluation, such as an untrained model's, is compared with
    every seed of the other arm. ``metric`` is accuracy, or of k samples of each question ``pass@k``, ``avg@k`` or
    ``maj@k``. Raises DataError if questions differ, an arm lacks a seed or has too few samples, ConfigError for an
    unknown metric.
    """
    from cotdistill.evaluation.statistics.comparisons import pooled

    arms = [[one.predictions for one in (arm if isinstance(arm, Sequence) else [arm])] for arm in (a, b)]
    most = max(map(len, arms))
    first, second = (arm * most if len(arm) == 1 else arm for arm in arms)
    if len(first) != len(second):
        problem = f"{len(first)} evaluations of {names[0]} and {len(second)} of {names[1]}"
        raise DataError(problem, where="compare", remedy="give one of each per seed")
    return pooled(list(zip(first, second, strict=True)), names=names, metric=_metric(metric))


class _MetricArgument(Settings):
    metric: Metric


def _metric(name: str) -> str:
    return validated(_MetricArgument, {"metric": name}, where="compare").metric


def read_answer(text: str, answer_type: AnswerType, choices: Sequence[str] | None = None) -> str | None:
    """The canonical form of the answer that a completion states ("The answer is ...", a box, ...), or None."""
    from cotdistill.tasks.answers.reading import extract_answer

    return extract_answer(text, answer_type, choices)


def judge(text: str, question: Question, finished: bool = True) -> tuple[str | None, Verdict]:
    """The answer that a completion states, or None, and the verdict on it.

    ``finished`` is False if the completion is cut off at a token limit.
    """
    from cotdistill.tasks.answers.reading import judge as judge_output

    return judge_output(text, question, finished=finished)


def check_rationale(rationale: Rationale) -> list[Fault]:
    """Everything that is wrong with a rationale, as verification finds it: each fault with its reason and evidence."""
    from cotdistill.rationales.faults import find_faults

    return find_faults(rationale)


def run(
    experiment: str | Path | Mapping[str, Any] | Experiment,
    *,
    runs: str | Path = "runs",
    jobs: int = 1,
    report: bool = True,
    **settings: Any,
) -> ExperimentResult:
    """Make what is missing from an experiment: a file, the content of one, or an experiment already read.

    ``settings`` override it as ``--set`` does; write a dotted key as ``**{"training.epochs": 1}``. With ``report``, the
    report is written into the experiment's folder. Several ``jobs`` are processes that import the calling script, which
    must then call this under ``if __name__ == "__main__":``. Raises ConfigError for what cannot be run; a failed cell
    is in the result.
    """
    from cotdistill.experiments.run import run_experiment
    from cotdistill.experiments.work import Work

    result = run_experiment(_experiment(experiment, settings), Work(Path(runs), _say), jobs=jobs)
    if report:
        from cotdistill.reports import write_report
        from cotdistill.reports.result import evidence_of

        write_report(evidence_of(result), result.path)
    return result


def plan(experiment: str | Path | Mapping[str, Any] | Experiment, **settings: Any) -> Plan:
    """The cells of an experiment and the arms that it compares; nothing is run. Arguments are those of :func:`run`."""
    from cotdistill.experiments.plan import plan as plan_experiment

    return plan_experiment(_experiment(experiment, settings))


def _experiment(experiment: str | Path | Mapping[str, Any] | Experiment, settings: dict[str, Any]) -> Experiment:
    if isinstance(experiment, str | Path):
        return load_experiment(Path(experiment), settings)
    if isinstance(experiment, Mapping):
        return experiment_of({"name": "experiment"} | dict(experiment), settings, where="run")
    if settings:
        raise ConfigError(
            "an experiment that is already read cannot take settings", where="run", remedy="give its file"
        )
    return experiment


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _model(model: str | ModelConfig) -> ModelConfig:
    return model if isinstance(model, ModelConfig) else validated(ModelConfig, {"model": model}, where="model")
