"""What a reader should know before believing the results, in sentences: what was left out, cut off, or not read."""

from __future__ import annotations

from collections.abc import Mapping

from cotdistill.evaluation.statistics.comparisons import ComparisonResult
from cotdistill.rationales.lengths import WARN_ABOVE
from cotdistill.records import ACCURACY, Score
from cotdistill.reports.details import reasons
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.verdict import Name, Sentence, is_shown

_NAMED = 3
"""Arms that a sentence names; the tables have all."""


def caveats(evidence: Evidence) -> list[Sentence]:
    """Sentences for all that is large enough to matter; none if nothing is."""
    limits = sorted({arm.token_limit for arm in evidence.arms.values() if arm.token_limit})
    now = f" (now {' or '.join(f'{limit:,}' for limit in limits)})" if limits else ""
    found = [
        _left_out(evidence),
        _unjudged(
            evidence,
            "truncated",
            "Outputs that were cut at the token limit count as not correct",
            f"raise evaluation.max_new_tokens{now}, and look under Samples whether they repeat themselves",
        ),
        _unjudged(
            evidence,
            "unreadable",
            "Outputs from which no answer can be read count as not correct",
            "look under Samples what they say; evaluation.reader chooses how answers are read",
        ),
        *(_by_truncation(each, evidence) for each in evidence.comparisons),
    ]
    return [sentence for sentence in found if sentence is not None]


def _left_out(evidence: Evidence) -> Sentence | None:
    shares = {name: share for name, arm in evidence.arms.items() if (share := arm.share_left_out) is not None}
    why = {name: f" of those of {{}} ({reasons(evidence.arms[name].left_out)})" for name in shares}
    listed = _listed(shares, why)
    return ["Not all questions are trained on; left out are ", *listed, "."] if listed else None


def _unjudged(evidence: Evidence, verdict: str, what: str, remedy: str) -> Sentence | None:
    """Outputs that were cut off, or state no answer, where they are many."""
    shares = {name: _share(arm.score, verdict) for name, arm in evidence.arms.items()}
    listed = _listed(shares, dict.fromkeys(shares, " of {}"))
    return [f"{what}: ", *listed, f". To mend it, {remedy}."] if listed else None


def _listed(shares: Mapping[str, float], told: Mapping[str, str]) -> list[str]:
    """The largest shares that deserve a warning, each with what is told of its arm, and how many more there are."""
    many = sorted((name for name, share in shares.items() if share > WARN_ABOVE), key=lambda name: -shares[name])
    pieces: list[str] = []
    for name in many[:_NAMED]:
        before, after = told[name].split("{}")
        pieces += [f"{', ' if pieces else ''}{100 * shares[name]:.1f} %{before}", Name(name), after]
    if len(many) > _NAMED:
        pieces.append(f", and more than {100 * WARN_ABOVE:g} % in {len(many) - _NAMED} other arms")
    return pieces


def _share(score: Score, verdict: str) -> float:
    total = score.correct + score.wrong + score.unreadable + score.truncated
    return getattr(score, verdict) / total if total else 0.0


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
