"""Sort words alphabetically, by inserting one after the other into a sorted list."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording
from cotdistill.tasks.procedural.words import SORTING_WORDS

NUM_WORDS = {1: (3, 3), 2: (4, 5), 3: (6, 7), 4: (8, 10)}


@dataclass(frozen=True, slots=True)
class WordSorting(Problem):
    """Different words in the order of the question."""

    words: tuple[str, ...]

    answer_type: ClassVar[AnswerType] = "list"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> WordSorting:
        return cls(tuple(random.sample(SORTING_WORDS, random.randint(*NUM_WORDS[difficulty]))))

    def question(self) -> str:
        return f"Put these words into alphabetical order. List: {' '.join(self.words)}"

    def answer(self) -> str:
        return " ".join(sorted(self.words))

    def solve(self) -> Solution:
        first, *others = self.words
        steps: list[Step] = []
        ordered = [first]
        for index, word in enumerate(others, 1):
            place = sum(other < word for other in ordered)
            steps.append(_step(index, word, ordered, place))
            ordered = [*ordered[:place], word, *ordered[place:]]
        answer = " ".join(ordered)
        given_letters, sorted_letters = (" ".join(word[0] for word in words) for words in (self.words, ordered))
        return Solution(
            restated=f"We must write {', '.join(self.words)} as a dictionary lists them.",
            plan="We insert the words one by one into a sorted list, comparing letters from the left.",
            start=Wording(f"List: {first}", f"S0 = {first}"),
            sketch=Wording(f"First letters: {sorted_letters}", f"sort({given_letters}) = {sorted_letters}"),
            steps=tuple(steps),
            question="What is the whole list?",
            conclusion=Wording("Sorted", f"S{len(steps)}"),
            check=f"{len(ordered)} words, first letters {sorted_letters}",
            answer=answer,
        )


def _step(index: int, word: str, ordered: list[str], place: int) -> Step:
    before, after = ordered[:place][-1:], ordered[place:][:1]
    letters = [_letters(other, word) for other in before] + [_letters(word, other) for other in after]
    result = " ".join([*ordered[:place], word, *ordered[place:]])
    return Step(
        question=f"Where does {word} go?",
        given=f"So far: {' '.join(ordered)}.",
        reason=f"Letters: {', '.join(letters)}.",
        action=f"Add {word}",
        working=" and ".join([f"after {other}" for other in before] + [f"before {other}" for other in after]),
        result=result,
        symbols=f"S{index} = insert({word}, S{index - 1}) = {result}",
        check=" < ".join([*before, word, *after]),
    )


def _letters(smaller: str, larger: str) -> str:
    """The letters that decide the order of two words, with what they share: ``ba < be``; a shorter word is first."""
    shared = 0
    while shared < len(smaller) and smaller[shared] == larger[shared]:
        shared += 1
    return f"{smaller[: shared + 1]} < {larger[: shared + 1]}"
