"""What a reader should know before believing the results, in sentences: what was left out, cut off, or not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cotdistill.evaluation.statistics.comparisons import ComparisonResult
from cotdistill.rationales.lengths import WARN_ABOVE
from cotdistill.records import ACCURACY, Score
from cotdistill.reports.details import reasons
from cotdistill.reports.evidence import Arm, Evidence
from cotdistill.reports.verdict import Name, Sentence, is_shown

_REMEDY_OF_UNREADABLE = "see under Samples what they wrote; evaluation.reader chooses how answers are read"
_NAMED = 3
"""Arms that a sentence names; the tables have all."""


def caveats(evidence: Evidence) -> list[Sentence]:
    """Sentences for all that is large enough to matter; none if nothing is."""
    return [
        *_left_out(evidence),
        *_unjudged(evidence, "truncated", _remedy_of_truncated),
        *_unjudged(
            evidence,
            "unreadable",
            lambda _: "see what they wrote under Samples; evaluation.reader chooses how they are read",
        ),
        *(sentence for each in evidence.comparisons if (sentence := _by_truncation(each, evidence))),
    ]


def _left_out(evidence: Evidence) -> Iterator[Sentence]:
    shares = {name: share for name, arm in evidence.arms.items() if (share := arm.share_left_out) is not None}
    for name, share in _largest(shares):
        why = reasons(evidence.arms[name].left_out)
        yield [Name(name), f" is not trained on {100 * share:.1f} % of its questions ({why})."]
    yield from _others(shares, "leave out more than 5 % of their questions, too (table Trained on and left out).")


def _unjudged(evidence: Evidence, verdict: str, remedy: Callable[[Arm], str]) -> Iterator[Sentence]:
    """Outputs that were cut off, or state no answer, where they are many."""
    shares = {name: _share(arm.score, verdict) for name, arm in evidence.arms.items()}
    told = "were cut at the token limit" if verdict == "truncated" else "state no answer that could be read"
    for name, share in _largest(shares):
        arm = evidence.arms[name]
        yield [
            f"{100 * share:.1f} % of the outputs of ",
            Name(name),
            f" {told} and count as not correct: {remedy(arm)}.",
        ]
    yield from _others(shares, f"have more than 5 % {verdict} outputs, too (table Accuracy).")


def _share(score: Score, verdict: str) -> float:
    total = score.correct + score.wrong + score.unreadable + score.truncated
    return getattr(score, verdict) / total if total else 0.0


def _remedy_of_truncated(arm: Arm) -> str:
    limit = f", now {arm.token_limit:,}" if arm.token_limit else ""
    return f"raise evaluation.max_new_tokens{limit}, and look whether they repeat themselves"


def _largest(shares: dict[str, float]) -> list[tuple[str, float]]:
    """The arms with the largest shares among those that deserve a warning."""
    many = [(name, share) for name, share in shares.items() if share > WARN_ABOVE]
    return sorted(many, key=lambda pair: -pair[1])[:_NAMED]


def _others(shares: dict[str, float], told: str) -> Iterator[Sentence]:
    others = sum(share > WARN_ABOVE for share in shares.values()) - _NAMED
    if others > 0:
        yield [f"{others} other arm{'s' * (others > 1)} {told}"]


def _by_truncation(comparison: ComparisonResult, evidence: Evidence) -> Sentence | None:
    """A difference that is shown, and half of which more outputs without a judgement could explain."""
    if comparison.metric != ACCURACY or not is_shown(comparison):
        return None
    a, b = (evidence.arms[name].score for name in (comparison.a, comparison.b))
    unjudged = [_share(score, "truncated") + _share(score, "unreadable") for score in (a, b)]
    behind = 1 if comparison.difference > 0 else 0
    more = unjudged[behind] - unjudged[1 - behind]
    if more < abs(comparison.difference) / 2:
        return None
    names = (comparison.a, comparison.b)
    return [
        Name(names[behind]),
        f" has {100 * more:.1f} points more outputs than ",
        Name(names[1 - behind]),
        f" that are cut off or unreadable: of their difference of {100 * abs(comparison.difference):.1f} points, so "
        "much may be about length or form rather than about what is right.",
    ]
