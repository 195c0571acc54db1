"""Evaluating an expression one operator at a time, as boolean_expressions and multistep_arithmetic do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cotdistill.tasks.procedural.problem import Solution, Step, Wording

Tokens = list[str]


class Grammar(NamedTuple):
    """How expressions of a kind are read: the unary operators, all operators from those that bind most tightly to
    those that bind least, the value of an operation, and the spelling of an expression."""

    unary: frozenset[str]
    tiers: tuple[frozenset[str], ...]
    value: Callable[[Sequence[str]], str]
    spell: Callable[[Sequence[str]], str]


class Reduction(NamedTuple):
    """One operator applied: ``operation`` (its tokens) has become ``value``, and ``before`` has become ``after``."""

    operation: Tokens
    value: str
    before: Tokens
    after: Tokens


def reductions(tokens: Tokens, grammar: Grammar) -> list[Reduction]:
    """All reductions until one value is left: innermost brackets first, then by precedence, then from the left."""
    done = []
    while len(tokens) > 1:
        start, stop = _next_operation(tokens, grammar)
        operation = tokens[start:stop]
        value = grammar.value(operation)
        after = without_idle_brackets([*tokens[:start], value, *tokens[stop:]])
        done.append(Reduction(operation, value, tokens, after))
        tokens = after
    return done


def without_idle_brackets(tokens: Tokens) -> Tokens:
    """``tokens`` without brackets that hold a single value."""
    kept: Tokens = []
    for token in tokens:
        kept.append(token)
        while len(kept) >= 3 and kept[-1] == ")" and kept[-3] == "(":
            kept[-3:] = kept[-2:-1]
    return kept


def solution_of(
    done: list[Reduction],
    grammar: Grammar,
    reason: Callable[[Sequence[str]], str],
    check: Callable[[Reduction], str],
    *,
    task: str,
    plan: str,
    verb: str,
) -> Solution:
    """The reductions as a solution; ``reason``, ``check`` and the texts word what differs between the kinds.

    ``task`` holds ``{}`` in the place of the expression, and ``verb`` says what was done with an operator.
    """
    expression, penultimate = grammar.spell(done[0].before), grammar.spell(done[-1].before)
    last = done[-1].value
    return Solution(
        restated=task.format(expression),
        plan=plan,
        start=Wording(f"Expression: {expression}", f"E0 = {expression}"),
        sketch=Wording(f"It comes to {penultimate}", f"E{len(done) - 1} = {penultimate}"),
        steps=_steps(done, grammar, reason, check),
        question="What is the value?",
        conclusion=Wording("The value", f"E{len(done)} = {last}"),
        check=f"all {len(done)} operators are {verb}",
        answer=last,
    )


def _steps(
    done: list[Reduction], grammar: Grammar, reason: Callable[[Sequence[str]], str], check: Callable[[Reduction], str]
) -> tuple[Step, ...]:
    steps = []
    for index, reduction in enumerate(done, 1):
        operation, after = grammar.spell(reduction.operation), grammar.spell(reduction.after)
        steps.append(
            Step(
                question=f"What is {operation}?",
                given=f"We have {grammar.spell(reduction.before)}.",
                reason=reason(reduction.operation),
                action=f"{operation} = {reduction.value}",
                working=f"put {reduction.value} for {operation}",
                result=after,
                symbols=f"{operation} = {reduction.value} => E{index} = {after}",
                check=check(reduction),
            )
        )
    return tuple(steps)


def _next_operation(tokens: Tokens, grammar: Grammar) -> tuple[int, int]:
    start, stop = _innermost_brackets(tokens)
    for tier in grammar.tiers:
        for index in range(start, stop):
            if tokens[index] not in tier:
                continue
            if tokens[index] not in grammar.unary:
                return index - 1, index + 2
            if tokens[index + 1] not in grammar.unary:
                return index, index + 2
    raise AssertionError(f"no operator in {tokens}")


def _innermost_brackets(tokens: Tokens) -> tuple[int, int]:
    """The span inside the first innermost brackets; all of the expression where there are none."""
    if ")" not in tokens:
        return 0, len(tokens)
    stop = tokens.index(")")
    start = max(index for index in range(stop) if tokens[index] == "(")
    return start + 1, stop
