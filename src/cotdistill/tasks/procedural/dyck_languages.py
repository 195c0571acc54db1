"""Close the open brackets: ``[ ( ) {`` wants ``} ]``. A stack of open brackets is kept."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording

CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
NUM_SYMBOLS = {1: (3, 5), 2: (6, 10), 3: (11, 15), 4: (16, 22)}
MAX_DEPTH = {1: 3, 2: 4, 3: 4, 4: 5}


@dataclass(frozen=True, slots=True)
class DyckLanguage(Problem):
    """The beginning of a well-bracketed sequence, with at least one bracket left open."""

    symbols: tuple[str, ...]

    answer_type: ClassVar[AnswerType] = "list"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> DyckLanguage:
        symbols: list[str] = []
        stack: list[str] = []
        num_symbols = random.randint(*NUM_SYMBOLS[difficulty])
        while len(symbols) < num_symbols:
            is_last = len(symbols) == num_symbols - 1
            may_close = len(stack) > 1 if is_last else bool(stack)
            if may_close and (len(stack) == MAX_DEPTH[difficulty] or random.random() < 0.5):
                symbols.append(CLOSING[stack.pop()])
            else:
                stack.append(random.choice(tuple(CLOSING)))
                symbols.append(stack[-1])
        return cls(tuple(symbols))

    def question(self) -> str:
        return (
            f"Complete the sequence so that all brackets are closed in the right order. Input: {_spell(self.symbols)}"
        )

    def answer(self) -> str:
        pending: list[str] = []
        for symbol in self.symbols:
            if symbol in CLOSING:
                pending.insert(0, CLOSING[symbol])
            else:
                pending.pop(0)
        return _spell(pending)

    def solve(self) -> Solution:
        steps: list[Step] = []
        stack: tuple[str, ...] = ()
        for index, symbol in enumerate(self.symbols, 1):
            after = (*stack, symbol) if symbol in CLOSING else stack[:-1]
            steps.append(_step(index, symbol, stack, after))
            stack = after
        answer = _spell([CLOSING[symbol] for symbol in reversed(stack)])
        return Solution(
            restated=f"We must find the brackets that close {_spell(self.symbols)} in order.",
            plan="We push each opening bracket on a stack and pop it when it is closed.",
            start=Wording("Stack: empty", "s0 = empty"),
            sketch=Wording(f"Left open: {_spell(stack)}", f"s{len(steps)} = {_spell(stack)}"),
            steps=tuple(steps),
            question="What closes the stack from the top?",
            conclusion=Wording(f"Close {_spell(stack[::-1])} in turn", f"close({_spell(stack[::-1])})"),
            check=f"{len(stack)} open, {len(stack)} closed",
            answer=answer,
        )


def _spell(symbols: list[str] | tuple[str, ...]) -> str:
    return " ".join(symbols) or "empty"


def _step(index: int, symbol: str, before: tuple[str, ...], after: tuple[str, ...]) -> Step:
    opens = symbol in CLOSING
    return Step(
        question=f"What does {symbol} do?",
        given=f"Stack: {_spell(before)}.",
        reason="It opens." if opens else "It closes.",
        action=f"{symbol} {'push' if opens else 'pop'}",
        working="it goes on top" if opens else f"{before[-1]} comes off",
        result=_spell(after),
        symbols=f"s{index} = {'push' if opens else 'pop'}({symbol}) = {_spell(after)}",
        check=f"{len(after)} open",
    )
