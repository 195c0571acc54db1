"""Selection: which of a teacher's possible rationales a question gets, and which questions get any.

Best of n by verification does not need this: a teacher that is asked draws until ``annotation.keep`` accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path

from cotdistill.annotation.rationales import Dropped, Rationales
from cotdistill.annotation.scoring import difficulties, rank_surprisal_ratio, rationale_scores
from cotdistill.config import AnnotationConfig, Model, RoutedTeacher, Teacher
from cotdistill.config.selection import GranularityMix, HybridGranularity, LowestRankSurprisal, Selection
from cotdistill.errors import ConfigError
from cotdistill.records import Question, Rationale, count_by
from cotdistill.tasks.prompts import response_text

Collect = Callable[[Sequence[Question], Teacher, AnnotationConfig], Rationales]


def levels_of(annotation: AnnotationConfig) -> tuple[int | None, ...]:
    """The levels at which rationales may be collected."""
    selection = annotation.selection
    if isinstance(selection, GranularityMix):
        return tuple(sorted(selection.shares))
    if isinstance(selection, HybridGranularity):
        return tuple(dict.fromkeys(selection.levels))
    return (selection and selection.levels) or (annotation.granularity,)


def student_of(selection: Selection | None, student: Model | None) -> Model | None:
    """The student that the selection asks, or None if it asks none. Raises ConfigError if it is not known."""
    if selection is None or isinstance(selection, GranularityMix):
        return None
    if (asked := selection.student or student) is None:
        raise ConfigError(f"selection {selection.kind} needs a student", remedy="set annotation.selection.student")
    return asked


def select(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    *,
    student: Model | None,
    collect: Collect,
    runs: Path,
) -> Rationales:
    """The rationales that ``annotation.selection`` chooses, in the order of ``questions``, each with its level.

    A question without an acceptable rationale at its level is dropped, as it is without a selection.
    """
    selection, plain = annotation.selection, annotation.model_copy(update={"selection": None})
    asked = student_of(selection, student)
    if isinstance(selection, LowestRankSurprisal):
        assert asked is not None
        return _lowest_rank_surprisal(questions, teacher, plain, selection, asked, collect, runs)
    if isinstance(selection, HybridGranularity):
        assert asked is not None
        measured = dict(zip((q.id for q in questions), difficulties(questions, asked, runs), strict=True))
        shares = selection.shares or (1.0,) * len(selection.levels)
        order = sorted(questions, key=lambda question: (measured[question.id], _hash(question.id, "order")))
        levels = dict(zip((q.id for q in order), _by_share(len(order), selection.levels, shares), strict=True))
    else:
        assert isinstance(selection, GranularityMix)
        measured = {}
        order = sorted(questions, key=lambda question: _hash(question.id, f"mix {selection.seed}"))
        chosen = _by_share(len(order), tuple(selection.shares), tuple(selection.shares.values()))
        levels = dict(zip((q.id for q in order), chosen, strict=True))
    return _at_levels(questions, teacher, plain, levels, measured, collect)


def within_words(rationales: Sequence[Rationale], max_total_words: int) -> tuple[list[Rationale], list[Dropped]]:
    """The rationales that fit a budget of words to learn (rationale and answer), and those beyond it.

    They are taken in the order of a hash of their ids until the next one does not fit, so that the questions of a small
    budget are among those of a larger one, and arms of equal budget differ in how many questions it buys.
    """
    order = sorted(range(len(rationales)), key=lambda place: _hash(rationales[place].id, "budget"))
    words = accumulate(num_learnt_words(rationales[place]) for place in order)
    kept = {place for place, total in zip(order, words, strict=True) if total <= max_total_words}
    beyond = [Dropped.of(one, "over_budget") for place, one in enumerate(rationales) if place not in kept]
    return [one for place, one in enumerate(rationales) if place in kept], beyond


def num_learnt_words(rationale: Rationale) -> int:
    """Words of what the student learns to write: the rationale and the statement of the answer."""
    return len(response_text(rationale).split())


def _at_levels(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    levels: dict[str, int],
    measured: dict[str, float],
    collect: Collect,
) -> Rationales:
    """Rationales at each question's level, with its measured difficulty in ``meta["difficulty"]``."""
    found: dict[str, Rationale] = {}
    left_out: list[Dropped] = []
    tokens: list[tuple[int, int]] = []
    for level in sorted(set(levels.values())):
        at_level = [question for question in questions if levels[question.id] == level]
        made = collect(at_level, teacher, annotation.model_copy(update={"granularity": level}))
        found |= {rationale.id: rationale for rationale in made}
        left_out += made.left_out
        tokens.append(made.tokens)
    records = [found[question.id] for question in questions if question.id in found]
    if measured:
        records = [replace(one, meta=one.meta | {"difficulty": measured[one.id]}) for one in records]
    return _rationales(records, left_out, tokens)


