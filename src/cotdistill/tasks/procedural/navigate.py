"""Do the instructions lead back to the start? Moves to the four sides, or steps and turns; a position is kept."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording

SIDES = ("forward", "right", "backward", "left")
FACINGS = ("north", "east", "south", "west")
VECTORS = ((0, 1), (1, 0), (0, -1), (-1, 0))
TURNS = {1: "right", 2: "around", 3: "left"}
"""Turns by the number of quarter turns clockwise."""
NUM_MOVES = {1: (2, 3), 2: (3, 5), 3: (5, 7), 4: (7, 10)}
NUM_MOVES_WITH_TURNS = {1: (2, 2), 2: (3, 4), 3: (4, 5), 4: (5, 7)}
SHARE_WITH_TURNS = 0.2
MAX_STEPS = 10


class Move(NamedTuple):
    """``num_steps`` towards a side (an index of SIDES)."""

    side: int
    num_steps: int


@dataclass(frozen=True, slots=True)
class Navigate(Problem):
    """Moves seen from the first facing; with ``turning`` the text says when to turn instead of naming sides."""

    moves: tuple[Move, ...]
    turning: bool

    answer_type: ClassVar[AnswerType] = "yes_no"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> Navigate:
        """Half of the problems lead back; in the others a single move has another length, so they look alike."""
        turning = random.random() < SHARE_WITH_TURNS
        num_moves = random.randint(*(NUM_MOVES_WITH_TURNS if turning else NUM_MOVES)[difficulty])
        moves = _draw_round_trip(random, num_moves)
        if random.random() < 0.5:
            index = random.randrange(num_moves)
            lengths = [length for length in range(1, MAX_STEPS + 1) if length != moves[index].num_steps]
            moves[index] = Move(moves[index].side, random.choice(lengths))
        return cls(tuple(moves), turning)

    def question(self) -> str:
        sentences = ["If you follow these instructions, do you end up where you started?"]
        if not self.turning:
            sentences.append("Always face forward.")
        facing = 0
        for side, num_steps in self.moves:
            if self.turning and side != facing:
                sentences.append(f"Turn {TURNS[(side - facing) % 4]}.")
                facing = side
            sentences.append(f"Take {_steps(num_steps)}{'' if self.turning else ' ' + SIDES[side]}.")
        return " ".join(sentences)

    def answer(self) -> str:
        totals = [sum(VECTORS[side][axis] * num_steps for side, num_steps in self.moves) for axis in (0, 1)]
        return "No" if any(totals) else "Yes"

    def solve(self) -> Solution:
        steps, end = self._walk()
        returns = end == (0, 0)
        sums = "; ".join(f"{name}: {self._sum(axis)}" for axis, name in enumerate("xy"))
        facing = " facing north" if self.turning else ""
        last = f"p{len(steps)} = {end}"
        return Solution(
            restated=f"We ask if {', '.join(step.action.lower() for step in steps)} leads back to (0, 0).",
            plan="We keep the position (x, y) after each instruction and compare the end with the start.",
            start=Wording(f"Start: (0, 0){facing}", f"p0 = (0, 0){facing}"),
            sketch=Wording(sums, sums),
            steps=tuple(steps),
            question="Is this the start?",
            conclusion=Wording(
                f"We end at {end}, {'the start' if returns else 'not the start'}",
                f"{last} = p0" if returns else f"{last} != p0",
            ),
            check=sums,
            answer="Yes" if returns else "No",
        )

    def _walk(self) -> tuple[list[Step], tuple[int, int]]:
        steps: list[Step] = []
        place, facing = (0, 0), 0
        for side, num_steps in self.moves:
            if self.turning and side != facing:
                steps.append(_turn_step(len(steps) + 1, place, facing, side))
                facing = side
            steps.append(_move_step(len(steps) + 1, place, Move(side, num_steps), self.turning))
            place = _moved(place, side, num_steps)
        return steps, place

    def _sum(self, axis: int) -> str:
        """The moves along an axis as a sum with its value: ``3 - 2 = 1``."""
        signed = [VECTORS[side][axis] * num_steps for side, num_steps in self.moves if VECTORS[side][axis]]
        if not signed:
            return "0"
        terms = "".join(f" {'+' if term > 0 else '-'} {abs(term)}" for term in signed)
        return f"0{terms} = {sum(signed)}"


def _draw_round_trip(random: Random, num_moves: int) -> list[Move]:
    """Moves that cancel out along both axes: an axis has none or at least two of them."""
    num_across = random.choice([count for count in range(num_moves + 1) if 1 not in (count, num_moves - count)])
    moves = [
        Move(side if length > 0 else side + 2, abs(length))
        for side, count in ((0, num_moves - num_across), (1, num_across))
        for length in _draw_zero_sum(random, count)
    ]
    random.shuffle(moves)
    return moves


def _draw_zero_sum(random: Random, count: int) -> list[int]:
    while count:
        lengths = [random.choice((-1, 1)) * random.randint(1, MAX_STEPS) for _ in range(count - 1)]
        if 0 < abs(sum(lengths)) <= MAX_STEPS:
            return [*lengths, -sum(lengths)]
    return []


def _moved(place: tuple[int, int], side: int, num_steps: int) -> tuple[int, int]:
    return place[0] + VECTORS[side][0] * num_steps, place[1] + VECTORS[side][1] * num_steps


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _turn_step(index: int, place: tuple[int, int], facing: int, new_facing: int) -> Step:
    turn, before, after = TURNS[(new_facing - facing) % 4], FACINGS[facing], FACINGS[new_facing]
    return Step(
        question=f"Where do we face after turning {turn}?",
        given=f"We face {before}.",
        reason="A turn keeps the place.",
        action=f"Turn {turn}",
        working=f"{before} becomes {after}",
        result=f"{place} facing {after}",
        symbols=f"p{index} = p{index - 1} = {place} facing {after}",
        check=f"we are still at {place}",
    )


def _move_step(index: int, place: tuple[int, int], move: Move, turning: bool) -> Step:
    side, num_steps = move
    axis = 0 if VECTORS[side][0] else 1
    grows = VECTORS[side][axis] > 0
    old, new = place[axis], _moved(place, side, num_steps)
    facing = f" facing {FACINGS[side]}" if turning else ""
    vector = tuple(component * num_steps for component in VECTORS[side])
    direction = FACINGS[side] if turning else SIDES[side]
    return Step(
        question=f"Where are we after {_steps(num_steps)}?",
        given=f"We are at {place}.",
        reason=f"Moving {direction} makes {'xy'[axis]} {'larger' if grows else 'smaller'}.",
        action=_steps(num_steps) if turning else f"{num_steps} {direction}",
        working=f"{'xy'[axis]} = {old} {'+' if grows else '-'} {num_steps} = {new[axis]}",
        result=f"{new}{facing}",
        symbols=f"p{index} = p{index - 1} + {vector} = {new}{facing}",
        check=f"{new[axis]} {'-' if grows else '+'} {num_steps} = {old}",
    )
