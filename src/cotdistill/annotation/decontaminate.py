"""Training questions that are also evaluation questions: with the same text, the same words, or 13 words in a row.

The third is GPT-3's measure (arXiv 2005.14165, appendix C). Templated tasks share long phrases between different
problems, so it is reported and removes nothing unless asked to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from cotdistill.records import Question

NUM_WORDS = 13
_WORD = re.compile(r"\w+|[^\w\s.,;:!?'\"’‘“”]")
"""Brackets and operators count as words: between two expressions they are the difference."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Places in the training questions, by how they overlap; each set includes the one before it, except for short
    questions, which do not have 13 words."""

    exact: frozenset[int]
    normalised: frozenset[int]
    ngram: frozenset[int]

    def to_row(self) -> dict[str, Any]:
        return {"exact": len(self.exact), "normalised": len(self.normalised), "13_gram": len(self.ngram)}

    def __or__(self, other: Overlap) -> Overlap:
        return Overlap(self.exact | other.exact, self.normalised | other.normalised, self.ngram | other.ngram)


NO_OVERLAP = Overlap(frozenset(), frozenset(), frozenset())


def find_overlap(training: Sequence[Question], evaluation: Iterable[Question]) -> Overlap:
    """Compares the texts of questions, without their choices."""
    return _overlaps(training, [evaluation])[0]


def overlap_by_set(training: Sequence[Question], evaluation: Iterable[Question]) -> dict[str, tuple[int, Overlap]]:
    """For each evaluation set, and separately for the exemplars of its few-shot prompts, the number of its questions
    and how ``training`` overlaps with them."""
    sets: dict[str, list[Question]] = {}
    for question in evaluation:
        name = question.task.partition("/")[0]
        sets.setdefault(f"{name} exemplars" if question.split == "few_shot" else name, []).append(question)
    names = sorted(sets)
    overlaps = _overlaps(training, [sets[name] for name in names])
    return {name: (len(sets[name]), overlap) for name, overlap in zip(names, overlaps, strict=True)}


def _overlaps(training: Sequence[Question], sets: Sequence[Iterable[Question]]) -> list[Overlap]:
    """How the training questions, which are read once, overlap with each of the sets.

    A text is looked up once for all sets: what is found is a number with a bit for each set that has it.
    """
    texts: dict[str, int] = {}
    word_lists: dict[tuple[str, ...], int] = {}
    ngrams: dict[tuple[str, ...], int] = {}
    for number, questions in enumerate(sets):
        for question in questions:
            words = normalised_words(question.asked)
            texts[question.asked] = texts.get(question.asked, 0) | 1 << number
            word_lists[words] = word_lists.get(words, 0) | 1 << number
            for group in _ngrams(words):
                ngrams[group] = ngrams.get(group, 0) | 1 << number
    found: list[list[tuple[int, int]]] = [[], [], []]
    for place, question in enumerate(training if texts else ()):
        words = normalised_words(question.asked)
        shared = reduce(or_, filter(None, map(ngrams.get, _ngrams(words) if ngrams else ())), 0)
        for bits, places in zip((texts.get(question.asked), word_lists.get(words), shared), found, strict=True):
            if bits:
                places.append((place, bits))
    return [
        Overlap(*(frozenset(place for place, bits in places if bits >> number & 1) for places in found))
        for number in range(len(sets))
    ]


def normalised_words(text: str) -> tuple[str, ...]:
    """The words and symbols of ``text`` in lower case, without sentence punctuation."""
    return tuple(_WORD.findall(text.casefold()))


def _ngrams(words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return (words[start : start + NUM_WORDS] for start in range(len(words) - NUM_WORDS + 1))