def _lowest_rank_surprisal(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    selection: LowestRankSurprisal,
    student: Model,
    collect: Collect,
    runs: Path,
) -> Rationales:
    candidates: list[Rationale] = []
    refused: dict[str, Dropped] = {}
    tokens: list[tuple[int, int]] = []
    for level in selection.levels or (annotation.granularity,):
        for draw in range(selection.num_draws):
            made = collect(questions, at_draw(teacher, draw), annotation.model_copy(update={"granularity": level}))
            candidates += made.records
            tokens.append(made.tokens)
            refused |= {dropped.id: dropped for dropped in made.left_out}
    best: dict[str, tuple[float, Rationale]] = {}
    for candidate, score in zip(candidates, rationale_scores(candidates, student, runs), strict=True):
        ratio = rank_surprisal_ratio(score)
        if candidate.id not in best or ratio < best[candidate.id][0]:
            best[candidate.id] = (ratio, replace(candidate, meta=candidate.meta | {"rank_surprisal": ratio}))
    order = sorted(best, key=lambda name: (best[name][0], _hash(name, "order")))
    kept = set(order[: max(1, round(selection.keep_share * len(order)))])
    left_out = [refused[question.id] for question in questions if question.id not in best]
    left_out += [Dropped.of(best[name][1], "high_rank_surprisal", f"{best[name][0]}") for name in order[len(kept) :]]
    return _rationales([best[question.id][1] for question in questions if question.id in kept], left_out, tokens)


def at_draw(teacher: Teacher, draw: int) -> Teacher:
    """The teacher for one more draw: with another seed, under which its completions are asked for and kept anew.

    Each of its own draws raises the seed by one, so the next one starts after them.
    """
    if draw == 0:
        return teacher
    if isinstance(teacher, RoutedTeacher):
        others = {name: at_draw(each, draw) for name, each in teacher.teachers.items()}
        default = teacher.default and at_draw(teacher.default, draw)
        return teacher.model_copy(update={"teachers": others, "default": default})
    sampling = getattr(teacher, "sampling", None)
    if sampling is None or not sampling.temperature:
        problem = f"the teacher {teacher.kind} gives the same rationale at every draw"
        raise ConfigError(problem, where="annotation.selection", remedy="set num_draws: 1, or a sampling.temperature")
    seed = (sampling.seed or 0) + draw * getattr(teacher, "max_draws", 1)
    other = sampling.model_copy(update={"seed": seed})
    return teacher.model_copy(update={"sampling": other})


def _rationales(
    records: Sequence[Rationale], left_out: Sequence[Dropped], tokens: Sequence[tuple[int, int]]
) -> Rationales:
    dropped = count_by(one.reason for one in left_out)
    paid = sum(tokens_in for tokens_in, _ in tokens), sum(tokens_out for _, tokens_out in tokens)
    return Rationales(tuple(records), dropped, left_out=tuple(left_out), tokens=paid)


def _by_share(count: int, levels: Sequence[int], shares: Sequence[float]) -> list[int]:
    """A level for each of ``count`` places in order: the first share gets the first level, and so on."""
    ends = [round(count * reached / sum(shares)) for reached in accumulate(shares)]
    starts = [0, *ends[:-1]]
    return [level for level, start, end in zip(levels, starts, ends, strict=True) for _ in range(start, end)]


def _hash(name: str, purpose: str) -> bytes:
    """Another order for each purpose: a budget must not cut off what a mix puts last."""
    return blake2b(f"{purpose} {name}".encode("utf-8", "backslashreplace"), digest_size=8).digest()
