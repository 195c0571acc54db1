"""What is ``((3 * 4) + (5 - 1))``? Integers with +, - and *, evaluated one operator at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution
from cotdistill.tasks.procedural.reduction import Grammar, Reduction, reductions, solution_of

OPERATORS = ("+", "-", "*")
GROUP_SIZES = {1: (2, 1), 2: (2, 2), 3: (3, 3), 4: (4, 4)}
"""How many numbers the left and the right group hold, by difficulty."""
SHARE_NEGATIVE = {1: 0.0, 2: 0.2, 3: 0.4, 4: 0.5}
REASONS = {"+": "We add the two.", "-": "We subtract the second.", "*": "We multiply the two."}


def _value(operation: Sequence[str]) -> str:
    left, operator, right = int(operation[0]), operation[1], int(operation[2])
    return str(left + right if operator == "+" else left - right if operator == "-" else left * right)


def _spell(tokens: Sequence[str]) -> str:
    return " ".join(tokens).replace("( ", "(").replace(" )", ")")


GRAMMAR = Grammar(unary=frozenset(), tiers=(frozenset({"*"}), frozenset({"+", "-"})), value=_value, spell=_spell)


@dataclass(frozen=True, slots=True)
class MultistepArithmetic(Problem):
    """Two groups of numbers, joined by an operator; a group of one number has no brackets."""

    tokens: tuple[str, ...]

    answer_type: ClassVar[AnswerType] = "number"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> MultistepArithmetic:
        sizes = GROUP_SIZES[difficulty]
        if random.random() < 0.5:
            sizes = sizes[::-1]
        left, right = (_draw_group(random, size, SHARE_NEGATIVE[difficulty]) for size in sizes)
        # A product of two groups is beyond what a small model can compute in one step.
        operator = random.choice(OPERATORS if difficulty > 2 else OPERATORS[:2])
        return cls(("(", *left, operator, *right, ")"))

    def question(self) -> str:
        return f"{_spell(self.tokens)} ="

    def answer(self) -> str:
        return self._reductions()[-1].value

    def _reductions(self) -> list[Reduction]:
        return reductions(list(self.tokens), GRAMMAR)

    def solve(self) -> Solution:
        return solution_of(
            self._reductions(),
            GRAMMAR,
            _reason,
            _check,
            task="We must compute the number that {} stands for.",
            plan="We compute brackets first, then products, then sums and differences from the left.",
            verb="computed",
        )


def _draw_group(random: Random, size: int, share_negative: float) -> list[str]:
    tokens = []
    for _ in range(size):
        sign = -1 if random.random() < share_negative else 1
        tokens += [str(sign * random.randint(1, 9)), random.choice(OPERATORS)]
    group = tokens[:-1]
    return ["(", *group, ")"] if size > 1 else group


def _reason(operation: Sequence[str]) -> str:
    return REASONS[operation[1]]


def _check(reduction: Reduction) -> str:
    left, operator, right = reduction.operation
    if operator == "*":
        return f"{right} * {left} = {reduction.value}"
    return f"{reduction.value} {'-' if operator == '+' else '+'} {right} = {left}"
