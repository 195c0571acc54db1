"""How many fruits do I have? A running total over a list, in which some things may not belong."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording
from cotdistill.tasks.procedural.words import CATEGORIES, NUMBERS, listed, plural, with_article

NUM_THINGS = {1: (2, 3), 2: (4, 5), 3: (6, 7), 4: (8, 10)}
MAX_OTHERS = {1: 0, 2: 1, 3: 2, 4: 3}
"""How many of the things may be of another category."""
MAX_COUNT = {1: 5, 2: 5, 3: 6, 4: 6}


class Thing(NamedTuple):
    """``number`` specimens of ``noun``; ``belongs`` says whether they are of the category asked for."""

    noun: str
    number: int
    belongs: bool

    def __str__(self) -> str:
        return with_article(self.noun) if self.number == 1 else f"{NUMBERS[self.number]} {self.plural}"

    @property
    def plural(self) -> str:
        return plural(self.noun)


@dataclass(frozen=True, slots=True)
class ObjectCounting(Problem):
    """Things of ``category`` to count, among others."""

    category: str
    things: tuple[Thing, ...]

    answer_type: ClassVar[AnswerType] = "number"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> ObjectCounting:
        category, other = random.sample(tuple(CATEGORIES), 2)
        num_things = random.randint(*NUM_THINGS[difficulty])
        num_others = random.randint(0, MAX_OTHERS[difficulty])
        nouns = random.sample(CATEGORIES[category], num_things - num_others)
        other_nouns = random.sample(CATEGORIES[other], num_others)
        # Single things are the most frequent, as in everyday lists.
        counts = [max(1, random.randint(-1, MAX_COUNT[difficulty])) for _ in range(num_things)]
        things = [Thing(noun, counts.pop(), True) for noun in nouns]
        things += [Thing(noun, counts.pop(), False) for noun in other_nouns]
        random.shuffle(things)
        return cls(category, tuple(things))

    def question(self) -> str:
        return f"I have {listed([str(thing) for thing in self.things])}. How many {self.category} do I have?"

    def answer(self) -> str:
        return str(sum(thing.number for thing in self.things if thing.belongs))

    def solve(self) -> Solution:
        steps: list[Step] = []
        total = 0
        for index, thing in enumerate(self.things, 1):
            steps.append(self._step(index, thing, total))
            total += thing.number * thing.belongs
        counts = " + ".join(str(thing.number) for thing in self.things if thing.belongs)
        return Solution(
            restated=f"We must count the {self.category} among {listed([str(thing) for thing in self.things])}.",
            plan=f"We go through the list and add up what belongs to the {self.category}.",
            start=Wording("Start: total 0", "n0 = 0"),
            sketch=Wording(f"Counting {counts}", f"n = {counts}"),
            steps=tuple(steps),
            question=f"How many {self.category} are there?",
            conclusion=Wording("In total", f"n = n{len(steps)}"),
            check=f"{counts} = {total}",
            answer=str(total),
        )

    def _step(self, index: int, thing: Thing, total: int) -> Step:
        count = thing.number * thing.belongs
        new_total = total + count
        is_a = "are" if thing.number > 1 else "is"
        return Step(
            question=f"What does {thing} add?",
            given=f"The total is {total}.",
            reason=f"{thing.plural.capitalize()} are {'' if thing.belongs else 'not '}{self.category}.",
            action=str(thing) if thing.belongs else f"{thing} {is_a} left out",
            working=f"{total} + {count} = {new_total}",
            result=f"total {new_total}",
            symbols=f"n{index} = n{index - 1} + {count} = {new_total}",
            check=f"{new_total} - {count} = {total}",
        )
