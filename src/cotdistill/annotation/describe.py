"""What a data card says about annotations: their length, agreement, soundness and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from cotdistill.annotation.rationales import Rationales
from cotdistill.config import Price
from cotdistill.engines.costs import cost
from cotdistill.rationales.faults import find_faults
from cotdistill.rationales.lengths import histogram
from cotdistill.rationales.measures import in_band, num_steps, num_words
from cotdistill.records import Rationale, count_by

NUM_VERIFIED = 2000
"""How many rationales, chosen by a hash of their ids, are verified for a card."""


@dataclass(frozen=True, slots=True)
class Description:
    """One annotation. Shares are fractions; None if there is nothing to take a share of.

    ``in_band`` is the share whose length, in words and steps, is what the granularity asks for; ``agree`` the share
    whose teacher stated the gold answer, of those that stated one or could have; ``sound`` the share without a fault
    among ``num_verified``; ``faults`` counts their first faults. Tokens and cost are those of all that a teacher was
    asked, dropped or not; ``reasoning`` counts what became of what it thought, ``compressed`` how many are shortened
    and why others are not. ``lengths`` are histograms of words: of rationales, of reasoning kept apart from them, of
    questions with all of it.
    """

    teacher: str
    format: str
    granularity: int | None
    rows: int
    dropped: dict[str, int]
    words: float | None
    median_words: float | None
    steps: float | None
    in_band: float | None
    agree: float | None
    sound: float | None
    num_verified: int
    faults: dict[str, int]
    input_tokens: int
    output_tokens: int
    cost: float | None
    reasoning: dict[str, int]
    compressed: dict[str, int]
    lengths: dict[str, dict[str, int]]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Growth:
    """Of the ``questions`` that two levels of one teacher and format share, the fraction with more words at the finer
    level."""

    teacher: str
    format: str
    coarse: int
    fine: int
    questions: int
    longer: float

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def describe(rationales: Rationales, price: Price | None) -> Description:
    records = rationales.records
    first = records[0]
    texts = [one.rationale for one in records if one.rationale is not None]
    words = [num_words(text) for text in texts]
    agreement = [one.meta["teacher_agrees"] for one in records if "teacher_agrees" in one.meta]
    checked = sorted((one for one in records if one.rationale is not None), key=_hash)[:NUM_VERIFIED]
    faults = count_by(found[0].reason for one in checked if (found := find_faults(one)))
    return Description(
        teacher=", ".join(dict.fromkeys(one.teacher for one in records)),
        format=first.format,
        granularity=first.granularity if len({one.granularity for one in records}) == 1 else None,
        rows=len(records),
        dropped=rationales.dropped,
        words=fmean(words) if words else None,
        median_words=median(words) if words else None,
        steps=fmean(map(num_steps, texts)) if texts else None,
        in_band=_share(band for one in records if (band := in_band(one)) is not None),
        agree=_share(bool(agrees) for agrees in agreement),
        sound=1 - sum(faults.values()) / len(checked) if checked else None,
        num_verified=len(checked),
        faults=faults,
        input_tokens=rationales.tokens[0],
        output_tokens=rationales.tokens[1],
        cost=cost(price, *rationales.tokens) if price and any(rationales.tokens) else None,
        reasoning=rationales.reasoning,
        compressed=rationales.compressed,
        lengths=_lengths(records),
    )


def _lengths(records: Sequence[Rationale]) -> dict[str, dict[str, int]]:
    reasoning = [num_words(one.reasoning) if one.reasoning else 0 for one in records]
    said = [num_words(one.rationale) if one.rationale else 0 for one in records]
    whole = [num_words(r.question.asked) + sum(parts) for r, *parts in zip(records, reasoning, said, strict=True)]
    found = {"rationale": said, "reasoning": reasoning, "question and response": whole}
    return {name: histogram(filter(None, words)) for name, words in found.items() if any(words)}


def growths(annotations: Sequence[Rationales]) -> list[Growth]:
    """For each teacher and format, every level against the next finer one available."""
    series: dict[tuple[str, str], dict[int, dict[str, int]]] = {}
    for rationales in annotations:
        for one in rationales:
            if one.rationale is not None and one.granularity is not None:
                levels = series.setdefault((one.teacher, one.format), {})
                levels.setdefault(one.granularity, {})[one.id] = num_words(one.rationale)
    found = []
    for (teacher, form), levels in series.items():
        order = sorted(levels)
        for coarse, fine in pairwise(order):
            shared = levels[coarse].keys() & levels[fine].keys()
            if shared:
                longer = sum(levels[fine][name] > levels[coarse][name] for name in shared) / len(shared)
                found.append(Growth(teacher, form, coarse, fine, len(shared), longer))
    return found


def quartiles(rationales: Rationales, measure: Callable[[str], int]) -> tuple[float, float, float]:
    """The quartiles of a measure of the texts."""
    values = sorted(measure(one.rationale) for one in rationales if one.rationale is not None)
    at = [values[min(len(values) - 1, share * len(values) // 4)] for share in (1, 2, 3)]
    return at[0], at[1], at[2]


def _share(values: Iterable[bool]) -> float | None:
    counted = list(values)
    return sum(counted) / len(counted) if counted else None


def _hash(rationale: Rationale) -> bytes:
    return blake2b(rationale.id.encode("utf-8", "backslashreplace"), digest_size=8).digest()
