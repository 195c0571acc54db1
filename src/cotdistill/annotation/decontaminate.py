"""Training questions that are also evaluation questions: with the same text, the same words, or 13 words in a row.

The third is GPT-3's measure (arXiv 2005.14165, appendix C). Templated tasks share long phrases between different
problems, so it is reported and removes nothing unless asked to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    texts: set[str] = set()
    word_lists: set[tuple[str, ...]] = set()
    ngrams: set[tuple[str, ...]] = set()
    for question in evaluation:
        words = normalised_words(question.asked)
        texts.add(question.asked)
        word_lists.add(words)
        ngrams.update(_ngrams(words))
    exact, normalised, ngram = set(), set(), set()
    for place, question in enumerate(training):
        words = normalised_words(question.asked)
        if question.asked in texts:
            exact.add(place)
        if words in word_lists:
            normalised.add(place)
        if any(group in ngrams for group in _ngrams(words)):
            ngram.add(place)
    return Overlap(frozenset(exact), frozenset(normalised), frozenset(ngram))


def overlap_by_set(training: Sequence[Question], evaluation: Iterable[Question]) -> dict[str, tuple[int, Overlap]]:
    """For each evaluation set, and separately for the exemplars of its few-shot prompts, the number of its questions
    and how ``training`` overlaps with them."""
    sets: dict[str, list[Question]] = {}
    for question in evaluation:
        name = question.task.partition("/")[0]
        sets.setdefault(f"{name} exemplars" if question.split == "few_shot" else name, []).append(question)
    return {name: (len(sets[name]), find_overlap(training, sets[name])) for name in sorted(sets)}


def normalised_words(text: str) -> tuple[str, ...]:
    """The words and symbols of ``text`` in lower case, without sentence punctuation."""
    return tuple(_WORD.findall(text.casefold()))


def _ngrams(words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return (words[start : start + NUM_WORDS] for start in range(len(words) - NUM_WORDS + 1))
