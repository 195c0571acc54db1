"""A run: annotate, train and evaluate each arm, skip what is done, and keep the result of every arm together.

What loads torch is imported where it is used: an annotation that is only read, or asked of a server, does without.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.annotation import Plan, Rationales, make_annotation, plan, read_annotation
from cotdistill.config import (
    BenchmarkTask,
    CachedTeacher,
    EvaluationConfig,
    FileTask,
    ModelConfig,
    ProceduralTask,
    Run,
    RunConfig,
    arm_of,
    to_yaml,
    with_models,
)
from cotdistill.models.load.source import model_identity
from cotdistill.storage.stages import (
    canonical_json,
    disk_errors,
    hold,
    versions,
    write_json_atomically,
    write_text_atomically,
)
from cotdistill.tasks import Task, load_task
from cotdistill.tasks.exemplars import exemplar_questions
from cotdistill.tasks.prompts import Target
from cotdistill.tasks.task import refuse_repeated_questions

if TYPE_CHECKING:
    from cotdistill.evaluation.evaluate import Evaluation
    from cotdistill.evaluation.statistics.comparisons import ComparisonResult
    from cotdistill.training.signals.stored import StoredSignal
    from cotdistill.training.stage import Student

Say = Callable[[str], None]
LoadTask = Callable[[BenchmarkTask | FileTask | ProceduralTask], Task]


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What became of one arm. ``rationales`` and ``student`` are None for an arm that trains nothing."""

    name: str
    config: RunConfig
    rationales: Rationales | None
    student: Student | None
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a run: its arms in order, and the declared comparisons with Holm's correction over all of them."""

    run: Run
    path: Path
    arms: dict[str, ArmResult]
    comparisons: tuple[ComparisonResult, ...]
    seconds: float


def execute(run: Run, runs: Path, *, say: Say) -> RunResult:
    """Make every arm of ``run`` below ``runs``; stages that are finished are read, not made again."""
    from cotdistill.evaluation.statistics.comparisons import compare, holm

    started = time.time()
    path = runs / run.name
    with disk_errors(path), hold(path):
        load = loading_once(say)
        for config in run.arms.values():
            check_arm(before_training(config, run), load)
        write_text_atomically(path / "config.yaml", to_yaml(run))
        arms = {}
        for name, config in run.arms.items():
            result = execute_arm(name, after_training(config, run, runs, load), runs, say=say, load=load)
            arms[name] = replace(result, config=config)
        comparisons = [
            compare(arms[pair.a].evaluation.predictions, arms[pair.b].evaluation.predictions, names=(pair.a, pair.b))
            for pair in run.comparisons
        ]
        result = RunResult(run, path, arms, tuple(holm(comparisons)), time.time() - started)
        write_json_atomically(path / "manifest.json", run_manifest(result))
        return result


