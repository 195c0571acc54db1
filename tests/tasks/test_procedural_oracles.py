"""Every answer, and every state on the way to it, against a second solver that reads only the question's text."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import permutations

import pytest

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask
from cotdistill.records import Question
from cotdistill.tasks.procedural import generate_split, write_rationale
from cotdistill.tasks.procedural.words import CATEGORIES, NUMBERS, ORDINALS, plural

NUM_QUESTIONS = 100
LETTERS = "ABCDEFG"
CLOSING = dict(zip("([{<", ")]}>", strict=True))

Solved = tuple[list[str] | None, str]
"""The states that the steps must show (None: the kind's states are checked on their own) and the answer."""


def boolean_expressions(question: Question) -> Solved:
    return None, str(_evaluated(question.question.removesuffix(" is")))


def multistep_arithmetic(question: Question) -> Solved:
    return None, str(_evaluated(question.question.removesuffix(" =")))


def _evaluated(expression: str) -> bool | int:
    def value(node: ast.expr) -> bool | int:
        match node:
            case ast.Constant(value=bool() | int() as constant):
                return constant
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not value(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(value(child) for child in values)
            case ast.BoolOp(op=ast.Or(), values=values):
                return any(value(child) for child in values)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return value(left) - value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return value(left) * value(right)
        raise AssertionError(ast.dump(node))

    return value(ast.parse(expression.strip(), mode="eval").body)


def navigate(question: Question) -> Solved:
    """A walk on the complex plane."""
    headings = {"forward": 1j, "right": 1, "backward": -1j, "left": -1}
    names = {1j: "north", 1: "east", -1j: "south", -1: "west"}
    turns = {"left": 1j, "right": -1j, "around": -1}
    place, heading = 0 + 0j, 1j
    facing_matters = "Always face forward" not in question.question
    states = []
    for turn, num_steps, side in re.findall(r"Turn (\w+)\.|Take (\d+) steps?(?: (\w+))?\.", question.question):
        if turn:
            heading *= turns[turn]
        else:
            place += int(num_steps) * (headings[side] if side else heading)
        facing = f" facing {names[heading]}" if facing_matters else ""
        states.append(f"({int(place.real)}, {int(place.imag)}){facing}")
    return states, "No" if place else "Yes"


def web_of_lies(question: Question) -> Solved:
    honest: dict[str, bool] = {}
    *statements, asked = question.question.split(". ")
    for statement in statements:
        speaker, says, claim = statement.partition(" says ")
        person, claimed = (claim or statement).split()[0], "truth" in (claim or statement)
        honest[speaker if says else person] = claimed if not says else honest[person] == claimed
    states = [f"{person} {'tells the truth' if honest[person] else 'lies'}" for person in honest]
    return states[1:], "Yes" if honest[asked.split()[1]] else "No"


def dyck_languages(question: Question) -> Solved:
    stack: list[str] = []
    states = []
    for symbol in question.question.partition("Input: ")[2].split():
        if symbol in CLOSING:
            stack.append(symbol)
        else:
            assert CLOSING[stack.pop()] == symbol
        states.append(" ".join(stack) or "empty")
    return states, " ".join(CLOSING[symbol] for symbol in stack[::-1])


def word_sorting(question: Question) -> Solved:
    words = question.question.partition("List: ")[2].split()
    states = [" ".join(sorted(words[:count])) for count in range(2, len(words) + 1)]
    return states, " ".join(sorted(words))


def object_counting(question: Question) -> Solved:
    match = re.fullmatch(r"I have (.*)\. How many (.*) do I have\?", question.question)
    assert match
    totals = [0]
    for thing in re.split(r", and |, | and ", match[1]):
        number, noun = thing.split()
        is_wanted = noun in CATEGORIES[match[2]] or noun in map(plural, CATEGORIES[match[2]])
        totals.append(totals[-1] + is_wanted * (1 if number in ("a", "an") else NUMBERS.index(number)))
    return [f"total {total}" for total in totals[1:]], str(totals[-1])


def tracking_shuffled_objects(question: Question) -> Solved:
    assert question.choices
    match = re.search(r"At first, (.*?)\. First, .*, (\w+) [^,.]*$", question.question)
    assert match
    starts = [start.split() for start in re.split(r", and |, ", match[1])]
    held = {words[0]: words[-1] for words in starts}
    states = []
    for one, other in re.findall(r"(?:First|Then|Finally), (\w+) and (\w+) ", question.question):
        held[one], held[other] = held[other], held[one]
        states.append(", ".join(f"{person} {thing}" for person, thing in held.items()))
    return states, _only([held[match[2]] in choice.split() for choice in question.choices])


def date_understanding(question: Question) -> Solved:
    assert question.choices
    text = question.question
    written = re.search(r"\d\d/\d\d/\d{4}|[A-Z][a-z]+ \d+, \d{4}|\d+ [A-Z][a-z]+ \d{4}", text)
    assert written
    days = [_parsed_date(written[0])]
    moved = re.search(r"was moved (.*)\. It", text)
    for amount, unit, direction in re.findall(r"(\d+) (day|week)s? (later|earlier)", moved[1] if moved else ""):
        days.append(
            days[-1] + timedelta(int(amount) * (7 if unit == "week" else 1) * (1 if direction == "later" else -1))
        )
    if not text.startswith("Today is"):
        days.append(days[-1] - timedelta(_days_ahead(text.partition("What")[0])))
    days.append(_queried(days[-1], text.partition("What is the date ")[2]))
    states = [f"{day:%m/%d/%Y}" for day in days[1:]]
    return states, _only([choice == states[-1] for choice in question.choices])


def _parsed_date(text: str) -> date:
    for pattern in ("%m/%d/%Y", "%B %d, %Y", "%d %B %Y"):
        try:
            return datetime.strptime(text, pattern).date()
        except ValueError:
            continue
    raise AssertionError(text)


def _days_ahead(statement: str) -> int:
    """How many days after today the date of a statement lies."""
    for phrase, days in (("The day before yesterday", -2), ("yesterday", -1), ("tomorrow", 1)):
        if phrase.lower() in statement.lower():
            return days
    match = re.search(r"in (\d+) days|(\d+) days ago", statement)
    assert match
    return int(match[1]) if match[1] else -int(match[2])


def _queried(today: date, query: str) -> date:
    if query.startswith(("tomorrow", "yesterday")):
        return today + timedelta(1 if query.startswith("tomorrow") else -1)
    match = re.match(r"(\d+) (day|week|month|year)s? (from today|ago)", query)
    assert match
    amount = int(match[1]) * (1 if match[3] == "from today" else -1)
    if match[2] in ("day", "week"):
        return today + timedelta(amount * (7 if match[2] == "week" else 1))
    months = today.year * 12 + today.month - 1 + amount * (12 if match[2] == "year" else 1)
    return today.replace(year=months // 12, month=months % 12 + 1)


def logical_deduction(question: Question) -> Solved:
    """All arrangements are tried; exactly one may satisfy the clues."""
    assert question.choices
    _, scene, *clues, _ = re.split(r"(?<=\.) ", question.question)
    objects = re.split(r", and |, ", scene.partition(": ")[2].removesuffix("."))
    facts = [_parsed_clue(clue, objects) for clue in clues]
    possible = [order for order in permutations(objects) if all(_holds(fact, order) for fact in facts)]
    assert len(possible) == 1
    claims = [_parsed_clue(choice, objects) for choice in question.choices]
    return [" ".join(possible[0])], _only([_holds(claim, possible[0]) for claim in claims])


def _parsed_clue(clue: str, objects: list[str]) -> tuple[str, str | int]:
    """(earlier, later) for an ordering clue, (object, place) for a place."""
    named = [word for word in clue.rstrip(".").split() if word in objects]
    if len(named) == 2:
        is_reversed = any(phrase in clue for phrase in ("right of", "more than", "below", "older than"))
        return (named[1], named[0]) if is_reversed else (named[0], named[1])
    count = next((number for number, ordinal in enumerate(ORDINALS) if ordinal in clue), 1)
    from_last = any(phrase in clue for phrase in ("right", "most expensive", "last", "oldest"))
    return named[0], len(objects) - count if from_last else count - 1


def _holds(fact: tuple[str, str | int], order: tuple[str, ...]) -> bool:
    first, second = fact
    place = order.index(first)
    return place == second if isinstance(second, int) else place < order.index(second)


def _only(flags: list[bool]) -> str:
    assert flags.count(True) == 1
    return LETTERS[flags.index(True)]


ORACLES: dict[str, Callable[[Question], Solved]] = {kind: globals()[kind] for kind in PROCEDURAL_KINDS}


def _questions(kind: str) -> Iterator[Question]:
    for difficulty in (1, 2, 3, 4):
        yield from generate_split(ProceduralTask(kinds=(kind,), difficulty=difficulty), "train", NUM_QUESTIONS, 5)


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_answers_agree_with_an_oracle_that_reads_the_text(kind: str) -> None:
    for question in _questions(kind):
        assert ORACLES[kind](question)[1] == question.answer, question


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_states_of_the_steps_agree_with_the_oracle(kind: str) -> None:
    for question in _questions(kind):
        states = [line.rpartition(": ")[2] for line in write_rationale(question, 3, "cot").splitlines()[1:-1]]
        wanted, _ = ORACLES[kind](question)
        if wanted is None:  # a rewritten expression keeps the value of the whole
            assert {str(_evaluated(state)) for state in states} == {question.answer}
            assert len(states[-1].split()) == 1
        else:
            assert states[-len(wanted) :] == wanted, question


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_choices_are_different(kind: str) -> None:
    for question in _questions(kind):
        choices = question.choices or ()
        assert len(set(choices)) == len(choices)
        assert bool(choices) == (question.answer_type == "letter")


def test_arithmetic_in_the_reasoning_is_right() -> None:
    """Every equation between integers that a rationale of the finest level writes, whatever its kind."""
    equation = re.compile(r"(?<![*+-] )(?<![\d-])((?:-?\d+ [-+*] )+-?\d+) = (-?\d+)(?!\d)")
    num_equations = 0
    for kind in ("multistep_arithmetic", "navigate", "object_counting", "date_understanding"):
        for question in generate_split(ProceduralTask(kinds=(kind,), difficulty=3), "train", NUM_QUESTIONS, 6):
            for left, right in equation.findall(write_rationale(question, 6, "cot")):
                assert _evaluated(left) == int(right), (left, right, question.question)
                num_equations += 1
    assert num_equations > 10 * NUM_QUESTIONS
