"""The cheap score of arms: the untrained student reads their rationales, one forward pass each."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import CellConfig
from cotdistill.experiments.advise.advice import ArmScore
from cotdistill.experiments.advise.halving import TRAINED, Price
from cotdistill.experiments.work import Work

MIN_VERIFIED = 0.5


def score_arm(name: str, config: CellConfig, work: Work, num_scored: int) -> ArmScore:
    """The score of an arm on its first ``num_scored`` training questions, and its cost from their lengths."""
    from cotdistill.annotation import read_annotation
    from cotdistill.annotation.scoring import rank_surprisal_ratio_of_set, rationale_scores
    from cotdistill.experiments.make import make_rationales
    from cotdistill.rationales.faults import find_faults
    from cotdistill.rationales.measures import num_words
    from cotdistill.training.data.store import student_examples

    assert config.training is not None
    task = work.load(config.task)
    num_test = sum(len(work.load(each).test) for each in config.evaluation.tasks or (config.task,))
    sample = min(num_scored, len(task.train))
    sampled = config.model_copy(update={"task": config.task.model_copy(update={"num_train": sample})})
    rationales = read_annotation(make_rationales(sampled, work)).records
    lengths = [len(example) for example in student_examples(config.student, rationales, config.training)]
    mean = sum(lengths) / len(lengths)
    share_kept = len(lengths) / sample
    kept = len(task.train) * share_kept
    price = Price(TRAINED * config.training.epochs_of(round(kept)) * kept * mean, num_test * mean)
    reasoned = [rationale for rationale in rationales if rationale.rationale is not None]
    if not reasoned:
        return ArmScore(name, None, None, None, price, 0.0)
    ratio = rank_surprisal_ratio_of_set(rationale_scores(reasoned, config.student, work.runs))
    verified = sum(not find_faults(rationale) for rationale in reasoned) / len(reasoned)
    words = sum(num_words(rationale.rationale or "") for rationale in reasoned) / len(reasoned)
    return ArmScore(name, ratio, verified, words, price, float(sum(lengths)))


def kept_by_score(scores: Sequence[ArmScore], keep: float) -> list[str]:
    """The arms that go on: all without a score, and this share of the others, but at least two arms."""
    unscored = [score.name for score in scores if score.rank_surprisal is None]
    scored = sorted((score for score in scores if score.rank_surprisal is not None), key=_score_order)
    num_kept = max(round(keep * len(scored)), 2 - len(unscored), 0)
    return unscored + [score.name for score in scored[:num_kept]]


def _score_order(score: ArmScore) -> tuple[bool, float, float]:
    return (score.verified or 0.0) < MIN_VERIFIED, score.rank_surprisal or 0.0, score.num_words or 0.0