def run_manifest(result: RunResult) -> dict[str, Any]:
    """Versions, time, and for each arm its seed, its stage folders and the counts of what was left out."""
    return {
        "run": result.run.name,
        "versions": versions(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(result.seconds, 3),
        "arms": {name: _arm_manifest(arm, result.path) for name, arm in result.arms.items()},
    }


def _arm_manifest(arm: ArmResult, run_folder: Path) -> dict[str, Any]:
    stages = {"annotation": arm.rationales, "training": arm.student, "evaluation": arm.evaluation}
    paths = {noun: stage.path for noun, stage in stages.items() if stage is not None}
    return {
        "seed": arm.config.seed,
        "stages": {noun: os.path.relpath(path, run_folder) for noun, path in paths.items() if path is not None},
        "dropped": {
            "annotation": arm.rationales.dropped if arm.rationales else {},
            "training": arm.student.dropped if arm.student else {},
        },
    }


def check_arm(config: RunConfig, load: LoadTask = load_task) -> None:
    """Raise at once what would else end a run after hours: data or a model that is not there, vocabularies at odds."""
    load(config.task)
    tested = config.evaluation.tasks or (config.task,)
    refuse_repeated_questions(question for task in tested for question in load(task).test)
    if config.evaluation.server is None:
        model_identity(config.student)
    if config.training is None:
        return
    if config.training.adapter is not None:
        from cotdistill.models.load.adapters import check_quantization

        check_quantization(config.training.adapter)
    signal = config.training.signal
    if signal is not None and getattr(signal, "alignment", "none") == "none":
        from cotdistill.models.load.loading import load_tokenizer
        from cotdistill.models.tokens.vocabulary import check_same_vocabulary

        check_same_vocabulary(load_tokenizer(signal.model), load_tokenizer(config.student))


def before_training(config: RunConfig, run: Run) -> RunConfig:
    """The arm with the model that it starts from in the place of each student of another arm, to be checked."""

    def start_of(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        return model if arm is None else before_training(run.arms[arm], run).student

    return with_models(config, start_of)


def after_training(config: RunConfig, run: Run, runs: Path, load: LoadTask = load_task) -> RunConfig:
    """The arm with the folder of each student of another arm that it uses; one that is missing is trained first."""

    def trained(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        if arm is None:
            return model
        other = after_training(run.arms[arm], run, runs, load)
        student = train_arm(other, annotate_arm(other, runs, load), runs)
        return model.model_copy(update={"model": str(student.model)})

    return with_models(config, trained)


def loading_once(say: Say) -> LoadTask:
    """``load_task`` for a run: arms share tasks, and what a task leaves out is said once."""
    loaded: dict[str, Task] = {}

    def load(config: BenchmarkTask | FileTask | ProceduralTask) -> Task:
        key = canonical_json(config.model_dump(mode="json"))
        if key not in loaded:
            loaded[key] = load_task(config)
            if loaded[key].dropped:
                say(f"{config.name}: left out of the questions {_reasons(loaded[key].dropped)}")
        return loaded[key]

    return load


def execute_arm(name: str, config: RunConfig, runs: Path, *, say: Say, load: LoadTask = load_task) -> ArmResult:
    """One arm: rationales, student, predictions."""
    from cotdistill.evaluation.statistics.averages import by_task
    from cotdistill.training.card import add_scores

    if config.training is None:
        say(f"{name}: evaluate {config.student.model}, untrained")
        evaluation = _counted_evaluation(name, config, None, runs, say, load)
        return ArmResult(name, config, None, None, evaluation)
    rationales = annotate_arm(config, runs, load)
    say(f"{name}: train {config.student.model} on {_counted(rationales)}")
    student = train_arm(config, rationales, runs)
    if student.dropped:
        say(f"{name}: left out of training {_reasons(student.dropped)}")
    say(f"{name}: evaluate {student.model}")
    evaluation = _counted_evaluation(name, config, student, runs, say, load)
    add_scores(student.model, by_task(evaluation))
    return ArmResult(name, config, rationales, student, evaluation)


def annotate_arm(config: RunConfig, runs: Path, load: LoadTask = load_task) -> Rationales:
    return read_annotation(make_arm_annotation(config, runs, load))


def make_arm_annotation(config: RunConfig, runs: Path, load: LoadTask = load_task) -> Path:
    """The folder of the arm's rationales, which are made if need be and not read."""
    return make_annotation(runs=runs, **_annotation_of(config, load))


def plan_arm(config: RunConfig, runs: Path, load: LoadTask = load_task) -> Plan:
    """What is left to ask for the arm's rationales, and about what it costs."""
    return plan(runs=runs, **_annotation_of(config, load))


def _annotation_of(config: RunConfig, load: LoadTask) -> dict[str, Any]:
    evaluation = [question for task in config.evaluation.tasks or (config.task,) for question in load(task).test]
    if config.evaluation.few_shot:
        evaluation += exemplar_questions(evaluation, _data_dir(config))
    return {
        "questions": load(config.task).train,
        "teacher": config.teacher,
        "annotation": config.annotation,
        "data_dir": getattr(config.task, "data_dir", None),
        "evaluation": evaluation,
        "student": config.student,
    }


def train_arm(config: RunConfig, rationales: Rationales, runs: Path) -> Student:
    from cotdistill.training.stage import train

    assert config.training is not None, "an untrained arm has nothing to train"
    recipe = to_yaml(config)
    return train(config.student, list(rationales), config.training, seed=config.seed, runs=runs, recipe=recipe)


def capture_arm(config: RunConfig, rationales: Rationales, runs: Path) -> StoredSignal:
    from cotdistill.training.stage import capture_signal

    assert config.training is not None, "an untrained arm has no signal to capture"
    return capture_signal(config.student, list(rationales), config.training, runs=runs)


def size_of_capture(config: RunConfig, rationales: Rationales) -> dict[str, Any]:
    """What capturing the arm's teacher will read and write, in tokens and bytes."""
    from cotdistill.training.signals.capture import capture_size, readable_size
    from cotdistill.training.stage import student_examples

    assert config.training is not None
    assert isinstance(config.training.signal, CachedTeacher)
    examples = student_examples(config.student, list(rationales), config.training)
    size = capture_size(config.training.signal, examples, config.training.dtype)
    return size | {"size": readable_size(size["bytes"])}


def evaluate_arm(config: RunConfig, student: Student | None, runs: Path, load: LoadTask = load_task) -> Evaluation:
    """Test the student, or the untrained model where there is none, on the arm's evaluation tasks."""
    from cotdistill.evaluation.evaluate import evaluate

    tasks = config.evaluation.tasks or (config.task,)
    questions = [question for task in tasks for question in load(task).test]
    # A student keeps the code of the model that it was made from.
    trusted = config.student.trust_remote_code
    model = ModelConfig(model=str(student.model), trust_remote_code=trusted) if student else config.student
    return evaluate(
        model,
        questions,
        target=prompt_target(config.evaluation, student),
        config=config.evaluation,
        runs=runs,
        data_dir=_data_dir(config),
    )


def _data_dir(config: RunConfig) -> Path | None:
    """The data folder that the arm's evaluation tasks name, if any of them does."""
    folders = (getattr(task, "data_dir", None) for task in config.evaluation.tasks or (config.task,))
    return next((folder for folder in folders if folder), None)


def _counted_evaluation(
    name: str, config: RunConfig, student: Student | None, runs: Path, say: Say, load: LoadTask
) -> Evaluation:
    evaluation = evaluate_arm(config, student, runs, load)
    if evaluation.dropped:
        say(f"{name}: not asked, and counted as truncated: {_reasons(evaluation.dropped)}")
    return evaluation


def prompt_target(config: EvaluationConfig, student: Student | None) -> Target:
    """What the prompt asks for: by default what the student was trained to give, a rationale of an untrained one."""
    if config.prompt != "auto":
        return config.prompt
    return student.target if student else "rationale"


def _counted(rationales: Rationales) -> str:
    dropped = f" (left out: {_reasons(rationales.dropped)})" if rationales.dropped else ""
    return f"{len(rationales)} rationales{dropped}"


def _reasons(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items())
