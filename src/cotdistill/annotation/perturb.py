"""Rationales made worse on purpose, to measure which of their properties matter: pure and seeded functions.

A question keeps its place, answer and id, so that arms stay matched. Which rationales are perturbed depends only on
their ids and the seed, and those of a smaller share are among those of a larger one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from cotdistill.config import Corrupted, Padded, Perturbation, Removed, Shuffled, Swapped, Truncated
from cotdistill.records import Rationale

VERSION = 2
"""Raised whenever a change of code changes what a perturbation makes."""

_NUMBER = re.compile(r"\d{1,15}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def perturb(rationales: Sequence[Rationale], perturbation: Perturbation) -> list[Rationale]:
    """``rationales`` in their order, the chosen share of them perturbed and marked in ``meta["perturbation"]``."""
    chosen = _chosen(rationales, perturbation)
    donors = _donors(rationales, perturbation.seed) if isinstance(perturbation, Swapped) else {}
    perturbed = []
    for place, rationale in enumerate(rationales):
        if place in chosen and rationale.rationale is not None:
            text = donors[place].rationale if place in donors else perturb_text(rationale, perturbation)
            meta = rationale.meta | {"perturbation": perturbation.kind}
            rationale = replace(rationale, rationale=text, meta=meta)
        perturbed.append(rationale)
    return perturbed


def perturb_text(rationale: Rationale, perturbation: Perturbation) -> str | None:
    """The text of one rationale, perturbed (a swapped one needs the others and stays as it is)."""
    text, random = rationale.rationale or "", Random(f"{perturbation.seed} {rationale.id}")
    if isinstance(perturbation, Removed):
        return None
    if isinstance(perturbation, Truncated):
        return truncate(text, perturbation.keep_share, perturbation.num_words)
    if isinstance(perturbation, Shuffled):
        return shuffle_sentences(text, random)
    if isinstance(perturbation, Corrupted):
        return corrupt_numbers(text, random)
    if isinstance(perturbation, Padded):
        return pad(text, perturbation.num_words, perturbation.filler)
    return text


def truncate(text: str, keep_share: float, num_words: int | None = None) -> str:
    """The first words of ``text``: this share of them, rounded up, or at most this number."""
    words = list(re.finditer(r"\S+", text))
    kept = math.ceil(keep_share * len(words)) if num_words is None else min(num_words, len(words))
    return text[: words[kept - 1].end()] if kept else ""


def shuffle_sentences(text: str, random: Random) -> str:
    """The lines, or the sentences of a one-line text, in another order if there is one."""
    joint = "\n" if "\n" in text else " "
    parts = text.split("\n") if joint == "\n" else _SENTENCE_END.split(text)
    if len(set(parts)) < 2:
        return text
    shuffled = list(parts)
    while shuffled == parts:
        random.shuffle(shuffled)
    return joint.join(shuffled)


def corrupt_numbers(text: str, random: Random) -> str:
    """Every whole number becomes another one with as many digits; a repeated number is replaced anew each time."""

    def other(match: re.Match[str]) -> str:
        lowest = 10 ** (len(match[0]) - 1) if len(match[0]) > 1 else 0
        span = 10 ** len(match[0]) - lowest
        offset = random.randrange(1, span)
        return str(lowest + (int(match[0]) - lowest + offset) % span)

    return _NUMBER.sub(other, text)


def pad(text: str, num_words: int, filler: str) -> str:
    """``text`` followed by ``filler`` until it has ``num_words`` words, if it has fewer."""
    missing = num_words - len(text.split())
    padding = (filler.split() * math.ceil(missing / len(filler.split())))[:missing] if missing > 0 else []
    return " ".join([text, *padding]) if padding else text


def _chosen(rationales: Sequence[Rationale], perturbation: Perturbation) -> set[int]:
    """The places that are perturbed: exactly the share, rounded. They are drawn separately from the noise, which would
    be biased if a rationale were chosen because the first number of its stream is small."""

    def drawn(place: int) -> float:
        return Random(f"{perturbation.seed} {rationales[place].id} chosen").random()

    order = sorted(range(len(rationales)), key=drawn)
    return set(order[: round(perturbation.share * len(rationales))])


def _donors(rationales: Sequence[Rationale], seed: int) -> dict[int, Rationale]:
    """For each place the rationale of another question; nothing if there is only one question."""
    order = list(range(len(rationales)))
    Random(seed).shuffle(order)
    following = [*order[1:], *order[:1]]
    return {place: rationales[other] for place, other in zip(order, following, strict=True) if place != other}
