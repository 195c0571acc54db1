"""Who holds what after the swaps? Everybody starts with one thing, and pairs exchange theirs."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording, letter
from cotdistill.tasks.procedural.words import NAMES, NUMBERS, listed

NUM_PEOPLE = {1: (3,), 2: (3,), 3: (4, 5), 4: (5, 7)}


class Theme(NamedTuple):
    """A story: who they are, how each starts with a thing, how two swap, how it ends, and the things by one word."""

    scene: str
    has: str
    swap: str
    end: str
    ends_with: str
    option: str
    things: tuple[str, ...]


THEMES = (
    Theme(
        scene="{people} play a game in which each of {number} players holds a ball.",
        has="{person} has {thing}",
        swap="{first} and {second} swap balls.",
        end="At the end of the game",
        ends_with="{person} has the",
        option="{thing} ball",
        things=("red", "blue", "green", "yellow", "orange", "purple", "black", "white", "pink", "brown"),
    ),
    Theme(
        scene="{people} bring {number} gifts to a party.",
        has="{person} brings the {thing}",
        swap="{first} and {second} exchange gifts.",
        end="When the party is over",
        ends_with="{person} takes home the",
        option="{thing}",
        things=("book", "candle", "clock", "kite", "lamp", "mug", "puzzle", "scarf", "teapot", "vase"),
    ),
    Theme(
        scene="{people} are {number} players of one team, and each has a position.",
        has="{person} plays {thing}",
        swap="{first} and {second} trade positions.",
        end="When the match ends",
        ends_with="{person} plays",
        option="{thing}",
        things=("goalkeeper", "striker", "sweeper", "winger", "libero", "midfielder", "stopper", "captain", "fullback"),
    ),
    Theme(
        scene="{people} go to a dance and find {number} partners.",
        has="{person} dances with {thing}",
        swap="{first} and {second} switch partners.",
        end="When the music stops",
        ends_with="{person} dances with",
        option="{thing}",
        things=(
            "Ashok",
            "Brigitte",
            "Dimitri",
            "Helga",
            "Ingrid",
            "Lorenzo",
            "Melissa",
            "Patrick",
            "Rodrigo",
            "Ximena",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class TrackingShuffledObjects(Problem):
    """``things[i]`` is what person i has at first; swaps are pairs of indices; ``asked`` is the index of a person."""

    theme: int
    people: tuple[str, ...]
    things: tuple[str, ...]
    swaps: tuple[tuple[int, int], ...]
    asked: int

    answer_type: ClassVar[AnswerType] = "letter"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> TrackingShuffledObjects:
        num_people = random.choice(NUM_PEOPLE[difficulty])
        theme = random.randrange(len(THEMES))
        people = tuple(random.sample(NAMES, num_people))
        things = tuple(random.sample(THEMES[theme].things, num_people))
        num_swaps = 2 if difficulty == 1 else num_people
        swaps: list[tuple[int, int]] = []
        for _ in range(num_swaps):
            first, second = random.sample(range(num_people), 2)
            swaps.append((first, second))
        return cls(theme, people, things, tuple(swaps), random.randrange(num_people))

    def question(self) -> str:
        theme, people = THEMES[self.theme], self.people
        scene = theme.scene.format(people=listed(people), number=NUMBERS[len(people)])
        starts = [
            theme.has.format(person=person, thing=thing) for person, thing in zip(people, self.things, strict=True)
        ]
        swaps = [theme.swap.format(first=people[first], second=people[second]) for first, second in self.swaps]
        openers = ["First", *["Then"] * (len(swaps) - 2), "Finally"]
        told = " ".join(f"{opener}, {swap}" for opener, swap in zip(openers, swaps, strict=True))
        return f"{scene} At first, {listed(starts)}. {told} {theme.end}, {self._ends_with()}"

    def _ends_with(self) -> str:
        return THEMES[self.theme].ends_with.format(person=self.people[self.asked])

    def choices(self) -> tuple[str, ...]:
        return tuple(THEMES[self.theme].option.format(thing=thing) for thing in self.things)

    def answer(self) -> str:
        owner = self.asked
        for first, second in reversed(self.swaps):
            owner = {first: second, second: first}.get(owner, owner)
        return letter(owner)

    def solve(self) -> Solution:
        steps: list[Step] = []
        held = list(self.things)
        for index, (first, second) in enumerate(self.swaps, 1):
            before = held.copy()
            held[first], held[second] = held[second], held[first]
            steps.append(self._step(index, first, second, before, held))
        person, thing = self.people[self.asked], held[self.asked]
        pairs = ", ".join(f"{self.people[first]} and {self.people[second]}" for first, second in self.swaps)
        codes = " ".join(f"swap({self.people[first]}, {self.people[second]})" for first, second in self.swaps)
        option = self.choices()[self.things.index(thing)]
        return Solution(
            restated=f"We ask what {person} has if we start with {self._state(self.things)}.",
            plan="We write down who has what after each swap.",
            start=Wording(f"Start: {self._state(self.things)}", f"S0 = {self._state(self.things)}"),
            sketch=Wording(f"Swaps: {pairs}", codes),
            steps=tuple(steps),
            question=f"What does {person} have?",
            conclusion=Wording(f"{self._ends_with()} {option}", f"S{len(steps)}({person}) = {option}"),
            check=f"all {len(held)} are still there: {' '.join(sorted(held))}",
            answer=f"({letter(self.things.index(thing))})",
        )

    def _state(self, held: list[str] | tuple[str, ...]) -> str:
        return ", ".join(f"{person} {thing}" for person, thing in zip(self.people, held, strict=True))

    def _step(self, index: int, first: int, second: int, before: list[str], after: list[str]) -> Step:
        one, two = self.people[first], self.people[second]
        return Step(
            question="Who has what now?",
            given=f"Before, {one} has {before[first]} and {two} has {before[second]}.",
            reason="Only these two change.",
            action=f"{one} and {two} swap",
            working=f"{one} gets {after[first]}, {two} gets {after[second]}",
            result=self._state(after),
            symbols=f"S{index} = swap({one}, {two}) = {self._state(after)}",
            check=f"{before[first]} went to {two}, {before[second]} to {one}",
        )
