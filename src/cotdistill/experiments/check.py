"""Checks of an experiment's inputs before it begins, so that nothing fails hours later."""

from __future__ import annotations

from collections.abc import Iterable

from cotdistill.config import (
    CellConfig,
    HumanTeacher,
    OwnDivergence,
    OwnQuestions,
    OwnTeacher,
    Part,
    TrainingTarget,
    models_of,
    teachers_of,
)
from cotdistill.errors import DataError, ModelError, nearest
from cotdistill.experiments.make import with_first_models
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.work import LoadTask, Say
from cotdistill.models.load.builtin import NANO, PREFIX, SMOLLM2
from cotdistill.models.load.source import model_identity
from cotdistill.records import Rationale
from cotdistill.storage.hashes import canonical_json
from cotdistill.tasks import Task, load_task
from cotdistill.tasks.files import place_of
from cotdistill.tasks.targets import refuse_misjudged
from cotdistill.tasks.task import refuse_repeated_questions


def check_inputs(
    cells: Iterable[Cell], say: Say | None = None, load: LoadTask = load_task, sample: int | None = None
) -> list[Task]:
    """Check what can be checked at once and without torch: the user's own questions are read and returned; models are
    not.

    ``say`` is told which of their training targets would not be judged correct; with a ``sample`` only so many of them
    are judged, at equal distances (they all are before anything is trained on them).

    Raises DataError for questions that cannot be used, or that lack the human rationales that a cell needs, and
    ModelError for a built-in model that does not exist.
    """
    own: dict[str, OwnQuestions] = {}
    need_rationales: set[str] = set()
    trained: set[tuple[str, TrainingTarget, bool]] = set()
    for cell in cells:
        _refuse_unknown_models(cell)
        for task in (cell.config.task, *(cell.config.evaluation.tasks or ())):
            if isinstance(task, OwnQuestions):
                key = canonical_json(task.model_dump(mode="json"))
                own[key] = task
                if task is cell.config.task and cell.config.training:
                    human = isinstance(cell.config.teacher, HumanTeacher)
                    trained.add((key, cell.config.training.target, human))
                if task is cell.config.task and cell.config.training and isinstance(cell.config.teacher, HumanTeacher):
                    need_rationales.add(key)
    loaded = {key: load(task) for key, task in own.items()}
    for key in need_rationales:
        if not any(question.human_rationale for question in loaded[key].train):
            remedy = "name their column with columns: {rationale: NAME}, or use a teacher other than human"
            raise DataError("no question has a rationale", where=place_of(own[key], "train"), remedy=remedy)
    for key, target, human in sorted(trained):
        line = _misjudged(loaded[key], target, sample, human=human)
        if line and say:
            say(f"{loaded[key].name}: {line}")
    return list(loaded.values())


def _misjudged(task: Task, target: TrainingTarget, sample: int | None, *, human: bool) -> str | None:
    """What is wrong with the training targets that are known beforehand: human rationales, or the answers alone."""
    rows = [
        Rationale(question, question.human_rationale if human else None, "human", None, "human")
        for question in task.train[:: -(-len(task.train) // sample) or 1 if sample else 1]
        if question.human_rationale or not human
    ]
    return refuse_misjudged(rows, target, where=task.name)


def _refuse_unknown_models(cell: Cell) -> None:
    known = (SMOLLM2, *NANO)
    for model in models_of(cell.config):
        if model.model.startswith(PREFIX) and model.model not in known:
            raise ModelError("no such built-in model", where=model.model, remedy=nearest(model.model, known))


def check_cells(cells: Iterable[Cell], plan: Plan, load: LoadTask) -> None:
    """Raise for missing data or models, and for vocabularies that do not match; what cells share is checked once."""
    checked: set[str] = set()
    for cell in cells:
        config = with_first_models(cell, plan)
        signal = config.training.signal.model_dump(mode="json") if config.training and config.training.signal else None
        adapter = config.training.adapter.quantize if config.training and config.training.adapter else None
        optimizer = config.training.optimizer if config.training else None
        tasks = [task.model_dump(mode="json") for task in (config.task, *(config.evaluation.tasks or ()))]
        student = config.student.model_dump(mode="json")
        key = canonical_json([tasks, student, signal, adapter, optimizer, config.training is None])
        _check_parts(config)
        if key not in checked:
            check_cell(config, load)
            checked.add(key)


def _check_parts(config: CellConfig) -> None:
    """Raise ConfigError for a part of the user's own that cannot be imported, or takes other values."""
    if isinstance(config.evaluation.reader, Part):
        config.evaluation.reader.check("completion", "question", settings={})
    if config.training is None:
        return
    for teacher in teachers_of(config.teacher):
        if isinstance(teacher, OwnTeacher):
            teacher.function.check("question", "granularity", "format", settings=teacher.settings)
    if isinstance(config.annotation.prompt, Part):
        config.annotation.prompt.check("question", "granularity", "format", "gold", settings={})
    for term in config.training.loss:
        if isinstance(term, OwnDivergence):
            term.function.check("log_p", "log_q", settings=term.settings)


def check_cell(config: CellConfig, load: LoadTask = load_task) -> None:
    """Raise at once what would otherwise end a run after hours: missing data or models, vocabularies that do not
    match."""
    if not load(config.task).train and config.training:
        remedy = "train on another task and name this one under evaluation.tasks, or set training: null"
        raise DataError(f"{config.task.name} has no questions to train on", where="task", remedy=remedy)
    tested = config.evaluation.tasks or (config.task,)
    refuse_repeated_questions(question for task in tested for question in load(task).test)
    if not config.evaluation.served:
        model_identity(config.student)
    if config.training is None:
        return
    if config.training.adapter is not None:
        from cotdistill.models.load.adapters import check_adapter

        check_adapter(config.training.adapter, config.student)
    if config.training.optimizer != "adamw":
        from cotdistill.training.optimizer import check_optimizer

        check_optimizer(config.training.optimizer)
    if config.training.response == "think":
        from cotdistill.models.load.loading import load_tokenizer
        from cotdistill.models.tokens.thinking import settle

        settle(load_tokenizer(config.student), "think")
    signal = config.training.signal
    if signal is not None and getattr(signal, "alignment", "none") == "none":
        from cotdistill.models.load.loading import load_tokenizer
        from cotdistill.models.tokens.vocabulary import check_same_vocabulary

        check_same_vocabulary(load_tokenizer(signal.model), load_tokenizer(config.student))
