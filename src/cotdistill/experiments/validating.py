"""What a cell's validation asks: questions held out of its training, or those of a file, and never one of the test.

Loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cotdistill.annotation.decontaminate import normalised_words
from cotdistill.config import AnswerOnlyTeacher, CellConfig, FileTask, Validation
from cotdistill.errors import DataError
from cotdistill.evaluation.readers import judge_of
from cotdistill.experiments.work import LoadTask
from cotdistill.records import Question, Rationale
from cotdistill.training.held_out import HeldOut, held_out

SHARE, DATA = "training.validation.share", "training.validation.data"


def held_out_of(config: CellConfig, load: LoadTask) -> HeldOut | None:
    """What the cell's validation may ask; None without one.

    Raises DataError for questions that are also tested or trained on, for none, and for rows without what is to be
    measured on them; ConfigError for a reader that does not read their answers.
    """
    validation = config.training.validation if config.training else None
    if validation is None:
        return None
    tasks = config.evaluation.tasks or (config.task,)
    tested = [question for task in tasks for question in load(task).test]
    trained = load(config.task).train
    held = _of_share if validation.data is None else _of_file
    found = held(config, validation, load, trained, tested)
    if asked := found.asked(validation):
        judge_of(config.evaluation.reader, asked)
    return found


def held_out_line(config: CellConfig, load: LoadTask) -> str | None:
    """How many questions validation has, in words; None without one."""
    held, validation = held_out_of(config, load), config.training and config.training.validation
    if held is None or not validation:
        return None
    number = len(held.questions)
    if validation.data is None:
        return f"{number} of the {len(load(config.task).train)} questions are held out for validation"
    return f"validation has {number} questions of its own, from {validation.data.name}"


def _of_share(
    config: CellConfig, validation: Validation, load: LoadTask, trained: Sequence[Question], tested: Iterable[Question]
) -> HeldOut:
    """The held-out questions; those of the test are left out, as annotation leaves them out, unless it is told not
    to."""
    assert validation.share is not None
    chosen = held_out(trained, validation.share)
    also_tested = _shared(chosen, tested)
    if also_tested and config.annotation.decontaminate not in ("questions", "ngrams"):
        remedy = "set annotation.decontaminate: questions, which trains on none of them either"
        problem = f"{len(also_tested)} of {len(chosen)} held-out questions are also test questions"
        raise DataError(problem, where=SHARE, remedy=remedy)
    chosen = [question for place, question in enumerate(chosen) if place not in also_tested]
    if not 0 < len(chosen) < len(trained):
        problem = f"{validation.share:g} of {len(trained)} questions holds out {len(chosen)}"
        raise DataError(problem, where=SHARE, remedy="choose another share, or give a file (data)")
    return HeldOut(chosen, evaluation=config.evaluation)


def _of_file(
    config: CellConfig, validation: Validation, load: LoadTask, trained: Sequence[Question], tested: Iterable[Question]
) -> HeldOut:
    """The file's questions and rationales, read as the task's own files are."""
    changes = {"train": None, "test": validation.data, "name": None, "num_test": None}
    if isinstance(config.task, FileTask):
        if config.task.answer_type == "auto":
            changes["answer_type"] = trained[0].answer_type  # type: ignore[assignment]
        task = config.task.model_copy(update=changes)
    else:
        task = FileTask(test=validation.data)
    questions = load(task).test
    for others, said in ((tested, "test"), (trained, "training")):
        if also := _shared(questions, others):
            first = questions[min(also)]
            problem = f"{len(also)} of {len(questions)} are also {said} questions, the first is {first.id!r}"
            raise DataError(problem, where=validation.data, remedy="remove them from the file")
    rationales = [
        Rationale(one, one.human_rationale, "human", None, "human", reasoning=one.human_reasoning) for one in questions
    ]
    measured = isinstance(config.teacher, AnswerOnlyTeacher) or any(
        one.human_rationale or one.human_reasoning for one in questions
    )
    if not measured and (not validation.questions or (validation.chooses and validation.by == "loss")):
        remedy = "give the rows a rationale, or choose by: accuracy"
        raise DataError("no row has a rationale to take the loss of", where=validation.data, remedy=remedy)
    return HeldOut(questions, rationales, config.evaluation)


def _shared(questions: Sequence[Question], others: Iterable[Question]) -> set[int]:
    """The places of those with the same words as one of the others."""
    words: dict[tuple[str, ...], set[int]] = {}
    for place, question in enumerate(questions):
        words.setdefault(normalised_words(question.asked), set()).add(place)
    return set().union(*(words.get(normalised_words(other.asked), set()) for other in others))
