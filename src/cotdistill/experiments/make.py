"""The stages of one cell: rationales, the teacher's signal, a student, its predictions. Finished stages are read.

What loads torch is imported where it is used: an annotation that is only read, or asked of a server, does not need it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.annotation import AnnotationRequest, Rationales, make_annotation, read_annotation
from cotdistill.annotation import Plan as AnnotationPlan
from cotdistill.annotation import plan as plan_annotation
from cotdistill.config import (
    CellConfig,
    EvaluationConfig,
    ModelConfig,
    arm_of,
    with_models,
)
from cotdistill.errors import ArtifactError
from cotdistill.experiments.handing import Cells
from cotdistill.experiments.plan import Cell
from cotdistill.experiments.validating import held_out_of
from cotdistill.experiments.work import Work, reasons
from cotdistill.rationales.lengths import WARN_ABOVE
from cotdistill.records import Question
from cotdistill.storage.stored import joined
from cotdistill.tasks.exemplars import exemplar_questions
from cotdistill.tasks.prompts import Target
from cotdistill.tasks.targets import refuse_misjudged

if TYPE_CHECKING:
    from cotdistill.evaluation.evaluate import Evaluation
    from cotdistill.training.stage import Student


def make_cell(cell: Cell, plan: Cells, work: Work) -> dict[str, Path]:
    """Make what is missing from a cell; returns the folder of each of its stages, by noun."""
    until = work.until
    if until == "annotate" and cell.untrained:
        return {}
    asks_a_student = cell.config.annotation.selection is not None
    config = with_trained_models(cell, plan, work) if until != "annotate" or asks_a_student else cell.config
    stages: dict[str, Path] = {}
    student = None
    if config.training is not None:
        stages["annotation"] = make_rationales(config, work)
        rationales = read_annotation(stages["annotation"])
        if until == "annotate":
            where = f"{cell.title}, annotation"
            if misjudged := refuse_misjudged(rationales.records, config.training.target, where=where):
                work.say(f"{cell.title}: {misjudged}")
            return stages
        if until == "capture":
            return stages | capture_signals_of(config, rationales, work)
        work.say(f"{cell.title}: train {config.student.model} on {_counted(rationales)}")
        if warning := much_left_out(rationales):
            work.say(f"{cell.title}: {warning}")
        student = train_student(config, rationales, work, title=cell.title)
        stages["training"] = student.path
        if student.dropped:
            work.say(f"{cell.title}: dropped from training: {reasons(student.dropped)}")
    if until == "evaluate":
        work.say(f"{cell.title}: evaluate {student.model if student else f'{config.student.model}, untrained'}")
        stages["evaluation"] = _tested(cell, config, student, work).path
    return stages


def _tested(cell: Cell, config: CellConfig, student: Student | None, work: Work) -> Evaluation:
    from cotdistill.evaluation.evaluate import evaluated
    from cotdistill.evaluation.statistics.averages import by_task
    from cotdistill.training.card import add_scores

    evaluation = evaluate_student(config, student, work)
    if evaluation.dropped:
        work.say(f"{cell.title}: not asked and counted as truncated: {reasons(evaluation.dropped)}")
    if student is not None:
        untrained = {}
        with contextlib.suppress(ArtifactError):  # a damaged one is made again by the cell whose it is
            if before := evaluated(config.student, **_evaluation(config, None, work)):
                untrained = by_task(before.predictions)
        add_scores(student.model, by_task(evaluation.predictions), untrained)
    return evaluation


def with_trained_models(cell: Cell, plan: Cells, work: Work) -> CellConfig:
    """The cell with the folder of each student of another arm that it uses; one that is missing is trained first."""

    def trained(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        if arm is None:
            return model
        other = with_trained_models(plan.cell(cell.uses[arm]), plan, work)
        rationales = read_annotation(make_rationales(other, work))
        student = train_student(other, rationales, work, title=f"arm:{arm}")
        return model.model_copy(update={"model": str(student.model)})

    return with_models(cell.config, trained)


def with_first_models(cell: Cell, plan: Cells) -> CellConfig:
    """The cell with each student of another arm replaced by the model that its training starts from, to be checked."""

    def first(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        return model if arm is None else with_first_models(plan.cell(cell.uses[arm]), plan).student

    return with_models(cell.config, first)


def make_rationales(config: CellConfig, work: Work) -> Path:
    """The folder of the cell's rationales, which are made if needed and not read."""
    return make_annotation(annotation_request(config, work), work.runs)


def plan_rationales(config: CellConfig, work: Work) -> AnnotationPlan:
    """What is left to ask for the cell's rationales, and its approximate cost."""
    return plan_annotation(annotation_request(config, work), work.runs)


def annotation_request(config: CellConfig, work: Work) -> AnnotationRequest:
    """What is annotated for the cell, by whom and how."""
    evaluation = _test_questions(config, work)
    if config.evaluation.few_shot:
        evaluation = [*evaluation, *exemplar_questions(evaluation, _data_dir(config))]
    return AnnotationRequest(
        work.load(config.task).train,
        config.teacher,
        config.annotation,
        data_dir=getattr(config.task, "data_dir", None),
        evaluation=evaluation,
        student=config.student,
    )


