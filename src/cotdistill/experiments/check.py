"""Checks of an experiment's inputs before it begins, so that nothing fails hours later.

``run``, ``plan`` and every ``--dry-run`` call :func:`check_run`: all of them refuse the same with the same line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cotdistill.annotation.teachers.sources import source_of
from cotdistill.config import (
    AnyTask,
    BenchmarkTask,
    CellConfig,
    DatasetTeacher,
    FileTask,
    HumanTeacher,
    ModelConfig,
    OwnDivergence,
    OwnQuestions,
    OwnTeacher,
    Part,
    ProceduralTeacher,
    Rewritten,
    ScriptedModel,
    TrainingConfig,
    TrainingTarget,
    models_of,
    teachers_of,
)
from cotdistill.errors import DataError, ModelError, nearest
from cotdistill.experiments.make import with_first_models
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.sizes import are_here
from cotdistill.experiments.validating import held_out_of
from cotdistill.experiments.work import LoadTask, Say
from cotdistill.models.load.builtin import NANO, PREFIX, SMOLLM2, is_converted
from cotdistill.models.load.hub import Unreachable
from cotdistill.models.load.source import check_found, is_hub_name
from cotdistill.records import Question, Rationale
from cotdistill.storage.hashes import canonical_json
from cotdistill.tasks import Task
from cotdistill.tasks.columns import likely_column
from cotdistill.tasks.files import place_of
from cotdistill.tasks.tables import read_table
from cotdistill.tasks.targets import refuse_misjudged
from cotdistill.tasks.task import refuse_repeated_questions
from cotdistill.training.tracking import check_trackers


def check_run(
    cells: Sequence[Cell],
    plan: Plan,
    load: LoadTask,
    *,
    say: Say | None = None,
    sample: int | None = None,
    models: bool = True,
    fetch: bool = True,
) -> list[Task]:
    """Raise what would fail later; return the user's own questions.

    ``say`` is told which training targets would not be judged correct; with a ``sample`` only so many of them are
    judged, at equal distances (they all are before anything is trained on them). Without ``models`` (a cluster's nodes
    have them) no model is looked for. Without ``fetch`` nothing is loaded from the hub: ``say`` is told what
    cannot be known without it.

    Raises ConfigError for parts of the user's own that cannot be used, DataError for questions, and ModelError for
    models that are missing, or whose vocabularies do not match.
    """
    read = _own_questions(cells, say, load, sample)
    check = _Check(load, say or (lambda line: None), models, fetch)
    checked: set[str] = set()
    for cell in cells:
        config = with_first_models(cell, plan)
        _check_parts(config)
        if (key := _inputs(config)) not in checked:
            check.cell(config)
            checked.add(key)
    return read


def _own_questions(cells: Iterable[Cell], say: Say | None, load: LoadTask, sample: int | None) -> list[Task]:
    own: dict[str, OwnQuestions] = {}
    need_rationales: set[str] = set()
    trained: set[tuple[str, TrainingTarget, bool]] = set()
    for cell in cells:
        _refuse_unknown_models(cell.config)
        for task in _tasks(cell.config):
            if isinstance(task, OwnQuestions):
                key = canonical_json(task.model_dump(mode="json"))
                own[key] = task
                if task is cell.config.task and cell.config.training:
                    human = isinstance(cell.config.teacher, HumanTeacher)
                    trained.add((key, cell.config.training.target, human))
                    need_rationales |= {key} if human else set()
    loaded = {key: load(task) for key, task in own.items()}
    for key in need_rationales:
        if not any(question.human_rationale for question in loaded[key].train):
            remedy = f"name their column with columns: {{rationale: {_likely(own[key])}}}"
            remedy += ", or use a teacher other than human"
            raise DataError("no question has a rationale", where=place_of(own[key], "train"), remedy=remedy)
    for task in loaded.values() if say else ():
        if (same := _only_answer(task)) is not None and say:
            say(f"warning: {task.name}: all answers are {same!r}; name another column with columns: {{answer: NAME}}")
    for key, target, human in sorted(trained):
        line = _misjudged(loaded[key], target, sample, human=human)
        if line and say:
            say(f"{loaded[key].name}: {line}")
    return list(loaded.values())


def _likely(task: OwnQuestions) -> str:
    """The column of a file that probably holds rationales, or what stands for one."""
    if not isinstance(task, FileTask) or task.train is None:
        return "NAME"
    return likely_column("rationale", next(read_table(task.train))[1]) or "NAME"


def _only_answer(task: Task) -> str | None:
    """The answer that all of several questions have."""
    answers = {question.answer for question in (*task.train, *task.test)}
    return answers.pop() if len(answers) == 1 and len(task.train) + len(task.test) > 1 else None


def _tasks(config: CellConfig) -> tuple[AnyTask, ...]:
    return (config.task, *(config.evaluation.tasks or ()))


def _misjudged(task: Task, target: TrainingTarget, sample: int | None, *, human: bool) -> str | None:
    """What is wrong with the training targets that are known beforehand: human rationales, or the answers alone."""
    rows = [
        Rationale(question, question.human_rationale if human else None, "human", None, "human")
        for question in task.train[:: -(-len(task.train) // sample) or 1 if sample else 1]
        if question.human_rationale or not human
    ]
    return refuse_misjudged(rows, target, where=task.name)


def _refuse_unknown_models(config: CellConfig) -> None:
    known = (SMOLLM2, *NANO)
    for model in (*models_of(config), *_models_that_write(config)):
        if model.model.startswith(PREFIX) and model.model not in known:
            raise ModelError("no such built-in model", where=model.model, remedy=nearest(model.model, known))
        if PREFIX + model.model in known:
            remedy = f"did you mean '{PREFIX}{model.model}'?"
            raise ModelError("a built-in model is named with its prefix", where=model.model, remedy=remedy)


def _models_that_write(config: CellConfig) -> Iterator[ModelConfig]:
    """The models in this process that write, rewrite or choose a cell's rationales."""
    if config.training is None:
        return
    compress = config.annotation.compress
    writers = (*teachers_of(config.teacher), *((compress.teacher,) if isinstance(compress, Rewritten) else ()))
    chooser = getattr(config.annotation.selection, "student", None)
    for model in (*(getattr(writer, "model", None) for writer in writers), chooser):
        if isinstance(model, ModelConfig):
            yield model


