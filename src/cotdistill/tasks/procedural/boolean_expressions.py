"""True or False? ``not ( True and False ) or True is``: one operator is evaluated at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution
from cotdistill.tasks.procedural.reduction import (
    Grammar,
    Reduction,
    reductions,
    solution_of,
    without_idle_brackets,
)

NUM_OPERATORS = {1: (2, 3), 2: (3, 4), 3: (4, 5), 4: (5, 6)}
REASONS = {
    "not": "The word not turns a value around.",
    "and": "Both sides of and must be True.",
    "or": "One side of or must be True.",
}


def _value(operation: Sequence[str]) -> str:
    if operation[0] == "not":
        return str(operation[1] == "False")
    left, operator, right = operation
    if operator == "and":
        return str(left == right == "True")
    return str("True" in (left, right))


GRAMMAR = Grammar(
    unary=frozenset({"not"}),
    tiers=(frozenset({"not"}), frozenset({"and"}), frozenset({"or"})),
    value=_value,
    spell=" ".join,
)


@dataclass(frozen=True, slots=True)
class BooleanExpression(Problem):
    """The words of an expression. True and False are about equally likely."""

    tokens: tuple[str, ...]

    answer_type: ClassVar[AnswerType] = "true_false"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> BooleanExpression:
        return cls(tuple(_draw(random, random.randint(*NUM_OPERATORS[difficulty]))))

    def question(self) -> str:
        return f"{' '.join(self.tokens)} is"

    def answer(self) -> str:
        return self._reductions()[-1].value

    def _reductions(self) -> list[Reduction]:
        return reductions(without_idle_brackets(list(self.tokens)), GRAMMAR)

    def solve(self) -> Solution:
        return solution_of(
            self._reductions(),
            GRAMMAR,
            _reason,
            _check,
            task="We must find out whether {} is True or False.",
            plan="We evaluate brackets first, then not, then and, then or.",
            verb="evaluated",
        )


def _draw(random: Random, num_operators: int) -> list[str]:
    if num_operators == 0:
        literal = random.choice(("True", "False"))
        return ["(", literal, ")"] if random.random() < 0.25 else [literal]
    if random.random() < 0.3:
        return ["not", *_bracketed(random, _draw(random, num_operators - 1))]
    num_left = random.randrange(num_operators)
    left = _bracketed(random, _draw(random, num_left))
    right = _bracketed(random, _draw(random, num_operators - 1 - num_left))
    return [*left, random.choice(("and", "or")), *right]


def _bracketed(random: Random, tokens: list[str]) -> list[str]:
    """Brackets around most compound operands; whatever they change of the meaning, the text stays an expression."""
    is_compound = len(tokens) > 1 and (tokens[0], tokens[-1]) != ("(", ")")
    return ["(", *tokens, ")"] if is_compound and random.random() < 0.6 else tokens


def _reason(operation: Sequence[str]) -> str:
    return REASONS[operation[-2]]


def _check(reduction: Reduction) -> str:
    *left, operator, right = reduction.operation
    if operator == "not":
        return f"not {reduction.value} = {right}"
    return f"{right} {operator} {left[0]} = {reduction.value}"