def _test_questions(config: CellConfig, work: Work) -> Sequence[Question]:
    """Of one task as they are stored, which need not be read for their key."""
    return joined([work.load(task).test for task in config.evaluation.tasks or (config.task,)])


def train_student(config: CellConfig, rationales: Rationales, work: Work, *, title: str) -> Student:
    from cotdistill.config.files import written_yaml
    from cotdistill.training.distributed import ALONE
    from cotdistill.training.stage import train

    assert config.training is not None, "an untrained student has nothing to train"
    recipe = written_yaml(config.model_dump(mode="json"))
    return train(
        config.student,
        rationales.records,
        config.training,
        seed=config.seed,
        runs=work.runs,
        recipe=recipe,
        ranks=work.ranks or ALONE,
        say=lambda line: work.say(f"{title}: {line}"),
        held=held_out_of(config, work.load),
    )


def capture_signals_of(config: CellConfig, rationales: Rationales, work: Work) -> dict[str, Path]:
    """The folders of what is captured of the cell's teachers; from the second on, nouns are numbered."""
    from cotdistill.training.stage import capture_signals

    assert config.training is not None, "an untrained student has no signal to capture"
    if not config.training.captures:
        return {}
    held = held_out_of(config, work.load)
    stored = capture_signals(config.student, rationales.records, config.training, runs=work.runs, held=held)
    return {f"teacher_signal{f'_{n}' if n > 1 else ''}": each.folder for n, each in enumerate(stored, 1)}


def size_of_capture(config: CellConfig, rationales: Rationales) -> dict[str, Any]:
    """What capturing the cell's teachers takes, in tokens and bytes; at most, of samples that are not drawn yet."""
    from cotdistill.models.load.loading import load_tokenizer
    from cotdistill.training.data.store import student_examples
    from cotdistill.training.offline import longest_samples
    from cotdistill.training.signals.capture import capture_size, readable_size
    from cotdistill.training.teaching import taught

    assert config.training is not None
    examples = student_examples(config.student, rationales.records, config.training)
    if config.training.on_policy is not None and config.training.offline_samples:
        samples = longest_samples(examples, config.training.on_policy)
        examples = samples if config.training.on_policy.share == 1 else [*examples, *samples]
    lessons = taught(config.training, rationales.records, (examples, ()), load_tokenizer(config.student))
    sizes = [
        capture_size(captured, lessons.by(number), config.training.dtype)
        for number, signal in enumerate(config.training.signals)
        if (captured := config.training.captured(signal)) is not None
    ]
    size = {name: sum(size[name] for size in sizes) for name in sizes[0]}
    return size | {"size": readable_size(size["bytes"])}


def evaluate_student(config: CellConfig, student: Student | None, work: Work) -> Evaluation:
    """Test the student, or the untrained model if there is none, on the cell's evaluation tasks."""
    from cotdistill.evaluation.evaluate import evaluate

    model = config.student
    if student:  # it keeps the code of the model that it was made from, and adapters need that model's weights
        trust = {name: getattr(model, name) for name in ("trust_remote_code", "allow_pickle")}
        model = ModelConfig(model=str(student.model), **trust)
    return evaluate(model, **_evaluation(config, student, work))


def _evaluation(config: CellConfig, student: Student | None, work: Work) -> dict[str, Any]:
    """What the cell's model is asked, and how."""
    return {
        "questions": list(_test_questions(config, work)),
        "target": prompt_target(config.evaluation, student),
        "config": config.evaluation,
        "runs": work.runs,
        "data_dir": _data_dir(config),
    }


def _data_dir(config: CellConfig) -> Path | None:
    """The data folder that the cell's evaluation tasks name, if any."""
    folders = (getattr(task, "data_dir", None) for task in config.evaluation.tasks or (config.task,))
    return next((folder for folder in folders if folder), None)


def prompt_target(config: EvaluationConfig, student: Student | None) -> Target:
    """What the prompt asks for: by default what the student is trained to write; from an untrained one, a rationale."""
    if config.prompt != "auto":
        return config.prompt
    return student.target if student else "rationale"


def much_left_out(rationales: Rationales) -> str | None:
    """A warning if more than ``WARN_ABOVE`` of the questions have no rationale that was kept."""
    dropped = sum(rationales.dropped.values())
    total = len(rationales) + dropped
    if dropped <= WARN_ABOVE * total:
        return None
    return f"warning: {dropped} of {total} questions ({100 * dropped / total:.0f} %) are not trained on"


def _counted(rationales: Rationales) -> str:
    dropped = f" (dropped: {reasons(rationales.dropped)})" if rationales.dropped else ""
    compressed = f" (compressed: {reasons(rationales.compressed)})" if rationales.compressed else ""
    return f"{len(rationales)} rationales{dropped}{compressed}"