def _inputs(config: CellConfig) -> str:
    """What the checks of a cell depend on, as a text."""
    sections = [config.task, *(config.evaluation.tasks or ()), config.teacher, config.annotation, config.student]
    used = {"signal", "adapter", "optimizer", "response", "validation"}
    training = config.training and config.training.model_dump(mode="json", include=used)
    rows = [section.model_dump(mode="json") for section in sections]
    return canonical_json([rows, training, config.evaluation.served])


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


@dataclass(frozen=True, slots=True)
class _Check:
    """Of one cell: its data, its teacher and, if there are ``models`` here, those."""

    load: LoadTask
    say: Say
    models: bool
    fetch: bool

    def cell(self, config: CellConfig) -> None:
        if self._can_load(config.task):
            self._check_train(config)
        if all(map(self._can_load, _tasks(config))):
            tested = config.evaluation.tasks or (config.task,)
            refuse_repeated_questions(question for task in tested for question in self.load(task).test)
            held_out_of(config, self.load)
        for teacher in teachers_of(config.teacher) if config.training else ():
            if isinstance(teacher, ScriptedModel) and not teacher.completions.is_file():
                raise DataError("no such file", where=teacher.completions, remedy="check the path")
        if self.models:
            self._check_models(config)

    def _can_load(self, task: AnyTask) -> bool:
        """Whether the task's questions can be read now; a folder of data that is named has to hold them."""
        named = isinstance(task, BenchmarkTask) and task.data_dir is not None
        return self.fetch or are_here(task) or (self.models and named)

    def _check_train(self, config: CellConfig) -> None:
        task = self.load(config.task)
        if config.training is None:
            return
        if not task.train:
            remedy = "train on another task and name this one under evaluation.tasks, or set training: null"
            raise DataError(f"{config.task.name} has no questions to train on", where="task", remedy=remedy)
        _check_rationales(config, task.train)

    def _check_models(self, config: CellConfig) -> None:
        if not config.evaluation.served:
            self._find(config.student)
        training = config.training
        if training is None:
            return
        for model in _models_that_write(config):
            self._find(model)
        for signal in training.signals:
            if signal.server is None:
                self._find(signal.model)
        if training.adapter is not None and (not training.adapter.merge or training.adapter.quantize != "none"):
            from cotdistill.models.load.adapters import check_adapter

            check_adapter(training.adapter, config.student)
        if training.optimizer != "adamw":
            from cotdistill.training.optimizer import check_optimizer

            check_optimizer(training.optimizer)
        check_trackers(training.track)
        here = all(self.fetch or _is_here(model) for model in models_of(config))
        if here and (warning := _check_tokenizers(config.student, training)):
            self.say(warning)

    def _find(self, model: ModelConfig) -> None:
        try:
            check_found(model)
        except Unreachable as error:
            if self.fetch:
                raise
            self.say(f"a run will need what is not here: {error}")


def _is_here(model: ModelConfig) -> bool:
    return is_converted() if model.model == SMOLLM2 else not is_hub_name(model.model)


def _check_rationales(config: CellConfig, questions: Sequence[Question]) -> None:
    """Raise for a teacher that is not asked and cannot have rationales for these questions."""
    teacher, annotation = config.teacher, config.annotation
    if not isinstance(teacher, DatasetTeacher | HumanTeacher | ProceduralTeacher):
        return
    source = source_of(teacher, getattr(config.task, "data_dir", None))
    if isinstance(teacher, ProceduralTeacher):
        if annotation.selection is None:
            next(source.rationales(questions[:1], annotation), None)
        return
    found = source.identity(questions, annotation)
    if isinstance(teacher, HumanTeacher) and not found["files"] and not any(q.human_rationale for q in questions):
        remedy = "use a teacher other than human"
        raise DataError("no question has a rationale", where=config.task.name, remedy=remedy)


def _check_tokenizers(student: ModelConfig, training: TrainingConfig) -> str | None:
    """Raise ModelError for a student that cannot think and shall, and for a signal of other tokens. Loads torch where
    there is such a thing to check. Returns a warning of a teacher that has seen the answer, if there is a reason."""
    same = [signal for signal in training.signals if getattr(signal, "alignment", "none") == "none"]
    if training.response != "think" and not training.signals:
        return None
    from cotdistill.models.load.loading import load_tokenizer
    from cotdistill.models.tokens.thinking import settle
    from cotdistill.models.tokens.vocabulary import check_same_vocabulary
    from cotdistill.training.teaching import privileged

    response = settle(load_tokenizer(student), training.response)
    for signal in same:
        check_same_vocabulary(load_tokenizer(signal.model), load_tokenizer(student))
    return privileged(training, response)
