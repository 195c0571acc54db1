"""Perturbations: each changes what it says and nothing else, by the seed alone, at matched questions."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from cotdistill.annotation.perturb import corrupt_numbers, pad, perturb, shuffle_sentences, truncate
from cotdistill.config import Corrupted, Padded, Perturbation, Removed, Shuffled, Swapped, Truncated
from cotdistill.records import Question, Rationale

TEXT = "Ann has 5 pens. She buys 12 more. So 5 + 12 = 17."


def rationales(number: int = 10) -> list[Rationale]:
    return [
        Rationale(Question(f"q{n}", "own", "train", f"{n}?", str(n), "number"), f"{TEXT} Item {n}.", "t", 3, "cot")
        for n in range(number)
    ]


@pytest.mark.parametrize(
    "perturbation",
    [Removed(), Truncated(), Shuffled(), Corrupted(), Swapped(), Padded(num_words=40)],
    ids=lambda p: p.kind,
)
def test_all_are_changed_repeatably_at_matched_questions(perturbation: Perturbation) -> None:
    before, after = rationales(), perturb(rationales(), perturbation)
    assert [r.question for r in after] == [r.question for r in before]
    assert all(a.rationale != b.rationale for a, b in zip(after, before, strict=True))
    assert {r.meta["perturbation"] for r in after} == {perturbation.kind}
    assert perturb(rationales(), perturbation) == after
    reordered = perturb(rationales()[::-1], perturbation)
    if not isinstance(perturbation, Swapped):
        assert reordered[::-1] == after


def test_a_share_is_exact_and_part_of_every_larger_one() -> None:
    def changed(share: float, seed: int = 0) -> set[str]:
        return {r.id for r in perturb(rationales(50), Removed(share=share, seed=seed)) if r.rationale is None}

    assert (len(changed(0.2)), len(changed(0.5))) == (10, 25)
    assert changed(0.2) < changed(0.5)
    assert changed(0.5, seed=1) != changed(0.5)


def test_the_noise_of_a_share_is_as_the_noise_of_all() -> None:
    """Which rationales are chosen must not say what becomes of their numbers."""
    texts = [
        Rationale(Question(f"q{n}", "own", "train", f"{n}?", "0", "number"), "It is 0.", "t", 3, "cot")
        for n in range(900)
    ]
    changed = [r for r in perturb(texts, Corrupted(share=0.2)) if r.meta.get("perturbation")]
    digits = Counter((r.rationale or "")[6] for r in changed)
    assert digits.keys() == set("123456789")
    assert max(digits.values()) < 45, "20 are expected of each"


def test_swapped_rationales_are_a_permutation_without_fixed_points() -> None:
    before, after = rationales(), perturb(rationales(), Swapped())
    assert Counter(r.rationale for r in after) == Counter(r.rationale for r in before)
    assert perturb(rationales(1), Swapped())[0].rationale == rationales(1)[0].rationale


def test_truncation_keeps_a_share_of_the_words() -> None:
    assert truncate("a b\nc d e", 0.5) == "a b\nc"
    assert truncate("a b c", 0.0) == ""
    assert truncate("a b c", 0.9, num_words=2) == "a b"
    assert truncate("", 0.5) == ""


def test_shuffling_keeps_the_sentences() -> None:
    shuffled = shuffle_sentences(TEXT, Random(0))
    assert shuffled != TEXT
    assert sorted(re.split(r"(?<=\.) ", shuffled)) == sorted(re.split(r"(?<=\.) ", TEXT))
    assert shuffle_sentences("One alone.", Random(0)) == "One alone."


def test_corruption_changes_every_number_and_only_numbers() -> None:
    for seed in range(20):
        corrupted = corrupt_numbers(TEXT, Random(seed))
        pairs = list(zip(re.findall(r"\d+", TEXT), re.findall(r"\d+", corrupted), strict=True))
        assert all(len(a) == len(b) and a != b for a, b in pairs)
        assert re.sub(r"\d", "", corrupted) == re.sub(r"\d", "", TEXT)


def test_padding_reaches_the_length_and_never_cuts() -> None:
    assert pad("a b", 5, "...") == "a b ... ... ..."
    assert pad("a b", 5, "x y") == "a b x y x"
    assert pad("a b c", 2, "...") == "a b c"
