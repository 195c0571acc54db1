"""Does the last speaker tell the truth? Each one's claim is about the one before."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording
from cotdistill.tasks.procedural.words import NAMES

NUM_PEOPLE = {1: (2, 3), 2: (3, 4), 3: (4, 5), 4: (5, 6)}


@dataclass(frozen=True, slots=True)
class WebOfLies(Problem):
    """``claims[0]`` is a fact about the first of the people; ``claims[i]`` is what person i says of person i - 1.

    True stands for "tells the truth", False for "lies".
    """

    people: tuple[str, ...]
    claims: tuple[bool, ...]

    answer_type: ClassVar[AnswerType] = "yes_no"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> WebOfLies:
        num_people = random.randint(*NUM_PEOPLE[difficulty])
        return cls(tuple(random.sample(NAMES, num_people)), tuple(random.random() < 0.5 for _ in range(num_people)))

    def question(self) -> str:
        sentences = [f"{_verdict(self.people[0], self.claims[0])}."]
        for index in range(1, len(self.people)):
            sentences.append(f"{self.people[index]} says {_verdict(self.people[index - 1], self.claims[index])}.")
        return " ".join([*sentences, f"Does {self.people[-1]} tell the truth?"])

    def answer(self) -> str:
        return "No" if self.claims.count(False) % 2 else "Yes"

    def solve(self) -> Solution:
        steps, honest = [], self.claims[0]
        for index in range(1, len(self.people)):
            step_honest = honest == self.claims[index]
            steps.append(_step(self.people[index - 1], honest, self.people[index], self.claims[index], step_honest))
            honest = step_honest
        first, last = self.people[0], self.people[-1]
        fact = _verdict(first, self.claims[0])
        claims = ", ".join("truth" if claim else "lies" for claim in self.claims[1:])
        negations = "".join("" if claim else "not " for claim in reversed(self.claims[1:]))
        num_lies = self.claims[1:].count(False)
        return Solution(
            restated=f"Knowing that {fact}, we ask if {last} is honest.",
            plan="We go from speaker to speaker and compare each claim with what we know.",
            start=Wording(f"Fact: {fact}", f"T({first}) = {self.claims[0]}"),
            sketch=Wording(f"{fact}; then claims of {claims}", f"T({last}) = {negations}T({first})"),
            steps=tuple(steps),
            question=f"Does {last} tell the truth?",
            conclusion=Wording(_verdict(last, honest), f"T({last}) = {honest}"),
            check=f"from {first} to {last}, {num_lies} claims of lying turn the verdict around {num_lies} times",
            answer="Yes" if honest else "No",
        )


def _verdict(person: str, honest: bool) -> str:
    return f"{person} tells the truth" if honest else f"{person} lies"


def _step(known: str, known_honest: bool, speaker: str, claim: bool, honest: bool) -> Step:
    return Step(
        question=f"Is {speaker} honest?",
        given=f"We know that {_verdict(known, known_honest)}.",
        reason="A true claim comes from the honest." if honest else "A false claim comes from a liar.",
        action=f"{speaker} says {_verdict(known, claim)}",
        working="this is true" if honest else "this is false",
        result=_verdict(speaker, honest),
        symbols=f"T({speaker}) = {'' if claim else 'not '}T({known}) = {honest}",
        check=f"if not, {_verdict(known, not known_honest)}, which is wrong",
    )
